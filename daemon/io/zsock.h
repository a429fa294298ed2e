/*
 * One ZeroMQ socket in a libuv loop.
 *
 * ZMQ_FD says "something changed" once, and any zmq call on the socket may consume that. So the
 * work is in one pump, which receives and sends until ZMQ_EVENTS, asked last, says that there is
 * nothing to do; it runs when the fd is readable, before the loop blocks, and after it. A pump
 * stops after a budget of messages, so that one busy socket does not starve the loop, and goes on
 * in the next turn without blocking. A slow timer wakes the loop in case an edge was missed all the
 * same; such rescues are counted and are a bug.
 *
 * Nobody but the zsock may call zmq functions on the socket between init and close, except
 * zmq_connect/disconnect/bind and zmq_setsockopt in the loop's thread outside of on_message.
 */
#ifndef SEQSYNC_IO_ZSOCK_H
#define SEQSYNC_IO_ZSOCK_H

#include "daemon/io/loop.h"

#include <zmq.h>

#define ZSOCK_PARTS_MAX 4 /* of a message; one with more is dropped and counted */
#define ZSOCK_RESCUE_MS 100

struct zsock;
struct zsock_out;

enum zsock_outcome {
    ZSOCK_FULL = 1, /* out_max messages wait already; nothing was queued */
};

struct zsock_config {
    uv_loop_t *loop;
    void *socket;
    uint32_t out_max; /* messages that may wait to be sent */
    uint32_t budget;  /* messages received, and sent, per pump */
    /*
     * A message that cannot be sent now is dropped and counted instead of waiting: for a ROUTER,
     * where one peer that does not read (or is gone) must not hold up the others.
     */
    bool drop_unsendable;
    /* A whole message, parts borrowed for the call. May call zsock_send(), zsock_close(). */
    void (*on_message)(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count);
    /* Every handle is closed, and so is the socket: the memory may go. May be NULL. */
    void (*on_closed)(struct zsock *zsock);
};

/* Visible to be embedded by value; the fields are zsock's own, except that counters may be read. */
struct zsock {
    struct zsock_config config;
    struct loop_handles handles;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t rescue;
    struct zsock_out *out; /* ring of out_max messages */
    uint32_t out_head;
    uint32_t out_count;
    int fd;
    uint64_t slept_ns; /* when the loop was last about to block */
    bool fired;        /* the fd was readable in this turn */
    bool pumping;
    bool closing;
    uint64_t received; /* messages given to on_message */
    uint64_t sent;
    uint64_t dropped;   /* unsendable, see drop_unsendable */
    uint64_t malformed; /* more than ZSOCK_PARTS_MAX parts */
    uint64_t rescues;
};

/* Takes the socket on success: it is closed after the handles. -ENOMEM and libuv's codes; then
 * the zsock is all zero, and the socket is the caller's. */
int zsock_init(struct zsock *zsock, const struct zsock_config *config);

/*
 * Queues one message of copied parts; it is sent before the loop blocks next. 0, ZSOCK_FULL or
 * -ENOMEM.
 */
struct zsock_part {
    const void *data;
    size_t bytes;
};
int zsock_send(struct zsock *zsock, const struct zsock_part *parts, uint32_t part_count);

/* Forgets what waits to be sent. */
void zsock_discard(struct zsock *zsock);

/* Starts closing; no on_message from here on. Once; later calls do nothing. */
void zsock_close(struct zsock *zsock);

#endif
