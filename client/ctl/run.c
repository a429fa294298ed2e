/* The front of `seqctl run`. */
#include "client/ctl/run.h"

#include "client/ctl/child.h"
#include "client/ctl/guard.h"
#include "client/ctl/rundir.h"

#include "proto/frame.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where seqsyncd may be, seen from seqctl: side by side, installed, in a build tree. */
static const char *const daemon_places[] = {"", "../sbin/", "../../daemon/"};

static bool daemon_is(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool daemon_beside(char out[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length <= 0) {
        return false;
    }
    self[length] = '\0';
    const char *folder = dirname(self);
    for (size_t i = 0; i < sizeof(daemon_places) / sizeof(daemon_places[0]); i++) {
        int used = snprintf(out, PATH_MAX, "%s/%sseqsyncd", folder, daemon_places[i]);
        if (used < PATH_MAX && daemon_is(out)) {
            return true;
        }
    }
    return false;
}

/* EX_OK, or fills @error. */
static int daemon_find(char out[PATH_MAX], struct error *error)
{
    const char *chosen = getenv("SEQSYNCD");
    if (chosen && chosen[0]) {
        snprintf(out, PATH_MAX, "%s", chosen);
        if (daemon_is(out)) {
            return EX_OK;
        }
        error_set(error, EX_UNAVAILABLE, "NO_DAEMON", "SEQSYNCD=%s is no program", chosen);
        return error_hint(error, "unset SEQSYNCD");
    }
    if (daemon_beside(out)) {
        return EX_OK;
    }
    snprintf(out, PATH_MAX, "/usr/sbin/seqsyncd");
    if (daemon_is(out)) {
        return EX_OK;
    }
    error_set(error, EX_UNAVAILABLE, "NO_DAEMON", "there is no seqsyncd to start");
    error_cause(error, "looked beside seqctl, in ../sbin, in the build tree and in /usr/sbin");
    return error_hint(error, "SEQSYNCD=/path/to/seqsyncd seqctl run ...");
}

/* The job's name: what was asked for, or the command's, with what a name cannot have replaced. */
static int job_name(char out[SEQSYNC_NAME_MAX + 1], const struct ctl *ctl, struct error *error)
{
    if (ctl->run.job) {
        if (!frame_name_ok(ctl->run.job)) {
            error_set(error, EX_USAGE, "USAGE", "--job cannot be \"%s\"", ctl->run.job);
            return error_cause(error, "a name has 1 to %d of A-Z a-z 0-9 . _ -", SEQSYNC_NAME_MAX);
        }
        snprintf(out, SEQSYNC_NAME_MAX + 1, "%s", ctl->run.job);
        return EX_OK;
    }
    const char *slash = strrchr(ctl->words[0], '/');
    snprintf(out, SEQSYNC_NAME_MAX + 1, "%.*s", SEQSYNC_NAME_MAX,
             slash ? slash + 1 : ctl->words[0]);
    for (char *c = out; *c; c++) {
        bool legal = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= '0' && *c <= '9') || *c == '.' || *c == '_' || *c == '-';
        *c = legal ? *c : '_';
    }
    if (!frame_name_ok(out)) {
        snprintf(out, SEQSYNC_NAME_MAX + 1, "job");
    }
    return EX_OK;
}

static int keep_logs_make(const struct ctl *ctl, struct error *error)
{
    const char *path = ctl->run.keep_logs;
    if (!path) {
        return EX_OK;
    }
    if (strlen(path) + 32 > RUNDIR_PATH_MAX) {
        return error_set(error, EX_USAGE, "USAGE", "--keep-logs: the path is too long");
    }
    if (mkdir(path, 0777) && errno != EEXIST) {
        error_set(error, EX_CANTCREAT, "NO_DIRECTORY", "cannot make %s", path);
        return error_cause(error, "%s", strerror(errno));
    }
    return EX_OK;
}

/* Every worker costs us three descriptors. */
static void raise_file_limit(struct rlimit *ret_before)
{
    getrlimit(RLIMIT_NOFILE, ret_before);
    struct rlimit all = {.rlim_cur = ret_before->rlim_max, .rlim_max = ret_before->rlim_max};
    setrlimit(RLIMIT_NOFILE, &all);
}

/*
 * Waits for the guard and passes signals on to it. Returns its exit status. If it was killed, its
 * children are ours now, and are ended.
 */
static int front_wait(pid_t guard, const sigset_t *signals)
{
    for (;;) {
        int status;
        int signum = sigwaitinfo(signals, NULL);
        if (signum > 0 && signum != SIGCHLD) {
            kill(guard, signum);
            continue;
        }
        /* Adopted children of a guard that is gone are collected below. */
        pid_t pid = waitpid(guard, &status, WNOHANG);
        if (pid == guard) {
            child_kill_all();
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
    }
}

static int front_run(const struct ctl *ctl, struct guard_request *request, struct error *error)
{
    static const int wanted[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t signals;
    sigset_t before;
    struct rlimit files;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        sigaddset(&signals, wanted[i]);
    }
    raise_file_limit(&files);
    sigprocmask(SIG_BLOCK, &signals, &before);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    request->mask = &before;
    request->files = &files;
    request->front_fd = pidfd_open(getpid(), 0);
    fflush(NULL);
    pid_t guard = request->front_fd >= 0 ? fork() : -1;
    if (guard < 0) {
        error_set(error, EX_OSERR, "NO_PROCESS", "cannot start the job");
        return error_cause(error, "%s", strerror(errno));
    }
    if (guard == 0) {
        setsid(); /* Ctrl-C reaches the front only, which passes it on */
        int status = guard_run(request);
        rundir_remove(request->dir);
        fflush(ctl->err);
        _exit(status);
    }
    close(request->front_fd);
    return front_wait(guard, &signals);
}

int run_run(struct ctl *ctl, struct error *error)
{
    char daemon[PATH_MAX];
    char job[SEQSYNC_NAME_MAX + 1];
    struct rundir dir;
    struct guard_request request = {.ctl = ctl, .dir = &dir, .daemon = daemon, .job = job};
    int status = job_name(job, ctl, error);
    status = status ? status : daemon_find(daemon, error);
    status = status ? status : keep_logs_make(ctl, error);
    status = status ? status : rundir_make(&dir, error);
    if (status) {
        return status;
    }
    status = front_run(ctl, &request, error);
    rundir_remove(&dir);
    return status;
}
