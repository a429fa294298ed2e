#include "proto/frame.h"

#include "proto/scan.h"
#include "proto/validate.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_FIELDS_MAX 8192           /* of a control frame: rank_nodes of the largest job fit */
#define FRAME_ANSWER_FIELDS_MAX 4000000 /* an answer may list every range of every rank */
#define FRAME_BYTES_MAX (1024u * 1024u) /* what a control frame may take unpacked */
#define FRAME_ANSWER_FACTOR 24u         /* what an answer may take, for each of its bytes */

struct frame_memory {
    uint8_t *block;
    size_t capacity;
    size_t used;
};

struct frame_memory *frame_memory_new(void)
{
    struct frame_memory *memory = calloc(1, sizeof(*memory));

    if (memory == NULL) {
        return NULL;
    }
    memory->capacity = FRAME_BYTES_MAX;
    memory->block = malloc(memory->capacity);
    if (memory->block == NULL) {
        free(memory);
        return NULL;
    }
    return memory;
}

struct frame_memory *frame_memory_free(struct frame_memory *memory)
{
    if (memory != NULL) {
        free(memory->block);
        free(memory);
    }
    return NULL;
}

static void *memory_alloc(void *ctx, size_t bytes)
{
    struct frame_memory *memory = ctx;
    const size_t rounded = (bytes + 15) & ~(size_t)15;

    if (rounded < bytes || rounded > memory->capacity - memory->used) {
        return NULL;
    }
    void *taken = memory->block + memory->used;
    memory->used += rounded;
    return taken;
}

/* Everything goes at once, when the next frame is decoded. */
static void memory_release(void *ctx, void *pointer)
{
    (void)ctx;
    (void)pointer;
}

/* An answer is larger than any frame: its block grows, and stays so for the next one. */
static bool memory_reserve(struct frame_memory *memory, size_t bytes)
{
    if (bytes <= memory->capacity) {
        return true;
    }
    uint8_t *block = malloc(bytes);
    if (block == NULL) {
        return false;
    }
    free(memory->block);
    memory->block = block;
    memory->capacity = bytes;
    return true;
}

static const char *frame_unpack(struct frame_memory *memory,
                                const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                                size_t length, uint32_t fields_max, ProtobufCMessage **ret)
{
    ProtobufCAllocator allocator = {
        .alloc = memory_alloc, .free = memory_release, .allocator_data = memory};
    const char *why = scan_message(descriptor, bytes, length, fields_max);

    if (why != NULL) {
        return why;
    }
    memory->used = 0;
    *ret = protobuf_c_message_unpack(descriptor, &allocator, length, bytes);
    return *ret != NULL ? NULL : "it cannot be unpacked, or takes too much memory";
}

const char *frame_decode_worker(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Worker__WorkerMessage **ret)
{
    ProtobufCMessage *message;
    const char *why;

    if (length > WIRE_WORKER_FRAME_MAX) {
        return "longer than a worker's message may be";
    }
    why = frame_unpack(memory, &seqsync__worker__worker_message__descriptor, bytes, length,
                       FRAME_FIELDS_MAX, &message);
    if (why == NULL) {
        why = validate_worker_message((Seqsync__Worker__WorkerMessage *)(void *)message);
    }
    if (why == NULL) {
        *ret = (Seqsync__Worker__WorkerMessage *)(void *)message;
    }
    return why;
}

const char *frame_decode_daemon(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Worker__DaemonMessage **ret)
{
    ProtobufCMessage *message;
    const char *why;

    if (length > WIRE_WORKER_FRAME_MAX) {
        return "longer than a daemon's message may be";
    }
    why = frame_unpack(memory, &seqsync__worker__daemon_message__descriptor, bytes, length,
                       FRAME_FIELDS_MAX, &message);
    if (why == NULL) {
        why = validate_daemon_message((Seqsync__Worker__DaemonMessage *)(void *)message);
    }
    if (why == NULL) {
        *ret = (Seqsync__Worker__DaemonMessage *)(void *)message;
    }
    return why;
}

const char *frame_decode_peer(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                              Seqsync__Peer__PeerMessage **ret)
{
    ProtobufCMessage *message;
    const char *why;

    if (length > WIRE_PEER_FRAME_MAX) {
        return "longer than a peer's message may be";
    }
    why = frame_unpack(memory, &seqsync__peer__peer_message__descriptor, bytes, length,
                       FRAME_FIELDS_MAX, &message);
    if (why == NULL) {
        why = validate_peer_message((Seqsync__Peer__PeerMessage *)(void *)message);
    }
    if (why == NULL) {
        *ret = (Seqsync__Peer__PeerMessage *)(void *)message;
    }
    return why;
}

const char *frame_decode_request(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                 Seqsync__Admin__Request **ret)
{
    ProtobufCMessage *message;
    const char *why;

    if (length > WIRE_ADMIN_REQUEST_MAX) {
        return "longer than a question may be";
    }
    why = frame_unpack(memory, &seqsync__admin__request__descriptor, bytes, length,
                       FRAME_FIELDS_MAX, &message);
    if (why == NULL) {
        why = validate_admin_request((Seqsync__Admin__Request *)(void *)message);
    }
    if (why == NULL) {
        *ret = (Seqsync__Admin__Request *)(void *)message;
    }
    return why;
}

const char *frame_decode_answer(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Admin__Answer **ret)
{
    ProtobufCMessage *message;
    const char *why;

    if (length > WIRE_ADMIN_ANSWER_MAX) {
        return "longer than an answer may be";
    }
    if (!memory_reserve(memory, FRAME_BYTES_MAX + FRAME_ANSWER_FACTOR * length)) {
        return "out of memory";
    }
    why = frame_unpack(memory, &seqsync__admin__answer__descriptor, bytes, length,
                       FRAME_ANSWER_FIELDS_MAX, &message);
    if (why == NULL) {
        why = validate_admin_answer((Seqsync__Admin__Answer *)(void *)message);
    }
    if (why == NULL) {
        *ret = (Seqsync__Admin__Answer *)(void *)message;
    }
    return why;
}

size_t frame_encode(const ProtobufCMessage *message, uint8_t *bytes, size_t capacity)
{
    const size_t length = protobuf_c_message_get_packed_size(message);

    return length > capacity ? 0 : protobuf_c_message_pack(message, bytes);
}

bool frame_name_ok(const char *name)
{
    size_t length = 0;

    if (name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (; name[length] != '\0'; length++) {
        const char c = name[length];
        const bool legal = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!legal || length == SEQSYNC_NAME_MAX) {
            return false;
        }
    }
    return length > 0;
}
