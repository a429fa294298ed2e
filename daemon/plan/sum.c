#include "daemon/plan/sum.h"

#include <assert.h>
#include <string.h>

#include "daemon/base/err.h"
#include "daemon/base/sort.h"
#include "daemon/base/vec.h"

/* Somebody's rows of the holder that is summed. */
struct share {
    int64_t holder_row;
    int64_t end;
    int64_t row;    /* where the first lies at whoever has them */
    uint64_t order; /* of the terms: by node, ranks of the own node ascending */
    uint32_t from_node;
    uint32_t from;
};

/* No more contribute to a row than a node has ranks, and there are other nodes. */
#define ACTIVE_MAX (SEQSYNC_LOCAL_RANKS_MAX + SEQSYNC_NODES_MAX)

/* Working memory for one holder and node after the other. */
struct summer {
    struct share *shares;
    struct sort_item *events; /* key = holder row; value = 2 x share, + 1 where it begins */
    struct sort_item *scratch;
    uint32_t share_count;
    uint32_t share_capacity;
    uint32_t event_capacity;
    uint32_t scratch_capacity;
    uint32_t sum_capacity;
    uint32_t term_capacity;
    uint32_t active_count;
    uint32_t active[ACTIVE_MAX]; /* shares of the current row, in the order of their terms */
};

static int add_share(struct summer *summer, const struct share *share)
{
    struct share *shares = vec_grow(summer->shares, &summer->share_capacity,
                                    (uint64_t)summer->share_count + 1, sizeof(*shares));
    if (!shares) {
        return err_origin(-ENOMEM);
    }
    summer->shares = shares;
    shares[summer->share_count++] = *share;
    return 0;
}

static int add_rank_shares(struct summer *summer, const struct need *needs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct share share = {.holder_row = needs[i].holder_row,
                                    .end = needs[i].holder_row + needs[i].count,
                                    .row = needs[i].return_row,
                                    .order = (uint64_t)needs[i].node << 32 | needs[i].rank,
                                    .from_node = 0,
                                    .from = needs[i].rank};
        int r = add_share(summer, &share);
        if (r < 0) {
            return err_trace(r);
        }
    }
    return 0;
}

static int add_node_shares(struct summer *summer, const struct plan_space *space,
                           const struct plan_move *move)
{
    for (uint32_t i = 0; i < move->range_count; i++) {
        const struct plan_range *range = &space->ranges[move->first_range + i];
        const struct share share = {.holder_row = range->holder_row,
                                    .end = range->holder_row + range->count,
                                    .row = range->row,
                                    .order = (uint64_t)move->node << 32,
                                    .from_node = 1,
                                    .from = move->node};
        int r = add_share(summer, &share);
        if (r < 0) {
            return err_trace(r);
        }
    }
    return 0;
}

static int sort_events(struct summer *summer)
{
    const uint64_t count = 2 * (uint64_t)summer->share_count;
    struct sort_item *events =
        vec_grow(summer->events, &summer->event_capacity, count, sizeof(*events));
    if (!events && count > 0) {
        return err_origin(-ENOMEM);
    }
    summer->events = events;
    struct sort_item *scratch =
        vec_grow(summer->scratch, &summer->scratch_capacity, count, sizeof(*scratch));
    if (!scratch && count > 0) {
        return err_origin(-ENOMEM);
    }
    summer->scratch = scratch;
    for (uint64_t i = 0; i < summer->share_count; i++) {
        events[2 * i] = (struct sort_item){.key = summer->shares[i].holder_row, .value = 2 * i + 1};
        events[2 * i + 1] = (struct sort_item){.key = summer->shares[i].end, .value = 2 * i};
    }
    sort_items(events, scratch, (size_t)count);
    return 0;
}

static void set_active(struct summer *summer, uint32_t share, bool begins)
{
    const uint64_t order = summer->shares[share].order;
    uint32_t at = 0;

    while (at < summer->active_count && summer->shares[summer->active[at]].order < order) {
        at++;
    }
    const uint32_t behind = summer->active_count - at;
    if (begins) {
        assert(summer->active_count < ACTIVE_MAX);
        memmove(&summer->active[at + 1], &summer->active[at], behind * sizeof(uint32_t));
        summer->active[at] = share;
        summer->active_count++;
    } else {
        assert(behind > 0 && summer->active[at] == share);
        memmove(&summer->active[at], &summer->active[at + 1], (behind - 1) * sizeof(uint32_t));
        summer->active_count--;
    }
}

/* Holder rows [begin, end), which lie at @row where they are summed, from the active shares. */
static int emit(struct summer *summer, struct plan_space *space, uint32_t holder, uint32_t node,
                int64_t begin, int64_t end, int64_t row)
{
    struct plan_sum *sums =
        vec_grow(space->sums, &summer->sum_capacity, (uint64_t)space->sum_count + 1, sizeof(*sums));
    if (!sums) {
        return err_origin(-ENOMEM);
    }
    space->sums = sums;
    struct plan_term *terms =
        vec_grow(space->terms, &summer->term_capacity,
                 (uint64_t)space->term_count + summer->active_count, sizeof(*terms));
    if (!terms) {
        return err_origin(-ENOMEM);
    }
    space->terms = terms;
    sums[space->sum_count++] = (struct plan_sum){.holder = holder,
                                                 .node = node,
                                                 .first_term = space->term_count,
                                                 .term_count = summer->active_count,
                                                 .row = row,
                                                 .count = end - begin};
    for (uint32_t i = 0; i < summer->active_count; i++) {
        const struct share *share = &summer->shares[summer->active[i]];
        terms[space->term_count++] =
            (struct plan_term){.from_node = share->from_node,
                               .from = share->from,
                               .row = share->row + (begin - share->holder_row)};
    }
    return 0;
}

/* Cuts the holder's rows [0, rows) wherever a share begins or ends. @move is where the rows are
 * summed, NULL on the holder's node, which also sums the rows that nobody contributes to. */
static int sum_runs(struct summer *summer, struct plan_space *space, uint32_t holder, uint32_t node,
                    int64_t rows, const struct plan_move *move)
{
    const uint64_t event_count = 2 * (uint64_t)summer->share_count;
    int64_t at = 0;
    uint64_t event = 0;
    int64_t inbox_row = move ? move->inbox_row : 0;

    while (at < rows) {
        while (event < event_count && summer->events[event].key == at) {
            const uint64_t value = summer->events[event].value;
            set_active(summer, (uint32_t)(value / 2), value % 2);
            event++;
        }
        const int64_t end = event < event_count ? summer->events[event].key : rows;
        if (!move || summer->active_count > 0) {
            int r = emit(summer, space, holder, node, at, end, move ? inbox_row : at);
            if (r < 0) {
                return err_trace(r);
            }
            inbox_row += end - at;
        }
        at = end;
    }
    summer->active_count = 0;
    return 0;
}

/* The sums of @holder on another node, from the needs of the ranks there. */
static int sum_away(struct summer *summer, struct plan_space *space, uint32_t holder,
                    const struct plan_move *move, const struct need *needs, uint32_t count)
{
    summer->share_count = 0;
    int r = add_rank_shares(summer, needs, count);
    if (r == 0) {
        r = sort_events(summer);
    }
    if (r == 0) {
        r = sum_runs(summer, space, holder, move->node, space->parts[holder].rows, move);
    }
    return err_trace(r);
}

/* The sums of @holder on its own node, from the ranks there and one partial of each other node. */
static int sum_home(struct summer *summer, struct plan_space *space, uint32_t holder, uint32_t node,
                    uint32_t first_move, uint32_t move_end, const struct need *needs,
                    uint32_t count)
{
    int r = 0;

    summer->share_count = 0;
    for (uint32_t m = first_move; r == 0 && m < move_end; m++) {
        r = add_node_shares(summer, space, &space->moves[m]);
    }
    if (r == 0) {
        r = add_rank_shares(summer, needs, count);
    }
    if (r == 0) {
        r = sort_events(summer);
    }
    if (r == 0) {
        r = sum_runs(summer, space, holder, node, space->parts[holder].rows, NULL);
    }
    return err_trace(r);
}

/* Needs and moves of one holder are both in node order, and @moves has all nodes but its own. */
static int sum_holder(struct summer *summer, const struct plan *plan, struct plan_space *space,
                      const struct need_index *index, uint32_t holder, uint32_t *move)
{
    const uint32_t home = plan->rank_nodes[holder];
    const uint32_t first_move = *move;
    const uint32_t need_end = index->holder_first[holder + 1];
    uint32_t move_end = first_move;
    uint32_t need = index->holder_first[holder];
    int r = 0;

    while (move_end < space->move_count && space->moves[move_end].holder == holder) {
        move_end++;
    }
    *move = move_end;
    for (uint32_t m = first_move; r == 0 && m <= move_end; m++) {
        const uint32_t node = m < move_end ? space->moves[m].node : plan->node_count;
        const bool is_home_next =
            home < node && (m == first_move || space->moves[m - 1].node < home);
        if (is_home_next) {
            const uint32_t first = need;
            while (need < need_end && index->needs[need].node == home) {
                need++;
            }
            r = sum_home(summer, space, holder, home, first_move, move_end, &index->needs[first],
                         need - first);
        }
        if (r == 0 && m < move_end) {
            const uint32_t first = need;
            while (need < need_end && index->needs[need].node == node) {
                need++;
            }
            r = sum_away(summer, space, holder, &space->moves[m], &index->needs[first],
                         need - first);
        }
    }
    assert(r < 0 || need == need_end);
    return err_trace(r);
}

int sum_init(struct plan *plan, uint32_t space, const struct need_index *index)
{
    struct summer summer = {0};
    uint32_t move = 0;
    int r = 0;

    for (uint32_t holder = 0; r == 0 && holder < plan->rank_count; holder++) {
        r = sum_holder(&summer, plan, &plan->spaces[space], index, holder, &move);
    }
    free(summer.shares);
    free(summer.events);
    free(summer.scratch);
    return err_trace(r);
}
