#include "fuzz.h"

#include "proto/part.h"

#include <string.h>

/* Whether @count >= 1 rows from @first on lie in @limit rows; in arithmetic that cannot overflow.
 */
static int inside(int64_t first, int64_t count, int64_t limit)
{
    return first >= 0 && count >= 1 && (__int128)first + count <= limit;
}

/* What a worker does with a part: it uses every number as an index, and trusts it. */
static void use_space(const struct part *part, uint32_t s)
{
    const struct part_space *space = &part->spaces[s];
    int64_t row = 0;

    for (uint32_t i = 0; i < space->chunk_count; i++) {
        fuzz_require(space->chunks[i].row == row &&
                     space->chunks[i].sequence < part->sequence_count);
        fuzz_require(inside(row, space->chunks[i].count, space->rows));
        fuzz_require(inside(space->chunks[i].first, space->chunks[i].count, space->total));
        row += space->chunks[i].count;
    }
    fuzz_require(row == space->rows);
    for (uint32_t i = 0; i < space->tile_count; i++) {
        const struct seqsync_tile *tile = &space->tiles[i];
        fuzz_require(tile->source < space->source_count);
        const struct seqsync_source *source = &space->sources[tile->source];
        fuzz_require(inside(tile->q_row, tile->q_count, part->spaces[0].rows));
        fuzz_require(inside(tile->k_row, tile->k_count, source->view_rows));
        fuzz_require(source->local
                         ? source->view_rows <= SEQSYNC_TOKENS_MAX
                         : inside(source->inbox_row, source->view_rows, space->inbox_rows));
        fuzz_require(source->rank == part->rank ||
                     inside(tile->return_row, tile->k_count, space->return_rows));
    }
}

/* The fuzzer's input copied to where a mapping would be, exactly as long. */
static uint8_t *aligned_copy(const uint8_t *data, size_t size)
{
    void *copy = NULL;

    fuzz_require(posix_memalign(&copy, 64, size > 0 ? size : 1) == 0);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = aligned_copy(data, size);
    struct part part, again;
    size_t length;

    if (part_decode(bytes, size, &part) == NULL) {
        for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
            use_space(&part, s);
        }
        fuzz_require(part_bytes(&part, &length) && length <= size);
        uint8_t *encoded = aligned_copy(data, length);
        uint8_t *twice = aligned_copy(data, length);
        part_encode(&part, encoded);
        fuzz_require(part_decode(encoded, length, &again) == NULL);
        part_encode(&again, twice);
        fuzz_require(memcmp(encoded, twice, length) == 0);
        free(encoded);
        free(twice);
    }
    free(bytes);
    return 0;
}
