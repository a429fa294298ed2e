/*
 *   IDLE -> BEGINNING -> PLANNING -> PLANNED -> OPEN -> PREPARED -> IDLE
 *
 * A node may receive from PLANNED on, since others may learn a little earlier that all are ready.
 * A job that fails leaves its step where it is: only a commit that is already agreed moves it.
 */
#include "daemon/core/step.h"

#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"
#include "daemon/core/work.h"

#include <assert.h>
#include <seqsync/status.h>

static const bool moves[STEP_STATES_N][STEP_STATES_N] = {
    [STEP_IDLE] = {[STEP_BEGINNING] = true},   [STEP_BEGINNING] = {[STEP_PLANNING] = true},
    [STEP_PLANNING] = {[STEP_PLANNED] = true}, [STEP_PLANNED] = {[STEP_OPEN] = true},
    [STEP_OPEN] = {[STEP_PREPARED] = true},    [STEP_PREPARED] = {[STEP_IDLE] = true},
};

bool step_may_move(enum step_state from, enum step_state to)
{
    return moves[from][to];
}

static void step_set_state(const struct engine *engine, struct step *step, enum step_state state)
{
    assert(step_may_move(step->state, state));
    step->state = state;
    step->entered_ns = engine->now_ns;
}

/* ---- begin ---- */

void step_begin(struct engine *engine, struct engine_job *job, uint32_t local, uint64_t number,
                uint64_t digest)
{
    struct step *step = &job->step;
    struct local_rank *rank = &job->locals[local];
    struct job_end end;

    if (!engine_job_may_ask(engine, job, local, GATHER_BATCH)) {
        return;
    }
    if (number != step_number(step) || (step->begun >> local & 1) != 0) {
        const bool again = number == step_number(step);
        fail_rank(&end, &job->roster, rank->rank,
                  again                        ? SEQSYNC_ERR_DUPLICATE
                  : number < step_number(step) ? SEQSYNC_ERR_STALE
                                               : SEQSYNC_ERR_INVALID,
                  "begins step %llu%s, but the next one is %llu", (unsigned long long)number,
                  again ? " twice" : "",
                  (unsigned long long)(again ? number + 1 : step_number(step)));
        engine_job_fail(engine, job, &end);
        return;
    }
    if (step->state == STEP_IDLE) {
        step_set_state(engine, step, STEP_BEGINNING);
    }
    step->begun |= UINT64_C(1) << local;
    rank->last = (struct activity){.kind = ACTIVITY_BEGIN, .sequence = number};
    engine_job_gather(
        engine, job,
        &(struct message_gather){
            .kind = GATHER_BATCH, .sequence = number, .member = rank->rank, .digest = digest});
}

/* ---- plan ---- */

void step_batch_agreed(struct engine *engine, struct engine_job *job,
                       const struct message_agreed *agreed)
{
    struct step *step = &job->step;

    if (step->state != STEP_BEGINNING || agreed->sequence != step_number(step)) {
        engine_drop(engine, "an agreement on a batch that is not awaited");
        return;
    }
    step_set_state(engine, step, STEP_PLANNING);
    struct action *action = outbox_action(&engine->out, ACTION_PLAN);
    action->job.job = job->id;
    action->job.step = step_number(step);
}

/* The shape comes from this node's own io: it is asserted, not checked. */
static void step_read_space(struct engine_job *job, uint32_t space)
{
    const struct step_shape *shape = job->step.shape;
    struct exchange_plan *plan = &job->step.plans[space];

    plan->sends = shape->spaces[space].sends;
    plan->send_count = shape->spaces[space].send_count;
    plan->receive_count = shape->spaces[space].receive_count;
    rank_set_clear(&plan->receives);
    for (uint32_t i = 0; i < plan->receive_count; i++) {
        const uint32_t holder = shape->spaces[space].receives[i].holder;
        assert(holder < job->world_size && !rank_set_has(&plan->receives, holder));
        rank_set_add(&plan->receives, holder);
    }
    plan->returns.returns = shape->spaces[space].returns;
    plan->returns.count = shape->spaces[space].return_count;
    assert(plan->returns.count <= job->world_size);
    for (uint32_t i = 0; i < plan->returns.count; i++) {
        const struct step_return *from = &plan->returns.returns[i];
        struct return_need *need = &plan->returns.needs[i];
        assert(i == 0 || plan->returns.returns[i - 1].holder < from->holder);
        *need = (struct return_need){.ranks = 0};
        for (uint32_t k = 0; k < from->rank_count; k++) {
            const int32_t local = engine_job_local(job, from->ranks[k]);
            assert(local >= 0);
            need->ranks |= UINT64_C(1) << local;
        }
        const int32_t holder = engine_job_local(job, from->holder);
        if (holder >= 0) {
            /* The sum takes the place of an older one, which the holder then no longer reads. */
            need->ranks |= UINT64_C(1) << holder;
        }
        for (uint32_t k = 0; k < from->node_count; k++) {
            need->nodes |= UINT64_C(1) << from->nodes[k];
        }
    }
}

void step_planned(struct engine *engine, struct engine_job *job, const struct event *event)
{
    struct step *step = &job->step;
    struct job_end end;

    if (step->state != STEP_PLANNING || event->planned.step != step_number(step)) {
        engine_drop(engine, "a plan that nobody asked for");
        return;
    }
    if (event->planned.shape == NULL) {
        fail_daemon(&end, engine->config.node_names, engine->config.node, event->planned.code,
                    "plan the step", event->planned.error != NULL ? event->planned.error : "");
        engine_job_fail(engine, job, &end);
        return;
    }
    step->shape = event->planned.shape;
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        step_read_space(job, space);
    }
    step_set_state(engine, step, STEP_PLANNED);
    engine_job_gather(engine, job,
                      &(struct message_gather){.kind = GATHER_PLAN,
                                               .sequence = step_number(step),
                                               .member = engine->config.node,
                                               .digest = step->shape->plan_digest});
}

void step_plan_agreed(struct engine *engine, struct engine_job *job,
                      const struct message_agreed *agreed)
{
    struct step *step = &job->step;

    if (step->state != STEP_PLANNED || agreed->sequence != step_number(step)) {
        engine_drop(engine, "an agreement on a plan that is not awaited");
        return;
    }
    step_set_state(engine, step, STEP_OPEN);
    step->opened_ns = engine->now_ns;
    for (uint32_t i = 0; i < job->local_count; i++) {
        job->locals[i].last =
            (struct activity){.kind = ACTIVITY_START, .sequence = step_number(step)};
    }
    engine_job_reply_all(engine, job, GATHER_BATCH, REPLY_STEP_START, agreed);
}

/* ---- commit ---- */

/* Whether the rank computed what the plan gave it; fails the job if not. */
static bool step_attest(struct engine *engine, struct engine_job *job, uint32_t local,
                        const struct event *event)
{
    const struct step_shape *shape = job->step.shape;
    const uint32_t rank = job->locals[local].rank;
    struct job_end end;

    if (event->commit.report.tokens != shape->local_tokens[local]) {
        fail_attested(&end, &job->roster, rank, event->commit.step, "tokens",
                      event->commit.report.tokens, shape->local_tokens[local]);
    } else if (event->commit.area >= 0 && event->commit.area != shape->local_area[local]) {
        fail_attested(&end, &job->roster, rank, event->commit.step, "query-key pairs",
                      event->commit.area, shape->local_area[local]);
    } else {
        return true;
    }
    engine_job_fail(engine, job, &end);
    return false;
}

void step_commit(struct engine *engine, struct engine_job *job, uint32_t local,
                 const struct event *event)
{
    struct step *step = &job->step;
    struct local_rank *rank = &job->locals[local];
    struct job_end end;

    if (!engine_job_may_ask(engine, job, local, GATHER_COMMIT)) {
        return;
    }
    if (step->state != STEP_OPEN || event->commit.step != step_number(step)) {
        fail_rank(&end, &job->roster, rank->rank,
                  event->commit.step <= step->last ? SEQSYNC_ERR_STALE : SEQSYNC_ERR_INVALID,
                  "commits step %llu, which is not open", (unsigned long long)event->commit.step);
        engine_job_fail(engine, job, &end);
        return;
    }
    if (!step_attest(engine, job, local, event) || !work_check_commit(engine, job, local)) {
        return;
    }
    step->committed |= UINT64_C(1) << local;
    rank->report = event->commit.report;
    rank->digest = event->commit.parameter_digest;
    rank->last = (struct activity){.kind = ACTIVITY_COMMIT, .sequence = step_number(step)};
    step_try_prepare(engine, job);
}

void step_try_prepare(struct engine *engine, struct engine_job *job)
{
    struct step *step = &job->step;
    const uint64_t number = step_number(step);
    const bool skip = step->skip;
    uint64_t used;

    if (step->state != STEP_OPEN || step->committed != job->members.ranks || step->unfinished > 0) {
        return;
    }
    step_set_state(engine, step, STEP_PREPARED);
    /* What a node finished by itself may still be on its way to others, who did not use it: only
     * the conductor can see that. */
    used = work_used(job);
    /* The last of these may complete the gather and so end the step, if this node conducts. */
    for (uint32_t i = 0; i < job->local_count; i++) {
        struct local_rank *rank = &job->locals[i];
        rank->report.used = used;
        engine_job_gather(engine, job,
                          &(struct message_gather){.kind = GATHER_COMMIT,
                                                   .sequence = number,
                                                   .member = rank->rank,
                                                   .digest = rank->digest,
                                                   .skip = skip,
                                                   .payload_bytes = sizeof(rank->report),
                                                   .payload = &rank->report});
    }
}

void step_commit_agreed(struct engine *engine, struct engine_job *job,
                        const struct message_agreed *agreed)
{
    struct step *step = &job->step;
    const bool takes_part = job->local_count > 0;

    if (agreed->sequence != step_number(step) ||
        agreed->payload_bytes != job->world_size * sizeof(struct rank_report) ||
        (takes_part && step->state != STEP_PREPARED)) {
        engine_drop(engine, "an agreement on a commit that is not awaited");
        return;
    }
    report_commit(&job->report, agreed->payload, job->world_size, engine->now_ns - step->opened_ns);
    step->last++;
    if (!takes_part) {
        return;
    }
    assert(step->unfinished == 0);
    work_reset(job);
    step->begun = 0;
    step->committed = 0;
    step->skip = false;
    step->shape = NULL;
    step_set_state(engine, step, STEP_IDLE);
    for (uint32_t i = 0; i < job->local_count; i++) {
        job->locals[i].last =
            (struct activity){.kind = ACTIVITY_COMMITTED, .sequence = agreed->sequence};
    }
    engine_job_reply_all(engine, job, GATHER_COMMIT, REPLY_COMMITTED, agreed);
    struct action *action = outbox_action(&engine->out, ACTION_STEP_END);
    action->job.job = job->id;
    action->job.step = agreed->sequence;
}

/* ---- deadlines ---- */

/* Local ranks that keep the step from going on: those behind others, or all that are not done. */
static uint32_t step_laggards(const struct engine_job *job, struct rank_set *ret)
{
    const struct step *step = &job->step;
    const uint64_t done = step->state == STEP_BEGINNING ? step->begun : step->committed;
    uint32_t count = step->state == STEP_OPEN ? work_behind(job, ret) : 0;

    if (count > 0) {
        return count;
    }
    rank_set_clear(ret);
    for (uint32_t i = 0; i < job->local_count; i++) {
        if ((done >> i & 1) == 0) {
            rank_set_add(ret, job->locals[i].rank);
            count++;
        }
    }
    return count;
}

/*
 * Who waits only for its own workers speaks at the deadline; who has something to wait for from
 * another node as well, and so may be a victim, later.
 */
static uint64_t step_patience_ns(const struct engine *engine, const struct engine_job *job)
{
    const uint64_t timeout = engine->config.step_timeout_ns, grace = engine_grace_ns(engine);
    struct rank_set laggards;

    switch (job->step.state) {
    case STEP_BEGINNING:
        return step_laggards(job, &laggards) > 0 ? timeout : 2 * (timeout + grace);
    case STEP_OPEN:
        if (!work_awaits_peers(job)) {
            return timeout;
        }
        return timeout + (work_behind(job, &laggards) > 0 ? grace / 4 : grace / 2);
    default:
        return 2 * (timeout + grace); /* the conductor speaks before */
    }
}

uint64_t step_deadline_ns(const struct engine *engine, const struct engine_job *job)
{
    if (job->step.state == STEP_IDLE) {
        return UINT64_MAX;
    }
    return engine_after(job->step.entered_ns, step_patience_ns(engine, job));
}

/* The step was open for too long: those who are to blame, as far as this node knows. */
static void step_fail_open(struct engine *engine, struct engine_job *job)
{
    const uint64_t timeout = engine->config.step_timeout_ns;
    char words[MESSAGE_TEXT_MAX / 2];
    struct rank_set laggards;
    struct job_end end;
    struct text text;
    int32_t rank, node;

    text_init(&text, words, sizeof(words));
    if (work_behind(job, &laggards) > 0) {
        work_explain_behind(job, &laggards, &text);
    } else if (work_awaits_peers(job)) {
        work_explain(engine, job, words, sizeof(words), &rank, &node);
        fail_step_stuck(&end, engine->config.node_names[engine->config.node],
                        step_number(&job->step), words, rank, node, timeout);
        engine_job_fail(engine, job, &end);
        return;
    } else if (step_laggards(job, &laggards) > 0) {
        engine_job_last(job, &laggards, words, sizeof(words));
    } else {
        /* All have committed and nothing of others is missing: a sum does not end here. */
        fail_daemon(&end, engine->config.node_names, engine->config.node, SEQSYNC_ERR_TIMEOUT,
                    "complete its sums", "they take longer than the step may");
        engine_job_fail(engine, job, &end);
        return;
    }
    fail_missing(&end, &job->roster, GATHER_COMMIT, step_number(&job->step), &laggards, timeout,
                 words);
    engine_job_fail(engine, job, &end);
}

void step_tick(struct engine *engine, struct engine_job *job)
{
    const struct step *step = &job->step;
    char last[MESSAGE_TEXT_MAX / 2];
    struct rank_set laggards;
    struct job_end end;

    if (engine->now_ns < step_deadline_ns(engine, job)) {
        return;
    }
    if (step->state == STEP_OPEN) {
        step_fail_open(engine, job);
        return;
    }
    if (step->state == STEP_BEGINNING && step_laggards(job, &laggards) > 0) {
        engine_job_last(job, &laggards, last, sizeof(last));
        fail_missing(&end, &job->roster, GATHER_BATCH, step_number(step), &laggards,
                     engine->config.step_timeout_ns, last);
    } else {
        fail_no_answer(&end, engine->config.node_names, engine->now_ns - step->entered_ns);
    }
    engine_job_fail(engine, job, &end);
}
