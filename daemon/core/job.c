#include "daemon/core/job.h"

#include "daemon/base/err.h"
#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- life ---- */

/* Who is where, as far as this node is concerned. */
static void job_set_members(struct engine_job *job, const struct engine *engine,
                            const struct entry *entry)
{
    for (uint32_t rank = 0; rank < job->world_size; rank++) {
        const uint16_t node = entry->formed.rank_nodes[rank];
        job->rank_nodes[rank] = node;
        job->nodes |= UINT64_C(1) << node;
        if (node == engine->config.node) {
            assert(job->local_count < SEQSYNC_LOCAL_RANKS_MAX);
            job->members.ranks |= UINT64_C(1) << job->local_count;
            job->locals[job->local_count++] = (struct local_rank){.rank = rank};
        }
    }
    job->members.self = UINT64_C(1) << engine->config.node;
    job->members.peers = job->nodes & ~job->members.self;
    job->members.root = UINT64_C(1) << job->rank_nodes[0];
    job->members.root_rank = 0; /* rank 0 is the smallest, so it is the first of its node */
    job->roster = (struct roster){.node_names = engine->config.node_names,
                                  .rank_nodes = job->rank_nodes,
                                  .world_size = job->world_size};
}

int engine_job_new(const struct engine *engine, const struct entry *entry, struct engine_job **ret)
{
    struct engine_job *job = calloc(1, sizeof(*job));
    int r;

    if (job == NULL) {
        return err_origin(-ENOMEM);
    }
    job->id = entry->job;
    job->generation = entry->generation;
    snprintf(job->name, sizeof(job->name), "%s", entry->formed.name);
    job->nonfinite = entry->formed.nonfinite;
    job->world_size = entry->formed.world_size;
    job->state = JOB_RUNNING;
    job_set_members(job, engine, entry);
    r = report_init(&job->report, job->world_size);
    if (r == 0 && engine_conducts(engine)) {
        r = conduct_new(job, &job->conduct);
    }
    if (r < 0) {
        engine_job_free(job);
        return err_trace(r);
    }
    *ret = job;
    return 0;
}

void engine_job_free_tables(struct engine_job *job)
{
    job->conduct = conduct_free(job->conduct);
    free(job->exchanges);
    free(job->buckets);
    free(job->parameters);
    free(job->return_sums);
    free(job->received);
    job->exchanges = NULL;
    job->buckets = NULL;
    job->parameters = NULL;
    job->return_sums = NULL;
    job->received = NULL;
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        free(job->return_needs[space]);
        job->return_needs[space] = NULL;
    }
    job->tables_idle = false;
}

struct engine_job *engine_job_free(struct engine_job *job)
{
    if (job != NULL) {
        engine_job_free_tables(job);
        report_deinit(&job->report);
        free(job);
    }
    return NULL;
}

int32_t engine_job_local(const struct engine_job *job, uint32_t rank)
{
    for (uint32_t i = 0; i < job->local_count; i++) {
        if (job->locals[i].rank == rank) {
            return (int32_t)i;
        }
    }
    return -1;
}

void engine_job_formed(struct engine *engine, struct engine_job *job)
{
    struct join_worker worker;
    struct job_end end;
    uint32_t missing = RANK_SET_END;

    outbox_trace(&engine->out, TRACE_INFO, "job %s: generation %llu is formed with %u ranks",
                 job->name, (unsigned long long)job->generation, job->world_size);
    for (uint32_t i = 0; i < job->local_count; i++) {
        struct local_rank *local = &job->locals[i];
        if (!join_take(engine, job->name, local->rank, &worker)) {
            missing = missing == RANK_SET_END ? local->rank : missing;
            continue;
        }
        local->worker = worker.worker;
        local->pid = worker.pid;
        local->here = true;
        struct action *action = outbox_action(&engine->out, ACTION_REPLY);
        action->reply.worker = local->worker;
        action->reply.kind = REPLY_WELCOME;
        action->reply.job = job->id;
    }
    if (missing != RANK_SET_END) {
        fail_worker_lost(&end, &job->roster, missing, SEQSYNC_ERR_WORKER_LOST,
                         "it went away while the job was being formed");
        engine_job_fail(engine, job, &end);
    }
}

/* ---- the schema ---- */

/* Makes all that the steps need. -ENOMEM. */
static int job_make_tables(struct engine_job *job, const struct event *event)
{
    const uint32_t exchanges = event->reg.exchange_count, buckets = event->reg.bucket_count;
    const uint32_t words = (job->world_size + 63) / 64;
    const size_t world = job->world_size;

    job->exchanges = calloc(exchanges + 1, sizeof(struct exchange));
    job->buckets = calloc(buckets + 1, sizeof(struct bucket));
    job->parameters = calloc(buckets + 1, sizeof(struct parameter));
    job->return_sums = calloc(exchanges * world + 1, sizeof(struct return_sum));
    job->received = calloc((size_t)exchanges * words + 1, sizeof(uint64_t));
    if (job->exchanges == NULL || job->buckets == NULL || job->parameters == NULL ||
        job->return_sums == NULL || job->received == NULL) {
        return err_origin(-ENOMEM);
    }
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        job->return_needs[space] = calloc(world, sizeof(struct return_need));
        if (job->return_needs[space] == NULL) {
            return err_origin(-ENOMEM);
        }
        job->step.plans[space].returns.needs = job->return_needs[space];
    }
    for (uint32_t i = 0; i < exchanges; i++) {
        assert(event->reg.exchange_spaces[i] < SEQSYNC_SPACES_N);
        job->exchanges[i] =
            (struct exchange){.space = event->reg.exchange_spaces[i],
                              .forward_only = event->reg.exchange_forward_only[i] != 0,
                              .received = job->received + (size_t)i * words,
                              .words = words,
                              .returns = {.sums = job->return_sums + i * world}};
    }
    for (uint32_t i = 0; i < buckets; i++) {
        bucket_init(&job->buckets[i], event->reg.bucket_roles[i] == SEQSYNC_REPLICATED);
    }
    job->exchange_count = exchanges;
    job->bucket_count = buckets;
    return 0;
}

static void job_fail_here(struct engine *engine, struct engine_job *job, int32_t code,
                          const char *doing, const char *why)
{
    struct job_end end;

    fail_daemon(&end, engine->config.node_names, engine->config.node, code, doing, why);
    engine_job_fail(engine, job, &end);
}

/* All local ranks are heard from: their digests go to the conductor. */
static void job_send_registrations(struct engine *engine, struct engine_job *job)
{
    job->phase = PHASE_REGISTERING;
    for (uint32_t i = 0; i < job->local_count; i++) {
        engine_job_gather(engine, job,
                          &(struct message_gather){.kind = GATHER_REGISTER,
                                                   .sequence = 1,
                                                   .member = job->locals[i].rank,
                                                   .digest = job->locals[i].digest});
    }
}

void engine_job_register(struct engine *engine, struct engine_job *job, uint32_t local,
                         const struct event *event)
{
    bool all = true, same = true;

    if (!engine_job_may_ask(engine, job, local, GATHER_REGISTER)) {
        return;
    }
    if (job->exchanges == NULL && job_make_tables(job, event) < 0) {
        job_fail_here(engine, job, SEQSYNC_ERR_NO_MEMORY, "admit the job", "out of memory");
        return;
    }
    if (!job->registering) {
        job->registering = true;
        job->registering_ns = engine->now_ns;
    }
    job->locals[local].digest = event->reg.digest;
    job->locals[local].last = (struct activity){.kind = ACTIVITY_REGISTER};
    for (uint32_t i = 0; i < job->local_count; i++) {
        all &= job->locals[i].waiting == GATHER_REGISTER;
        same &= job->locals[i].digest == job->locals[0].digest;
    }
    if (!all) {
        return;
    }
    if (!same) {
        /* No memory for a schema that is not agreed on: the conductor will name who differs. */
        job_send_registrations(engine, job);
        return;
    }
    job->phase = PHASE_ADMITTING;
    outbox_action(&engine->out, ACTION_ADMIT)->job.job = job->id;
}

void engine_job_admitted(struct engine *engine, struct engine_job *job, int32_t code,
                         const char *error)
{
    if (job->phase != PHASE_ADMITTING) {
        engine_drop(engine, "an admission that nobody asked for");
        return;
    }
    if (error != NULL) {
        job_fail_here(engine, job, code, "admit the job", error);
        return;
    }
    job_send_registrations(engine, job);
}

/* ---- what is lost ---- */

void engine_job_leave(struct engine *engine, struct engine_job *job, uint32_t local)
{
    struct local_rank *rank = &job->locals[local];
    struct job_end end;

    if (rank->left) {
        engine_drop(engine, "a second good-bye");
        return;
    }
    rank->left = true;
    rank->last = (struct activity){.kind = ACTIVITY_LEFT};
    if (rank->waiting != 0 || (job->step.begun >> local & 1) != 0) {
        fail_worker_left(&end, &job->roster, rank->rank, "in the middle of a step or a collective");
        engine_job_fail(engine, job, &end);
        return;
    }
    engine_job_gather(
        engine, job,
        &(struct message_gather){.kind = GATHER_LEAVE, .sequence = 1, .member = rank->rank});
}

void engine_job_worker_lost(struct engine *engine, struct engine_job *job, uint32_t local,
                            int32_t code, const char *how)
{
    struct local_rank *rank = &job->locals[local];
    struct job_end end;

    rank->here = false;
    if (rank->left) {
        return;
    }
    fail_worker_lost(&end, &job->roster, rank->rank, code, how);
    engine_job_fail(engine, job, &end);
}

void engine_job_peer_lost(struct engine *engine, struct engine_job *job, uint32_t node,
                          const char *how)
{
    struct job_end end;

    if (job->state != JOB_RUNNING) {
        return;
    }
    if (node == ENGINE_CONDUCTOR) {
        /* Nothing can be committed any more. The conductor may still hear us: it is told. */
        fail_conductor_lost(&end, engine->config.node_names, how);
        if (job->local_count > 0) {
            engine_job_fail(engine, job, &end);
        }
        /* If another peer was lost just before, it is this node that is cut off. */
        const bool known = job->failing && job->end.code != SEQSYNC_ERR_PEER_LOST;
        engine_job_end(engine, job, known ? &job->end : &end);
        return;
    }
    if ((job->nodes >> node & 1) == 0 || (job->local_count == 0 && !engine_conducts(engine))) {
        return;
    }
    fail_peer_lost(&end, &job->roster, node, how);
    engine_job_fail(engine, job, &end);
}

/* ---- ends ---- */

void engine_job_fail(struct engine *engine, struct engine_job *job, const struct job_end *end)
{
    if (!engine_job_is_live(job)) {
        engine_drop(engine, "a second failure of a job");
        return;
    }
    job->failing = true;
    job->end = *end;
    job->fail_deadline_ns = engine_after(engine->now_ns, engine->config.step_timeout_ns);
    outbox_trace(&engine->out, TRACE_WARNING, "job %s: %s; ending it", job->name, job->end.text);
    if (engine_conducts(engine)) {
        conduct_end(engine, job, &job->end);
        return;
    }
    struct message *message = outbox_message(&engine->out, MESSAGE_FAIL);
    message->job = job->id;
    message->generation = job->generation;
    message->fail = job->end;
    outbox_send(&engine->out, ENGINE_CONDUCTOR, message);
    if (!liveness_is_up(&engine->liveness, ENGINE_CONDUCTOR)) {
        engine_job_end(engine, job, &job->end);
    }
}

static void job_dismiss(struct engine *engine, struct engine_job *job)
{
    for (uint32_t i = 0; i < job->local_count; i++) {
        struct local_rank *local = &job->locals[i];
        if (!local->here) {
            continue;
        }
        if (job->end.code != 0 && !local->left) {
            outbox_fail_worker(&engine->out, local->worker, &job->end);
        } else {
            outbox_close(&engine->out, local->worker);
        }
        local->here = false;
    }
}

void engine_job_end(struct engine *engine, struct engine_job *job, const struct job_end *end)
{
    if (job->state != JOB_RUNNING) {
        return;
    }
    if (end != &job->end) {
        job->end = *end;
    }
    job->state = job->end.code == 0 ? JOB_ENDED : JOB_FAILED;
    job->ended_ns = engine->now_ns;
    job->failing = false;
    job->tables_idle = true;
    job->step.shape = NULL;
    job_dismiss(engine, job);
    if (job->local_count > 0) {
        if (job->end.code != 0) {
            struct action *raise = outbox_action(&engine->out, ACTION_RAISE);
            raise->raise.job = job->id;
            raise->raise.word = WORD_STATE;
            raise->raise.value = job->end.code;
        }
        outbox_action(&engine->out, ACTION_END)->job.job = job->id;
    }
    outbox_trace(&engine->out, job->end.code == 0 ? TRACE_INFO : TRACE_WARNING,
                 "job %s: generation %llu has ended after step %llu: %s", job->name,
                 (unsigned long long)job->generation, (unsigned long long)job->step.last,
                 job->end.text);
    if (engine_conducts(engine)) {
        forming_retry(engine, job->name);
    }
}
