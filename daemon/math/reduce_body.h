/*
 * The body of a kernel of LANES f64 at a time, to be included once for each width: LANES is what
 * one register of the instruction set holds, since compilers split wider vectors badly. Elementwise
 * whatever the width: an element's additions come in the order of the sources, in f64, then one
 * division and one rounding, and no contraction may join them (the build says -ffp-contract=off).
 *
 * Defines sum_body_LANES(); four vectors at a time, so that the sums stay in registers over all
 * sources, and their additions overlap.
 */
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define F32V JOIN(f32x, LANES)
#define F64V JOIN(f64x, LANES)
#define LOAD(at) __builtin_convertvector(*(const F32V *)(const void *)(at), F64V)
#define STORE(at, value) (*(F32V *)(void *)(at) = (value))

/* Unaligned, and aliasing what the caller's floats are. */
typedef float F32V __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef double F64V __attribute__((vector_size(8 * LANES)));

static inline __attribute__((always_inline)) bool
JOIN(sum_body_, LANES)(float *restrict dst, const float *const *src, uint32_t source_count,
                       size_t first, size_t n, double divisor, bool divide)
{
    const size_t end = first + n;
    F32V poison = {0}; /* 0 x result: NaN as soon as one is not finite */
    float tail = 0;
    size_t i = first;

    for (; i + 4 * LANES <= end; i += 4 * LANES) {
        const float *from = &src[0][i];
        F64V a = LOAD(from), b = LOAD(from + LANES);
        F64V c = LOAD(from + 2 * LANES), d = LOAD(from + 3 * LANES);
        for (uint32_t s = 1; s < source_count; s++) {
            from = &src[s][i];
            a += LOAD(from);
            b += LOAD(from + LANES);
            c += LOAD(from + 2 * LANES);
            d += LOAD(from + 3 * LANES);
        }
        if (divide) {
            a /= divisor;
            b /= divisor;
            c /= divisor;
            d /= divisor;
        }
        const F32V e = __builtin_convertvector(a, F32V), f = __builtin_convertvector(b, F32V);
        const F32V g = __builtin_convertvector(c, F32V), h = __builtin_convertvector(d, F32V);
        poison += (e * 0.0f + f * 0.0f) + (g * 0.0f + h * 0.0f);
        STORE(&dst[i], e);
        STORE(&dst[i + LANES], f);
        STORE(&dst[i + 2 * LANES], g);
        STORE(&dst[i + 3 * LANES], h);
    }
    for (; i < end; i++) {
        double sum = (double)src[0][i];
        for (uint32_t s = 1; s < source_count; s++) {
            sum += (double)src[s][i];
        }
        dst[i] = (float)(divide ? sum / divisor : sum);
        tail += dst[i] * 0.0f;
    }
    for (int lane = 0; lane < LANES; lane++) {
        tail += poison[lane];
    }
    return tail == 0.0f;
}

#undef STORE
#undef LOAD
#undef F64V
#undef F32V
#undef JOIN
#undef JOIN2
#undef LANES
