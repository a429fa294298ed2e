#include "tests/support/sim.h"

#include "tests/support/sim_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const node_names[SIM_NODES_MAX] = {"node-a", "node-b", "node-c",
                                                      "node-d", "node-e", "node-f"};

/* ---- chance ---- */

static uint64_t mix(uint64_t x)
{
    /* SplitMix64: every bit of the input reaches every bit of the output. */
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

uint32_t sim_random(struct sim *sim, uint32_t below)
{
    sim->random += UINT64_C(0x9E3779B97F4A7C15);
    return below == 0 ? 0 : (uint32_t)(mix(sim->random) % below);
}

int64_t sim_value(uint64_t kind, uint64_t step, uint64_t id, uint64_t who, uint64_t to)
{
    return (int64_t)(mix(kind << 56 ^ step << 36 ^ id << 24 ^ who << 12 ^ to) % 2001) - 1000;
}

int64_t sim_count(uint64_t step, uint32_t bucket, uint32_t rank)
{
    const int64_t value = sim_value(SIM_COUNT, step, bucket, rank, 0) + 1000;

    return value % 4 == 0 ? 0 : value; /* now and then a rank has nothing to count */
}

bool sim_needs(uint64_t step, uint32_t space, uint32_t rank, uint32_t holder)
{
    return rank != holder && mix(step << 32 ^ (uint64_t)space << 24 ^ rank << 12 ^ holder ^
                                 (uint64_t)SIM_NEED << 56) %
                                     3 !=
                                 0;
}

/* ---- what is seen ---- */

void sim_violate(struct sim *sim, const char *format, ...)
{
    va_list args;
    char text[400];

    if (sim->violation[0] != '\0') {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(sim->violation, sizeof(sim->violation), "seed %llu, %llu us: %s",
             (unsigned long long)sim->seed, (unsigned long long)(sim->now_ns / 1000), text);
}

void sim_note(struct sim *sim, uint32_t node, const char *format, ...)
{
    char line[MESSAGE_TEXT_MAX + 64], text[MESSAGE_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    const int n = snprintf(line, sizeof(line), "[%5llu] node %u > %s\n",
                           (unsigned long long)(sim->now_ns / SIM_MS), node, text);
    if (n < 0) {
        return;
    }
    const size_t length = strlen(line);
    if (sim->trace_used + length + 1 > sim->trace_capacity) {
        sim->trace_capacity = 2 * sim->trace_capacity + length + 4096;
        sim->trace = realloc(sim->trace, sim->trace_capacity);
        assert_non_null(sim->trace);
    }
    memcpy(sim->trace + sim->trace_used, line, length + 1);
    sim->trace_used += length;
}

void sim_print_trace(const struct sim *sim)
{
    fputs(sim->trace != NULL ? sim->trace : "", stderr);
}

void sim_expect_trace(const struct sim *sim, const char *expected)
{
    const char *at = sim->trace != NULL ? sim->trace : "";

    while (*expected != '\0') {
        const char *end = strchr(expected, '\n');
        const size_t length = end != NULL ? (size_t)(end - expected) : strlen(expected);
        char line[MESSAGE_TEXT_MAX + 64];
        snprintf(line, sizeof(line), "%.*s\n", (int)length, expected);
        const char *found = strstr(at, line);
        if (found == NULL) {
            sim_print_trace(sim);
            fail_msg("the trace lacks, after what came before: %s", line);
        }
        at = found + strlen(line);
        expected += length + (end != NULL ? 1 : 0);
    }
}

/* ---- the queue: a binary heap by time, then by order of arrival ---- */

static bool earlier(const struct sim_item *a, const struct sim_item *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

struct sim_item *sim_item_new(enum sim_item_kind kind, uint32_t node)
{
    struct sim_item *item = calloc(1, sizeof(*item));

    assert_non_null(item);
    item->kind = kind;
    item->node = node;
    return item;
}

static void item_free(struct sim_item *item)
{
    free(item->payload);
    free(item);
}

static void push_at(struct sim *sim, struct sim_item *item, uint64_t at_ns)
{
    uint32_t i = sim->heap_count++;

    if (sim->heap_count > sim->heap_capacity) {
        sim->heap_capacity = 2 * sim->heap_capacity + 256;
        sim->heap = realloc(sim->heap, sim->heap_capacity * sizeof(sim->heap[0]));
        assert_non_null(sim->heap);
    }
    item->at_ns = at_ns;
    item->order = ++sim->order;
    item->life = sim->nodes[item->node].life;
    for (; i > 0 && earlier(item, sim->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
    }
    sim->heap[i] = item;
}

void sim_push(struct sim *sim, struct sim_item *item, uint64_t delay_ns)
{
    push_at(sim, item, sim->now_ns + delay_ns);
}

static struct sim_item *pop(struct sim *sim)
{
    struct sim_item *top = sim->heap[0];
    struct sim_item *last = sim->heap[--sim->heap_count];
    uint32_t i = 0;

    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= sim->heap_count) {
            break;
        }
        if (child + 1 < sim->heap_count && earlier(sim->heap[child + 1], sim->heap[child])) {
            child++;
        }
        if (!earlier(sim->heap[child], last)) {
            break;
        }
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    if (sim->heap_count > 0) {
        sim->heap[i] = last;
    }
    return top;
}

/* ---- links ---- */

static uint64_t latency_ns(struct sim *sim)
{
    return (50 + sim_random(sim, sim->latency_us)) * UINT64_C(1000);
}

/* Control messages of one connection arrive in order; what is sent over a cut link is lost. */
static void link_push(struct sim *sim, struct sim_item *item, uint32_t from)
{
    const uint32_t to = item->node;
    uint64_t at_ns = sim->now_ns + latency_ns(sim);

    item->from = from;
    item->connection = sim->connection[from][to];
    if (sim->cut[from][to] || !sim->nodes[to].alive) {
        item_free(item);
        return;
    }
    if (at_ns < sim->fifo_ns[from][to]) {
        at_ns = sim->fifo_ns[from][to];
    }
    sim->fifo_ns[from][to] = at_ns;
    push_at(sim, item, at_ns);
}

static void connect_nodes(struct sim *sim, uint32_t a, uint32_t b)
{
    sim->connection[a][b]++;
    sim->connection[b][a] = sim->connection[a][b];
    link_push(sim, sim_item_new(ITEM_UP, a), b);
    link_push(sim, sim_item_new(ITEM_UP, b), a);
}

static void push_lost(struct sim *sim, uint32_t node, uint32_t peer)
{
    struct sim_item *item = sim_item_new(ITEM_LOST, node);

    /* The end of a connection is seen before a new one begins. */
    const uint64_t at_ns = sim->now_ns + latency_ns(sim);
    uint64_t *fifo_ns = &sim->fifo_ns[peer][node];
    *fifo_ns = at_ns > *fifo_ns ? at_ns : *fifo_ns;
    item->from = peer;
    push_at(sim, item, *fifo_ns);
}

/* ---- actions ---- */

static void perform_message(struct sim_node *node, const struct action *action)
{
    struct sim_item *item = sim_item_new(ITEM_MESSAGE, action->message.node);
    const void **payload = NULL;
    uint32_t bytes = 0;

    item->message = *action->message.message;
    if (item->message.kind == MESSAGE_GATHER) {
        payload = &item->message.gather.payload;
        bytes = item->message.gather.payload_bytes;
    } else if (item->message.kind == MESSAGE_AGREED) {
        payload = &item->message.agreed.payload;
        bytes = item->message.agreed.payload_bytes;
    }
    if (payload != NULL && bytes > 0) {
        item->payload = malloc(bytes);
        assert_non_null(item->payload);
        memcpy(item->payload, *payload, bytes);
        *payload = item->payload;
    }
    link_push(node->sim, item, node->index);
}

static void perform(struct sim_node *node, const struct action *action)
{
    struct sim *sim = node->sim;

    switch (action->kind) {
    case ACTION_REPLY:
        sim_worker_reply(node, action);
        return;
    case ACTION_CLOSE:
        sim_worker_close(sim, action->close.worker);
        return;
    case ACTION_MESSAGE:
        perform_message(node, action);
        return;
    case ACTION_PING:
        link_push(sim, sim_item_new(ITEM_PING, action->ping.node), node->index);
        return;
    case ACTION_PROPOSE:
        control_log_propose(&node->log, action->entry);
        return;
    case ACTION_TRACE:
        if (action->trace.level <= 6) {
            sim_note(sim, node->index, "%s", action->trace.text);
        }
        return;
    default:
        sim_io_perform(node, action);
    }
}

static void step_once(struct sim_node *node, struct event *event)
{
    struct actions actions;

    event->now_ns = node->sim->now_ns;
    if (event->kind == EVENT_COMMITTED && event->entry->kind == ENTRY_JOB_FORMED) {
        sim_io_formed(node, event->entry);
    }
    engine_step(node->engine, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++) {
        perform(node, &actions.items[i]);
    }
    sim_worker_poke(node->sim, node->index);
}

void sim_step(struct sim_node *node, struct event *event)
{
    step_once(node, event);
    /* What was committed inside a proposal comes after the actions, as in the driver. */
    while (node->pending_count > 0) {
        struct entry entry = node->pending[0];
        node->pending_count--;
        memmove(node->pending, node->pending + 1, node->pending_count * sizeof(entry));
        step_once(node, &(struct event){.kind = EVENT_COMMITTED, .entry = &entry});
    }
}

static void log_send(void *ctx, uint32_t to, const struct entry *entry)
{
    struct sim_node *node = ctx;
    struct sim_item *item = sim_item_new(ITEM_ENTRY, to);

    item->entry = *entry;
    link_push(node->sim, item, node->index);
}

static void log_committed(void *ctx, const struct entry *entry)
{
    struct sim_node *node = ctx;

    node->pending = realloc(node->pending, (node->pending_count + 1) * sizeof(node->pending[0]));
    assert_non_null(node->pending);
    node->pending[node->pending_count++] = *entry;
}

/* ---- what comes out of the queue ---- */

static void peer_event(struct sim_node *node, enum event_kind kind, uint32_t peer, const char *text)
{
    sim_step(node, &(struct event){.kind = kind, .peer = {.node = peer, .text = text}});
}

static void deliver_link(struct sim_node *node, struct sim_item *item)
{
    struct sim *sim = node->sim;

    if (sim->cut[item->from][node->index] ||
        item->connection != sim->connection[item->from][node->index]) {
        return;
    }
    if (item->kind == ITEM_UP) {
        if (item->from == 0) {
            control_log_restart(&node->log);
        }
        peer_event(node, EVENT_PEER_UP, item->from, "");
        return;
    }
    peer_event(node, EVENT_PEER_HEARD, item->from, "");
    if (item->kind == ITEM_PING) {
        link_push(sim, sim_item_new(ITEM_PONG, item->from), node->index);
    } else if (item->kind == ITEM_MESSAGE) {
        sim_step(node,
                 &(struct event){.kind = EVENT_MESSAGE, .message = {item->from, &item->message}});
    } else if (item->kind == ITEM_ENTRY) {
        control_log_receive(&node->log, item->from, &item->entry);
        sim_step(node, &(struct event){.kind = EVENT_TICK});
    }
}

static void deliver(struct sim *sim, struct sim_item *item)
{
    struct sim_node *node = &sim->nodes[item->node];

    if (!node->alive || node->life != item->life) {
        return;
    }
    switch (item->kind) {
    case ITEM_EVENT:
        if (item->event.kind == EVENT_SUMMED) {
            sim_io_summed(node, &item->event);
        } else if (item->event.kind == EVENT_PLANNED) {
            sim_io_planned(node, &item->event);
        } else {
            sim_step(node, &item->event);
        }
        return;
    case ITEM_TRANSFER:
        if (!sim->cut[item->from][node->index]) {
            sim_io_arrived(node, item);
        }
        return;
    case ITEM_WORKER:
        sim_worker_run(sim, sim->workers[item->worker]);
        return;
    case ITEM_LOST:
        peer_event(node, EVENT_PEER_LOST, item->from, "the connection ended");
        return;
    case ITEM_WORKER_LOST:
        sim_step(node, &item->event);
        return;
    default:
        deliver_link(node, item);
    }
}

/* One thing that happens next, up to @until. False if there is none. */
static bool sim_turn(struct sim *sim, uint64_t until_ns)
{
    uint64_t tick_ns = UINT64_MAX;
    struct sim_node *ticking = NULL;

    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        const uint64_t deadline = node->alive ? engine_deadline_ns(node->engine) : UINT64_MAX;
        if (deadline < tick_ns) {
            tick_ns = deadline;
            ticking = node;
        }
    }
    const uint64_t item_ns = sim->heap_count > 0 ? sim->heap[0]->at_ns : UINT64_MAX;
    const uint64_t next_ns = tick_ns < item_ns ? tick_ns : item_ns;
    if (next_ns > until_ns) {
        return false;
    }
    sim->now_ns = next_ns > sim->now_ns ? next_ns : sim->now_ns;
    if (item_ns <= tick_ns) {
        struct sim_item *item = pop(sim);
        deliver(sim, item);
        item_free(item);
        return true;
    }
    sim_step(ticking, &(struct event){.kind = EVENT_TICK});
    if (engine_deadline_ns(ticking->engine) == tick_ns && tick_ns < sim->now_ns) {
        sim_violate(sim, "node %u does not act on its deadline", ticking->index);
    }
    return true;
}

/* ---- verbs ---- */

static void node_open(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    const struct engine_config config = {.node = index,
                                         .node_count = sim->node_count,
                                         .node_names = node_names,
                                         .join_timeout_ns = SIM_JOIN_MS * SIM_MS,
                                         .step_timeout_ns = SIM_STEP_MS * SIM_MS,
                                         .peer_silence_ns = SIM_SILENCE_MS * SIM_MS,
                                         .ping_interval_ns = SIM_PING_MS * SIM_MS};
    static const struct control_log_ops ops = {log_send, log_committed};

    node->sim = sim;
    node->index = index;
    node->alive = true;
    node->life++;
    assert_int_equal(engine_new(&config, sim->now_ns, &node->engine), 0);
    control_log_init(&node->log, index, sim->node_count, &ops, node);
}

static void node_close(struct sim_node *node)
{
    node->engine = engine_free(node->engine);
    node->alive = false;
    for (uint32_t i = 0; i < node->job_count; i++) {
        sim_io_free(node->jobs[i]);
    }
    node->job_count = 0;
    free(node->pending);
    node->pending = NULL;
    node->pending_count = 0;
}

struct sim *sim_new(uint64_t seed, uint32_t nodes)
{
    struct sim *sim = calloc(1, sizeof(*sim));

    assert_non_null(sim);
    assert_true(nodes >= 1 && nodes <= SIM_NODES_MAX);
    sim->seed = seed;
    sim->random = seed;
    sim->node_count = nodes;
    sim->latency_us = 2000;
    for (uint32_t i = 0; i < nodes; i++) {
        node_open(sim, i);
    }
    for (uint32_t a = 0; a < nodes; a++) {
        for (uint32_t b = a + 1; b < nodes; b++) {
            connect_nodes(sim, a, b);
        }
    }
    return sim;
}

void sim_free(struct sim *sim)
{
    char violation[sizeof(sim->violation)];

    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->nodes[i].alive) {
            node_close(&sim->nodes[i]);
        }
    }
    while (sim->heap_count > 0) {
        item_free(pop(sim));
    }
    for (uint32_t i = 0; i < sim->worker_count; i++) {
        free(sim->workers[i]);
    }
    memcpy(violation, sim->violation, sizeof(violation));
    if (violation[0] != '\0') {
        sim_print_trace(sim);
    }
    free(sim->heap);
    free(sim->trace);
    free(sim);
    if (violation[0] != '\0') {
        fail_msg("%s", violation);
    }
}

const char *sim_violation(const struct sim *sim)
{
    return sim->violation;
}

void sim_start_rank_on(struct sim *sim, const struct sim_script *script, uint32_t rank,
                       uint32_t node)
{
    struct sim_worker *worker = calloc(1, sizeof(*worker));
    struct sim_item *item = sim_item_new(ITEM_WORKER, node);

    assert_non_null(worker);
    assert_true(sim->worker_count < SIM_WORKERS_MAX);
    worker->handle = 100 + sim->worker_count;
    worker->rank = rank;
    worker->node = node;
    worker->script = script;
    item->worker = sim->worker_count;
    sim->workers[sim->worker_count++] = worker;
    if (!sim->nodes[node].alive) {
        free(item);
        sim_worker_end(sim, worker, SIM_DEAD);
        return;
    }
    worker->awake_ns = UINT64_MAX; /* its turn is in the queue */
    sim_push(sim, item, sim_random(sim, script->think_us + 1) * UINT64_C(1000));
}

void sim_start_rank(struct sim *sim, const struct sim_script *script, uint32_t rank)
{
    sim_start_rank_on(sim, script, rank, script->nodes[rank]);
}

void sim_start(struct sim *sim, const struct sim_script *script)
{
    for (uint32_t rank = 0; rank < script->world_size; rank++) {
        sim_start_rank(sim, script, rank);
    }
}

static void end_node(struct sim *sim, uint32_t index)
{
    for (uint32_t i = 0; i < sim->worker_count; i++) {
        struct sim_worker *worker = sim->workers[i];
        if (worker->node == index && worker->outcome.state == SIM_RUNNING) {
            sim_worker_end(sim, worker, SIM_DEAD);
        }
        worker->connected = worker->node == index ? false : worker->connected;
    }
    node_close(&sim->nodes[index]);
}

void sim_vanish(struct sim *sim, uint32_t node)
{
    sim_note(sim, node, "vanishes");
    end_node(sim, node);
}

void sim_kill(struct sim *sim, uint32_t node)
{
    sim_note(sim, node, "is killed");
    end_node(sim, node);
    for (uint32_t peer = 0; peer < sim->node_count; peer++) {
        if (peer != node && sim->nodes[peer].alive && !sim->cut[peer][node]) {
            push_lost(sim, peer, node);
        }
    }
}

void sim_restart(struct sim *sim, uint32_t node)
{
    assert_false(sim->nodes[node].alive);
    sim_note(sim, node, "starts again");
    node_open(sim, node);
    for (uint32_t peer = 0; peer < sim->node_count; peer++) {
        if (peer != node && sim->nodes[peer].alive && !sim->cut[peer][node]) {
            connect_nodes(sim, peer, node);
        }
    }
}

void sim_cut(struct sim *sim, uint32_t a, uint32_t b)
{
    sim_note(sim, a, "is cut off from node %u", b);
    sim->cut[a][b] = true;
    sim->cut[b][a] = true;
}

void sim_heal(struct sim *sim, uint32_t a, uint32_t b)
{
    sim_note(sim, a, "reaches node %u again", b);
    sim->cut[a][b] = false;
    sim->cut[b][a] = false;
    if (sim->nodes[a].alive && sim->nodes[b].alive) {
        push_lost(sim, a, b);
        push_lost(sim, b, a);
        connect_nodes(sim, a, b);
    }
}

void sim_latency(struct sim *sim, uint32_t max_us)
{
    sim->latency_us = max_us;
}

void sim_transfer_lag(struct sim *sim, uint32_t us)
{
    sim->transfer_lag_us = us;
}

static struct sim_worker *last_worker(const struct sim *sim, const char *job, uint32_t rank)
{
    for (uint32_t i = sim->worker_count; i-- > 0;) {
        if (sim->workers[i]->rank == rank && strcmp(sim->workers[i]->script->job, job) == 0) {
            return sim->workers[i];
        }
    }
    fail_msg("job %s has no rank %u", job, rank);
    return NULL;
}

void sim_kill_rank(struct sim *sim, const char *job, uint32_t rank)
{
    struct sim_worker *worker = last_worker(sim, job, rank);

    if (worker->outcome.state == SIM_RUNNING || worker->outcome.state == SIM_HUNG) {
        sim_worker_end(sim, worker, SIM_DEAD);
    }
}

void sim_break_job(struct sim *sim, uint32_t node, const char *job, const struct job_end *end)
{
    sim_feed(
        sim, node,
        &(struct event){.kind = EVENT_JOB_BROKEN, .broken = {sim_job_id(sim, node, job), *end}});
}

void sim_bend_plan(struct sim *sim, uint32_t node)
{
    sim->nodes[node].bend_plan = true;
}

void sim_fail_plan(struct sim *sim, uint32_t node)
{
    sim->nodes[node].fail_plan = true;
}

void sim_feed(struct sim *sim, uint32_t node, struct event *event)
{
    sim_step(&sim->nodes[node], event);
}

void sim_elapse_ms(struct sim *sim, uint32_t ms)
{
    const uint64_t until = sim->now_ns + ms * SIM_MS;

    while (sim_turn(sim, until)) {
    }
    sim->now_ns = until;
}

static bool sim_is_idle(const struct sim *sim)
{
    struct job_view views[2 * ENGINE_JOBS_MAX];

    for (uint32_t i = 0; i < sim->worker_count; i++) {
        if (sim->workers[i]->outcome.state == SIM_RUNNING) {
            return false;
        }
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!sim->nodes[i].alive) {
            continue;
        }
        const uint32_t count = engine_jobs(sim->nodes[i].engine, views, 2 * ENGINE_JOBS_MAX);
        for (uint32_t k = 0; k < count; k++) {
            if (views[k].state == JOB_RUNNING || views[k].state == JOB_FORMING) {
                return false;
            }
        }
    }
    return true;
}

bool sim_run(struct sim *sim)
{
    const uint64_t until = sim->now_ns + 300000 * SIM_MS;

    while (!sim_is_idle(sim)) {
        for (int i = 0; i < 50 && sim->violation[0] == '\0'; i++) {
            if (!sim_turn(sim, until)) {
                return sim_is_idle(sim);
            }
        }
        if (sim->violation[0] != '\0') {
            return false;
        }
    }
    return true;
}

uint64_t sim_now_ns(const struct sim *sim)
{
    return sim->now_ns;
}

struct engine *sim_engine(const struct sim *sim, uint32_t node)
{
    return sim->nodes[node].engine;
}

const struct sim_outcome *sim_outcome(const struct sim *sim, const char *job, uint32_t rank)
{
    return &last_worker(sim, job, rank)->outcome;
}

uint32_t sim_worker(const struct sim *sim, const char *job, uint32_t rank)
{
    return last_worker(sim, job, rank)->handle;
}

uint64_t sim_job_id(const struct sim *sim, uint32_t node, const char *job)
{
    const struct sim_node *at = &sim->nodes[node];

    for (uint32_t i = at->job_count; i-- > 0;) {
        if (strcmp(at->jobs[i]->formed.formed.name, job) == 0) {
            return at->jobs[i]->id;
        }
    }
    return 0;
}
