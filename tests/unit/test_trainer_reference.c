#include "test_trainer_reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reference {
    const struct model *model;
    double *const *values;
    int64_t width;
    int64_t tokens;
    bool causal;
    double *silu_vector; /* [width] of the sequence at hand */
    double *x;           /* [tokens][width] */
    double *h;
    double *q, *k, *v, *o;
};

static double *doubles(int64_t count)
{
    double *p = calloc((size_t)count + 1, sizeof(*p));

    assert(p);
    return p;
}

/* out[rows] = w[rows][columns] in + b. */
static void dense(const double *w, const double *b, int64_t rows, int64_t columns, const double *in,
                  double *out)
{
    for (int64_t r = 0; r < rows; r++) {
        out[r] = b ? b[r] : 0;
        for (int64_t c = 0; c < columns; c++) {
            out[r] += w[r * columns + c] * in[c];
        }
    }
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double gelu(double u)
{
    return 0.5 * u * (1 + tanh(sqrt(2 / acos(-1)) * (u + 0.044715 * u * u * u)));
}

static void timestep(struct reference *ref, double t)
{
    const struct tensor *e = ref->model->embed;
    const double *values = ref->values[BUCKET_EMBED];
    int64_t width = ref->width;
    int64_t half = width / 2;
    double *features = doubles(width);
    double *hidden = doubles(width);

    for (int64_t i = 0; i < half; i++) {
        double angle = 1000 * t * pow(10000, -(double)i / (double)half);

        features[i] = cos(angle);
        features[half + i] = sin(angle);
    }
    if (width % 2) {
        features[width - 1] = t;
    }
    dense(values + e[EMBED_TIME1_W].offset, values + e[EMBED_TIME1_B].offset, width, width,
          features, hidden);
    for (int64_t i = 0; i < width; i++) {
        hidden[i] = silu(hidden[i]);
    }
    dense(values + e[EMBED_TIME2_W].offset, values + e[EMBED_TIME2_B].offset, width, width, hidden,
          ref->silu_vector);
    for (int64_t i = 0; i < width; i++) {
        ref->silu_vector[i] = silu(ref->silu_vector[i]);
    }
    free(features);
    free(hidden);
}

static void place(const struct reference *ref, int64_t token, int64_t ret[3])
{
    const struct grid *grid = &ref->model->shape.grid;

    ret[0] = token / (grid->h * grid->w);
    ret[1] = token % (grid->h * grid->w) / grid->w;
    ret[2] = token % grid->w;
}

static void embed(struct reference *ref, const double *noised)
{
    const struct tensor *e = ref->model->embed;
    const double *values = ref->values[BUCKET_EMBED];
    int64_t axis = ref->width / 6 * 2;

    for (int64_t i = 0; i < ref->tokens; i++) {
        double *x = ref->x + i * ref->width;
        int64_t at[3];

        dense(values + e[EMBED_PATCH_W].offset, values + e[EMBED_PATCH_B].offset, ref->width,
              PATCH_VALUES, noised + i * PATCH_VALUES, x);
        place(ref, i, at);
        for (int a = 0; a < 3; a++) {
            for (int64_t j = 0; j < axis / 2; j++) {
                double angle = (double)at[a] * pow(1000, -(double)j / ((double)axis / 2));

                x[a * axis + j] += sin(angle);
                x[a * axis + axis / 2 + j] += cos(angle);
            }
        }
    }
}

/* h = norm(x) (1 + scale) + shift of every token. */
static void adaptive_norm(struct reference *ref, const double *shift, const double *scale)
{
    for (int64_t i = 0; i < ref->tokens; i++) {
        const double *x = ref->x + i * ref->width;
        double mean = 0;
        double square = 0;

        for (int64_t j = 0; j < ref->width; j++) {
            mean += x[j] / (double)ref->width;
        }
        for (int64_t j = 0; j < ref->width; j++) {
            square += (x[j] - mean) * (x[j] - mean) / (double)ref->width;
        }
        for (int64_t j = 0; j < ref->width; j++) {
            ref->h[i * ref->width + j] =
                (x[j] - mean) / sqrt(square + 1e-6) * (1 + scale[j]) + shift[j];
        }
    }
}

/* One head of one token: divided by its root mean square, scaled, turned to its place. */
static void rotary(const struct reference *ref, int64_t token, const double *scale, double *x)
{
    int64_t dim = ref->model->head_dim;
    int64_t half = dim / 2;
    const int64_t pairs[3] = {half - 2 * (half * 3 / 8), half * 3 / 8, half * 3 / 8};
    int64_t at[3];
    double square = 0;
    int64_t pair = 0;

    for (int64_t j = 0; j < dim; j++) {
        square += x[j] * x[j] / (double)dim;
    }
    for (int64_t j = 0; j < dim; j++) {
        x[j] *= scale[j] / sqrt(square + 1e-6);
    }
    place(ref, token, at);
    for (int a = 0; a < 3; a++) {
        for (int64_t j = 0; j < pairs[a]; j++, pair++) {
            double angle = (double)at[a] * pow(100, -(double)j / (double)pairs[a]);
            double first = x[pair];
            double second = x[half + pair];

            x[pair] = first * cos(angle) - second * sin(angle);
            x[half + pair] = first * sin(angle) + second * cos(angle);
        }
    }
}

static void attend(struct reference *ref)
{
    int64_t dim = ref->model->head_dim;
    double *weight = doubles(ref->tokens);

    for (int64_t h = 0; h < ref->model->shape.heads; h++) {
        for (int64_t i = 0; i < ref->tokens; i++) {
            const double *q = ref->q + i * ref->width + h * dim;
            double *o = ref->o + i * ref->width + h * dim;
            int64_t end = ref->causal ? i + 1 : ref->tokens;
            double sum = 0;

            for (int64_t j = 0; j < end; j++) {
                const double *k = ref->k + j * ref->width + h * dim;
                double dot = 0;

                for (int64_t d = 0; d < dim; d++) {
                    dot += q[d] * k[d];
                }
                weight[j] = exp(dot / sqrt((double)dim));
                sum += weight[j];
            }
            memset(o, 0, (size_t)dim * sizeof(*o));
            for (int64_t j = 0; j < end; j++) {
                for (int64_t d = 0; d < dim; d++) {
                    o[d] += weight[j] / sum * ref->v[j * ref->width + h * dim + d];
                }
            }
        }
    }
    free(weight);
}

static void attention_branch(struct reference *ref, const double *values, const double *gate)
{
    const struct tensor *b = ref->model->block;
    const double *w = values + b[BLOCK_QKV_W].offset;
    int64_t width = ref->width;
    double *y = doubles(width);

    for (int64_t i = 0; i < ref->tokens; i++) {
        const double *h = ref->h + i * width;

        dense(w, NULL, width, width, h, ref->q + i * width);
        dense(w + width * width, NULL, width, width, h, ref->k + i * width);
        dense(w + 2 * width * width, NULL, width, width, h, ref->v + i * width);
        for (int64_t head = 0; head < width; head += ref->model->head_dim) {
            rotary(ref, i, values + b[BLOCK_Q_SCALE].offset, ref->q + i * width + head);
            rotary(ref, i, values + b[BLOCK_K_SCALE].offset, ref->k + i * width + head);
        }
    }
    attend(ref);
    for (int64_t i = 0; i < ref->tokens; i++) {
        dense(values + b[BLOCK_OUT_W].offset, values + b[BLOCK_OUT_B].offset, width, width,
              ref->o + i * width, y);
        for (int64_t j = 0; j < width; j++) {
            ref->x[i * width + j] += gate[j] * y[j];
        }
    }
    free(y);
}

static void mlp_branch(struct reference *ref, const double *values, const double *gate)
{
    const struct tensor *b = ref->model->block;
    int64_t width = ref->width;
    double *u = doubles(4 * width);
    double *y = doubles(width);

    for (int64_t i = 0; i < ref->tokens; i++) {
        dense(values + b[BLOCK_MLP1_W].offset, values + b[BLOCK_MLP1_B].offset, 4 * width, width,
              ref->h + i * width, u);
        for (int64_t j = 0; j < 4 * width; j++) {
            u[j] = gelu(u[j]);
        }
        dense(values + b[BLOCK_MLP2_W].offset, values + b[BLOCK_MLP2_B].offset, width, 4 * width, u,
              y);
        for (int64_t j = 0; j < width; j++) {
            ref->x[i * width + j] += gate[j] * y[j];
        }
    }
    free(u);
    free(y);
}

static void blocks(struct reference *ref)
{
    const struct tensor *b = ref->model->block;
    int64_t width = ref->width;
    double *modulation = doubles(6 * width);

    for (int32_t l = 0; l < ref->model->shape.layers; l++) {
        const double *values = ref->values[BUCKET_BLOCK(l)];

        dense(values + b[BLOCK_MODULATION_W].offset, values + b[BLOCK_MODULATION_B].offset,
              6 * width, width, ref->silu_vector, modulation);
        adaptive_norm(ref, modulation, modulation + width);
        attention_branch(ref, values, modulation + 2 * width);
        adaptive_norm(ref, modulation + 3 * width, modulation + 4 * width);
        mlp_branch(ref, values, modulation + 5 * width);
    }
    free(modulation);
}

static double head(struct reference *ref, const double *clean, double *prediction)
{
    const struct tensor *t = ref->model->head;
    const double *values = ref->values[BUCKET_HEAD(ref->model)];
    int64_t width = ref->width;
    double *modulation = doubles(2 * width);
    double out[PATCH_VALUES];
    double sum = 0;

    dense(values + t[HEAD_MODULATION_W].offset, values + t[HEAD_MODULATION_B].offset, 2 * width,
          width, ref->silu_vector, modulation);
    adaptive_norm(ref, modulation, modulation + width);
    for (int64_t i = 0; i < ref->tokens; i++) {
        dense(values + t[HEAD_OUT_W].offset, values + t[HEAD_OUT_B].offset, PATCH_VALUES, width,
              ref->h + i * width, out);
        for (int64_t j = 0; j < PATCH_VALUES; j++) {
            double error = out[j] - clean[i * PATCH_VALUES + j];

            sum += error * error;
        }
        if (prediction) {
            memcpy(prediction + i * PATCH_VALUES, out, sizeof(out));
        }
    }
    free(modulation);
    return sum;
}

double reference_loss(const struct model *model, double *const *values, uint32_t sequences,
                      const double *noised, const double *clean, const double *t, bool causal,
                      double *prediction)
{
    int64_t tokens = model_tokens(&model->shape);
    int64_t size = tokens * model->shape.width;
    struct reference ref = {.model = model,
                            .values = values,
                            .width = model->shape.width,
                            .tokens = tokens,
                            .causal = causal,
                            .silu_vector = doubles(model->shape.width),
                            .x = doubles(size),
                            .h = doubles(size),
                            .q = doubles(size),
                            .k = doubles(size),
                            .v = doubles(size),
                            .o = doubles(size)};
    double sum = 0;

    for (uint32_t s = 0; s < sequences; s++) {
        int64_t at = s * tokens * PATCH_VALUES;

        timestep(&ref, t[s]);
        embed(&ref, noised + at);
        blocks(&ref);
        sum += head(&ref, clean + at, prediction ? prediction + at : NULL);
    }
    free(ref.silu_vector);
    free(ref.x);
    free(ref.h);
    free(ref.q);
    free(ref.k);
    free(ref.v);
    free(ref.o);
    return sum;
}
