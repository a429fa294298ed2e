/* The first layer: noised patches to tokens, with their sine-cosine position. */
#ifndef SEQSYNC_CLIENT_TRAINER_EMBED_H
#define SEQSYNC_CLIENT_TRAINER_EMBED_H

#include "client/trainer/pass.h"

/* x[rows][width] from the pass's noised patches. */
void embed_forward(struct pass *pass, const struct part *part, float *x);

/* The patch weights' gradients from the pass's d_x; @gradient is the embedding's bucket. */
void embed_backward(struct pass *pass, const struct part *part, float *gradient);

#endif
