/* The session's socket: one message a datagram, descriptors beside it, every wait with a deadline.
 */
#include "client/lib/session_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void seqsync__fds_close(struct seqsync__fds *fds)
{
    for (uint32_t i = 0; i < fds->count; i++) {
        if (fds->fds[i] >= 0) {
            close(fds->fds[i]);
        }
    }
    fds->count = 0;
}

/* 0, or -1 with errno. A daemon that is stopped, with a full queue of callers, would let connect()
 * wait for ever; the send timeout is what bounds it. */
static int channel_connect(const struct seqsync_session *session, int fd,
                           const struct sockaddr_un *address)
{
    const struct timeval longest = {.tv_sec = session->timeout_ms / 1000,
                                    .tv_usec = (suseconds_t)(session->timeout_ms % 1000) * 1000};
    const uint64_t deadline = seqsync__deadline_ns(session);
    int r = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof(longest));

    if (r == 0) {
        do {
            r = connect(fd, (const struct sockaddr *)(const void *)address, sizeof(*address));
        } while (r != 0 && errno == EINTR && seqsync__now_ns() < deadline);
    }
    return r;
}

int seqsync__connect(struct seqsync_session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return seqsync__end(session, SEQSYNC_ERR_UNREACHABLE, "cannot make a socket: %s",
                            strerror(errno));
    }
    memcpy(address.sun_path, session->socket_path, strlen(session->socket_path) + 1);
    if (channel_connect(session, fd, &address) != 0) {
        const int number = errno;
        close(fd);
        if (number == EAGAIN || number == EINTR) {
            return seqsync__end(session, SEQSYNC_ERR_TIMEOUT,
                                "rank %d waited %u ms for the daemon at %s to accept a connection; "
                                "it is stopped or overloaded, see seqctl status",
                                session->rank, session->timeout_ms, session->socket_path);
        }
        return seqsync__end(
            session,
            number == EACCES || number == EPERM ? SEQSYNC_ERR_NOT_PERMITTED
                                                : SEQSYNC_ERR_UNREACHABLE,
            "cannot connect to the daemon at %s: %s; is seqsyncd running? See systemctl status "
            "seqsyncd, or start the program with seqctl run",
            session->socket_path, strerror(number));
    }
    session->fd = fd;
    return 0;
}

static int channel_lost(struct seqsync_session *session, const char *how)
{
    return seqsync__end(
        session, SEQSYNC_ERR_DAEMON_LOST,
        "the daemon at %s %s; see its log (journalctl -u seqsyncd), then start again",
        session->socket_path, how);
}

/*
 * Waits until the socket is ready. 0, or an error. @deadline_ns 0 does not wait. @what is being
 * done, for the words at the deadline; NULL: 1 = not ready in time, which is no error.
 */
static int channel_wait(struct seqsync_session *session, short events, uint64_t deadline_ns,
                        const char *what)
{
    struct pollfd poll_fd = {.fd = session->fd, .events = events};

    for (;;) {
        const uint64_t now = seqsync__now_ns();
        const uint64_t left_ms = now < deadline_ns ? (deadline_ns - now) / 1000000 + 1 : 0;
        const int n = poll(&poll_fd, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return channel_lost(session, "cannot be polled");
        }
        if (seqsync__now_ns() < deadline_ns) {
            continue;
        }
        if (what == NULL) {
            return 1;
        }
        return seqsync__end(
            session, SEQSYNC_ERR_TIMEOUT,
            "rank %d waited %u ms for its daemon at %s to %s; if seqctl status gets "
            "no answer either, the daemon is stopped or overloaded",
            session->rank, session->timeout_ms, session->socket_path, what);
    }
}

int seqsync__send(struct seqsync_session *session, Seqsync__Worker__WorkerMessage *message)
{
    const uint64_t deadline = seqsync__deadline_ns(session);
    const size_t length = frame_encode(&message->base, session->scratch, WIRE_WORKER_FRAME_MAX);

    if (length == 0) {
        return seqsync__fail(session, SEQSYNC_ERR_INVALID, "a message of more than %d bytes",
                             WIRE_WORKER_FRAME_MAX);
    }
    for (;;) {
        if (send(session->fd, session->scratch, length, MSG_NOSIGNAL | MSG_DONTWAIT) ==
            (ssize_t)length) {
            return 0;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            const int r = channel_wait(session, POLLOUT, deadline, "read messages");
            if (r != 0) {
                return r;
            }
        } else if (errno == EPIPE || errno == ECONNRESET) {
            /* Its last words say why, if there are any. */
            const int r = seqsync__poll_failure(session, 0);
            return r != 0 ? r : channel_lost(session, "closed the connection");
        } else if (errno != EINTR) {
            return channel_lost(session, strerror(errno));
        }
    }
}

void seqsync__send_last(struct seqsync_session *session, Seqsync__Worker__WorkerMessage *message)
{
    const size_t length = frame_encode(&message->base, session->scratch, WIRE_WORKER_FRAME_MAX);

    if (length > 0) {
        (void)send(session->fd, session->scratch, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* Takes the descriptors out of the ancillary data; false if there are more than fit. */
static bool take_fds(struct msghdr *header, struct seqsync__fds *ret)
{
    bool fits = (header->msg_flags & MSG_CTRUNC) == 0;

    ret->count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (ret->count == WIRE_FDS_MAX) {
                close(fd);
                fits = false;
            } else {
                ret->fds[ret->count++] = fd;
            }
        }
    }
    return fits;
}

/* Whether the kernel kept descriptors back because this process may open no more. */
static bool fds_are_used_up(const struct seqsync_session *session)
{
    const int fd = fcntl(session->fd, F_DUPFD_CLOEXEC, 0);
    const bool used_up = fd < 0 && errno == EMFILE;

    if (fd >= 0) {
        close(fd);
    }
    return used_up;
}

/* Receives one message. 1: none has come in time, and @what is NULL. */
static int channel_receive(struct seqsync_session *session, uint64_t deadline_ns, const char *what,
                           Seqsync__Worker__DaemonMessage **ret, struct seqsync__fds *ret_fds)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * (WIRE_FDS_MAX + 8))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = session->scratch, .iov_len = WIRE_WORKER_FRAME_MAX};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    ssize_t length;

    ret_fds->count = 0;
    for (;;) {
        length = recvmsg(session->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (length > 0 || (length == 0 && header.msg_controllen > 0)) {
            break; /* an empty datagram looks like the end, but may bring descriptors */
        }
        if (length == 0 || errno == ECONNRESET) {
            return channel_lost(session, "closed the connection");
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            const int r = channel_wait(session, POLLIN, deadline_ns, what);
            if (r != 0) {
                return r;
            }
        } else if (errno != EINTR) {
            return channel_lost(session, strerror(errno));
        }
    }
    const bool fits = take_fds(&header, ret_fds);
    if (!fits && fds_are_used_up(session)) {
        seqsync__fds_close(ret_fds);
        return seqsync__end(session, SEQSYNC_ERR_NO_MEMORY,
                            "rank %d cannot take shared memory: this process has too many open "
                            "files; raise ulimit -n",
                            session->rank);
    }
    const char *why = (header.msg_flags & MSG_TRUNC) != 0 ? "longer than it may be" : NULL;
    if (why == NULL && !fits) {
        why = "more descriptors than it may have";
    }
    if (why == NULL) {
        why = frame_decode_daemon(session->memory, session->scratch, (size_t)length, ret);
    }
    if (why != NULL) {
        seqsync__fds_close(ret_fds);
        return seqsync__end(session, SEQSYNC_ERR_PROTOCOL,
                            "a message from the daemon at %s makes no sense: %s",
                            session->socket_path, why);
    }
    return 0;
}

static int take_failure(struct seqsync_session *session, const Seqsync__Worker__Failure *failure,
                        bool soft)
{
    const int status = failure->code;
    const char *sep = failure->hint[0] != '\0' ? "; " : "";

    if (soft) {
        return seqsync__fail(session, status, "%s (on %s)%s%s", failure->text, failure->node, sep,
                             failure->hint);
    }
    return seqsync__end(session, status, "%s (on %s)%s%s", failure->text, failure->node, sep,
                        failure->hint);
}

/* What the daemon is asked to do. */
static const char *call_words(const Seqsync__Worker__WorkerMessage *message)
{
    switch (message->body_case) {
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO:
        return "say that all ranks have joined the job";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REGISTER:
        return "say that all ranks have registered";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BEGIN:
        return "plan a step that all ranks have begun";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE:
        return "reduce values of all ranks";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT:
        return "commit a step of all ranks";
    default:
        return "lend or take back a shared buffer";
    }
}

int seqsync__call(struct seqsync_session *session, Seqsync__Worker__WorkerMessage *message,
                  Seqsync__Worker__DaemonMessage__BodyCase body, bool soft,
                  Seqsync__Worker__DaemonMessage **ret, struct seqsync__fds *ret_fds)
{
    struct seqsync__fds none, *fds = ret_fds != NULL ? ret_fds : &none;
    const uint64_t deadline = seqsync__deadline_ns(session);

    message->request = ++session->request;
    int r = seqsync__send(session, message);
    if (r != 0) {
        return r;
    }
    r = channel_receive(session, deadline, call_words(message), ret, fds);
    if (r != 0) {
        return r;
    }
    if ((*ret)->body_case == SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE) {
        seqsync__fds_close(fds);
        /*
         * Only an answer to this very request can be a refusal, and only for want of memory: the
         * end of the job may come as the answer to whatever is asked just then.
         */
        const int32_t code = (*ret)->failure->code;
        return take_failure(session, (*ret)->failure,
                            soft && (*ret)->request == message->request &&
                                (code == SEQSYNC_ERR_NO_CAPACITY || code == SEQSYNC_ERR_NO_MEMORY));
    }
    if ((*ret)->request != message->request || (*ret)->body_case != body ||
        (ret_fds == NULL && fds->count > 0)) {
        seqsync__fds_close(fds);
        return seqsync__end(session, SEQSYNC_ERR_PROTOCOL,
                            "the daemon at %s answered something else than was asked",
                            session->socket_path);
    }
    return 0;
}

int seqsync__poll_failure(struct seqsync_session *session, uint32_t wait_ms)
{
    const uint64_t deadline_ns = wait_ms == 0 ? 0 : seqsync__now_ns() + (uint64_t)wait_ms * 1000000;
    Seqsync__Worker__DaemonMessage *message;
    struct seqsync__fds fds;
    const int r = channel_receive(session, deadline_ns, NULL, &message, &fds);

    if (r != 0) {
        return r == 1 ? 0 : r;
    }
    seqsync__fds_close(&fds);
    if (message->body_case == SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE) {
        return take_failure(session, message->failure, false);
    }
    return seqsync__end(session, SEQSYNC_ERR_PROTOCOL,
                        "the daemon at %s sent something that nobody asked for",
                        session->socket_path);
}
