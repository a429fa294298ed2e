/* What seqctl may ask the engine. */
#include "daemon/core/engine_state.h"

#include <assert.h>

/* A job that waits here only: the conductor, if it is this node, knows more of it. */
static bool join_is_known(const struct engine *engine, const char *name)
{
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        const struct forming *forming = &engine->formings.items[i];
        if (forming->used && strcmp(forming->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The ended job that comes after @before, latest first; NULL if there is none. */
static const struct engine_job *next_ended(const struct engine *engine,
                                           const struct engine_job *before)
{
    const struct engine_job *next = NULL;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX; i++) {
        const struct engine_job *job = engine->jobs[i];
        if (job == NULL || job->state == JOB_RUNNING) {
            continue;
        }
        const bool older = before == NULL || job->ended_ns < before->ended_ns ||
                           (job->ended_ns == before->ended_ns && job->id < before->id);
        const bool later = next == NULL || job->ended_ns > next->ended_ns ||
                           (job->ended_ns == next->ended_ns && job->id > next->id);
        if (older && later) {
            next = job;
        }
    }
    return next;
}

uint32_t engine_jobs(const struct engine *engine, struct job_view *ret_jobs, uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < ENGINE_JOBS_MAX && count < max; i++) {
        if (engine->jobs[i] != NULL && engine->jobs[i]->state == JOB_RUNNING) {
            report_view_job(engine->jobs[i], &ret_jobs[count++]);
        }
    }
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX && count < max; i++) {
        if (engine->formings.items[i].used) {
            report_view_forming(&engine->formings.items[i], &ret_jobs[count++]);
        }
    }
    for (uint32_t i = 0; i < ENGINE_JOBS_MAX && count < max; i++) {
        const struct join *join = &engine->joins.items[i];
        if (join->count > 0 && !join_is_known(engine, join->name)) {
            report_view_join(join, engine->config.node, &ret_jobs[count++]);
        }
    }
    for (const struct engine_job *job = next_ended(engine, NULL); job != NULL && count < max;
         job = next_ended(engine, job)) {
        report_view_job(job, &ret_jobs[count++]);
    }
    return count;
}

void engine_peer(const struct engine *engine, uint32_t node, struct peer_view *ret)
{
    const struct liveness_peer *peer = &engine->liveness.peers[node];

    assert(node < engine->config.node_count);
    if (node == engine->config.node) {
        *ret = (struct peer_view){.up = true, .reason = ""};
        return;
    }
    *ret = (struct peer_view){
        .up = peer->up,
        .silent_ns = engine->now_ns > peer->heard_ns ? engine->now_ns - peer->heard_ns : 0,
        .reason = peer->up ? "" : peer->reason};
}
