/* The engine's state, for the files of this folder. */
#ifndef SEQSYNC_CORE_ENGINE_STATE_H
#define SEQSYNC_CORE_ENGINE_STATE_H

#include "daemon/core/forming.h"
#include "daemon/core/job.h"
#include "daemon/core/join.h"
#include "daemon/core/liveness.h"
#include "daemon/core/outbox.h"

#define ENGINE_CONDUCTOR 0u

struct engine {
    struct engine_config config;
    uint64_t now_ns; /* of the event in hand */
    struct outbox out;
    struct liveness liveness;
    struct joins joins;
    struct formings formings; /* at the conductor */
    struct engine_job *jobs[ENGINE_JOBS_MAX];
    uint64_t dropped; /* events and messages about what is no more */
};

static inline bool engine_conducts(const struct engine *engine)
{
    return engine->config.node == ENGINE_CONDUCTOR;
}

/*
 * Deadlines are staggered, so that who knows most speaks first: a node that misses its own workers
 * at the deadline itself, one that misses something of another node half a grace later, the
 * conductor after a whole one.
 */
static inline uint64_t engine_grace_ns(const struct engine *engine)
{
    const uint64_t share = engine->config.step_timeout_ns / 8;

    return share < UINT64_C(1000000000) ? share : UINT64_C(1000000000);
}

/* Counts and traces what is dropped. */
void engine_drop(struct engine *engine, const char *what);

/* The running job of that name, or NULL. */
struct engine_job *engine_running(const struct engine *engine, const char *name);

/* A sum of deadlines that cannot pass the end of time. */
static inline uint64_t engine_after(uint64_t from_ns, uint64_t duration_ns)
{
    return from_ns > UINT64_MAX - duration_ns ? UINT64_MAX : from_ns + duration_ns;
}

static inline uint64_t engine_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
