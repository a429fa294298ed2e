/*
 * Our end of the way to one peer: a DEALER that only sends, and the monitor that says when its
 * connection is made and lost.
 */
#ifndef SEQSYNC_IO_PEER_LINK_H
#define SEQSYNC_IO_PEER_LINK_H

#include "daemon/io/endpoint.h"
#include "daemon/io/zsock.h"

struct curve;
struct peer_link;

/* Loop thread, never inside a call of the link, except on_closed of a link that was never opened.
 */
struct peer_link_ops {
    void (*on_connected)(
        struct peer_link *link); /* the handshake succeeded: nothing was sent yet */
    void (*on_disconnected)(struct peer_link *link);
    void (*on_failed)(struct peer_link *link, const char *text); /* a handshake, and why */
    void (*on_closed)(struct peer_link *link); /* after peer_link_close(): the memory may go */
};

struct peer_link {
    struct zsock out;
    struct zsock monitor;
    struct peer_link_ops ops;
    char endpoint[ENDPOINT_MAX]; /* as libzmq knows it */
    uint32_t open;               /* zsocks */
    bool connected;
    bool closing;
    uint64_t connected_ns;
};

struct peer_link_config {
    uv_loop_t *loop;
    void *zmq;
    const struct curve *curve;
    uint32_t node; /* the peer's index */
    const char *endpoint;
    uint32_t handshake_ms;
    uint32_t out_max;
    struct peer_link_ops ops;
};

/* Starts connecting. Negative errno; then the link may need turns of the loop all the same:
 * on_closed comes. */
int peer_link_open(struct peer_link *link, const struct peer_link_config *config);

/* Queues one message; 0, ZSOCK_FULL, -ENOMEM. */
int peer_link_send(struct peer_link *link, const void *bytes, size_t length);

/* Drops the connection and what waits, and connects again; on_disconnected does not come. */
void peer_link_reset(struct peer_link *link);

void peer_link_close(struct peer_link *link);

/* Options that all control sockets have. 0 or negative errno. */
int peer_link_socket_options(void *socket, uint32_t handshake_ms);

#endif
