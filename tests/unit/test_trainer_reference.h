/*
 * The trainer's model by its definition: double precision, one loop for each sum, nothing shared
 * with the code under test but the names and places of the tensors.
 */
#ifndef SEQSYNC_TESTS_UNIT_TEST_TRAINER_REFERENCE_H
#define SEQSYNC_TESTS_UNIT_TEST_TRAINER_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/trainer/model.h"

/*
 * Sum of squared errors of the predicted clean patches. @values[bucket] are the parameters,
 * @noised[tokens * sequences][PATCH_VALUES] the input, @clean the target, @t the timesteps.
 * @causal: a token sees itself and those before it. @prediction, if not NULL, takes the predicted
 * patches.
 */
double reference_loss(const struct model *model, double *const *values, uint32_t sequences,
                      const double *noised, const double *clean, const double *t, bool causal,
                      double *prediction);

#endif
