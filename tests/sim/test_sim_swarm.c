/*
 * Random jobs on random clusters with random losses and faults. Whatever happens: every job ends,
 * on all survivors, either with all steps done and right sums, or with a named failure, within the
 * deadlines; and afterwards the cluster takes the next job.
 *
 *     test_sim_swarm                  the seeds of every run
 *     test_sim_swarm FIRST [COUNT]    others; a failure prints its seed
 */
#include "tests/support/sim.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SEED_COUNT 3000

static uint64_t seed_first = 1;
static uint64_t seed_count = SEED_COUNT;
static char seed_text[64];

static void on_abort(int signal_number)
{
    (void)signal_number;
    /* An assertion of the engine: the seed must not be lost with it. */
    if (write(STDERR_FILENO, seed_text, strlen(seed_text)) < 0) {
        _exit(2);
    }
    signal(SIGABRT, SIG_DFL);
    abort();
}

struct chance {
    uint64_t state;
};

static uint32_t draw(struct chance *chance, uint32_t below)
{
    chance->state = chance->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((chance->state >> 33) % below);
}

struct scenario {
    uint32_t nodes;
    struct sim_script script;
    bool disturbed; /* the job need not succeed */
};

static void draw_script(struct chance *chance, struct scenario *ret)
{
    struct sim_script *script = &ret->script;

    *script = (struct sim_script){.job = "job",
                                  .world_size = 1 + draw(chance, 9),
                                  .nonfinite = draw(chance, 3),
                                  .steps = 1 + draw(chance, 4),
                                  .exchange_count = draw(chance, SIM_EXCHANGES_MAX + 1),
                                  .bucket_count = draw(chance, SIM_BUCKETS_MAX + 1),
                                  .think_us = 1 + draw(chance, 3000),
                                  .parameters = draw(chance, 2) == 0,
                                  .collectives = draw(chance, 2) == 0,
                                  .idle_odd = draw(chance, 3) == 0,
                                  .impatient = draw(chance, 2) == 0};
    for (uint32_t rank = 0; rank < script->world_size; rank++) {
        script->nodes[rank] = (uint16_t)draw(chance, ret->nodes);
    }
    for (uint32_t i = 0; i < SIM_EXCHANGES_MAX; i++) {
        script->spaces[i] = (uint8_t)draw(chance, 2);
        script->forward_only[i] = draw(chance, 4) == 0;
    }
    for (uint32_t i = 0; i < SIM_BUCKETS_MAX; i++) {
        script->replicated[i] = draw(chance, 3) == 0;
    }
    if (draw(chance, 3) == 0) {
        script->fault = (struct sim_fault){.kind = 1 + draw(chance, SIM_FAULT_KINDS_N - 1),
                                           .rank = draw(chance, script->world_size),
                                           .step = 1 + draw(chance, script->steps),
                                           .id = draw(chance, 6)};
        ret->disturbed = true;
    }
}

/* One thing that happens to the cluster while the job runs. */
static void disturb(struct sim *sim, struct chance *chance, struct scenario *scenario)
{
    const uint32_t node = draw(chance, scenario->nodes);
    const uint32_t other = draw(chance, scenario->nodes);

    scenario->disturbed = true;
    switch (draw(chance, 5)) {
    case 0:
        if (sim_engine(sim, node) != NULL) {
            sim_kill(sim, node);
        }
        return;
    case 1:
        if (sim_engine(sim, node) != NULL) {
            sim_vanish(sim, node);
        }
        return;
    case 2:
        if (node != other) {
            sim_cut(sim, node, other);
        }
        return;
    case 3:
        sim_kill_rank(sim, "job", draw(chance, scenario->script.world_size));
        return;
    default:
        sim_latency(sim, 1 + draw(chance, 4000000)); /* up to twice the silence that is a loss */
    }
}

static void complain(struct sim *sim, uint64_t seed, uint32_t rank, const char *what)
{
    const struct sim_outcome *outcome = sim_outcome(sim, "job", rank);

    sim_print_trace(sim);
    fail_msg("seed %llu: rank %u %s: state %d, %u steps, code %d, at %llu ms: %s",
             (unsigned long long)seed, rank, what, (int)outcome->state, outcome->steps,
             outcome->code, (unsigned long long)(outcome->ended_ns / SIM_MS), outcome->text);
}

/* A rank that hangs while nobody waits for it keeps its job alive until it is killed. */
static bool end_job(struct sim *sim, const struct scenario *scenario)
{
    if (sim_run(sim)) {
        return true;
    }
    for (uint32_t rank = 0; rank < scenario->script.world_size; rank++) {
        if (sim_outcome(sim, "job", rank)->state == SIM_RUNNING) {
            return false;
        }
    }
    for (uint32_t rank = 0; rank < scenario->script.world_size; rank++) {
        if (sim_outcome(sim, "job", rank)->state == SIM_HUNG) {
            sim_kill_rank(sim, "job", rank);
        }
    }
    return sim_run(sim);
}

static void check_outcomes(struct sim *sim, uint64_t seed, const struct scenario *scenario)
{
    const struct sim_script *script = &scenario->script;
    uint32_t most = 0;

    for (uint32_t rank = 0; rank < script->world_size; rank++) {
        const uint32_t steps = sim_outcome(sim, "job", rank)->steps;
        most = steps > most ? steps : most;
    }
    for (uint32_t rank = 0; rank < script->world_size; rank++) {
        const struct sim_outcome *outcome = sim_outcome(sim, "job", rank);
        if (outcome->state == SIM_RUNNING) {
            complain(sim, seed, rank, "is still waiting");
        }
        if (outcome->state == SIM_DONE && outcome->steps != script->steps) {
            complain(sim, seed, rank, "has left too early");
        }
        if (!scenario->disturbed && outcome->state != SIM_DONE) {
            complain(sim, seed, rank, "fails although nothing is wrong");
        }
        if (outcome->state != SIM_FAILED) {
            continue;
        }
        if (outcome->text[0] == '\0' || outcome->hint[0] == '\0' || outcome->code >= 0) {
            complain(sim, seed, rank, "is not told why");
        }
        if (outcome->steps + 1 < most) {
            complain(sim, seed, rank, "has missed a commit");
        }
        /* Joining takes a quarter more than its timeout at most, a step an eighth and a silence. */
        if (outcome->ended_ns >
            (SIM_JOIN_MS * 5 / 4 + SIM_STEP_MS * 2 + SIM_SILENCE_MS + 25000) * SIM_MS) {
            complain(sim, seed, rank, "fails too late");
        }
    }
}

/* Repairs the cluster; then a sound job must run on all of it. */
static void check_recovery(struct sim *sim, uint64_t seed, uint32_t nodes)
{
    struct sim_script script = {.job = "job",
                                .world_size = 2 * nodes,
                                .steps = 2,
                                .exchange_count = 1,
                                .bucket_count = 1,
                                .think_us = 100,
                                .collectives = true};

    sim_latency(sim, 1000);
    for (uint32_t node = 0; node < nodes; node++) {
        script.nodes[2 * node] = (uint16_t)node;
        script.nodes[2 * node + 1] = (uint16_t)node;
        if (sim_engine(sim, node) == NULL) {
            sim_restart(sim, node);
        }
    }
    for (uint32_t a = 0; a < nodes; a++) {
        for (uint32_t b = a + 1; b < nodes; b++) {
            sim_heal(sim, a, b);
        }
    }
    sim_elapse_ms(sim, 9000); /* what was slow has arrived */
    sim_start(sim, &script);
    sim_run(sim);
    for (uint32_t rank = 0; rank < script.world_size && sim_violation(sim)[0] == '\0'; rank++) {
        if (sim_outcome(sim, "job", rank)->state != SIM_DONE) {
            complain(sim, seed, rank, "cannot run the next job");
        }
    }
    sim_free(sim);
}

static void run_seed(uint64_t seed)
{
    struct chance chance = {seed * UINT64_C(0x9E3779B97F4A7C15)};
    struct scenario scenario = {.nodes = 1 + draw(&chance, 4)};
    struct sim *sim = sim_new(seed, scenario.nodes);

    draw_script(&chance, &scenario);
    sim_latency(sim, 1 + draw(&chance, 20000));
    sim_start(sim, &scenario.script);
    for (uint32_t i = draw(&chance, 3); i > 0; i--) {
        sim_elapse_ms(sim, draw(&chance, 300));
        disturb(sim, &chance, &scenario);
    }
    if (!end_job(sim, &scenario) && sim_violation(sim)[0] == '\0') {
        complain(sim, seed, 0, "or another, or its job, does not end");
    }
    if (sim_violation(sim)[0] == '\0') {
        check_outcomes(sim, seed, &scenario);
        check_recovery(sim, seed, scenario.nodes);
    } else {
        sim_free(sim);
    }
}

static void every_job_ends_whole_or_with_a_name(void **state)
{
    (void)state;
    for (uint64_t seed = seed_first; seed < seed_first + seed_count; seed++) {
        snprintf(seed_text, sizeof(seed_text), "seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_ends_whole_or_with_a_name),
    };

    if (argc > 1) {
        seed_first = strtoull(argv[1], NULL, 10);
        seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    signal(SIGABRT, on_abort);
    printf("seeds %llu to %llu\n", (unsigned long long)seed_first,
           (unsigned long long)(seed_first + seed_count - 1));
    return cmocka_run_group_tests_name("sim_swarm", tests, NULL, NULL);
}
