/*
 * What a mask hides is not read: NaN or infinity in hidden rows stays there, in forward and
 * backward, also in blocks where other queries do see the row; and where it is seen, it shows.
 */
#include <seqsync/attention.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/test_attention_fixture.h"

static const struct {
    enum seqsync_mask mask;
    int64_t left, right;
} masks[] = {{SEQSYNC_MASK_CAUSAL, 0, 0}, {SEQSYNC_MASK_WINDOW, 9, 4}, {SEQSYNC_MASK_FULL, 0, 0}};

enum place { PLACE_Q, PLACE_K, PLACE_V, PLACE_D_O, PLACES_N };

static float *place_row(struct problem *problem, enum place place, int64_t row)
{
    switch (place) {
    case PLACE_Q:
        return problem->q + row * problem_q_stride(problem);
    case PLACE_D_O:
        return problem->d_o + row * problem_q_stride(problem);
    case PLACE_K:
        return problem->k + row * problem_kv_stride(problem);
    case PLACE_V:
    case PLACES_N:
    default:
        return problem->v + row * problem_kv_stride(problem);
    }
}

static void check_one(size_t mask, enum place place, int64_t row, float poison, int64_t pieces)
{
    struct problem problem = {
        .heads = 3,
        .heads_kv = 2,
        .head_dim = 5,
        .queries = 67,
        .keys = 67,
        .mask = masks[mask].mask,
        .window_left = masks[mask].left,
        .window_right = masks[mask].right,
    };
    struct reference reference;
    struct bounds bounds;
    struct answer answer;

    problem_init(&problem, 23, 1.0f);
    place_row(&problem, place, row)[problem.head_dim + 2] = poison;
    reference_init(&reference, &problem);
    bounds = bounds_of(&problem, &reference, 2 * pieces);
    answer_init(&answer, &problem, pieces, pieces);
    assert_answer(&answer, &reference, &bounds, &problem);
    answer_deinit(&answer);
    reference_deinit(&reference);
    problem_deinit(&problem);
}

/* The reference multiplies seen pairs only, so it says exactly which results may be poisoned. */
static void nan_shows_exactly_where_the_mask_lets_it(void **state)
{
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    static const int64_t rows[] = {0, 30, 66};

    (void)state;
    for (size_t mask = 0; mask < 3; mask++) {
        for (int place = 0; place < PLACES_N; place++) {
            for (size_t i = 0; i < 9; i++) {
                check_one(mask, (enum place)place, rows[i % 3], poisons[i / 3], /* pieces= */ 1);
                check_one(mask, (enum place)place, rows[i % 3], poisons[i / 3], /* pieces= */ 4);
            }
        }
    }
}

/* Keys behind the reach of all queries of a tile are not even looked at: finite results to the last
 * bit. */
static void keys_hidden_from_a_whole_tile_are_not_touched(void **state)
{
    struct problem problem = {.heads = 1,
                              .heads_kv = 1,
                              .head_dim = 4,
                              .queries = 300,
                              .keys = 600,
                              .mask = SEQSYNC_MASK_CAUSAL};
    struct answer clean;
    struct answer dirty;

    (void)state;
    problem_init(&problem, 29, 1.0f);
    answer_init(&clean, &problem, 2, 2);
    for (int64_t i = 300 * 4; i < 600 * 4; i++) {
        problem.k[i] = NAN;
        problem.v[i] = INFINITY;
    }
    answer_init(&dirty, &problem, 2, 2);
    assert_true(answer_equals(&clean, &dirty, &problem));
    answer_deinit(&clean);
    answer_deinit(&dirty);
    problem_deinit(&problem);
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
        cmocka_unit_test(nan_shows_exactly_where_the_mask_lets_it),
        cmocka_unit_test(keys_hidden_from_a_whole_tile_are_not_touched),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, start_blas, NULL);
}
