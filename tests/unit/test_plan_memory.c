/* Planning and validating with memory running out at every allocation in turn. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_plan_fixture.h"

/* The linker sends this program's own calls here (-Wl,--wrap). */
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

/* The linker's hooks take no context, so what they share with the tests lies here. */
static bool is_counting;
static size_t allocations_left;

static bool runs_out(void)
{
    if (!is_counting) {
        return false;
    }
    if (allocations_left == 0) {
        return true;
    }
    allocations_left--;
    return false;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return runs_out() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return runs_out() ? NULL : __real_realloc(pointer, size);
}

/* Plans while the allocation after @left ones fails, and all that follow. */
static int plan_with(const struct fixture *fixture, size_t left, struct plan **ret)
{
    is_counting = true;
    allocations_left = left;
    int r = plan_new(&fixture->input, 1, ret);
    is_counting = false;
    return r;
}

static void planning_survives_each_allocation_that_fails(void **state)
{
    struct fixture *fixture = fixture_new(5, 2);
    struct plan *plan = NULL;
    size_t failures = 0;

    (void)state;
    /* Arrays grow from 16 elements, so there are enough of everything for all to grow again. */
    for (int i = 0; i < 12; i++) {
        struct seqsync_sequence *sequence = fixture_add(fixture, 30);
        sequence->mask = SEQSYNC_MASK_CAUSAL;
        sequence->context_tokens = 20;
    }
    while (plan_with(fixture, failures, &plan) == -ENOMEM) {
        assert_null(plan);
        failures++;
    }
    assert_non_null(plan);
    assert_null(plan_validate(plan, &fixture->input));
    assert_true(failures > 40);
    plan_free(plan);
    fixture_free(fixture);
}

static void validating_says_out_of_memory(void **state)
{
    struct fixture *fixture = fixture_new(3, 2);
    const char *why = "";
    size_t failures = 0;

    (void)state;
    fixture_add(fixture, 30)->context_tokens = 5;
    fixture_plan(fixture);
    for (;;) {
        is_counting = true;
        allocations_left = failures;
        why = plan_validate(fixture->plan, &fixture->input);
        is_counting = false;
        if (!why) {
            break;
        }
        assert_string_equal(why, "out of memory");
        failures++;
    }
    assert_true(failures > 4);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planning_survives_each_allocation_that_fails),
        cmocka_unit_test(validating_says_out_of_memory),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
