#include "proto/arena.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

/* A size that grows by checked steps; once it overflowed it stays so. */
struct extent {
    size_t bytes;
    bool ok;
};

/* Takes @count items of @size bytes at an aligned offset. */
static size_t extent_take(struct extent *extent, size_t count, size_t size)
{
    size_t bytes, start, end;

    if (!extent->ok || __builtin_add_overflow(extent->bytes, ARENA_ALIGN - 1, &start)) {
        extent->ok = false;
        return 0;
    }
    start &= ~(size_t)(ARENA_ALIGN - 1);
    extent->ok = !__builtin_mul_overflow(count, size, &bytes) &&
                 !__builtin_add_overflow(start, bytes, &end) &&
                 end <= (size_t)INT64_MAX - ARENA_PAGE;
    if (extent->ok) {
        extent->bytes = end;
    }
    return start;
}

/* Size of the segment: whole pages, at least one. */
static size_t extent_pages(const struct extent *extent)
{
    const size_t bytes = (extent->bytes + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;

    return bytes == 0 ? ARENA_PAGE : bytes;
}

const char *arena_schema_check(const struct arena_schema *schema)
{
    if (schema->exchange_count > SEQSYNC_EXCHANGES_MAX) {
        return "more exchanges than SEQSYNC_EXCHANGES_MAX";
    }
    if (schema->bucket_count > SEQSYNC_BUCKETS_MAX) {
        return "more buckets than SEQSYNC_BUCKETS_MAX";
    }
    if (schema->world_size < 1 || schema->world_size > SEQSYNC_RANKS_MAX ||
        schema->local_count < 1 || schema->local_count > SEQSYNC_LOCAL_RANKS_MAX ||
        schema->local_count > schema->world_size) {
        return "the number of ranks is out of its limits";
    }
    for (uint32_t i = 0; i < schema->exchange_count; i++) {
        const struct seqsync_exchange_shape *shape = &schema->exchanges[i];
        if (shape->space >= SEQSYNC_SPACES_N || shape->forward_only > 1) {
            return "an exchange's space or forward_only is out of its limits";
        }
        if (shape->heads_kv < 1 || shape->head_dim < 1 || shape->heads_kv > 65536 ||
            shape->head_dim > 65536 || (int64_t)shape->heads_kv * shape->head_dim > 1 << 24) {
            return "an exchange's heads_kv x head_dim is out of its limits";
        }
    }
    for (uint32_t i = 0; i < schema->bucket_count; i++) {
        const struct seqsync_bucket_shape *shape = &schema->buckets[i];
        if (shape->elements < 1 || shape->elements > UINT64_C(1) << 40) {
            return "a bucket's elements are out of their limits";
        }
        if (shape->role != SEQSYNC_PARTIAL && shape->role != SEQSYNC_REPLICATED) {
            return "a bucket's role must be partial or replicated: what is sharded needs no sum";
        }
        if (shape->reserved != 0) {
            return "the reserved field of a bucket is not 0";
        }
    }
    return NULL;
}

uint64_t arena_schema_digest(const struct arena_schema *schema)
{
    const uint64_t counts[2] = {schema->exchange_count, schema->bucket_count};
    XXH3_state_t state;
    uint64_t digest;

    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, counts, sizeof(counts));
    for (uint32_t i = 0; i < schema->exchange_count; i++) {
        const struct seqsync_exchange_shape *shape = &schema->exchanges[i];
        const int64_t fields[4] = {shape->space, shape->heads_kv, shape->head_dim,
                                   shape->forward_only};
        (void)XXH3_64bits_update(&state, fields, sizeof(fields));
    }
    for (uint32_t i = 0; i < schema->bucket_count; i++) {
        const uint64_t fields[2] = {schema->buckets[i].elements, schema->buckets[i].role};
        (void)XXH3_64bits_update(&state, fields, sizeof(fields));
    }
    digest = XXH3_64bits_digest(&state);
    return digest != 0 ? digest : 1;
}

bool arena_page_layout(const struct arena_schema *schema, struct arena_page *ret)
{
    struct extent extent = {0, true};
    struct arena_page page;
    const size_t exchanges = schema->exchange_count, buckets = schema->bucket_count;

    page.state = extent_take(&extent, 1, sizeof(uint32_t));
    page.kv_ready = extent_take(&extent, exchanges * schema->world_size, sizeof(uint32_t));
    page.return_ready = extent_take(&extent, exchanges * schema->local_count, sizeof(uint32_t));
    page.return_free = extent_take(&extent, exchanges, sizeof(uint32_t));
    page.bucket_ready = extent_take(&extent, buckets, sizeof(uint32_t));
    page.bucket_skip = extent_take(&extent, buckets, sizeof(uint32_t));
    page.parameter_ready = extent_take(&extent, buckets, sizeof(uint32_t));
    page.bucket_count = extent_take(&extent, buckets, sizeof(int64_t));
    page.bytes = extent_pages(&extent);
    if (extent.ok) {
        *ret = page;
    }
    return extent.ok;
}

bool arena_bucket_offset(const struct arena_schema *schema, uint32_t bucket, size_t *ret)
{
    struct extent extent = {0, true};
    size_t offset;

    if (bucket > schema->bucket_count) {
        return false;
    }
    for (uint32_t i = 0; i < bucket; i++) {
        (void)extent_take(&extent, schema->buckets[i].elements, sizeof(float));
    }
    offset = bucket == schema->bucket_count ? extent_pages(&extent) : extent_take(&extent, 0, 1);
    if (extent.ok) {
        *ret = offset;
    }
    return extent.ok;
}

/* f32 elements of @rows rows of an exchange; more than can be had if @rows is no count. */
static size_t rows_elements(const struct seqsync_exchange_shape *shape, int64_t rows)
{
    size_t elements;

    if (rows < 0 || __builtin_mul_overflow((size_t)rows, arena_row_elements(shape), &elements)) {
        return SIZE_MAX;
    }
    return elements;
}

/* Elements of the largest exchange that uses @slot for dK or dV of @rows[space]. */
static size_t slot_elements(const struct arena_schema *schema, const int64_t rows[SEQSYNC_SPACES_N],
                            uint32_t slot)
{
    size_t most = 0;

    for (uint32_t e = slot; e < schema->exchange_count; e += ARENA_RETURN_SLOTS) {
        const struct seqsync_exchange_shape *shape = &schema->exchanges[e];
        const size_t elements = rows_elements(shape, rows[shape->space]);
        most = shape->forward_only == 0 && elements > most ? elements : most;
    }
    return most;
}

bool arena_rank_layout(const struct arena_schema *schema, const struct arena_rows *rows,
                       struct arena_rank *ret)
{
    struct extent extent = {0, true};
    struct arena_rank rank = {0};

    rank.kv_ready = extent_take(&extent, schema->exchange_count, sizeof(uint32_t));
    for (uint32_t e = 0; e < schema->exchange_count; e++) {
        const struct seqsync_exchange_shape *shape = &schema->exchanges[e];
        const size_t elements = rows_elements(shape, rows->rows[shape->space]);
        rank.k[e] = extent_take(&extent, elements, sizeof(float));
        rank.v[e] = extent_take(&extent, elements, sizeof(float));
    }
    for (uint32_t slot = 0; slot < ARENA_RETURN_SLOTS; slot++) {
        const size_t elements = slot_elements(schema, rows->return_rows, slot);
        rank.return_k[slot] = extent_take(&extent, elements, sizeof(float));
        rank.return_v[slot] = extent_take(&extent, elements, sizeof(float));
    }
    rank.bytes = extent_pages(&extent);
    if (extent.ok) {
        *ret = rank;
    }
    return extent.ok;
}

bool arena_inbox_layout(const struct arena_schema *schema,
                        const int64_t inbox_rows[SEQSYNC_SPACES_N],
                        const int64_t (*local_rows)[SEQSYNC_SPACES_N], struct arena_inbox *ret)
{
    struct extent extent = {0, true};
    struct arena_inbox inbox = {0};

    for (uint32_t e = 0; e < schema->exchange_count; e++) {
        const struct seqsync_exchange_shape *shape = &schema->exchanges[e];
        const size_t elements = rows_elements(shape, inbox_rows[shape->space]);
        inbox.k[e] = extent_take(&extent, elements, sizeof(float));
        inbox.v[e] = extent_take(&extent, elements, sizeof(float));
    }
    for (uint32_t local = 0; local < schema->local_count; local++) {
        for (uint32_t slot = 0; slot < ARENA_RETURN_SLOTS; slot++) {
            const size_t elements = slot_elements(schema, local_rows[local], slot);
            inbox.sum_k[local][slot] = extent_take(&extent, elements, sizeof(float));
            inbox.sum_v[local][slot] = extent_take(&extent, elements, sizeof(float));
        }
    }
    inbox.bytes = extent_pages(&extent);
    if (extent.ok) {
        *ret = inbox;
    }
    return extent.ok;
}
