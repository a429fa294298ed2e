#include "client/trainer/mlp.h"

#include <string.h>

#include "client/trainer/linear.h"

/* x after the attention branch, and its norm, into scratch x and h. */
static void middle(struct pass *pass, const struct rows *rows, int32_t layer)
{
    const struct layer_rows *l = &pass->layers[layer];
    const float *modulation = condition_get(&pass->condition, layer, rows->sequence);
    struct scratch *s = &pass->scratch;
    int64_t width = pass->model->shape.width;

    pass->kernels->add_gated(l->x + rows->row * width, modulation + GATE_ATTENTION * width,
                             l->y_attention + rows->row * width, rows->count, width, s->x);
    pass->kernels->normalize(s->x, rows->count, width, modulation + SCALE_MLP * width,
                             modulation + SHIFT_MLP * width, s->h, s->mean, s->rstd);
}

void mlp_forward(struct pass *pass, const struct part *part, int32_t layer, float *x_out)
{
    const struct tensor *block = pass->model->block;
    const float *values = pass->model->values[BUCKET_BLOCK(layer)];
    struct layer_rows *l = &pass->layers[layer];
    struct scratch *s = &pass->scratch;
    int64_t width = pass->model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t at = rows.row * width;
        const float *modulation = condition_get(&pass->condition, layer, rows.sequence);

        linear_forward(rows.count, width, width, l->o + at, width,
                       values + block[BLOCK_OUT_W].offset, values + block[BLOCK_OUT_B].offset,
                       l->y_attention + at, width);
        middle(pass, &rows, layer);
        linear_forward(rows.count, width, 4 * width, s->h, width,
                       values + block[BLOCK_MLP1_W].offset, values + block[BLOCK_MLP1_B].offset,
                       l->u + 4 * at, 4 * width);
        pass->kernels->gelu(l->u + 4 * at, rows.count * 4 * width, s->wide);
        linear_forward(rows.count, 4 * width, width, s->wide, 4 * width,
                       values + block[BLOCK_MLP2_W].offset, values + block[BLOCK_MLP2_B].offset,
                       l->y_mlp + at, width);
        pass->kernels->add_gated(s->x, modulation + GATE_MLP * width, l->y_mlp + at, rows.count,
                                 width, x_out + at);
    }
}

/* Down the MLP branch of @rows; scratch h, x, mean and rstd are those of middle(). */
static void branch_backward(struct pass *pass, const struct rows *rows, int32_t layer,
                            float *gradient)
{
    const struct tensor *block = pass->model->block;
    const float *values = pass->model->values[BUCKET_BLOCK(layer)];
    const float *modulation = condition_get(&pass->condition, layer, rows->sequence);
    float *d_modulation = condition_gradient(&pass->condition, layer, rows->sequence);
    const struct layer_rows *l = &pass->layers[layer];
    struct scratch *s = &pass->scratch;
    int64_t width = pass->model->shape.width;
    int64_t at = rows->row * width;
    float *d_x = pass->d_x + at;

    pass->kernels->gate_backward(d_x, modulation + GATE_MLP * width, l->y_mlp + at, rows->count,
                                 width, s->y, d_modulation + GATE_MLP * width);
    pass->kernels->gelu(l->u + 4 * at, rows->count * 4 * width, s->wide);
    linear_backward_weight(rows->count, 4 * width, width, s->y, width, s->wide, 4 * width,
                           gradient + block[BLOCK_MLP2_W].offset);
    pass->kernels->add_columns(s->y, rows->count, width, gradient + block[BLOCK_MLP2_B].offset);

    memset(s->deep, 0, (size_t)(rows->count * 4 * width) * sizeof(float));
    linear_backward_input(rows->count, 4 * width, width, s->y, width,
                          values + block[BLOCK_MLP2_W].offset, s->deep, 4 * width);
    pass->kernels->gelu_backward(l->u + 4 * at, rows->count * 4 * width, s->deep);
    linear_backward_weight(rows->count, width, 4 * width, s->deep, 4 * width, s->h, width,
                           gradient + block[BLOCK_MLP1_W].offset);
    pass->kernels->add_columns(s->deep, rows->count, 4 * width,
                               gradient + block[BLOCK_MLP1_B].offset);

    memset(s->y, 0, (size_t)(rows->count * width) * sizeof(float));
    linear_backward_input(rows->count, width, 4 * width, s->deep, 4 * width,
                          values + block[BLOCK_MLP1_W].offset, s->y, width);
    pass->kernels->normalize_backward(
        s->x, s->mean, s->rstd, rows->count, width, modulation + SCALE_MLP * width, s->y, d_x,
        d_modulation + SCALE_MLP * width, d_modulation + SHIFT_MLP * width);
}

void mlp_backward(struct pass *pass, const struct part *part, int32_t layer, float *gradient)
{
    const struct tensor *block = pass->model->block;
    const float *values = pass->model->values[BUCKET_BLOCK(layer)];
    const struct layer_rows *l = &pass->layers[layer];
    struct scratch *s = &pass->scratch;
    int64_t width = pass->model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t at = rows.row * width;
        const float *modulation = condition_get(&pass->condition, layer, rows.sequence);
        float *d_modulation = condition_gradient(&pass->condition, layer, rows.sequence);

        middle(pass, &rows, layer);
        branch_backward(pass, &rows, layer, gradient);

        pass->kernels->gate_backward(pass->d_x + at, modulation + GATE_ATTENTION * width,
                                     l->y_attention + at, rows.count, width, s->y,
                                     d_modulation + GATE_ATTENTION * width);
        linear_backward_weight(rows.count, width, width, s->y, width, l->o + at, width,
                               gradient + block[BLOCK_OUT_W].offset);
        pass->kernels->add_columns(s->y, rows.count, width, gradient + block[BLOCK_OUT_B].offset);
        memset(pass->d_o + at, 0, (size_t)(rows.count * width) * sizeof(float));
        linear_backward_input(rows.count, width, width, s->y, width,
                              values + block[BLOCK_OUT_W].offset, pass->d_o + at, width);
    }
}
