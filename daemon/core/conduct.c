#include "daemon/core/conduct.h"

#include "daemon/base/err.h"
#include "daemon/core/allreduce.h"
#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdlib.h>

/* What each kind of gather is called when a peer breaks its rules. */
static const char *const kind_names[GATHER_KINDS_N] = {
    [GATHER_REGISTER] = "registration", [GATHER_BATCH] = "batch",   [GATHER_PLAN] = "plan",
    [GATHER_REDUCE] = "collective",     [GATHER_COMMIT] = "commit", [GATHER_LEAVE] = "good-bye",
};

int conduct_new(const struct engine_job *job, struct conduct **ret)
{
    struct conduct *conduct = calloc(1, sizeof(*conduct));
    const size_t size = job->world_size > SEQSYNC_NODES_MAX ? job->world_size : SEQSYNC_NODES_MAX;
    struct rank_set ranks, nodes;

    if (conduct == NULL) {
        return err_origin(-ENOMEM);
    }
    conduct->digests = calloc(size * GATHER_KINDS_N, sizeof(uint64_t));
    /* Not cleared: only the pages that collectives really use are ever touched. */
    conduct->values = malloc((size_t)job->world_size * ALLREDUCE_BYTES_MAX);
    conduct->result = malloc(ALLREDUCE_BYTES_MAX);
    conduct->reports = calloc(job->world_size, sizeof(struct rank_report));
    conduct->used = calloc(job->world_size, sizeof(uint64_t));
    if (conduct->digests == NULL || conduct->values == NULL || conduct->result == NULL ||
        conduct->reports == NULL || conduct->used == NULL) {
        conduct_free(conduct);
        return err_origin(-ENOMEM);
    }
    rank_set_clear(&ranks);
    rank_set_clear(&nodes);
    for (uint32_t rank = 0; rank < job->world_size; rank++) {
        rank_set_add(&ranks, rank);
        rank_set_add(&nodes, job->rank_nodes[rank]);
    }
    for (uint32_t kind = GATHER_REGISTER; kind < GATHER_KINDS_N; kind++) {
        gather_init(&conduct->gathers[kind], (enum gather_kind)kind,
                    kind == GATHER_PLAN ? &nodes : &ranks, conduct->digests + kind * size);
    }
    *ret = conduct;
    return 0;
}

struct conduct *conduct_free(struct conduct *conduct)
{
    if (conduct != NULL) {
        free(conduct->digests);
        free(conduct->values);
        free(conduct->result);
        free(conduct->reports);
        free(conduct->used);
        free(conduct);
    }
    return NULL;
}

void conduct_end(struct engine *engine, struct engine_job *job, const struct job_end *end)
{
    if (job->conduct->ending) {
        engine_drop(engine, "another end of a job that is ending");
        return;
    }
    job->conduct->ending = true;
    struct entry *entry = outbox_entry(&engine->out, ENTRY_JOB_ENDED);
    entry->job = job->id;
    entry->generation = job->generation;
    entry->ended = *end;
}

/* ---- taking in ---- */

/* Whether @node may speak for the member. */
static bool speaks_for(const struct engine_job *job, uint32_t node,
                       const struct message_gather *message)
{
    if (message->kind == GATHER_PLAN) {
        return message->member == node && (job->nodes >> node & 1) != 0;
    }
    return message->member < job->world_size && job->rank_nodes[message->member] == node;
}

static void fail_gather(struct engine *engine, struct engine_job *job, uint32_t node,
                        const struct message_gather *message, const char *what)
{
    struct job_end end;

    fail_node(&end, &job->roster, node, SEQSYNC_ERR_PROTOCOL, "sent %s %llu of member %u %s",
              kind_names[message->kind], (unsigned long long)message->sequence, message->member,
              what);
    engine_job_fail(engine, job, &end);
}

/* A rank that has left cannot take part any more: whoever waits for it must know at once. */
static bool left_is_missed(struct engine *engine, struct engine_job *job)
{
    struct conduct *conduct = job->conduct;
    const uint32_t gone = rank_set_next(&conduct->left, 0);
    struct job_end end;

    if (gone == RANK_SET_END) {
        return false;
    }
    for (uint32_t kind = GATHER_REGISTER; kind < GATHER_LEAVE; kind++) {
        if (conduct->gathers[kind].arrived_count > 0) {
            fail_worker_left(&end, &job->roster, gone, "while others go on");
            engine_job_fail(engine, job, &end);
            return true;
        }
    }
    return false;
}

/* Keeps what comes beside the digest. False if it does not have the right size. */
static bool keep_payload(struct engine_job *job, const struct message_gather *message)
{
    struct conduct *conduct = job->conduct;
    const struct gather *gather = &conduct->gathers[message->kind];

    switch (message->kind) {
    case GATHER_REDUCE:
        if (!allreduce_is_legal(message->dtype, message->op, message->payload_bytes)) {
            return false;
        }
        if (gather->arrived_count == 0) {
            conduct->dtype = message->dtype;
            conduct->op = message->op;
            conduct->bytes = message->payload_bytes;
        }
        if (message->payload_bytes > 0) {
            memcpy(conduct->values + (size_t)message->member * ALLREDUCE_BYTES_MAX,
                   message->payload, message->payload_bytes);
        }
        return true;
    case GATHER_COMMIT:
        if (message->payload_bytes != sizeof(struct rank_report)) {
            return false;
        }
        memcpy(&conduct->reports[message->member], message->payload, sizeof(struct rank_report));
        conduct->used[message->member] = conduct->reports[message->member].used;
        return true;
    default:
        return message->payload_bytes == 0;
    }
}

static void conduct_agree(struct engine *engine, struct engine_job *job, struct gather *gather);

/* The member is one of the sender's, the job goes on. */
static void take_in(struct engine *engine, struct engine_job *job, uint32_t node,
                    const struct message_gather *message)
{
    struct conduct *conduct = job->conduct;
    struct gather *gather = &conduct->gathers[message->kind];
    const uint64_t digest =
        message->kind == GATHER_REDUCE
            ? allreduce_digest(message->dtype, message->op, message->payload_bytes)
            : message->digest;

    if (message->sequence != gather->sequence || rank_set_has(&gather->arrived, message->member)) {
        fail_gather(engine, job, node, message, "out of order");
        return;
    }
    if (!keep_payload(job, message)) {
        fail_gather(engine, job, node, message, "of a wrong size");
        return;
    }
    const int r = gather_add(gather, message->sequence, message->member, digest, message->skip);
    assert(r == 0);
    if (message->kind == GATHER_LEAVE) {
        rank_set_add(&conduct->left, message->member);
    } else if (gather->deadline_ns == UINT64_MAX) {
        gather->deadline_ns =
            engine_after(engine->now_ns, engine->config.step_timeout_ns + engine_grace_ns(engine));
    }
    if (!left_is_missed(engine, job) && gather_is_complete(gather)) {
        conduct_agree(engine, job, gather);
    }
}

void conduct_gather(struct engine *engine, struct engine_job *job, uint32_t node,
                    const struct message_gather *message)
{
    if (job->conduct == NULL || job->conduct->ending || !engine_job_is_live(job)) {
        engine_drop(engine, "a gather of a job that is ending");
    } else if (message->kind < GATHER_REGISTER || message->kind >= GATHER_KINDS_N ||
               !speaks_for(job, node, message)) {
        engine_drop(engine, "a gather for a member of another node");
    } else {
        take_in(engine, job, node, message);
    }
}

/* ---- agreeing ---- */

/*
 * Fails the job if some ranks used an exchange or a bucket that others did not. Ranks of one node
 * cannot differ, since it is prepared; and when the data of one node reach another is a matter of
 * luck: too late, and nobody would miss it there.
 */
static bool uses_differ(struct engine *engine, struct engine_job *job, const struct gather *gather)
{
    struct gather uses = *gather;
    struct rank_set odd, others;
    struct job_end end;

    uses.digests = job->conduct->used;
    if (!gather_differs(&uses, /* ignore_zero= */ false, &odd, &others)) {
        return false;
    }
    fail_uses_differ(&end, &job->roster, gather->sequence, &odd, &others);
    engine_job_fail(engine, job, &end);
    return true;
}

/* Fails the job if members differ. */
static bool members_differ(struct engine *engine, struct engine_job *job,
                           const struct gather *gather)
{
    struct rank_set odd, others;
    struct job_end end;

    if (!gather_differs(gather, /* ignore_zero= */ gather->kind == GATHER_COMMIT, &odd, &others)) {
        return false;
    }
    if (gather->kind == GATHER_PLAN) {
        fail_nodes_differ(&end, &job->roster, gather->sequence, &odd, &others);
    } else {
        fail_differ(&end, &job->roster, gather->kind, gather->sequence, &odd, &others);
    }
    engine_job_fail(engine, job, &end);
    return true;
}

/* Fills in what goes with the agreement. False if the job fails instead. */
static bool agreed_payload(struct engine *engine, struct engine_job *job,
                           const struct gather *gather, struct message_agreed *ret)
{
    struct conduct *conduct = job->conduct;
    struct job_end end;

    if (gather->kind == GATHER_COMMIT) {
        ret->payload = conduct->reports;
        ret->payload_bytes = job->world_size * (uint32_t)sizeof(struct rank_report);
    } else if (gather->kind == GATHER_REDUCE && conduct->bytes > 0) {
        if (allreduce_compute(conduct->values, job->world_size, conduct->dtype, conduct->op,
                              conduct->bytes, conduct->result) != 0) {
            fail_overflow(&end, gather->sequence, "collective");
            engine_job_fail(engine, job, &end);
            return false;
        }
        ret->payload = conduct->result;
        ret->payload_bytes = conduct->bytes;
    }
    return true;
}

/* What must come next is waited for from now on. */
static void conduct_await(struct engine *engine, struct conduct *conduct, enum gather_kind agreed)
{
    const uint64_t deadline =
        engine_after(engine->now_ns, engine->config.step_timeout_ns + engine_grace_ns(engine));

    if (agreed == GATHER_BATCH) {
        conduct->gathers[GATHER_PLAN].deadline_ns = deadline;
    } else if (agreed == GATHER_PLAN) {
        conduct->gathers[GATHER_COMMIT].deadline_ns = deadline;
    }
}

/* All have come: compares, and tells every node of the job. */
static void conduct_agree(struct engine *engine, struct engine_job *job, struct gather *gather)
{
    struct job_end end;

    if (gather->kind == GATHER_LEAVE) {
        fail_left(&end, job->name);
        conduct_end(engine, job, &end);
        return;
    }
    /* Uses first: who skips a call ends up with other parameters, too. */
    if ((gather->kind == GATHER_COMMIT && uses_differ(engine, job, gather)) ||
        members_differ(engine, job, gather)) {
        return;
    }
    struct message *message = outbox_message(&engine->out, MESSAGE_AGREED);
    message->job = job->id;
    message->generation = job->generation;
    message->agreed =
        (struct message_agreed){.kind = gather->kind,
                                .sequence = gather->sequence,
                                .digest = gather->digests[rank_set_next(&gather->members, 0)],
                                .skip = gather->skip};
    if (!agreed_payload(engine, job, gather, &message->agreed)) {
        return;
    }
    gather_next(gather);
    conduct_await(engine, job->conduct, gather->kind);
    for (uint32_t node = 0; node < engine->config.node_count; node++) {
        if ((job->members.peers >> node & 1) != 0) {
            outbox_send(&engine->out, node, message);
        }
    }
    engine_job_agreed(engine, job, &message->agreed);
}

/* ---- deadlines ---- */

uint64_t conduct_deadline_ns(const struct conduct *conduct)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t kind = GATHER_REGISTER; kind < GATHER_KINDS_N && !conduct->ending; kind++) {
        deadline = engine_earlier(deadline, conduct->gathers[kind].deadline_ns);
    }
    return deadline;
}

void conduct_tick(struct engine *engine, struct engine_job *job)
{
    struct conduct *conduct = job->conduct;
    char last[MESSAGE_TEXT_MAX / 2] = "";
    struct rank_set missing;
    struct job_end end;

    for (uint32_t kind = GATHER_REGISTER; kind < GATHER_KINDS_N; kind++) {
        const struct gather *gather = &conduct->gathers[kind];
        if (conduct->ending || engine->now_ns < gather->deadline_ns) {
            continue;
        }
        gather_missing(gather, &missing);
        if (kind != GATHER_PLAN) {
            engine_job_last(job, &missing, last, sizeof(last));
        }
        fail_missing(&end, &job->roster, gather->kind, gather->sequence, &missing,
                     engine->config.step_timeout_ns, last);
        engine_job_fail(engine, job, &end);
    }
}
