/*
 * What the parts of the validator share. Nothing of this is used by the planner, and the validator
 * uses nothing of the planner's but the structs of plan.h: an error of arithmetic would have to be
 * made twice to pass. Every index found in a plan is checked before it is followed, so that a
 * damaged plan is refused, not read out of bounds.
 */
#ifndef SEQSYNC_PLAN_VALIDATE_H
#define SEQSYNC_PLAN_VALIDATE_H

#include <stdbool.h>

#include "daemon/plan/plan.h"

/* A run of a part's needs that are of one holder. */
struct need_run {
    uint32_t first;
    uint32_t count;
};

/* One space under examination. */
struct validation {
    const struct plan *plan;
    const struct plan_input *input;
    const struct plan_space *space;
    const int64_t *offsets; /* of the space, recomputed from the batch */
    struct need_run *runs;  /* [rank_count * rank_count]: of rank, of holder */
    int64_t *open_rows;     /* [rank_count * node_count]: rows x contributors of holder, of node,
                               that are needed and not yet summed */
    uint32_t index;         /* enum seqsync_space */
    bool is_replicated;
};

/* Chunks hold every token once (or, replicated, everywhere), in rows without gaps. */
const char *validate_chunks(const struct validation *v);

/* Tiles show exactly the mask's pairs, each once, and sources are in order. */
const char *validate_tiles(const struct validation *v);

/* Needs are what tiles read; tiles return where needs say. Fills v->runs and v->open_rows. */
const char *validate_needs(const struct validation *v);

/* Moves are sorted, fill the inboxes without gaps, and hold what tiles read from them. */
const char *validate_moves(const struct validation *v);

/* Sums cover all rows once, and their terms are all needs and moves, each once and in order. */
const char *validate_sums(const struct validation *v);

/* True if [first, first + count) is not empty and lies in [begin, end). */
static inline bool validate_within(int64_t first, int64_t count, int64_t begin, int64_t end)
{
    return count >= 1 && first >= begin && first < end && count <= end - first;
}

/* The one of ascending, disjoint @ranges that holds all of the holder's rows [row, row + count), or
 * NULL. */
const struct plan_range *validate_find(const struct plan_range *ranges, uint32_t range_count,
                                       int64_t row, int64_t count);

/* The move of @holder's rows to @node, or NULL. Moves must be sorted. */
const struct plan_move *validate_find_move(const struct plan_space *space, uint32_t holder,
                                           uint32_t node);

/* The holder's row of a tile's first key, by its source's view; -1 if the view has no such row. */
int64_t validate_holder_row(const struct validation *v, uint32_t rank,
                            const struct seqsync_tile *tile);

#endif
