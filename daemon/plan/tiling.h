/*
 * The tiles of every rank: for each of its query chunks and each key chunk that some of the queries
 * see, the smallest rectangle around the pairs seen. Tiles are grouped by who holds the keys: the
 * rank itself first, so that there is work while others' keys are on their way, then the other
 * ranks of its node, then the rest, each in ring order from the rank on, so that not all ranks read
 * from the same one. Within a group they ascend by query chunk, then by key chunk.
 */
#ifndef SEQSYNC_PLAN_TILING_H
#define SEQSYNC_PLAN_TILING_H

#include "daemon/plan/placement.h"
#include "daemon/plan/plan.h"

/*
 * Fills tiles, sources and area of the parts of @space, whose keys lie as @keys says; the chunks of
 * the token space must be there. Tiles get the holder's row as k_row, whether local or not, and
 * return_row -1; sources get who they are, and otherwise the view of a local one: need_init() and
 * move_init() set the rest. 0, -ENOMEM.
 */
int tiling_init(struct plan *plan, uint32_t space, const struct placement *keys);

#endif
