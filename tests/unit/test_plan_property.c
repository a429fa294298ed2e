/* Plans of random batches: SEQSYNC_TEST_SEED=n tries that seed alone, SEQSYNC_TEST_SEEDS=n the
 * first n. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/plan/digest.h"
#include "tests/unit/test_plan_fixture.h"

#define SEEDS 4000

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value ? strtoull(value, NULL, 0) : otherwise;
}

static void check_seed(uint64_t seed)
{
    struct fixture *fixture = fixture_random(seed);
    struct plan *again = NULL;
    const char *why = plan_input_check(&fixture->input);

    if (!why && plan_new(&fixture->input, 11, &fixture->plan) == 0 &&
        plan_new(&fixture->input, 11, &again) == 0) {
        why = plan_validate(fixture->plan, &fixture->input);
        if (!why) {
            why = fixture_oracle(fixture);
        }
        if (!why && again->digest != fixture->plan->digest) {
            why = "the same input gives two plans";
        }
    } else if (!why) {
        why = "out of memory";
    }
    plan_free(again);
    fixture_free(fixture);
    if (why) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, why);
    }
}

static void plans_of_random_batches_are_exact(void **state)
{
    const uint64_t only = number_of("SEQSYNC_TEST_SEED", UINT64_MAX);
    const uint64_t count = number_of("SEQSYNC_TEST_SEEDS", SEEDS);

    (void)state;
    if (only != UINT64_MAX) {
        check_seed(only);
        return;
    }
    for (uint64_t seed = 0; seed < count; seed++) {
        check_seed(seed);
    }
}

/* The ranks' shares of tokens differ by at most one, whatever is cut and however. */
static void shares_of_random_batches_are_even(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture *fixture = fixture_random(seed);
        assert_int_equal(plan_new(&fixture->input, 11, &fixture->plan), 0);
        const struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS];
        const int64_t share = space->total / fixture->plan->rank_count;
        const int64_t is_uneven = space->total % fixture->plan->rank_count != 0;
        for (uint32_t r = 0; r < fixture->plan->rank_count; r++) {
            const int64_t rows = space->parts[r].rows;
            if (rows != share && rows != share + is_uneven) {
                fail_msg("seed %llu: rank %u holds %lld tokens, its share is %lld",
                         (unsigned long long)seed, r, (long long)rows, (long long)share);
            }
        }
        fixture_free(fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_of_random_batches_are_exact),
        cmocka_unit_test(shares_of_random_batches_are_even),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
