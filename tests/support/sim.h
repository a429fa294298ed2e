/*
 * A cluster in one process and in simulated time: engines, links with latency that can be cut,
 * a fake io that does real integer sums, and scripted workers that check every number they read.
 * Everything random comes from one seed, so a run can be repeated.
 *
 *     struct sim *sim = sim_new(seed, 2);
 *     sim_start(sim, &script);
 *     sim_elapse_ms(sim, 20);
 *     sim_kill(sim, 1);
 *     sim_run(sim);                       until all workers are done with, or far too long
 *     assert_int_equal(sim_outcome(sim, "job", 0)->code, SEQSYNC_ERR_PEER_LOST);
 *     sim_free(sim);                      checks that nothing was violated
 *
 * After every engine step invariants are checked: each sum runs once, nothing is sent to a node
 * that does not expect it, no result is raised before every contribution is in, a commit is seen
 * only when every node has everything. The first violation is kept and fails the test.
 */
#ifndef SEQSYNC_TESTS_SIM_H
#define SEQSYNC_TESTS_SIM_H

#include "daemon/core/engine.h"

#define SIM_NODES_MAX 6
#define SIM_RANKS_MAX 16
#define SIM_EXCHANGES_MAX 4
#define SIM_BUCKETS_MAX 3

#define SIM_MS UINT64_C(1000000)
#define SIM_JOIN_MS 10000
#define SIM_STEP_MS 8000
#define SIM_SILENCE_MS 2000
#define SIM_PING_MS 500

/* What a worker does wrong, once. */
enum sim_fault_kind {
    SIM_FAULT_NONE = 0,
    SIM_FAULT_DIE,           /* its process ends */
    SIM_FAULT_HANG,          /* it does nothing any more */
    SIM_FAULT_LEAVE,         /* it says good-bye and goes */
    SIM_FAULT_SKIP_KV,       /* it does not publish exchange id */
    SIM_FAULT_ABSENT_KV,     /* nor does it read it */
    SIM_FAULT_SKIP_RETURN,   /* it does not return dK/dV of exchange id */
    SIM_FAULT_SKIP_GRADIENT, /* it does not contribute to bucket id */
    SIM_FAULT_TWICE_KV,
    SIM_FAULT_TWICE_RETURN,
    SIM_FAULT_TWICE_GRADIENT,
    SIM_FAULT_STALE_GRADIENT, /* for the step before */
    SIM_FAULT_NEGATIVE_COUNT,
    SIM_FAULT_WRONG_EXCHANGE, /* an exchange that is not registered */
    SIM_FAULT_NAN,            /* in bucket id */
    SIM_FAULT_BATCH,          /* it describes another batch */
    SIM_FAULT_SCHEMA,         /* it registers something else */
    SIM_FAULT_TOKENS,         /* it attests other tokens */
    SIM_FAULT_AREA,
    SIM_FAULT_PARAMETERS, /* it commits with another digest */
    SIM_FAULT_COLLECTIVE, /* it calls another operation */
    SIM_FAULT_KINDS_N,
};

struct sim_fault {
    enum sim_fault_kind kind;
    uint32_t rank;
    uint32_t step; /* from 1; 0 = before the first */
    uint32_t id;
};

/* What the workers of a job do. Borrowed by the sim for its life. */
struct sim_script {
    const char *job;
    uint32_t world_size;
    uint32_t nonfinite;
    uint32_t steps;
    uint32_t exchange_count;
    uint32_t bucket_count;
    uint32_t think_us; /* longest pause between two calls */
    bool parameters;   /* rank 0's go to all before the first step */
    bool collectives;  /* one after each step */
    bool idle_odd;     /* odd steps only evaluate: no dK/dV, no gradients */
    bool impatient;    /* commits without waiting for any result, and looks at them afterwards */
    struct sim_fault fault;
    uint16_t nodes[SIM_RANKS_MAX]; /* where each rank runs */
    uint8_t spaces[SIM_EXCHANGES_MAX];
    uint8_t forward_only[SIM_EXCHANGES_MAX];
    uint8_t replicated[SIM_BUCKETS_MAX];
};

enum sim_state {
    SIM_RUNNING = 0,
    SIM_DONE,   /* did all steps and left */
    SIM_FAILED, /* was told of a failure */
    SIM_DEAD,   /* died, or its daemon did */
    SIM_HUNG,
};

struct sim_outcome {
    enum sim_state state;
    int32_t code; /* FAILED */
    int32_t rank;
    int32_t node;
    char text[MESSAGE_TEXT_MAX];
    char hint[MESSAGE_TEXT_MAX];
    uint32_t steps;   /* whose commit it saw */
    uint32_t skipped; /* of these */
    uint64_t ended_ns;
};

struct sim;

struct sim *sim_new(uint64_t seed, uint32_t nodes);

/* Fails the test if an invariant was violated. */
void sim_free(struct sim *sim);

/* The first violation, or "". */
const char *sim_violation(const struct sim *sim);

/* Starts the workers of all ranks, or of one. */
void sim_start(struct sim *sim, const struct sim_script *script);
void sim_start_rank(struct sim *sim, const struct sim_script *script, uint32_t rank);
/* A worker that claims a rank on a node where the script does not have it. */
void sim_start_rank_on(struct sim *sim, const struct sim_script *script, uint32_t rank,
                       uint32_t node);

/* A daemon ends, with its workers; its peers see the connection end. */
void sim_kill(struct sim *sim, uint32_t node);
/* A host vanishes: its peers hear nothing more. */
void sim_vanish(struct sim *sim, uint32_t node);
/* A daemon that was killed comes back. */
void sim_restart(struct sim *sim, uint32_t node);
void sim_kill_rank(struct sim *sim, const char *job, uint32_t rank);
/* The link between two nodes loses everything; and works again, over new connections. */
void sim_cut(struct sim *sim, uint32_t a, uint32_t b);
void sim_heal(struct sim *sim, uint32_t a, uint32_t b);
/* How long a message may take at most, in microseconds. */
void sim_latency(struct sim *sim, uint32_t max_us);
/* How much longer than a message a transfer takes at least, in microseconds. */
void sim_transfer_lag(struct sim *sim, uint32_t us);
/* Something that io reports about a job. */
void sim_break_job(struct sim *sim, uint32_t node, const char *job, const struct job_end *end);
/* The next plan of a node has another digest, or fails. */
void sim_bend_plan(struct sim *sim, uint32_t node);
void sim_fail_plan(struct sim *sim, uint32_t node);

/* Feeds any event to an engine, now. */
void sim_feed(struct sim *sim, uint32_t node, struct event *event);

void sim_elapse_ms(struct sim *sim, uint32_t ms);
/* Until no worker is running and no job either, or five minutes have passed. Whether it is so. */
bool sim_run(struct sim *sim);

uint64_t sim_now_ns(const struct sim *sim);
struct engine *sim_engine(const struct sim *sim, uint32_t node);
/* Of the last worker that was started as that rank. */
const struct sim_outcome *sim_outcome(const struct sim *sim, const char *job, uint32_t rank);
uint64_t sim_job_id(const struct sim *sim, uint32_t node, const char *job);
/* Handle of the worker. */
uint32_t sim_worker(const struct sim *sim, const char *job, uint32_t rank);

/* Requires that the lines of @expected appear in the trace in that order. Each line must be the end
 * of one of "[ 12] node 0 > job x: ...". */
void sim_expect_trace(const struct sim *sim, const char *expected);
void sim_print_trace(const struct sim *sim);

#endif
