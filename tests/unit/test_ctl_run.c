/*
 * seqctl run: places, output, exit status, and that nothing is left behind, whoever is killed. The
 * daemons are stand-ins; tests/integration has the same with real ones.
 */
#include "tests/support/proc.h"
#include "tests/support/tmp.h"

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

#define SOON_MS 30000
#define WORDS_MAX 32

struct fixture {
    struct tmp tmp;
    char runtime[TMP_PATH_MAX + 32]; /* "XDG_RUNTIME_DIR=..": where run makes its directory */
    char logs[TMP_PATH_MAX];
    char marker[64]; /* in the environment of everything that is started */
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
    snprintf(f->marker, sizeof(f->marker), "CTL_RUN_MARKER=%d-%d", (int)getpid(), serial++);
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

/* Starts `seqctl run OPTIONS -- sh -c SCRIPT`; OPTIONS are words of one line. */
static struct proc *start(struct fixture *f, const char *mode, const char *options,
                          const char *script)
{
    static char line[512];
    static char variable[64];
    const char *words[WORDS_MAX] = {SEQCTL, "run"};
    int count = 2;
    snprintf(line, sizeof(line), "%s", options);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    words[count++] = "--";
    words[count++] = "sh";
    words[count++] = "-c";
    words[count++] = script;
    snprintf(variable, sizeof(variable), "STAND_IN=%s", mode);
    proc_free(f->proc);
    f->proc = proc_start(&(struct proc_options){
        .argv = words,
        .environment = (const char *const[]){"SEQSYNCD=" STAND_IN, "SEQSYNC_RANK=9", f->runtime,
                                             f->marker, variable, NULL},
    });
    return f->proc;
}

static int end(struct fixture *f)
{
    int status = -1;
    assert_true(proc_wait_exit(f->proc, SOON_MS, &status));
    return status;
}

static bool nobody_is_left(void *ctx)
{
    return proc_count_matching(((struct fixture *)ctx)->marker) == 0;
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
    return files == 0 && nobody_is_left(f);
}

/* When run has ended, everything is gone already: no waiting here. */
static void expect_nothing_left(struct fixture *f)
{
    assert_true(nothing_is_left(f));
}

static void workers_are_placed_in_blocks_and_told_their_places(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-n 2 -w 5 --job demo --quiet",
          "echo $RANK/$WORLD_SIZE local $LOCAL_RANK/$LOCAL_WORLD_SIZE node $GROUP_RANK"
          " ${SEQSYNC_SOCKET##*/} ${SEQSYNC_ADMIN##*/} $SEQSYNC_JOB ${SEQSYNC_RANK-none}"
          " $OPENBLAS_NUM_THREADS ${NOTIFY_SOCKET-none}; cat");
    assert_int_equal(end(f), 0);
    static const char *const expected[] = {
        "[rank 0] 0/5 local 0/3 node 0 a.sock a.admin demo none 1 none\n",
        "[rank 1] 1/5 local 1/3 node 0 a.sock a.admin demo none 1 none\n",
        "[rank 2] 2/5 local 2/3 node 0 a.sock a.admin demo none 1 none\n",
        "[rank 3] 3/5 local 0/2 node 1 b.sock b.admin demo none 1 none\n",
        "[rank 4] 4/5 local 1/2 node 1 b.sock b.admin demo none 1 none\n",
    };
    for (size_t i = 0; i < 5; i++) {
        assert_non_null(strstr(proc_out(f->proc), expected[i]));
    }
    assert_string_equal(proc_err(f->proc), "");
    expect_nothing_left(f);
}

static void prefix_is_for_several_workers_unless_asked_otherwise(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-q", "echo one; echo two >&2");
    assert_int_equal(end(f), 0);
    assert_string_equal(proc_out(f->proc), "one\n");
    assert_string_equal(proc_err(f->proc), "two\n");
    start(f, "", "-q --prefix always", "echo one");
    assert_int_equal(end(f), 0);
    assert_string_equal(proc_out(f->proc), "[rank 0] one\n");
    start(f, "", "-q -w 2 --prefix never", "echo one");
    assert_int_equal(end(f), 0);
    assert_string_equal(proc_out(f->proc), "one\none\n");
}

static void lines_of_workers_are_whole(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-q -w 3",
          "i=0; while [ $i -lt 3000 ]; do echo $RANK:$i:abcdefghijklmnopqrstuvwxyz;"
          " i=$((i + 1)); done");
    assert_int_equal(end(f), 0);
    int next[3] = {0, 0, 0};
    const char *line = proc_out(f->proc);
    for (int i = 0; i < 9000; i++) {
        int rank;
        int again;
        int number;
        int length = 0;
        assert_int_equal(sscanf(line, "[rank %d] %d:%d:abcdefghijklmnopqrstuvwxyz%n", &rank, &again,
                                &number, &length),
                         3);
        assert_true(length > 0 && line[length] == '\n');
        assert_int_equal(rank, again);
        assert_int_equal(number, next[rank]++);
        line += length + 1;
    }
    assert_string_equal(line, "");
}

static void first_failure_is_the_exit_status_and_ends_the_others(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-n 2 -w 3 --grace 200ms",
          "[ $RANK = 1 ] && exit 7; trap 'exit 9' TERM; sleep 1000 & wait");
    assert_int_equal(end(f), 7);
    assert_non_null(strstr(proc_err(f->proc), "rank 1 on node-a ended with status 7"));
    assert_null(strstr(proc_err(f->proc), "status 9"));
    expect_nothing_left(f);
}

static void signal_that_ends_a_worker_is_told_as_shells_tell_it(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-w 2 --grace 100ms", "[ $RANK = 1 ] && kill -SEGV $$; exec sleep 1000");
    assert_int_equal(end(f), 128 + SIGSEGV);
    assert_non_null(strstr(proc_err(f->proc), "rank 1 on node-a was ended by signal 11"));
    expect_nothing_left(f);
}

static void others_may_end_by_themselves_within_the_grace(void **state)
{
    struct fixture *f = *state;
    /* Rank 0 ends when rank 1 is gone, as if its daemon had told it. */
    start(f, "", "-w 2 --grace 1h",
          "d=${SEQSYNC_SOCKET%/*}; if [ $RANK = 1 ]; then echo $$ >$d/pid; exit 3; fi;"
          " until [ -s $d/pid ]; do :; done; while kill -0 $(cat $d/pid) 2>/dev/null; do :; done;"
          " echo saw it; exit 4");
    assert_int_equal(end(f), 3);
    assert_non_null(strstr(proc_out(f->proc), "[rank 0] saw it\n"));
    expect_nothing_left(f);
}

static void worker_that_ignores_sigterm_is_killed(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-w 2 --grace 100ms",
          "trap '' TERM INT; [ $RANK = 1 ] && exit 5; while :; do sleep 1; done");
    assert_int_equal(end(f), 5);
    expect_nothing_left(f);
}

static void interrupt_is_passed_on_and_told_in_the_status(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-n 2 -w 2 --grace 1h",
          "trap 'echo got it; exit 0' INT; echo up; "
          "while :; do sleep 0.1; done");
    assert_true(proc_wait_line(f->proc, "[rank 0] up", NULL, SOON_MS));
    assert_true(proc_wait_line(f->proc, "[rank 1] up", NULL, SOON_MS));
    proc_signal(f->proc, SIGINT);
    assert_int_equal(end(f), 128 + SIGINT);
    assert_non_null(strstr(proc_out(f->proc), "[rank 0] got it"));
    assert_non_null(strstr(proc_out(f->proc), "[rank 1] got it"));
    expect_nothing_left(f);
}

static void second_interrupt_kills(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-w 2 --grace 1h",
          "trap 'echo not yet' INT TERM; echo up; while :; do sleep 0.1; done");
    assert_true(proc_wait_line(f->proc, "[rank 1] up", NULL, SOON_MS));
    assert_true(proc_wait_line(f->proc, "[rank 0] up", NULL, SOON_MS));
    proc_signal(f->proc, SIGTERM);
    assert_true(proc_wait_line(f->proc, "[rank 0] not yet", NULL, SOON_MS));
    proc_signal(f->proc, SIGTERM);
    assert_int_equal(end(f), 128 + SIGTERM);
    expect_nothing_left(f);
}

static void interrupt_while_daemons_start_ends_everything(void **state)
{
    struct fixture *f = *state;
    char path[TMP_PATH_MAX];
    char options[TMP_PATH_MAX + 64];
    snprintf(options, sizeof(options), "-n 2 -w 2 --keep-logs %s", f->logs);
    start(f, "silent", options, "echo never");
    snprintf(path, sizeof(path), "%.200s/node-b.conf.pid", f->logs);
    while (access(path, F_OK)) {
        proc_pump(10);
        assert_true(proc_is_running(f->proc));
    }
    proc_signal(f->proc, SIGINT);
    assert_int_equal(end(f), 128 + SIGINT);
    assert_string_equal(proc_out(f->proc), "");
    expect_nothing_left(f);
}

/* What a worker starts and forgets, in a session of its own. */
#define LEAVE_ORPHANS "setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & "

static void orphans_of_workers_are_ended(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-w 2 -q", LEAVE_ORPHANS "echo done");
    assert_int_equal(end(f), 0);
    expect_nothing_left(f);
}

static void killed_front_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-n 2 -w 2", LEAVE_ORPHANS "trap '' TERM INT HUP; echo up; sleep 1000");
    assert_true(proc_wait_line(f->proc, "[rank 0] up", NULL, SOON_MS));
    assert_true(proc_wait_line(f->proc, "[rank 1] up", NULL, SOON_MS));
    proc_signal(f->proc, SIGKILL);
    assert_int_equal(end(f), 128 + SIGKILL);
    assert_true(proc_wait_until(nothing_is_left, f, SOON_MS));
}

/* The only child of the front. */
static pid_t guard_of(const struct proc *proc)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)proc_pid(proc),
             (int)proc_pid(proc));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

static void killed_guard_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    start(f, "", "-n 2 -w 2", LEAVE_ORPHANS "trap '' TERM INT HUP; echo up; sleep 1000");
    assert_true(proc_wait_line(f->proc, "[rank 0] up", NULL, SOON_MS));
    assert_true(proc_wait_line(f->proc, "[rank 1] up", NULL, SOON_MS));
    kill(guard_of(f->proc), SIGKILL);
    assert_int_equal(end(f), 128 + SIGKILL);
    expect_nothing_left(f);
}

static void daemon_that_fails_to_start_is_told_with_its_log(void **state)
{
    struct fixture *f = *state;
    start(f, "fail", "-n 2 -w 2", "echo never");
    assert_int_equal(end(f), 78);
    assert_non_null(strstr(proc_err(f->proc), "ended with status 78 before the job did"));
    assert_non_null(strstr(proc_err(f->proc), ": this is why\n"));
    assert_string_equal(proc_out(f->proc), "");
    expect_nothing_left(f);
}

static pid_t daemon_pid(const struct fixture *f, const char *name)
{
    char path[TMP_PATH_MAX];
    snprintf(path, sizeof(path), "%.200s/%s.conf.pid", f->logs, name);
    char *text = tmp_read(path);
    assert_non_null(text);
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    free(text);
    return pid;
}

static void lost_daemon_ends_the_job(void **state)
{
    struct fixture *f = *state;
    char options[TMP_PATH_MAX + 64];
    snprintf(options, sizeof(options), "-n 2 -w 2 --grace 100ms --keep-logs %s", f->logs);
    start(f, "", options, "echo up; exec sleep 1000");
    assert_true(proc_wait_line(f->proc, "[rank 1] up", NULL, SOON_MS));
    kill(daemon_pid(f, "node-b"), SIGKILL);
    assert_int_equal(end(f), 69);
    assert_non_null(strstr(proc_err(f->proc), "the daemon node-b was ended by signal 9"));
    expect_nothing_left(f);
}

/* A signal counts as the second one only when the daemons' turn to end has come. */
static bool ended_by_signals(void *ctx)
{
    struct fixture *f = ctx;
    proc_signal(f->proc, SIGTERM);
    return !proc_is_running(f->proc);
}

static void daemon_that_does_not_end_is_killed_by_a_second_signal(void **state)
{
    struct fixture *f = *state;
    start(f, "stubborn", "-n 1 -w 1",
          "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done");
    assert_true(proc_wait_line(f->proc, "up", NULL, SOON_MS));
    proc_signal(f->proc, SIGTERM);
    assert_true(proc_wait_line(f->proc, "bye", NULL, SOON_MS));
    assert_true(proc_wait_until(ended_by_signals, f, 9000)); /* not by the deadline of 10 s */
    assert_int_equal(end(f), 128 + SIGTERM);
    expect_nothing_left(f);
}

static void logs_and_configuration_are_kept_when_asked(void **state)
{
    struct fixture *f = *state;
    char options[TMP_PATH_MAX + 128];
    char path[TMP_PATH_MAX];
    snprintf(options, sizeof(options),
             "-n 2 -q --step-timeout 2s --keep-logs %s -s lanes.count=1 -s timeouts.step=3s",
             f->logs);
    start(f, "", options, "true");
    assert_int_equal(end(f), 0);
    snprintf(path, sizeof(path), "%.200s/node-b.conf", f->logs);
    char *text = tmp_read(path);
    assert_non_null(strstr(text, "[node]\nname = node-b\n"));
    assert_non_null(strstr(text, "member = node-a ipc:///"));
    assert_non_null(strstr(text, "[lanes]\ncount = 1\n"));
    assert_non_null(strstr(text, "[timeouts]\nstep = 3s\n")); /* the last word is the user's */
    assert_null(strstr(text, "2000000000ns"));
    free(text);
    snprintf(path, sizeof(path), "%.200s/node-a.log", f->logs);
    text = tmp_read(path);
    assert_non_null(strstr(text, "stand-in"));
    free(text);
    expect_nothing_left(f);
}

static void commands_that_cannot_run_have_the_status_of_shells(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *command;
        const char *daemon;
        int status;
        const char *message;
    } cases[] = {
        {"/nonexistent/program", "SEQSYNCD=" STAND_IN, 127, "cannot run /nonexistent/program"},
        {"/", "SEQSYNCD=" STAND_IN, 126, "cannot run /"},
        {"true", "SEQSYNCD=/nonexistent/daemon", 69, "SEQSYNCD=/nonexistent/daemon is no program"},
        {"true", "SEQSYNCD=/", 69, "is no program"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->proc = proc_free(f->proc);
        f->proc = proc_start(&(struct proc_options){
            .argv = (const char *const[]){SEQCTL, "run", "-w", "2", cases[i].command, NULL},
            .environment = (const char *const[]){cases[i].daemon, f->runtime, f->marker, NULL},
        });
        assert_int_equal(end(f), cases[i].status);
        assert_non_null(strstr(proc_err(f->proc), cases[i].message));
        expect_nothing_left(f);
    }
}

static void lost_reader_ends_the_job(void **state)
{
    struct fixture *f = *state;
    f->proc = proc_start(&(struct proc_options){
        .argv = (const char *const[]){"bash", "-c",
                                      SEQCTL " run -q -w 2 -- sh -c 'while :; do echo y; done' |"
                                             " head -n 1; echo ${PIPESTATUS[0]}",
                                      NULL},
        .environment = (const char *const[]){"SEQSYNCD=" STAND_IN, f->runtime, f->marker, NULL},
    });
    assert_int_equal(end(f), 0);
    assert_non_null(strstr(proc_out(f->proc), "] y\n141\n"));
    expect_nothing_left(f);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(workers_are_placed_in_blocks_and_told_their_places),
        TEST(prefix_is_for_several_workers_unless_asked_otherwise),
        TEST(lines_of_workers_are_whole),
        TEST(first_failure_is_the_exit_status_and_ends_the_others),
        TEST(signal_that_ends_a_worker_is_told_as_shells_tell_it),
        TEST(others_may_end_by_themselves_within_the_grace),
        TEST(worker_that_ignores_sigterm_is_killed),
        TEST(interrupt_is_passed_on_and_told_in_the_status),
        TEST(second_interrupt_kills),
        TEST(interrupt_while_daemons_start_ends_everything),
        TEST(orphans_of_workers_are_ended),
        TEST(killed_front_leaves_nothing),
        TEST(killed_guard_leaves_nothing),
        TEST(daemon_that_fails_to_start_is_told_with_its_log),
        TEST(lost_daemon_ends_the_job),
        TEST(daemon_that_does_not_end_is_killed_by_a_second_signal),
        TEST(logs_and_configuration_are_kept_when_asked),
        TEST(commands_that_cannot_run_have_the_status_of_shells),
        TEST(lost_reader_ends_the_job),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
