/* The rows that needs, moves and tiles speak of. */
#include <stdlib.h>

#include "daemon/base/vec.h"
#include "daemon/plan/validate.h"

const struct plan_move *validate_find_move(const struct plan_space *space, uint32_t holder,
                                           uint32_t node)
{
    uint32_t low = 0, high = space->move_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct plan_move *move = &space->moves[middle];
        if (move->holder < holder || (move->holder == holder && move->node < node)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == space->move_count || space->moves[low].holder != holder ||
        space->moves[low].node != node) {
        return NULL;
    }
    return &space->moves[low];
}

int64_t validate_holder_row(const struct validation *v, uint32_t rank,
                            const struct seqsync_tile *tile)
{
    const struct seqsync_source *source = &v->space->parts[rank].sources[tile->source];

    if (!validate_within(tile->k_row, tile->k_count, 0, source->view_rows)) {
        return -1;
    }
    if (source->local) {
        return tile->k_row;
    }
    const struct plan_move *move =
        validate_find_move(v->space, source->rank, v->input->rank_nodes[rank]);
    const struct plan_range *ranges = &v->space->ranges[move->first_range];
    const int64_t inbox_row = source->inbox_row + tile->k_row;
    uint32_t low = 0, high = move->range_count;
    while (low + 1 < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].row <= inbox_row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (!validate_within(inbox_row, tile->k_count, ranges[low].row,
                         ranges[low].row + ranges[low].count)) {
        return -1;
    }
    return ranges[low].holder_row + (inbox_row - ranges[low].row);
}

/* Ranges ascend in the holder's rows, do not touch, and fill rows from @row on. Adds up the rows.
 */
static const char *check_ranges(const struct plan_range *ranges, uint32_t count,
                                int64_t holder_rows, int64_t row, int64_t *ret_rows)
{
    int64_t end = -1;

    *ret_rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!validate_within(ranges[i].holder_row, ranges[i].count, 0, holder_rows)) {
            return "a range is not inside its holder's shard";
        }
        if (ranges[i].holder_row <= end) {
            return "ranges of one holder do not ascend with gaps between them";
        }
        if (ranges[i].row != row + *ret_rows) {
            return "a range's row does not follow the range before";
        }
        end = ranges[i].holder_row + ranges[i].count;
        *ret_rows += ranges[i].count;
    }
    return NULL;
}

static const char *check_move(const struct validation *v, const struct plan_move *move,
                              uint32_t *next_range, int64_t *inbox_rows)
{
    const struct plan_space *space = v->space;
    int64_t rows;

    if (move->holder >= v->input->rank_count || move->node >= v->input->node_count ||
        move->node == v->input->rank_nodes[move->holder]) {
        return "a move's holder or node is wrong";
    }
    if (move > space->moves && (move[-1].holder > move->holder ||
                                (move[-1].holder == move->holder && move[-1].node >= move->node))) {
        return "moves are not sorted by holder and node";
    }
    if (move->first_range != *next_range || move->range_count < 1 ||
        move->range_count > space->range_count - *next_range) {
        return "a move's ranges do not follow the move before";
    }
    *next_range += move->range_count;
    if (move->inbox_row != inbox_rows[move->node]) {
        return "a move's inbox rows do not follow the holder before";
    }
    const char *why = check_ranges(&space->ranges[move->first_range], move->range_count,
                                   space->parts[move->holder].rows, move->inbox_row, &rows);
    if (!why && move->rows != rows) {
        why = "a move's rows are not the sum of its ranges";
    }
    inbox_rows[move->node] += rows;
    return why;
}

const char *validate_moves(const struct validation *v)
{
    int64_t inbox_rows[SEQSYNC_NODES_MAX] = {0};
    const char *why = NULL;
    uint32_t next_range = 0;

    if (v->is_replicated && v->space->move_count > 0) {
        return "a replicated context moves";
    }
    for (uint32_t m = 0; !why && m < v->space->move_count; m++) {
        why = check_move(v, &v->space->moves[m], &next_range, inbox_rows);
    }
    if (!why && next_range != v->space->range_count) {
        why = "a range belongs to no move";
    }
    for (uint32_t n = 0; !why && n < v->input->node_count; n++) {
        if (v->space->inbox_rows[n] != inbox_rows[n]) {
            why = "a node's inbox rows are not the sum of its moves";
        }
    }
    return why;
}

/* Rows that tiles read. */
struct interval {
    int64_t begin;
    int64_t end;
};

/* Ascending by begin. The tiles of a source ascend by query chunk, and few query chunks of a rank
 * share a sequence, so that hardly anything is out of place. */
static void sort_intervals(struct interval *intervals, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const struct interval moved = intervals[i];
        uint32_t at = i;
        while (at > 0 && intervals[at - 1].begin > moved.begin) {
            intervals[at] = intervals[at - 1];
            at--;
        }
        intervals[at] = moved;
    }
}

static bool is_union(const struct interval *intervals, uint32_t count,
                     const struct plan_range *ranges, uint32_t range_count)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < range_count; i++) {
        int64_t covered = ranges[i].holder_row;
        const int64_t end = ranges[i].holder_row + ranges[i].count;
        if (at == count || intervals[at].begin != covered) {
            return false;
        }
        while (at < count && intervals[at].begin <= covered) {
            covered = intervals[at].end > covered ? intervals[at].end : covered;
            at++;
        }
        if (covered != end) {
            return false;
        }
    }
    return at == count;
}

/* The needs of one source, which follow those of the source before: they are the union of what the
 * source's tiles read, and tiles return to them. */
static const char *check_source(const struct validation *v, uint32_t rank, uint32_t s,
                                uint32_t first_tile, uint32_t tile_count,
                                struct interval *intervals, uint32_t *next_need,
                                int64_t *return_rows)
{
    const struct plan_part *part = &v->space->parts[rank];
    const struct seqsync_source *source = &part->sources[s];
    const uint32_t first = *next_need;
    int64_t rows;

    if (source->return_rows < 0 || source->return_row != *return_rows) {
        return "a source's return rows do not follow the source before";
    }
    while (*next_need < part->need_count && part->needs[*next_need].row >= source->return_row &&
           part->needs[*next_need].row - source->return_row < source->return_rows) {
        (*next_need)++;
    }
    const struct plan_range *needs = &part->needs[first];
    const uint32_t need_count = *next_need - first;
    const char *why =
        check_ranges(needs, need_count, v->space->parts[source->rank].rows, *return_rows, &rows);
    if (why) {
        return why;
    }
    if (source->return_rows != rows) {
        return "a source's return rows are not the sum of its needs";
    }
    *return_rows += rows;
    for (uint32_t t = 0; t < tile_count; t++) {
        const struct seqsync_tile *tile = &part->tiles[first_tile + t];
        const int64_t row = validate_holder_row(v, rank, tile);
        const struct plan_range *need = validate_find(needs, need_count, row, tile->k_count);
        if (!need) {
            return "a tile reads a row that is not needed";
        }
        if (tile->return_row != need->row + (row - need->holder_row)) {
            return "a tile's return row is not where its need is";
        }
        intervals[t] = (struct interval){.begin = row, .end = row + tile->k_count};
    }
    sort_intervals(intervals, tile_count);
    if (!is_union(intervals, tile_count, needs, need_count)) {
        return "a needed row is read by no tile";
    }
    v->runs[(size_t)rank * v->input->rank_count + source->rank] =
        (struct need_run){.first = first, .count = need_count};
    v->open_rows[(size_t)source->rank * v->input->node_count + v->input->rank_nodes[rank]] += rows;
    return NULL;
}

static const char *check_own(const struct plan_part *part, const struct seqsync_source *source,
                             uint32_t first_tile, uint32_t tile_count)
{
    if (source->return_rows != 0 || source->return_row != -1) {
        return "a rank returns rows to itself";
    }
    for (uint32_t t = first_tile; t < first_tile + tile_count; t++) {
        if (part->tiles[t].return_row != -1) {
            return "a tile of a rank's own keys has a return row";
        }
    }
    return NULL;
}

static const char *check_part(const struct validation *v, uint32_t rank, struct interval *intervals)
{
    const struct plan_part *part = &v->space->parts[rank];
    const char *why = NULL;
    uint32_t tile = 0, need = 0;
    int64_t return_rows = 0;

    for (uint32_t s = 0; !why && s < part->source_count; s++) {
        const uint32_t first = tile;
        while (tile < part->tile_count && part->tiles[tile].source == s) {
            tile++;
        }
        if (part->sources[s].rank == rank) {
            why = check_own(part, &part->sources[s], first, tile - first);
        } else {
            why = check_source(v, rank, s, first, tile - first, intervals, &need, &return_rows);
        }
    }
    if (!why && need != part->need_count) {
        why = "a need belongs to no source";
    }
    if (!why && part->return_rows != return_rows) {
        why = "a rank's return rows are not the sum of its needs";
    }
    return why;
}

const char *validate_needs(const struct validation *v)
{
    const char *why = NULL;
    uint32_t tile_count = 0;

    for (uint32_t r = 0; r < v->input->rank_count; r++) {
        if (v->space->parts[r].tile_count > tile_count) {
            tile_count = v->space->parts[r].tile_count;
        }
    }
    struct interval *intervals = vec_new(tile_count, sizeof(*intervals));
    if (!intervals) {
        return "out of memory";
    }
    for (uint32_t r = 0; !why && r < v->input->rank_count; r++) {
        why = check_part(v, r, intervals);
    }
    free(intervals);
    return why;
}
