/* A set of ranks (or of nodes, which are fewer). No allocation; any thread. */
#ifndef SEQSYNC_CORE_RANK_SET_H
#define SEQSYNC_CORE_RANK_SET_H

#include <seqsync/types.h>
#include <stdbool.h>
#include <string.h>

#define RANK_SET_WORDS (SEQSYNC_RANKS_MAX / 64)
#define RANK_SET_END UINT32_MAX

struct rank_set {
    uint64_t words[RANK_SET_WORDS];
};

static inline void rank_set_clear(struct rank_set *set)
{
    memset(set, 0, sizeof(*set));
}

static inline void rank_set_add(struct rank_set *set, uint32_t rank)
{
    set->words[rank / 64] |= UINT64_C(1) << (rank % 64);
}

static inline void rank_set_remove(struct rank_set *set, uint32_t rank)
{
    set->words[rank / 64] &= ~(UINT64_C(1) << (rank % 64));
}

static inline bool rank_set_has(const struct rank_set *set, uint32_t rank)
{
    return (set->words[rank / 64] >> (rank % 64) & 1) != 0;
}

static inline uint32_t rank_set_count(const struct rank_set *set)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < RANK_SET_WORDS; i++) {
        n += (uint32_t)__builtin_popcountll(set->words[i]);
    }
    return n;
}

/* The smallest member >= @from, or RANK_SET_END. */
static inline uint32_t rank_set_next(const struct rank_set *set, uint32_t from)
{
    for (uint32_t rank = from; rank < SEQSYNC_RANKS_MAX; rank++) {
        if (set->words[rank / 64] >> (rank % 64) == 0) {
            rank |= 63; /* nothing left in this word */
        } else if (rank_set_has(set, rank)) {
            return rank;
        }
    }
    return RANK_SET_END;
}

/* Members of @a that are not in @b. */
static inline void rank_set_minus(struct rank_set *ret, const struct rank_set *a,
                                  const struct rank_set *b)
{
    for (uint32_t i = 0; i < RANK_SET_WORDS; i++) {
        ret->words[i] = a->words[i] & ~b->words[i];
    }
}

#endif
