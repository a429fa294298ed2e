#include "daemon/core/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void quota_charges_up_to_the_limit(void **state)
{
    struct quota quota;
    (void)state;

    quota_init(&quota, 100, 100);
    assert_int_equal(quota_charge(&quota, 1000, 60), 0);
    assert_int_equal(quota_charge(&quota, 1000, 41), QUOTA_FULL);
    assert_int_equal(quota.used_bytes, 60);
    assert_int_equal(quota_charge(&quota, 1000, 40), 0);
    quota_release(&quota, 1000, 100);
    quota_deinit(&quota);
}

static void quota_limits_each_user(void **state)
{
    struct quota quota;
    (void)state;

    quota_init(&quota, 200, 50);
    assert_int_equal(quota_charge(&quota, 1000, 50), 0);
    assert_int_equal(quota_charge(&quota, 1000, 1), QUOTA_USER_FULL);
    assert_int_equal(quota_charge(&quota, 1001, 51), QUOTA_USER_FULL);
    assert_int_equal(quota_charge(&quota, 1001, 50), 0);
    quota_release(&quota, 1000, 50);
    quota_release(&quota, 1001, 50);
    quota_deinit(&quota);
}

static void quota_bounds_the_number_of_users(void **state)
{
    struct quota quota;
    (void)state;

    quota_init(&quota, 1000, 1000);
    for (uint32_t uid = 0; uid < QUOTA_USERS_MAX; uid++) {
        assert_int_equal(quota_charge(&quota, uid, 1), 0);
    }
    assert_int_equal(quota_charge(&quota, QUOTA_USERS_MAX, 1), QUOTA_MANY_USERS);
    quota_release(&quota, 5, 1);
    assert_int_equal(quota_charge(&quota, QUOTA_USERS_MAX, 1), 0);
}

static void quota_does_not_overflow(void **state)
{
    struct quota quota;
    (void)state;

    quota_init(&quota, UINT64_MAX, UINT64_MAX);
    assert_int_equal(quota_charge(&quota, 1, UINT64_MAX - 1), 0);
    assert_int_equal(quota_charge(&quota, 1, 2), QUOTA_FULL);
    assert_int_equal(quota_charge(&quota, 2, UINT64_MAX), QUOTA_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quota_charges_up_to_the_limit),
        cmocka_unit_test(quota_limits_each_user),
        cmocka_unit_test(quota_bounds_the_number_of_users),
        cmocka_unit_test(quota_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
