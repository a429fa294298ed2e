#include "test_trainer_link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t count, size_t bytes)
{
    void *p = calloc(count + 1, bytes);

    assert(p);
    return p;
}

static struct local_rank *rank_of(struct link *link)
{
    return (struct local_rank *)link;
}

static size_t slot(const struct local_world *world, uint32_t layer, uint32_t rank)
{
    return (size_t)layer * world->ranks + rank;
}

static void raise_flag(struct local_world *world, bool *flag)
{
    pthread_mutex_lock(&world->mutex);
    assert(!*flag);
    *flag = true;
    pthread_cond_broadcast(&world->changed);
    pthread_mutex_unlock(&world->mutex);
}

static void wait_flag(struct local_world *world, const bool *flag)
{
    pthread_mutex_lock(&world->mutex);
    while (!*flag) {
        pthread_cond_wait(&world->changed, &world->mutex);
    }
    pthread_mutex_unlock(&world->mutex);
}

static int local_kv_rows(struct link *link, uint32_t layer, float **ret_k, float **ret_v)
{
    struct local_rank *rank = rank_of(link);

    *ret_k = rank->world->k[slot(rank->world, layer, rank->rank)];
    *ret_v = rank->world->v[slot(rank->world, layer, rank->rank)];
    return 0;
}

static int local_kv_publish(struct link *link, uint32_t layer)
{
    struct local_rank *rank = rank_of(link);

    raise_flag(rank->world, &rank->world->published[slot(rank->world, layer, rank->rank)]);
    return 0;
}

static int local_kv_wait(struct link *link, uint32_t layer, uint32_t source, const float **ret_k,
                         const float **ret_v)
{
    struct local_world *world = rank_of(link)->world;

    wait_flag(world, &world->published[slot(world, layer, source)]);
    *ret_k = world->k[slot(world, layer, source)];
    *ret_v = world->v[slot(world, layer, source)];
    return 0;
}

static int local_return_rows(struct link *link, uint32_t layer, float **ret_dk, float **ret_dv)
{
    struct local_rank *rank = rank_of(link);
    struct local_world *world = rank->world;
    size_t bytes = (size_t)(world->tokens * world->model->shape.width) * sizeof(float);

    *ret_dk = world->return_dk[slot(world, layer, rank->rank)];
    *ret_dv = world->return_dv[slot(world, layer, rank->rank)];
    memset(*ret_dk, 0, bytes);
    memset(*ret_dv, 0, bytes);
    return 0;
}

static int local_return_publish(struct link *link, uint32_t layer)
{
    struct local_rank *rank = rank_of(link);

    raise_flag(rank->world, &rank->world->returned[slot(rank->world, layer, rank->rank)]);
    return 0;
}

static void add_returned(const struct local_rank *rank, const float *returned, float *sum)
{
    int64_t width = rank->world->model->shape.width;

    for (uint32_t c = 0; c < rank->part.chunk_count; c++) {
        const struct seqsync_chunk *chunk = &rank->chunks[c];

        for (int64_t i = 0; i < chunk->count * width; i++) {
            sum[chunk->row * width + i] += returned[chunk->first * width + i];
        }
    }
}

static int local_return_wait(struct link *link, uint32_t layer, const float **ret_dk,
                             const float **ret_dv)
{
    struct local_rank *rank = rank_of(link);
    struct local_world *world = rank->world;
    size_t bytes = (size_t)(rank->part.rows * world->model->shape.width) * sizeof(float);

    memset(rank->sum_dk, 0, bytes);
    memset(rank->sum_dv, 0, bytes);
    for (uint32_t other = 0; other < world->ranks; other++) {
        if (other == rank->rank) {
            continue;
        }
        wait_flag(world, &world->returned[slot(world, layer, other)]);
        add_returned(rank, world->return_dk[slot(world, layer, other)], rank->sum_dk);
        add_returned(rank, world->return_dv[slot(world, layer, other)], rank->sum_dv);
    }
    *ret_dk = rank->sum_dk;
    *ret_dv = rank->sum_dv;
    return 0;
}

static int local_bucket_ready(struct link *link, uint32_t bucket, int64_t count)
{
    struct local_rank *rank = rank_of(link);

    assert(rank->counts[bucket] == -1);
    rank->counts[bucket] = count;
    return 0;
}

static const struct link_calls local_calls = {
    .kv_rows = local_kv_rows,
    .kv_publish = local_kv_publish,
    .kv_wait = local_kv_wait,
    .return_rows = local_return_rows,
    .return_publish = local_return_publish,
    .return_wait = local_return_wait,
    .bucket_ready = local_bucket_ready,
};

static void place(struct local_world *world, uint32_t sequences, const uint32_t *owner)
{
    int64_t tokens = model_tokens(&world->model->shape);

    for (int64_t g = 0; g < tokens * sequences; g++) {
        struct local_rank *rank = &world->rank[owner[g]];
        struct part *part = &rank->part;
        bool follows = g % tokens > 0 && owner[g] == owner[g - 1];

        if (!follows) {
            assert(part->chunk_count < TEST_CHUNKS_MAX);
            rank->chunks[part->chunk_count++] = (struct seqsync_chunk){
                .first = g,
                .row = part->rows,
                .position = g % tokens,
                .sequence = (uint32_t)(g / tokens),
                .rank = owner[g],
            };
        }
        rank->chunks[part->chunk_count - 1].count++;
        part->rows++;
    }
}

static void tile(struct local_world *world, struct local_rank *rank)
{
    for (uint32_t source = 0; source < world->ranks; source++) {
        const struct local_rank *holder = &world->rank[source];

        for (uint32_t q = 0; q < rank->part.chunk_count; q++) {
            for (uint32_t k = 0; k < holder->part.chunk_count; k++) {
                const struct seqsync_chunk *queries = &rank->chunks[q];
                const struct seqsync_chunk *keys = &holder->chunks[k];

                if (queries->sequence != keys->sequence ||
                    (world->causal && keys->first >= queries->first + queries->count)) {
                    continue;
                }
                rank->tiles[rank->part.tile_count++] = (struct seqsync_tile){
                    .q_first = queries->first,
                    .k_first = keys->first,
                    .q_count = queries->count,
                    .k_count = keys->count,
                    .q_row = queries->row,
                    .k_row = keys->row,
                    .return_row = source == rank->rank ? -1 : keys->first,
                    .band_low = SEQSYNC_BAND_NONE_LOW,
                    .band_high = world->causal ? 0 : SEQSYNC_BAND_NONE_HIGH,
                    .source = source,
                };
            }
        }
    }
}

static void rank_init(struct local_world *world, uint32_t index)
{
    const struct model *model = world->model;
    struct local_rank *rank = &world->rank[index];
    size_t own = (size_t)(rank->part.rows * model->shape.width);
    size_t all = (size_t)(world->tokens * model->shape.width);

    rank->gradients = zeroed(model->bucket_count, sizeof(*rank->gradients));
    rank->counts = zeroed(model->bucket_count, sizeof(*rank->counts));
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        rank->gradients[b] = zeroed(model->elements[b], sizeof(float));
    }
    rank->link.gradients = rank->gradients;
    rank->sum_dk = zeroed(own, sizeof(float));
    rank->sum_dv = zeroed(own, sizeof(float));
    for (uint32_t l = 0; l < world->layers; l++) {
        size_t at = slot(world, l, index);

        world->k[at] = zeroed(own, sizeof(float));
        world->v[at] = zeroed(own, sizeof(float));
        world->return_dk[at] = zeroed(all, sizeof(float));
        world->return_dv[at] = zeroed(all, sizeof(float));
    }
}

struct local_world *local_world_new(const struct model *model, uint32_t sequences, uint32_t ranks,
                                    const uint32_t *owner, bool causal)
{
    struct local_world *world = zeroed(1, sizeof(*world));
    size_t slots = (size_t)model->shape.layers * ranks;

    assert(ranks <= TEST_RANKS_MAX);
    world->model = model;
    world->causal = causal;
    world->ranks = ranks;
    world->layers = (uint32_t)model->shape.layers;
    world->tokens = model_tokens(&model->shape) * sequences;
    world->k = zeroed(slots, sizeof(*world->k));
    world->v = zeroed(slots, sizeof(*world->v));
    world->return_dk = zeroed(slots, sizeof(*world->return_dk));
    world->return_dv = zeroed(slots, sizeof(*world->return_dv));
    world->published = zeroed(slots, sizeof(*world->published));
    world->returned = zeroed(slots, sizeof(*world->returned));
    pthread_mutex_init(&world->mutex, NULL);
    pthread_cond_init(&world->changed, NULL);
    for (uint32_t r = 0; r < ranks; r++) {
        struct local_rank *rank = &world->rank[r];

        rank->world = world;
        rank->rank = r;
        rank->link.calls = &local_calls;
        rank->part = (struct part){
            .own_source = r, .chunks = rank->chunks, .tiles = rank->tiles, .sequences = sequences};
    }
    place(world, sequences, owner);
    for (uint32_t r = 0; r < ranks; r++) {
        tile(world, &world->rank[r]);
        rank_init(world, r);
    }
    local_world_reset(world);
    return world;
}

void local_world_reset(struct local_world *world)
{
    size_t slots = (size_t)world->layers * world->ranks;

    memset(world->published, 0, slots * sizeof(*world->published));
    memset(world->returned, 0, slots * sizeof(*world->returned));
    for (uint32_t r = 0; r < world->ranks; r++) {
        for (uint32_t b = 0; b < world->model->bucket_count; b++) {
            world->rank[r].counts[b] = -1;
        }
    }
}

void local_world_free(struct local_world *world)
{
    for (size_t i = 0; i < (size_t)world->layers * world->ranks; i++) {
        free(world->k[i]);
        free(world->v[i]);
        free(world->return_dk[i]);
        free(world->return_dv[i]);
    }
    for (uint32_t r = 0; r < world->ranks; r++) {
        for (uint32_t b = 0; b < world->model->bucket_count; b++) {
            free(world->rank[r].gradients[b]);
        }
        free(world->rank[r].gradients);
        free(world->rank[r].counts);
        free(world->rank[r].sum_dk);
        free(world->rank[r].sum_dv);
    }
    free(world->k);
    free(world->v);
    free(world->return_dk);
    free(world->return_dv);
    free(world->published);
    free(world->returned);
    pthread_mutex_destroy(&world->mutex);
    pthread_cond_destroy(&world->changed);
    free(world);
}
