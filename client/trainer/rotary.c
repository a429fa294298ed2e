#include "client/trainer/rotary.h"

void rotary_forward(struct pass *pass, const struct rows *rows, enum rotary_half half,
                    const float *qk, const float *scale, float *out)
{
    int64_t width = pass->model->shape.width;
    struct scratch *s = &pass->scratch;

    for (int64_t i = 0; i < rows->count; i++) {
        position_angles(&pass->position, rows->position + i, s->cosine, s->sine);
        pass->kernels->rotate(qk + (2 * i + half) * width, pass->model->shape.heads,
                              pass->model->head_dim, scale, s->cosine, s->sine, out + i * width);
    }
}

void rotary_backward(struct pass *pass, const struct rows *rows, enum rotary_half half,
                     const float *qk, const float *scale, float *d, float *d_scale)
{
    int64_t width = pass->model->shape.width;
    struct scratch *s = &pass->scratch;

    for (int64_t i = 0; i < rows->count; i++) {
        position_angles(&pass->position, rows->position + i, s->cosine, s->sine);
        pass->kernels->rotate_backward(qk + (2 * i + half) * width, pass->model->shape.heads,
                                       pass->model->head_dim, scale, s->cosine, s->sine,
                                       d + i * width, d_scale);
    }
}
