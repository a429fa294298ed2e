#include "tests/support/proc.h"

#include "tests/support/netns.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROC_MAX 128   /* living at one time */
#define PROC_STREAMS 2 /* output, error */
#define READ_BYTES (64 * 1024)
#define TICK_MS 20 /* between two looks at a condition that has no descriptor */

struct stream {
    int fd; /* -1 = ended */
    char *text;
    size_t length;
    size_t capacity;
};

struct proc {
    pid_t pid;
    int pid_fd;
    bool ended;
    bool show;
    bool own_group;
    int status;
    char name[64];
    struct stream streams[PROC_STREAMS];
};

static struct proc *living[PROC_MAX];

static void die(const char *what, const char *name)
{
    fprintf(stderr, "%s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

uint64_t proc_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- start --- */

static void apply_environment(const char *const *environment)
{
    for (; environment && *environment; environment++) {
        if (strchr(*environment, '=')) {
            putenv((char *)*environment);
        } else {
            unsetenv(*environment);
        }
    }
}

static void become(const struct proc_options *options, pid_t parent, const int fds[3], int report)
{
    bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    if (!options->keep_group) {
        setpgid(0, 0);
    }
    ok = ok && (!options->netns || netns_enter(options->netns) == 0);
    ok = ok && (!options->folder || chdir(options->folder) == 0);
    for (int i = 0; i < 3 && ok; i++) {
        ok = dup2(fds[i], i) == i;
    }
    if (ok) {
        apply_environment(options->environment);
        execvp(options->argv[0], (char *const *)options->argv);
    }
    int number = errno;
    ssize_t written = write(report, &number, sizeof(number));
    _exit(written > 0 ? 127 : 126);
}

static void register_proc(struct proc *proc)
{
    for (size_t i = 0; i < PROC_MAX; i++) {
        if (!living[i]) {
            living[i] = proc;
            return;
        }
    }
    errno = ENFILE;
    die("start", proc->name);
}

static void unregister_proc(const struct proc *proc)
{
    for (size_t i = 0; i < PROC_MAX; i++) {
        if (living[i] == proc) {
            living[i] = NULL;
        }
    }
}

/* Forks and executes; the errno of what failed, or 0. */
static int launch(struct proc *proc, const struct proc_options *options, const int fds[3])
{
    int report[2];
    int number = 0;
    if (pipe2(report, O_CLOEXEC)) {
        return errno;
    }
    pid_t parent = getpid();
    fflush(NULL);
    proc->pid = fork();
    if (proc->pid == 0) {
        become(options, parent, fds, report[1]);
    }
    close(report[1]);
    if (proc->pid < 0) {
        number = errno;
    } else if (read(report[0], &number, sizeof(number)) != (ssize_t)sizeof(number)) {
        number = 0;
        proc->pid_fd = pidfd_open(proc->pid, 0);
        if (!options->keep_group) {
            setpgid(proc->pid, proc->pid);
        }
    } else {
        waitpid(proc->pid, NULL, 0);
    }
    close(report[0]);
    return number;
}

struct proc *proc_start(const struct proc_options *options)
{
    struct proc *proc = calloc(1, sizeof(*proc));
    int out[2] = {-1, -1};
    int err[2] = {-1, -1};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!proc || null < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
        die("start", options->argv[0]);
    }
    snprintf(proc->name, sizeof(proc->name), "%s",
             options->name ? options->name : options->argv[0]);
    proc->show = options->show;
    proc->own_group = !options->keep_group;
    int fds[3] = {null, out[1], options->same_stderr ? out[1] : err[1]};
    for (int i = 0; i < 3 && options->terminal_fd > 0; i++) {
        fds[i] = options->terminal_fd;
    }
    int number = launch(proc, options, fds);
    if (number) {
        errno = number;
        die("start", proc->name);
    }
    close(null);
    close(out[1]);
    close(err[1]);
    proc->streams[0].fd = out[0];
    proc->streams[1].fd = err[0];
    for (int i = 0; i < PROC_STREAMS; i++) {
        fcntl(proc->streams[i].fd, F_SETFL, O_NONBLOCK);
    }
    register_proc(proc);
    return proc;
}

struct proc *proc_start_argv(const char *const *argv)
{
    return proc_start(&(struct proc_options){.argv = argv});
}

/* --- reading --- */

static void stream_add(struct stream *stream, const char *bytes, size_t count)
{
    if (stream->length + count + 1 > PROC_OUTPUT_MAX) {
        count = stream->length + 1 < PROC_OUTPUT_MAX ? PROC_OUTPUT_MAX - stream->length - 1 : 0;
    }
    if (stream->length + count + 1 > stream->capacity) {
        size_t capacity = 2 * (stream->length + count + 1);
        char *grown = realloc(stream->text, capacity);
        if (!grown) {
            die("read", "output");
        }
        stream->text = grown;
        stream->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        /* NUL would hide the rest from strstr(). */
        stream->text[stream->length++] = (char)(bytes[i] ? bytes[i] : '?');
    }
    stream->text[stream->length] = '\0';
}

/* Reads what is there. true if anything was. */
static bool stream_read(struct proc *proc, struct stream *stream)
{
    static char bytes[READ_BYTES];
    bool any = false;
    while (stream->fd >= 0) {
        ssize_t count = read(stream->fd, bytes, sizeof(bytes));
        if (count > 0) {
            stream_add(stream, bytes, (size_t)count);
            if (proc->show) {
                fprintf(stderr, "%.*s", (int)count, bytes);
            }
            any = true;
        } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            close(stream->fd);
            stream->fd = -1;
            any = true;
        } else {
            break;
        }
    }
    return any;
}

static bool read_all(struct proc *proc)
{
    bool any = false;
    for (int i = 0; i < PROC_STREAMS; i++) {
        any = stream_read(proc, &proc->streams[i]) || any;
    }
    return any;
}

static void reap(struct proc *proc)
{
    siginfo_t info = {.si_pid = 0};
    if (!proc->ended && waitid(P_PIDFD, (id_t)proc->pid_fd, &info, WEXITED | WNOHANG) == 0 &&
        info.si_pid) {
        proc->ended = true;
        proc->status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    }
}

void proc_pump(uint32_t timeout_ms)
{
    struct pollfd entries[PROC_MAX * (PROC_STREAMS + 1)];
    nfds_t count = 0;
    for (size_t i = 0; i < PROC_MAX; i++) {
        if (!living[i]) {
            continue;
        }
        if (!living[i]->ended) {
            entries[count++] = (struct pollfd){.fd = living[i]->pid_fd, .events = POLLIN};
        }
        for (int s = 0; s < PROC_STREAMS; s++) {
            if (living[i]->streams[s].fd >= 0) {
                entries[count++] =
                    (struct pollfd){.fd = living[i]->streams[s].fd, .events = POLLIN};
            }
        }
    }
    poll(entries, count, (int)timeout_ms);
    for (size_t i = 0; i < PROC_MAX; i++) {
        if (living[i]) {
            reap(living[i]);
            read_all(living[i]);
        }
    }
}

/* --- waiting --- */

static void print_captured(const struct proc *proc, const char *waited_for)
{
    fprintf(stderr, "--- %s (pid %d): waited in vain for %s; it wrote\n%s%s---\n", proc->name,
            (int)proc->pid, waited_for, proc_out(proc), proc_err(proc));
}

/* The end of the first whole line at or behind @from that contains @text; 0 = none. */
static size_t find_line(const struct stream *stream, const char *text, size_t from)
{
    if (!stream->text || from > stream->length) {
        return 0;
    }
    const char *found = strstr(stream->text + from, text);
    const char *end = found ? strchr(found, '\n') : NULL;
    return end ? (size_t)(end - stream->text) + 1 : 0;
}

bool proc_wait_line(struct proc *proc, const char *text, size_t *from, uint32_t timeout_ms)
{
    uint64_t deadline = proc_now_ms() + timeout_ms;
    for (;;) {
        read_all(proc);
        for (int i = 0; i < PROC_STREAMS; i++) {
            size_t end = find_line(&proc->streams[i], text, from ? *from : 0);
            if (end) {
                if (from) {
                    *from = end;
                }
                return true;
            }
        }
        uint64_t now = proc_now_ms();
        bool silent = proc->streams[0].fd < 0 && proc->streams[1].fd < 0;
        if (now >= deadline || silent) {
            print_captured(proc, text);
            return false;
        }
        proc_pump((uint32_t)(deadline - now));
    }
}

bool proc_wait_exit(struct proc *proc, uint32_t timeout_ms, int *ret_status)
{
    uint64_t deadline = proc_now_ms() + timeout_ms;
    for (;;) {
        reap(proc);
        if (proc->ended) {
            read_all(proc);
            *ret_status = proc->status;
            return true;
        }
        uint64_t now = proc_now_ms();
        if (now >= deadline) {
            print_captured(proc, "its end");
            return false;
        }
        proc_pump((uint32_t)(deadline - now));
    }
}

bool proc_wait_until(bool (*condition)(void *ctx), void *ctx, uint32_t timeout_ms)
{
    uint64_t deadline = proc_now_ms() + timeout_ms;
    while (!condition(ctx)) {
        if (proc_now_ms() >= deadline) {
            return false;
        }
        proc_pump(TICK_MS);
    }
    return true;
}

/* --- the rest --- */

bool proc_is_running(struct proc *proc)
{
    reap(proc);
    return !proc->ended;
}

pid_t proc_pid(const struct proc *proc)
{
    return proc->pid;
}

const char *proc_out(const struct proc *proc)
{
    return proc->streams[0].text ? proc->streams[0].text : "";
}

const char *proc_err(const struct proc *proc)
{
    return proc->streams[1].text ? proc->streams[1].text : "";
}

void proc_signal(const struct proc *proc, int signum)
{
    if (!proc->ended) {
        kill(proc->pid, signum);
    }
}

struct proc *proc_free(struct proc *proc)
{
    if (!proc) {
        return NULL;
    }
    if (proc->own_group) {
        kill(-proc->pid, SIGKILL); /* also what it started and left */
    }
    proc_signal(proc, SIGKILL);
    if (!proc->ended) {
        waitpid(proc->pid, NULL, 0);
    }
    unregister_proc(proc);
    close(proc->pid_fd);
    for (int i = 0; i < PROC_STREAMS; i++) {
        if (proc->streams[i].fd >= 0) {
            close(proc->streams[i].fd);
        }
        free(proc->streams[i].text);
    }
    free(proc);
    return NULL;
}

int proc_run(const char *const *argv, uint32_t timeout_ms, char **ret_out)
{
    int status = -1;
    struct proc *proc =
        proc_start(&(struct proc_options){.argv = argv, .same_stderr = ret_out != NULL});
    if (!proc_wait_exit(proc, timeout_ms, &status)) {
        status = -1;
    }
    if (ret_out) {
        *ret_out = strdup(proc_out(proc));
    }
    proc_free(proc);
    return status;
}

/* Whether the file, whose records end in NUL, holds @text. */
static bool file_contains(const char *path, const char *text)
{
    static char bytes[READ_BYTES];
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    size_t count = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    return memmem(bytes, count, text, strlen(text)) != NULL;
}

uint32_t proc_count_matching(const char *text)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    uint32_t count = 0;
    while (processes && (entry = readdir(processes))) {
        char path[300];
        if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == (int)getpid()) {
            continue;
        }
        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        bool found = file_contains(path, text);
        snprintf(path, sizeof(path), "/proc/%s/environ", entry->d_name);
        count += found || file_contains(path, text);
    }
    if (processes) {
        closedir(processes);
    }
    return count;
}
