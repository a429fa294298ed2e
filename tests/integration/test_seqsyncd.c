/* seqsyncd as a service: configuration, readiness, signals, sockets that are taken. */
#include "tests/support/cluster.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOON_MS 20000
#define CONF SOURCE_FOLDER "/deploy/conf/seqsync.conf"
#define MANUAL SOURCE_FOLDER "/deploy/man/seqsync.conf.5"

struct fixture {
    struct tmp tmp;
    char program[TMP_PATH_MAX];
    char config[TMP_PATH_MAX];
    char notify[TMP_PATH_MAX + 32]; /* "NOTIFY_SOCKET=.." */
    int notify_fd;
    struct proc *proc;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char path[TMP_PATH_MAX];
    char text[2 * TMP_PATH_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    tmp_make(&f->tmp);
    cluster_program("seqsyncd", f->program);
    snprintf(text, sizeof(text), "[node]\nname = alone\nruntime-dir = %s\nstate-dir = %s\n",
             f->tmp.path, f->tmp.path);
    tmp_write(&f->tmp, f->config, "conf", text);
    snprintf(f->notify, sizeof(f->notify), "NOTIFY_SOCKET=%s", tmp_file(&f->tmp, path, "notify"));
    f->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (bind(f->notify_fd, (struct sockaddr *)&address, sizeof(address))) {
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    proc_free(f->proc);
    close(f->notify_fd);
    tmp_remove(&f->tmp);
    free(f);
    return 0;
}

static struct proc *start(struct fixture *f, const char *more_1, const char *more_2)
{
    return proc_start(&(struct proc_options){
        .argv = (const char *const[]){f->program, "--config", f->config, more_1, more_2, NULL},
        .environment = (const char *const[]){f->notify, NULL},
    });
}

/* Waits until the daemon has told systemd @text. */
static bool notified(struct fixture *f, const char *text)
{
    uint64_t deadline = proc_now_ms() + SOON_MS;
    char bytes[1024];
    while (proc_now_ms() < deadline) {
        struct pollfd entry = {.fd = f->notify_fd, .events = POLLIN};
        proc_pump(0);
        if (poll(&entry, 1, 20) == 1) {
            ssize_t length = recv(f->notify_fd, bytes, sizeof(bytes) - 1, 0);
            bytes[length > 0 ? length : 0] = '\0';
            if (strstr(bytes, text)) {
                return true;
            }
        }
    }
    return false;
}

static int run_daemon(struct fixture *f, const char *more_1, const char *more_2, char **ret_out)
{
    const char *const argv[] = {f->program, "--config", f->config, more_1, more_2, NULL};
    return proc_run(argv, SOON_MS, ret_out);
}

static void shipped_configuration_is_valid(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    const char *const argv[] = {f->program, "--config", CONF, "--check-config", NULL};
    int status = proc_run(argv, SOON_MS, &out);
    if (status != 0) {
        fail_msg("%s", out);
    }
    free(out);
}

/* Every key that the daemon knows is in the shipped file and in the manual. */
static void every_key_is_documented(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    char *conf = tmp_read(CONF);
    char *manual = tmp_read(MANUAL);
    int keys = 0;
    assert_int_equal(run_daemon(f, "--dump-config", NULL, &out), 0);
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
        char key[64];
        char wanted[80];
        if (sscanf(line, "%63[a-z-] =", key) != 1 || !strstr(line, " =")) {
            continue;
        }
        keys++;
        snprintf(wanted, sizeof(wanted), "%s =", key);
        if (!strstr(conf, wanted)) {
            fail_msg("%s is not in seqsync.conf", key);
        }
        snprintf(wanted, sizeof(wanted), ".It Cm %s", key);
        if (!strstr(manual, wanted)) {
            fail_msg("%s is not in seqsync.conf(5)", key);
        }
    }
    assert_true(keys >= 15);
    free(out);
    free(conf);
    free(manual);
}

static void typo_is_named_with_file_and_line_and_guessed(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    tmp_write(&f->tmp, f->config, "conf", "[node]\nname = x\n\n[timeouts]\njion = 5s\n");
    assert_int_equal(run_daemon(f, "--check-config", NULL, &out), 78);
    assert_non_null(strstr(out, "conf:5"));
    assert_non_null(strstr(out, "jion"));
    assert_non_null(strstr(out, "join"));
    free(out);
    assert_int_equal(run_daemon(f, NULL, NULL, &out), 78); /* nor does it start */
    free(out);
}

static void missing_configuration_is_an_error_if_it_was_named(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    tmp_file(&f->tmp, f->config, "nothing");
    assert_int_equal(run_daemon(f, "--check-config", NULL, &out), 78);
    assert_non_null(strstr(out, "nothing"));
    free(out);
}

static void daemon_tells_systemd_of_its_life(void **state)
{
    struct fixture *f = *state;
    int status;
    f->proc = start(f, NULL, NULL);
    assert_true(notified(f, "READY=1"));
    assert_true(notified(f, "STATUS="));
    proc_signal(f->proc, SIGTERM);
    assert_true(notified(f, "STOPPING=1"));
    assert_true(proc_wait_exit(f->proc, SOON_MS, &status));
    assert_int_equal(status, 0);
}

static void signals_that_only_ask_do_not_end_it(void **state)
{
    struct fixture *f = *state;
    f->proc = start(f, NULL, NULL);
    assert_true(notified(f, "READY=1"));
    proc_signal(f->proc, SIGHUP);
    assert_true(proc_wait_line(f->proc, "SIGHUP: no setting can be changed", NULL, SOON_MS));
    proc_signal(f->proc, SIGUSR1);
    assert_true(proc_wait_line(f->proc, "state: 0 jobs, 0 workers", NULL, SOON_MS));
    assert_true(proc_is_running(f->proc));
}

static void sockets_are_gone_after_the_end(void **state)
{
    struct fixture *f = *state;
    char path[TMP_PATH_MAX];
    int status;
    f->proc = start(f, NULL, NULL);
    assert_true(notified(f, "READY=1"));
    assert_int_equal(access(tmp_file(&f->tmp, path, "seqsync.sock"), F_OK), 0);
    assert_int_equal(access(tmp_file(&f->tmp, path, "admin.sock"), F_OK), 0);
    proc_signal(f->proc, SIGTERM);
    assert_true(proc_wait_exit(f->proc, SOON_MS, &status));
    assert_int_not_equal(access(tmp_file(&f->tmp, path, "seqsync.sock"), F_OK), 0);
    assert_int_not_equal(access(tmp_file(&f->tmp, path, "admin.sock"), F_OK), 0);
}

/* ZeroMQ would let the second one steal the socket of the first. */
static void second_daemon_on_the_same_sockets_refuses_to_start(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    f->proc = start(f, NULL, NULL);
    assert_true(notified(f, "READY=1"));
    int status = run_daemon(f, NULL, NULL, &out);
    assert_int_not_equal(status, 0);
    assert_in_range(status, 64, 78);
    assert_true(strstr(out, f->tmp.path) != NULL);
    assert_true(proc_is_running(f->proc));
    free(out);
}

static void daemon_that_was_killed_can_be_started_again(void **state)
{
    struct fixture *f = *state;
    int status;
    f->proc = start(f, NULL, NULL);
    assert_true(notified(f, "READY=1"));
    proc_signal(f->proc, SIGKILL);
    assert_true(proc_wait_exit(f->proc, SOON_MS, &status));
    proc_free(f->proc);
    f->proc = start(f, NULL, NULL);
    assert_true(notified(f, "READY=1"));
}

static void daemon_follows_its_parents_descriptor(void **state)
{
    struct fixture *f = *state;
    char script[4 * TMP_PATH_MAX];
    int status;
    /* The shell holds the other end: when the daemon's parent dies, the daemon reads end of file.
     */
    snprintf(script, sizeof(script),
             "cd %s; mkfifo fifo; %s --config %s --exit-with-fd 3 3<fifo & exec 4>fifo;"
             " until [ -S seqsync.sock ]; do :; done; exec 4>&-; wait $! && echo ended",
             f->tmp.path, f->program, f->config);
    f->proc = proc_start(&(struct proc_options){
        .argv = (const char *const[]){"sh", "-c", script, NULL},
        .environment = (const char *const[]){f->notify, NULL},
    });
    assert_true(proc_wait_line(f->proc, "ended", NULL, SOON_MS));
    assert_true(proc_wait_exit(f->proc, SOON_MS, &status));
    assert_int_equal(status, 0);
}

static void without_keys_it_refuses_to_listen_beyond_this_machine(void **state)
{
    struct fixture *f = *state;
    char *out = NULL;
    char text[3 * TMP_PATH_MAX];
    snprintf(text, sizeof(text),
             "[node]\nname = a\nruntime-dir = %s\nstate-dir = %s\n"
             "[peers]\nmember = a tcp://0.0.0.0:7410\nmember = b tcp://192.0.2.1:7410\n",
             f->tmp.path, f->tmp.path);
    tmp_write(&f->tmp, f->config, "conf", text);
    int status = run_daemon(f, NULL, NULL, &out);
    assert_in_range(status, 64, 78);
    assert_non_null(strstr(out, "key"));
    free(out);
}

static void key_is_made_once_and_for_its_owner_only(void **state)
{
    struct fixture *f = *state;
    char path[TMP_PATH_MAX];
    char *out = NULL;
    struct stat status;
    tmp_file(&f->tmp, path, "key");
    const char *const argv[] = {f->program, "--genkey", path, NULL};
    assert_int_equal(proc_run(argv, SOON_MS, &out), 0);
    assert_int_equal(strcspn(out, "\n"), 40); /* Z85 of 32 bytes */
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    free(out);
    char *before = tmp_read(path);
    assert_int_not_equal(proc_run(argv, SOON_MS, &out), 0);
    char *after = tmp_read(path);
    assert_string_equal(before, after);
    free(out);
    free(before);
    free(after);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(shipped_configuration_is_valid),
        TEST(every_key_is_documented),
        TEST(typo_is_named_with_file_and_line_and_guessed),
        TEST(missing_configuration_is_an_error_if_it_was_named),
        TEST(daemon_tells_systemd_of_its_life),
        TEST(signals_that_only_ask_do_not_end_it),
        TEST(sockets_are_gone_after_the_end),
        TEST(second_daemon_on_the_same_sockets_refuses_to_start),
        TEST(daemon_that_was_killed_can_be_started_again),
        TEST(daemon_follows_its_parents_descriptor),
        TEST(without_keys_it_refuses_to_listen_beyond_this_machine),
        TEST(key_is_made_once_and_for_its_owner_only),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
