#include "daemon/core/liveness.h"
#include "daemon/core/parameter.h"
#include "daemon/core/step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Node 1 of three; silent for 100 is lost, a ping every 30. */
static int setup(void **state)
{
    static struct liveness liveness;

    liveness_init(&liveness, 1, 3, 100, 30);
    *state = &liveness;
    return 0;
}

static void liveness_watches_only_who_is_up(void **state)
{
    struct liveness *liveness = *state;

    assert_true(liveness_is_up(liveness, 1));
    assert_false(liveness_is_up(liveness, 0));
    assert_true(liveness_deadline_ns(liveness) == UINT64_MAX);
    assert_int_equal(liveness_expire(liveness, 1000), LIVENESS_NONE);
    liveness_up(liveness, 0, 1000);
    assert_int_equal(liveness_deadline_ns(liveness), 1030);
    assert_false(liveness_heard(liveness, 2, 1000)); /* not a word of its own before its Hello */
    assert_false(liveness_is_up(liveness, 2));
}

static void liveness_pings_each_peer_in_time(void **state)
{
    struct liveness *liveness = *state;

    liveness_up(liveness, 0, 0);
    liveness_up(liveness, 2, 10);
    assert_int_equal(liveness_ping(liveness, 29), LIVENESS_NONE);
    assert_int_equal(liveness_ping(liveness, 40), 0);
    assert_int_equal(liveness_ping(liveness, 40), 2);
    assert_int_equal(liveness_ping(liveness, 40), LIVENESS_NONE);
    assert_int_equal(liveness_deadline_ns(liveness), 70);
}

static void silence_is_a_loss_until_the_peer_is_heard(void **state)
{
    struct liveness *liveness = *state;

    liveness_up(liveness, 0, 0);
    assert_false(liveness_heard(liveness, 0, 60));
    assert_int_equal(liveness_expire(liveness, 159), LIVENESS_NONE);
    assert_int_equal(liveness_expire(liveness, 160), 0);
    assert_int_equal(liveness_expire(liveness, 160), LIVENESS_NONE);
    assert_false(liveness_is_up(liveness, 0));
    assert_true(liveness_heard(liveness, 0, 500));
    assert_true(liveness_is_up(liveness, 0));
}

static void a_lost_connection_needs_a_new_one(void **state)
{
    struct liveness *liveness = *state;

    liveness_up(liveness, 0, 0);
    assert_true(liveness_lost(liveness, 0, "reset"));
    assert_false(liveness_lost(liveness, 0, "reset again"));
    assert_string_equal(liveness->peers[0].reason, "reset again");
    assert_false(liveness_heard(liveness, 0, 50));
    assert_false(liveness_is_up(liveness, 0));
    assert_true(liveness->peers[0].known);
}

static void parameter_rounds_follow_each_other(void **state)
{
    struct parameter parameter = {0};

    (void)state;
    assert_int_equal(parameter_publish(&parameter, 2, 0), PARAMETER_FUTURE);
    assert_int_equal(parameter_publish(&parameter, 1, 5), 0);
    assert_int_equal(parameter_publish(&parameter, 1, 6), PARAMETER_BUSY);
    assert_int_equal(parameter_receive(&parameter, 1), PARAMETER_BUSY);
    assert_false(parameter_copied(&parameter, 1, 6));
    assert_true(parameter_copied(&parameter, 1, 5));
    assert_false(parameter_copied(&parameter, 1, 5));
    assert_int_equal(parameter_receive(&parameter, 1), PARAMETER_STALE);
    assert_int_equal(parameter_receive(&parameter, 2), 0);
    assert_int_equal(parameter_publish(&parameter, 0, 0), PARAMETER_STALE);
    assert_int_equal(parameter_publish(&parameter, 3, 0), 0);
}

static void a_step_goes_through_its_states_in_order(void **state)
{
    (void)state;
    for (int from = 0; from < STEP_STATES_N; from++) {
        for (int to = 0; to < STEP_STATES_N; to++) {
            assert_int_equal(step_may_move((enum step_state)from, (enum step_state)to),
                             to == (from + 1) % STEP_STATES_N);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(liveness_watches_only_who_is_up, setup),
        cmocka_unit_test_setup(liveness_pings_each_peer_in_time, setup),
        cmocka_unit_test_setup(silence_is_a_loss_until_the_peer_is_heard, setup),
        cmocka_unit_test_setup(a_lost_connection_needs_a_new_one, setup),
        cmocka_unit_test(parameter_rounds_follow_each_other),
        cmocka_unit_test(a_step_goes_through_its_states_in_order),
    };

    return cmocka_run_group_tests_name("core_liveness", tests, NULL, NULL);
}
