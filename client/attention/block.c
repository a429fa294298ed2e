/*
 * Hidden pairs in a product. Rows and columns that see nothing at all are trimmed away before
 * anything is computed, so their values are never touched. In a block that the band cuts, a hidden
 * pair has weight 0, and 0 times a finite value adds nothing; but 0 * NaN is NaN. Therefore the
 * operand of a cut block is searched for non-finite values first, and if it has any, the seen pairs
 * alone are added one by one. Cut blocks are few (those on the edges of the band), and non-finite
 * values mean that the training step is lost anyway, so this path has to be right, not fast.
 */
#include "client/attention/block.h"

#include <cblas.h>
#include <string.h>

bool block_init(struct block *ret, struct seqsync_attention *attention, const struct band *band,
                const struct band_rect *rect)
{
    struct band_rect seen = *rect;

    if (!band_trim(band, &seen)) {
        return false;
    }
    ret->rect = seen;
    ret->rows = (int32_t)(seen.q_end - seen.q_begin);
    ret->columns = (int32_t)(seen.k_end - seen.k_begin);
    ret->cut = band_cuts(band, &seen);
    band_ranges(band, &seen, attention->first, attention->last);
    return true;
}

void block_pack(float *to, const struct head_rows *rows, int64_t begin, int64_t end,
                int32_t head_dim)
{
    for (int64_t r = begin; r < end; r++) {
        memcpy(to + (r - begin) * head_dim, rows->data + r * rows->stride,
               (size_t)head_dim * sizeof(*to));
    }
}

int64_t block_size(int64_t count, int32_t most)
{
    int64_t pieces = (count + most - 1) / most;
    int64_t size = (count + pieces - 1) / pieces;

    return pieces == 1 ? count : (size + 15) / 16 * 16;
}

/* Written over the bits, which the compiler may vectorise, as it may not reorder float additions.
 */
static bool all_finite(const float *x, int64_t n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;

    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, x + i, sizeof(bits));
        found |= (bits & exponent) == exponent;
    }
    return !found;
}

void block_scores(const struct seqsync_attention *attention, const struct block *block, float alpha,
                  const float *a, const float *b, float *scores)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, block->rows, block->columns,
                attention->head_dim, alpha, a, attention->head_dim, b, attention->head_dim, 0.0f,
                scores, attention->block_k);
}

void block_add(const struct seqsync_attention *attention, const struct block *block, float alpha,
               const float *weights, const float *from, float *to, int64_t to_stride)
{
    int32_t head_dim = attention->head_dim;

    if (!block->cut || all_finite(from, (int64_t)block->columns * head_dim)) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, block->rows, head_dim,
                    block->columns, alpha, weights, attention->block_k, from, head_dim, 1.0f, to,
                    (blasint)to_stride);
        return;
    }
    for (int32_t r = 0; r < block->rows; r++) {
        for (int32_t c = attention->first[r]; c < attention->last[r]; c++) {
            float weight = alpha * weights[r * (int64_t)attention->block_k + c];

            for (int32_t i = 0; i < head_dim; i++) {
                to[r * to_stride + i] += weight * from[(int64_t)c * head_dim + i];
            }
        }
    }
}

void block_add_transposed(const struct seqsync_attention *attention, const struct block *block,
                          float alpha, const float *weights, const float *from, float *to)
{
    int32_t head_dim = attention->head_dim;

    if (!block->cut || all_finite(from, (int64_t)block->rows * head_dim)) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, block->columns, head_dim, block->rows,
                    alpha, weights, attention->block_k, from, head_dim, 1.0f, to, head_dim);
        return;
    }
    for (int32_t r = 0; r < block->rows; r++) {
        for (int32_t c = attention->first[r]; c < attention->last[r]; c++) {
            float weight = alpha * weights[r * (int64_t)attention->block_k + c];

            for (int32_t i = 0; i < head_dim; i++) {
                to[(int64_t)c * head_dim + i] += weight * from[(int64_t)r * head_dim + i];
            }
        }
    }
}
