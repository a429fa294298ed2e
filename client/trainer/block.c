#include "client/trainer/block.h"

#include <string.h>

#include "client/trainer/attend.h"
#include "client/trainer/linear.h"
#include "client/trainer/mlp.h"
#include "client/trainer/rotary.h"

/* The norm before attention, into scratch h. */
static void first_norm(struct pass *pass, const struct rows *rows, int32_t layer)
{
    const float *modulation = condition_get(&pass->condition, layer, rows->sequence);
    struct scratch *s = &pass->scratch;
    int64_t width = pass->model->shape.width;

    pass->kernels->normalize(pass->layers[layer].x + rows->row * width, rows->count, width,
                             modulation + SCALE_ATTENTION * width,
                             modulation + SHIFT_ATTENTION * width, s->h, s->mean, s->rstd);
}

static void project(struct pass *pass, const struct part *part, int32_t layer, float *k, float *v)
{
    const struct tensor *block = pass->model->block;
    const float *values = pass->model->values[BUCKET_BLOCK(layer)];
    const float *qkv_w = values + block[BLOCK_QKV_W].offset;
    struct layer_rows *l = &pass->layers[layer];
    int64_t width = pass->model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t at = rows.row * width;

        first_norm(pass, &rows, layer);
        linear_forward(rows.count, width, 2 * width, pass->scratch.h, width, qkv_w, NULL,
                       l->qk + 2 * at, 2 * width);
        linear_forward(rows.count, width, width, pass->scratch.h, width, qkv_w + 2 * width * width,
                       NULL, v + at, width);
        rotary_forward(pass, &rows, ROTARY_Q, l->qk + 2 * at, values + block[BLOCK_Q_SCALE].offset,
                       l->q + at);
        rotary_forward(pass, &rows, ROTARY_K, l->qk + 2 * at, values + block[BLOCK_K_SCALE].offset,
                       k + at);
    }
}

int block_forward(struct pass *pass, const struct part *part, struct link *link, int32_t layer,
                  float *x_out)
{
    float *k;
    float *v;
    int r = link->calls->kv_rows(link, (uint32_t)layer, &k, &v);

    if (r < 0) {
        return r;
    }
    project(pass, part, layer, k, v);
    r = link->calls->kv_publish(link, (uint32_t)layer);
    if (r < 0) {
        return r;
    }
    r = attend_forward(pass, part, link, layer);
    if (r < 0) {
        return r;
    }
    mlp_forward(pass, part, layer, x_out);
    return 0;
}

/*
 * The queries' share needs nobody else, so it is computed while the others' dK and dV are on their
 * way. d_o is used up: its rows become the gradient of the norm's output, here and in the next
 * function.
 */
static void project_backward_q(struct pass *pass, const struct part *part, int32_t layer,
                               float *gradient)
{
    const struct tensor *block = pass->model->block;
    const float *values = pass->model->values[BUCKET_BLOCK(layer)];
    const struct layer_rows *l = &pass->layers[layer];
    int64_t width = pass->model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t at = rows.row * width;
        float *d_q = pass->d_q + at;

        first_norm(pass, &rows, layer);
        rotary_backward(pass, &rows, ROTARY_Q, l->qk + 2 * at, values + block[BLOCK_Q_SCALE].offset,
                        d_q, gradient + block[BLOCK_Q_SCALE].offset);
        linear_backward_weight(rows.count, width, width, d_q, width, pass->scratch.h, width,
                               gradient + block[BLOCK_QKV_W].offset);
        memset(pass->d_o + at, 0, (size_t)(rows.count * width) * sizeof(float));
        linear_backward_input(rows.count, width, width, d_q, width,
                              values + block[BLOCK_QKV_W].offset, pass->d_o + at, width);
    }
}

static void project_backward_kv(struct pass *pass, const struct part *part, int32_t layer,
                                float *gradient)
{
    const struct tensor *block = pass->model->block;
    const float *values = pass->model->values[BUCKET_BLOCK(layer)];
    size_t k_w = block[BLOCK_QKV_W].offset +
                 (size_t)block[BLOCK_QKV_W].rows / 3 * (size_t)block[BLOCK_QKV_W].columns;
    size_t v_w = 2 * k_w - block[BLOCK_QKV_W].offset;
    const struct layer_rows *l = &pass->layers[layer];
    struct scratch *s = &pass->scratch;
    int64_t width = pass->model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t at = rows.row * width;
        float *d_k = pass->d_k + at;
        float *d_v = pass->d_v + at;
        float *d_h = pass->d_o + at;
        const float *modulation = condition_get(&pass->condition, layer, rows.sequence);
        float *d_modulation = condition_gradient(&pass->condition, layer, rows.sequence);

        first_norm(pass, &rows, layer);
        rotary_backward(pass, &rows, ROTARY_K, l->qk + 2 * at, values + block[BLOCK_K_SCALE].offset,
                        d_k, gradient + block[BLOCK_K_SCALE].offset);
        linear_backward_weight(rows.count, width, width, d_k, width, s->h, width, gradient + k_w);
        linear_backward_weight(rows.count, width, width, d_v, width, s->h, width, gradient + v_w);
        linear_backward_input(rows.count, width, width, d_k, width, values + k_w, d_h, width);
        linear_backward_input(rows.count, width, width, d_v, width, values + v_w, d_h, width);
        pass->kernels->normalize_backward(l->x + at, s->mean, s->rstd, rows.count, width,
                                          modulation + SCALE_ATTENTION * width, d_h, pass->d_x + at,
                                          d_modulation + SCALE_ATTENTION * width,
                                          d_modulation + SHIFT_ATTENTION * width);
    }
}

int block_backward(struct pass *pass, const struct part *part, struct link *link, int32_t layer)
{
    float *gradient = link->gradients[BUCKET_BLOCK(layer)];
    int r;

    mlp_backward(pass, part, layer, gradient);
    r = attend_backward(pass, part, link, layer);
    if (r < 0) {
        return r;
    }
    project_backward_q(pass, part, layer, gradient);
    r = attend_collect(pass, link, layer);
    if (r < 0) {
        return r;
    }
    project_backward_kv(pass, part, layer, gradient);
    return 0;
}
