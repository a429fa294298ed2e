/* The error contract, and known failures of other implementations (cases.md, by their numbers) that
 * must not be ours. */
#include <seqsync/attention.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_attention_fixture.h"

static struct problem small_problem(void)
{
    return (struct problem){.heads = 2,
                            .heads_kv = 1,
                            .head_dim = 4,
                            .queries = 9,
                            .keys = 9,
                            .mask = SEQSYNC_MASK_CAUSAL};
}

/* The gradient of the loss by one value, by the central difference of the forward in double
 * precision. */
static double slope(struct problem *problem, float *value)
{
    const float step =
        0x1p-10f; /* exact in f32 beside values below 1 that are multiples of 2^-23 */
    float before = *value;
    double above;
    double below;

    *value = before + step;
    above = reference_loss(problem);
    *value = before - step;
    below = reference_loss(problem);
    *value = before;
    return (above - below) / (2 * (double)step);
}

/*
 * The central difference is off by step^2 / 6 times the third derivative. With |q|, |k|, |v|, |dO|
 * <= 1, d = 4 and scale 1/2 a logit moves by at most 1/2 per unit of one value; derivatives of
 * softmax weights are below 8 for each order up to three, and 9 rows of 2 heads of 4 terms enter:
 * far below 1000, hence 2^-20 / 6 * 1000 < 2e-4.
 */
static void s22_gradients_over_tiles_of_three_ranks_match_finite_differences(void **state)
{
    struct problem problem = small_problem();
    struct answer answer;

    (void)state;
    problem_init(&problem, 31, 1.0f);
    answer_init(&answer, &problem, 3, 3);
    for (int64_t i = 0; i < 9 * 8; i++) {
        assert_near((double)answer.dq[i], slope(&problem, &problem.q[i]), 2e-4);
    }
    for (int64_t i = 0; i < 9 * 4; i++) {
        assert_near((double)answer.dk[i], slope(&problem, &problem.k[i]), 2e-4);
        assert_near((double)answer.dv[i], slope(&problem, &problem.v[i]), 2e-4);
    }
    answer_deinit(&answer);
    problem_deinit(&problem);
}

/* B sequences end to end in one shard, one tile each, equal bit for bit to B separate calls. */
static void s26_sequences_of_a_batch_do_not_mix(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= 3; batch++) {
        struct problem whole = small_problem();
        struct seqsync_attention_shape shape = {
            .size = sizeof(shape), .heads = 2, .heads_kv = 1, .head_dim = 4};
        struct seqsync_attention *attention;
        float o[27 * 8];
        float lse[27 * 2];

        whole.queries = whole.keys = 9 * batch;
        problem_init(&whole, 37, 1.0f);
        assert_int_equal(seqsync_attention_new(&shape, &attention), SEQSYNC_OK);
        seqsync_attention_forward_begin(attention, 9 * batch, o, 8, lse);
        for (int64_t b = 0; b < batch; b++) {
            struct seqsync_tile tile = problem_tile(&whole, 9 * b, 9, 9 * b, 9);

            assert_int_equal(seqsync_attention_forward_tile(attention, &tile, whole.q, 8,
                                                            whole.k + 9 * b * 4,
                                                            whole.v + 9 * b * 4, 4, o, lse),
                             SEQSYNC_OK);
        }
        for (int64_t b = 0; b < batch; b++) {
            struct problem single = small_problem();
            struct answer answer;

            problem_init(&single, 1, 1.0f);
            memcpy(single.q, whole.q + 9 * b * 8, 9 * 8 * sizeof(float));
            memcpy(single.k, whole.k + 9 * b * 4, 9 * 4 * sizeof(float));
            memcpy(single.v, whole.v + 9 * b * 4, 9 * 4 * sizeof(float));
            answer_init(&answer, &single, 1, 1);
            assert_memory_equal(answer.o, o + 9 * b * 8, 9 * 8 * sizeof(float));
            assert_memory_equal(answer.lse, lse + 9 * b * 2, 9 * 2 * sizeof(float));
            answer_deinit(&answer);
            problem_deinit(&single);
        }
        seqsync_attention_free(attention);
        problem_deinit(&whole);
    }
}

/* Heads, rows and dimensions all equal in number, so that a wrong order has the right size: only
 * the values tell. */
static void s27_output_is_row_then_head_then_dimension(void **state)
{
    struct problem problem = {
        .heads = 6, .heads_kv = 6, .head_dim = 6, .queries = 6, .keys = 6, .q_gap = 6, .kv_gap = 1};
    struct answer answer;

    (void)state;
    problem.mask = SEQSYNC_MASK_WINDOW; /* of the diagonal alone: o is v */
    problem_init(&problem, 41, 1.0f);
    answer_init(&answer, &problem, 2, 2);
    for (int64_t row = 0; row < 6; row++) {
        for (int64_t i = 0; i < 36; i++) {
            assert_true(answer.o[row * 42 + i] == problem.v[row * 37 + i]);
        }
        for (int64_t i = 36; i < 42; i++) {
            assert_true(answer.o[row * 42 + i] == SENTINEL);
        }
    }
    answer_deinit(&answer);
    problem_deinit(&problem);
}

static void check_pieces(struct problem *problem, uint32_t seed)
{
    static const int64_t ranks[] = {1, 2, 3, 4, 5, 7, 8};
    struct reference reference;
    struct bounds bounds;

    problem_init(problem, seed, 1.0f);
    reference_init(&reference, problem);
    bounds = bounds_of(problem, &reference, /* merges= */ 2);
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        struct answer answer;

        answer_init(&answer, problem, ranks[i], ranks[i]);
        assert_answer(&answer, &reference, &bounds, problem);
        answer_deinit(&answer);
    }
    reference_deinit(&reference);
    problem_deinit(problem);
}

static void s32_cross_attention_is_the_same_for_every_rank_count(void **state)
{
    struct problem problem = {.heads = 3,
                              .heads_kv = 3,
                              .head_dim = 16,
                              .queries = 101,
                              .keys = 37,
                              .mask = SEQSYNC_MASK_FULL};

    (void)state;
    check_pieces(&problem, 43);
}

/* A row longer than its heads gives the same bits as a dense one; one shorter than its heads is
 * refused. */
static void s33_strides_are_honoured_or_refused(void **state)
{
    struct problem dense = small_problem();
    struct problem spaced = small_problem();
    struct answer a;
    struct answer b;

    (void)state;
    spaced.q_gap = 3;
    spaced.kv_gap = 11;
    problem_init(&dense, 47, 1.0f);
    problem_init(&spaced, 1, NAN);
    for (int64_t r = 0; r < 9; r++) {
        memcpy(spaced.q + r * 11, dense.q + r * 8, 8 * sizeof(float));
        memcpy(spaced.d_o + r * 11, dense.d_o + r * 8, 8 * sizeof(float));
        memcpy(spaced.k + r * 15, dense.k + r * 4, 4 * sizeof(float));
        memcpy(spaced.v + r * 15, dense.v + r * 4, 4 * sizeof(float));
    }
    answer_init(&a, &dense, 2, 2);
    answer_init(&b, &spaced, 2, 2);
    for (int64_t r = 0; r < 9; r++) {
        assert_memory_equal(a.o + r * 8, b.o + r * 11, 8 * sizeof(float));
        assert_memory_equal(a.dq + r * 8, b.dq + r * 11, 8 * sizeof(float));
        assert_memory_equal(a.dk + r * 4, b.dk + r * 15, 4 * sizeof(float));
        assert_memory_equal(a.dv + r * 4, b.dv + r * 15, 4 * sizeof(float));
    }
    answer_deinit(&a);
    answer_deinit(&b);
    problem_deinit(&dense);
    problem_deinit(&spaced);
}

/* A prime number of tokens, which no rank count divides, needs no padding and gives one result. */
static void s54_output_is_the_same_for_every_rank_count_without_padding(void **state)
{
    struct problem problem = {.heads = 3,
                              .heads_kv = 2,
                              .head_dim = 16,
                              .queries = 131,
                              .keys = 131,
                              .mask = SEQSYNC_MASK_CAUSAL};

    (void)state;
    check_pieces(&problem, 53);
}

/* As many tiles as keys, within the bound of a single tile. */
static void s56_the_error_does_not_grow_with_the_rank_count(void **state)
{
    struct problem problem = {.heads = 2,
                              .heads_kv = 2,
                              .head_dim = 64,
                              .queries = 5,
                              .keys = 128,
                              .mask = SEQSYNC_MASK_FULL};
    struct reference reference;
    struct bounds bounds;

    (void)state;
    problem_init(&problem, 59, 1.0f);
    reference_init(&reference, &problem);
    bounds = bounds_of(&problem, &reference, /* merges= */ 2);
    for (int64_t pieces = 1; pieces <= 128; pieces *= 2) {
        struct answer answer;

        answer_init(&answer, &problem, 1, pieces);
        assert_answer(&answer, &reference, &bounds, &problem);
        answer_deinit(&answer);
    }
    reference_deinit(&reference);
    problem_deinit(&problem);
}

/*
 * Two tiles whose denominators are e^200 apart: log(1 + exp(200)) overflows f32. And two that are
 * e^-12 apart, where the smaller one is lost if the state is rounded to less than f32 between
 * tiles: o = (v0 + w v1) / (1 + w), w = e^-12.
 */
static void s59_the_merge_of_tiles_keeps_f32_and_does_not_overflow(void **state)
{
    static const struct {
        float logit;
        double w;
    } rows[] = {{-200, 0}, {-12, 6.14421235332821e-06}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (int64_t at = 0; at < 2; at++) {
            struct problem problem = {.heads = 1,
                                      .heads_kv = 1,
                                      .head_dim = 1,
                                      .scale = 1,
                                      .queries = 1,
                                      .keys = 2,
                                      .mask = SEQSYNC_MASK_FULL};
            struct answer answer;

            problem_init(&problem, 1, 1.0f);
            problem.q[0] = 1;
            problem.k[at] = 100;
            problem.k[1 - at] = 100 + rows[i].logit;
            problem.v[at] = 1;
            problem.v[1 - at] = 5;
            answer_init(&answer, &problem, 1, 2);
            /* 1 + 4 w to the last bit or two of f32, and w itself to the rounding of a logit of
             * size 100. */
            assert_near((double)answer.o[0], (1 + 5 * rows[i].w) / (1 + rows[i].w), 0x1p-22);
            assert_near((double)answer.lse[0], 100 + log1p(rows[i].w), 100 * 0x1p-23);
            answer_deinit(&answer);
            problem_deinit(&problem);
        }
    }
}

static void a_bad_shape_is_refused(void **state)
{
    static const struct seqsync_attention_shape bad[] = {
        {.size = 0, .heads = 1, .heads_kv = 1, .head_dim = 1},
        {.size = sizeof(bad[0]), .heads = 0, .heads_kv = 1, .head_dim = 1},
        {.size = sizeof(bad[0]), .heads = 2, .heads_kv = 3, .head_dim = 1},
        {.size = sizeof(bad[0]), .heads = 2, .heads_kv = 0, .head_dim = 1},
        {.size = sizeof(bad[0]), .heads = 1, .heads_kv = 1, .head_dim = 0},
        {.size = sizeof(bad[0]), .heads = 1, .heads_kv = 1, .head_dim = 1025},
        {.size = sizeof(bad[0]), .heads = 1, .heads_kv = 1, .head_dim = 1, .scale = NAN},
        {.size = sizeof(bad[0]), .heads = 1, .heads_kv = 1, .head_dim = 1, .scale = INFINITY},
    };
    struct seqsync_attention *attention = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(seqsync_attention_new(&bad[i], &attention), SEQSYNC_ERR_INVALID);
        assert_null(attention);
    }
    assert_int_equal(seqsync_attention_new(NULL, &attention), SEQSYNC_ERR_INVALID);
    assert_null(seqsync_attention_free(NULL));
}

static void assert_refused(struct seqsync_attention *attention, const struct seqsync_tile *tile,
                           int64_t q_stride, int64_t kv_stride)
{
    float x[64] = {0};

    assert_int_equal(
        seqsync_attention_forward_tile(attention, tile, x, q_stride, x, x, kv_stride, x, x),
        SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_attention_backward_tile(attention, tile, x, q_stride, x, x, kv_stride,
                                                     x, x, x, x, x, x,
                                                     /* dkv_stride= */ 4),
                     SEQSYNC_ERR_INVALID);
}

static void a_bad_tile_or_stride_is_refused(void **state)
{
    struct problem problem = small_problem();
    struct seqsync_attention_shape shape = {
        .size = sizeof(shape), .heads = 2, .heads_kv = 1, .head_dim = 4};
    struct seqsync_tile good = problem_tile(&problem, 0, 1, 0, 1);
    struct seqsync_tile bad[] = {good, good, good, good, good, good, good};
    struct seqsync_attention *attention;
    float x[64] = {0};

    (void)state;
    bad[0].q_count = 0;
    bad[1].k_count = -1;
    bad[2].q_count = INT64_C(1) << 31;
    bad[3].k_count = INT64_C(1) << 31;
    bad[4].q_row = -1;
    bad[5].q_first = -1;
    bad[6].k_first = INT64_MIN;
    assert_int_equal(seqsync_attention_new(&shape, &attention), SEQSYNC_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused(attention, &bad[i], 8, 4);
    }
    assert_refused(attention, &good, 7, 4);
    assert_refused(attention, &good, 8, 3);
    assert_refused(attention, &good, INT64_C(1) << 31, 4);
    assert_refused(attention, NULL, 8, 4);
    assert_refused(NULL, &good, 8, 4);
    assert_int_equal(seqsync_attention_forward_tile(attention, &good, NULL, 8, x, x, 4, x, x),
                     SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_attention_forward_tile(attention, &good, x, 8, x, x, 4, x, NULL),
                     SEQSYNC_ERR_INVALID);
    assert_int_equal(
        seqsync_attention_backward_tile(attention, &good, x, 8, x, x, 4, x, x, x, x, x, x, 3),
        SEQSYNC_ERR_INVALID);
    assert_int_equal(
        seqsync_attention_backward_tile(attention, &good, x, 8, x, x, 4, x, x, x, NULL, x, x, 4),
        SEQSYNC_ERR_INVALID);
    seqsync_attention_free(attention);
}

static int start_blas(void **state)
{
    (void)state;
    seqsync_attention_init();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s22_gradients_over_tiles_of_three_ranks_match_finite_differences),
        cmocka_unit_test(s26_sequences_of_a_batch_do_not_mix),
        cmocka_unit_test(s27_output_is_row_then_head_then_dimension),
        cmocka_unit_test(s32_cross_attention_is_the_same_for_every_rank_count),
        cmocka_unit_test(s33_strides_are_honoured_or_refused),
        cmocka_unit_test(s54_output_is_the_same_for_every_rank_count_without_padding),
        cmocka_unit_test(s56_the_error_does_not_grow_with_the_rank_count),
        cmocka_unit_test(s59_the_merge_of_tiles_keeps_f32_and_does_not_overflow),
        cmocka_unit_test(a_bad_shape_is_refused),
        cmocka_unit_test(a_bad_tile_or_stride_is_refused),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, start_blas, NULL);
}
