/*
 * A connection's life:
 *
 *   GREETING -> LIVE     its Hello is valid and it is permitted
 *   GREETING -> WORDS    anything else, or nothing in time: it is told why
 *   LIVE -> LOST         end, exit, violation, or it does not read; reported in the next turn of
 * the loop, never inside a call; then WORDS if it can be told why, else CLOSED LIVE, LOST -> WORDS
 * dropped by the caller WORDS -> CLOSED      what was queued is sent and it hung up, or the time is
 * over
 *
 * A dead process shows twice: as the end of the connection and on its pidfd, in either order. What
 * it sent before is read first; at the end the pidfd gets EXIT_MS to say whether the process died
 * or only hung up, because the words differ.
 */
#include "daemon/io/worker_port.h"

#include "daemon/base/err.h"
#include "daemon/host/log.h"
#include "daemon/io/worker_listen.h"
#include "daemon/io/worker_queue.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <seqsync/status.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ACCEPT_BUDGET 32 /* connections taken per turn */
#define READ_BUDGET 16   /* datagrams read per turn and worker */
#define LOST_BUDGET 256  /* losses reported per turn */
#define EXIT_MS 100
#define TEXT_MAX 256
#define SLOT_BITS 12
_Static_assert(1u << SLOT_BITS == WORKER_PORT_WORKERS_MAX, "a handle's low bits are its slot");

enum conn_state { CONN_GREETING, CONN_LIVE, CONN_LOST, CONN_WORDS, CONN_CLOSED };

struct conn {
    struct worker_port *port;
    struct loop_handles handles;
    uv_poll_t poll;
    uv_poll_t exit; /* of pidfd */
    uv_timer_t timer;
    struct worker_queue queue;
    struct conn *lost_next;
    struct worker_peer peer;
    enum conn_state state;
    uint32_t worker; /* handle */
    int fd;
    int pidfd; /* -1 = none */
    bool exited;
    bool ended;   /* nothing more can be read */
    bool shut;    /* WORDS: all is sent */
    bool tell;    /* LOST: its queue holds a Failure for it */
    int32_t code; /* LOST */
    char how[TEXT_MAX];
};

struct worker_port {
    struct worker_port_config config;
    struct loop_handles handles;
    uv_poll_t accept;
    uv_idle_t later;
    struct worker_listen listen;
    int spare_fd; /* given up to accept, and refuse, when descriptors run out */
    bool accepting;
    bool closing;
    uint32_t conn_count; /* living or being closed */
    uint32_t generation;
    struct conn **slots; /* [workers_max], NULL = free */
    struct conn *lost;   /* to be reported */
    uid_t *users;        /* config.users */
    struct frame_memory *memory;
    struct worker_port_counters counters;
    uint8_t in[WIRE_WORKER_FRAME_MAX];
    uint8_t out[WIRE_WORKER_FRAME_MAX];
};

static void port_maybe_free(struct worker_port *port)
{
    if (!port->closing || port->conn_count > 0 || port->handles.open > 0) {
        return;
    }
    frame_memory_free(port->memory);
    free(port->users);
    free(port->slots);
    free(port);
}

/* ---- connections ---- */

static struct conn *conn_of(void *data)
{
    return loop_owner(data, struct conn, handles);
}

static struct conn *conn_find(struct worker_port *port, uint32_t worker)
{
    uint32_t slot = worker & (WORKER_PORT_WORKERS_MAX - 1);
    if (slot >= port->config.workers_max) {
        return NULL;
    }
    struct conn *conn = port->slots[slot];
    return conn != NULL && conn->worker == worker ? conn : NULL;
}

static void conn_on_empty(struct loop_handles *handles)
{
    struct conn *conn = conn_of(handles);
    struct worker_port *port = conn->port;
    close(conn->fd);
    if (conn->pidfd >= 0) {
        close(conn->pidfd);
    }
    free(conn);
    port->conn_count--;
    port_maybe_free(port);
}

static void conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSED) {
        return;
    }
    struct worker_port *port = conn->port;
    conn->state = CONN_CLOSED;
    port->slots[conn->worker & (WORKER_PORT_WORKERS_MAX - 1)] = NULL;
    port->counters.workers--;
    worker_queue_clear(&conn->queue);
    loop_handle_close((uv_handle_t *)&conn->poll);
    loop_handle_close((uv_handle_t *)&conn->timer);
    if (conn->pidfd >= 0) {
        loop_handle_close((uv_handle_t *)&conn->exit);
    }
    loop_handles_close(&conn->handles);
}

static void conn_on_poll(uv_poll_t *handle, int status, int events);
static void conn_on_timer(uv_timer_t *handle);

/* Asks for what the state needs: to read unless it ended, to write while something waits. */
static void conn_watch(struct conn *conn)
{
    int events = 0;
    if (!conn->ended && conn->state != CONN_LOST) {
        events = UV_READABLE | (conn->queue.count > 0 ? UV_WRITABLE : 0);
    }
    if (events == 0) {
        uv_poll_stop(&conn->poll);
    } else {
        uv_poll_start(&conn->poll, events, conn_on_poll);
    }
}

static void port_on_later(uv_idle_t *handle);

static void conn_lose(struct conn *conn, int32_t code, const char *how)
{
    assert(conn->state == CONN_LIVE);
    struct worker_port *port = conn->port;
    conn->state = CONN_LOST;
    conn->code = code;
    snprintf(conn->how, sizeof(conn->how), "%s", how);
    uv_timer_stop(&conn->timer);
    conn_watch(conn);
    struct conn **link = &port->lost;
    while (*link != NULL) {
        link = &(*link)->lost_next;
    }
    *link = conn;
    uv_idle_start(&port->later, port_on_later);
}

static void lost_unlink(struct conn *conn)
{
    struct conn **link = &conn->port->lost;
    while (*link != conn) {
        link = &(*link)->lost_next;
    }
    *link = conn->lost_next;
    conn->lost_next = NULL;
}

/* The connection's end was seen, and all before it was read. */
static void conn_end(struct conn *conn)
{
    char how[TEXT_MAX];
    conn->ended = true;
    if (conn->state != CONN_LIVE) {
        conn_close(conn);
        return;
    }
    struct pollfd exit = {.fd = conn->pidfd, .events = POLLIN};
    if (conn->pidfd >= 0 && !conn->exited && poll(&exit, 1, 0) == 0) {
        /* It may be dying: the kernel closes files before it signals the pidfd. */
        conn_watch(conn);
        uv_timer_start(&conn->timer, conn_on_timer, EXIT_MS, 0);
        return;
    }
    if (conn->pidfd >= 0) {
        snprintf(how, sizeof(how), "process %d (uid %u) exited", (int)conn->peer.pid,
                 (unsigned)conn->peer.uid);
    } else {
        snprintf(how, sizeof(how), "uid %u closed its connection", (unsigned)conn->peer.uid);
    }
    conn_lose(conn, SEQSYNC_ERR_WORKER_LOST, how);
}

/* WORDS: sends what is queued, then says that no more comes, then waits for the other end to hang
 * up. */
static void conn_speak(struct conn *conn)
{
    int r = conn->ended ? WORKER_QUEUE_GONE : worker_queue_flush(&conn->queue, conn->fd);
    if (r == WORKER_QUEUE_GONE || r < 0) {
        conn_close(conn);
        return;
    }
    if (r == 0 && !conn->shut) {
        conn->shut = true;
        shutdown(conn->fd, SHUT_WR);
    }
    conn_watch(conn);
}

static void conn_words(struct conn *conn)
{
    conn->state = CONN_WORDS;
    uv_timer_start(&conn->timer, conn_on_timer, conn->port->config.handshake_ms, 0);
    conn_speak(conn);
}

/* Queues a Failure, if there is room for it; best effort. */
static void conn_tell(struct conn *conn, uint64_t request, int32_t code, const char *text,
                      const char *hint)
{
    struct worker_port *port = conn->port;
    Seqsync__Worker__Failure failure = SEQSYNC__WORKER__FAILURE__INIT;
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    char node[SEQSYNC_NAME_MAX + 1];
    char text_copy[TEXT_MAX];
    char hint_copy[TEXT_MAX];
    snprintf(node, sizeof(node), "%s", port->config.node_name);
    snprintf(text_copy, sizeof(text_copy), "%s", text);
    snprintf(hint_copy, sizeof(hint_copy), "%s", hint);
    failure.code = code;
    failure.node = node;
    failure.rank = -1;
    failure.text = text_copy;
    failure.hint = hint_copy;
    message.request = request;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE;
    message.failure = &failure;
    size_t length = frame_encode(&message.base, port->out, sizeof(port->out));
    if (length > 0 && worker_queue_push(&conn->queue, port->out, length, NULL, 0) == 0) {
        conn->tell = true;
    }
}

/* It broke the contract, as @what says. */
static void conn_violation(struct conn *conn, const char *what)
{
    char how[TEXT_MAX];
    conn->port->counters.violations++;
    snprintf(how, sizeof(how), "process %d (uid %u) sent a bad message: %s", (int)conn->peer.pid,
             (unsigned)conn->peer.uid, what);
    conn_tell(conn, 0, SEQSYNC_ERR_PROTOCOL, how, "libseqsync and seqsyncd must be of one release");
    if (conn->state == CONN_LIVE) {
        conn_lose(conn, SEQSYNC_ERR_PROTOCOL, how);
        return;
    }
    log_msg(LOG_LEVEL_WARNING, "%s, closing its connection", how);
    conn_words(conn);
}

static void conn_refuse(struct conn *conn, uint64_t request, int32_t code, const char *text,
                        const char *hint)
{
    conn->port->counters.refused++;
    log_msg(LOG_LEVEL_NOTICE, "process %d (uid %u): %s, closing its connection",
            (int)conn->peer.pid, (unsigned)conn->peer.uid, text);
    conn_tell(conn, request, code, text, hint);
    conn_words(conn);
}

static void conn_greet(struct conn *conn, const Seqsync__Worker__WorkerMessage *message)
{
    struct worker_port *port = conn->port;
    char text[TEXT_MAX];
    if (message->body_case != SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO) {
        conn_violation(conn, "the first message is not Hello");
        return;
    }
    if (!worker_listen_permits(&port->config, conn->fd, &conn->peer)) {
        snprintf(text, sizeof(text), "the daemon does not serve uid %u", (unsigned)conn->peer.uid);
        conn_refuse(conn, message->request, SEQSYNC_ERR_NOT_PERMITTED, text,
                    "have the user added to the group of [security] worker-group");
        return;
    }
    if (message->hello->protocol != WIRE_PROTOCOL) {
        snprintf(text, sizeof(text), "the worker speaks protocol %u, the daemon %u",
                 (unsigned)message->hello->protocol, (unsigned)WIRE_PROTOCOL);
        conn_refuse(conn, message->request, SEQSYNC_ERR_VERSION, text,
                    "libseqsync and seqsyncd must be of one release");
        return;
    }
    conn->state = CONN_LIVE;
    uv_timer_stop(&conn->timer);
    port->config.ops.on_message(port->config.ctx, conn->worker, &conn->peer, message);
}

static void conn_take(struct conn *conn, size_t length)
{
    struct worker_port *port = conn->port;
    Seqsync__Worker__WorkerMessage *message = NULL;
    const char *wrong = frame_decode_worker(port->memory, port->in, length, &message);
    if (wrong != NULL) {
        conn_violation(conn, wrong);
    } else if (conn->state == CONN_GREETING) {
        conn_greet(conn, message);
    } else if (message->body_case == SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO) {
        conn_violation(conn, "it says Hello twice");
    } else {
        port->config.ops.on_message(port->config.ctx, conn->worker, &conn->peer, message);
    }
}

/* Reads up to the budget. In WORDS it only looks for the end. */
static void conn_read(struct conn *conn)
{
    for (uint32_t i = 0; i < READ_BUDGET; i++) {
        if (conn->ended || conn->state == CONN_LOST || conn->state == CONN_CLOSED) {
            return;
        }
        ssize_t length = worker_queue_receive(conn->fd, conn->port->in);
        if (length == -EAGAIN) {
            if (conn->exited) {
                conn_end(conn); /* though another process may hold the connection open */
            }
            return;
        }
        if (length == -ECONNRESET) {
            continue; /* the end, with something of ours unread: what is left comes next */
        }
        if (length == 0 || (length < 0 && length != -EMSGSIZE && length != -EBADMSG)) {
            conn_end(conn);
            return;
        }
        if (conn->state == CONN_WORDS) {
            continue;
        }
        if (length == -EMSGSIZE) {
            conn_violation(conn, "it is too large");
        } else if (length == -EBADMSG) {
            conn_violation(conn, "there are file descriptors beside it");
        } else {
            conn_take(conn, (size_t)length);
        }
    }
}

/* Sends what it can. A message that is not delivered ends the session: a gap would never be found.
 */
static void conn_flush(struct conn *conn)
{
    int r = worker_queue_flush(&conn->queue, conn->fd);
    if (r < 0 && conn->state == CONN_LIVE) {
        char how[TEXT_MAX];
        snprintf(how, sizeof(how), "messages to process %d (uid %u) cannot be sent: %s",
                 (int)conn->peer.pid, (unsigned)conn->peer.uid, strerror(-r));
        worker_queue_clear(&conn->queue);
        conn_lose(conn, SEQSYNC_ERR_WORKER_LOST, how);
        return;
    }
    if (r == WORKER_QUEUE_GONE) {
        worker_queue_clear(&conn->queue);
        /* Reading finds the end, and first what was said before it; unless only the worker's
         * receiving half is shut. */
        if (conn->state == CONN_LIVE && !uv_is_active((uv_handle_t *)&conn->timer)) {
            uv_timer_start(&conn->timer, conn_on_timer, EXIT_MS, 0);
        }
    }
    conn_watch(conn);
}

static void conn_on_poll(uv_poll_t *handle, int status, int events)
{
    struct conn *conn = conn_of(handle->data);
    /* An error stops the handle; reading tells what it is. */
    if (status < 0 || (events & UV_READABLE) != 0) {
        conn_read(conn);
    }
    if (conn->state == CONN_WORDS) {
        conn_speak(conn);
    } else if (conn->state == CONN_GREETING || conn->state == CONN_LIVE) {
        conn_flush(conn);
    }
}

static void conn_on_exit(uv_poll_t *handle, int status, int events)
{
    struct conn *conn = conn_of(handle->data);
    (void)status;
    (void)events;
    conn->exited = true;
    uv_poll_stop(&conn->exit);
    if (conn->ended && conn->state == CONN_LIVE) {
        conn_end(conn);
    } else if (conn->state != CONN_LOST) {
        conn_read(conn);
    }
}

static void conn_on_timer(uv_timer_t *handle)
{
    struct conn *conn = conn_of(handle->data);
    char how[TEXT_MAX];
    switch (conn->state) {
    case CONN_GREETING:
        conn->port->counters.violations++;
        log_msg(LOG_LEVEL_NOTICE, "process %d (uid %u) says nothing, closing its connection",
                (int)conn->peer.pid, (unsigned)conn->peer.uid);
        conn_tell(conn, 0, SEQSYNC_ERR_TIMEOUT, "no Hello came in time", "");
        conn_words(conn);
        return;
    case CONN_LIVE: /* it hung up, or stopped listening, EXIT_MS ago and lives */
        snprintf(how, sizeof(how), "process %d (uid %u) closed its connection", (int)conn->peer.pid,
                 (unsigned)conn->peer.uid);
        conn_lose(conn, SEQSYNC_ERR_WORKER_LOST, how);
        return;
    case CONN_WORDS:
        conn_close(conn);
        return;
    case CONN_LOST:
    case CONN_CLOSED:
        return;
    }
}

/* Reports losses. The list is taken first: what a callback loses comes in the next turn. */
static void port_on_later(uv_idle_t *handle)
{
    struct worker_port *port = loop_owner(handle->data, struct worker_port, handles);
    uint32_t workers[LOST_BUDGET];
    uint32_t count = 0;
    for (struct conn *conn = port->lost; conn != NULL && count < LOST_BUDGET;
         conn = conn->lost_next) {
        workers[count++] = conn->worker;
    }
    for (uint32_t i = 0; i < count && !port->closing; i++) {
        struct conn *conn = conn_find(port, workers[i]);
        if (conn == NULL || conn->state != CONN_LOST) {
            continue; /* dropped by an earlier callback */
        }
        lost_unlink(conn);
        if (conn->tell) {
            conn_words(conn);
        } else {
            conn_close(conn);
        }
        /* The memory stays until the close callback, at the end of this turn. */
        port->config.ops.on_lost(port->config.ctx, workers[i], conn->code, conn->how);
    }
    if (port->lost == NULL && !port->closing) {
        uv_idle_stop(&port->later);
    }
}

/* ---- accepting ---- */

static bool port_has_room(const struct worker_port *port, uid_t uid, uint32_t *ret_slot,
                          const char **ret_text)
{
    uint32_t of_user = 0;
    bool found = false;
    for (uint32_t i = 0; i < port->config.workers_max; i++) {
        if (port->slots[i] == NULL) {
            if (!found) {
                *ret_slot = i;
                found = true;
            }
        } else if (port->slots[i]->peer.uid == uid) {
            of_user++;
        }
    }
    if (!found) {
        *ret_text = "the daemon has as many workers as [limits] workers allows";
        return false;
    }
    if (of_user >= port->config.workers_per_user_max) {
        *ret_text = "this user has as many workers as [limits] workers-per-user allows";
        return false;
    }
    return true;
}

/* Tells in one breath and hangs up: nothing is kept of a connection that there is no room for. */
static void port_turn_away(struct worker_port *port, int fd, const char *text)
{
    struct conn conn = {.port = port};
    port->counters.refused++;
    conn_tell(&conn, 0, SEQSYNC_ERR_NO_CAPACITY, text, "seqctl status shows who is connected");
    (void)worker_queue_flush(&conn.queue, fd);
    worker_queue_clear(&conn.queue);
    /* A datagram left unread would make the close a reset, which may hide our words. */
    (void)worker_queue_receive(fd, port->in);
    close(fd);
}

static int conn_open(struct worker_port *port, int fd, const struct worker_peer *peer,
                     uint32_t slot)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        return err_origin(-ENOMEM);
    }
    int r = uv_poll_init(port->config.loop, &conn->poll, fd);
    if (r < 0) {
        free(conn);
        return err_origin(r);
    }
    conn->port = port;
    conn->peer = *peer;
    conn->fd = fd;
    conn->handles.on_empty = conn_on_empty;
    loop_adopt(&conn->handles, (uv_handle_t *)&conn->poll);
    uv_timer_init(port->config.loop, &conn->timer);
    loop_adopt(&conn->handles, (uv_handle_t *)&conn->timer);
    port->generation = port->generation % ((1u << (32 - SLOT_BITS)) - 1) + 1;
    conn->worker = (port->generation << SLOT_BITS) | slot;
    conn->pidfd = peer->pid > 0 ? (int)syscall(SYS_pidfd_open, peer->pid, 0) : -1;
    if (conn->pidfd >= 0 && uv_poll_init(port->config.loop, &conn->exit, conn->pidfd) < 0) {
        close(conn->pidfd);
        conn->pidfd = -1;
    }
    if (conn->pidfd >= 0) {
        loop_adopt(&conn->handles, (uv_handle_t *)&conn->exit);
        uv_poll_start(&conn->exit, UV_READABLE, conn_on_exit);
    }
    uv_timer_start(&conn->timer, conn_on_timer, port->config.handshake_ms, 0);
    port->slots[slot] = conn;
    port->conn_count++;
    port->counters.workers++;
    port->counters.accepted++;
    conn_watch(conn);
    return 0;
}

/* 0, or negative errno of accept. */
static int port_accept(struct worker_port *port)
{
    int fd = accept4(port->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    struct worker_peer peer;
    uint32_t slot = 0;
    const char *text = "";
    if (worker_listen_peer(fd, &peer) < 0) {
        close(fd);
        return 0;
    }
    if (!port_has_room(port, peer.uid, &slot, &text)) {
        port_turn_away(port, fd, text);
    } else if (conn_open(port, fd, &peer, slot) < 0) {
        port_turn_away(port, fd, "the daemon is out of memory or descriptors");
    }
    return 0;
}

static void port_on_accept(uv_poll_t *handle, int status, int events)
{
    struct worker_port *port = loop_owner(handle->data, struct worker_port, handles);
    (void)status;
    (void)events;
    for (uint32_t i = 0; i < ACCEPT_BUDGET; i++) {
        int r = port_accept(port);
        if (port->spare_fd < 0) {
            port->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* lost to another thread */
        }
        if ((r == -EMFILE || r == -ENFILE) && port->spare_fd >= 0) {
            /* Without this the connection would stay in the backlog and wake the loop for ever. */
            close(port->spare_fd);
            int fd = accept4(port->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) {
                port_turn_away(port, fd, "the daemon is out of descriptors");
            }
            port->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        } else if (r < 0 && r != -EINTR && r != -ECONNABORTED) {
            return;
        }
    }
}

/* ---- the port ---- */

static void port_on_empty(struct loop_handles *handles)
{
    port_maybe_free(loop_owner(handles, struct worker_port, handles));
}

int worker_port_open(const struct worker_port_config *config, struct worker_port **ret,
                     char *ret_text, size_t size)
{
    assert(config->workers_max > 0);
    assert(config->workers_max <= WORKER_PORT_WORKERS_MAX);
    struct worker_port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        snprintf(ret_text, size, "out of memory");
        return err_origin(-ENOMEM);
    }
    port->config = *config;
    port->handles.on_empty = port_on_empty;
    port->slots = calloc(config->workers_max, sizeof(*port->slots));
    port->memory = frame_memory_new();
    size_t users_bytes = config->user_count * sizeof(uid_t);
    port->users = malloc(users_bytes + 1);
    port->config.users = port->users;
    int r = -ENOMEM;
    if (port->slots == NULL || port->memory == NULL || port->users == NULL) {
        snprintf(ret_text, size, "out of memory");
        goto fail;
    }
    if (users_bytes > 0) {
        memcpy(port->users, config->users, users_bytes);
    }
    r = worker_listen_open(&port->listen, config, ret_text, size);
    if (r < 0) {
        goto fail;
    }
    r = uv_poll_init(config->loop, &port->accept, port->listen.fd);
    if (r < 0) {
        snprintf(ret_text, size, "cannot watch the worker socket: %s", uv_strerror(r));
        worker_listen_close(&port->listen);
        goto fail;
    }
    loop_adopt(&port->handles, (uv_handle_t *)&port->accept);
    uv_idle_init(config->loop, &port->later);
    loop_adopt(&port->handles, (uv_handle_t *)&port->later);
    uv_poll_start(&port->accept, UV_READABLE, port_on_accept);
    port->accepting = true;
    port->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *ret = port;
    return 0;
fail:
    frame_memory_free(port->memory);
    free(port->slots);
    free(port->users);
    free(port);
    return err_origin(r);
}

void worker_port_stop_accepting(struct worker_port *port)
{
    if (port->accepting) {
        port->accepting = false;
        uv_poll_stop(&port->accept);
    }
}

void worker_port_close(struct worker_port *port)
{
    if (port == NULL) {
        return;
    }
    assert(!port->closing);
    worker_port_stop_accepting(port);
    port->closing = true;
    port->lost = NULL;
    for (uint32_t i = 0; i < port->config.workers_max; i++) {
        if (port->slots[i] != NULL) {
            conn_close(port->slots[i]);
        }
    }
    if (port->spare_fd >= 0) {
        close(port->spare_fd);
    }
    loop_handle_close((uv_handle_t *)&port->accept);
    loop_handle_close((uv_handle_t *)&port->later);
    worker_listen_close(&port->listen);
    loop_handles_close(&port->handles);
}

int worker_port_send(struct worker_port *port, uint32_t worker,
                     const Seqsync__Worker__DaemonMessage *message, const int *fds,
                     uint32_t fd_count)
{
    struct conn *conn = conn_find(port, worker);
    if (conn == NULL || conn->state != CONN_LIVE || conn->ended) {
        return WORKER_PORT_GONE;
    }
    size_t length = frame_encode(&message->base, port->out, sizeof(port->out));
    if (length == 0) {
        return err_origin(-EMSGSIZE);
    }
    int r = worker_queue_push(&conn->queue, port->out, length, fds, fd_count);
    if (r == WORKER_QUEUE_FULL) {
        char how[TEXT_MAX];
        port->counters.unread++;
        snprintf(how, sizeof(how), "process %d (uid %u) does not read its messages",
                 (int)conn->peer.pid, (unsigned)conn->peer.uid);
        conn_lose(conn, SEQSYNC_ERR_WORKER_LOST, how);
        return WORKER_PORT_GONE;
    }
    if (r < 0) {
        return err_trace(r);
    }
    conn_flush(conn);
    return 0;
}

void worker_port_drop(struct worker_port *port, uint32_t worker)
{
    struct conn *conn = conn_find(port, worker);
    if (conn == NULL || (conn->state != CONN_LIVE && conn->state != CONN_LOST)) {
        return;
    }
    if (conn->state == CONN_LOST) {
        lost_unlink(conn);
    }
    conn_words(conn);
}

void worker_port_counters(const struct worker_port *port, struct worker_port_counters *ret)
{
    *ret = port->counters;
}
