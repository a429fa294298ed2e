/*
 * The element-wise and row-wise arithmetic of the model, on plain arrays. One table of functions
 * for each instruction set, built from one source (kernels_body.h) without contraction to fused
 * multiply-add. What is element by element has the same bits in every table, and so have the sums
 * in f64: the update of the parameters is the same on unlike machines. Sums in f32 run in as many
 * lanes as a register has, in an order that is fixed for each table.
 *
 * Rows are dense: row r of an [n][d] array starts at r * d. Arrays may not overlap unless a
 * function says so. Nothing here allocates, fails or keeps state; any thread.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_KERNELS_H
#define SEQSYNC_CLIENT_TRAINER_KERNELS_H

#include <stdint.h>

#define NORM_EPSILON 1e-6f

/* Constants of one AdamW update; the corrections are 1 / (1 - beta^t). */
struct adamw {
    float rate;
    float beta1, beta2;
    float correction1, correction2;
    float epsilon;
    float decay;          /* rate * weight decay; 0 for tensors that are not decayed */
    float gradient_scale; /* of clipping by the global norm, <= 1 */
};

struct trainer_kernels {
    const char *name;

    /* out[n][d] = (x - mean) * rstd * (1 + scale[d]) + shift[d]; mean[n] and rstd[n] are kept. */
    void (*normalize)(const float *x, int64_t n, int64_t d, const float *scale, const float *shift,
                      float *out, float *mean, float *rstd);
    /* d_x[n][d] += gradient of x; d_scale[d], d_shift[d] += their gradients. */
    void (*normalize_backward)(const float *x, const float *mean, const float *rstd, int64_t n,
                               int64_t d, const float *scale, const float *d_out, float *d_x,
                               float *d_scale, float *d_shift);

    /* out[n][d] = x + gate[d] * y; out may be x. */
    void (*add_gated)(const float *x, const float *gate, const float *y, int64_t n, int64_t d,
                      float *out);
    /* d_y[n][d] = gate * d_x; d_gate[d] += sum over n of d_x * y. */
    void (*gate_backward)(const float *d_x, const float *gate, const float *y, int64_t n, int64_t d,
                          float *d_y, float *d_gate);

    /* out[d] += sum over n of x[n][d]. */
    void (*add_columns)(const float *x, int64_t n, int64_t d, float *out);

    /* out[n] += x[n]. */
    void (*add)(const float *x, int64_t n, float *out);

    /* out[n] = gelu(u), the form with tanh: u * sigmoid(2 sqrt(2/pi) (u + 0.044715 u^3)). */
    void (*gelu)(const float *u, int64_t n, float *out);
    /* d[n] *= gelu'(u). */
    void (*gelu_backward)(const float *u, int64_t n, float *d);

    /*
     * One token: each of its heads divided by its root mean square, times scale[head_dim], then
     * element j turned against element j + head_dim / 2 by the angle with cosine c[j] and sine
     * s[j], j < head_dim / 2. out may not be x.
     */
    void (*rotate)(const float *x, int64_t heads, int64_t head_dim, const float *scale,
                   const float *c, const float *s, float *out);
    /* d[heads][head_dim] holds the gradient of out and becomes that of x; d_scale[head_dim] += . */
    void (*rotate_backward)(const float *x, int64_t heads, int64_t head_dim, const float *scale,
                            const float *c, const float *s, float *d, float *d_scale);

    /* Returns the sum of (out - clean)^2, clean = pixels * 2 / 255 - 1; then out = factor * (out -
     * clean). */
    double (*difference)(float *out, const uint8_t *pixels, int64_t n, float factor);

    /* Sum of squares, in f64 and a fixed order. */
    double (*square_sum)(const float *x, int64_t n);

    /* One AdamW step of n values. */
    void (*adamw)(const struct adamw *step, int64_t n, const float *gradient, float *value,
                  float *m, float *v);
};

extern const struct trainer_kernels trainer_kernels_portable;
#if defined(__x86_64__)
extern const struct trainer_kernels trainer_kernels_avx2;
extern const struct trainer_kernels trainer_kernels_avx512;
#endif

/* The widest table that this processor runs. Static. */
const struct trainer_kernels *trainer_kernels_get(void);

/* The table called @name, or NULL if there is none or this processor cannot run it. Static. */
const struct trainer_kernels *trainer_kernels_find(const char *name);

#endif
