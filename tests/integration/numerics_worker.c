/*
 * A worker that checks numbers: for a list of seeds it draws a batch, attends forward and backward
 * through the daemons, and compares what it holds with a naive reference in double precision and
 * with a run of the same kernels on one rank. All values are functions of (seed, global index), so
 * every rank, and every rank count, sees the same data.
 *
 * usage: numerics_worker FIRST_SEED COUNT TOKENS_MAX [none|one]     (in a job's environment; exits
 * 0 if everything holds)
 *
 * Bounds (invariant 2): outputs and dQ, dK, dV and parameter gradients differ from the reference by
 * at most 1e-5 of the largest entry, the loss by 1e-6 relatively; results are equal bit for bit on
 * all ranks and on a repeated step.
 */
#include <math.h>
#include <seqsync/attention.h>
#include <seqsync/collective.h>
#include <seqsync/exchange.h>
#include <seqsync/gradient.h>
#include <seqsync/parameter.h>
#include <seqsync/plan.h>
#include <seqsync/session.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXCHANGES 5
#define BUCKETS 3
#define SEQUENCES_MAX 12
#define GRADIENT_BOUND 1e-5
#define LOSS_BOUND 1e-6
/*
 * Where all terms cancel (a query with one key has dQ = dK = 0) the largest entry says nothing
 * about rounding. What is rounded are terms p (dp - delta) k / sqrt(d) with |dp| <= d <= 16 and |k|
 * < 1: up to 4, at 2^-24 each; the errors of n of them add up like a random walk.
 */
#define CANCELLED(n) (4 * 0x1p-24 * sqrt((double)(n)) / GRADIENT_BOUND)

enum stream {
    STREAM_SHAPE = 1,
    STREAM_Q,
    STREAM_K,
    STREAM_V,
    STREAM_DO,
    STREAM_CK,
    STREAM_CV,
    STREAM_MASKED
};

struct heads {
    int32_t heads, heads_kv, head_dim;
    uint32_t space;
};

static const struct heads shapes[EXCHANGES] = {
    {2, 2, 16, SEQSYNC_SPACE_TOKENS}, {4, 2, 8, SEQSYNC_SPACE_TOKENS},
    {3, 1, 5, SEQSYNC_SPACE_TOKENS},  {5, 3, 4, SEQSYNC_SPACE_TOKENS},
    {2, 2, 8, SEQSYNC_SPACE_CONTEXT},
};
static const struct seqsync_bucket_shape buckets[BUCKETS] = {
    {.elements = 1, .role = SEQSYNC_PARTIAL},
    {.elements = 1003, .role = SEQSYNC_PARTIAL},
    {.elements = 77, .role = SEQSYNC_REPLICATED},
};

struct batch {
    struct seqsync_batch batch;
    struct seqsync_sequence sequences[SEQUENCES_MAX];
    int64_t offsets[SEQUENCES_MAX + 1];
    int64_t context_offsets[SEQUENCES_MAX + 1];
    uint64_t seed;
};

/* Everything of one step that this rank holds. */
struct held {
    int64_t rows, kv_rows;
    int64_t *global;
    uint32_t *sequence;
    float *q, *o, *lse, *d_o, *delta, *dq, *dk, *dv; /* dk, dv: of the own K/V rows, complete */
};

static struct seqsync_session *session;
static int failures;
static int arg_loss_mask = -1; /* -1: drawn; 0: no token counts; 1: one does */

static void fail_status(int r, const char *what)
{
    if (r != 0) {
        fprintf(stderr, "rank %d: %s: %s: %s\n", seqsync_session_rank(session), what,
                seqsync_status_name(r), seqsync_session_error(session));
        exit(1);
    }
}

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);

    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

/* In [-1, 1), from 24 bits: exact in f32. */
static float uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (float)(int32_t)(seqsync_random_u64(seed, stream, counter) >> 40) * 0x1p-23f - 1.0f;
}

static uint64_t draw(uint64_t seed, uint64_t counter, uint64_t bound)
{
    return seqsync_random_u64(seed, STREAM_SHAPE, counter) % bound;
}

static void batch_draw(uint64_t seed, int64_t tokens_max, struct batch *ret)
{
    const uint64_t kind = draw(seed, 0, 6);
    const uint32_t count = kind < 3 ? 1 : 1 + (uint32_t)draw(seed, 1, SEQUENCES_MAX);

    memset(ret, 0, sizeof(*ret));
    ret->seed = seed;
    ret->batch = (struct seqsync_batch){.size = sizeof(ret->batch),
                                        .sequences = ret->sequences,
                                        .sequence_count = count,
                                        .placement = (uint32_t)draw(seed, 2, 3),
                                        .context_role =
                                            draw(seed, 3, 2) ? SEQSYNC_SHARDED : SEQSYNC_REPLICATED,
                                        .seed = seed};
    for (uint32_t i = 0; i < count; i++) {
        struct seqsync_sequence *sequence = &ret->sequences[i];
        /* Half of them short: fewer tokens than ranks, single tokens. */
        const int64_t bound = draw(seed, 10 + i, 2) ? tokens_max / count : 9;
        sequence->tokens = 1 + (int64_t)draw(seed, 30 + i, (uint64_t)(bound > 1 ? bound : 1));
        sequence->context_tokens = 1 + (int64_t)draw(seed, 50 + i, 20);
        sequence->mask = SEQSYNC_MASK_FULL + (uint32_t)draw(seed, 70 + i, 3);
        if (sequence->mask == SEQSYNC_MASK_WINDOW) {
            sequence->window_left = (int64_t)draw(seed, 90 + i, (uint64_t)sequence->tokens + 3);
            sequence->window_right = draw(seed, 110 + i, 2) ? 0 : (int64_t)draw(seed, 130 + i, 40);
        }
        ret->offsets[i + 1] = ret->offsets[i] + sequence->tokens;
        ret->context_offsets[i + 1] = ret->context_offsets[i] + sequence->context_tokens;
    }
}

static uint32_t sequence_of(const int64_t *offsets, int64_t global)
{
    uint32_t i = 0;

    while (offsets[i + 1] <= global) {
        i++;
    }
    return i;
}

static void fill(uint64_t seed, enum stream stream, int64_t global, int32_t count, float *ret)
{
    for (int32_t i = 0; i < count; i++) {
        ret[i] = uniform(seed, stream, (uint64_t)global * 256 + (uint64_t)i);
    }
}

static bool sees(const struct batch *batch, uint32_t space, int64_t q, int64_t k)
{
    const uint32_t sequence = sequence_of(batch->offsets, q);
    const struct seqsync_sequence *s = &batch->sequences[sequence];

    if (space == SEQSYNC_SPACE_CONTEXT) {
        return sequence_of(batch->context_offsets, k) == sequence;
    }
    if (sequence_of(batch->offsets, k) != sequence) {
        return false;
    }
    switch (s->mask) {
    case SEQSYNC_MASK_CAUSAL:
        return k <= q;
    case SEQSYNC_MASK_WINDOW:
        return k >= q - s->window_left && k <= q + s->window_right;
    default:
        return true;
    }
}

/* ---- reference: double precision, one query at a time ---- */

struct reference {
    double *o, *dq, *dk, *dv; /* over all tokens and keys */
    float *k, *v;
    int64_t keys, tokens;
};

static void reference_query(const struct batch *batch, const struct heads *h, struct reference *ref,
                            int64_t query, const float *q, const float *d_o, double *p)
{
    const uint32_t sequence = sequence_of(batch->offsets, query);
    const int64_t *offsets =
        h->space == SEQSYNC_SPACE_CONTEXT ? batch->context_offsets : batch->offsets;
    const int64_t first = offsets[sequence], end = offsets[sequence + 1];
    const int32_t d = h->head_dim;
    const double scale = 1.0 / sqrt(d);

    for (int32_t head = 0; head < h->heads; head++) {
        const int32_t kv = head * h->heads_kv / h->heads;
        double max = -INFINITY, total = 0, delta = 0;
        double *o = &ref->o[(query * h->heads + head) * d];
        for (int64_t key = first; key < end; key++) {
            double dot = 0;
            for (int32_t i = 0; i < d; i++) {
                dot += (double)q[head * d + i] * (double)ref->k[(key * h->heads_kv + kv) * d + i];
            }
            p[key - first] = sees(batch, h->space, query, key) ? dot * scale : -INFINITY;
            max = fmax(max, p[key - first]);
        }
        for (int64_t key = first; key < end; key++) {
            p[key - first] = isinf(max) ? 0 : exp(p[key - first] - max);
            total += p[key - first];
        }
        for (int64_t key = first; key < end && total > 0; key++) {
            p[key - first] /= total;
            for (int32_t i = 0; i < d; i++) {
                o[i] += p[key - first] * (double)ref->v[(key * h->heads_kv + kv) * d + i];
            }
        }
        for (int32_t i = 0; i < d; i++) {
            delta += o[i] * (double)d_o[head * d + i];
        }
        for (int64_t key = first; key < end; key++) {
            double dp = 0;
            const double weight = p[key - first];
            if (weight == 0) {
                continue;
            }
            for (int32_t i = 0; i < d; i++) {
                dp += (double)d_o[head * d + i] * (double)ref->v[(key * h->heads_kv + kv) * d + i];
            }
            const double ds = weight * (dp - delta) * scale;
            for (int32_t i = 0; i < d; i++) {
                ref->dq[(query * h->heads + head) * d + i] +=
                    ds * (double)ref->k[(key * h->heads_kv + kv) * d + i];
                ref->dk[(key * h->heads_kv + kv) * d + i] += ds * (double)q[head * d + i];
                ref->dv[(key * h->heads_kv + kv) * d + i] += weight * (double)d_o[head * d + i];
            }
        }
    }
}

static void reference_make(const struct batch *batch, const struct heads *h, struct reference *ret)
{
    const uint32_t n = batch->batch.sequence_count;
    const bool context = h->space == SEQSYNC_SPACE_CONTEXT;
    const int32_t q_row = h->heads * h->head_dim, kv_row = h->heads_kv * h->head_dim;
    float q[256], d_o[256];

    ret->tokens = batch->offsets[n];
    ret->keys = context ? batch->context_offsets[n] : ret->tokens;
    ret->o = zeros((size_t)(ret->tokens * q_row), sizeof(double));
    ret->dq = zeros((size_t)(ret->tokens * q_row), sizeof(double));
    ret->dk = zeros((size_t)(ret->keys * kv_row), sizeof(double));
    ret->dv = zeros((size_t)(ret->keys * kv_row), sizeof(double));
    ret->k = zeros((size_t)(ret->keys * kv_row), sizeof(float));
    ret->v = zeros((size_t)(ret->keys * kv_row), sizeof(float));
    double *p = zeros((size_t)ret->keys, sizeof(double));
    for (int64_t key = 0; key < ret->keys; key++) {
        fill(batch->seed, context ? STREAM_CK : STREAM_K, key, kv_row, &ret->k[key * kv_row]);
        fill(batch->seed, context ? STREAM_CV : STREAM_V, key, kv_row, &ret->v[key * kv_row]);
    }
    for (int64_t query = 0; query < ret->tokens; query++) {
        fill(batch->seed, STREAM_Q, query, q_row, q);
        fill(batch->seed, STREAM_DO, query, q_row, d_o);
        reference_query(batch, h, ret, query, q, d_o, p);
    }
    free(p);
}

static void reference_free(struct reference *ref)
{
    free(ref->o);
    free(ref->dq);
    free(ref->dk);
    free(ref->dv);
    free(ref->k);
    free(ref->v);
}

/* ---- the step through the daemons ---- */

static void held_new(struct seqsync_step *step, const struct batch *batch, const struct heads *h,
                     struct held *ret)
{
    const size_t q_row = (size_t)(h->heads * h->head_dim),
                 kv_row = (size_t)(h->heads_kv * h->head_dim);

    ret->rows = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS);
    ret->kv_rows = seqsync_step_rows(step, h->space);
    const size_t rows = (size_t)ret->rows, kv_rows = (size_t)ret->kv_rows;
    ret->global = zeros(rows, sizeof(int64_t));
    ret->sequence = zeros(rows, sizeof(uint32_t));
    ret->q = zeros(rows * q_row, sizeof(float));
    ret->o = zeros(rows * q_row, sizeof(float));
    ret->d_o = zeros(rows * q_row, sizeof(float));
    ret->dq = zeros(rows * q_row, sizeof(float));
    ret->lse = zeros(rows * (size_t)h->heads, sizeof(float));
    ret->delta = zeros(rows * (size_t)h->heads, sizeof(float));
    ret->dk = zeros(kv_rows * kv_row, sizeof(float));
    ret->dv = zeros(kv_rows * kv_row, sizeof(float));
    seqsync_step_indices(step, ret->global, NULL, ret->sequence, NULL);
    for (int64_t row = 0; row < ret->rows; row++) {
        fill(batch->seed, STREAM_Q, ret->global[row], (int32_t)q_row, &ret->q[(size_t)row * q_row]);
        fill(batch->seed, STREAM_DO, ret->global[row], (int32_t)q_row,
             &ret->d_o[(size_t)row * q_row]);
    }
}

static void held_free(struct held *held)
{
    free(held->global);
    free(held->sequence);
    free(held->q);
    free(held->o);
    free(held->lse);
    free(held->d_o);
    free(held->delta);
    free(held->dq);
    free(held->dk);
    free(held->dv);
}

static void publish_kv(struct seqsync_step *step, const struct batch *batch, uint32_t exchange)
{
    const struct heads *h = &shapes[exchange];
    const bool context = h->space == SEQSYNC_SPACE_CONTEXT;
    const int32_t kv_row = h->heads_kv * h->head_dim;
    float *k, *v;
    uint32_t count;
    const struct seqsync_chunk *chunks =
        seqsync_step_chunks(step, (enum seqsync_space)h->space, &count);

    fail_status(seqsync_kv_buffer(step, exchange, &k, &v), "kv_buffer");
    for (uint32_t c = 0; c < count; c++) {
        for (int64_t i = 0; i < chunks[c].count; i++) {
            const int64_t row = chunks[c].row + i;
            fill(batch->seed, context ? STREAM_CK : STREAM_K, chunks[c].first + i, kv_row,
                 &k[row * kv_row]);
            fill(batch->seed, context ? STREAM_CV : STREAM_V, chunks[c].first + i, kv_row,
                 &v[row * kv_row]);
        }
    }
    fail_status(seqsync_kv_publish(step, exchange), "kv_publish");
}

static void attend(struct seqsync_step *step, uint32_t exchange, struct held *held)
{
    const struct heads *h = &shapes[exchange];
    const enum seqsync_space space = (enum seqsync_space)h->space;
    const int64_t q_row = h->heads * h->head_dim, kv_row = h->heads_kv * h->head_dim;
    const struct seqsync_attention_shape shape = {
        .size = sizeof(shape), .heads = h->heads, .heads_kv = h->heads_kv, .head_dim = h->head_dim};
    struct seqsync_attention *attention;
    const float *k, *v, *sum_k, *sum_v;
    float *return_k, *return_v;
    uint32_t count;
    const struct seqsync_tile *tiles = seqsync_step_tiles(step, space, &count);

    fail_status(seqsync_attention_new(&shape, &attention), "attention_new");
    seqsync_attention_forward_begin(attention, held->rows, held->o, q_row, held->lse);
    for (uint32_t t = 0; t < count; t++) {
        fail_status(seqsync_kv_wait(step, exchange, tiles[t].source, &k, &v), "kv_wait");
        fail_status(seqsync_attention_forward_tile(
                        attention, &tiles[t], held->q, q_row, k + tiles[t].k_row * kv_row,
                        v + tiles[t].k_row * kv_row, kv_row, held->o, held->lse),
                    "forward_tile");
    }
    seqsync_attention_backward_begin(attention, held->rows, held->o, held->d_o, q_row, held->delta);
    fail_status(seqsync_return_buffer(step, exchange, &return_k, &return_v), "return_buffer");
    for (uint32_t t = 0; t < count; t++) {
        const bool own = tiles[t].return_row < 0;
        fail_status(seqsync_kv_wait(step, exchange, tiles[t].source, &k, &v), "kv_wait");
        fail_status(
            seqsync_attention_backward_tile(
                attention, &tiles[t], held->q, q_row, k + tiles[t].k_row * kv_row,
                v + tiles[t].k_row * kv_row, kv_row, held->d_o, held->lse, held->delta, held->dq,
                own ? held->dk + tiles[t].k_row * kv_row : return_k + tiles[t].return_row * kv_row,
                own ? held->dv + tiles[t].k_row * kv_row : return_v + tiles[t].return_row * kv_row,
                kv_row),
            "backward_tile");
    }
    fail_status(seqsync_return_publish(step, exchange), "return_publish");
    fail_status(seqsync_return_wait(step, exchange, &sum_k, &sum_v), "return_wait");
    for (int64_t i = 0; i < held->kv_rows * kv_row; i++) {
        held->dk[i] += sum_k[i];
        held->dv[i] += sum_v[i];
    }
    seqsync_attention_free(attention);
}

/* ---- comparison ---- */

static double largest(const double *values, int64_t count)
{
    double max = 0;

    for (int64_t i = 0; i < count; i++) {
        max = fmax(max, fabs(values[i]));
    }
    return max;
}

static void compare(const char *what, const struct batch *batch, uint32_t exchange,
                    const float *got, const double *want_all, int64_t all, int64_t terms,
                    int64_t row_size, int64_t rows, const int64_t *global)
{
    const double bound = GRADIENT_BOUND * fmax(largest(want_all, all * row_size), CANCELLED(terms));

    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i < row_size; i++) {
            const double want = want_all[global[row] * row_size + i];
            const double have = (double)got[row * row_size + i];
            if (!(fabs(have - want) <= bound)) {
                fprintf(stderr,
                        "rank %d seed %llu exchange %u: %s of token %lld[%lld] is %.9g, not %.9g "
                        "(bound %.3g)\n",
                        seqsync_session_rank(session), (unsigned long long)batch->seed, exchange,
                        what, (long long)global[row], (long long)i, have, want, bound);
                failures++;
                return;
            }
        }
    }
}

static void check_attention(struct seqsync_step *step, const struct batch *batch, uint32_t exchange,
                            struct held *held)
{
    const struct heads *h = &shapes[exchange];
    const int64_t q_row = h->heads * h->head_dim, kv_row = h->heads_kv * h->head_dim;
    struct reference ref;
    uint32_t count;
    const struct seqsync_chunk *chunks =
        seqsync_step_chunks(step, (enum seqsync_space)h->space, &count);
    int64_t *key = zeros((size_t)held->kv_rows, sizeof(*key));
    const bool replicated =
        h->space == SEQSYNC_SPACE_CONTEXT && batch->batch.context_role == SEQSYNC_REPLICATED;

    for (uint32_t c = 0; c < count; c++) {
        for (int64_t i = 0; i < chunks[c].count; i++) {
            key[chunks[c].row + i] = chunks[c].first + i;
        }
    }
    reference_make(batch, h, &ref);
    compare("output", batch, exchange, held->o, ref.o, ref.tokens, ref.keys, q_row, held->rows,
            held->global);
    compare("dQ", batch, exchange, held->dq, ref.dq, ref.tokens, ref.keys, q_row, held->rows,
            held->global);
    if (!replicated) { /* there each rank's dK/dV is its own queries' share only: a partial tensor
                        */
        compare("dK", batch, exchange, held->dk, ref.dk, ref.keys, ref.tokens, kv_row,
                held->kv_rows, key);
        compare("dV", batch, exchange, held->dv, ref.dv, ref.keys, ref.tokens, kv_row,
                held->kv_rows, key);
    }
    reference_free(&ref);
    free(key);
}

/* A parameter gradient: element e is the mean over unmasked tokens of a value of (token, e). S1,
 * S2: any mask of the loss. */
static bool token_counts(const struct batch *batch, int64_t global)
{
    const uint64_t style = arg_loss_mask >= 0 ? (uint64_t)arg_loss_mask : draw(batch->seed, 5, 4);

    if (style == 0) {
        return false; /* all masked out: zero gradient, not NaN */
    }
    return style == 1 ? global == 0
                      : seqsync_random_u64(batch->seed, STREAM_MASKED, (uint64_t)global) % 3 != 0;
}

static void check_buckets(struct seqsync_step *step, const struct batch *batch,
                          const struct held *held, uint64_t *digest)
{
    const int64_t total = batch->offsets[batch->batch.sequence_count];
    int64_t count = 0, want_count = 0, got_count;
    const float *mean;

    for (int64_t row = 0; row < held->rows; row++) {
        count += token_counts(batch, held->global[row]);
    }
    for (int64_t token = 0; token < total; token++) {
        want_count += token_counts(batch, token);
    }
    for (uint32_t b = 0; b < BUCKETS; b++) {
        float *to = seqsync_gradient_buffer(session, b);
        for (uint64_t e = 0; e < buckets[b].elements; e++) {
            double sum = 0;
            if (buckets[b].role == SEQSYNC_REPLICATED) {
                sum = (double)uniform(batch->seed, 100 + b, e) * (double)want_count;
            }
            for (int64_t row = 0; row < held->rows && buckets[b].role == SEQSYNC_PARTIAL; row++) {
                sum += token_counts(batch, held->global[row])
                           ? (double)uniform(batch->seed, 100 + b,
                                             (uint64_t)held->global[row] * 2048 + e)
                           : 0;
            }
            to[e] = (float)sum;
        }
        fail_status(seqsync_gradient_contribute(
                        step, b, buckets[b].role == SEQSYNC_REPLICATED ? want_count : count),
                    "contribute");
    }
    for (uint32_t b = 0; b < BUCKETS; b++) {
        fail_status(seqsync_gradient_wait(step, b, &mean, &got_count), "gradient_wait");
        *digest ^= seqsync_parameter_digest(&mean, &buckets[b], 1);
        if (got_count != want_count) {
            fprintf(stderr, "rank %d seed %llu: bucket %u counts %lld, not %lld\n",
                    seqsync_session_rank(session), (unsigned long long)batch->seed, b,
                    (long long)got_count, (long long)want_count);
            failures++;
        }
        for (uint64_t e = 0; e < buckets[b].elements; e++) {
            double want = buckets[b].role == SEQSYNC_REPLICATED
                              ? (double)uniform(batch->seed, 100 + b, e)
                              : 0;
            for (int64_t token = 0; token < total && buckets[b].role == SEQSYNC_PARTIAL; token++) {
                want += token_counts(batch, token)
                            ? (double)uniform(batch->seed, 100 + b, (uint64_t)token * 2048 + e) /
                                  (double)want_count
                            : 0;
            }
            want = want_count == 0 ? 0 : want;
            if (!(fabs((double)mean[e] - want) <= GRADIENT_BOUND)) {
                fprintf(stderr, "rank %d seed %llu: bucket %u[%llu] is %.9g, not %.9g\n",
                        seqsync_session_rank(session), (unsigned long long)batch->seed, b,
                        (unsigned long long)e, (double)mean[e], want);
                failures++;
                break;
            }
        }
    }
}

/* The loss as trainers report it: a sum and a count, reduced in double. */
static double check_loss(const struct batch *batch, const struct held *held)
{
    const int64_t total = batch->offsets[batch->batch.sequence_count];
    double sums[2] = {0, 0}, want = 0;

    for (int64_t row = 0; row < held->rows; row++) {
        const double value = (double)uniform(batch->seed, 99, (uint64_t)held->global[row]) + 2.0;
        sums[0] += value;
        sums[1] += 1;
    }
    for (int64_t token = 0; token < total; token++) {
        want += (double)uniform(batch->seed, 99, (uint64_t)token) + 2.0;
    }
    fail_status(seqsync_all_reduce(session, sums, 2, SEQSYNC_F64, SEQSYNC_SUM), "all_reduce");
    want /= (double)total;
    if (!(fabs(sums[0] / sums[1] - want) <= LOSS_BOUND * want)) {
        fprintf(stderr, "rank %d seed %llu: loss is %.12g, not %.12g\n",
                seqsync_session_rank(session), (unsigned long long)batch->seed, sums[0] / sums[1],
                want);
        failures++;
    }
    return sums[0] / sums[1];
}

/* Equal bits on all ranks: the smallest digest is the largest. */
static void check_digest(uint64_t digest, const char *what)
{
    int64_t low = (int64_t)digest, high = (int64_t)digest;

    fail_status(seqsync_all_reduce(session, &low, 1, SEQSYNC_I64, SEQSYNC_MIN), "all_reduce");
    fail_status(seqsync_all_reduce(session, &high, 1, SEQSYNC_I64, SEQSYNC_MAX), "all_reduce");
    if (low != high) {
        fprintf(stderr, "rank %d: %s differs between ranks\n", seqsync_session_rank(session), what);
        failures++;
    }
}

static uint64_t digest_held(const struct held *held, const struct heads *h)
{
    const struct seqsync_bucket_shape shape[4] = {
        {.elements = (uint64_t)(held->rows * h->heads * h->head_dim)},
        {.elements = (uint64_t)(held->rows * h->heads * h->head_dim)},
        {.elements = (uint64_t)(held->kv_rows * h->heads_kv * h->head_dim)},
        {.elements = (uint64_t)(held->kv_rows * h->heads_kv * h->head_dim)},
    };
    const float *const values[4] = {held->o, held->dq, held->dk, held->dv};

    return seqsync_parameter_digest(values, shape, 4);
}

/* One batch: a step. Returns the digest of what this rank holds afterwards, to be compared with a
 * repetition. */
static uint64_t run_step(const struct batch *batch, bool check)
{
    struct seqsync_step *step;
    uint64_t digest = 0, shared = 0;

    fail_status(seqsync_step_begin(session, &batch->batch, &step), "step_begin");
    for (uint32_t e = 0; e < EXCHANGES; e++) {
        struct held held;
        held_new(step, batch, &shapes[e], &held);
        publish_kv(step, batch, e);
        attend(step, e, &held);
        digest = digest * 31 + digest_held(&held, &shapes[e]);
        if (check) {
            check_attention(step, batch, e, &held);
        }
        if (e == 0) {
            check_buckets(step, batch, &held, &shared);
            check_loss(batch, &held);
        }
        held_free(&held);
    }
    check_digest(shared, "an averaged gradient");
    check_digest(seqsync_step_plan_digest(step), "the plan");
    fail_status(seqsync_step_commit(step, NULL, NULL), "commit");
    return digest ^ shared;
}

static void register_all(void)
{
    struct seqsync_exchange_shape exchanges[EXCHANGES];

    for (uint32_t e = 0; e < EXCHANGES; e++) {
        exchanges[e] = (struct seqsync_exchange_shape){.space = shapes[e].space,
                                                       .heads_kv = shapes[e].heads_kv,
                                                       .head_dim = shapes[e].head_dim};
    }
    fail_status(seqsync_session_register(session, exchanges, EXCHANGES, buckets, BUCKETS),
                "register");
}

static void check_parameters(void)
{
    float first[1], second[1003], third[77];
    float *const values[BUCKETS] = {first, second, third};
    const int32_t rank = seqsync_session_rank(session),
                  root = seqsync_session_world_size(session) - 1;

    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t b = 0; b < BUCKETS; b++) {
            for (uint64_t e = 0; e < buckets[b].elements; e++) {
                values[b][e] = rank == root ? uniform(round, 200 + b, e) : NAN;
            }
        }
        if (rank == root) {
            fail_status(seqsync_parameter_publish(session, (const float *const *)values),
                        "parameter_publish");
        } else {
            fail_status(seqsync_parameter_pull(session, root, values), "parameter_pull");
        }
        for (uint32_t b = 0; b < BUCKETS; b++) {
            for (uint64_t e = 0; e < buckets[b].elements; e++) {
                if (values[b][e] != uniform(round, 200 + b, e)) {
                    fprintf(stderr, "rank %d: parameter %u[%llu] differs\n", rank, b,
                            (unsigned long long)e);
                    failures++;
                    return;
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: numerics_worker FIRST_SEED COUNT TOKENS_MAX [none|one]\n");
        return 64;
    }
    if (argc == 5) {
        arg_loss_mask = strcmp(argv[4], "one") == 0 ? 1 : 0;
    }
    const uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
    const int64_t tokens_max = strtoll(argv[3], NULL, 10);
    const int r = seqsync_session_open(NULL, &session);

    if (r != 0) {
        fprintf(stderr, "session: %s: %s\n", seqsync_status_name(r),
                seqsync_session_error(session));
        return 1;
    }
    seqsync_attention_init();
    register_all();
    check_parameters();
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct batch batch;
        batch_draw(seed, tokens_max, &batch);
        const uint64_t digest = run_step(&batch, true);
        if (seed % 4 == 0 && run_step(&batch, false) != digest) {
            fprintf(stderr, "rank %d seed %llu: a repeated step has other bits\n",
                    seqsync_session_rank(session), (unsigned long long)seed);
            failures++;
        }
    }
    fail_status(seqsync_barrier(session), "barrier");
    if (seqsync_session_rank(session) == 0) {
        printf("numerics: %llu batches, %d failures\n", (unsigned long long)count, failures);
    }
    session = seqsync_session_close(session);
    return failures == 0 ? 0 : 1;
}
