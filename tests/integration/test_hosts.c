/*
 * Three hosts for real: a network namespace each, joined by veth links and a bridge. Killed daemons
 * and cut links end the job on all survivors, by name and within the deadline; what is left is fit
 * for the next job.
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

#define HOSTS 3
#define RANKS 6

static struct netns *netns;
static struct cluster cluster;
static const uint32_t rank_nodes[RANKS] = {0, 0, 1, 1, 2, 2};

static int start_with(bool keys)
{
    char why[256];

    netns = netns_new(HOSTS, why, sizeof(why));
    if (netns == NULL) {
        print_message("skipped: no network namespaces: %s\n", why);
        return -1;
    }
    cluster_start(&cluster,
                  &(struct cluster_options){.nodes = HOSTS, .netns = netns, .keys = keys});
    return 0;
}

static int start(void **state)
{
    (void)state;
    return start_with(false);
}

static int start_keys(void **state)
{
    (void)state;
    return start_with(true);
}

static int stop(void **state)
{
    (void)state;
    const uint32_t wrong = cluster_stop(&cluster);
    netns = netns_free(netns);
    return wrong == 0 ? 0 : -1;
}

static void run_good(const char *program, const char *a, const char *b, const char *c)
{
    const char *const argv[] = {program, a, b, c, NULL};
    int statuses[RANKS];

    cluster_run(&cluster, "good", argv, RANKS, rank_nodes);
    assert_true(cluster_wait(&cluster, 120000, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (statuses[rank] != 0) {
            fprintf(stderr, "rank %u: %s\n", rank, proc_out(cluster.workers[rank]));
        }
        assert_int_equal(statuses[rank], 0);
    }
    cluster_clear_workers(&cluster);
}

static void three_hosts_give_the_numbers_of_one_process(void **state)
{
    (void)state;
    run_good("numerics_worker", "5000", "12", "200");
}

static void start_doomed(void)
{
    static const char *const argv[] = {"scenario_worker", "1000000", NULL};

    cluster_run(&cluster, "doomed", argv, RANKS, rank_nodes);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        assert_true(proc_wait_line(cluster.workers[rank], "step 3", NULL, 30000));
    }
}

/* All ranks on other nodes fail with @code, naming @name, within @limit_ms; ranks of @node fail
 * with whatever they can know. */
static void expect_all_fail(uint32_t node, const char *code, const char *name, uint32_t limit_ms)
{
    int statuses[RANKS];
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "failed %s:", code);
    assert_true(cluster_wait(&cluster, limit_ms, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        const char *out = proc_out(cluster.workers[rank]);
        assert_int_equal(statuses[rank], 3);
        if (rank_nodes[rank] == node) {
            continue;
        }
        const char *at = strstr(out, wanted);
        if (at == NULL || strstr(at, name) == NULL) {
            fprintf(stderr, "rank %u: no %s naming %s:\n%s\n", rank, code, name, out);
            fail();
        }
    }
    cluster_clear_workers(&cluster);
}

static void wait_all_peers(void)
{
    for (uint32_t node = 0; node < HOSTS; node++) {
        assert_true(cluster_wait_peers(&cluster, node, HOSTS - 1, 30000));
    }
}

static void kill_daemon(uint32_t node, const char *name)
{
    start_doomed();
    proc_signal(cluster.daemons[node], SIGKILL);
    expect_all_fail(node, "PEER_LOST", name, 10000);
    cluster_start_daemon(&cluster, node);
    wait_all_peers();
    run_good("scenario_worker", "5", NULL, NULL);
}

static void a_killed_daemon_is_named_and_can_come_back(void **state)
{
    (void)state;
    kill_daemon(2, "node-c");
}

static void a_killed_conductor_is_named_and_can_come_back(void **state)
{
    (void)state;
    kill_daemon(0, "node-a");
}

static void case_d24_a_killed_worker_is_named_on_all_hosts_at_once(void **state)
{
    (void)state;
    start_doomed();
    proc_signal(cluster.workers[4], SIGKILL);
    int statuses[RANKS];
    assert_true(cluster_wait(&cluster, 3000, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (rank != 4) {
            assert_int_equal(statuses[rank], 3);
            assert_non_null(strstr(proc_out(cluster.workers[rank]), "failed WORKER_LOST: rank 4"));
            assert_non_null(strstr(proc_out(cluster.workers[rank]), "node-c"));
        }
    }
    cluster_clear_workers(&cluster);
    run_good("scenario_worker", "5", NULL, NULL);
}

static void a_cut_link_is_named_and_can_be_mended(void **state)
{
    (void)state;
    start_doomed();
    netns_swallow(netns, 1);
    expect_all_fail(1, "PEER_LOST", "node-b", 15000);
    netns_mend(netns, 1);
    wait_all_peers();
    run_good("scenario_worker", "5", NULL, NULL);
}

static void a_stopped_daemon_is_named_and_can_go_on(void **state)
{
    (void)state;
    start_doomed();
    proc_signal(cluster.daemons[1], SIGSTOP);
    int statuses[RANKS];
    /* Its own workers hear of it only when it goes on. */
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (rank_nodes[rank] != 1) {
            assert_true(proc_wait_exit(cluster.workers[rank], 15000, &statuses[rank]));
            assert_int_equal(statuses[rank], 3);
            assert_non_null(strstr(proc_out(cluster.workers[rank]), "node-b"));
        }
    }
    proc_signal(cluster.daemons[1], SIGCONT);
    assert_true(cluster_wait(&cluster, 15000, statuses));
    cluster_clear_workers(&cluster);
    wait_all_peers();
    run_good("scenario_worker", "5", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(three_hosts_give_the_numbers_of_one_process),
        cmocka_unit_test(case_d24_a_killed_worker_is_named_on_all_hosts_at_once),
        cmocka_unit_test(a_killed_daemon_is_named_and_can_come_back),
        cmocka_unit_test(a_killed_conductor_is_named_and_can_come_back),
        cmocka_unit_test(a_cut_link_is_named_and_can_be_mended),
        cmocka_unit_test(a_stopped_daemon_is_named_and_can_go_on),
    };
    const struct CMUnitTest keys[] = {
        cmocka_unit_test(three_hosts_give_the_numbers_of_one_process),
        cmocka_unit_test(a_killed_daemon_is_named_and_can_come_back),
    };
    char why[256];

    netns = netns_new(1, why, sizeof(why));
    if (netns == NULL) {
        print_message("skipped: no network namespaces here: %s\n", why);
        return 77;
    }
    netns = netns_free(netns);
    return cmocka_run_group_tests_name("three hosts", plain, start, stop) +
           cmocka_run_group_tests_name("three hosts with keys", keys, start_keys, stop);
}
