/*
 * Forward over one tile, for each head and group of queries: a softmax kept unnormalised over all
 * the tile's blocks of keys (FlashAttention-2, section 3.1.1), then one merge of the finished tile
 * into o and lse. A group is several blocks of queries, over which the copying of a block of keys
 * and values into scratch is spread.
 */
#include "client/attention/tile.h"

#include <math.h>
#include <string.h>

#include "client/attention/block.h"

struct forward {
    struct seqsync_attention *attention;
    const struct seqsync_tile *tile;
    struct band band;
    int64_t size_q; /* queries and keys of a block */
    int64_t size_k;
    float *o;
    int64_t o_stride;
    float *lse;
    int32_t head; /* being worked on, and its rows */
    struct head_rows q;
    struct head_rows k;
    struct head_rows v;
    int64_t begin; /* the group's queries */
    int64_t end;
};

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/*
 * Merges row r of the group into the state of row @row of the shard. The weights of the two sides
 * are exp(a - lse) and exp(b - lse) with lse = max + log1p(exp(min - max)), written so that they
 * add up to 1 and no exponent is positive.
 */
static void merge_row(const struct forward *forward, int64_t row, int64_t r)
{
    struct seqsync_attention *attention = forward->attention;
    float *o = forward->o + row * forward->o_stride + (int64_t)forward->head * attention->head_dim;
    float *lse = forward->lse + row * attention->heads + forward->head;
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
    attention->kernels->blend(o, (float)(1 - tile_weight), attention->out + r * attention->head_dim,
                              (float)(tile_weight / sum), attention->head_dim);
}

/* One block, whose keys and values lie in the scratch from key @k_begin on. */
static void forward_block(const struct forward *forward, const struct block *block, int64_t k_begin)
{
    struct seqsync_attention *attention = forward->attention;
    int64_t row = block->rect.q_begin - forward->begin;
    int64_t at_q = row * attention->head_dim;
    int64_t at_k = (block->rect.k_begin - k_begin) * attention->head_dim;
    struct score_block scores = {
        .scores = attention->scores,
        .stride = attention->block_k,
        .rows = block->rows,
        .columns = block->columns,
        .first = attention->first,
        .last = attention->last,
    };

    block_scores(attention, block, attention->scale_log2, attention->q + at_q, attention->k + at_k,
                 attention->scores);
    attention->kernels->softmax(&scores, attention->row_max + row, attention->row_sum + row,
                                attention->out + at_q, attention->head_dim);
    block_add(attention, block, 1.0f, attention->scores, attention->v + at_k, attention->out + at_q,
              attention->head_dim);
}

/* The group's queries against keys begin .. end. */
static void forward_keys(const struct forward *forward, int64_t begin, int64_t end)
{
    struct seqsync_attention *attention = forward->attention;
    struct band_rect seen = {forward->begin, forward->end, begin, end};

    if (!band_trim(&forward->band, &seen)) {
        return;
    }
    block_pack(attention->k, &forward->k, seen.k_begin, seen.k_end, attention->head_dim);
    block_pack(attention->v, &forward->v, seen.k_begin, seen.k_end, attention->head_dim);
    for (int64_t at = forward->begin; at < forward->end; at += forward->size_q) {
        struct band_rect rect = {at, min_i64(at + forward->size_q, forward->end), seen.k_begin,
                                 seen.k_end};
        struct block block;

        if (block_init(&block, attention, &forward->band, &rect)) {
            forward_block(forward, &block, seen.k_begin);
        }
    }
}

static void forward_group(const struct forward *forward)
{
    struct seqsync_attention *attention = forward->attention;
    int64_t rows = forward->end - forward->begin;
    int64_t keys = forward->tile->k_count;

    block_pack(attention->q, &forward->q, forward->begin, forward->end, attention->head_dim);
    memset(attention->out, 0, (size_t)(rows * attention->head_dim) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        attention->row_max[r] = -INFINITY;
        attention->row_sum[r] = 0;
    }
    for (int64_t at = 0; at < keys; at += forward->size_k) {
        forward_keys(forward, at, min_i64(at + forward->size_k, keys));
    }
    for (int64_t r = 0; r < rows; r++) {
        merge_row(forward, forward->tile->q_row + forward->begin + r, r);
    }
}

int seqsync_attention_forward_tile(struct seqsync_attention *attention,
                                   const struct seqsync_tile *tile, const float *q,
                                   int64_t q_stride, const float *k, const float *v,
                                   int64_t kv_stride, float *o, float *lse)
{
    struct forward forward = {
        .attention = attention, .tile = tile, .o = o, .o_stride = q_stride, .lse = lse};

    if (tile_check(attention, tile, q_stride, kv_stride) || !q || !k || !v || !o || !lse) {
        return SEQSYNC_ERR_INVALID;
    }
    forward.band = band_of_tile(tile);
    forward.size_q = block_size(tile->q_count, attention->block_q);
    forward.size_k = block_size(tile->k_count, attention->block_k);
    for (int32_t head = 0; head < attention->heads; head++) {
        int64_t q_offset = tile->q_row * q_stride + (int64_t)head * attention->head_dim;
        int64_t kv_column = tile_head_kv(attention, head) * (int64_t)attention->head_dim;

        forward.head = head;
        forward.q = (struct head_rows){q + q_offset, q_stride};
        forward.k = (struct head_rows){k + kv_column, kv_stride};
        forward.v = (struct head_rows){v + kv_column, kv_stride};
        for (int64_t at = 0; at < tile->q_count; at = forward.end) {
            forward.begin = at;
            forward.end = min_i64(at + attention->group * forward.size_q, tile->q_count);
            forward_group(&forward);
        }
    }
    return SEQSYNC_OK;
}
