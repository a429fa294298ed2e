/*
 * One worker against two on one node, training the quickstart's model with real daemons: how much
 * faster two are, how long they wait, and how much memory each needs.
 *
 * Each round trains with one worker, then with two; the speed-up is the ratio within a round, so
 * that a slow minute of the machine falls on both. A run's rate is that of its steps from the
 * second on: the first one touches all memory for the first time. Waiting is counted from the first
 * step on. One OpenBLAS thread a worker, full attention.
 *
 * Memory of a worker "beyond the parameters" is
 *     its largest private resident memory  (heap, stack, OpenBLAS's buffers)
 *   + all shared memory lent to it         (own arena, its gradients, and the node's inbox and
 *                                           results in full, though the node's workers share them)
 *   - 5 x 4 bytes a parameter              (values, gradient, both Adam moments, averaged gradient:
 *                                           every rank needs these, however many there are).
 * The arenas of others, which it only reads, are counted with their owners. Nothing else is taken
 * off, activations and a process's fixed needs least of all. The largest rank counts.
 *
 * On a busy machine the speed-up says little: Linux shares processors out by session (autogroups),
 * so that two workers then get no more of them than one. So the report says how busy others were.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/bench.h"
#include "tests/support/cluster.h"

#define ROUNDS_MAX 8
#define LONG_ROW "memory_one_worker_32768_tokens_bytes"
#define RUN_TIMEOUT_MS 1800000
#define STEP_TIMEOUT "30min" /* the long step takes minutes, more on a busy machine */
#define COPIES_OF_PARAMETERS 5
#define STEPS_OF_MEMORY                                                                            \
    "2" /* the first update touches the moments, the second step counts them                       \
         */

/* What is trained: frames / 2 x (side / 8)^2 tokens. */
struct scene {
    const char *size;
    const char *frames;
};

struct setting {
    bool json;
    bool quick;
    size_t rounds;
    const char *steps;
    struct scene scene;
};

/* What one training came to. Seconds are those of a step. */
struct outcome {
    int64_t tokens;
    double tokens_per_second;
    double wait_fraction;
    double step_seconds;
    double wait_seconds; /* mean of the ranks, as the next one */
    double cpu_seconds;
    double resident_bytes; /* of the largest rank */
    double beyond_parameters_bytes;
};

struct samples {
    double speedup[ROUNDS_MAX];
    double wait_fraction[ROUNDS_MAX];
    double rate[2][ROUNDS_MAX];
    struct outcome last[2];
    double memory[2][ROUNDS_MAX];
};

static const struct scene scene_long = {.size = "512x512", .frames = "16"}; /* 32768 tokens */

_Noreturn static void die(const char *what)
{
    (void)fprintf(stderr, "bench_sequence_parallel: %s\n", what);
    exit(EXIT_FAILURE);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_number(value)) {
        (void)fprintf(stderr, "bench_sequence_parallel: the summary has no %s\n", key);
        exit(EXIT_FAILURE);
    }
    return json_number_value(value);
}

/* Mean seconds of the steps from the second on; of the only one if there is one. */
static double step_seconds(const json_t *summary)
{
    const json_t *all = json_object_get(summary, "step_seconds");
    size_t count = json_array_size(all);
    size_t first = count > 1 ? 1 : 0;
    double sum = 0;

    for (size_t i = first; i < count; i++) {
        sum += json_number_value(json_array_get(all, i));
    }
    if (!(sum > 0)) {
        die("the summary has no step_seconds");
    }
    return sum / (double)(count - first);
}

static struct outcome outcome_read(const char *path)
{
    json_t *summary = json_load_file(path, 0, NULL);
    const json_t *ranks = json_object_get(summary, "ranks");
    struct outcome outcome = {0};
    double steps;
    const json_t *rank;
    size_t i;

    if (!summary || json_array_size(ranks) == 0) {
        die("the trainer wrote no summary");
    }
    steps = number(summary, "steps");
    outcome.tokens = (int64_t)number(summary, "tokens");
    outcome.step_seconds = step_seconds(summary);
    outcome.tokens_per_second = (double)outcome.tokens / outcome.step_seconds;
    outcome.wait_fraction = number(summary, "exposed_wait_fraction");
    json_array_foreach(ranks, i, rank)
    {
        double share = 1 / (steps * (double)json_array_size(ranks));
        double beyond = number(rank, "private_bytes_peak") + number(rank, "shared_bytes") -
                        COPIES_OF_PARAMETERS * sizeof(float) * number(summary, "parameters");
        double resident = number(rank, "resident_bytes_peak") + number(rank, "shared_bytes");

        outcome.wait_seconds +=
            share * number(rank, "wait_fraction") * number(rank, "train_seconds");
        outcome.cpu_seconds += share * number(rank, "cpu_seconds");
        if (beyond > outcome.beyond_parameters_bytes) {
            outcome.beyond_parameters_bytes = beyond;
        }
        if (resident > outcome.resident_bytes) {
            outcome.resident_bytes = resident;
        }
    }
    json_decref(summary);
    return outcome;
}

/* Trains @steps steps with @workers workers on one node, and tells on standard error how fast. */
static struct outcome train(const struct scene *scene, const char *workers, const char *steps)
{
    static const char *const environment[] = {"OPENBLAS_NUM_THREADS=1", NULL};
    char seqctl[TMP_PATH_MAX];
    char trainer[TMP_PATH_MAX];
    char summary[TMP_PATH_MAX];
    struct tmp tmp;
    struct proc *proc;
    struct outcome outcome;
    int status = -1;

    tmp_make(&tmp);
    const char *const argv[] = {cluster_program("seqctl", seqctl),
                                "run",
                                "--nodes",
                                "1",
                                "--workers",
                                workers,
                                "--step-timeout",
                                STEP_TIMEOUT,
                                "--",
                                cluster_program("seqsync-trainer", trainer),
                                "--synthetic",
                                "--no-evaluation",
                                "--quiet",
                                "--size",
                                scene->size,
                                "--frames",
                                scene->frames,
                                "--steps",
                                steps,
                                "--out",
                                tmp.path,
                                NULL};
    proc = proc_start(&(struct proc_options){
        .argv = argv, .environment = environment, .name = "seqctl run", .same_stderr = true});
    if (!proc_wait_exit(proc, RUN_TIMEOUT_MS, &status) || status != 0) {
        (void)fprintf(stderr, "%s\nseqctl run ended with %d\n", proc_out(proc), status);
        proc_free(proc);
        tmp_remove(&tmp);
        die("a training failed");
    }
    proc_free(proc);
    outcome = outcome_read(tmp_file(&tmp, summary, "summary.json"));
    tmp_remove(&tmp);
    (void)fprintf(stderr, "%s worker%s, %lld tokens: %.0f tokens/s, %.1f %% waiting, %.0f MB\n",
                  workers, workers[1] == '\0' && *workers == '1' ? "" : "s",
                  (long long)outcome.tokens, outcome.tokens_per_second, 100 * outcome.wait_fraction,
                  1e-6 * outcome.beyond_parameters_bytes);
    return outcome;
}

static void compare(const struct setting *setting, struct samples *samples)
{
    static const char *const workers[2] = {"1", "2"};

    for (size_t round = 0; round < setting->rounds; round++) {
        for (size_t i = 0; i < 2; i++) {
            struct outcome *outcome = &samples->last[i];

            *outcome = train(&setting->scene, workers[i], setting->steps);
            samples->rate[i][round] = outcome->tokens_per_second;
            samples->memory[i][round] = outcome->beyond_parameters_bytes;
        }
        samples->speedup[round] = samples->rate[1][round] / samples->rate[0][round];
        samples->wait_fraction[round] = samples->last[1].wait_fraction;
    }
}

/* Seconds that all processors together have been at work since the machine started. */
static double busy_seconds(void)
{
    double ticks[8] = {0}; /* user, nice, system, idle, iowait, irq, softirq, steal */
    FILE *file = fopen("/proc/stat", "re");

    if (file) {
        if (fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &ticks[0], &ticks[1], &ticks[2],
                   &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) != 8) {
            memset(ticks, 0, sizeof(ticks));
        }
        (void)fclose(file);
    }
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) /
           (double)sysconf(_SC_CLK_TCK);
}

/* Seconds that our trainings and daemons have been at work; they have ended and been waited for. */
static double own_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* The targets are stated for 8192 tokens, so the quick setting has none. */
static enum bench_target target_if_whole(const struct setting *setting, enum bench_target target)
{
    return setting->quick ? BENCH_NO_TARGET : target;
}

static void measure(const struct setting *setting, struct bench_report *report,
                    struct samples *samples, double *ret_others)
{
    double begun = bench_seconds();
    double busy = busy_seconds();
    double own = own_seconds();
    size_t n = setting->rounds;
    double memory_one;
    double memory_two;
    double memory_four;

    compare(setting, samples);
    *ret_others = (busy_seconds() - busy - (own_seconds() - own)) /
                  ((bench_seconds() - begun) * (double)sysconf(_SC_NPROCESSORS_ONLN));
    memory_one = bench_median(samples->memory[0], n);
    memory_two = bench_median(samples->memory[1], n) / memory_one;
    memory_four = train(&setting->scene, "4", STEPS_OF_MEMORY).beyond_parameters_bytes / memory_one;

    bench_report_add(report, "speedup_2_workers", "x", samples->speedup, n,
                     target_if_whole(setting, BENCH_AT_LEAST), 1.8);
    bench_report_add(report, "exposed_wait_fraction_2_workers", "fraction", samples->wait_fraction,
                     n, target_if_whole(setting, BENCH_AT_MOST), 0.08);
    bench_report_add(report, "tokens_per_second_1_worker", "tokens/s", samples->rate[0], n,
                     BENCH_NO_TARGET, 0);
    bench_report_add(report, "tokens_per_second_2_workers", "tokens/s", samples->rate[1], n,
                     BENCH_NO_TARGET, 0);
    bench_report_add(report, "memory_beyond_parameters_1_worker", "bytes", samples->memory[0], n,
                     BENCH_NO_TARGET, 0);
    bench_report_add(report, "memory_ratio_2_workers", "fraction", &memory_two, 1, BENCH_NO_TARGET,
                     0);
    bench_report_add(report, "memory_ratio_4_workers", "fraction", &memory_four, 1,
                     target_if_whole(setting, BENCH_AT_MOST), 0.40);
    bench_report_add(report, "busy_with_others_fraction", "fraction", ret_others, 1,
                     BENCH_NO_TARGET, 0);
}

/* Peak resident memory and lent memory added up: what is resident of the latter counts twice. */
static void measure_long(const struct setting *setting, struct bench_report *report)
{
    double bytes;

    if (setting->quick) {
        bench_report_machine(report, "left_out",
                             "memory_one_worker_32768_tokens_bytes: its step "
                             "takes minutes, and --quick was given");
        return;
    }
    bytes = train(&scene_long, "1", "1").resident_bytes;
    bench_report_add(report, LONG_ROW, "bytes", &bytes, 1, BENCH_AT_MOST, 4.0 * 1024 * 1024 * 1024);
}

/* Where the time of two workers goes that one does not need. To standard error: JSON stays pure. */
static void explain(const struct samples *samples, double others)
{
    const struct outcome *one = &samples->last[0];
    const struct outcome *two = &samples->last[1];

    (void)fprintf(stderr,
                  "\nthe last round's steps, in seconds a worker:\n"
                  "              step  computing    waiting  neither (others had the processor)\n");
    for (size_t i = 0; i < 2; i++) {
        const struct outcome *o = &samples->last[i];
        double neither = o->step_seconds - o->cpu_seconds - o->wait_seconds;

        (void)fprintf(stderr, "%zu worker%s %8.2f %10.2f %10.2f %8.2f\n", i + 1, i ? "s" : " ",
                      o->step_seconds, o->cpu_seconds, o->wait_seconds, neither > 0 ? neither : 0);
    }
    (void)fprintf(stderr,
                  "two workers compute %.1f %% more a token than one; programs that are not ours "
                  "kept %.0f %% of the processors busy\n",
                  100 * (2 * two->cpu_seconds / one->cpu_seconds - 1), 100 * others);
}

static int parse_argv(int argc, char **argv, struct setting *ret)
{
    *ret = (struct setting){.rounds = 3, .steps = "3", .scene = {"256x256", "16"}};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            ret->json = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            ret->quick = true;
            ret->rounds = 1;
            ret->scene = (struct scene){"256x256", "4"};
        } else {
            (void)fprintf(stderr, "usage: bench_sequence_parallel [--json] [--quick]\n");
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct setting setting;
    struct samples samples = {0};
    struct bench_report *report;
    char tokens[32];
    double others;
    bool ok;

    if (parse_argv(argc, argv, &setting) < 0) {
        return 2;
    }
    report = bench_report_new();
    measure(&setting, report, &samples, &others);
    (void)snprintf(tokens, sizeof(tokens), "%lld", (long long)samples.last[0].tokens);
    bench_report_machine(report, "tokens", tokens);
    measure_long(&setting, report);
    ok = bench_report_print(report, setting.json);
    if (!ok) {
        explain(&samples, others);
    }
    bench_report_free(report);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
