/*
 * What forward and backward share: the scratch of a struct seqsync_attention, the copying of one
 * head's rows into it, and matrix products of a block that keep hidden values out.
 *
 * A block is at most block_q queries times block_k keys of one head. Rows of Q, K, V and dO are
 * copied into contiguous scratch first: OpenBLAS packs its operands anyway, and reads a head's rows
 * at the stride of all heads, often a power of two, 2 to 4 % slower (measured for whole products,
 * head_dim 64 and 128).
 */
#ifndef SEQSYNC_ATTENTION_BLOCK_H
#define SEQSYNC_ATTENTION_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/attention/api.h"

#include "client/attention/band.h"
#include "client/attention/kernels.h"

struct seqsync_attention {
    int32_t heads;
    int32_t heads_kv;
    int32_t head_dim;
    float scale;      /* of Q K^T */
    float scale_log2; /* scale * log2(e): logits are kept to the base 2 */
    const struct kernels *kernels;
    int32_t block_q;
    int32_t block_k;
    int32_t group; /* forward: blocks of queries that share one copy of a block of keys */

    /* One allocation, at @memory; each array aligned to 64 bytes. */
    void *memory;
    float *scores;   /* block_q x block_k */
    float *d_scores; /* block_q x block_k */
    float *q;        /* group * block_q x head_dim */
    float *out;      /* group * block_q x head_dim: forward, not yet normalised */
    float *d_o;      /* block_q x head_dim */
    float *k;        /* block_k x head_dim */
    float *v;        /* block_k x head_dim */
    float *d_k;      /* block_k x head_dim */
    float *d_v;      /* block_k x head_dim */
    float *row_max;  /* group * block_q; backward: the shift */
    float *row_sum;  /* group * block_q; backward: delta */
    int32_t *first;  /* block_q: columns seen by each row */
    int32_t *last;   /* block_q */
};

/* The rows of one head: rows x head_dim, row r at data + r * stride. */
struct head_rows {
    const float *data;
    int64_t stride;
};

/* A block of the tile being worked on, already trimmed to rows and columns that see something. */
struct block {
    struct band_rect rect;
    int32_t rows;
    int32_t columns;
    bool cut; /* holds hidden pairs */
};

/*
 * Makes @ret the block at @rect of the tile and fills first and last. False if nothing in it is
 * seen.
 */
bool block_init(struct block *ret, struct seqsync_attention *attention, const struct band *band,
                const struct band_rect *rect);

/* Copies rows begin .. end of @rows into @to, contiguously. */
void block_pack(float *to, const struct head_rows *rows, int64_t begin, int64_t end,
                int32_t head_dim);

/* The size of equal pieces, at most @most long, into which @count is cut; a multiple of 16 unless
 * one is enough. */
int64_t block_size(int64_t count, int32_t most);

/*
 * scores = alpha * a b^T; a: rows x head_dim, b: columns x head_dim, both contiguous. Of the hidden
 * pairs some are computed, others left as they are.
 */
void block_scores(const struct seqsync_attention *attention, const struct block *block, float alpha,
                  const float *a, const float *b, float *scores);

/*
 * to += alpha * weights from. weights: rows x columns of the block, 0 where hidden; from: columns x
 * head_dim, contiguous; to: rows x head_dim, row r at to + r * to_stride. A hidden pair contributes
 * nothing even where @from is NaN or infinite.
 */
void block_add(const struct seqsync_attention *attention, const struct block *block, float alpha,
               const float *weights, const float *from, float *to, int64_t to_stride);

/* to += alpha * weights^T from; from: rows x head_dim, to: columns x head_dim, both contiguous.
 * Otherwise the same. */
void block_add_transposed(const struct seqsync_attention *attention, const struct block *block,
                          float alpha, const float *weights, const float *from, float *to);

#endif
