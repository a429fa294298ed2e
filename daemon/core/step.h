/*
 * The open step of a job on this node: begun by each local rank, planned, opened by agreement,
 * worked on (work.h), committed by each local rank, and, when all its results are here, prepared:
 * only then does the conductor hear of the commits.
 */
#ifndef SEQSYNC_CORE_STEP_H
#define SEQSYNC_CORE_STEP_H

#include "daemon/core/exchange.h"

struct engine;
struct engine_job;

enum step_state {
    STEP_IDLE = 0,
    STEP_BEGINNING, /* some local rank has begun it */
    STEP_PLANNING,  /* the batch is agreed on; io plans */
    STEP_PLANNED,   /* this node can receive; others may not yet */
    STEP_OPEN,
    STEP_PREPARED, /* all local ranks committed and all results are here */
    STEP_STATES_N,
};

struct step {
    enum step_state state;
    uint64_t last;       /* committed */
    uint64_t entered_ns; /* when it came into its state */
    uint64_t opened_ns;
    uint64_t begun;      /* local ranks, by local index */
    uint64_t committed;  /* likewise: have asked to */
    uint32_t unfinished; /* exchanges and buckets in use that lack something */
    bool skip;
    const struct step_shape *shape; /* borrowed from io while the step is planned or open */
    struct exchange_plan plans[SEQSYNC_SPACES_N];
};

static inline uint64_t step_number(const struct step *step)
{
    return step->last + 1;
}

/* Whether transfers and sums of the step can come. */
static inline bool step_is_planned(const struct step *step)
{
    return step->state >= STEP_PLANNED;
}

bool step_may_move(enum step_state from, enum step_state to);

void step_begin(struct engine *engine, struct engine_job *job, uint32_t local, uint64_t number,
                uint64_t digest);
void step_batch_agreed(struct engine *engine, struct engine_job *job,
                       const struct message_agreed *agreed);
void step_planned(struct engine *engine, struct engine_job *job, const struct event *event);
void step_plan_agreed(struct engine *engine, struct engine_job *job,
                      const struct message_agreed *agreed);
void step_commit(struct engine *engine, struct engine_job *job, uint32_t local,
                 const struct event *event);
void step_commit_agreed(struct engine *engine, struct engine_job *job,
                        const struct message_agreed *agreed);

/* Tells the conductor of the commits as soon as nothing is missing. */
void step_try_prepare(struct engine *engine, struct engine_job *job);

/* UINT64_MAX, or when the step must be looked at; and the look: a wait that took too long fails the
 * job. */
uint64_t step_deadline_ns(const struct engine *engine, const struct engine_job *job);
void step_tick(struct engine *engine, struct engine_job *job);

#endif
