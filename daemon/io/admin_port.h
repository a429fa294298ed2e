/*
 * The port for seqctl: a ROUTER on ipc (or tcp loopback); one request, one answer. Answers come
 * from what the caller knows anyway; nothing an asker does can hold up a job: a few requests per
 * turn of the loop, and an answer that the asker does not take is dropped.
 *
 * Frames: [request] from a DEALER, or [empty][request] from a REQ; the answer has the same form.
 */
#ifndef SEQSYNC_IO_ADMIN_PORT_H
#define SEQSYNC_IO_ADMIN_PORT_H

#include "daemon/io/loop.h"
#include "proto/frame.h"

#include <sys/types.h>

#define ADMIN_PORT_BUDGET 8 /* requests per turn of the loop */

struct admin_port;

/*
 * Fills @answer (initialised; protocol is set by the port) for a valid request of our protocol.
 * What it points to stays valid until the next call. Loop thread, never inside a call of the port.
 */
struct admin_port_ops {
    void (*on_request)(void *ctx, const Seqsync__Admin__Request *request,
                       Seqsync__Admin__Answer *answer);
};

struct admin_port_config {
    uv_loop_t *loop;
    void *zmq;
    const char *endpoint; /* ipc:///PATH, made with mode 0660, or tcp:// on loopback; borrowed for
                             the call */
    bool has_group;
    gid_t group; /* of the ipc socket */
    struct admin_port_ops ops;
    void *ctx;
};

struct admin_port_counters {
    uint64_t answered;
    uint64_t rejected; /* malformed: answered with an error where it can be */
    uint64_t dropped;  /* answers that were not taken or too large */
    uint64_t rescues;
};

/* Negative errno with the reason in @ret_text[size]. -EADDRINUSE: another daemon; -EPERM: not a
 * local endpoint. */
int admin_port_open(const struct admin_port_config *config, struct admin_port **ret, char *ret_text,
                    size_t size);

/* Freed in its last close callback. Accepts NULL. */
void admin_port_close(struct admin_port *port);

/* What it is bound to, e.g. with the port that the system chose. */
const char *admin_port_endpoint(const struct admin_port *port);

void admin_port_counters(const struct admin_port *port, struct admin_port_counters *ret);

#endif
