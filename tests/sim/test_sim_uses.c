/*
 * What only some ranks use in a step: no step is committed by it, whether the data of those who did
 * reach the others before all have committed, after that, or never.
 */
#include "tests/support/sim_private.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* One rank is alone on its node: what it skips, its node does not use. */
static const struct sim_script sound = {.job = "job",
                                        .world_size = 3,
                                        .exchange_count = 1,
                                        .think_us = 100,
                                        .impatient = true,
                                        .nodes = {0, 0, 1}};

/* From a transfer that is faster than most messages to one that comes long after the commit. */
static const uint32_t lags_us[] = {0, 500, 1000, 2000, 4000, 8000, 1000000};

#define LAGS_N (sizeof(lags_us) / sizeof(lags_us[0]))

/* Whose rows are read across nodes in a step. */
enum reading {
    READING_ANY = 0,
    READING_LONE,   /* the lone rank reads others' rows, and nobody reads its */
    READING_OTHERS, /* the other way round */
    READING_NOBODY,
};

static bool reads_like(uint64_t step, uint32_t lone, enum reading reading)
{
    bool reads = false, is_read = false;

    for (uint32_t rank = 0; rank < sound.world_size; rank++) {
        reads |= sim_needs(step, 0, lone, rank);
        is_read |= sim_needs(step, 0, rank, lone);
    }
    return reading == READING_ANY ||
           (reads == (reading == READING_LONE) && is_read == (reading == READING_OTHERS));
}

/* The first step in which rows are read like that. */
static uint32_t step_of(uint32_t lone, enum reading reading)
{
    uint32_t step = 1;

    while (!reads_like(step, lone, reading)) {
        step++;
        assert_true(step < 1000);
    }
    return step;
}

/* Every rank hears that the lone one is to blame, and none sees the commit of that step. */
static void expect_blame(const struct sim *sim, const struct sim_script *script, const char *words)
{
    const struct sim_fault *fault = &script->fault;

    for (uint32_t rank = 0; rank < script->world_size; rank++) {
        const struct sim_outcome *outcome = sim_outcome(sim, "job", rank);
        if (outcome->state != SIM_FAILED || outcome->code != SEQSYNC_ERR_INVALID ||
            outcome->steps != fault->step - 1 || strstr(outcome->text, words) == NULL) {
            sim_print_trace(sim);
            fail_msg("rank %u: state %d, code %d, %u steps, not %u: %s", rank, (int)outcome->state,
                     outcome->code, outcome->steps, fault->step - 1, outcome->text);
        }
        assert_int_equal(outcome->rank, fault->rank);
        assert_int_equal(outcome->node, script->nodes[fault->rank]);
        assert_true(outcome->hint[0] != '\0');
    }
}

static void run_one(const struct sim_script *script, uint64_t seed, uint32_t lag_us,
                    const char *words)
{
    struct sim *sim = sim_new(seed, 2);

    sim_transfer_lag(sim, lag_us);
    sim_start(sim, script);
    assert_true(sim_run(sim));
    expect_blame(sim, script, words);
    sim_free(sim);
}

/* @late: what is said if the data come after the commit would have been. */
static void expect_failure_on_every_timing(struct sim_script script, enum sim_fault_kind kind,
                                           enum reading reading, const char *late)
{
    for (uint32_t lone = 0; lone <= 2; lone += 2) {
        script.nodes[1] = lone == 0;
        script.fault = (struct sim_fault){kind, lone, step_of(lone, reading), 0};
        script.steps = script.fault.step + 1;
        for (size_t lag = 0; lag < LAGS_N; lag++) {
            for (uint64_t seed = 1; seed <= 8; seed++) {
                run_one(&script, seed, lags_us[lag], lag == LAGS_N - 1 ? late : "");
            }
        }
    }
}

/* The other node has sent its rows, awaits none, and so has all of the step. */
static void case_s63_a_half_entered_exchange_fails_on_every_timing(void **state)
{
    struct sim_script script = sound;

    (void)state;
    script.forward_only[0] = 1;
    expect_failure_on_every_timing(script, SIM_FAULT_ABSENT_KV, READING_LONE,
                                   "did not use the same exchanges and buckets as ranks");
    expect_failure_on_every_timing(script, SIM_FAULT_ABSENT_KV, READING_NOBODY,
                                   "did not use the same exchanges and buckets as ranks");
}

/* Likewise for dK/dV, which go from who reads rows to who holds them. */
static void case_s63_a_half_entered_return_fails_on_every_timing(void **state)
{
    (void)state;
    expect_failure_on_every_timing(sound, SIM_FAULT_SKIP_RETURN, READING_OTHERS,
                                   "did not use the same exchanges and buckets as ranks");
    expect_failure_on_every_timing(sound, SIM_FAULT_SKIP_RETURN, READING_NOBODY,
                                   "did not use the same exchanges and buckets as ranks");
}

/* A bucket needs something of every node: it cannot be complete on one, however late data come. */
static void case_s63_a_half_entered_bucket_fails_on_every_timing(void **state)
{
    struct sim_script script = sound;

    (void)state;
    script.exchange_count = 0;
    script.bucket_count = 1;
    expect_failure_on_every_timing(script, SIM_FAULT_SKIP_GRADIENT, READING_ANY,
                                   "without a contribution to bucket 0");
}

/* Without a majority nobody can be called right. */
static void two_ranks_that_use_different_things_are_both_named(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(9, 2);

    (void)state;
    script.world_size = 2;
    script.nodes[1] = 1;
    script.forward_only[0] = 1;
    script.fault = (struct sim_fault){SIM_FAULT_ABSENT_KV, 1, 1, 0};
    while (sim_needs(script.fault.step, 0, 0, 1)) {
        script.fault.step++;
    }
    script.steps = script.fault.step;
    sim_transfer_lag(sim, lags_us[LAGS_N - 1]);
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 2; rank++) {
        const struct sim_outcome *outcome = sim_outcome(sim, "job", rank);
        assert_int_equal(outcome->code, SEQSYNC_ERR_INVALID);
        assert_int_equal(outcome->rank, -1);
        assert_int_equal(outcome->steps, script.fault.step - 1);
        assert_non_null(strstr(outcome->text, "rank 0 on node-a and rank 1 on node-b used "
                                              "different exchanges or buckets in step "));
    }
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_s63_a_half_entered_exchange_fails_on_every_timing),
        cmocka_unit_test(case_s63_a_half_entered_return_fails_on_every_timing),
        cmocka_unit_test(case_s63_a_half_entered_bucket_fails_on_every_timing),
        cmocka_unit_test(two_ranks_that_use_different_things_are_both_named),
    };

    return cmocka_run_group_tests_name("sim_uses", tests, NULL, NULL);
}
