#include "client/attention/api.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attention/block.h"
#include "client/attention/tile.h"

#define HEAD_DIM_MAX 1024

/*
 * Measured on a Zen 3 core with 512 KiB of L2 cache: the scores, 384 KiB, and one operand fit, and
 * OpenBLAS's packing is spread over enough rows. 256 x 256 is 2 to 4 % slower, and more than 1 MiB
 * of scores gains less than 2 %.
 */
#define BLOCK_Q 384
#define BLOCK_K 256
#define GROUP 4
#define ALIGNMENT 64

static pthread_once_t kernels_text_once = PTHREAD_ONCE_INIT;
static char kernels_text[64];

/* Hands out the next @count floats of the scratch, or only measures while @memory is NULL. */
static void *scratch_take(void *memory, size_t *used, size_t count)
{
    size_t at = *used;

    *used += (count * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return memory ? (char *)memory + at : NULL;
}

static size_t scratch_lay(struct seqsync_attention *attention, void *memory)
{
    size_t queries = (size_t)attention->block_q;
    size_t group = queries * (size_t)attention->group;
    size_t keys = (size_t)attention->block_k;
    size_t width = (size_t)attention->head_dim;
    size_t used = 0;

    attention->memory = memory;
    attention->scores = scratch_take(memory, &used, queries * keys);
    attention->d_scores = scratch_take(memory, &used, queries * keys);
    attention->q = scratch_take(memory, &used, group * width);
    attention->out = scratch_take(memory, &used, group * width);
    attention->d_o = scratch_take(memory, &used, queries * width);
    attention->k = scratch_take(memory, &used, keys * width);
    attention->v = scratch_take(memory, &used, keys * width);
    attention->d_k = scratch_take(memory, &used, keys * width);
    attention->d_v = scratch_take(memory, &used, keys * width);
    attention->row_max = scratch_take(memory, &used, group);
    attention->row_sum = scratch_take(memory, &used, group);
    attention->first = scratch_take(memory, &used, queries);
    attention->last = scratch_take(memory, &used, queries);
    return used;
}

static bool shape_is_valid(const struct seqsync_attention_shape *shape)
{
    return shape->size == sizeof(*shape) && shape->heads >= 1 && shape->heads_kv >= 1 &&
           shape->heads_kv <= shape->heads && shape->head_dim >= 1 &&
           shape->head_dim <= HEAD_DIM_MAX && isfinite(shape->scale);
}

int seqsync_attention_new(const struct seqsync_attention_shape *shape,
                          struct seqsync_attention **ret)
{
    struct seqsync_attention *attention;
    void *memory;

    if (!shape || !ret || !shape_is_valid(shape)) {
        return SEQSYNC_ERR_INVALID;
    }
    attention = calloc(1, sizeof(*attention));
    if (!attention) {
        return SEQSYNC_ERR_NO_MEMORY;
    }
    attention->heads = shape->heads;
    attention->heads_kv = shape->heads_kv;
    attention->head_dim = shape->head_dim;
    attention->scale = shape->scale != 0 ? shape->scale : (float)(1 / sqrt(shape->head_dim));
    attention->scale_log2 = (float)((double)attention->scale * M_LOG2E);
    attention->kernels = kernels_get();
    attention->block_q = BLOCK_Q;
    attention->block_k = BLOCK_K;
    attention->group = GROUP;
    memory = aligned_alloc(ALIGNMENT, scratch_lay(attention, /* memory= */ NULL));
    if (!memory) {
        free(attention);
        return SEQSYNC_ERR_NO_MEMORY;
    }
    (void)scratch_lay(attention, memory);
    *ret = attention;
    return SEQSYNC_OK;
}

struct seqsync_attention *seqsync_attention_free(struct seqsync_attention *attention)
{
    if (attention) {
        free(attention->memory);
        free(attention);
    }
    return NULL;
}

void seqsync_attention_forward_begin(struct seqsync_attention *attention, int64_t rows, float *o,
                                     int64_t q_stride, float *lse)
{
    size_t width = (size_t)attention->heads * (size_t)attention->head_dim;

    for (int64_t r = 0; r < rows; r++) {
        memset(o + r * q_stride, 0, width * sizeof(*o));
    }
    for (int64_t i = 0; i < rows * attention->heads; i++) {
        lse[i] = -INFINITY;
    }
}

void seqsync_attention_backward_begin(struct seqsync_attention *attention, int64_t rows,
                                      const float *o, const float *d_o, int64_t q_stride,
                                      float *delta)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int32_t head = 0; head < attention->heads; head++) {
            int64_t at = r * q_stride + (int64_t)head * attention->head_dim;
            double sum = 0;

            for (int32_t i = 0; i < attention->head_dim; i++) {
                sum += (double)o[at + i] * (double)d_o[at + i];
            }
            delta[r * attention->heads + head] = (float)sum;
        }
    }
}

int tile_check(const struct seqsync_attention *attention, const struct seqsync_tile *tile,
               int64_t q_stride, int64_t kv_stride)
{
    if (!attention || !tile || tile->q_count < 1 || tile->k_count < 1 ||
        tile->q_count > INT32_MAX || tile->k_count > INT32_MAX) {
        return SEQSYNC_ERR_INVALID;
    }
    if (tile->q_first < 0 || tile->k_first < 0 || tile->q_row < 0) {
        return SEQSYNC_ERR_INVALID;
    }
    /* BLAS takes strides as int. */
    if (q_stride > INT_MAX || kv_stride > INT_MAX ||
        q_stride < (int64_t)attention->heads * attention->head_dim ||
        kv_stride < (int64_t)attention->heads_kv * attention->head_dim) {
        return SEQSYNC_ERR_INVALID;
    }
    return SEQSYNC_OK;
}

void seqsync_attention_init(void)
{
    openblas_set_num_threads(1);
}

static void describe_kernels(void)
{
    (void)snprintf(kernels_text, sizeof(kernels_text), "%s, OpenBLAS %s", kernels_get()->name,
                   openblas_get_corename());
}

const char *seqsync_attention_kernels(void)
{
    pthread_once(&kernels_text_once, describe_kernels);
    return kernels_text;
}
