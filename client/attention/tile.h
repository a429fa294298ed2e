/* What the calls on tiles check and look up alike. */
#ifndef SEQSYNC_ATTENTION_TILE_H
#define SEQSYNC_ATTENTION_TILE_H

#include <stdint.h>

#include "client/attention/block.h"

/* SEQSYNC_ERR_INVALID unless the tile and strides (of rows of Q and of K/V) are usable with this
 * shape. */
int tile_check(const struct seqsync_attention *attention, const struct seqsync_tile *tile,
               int64_t q_stride, int64_t kv_stride);

/* The K/V head that query head @head reads. */
static inline int32_t tile_head_kv(const struct seqsync_attention *attention, int32_t head)
{
    return (int32_t)((int64_t)head * attention->heads_kv / attention->heads);
}

#endif
