/*
 * Sums, run on a lane. Sources are read where they lie: in the workers' arenas, in this node's
 * partials. Their order is part of the contract: ranks ascending inside a node, nodes ascending,
 * whatever arrives first.
 */
#include "daemon/base/err.h"
#include "daemon/io/job.h"
#include "daemon/math/reduce.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdlib.h>
#include <string.h>

struct sum_job {
    struct lane_job lane;
    struct job *job;
    uint64_t step;
    enum sum_kind kind;
    uint32_t id;
    uint32_t part;
    int64_t count;
    bool nonfinite;
    int32_t rank; /* whose contribution was non-finite, -1 */
    uint64_t read_bytes;
};

/* ---- buckets ---- */

static void sum_contributions(struct sum_job *sum)
{
    const struct job *job = sum->job;
    const size_t elements = job->buckets[sum->id].elements;
    const bool replicated = job->buckets[sum->id].role == SEQSYNC_REPLICATED;
    const bool alone = job->member_count == 1;
    const float *sources[SEQSYNC_LOCAL_RANKS_MAX];
    uint32_t source_ranks[SEQSYNC_LOCAL_RANKS_MAX];
    uint32_t n = 0;

    for (uint32_t i = 0; i < job->local_count; i++) {
        /* What every rank holds in whole counts once: rank 0's. */
        if (!replicated || job->local_ranks[i] == 0) {
            source_ranks[n] = job->local_ranks[i];
            sources[n++] = job_bucket_data(job, job->gradients[i].data, sum->id);
        }
    }
    float *to = alone ? job_bucket_data(job, job->result.data, sum->id)
                      : job_bucket_data(job, (uint8_t *)job->bucket_partials, sum->id);
    const int64_t divisor = alone ? sum->count : 1;
    int32_t culprit = -1;
    sum->nonfinite = reduce_sum_f32(to, sources, n, elements, divisor, &culprit);
    sum->rank = culprit >= 0 ? (int32_t)source_ranks[culprit] : -1;
    sum->read_bytes = n * elements * sizeof(float);
}

static void sum_owned(struct sum_job *sum)
{
    const struct job *job = sum->job;
    const bool replicated = job->buckets[sum->id].role == SEQSYNC_REPLICATED;
    const float *sources[SEQSYNC_NODES_MAX];
    size_t first, count;
    uint32_t n = 0;

    job_slice(job, sum->id, job->member, &first, &count);
    for (uint32_t m = 0; m < job->member_count; m++) {
        if (replicated && job->members[m] != job->rank_nodes[0]) {
            continue;
        }
        sources[n++] = m == job->member
                           ? job_bucket_data(job, (uint8_t *)job->bucket_partials, sum->id) + first
                           : job_slice_partial(job, sum->id, m);
    }
    int32_t culprit = -1;
    sum->nonfinite = reduce_sum_f32(job_bucket_data(job, job->result.data, sum->id) + first,
                                    sources, n, count, sum->count, &culprit);
    sum->read_bytes = n * count * sizeof(float);
}

static void sum_parameter(struct sum_job *sum)
{
    const struct job *job = sum->job;
    const int32_t local = job_local_index(job, sum->part);

    assert(local >= 0);
    memcpy(job_bucket_data(job, job->result.data, sum->id),
           job_bucket_data(job, job->gradients[local].data, sum->id),
           job->buckets[sum->id].elements * sizeof(float));
}

/* ---- dK/dV ---- */

/* Source planes of one term: the return buffer of a local rank, or the partial that another node
 * sent. */
static void term_planes(const struct sum_job *sum, const struct plan_term *term,
                        size_t row_elements, const float **ret_dk, const float **ret_dv)
{
    const struct job *job = sum->job;
    const uint32_t space = job->exchanges[sum->id].space;

    if (term->from_node) {
        const struct plan_move *move = job_move(job, space, sum->part, term->from);
        float *dk, *dv;
        assert(move != NULL);
        job_partial_planes(job, sum->id, move, &dk, &dv);
        *ret_dk = dk + (size_t)(term->row - move->inbox_row) * row_elements;
        *ret_dv = dv + (size_t)(term->row - move->inbox_row) * row_elements;
        return;
    }
    const int32_t local = job_local_index(job, term->from);
    const uint32_t slot = sum->id % ARENA_RETURN_SLOTS;
    assert(local >= 0);
    const uint8_t *arena = job->step_memory.arenas[local].data;
    *ret_dk = (const float *)(const void *)(arena + job->rank_layouts[local].return_k[slot]) +
              (size_t)term->row * row_elements;
    *ret_dv = (const float *)(const void *)(arena + job->rank_layouts[local].return_v[slot]) +
              (size_t)term->row * row_elements;
}

/* First elements of the planes that the holder's sums of this node go to, and the row that lies
 * there. */
static void sum_planes(const struct sum_job *sum, float **ret_dk, float **ret_dv, int64_t *ret_row)
{
    const struct job *job = sum->job;
    const int32_t local = job_local_index(job, sum->part);

    if (local >= 0) {
        const uint32_t slot = sum->id % ARENA_RETURN_SLOTS;
        *ret_dk =
            (float *)(void *)(job->step_memory.inbox.data + job->inbox_layout.sum_k[local][slot]);
        *ret_dv =
            (float *)(void *)(job->step_memory.inbox.data + job->inbox_layout.sum_v[local][slot]);
        *ret_row = 0;
        return;
    }
    const struct plan_move *move =
        job_move(job, job->exchanges[sum->id].space, sum->part, job->host->node);
    assert(move != NULL);
    job_partial_planes(job, sum->id, move, ret_dk, ret_dv);
    *ret_row = move->inbox_row;
}

/* The plan's sums of one holder on this node: a run of the sorted list. */
static const struct plan_sum *holder_sums(const struct plan_space *space, uint32_t holder,
                                          uint32_t node, uint32_t *ret_count)
{
    uint32_t low = 0, high = space->sum_count;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const struct plan_sum *at = &space->sums[mid];
        if (at->holder < holder || (at->holder == holder && at->node < node)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    uint32_t end = low;
    while (end < space->sum_count && space->sums[end].holder == holder &&
           space->sums[end].node == node) {
        end++;
    }
    *ret_count = end - low;
    return &space->sums[low];
}

static void sum_returns(struct sum_job *sum)
{
    const struct job *job = sum->job;
    const struct plan_space *space = &job->plan->spaces[job->exchanges[sum->id].space];
    const size_t row_elements = arena_row_elements(&job->exchanges[sum->id]);
    float *to_dk, *to_dv;
    int64_t to_row;
    uint32_t count;
    const struct plan_sum *sums = holder_sums(space, sum->part, job->host->node, &count);

    sum_planes(sum, &to_dk, &to_dv, &to_row);
    if (count == 0) {
        /* Nobody reads this rank's rows (they are replicated, say): the others' share is zero. */
        const int32_t local = job_local_index(job, sum->part);
        const int64_t rows = job->local_rows[local][job->exchanges[sum->id].space];
        memset(to_dk, 0, (size_t)rows * row_elements * sizeof(float));
        memset(to_dv, 0, (size_t)rows * row_elements * sizeof(float));
    }
    for (uint32_t i = 0; i < count; i++) {
        const float *dk[SEQSYNC_LOCAL_RANKS_MAX + SEQSYNC_NODES_MAX];
        const float *dv[SEQSYNC_LOCAL_RANKS_MAX + SEQSYNC_NODES_MAX];
        const size_t n = (size_t)sums[i].count * row_elements;
        const size_t at = (size_t)(sums[i].row - to_row) * row_elements;
        assert(sums[i].term_count <= SEQSYNC_LOCAL_RANKS_MAX + SEQSYNC_NODES_MAX);
        for (uint32_t t = 0; t < sums[i].term_count; t++) {
            term_planes(sum, &space->terms[sums[i].first_term + t], row_elements, &dk[t], &dv[t]);
        }
        int32_t culprit = -1;
        sum->nonfinite |= reduce_sum_f32(to_dk + at, dk, sums[i].term_count, n, 1, &culprit);
        sum->nonfinite |= reduce_sum_f32(to_dv + at, dv, sums[i].term_count, n, 1, &culprit);
        sum->read_bytes += 2 * sums[i].term_count * n * sizeof(float);
    }
}

static void sum_run(struct lane_job *lane)
{
    struct sum_job *sum = (struct sum_job *)(void *)lane;

    switch (sum->kind) {
    case SUM_LOCAL:
        sum_contributions(sum);
        break;
    case SUM_OWNED:
        sum_owned(sum);
        break;
    case SUM_PARAMETER:
        sum_parameter(sum);
        break;
    case SUM_RETURN:
        sum_returns(sum);
        break;
    }
}

/* The root's own node expected the round as well, since anybody could have been the root: go on to
 * the next one. */
static int sum_parameter_done(const struct sum_job *sum)
{
    if (sum->kind != SUM_PARAMETER || sum->job->member_count == 1) {
        return 0;
    }
    return err_trace(job_expect_parameters(sum->job, sum->id, sum->step + 1));
}

static void sum_done(struct lane_job *lane)
{
    struct sum_job *sum = (struct sum_job *)(void *)lane;
    struct job *job = sum->job;

    job->host->reduced_bytes += sum->read_bytes;
    if (!job->ending) {
        if (sum_parameter_done(sum) < 0) {
            job->host->ops.on_broken(job->host->ctx, job, SEQSYNC_ERR_NO_MEMORY,
                                     "out of memory for a transfer");
        } else {
            job->host->ops.on_summed(job->host->ctx, job, sum->step, sum->kind, sum->id, sum->part,
                                     sum->nonfinite, sum->rank);
        }
    }
    free(sum);
    job_unref(job);
}

int job_sum(struct job *job, uint64_t step, enum sum_kind kind, uint32_t id, uint32_t part,
            int64_t count)
{
    struct sum_job *sum = calloc(1, sizeof(*sum));

    assert(!job->ending);
    if (sum == NULL) {
        return err_origin(-ENOMEM);
    }
    *sum = (struct sum_job){.lane = {.run = sum_run, .done = sum_done},
                            .job = job,
                            .step = step,
                            .kind = kind,
                            .id = id,
                            .part = part,
                            .count = count,
                            .rank = -1};
    job_ref(job);
    lanes_submit(job->host->lanes, &sum->lane);
    return 0;
}
