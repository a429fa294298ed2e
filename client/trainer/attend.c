#include "client/trainer/attend.h"

#include <string.h>

/* K and V of the last source that was waited for: tiles of one source often follow each other. */
struct keys {
    uint32_t source;
    const float *k;
    const float *v;
};
#define KEYS_NULL                                                                                  \
    {                                                                                              \
        .source = UINT32_MAX                                                                       \
    }

static int keys_wait(struct keys *keys, struct link *link, int32_t layer, uint32_t source)
{
    int r;

    if (keys->source == source) {
        return 0;
    }
    r = link->calls->kv_wait(link, (uint32_t)layer, source, &keys->k, &keys->v);
    if (r < 0) {
        return r;
    }
    keys->source = source;
    return 0;
}

static int forward_tiles(struct pass *pass, const struct part *part, struct link *link,
                         int32_t layer, bool own)
{
    const struct layer_rows *l = &pass->layers[layer];
    int64_t width = pass->model->shape.width;
    struct keys keys = KEYS_NULL;

    for (uint32_t i = 0; i < part->tile_count; i++) {
        const struct seqsync_tile *tile = &part->tiles[i];
        int r;

        if ((tile->source == part->own_source) != own) {
            continue;
        }
        r = keys_wait(&keys, link, layer, tile->source);
        if (r < 0) {
            return r;
        }
        r = seqsync_attention_forward_tile(pass->attention, tile, l->q, width,
                                           keys.k + tile->k_row * width,
                                           keys.v + tile->k_row * width, width, l->o, l->lse);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int attend_forward(struct pass *pass, const struct part *part, struct link *link, int32_t layer)
{
    const struct layer_rows *l = &pass->layers[layer];
    int r;

    seqsync_attention_forward_begin(pass->attention, part->rows, l->o, pass->model->shape.width,
                                    l->lse);
    r = forward_tiles(pass, part, link, layer, /* own= */ true);
    if (r < 0) {
        return r;
    }
    return forward_tiles(pass, part, link, layer, /* own= */ false);
}

/* Own tiles add to @dk and @dv at the key's row, tiles of others at the tile's return row. */
static int backward_tiles(struct pass *pass, const struct part *part, struct link *link,
                          int32_t layer, bool own, float *dk, float *dv)
{
    const struct layer_rows *l = &pass->layers[layer];
    int64_t width = pass->model->shape.width;
    struct keys keys = KEYS_NULL;

    for (uint32_t i = 0; i < part->tile_count; i++) {
        const struct seqsync_tile *tile = &part->tiles[i];
        int64_t at = (own ? tile->k_row : tile->return_row) * width;
        int r;

        if ((tile->source == part->own_source) != own) {
            continue;
        }
        r = keys_wait(&keys, link, layer, tile->source);
        if (r < 0) {
            return r;
        }
        r = seqsync_attention_backward_tile(pass->attention, tile, l->q, width,
                                            keys.k + tile->k_row * width,
                                            keys.v + tile->k_row * width, width, pass->d_o, l->lse,
                                            pass->delta, pass->d_q, dk + at, dv + at, width);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int attend_backward(struct pass *pass, const struct part *part, struct link *link, int32_t layer)
{
    int64_t width = pass->model->shape.width;
    size_t bytes = (size_t)(part->rows * width) * sizeof(float);
    float *return_dk;
    float *return_dv;
    int r;

    seqsync_attention_backward_begin(pass->attention, part->rows, pass->layers[layer].o, pass->d_o,
                                     width, pass->delta);
    memset(pass->d_q, 0, bytes);
    memset(pass->d_k, 0, bytes);
    memset(pass->d_v, 0, bytes);
    r = link->calls->return_rows(link, (uint32_t)layer, &return_dk, &return_dv);
    if (r < 0) {
        return r;
    }
    r = backward_tiles(pass, part, link, layer, /* own= */ false, return_dk, return_dv);
    if (r < 0) {
        return r;
    }
    r = link->calls->return_publish(link, (uint32_t)layer);
    if (r < 0) {
        return r;
    }
    return backward_tiles(pass, part, link, layer, /* own= */ true, pass->d_k, pass->d_v);
}

int attend_collect(struct pass *pass, struct link *link, int32_t layer)
{
    int64_t count = pass->rows * pass->model->shape.width;
    const float *dk;
    const float *dv;
    int r = link->calls->return_wait(link, (uint32_t)layer, &dk, &dv);

    if (r < 0) {
        return r;
    }
    pass->kernels->add(dk, count, pass->d_k);
    pass->kernels->add(dv, count, pass->d_v);
    return 0;
}
