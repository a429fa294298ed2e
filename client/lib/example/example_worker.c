/* One training step of causal attention over one long sequence, on any number of workers. */
#include <seqsync/attention.h>
#include <seqsync/gradient.h>
#include <seqsync/plan.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 2000, HEADS = 4, DIM = 16, WIDTH = HEADS * DIM };

static struct seqsync_session *session;

static void must(int status)
{
    if (status != 0) {
        fprintf(stderr, "%s: %s\n", seqsync_status_name(status), seqsync_session_error(session));
        exit(1);
    }
}

/* Token t's data. It depends on the global index alone, never on who holds the token. */
static float datum(int64_t t, int64_t i)
{
    return (float)(seqsync_random_u64(1, 0, (uint64_t)(t * WIDTH + i)) >> 40) * 0x1p-23f - 1;
}

int main(void)
{
    const struct seqsync_exchange_shape layer = {.heads_kv = HEADS, .head_dim = DIM};
    const struct seqsync_bucket_shape weights = {.elements = WIDTH, .role = SEQSYNC_PARTIAL};
    const struct seqsync_sequence video = {.tokens = TOKENS, .mask = SEQSYNC_MASK_CAUSAL};
    const struct seqsync_batch batch = {sizeof(batch), &video, 1, .context_role = SEQSYNC_SHARDED};
    const struct seqsync_attention_shape shape = {sizeof(shape), HEADS, HEADS, DIM, 0};
    struct seqsync_attention *attention;
    struct seqsync_step *step;
    const float *k, *v, *sum_k, *sum_v, *mean;
    float *own_k, *own_v, *return_k, *return_v;
    uint32_t tiles;

    must(seqsync_session_open(NULL, &session)); /* rank and world size: from the environment */
    must(seqsync_session_register(session, &layer, 1, &weights, 1));
    must(seqsync_attention_new(&shape, &attention));
    must(seqsync_step_begin(session, &batch, &step)); /* who holds which tokens, who needs which */

    const struct seqsync_tile *tile = seqsync_step_tiles(step, SEQSYNC_SPACE_TOKENS, &tiles);
    const int64_t rows = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS), n = rows * WIDTH;
    int64_t *token = calloc((size_t)rows + 1, sizeof(*token));
    float *q = calloc((size_t)(6 * n + 2 * rows * HEADS) + 1, sizeof(*q)), *o = q + n, *d_o = o + n,
          *dq = d_o + n, *dk = dq + n, *dv = dk + n, *lse = dv + n, *delta = lse + rows * HEADS;
    must(token != NULL && q != NULL ? 0 : SEQSYNC_ERR_NO_MEMORY);

    seqsync_step_indices(step, token, NULL, NULL, NULL);
    must(seqsync_kv_buffer(step, 0, &own_k, &own_v)); /* shared memory: nothing is copied */
    for (int64_t i = 0; i < n; i++) {
        q[i] = own_k[i] = own_v[i] = datum(token[i / WIDTH], i % WIDTH);
    }
    must(seqsync_kv_publish(step, 0));

    seqsync_attention_forward_begin(attention, rows, o, WIDTH, lse);
    for (const struct seqsync_tile *t = tile; t < tile + tiles; t++) {
        must(seqsync_kv_wait(step, 0, t->source, &k, &v)); /* only what our queries may see */
        must(seqsync_attention_forward_tile(attention, t, q, WIDTH, k + t->k_row * WIDTH,
                                            v + t->k_row * WIDTH, WIDTH, o, lse));
    }
    for (int64_t i = 0; i < n; i++) {
        d_o[i] = o[i] - q[i]; /* of the loss 1/2 |o - data|^2 */
    }
    seqsync_attention_backward_begin(attention, rows, o, d_o, WIDTH, delta);
    must(seqsync_return_buffer(step, 0, &return_k, &return_v)); /* for other ranks' dK and dV */
    for (const struct seqsync_tile *t = tile; t < tile + tiles; t++) {
        float *to_k = t->return_row < 0 ? dk + t->k_row * WIDTH : return_k + t->return_row * WIDTH;
        float *to_v = t->return_row < 0 ? dv + t->k_row * WIDTH : return_v + t->return_row * WIDTH;
        must(seqsync_kv_wait(step, 0, t->source, &k, &v));
        must(seqsync_attention_backward_tile(attention, t, q, WIDTH, k + t->k_row * WIDTH,
                                             v + t->k_row * WIDTH, WIDTH, d_o, lse, delta, dq, to_k,
                                             to_v, WIDTH));
    }
    must(seqsync_return_publish(step, 0));
    must(seqsync_return_wait(step, 0, &sum_k, &sum_v)); /* what the others found for our rows */

    float *sum = seqsync_gradient_buffer(session, 0); /* of weights that q, k and v all share */
    for (int64_t i = 0; i < WIDTH; i++) {
        sum[i] = 0;
    }
    for (int64_t i = 0; i < n; i++) {
        sum[i % WIDTH] += q[i] * (dq[i] + dk[i] + sum_k[i] + dv[i] + sum_v[i]);
    }
    must(seqsync_gradient_contribute(step, 0, rows));  /* a sum, and of how many tokens it is */
    must(seqsync_gradient_wait(step, 0, &mean, NULL)); /* the mean over all ranks' tokens */
    must(seqsync_step_commit(step, NULL, NULL));       /* returns when all have it */

    printf("rank %d of %d computed %lld of %d tokens; gradient %.5f %.5f %.5f ...\n",
           seqsync_session_rank(session), seqsync_session_world_size(session), (long long)rows,
           TOKENS, (double)mean[0], (double)mean[1], (double)mean[2]);
    seqsync_attention_free(attention);
    seqsync_session_close(session);
    free(token);
    free(q);
    return 0;
}
