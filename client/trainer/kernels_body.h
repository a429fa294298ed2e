/*
 * The functions of kernels.h, written over vectors as wide as a register of the instruction set.
 * Who includes this defines KERNELS_NAME (a string) and KERNELS_TABLE (the table to define).
 */
#include <math.h>
#include <string.h>

#include "client/trainer/kernels.h"

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX2__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(WIDTH * sizeof(float))));
typedef int32_t ivec __attribute__((vector_size(WIDTH * sizeof(int32_t))));

/* Lanes of the sums in f64, the same for every instruction set. */
#define LANES 16

/* The next WIDTH floats, or the last @left of them and 0. */
INLINE vec vec_load(const float *p, int64_t left)
{
    vec x = {0};

    if (__builtin_expect(left >= WIDTH, 1)) {
        memcpy(&x, p, sizeof(x));
    } else {
        memcpy(&x, p, (size_t)left * sizeof(*p));
    }
    return x;
}

INLINE void vec_store(float *p, vec x, int64_t left)
{
    if (__builtin_expect(left >= WIDTH, 1)) {
        memcpy(p, &x, sizeof(x));
    } else {
        memcpy(p, &x, (size_t)left * sizeof(*p));
    }
}

/* Clears the lanes behind the last @left. */
INLINE vec vec_keep(vec x, int64_t left)
{
    for (int64_t i = left; i < WIDTH; i++) {
        x[i] = 0;
    }
    return x;
}

INLINE ivec vec_bits(float a)
{
    vec x = (vec){0} + a;
    ivec bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* Lane by lane, not above @high and not below @low; NaN stays. */
INLINE vec vec_clamp(vec x, float low, float high)
{
    ivec above = x > high;
    ivec below = x < low;
    ivec bits;

    memcpy(&bits, &x, sizeof(bits));
    bits = (bits & ~above & ~below) | (above & vec_bits(high)) | (below & vec_bits(low));
    memcpy(&x, &bits, sizeof(x));
    return x;
}

INLINE float vec_sum(vec x)
{
    float sum = 0;

    for (int i = 0; i < WIDTH; i++) {
        sum += x[i];
    }
    return sum;
}

/*
 * e^x: 2^n times a polynomial in r, with x / ln 2 = n + r and |r| <= 1/2. Adding 1.5 * 2^23 rounds
 * to n and leaves it in the low bits of the sum. The polynomial is Taylor's of degree 7: its
 * remainder is below (ln 2 / 2)^8 / 8! = 6e-9, less than the rounding. NaN gives NaN; beyond
 * +-86 the result is that of +-86, which the sigmoid below does not see.
 */
INLINE vec vec_exp(vec x)
{
    const float magic = 12582912.0f;
    vec t;
    vec r;
    vec p;
    ivec bits;

    x = vec_clamp(x, -86.0f, 86.0f);
    t = x * 1.44269504f + magic;
    memcpy(&bits, &t, sizeof(bits));
    t -= magic;
    /* ln 2 in two parts: the first has few bits, so that its product with n is exact. */
    r = x - t * 0.693359375f;
    r = r + t * 2.12194440e-4f;
    p = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    bits = (bits << 23) + (127 << 23);
    memcpy(&t, &bits, sizeof(t));
    return p * t;
}

INLINE vec vec_sqrt(vec x)
{
    float lane[WIDTH];

    memcpy(lane, &x, sizeof(x));
    for (int i = 0; i < WIDTH; i++) {
        lane[i] = sqrtf(lane[i]);
    }
    memcpy(&x, lane, sizeof(x));
    return x;
}

static void normalize(const float *x, int64_t n, int64_t d, const float *scale, const float *shift,
                      float *out, float *mean, float *rstd)
{
    for (int64_t r = 0; r < n; r++, x += d, out += d) {
        vec sum = {0};
        vec squares = {0};

        for (int64_t i = 0; i < d; i += WIDTH) {
            sum += vec_load(x + i, d - i);
        }
        mean[r] = vec_sum(sum) / (float)d;
        for (int64_t i = 0; i < d; i += WIDTH) {
            vec centred = vec_keep(vec_load(x + i, d - i) - mean[r], d - i);

            squares += centred * centred;
        }
        rstd[r] = 1.0f / sqrtf(vec_sum(squares) / (float)d + NORM_EPSILON);
        for (int64_t i = 0; i < d; i += WIDTH) {
            vec unit = (vec_load(x + i, d - i) - mean[r]) * rstd[r];

            unit = unit * (1.0f + vec_load(scale + i, d - i)) + vec_load(shift + i, d - i);
            vec_store(out + i, unit, d - i);
        }
    }
}

/*
 * With u = (x - mean) rstd and g = d_out (1 + scale): d_x = rstd (g - mean(g) - u mean(g u)).
 */
static void normalize_backward(const float *x, const float *mean, const float *rstd, int64_t n,
                               int64_t d, const float *scale, const float *d_out, float *d_x,
                               float *d_scale, float *d_shift)
{
    for (int64_t r = 0; r < n; r++, x += d, d_out += d, d_x += d) {
        vec sum = {0};
        vec sum_unit = {0};
        float mean_g;
        float mean_gu;

        for (int64_t i = 0; i < d; i += WIDTH) {
            vec unit = (vec_load(x + i, d - i) - mean[r]) * rstd[r];
            vec o = vec_load(d_out + i, d - i);
            vec g = o * (1.0f + vec_load(scale + i, d - i));

            vec_store(d_scale + i, vec_load(d_scale + i, d - i) + o * unit, d - i);
            vec_store(d_shift + i, vec_load(d_shift + i, d - i) + o, d - i);
            sum += g;
            sum_unit += g * unit;
        }
        mean_g = vec_sum(sum) / (float)d;
        mean_gu = vec_sum(sum_unit) / (float)d;
        for (int64_t i = 0; i < d; i += WIDTH) {
            vec unit = (vec_load(x + i, d - i) - mean[r]) * rstd[r];
            vec g = vec_load(d_out + i, d - i) * (1.0f + vec_load(scale + i, d - i));

            g = (g - mean_g - unit * mean_gu) * rstd[r];
            vec_store(d_x + i, vec_load(d_x + i, d - i) + g, d - i);
        }
    }
}

static void add_gated(const float *x, const float *gate, const float *y, int64_t n, int64_t d,
                      float *out)
{
    for (int64_t r = 0; r < n; r++, x += d, y += d, out += d) {
        for (int64_t i = 0; i < d; i += WIDTH) {
            vec sum = vec_load(x + i, d - i) + vec_load(gate + i, d - i) * vec_load(y + i, d - i);

            vec_store(out + i, sum, d - i);
        }
    }
}

static void gate_backward(const float *d_x, const float *gate, const float *y, int64_t n, int64_t d,
                          float *d_y, float *d_gate)
{
    for (int64_t r = 0; r < n; r++, d_x += d, y += d, d_y += d) {
        for (int64_t i = 0; i < d; i += WIDTH) {
            vec g = vec_load(d_x + i, d - i);
            vec sum = vec_load(d_gate + i, d - i) + g * vec_load(y + i, d - i);

            vec_store(d_y + i, g * vec_load(gate + i, d - i), d - i);
            vec_store(d_gate + i, sum, d - i);
        }
    }
}

static void add(const float *x, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += WIDTH) {
        vec_store(out + i, vec_load(out + i, n - i) + vec_load(x + i, n - i), n - i);
    }
}

static void add_columns(const float *x, int64_t n, int64_t d, float *out)
{
    for (int64_t r = 0; r < n; r++, x += d) {
        add(x, d, out);
    }
}

#define GELU_LINEAR 0.7978845608f /* sqrt(2 / pi) */
#define GELU_CUBIC 0.044715f

INLINE vec gelu_sigmoid(vec u)
{
    vec z = 2.0f * GELU_LINEAR * (u + GELU_CUBIC * u * u * u);

    return 1.0f / (1.0f + vec_exp(-z));
}

static void gelu(const float *u, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += WIDTH) {
        vec x = vec_load(u + i, n - i);

        vec_store(out + i, x * gelu_sigmoid(x), n - i);
    }
}

static void gelu_backward(const float *u, int64_t n, float *d)
{
    for (int64_t i = 0; i < n; i += WIDTH) {
        vec x = vec_load(u + i, n - i);
        vec s = gelu_sigmoid(x);
        vec slope = 2.0f * GELU_LINEAR * (1.0f + 3.0f * GELU_CUBIC * x * x);
        vec g = s + x * s * (1.0f - s) * slope;

        vec_store(d + i, vec_load(d + i, n - i) * g, n - i);
    }
}

/* 1 / root mean square of one head. */
INLINE float head_rrms(const float *x, int64_t head_dim)
{
    vec squares = {0};

    for (int64_t i = 0; i < head_dim; i += WIDTH) {
        vec v = vec_load(x + i, head_dim - i);

        squares += v * v;
    }
    return 1.0f / sqrtf(vec_sum(squares) / (float)head_dim + NORM_EPSILON);
}

static void rotate(const float *x, int64_t heads, int64_t head_dim, const float *scale,
                   const float *c, const float *s, float *out)
{
    int64_t half = head_dim / 2;

    for (int64_t h = 0; h < heads; h++, x += head_dim, out += head_dim) {
        float rrms = head_rrms(x, head_dim);

        for (int64_t i = 0; i < half; i += WIDTH) {
            int64_t left = half - i;
            vec a = vec_load(x + i, left) * rrms * vec_load(scale + i, left);
            vec b = vec_load(x + half + i, left) * rrms * vec_load(scale + half + i, left);
            vec cos_i = vec_load(c + i, left);
            vec sin_i = vec_load(s + i, left);

            vec_store(out + i, a * cos_i - b * sin_i, left);
            vec_store(out + half + i, a * sin_i + b * cos_i, left);
        }
        if (head_dim % 2) {
            out[head_dim - 1] = x[head_dim - 1] * rrms * scale[head_dim - 1];
        }
    }
}

/*
 * Turned back, then with g = d scale: d_x = rrms (g - x rrms^2 mean(g x)); d_scale += d x rrms.
 */
static void rotate_backward(const float *x, int64_t heads, int64_t head_dim, const float *scale,
                            const float *c, const float *s, float *d, float *d_scale)
{
    int64_t half = head_dim / 2;

    for (int64_t h = 0; h < heads; h++, x += head_dim, d += head_dim) {
        float rrms = head_rrms(x, head_dim);
        vec dot = {0};
        float pull;

        for (int64_t i = 0; i < half; i += WIDTH) {
            int64_t left = half - i;
            vec a = vec_load(d + i, left);
            vec b = vec_load(d + half + i, left);
            vec cos_i = vec_load(c + i, left);
            vec sin_i = vec_load(s + i, left);

            vec_store(d + i, a * cos_i + b * sin_i, left);
            vec_store(d + half + i, b * cos_i - a * sin_i, left);
        }
        for (int64_t i = 0; i < head_dim; i += WIDTH) {
            int64_t left = head_dim - i;
            vec g = vec_load(d + i, left);
            vec v = vec_load(x + i, left);

            vec_store(d_scale + i, vec_load(d_scale + i, left) + g * v * rrms, left);
            g *= vec_load(scale + i, left);
            dot += g * v;
            vec_store(d + i, g, left);
        }
        pull = rrms * rrms * vec_sum(dot) / (float)head_dim;
        for (int64_t i = 0; i < head_dim; i += WIDTH) {
            int64_t left = head_dim - i;
            vec g = vec_load(d + i, left) - vec_load(x + i, left) * pull;

            vec_store(d + i, g * rrms, left);
        }
    }
}

INLINE void difference_part(float *out, const uint8_t *pixels, int count, float factor,
                            double *lanes)
{
    for (int j = 0; j < count; j++) {
        float error = out[j] - ((float)pixels[j] * (2.0f / 255.0f) - 1.0f);

        lanes[j] += (double)error * (double)error;
        out[j] = factor * error;
    }
}

static double difference(float *out, const uint8_t *pixels, int64_t n, float factor)
{
    double lanes[LANES] = {0};
    double sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        difference_part(out + i, pixels + i, LANES, factor, lanes);
    }
    difference_part(out + i, pixels + i, (int)(n - i), factor, lanes);
    for (int j = 0; j < LANES; j++) {
        sum += lanes[j];
    }
    return sum;
}

static double square_sum(const float *x, int64_t n)
{
    double lanes[LANES] = {0};
    double sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            lanes[j] += (double)x[i + j] * (double)x[i + j];
        }
    }
    for (; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    for (int j = 0; j < LANES; j++) {
        sum += lanes[j];
    }
    return sum;
}

static void adamw(const struct adamw *step, int64_t n, const float *gradient, float *value,
                  float *m, float *v)
{
    for (int64_t i = 0; i < n; i += WIDTH) {
        vec g = vec_load(gradient + i, n - i) * step->gradient_scale;
        vec m1 = vec_load(m + i, n - i) * step->beta1 + g * (1.0f - step->beta1);
        vec v1 = vec_load(v + i, n - i) * step->beta2 + g * g * (1.0f - step->beta2);
        vec w = vec_load(value + i, n - i);
        vec root = vec_sqrt(v1 * step->correction2) + step->epsilon;

        vec_store(m + i, m1, n - i);
        vec_store(v + i, v1, n - i);
        w = w - step->decay * w - step->rate * step->correction1 * m1 / root;
        vec_store(value + i, w, n - i);
    }
}

const struct trainer_kernels KERNELS_TABLE = {
    .name = KERNELS_NAME,
    .normalize = normalize,
    .normalize_backward = normalize_backward,
    .add_gated = add_gated,
    .gate_backward = gate_backward,
    .add_columns = add_columns,
    .add = add,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .rotate = rotate,
    .rotate_backward = rotate_backward,
    .difference = difference,
    .square_sum = square_sum,
    .adamw = adamw,
};
