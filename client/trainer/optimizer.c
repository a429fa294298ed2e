#include "client/trainer/optimizer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

int optimizer_init(struct optimizer *optimizer, const struct model *model,
                   const struct optimizer_options *options)
{
    *optimizer = (struct optimizer){.options = *options, .kernels = trainer_kernels_get()};
    optimizer->m = calloc(model->bucket_count, sizeof(*optimizer->m));
    optimizer->v = calloc(model->bucket_count, sizeof(*optimizer->v));
    if (!optimizer->m || !optimizer->v) {
        goto error;
    }
    optimizer->m[0] = calloc(model->elements_total, sizeof(float));
    optimizer->v[0] = calloc(model->elements_total, sizeof(float));
    if (!optimizer->m[0] || !optimizer->v[0]) {
        goto error;
    }
    for (uint32_t b = 1; b < model->bucket_count; b++) {
        optimizer->m[b] = optimizer->m[b - 1] + model->elements[b - 1];
        optimizer->v[b] = optimizer->v[b - 1] + model->elements[b - 1];
    }
    return 0;

error:
    optimizer_deinit(optimizer);
    return -ENOMEM;
}

void optimizer_deinit(struct optimizer *optimizer)
{
    if (optimizer->m) {
        free(optimizer->m[0]);
    }
    if (optimizer->v) {
        free(optimizer->v[0]);
    }
    free(optimizer->m);
    free(optimizer->v);
    *optimizer = (struct optimizer){0};
}

double optimizer_rate(const struct optimizer_options *options, int64_t step)
{
    double done;

    if (step < options->warmup) {
        return options->rate * (double)(step + 1) / (double)options->warmup;
    }
    if (options->steps <= options->warmup) {
        return options->rate;
    }
    done = (double)(step - options->warmup) / (double)(options->steps - options->warmup);
    done = done < 1.0 ? done : 1.0;
    return options->rate_last +
           (options->rate - options->rate_last) * 0.5 * (1.0 + cos(3.14159265358979 * done));
}

static double gradient_norm(const struct optimizer *optimizer, const struct model *model,
                            const float *const *mean)
{
    double sum = 0;

    for (uint32_t b = 0; b < model->bucket_count; b++) {
        sum += optimizer->kernels->square_sum(mean[b], (int64_t)model->elements[b]);
    }
    return sqrt(sum);
}

double optimizer_step(struct optimizer *optimizer, struct model *model, const float *const *mean)
{
    const struct optimizer_options *o = &optimizer->options;
    double rate = optimizer_rate(o, optimizer->steps_done);
    double norm = gradient_norm(optimizer, model, mean);
    struct adamw step = {
        .rate = (float)rate,
        .beta1 = (float)o->beta1,
        .beta2 = (float)o->beta2,
        .epsilon = (float)o->epsilon,
        .gradient_scale =
            o->norm_max > 0 && norm > o->norm_max ? (float)(o->norm_max / norm) : 1.0f,
    };

    optimizer->steps_done++;
    step.correction1 = (float)(1.0 / (1.0 - pow(o->beta1, (double)optimizer->steps_done)));
    step.correction2 = (float)(1.0 / (1.0 - pow(o->beta2, (double)optimizer->steps_done)));
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        size_t count;
        const struct tensor *tensors = model_tensors(model, b, &count);

        for (size_t i = 0; i < count; i++) {
            size_t at = tensors[i].offset;

            step.decay = tensors[i].rows > 1 ? (float)(rate * o->weight_decay) : 0.0f;
            optimizer->kernels->adamw(&step, tensors[i].rows * tensors[i].columns, mean[b] + at,
                                      model->values[b] + at, optimizer->m[b] + at,
                                      optimizer->v[b] + at);
        }
    }
    return norm;
}
