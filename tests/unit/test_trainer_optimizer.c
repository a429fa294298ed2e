/* AdamW against the formulas of its paper in double precision, warm-up, decay and clipping. */
#include "client/trainer/optimizer.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_trainer_fixture.h"

#define STEPS 8

static const struct optimizer_options options = {.rate = 1e-2,
                                                 .rate_last = 1e-3,
                                                 .warmup = 3,
                                                 .steps = STEPS,
                                                 .beta1 = 0.9,
                                                 .beta2 = 0.99,
                                                 .epsilon = 1e-8,
                                                 .weight_decay = 0.1,
                                                 .norm_max = 5};

static const struct model_shape shape = {{1, 2, 2}, 12, 1, 2};

struct reference {
    double **w, **m, **v;
};

static void gradients_fill(const struct model *model, float **mean, uint64_t step)
{
    uint64_t random = 100 + step;
    /* Steps with small and with large gradients, so that some are clipped. */
    double size = step % 2 ? 1.0 : 1e-3;

    for (uint32_t b = 0; b < model->bucket_count; b++) {
        for (size_t i = 0; i < model->elements[b]; i++) {
            mean[b][i] = (float)(size * test_uniform(&random));
        }
    }
}

static void reference_step(const struct model *model, struct reference *ref, float *const *mean,
                           int step, double rate)
{
    double norm = 0;
    double scale;

    for (size_t i = 0; i < model->elements_total; i++) {
        norm += (double)mean[0][i] * (double)mean[0][i];
    }
    norm = sqrt(norm);
    scale = norm > options.norm_max ? options.norm_max / norm : 1;
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        size_t count;
        const struct tensor *tensors = model_tensors(model, b, &count);

        for (size_t t = 0; t < count; t++) {
            double decay = tensors[t].rows > 1 ? options.weight_decay : 0;

            for (size_t i = tensors[t].offset;
                 i < tensors[t].offset + (size_t)(tensors[t].rows * tensors[t].columns); i++) {
                double g = scale * (double)mean[b][i];
                double m = ref->m[b][i] = 0.9 * ref->m[b][i] + 0.1 * g;
                double v = ref->v[b][i] = 0.99 * ref->v[b][i] + 0.01 * g * g;

                ref->w[b][i] -= rate * decay * ref->w[b][i];
                ref->w[b][i] -= rate * (m / (1 - pow(0.9, step + 1))) /
                                (sqrt(v / (1 - pow(0.99, step + 1))) + options.epsilon);
            }
        }
    }
}

/*
 * One update rounds the weight (|w| <= 2) and the quotient (|m / sqrt v| <= 1 / sqrt(1 - beta2) =
 * 10, made from a dozen rounded operations) once per step.
 */
static void updates_equal_the_paper(void **state)
{
    struct problem *problem = problem_new(&shape, 1, 3);
    struct model *model = problem->model;
    struct reference ref = {values_new(model), values_new(model), values_new(model)};
    double bound = STEPS * (2 * FLT_EPSILON + options.rate * 10 * 12 * FLT_EPSILON);
    struct optimizer optimizer;
    float **mean = calloc(model->bucket_count, sizeof(*mean));

    (void)state;
    memset(ref.m[0], 0, model->elements_total * sizeof(double));
    memset(ref.v[0], 0, model->elements_total * sizeof(double));
    mean[0] = calloc(model->elements_total, sizeof(float));
    for (uint32_t b = 1; b < model->bucket_count; b++) {
        mean[b] = mean[b - 1] + model->elements[b - 1];
    }
    assert_int_equal(optimizer_init(&optimizer, model, &options), 0);
    for (int step = 0; step < STEPS; step++) {
        gradients_fill(model, mean, (uint64_t)step);
        optimizer_step(&optimizer, model, (const float *const *)mean);
        reference_step(model, &ref, mean, step, optimizer_rate(&options, step));
    }
    for (size_t i = 0; i < model->elements_total; i++) {
        if (!(fabs((double)model->values[0][i] - ref.w[0][i]) <= bound)) {
            fail_msg("element %zu: %.9g, not %.9g", i, (double)model->values[0][i], ref.w[0][i]);
        }
    }
    optimizer_deinit(&optimizer);
    free(mean[0]);
    free(mean);
    values_free(ref.w);
    values_free(ref.m);
    values_free(ref.v);
    problem_free(problem);
}

static void rate_warms_up_and_falls_along_a_cosine(void **state)
{
    (void)state;
    assert_true(fabs(optimizer_rate(&options, 0) - 1e-2 / 3) < 1e-12);
    assert_true(fabs(optimizer_rate(&options, 2) - 1e-2) < 1e-12);
    assert_true(fabs(optimizer_rate(&options, 3) - 1e-2) < 1e-12);
    for (int64_t step = 3; step < STEPS; step++) {
        assert_true(optimizer_rate(&options, step + 1) < optimizer_rate(&options, step));
    }
    assert_true(fabs(optimizer_rate(&options, STEPS) - 1e-3) < 1e-12);
    assert_true(fabs(optimizer_rate(&options, 10 * STEPS) - 1e-3) < 1e-12);
}

static void zero_gradient_of_a_vector_changes_nothing(void **state)
{
    struct model *model = model_new(&shape);
    struct optimizer optimizer;
    const struct tensor *bias;
    float **mean = calloc(model->bucket_count, sizeof(*mean));
    float *zeros = calloc(model->elements_total, sizeof(*zeros));

    (void)state;
    model_start(model, 1);
    bias = &model->block[BLOCK_Q_SCALE];
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        mean[b] = zeros;
    }
    assert_int_equal(optimizer_init(&optimizer, model, &options), 0);
    assert_true(optimizer_step(&optimizer, model, (const float *const *)mean) == 0);
    for (int64_t i = 0; i < bias->columns; i++) {
        assert_true(model->values[BUCKET_BLOCK(0)][bias->offset + (size_t)i] == 1.0f);
    }
    optimizer_deinit(&optimizer);
    free(mean);
    free(zeros);
    model_free(model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_equal_the_paper),
        cmocka_unit_test(rate_warms_up_and_falls_along_a_cosine),
        cmocka_unit_test(zero_gradient_of_a_vector_changes_nothing),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
