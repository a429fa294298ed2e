#include "daemon/core/join.h"

#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- places ---- */

static struct join *join_find(struct engine *engine, const char *name)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct join *join = &engine->joins.items[i];
        if (join->count > 0 && strcmp(join->name, name) == 0) {
            return join;
        }
    }
    return NULL;
}

static struct join_worker *join_find_worker(const struct engine *engine, uint32_t handle,
                                            struct join **ret_join)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct join *join = (struct join *)(uintptr_t)&engine->joins.items[i];
        for (uint32_t k = 0; join->count > 0 && k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
            if (join->workers[k].used && join->workers[k].worker == handle) {
                *ret_join = join;
                return &join->workers[k];
            }
        }
    }
    return NULL;
}

static struct join_worker *join_find_rank(struct join *join, uint32_t rank)
{
    for (uint32_t k = 0; k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
        if (join->workers[k].used && join->workers[k].rank == rank) {
            return &join->workers[k];
        }
    }
    return NULL;
}

/* A free place under that name, or NULL. */
static struct join_worker *join_place(struct engine *engine, const char *name,
                                      struct join **ret_join)
{
    struct join *join = join_find(engine, name);

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX && join == NULL; i++) {
        if (engine->joins.items[i].count == 0) {
            join = &engine->joins.items[i];
        }
    }
    if (join == NULL) {
        return NULL;
    }
    if (join->views == NULL) {
        join->views = calloc(SEQSYNC_RANKS_MAX, sizeof(struct rank_view));
        if (join->views == NULL) {
            return NULL;
        }
    }
    for (uint32_t k = 0; k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
        if (!join->workers[k].used) {
            *ret_join = join;
            return &join->workers[k];
        }
    }
    return NULL;
}

static void join_remove(struct join *join, struct join_worker *worker)
{
    *worker = (struct join_worker){.used = false};
    join->count--;
}

/* ---- talking to the conductor ---- */

static void join_announce(struct engine *engine, const struct join *join,
                          struct join_worker *worker, bool leave)
{
    struct message_join body = {.rank = worker->rank,
                                .world_size = worker->world_size,
                                .nonfinite = worker->nonfinite,
                                .leave = leave};

    snprintf(body.job, sizeof(body.job), "%s", join->name);
    worker->sent = !leave;
    if (engine_conducts(engine)) {
        forming_join(engine, engine->config.node, worker->ticket, &body);
        return;
    }
    struct message *message = outbox_message(&engine->out, MESSAGE_JOIN);
    message->job = worker->ticket;
    message->join = body;
    outbox_send(&engine->out, ENGINE_CONDUCTOR, message);
}

/* Tells the worker why, and forgets it. */
static void join_dismiss(struct engine *engine, struct join *join, struct join_worker *worker,
                         const struct job_end *why)
{
    struct job_end *end = outbox_end(&engine->out);

    *end = *why;
    outbox_trace(&engine->out, TRACE_NOTICE, "rank %u is turned away: %s", worker->rank, end->text);
    outbox_fail_worker(&engine->out, worker->worker, end);
    join_remove(join, worker);
}

/* ---- hello ---- */

static void join_reject_hello(struct engine *engine, const struct event *event,
                              const struct job_end *why)
{
    struct job_end *end = outbox_end(&engine->out);

    *end = *why;
    outbox_trace(&engine->out, TRACE_NOTICE, "rank %u is turned away: %s", event->hello.rank,
                 end->text);
    outbox_fail_worker(&engine->out, event->hello.worker, end);
}

/* Whether a living worker of this node is that rank of that job already. */
static bool rank_is_here(struct engine *engine, const char *job, uint32_t rank)
{
    const struct engine_job *running = engine_running(engine, job);
    const int32_t local = running != NULL ? engine_job_local(running, rank) : -1;
    struct join *join = join_find(engine, job);

    return (join != NULL && join_find_rank(join, rank) != NULL) ||
           (local >= 0 && engine_job_is_live(running) && running->locals[local].here &&
            !running->locals[local].left);
}

/* Whether the hello can be taken at all; fills @ret if not. */
static bool hello_is_acceptable(struct engine *engine, const struct event *event,
                                struct job_end *ret)
{
    const struct engine_config *config = &engine->config;
    const struct liveness_peer *conductor = &engine->liveness.peers[ENGINE_CONDUCTOR];

    if (event->hello.world_size == 0 || event->hello.world_size > SEQSYNC_RANKS_MAX ||
        event->hello.rank >= event->hello.world_size) {
        fail_join_order(ret, "a worker joins with a rank that its world size does not have");
        return false;
    }
    if (rank_is_here(engine, event->hello.job, event->hello.rank)) {
        fail_join_duplicate(ret, event->hello.job, event->hello.rank, (int32_t)config->node,
                            config->node_names[config->node]);
        return false;
    }
    if (!engine_conducts(engine) && !conductor->up && conductor->known) {
        fail_conductor_unreachable(ret, config->node_names, conductor->reason);
        return false;
    }
    return true;
}

void join_hello(struct engine *engine, const struct event *event)
{
    struct join_worker *worker;
    struct join *join;
    struct job_end end;

    if (!hello_is_acceptable(engine, event, &end)) {
        join_reject_hello(engine, event, &end);
        return;
    }
    worker = join_place(engine, event->hello.job, &join);
    if (worker == NULL) {
        fail_join_capacity(&end, event->hello.job, event->hello.rank, (int32_t)engine->config.node,
                           "this node has no room for another worker that waits");
        join_reject_hello(engine, event, &end);
        return;
    }
    if (join->count++ == 0) {
        snprintf(join->name, sizeof(join->name), "%s", event->hello.job);
    }
    *worker = (struct join_worker){
        .used = true,
        .worker = event->hello.worker,
        .rank = event->hello.rank,
        .world_size = event->hello.world_size,
        .nonfinite = event->hello.nonfinite,
        .pid = event->hello.pid,
        .ticket = ++engine->joins.last_ticket,
        .deadline_ns = engine_after(engine->now_ns, engine->config.join_timeout_ns)};
    if (liveness_is_up(&engine->liveness, ENGINE_CONDUCTOR)) {
        join_announce(engine, join, worker, /* leave= */ false);
    }
}

/* ---- going ---- */

bool join_has(const struct engine *engine, uint32_t worker)
{
    struct join *join;

    return join_find_worker(engine, worker, &join) != NULL;
}

void join_lost(struct engine *engine, uint32_t handle)
{
    struct join *join;
    struct join_worker *worker = join_find_worker(engine, handle, &join);

    if (worker == NULL) {
        return;
    }
    if (worker->sent) {
        join_announce(engine, join, worker, /* leave= */ true);
    }
    join_remove(join, worker);
}

void join_refuse(struct engine *engine, uint32_t handle, const struct job_end *end)
{
    struct join *join;
    struct join_worker *worker = join_find_worker(engine, handle, &join);

    if (worker == NULL) {
        return;
    }
    if (worker->sent) {
        join_announce(engine, join, worker, /* leave= */ true);
    }
    join_dismiss(engine, join, worker, end);
}

void join_refuse_ticket(struct engine *engine, uint64_t ticket, const struct job_end *end)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct join *join = &engine->joins.items[i];
        for (uint32_t k = 0; join->count > 0 && k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
            if (join->workers[k].used && join->workers[k].ticket == ticket) {
                join_dismiss(engine, join, &join->workers[k], end);
                return;
            }
        }
    }
    engine_drop(engine, "a refusal of a worker that is gone");
}

bool join_take(struct engine *engine, const char *job, uint32_t rank, struct join_worker *ret)
{
    struct join *join = join_find(engine, job);
    struct join_worker *worker = join != NULL ? join_find_rank(join, rank) : NULL;

    if (worker == NULL) {
        return false;
    }
    *ret = *worker;
    join_remove(join, worker);
    return true;
}

/* ---- the conductor ---- */

void join_conductor_up(struct engine *engine)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct join *join = &engine->joins.items[i];
        for (uint32_t k = 0; join->count > 0 && k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
            if (join->workers[k].used && !join->workers[k].sent) {
                join_announce(engine, join, &join->workers[k], /* leave= */ false);
            }
        }
    }
}

void join_conductor_lost(struct engine *engine, const char *how)
{
    struct job_end end;

    fail_conductor_lost(&end, engine->config.node_names, how);
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct join *join = &engine->joins.items[i];
        for (uint32_t k = 0; join->count > 0 && k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
            struct join_worker *worker = &join->workers[k];
            if (worker->used) {
                /* It may still hear us. */
                join_announce(engine, join, worker, /* leave= */ true);
                join_dismiss(engine, join, worker, &end);
            }
        }
    }
}

/* ---- deadlines ---- */

/* The conductor names who is missing when its own time is up: its word is waited for a little. */
static uint64_t worker_deadline_ns(const struct engine *engine, const struct join_worker *worker)
{
    return worker->sent ? engine_after(worker->deadline_ns, engine->config.join_timeout_ns / 4)
                        : worker->deadline_ns;
}

uint64_t join_deadline_ns(const struct engine *engine)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        const struct join *join = &engine->joins.items[i];
        for (uint32_t k = 0; join->count > 0 && k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
            if (join->workers[k].used) {
                deadline = engine_earlier(deadline, worker_deadline_ns(engine, &join->workers[k]));
            }
        }
    }
    return deadline;
}

void join_tick(struct engine *engine)
{
    const char *reason = engine->liveness.peers[ENGINE_CONDUCTOR].reason;
    struct job_end end;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct join *join = &engine->joins.items[i];
        for (uint32_t k = 0; join->count > 0 && k < SEQSYNC_LOCAL_RANKS_MAX; k++) {
            struct join_worker *worker = &join->workers[k];
            if (!worker->used || engine->now_ns < worker_deadline_ns(engine, worker)) {
                continue;
            }
            if (worker->sent) {
                fail_no_answer(&end, engine->config.node_names, engine->config.join_timeout_ns);
                join_announce(engine, join, worker, /* leave= */ true);
            } else {
                fail_conductor_unreachable(&end, engine->config.node_names, reason);
            }
            join_dismiss(engine, join, worker, &end);
        }
    }
}
