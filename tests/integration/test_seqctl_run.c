/* seqctl run with real daemons and workers: results, errors that name who, and nothing left. */
#include "tests/support/cluster.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOON_MS 60000
#define WORDS_MAX 32

struct fixture {
    struct tmp tmp;
    char runtime[TMP_PATH_MAX + 32];
    char logs[TMP_PATH_MAX];
    char marker[64];
    struct proc *proc;
};

static int setup(void **state)
{
    static int serial;
    struct fixture *f = calloc(1, sizeof(*f));
    char path[TMP_PATH_MAX];
    tmp_make(&f->tmp);
    mkdir(tmp_file(&f->tmp, path, "run"), 0700);
    snprintf(f->runtime, sizeof(f->runtime), "XDG_RUNTIME_DIR=%s", path);
    tmp_file(&f->tmp, f->logs, "logs");
    snprintf(f->marker, sizeof(f->marker), "SEQCTL_RUN_MARKER=%d-%d", (int)getpid(), serial++);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    proc_free(f->proc);
    tmp_remove(&f->tmp);
    free(f);
    return 0;
}

/* seqctl run with two nodes and four workers of scenario_worker, with the words of @arguments. */
static void start(struct fixture *f, const char *arguments)
{
    char seqctl[TMP_PATH_MAX];
    char worker[TMP_PATH_MAX];
    char line[128];
    const char *words[WORDS_MAX] = {cluster_program("seqctl", seqctl),
                                    "run",
                                    "-n",
                                    "2",
                                    "-w",
                                    "4",
                                    "--peer-silence",
                                    "2s",
                                    "--step-timeout",
                                    "20s",
                                    "--keep-logs",
                                    f->logs,
                                    "--",
                                    cluster_program("scenario_worker", worker)};
    size_t count = 14;
    snprintf(line, sizeof(line), "%s", arguments);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    f->proc = proc_start(&(struct proc_options){
        .argv = words,
        .environment = (const char *const[]){f->runtime, f->marker, NULL},
    });
}

static int end(struct fixture *f)
{
    int status = -1;
    assert_true(proc_wait_exit(f->proc, SOON_MS, &status));
    return status;
}

static bool nothing_is_left(void *ctx)
{
    struct fixture *f = ctx;
    DIR *folder = opendir(strchr(f->runtime, '=') + 1);
    struct dirent *entry;
    int files = 0;
    while ((entry = readdir(folder))) {
        files += entry->d_name[0] != '.';
    }
    closedir(folder);
    return files == 0 && proc_count_matching(f->marker) == 0;
}

static void expect_line(const struct fixture *f, const char *format, int rank, const char *text)
{
    char line[256];
    snprintf(line, sizeof(line), "[rank %d] rank %d %s%s", rank, rank, format, text);
    if (!strstr(proc_out(f->proc), line)) {
        fail_msg("no line \"%s\" in\n%s\n%s", line, proc_out(f->proc), proc_err(f->proc));
    }
}

static void job_runs_over_two_daemons(void **state)
{
    struct fixture *f = *state;
    start(f, "10");
    assert_int_equal(end(f), 0);
    for (int rank = 0; rank < 4; rank++) {
        expect_line(f, "step 10", rank, "\n");
    }
    assert_true(nothing_is_left(f));
}

static void killed_worker_ends_the_job_with_errors_that_name_it(void **state)
{
    struct fixture *f = *state;
    start(f, "1000 kill 1 3");
    assert_int_equal(end(f), 128 + SIGKILL);
    assert_non_null(strstr(proc_err(f->proc), "rank 1 on node-a was ended by signal 9"));
    for (int rank = 0; rank < 4; rank++) {
        if (rank != 1) {
            expect_line(f, "failed WORKER_LOST", rank, "");
        }
    }
    /* They ended by themselves, told by their daemons, and not by our force. */
    assert_null(strstr(proc_err(f->proc), "ending the workers that are left"));
    assert_true(nothing_is_left(f));
}

static void killed_daemon_ends_the_job_with_errors_that_name_it(void **state)
{
    struct fixture *f = *state;
    char pattern[TMP_PATH_MAX + 32];
    char *out = NULL;
    start(f, "100000");
    assert_true(proc_wait_line(f->proc, "rank 3 step 2", NULL, SOON_MS));
    snprintf(pattern, sizeof(pattern), "--config %s/node-b.conf", f->logs);
    assert_int_equal(
        proc_run((const char *const[]){"pgrep", "-f", "--", pattern, NULL}, SOON_MS, &out), 0);
    assert_int_equal(kill((pid_t)strtol(out, NULL, 10), SIGKILL), 0);
    free(out);
    uint64_t killed_ms = proc_now_ms();
    assert_int_equal(end(f), 3); /* scenario_worker's status for an error of the library */
    assert_true(proc_now_ms() - killed_ms < 15000);
    for (int rank = 0; rank < 4; rank++) {
        expect_line(f, rank < 2 ? "failed PEER_LOST" : "failed DAEMON_LOST", rank, "");
    }
    assert_non_null(strstr(proc_err(f->proc), "the daemon node-b was ended by signal 9"));
    assert_true(nothing_is_left(f));
}

static void interrupt_ends_everything(void **state)
{
    struct fixture *f = *state;
    start(f, "100000");
    assert_true(proc_wait_line(f->proc, "rank 0 step 2", NULL, SOON_MS));
    proc_signal(f->proc, SIGINT);
    assert_int_equal(end(f), 128 + SIGINT);
    assert_true(nothing_is_left(f));
}

static void killed_seqctl_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    start(f, "100000");
    assert_true(proc_wait_line(f->proc, "rank 0 step 2", NULL, SOON_MS));
    proc_signal(f->proc, SIGKILL);
    assert_int_equal(end(f), 128 + SIGKILL);
    assert_true(proc_wait_until(nothing_is_left, f, SOON_MS));
}

static void setting_that_the_daemon_refuses_is_told_with_its_words(void **state)
{
    struct fixture *f = *state;
    char seqctl[TMP_PATH_MAX];
    f->proc = proc_start(&(struct proc_options){
        .argv = (const char *const[]){cluster_program("seqctl", seqctl), "run", "-n", "2", "-s",
                                      "timeouts.stp=1s", "true", NULL},
        .environment = (const char *const[]){f->runtime, f->marker, NULL},
    });
    assert_int_equal(end(f), 78);
    assert_non_null(strstr(proc_err(f->proc), "stp"));
    assert_non_null(strstr(proc_err(f->proc), "step"));
    assert_true(nothing_is_left(f));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(job_runs_over_two_daemons),
        TEST(killed_worker_ends_the_job_with_errors_that_name_it),
        TEST(killed_daemon_ends_the_job_with_errors_that_name_it),
        TEST(interrupt_ends_everything),
        TEST(killed_seqctl_leaves_nothing),
        TEST(setting_that_the_daemon_refuses_is_told_with_its_words),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
