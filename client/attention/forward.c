/*
 * Forward over one tile, for each head and block of queries: a softmax kept unnormalised over all
 * the tile's blocks of keys (FlashAttention-2, section 3.1.1), then one merge of the finished tile
 * into o and lse.
 */
#include "client/attention/tile.h"

#include <math.h>

#include "client/attention/block.h"

struct forward {
    struct seqsync_attention *attention;
    const struct seqsync_tile *tile;
    struct band band;
    int64_t size_q;
    int64_t size_k;
    float *o;
    int64_t o_stride;
    float *lse;
};

/*
 * Merges row r of the scratch into the state of row @row. The weights of the two sides are exp(a -
 * lse) and exp(b - lse) with lse = max + log1p(exp(min - max)), written so that they add up to 1
 * and no exponent is positive.
 */
static void merge_row(const struct forward *forward, int32_t head, int64_t row, int32_t r)
{
    struct seqsync_attention *attention = forward->attention;
    float *o = forward->o + row * forward->o_stride + (int64_t)head * attention->head_dim;
    float *lse = forward->lse + row * attention->heads + head;
    double sum = (double)attention->row_sum[r];
    double before = (double)*lse;
    double tile;
    double greater;
    double share;
    double tile_weight;

    if (sum == 0) {
        return; /* saw no key in this tile */
    }
    tile = (double)attention->row_max[r] * M_LN2 + log(sum);
    if (before > tile) {
        share = exp(tile - before);
        greater = before;
        tile_weight = share / (1 + share);
    } else {
        share = exp(before - tile);
        greater = tile;
        tile_weight = 1 / (1 + share);
    }
    *lse = (float)(greater + log1p(share));
    attention->kernels->blend(o, (float)(1 - tile_weight),
                              attention->out + (int64_t)r * attention->head_dim,
                              (float)(tile_weight / sum), attention->head_dim);
}

static void forward_block(const struct forward *forward, const struct block *block,
                          const struct head_rows *k, const struct head_rows *v, int64_t q_begin)
{
    struct seqsync_attention *attention = forward->attention;
    int32_t head_dim = attention->head_dim;
    int64_t skip = block->rect.q_begin - q_begin;
    struct score_block scores = {
        .scores = attention->scores,
        .stride = attention->block_k,
        .rows = block->rows,
        .columns = block->columns,
        .first = attention->first,
        .last = attention->last,
    };

    block_pack(attention->k, k, block->rect.k_begin, block->rect.k_end, head_dim);
    block_pack(attention->v, v, block->rect.k_begin, block->rect.k_end, head_dim);
    block_scores(attention, block, attention->scale_log2, attention->q + skip * head_dim,
                 attention->k, attention->scores);
    attention->kernels->softmax(&scores, attention->row_max + skip, attention->row_sum + skip,
                                attention->out + skip * head_dim, head_dim);
    block_add(attention, block, 1.0f, attention->scores, attention->v,
              attention->out + skip * head_dim, head_dim);
}

static void forward_rows(const struct forward *forward, int32_t head, const struct head_rows *q,
                         const struct head_rows *k, const struct head_rows *v, int64_t begin,
                         int64_t end)
{
    struct seqsync_attention *attention = forward->attention;
    int64_t keys = forward->tile->k_count;

    block_pack(attention->q, q, begin, end, attention->head_dim);
    for (int64_t i = 0; i < (end - begin) * attention->head_dim; i++) {
        attention->out[i] = 0;
    }
    for (int64_t r = 0; r < end - begin; r++) {
        attention->row_max[r] = -INFINITY;
        attention->row_sum[r] = 0;
    }
    for (int64_t at = 0; at < keys; at += forward->size_k) {
        int64_t stop = at + forward->size_k < keys ? at + forward->size_k : keys;
        struct band_rect rect = {begin, end, at, stop};
        struct block block;

        if (block_init(&block, attention, &forward->band, &rect)) {
            forward_block(forward, &block, k, v, begin);
        }
    }
    for (int64_t r = begin; r < end; r++) {
        merge_row(forward, head, forward->tile->q_row + r, (int32_t)(r - begin));
    }
}

int seqsync_attention_forward_tile(struct seqsync_attention *attention,
                                   const struct seqsync_tile *tile, const float *q,
                                   int64_t q_stride, const float *k, const float *v,
                                   int64_t kv_stride, float *o, float *lse)
{
    struct forward forward = {
        .attention = attention, .tile = tile, .o = o, .o_stride = q_stride, .lse = lse};
    int r;

    r = tile_check(attention, tile, q_stride, kv_stride);
    if (r || !q || !k || !v || !o || !lse) {
        return SEQSYNC_ERR_INVALID;
    }
    forward.band = band_of_tile(tile);
    forward.size_q = block_size(tile->q_count, attention->block_q);
    forward.size_k = block_size(tile->k_count, attention->block_k);
    for (int32_t head = 0; head < attention->heads; head++) {
        int64_t kv_column = tile_head_kv(attention, head) * (int64_t)attention->head_dim;
        struct head_rows q_rows = {q + tile->q_row * q_stride + (int64_t)head * attention->head_dim,
                                   q_stride};
        struct head_rows k_rows = {k + kv_column, kv_stride};
        struct head_rows v_rows = {v + kv_column, kv_stride};

        for (int64_t at = 0; at < tile->q_count; at += forward.size_q) {
            int64_t stop =
                at + forward.size_q < tile->q_count ? at + forward.size_q : tile->q_count;

            forward_rows(&forward, head, &q_rows, &k_rows, &v_rows, at, stop);
        }
    }
    return SEQSYNC_OK;
}
