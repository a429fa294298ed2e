#include <seqsync/status.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void names_are_those_of_the_header(void **state)
{
    (void)state;
    /* Spelt by the preprocessor, so that a row that moved is found. */
    static const struct {
        int code;
        const char *name;
    } names[] = {
#define ROW(name) {SEQSYNC_ERR_##name, #name}
        {SEQSYNC_OK, "OK"},   ROW(INVALID),        ROW(NO_MEMORY),     ROW(NO_CAPACITY),
        ROW(TIMEOUT),         ROW(UNREACHABLE),    ROW(PROTOCOL),      ROW(VERSION),
        ROW(NOT_PERMITTED),   ROW(WORKER_LOST),    ROW(PEER_LOST),     ROW(DAEMON_LOST),
        ROW(SCHEMA_MISMATCH), ROW(BATCH_MISMATCH), ROW(PLAN_MISMATCH), ROW(PARAMETER_MISMATCH),
        ROW(COVERAGE),        ROW(ATTESTATION),    ROW(DUPLICATE),     ROW(STALE),
        ROW(NONFINITE),       ROW(LAYOUT),         ROW(CHECKSUM),      ROW(JOB_FAILED),
        ROW(SHUTDOWN),        ROW(CONFIG),         ROW(INTERNAL),
#undef ROW
    };
    const int count = (int)(sizeof(names) / sizeof(names[0]));

    assert_int_equal(count, 1 - SEQSYNC_STATUS_LAST);
    for (int i = 0; i < count; i++) {
        assert_int_equal(names[i].code, -i);
        assert_string_equal(seqsync_status_name(-i), names[i].name);
        assert_true(strlen(seqsync_strerror(-i)) > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(seqsync_strerror(-i), seqsync_strerror(-j));
        }
    }
}

static void any_number_has_a_text(void **state)
{
    (void)state;
    static const int strange[] = {1, INT_MAX, INT_MIN, SEQSYNC_STATUS_LAST - 1};

    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        assert_string_equal(seqsync_status_name(strange[i]), "UNKNOWN");
        assert_non_null(seqsync_strerror(strange[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_header),
        cmocka_unit_test(any_number_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
