/* Scripted workers: each turn makes one call, if what it waits for is there, and checks the numbers
 * that it reads against those that all ranks must have written. */
#include "tests/support/sim_private.h"

#include <math.h>
#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- life ---- */

struct sim_worker *sim_worker_find(struct sim *sim, uint32_t handle)
{
    return handle >= 100 && handle - 100 < sim->worker_count ? sim->workers[handle - 100] : NULL;
}

static void push_worker_lost(struct sim *sim, const struct sim_worker *worker)
{
    struct sim_item *item = sim_item_new(ITEM_WORKER_LOST, worker->node);

    item->event = (struct event){.kind = EVENT_WORKER_LOST,
                                 .worker = {.worker = worker->handle,
                                            .code = SEQSYNC_ERR_WORKER_LOST,
                                            .text = "killed by signal 9"}};
    sim_push(sim, item, (10 + sim_random(sim, 500)) * UINT64_C(1000));
}

void sim_worker_end(struct sim *sim, struct sim_worker *worker, enum sim_state state)
{
    worker->outcome.state = state;
    worker->outcome.ended_ns = sim->now_ns;
    worker->stage = STAGE_OVER;
    if (worker->connected && state != SIM_HUNG && state != SIM_FAILED) {
        worker->connected = false;
        if (sim->nodes[worker->node].alive) {
            push_worker_lost(sim, worker);
        }
    }
}

void sim_worker_close(struct sim *sim, uint32_t handle)
{
    struct sim_worker *worker = sim_worker_find(sim, handle);

    if (worker == NULL) {
        return;
    }
    worker->connected = false;
    if (worker->outcome.state == SIM_RUNNING && !worker->told) {
        sim_violate(sim, "rank %u is cut off without a word", worker->rank);
    }
}

static void schedule(struct sim *sim, struct sim_worker *worker)
{
    if (worker->awake_ns == UINT64_MAX || worker->outcome.state != SIM_RUNNING) {
        return;
    }
    struct sim_item *item = sim_item_new(ITEM_WORKER, worker->node);
    item->worker = worker->handle - 100;
    worker->awake_ns = UINT64_MAX;
    sim_push(sim, item, (1 + sim_random(sim, worker->script->think_us + 1)) * UINT64_C(1000));
}

void sim_worker_poke(struct sim *sim, uint32_t node)
{
    for (uint32_t i = 0; i < sim->worker_count; i++) {
        if (sim->workers[i]->node == node) {
            schedule(sim, sim->workers[i]);
        }
    }
}

void sim_worker_reply(struct sim_node *node, const struct action *action)
{
    struct sim *sim = node->sim;
    struct sim_worker *worker = sim_worker_find(sim, action->reply.worker);

    if (worker == NULL || worker->outcome.state == SIM_DEAD) {
        return;
    }
    if (action->reply.kind == REPLY_FAILURE) {
        const struct job_end *end = action->reply.end;
        if (worker->told || end->code >= 0) {
            sim_violate(sim, "rank %u is told of a failure twice, or of none", worker->rank);
        }
        worker->told = true;
        worker->outcome.code = end->code;
        worker->outcome.rank = end->rank;
        worker->outcome.node = end->node;
        snprintf(worker->outcome.text, sizeof(worker->outcome.text), "%s", end->text);
        snprintf(worker->outcome.hint, sizeof(worker->outcome.hint), "%s", end->hint);
        if (worker->outcome.state == SIM_RUNNING) {
            sim_worker_end(sim, worker, SIM_FAILED);
        }
        return;
    }
    if (worker->reply != 0) {
        sim_violate(sim, "rank %u gets answer %d before it took answer %d", worker->rank,
                    (int)action->reply.kind, (int)worker->reply);
    }
    worker->reply = action->reply.kind;
    worker->skip = action->reply.skip;
    if (action->reply.kind == REPLY_WELCOME) {
        worker->job = action->reply.job;
    } else if (action->reply.kind == REPLY_REDUCED) {
        worker->value_count = action->reply.bytes / (uint32_t)sizeof(int64_t);
        memcpy(worker->values, action->reply.values, action->reply.bytes);
    } else if (action->reply.kind == REPLY_COMMITTED) {
        sim_check_action(node, action);
    }
}

/* ---- calls ---- */

struct turn {
    struct sim *sim;
    struct sim_node *node;
    struct sim_worker *worker;
    const struct sim_script *script;
    struct sim_job *job; /* once welcomed */
};

static void feed(struct turn *turn, struct event event)
{
    sim_step(turn->node, &event);
}

static void feed_ready(struct turn *turn, enum ready_kind kind, uint32_t id, uint64_t sequence,
                       int64_t count)
{
    feed(turn, (struct event){.kind = EVENT_WORKER_READY,
                              .ready = {.worker = turn->worker->handle,
                                        .kind = kind,
                                        .id = id,
                                        .sequence = sequence,
                                        .count = count,
                                        .root = turn->worker->rank}});
}

/* Whether this worker does that wrong now. */
static bool faulty(const struct turn *turn, enum sim_fault_kind kind, uint32_t id)
{
    const struct sim_fault *fault = &turn->script->fault;

    return fault->kind == kind && fault->rank == turn->worker->rank &&
           fault->step == turn->worker->step && fault->id == id;
}

static void expect(struct turn *turn, int64_t got, int64_t want, const char *what, uint32_t id)
{
    if (got != want) {
        sim_violate(turn->sim, "rank %u reads %s %u of step %llu as %lld, not %lld",
                    turn->worker->rank, what, id, (unsigned long long)turn->worker->step,
                    (long long)got, (long long)want);
    }
}

/* Takes the awaited answer; false if it is not there. */
static bool take(struct turn *turn, enum reply_kind kind)
{
    if (turn->worker->reply != kind) {
        return false;
    }
    turn->worker->reply = 0;
    return true;
}

static void go(struct turn *turn, enum sim_stage stage, uint32_t at)
{
    turn->worker->stage = stage;
    turn->worker->at = at;
}

/* An end that was planned for a stage of the faulty step. True if the worker is gone. */
static bool ends_here(struct turn *turn)
{
    static const enum sim_stage stages[] = {STAGE_BEGIN,    STAGE_KV,     STAGE_RETURN_BUFFER,
                                            STAGE_GRADIENT, STAGE_COMMIT, STAGE_COLLECTIVE};
    const struct sim_fault *fault = &turn->script->fault;
    const enum sim_stage stage = stages[fault->id % (sizeof(stages) / sizeof(stages[0]))];

    /* A step begins with the stage that is counted to the one before. */
    const uint64_t step = turn->worker->step + (stage == STAGE_BEGIN ? 1 : 0);
    if (fault->rank != turn->worker->rank || fault->step != step || turn->worker->stage != stage) {
        return false;
    }
    switch (fault->kind) {
    case SIM_FAULT_DIE:
        sim_worker_end(turn->sim, turn->worker, SIM_DEAD);
        return true;
    case SIM_FAULT_HANG:
        sim_worker_end(turn->sim, turn->worker, SIM_HUNG);
        return true;
    case SIM_FAULT_LEAVE:
        /* Gone from its own side first: leaving waits for no answer. */
        turn->worker->outcome.state = SIM_DEAD;
        feed(turn, (struct event){.kind = EVENT_WORKER_LEAVE,
                                  .worker = {.worker = turn->worker->handle}});
        sim_worker_end(turn->sim, turn->worker, SIM_DEAD);
        return true;
    default:
        return false;
    }
}

static bool is_here(const struct turn *turn, uint32_t rank)
{
    return turn->job->formed.formed.rank_nodes[rank] == turn->worker->node;
}

/* ---- joining ---- */

static bool turn_hello(struct turn *turn)
{
    go(turn, STAGE_WELCOME, 0);
    turn->worker->connected = true;
    feed(turn, (struct event){.kind = EVENT_WORKER_HELLO,
                              .hello = {.worker = turn->worker->handle,
                                        .job = turn->script->job,
                                        .rank = turn->worker->rank,
                                        .world_size = turn->script->world_size,
                                        .nonfinite = turn->script->nonfinite,
                                        .pid = (int32_t)turn->worker->handle}});
    return true;
}

static bool turn_welcome(struct turn *turn)
{
    uint8_t roles[SIM_BUCKETS_MAX];

    if (!take(turn, REPLY_WELCOME)) {
        return false;
    }
    for (uint32_t i = 0; i < turn->script->bucket_count; i++) {
        roles[i] = turn->script->replicated[i] ? SEQSYNC_REPLICATED : SEQSYNC_PARTIAL;
    }
    go(turn, STAGE_REGISTERED, 0);
    feed(turn, (struct event){.kind = EVENT_WORKER_REGISTER,
                              .reg = {.worker = turn->worker->handle,
                                      .digest = faulty(turn, SIM_FAULT_SCHEMA, 0) ? 6 : 5,
                                      .exchange_count = turn->script->exchange_count,
                                      .bucket_count = turn->script->bucket_count,
                                      .exchange_spaces = turn->script->spaces,
                                      .exchange_forward_only = turn->script->forward_only,
                                      .bucket_roles = roles}});
    return true;
}

static bool turn_registered(struct turn *turn)
{
    if (!take(turn, REPLY_REGISTERED)) {
        return false;
    }
    if (!turn->script->parameters) {
        go(turn, STAGE_BEGIN, 0);
    } else {
        go(turn, turn->worker->rank == 0 ? STAGE_PUBLISH : STAGE_PULL, 0);
    }
    return true;
}

static bool turn_publish(struct turn *turn)
{
    const uint32_t at = turn->worker->at;

    if (at == turn->script->bucket_count) {
        go(turn, STAGE_PULL, 0);
        return true;
    }
    turn->job->gradient[0][at] = sim_value(SIM_PARAMETER, 1, at, 0, 0);
    go(turn, STAGE_PUBLISH, at + 1);
    feed_ready(turn, READY_PARAMETER, at, 1, 0);
    return true;
}

static bool turn_pull(struct turn *turn)
{
    const uint32_t at = turn->worker->at;

    if (at == turn->script->bucket_count) {
        go(turn, STAGE_BEGIN, 0);
        return true;
    }
    if (turn->job->parameter_ready[at] != 1) {
        return false;
    }
    expect(turn, turn->job->parameter[at], sim_value(SIM_PARAMETER, 1, at, 0, 0), "parameters", at);
    go(turn, STAGE_PULL, at + 1);
    return true;
}

/* ---- a step ---- */

static bool turn_begin(struct turn *turn)
{
    struct sim_worker *worker = turn->worker;

    if (worker->step == turn->script->steps) {
        go(turn, STAGE_LEAVE, 0);
        return true;
    }
    worker->step++;
    go(turn, STAGE_START, 0);
    feed(turn, (struct event){.kind = EVENT_WORKER_BEGIN,
                              .begin = {.worker = worker->handle,
                                        .step = worker->step,
                                        .digest = worker->step * 3 +
                                                  (faulty(turn, SIM_FAULT_BATCH, 0) ? 1 : 0)}});
    return true;
}

static bool turn_start(struct turn *turn)
{
    if (!take(turn, REPLY_STEP_START)) {
        return false;
    }
    go(turn, STAGE_KV, 0);
    return true;
}

static bool turn_kv(struct turn *turn)
{
    const uint32_t at = turn->worker->at, rank = turn->worker->rank;
    const uint64_t step = turn->worker->step;

    if (at == turn->script->exchange_count) {
        const bool evaluates = turn->script->idle_odd && step % 2 == 1;
        go(turn, evaluates ? STAGE_COMMIT : STAGE_RETURN_BUFFER, evaluates ? 0 : at);
        return true;
    }
    if (faulty(turn, SIM_FAULT_ABSENT_KV, at)) {
        go(turn, STAGE_KV, at + 1);
        return true;
    }
    go(turn, STAGE_READ, at);
    if (faulty(turn, SIM_FAULT_SKIP_KV, at)) {
        return true;
    }
    turn->job->kv[at][rank] = sim_value(SIM_KV, step, at, rank, 0);
    turn->job->kv_published[at][rank] = step;
    feed_ready(turn, READY_KV, faulty(turn, SIM_FAULT_WRONG_EXCHANGE, at) ? 77 : at, step, 0);
    if (faulty(turn, SIM_FAULT_TWICE_KV, at)) {
        feed_ready(turn, READY_KV, at, step, 0);
    }
    return true;
}

static bool turn_read(struct turn *turn)
{
    const uint32_t at = turn->worker->at;
    const uint64_t step = turn->worker->step;
    const struct sim_job *job = turn->job;
    const uint32_t space = turn->script->spaces[at];

    for (uint32_t holder = 0; holder < turn->script->world_size; holder++) {
        if (!sim_needs(step, space, turn->worker->rank, holder)) {
            continue;
        }
        const bool here = is_here(turn, holder);
        if ((here ? job->kv_published[at][holder] : job->kv_ready[at][holder]) != step) {
            return false;
        }
        expect(turn, here ? job->kv[at][holder] : job->inbox[at][holder],
               sim_value(SIM_KV, step, at, holder, 0), "keys of exchange", at);
    }
    go(turn, STAGE_KV, at + 1);
    return true;
}

/* Whether the slot's last user, a later exchange, has given it back. */
static bool slot_is_free(const struct turn *turn, uint32_t exchange)
{
    for (uint32_t e = exchange + SIM_SLOTS; e < turn->script->exchange_count; e += SIM_SLOTS) {
        if (!turn->script->forward_only[e]) {
            return turn->job->return_free[e] == turn->worker->step;
        }
    }
    return true;
}

static bool turn_return_buffer(struct turn *turn)
{
    struct sim_worker *worker = turn->worker;

    if (worker->at == 0) {
        go(turn, STAGE_GRADIENT, 0);
        return true;
    }
    const uint32_t e = worker->at - 1;
    if (turn->script->forward_only[e] || faulty(turn, SIM_FAULT_SKIP_RETURN, e)) {
        go(turn, STAGE_RETURN_BUFFER, e);
        return true;
    }
    if (!slot_is_free(turn, e)) {
        return false;
    }
    for (uint32_t holder = 0; holder < turn->script->world_size; holder++) {
        turn->job->return_buffer[worker->rank][e % SIM_SLOTS][holder] =
            sim_value(SIM_RETURN, worker->step, e, worker->rank, holder);
    }
    go(turn, turn->script->impatient ? STAGE_RETURN_BUFFER : STAGE_RETURN_WAIT, e);
    feed_ready(turn, READY_RETURN, e, worker->step, 0);
    if (faulty(turn, SIM_FAULT_TWICE_RETURN, e)) {
        feed_ready(turn, READY_RETURN, e, worker->step, 0);
    }
    return true;
}

static bool turn_return_wait(struct turn *turn)
{
    const struct sim_worker *worker = turn->worker;
    const uint32_t e = worker->at;
    int64_t want = 0;

    if (turn->job->return_ready[e][worker->rank] != worker->step) {
        return false;
    }
    for (uint32_t rank = 0; rank < turn->script->world_size; rank++) {
        if (sim_needs(worker->step, turn->script->spaces[e], rank, worker->rank)) {
            want += sim_value(SIM_RETURN, worker->step, e, rank, worker->rank);
        }
    }
    expect(turn, turn->job->return_sum[worker->rank][e % SIM_SLOTS], want, "dK of exchange", e);
    go(turn, STAGE_RETURN_BUFFER, e);
    return true;
}

static bool turn_gradient(struct turn *turn)
{
    const uint32_t at = turn->worker->at, rank = turn->worker->rank;
    const uint64_t step = turn->worker->step;
    int64_t count = sim_count(step, at, rank);

    if (at == turn->script->bucket_count) {
        go(turn, turn->script->impatient ? STAGE_COMMIT : STAGE_GRADIENT_WAIT, 0);
        return true;
    }
    go(turn, STAGE_GRADIENT, at + 1);
    if (faulty(turn, SIM_FAULT_SKIP_GRADIENT, at)) {
        return true;
    }
    turn->job->gradient[rank][at] = sim_value(SIM_GRADIENT, step, at, rank, 0);
    turn->job->gradient_nan[rank][at] = faulty(turn, SIM_FAULT_NAN, at);
    count = faulty(turn, SIM_FAULT_NEGATIVE_COUNT, at) ? -1 : count;
    feed_ready(turn, READY_GRADIENT, at,
               step - (faulty(turn, SIM_FAULT_STALE_GRADIENT, at) ? 1 : 0), count);
    if (faulty(turn, SIM_FAULT_TWICE_GRADIENT, at)) {
        feed_ready(turn, READY_GRADIENT, at, step, count);
    }
    return true;
}

static void check_bucket(struct turn *turn, uint32_t bucket)
{
    const struct sim_job *job = turn->job;
    const uint64_t step = turn->worker->step;
    int64_t sum = 0, count = 0;
    uint64_t nodes = 0;

    for (uint32_t rank = 0; rank < turn->script->world_size; rank++) {
        nodes |= UINT64_C(1) << job->formed.formed.rank_nodes[rank];
        if (rank == 0 || !turn->script->replicated[bucket]) {
            sum += sim_value(SIM_GRADIENT, step, bucket, rank, 0);
            count += sim_count(step, bucket, rank);
        }
    }
    expect(turn, job->bucket_count[bucket], count, "the count of bucket", bucket);
    for (uint32_t node = 0; node < turn->sim->node_count; node++) {
        if ((nodes >> node & 1) != 0) {
            expect(turn, job->result[bucket][node].sum, sum, "the sum of bucket", bucket);
            expect(turn, job->result[bucket][node].divisor, count, "the divisor of bucket", bucket);
        }
    }
}

static bool turn_gradient_wait(struct turn *turn)
{
    for (uint32_t i = 0; i < turn->script->bucket_count; i++) {
        if (faulty(turn, SIM_FAULT_SKIP_GRADIENT, i)) {
            go(turn, STAGE_COMMIT, 0);
            return true;
        }
        if (turn->job->bucket_ready[i] != turn->worker->step) {
            return false;
        }
    }
    for (uint32_t i = 0; i < turn->script->bucket_count; i++) {
        check_bucket(turn, i);
    }
    go(turn, STAGE_COMMIT, 0);
    return true;
}

static bool turn_commit(struct turn *turn)
{
    const struct sim_worker *worker = turn->worker;

    go(turn, STAGE_COMMITTED, 0);
    feed(turn,
         (struct event){
             .kind = EVENT_WORKER_COMMIT,
             .commit = {
                 .worker = worker->handle,
                 .step = worker->step,
                 .area = worker->rank % 2 != 0 ? -1
                                               : 100 + (int64_t)worker->rank +
                                                     (faulty(turn, SIM_FAULT_AREA, 0) ? 1 : 0),
                 .parameter_digest =
                     worker->rank % 3 == 2
                         ? 0
                         : 9 + (faulty(turn, SIM_FAULT_PARAMETERS, 0) ? UINT64_C(1) : 0),
                 .report = {.tokens = 10 + (int64_t)worker->rank +
                                      (faulty(turn, SIM_FAULT_TOKENS, 0) ? 1 : 0),
                            .loss = worker->rank % 2 != 0 ? (double)NAN : (double)worker->step}}});
    return true;
}

static bool turn_committed(struct turn *turn)
{
    if (!take(turn, REPLY_COMMITTED)) {
        return false;
    }
    if (turn->script->impatient && turn->script->world_size > 1 &&
        !(turn->script->idle_odd && turn->worker->step % 2 == 1)) {
        for (uint32_t i = 0; i < turn->script->bucket_count; i++) {
            check_bucket(turn, i);
        }
    }
    turn->worker->outcome.steps++;
    turn->worker->outcome.skipped += turn->worker->skip;
    go(turn, turn->script->collectives ? STAGE_COLLECTIVE : STAGE_BEGIN, 0);
    return true;
}

static bool turn_collective(struct turn *turn)
{
    const struct sim_worker *worker = turn->worker;
    int64_t values[SIM_VALUES_MAX];

    for (uint32_t i = 0; i < SIM_VALUES_MAX; i++) {
        values[i] = sim_value(SIM_COLLECTIVE, worker->step, i, worker->rank, 0);
    }
    go(turn, STAGE_REDUCED, 0);
    feed(turn, (struct event){.kind = EVENT_WORKER_REDUCE,
                              .reduce = {.worker = worker->handle,
                                         .sequence = worker->step,
                                         .dtype = SEQSYNC_I64,
                                         .op = faulty(turn, SIM_FAULT_COLLECTIVE, 0) ? SEQSYNC_MAX
                                                                                     : SEQSYNC_SUM,
                                         .bytes = sizeof(values),
                                         .values = values}});
    return true;
}

static bool turn_reduced(struct turn *turn)
{
    if (!take(turn, REPLY_REDUCED)) {
        return false;
    }
    expect(turn, turn->worker->value_count, SIM_VALUES_MAX, "the size of collective", 0);
    for (uint32_t i = 0; i < SIM_VALUES_MAX; i++) {
        int64_t want = 0;
        for (uint32_t rank = 0; rank < turn->script->world_size; rank++) {
            want += sim_value(SIM_COLLECTIVE, turn->worker->step, i, rank, 0);
        }
        expect(turn, turn->worker->values[i], want, "collective value", i);
    }
    go(turn, STAGE_BEGIN, 0);
    return true;
}

static bool turn_leave(struct turn *turn)
{
    /* Its outcome is set first: leaving waits for nobody, and may end the job at once. */
    turn->worker->outcome.state = SIM_DONE;
    turn->worker->outcome.ended_ns = turn->sim->now_ns;
    turn->worker->stage = STAGE_OVER;
    feed(turn,
         (struct event){.kind = EVENT_WORKER_LEAVE, .worker = {.worker = turn->worker->handle}});
    if (turn->worker->connected && sim_random(turn->sim, 2) == 0) {
        sim_worker_end(turn->sim, turn->worker, SIM_DONE);
    }
    return false;
}

/* ---- one turn ---- */

static bool (*const turns[])(struct turn *turn) = {
    [STAGE_HELLO] = turn_hello,
    [STAGE_WELCOME] = turn_welcome,
    [STAGE_REGISTERED] = turn_registered,
    [STAGE_PUBLISH] = turn_publish,
    [STAGE_PULL] = turn_pull,
    [STAGE_BEGIN] = turn_begin,
    [STAGE_START] = turn_start,
    [STAGE_KV] = turn_kv,
    [STAGE_READ] = turn_read,
    [STAGE_RETURN_BUFFER] = turn_return_buffer,
    [STAGE_RETURN_WAIT] = turn_return_wait,
    [STAGE_GRADIENT] = turn_gradient,
    [STAGE_GRADIENT_WAIT] = turn_gradient_wait,
    [STAGE_COMMIT] = turn_commit,
    [STAGE_COMMITTED] = turn_committed,
    [STAGE_COLLECTIVE] = turn_collective,
    [STAGE_REDUCED] = turn_reduced,
    [STAGE_LEAVE] = turn_leave,
};

void sim_worker_run(struct sim *sim, struct sim_worker *worker)
{
    struct turn turn = {
        .sim = sim, .node = &sim->nodes[worker->node], .worker = worker, .script = worker->script};

    worker->awake_ns = 0;
    if (worker->outcome.state != SIM_RUNNING) {
        return;
    }
    turn.job = worker->job != 0 ? sim_job_find(turn.node, worker->job) : NULL;
    if (ends_here(&turn)) {
        return;
    }
    if (turns[worker->stage](&turn)) {
        schedule(sim, worker);
    }
}
