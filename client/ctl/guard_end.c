/* Noticing ends, and making them. */
#include "client/ctl/guard_private.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_S 1000000000u
#define TERM_GRACE_NS (2 * (uint64_t)NS_PER_S)    /* from SIGTERM to SIGKILL of workers */
#define DAEMON_GRACE_NS (10 * (uint64_t)NS_PER_S) /* the same of daemons, which tell each other */
#define LOG_TAIL_BYTES 4096
#define LOG_TAIL_LINES 8

void guard_say(struct guard *guard, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    size_t cut = length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1;
    output_line(&guard->output, OUTPUT_ERR, "seqctl: ", text, cut);
}

void guard_fail(struct guard *guard, int exit_status)
{
    if (guard->exit_status == 0) {
        guard->exit_status = exit_status;
    }
    if (guard->state == GUARD_STARTING || guard->state == GUARD_RUNNING) {
        guard->state = GUARD_ENDING;
        guard->stage = 0;
        guard->deadline_ns = guard_now_ns() + guard->run->grace_ns;
    }
}

/* The last lines of a daemon's log, which usually say why it went. */
static void guard_tell_log(struct guard *guard, uint32_t node)
{
    char path[RUNDIR_PATH_MAX];
    char letter[4];
    char text[LOG_TAIL_BYTES + 1];
    char prefix[32];
    FILE *log = fopen(rundir_log(guard->request->dir, guard->run, path, node), "re");
    if (!log) {
        return;
    }
    if (fseek(log, -LOG_TAIL_BYTES, SEEK_END)) {
        rewind(log);
    }
    size_t length = fread(text, 1, LOG_TAIL_BYTES, log);
    fclose(log);
    while (length && text[length - 1] == '\n') {
        length--;
    }
    size_t first = length;
    for (uint32_t lines = 0; first > 0; first--) {
        if (text[first - 1] == '\n' && ++lines == LOG_TAIL_LINES) {
            break;
        }
    }
    snprintf(prefix, sizeof(prefix), "  node-%s: ", rundir_node_letter(letter, node));
    while (first < length) {
        text[length] = '\0';
        size_t count = strcspn(text + first, "\n");
        output_line(&guard->output, OUTPUT_ERR, prefix, text + first, count);
        first += count + 1;
    }
}

static void guard_on_daemon_end(struct guard *guard, uint32_t node)
{
    struct guard_daemon *daemon = &guard->daemons[node];
    char letter[4];
    int status = child_exit_status(&daemon->child);
    bool in_time = guard->state == GUARD_DRAINING || guard->state == GUARD_DONE;
    bool by_us = status == 128 + SIGTERM && !daemon->ready; /* before it could take the signal */
    if (daemon->reported || (in_time && (status == 0 || by_us))) {
        return;
    }
    daemon->reported = true;
    if (WIFSIGNALED(daemon->child.status)) {
        guard_say(guard, "the daemon node-%s was ended by signal %d (%s)",
                  rundir_node_letter(letter, node), WTERMSIG(daemon->child.status),
                  strsignal(WTERMSIG(daemon->child.status)));
    } else {
        guard_say(guard, "the daemon node-%s ended with status %d%s",
                  rundir_node_letter(letter, node), status, in_time ? "" : " before the job did");
    }
    guard_tell_log(guard, node);
    if (guard->state == GUARD_STARTING) {
        guard_fail(guard, status == EX_CONFIG ? EX_CONFIG : EX_UNAVAILABLE);
    } else if (in_time && guard->exit_status == 0 && !guard->interrupted) {
        guard->exit_status = EX_SOFTWARE; /* work was done, but a daemon cannot end properly */
    } else if (guard->state == GUARD_RUNNING) {
        /* The workers notice and fail, and theirs is the better status. */
        guard->daemon_lost = true;
        guard_fail(guard, 0);
    }
}

static void guard_on_worker_end(struct guard *guard, uint32_t rank)
{
    struct guard_worker *worker = &guard->workers[rank];
    char letter[4];
    int status = child_exit_status(&worker->child);
    if (status == 0 || worker->reported) {
        return;
    }
    worker->reported = true;
    if (guard->state == GUARD_ENDING && guard->stage > 0) {
        return; /* by our force, so it is not what went wrong */
    }
    /* Who fails because another did, or because it was told to end, is no news. */
    if (guard->exit_status == 0 && !guard->interrupted) {
        if (WIFSIGNALED(worker->child.status)) {
            guard_say(guard, "rank %u on node-%s was ended by signal %d (%s)", rank,
                      rundir_node_letter(letter, worker->node), WTERMSIG(worker->child.status),
                      strsignal(WTERMSIG(worker->child.status)));
        } else {
            guard_say(guard, "rank %u on node-%s ended with status %d", rank,
                      rundir_node_letter(letter, worker->node), status);
        }
    }
    guard_fail(guard, status);
}

void guard_reap(struct guard *guard)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            return;
        }
        for (uint32_t i = 0; i < guard->daemon_count; i++) {
            struct child *child = &guard->daemons[i].child;
            if (child->pid == pid && !child->ended) {
                child->ended = true;
                child->status = status;
                guard_on_daemon_end(guard, i);
            }
        }
        for (uint32_t i = 0; i < guard->worker_count; i++) {
            struct child *child = &guard->workers[i].child;
            if (child->pid == pid && !child->ended) {
                child->ended = true;
                child->status = status;
                guard_on_worker_end(guard, i);
            }
        }
    }
}

static bool guard_workers_are_running(const struct guard *guard)
{
    for (uint32_t i = 0; i < guard->worker_count; i++) {
        if (child_is_running(&guard->workers[i].child)) {
            return true;
        }
    }
    return false;
}

static bool guard_daemons_are_running(const struct guard *guard)
{
    for (uint32_t i = 0; i < guard->daemon_count; i++) {
        if (child_is_running(&guard->daemons[i].child)) {
            return true;
        }
    }
    return false;
}

static void guard_signal_workers(struct guard *guard, int signum)
{
    for (uint32_t i = 0; i < guard->worker_count; i++) {
        child_signal_group(&guard->workers[i].child, signum);
    }
}

static void guard_signal_daemons(struct guard *guard, int signum)
{
    for (uint32_t i = 0; i < guard->daemon_count; i++) {
        child_signal(&guard->daemons[i].child, signum);
    }
}

static void guard_drain(struct guard *guard, uint64_t now_ns)
{
    guard->state = GUARD_DRAINING;
    guard->stage = 0;
    guard->deadline_ns = now_ns + DAEMON_GRACE_NS;
    guard_signal_daemons(guard, SIGTERM);
}

/* The grace is over: SIGTERM; and after that SIGKILL. */
static void guard_force_workers(struct guard *guard, uint64_t now_ns)
{
    if (guard->stage == 0) {
        guard_say(guard, "ending the workers that are left");
        guard_signal_workers(guard, SIGTERM);
    } else {
        guard_signal_workers(guard, SIGKILL);
    }
    guard->stage++;
    guard->deadline_ns = now_ns + TERM_GRACE_NS;
}

void guard_advance(struct guard *guard, uint64_t now_ns)
{
    bool late = now_ns >= guard->deadline_ns;
    switch (guard->state) {
    case GUARD_STARTING:
        if (late) {
            guard_say(guard, "the daemons are not ready in time");
            for (uint32_t i = 0; i < guard->daemon_count; i++) {
                if (!guard->daemons[i].ready) {
                    guard_tell_log(guard, i);
                }
            }
            guard_fail(guard, EX_UNAVAILABLE);
        }
        return;
    case GUARD_RUNNING:
        if (!guard_workers_are_running(guard)) {
            guard_drain(guard, now_ns);
        }
        return;
    case GUARD_ENDING:
        if (!guard_workers_are_running(guard)) {
            guard_drain(guard, now_ns);
        } else if (late) {
            guard_force_workers(guard, now_ns);
        }
        return;
    case GUARD_DRAINING:
        if (!guard_daemons_are_running(guard)) {
            guard->state = GUARD_DONE;
        } else if (late) {
            guard_say(guard, "a daemon does not end: killing it");
            guard_signal_daemons(guard, SIGKILL);
            guard->deadline_ns = now_ns + DAEMON_GRACE_NS;
        }
        return;
    case GUARD_DONE:
        return;
    }
}

void guard_interrupt(struct guard *guard, int signum)
{
    bool again = guard->interrupted != 0;
    if (!again) {
        guard->interrupted = signum;
    }
    if (guard->state == GUARD_DRAINING || guard->state == GUARD_DONE) {
        guard_signal_daemons(guard, again ? SIGKILL : SIGTERM);
        guard->output.broken = guard->output.broken || again;
        return;
    }
    if (again) {
        guard_signal_workers(guard, SIGKILL);
    } else {
        guard_signal_workers(guard, signum);
    }
    guard_fail(guard, 128 + signum);
}
