/*
 * Need-sets: which rows of which holder a rank reads. A rank's needs of one holder are the union of
 * the key rows of its tiles: the mask's geometry decides, nothing else is ever asked for.
 *
 * The needs of all ranks are also kept turned around, by holder, for the moves and sums that serve
 * them.
 */
#ifndef SEQSYNC_PLAN_NEED_H
#define SEQSYNC_PLAN_NEED_H

#include "daemon/plan/plan.h"

/* Rows of one holder that one rank needs. */
struct need {
    int64_t holder_row;
    int64_t return_row;
    int64_t count;
    uint32_t rank;
    uint32_t node; /* of @rank */
};

/* All needs of a space, by holder, then node, then rank, then row. */
struct need_index {
    struct need *needs;
    uint32_t *holder_first; /* [rank_count + 1] */
};

/* Fills needs, return rows and the sources' return rows of every part of @space, whose tiles still
 * carry holder rows. 0, -ENOMEM. */
int need_init(struct plan *plan, uint32_t space);

/* The caller calls need_index_deinit(@ret) in any case. 0, -ENOMEM. */
int need_index_init(struct need_index *ret, const struct plan *plan, uint32_t space);
void need_index_deinit(struct need_index *index);

#endif
