/*
 * Parameters: one rank publishes, the others pull, and the digests are compared, so that training
 * starts from equal bits. Values travel bucket by bucket, in the shapes given to
 * seqsync_session_register(). Between steps only. Collective: one rank calls publish, all others
 * pull with that rank as @root.
 */
#ifndef SEQSYNC_PARAMETER_H
#define SEQSYNC_PARAMETER_H

#include <seqsync/exchange.h>

#ifdef __cplusplus
extern "C" {
#endif

/* @values[b]: the elements of bucket b; borrowed during the call. PARAMETER_MISMATCH names the
 * ranks that differ. */
int seqsync_parameter_publish(struct seqsync_session *session, const float *const *values);

/* Fills @values[b] with the root's. */
int seqsync_parameter_pull(struct seqsync_session *session, int32_t root, float *const *values);

/* The digest that is compared: XXH3-64 over the bits of all buckets in order. Pure; any thread. */
uint64_t seqsync_parameter_digest(const float *const *values,
                                  const struct seqsync_bucket_shape *buckets,
                                  uint32_t bucket_count);

#ifdef __cplusplus
}
#endif
#endif
