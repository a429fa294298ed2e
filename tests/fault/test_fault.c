/*
 * Bad input, bad luck and bad configuration against real daemons: a clear error each, and nothing
 * else disturbed.
 */
#include "tests/support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#define RANKS 4

static struct cluster cluster;
static const uint32_t two_nodes[RANKS] = {0, 0, 1, 1};

static void start(uint32_t nodes, const char *const *extra)
{
    cluster_start(&cluster, &(struct cluster_options){.nodes = nodes, .extra = extra});
}

static void stop(void)
{
    assert_int_equal(cluster_stop(&cluster), 0);
}

static void run_job(const char *job, const char *const *argv, uint32_t ranks, const uint32_t *nodes)
{
    int statuses[CLUSTER_WORKERS_MAX];

    cluster_run(&cluster, job, argv, ranks, nodes);
    assert_true(cluster_wait(&cluster, 30000, statuses));
    for (uint32_t rank = 0; rank < ranks; rank++) {
        if (statuses[rank] != 0) {
            fprintf(stderr, "rank %u: %s\n", rank, proc_out(cluster.workers[rank]));
        }
        assert_int_equal(statuses[rank], 0);
    }
    cluster_clear_workers(&cluster);
}

/* A long job that goes on while the test misbehaves; ended by a last look at its steps. */
static void start_job(void)
{
    static const char *const argv[] = {"scenario_worker", "1000000", NULL};

    cluster_run(&cluster, "busy", argv, RANKS, two_nodes);
    assert_true(proc_wait_line(cluster.workers[0], "step 2", NULL, 20000));
}

static void expect_job_goes_on(void)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        size_t from = strlen(proc_out(cluster.workers[rank]));
        for (int line = 0; line < 5; line++) {
            assert_true(proc_wait_line(cluster.workers[rank], " step ", &from, 20000));
        }
    }
}

/* ---- hostile bytes ---- */

static int worker_connect(uint32_t node)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/node-%c.sock", cluster.tmp.path,
             'a' + (int)node);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)),
                     0);
    return fd;
}

static void fill_random(uint8_t *bytes, size_t length, uint32_t seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

static void throw_at_worker_sockets(void)
{
    static uint8_t bytes[65536];

    for (uint32_t i = 0; i < 200; i++) {
        const int fd = worker_connect(i % 2);
        const size_t length = i % 3 == 0 ? 0 : (i * 977) % sizeof(bytes);
        fill_random(bytes, length, i);
        /* It may be refused at once: that is the point. */
        (void)!send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
    }
}

static void throw_at_zmq(void *context, int type, const char *suffix)
{
    char endpoint[TMP_PATH_MAX];
    uint8_t bytes[4096];
    const int linger = 0, timeout = 1000;

    for (uint32_t i = 0; i < 60; i++) {
        void *socket = zmq_socket(context, type);
        snprintf(endpoint, sizeof(endpoint), "ipc://%s/node-%c.%s", cluster.tmp.path,
                 i % 2 ? 'a' : 'b', suffix);
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
        zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout, sizeof(timeout));
        assert_int_equal(zmq_connect(socket, endpoint), 0);
        for (uint32_t part = 0; part < i % 5 + 1; part++) {
            const size_t length = (i * 131 + part * 17) % sizeof(bytes);
            fill_random(bytes, length, i * 7 + part);
            zmq_send(socket, bytes, length, part < i % 5 ? ZMQ_SNDMORE : 0);
        }
        zmq_close(socket);
    }
}

static void case_d39_hostile_bytes_on_every_socket_disturb_no_job(void **state)
{
    void *context = zmq_ctx_new();
    (void)state;

    start(2, NULL);
    start_job();
    throw_at_worker_sockets();
    throw_at_zmq(context, ZMQ_DEALER, "peer");
    throw_at_zmq(context, ZMQ_PUSH, "peer.bulk");
    throw_at_zmq(context, ZMQ_DEALER, "admin");
    throw_at_zmq(context, ZMQ_PUB, "peer");
    expect_job_goes_on();
    for (int i = 0; i < 20; i++) {
        static const char *const questions[][4] = {{"status", NULL},
                                                   {"nodes", "--json", NULL},
                                                   {"jobs", NULL},
                                                   {"shards", "busy", "--json", NULL}};
        assert_int_equal(cluster_ctl(&cluster, (uint32_t)i % 2, questions[i % 4], NULL), 0);
    }
    expect_job_goes_on();
    zmq_ctx_term(context);
    stop();
}

/* ---- shutdown ---- */

static void case_d9_sigterm_under_load_exits_in_time_and_tells_the_workers(void **state)
{
    int status, statuses[RANKS];
    (void)state;

    start(2, NULL);
    start_job();
    proc_signal(cluster.daemons[1], SIGTERM);
    assert_true(proc_wait_exit(cluster.daemons[1], 10000, &status));
    assert_int_equal(status, 0);
    assert_true(cluster_wait(&cluster, 10000, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        assert_int_equal(statuses[rank], 3);
        if (strstr(proc_out(cluster.workers[rank]), "node-b") == NULL) {
            fprintf(stderr, "rank %u: %s\n", rank, proc_out(cluster.workers[rank]));
            fail();
        }
    }
    stop();
}

/* ---- limits ---- */

static void expect_refusal(const char *code, const char *names)
{
    static const char *const argv[] = {"scenario_worker", "3", NULL};
    static const uint32_t one_node[RANKS] = {0, 0, 0, 0};
    int statuses[RANKS];
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "failed %s:", code);
    cluster_run(&cluster, "refused", argv, RANKS, one_node);
    assert_true(cluster_wait(&cluster, 20000, statuses));
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        const char *at = strstr(proc_out(cluster.workers[rank]), wanted);
        if (statuses[rank] != 3 || at == NULL || strstr(at, names) == NULL) {
            fprintf(stderr, "rank %u, not %s naming \"%s\": %s\n", rank, code, names,
                    proc_out(cluster.workers[rank]));
            fail();
        }
    }
    cluster_clear_workers(&cluster);
}

static void a_job_beyond_the_quota_is_refused_and_the_quota_named(void **state)
{
    static const char *const extra[] = {"arena.limit = 64KiB", NULL};
    (void)state;

    start(1, extra);
    expect_refusal("NO_CAPACITY", "[arena] limit");
    stop();
}

static void a_daemon_without_descriptors_refuses_and_lives_on(void **state)
{
    static const char *const argv[] = {"scenario_worker", "3", NULL};
    static const uint32_t one_node[RANKS] = {0, 0, 0, 0};
    struct rlimit few, many;
    (void)state;

    start(1, NULL);
    const pid_t pid = proc_pid(cluster.daemons[0]);
    assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, &many), 0);
    few = many;
    few.rlim_cur = 48; /* sockets and workers fit, segments do not */
    assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &few, NULL), 0);
    expect_refusal("NO_MEMORY", "shared memory");
    assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &many, NULL), 0);
    run_job("good", argv, RANKS, one_node);
    stop();
}

/* ---- set-up ---- */

static void expect_start_fails(const char *config, int want, const char *names)
{
    char program[TMP_PATH_MAX], path[TMP_PATH_MAX], *out = NULL;
    struct tmp tmp;

    tmp_make(&tmp);
    tmp_write(&tmp, path, "bad.conf", config);
    const char *const argv[] = {cluster_program("seqsyncd", program), "--config", path, NULL};
    const int status = proc_run(argv, 10000, &out);
    if (status != want || strstr(out, names) == NULL) {
        fprintf(stderr, "ended with %d, not with %d naming \"%s\":\n%s\n", status, want, names,
                out);
        fail();
    }
    free(out);
    tmp_remove(&tmp);
}

static void a_typo_in_the_config_is_named_with_file_and_line(void **state)
{
    (void)state;
    expect_start_fails("[node]\nname = a\n[timeouts]\nstpe = 3s\n", 78, "bad.conf:4");
    expect_start_fails("[node]\nname = a\n[timeouts]\nstpe = 3s\n", 78, "step");
    expect_start_fails("[node]\nname = a\n[timeouts]\nstep = 3 parsecs\n", 78, "bad.conf:4");
    expect_start_fails("[nodes]\nname = a\n", 78, "bad.conf:1");
}

static void no_daemon_listens_to_the_network_without_keys(void **state)
{
    (void)state;
    expect_start_fails(
        "[node]\nname = a\nruntime-dir = /tmp\nworker-socket = /tmp/seqsync-none.sock\n"
        "admin-endpoint = ipc:///tmp/seqsync-none.admin\n"
        "[peers]\nmember = a tcp://0.0.0.0:7999\nmember = b tcp://192.0.2.1:7999\n",
        78, "allow-plaintext");
}

static void a_second_daemon_on_the_same_socket_is_refused(void **state)
{
    char program[TMP_PATH_MAX], path[TMP_PATH_MAX], *out = NULL;
    (void)state;

    start(1, NULL);
    snprintf(path, sizeof(path), "%s/node-a.conf", cluster.tmp.path);
    const char *const argv[] = {cluster_program("seqsyncd", program), "--config", path, NULL};
    const int status = proc_run(argv, 10000, &out);
    if (status != 75 || strstr(out, "another") == NULL) {
        fprintf(stderr, "ended with %d: %s\n", status, out);
        fail();
    }
    free(out);
    static const char *const ask[] = {"status", NULL};
    assert_int_equal(cluster_ctl(&cluster, 0, ask, NULL), 0);
    stop();
}

static void a_worker_without_a_daemon_is_told_where_it_looked(void **state)
{
    char program[TMP_PATH_MAX];
    int status;
    (void)state;

    const char *const argv[] = {cluster_program("scenario_worker", program), "1", NULL};
    const char *const environment[] = {"SEQSYNC_SOCKET=/nonexistent/seqsync.sock", "RANK=0",
                                       "WORLD_SIZE=1", NULL};
    struct proc *worker = proc_start(
        &(struct proc_options){.argv = argv, .environment = environment, .same_stderr = true});
    assert_true(proc_wait_exit(worker, 10000, &status));
    assert_int_equal(status, 3);
    assert_non_null(strstr(proc_out(worker), "failed UNREACHABLE:"));
    assert_non_null(strstr(proc_out(worker), "/nonexistent/seqsync.sock"));
    worker = proc_free(worker);
}

/* ---- full disk ---- */

static void a_full_disk_ends_the_trainer_with_a_clear_error(void **state)
{
    char folder[TMP_PATH_MAX], filler[TMP_PATH_MAX + 16], program[TMP_PATH_MAX];
    struct tmp tmp;
    int status;
    (void)state;

    tmp_make(&tmp);
    tmp_file(&tmp, folder, "disk");
    assert_int_equal(mkdir(folder, 0700), 0);
    if (mount("tmpfs", folder, "tmpfs", 0, "size=64k") != 0) {
        print_message("skipped: cannot mount a small file system: %s\n", strerror(errno));
        tmp_remove(&tmp);
        skip();
    }
    snprintf(filler, sizeof(filler), "%s/filler", folder);
    FILE *file = fopen(filler, "w");
    for (int i = 0; i < 1024 && file != NULL; i++) {
        static const char block[64] = {0};
        if (fwrite(block, sizeof(block), 1, file) != 1) {
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file); /* fails as well: the disk is full */
    }
    start(1, NULL);
    const char *const argv[] = {cluster_program("seqsync-trainer", program),
                                "--synthetic",
                                "--size",
                                "32x32",
                                "--frames",
                                "2",
                                "--steps",
                                "2",
                                "--width",
                                "24",
                                "--layers",
                                "1",
                                "--heads",
                                "1",
                                "--out",
                                folder,
                                "--quiet",
                                NULL};
    char socket[TMP_PATH_MAX + 32];
    snprintf(socket, sizeof(socket), "SEQSYNC_SOCKET=%s/node-a.sock", cluster.tmp.path);
    const char *const environment[] = {socket, "RANK=0", "WORLD_SIZE=1", "OPENBLAS_NUM_THREADS=1",
                                       NULL};
    struct proc *trainer = proc_start(
        &(struct proc_options){.argv = argv, .environment = environment, .same_stderr = true});
    assert_true(proc_wait_exit(trainer, 30000, &status));
    if (status == 0 || strstr(proc_out(trainer), "error:") == NULL ||
        strstr(proc_out(trainer), "No space left") == NULL) {
        fprintf(stderr, "ended with %d: %s\n", status, proc_out(trainer));
        fail();
    }
    trainer = proc_free(trainer);
    stop();
    assert_int_equal(umount(folder), 0);
    tmp_remove(&tmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_d39_hostile_bytes_on_every_socket_disturb_no_job),
        cmocka_unit_test(case_d9_sigterm_under_load_exits_in_time_and_tells_the_workers),
        cmocka_unit_test(a_job_beyond_the_quota_is_refused_and_the_quota_named),
        cmocka_unit_test(a_daemon_without_descriptors_refuses_and_lives_on),
        cmocka_unit_test(a_typo_in_the_config_is_named_with_file_and_line),
        cmocka_unit_test(no_daemon_listens_to_the_network_without_keys),
        cmocka_unit_test(a_second_daemon_on_the_same_socket_is_refused),
        cmocka_unit_test(a_worker_without_a_daemon_is_told_where_it_looked),
        cmocka_unit_test(a_full_disk_ends_the_trainer_with_a_clear_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
