/*
 * Which keys a query sees, as arithmetic on rectangles of the attention matrix. Every mask of a
 * sequence is a band around the diagonal: query q sees the keys q - before .. q + after of its own
 * sequence.
 */
#ifndef SEQSYNC_PLAN_GEOMETRY_H
#define SEQSYNC_PLAN_GEOMETRY_H

#include <seqsync/types.h>
#include <stdbool.h>

/* Keys seen before and after the query; SEQSYNC_TOKENS_MAX stands for all of them. */
struct reach {
    int64_t before;
    int64_t after;
};

/* Queries [q_first, q_end) by keys [k_first, k_end), global indices, none empty. */
struct rect {
    int64_t q_first;
    int64_t q_end;
    int64_t k_first;
    int64_t k_end;
};

struct reach geometry_reach(const struct seqsync_sequence *sequence);

/* The reach of cross-attention: all keys. */
struct reach geometry_reach_all(void);

/* True if the queries of @sequence see no key after themselves and not all keys. */
bool geometry_is_causal(const struct seqsync_sequence *sequence);

/* Shrinks @rect to the smallest one around the pairs that are seen. False, with @rect unspecified,
 * if there is none. */
bool geometry_trim(const struct reach *reach, struct rect *rect);

/* The band to compute @rect with; a side that cuts nothing off is SEQSYNC_BAND_NONE_*. */
void geometry_band(const struct reach *reach, const struct rect *rect, int64_t *ret_low,
                   int64_t *ret_high);

/* Pairs of @rect with low <= k - q <= high, in constant time. */
int64_t geometry_area(const struct rect *rect, int64_t low, int64_t high);

#endif
