/* The last layer: tokens to clean patches, ROWS_MAX rows at a time. */
#ifndef SEQSYNC_CLIENT_TRAINER_HEAD_H
#define SEQSYNC_CLIENT_TRAINER_HEAD_H

#include "client/trainer/pass.h"

/*
 * Predicts the clean patches of @rows; returns [count][PATCH_VALUES] in the pass's scratch, valid
 * until the next call on the pass.
 */
float *head_forward(struct pass *pass, const struct rows *rows);

/*
 * Directly after head_forward of the same rows: @d_out, which may be its result in place, gives
 * d_x of the rows and adds to @gradient, the head's bucket.
 */
void head_backward(struct pass *pass, const struct rows *rows, const float *d_out, float *gradient);

#endif
