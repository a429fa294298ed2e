#include "test_worker_port_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATIENCE_MS 30000

static void on_message(void *ctx, uint32_t worker, const struct worker_peer *peer,
                       const Seqsync__Worker__WorkerMessage *message)
{
    struct fixture *f = ctx;
    if (f->message_count < EVENTS_MAX) {
        f->workers[f->message_count] = worker;
        f->bodies[f->message_count] = (int)message->body_case;
    }
    f->message_count++;
    f->peer = *peer;
    f->called_inside = f->called_inside || f->inside_call;
    if (f->hook != NULL) {
        f->hook(f, worker);
    }
}

static void on_lost(void *ctx, uint32_t worker, int32_t code, const char *how)
{
    struct fixture *f = ctx;
    f->lost_count++;
    f->lost_worker = worker;
    f->lost_code = code;
    snprintf(f->lost_how, sizeof(f->lost_how), "%s", how);
    f->called_inside = f->called_inside || f->inside_call;
    if (f->hook != NULL) {
        f->hook(f, worker);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    f->timed_out = true;
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.60s/seqsync-worker-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(f->dir) == NULL || uv_loop_init(&f->loop) != 0) {
        return -1;
    }
    snprintf(f->path, sizeof(f->path), "%s/w", f->dir);
    uv_timer_init(&f->loop, &f->deadline);
    f->deadline.data = f;
    f->memory = frame_memory_new();
    f->config = (struct worker_port_config){.loop = &f->loop,
                                            .path = f->path,
                                            .listen_fd = -1,
                                            .workers_max = 16,
                                            .workers_per_user_max = 8,
                                            .handshake_ms = 5000,
                                            .node_name = "node-a",
                                            .ops = {on_message, on_lost},
                                            .ctx = f};
    *state = f;
    return 0;
}

void fixture_open(struct fixture *f)
{
    int r = worker_port_open(&f->config, &f->port, f->text, sizeof(f->text));
    if (r != 0) {
        fail_msg("%d: %s", r, f->text);
    }
}

void fixture_close(struct fixture *f)
{
    worker_port_close(f->port);
    f->port = NULL;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    uv_close((uv_handle_t *)&f->deadline, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int r = (int)loop_leftovers(&f->loop, NULL, NULL);
    r |= uv_loop_close(&f->loop);
    r |= f->called_inside;
    frame_memory_free(f->memory);
    /* Fails unless the socket and its lock are gone. */
    r |= rmdir(f->dir);
    free(f);
    return r;
}

void fixture_until(struct fixture *f, bool (*done)(struct fixture *f))
{
    f->timed_out = false;
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    while (!done(f) && !f->timed_out) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&f->deadline);
    assert_false(f->timed_out);
}

void fixture_until_messages(struct fixture *f, uint32_t count)
{
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    for (f->timed_out = false; f->message_count < count && !f->timed_out;) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&f->deadline);
    assert_int_equal(f->message_count, count);
}

void fixture_until_lost(struct fixture *f, uint32_t count)
{
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    for (f->timed_out = false; f->lost_count < count && !f->timed_out;) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&f->deadline);
    assert_int_equal(f->lost_count, count);
}

void fixture_until_workers(struct fixture *f, uint32_t count)
{
    struct worker_port_counters counters;
    worker_port_counters(f->port, &counters);
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    for (f->timed_out = false; counters.workers != count && !f->timed_out;) {
        uv_run(&f->loop, UV_RUN_ONCE);
        worker_port_counters(f->port, &counters);
    }
    uv_timer_stop(&f->deadline);
    assert_int_equal(counters.workers, count);
}

void fixture_turns(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

int client_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void client_send(int fd, const Seqsync__Worker__WorkerMessage *message)
{
    uint8_t bytes[WIRE_WORKER_FRAME_MAX];
    size_t length = frame_encode(&message->base, bytes, sizeof(bytes));
    assert_true(length > 0);
    assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

void client_send_hello(int fd, uint32_t protocol)
{
    Seqsync__Worker__Hello hello = SEQSYNC__WORKER__HELLO__INIT;
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    char version[] = "0.1.0";
    char job[] = "job";
    hello.protocol = protocol;
    hello.version = version;
    hello.job = job;
    hello.world_size = 1;
    message.request = 42;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    client_send(fd, &message);
}

void client_send_leave(int fd)
{
    Seqsync__Worker__Leave leave = SEQSYNC__WORKER__LEAVE__INIT;
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE;
    message.leave = &leave;
    client_send(fd, &message);
}

static uint32_t take_fds(struct msghdr *message, int *fds)
{
    uint32_t count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(header), n * sizeof(int));
        count = (uint32_t)n;
    }
    return count;
}

Seqsync__Worker__DaemonMessage *client_receive(struct fixture *f, int fd, int *fds,
                                               uint32_t *ret_fd_count)
{
    static uint8_t bytes[WIRE_WORKER_FRAME_MAX];
    uint8_t control[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
    struct iovec vector = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t length = -1;
    f->timed_out = false;
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    while (!f->timed_out) {
        message.msg_control = fds != NULL ? control : NULL;
        message.msg_controllen = fds != NULL ? sizeof(control) : 0;
        length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length >= 0 || (errno != EAGAIN && errno != ECONNRESET)) {
            break;
        }
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    uv_timer_stop(&f->deadline);
    assert_true(length >= 0);
    if (length == 0) {
        return NULL;
    }
    if (fds != NULL) {
        *ret_fd_count = take_fds(&message, fds);
    }
    Seqsync__Worker__DaemonMessage *decoded = NULL;
    assert_null(frame_decode_daemon(f->memory, bytes, (size_t)length, &decoded));
    return decoded;
}

int client_join(struct fixture *f, uint32_t *ret_worker)
{
    uint32_t before = f->message_count;
    int fd = client_connect(f->path);
    assert_true(fd >= 0);
    client_send_hello(fd, WIRE_PROTOCOL);
    fixture_until_messages(f, before + 1);
    assert_int_equal(f->bodies[before], SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO);
    if (ret_worker != NULL) {
        *ret_worker = f->workers[before];
    }
    return fd;
}

void client_expect_failure(struct fixture *f, int fd, int32_t code, const char *text)
{
    Seqsync__Worker__DaemonMessage *message = client_receive(f, fd, NULL, NULL);
    assert_non_null(message);
    assert_int_equal(message->body_case, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE);
    assert_int_equal(message->failure->code, code);
    assert_string_equal(message->failure->node, "node-a");
    if (strstr(message->failure->text, text) == NULL) {
        fail_msg("\"%s\" is not in: %s", text, message->failure->text);
    }
    assert_null(client_receive(f, fd, NULL, NULL));
}

uint32_t open_fd_count(void)
{
    uint32_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}
