/*
 * The sim's io: makes shapes from who needs whom, sums integers, moves values between nodes, and
 * watches that the engine asks for each of that once and in time.
 */
#include "tests/support/sim_private.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- jobs ---- */

struct sim_job *sim_job_find(struct sim_node *node, uint64_t id)
{
    for (uint32_t i = 0; i < node->job_count; i++) {
        if (node->jobs[i]->id == id) {
            return node->jobs[i];
        }
    }
    return NULL;
}

static const struct sim_script *find_script(const struct sim *sim, const char *job)
{
    for (uint32_t i = sim->worker_count; i-- > 0;) {
        if (strcmp(sim->workers[i]->script->job, job) == 0) {
            return sim->workers[i]->script;
        }
    }
    return NULL;
}

static bool is_local(const struct sim_node *node, const struct sim_job *job, uint32_t rank)
{
    return job->formed.formed.rank_nodes[rank] == node->index;
}

void sim_io_formed(struct sim_node *node, const struct entry *entry)
{
    bool here = false;

    for (uint32_t rank = 0; rank < entry->formed.world_size; rank++) {
        here |= entry->formed.rank_nodes[rank] == node->index;
    }
    if (!here) {
        return;
    }
    struct sim_job *job = calloc(1, sizeof(*job));
    assert_non_null(job);
    assert_true(node->job_count < SIM_JOBS_MAX);
    job->id = entry->job;
    job->generation = entry->generation;
    job->formed = *entry;
    job->script = find_script(node->sim, entry->formed.name);
    if (sim_job_find(node, job->id) != NULL) {
        sim_violate(node->sim, "node %u: job %llu is formed twice", node->index,
                    (unsigned long long)job->id);
    }
    node->jobs[node->job_count++] = job;
}

/* ---- shapes ---- */

static void free_shape(struct sim_job *job)
{
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        free(job->returns[space]);
        free(job->sends[space]);
        free(job->receives[space]);
        job->returns[space] = NULL;
        job->sends[space] = NULL;
        job->receives[space] = NULL;
    }
    free(job->lists);
    job->lists = NULL;
}

void sim_io_free(struct sim_job *job)
{
    free_shape(job);
    free(job);
}

static bool node_needs(const struct sim_job *job, uint64_t step, uint32_t space, uint32_t node,
                       uint32_t holder)
{
    for (uint32_t rank = 0; rank < job->script->world_size; rank++) {
        if (job->formed.formed.rank_nodes[rank] == node && sim_needs(step, space, rank, holder)) {
            return true;
        }
    }
    return false;
}

/* The sum that this node makes for @holder; lists are taken from *at. */
static struct step_return make_return(const struct sim_node *node, const struct sim_job *job,
                                      uint64_t step, uint32_t space, uint32_t holder, uint32_t **at)
{
    struct step_return ret = {.holder = holder, .ranks = *at};

    for (uint32_t rank = 0; rank < job->script->world_size; rank++) {
        if (is_local(node, job, rank) && sim_needs(step, space, rank, holder)) {
            (*at)[ret.rank_count++] = rank;
        }
    }
    *at += ret.rank_count;
    ret.nodes = *at;
    for (uint32_t other = 0; is_local(node, job, holder) && other < node->sim->node_count;
         other++) {
        if (other != node->index && node_needs(job, step, space, other, holder)) {
            (*at)[ret.node_count++] = other;
        }
    }
    *at += ret.node_count;
    return ret;
}

static void make_space(const struct sim_node *node, struct sim_job *job, uint64_t step,
                       uint32_t space, uint32_t **at)
{
    struct step_send *sends = calloc(SIM_RANKS_MAX * SIM_NODES_MAX, sizeof(*sends));
    struct step_receive *receives = calloc(SIM_RANKS_MAX, sizeof(*receives));
    struct step_return *returns = calloc(SIM_RANKS_MAX, sizeof(*returns));
    uint32_t send_count = 0, receive_count = 0, return_count = 0;

    assert_true(sends != NULL && receives != NULL && returns != NULL);
    for (uint32_t holder = 0; holder < job->script->world_size; holder++) {
        const bool local = is_local(node, job, holder);
        for (uint32_t other = 0; local && other < node->sim->node_count; other++) {
            if (other != node->index && node_needs(job, step, space, other, holder)) {
                sends[send_count++] = (struct step_send){holder, other};
            }
        }
        const bool needed = node_needs(job, step, space, node->index, holder);
        if (!local && needed) {
            receives[receive_count++] = (struct step_receive){holder};
        }
        if (local || needed) {
            returns[return_count++] = make_return(node, job, step, space, holder, at);
        }
    }
    job->sends[space] = sends;
    job->receives[space] = receives;
    job->returns[space] = returns;
    job->shape.spaces[space].sends = sends;
    job->shape.spaces[space].receives = receives;
    job->shape.spaces[space].returns = returns;
    job->shape.spaces[space].send_count = send_count;
    job->shape.spaces[space].receive_count = receive_count;
    job->shape.spaces[space].return_count = return_count;
}

void sim_io_planned(struct sim_node *node, struct event *event)
{
    struct sim_job *job = sim_job_find(node, event->planned.job);
    const uint64_t step = event->planned.step;
    uint32_t local = 0;

    if (job == NULL || job->ended) {
        return;
    }
    if (node->fail_plan) {
        node->fail_plan = false;
        event->planned.error = "the batch needs more memory than there is";
        event->planned.code = SEQSYNC_ERR_NO_CAPACITY;
        sim_step(node, event);
        return;
    }
    free_shape(job);
    job->lists = calloc(SEQSYNC_SPACES_N * SIM_RANKS_MAX * (SIM_RANKS_MAX + SIM_NODES_MAX),
                        sizeof(uint32_t));
    assert_non_null(job->lists);
    uint32_t *at = job->lists;
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        make_space(node, job, step, space, &at);
    }
    for (uint32_t rank = 0; rank < job->script->world_size; rank++) {
        if (is_local(node, job, rank)) {
            job->tokens[local] = 10 + (int64_t)rank;
            job->area[local++] = 100 + (int64_t)rank;
        }
    }
    job->shape.local_tokens = job->tokens;
    job->shape.local_area = job->area;
    job->shape.plan_digest = 7 * step + 1 + (node->bend_plan ? 1 : 0);
    node->bend_plan = false;
    job->armed = step;
    event->planned.shape = &job->shape;
    sim_step(node, event);
}

/* ---- sums ---- */

static void perform_sum(struct sim_node *node, struct sim_job *job, const struct action *action)
{
    struct sim_item *item = sim_item_new(ITEM_EVENT, node->index);
    const uint32_t id = action->sum.id, part = action->sum.part;
    uint64_t *done = NULL;

    item->event = (struct event){.kind = EVENT_SUMMED,
                                 .summed = {.job = job->id,
                                            .step = action->sum.step,
                                            .kind = action->sum.kind,
                                            .id = id,
                                            .part = part,
                                            .rank = -1}};
    item->event.now_ns = (uint64_t)action->sum.count; /* the divisor, until it is done */
    switch (action->sum.kind) {
    case SUM_RETURN:
        done = &job->summed_return[id][part];
        break;
    case SUM_LOCAL:
        done = &job->summed_local[id];
        break;
    case SUM_OWNED:
        done = &job->summed_owned[id];
        break;
    case SUM_PARAMETER:
        break;
    }
    if (done != NULL) {
        if (*done >= action->sum.step) {
            sim_violate(node->sim, "node %u: sum %d of %u runs twice in step %llu", node->index,
                        (int)action->sum.kind, id, (unsigned long long)action->sum.step);
        }
        *done = action->sum.step;
    }
    sim_push(node->sim, item, (20 + sim_random(node->sim, 1500)) * UINT64_C(1000));
}

static void sum_return(struct sim_node *node, struct sim_job *job, const struct event *event)
{
    const uint32_t id = event->summed.id, holder = event->summed.part, slot = id % SIM_SLOTS;
    const uint32_t space = job->script->spaces[id];
    int64_t sum = 0;

    for (uint32_t rank = 0; rank < job->script->world_size; rank++) {
        if (is_local(node, job, rank) && sim_needs(event->summed.step, space, rank, holder)) {
            sum += job->return_buffer[rank][slot][holder];
        }
    }
    if (!is_local(node, job, holder)) {
        job->return_partial[id][holder] = sum;
        return;
    }
    for (uint32_t other = 0; other < node->sim->node_count; other++) {
        if (other != node->index && node_needs(job, event->summed.step, space, other, holder)) {
            sum += job->return_received[id][holder][other];
        }
    }
    job->return_sum[holder][slot] = sum;
}

static uint64_t job_nodes(const struct sim_job *job)
{
    uint64_t nodes = 0;

    for (uint32_t rank = 0; rank < job->script->world_size; rank++) {
        nodes |= UINT64_C(1) << job->formed.formed.rank_nodes[rank];
    }
    return nodes;
}

static void sum_local(struct sim_node *node, struct sim_job *job, struct event *event,
                      int64_t divisor)
{
    const uint32_t id = event->summed.id;
    const bool alone = job_nodes(job) == UINT64_C(1) << node->index;
    struct sim_slice slice = {.divisor = divisor};

    for (uint32_t rank = 0; rank < job->script->world_size; rank++) {
        if (!is_local(node, job, rank) || (job->script->replicated[id] && rank != 0)) {
            continue;
        }
        slice.sum += job->gradient[rank][id];
        if (job->gradient_nan[rank][id] && event->summed.rank < 0) {
            event->summed.rank = (int32_t)rank;
        }
        slice.nonfinite |= job->gradient_nan[rank][id];
    }
    event->summed.nonfinite = slice.nonfinite;
    if (alone) {
        job->result[id][node->index] = slice;
    } else {
        job->partial[id] = slice;
    }
}

static void sum_owned(struct sim_node *node, struct sim_job *job, struct event *event,
                      int64_t divisor)
{
    const uint32_t id = event->summed.id;
    const uint64_t nodes = job_nodes(job);
    struct sim_slice slice = {.divisor = divisor};

    for (uint32_t other = 0; other < node->sim->node_count; other++) {
        if ((nodes >> other & 1) == 0 ||
            (job->script->replicated[id] && job->formed.formed.rank_nodes[0] != other)) {
            continue;
        }
        const struct sim_slice *from =
            other == node->index ? &job->partial[id] : &job->received[id][other];
        slice.sum += from->sum;
        slice.nonfinite |= from->nonfinite;
    }
    event->summed.nonfinite = slice.nonfinite;
    job->result[id][node->index] = slice;
}

void sim_io_summed(struct sim_node *node, struct event *event)
{
    struct sim_job *job = sim_job_find(node, event->summed.job);
    const int64_t divisor = (int64_t)event->now_ns;

    if (job == NULL || job->ended) {
        return;
    }
    switch (event->summed.kind) {
    case SUM_RETURN:
        sum_return(node, job, event);
        break;
    case SUM_LOCAL:
        sum_local(node, job, event, divisor);
        break;
    case SUM_OWNED:
        sum_owned(node, job, event, divisor);
        break;
    case SUM_PARAMETER:
        job->parameter[event->summed.id] = job->gradient[event->summed.part][event->summed.id];
        break;
    }
    sim_step(node, event);
}

/* ---- transfers ---- */

/* What a transfer reads, as it is now. */
static struct sim_slice read_source(const struct sim_job *job, const struct event *event,
                                    uint32_t from)
{
    const uint32_t id = event->received.id, part = event->received.part;

    switch (event->received.kind) {
    case TRANSFER_KV:
        return (struct sim_slice){.sum = job->kv[id][part]};
    case TRANSFER_RETURN:
        return (struct sim_slice){.sum = job->return_partial[id][part]};
    case TRANSFER_PARTIAL:
        return job->partial[id];
    case TRANSFER_RESULT:
        return job->result[id][from];
    case TRANSFER_PARAMETER:
        return (struct sim_slice){.sum = job->parameter[id]};
    }
    return (struct sim_slice){0};
}

static void perform_send(struct sim_node *node, struct sim_job *job, const struct action *action)
{
    struct sim *sim = node->sim;
    struct sim_item *item = sim_item_new(ITEM_TRANSFER, action->send.node);
    const uint32_t id = action->send.id, part = action->send.part, to = action->send.node;
    uint64_t *done = &job->sent[action->send.kind - 1][id][part][to];

    if (*done >= action->send.step || to == node->index || (job_nodes(job) >> to & 1) == 0) {
        sim_violate(sim, "node %u: transfer %d of %u part %u goes to node %u twice or in vain",
                    node->index, (int)action->send.kind, id, part, to);
    }
    *done = action->send.step;
    item->from = node->index;
    item->event = (struct event){.kind = EVENT_RECEIVED,
                                 .received = {.job = job->id,
                                              .step = action->send.step,
                                              .kind = action->send.kind,
                                              .id = id,
                                              .part = part,
                                              .node = node->index,
                                              .count = action->send.count,
                                              .nonfinite = action->send.nonfinite}};
    item->slice = read_source(job, &item->event, node->index);
    if (sim->cut[node->index][to] || !sim->nodes[to].alive) {
        free(item);
        return;
    }
    sim_push(sim, item,
             (100 + sim->transfer_lag_us + sim_random(sim, 2 * sim->latency_us)) * UINT64_C(1000));
}

/* A sender must leave alone what it has handed over until it has arrived. */
static void check_source(struct sim *sim, const struct sim_item *item)
{
    struct sim_node *from = &sim->nodes[item->from];
    const struct sim_job *job = from->alive ? sim_job_find(from, item->event.received.job) : NULL;

    if (job == NULL || job->ended) {
        return;
    }
    const struct sim_slice now = read_source(job, &item->event, item->from);
    if (now.sum != item->slice.sum || now.divisor != item->slice.divisor) {
        sim_violate(sim, "node %u: transfer %d of %u changes on its way", item->from,
                    (int)item->event.received.kind, item->event.received.id);
    }
}

void sim_io_arrived(struct sim_node *node, struct sim_item *item)
{
    struct sim_job *job = sim_job_find(node, item->event.received.job);
    const struct event *event = &item->event;
    const uint32_t id = event->received.id, part = event->received.part;

    if (job == NULL || job->ended) {
        return;
    }
    if (event->received.kind != TRANSFER_PARAMETER && job->armed != event->received.step) {
        sim_violate(node->sim, "node %u is sent transfer %d of step %llu, but expects step %llu",
                    node->index, (int)event->received.kind,
                    (unsigned long long)event->received.step, (unsigned long long)job->armed);
        return;
    }
    check_source(node->sim, item);
    switch (event->received.kind) {
    case TRANSFER_KV:
        job->inbox[id][part] = item->slice.sum;
        break;
    case TRANSFER_RETURN:
        job->return_received[id][part][item->from] = item->slice.sum;
        break;
    case TRANSFER_PARTIAL:
        job->received[id][item->from] = item->slice;
        break;
    case TRANSFER_RESULT:
        job->result[id][part] = item->slice;
        break;
    case TRANSFER_PARAMETER:
        job->parameter[id] = item->slice.sum;
        break;
    }
    sim_step(node, &item->event);
}

/* ---- words and the rest ---- */

static void perform_raise(struct sim_job *job, const struct action *action)
{
    const uint32_t id = action->raise.id, index = action->raise.index;

    switch (action->raise.word) {
    case WORD_STATE:
        job->state = action->raise.value;
        return;
    case WORD_KV_READY:
        job->kv_ready[id][index] = action->raise.stamp;
        return;
    case WORD_RETURN_READY:
        job->return_ready[id][index] = action->raise.stamp;
        return;
    case WORD_RETURN_FREE:
        job->return_free[id] = action->raise.stamp;
        return;
    case WORD_BUCKET_READY:
        job->bucket_ready[id] = action->raise.stamp;
        job->bucket_count[id] = action->raise.count;
        job->bucket_skip[id] = action->raise.skip;
        return;
    case WORD_PARAMETER_READY:
        job->parameter_ready[id] = action->raise.stamp;
        return;
    }
}

static uint64_t action_job(const struct action *action)
{
    switch (action->kind) {
    case ACTION_SEND:
        return action->send.job;
    case ACTION_SUM:
        return action->sum.job;
    case ACTION_RAISE:
        return action->raise.job;
    default:
        return action->job.job;
    }
}

static void answer_later(struct sim_node *node, struct event event)
{
    struct sim_item *item = sim_item_new(ITEM_EVENT, node->index);

    item->event = event;
    sim_push(node->sim, item, (100 + sim_random(node->sim, 3000)) * UINT64_C(1000));
}

void sim_io_perform(struct sim_node *node, const struct action *action)
{
    struct sim_job *job = sim_job_find(node, action_job(action));

    if (job == NULL || job->ended) {
        sim_violate(node->sim, "node %u: action %d for a job that has ended", node->index,
                    (int)action->kind);
        return;
    }
    switch (action->kind) {
    case ACTION_ADMIT:
        answer_later(node, (struct event){.kind = EVENT_ADMITTED, .admitted = {.job = job->id}});
        return;
    case ACTION_PLAN:
        answer_later(node, (struct event){.kind = EVENT_PLANNED,
                                          .planned = {.job = job->id, .step = action->job.step}});
        return;
    case ACTION_STEP_END:
        /* Freed, so that a sanitizer finds whoever still looks at it. */
        free_shape(job);
        job->armed = 0;
        return;
    case ACTION_SEND:
        perform_send(node, job, action);
        return;
    case ACTION_SUM:
        perform_sum(node, job, action);
        return;
    case ACTION_RAISE:
        sim_check_action(node, action);
        perform_raise(job, action);
        return;
    case ACTION_END:
        free_shape(job);
        job->ended = true;
        return;
    default:
        sim_violate(node->sim, "an action of no kind: %d", (int)action->kind);
    }
}
