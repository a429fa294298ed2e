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

/* Rows of a stripe: fewer make OpenBLAS slower than the columns saved are worth. */
#define STRIPE_ROWS 96

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

/*
 * Rows begin .. end of a block and the columns that any of them sees. A cut block is computed in
 * stripes, as most of what lies beyond the band's edge is then left out: half a block on the
 * diagonal of a causal mask.
 */
struct stripe {
    int32_t begin;
    int32_t end;
    int32_t first;
    int32_t columns;
};

static struct stripe stripe_at(const struct seqsync_attention *attention, const struct block *block,
                               int32_t begin)
{
    int32_t end =
        block->cut && block->rows - begin > STRIPE_ROWS ? begin + STRIPE_ROWS : block->rows;
    int32_t first = attention->first[begin];

    /* Both ends of what a row sees only move to the right from row to row. */
    return (struct stripe){begin, end, first, attention->last[end - 1] - first};
}

void block_scores(const struct seqsync_attention *attention, const struct block *block, float alpha,
                  const float *a, const float *b, float *scores)
{
    int32_t head_dim = attention->head_dim;
    int64_t stride = attention->block_k;

    /* OpenBLAS clears its result four times as slowly as memset, which costs as much as the whole
     * softmax. */
    memset(scores, 0, (size_t)(block->rows * stride) * sizeof(*scores));
    for (int32_t row = 0; row < block->rows;) {
        struct stripe stripe = stripe_at(attention, block, row);

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, stripe.end - stripe.begin,
                    stripe.columns, head_dim, alpha, a + (int64_t)stripe.begin * head_dim, head_dim,
                    b + (int64_t)stripe.first * head_dim, head_dim, 1.0f,
                    scores + stripe.begin * stride + stripe.first, (blasint)stride);
        row = stripe.end;
    }
}

/* to[r] += alpha * sum over the seen c of weights[r][c] * from[c], or with the roles of r and c
 * exchanged. */
static void add_seen(const struct seqsync_attention *attention, const struct block *block,
                     float alpha, const float *weights, const float *from, float *to,
                     int64_t to_stride, bool transposed)
{
    int32_t head_dim = attention->head_dim;

    for (int32_t r = 0; r < block->rows; r++) {
        for (int32_t c = attention->first[r]; c < attention->last[r]; c++) {
            float weight = alpha * weights[r * (int64_t)attention->block_k + c];
            const float *source = from + (int64_t)(transposed ? r : c) * head_dim;
            float *target = to + (transposed ? c : r) * to_stride;

            for (int32_t i = 0; i < head_dim; i++) {
                target[i] += weight * source[i];
            }
        }
    }
}

void block_add(const struct seqsync_attention *attention, const struct block *block, float alpha,
               const float *weights, const float *from, float *to, int64_t to_stride)
{
    int32_t head_dim = attention->head_dim;
    int64_t stride = attention->block_k;

    if (block->cut && !all_finite(from, (int64_t)block->columns * head_dim)) {
        add_seen(attention, block, alpha, weights, from, to, to_stride, /* transposed= */ false);
        return;
    }
    for (int32_t row = 0; row < block->rows;) {
        struct stripe stripe = stripe_at(attention, block, row);

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, stripe.end - stripe.begin, head_dim,
                    stripe.columns, alpha, weights + stripe.begin * stride + stripe.first,
                    (blasint)stride, from + (int64_t)stripe.first * head_dim, head_dim, 1.0f,
                    to + stripe.begin * to_stride, (blasint)to_stride);
        row = stripe.end;
    }
}

void block_add_transposed(const struct seqsync_attention *attention, const struct block *block,
                          float alpha, const float *weights, const float *from, float *to)
{
    int32_t head_dim = attention->head_dim;
    int64_t stride = attention->block_k;

    if (block->cut && !all_finite(from, (int64_t)block->rows * head_dim)) {
        add_seen(attention, block, alpha, weights, from, to, head_dim, /* transposed= */ true);
        return;
    }
    for (int32_t row = 0; row < block->rows;) {
        struct stripe stripe = stripe_at(attention, block, row);

        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, stripe.columns, head_dim,
                    stripe.end - stripe.begin, alpha,
                    weights + stripe.begin * stride + stripe.first, (blasint)stride,
                    from + (int64_t)stripe.begin * head_dim, head_dim, 1.0f,
                    to + (int64_t)stripe.first * head_dim, head_dim);
        row = stripe.end;
    }
}
