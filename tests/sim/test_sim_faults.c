/* Workers that break a rule: the job ends on all ranks with one error that names them. */
#include "tests/support/sim.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct sim_script sound = {.job = "job",
                                        .world_size = 5,
                                        .steps = 3,
                                        .exchange_count = 2,
                                        .bucket_count = 2,
                                        .think_us = 300,
                                        .parameters = true,
                                        .collectives = true,
                                        .nodes = {0, 0, 1, 1, 1},
                                        .replicated = {0, 1}};

struct expectation {
    struct sim_fault fault;
    int32_t code;
    int32_t rank;
    const char *words; /* in the text */
    uint32_t limit_ms; /* from the start to the last end */
};

/* The fault's own rank hears of it as well, if it can. */
static void expect_failure(const struct expectation *expected)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(20 + expected->fault.kind, 2);

    script.fault = expected->fault;
    sim_start(sim, &script);
    assert_true(sim_run(sim) || sim_violation(sim)[0] != '\0');
    for (uint32_t rank = 0; rank < script.world_size && sim_violation(sim)[0] == '\0'; rank++) {
        const struct sim_outcome *outcome = sim_outcome(sim, "job", rank);
        if (rank == expected->fault.rank && outcome->state != SIM_FAILED) {
            continue; /* dead or hung */
        }
        if (outcome->state != SIM_FAILED || outcome->code != expected->code ||
            outcome->rank != expected->rank || strstr(outcome->text, expected->words) == NULL) {
            sim_print_trace(sim);
            fail_msg("rank %u: state %d, code %d, rank %d: %s", rank, (int)outcome->state,
                     outcome->code, outcome->rank, outcome->text);
        }
        assert_true(outcome->hint[0] != '\0');
        assert_int_equal(outcome->node, script.nodes[expected->rank]);
        assert_true(outcome->ended_ns < expected->limit_ms * SIM_MS);
    }
    sim_free(sim);
}

static void each_fault_is_named(void **state)
{
    static const struct expectation table[] = {
        {{SIM_FAULT_DIE, 3, 2, 1}, SEQSYNC_ERR_WORKER_LOST, 3, "rank 3 on node-b was lost", 1000},
        {{SIM_FAULT_DIE, 1, 2, 3}, SEQSYNC_ERR_WORKER_LOST, 1, "killed by signal 9", 1000},
        {{SIM_FAULT_LEAVE, 3, 2, 1}, SEQSYNC_ERR_WORKER_LOST, 3, "middle of a step", 1000},
        {{SIM_FAULT_LEAVE, 3, 2, 0}, SEQSYNC_ERR_WORKER_LOST, 3, "while others go on", 1000},
        {{SIM_FAULT_LEAVE, 4, 2, 5}, SEQSYNC_ERR_WORKER_LOST, 4, "rank 4 on node-b left", 1000},
        {{SIM_FAULT_HANG, 4, 2, 1},
         SEQSYNC_ERR_TIMEOUT,
         4,
         "rank 4 on node-b has not committed step 2 within 8 s; last: start of step 2",
         9500},
        {{SIM_FAULT_HANG, 1, 2, 0},
         SEQSYNC_ERR_TIMEOUT,
         1,
         "rank 1 on node-a has not begun step 2 within 8 s; last: collective 1",
         9500},
        {{SIM_FAULT_HANG, 2, 2, 5},
         SEQSYNC_ERR_TIMEOUT,
         2,
         "rank 2 on node-b has not entered collective 2 within 8 s; last: end of step 2",
         9500},
        {{SIM_FAULT_HANG, 2, 1, 4},
         SEQSYNC_ERR_TIMEOUT,
         2,
         "rank 2 on node-b has not committed step 1 within 8 s; last: gradient 1 of step 1",
         9500},
        {{SIM_FAULT_SKIP_GRADIENT, 4, 2, 1},
         SEQSYNC_ERR_INVALID,
         4,
         "rank 4 on node-b committed step 2 without a contribution to bucket 1",
         1000},
        {{SIM_FAULT_TWICE_KV, 2, 1, 1}, SEQSYNC_ERR_DUPLICATE, 2, "exchange 1 twice", 1000},
        {{SIM_FAULT_TWICE_RETURN, 2, 1, 1}, SEQSYNC_ERR_DUPLICATE, 2, "exchange 1 twice", 1000},
        {{SIM_FAULT_TWICE_GRADIENT, 2, 3, 1}, SEQSYNC_ERR_DUPLICATE, 2, "bucket 1 twice", 1000},
        {{SIM_FAULT_STALE_GRADIENT, 2, 3, 1}, SEQSYNC_ERR_STALE, 2, "which is committed", 1000},
        {{SIM_FAULT_NEGATIVE_COUNT, 3, 3, 0}, SEQSYNC_ERR_INVALID, 3, "negative", 1000},
        {{SIM_FAULT_WRONG_EXCHANGE, 3, 1, 0}, SEQSYNC_ERR_INVALID, 3, "not registered", 1000},
        {{SIM_FAULT_NAN, 3, 2, 0},
         SEQSYNC_ERR_NONFINITE,
         3,
         "bucket 0 of step 2: rank 3 on node-b contributed a NaN",
         1000},
        {{SIM_FAULT_NAN, 0, 2, 1}, SEQSYNC_ERR_NONFINITE, 0, "bucket 1 of step 2: rank 0", 1000},
        {{SIM_FAULT_BATCH, 3, 2, 0},
         SEQSYNC_ERR_BATCH_MISMATCH,
         3,
         "rank 3 on node-b described another batch than ranks 0-2,4 in step 2",
         1000},
        {{SIM_FAULT_SCHEMA, 1, 0, 0},
         SEQSYNC_ERR_SCHEMA_MISMATCH,
         1,
         "rank 1 on node-a registered other exchanges or buckets than ranks 0,2-4",
         1000},
        {{SIM_FAULT_TOKENS, 1, 2, 0},
         SEQSYNC_ERR_ATTESTATION,
         1,
         "computed 12 tokens in step 2, but the plan gives it 11",
         1000},
        {{SIM_FAULT_AREA, 2, 2, 0}, SEQSYNC_ERR_ATTESTATION, 2, "103 query-key pairs", 1000},
        {{SIM_FAULT_PARAMETERS, 3, 2, 0},
         SEQSYNC_ERR_PARAMETER_MISMATCH,
         3,
         "rank 3 on node-b trained other parameters than ranks 0,1,4 in step 2",
         1000},
        {{SIM_FAULT_COLLECTIVE, 0, 2, 0},
         SEQSYNC_ERR_INVALID,
         0,
         "rank 0 on node-a called another collective than ranks 1-4 as collective 2",
         1000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        expect_failure(&table[i]);
    }
}

/* S63: ranks that skip different calls wait for each other; what each lacks is said. */
static void ranks_that_wait_for_each_other_are_both_named(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(60, 2);

    (void)state;
    script.fault = (struct sim_fault){SIM_FAULT_SKIP_KV, 2, 2, 0};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    const struct sim_outcome *outcome = sim_outcome(sim, "job", 0);
    assert_int_equal(outcome->code, SEQSYNC_ERR_TIMEOUT);
    assert_int_equal(outcome->node, 1);
    assert_non_null(
        strstr(outcome->text,
               "rank 2 kv 1 of step 2, lacks the keys and values of exchange 0; rank 3 kv 0"));
    sim_free(sim);
}

/* With one call to skip, a rank goes on to its commit, which says at once what is missing. */
static void a_skipped_call_is_named_at_commit(void **state)
{
    static const enum sim_fault_kind kinds[] = {SIM_FAULT_SKIP_KV, SIM_FAULT_SKIP_RETURN};
    static const char *const texts[] = {
        "rank 2 on node-b committed step 1 without the keys and values of exchange 0, which others "
        "contributed to",
        "rank 2 on node-b committed step 1 without the dK/dV of exchange 0, which others "
        "contributed to"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sim_script script = sound;
        struct sim *sim = sim_new(61, 2);
        script.exchange_count = 1;
        script.bucket_count = 0;
        script.forward_only[0] = i == 0;
        script.fault = (struct sim_fault){kinds[i], 2, 1, 0};
        sim_start(sim, &script);
        assert_true(sim_run(sim));
        assert_int_equal(sim_outcome(sim, "job", 0)->code, SEQSYNC_ERR_INVALID);
        assert_string_equal(sim_outcome(sim, "job", 0)->text, texts[i]);
        assert_true(sim_outcome(sim, "job", 0)->ended_ns < 1000 * SIM_MS);
        sim_free(sim);
    }
}

/* S53: two ranks that see different samples; neither can be called right. */
static void two_ranks_with_different_batches_are_both_named(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(50, 2);

    (void)state;
    script.world_size = 2;
    script.nodes[1] = 1;
    script.fault = (struct sim_fault){SIM_FAULT_BATCH, 1, 1, 0};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->code, SEQSYNC_ERR_BATCH_MISMATCH);
    assert_string_equal(
        sim_outcome(sim, "job", 0)->text,
        "rank 0 on node-a and rank 1 on node-b described different batches in step 1");
    sim_free(sim);
}

/* S15: a gradient is not released, and no step committed, while a contributor is missing. */
static void a_gradient_waits_for_every_contributor(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(51, 2);

    (void)state;
    script.fault = (struct sim_fault){SIM_FAULT_HANG, 4, 1, 3};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 4; rank++) {
        assert_int_equal(sim_outcome(sim, "job", rank)->state, SIM_FAILED);
        assert_int_equal(sim_outcome(sim, "job", rank)->steps, 0);
        assert_int_equal(sim_outcome(sim, "job", rank)->code, SEQSYNC_ERR_TIMEOUT);
        assert_int_equal(sim_outcome(sim, "job", rank)->rank, 4);
    }
    sim_free(sim);
}

/* S63, S65: ranks that make different numbers of steps do not hang. */
static void a_rank_with_fewer_steps_ends_the_job(void **state)
{
    struct sim_script script = sound, shorter = sound;
    struct sim *sim = sim_new(52, 2);

    (void)state;
    shorter.steps = 2;
    for (uint32_t rank = 0; rank < 5; rank++) {
        sim_start_rank(sim, rank == 3 ? &shorter : &script, rank);
    }
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 3)->state, SIM_DONE);
    for (uint32_t rank = 0; rank < 3; rank++) {
        assert_int_equal(sim_outcome(sim, "job", rank)->steps, 2);
        assert_int_equal(sim_outcome(sim, "job", rank)->code, SEQSYNC_ERR_WORKER_LOST);
        assert_int_equal(sim_outcome(sim, "job", rank)->rank, 3);
        assert_true(sim_outcome(sim, "job", rank)->ended_ns < 1000 * SIM_MS);
    }
    sim_free(sim);
}

/* D31: under the policy "skip" the step is skipped on all ranks, or on none. */
static void a_nan_skips_the_step_on_all_ranks(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(53, 2);

    (void)state;
    script.nonfinite = 1;
    script.fault = (struct sim_fault){SIM_FAULT_NAN, 4, 2, 0};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 5; rank++) {
        assert_int_equal(sim_outcome(sim, "job", rank)->state, SIM_DONE);
        assert_int_equal(sim_outcome(sim, "job", rank)->skipped, 1);
    }
    sim_free(sim);
}

static void a_nan_passes_under_the_policy_pass(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(54, 2);

    (void)state;
    script.nonfinite = 2;
    script.fault = (struct sim_fault){SIM_FAULT_NAN, 4, 2, 0};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->steps, 3);
    assert_int_equal(sim_outcome(sim, "job", 0)->skipped, 0);
    sim_free(sim);
}

/* S20: a NaN in what counts once, on a rank whose copy does not count, is not read. */
static void a_replicated_bucket_counts_only_rank_0(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(55, 2);

    (void)state;
    script.fault = (struct sim_fault){SIM_FAULT_NAN, 3, 2, 1};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 3)->state, SIM_DONE);
    sim_free(sim);
}

static void a_node_with_another_plan_is_named(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(56, 3);

    (void)state;
    script.nodes[4] = 2;
    sim_bend_plan(sim, 1);
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->code, SEQSYNC_ERR_PLAN_MISMATCH);
    assert_int_equal(sim_outcome(sim, "job", 0)->node, 1);
    assert_string_equal(
        sim_outcome(sim, "job", 0)->text,
        "node-b derived another plan than node-a and node-c from the batch of step 1");
    sim_free(sim);
}

static void a_plan_that_fails_ends_the_job(void **state)
{
    struct sim *sim = sim_new(57, 2);

    (void)state;
    sim_fail_plan(sim, 1);
    sim_start(sim, &sound);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->code, SEQSYNC_ERR_NO_CAPACITY);
    assert_string_equal(
        sim_outcome(sim, "job", 0)->text,
        "node node-b could not plan the step: the batch needs more memory than there is");
    sim_free(sim);
}

static void io_can_break_a_job(void **state)
{
    const struct job_end end = {
        .code = SEQSYNC_ERR_CHECKSUM, .rank = -1, .node = 1, .text = "a frame was damaged"};
    struct sim_script script = sound;
    struct sim *sim = sim_new(58, 2);

    (void)state;
    script.steps = 1000;
    sim_start(sim, &script);
    sim_elapse_ms(sim, 200);
    sim_break_job(sim, 1, "job", &end);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 5; rank++) {
        assert_int_equal(sim_outcome(sim, "job", rank)->code, SEQSYNC_ERR_CHECKSUM);
    }
    sim_expect_trace(sim, "> job job: a frame was damaged; ending it");
    sim_free(sim);
}

/* D26: after a failure without any loss of nodes or workers, the next job works. */
static void the_job_after_a_failed_one_works(void **state)
{
    struct sim_script script = sound;
    struct sim *sim = sim_new(59, 2);

    (void)state;
    script.fault = (struct sim_fault){SIM_FAULT_TWICE_KV, 2, 1, 1};
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->state, SIM_FAILED);
    sim_start(sim, &sound);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->state, SIM_DONE);
    assert_int_equal(sim_outcome(sim, "job", 0)->steps, 3);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_is_named),
        cmocka_unit_test(ranks_that_wait_for_each_other_are_both_named),
        cmocka_unit_test(a_skipped_call_is_named_at_commit),
        cmocka_unit_test(two_ranks_with_different_batches_are_both_named),
        cmocka_unit_test(a_gradient_waits_for_every_contributor),
        cmocka_unit_test(a_rank_with_fewer_steps_ends_the_job),
        cmocka_unit_test(a_nan_skips_the_step_on_all_ranks),
        cmocka_unit_test(a_nan_passes_under_the_policy_pass),
        cmocka_unit_test(a_replicated_bucket_counts_only_rank_0),
        cmocka_unit_test(a_node_with_another_plan_is_named),
        cmocka_unit_test(a_plan_that_fails_ends_the_job),
        cmocka_unit_test(io_can_break_a_job),
        cmocka_unit_test(the_job_after_a_failed_one_works),
    };

    return cmocka_run_group_tests_name("sim_faults", tests, NULL, NULL);
}
