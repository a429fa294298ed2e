/*
 * Happy path: the fd becomes readable, the poll callback notes it, the check hook pumps until
 * ZMQ_EVENTS says "nothing", the loop blocks again. Sending queues and is pumped by the prepare
 * hook of the same turn.
 *
 * What can go wrong, and where it is met: an edge consumed by a send between two receives (the pump
 * asks again after each burst); the budget runs out (the idle handle keeps the loop from blocking);
 * on_message closes the zsock (the pump looks at closing after each call); a spurious edge (legal,
 * the pump finds nothing); an edge that was missed after all (the rescue timer wakes the loop, and
 * the check hook counts).
 */
#include "daemon/io/zsock.h"

#include "daemon/base/err.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct zsock_out {
    uint32_t part_count;
    uint32_t part_next; /* parts before it are with libzmq already */
    zmq_msg_t parts[ZSOCK_PARTS_MAX];
};

enum zsock_take {
    ZSOCK_EMPTY = 1, /* nothing to receive, or no room to send */
};

static void out_clear(struct zsock_out *out)
{
    for (uint32_t i = out->part_next; i < out->part_count; i++) {
        zmq_msg_close(&out->parts[i]);
    }
}

static void out_pop(struct zsock *zsock)
{
    out_clear(&zsock->out[zsock->out_head]);
    zsock->out_head = (zsock->out_head + 1) % zsock->config.out_max;
    zsock->out_count--;
}

/* ZMQ_EVENTS; asking also makes libzmq look at what its threads told it. */
static int zsock_events(struct zsock *zsock)
{
    int events = 0;
    size_t size = sizeof(events);
    for (;;) {
        if (zmq_getsockopt(zsock->config.socket, ZMQ_EVENTS, &events, &size) == 0) {
            return events;
        }
        if (zmq_errno() != EINTR) {
            return 0; /* ETERM: the context is being shut down; the owner closes us */
        }
    }
}

static bool zsock_has_work(struct zsock *zsock)
{
    int events = zsock_events(zsock);
    if (zsock->closing) {
        return false;
    }
    return (events & ZMQ_POLLIN) != 0 || (zsock->out_count > 0 && (events & ZMQ_POLLOUT) != 0);
}

/* Receives all parts of a message; those beyond ZSOCK_PARTS_MAX are drained. 0 or ZSOCK_EMPTY. */
static int zsock_receive(struct zsock *zsock, zmq_msg_t parts[ZSOCK_PARTS_MAX], uint32_t *ret_count)
{
    uint32_t count = 0;
    bool more = true;
    zmq_msg_t surplus;
    while (more) {
        zmq_msg_t *part = count < ZSOCK_PARTS_MAX ? &parts[count] : &surplus;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, zsock->config.socket, ZMQ_DONTWAIT) < 0) {
            int e = zmq_errno();
            zmq_msg_close(part);
            if (e == EINTR) {
                continue;
            }
            /* EAGAIN and ETERM; a message is there as a whole or not at all, so EAGAIN is before
             * the first part. */
            assert(count == 0 || e == ETERM);
            for (uint32_t i = 0; i < count && i < ZSOCK_PARTS_MAX; i++) {
                zmq_msg_close(&parts[i]);
            }
            return ZSOCK_EMPTY;
        }
        more = zmq_msg_more(part) != 0;
        if (part == &surplus) {
            zmq_msg_close(part);
        }
        count++;
    }
    *ret_count = count;
    return 0;
}

static bool zsock_receive_one(struct zsock *zsock)
{
    zmq_msg_t parts[ZSOCK_PARTS_MAX];
    uint32_t count = 0;
    if (zsock_receive(zsock, parts, &count) != 0) {
        return false;
    }
    if (count > ZSOCK_PARTS_MAX) {
        zsock->malformed++;
    } else {
        zsock->received++;
        zsock->config.on_message(zsock, parts, count);
    }
    for (uint32_t i = 0; i < count && i < ZSOCK_PARTS_MAX; i++) {
        zmq_msg_close(&parts[i]);
    }
    return true;
}

/* Sends the oldest waiting message. 0, or ZSOCK_EMPTY if it must wait. */
static int zsock_send_one(struct zsock *zsock)
{
    struct zsock_out *out = &zsock->out[zsock->out_head];
    while (out->part_next < out->part_count) {
        int flags = ZMQ_DONTWAIT;
        if (out->part_next + 1 < out->part_count) {
            flags |= ZMQ_SNDMORE;
        }
        if (zmq_msg_send(&out->parts[out->part_next], zsock->config.socket, flags) >= 0) {
            out->part_next++;
            continue;
        }
        int e = zmq_errno();
        if (e == EINTR) {
            continue;
        }
        /* EHOSTUNREACH: a ROUTER's peer is gone. EFSM, ENOTSUP cannot be with the types we use;
         * waiting would be for ever. */
        if (e == ETERM || (e == EAGAIN && !zsock->config.drop_unsendable)) {
            return ZSOCK_EMPTY;
        }
        zsock->dropped++;
        out_pop(zsock);
        return 0;
    }
    zsock->sent++;
    out_pop(zsock);
    return 0;
}

static void zsock_on_idle(uv_idle_t *handle)
{
    (void)handle; /* being active is its work: the loop does not block */
}

/* Works until there is nothing to do or the budget is used up; the last thing done to the socket is
 * to ask ZMQ_EVENTS. */
static void zsock_pump(struct zsock *zsock)
{
    if (zsock->closing || zsock->pumping) {
        return;
    }
    zsock->pumping = true;
    uint32_t received = 0;
    uint32_t sent = 0;
    bool work = true;
    while (work && received < zsock->config.budget && sent < zsock->config.budget) {
        while (!zsock->closing && received < zsock->config.budget && zsock_receive_one(zsock)) {
            received++;
        }
        while (!zsock->closing && zsock->out_count > 0 && sent < zsock->config.budget &&
               zsock_send_one(zsock) == 0) {
            sent++;
        }
        work = !zsock->closing && zsock_has_work(zsock);
    }
    zsock->pumping = false;
    if (zsock->closing) {
        return;
    }
    if (work) {
        uv_idle_start(&zsock->idle, zsock_on_idle);
    } else {
        uv_idle_stop(&zsock->idle);
    }
}

static struct zsock *zsock_of(void *data)
{
    return loop_owner(data, struct zsock, handles);
}

static void zsock_on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    zsock_of(handle->data)->fired = true;
}

static void zsock_on_prepare(uv_prepare_t *handle)
{
    struct zsock *zsock = zsock_of(handle->data);
    zsock_pump(zsock);
    zsock->fired = false;
    zsock->slept_ns = loop_now_ns();
}

/*
 * A missed edge looks like this: the loop slept long, our fd did not wake it and is not readable
 * now, and yet there is work. A message that comes just between the last two questions looks alike,
 * but only if it hits the end of a long sleep by microseconds.
 */
static void zsock_on_check(uv_check_t *handle)
{
    struct zsock *zsock = zsock_of(handle->data);
    if (!zsock->closing && !zsock->fired &&
        loop_now_ns() - zsock->slept_ns >= ZSOCK_RESCUE_MS / 2 * LOOP_NS_PER_MS) {
        struct pollfd fd = {.fd = zsock->fd, .events = POLLIN};
        if (poll(&fd, 1, 0) == 0 && zsock_has_work(zsock)) {
            zsock->rescues++;
        }
    }
    zsock_pump(zsock);
}

static void zsock_on_rescue(uv_timer_t *handle)
{
    (void)handle; /* waking the loop is its work: the check hook looks */
}

static void zsock_on_empty(struct loop_handles *handles)
{
    struct zsock *zsock = zsock_of(handles);
    zmq_close(zsock->config.socket);
    free(zsock->out);
    zsock->out = NULL;
    if (zsock->config.on_closed != NULL) {
        zsock->config.on_closed(zsock);
    }
}

int zsock_init(struct zsock *zsock, const struct zsock_config *config)
{
    assert(config->out_max > 0);
    assert(config->budget > 0);
    int fd;
    size_t size = sizeof(fd);
    if (zmq_getsockopt(config->socket, ZMQ_FD, &fd, &size) != 0) {
        return err_origin(-zmq_errno());
    }
    struct zsock_out *out = calloc(config->out_max, sizeof(*out));
    if (out == NULL) {
        return err_origin(-ENOMEM);
    }
    memset(zsock, 0, sizeof(*zsock));
    int r = uv_poll_init(config->loop, &zsock->poll, fd);
    if (r < 0) {
        free(out);
        memset(zsock, 0, sizeof(*zsock)); /* owners tell by the config whether it lives */
        return err_origin(r);
    }
    zsock->config = *config;
    zsock->handles.on_empty = zsock_on_empty;
    zsock->fd = fd;
    zsock->out = out;
    /* These cannot fail in libuv: they only fill in the handle. */
    uv_prepare_init(config->loop, &zsock->prepare);
    uv_check_init(config->loop, &zsock->check);
    uv_idle_init(config->loop, &zsock->idle);
    uv_timer_init(config->loop, &zsock->rescue);
    loop_adopt(&zsock->handles, (uv_handle_t *)&zsock->poll);
    loop_adopt(&zsock->handles, (uv_handle_t *)&zsock->prepare);
    loop_adopt(&zsock->handles, (uv_handle_t *)&zsock->check);
    loop_adopt(&zsock->handles, (uv_handle_t *)&zsock->idle);
    loop_adopt(&zsock->handles, (uv_handle_t *)&zsock->rescue);
    uv_poll_start(&zsock->poll, UV_READABLE, zsock_on_poll);
    uv_prepare_start(&zsock->prepare, zsock_on_prepare);
    uv_check_start(&zsock->check, zsock_on_check);
    uv_idle_start(&zsock->idle,
                  zsock_on_idle); /* so that what is there already is met in the first turn */
    uv_timer_start(&zsock->rescue, zsock_on_rescue, ZSOCK_RESCUE_MS, ZSOCK_RESCUE_MS);
    return 0;
}

int zsock_send(struct zsock *zsock, const struct zsock_part *parts, uint32_t part_count)
{
    assert(part_count > 0);
    assert(part_count <= ZSOCK_PARTS_MAX);
    if (zsock->closing) {
        return 0;
    }
    if (zsock->out_count == zsock->config.out_max) {
        return ZSOCK_FULL;
    }
    uint32_t place = (zsock->out_head + zsock->out_count) % zsock->config.out_max;
    struct zsock_out *out = &zsock->out[place];
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < part_count; i++) {
        if (zmq_msg_init_size(&out->parts[i], parts[i].bytes) != 0) {
            out_clear(out);
            return err_origin(-ENOMEM);
        }
        if (parts[i].bytes > 0) {
            memcpy(zmq_msg_data(&out->parts[i]), parts[i].data, parts[i].bytes);
        }
        out->part_count++;
    }
    zsock->out_count++;
    /* Whoever calls, even a prepare hook that runs after ours: the loop does not block before the
     * next pump. */
    uv_idle_start(&zsock->idle, zsock_on_idle);
    return 0;
}

void zsock_discard(struct zsock *zsock)
{
    /* A message of which libzmq has a part already must be finished, or the next one would be glued
     * to it. */
    uint32_t keep = 0;
    if (zsock->out_count > 0 && zsock->out[zsock->out_head].part_next > 0) {
        keep = 1;
    }
    while (zsock->out_count > keep) {
        zsock->out_count--;
        out_clear(&zsock->out[(zsock->out_head + zsock->out_count) % zsock->config.out_max]);
    }
}

void zsock_close(struct zsock *zsock)
{
    if (zsock->closing) {
        return;
    }
    zsock->closing = true;
    while (zsock->out_count > 0) {
        out_pop(zsock);
    }
    uv_poll_stop(&zsock->poll);
    loop_handle_close((uv_handle_t *)&zsock->poll);
    loop_handle_close((uv_handle_t *)&zsock->prepare);
    loop_handle_close((uv_handle_t *)&zsock->check);
    loop_handle_close((uv_handle_t *)&zsock->idle);
    loop_handle_close((uv_handle_t *)&zsock->rescue);
    loop_handles_close(&zsock->handles);
}
