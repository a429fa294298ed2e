#include "proto/part_check.h"

static bool range_fits(int64_t first, int64_t count, int64_t limit)
{
    return first >= 0 && count >= 1 && first <= limit && count <= limit - first;
}

/* Whether a chunk of tokens lies where its sequence does. Where context lies is not in a part. */
static bool chunk_in_sequence(const struct part *part, const struct seqsync_chunk *chunk)
{
    const int64_t begin = chunk->sequence > 0 ? part->sequence_ends[chunk->sequence - 1] : 0;

    return chunk->position == chunk->first - begin &&
           chunk->count <= part->sequence_ends[chunk->sequence] - chunk->first;
}

static const char *chunks_check(const struct part *part, uint32_t s)
{
    const struct part_space *space = &part->spaces[s];
    int64_t row = 0;

    for (uint32_t i = 0; i < space->chunk_count; i++) {
        const struct seqsync_chunk *chunk = &space->chunks[i];
        if (chunk->row != row || chunk->rank != part->rank ||
            chunk->sequence >= part->sequence_count || chunk->position < 0 ||
            !range_fits(chunk->first, chunk->count, space->total)) {
            return "a chunk lies outside its shard or its batch";
        }
        if (s == SEQSYNC_SPACE_TOKENS && !chunk_in_sequence(part, chunk)) {
            return "a chunk lies outside its sequence";
        }
        row += chunk->count;
        if (row > space->rows) {
            return "the chunks are more than the shard";
        }
    }
    return row == space->rows ? NULL : "the chunks do not cover the shard";
}

static int64_t local_rows_of(const struct part *part, uint32_t rank, uint32_t s)
{
    for (uint32_t i = 0; i < part->local_count; i++) {
        if (part->local_ranks[i] == rank) {
            return part->local_rows[i][s];
        }
    }
    return -1;
}

static const char *sources_check(const struct part *part, uint32_t s)
{
    const struct part_space *space = &part->spaces[s];
    int64_t return_row = 0;

    for (uint32_t i = 0; i < space->source_count; i++) {
        const struct seqsync_source *source = &space->sources[i];
        const bool own = source->rank == part->rank;
        if (source->rank >= SEQSYNC_RANKS_MAX || source->node >= SEQSYNC_NODES_MAX ||
            source->local > 1 || source->reserved != 0) {
            return "a source names a rank or node beyond the limits";
        }
        if (source->local == 1 &&
            (source->view_rows < 0 || source->view_rows != local_rows_of(part, source->rank, s) ||
             source->inbox_row != -1)) {
            return "a local source is not what its rank holds";
        }
        if (source->local == 0 &&
            !range_fits(source->inbox_row, source->view_rows, space->inbox_rows)) {
            return "a remote source lies outside the inbox";
        }
        if (own ? source->local != 1 || source->return_rows != 0 || source->return_row != -1
                : source->return_row != return_row || source->return_rows < 0 ||
                      source->return_rows > space->return_rows - return_row) {
            return "a source's rows lie outside the return buffer";
        }
        return_row += source->return_rows;
    }
    return return_row == space->return_rows ? NULL : "the sources do not cover the return buffer";
}

/* The chunk of the token space that holds @row, which the shard has. */
static const struct seqsync_chunk *chunk_of_row(const struct part_space *tokens, int64_t row)
{
    uint32_t low = 0, high = tokens->chunk_count;

    while (high - low > 1) {
        const uint32_t mid = low + (high - low) / 2;
        if (tokens->chunks[mid].row <= row) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return &tokens->chunks[low];
}

/* Whether the tile's rows are those of its global indices, in one chunk or several that adjoin. */
static bool tile_queries_fit(const struct part_space *tokens, const struct seqsync_tile *tile)
{
    const struct seqsync_chunk *chunk = chunk_of_row(tokens, tile->q_row);
    int64_t row = tile->q_row;

    for (; row < tile->q_row + tile->q_count; chunk++) {
        if (chunk->first + (row - chunk->row) != tile->q_first + (row - tile->q_row)) {
            return false;
        }
        row = chunk->row + chunk->count;
    }
    return true;
}

static const char *tiles_check(const struct part *part, const struct part_space *space)
{
    const int64_t queries = part->spaces[SEQSYNC_SPACE_TOKENS].rows;
    const int64_t tokens = part->spaces[SEQSYNC_SPACE_TOKENS].total;

    for (uint32_t i = 0; i < space->tile_count; i++) {
        const struct seqsync_tile *tile = &space->tiles[i];
        if (tile->source >= space->source_count) {
            return "a tile names a source that is not there";
        }
        const struct seqsync_source *source = &space->sources[tile->source];
        if (!range_fits(tile->q_row, tile->q_count, queries) ||
            !range_fits(tile->q_first, tile->q_count, tokens)) {
            return "a tile's queries lie outside the shard";
        }
        if (!tile_queries_fit(&part->spaces[SEQSYNC_SPACE_TOKENS], tile)) {
            return "a tile's queries are others than its rows hold";
        }
        if (tile->band_low > tile->band_high || tile->reserved != 0) {
            return "a tile's band is empty, or its reserved field is not 0";
        }
        if (!range_fits(tile->k_row, tile->k_count, source->view_rows) ||
            !range_fits(tile->k_first, tile->k_count, space->total)) {
            return "a tile's keys lie outside their source";
        }
        if (source->rank == part->rank ? tile->return_row != -1
                                       : tile->return_row < source->return_row ||
                                             !range_fits(tile->return_row - source->return_row,
                                                         tile->k_count, source->return_rows)) {
            return "a tile's gradients lie outside the return buffer";
        }
    }
    return NULL;
}

static const char *ends_check(const struct part *part)
{
    int64_t last = 0;

    for (uint32_t i = 0; i < part->sequence_count; i++) {
        if (part->sequence_ends[i] <= last) {
            return "the sequences' ends do not ascend";
        }
        last = part->sequence_ends[i];
    }
    return last == part->spaces[SEQSYNC_SPACE_TOKENS].total
               ? NULL
               : "the sequences' ends are not the batch's";
}

static const char *locals_check(const struct part *part)
{
    bool found = false;

    for (uint32_t i = 0; i < part->local_count; i++) {
        if (part->local_ranks[i] >= SEQSYNC_RANKS_MAX ||
            (i > 0 && part->local_ranks[i] <= part->local_ranks[i - 1])) {
            return "the local ranks do not ascend";
        }
        const bool own = part->local_ranks[i] == part->rank;
        found = found || own;
        for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
            if (!part_rows_ok(part->local_rows[i][s]) ||
                !part_rows_ok(part->local_return_rows[i][s]) ||
                (own && (part->local_rows[i][s] != part->spaces[s].rows ||
                         part->local_return_rows[i][s] != part->spaces[s].return_rows))) {
                return "a local rank's rows are out of their limits";
            }
        }
    }
    return found ? NULL : "the rank is not among the local ranks";
}

const char *part_check(const struct part *part)
{
    const char *why = locals_check(part);

    why = why != NULL ? why : ends_check(part);
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N && why == NULL; s++) {
        why = chunks_check(part, s);
        why = why != NULL ? why : sources_check(part, s);
        why = why != NULL ? why : tiles_check(part, &part->spaces[s]);
    }
    return why;
}
