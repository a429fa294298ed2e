#include "daemon/math/reduce_kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LANES 2
#include "daemon/math/reduce_body.h"
#define LANES 4
#include "daemon/math/reduce_body.h"
#define LANES 8
#include "daemon/math/reduce_body.h"

/* Dividing by 1 changes nothing and costs more than the additions of two sources. */
#define SUM_ANY(body)                                                                              \
    (divisor == 1.0 ? body(dst, src, source_count, first, n, 1.0, false)                           \
                    : body(dst, src, source_count, first, n, divisor, true))

static bool sum_portable(float *restrict dst, const float *const *src, uint32_t source_count,
                         size_t first, size_t n, double divisor)
{
    return SUM_ANY(sum_body_2);
}

static bool portable_runs(void)
{
    return true;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool sum_avx2(float *restrict dst, const float *const *src,
                                                     uint32_t source_count, size_t first, size_t n,
                                                     double divisor)
{
    return SUM_ANY(sum_body_4);
}

static bool avx2_runs(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

__attribute__((target("avx512f,avx512vl,avx512dq"))) static bool
sum_avx512(float *restrict dst, const float *const *src, uint32_t source_count, size_t first,
           size_t n, double divisor)
{
    return SUM_ANY(sum_body_8);
}

static bool avx512_runs(void)
{
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0;
}
#endif

static const struct reduce_kernel kernels[] = {
    {"portable", sum_portable, portable_runs},
#if defined(__x86_64__)
    {"avx2", sum_avx2, avx2_runs},
    {"avx512", sum_avx512, avx512_runs},
#endif
};

const struct reduce_kernel *reduce_kernel_list(size_t *ret_count)
{
    *ret_count = sizeof(kernels) / sizeof(kernels[0]);
    return kernels;
}

static const struct reduce_kernel *kernel_choose(void)
{
    const char *wanted = getenv("SEQSYNC_KERNELS");
    const struct reduce_kernel *best = &kernels[0];

    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        if (!kernels[i].runs_here()) {
            continue;
        }
        if (wanted != NULL && strcmp(wanted, kernels[i].name) == 0) {
            return &kernels[i];
        }
        best = &kernels[i];
    }
    return best;
}

const struct reduce_kernel *reduce_kernel_chosen(void)
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
