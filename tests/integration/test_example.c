/*
 * The worker of the README: on two nodes with two workers each it finishes, and every rank, of four
 * and of one, prints the same gradient.
 */
#include "tests/support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NODES 2
#define WORKERS 4
#define TOKENS 2000

struct printed {
    int rank, world_size;
    long long rows;
    int tokens;
    double gradient[3];
};

static struct cluster cluster;

static int start(void **state)
{
    const struct cluster_options options = {.nodes = NODES};

    (void)state;
    cluster_start(&cluster, &options);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return cluster_stop(&cluster) == 0 ? 0 : -1;
}

static void run(const char *job, uint32_t workers, struct printed *ret)
{
    static const char *const argv[] = {"seqsync-example", NULL};
    static const uint32_t nodes[WORKERS] = {0, 0, 1, 1};
    int statuses[CLUSTER_WORKERS_MAX];

    cluster_run(&cluster, job, argv, workers, nodes);
    assert_true(cluster_wait(&cluster, 60000, statuses));
    for (uint32_t rank = 0; rank < workers; rank++) {
        const char *out = proc_out(cluster.workers[rank]);
        struct printed *p = &ret[rank];
        if (statuses[rank] != 0 ||
            sscanf(out, "rank %d of %d computed %lld of %d tokens; gradient %lf %lf %lf ...",
                   &p->rank, &p->world_size, &p->rows, &p->tokens, &p->gradient[0], &p->gradient[1],
                   &p->gradient[2]) != 7) {
            fail_msg("rank %u ended with %d and printed: %s", rank, statuses[rank], out);
        }
        assert_int_equal(p->rank, rank);
        assert_int_equal(p->world_size, workers);
        assert_int_equal(p->tokens, TOKENS);
    }
    cluster_clear_workers(&cluster);
}

static void four_workers_compute_the_gradient_of_one(void **state)
{
    (void)state;
    struct printed one, four[WORKERS];
    long long rows = 0;

    run("one", 1, &one);
    run("four", WORKERS, four);
    assert_int_equal(one.rows, TOKENS);
    for (int rank = 0; rank < WORKERS; rank++) {
        rows += four[rank].rows;
        for (int i = 0; i < 3; i++) {
            /* Equal bits on all ranks. One rank sums in another order: invariant 2, and half a
             * unit of the last digit printed, twice. */
            assert_true(four[rank].gradient[i] == four[0].gradient[i]);
            assert_true(fabs(four[rank].gradient[i] - one.gradient[i]) <=
                        1e-5 * fabs(one.gradient[i]) + 1e-5);
            assert_true(fabs(one.gradient[i]) > 1e-3);
        }
    }
    assert_int_equal(rows, TOKENS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(four_workers_compute_the_gradient_of_one)};

    return cmocka_run_group_tests(tests, start, stop);
}
