/*
 * The control plane between daemons. Each node binds a ROUTER, on which it only receives, and
 * connects a DEALER to every other node's, on which it only sends.
 *
 * A connection begins with Hello. A peer is **up** when our DEALER's handshake succeeded and, after
 * that, its Hello arrived here; so both directions exist, and a stranger who took over a peer's
 * address is never sent more than our Hello. A Hello on a connection that is new to the receiver is
 * answered by a Hello, so the order of connecting does not matter. From its Hello on, all messages
 * of a connection are of one node and incarnation and counted without gap; anything else ends it
 * (on_lost), and so do a reconnect, which may have lost messages, and a restart of the peer. After
 * that the two begin anew by themselves.
 *
 * Bounds: PEER_PORT_OUT_MAX messages wait for a peer, at which it is lost; a budget of messages per
 * turn of the loop; no state is kept for connections without an accepted Hello.
 *
 * Silence is not judged here: on_heard says that a peer lives, peer_port_ping() makes it say
 * something.
 */
#ifndef SEQSYNC_IO_PEER_PORT_H
#define SEQSYNC_IO_PEER_PORT_H

#include "daemon/io/loop.h"
#include "proto/frame.h"

#define PEER_PORT_OUT_MAX 1024
#define PEER_PORT_TEXT_MAX 256

struct curve;
struct peer_port;

enum peer_port_outcome {
    PEER_PORT_DOWN = 1, /* the peer is not up: nothing was sent */
};

/* Called in the loop's thread, never inside a call of the port. @how is borrowed for the call. */
struct peer_port_ops {
    void (*on_up)(void *ctx, uint32_t node);
    void (*on_heard)(void *ctx, uint32_t node); /* with every valid message of a peer that is up */
    void (*on_lost)(void *ctx, uint32_t node, const char *how); /* only after on_up */
    /* Anything but Hello, Ping, Pong. Borrowed for the call. A Bye is followed by on_lost. */
    void (*on_message)(void *ctx, uint32_t node, const Seqsync__Peer__PeerMessage *message);
};

struct peer_port_config {
    uv_loop_t *loop;
    void *zmq;
    struct curve *curve;  /* NULL = no keys */
    bool allow_plaintext; /* beyond this machine without keys */
    uint32_t node;
    uint32_t node_count;
    const char *const *names;     /* [node_count], borrowed for life */
    const char *const *endpoints; /* [node_count], control endpoints; borrowed for life */
    const char *bulk_endpoint;    /* of this node; borrowed for life */
    uint64_t incarnation;         /* random, not 0, drawn at start */
    uint64_t cluster_digest;      /* see peer_port_digest() */
    uint32_t handshake_ms;
    struct peer_port_ops ops;
    void *ctx;
};

struct peer_port_counters {
    uint64_t sent;
    uint64_t received; /* valid messages */
    uint64_t rejected; /* malformed, misnumbered, or from somebody else than they say */
    uint64_t stale;    /* of a connection that was replaced or has not said Hello */
    uint64_t rescues;  /* see zsock.h */
};

/* Digest of the ordered member list: names and both endpoints, never 0. */
uint64_t peer_port_digest(uint32_t node_count, const char *const *names,
                          const char *const *endpoints, const char *const *bulk_endpoints);

/*
 * Binds and starts connecting; with one node there are no sockets. Negative errno with the reason
 * in @ret_text[size]; -EPERM = refuses to listen beyond this machine without keys.
 */
int peer_port_open(const struct peer_port_config *config, struct peer_port **ret, char *ret_text,
                   size_t size);

/* No callback comes from here on; freed in its last close callback. What is queued is lost. Accepts
 * NULL. */
void peer_port_close(struct peer_port *port);

/*
 * Sends to a peer that is up. Node, incarnation and sequence are filled in. 0, PEER_PORT_DOWN, or
 * negative errno. Beyond PEER_PORT_OUT_MAX waiting messages the peer is lost.
 */
int peer_port_send(struct peer_port *port, uint32_t node, Seqsync__Peer__PeerMessage *message);

/* Sends a Ping if the peer is up. Its answer is on_heard, and a new round trip time. */
void peer_port_ping(struct peer_port *port, uint32_t node);

/*
 * Begins anew with a peer, e.g. one that was silent for too long: both sides get on_lost, if it was
 * up there, and on_up when it answers.
 */
void peer_port_reset(struct peer_port *port, uint32_t node);

/* Messages queued and not yet handed to libzmq, over all peers: 0 = an orderly shutdown may close.
 */
uint32_t peer_port_pending(const struct peer_port *port);

bool peer_port_is_up(const struct peer_port *port, uint32_t node);

/* Of the last answered ping, 0 = none. */
uint64_t peer_port_rtt_ns(const struct peer_port *port, uint32_t node);

/* Version that the peer said, "" = none. Valid until the next turn of the loop. */
const char *peer_port_version(const struct peer_port *port, uint32_t node);

/* Why a peer is not up, in words, e.g. "its member list differs from ours"; "" if it is up. Valid
 * until the next turn. */
const char *peer_port_reason(struct peer_port *port, uint32_t node);

void peer_port_counters(const struct peer_port *port, struct peer_port_counters *ret);

#endif
