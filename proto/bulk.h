/*
 * Header of a bulk frame, the first part of a two-part ZeroMQ message whose second part is the
 * payload. Little endian, fixed size, no protobuf: it is on the path of every byte.
 */
#ifndef SEQSYNC_PROTO_BULK_H
#define SEQSYNC_PROTO_BULK_H

#include <stddef.h>
#include <stdint.h>

#define BULK_HEADER_BYTES 88

enum bulk_kind {
    BULK_KV = 1, /* id = exchange, part = holder rank; offset into the holder's region of the inbox,
                    K then V */
    BULK_RETURN =
        2, /* id = exchange, part = holder rank; a node's partial dK/dV, laid out like BULK_KV */
    BULK_PARTIAL =
        3,           /* id = bucket, part = owner node; a node's partial sum of the owner's slice */
    BULK_RESULT = 4, /* id = bucket, part = owner node; the owner's finished slice */
    BULK_PARAMETER = 5, /* id = bucket, part = root rank; parameters */
};

struct bulk_header {
    uint64_t job;
    uint64_t generation;
    uint64_t step;        /* or parameter round */
    uint64_t incarnation; /* of the sending daemon */
    uint64_t offset;      /* of the payload in the transfer, bytes */
    uint64_t total;       /* bytes of the transfer */
    uint64_t checksum;    /* XXH3-64 of the payload */
    int64_t count;        /* BULK_PARTIAL, BULK_RESULT: the count that goes with the sum */
    uint32_t id;
    uint32_t length; /* payload bytes */
    uint16_t part;
    uint8_t kind;   /* enum bulk_kind */
    uint8_t node;   /* sender */
    uint32_t flags; /* bit 0: the transfer holds non-finite values */
};

void bulk_header_encode(const struct bulk_header *header, uint8_t bytes[BULK_HEADER_BYTES]);

/* Decodes untrusted bytes. NULL, or a static sentence: magic, version, kind, offset + length beyond
 * total. */
const char *bulk_header_decode(const uint8_t *bytes, size_t length, size_t payload_length,
                               struct bulk_header *ret);

#endif
