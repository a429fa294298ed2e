#include "proto/part.h"

#include "proto/part_check.h"

#include <assert.h>
#include <string.h>

#define PART_MAGIC UINT64_C(0x3154524150515153)
#define PART_ALIGN 8u

/* What lies at the start of the bytes; the arrays follow in the order of array_sizes(). */
struct part_head {
    uint64_t magic;
    uint64_t bytes;
    uint64_t seed;
    uint64_t step;
    uint64_t plan_digest;
    uint32_t local_count;
    uint32_t sequence_count;
    uint32_t rank;
    uint32_t placement;
    struct {
        int64_t rows;
        int64_t return_rows;
        int64_t inbox_rows;
        int64_t total;
        int64_t area;
        uint32_t chunk_count;
        uint32_t tile_count;
        uint32_t source_count;
        uint32_t reserved;
    } spaces[SEQSYNC_SPACES_N];
};

enum { ARRAYS_OF_SPACE = 3, ARRAYS_N = ARRAYS_OF_SPACE * SEQSYNC_SPACES_N + 4 };

/* Byte counts of the arrays, in their order. All counts are 32 bits wide, so no product overflows.
 */
static void array_sizes(const struct part_head *head, size_t ret[ARRAYS_N])
{
    uint32_t n = 0;

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        ret[n++] = head->spaces[s].chunk_count * sizeof(struct seqsync_chunk);
        ret[n++] = head->spaces[s].tile_count * sizeof(struct seqsync_tile);
        ret[n++] = head->spaces[s].source_count * sizeof(struct seqsync_source);
    }
    ret[n++] = head->local_count * sizeof(int64_t) * SEQSYNC_SPACES_N;
    ret[n++] = head->local_count * sizeof(int64_t) * SEQSYNC_SPACES_N;
    ret[n++] = head->sequence_count * sizeof(int64_t);
    ret[n++] = head->local_count * sizeof(uint32_t);
}

/* Offsets of the arrays, and of the end; false on overflow. */
static bool array_offsets(const size_t sizes[ARRAYS_N], size_t ret[ARRAYS_N + 1])
{
    size_t at = (sizeof(struct part_head) + PART_ALIGN - 1) & ~(size_t)(PART_ALIGN - 1);

    for (uint32_t i = 0; i < ARRAYS_N; i++) {
        ret[i] = at;
        if (__builtin_add_overflow(at, sizes[i], &at) || at > (size_t)INT64_MAX - PART_ALIGN) {
            return false;
        }
        at = (at + PART_ALIGN - 1) & ~(size_t)(PART_ALIGN - 1);
    }
    ret[ARRAYS_N] = at;
    return true;
}

static void part_head_of(const struct part *part, struct part_head *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->magic = PART_MAGIC;
    ret->seed = part->seed;
    ret->step = part->step;
    ret->plan_digest = part->plan_digest;
    ret->local_count = part->local_count;
    ret->sequence_count = part->sequence_count;
    ret->rank = part->rank;
    ret->placement = part->placement;
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct part_space *space = &part->spaces[s];
        ret->spaces[s].rows = space->rows;
        ret->spaces[s].return_rows = space->return_rows;
        ret->spaces[s].inbox_rows = space->inbox_rows;
        ret->spaces[s].total = space->total;
        ret->spaces[s].area = space->area;
        ret->spaces[s].chunk_count = space->chunk_count;
        ret->spaces[s].tile_count = space->tile_count;
        ret->spaces[s].source_count = space->source_count;
    }
}

bool part_bytes(const struct part *part, size_t *ret)
{
    struct part_head head;
    size_t sizes[ARRAYS_N], offsets[ARRAYS_N + 1];

    part_head_of(part, &head);
    array_sizes(&head, sizes);
    if (!array_offsets(sizes, offsets)) {
        return false;
    }
    *ret = offsets[ARRAYS_N];
    return true;
}

void part_encode(const struct part *part, uint8_t *bytes)
{
    struct part_head head;
    size_t sizes[ARRAYS_N], offsets[ARRAYS_N + 1];
    const void *arrays[ARRAYS_N];
    uint32_t n = 0;

    part_head_of(part, &head);
    array_sizes(&head, sizes);
    const bool fits = array_offsets(sizes, offsets);
    assert(fits); /* or part_bytes() had said no */
    head.bytes = offsets[ARRAYS_N];
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        arrays[n++] = part->spaces[s].chunks;
        arrays[n++] = part->spaces[s].tiles;
        arrays[n++] = part->spaces[s].sources;
    }
    arrays[n++] = part->local_rows;
    arrays[n++] = part->local_return_rows;
    arrays[n++] = part->sequence_ends;
    arrays[n++] = part->local_ranks;
    memset(bytes, 0, head.bytes);
    memcpy(bytes, &head, sizeof(head));
    for (uint32_t i = 0; i < ARRAYS_N; i++) {
        if (sizes[i] > 0) {
            memcpy(bytes + offsets[i], arrays[i], sizes[i]);
        }
    }
}

static const char *head_check(const struct part_head *head, size_t length)
{
    size_t sizes[ARRAYS_N], offsets[ARRAYS_N + 1];

    if (head->magic != PART_MAGIC || head->bytes > length) {
        return "not a part of a plan, or a truncated one";
    }
    if (head->local_count < 1 || head->local_count > SEQSYNC_LOCAL_RANKS_MAX ||
        head->sequence_count < 1 || head->sequence_count > SEQSYNC_SEQUENCES_MAX ||
        head->rank >= SEQSYNC_RANKS_MAX || head->placement > SEQSYNC_PLACE_ZIGZAG) {
        return "a part's counts are out of their limits";
    }
    array_sizes(head, sizes);
    if (!array_offsets(sizes, offsets) || offsets[ARRAYS_N] != head->bytes) {
        return "a part's arrays do not fit its length";
    }
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        if (!part_rows_ok(head->spaces[s].rows) || !part_rows_ok(head->spaces[s].return_rows) ||
            !part_rows_ok(head->spaces[s].inbox_rows) || !part_rows_ok(head->spaces[s].total) ||
            head->spaces[s].area < 0 || head->spaces[s].reserved != 0) {
            return "a part's rows are out of their limits";
        }
    }
    return NULL;
}

static void part_point(const struct part_head *head, const uint8_t *bytes, struct part *ret)
{
    size_t sizes[ARRAYS_N], offsets[ARRAYS_N + 1];
    uint32_t n = 0;

    array_sizes(head, sizes);
    (void)array_offsets(sizes, offsets);
    memset(ret, 0, sizeof(*ret));
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        struct part_space *space = &ret->spaces[s];
        space->chunks = (const void *)(bytes + offsets[n++]);
        space->tiles = (const void *)(bytes + offsets[n++]);
        space->sources = (const void *)(bytes + offsets[n++]);
        space->chunk_count = head->spaces[s].chunk_count;
        space->tile_count = head->spaces[s].tile_count;
        space->source_count = head->spaces[s].source_count;
        space->rows = head->spaces[s].rows;
        space->return_rows = head->spaces[s].return_rows;
        space->inbox_rows = head->spaces[s].inbox_rows;
        space->total = head->spaces[s].total;
        space->area = head->spaces[s].area;
    }
    ret->local_rows = (const void *)(bytes + offsets[n++]);
    ret->local_return_rows = (const void *)(bytes + offsets[n++]);
    ret->sequence_ends = (const void *)(bytes + offsets[n++]);
    ret->local_ranks = (const void *)(bytes + offsets[n++]);
    ret->local_count = head->local_count;
    ret->sequence_count = head->sequence_count;
    ret->rank = head->rank;
    ret->placement = head->placement;
    ret->seed = head->seed;
    ret->step = head->step;
    ret->plan_digest = head->plan_digest;
}

const char *part_decode(const uint8_t *bytes, size_t length, struct part *ret)
{
    struct part_head head;
    struct part part;
    const char *why;

    if (length < sizeof(head)) {
        return "not a part of a plan, or a truncated one";
    }
    memcpy(&head, bytes, sizeof(head));
    why = head_check(&head, length);
    if (why != NULL) {
        return why;
    }
    part_point(&head, bytes, &part);
    why = part_check(&part);
    if (why == NULL) {
        *ret = part;
    }
    return why;
}
