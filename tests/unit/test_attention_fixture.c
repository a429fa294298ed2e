#include "tests/unit/test_attention_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
