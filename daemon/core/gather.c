#include "daemon/core/gather.h"

void gather_init(struct gather *gather, enum gather_kind kind, const struct rank_set *members,
                 uint64_t *digests)
{
    *gather = (struct gather){.kind = kind,
                              .sequence = 1,
                              .deadline_ns = UINT64_MAX,
                              .members = *members,
                              .digests = digests,
                              .member_count = rank_set_count(members)};
}

int gather_add(struct gather *gather, uint64_t sequence, uint32_t member, uint64_t digest,
               bool skip)
{
    if (member >= SEQSYNC_RANKS_MAX || !rank_set_has(&gather->members, member)) {
        return GATHER_STRANGER;
    }
    if (sequence != gather->sequence) {
        return sequence < gather->sequence ? GATHER_STALE : GATHER_FUTURE;
    }
    if (rank_set_has(&gather->arrived, member)) {
        return GATHER_DUPLICATE;
    }
    rank_set_add(&gather->arrived, member);
    gather->arrived_count++;
    gather->digests[member] = digest;
    gather->skip |= skip;
    return 0;
}

void gather_next(struct gather *gather)
{
    gather->sequence++;
    gather->deadline_ns = UINT64_MAX;
    gather->arrived_count = 0;
    gather->skip = false;
    rank_set_clear(&gather->arrived);
}

void gather_missing(const struct gather *gather, struct rank_set *ret)
{
    rank_set_minus(ret, &gather->members, &gather->arrived);
}

/* The only digest that more than half of the counted members can have (Boyer and Moore's vote). */
static uint64_t gather_candidate(const struct gather *gather, bool ignore_zero)
{
    uint64_t candidate = 0;
    uint32_t lead = 0;

    for (uint32_t i = rank_set_next(&gather->arrived, 0); i != RANK_SET_END;
         i = rank_set_next(&gather->arrived, i + 1)) {
        const uint64_t digest = gather->digests[i];
        if (ignore_zero && digest == 0) {
            continue;
        }
        if (lead == 0) {
            candidate = digest;
        }
        lead = digest == candidate ? lead + 1 : lead - 1;
    }
    return candidate;
}

bool gather_differs(const struct gather *gather, bool ignore_zero, struct rank_set *ret_odd,
                    struct rank_set *ret_others)
{
    const uint64_t candidate = gather_candidate(gather, ignore_zero);
    uint32_t same = 0, different = 0;

    rank_set_clear(ret_odd);
    rank_set_clear(ret_others);
    for (uint32_t i = rank_set_next(&gather->arrived, 0); i != RANK_SET_END;
         i = rank_set_next(&gather->arrived, i + 1)) {
        const uint64_t digest = gather->digests[i];
        if (ignore_zero && digest == 0) {
            continue;
        }
        rank_set_add(digest == candidate ? ret_others : ret_odd, i);
        same += digest == candidate;
        different += digest != candidate;
    }
    if (different > 0 && same <= different) {
        for (uint32_t i = 0; i < RANK_SET_WORDS; i++) {
            ret_odd->words[i] |= ret_others->words[i];
        }
        rank_set_clear(ret_others);
    }
    return different > 0;
}
