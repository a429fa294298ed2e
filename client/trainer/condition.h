/*
 * What the timestep does to the model: sines and cosines of t go through a small MLP to one vector
 * for each sequence, and from it each block and the head take their shifts, scales and gates. All
 * ranks compute this for all sequences; the gradients are partial sums over the rank's own tokens,
 * which is right because everything after them is linear.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_CONDITION_H
#define SEQSYNC_CLIENT_TRAINER_CONDITION_H

#include <stdint.h>

#include "client/trainer/model.h"

/* Where each vector of width elements lies in the modulation of a block, and of the head. */
enum modulation {
    SHIFT_ATTENTION,
    SCALE_ATTENTION,
    GATE_ATTENTION,
    SHIFT_MLP,
    SCALE_MLP,
    GATE_MLP,
    MODULATION_N,
    SHIFT_HEAD = 0,
    SCALE_HEAD = 1,
    MODULATION_HEAD_N = 2,
};

struct condition {
    int64_t width;
    uint32_t sequences;
    float *features; /* [sequences][width] */
    float *hidden;   /* before and after silu of the first layer */
    float *hidden_silu;
    float *vector; /* before and after silu of the second layer */
    float *vector_silu;
    float *modulation;   /* [layers][sequences][6 width], then the head's [sequences][2 width] */
    float *d_modulation; /* the same */
    float *d_vector_silu;
    float *memory; /* holds all of these */
    int32_t layers;
};

/* 0 or -ENOMEM. */
int condition_init(struct condition *condition, const struct model *model, uint32_t sequences);
void condition_deinit(struct condition *condition);

/* Computes everything from the timesteps t[sequences] in (0, 1), and clears the gradients. */
void condition_forward(struct condition *condition, const struct model *model, const double *t);

/* The modulation of @sequence in block @layer, or in the head if @layer is the number of layers. */
const float *condition_get(const struct condition *condition, int32_t layer, uint32_t sequence);
float *condition_gradient(struct condition *condition, int32_t layer, uint32_t sequence);

/* After the last token of @layer: adds to the layer's own gradients and to d_vector_silu. */
void condition_backward_layer(struct condition *condition, const struct model *model, int32_t layer,
                              float *gradient);

/* After all layers: the MLP's gradients, in the embedding's bucket. */
void condition_backward(struct condition *condition, const struct model *model, float *gradient);

#endif
