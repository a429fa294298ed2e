/*
 * Datagrams that wait to be sent to one worker, each with the file descriptors that go beside it.
 * Owns copies of both.
 */
#ifndef SEQSYNC_IO_WORKER_QUEUE_H
#define SEQSYNC_IO_WORKER_QUEUE_H

#include "daemon/io/worker_port.h"

struct worker_datagram;

struct worker_queue {
    struct worker_datagram *first;
    struct worker_datagram *last;
    uint32_t count;
};

enum worker_queue_outcome {
    WORKER_QUEUE_FULL = 1, /* WORKER_PORT_OUT_MAX wait already */
    WORKER_QUEUE_WAIT = 2, /* the socket takes no more now */
    WORKER_QUEUE_GONE = 3, /* the worker's end is closed */
};

/* Copies the bytes, duplicates @fds[fd_count <= WIRE_FDS_MAX]. 0, WORKER_QUEUE_FULL, -ENOMEM,
 * -EMFILE. */
int worker_queue_push(struct worker_queue *queue, const uint8_t *bytes, size_t length,
                      const int *fds, uint32_t fd_count);

/* Sends in order until the queue is empty (0), or WAIT, GONE, or negative errno. */
int worker_queue_flush(struct worker_queue *queue, int fd);

void worker_queue_clear(struct worker_queue *queue);

/*
 * Receives one datagram into @bytes[WIRE_WORKER_FRAME_MAX]: its length, 0 at the end of the
 * connection, or negative errno: -EAGAIN; -EMSGSIZE = larger; -EBADMSG = there were descriptors,
 * which are closed.
 */
ssize_t worker_queue_receive(int fd, uint8_t *bytes);

#endif
