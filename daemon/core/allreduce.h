/*
 * Small values reduced over all ranks, in rank order: the same bits wherever the ranks are. f32 is
 * accumulated in f64 and rounded once, f64 is plain, i64 is checked for overflow. A NaN in a MIN or
 * MAX stays one.
 */
#ifndef SEQSYNC_CORE_ALLREDUCE_H
#define SEQSYNC_CORE_ALLREDUCE_H

#include <seqsync/types.h>
#include <stdbool.h>

#define ALLREDUCE_BYTES_MAX 16384u /* SEQSYNC_ALL_REDUCE_BYTES_MAX of the public header */

enum allreduce_outcome {
    ALLREDUCE_OVERFLOW = 1, /* a sum of i64 has no i64 */
};

/* Whether @bytes of @dtype can be reduced by @op; no bytes at all are a barrier and always can. */
bool allreduce_is_legal(uint32_t dtype, uint32_t op, uint32_t bytes);

/* What all ranks must agree on. Never 0. */
uint64_t allreduce_digest(uint32_t dtype, uint32_t op, uint32_t bytes);

/*
 * @values: rank r's at r * ALLREDUCE_BYTES_MAX, aligned for 8-byte values. Writes @ret[bytes], also
 * on an outcome. Legal arguments only.
 */
int allreduce_compute(const uint8_t *values, uint32_t rank_count, uint32_t dtype, uint32_t op,
                      uint32_t bytes, uint8_t *ret);

#endif
