/*
 * Dense layers on OpenBLAS. Weights are [out][in], rows of x and y have the strides given (in
 * elements). All three add to what is there: the caller clears or fills first, because a GEMM that
 * overwrites may keep a NaN of the old contents. Zero rows are legal. OpenBLAS runs on one thread.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_LINEAR_H
#define SEQSYNC_CLIENT_TRAINER_LINEAR_H

#include <stdint.h>

/* y[n][out] = x[n][in] w^T + bias[out]; bias may be NULL. Overwrites y. */
void linear_forward(int64_t n, int64_t in, int64_t out, const float *x, int64_t x_stride,
                    const float *w, const float *bias, float *y, int64_t y_stride);

/* d_x[n][in] += d_y[n][out] w. */
void linear_backward_input(int64_t n, int64_t in, int64_t out, const float *d_y, int64_t d_y_stride,
                           const float *w, float *d_x, int64_t d_x_stride);

/* d_w[out][in] += d_y^T x. */
void linear_backward_weight(int64_t n, int64_t in, int64_t out, const float *d_y,
                            int64_t d_y_stride, const float *x, int64_t x_stride, float *d_w);

#endif
