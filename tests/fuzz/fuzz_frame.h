/* What every plane's decoder promises, whatever the bytes. */
#ifndef SEQSYNC_TEST_FUZZ_FRAME_H
#define SEQSYNC_TEST_FUZZ_FRAME_H

#include "proto/frame.h"

/* One of frame.h's, with its message seen as its base. */
typedef const char *fuzz_decode_fn(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                   const ProtobufCMessage **ret);

/*
 * Decodes @data twice over: what comes out, encoded, decodes again, and then encodes to the same
 * bytes. @frame_max: the plane's limit of length.
 */
void fuzz_frame(fuzz_decode_fn *decode, const uint8_t *data, size_t size, size_t frame_max);

#endif
