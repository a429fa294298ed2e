/*
 * Jobs that are being formed, at the conductor: which ranks have joined from which node. When all
 * are there, and no earlier job of that name lives, the job is proposed.
 */
#ifndef SEQSYNC_CORE_FORMING_H
#define SEQSYNC_CORE_FORMING_H

#include "daemon/core/engine.h"

struct engine;

#define FORMING_ABSENT UINT16_MAX

struct forming {
    char name[SEQSYNC_NAME_MAX + 1];
    bool used;
    bool proposed;
    uint32_t world_size;
    uint32_t nonfinite;
    uint32_t joined;
    uint64_t deadline_ns;
    uint16_t rank_nodes[SEQSYNC_RANKS_MAX]; /* FORMING_ABSENT, or whence it joined */
    uint64_t tickets[SEQSYNC_RANKS_MAX];    /* of the joining node */
    struct rank_view *views;                /* for seqctl: [world_size] */
};

struct formings {
    struct forming items[ENGINE_JOBS_MAX];
    uint64_t last_job;
    uint64_t last_generation;
};

/* A worker of @node (possibly this one) is there, or went away. */
void forming_join(struct engine *engine, uint32_t node, uint64_t ticket,
                  const struct message_join *join);

/* A node is lost, with all who joined there. */
void forming_peer_lost(struct engine *engine, uint32_t node);

/* The entry is committed: the job is no longer being formed. */
void forming_formed(struct engine *engine, const char *job);

/* An earlier job has ended: those of its name may be formed now. */
void forming_retry(struct engine *engine, const char *job);

uint64_t forming_deadline_ns(const struct engine *engine);
void forming_tick(struct engine *engine);

#endif
