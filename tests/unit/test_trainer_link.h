/*
 * Any number of ranks in one process, one thread each, joined by plain memory: the trainer's link
 * without a daemon. Tokens are spread as the test says; every tile is a whole pair of chunks of one
 * sequence, under a full or a causal mask.
 */
#ifndef SEQSYNC_TESTS_UNIT_TEST_TRAINER_LINK_H
#define SEQSYNC_TESTS_UNIT_TEST_TRAINER_LINK_H

#include <pthread.h>
#include <stdbool.h>

#include "client/trainer/link.h"
#include "client/trainer/model.h"
#include "client/trainer/part.h"

#define TEST_RANKS_MAX 8
#define TEST_CHUNKS_MAX 64

struct local_world;

struct local_rank {
    struct link link; /* first: the model's view */
    struct local_world *world;
    uint32_t rank;
    struct part part;
    struct seqsync_chunk chunks[TEST_CHUNKS_MAX];
    struct seqsync_tile tiles[TEST_CHUNKS_MAX * TEST_CHUNKS_MAX];
    float **gradients;
    int64_t *counts; /* per bucket, what bucket_ready was given; -1 before */
    float *sum_dk;   /* of the layer last collected */
    float *sum_dv;
};

struct local_world {
    const struct model *model;
    bool causal;
    uint32_t ranks;
    int64_t tokens; /* of all sequences */
    uint32_t layers;
    float **k; /* [layer * ranks + rank]: rows of that rank */
    float **v;
    float **return_dk; /* the same index: rows by global index */
    float **return_dv;
    bool *published; /* the same index */
    bool *returned;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct local_rank rank[TEST_RANKS_MAX];
};

/*
 * owner[token], token by token over @sequences sequences of model_tokens() each, says which rank
 * holds it. Fails the test if memory is out. Free with local_world_free.
 */
struct local_world *local_world_new(const struct model *model, uint32_t sequences, uint32_t ranks,
                                    const uint32_t *owner, bool causal);
void local_world_free(struct local_world *world);

/* Forgets what was published, for another step. */
void local_world_reset(struct local_world *world);

#endif
