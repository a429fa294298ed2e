#include "client/trainer/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/trainer/block.h"
#include "client/trainer/embed.h"

static float *floats_new(int64_t count)
{
    size_t bytes = ((size_t)count * sizeof(float) + 63) / 64 * 64;

    /* aligned_alloc(0) may answer NULL; a rank without rows still has arrays. */
    return aligned_alloc(64, bytes ? bytes : 64);
}

static bool scratch_init(struct scratch *s, const struct model *model)
{
    int64_t width = model->shape.width;
    int64_t wide = 4 * width > PATCH_VALUES ? 4 * width : PATCH_VALUES;

    s->h = floats_new(ROWS_MAX * width);
    s->x = floats_new(ROWS_MAX * width);
    s->y = floats_new(ROWS_MAX * width);
    s->wide = floats_new(ROWS_MAX * wide);
    s->deep = floats_new(ROWS_MAX * 4 * width);
    s->mean = floats_new(ROWS_MAX);
    s->rstd = floats_new(ROWS_MAX);
    s->cosine = floats_new(model->head_dim);
    s->sine = floats_new(model->head_dim);
    return s->h && s->x && s->y && s->wide && s->deep && s->mean && s->rstd && s->cosine && s->sine;
}

static void scratch_deinit(struct scratch *s)
{
    free(s->h);
    free(s->x);
    free(s->y);
    free(s->wide);
    free(s->deep);
    free(s->mean);
    free(s->rstd);
    free(s->cosine);
    free(s->sine);
    *s = (struct scratch){0};
}

int pass_init(struct pass *pass, const struct model *model, uint32_t sequences)
{
    struct seqsync_attention_shape shape = {
        .size = sizeof(shape),
        .heads = model->shape.heads,
        .heads_kv = model->shape.heads,
        .head_dim = model->head_dim,
    };
    int r;

    *pass = (struct pass){.model = model, .kernels = trainer_kernels_get()};
    pass->layers = calloc((size_t)model->shape.layers, sizeof(*pass->layers));
    if (!pass->layers || !scratch_init(&pass->scratch, model)) {
        r = -ENOMEM;
        goto error;
    }
    r = position_init(&pass->position, model);
    if (r < 0) {
        goto error;
    }
    r = condition_init(&pass->condition, model, sequences);
    if (r < 0) {
        goto error;
    }
    r = seqsync_attention_new(&shape, &pass->attention);
    if (r < 0) {
        goto error;
    }
    r = pass_resize(pass, 0);
    if (r < 0) {
        goto error;
    }
    return 0;

error:
    pass_deinit(pass);
    return r;
}

static void rows_free(struct pass *pass)
{
    float **own[] = {&pass->noised, &pass->x_last, &pass->d_x, &pass->d_o,
                     &pass->d_q,    &pass->d_k,    &pass->d_v, &pass->delta};

    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        free(*own[i]);
        *own[i] = NULL;
    }
    for (int32_t l = 0; pass->layers && l < pass->model->shape.layers; l++) {
        struct layer_rows *layer = &pass->layers[l];

        free(layer->x);
        free(layer->qk);
        free(layer->q);
        free(layer->o);
        free(layer->lse);
        free(layer->y_attention);
        free(layer->u);
        free(layer->y_mlp);
        *layer = (struct layer_rows){0};
    }
}

void pass_deinit(struct pass *pass)
{
    if (pass->model) {
        rows_free(pass);
    }
    free(pass->layers);
    scratch_deinit(&pass->scratch);
    position_deinit(&pass->position);
    condition_deinit(&pass->condition);
    seqsync_attention_free(pass->attention);
    *pass = (struct pass){0};
}

static bool layer_alloc(struct layer_rows *layer, int64_t rows, int64_t width, int64_t heads)
{
    layer->x = floats_new(rows * width);
    layer->qk = floats_new(rows * 2 * width);
    layer->q = floats_new(rows * width);
    layer->o = floats_new(rows * width);
    layer->lse = floats_new(rows * heads);
    layer->y_attention = floats_new(rows * width);
    layer->u = floats_new(rows * 4 * width);
    layer->y_mlp = floats_new(rows * width);
    return layer->x && layer->qk && layer->q && layer->o && layer->lse && layer->y_attention &&
           layer->u && layer->y_mlp;
}

int pass_resize(struct pass *pass, int64_t rows)
{
    int64_t width = pass->model->shape.width;
    int64_t heads = pass->model->shape.heads;
    bool ok;

    if (pass->noised && pass->rows == rows) {
        return 0;
    }
    rows_free(pass);
    pass->rows = rows;
    pass->noised = floats_new(rows * PATCH_VALUES);
    pass->x_last = floats_new(rows * width);
    pass->d_x = floats_new(rows * width);
    pass->d_o = floats_new(rows * width);
    pass->d_q = floats_new(rows * width);
    pass->d_k = floats_new(rows * width);
    pass->d_v = floats_new(rows * width);
    pass->delta = floats_new(rows * heads);
    ok = pass->noised && pass->x_last && pass->d_x && pass->d_o && pass->d_q && pass->d_k &&
         pass->d_v && pass->delta;
    for (int32_t l = 0; ok && l < pass->model->shape.layers; l++) {
        ok = layer_alloc(&pass->layers[l], rows, width, heads);
    }
    return ok ? 0 : -ENOMEM;
}

static float *layer_out(struct pass *pass, int32_t layer)
{
    return layer + 1 < pass->model->shape.layers ? pass->layers[layer + 1].x : pass->x_last;
}

int pass_forward(struct pass *pass, const struct part *part, struct link *link, const double *t)
{
    condition_forward(&pass->condition, pass->model, t);
    embed_forward(pass, part, pass->layers[0].x);
    for (int32_t l = 0; l < pass->model->shape.layers; l++) {
        int r = block_forward(pass, part, link, l, layer_out(pass, l));

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void gradient_clear(struct pass *pass, struct link *link, uint32_t bucket)
{
    memset(link->gradients[bucket], 0, pass->model->elements[bucket] * sizeof(float));
}

void pass_backward_begin(struct pass *pass, struct link *link)
{
    gradient_clear(pass, link, BUCKET_HEAD(pass->model));
    memset(pass->d_x, 0, (size_t)(pass->rows * pass->model->shape.width) * sizeof(float));
}

/* The layer's modulation comes last of its bucket; then the bucket goes out. */
static int layer_done(struct pass *pass, struct link *link, int32_t layer, int64_t count)
{
    uint32_t bucket = BUCKET_BLOCK(layer);

    condition_backward_layer(&pass->condition, pass->model, layer, link->gradients[bucket]);
    return link->calls->bucket_ready(link, bucket, count);
}

int pass_backward(struct pass *pass, const struct part *part, struct link *link, int64_t count)
{
    int32_t layers = pass->model->shape.layers;
    int r = layer_done(pass, link, layers, count);

    if (r < 0) {
        return r;
    }
    for (int32_t l = layers - 1; l >= 0; l--) {
        gradient_clear(pass, link, BUCKET_BLOCK(l));
        r = block_backward(pass, part, link, l);
        if (r < 0) {
            return r;
        }
        r = layer_done(pass, link, l, count);
        if (r < 0) {
            return r;
        }
    }
    gradient_clear(pass, link, BUCKET_EMBED);
    embed_backward(pass, part, link->gradients[BUCKET_EMBED]);
    condition_backward(&pass->condition, pass->model, link->gradients[BUCKET_EMBED]);
    return link->calls->bucket_ready(link, BUCKET_EMBED, count);
}
