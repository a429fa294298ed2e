/* Clients that break the contract: they lose their session, nobody else notices. */
#include "test_worker_port_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

static uint64_t violations(const struct fixture *f)
{
    struct worker_port_counters counters;
    worker_port_counters(f->port, &counters);
    return counters.violations;
}

struct bytes {
    const char *what;
    size_t length;
    const char *bytes;
};

/* Frames that are no message. Their length may be one that must be filled up with zeros. */
static const struct bytes bad_frames[] = {
    {"one byte", 1, "\xff"},
    {"truncated hello", 4, "\x08\x01\x12\x20"},
    {"a length beyond the end", 6, "\x12\xff\xff\xff\xff\x0f"},
    {"an overlong varint", 12, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
    {"no body", 2, "\x08\x01"},
    {"zeros", 65536, ""},
    {"too large", 65537, ""},
    {"much too large", 150000, ""},
};

static void send_bad(int fd, const struct bytes *bad)
{
    static char bytes[150000];
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, bad->bytes, bad->length < 16 ? bad->length : strlen(bad->bytes));
    assert_int_equal(send(fd, bytes, bad->length, MSG_NOSIGNAL), bad->length);
}

static void bad_first_frames_are_answered_and_closed(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int witness = client_join(f, NULL);
    for (size_t i = 0; i < sizeof(bad_frames) / sizeof(bad_frames[0]); i++) {
        int fd = client_connect(f->path);
        send_bad(fd, &bad_frames[i]);
        client_expect_failure(f, fd, SEQSYNC_ERR_PROTOCOL, "sent a bad message");
        assert_int_equal(violations(f), i + 1);
        close(fd);
    }
    fixture_until_workers(f, 1);
    assert_int_equal(f->message_count, 1);
    assert_int_equal(f->lost_count, 0);
    client_send_leave(witness);
    fixture_until_messages(f, 2);
    close(witness);
}

static void bad_frames_of_a_live_worker_end_its_session(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int witness = client_join(f, NULL);
    for (uint32_t i = 0; i < sizeof(bad_frames) / sizeof(bad_frames[0]); i++) {
        uint32_t worker = 0;
        int fd = client_join(f, &worker);
        send_bad(fd, &bad_frames[i]);
        client_send_leave(fd); /* is not looked at any more */
        fixture_until_lost(f, i + 1);
        assert_int_equal(f->lost_worker, worker);
        assert_int_equal(f->lost_code, SEQSYNC_ERR_PROTOCOL);
        client_expect_failure(f, fd, SEQSYNC_ERR_PROTOCOL, "sent a bad message");
        close(fd);
    }
    fixture_until_workers(f, 1);
    client_send_leave(witness);
    fixture_until_messages(f, 2 + sizeof(bad_frames) / sizeof(bad_frames[0]));
    close(witness);
}

static void messages_before_and_after_hello_are_violations(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int fd = client_connect(f->path);
    client_send_leave(fd);
    client_expect_failure(f, fd, SEQSYNC_ERR_PROTOCOL, "not Hello");
    close(fd);
    fd = client_join(f, NULL);
    client_send_hello(fd, WIRE_PROTOCOL);
    fixture_until_lost(f, 1);
    client_expect_failure(f, fd, SEQSYNC_ERR_PROTOCOL, "Hello twice");
    close(fd);
}

static void send_with_fds(int fd, int passed, uint32_t count)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(250 * sizeof(int))];
    } control = {.bytes = {0}};
    char byte = 'x';
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (uint32_t i = 0; i < count; i++) {
        memcpy(CMSG_DATA(header) + i * sizeof(int), &passed, sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), 1);
}

static void descriptors_nobody_asked_for_are_closed(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int fd = client_join(f, NULL);
    uint32_t before = open_fd_count();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    send_with_fds(fd, null, 250);
    close(null);
    fixture_until_lost(f, 1);
    assert_int_equal(f->lost_code, SEQSYNC_ERR_PROTOCOL);
    assert_non_null(strstr(f->lost_how, "file descriptors beside it"));
    assert_int_equal(open_fd_count(), before);
    close(fd);
}

static void who_says_nothing_is_closed_in_time(void **state)
{
    struct fixture *f = *state;
    f->config.handshake_ms = 20;
    fixture_open(f);
    int fd = client_connect(f->path);
    client_expect_failure(f, fd, SEQSYNC_ERR_TIMEOUT, "no Hello");
    assert_int_equal(violations(f), 1);
    close(fd);
    fixture_until_workers(f, 0);
}

static void a_user_cannot_take_all_places(void **state)
{
    struct fixture *f = *state;
    int fds[3];
    f->config.workers_per_user_max = 2;
    fixture_open(f);
    fds[0] = client_join(f, NULL);
    fds[1] = client_connect(f->path); /* counts though it says nothing */
    fixture_until_workers(f, 2);
    fds[2] = client_connect(f->path);
    client_expect_failure(f, fds[2], SEQSYNC_ERR_NO_CAPACITY, "workers-per-user");
    close(fds[1]);
    fixture_until_workers(f, 1);
    int again = client_join(f, NULL);
    close(again);
    close(fds[0]);
    close(fds[2]);
}

static void the_port_has_so_many_places(void **state)
{
    struct fixture *f = *state;
    f->config.workers_max = 1;
    fixture_open(f);
    int first = client_join(f, NULL);
    int second = client_connect(f->path);
    client_expect_failure(f, second, SEQSYNC_ERR_NO_CAPACITY, "[limits] workers allows");
    close(first);
    close(second);
}

/* A scan, a fork bomb: connections that come and go leave nothing, and a worker is served all the
 * while. */
static void ten_thousand_connections_leave_nothing(void **state)
{
    struct fixture *f = *state;
    uint32_t expected = 1;
    fixture_open(f);
    int witness = client_join(f, NULL);
    fixture_turns(f, 2);
    uint32_t before = open_fd_count();
    for (int i = 0; i < 10000; i++) {
        int fd = client_connect(f->path);
        while (fd < 0) { /* the backlog is full */
            assert_int_equal(errno, EAGAIN);
            fixture_turns(f, 1);
            fd = client_connect(f->path);
        }
        if (i % 3 == 0) {
            assert_true(send(fd, "\xff", 1, MSG_NOSIGNAL) == 1 || errno == EPIPE ||
                        errno == ECONNRESET);
        }
        close(fd);
        if (i % 1000 == 0) {
            client_send_leave(witness);
            fixture_until_messages(f, ++expected);
        }
    }
    fixture_until_workers(f, 1);
    fixture_turns(f, 2);
    assert_int_equal(open_fd_count(), before);
    assert_int_equal(f->lost_count, 0);
    close(witness);
}

static struct {
    uint32_t flooder;
    uint32_t in_turn;
    uint32_t in_turn_max;
} flood;

static void count_flood(struct fixture *f, uint32_t worker)
{
    (void)f;
    flood.in_turn += worker == flood.flooder;
}

static void on_turn(uv_prepare_t *prepare)
{
    (void)prepare;
    if (flood.in_turn > flood.in_turn_max) {
        flood.in_turn_max = flood.in_turn;
    }
    flood.in_turn = 0;
}

static void a_flood_is_read_in_portions(void **state)
{
    struct fixture *f = *state;
    uv_prepare_t prepare;
    memset(&flood, 0, sizeof(flood));
    fixture_open(f);
    int noisy = client_join(f, &flood.flooder);
    int quiet = client_join(f, NULL);
    int big = 1 << 20;
    setsockopt(noisy, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
    uint8_t leave[] = {0x52, 0x00}; /* an empty Leave */
    uint32_t sent = 0;
    while (send(noisy, leave, sizeof(leave), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
        sent++;
    }
    assert_true(sent > 64);
    f->hook = count_flood;
    uv_prepare_init(&f->loop, &prepare);
    uv_prepare_start(&prepare, on_turn);
    client_send_leave(quiet);
    fixture_until_messages(f, 2 + sent + 1);
    uv_close((uv_handle_t *)&prepare, NULL);
    fixture_turns(f, 1); /* it lives on this stack */
    assert_in_range(flood.in_turn_max, 1, 16);
    close(noisy);
    close(quiet);
}

static void without_descriptors_clients_are_turned_away(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    struct rlimit tight;
    fixture_open(f);
    int witness = client_join(f, NULL);
    int fd = client_connect(f->path); /* is in the backlog */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)dup(0); /* the next free one: no more can be opened */
    close((int)tight.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    fixture_turns(f, 3);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    client_expect_failure(f, fd, SEQSYNC_ERR_NO_CAPACITY, "descriptors");
    client_send_leave(witness);
    fixture_until_messages(f, 2);
    close(fd);
    close(witness);
}

/* A message to it would be missed by nobody but the job; so the session ends. */
static void who_stops_listening_is_lost_though_it_holds_the_connection(void **state)
{
    struct fixture *f = *state;
    Seqsync__Worker__Failure failure = SEQSYNC__WORKER__FAILURE__INIT;
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    uint32_t worker = 0;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE;
    message.failure = &failure;
    fixture_open(f);
    int fd = client_join(f, &worker);
    assert_int_equal(shutdown(fd, SHUT_RD), 0);
    assert_int_equal(worker_port_send(f->port, worker, &message, NULL, 0), 0);
    fixture_until_lost(f, 1);
    assert_int_equal(f->lost_worker, worker);
    assert_non_null(strstr(f->lost_how, "closed its connection"));
    close(fd);
    fixture_until_workers(f, 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bad_first_frames_are_answered_and_closed),
        TEST(bad_frames_of_a_live_worker_end_its_session),
        TEST(messages_before_and_after_hello_are_violations),
        TEST(descriptors_nobody_asked_for_are_closed),
        TEST(who_says_nothing_is_closed_in_time),
        TEST(a_user_cannot_take_all_places),
        TEST(the_port_has_so_many_places),
        TEST(ten_thousand_connections_leave_nothing),
        TEST(who_stops_listening_is_lost_though_it_holds_the_connection),
        TEST(a_flood_is_read_in_portions),
        TEST(without_descriptors_clients_are_turned_away),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
