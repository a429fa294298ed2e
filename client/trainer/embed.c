#include "client/trainer/embed.h"

#include "client/trainer/linear.h"

void embed_forward(struct pass *pass, const struct part *part, float *x)
{
    const struct model *model = pass->model;
    const float *values = model->values[BUCKET_EMBED];
    int64_t width = model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        linear_forward(rows.count, PATCH_VALUES, width, pass->noised + rows.row * PATCH_VALUES,
                       PATCH_VALUES, values + model->embed[EMBED_PATCH_W].offset,
                       values + model->embed[EMBED_PATCH_B].offset, x + rows.row * width, width);
        for (int64_t i = 0; i < rows.count; i++) {
            position_add(&pass->position, rows.position + i, x + (rows.row + i) * width);
        }
    }
}

void embed_backward(struct pass *pass, const struct part *part, float *gradient)
{
    const struct tensor *embed = pass->model->embed;
    int64_t width = pass->model->shape.width;

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        const float *d = pass->d_x + rows.row * width;

        linear_backward_weight(rows.count, PATCH_VALUES, width, d, width,
                               pass->noised + rows.row * PATCH_VALUES, PATCH_VALUES,
                               gradient + embed[EMBED_PATCH_W].offset);
        pass->kernels->add_columns(d, rows.count, width, gradient + embed[EMBED_PATCH_B].offset);
    }
}
