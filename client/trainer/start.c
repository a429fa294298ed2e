#include <math.h>
#include <stdlib.h>

#include "client/trainer/model.h"
#include "client/trainer/noise.h"

/*
 * The patch weights start as cosines over time, height and width, times grey or one of two colour
 * differences, lowest frequencies first: an orthonormal basis in which pictures are compact, so
 * that the width of the model, less than the values of a patch, keeps most of the picture and drops
 * most of the noise. From random weights the model has to find such a basis first: at 1,152 tokens
 * and 100 steps the restored frames end 0.6 dB further from the clip.
 */
struct wave {
    double order; /* a frequency across time, and in colour, counts for more */
    int t, y, x, colour;
};

static int wave_compare(const void *a, const void *b)
{
    const struct wave *one = a;
    const struct wave *two = b;

    return (one->order > two->order) - (one->order < two->order);
}

static void waves_list(struct wave waves[PATCH_VALUES])
{
    int n = 0;

    for (int i = 0; i < PATCH_VALUES; i++) {
        struct wave *wave = &waves[n++];

        wave->x = i % PATCH_SIDE;
        wave->y = i / PATCH_SIDE % PATCH_SIDE;
        wave->t = i / PATCH_SIDE / PATCH_SIDE % PATCH_FRAMES;
        wave->colour = i / PATCH_SIDE / PATCH_SIDE / PATCH_FRAMES;
        wave->order = sqrt(4.0 * wave->t * wave->t + wave->y * wave->y + wave->x * wave->x);
        wave->order = wave->colour ? 1 + 2 * wave->order : wave->order;
        /* No two are equal, so that the order does not depend on the library's sort. */
        wave->order += 1e-6 * i;
    }
    qsort(waves, PATCH_VALUES, sizeof(*waves), wave_compare);
}

/* Sample @i of @n of the cosine of @frequency, of length 1 over all n. */
static double cosine(int frequency, int i, int n)
{
    return sqrt((frequency ? 2.0 : 1.0) / n) * cos(3.14159265358979 * (i + 0.5) * frequency / n);
}

static void wave_fill(const struct wave *wave, float *out)
{
    static const double colours[3][3] = {{0.5773502692, 0.5773502692, 0.5773502692},
                                         {0.7071067812, 0, -0.7071067812},
                                         {0.4082482905, -0.8164965809, 0.4082482905}};

    for (int i = 0; i < PATCH_VALUES; i++) {
        int x = i / 3 % PATCH_SIDE;
        int y = i / 3 / PATCH_SIDE % PATCH_SIDE;
        int t = i / 3 / PATCH_SIDE / PATCH_SIDE;

        out[i] = (float)(colours[wave->colour][i % 3] * cosine(wave->x, x, PATCH_SIDE) *
                         cosine(wave->y, y, PATCH_SIDE) * cosine(wave->t, t, PATCH_FRAMES));
    }
}

static void waves_fill(const struct tensor *tensor, float *out)
{
    struct wave waves[PATCH_VALUES];

    waves_list(waves);
    for (int64_t r = 0; r < tensor->rows && r < PATCH_VALUES; r++) {
        wave_fill(&waves[r], out + r * PATCH_VALUES);
    }
}

static void tensor_fill(const struct tensor *tensor, uint64_t seed, uint32_t bucket, float *values)
{
    int64_t count = tensor->rows * tensor->columns;
    float *out = values + tensor->offset;

    if (tensor->start == START_LINEAR || tensor->start == START_COSINE) {
        float deviation = 1.0f / sqrtf((float)tensor->columns);

        /* The noise counts pairs; an even first index keeps tensors of odd offset apart too. */
        noise_fill(seed, STREAM_START + bucket, 2 * (uint64_t)tensor->offset, count, out);
        for (int64_t i = 0; i < count; i++) {
            out[i] *= deviation;
        }
        if (tensor->start == START_COSINE) {
            waves_fill(tensor, out);
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
