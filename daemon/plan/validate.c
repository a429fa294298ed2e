#include "daemon/plan/validate.h"

#include <string.h>

#include "daemon/base/vec.h"
#include "daemon/plan/digest.h"

static const char *const OUT_OF_MEMORY = "out of memory";

const struct plan_range *validate_find(const struct plan_range *ranges, uint32_t range_count,
                                       int64_t row, int64_t count)
{
    uint32_t low = 0, high = range_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].holder_row + ranges[middle].count <= row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == range_count || !validate_within(row, count, ranges[low].holder_row,
                                               ranges[low].holder_row + ranges[low].count)) {
        return NULL;
    }
    return &ranges[low];
}

static bool is_causal(const struct seqsync_sequence *sequence)
{
    return sequence->mask == SEQSYNC_MASK_CAUSAL ||
           (sequence->mask == SEQSYNC_MASK_WINDOW && sequence->window_right == 0);
}

static uint32_t expected_placement(const struct seqsync_batch *batch)
{
    uint32_t placement = SEQSYNC_PLACE_CONTIGUOUS;

    if (batch->placement != SEQSYNC_PLACE_AUTO) {
        return batch->placement;
    }
    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        if (is_causal(&batch->sequences[s])) {
            placement = SEQSYNC_PLACE_ZIGZAG;
        }
    }
    return placement;
}

static bool sequences_equal(const struct seqsync_sequence *a, const struct seqsync_sequence *b)
{
    return a->tokens == b->tokens && a->context_tokens == b->context_tokens &&
           a->window_left == b->window_left && a->window_right == b->window_right &&
           a->sample_id == b->sample_id && a->mask == b->mask && a->reserved == b->reserved;
}

static const char *validate_input_copy(const struct plan *plan, const struct plan_input *input)
{
    const struct seqsync_batch *batch = input->batch;

    if (plan->rank_count != input->rank_count || plan->node_count != input->node_count ||
        plan->sequence_count != batch->sequence_count) {
        return "the plan's ranks, nodes or sequences are not as many as the input's";
    }
    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        if (!sequences_equal(&plan->sequences[s], &batch->sequences[s])) {
            return "a sequence of the plan differs from the batch's";
        }
    }
    for (uint32_t r = 0; r < input->rank_count; r++) {
        if (plan->rank_nodes[r] != input->rank_nodes[r]) {
            return "the node of a rank differs from the input's";
        }
    }
    if (plan->seed != batch->seed) {
        return "the seed differs from the batch's";
    }
    if (plan->context_role != batch->context_role) {
        return "the context's role differs from the batch's";
    }
    if (plan->placement != expected_placement(batch)) {
        return "the placement is not what the batch asks for";
    }
    return NULL;
}

static const char *validate_offsets(const struct validation *v)
{
    const struct seqsync_batch *batch = v->input->batch;
    int64_t offset = 0;

    for (uint32_t s = 0; s < batch->sequence_count; s++) {
        if (v->offsets[s] != offset) {
            return "an offset is not the sum of the lengths before it";
        }
        offset += v->index == SEQSYNC_SPACE_TOKENS ? batch->sequences[s].tokens
                                                   : batch->sequences[s].context_tokens;
    }
    if (v->offsets[batch->sequence_count] != offset || v->space->total != offset) {
        return "the total is not the sum of the lengths";
    }
    return NULL;
}

static const char *validate_space(const struct plan *plan, const struct plan_input *input,
                                  uint32_t index)
{
    static const char *(*const checks[])(const struct validation *) = {
        validate_offsets, validate_chunks, validate_moves,
        validate_tiles,   validate_needs,  validate_sums,
    };
    const size_t ranks = input->rank_count;
    struct validation v = {
        .plan = plan,
        .input = input,
        .space = &plan->spaces[index],
        .offsets = plan->offsets[index],
        .runs = vec_new(ranks * ranks, sizeof(*v.runs)),
        .open_rows = vec_new(ranks * input->node_count, sizeof(*v.open_rows)),
        .index = index,
        .is_replicated =
            index == SEQSYNC_SPACE_CONTEXT && input->batch->context_role == SEQSYNC_REPLICATED,
    };
    const char *why = v.runs && v.open_rows ? NULL : OUT_OF_MEMORY;

    for (size_t i = 0; !why && i < sizeof(checks) / sizeof(checks[0]); i++) {
        why = checks[i](&v);
    }
    free(v.runs);
    free(v.open_rows);
    return why;
}

const char *plan_validate(const struct plan *plan, const struct plan_input *input)
{
    const char *why = validate_input_copy(plan, input);

    for (uint32_t s = 0; !why && s < SEQSYNC_SPACES_N; s++) {
        why = validate_space(plan, input, s);
    }
    if (!why && plan->digest != plan_digest(plan)) {
        why = "the digest is not that of the plan";
    }
    return why;
}
