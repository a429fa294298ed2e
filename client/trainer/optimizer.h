/*
 * AdamW (Loshchilov & Hutter 2019) over all buckets of a model, with a linear warm-up, a cosine
 * decay and clipping by the global norm. Every rank does the same update from the same mean
 * gradients, so parameters stay equal bit for bit without being sent.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_OPTIMIZER_H
#define SEQSYNC_CLIENT_TRAINER_OPTIMIZER_H

#include <stdint.h>

#include "client/trainer/kernels.h"
#include "client/trainer/model.h"

struct optimizer_options {
    double rate;         /* at the end of the warm-up */
    double rate_last;    /* at the last step */
    int64_t warmup;      /* steps */
    int64_t steps;       /* of the whole training */
    double beta1, beta2; /* decay of the averages, each in [0, 1) */
    double epsilon;
    double weight_decay; /* of matrices */
    double norm_max;     /* gradients of a larger global norm are scaled down; 0 = never */
};

struct optimizer {
    struct optimizer_options options;
    const struct trainer_kernels *kernels;
    int64_t steps_done;
    float **m; /* per bucket, averages of the gradient and of its square */
    float **v;
};

/* 0 or -ENOMEM. */
int optimizer_init(struct optimizer *optimizer, const struct model *model,
                   const struct optimizer_options *options);
void optimizer_deinit(struct optimizer *optimizer);

/* The learning rate of step @step, counted from 0. */
double optimizer_rate(const struct optimizer_options *options, int64_t step);

/*
 * One update of @model by the mean gradients @mean[bucket]. Returns their global norm before
 * clipping.
 */
double optimizer_step(struct optimizer *optimizer, struct model *model, const float *const *mean);

#endif
