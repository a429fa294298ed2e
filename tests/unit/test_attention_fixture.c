#include "tests/unit/test_attention_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNIT 0x1p-24 /* largest relative rounding error of f32 */

static void *allocate(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);

    assert_non_null(memory);
    return memory;
}

int64_t problem_q_stride(const struct problem *problem)
{
    return (int64_t)problem->heads * problem->head_dim + problem->q_gap;
}

int64_t problem_kv_stride(const struct problem *problem)
{
    return (int64_t)problem->heads_kv * problem->head_dim + problem->kv_gap;
}

/* From the words of the masks, not from a band. */
bool problem_sees(const struct problem *problem, int64_t query, int64_t key)
{
    int64_t q = problem->q_first + query;
    int64_t k = problem->k_first + key;

    switch (problem->mask) {
    case SEQSYNC_MASK_CAUSAL:
        return k <= q;
    case SEQSYNC_MASK_WINDOW:
        return k >= q - problem->window_left && k <= q + problem->window_right;
    case SEQSYNC_MASK_FULL:
    default:
        return true;
    }
}

static float *random_values(int64_t count, uint32_t *state, float size)
{
    float *values = allocate(count, sizeof(*values));

    for (int64_t i = 0; i < count; i++) {
        *state = *state * 1664525u + 1013904223u;
        values[i] = ((float)(*state >> 8) * 0x1p-23f - 1.0f) * size;
    }
    return values;
}

void problem_init(struct problem *problem, uint32_t seed, float size)
{
    uint32_t state = seed * 2654435761u + 1;

    problem->q = random_values(problem->queries * problem_q_stride(problem), &state, size);
    problem->k = random_values(problem->keys * problem_kv_stride(problem), &state, size);
    problem->v = random_values(problem->keys * problem_kv_stride(problem), &state, size);
    problem->d_o = random_values(problem->queries * problem_q_stride(problem), &state, size);
}

void problem_deinit(struct problem *problem)
{
    free(problem->q);
    free(problem->k);
    free(problem->v);
    free(problem->d_o);
}

struct seqsync_tile problem_tile(const struct problem *problem, int64_t q, int64_t q_count,
                                 int64_t k, int64_t k_count)
{
    struct seqsync_tile tile = {
        .q_first = problem->q_first + q,
        .k_first = problem->k_first + k,
        .q_count = q_count,
        .k_count = k_count,
        .q_row = q,
        .k_row = k,
        .return_row = -1,
        .band_low = SEQSYNC_BAND_NONE_LOW,
        .band_high = SEQSYNC_BAND_NONE_HIGH,
    };

    if (problem->mask == SEQSYNC_MASK_CAUSAL) {
        tile.band_high = 0;
    } else if (problem->mask == SEQSYNC_MASK_WINDOW) {
        tile.band_low = -problem->window_left;
        tile.band_high = problem->window_right;
    }
    return tile;
}

static void run_tiles(const struct problem *problem, struct answer *answer,
                      struct seqsync_attention *attention, int64_t q_pieces, int64_t k_pieces,
                      bool backward)
{
    int64_t q_stride = problem_q_stride(problem);
    int64_t kv_stride = problem_kv_stride(problem);

    for (int64_t i = 0; i < q_pieces; i++) {
        int64_t q = problem->queries * i / q_pieces;
        int64_t q_count = problem->queries * (i + 1) / q_pieces - q;

        for (int64_t j = 0; j < k_pieces; j++) {
            int64_t k = problem->keys * j / k_pieces;
            int64_t k_count = problem->keys * (j + 1) / k_pieces - k;
            struct seqsync_tile tile = problem_tile(problem, q, q_count, k, k_count);
            int r;

            if (q_count == 0 || k_count == 0) {
                continue;
            }
            if (backward) {
                r = seqsync_attention_backward_tile(
                    attention, &tile, problem->q, q_stride, problem->k + k * kv_stride,
                    problem->v + k * kv_stride, kv_stride, problem->d_o, answer->lse, answer->delta,
                    answer->dq, answer->dk + k * kv_stride, answer->dv + k * kv_stride, kv_stride);
            } else {
                r = seqsync_attention_forward_tile(
                    attention, &tile, problem->q, q_stride, problem->k + k * kv_stride,
                    problem->v + k * kv_stride, kv_stride, answer->o, answer->lse);
            }
            assert_int_equal(r, SEQSYNC_OK);
        }
    }
}

/* Rows of @width zeros with the sentinel in the gaps. */
static float *gradient_rows(int64_t rows, int64_t width, int64_t stride)
{
    float *values = allocate(rows * stride, sizeof(*values));

    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = width; i < stride; i++) {
            values[r * stride + i] = SENTINEL;
        }
    }
    return values;
}

void answer_init(struct answer *answer, const struct problem *problem, int64_t q_pieces,
                 int64_t k_pieces)
{
    struct seqsync_attention_shape shape = {
        .size = sizeof(shape),
        .heads = problem->heads,
        .heads_kv = problem->heads_kv,
        .head_dim = problem->head_dim,
        .scale = problem->scale,
    };
    int64_t q_stride = problem_q_stride(problem);
    int64_t kv_stride = problem_kv_stride(problem);
    int64_t q_width = q_stride - problem->q_gap;
    int64_t kv_width = kv_stride - problem->kv_gap;
    struct seqsync_attention *attention;

    assert_int_equal(seqsync_attention_new(&shape, &attention), SEQSYNC_OK);
    answer->o = gradient_rows(problem->queries, q_width, q_stride);
    answer->lse = allocate(problem->queries * problem->heads, sizeof(float));
    answer->delta = allocate(problem->queries * problem->heads, sizeof(float));
    answer->dq = gradient_rows(problem->queries, q_width, q_stride);
    answer->dk = gradient_rows(problem->keys, kv_width, kv_stride);
    answer->dv = gradient_rows(problem->keys, kv_width, kv_stride);
    seqsync_attention_forward_begin(attention, problem->queries, answer->o, q_stride, answer->lse);
    run_tiles(problem, answer, attention, q_pieces, k_pieces, /* backward= */ false);
    seqsync_attention_backward_begin(attention, problem->queries, answer->o, problem->d_o, q_stride,
                                     answer->delta);
    run_tiles(problem, answer, attention, q_pieces, k_pieces, /* backward= */ true);
    assert_null(seqsync_attention_free(attention));
}

void answer_deinit(struct answer *answer)
{
    free(answer->o);
    free(answer->lse);
    free(answer->delta);
    free(answer->dq);
    free(answer->dk);
    free(answer->dv);
}

bool answer_equals(const struct answer *a, const struct answer *b, const struct problem *problem)
{
    size_t q = (size_t)(problem->queries * problem_q_stride(problem)) * sizeof(float);
    size_t kv = (size_t)(problem->keys * problem_kv_stride(problem)) * sizeof(float);
    size_t stats = (size_t)(problem->queries * problem->heads) * sizeof(float);

    return memcmp(a->o, b->o, q) == 0 && memcmp(a->dq, b->dq, q) == 0 &&
           memcmp(a->dk, b->dk, kv) == 0 && memcmp(a->dv, b->dv, kv) == 0 &&
           memcmp(a->lse, b->lse, stats) == 0 && memcmp(a->delta, b->delta, stats) == 0;
}

static double problem_scale(const struct problem *problem)
{
    return problem->scale != 0 ? (double)problem->scale : 1 / sqrt((double)problem->head_dim);
}

static double dot(const float *a, const float *b, int32_t n)
{
    double sum = 0;

    for (int32_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static double dot_size(const float *a, const float *b, int32_t n)
{
    double sum = 0;

    for (int32_t i = 0; i < n; i++) {
        sum += fabs((double)a[i] * (double)b[i]);
    }
    return sum;
}

static const float *q_of(const struct problem *problem, const float *rows, int64_t query,
                         int32_t head)
{
    return rows + query * problem_q_stride(problem) + (int64_t)head * problem->head_dim;
}

static const float *kv_of(const struct problem *problem, const float *rows, int64_t key,
                          int32_t head)
{
    return rows + key * problem_kv_stride(problem) +
           (int64_t)head * problem->heads_kv / problem->heads * problem->head_dim;
}

/* Weights of one query and head, and its logarithm of the denominator; 0 for hidden keys. */
static double reference_weights(const struct problem *problem, int64_t query, int32_t head,
                                double *ret_weights)
{
    double greatest = -INFINITY;
    double sum = 0;

    for (int64_t j = 0; j < problem->keys; j++) {
        ret_weights[j] = -INFINITY;
        if (problem_sees(problem, query, j)) {
            ret_weights[j] = problem_scale(problem) * dot(q_of(problem, problem->q, query, head),
                                                          kv_of(problem, problem->k, j, head),
                                                          problem->head_dim);
            greatest = ret_weights[j] > greatest ? ret_weights[j] : greatest;
        }
    }
    for (int64_t j = 0; j < problem->keys; j++) {
        if (problem_sees(problem, query, j)) {
            /* A logit of -INFINITY has no weight, also where there is no other. */
            sum += ret_weights[j] == -INFINITY ? 0 : exp(ret_weights[j] - greatest);
        }
    }
    for (int64_t j = 0; j < problem->keys; j++) {
        ret_weights[j] =
            problem_sees(problem, query, j) && sum != 0 ? exp(ret_weights[j] - greatest) / sum : 0;
    }
    return sum == 0 ? -INFINITY : greatest + log(sum);
}

static void reference_row(struct reference *reference, const struct problem *problem, int64_t query,
                          int32_t head, double *weights)
{
    int32_t d = problem->head_dim;
    int64_t at = (query * problem->heads + head) * d;
    const float *d_o = q_of(problem, problem->d_o, query, head);
    const float *q = q_of(problem, problem->q, query, head);
    double scale = problem_scale(problem);
    double delta = 0;

    reference->lse[query * problem->heads + head] =
        reference_weights(problem, query, head, weights);
    for (int64_t j = 0; j < problem->keys; j++) {
        if (problem_sees(problem, query, j)) {
            delta += weights[j] * dot(d_o, kv_of(problem, problem->v, j, head), d);
        }
    }
    for (int64_t j = 0; j < problem->keys; j++) {
        int64_t to =
            (j * problem->heads_kv + (int64_t)head * problem->heads_kv / problem->heads) * d;
        const float *k = kv_of(problem, problem->k, j, head);
        const float *v = kv_of(problem, problem->v, j, head);
        double ds;

        if (!problem_sees(problem, query, j)) {
            continue;
        }
        ds = scale * weights[j] * (dot(d_o, v, d) - delta);
        for (int32_t i = 0; i < d; i++) {
            reference->o[at + i] += weights[j] * (double)v[i];
            reference->dq[at + i] += ds * (double)k[i];
            reference->dk[to + i] += ds * (double)q[i];
            reference->dv[to + i] += weights[j] * (double)d_o[i];
        }
    }
}

void reference_init(struct reference *reference, const struct problem *problem)
{
    int64_t q = problem->queries * problem->heads * problem->head_dim;
    int64_t kv = problem->keys * problem->heads_kv * problem->head_dim;
    double *weights = allocate(problem->keys, sizeof(*weights));

    reference->o = allocate(q, sizeof(double));
    reference->dq = allocate(q, sizeof(double));
    reference->dk = allocate(kv, sizeof(double));
    reference->dv = allocate(kv, sizeof(double));
    reference->lse = allocate(problem->queries * problem->heads, sizeof(double));
    for (int64_t i = 0; i < problem->queries; i++) {
        for (int32_t head = 0; head < problem->heads; head++) {
            reference_row(reference, problem, i, head, weights);
        }
    }
    free(weights);
}

void reference_deinit(struct reference *reference)
{
    free(reference->o);
    free(reference->lse);
    free(reference->dq);
    free(reference->dk);
    free(reference->dv);
}

double reference_loss(const struct problem *problem)
{
    double *weights = allocate(problem->keys, sizeof(*weights));
    double loss = 0;

    for (int64_t i = 0; i < problem->queries; i++) {
        for (int32_t head = 0; head < problem->heads; head++) {
            (void)reference_weights(problem, i, head, weights);
            for (int64_t j = 0; j < problem->keys; j++) {
                loss += weights[j] * dot(q_of(problem, problem->d_o, i, head),
                                         kv_of(problem, problem->v, j, head), problem->head_dim);
            }
        }
    }
    free(weights);
    return loss;
}

/* The greater of two, where what is not finite does not count. */
static double grow(double greatest, double value)
{
    value = fabs(value);
    return isfinite(value) && value > greatest ? value : greatest;
}

static double greatest_of(const float *values, int64_t count)
{
    double greatest = 0;

    for (int64_t i = 0; i < count; i++) {
        greatest = grow(greatest, (double)values[i]);
    }
    return greatest;
}

/* Sizes that the bounds are made of. */
struct sizes {
    double logit;  /* A: scale * sum |q_i k_i|, greatest over the seen pairs */
    double d_p;    /* D: sum |dO_i v_i| */
    double d_o;    /* sum |dO_i| of a row */
    double lse;    /* L */
    double column; /* C: sum of weights on one key of one K/V head */
};

static struct sizes sizes_of(const struct problem *problem, const struct reference *reference)
{
    struct sizes sizes = {0};
    double *weights = allocate(problem->keys, sizeof(*weights));
    double *columns = allocate(problem->keys * problem->heads_kv, sizeof(*columns));

    for (int64_t i = 0; i < problem->queries; i++) {
        for (int32_t head = 0; head < problem->heads; head++) {
            const float *q = q_of(problem, problem->q, i, head);
            const float *d_o = q_of(problem, problem->d_o, i, head);
            double size = 0;

            (void)reference_weights(problem, i, head, weights);
            for (int32_t x = 0; x < problem->head_dim; x++) {
                size += fabs((double)d_o[x]);
            }
            sizes.d_o = grow(sizes.d_o, size);
            sizes.lse = grow(sizes.lse, reference->lse[i * problem->heads + head]);
            for (int64_t j = 0; j < problem->keys; j++) {
                double *column = columns + j * problem->heads_kv +
                                 (int64_t)head * problem->heads_kv / problem->heads;

                if (!problem_sees(problem, i, j)) {
                    continue;
                }
                sizes.logit = grow(sizes.logit, problem_scale(problem) *
                                                    dot_size(q, kv_of(problem, problem->k, j, head),
                                                             problem->head_dim));
                sizes.d_p = grow(sizes.d_p, dot_size(d_o, kv_of(problem, problem->v, j, head),
                                                     problem->head_dim));
                *column += isfinite(weights[j]) ? weights[j] : 1;
                sizes.column = grow(sizes.column, *column);
            }
        }
    }
    free(weights);
    free(columns);
    return sizes;
}

/*
 * First-order error analysis with u = 2^-24, n keys, B merges, d = head_dim, and the sizes above.
 *   logit:  a dot product of d terms, its scaling, the subtraction of the maximum (at most 2A away)
 * and the change to base 2:  e_s = (d + 8) u A. weight: 2^x within 3 units in the last place, that
 * is 6u:  e_p = e_s + 6u, relative. o:      numerator and denominator each sum n terms in f32 (n u)
 * and are rescaled and merged at most B times, each time by factors within 9u + 2A u + L u:  |o|
 * error <= max|v| (2 e_p + 2 n u + B (18 + 4A + 2L) u). lse:    the same, for a denominator, and
 * rounded with size L at each merge. P in the backward: e_P = e_s + 6u + error of lse + 2 u L. dS =
 * P (dP - delta), |dP|, |delta| <= D: dP to d u D, delta by the error of o times sum |dO|: |dS|
 * error <= P G,  G = 2 D (e_P + 2u) + (d + 1) u D + o_error * sum |dO|. dQ = scale sum_k dS K, with
 * sum_k P = 1:  scale max|k| (G + 2 D (n + B + 2) u). dK = scale sum_q dS Q, m additions, with
 * sum_q P <= C:  scale max|q| C (G + 2 D (m + B + 2) u). dV = sum_q P dO:  max|dO| C (e_P + (m + B
 * + 2) u).
 */
struct bounds bounds_of(const struct problem *problem, const struct reference *reference,
                        int64_t merges)
{
    struct sizes s = sizes_of(problem, reference);
    double d = problem->head_dim;
    double n = (double)problem->keys;
    double b = (double)merges;
    double m = (double)problem->queries * problem->heads;
    double scale = fabs(problem_scale(problem));
    double e_s = (d + 8) * UNIT * s.logit;
    double e_p = e_s + 6 * UNIT;
    double o = greatest_of(problem->v, problem->keys * problem_kv_stride(problem)) *
               (2 * e_p + 2 * n * UNIT + b * (18 + 4 * s.logit + 2 * s.lse) * UNIT);
    double lse = e_p + n * UNIT + b * (9 + 2 * s.logit + 2 * s.lse) * UNIT;
    double e_pb = e_s + 6 * UNIT + lse + 2 * UNIT * s.lse;
    double g = 2 * s.d_p * (e_pb + 2 * UNIT) + (d + 1) * UNIT * s.d_p + o * s.d_o;

    return (struct bounds){
        .o = o,
        .lse = lse,
        .dq = scale * greatest_of(problem->k, problem->keys * problem_kv_stride(problem)) *
              (g + 2 * s.d_p * (n + b + 2) * UNIT),
        .dk = scale * greatest_of(problem->q, problem->queries * problem_q_stride(problem)) *
              s.column * (g + 2 * s.d_p * (m + b + 2) * UNIT),
        .dv = greatest_of(problem->d_o, problem->queries * problem_q_stride(problem)) * s.column *
              (e_pb + (m + b + 2) * UNIT),
    };
}

void assert_near(double value, double expected, double bound)
{
    if (!(fabs(value - expected) <= bound)) {
        fail_msg("%.9g instead of %.9g, bound %.3g", value, expected, bound);
    }
}

static void assert_rows(const char *what, const float *values, int64_t stride,
                        const double *expected, int64_t rows, int64_t width, double bound)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < stride; i++) {
            double value = (double)values[r * stride + i];
            double right = i < width ? expected[r * width + i] : (double)SENTINEL;
            bool same =
                isfinite(right) ? fabs(value - right) <= (i < width ? bound : 0) : !isfinite(value);

            if (!same) {
                fail_msg("%s row %lld element %lld: %.9g instead of %.9g, bound %.3g", what,
                         (long long)r, (long long)i, value, right, bound);
            }
        }
    }
}

void assert_answer(const struct answer *answer, const struct reference *reference,
                   const struct bounds *bounds, const struct problem *problem)
{
    int64_t q_stride = problem_q_stride(problem);
    int64_t kv_stride = problem_kv_stride(problem);
    int64_t q_width = q_stride - problem->q_gap;
    int64_t kv_width = kv_stride - problem->kv_gap;

    assert_rows("o", answer->o, q_stride, reference->o, problem->queries, q_width, bounds->o);
    assert_rows("lse", answer->lse, problem->heads, reference->lse, problem->queries,
                problem->heads, bounds->lse);
    for (int64_t i = 0; i < problem->queries * problem->heads; i++) {
        /* No key seen: exactly this, not some other infinity. */
        assert_true((reference->lse[i] == -INFINITY) == (answer->lse[i] == -INFINITY));
    }
    assert_rows("dq", answer->dq, q_stride, reference->dq, problem->queries, q_width, bounds->dq);
    assert_rows("dk", answer->dk, kv_stride, reference->dk, problem->keys, kv_width, bounds->dk);
    assert_rows("dv", answer->dv, kv_stride, reference->dv, problem->keys, kv_width, bounds->dv);
}
