/* Noise, timesteps and positions: functions of global indices, whatever the split. */
#include "client/trainer/flow.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/trainer/noise.h"

static void noise_of_a_piece_is_a_piece_of_the_noise(void **state)
{
    float whole[1000];
    float piece[1000];

    (void)state;
    noise_fill(5, STREAM_NOISE, 0, 1000, whole);
    for (uint64_t first = 0; first < 1000; first += 126) {
        int64_t n = first + 126 < 1000 ? 126 : (int64_t)(1000 - first);

        noise_fill(5, STREAM_NOISE, first, n, piece + first);
    }
    assert_memory_equal(piece, whole, sizeof(whole));
}

static void noise_differs_by_seed_and_stream(void **state)
{
    float a[64];
    float b[64];

    (void)state;
    noise_fill(5, STREAM_NOISE, 0, 64, a);
    noise_fill(6, STREAM_NOISE, 0, 64, b);
    assert_memory_not_equal(a, b, sizeof(a));
    noise_fill(5, STREAM_START, 0, 64, b);
    assert_memory_not_equal(a, b, sizeof(a));
}

/*
 * Mean, variance and fourth moment of n normal numbers lie within 5 standard errors, 1 / sqrt(n),
 * sqrt(2 / n) and sqrt(96 / n), of 0, 1 and 3; and neighbours are uncorrelated.
 */
static void noise_is_standard_normal(void **state)
{
    enum { n = 200000 };
    float *x = malloc(n * sizeof(*x));
    double mean = 0;
    double square = 0;
    double fourth = 0;
    double neighbour = 0;

    (void)state;
    noise_fill(1, STREAM_NOISE, 0, n, x);
    for (int i = 0; i < n; i++) {
        double v = (double)x[i];

        assert_true(isfinite(v));
        mean += v / n;
        square += v * v / n;
        fourth += v * v * v * v / n;
        neighbour += i ? v * (double)x[i - 1] / n : 0;
    }
    assert_true(fabs(mean) < 5 / sqrt(n));
    assert_true(fabs(square - 1) < 5 * sqrt(2.0 / n));
    assert_true(fabs(fourth - 3) < 5 * sqrt(96.0 / n));
    assert_true(fabs(neighbour) < 5 / sqrt(n));
    free(x);
}

static void timesteps_are_spread_within_their_range(void **state)
{
    int low = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        double t = flow_timestep(seed, 0);

        assert_true(t >= TIMESTEP_MIN && t <= TIMESTEP_MAX);
        assert_true(t != flow_timestep(seed, 1));
        low += t < 0.5;
    }
    /* Of 1000 fair coins, 500 within 5 standard errors. */
    assert_in_range(low, 500 - 80, 500 + 80);
}

static void peak_signal_to_noise_ratio_is_in_decibels(void **state)
{
    const uint8_t a[] = {0, 10, 20, 30};
    const uint8_t b[] = {255, 10, 20, 30};

    (void)state;
    assert_true(fabs(psnr_db(pixels_difference(a, b, 4), 4) - 10 * log10(4)) < 1e-9);
    assert_true(psnr_db(0, 4) == 99.0);
    assert_true(psnr_db(0, 0) == 99.0);
}

/* Turning by the angles keeps lengths, and the product of two turned vectors depends on how far
 * they are apart alone. */
static void rotary_product_depends_on_the_distance_alone(void **state)
{
    const struct model_shape shape = {{4, 5, 6}, 32, 1, 1};
    struct model *model = model_new(&shape);
    struct position position;
    float c[2][16];
    float s[2][16];
    double products[2];

    (void)state;
    assert_int_equal(position_init(&position, model), 0);
    for (int i = 0; i < 2; i++) {
        /* (1, 1, 1) to (2, 3, 3), and the same way from (2, 0, 2). */
        int64_t from = i ? (2 * 5 + 0) * 6 + 2 : (1 * 5 + 1) * 6 + 1;
        int64_t to = i ? (3 * 5 + 2) * 6 + 4 : (2 * 5 + 3) * 6 + 3;

        position_angles(&position, from, c[0], s[0]);
        position_angles(&position, to, c[1], s[1]);
        products[i] = 0;
        for (int j = 0; j < 16; j++) {
            /* The vectors (1, 0) of each pair, turned. */
            products[i] += (double)(c[0][j] * c[1][j] + s[0][j] * s[1][j]) * (j + 1);
            assert_true(fabs((double)(c[0][j] * c[0][j] + s[0][j] * s[0][j]) - 1) < 1e-6);
        }
    }
    assert_true(fabs(products[0] - products[1]) < 1e-4);
    position_deinit(&position);
    model_free(model);
}

static void every_place_has_a_position_of_its_own(void **state)
{
    const struct model_shape shape = {{3, 4, 5}, 24, 1, 1};
    struct model *model = model_new(&shape);
    struct position position;
    float x[60][24];

    (void)state;
    memset(x, 0, sizeof(x));
    assert_int_equal(position_init(&position, model), 0);
    for (int i = 0; i < 60; i++) {
        position_add(&position, i, x[i]);
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(x[i], x[j], sizeof(x[i]));
        }
    }
    position_deinit(&position);
    model_free(model);
}

static void patch_weights_start_as_an_orthonormal_basis(void **state)
{
    const struct model_shape shape = {{1, 1, 1}, PATCH_VALUES, 1, 1};
    struct model *model = model_new(&shape);
    const float *w = model->values[BUCKET_EMBED] + model->embed[EMBED_PATCH_W].offset;

    (void)state;
    model_start(model, 1);
    for (int a = 0; a < PATCH_VALUES; a++) {
        for (int b = 0; b <= a; b++) {
            double product = 0;

            for (int i = 0; i < PATCH_VALUES; i++) {
                product += (double)w[a * PATCH_VALUES + i] * (double)w[b * PATCH_VALUES + i];
            }
            assert_true(fabs(product - (a == b)) < 1e-5);
        }
    }
    /* The first is the patch's grey. */
    for (int i = 1; i < PATCH_VALUES; i++) {
        assert_true(w[i] == w[0]);
    }
    model_free(model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_of_a_piece_is_a_piece_of_the_noise),
        cmocka_unit_test(noise_differs_by_seed_and_stream),
        cmocka_unit_test(noise_is_standard_normal),
        cmocka_unit_test(timesteps_are_spread_within_their_range),
        cmocka_unit_test(peak_signal_to_noise_ratio_is_in_decibels),
        cmocka_unit_test(rotary_product_depends_on_the_distance_alone),
        cmocka_unit_test(every_place_has_a_position_of_its_own),
        cmocka_unit_test(patch_weights_start_as_an_orthonormal_basis),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
