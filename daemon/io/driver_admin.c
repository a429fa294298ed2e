/* Answers for seqctl, made from what the engine and the jobs know at this moment. A question
 * changes nothing. */
#include "daemon/io/driver_private.h"

#include <math.h>
#include <seqsync/status.h>
#include <seqsync/version.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_CHUNKS_MAX 4096 /* ranges told of one rank */
#define ANSWER_CELLS_MAX 1024
#define ANSWER_JOBS_MAX (ENGINE_JOBS_MAX * 2)

/* Memory of one answer: a list of blocks, freed when the next question comes. */
struct driver_answer {
    struct driver_answer *next;
    uint64_t data[];
};

static void *answer_take(struct driver *driver, size_t bytes)
{
    struct driver_answer *block = calloc(1, sizeof(*block) + bytes + 8);

    if (block == NULL) {
        return NULL;
    }
    block->next = driver->answer;
    driver->answer = block;
    return block->data;
}

void driver_admin_close(struct driver *driver)
{
    while (driver->answer != NULL) {
        struct driver_answer *block = driver->answer;
        driver->answer = block->next;
        free(block);
    }
}

/* "" if there is no memory: a question must not end the daemon. */
static char *answer_text(struct driver *driver, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static char *answer_text(struct driver *driver, const char *format, ...)
{
    char *text = answer_take(driver, MESSAGE_TEXT_MAX);
    va_list args;

    if (text == NULL) {
        return (char *)(uintptr_t)protobuf_c_empty_string;
    }
    va_start(args, format);
    vsnprintf(text, MESSAGE_TEXT_MAX, format, args);
    va_end(args);
    return text;
}

static void answer_error(struct driver *driver, Seqsync__Admin__Answer *answer, int32_t code,
                         const char *text, const char *hint)
{
    Seqsync__Admin__Error *error = answer_take(driver, sizeof(*error));

    if (error == NULL) {
        return;
    }
    seqsync__admin__error__init(error);
    error->code = code;
    error->text = answer_text(driver, "%s", text);
    error->hint = answer_text(driver, "%s", hint);
    answer->error = error;
}

/* ---- jobs ---- */

static const char *job_state_text(enum job_state state)
{
    static const char *const texts[] = {"", "forming", "running", "failed", "ended"};

    return texts[state];
}

/* max / mean of the compute times that the ranks reported; 0 = none reported. */
static double job_imbalance(const struct job_view *view)
{
    double sum = 0, max = 0;

    for (uint32_t rank = 0; rank < view->rank_count; rank++) {
        const double ns = (double)view->ranks[rank].report.compute_ns;
        sum += ns;
        max = ns > max ? ns : max;
    }
    return sum > 0 ? max / (sum / view->rank_count) : 0;
}

static uint32_t job_nodes(const struct job_view *view)
{
    bool seen[SEQSYNC_NODES_MAX] = {false};
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < view->rank_count; rank++) {
        if (view->ranks[rank].joined && !seen[view->ranks[rank].node]) {
            seen[view->ranks[rank].node] = true;
            count++;
        }
    }
    return count;
}

static Seqsync__Admin__Job *answer_job(struct driver *driver, const struct job_view *view)
{
    Seqsync__Admin__Job *job = answer_take(driver, sizeof(*job));

    if (job == NULL) {
        return NULL;
    }
    seqsync__admin__job__init(job);
    job->id = view->id;
    job->generation = view->generation;
    job->name = answer_text(driver, "%s", view->name);
    job->state = answer_text(driver, "%s", job_state_text(view->state));
    job->step = view->step;
    job->world_size = view->world_size;
    job->node_count = job_nodes(view);
    job->tokens = (uint64_t)view->total_tokens;
    job->loss = view->loss_count > 0 ? view->losses[view->loss_count - 1] : NAN;
    job->losses = answer_take(driver, view->loss_count * sizeof(double));
    if (job->losses != NULL) {
        memcpy(job->losses, view->losses, view->loss_count * sizeof(double));
        job->n_losses = view->loss_count;
    }
    job->imbalance = job_imbalance(view);
    job->step_seconds = (double)view->step_ns * 1e-9;
    job->tokens_per_second = view->step_ns > 0 ? (double)view->total_tokens / job->step_seconds : 0;
    job->reason = answer_text(driver, "%s", view->end != NULL ? view->end->text : "");
    return job;
}

static void answer_jobs(struct driver *driver, Seqsync__Admin__Answer *answer)
{
    struct job_view views[ANSWER_JOBS_MAX];
    const uint32_t count = engine_jobs(driver->engine, views, ANSWER_JOBS_MAX);

    answer->jobs = answer_take(driver, count * sizeof(*answer->jobs));
    for (uint32_t i = 0; i < count && answer->jobs != NULL; i++) {
        Seqsync__Admin__Job *job = answer_job(driver, &views[i]);
        if (job != NULL) {
            answer->jobs[answer->n_jobs++] = job;
        }
    }
}

/* ---- nodes ---- */

static Seqsync__Admin__Node *answer_node(struct driver *driver, uint32_t node)
{
    Seqsync__Admin__Node *to = answer_take(driver, sizeof(*to));
    const bool self = node == driver->node;
    struct peer_view peer = {.up = true, .silent_ns = 0, .reason = ""};
    struct job_view views[ANSWER_JOBS_MAX];

    if (to == NULL) {
        return NULL;
    }
    if (!self) {
        engine_peer(driver->engine, node, &peer);
    }
    seqsync__admin__node__init(to);
    to->name = answer_text(driver, "%s", driver->names[node]);
    to->state = answer_text(driver, "%s", peer.up ? "up" : "down");
    to->role = answer_text(driver, "%s", node == 0 ? "conductor" : "-");
    to->self = self;
    to->endpoint = answer_text(driver, "%s", driver->endpoints[node]);
    to->silent_ns = peer.silent_ns;
    to->arena_bytes = self ? driver->quota.used_bytes : 0;
    to->arena_limit_bytes = self ? driver->quota.limit_bytes : 0;
    to->version = answer_text(
        driver, "%s", self ? SEQSYNC_VERSION_STRING : peer_port_version(driver->peer_port, node));
    to->rtt_ns = self ? 0 : peer_port_rtt_ns(driver->peer_port, node);
    const char *why = self || peer.up ? "" : peer_port_reason(driver->peer_port, node);
    to->reason = answer_text(driver, "%s", why[0] != '\0' ? why : peer.reason);
    const uint32_t count = engine_jobs(driver->engine, views, ANSWER_JOBS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t rank = 0; views[i].state == JOB_RUNNING && rank < views[i].rank_count;
             rank++) {
            const struct rank_view *from = &views[i].ranks[rank];
            to->workers += from->node == node;
            to->tokens += from->node == node ? (uint64_t)from->report.tokens : 0;
        }
    }
    return to;
}

static void answer_nodes(struct driver *driver, Seqsync__Admin__Answer *answer)
{
    answer->nodes = answer_take(driver, driver->node_count * sizeof(*answer->nodes));
    for (uint32_t node = 0; node < driver->node_count && answer->nodes != NULL; node++) {
        Seqsync__Admin__Node *to = answer_node(driver, node);
        if (to != NULL) {
            answer->nodes[answer->n_nodes++] = to;
        }
    }
}

/* ---- shards ---- */

static void shard_chunks(struct driver *driver, const struct plan_part *part,
                         Seqsync__Admin__Shard *to)
{
    const uint32_t count =
        part->chunk_count < ANSWER_CHUNKS_MAX ? part->chunk_count : ANSWER_CHUNKS_MAX;
    Seqsync__Admin__Range *ranges = answer_take(driver, count * sizeof(*ranges));

    to->chunk_count = part->chunk_count;
    to->chunks = answer_take(driver, count * sizeof(*to->chunks));
    for (uint32_t i = 0; i < count && ranges != NULL && to->chunks != NULL; i++) {
        seqsync__admin__range__init(&ranges[i]);
        ranges[i].sequence = part->chunks[i].sequence;
        ranges[i].first = part->chunks[i].first;
        ranges[i].count = part->chunks[i].count;
        ranges[i].position = part->chunks[i].position;
        to->chunks[to->n_chunks++] = &ranges[i];
    }
}

/* Seen pairs of a tile: its rectangle cut by its band, row by row of the shorter kind of loop. */
static int64_t tile_area(const struct seqsync_tile *tile)
{
    int64_t area = 0;

    if (tile->band_low == SEQSYNC_BAND_NONE_LOW && tile->band_high == SEQSYNC_BAND_NONE_HIGH) {
        return tile->q_count * tile->k_count;
    }
    for (int64_t q = tile->q_first; q < tile->q_first + tile->q_count; q++) {
        const int64_t k_end = tile->k_first + tile->k_count - 1;
        const int64_t low =
            tile->band_low == SEQSYNC_BAND_NONE_LOW || q + tile->band_low < tile->k_first
                ? tile->k_first
                : q + tile->band_low;
        const int64_t high =
            tile->band_high == SEQSYNC_BAND_NONE_HIGH || q + tile->band_high > k_end
                ? k_end
                : q + tile->band_high;
        area += high >= low ? high - low + 1 : 0;
    }
    return area;
}

static void shard_cells(struct driver *driver, const struct plan_part *part,
                        Seqsync__Admin__Shard *to)
{
    const uint32_t count =
        part->source_count < ANSWER_CELLS_MAX ? part->source_count : ANSWER_CELLS_MAX;
    Seqsync__Admin__Cell *cells = answer_take(driver, count * sizeof(*cells));

    to->cells = answer_take(driver, count * sizeof(*to->cells));
    if (cells == NULL || to->cells == NULL) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        seqsync__admin__cell__init(&cells[i]);
        cells[i].source = part->sources[i].rank;
        cells[i].need_rows = part->sources[i].return_rows;
        to->cells[to->n_cells++] = &cells[i];
    }
    for (uint32_t t = 0; t < part->tile_count; t++) {
        if (part->tiles[t].source < count) {
            cells[part->tiles[t].source].area += tile_area(&part->tiles[t]);
        }
    }
}

static void shard_bytes(const struct job *job, uint32_t rank, Seqsync__Admin__Shard *to)
{
    for (uint32_t e = 0; e < job->schema.exchange_count; e++) {
        const struct plan_part *part = &job->plan->spaces[job->exchanges[e].space].parts[rank];
        const uint64_t row_bytes = 2 * (uint64_t)job_row_bytes(job, e);
        for (uint32_t i = 0; i < part->source_count; i++) {
            const uint64_t bytes = (uint64_t)part->sources[i].return_rows * row_bytes;
            to->need_bytes += bytes;
            to->need_remote_bytes += part->sources[i].local ? 0 : bytes;
            to->return_bytes += job->exchanges[e].forward_only ? 0 : bytes;
        }
    }
}

static Seqsync__Admin__Shard *answer_shard(struct driver *driver, const struct job *job,
                                           const struct job_view *view, uint32_t rank)
{
    const struct plan_part *part = &job->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[rank];
    const struct rank_view *from = &view->ranks[rank];
    Seqsync__Admin__Shard *to = answer_take(driver, sizeof(*to));

    if (to == NULL) {
        return NULL;
    }
    seqsync__admin__shard__init(to);
    to->rank = rank;
    to->node = from->node;
    to->node_name = answer_text(driver, "%s", driver->names[from->node]);
    to->pid = from->pid;
    to->tokens = part->rows;
    to->area = part->area;
    to->tile_count = part->tile_count;
    to->compute_seconds = (double)from->report.compute_ns * 1e-9;
    to->wait_seconds = (double)from->report.wait_ns * 1e-9;
    to->phase = answer_text(driver, "%s", from->phase);
    shard_chunks(driver, part, to);
    shard_cells(driver, part, to);
    shard_bytes(job, rank, to);
    return to;
}

static void answer_shards(struct driver *driver, const char *name, Seqsync__Admin__Answer *answer)
{
    struct job_view views[ANSWER_JOBS_MAX];
    const uint32_t count = engine_jobs(driver->engine, views, ANSWER_JOBS_MAX);
    const struct job_view *view = NULL;

    for (uint32_t i = 0; i < count && view == NULL; i++) {
        view = strcmp(views[i].name, name) == 0 ? &views[i] : NULL;
    }
    if (view == NULL) {
        answer_error(driver, answer, SEQSYNC_ERR_INVALID, "this node knows no job of that name",
                     "seqctl jobs");
        return;
    }
    const struct job *job = driver_job(driver, view->id);
    if (job == NULL || !job->planned) {
        answer_error(driver, answer, SEQSYNC_ERR_INVALID, "the job has no plan on this node",
                     "ask a node that has ranks of it, after its first step began: seqctl nodes");
        return;
    }
    Seqsync__Admin__Shards *shards = answer_take(driver, sizeof(*shards));
    if (shards == NULL) {
        return;
    }
    seqsync__admin__shards__init(shards);
    shards->job = answer_job(driver, view);
    shards->kv_planned_bytes = job->kv_planned_bytes;
    shards->kv_moved_bytes = job->kv_moved_bytes;
    shards->sequence_count = job->plan->sequence_count;
    shards->shards = answer_take(driver, view->rank_count * sizeof(*shards->shards));
    for (uint32_t rank = 0; rank < view->rank_count && shards->shards != NULL; rank++) {
        Seqsync__Admin__Shard *shard = answer_shard(driver, job, view, rank);
        if (shard != NULL) {
            shards->shards[shards->n_shards++] = shard;
        }
    }
    answer->shards = shards;
}

/* ---- status ---- */

static void status_add_problem(struct driver *driver, Seqsync__Admin__Status *status, char *text)
{
    if (status->problems == NULL) {
        status->problems =
            answer_take(driver, (SEQSYNC_NODES_MAX + ANSWER_JOBS_MAX) * sizeof(char *));
    }
    if (status->problems != NULL && status->n_problems < SEQSYNC_NODES_MAX + ANSWER_JOBS_MAX) {
        status->problems[status->n_problems++] = text;
    }
}

static void status_peers(struct driver *driver, Seqsync__Admin__Status *status)
{
    for (uint32_t node = 0; node < driver->node_count; node++) {
        struct peer_view peer = {.up = true};
        if (node != driver->node) {
            engine_peer(driver->engine, node, &peer);
        }
        status->nodes_up += peer.up;
        status->nodes_down += !peer.up;
        if (!peer.up) {
            const char *why = peer_port_reason(driver->peer_port, node);
            status_add_problem(driver, status,
                               answer_text(driver, "PEER_DOWN %s is down: %s", driver->names[node],
                                           why[0] != '\0' ? why : peer.reason));
        }
    }
}

static void status_jobs(struct driver *driver, Seqsync__Admin__Status *status)
{
    struct job_view views[ANSWER_JOBS_MAX];
    const uint32_t count = engine_jobs(driver->engine, views, ANSWER_JOBS_MAX);

    for (uint32_t i = 0; i < count; i++) {
        status->jobs_running += views[i].state == JOB_RUNNING;
        status->jobs_forming += views[i].state == JOB_FORMING;
    }
}

static void answer_status(struct driver *driver, Seqsync__Admin__Answer *answer)
{
    Seqsync__Admin__Status *status = answer_take(driver, sizeof(*status));
    struct bulk_counters bulk;
    struct peer_port_counters peers;
    struct worker_port_counters workers;

    if (status == NULL) {
        return;
    }
    seqsync__admin__status__init(status);
    bulk_counters(driver->bulk, &bulk);
    peer_port_counters(driver->peer_port, &peers);
    worker_port_counters(driver->worker_port, &workers);
    status->node = answer_text(driver, "%s", driver->names[driver->node]);
    status->version = answer_text(driver, "%s", SEQSYNC_VERSION_STRING);
    status->uptime_ns = driver_now(driver) - driver->started_ns;
    status_peers(driver, status);
    status_jobs(driver, status);
    status->workers = workers.workers;
    status->arena_bytes = driver->quota.used_bytes;
    status->arena_limit_bytes = driver->quota.limit_bytes;
    status->bulk_sent_bytes = bulk.sent_bytes;
    status->bulk_received_bytes = bulk.received_bytes;
    status->reduced_bytes = driver->host.reduced_bytes;
    status->conductor = answer_text(driver, "%s", driver->names[0]);
    status->rejected_frames = bulk.rejected_frames + peers.rejected + workers.violations;
    status->checksum_errors = bulk.checksum_errors;
    status->loop_rescues = peers.rescues;
    if (bulk.checksum_errors > 0) {
        status_add_problem(driver, status,
                           answer_text(driver, "CHECKSUM %llu bulk frames were damaged on the way",
                                       (unsigned long long)bulk.checksum_errors));
    }
    status->health = answer_text(driver, "%s", status->n_problems > 0 ? "warn" : "ok");
    answer->status = status;
}

static void admin_on_request(void *ctx, const Seqsync__Admin__Request *request,
                             Seqsync__Admin__Answer *answer)
{
    struct driver *driver = ctx;

    driver_admin_close(driver);
    answer->version = answer_text(driver, "%s", SEQSYNC_VERSION_STRING);
    switch (request->question) {
    case SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS:
        answer_status(driver, answer);
        return;
    case SEQSYNC__ADMIN__QUESTION__QUESTION_NODES:
        answer_nodes(driver, answer);
        return;
    case SEQSYNC__ADMIN__QUESTION__QUESTION_JOBS:
        answer_jobs(driver, answer);
        return;
    case SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS:
        answer_shards(driver, request->job, answer);
        return;
    default:
        return; /* the version is in every answer */
    }
}

const struct admin_port_ops driver_admin_ops = {.on_request = admin_on_request};
