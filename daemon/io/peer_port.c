/*
 * Two nodes A and B come up like this, in any order of the two halves:
 *
 *   A's DEALER connects to B: A forgets B's Hello, if it had one, and sends Hello
 *   B hears it on a connection new to it: takes it, and sends Hello (again) on its own DEALER, if
 * that is connected A hears that: B is up
 *
 * So each side is up only with a Hello that was said after its own DEALER connected, i.e. by who is
 * there now. A broken direction is mended by the same steps: who finds something wrong resets its
 * DEALER.
 *
 * Frames of a connection that was replaced are dropped by its routing id. A Hello of the
 * incarnation before the present one can only be late, and is dropped too.
 */
#include "daemon/io/peer_port.h"

#include "daemon/base/err.h"
#include "daemon/host/lock.h"
#include "daemon/host/log.h"
#include "daemon/io/curve.h"
#include "daemon/io/peer_link.h"

#include <assert.h>
#include <inttypes.h>
#include <seqsync/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define BUDGET 64
#define ROUTING_ID_MAX 255
#define VERSION_MAX 64

/* The connection that a peer is heard on. */
struct peer_in {
    bool known; /* its Hello was taken */
    size_t id_bytes;
    uint8_t id[ROUTING_ID_MAX];
    uint64_t incarnation; /* kept when the connection is gone */
    uint64_t incarnation_before;
    uint64_t sequence; /* of the last message */
};

struct peer {
    struct peer_port *port;
    struct peer_link link;
    struct peer_in in;
    uint32_t node;
    bool up;
    bool lost; /* to be reported */
    char how[PEER_PORT_TEXT_MAX];
    char reason[PEER_PORT_TEXT_MAX]; /* why it is not up */
    char version[VERSION_MAX];
    uint64_t sequence; /* of the last message sent; never reset, so a second Hello on a connection
                          is no gap */
    uint64_t ping_ns;  /* unanswered, 0 = none */
    uint64_t rtt_ns;
};

struct peer_port {
    struct peer_port_config config;
    struct loop_handles handles;
    uv_idle_t later;
    struct zsock router;
    struct lock lock;        /* of an ipc endpoint */
    char path[ENDPOINT_MAX]; /* of its socket; "" = none */
    uint32_t open;           /* links, router, and handles as one */
    bool closing;
    struct frame_memory *memory;
    struct peer *peers; /* [node_count]; ours is unused */
    struct peer_port_counters counters;
    uint8_t out[WIRE_PEER_FRAME_MAX];
};

/* ---- up and lost ---- */

/* Why a peer is not up. Of one that is, a stranger who claims to be it has nothing to tell. */
static void peer_explain(struct peer *peer, const char *text)
{
    if (!peer->up && strcmp(peer->reason, text) != 0) {
        snprintf(peer->reason, sizeof(peer->reason), "%s", text);
        log_msg(LOG_LEVEL_NOTICE, "node %s: %s, trying on", peer->port->config.names[peer->node],
                text);
    }
}

/* Tells of a loss that was noted; before anything else is told of that peer. */
static void peer_report(struct peer *peer)
{
    struct peer_port *port = peer->port;
    if (!peer->lost || port->closing) {
        return;
    }
    peer->lost = false;
    char how[PEER_PORT_TEXT_MAX];
    memcpy(how, peer->how, sizeof(how));
    port->config.ops.on_lost(port->config.ctx, peer->node, how);
}

/* Inside calls of the port a loss is only noted; the idle handle reports it in the next turn. */
static void peer_note_lost(struct peer *peer, const char *how);

static void peer_lose(struct peer *peer, const char *how)
{
    peer_note_lost(peer, how);
    peer_report(peer);
}

static void peer_maybe_up(struct peer *peer)
{
    struct peer_port *port = peer->port;
    peer_report(peer);
    if (port->closing || peer->up || !peer->in.known || !peer->link.connected) {
        return;
    }
    peer->up = true;
    peer->reason[0] = '\0';
    peer->ping_ns = 0;
    port->config.ops.on_up(port->config.ctx, peer->node);
}

static void port_on_later(uv_idle_t *handle)
{
    struct peer_port *port = loop_owner(handle->data, struct peer_port, handles);
    uv_idle_stop(&port->later);
    for (uint32_t i = 0; i < port->config.node_count && !port->closing; i++) {
        peer_report(&port->peers[i]);
    }
}

static void peer_note_lost(struct peer *peer, const char *how)
{
    /* A callback may have closed the port: then nobody is told, and no handle may start again. */
    if (!peer->up || peer->port->closing) {
        return;
    }
    peer->up = false;
    peer->lost = true;
    snprintf(peer->how, sizeof(peer->how), "%s", how);
    snprintf(peer->reason, sizeof(peer->reason), "%s", how);
    uv_idle_start(&peer->port->later, port_on_later);
}

/* Something is wrong with what comes from the peer: begin anew, which its side notices by our new
 * Hello. */
static void peer_break(struct peer *peer, const char *how)
{
    peer->in.known = false;
    peer_link_reset(&peer->link);
    peer_lose(peer, how);
}

/* ---- sending ---- */

static int peer_send(struct peer *peer, Seqsync__Peer__PeerMessage *message)
{
    struct peer_port *port = peer->port;
    message->node = port->config.node;
    message->incarnation = port->config.incarnation;
    message->sequence = peer->sequence + 1;
    size_t length = frame_encode(&message->base, port->out, sizeof(port->out));
    if (length == 0) {
        return err_origin(-EMSGSIZE);
    }
    int r = peer_link_send(&peer->link, port->out, length);
    if (r == ZSOCK_FULL) {
        char how[PEER_PORT_TEXT_MAX];
        snprintf(how, sizeof(how), "it takes no messages: %u wait for it", PEER_PORT_OUT_MAX);
        peer->in.known = false;
        peer_link_reset(&peer->link);
        peer_note_lost(peer, how);
        return PEER_PORT_DOWN;
    }
    if (r < 0) {
        return err_trace(r);
    }
    peer->sequence++;
    port->counters.sent++;
    return 0;
}

static void peer_say_hello(struct peer *peer)
{
    const struct peer_port_config *config = &peer->port->config;
    Seqsync__Peer__Hello hello = SEQSYNC__PEER__HELLO__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    char name[SEQSYNC_NAME_MAX + 1];
    char bulk[ENDPOINT_MAX];
    char version[VERSION_MAX];
    snprintf(name, sizeof(name), "%s", config->names[config->node]);
    snprintf(bulk, sizeof(bulk), "%s", config->bulk_endpoint);
    snprintf(version, sizeof(version), "%s", SEQSYNC_VERSION_STRING);
    hello.protocol = WIRE_PROTOCOL;
    hello.version = version;
    hello.name = name;
    hello.cluster_digest = config->cluster_digest;
    hello.bulk_endpoint = bulk;
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    if (peer_send(peer, &message) < 0) {
        log_msg(LOG_LEVEL_ERROR, "node %s: Hello cannot be sent, connecting again",
                config->names[peer->node]);
        peer_link_reset(&peer->link);
    }
}

static void peer_answer_ping(struct peer *peer, const Seqsync__Peer__Ping *ping)
{
    Seqsync__Peer__Pong pong = SEQSYNC__PEER__PONG__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    pong.sent_ns = ping->sent_ns;
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_PONG;
    message.pong = &pong;
    if (peer->up) {
        (void)peer_send(peer, &message); /* if it cannot be sent, the asker finds us silent */
    }
}

/* ---- the link's events ---- */

static struct peer *peer_of(struct peer_link *link)
{
    return loop_owner(link, struct peer, link);
}

static void peer_on_connected(struct peer_link *link)
{
    struct peer *peer = peer_of(link);
    peer->in.known = false; /* it was said before this connection, perhaps by somebody else */
    peer_say_hello(peer);
}

static void peer_on_disconnected(struct peer_link *link)
{
    struct peer *peer = peer_of(link);
    peer->in.known = false;
    if (peer->up) {
        peer_lose(peer, "the connection to it ended");
    } else {
        peer_explain(peer, "it ended the connection");
    }
}

static void peer_on_failed(struct peer_link *link, const char *text)
{
    struct peer *peer = peer_of(link);
    char reason[PEER_PORT_TEXT_MAX];
    snprintf(reason, sizeof(reason), "no handshake with %s: %s",
             peer->port->config.endpoints[peer->node], text);
    peer_explain(peer, reason);
}

/* ---- receiving ---- */

static bool in_is(const struct peer_in *in, zmq_msg_t *id)
{
    return in->known && in->id_bytes == zmq_msg_size(id) &&
           memcmp(in->id, zmq_msg_data(id), in->id_bytes) == 0;
}

/* Whether a Hello fits our config; if not, why, in @ret_text. */
static bool hello_fits(const struct peer *peer, const Seqsync__Peer__Hello *hello,
                       char ret_text[PEER_PORT_TEXT_MAX])
{
    const struct peer_port_config *config = &peer->port->config;
    if (hello->protocol != WIRE_PROTOCOL) {
        snprintf(ret_text, PEER_PORT_TEXT_MAX,
                 "it speaks protocol %u (version %.32s), this node %u (version %s)",
                 (unsigned)hello->protocol, hello->version, (unsigned)WIRE_PROTOCOL,
                 SEQSYNC_VERSION_STRING);
        return false;
    }
    if (strcmp(hello->name, config->names[peer->node]) != 0) {
        snprintf(ret_text, PEER_PORT_TEXT_MAX,
                 "it calls itself %.63s: its [node] name or its place in [peers] is wrong",
                 hello->name);
        return false;
    }
    if (hello->cluster_digest != config->cluster_digest) {
        snprintf(ret_text, PEER_PORT_TEXT_MAX,
                 "its member list differs from ours: [peers] must be the same on all nodes");
        return false;
    }
    return true;
}

static void peer_take_hello(struct peer *peer, zmq_msg_t *id,
                            const Seqsync__Peer__PeerMessage *message)
{
    struct peer_port *port = peer->port;
    struct peer_in *in = &peer->in;
    char refusal[PEER_PORT_TEXT_MAX];
    if (!hello_fits(peer, message->hello, refusal)) {
        port->counters.rejected++;
        peer_explain(peer, refusal);
        return;
    }
    if (message->incarnation == in->incarnation_before) {
        port->counters.stale++;
        return;
    }
    if (message->incarnation != in->incarnation) {
        peer_lose(peer, "it was restarted");
        in->incarnation_before = in->incarnation;
        in->incarnation = message->incarnation;
    } else {
        peer_lose(peer, "it connected again, and messages may be lost");
    }
    in->known = true;
    in->id_bytes = zmq_msg_size(id);
    memcpy(in->id, zmq_msg_data(id), in->id_bytes);
    in->sequence = message->sequence;
    snprintf(peer->version, sizeof(peer->version), "%.63s", message->hello->version);
    port->counters.received++;
    if (peer->link.connected) {
        peer_say_hello(peer);
    }
    peer_maybe_up(peer);
}

static void peer_take_pong(struct peer *peer, const Seqsync__Peer__Pong *pong)
{
    if (peer->ping_ns != 0 && pong->sent_ns == peer->ping_ns) {
        peer->rtt_ns = loop_now_ns() - peer->ping_ns;
        peer->ping_ns = 0;
    }
}

/* A numbered message of the connection that the peer is heard on. */
static void peer_take(struct peer *peer, const Seqsync__Peer__PeerMessage *message)
{
    struct peer_port *port = peer->port;
    if (message->incarnation != peer->in.incarnation ||
        message->sequence != peer->in.sequence + 1) {
        char how[PEER_PORT_TEXT_MAX];
        port->counters.rejected++;
        snprintf(how, sizeof(how), "message %" PRIu64 " came where %" PRIu64 " was due",
                 message->sequence, peer->in.sequence + 1);
        peer_break(peer, how);
        return;
    }
    peer->in.sequence++;
    port->counters.received++;
    if (!peer->up) {
        return; /* it may think that it is; its side of the story ends with our Hello */
    }
    port->config.ops.on_heard(port->config.ctx, peer->node);
    if (port->closing || !peer->up) {
        return;
    }
    switch (message->body_case) {
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO:
        break; /* the answer to ours, which crossed its first */
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_PING:
        peer_answer_ping(peer, message->ping);
        break;
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_PONG:
        peer_take_pong(peer, message->pong);
        break;
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_BYE:
        port->config.ops.on_message(port->config.ctx, peer->node, message);
        peer->in.known = false;
        peer_lose(peer, "it was shut down");
        break;
    default:
        port->config.ops.on_message(port->config.ctx, peer->node, message);
        break;
    }
}

/* Bytes that are no message: whose connection it is, if anybody's, ends. */
static void port_reject(struct peer_port *port, zmq_msg_t *id, const char *what)
{
    port->counters.rejected++;
    for (uint32_t i = 0; i < port->config.node_count; i++) {
        if (in_is(&port->peers[i].in, id)) {
            char how[PEER_PORT_TEXT_MAX];
            snprintf(how, sizeof(how), "it sent a bad message: %s", what);
            peer_break(&port->peers[i], how);
            return;
        }
    }
}

static void port_on_message(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count)
{
    struct peer_port *port = loop_owner(zsock, struct peer_port, router);
    Seqsync__Peer__PeerMessage *message = NULL;
    zmq_msg_t *id = &parts[0];
    if (part_count != 2 || zmq_msg_size(id) > ROUTING_ID_MAX) {
        port_reject(port, id, "not two frames");
        return;
    }
    const char *wrong =
        frame_decode_peer(port->memory, zmq_msg_data(&parts[1]), zmq_msg_size(&parts[1]), &message);
    if (wrong != NULL) {
        port_reject(port, id, wrong);
        return;
    }
    if (message->node >= port->config.node_count || message->node == port->config.node ||
        message->incarnation == 0 || !curve_is_from(port->config.curve, &parts[1], message->node)) {
        port_reject(port, id, "it is from somebody else than it says");
        return;
    }
    struct peer *peer = &port->peers[message->node];
    if (in_is(&peer->in, id)) {
        peer_take(peer, message);
    } else if (message->body_case == SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO) {
        peer_take_hello(peer, id, message);
    } else {
        port->counters.stale++;
    }
}

/* ---- the port ---- */

static void port_one_closed(struct peer_port *port)
{
    assert(port->open > 0);
    port->open--;
    if (port->open > 0) {
        return;
    }
    if (port->path[0] != '\0') {
        unlink(port->path); /* libzmq leaves it; while the lock is held it is nobody's but ours */
    }
    lock_release(&port->lock);
    frame_memory_free(port->memory);
    free(port->peers);
    free(port);
}

static void peer_on_closed(struct peer_link *link)
{
    port_one_closed(peer_of(link)->port);
}

static void port_on_router_closed(struct zsock *zsock)
{
    port_one_closed(loop_owner(zsock, struct peer_port, router));
}

static void port_on_empty(struct loop_handles *handles)
{
    port_one_closed(loop_owner(handles, struct peer_port, handles));
}

static int router_bind(struct peer_port *port, void *socket, char *ret_text, size_t size)
{
    const struct peer_port_config *config = &port->config;
    const char *endpoint = config->endpoints[config->node];
    const char *why = "";
    char address[ENDPOINT_MAX];
    int r = endpoint_check_bind(endpoint, curve_enabled(config->curve), config->allow_plaintext,
                                address, &why);
    if (r < 0) {
        snprintf(ret_text, size, "endpoint %s of node %s %s", endpoint, config->names[config->node],
                 why);
        return err_trace(r);
    }
    /* A second bind to an ipc path would succeed, and steal it. */
    if (strncmp(address, "ipc://", 6) == 0) {
        r = lock_take(&port->lock, address + 6);
        if (r < 0) {
            snprintf(ret_text, size, "cannot lock %s: %s", address + 6, strerror(-r));
            return err_trace(r);
        }
    }
    r = peer_link_socket_options(socket, config->handshake_ms);
    if (r == 0) {
        r = curve_apply_server(config->curve, socket);
    }
    if (r == 0) {
        mode_t mask = umask(0177);
        r = zmq_bind(socket, address) == 0 ? 0 : -zmq_errno();
        umask(mask);
    }
    if (r < 0) {
        snprintf(ret_text, size, "cannot listen on %s for node %s: %s", address,
                 config->names[config->node], zmq_strerror(-r));
        return err_origin(r);
    }
    if (port->lock.fd >= 0) {
        snprintf(port->path, sizeof(port->path), "%s", address + 6);
    }
    return 0;
}

static int port_open_router(struct peer_port *port, char *ret_text, size_t size)
{
    void *socket = zmq_socket(port->config.zmq, ZMQ_ROUTER);
    if (socket == NULL) {
        snprintf(ret_text, size, "cannot make the peer socket: %s", zmq_strerror(zmq_errno()));
        return err_origin(-zmq_errno());
    }
    int r = router_bind(port, socket, ret_text, size);
    if (r == 0) {
        r = zsock_init(&port->router, &(struct zsock_config){.loop = port->config.loop,
                                                             .socket = socket,
                                                             .out_max = 1,
                                                             .budget = BUDGET,
                                                             .on_message = port_on_message,
                                                             .on_closed = port_on_router_closed});
        if (r < 0) {
            snprintf(ret_text, size, "cannot watch the peer socket: %s", strerror(-r));
        }
    }
    if (r < 0) {
        zmq_close(socket);
        return err_trace(r);
    }
    port->open++;
    return 0;
}

static int port_open_links(struct peer_port *port, char *ret_text, size_t size)
{
    const struct peer_port_config *config = &port->config;
    for (uint32_t i = 0; i < config->node_count; i++) {
        struct peer *peer = &port->peers[i];
        if (i == config->node) {
            continue;
        }
        port->open++;
        int r = peer_link_open(&peer->link, &(struct peer_link_config){
                                                .loop = config->loop,
                                                .zmq = config->zmq,
                                                .curve = config->curve,
                                                .node = i,
                                                .endpoint = config->endpoints[i],
                                                .handshake_ms = config->handshake_ms,
                                                .out_max = PEER_PORT_OUT_MAX,
                                                .ops = {.on_connected = peer_on_connected,
                                                        .on_disconnected = peer_on_disconnected,
                                                        .on_failed = peer_on_failed,
                                                        .on_closed = peer_on_closed},
                                            });
        if (r < 0) {
            snprintf(ret_text, size, "cannot connect to %s of node %s: %s", config->endpoints[i],
                     config->names[i], zmq_strerror(-r));
            return err_trace(r);
        }
    }
    return 0;
}

int peer_port_open(const struct peer_port_config *config, struct peer_port **ret, char *ret_text,
                   size_t size)
{
    assert(config->node < config->node_count);
    assert(config->node_count <= SEQSYNC_NODES_MAX);
    assert(config->incarnation != 0);
    struct peer_port *port = calloc(1, sizeof(*port));
    struct peer *peers = calloc(config->node_count, sizeof(*peers));
    struct frame_memory *memory = frame_memory_new();
    if (port == NULL || peers == NULL || memory == NULL) {
        free(port);
        free(peers);
        frame_memory_free(memory);
        snprintf(ret_text, size, "out of memory");
        return err_origin(-ENOMEM);
    }
    port->config = *config;
    port->peers = peers;
    port->memory = memory;
    port->lock.fd = -1;
    port->handles.on_empty = port_on_empty;
    for (uint32_t i = 0; i < config->node_count; i++) {
        peers[i].port = port;
        peers[i].node = i;
    }
    port->open = 1;
    uv_idle_init(config->loop, &port->later);
    loop_adopt(&port->handles, (uv_handle_t *)&port->later);
    int r = 0;
    if (config->node_count > 1) {
        r = port_open_router(port, ret_text, size);
        if (r == 0) {
            r = port_open_links(port, ret_text, size);
        }
    }
    if (r < 0) {
        peer_port_close(port);
        return err_trace(r);
    }
    *ret = port;
    return 0;
}

void peer_port_close(struct peer_port *port)
{
    if (port == NULL) {
        return;
    }
    assert(!port->closing);
    port->closing = true;
    for (uint32_t i = 0; i < port->config.node_count; i++) {
        struct peer_link *link = &port->peers[i].link;
        /* Not opened: ours, and those behind one that failed to. */
        if (link->ops.on_closed != NULL && !link->closing) {
            peer_link_close(link);
        }
    }
    if (port->router.config.socket != NULL) {
        zsock_close(&port->router);
    }
    loop_handle_close((uv_handle_t *)&port->later);
    loop_handles_close(&port->handles);
}

int peer_port_send(struct peer_port *port, uint32_t node, Seqsync__Peer__PeerMessage *message)
{
    assert(node < port->config.node_count);
    assert(node != port->config.node);
    if (!port->peers[node].up) {
        return PEER_PORT_DOWN;
    }
    return err_trace(peer_send(&port->peers[node], message));
}

void peer_port_ping(struct peer_port *port, uint32_t node)
{
    struct peer *peer = &port->peers[node];
    Seqsync__Peer__Ping ping = SEQSYNC__PEER__PING__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    ping.sent_ns = loop_now_ns();
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_PING;
    message.ping = &ping;
    if (peer->up && peer_send(peer, &message) == 0) {
        peer->ping_ns = ping.sent_ns;
    }
}

void peer_port_reset(struct peer_port *port, uint32_t node)
{
    struct peer *peer = &port->peers[node];
    assert(node != port->config.node);
    peer->in.known = false;
    peer_link_reset(&peer->link);
    peer_note_lost(peer, "the connection was begun anew");
}

uint32_t peer_port_pending(const struct peer_port *port)
{
    uint32_t pending = 0;
    for (uint32_t i = 0; i < port->config.node_count; i++) {
        pending += port->peers[i].link.out.out_count;
    }
    return pending;
}

bool peer_port_is_up(const struct peer_port *port, uint32_t node)
{
    return port->peers[node].up;
}

uint64_t peer_port_rtt_ns(const struct peer_port *port, uint32_t node)
{
    return port->peers[node].rtt_ns;
}

const char *peer_port_version(const struct peer_port *port, uint32_t node)
{
    return port->peers[node].version;
}

const char *peer_port_reason(struct peer_port *port, uint32_t node)
{
    struct peer *peer = &port->peers[node];
    if (node == port->config.node || peer->up) {
        return "";
    }
    uint64_t patience_ns = port->config.handshake_ms * LOOP_NS_PER_MS;
    if (peer->reason[0] == '\0' && peer->link.connected &&
        loop_now_ns() - peer->link.connected_ns > patience_ns) {
        return "it is connected, but says no Hello";
    }
    return peer->reason[0] != '\0' ? peer->reason : "it has not answered yet";
}

void peer_port_counters(const struct peer_port *port, struct peer_port_counters *ret)
{
    *ret = port->counters;
    ret->rescues = port->router.rescues;
    for (uint32_t i = 0; i < port->config.node_count; i++) {
        ret->rescues += port->peers[i].link.out.rescues + port->peers[i].link.monitor.rescues;
    }
}

uint64_t peer_port_digest(uint32_t node_count, const char *const *names,
                          const char *const *endpoints, const char *const *bulk_endpoints)
{
    uint64_t digest = node_count;
    for (uint32_t i = 0; i < node_count; i++) {
        /* With their NULs, so that no two lists run into the same bytes. */
        digest = XXH3_64bits_withSeed(names[i], strlen(names[i]) + 1, digest);
        digest = XXH3_64bits_withSeed(endpoints[i], strlen(endpoints[i]) + 1, digest);
        digest = XXH3_64bits_withSeed(bulk_endpoints[i], strlen(bulk_endpoints[i]) + 1, digest);
    }
    return digest != 0 ? digest : 1;
}
