/* What must hold across all nodes at the moment of an action. */
#include "tests/support/sim_private.h"

/* The job as each living node has it, or NULL. */
static struct sim_job *on_node(struct sim *sim, uint32_t node, uint64_t id)
{
    return sim->nodes[node].alive ? sim_job_find(&sim->nodes[node], id) : NULL;
}

/* A contribution is in when its rank's stage has passed it; only living ranks can be asked. */
static bool has_contributed(const struct sim_worker *worker, const struct sim_job *job,
                            uint64_t step, uint32_t bucket)
{
    if (worker->job != job->id) {
        return true; /* another life of that rank */
    }
    return worker->step > step ||
           (worker->step == step && (worker->stage > STAGE_GRADIENT ||
                                     (worker->stage == STAGE_GRADIENT && worker->at > bucket)));
}

/* S15: no gradient is released while a contributor is missing. */
static void check_bucket_ready(struct sim_node *node, const struct action *action)
{
    struct sim *sim = node->sim;
    const struct sim_job *job = sim_job_find(node, action->raise.job);

    for (uint32_t i = 0; i < sim->worker_count; i++) {
        if (!has_contributed(sim->workers[i], job, action->raise.stamp, action->raise.id)) {
            sim_violate(sim, "node %u: bucket %u is released without rank %u", node->index,
                        action->raise.id, sim->workers[i]->rank);
        }
    }
}

/*
 * Whether all results of @step are on that node. Odd steps of an evaluating job have none; what the
 * only rank of a job skips is used by nobody, and so no part of the step.
 */
static bool is_prepared(const struct sim_job *job, uint64_t step)
{
    const enum sim_fault_kind fault = job->script->fault.kind;
    const bool skips = job->script->world_size == 1 &&
                       (fault == SIM_FAULT_SKIP_GRADIENT || fault == SIM_FAULT_SKIP_RETURN);
    const bool evaluates = (job->script->idle_odd && step % 2 == 1) || skips;

    for (uint32_t i = 0; i < job->script->bucket_count && !evaluates; i++) {
        if (job->bucket_ready[i] < step) {
            return false;
        }
    }
    for (uint32_t i = 0; i < job->script->exchange_count && !evaluates; i++) {
        if (!job->script->forward_only[i] && job->return_free[i] < step) {
            return false;
        }
    }
    return true;
}

/* A commit is seen only when every node has everything, and by all within one step. */
static void check_committed(struct sim_node *node, const struct action *action)
{
    struct sim *sim = node->sim;
    const struct sim_worker *worker = sim_worker_find(sim, action->reply.worker);
    struct sim_job *job = sim_job_find(node, worker->job);
    const uint64_t step = action->reply.step;

    if (step != worker->step) {
        sim_violate(sim, "rank %u sees the commit of step %llu in step %llu", worker->rank,
                    (unsigned long long)step, (unsigned long long)worker->step);
    }
    job->committed = step;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct sim_job *other = on_node(sim, i, job->id);
        if (other == NULL) {
            continue;
        }
        if (!is_prepared(other, step)) {
            sim_violate(sim, "step %llu is committed before node %u has all of it",
                        (unsigned long long)step, i);
        }
        if (other->committed + 1 < step) {
            sim_violate(sim, "step %llu is committed, but node %u has not seen the one before",
                        (unsigned long long)step, i);
        }
    }
}

void sim_check_action(struct sim_node *node, const struct action *action)
{
    if (action->kind == ACTION_RAISE && action->raise.word == WORD_BUCKET_READY) {
        check_bucket_ready(node, action);
    } else if (action->kind == ACTION_REPLY && action->reply.kind == REPLY_COMMITTED) {
        check_committed(node, action);
    }
}
