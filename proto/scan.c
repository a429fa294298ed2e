#include "proto/scan.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define FIELD_NUMBER_MAX 536870911 /* of the wire format: 2^29 - 1 */

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* A message that is being looked at. */
struct scan_level {
    const ProtobufCMessageDescriptor *descriptor;
    const uint8_t *end;
    uint64_t seen; /* bit per field that has come and may not come again */
};

struct scan {
    struct scan_level levels[SCAN_DEPTH_MAX];
    uint32_t depth;
    uint32_t fields_left;
    const uint8_t *at;
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
        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return shift < 63 || byte <= 1; /* the tenth byte has room for one bit */
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

/* Whether the bytes are whole elements; counts them in @ret. */
static bool packed_count(enum wire_type type, const uint8_t *bytes, size_t length, size_t *ret)
{
    const uint8_t *end = bytes + length;
    uint64_t value;

    *ret = 0;
    if (type == WIRE_FIXED64 || type == WIRE_FIXED32) {
        const size_t size = type == WIRE_FIXED64 ? 8 : 4;
        *ret = length / size;
        return length % size == 0;
    }
    while (bytes != end) {
        if (!scan_varint(&bytes, end, &value)) {
            return false;
        }
        (*ret)++;
    }
    return true;
}

/* The bytes of a string, of bytes, or of a packed array. */
static const char *scan_bytes(struct scan *scan, const ProtobufCFieldDescriptor *field,
                              size_t length)
{
    const enum wire_type type = wire_type_of(field->type);
    size_t count;

    if (type != WIRE_BYTES) {
        if (!packed_count(type, scan->at, length, &count)) {
            return "a packed array is malformed";
        }
        if (count > scan->fields_left) {
            return "too many fields";
        }
        scan->fields_left -= (uint32_t)count;
    } else if (field->type == PROTOBUF_C_TYPE_STRING && memchr(scan->at, 0, length) != NULL) {
        return "a string with a NUL in it";
    }
    return NULL;
}

/* Goes past one value, or into it if it is a message. */
static const char *scan_value(struct scan *scan, const ProtobufCFieldDescriptor *field,
                              enum wire_type type)
{
    const uint8_t *end = scan->levels[scan->depth].end;
    uint64_t length;

    if (type == WIRE_VARINT) {
        return scan_varint(&scan->at, end, &length) ? NULL : "a number is truncated or too long";
    }
    if (type != WIRE_BYTES) {
        length = type == WIRE_FIXED64 ? 8 : 4;
    } else if (!scan_varint(&scan->at, end, &length)) {
        return "a length is truncated or too long";
    }
    if (length > (uint64_t)(end - scan->at)) {
        return "a field is longer than its message";
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (++scan->depth == SCAN_DEPTH_MAX) {
            return "messages are nested too deeply";
        }
        scan->levels[scan->depth] = (struct scan_level){field->descriptor, scan->at + length, 0};
        return NULL;
    }
    if (type == WIRE_BYTES) {
        const char *why = scan_bytes(scan, field, (size_t)length);
        if (why != NULL) {
            return why;
        }
    }
    scan->at += length;
    return NULL;
}

static bool type_fits(const ProtobufCFieldDescriptor *field, enum wire_type type)
{
    return type == wire_type_of(field->type) ||
           (type == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED);
}

/* Marks a field as seen; false if it, or another member of its oneof, has been. */
static bool level_mark(struct scan_level *level, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCFieldDescriptor *first = level->descriptor->fields;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return true;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        /* All members of a oneof share the place of its case; the first of them stands for all. */
        while ((first->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
               first->quantifier_offset != field->quantifier_offset) {
            first++;
        }
        field = first;
    }
    const uint64_t bit = UINT64_C(1) << (field - level->descriptor->fields);
    const bool fresh = (level->seen & bit) == 0;
    level->seen |= bit;
    return fresh;
}

static const char *scan_field(struct scan *scan)
{
    struct scan_level *level = &scan->levels[scan->depth];
    uint64_t key;

    assert(level->descriptor->n_fields <= 64);
    if (!scan_varint(&scan->at, level->end, &key) || key >> 3 == 0 || key >> 3 > FIELD_NUMBER_MAX) {
        return "a field's key is malformed";
    }
    if (scan->fields_left == 0) {
        return "too many fields";
    }
    scan->fields_left--;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(level->descriptor, (unsigned)(key >> 3));
    if (field == NULL) {
        return "a field that this version does not know";
    }
    if (!type_fits(field, (enum wire_type)(key & 7))) {
        return "a field of the wrong type";
    }
    if (!level_mark(level, field)) {
        return "a field is given twice";
    }
    return scan_value(scan, field, (enum wire_type)(key & 7));
}

const char *scan_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                         size_t length, uint32_t fields_max)
{
    struct scan scan = {.fields_left = fields_max, .at = bytes};

    scan.levels[0] = (struct scan_level){descriptor, bytes + length, 0};
    for (;;) {
        if (scan.at != scan.levels[scan.depth].end) {
            const char *why = scan_field(&scan);
            if (why != NULL) {
                return why;
            }
        } else if (scan.depth == 0) {
            return NULL;
        } else {
            scan.depth--;
        }
    }
}
