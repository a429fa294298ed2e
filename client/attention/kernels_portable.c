/* The kernels in plain C, one element at a time: for any processor, and the yardstick of the
 * others. */
#include "client/attention/kernels.h"

#include <math.h>
#include <string.h>

#define KERNEL_NAME "portable"
#define KERNEL_TABLE kernels_portable
#define KERNEL_TARGET
#define VEC_WIDTH 1

typedef float vec;

static inline vec vec_set(float x)
{
    return x;
}

static inline vec vec_load(const float *p)
{
    return *p;
}

static inline void vec_store(float *p, vec x)
{
    *p = x;
}

/* A vector of one element has no parts; the calls exist for the compiler's sake. */
static inline vec vec_part_load(const float *p, int64_t n, float fill)
{
    return n > 0 ? *p : fill;
}

static inline void vec_part_store(float *p, int64_t n, vec x)
{
    if (n > 0) {
        *p = x;
    }
}

static inline vec vec_add(vec a, vec b)
{
    return a + b;
}

static inline vec vec_sub(vec a, vec b)
{
    return a - b;
}

static inline vec vec_mul(vec a, vec b)
{
    return a * b;
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

static inline vec vec_max(vec a, vec b)
{
    return a > b ? a : b;
}

static inline vec vec_min(vec a, vec b)
{
    return a < b ? a : b;
}

static inline vec vec_exponent(vec t)
{
    uint32_t bits;

    memcpy(&bits, &t, sizeof(bits));
    bits <<= 23;
    memcpy(&t, &bits, sizeof(t));
    return t;
}

static inline float vec_reduce_max(vec x)
{
    return x;
}

static inline float vec_reduce_add(vec x)
{
    return x;
}

#include "client/attention/kernels_body.h"
