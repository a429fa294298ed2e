/* A plan in figures, for those who ask why a rank is slow: pure arithmetic on a valid plan. */
#ifndef SEQSYNC_PLAN_EXPLAIN_H
#define SEQSYNC_PLAN_EXPLAIN_H

#include "daemon/plan/plan.h"

/*
 * What one rank holds, computes and exchanges in one space, for one forward pass of one layer. In
 * the backward pass as many bytes of dK/dV go the other way.
 */
struct explain_rank {
    int64_t tokens;          /* queries it holds */
    int64_t area;            /* query-key pairs it computes */
    int64_t bytes_in;        /* K/V of other ranks that it reads */
    int64_t bytes_in_remote; /* of these, what lies in its node's inbox */
    int64_t bytes_out;       /* its K/V that other ranks read, once for each reader */
    int64_t bytes_sent;      /* its K/V that leave the node, once for each other node */
};

/* Largest share by mean share, 1 = even. 1 too where nobody has any. */
struct explain_balance {
    double tokens;
    double area;
    double bytes_in;
    double bytes_out;
};

/* Fills @ret[rank_count]. @row_bytes, 0 .. 2^24, is what K and V of one row take together. */
void explain_ranks(const struct plan *plan, uint32_t space, int64_t row_bytes,
                   struct explain_rank *ret);

/* @ranks[count], count >= 1. */
struct explain_balance explain_balance(const struct explain_rank *ranks, uint32_t count);

#endif
