/*
 * The guard of one `seqctl run`: starts the daemons, waits until they are ready, starts the
 * workers, passes on what they print, and ends everything. One thread, one poll() loop; every state
 * has a deadline:
 *
 *     STARTING  daemons come up                    -> RUNNING, or ENDING when one does not
 *     RUNNING   workers work                       -> DRAINING when all have ended well
 *     ENDING    something failed or a signal came: the others may end by themselves until the grace
 *               is over, then SIGTERM, then SIGKILL -> DRAINING
 *     DRAINING  daemons get SIGTERM, then SIGKILL  -> DONE
 */
#ifndef SEQSYNC_CTL_GUARD_H
#define SEQSYNC_CTL_GUARD_H

#include "client/ctl/ctl.h"
#include "client/ctl/rundir.h"

#include <signal.h>
#include <sys/resource.h>

struct guard_request {
    const struct ctl *ctl;
    const struct rundir *dir;
    const char *daemon; /* path of seqsyncd */
    const char *job;
    int front_fd;               /* pidfd of the front; its end is ours */
    const sigset_t *mask;       /* of the children; ours has all blocked */
    const struct rlimit *files; /* of the children */
};

/* Runs the job; returns the exit status for the front. Prints its own errors. */
int guard_run(const struct guard_request *request);

#endif
