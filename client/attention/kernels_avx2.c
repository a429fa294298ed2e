/* The kernels for AVX2 and FMA: eight floats at a time. */
#include "client/attention/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL_NAME "avx2"
#define KERNEL_TABLE kernels_avx2
#define KERNEL_TARGET __attribute__((target("avx2,fma")))
#define VEC_WIDTH 8

typedef __m256 vec;

#define vec_set(x) _mm256_set1_ps(x)
#define vec_load(p) _mm256_loadu_ps(p)
#define vec_store(p, x) _mm256_storeu_ps(p, x)
#define vec_add(a, b) _mm256_add_ps(a, b)
#define vec_sub(a, b) _mm256_sub_ps(a, b)
#define vec_mul(a, b) _mm256_mul_ps(a, b)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_max(a, b) _mm256_max_ps(a, b)
#define vec_min(a, b) _mm256_min_ps(a, b)
#define vec_exponent(t) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23))

/* All ones in the first n lanes. */
KERNEL_TARGET static inline __m256i vec_part(int64_t n)
{
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

    return _mm256_loadu_si256((const __m256i *)(const void *)(lanes + 8 - n));
}

KERNEL_TARGET static inline vec vec_part_load(const float *p, int64_t n, float fill)
{
    __m256i part = vec_part(n);

    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, part),
                            _mm256_castsi256_ps(part));
}

KERNEL_TARGET static inline void vec_part_store(float *p, int64_t n, vec x)
{
    _mm256_maskstore_ps(p, vec_part(n), x);
}

KERNEL_TARGET static inline float vec_reduce_max(vec x)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    return _mm_cvtss_f32(m);
}

KERNEL_TARGET static inline float vec_reduce_add(vec x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

#include "client/attention/kernels_body.h"
#else
typedef int kernels_avx2_are_for_x86_64;
#endif
