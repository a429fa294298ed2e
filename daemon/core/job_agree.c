/* What a job's ranks ask all others for, and what is agreed. */
#include "daemon/core/allreduce.h"
#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

#include <seqsync/status.h>

/* ---- asking ---- */

bool engine_job_may_ask(struct engine *engine, struct engine_job *job, uint32_t local,
                        enum gather_kind kind)
{
    struct local_rank *rank = &job->locals[local];
    struct job_end end;

    if (rank->left) {
        fail_rank(&end, &job->roster, rank->rank, SEQSYNC_ERR_INVALID,
                  "goes on after it has left the job");
    } else if (rank->waiting != 0) {
        fail_rank(&end, &job->roster, rank->rank,
                  rank->waiting == kind ? SEQSYNC_ERR_DUPLICATE : SEQSYNC_ERR_INVALID,
                  "makes another call while its last one is not answered");
    } else if (kind == GATHER_REGISTER && job->phase != PHASE_WELCOMED) {
        fail_rank(&end, &job->roster, rank->rank, SEQSYNC_ERR_DUPLICATE, "registers twice");
    } else if (kind != GATHER_REGISTER && job->phase != PHASE_STEPPING) {
        fail_rank(&end, &job->roster, rank->rank, SEQSYNC_ERR_INVALID,
                  "begins to work before it has registered");
    } else {
        rank->waiting = kind;
        return true;
    }
    engine_job_fail(engine, job, &end);
    return false;
}

void engine_job_gather(struct engine *engine, struct engine_job *job,
                       const struct message_gather *gather)
{
    if (engine_conducts(engine)) {
        conduct_gather(engine, job, engine->config.node, gather);
        return;
    }
    struct message *message = outbox_message(&engine->out, MESSAGE_GATHER);
    message->job = job->id;
    message->generation = job->generation;
    message->gather = *gather;
    outbox_send(&engine->out, ENGINE_CONDUCTOR, message);
}

/* NULL, or what is wrong with a collective. */
static bool reduce_is_legal(struct engine *engine, struct engine_job *job, uint32_t rank,
                            const struct event *event)
{
    const uint64_t next = job->collectives + 1;
    struct job_end end;

    if (event->reduce.sequence != next) {
        fail_rank(&end, &job->roster, rank,
                  event->reduce.sequence < next ? SEQSYNC_ERR_STALE : SEQSYNC_ERR_INVALID,
                  "enters collective %llu, but the next one is %llu",
                  (unsigned long long)event->reduce.sequence, (unsigned long long)next);
    } else if (!allreduce_is_legal(event->reduce.dtype, event->reduce.op, event->reduce.bytes)) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "asks to reduce %u bytes of type %u by operation %u", event->reduce.bytes,
                  event->reduce.dtype, event->reduce.op);
    } else {
        return true;
    }
    engine_job_fail(engine, job, &end);
    return false;
}

void engine_job_reduce(struct engine *engine, struct engine_job *job, uint32_t local,
                       const struct event *event)
{
    struct local_rank *rank = &job->locals[local];
    const bool barrier = event->reduce.bytes == 0; /* has neither type nor operation */

    if (!engine_job_may_ask(engine, job, local, GATHER_REDUCE) ||
        !reduce_is_legal(engine, job, rank->rank, event)) {
        return;
    }
    rank->last = (struct activity){.kind = ACTIVITY_COLLECTIVE, .sequence = event->reduce.sequence};
    if (!job->collecting) {
        job->collecting = true;
        job->collecting_ns = engine->now_ns;
    }
    engine_job_gather(engine, job,
                      &(struct message_gather){.kind = GATHER_REDUCE,
                                               .sequence = event->reduce.sequence,
                                               .member = rank->rank,
                                               .dtype = barrier ? 0 : event->reduce.dtype,
                                               .op = barrier ? 0 : event->reduce.op,
                                               .payload_bytes = event->reduce.bytes,
                                               .payload = event->reduce.values});
}

/* ---- what is agreed ---- */

void engine_job_reply_all(struct engine *engine, struct engine_job *job, enum gather_kind kind,
                          enum reply_kind reply, const struct message_agreed *agreed)
{
    for (uint32_t i = 0; i < job->local_count; i++) {
        struct local_rank *local = &job->locals[i];
        if (!local->here || local->waiting != kind) {
            continue;
        }
        local->waiting = 0;
        struct action *action = outbox_action(&engine->out, ACTION_REPLY);
        action->reply.worker = local->worker;
        action->reply.kind = reply;
        action->reply.job = job->id;
        action->reply.step = agreed->sequence;
        action->reply.skip = agreed->skip;
        if (reply == REPLY_REDUCED) {
            action->reply.bytes = agreed->payload_bytes;
            action->reply.values = agreed->payload;
        }
    }
}

static void agreed_register(struct engine *engine, struct engine_job *job,
                            const struct message_agreed *agreed)
{
    if (job->phase != PHASE_REGISTERING) {
        engine_drop(engine, "an agreement on a schema that is not awaited");
        return;
    }
    job->phase = PHASE_STEPPING;
    job->registering = false;
    engine_job_reply_all(engine, job, GATHER_REGISTER, REPLY_REGISTERED, agreed);
}

static void agreed_reduce(struct engine *engine, struct engine_job *job,
                          const struct message_agreed *agreed)
{
    if (agreed->sequence != job->collectives + 1 || agreed->payload_bytes > ALLREDUCE_BYTES_MAX) {
        engine_drop(engine, "an agreement on a collective that is not awaited");
        return;
    }
    job->collectives++;
    job->collecting = false;
    engine_job_reply_all(engine, job, GATHER_REDUCE, REPLY_REDUCED, agreed);
}

static void agreed_on_local_work(struct engine *engine, struct engine_job *job,
                                 const struct message_agreed *agreed)
{
    switch (agreed->kind) {
    case GATHER_REGISTER:
        agreed_register(engine, job, agreed);
        return;
    case GATHER_BATCH:
        step_batch_agreed(engine, job, agreed);
        return;
    case GATHER_PLAN:
        step_plan_agreed(engine, job, agreed);
        return;
    case GATHER_REDUCE:
        agreed_reduce(engine, job, agreed);
        return;
    default:
        engine_drop(engine, "an agreement of an unknown kind");
    }
}

void engine_job_agreed(struct engine *engine, struct engine_job *job,
                       const struct message_agreed *agreed)
{
    /* A commit that all others saw holds here as well, even if this node has something to say. */
    if (job->state != JOB_RUNNING || (job->failing && agreed->kind != GATHER_COMMIT)) {
        engine_drop(engine, "an agreement of a job that is ending");
    } else if (agreed->kind == GATHER_COMMIT) {
        step_commit_agreed(engine, job, agreed);
    } else if (job->local_count > 0) {
        agreed_on_local_work(engine, job, agreed);
    }
}
