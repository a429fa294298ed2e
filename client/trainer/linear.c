#include "client/trainer/linear.h"

#include <cblas.h>
#include <stddef.h>
#include <string.h>

void linear_forward(int64_t n, int64_t in, int64_t out, const float *x, int64_t x_stride,
                    const float *w, const float *bias, float *y, int64_t y_stride)
{
    if (n == 0) {
        return;
    }
    for (int64_t r = 0; r < n; r++) {
        if (bias) {
            memcpy(y + r * y_stride, bias, (size_t)out * sizeof(*y));
        } else {
            memset(y + r * y_stride, 0, (size_t)out * sizeof(*y));
        }
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)out, (blasint)in,
                1.0f, x, (blasint)x_stride, w, (blasint)in, 1.0f, y, (blasint)y_stride);
}

void linear_backward_input(int64_t n, int64_t in, int64_t out, const float *d_y, int64_t d_y_stride,
                           const float *w, float *d_x, int64_t d_x_stride)
{
    if (n == 0) {
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)in, (blasint)out,
                1.0f, d_y, (blasint)d_y_stride, w, (blasint)in, 1.0f, d_x, (blasint)d_x_stride);
}

void linear_backward_weight(int64_t n, int64_t in, int64_t out, const float *d_y,
                            int64_t d_y_stride, const float *x, int64_t x_stride, float *d_w)
{
    if (n == 0) {
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)out, (blasint)in, (blasint)n,
                1.0f, d_y, (blasint)d_y_stride, x, (blasint)x_stride, 1.0f, d_w, (blasint)in);
}
