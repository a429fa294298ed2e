/* What seqctl and error texts say about a job: what each rank did last, losses, durations. */
#ifndef SEQSYNC_CORE_REPORT_H
#define SEQSYNC_CORE_REPORT_H

#include "daemon/core/engine.h"

enum activity_kind {
    ACTIVITY_JOINED = 0,
    ACTIVITY_REGISTER,
    ACTIVITY_BEGIN,
    ACTIVITY_START, /* the step is open */
    ACTIVITY_KV,
    ACTIVITY_RETURN,
    ACTIVITY_GRADIENT,
    ACTIVITY_PARAMETER,
    ACTIVITY_COLLECTIVE,
    ACTIVITY_COMMIT,
    ACTIVITY_COMMITTED,
    ACTIVITY_LEFT,
};

/* What a rank did last. */
struct activity {
    enum activity_kind kind;
    uint32_t id;
    uint64_t sequence;
};

/* "kv 3 of step 18". Writes at most @size bytes. */
void activity_text(const struct activity *activity, char *ret, size_t size);

struct report {
    struct rank_view *views;          /* [world_size], filled when asked */
    struct rank_report *ranks;        /* [world_size], of the last committed step */
    double losses[ENGINE_LOSSES_MAX]; /* oldest first */
    uint32_t loss_count;
    uint64_t step_ns;
    int64_t total_tokens;
};

/* -ENOMEM. */
int report_init(struct report *report, uint32_t world_size);
void report_deinit(struct report *report);

/* A step is committed; @payload: world_size rank reports, possibly unaligned. */
void report_commit(struct report *report, const void *payload, uint32_t world_size,
                   uint64_t step_ns);

struct engine_job;
struct forming;
struct join;

/* Views for seqctl; they point into the object and its views. */
void report_view_job(const struct engine_job *job, struct job_view *ret);
void report_view_forming(const struct forming *forming, struct job_view *ret);
void report_view_join(const struct join *join, uint32_t node, struct job_view *ret);

#endif
