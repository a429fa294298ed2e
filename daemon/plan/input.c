/* Which batches and rank tables are legal. */
#include <stdbool.h>

#include "daemon/plan/geometry.h"
#include "daemon/plan/placement.h"
#include "daemon/plan/plan.h"

/* The sentences below name limits by their numbers. */
_Static_assert(SEQSYNC_TOKENS_MAX == 268435456, "tokens");
_Static_assert(SEQSYNC_SEQUENCES_MAX == 1024, "sequences");
_Static_assert(SEQSYNC_RANKS_MAX == 1024, "ranks");
_Static_assert(SEQSYNC_NODES_MAX == 64, "nodes");
_Static_assert(SEQSYNC_LOCAL_RANKS_MAX == 64, "local ranks");
_Static_assert(PLAN_TILES_MAX == 16777216, "tiles");

static const char *check_sequence(const struct seqsync_sequence *sequence)
{
    if (sequence->tokens < 1) {
        return "tokens of a sequence must be at least 1";
    }
    if (sequence->tokens > SEQSYNC_TOKENS_MAX) {
        return "tokens of a sequence must be at most 268435456";
    }
    if (sequence->context_tokens < 0 || sequence->context_tokens > SEQSYNC_TOKENS_MAX) {
        return "context_tokens of a sequence must be 0 to 268435456";
    }
    if (sequence->mask < SEQSYNC_MASK_FULL || sequence->mask > SEQSYNC_MASK_WINDOW) {
        return "mask of a sequence must be full, causal or window";
    }
    if (sequence->mask == SEQSYNC_MASK_WINDOW &&
        (sequence->window_left < 0 || sequence->window_right < 0)) {
        return "window_left and window_right of a sequence must be at least 0";
    }
    if (sequence->reserved != 0) {
        return "reserved of a sequence must be 0";
    }
    return NULL;
}

static const char *check_batch(const struct seqsync_batch *batch)
{
    int64_t tokens = 0, context_tokens = 0;

    if (batch->size < sizeof(*batch)) {
        return "size of the batch must be sizeof(struct seqsync_batch)";
    }
    if (!batch->sequences || batch->sequence_count < 1 ||
        batch->sequence_count > SEQSYNC_SEQUENCES_MAX) {
        return "sequence_count of the batch must be 1 to 1024";
    }
    if (batch->placement > SEQSYNC_PLACE_ZIGZAG) {
        return "placement of the batch must be auto, contiguous or zigzag";
    }
    if (batch->context_role != SEQSYNC_SHARDED && batch->context_role != SEQSYNC_REPLICATED) {
        return "context_role of the batch must be sharded or replicated";
    }
    if (batch->reserved != 0) {
        return "reserved of the batch must be 0";
    }
    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        const char *why = check_sequence(&batch->sequences[s]);
        if (why) {
            return why;
        }
        tokens += batch->sequences[s].tokens;
        context_tokens += batch->sequences[s].context_tokens;
    }
    if (tokens > SEQSYNC_TOKENS_MAX) {
        return "tokens of the batch must be at most 268435456 in all";
    }
    if (context_tokens > SEQSYNC_TOKENS_MAX) {
        return "context_tokens of the batch must be at most 268435456 in all";
    }
    return NULL;
}

static const char *check_ranks(const struct plan_input *input)
{
    uint32_t local_counts[SEQSYNC_NODES_MAX] = {0};

    if (input->rank_count < 1 || input->rank_count > SEQSYNC_RANKS_MAX) {
        return "rank_count must be 1 to 1024";
    }
    if (input->node_count < 1 || input->node_count > SEQSYNC_NODES_MAX) {
        return "node_count must be 1 to 64";
    }
    if (!input->rank_nodes) {
        return "rank_nodes must be given";
    }
    for (uint32_t r = 0; r < input->rank_count; r++) {
        if (input->rank_nodes[r] >= input->node_count) {
            return "rank_nodes must be below node_count";
        }
        if (++local_counts[input->rank_nodes[r]] > SEQSYNC_LOCAL_RANKS_MAX) {
            return "rank_nodes must put at most 64 ranks on a node";
        }
    }
    return NULL;
}

/* No fewer than the chunks that meet @tokens tokens of one sequence. */
static int64_t chunks_at_most(int64_t tokens, int64_t chunks)
{
    return tokens < chunks ? tokens : chunks;
}

/* No fewer than the tiles of the plan, by counting what the placement will cut. */
static int64_t tiles_at_most(const struct plan_input *input)
{
    const struct seqsync_batch *batch = input->batch;
    const bool is_zigzag = placement_decide(batch) == SEQSYNC_PLACE_ZIGZAG;
    const int64_t ranks = input->rank_count;
    int64_t total = 0, context_total = 0, tiles = 0;

    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        total += batch->sequences[s].tokens;
        context_total += batch->sequences[s].context_tokens;
    }
    /* A contiguous run of n tokens meets at most n / share + 2 ranks' runs, share rounded down. */
    const int64_t share = total / ranks > 0 ? total / ranks : 1;
    const int64_t context_share = context_total / ranks > 0 ? context_total / ranks : 1;
    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        const struct seqsync_sequence *sequence = &batch->sequences[s];
        const struct reach reach = geometry_reach(sequence);
        const int64_t cut = is_zigzag ? 2 * ranks : sequence->tokens / share + 2;
        const int64_t chunks = chunks_at_most(sequence->tokens, cut);
        const int64_t length = sequence->tokens / cut > 0 ? sequence->tokens / cut : 1;
        /* A chunk is at most length + 1 long, and its reach may begin and end inside a chunk. */
        const int64_t met = (reach.before + reach.after) / length + 5;
        const int64_t context_cut = batch->context_role == SEQSYNC_REPLICATED
                                        ? 1
                                        : sequence->context_tokens / context_share + 2;
        if (met < chunks) {
            tiles += chunks * met;
        } else {
            tiles += reach.after == 0 ? chunks * (chunks + 1) / 2 : chunks * chunks;
        }
        tiles += chunks * chunks_at_most(sequence->context_tokens, context_cut);
    }
    return tiles;
}

const char *plan_input_check(const struct plan_input *input)
{
    if (!input->batch) {
        return "batch must be given";
    }
    const char *why = check_ranks(input);
    if (!why) {
        why = check_batch(input->batch);
    }
    if (!why && tiles_at_most(input) > PLAN_TILES_MAX) {
        why = "the batch would be cut into more than 16777216 tiles: use contiguous placement, "
              "fewer sequences or fewer ranks";
    }
    return why;
}
