/*
 * The planner's answer for one batch: who holds which tokens, which tiles each rank computes, which
 * K/V rows move to which node, which dK/dV rows come back and in which order they are summed. A
 * pure function of its input: the same input gives the same bytes on every node, which
 * plan_digest() attests.
 *
 * Rows. A holder's K/V live in its own shard order ("holder rows"). A node's inbox holds the union
 * of the rows that its ranks need of remote holders: holders in rank order, rows ascending, each
 * exactly once ("inbox rows"). A rank's return buffer holds the rows it needs of every other rank:
 * sources in the order of its part, rows ascending
 * ("return rows"). Sums for a remote holder are laid out like the inbox, since they are its
 * transpose.
 *
 * Sums. dK/dV of holder h: on each node n, for every run of rows with one set of contributing
 * ranks, one plan_sum. Where n is not h's node, its terms are the ranks of n in rank order and its
 * destination row is an inbox row of n (the node's partial, sent to h's node once). On h's node the
 * destination is a holder row, and the terms are, in node order, the local ranks' return rows in
 * rank order at the place of the own node and one partial for each other node. Runs that nobody
 * contributes to have no terms: the sum is zero. h's own share is not among the terms: h adds it
 * itself.
 */
#ifndef SEQSYNC_PLAN_PLAN_H
#define SEQSYNC_PLAN_PLAN_H

#include <seqsync/types.h>

/* Tiles of a plan, which bounds its memory: an input that may have more is refused. Zigzag
 * placement cuts every sequence into twice as many chunks as there are ranks, and tiles are pairs
 * of chunks.
 */
#define PLAN_TILES_MAX (1 << 24)

struct plan_input {
    const struct seqsync_batch *batch; /* borrowed during the call */
    const uint32_t *rank_nodes;        /* node of each rank, ascending is not required */
    uint32_t rank_count;               /* 1 .. SEQSYNC_RANKS_MAX */
    uint32_t node_count;               /* 1 .. SEQSYNC_NODES_MAX */
};

/* Rows of one holder that a rank or a node needs, or that move. */
struct plan_range {
    int64_t holder_row; /* first row in the holder's shard */
    int64_t row;        /* first row in the destination: return row (needs) or inbox row (moves) */
    int64_t count;      /* >= 1 */
};

/* What one rank does in one index space. */
struct plan_part {
    struct seqsync_chunk *chunks; /* what it holds, in row order */
    struct seqsync_tile *tiles;   /* in the order of computation: grouped by source, in a group by
                                     query chunk, then key chunk; at most one for each pair */
    struct seqsync_source
        *sources;             /* where keys come from, in the order of use: itself, then the other
                                 ranks of its node, then the rest, both in ring order after it */
    struct plan_range *needs; /* of all sources but itself, in source order; row = return row */
    uint32_t chunk_count;
    uint32_t tile_count;
    uint32_t source_count;
    uint32_t need_count;
    int64_t rows;        /* tokens held; with a replicated context, all context tokens */
    int64_t return_rows; /* rows of the return buffer */
    int64_t area;        /* query-key pairs it computes */
};

/* K/V rows of @holder that go to @node's inbox. Sorted by (space, holder, node). */
struct plan_move {
    uint32_t holder; /* rank */
    uint32_t node;   /* never the holder's own */
    uint32_t first_range;
    uint32_t range_count;
    int64_t rows;      /* total over the ranges */
    int64_t inbox_row; /* first row of this holder's rows in the node's inbox */
};

struct plan_term {
    uint32_t from_node; /* 1: @from is a node, @row an inbox row of that node's partial; 0: a rank,
                           @row its return row */
    uint32_t from;
    int64_t row;
};

/* dst[row .. row + count] = sum of the terms in order. Sorted by (space, holder, node, row). */
struct plan_sum {
    uint32_t holder;
    uint32_t node; /* who sums */
    uint32_t first_term;
    uint32_t term_count; /* 0: the rows are zero */
    int64_t row;         /* holder row on the holder's node, inbox row elsewhere */
    int64_t count;
};

struct plan_space {
    struct plan_part *parts;   /* [rank_count] */
    struct plan_move *moves;   /* [move_count] */
    struct plan_range *ranges; /* of the moves */
    struct plan_sum *sums;     /* [sum_count] */
    struct plan_term *terms;
    int64_t *inbox_rows; /* [node_count] */
    uint32_t move_count;
    uint32_t range_count;
    uint32_t sum_count;
    uint32_t term_count;
    int64_t total; /* tokens of the space: the sum of all sequence (or context) lengths */
};

struct plan {
    struct plan_space spaces[SEQSYNC_SPACES_N];
    struct seqsync_sequence *sequences; /* copy of the batch */
    int64_t *offsets[SEQSYNC_SPACES_N]; /* [sequence_count + 1]: global index of each sequence's
                                           first token */
    uint32_t *rank_nodes;
    uint32_t sequence_count;
    uint32_t rank_count;
    uint32_t node_count;
    uint32_t placement;    /* as decided: contiguous or zigzag */
    uint32_t context_role; /* of the batch */
    uint64_t seed;
    uint64_t batch_digest;
    uint64_t digest; /* over everything above */
};

/*
 * NULL if @input is legal, else a static sentence naming the field and the limit. Any thread.
 */
const char *plan_input_check(const struct plan_input *input);

/*
 * Makes the plan of a legal input; asserts legality. @batch_digest is batch_digest() of
 * proto/batch.h and is only carried along. The caller frees it. -ENOMEM. Any thread; no global
 * state.
 */
int plan_new(const struct plan_input *input, uint64_t batch_digest, struct plan **ret);

/* Accepts NULL; returns NULL. */
struct plan *plan_free(struct plan *plan);

/*
 * Checks invariants 1 and 6 with code that shares nothing with plan_new(): every token held once,
 * tiles cover exactly the pairs the mask shows and each once, needs are what the tiles read, moves
 * are the union of needs per node, sums cover every holder row once with the right terms. NULL if
 * it holds, else a static sentence naming the violation. O(tiles + pairs of chunks); allocates
 * scratch: -ENOMEM is reported as "out of memory".
 */
const char *plan_validate(const struct plan *plan, const struct plan_input *input);

#endif
