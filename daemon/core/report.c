#include "daemon/core/report.h"

#include "daemon/base/err.h"
#include "daemon/core/engine_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void activity_text(const struct activity *activity, char *ret, size_t size)
{
    const unsigned long long sequence = activity->sequence;

    switch (activity->kind) {
    case ACTIVITY_JOINED:
        snprintf(ret, size, "joined");
        return;
    case ACTIVITY_REGISTER:
        snprintf(ret, size, "registered");
        return;
    case ACTIVITY_BEGIN:
        snprintf(ret, size, "begin of step %llu", sequence);
        return;
    case ACTIVITY_START:
        snprintf(ret, size, "start of step %llu", sequence);
        return;
    case ACTIVITY_KV:
        snprintf(ret, size, "kv %u of step %llu", activity->id, sequence);
        return;
    case ACTIVITY_RETURN:
        snprintf(ret, size, "return %u of step %llu", activity->id, sequence);
        return;
    case ACTIVITY_GRADIENT:
        snprintf(ret, size, "gradient %u of step %llu", activity->id, sequence);
        return;
    case ACTIVITY_PARAMETER:
        snprintf(ret, size, "parameters %u, round %llu", activity->id, sequence);
        return;
    case ACTIVITY_COLLECTIVE:
        snprintf(ret, size, "collective %llu", sequence);
        return;
    case ACTIVITY_COMMIT:
        snprintf(ret, size, "commit of step %llu", sequence);
        return;
    case ACTIVITY_COMMITTED:
        snprintf(ret, size, "end of step %llu", sequence);
        return;
    case ACTIVITY_LEFT:
        snprintf(ret, size, "left");
        return;
    }
    snprintf(ret, size, "unknown");
}

int report_init(struct report *report, uint32_t world_size)
{
    *report = (struct report){.views = calloc(world_size, sizeof(struct rank_view)),
                              .ranks = calloc(world_size, sizeof(struct rank_report))};
    if (report->views == NULL || report->ranks == NULL) {
        report_deinit(report);
        return err_origin(-ENOMEM);
    }
    for (uint32_t rank = 0; rank < world_size; rank++) {
        report->ranks[rank].loss = (double)NAN;
    }
    return 0;
}

void report_deinit(struct report *report)
{
    free(report->views);
    free(report->ranks);
    *report = (struct report){.views = NULL};
}

void report_commit(struct report *report, const void *payload, uint32_t world_size,
                   uint64_t step_ns)
{
    double sum = 0;
    uint32_t count = 0;

    memcpy(report->ranks, payload, world_size * sizeof(struct rank_report));
    report->step_ns = step_ns;
    report->total_tokens = 0;
    for (uint32_t rank = 0; rank < world_size; rank++) {
        const struct rank_report *from = &report->ranks[rank];
        /* Each node has held its own ranks to the plan; the sum is for show. */
        if (__builtin_add_overflow(report->total_tokens, from->tokens, &report->total_tokens)) {
            report->total_tokens = INT64_MAX;
        }
        if (!isnan(from->loss)) {
            sum += from->loss;
            count++;
        }
    }
    if (count == 0) {
        return;
    }
    if (report->loss_count == ENGINE_LOSSES_MAX) {
        memmove(report->losses, report->losses + 1,
                (ENGINE_LOSSES_MAX - 1) * sizeof(report->losses[0]));
        report->loss_count--;
    }
    report->losses[report->loss_count++] = sum / count;
}

void report_view_job(const struct engine_job *job, struct job_view *ret)
{
    struct rank_view *views = job->report.views;
    const bool over = job->state == JOB_FAILED || job->state == JOB_ENDED;

    for (uint32_t rank = 0; rank < job->world_size; rank++) {
        views[rank] = (struct rank_view){
            .node = job->rank_nodes[rank], .joined = true, .report = job->report.ranks[rank]};
    }
    for (uint32_t i = 0; i < job->local_count; i++) {
        const struct local_rank *local = &job->locals[i];
        struct rank_view *view = &views[local->rank];
        view->pid = local->pid;
        view->joined = local->here || over;
        activity_text(&local->last, view->phase, sizeof(view->phase));
    }
    *ret = (struct job_view){
        .id = job->id,
        .generation = job->generation,
        .name = job->name,
        .state = job->state,
        .world_size = job->world_size,
        .rank_count = job->world_size,
        .ranks = views,
        .step = job->step.last,
        .step_open = !over && job->step.state != STEP_IDLE ? step_number(&job->step) : 0,
        .step_ns = job->report.step_ns,
        .total_tokens = job->report.total_tokens,
        .losses = job->report.losses,
        .loss_count = job->report.loss_count,
        .end = over ? &job->end : NULL};
}

void report_view_forming(const struct forming *forming, struct job_view *ret)
{
    for (uint32_t rank = 0; rank < forming->world_size; rank++) {
        const bool joined = forming->rank_nodes[rank] != FORMING_ABSENT;
        forming->views[rank] =
            (struct rank_view){.node = joined ? forming->rank_nodes[rank] : 0, .joined = joined};
    }
    *ret = (struct job_view){.name = forming->name,
                             .state = JOB_FORMING,
                             .world_size = forming->world_size,
                             .rank_count = forming->world_size,
                             .ranks = forming->views};
}

void report_view_join(const struct join *join, uint32_t node, struct job_view *ret)
{
    uint32_t world_size = 0;

    for (uint32_t i = 0; i < SEQSYNC_LOCAL_RANKS_MAX; i++) {
        const struct join_worker *worker = &join->workers[i];
        world_size =
            worker->used && worker->world_size > world_size ? worker->world_size : world_size;
    }
    memset(join->views, 0, world_size * sizeof(join->views[0]));
    for (uint32_t i = 0; i < SEQSYNC_LOCAL_RANKS_MAX; i++) {
        const struct join_worker *worker = &join->workers[i];
        if (worker->used) {
            join->views[worker->rank] = (struct rank_view){
                .node = node, .pid = worker->pid, .joined = true, .phase = "joining"};
        }
    }
    *ret = (struct job_view){.name = join->name,
                             .state = JOB_FORMING,
                             .world_size = world_size,
                             .rank_count = world_size,
                             .ranks = join->views};
}
