/*
 * Takes each event to the object that it is about. What is about something that is no more (an
 * ended job, a worker that is gone, an older generation) is dropped here, in one place, and
 * counted.
 */
#include "daemon/core/engine.h"

#include "daemon/base/err.h"
#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"
#include "daemon/core/work.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdlib.h>

/* ---- life ---- */

int engine_new(const struct engine_config *config, uint64_t now_ns, struct engine **ret)
{
    struct engine *engine = calloc(1, sizeof(*engine));

    assert(config->node_count >= 1 && config->node_count <= SEQSYNC_NODES_MAX);
    assert(config->node < config->node_count);
    if (engine == NULL) {
        return err_origin(-ENOMEM);
    }
    engine->config = *config;
    engine->now_ns = now_ns;
    /* A conductor that starts anew must not give a number that an earlier one gave. */
    engine->formings.last_job = now_ns;
    liveness_init(&engine->liveness, config->node, config->node_count, config->peer_silence_ns,
                  config->ping_interval_ns);
    const int r = outbox_init(&engine->out);
    if (r < 0) {
        free(engine);
        return err_trace(r);
    }
    *ret = engine;
    return 0;
}

struct engine *engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        engine_job_free(engine->jobs[i]);
        free(engine->joins.items[i].views);
        free(engine->formings.items[i].views);
    }
    outbox_deinit(&engine->out);
    free(engine);
    return NULL;
}

void engine_drop(struct engine *engine, const char *what)
{
    engine->dropped++;
    outbox_trace(&engine->out, TRACE_DEBUG, "%s is dropped", what);
}

/* ---- finding ---- */

struct engine_job *engine_running(const struct engine *engine, const char *name)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct engine_job *job = engine->jobs[i];
        if (job != NULL && job->state == JOB_RUNNING && strcmp(job->name, name) == 0) {
            return job;
        }
    }
    return NULL;
}

/* The running job of that number, or NULL. */
static struct engine_job *find_job(const struct engine *engine, uint64_t id)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct engine_job *job = engine->jobs[i];
        if (job != NULL && job->id == id && job->state == JOB_RUNNING) {
            return job;
        }
    }
    return NULL;
}

/* The job in which a connected worker is, or NULL. */
static struct engine_job *find_worker(const struct engine *engine, uint32_t worker,
                                      uint32_t *ret_local)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct engine_job *job = engine->jobs[i];
        for (uint32_t k = 0; job != NULL && job->state == JOB_RUNNING && k < job->local_count;
             k++) {
            if (job->locals[k].here && job->locals[k].worker == worker) {
                *ret_local = k;
                return job;
            }
        }
    }
    return NULL;
}

/* ---- workers ---- */

static void on_hello(struct engine *engine, const struct event *event)
{
    uint32_t local;
    struct engine_job *job = find_worker(engine, event->hello.worker, &local);
    struct job_end end;

    if (job != NULL) {
        fail_rank(&end, &job->roster, job->locals[local].rank, SEQSYNC_ERR_INVALID,
                  "joins a second time");
        engine_job_fail(engine, job, &end);
    } else if (join_has(engine, event->hello.worker)) {
        fail_join_order(&end, "a worker joins a second time");
        join_refuse(engine, event->hello.worker, &end);
    } else {
        join_hello(engine, event);
    }
}

/* Every worker event but HELLO begins with its handle. */
static uint32_t event_worker(const struct event *event)
{
    switch (event->kind) {
    case EVENT_WORKER_REGISTER:
        return event->reg.worker;
    case EVENT_WORKER_BEGIN:
        return event->begin.worker;
    case EVENT_WORKER_READY:
        return event->ready.worker;
    case EVENT_WORKER_REDUCE:
        return event->reduce.worker;
    case EVENT_WORKER_COMMIT:
        return event->commit.worker;
    default:
        return event->worker.worker;
    }
}

static void on_joined_worker(struct engine *engine, struct engine_job *job, uint32_t local,
                             const struct event *event)
{
    switch (event->kind) {
    case EVENT_WORKER_REGISTER:
        engine_job_register(engine, job, local, event);
        return;
    case EVENT_WORKER_BEGIN:
        step_begin(engine, job, local, event->begin.step, event->begin.digest);
        return;
    case EVENT_WORKER_READY:
        work_ready(engine, job, local, event);
        return;
    case EVENT_WORKER_REDUCE:
        engine_job_reduce(engine, job, local, event);
        return;
    case EVENT_WORKER_COMMIT:
        step_commit(engine, job, local, event);
        return;
    default:
        engine_job_leave(engine, job, local);
    }
}

static void on_worker(struct engine *engine, const struct event *event)
{
    const uint32_t worker = event_worker(event);
    uint32_t local;
    struct engine_job *job = find_worker(engine, worker, &local);
    struct job_end end;

    if (job == NULL && join_has(engine, worker)) {
        if (event->kind == EVENT_WORKER_LEAVE) {
            join_lost(engine, worker);
            outbox_close(&engine->out, worker);
            return;
        }
        fail_join_order(&end, "a worker begins to work before it was welcomed");
        join_refuse(engine, worker, &end);
    } else if (job == NULL || !engine_job_is_live(job)) {
        engine_drop(engine, "the word of a worker whose job has ended");
    } else {
        on_joined_worker(engine, job, local, event);
    }
}

static void on_worker_lost(struct engine *engine, const struct event *event)
{
    const uint32_t worker = event->worker.worker;
    uint32_t local;
    struct engine_job *job = find_worker(engine, worker, &local);

    if (job == NULL) {
        join_lost(engine, worker);
    } else if (engine_job_is_live(job)) {
        engine_job_worker_lost(engine, job, local, event->worker.code, event->worker.text);
    } else {
        job->locals[local].here = false;
    }
}

/* ---- peers ---- */

static void on_peer_up(struct engine *engine, uint32_t node)
{
    outbox_trace(&engine->out, TRACE_INFO, "node %s is up", engine->config.node_names[node]);
    if (node == ENGINE_CONDUCTOR) {
        join_conductor_up(engine);
    }
}

static void on_peer_lost(struct engine *engine, uint32_t node)
{
    const char *how = engine->liveness.peers[node].reason;

    outbox_trace(&engine->out, TRACE_WARNING,
                 "node %s is lost: %s; ending the jobs it takes part in",
                 engine->config.node_names[node], how);
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        if (engine->jobs[i] != NULL) {
            engine_job_peer_lost(engine, engine->jobs[i], node, how);
        }
    }
    if (node == ENGINE_CONDUCTOR) {
        join_conductor_lost(engine, how);
    } else if (engine_conducts(engine)) {
        forming_peer_lost(engine, node);
    }
}

static void on_peer(struct engine *engine, const struct event *event)
{
    const uint32_t node = event->peer.node;

    assert(node < engine->config.node_count && node != engine->config.node);
    switch (event->kind) {
    case EVENT_PEER_UP:
        /* A new life of a node ends the old one, whether or not its end was noticed. */
        if (liveness_lost(&engine->liveness, node, "it has started anew")) {
            on_peer_lost(engine, node);
        }
        liveness_up(&engine->liveness, node, engine->now_ns);
        on_peer_up(engine, node);
        return;
    case EVENT_PEER_HEARD:
        if (liveness_heard(&engine->liveness, node, engine->now_ns)) {
            on_peer_up(engine, node);
        }
        return;
    default:
        if (liveness_lost(&engine->liveness, node, event->peer.text)) {
            on_peer_lost(engine, node);
        }
    }
}

/* ---- messages and entries ---- */

/* A node of a job says that it cannot go on. */
static void on_fail(struct engine *engine, struct engine_job *job, uint32_t node,
                    const struct message *message)
{
    struct job_end end = message->fail;

    if ((job->nodes >> node & 1) == 0) {
        engine_drop(engine, "a failure that a stranger tells of");
        return;
    }
    if (end.code >= 0 || end.code < SEQSYNC_STATUS_LAST) {
        end.code = SEQSYNC_ERR_INTERNAL;
    }
    if (end.rank < 0 || end.rank >= (int32_t)job->world_size) {
        end.rank = -1;
    }
    if (end.node < 0 || end.node >= (int32_t)engine->config.node_count) {
        end.node = -1;
    }
    engine_job_fail(engine, job, &end);
}

static void on_job_message(struct engine *engine, uint32_t node, const struct message *message)
{
    struct engine_job *job = find_job(engine, message->job);

    if (job == NULL || job->generation != message->generation) {
        engine_drop(engine, "a message about a job that has ended");
    } else if (message->kind == MESSAGE_AGREED && node == ENGINE_CONDUCTOR) {
        engine_job_agreed(engine, job, &message->agreed);
    } else if (message->kind == MESSAGE_GATHER && engine_conducts(engine)) {
        conduct_gather(engine, job, node, &message->gather);
    } else if (message->kind == MESSAGE_FAIL && engine_conducts(engine)) {
        on_fail(engine, job, node, message);
    } else {
        engine_drop(engine, "a message that is not for this node");
    }
}

static void on_message(struct engine *engine, uint32_t node, const struct message *message)
{
    assert(node < engine->config.node_count && node != engine->config.node);
    if (message->generation != 0) {
        on_job_message(engine, node, message);
    } else if (message->kind == MESSAGE_JOIN && engine_conducts(engine)) {
        forming_join(engine, node, message->job, &message->join);
    } else if (message->kind == MESSAGE_FAIL && node == ENGINE_CONDUCTOR) {
        join_refuse_ticket(engine, message->job, &message->fail);
    } else {
        engine_drop(engine, "a message that is not for this node");
    }
}

/* The place of a new job: a free one, else that of the job that ended first. */
static struct engine_job **find_place(struct engine *engine)
{
    struct engine_job **oldest = NULL;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct engine_job **place = &engine->jobs[i];
        if (*place == NULL) {
            return place;
        }
        if ((*place)->state != JOB_RUNNING &&
            (oldest == NULL || (*place)->ended_ns < (*oldest)->ended_ns)) {
            oldest = place;
        }
    }
    return oldest;
}

/* A job that this node cannot hold: its workers are told, and the conductor. */
static void refuse_formed(struct engine *engine, const struct entry *entry)
{
    struct join_worker worker;

    for (uint32_t rank = 0; rank < entry->formed.world_size; rank++) {
        if (entry->formed.rank_nodes[rank] != engine->config.node ||
            !join_take(engine, entry->formed.name, rank, &worker)) {
            continue;
        }
        struct job_end *end = outbox_end(&engine->out);
        fail_join_capacity(end, entry->formed.name, rank, (int32_t)engine->config.node,
                           "its node has no memory for another job");
        outbox_fail_worker(&engine->out, worker.worker, end);
        if (!engine_conducts(engine)) {
            struct message *message = outbox_message(&engine->out, MESSAGE_FAIL);
            message->job = entry->job;
            message->generation = entry->generation;
            message->fail = *end;
            outbox_send(&engine->out, ENGINE_CONDUCTOR, message);
        }
    }
}

static void on_formed(struct engine *engine, const struct entry *entry)
{
    struct engine_job **place = find_place(engine);
    struct engine_job *job = NULL;

    if (engine_conducts(engine)) {
        forming_formed(engine, entry->formed.name);
    }
    if (place == NULL || engine_job_new(engine, entry, &job) < 0) {
        refuse_formed(engine, entry);
        if (engine_conducts(engine)) {
            /* Nobody else can say that it has ended. */
            struct entry *ended = outbox_entry(&engine->out, ENTRY_JOB_ENDED);
            ended->job = entry->job;
            ended->generation = entry->generation;
            fail_daemon(&ended->ended, engine->config.node_names, engine->config.node,
                        SEQSYNC_ERR_NO_MEMORY, "conduct the job", "out of memory");
        }
        return;
    }
    engine_job_free(*place);
    *place = job;
    engine_job_formed(engine, job);
}

static void on_committed(struct engine *engine, const struct entry *entry)
{
    struct engine_job *job = find_job(engine, entry->job);

    if (entry->kind == ENTRY_JOB_FORMED) {
        if (job != NULL) {
            engine_drop(engine, "a job that is formed twice");
            return;
        }
        on_formed(engine, entry);
        return;
    }
    if (job == NULL || job->generation != entry->generation) {
        engine_drop(engine, "the end of a job that has ended");
        return;
    }
    engine_job_end(engine, job, &entry->ended);
}

/* ---- io's answers ---- */

static uint64_t event_job(const struct event *event)
{
    switch (event->kind) {
    case EVENT_ADMITTED:
        return event->admitted.job;
    case EVENT_PLANNED:
        return event->planned.job;
    case EVENT_RECEIVED:
        return event->received.job;
    case EVENT_SUMMED:
        return event->summed.job;
    default:
        return event->broken.job;
    }
}

static void on_answer(struct engine *engine, const struct event *event)
{
    struct engine_job *job = find_job(engine, event_job(event));

    if (job == NULL || !engine_job_is_live(job)) {
        engine_drop(engine, "an answer to a job that has ended");
        return;
    }
    switch (event->kind) {
    case EVENT_ADMITTED:
        engine_job_admitted(engine, job, event->admitted.code, event->admitted.error);
        return;
    case EVENT_PLANNED:
        step_planned(engine, job, event);
        return;
    case EVENT_RECEIVED:
        work_received(engine, job, event);
        return;
    case EVENT_SUMMED:
        work_summed(engine, job, event);
        return;
    default:
        engine_job_fail(engine, job, &event->broken.end);
    }
}

/* ---- time ---- */

static void on_tick(struct engine *engine)
{
    const uint32_t lost = liveness_expire(&engine->liveness, engine->now_ns);

    if (lost != LIVENESS_NONE) {
        on_peer_lost(engine, lost); /* one a tick: it may end every job */
        return;
    }
    for (uint32_t node = liveness_ping(&engine->liveness, engine->now_ns); node != LIVENESS_NONE;
         node = liveness_ping(&engine->liveness, engine->now_ns)) {
        outbox_action(&engine->out, ACTION_PING)->ping.node = node;
    }
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        if (engine->jobs[i] != NULL) {
            engine_job_tick(engine, engine->jobs[i]);
        }
    }
    join_tick(engine);
    if (engine_conducts(engine)) {
        forming_tick(engine);
    }
}

uint64_t engine_deadline_ns(const struct engine *engine)
{
    uint64_t deadline =
        engine_earlier(liveness_deadline_ns(&engine->liveness),
                       engine_earlier(join_deadline_ns(engine), forming_deadline_ns(engine)));

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        if (engine->jobs[i] != NULL) {
            deadline = engine_earlier(deadline, engine_job_deadline_ns(engine, engine->jobs[i]));
        }
    }
    return deadline;
}

/* ---- the one way in ---- */

void engine_step(struct engine *engine, const struct event *event, struct actions *ret)
{
    outbox_clear(&engine->out);
    engine->now_ns = event->now_ns > engine->now_ns ? event->now_ns : engine->now_ns;
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        if (engine->jobs[i] != NULL && engine->jobs[i]->tables_idle) {
            engine_job_free_tables(engine->jobs[i]);
        }
    }
    switch (event->kind) {
    case EVENT_TICK:
        on_tick(engine);
        break;
    case EVENT_WORKER_HELLO:
        on_hello(engine, event);
        break;
    case EVENT_WORKER_REGISTER:
    case EVENT_WORKER_BEGIN:
    case EVENT_WORKER_READY:
    case EVENT_WORKER_REDUCE:
    case EVENT_WORKER_COMMIT:
    case EVENT_WORKER_LEAVE:
        on_worker(engine, event);
        break;
    case EVENT_WORKER_LOST:
        on_worker_lost(engine, event);
        break;
    case EVENT_PEER_UP:
    case EVENT_PEER_HEARD:
    case EVENT_PEER_LOST:
        on_peer(engine, event);
        break;
    case EVENT_MESSAGE:
        on_message(engine, event->message.node, event->message.message);
        break;
    case EVENT_COMMITTED:
        on_committed(engine, event->entry);
        break;
    case EVENT_ADMITTED:
    case EVENT_PLANNED:
    case EVENT_RECEIVED:
    case EVENT_SUMMED:
    case EVENT_JOB_BROKEN:
        on_answer(engine, event);
        break;
    }
    ret->items = engine->out.actions;
    ret->count = engine->out.action_count;
}
