/*
 * Sums of contributions. Elementwise, so that bits depend on the order of the sources and on
 * nothing else: not on SIMD width, alignment or how an array is cut.
 */
#ifndef SEQSYNC_MATH_REDUCE_H
#define SEQSYNC_MATH_REDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * dst[i] = (src[0][i] + src[1][i] + ...) / divisor, i < n: accumulated in f64 in the order of the
 * sources, divided there, and rounded to f32 once. @divisor 0 writes zeros, whatever the sources
 * hold (nothing was counted); no sources are zeros. Nothing overlaps.
 *
 * True if a result is NaN or infinite; then *ret_source is the first source with such a value at
 * the first element that has one, or -1 if sums of finite values overflowed. It is not written
 * otherwise. (Which NaN it is, its payload, is not among the bits that are promised.) Any thread.
 */
bool reduce_sum_f32(float *restrict dst, const float *const *src, uint32_t source_count, size_t n,
                    int64_t divisor, int32_t *ret_source);

/* The kernels in use: "avx512", "avx2" or "portable"; SEQSYNC_KERNELS in the environment chooses.
 * Static. */
const char *reduce_kernels(void);

#endif
