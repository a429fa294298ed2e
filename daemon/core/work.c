#include "daemon/core/work.h"

#include "daemon/core/work_private.h"

#include <assert.h>
#include <seqsync/status.h>

/* ---- emitting ---- */

void work_emit_send(struct engine *engine, const struct engine_job *job, enum transfer_kind kind,
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

void work_emit_sum(struct engine *engine, const struct engine_job *job, uint64_t step,
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

struct action *work_emit_raise(struct engine *engine, const struct engine_job *job,
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

const char work_kv[] = "the keys and values of exchange";
const char work_return[] = "the dK/dV of exchange";
const char work_bucket[] = "a contribution to bucket";

bool work_begin_use(struct engine *engine, struct engine_job *job, uint64_t contributed,
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

void work_end_use(struct engine *engine, struct engine_job *job)
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
            fail_missing_share(engine, job, bit, work_kv, i);
            return false;
        }
        if (exchange->returning != USE_NONE && (exchange->returned & bit) == 0) {
            fail_missing_share(engine, job, bit, work_return, i);
            return false;
        }
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        const struct bucket *bucket = &job->buckets[i];
        if (bucket->state != BUCKET_IDLE && (bucket->contributed & bit) == 0) {
            fail_missing_share(engine, job, bit, work_bucket, i);
            return false;
        }
    }
    return true;
}

uint64_t work_used(const struct engine_job *job)
{
    /* FNV-1a: one use more or less always changes it. */
    const uint64_t prime = UINT64_C(0x100000001B3);
    uint64_t digest = UINT64_C(0xCBF29CE484222325);

    for (uint32_t i = 0; i < job->exchange_count; i++) {
        const struct exchange *exchange = &job->exchanges[i];
        const uint64_t uses =
            (exchange->kv != USE_NONE ? 1U : 0U) | (exchange->returning != USE_NONE ? 2U : 0U);
        digest = (digest ^ uses) * prime;
    }
    for (uint32_t i = 0; i < job->bucket_count; i++) {
        digest = (digest ^ (job->buckets[i].state != BUCKET_IDLE ? 4U : 0U)) * prime;
    }
    return digest != 0 ? digest : 1;
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
        work_ready_kv(engine, job, local, event->ready.id);
        return;
    case READY_RETURN:
        work_ready_return(engine, job, local, event->ready.id);
        return;
    case READY_GRADIENT:
        work_ready_gradient(engine, job, local, event->ready.id, event->ready.count);
        return;
    case READY_PARAMETER:
        work_ready_parameter(engine, job, local, event);
        return;
    }
}

/* ---- transfers of peers ---- */

void work_fail_transfer(struct engine *engine, struct engine_job *job, const struct event *event,
                        const char *what)
{
    struct job_end end;

    fail_node(&end, &job->roster, event->received.node, SEQSYNC_ERR_PROTOCOL,
              "sent %s (kind %d, id %u, part %u) in step %llu", what, (int)event->received.kind,
              event->received.id, event->received.part, (unsigned long long)event->received.step);
    engine_job_fail(engine, job, &end);
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
        work_received_parameter(engine, job, event);
        return;
    }
    if (event->received.step != step_number(&job->step) || !step_is_planned(&job->step)) {
        engine_drop(engine, "a transfer of another step");
        return;
    }
    if (kind == TRANSFER_KV) {
        work_received_kv(engine, job, event);
    } else if (kind == TRANSFER_RETURN) {
        work_received_return(engine, job, event);
    } else {
        work_received_bucket(engine, job, event);
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
        work_summed_parameter(engine, job, event);
        return;
    }
    if (event->summed.step != step_number(&job->step) || !step_is_planned(&job->step)) {
        engine_drop(engine, "a sum of another step");
        return;
    }
    if (kind == SUM_RETURN) {
        work_summed_return(engine, job, event);
    } else {
        work_summed_bucket(engine, job, event);
    }
}
