/*
 * How long it takes to plan a step, and to check the plan, for the shapes that clusters have:
 * planning happens once a step, before any rank can start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/plan/plan.h"
#include "tests/support/bench.h"

#define ROUNDS 15

struct shape {
    const char *name;
    uint32_t ranks;
    uint32_t nodes;
    uint32_t sequences;
    int64_t tokens; /* of each sequence, plus its number */
    int64_t window; /* of a window mask */
    uint32_t mask;
    uint32_t placement;
    double target_ms; /* of planning, 0 = none */
};

static const struct shape shapes[] = {
    {"video_8", 8, 2, 1, 56700, 0, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_AUTO, 10},
    {"causal_64_chunks_1024", 64, 8, 8, 16000, 0, SEQSYNC_MASK_CAUSAL, SEQSYNC_PLACE_AUTO, 10},
    {"full_64_chunks_1024", 64, 8, 8, 16000, 0, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_ZIGZAG, 0},
    {"window_64_chunks_1024", 64, 8, 8, 16000, 512, SEQSYNC_MASK_WINDOW, SEQSYNC_PLACE_AUTO, 10},
    {"packed_64_documents_1024", 64, 8, 1024, 900, 0, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_AUTO, 10},
    {"short_zigzag_64_documents_1024", 64, 8, 1024, 5, 0, SEQSYNC_MASK_CAUSAL, SEQSYNC_PLACE_AUTO,
     0},
    {"causal_1024", 1024, 16, 1, 1 << 20, 0, SEQSYNC_MASK_CAUSAL, SEQSYNC_PLACE_AUTO, 0},
};
#define SHAPES_N (sizeof(shapes) / sizeof(shapes[0]))

struct timed {
    double plan_ms[ROUNDS];
    double validate_ms[ROUNDS];
};

static struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
static uint32_t rank_nodes[SEQSYNC_RANKS_MAX];
static struct timed timings[SHAPES_N];

static void time_shape(const struct shape *shape, size_t round, struct timed *timed)
{
    struct seqsync_batch batch = {.size = sizeof(batch),
                                  .sequences = sequences,
                                  .sequence_count = shape->sequences,
                                  .placement = shape->placement,
                                  .context_role = SEQSYNC_SHARDED};
    const struct plan_input input = {.batch = &batch,
                                     .rank_nodes = rank_nodes,
                                     .rank_count = shape->ranks,
                                     .node_count = shape->nodes};
    struct plan *plan;

    for (uint32_t s = 0; s < shape->sequences; s++) {
        sequences[s] = (struct seqsync_sequence){
            .tokens = shape->tokens + s % 7, .mask = shape->mask, .window_left = shape->window};
    }
    for (uint32_t r = 0; r < shape->ranks; r++) {
        rank_nodes[r] = r * shape->nodes / shape->ranks;
    }
    const char *why = plan_input_check(&input);
    double start = bench_seconds();
    if (why || plan_new(&input, 1, &plan) < 0) {
        (void)fprintf(stderr, "bench_plan: %s: %s\n", shape->name, why ? why : "out of memory");
        exit(EXIT_FAILURE);
    }
    timed->plan_ms[round] = 1e3 * (bench_seconds() - start);
    start = bench_seconds();
    why = plan_validate(plan, &input);
    timed->validate_ms[round] = 1e3 * (bench_seconds() - start);
    if (why) {
        (void)fprintf(stderr, "bench_plan: %s: %s\n", shape->name, why);
        exit(EXIT_FAILURE);
    }
    plan_free(plan);
}

int main(int argc, char **argv)
{
    const bool is_json = argc == 2 && strcmp(argv[1], "--json") == 0;
    char name[96];

    if (argc > 1 && !is_json) {
        (void)fprintf(stderr, "usage: bench_plan [--json]\n");
        return 2;
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < SHAPES_N; i++) {
            time_shape(&shapes[i], round, &timings[i]);
        }
    }
    struct bench_report *report = bench_report_new();
    for (size_t i = 0; i < SHAPES_N; i++) {
        (void)snprintf(name, sizeof(name), "plan_%s", shapes[i].name);
        bench_report_add(report, name, "ms", timings[i].plan_ms, ROUNDS,
                         shapes[i].target_ms > 0 ? BENCH_AT_MOST : BENCH_NO_TARGET,
                         shapes[i].target_ms);
        (void)snprintf(name, sizeof(name), "validate_%s", shapes[i].name);
        bench_report_add(report, name, "ms", timings[i].validate_ms, ROUNDS, BENCH_NO_TARGET, 0);
    }
    const bool is_met = bench_report_print(report, is_json);
    bench_report_free(report);
    return is_met ? EXIT_SUCCESS : EXIT_FAILURE;
}
