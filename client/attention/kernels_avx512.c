/* The kernels for AVX-512: sixteen floats at a time. */
#include "client/attention/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL_NAME "avx512"
#define KERNEL_TABLE kernels_avx512
#define KERNEL_TARGET __attribute__((target("avx512f")))
#define VEC_WIDTH 16

typedef __m512 vec;

#define vec_set(x) _mm512_set1_ps(x)
#define vec_load(p) _mm512_loadu_ps(p)
#define vec_store(p, x) _mm512_storeu_ps(p, x)
#define vec_add(a, b) _mm512_add_ps(a, b)
#define vec_sub(a, b) _mm512_sub_ps(a, b)
#define vec_mul(a, b) _mm512_mul_ps(a, b)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_max(a, b) _mm512_max_ps(a, b)
#define vec_min(a, b) _mm512_min_ps(a, b)
#define vec_exponent(t) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23))
#define vec_part(n) ((__mmask16)((1u << (n)) - 1u))
#define vec_part_load(p, n, fill) _mm512_mask_loadu_ps(_mm512_set1_ps(fill), vec_part(n), p)
#define vec_part_store(p, n, x) _mm512_mask_storeu_ps(p, vec_part(n), x)
#define vec_reduce_max(x) _mm512_reduce_max_ps(x)
#define vec_reduce_add(x) _mm512_reduce_add_ps(x)

#include "client/attention/kernels_body.h"
#else
typedef int kernels_avx512_are_for_x86_64;
#endif
