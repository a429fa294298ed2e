/*
 * The verb `run`: daemons and workers of one job on this machine, with nothing left behind.
 *
 * Processes: the **front** is what the user started; it only forwards signals, waits and removes
 * the directory. It forks the **guard** (guard.h), which starts and watches daemons and workers.
 * Both are child subreapers, so whatever a worker started and forgot becomes theirs and is ended.
 * If either of the two is killed, the other ends everything and removes the directory; daemons and
 * workers have SIGKILL as parent-death signal besides.
 */
#ifndef SEQSYNC_CTL_RUN_H
#define SEQSYNC_CTL_RUN_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"

int run_run(struct ctl *ctl, struct error *error);

#endif
