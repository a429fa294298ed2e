/*
 * The video diffusion transformer's shape and parameters. A model owns one array with the values of
 * all tensors, cut into buckets: the embedding, each block, the head. Within its bucket a tensor
 * has an offset; gradients have the same offsets in buffers that belong to someone else, one a
 * bucket.
 *
 *   embed   x = patch w^T + b + position; c = silu(w2 silu(w1 features(t) + b1) + b2)
 *   block   (shift, scale, gate) x 2 = modulation(c); x += gate attention(norm(x) ...);
 *           x += gate mlp(norm(x) ...)
 *   head    clean patch = w (norm(x) (1 + scale) + shift) + b
 */
#ifndef SEQSYNC_CLIENT_TRAINER_MODEL_H
#define SEQSYNC_CLIENT_TRAINER_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define PATCH_FRAMES 2
#define PATCH_SIDE 8
#define PATCH_VALUES (PATCH_FRAMES * PATCH_SIDE * PATCH_SIDE * 3)

#define MODEL_WIDTH_MAX 8192
#define MODEL_LAYERS_MAX 128

struct grid {
    int32_t t, h, w; /* patches along time, height and width */
};

struct model_shape {
    struct grid grid;
    int32_t width;  /* elements of a token, a multiple of heads */
    int32_t layers; /* blocks, >= 1 */
    int32_t heads;  /* >= 1 */
};

/* How a tensor starts. */
enum tensor_start {
    START_ZERO,
    START_ONE,
    START_LINEAR, /* normal, with variance 1 / columns */
    START_COSINE, /* the patch's lowest frequencies, see start.c; rows beyond them as LINEAR */
};

struct tensor {
    const char *name; /* static */
    int64_t rows;     /* outputs of a matrix; 1 for a vector, which has no weight decay */
    int64_t columns;
    size_t offset; /* of the first element within the bucket */
    enum tensor_start start;
};

enum embed_tensor {
    EMBED_PATCH_W,
    EMBED_PATCH_B,
    EMBED_TIME1_W,
    EMBED_TIME1_B,
    EMBED_TIME2_W,
    EMBED_TIME2_B,
    EMBED_N,
};

enum block_tensor {
    BLOCK_MODULATION_W, /* [6 width][width]: shift, scale, gate of attention, then of the MLP */
    BLOCK_MODULATION_B,
    BLOCK_QKV_W,   /* [3 width][width] */
    BLOCK_Q_SCALE, /* [head_dim] */
    BLOCK_K_SCALE,
    BLOCK_OUT_W,
    BLOCK_OUT_B,
    BLOCK_MLP1_W, /* [4 width][width] */
    BLOCK_MLP1_B,
    BLOCK_MLP2_W, /* [width][4 width] */
    BLOCK_MLP2_B,
    BLOCK_N,
};

enum head_tensor {
    HEAD_MODULATION_W, /* [2 width][width]: shift, scale */
    HEAD_MODULATION_B,
    HEAD_OUT_W, /* [PATCH_VALUES][width] */
    HEAD_OUT_B,
    HEAD_N,
};

struct model {
    struct model_shape shape;
    int32_t head_dim;
    struct tensor embed[EMBED_N];
    struct tensor block[BLOCK_N]; /* the same for each block */
    struct tensor head[HEAD_N];
    uint32_t bucket_count; /* layers + 2: embed, blocks in order, head */
    float **values;        /* per bucket, into one allocation */
    size_t *elements;      /* per bucket */
    size_t elements_total;
};

#define BUCKET_EMBED 0u
#define BUCKET_BLOCK(layer) (1u + (uint32_t)(layer))
#define BUCKET_HEAD(model) ((model)->bucket_count - 1u)

/* Why the shape cannot be built, for an error message; NULL if it can. Static. */
const char *model_shape_fault(const struct model_shape *shape);

/* Lays out the tensors and clears their values. The caller frees it. NULL: out of memory. */
struct model *model_new(const struct model_shape *shape);

/* Accepts NULL; returns NULL. */
struct model *model_free(struct model *model);

/* Starting values: a pure function of shape and @seed. */
void model_start(struct model *model, uint64_t seed);

/* The tensors of @bucket. Borrowed from the model. */
const struct tensor *model_tensors(const struct model *model, uint32_t bucket, size_t *ret_count);

/* Tokens of one sample. */
int64_t model_tokens(const struct model_shape *shape);

#endif
