/*
 * Things that go wrong in a job: every survivor gets an error that names what, who and where,
 * within the deadline; the daemons keep nothing of the job and serve the next one.
 */
#include "tests/support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANKS 4
#define FAULTY_RANK 2
#define FAULTY "2"

static struct cluster cluster;
static const uint32_t one_node[RANKS] = {0, 0, 0, 0};
static const uint32_t two_nodes[RANKS] = {0, 0, 1, 1};

static const uint32_t *rank_nodes(void)
{
    return cluster.nodes == 1 ? one_node : two_nodes;
}

static int start(uint32_t nodes)
{
    const struct cluster_options options = {.nodes = nodes};

    cluster_start(&cluster, &options);
    return 0;
}

static int start_1(void **state)
{
    (void)state;
    return start(1);
}

static int start_2(void **state)
{
    (void)state;
    return start(2);
}

static int stop(void **state)
{
    (void)state;
    return cluster_stop(&cluster) == 0 ? 0 : -1;
}

static bool job_memory_is_gone(void *ctx)
{
    (void)ctx;
    for (uint32_t node = 0; node < cluster.nodes; node++) {
        if (cluster_memfds(&cluster, node) != 0) {
            return false;
        }
    }
    return true;
}

/* A job without faults: the daemons are fit, and give back all memory afterwards. */
static void run_a_good_job(void)
{
    static const char *const argv[] = {"scenario_worker", "5", NULL};
    int statuses[RANKS];

    cluster_run(&cluster, "good", argv, RANKS, rank_nodes());
    assert_true(cluster_wait(&cluster, 20000, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (statuses[rank] != 0) {
            fprintf(stderr, "rank %u: %s\n", rank, proc_out(cluster.workers[rank]));
        }
        assert_int_equal(statuses[rank], 0);
        assert_non_null(strstr(proc_out(cluster.workers[rank]), "step 5"));
    }
    cluster_clear_workers(&cluster);
    assert_true(proc_wait_until(job_memory_is_gone, NULL, 10000));
}

struct scenario {
    const char *fault;
    const char *code;  /* what survivors get */
    const char *names; /* what the text must contain */
    bool faulty_too;   /* the rank at fault gets an error as well */
    bool lives_on;     /* it never ends by itself: stopped, or idle */
    uint32_t limit_ms; /* for all survivors to hear of it */
};

static bool survivors_have_ended(void *ctx)
{
    (void)ctx;
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (rank != FAULTY_RANK && proc_is_running(cluster.workers[rank])) {
            return false;
        }
    }
    return true;
}

static void expect_failure(uint32_t rank, const struct scenario *scenario)
{
    char wanted[64];
    int status;

    assert_true(proc_wait_exit(cluster.workers[rank], 5000, &status));
    const char *out = proc_out(cluster.workers[rank]);
    snprintf(wanted, sizeof(wanted), "failed %s:", scenario->code);
    const char *at = strstr(out, wanted);
    if (status != 3 || at == NULL || strstr(at, scenario->names) == NULL) {
        fprintf(stderr, "%s: rank %u ended with %d, not with %s naming \"%s\":\n%s\n",
                scenario->fault, rank, status, scenario->code, scenario->names, out);
        fail();
    }
}

static void run_scenario(const struct scenario *scenario, const char *step)
{
    const char *const argv[] = {"scenario_worker", "20", scenario->fault, FAULTY, step, NULL};
    char did[64];

    cluster_run(&cluster, scenario->fault, argv, RANKS, rank_nodes());
    snprintf(did, sizeof(did), "rank " FAULTY " did %s", scenario->fault);
    assert_true(proc_wait_line(cluster.workers[FAULTY_RANK], did, NULL, 20000));
    assert_true(proc_wait_until(survivors_have_ended, NULL, scenario->limit_ms));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (rank != FAULTY_RANK || scenario->faulty_too) {
            expect_failure(rank, scenario);
        }
    }
    cluster_clear_workers(&cluster);
    assert_true(proc_wait_until(job_memory_is_gone, NULL, 10000));
    run_a_good_job();
}

static void a_job_without_faults_succeeds(void **state)
{
    (void)state;
    run_a_good_job();
}

static void a_worker_that_is_killed_is_named_at_once(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"kill", "WORKER_LOST", "rank 2", false, false, 2000}, "3");
}

static void a_worker_that_exits_is_named_at_once(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"exit", "WORKER_LOST", "rank 2", false, false, 2000}, "3");
}

static void a_worker_that_leaves_in_mid_job_is_named(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"leave", "WORKER_LOST", "rank 2", false, false, 10000}, "3");
}

static void a_worker_that_stops_is_named_at_the_deadline(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"stop", "TIMEOUT", "rank 2", false, true, 20000}, "3");
}

static void a_worker_that_never_contributes_is_named_at_the_deadline(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"idle", "TIMEOUT", "rank 2", false, true, 20000}, "3");
}

static void case_s53_another_batch_is_found_and_its_rank_named(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"batch", "BATCH_MISMATCH", "rank 2", true, false, 5000}, "3");
}

static void another_schema_is_found_and_its_rank_named(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"schema", "SCHEMA_MISMATCH", "rank 2", true, false, 5000}, "0");
}

static void case_d31_a_nan_fails_the_step_on_all_ranks(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"nan", "NONFINITE", "rank 2", true, false, 5000}, "3");
}

/* The library refuses it already; the rank then gives up, and the others hear of that. */
static void a_duplicate_contribution_is_refused(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"duplicate", "WORKER_LOST", "rank 2", false, false, 5000}, "3");
}

static void case_s66_an_attestation_that_differs_from_the_plan_fails_the_step(void **state)
{
    (void)state;
    run_scenario(&(struct scenario){"tokens", "ATTESTATION", "rank 2", true, false, 5000}, "3");
    run_scenario(&(struct scenario){"area", "ATTESTATION", "rank 2", true, false, 5000}, "3");
}

static void parameters_that_differ_are_found_at_commit(void **state)
{
    (void)state;
    run_scenario(
        &(struct scenario){"parameters", "PARAMETER_MISMATCH", "rank 2", true, false, 5000}, "3");
}

/*
 * A lie in one's own memory spoils at most the own job: either nothing is noticed, or a frame was
 * on its way between two nodes and its checksum does not fit any more. Nobody else is disturbed.
 */
static void a_worker_that_scribbles_over_its_arena_disturbs_nobody(void **state)
{
    static const char *const argv[] = {"scenario_worker", "5", "scribble", FAULTY, "2", NULL};
    int statuses[RANKS];
    (void)state;

    cluster_run(&cluster, "scribble", argv, RANKS, rank_nodes());
    assert_true(cluster_wait(&cluster, 20000, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        const bool told = strstr(proc_out(cluster.workers[rank]), "failed CHECKSUM:") != NULL;
        assert_int_equal(statuses[rank], cluster.nodes > 1 && told ? 3 : 0);
    }
    cluster_clear_workers(&cluster);
    run_a_good_job();
}

/* D45: whatever is killed leaves no memory. */
static void case_d45_killed_workers_leave_no_memory(void **state)
{
    static const char *const argv[] = {"scenario_worker", "1000000", NULL};
    (void)state;

    for (int round = 0; round < 10; round++) {
        cluster_run(&cluster, "doomed", argv, RANKS, rank_nodes());
        assert_true(proc_wait_line(cluster.workers[0], "step 2", NULL, 20000));
        for (uint32_t rank = 0; rank < RANKS; rank++) {
            proc_signal(cluster.workers[rank], SIGKILL);
        }
        cluster_clear_workers(&cluster);
        assert_true(proc_wait_until(job_memory_is_gone, NULL, 10000));
    }
}

#define SCENARIOS                                                                                  \
    cmocka_unit_test(a_job_without_faults_succeeds),                                               \
        cmocka_unit_test(a_worker_that_is_killed_is_named_at_once),                                \
        cmocka_unit_test(a_worker_that_exits_is_named_at_once),                                    \
        cmocka_unit_test(a_worker_that_leaves_in_mid_job_is_named),                                \
        cmocka_unit_test(a_worker_that_stops_is_named_at_the_deadline),                            \
        cmocka_unit_test(a_worker_that_never_contributes_is_named_at_the_deadline),                \
        cmocka_unit_test(case_s53_another_batch_is_found_and_its_rank_named),                      \
        cmocka_unit_test(another_schema_is_found_and_its_rank_named),                              \
        cmocka_unit_test(case_d31_a_nan_fails_the_step_on_all_ranks),                              \
        cmocka_unit_test(a_duplicate_contribution_is_refused),                                     \
        cmocka_unit_test(case_s66_an_attestation_that_differs_from_the_plan_fails_the_step),       \
        cmocka_unit_test(parameters_that_differ_are_found_at_commit),                              \
        cmocka_unit_test(a_worker_that_scribbles_over_its_arena_disturbs_nobody),                  \
        cmocka_unit_test(case_d45_killed_workers_leave_no_memory)

int main(void)
{
    const struct CMUnitTest one[] = {SCENARIOS};
    const struct CMUnitTest two[] = {SCENARIOS};

    return cmocka_run_group_tests_name("one node", one, start_1, stop) +
           cmocka_run_group_tests_name("two nodes", two, start_2, stop);
}
