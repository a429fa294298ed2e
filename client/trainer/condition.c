#include "client/trainer/condition.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/trainer/linear.h"

/* t in (0, 1) is spread over this many radians at the highest frequency. */
#define TIMESTEP_SPAN 1000.0
#define TIMESTEP_PERIOD 10000.0

static size_t modulation_offset(const struct condition *c, int32_t layer, uint32_t sequence)
{
    size_t width = (size_t)c->width;

    if (layer == c->layers) {
        return width * c->sequences * MODULATION_N * (size_t)c->layers +
               width * MODULATION_HEAD_N * sequence;
    }
    return width * MODULATION_N * ((size_t)layer * c->sequences + sequence);
}

int condition_init(struct condition *c, const struct model *model, uint32_t sequences)
{
    size_t one = (size_t)model->shape.width * sequences;
    size_t all = one * (MODULATION_N * (size_t)model->shape.layers + MODULATION_HEAD_N);

    *c = (struct condition){
        .width = model->shape.width, .sequences = sequences, .layers = model->shape.layers};
    c->memory = calloc(6 * one + 2 * all, sizeof(*c->memory));
    if (!c->memory) {
        return -ENOMEM;
    }
    c->features = c->memory;
    c->hidden = c->features + one;
    c->hidden_silu = c->hidden + one;
    c->vector = c->hidden_silu + one;
    c->vector_silu = c->vector + one;
    c->d_vector_silu = c->vector_silu + one;
    c->modulation = c->d_vector_silu + one;
    c->d_modulation = c->modulation + all;
    return 0;
}

void condition_deinit(struct condition *c)
{
    free(c->memory);
    *c = (struct condition){0};
}

const float *condition_get(const struct condition *c, int32_t layer, uint32_t sequence)
{
    return c->modulation + modulation_offset(c, layer, sequence);
}

float *condition_gradient(struct condition *c, int32_t layer, uint32_t sequence)
{
    return c->d_modulation + modulation_offset(c, layer, sequence);
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static void silu(const float *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i] * sigmoid(x[i]);
    }
}

/* d[i] *= silu'(x[i]). */
static void silu_backward(const float *x, size_t n, float *d)
{
    for (size_t i = 0; i < n; i++) {
        float s = sigmoid(x[i]);

        d[i] *= s * (1.0f + x[i] * (1.0f - s));
    }
}

static void features_fill(struct condition *c, const double *t)
{
    int64_t half = c->width / 2;

    for (uint32_t q = 0; q < c->sequences; q++) {
        float *features = c->features + q * c->width;

        for (int64_t i = 0; i < half; i++) {
            double rate = pow(TIMESTEP_PERIOD, -(double)i / (double)half);

            features[i] = (float)cos(t[q] * TIMESTEP_SPAN * rate);
            features[half + i] = (float)sin(t[q] * TIMESTEP_SPAN * rate);
        }
        if (c->width % 2) {
            features[c->width - 1] = (float)t[q];
        }
    }
}

/* The matrix and bias that make the modulation of @layer, and how many vectors it has. */
static int64_t layer_tensors(const struct condition *c, const struct model *model, int32_t layer,
                             const struct tensor **ret_w, const struct tensor **ret_b)
{
    if (layer == c->layers) {
        *ret_w = &model->head[HEAD_MODULATION_W];
        *ret_b = &model->head[HEAD_MODULATION_B];
        return MODULATION_HEAD_N * c->width;
    }
    *ret_w = &model->block[BLOCK_MODULATION_W];
    *ret_b = &model->block[BLOCK_MODULATION_B];
    return MODULATION_N * c->width;
}

void condition_forward(struct condition *c, const struct model *model, const double *t)
{
    const float *embed = model->values[BUCKET_EMBED];
    int64_t width = c->width;
    size_t one = (size_t)width * c->sequences;
    size_t all = one * (MODULATION_N * (size_t)c->layers + MODULATION_HEAD_N);

    features_fill(c, t);
    linear_forward(c->sequences, width, width, c->features, width,
                   embed + model->embed[EMBED_TIME1_W].offset,
                   embed + model->embed[EMBED_TIME1_B].offset, c->hidden, width);
    silu(c->hidden, one, c->hidden_silu);
    linear_forward(c->sequences, width, width, c->hidden_silu, width,
                   embed + model->embed[EMBED_TIME2_W].offset,
                   embed + model->embed[EMBED_TIME2_B].offset, c->vector, width);
    silu(c->vector, one, c->vector_silu);

    for (int32_t l = 0; l <= c->layers; l++) {
        const struct tensor *w;
        const struct tensor *b;
        int64_t out = layer_tensors(c, model, l, &w, &b);
        const float *values = model->values[BUCKET_BLOCK(l)];

        linear_forward(c->sequences, width, out, c->vector_silu, width, values + w->offset,
                       values + b->offset, c->modulation + modulation_offset(c, l, 0), out);
    }
    memset(c->d_modulation, 0, all * sizeof(*c->d_modulation));
    memset(c->d_vector_silu, 0, one * sizeof(*c->d_vector_silu));
}

static void bias_backward(const struct condition *c, int64_t out, const float *d, float *d_bias)
{
    for (uint32_t q = 0; q < c->sequences; q++) {
        for (int64_t i = 0; i < out; i++) {
            d_bias[i] += d[q * out + i];
        }
    }
}

void condition_backward_layer(struct condition *c, const struct model *model, int32_t layer,
                              float *gradient)
{
    const struct tensor *w;
    const struct tensor *b;
    int64_t out = layer_tensors(c, model, layer, &w, &b);
    const float *d = c->d_modulation + modulation_offset(c, layer, 0);

    linear_backward_weight(c->sequences, c->width, out, d, out, c->vector_silu, c->width,
                           gradient + w->offset);
    bias_backward(c, out, d, gradient + b->offset);
    linear_backward_input(c->sequences, c->width, out, d, out,
                          model->values[BUCKET_BLOCK(layer)] + w->offset, c->d_vector_silu,
                          c->width);
}

void condition_backward(struct condition *c, const struct model *model, float *gradient)
{
    const struct tensor *embed = model->embed;
    int64_t width = c->width;
    size_t one = (size_t)width * c->sequences;
    /* The modulations are used up: their space takes the gradient of the hidden layer. */
    float *d_hidden = c->d_modulation;

    silu_backward(c->vector, one, c->d_vector_silu);
    linear_backward_weight(c->sequences, width, width, c->d_vector_silu, width, c->hidden_silu,
                           width, gradient + embed[EMBED_TIME2_W].offset);
    bias_backward(c, width, c->d_vector_silu, gradient + embed[EMBED_TIME2_B].offset);
    memset(d_hidden, 0, one * sizeof(*d_hidden));
    linear_backward_input(c->sequences, width, width, c->d_vector_silu, width,
                          model->values[BUCKET_EMBED] + embed[EMBED_TIME2_W].offset, d_hidden,
                          width);
    silu_backward(c->hidden, one, d_hidden);
    linear_backward_weight(c->sequences, width, width, d_hidden, width, c->features, width,
                           gradient + embed[EMBED_TIME1_W].offset);
    bias_backward(c, width, d_hidden, gradient + embed[EMBED_TIME1_B].offset);
}
