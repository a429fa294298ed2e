/*
 * The work of an open step: words of local workers, transfers from peers, sums from the lanes, and
 * what each sets going. Also parameter rounds, which go on between steps. Every field is checked
 * against the job: a worker or a peer that breaks the rules fails its job.
 */
#ifndef SEQSYNC_CORE_WORK_H
#define SEQSYNC_CORE_WORK_H

#include "daemon/core/engine.h"
#include "daemon/core/text.h"

struct engine;
struct engine_job;

void work_ready(struct engine *engine, struct engine_job *job, uint32_t local,
                const struct event *event);
void work_received(struct engine *engine, struct engine_job *job, const struct event *event);
void work_summed(struct engine *engine, struct engine_job *job, const struct event *event);

/* Whether rank @local has contributed to all that the step uses so far; fails the job if not. */
bool work_check_commit(struct engine *engine, struct engine_job *job, uint32_t local);

/*
 * Local ranks that have not contributed to all that others of this node have, without those that
 * are further than another rank in everything; how many. Ranks that make the same calls in the same
 * order and wait for one of these have done what they wait for, so victims are not among them,
 * unless two wait for each other.
 */
uint32_t work_behind(const struct engine_job *job, struct rank_set *ret);

/* What each of them did last, and lacks. */
void work_explain_behind(const struct engine_job *job, const struct rank_set *ranks,
                         struct text *text);

/* Whether something of another node is awaited. */
bool work_awaits_peers(const struct engine_job *job);

/* What the step awaits of other nodes, and who is to blame (-1 = nobody in particular), for a
 * person. */
void work_explain(const struct engine *engine, const struct engine_job *job, char *ret, size_t size,
                  int32_t *ret_rank, int32_t *ret_node);

/* Digest of the exchanges, returns and buckets that are used in the open step; never 0. */
uint64_t work_used(const struct engine_job *job);

/* The step is committed: all marks are cleared. */
void work_reset(struct engine_job *job);

#endif
