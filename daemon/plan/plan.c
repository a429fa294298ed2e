#include "daemon/plan/plan.h"

#include <assert.h>
#include <string.h>

#include "daemon/base/err.h"
#include "daemon/base/vec.h"
#include "daemon/plan/digest.h"
#include "daemon/plan/move.h"
#include "daemon/plan/need.h"
#include "daemon/plan/placement.h"
#include "daemon/plan/sum.h"
#include "daemon/plan/tiling.h"

static int copy_batch(struct plan *plan, const struct seqsync_batch *batch)
{
    const uint32_t count = batch->sequence_count;

    plan->sequences = vec_new(count, sizeof(*plan->sequences));
    if (!plan->sequences) {
        return err_origin(-ENOMEM);
    }
    memcpy(plan->sequences, batch->sequences, count * sizeof(*plan->sequences));
    plan->sequence_count = count;
    plan->placement = placement_decide(batch);
    plan->context_role = batch->context_role;
    plan->seed = batch->seed;
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        int64_t *offsets = vec_new((size_t)count + 1, sizeof(*offsets));
        if (!offsets) {
            return err_origin(-ENOMEM);
        }
        plan->offsets[space] = offsets;
        for (uint32_t i = 0; i < count; i++) {
            const struct seqsync_sequence *sequence = &batch->sequences[i];
            offsets[i + 1] =
                offsets[i] +
                (space == SEQSYNC_SPACE_TOKENS ? sequence->tokens : sequence->context_tokens);
        }
        plan->spaces[space].total = offsets[count];
    }
    return 0;
}

static int space_new(struct plan_space *space, uint32_t rank_count, uint32_t node_count)
{
    space->parts = vec_new(rank_count, sizeof(*space->parts));
    space->inbox_rows = vec_new(node_count, sizeof(*space->inbox_rows));
    space->moves = vec_new(0, sizeof(*space->moves));
    space->ranges = vec_new(0, sizeof(*space->ranges));
    space->sums = vec_new(0, sizeof(*space->sums));
    space->terms = vec_new(0, sizeof(*space->terms));
    if (!space->parts || !space->inbox_rows || !space->moves || !space->ranges || !space->sums ||
        !space->terms) {
        return err_origin(-ENOMEM);
    }
    return 0;
}

/* What follows from who holds what in one space. */
static int plan_space(struct plan *plan, uint32_t space)
{
    const bool is_replicated =
        space == SEQSYNC_SPACE_CONTEXT && plan->context_role == SEQSYNC_REPLICATED;
    struct placement placement;
    struct need_index index = {0};

    int r = placement_init(&placement, plan, space);
    if (r == 0) {
        r = tiling_init(plan, space, &placement);
    }
    placement_deinit(&placement);
    if (r == 0) {
        r = need_init(plan, space);
    }
    if (r < 0 || is_replicated) {
        /* Everybody has a copy and its whole gradient: nothing moves, nothing is summed here. */
        return err_trace(r);
    }
    r = need_index_init(&index, plan, space);
    if (r == 0) {
        r = move_init(plan, space, &index);
    }
    if (r == 0) {
        r = sum_init(plan, space, &index);
    }
    need_index_deinit(&index);
    return err_trace(r);
}

int plan_new(const struct plan_input *input, uint64_t batch_digest, struct plan **ret)
{
    assert(plan_input_check(input) == NULL);

    struct plan *plan = calloc(1, sizeof(*plan));
    if (!plan) {
        return err_origin(-ENOMEM);
    }
    plan->rank_count = input->rank_count;
    plan->node_count = input->node_count;
    plan->batch_digest = batch_digest;
    plan->rank_nodes = vec_new(input->rank_count, sizeof(*plan->rank_nodes));
    int r = plan->rank_nodes ? copy_batch(plan, input->batch) : err_origin(-ENOMEM);
    if (r == 0) {
        memcpy(plan->rank_nodes, input->rank_nodes, input->rank_count * sizeof(*plan->rank_nodes));
    }
    for (uint32_t space = 0; r == 0 && space < SEQSYNC_SPACES_N; space++) {
        r = space_new(&plan->spaces[space], input->rank_count, input->node_count);
    }
    for (uint32_t space = 0; r == 0 && space < SEQSYNC_SPACES_N; space++) {
        r = plan_space(plan, space);
    }
    if (r < 0) {
        plan_free(plan);
        return err_trace(r);
    }
    plan->digest = plan_digest(plan);
    *ret = plan;
    return 0;
}

static void space_free(struct plan_space *space, uint32_t rank_count)
{
    for (uint32_t r = 0; space->parts && r < rank_count; r++) {
        free(space->parts[r].chunks);
        free(space->parts[r].tiles);
        free(space->parts[r].sources);
        free(space->parts[r].needs);
    }
    free(space->parts);
    free(space->moves);
    free(space->ranges);
    free(space->sums);
    free(space->terms);
    free(space->inbox_rows);
}

struct plan *plan_free(struct plan *plan)
{
    if (plan) {
        for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
            space_free(&plan->spaces[space], plan->rank_count);
            free(plan->offsets[space]);
        }
        free(plan->sequences);
        free(plan->rank_nodes);
        free(plan);
    }
    return NULL;
}
