#include "proto/frame.h"

#include "proto/scan.h"
#include "proto/validate.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_BLOCK_BYTES (512u * 1024u) /* what a frame may take unpacked, except an answer */
#define FRAME_ANSWER_FACTOR 24u          /* what an answer may take more, for each of its bytes */

struct frame_memory {
    uint8_t *block;
    size_t capacity;
    size_t used;
};

/* What is let through before libprotobuf-c looks at it. */
struct frame_plane {
    const ProtobufCMessageDescriptor *descriptor;
    size_t bytes_max;
    uint32_t fields_max;
    const char *too_long;
};

/* The largest legal control frame has some 2,600 fields: 256 exchanges and 256 buckets. */
static const struct frame_plane plane_worker = {&seqsync__worker__worker_message__descriptor,
                                                WIRE_WORKER_FRAME_MAX, 4096,
                                                "longer than a worker's message may be"};
static const struct frame_plane plane_daemon = {&seqsync__worker__daemon_message__descriptor,
                                                WIRE_WORKER_FRAME_MAX, 4096,
                                                "longer than a daemon's message may be"};
static const struct frame_plane plane_peer = {&seqsync__peer__peer_message__descriptor,
                                              WIRE_PEER_FRAME_MAX, 4096,
                                              "longer than a peer's message may be"};
static const struct frame_plane plane_request = {&seqsync__admin__request__descriptor,
                                                 WIRE_ADMIN_REQUEST_MAX, 16,
                                                 "longer than a question may be"};
/* An answer may list every range and cell of every rank; its length is the bound. */
static const struct frame_plane plane_answer = {&seqsync__admin__answer__descriptor,
                                                WIRE_ADMIN_ANSWER_MAX, WIRE_ADMIN_ANSWER_MAX / 2,
                                                "longer than an answer may be"};

struct frame_memory *frame_memory_new(void)
{
    struct frame_memory *memory = calloc(1, sizeof(*memory));

    if (memory == NULL) {
        return NULL;
    }
    memory->capacity = FRAME_BLOCK_BYTES;
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

static const char *frame_unpack(struct frame_memory *memory, const struct frame_plane *plane,
                                const uint8_t *bytes, size_t length, ProtobufCMessage **ret)
{
    ProtobufCAllocator allocator = {
        .alloc = memory_alloc, .free = memory_release, .allocator_data = memory};

    if (length == 0) {
        return "an empty frame";
    }
    if (length > plane->bytes_max) {
        return plane->too_long;
    }
    const char *why = scan_message(plane->descriptor, bytes, length, plane->fields_max);
    if (why != NULL) {
        return why;
    }
    memory->used = 0;
    ProtobufCMessage *message =
        protobuf_c_message_unpack(plane->descriptor, &allocator, length, bytes);
    if (message == NULL) {
        return "it takes too much memory to unpack";
    }
    *ret = message;
    return NULL;
}

const char *frame_decode_worker(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Worker__WorkerMessage **ret)
{
    ProtobufCMessage *base = NULL;
    const char *why = frame_unpack(memory, &plane_worker, bytes, length, &base);

    if (why == NULL) {
        Seqsync__Worker__WorkerMessage *message = (Seqsync__Worker__WorkerMessage *)(void *)base;
        why = validate_worker_message(message);
        if (why == NULL) {
            *ret = message;
        }
    }
    return why;
}

const char *frame_decode_daemon(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Worker__DaemonMessage **ret)
{
    ProtobufCMessage *base = NULL;
    const char *why = frame_unpack(memory, &plane_daemon, bytes, length, &base);

    if (why == NULL) {
        Seqsync__Worker__DaemonMessage *message = (Seqsync__Worker__DaemonMessage *)(void *)base;
        why = validate_daemon_message(message);
        if (why == NULL) {
            *ret = message;
        }
    }
    return why;
}

const char *frame_decode_peer(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                              Seqsync__Peer__PeerMessage **ret)
{
    ProtobufCMessage *base = NULL;
    const char *why = frame_unpack(memory, &plane_peer, bytes, length, &base);

    if (why == NULL) {
        Seqsync__Peer__PeerMessage *message = (Seqsync__Peer__PeerMessage *)(void *)base;
        why = validate_peer_message(message);
        if (why == NULL) {
            *ret = message;
        }
    }
    return why;
}

const char *frame_decode_request(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                 Seqsync__Admin__Request **ret)
{
    ProtobufCMessage *base = NULL;
    const char *why = frame_unpack(memory, &plane_request, bytes, length, &base);

    if (why == NULL) {
        Seqsync__Admin__Request *message = (Seqsync__Admin__Request *)(void *)base;
        why = validate_admin_request(message);
        if (why == NULL) {
            *ret = message;
        }
    }
    return why;
}

const char *frame_decode_answer(struct frame_memory *memory, const uint8_t *bytes, size_t length,
                                Seqsync__Admin__Answer **ret)
{
    ProtobufCMessage *base = NULL;
    const char *why;

    if (length <= WIRE_ADMIN_ANSWER_MAX &&
        !memory_reserve(memory, FRAME_BLOCK_BYTES + FRAME_ANSWER_FACTOR * length)) {
        return "there is no memory to unpack it";
    }
    why = frame_unpack(memory, &plane_answer, bytes, length, &base);
    if (why == NULL) {
        Seqsync__Admin__Answer *message = (Seqsync__Admin__Answer *)(void *)base;
        why = validate_admin_answer(message);
        if (why == NULL) {
            *ret = message;
        }
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
