/* Rectangles and bands against counting pair by pair; the sort; a plan's figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/sort.h"
#include "daemon/plan/explain.h"
#include "daemon/plan/geometry.h"
#include "tests/unit/test_plan_fixture.h"

/* The smallest rectangle around the pairs that are shown, and how many there are. */
static int64_t trim_slowly(const struct reach *reach, struct rect *rect)
{
    const struct rect all = *rect;
    int64_t area = 0;

    *rect = (struct rect){INT64_MAX, 0, INT64_MAX, 0};
    for (int64_t q = all.q_first; q < all.q_end; q++) {
        for (int64_t k = all.k_first; k < all.k_end; k++) {
            if (k - q >= -reach->before && k - q <= reach->after) {
                area++;
                rect->q_first = q < rect->q_first ? q : rect->q_first;
                rect->q_end = q + 1;
                rect->k_first = k < rect->k_first ? k : rect->k_first;
                rect->k_end = k + 1 > rect->k_end ? k + 1 : rect->k_end;
            }
        }
    }
    return area;
}

static void check_rect(const struct reach *reach, struct rect rect)
{
    struct rect slow = rect;
    const int64_t slow_area = trim_slowly(reach, &slow);
    int64_t low, high;

    if (!geometry_trim(reach, &rect)) {
        assert_int_equal(slow_area, 0);
        return;
    }
    assert_memory_equal(&rect, &slow, sizeof(rect));
    geometry_band(reach, &rect, &low, &high);
    assert_int_equal(geometry_area(&rect, low, high), slow_area);
    assert_int_equal(geometry_area(&rect, -reach->before, reach->after), slow_area);
    if (slow_area == (rect.q_end - rect.q_first) * (rect.k_end - rect.k_first)) {
        assert_true(low == SEQSYNC_BAND_NONE_LOW);
        assert_true(high == SEQSYNC_BAND_NONE_HIGH);
    }
}

static void rectangles_are_trimmed_and_counted_exactly(void **state)
{
    static const struct reach reaches[] = {
        {0, 0}, {0, 3},
        {3, 0}, {2, 2},
        {5, 1}, {SEQSYNC_TOKENS_MAX, 0},
        {0, 2}, {SEQSYNC_TOKENS_MAX, SEQSYNC_TOKENS_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++) {
        for (int64_t q_first = 0; q_first < 9; q_first++) {
            for (int64_t q_end = q_first + 1; q_end < 13; q_end += 2) {
                for (int64_t k_first = 0; k_first < 12; k_first++) {
                    for (int64_t k_end = k_first + 1; k_end < 14; k_end += 3) {
                        check_rect(&reaches[i], (struct rect){q_first, q_end, k_first, k_end});
                    }
                }
            }
        }
    }
}

static void check_sort(size_t n, int64_t keys, uint64_t *random)
{
    struct sort_item items[70], scratch[70];

    for (size_t i = 0; i < n; i++) {
        items[i] = (struct sort_item){
            .key = (int64_t)(fixture_random_u64(random) % (uint64_t)keys) - 3, .value = i};
    }
    sort_items(items, scratch, n);
    bool is_there[70] = {false};
    for (size_t i = 0; i < n; i++) {
        assert_false(is_there[items[i].value]);
        is_there[items[i].value] = true;
        if (i > 0) {
            assert_true(items[i - 1].key < items[i].key ||
                        (items[i - 1].key == items[i].key && items[i - 1].value < items[i].value));
        }
    }
}

static void sort_is_stable_for_every_length(void **state)
{
    uint64_t random = 3;

    (void)state;
    for (size_t n = 0; n <= 70; n++) {
        for (int64_t keys = 1; keys < 100; keys *= 9) {
            check_sort(n, keys, &random);
        }
    }
}

/* 42 tokens on four ranks of two nodes: 11, 11, 10 and 10, and everybody sees all. */
static void explain_counts_tokens_area_and_bytes(void **state)
{
    struct fixture *fixture = fixture_new(4, 2);
    struct explain_rank ranks[4];

    (void)state;
    fixture_add(fixture, 42);
    fixture_plan(fixture);
    explain_ranks(fixture->plan, SEQSYNC_SPACE_TOKENS, 100, ranks);
    assert_int_equal(ranks[0].tokens, 11);
    assert_int_equal(ranks[3].tokens, 10);
    assert_int_equal(ranks[0].area, 11 * 42);
    assert_int_equal(ranks[0].bytes_in, 3100);
    assert_int_equal(ranks[0].bytes_in_remote, 2000);
    assert_int_equal(ranks[0].bytes_out, 3300);
    assert_int_equal(ranks[0].bytes_sent, 1100);
    const struct explain_balance balance = explain_balance(ranks, 4);
    assert_true(balance.tokens == 11 * 4 / 42.0);
    assert_true(balance.area == 11 * 42 * 4 / (42 * 42.0));
    assert_true(balance.bytes_in == 3200 * 4 / 12600.0);
    assert_true(balance.bytes_out == 3300 * 4 / 12600.0);
    explain_ranks(fixture->plan, SEQSYNC_SPACE_CONTEXT, 100, ranks);
    assert_true(explain_balance(ranks, 4).area == 1);
    fixture_free(fixture);
}

static struct explain_balance balance_of(const struct fixture *fixture)
{
    struct explain_rank ranks[8];

    assert_int_equal(fixture->plan->rank_count, 8);
    explain_ranks(fixture->plan, SEQSYNC_SPACE_TOKENS, 1, ranks);
    return explain_balance(ranks, 8);
}

/* Causal work is even by zigzag, and would not be by contiguous runs. */
static void zigzag_balances_causal_work(void **state)
{
    struct fixture *fixture = fixture_new(8, 1);

    (void)state;
    fixture_add(fixture, 4099)->mask = SEQSYNC_MASK_CAUSAL;
    for (int i = 0; i < 200; i++) {
        fixture_add(fixture, 5 + i % 3)->mask = SEQSYNC_MASK_CAUSAL;
    }
    fixture_plan(fixture);
    assert_true(balance_of(fixture).area < 1.01);
    assert_true(balance_of(fixture).tokens < 1.002);
    fixture->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
    fixture_plan(fixture);
    assert_true(balance_of(fixture).area > 1.5);
    fixture_free(fixture);
}

/* A rank that gets early tokens of one short sequence gets late ones of another. */
static void zigzag_balances_many_short_sequences(void **state)
{
    (void)state;
    for (int64_t tokens = 1; tokens < 32; tokens++) {
        struct fixture *fixture = fixture_new(8, 1);
        for (int i = 0; i < 960; i++) {
            fixture_add(fixture, tokens)->mask = SEQSYNC_MASK_CAUSAL;
        }
        fixture_plan(fixture);
        assert_true(balance_of(fixture).tokens < 1.001);
        assert_true(balance_of(fixture).area < 1.01);
        fixture_free(fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rectangles_are_trimmed_and_counted_exactly),
        cmocka_unit_test(sort_is_stable_for_every_length),
        cmocka_unit_test(explain_counts_tokens_area_and_bytes),
        cmocka_unit_test(zigzag_balances_causal_work),
        cmocka_unit_test(zigzag_balances_many_short_sequences),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
