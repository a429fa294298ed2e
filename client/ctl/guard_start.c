/* Starting daemons and workers. */
#include "client/ctl/guard_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define VARIABLE_MAX (RUNDIR_PATH_MAX + 64)

/* Settings that would reach every daemon and make them all the same node. */
#define DAEMON_UNSET                                                                               \
    "SEQSYNC_NODE_*", "SEQSYNC_PEERS_*", "SEQSYNC_SECURITY_*", "LISTEN_*", "WATCHDOG_*"

/* The other ways in which a launcher tells rank and world size, which would win over ours. */
#define WORKER_UNSET "SEQSYNC_RANK", "SEQSYNC_WORLD_SIZE", "NOTIFY_SOCKET", "LISTEN_*", "WATCHDOG_*"

static int notify_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address))) {
        int number = errno;
        close(fd);
        errno = number;
        return -1;
    }
    return fd;
}

int guard_start_daemon(struct guard *guard, uint32_t node, struct error *error)
{
    const struct rundir *dir = guard->request->dir;
    struct guard_daemon *daemon = &guard->daemons[node];
    char config[RUNDIR_PATH_MAX];
    char log[RUNDIR_PATH_MAX];
    char state[RUNDIR_PATH_MAX];
    char notify[RUNDIR_PATH_MAX];
    char variable[VARIABLE_MAX];
    int status = rundir_write_config(dir, guard->run, node, error);
    if (status) {
        return status;
    }
    mkdir(rundir_file(dir, state, node, "d"), 0700);
    int log_fd = open(rundir_log(dir, guard->run, log, node),
                      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    daemon->notify_fd = notify_open(rundir_file(dir, notify, node, "notify"));
    if (log_fd < 0 || daemon->notify_fd < 0) {
        error_set(error, EX_CANTCREAT, "NO_FILE", "cannot make the daemons' files");
        error_cause(error, "%s: %s", log_fd < 0 ? log : notify, strerror(errno));
        if (log_fd >= 0) {
            close(log_fd);
        }
        return error->exit_status;
    }
    snprintf(variable, sizeof(variable), "NOTIFY_SOCKET=%s", notify);
    char *const argv[] = {(char *)guard->request->daemon, (char *)"--config",
                          (char *)rundir_config(dir, guard->run, config, node), NULL};
    const struct child_request request = {
        .argv = argv,
        .out = log_fd,
        .err = log_fd,
        .set = {variable},
        .unset = {DAEMON_UNSET},
        .mask = guard->request->mask,
        .files = guard->request->files,
    };
    int r = child_start(&daemon->child, &request);
    close(log_fd);
    if (r) {
        error_set(error, EX_UNAVAILABLE, "NO_DAEMON", "cannot start %s", guard->request->daemon);
        return error_cause(error, "%s", strerror(-r));
    }
    return EX_OK;
}

void guard_read_notify(struct guard_daemon *daemon)
{
    char text[1024];
    for (;;) {
        ssize_t length = recv(daemon->notify_fd, text, sizeof(text) - 1, 0);
        if (length < 0) {
            return;
        }
        text[length] = '\0';
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
            daemon->ready = daemon->ready || strcmp(line, "READY=1") == 0;
        }
    }
}

/* Blocks of consecutive ranks, whose sizes differ by at most one. */
static void guard_place(struct guard *guard)
{
    uint32_t rank = 0;
    for (uint32_t node = 0; node < guard->daemon_count; node++) {
        uint32_t more = node < guard->worker_count % guard->daemon_count ? 1 : 0;
        uint32_t count = guard->worker_count / guard->daemon_count + more;
        for (uint32_t local = 0; local < count; local++, rank++) {
            guard->workers[rank].node = node;
            guard->workers[rank].local_rank = local;
        }
    }
}

static uint32_t guard_local_count(const struct guard *guard, uint32_t node)
{
    uint32_t more = node < guard->worker_count % guard->daemon_count ? 1 : 0;
    return guard->worker_count / guard->daemon_count + more;
}

/* The variables of one worker. The texts live as long as the array. */
struct variables {
    char texts[9][VARIABLE_MAX];
};

static void variables_fill(struct variables *variables, const struct guard *guard, uint32_t rank)
{
    const struct guard_worker *worker = &guard->workers[rank];
    const struct rundir *dir = guard->request->dir;
    char path[RUNDIR_PATH_MAX];
    char(*texts)[VARIABLE_MAX] = variables->texts;
    snprintf(texts[0], VARIABLE_MAX, "SEQSYNC_SOCKET=%s",
             rundir_file(dir, path, worker->node, "sock"));
    snprintf(texts[1], VARIABLE_MAX, "SEQSYNC_ADMIN=ipc://%s",
             rundir_file(dir, path, worker->node, "admin"));
    snprintf(texts[2], VARIABLE_MAX, "SEQSYNC_JOB=%s", guard->request->job);
    snprintf(texts[3], VARIABLE_MAX, "RANK=%u", rank);
    snprintf(texts[4], VARIABLE_MAX, "WORLD_SIZE=%u", guard->worker_count);
    snprintf(texts[5], VARIABLE_MAX, "LOCAL_RANK=%u", worker->local_rank);
    snprintf(texts[6], VARIABLE_MAX, "LOCAL_WORLD_SIZE=%u", guard_local_count(guard, worker->node));
    snprintf(texts[7], VARIABLE_MAX, "GROUP_RANK=%u", worker->node);
    bool shows_progress = rank == 0 && (guard->output.is_terminal[OUTPUT_OUT] ||
                                        guard->output.is_terminal[OUTPUT_ERR]);
    snprintf(texts[8], VARIABLE_MAX, "SEQSYNC_PROGRESS=%d", shows_progress);
}

static int guard_start_worker(struct guard *guard, uint32_t rank, struct error *error)
{
    struct guard_worker *worker = &guard->workers[rank];
    struct variables variables;
    int out[2];
    int err[2];
    if (pipe2(out, O_CLOEXEC)) {
        return error_set(error, EX_OSERR, "NO_FILE", "no pipe for rank %u: %s", rank,
                         strerror(errno));
    }
    if (pipe2(err, O_CLOEXEC)) {
        close(out[0]);
        close(out[1]);
        return error_set(error, EX_OSERR, "NO_FILE", "no pipe for rank %u: %s", rank,
                         strerror(errno));
    }
    variables_fill(&variables, guard, rank);
    struct child_request request = {
        .argv = guard->request->ctl->words,
        .out = out[1],
        .err = err[1],
        .fallback = {"OPENBLAS_NUM_THREADS=1"},
        .unset = {WORKER_UNSET},
        .mask = guard->request->mask,
        .files = guard->request->files,
    };
    for (size_t i = 0; i < sizeof(variables.texts) / sizeof(variables.texts[0]); i++) {
        request.set[i] = variables.texts[i];
    }
    int r = child_start(&worker->child, &request);
    close(out[1]);
    close(err[1]);
    worker->fds[0] = out[0];
    worker->fds[1] = err[0];
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    if (r) {
        /* As a shell has it: 127 not found, 126 found but not to be run. */
        error_set(error, r == -ENOENT ? 127 : 126, "NO_COMMAND", "cannot run %s", request.argv[0]);
        return error_cause(error, "%s", strerror(-r));
    }
    return EX_OK;
}

int guard_start_workers(struct guard *guard, struct error *error)
{
    bool with_prefix = guard->run->prefix == CTL_PREFIX_ALWAYS ||
                       (guard->run->prefix == CTL_PREFIX_AUTO && guard->worker_count > 1);
    guard_place(guard);
    for (uint32_t rank = 0; rank < guard->worker_count; rank++) {
        char prefix[32] = "";
        if (with_prefix) {
            snprintf(prefix, sizeof(prefix), "[rank %u] ", rank);
        }
        for (int i = 0; i < 2; i++) {
            lines_init(&guard->workers[rank].lines[i], &guard->output,
                       i == 0 ? OUTPUT_OUT : OUTPUT_ERR, prefix,
                       /* may_progress= */ rank == 0);
        }
        int status = guard_start_worker(guard, rank, error);
        if (status) {
            return status;
        }
    }
    return EX_OK;
}
