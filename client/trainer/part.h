/*
 * What one rank holds of a batch, as the plan gives it: rows in chunks of consecutive tokens, the
 * tiles of attention it computes, and the sources of their keys. Arrays are borrowed from whoever
 * made the part.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_PART_H
#define SEQSYNC_CLIENT_TRAINER_PART_H

#include <stdbool.h>
#include <stdint.h>

#include <seqsync/types.h>

/* Rows worked on together: enough for an efficient GEMM, few enough for scratch in the cache. */
#define ROWS_MAX 256

struct part {
    int64_t rows; /* tokens held; may be 0 */
    const struct seqsync_chunk *chunks;
    uint32_t chunk_count;
    const struct seqsync_tile *tiles;
    uint32_t tile_count;
    uint32_t own_source; /* index of the source that is this rank; UINT32_MAX if none is */
    uint32_t sequences;  /* of the whole batch */
    int64_t return_rows; /* rows of others this rank returns dK/dV for */
};

/* At most ROWS_MAX consecutive tokens of one sequence. Begin with {0}. */
struct rows {
    int64_t row;      /* first, in the shard */
    int64_t count;    /* 0 before the first and after the last */
    int64_t position; /* of the first within its sequence */
    int64_t global;   /* index of the first in the batch */
    uint32_t sequence;
    uint32_t chunk;
};

/* Moves to the next rows of @part; false after the last. */
bool rows_next(const struct part *part, struct rows *rows);

#endif
