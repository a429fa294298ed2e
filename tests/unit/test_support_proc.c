/* Processes under test: output, deadlines, ends, and that nothing survives. */
#include "tests/support/proc.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOON_MS 10000 /* generous: it only ends a test that has failed anyway */

static struct proc *shell(const char *script)
{
    return proc_start_argv((const char *const[]){"sh", "-c", script, NULL});
}

static void proc_captures_both_streams_and_the_status(void **state)
{
    (void)state;
    struct proc *proc = shell("echo out; echo err >&2; exit 3");
    int status;
    assert_true(proc_wait_exit(proc, SOON_MS, &status));
    assert_int_equal(status, 3);
    assert_string_equal(proc_out(proc), "out\n");
    assert_string_equal(proc_err(proc), "err\n");
    assert_false(proc_is_running(proc));
    proc_free(proc);
}

static void proc_reports_a_signal_as_shells_do(void **state)
{
    (void)state;
    struct proc *proc = shell("kill -SEGV $$");
    int status;
    assert_true(proc_wait_exit(proc, SOON_MS, &status));
    assert_int_equal(status, 128 + SIGSEGV);
    proc_free(proc);
}

static void proc_waits_for_whole_lines_in_order(void **state)
{
    (void)state;
    struct proc *proc = shell("printf half; read x; echo ' line'; echo line two; exec sleep 1000");
    size_t from = 0;
    /* Its input is empty, so read returns at once: the line comes whole. */
    assert_true(proc_wait_line(proc, "half", &from, SOON_MS));
    assert_int_equal(from, strlen("half line\n"));
    assert_true(proc_wait_line(proc, "line", &from, SOON_MS));
    assert_int_equal(from, strlen("half line\nline two\n"));
    assert_true(proc_is_running(proc));
    proc_free(proc);
}

static void proc_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    struct proc *proc = shell("exec sleep 1000");
    int status;
    uint64_t start = proc_now_ms();
    assert_false(proc_wait_line(proc, "nothing", NULL, 50));
    assert_false(proc_wait_exit(proc, 50, &status));
    assert_true(proc_now_ms() - start >= 100);
    proc_free(proc);
}

static void proc_wait_for_a_line_ends_with_the_process(void **state)
{
    (void)state;
    struct proc *proc = shell("echo something else");
    uint64_t start = proc_now_ms();
    assert_false(proc_wait_line(proc, "nothing", NULL, 60000));
    assert_true(proc_now_ms() - start < 30000);
    proc_free(proc);
}

static void proc_reads_more_than_a_pipe_holds_of_all_at_once(void **state)
{
    (void)state;
    const char *script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end";
    struct proc *a = shell(script);
    struct proc *b = shell(script);
    int status;
    assert_true(proc_wait_exit(a, SOON_MS, &status));
    assert_true(proc_wait_line(b, "end", NULL, SOON_MS));
    assert_non_null(strstr(proc_out(a), "line 19999\nend\n"));
    assert_non_null(strstr(proc_out(b), "line 19999\nend\n"));
    proc_free(a);
    proc_free(b);
}

static void proc_takes_environment_and_folder(void **state)
{
    (void)state;
    struct proc *proc = proc_start(&(struct proc_options){
        .argv = (const char *const[]){"sh", "-c", "echo $PROC_TEST ${HOME-none}; pwd", NULL},
        .environment = (const char *const[]){"PROC_TEST=here", "HOME", NULL},
        .folder = "/",
    });
    int status;
    assert_true(proc_wait_exit(proc, SOON_MS, &status));
    assert_string_equal(proc_out(proc), "here none\n/\n");
    proc_free(proc);
}

/* The variable makes the processes findable; the pid makes the variable ours. */
static void marker(char out[64])
{
    snprintf(out, 64, "PROC_TEST_MARKER=%d", (int)getpid());
}

static bool nobody_matches(void *ctx)
{
    return proc_count_matching(ctx) == 0;
}

static void proc_free_ends_also_what_the_process_started(void **state)
{
    (void)state;
    char mark[64];
    marker(mark);
    struct proc *proc = proc_start(&(struct proc_options){
        .argv = (const char *const[]){"sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait", NULL},
        .environment = (const char *const[]){mark, NULL},
    });
    assert_true(proc_wait_line(proc, "up", NULL, SOON_MS));
    assert_true(proc_count_matching(mark) >= 3);
    proc_free(proc);
    assert_true(proc_wait_until(nobody_matches, mark, SOON_MS));
}

static void proc_dies_with_the_test_program(void **state)
{
    (void)state;
    char mark[64];
    marker(mark);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct proc *proc = proc_start(&(struct proc_options){
            .argv = (const char *const[]){"sh", "-c", "echo up; exec sleep 1000", NULL},
            .environment = (const char *const[]){mark, NULL},
        });
        bool up = proc_wait_line(proc, "up", NULL, SOON_MS);
        _exit(up ? 0 : 1); /* without proc_free() */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(proc_wait_until(nobody_matches, mark, SOON_MS));
}

static void proc_run_gives_status_and_all_output(void **state)
{
    (void)state;
    char *out = NULL;
    assert_int_equal(proc_run((const char *const[]){"sh", "-c", "echo a; echo b >&2; exit 4", NULL},
                              SOON_MS, &out),
                     4);
    assert_string_equal(out, "a\nb\n");
    free(out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proc_captures_both_streams_and_the_status),
        cmocka_unit_test(proc_reports_a_signal_as_shells_do),
        cmocka_unit_test(proc_waits_for_whole_lines_in_order),
        cmocka_unit_test(proc_wait_ends_at_its_deadline),
        cmocka_unit_test(proc_wait_for_a_line_ends_with_the_process),
        cmocka_unit_test(proc_reads_more_than_a_pipe_holds_of_all_at_once),
        cmocka_unit_test(proc_takes_environment_and_folder),
        cmocka_unit_test(proc_free_ends_also_what_the_process_started),
        cmocka_unit_test(proc_dies_with_the_test_program),
        cmocka_unit_test(proc_run_gives_status_and_all_output),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
