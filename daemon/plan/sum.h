/*
 * Sums: how dK/dV that were computed elsewhere come together, first inside each node, then at the
 * holder's. The rows are cut where the set of contributors changes, so that every run is added up
 * by one loop over whole rows, always in the same order.
 */
#ifndef SEQSYNC_PLAN_SUM_H
#define SEQSYNC_PLAN_SUM_H

#include "daemon/plan/need.h"
#include "daemon/plan/plan.h"

/* Fills sums and terms of @space, whose moves are made. 0, -ENOMEM. */
int sum_init(struct plan *plan, uint32_t space, const struct need_index *index);

#endif
