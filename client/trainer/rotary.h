/* QK-norm and the 3-D rotary position of queries and keys, over rows of one sequence. */
#ifndef SEQSYNC_CLIENT_TRAINER_ROTARY_H
#define SEQSYNC_CLIENT_TRAINER_ROTARY_H

#include "client/trainer/pass.h"

/*
 * Which of the two halves of a row of qk, [2][width], is meant; its learned scale is the tensor
 * BLOCK_Q_SCALE or BLOCK_K_SCALE.
 */
enum rotary_half {
    ROTARY_Q,
    ROTARY_K,
};

/* out[count][width] = the half of qk, normed by head and turned to each row's position. */
void rotary_forward(struct pass *pass, const struct rows *rows, enum rotary_half half,
                    const float *qk, const float *scale, float *out);

/* d[count][width], the gradient of out, becomes that of the half of qk; d_scale[head_dim] += . */
void rotary_backward(struct pass *pass, const struct rows *rows, enum rotary_half half,
                     const float *qk, const float *scale, float *d, float *d_scale);

#endif
