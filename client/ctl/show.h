/*
 * The verbs that ask a daemon one question and show the answer. Each fills @error on failure and
 * returns the exit status.
 */
#ifndef SEQSYNC_CTL_SHOW_H
#define SEQSYNC_CTL_SHOW_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"

#include <jansson.h>

int status_run(struct ctl *ctl, struct error *error);
int nodes_run(struct ctl *ctl, struct error *error);
int jobs_run(struct ctl *ctl, struct error *error);
int shards_run(struct ctl *ctl, struct error *error);
int version_run(struct ctl *ctl, struct error *error);

/* Prints an answer that was built for --json, and frees it. Returns EX_OK, or fills @error. */
int show_json(const struct ctl *ctl, json_t *root, struct error *error);

#endif
