#include "daemon/io/job.h"

#include "daemon/base/err.h"
#include "daemon/base/num.h"

#include <assert.h>
#include <linux/futex.h>
#include <seqsync/status.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int job_new(struct job_host *host, const struct entry *entry, uint32_t node_count, struct job **ret)
{
    struct job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        return err_origin(-ENOMEM);
    }
    job->host = host;
    job->id = entry->job;
    job->generation = entry->generation;
    snprintf(job->name, sizeof(job->name), "%s", entry->formed.name);
    job->nonfinite = entry->formed.nonfinite;
    job->world_size = entry->formed.world_size;
    job->node_count = node_count;
    job->refs = 1;
    job->page = (struct segment)SEGMENT_NULL;
    job->result = (struct segment)SEGMENT_NULL;
    job->step_memory.inbox = (struct segment)SEGMENT_NULL;
    for (uint32_t i = 0; i < SEQSYNC_LOCAL_RANKS_MAX; i++) {
        job->gradients[i] = (struct segment)SEGMENT_NULL;
        job->step_memory.arenas[i] = (struct segment)SEGMENT_NULL;
    }
    bool has_ranks[SEQSYNC_NODES_MAX] = {false};
    for (uint32_t rank = 0; rank < job->world_size; rank++) {
        job->rank_nodes[rank] = entry->formed.rank_nodes[rank];
        has_ranks[job->rank_nodes[rank]] = true;
        if (job->rank_nodes[rank] == host->node) {
            assert(job->local_count < SEQSYNC_LOCAL_RANKS_MAX);
            job->local_ranks[job->local_count++] = rank;
        }
    }
    for (uint32_t node = 0; node < node_count; node++) {
        if (has_ranks[node]) {
            job->member = node == host->node ? job->member_count : job->member;
            job->members[job->member_count++] = node;
        }
    }
    assert(job->local_count > 0);
    *ret = job;
    return 0;
}

int32_t job_local_index(const struct job *job, uint32_t rank)
{
    for (uint32_t i = 0; i < job->local_count; i++) {
        if (job->local_ranks[i] == rank) {
            return (int32_t)i;
        }
    }
    return -1;
}

int32_t job_member_of(const struct job *job, uint32_t node)
{
    for (uint32_t i = 0; i < job->member_count; i++) {
        if (job->members[i] == node) {
            return (int32_t)i;
        }
    }
    return -1;
}

const char *job_set_schema(struct job *job, const struct arena_schema *schema)
{
    if (job->schema.exchanges != NULL) {
        return NULL;
    }
    const char *why = arena_schema_check(schema);
    if (why != NULL) {
        return why;
    }
    memcpy(job->exchanges, schema->exchanges, schema->exchange_count * sizeof(job->exchanges[0]));
    memcpy(job->buckets, schema->buckets, schema->bucket_count * sizeof(job->buckets[0]));
    job->schema = *schema;
    job->schema.exchanges = job->exchanges;
    job->schema.buckets = job->buckets;
    return NULL;
}

const char *job_set_batch(struct job *job, const uint8_t *bytes, size_t length)
{
    struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    struct seqsync_batch batch;
    const char *why = batch_decode(bytes, length, sequences, &batch);

    if (why != NULL) {
        return why;
    }
    memcpy(job->batch, bytes, length);
    job->batch_length = length;
    return NULL;
}

/* ---- charges and references ---- */

int job_charge(struct job *job, uint64_t bytes, const char **ret_error)
{
    switch (quota_charge(job->host->quota, job->uid, bytes)) {
    case 0:
        job->charged_bytes += bytes;
        return 0;
    case QUOTA_FULL:
        *ret_error = "the daemon's shared memory is used up ([arena] limit)";
        break;
    case QUOTA_USER_FULL:
        *ret_error = "this user's shared memory is used up ([arena] per-user-limit)";
        break;
    default:
        *ret_error = "too many users have shared memory here";
    }
    return SEQSYNC_ERR_NO_CAPACITY;
}

void job_discharge(struct job *job, uint64_t bytes)
{
    assert(job->charged_bytes >= bytes);
    quota_release(job->host->quota, job->uid, bytes);
    job->charged_bytes -= bytes;
}

void job_ref(struct job *job)
{
    job->refs++;
}

void job_step_memory_deinit(struct job_step_memory *memory, uint32_t local_count)
{
    for (uint32_t i = 0; i < local_count; i++) {
        segment_deinit(&memory->arenas[i]);
    }
    segment_deinit(&memory->inbox);
    free(memory->partials);
    memory->partials = NULL;
    memory->partial_bytes = 0;
}

static uint64_t step_memory_bytes(const struct job_step_memory *memory, uint32_t local_count)
{
    uint64_t bytes = memory->inbox.bytes + memory->partial_bytes;

    for (uint32_t i = 0; i < local_count; i++) {
        bytes += memory->arenas[i].bytes;
    }
    return bytes;
}

void job_retired_free(struct job *job)
{
    while (job->retired != NULL) {
        struct job_retired *retired = job->retired;
        job->retired = retired->next;
        /* What was charged is the segments' rounded sizes: exactly that goes back. */
        job_discharge(job, step_memory_bytes(&retired->memory, job->local_count));
        job_step_memory_deinit(&retired->memory, job->local_count);
        free(retired);
    }
}

void job_retire(struct job *job, struct job_retired *retired)
{
    retired->next = job->retired;
    job->retired = retired;
    if (job->sends == NULL) {
        job_retired_free(job);
    }
}

static void job_free(struct job *job)
{
    job_retired_free(job);
    job_step_memory_deinit(&job->step_memory, job->local_count);
    for (uint32_t i = 0; i < job->local_count; i++) {
        segment_deinit(&job->gradients[i]);
    }
    segment_deinit(&job->page);
    segment_deinit(&job->result);
    free(job->bucket_partials);
    free(job->slice_partials);
    for (uint32_t space = 0; space < SEQSYNC_SPACES_N; space++) {
        free(job->move_rows[space]);
    }
    free(job->shape_memory);
    plan_free(job->plan);
    job_discharge(job, job->charged_bytes);
    job->host->ops.on_gone(job->host->ctx, job);
    free(job);
}

void job_unref(struct job *job)
{
    assert(job->refs > 0);
    if (--job->refs == 0) {
        job_free(job);
    }
}

/* ---- words ---- */

static void word_raise(uint8_t *at, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)at, value, memory_order_release);
    syscall(SYS_futex, at, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void job_raise(struct job *job, enum word_kind word, uint32_t id, uint32_t index, uint64_t stamp,
               int64_t count, int32_t value, bool skip)
{
    const struct arena_page *layout = &job->page_layout;
    uint8_t *page = job->page.data;
    const uint32_t mark = (uint32_t)stamp;

    if (page == NULL) {
        return; /* the job failed before its memory was made: the message tells the workers */
    }
    switch (word) {
    case WORD_STATE:
        word_raise(page + layout->state, (uint32_t)value);
        break;
    case WORD_KV_READY:
        word_raise(page + layout->kv_ready + 4 * ((size_t)id * job->world_size + index), mark);
        break;
    case WORD_RETURN_READY: {
        const int32_t local = job_local_index(job, index);
        assert(local >= 0);
        word_raise(page + layout->return_ready +
                       4 * ((size_t)id * job->local_count + (size_t)local),
                   mark);
        break;
    }
    case WORD_RETURN_FREE:
        word_raise(page + layout->return_free + 4 * (size_t)id, mark);
        break;
    case WORD_BUCKET_READY: {
        const uint32_t flag = skip ? 1 : 0;
        memcpy(page + layout->bucket_count + 8 * (size_t)id, &count, sizeof(count));
        memcpy(page + layout->bucket_skip + 4 * (size_t)id, &flag, sizeof(flag));
        word_raise(page + layout->bucket_ready + 4 * (size_t)id, mark);
        break;
    }
    case WORD_PARAMETER_READY:
        word_raise(page + layout->parameter_ready + 4 * (size_t)id, mark);
        break;
    }
}

/* ---- where things are ---- */

size_t job_row_bytes(const struct job *job, uint32_t exchange)
{
    return arena_row_elements(&job->exchanges[exchange]) * sizeof(float);
}

const struct plan_move *job_move(const struct job *job, uint32_t space, uint32_t holder,
                                 uint32_t node)
{
    const struct plan_space *from = &job->plan->spaces[space];
    uint32_t low = 0, high = from->move_count;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const struct plan_move *move = &from->moves[mid];
        if (move->holder < holder || (move->holder == holder && move->node < node)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == from->move_count || from->moves[low].holder != holder ||
        from->moves[low].node != node) {
        return NULL;
    }
    return &from->moves[low];
}

void job_partial_planes(const struct job *job, uint32_t exchange, const struct plan_move *move,
                        float **ret_dk, float **ret_dv)
{
    const uint32_t space = job->exchanges[exchange].space;
    const size_t row_bytes = job_row_bytes(job, exchange);
    const int64_t first = job->move_rows[space][move - job->plan->spaces[space].moves];

    assert(first >= 0);
    uint8_t *dk =
        job->step_memory.partials + job->partial_offsets[exchange] + 2 * (size_t)first * row_bytes;
    *ret_dk = (float *)(void *)dk;
    *ret_dv = (float *)(void *)(dk + (size_t)move->rows * row_bytes);
}

void job_slice(const struct job *job, uint32_t bucket, uint32_t member, size_t *ret_first,
               size_t *ret_count)
{
    /* In units of 16 elements, so that every slice begins on a cache line. */
    const uint64_t elements = job->buckets[bucket].elements;
    const uint64_t units = (elements + 15) / 16;
    const uint64_t first = units * member / job->member_count * 16;
    const uint64_t end = units * (member + 1) / job->member_count * 16;

    *ret_first = first < elements ? first : elements;
    *ret_count = (end < elements ? end : elements) - *ret_first;
}

float *job_bucket_data(const struct job *job, uint8_t *segment, uint32_t bucket)
{
    size_t offset = 0;
    const bool ok = arena_bucket_offset(&job->schema, bucket, &offset);

    assert(ok);
    return (float *)(void *)(segment + offset);
}

float *job_slice_partial(const struct job *job, uint32_t bucket, uint32_t member)
{
    assert(member != job->member);
    const size_t place = member < job->member ? member : member - 1;
    return job->slice_partials + place * job->slice_elements + job->slice_offsets[bucket];
}
