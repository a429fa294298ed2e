/* Buckets: performs what bucket.h says is next. */
#include "daemon/core/work_private.h"

#include <seqsync/status.h>
#include <stdio.h>

static void send_to_peers(struct engine *engine, const struct engine_job *job,
                          enum transfer_kind kind, uint32_t id, const struct bucket *bucket)
{
    for (uint32_t node = 0; node < engine->config.node_count; node++) {
        if ((job->members.peers >> node & 1) == 0) {
            continue;
        }
        if (kind == TRANSFER_PARTIAL) {
            work_emit_send(engine, job, kind, id, node, node, bucket->local_count,
                           bucket->nonfinite);
        } else {
            work_emit_send(engine, job, kind, id, engine->config.node, node, bucket->count,
                           bucket->nonfinite);
        }
    }
}

static void finish_bucket(struct engine *engine, struct engine_job *job, uint32_t id,
                          const struct bucket *bucket)
{
    struct action *action =
        work_emit_raise(engine, job, WORD_BUCKET_READY, id, 0, step_number(&job->step));

    action->raise.count = bucket->count;
    action->raise.skip = bucket->nonfinite;
    job->step.skip |= bucket->nonfinite && job->nonfinite == POLICY_SKIP;
    work_end_use(engine, job);
}

static void run_bucket(struct engine *engine, struct engine_job *job, uint32_t id)
{
    struct bucket *bucket = &job->buckets[id];
    const uint64_t step = step_number(&job->step);
    const bool alone = job->members.peers == 0;

    for (;;) {
        switch (bucket_next(bucket, &job->members)) {
        case BUCKET_WAIT:
            return;
        case BUCKET_SUM_LOCAL:
            work_emit_sum(engine, job, step, SUM_LOCAL, id, 0, alone ? bucket->local_count : 1);
            break;
        case BUCKET_SEND_PARTIALS:
            send_to_peers(engine, job, TRANSFER_PARTIAL, id, bucket);
            break;
        case BUCKET_SUM_OWNED:
            work_emit_sum(engine, job, step, SUM_OWNED, id, engine->config.node, bucket->count);
            break;
        case BUCKET_SEND_RESULTS:
            send_to_peers(engine, job, TRANSFER_RESULT, id, bucket);
            break;
        case BUCKET_RAISE:
            /* May end the step, which resets the bucket. */
            finish_bucket(engine, job, id, bucket);
            return;
        }
    }
}

static void fail_bucket_rank(struct engine *engine, struct engine_job *job, uint32_t rank,
                             uint32_t id, int outcome, int64_t count)
{
    const unsigned long long step = step_number(&job->step);
    struct job_end end;

    if (outcome == BUCKET_DUPLICATE) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_DUPLICATE,
                  "contributes to bucket %u twice in step %llu", id, step);
    } else {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "contributes to bucket %u with a count of %lld in step %llu, %s", id,
                  (long long)count, step,
                  outcome == BUCKET_NEGATIVE ? "which is negative"
                                             : "which makes the sum exceed 64 bits");
    }
    engine_job_fail(engine, job, &end);
}

void work_ready_gradient(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id,
                         int64_t count)
{
    struct bucket *bucket = &job->buckets[id];
    const bool first = bucket->state == BUCKET_IDLE;
    const int r = bucket_contribute(bucket, &job->members, local, count);

    if (r != 0) {
        fail_bucket_rank(engine, job, job->locals[local].rank, id, r, count);
        return;
    }
    if (!first || work_begin_use(engine, job, bucket->contributed, work_bucket, id)) {
        run_bucket(engine, job, id);
    }
}

void work_summed_bucket(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const uint32_t id = event->summed.id;
    struct bucket *bucket = &job->buckets[id];
    const bool own =
        event->summed.rank >= 0 && engine_job_local(job, (uint32_t)event->summed.rank) >= 0;
    const int r = event->summed.kind == SUM_LOCAL
                      ? bucket_summed_local(bucket, event->summed.nonfinite)
                      : bucket_summed_owned(bucket, event->summed.nonfinite);
    struct job_end end;
    char what[32];

    if (r == BUCKET_UNEXPECTED) {
        engine_drop(engine, "a sum of a bucket that nobody asked for");
        return;
    }
    if (r == BUCKET_COUNTS_DIFFER) {
        fail_node(&end, &job->roster, engine->config.node, SEQSYNC_ERR_INTERNAL,
                  "counted %lld contributions to bucket %u, another node %lld",
                  (long long)bucket->count, id, (long long)bucket->peer_count);
        engine_job_fail(engine, job, &end);
        return;
    }
    if (event->summed.nonfinite && job->nonfinite == POLICY_FAIL) {
        snprintf(what, sizeof(what), "bucket %u", id);
        fail_nonfinite(&end, &job->roster, own ? event->summed.rank : -1,
                       (int32_t)engine->config.node, step_number(&job->step), what);
        engine_job_fail(engine, job, &end);
        return;
    }
    run_bucket(engine, job, id);
}

void work_received_bucket(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const uint32_t id = event->received.id, node = event->received.node;
    const bool partial = event->received.kind == TRANSFER_PARTIAL;
    const uint32_t owner = partial ? engine->config.node : node;
    struct bucket *bucket = &job->buckets[id];
    const bool first = bucket->state == BUCKET_IDLE;

    if (event->received.part != owner ||
        (partial ? bucket_receive_partial(bucket, &job->members, node, event->received.count,
                                          event->received.nonfinite)
                 : bucket_receive_result(bucket, &job->members, node, event->received.count,
                                         event->received.nonfinite)) != 0) {
        work_fail_transfer(engine, job, event,
                           partial ? "a partial sum that does not fit"
                                   : "a result that does not fit");
        return;
    }
    if (!first || work_begin_use(engine, job, bucket->contributed, work_bucket, id)) {
        run_bucket(engine, job, id);
    }
}
