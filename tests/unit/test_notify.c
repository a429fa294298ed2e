/* What systemd is told, heard on a socket of our own; the log; the lock file. */
#include "daemon/host/notify.h"

#include "daemon/host/lock.h"
#include "daemon/host/log.h"
#include "daemon/host/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    int fd; /* NOTIFY_SOCKET */
    char dir[256];
    char path[300];
    char heard[1024];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(f->dir, sizeof(f->dir), "%s/seqsync-notify-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    snprintf(f->path, sizeof(f->path), "%s/notify", f->dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", f->path);
    f->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(f->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    setenv("NOTIFY_SOCKET", f->path, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unsetenv("NOTIFY_SOCKET");
    close(f->fd);
    unlink(f->path);
    int r = rmdir(f->dir);
    free(f);
    return r;
}

static const char *hear(struct fixture *f)
{
    ssize_t n = recv(f->fd, f->heard, sizeof(f->heard) - 1, MSG_DONTWAIT);
    f->heard[n > 0 ? n : 0] = '\0';
    return f->heard;
}

static void each_state_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(notify_ready(), 0);
    assert_string_equal(hear(f), "READY=1");
    assert_int_equal(notify_stopping(), 0);
    assert_string_equal(hear(f), "STOPPING=1");
    assert_int_equal(notify_watchdog(), 0);
    assert_string_equal(hear(f), "WATCHDOG=1");
    assert_int_equal(notify_watchdog_trigger(), 0);
    assert_string_equal(hear(f), "WATCHDOG=trigger");
    assert_int_equal(notify_extend_ns(2000000), 0);
    assert_string_equal(hear(f), "EXTEND_TIMEOUT_USEC=2000");
    assert_int_equal(notify_reloading(), 0);
    assert_int_equal(strncmp(hear(f), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
}

static void a_status_is_one_line(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(notify_status("%d jobs\nREADY=1", 2), 0);
    assert_string_equal(hear(f), "STATUS=2 jobs READY=1");
}

static void nobody_is_told_without_systemd(void **state)
{
    struct fixture *f = *state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_ready(), 0);
    assert_string_equal(hear(f), "");
}

static void a_gone_systemd_is_an_error_that_can_be_ignored(void **state)
{
    (void)state;
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    assert_int_equal(notify_ready(), -ENOENT);
}

static void the_watchdog_is_fed_twice_as_often_as_asked(void **state)
{
    (void)state;
    char pid[32];
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_watchdog_interval_ns(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_interval_ns(), 15000000000);
    setenv("WATCHDOG_PID", "1", 1); /* meant for another process */
    assert_int_equal(notify_watchdog_interval_ns(), 0);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* In a child, because the descriptor must be number 3. Its exit code is what take said. */
static int take_in_child(int type, bool listening)
{
    pid_t child = fork();
    if (child == 0) {
        char pid[32];
        struct sockaddr_un address = {.sun_family = AF_UNIX}; /* autobind: no file */
        int fd = socket(AF_UNIX, type, 0);
        int taken = -1;
        if (bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)) != 0 ||
            (listening && listen(fd, 1) != 0)) {
            _exit(100);
        }
        if (fd != 3) {
            dup2(fd, 3);
        }
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        int r = notify_take_listen_fd(&taken);
        if (r == 0 && (taken != 3 || getenv("LISTEN_FDS") != NULL)) {
            _exit(101);
        }
        _exit(-r);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void only_a_listening_packet_socket_is_taken(void **state)
{
    (void)state;
    int fd = 0;
    assert_int_equal(notify_take_listen_fd(&fd), 0);
    assert_int_equal(fd, -1);
    assert_int_equal(take_in_child(SOCK_SEQPACKET, true), 0);
    assert_int_equal(take_in_child(SOCK_STREAM, true), EINVAL);
    assert_int_equal(take_in_child(SOCK_SEQPACKET, false), EINVAL);
}

static void a_log_line_has_its_level_and_cannot_be_forged(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    char line[LOG_LINE_MAX + 1];
    char huge[3 * LOG_LINE_MAX];
    (void)f;
    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    log_msg(LOG_LEVEL_DEBUG, "not wanted");
    log_msg(LOG_LEVEL_WARNING, "name %s", "a\n<3>b\x1b[2J");
    ssize_t n = read(fds[0], line, sizeof(line));
    assert_true(n > 0);
    line[n] = '\0';
    assert_string_equal(line, "<4>name a?<3>b?[2J\n");
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    log_msg(LOG_LEVEL_ERROR, "%s", huge);
    n = read(fds[0], line, sizeof(line));
    assert_in_range(n, LOG_LINE_MAX - 8, LOG_LINE_MAX);
    assert_memory_equal(line + n - 4, "...\n", 4);
    log_set_level(LOG_LEVEL_DEBUG);
    errno = 77;
    log_msg(LOG_LEVEL_DEBUG, "wanted");
    assert_int_equal(errno, 77);
    n = read(fds[0], line, sizeof(line));
    assert_int_equal(n, 10);
    log_set_level(LOG_LEVEL_INFO);
    log_set_fd(STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
}

static void a_lock_has_one_holder_and_dies_with_it(void **state)
{
    struct fixture *f = *state;
    char path[400];
    struct lock lock = LOCK_NULL;
    int ready[2];
    int hold[2];
    char byte = 0;
    snprintf(path, sizeof(path), "%s/thing", f->dir);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t child = fork();
    if (child == 0) {
        struct lock mine = LOCK_NULL;
        char c = (char)(lock_take(&mine, path) == 0);
        if (write(ready[1], &c, 1) != 1 || read(hold[0], &c, 1) < 0) {
            _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    assert_int_equal(lock_take(&lock, path), -EADDRINUSE);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(lock_take(&lock, path), 0);
    lock_release(&lock);
    lock_release(&lock);
    strcat(path, ".lock");
    assert_int_equal(access(path, F_OK), -1);
    close(ready[0]);
    close(ready[1]);
    close(hold[0]);
    close(hold[1]);
}

struct caught {
    struct signals signals;
    int signums[SIGNALS_N];
    int count;
};

static void on_signal(void *ctx, int signum)
{
    struct caught *caught = ctx;
    caught->signums[caught->count++] = signum;
    if (caught->count == SIGNALS_N) {
        signals_close(&caught->signals);
    }
}

static void signals_are_events_of_the_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct caught caught = {.count = 0};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(signals_open(&caught.signals, &loop, on_signal, &caught), 0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(raise(SIGINT), 0);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(raise(SIGPIPE), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(caught.count, SIGNALS_N);
    assert_int_equal(caught.signums[0], SIGTERM);
    assert_int_equal(caught.signums[3], SIGUSR1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_state_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_status_is_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_is_told_without_systemd, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gone_systemd_is_an_error_that_can_be_ignored, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_watchdog_is_fed_twice_as_often_as_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_a_listening_packet_socket_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_line_has_its_level_and_cannot_be_forged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_lock_has_one_holder_and_dies_with_it, setup, teardown),
        cmocka_unit_test(signals_are_events_of_the_loop),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
