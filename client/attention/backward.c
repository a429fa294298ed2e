/*
 * Backward over one tile (FlashAttention-2, algorithm 2): for each head and block of keys, over the
 * blocks of queries, with P computed again from the scores and lse. dK and dV of the block of keys
 * are summed in scratch and added once per head; dQ is added in place. Query heads that share a K/V
 * head add to its gradients one after the other.
 */
#include "client/attention/tile.h"

#include <math.h>
#include <string.h>

#include "client/attention/block.h"

struct backward {
    struct seqsync_attention *attention;
    const struct seqsync_tile *tile;
    struct band band;
    int64_t size_q;
    int64_t size_k;
    int64_t q_stride;
    const float *lse;
    const float *delta;
    struct head_rows q; /* of the head being worked on */
    struct head_rows d_o;
    struct head_rows k;
    struct head_rows v;
    float *dq;
};

/* A row with lse -INFINITY saw no key anywhere: an infinite shift makes its weights 0. */
static void load_rows(const struct backward *backward, int32_t head, const struct block *block)
{
    struct seqsync_attention *attention = backward->attention;

    for (int32_t r = 0; r < block->rows; r++) {
        int64_t at = (backward->tile->q_row + block->rect.q_begin + r) * attention->heads + head;
        float lse = backward->lse[at];

        attention->row_max[r] = lse == -INFINITY ? INFINITY : (float)((double)lse * M_LOG2E);
        attention->row_sum[r] = backward->delta[at];
    }
    block_pack(attention->q, &backward->q, block->rect.q_begin, block->rect.q_end,
               attention->head_dim);
    block_pack(attention->d_o, &backward->d_o, block->rect.q_begin, block->rect.q_end,
               attention->head_dim);
}

static void backward_block(const struct backward *backward, int32_t head, const struct block *block,
                           int64_t k_begin)
{
    struct seqsync_attention *attention = backward->attention;
    int64_t skip = (block->rect.k_begin - k_begin) * attention->head_dim;
    struct score_block scores = {
        .scores = attention->scores,
        .stride = attention->block_k,
        .rows = block->rows,
        .columns = block->columns,
        .first = attention->first,
        .last = attention->last,
    };

    load_rows(backward, head, block);
    block_scores(attention, block, attention->scale_log2, attention->q, attention->k + skip,
                 attention->scores);
    block_scores(attention, block, 1.0f, attention->d_o, attention->v + skip, attention->d_scores);
    attention->kernels->softmax_gradient(&scores, attention->d_scores, attention->row_max,
                                         attention->row_sum);
    block_add_transposed(attention, block, 1.0f, attention->scores, attention->d_o,
                         attention->d_v + skip);
    block_add_transposed(attention, block, attention->scale, attention->d_scores, attention->q,
                         attention->d_k + skip);
    block_add(attention, block, attention->scale, attention->d_scores, attention->k + skip,
              backward->dq + block->rect.q_begin * backward->q_stride, backward->q_stride);
}

/* True if any query of the tile sees a key of begin .. end. */
static bool backward_keys(const struct backward *backward, int32_t head, int64_t begin, int64_t end)
{
    struct seqsync_attention *attention = backward->attention;
    int64_t queries = backward->tile->q_count;
    size_t bytes = (size_t)(end - begin) * (size_t)attention->head_dim * sizeof(float);
    bool any = false;

    for (int64_t at = 0; at < queries; at += backward->size_q) {
        int64_t stop = at + backward->size_q < queries ? at + backward->size_q : queries;
        struct band_rect rect = {at, stop, begin, end};
        struct block block;

        if (!block_init(&block, attention, &backward->band, &rect)) {
            continue;
        }
        if (!any) {
            block_pack(attention->k, &backward->k, begin, end, attention->head_dim);
            block_pack(attention->v, &backward->v, begin, end, attention->head_dim);
            memset(attention->d_k, 0, bytes);
            memset(attention->d_v, 0, bytes);
            any = true;
        }
        backward_block(backward, head, &block, begin);
    }
    return any;
}

static void add_rows(const struct seqsync_attention *attention, float *to, int64_t stride,
                     const float *rows, int64_t count)
{
    for (int64_t r = 0; r < count; r++) {
        attention->kernels->blend(to + r * stride, 1.0f, rows + r * attention->head_dim, 1.0f,
                                  attention->head_dim);
    }
}

int seqsync_attention_backward_tile(struct seqsync_attention *attention,
                                    const struct seqsync_tile *tile, const float *q,
                                    int64_t q_stride, const float *k, const float *v,
                                    int64_t kv_stride, const float *d_o, const float *lse,
                                    const float *delta, float *dq, float *dk, float *dv,
                                    int64_t dkv_stride)
{
    struct backward backward = {
        .attention = attention, .tile = tile, .q_stride = q_stride, .lse = lse, .delta = delta};

    if (tile_check(attention, tile, q_stride, kv_stride) ||
        tile_check(attention, tile, q_stride, dkv_stride)) {
        return SEQSYNC_ERR_INVALID;
    }
    if (!q || !k || !v || !d_o || !lse || !delta || !dq || !dk || !dv) {
        return SEQSYNC_ERR_INVALID;
    }
    backward.band = band_of_tile(tile);
    backward.size_q = block_size(tile->q_count, attention->block_q);
    backward.size_k = block_size(tile->k_count, attention->block_k);
    for (int32_t head = 0; head < attention->heads; head++) {
        int64_t q_offset = tile->q_row * q_stride + (int64_t)head * attention->head_dim;
        int64_t kv_column = tile_head_kv(attention, head) * (int64_t)attention->head_dim;

        backward.q = (struct head_rows){q + q_offset, q_stride};
        backward.d_o = (struct head_rows){d_o + q_offset, q_stride};
        backward.k = (struct head_rows){k + kv_column, kv_stride};
        backward.v = (struct head_rows){v + kv_column, kv_stride};
        backward.dq = dq + q_offset;
        for (int64_t at = 0; at < tile->k_count; at += backward.size_k) {
            int64_t stop =
                at + backward.size_k < tile->k_count ? at + backward.size_k : tile->k_count;

            if (backward_keys(&backward, head, at, stop)) {
                add_rows(attention, dk + at * dkv_stride + kv_column, dkv_stride, attention->d_k,
                         stop - at);
                add_rows(attention, dv + at * dkv_stride + kv_column, dkv_stride, attention->d_v,
                         stop - at);
            }
        }
    }
    return SEQSYNC_OK;
}
