/*
 * seqctl's questions to real daemons with a real job: the answers are true, agree with each other,
 * and asking disturbs nothing.
 */
#include "tests/support/cluster.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define RANKS 4
#define TOKENS 97 /* of scenario_worker's one sequence */
#define SOON_MS 20000

static struct cluster cluster;
static const uint32_t rank_nodes[RANKS] = {0, 0, 1, 1};

static int start(void **state)
{
    (void)state;
    cluster_start(&cluster, &(struct cluster_options){.nodes = 2});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return cluster_stop(&cluster) == 0 ? 0 : -1;
}

/* A job that stays in its third step: rank 2 computes nothing. */
static void hold_a_job(void)
{
    static const char *const argv[] = {"scenario_worker", "20", "idle", "2", "3", NULL};
    cluster_run(&cluster, "held", argv, RANKS, rank_nodes);
    assert_true(proc_wait_line(cluster.workers[2], "rank 2 did idle", NULL, SOON_MS));
}

/* The answer as JSON; the caller frees it. */
static json_t *ask(uint32_t node, const char *const *words, int expected_status)
{
    char *out = NULL;
    json_error_t error;
    int status = cluster_ctl(&cluster, node, words, &out);
    json_t *root = json_loads(out, 0, &error);
    if (status != expected_status || !root) {
        fail_msg("seqctl %s: status %d, %s", words[0], status, out);
    }
    free(out);
    return root;
}

static json_int_t number(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    if (!json_is_integer(value)) {
        fail_msg("%s is no number", name);
    }
    return json_integer_value(value);
}

static void status_knows_nodes_workers_and_jobs(void **state)
{
    (void)state;
    static const char *const words[] = {"status", "--json", NULL};
    hold_a_job();
    for (uint32_t node = 0; node < 2; node++) {
        json_t *root = ask(node, words, 0);
        assert_string_equal(json_string_value(json_object_get(root, "schema")), "seqctl.status/1");
        assert_string_equal(json_string_value(json_object_get(root, "node")),
                            node ? "node-b" : "node-a");
        assert_string_equal(json_string_value(json_object_get(root, "conductor")), "node-a");
        assert_int_equal(number(root, "nodes_up"), 2);
        assert_int_equal(number(root, "nodes_down"), 0);
        assert_int_equal(number(root, "workers"), 2);
        assert_int_equal(number(root, "jobs_running"), 1);
        assert_true(number(root, "arena_bytes") > 0);
        assert_true(number(root, "bulk_sent_bytes") > 0);
        assert_int_equal(number(root, "checksum_errors"), 0);
        json_decref(root);
    }
    cluster_clear_workers(&cluster);
}

static void nodes_know_themselves_and_each_other(void **state)
{
    (void)state;
    static const char *const words[] = {"nodes", "--json", NULL};
    for (uint32_t node = 0; node < 2; node++) {
        json_t *root = ask(node, words, 0);
        json_t *nodes = json_object_get(root, "nodes");
        assert_int_equal(json_array_size(nodes), 2);
        for (uint32_t i = 0; i < 2; i++) {
            json_t *entry = json_array_get(nodes, i);
            assert_string_equal(json_string_value(json_object_get(entry, "state")), "up");
            assert_int_equal(json_is_true(json_object_get(entry, "self")), i == node);
            assert_string_equal(json_string_value(json_object_get(entry, "name")),
                                i ? "node-b" : "node-a");
        }
        json_decref(root);
    }
}

static void jobs_know_step_and_losses(void **state)
{
    (void)state;
    static const char *const words[] = {"jobs", "--json", NULL};
    hold_a_job();
    json_t *root = ask(0, words, 0);
    json_t *jobs = json_object_get(root, "jobs");
    json_t *job = NULL;
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        json_t *entry = json_array_get(jobs, i);
        if (strcmp(json_string_value(json_object_get(entry, "state")), "running") == 0) {
            job = entry;
        }
    }
    assert_non_null(job);
    assert_string_equal(json_string_value(json_object_get(job, "name")), "held");
    assert_int_equal(number(job, "step"), 2);
    assert_int_equal(number(job, "world_size"), RANKS);
    assert_int_equal(number(job, "node_count"), 2);
    assert_int_equal(number(job, "tokens"), TOKENS);
    /* scenario_worker's loss of step s is 1/s. */
    json_t *losses = json_object_get(job, "losses");
    assert_int_equal(json_array_size(losses), 2);
    assert_true(json_number_value(json_array_get(losses, 0)) == 1.0);
    assert_true(json_number_value(json_array_get(losses, 1)) == 0.5);
    json_decref(root);
    cluster_clear_workers(&cluster);
}

/* Marks the tokens of a shard's chunks; each may be marked once. */
static void mark_tokens(const json_t *shard, bool held[TOKENS])
{
    json_t *chunks = json_object_get(shard, "chunks");
    json_int_t tokens = 0;
    for (size_t i = 0; i < json_array_size(chunks); i++) {
        json_t *chunk = json_array_get(chunks, i);
        json_int_t first = number(chunk, "first");
        json_int_t count = number(chunk, "count");
        assert_int_equal(number(chunk, "sequence"), 0);
        assert_int_equal(number(chunk, "position"), first); /* of the only sequence */
        assert_in_range(first + count, 1, TOKENS);
        for (json_int_t t = first; t < first + count; t++) {
            assert_false(held[t]);
            held[t] = true;
        }
        tokens += count;
    }
    assert_int_equal(tokens, number(shard, "tokens"));
}

static void check_shard(const json_t *shard, uint32_t rank, uint32_t asked_node)
{
    json_t *cells = json_object_get(shard, "cells");
    json_int_t area = 0;
    assert_int_equal(number(shard, "rank"), rank);
    assert_int_equal(number(shard, "node"), rank_nodes[rank]);
    for (size_t i = 0; i < json_array_size(cells); i++) {
        area += number(json_array_get(cells, i), "area");
    }
    assert_int_equal(area, number(shard, "area"));
    /* Full attention: every query sees every key. */
    assert_int_equal(area, number(shard, "tokens") * TOKENS);
    assert_true(number(shard, "need_remote_bytes") <= number(shard, "need_bytes"));
    json_int_t pid = number(shard, "pid");
    if (rank_nodes[rank] == asked_node) {
        assert_int_equal(pid, proc_pid(cluster.workers[rank]));
    } else {
        assert_int_equal(pid, 0);
    }
}

static void shards_hold_every_token_once_and_add_up(void **state)
{
    (void)state;
    static const char *const words[] = {"shards", "held", "--json", NULL};
    hold_a_job();
    for (uint32_t node = 0; node < 2; node++) {
        bool held[TOKENS] = {false};
        json_t *root = ask(node, words, 0);
        json_t *shards = json_object_get(root, "shards");
        assert_int_equal(json_array_size(shards), RANKS);
        for (uint32_t rank = 0; rank < RANKS; rank++) {
            mark_tokens(json_array_get(shards, rank), held);
            check_shard(json_array_get(shards, rank), rank, node);
        }
        for (int t = 0; t < TOKENS; t++) {
            assert_true(held[t]);
        }
        json_decref(root);
    }
    cluster_clear_workers(&cluster);
}

static void tables_are_printed_in_ascii_where_the_locale_is_not_utf8(void **state)
{
    (void)state;
    static const char *const shards[] = {"shards", "held", "--heat", NULL};
    char *out = NULL;
    hold_a_job();
    setenv("LC_ALL", "C", 1);
    assert_int_equal(cluster_ctl(&cluster, 0, shards, &out), 0);
    for (const char *c = out; *c; c++) {
        assert_true((unsigned char)*c < 0x80);
    }
    assert_non_null(strstr(out, "scale"));
    assert_null(strstr(out, "\\x"));
    free(out);
    setenv("LC_ALL", "C.UTF-8", 1);
    assert_int_equal(cluster_ctl(&cluster, 0, shards, &out), 0);
    assert_true(strstr(out, "█") || strstr(out, "░"));
    free(out);
    unsetenv("LC_ALL");
    cluster_clear_workers(&cluster);
}

static void unknown_job_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const words[] = {"shards", "no-such-job", "--json", NULL};
    json_t *root = ask(0, words, 65);
    json_t *error = json_object_get(root, "error");
    assert_string_equal(json_string_value(json_object_get(root, "schema")), "seqctl.error/1");
    assert_non_null(strstr(json_string_value(json_object_get(error, "message")), "no-such-job"));
    json_decref(root);
}

/* A socket that sends what no seqctl would, and reads no answer. */
static void send_garbage(void *socket, uint32_t serial)
{
    uint8_t bytes[512];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        serial = serial * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(serial >> 24);
    }
    zmq_send(socket, bytes, serial % sizeof(bytes), ZMQ_DONTWAIT);
}

/* D39: status queries and port scans crash the jobs of others; not ours. */
static void case_d39_hammering_the_admin_socket_disturbs_no_job(void **state)
{
    (void)state;
    static const char *const argv[] = {"scenario_worker", "300", NULL};
    static const char *const words[] = {"shards", "hammered", "-q", NULL};
    char endpoint[TMP_PATH_MAX + 16];
    int statuses[RANKS];
    int linger = 0;
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/node-a.admin", cluster.tmp.path);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    assert_int_equal(zmq_connect(socket, endpoint), 0);

    cluster_run(&cluster, "hammered", argv, RANKS, rank_nodes);
    assert_true(proc_wait_line(cluster.workers[0], "step 1", NULL, SOON_MS));
    uint32_t asked = 0;
    while (proc_is_running(cluster.workers[0])) {
        for (uint32_t i = 0; i < 200; i++) {
            send_garbage(socket, asked * 200 + i);
        }
        cluster_ctl(&cluster, 0, words, NULL);
        asked++;
    }
    assert_true(asked > 2);
    assert_true(cluster_wait(&cluster, SOON_MS, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        assert_int_equal(statuses[rank], 0);
        assert_non_null(strstr(proc_out(cluster.workers[rank]), "step 300"));
    }
    cluster_clear_workers(&cluster);
    zmq_close(socket);
    zmq_ctx_term(context);
}

static void node_that_is_killed_is_shown_as_down(void **state)
{
    (void)state;
    static const char *const words[] = {"nodes", "--json", NULL};
    static const char *const status[] = {"status", "-q", NULL};
    proc_signal(cluster.daemons[1], SIGKILL);
    assert_true(cluster_wait_peers(&cluster, 0, 0, SOON_MS));
    json_t *root = ask(0, words, 0);
    json_t *entry = json_array_get(json_object_get(root, "nodes"), 1);
    assert_string_equal(json_string_value(json_object_get(entry, "state")), "down");
    assert_true(strlen(json_string_value(json_object_get(entry, "reason"))) > 0);
    json_decref(root);
    assert_in_range(cluster_ctl(&cluster, 0, status, NULL), 1, 2);
    cluster_start_daemon(&cluster, 1);
    assert_true(cluster_wait_peers(&cluster, 0, 1, SOON_MS));
    assert_int_equal(cluster_ctl(&cluster, 0, status, NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_knows_nodes_workers_and_jobs),
        cmocka_unit_test(nodes_know_themselves_and_each_other),
        cmocka_unit_test(jobs_know_step_and_losses),
        cmocka_unit_test(shards_hold_every_token_once_and_add_up),
        cmocka_unit_test(tables_are_printed_in_ascii_where_the_locale_is_not_utf8),
        cmocka_unit_test(unknown_job_is_refused_by_name),
        cmocka_unit_test(case_d39_hammering_the_admin_socket_disturbs_no_job),
        cmocka_unit_test(node_that_is_killed_is_shown_as_down),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, start, stop);
}
