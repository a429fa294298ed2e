#include "daemon/core/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Two local ranks on node 1 of three; rank 0 is here. */
static const struct bucket_members here = {
    .ranks = 3, .peers = 5, .root = 2, .self = 2, .root_rank = 0};
/* Likewise, but rank 0 is on node 0. */
static const struct bucket_members elsewhere = {.ranks = 3, .peers = 5, .root = 1, .self = 2};
static const struct bucket_members alone = {.ranks = 3, .peers = 0, .root = 1, .self = 1};

static int setup(void **state)
{
    static struct bucket bucket;

    bucket_init(&bucket, false);
    *state = &bucket;
    return 0;
}

static int setup_replicated(void **state)
{
    setup(state);
    bucket_init(*state, true);
    return 0;
}

static void bucket_moves_only_along_its_table(void **state)
{
    static const uint8_t legal[][2] = {
        {BUCKET_IDLE, BUCKET_IDLE},       {BUCKET_IDLE, BUCKET_FILLING},
        {BUCKET_FILLING, BUCKET_SUMMING}, {BUCKET_FILLING, BUCKET_SUMMED},
        {BUCKET_SUMMING, BUCKET_SUMMED},  {BUCKET_SUMMED, BUCKET_PARTIAL},
        {BUCKET_SUMMED, BUCKET_READY},    {BUCKET_PARTIAL, BUCKET_OWNING},
        {BUCKET_OWNING, BUCKET_OWNED},    {BUCKET_OWNED, BUCKET_SHARED},
        {BUCKET_SHARED, BUCKET_READY},    {BUCKET_READY, BUCKET_IDLE}};
    bool may[BUCKET_STATES_N][BUCKET_STATES_N];

    (void)state;
    memset(may, 0, sizeof(may));
    for (size_t i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
        may[legal[i][0]][legal[i][1]] = true;
    }
    for (int from = 0; from < BUCKET_STATES_N; from++) {
        for (int to = 0; to < BUCKET_STATES_N; to++) {
            assert_int_equal(bucket_may_move((enum bucket_state)from, (enum bucket_state)to),
                             may[from][to]);
        }
    }
}

static void bucket_alone_sums_and_is_ready(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_contribute(bucket, &alone, 1, 5), 0);
    assert_int_equal(bucket_next(bucket, &alone), BUCKET_WAIT);
    assert_int_equal(bucket_contribute(bucket, &alone, 0, 7), 0);
    assert_int_equal(bucket_next(bucket, &alone), BUCKET_SUM_LOCAL);
    assert_int_equal(bucket_next(bucket, &alone), BUCKET_WAIT);
    assert_int_equal(bucket_summed_local(bucket, true), 0);
    assert_int_equal(bucket_next(bucket, &alone), BUCKET_RAISE);
    assert_int_equal(bucket->count, 12);
    assert_true(bucket->nonfinite);
    bucket_reset(bucket);
    assert_int_equal(bucket->state, BUCKET_IDLE);
}

static void contribute_all(struct bucket *bucket, const struct bucket_members *members)
{
    assert_int_equal(bucket_contribute(bucket, members, 0, 10), 0);
    assert_int_equal(bucket_contribute(bucket, members, 1, 20), 0);
}

static void bucket_on_several_nodes_shares_slices(void **state)
{
    struct bucket *bucket = *state;

    contribute_all(bucket, &here);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_LOCAL);
    assert_int_equal(bucket_summed_local(bucket, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SEND_PARTIALS);
    assert_int_equal(bucket->local_count, 30);
    assert_int_equal(bucket_receive_partial(bucket, &here, 2, 3, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_WAIT);
    assert_int_equal(bucket_receive_partial(bucket, &here, 0, 4, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_OWNED);
    assert_int_equal(bucket->count, 37);
    assert_int_equal(bucket_summed_owned(bucket, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SEND_RESULTS);
    assert_int_equal(bucket_receive_result(bucket, &here, 0, 37, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_WAIT);
    assert_int_equal(bucket_receive_result(bucket, &here, 2, 37, true), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_RAISE);
    assert_true(bucket->nonfinite);
}

/* Peers may be ahead in any way. */
static void bucket_takes_early_partials(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_receive_partial(bucket, &here, 0, 4, false), 0);
    assert_int_equal(bucket_receive_partial(bucket, &here, 2, 3, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_WAIT);
    contribute_all(bucket, &here);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_LOCAL);
    assert_int_equal(bucket_summed_local(bucket, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SEND_PARTIALS);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_OWNED);
    assert_int_equal(bucket->count, 37);
}

/* S20: what every rank holds in whole is counted once, as rank 0 has it. */
static void replicated_bucket_counts_rank_0_only(void **state)
{
    struct bucket *bucket = *state;

    contribute_all(bucket, &here);
    assert_int_equal(bucket->local_count, 10);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_LOCAL);
    assert_int_equal(bucket_summed_local(bucket, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SEND_PARTIALS);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_OWNED); /* nobody else sends one */
    assert_int_equal(bucket->count, 10);
    assert_int_equal(bucket_receive_partial(bucket, &here, 2, 1, false), BUCKET_UNEXPECTED);
}

static void replicated_bucket_without_rank_0_waits_for_it(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_receive_result(bucket, &elsewhere, 2, 9, false), 0); /* very early */
    contribute_all(bucket, &elsewhere);
    assert_int_equal(bucket_next(bucket, &elsewhere), BUCKET_WAIT);
    assert_int_equal(bucket->state, BUCKET_PARTIAL);
    assert_int_equal(bucket_receive_partial(bucket, &elsewhere, 0, 9, false), 0);
    assert_int_equal(bucket_next(bucket, &elsewhere), BUCKET_SUM_OWNED);
    assert_int_equal(bucket->count, 9);
    assert_int_equal(bucket_summed_owned(bucket, false), 0);
    assert_int_equal(bucket_next(bucket, &elsewhere), BUCKET_SEND_RESULTS);
    assert_int_equal(bucket_receive_result(bucket, &elsewhere, 0, 9, false), 0);
    assert_int_equal(bucket_next(bucket, &elsewhere), BUCKET_RAISE);
}

static void bucket_rejects_second_contribution_from_same_rank(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_contribute(bucket, &here, 0, 1), 0);
    assert_int_equal(bucket_contribute(bucket, &here, 0, 1), BUCKET_DUPLICATE);
    assert_int_equal(bucket->local_count, 1);
    assert_int_equal(bucket_receive_partial(bucket, &here, 0, 1, false), 0);
    assert_int_equal(bucket_receive_partial(bucket, &here, 0, 1, false), BUCKET_DUPLICATE);
    assert_int_equal(bucket_receive_result(bucket, &here, 0, 1, false), 0);
    assert_int_equal(bucket_receive_result(bucket, &here, 0, 1, false), BUCKET_DUPLICATE);
    assert_int_equal(bucket->count, 2);
}

static void bucket_rejects_bad_counts(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_contribute(bucket, &here, 0, -1), BUCKET_NEGATIVE);
    assert_int_equal(bucket->state, BUCKET_IDLE);
    assert_int_equal(bucket_contribute(bucket, &here, 0, INT64_MAX), 0);
    assert_int_equal(bucket_contribute(bucket, &here, 1, 1), BUCKET_OVERFLOW);
    assert_int_equal(bucket_receive_partial(bucket, &here, 0, 1, false), BUCKET_OVERFLOW);
    assert_int_equal(bucket_receive_partial(bucket, &here, 0, -1, false), BUCKET_NEGATIVE);
    assert_int_equal(bucket_receive_result(bucket, &here, 0, -1, false), BUCKET_NEGATIVE);
    assert_int_equal(bucket->count, INT64_MAX);
    assert_int_equal(bucket->contributed, 1);
}

static void bucket_rejects_strangers_and_unasked_sums(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_receive_partial(bucket, &here, 1, 1, false), BUCKET_UNEXPECTED);
    assert_int_equal(bucket_receive_result(bucket, &here, 3, 1, false), BUCKET_UNEXPECTED);
    assert_int_equal(bucket_summed_local(bucket, false), BUCKET_UNEXPECTED);
    assert_int_equal(bucket_summed_owned(bucket, false), BUCKET_UNEXPECTED);
    assert_int_equal(bucket->state, BUCKET_IDLE);
}

static void bucket_notices_owners_with_different_counts(void **state)
{
    struct bucket *bucket = *state;

    assert_int_equal(bucket_receive_result(bucket, &here, 0, 5, false), 0);
    assert_int_equal(bucket_receive_result(bucket, &here, 2, 6, false), BUCKET_COUNTS_DIFFER);
    contribute_all(bucket, &here);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_LOCAL);
    assert_int_equal(bucket_summed_local(bucket, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SEND_PARTIALS);
    assert_int_equal(bucket_receive_partial(bucket, &here, 0, 0, false), 0);
    assert_int_equal(bucket_receive_partial(bucket, &here, 2, 0, false), 0);
    assert_int_equal(bucket_next(bucket, &here), BUCKET_SUM_OWNED);
    assert_int_equal(bucket_summed_owned(bucket, false), BUCKET_COUNTS_DIFFER); /* 30, not 5 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_moves_only_along_its_table),
        cmocka_unit_test_setup(bucket_alone_sums_and_is_ready, setup),
        cmocka_unit_test_setup(bucket_on_several_nodes_shares_slices, setup),
        cmocka_unit_test_setup(bucket_takes_early_partials, setup),
        cmocka_unit_test_setup(replicated_bucket_counts_rank_0_only, setup_replicated),
        cmocka_unit_test_setup(replicated_bucket_without_rank_0_waits_for_it, setup_replicated),
        cmocka_unit_test_setup(bucket_rejects_second_contribution_from_same_rank, setup),
        cmocka_unit_test_setup(bucket_rejects_bad_counts, setup),
        cmocka_unit_test_setup(bucket_rejects_strangers_and_unasked_sums, setup),
        cmocka_unit_test_setup(bucket_notices_owners_with_different_counts, setup),
    };

    return cmocka_run_group_tests_name("core_bucket", tests, NULL, NULL);
}
