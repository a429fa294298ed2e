#include "proto/bulk.h"

#include "proto/bytes.h"

#include <string.h>

#define BULK_MAGIC UINT32_C(0x31515153) /* "SQQ1" */
#define BULK_VERSION 1

void bulk_header_encode(const struct bulk_header *header, uint8_t bytes[BULK_HEADER_BYTES])
{
    uint8_t *at = bytes;

    bytes_put(&at, BULK_MAGIC, 4);
    bytes_put(&at, BULK_VERSION, 1);
    bytes_put(&at, header->kind, 1);
    bytes_put(&at, header->part, 2);
    bytes_put(&at, header->node, 1);
    bytes_put(&at, header->flags & 0xFF, 1);
    bytes_put(&at, 0, 2);
    bytes_put(&at, header->id, 4);
    bytes_put(&at, header->job, 8);
    bytes_put(&at, header->generation, 8);
    bytes_put(&at, header->step, 8);
    bytes_put(&at, header->incarnation, 8);
    bytes_put(&at, header->offset, 8);
    bytes_put(&at, header->total, 8);
    bytes_put(&at, (uint64_t)header->count, 8);
    bytes_put(&at, header->length, 4);
    bytes_put(&at, header->checksum, 8);
    memset(at, 0, (size_t)(bytes + BULK_HEADER_BYTES - at));
}
_Static_assert(BULK_HEADER_BYTES == 4 + 1 + 1 + 2 + 1 + 1 + 2 + 4 + 7 * 8 + 4 + 8 + 4,
               "fields and tail fill it");

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
    header.flags = (uint32_t)bytes_get(&at, 1);
    (void)bytes_get(&at, 2);
    header.id = (uint32_t)bytes_get(&at, 4);
    header.job = bytes_get(&at, 8);
    header.generation = bytes_get(&at, 8);
    header.step = bytes_get(&at, 8);
    header.incarnation = bytes_get(&at, 8);
    header.offset = bytes_get(&at, 8);
    header.total = bytes_get(&at, 8);
    header.count = (int64_t)bytes_get(&at, 8);
    header.length = (uint32_t)bytes_get(&at, 4);
    header.checksum = bytes_get(&at, 8);
    if (header.kind < BULK_KV || header.kind > BULK_PARAMETER) {
        return "a bulk frame of no known kind";
    }
    if (header.length != payload_length) {
        return "a bulk payload of another length than its header says";
    }
    if (header.offset > header.total || header.length > header.total - header.offset) {
        return "a bulk payload beyond its transfer";
    }
    *ret = header;
    return NULL;
}
