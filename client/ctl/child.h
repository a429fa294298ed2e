/*
 * One process that the guard started: its own process group, SIGKILL when its parent dies, standard
 * input from /dev/null, no descriptor but 0, 1 and 2.
 */
#ifndef SEQSYNC_CTL_CHILD_H
#define SEQSYNC_CTL_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define CHILD_ENVIRONMENT_MAX 16

struct child_request {
    char *const *argv;                           /* argv[0] is looked up in PATH */
    int out;                                     /* becomes 1 */
    int err;                                     /* becomes 2 */
    const char *set[CHILD_ENVIRONMENT_MAX];      /* "NAME=VALUE", NULL-ended */
    const char *fallback[CHILD_ENVIRONMENT_MAX]; /* the same, unless NAME is set */
    const char *unset[CHILD_ENVIRONMENT_MAX];    /* "NAME", or "NAME*" for a prefix */
    const sigset_t *mask;                        /* of the child */
    const struct rlimit *files;                  /* RLIMIT_NOFILE of the child */
};

struct child {
    pid_t pid; /* 0 = not started */
    bool ended;
    int status; /* of waitpid(), when it ended */
};

/* Returns when the program runs: 0, or a negative errno of fork or exec; then there is no child. */
int child_start(struct child *child, const struct child_request *request);

/* To the process alone, or to its group. Does nothing before the start and after the end. */
void child_signal(const struct child *child, int signum);
void child_signal_group(const struct child *child, int signum);

bool child_is_running(const struct child *child);

/* As a shell has it: the exit status, or 128 + signal. */
int child_exit_status(const struct child *child);

/*
 * Kills all children of this process, whoever started them, and those that become its children
 * thereby, until there are none. For a child subreaper at its end.
 */
void child_kill_all(void);

#endif
