/*
 * The passes over a block of scores that BLAS does not have. One source, kernels_body.h, compiled
 * for several vector widths; kernels_get() picks the widest that the processor runs. Free functions
 * on plain arrays, no allocation.
 *
 * A block is rows x columns of f32, row r at scores + r * stride. Row r sees columns first[r] ..
 * last[r] (exclusive); the values outside are hidden: they are overwritten by 0 and never read.
 */
#ifndef SEQSYNC_ATTENTION_KERNELS_H
#define SEQSYNC_ATTENTION_KERNELS_H

#include <stdint.h>

struct score_block {
    float *scores; /* base-2 logits in, weights out */
    int64_t stride;
    int32_t rows;
    int32_t columns;
    const int32_t *first;
    const int32_t *last;
};

struct kernels {
    const char *name;

    /*
     * Online softmax of one more block (Milakov & Gimelshein, section 3): raises row_max to the
     * block's maximum, rescales row_sum and the row of out (rows x width, contiguous) by what the
     * rise demands, turns logits x into 2^(x - row_max) and adds their sum to row_sum. A row
     * without any weight so far has row_max -INFINITY. NaN logits make row_sum NaN.
     */
    void (*softmax)(const struct score_block *block, float *row_max, float *row_sum, float *out,
                    int64_t width);

    /*
     * scores: logits x in, p = 2^(x - shift[r]) out. d_scores, laid out alike: dP in, p * (dP -
     * delta[r]) out. A shift of +INFINITY makes p 0.
     */
    void (*softmax_gradient)(const struct score_block *block, float *d_scores, const float *shift,
                             const float *delta);

    /* out[i] = a * out[i] + b * add[i], n elements, no overlap. */
    void (*blend)(float *out, float a, const float *add, float b, int64_t n);
};

/*
 * The kernels of this process: the widest that run here, or the ones that the environment variable
 * SEQSYNC_KERNELS
 * ("portable", "avx2", "avx512") asks for, if they run here. Decided once; any thread.
 */
const struct kernels *kernels_get(void);

/* The kernels called @name, or NULL if there are none such or this processor cannot run them. */
const struct kernels *kernels_find(const char *name);

extern const struct kernels kernels_portable;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#endif

#endif
