#include "daemon/plan/validate.h"

/* The chunk of @part that holds all of [first, first + count), or -1. Chunks ascend. */
static int64_t find_chunk(const struct plan_part *part, int64_t first, int64_t count)
{
    uint32_t low = 0, high = part->chunk_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (part->chunks[middle].first + part->chunks[middle].count <= first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == part->chunk_count ||
        !validate_within(first, count, part->chunks[low].first,
                         part->chunks[low].first + part->chunks[low].count)) {
        return -1;
    }
    return low;
}

/* Smallest and largest k - q that the mask shows, out of [lowest, highest]. */
static void mask_band(const struct validation *v, const struct seqsync_sequence *sequence,
                      int64_t lowest, int64_t highest, int64_t *ret_low, int64_t *ret_high)
{
    *ret_low = lowest;
    *ret_high = highest;
    if (v->index == SEQSYNC_SPACE_CONTEXT || sequence->mask == SEQSYNC_MASK_FULL) {
        return;
    }
    if (sequence->mask == SEQSYNC_MASK_CAUSAL) {
        *ret_high = highest < 0 ? highest : 0;
        return;
    }
    if (-sequence->window_left > lowest) {
        *ret_low = -sequence->window_left;
    }
    if (sequence->window_right < highest) {
        *ret_high = sequence->window_right;
    }
}

/* Pairs of a rectangle on the diagonals low .. high, all of which cross it: diagonal d has as many
 * pairs as fit, rising, level, then falling. */
static int64_t count_pairs(const struct seqsync_tile *tile, int64_t low, int64_t high)
{
    const int64_t shorter = tile->q_count < tile->k_count ? tile->q_count : tile->k_count;
    const int64_t longer = tile->q_count < tile->k_count ? tile->k_count : tile->q_count;
    const int64_t lowest = tile->k_first - (tile->q_first + tile->q_count - 1);
    /* Diagonals numbered from 1; number n <= shorter has n pairs, number n > longer has
     * shorter + longer - n. */
    const int64_t ends[2] = {low - lowest, high - lowest + 1};
    int64_t sums[2];

    for (int i = 0; i < 2; i++) {
        const int64_t rising = ends[i] < shorter ? ends[i] : shorter;
        const int64_t level = ends[i] < longer ? ends[i] - rising : longer - rising;
        const int64_t falling = ends[i] > longer ? ends[i] - longer : 0;
        sums[i] = rising * (rising + 1) / 2 + level * shorter + falling * shorter -
                  falling * (falling + 1) / 2;
    }
    return sums[1] - sums[0];
}

/* Pairs that the mask shows in the whole of a sequence. */
static int64_t mask_area(const struct validation *v, const struct seqsync_sequence *sequence)
{
    const int64_t n = sequence->tokens;

    if (v->index == SEQSYNC_SPACE_CONTEXT) {
        return n * sequence->context_tokens;
    }
    if (sequence->mask == SEQSYNC_MASK_FULL) {
        return n * n;
    }
    if (sequence->mask == SEQSYNC_MASK_CAUSAL) {
        return n * (n + 1) / 2;
    }
    /* What is cut off are two triangles in the corners. */
    const int64_t left = sequence->window_left < n ? n - 1 - sequence->window_left : 0;
    const int64_t right = sequence->window_right < n ? n - 1 - sequence->window_right : 0;
    return n * n - left * (left + 1) / 2 - right * (right + 1) / 2;
}

/* One tile: its chunks, rows and band. Its area is added to *area. */
static const char *check_tile(const struct validation *v, uint32_t rank,
                              const struct seqsync_tile *tile, int64_t *q_chunk, int64_t *k_chunk,
                              int64_t *area)
{
    const struct plan_part *queries = &v->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[rank];
    const struct plan_part *part = &v->space->parts[rank];
    const struct plan_part *keys = &v->space->parts[part->sources[tile->source].rank];
    int64_t low, high;

    *q_chunk = find_chunk(queries, tile->q_first, tile->q_count);
    *k_chunk = find_chunk(keys, tile->k_first, tile->k_count);
    if (*q_chunk < 0) {
        return "a tile's queries are not inside one chunk of its rank";
    }
    if (*k_chunk < 0) {
        return "a tile's keys are not inside one chunk of its source";
    }
    const struct seqsync_chunk *q = &queries->chunks[*q_chunk];
    const struct seqsync_chunk *k = &keys->chunks[*k_chunk];
    if (q->sequence != k->sequence) {
        return "a tile spans two sequences";
    }
    if (tile->q_row != q->row + (tile->q_first - q->first)) {
        return "a tile's query row is not where its queries are";
    }
    if (validate_holder_row(v, rank, tile) != k->row + (tile->k_first - k->first)) {
        return "a tile's key row is not where its keys are";
    }
    if (tile->reserved != 0) {
        return "reserved of a tile is not 0";
    }
    const int64_t lowest = tile->k_first - (tile->q_first + tile->q_count - 1);
    const int64_t highest = tile->k_first + tile->k_count - 1 - tile->q_first;
    mask_band(v, &v->input->batch->sequences[q->sequence], lowest, highest, &low, &high);
    if (low > high) {
        return "a tile shows no pair";
    }
    /* Its borders each hold a pair that is shown, and therefore so do these two corners. */
    const int64_t first = tile->k_first - tile->q_first;
    const int64_t last = first + tile->k_count - tile->q_count;
    if (first < low || first > high || last < low || last > high) {
        return "a tile is larger than the pairs that it shows";
    }
    if ((tile->band_low < lowest ? lowest : tile->band_low) != low ||
        (tile->band_high > highest ? highest : tile->band_high) != high) {
        return "a tile's band is not the mask's";
    }
    *area += count_pairs(tile, low, high);
    return NULL;
}

/* Where @holder stands in the order in which @rank visits holders. */
static uint32_t visit_order(const struct validation *v, uint32_t rank, uint32_t holder)
{
    const uint32_t ranks = v->input->rank_count;
    const uint32_t distance = (holder + ranks - rank) % ranks;

    return v->input->rank_nodes[holder] == v->input->rank_nodes[rank] ? distance : ranks + distance;
}

static const char *check_sources(const struct validation *v, uint32_t rank)
{
    const struct plan_part *part = &v->space->parts[rank];
    const uint32_t *nodes = v->input->rank_nodes;

    for (uint32_t s = 0; s < part->source_count; s++) {
        const struct seqsync_source *source = &part->sources[s];
        if (source->rank >= v->input->rank_count || source->node != nodes[source->rank] ||
            source->local != (source->node == nodes[rank]) || source->reserved != 0) {
            return "a source's rank, node or place is wrong";
        }
        if (s > 0 &&
            visit_order(v, rank, part->sources[s - 1].rank) >= visit_order(v, rank, source->rank)) {
            return "sources are not in the order of use";
        }
        if (v->is_replicated && source->rank != rank) {
            return "a rank reads a replicated context from another";
        }
        if (source->local) {
            if (source->view_rows != v->space->parts[source->rank].rows ||
                source->inbox_row != -1) {
                return "a local source's view is not its holder's shard";
            }
            continue;
        }
        const struct plan_move *move = validate_find_move(v->space, source->rank, nodes[rank]);
        if (!move || source->view_rows != move->rows || source->inbox_row != move->inbox_row) {
            return "a remote source's view is not what moves to its node";
        }
    }
    return NULL;
}

static const char *check_part(const struct validation *v, uint32_t rank, int64_t *area)
{
    const struct plan_part *part = &v->space->parts[rank];
    const char *why = check_sources(v, rank);
    int64_t last_q = -1, last_k = -1, part_area = 0;
    uint32_t used = 0; /* sources that have had a tile */

    for (uint32_t t = 0; !why && t < part->tile_count; t++) {
        const struct seqsync_tile *tile = &part->tiles[t];
        int64_t q_chunk, k_chunk;
        if (tile->source >= part->source_count || tile->source > used || tile->source + 1 < used) {
            return "tiles are not grouped by the sources in their order";
        }
        if (tile->source == used) {
            used++;
            last_q = last_k = -1;
        }
        why = check_tile(v, rank, tile, &q_chunk, &k_chunk, &part_area);
        /* A pair of chunks at most once, hence no pair of tokens twice. */
        if (!why && (q_chunk < last_q || (q_chunk == last_q && k_chunk <= last_k))) {
            why = "tiles of a source do not ascend by query chunk and key chunk";
        }
        last_q = q_chunk;
        last_k = k_chunk;
    }
    if (!why && used != part->source_count) {
        why = "a source has no tile";
    }
    if (!why && part->area != part_area) {
        why = "a rank's area is not that of its tiles";
    }
    *area += part_area;
    return why;
}

/* Tiles show only pairs of the mask and none twice, so if there are as many, they are all. */
const char *validate_tiles(const struct validation *v)
{
    const struct seqsync_batch *batch = v->input->batch;
    const char *why = NULL;
    int64_t area = 0, expected = 0;

    for (uint32_t r = 0; !why && r < v->input->rank_count; r++) {
        why = check_part(v, r, &area);
    }
    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        expected += mask_area(v, &batch->sequences[s]);
    }
    if (!why && area != expected) {
        why = "a pair that the mask shows is computed by nobody";
    }
    return why;
}
