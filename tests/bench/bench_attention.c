/*
 * Attention against the matrix product it is made of: each round times sgemm of 2048 x 2048 x 2048
 * and then every case once; a case's fraction is its rate by the rate of sgemm in the same round.
 * One OpenBLAS thread throughout.
 *
 * Counted are 4 S^2 d flops per head forward and 10 S^2 d backward (the softmax is not counted),
 * half of that for a causal mask. Rows are spaced as in a model of 8 heads, of which HEADS are
 * computed.
 */
#include <cblas.h>
#include <math.h>
#include <seqsync/attention.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bench.h"

#define SGEMM_SIDE 2048
#define ROW_HEADS 8
#define ROUNDS_MAX 16

struct setting {
    bool json;
    int64_t tokens;
    int32_t heads;
    size_t rounds;
};

struct timed_case {
    const char *name;
    int32_t head_dim;
    bool backward;
    bool causal;
    double target; /* fraction of sgemm, 0 = none */
    double gflops[ROUNDS_MAX];
    double fraction[ROUNDS_MAX];
};

struct tensors {
    float *q, *k, *v, *o, *d_o, *dq, *dk, *dv, *lse, *delta;
};

static struct timed_case cases[] = {
    {.name = "forward_d64", .head_dim = 64, .target = 0.72},
    {.name = "backward_d64", .head_dim = 64, .backward = true, .target = 0.60},
    {.name = "forward_d128", .head_dim = 128, .target = 0.72},
    {.name = "backward_d128", .head_dim = 128, .backward = true, .target = 0.60},
    {.name = "forward_d64_causal", .head_dim = 64, .causal = true},
    {.name = "backward_d64_causal", .head_dim = 64, .backward = true, .causal = true},
    {.name = "forward_d128_causal", .head_dim = 128, .causal = true},
    {.name = "backward_d128_causal", .head_dim = 128, .backward = true, .causal = true},
};
#define CASES_N (sizeof(cases) / sizeof(cases[0]))

/* Uniform in -1 .. 1, the same in every run. */
static float *make_values(size_t n)
{
    static uint32_t state = 1;
    float *values = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);

    if (!values) {
        (void)fprintf(stderr, "bench_attention: out of memory\n");
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return values;
}

static double time_sgemm(const float *a, const float *b, float *c)
{
    double start = bench_seconds();

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SGEMM_SIDE, SGEMM_SIDE, SGEMM_SIDE, 1.0f,
                a, SGEMM_SIDE, b, SGEMM_SIDE, 0.0f, c, SGEMM_SIDE);
    return 2e-9 * SGEMM_SIDE * SGEMM_SIDE * SGEMM_SIDE / (bench_seconds() - start);
}

static double time_case(const struct timed_case *timed, const struct setting *setting,
                        const struct tensors *t)
{
    struct seqsync_attention_shape shape = {.size = sizeof(shape),
                                            .heads = setting->heads,
                                            .heads_kv = setting->heads,
                                            .head_dim = timed->head_dim};
    struct seqsync_tile tile = {
        .q_count = setting->tokens,
        .k_count = setting->tokens,
        .band_low = SEQSYNC_BAND_NONE_LOW,
        .band_high = timed->causal ? 0 : SEQSYNC_BAND_NONE_HIGH,
    };
    int64_t stride = (int64_t)ROW_HEADS * timed->head_dim;
    struct seqsync_attention *attention;
    double start;
    double seconds;

    if (seqsync_attention_new(&shape, &attention)) {
        (void)fprintf(stderr, "bench_attention: no scratch\n");
        exit(EXIT_FAILURE);
    }
    seqsync_attention_forward_begin(attention, setting->tokens, t->o, stride, t->lse);
    start = bench_seconds();
    (void)seqsync_attention_forward_tile(attention, &tile, t->q, stride, t->k, t->v, stride, t->o,
                                         t->lse);
    seconds = bench_seconds() - start;
    if (timed->backward) {
        start = bench_seconds();
        seqsync_attention_backward_begin(attention, setting->tokens, t->o, t->d_o, stride,
                                         t->delta);
        (void)seqsync_attention_backward_tile(attention, &tile, t->q, stride, t->k, t->v, stride,
                                              t->d_o, t->lse, t->delta, t->dq, t->dk, t->dv,
                                              stride);
        seconds = bench_seconds() - start;
    }
    seqsync_attention_free(attention);
    return (timed->backward ? 10e-9 : 4e-9) * (timed->causal ? 0.5 : 1) * (double)setting->tokens *
           (double)setting->tokens * timed->head_dim * setting->heads / seconds;
}

static void run(const struct setting *setting, struct bench_report *report)
{
    size_t side = (size_t)SGEMM_SIDE * SGEMM_SIDE;
    size_t rows = (size_t)setting->tokens * ROW_HEADS * 128;
    size_t stats = (size_t)setting->tokens * (size_t)setting->heads;
    float *a = make_values(side);
    float *b = make_values(side);
    float *c = make_values(side);
    struct tensors t = {
        .q = make_values(rows),
        .k = make_values(rows),
        .v = make_values(rows),
        .o = make_values(rows),
        .d_o = make_values(rows),
        .dq = make_values(rows),
        .dk = make_values(rows),
        .dv = make_values(rows),
        .lse = make_values(stats),
        .delta = make_values(stats),
    };
    double sgemm[ROUNDS_MAX];

    (void)time_sgemm(a, b, c); /* OpenBLAS maps its buffer on the first call */
    for (size_t round = 0; round < setting->rounds; round++) {
        sgemm[round] = time_sgemm(a, b, c);
        for (size_t i = 0; i < CASES_N; i++) {
            cases[i].gflops[round] = time_case(&cases[i], setting, &t);
            cases[i].fraction[round] = cases[i].gflops[round] / sgemm[round];
        }
    }
    bench_report_add(report, "sgemm_2048", "GFLOP/s", sgemm, setting->rounds, BENCH_NO_TARGET, 0);
    for (size_t i = 0; i < CASES_N; i++) {
        char name[64];

        bench_report_add(report, cases[i].name, "GFLOP/s", cases[i].gflops, setting->rounds,
                         BENCH_NO_TARGET, 0);
        (void)snprintf(name, sizeof(name), "%s_of_sgemm", cases[i].name);
        bench_report_add(report, name, "fraction", cases[i].fraction, setting->rounds,
                         cases[i].target > 0 ? BENCH_AT_LEAST : BENCH_NO_TARGET, cases[i].target);
    }
    float *all[] = {a, b, c, t.q, t.k, t.v, t.o, t.d_o, t.dq, t.dk, t.dv, t.lse, t.delta};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
}

static int parse_argv(int argc, char **argv, struct setting *ret)
{
    *ret = (struct setting){.tokens = 8192, .heads = 2, .rounds = 5};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            ret->json = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            ret->tokens = 2048;
            ret->heads = 1;
        } else {
            (void)fprintf(stderr, "usage: bench_attention [--json] [--quick]\n");
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct setting setting;
    struct bench_report *report;
    char tokens[32];
    bool ok;

    if (parse_argv(argc, argv, &setting) < 0) {
        return 2;
    }
    seqsync_attention_init();
    report = bench_report_new();
    (void)snprintf(tokens, sizeof(tokens), "%lld", (long long)setting.tokens);
    bench_report_machine(report, "openblas", openblas_get_config());
    bench_report_machine(report, "kernels", seqsync_attention_kernels());
    bench_report_machine(report, "tokens", tokens);
    run(&setting, report);
    ok = bench_report_print(report, setting.json);
    bench_report_free(report);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
