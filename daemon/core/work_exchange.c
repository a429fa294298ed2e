/* K/V and dK/dV of exchanges: what sets what going. */
#include "daemon/core/work_private.h"

#include <seqsync/status.h>
#include <stdio.h>

/* ---- keys and values ---- */

static void settle_kv(struct engine *engine, struct engine_job *job, struct exchange *exchange)
{
    if (exchange_settle_kv(exchange, &job->step.plans[exchange->space], job->members.ranks)) {
        work_end_use(engine, job);
    }
}

void work_ready_kv(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id)
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
    if (first && !work_begin_use(engine, job, exchange->published, work_kv, id)) {
        return;
    }
    for (uint32_t i = exchange_first_send(plan, rank);
         i < plan->send_count && plan->sends[i].holder == rank; i++) {
        work_emit_send(engine, job, TRANSFER_KV, id, rank, plan->sends[i].node, 0, false);
    }
    settle_kv(engine, job, exchange);
}

void work_received_kv(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const uint32_t id = event->received.id, holder = event->received.part;
    struct exchange *exchange = &job->exchanges[id];
    const bool first = exchange->kv == USE_NONE;

    if (holder >= job->world_size || job->rank_nodes[holder] != event->received.node ||
        exchange_receive(exchange, &job->step.plans[exchange->space], holder) != 0) {
        work_fail_transfer(engine, job, event, "keys and values that are not awaited");
        return;
    }
    if (first && !work_begin_use(engine, job, exchange->published, work_kv, id)) {
        return;
    }
    work_emit_raise(engine, job, WORD_KV_READY, id, holder, step_number(&job->step));
    settle_kv(engine, job, exchange);
}

/* ---- dK/dV ---- */

static void run_returns(struct engine *engine, struct engine_job *job, struct exchange *exchange,
                        uint32_t id)
{
    const struct return_plan *plan = &job->step.plans[exchange->space].returns;

    for (int32_t i = returns_next(&exchange->returns, plan, 0, exchange->returned); i >= 0;
         i = returns_next(&exchange->returns, plan, (uint32_t)i + 1, exchange->returned)) {
        work_emit_sum(engine, job, step_number(&job->step), SUM_RETURN, id, plan->returns[i].holder,
                      0);
    }
}

/* All sums of the exchange are done: its return buffers are free again. */
static void settle_returns(struct engine *engine, struct engine_job *job, struct exchange *exchange,
                           uint32_t id)
{
    if (exchange_settle_returns(exchange, job->members.ranks)) {
        work_emit_raise(engine, job, WORD_RETURN_FREE, id, 0, step_number(&job->step));
        work_end_use(engine, job);
    }
}

void work_ready_return(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id)
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
    if (first && !work_begin_use(engine, job, exchange->returned, work_return, id)) {
        return;
    }
    if (returns_find(&plan->returns, rank) < 0) {
        /* It holds no rows: nothing is summed for it. */
        work_emit_raise(engine, job, WORD_RETURN_READY, id, rank, step_number(&job->step));
    }
    run_returns(engine, job, exchange, id);
    settle_returns(engine, job, exchange, id);
}

void work_summed_return(struct engine *engine, struct engine_job *job, const struct event *event)
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
        work_emit_raise(engine, job, WORD_RETURN_READY, event->summed.id, holder,
                        step_number(&job->step));
    } else {
        work_emit_send(engine, job, TRANSFER_RETURN, event->summed.id, holder,
                       job->rank_nodes[holder], 0, event->summed.nonfinite);
    }
    settle_returns(engine, job, exchange, event->summed.id);
}

void work_received_return(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const uint32_t id = event->received.id;
    struct exchange *exchange = &job->exchanges[id];
    const bool first = exchange->returning == USE_NONE;

    if (exchange->forward_only ||
        exchange_receive_return(exchange, &job->step.plans[exchange->space], event->received.part,
                                event->received.node) != 0) {
        work_fail_transfer(engine, job, event, "dK/dV that are not awaited");
        return;
    }
    if (first && !work_begin_use(engine, job, exchange->returned, work_return, id)) {
        return;
    }
    run_returns(engine, job, exchange, id);
}
