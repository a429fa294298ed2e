#include "client/ctl/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Removes "NAME", or every variable that begins with the text before '*'. */
static void environment_unset(const char *pattern)
{
    size_t length = strcspn(pattern, "*");
    if (!pattern[length]) {
        unsetenv(pattern);
        return;
    }
    for (size_t i = 0; environ && environ[i];) {
        char name[256];
        if (strncmp(environ[i], pattern, length) == 0) {
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(environ[i], "="), environ[i]);
            if (unsetenv(name) == 0 && environ[i] && strncmp(environ[i], name, strlen(name)) == 0) {
                i++; /* a name that unsetenv() cannot remove */
            }
        } else {
            i++;
        }
    }
}

static void environment_apply(const struct child_request *request)
{
    for (size_t i = 0; i < CHILD_ENVIRONMENT_MAX && request->unset[i]; i++) {
        environment_unset(request->unset[i]);
    }
    for (size_t i = 0; i < CHILD_ENVIRONMENT_MAX && request->set[i]; i++) {
        putenv((char *)request->set[i]);
    }
    for (size_t i = 0; i < CHILD_ENVIRONMENT_MAX && request->fallback[i]; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(request->fallback[i], "="),
                 request->fallback[i]);
        if (!getenv(name)) {
            putenv((char *)request->fallback[i]);
        }
    }
}

/* In the child. Never returns. */
static void child_become(const struct child_request *request, pid_t parent, int report)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && null >= 0 &&
        dup2(null, 0) == 0 && dup2(request->out, 1) == 1 && dup2(request->err, 2) == 2) {
        signal(SIGPIPE, SIG_DFL);
        sigprocmask(SIG_SETMASK, request->mask, NULL);
        setrlimit(RLIMIT_NOFILE, request->files);
        environment_apply(request);
        execvp(request->argv[0], request->argv);
    }
    int number = errno;
    ssize_t written = write(report, &number, sizeof(number));
    _exit(written == (ssize_t)sizeof(number) ? 127 : 126);
}

int child_start(struct child *child, const struct child_request *request)
{
    int report[2]; /* closed by a successful exec, else it carries the errno */
    *child = (struct child){.pid = 0};
    if (pipe2(report, O_CLOEXEC)) {
        return -errno;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        child_become(request, parent, report[1]);
    }
    int number = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0) {
        ssize_t length;
        setpgid(pid, pid); /* both do it, so that it is done for whoever comes first */
        do {
            length = read(report[0], &number, sizeof(number));
        } while (length < 0 && errno == EINTR);
        if (length == (ssize_t)sizeof(number)) {
            waitpid(pid, NULL, 0);
        } else {
            child->pid = pid;
        }
    }
    close(report[0]);
    return -number;
}

bool child_is_running(const struct child *child)
{
    return child->pid > 0 && !child->ended;
}

void child_signal(const struct child *child, int signum)
{
    if (child_is_running(child)) {
        kill(child->pid, signum);
    }
}

void child_signal_group(const struct child *child, int signum)
{
    if (child_is_running(child)) {
        kill(-child->pid, signum);
    }
}

int child_exit_status(const struct child *child)
{
    return WIFSIGNALED(child->status) ? 128 + WTERMSIG(child->status) : WEXITSTATUS(child->status);
}

/* The parent of @pid, 0 if it is gone. */
static pid_t parent_of(pid_t pid)
{
    char path[64];
    char text[512];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    /* "PID (NAME) STATE PARENT": the name may hold anything, also parentheses. */
    const char *end = strrchr(text, ')');
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* Sends SIGKILL to each process whose parent we are. */
static void kill_children(void)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes && (entry = readdir(processes))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && parent_of(pid) == getpid()) {
            kill(pid, SIGKILL);
        }
    }
    if (processes) {
        closedir(processes);
    }
}

void child_kill_all(void)
{
    for (;;) {
        kill_children();
        pid_t pid;
        do {
            pid = waitpid(-1, NULL, 0);
        } while (pid < 0 && errno == EINTR);
        if (pid < 0) {
            return;
        }
    }
}
