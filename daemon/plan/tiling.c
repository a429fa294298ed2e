#include "daemon/plan/tiling.h"

#include <assert.h>
#include <string.h>

#include "daemon/base/err.h"
#include "daemon/base/vec.h"
#include "daemon/plan/geometry.h"

/* Working memory for one rank after the other. */
struct tiling {
    struct seqsync_tile *tiles; /* as found: by query chunk, then by key; source = holder's rank */
    uint32_t *counts;           /* [rank_count]: tiles by holder, then where its next tile goes */
    uint32_t tile_count;
    uint32_t tile_capacity;
};

static struct reach reach_of(const struct plan *plan, uint32_t space, uint32_t sequence)
{
    return space == SEQSYNC_SPACE_TOKENS ? geometry_reach(&plan->sequences[sequence])
                                         : geometry_reach_all();
}

/* The first piece of @sequence that ends after key @first. */
static uint32_t first_piece(const struct placement *keys, uint32_t sequence, int64_t first)
{
    uint32_t low = keys->sequence_first[sequence];
    uint32_t high = keys->sequence_first[sequence + 1];

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (keys->pieces[middle].first + keys->pieces[middle].count <= first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct seqsync_tile tile_of(const struct seqsync_chunk *chunk, const struct piece *piece,
                                   const struct reach *reach, const struct rect *rect,
                                   uint32_t holder)
{
    struct seqsync_tile tile = {
        .q_first = rect->q_first,
        .k_first = rect->k_first,
        .q_count = rect->q_end - rect->q_first,
        .k_count = rect->k_end - rect->k_first,
        .q_row = chunk->row + (rect->q_first - chunk->first),
        .k_row = piece->row + (rect->k_first - piece->first),
        .return_row = -1,
        .source = holder,
    };

    geometry_band(reach, rect, &tile.band_low, &tile.band_high);
    return tile;
}

/* Finds the tiles of one query chunk and adds their area to the part's. */
static int find_tiles(struct tiling *tiling, const struct plan *plan, uint32_t space,
                      const struct placement *keys, const struct seqsync_chunk *chunk)
{
    const bool is_replicated =
        space == SEQSYNC_SPACE_CONTEXT && plan->context_role == SEQSYNC_REPLICATED;
    struct plan_part *part = &plan->spaces[space].parts[chunk->rank];
    const uint32_t end = keys->sequence_first[chunk->sequence + 1];
    const struct reach reach = reach_of(plan, space, chunk->sequence);
    uint32_t at = keys->sequence_first[chunk->sequence];

    if (space == SEQSYNC_SPACE_TOKENS) {
        at = first_piece(keys, chunk->sequence, chunk->first - reach.before);
    }
    for (; at < end; at++) {
        const struct piece *piece = &keys->pieces[at];
        struct rect rect = {.q_first = chunk->first,
                            .q_end = chunk->first + chunk->count,
                            .k_first = piece->first,
                            .k_end = piece->first + piece->count};
        if (!geometry_trim(&reach, &rect)) {
            break; /* all further keys lie beyond the reach */
        }
        struct seqsync_tile *tiles = vec_grow(tiling->tiles, &tiling->tile_capacity,
                                              (uint64_t)tiling->tile_count + 1, sizeof(*tiles));
        if (!tiles) {
            return err_origin(-ENOMEM);
        }
        tiling->tiles = tiles;
        const uint32_t holder = is_replicated ? chunk->rank : piece->rank;
        tiles[tiling->tile_count] = tile_of(chunk, piece, &reach, &rect, holder);
        part->area += geometry_area(&rect, tiles[tiling->tile_count].band_low,
                                    tiles[tiling->tile_count].band_high);
        tiling->tile_count++;
        tiling->counts[holder]++;
    }
    return 0;
}

/* Makes a source of @holder if it has tiles, and turns its count into the place of its first. */
static void open_source(struct tiling *tiling, const struct plan_space *space,
                        const uint32_t *rank_nodes, uint32_t rank, uint32_t holder,
                        uint32_t *next_tile)
{
    struct plan_part *part = &space->parts[rank];
    const uint32_t count = tiling->counts[holder];

    if (count == 0) {
        return;
    }
    part->sources[part->source_count++] =
        (struct seqsync_source){.rank = holder,
                                .node = rank_nodes[holder],
                                .local = rank_nodes[holder] == rank_nodes[rank],
                                .view_rows = space->parts[holder].rows,
                                .inbox_row = -1,
                                .return_row = -1};
    tiling->counts[holder] = *next_tile;
    *next_tile += count;
}

/* Copies the tiles found into the part, grouped by source, and clears the counts. */
static void group_tiles(struct tiling *tiling, const struct plan *plan,
                        const struct plan_space *space, uint32_t rank)
{
    const uint32_t ranks = plan->rank_count;
    struct plan_part *part = &space->parts[rank];
    uint32_t next_tile = 0;

    open_source(tiling, space, plan->rank_nodes, rank, rank, &next_tile);
    for (uint32_t is_remote = 0; is_remote < 2; is_remote++) {
        for (uint32_t step = 1; step < ranks; step++) {
            const uint32_t holder = (rank + step) % ranks;
            if ((plan->rank_nodes[holder] != plan->rank_nodes[rank]) == is_remote) {
                open_source(tiling, space, plan->rank_nodes, rank, holder, &next_tile);
            }
        }
    }
    assert(next_tile == tiling->tile_count);
    for (uint32_t i = 0; i < tiling->tile_count; i++) {
        part->tiles[tiling->counts[tiling->tiles[i].source]++] = tiling->tiles[i];
    }
    memset(tiling->counts, 0, ranks * sizeof(*tiling->counts));
    for (uint32_t i = 0, source = 0; i < tiling->tile_count; i++) {
        source += part->tiles[i].source != part->sources[source].rank;
        part->tiles[i].source = source;
    }
}

static int tile_rank(struct tiling *tiling, struct plan *plan, uint32_t space,
                     const struct placement *keys, uint32_t rank)
{
    const struct plan_part *queries = &plan->spaces[SEQSYNC_SPACE_TOKENS].parts[rank];
    struct plan_part *part = &plan->spaces[space].parts[rank];
    uint32_t holder_count = 0;

    tiling->tile_count = 0;
    for (uint32_t c = 0; c < queries->chunk_count; c++) {
        int r = find_tiles(tiling, plan, space, keys, &queries->chunks[c]);
        if (r < 0) {
            return err_trace(r);
        }
    }
    for (uint32_t h = 0; h < plan->rank_count; h++) {
        holder_count += tiling->counts[h] > 0;
    }
    part->tiles = vec_new(tiling->tile_count, sizeof(*part->tiles));
    part->sources = vec_new(holder_count, sizeof(*part->sources));
    if (!part->tiles || !part->sources) {
        return err_origin(-ENOMEM);
    }
    part->tile_count = tiling->tile_count;
    group_tiles(tiling, plan, &plan->spaces[space], rank);
    return 0;
}

int tiling_init(struct plan *plan, uint32_t space, const struct placement *keys)
{
    struct tiling tiling = {.counts = vec_new(plan->rank_count, sizeof(*tiling.counts))};
    int r = tiling.counts ? 0 : err_origin(-ENOMEM);

    for (uint32_t rank = 0; r == 0 && rank < plan->rank_count; rank++) {
        r = tile_rank(&tiling, plan, space, keys, rank);
    }
    free(tiling.tiles);
    free(tiling.counts);
    return err_trace(r);
}
