/* What needs no daemon: random numbers, digests, codes, versions. */
#include <seqsync/parameter.h>
#include <seqsync/plan.h>
#include <seqsync/session.h>
#include <seqsync/status.h>
#include <seqsync/version.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The first two words of each philox4x32 line with 10 rounds in the kat_vectors of Random123. */
static void random_numbers_are_the_known_answers_of_philox(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, stream, counter, answer;
    } known[] = {
        {0, 0, 0, UINT64_C(0xe169c58d6627e8d5)},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_C(0x41c83b0e408f276d)},
        {UINT64_C(0x299f31d0a4093822), UINT64_C(0x0370734413198a2e), UINT64_C(0x85a308d3243f6a88),
         UINT64_C(0x94fdccebd16cfe09)},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_int_equal(seqsync_random_u64(known[i].seed, known[i].stream, known[i].counter),
                         known[i].answer);
    }
}

/* S52: neither seed nor stream nor counter is folded into another. */
static void random_numbers_depend_on_every_bit_of_every_argument(void **state)
{
    (void)state;
    const uint64_t base = seqsync_random_u64(1, 2, 3);

    for (int bit = 0; bit < 64; bit++) {
        const uint64_t flip = UINT64_C(1) << bit;
        assert_int_not_equal(seqsync_random_u64(1 ^ flip, 2, 3), base);
        assert_int_not_equal(seqsync_random_u64(1, 2 ^ flip, 3), base);
        assert_int_not_equal(seqsync_random_u64(1, 2, 3 ^ flip), base);
    }
}

static void digest_is_of_the_bits_of_all_buckets_in_order(void **state)
{
    (void)state;
    const float a[] = {1, 2, 3}, b[] = {4, 5}, swapped[] = {2, 1, 3}, minus_zero[] = {4, -0.0f},
                zero[] = {4, 0.0f}, all[] = {1, 2, 3, 4, 5};
    const float *const ab[] = {a, b}, *const other[] = {swapped, b}, *const m[] = {a, minus_zero},
                       *const z[] = {a, zero}, *const one[] = {all};
    const struct seqsync_bucket_shape shapes[] = {{.elements = 3}, {.elements = 2}},
                                      whole[] = {{.elements = 5}};
    const uint64_t digest = seqsync_parameter_digest(ab, shapes, 2);

    assert_int_equal(seqsync_parameter_digest(ab, shapes, 2), digest);
    assert_int_equal(seqsync_parameter_digest(one, whole, 1), digest);
    assert_int_not_equal(seqsync_parameter_digest(other, shapes, 2), digest);
    assert_int_not_equal(seqsync_parameter_digest(m, shapes, 2),
                         seqsync_parameter_digest(z, shapes, 2));
    /* XXH3-64 of nothing, as its specification says. */
    assert_int_equal(seqsync_parameter_digest(NULL, NULL, 0), UINT64_C(0x2d06800538d394c2));
}

static void codes_and_version_have_words(void **state)
{
    (void)state;

    assert_string_equal(seqsync_status_name(SEQSYNC_ERR_WORKER_LOST), "WORKER_LOST");
    assert_string_equal(seqsync_strerror(SEQSYNC_ERR_TIMEOUT), "a deadline passed");
    assert_string_equal(seqsync_version(), SEQSYNC_VERSION_STRING);
    assert_null(seqsync_session_close(NULL));
    assert_null(seqsync_buffer_free(NULL));
    assert_non_null(seqsync_session_error(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_are_the_known_answers_of_philox),
        cmocka_unit_test(random_numbers_depend_on_every_bit_of_every_argument),
        cmocka_unit_test(digest_is_of_the_bits_of_all_buckets_in_order),
        cmocka_unit_test(codes_and_version_have_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
