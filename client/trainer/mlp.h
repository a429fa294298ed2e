/*
 * The second half of a block, which needs no other rank: the attention branch's output projection
 * and gate, then norm, MLP and gate.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_MLP_H
#define SEQSYNC_CLIENT_TRAINER_MLP_H

#include "client/trainer/pass.h"

/* From the layer's x and o to @x_out[rows][width]. */
void mlp_forward(struct pass *pass, const struct part *part, int32_t layer, float *x_out);

/*
 * The pass's d_x, the gradient of x_out, becomes the gradient of x by every way but attention; d_o
 * becomes that of the attention's output. @gradient is the block's bucket.
 */
void mlp_backward(struct pass *pass, const struct part *part, int32_t layer, float *gradient);

#endif
