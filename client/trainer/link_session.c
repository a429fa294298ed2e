#include "client/trainer/link_session.h"

#include <stdlib.h>

#include <seqsync/parameter.h>

static struct link_session *session_of(struct link *link)
{
    return (struct link_session *)link;
}

static int session_kv_rows(struct link *link, uint32_t layer, float **ret_k, float **ret_v)
{
    return seqsync_kv_buffer(session_of(link)->step, layer, ret_k, ret_v);
}

static int session_kv_publish(struct link *link, uint32_t layer)
{
    return seqsync_kv_publish(session_of(link)->step, layer);
}

static int session_kv_wait(struct link *link, uint32_t layer, uint32_t source, const float **ret_k,
                           const float **ret_v)
{
    return seqsync_kv_wait(session_of(link)->step, layer, source, ret_k, ret_v);
}

static int session_return_rows(struct link *link, uint32_t layer, float **ret_dk, float **ret_dv)
{
    return seqsync_return_buffer(session_of(link)->step, layer, ret_dk, ret_dv);
}

static int session_return_publish(struct link *link, uint32_t layer)
{
    return seqsync_return_publish(session_of(link)->step, layer);
}

static int session_return_wait(struct link *link, uint32_t layer, const float **ret_dk,
                               const float **ret_dv)
{
    return seqsync_return_wait(session_of(link)->step, layer, ret_dk, ret_dv);
}

static int session_bucket_ready(struct link *link, uint32_t bucket, int64_t count)
{
    return seqsync_gradient_contribute(session_of(link)->step, bucket, count);
}

static const struct link_calls session_calls = {
    .kv_rows = session_kv_rows,
    .kv_publish = session_kv_publish,
    .kv_wait = session_kv_wait,
    .return_rows = session_return_rows,
    .return_publish = session_return_publish,
    .return_wait = session_return_wait,
    .bucket_ready = session_bucket_ready,
};

static int schema_register(struct link_session *link, const struct model *model)
{
    struct seqsync_exchange_shape exchanges[MODEL_LAYERS_MAX];

    for (uint32_t l = 0; l < link->exchanges; l++) {
        exchanges[l] = (struct seqsync_exchange_shape){.space = SEQSYNC_SPACE_TOKENS,
                                                       .heads_kv = model->shape.heads,
                                                       .head_dim = model->head_dim};
    }
    for (uint32_t b = 0; b < link->buckets; b++) {
        link->shapes[b] =
            (struct seqsync_bucket_shape){.elements = model->elements[b], .role = SEQSYNC_PARTIAL};
    }
    return seqsync_session_register(link->session, exchanges, link->exchanges, link->shapes,
                                    link->buckets);
}

int link_session_init(struct link_session *link, struct seqsync_session *session,
                      const struct model *model)
{
    int r;

    *link = (struct link_session){.link.calls = &session_calls,
                                  .session = session,
                                  .exchanges = (uint32_t)model->shape.layers,
                                  .buckets = model->bucket_count};
    link->shapes = calloc(link->buckets, sizeof(*link->shapes));
    link->gradients = calloc(link->buckets, sizeof(*link->gradients));
    r = link->shapes && link->gradients ? schema_register(link, model) : SEQSYNC_ERR_NO_MEMORY;
    if (r < 0) {
        link_session_deinit(link);
        return r;
    }
    for (uint32_t b = 0; b < link->buckets; b++) {
        link->gradients[b] = seqsync_gradient_buffer(session, b);
    }
    link->link.gradients = link->gradients;
    return 0;
}

void link_session_deinit(struct link_session *link)
{
    free(link->shapes);
    free(link->gradients);
    *link = (struct link_session){0};
}

int link_session_begin(struct link_session *link, const struct seqsync_batch *batch)
{
    const struct seqsync_source *sources;
    struct part *part = &link->part;
    uint32_t count;
    int r = seqsync_step_begin(link->session, batch, &link->step);

    if (r < 0) {
        return r;
    }
    *part =
        (struct part){.rows = seqsync_step_rows(link->step, SEQSYNC_SPACE_TOKENS),
                      .own_source = UINT32_MAX,
                      .sequences = batch->sequence_count,
                      .return_rows = seqsync_step_return_rows(link->step, SEQSYNC_SPACE_TOKENS)};
    part->chunks = seqsync_step_chunks(link->step, SEQSYNC_SPACE_TOKENS, &part->chunk_count);
    part->tiles = seqsync_step_tiles(link->step, SEQSYNC_SPACE_TOKENS, &part->tile_count);
    sources = seqsync_step_sources(link->step, SEQSYNC_SPACE_TOKENS, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (sources[i].rank == (uint32_t)seqsync_session_rank(link->session)) {
            part->own_source = i;
        }
    }
    return 0;
}

int link_session_forgo(struct link_session *link)
{
    for (uint32_t l = 0; l < link->exchanges; l++) {
        float *dk;
        float *dv;
        int r = seqsync_return_buffer(link->step, l, &dk, &dv);

        if (r < 0) {
            return r;
        }
        r = seqsync_return_publish(link->step, l);
        if (r < 0) {
            return r;
        }
    }
    for (uint32_t b = 0; b < link->buckets; b++) {
        int r = seqsync_gradient_contribute(link->step, b, 0);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int link_session_means(struct link_session *link, const float **ret_mean)
{
    for (uint32_t b = 0; b < link->buckets; b++) {
        int r = seqsync_gradient_wait(link->step, b, &ret_mean[b], NULL);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

uint64_t link_session_digest(const struct link_session *link, const struct model *model)
{
    return seqsync_parameter_digest((const float *const *)model->values, link->shapes,
                                    link->buckets);
}

int link_session_commit(struct link_session *link, const struct seqsync_attestation *attestation,
                        int *ret_skip)
{
    int r = seqsync_step_commit(link->step, attestation, ret_skip);

    link->step = NULL;
    link->part = (struct part){0};
    return r;
}
