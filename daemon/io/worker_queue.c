#include "daemon/io/worker_queue.h"

#include "daemon/base/err.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As many as Linux lets through at once (SCM_MAX_FD), so that none is left for the kernel to judge.
 */
#define RECEIVE_FDS_MAX 253

struct worker_datagram {
    struct worker_datagram *next;
    size_t length;
    uint32_t fd_count;
    int fds[WIRE_FDS_MAX];
    uint8_t bytes[];
};

static void datagram_free(struct worker_datagram *datagram)
{
    for (uint32_t i = 0; i < datagram->fd_count; i++) {
        close(datagram->fds[i]);
    }
    free(datagram);
}

int worker_queue_push(struct worker_queue *queue, const uint8_t *bytes, size_t length,
                      const int *fds, uint32_t fd_count)
{
    assert(length <= WIRE_WORKER_FRAME_MAX);
    assert(fd_count <= WIRE_FDS_MAX);
    if (queue->count == WORKER_PORT_OUT_MAX) {
        return WORKER_QUEUE_FULL;
    }
    struct worker_datagram *datagram = malloc(sizeof(*datagram) + length);
    if (datagram == NULL) {
        return err_origin(-ENOMEM);
    }
    datagram->next = NULL;
    datagram->length = length;
    datagram->fd_count = 0;
    memcpy(datagram->bytes, bytes, length);
    for (uint32_t i = 0; i < fd_count; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            int r = -errno;
            datagram_free(datagram);
            return err_origin(r);
        }
        datagram->fds[datagram->fd_count++] = fd;
    }
    if (queue->last == NULL) {
        queue->first = datagram;
    } else {
        queue->last->next = datagram;
    }
    queue->last = datagram;
    queue->count++;
    return 0;
}

static void queue_pop(struct worker_queue *queue)
{
    struct worker_datagram *datagram = queue->first;
    queue->first = datagram->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    queue->count--;
    datagram_free(datagram);
}

static ssize_t datagram_send(struct worker_datagram *datagram, int fd)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = datagram->bytes, .iov_len = datagram->length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (datagram->fd_count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(datagram->fd_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(datagram->fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), datagram->fds, datagram->fd_count * sizeof(int));
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int worker_queue_flush(struct worker_queue *queue, int fd)
{
    while (queue->first != NULL) {
        if (datagram_send(queue->first, fd) >= 0) {
            queue_pop(queue);
            continue;
        }
        switch (errno) {
        case EINTR:
            break;
        case EAGAIN:
        case ENOBUFS:
        case ETOOMANYREFS: /* too many descriptors in flight: the worker must read first */
            return WORKER_QUEUE_WAIT;
        case EPIPE:
        case ECONNRESET:
            return WORKER_QUEUE_GONE;
        default:
            return err_origin(-errno);
        }
    }
    return 0;
}

void worker_queue_clear(struct worker_queue *queue)
{
    while (queue->first != NULL) {
        queue_pop(queue);
    }
}

/* Closes what came beside a datagram; whether there was anything. */
static bool message_close_fds(struct msghdr *message)
{
    bool any = (message->msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            close(fd);
            any = true;
        }
    }
    return any;
}

ssize_t worker_queue_receive(int fd, uint8_t *bytes)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(RECEIVE_FDS_MAX * sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = bytes, .iov_len = WIRE_WORKER_FRAME_MAX};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t length;
    do {
        length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (length < 0 && errno == EINTR);
    if (length < 0) {
        return -errno;
    }
    if (message_close_fds(&message)) {
        return -EBADMSG;
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) {
        return -EMSGSIZE;
    }
    return length;
}
