/* The element-wise kernels: each table against the portable one bit for bit, and that against libm.
 */
#include "client/trainer/kernels.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_trainer_fixture.h"

#define N 1003 /* not a multiple of anything */
#define ROWS 17
#define WIDTH (N / ROWS)

static void fill(float *x, int64_t n, uint64_t seed, double size)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(size * test_uniform(&seed));
    }
}

static double gelu_exact(double u)
{
    return 0.5 * u * (1 + tanh(sqrt(2 / acos(-1)) * (u + 0.044715 * u * u * u)));
}

/*
 * The exponential is good to 2 ulp plus the rounding of its argument, at most 86 * ulp / 2; for
 * |u| <= 8 the argument is below 60, so 40 ulp of |u| cover the sigmoid. Far out it is exact.
 */
static void gelu_equals_its_definition(void **state)
{
    const struct trainer_kernels *k = &trainer_kernels_portable;

    (void)state;
    for (int i = -8000; i <= 8000; i++) {
        float u = (float)i / 1000;
        float out;
        float slope = 1;
        double h = 1e-5;

        k->gelu(&u, 1, &out);
        assert_true(fabs((double)out - gelu_exact((double)u)) <=
                    40 * FLT_EPSILON * fabs((double)u));
        k->gelu_backward(&u, 1, &slope);
        assert_true(fabs((double)slope - (gelu_exact((double)u + h) - gelu_exact((double)u - h)) /
                                             (2 * h)) <= 200 * FLT_EPSILON);
    }
}

static void gelu_far_out_stays_finite_and_keeps_nan(void **state)
{
    float u[] = {1e4f, -1e4f, 1e12f, -1e12f, NAN};
    float out[5];
    float slope[5] = {1, 1, 1, 1, 1};

    (void)state;
    trainer_kernels_get()->gelu(u, 5, out);
    trainer_kernels_get()->gelu_backward(u, 5, slope);
    assert_true(out[0] == 1e4f && out[2] == 1e12f);
    assert_true(fabsf(out[1]) < 1e-30f && fabsf(out[3]) < 1e-20f);
    assert_true(slope[0] == 1 && fabsf(slope[1]) < 1e-20f);
    assert_true(isnan(out[4]) && isnan(slope[4]));
}

struct buffers {
    float x[N], y[N], z[N], a[N], b[N], out[N], mean[ROWS], rstd[ROWS]; /* without gaps */
    double sum;
    double squares;
};

static void buffers_fill(struct buffers *t)
{
    memset(t, 0, sizeof(*t));
    fill(t->x, N, 1, 2);
    fill(t->y, N, 2, 2);
    fill(t->a, N, 3, 1);
    fill(t->b, N, 4, 1);
}

/* What has no sums in f32: the same bits everywhere. */
static void exercise_exact(const struct trainer_kernels *k, struct buffers *t)
{
    static uint8_t pixels[N];
    struct adamw step = {1e-3f, 0.9f, 0.99f, 10, 100, 1e-8f, 1e-4f, 0.5f};

    buffers_fill(t);
    k->add_gated(t->x, t->a, t->y, ROWS, WIDTH, t->out);
    k->gate_backward(t->out, t->a, t->y, ROWS, WIDTH, t->z, t->b);
    k->add_columns(t->z, ROWS, WIDTH, t->a);
    k->add(t->x, N, t->y);
    k->gelu(t->y, N, t->out);
    k->gelu_backward(t->y, N, t->x);
    for (int i = 0; i < N; i++) {
        pixels[i] = (uint8_t)(i * 7);
    }
    t->sum = k->difference(t->out, pixels, N, 2);
    t->squares = k->square_sum(t->out, N);
    memset(t->a, 0, sizeof(t->a));
    memset(t->b, 0, sizeof(t->b));
    k->adamw(&step, N, t->out, t->x, t->a, t->b);
}

/* The rest, each on fresh numbers. */
static void exercise_close(const struct trainer_kernels *k, struct buffers *t)
{
    buffers_fill(t);
    k->normalize(t->x, ROWS, WIDTH, t->a, t->b, t->out, t->mean, t->rstd);
    k->normalize_backward(t->x, t->mean, t->rstd, ROWS, WIDTH, t->a, t->y, t->z, t->a + 500, t->b);
    k->rotate(t->x, 3, 37, t->a, t->b, t->b + 40, t->out + 500);
    k->rotate_backward(t->x, 3, 37, t->a, t->b, t->b + 40, t->y, t->z + 900);
}

/* The longest sum has WIDTH terms, whose roundings add up to WIDTH FLT_EPSILON of its size at
 * most. */
static void expect_close(const struct buffers *got, const struct buffers *want)
{
    const float *g = (const void *)got;
    const float *w = (const void *)want;

    for (size_t i = 0; i < 6 * N + 2 * ROWS; i++) {
        if (!(fabsf(g[i] - w[i]) <= WIDTH * FLT_EPSILON * fmaxf(1, fabsf(w[i])))) {
            fail_msg("value %zu: %.9g, not %.9g", i, (double)g[i], (double)w[i]);
        }
    }
}

static void tables_of_all_instruction_sets_agree(void **state)
{
    static const char *const names[] = {"avx2", "avx512"};
    struct buffers *want = calloc(1, sizeof(*want));
    struct buffers *got = calloc(1, sizeof(*got));

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const struct trainer_kernels *kernels = trainer_kernels_find(names[i]);

        if (!kernels) {
            print_message("this processor has no %s\n", names[i]);
            continue;
        }
        exercise_exact(&trainer_kernels_portable, want);
        exercise_exact(kernels, got);
        assert_true(isfinite(want->sum) && want->sum > 0);
        assert_memory_equal(got, want, sizeof(*want));
        exercise_close(&trainer_kernels_portable, want);
        exercise_close(kernels, got);
        expect_close(got, want);
    }
    free(want);
    free(got);
}

static void nothing_is_written_behind_the_end(void **state)
{
    const struct trainer_kernels *k = trainer_kernels_get();
    float x[40];
    float out[40];

    (void)state;
    fill(x, 40, 9, 1);
    for (int64_t n = 0; n <= 33; n++) {
        for (int i = 0; i < 40; i++) {
            out[i] = -77;
        }
        k->gelu(x, n, out);
        for (int64_t i = 0; i < 40; i++) {
            assert_int_equal(out[i] == -77.0f, i >= n);
        }
    }
}

static void difference_is_the_sum_of_squares_over_bytes(void **state)
{
    float out[20];
    uint8_t pixels[20];
    double want = 0;
    double got;

    (void)state;
    for (int i = 0; i < 20; i++) {
        pixels[i] = (uint8_t)(i * 13);
        out[i] = (float)pixels[i] * (2.0f / 255.0f) - 1.0f + (i % 2 ? 0.5f : -0.25f);
        want += i % 2 ? 0.25 : 0.0625;
    }
    got = trainer_kernels_get()->difference(out, pixels, 20, 2);
    assert_true(fabs(got - want) < 20 * 4 * FLT_EPSILON);
    for (int i = 0; i < 20; i++) {
        assert_true(fabsf(out[i] - (i % 2 ? 1.0f : -0.5f)) < 8 * FLT_EPSILON);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_equals_its_definition),
        cmocka_unit_test(gelu_far_out_stays_finite_and_keeps_nan),
        cmocka_unit_test(tables_of_all_instruction_sets_agree),
        cmocka_unit_test(nothing_is_written_behind_the_end),
        cmocka_unit_test(difference_is_the_sum_of_squares_over_bytes),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
