/*
 * A gather collects one digest from each of its members, once each, at the conductor. It is
 * complete when all have come; the next one of its kind then has the next sequence number.
 */
#ifndef SEQSYNC_CORE_GATHER_H
#define SEQSYNC_CORE_GATHER_H

#include "daemon/core/message.h"
#include "daemon/core/rank_set.h"

enum gather_outcome {
    GATHER_DUPLICATE = 1, /* this member has come already */
    GATHER_STALE,         /* an earlier one, which is agreed */
    GATHER_FUTURE,        /* a later one, which nobody can have begun */
    GATHER_STRANGER,      /* not a member */
};

struct gather {
    enum gather_kind kind;
    uint64_t sequence;    /* of the one that is open or comes next */
    uint64_t deadline_ns; /* UINT64_MAX: nobody waits */
    struct rank_set members;
    struct rank_set arrived;
    uint64_t *digests; /* [members_max], borrowed for life */
    uint32_t member_count;
    uint32_t arrived_count;
    bool skip; /* of any member */
};

/* @digests[largest member + 1] must live as long. @members is copied. */
void gather_init(struct gather *gather, enum gather_kind kind, const struct rank_set *members,
                 uint64_t *digests);

/* 0, or an outcome that changes nothing. */
int gather_add(struct gather *gather, uint64_t sequence, uint32_t member, uint64_t digest,
               bool skip);

static inline bool gather_is_complete(const struct gather *gather)
{
    return gather->arrived_count == gather->member_count;
}

/* Makes ready for the next one. */
void gather_next(struct gather *gather);

void gather_missing(const struct gather *gather, struct rank_set *ret);

/*
 * Whether members differ. @ret_odd: those whose digest is not that of the majority, @ret_others:
 * the majority; without a majority of more than half, @ret_odd is everybody and @ret_others empty.
 * With @ignore_zero, a digest of 0 was not given and is not compared.
 */
bool gather_differs(const struct gather *gather, bool ignore_zero, struct rank_set *ret_odd,
                    struct rank_set *ret_others);

#endif
