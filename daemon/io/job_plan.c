/*
 * A step's plan and the memory that it sizes. Planning and making memory run on a lane, in two
 * goes: plan and layouts first, then, in the loop, the charge, then the memory. If the batch has
 * the geometry of the last one (lengths, masks, placement), the plan is used again; if the memory
 * is large enough, it is as well.
 */
#include "daemon/base/err.h"
#include "daemon/base/num.h"
#include "daemon/io/job.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdlib.h>
#include <string.h>

struct layouts {
    struct arena_rank ranks[SEQSYNC_LOCAL_RANKS_MAX];
    struct arena_inbox inbox;
    int64_t rows[SEQSYNC_LOCAL_RANKS_MAX][SEQSYNC_SPACES_N];
    int64_t return_rows[SEQSYNC_LOCAL_RANKS_MAX][SEQSYNC_SPACES_N];
    int64_t *move_rows[SEQSYNC_SPACES_N];
    int64_t partial_rows[SEQSYNC_SPACES_N];
    size_t partial_offsets[SEQSYNC_EXCHANGES_MAX];
    size_t partial_bytes;
};

struct plan_job {
    struct lane_job lane;
    struct job *job;
    uint64_t step;
    uint64_t geometry_digest;
    struct seqsync_batch batch; /* geometry only */
    struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    struct plan *plan;
    struct layouts layouts;
    bool needs_memory;
    struct job_step_memory memory;
    uint64_t charged; /* for memory */
    int32_t code;     /* enum seqsync_status */
    const char *error;
};

static void plan_fail(struct plan_job *work, int32_t code, const char *error)
{
    work->code = code;
    work->error = error;
}

/* ---- layouts ---- */

static bool layout_partials(const struct job *job, const struct plan *plan, struct layouts *ret)
{
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct plan_space *space = &plan->spaces[s];
        ret->move_rows[s] = malloc((space->move_count + 1) * sizeof(int64_t));
        if (ret->move_rows[s] == NULL) {
            return false;
        }
        for (uint32_t m = 0; m < space->move_count; m++) {
            const struct plan_move *move = &space->moves[m];
            const bool touches =
                move->node == job->host->node || job->rank_nodes[move->holder] == job->host->node;
            ret->move_rows[s][m] = touches ? ret->partial_rows[s] : -1;
            ret->partial_rows[s] += touches ? move->rows : 0;
        }
    }
    for (uint32_t e = 0; e < job->schema.exchange_count; e++) {
        size_t bytes;
        const struct seqsync_exchange_shape *shape = &job->exchanges[e];
        ret->partial_offsets[e] = ret->partial_bytes;
        if (shape->forward_only != 0) {
            continue;
        }
        if (!num_mul_size(&bytes, 2 * (size_t)ret->partial_rows[shape->space],
                          job_row_bytes(job, e)) ||
            !num_round_up(&bytes, bytes, ARENA_ALIGN) ||
            !num_add_size(&ret->partial_bytes, ret->partial_bytes, bytes)) {
            return false;
        }
    }
    return true;
}

static bool layout_all(const struct job *job, const struct plan *plan, struct layouts *ret)
{
    int64_t inbox_rows[SEQSYNC_SPACES_N];

    for (uint32_t i = 0; i < job->local_count; i++) {
        struct arena_rows rows;
        for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
            const struct plan_part *part = &plan->spaces[s].parts[job->local_ranks[i]];
            rows.rows[s] = ret->rows[i][s] = part->rows;
            rows.return_rows[s] = ret->return_rows[i][s] = part->return_rows;
        }
        if (!arena_rank_layout(&job->schema, &rows, &ret->ranks[i])) {
            return false;
        }
    }
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        inbox_rows[s] = plan->spaces[s].inbox_rows[job->host->node];
    }
    return arena_inbox_layout(&job->schema, inbox_rows,
                              (const int64_t(*)[SEQSYNC_SPACES_N])ret->rows, &ret->inbox) &&
           layout_partials(job, plan, ret);
}

static bool memory_is_enough(const struct job *job, const struct layouts *layouts)
{
    const struct job_step_memory *memory = &job->step_memory;

    for (uint32_t i = 0; i < job->local_count; i++) {
        if (memory->arenas[i].data == NULL || memory->arenas[i].bytes < layouts->ranks[i].bytes) {
            return false;
        }
    }
    return memory->inbox.data != NULL && memory->inbox.bytes >= layouts->inbox.bytes &&
           memory->partial_bytes >= layouts->partial_bytes;
}

/* ---- shape for the engine ---- */

struct shape_arena {
    uint8_t *at;
    uint8_t *end;
};

static void *shape_take(struct shape_arena *arena, size_t count, size_t size)
{
    const size_t bytes = (count * size + 7) & ~(size_t)7;
    void *taken = arena->at;

    assert((size_t)(arena->end - arena->at) >= bytes);
    arena->at += bytes;
    return taken;
}

/* The contributors of one holder's sums on this node: a run of plan_sums. Ranks and nodes
 * ascending, each once. */
static void shape_return(const struct job *job, const struct plan_space *space, uint32_t first,
                         uint32_t count, struct shape_arena *arena, struct step_return *ret)
{
    bool ranks[SEQSYNC_RANKS_MAX] = {false};
    bool nodes[SEQSYNC_NODES_MAX] = {false};
    uint32_t rank_count = 0, node_count = 0;

    for (uint32_t i = first; i < first + count; i++) {
        const struct plan_sum *sum = &space->sums[i];
        for (uint32_t t = 0; t < sum->term_count; t++) {
            const struct plan_term *term = &space->terms[sum->first_term + t];
            bool *seen = term->from_node ? &nodes[term->from] : &ranks[term->from];
            rank_count += !*seen && !term->from_node;
            node_count += !*seen && term->from_node;
            *seen = true;
        }
    }
    uint32_t *rank_list = shape_take(arena, rank_count, sizeof(uint32_t));
    uint32_t *node_list = shape_take(arena, node_count, sizeof(uint32_t));
    uint32_t n = 0;
    for (uint32_t rank = 0; rank < job->world_size; rank++) {
        if (ranks[rank]) {
            rank_list[n++] = rank;
        }
    }
    n = 0;
    for (uint32_t node = 0; node < job->node_count; node++) {
        if (nodes[node]) {
            node_list[n++] = node;
        }
    }
    *ret = (struct step_return){.holder = space->sums[first].holder,
                                .rank_count = rank_count,
                                .node_count = node_count,
                                .ranks = rank_list,
                                .nodes = node_list};
}

/*
 * Local ranks whose rows nobody else reads, or that have none: their sums are empty, but they wait
 * for them like everybody else. Appends to @returns[count]; how many.
 */
static uint32_t shape_idle_returns(const struct job *job, struct step_return *returns,
                                   uint32_t count)
{
    uint32_t added = 0;

    for (uint32_t i = 0; i < job->local_count; i++) {
        bool found = false;
        for (uint32_t r = 0; r < count && !found; r++) {
            found = returns[r].holder == job->local_ranks[i];
        }
        if (!found) {
            returns[count + added++] = (struct step_return){.holder = job->local_ranks[i]};
        }
    }
    return added;
}

static void shape_space(const struct job *job, const struct plan_space *space, uint32_t s,
                        struct shape_arena *arena, struct step_shape *ret)
{
    struct step_send *sends = shape_take(arena, space->move_count, sizeof(*sends));
    struct step_receive *receives = shape_take(arena, space->move_count, sizeof(*receives));
    struct step_return *returns = shape_take(arena, (size_t)job->world_size, sizeof(*returns));
    uint32_t send_count = 0, receive_count = 0, return_count = 0;

    for (uint32_t m = 0; m < space->move_count; m++) {
        const struct plan_move *move = &space->moves[m];
        if (job->rank_nodes[move->holder] == job->host->node) {
            sends[send_count++] = (struct step_send){.holder = move->holder, .node = move->node};
        } else if (move->node == job->host->node) {
            receives[receive_count++] = (struct step_receive){.holder = move->holder};
        }
    }
    for (uint32_t i = 0; i < space->sum_count;) {
        uint32_t end = i + 1;
        while (end < space->sum_count && space->sums[end].holder == space->sums[i].holder &&
               space->sums[end].node == space->sums[i].node) {
            end++;
        }
        if (space->sums[i].node == job->host->node) {
            shape_return(job, space, i, end - i, arena, &returns[return_count++]);
        }
        i = end;
    }
    return_count += shape_idle_returns(job, returns, return_count);
    ret->spaces[s].sends = sends;
    ret->spaces[s].receives = receives;
    ret->spaces[s].returns = returns;
    ret->spaces[s].send_count = send_count;
    ret->spaces[s].receive_count = receive_count;
    ret->spaces[s].return_count = return_count;
}

/* Bytes that shape_make() takes at most. */
static size_t shape_bytes(const struct job *job, const struct plan *plan)
{
    size_t bytes = 2 * (SEQSYNC_LOCAL_RANKS_MAX * sizeof(int64_t) + 8);

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct plan_space *space = &plan->spaces[s];
        const size_t holders = job->world_size;
        bytes += space->move_count * (sizeof(struct step_send) + sizeof(struct step_receive)) + 16;
        bytes += holders * (sizeof(struct step_return) + 16);
        bytes += holders * (job->local_count + job->node_count) * sizeof(uint32_t);
    }
    return bytes;
}

static int shape_make(const struct job *job, const struct plan *plan, void **ret_memory,
                      struct step_shape *ret)
{
    const size_t bytes = shape_bytes(job, plan);
    uint8_t *memory = calloc(1, bytes);

    if (memory == NULL) {
        return err_origin(-ENOMEM);
    }
    struct shape_arena arena = {memory, memory + bytes};
    int64_t *tokens = shape_take(&arena, job->local_count, sizeof(int64_t));
    int64_t *area = shape_take(&arena, job->local_count, sizeof(int64_t));
    for (uint32_t i = 0; i < job->local_count; i++) {
        const struct plan_part *part =
            &plan->spaces[SEQSYNC_SPACE_TOKENS].parts[job->local_ranks[i]];
        tokens[i] = part->rows;
        area[i] = part->area;
    }
    *ret = (struct step_shape){.local_tokens = tokens,
                               .local_area = area,
                               .total_tokens = plan->spaces[SEQSYNC_SPACE_TOKENS].total,
                               .plan_digest = plan->digest};
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        shape_space(job, &plan->spaces[s], s, &arena, ret);
    }
    *ret_memory = memory;
    return 0;
}

/* ---- the lane's two goes ---- */

static void plan_run(struct lane_job *lane)
{
    struct plan_job *work = (struct plan_job *)(void *)lane;
    const struct job *job = work->job;
    const struct plan_input input = {.batch = &work->batch,
                                     .rank_nodes = job->rank_nodes,
                                     .rank_count = job->world_size,
                                     .node_count = job->node_count};
    const char *why = plan_input_check(&input);

    if (why != NULL) {
        plan_fail(work, SEQSYNC_ERR_INVALID, why);
        return;
    }
    if (plan_new(&input, work->geometry_digest, &work->plan) < 0) {
        plan_fail(work, SEQSYNC_ERR_NO_MEMORY, "out of memory while planning");
        return;
    }
    why = plan_validate(work->plan, &input);
    if (why != NULL) {
        plan_fail(work, SEQSYNC_ERR_COVERAGE, why);
        return;
    }
    if (!layout_all(job, work->plan, &work->layouts)) {
        plan_fail(work, SEQSYNC_ERR_NO_CAPACITY,
                  "the batch needs more memory than can be addressed");
    }
}

static void memory_run(struct lane_job *lane)
{
    struct plan_job *work = (struct plan_job *)(void *)lane;
    int r = segment_init(&work->memory.inbox, "seqsync-inbox", work->layouts.inbox.bytes);

    for (uint32_t i = 0; i < work->job->local_count && r == 0; i++) {
        r = segment_init(&work->memory.arenas[i], "seqsync-arena", work->layouts.ranks[i].bytes);
    }
    if (r == 0 && work->layouts.partial_bytes > 0) {
        void *partials = NULL;
        work->memory.partial_bytes = work->layouts.partial_bytes;
        if (posix_memalign(&partials, ARENA_PAGE, work->memory.partial_bytes) != 0) {
            r = err_origin(-ENOMEM);
        } else {
            memset(partials, 0, work->memory.partial_bytes);
            work->memory.partials = partials;
        }
    }
    if (r < 0) {
        plan_fail(work, SEQSYNC_ERR_NO_MEMORY, "cannot allocate the shared memory of the step");
    }
}

/* ---- taking over what the lane made ---- */

static uint64_t memory_charge(const struct job *job, const struct layouts *layouts)
{
    uint64_t bytes = layouts->inbox.bytes + layouts->partial_bytes;

    for (uint32_t i = 0; i < job->local_count; i++) {
        bytes += layouts->ranks[i].bytes;
    }
    return bytes;
}

static void take_layouts(struct job *job, struct layouts *layouts)
{
    memcpy(job->rank_layouts, layouts->ranks, sizeof(job->rank_layouts));
    job->inbox_layout = layouts->inbox;
    memcpy(job->local_rows, layouts->rows, sizeof(job->local_rows));
    memcpy(job->local_return_rows, layouts->return_rows, sizeof(job->local_return_rows));
    memcpy(job->partial_offsets, layouts->partial_offsets, sizeof(job->partial_offsets));
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        free(job->move_rows[s]);
        job->move_rows[s] = layouts->move_rows[s];
        layouts->move_rows[s] = NULL;
        job->partial_rows[s] = layouts->partial_rows[s];
    }
}

static uint64_t planned_kv_bytes(const struct job *job)
{
    uint64_t bytes = 0;

    for (uint32_t e = 0; e < job->schema.exchange_count; e++) {
        bytes += 2 *
                 (uint64_t)job->plan->spaces[job->exchanges[e].space].inbox_rows[job->host->node] *
                 job_row_bytes(job, e);
    }
    return bytes;
}

static int take_plan(struct plan_job *work)
{
    struct job *job = work->job;
    struct step_shape shape;
    void *memory = NULL;
    struct job_retired *retired = work->needs_memory ? calloc(1, sizeof(*retired)) : NULL;

    if (work->needs_memory && retired == NULL) {
        return err_origin(-ENOMEM);
    }
    const int r = shape_make(job, work->plan, &memory, &shape);
    if (r < 0) {
        free(retired);
        return err_trace(r);
    }
    /* Afterwards no late frame of an earlier plan finds memory to go to. */
    bulk_forget_steps(job->host->bulk, job->id);
    free(job->shape_memory);
    job->shape_memory = memory;
    job->shape = shape;
    plan_free(job->plan);
    job->plan = work->plan;
    work->plan = NULL;
    take_layouts(job, &work->layouts);
    job->geometry_digest = work->geometry_digest;
    if (work->needs_memory) {
        /* libzmq may still read the old memory, for a peer that has not taken all of it. */
        retired->memory = job->step_memory;
        job_retire(job, retired);
        job->step_memory = work->memory;
        work->needs_memory = false;
        job->memory_version++;
    }
    job->planned = true;
    job->kv_planned_bytes = planned_kv_bytes(job);
    return 0;
}

static void plan_work_free(struct plan_job *work)
{
    struct job *job = work->job;

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        free(work->layouts.move_rows[s]);
    }
    plan_free(work->plan);
    if (work->needs_memory) {
        job_step_memory_deinit(&work->memory, job->local_count);
        job_discharge(job, work->charged);
    }
    free(work);
    job_unref(job);
}

static void plan_finish(struct job *job, uint64_t step, int32_t code, const char *error)
{
    if (job->ending) {
        return;
    }
    if (code == 0 && job_expect_step(job, step) < 0) {
        code = SEQSYNC_ERR_NO_MEMORY;
        error = "out of memory for the step's transfers";
    }
    job->step = step;
    job->kv_moved_bytes = 0;
    job->host->ops.on_planned(job->host->ctx, job, step, code, error);
}

static void memory_done(struct lane_job *lane)
{
    struct plan_job *work = (struct plan_job *)(void *)lane;
    struct job *job = work->job;

    if (work->error == NULL && !job->ending && take_plan(work) < 0) {
        plan_fail(work, SEQSYNC_ERR_NO_MEMORY, "out of memory for the plan");
    }
    plan_finish(job, work->step, work->code, work->error);
    plan_work_free(work);
}

static void plan_done(struct lane_job *lane)
{
    struct plan_job *work = (struct plan_job *)(void *)lane;
    struct job *job = work->job;
    const char *error;

    if (work->error == NULL && !job->ending && !memory_is_enough(job, &work->layouts)) {
        const uint64_t bytes = memory_charge(job, &work->layouts);
        if (job_charge(job, bytes, &error) != 0) {
            plan_fail(work, SEQSYNC_ERR_NO_CAPACITY, error);
        } else {
            work->needs_memory = true;
            work->charged = bytes;
            work->lane = (struct lane_job){.run = memory_run, .done = memory_done};
            lanes_submit(job->host->lanes, &work->lane);
            return;
        }
    }
    memory_done(lane);
}

void job_plan(struct job *job, uint64_t step)
{
    struct plan_job *work = calloc(1, sizeof(*work));
    uint8_t bytes[BATCH_BYTES_MAX];
    const char *why;

    assert(!job->ending && job->admitted);
    if (work == NULL) {
        plan_finish(job, step, SEQSYNC_ERR_NO_MEMORY, "out of memory for the plan");
        return;
    }
    why = batch_decode(job->batch, job->batch_length, work->sequences, &work->batch);
    assert(why == NULL);
    job->seed = work->batch.seed;
    /* The plan depends on the geometry alone, so that steps that differ in data and seed share it.
     */
    work->batch.seed = 0;
    work->batch.content_digest = 0;
    for (uint32_t i = 0; i < work->batch.sequence_count; i++) {
        work->sequences[i].sample_id = 0;
    }
    work->geometry_digest = batch_digest(bytes, batch_encode(&work->batch, bytes));
    if (job->planned && job->geometry_digest == work->geometry_digest) {
        free(work);
        plan_finish(job, step, 0, NULL);
        return;
    }
    work->job = job;
    work->step = step;
    work->lane = (struct lane_job){.run = plan_run, .done = plan_done};
    work->memory.inbox = (struct segment)SEGMENT_NULL;
    for (uint32_t i = 0; i < SEQSYNC_LOCAL_RANKS_MAX; i++) {
        work->memory.arenas[i] = (struct segment)SEGMENT_NULL;
    }
    job_ref(job);
    lanes_submit(job->host->lanes, &work->lane);
}

/* ---- a rank's part, as its worker gets it ---- */

int job_part(const struct job *job, uint32_t local, struct segment *ret, size_t *ret_bytes)
{
    const struct plan *plan = job->plan;
    const uint32_t rank = job->local_ranks[local];
    struct part part = {.local_rows = (const int64_t(*)[SEQSYNC_SPACES_N])job->local_rows,
                        .local_return_rows =
                            (const int64_t(*)[SEQSYNC_SPACES_N])job->local_return_rows,
                        .local_ranks = job->local_ranks,
                        .sequence_ends = &plan->offsets[SEQSYNC_SPACE_TOKENS][1],
                        .local_count = job->local_count,
                        .sequence_count = plan->sequence_count,
                        .rank = rank,
                        .placement = plan->placement,
                        .seed = job->seed,
                        .step = job->step,
                        .plan_digest = plan->digest};
    size_t bytes;

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct plan_part *from = &plan->spaces[s].parts[rank];
        part.spaces[s] =
            (struct part_space){.chunks = from->chunks,
                                .tiles = from->tiles,
                                .sources = from->sources,
                                .chunk_count = from->chunk_count,
                                .tile_count = from->tile_count,
                                .source_count = from->source_count,
                                .rows = from->rows,
                                .return_rows = from->return_rows,
                                .inbox_rows = plan->spaces[s].inbox_rows[job->host->node],
                                .total = plan->spaces[s].total,
                                .area = from->area};
    }
    if (!part_bytes(&part, &bytes)) {
        return err_origin(-EOVERFLOW);
    }
    const int r = segment_init(ret, "seqsync-part", bytes);
    if (r < 0) {
        return err_trace(r);
    }
    part_encode(&part, ret->data);
    *ret_bytes = bytes;
    return 0;
}
