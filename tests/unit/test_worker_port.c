/* A worker's connection from Hello to its end. */
#include "test_worker_port_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seqsync/status.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static void hello_comes_with_who_says_it(void **state)
{
    struct fixture *f = *state;
    uint32_t worker = 0;
    fixture_open(f);
    int fd = client_join(f, &worker);
    assert_int_not_equal(worker, 0);
    assert_int_equal(f->peer.uid, getuid());
    assert_int_equal(f->peer.gid, getgid());
    assert_int_equal(f->peer.pid, getpid());
    client_send_leave(fd);
    fixture_until_messages(f, 2);
    assert_int_equal(f->workers[1], worker);
    close(fd);
}

static void the_socket_is_for_user_and_group_only(void **state)
{
    struct fixture *f = *state;
    struct stat status;
    fixture_open(f);
    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
}

static void another_protocol_is_answered_and_closed(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int fd = client_connect(f->path);
    client_send_hello(fd, WIRE_PROTOCOL + 1);
    Seqsync__Worker__DaemonMessage *message = client_receive(f, fd, NULL, NULL);
    assert_non_null(message);
    assert_int_equal(message->request, 42);
    assert_int_equal(message->failure->code, SEQSYNC_ERR_VERSION);
    assert_null(client_receive(f, fd, NULL, NULL));
    close(fd);
    fixture_until_workers(f, 0);
    assert_int_equal(f->message_count, 0);
    assert_int_equal(f->lost_count, 0);
}

/* A child that connects, says Hello and then waits to be killed. */
static pid_t spawn_worker(const struct fixture *f, void (*then)(int fd))
{
    pid_t child = fork();
    if (child == 0) {
        int fd = client_connect(f->path);
        client_send_hello(fd, WIRE_PROTOCOL);
        if (then != NULL) {
            then(fd);
        }
        pause();
        _exit(1);
    }
    return child;
}

static void leave_then_die(int fd)
{
    client_send_leave(fd);
    raise(SIGKILL);
}

static void a_killed_worker_is_named_after_its_last_words(void **state)
{
    struct fixture *f = *state;
    char expected[64];
    fixture_open(f);
    pid_t child = spawn_worker(f, leave_then_die);
    fixture_until_lost(f, 1);
    assert_int_equal(f->message_count, 2);
    assert_int_equal(f->bodies[1], SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE);
    assert_int_equal(f->lost_worker, f->workers[0]);
    assert_int_equal(f->lost_code, SEQSYNC_ERR_WORKER_LOST);
    snprintf(expected, sizeof(expected), "process %d (uid %u) exited", (int)child,
             (unsigned)getuid());
    assert_string_equal(f->lost_how, expected);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* The grandchild keeps the connection open; it is not the process that said Hello. */
static void hand_over_then_die(int fd)
{
    (void)fd;
    if (fork() == 0) {
        pause();
        _exit(0);
    }
    _exit(0);
}

static void a_dead_process_is_lost_though_its_child_holds_the_socket(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    /* In a process group of its own, to end the grandchild too. */
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        int fd = client_connect(f->path);
        client_send_hello(fd, WIRE_PROTOCOL);
        hand_over_then_die(fd);
    }
    fixture_until_lost(f, 1);
    assert_non_null(strstr(f->lost_how, "exited"));
    kill(-child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_living_process_that_hangs_up_is_told_apart(void **state)
{
    struct fixture *f = *state;
    char expected[64];
    uint32_t worker = 0;
    fixture_open(f);
    close(client_join(f, &worker));
    fixture_until_lost(f, 1);
    assert_int_equal(f->lost_worker, worker);
    snprintf(expected, sizeof(expected), "process %d (uid %u) closed its connection", (int)getpid(),
             (unsigned)getuid());
    assert_string_equal(f->lost_how, expected);
    fixture_until_workers(f, 0);
}

static int welcome(struct fixture *f, uint32_t worker, uint64_t request, const int *fds,
                   uint32_t fd_count)
{
    Seqsync__Worker__Welcome body = SEQSYNC__WORKER__WELCOME__INIT;
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    char name[] = "node-a";
    body.node_name = name;
    body.node_count = 1;
    body.local_count = 1;
    message.request = request;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_WELCOME;
    message.welcome = &body;
    f->inside_call = true;
    int r = worker_port_send(f->port, worker, &message, fds, fd_count);
    f->inside_call = false;
    return r;
}

static void descriptors_arrive_beside_their_message(void **state)
{
    struct fixture *f = *state;
    uint32_t worker = 0;
    int fds[WIRE_FDS_MAX];
    int got[WIRE_FDS_MAX];
    uint32_t got_count = 0;
    fixture_open(f);
    int fd = client_join(f, &worker);
    uint32_t before = open_fd_count();
    for (uint32_t i = 0; i < WIRE_FDS_MAX; i++) {
        fds[i] = memfd_create("test", MFD_CLOEXEC);
        assert_int_equal(write(fds[i], &i, sizeof(i)), sizeof(i));
    }
    assert_int_equal(welcome(f, worker, 7, fds, WIRE_FDS_MAX), 0);
    assert_int_equal(welcome(f, worker, 8, NULL, 0), 0);
    for (uint32_t i = 0; i < WIRE_FDS_MAX; i++) {
        close(fds[i]);
    }
    Seqsync__Worker__DaemonMessage *message = client_receive(f, fd, got, &got_count);
    assert_int_equal(message->request, 7);
    assert_int_equal(got_count, WIRE_FDS_MAX);
    for (uint32_t i = 0; i < WIRE_FDS_MAX; i++) {
        uint32_t value = UINT32_MAX;
        assert_int_equal(pread(got[i], &value, sizeof(value), 0), sizeof(value));
        assert_int_equal(value, i);
        close(got[i]);
    }
    message = client_receive(f, fd, got, &got_count);
    assert_int_equal(message->request, 8);
    assert_int_equal(got_count, 0);
    assert_int_equal(open_fd_count(), before);
    close(fd);
}

static void a_worker_that_does_not_read_is_lost_and_others_are_not(void **state)
{
    struct fixture *f = *state;
    uint32_t slow = 0;
    uint32_t quick = 0;
    int r = 0;
    int sent = 0;
    fixture_open(f);
    int slow_fd = client_join(f, &slow);
    int quick_fd = client_join(f, &quick);
    uint32_t before = open_fd_count();
    for (sent = 0; r == 0 && sent < 100000; sent++) {
        r = welcome(f, slow, 1, &quick_fd, 1);
    }
    assert_int_equal(r, WORKER_PORT_GONE);
    assert_true(sent > WORKER_PORT_OUT_MAX);
    assert_int_equal(f->lost_count, 0); /* not inside the call */
    assert_int_equal(welcome(f, slow, 1, NULL, 0), WORKER_PORT_GONE);
    fixture_until_lost(f, 1);
    assert_int_equal(f->lost_worker, slow);
    assert_non_null(strstr(f->lost_how, "does not read"));
    assert_int_equal(welcome(f, quick, 5, NULL, 0), 0);
    assert_int_equal(client_receive(f, quick_fd, NULL, NULL)->request, 5);
    close(slow_fd);
    fixture_until_workers(f, 1);
    assert_true(open_fd_count() < before); /* the queue's duplicates are gone */
    close(quick_fd);
}

static void a_dropped_worker_gets_all_and_makes_no_sound(void **state)
{
    struct fixture *f = *state;
    uint32_t worker = 0;
    fixture_open(f);
    int fd = client_join(f, &worker);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(welcome(f, worker, i, NULL, 0), 0);
    }
    worker_port_drop(f->port, worker);
    worker_port_drop(f->port, worker);
    assert_int_equal(welcome(f, worker, 0, NULL, 0), WORKER_PORT_GONE);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(client_receive(f, fd, NULL, NULL)->request, i);
    }
    assert_null(client_receive(f, fd, NULL, NULL));
    close(fd);
    fixture_until_workers(f, 0);
    assert_int_equal(f->lost_count, 0);
}

static void a_dropped_worker_that_does_not_hang_up_is_closed_in_time(void **state)
{
    struct fixture *f = *state;
    uint32_t worker = 0;
    f->config.handshake_ms = 20;
    fixture_open(f);
    int fd = client_join(f, &worker);
    worker_port_drop(f->port, worker);
    fixture_until_workers(f, 0);
    assert_int_equal(f->lost_count, 0);
    close(fd);
}

static void a_loss_that_is_dropped_before_its_report_is_not_reported(void **state)
{
    struct fixture *f = *state;
    uint32_t worker = 0;
    fixture_open(f);
    int fd = client_join(f, &worker);
    while (welcome(f, worker, 1, NULL, 0) == 0) {
    }
    worker_port_drop(f->port, worker);
    fixture_turns(f, 3);
    assert_int_equal(f->lost_count, 0);
    close(fd);
    fixture_until_workers(f, 0);
    assert_int_equal(f->lost_count, 0);
}

static void drop_sender(struct fixture *f, uint32_t worker)
{
    worker_port_drop(f->port, worker);
}

static void callbacks_may_drop_the_worker_they_are_about(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    f->hook = drop_sender;
    int fd = client_join(f, NULL);
    client_send_leave(fd);
    assert_null(client_receive(f, fd, NULL, NULL));
    assert_int_equal(f->message_count, 1);
    close(fd);
    fixture_until_workers(f, 0);
    assert_int_equal(f->lost_count, 0);
}

static void close_port(struct fixture *f, uint32_t worker)
{
    (void)worker;
    fixture_close(f);
}

static void a_callback_may_close_the_port(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    f->hook = close_port;
    int fd = client_connect(f->path);
    client_send_hello(fd, WIRE_PROTOCOL);
    client_send_leave(fd);
    fixture_until_messages(f, 1);
    fixture_turns(f, 3);
    assert_int_equal(f->message_count, 1);
    close(fd);
}

static void a_path_has_one_daemon(void **state)
{
    struct fixture *f = *state;
    struct worker_port *second = NULL;
    fixture_open(f);
    assert_int_equal(worker_port_open(&f->config, &second, f->text, sizeof(f->text)), -EADDRINUSE);
    assert_non_null(strstr(f->text, "another daemon serves"));
    int fd = client_join(f, NULL); /* the first is not disturbed */
    close(fd);
}

static void a_socket_that_a_dead_daemon_left_is_replaced(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    if (child == 0) {
        struct worker_port *port = NULL;
        uv_loop_fork(&f->loop);
        _exit(worker_port_open(&f->config, &port, f->text, sizeof(f->text)) == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(f->path, F_OK), 0);
    fixture_open(f);
    close(client_join(f, NULL));
}

static void a_directory_that_is_missing_is_named(void **state)
{
    struct fixture *f = *state;
    char path[400];
    snprintf(path, sizeof(path), "%s/missing/w", f->dir);
    f->config.path = path;
    assert_int_equal(worker_port_open(&f->config, &f->port, f->text, sizeof(f->text)), -ENOENT);
    assert_non_null(strstr(f->text, path));
    f->port = NULL;
}

static void an_inherited_socket_is_served_and_left_in_place(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", f->path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    f->config.listen_fd = fd;
    fixture_open(f);
    close(client_join(f, NULL));
    fixture_close(f);
    assert_int_equal(access(f->path, F_OK), 0);
    assert_int_equal(unlink(f->path), 0);
}

/* What an ordinary user, perhaps with supplementary groups, is told. */
static int32_t code_for_user(struct fixture *f, const gid_t *groups, size_t group_count)
{
    int codes[2];
    int32_t code = 1;
    assert_int_equal(pipe(codes), 0);
    pid_t child = fork();
    if (child == 0) {
        uint8_t byte[1];
        if (setgroups(group_count, groups) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(1);
        }
        int fd = client_connect(f->path);
        client_send_hello(fd, WIRE_PROTOCOL);
        (void)!read(codes[0], byte, 1); /* until the test is done with us */
        _exit(0);
    }
    uint32_t messages = f->message_count;
    struct worker_port_counters counters;
    worker_port_counters(f->port, &counters);
    uint64_t refused = counters.refused;
    while (f->message_count == messages && counters.refused == refused) {
        uv_run(&f->loop, UV_RUN_ONCE);
        worker_port_counters(f->port, &counters);
    }
    code = counters.refused > refused ? SEQSYNC_ERR_NOT_PERMITTED : 0;
    close(codes[0]);
    close(codes[1]);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return code;
}

static void only_permitted_users_are_served(void **state)
{
    struct fixture *f = *state;
    static const uid_t users[] = {1, 65534};
    static const gid_t groups[] = {4242};
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(chmod(f->dir, 0755), 0);
    fixture_open(f);
    assert_int_equal(chmod(f->path, 0666), 0); /* so that it is not the path that keeps them out */
    assert_int_equal(code_for_user(f, NULL, 0), SEQSYNC_ERR_NOT_PERMITTED);
    assert_int_equal(code_for_user(f, groups, 1), SEQSYNC_ERR_NOT_PERMITTED);
    fixture_close(f);
    fixture_turns(f, 2);
    f->config.users = users;
    f->config.user_count = 2;
    fixture_open(f);
    assert_int_equal(chmod(f->path, 0666), 0);
    assert_int_equal(code_for_user(f, NULL, 0), 0);
    fixture_close(f);
    fixture_turns(f, 2);
    f->config.user_count = 0;
    f->config.has_group = true;
    f->config.group = 4242;
    fixture_open(f);
    assert_int_equal(chmod(f->path, 0666), 0);
    assert_int_equal(code_for_user(f, NULL, 0), SEQSYNC_ERR_NOT_PERMITTED);
    assert_int_equal(code_for_user(f, groups, 1), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(hello_comes_with_who_says_it),
        TEST(the_socket_is_for_user_and_group_only),
        TEST(another_protocol_is_answered_and_closed),
        TEST(a_killed_worker_is_named_after_its_last_words),
        TEST(a_dead_process_is_lost_though_its_child_holds_the_socket),
        TEST(a_living_process_that_hangs_up_is_told_apart),
        TEST(descriptors_arrive_beside_their_message),
        TEST(a_worker_that_does_not_read_is_lost_and_others_are_not),
        TEST(a_dropped_worker_gets_all_and_makes_no_sound),
        TEST(a_dropped_worker_that_does_not_hang_up_is_closed_in_time),
        TEST(a_loss_that_is_dropped_before_its_report_is_not_reported),
        TEST(callbacks_may_drop_the_worker_they_are_about),
        TEST(a_callback_may_close_the_port),
        TEST(a_path_has_one_daemon),
        TEST(a_socket_that_a_dead_daemon_left_is_replaced),
        TEST(a_directory_that_is_missing_is_named),
        TEST(an_inherited_socket_is_served_and_left_in_place),
        TEST(only_permitted_users_are_served),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
