/*
 * Real programs under test: started, listened to, waited for with a deadline, and always ended.
 *
 * A process has its own process group and SIGKILL as parent-death signal, so that it does not
 * outlive the test program, however that ends. Its output is captured in full, up to a bound.
 *
 * Waits read the outputs of *all* processes of this program meanwhile, so that none of them stops
 * at a full pipe. One thread.
 */
#ifndef SEQSYNC_TESTS_SUPPORT_PROC_H
#define SEQSYNC_TESTS_SUPPORT_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_OUTPUT_MAX (4 * 1024 * 1024) /* bytes kept of each stream; what follows is dropped */

struct proc;

struct proc_options {
    const char *const *argv;        /* NULL-ended; argv[0] is looked up in PATH */
    const char *const *environment; /* "NAME=VALUE" on top of ours, "NAME" removes; NULL-ended; or
                                       NULL */
    const char *name;               /* in messages; NULL = argv[0] */
    const char *netns;              /* a network namespace of netns.h; NULL = ours */
    bool same_stderr;               /* standard error goes to the same stream as output */
    bool show;                      /* copies everything to our standard error */
    bool keep_group;                /* stays in our process group, for tests of terminal signals */
    const char *folder;             /* working directory; NULL = ours */
    int terminal_fd;                /* > 0: becomes 0, 1 and 2 instead of pipes */
};

/* Ends the test program if the process cannot be started. */
struct proc *proc_start(const struct proc_options *options);

/* Starts @argv with ours for everything else. */
struct proc *proc_start_argv(const char *const *argv);

/* Kills its group if it still runs, waits, frees. Accepts NULL; returns NULL. */
struct proc *proc_free(struct proc *proc);

pid_t proc_pid(const struct proc *proc);

/* What it wrote so far, NUL-ended; valid until the next wait. */
const char *proc_out(const struct proc *proc);
const char *proc_err(const struct proc *proc);

void proc_signal(const struct proc *proc, int signum);

/* Whether it has not ended; does not wait. */
bool proc_is_running(struct proc *proc);

/*
 * Waits until a whole line of output or error contains @text, counting from @from, which may be
 * NULL = from the start; *from then stands behind that line. false: the deadline passed, or all
 * output ended; what was written so far is printed to our standard error.
 */
bool proc_wait_line(struct proc *proc, const char *text, size_t *from, uint32_t timeout_ms);

/*
 * Waits for its end. *ret_status: the exit status, or 128 + signal. false: the deadline passed;
 * what was written so far is printed.
 */
bool proc_wait_exit(struct proc *proc, uint32_t timeout_ms, int *ret_status);

/* Reads what all processes wrote, for @timeout_ms or until something was read. */
void proc_pump(uint32_t timeout_ms);

/* Polls @condition, reading outputs, until it is true. false: the deadline passed. */
bool proc_wait_until(bool (*condition)(void *ctx), void *ctx, uint32_t timeout_ms);

/* Starts, waits, frees. Returns the exit status, -1 = not ended in time. *ret_out (may be NULL):
 * the output and error together, which the caller frees. */
int proc_run(const char *const *argv, uint32_t timeout_ms, char **ret_out);

/* --- what a test may want to know about the machine --- */

/* How many processes have @text in their command line or environment, ourselves not counted. */
uint32_t proc_count_matching(const char *text);

uint64_t proc_now_ms(void);

#endif
