/* Every set of kernels that this processor runs, against double precision and against the portable
 * set. */
#include "client/attention/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define ROWS 3
#define STRIDE 96
#define WIDTH 37
#define ULP 0x1p-23

static const char *const names[] = {"portable", "avx2", "avx512"};

struct fixture {
    const struct kernels *kernels;
    float scores[ROWS * STRIDE];
    float d_scores[ROWS * STRIDE];
    float logits[ROWS * STRIDE];
    float d_p[ROWS * STRIDE];
    float out[ROWS * WIDTH];
    int32_t first[ROWS];
    int32_t last[ROWS];
    struct score_block block;
};

/* Logits between -40 and 10; hidden ones NaN, so that reading them shows. */
static void fixture_fill(struct fixture *f, int32_t columns, int32_t first, int32_t last)
{
    uint32_t state = (uint32_t)(columns * 10007 + first * 101 + last);

    for (int32_t i = 0; i < ROWS * STRIDE; i++) {
        int32_t column = i % STRIDE;

        state = state * 1664525u + 1013904223u;
        f->logits[i] =
            column >= first && column < last ? (float)(state >> 8) * 0x1p-24f * 50 - 40 : NAN;
        f->d_p[i] = column >= first && column < last ? (float)(state >> 16) * 0x1p-16f - 0.5f : NAN;
        f->scores[i] = f->logits[i];
        f->d_scores[i] = f->d_p[i];
    }
    for (int32_t i = 0; i < ROWS * WIDTH; i++) {
        f->out[i] = (float)i;
    }
    for (int32_t r = 0; r < ROWS; r++) {
        f->first[r] = first;
        f->last[r] = last;
    }
    f->block = (struct score_block){f->scores, STRIDE, ROWS, columns, f->first, f->last};
}

static void check_softmax(struct fixture *f, int32_t columns, int32_t first, int32_t last)
{
    float row_max[ROWS] = {-INFINITY, -20, 30};
    float row_sum[ROWS] = {0, 2, 3};
    const float before_max[ROWS] = {-INFINITY, -20, 30};
    const float before_sum[ROWS] = {0, 2, 3};

    fixture_fill(f, columns, first, last);
    f->kernels->softmax(&f->block, row_max, row_sum, f->out, WIDTH);
    for (int32_t r = 0; r < ROWS; r++) {
        double greatest = (double)before_max[r];
        double sum;
        double factor;

        for (int32_t c = first; c < last; c++) {
            greatest = fmax(greatest, (double)f->logits[r * STRIDE + c]);
        }
        assert_true((double)row_max[r] == greatest);
        factor = before_max[r] == -INFINITY && greatest == -INFINITY
                     ? 1
                     : exp2((double)before_max[r] - greatest);
        sum = (double)before_sum[r] * factor;
        for (int32_t c = 0; c < columns; c++) {
            double p =
                c >= first && c < last ? exp2((double)(f->logits[r * STRIDE + c] - row_max[r])) : 0;

            /* Three units in the last place of the result, which is at most 1; below 2^-126 it may
             * be 0. */
            assert_true(fabs((double)f->scores[r * STRIDE + c] - p) <= 3 * ULP * p + 0x1p-126);
            sum += p;
        }
        for (int32_t c = columns; c < STRIDE && last <= columns; c++) {
            assert_true(isnan(f->scores[r * STRIDE + c])); /* beyond the block: not written */
        }
        assert_true(fabs((double)row_sum[r] - sum) <= (columns + 6) * ULP * sum);
        for (int32_t x = 0; x < WIDTH; x++) {
            double right = (double)(r * WIDTH + x) * factor;

            assert_true(fabs((double)f->out[r * WIDTH + x] - right) <= 4 * ULP * right);
        }
    }
}

static void check_gradient(struct fixture *f, int32_t columns, int32_t first, int32_t last)
{
    const float shift[ROWS] = {10, -20, INFINITY};
    const float delta[ROWS] = {0.25f, -1, 3};

    fixture_fill(f, columns, first, last);
    f->kernels->softmax_gradient(&f->block, f->d_scores, shift, delta);
    for (int32_t r = 0; r < ROWS; r++) {
        for (int32_t c = 0; c < columns; c++) {
            int32_t at = r * STRIDE + c;
            bool seen = c >= first && c < last;
            double p = seen ? exp2((double)(f->logits[at] - shift[r])) : 0;
            double ds = seen ? p * (double)(f->d_p[at] - delta[r]) : 0;

            assert_true(fabs((double)f->scores[at] - p) <= 3 * ULP * p + 0x1p-126);
            assert_true(fabs((double)f->d_scores[at] - ds) <= 4 * ULP * fabs(ds) + 0x1p-124);
        }
    }
}

static void every_kernel_set_agrees_with_double_precision(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fixture f = {.kernels = kernels_find(names[i])};

        if (!f.kernels) {
            print_message("%s does not run on this processor, not tested\n", names[i]);
            continue;
        }
        for (int32_t columns = 1; columns <= 70; columns++) {
            for (int32_t first = 0; first <= columns; first += 1 + first / 2) {
                for (int32_t last = first; last <= columns; last += 1 + (last - first) / 2) {
                    check_softmax(&f, columns, first, last);
                    check_gradient(&f, columns, first, last);
                }
            }
        }
    }
}

static void a_seen_nan_reaches_the_sum_and_the_gradient(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fixture f = {.kernels = kernels_find(names[i])};

        for (int32_t at = 0; f.kernels && at < 37; at++) {
            float row_max[ROWS] = {-INFINITY, -INFINITY, -INFINITY};
            float row_sum[ROWS] = {0};
            const float shift[ROWS] = {0};

            fixture_fill(&f, 37, 0, 37);
            f.scores[STRIDE + at] = NAN;
            f.kernels->softmax(&f.block, row_max, row_sum, f.out, WIDTH);
            assert_true(isnan(row_sum[1]) && isfinite(row_sum[0]) && isfinite(row_sum[2]));
            fixture_fill(&f, 37, 0, 37);
            f.scores[STRIDE + at] = NAN;
            f.kernels->softmax_gradient(&f.block, f.d_scores, shift, shift);
            assert_true(isnan(f.scores[STRIDE + at]) && isnan(f.d_scores[STRIDE + at]));
            assert_true(isfinite(f.d_scores[at]));
        }
    }
}

/* 2^x over its whole range, through the gradient, whose weights are 2^(x - 0). */
static void powers_of_two_are_within_three_units_of_the_last_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fixture f = {.kernels = kernels_find(names[i])};
        const float zero[ROWS] = {0};
        double worst = 0;

        for (int32_t base = -126 * 64; f.kernels && base < 127 * 64; base += STRIDE) {
            fixture_fill(&f, STRIDE, 0, STRIDE);
            for (int32_t c = 0; c < STRIDE; c++) {
                f.scores[c] = (float)(base + c) / 64 + 0.003f;
                f.logits[c] = f.scores[c];
            }
            f.block.rows = 1;
            f.kernels->softmax_gradient(&f.block, f.d_scores, zero, zero);
            for (int32_t c = 0; c < STRIDE; c++) {
                double right = exp2((double)f.logits[c]);

                if (right > 0x1p-126 && right < 0x1p127) {
                    worst = fmax(worst, fabs((double)f.scores[c] / right - 1));
                }
            }
        }
        assert_true(worst <= 3 * ULP);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_set_agrees_with_double_precision),
        cmocka_unit_test(a_seen_nan_reaches_the_sum_and_the_gradient),
        cmocka_unit_test(powers_of_two_are_within_three_units_of_the_last_place),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
