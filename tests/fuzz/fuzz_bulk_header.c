#include "fuzz.h"

#include "proto/bulk.h"
#include "proto/wire.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[BULK_HEADER_BYTES];
    struct bulk_header header;
    uint32_t payload_length = 0;

    /* The payload is as long as the header says, or else nothing would ever be accepted. */
    if (size == BULK_HEADER_BYTES) {
        memcpy(&payload_length, data + 20, sizeof(payload_length));
    }
    if (bulk_header_decode(data, size, payload_length, &header) != NULL) {
        return 0;
    }
    fuzz_require(header.length == payload_length && header.length <= WIRE_BULK_CHUNK_BYTES);
    fuzz_require(header.offset + header.length >= header.offset);
    fuzz_require(header.offset + header.length <= header.total);
    fuzz_require(header.kind >= BULK_KV && header.kind <= BULK_PARAMETER && header.count >= 0);
    bulk_header_encode(&header, again);
    fuzz_require(memcmp(again, data, size) == 0);
    fuzz_require(bulk_header_decode(data, size, (size_t)payload_length + 1, &header) != NULL);
    return 0;
}
