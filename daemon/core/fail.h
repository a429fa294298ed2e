/*
 * The one place where the end of a job, or the refusal of a worker, is put into words: what, where
 * (rank and node), why, and what to do next. Each call fills @ret in whole.
 */
#ifndef SEQSYNC_CORE_FAIL_H
#define SEQSYNC_CORE_FAIL_H

#include "daemon/core/message.h"
#include "daemon/core/text.h"

/* --- workers and nodes that are gone --- */
void fail_worker_lost(struct job_end *ret, const struct roster *roster, uint32_t rank, int32_t code,
                      const char *how);
void fail_worker_left(struct job_end *ret, const struct roster *roster, uint32_t rank,
                      const char *when);
void fail_peer_lost(struct job_end *ret, const struct roster *roster, uint32_t node,
                    const char *how);
void fail_conductor_lost(struct job_end *ret, const char *const *node_names, const char *how);
/* The conductor was never here, or does not answer. */
void fail_conductor_unreachable(struct job_end *ret, const char *const *node_names,
                                const char *why);

/* --- waits that took too long --- */
/* @members: ranks, or nodes for GATHER_PLAN. @last: what they did last, or "". */
void fail_missing(struct job_end *ret, const struct roster *roster, enum gather_kind kind,
                  uint64_t sequence, const struct rank_set *members, uint64_t timeout_ns,
                  const char *last);
/* @what: e.g. "the keys and values of exchange 3 from rank 5 on node-b". */
void fail_step_stuck(struct job_end *ret, const char *node_name, uint64_t step, const char *what,
                     int32_t rank, int32_t node, uint64_t timeout_ns);
void fail_no_answer(struct job_end *ret, const char *const *node_names, uint64_t timeout_ns);

/* --- ranks that differ --- */
void fail_differ(struct job_end *ret, const struct roster *roster, enum gather_kind kind,
                 uint64_t sequence, const struct rank_set *odd, const struct rank_set *others);
/* @odd used other exchanges or buckets than @others, who are the majority, or nobody. */
void fail_uses_differ(struct job_end *ret, const struct roster *roster, uint64_t step,
                      const struct rank_set *odd, const struct rank_set *others);
void fail_nodes_differ(struct job_end *ret, const struct roster *roster, uint64_t step,
                       const struct rank_set *odd, const struct rank_set *others);

/* --- a worker or a peer that does not keep the rules --- */
void fail_rank(struct job_end *ret, const struct roster *roster, uint32_t rank, int32_t code,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
void fail_node(struct job_end *ret, const struct roster *roster, uint32_t node, int32_t code,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
void fail_uncontributed(struct job_end *ret, const struct roster *roster,
                        const struct rank_set *ranks, uint64_t step, const char *what, uint32_t id);
void fail_attested(struct job_end *ret, const struct roster *roster, uint32_t rank, uint64_t step,
                   const char *what, int64_t given, int64_t planned);

/* --- sums --- */
/* @rank: whose contribution, or -1: the sum itself. @what: "bucket 3", "dK/dV of exchange 3". */
void fail_nonfinite(struct job_end *ret, const struct roster *roster, int32_t rank, int32_t node,
                    uint64_t step, const char *what);
void fail_overflow(struct job_end *ret, uint64_t step, const char *what);

/* --- this daemon --- */
void fail_daemon(struct job_end *ret, const char *const *node_names, uint32_t node, int32_t code,
                 const char *doing, const char *why);

/* --- workers that cannot join --- */
void fail_join_duplicate(struct job_end *ret, const char *job, uint32_t rank, int32_t node,
                         const char *node_name);
void fail_join_differs(struct job_end *ret, const char *job, uint32_t rank, int32_t node,
                       const char *what, uint32_t given, uint32_t others);
void fail_join_capacity(struct job_end *ret, const char *job, uint32_t rank, int32_t node,
                        const char *limit);
void fail_join_timeout(struct job_end *ret, const char *job, uint32_t world_size,
                       const struct rank_set *missing, uint64_t timeout_ns);
void fail_join_order(struct job_end *ret, const char *what);
void fail_left(struct job_end *ret, const char *job);

#endif
