/*
 * A bucket collects one contribution per local rank, once each, and becomes READY when every slice
 * of its result is here. It holds masks and counts, never tensor bytes. It says what is to be done
 * next; the caller does it.
 *
 *     int r = bucket_contribute(...);           a worker's word, a peer's transfer or a sum
 *     while ((todo = bucket_next(bucket)) != BUCKET_WAIT) { perform(todo); }
 *
 * One node: the local sum is the result. More: each node sums its ranks to a partial, sends each
 * other node the slice that this one owns, sums all partials of its own slice, and sends the result
 * to all. A replicated bucket counts once, as rank 0 has it: only rank 0's node makes a partial;
 * the others contribute to say that they are there.
 *
 * Ranks are bits by local index, nodes are bits by node index.
 */
#ifndef SEQSYNC_CORE_BUCKET_H
#define SEQSYNC_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

enum bucket_state {
    BUCKET_IDLE = 0, /* nobody has used it in this step */
    BUCKET_FILLING,
    BUCKET_SUMMING, /* the local sum is being computed */
    BUCKET_SUMMED,
    BUCKET_PARTIAL, /* own partial is sent; others' are awaited */
    BUCKET_OWNING,  /* the owned slice is being summed */
    BUCKET_OWNED,
    BUCKET_SHARED, /* own result is sent; others' are awaited */
    BUCKET_READY,
    BUCKET_STATES_N,
};

enum bucket_outcome {
    BUCKET_DUPLICATE = 1, /* it came before */
    BUCKET_NEGATIVE,      /* a count below 0 */
    BUCKET_OVERFLOW,      /* the sum of the counts has no int64_t */
    BUCKET_UNEXPECTED,    /* nobody sends that, or not now */
    BUCKET_COUNTS_DIFFER, /* two owners divided by different counts */
};

enum bucket_todo {
    BUCKET_WAIT = 0,
    BUCKET_SUM_LOCAL,
    BUCKET_SEND_PARTIALS, /* to bucket_peers(), with local_count */
    BUCKET_SUM_OWNED,     /* with count as divisor */
    BUCKET_SEND_RESULTS,  /* likewise */
    BUCKET_RAISE,         /* count and nonfinite hold for the whole bucket */
};

/* What all buckets of a job share. Borrowed by each call. */
struct bucket_members {
    uint64_t ranks;     /* local ones */
    uint64_t peers;     /* other nodes of the job */
    uint64_t root;      /* rank 0's node, a bit */
    uint64_t self;      /* this node, a bit */
    uint32_t root_rank; /* local index of rank 0, if root == self */
};

struct bucket {
    enum bucket_state state;
    bool replicated;
    bool nonfinite; /* of anything that went into this node's results, or of a peer's result */
    bool counted;   /* a peer's result told the global count */
    uint64_t contributed;
    uint64_t partials; /* nodes whose partial of the owned slice is here */
    uint64_t results;  /* nodes whose result is here */
    int64_t local_count;
    int64_t count;      /* global, complete from BUCKET_OWNING on */
    int64_t peer_count; /* if counted */
};

void bucket_init(struct bucket *bucket, bool replicated);

/* Back to IDLE for the next step. Asserts that nothing is half done. */
void bucket_reset(struct bucket *bucket);

/* The contribution of local rank @rank is complete. 0, or an outcome that changes nothing. */
int bucket_contribute(struct bucket *bucket, const struct bucket_members *members, uint32_t rank,
                      int64_t count);

/* A peer's partial, or result, is here. 0, or an outcome that changes nothing. */
int bucket_receive_partial(struct bucket *bucket, const struct bucket_members *members,
                           uint32_t node, int64_t count, bool nonfinite);
int bucket_receive_result(struct bucket *bucket, const struct bucket_members *members,
                          uint32_t node, int64_t count, bool nonfinite);

/* A sum that was asked for is done. 0, or BUCKET_UNEXPECTED, or BUCKET_COUNTS_DIFFER if an owner's
 * result has come with another count than this node divided by. */
int bucket_summed_local(struct bucket *bucket, bool nonfinite);
int bucket_summed_owned(struct bucket *bucket, bool nonfinite);

/* Moves on if it can; the caller performs what it says and asks again. */
enum bucket_todo bucket_next(struct bucket *bucket, const struct bucket_members *members);

/* Nodes whose partials this node's owned slice needs. */
uint64_t bucket_partial_senders(const struct bucket *bucket, const struct bucket_members *members);

/* Whether a bucket may go from one state to another. */
bool bucket_may_move(enum bucket_state from, enum bucket_state to);

#endif
