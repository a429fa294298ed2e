#include "daemon/core/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t digests[SEQSYNC_RANKS_MAX];
static struct rank_set odd, others;

/* Members 0 .. count - 1, each with its digest. */
static void fill(struct gather *gather, const uint64_t *values, uint32_t count)
{
    struct rank_set members;

    rank_set_clear(&members);
    for (uint32_t i = 0; i < count; i++) {
        rank_set_add(&members, i);
    }
    gather_init(gather, GATHER_BATCH, &members, digests);
    for (uint32_t i = 0; i < count; i++) {
        assert_false(gather_is_complete(gather));
        assert_int_equal(gather_add(gather, 1, count - 1 - i, values[count - 1 - i], i == 0), 0);
    }
    assert_true(gather_is_complete(gather));
    assert_true(gather->skip);
}

static void gather_agrees_when_all_are_equal(void **state)
{
    struct gather gather;

    (void)state;
    fill(&gather, (const uint64_t[]){7, 7, 7}, 3);
    assert_false(gather_differs(&gather, false, &odd, &others));
}

static void gather_names_the_minority(void **state)
{
    struct gather gather;

    (void)state;
    fill(&gather, (const uint64_t[]){7, 8, 7, 9, 7}, 5);
    assert_true(gather_differs(&gather, false, &odd, &others));
    assert_int_equal(odd.words[0], 0x0A);
    assert_int_equal(others.words[0], 0x15);
}

static void gather_names_all_without_a_majority(void **state)
{
    struct gather gather;

    (void)state;
    fill(&gather, (const uint64_t[]){7, 8, 8, 7}, 4);
    assert_true(gather_differs(&gather, false, &odd, &others));
    assert_int_equal(odd.words[0], 0x0F);
    assert_int_equal(others.words[0], 0);
}

static void gather_does_not_compare_what_was_not_given(void **state)
{
    struct gather gather;

    (void)state;
    fill(&gather, (const uint64_t[]){0, 7, 0, 7, 0}, 5);
    assert_false(gather_differs(&gather, true, &odd, &others));
    assert_true(gather_differs(&gather, false, &odd, &others));
    fill(&gather, (const uint64_t[]){0, 7, 0, 7, 8}, 5);
    assert_true(gather_differs(&gather, true, &odd, &others));
    assert_int_equal(odd.words[0], 0x10);
    assert_int_equal(others.words[0], 0x0A);
}

static void gather_rejects_what_does_not_fit(void **state)
{
    struct gather gather;
    struct rank_set members, missing;

    (void)state;
    rank_set_clear(&members);
    rank_set_add(&members, 3);
    rank_set_add(&members, 1023);
    gather_init(&gather, GATHER_BATCH, &members, digests);
    assert_int_equal(gather_add(&gather, 1, 2, 0, false), GATHER_STRANGER);
    assert_int_equal(gather_add(&gather, 1, 5000, 0, false), GATHER_STRANGER);
    assert_int_equal(gather_add(&gather, 2, 3, 0, false), GATHER_FUTURE);
    assert_int_equal(gather_add(&gather, 1, 1023, 0, false), 0);
    assert_int_equal(gather_add(&gather, 1, 1023, 0, false), GATHER_DUPLICATE);
    gather_missing(&gather, &missing);
    assert_int_equal(rank_set_count(&missing), 1);
    assert_true(rank_set_has(&missing, 3));
    gather_next(&gather);
    assert_int_equal(gather_add(&gather, 1, 3, 0, false), GATHER_STALE);
    assert_int_equal(gather.arrived_count, 0);
}

static void rank_set_walks_over_gaps(void **state)
{
    struct rank_set set;

    (void)state;
    rank_set_clear(&set);
    assert_int_equal(rank_set_next(&set, 0), RANK_SET_END);
    rank_set_add(&set, 63);
    rank_set_add(&set, 64);
    rank_set_add(&set, 1023);
    assert_int_equal(rank_set_next(&set, 0), 63);
    assert_int_equal(rank_set_next(&set, 64), 64);
    assert_int_equal(rank_set_next(&set, 65), 1023);
    assert_int_equal(rank_set_next(&set, 1024), RANK_SET_END);
    rank_set_remove(&set, 64);
    assert_int_equal(rank_set_next(&set, 64), 1023);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_agrees_when_all_are_equal),
        cmocka_unit_test(gather_names_the_minority),
        cmocka_unit_test(gather_names_all_without_a_majority),
        cmocka_unit_test(gather_does_not_compare_what_was_not_given),
        cmocka_unit_test(gather_rejects_what_does_not_fit),
        cmocka_unit_test(rank_set_walks_over_gaps),
    };

    return cmocka_run_group_tests_name("core_gather", tests, NULL, NULL);
}
