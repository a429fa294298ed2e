/*
 * Plans for tests: a batch built up sequence by sequence, its plan, and an oracle that knows
 * nothing of plans but what plan.h promises. The oracle marks every pair of the attention matrix
 * that a tile computes, moves integers that stand for keys through moves and inboxes, sums integers
 * that stand for dK/dV through returns and partials, and compares all of it with the mask.
 */
#ifndef SEQSYNC_TEST_PLAN_FIXTURE_H
#define SEQSYNC_TEST_PLAN_FIXTURE_H

#include "daemon/plan/plan.h"

struct fixture {
    struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    uint32_t rank_nodes[SEQSYNC_RANKS_MAX];
    struct seqsync_batch batch;
    struct plan_input input;
    struct plan *plan;
};

/* An empty batch for @ranks in blocks on @nodes, as even as can be. On the heap; fixture_free()
 * frees it. */
struct fixture *fixture_new(uint32_t ranks, uint32_t nodes);
struct fixture *fixture_free(struct fixture *fixture);

/* Appends a sequence with a full mask; change what is returned to make it another. */
struct seqsync_sequence *fixture_add(struct fixture *fixture, int64_t tokens);

/* Plans (again) and asserts that the validator accepts. */
void fixture_plan(struct fixture *fixture);

/* A batch, masks, ranks and nodes that follow from @seed, at most about 100 tokens. */
struct fixture *fixture_random(uint64_t seed);

/* NULL, or what is wrong with the plan. For small batches: O(tokens^2). */
const char *fixture_oracle(const struct fixture *fixture);

/* Global indices of the tokens that @rank holds, in row order; *ret_count of them, the caller frees
 * the array. */
int64_t *fixture_shard(const struct fixture *fixture, uint32_t space, uint32_t rank,
                       int64_t *ret_count);

/* splitmix64: the next of a stream of numbers. */
uint64_t fixture_random_u64(uint64_t *state);

#endif
