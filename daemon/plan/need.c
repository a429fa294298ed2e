#include "daemon/plan/need.h"

#include <assert.h>
#include <string.h>

#include "daemon/base/err.h"
#include "daemon/base/sort.h"
#include "daemon/base/vec.h"

/* Working memory for one source after the other. */
struct gather {
    struct sort_item *items; /* key = holder row, value = count */
    struct sort_item *scratch;
    struct plan_range *ranges; /* of one rank */
    uint32_t item_capacity;
    uint32_t scratch_capacity;
    uint32_t range_count;
    uint32_t range_capacity;
};

static int reserve(struct gather *gather, uint32_t tile_count)
{
    struct sort_item *items =
        vec_grow(gather->items, &gather->item_capacity, tile_count, sizeof(*items));
    if (!items) {
        return err_origin(-ENOMEM);
    }
    gather->items = items;
    struct sort_item *scratch =
        vec_grow(gather->scratch, &gather->scratch_capacity, tile_count, sizeof(*scratch));
    if (!scratch) {
        return err_origin(-ENOMEM);
    }
    gather->scratch = scratch;
    /* There are never more ranges than tiles. */
    struct plan_range *ranges =
        vec_grow(gather->ranges, &gather->range_capacity,
                 (uint64_t)gather->range_count + tile_count, sizeof(*ranges));
    if (!ranges) {
        return err_origin(-ENOMEM);
    }
    gather->ranges = ranges;
    return 0;
}

/* Appends the union of the tiles' key rows to the ranges. */
static void unite(struct gather *gather, const struct seqsync_tile *tiles, uint32_t tile_count,
                  int64_t *return_row)
{
    const uint32_t first = gather->range_count;

    for (uint32_t i = 0; i < tile_count; i++) {
        gather->items[i] =
            (struct sort_item){.key = tiles[i].k_row, .value = (uint64_t)tiles[i].k_count};
    }
    sort_items(gather->items, gather->scratch, tile_count);
    for (uint32_t i = 0; i < tile_count; i++) {
        const int64_t row = gather->items[i].key;
        const int64_t end = row + (int64_t)gather->items[i].value;
        struct plan_range *last =
            gather->range_count > first ? &gather->ranges[gather->range_count - 1] : NULL;
        if (!last || row > last->holder_row + last->count) {
            gather->ranges[gather->range_count++] =
                (struct plan_range){.holder_row = row, .count = end - row};
        } else if (end > last->holder_row + last->count) {
            last->count = end - last->holder_row;
        }
    }
    for (uint32_t i = first; i < gather->range_count; i++) {
        gather->ranges[i].row = *return_row;
        *return_row += gather->ranges[i].count;
    }
}

/* Where holder row @row is kept according to ascending @ranges, one of which holds it. */
static int64_t find_row(const struct plan_range *ranges, uint32_t count, int64_t row)
{
    uint32_t low = 0, high = count;

    while (low + 1 < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].holder_row <= row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    assert(row >= ranges[low].holder_row && row < ranges[low].holder_row + ranges[low].count);
    return ranges[low].row + (row - ranges[low].holder_row);
}

static int gather_rank(struct gather *gather, struct plan_part *part, uint32_t rank)
{
    uint32_t tile = 0;

    gather->range_count = 0;
    for (uint32_t s = 0; s < part->source_count; s++) {
        struct seqsync_source *source = &part->sources[s];
        const uint32_t first_tile = tile;
        while (tile < part->tile_count && part->tiles[tile].source == s) {
            tile++;
        }
        if (source->rank == rank) {
            continue;
        }
        int r = reserve(gather, tile - first_tile);
        if (r < 0) {
            return err_trace(r);
        }
        const uint32_t first_range = gather->range_count;
        source->return_row = part->return_rows;
        unite(gather, &part->tiles[first_tile], tile - first_tile, &part->return_rows);
        source->return_rows = part->return_rows - source->return_row;
        for (uint32_t t = first_tile; t < tile; t++) {
            part->tiles[t].return_row =
                find_row(&gather->ranges[first_range], gather->range_count - first_range,
                         part->tiles[t].k_row);
        }
    }
    part->needs = vec_new(gather->range_count, sizeof(*part->needs));
    if (!part->needs) {
        return err_origin(-ENOMEM);
    }
    if (gather->range_count > 0) {
        memcpy(part->needs, gather->ranges, gather->range_count * sizeof(*part->needs));
    }
    part->need_count = gather->range_count;
    return 0;
}

int need_init(struct plan *plan, uint32_t space)
{
    struct gather gather = {0};
    int r = 0;

    for (uint32_t rank = 0; r == 0 && rank < plan->rank_count; rank++) {
        r = gather_rank(&gather, &plan->spaces[space].parts[rank], rank);
    }
    free(gather.items);
    free(gather.scratch);
    free(gather.ranges);
    return err_trace(r);
}

/* The source of a need. *source starts at 0 and only rises from need to need, since needs lie in
 * the order of sources, each of which ends where its return rows do. */
static const struct seqsync_source *need_source(const struct plan_part *part, uint32_t need,
                                                uint32_t *source)
{
    const struct plan_range *range = &part->needs[need];

    while (part->sources[*source].return_rows == 0 ||
           range->row >= part->sources[*source].return_row + part->sources[*source].return_rows) {
        (*source)++;
        assert(*source < part->source_count);
    }
    return &part->sources[*source];
}

/* The ranks by node, those of one node ascending. */
static int order_ranks(const struct plan *plan, uint32_t **ret)
{
    uint32_t next[SEQSYNC_NODES_MAX + 1] = {0};
    uint32_t *order = vec_new(plan->rank_count, sizeof(*order));

    if (!order) {
        return err_origin(-ENOMEM);
    }
    for (uint32_t r = 0; r < plan->rank_count; r++) {
        next[plan->rank_nodes[r] + 1]++;
    }
    for (uint32_t n = 0; n < plan->node_count; n++) {
        next[n + 1] += next[n];
    }
    for (uint32_t r = 0; r < plan->rank_count; r++) {
        order[next[plan->rank_nodes[r]]++] = r;
    }
    *ret = order;
    return 0;
}

static void index_rank(struct need_index *index, uint32_t *next, const struct plan *plan,
                       uint32_t space, uint32_t rank)
{
    const struct plan_part *part = &plan->spaces[space].parts[rank];

    for (uint32_t i = 0, s = 0; i < part->need_count; i++) {
        const uint32_t holder = need_source(part, i, &s)->rank;
        index->needs[next[holder]++] = (struct need){.holder_row = part->needs[i].holder_row,
                                                     .return_row = part->needs[i].row,
                                                     .count = part->needs[i].count,
                                                     .rank = rank,
                                                     .node = plan->rank_nodes[rank]};
    }
}

int need_index_init(struct need_index *ret, const struct plan *plan, uint32_t space)
{
    const struct plan_part *parts = plan->spaces[space].parts;
    uint32_t *order = NULL, *next = NULL;
    int r = 0;

    memset(ret, 0, sizeof(*ret));
    ret->holder_first = vec_new((size_t)plan->rank_count + 1, sizeof(*ret->holder_first));
    next = vec_new(plan->rank_count, sizeof(*next));
    if (!ret->holder_first || !next) {
        r = err_origin(-ENOMEM);
        goto out;
    }
    r = order_ranks(plan, &order);
    if (r < 0) {
        goto out;
    }
    for (uint32_t rank = 0; rank < plan->rank_count; rank++) {
        for (uint32_t i = 0, s = 0; i < parts[rank].need_count; i++) {
            ret->holder_first[need_source(&parts[rank], i, &s)->rank + 1]++;
        }
    }
    for (uint32_t h = 0; h < plan->rank_count; h++) {
        next[h] = ret->holder_first[h];
        ret->holder_first[h + 1] += ret->holder_first[h];
    }
    ret->needs = vec_new(ret->holder_first[plan->rank_count], sizeof(*ret->needs));
    if (!ret->needs) {
        r = err_origin(-ENOMEM);
        goto out;
    }
    for (uint32_t i = 0; i < plan->rank_count; i++) {
        index_rank(ret, next, plan, space, order[i]);
    }
out:
    free(order);
    free(next);
    return err_trace(r);
}

void need_index_deinit(struct need_index *index)
{
    free(index->needs);
    free(index->holder_first);
    memset(index, 0, sizeof(*index));
}
