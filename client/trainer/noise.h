/*
 * Random numbers of the training, each a pure function of (seed, stream, global index): the same
 * for every number of ranks.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_NOISE_H
#define SEQSYNC_CLIENT_TRAINER_NOISE_H

#include <stdint.h>

/* One stream of numbers for each purpose. */
enum noise_stream {
    STREAM_NOISE = 1,      /* counter: element pair of a token, see noise_fill */
    STREAM_TIMESTEP = 2,   /* counter: sequence of the batch */
    STREAM_STEP = 3,       /* counter: step; the seed of that step */
    STREAM_EVALUATION = 4, /* counter: timestep of the evaluation; the seed of it */
    STREAM_START = 16,     /* + bucket: starting values; counter: element pair of the bucket */
};

/*
 * Fills out[n] with standard normal numbers, element i being that of index @first + i. Elements 2j
 * and 2j + 1 come from one counter j by the transform of Box and Muller (1958). @first is even.
 */
void noise_fill(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out);

/* Uniform in (0, 1). */
double noise_uniform(uint64_t seed, uint64_t stream, uint64_t counter);

#endif
