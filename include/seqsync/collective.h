/*
 * Small collectives over all ranks of the job, in rank order whatever the nodes: equal bits on all
 * ranks, and the same bits for every spread of the ranks over nodes. For losses, counts and norms;
 * gradients go through buckets.
 */
#ifndef SEQSYNC_COLLECTIVE_H
#define SEQSYNC_COLLECTIVE_H

#include <seqsync/session.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SEQSYNC_ALL_REDUCE_BYTES_MAX 16384

/*
 * Reduces @count values of @dtype in place. f32 is accumulated in f64 and rounded once. INVALID:
 * more than SEQSYNC_ALL_REDUCE_BYTES_MAX bytes, or ranks that differ in count, type or operation
 * (the text names them).
 */
int seqsync_all_reduce(struct seqsync_session *session, void *values, size_t count,
                       enum seqsync_dtype dtype, enum seqsync_op op);

/* Returns when every rank has called it. */
int seqsync_barrier(struct seqsync_session *session);

#ifdef __cplusplus
}
#endif
#endif
