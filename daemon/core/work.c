#include "daemon/core/work.h"

#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

#include <assert.h>
#include <seqsync/status.h>
#include <seqsync/types.h>
#include <stdio.h>

/* Policies of seqsync/session.h, which this folder does not include. */
enum {
    POLICY_FAIL = 0,
    POLICY_SKIP = 1,
};

/* ---- emitting ---- */

static void emit_send(struct engine *engine, const struct engine_job *job, enum transfer_kind kind,
                      uint32_t id, uint32_t part, uint32_t node, int64_t count, bool nonfinite)
{
    struct action *action = outbox_action(&engine->out, ACTION_SEND);

    action->send.job = job->id;
    action->send.step = step_number(&job->step);
    action->send.kind = kind;
    action->send.id = id;
    action->send.part = part;
    action->send.node = node;
    action->send.count = count;
    action->send.nonfinite = nonfinite;
}

static void emit_sum(struct engine *engine, const struct engine_job *job, uint64_t step,
                     enum sum_kind kind, uint32_t id, uint32_t part, int64_t count)
{
    struct action *action = outbox_action(&engine->out, ACTION_SUM);

    action->sum.job = job->id;
    action->sum.step = step;
    action->sum.kind = kind;
    action->sum.id = id;
    action->sum.part = part;
    action->sum.count = count;
}

static struct action *emit_raise(struct engine *engine, const struct engine_job *job,
                                 enum word_kind word, uint32_t id, uint32_t index, uint64_t stamp)
{
    struct action *action = outbox_action(&engine->out, ACTION_RAISE);

    action->raise.job = job->id;
    action->raise.word = word;
    action->raise.id = id;
    action->raise.index = index;
    action->raise.stamp = stamp;
    return action;
}

/* ---- what is in use ---- */

static void fail_missing_share(struct engine *engine, struct engine_job *job, uint64_t locals,
                               const char *what, uint32_t id)
{
    struct rank_set ranks;
    struct job_end end;

    rank_set_clear(&ranks);
    for (uint32_t i = 0; i < job->local_count; i++) {
        if ((locals >> i & 1) != 0) {
            rank_set_add(&ranks, job->locals[i].rank);
        }
    }
    fail_uncontributed(&end, &job->roster, &ranks, step_number(&job->step), what, id);
    engine_job_fail(engine, job, &end);
}

static const char what_kv[] = "the keys and values of exchange";
static const char what_return[] = "the dK/dV of exchange";
static const char what_bucket[] = "a contribution to bucket";

/*
 * Something is used for the first time in this step: all local ranks must contribute, and those
 * that have committed already cannot any more. False if that fails the job.
 */
static bool begin_use(struct engine *engine, struct engine_job *job, uint64_t contributed,
                      const char *what, uint32_t id)
{
    const uint64_t missing = job->step.committed & ~contributed;

    job->step.unfinished++;
    if (missing != 0) {
        fail_missing_share(engine, job, missing, what, id);
        return false;
    }
    return true;
}

static void end_use(struct engine *engine, struct engine_job *job)
{
    assert(job->step.unfinished > 0);
    job->step.unfinished--;
    step_try_prepare(engine, job);
}

bool work_check_commit(struct engine *engine, struct engine_job *job, uint32_t local)
{
    const uint64_t bit = UINT64_C(1) << local;

    for (uint32_t i = 0; i < job->exchange_count; i++) {
        const struct exchange *exchange = &job->exchanges[i];
        if (exchange->kv != USE_NONE && (exchange->published & bit) == 0) {
            fail_missing_share(engine, job, bit, what_kv, i);
            return false;
        }
        if (exchange->returning != USE_NONE && (exchange->returned & bit) == 0) {
            fail_missing_share(engine, job, bit, what_return, i);
            return false;
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        const struct bucket *bucket = &job->buckets[i];
        if (bucket->state != BUCKET_IDLE && (bucket->contributed & bit) == 0) {
            fail_missing_share(engine, job, bit, what_bucket, i);
            return false;
        }
    }
    return true;
}

void work_reset(struct engine_job *job)
{
    for (uint32_t i = 0; i < job->exchange_count; i++) {
        if (job->exchanges[i].kv != USE_NONE || job->exchanges[i].returning != USE_NONE) {
            exchange_reset(&job->exchanges[i]);
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        bucket_reset(&job->buckets[i]);
    }
}

/* ---- keys and values ---- */

static void settle_kv(struct engine *engine, struct engine_job *job, struct exchange *exchange)
{
    if (exchange_settle_kv(exchange, &job->step.plans[exchange->space], job->members.ranks)) {
        end_use(engine, job);
    }
}

static void ready_kv(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id)
{
    struct exchange *exchange = &job->exchanges[id];
    const struct exchange_plan *plan = &job->step.plans[exchange->space];
    const uint32_t rank = job->locals[local].rank;
    const bool first = exchange->kv == USE_NONE;
    struct job_end end;

    if (exchange_publish(exchange, local) != 0) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_DUPLICATE,
                  "publishes the keys and values of exchange %u twice in step %llu", id,
                  (unsigned long long)step_number(&job->step));
        engine_job_fail(engine, job, &end);
        return;
    }
    if (first && !begin_use(engine, job, exchange->published, what_kv, id)) {
        return;
    }
    for (uint32_t i = exchange_first_send(plan, rank);
         i < plan->send_count && plan->sends[i].holder == rank; i++) {
        emit_send(engine, job, TRANSFER_KV, id, rank, plan->sends[i].node, 0, false);
    }
    settle_kv(engine, job, exchange);
}

/* ---- dK/dV ---- */

static void run_returns(struct engine *engine, struct engine_job *job, struct exchange *exchange,
                        uint32_t id)
{
    const struct return_plan *plan = &job->step.plans[exchange->space].returns;

    for (int32_t i = returns_next(&exchange->returns, plan, 0, exchange->returned); i >= 0;
         i = returns_next(&exchange->returns, plan, (uint32_t)i + 1, exchange->returned)) {
        emit_sum(engine, job, step_number(&job->step), SUM_RETURN, id, plan->returns[i].holder, 0);
    }
}

/* All sums of the exchange are done: its return buffers are free again. */
static void settle_returns(struct engine *engine, struct engine_job *job, struct exchange *exchange,
                           uint32_t id)
{
    if (exchange_settle_returns(exchange, job->members.ranks)) {
        emit_raise(engine, job, WORD_RETURN_FREE, id, 0, step_number(&job->step));
        end_use(engine, job);
    }
}

static void ready_return(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id)
{
    struct exchange *exchange = &job->exchanges[id];
    const struct exchange_plan *plan = &job->step.plans[exchange->space];
    const uint32_t rank = job->locals[local].rank;
    const bool first = exchange->returning == USE_NONE;
    struct job_end end;

    if (exchange->forward_only || exchange_return(exchange, plan, local) != 0) {
        fail_rank(&end, &job->roster, rank,
                  exchange->forward_only ? SEQSYNC_ERR_INVALID : SEQSYNC_ERR_DUPLICATE,
                  "returns dK/dV of exchange %u %s in step %llu", id,
                  exchange->forward_only ? "although it is forward-only" : "twice",
                  (unsigned long long)step_number(&job->step));
        engine_job_fail(engine, job, &end);
        return;
    }
    if (first && !begin_use(engine, job, exchange->returned, what_return, id)) {
        return;
    }
    if (returns_find(&plan->returns, rank) < 0) {
        /* It holds no rows: nothing is summed for it. */
        emit_raise(engine, job, WORD_RETURN_READY, id, rank, step_number(&job->step));
    }
    run_returns(engine, job, exchange, id);
    settle_returns(engine, job, exchange, id);
}

static void summed_return(struct engine *engine, struct engine_job *job, const struct event *event)
{
    struct exchange *exchange = &job->exchanges[event->summed.id];
    const struct return_plan *plan = &job->step.plans[exchange->space].returns;
    const uint32_t holder = event->summed.part;
    struct job_end end;
    char what[64];

    if (exchange->returning != USE_OPEN || returns_summed(&exchange->returns, plan, holder) != 0) {
        engine_drop(engine, "a sum of dK/dV that nobody asked for");
        return;
    }
    if (event->summed.nonfinite && job->nonfinite == POLICY_FAIL) {
        snprintf(what, sizeof(what), "dK/dV of exchange %u for rank %u", event->summed.id, holder);
        fail_nonfinite(&end, &job->roster, -1, (int32_t)engine->config.node,
                       step_number(&job->step), what);
        engine_job_fail(engine, job, &end);
        return;
    }
    job->step.skip |= event->summed.nonfinite && job->nonfinite == POLICY_SKIP;
    if (engine_job_local(job, holder) >= 0) {
        emit_raise(engine, job, WORD_RETURN_READY, event->summed.id, holder,
                   step_number(&job->step));
    } else {
        emit_send(engine, job, TRANSFER_RETURN, event->summed.id, holder, job->rank_nodes[holder],
                  0, event->summed.nonfinite);
    }
    settle_returns(engine, job, exchange, event->summed.id);
}

/* ---- buckets ---- */

static void send_to_peers(struct engine *engine, const struct engine_job *job,
                          enum transfer_kind kind, uint32_t id, const struct bucket *bucket)
{
    for (uint32_t node = 0; node < engine->config.node_count; node++) {
        if ((job->members.peers >> node & 1) == 0) {
            continue;
        }
        if (kind == TRANSFER_PARTIAL) {
            emit_send(engine, job, kind, id, node, node, bucket->local_count, bucket->nonfinite);
        } else {
            emit_send(engine, job, kind, id, engine->config.node, node, bucket->count,
                      bucket->nonfinite);
        }
    }
}

static void finish_bucket(struct engine *engine, struct engine_job *job, uint32_t id,
                          const struct bucket *bucket)
{
    struct action *action =
        emit_raise(engine, job, WORD_BUCKET_READY, id, 0, step_number(&job->step));

    action->raise.count = bucket->count;
    action->raise.skip = bucket->nonfinite;
    job->step.skip |= bucket->nonfinite && job->nonfinite == POLICY_SKIP;
    end_use(engine, job);
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
            emit_sum(engine, job, step, SUM_LOCAL, id, 0, alone ? bucket->local_count : 1);
            break;
        case BUCKET_SEND_PARTIALS:
            send_to_peers(engine, job, TRANSFER_PARTIAL, id, bucket);
            break;
        case BUCKET_SUM_OWNED:
            emit_sum(engine, job, step, SUM_OWNED, id, engine->config.node, bucket->count);
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

static void ready_gradient(struct engine *engine, struct engine_job *job, uint32_t local,
                           uint32_t id, int64_t count)
{
    struct bucket *bucket = &job->buckets[id];
    const bool first = bucket->state == BUCKET_IDLE;
    const int r = bucket_contribute(bucket, &job->members, local, count);

    if (r != 0) {
        fail_bucket_rank(engine, job, job->locals[local].rank, id, r, count);
        return;
    }
    if (!first || begin_use(engine, job, bucket->contributed, what_bucket, id)) {
        run_bucket(engine, job, id);
    }
}

static void summed_bucket(struct engine *engine, struct engine_job *job, const struct event *event)
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

/* ---- parameters ---- */

static void ready_parameter(struct engine *engine, struct engine_job *job, uint32_t local,
                            const struct event *event)
{
    const uint32_t id = event->ready.id, rank = job->locals[local].rank;
    const unsigned long long round = event->ready.sequence;
    struct job_end end;

    if (event->ready.root != rank) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "publishes parameters in the name of rank %u", event->ready.root);
    } else if ((job->step.begun >> local & 1) != 0) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "publishes parameters in the middle of step %llu",
                  (unsigned long long)step_number(&job->step));
    } else {
        switch (parameter_publish(&job->parameters[id], round, rank)) {
        case 0:
            emit_sum(engine, job, round, SUM_PARAMETER, id, rank, 1);
            return;
        case PARAMETER_STALE:
            fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_STALE,
                      "publishes parameters of bucket %u for round %llu, which is over", id, round);
            break;
        case PARAMETER_BUSY:
            fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_DUPLICATE,
                      "publishes parameters of bucket %u for round %llu, which has them already",
                      id, round);
            break;
        default:
            fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                      "publishes parameters of bucket %u for round %llu before earlier rounds", id,
                      round);
        }
    }
    engine_job_fail(engine, job, &end);
}

static void summed_parameter(struct engine *engine, struct engine_job *job,
                             const struct event *event)
{
    const uint64_t round = event->summed.step;
    const uint32_t id = event->summed.id;

    if (!parameter_copied(&job->parameters[id], round, event->summed.part)) {
        engine_drop(engine, "a copy of parameters that nobody asked for");
        return;
    }
    for (uint32_t node = 0; node < engine->config.node_count; node++) {
        if ((job->members.peers >> node & 1) != 0) {
            emit_send(engine, job, TRANSFER_PARAMETER, id, event->summed.part, node, 0, false);
            engine->out.actions[engine->out.action_count - 1].send.step = round;
        }
    }
    emit_raise(engine, job, WORD_PARAMETER_READY, id, 0, round);
}

/* ---- words of workers ---- */

/* NULL, or what is wrong with the id. */
static const char *ready_check_id(const struct engine_job *job, const struct event *event)
{
    switch (event->ready.kind) {
    case READY_KV:
    case READY_RETURN:
        return event->ready.id < job->exchange_count ? NULL : "an exchange that is not registered";
    case READY_GRADIENT:
    case READY_PARAMETER:
        return event->ready.id < job->bucket_count ? NULL : "a bucket that is not registered";
    }
    return "something of an unknown kind";
}

/* Whether the word belongs into the open step; fails the job if not. */
static bool ready_is_timely(struct engine *engine, struct engine_job *job, uint32_t local,
                            const struct event *event)
{
    const struct step *step = &job->step;
    const uint32_t rank = job->locals[local].rank;
    const unsigned long long sequence = event->ready.sequence;
    struct job_end end;

    if (event->ready.sequence <= step->last) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_STALE,
                  "contributes to step %llu, which is committed", sequence);
    } else if (event->ready.sequence != step_number(step) || step->state < STEP_OPEN) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "contributes to step %llu, which is not open", sequence);
    } else if ((step->committed >> local & 1) != 0) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "contributes to step %llu after it has committed it", sequence);
    } else {
        return true;
    }
    engine_job_fail(engine, job, &end);
    return false;
}

static const enum activity_kind activities[] = {[READY_KV] = ACTIVITY_KV,
                                                [READY_RETURN] = ACTIVITY_RETURN,
                                                [READY_GRADIENT] = ACTIVITY_GRADIENT,
                                                [READY_PARAMETER] = ACTIVITY_PARAMETER};

void work_ready(struct engine *engine, struct engine_job *job, uint32_t local,
                const struct event *event)
{
    struct local_rank *rank = &job->locals[local];
    const char *wrong = ready_check_id(job, event);
    struct job_end end;

    if (job->phase != PHASE_STEPPING || rank->left) {
        wrong = rank->left ? "something after it has left" : "something before it has registered";
    }
    if (wrong != NULL) {
        fail_rank(&end, &job->roster, rank->rank, SEQSYNC_ERR_INVALID, "contributes to %s", wrong);
        engine_job_fail(engine, job, &end);
        return;
    }
    if (event->ready.kind != READY_PARAMETER && !ready_is_timely(engine, job, local, event)) {
        return;
    }
    rank->last = (struct activity){.kind = activities[event->ready.kind],
                                   .id = event->ready.id,
                                   .sequence = event->ready.sequence};
    switch (event->ready.kind) {
    case READY_KV:
        ready_kv(engine, job, local, event->ready.id);
        return;
    case READY_RETURN:
        ready_return(engine, job, local, event->ready.id);
        return;
    case READY_GRADIENT:
        ready_gradient(engine, job, local, event->ready.id, event->ready.count);
        return;
    case READY_PARAMETER:
        ready_parameter(engine, job, local, event);
        return;
    }
}

/* ---- transfers of peers ---- */

static void fail_transfer(struct engine *engine, struct engine_job *job, const struct event *event,
                          const char *what)
{
    struct job_end end;

    fail_node(&end, &job->roster, event->received.node, SEQSYNC_ERR_PROTOCOL,
              "sent %s (kind %d, id %u, part %u) in step %llu", what, (int)event->received.kind,
              event->received.id, event->received.part, (unsigned long long)event->received.step);
    engine_job_fail(engine, job, &end);
}

static void received_kv(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const uint32_t id = event->received.id, holder = event->received.part;
    struct exchange *exchange = &job->exchanges[id];
    const bool first = exchange->kv == USE_NONE;

    if (holder >= job->world_size || job->rank_nodes[holder] != event->received.node ||
        exchange_receive(exchange, &job->step.plans[exchange->space], holder) != 0) {
        fail_transfer(engine, job, event, "keys and values that are not awaited");
        return;
    }
    if (first && !begin_use(engine, job, exchange->published, what_kv, id)) {
        return;
    }
    emit_raise(engine, job, WORD_KV_READY, id, holder, step_number(&job->step));
    settle_kv(engine, job, exchange);
}

static void received_return(struct engine *engine, struct engine_job *job,
                            const struct event *event)
{
    const uint32_t id = event->received.id;
    struct exchange *exchange = &job->exchanges[id];
    const bool first = exchange->returning == USE_NONE;

    if (exchange->forward_only ||
        exchange_receive_return(exchange, &job->step.plans[exchange->space], event->received.part,
                                event->received.node) != 0) {
        fail_transfer(engine, job, event, "dK/dV that are not awaited");
        return;
    }
    if (first && !begin_use(engine, job, exchange->returned, what_return, id)) {
        return;
    }
    run_returns(engine, job, exchange, id);
}

static void received_bucket(struct engine *engine, struct engine_job *job,
                            const struct event *event)
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
        fail_transfer(engine, job, event,
                      partial ? "a partial sum that does not fit" : "a result that does not fit");
        return;
    }
    if (!first || begin_use(engine, job, bucket->contributed, what_bucket, id)) {
        run_bucket(engine, job, id);
    }
}

static void received_parameter(struct engine *engine, struct engine_job *job,
                               const struct event *event)
{
    const uint32_t id = event->received.id, root = event->received.part;

    if (root >= job->world_size || job->rank_nodes[root] != event->received.node ||
        parameter_receive(&job->parameters[id], event->received.step) != 0) {
        fail_transfer(engine, job, event, "parameters that are not awaited");
        return;
    }
    emit_raise(engine, job, WORD_PARAMETER_READY, id, 0, event->received.step);
}

void work_received(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const enum transfer_kind kind = event->received.kind;
    const bool of_exchange = kind == TRANSFER_KV || kind == TRANSFER_RETURN;

    if (job->phase < PHASE_REGISTERING || event->received.node >= engine->config.node_count ||
        (job->members.peers >> event->received.node & 1) == 0 ||
        event->received.id >= (of_exchange ? job->exchange_count : job->bucket_count)) {
        engine_drop(engine, "a transfer that belongs to nothing");
        return;
    }
    if (kind == TRANSFER_PARAMETER) {
        received_parameter(engine, job, event);
        return;
    }
    if (event->received.step != step_number(&job->step) || !step_is_planned(&job->step)) {
        engine_drop(engine, "a transfer of another step");
        return;
    }
    if (kind == TRANSFER_KV) {
        received_kv(engine, job, event);
    } else if (kind == TRANSFER_RETURN) {
        received_return(engine, job, event);
    } else {
        received_bucket(engine, job, event);
    }
}

/* ---- sums of lanes ---- */

void work_summed(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const enum sum_kind kind = event->summed.kind;

    if (event->summed.id >= (kind == SUM_RETURN ? job->exchange_count : job->bucket_count)) {
        engine_drop(engine, "a sum that belongs to nothing");
        return;
    }
    if (kind == SUM_PARAMETER) {
        summed_parameter(engine, job, event);
        return;
    }
    if (event->summed.step != step_number(&job->step) || !step_is_planned(&job->step)) {
        engine_drop(engine, "a sum of another step");
        return;
    }
    if (kind == SUM_RETURN) {
        summed_return(engine, job, event);
    } else {
        summed_bucket(engine, job, event);
    }
}

/* ---- explaining ---- */

uint32_t work_behind(const struct engine_job *job, struct rank_set *ret)
{
    uint64_t behind = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < job->exchange_count; i++) {
        const struct exchange *exchange = &job->exchanges[i];
        behind |= exchange->published != 0 ? job->members.ranks & ~exchange->published : 0;
        behind |= exchange->returned != 0 ? job->members.ranks & ~exchange->returned : 0;
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        const uint64_t contributed = job->buckets[i].contributed;
        behind |= contributed != 0 ? job->members.ranks & ~contributed : 0;
    }
    rank_set_clear(ret);
    for (uint32_t i = 0; i < job->local_count; i++) {
        if ((behind >> i & 1) != 0) {
            rank_set_add(ret, job->locals[i].rank);
            count++;
        }
    }
    return count;
}

/* Nodes whose dK/dV partials are missing for sums that local ranks have done their part of. */
static uint64_t awaited_return_nodes(const struct engine_job *job, const struct exchange *exchange)
{
    const struct return_plan *plan = &job->step.plans[exchange->space].returns;
    uint64_t nodes = 0;

    for (uint32_t i = 0; exchange->returning == USE_OPEN && i < plan->count; i++) {
        if ((plan->needs[i].ranks & ~exchange->returned) == 0) {
            nodes |= plan->needs[i].nodes & ~exchange->returns.sums[i].received;
        }
    }
    return nodes;
}

static uint64_t awaited_bucket_nodes(const struct engine_job *job, const struct bucket *bucket)
{
    switch (bucket->state) {
    case BUCKET_PARTIAL:
        return bucket_partial_senders(bucket, &job->members) & ~bucket->partials;
    case BUCKET_SHARED:
        return job->members.peers & ~bucket->results;
    default:
        return 0;
    }
}

static bool awaits_kv(const struct engine_job *job, const struct exchange *exchange)
{
    return exchange->kv == USE_OPEN &&
           exchange->received_count < job->step.plans[exchange->space].receive_count;
}

bool work_awaits_peers(const struct engine_job *job)
{
    for (uint32_t i = 0; i < job->exchange_count; i++) {
        if (awaits_kv(job, &job->exchanges[i]) ||
            awaited_return_nodes(job, &job->exchanges[i]) != 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        if (awaited_bucket_nodes(job, &job->buckets[i]) != 0) {
            return true;
        }
    }
    return false;
}

static void explain_nodes(const struct engine *engine, uint64_t nodes, struct text *text,
                          int32_t *ret_node)
{
    text_nodes(text, nodes, engine->config.node_names);
    *ret_node = (nodes & (nodes - 1)) == 0 ? __builtin_ctzll(nodes) : -1;
}

void work_explain(const struct engine *engine, const struct engine_job *job, char *ret, size_t size,
                  int32_t *ret_rank, int32_t *ret_node)
{
    struct rank_set missing;
    struct text text;

    *ret_rank = -1;
    *ret_node = -1;
    text_init(&text, ret, size);
    for (uint32_t i = 0; i < job->exchange_count; i++) {
        const struct exchange *exchange = &job->exchanges[i];
        const uint64_t nodes = awaited_return_nodes(job, exchange);
        if (awaits_kv(job, exchange)) {
            exchange_missing(exchange, &job->step.plans[exchange->space], &missing);
            text_add(&text, "the keys and values of exchange %u from ", i);
            text_ranks_at(&text, &missing, &job->roster);
            *ret_rank = rank_set_count(&missing) == 1 ? (int32_t)rank_set_next(&missing, 0) : -1;
            *ret_node = *ret_rank >= 0 ? (int32_t)job->rank_nodes[*ret_rank] : -1;
            return;
        }
        if (nodes != 0) {
            text_add(&text, "the dK/dV of exchange %u from ", i);
            explain_nodes(engine, nodes, &text, ret_node);
            return;
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        const uint64_t nodes = awaited_bucket_nodes(job, &job->buckets[i]);
        if (nodes != 0) {
            text_add(&text, "the %s of bucket %u from ",
                     job->buckets[i].state == BUCKET_PARTIAL ? "partial sum" : "result", i);
            explain_nodes(engine, nodes, &text, ret_node);
            return;
        }
    }
    text_add(&text, "nothing");
}
