#include "daemon/io/admin_port.h"

#include "daemon/base/err.h"
#include "daemon/host/lock.h"
#include "daemon/io/endpoint.h"
#include "daemon/io/zsock.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_MAX 64
#define SEND_HWM 2 /* answers may be large, and who does not read them needs no more */
#define TEXT_MAX 256

struct admin_port {
    struct admin_port_config config;
    struct zsock router;
    struct lock lock;
    bool closing;
    char endpoint[ENDPOINT_MAX];
    struct frame_memory *memory;
    struct admin_port_counters counters;
    uint8_t *out; /* [WIRE_ADMIN_ANSWER_MAX] */
};

/* Sends @answer to who asked: the parts before the request come back as they are. */
static void port_answer(struct admin_port *port, zmq_msg_t *parts, uint32_t part_count,
                        Seqsync__Admin__Answer *answer)
{
    struct zsock_part out[ZSOCK_PARTS_MAX];
    answer->protocol = WIRE_PROTOCOL;
    size_t length = frame_encode(&answer->base, port->out, WIRE_ADMIN_ANSWER_MAX);
    if (length == 0) {
        port->counters.dropped++;
        return;
    }
    for (uint32_t i = 0; i + 1 < part_count; i++) {
        out[i] =
            (struct zsock_part){.data = zmq_msg_data(&parts[i]), .bytes = zmq_msg_size(&parts[i])};
    }
    out[part_count - 1] = (struct zsock_part){.data = port->out, .bytes = length};
    if (zsock_send(&port->router, out, part_count) != 0) {
        port->counters.dropped++;
        return;
    }
    port->counters.answered++;
}

static void port_answer_error(struct admin_port *port, zmq_msg_t *parts, uint32_t part_count,
                              int32_t code, const char *text)
{
    Seqsync__Admin__Answer answer = SEQSYNC__ADMIN__ANSWER__INIT;
    Seqsync__Admin__Error error = SEQSYNC__ADMIN__ERROR__INIT;
    char text_copy[TEXT_MAX];
    char hint[] = "seqctl and seqsyncd must be of one release";
    snprintf(text_copy, sizeof(text_copy), "%s", text);
    error.code = code;
    error.text = text_copy;
    error.hint = hint;
    answer.error = &error;
    port->counters.rejected++;
    port_answer(port, parts, part_count, &answer);
}

static void port_on_message(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count)
{
    struct admin_port *port = loop_owner(zsock, struct admin_port, router);
    bool framed = part_count == 2 || (part_count == 3 && zmq_msg_size(&parts[1]) == 0);
    if (!framed) {
        port->counters.rejected++;
        return;
    }
    zmq_msg_t *payload = &parts[part_count - 1];
    Seqsync__Admin__Request *request = NULL;
    const char *wrong = "it is too large";
    if (zmq_msg_size(payload) <= WIRE_ADMIN_REQUEST_MAX) {
        wrong = frame_decode_request(port->memory, zmq_msg_data(payload), zmq_msg_size(payload),
                                     &request);
    }
    if (wrong != NULL) {
        char text[TEXT_MAX];
        snprintf(text, sizeof(text), "the request cannot be read: %s", wrong);
        port_answer_error(port, parts, part_count, SEQSYNC_ERR_PROTOCOL, text);
        return;
    }
    if (request->protocol != WIRE_PROTOCOL) {
        char text[TEXT_MAX];
        snprintf(text, sizeof(text), "the asker speaks protocol %u, the daemon %u",
                 (unsigned)request->protocol, (unsigned)WIRE_PROTOCOL);
        port_answer_error(port, parts, part_count, SEQSYNC_ERR_VERSION, text);
        return;
    }
    Seqsync__Admin__Answer answer = SEQSYNC__ADMIN__ANSWER__INIT;
    port->config.ops.on_request(port->config.ctx, request, &answer);
    if (!port->closing) {
        port_answer(port, parts, part_count, &answer);
    }
}

static void port_free(struct admin_port *port)
{
    /* libzmq leaves the file; while the lock is held it is nobody's but ours. */
    if (strncmp(port->endpoint, "ipc://", 6) == 0) {
        unlink(port->endpoint + 6);
    }
    lock_release(&port->lock);
    frame_memory_free(port->memory);
    free(port->out);
    free(port);
}

static void port_on_closed(struct zsock *zsock)
{
    port_free(loop_owner(zsock, struct admin_port, router));
}

static int port_options(void *socket)
{
    const struct {
        int name;
        int value;
    } options[] = {
        {ZMQ_LINGER, 0},           {ZMQ_IPV6, 1},          {ZMQ_ROUTER_MANDATORY, 1},
        {ZMQ_HANDSHAKE_IVL, 5000}, {ZMQ_SNDHWM, SEND_HWM}, {ZMQ_RCVHWM, SEND_HWM},
        {ZMQ_BACKLOG, 128},
    };
    const int64_t max = WIRE_ADMIN_REQUEST_MAX;
    if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof(max)) != 0) {
        return err_origin(-zmq_errno());
    }
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0) {
            return err_origin(-zmq_errno());
        }
    }
    return 0;
}

/* Binds to an ipc path that nobody else serves, with mode 0660. */
static int port_bind_path(struct admin_port *port, void *socket, const char *address,
                          char *ret_text, size_t size)
{
    const char *path = address + strlen("ipc://");
    int r = lock_take(&port->lock, path);
    if (r == -EADDRINUSE) {
        snprintf(ret_text, size, "another daemon serves %s (it holds %s.lock)", path, path);
        return err_trace(r);
    }
    if (r == 0) {
        mode_t mask = umask(0177);
        r = zmq_bind(socket, address) == 0 ? 0 : -zmq_errno();
        umask(mask);
    }
    if (r == 0 && port->config.has_group && chown(path, (uid_t)-1, port->config.group) != 0) {
        r = -errno;
    }
    if (r == 0 && chmod(path, 0660) != 0) {
        r = -errno;
    }
    if (r < 0) {
        snprintf(ret_text, size, "cannot open the admin socket %s: %s", path, zmq_strerror(-r));
        return err_origin(r);
    }
    return 0;
}

static int port_bind(struct admin_port *port, void *socket, char *ret_text, size_t size)
{
    char address[ENDPOINT_MAX];
    bool local = false;
    const char *why = "";
    int r = endpoint_resolve(port->config.endpoint, address, &local, &why);
    if (r == 0 && !local) {
        why = "can be reached from other machines, which the admin socket must not";
        r = -EPERM;
    }
    if (r < 0) {
        snprintf(ret_text, size, "admin endpoint %s %s", port->config.endpoint, why);
        return err_trace(r);
    }
    r = port_options(socket);
    if (r < 0) {
        snprintf(ret_text, size, "cannot prepare the admin socket: %s", zmq_strerror(-r));
    }
    if (r == 0 && strncmp(address, "ipc://", 6) == 0) {
        r = port_bind_path(port, socket, address, ret_text, size);
    } else if (r == 0 && zmq_bind(socket, address) != 0) {
        r = -zmq_errno();
        snprintf(ret_text, size, "cannot listen on %s: %s", address, zmq_strerror(-r));
    }
    size_t length = sizeof(port->endpoint);
    if (r == 0 && zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, port->endpoint, &length) != 0) {
        r = -zmq_errno();
        snprintf(ret_text, size, "the admin endpoint has no name: %s", zmq_strerror(-r));
    }
    return err_trace(r);
}

int admin_port_open(const struct admin_port_config *config, struct admin_port **ret, char *ret_text,
                    size_t size)
{
    struct admin_port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        snprintf(ret_text, size, "out of memory");
        return err_origin(-ENOMEM);
    }
    port->config = *config;
    port->lock.fd = -1;
    port->memory = frame_memory_new();
    port->out = malloc(WIRE_ADMIN_ANSWER_MAX);
    void *socket = zmq_socket(config->zmq, ZMQ_ROUTER);
    int r = 0;
    if (port->memory == NULL || port->out == NULL || socket == NULL) {
        snprintf(ret_text, size, "out of memory or sockets");
        r = -ENOMEM;
    }
    if (r == 0) {
        r = port_bind(port, socket, ret_text, size);
    }
    if (r == 0) {
        r = zsock_init(&port->router, &(struct zsock_config){.loop = config->loop,
                                                             .socket = socket,
                                                             .out_max = OUT_MAX,
                                                             .budget = ADMIN_PORT_BUDGET,
                                                             .drop_unsendable = true,
                                                             .on_message = port_on_message,
                                                             .on_closed = port_on_closed});
        if (r < 0) {
            snprintf(ret_text, size, "cannot watch the admin socket: %s", strerror(-r));
        }
    }
    if (r < 0) {
        if (socket != NULL) {
            zmq_close(socket);
        }
        port_free(port);
        return err_origin(r);
    }
    *ret = port;
    return 0;
}

void admin_port_close(struct admin_port *port)
{
    if (port == NULL) {
        return;
    }
    port->closing = true;
    zsock_close(&port->router);
}

const char *admin_port_endpoint(const struct admin_port *port)
{
    return port->endpoint;
}

void admin_port_counters(const struct admin_port *port, struct admin_port_counters *ret)
{
    *ret = port->counters;
    ret->dropped += port->router.dropped;
    ret->rejected += port->router.malformed;
    ret->rescues = port->router.rescues;
}
