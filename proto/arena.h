/*
 * Layout of the shared memory of one job on one node, computed alike by daemon and worker, so that
 * no offset is ever read from a message or from shared memory. Pure; all sizes are checked for
 * overflow.
 *
 *   page      node, written by the daemon only: state and ready words, counts
 *   gradient  rank: one contribution per bucket
 *   result    node: one result per bucket
 *   arena     rank: own ready words; K and V planes per exchange; two return slots (dK and dV
 * planes) inbox     node: K and V planes of remote rows per exchange; two return results per local
 * rank
 *
 * A ready word holds the low 32 bits of the step (or round) that it is ready for; equality is
 * readiness. Words are written with release order and FUTEX_WAKE (shared), waited on with
 * FUTEX_WAIT and a deadline. Readers never trust them for more than "go on": a lying worker can
 * spoil its own job only.
 */
#ifndef SEQSYNC_PROTO_ARENA_H
#define SEQSYNC_PROTO_ARENA_H

#include <seqsync/exchange.h>
#include <seqsync/types.h>
#include <stdbool.h>

#define ARENA_ALIGN 64u /* of every plane and bucket */
#define ARENA_PAGE 4096u
#define ARENA_RETURN_SLOTS 2u /* exchange e uses slot e % 2 */

/* What the layout depends on, fixed at registration. Borrowed by the calls. */
struct arena_schema {
    const struct seqsync_exchange_shape *exchanges;
    const struct seqsync_bucket_shape *buckets;
    uint32_t exchange_count;
    uint32_t bucket_count;
    uint32_t world_size;
    uint32_t local_count;
};

/* NULL, or a static sentence naming the field that is out of its limits. */
const char *arena_schema_check(const struct arena_schema *schema);

/* Digest over shapes, never 0. */
uint64_t arena_schema_digest(const struct arena_schema *schema);

/* f32 elements of one K (or V) row of an exchange. */
static inline size_t arena_row_elements(const struct seqsync_exchange_shape *shape)
{
    return (size_t)shape->heads_kv * (size_t)shape->head_dim;
}

/* Byte offsets into the page. The words are uint32_t, the counts int64_t. */
struct arena_page {
    size_t state;        /* 0 while the job runs, else the negative status, as uint32_t */
    size_t kv_ready;     /* [exchange][world_size]: remote rank's rows are in the inbox */
    size_t return_ready; /* [exchange][local_count]: local rank's sum is in the inbox segment */
    size_t
        return_free; /* [exchange]: all sums on this node that read return buffers of it are done */
    size_t bucket_ready; /* [bucket]: result of the step */
    size_t
        bucket_skip; /* [bucket]: 1 if the result of the step is non-finite (policy skip or pass) */
    size_t parameter_ready; /* [bucket]: result of the parameter round */
    size_t bucket_count;    /* [bucket]: global count, int64_t */
    size_t bytes;           /* of the segment, a multiple of ARENA_PAGE */
};
bool arena_page_layout(const struct arena_schema *schema, struct arena_page *ret);

/* Byte offset of @bucket in a gradient or result segment; bucket == bucket_count gives the
 * segment's size. */
bool arena_bucket_offset(const struct arena_schema *schema, uint32_t bucket, size_t *ret);

/* Rows that one rank has under a plan, per space. */
struct arena_rows {
    int64_t rows[SEQSYNC_SPACES_N];        /* of K/V */
    int64_t return_rows[SEQSYNC_SPACES_N]; /* of the return buffer */
};

/* Byte offsets into a rank's arena. */
struct arena_rank {
    size_t kv_ready;                 /* [exchange] words, written by the worker */
    size_t k[SEQSYNC_EXCHANGES_MAX]; /* planes of rows x row elements */
    size_t v[SEQSYNC_EXCHANGES_MAX];
    size_t return_k[ARENA_RETURN_SLOTS]; /* planes of return_rows x row elements, sized for the
                                            largest user */
    size_t return_v[ARENA_RETURN_SLOTS];
    size_t bytes;
};
bool arena_rank_layout(const struct arena_schema *schema, const struct arena_rows *rows,
                       struct arena_rank *ret);

/* Byte offsets into the node's inbox segment. */
struct arena_inbox {
    size_t k[SEQSYNC_EXCHANGES_MAX]; /* planes of inbox_rows x row elements */
    size_t v[SEQSYNC_EXCHANGES_MAX];
    size_t sum_k[SEQSYNC_LOCAL_RANKS_MAX][ARENA_RETURN_SLOTS]; /* planes of the local rank's rows */
    size_t sum_v[SEQSYNC_LOCAL_RANKS_MAX][ARENA_RETURN_SLOTS];
    size_t bytes;
};
/* @inbox_rows[space] of the node; @local_rows[local_count][space]: K/V rows of each local rank. */
bool arena_inbox_layout(const struct arena_schema *schema,
                        const int64_t inbox_rows[SEQSYNC_SPACES_N],
                        const int64_t (*local_rows)[SEQSYNC_SPACES_N], struct arena_inbox *ret);

#endif
