#include "daemon/math/reduce.h"
#include "daemon/math/reduce_kernel.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOURCES_MAX 64
#define ELEMENTS_MAX 10240 /* more than two blocks of the reduction */
#define SHIFT_MAX 16       /* elements that an array is moved off its alignment */

struct fixture {
    float *memory[SOURCES_MAX + 1];
    const float *sources[SOURCES_MAX];
    float *to;
    float *expected;
    uint64_t seed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    for (uint32_t s = 0; s <= SOURCES_MAX; s++) {
        f->memory[s] = aligned_alloc(64, (ELEMENTS_MAX + 2 * SHIFT_MAX) * sizeof(float));
    }
    f->expected = malloc(ELEMENTS_MAX * sizeof(float));
    f->seed = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (uint32_t s = 0; s <= SOURCES_MAX; s++) {
        free(f->memory[s]);
    }
    free(f->expected);
    free(f);
    return 0;
}

static uint64_t next(struct fixture *f)
{
    f->seed += 0x9E3779B97F4A7C15u;
    uint64_t z = f->seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Any finite number, subnormal ones too; magnitudes lie close enough to each other to interact. */
static float number(struct fixture *f)
{
    const uint64_t r = next(f);
    const float unit = (float)(r >> 40) / (float)(1 << 24) * 2 - 1;

    return ldexpf(unit, r % 16 == 0 ? -140 : (int)(r % 40) - 20);
}

/* @count sources of @n elements, each moved by another amount, and the result's place. */
static void fill(struct fixture *f, uint32_t count, size_t n)
{
    for (uint32_t s = 0; s < count; s++) {
        float *source = f->memory[s] + next(f) % SHIFT_MAX;
        for (size_t i = 0; i < n; i++) {
            source[i] = number(f);
        }
        f->sources[s] = source;
    }
    f->to = f->memory[SOURCES_MAX] + SHIFT_MAX + next(f) % SHIFT_MAX;
    memset(f->memory[SOURCES_MAX], 0xAB, (ELEMENTS_MAX + 2 * SHIFT_MAX) * sizeof(float));
}

/* As the header says it, element by element. */
static void reference(struct fixture *f, uint32_t count, size_t n, int64_t divisor)
{
    for (size_t i = 0; i < n; i++) {
        volatile double sum = 0;
        for (uint32_t s = 0; s < count; s++) {
            sum = s == 0 ? (double)f->sources[0][i] : sum + (double)f->sources[s][i];
        }
        sum = divisor == 0 ? 0 : sum / (double)divisor;
        f->expected[i] = (float)sum;
    }
}

static void expect_bits(const struct fixture *f, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&f->to[i], &f->expected[i], sizeof(float)) != 0) {
            fail_msg("%s: element %zu of %zu is %a and not %a", what, i, n, (double)f->to[i],
                     (double)f->expected[i]);
        }
    }
    /* Nothing beside it was written. */
    assert_int_equal(((const uint8_t *)&f->to[n])[0], 0xAB);
    assert_int_equal(((const uint8_t *)&f->to[n])[3], 0xAB);
    assert_int_equal(((const uint8_t *)&f->to[-1])[3], 0xAB);
}

static const int64_t divisors[] = {1, 2, 3, 7, 1000003, INT64_C(1) << 40, INT64_MAX};
static const uint32_t counts[] = {1, 2, 3, 4, 5, 8, 13, 64};

static size_t size_of(size_t i)
{
    static const size_t large[] = {255, 256, 1000, 4095, 4096, 4097, 8192, 10007};

    return i < 70 ? i : large[i - 70];
}
#define SIZES_N 78

static void every_kernel_gives_the_reference_bits(void **state)
{
    struct fixture *f = *state;
    size_t kernel_count;
    const struct reduce_kernel *kernels = reduce_kernel_list(&kernel_count);

    for (size_t i = 1; i < SIZES_N; i++) {
        const size_t n = size_of(i);
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            const int64_t divisor = divisors[(i + c) % (sizeof(divisors) / sizeof(divisors[0]))];
            fill(f, counts[c], n);
            reference(f, counts[c], n, divisor);
            for (size_t k = 0; k < kernel_count; k++) {
                if (kernels[k].runs_here()) {
                    memset(f->to, 0, n * sizeof(float));
                    assert_true(
                        kernels[k].sum(f->to, f->sources, counts[c], 0, n, (double)divisor));
                    expect_bits(f, n, kernels[k].name);
                }
            }
        }
    }
}

static void the_reduction_gives_the_reference_bits(void **state)
{
    struct fixture *f = *state;
    int32_t culprit = -7;

    for (size_t i = 0; i < SIZES_N; i++) {
        const size_t n = size_of(i);
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            const int64_t divisor = divisors[(i + c) % (sizeof(divisors) / sizeof(divisors[0]))];
            fill(f, counts[c], n);
            reference(f, counts[c], n, divisor);
            assert_false(reduce_sum_f32(f->to, f->sources, counts[c], n, divisor, &culprit));
            expect_bits(f, n, reduce_kernels());
        }
    }
    assert_int_equal(culprit, -7);
}

/* nccl#1497: bits must not depend on how an array is cut. */
static void bits_do_not_depend_on_the_cut(void **state)
{
    struct fixture *f = *state;
    const size_t n = 10007;
    const float *pieces[5];
    int32_t culprit;

    fill(f, 5, n);
    reference(f, 5, n, 3);
    for (int round = 0; round < 20; round++) {
        memset(f->to, 0, n * sizeof(float));
        for (size_t first = 0, length; first < n; first += length) {
            length = 1 + next(f) % (round < 10 ? 40 : 5000);
            length = length < n - first ? length : n - first;
            for (uint32_t s = 0; s < 5; s++) {
                pieces[s] = f->sources[s] + first;
            }
            assert_false(reduce_sum_f32(f->to + first, pieces, 5, length, 3, &culprit));
        }
        expect_bits(f, n, "in pieces");
    }
}

/* With two sources the f64 sum, rounded, is the f32 sum: 53 bits are more than 2 x 24 + 2. */
static void two_sources_add_as_f32_do(void **state)
{
    struct fixture *f = *state;
    int32_t culprit;

    for (int round = 0; round < 50; round++) {
        fill(f, 2, 4096);
        for (size_t i = 0; i < 4096; i++) {
            f->expected[i] = f->sources[0][i] + f->sources[1][i];
        }
        assert_false(reduce_sum_f32(f->to, f->sources, 2, 4096, 1, &culprit));
        expect_bits(f, 4096, "two sources");
    }
}

/* DeepSpeed PR#4530: small shares must not drown in large ones that cancel. */
static void small_shares_survive_large_ones(void **state)
{
    (void)state;
    const float large = 1e8f, small = 1, minus = -1e8f;
    const float *sources[] = {&large, &small, &minus};
    float sum;
    int32_t culprit;

    assert_false(reduce_sum_f32(&sum, sources, 3, 1, 1, &culprit));
    assert_true(sum == 1.0f);
}

/* Integers that f32 holds are summed and divided exactly. */
static void integers_are_exact(void **state)
{
    struct fixture *f = *state;
    int32_t culprit;

    fill(f, 64, 1000);
    for (uint32_t s = 0; s < 64; s++) {
        float *source = (float *)(uintptr_t)f->sources[s];
        for (size_t i = 0; i < 1000; i++) {
            source[i] = (float)(64 * (i + s));
        }
    }
    assert_false(reduce_sum_f32(f->to, f->sources, 64, 1000, 64, &culprit));
    for (size_t i = 0; i < 1000; i++) {
        assert_true(f->to[i] == (float)(64 * i + 63 * 64 / 2));
    }
}

static void nothing_counted_is_zero(void **state)
{
    struct fixture *f = *state;
    int32_t culprit = -7;

    fill(f, 3, 100);
    memset(f->expected, 0, 100 * sizeof(float));
    ((float *)(uintptr_t)f->sources[1])[50] = NAN; /* of a rank that has no valid token */
    assert_false(reduce_sum_f32(f->to, f->sources, 3, 100, 0, &culprit));
    expect_bits(f, 100, "divisor 0");
    memset(f->to, 1, 100 * sizeof(float));
    assert_false(reduce_sum_f32(f->to, f->sources, 0, 100, 5, &culprit));
    expect_bits(f, 100, "no sources");
    assert_int_equal(culprit, -7);
}

/* OpenBLAS#4728 and invariant 10: wherever it stands, it is found, named, and still in the result.
 */
static void what_is_not_finite_is_found_anywhere(void **state)
{
    struct fixture *f = *state;
    static const float strange[] = {NAN, INFINITY, -INFINITY};
    static const size_t sizes[] = {1, 7, 16, 33, 100, 4096 + 5, 10007};
    static const uint32_t some[] = {1, 2, 3, 9};
    size_t kernel_count;
    const struct reduce_kernel *kernels = reduce_kernel_list(&kernel_count);

    for (size_t z = 0; z < sizeof(sizes) / sizeof(sizes[0]); z++) {
        const size_t n = sizes[z];
        for (size_t c = 0; c < sizeof(some) / sizeof(some[0]); c++) {
            fill(f, some[c], n);
            const size_t step = n < 200 ? 1 : 331;
            for (size_t at = 0; at < n; at += step) {
                const uint32_t s = (uint32_t)(next(f) % some[c]);
                float *place = (float *)(uintptr_t)&f->sources[s][at];
                const float good = *place;
                int32_t culprit = -7;
                *place = strange[at % 3];
                assert_true(
                    reduce_sum_f32(f->to, f->sources, some[c], n, 1 + (int64_t)at % 2, &culprit));
                assert_int_equal(culprit, s);
                assert_false(fabsf(f->to[at]) <= FLT_MAX);
                for (size_t k = 0; k < kernel_count; k++) {
                    assert_false(kernels[k].runs_here() &&
                                 kernels[k].sum(f->to, f->sources, some[c], 0, n, 3));
                }
                *place = good;
            }
            int32_t culprit = -7;
            assert_false(reduce_sum_f32(f->to, f->sources, some[c], n, 1, &culprit));
            assert_int_equal(culprit, -7);
        }
    }
}

static void infinities_that_cancel_are_found(void **state)
{
    (void)state;
    const float plus = INFINITY, zero = 0, minus = -INFINITY;
    const float *sources[] = {&zero, &minus, &plus};
    float sum;
    int32_t culprit = -7;

    assert_true(reduce_sum_f32(&sum, sources, 3, 1, 1, &culprit));
    assert_true(isnan(sum));
    assert_int_equal(culprit, 1);
}

static void an_overflow_is_nobodys_fault(void **state)
{
    struct fixture *f = *state;
    int32_t culprit = -7;

    fill(f, 2, 5000);
    ((float *)(uintptr_t)f->sources[0])[10] = FLT_MAX;
    ((float *)(uintptr_t)f->sources[1])[10] = FLT_MAX;
    assert_true(reduce_sum_f32(f->to, f->sources, 2, 5000, 1, &culprit));
    assert_int_equal(culprit, -1);
    assert_true(f->to[10] > FLT_MAX);
    /* The mean of two is a number again, since only the result is rounded to f32. */
    culprit = -7;
    assert_false(reduce_sum_f32(f->to, f->sources, 2, 5000, 2, &culprit));
    assert_true(f->to[10] >= FLT_MAX);
    assert_int_equal(culprit, -7);
    /* A source that is not finite is named, though an overflow comes first. */
    ((float *)(uintptr_t)f->sources[1])[4999] = NAN;
    assert_true(reduce_sum_f32(f->to, f->sources, 2, 5000, 1, &culprit));
    assert_int_equal(culprit, 1);
}

static void the_first_element_names_the_culprit(void **state)
{
    struct fixture *f = *state;
    int32_t culprit = -7;

    fill(f, 4, 9000);
    ((float *)(uintptr_t)f->sources[0])[8000] = NAN;
    ((float *)(uintptr_t)f->sources[1])[300] = NAN;
    ((float *)(uintptr_t)f->sources[2])[200] = NAN;
    ((float *)(uintptr_t)f->sources[3])[200] = INFINITY;
    assert_true(reduce_sum_f32(f->to, f->sources, 4, 9000, 1, &culprit));
    assert_int_equal(culprit, 2);
}

static void kernels_are_what_the_environment_wants(void **state)
{
    (void)state;
    size_t kernel_count;
    const struct reduce_kernel *kernels = reduce_kernel_list(&kernel_count);
    const char *wanted = getenv("SEQSYNC_KERNELS"), *widest = NULL;

    assert_true(kernels[0].runs_here());
    for (size_t k = 0; k < kernel_count; k++) {
        if (kernels[k].runs_here()) {
            widest = kernels[k].name;
            if (wanted != NULL && strcmp(wanted, widest) == 0) {
                assert_string_equal(reduce_kernels(), wanted);
                return;
            }
        }
    }
    assert_string_equal(reduce_kernels(), widest);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_kernel_gives_the_reference_bits),
        TEST(the_reduction_gives_the_reference_bits),
        TEST(bits_do_not_depend_on_the_cut),
        TEST(two_sources_add_as_f32_do),
        TEST(small_shares_survive_large_ones),
        TEST(integers_are_exact),
        TEST(nothing_counted_is_zero),
        TEST(what_is_not_finite_is_found_anywhere),
        TEST(infinities_that_cancel_are_found),
        TEST(an_overflow_is_nobodys_fault),
        TEST(the_first_element_names_the_culprit),
        TEST(kernels_are_what_the_environment_wants),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
