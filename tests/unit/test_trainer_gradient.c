/*
 * The model against its definition: predictions and loss, and the gradient of every tensor against
 * central differences of the definition in double precision.
 *
 * Bounds. A value of the network is reached through a chain of D dot products, norms and softmaxes,
 * D = 6 layers + 4 forward, and as many again backward. Each rounds like a sum of n <= PATCH_VALUES
 * terms in random order, sqrt(n) FLT_EPSILON of its size, and the sizes along the chain are of
 * order 1 because the parameters have unit gain. So an error is about sqrt(2 D n) FLT_EPSILON of
 * the tensor's largest entry; BOUND leaves room for the gain of the random network, which is not
 * exactly 1.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test_trainer_fixture.h"

#define BOUND(layers) (4 * sqrt(2.0 * (6.0 * (layers) + 4.0) * PATCH_VALUES) * FLT_EPSILON)

struct config {
    struct model_shape shape;
    uint32_t sequences;
    bool causal;
};

static const struct config configs[] = {
    /* two sequences with two timesteps, all axes turned */
    {{{2, 3, 2}, 32, 2, 4}, 2, false},
    /* nothing a multiple of a vector, an odd head, causal */
    {{{1, 2, 3}, 15, 1, 3}, 1, true},
    /* one head of the width, wider than a vector */
    {{{3, 1, 2}, 40, 3, 1}, 1, false},
    /* a single token */
    {{{1, 1, 1}, 6, 1, 1}, 3, false},
};

struct state {
    struct problem *problem;
    struct answer *answer;
    double **values;
};

static void state_init(struct state *s, const struct config *config)
{
    uint32_t *owner = calloc((size_t)model_tokens(&config->shape) * config->sequences, 4);

    s->problem = problem_new(&config->shape, config->sequences, 7);
    s->problem->causal = config->causal;
    s->answer = problem_solve(s->problem, 1, owner);
    s->values = values_new(s->problem->model);
    free(owner);
}

static void state_deinit(struct state *s)
{
    values_free(s->values);
    answer_free(s->answer);
    problem_free(s->problem);
}

static double largest(const double *x, int64_t n)
{
    double most = 0;

    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs(x[i]));
    }
    return most;
}

static void predictions_equal_the_definition(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < sizeof(configs) / sizeof(*configs); c++) {
        struct state s;
        double bound = BOUND(configs[c].shape.layers);
        double *want;
        double loss;
        double most;
        int64_t n;

        state_init(&s, &configs[c]);
        n = s.problem->tokens * PATCH_VALUES;
        want = calloc((size_t)n, sizeof(*want));
        loss = problem_reference(s.problem, s.answer, NULL, want);
        most = largest(want, n);
        for (int64_t i = 0; i < n; i++) {
            if (fabs((double)s.answer->predicted[i] - want[i]) > bound * most) {
                fail_msg("config %zu value %lld: %g, not %g", c, (long long)i,
                         (double)s.answer->predicted[i], want[i]);
            }
        }
        assert_int_equal(s.answer->count, n);
        if (fabs(s.answer->loss - loss) > bound * loss) {
            fail_msg("config %zu: loss %.9g, not %.9g", c, s.answer->loss, loss);
        }
        free(want);
        state_deinit(&s);
    }
}

/* Central difference of the definition along one parameter. */
static double slope(struct state *s, uint32_t bucket, size_t element)
{
    const double h = 1e-4;
    double *value = &s->values[bucket][element];
    double before = *value;
    double up;
    double down;

    *value = before + h;
    up = problem_reference(s->problem, s->answer, s->values, NULL);
    *value = before - h;
    down = problem_reference(s->problem, s->answer, s->values, NULL);
    *value = before;
    return (up - down) / (2 * h);
}

static void tensor_check(struct state *s, uint32_t bucket, const struct tensor *tensor,
                         double bound, uint64_t *random)
{
    int64_t n = tensor->rows * tensor->columns;
    int64_t checks = n < 6 ? n : 6;
    double most = largest(s->answer->gradient[bucket] + tensor->offset, n);
    double most_of_bucket =
        largest(s->answer->gradient[bucket], (int64_t)s->problem->model->elements[bucket]);

    /* A gradient that is 0 by cancellation (queries of a single token) keeps the rounding of what
     * cancelled. */
    most = fmax(most, 1e-3 * most_of_bucket);

    for (int64_t i = 0; i < checks; i++) {
        int64_t place = n < 6 ? i : (int64_t)((test_uniform(random) + 1) / 2 * (double)n);
        size_t at = tensor->offset + (size_t)place;
        double want = slope(s, bucket, at);
        double got = s->answer->gradient[bucket][at];

        /* The difference itself is good to h^2 of the third derivative and 1e-16 loss / h. */
        if (!(fabs(got - want) <= bound * most + 1e-6 * (fabs(want) + 1e-3 * most) + 1e-8)) {
            fail_msg("bucket %u %s[%lld]: gradient %.9g, difference %.9g, largest %.3g", bucket,
                     tensor->name, (long long)place, got, want, most);
        }
    }
}

static void gradients_equal_central_differences(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < sizeof(configs) / sizeof(*configs); c++) {
        uint64_t random = 11;
        struct state s;

        state_init(&s, &configs[c]);
        for (uint32_t b = 0; b < s.problem->model->bucket_count; b++) {
            size_t count;
            const struct tensor *tensors = model_tensors(s.problem->model, b, &count);

            assert_int_equal(s.answer->counts[b], s.answer->count);
            for (size_t i = 0; i < count; i++) {
                tensor_check(&s, b, &tensors[i], BOUND(configs[c].shape.layers), &random);
            }
        }
        state_deinit(&s);
    }
}

/* All parameters at once: no entry can be wrong that the single ones happened to miss. */
static void gradient_along_a_random_direction_is_the_slope(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < sizeof(configs) / sizeof(*configs); c++) {
        const double h = 1e-5;
        uint64_t random = 13;
        struct state s;
        double **direction;
        double along = 0;
        double size = 0;
        double up;
        double down;

        state_init(&s, &configs[c]);
        direction = values_new(s.problem->model);
        for (size_t i = 0; i < s.problem->model->elements_total; i++) {
            direction[0][i] = test_uniform(&random);
            along += direction[0][i] * s.answer->gradient[0][i];
            size += fabs(direction[0][i] * s.answer->gradient[0][i]);
            s.values[0][i] += h * direction[0][i];
        }
        up = problem_reference(s.problem, s.answer, s.values, NULL);
        for (size_t i = 0; i < s.problem->model->elements_total; i++) {
            s.values[0][i] -= 2 * h * direction[0][i];
        }
        down = problem_reference(s.problem, s.answer, s.values, NULL);
        if (!(fabs((up - down) / (2 * h) - along) <= 1e-5 * size)) {
            fail_msg("config %zu: slope %.9g, gradient gives %.9g of %.3g", c,
                     (up - down) / (2 * h), along, size);
        }
        values_free(direction);
        state_deinit(&s);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictions_equal_the_definition),
        cmocka_unit_test(gradients_equal_central_differences),
        cmocka_unit_test(gradient_along_a_random_direction_is_the_slope),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
