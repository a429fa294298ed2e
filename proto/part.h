/*
 * One rank's part of a plan as bytes in a sealed memfd: a header and flat arrays of the structs of
 * types.h in host layout (both ends are on one machine). The daemon writes it; the worker maps it
 * read-only, checks every bound, and uses it in place.
 */
#ifndef SEQSYNC_PROTO_PART_H
#define SEQSYNC_PROTO_PART_H

#include <seqsync/types.h>
#include <stdbool.h>

/* The arrays of one space. In an encoded part they point into the bytes. */
struct part_space {
    const struct seqsync_chunk *chunks;
    const struct seqsync_tile *tiles;
    const struct seqsync_source *sources;
    uint32_t chunk_count;
    uint32_t tile_count;
    uint32_t source_count;
    uint32_t reserved;
    int64_t rows;
    int64_t return_rows;
    int64_t inbox_rows; /* of the node */
    int64_t total;
    int64_t area;
};

struct part {
    struct part_space spaces[SEQSYNC_SPACES_N];
    const int64_t (
        *local_rows)[SEQSYNC_SPACES_N]; /* [local_count]: K/V rows of each rank of this node */
    const int64_t (*local_return_rows)[SEQSYNC_SPACES_N]; /* [local_count] */
    const uint32_t *local_ranks;                          /* [local_count], ascending */
    const int64_t
        *sequence_ends; /* [sequence_count]: global index after each sequence's last token */
    uint32_t local_count;
    uint32_t sequence_count;
    uint32_t rank;
    uint32_t placement;
    uint64_t seed;
    uint64_t step;
    uint64_t plan_digest;
};

/* Bytes that part_encode() will write; false on overflow. */
bool part_bytes(const struct part *part, size_t *ret);

/* Writes exactly part_bytes() bytes. */
void part_encode(const struct part *part, uint8_t *bytes);

/*
 * Checks the bytes and points *ret into them (they must stay mapped and be 64-byte aligned). NULL,
 * or a static sentence: sizes, counts, rows outside the shard, tiles outside their source's view or
 * the return buffer. Bytes behind the part's own, the rest of a mapped page, are not looked at.
 */
const char *part_decode(const uint8_t *bytes, size_t length, struct part *ret);

#endif
