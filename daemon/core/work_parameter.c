/*
 * Parameter rounds. The values go out only when the copy is made, so that a sender may read the
 * copy, which stays, rather than the root's buffer, which the root may write again.
 */
#include "daemon/core/work_private.h"

#include <seqsync/status.h>

void work_ready_parameter(struct engine *engine, struct engine_job *job, uint32_t local,
                          const struct event *event)
{
    const uint32_t id = event->ready.id, rank = job->locals[local].rank;
    const unsigned long long round = event->ready.sequence;
    struct job_end end;

    if (event->ready.root != rank) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "publishes parameters in the name of rank %u", event->ready.root);
    } else if ((job->step.begun >> local & 1) != 0) {
        fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                  "publishes parameters in the middle of step %llu",
                  (unsigned long long)step_number(&job->step));
    } else {
        switch (parameter_publish(&job->parameters[id], round, rank)) {
        case 0:
            work_emit_sum(engine, job, round, SUM_PARAMETER, id, rank, 1);
            return;
        case PARAMETER_STALE:
            fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_STALE,
                      "publishes parameters of bucket %u for round %llu, which is over", id, round);
            break;
        case PARAMETER_BUSY:
            fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_DUPLICATE,
                      "publishes parameters of bucket %u for round %llu, which has them already",
                      id, round);
            break;
        default:
            fail_rank(&end, &job->roster, rank, SEQSYNC_ERR_INVALID,
                      "publishes parameters of bucket %u for round %llu before earlier rounds", id,
                      round);
        }
    }
    engine_job_fail(engine, job, &end);
}

void work_summed_parameter(struct engine *engine, struct engine_job *job, const struct event *event)
{
    const uint64_t round = event->summed.step;
    const uint32_t id = event->summed.id;

    if (!parameter_copied(&job->parameters[id], round, event->summed.part)) {
        engine_drop(engine, "a copy of parameters that nobody asked for");
        return;
    }
    for (uint32_t node = 0; node < engine->config.node_count; node++) {
        if ((job->members.peers >> node & 1) != 0) {
            work_emit_send(engine, job, TRANSFER_PARAMETER, id, event->summed.part, node, 0, false);
            engine->out.actions[engine->out.action_count - 1].send.step = round;
        }
    }
    work_emit_raise(engine, job, WORD_PARAMETER_READY, id, 0, round);
}

void work_received_parameter(struct engine *engine, struct engine_job *job,
                             const struct event *event)
{
    const uint32_t id = event->received.id, root = event->received.part;

    if (root >= job->world_size || job->rank_nodes[root] != event->received.node ||
        parameter_receive(&job->parameters[id], event->received.step) != 0) {
        work_fail_transfer(engine, job, event, "parameters that are not awaited");
        return;
    }
    work_emit_raise(engine, job, WORD_PARAMETER_READY, id, 0, event->received.step);
}
