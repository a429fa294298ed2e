/*
 * What io holds of one job on this node: who its ranks are, its schema, its plan, its memory, and
 * what is in flight for it. The engine says what happens; the job knows where it happens.
 *
 * Life: job_new() when the control log says that the job is formed; job_admit() makes what is sized
 * by the schema; for each step job_plan() makes what is sized by the plan (kept while it is large
 * enough); job_end() starts the end, and the memory goes when the last sum, send and plan in flight
 * is done.
 *
 * Private memory (not shared with workers): partial sums of buckets, and partial dK/dV to and from
 * other nodes.
 */
#ifndef SEQSYNC_IO_JOB_H
#define SEQSYNC_IO_JOB_H

#include "daemon/core/engine.h"
#include "daemon/core/quota.h"
#include "daemon/io/bulk.h"
#include "daemon/io/lanes.h"
#include "daemon/io/segment.h"
#include "daemon/plan/plan.h"
#include "proto/arena.h"
#include "proto/batch.h"
#include "proto/part.h"

struct job;

/* Who is told of what happens to a job; the driver. Loop thread, never inside a call of this
 * module. */
struct job_ops {
    void (*on_admitted)(void *ctx, struct job *job, int32_t code,
                        const char *error); /* error NULL: done */
    void (*on_planned)(void *ctx, struct job *job, uint64_t step, int32_t code, const char *error);
    void (*on_summed)(void *ctx, struct job *job, uint64_t step, enum sum_kind kind, uint32_t id,
                      uint32_t part, bool nonfinite, int32_t rank);
    void (*on_broken)(void *ctx, struct job *job, int32_t code,
                      const char *text); /* it cannot be served any more */
    void (*on_gone)(void *ctx,
                    struct job *job); /* all memory is given back; the job is freed on return */
};

struct job_host {
    struct lanes *lanes;
    struct bulk *bulk;
    struct quota *quota;
    struct job_ops ops;
    void *ctx;
    uint32_t node;
    uint64_t reduced_bytes; /* contributions read by sums, for status */
};

/* Memory sized by the plan. */
struct job_step_memory {
    struct segment arenas[SEQSYNC_LOCAL_RANKS_MAX];
    struct segment inbox;
    uint8_t *partials; /* dK/dV partials to and from other nodes; private */
    size_t partial_bytes;
};

/* Memory of an earlier plan that sends may still read. */
struct job_retired {
    struct job_retired *next;
    struct job_step_memory memory;
};

struct job {
    struct job_host *host;
    uint64_t id;
    uint64_t generation;
    char name[SEQSYNC_NAME_MAX + 1];
    uint32_t uid; /* who is charged */
    uint32_t nonfinite;
    uint32_t world_size;
    uint32_t node_count; /* of the cluster */
    uint32_t rank_nodes[SEQSYNC_RANKS_MAX];
    uint32_t local_ranks[SEQSYNC_LOCAL_RANKS_MAX]; /* ascending */
    uint32_t local_count;
    uint32_t members[SEQSYNC_NODES_MAX]; /* nodes with ranks of the job, ascending */
    uint32_t member_count;
    uint32_t member; /* our place among them */
    uint32_t refs;   /* in flight, and 1 until job_end() */
    bool ending;
    bool admitted;
    bool planned; /* the layouts and memory below fit plan */

    struct arena_schema schema; /* points to the two arrays below */
    struct seqsync_exchange_shape exchanges[SEQSYNC_EXCHANGES_MAX];
    struct seqsync_bucket_shape buckets[SEQSYNC_BUCKETS_MAX];
    uint64_t charged_bytes;

    struct arena_page page_layout;
    struct segment page;
    struct segment result;
    struct segment gradients[SEQSYNC_LOCAL_RANKS_MAX];
    float *bucket_partials; /* several nodes: this node's partial of every bucket, laid out like the
                               result segment */
    float *slice_partials;  /* several nodes: others' partials of this node's slices */
    size_t slice_offsets[SEQSYNC_BUCKETS_MAX]; /* elements, of one other member's slice; members
                                                  follow each other */
    size_t slice_elements;                     /* in all, for one other member */
    size_t bucket_partial_bytes;
    size_t slice_partial_bytes;

    uint8_t batch[BATCH_BYTES_MAX]; /* of the open step, as a local rank described it */
    size_t batch_length;
    uint64_t step;
    uint64_t seed;
    uint64_t geometry_digest; /* of the batch that plan was made for, without seed and ids */
    struct plan *plan;
    struct step_shape shape;
    void *shape_memory;
    int64_t *move_rows[SEQSYNC_SPACES_N]; /* [move]: first row among the partials of the space, -1 =
                                             another node's */
    int64_t partial_rows[SEQSYNC_SPACES_N];
    size_t partial_offsets[SEQSYNC_EXCHANGES_MAX]; /* bytes into partials */
    struct job_step_memory step_memory;
    uint32_t memory_version; /* counts new arenas; workers are sent those that they do not have */
    struct arena_rank rank_layouts[SEQSYNC_LOCAL_RANKS_MAX];
    struct arena_inbox inbox_layout;
    int64_t local_rows[SEQSYNC_LOCAL_RANKS_MAX][SEQSYNC_SPACES_N];
    int64_t local_return_rows[SEQSYNC_LOCAL_RANKS_MAX][SEQSYNC_SPACES_N];
    uint64_t kv_planned_bytes; /* into this node, per step */
    uint64_t kv_moved_bytes;   /* in the open or last step */

    struct job_send *sends;      /* in flight */
    struct job_retired *retired; /* goes when no send is in flight */
};

/* Copies what it needs of a committed ENTRY_JOB_FORMED in which this node has ranks. -ENOMEM. */
int job_new(struct job_host *host, const struct entry *entry, uint32_t node_count,
            struct job **ret);

/* -1 if the rank is not of this node. */
int32_t job_local_index(const struct job *job, uint32_t rank);

/* Takes the schema that a local rank registered: NULL, or why it is not legal. Later calls compare
 * nothing: digests do. */
const char *job_set_schema(struct job *job, const struct arena_schema *schema);

/* Charges and makes page, gradients and results; answers by on_admitted(). */
void job_admit(struct job *job);

/* Keeps the batch that a local rank described: NULL, or why it is not legal. */
const char *job_set_batch(struct job *job, const uint8_t *bytes, size_t length);

/* Plans @step from the kept batch, makes its memory, expects its transfers; answers by
 * on_planned(). */
void job_plan(struct job *job, uint64_t step);

/* The part of a local rank as a segment of its own, whose read_fd the caller sends and then
 * deinits. -ENOMEM. */
int job_part(const struct job *job, uint32_t local, struct segment *ret, size_t *ret_bytes);

/* Starts a sum; answers by on_summed(). -ENOMEM. */
int job_sum(struct job *job, uint64_t step, enum sum_kind kind, uint32_t id, uint32_t part,
            int64_t count);

/* Starts a send. -ENOMEM. */
int job_send(struct job *job, uint64_t step, enum transfer_kind kind, uint32_t id, uint32_t part,
             uint32_t node, int64_t count, bool nonfinite);

/* A transfer has arrived: accounts for it, and expects the next round of a parameter bucket.
 * -ENOMEM. */
int job_arrived(struct job *job, const struct bulk_arrival *arrival);

/* Writes a word of the page, and wakes who waits for it. */
void job_raise(struct job *job, enum word_kind word, uint32_t id, uint32_t index, uint64_t stamp,
               int64_t count, int32_t value, bool skip);

/* No more sums or sends; on_gone() comes when what is in flight is done. */
void job_end(struct job *job);

/* --- between the files of this noun --- */
void job_ref(struct job *job);
void job_unref(struct job *job);
int job_charge(struct job *job, uint64_t bytes, const char **ret_error);
void job_discharge(struct job *job, uint64_t bytes);
size_t job_row_bytes(const struct job *job, uint32_t exchange);
const struct plan_move *job_move(const struct job *job, uint32_t space, uint32_t holder,
                                 uint32_t node);
/* First elements of the dK and dV planes of a partial of @move; row 0 is the move's first inbox
 * row. */
void job_partial_planes(const struct job *job, uint32_t exchange, const struct plan_move *move,
                        float **ret_dk, float **ret_dv);
/* Elements [first, first + count) of @bucket that member @member owns. */
void job_slice(const struct job *job, uint32_t bucket, uint32_t member, size_t *ret_first,
               size_t *ret_count);
float *job_bucket_data(const struct job *job, uint8_t *segment, uint32_t bucket);
float *job_slice_partial(const struct job *job, uint32_t bucket, uint32_t member);
int32_t job_member_of(const struct job *job, uint32_t node);
int job_expect_step(struct job *job, uint64_t step);
int job_expect_parameters(struct job *job, uint32_t bucket, uint64_t round);
/* Gives memory of an earlier plan back: now, or when the sends in flight are done. */
void job_retire(struct job *job, struct job_retired *retired);
void job_retired_free(struct job *job);
void job_step_memory_deinit(struct job_step_memory *memory, uint32_t local_count);

#endif
