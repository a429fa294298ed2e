#include "daemon/core/allreduce.h"

#include <math.h>
#include <seqsync/collective.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

_Static_assert(ALLREDUCE_BYTES_MAX == SEQSYNC_ALL_REDUCE_BYTES_MAX, "the public limit");

static uint64_t values[4 * ALLREDUCE_BYTES_MAX / 8];

static uint8_t *of_rank(uint32_t rank)
{
    return (uint8_t *)values + (size_t)rank * ALLREDUCE_BYTES_MAX;
}

static double reduce_f64(const double *given, uint32_t ranks, uint32_t op)
{
    double result;

    for (uint32_t rank = 0; rank < ranks; rank++) {
        memcpy(of_rank(rank), &given[rank], sizeof(double));
    }
    assert_int_equal(
        allreduce_compute((const uint8_t *)values, ranks, SEQSYNC_F64, op, 8, (uint8_t *)&result),
        0);
    return result;
}

static void sums_of_f64_follow_rank_order(void **state)
{
    const double given[] = {1e16, 1.0, -1e16, 1.0};

    (void)state;
    /* ((1e16 + 1) - 1e16) + 1: the first 1 is lost, the last is not. */
    assert_true(reduce_f64(given, 4, SEQSYNC_SUM) == 1.0);
}

/* S19: many small values must not be rounded on the way. */
static void sums_of_f32_are_rounded_once(void **state)
{
    const float given[] = {16777216.0F, 1.0F, 1.0F, 1.0F};
    float result;

    (void)state;
    for (uint32_t rank = 0; rank < 4; rank++) {
        memcpy(of_rank(rank), &given[rank], sizeof(float));
    }
    assert_int_equal(allreduce_compute((const uint8_t *)values, 4, SEQSYNC_F32, SEQSYNC_SUM, 4,
                                       (uint8_t *)&result),
                     0);
    assert_true(result == 16777220.0F); /* 16777219 to even; in f32 steps it would stay 16777216 */
}

static void min_and_max_keep_a_nan(void **state)
{
    const double plain[] = {3.0, -2.0, 5.0}, bad[] = {3.0, (double)NAN, 5.0};

    (void)state;
    assert_true(reduce_f64(plain, 3, SEQSYNC_MIN) == -2.0);
    assert_true(reduce_f64(plain, 3, SEQSYNC_MAX) == 5.0);
    assert_true(isnan(reduce_f64(bad, 3, SEQSYNC_MIN)));
    assert_true(isnan(reduce_f64(bad, 3, SEQSYNC_MAX)));
}

static int reduce_i64(int64_t a, int64_t b, uint32_t op, int64_t *ret)
{
    memcpy(of_rank(0), &a, sizeof(a));
    memcpy(of_rank(1), &b, sizeof(b));
    return allreduce_compute((const uint8_t *)values, 2, SEQSYNC_I64, op, 8, (uint8_t *)ret);
}

static void sums_of_i64_are_exact_or_refused(void **state)
{
    int64_t result;

    (void)state;
    assert_int_equal(reduce_i64(INT64_MAX, 1, SEQSYNC_SUM, &result), ALLREDUCE_OVERFLOW);
    assert_int_equal(reduce_i64(INT64_MIN, -1, SEQSYNC_SUM, &result), ALLREDUCE_OVERFLOW);
    assert_int_equal(reduce_i64(INT64_MAX, -1, SEQSYNC_SUM, &result), 0);
    assert_true(result == INT64_MAX - 1);
    assert_int_equal(reduce_i64(INT64_MIN, 7, SEQSYNC_MIN, &result), 0);
    assert_true(result == INT64_MIN);
    assert_int_equal(reduce_i64(INT64_MIN, 7, SEQSYNC_MAX, &result), 0);
    assert_int_equal(result, 7);
}

static void every_value_of_a_rank_is_reduced(void **state)
{
    static float result[ALLREDUCE_BYTES_MAX / 4];

    (void)state;
    for (uint32_t rank = 0; rank < 3; rank++) {
        for (uint32_t i = 0; i < ALLREDUCE_BYTES_MAX / 4; i++) {
            const float value = (float)(rank * 10 + i);
            memcpy(of_rank(rank) + 4 * i, &value, sizeof(value));
        }
    }
    assert_int_equal(allreduce_compute((const uint8_t *)values, 3, SEQSYNC_F32, SEQSYNC_SUM,
                                       ALLREDUCE_BYTES_MAX, (uint8_t *)result),
                     0);
    for (uint32_t i = 0; i < ALLREDUCE_BYTES_MAX / 4; i++) {
        assert_true(result[i] == (float)(30 + 3 * i));
    }
}

static void illegal_requests_are_known(void **state)
{
    static const struct {
        uint32_t dtype, op, bytes;
        bool legal;
    } table[] = {
        {SEQSYNC_F32, SEQSYNC_SUM, 4, true},
        {SEQSYNC_F64, SEQSYNC_SUM, 12, false},
        {SEQSYNC_F32, SEQSYNC_SUM, 6, false},
        {0, SEQSYNC_SUM, 4, false},
        {4, SEQSYNC_SUM, 8, false},
        {SEQSYNC_I64, 0, 8, false},
        {SEQSYNC_I64, 4, 8, false},
        {SEQSYNC_F32, SEQSYNC_MAX, 16384, true},
        {SEQSYNC_F32, SEQSYNC_MAX, 16388, false},
        {0, 0, 0, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(allreduce_is_legal(table[i].dtype, table[i].op, table[i].bytes),
                         table[i].legal);
    }
    assert_int_equal(allreduce_digest(1, 2, 0), allreduce_digest(0, 0, 0));
    assert_int_not_equal(allreduce_digest(1, 1, 8), allreduce_digest(1, 2, 8));
    assert_int_not_equal(allreduce_digest(1, 1, 8), allreduce_digest(1, 1, 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_f64_follow_rank_order),
        cmocka_unit_test(sums_of_f32_are_rounded_once),
        cmocka_unit_test(min_and_max_keep_a_nan),
        cmocka_unit_test(sums_of_i64_are_exact_or_refused),
        cmocka_unit_test(every_value_of_a_rank_is_reduced),
        cmocka_unit_test(illegal_requests_are_known),
    };

    return cmocka_run_group_tests_name("core_allreduce", tests, NULL, NULL);
}
