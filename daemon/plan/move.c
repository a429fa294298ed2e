#include "daemon/plan/move.h"

#include <assert.h>
#include <string.h>

#include "daemon/base/err.h"
#include "daemon/base/sort.h"
#include "daemon/base/vec.h"

/* Working memory for one holder and node after the other. */
struct mover {
    struct sort_item *items; /* key = holder row, value = count */
    struct sort_item *scratch;
    uint32_t move_capacity;
    uint32_t range_capacity;
};

static int open_move(struct mover *mover, struct plan_space *space, uint32_t holder, uint32_t node)
{
    struct plan_move *moves = vec_grow(space->moves, &mover->move_capacity,
                                       (uint64_t)space->move_count + 1, sizeof(*moves));
    if (!moves) {
        return err_origin(-ENOMEM);
    }
    space->moves = moves;
    moves[space->move_count++] = (struct plan_move){.holder = holder,
                                                    .node = node,
                                                    .first_range = space->range_count,
                                                    .inbox_row = space->inbox_rows[node]};
    return 0;
}

/* Adds rows to the last move; they follow those before or overlap them. */
static int add_rows(struct mover *mover, struct plan_space *space, int64_t row, int64_t end)
{
    struct plan_move *move = &space->moves[space->move_count - 1];

    if (move->range_count > 0) {
        struct plan_range *last = &space->ranges[space->range_count - 1];
        const int64_t last_end = last->holder_row + last->count;
        if (row <= last_end) {
            const int64_t added = end > last_end ? end - last_end : 0;
            last->count += added;
            move->rows += added;
            return 0;
        }
    }
    struct plan_range *ranges = vec_grow(space->ranges, &mover->range_capacity,
                                         (uint64_t)space->range_count + 1, sizeof(*ranges));
    if (!ranges) {
        return err_origin(-ENOMEM);
    }
    space->ranges = ranges;
    ranges[space->range_count++] = (struct plan_range){
        .holder_row = row, .row = move->inbox_row + move->rows, .count = end - row};
    move->range_count++;
    move->rows += end - row;
    return 0;
}

/* @needs[count] are those of the ranks of one node of one holder elsewhere. */
static int move_node(struct mover *mover, struct plan_space *space, uint32_t holder,
                     const struct need *needs, uint32_t count)
{
    int r = open_move(mover, space, holder, needs[0].node);

    for (uint32_t i = 0; i < count; i++) {
        mover->items[i] =
            (struct sort_item){.key = needs[i].holder_row, .value = (uint64_t)needs[i].count};
    }
    sort_items(mover->items, mover->scratch, count);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        r = add_rows(mover, space, mover->items[i].key,
                     mover->items[i].key + (int64_t)mover->items[i].value);
    }
    if (r == 0) {
        space->inbox_rows[needs[0].node] += space->moves[space->move_count - 1].rows;
    }
    return err_trace(r);
}

static int move_holder(struct mover *mover, struct plan *plan, uint32_t space,
                       const struct need_index *index, uint32_t holder)
{
    const uint32_t end = index->holder_first[holder + 1];
    uint32_t first = index->holder_first[holder];

    while (first < end) {
        const uint32_t node = index->needs[first].node;
        uint32_t next = first + 1;
        while (next < end && index->needs[next].node == node) {
            next++;
        }
        if (node != plan->rank_nodes[holder]) {
            int r =
                move_node(mover, &plan->spaces[space], holder, &index->needs[first], next - first);
            if (r < 0) {
                return err_trace(r);
            }
        }
        first = next;
    }
    return 0;
}

/* The move of @holder's rows to @node, which exists. */
static const struct plan_move *find_move(const struct plan_space *space, uint32_t holder,
                                         uint32_t node)
{
    uint32_t low = 0, high = space->move_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct plan_move *at = &space->moves[middle];
        if (at->holder < holder || (at->holder == holder && at->node < node)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < space->move_count);
    assert(space->moves[low].holder == holder && space->moves[low].node == node);
    return &space->moves[low];
}

/* From the holder's row of a tile's first key to its row in the node's view. A tile reads a run of
 * one piece, and the union over a node only joins runs, so the tile lies in one range. */
static int64_t view_row(const struct plan_space *space, const struct plan_move *move,
                        const struct seqsync_tile *tile)
{
    const struct plan_range *ranges = &space->ranges[move->first_range];
    uint32_t low = 0, high = move->range_count;

    while (low + 1 < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].holder_row <= tile->k_row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    assert(tile->k_row >= ranges[low].holder_row);
    assert(tile->k_row + tile->k_count <= ranges[low].holder_row + ranges[low].count);
    return ranges[low].row - move->inbox_row + (tile->k_row - ranges[low].holder_row);
}

static void refer_to_inbox(struct plan *plan, const struct plan_space *space, uint32_t rank)
{
    struct plan_part *part = &space->parts[rank];
    uint32_t tile = 0;

    for (uint32_t s = 0; s < part->source_count; s++) {
        struct seqsync_source *source = &part->sources[s];
        const struct plan_move *move = NULL;
        if (!source->local) {
            move = find_move(space, source->rank, plan->rank_nodes[rank]);
            source->view_rows = move->rows;
            source->inbox_row = move->inbox_row;
        }
        for (; tile < part->tile_count && part->tiles[tile].source == s; tile++) {
            if (move) {
                part->tiles[tile].k_row = view_row(space, move, &part->tiles[tile]);
            }
        }
    }
}

int move_init(struct plan *plan, uint32_t space, const struct need_index *index)
{
    const uint32_t need_count = index->holder_first[plan->rank_count];
    struct mover mover = {.items = vec_new(need_count, sizeof(*mover.items)),
                          .scratch = vec_new(need_count, sizeof(*mover.scratch))};
    int r = mover.items && mover.scratch ? 0 : err_origin(-ENOMEM);

    for (uint32_t holder = 0; r == 0 && holder < plan->rank_count; holder++) {
        r = move_holder(&mover, plan, space, index, holder);
    }
    for (uint32_t rank = 0; r == 0 && rank < plan->rank_count; rank++) {
        refer_to_inbox(plan, &plan->spaces[space], rank);
    }
    free(mover.items);
    free(mover.scratch);
    return err_trace(r);
}
