/* Jobs that go well: every number that a worker reads is checked by the sim. */
#include "tests/support/sim.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct sim_script two_by_two = {.job = "job",
                                             .world_size = 4,
                                             .steps = 5,
                                             .exchange_count = 3,
                                             .bucket_count = 2,
                                             .think_us = 500,
                                             .parameters = true,
                                             .collectives = true,
                                             .nodes = {0, 0, 1, 1},
                                             .replicated = {0, 1}};

/* Runs the script to its end: every rank must have done every step. */
static void run_well(const struct sim_script *script, uint32_t nodes, uint64_t seed)
{
    struct sim *sim = sim_new(seed, nodes);

    sim_start(sim, script);
    assert_true(sim_run(sim) || sim_violation(sim)[0] != '\0');
    for (uint32_t rank = 0; rank < script->world_size && sim_violation(sim)[0] == '\0'; rank++) {
        const struct sim_outcome *outcome = sim_outcome(sim, script->job, rank);
        if (outcome->state != SIM_DONE) {
            sim_print_trace(sim);
        }
        assert_int_equal(outcome->state, SIM_DONE);
        assert_int_equal(outcome->steps, script->steps);
        assert_int_equal(outcome->skipped, 0);
    }
    sim_free(sim);
}

static void four_ranks_on_two_nodes_do_all_steps(void **state)
{
    (void)state;
    run_well(&two_by_two, 2, 1);
}

/* D21: the simplest example must return. */
static void two_ranks_all_reduce(void **state)
{
    struct sim_script script = {
        .job = "job", .world_size = 2, .steps = 1, .collectives = true, .nodes = {0, 1}};

    (void)state;
    run_well(&script, 2, 2);
}

static void one_rank_does_all_steps(void **state)
{
    struct sim_script script = two_by_two;

    (void)state;
    script.world_size = 1;
    run_well(&script, 1, 3);
}

static void a_conductor_without_ranks_conducts(void **state)
{
    struct sim_script script = two_by_two;

    (void)state;
    for (uint32_t rank = 0; rank < 4; rank++) {
        script.nodes[rank] = (uint16_t)(1 + rank / 2);
    }
    run_well(&script, 3, 4);
}

static void ranks_need_not_be_in_the_order_of_nodes(void **state)
{
    struct sim_script script = two_by_two;

    (void)state;
    script.nodes[0] = 2;
    script.nodes[1] = 0;
    script.nodes[2] = 1;
    script.nodes[3] = 0;
    run_well(&script, 3, 5);
}

static void forward_only_exchanges_return_nothing(void **state)
{
    struct sim_script script = two_by_two;

    (void)state;
    script.forward_only[1] = 1;
    script.spaces[2] = 1;
    run_well(&script, 2, 6);
}

static void a_step_may_only_evaluate(void **state)
{
    struct sim_script script = two_by_two;

    (void)state;
    script.idle_odd = true;
    run_well(&script, 2, 7);
}

/* A commit is held until every result of the step is on the node, waited for or not. */
static void a_commit_waits_for_the_results_of_the_step(void **state)
{
    struct sim_script script = two_by_two;

    (void)state;
    script.impatient = true;
    for (uint64_t seed = 20; seed < 40; seed++) {
        run_well(&script, 2, seed);
    }
}

/*
 * S1, S2, S8: what is summed is divided once, by the count of all ranks, however many they are and
 * wherever they run; ranks that count nothing, even all of them, are no exception.
 */
static void the_divisor_is_the_global_count(void **state)
{
    static const uint32_t worlds[] = {1, 2, 4};
    static const uint16_t spreads[3][4] = {{0, 0, 0, 0}, {0, 1, 0, 1}, {1, 2, 2, 0}};

    (void)state;
    for (uint32_t w = 0; w < 3; w++) {
        for (uint32_t spread = 0; spread < 3; spread++) {
            struct sim_script script = two_by_two;
            script.world_size = worlds[w];
            script.steps = 20;
            for (uint32_t rank = 0; rank < 4; rank++) {
                script.nodes[rank] = spreads[spread][rank];
            }
            run_well(&script, 3, 50 + 3 * w + spread);
        }
    }
}

static void nothing_registered_is_legal(void **state)
{
    struct sim_script script = {.job = "job", .world_size = 3, .steps = 2, .nodes = {0, 1, 1}};

    (void)state;
    run_well(&script, 2, 8);
}

static void two_jobs_run_side_by_side(void **state)
{
    struct sim_script other = two_by_two;
    struct sim *sim = sim_new(9, 3);

    (void)state;
    other.job = "other";
    other.nodes[3] = 2;
    sim_start(sim, &two_by_two);
    sim_start(sim, &other);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 3)->steps, 5);
    assert_int_equal(sim_outcome(sim, "other", 3)->steps, 5);
    sim_free(sim);
}

static void a_job_of_the_same_name_is_a_new_generation(void **state)
{
    struct sim *sim = sim_new(10, 2);
    struct job_view views[4];

    (void)state;
    sim_start(sim, &two_by_two);
    assert_true(sim_run(sim));
    sim_start(sim, &two_by_two);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->state, SIM_DONE);
    assert_int_equal(engine_jobs(sim_engine(sim, 1), views, 4), 2);
    assert_int_equal(views[0].generation, 2);
    assert_int_equal(views[1].generation, 1);
    assert_int_equal(views[0].state, JOB_ENDED);
    assert_int_equal(views[0].step, 5);
    sim_free(sim);
}

/* S2, S5: what all ranks report is averaged over those that have a loss. */
static void views_show_losses_and_steps(void **state)
{
    struct sim *sim = sim_new(11, 2);
    struct job_view view;
    struct peer_view peer;

    (void)state;
    sim_start(sim, &two_by_two);
    assert_true(sim_run(sim));
    assert_int_equal(engine_jobs(sim_engine(sim, 0), &view, 1), 1);
    assert_int_equal(view.loss_count, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(view.losses[i] == (double)(i + 1));
    }
    assert_int_equal(view.total_tokens, 10 + 11 + 12 + 13);
    assert_true(view.step_ns > 0);
    engine_peer(sim_engine(sim, 0), 1, &peer);
    assert_true(peer.up);
    sim_free(sim);
}

static void a_run_is_repeated_by_its_seed(void **state)
{
    uint64_t ends[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sim *sim = sim_new(12, 2);
        sim_start(sim, &two_by_two);
        assert_true(sim_run(sim));
        ends[i] = sim_outcome(sim, "job", 2)->ended_ns;
        sim_free(sim);
    }
    assert_int_equal(ends[0], ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_ranks_on_two_nodes_do_all_steps),
        cmocka_unit_test(two_ranks_all_reduce),
        cmocka_unit_test(one_rank_does_all_steps),
        cmocka_unit_test(a_conductor_without_ranks_conducts),
        cmocka_unit_test(ranks_need_not_be_in_the_order_of_nodes),
        cmocka_unit_test(forward_only_exchanges_return_nothing),
        cmocka_unit_test(a_step_may_only_evaluate),
        cmocka_unit_test(a_commit_waits_for_the_results_of_the_step),
        cmocka_unit_test(the_divisor_is_the_global_count),
        cmocka_unit_test(nothing_registered_is_legal),
        cmocka_unit_test(two_jobs_run_side_by_side),
        cmocka_unit_test(a_job_of_the_same_name_is_a_new_generation),
        cmocka_unit_test(views_show_losses_and_steps),
        cmocka_unit_test(a_run_is_repeated_by_its_seed),
    };

    return cmocka_run_group_tests_name("sim_steps", tests, NULL, NULL);
}
