#include "client/ctl/guard_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define START_TIMEOUT_NS 30000000000u /* until all daemons are ready */
#define READ_BYTES (64 * 1024)

uint64_t guard_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- output of the workers --- */

static void guard_close_stream(struct guard_worker *worker, int i)
{
    if (worker->fds[i] >= 0) {
        lines_end(&worker->lines[i]);
        close(worker->fds[i]);
        worker->fds[i] = -1;
    }
}

/* Reads what is there, one buffer at most; false if there is no more for now. */
static bool guard_read_stream(struct guard *guard, struct guard_worker *worker, int i)
{
    static char bytes[READ_BYTES]; /* one thread, and too large for a stack */
    ssize_t count = read(worker->fds[i], bytes, sizeof(bytes));
    if (count > 0) {
        lines_feed(&worker->lines[i], bytes, (size_t)count);
        return !output_is_full(&guard->output);
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        guard_close_stream(worker, i);
    }
    return false;
}

/*
 * A worker has ended: what it wrote last is in its pipes. Processes that it left behind may hold
 * them open for ever, so only what is there now is read.
 */
static void guard_finish_streams(struct guard *guard)
{
    for (uint32_t rank = 0; rank < guard->worker_count; rank++) {
        for (int i = 0; i < 2; i++) {
            while (guard->workers[rank].fds[i] >= 0 &&
                   guard_read_stream(guard, &guard->workers[rank], i)) {
            }
        }
    }
}

static void guard_close_streams(struct guard *guard)
{
    for (uint32_t rank = 0; rank < guard->worker_count; rank++) {
        for (int i = 0; i < 2; i++) {
            guard_close_stream(&guard->workers[rank], i);
            lines_deinit(&guard->workers[rank].lines[i]);
        }
    }
}

/* --- the poll loop --- */

static void guard_on_signals(struct guard *guard)
{
    struct signalfd_siginfo info;
    while (read(guard->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) {
            guard_interrupt(guard, (int)info.ssi_signo);
        }
    }
    guard_reap(guard);
}

/* The front was killed: nobody reads our status, but everything must end. */
static void guard_on_front_end(struct guard *guard)
{
    if (!guard->front_lost) {
        guard->front_lost = true;
        guard_interrupt(guard, SIGHUP);
        guard->deadline_ns = guard_now_ns(); /* without grace */
    }
}

static void guard_go_on(struct guard *guard)
{
    struct error error = {.exit_status = EX_OK};
    for (uint32_t i = 0; i < guard->daemon_count; i++) {
        if (!guard->daemons[i].ready) {
            return;
        }
    }
    guard->state = GUARD_RUNNING;
    if (!guard->request->ctl->quiet) {
        guard_say(guard, "%u daemon%s ready; seqctl --admin %s/a.admin status", guard->daemon_count,
                  guard->daemon_count == 1 ? " is" : "s are", guard->request->dir->path);
    }
    if (guard_start_workers(guard, &error)) {
        error_print(guard->request->ctl, &error);
        guard_fail(guard, error.exit_status);
        guard->deadline_ns = guard_now_ns(); /* what has started need not wait for the rest */
    }
}

/* How long poll() may wait, in ms; -1 = for ever. */
static int guard_timeout(const struct guard *guard, uint64_t now_ns)
{
    if (guard->state == GUARD_RUNNING) {
        return -1;
    }
    uint64_t left = guard->deadline_ns > now_ns ? guard->deadline_ns - now_ns : 0;
    return (int)((left + 999999) / 1000000);
}

/* Whom poll() found ready. */
enum guard_source {
    SOURCE_SIGNAL,
    SOURCE_FRONT,
    SOURCE_OUTPUT,
    SOURCE_NOTIFY, /* index: node */
    SOURCE_STREAM, /* index: 2 * rank + stream */
};

struct guard_poll {
    struct pollfd *entries;
    struct {
        enum guard_source source;
        uint32_t index;
    } * owners;
    nfds_t count;
};

static void guard_poll_add(struct guard_poll *polls, int fd, enum guard_source source,
                           uint32_t index)
{
    polls->entries[polls->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    polls->owners[polls->count].source = source;
    polls->owners[polls->count].index = index;
    polls->count++;
}

static void guard_poll_fill(struct guard_poll *polls, const struct guard *guard)
{
    struct pollfd output;
    polls->count = 0;
    guard_poll_add(polls, guard->signal_fd, SOURCE_SIGNAL, 0);
    if (!guard->front_lost) {
        guard_poll_add(polls, guard->request->front_fd, SOURCE_FRONT, 0);
    }
    if (output_poll(&guard->output, &output)) {
        guard_poll_add(polls, output.fd, SOURCE_OUTPUT, 0);
        polls->entries[polls->count - 1].events = POLLOUT;
    }
    for (uint32_t i = 0; i < guard->daemon_count; i++) {
        if (guard->daemons[i].notify_fd >= 0) {
            guard_poll_add(polls, guard->daemons[i].notify_fd, SOURCE_NOTIFY, i);
        }
    }
    for (uint32_t i = 0; i < 2 * guard->worker_count && !output_is_full(&guard->output); i++) {
        if (guard->workers[i / 2].fds[i % 2] >= 0) {
            guard_poll_add(polls, guard->workers[i / 2].fds[i % 2], SOURCE_STREAM, i);
        }
    }
}

static void guard_dispatch(struct guard *guard, const struct guard_poll *polls)
{
    for (nfds_t i = 0; i < polls->count; i++) {
        uint32_t index = polls->owners[i].index;
        if (polls->entries[i].revents == 0) {
            continue;
        }
        switch (polls->owners[i].source) {
        case SOURCE_SIGNAL:
            guard_on_signals(guard);
            break;
        case SOURCE_FRONT:
            guard_on_front_end(guard);
            break;
        case SOURCE_OUTPUT:
            break; /* flushed every turn */
        case SOURCE_NOTIFY:
            guard_read_notify(&guard->daemons[index]);
            break;
        case SOURCE_STREAM:
            if (guard->workers[index / 2].fds[index % 2] >= 0) {
                guard_read_stream(guard, &guard->workers[index / 2], (int)(index % 2));
            }
            break;
        }
    }
}

/* A reader that went away ends the job, as SIGPIPE would have ended a plain program. */
static void guard_check_output(struct guard *guard)
{
    output_flush(&guard->output);
    if (guard->output.broken && !guard->interrupted && guard->state < GUARD_DRAINING) {
        guard_interrupt(guard, SIGPIPE);
    }
}

static void guard_loop(struct guard *guard, struct guard_poll *polls)
{
    while (guard->state != GUARD_DONE) {
        guard_poll_fill(polls, guard);
        int r = poll(polls->entries, polls->count, guard_timeout(guard, guard_now_ns()));
        if (r > 0) {
            guard_dispatch(guard, polls);
        }
        if (guard->state == GUARD_STARTING) {
            guard_go_on(guard);
        }
        enum guard_state before = guard->state;
        guard_advance(guard, guard_now_ns());
        if (before != guard->state && guard->state == GUARD_DRAINING) {
            guard_finish_streams(guard);
        }
        guard_check_output(guard);
    }
}

/* Everything has ended; what is queued may still wait for a slow reader, or for a second signal. */
static void guard_flush_all(struct guard *guard)
{
    struct pollfd entries[3] = {{.fd = guard->signal_fd, .events = POLLIN},
                                {.fd = guard->request->front_fd, .events = POLLIN}};
    while (!guard->front_lost && output_poll(&guard->output, &entries[2])) {
        if (poll(entries, 3, -1) > 0) {
            struct signalfd_siginfo info;
            while (entries[0].revents &&
                   read(guard->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
                if (info.ssi_signo != SIGCHLD) {
                    return;
                }
            }
            if (entries[1].revents) {
                return;
            }
            output_flush(&guard->output);
        }
    }
}

static bool guard_open(struct guard *guard, struct guard_poll *polls)
{
    sigset_t signals;
    sigemptyset(&signals);
    static const int wanted[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        sigaddset(&signals, wanted[i]);
    }
    size_t entries = 3 + guard->daemon_count + 2 * (size_t)guard->worker_count;
    guard->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    guard->workers = calloc(guard->worker_count, sizeof(guard->workers[0]));
    polls->entries = calloc(entries, sizeof(polls->entries[0]));
    polls->owners = calloc(entries, sizeof(polls->owners[0]));
    if (guard->signal_fd < 0 || !guard->workers || !polls->entries || !polls->owners) {
        return false;
    }
    for (uint32_t i = 0; i < guard->worker_count; i++) {
        guard->workers[i].fds[0] = guard->workers[i].fds[1] = -1;
    }
    for (uint32_t i = 0; i < guard->daemon_count; i++) {
        guard->daemons[i].notify_fd = -1;
    }
    return true;
}

static void guard_start(struct guard *guard)
{
    struct error error = {.exit_status = EX_OK};
    guard->state = GUARD_STARTING;
    guard->deadline_ns = guard_now_ns() + START_TIMEOUT_NS;
    for (uint32_t i = 0; i < guard->daemon_count; i++) {
        if (guard_start_daemon(guard, i, &error)) {
            error_print(guard->request->ctl, &error);
            guard_fail(guard, error.exit_status);
            return;
        }
    }
}

int guard_run(const struct guard_request *request)
{
    /* Static, because it is large; there is one guard in a process. */
    static struct guard guard;
    struct guard_poll polls = {.count = 0};
    guard.request = request;
    guard.run = &request->ctl->run;
    guard.daemon_count = guard.run->nodes;
    guard.worker_count = guard.run->workers;
    output_init(&guard.output, STDOUT_FILENO, STDERR_FILENO);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (guard_open(&guard, &polls)) {
        guard_start(&guard);
        guard_loop(&guard, &polls);
        guard_close_streams(&guard);
        child_kill_all();
        guard_flush_all(&guard);
        if (guard.interrupted) {
            guard.exit_status = 128 + guard.interrupted;
        } else if (guard.exit_status == 0 && guard.daemon_lost) {
            guard.exit_status = EX_UNAVAILABLE;
        }
    } else {
        fprintf(request->ctl->err, "error: cannot watch the job (NO_MEMORY)\n  %s\n",
                strerror(errno));
        guard.exit_status = EX_OSERR;
    }
    for (uint32_t i = 0; i < guard.daemon_count; i++) {
        if (guard.daemons[i].notify_fd >= 0) {
            close(guard.daemons[i].notify_fd);
        }
    }
    output_deinit(&guard.output);
    free(guard.workers);
    free(polls.entries);
    free(polls.owners);
    if (guard.signal_fd >= 0) {
        close(guard.signal_fd);
    }
    return guard.exit_status;
}
