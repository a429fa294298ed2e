/*
 * One job as one node sees it: its members, what its local workers have done, its open step, and,
 * at the conductor, what all ranks have said. Every node keeps every job, so that seqctl gets an
 * answer anywhere; a node without ranks of it (local_count 0) only notes how it ends.
 *
 * A job is made when its forming is committed, gets its tables when its workers register, and
 * stays, without them, after its end until another job needs the place.
 */
#ifndef SEQSYNC_CORE_JOB_H
#define SEQSYNC_CORE_JOB_H

#include "daemon/core/bucket.h"
#include "daemon/core/conduct.h"
#include "daemon/core/engine.h"
#include "daemon/core/exchange.h"
#include "daemon/core/parameter.h"
#include "daemon/core/report.h"
#include "daemon/core/step.h"
#include "daemon/core/text.h"

struct engine;

enum job_phase {
    PHASE_WELCOMED = 0, /* local workers register */
    PHASE_ADMITTING,    /* io makes the job's memory */
    PHASE_REGISTERING,  /* the schema is being agreed on */
    PHASE_STEPPING,     /* steps, collectives and parameter rounds */
    PHASES_N,
};

/* A worker of this node. */
struct local_rank {
    uint32_t rank;
    uint32_t worker; /* io's handle, if here */
    bool here;       /* connected */
    bool left;       /* said good-bye */
    int32_t pid;
    enum gather_kind waiting; /* for whose agreement, 0 = for none */
    uint64_t digest;          /* of its schema, then of the parameters that it commits with */
    struct activity last;
    struct rank_report report; /* of the commit that is being agreed on */
};

struct engine_job {
    /* identity, fixed when it is formed */
    uint64_t id;
    uint64_t generation;
    char name[SEQSYNC_NAME_MAX + 1];
    uint32_t nonfinite; /* enum seqsync_nonfinite */
    uint32_t world_size;
    uint16_t rank_nodes[SEQSYNC_RANKS_MAX];
    struct roster roster;
    uint64_t nodes; /* that have ranks, as bits */
    uint32_t local_count;
    struct local_rank locals[SEQSYNC_LOCAL_RANKS_MAX]; /* by ascending rank */
    struct bucket_members members;

    /* life */
    enum job_state state;
    enum job_phase phase;
    bool failing;       /* told the conductor, waiting for the committed end */
    bool tables_idle;   /* ended: its tables go at the next event */
    struct job_end end; /* failing, FAILED, ENDED */
    uint64_t ended_ns;
    bool registering;          /* some local rank has, not all */
    uint64_t registering_ns;   /* since when */
    uint64_t fail_deadline_ns; /* if failing */

    /* schema, made when workers register */
    uint32_t exchange_count;
    uint32_t bucket_count;
    struct exchange *exchanges;
    struct bucket *buckets;
    struct parameter *parameters;
    struct return_sum *return_sums;                     /* of all exchanges */
    uint64_t *received;                                 /* likewise: sets of holders */
    struct return_need *return_needs[SEQSYNC_SPACES_N]; /* [world_size] */

    /* work */
    struct step step;
    uint64_t collectives;    /* agreed */
    bool collecting;         /* some local rank has entered the next one */
    uint64_t collecting_ns;  /* since when */
    struct conduct *conduct; /* at the conductor while the job runs, else NULL */

    struct report report; /* for seqctl */
};

/* Of a committed entry. -ENOMEM. */
int engine_job_new(const struct engine *engine, const struct entry *entry, struct engine_job **ret);
struct engine_job *engine_job_free(struct engine_job *job);

/* Frees what only a living job needs. */
void engine_job_free_tables(struct engine_job *job);

/* -1 if the rank is not of this node. */
int32_t engine_job_local(const struct engine_job *job, uint32_t rank);

/* Whether events may still move it. */
static inline bool engine_job_is_live(const struct engine_job *job)
{
    return job->state == JOB_RUNNING && !job->failing;
}

/* --- what happens to it; each emits what follows from it --- */

/* Its forming is committed: local workers are taken from those who wait, and welcomed. */
void engine_job_formed(struct engine *engine, struct engine_job *job);

void engine_job_register(struct engine *engine, struct engine_job *job, uint32_t local,
                         const struct event *event);
void engine_job_admitted(struct engine *engine, struct engine_job *job, int32_t code,
                         const char *error);
void engine_job_reduce(struct engine *engine, struct engine_job *job, uint32_t local,
                       const struct event *event);
void engine_job_leave(struct engine *engine, struct engine_job *job, uint32_t local);
void engine_job_worker_lost(struct engine *engine, struct engine_job *job, uint32_t local,
                            int32_t code, const char *how);
void engine_job_peer_lost(struct engine *engine, struct engine_job *job, uint32_t node,
                          const char *how);

/* Says something to the conductor, which may be this node. */
void engine_job_gather(struct engine *engine, struct engine_job *job,
                       const struct message_gather *gather);

/* The conductor says that all have said the same. */
void engine_job_agreed(struct engine *engine, struct engine_job *job,
                       const struct message_agreed *agreed);

/*
 * The job cannot go on: the conductor is told, which has the end committed. Only the first failure
 * counts. Copies @end, which may be job->end.
 */
void engine_job_fail(struct engine *engine, struct engine_job *job, const struct job_end *end);

/* The end is committed, or cannot be since the conductor is lost. Copies @end, which may be
 * job->end. */
void engine_job_end(struct engine *engine, struct engine_job *job, const struct job_end *end);

/* The next instant at which the job must be looked at, and the look. */
uint64_t engine_job_deadline_ns(const struct engine *engine, const struct engine_job *job);
void engine_job_tick(struct engine *engine, struct engine_job *job);

/* Whether a local worker may ask for @kind now, from when on it waits; fails the job if not. */
bool engine_job_may_ask(struct engine *engine, struct engine_job *job, uint32_t local,
                        enum gather_kind kind);

/* Answers the local ranks that wait for @kind. */
void engine_job_reply_all(struct engine *engine, struct engine_job *job, enum gather_kind kind,
                          enum reply_kind reply, const struct message_agreed *agreed);

/* Local ranks that do not wait for @kind; how many. */
uint32_t engine_job_laggards(const struct engine_job *job, enum gather_kind kind,
                             struct rank_set *ret);

/* What those ranks did last, for a person. */
void engine_job_last(const struct engine_job *job, const struct rank_set *ranks, char *ret,
                     size_t size);

#endif
