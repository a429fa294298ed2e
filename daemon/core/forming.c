#include "daemon/core/forming.h"

#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

#include <stdio.h>
#include <stdlib.h>

static struct forming *forming_find(struct engine *engine, const char *name)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct forming *forming = &engine->formings.items[i];
        if (forming->used && strcmp(forming->name, name) == 0) {
            return forming;
        }
    }
    return NULL;
}

static void forming_free(struct forming *forming)
{
    free(forming->views);
    *forming = (struct forming){.used = false};
}

/* Tells a node that one of its joins is refused. */
static void refuse(struct engine *engine, uint32_t node, uint64_t ticket, const struct job_end *end)
{
    if (node == engine->config.node) {
        join_refuse_ticket(engine, ticket, end);
        return;
    }
    struct message *message = outbox_message(&engine->out, MESSAGE_FAIL);
    message->job = ticket;
    message->fail = *end;
    outbox_send(&engine->out, node, message);
}

/* ---- joining ---- */

/* Jobs that are running or may soon be. */
static uint32_t places_taken(const struct engine *engine)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        count += engine->formings.items[i].used;
        count += engine->jobs[i] != NULL && engine->jobs[i]->state == JOB_RUNNING;
    }
    return count;
}

/* Makes the entry of the first join of a job. NULL if there is no room. */
static struct forming *forming_open(struct engine *engine, const struct message_join *join)
{
    if (places_taken(engine) >= ENGINE_JOBS_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct forming *forming = &engine->formings.items[i];
        if (forming->used) {
            continue;
        }
        forming->views = calloc(join->world_size, sizeof(struct rank_view));
        if (forming->views == NULL) {
            return NULL;
        }
        forming->used = true;
        forming->proposed = false;
        forming->joined = 0;
        forming->world_size = join->world_size;
        forming->nonfinite = join->nonfinite;
        forming->deadline_ns = engine_after(engine->now_ns, engine->config.join_timeout_ns);
        snprintf(forming->name, sizeof(forming->name), "%s", join->job);
        for (uint32_t rank = 0; rank < join->world_size; rank++) {
            forming->rank_nodes[rank] = FORMING_ABSENT;
        }
        return forming;
    }
    return NULL;
}

/* The node of a living worker that is that rank of that job, or -1. */
static int32_t taken_by(const struct engine_job *running, const struct forming *forming,
                        uint32_t rank)
{
    if (forming != NULL && rank < forming->world_size &&
        forming->rank_nodes[rank] != FORMING_ABSENT) {
        return forming->rank_nodes[rank];
    }
    if (running != NULL && engine_job_is_live(running) && !running->conduct->ending &&
        rank < running->world_size && !rank_set_has(&running->conduct->left, rank)) {
        return running->rank_nodes[rank];
    }
    return -1;
}

static uint32_t joined_on(const struct forming *forming, uint32_t node)
{
    uint32_t count = 0;

    for (uint32_t rank = 0; rank < forming->world_size; rank++) {
        count += forming->rank_nodes[rank] == node;
    }
    return count;
}

/* Whether the join fits those before it; fills @ret if not. */
static bool join_fits(struct engine *engine, const struct forming *forming, uint32_t node,
                      const struct message_join *join, struct job_end *ret)
{
    const int32_t taken = taken_by(engine_running(engine, join->job), forming, join->rank);

    if (taken >= 0) {
        fail_join_duplicate(ret, join->job, join->rank, (int32_t)node,
                            engine->config.node_names[taken]);
        return false;
    }
    if (forming == NULL) {
        return true;
    }
    if (join->world_size != forming->world_size) {
        fail_join_differs(ret, join->job, join->rank, (int32_t)node, "a world size of",
                          join->world_size, forming->world_size);
        return false;
    }
    if (join->nonfinite != forming->nonfinite) {
        fail_join_differs(ret, join->job, join->rank, (int32_t)node,
                          "a policy for non-finite sums of", join->nonfinite, forming->nonfinite);
        return false;
    }
    if (joined_on(forming, node) >= SEQSYNC_LOCAL_RANKS_MAX) {
        fail_join_capacity(ret, join->job, join->rank, (int32_t)node,
                           "its node has as many ranks of the job as a node may have");
        return false;
    }
    return true;
}

static void forming_propose(struct engine *engine, struct forming *forming)
{
    if (forming->proposed || forming->joined < forming->world_size ||
        engine_running(engine, forming->name) != NULL) {
        return;
    }
    forming->proposed = true;
    struct entry *entry = outbox_entry(&engine->out, ENTRY_JOB_FORMED);
    entry->job = ++engine->formings.last_job;
    entry->generation = ++engine->formings.last_generation;
    entry->formed.nonfinite = forming->nonfinite;
    entry->formed.world_size = forming->world_size;
    snprintf(entry->formed.name, sizeof(entry->formed.name), "%s", forming->name);
    memcpy(entry->formed.rank_nodes, forming->rank_nodes,
           forming->world_size * sizeof(forming->rank_nodes[0]));
}

static void forming_leave(struct engine *engine, struct forming *forming, uint32_t node,
                          uint64_t ticket, uint32_t rank)
{
    if (forming == NULL || forming->proposed || rank >= forming->world_size ||
        forming->rank_nodes[rank] != node || forming->tickets[rank] != ticket) {
        engine_drop(engine, "the farewell of a worker that does not wait");
        return;
    }
    forming->rank_nodes[rank] = FORMING_ABSENT;
    if (--forming->joined == 0) {
        forming_free(forming);
    }
}

void forming_join(struct engine *engine, uint32_t node, uint64_t ticket,
                  const struct message_join *join)
{
    struct forming *forming = forming_find(engine, join->job);
    struct job_end end;

    if (join->leave) {
        forming_leave(engine, forming, node, ticket, join->rank);
        return;
    }
    if (join->world_size == 0 || join->world_size > SEQSYNC_RANKS_MAX ||
        join->rank >= join->world_size) {
        engine_drop(engine, "a join with a rank that its world size does not have");
        return;
    }
    if (!join_fits(engine, forming, node, join, &end)) {
        refuse(engine, node, ticket, &end);
        return;
    }
    if (forming == NULL) {
        forming = forming_open(engine, join);
    }
    if (forming == NULL) {
        fail_join_capacity(&end, join->job, join->rank, (int32_t)node,
                           "as many jobs as the daemons allow are running or being formed");
        refuse(engine, node, ticket, &end);
        return;
    }
    forming->rank_nodes[join->rank] = (uint16_t)node;
    forming->tickets[join->rank] = ticket;
    forming->joined++;
    forming_propose(engine, forming);
}

/* ---- what happens around it ---- */

void forming_peer_lost(struct engine *engine, uint32_t node)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct forming *forming = &engine->formings.items[i];
        if (!forming->used || forming->proposed) {
            continue;
        }
        for (uint32_t rank = 0; rank < forming->world_size; rank++) {
            if (forming->rank_nodes[rank] == node) {
                forming->rank_nodes[rank] = FORMING_ABSENT;
                forming->joined--;
            }
        }
        if (forming->joined == 0) {
            forming_free(forming);
        }
    }
}

void forming_formed(struct engine *engine, const char *job)
{
    struct forming *forming = forming_find(engine, job);

    if (forming != NULL) {
        forming_free(forming);
    }
}

void forming_retry(struct engine *engine, const char *job)
{
    struct forming *forming = forming_find(engine, job);

    if (forming != NULL) {
        forming_propose(engine, forming);
    }
}

/* ---- deadlines ---- */

uint64_t forming_deadline_ns(const struct engine *engine)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        const struct forming *forming = &engine->formings.items[i];
        if (forming->used && !forming->proposed) {
            deadline = engine_earlier(deadline, forming->deadline_ns);
        }
    }
    return deadline;
}

void forming_tick(struct engine *engine)
{
    struct rank_set missing;
    struct job_end end;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        struct forming *forming = &engine->formings.items[i];
        if (!forming->used || forming->proposed || engine->now_ns < forming->deadline_ns) {
            continue;
        }
        rank_set_clear(&missing);
        for (uint32_t rank = 0; rank < forming->world_size; rank++) {
            if (forming->rank_nodes[rank] == FORMING_ABSENT) {
                rank_set_add(&missing, rank);
            }
        }
        fail_join_timeout(&end, forming->name, forming->world_size, &missing,
                          engine->config.join_timeout_ns);
        for (uint32_t rank = 0; rank < forming->world_size; rank++) {
            if (forming->rank_nodes[rank] != FORMING_ABSENT) {
                refuse(engine, forming->rank_nodes[rank], forming->tickets[rank], &end);
            }
        }
        forming_free(forming);
        return; /* one a tick: each may refuse as many as there can be ranks */
    }
}
