/*
 * Workers of this node that wait for their job to be formed. Each is announced to the conductor
 * under a ticket; the conductor forms the job, or refuses the ticket.
 */
#ifndef SEQSYNC_CORE_JOIN_H
#define SEQSYNC_CORE_JOIN_H

#include "daemon/core/engine.h"

struct engine;
struct engine_job;

struct join_worker {
    bool used;
    bool sent; /* the conductor knows */
    uint32_t worker;
    uint32_t rank;
    uint32_t world_size;
    uint32_t nonfinite;
    int32_t pid;
    uint64_t ticket;
    uint64_t deadline_ns;
};

/* All that wait for one job name. */
struct join {
    char name[SEQSYNC_NAME_MAX + 1];
    uint32_t count; /* of workers; 0 = the entry is free */
    struct join_worker workers[SEQSYNC_LOCAL_RANKS_MAX];
    struct rank_view *views; /* for seqctl: [SEQSYNC_RANKS_MAX] */
};

struct joins {
    struct join items[ENGINE_JOBS_MAX];
    uint64_t last_ticket;
};

/* A worker says hello: it waits from now on, or is refused. */
void join_hello(struct engine *engine, const struct event *event);

/* Whether @worker waits here. */
bool join_has(const struct engine *engine, uint32_t worker);

/* It went away. */
void join_lost(struct engine *engine, uint32_t worker);

/* It is told why, and goes. */
void join_refuse(struct engine *engine, uint32_t worker, const struct job_end *end);

/* The conductor refuses the join with that ticket. */
void join_refuse_ticket(struct engine *engine, uint64_t ticket, const struct job_end *end);

/* The job is formed: the worker that waits as @rank of it is handed over. False if there is none.
 */
bool join_take(struct engine *engine, const char *job, uint32_t rank, struct join_worker *ret);

/* The conductor is here, or gone. */
void join_conductor_up(struct engine *engine);
void join_conductor_lost(struct engine *engine, const char *how);

uint64_t join_deadline_ns(const struct engine *engine);
void join_tick(struct engine *engine);

#endif
