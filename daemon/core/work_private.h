/* Between the files of work: emitting, and what is in use. */
#ifndef SEQSYNC_CORE_WORK_PRIVATE_H
#define SEQSYNC_CORE_WORK_PRIVATE_H

#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"
#include "daemon/core/work.h"

/* Policies of seqsync/session.h, which this folder does not include. */
enum work_policy {
    POLICY_FAIL = 0,
    POLICY_SKIP = 1,
};

/* Each adds an action about the open step. */
void work_emit_send(struct engine *engine, const struct engine_job *job, enum transfer_kind kind,
                    uint32_t id, uint32_t part, uint32_t node, int64_t count, bool nonfinite);
void work_emit_sum(struct engine *engine, const struct engine_job *job, uint64_t step,
                   enum sum_kind kind, uint32_t id, uint32_t part, int64_t count);
struct action *work_emit_raise(struct engine *engine, const struct engine_job *job,
                               enum word_kind word, uint32_t id, uint32_t index, uint64_t stamp);

/* What a rank can fail to contribute, as the words before its id. */
extern const char work_kv[];
extern const char work_return[];
extern const char work_bucket[];

/*
 * Something is used for the first time in this step: all local ranks must contribute, and those
 * that have committed already cannot any more. False if that fails the job.
 */
bool work_begin_use(struct engine *engine, struct engine_job *job, uint64_t contributed,
                    const char *what, uint32_t id);

/* It is complete on this node; the step may be prepared by that. */
void work_end_use(struct engine *engine, struct engine_job *job);

/* A peer sent what does not fit. */
void work_fail_transfer(struct engine *engine, struct engine_job *job, const struct event *event,
                        const char *what);

/* work_exchange.c */
void work_ready_kv(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id);
void work_ready_return(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id);
void work_received_kv(struct engine *engine, struct engine_job *job, const struct event *event);
void work_received_return(struct engine *engine, struct engine_job *job, const struct event *event);
void work_summed_return(struct engine *engine, struct engine_job *job, const struct event *event);

/* work_bucket.c */
void work_ready_gradient(struct engine *engine, struct engine_job *job, uint32_t local, uint32_t id,
                         int64_t count);
void work_received_bucket(struct engine *engine, struct engine_job *job, const struct event *event);
void work_summed_bucket(struct engine *engine, struct engine_job *job, const struct event *event);

/* work_parameter.c */
void work_ready_parameter(struct engine *engine, struct engine_job *job, uint32_t local,
                          const struct event *event);
void work_received_parameter(struct engine *engine, struct engine_job *job,
                             const struct event *event);
void work_summed_parameter(struct engine *engine, struct engine_job *job,
                           const struct event *event);

#endif
