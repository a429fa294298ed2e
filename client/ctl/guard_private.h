/* What the files of the guard share: its state. See guard.h. */
#ifndef SEQSYNC_CTL_GUARD_PRIVATE_H
#define SEQSYNC_CTL_GUARD_PRIVATE_H

#include "client/ctl/child.h"
#include "client/ctl/error.h"
#include "client/ctl/guard.h"
#include "client/ctl/output.h"

#include <seqsync/types.h>

enum guard_state {
    GUARD_STARTING,
    GUARD_RUNNING,
    GUARD_ENDING,
    GUARD_DRAINING,
    GUARD_DONE,
};

struct guard_daemon {
    struct child child;
    int notify_fd; /* -1 = ready, or not started */
    bool ready;
    bool reported; /* its untimely end was told */
};

struct guard_worker {
    struct child child;
    uint32_t node;
    uint32_t local_rank;
    int fds[2]; /* its standard output and error; -1 = closed */
    struct lines lines[2];
    bool reported;
};

struct guard {
    const struct guard_request *request;
    const struct ctl_run *run;
    enum guard_state state;
    uint64_t deadline_ns; /* of the state's present stage */
    uint32_t stage;       /* of ENDING and DRAINING: how much force was used so far */
    int signal_fd;
    int exit_status;  /* of the first failure; 0 = none yet */
    int interrupted;  /* the signal that the user sent; 0 = none */
    bool front_lost;  /* nobody waits for us any more */
    bool daemon_lost; /* one ended before the workers did */
    struct output output;
    uint32_t daemon_count;
    uint32_t worker_count;
    struct guard_daemon daemons[SEQSYNC_NODES_MAX];
    struct guard_worker *workers; /* [worker_count] */
};

uint64_t guard_now_ns(void);

/* guard_start.c: EX_OK, or fills @error. */
int guard_start_daemon(struct guard *guard, uint32_t node, struct error *error);
int guard_start_workers(struct guard *guard, struct error *error);

/* Reads what a daemon told its notify socket. */
void guard_read_notify(struct guard_daemon *daemon);

/* guard_end.c */

/* Something failed: remembers the first status, gives the others their grace. */
void guard_fail(struct guard *guard, int exit_status);

/* Collects ended children and reacts. */
void guard_reap(struct guard *guard);

/* The state's deadline has passed, or the state has nothing left to wait for: goes on. */
void guard_advance(struct guard *guard, uint64_t now_ns);

/* A signal from the user, by way of the front. */
void guard_interrupt(struct guard *guard, int signum);

/* "[rank 3 on node-b] text" on standard error, in order with the workers' lines. */
void guard_say(struct guard *guard, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
