/*
 * Blockwise attention on OpenBLAS: forward and backward over a list of tiles, with running
 * log-sum-exp, never an S x S matrix. Part of libseqsync-attention; independent of sessions, so
 * that it can be used and tested alone.
 *
 * Shapes. Q, O, dO, dQ: row r at q + r * q_stride, then [heads][head_dim]. K, V, dK, dV: row r at k
 * + r * kv_stride, then [heads_kv][head_dim]. f32, strides in elements. Query head h reads K/V head
 * h * heads_kv / heads  (heads need not be a multiple of heads_kv). lse: [rows][heads], natural
 * logarithm of the softmax denominator, -INFINITY for a row that saw no key, or only keys with
 * logit -INFINITY (its output is 0 and its gradients are 0).
 *
 * Formulas: Milakov & Gimelshein, "Online normalizer calculation for softmax", section 3;
 * FlashAttention-2 (Dao 2023), section 3.1 (forward, backward); the merge of two blocks is m =
 * max(a, b), lse = m + log1p(exp(min - m)).
 *
 * Order. Tiles are added in the order of the calls, blocks inside a tile in a fixed order: the same
 * calls give the same bits on one machine. Accumulation is f32 or wider. What a mask hides is never
 * read into a result: NaN there stays there.
 *
 * Threads. Calls on different states may run on different threads; one state belongs to one thread
 * at a time. OpenBLAS must run with one thread per caller: seqsync_attention_init() asks for that.
 */
#ifndef SEQSYNC_ATTENTION_H
#define SEQSYNC_ATTENTION_H

#include <seqsync/status.h>
#include <seqsync/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct seqsync_attention; /* scratch blocks and the shape; size independent of S */

struct seqsync_attention_shape {
    size_t size;      /* sizeof(struct seqsync_attention_shape) */
    int32_t heads;    /* >= 1 */
    int32_t heads_kv; /* 1 .. heads */
    int32_t head_dim; /* 1 .. 1024 */
    float scale;      /* of Q K^T; 0 means 1 / sqrt(head_dim) */
};

/* Makes scratch for @shape. The caller frees it. SEQSYNC_ERR_INVALID, SEQSYNC_ERR_NO_MEMORY. */
int seqsync_attention_new(const struct seqsync_attention_shape *shape,
                          struct seqsync_attention **ret);

/* Accepts NULL; returns NULL. */
struct seqsync_attention *seqsync_attention_free(struct seqsync_attention *attention);

/* Clears o (rows x heads x head_dim, stride @q_stride) to 0 and lse to -INFINITY: the state before
 * any tile. */
void seqsync_attention_forward_begin(struct seqsync_attention *attention, int64_t rows, float *o,
                                     int64_t q_stride, float *lse);

/*
 * Adds one tile: rows q_row .. q_row + q_count of Q against rows 0 .. k_count of @k and @v, which
 * point at the tile's first key. After each call o is normalised and lse complete for all tiles so
 * far. Borrows everything during the call.
 *
 * SEQSYNC_ERR_INVALID, with nothing changed: counts below 1 or above 2^31 - 1, a negative first
 * index or row, a stride shorter than a row or above 2^31 - 1, a NULL pointer.
 */
int seqsync_attention_forward_tile(struct seqsync_attention *attention,
                                   const struct seqsync_tile *tile, const float *q,
                                   int64_t q_stride, const float *k, const float *v,
                                   int64_t kv_stride, float *o, float *lse);

/*
 * delta[row][head] = sum_d o * do, needed by every backward tile of those rows (FlashAttention-2,
 * algorithm 2, line 4).
 */
void seqsync_attention_backward_begin(struct seqsync_attention *attention, int64_t rows,
                                      const float *o, const float *d_o, int64_t q_stride,
                                      float *delta);

/*
 * Adds one tile's share to dq (rows q_row ..), and to dk and dv, which point at the gradients of
 * the tile's first key. lse is that of the whole forward, over all tiles of the row. Accumulates:
 * clear dq, dk, dv before the first tile. Errors as forward_tile.
 */
int seqsync_attention_backward_tile(struct seqsync_attention *attention,
                                    const struct seqsync_tile *tile, const float *q,
                                    int64_t q_stride, const float *k, const float *v,
                                    int64_t kv_stride, const float *d_o, const float *lse,
                                    const float *delta, float *dq, float *dk, float *dv,
                                    int64_t dkv_stride);

/* Sets OpenBLAS to one thread in this process. Call it before the first tile, from one thread. */
void seqsync_attention_init(void);

/*
 * Name of the kernels chosen at run time, and OpenBLAS's core, e.g. "avx2, OpenBLAS Zen". Static.
 * The kernels are the widest of "avx512", "avx2" and "portable" that the processor runs, or the one
 * of these that the environment variable SEQSYNC_KERNELS names, if it runs here. Decided at the
 * first use in the process.
 */
const char *seqsync_attention_kernels(void);

#ifdef __cplusplus
}
#endif
#endif
