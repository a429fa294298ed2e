/* What the driver's files share: driver.c (life, queue, actions), driver_worker.c, driver_peer.c,
 * driver_admin.c. */
#ifndef SEQSYNC_IO_DRIVER_PRIVATE_H
#define SEQSYNC_IO_DRIVER_PRIVATE_H

#include "daemon/cluster/control_log.h"
#include "daemon/core/engine.h"
#include "daemon/io/admin_port.h"
#include "daemon/io/bulk.h"
#include "daemon/io/curve.h"
#include "daemon/io/driver.h"
#include "daemon/io/job.h"
#include "daemon/io/lanes.h"
#include "daemon/io/peer_port.h"
#include "daemon/io/worker_port.h"

#define DRIVER_WORKERS_MAX 1024
#define DRIVER_BUFFERS_MAX 256 /* user buffers of one worker */

/* A shared buffer that a worker asked for. */
struct driver_buffer {
    struct driver_buffer *next;
    struct segment segment;
    uint32_t id;
    uint32_t uid;
};

struct driver_worker {
    bool used;
    bool waiting;    /* a request is not answered yet */
    uint32_t handle; /* the port's */
    uint32_t uid;
    int32_t pid;
    uint64_t request; /* to be echoed in the answer */
    uint32_t rank;
    struct job *job;         /* from WELCOME on */
    uint32_t memory_version; /* of the arenas that it has */
    struct driver_buffer *buffers;
    uint32_t buffer_count;
    uint32_t buffer_last_id;
};

/* An event that waits for its turn, with what it points to. */
struct driver_pending {
    struct driver_pending *next;
    struct event event;
    struct entry entry;          /* EVENT_COMMITTED */
    char text[MESSAGE_TEXT_MAX]; /* texts */
};

struct driver {
    uv_loop_t *loop;
    const struct config *config;
    struct engine *engine;
    struct control_log log;
    struct quota quota;
    struct lanes *lanes;
    struct bulk *bulk;
    struct curve *curve;
    struct worker_port *worker_port;
    struct peer_port *peer_port;
    struct admin_port *admin_port;
    struct job_host host;
    uv_timer_t timer;
    bool timer_open;
    uint64_t started_ns;
    uint64_t incarnation;
    uint32_t node;
    uint32_t node_count;
    const char *names[SEQSYNC_NODES_MAX];
    const char *endpoints[SEQSYNC_NODES_MAX];
    const char *bulk_endpoints[SEQSYNC_NODES_MAX];
    const char *public_keys[SEQSYNC_NODES_MAX];
    struct job *jobs[ENGINE_JOBS_MAX * 2]; /* with those whose memory is still in flight */
    struct driver_worker workers[DRIVER_WORKERS_MAX];
    uint32_t worker_count;
    struct driver_pending *pending; /* oldest first */
    struct driver_pending **pending_tail;
    bool performing;
    bool closing;
    uint64_t drain_until_ns; /* closing: jobs have until then to end */
    void (*on_closed)(void *ctx);
    void *closed_ctx;
    struct driver_answer *answer; /* memory of the last admin answer */
};

uint64_t driver_now(const struct driver *driver);

/* Feeds an event; if the engine is busy, queues a copy (texts and entry included). */
void driver_feed(struct driver *driver, const struct event *event);

struct job *driver_job(const struct driver *driver, uint64_t id);

/* --- driver_worker.c --- */
extern const struct worker_port_ops driver_worker_ops;
struct driver_worker *driver_worker_find(struct driver *driver, uint32_t handle);
void driver_worker_reply(struct driver *driver, const struct action *action);
void driver_worker_forget_job(struct driver *driver, const struct job *job);

/* Ends a worker's connection after what was sent to it; its buffers go. No EVENT_WORKER_LOST
 * follows. */
void driver_worker_drop(struct driver *driver, uint32_t handle);

/* Frees the buffers of all workers. */
void driver_worker_close(struct driver *driver);

/* --- driver_peer.c --- */
extern const struct peer_port_ops driver_peer_ops;
extern const struct control_log_ops driver_log_ops;

/* --- driver_admin.c --- */
extern const struct admin_port_ops driver_admin_ops;
void driver_admin_close(struct driver *driver);

#endif
