#include "proto/frame.h"
#include "proto/validate.h"

#include <seqsync/status.h>

const char *validate_admin_request(const Seqsync__Admin__Request *message)
{
    if (message->question < SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS ||
        message->question > SEQSYNC__ADMIN__QUESTION__QUESTION_VERSION) {
        return "no such question";
    }
    const bool names = message->question == SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS;
    if (names ? !frame_name_ok(message->job) : message->job[0] != '\0') {
        return names ? "the job's name is none" : "a job is named where none is asked for";
    }
    return NULL;
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

    return texts_ok(texts, 3) && job->n_losses <= 4096;
}

static bool node_ok(const Seqsync__Admin__Node *node)
{
    const char *const texts[] = {node->name,    node->state,  node->role,
                                 node->version, node->reason, node->endpoint};

    return texts_ok(texts, 6);
}

static bool shards_ok(const Seqsync__Admin__Shards *shards)
{
    if (shards->job == NULL || !job_ok(shards->job) || shards->n_shards > SEQSYNC_RANKS_MAX) {
        return false;
    }
    for (size_t i = 0; i < shards->n_shards; i++) {
        const char *const texts[] = {shards->shards[i]->node_name, shards->shards[i]->phase};
        if (!texts_ok(texts, 2) || shards->shards[i]->rank >= SEQSYNC_RANKS_MAX) {
            return false;
        }
    }
    return true;
}

static bool status_ok(const Seqsync__Admin__Status *status)
{
    const char *const texts[] = {status->node, status->version, status->health, status->conductor};

    return texts_ok(texts, 4) &&
           texts_ok((const char *const *)status->problems, status->n_problems);
}

const char *validate_admin_answer(const Seqsync__Admin__Answer *message)
{
    if (message->error != NULL && (!validate_text(message->error->text, WIRE_TEXT_MAX) ||
                                   !validate_text(message->error->hint, WIRE_TEXT_MAX))) {
        return "an error without a text";
    }
    if ((message->status != NULL && !status_ok(message->status)) ||
        !validate_text(message->version, 64)) {
        return "a status without texts";
    }
    for (size_t i = 0; i < message->n_nodes; i++) {
        if (!node_ok(message->nodes[i])) {
            return "a node without texts";
        }
    }
    for (size_t i = 0; i < message->n_jobs; i++) {
        if (!job_ok(message->jobs[i])) {
            return "a job without texts";
        }
    }
    return message->shards == NULL || shards_ok(message->shards) ? NULL
                                                                 : "shards out of their limits";
}
