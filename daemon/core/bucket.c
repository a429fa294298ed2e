/*
 *   IDLE -> FILLING -> SUMMING -> SUMMED -> READY                               one node
 *                                 SUMMED -> PARTIAL -> OWNING -> OWNED -> SHARED -> READY
 *   IDLE or FILLING or SUMMED may see peers' partials and results; they are noted and used later.
 *   FILLING -> SUMMED   a replicated bucket on a node without rank 0 has nothing to sum.
 *   READY or IDLE -> IDLE at the step's end.
 */
#include "daemon/core/bucket.h"

#include "daemon/base/num.h"

#include <assert.h>

static const bool moves[BUCKET_STATES_N][BUCKET_STATES_N] = {
    [BUCKET_IDLE] = {[BUCKET_IDLE] = true, [BUCKET_FILLING] = true},
    [BUCKET_FILLING] = {[BUCKET_SUMMING] = true, [BUCKET_SUMMED] = true},
    [BUCKET_SUMMING] = {[BUCKET_SUMMED] = true},
    [BUCKET_SUMMED] = {[BUCKET_PARTIAL] = true, [BUCKET_READY] = true},
    [BUCKET_PARTIAL] = {[BUCKET_OWNING] = true},
    [BUCKET_OWNING] = {[BUCKET_OWNED] = true},
    [BUCKET_OWNED] = {[BUCKET_SHARED] = true},
    [BUCKET_SHARED] = {[BUCKET_READY] = true},
    [BUCKET_READY] = {[BUCKET_IDLE] = true},
};

bool bucket_may_move(enum bucket_state from, enum bucket_state to)
{
    return moves[from][to];
}

static void bucket_set_state(struct bucket *bucket, enum bucket_state state)
{
    assert(bucket_may_move(bucket->state, state));
    bucket->state = state;
}

void bucket_init(struct bucket *bucket, bool replicated)
{
    *bucket = (struct bucket){.state = BUCKET_IDLE, .replicated = replicated};
}

void bucket_reset(struct bucket *bucket)
{
    bucket_set_state(bucket, BUCKET_IDLE);
    bucket_init(bucket, bucket->replicated);
}

/* The first use in a step. */
static void bucket_open(struct bucket *bucket)
{
    if (bucket->state == BUCKET_IDLE) {
        bucket_set_state(bucket, BUCKET_FILLING);
    }
}

/* Whether this node has a share of its own in the sum. */
static bool bucket_has_share(const struct bucket *bucket, const struct bucket_members *members)
{
    return !bucket->replicated || members->root == members->self;
}

uint64_t bucket_partial_senders(const struct bucket *bucket, const struct bucket_members *members)
{
    return bucket->replicated ? members->root & ~members->self : members->peers;
}

int bucket_contribute(struct bucket *bucket, const struct bucket_members *members, uint32_t rank,
                      int64_t count)
{
    const uint64_t bit = UINT64_C(1) << rank;
    const bool counts =
        !bucket->replicated || (members->root == members->self && rank == members->root_rank);
    int64_t local_count = bucket->local_count;

    assert((members->ranks & bit) != 0);
    if (count < 0) {
        return BUCKET_NEGATIVE;
    }
    if ((bucket->contributed & bit) != 0) {
        return BUCKET_DUPLICATE;
    }
    if (counts && (!num_add_i64(&local_count, local_count, count) ||
                   !num_add_i64(&bucket->count, bucket->count, count))) {
        return BUCKET_OVERFLOW;
    }
    bucket_open(bucket);
    bucket->local_count = local_count;
    bucket->contributed |= bit;
    return 0;
}

int bucket_receive_partial(struct bucket *bucket, const struct bucket_members *members,
                           uint32_t node, int64_t count, bool nonfinite)
{
    const uint64_t bit = UINT64_C(1) << node;

    if ((bucket_partial_senders(bucket, members) & bit) == 0) {
        return BUCKET_UNEXPECTED;
    }
    if ((bucket->partials & bit) != 0) {
        return BUCKET_DUPLICATE;
    }
    if (count < 0) {
        return BUCKET_NEGATIVE;
    }
    if (!num_add_i64(&bucket->count, bucket->count, count)) {
        return BUCKET_OVERFLOW;
    }
    /* All partials precede the owned sum, so a partial that is not here yet finds it not begun. */
    assert(bucket->state < BUCKET_OWNING);
    bucket_open(bucket);
    bucket->partials |= bit;
    bucket->nonfinite |= nonfinite;
    return 0;
}

int bucket_receive_result(struct bucket *bucket, const struct bucket_members *members,
                          uint32_t node, int64_t count, bool nonfinite)
{
    const uint64_t bit = UINT64_C(1) << node;

    if ((members->peers & bit) == 0) {
        return BUCKET_UNEXPECTED;
    }
    if ((bucket->results & bit) != 0) {
        return BUCKET_DUPLICATE;
    }
    if (count < 0) {
        return BUCKET_NEGATIVE;
    }
    if ((bucket->counted && bucket->peer_count != count) ||
        (bucket->state >= BUCKET_OWNING && bucket->count != count)) {
        return BUCKET_COUNTS_DIFFER;
    }
    bucket_open(bucket);
    bucket->counted = true;
    bucket->peer_count = count;
    bucket->results |= bit;
    bucket->nonfinite |= nonfinite;
    return 0;
}

int bucket_summed_local(struct bucket *bucket, bool nonfinite)
{
    if (bucket->state != BUCKET_SUMMING) {
        return BUCKET_UNEXPECTED;
    }
    bucket->nonfinite |= nonfinite;
    bucket_set_state(bucket, BUCKET_SUMMED);
    return 0;
}

int bucket_summed_owned(struct bucket *bucket, bool nonfinite)
{
    if (bucket->state != BUCKET_OWNING) {
        return BUCKET_UNEXPECTED;
    }
    if (bucket->counted && bucket->peer_count != bucket->count) {
        return BUCKET_COUNTS_DIFFER;
    }
    bucket->nonfinite |= nonfinite;
    bucket_set_state(bucket, BUCKET_OWNED);
    return 0;
}

static enum bucket_todo next_filling(struct bucket *bucket, const struct bucket_members *members)
{
    if (bucket->contributed != members->ranks) {
        return BUCKET_WAIT;
    }
    if (!bucket_has_share(bucket, members)) {
        bucket_set_state(bucket, BUCKET_SUMMED);
        return bucket_next(bucket, members);
    }
    bucket_set_state(bucket, BUCKET_SUMMING);
    return BUCKET_SUM_LOCAL;
}

static enum bucket_todo next_summed(struct bucket *bucket, const struct bucket_members *members)
{
    if (members->peers == 0) {
        bucket_set_state(bucket, BUCKET_READY);
        return BUCKET_RAISE;
    }
    bucket_set_state(bucket, BUCKET_PARTIAL);
    return bucket_has_share(bucket, members) ? BUCKET_SEND_PARTIALS : bucket_next(bucket, members);
}

static enum bucket_todo next_partial(struct bucket *bucket, const struct bucket_members *members)
{
    if (bucket->partials != bucket_partial_senders(bucket, members)) {
        return BUCKET_WAIT;
    }
    bucket_set_state(bucket, BUCKET_OWNING);
    return BUCKET_SUM_OWNED;
}

static enum bucket_todo next_shared(struct bucket *bucket, const struct bucket_members *members)
{
    if (bucket->results != members->peers) {
        return BUCKET_WAIT;
    }
    bucket_set_state(bucket, BUCKET_READY);
    return BUCKET_RAISE;
}

enum bucket_todo bucket_next(struct bucket *bucket, const struct bucket_members *members)
{
    switch (bucket->state) {
    case BUCKET_FILLING:
        return next_filling(bucket, members);
    case BUCKET_SUMMED:
        return next_summed(bucket, members);
    case BUCKET_PARTIAL:
        return next_partial(bucket, members);
    case BUCKET_OWNED:
        bucket_set_state(bucket, BUCKET_SHARED);
        return BUCKET_SEND_RESULTS;
    case BUCKET_SHARED:
        return next_shared(bucket, members);
    case BUCKET_IDLE:
    case BUCKET_SUMMING:
    case BUCKET_OWNING:
    case BUCKET_READY:
    case BUCKET_STATES_N:
        break;
    }
    return BUCKET_WAIT;
}
