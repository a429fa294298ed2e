#include "daemon/plan/placement.h"

#include <assert.h>
#include <string.h>

#include "daemon/base/err.h"
#include "daemon/base/vec.h"
#include "daemon/plan/geometry.h"

uint32_t placement_decide(const struct seqsync_batch *batch)
{
    if (batch->placement != SEQSYNC_PLACE_AUTO) {
        return batch->placement;
    }
    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        if (geometry_is_causal(&batch->sequences[s])) {
            return SEQSYNC_PLACE_ZIGZAG;
        }
    }
    return SEQSYNC_PLACE_CONTIGUOUS;
}

/* Appends @count tokens that follow the last ones; a run that goes on with the same rank and
 * sequence is one piece. */
static int push(struct placement *placement, int64_t first, int64_t count, uint32_t sequence,
                uint32_t rank)
{
    if (placement->piece_count > 0) {
        struct piece *last = &placement->pieces[placement->piece_count - 1];
        if (last->rank == rank && last->sequence == sequence) {
            assert(last->first + last->count == first);
            last->count += count;
            return 0;
        }
    }
    struct piece *pieces = vec_grow(placement->pieces, &placement->piece_capacity,
                                    (uint64_t)placement->piece_count + 1, sizeof(*pieces));
    if (!pieces) {
        return err_origin(-ENOMEM);
    }
    placement->pieces = pieces;
    pieces[placement->piece_count++] =
        (struct piece){.first = first, .count = count, .sequence = sequence, .rank = rank};
    return 0;
}

static int place_contiguous(struct placement *placement, const int64_t *offsets,
                            uint32_t sequence_count, uint32_t rank_count)
{
    const int64_t total = offsets[sequence_count];
    const int64_t share = total / rank_count;
    const int64_t longer = total % rank_count;
    uint32_t rank = 0;
    int64_t rank_end = share + (longer > 0);

    for (uint32_t s = 0; s < sequence_count; s++) {
        int64_t at = offsets[s];
        placement->sequence_first[s] = placement->piece_count;
        while (at < offsets[s + 1]) {
            while (at == rank_end) {
                rank++;
                rank_end += share + (rank < longer);
            }
            const int64_t end = rank_end < offsets[s + 1] ? rank_end : offsets[s + 1];
            int r = push(placement, at, end - at, s, rank);
            if (r < 0) {
                return err_trace(r);
            }
            at = end;
        }
    }
    placement->sequence_first[sequence_count] = placement->piece_count;
    return 0;
}

/* How the tokens left over by the 2P chunks of one sequence are dealt. */
struct deal {
    int64_t base; /* tokens of every chunk */
    uint32_t
        start; /* first slot that gets one more; slot p is rank p's low chunk, P + p its high */
    uint32_t extra; /* how many do, going around */
    uint32_t ranks;
};

/* How far the slot of @chunk lies from where the dealing starts. */
static uint32_t deal_distance(const struct deal *deal, uint32_t chunk)
{
    const uint32_t slots = 2 * deal->ranks;
    const uint32_t slot = chunk < deal->ranks ? chunk : 3 * deal->ranks - 1 - chunk;

    return (slot + slots - deal->start) % slots;
}

static int64_t deal_count(const struct deal *deal, uint32_t chunk)
{
    return deal->base + (deal_distance(deal, chunk) < deal->extra);
}

/* The first chunk from @chunk on that is not empty, or one beyond the last. A sequence shorter than
 * 2P has few, which are found without a walk over the ranks. */
static uint32_t deal_next(const struct deal *deal, uint32_t chunk)
{
    const uint32_t ranks = deal->ranks;

    if (deal->base > 0) {
        return chunk;
    }
    if (chunk < ranks) {
        const uint32_t distance = deal_distance(deal, chunk);
        if (distance < deal->extra) {
            return chunk;
        }
        chunk += 2 * ranks - distance;
        if (chunk < ranks) {
            return chunk;
        }
        chunk = ranks;
    }
    if (chunk < 2 * ranks) {
        /* Slots fall as the chunks of the high half rise. */
        const uint32_t distance = deal_distance(deal, chunk);
        if (distance >= deal->extra) {
            chunk += distance - (deal->extra - 1);
        }
    }
    /* Chunks beyond the high half would be slots of the low half again. */
    return chunk < 2 * ranks ? chunk : 2 * ranks;
}

static int place_zigzag(struct placement *placement, const int64_t *offsets,
                        uint32_t sequence_count, uint32_t rank_count)
{
    struct deal deal = {.ranks = rank_count};

    for (uint32_t s = 0; s < sequence_count; s++) {
        const int64_t tokens = offsets[s + 1] - offsets[s];
        int64_t at = offsets[s];
        deal.base = tokens / (2 * (int64_t)rank_count);
        deal.extra = (uint32_t)(tokens % (2 * (int64_t)rank_count));
        placement->sequence_first[s] = placement->piece_count;
        for (uint32_t c = deal_next(&deal, 0); c < 2 * rank_count; c = deal_next(&deal, c + 1)) {
            const int64_t count = deal_count(&deal, c);
            int r = push(placement, at, count, s, c < rank_count ? c : 2 * rank_count - 1 - c);
            if (r < 0) {
                return err_trace(r);
            }
            at += count;
        }
        assert(at == offsets[s + 1]);
        deal.start = (deal.start + deal.extra) % (2 * rank_count);
    }
    placement->sequence_first[sequence_count] = placement->piece_count;
    return 0;
}

static struct seqsync_chunk chunk_of(const struct piece *piece, const int64_t *offsets,
                                     uint32_t rank)
{
    return (struct seqsync_chunk){.first = piece->first,
                                  .count = piece->count,
                                  .row = piece->row,
                                  .position = piece->first - offsets[piece->sequence],
                                  .sequence = piece->sequence,
                                  .rank = rank};
}

static int hand_out(struct placement *placement, struct plan_space *space, const int64_t *offsets,
                    uint32_t rank_count)
{
    for (uint32_t i = 0; i < placement->piece_count; i++) {
        struct piece *piece = &placement->pieces[i];
        struct plan_part *part = &space->parts[piece->rank];
        piece->row = part->rows;
        part->rows += piece->count;
        part->chunk_count++;
    }
    for (uint32_t r = 0; r < rank_count; r++) {
        struct plan_part *part = &space->parts[r];
        part->chunks = vec_new(part->chunk_count, sizeof(*part->chunks));
        if (!part->chunks) {
            return err_origin(-ENOMEM);
        }
        part->chunk_count = 0;
    }
    for (uint32_t i = 0; i < placement->piece_count; i++) {
        const struct piece *piece = &placement->pieces[i];
        struct plan_part *part = &space->parts[piece->rank];
        part->chunks[part->chunk_count++] = chunk_of(piece, offsets, piece->rank);
    }
    return 0;
}

/* Every rank holds everything, in the order of the global index. */
static int hand_out_replicated(struct placement *placement, struct plan_space *space,
                               const int64_t *offsets, uint32_t rank_count)
{
    for (uint32_t i = 0; i < placement->piece_count; i++) {
        placement->pieces[i].row = placement->pieces[i].first;
    }
    for (uint32_t r = 0; r < rank_count; r++) {
        struct plan_part *part = &space->parts[r];
        part->rows = space->total;
        part->chunks = vec_new(placement->piece_count, sizeof(*part->chunks));
        if (!part->chunks) {
            return err_origin(-ENOMEM);
        }
        part->chunk_count = placement->piece_count;
        for (uint32_t i = 0; i < placement->piece_count; i++) {
            part->chunks[i] = chunk_of(&placement->pieces[i], offsets, r);
        }
    }
    return 0;
}

int placement_init(struct placement *ret, struct plan *plan, uint32_t space)
{
    const int64_t *offsets = plan->offsets[space];
    const bool is_replicated =
        space == SEQSYNC_SPACE_CONTEXT && plan->context_role == SEQSYNC_REPLICATED;
    const bool is_zigzag = space == SEQSYNC_SPACE_TOKENS && plan->placement == SEQSYNC_PLACE_ZIGZAG;
    int r;

    memset(ret, 0, sizeof(*ret));
    ret->sequence_first = vec_new((size_t)plan->sequence_count + 1, sizeof(*ret->sequence_first));
    if (!ret->sequence_first) {
        return err_origin(-ENOMEM);
    }
    if (is_zigzag) {
        r = place_zigzag(ret, offsets, plan->sequence_count, plan->rank_count);
    } else {
        r = place_contiguous(ret, offsets, plan->sequence_count,
                             is_replicated ? 1 : plan->rank_count);
    }
    if (r < 0) {
        return err_trace(r);
    }
    return err_trace((is_replicated ? hand_out_replicated : hand_out)(ret, &plan->spaces[space],
                                                                      offsets, plan->rank_count));
}

void placement_deinit(struct placement *placement)
{
    free(placement->pieces);
    free(placement->sequence_first);
    memset(placement, 0, sizeof(*placement));
}
