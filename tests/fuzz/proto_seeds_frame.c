#include "proto_seeds.h"

#include "proto/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One target, and the first message of its schema. */
static const struct seed_plane {
    const char *target;
    const ProtobufCMessageDescriptor *descriptor;
    size_t frame_max;
} planes[] = {
    {"fuzz_worker_frame", &seqsync__worker__worker_message__descriptor, WIRE_WORKER_FRAME_MAX},
    {"fuzz_daemon_frame", &seqsync__worker__daemon_message__descriptor, WIRE_WORKER_FRAME_MAX},
    {"fuzz_peer_frame", &seqsync__peer__peer_message__descriptor, WIRE_PEER_FRAME_MAX},
    {"fuzz_admin_request", &seqsync__admin__request__descriptor, WIRE_ADMIN_REQUEST_MAX},
    {"fuzz_admin_answer", &seqsync__admin__answer__descriptor, WIRE_ADMIN_ANSWER_MAX},
};

struct bytes {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

static void put(struct bytes *to, const void *data, size_t length)
{
    if (to->length + length > to->capacity) {
        to->capacity = 2 * (to->length + length) + 64;
        to->data = realloc(to->data, to->capacity);
        if (to->data == NULL) {
            exit(EXIT_FAILURE);
        }
    }
    if (length > 0) {
        memcpy(to->data + to->length, data, length);
    }
    to->length += length;
}

static void put_varint(struct bytes *to, uint64_t value)
{
    uint8_t byte;

    for (; value >= 0x80; value >>= 7) {
        byte = (uint8_t)(value | 0x80);
        put(to, &byte, 1);
    }
    byte = (uint8_t)value;
    put(to, &byte, 1);
}

/* A legal value of a number: 1, but a rank or node is below its count, a code negative, and the one
 * question that names a job is the fourth. */
static uint64_t small_number(const char *name)
{
    static const struct {
        const char *name;
        uint64_t value;
    } others[] = {{"rank", 0},  {"node", 0},          {"local_rank", 0},
                  {"space", 0}, {"code", UINT64_MAX}, {"question", 4}};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(name, others[i].name) == 0) {
            return others[i].value;
        }
    }
    return 1;
}

static void put_fields(struct bytes *to, const ProtobufCMessageDescriptor *descriptor,
                       const ProtobufCFieldDescriptor *member);

static void put_field(struct bytes *to, const ProtobufCFieldDescriptor *field)
{
    static const uint8_t one[8] = {0, 0, 0, 0, 0, 0, 0xF0, 0x3F}; /* 1.0 */
    struct bytes inner = {NULL, 0, 0};

    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        put_fields(&inner, field->descriptor, NULL);
        break;
    case PROTOBUF_C_TYPE_STRING:
        put(&inner, "a", 1);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put(&inner, one, sizeof(one));
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        put_varint(to, (uint64_t)field->id << 3 | 1);
        put(to, one, sizeof(one));
        return;
    default:
        put_varint(to, (uint64_t)field->id << 3);
        put_varint(to, small_number(field->name));
        return;
    }
    put_varint(to, (uint64_t)field->id << 3 | 2);
    put_varint(to, inner.length);
    put(to, inner.data, inner.length);
    free(inner.data);
}

/* Every field once, set to something small; of the oneof only @member, or else its first. */
static void put_fields(struct bytes *to, const ProtobufCMessageDescriptor *descriptor,
                       const ProtobufCFieldDescriptor *member)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const bool choice = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        if (choice && member == NULL) {
            member = field;
        }
        if (!choice || field == member) {
            put_field(to, field);
        }
    }
}

/* A frame of each body, or one that has everything. */
static void seed_bodies(const struct seed_plane *plane)
{
    for (unsigned i = 0; i < plane->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &plane->descriptor->fields[i];
        struct bytes bytes = {NULL, 0, 0};
        char name[64];
        put_fields(&bytes, plane->descriptor,
                   (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 ? field : NULL);
        snprintf(name, sizeof(name), "body-%.40s", field->name);
        seed_write(plane->target, name, bytes.data, bytes.length);
        snprintf(name, sizeof(name), "half-%.40s", field->name);
        seed_write(plane->target, name, bytes.data, bytes.length / 2);
        free(bytes.data);
    }
}

/* A field that holds a message, in the plane's first message. */
static const ProtobufCFieldDescriptor *message_field(const struct seed_plane *plane)
{
    for (unsigned i = 0; i < plane->descriptor->n_fields; i++) {
        if (plane->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            return &plane->descriptor->fields[i];
        }
    }
    return &plane->descriptor->fields[plane->descriptor->n_fields - 1];
}

/* protobuf-c#494: a million messages inside each other, or as many as the frame has room for. */
static void seed_depth_bomb(const struct seed_plane *plane)
{
    const uint8_t key = (uint8_t)(message_field(plane)->id << 3 | 2);
    const size_t levels = 1000000, capacity = levels * 6;
    uint8_t *bytes = malloc(capacity);
    size_t at = capacity;

    for (size_t i = 0; i < levels && capacity - at + 6 <= plane->frame_max; i++) {
        struct bytes head = {NULL, 0, 0};
        put(&head, &key, 1);
        put_varint(&head, capacity - at);
        at -= head.length;
        memcpy(bytes + at, head.data, head.length);
        free(head.data);
    }
    seed_write(plane->target, "depth-bomb", bytes + at, capacity - at);
    free(bytes);
}

/* @count empty elements of the first repeated field that there is under @descriptor, wrapped in the
 * messages around it; false if there is none. */
static bool put_amplifier(struct bytes *to, const ProtobufCMessageDescriptor *descriptor,
                          size_t count)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        struct bytes inner = {NULL, 0, 0};
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            const unsigned type =
                field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING ? 2
                                                                                                : 0;
            for (size_t n = 0; n < count; n++) {
                put_varint(to, (uint64_t)field->id << 3 | type);
                put_varint(to, 0);
            }
            return true;
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            put_amplifier(&inner, field->descriptor, count)) {
            put_varint(to, (uint64_t)field->id << 3 | 2);
            put_varint(to, inner.length);
            put(to, inner.data, inner.length);
            free(inner.data);
            return true;
        }
    }
    return false;
}

/* Two bytes of a frame may cost some 100 of memory. */
static void seed_amplifier(const struct seed_plane *plane, size_t count, const char *name)
{
    struct bytes bytes = {NULL, 0, 0};

    if (put_amplifier(&bytes, plane->descriptor, count)) {
        seed_write(plane->target, name, bytes.data, bytes.length);
    }
    free(bytes.data);
}

static void seed_hostile(const struct seed_plane *plane)
{
    static const char varint[] = "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F";
    static const char length[] = "\x12\xFF\xFF\xFF\xFF\x0F";
    uint8_t *zeros = calloc(1, plane->frame_max + 1);

    seed_write(plane->target, "empty", "", 0);
    seed_write(plane->target, "varint-of-ten-bytes", varint, sizeof(varint) - 1);
    seed_write(plane->target, "length-of-4-GiB", length, sizeof(length) - 1);
    seed_write(plane->target, "too-long", zeros, plane->frame_max + 1);
    seed_write(plane->target, "groups", "\x0B\x0B\x0B\x0B\x0C\x0C", 6);
    free(zeros);
    seed_depth_bomb(plane);
    seed_amplifier(plane, 100, "amplifier-100");
    seed_amplifier(plane, plane->frame_max / 2 - 8, "amplifier");
}

void seed_frames(void)
{
    for (size_t i = 0; i < sizeof(planes) / sizeof(planes[0]); i++) {
        seed_bodies(&planes[i]);
        seed_hostile(&planes[i]);
    }
}
