/* One transformer block, forward and backward, over this rank's rows. */
#ifndef SEQSYNC_CLIENT_TRAINER_BLOCK_H
#define SEQSYNC_CLIENT_TRAINER_BLOCK_H

#include "client/trainer/pass.h"

/* From the layer's x to @x_out[rows][width]. */
int block_forward(struct pass *pass, const struct part *part, struct link *link, int32_t layer,
                  float *x_out);

/*
 * The pass's d_x goes from the gradient of x_out to that of x. The gradients of all tensors but the
 * modulation's go to the layer's bucket, those of the modulation to the condition.
 */
int block_backward(struct pass *pass, const struct part *part, struct link *link, int32_t layer);

#endif
