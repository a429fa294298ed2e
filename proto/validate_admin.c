#include "proto/frame.h"
#include "proto/validate.h"

#include <seqsync/status.h>

/* What an answer may list at most; admin.proto names the first two. */
#define LOSSES_MAX 64
#define CHUNKS_MAX 4096
#define LIST_MAX 4096 /* jobs, problems */

const char *validate_admin_request(const Seqsync__Admin__Request *message)
{
    if (message->protocol != WIRE_PROTOCOL) {
        return NULL; /* what it asks cannot be judged; the port answers it by name */
    }
    if (message->question < SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS ||
        message->question > SEQSYNC__ADMIN__QUESTION__QUESTION_VERSION) {
        return "no such question";
    }
    if (message->question != SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS) {
        return message->job[0] == '\0' ? NULL : "a job is named where none is asked for";
    }
    return frame_name_ok(message->job) ? NULL : "a job's name is 1 .. 63 of [A-Za-z0-9._-]";
}

static bool texts_ok(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!validate_text(texts[i], WIRE_TEXT_MAX)) {
            return false;
        }
    }
    return true;
}

static bool job_ok(const Seqsync__Admin__Job *job)
{
    const char *const texts[] = {job->name, job->state, job->reason};

    return texts_ok(texts, sizeof(texts) / sizeof(texts[0])) && job->n_losses <= LOSSES_MAX &&
           job->world_size <= SEQSYNC_RANKS_MAX && job->node_count <= SEQSYNC_NODES_MAX;
}

static bool jobs_ok(const Seqsync__Admin__Answer *message)
{
    for (size_t i = 0; i < message->n_jobs; i++) {
        if (!job_ok(message->jobs[i])) {
            return false;
        }
    }
    return message->n_jobs <= LIST_MAX;
}

static bool nodes_ok(const Seqsync__Admin__Answer *message)
{
    for (size_t i = 0; i < message->n_nodes; i++) {
        const Seqsync__Admin__Node *node = message->nodes[i];
        const char *const texts[] = {node->name,    node->state,  node->role,
                                     node->version, node->reason, node->endpoint};
        if (!texts_ok(texts, sizeof(texts) / sizeof(texts[0]))) {
            return false;
        }
    }
    return message->n_nodes <= SEQSYNC_NODES_MAX;
}

static bool range_ok(const Seqsync__Admin__Range *range)
{
    return range->sequence < SEQSYNC_SEQUENCES_MAX && range->first >= 0 && range->count >= 1 &&
           range->position >= 0 && range->first <= SEQSYNC_TOKENS_MAX &&
           range->count <= SEQSYNC_TOKENS_MAX - range->first &&
           range->position <= SEQSYNC_TOKENS_MAX;
}

static bool shard_ok(const Seqsync__Admin__Shard *shard)
{
    const char *const texts[] = {shard->node_name, shard->phase};

    if (!texts_ok(texts, sizeof(texts) / sizeof(texts[0])) || shard->rank >= SEQSYNC_RANKS_MAX ||
        shard->node >= SEQSYNC_NODES_MAX || shard->tokens < 0 || shard->area < 0 ||
        shard->n_chunks > CHUNKS_MAX || shard->n_cells > SEQSYNC_RANKS_MAX) {
        return false;
    }
    for (size_t i = 0; i < shard->n_chunks; i++) {
        if (!range_ok(shard->chunks[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < shard->n_cells; i++) {
        const Seqsync__Admin__Cell *cell = shard->cells[i];
        if (cell->source >= SEQSYNC_RANKS_MAX || cell->area < 0 || cell->need_rows < 0) {
            return false;
        }
    }
    return true;
}

static bool shards_ok(const Seqsync__Admin__Shards *shards)
{
    if (shards->job == NULL || !job_ok(shards->job) || shards->n_shards > SEQSYNC_RANKS_MAX) {
        return false;
    }
    for (size_t i = 0; i < shards->n_shards; i++) {
        if (!shard_ok(shards->shards[i])) {
            return false;
        }
    }
    return true;
}

static bool status_ok(const Seqsync__Admin__Status *status)
{
    const char *const texts[] = {status->node, status->version, status->health, status->conductor};

    return texts_ok(texts, sizeof(texts) / sizeof(texts[0])) && status->n_problems <= LIST_MAX &&
           texts_ok((const char *const *)status->problems, status->n_problems);
}

static bool error_ok(const Seqsync__Admin__Error *error)
{
    const char *const texts[] = {error->text, error->hint};

    return texts_ok(texts, sizeof(texts) / sizeof(texts[0])) && error->code <= 0 &&
           error->code >= SEQSYNC_STATUS_LAST;
}

const char *validate_admin_answer(const Seqsync__Admin__Answer *message)
{
    if (message->protocol != WIRE_PROTOCOL) {
        return NULL; /* nothing in it is looked at but that */
    }
    if (message->error != NULL && !error_ok(message->error)) {
        return "an error's code or text is out of its limits";
    }
    if (message->status != NULL && !status_ok(message->status)) {
        return "a status' texts are out of their limits";
    }
    if (!validate_text(message->version, VALIDATE_VERSION_MAX)) {
        return "the version is no text";
    }
    if (!nodes_ok(message)) {
        return "the nodes are out of their limits";
    }
    if (!jobs_ok(message)) {
        return "the jobs are out of their limits";
    }
    return message->shards == NULL || shards_ok(message->shards) ? NULL
                                                                 : "shards out of their limits";
}
