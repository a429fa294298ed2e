/*
 * The same numbers on any number of ranks (invariant 2 of the architecture): noise bit for bit,
 * loss within 1e-6, predictions and gradients within 1e-5 of the largest entry; and the same bits
 * on a repeated run.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_trainer_fixture.h"

static const struct model_shape shape = {{3, 4, 5}, 48, 2, 3};
#define SEQUENCES 2u
#define TOKENS (3 * 4 * 5 * SEQUENCES)

static int setup(void **state)
{
    *state = problem_new(&shape, SEQUENCES, 23);
    return 0;
}

static int teardown(void **state)
{
    problem_free(*state);
    return 0;
}

static struct answer *solve_alone(const struct problem *problem)
{
    uint32_t owner[TOKENS] = {0};

    return problem_solve(problem, 1, owner);
}

static void predictions_equal(const struct answer *got, const struct answer *want)
{
    double most = 0;
    double error = 0;

    for (size_t i = 0; i < TOKENS * PATCH_VALUES; i++) {
        most = fmax(most, fabs((double)want->predicted[i]));
        error = fmax(error, fabs((double)got->predicted[i] - (double)want->predicted[i]));
    }
    assert_true(error <= 1e-5 * most);
}

static void gradients_equal(const struct model *model, const struct answer *got,
                            const struct answer *want)
{
    for (uint32_t b = 0; b < want->buckets; b++) {
        double most = 0;
        double error = 0;

        for (size_t i = 0; i < model->elements[b]; i++) {
            most = fmax(most, fabs(want->gradient[b][i]));
            error = fmax(error, fabs(got->gradient[b][i] - want->gradient[b][i]));
        }
        if (!(error <= 1e-5 * most)) {
            fail_msg("bucket %u: error %.3g of %.3g", b, error, most);
        }
        assert_int_equal(got->counts[b], want->counts[b]);
    }
}

static void expect_same(const struct problem *problem, uint32_t ranks, const uint32_t *owner)
{
    struct answer *want = solve_alone(problem);
    struct answer *got = problem_solve(problem, ranks, owner);

    assert_memory_equal(got->noised, want->noised, TOKENS * PATCH_VALUES * sizeof(float));
    assert_int_equal(got->count, want->count);
    assert_true(fabs(got->loss - want->loss) <= 1e-6 * want->loss);
    predictions_equal(got, want);
    gradients_equal(problem->model, got, want);
    answer_free(got);
    answer_free(want);
}

static void contiguous_shards_give_the_numbers_of_one_rank(void **state)
{
    for (uint32_t ranks = 2; ranks <= 8; ranks++) {
        uint32_t owner[TOKENS];

        for (uint32_t g = 0; g < TOKENS; g++) {
            owner[g] = g * ranks / TOKENS;
        }
        expect_same(*state, ranks, owner);
    }
}

static void scattered_shards_give_the_numbers_of_one_rank(void **state)
{
    uint64_t random = 5;
    uint32_t owner[TOKENS];

    for (uint32_t g = 0; g < TOKENS; g++) {
        owner[g] = (uint32_t)((test_uniform(&random) + 1) * 2) % 4;
    }
    expect_same(*state, 4, owner);
}

static void causal_mask_gives_the_numbers_of_one_rank_and_of_the_definition(void **state)
{
    struct problem *problem = *state;
    uint32_t owner[TOKENS];
    struct answer *answer;
    double loss;

    problem->causal = true;
    /* Two chunks of each sequence for each of three ranks, one from either end. */
    for (uint32_t g = 0; g < TOKENS; g++) {
        uint32_t piece = g % (TOKENS / SEQUENCES) * 6 / (TOKENS / SEQUENCES);

        owner[g] = piece < 3 ? piece : 5 - piece;
    }
    expect_same(problem, 3, owner);
    answer = solve_alone(problem);
    loss = problem_reference(problem, answer, NULL, NULL);
    assert_true(fabs(answer->loss - loss) <= 1e-5 * loss);
    answer_free(answer);
}

static void rank_without_tokens_takes_part(void **state)
{
    uint32_t owner[TOKENS];

    for (uint32_t g = 0; g < TOKENS; g++) {
        owner[g] = g < TOKENS / 2 ? 0 : 2;
    }
    expect_same(*state, 4, owner);
}

static void repeated_run_has_equal_bits(void **state)
{
    const struct problem *problem = *state;
    uint32_t owner[TOKENS];
    struct answer *first;
    struct answer *second;

    for (uint32_t g = 0; g < TOKENS; g++) {
        owner[g] = g * 3 / TOKENS;
    }
    first = problem_solve(problem, 3, owner);
    second = problem_solve(problem, 3, owner);
    assert_memory_equal(first->predicted, second->predicted, TOKENS * PATCH_VALUES * sizeof(float));
    assert_memory_equal(&first->loss, &second->loss, sizeof(first->loss));
    for (uint32_t b = 0; b < first->buckets; b++) {
        assert_memory_equal(first->gradient[b], second->gradient[b],
                            problem->model->elements[b] * sizeof(double));
    }
    answer_free(first);
    answer_free(second);
}

/* A fresh model's gates are 0, so its blocks change nothing; a step must still be possible. */
static void fresh_model_predicts_zero_and_has_a_gradient(void **state)
{
    struct problem *problem = *state;
    struct answer *answer;
    double most = 0;

    model_start(problem->model, 3);
    answer = solve_alone(problem);
    for (size_t i = 0; i < TOKENS * PATCH_VALUES; i++) {
        assert_true(answer->predicted[i] == 0.0f);
    }
    for (size_t i = 0; i < problem->model->elements[BUCKET_HEAD(problem->model)]; i++) {
        most = fmax(most, fabs(answer->gradient[BUCKET_HEAD(problem->model)][i]));
    }
    assert_true(most > 0);
    answer_free(answer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(contiguous_shards_give_the_numbers_of_one_rank, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(scattered_shards_give_the_numbers_of_one_rank, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            causal_mask_gives_the_numbers_of_one_rank_and_of_the_definition, setup, teardown),
        cmocka_unit_test_setup_teardown(rank_without_tokens_takes_part, setup, teardown),
        cmocka_unit_test_setup_teardown(repeated_run_has_equal_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(fresh_model_predicts_zero_and_has_a_gradient, setup,
                                        teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
