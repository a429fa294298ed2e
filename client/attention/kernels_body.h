/*
 * The kernels of kernels.h, written once over a vector type. Who includes this defines KERNEL_NAME
 * (a string), KERNEL_TABLE (the struct kernels to define), KERNEL_TARGET (function attributes), the
 * type vec of VEC_WIDTH floats, and the operations used below: vec_part_load(p, n, fill) and
 * vec_part_store(p, n, x) touch only n < VEC_WIDTH floats, and vec_max(a, b) and vec_min(a, b)
 * return b if either is NaN, as the x86 instructions do, so that NaN gets through.
 */
#include <math.h>
#include <string.h>

#define EXP2_C1 0x1.62e42ap-1f
#define EXP2_C2 0x1.ebf9bcp-3f
#define EXP2_C3 0x1.c6b752p-5f
#define EXP2_C4 0x1.3cea88p-7f
#define EXP2_C5 0x1.5bba14p-10f

/*
 * 2^x for x <= 128: x = n + r with n the nearest integer, 2^r by a polynomial on [-0.5, 0.5], 2^n
 * by writing the exponent. Adding 1.5 * 2^23 + 127 leaves n + 127 in the low bits of the sum. The
 * polynomial is the minimax one of degree 5 with constant term 1, so that 2^0 is exactly 1; its
 * relative error is below 9.2e-8, in all below 3 units in the last place. Below 2^-126.5 the result
 * is 0, so x = -INFINITY gives 0; NaN gives NaN.
 */
KERNEL_TARGET static inline vec vec_exp2(vec x)
{
    const vec magic = vec_set(12582912.0f + 127.0f);
    vec t;
    vec r;
    vec p;

    x = vec_max(vec_set(-127.0f), x);
    t = vec_add(x, magic);
    r = vec_sub(x, vec_sub(t, magic));
    p = vec_fma(vec_set(EXP2_C5), r, vec_set(EXP2_C4));
    p = vec_fma(p, r, vec_set(EXP2_C3));
    p = vec_fma(p, r, vec_set(EXP2_C2));
    p = vec_fma(p, r, vec_set(EXP2_C1));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_mul(p, vec_exponent(t));
}

KERNEL_TARGET static inline float row_maximum(const float *x, int64_t n, float least)
{
    vec m0 = vec_set(least);
    vec m1 = m0;
    int64_t i = 0;

    for (; i + 2 * VEC_WIDTH <= n; i += 2 * VEC_WIDTH) {
        m0 = vec_max(vec_load(x + i), m0);
        m1 = vec_max(vec_load(x + i + VEC_WIDTH), m1);
    }
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        m0 = vec_max(vec_load(x + i), m0);
    }
    if (i < n) {
        m1 = vec_max(vec_part_load(x + i, n - i, -INFINITY), m1);
    }
    return vec_reduce_max(vec_max(m1, m0));
}

/* x[i] = 2^(x[i] - shift); returns the sum. */
KERNEL_TARGET static inline float row_exp2(float *x, int64_t n, float shift)
{
    const vec s = vec_set(shift);
    vec sum0 = vec_set(0.0f);
    vec sum1 = sum0;
    int64_t i = 0;

    for (; i + 2 * VEC_WIDTH <= n; i += 2 * VEC_WIDTH) {
        vec p0 = vec_exp2(vec_sub(vec_load(x + i), s));
        vec p1 = vec_exp2(vec_sub(vec_load(x + i + VEC_WIDTH), s));

        vec_store(x + i, p0);
        vec_store(x + i + VEC_WIDTH, p1);
        sum0 = vec_add(sum0, p0);
        sum1 = vec_add(sum1, p1);
    }
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        vec p = vec_exp2(vec_sub(vec_load(x + i), s));

        vec_store(x + i, p);
        sum0 = vec_add(sum0, p);
    }
    if (i < n) {
        vec p = vec_exp2(vec_sub(vec_part_load(x + i, n - i, -INFINITY), s));

        vec_part_store(x + i, n - i, p);
        sum1 = vec_add(sum1, p);
    }
    return vec_reduce_add(vec_add(sum0, sum1));
}

KERNEL_TARGET static inline void row_scale(float *x, int64_t n, float factor)
{
    const vec f = vec_set(factor);
    int64_t i = 0;

    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        vec_store(x + i, vec_mul(vec_load(x + i), f));
    }
    for (; i < n; i++) {
        x[i] *= factor;
    }
}

static inline void row_hide(float *x, int32_t first, int32_t last, int32_t columns)
{
    memset(x, 0, (size_t)first * sizeof(*x));
    memset(x + last, 0, (size_t)(columns - last) * sizeof(*x));
}

KERNEL_TARGET static void softmax(const struct score_block *block, float *row_max, float *row_sum,
                                  float *out, int64_t width)
{
    for (int32_t r = 0; r < block->rows; r++) {
        float *x = block->scores + r * block->stride;
        float *seen = x + block->first[r];
        int64_t n = block->last[r] - block->first[r];
        float before = row_max[r];
        float now = row_maximum(seen, n, before);

        if (now > before) {
            float factor = exp2f(before - now);

            row_max[r] = now;
            row_sum[r] *= factor;
            row_scale(out + r * width, width, factor);
        }
        /* Without a finite maximum every logit is -INFINITY or NaN; both survive the subtraction of
         * 0. */
        row_sum[r] += row_exp2(seen, n, now == -INFINITY ? 0.0f : now);
        row_hide(x, block->first[r], block->last[r], block->columns);
    }
}

KERNEL_TARGET static inline vec vec_weight(vec x, vec shift)
{
    return vec_exp2(vec_min(vec_set(128.0f), vec_sub(x, shift)));
}

KERNEL_TARGET static void softmax_gradient(const struct score_block *block, float *d_scores,
                                           const float *shift, const float *delta)
{
    for (int32_t r = 0; r < block->rows; r++) {
        float *x = block->scores + r * block->stride;
        float *d = d_scores + r * block->stride;
        const vec s = vec_set(shift[r]);
        const vec e = vec_set(delta[r]);
        int64_t n = block->last[r];
        int64_t i = block->first[r];

        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
            vec p = vec_weight(vec_load(x + i), s);

            vec_store(x + i, p);
            vec_store(d + i, vec_mul(p, vec_sub(vec_load(d + i), e)));
        }
        if (i < n) {
            vec p = vec_weight(vec_part_load(x + i, n - i, -INFINITY), s);
            vec g = vec_mul(p, vec_sub(vec_part_load(d + i, n - i, 0.0f), e));

            vec_part_store(x + i, n - i, p);
            vec_part_store(d + i, n - i, g);
        }
        row_hide(x, block->first[r], block->last[r], block->columns);
        row_hide(d, block->first[r], block->last[r], block->columns);
    }
}

KERNEL_TARGET static void blend(float *out, float a, const float *add, float b, int64_t n)
{
    int64_t i = 0;

    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        vec_store(out + i,
                  vec_fma(vec_load(out + i), vec_set(a), vec_mul(vec_load(add + i), vec_set(b))));
    }
    for (; i < n; i++) {
        out[i] = out[i] * a + add[i] * b;
    }
}

const struct kernels KERNEL_TABLE = {
    .name = KERNEL_NAME,
    .softmax = softmax,
    .softmax_gradient = softmax_gradient,
    .blend = blend,
};
