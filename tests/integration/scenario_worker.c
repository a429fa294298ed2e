/*
 * A worker that trains nothing but goes through all motions of a step, and on one rank, at one
 * step, does something wrong.
 *
 * usage: scenario_worker STEPS [FAULT RANK STEP]
 *
 * FAULT: exit, kill, stop (SIGSTOP itself), leave, batch (describes another one), schema, nan,
 * duplicate, missing, tokens, area, parameters (attests others), scribble (lies in its own shared
 * memory), garbage (raw bytes on the session's socket are another program's business), idle (never
 * contributes).
 *
 * Prints, for each committed step, "rank R step S" on stdout. An error is printed as "rank R failed
 * CODE: TEXT" and the exit status is 3. The rank at fault exits with 0 after leave, and says "rank
 * R did FAULT" before it does it.
 */
#include <math.h>
#include <seqsync/collective.h>
#include <seqsync/exchange.h>
#include <seqsync/gradient.h>
#include <seqsync/plan.h>
#include <seqsync/session.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKENS 97
#define HEADS 2
#define HEAD_DIM 8
#define ROW (HEADS * HEAD_DIM)
#define EXCHANGES 3
#define ELEMENTS 300000 /* slices of several full frames, with two nodes and with three */

static struct seqsync_session *session;
static const char *arg_fault = "";
static int arg_fault_rank = -1;
static long arg_fault_step = -1;
static uint64_t step_number;

static bool faulty(const char *fault)
{
    const bool now = strcmp(arg_fault, fault) == 0 &&
                     seqsync_session_rank(session) == arg_fault_rank &&
                     (long)step_number == arg_fault_step;
    if (now) {
        printf("rank %d did %s\n", arg_fault_rank, fault);
        fflush(stdout);
    }
    return now;
}

static void check(int r)
{
    if (r != 0) {
        printf("rank %d failed %s: %s\n", seqsync_session_rank(session), seqsync_status_name(r),
               seqsync_session_error(session));
        fflush(stdout);
        seqsync_session_close(session);
        exit(3);
    }
}

static void register_all(void)
{
    struct seqsync_exchange_shape exchanges[EXCHANGES];
    struct seqsync_bucket_shape bucket = {.elements = ELEMENTS, .role = SEQSYNC_PARTIAL};

    for (int e = 0; e < EXCHANGES; e++) {
        exchanges[e] = (struct seqsync_exchange_shape){
            .space = SEQSYNC_SPACE_TOKENS, .heads_kv = HEADS, .head_dim = HEAD_DIM};
    }
    if (faulty("schema")) {
        bucket.elements++;
    }
    check(seqsync_session_register(session, exchanges, EXCHANGES, &bucket, 1));
}

static void die_if_asked(void)
{
    if (faulty("exit")) {
        _exit(7);
    }
    if (faulty("kill")) {
        kill(getpid(), SIGKILL);
    }
    if (faulty("stop")) {
        kill(getpid(), SIGSTOP);
    }
    if (faulty("leave")) {
        seqsync_session_close(session);
        exit(0);
    }
}

static void exchange_kv(struct seqsync_step *step, uint32_t exchange)
{
    const int64_t rows = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS);
    float *k, *v, *dk, *dv;
    const float *from_k, *from_v, *sum_k, *sum_v;
    uint32_t sources;

    check(seqsync_kv_buffer(step, exchange, &k, &v));
    for (int64_t i = 0; i < rows * ROW; i++) {
        k[i] = 1;
        v[i] = 2;
    }
    check(seqsync_kv_publish(step, exchange));
    if (exchange == 1) {
        die_if_asked();
    }
    if (faulty("scribble")) {
        /* Everything it may write to: its arena from the first K plane on. The daemon must not
         * care. */
        memset(k, 0xA5, (size_t)rows * ROW * sizeof(float));
        memset(v, 0xFF, (size_t)rows * ROW * sizeof(float));
    }
    (void)seqsync_step_sources(step, SEQSYNC_SPACE_TOKENS, &sources);
    for (uint32_t source = 0; source < sources; source++) {
        check(seqsync_kv_wait(step, exchange, source, &from_k, &from_v));
    }
    check(seqsync_return_buffer(step, exchange, &dk, &dv));
    for (int64_t i = 0; i < seqsync_step_return_rows(step, SEQSYNC_SPACE_TOKENS) * ROW; i++) {
        dk[i] = 1;
        dv[i] = 2;
    }
    check(seqsync_return_publish(step, exchange));
    check(seqsync_return_wait(step, exchange, &sum_k, &sum_v));
    for (int64_t i = 0; i < rows * ROW; i++) {
        const float others = (float)(seqsync_session_world_size(session) - 1);
        if (sum_k[i] != others || sum_v[i] != 2 * others) {
            printf("rank %d: a wrong sum of returns: %g\n", seqsync_session_rank(session),
                   (double)sum_k[i]);
            exit(4);
        }
    }
}

static void aggregate(struct seqsync_step *step)
{
    const int64_t rows = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS);
    float *gradient = seqsync_gradient_buffer(session, 0);
    const float *mean;
    int64_t count;

    for (int i = 0; i < ELEMENTS; i++) {
        gradient[i] = (float)(rows * (i % 7));
    }
    if (faulty("nan")) {
        gradient[4321] = NAN;
    }
    if (faulty("missing")) {
        return;
    }
    if (faulty("idle")) {
        for (;;) {
            pause();
        }
    }
    check(seqsync_gradient_contribute(step, 0, rows));
    if (faulty("duplicate")) {
        check(seqsync_gradient_contribute(step, 0, rows));
    }
    check(seqsync_gradient_wait(step, 0, &mean, &count));
    for (int i = 0; i < ELEMENTS; i++) {
        if (mean[i] != (float)(i % 7) || count != TOKENS) {
            printf("rank %d: a wrong mean: %g of %lld\n", seqsync_session_rank(session),
                   (double)mean[i], (long long)count);
            exit(4);
        }
    }
}

static void run_step(void)
{
    struct seqsync_sequence sequence = {
        .tokens = TOKENS, .mask = SEQSYNC_MASK_FULL, .sample_id = step_number};
    const struct seqsync_batch batch = {.size = sizeof(batch),
                                        .sequences = &sequence,
                                        .sequence_count = 1,
                                        .context_role = SEQSYNC_SHARDED,
                                        .seed = step_number};
    struct seqsync_attestation attestation = {
        .size = sizeof(attestation), .area = -1, .loss = 1.0 / (double)step_number};
    struct seqsync_step *step;
    double sum = 1;

    if (faulty("batch")) {
        sequence.sample_id += 1000;
    }
    check(seqsync_step_begin(session, &batch, &step));
    for (uint32_t e = 0; e < EXCHANGES; e++) {
        exchange_kv(step, e);
    }
    aggregate(step);
    check(seqsync_all_reduce(session, &sum, 1, SEQSYNC_F64, SEQSYNC_SUM));
    attestation.tokens = seqsync_step_rows(step, SEQSYNC_SPACE_TOKENS) + (faulty("tokens") ? 1 : 0);
    attestation.area = seqsync_step_area(step, SEQSYNC_SPACE_TOKENS) + (faulty("area") ? 1 : 0);
    attestation.parameter_digest = faulty("parameters") ? 18 : 17;
    check(seqsync_step_commit(step, &attestation, NULL));
    printf("rank %d step %llu\n", seqsync_session_rank(session), (unsigned long long)step_number);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 5) {
        fprintf(stderr, "usage: scenario_worker STEPS [FAULT RANK STEP]\n");
        return 64;
    }
    const uint64_t steps = strtoull(argv[1], NULL, 10);
    if (argc == 5) {
        arg_fault = argv[2];
        arg_fault_rank = atoi(argv[3]);
        arg_fault_step = atol(argv[4]);
    }
    check(seqsync_session_open(NULL, &session));
    register_all();
    for (step_number = 1; step_number <= steps; step_number++) {
        run_step();
    }
    check(seqsync_barrier(session));
    session = seqsync_session_close(session);
    return 0;
}
