#include <math.h>

#include "client/trainer/model.h"
#include "client/trainer/noise.h"

static void tensor_fill(const struct tensor *tensor, uint64_t seed, uint32_t bucket, float *values)
{
    int64_t count = tensor->rows * tensor->columns;
    float *out = values + tensor->offset;

    if (tensor->start == START_LINEAR) {
        float deviation = 1.0f / sqrtf((float)tensor->columns);

        /* The noise counts pairs; an even first index keeps tensors of odd offset apart too. */
        noise_fill(seed, STREAM_START + bucket, 2 * (uint64_t)tensor->offset, count, out);
        for (int64_t i = 0; i < count; i++) {
            out[i] *= deviation;
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            out[i] = tensor->start == START_ONE ? 1.0f : 0.0f;
        }
    }
}

void model_start(struct model *model, uint64_t seed)
{
    for (uint32_t b = 0; b < model->bucket_count; b++) {
        size_t count;
        const struct tensor *tensors = model_tensors(model, b, &count);

        for (size_t i = 0; i < count; i++) {
            tensor_fill(&tensors[i], seed, b, model->values[b]);
        }
    }
}
