/*
 * The conductor's side of a job: collects what ranks and nodes say, and tells all nodes when all
 * have said the same; names those who did not, or who are missing.
 */
#ifndef SEQSYNC_CORE_CONDUCT_H
#define SEQSYNC_CORE_CONDUCT_H

#include "daemon/core/gather.h"

struct engine;
struct engine_job;

struct conduct {
    struct gather gathers[GATHER_KINDS_N];
    struct rank_set left; /* ranks that said good-bye */
    bool ending;          /* the end is proposed: nothing more is agreed on */
    uint32_t dtype;       /* of the open collective, as its first rank said */
    uint32_t op;
    uint32_t bytes;
    uint64_t *digests;           /* of all gathers */
    uint8_t *values;             /* [world_size][ALLREDUCE_BYTES_MAX] */
    uint8_t *result;             /* [ALLREDUCE_BYTES_MAX] */
    struct rank_report *reports; /* [world_size] */
    uint64_t *used;              /* [world_size], of the reports */
};

/* -ENOMEM. */
int conduct_new(const struct engine_job *job, struct conduct **ret);
struct conduct *conduct_free(struct conduct *conduct);

/* @node says something; it may be this node itself. */
void conduct_gather(struct engine *engine, struct engine_job *job, uint32_t node,
                    const struct message_gather *message);

/* Proposes the end, once. */
void conduct_end(struct engine *engine, struct engine_job *job, const struct job_end *end);

uint64_t conduct_deadline_ns(const struct conduct *conduct);
void conduct_tick(struct engine *engine, struct engine_job *job);

#endif
