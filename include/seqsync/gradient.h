/*
 * Gradient aggregation. A rank contributes, for each bucket and step, the **sum** over its own
 * tokens and the **count** of what it summed; the daemon adds all ranks' sums in a fixed order and
 * divides once by the global count. There is nothing for the caller to multiply by a world size. A
 * global count of 0 gives zeros.
 *
 * The bucket's contribution buffer is this rank's own; the result is shared by all ranks of the
 * node, read in place.
 */
#ifndef SEQSYNC_GRADIENT_H
#define SEQSYNC_GRADIENT_H

#include <seqsync/exchange.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * This rank's contribution buffer of @bucket: elements f32, contiguous over consecutive buckets'
 * elements is not promised. Valid from seqsync_session_register() to the session's end. Write it
 * between step_begin and contribute.
 */
float *seqsync_gradient_buffer(struct seqsync_session *session, uint32_t bucket);

/*
 * Hands in the bucket: @count >= 0 is what the sums were taken over (tokens, elements, samples: the
 * same unit on all ranks). Returns at once; the buffer must not be written until gradient_wait of
 * the bucket returned. What one rank contributes in a step, all must, once (a rank without tokens:
 * zeros and count 0); a bucket that nobody contributes is no part of the step. For a REPLICATED
 * bucket each rank hands in the whole and its count; it counts once. DUPLICATE, INVALID.
 */
int seqsync_gradient_contribute(struct seqsync_step *step, uint32_t bucket, int64_t count);

/*
 * Waits for the result: mean over all ranks' contributions, equal bits on all ranks. *ret_count
 * (may be NULL) is the global count. Read-only; valid until the caller's next contribution to this
 * bucket or parameter call, that of a REPLICATED bucket until the next step_begin. NONFINITE if
 * that is the job's policy; under SKIP and PASS the values come as they are, and commit says
 * whether to skip. TIMEOUT, WORKER_LOST, PEER_LOST.
 */
int seqsync_gradient_wait(struct seqsync_step *step, uint32_t bucket, const float **ret_mean,
                          int64_t *ret_count);

#ifdef __cplusplus
}
#endif
#endif
