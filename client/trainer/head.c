#include "client/trainer/head.h"

#include <string.h>

#include "client/trainer/linear.h"

float *head_forward(struct pass *pass, const struct rows *rows)
{
    const struct model *model = pass->model;
    const float *values = model->values[BUCKET_HEAD(model)];
    struct scratch *s = &pass->scratch;
    int64_t width = model->shape.width;
    const float *modulation = condition_get(&pass->condition, model->shape.layers, rows->sequence);

    pass->kernels->normalize(pass->x_last + rows->row * width, rows->count, width,
                             modulation + SCALE_HEAD * width, modulation + SHIFT_HEAD * width, s->h,
                             s->mean, s->rstd);
    linear_forward(rows->count, width, PATCH_VALUES, s->h, width,
                   values + model->head[HEAD_OUT_W].offset, values + model->head[HEAD_OUT_B].offset,
                   s->wide, PATCH_VALUES);
    return s->wide;
}

void head_backward(struct pass *pass, const struct rows *rows, const float *d_out, float *gradient)
{
    const struct model *model = pass->model;
    const float *values = model->values[BUCKET_HEAD(model)];
    struct scratch *s = &pass->scratch;
    int32_t layers = model->shape.layers;
    int64_t width = model->shape.width;
    const float *modulation = condition_get(&pass->condition, layers, rows->sequence);
    float *d_modulation = condition_gradient(&pass->condition, layers, rows->sequence);

    linear_backward_weight(rows->count, width, PATCH_VALUES, d_out, PATCH_VALUES, s->h, width,
                           gradient + model->head[HEAD_OUT_W].offset);
    pass->kernels->add_columns(d_out, rows->count, PATCH_VALUES,
                               gradient + model->head[HEAD_OUT_B].offset);
    memset(s->y, 0, (size_t)(rows->count * width) * sizeof(*s->y));
    linear_backward_input(rows->count, width, PATCH_VALUES, d_out, PATCH_VALUES,
                          values + model->head[HEAD_OUT_W].offset, s->y, width);
    pass->kernels->normalize_backward(
        pass->x_last + rows->row * width, s->mean, s->rstd, rows->count, width,
        modulation + SCALE_HEAD * width, s->y, pass->d_x + rows->row * width,
        d_modulation + SCALE_HEAD * width, d_modulation + SHIFT_HEAD * width);
}
