#include "daemon/core/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * Ranks 0 and 1 are here (node 0), rank 2 is on node 1, rank 3 on node 2. Rank 1 needs 0 and 2;
 * ranks 2 and 3 need 0.
 */
struct fixture {
    struct exchange exchange;
    struct exchange_plan plan;
    uint64_t received[1];
    struct return_sum sums[4];
    struct return_need needs[4];
};

static const uint32_t rank_1[] = {1};
static const uint32_t nodes_1_2[] = {1, 2};
static const struct step_return returns[] = {
    {.holder = 0, .rank_count = 1, .node_count = 2, .ranks = rank_1, .nodes = nodes_1_2},
    {.holder = 1},
    {.holder = 2, .rank_count = 1, .ranks = rank_1},
};
static const struct step_send sends[] = {{0, 1}, {0, 2}, {1, 2}};

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){.plan = {.sends = sends, .send_count = 3, .receive_count = 1}};
    rank_set_add(&f.plan.receives, 2);
    f.needs[0] = (struct return_need){.ranks = 3, .nodes = 6}; /* itself and rank 1 */
    f.needs[1] = (struct return_need){.ranks = 2};
    f.needs[2] = (struct return_need){.ranks = 2};
    f.plan.returns = (struct return_plan){.returns = returns, .needs = f.needs, .count = 3};
    f.exchange = (struct exchange){.received = f.received, .words = 1, .returns = {.sums = f.sums}};
    *state = &f;
    return 0;
}

static void exchange_is_done_when_all_published_and_all_rows_are_here(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(exchange_publish(&f->exchange, 1), 0);
    assert_int_equal(exchange_receive(&f->exchange, &f->plan, 2), 0);
    assert_false(exchange_settle_kv(&f->exchange, &f->plan, 3));
    assert_int_equal(exchange_publish(&f->exchange, 0), 0);
    assert_true(exchange_settle_kv(&f->exchange, &f->plan, 3));
    assert_false(exchange_settle_kv(&f->exchange, &f->plan, 3)); /* once */
    exchange_reset(&f->exchange);
    assert_int_equal(exchange_receive(&f->exchange, &f->plan, 2), 0);
}

static void exchange_rejects_duplicates_and_strangers(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(exchange_publish(&f->exchange, 1), 0);
    assert_int_equal(exchange_publish(&f->exchange, 1), EXCHANGE_DUPLICATE);
    assert_int_equal(exchange_receive(&f->exchange, &f->plan, 3), EXCHANGE_UNEXPECTED);
    assert_int_equal(exchange_receive(&f->exchange, &f->plan, 2), 0);
    assert_int_equal(exchange_receive(&f->exchange, &f->plan, 2), EXCHANGE_DUPLICATE);
    assert_int_equal(exchange_return(&f->exchange, &f->plan, 0), 0);
    assert_int_equal(exchange_return(&f->exchange, &f->plan, 0), EXCHANGE_DUPLICATE);
}

static void exchange_knows_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct rank_set missing;

    exchange_missing(&f->exchange, &f->plan, &missing);
    assert_int_equal(missing.words[0], 4);
    assert_int_equal(exchange_receive(&f->exchange, &f->plan, 2), 0);
    exchange_missing(&f->exchange, &f->plan, &missing);
    assert_int_equal(rank_set_count(&missing), 0);
}

static void exchange_finds_its_sends(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(exchange_first_send(&f->plan, 0), 0);
    assert_int_equal(exchange_first_send(&f->plan, 1), 2);
    assert_int_equal(exchange_first_send(&f->plan, 2), 3);
}

static int32_t next(struct fixture *f)
{
    return returns_next(&f->exchange.returns, &f->plan.returns, 0, f->exchange.returned);
}

static void returns_run_when_everything_is_there(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(exchange_return(&f->exchange, &f->plan, 1), 0);
    assert_int_equal(next(f), 1); /* nobody returns anything for rank 1 but itself */
    assert_int_equal(next(f), 2);
    assert_int_equal(next(f), -1);
    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 0, 1), 0);
    assert_int_equal(exchange_return(&f->exchange, &f->plan, 0), 0);
    assert_int_equal(next(f), -1);
    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 0, 2), 0);
    assert_int_equal(next(f), 0);
    for (uint32_t holder = 0; holder < 3; holder++) {
        assert_false(exchange_settle_returns(&f->exchange, 3));
        assert_int_equal(returns_summed(&f->exchange.returns, &f->plan.returns, holder), 0);
    }
    assert_true(exchange_settle_returns(&f->exchange, 3));
    assert_false(exchange_settle_returns(&f->exchange, 3));
}

static void returns_may_come_before_anybody_here_has_any(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 0, 2), 0);
    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 0, 1), 0);
    assert_int_equal(exchange_return(&f->exchange, &f->plan, 1), 0);
    assert_int_equal(exchange_return(&f->exchange, &f->plan, 0), 0);
    assert_int_equal(next(f), 0);
}

static void returns_reject_what_nobody_returns(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 1, 1), EXCHANGE_UNEXPECTED);
    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 3, 1), EXCHANGE_UNEXPECTED);
    assert_int_equal(f->exchange.returning, USE_NONE);
    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 0, 1), 0);
    assert_int_equal(exchange_receive_return(&f->exchange, &f->plan, 0, 1), EXCHANGE_DUPLICATE);
    assert_int_equal(returns_summed(&f->exchange.returns, &f->plan.returns, 0), RETURNS_UNEXPECTED);
    assert_int_equal(returns_summed(&f->exchange.returns, &f->plan.returns, 9), RETURNS_UNEXPECTED);
    assert_int_equal(returns_find(&f->plan.returns, 2), 2);
    assert_int_equal(returns_find(&f->plan.returns, 3), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(exchange_is_done_when_all_published_and_all_rows_are_here, setup),
        cmocka_unit_test_setup(exchange_rejects_duplicates_and_strangers, setup),
        cmocka_unit_test_setup(exchange_knows_what_is_missing, setup),
        cmocka_unit_test_setup(exchange_finds_its_sends, setup),
        cmocka_unit_test_setup(returns_run_when_everything_is_there, setup),
        cmocka_unit_test_setup(returns_may_come_before_anybody_here_has_any, setup),
        cmocka_unit_test_setup(returns_reject_what_nobody_returns, setup),
    };

    return cmocka_run_group_tests_name("core_exchange", tests, NULL, NULL);
}
