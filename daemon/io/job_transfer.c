/* Where the job's transfers come from and go to: keys, pieces, expectations. */
#include "daemon/base/err.h"
#include "daemon/io/job.h"

#include <assert.h>
#include <stdlib.h>

struct job_send {
    struct bulk_send bulk;
    struct job *job;
    struct job_send *next;
    struct job_send **link; /* what points to this one */
    struct bulk_piece pieces[];
};

static uint8_t bulk_kind_of(enum transfer_kind kind)
{
    switch (kind) {
    case TRANSFER_KV:
        return BULK_KV;
    case TRANSFER_RETURN:
        return BULK_RETURN;
    case TRANSFER_PARTIAL:
        return BULK_PARTIAL;
    case TRANSFER_RESULT:
        return BULK_RESULT;
    case TRANSFER_PARAMETER:
        return BULK_PARAMETER;
    }
    assert(!"a transfer of no kind");
    return 0;
}

/* ---- receiving ---- */

static int expect(struct job *job, uint64_t step, uint8_t kind, uint32_t id, uint32_t part,
                  uint32_t node, const struct bulk_piece *pieces, uint32_t piece_count)
{
    const struct bulk_key key = {
        .job = job->id, .id = id, .part = (uint16_t)part, .kind = kind, .node = (uint8_t)node};

    return err_trace(
        bulk_expect(job->host->bulk, &key, job->generation, step, pieces, piece_count));
}

/* K/V rows of a remote holder into the inbox. */
static int expect_kv(struct job *job, uint64_t step, uint32_t exchange,
                     const struct plan_move *move)
{
    const size_t row_bytes = job_row_bytes(job, exchange);
    const size_t bytes = (size_t)move->rows * row_bytes;
    const size_t at = (size_t)move->inbox_row * row_bytes;
    const struct bulk_piece pieces[2] = {
        {job->step_memory.inbox.data + job->inbox_layout.k[exchange] + at, bytes},
        {job->step_memory.inbox.data + job->inbox_layout.v[exchange] + at, bytes}};

    return expect(job, step, BULK_KV, exchange, move->holder, job->rank_nodes[move->holder], pieces,
                  2);
}

/* The partial dK/dV of another node for a local holder. */
static int expect_return(struct job *job, uint64_t step, uint32_t exchange,
                         const struct plan_move *move)
{
    const size_t bytes = (size_t)move->rows * job_row_bytes(job, exchange);
    float *dk, *dv;

    job_partial_planes(job, exchange, move, &dk, &dv);
    const struct bulk_piece pieces[2] = {{dk, bytes}, {dv, bytes}};
    return expect(job, step, BULK_RETURN, exchange, move->holder, move->node, pieces, 2);
}

static int expect_exchange(struct job *job, uint64_t step, uint32_t exchange)
{
    const struct plan_space *space = &job->plan->spaces[job->exchanges[exchange].space];
    int r = 0;

    for (uint32_t m = 0; m < space->move_count && r == 0; m++) {
        const struct plan_move *move = &space->moves[m];
        if (move->node == job->host->node) {
            r = expect_kv(job, step, exchange, move);
        } else if (job->rank_nodes[move->holder] == job->host->node &&
                   job->exchanges[exchange].forward_only == 0) {
            r = expect_return(job, step, exchange, move);
        }
    }
    return err_trace(r);
}

static int expect_bucket(struct job *job, uint64_t step, uint32_t bucket)
{
    size_t first, count;
    int r = 0;

    job_slice(job, bucket, job->member, &first, &count);
    for (uint32_t m = 0; m < job->member_count && r == 0; m++) {
        if (m == job->member) {
            continue;
        }
        const struct bulk_piece partial = {job_slice_partial(job, bucket, m),
                                           count * sizeof(float)};
        r = expect(job, step, BULK_PARTIAL, bucket, job->host->node, job->members[m], &partial, 1);
        if (r < 0) {
            break;
        }
        size_t owned_first, owned_count;
        job_slice(job, bucket, m, &owned_first, &owned_count);
        const struct bulk_piece result = {job_bucket_data(job, job->result.data, bucket) +
                                              owned_first,
                                          owned_count * sizeof(float)};
        r = expect(job, step, BULK_RESULT, bucket, job->members[m], job->members[m], &result, 1);
    }
    return err_trace(r);
}

int job_expect_step(struct job *job, uint64_t step)
{
    int r = 0;

    if (job->member_count == 1) {
        return 0;
    }
    for (uint32_t e = 0; e < job->schema.exchange_count && r == 0; e++) {
        r = expect_exchange(job, step, e);
    }
    for (uint32_t b = 0; b < job->schema.bucket_count && r == 0; b++) {
        r = expect_bucket(job, step, b);
    }
    return err_trace(r);
}

int job_expect_parameters(struct job *job, uint32_t bucket, uint64_t round)
{
    const struct bulk_piece piece = {job_bucket_data(job, job->result.data, bucket),
                                     job->buckets[bucket].elements * sizeof(float)};

    return expect(job, round, BULK_PARAMETER, bucket, 0, 0, &piece, 1);
}

int job_arrived(struct job *job, const struct bulk_arrival *arrival)
{
    if (arrival->key.kind == BULK_KV) {
        const struct plan_move *move = job_move(job, job->exchanges[arrival->key.id].space,
                                                arrival->key.part, job->host->node);
        if (move == NULL || arrival->step != job->step) {
            return 0; /* of an earlier plan: the engine drops it by its step */
        }
        job->kv_moved_bytes += 2 * (uint64_t)move->rows * job_row_bytes(job, arrival->key.id);
    }
    if (arrival->key.kind == BULK_PARAMETER) {
        return err_trace(job_expect_parameters(job, arrival->key.id, arrival->step + 1));
    }
    return 0;
}

/* ---- sending ---- */

static uint32_t pieces_kv(const struct job *job, uint32_t exchange, uint32_t holder,
                          const struct plan_move *move, struct bulk_piece *pieces)
{
    const struct plan_space *space = &job->plan->spaces[job->exchanges[exchange].space];
    const size_t row_bytes = job_row_bytes(job, exchange);
    const int32_t local = job_local_index(job, holder);
    uint32_t n = 0;

    assert(local >= 0);
    const struct arena_rank *layout = &job->rank_layouts[local];
    const size_t planes[2] = {layout->k[exchange], layout->v[exchange]};
    for (int plane = 0; plane < 2; plane++) {
        for (uint32_t i = 0; i < move->range_count; i++) {
            const struct plan_range *range = &space->ranges[move->first_range + i];
            pieces[n++] = (struct bulk_piece){job->step_memory.arenas[local].data + planes[plane] +
                                                  (size_t)range->holder_row * row_bytes,
                                              (size_t)range->count * row_bytes};
        }
    }
    return n;
}

static uint32_t pieces_return(const struct job *job, uint32_t exchange,
                              const struct plan_move *move, struct bulk_piece *pieces)
{
    const size_t bytes = (size_t)move->rows * job_row_bytes(job, exchange);
    float *dk, *dv;

    job_partial_planes(job, exchange, move, &dk, &dv);
    pieces[0] = (struct bulk_piece){dk, bytes};
    pieces[1] = (struct bulk_piece){dv, bytes};
    return 2;
}

static uint32_t pieces_bucket(const struct job *job, uint8_t *segment, uint32_t bucket,
                              uint32_t owner, struct bulk_piece *pieces)
{
    const int32_t member = job_member_of(job, owner);
    size_t first, count;

    assert(member >= 0);
    job_slice(job, bucket, (uint32_t)member, &first, &count);
    pieces[0] =
        (struct bulk_piece){job_bucket_data(job, segment, bucket) + first, count * sizeof(float)};
    return 1;
}

static uint32_t send_pieces(const struct job *job, enum transfer_kind kind, uint32_t id,
                            uint32_t part, const struct plan_move *move, struct bulk_piece *pieces)
{
    switch (kind) {
    case TRANSFER_KV:
        return pieces_kv(job, id, part, move, pieces);
    case TRANSFER_RETURN:
        return pieces_return(job, id, move, pieces);
    case TRANSFER_PARTIAL:
        return pieces_bucket(job, (uint8_t *)job->bucket_partials, id, part, pieces);
    case TRANSFER_RESULT:
        return pieces_bucket(job, job->result.data, id, part, pieces);
    case TRANSFER_PARAMETER:
        /* Out of the result, which SUM_PARAMETER has filled: the root may write to its own buffer
         * again. */
        pieces[0] = (struct bulk_piece){job_bucket_data(job, job->result.data, id),
                                        job->buckets[id].elements * sizeof(float)};
        return 1;
    }
    return 0;
}

static void send_done(struct bulk_send *bulk)
{
    struct job_send *send = (struct job_send *)(void *)bulk;
    struct job *job = send->job;

    *send->link = send->next;
    if (send->next != NULL) {
        send->next->link = send->link;
    }
    if (job->sends == NULL) {
        job_retired_free(job);
    }
    free(send);
    job_unref(job);
}

int job_send(struct job *job, uint64_t step, enum transfer_kind kind, uint32_t id, uint32_t part,
             uint32_t node, int64_t count, bool nonfinite)
{
    const struct plan_move *move = NULL;
    uint32_t piece_max = 2;

    assert(!job->ending);
    if (kind == TRANSFER_KV || kind == TRANSFER_RETURN) {
        /* A partial goes back the way that the keys came: it is laid out like this node's inbox. */
        move = job_move(job, job->exchanges[id].space, part,
                        kind == TRANSFER_KV ? node : job->host->node);
        assert(move != NULL);
        piece_max = kind == TRANSFER_KV ? 2 * move->range_count : 2;
    }
    struct job_send *send = calloc(1, sizeof(*send) + piece_max * sizeof(send->pieces[0]));
    if (send == NULL) {
        return err_origin(-ENOMEM);
    }
    send->job = job;
    send->bulk.done = send_done;
    send->bulk.node = node;
    send->bulk.pieces = send->pieces;
    send->bulk.piece_count = send_pieces(job, kind, id, part, move, send->pieces);
    send->bulk.header = (struct bulk_header){.job = job->id,
                                             .generation = job->generation,
                                             .step = step,
                                             .count = count,
                                             .id = id,
                                             .part = (uint16_t)part,
                                             .kind = bulk_kind_of(kind),
                                             .flags = nonfinite ? 1 : 0};
    send->next = job->sends;
    send->link = &job->sends;
    if (send->next != NULL) {
        send->next->link = &send->next;
    }
    job->sends = send;
    job_ref(job);
    bulk_submit(job->host->bulk, &send->bulk);
    return 0;
}

void job_end(struct job *job)
{
    assert(!job->ending);
    job->ending = true;
    bulk_forget_job(job->host->bulk, job->id);
    for (struct job_send *send = job->sends; send != NULL; send = send->next) {
        bulk_cancel(job->host->bulk, &send->bulk);
    }
    job_unref(job);
}
