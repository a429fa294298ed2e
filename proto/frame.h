/*
 * From untrusted bytes to a checked protobuf message, and back. Before libprotobuf-c sees a byte,
 * the frame is scanned iteratively for depth, field count and lengths; unpacking allocates from a
 * block of fixed size; afterwards every enum, oneof, string, count and range is checked, so that
 * whoever gets a message may rely on the limits of types.h and wire.h.
 *
 * include "proto/worker.pb-c.h" etc. for the message types (generated).
 */
#ifndef SEQSYNC_PROTO_FRAME_H
#define SEQSYNC_PROTO_FRAME_H

#include <stdbool.h>

#include "proto/admin.pb-c.h"
#include "proto/peer.pb-c.h"
#include "proto/wire.h"
#include "proto/worker.pb-c.h"

/* The block that decoding allocates from; a decoded message lives in it until the next decode. Not
 * shared by threads. */
struct frame_memory;

/* NULL if out of memory. The caller frees it. */
struct frame_memory *frame_memory_new(void);
struct frame_memory *
frame_memory_free(struct frame_memory *memory); /* accepts NULL; returns NULL */

/*
 * Each decode answers NULL and sets *ret, or a static sentence saying what is wrong with the bytes.
 * *ret lives in @memory. The body is one of the oneof's, never NOT_SET; for the admin plane the
 * question is one of the enum's.
 */
const char *frame_decode_worker(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Worker__WorkerMessage **ret);
const char *frame_decode_daemon(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Worker__DaemonMessage **ret);
const char *frame_decode_peer(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                              Seqsync__Peer__PeerMessage **ret);
const char *frame_decode_request(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                 Seqsync__Admin__Request **ret);
const char *frame_decode_answer(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Admin__Answer **ret);

/* Packs any message into @bytes[capacity]; the length, or 0 if it does not fit. */
size_t frame_encode(const ProtobufCMessage *message, uint8_t *bytes, size_t capacity);

/* Whether @name is a legal job or node name: 1 .. SEQSYNC_NAME_MAX of [A-Za-z0-9._-], not starting
 * with '.' or '-'. */
bool frame_name_ok(const char *name);

#endif
