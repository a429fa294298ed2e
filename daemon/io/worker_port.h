/*
 * The port for workers: an AF_UNIX SOCK_SEQPACKET socket, one protobuf message a datagram, file
 * descriptors beside it.
 *
 * The kernel says who a worker is (SO_PEERCRED) and when it is gone (end of file, pidfd). A worker
 * that breaks the contract is told so, if it listens, and loses its session; it is counted, and
 * nobody else notices.
 *
 * Bounds: connections in all and per user; datagrams read per turn of the loop and worker; messages
 * waiting for a worker, at which it is lost; time until the first message.
 */
#ifndef SEQSYNC_IO_WORKER_PORT_H
#define SEQSYNC_IO_WORKER_PORT_H

#include "daemon/io/loop.h"
#include "proto/frame.h"

#include <sys/types.h>

#define WORKER_PORT_WORKERS_MAX 4096 /* bound of config.workers_max */
#define WORKER_PORT_OUT_MAX 256      /* messages waiting for one worker */

struct worker_port;

enum worker_port_outcome {
    WORKER_PORT_GONE =
        1, /* no such worker any more; if it was not dropped, on_lost has been or will be called */
};

struct worker_peer {
    uid_t uid;
    gid_t gid;
    pid_t pid; /* 0 = not visible from here */
};

/* Called in the loop's thread, never inside a call of the port. */
struct worker_port_ops {
    /*
     * A valid message; the first of a worker is its Hello, of our protocol. @message is borrowed
     * for the call. The handle
     * @worker is unique among living workers. The callee may send to and drop any worker.
     */
    void (*on_message)(void *ctx, uint32_t worker, const struct worker_peer *peer,
                       const Seqsync__Worker__WorkerMessage *message);
    /*
     * Once for each worker whose Hello was given to on_message, unless it was dropped. @code is an
     * enum seqsync_status,
     * @how says what happened, e.g. "process 1234 (uid 1000) exited"; borrowed for the call.
     */
    void (*on_lost)(void *ctx, uint32_t worker, int32_t code, const char *how);
};

struct worker_port_config {
    uv_loop_t *loop;
    const char *path; /* its directory exists; borrowed for the call of open */
    int listen_fd;    /* a listening socket inherited from systemd, taken; -1 = bind @path */
    uint32_t workers_max;
    uint32_t workers_per_user_max;
    uint32_t handshake_ms; /* for the Hello, and for the last words to a worker that is dropped */
    /*
     * Who may connect: the daemon's own user and root always; these users; members of this group.
     */
    const uid_t *users; /* copied */
    uint32_t user_count;
    bool has_group;
    gid_t group;
    const char *node_name; /* for failures; borrowed for life */
    struct worker_port_ops ops;
    void *ctx;
};

struct worker_port_counters {
    uint32_t workers;    /* connected, with or without Hello */
    uint64_t accepted;   /* connections so far */
    uint64_t refused;    /* by a cap or for lack of permission */
    uint64_t violations; /* sessions ended for bad bytes, or silence instead of a Hello */
    uint64_t unread;     /* sessions ended because the worker did not read */
};

/* Negative errno with the reason in @ret_text[size]: -EADDRINUSE = another daemon lives there. */
int worker_port_open(const struct worker_port_config *config, struct worker_port **ret,
                     char *ret_text, size_t size);

/* Closes all connections at once, without on_lost, and removes the socket; frees in its last close
 * callback. NULL is fine. */
void worker_port_close(struct worker_port *port);

/* No new connections from here on; those that are there go on. */
void worker_port_stop_accepting(struct worker_port *port);

/*
 * Queues a message; @fds are duplicated within the call. 0, WORKER_PORT_GONE, or negative errno,
 * then nothing was queued. Beyond WORKER_PORT_OUT_MAX waiting messages the worker is lost: it does
 * not read.
 */
int worker_port_send(struct worker_port *port, uint32_t worker,
                     const Seqsync__Worker__DaemonMessage *message, const int *fds,
                     uint32_t fd_count);

/* Ends the connection after what was queued is sent, or soon if the worker does not read. No
 * callback for it comes. */
void worker_port_drop(struct worker_port *port, uint32_t worker);

void worker_port_counters(const struct worker_port *port, struct worker_port_counters *ret);

#endif
