/*
 * A small model with random parameters and a batch for it; what the trainer computes of it, on any
 * number of ranks; and what its definition says.
 */
#ifndef SEQSYNC_TESTS_UNIT_TEST_TRAINER_FIXTURE_H
#define SEQSYNC_TESTS_UNIT_TEST_TRAINER_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/trainer/model.h"

struct problem {
    struct model *model;
    uint32_t sequences;
    int64_t tokens;  /* of all sequences */
    uint8_t *pixels; /* [tokens][PATCH_VALUES] */
    double *t;       /* [sequences] */
    uint64_t seed;   /* of the noise */
    bool causal;     /* a token sees itself and those before it; false at first */
};

/* By global index, all ranks together. */
struct answer {
    double loss;       /* sum of squares */
    int64_t count;     /* values in it */
    float *noised;     /* [tokens][PATCH_VALUES] */
    float *predicted;  /* [tokens][PATCH_VALUES] */
    double **gradient; /* [bucket][elements], sums over the ranks */
    int64_t *counts;   /* [bucket], sums over the ranks */
    uint32_t buckets;
};

/* Parameters and pixels depend on @seed only. No tensor is zero: every path has a gradient. */
struct problem *problem_new(const struct model_shape *shape, uint32_t sequences, uint32_t seed);
void problem_free(struct problem *problem);

/* Forward and backward on @ranks ranks; owner[token] holds each. */
struct answer *problem_solve(const struct problem *problem, uint32_t ranks, const uint32_t *owner);
struct answer *answer_free(struct answer *answer);

/* The same with the definition of test_trainer_reference.h, for parameters @values, or the model's
 * own if NULL. */
double problem_reference(const struct problem *problem, const struct answer *noised,
                         double *const *values, double *prediction);

/* The model's parameters in double precision. Free with values_free. */
double **values_new(const struct model *model);
void values_free(double **values);

/* Uniform in (-1, 1), from a generator of the tests' own. */
double test_uniform(uint64_t *state);

#endif
