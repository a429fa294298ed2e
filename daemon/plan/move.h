/*
 * Moves: what each node must receive of each remote holder, the union of what its ranks need, sent
 * once however many of them need it.
 */
#ifndef SEQSYNC_PLAN_MOVE_H
#define SEQSYNC_PLAN_MOVE_H

#include "daemon/plan/need.h"
#include "daemon/plan/plan.h"

/* Fills moves, ranges and inbox rows of @space, and lets the sources and tiles that read from an
 * inbox refer to it. 0, -ENOMEM. */
int move_init(struct plan *plan, uint32_t space, const struct need_index *index);

#endif
