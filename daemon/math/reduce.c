#include "daemon/math/reduce.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define REDUCE_BLOCK                                                                               \
    512 /* elements: the f64 accumulators of one block stay in the first-level cache */

/* Sums one block of at most REDUCE_BLOCK elements; true if all sums and results are finite. */
typedef bool reduce_block_fn(float *restrict dst, const float *const *src, uint32_t source_count,
                             size_t first, size_t n, double divisor);

static inline __attribute__((always_inline)) bool block_sum(float *restrict dst,
                                                            const float *const *src,
                                                            uint32_t source_count, size_t first,
                                                            size_t n, double divisor)
{
    double sums[REDUCE_BLOCK];
    int finite = 1;

    for (size_t i = 0; i < n; i++) {
        sums[i] = (double)src[0][first + i];
    }
    for (uint32_t s = 1; s < source_count; s++) {
        const float *from = src[s] + first;
        for (size_t i = 0; i < n; i++) {
            sums[i] += (double)from[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        const float result = (float)(sums[i] / divisor);
        finite &= fabsf(result) <= FLT_MAX;
        dst[first + i] = result;
    }
    return finite != 0;
}

static bool block_portable(float *restrict dst, const float *const *src, uint32_t source_count,
                           size_t first, size_t n, double divisor)
{
    return block_sum(dst, src, source_count, first, n, divisor);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool block_avx2(float *restrict dst, const float *const *src,
                                                       uint32_t source_count, size_t first,
                                                       size_t n, double divisor)
{
    return block_sum(dst, src, source_count, first, n, divisor);
}

__attribute__((target("avx512f,avx512vl,avx512dq"))) static bool
block_avx512(float *restrict dst, const float *const *src, uint32_t source_count, size_t first,
             size_t n, double divisor)
{
    return block_sum(dst, src, source_count, first, n, divisor);
}
#endif

struct reduce_kernel {
    const char *name;
    reduce_block_fn *block;
};

static const struct reduce_kernel kernels[] = {
    {"portable", block_portable},
#if defined(__x86_64__)
    {"avx2", block_avx2},
    {"avx512", block_avx512},
#endif
};

static bool kernel_runs_here(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0) {
        return __builtin_cpu_supports("avx2");
    }
    if (strcmp(name, "avx512") == 0) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
    }
#endif
    return strcmp(name, "portable") == 0;
}

/* The best that runs here, or the one that the environment names, if it does. */
static const struct reduce_kernel *kernel_choose(void)
{
    const char *wanted = getenv("SEQSYNC_KERNELS");
    const struct reduce_kernel *best = &kernels[0];

    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        if (!kernel_runs_here(kernels[i].name)) {
            continue;
        }
        if (wanted != NULL && strcmp(wanted, kernels[i].name) == 0) {
            return &kernels[i];
        }
        best = &kernels[i];
    }
    return best;
}

static const struct reduce_kernel *kernel(void)
{
    /* Lanes may choose at the same time; they choose the same. */
    static _Atomic(const struct reduce_kernel *) chosen;
    const struct reduce_kernel *now = atomic_load_explicit(&chosen, memory_order_acquire);

    if (now == NULL) {
        now = kernel_choose();
        atomic_store_explicit(&chosen, now, memory_order_release);
    }
    return now;
}

const char *reduce_kernels(void)
{
    return kernel()->name;
}

static bool all_finite(const float *values, size_t n)
{
    int finite = 1;

    for (size_t i = 0; i < n; i++) {
        finite &= fabsf(values[i]) <= FLT_MAX;
    }
    return finite != 0;
}

/* Only called when a block was found non-finite, so it may take a second look at the sources. */
static int32_t find_culprit(const float *const *src, uint32_t source_count, size_t first, size_t n)
{
    for (uint32_t s = 0; s < source_count; s++) {
        if (!all_finite(src[s] + first, n)) {
            return (int32_t)s;
        }
    }
    return -1;
}

bool reduce_sum_f32(float *restrict dst, const float *const *src, uint32_t source_count, size_t n,
                    int64_t divisor, int32_t *ret_source)
{
    reduce_block_fn *block = kernel()->block;
    bool nonfinite = false;
    int32_t culprit = -1;

    if (source_count == 0 || divisor == 0) {
        memset(dst, 0, n * sizeof(float));
        return false;
    }
    for (size_t first = 0; first < n; first += REDUCE_BLOCK) {
        const size_t length = n - first < REDUCE_BLOCK ? n - first : REDUCE_BLOCK;
        if (block(dst, src, source_count, first, length, (double)divisor)) {
            continue;
        }
        nonfinite = true;
        if (culprit < 0) {
            culprit = find_culprit(src, source_count, first, length);
        }
    }
    if (nonfinite) {
        *ret_source = culprit;
    }
    return nonfinite;
}
