#include "daemon/io/peer_link.h"

#include "daemon/base/err.h"
#include "daemon/io/curve.h"
#include "proto/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SEND_HWM 256
#define BUDGET 64
#define LAST_WORDS_MS                                                                              \
    200 /* libzmq may take so long after close for what it was given, e.g. a Bye */
#define MONITORED                                                                                  \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |                        \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |                       \
     ZMQ_EVENT_DISCONNECTED)

struct option {
    int name;
    int value;
};

static int set_options(void *socket, const struct option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0) {
            return err_origin(-zmq_errno());
        }
    }
    return 0;
}

int peer_link_socket_options(void *socket, uint32_t handshake_ms)
{
    /* No ZMQ_HEARTBEAT: with a full queue it aborts the process or loses messages (libzmq#4767). */
    const struct option options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_IPV6, 1},
        {ZMQ_HANDSHAKE_IVL, (int)handshake_ms},
        {ZMQ_BACKLOG, 128},
        {ZMQ_SNDHWM, SEND_HWM},
        {ZMQ_RCVHWM, SEND_HWM},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, 10},
        {ZMQ_TCP_KEEPALIVE_INTVL, 5},
        {ZMQ_TCP_KEEPALIVE_CNT, 3},
        {ZMQ_TCP_MAXRT, 20000},
    };
    /* libzmq counts what CURVE adds to a frame, too; the frame decoder checks the real limit. */
    const int64_t max = WIRE_PEER_FRAME_MAX + WIRE_CURVE_SLACK_BYTES;
    if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof(max)) != 0) {
        return err_origin(-zmq_errno());
    }
    return err_trace(set_options(socket, options, sizeof(options) / sizeof(options[0])));
}

static struct peer_link *link_of_monitor(struct zsock *zsock)
{
    return loop_owner(zsock, struct peer_link, monitor);
}

static const char *failure_text(uint16_t event, uint32_t value)
{
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
        return "it does not know our key";
    }
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) {
        return "who answers there ends the handshake, perhaps because it expects other keys";
    }
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
        return "one of us uses keys and the other does not";
    }
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC) {
        return "it has another key than [peers] says";
    }
    return "who answers there is no seqsyncd";
}

static void link_on_event(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count)
{
    struct peer_link *link = link_of_monitor(zsock);
    uint16_t event;
    uint32_t value;
    if (part_count != 2 || zmq_msg_size(&parts[0]) != sizeof(event) + sizeof(value)) {
        return;
    }
    const uint8_t *bytes = zmq_msg_data(&parts[0]);
    memcpy(&event, bytes, sizeof(event));
    memcpy(&value, bytes + sizeof(event), sizeof(value));
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
    case ZMQ_EVENT_DISCONNECTED:
        /* What waits was meant for the connection before. */
        zsock_discard(&link->out);
        if (link->connected) {
            link->connected = false;
            link->ops.on_disconnected(link);
        }
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && !link->closing) {
            link->connected = true;
            link->connected_ns = loop_now_ns();
            link->ops.on_connected(link);
        }
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        link->ops.on_failed(link, failure_text(event, value));
        break;
    default:
        break;
    }
}

/* Nobody sends to a DEALER of ours: its other end is a ROUTER that only receives. */
static void link_on_message(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count)
{
    (void)zsock;
    (void)parts;
    (void)part_count;
}

static void link_one_closed(struct peer_link *link)
{
    link->open--;
    if (link->open == 0) {
        link->ops.on_closed(link);
    }
}

static void link_on_out_closed(struct zsock *zsock)
{
    link_one_closed(loop_owner(zsock, struct peer_link, out));
}

static void link_on_monitor_closed(struct zsock *zsock)
{
    link_one_closed(link_of_monitor(zsock));
}

static int link_connect(struct peer_link *link, const char *endpoint)
{
    size_t size = sizeof(link->endpoint);
    if (zmq_connect(link->out.config.socket, endpoint) != 0 ||
        zmq_getsockopt(link->out.config.socket, ZMQ_LAST_ENDPOINT, link->endpoint, &size) != 0) {
        return err_origin(-zmq_errno());
    }
    return 0;
}

static int link_open_out(struct peer_link *link, const struct peer_link_config *config)
{
    const struct option options[] = {
        {ZMQ_IMMEDIATE, 1}, /* queue only for a connection that stands */
        {ZMQ_RECONNECT_IVL, 50},
        {ZMQ_RECONNECT_IVL_MAX, 1000},
        {ZMQ_CONNECT_TIMEOUT, 5000},
    };
    void *socket = zmq_socket(config->zmq, ZMQ_DEALER);
    if (socket == NULL) {
        return err_origin(-zmq_errno());
    }
    int r = peer_link_socket_options(socket, config->handshake_ms);
    if (r == 0) {
        r = set_options(socket, options, sizeof(options) / sizeof(options[0]));
    }
    if (r == 0) {
        r = curve_apply_client(config->curve, socket, config->node);
    }
    if (r == 0) {
        r = zsock_init(&link->out, &(struct zsock_config){.loop = config->loop,
                                                          .socket = socket,
                                                          .out_max = config->out_max,
                                                          .budget = BUDGET,
                                                          .on_message = link_on_message,
                                                          .on_closed = link_on_out_closed});
    }
    if (r < 0) {
        zmq_close(socket);
        return err_trace(r);
    }
    link->open++;
    return 0;
}

static int link_open_monitor(struct peer_link *link, const struct peer_link_config *config)
{
    char endpoint[64];
    /* Not the address: libzmq gives a name back some time after the close, when another link may
     * have it. */
    uint64_t tag = 0;
    if (getrandom(&tag, sizeof(tag), 0) != (ssize_t)sizeof(tag)) {
        return err_origin(-EIO);
    }
    snprintf(endpoint, sizeof(endpoint), "inproc://seqsync-link-%" PRIx64, tag);
    void *socket = zmq_socket(config->zmq, ZMQ_PAIR);
    if (socket == NULL) {
        return err_origin(-zmq_errno());
    }
    const struct option options[] = {{ZMQ_LINGER, 0}};
    int r = set_options(socket, options, 1);
    if (r == 0 && (zmq_socket_monitor(link->out.config.socket, endpoint, MONITORED) != 0 ||
                   zmq_connect(socket, endpoint) != 0)) {
        r = -zmq_errno();
    }
    if (r == 0) {
        r = zsock_init(&link->monitor, &(struct zsock_config){.loop = config->loop,
                                                              .socket = socket,
                                                              .out_max = 1,
                                                              .budget = BUDGET,
                                                              .on_message = link_on_event,
                                                              .on_closed = link_on_monitor_closed});
    }
    if (r < 0) {
        zmq_close(socket);
        return err_origin(r);
    }
    link->open++;
    return 0;
}

int peer_link_open(struct peer_link *link, const struct peer_link_config *config)
{
    memset(link, 0, sizeof(*link));
    link->ops = config->ops;
    int r = link_open_out(link, config);
    if (r == 0) {
        r = link_open_monitor(link, config);
    }
    if (r == 0) {
        r = link_connect(link, config->endpoint);
    }
    if (r < 0) {
        peer_link_close(link);
        return err_trace(r);
    }
    return 0;
}

int peer_link_send(struct peer_link *link, const void *bytes, size_t length)
{
    return zsock_send(&link->out, &(struct zsock_part){.data = bytes, .bytes = length}, 1);
}

void peer_link_reset(struct peer_link *link)
{
    char endpoint[ENDPOINT_MAX];
    memcpy(endpoint, link->endpoint, sizeof(endpoint));
    link->connected = false;
    zsock_discard(&link->out);
    zmq_disconnect(link->out.config.socket, endpoint);
    (void)link_connect(link, endpoint); /* it worked before; if not now, the peer just stays down */
}

void peer_link_close(struct peer_link *link)
{
    assert(!link->closing);
    link->closing = true;
    uint32_t open = link->open;
    if (open == 0) {
        link->ops.on_closed(link);
        return;
    }
    if (link->connected) {
        const struct option options[] = {{ZMQ_LINGER, LAST_WORDS_MS}};
        (void)set_options(link->out.config.socket, options, 1);
    }
    zmq_socket_monitor(link->out.config.socket, NULL, 0);
    if (open == 2) {
        zsock_close(&link->monitor);
    }
    zsock_close(&link->out);
}
