/* Attention against the definition in double precision, over sizes, heads, masks, strides and cuts
 * into tiles. */
#include <seqsync/attention.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_attention_fixture.h"

static const struct {
    int32_t heads, heads_kv, head_dim;
    float scale;
} shapes[] = {
    {1, 1, 1, 0},   {2, 1, 3, 0},      {3, 2, 16, 0},    {5, 3, 64, 0},
    {2, 2, 128, 0}, {1, 1, 70, 0.25f}, {4, 1, 8, -0.5f},
};

static const struct {
    enum seqsync_mask mask;
    int64_t left, right;
} masks[] = {
    {SEQSYNC_MASK_FULL, 0, 0},   {SEQSYNC_MASK_CAUSAL, 0, 0},  {SEQSYNC_MASK_WINDOW, 0, 0},
    {SEQSYNC_MASK_WINDOW, 5, 2}, {SEQSYNC_MASK_WINDOW, 0, 40}, {SEQSYNC_MASK_WINDOW, 270, 1},
};

static const struct {
    int64_t queries, keys;
} sizes[] = {{1, 1},  {2, 3},   {31, 31},  {97, 97}, {257, 257},
             {64, 1}, {1, 300}, {61, 300}, {300, 61}};

static const struct {
    int64_t q, k;
} cuts[] = {{1, 1}, {2, 3}, {3, 1}, {1, 7}, {8, 8}};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Blocks of at most 256 keys in each of the tiles of a row: 256 keys is the library's block. */
static int64_t merges_of(int64_t keys, int64_t k_pieces)
{
    return k_pieces * (2 + keys / k_pieces / 256);
}

static struct problem problem_of(size_t shape, size_t mask, size_t size)
{
    return (struct problem){
        .heads = shapes[shape].heads,
        .heads_kv = shapes[shape].heads_kv,
        .head_dim = shapes[shape].head_dim,
        .scale = shapes[shape].scale,
        .queries = sizes[size].queries,
        .keys = sizes[size].keys,
        .mask = masks[mask].mask,
        .window_left = masks[mask].left,
        .window_right = masks[mask].right,
        .q_gap = (int64_t)(shape % 3) * 5,
        .kv_gap = (int64_t)(size % 2) * 3,
    };
}

static void attention_equals_its_definition_for_every_shape_mask_and_cut(void **state)
{
    (void)state;
    for (size_t shape = 0; shape < N_OF(shapes); shape++) {
        for (size_t mask = 0; mask < N_OF(masks); mask++) {
            for (size_t size = 0; size < N_OF(sizes); size++) {
                struct problem problem = problem_of(shape, mask, size);
                size_t cut = (shape + mask + size) % N_OF(cuts);
                struct reference reference;
                struct bounds bounds;
                struct answer answer;

                problem_init(&problem, (uint32_t)(shape * 100 + mask * 10 + size), 1.0f);
                reference_init(&reference, &problem);
                bounds = bounds_of(&problem, &reference, merges_of(problem.keys, cuts[cut].k));
                answer_init(&answer, &problem, cuts[cut].q, cuts[cut].k);
                assert_answer(&answer, &reference, &bounds, &problem);
                answer_deinit(&answer);
                reference_deinit(&reference);
                problem_deinit(&problem);
            }
        }
    }
}

static void attention_is_the_same_however_the_tiles_are_cut(void **state)
{
    (void)state;
    for (size_t mask = 0; mask < N_OF(masks); mask++) {
        struct problem problem = problem_of(/* shape= */ 3, mask, /* size= */ 4);
        struct reference reference;

        problem_init(&problem, 7, 1.0f);
        reference_init(&reference, &problem);
        for (size_t cut = 0; cut < N_OF(cuts); cut++) {
            struct bounds bounds =
                bounds_of(&problem, &reference, merges_of(problem.keys, cuts[cut].k));
            struct answer answer;

            answer_init(&answer, &problem, cuts[cut].q, cuts[cut].k);
            assert_answer(&answer, &reference, &bounds, &problem);
            answer_deinit(&answer);
        }
        reference_deinit(&reference);
        problem_deinit(&problem);
    }
}

/* Tiles far from the origin, as later chunks of a long batch have them, whose queries lie before,
 * on and after the keys. */
static void tiles_are_placed_by_their_global_indices(void **state)
{
    static const int64_t shifts[] = {-400, -97, -50, 0, 50, 97, 400};

    (void)state;
    for (size_t mask = 0; mask < N_OF(masks); mask++) {
        for (size_t i = 0; i < N_OF(shifts); i++) {
            struct problem problem = problem_of(/* shape= */ 2, mask, /* size= */ 3);
            struct reference reference;
            struct bounds bounds;
            struct answer answer;

            problem.q_first = (INT64_C(1) << 27) + shifts[i];
            problem.k_first = INT64_C(1) << 27;
            problem_init(&problem, 3, 1.0f);
            reference_init(&reference, &problem);
            bounds = bounds_of(&problem, &reference, merges_of(problem.keys, 3));
            answer_init(&answer, &problem, 2, 3);
            assert_answer(&answer, &reference, &bounds, &problem);
            answer_deinit(&answer);
            reference_deinit(&reference);
            problem_deinit(&problem);
        }
    }
}

/* More queries and keys than a block holds (384 and 256), and more queries than a group of four
 * blocks. */
static void several_blocks_of_both_sides_add_up(void **state)
{
    static const struct problem problems[] = {
        {.heads = 2, .heads_kv = 1, .head_dim = 16, .queries = 701, .keys = 811},
        {.heads = 1, .heads_kv = 1, .head_dim = 3, .queries = 3301, .keys = 300},
    };

    (void)state;
    for (size_t i = 0; i < N_OF(problems) * N_OF(masks); i++) {
        struct problem problem = problems[i / N_OF(masks)];
        struct reference reference;
        struct bounds bounds;
        struct answer answer;

        problem.mask = masks[i % N_OF(masks)].mask;
        problem.window_left = masks[i % N_OF(masks)].left;
        problem.window_right = masks[i % N_OF(masks)].right;
        problem_init(&problem, 11, 1.0f);
        reference_init(&reference, &problem);
        bounds = bounds_of(&problem, &reference, merges_of(problem.keys, 1));
        answer_init(&answer, &problem, 1, 1);
        assert_answer(&answer, &reference, &bounds, &problem);
        answer_deinit(&answer);
        reference_deinit(&reference);
        problem_deinit(&problem);
    }
}

static void the_same_calls_give_the_same_bits(void **state)
{
    struct problem problem = problem_of(/* shape= */ 3, /* mask= */ 1, /* size= */ 4);
    struct answer first;
    struct answer second;

    (void)state;
    problem_init(&problem, 5, 1.0f);
    for (size_t cut = 0; cut < N_OF(cuts); cut++) {
        answer_init(&first, &problem, cuts[cut].q, cuts[cut].k);
        answer_init(&second, &problem, cuts[cut].q, cuts[cut].k);
        assert_true(answer_equals(&first, &second, &problem));
        answer_deinit(&first);
        answer_deinit(&second);
    }
    problem_deinit(&problem);
}

/* Logits of hundreds: weights far below the smallest float, and blocks that the maximum moves by
 * hundreds. */
static void large_logits_stay_within_the_bound(void **state)
{
    struct problem problem = problem_of(/* shape= */ 3, /* mask= */ 1, /* size= */ 4);
    struct reference reference;
    struct bounds bounds;
    struct answer answer;

    (void)state;
    problem_init(&problem, 13, 8.0f);
    reference_init(&reference, &problem);
    bounds = bounds_of(&problem, &reference, merges_of(problem.keys, 7));
    answer_init(&answer, &problem, 1, 7);
    assert_answer(&answer, &reference, &bounds, &problem);
    answer_deinit(&answer);
    reference_deinit(&reference);
    problem_deinit(&problem);
}

/*
 * One key scores 1e30 or -1e30 and the others 0: with the first only it counts, with the second all
 * others do, whichever tile comes first. All values are exact in f32.
 */
static void extreme_logits_neither_overflow_nor_hide_the_rest(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int64_t at = 0; at < 3; at += 2) {
            struct problem problem = {.heads = 1,
                                      .heads_kv = 1,
                                      .head_dim = 1,
                                      .scale = 1,
                                      .queries = 1,
                                      .keys = 3,
                                      .mask = SEQSYNC_MASK_FULL};
            struct answer answer;

            problem_init(&problem, 1, 1.0f);
            problem.q[0] = 1e15f;
            for (int64_t j = 0; j < 3; j++) {
                problem.k[j] = j == at ? (float)sign * 1e15f : 0.0f;
                problem.v[j] = j == at ? 4.0f : 2.0f;
            }
            answer_init(&answer, &problem, 1, 3);
            assert_near((double)answer.o[0], sign > 0 ? 4.0f : 2.0f, 1e-6);
            if (sign > 0) {
                assert_true(fabs((double)answer.lse[0] / 1e30 - 1) < 1e-6);
            } else {
                assert_near((double)answer.lse[0], log(2), 1e-6);
            }
            answer_deinit(&answer);
            problem_deinit(&problem);
        }
    }
}

/* The first queries see nothing at all, the middle ones something, with every tile cut through the
 * band's edge. */
static void rows_that_see_no_key_have_no_output_and_no_gradient(void **state)
{
    struct problem problem = {.heads = 2,
                              .heads_kv = 1,
                              .head_dim = 8,
                              .queries = 40,
                              .keys = 40,
                              .k_first = 17,
                              .mask = SEQSYNC_MASK_CAUSAL};
    struct answer answer;

    (void)state;
    problem_init(&problem, 19, 1.0f);
    answer_init(&answer, &problem, 3, 3);
    for (int64_t i = 0; i < 17 * 2; i++) {
        assert_true(answer.lse[i] == -INFINITY);
        for (int64_t x = 0; x < 8; x++) {
            assert_true(answer.o[i * 8 + x] == 0);
            assert_true(answer.dq[i * 8 + x] == 0);
        }
    }
    for (int64_t i = 17 * 2; i < 40 * 2; i++) {
        assert_true(isfinite(answer.lse[i]));
    }
    for (int64_t i = 23 * 8; i < 40 * 8; i++) {
        assert_true(answer.dk[i] == 0 && answer.dv[i] == 0); /* keys 40 .. 56, after every query */
    }
    answer_deinit(&answer);
    problem_deinit(&problem);
}

static void the_kernels_asked_for_are_the_ones_used(void **state)
{
    const char *asked = getenv("SEQSYNC_KERNELS");
    const char *used = seqsync_attention_kernels();

    (void)state;
    assert_non_null(strstr(used, "OpenBLAS"));
    if (asked && strcmp(asked, "portable") == 0) {
        assert_memory_equal(used, "portable", strlen("portable"));
    }
#if defined(__x86_64__)
    if (asked && strcmp(asked, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma")) {
        assert_memory_equal(used, "avx2", strlen("avx2"));
    }
#endif
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
        cmocka_unit_test(attention_equals_its_definition_for_every_shape_mask_and_cut),
        cmocka_unit_test(attention_is_the_same_however_the_tiles_are_cut),
        cmocka_unit_test(tiles_are_placed_by_their_global_indices),
        cmocka_unit_test(several_blocks_of_both_sides_add_up),
        cmocka_unit_test(the_same_calls_give_the_same_bits),
        cmocka_unit_test(large_logits_stay_within_the_bound),
        cmocka_unit_test(extreme_logits_neither_overflow_nor_hide_the_rest),
        cmocka_unit_test(rows_that_see_no_key_have_no_output_and_no_gradient),
        cmocka_unit_test(the_kernels_asked_for_are_the_ones_used),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, start_blas, NULL);
}
