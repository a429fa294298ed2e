/*
 * Who holds which tokens. A placement is the list of pieces of one index space in the order of
 * their global indices, each the longest run of one sequence that one rank holds.
 *
 * Contiguous: the space is cut into P runs, the first total % P of them one token longer.
 *
 * Zigzag: each sequence is cut into 2P chunks of base = length / 2P tokens, rank p takes chunks p
 * and 2P-1-p, so that under a causal mask an early chunk is paired with a late one. The length % 2P
 * tokens left over make chunks one token longer, and which ones goes around over the sequences: the
 * low chunks of rank 0, 1, .. P-1, then the high chunks of rank 0, 1, .. P-1, then again, each
 * sequence going on where the last one stopped. Hence the ranks' totals differ by at most one token
 * however many short sequences there are, and a rank that gets early tokens of one gets late tokens
 * of another.
 */
#ifndef SEQSYNC_PLAN_PLACEMENT_H
#define SEQSYNC_PLAN_PLACEMENT_H

#include "daemon/plan/plan.h"

struct piece {
    int64_t first;
    int64_t count;
    int64_t row; /* in the shard of @rank */
    uint32_t sequence;
    uint32_t rank; /* of a replicated context: 0, though all ranks hold it */
};

struct placement {
    struct piece *pieces;
    uint32_t *sequence_first; /* [sequence_count + 1]: first piece of each sequence */
    uint32_t piece_count;
    uint32_t piece_capacity;
};

/* SEQSYNC_PLACE_CONTIGUOUS or _ZIGZAG: as the batch asks, or by its masks. */
uint32_t placement_decide(const struct seqsync_batch *batch);

/*
 * Places the tokens of @space and fills the chunks and row counts of plan->spaces[space].parts,
 * whose other counts it leaves alone. Sequences, offsets, rank count, placement and context role
 * must be set. The caller calls placement_deinit(@ret) in any case. 0, -ENOMEM.
 */
int placement_init(struct placement *ret, struct plan *plan, uint32_t space);
void placement_deinit(struct placement *placement);

#endif
