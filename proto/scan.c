#include "proto/scan.h"

#include <stdbool.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct scan_level {
    const ProtobufCMessageDescriptor *descriptor;
    const uint8_t *end;
};

/* Reads at most ten bytes, as the wire format says. */
static bool scan_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (*at == end) {
            return false;
        }
        const uint8_t byte = *(*at)++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7F) << shift : 0;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* Elements of a packed array, or -1 if its bytes are not whole elements. */
static int64_t packed_count(enum wire_type type, const uint8_t *bytes, size_t length)
{
    int64_t count = 0;
    uint64_t value;
    const uint8_t *end = bytes + length;

    if (type == WIRE_FIXED64 || type == WIRE_FIXED32) {
        const size_t size = type == WIRE_FIXED64 ? 8 : 4;
        return length % size == 0 ? (int64_t)(length / size) : -1;
    }
    while (bytes != end) {
        if (!scan_varint(&bytes, end, &value)) {
            return -1;
        }
        count++;
    }
    return count;
}

/* Passes over one value that is no message of its own. */
static const char *scan_value(enum wire_type type, const ProtobufCFieldDescriptor *field,
                              const uint8_t **at, const uint8_t *end, uint32_t *fields_left)
{
    uint64_t length;

    switch (type) {
    case WIRE_VARINT:
        return scan_varint(at, end, &length) ? NULL : "a number is truncated or too long";
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        length = type == WIRE_FIXED64 ? 8 : 4;
        break;
    default:
        if (!scan_varint(at, end, &length)) {
            return "a length is truncated or too long";
        }
    }
    if (length > (uint64_t)(end - *at)) {
        return "a field is longer than its message";
    }
    if (type == WIRE_BYTES && wire_type_of(field->type) != WIRE_BYTES) {
        const int64_t count = packed_count(wire_type_of(field->type), *at, (size_t)length);
        if (count < 0) {
            return "a packed array is malformed";
        }
        if ((uint64_t)count > *fields_left) {
            return "too many fields";
        }
        *fields_left -= (uint32_t)count;
    }
    *at += length;
    return NULL;
}

static bool type_fits(const ProtobufCFieldDescriptor *field, enum wire_type type)
{
    const enum wire_type own = wire_type_of(field->type);

    return type == own || (type == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED);
}

const char *scan_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                         size_t length, uint32_t fields_max)
{
    struct scan_level levels[SCAN_DEPTH_MAX];
    uint32_t depth = 0, fields_left = fields_max;
    const uint8_t *at = bytes;

    levels[0] = (struct scan_level){descriptor, bytes + length};
    for (;;) {
        struct scan_level *level = &levels[depth];
        uint64_t key, size;
        if (at == level->end) {
            if (depth == 0) {
                return NULL;
            }
            depth--;
            continue;
        }
        if (!scan_varint(&at, level->end, &key) || key >> 3 == 0 || key >> 3 > 536870911) {
            return "a field's key is malformed";
        }
        if (fields_left-- == 0) {
            return "too many fields";
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(level->descriptor, (unsigned)(key >> 3));
        const enum wire_type type = (enum wire_type)(key & 7);
        if (field == NULL) {
            return "a field that this version does not know";
        }
        if (!type_fits(field, type)) {
            return "a field of the wrong type";
        }
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
            const char *why = scan_value(type, field, &at, level->end, &fields_left);
            if (why != NULL) {
                return why;
            }
            continue;
        }
        if (!scan_varint(&at, level->end, &size) || size > (uint64_t)(level->end - at)) {
            return "a message is longer than the one around it";
        }
        if (++depth == SCAN_DEPTH_MAX) {
            return "messages are nested too deeply";
        }
        levels[depth] = (struct scan_level){field->descriptor, at + size};
    }
}
