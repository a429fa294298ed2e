/*
 * A batch as bytes: the one encoding that workers send, daemons plan from, and everybody digests.
 * Little endian, no padding, no pointers.
 */
#ifndef SEQSYNC_PROTO_BATCH_H
#define SEQSYNC_PROTO_BATCH_H

#include <seqsync/types.h>

#define BATCH_BYTES_MAX (64 + SEQSYNC_SEQUENCES_MAX * 56)

/* NULL if the batch is within the limits of types.h, else a static sentence naming field and limit.
 */
const char *batch_check(const struct seqsync_batch *batch);

/* Encodes a checked batch into @ret_bytes[BATCH_BYTES_MAX]; the length. */
size_t batch_encode(const struct seqsync_batch *batch, uint8_t *ret_bytes);

/*
 * Decodes untrusted bytes: sequences go to @ret_sequences[SEQSYNC_SEQUENCES_MAX], which *ret_batch
 * then points to. NULL, or a static sentence saying what is wrong (truncated, trailing bytes, a
 * limit). The result has passed batch_check().
 */
const char *batch_decode(const uint8_t *bytes, size_t length,
                         struct seqsync_sequence *ret_sequences, struct seqsync_batch *ret_batch);

/* XXH3-64 of the encoding, never 0. */
uint64_t batch_digest(const uint8_t *bytes, size_t length);

#endif
