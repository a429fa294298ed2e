#include "daemon/math/reduce.h"

#include "daemon/math/reduce_kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Elements between two looks at whether all was finite; then only so many are searched. */
#define REDUCE_BLOCK 4096

const char *reduce_kernels(void)
{
    return reduce_kernel_chosen()->name;
}

/* The source of the first element in the block that has one which is not finite, -1 if all are. */
static int32_t find_culprit(const float *const *src, uint32_t source_count, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++) {
        for (uint32_t s = 0; s < source_count; s++) {
            if (!(fabsf(src[s][i]) <= FLT_MAX)) {
                return (int32_t)s;
            }
        }
    }
    return -1;
}

bool reduce_sum_f32(float *restrict dst, const float *const *src, uint32_t source_count, size_t n,
                    int64_t divisor, int32_t *ret_source)
{
    const struct reduce_kernel *kernel = reduce_kernel_chosen();
    bool finite = true;
    int32_t culprit = -1;

    if (source_count == 0 || divisor == 0) {
        memset(dst, 0, n * sizeof(float));
        return false;
    }
    for (size_t first = 0; first < n; first += REDUCE_BLOCK) {
        const size_t length = n - first < REDUCE_BLOCK ? n - first : REDUCE_BLOCK;
        if (kernel->sum(dst, src, source_count, first, length, (double)divisor)) {
            continue;
        }
        finite = false;
        if (culprit < 0) {
            culprit = find_culprit(src, source_count, first, length);
        }
    }
    if (!finite) {
        *ret_source = culprit;
    }
    return !finite;
}
