#include "test_trainer_fixture.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <seqsync/attention.h>

#include "client/trainer/flow.h"
#include "client/trainer/head.h"
#include "test_trainer_link.h"
#include "test_trainer_reference.h"

static void *zeroed(size_t count, size_t bytes)
{
    void *p = calloc(count + 1, bytes);

    assert(p);
    return p;
}

double test_uniform(uint64_t *state)
{
    /* The high bits of a linear congruential generator (Knuth's MMIX constants). */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-52 - 1.0;
}

struct problem *problem_new(const struct model_shape *shape, uint32_t sequences, uint32_t seed)
{
    struct problem *p = zeroed(1, sizeof(*p));
    uint64_t state = seed;

    seqsync_attention_init();
    p->model = model_new(shape);
    assert(p->model);
    p->sequences = sequences;
    p->tokens = model_tokens(shape) * sequences;
    p->seed = seed;
    p->pixels = zeroed((size_t)p->tokens * PATCH_VALUES, 1);
    p->t = zeroed(sequences, sizeof(*p->t));
    for (int64_t i = 0; i < p->tokens * PATCH_VALUES; i++) {
        p->pixels[i] = (uint8_t)(127.5 + 127.0 * test_uniform(&state));
    }
    for (uint32_t s = 0; s < sequences; s++) {
        p->t[s] = 0.5 + 0.4 * test_uniform(&state);
    }
    for (uint32_t b = 0; b < p->model->bucket_count; b++) {
        size_t count;
        const struct tensor *tensors = model_tensors(p->model, b, &count);

        for (size_t i = 0; i < count; i++) {
            int64_t n = tensors[i].rows * tensors[i].columns;
            double size = tensors[i].rows > 1 ? sqrt(3.0 / (double)tensors[i].columns) : 0.3;
            double middle = tensors[i].start == START_ONE ? 1 : 0;

            for (int64_t j = 0; j < n; j++) {
                p->model->values[b][tensors[i].offset + (size_t)j] =
                    (float)(middle + size * test_uniform(&state));
            }
        }
    }
    return p;
}

void problem_free(struct problem *problem)
{
    model_free(problem->model);
    free(problem->pixels);
    free(problem->t);
    free(problem);
}

struct work {
    const struct problem *problem;
    struct local_rank *rank;
    struct answer *answer;
    struct loss loss;
    int r;
};

static void predict(struct pass *pass, const struct part *part, struct answer *answer)
{
    for (struct rows rows = {0}; rows_next(part, &rows);) {
        size_t bytes = (size_t)(rows.count * PATCH_VALUES) * sizeof(float);

        memcpy(answer->predicted + rows.global * PATCH_VALUES, head_forward(pass, &rows), bytes);
        memcpy(answer->noised + rows.global * PATCH_VALUES, pass->noised + rows.row * PATCH_VALUES,
               bytes);
    }
}

static int work_pass(struct work *work, struct pass *pass, uint8_t *pixels)
{
    const struct problem *problem = work->problem;
    struct local_rank *rank = work->rank;
    int r = pass_resize(pass, rank->part.rows);

    if (r < 0) {
        return r;
    }
    for (struct rows rows = {0}; rows_next(&rank->part, &rows);) {
        memcpy(pixels + rows.row * PATCH_VALUES, problem->pixels + rows.global * PATCH_VALUES,
               (size_t)(rows.count * PATCH_VALUES));
    }
    flow_noise(pass, &rank->part, pixels, problem->t, problem->seed);
    r = pass_forward(pass, &rank->part, &rank->link, problem->t);
    if (r < 0) {
        return r;
    }
    work->loss = flow_loss_backward(pass, &rank->part, &rank->link, pixels, problem->t);
    r = pass_backward(pass, &rank->part, &rank->link, work->loss.count);
    if (r < 0) {
        return r;
    }
    predict(pass, &rank->part, work->answer);
    return 0;
}

static void *work_run(void *argument)
{
    struct work *work = argument;
    uint8_t *pixels = zeroed((size_t)work->rank->part.rows * PATCH_VALUES, 1);
    struct pass pass;

    work->r = pass_init(&pass, work->problem->model, work->problem->sequences);
    if (work->r == 0) {
        work->r = work_pass(work, &pass, pixels);
        pass_deinit(&pass);
    }
    free(pixels);
    return NULL;
}

static void answer_add(struct answer *answer, const struct model *model, const struct work *work)
{
    answer->loss += work->loss.clean;
    answer->count += work->loss.count;
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        answer->counts[b] += work->rank->counts[b];
        for (size_t i = 0; i < model->elements[b]; i++) {
            answer->gradient[b][i] += (double)work->rank->gradients[b][i];
        }
    }
}

struct answer *problem_solve(const struct problem *problem, uint32_t ranks, const uint32_t *owner)
{
    const struct model *model = problem->model;
    struct local_world *world =
        local_world_new(model, problem->sequences, ranks, owner, problem->causal);
    struct answer *answer = zeroed(1, sizeof(*answer));
    struct work work[TEST_RANKS_MAX];
    pthread_t thread[TEST_RANKS_MAX];

    answer->buckets = model->bucket_count;
    answer->noised = zeroed((size_t)problem->tokens * PATCH_VALUES, sizeof(float));
    answer->predicted = zeroed((size_t)problem->tokens * PATCH_VALUES, sizeof(float));
    answer->counts = zeroed(model->bucket_count, sizeof(*answer->counts));
    answer->gradient = values_new(model);
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        memset(answer->gradient[b], 0, model->elements[b] * sizeof(**answer->gradient));
    }
    for (uint32_t i = 0; i < ranks; i++) {
        work[i] = (struct work){.problem = problem, .rank = &world->rank[i], .answer = answer};
        assert(pthread_create(&thread[i], NULL, work_run, &work[i]) == 0);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        pthread_join(thread[i], NULL);
        assert(work[i].r == 0);
        answer_add(answer, model, &work[i]);
    }
    local_world_free(world);
    return answer;
}

struct answer *answer_free(struct answer *answer)
{
    free(answer->noised);
    free(answer->predicted);
    free(answer->counts);
    values_free(answer->gradient);
    free(answer);
    return NULL;
}

double **values_new(const struct model *model)
{
    double **values = zeroed(model->bucket_count, sizeof(*values));

    values[0] = zeroed(model->elements_total, sizeof(**values));
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        if (b > 0) {
            values[b] = values[b - 1] + model->elements[b - 1];
        }
        for (size_t i = 0; i < model->elements[b]; i++) {
            values[b][i] = (double)model->values[b][i];
        }
    }
    return values;
}

void values_free(double **values)
{
    free(values[0]);
    free(values);
}

double problem_reference(const struct problem *problem, const struct answer *noised,
                         double *const *values, double *prediction)
{
    int64_t n = problem->tokens * PATCH_VALUES;
    double *input = zeroed((size_t)n, sizeof(*input));
    double *clean = zeroed((size_t)n, sizeof(*clean));
    double **own = values ? NULL : values_new(problem->model);
    double loss;

    for (int64_t i = 0; i < n; i++) {
        input[i] = (double)noised->noised[i];
        clean[i] = (double)problem->pixels[i] * 2 / 255 - 1;
    }
    loss = reference_loss(problem->model, values ? values : own, problem->sequences, input, clean,
                          problem->t, problem->causal, prediction);
    free(input);
    free(clean);
    if (own) {
        values_free(own);
    }
    return loss;
}
