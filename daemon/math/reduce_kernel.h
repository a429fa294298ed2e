/* The kernels of reduce.h, one for each set of instructions; all give the same bits. */
#ifndef SEQSYNC_MATH_REDUCE_KERNEL_H
#define SEQSYNC_MATH_REDUCE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * dst[i] = (src[0][i] + ... + src[source_count - 1][i]) / divisor, first <= i < first + n, with
 * source_count >= 1 and divisor != 0. True if every result is finite.
 */
typedef bool reduce_kernel_fn(float *restrict dst, const float *const *src, uint32_t source_count,
                              size_t first, size_t n, double divisor);

struct reduce_kernel {
    const char *name;
    reduce_kernel_fn *sum;
    bool (*runs_here)(void);
};

/* All that were built, the widest last; *ret_count of them, the first runs everywhere. Static. */
const struct reduce_kernel *reduce_kernel_list(size_t *ret_count);

/* The widest that runs on this processor, or the one that SEQSYNC_KERNELS in the environment names,
 * if it does. Decided at the first call. Any thread. */
const struct reduce_kernel *reduce_kernel_chosen(void);

#endif
