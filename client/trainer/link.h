/*
 * How a rank's model reaches the other ranks: keys and values of each layer, their gradients, and
 * the gradient buckets. The model sees only this; link_session.c carries it over libseqsync, the
 * unit tests carry it inside one process.
 *
 * Order of calls: forward, for each layer kv_rows, kv_publish, kv_wait of each source. Backward,
 * for each layer from the last: kv_wait again, return_rows, return_publish, return_wait;
 * bucket_ready once for each bucket, head first. All pointers are borrowed: keys and values until
 * the step ends, the others until the same call for another layer.
 *
 * Each call returns 0 or a negative code of the implementation, which the model passes up unchanged
 * and at once.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_LINK_H
#define SEQSYNC_CLIENT_TRAINER_LINK_H

#include <stdint.h>

struct link;

struct link_calls {
    /* Where to write K and V of the own rows. */
    int (*kv_rows)(struct link *link, uint32_t layer, float **ret_k, float **ret_v);
    int (*kv_publish)(struct link *link, uint32_t layer);
    /* Keys and values of @source, row 0 being the row that tiles count from. */
    int (*kv_wait)(struct link *link, uint32_t layer, uint32_t source, const float **ret_k,
                   const float **ret_v);
    /* Cleared space for dK and dV of the rows of others. */
    int (*return_rows)(struct link *link, uint32_t layer, float **ret_dk, float **ret_dv);
    int (*return_publish)(struct link *link, uint32_t layer);
    /* The others' dK and dV for the own rows. */
    int (*return_wait)(struct link *link, uint32_t layer, const float **ret_dk,
                       const float **ret_dv);
    /* The bucket's gradient is complete: sums over the own tokens, @count values of the loss. */
    int (*bucket_ready)(struct link *link, uint32_t bucket, int64_t count);
};

/* Embedded by value in the implementation's own struct. */
struct link {
    const struct link_calls *calls;
    float *const *gradients; /* per bucket: where this rank's sums are written */
};

#endif
