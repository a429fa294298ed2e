#include "client/trainer/model.h"

#include <stdlib.h>

const char *model_shape_fault(const struct model_shape *shape)
{
    if (shape->width < 1 || shape->width > MODEL_WIDTH_MAX) {
        return "the width must be 1 to 8192";
    }
    if (shape->layers < 1 || shape->layers > MODEL_LAYERS_MAX) {
        return "the number of layers must be 1 to 128";
    }
    if (shape->heads < 1 || shape->width % shape->heads != 0) {
        return "the width must be a multiple of the number of heads";
    }
    if (shape->width / shape->heads > 1024) {
        return "a head may have at most 1024 elements: use more heads";
    }
    if (shape->grid.t < 1 || shape->grid.h < 1 || shape->grid.w < 1 || shape->grid.t > 65536 ||
        shape->grid.h > 4096 || shape->grid.w > 4096) {
        return "the clip must have 1 to 65536 x 4096 x 4096 patches";
    }
    return NULL;
}

int64_t model_tokens(const struct model_shape *shape)
{
    return (int64_t)shape->grid.t * shape->grid.h * shape->grid.w;
}

static void tensor_lay(struct tensor *tensor, const char *name, int64_t rows, int64_t columns,
                       enum tensor_start start, size_t *end)
{
    *tensor = (struct tensor){
        .name = name, .rows = rows, .columns = columns, .offset = *end, .start = start};
    *end += (size_t)(rows * columns);
}

static size_t embed_lay(struct tensor *t, int64_t width)
{
    size_t end = 0;

    tensor_lay(&t[EMBED_PATCH_W], "patch_w", width, PATCH_VALUES, START_COSINE, &end);
    tensor_lay(&t[EMBED_PATCH_B], "patch_b", 1, width, START_ZERO, &end);
    tensor_lay(&t[EMBED_TIME1_W], "time1_w", width, width, START_LINEAR, &end);
    tensor_lay(&t[EMBED_TIME1_B], "time1_b", 1, width, START_ZERO, &end);
    tensor_lay(&t[EMBED_TIME2_W], "time2_w", width, width, START_LINEAR, &end);
    tensor_lay(&t[EMBED_TIME2_B], "time2_b", 1, width, START_ZERO, &end);
    return end;
}

static size_t block_lay(struct tensor *t, int64_t width, int64_t head_dim)
{
    size_t end = 0;

    tensor_lay(&t[BLOCK_MODULATION_W], "modulation_w", 6 * width, width, START_ZERO, &end);
    tensor_lay(&t[BLOCK_MODULATION_B], "modulation_b", 1, 6 * width, START_ZERO, &end);
    tensor_lay(&t[BLOCK_QKV_W], "qkv_w", 3 * width, width, START_LINEAR, &end);
    tensor_lay(&t[BLOCK_Q_SCALE], "q_scale", 1, head_dim, START_ONE, &end);
    tensor_lay(&t[BLOCK_K_SCALE], "k_scale", 1, head_dim, START_ONE, &end);
    tensor_lay(&t[BLOCK_OUT_W], "out_w", width, width, START_LINEAR, &end);
    tensor_lay(&t[BLOCK_OUT_B], "out_b", 1, width, START_ZERO, &end);
    tensor_lay(&t[BLOCK_MLP1_W], "mlp1_w", 4 * width, width, START_LINEAR, &end);
    tensor_lay(&t[BLOCK_MLP1_B], "mlp1_b", 1, 4 * width, START_ZERO, &end);
    tensor_lay(&t[BLOCK_MLP2_W], "mlp2_w", width, 4 * width, START_LINEAR, &end);
    tensor_lay(&t[BLOCK_MLP2_B], "mlp2_b", 1, width, START_ZERO, &end);
    return end;
}

static size_t head_lay(struct tensor *t, int64_t width)
{
    size_t end = 0;

    tensor_lay(&t[HEAD_MODULATION_W], "modulation_w", 2 * width, width, START_ZERO, &end);
    tensor_lay(&t[HEAD_MODULATION_B], "modulation_b", 1, 2 * width, START_ZERO, &end);
    tensor_lay(&t[HEAD_OUT_W], "out_w", PATCH_VALUES, width, START_ZERO, &end);
    tensor_lay(&t[HEAD_OUT_B], "out_b", 1, PATCH_VALUES, START_ZERO, &end);
    return end;
}

struct model *model_new(const struct model_shape *shape)
{
    struct model *model = calloc(1, sizeof(*model));
    size_t block_elements;

    if (!model) {
        return NULL;
    }
    model->shape = *shape;
    model->head_dim = shape->width / shape->heads;
    model->bucket_count = (uint32_t)shape->layers + 2;
    model->values = calloc(model->bucket_count, sizeof(*model->values));
    model->elements = calloc(model->bucket_count, sizeof(*model->elements));
    if (!model->values || !model->elements) {
        return model_free(model);
    }

    model->elements[BUCKET_EMBED] = embed_lay(model->embed, shape->width);
    block_elements = block_lay(model->block, shape->width, model->head_dim);
    for (int32_t l = 0; l < shape->layers; l++) {
        model->elements[BUCKET_BLOCK(l)] = block_elements;
    }
    model->elements[BUCKET_HEAD(model)] = head_lay(model->head, shape->width);
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        model->elements_total += model->elements[b];
    }

    model->values[0] = calloc(model->elements_total, sizeof(**model->values));
    if (!model->values[0]) {
        return model_free(model);
    }
    for (uint32_t b = 1; b < model->bucket_count; b++) {
        model->values[b] = model->values[b - 1] + model->elements[b - 1];
    }
    return model;
}

struct model *model_free(struct model *model)
{
    if (model) {
        if (model->values) {
            free(model->values[0]);
        }
        free(model->values);
        free(model->elements);
        free(model);
    }
    return NULL;
}

const struct tensor *model_tensors(const struct model *model, uint32_t bucket, size_t *ret_count)
{
    if (bucket == BUCKET_EMBED) {
        *ret_count = EMBED_N;
        return model->embed;
    }
    if (bucket == BUCKET_HEAD(model)) {
        *ret_count = HEAD_N;
        return model->head;
    }
    *ret_count = BLOCK_N;
    return model->block;
}
