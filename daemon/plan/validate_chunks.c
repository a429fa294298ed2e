#include <stdlib.h>

#include "daemon/base/vec.h"
#include "daemon/plan/validate.h"

/* One chunk by itself, and its rows after those before. */
static const char *check_chunk(const struct validation *v, const struct seqsync_chunk *chunk,
                               uint32_t rank, int64_t row)
{
    if (chunk->rank != rank) {
        return "a chunk is listed for another rank than its own";
    }
    if (chunk->sequence >= v->input->batch->sequence_count ||
        !validate_within(chunk->first, chunk->count, v->offsets[chunk->sequence],
                         v->offsets[chunk->sequence + 1])) {
        return "a chunk is not inside its sequence";
    }
    if (chunk->position != chunk->first - v->offsets[chunk->sequence]) {
        return "a chunk's position is not its distance from its sequence's first token";
    }
    if (chunk->row != row) {
        return "a chunk's row does not follow the chunk before";
    }
    return NULL;
}

static const char *check_part(const struct validation *v, uint32_t rank)
{
    const struct plan_part *part = &v->space->parts[rank];
    int64_t rows = 0;

    for (uint32_t c = 0; c < part->chunk_count; c++) {
        const char *why = check_chunk(v, &part->chunks[c], rank, rows);
        if (why) {
            return why;
        }
        if (c > 0 &&
            part->chunks[c].first < part->chunks[c - 1].first + part->chunks[c - 1].count) {
            return "the chunks of a rank do not ascend";
        }
        rows += part->chunks[c].count;
    }
    if (part->rows != rows) {
        return "a rank's rows are not the sum of its chunks";
    }
    return NULL;
}

/*
 * Every token is held once: the ranks' ascending lists are merged by a heap of the ranks' next
 * chunks, and each must begin where the one before ended.
 */
struct heap {
    uint32_t *ranks; /* heap order by the first token of the rank's next chunk */
    uint32_t *next;  /* [rank_count] */
    uint32_t count;
};

static int64_t heap_key(const struct validation *v, const struct heap *heap, uint32_t at)
{
    const uint32_t rank = heap->ranks[at];

    return v->space->parts[rank].chunks[heap->next[rank]].first;
}

static void heap_sink(const struct validation *v, struct heap *heap, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap->count; child++) {
            if (heap_key(v, heap, child) < heap_key(v, heap, least)) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        const uint32_t swapped = heap->ranks[at];
        heap->ranks[at] = heap->ranks[least];
        heap->ranks[least] = swapped;
        at = least;
    }
}

static const char *check_cover(const struct validation *v, struct heap *heap)
{
    int64_t covered = 0;

    for (uint32_t r = 0; r < v->input->rank_count; r++) {
        if (v->space->parts[r].chunk_count > 0) {
            heap->ranks[heap->count++] = r;
        }
    }
    for (uint32_t at = heap->count; at-- > 0;) {
        heap_sink(v, heap, at);
    }
    while (heap->count > 0) {
        const uint32_t rank = heap->ranks[0];
        const struct plan_part *part = &v->space->parts[rank];
        const struct seqsync_chunk *chunk = &part->chunks[heap->next[rank]++];
        if (chunk->first != covered) {
            return chunk->first < covered ? "a token is held twice" : "a token is held by nobody";
        }
        covered += chunk->count;
        if (heap->next[rank] == part->chunk_count) {
            heap->ranks[0] = heap->ranks[--heap->count];
        }
        heap_sink(v, heap, 0);
    }
    return covered == v->space->total ? NULL : "a token is held by nobody";
}

const char *validate_chunks(const struct validation *v)
{
    const uint32_t ranks = v->input->rank_count;
    const char *why = NULL;

    for (uint32_t r = 0; !why && r < ranks; r++) {
        why = check_part(v, r);
        /* Chunks that ascend without overlap and add up to everything leave nothing out. */
        if (!why && v->is_replicated && v->space->parts[r].rows != v->space->total) {
            why = "a rank does not hold all of the replicated context";
        }
    }
    if (why || v->is_replicated) {
        return why;
    }
    struct heap heap = {.ranks = vec_new(ranks, sizeof(*heap.ranks)),
                        .next = vec_new(ranks, sizeof(*heap.next))};
    why = heap.ranks && heap.next ? check_cover(v, &heap) : "out of memory";
    free(heap.ranks);
    free(heap.next);
    return why;
}
