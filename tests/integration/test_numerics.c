/*
 * Invariant 2 for real: whatever the number of ranks and nodes, lengths, masks and heads, what the
 * ranks hold together is what one process would compute. numerics_worker does the comparing.
 */
#include "tests/support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cluster cluster;

static int start(void **state, uint32_t nodes)
{
    /* The naive reference takes long on a slow machine, most of all under a sanitizer. */
    const struct cluster_options options = {.nodes = nodes, .step_timeout = "200s"};

    (void)state;
    cluster_start(&cluster, &options);
    return 0;
}

static int start_1(void **state)
{
    return start(state, 1);
}

static int start_2(void **state)
{
    return start(state, 2);
}

static int start_3(void **state)
{
    return start(state, 3);
}

static int stop(void **state)
{
    (void)state;
    return cluster_stop(&cluster) == 0 ? 0 : -1;
}

/* Ranks are dealt to nodes in blocks of uneven length, so that neighbours are on one node and on
 * two. */
static void deal_ranks(uint32_t ranks, uint32_t nodes, uint32_t *ret_nodes)
{
    for (uint32_t rank = 0; rank < ranks; rank++) {
        ret_nodes[rank] = (rank * nodes + nodes / 2) / ranks;
        ret_nodes[rank] = ret_nodes[rank] < nodes ? ret_nodes[rank] : nodes - 1;
    }
}

static void run(uint32_t ranks, uint64_t first_seed, uint64_t count, uint32_t tokens_max,
                const char *loss_mask)
{
    uint32_t nodes[CLUSTER_WORKERS_MAX];
    int statuses[CLUSTER_WORKERS_MAX];
    char texts[3][32], job[64];

    snprintf(texts[0], sizeof(texts[0]), "%llu", (unsigned long long)first_seed);
    snprintf(texts[1], sizeof(texts[1]), "%llu", (unsigned long long)count);
    snprintf(texts[2], sizeof(texts[2]), "%u", tokens_max);
    snprintf(job, sizeof(job), "numerics-%u-%u", ranks, tokens_max);
    const char *const argv[] = {"numerics_worker", texts[0], texts[1], texts[2], loss_mask, NULL};
    deal_ranks(ranks, cluster.nodes, nodes);
    cluster_run(&cluster, job, argv, ranks, nodes);
    const bool ended = cluster_wait(&cluster, 500000, statuses);
    for (uint32_t rank = 0; rank < ranks && ended; rank++) {
        if (statuses[rank] != 0) {
            fprintf(stderr, "%u ranks on %u nodes: rank %u:\n%s\n", ranks, cluster.nodes, rank,
                    proc_out(cluster.workers[rank]));
        }
        assert_int_equal(statuses[rank], 0);
    }
    cluster_clear_workers(&cluster);
    assert_true(ended);
}

static const uint32_t rank_counts[] = {1, 2, 3, 4, 5, 7, 8};

static void every_rank_count_gives_the_numbers_of_one_process(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rank_counts) / sizeof(rank_counts[0]); i++) {
        if (rank_counts[i] >= cluster.nodes) {
            run(rank_counts[i], 1000 * cluster.nodes + 100 * i, 16, 150, NULL);
        }
    }
}

static void case_s1_one_valid_token_gives_the_same_gradient_on_every_rank_count(void **state)
{
    (void)state;
    run(2, 40, 3, 60, "one");
    run(4, 40, 3, 60, "one");
}

static void case_s2_no_valid_token_gives_zeros_and_not_nan(void **state)
{
    (void)state;
    run(2, 40, 3, 60, "none");
    run(5, 40, 3, 60, "none");
}

/* Fewer tokens than ranks, lengths that nothing divides: some ranks hold nothing and take part. */
static void case_s43_sequences_shorter_than_the_ranks_keep_the_numbers(void **state)
{
    (void)state;
    run(8, 60, 8, 5, NULL);
    run(7, 70, 8, 1, NULL);
}

/* Long enough for shards of several blocks, with lengths that nothing divides. */
static void longer_sequences_keep_the_numbers_on_every_rank_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rank_counts) / sizeof(rank_counts[0]); i++) {
        if (rank_counts[i] >= cluster.nodes) {
            run(rank_counts[i], 300 + i, 1, 617, NULL);
        }
    }
}

static void long_sequences_keep_the_numbers(void **state)
{
    (void)state;
    run(3, 77, 2, 1021, NULL);
    run(4, 78, 1, 4096, NULL);
}

int main(void)
{
    const struct CMUnitTest one[] = {
        cmocka_unit_test(every_rank_count_gives_the_numbers_of_one_process),
        cmocka_unit_test(longer_sequences_keep_the_numbers_on_every_rank_count)};
    const struct CMUnitTest two[] = {
        cmocka_unit_test(every_rank_count_gives_the_numbers_of_one_process),
        cmocka_unit_test(case_s1_one_valid_token_gives_the_same_gradient_on_every_rank_count),
        cmocka_unit_test(case_s2_no_valid_token_gives_zeros_and_not_nan),
        cmocka_unit_test(case_s43_sequences_shorter_than_the_ranks_keep_the_numbers),
        cmocka_unit_test(longer_sequences_keep_the_numbers_on_every_rank_count),
        cmocka_unit_test(long_sequences_keep_the_numbers)};
    const struct CMUnitTest three[] = {
        cmocka_unit_test(every_rank_count_gives_the_numbers_of_one_process),
        cmocka_unit_test(longer_sequences_keep_the_numbers_on_every_rank_count)};

    return cmocka_run_group_tests_name("one node", one, start_1, stop) +
           cmocka_run_group_tests_name("two nodes", two, start_2, stop) +
           cmocka_run_group_tests_name("three nodes", three, start_3, stop);
}
