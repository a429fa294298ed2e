/*
 * The heat map of `shards --heat`: who reads whose keys. One row for each query rank, one cell for
 * each source rank or, where the terminal is too narrow for all of them, for each run of several.
 */
#ifndef SEQSYNC_CTL_HEAT_H
#define SEQSYNC_CTL_HEAT_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"
#include "proto/admin.pb-c.h"

/* @columns: characters of a line. Prints map and scale. Returns EX_OK, or fills @error. */
int heat_print(const struct ctl *ctl, const Seqsync__Admin__Shards *shards, uint32_t columns,
               struct error *error);

#endif
