/* Attention by its definition, in double precision, and how far f32 may be from it. */
#include "tests/unit/test_attention_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define UNIT 0x1p-24 /* largest relative rounding error of f32 */

static double *allocate(int64_t count)
{
    double *values = calloc((size_t)count, sizeof(*values));

    assert_non_null(values);
    return values;
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
    double *weights = allocate(problem->keys);

    reference->o = allocate(q);
    reference->dq = allocate(q);
    reference->dk = allocate(kv);
    reference->dv = allocate(kv);
    reference->lse = allocate(problem->queries * problem->heads);
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
    double *weights = allocate(problem->keys);
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
    double *weights = allocate(problem->keys);
    double *columns = allocate(problem->keys * problem->heads_kv);

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
