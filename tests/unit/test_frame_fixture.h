/* Protobuf bytes written by hand, also such as no library would write, and what decoding says. */
#ifndef SEQSYNC_TEST_FRAME_FIXTURE_H
#define SEQSYNC_TEST_FRAME_FIXTURE_H

#include "proto/frame.h"

/* Bytes of a frame under construction. */
struct raw {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
};

void raw_free(struct raw *raw);
void raw_byte(struct raw *raw, uint8_t byte);
void raw_varint(struct raw *raw, uint64_t value);
/* A field of wire type 0, or 2. */
void raw_number(struct raw *raw, uint32_t field, uint64_t value);
void raw_bytes(struct raw *raw, uint32_t field, const void *bytes, size_t length);
void raw_text(struct raw *raw, uint32_t field, const char *text);
/* @inner as a message in @field, and frees it. */
void raw_message(struct raw *raw, uint32_t field, struct raw *inner);

struct fixture {
    struct frame_memory *memory;
    Seqsync__Worker__WorkerMessage *worker;
    Seqsync__Worker__DaemonMessage *daemon;
    Seqsync__Peer__PeerMessage *peer;
    Seqsync__Admin__Request *request;
    Seqsync__Admin__Answer *answer;
    struct raw raw;
};

enum plane { PLANE_WORKER, PLANE_DAEMON, PLANE_PEER, PLANE_REQUEST, PLANE_ANSWER, PLANES_N };

int fixture_setup(void **state);
int fixture_teardown(void **state);

/*
 * Decodes a copy of the bytes that is exactly as long, into the plane's message of @f. The sentence
 * if it is refused; the message is then as before.
 */
const char *fixture_decode(struct fixture *f, enum plane plane, const uint8_t *bytes,
                           size_t length);

/* Decodes f->raw and empties it. */
const char *fixture_decode_raw(struct fixture *f, enum plane plane);

/* Encodes @message and decodes it, asserting that it comes back with the same bytes. */
void fixture_expect_ok(struct fixture *f, enum plane plane, const ProtobufCMessage *message);

/* Encodes @message and asserts that it is refused by a sentence that contains @sentence. */
void fixture_expect_refused(struct fixture *f, enum plane plane, const ProtobufCMessage *message,
                            const char *sentence);

#endif
