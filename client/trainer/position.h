/*
 * Where a token stands in its clip: sine-cosine position that is added to the embedding, and the
 * angles of the rotary position. Both follow from the token's index within its sequence and from
 * nothing else. Tables have one entry for each coordinate of each axis, not one for each token.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_POSITION_H
#define SEQSYNC_CLIENT_TRAINER_POSITION_H

#include <stdint.h>

#include "client/trainer/model.h"

struct position {
    struct grid grid;
    int64_t width;
    int64_t axis_width;  /* elements of the token that each axis takes, a multiple of 2 */
    int64_t pairs[3];    /* turned pairs of a head for time, height, width */
    float *embedding[3]; /* [length of axis][axis_width] */
    float *cosine[3];    /* [length of axis][pairs] */
    float *sine[3];
};

/* 0 or -ENOMEM. */
int position_init(struct position *position, const struct model *model);
void position_deinit(struct position *position);

/* x[width] += the position of token @index of its clip. */
void position_add(const struct position *position, int64_t index, float *x);

/* Cosines and sines of token @index, head_dim / 2 of each. */
void position_angles(const struct position *position, int64_t index, float *ret_cosine,
                     float *ret_sine);

#endif
