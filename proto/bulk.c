#include "proto/bulk.h"

#include "proto/bytes.h"
#include "proto/wire.h"

#define BULK_MAGIC UINT32_C(0x31515153) /* "SQQ1" */
#define BULK_VERSION 1
#define BULK_FLAGS_KNOWN UINT32_C(1)

/* In the order of the bytes. */
enum {
    BYTES_FIXED = 4 + 1 + 1 + 2 + 1 + 3 + 4 + 4 + 4, /* magic .. length, with 3 reserved */
    BYTES_WIDE = 8 * 8,                              /* job .. checksum */
};
_Static_assert(BULK_HEADER_BYTES == BYTES_FIXED + BYTES_WIDE, "the fields fill the header");
_Static_assert(SEQSYNC_RANKS_MAX <= UINT16_MAX && SEQSYNC_NODES_MAX <= UINT8_MAX,
               "part and node have room for every rank and node");

void bulk_header_encode(const struct bulk_header *header, uint8_t bytes[BULK_HEADER_BYTES])
{
    uint8_t *at = bytes;

    bytes_put(&at, BULK_MAGIC, 4);
    bytes_put(&at, BULK_VERSION, 1);
    bytes_put(&at, header->kind, 1);
    bytes_put(&at, header->part, 2);
    bytes_put(&at, header->node, 1);
    bytes_put(&at, 0, 3);
    bytes_put(&at, header->flags, 4);
    bytes_put(&at, header->id, 4);
    bytes_put(&at, header->length, 4);
    bytes_put(&at, header->job, 8);
    bytes_put(&at, header->generation, 8);
    bytes_put(&at, header->step, 8);
    bytes_put(&at, header->incarnation, 8);
    bytes_put(&at, header->offset, 8);
    bytes_put(&at, header->total, 8);
    bytes_put(&at, (uint64_t)header->count, 8);
    bytes_put(&at, header->checksum, 8);
}

/* Limits of the fields; what is expected of a transfer is its receiver's to say. */
static const char *header_check(const struct bulk_header *header, size_t payload_length)
{
    const uint32_t ids = header->kind == BULK_KV || header->kind == BULK_RETURN
                             ? SEQSYNC_EXCHANGES_MAX
                             : SEQSYNC_BUCKETS_MAX;
    const uint32_t parts = header->kind == BULK_PARTIAL || header->kind == BULK_RESULT
                               ? SEQSYNC_NODES_MAX
                               : SEQSYNC_RANKS_MAX;

    if (header->kind < BULK_KV || header->kind > BULK_PARAMETER) {
        return "a bulk frame of no known kind";
    }
    if (header->id >= ids || header->part >= parts || header->node >= SEQSYNC_NODES_MAX ||
        header->count < 0 || (header->flags & ~BULK_FLAGS_KNOWN) != 0) {
        return "a bulk header's id, part, node, count or flags are out of their limits";
    }
    if (header->length > WIRE_BULK_CHUNK_BYTES || header->length != payload_length) {
        return "a bulk payload of another length than its header says";
    }
    if (header->offset > header->total || header->length > header->total - header->offset) {
        return "a bulk payload beyond its transfer";
    }
    return NULL;
}

const char *bulk_header_decode(const uint8_t *bytes, size_t length, size_t payload_length,
                               struct bulk_header *ret)
{
    struct bulk_header header;
    const uint8_t *at = bytes;

    if (length != BULK_HEADER_BYTES) {
        return "a bulk header of another size";
    }
    if (bytes_get(&at, 4) != BULK_MAGIC || bytes_get(&at, 1) != BULK_VERSION) {
        return "not a bulk header of this version";
    }
    header.kind = (uint8_t)bytes_get(&at, 1);
    header.part = (uint16_t)bytes_get(&at, 2);
    header.node = (uint8_t)bytes_get(&at, 1);
    if (bytes_get(&at, 3) != 0) {
        return "a bulk header with something in its reserved bytes";
    }
    header.flags = (uint32_t)bytes_get(&at, 4);
    header.id = (uint32_t)bytes_get(&at, 4);
    header.length = (uint32_t)bytes_get(&at, 4);
    header.job = bytes_get(&at, 8);
    header.generation = bytes_get(&at, 8);
    header.step = bytes_get(&at, 8);
    header.incarnation = bytes_get(&at, 8);
    header.offset = bytes_get(&at, 8);
    header.total = bytes_get(&at, 8);
    header.count = (int64_t)bytes_get(&at, 8);
    header.checksum = bytes_get(&at, 8);
    const char *why = header_check(&header, payload_length);
    if (why == NULL) {
        *ret = header;
    }
    return why;
}
