/*
 * A step: one batch, its plan, and this rank's part of it. Begun by all ranks together, ended by
 * commit.
 */
#ifndef SEQSYNC_PLAN_H
#define SEQSYNC_PLAN_H

#include <seqsync/session.h>

#ifdef __cplusplus
extern "C" {
#endif

struct seqsync_step;

/*
 * Describes the batch and waits for its plan. Every rank calls it with the same batch:
 * BATCH_MISMATCH names those that differ. One step at a time: INVALID if the last one is still
 * open. @batch is borrowed during the call; the step belongs to the session and lives until its
 * commit or the session's end. Steps count from 1.
 */
int seqsync_step_begin(struct seqsync_session *session, const struct seqsync_batch *batch,
                       struct seqsync_step **ret);

/* What this rank did, for the record and for attestation. tokens must be the plan's. */
struct seqsync_attestation {
    size_t size;    /* sizeof(struct seqsync_attestation) */
    int64_t tokens; /* rows of the token space that were computed */
    int64_t area;   /* query-key pairs of self-attention that were computed; -1 = not counted */
    uint64_t compute_ns;       /* time computing; 0 = time since step_begin not spent in waits */
    uint64_t parameter_digest; /* of the parameters before this step's update, 0 = not given; must
                                  agree over the ranks */
    double loss;               /* shown by seqctl; NaN = none */
};

/*
 * Ends the step on all ranks together: returns when every node has every result and every rank has
 * asked. The results of the step's buckets stay readable until the next contribution to them.
 * @attestation may be NULL: tokens as planned. *ret_skip (may be NULL) is 1 on all ranks if a sum
 * was non-finite and the policy is to skip. ATTESTATION, PARAMETER_MISMATCH, NONFINITE, INVALID
 * (contributions missing; names them). The step is gone afterwards, unless @attestation itself is
 * INVALID.
 */
int seqsync_step_commit(struct seqsync_step *step, const struct seqsync_attestation *attestation,
                        int *ret_skip);

uint64_t seqsync_step_number(const struct seqsync_step *step);
uint64_t seqsync_step_seed(const struct seqsync_step *step);
uint64_t seqsync_step_plan_digest(const struct seqsync_step *step); /* equal on all ranks */

/* This rank's part. Arrays belong to the step. */
int64_t seqsync_step_rows(const struct seqsync_step *step,
                          enum seqsync_space space); /* tokens held; may be 0 */
int64_t seqsync_step_total(const struct seqsync_step *step,
                           enum seqsync_space space); /* tokens of all ranks together */
int64_t seqsync_step_area(const struct seqsync_step *step,
                          enum seqsync_space space); /* query-key pairs of this rank */
const struct seqsync_chunk *seqsync_step_chunks(const struct seqsync_step *step,
                                                enum seqsync_space space, uint32_t *ret_count);
const struct seqsync_tile *seqsync_step_tiles(const struct seqsync_step *step,
                                              enum seqsync_space space, uint32_t *ret_count);
const struct seqsync_source *seqsync_step_sources(const struct seqsync_step *step,
                                                  enum seqsync_space space, uint32_t *ret_count);
int64_t seqsync_step_return_rows(const struct seqsync_step *step, enum seqsync_space space);

/*
 * For each row of this rank, in row order (arrays of seqsync_step_rows(TOKENS) entries that the
 * caller owns; any may be NULL): its global index; its position within its sequence; its sequence;
 * and the global index of the token that it should predict, the next of its sequence, or -1 for the
 * last (labels are shifted here, once, before sharding).
 */
void seqsync_step_indices(const struct seqsync_step *step, int64_t *global, int64_t *position,
                          uint32_t *sequence, int64_t *label);

/*
 * A random 64-bit number, a pure function of its arguments: use global token (or element) indices
 * as @counter, and one
 * @stream for each purpose (noise, timestep, dropout of layer l), and every rank count sees the
 * same numbers. Philox4x32-10 (Salmon et al., SC'11, "Parallel random numbers: as easy as 1, 2,
 * 3"), key = seed, counter = (counter, stream); the first 64 bits of the block. Any thread.
 */
uint64_t seqsync_random_u64(uint64_t seed, uint64_t stream, uint64_t counter);

#ifdef __cplusplus
}
#endif
#endif
