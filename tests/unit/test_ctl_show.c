/* What seqctl shows, and how it says that it cannot. */
#include "client/ctl/show.h"

#include "tests/support/tmp.h"
#include "tests/unit/test_ctl_answer.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct fixture {
    struct tmp tmp;
    char endpoint[TMP_PATH_MAX + 8];
    char path[TMP_PATH_MAX];
    struct ctl ctl;
    struct error error;
    char *out;
    size_t out_size;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    tmp_make(&f->tmp);
    tmp_file(&f->tmp, f->path, "admin");
    snprintf(f->endpoint, sizeof(f->endpoint), "ipc://%s", f->path);
    f->ctl = (struct ctl){.admin = f->endpoint, .timeout_ns = 20000000000u};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tmp_remove(&f->tmp);
    free(f->out);
    free(f);
    return 0;
}

/* Runs one verb; its output is in f->out then. */
static int show(struct fixture *f, int (*verb)(struct ctl *ctl, struct error *error))
{
    free(f->out);
    f->out = NULL;
    f->error = (struct error){0};
    f->ctl.out = open_memstream(&f->out, &f->out_size);
    int status = verb(&f->ctl, &f->error);
    fclose(f->ctl.out);
    return status;
}

static int show_answered(struct fixture *f, enum answer_mode mode, const char *health,
                         int (*verb)(struct ctl *ctl, struct error *error))
{
    struct answerer *answerer = answerer_new(f->endpoint, mode, health);
    assert_non_null(answerer);
    int status = show(f, verb);
    assert_true(answerer_free(answerer));
    return status;
}

/* The answer as JSON; the caller frees it. */
static json_t *answered_json(struct fixture *f, const char *schema,
                             int (*verb)(struct ctl *ctl, struct error *error), int expected)
{
    json_error_t error;
    f->ctl.json = true;
    f->ctl.format = CTL_JSON;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", verb), expected);
    json_t *root = json_loads(f->out, 0, &error);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "schema")), schema);
    return root;
}

static void status_exits_with_the_health(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", status_run), 0);
    assert_non_null(strstr(f->out, "health  OK"));
    assert_null(strstr(f->out, "STRAGGLER"));
    assert_non_null(strstr(f->out, "up 1 h 0 min"));
    assert_non_null(strstr(f->out, "512.0 MiB of 2.0 GiB"));
    assert_int_equal(show_answered(f, ANSWER_WELL, "warn", status_run), 1);
    assert_non_null(strstr(f->out, " WARN  SHARD_STRAGGLER rank 5 is 1.47x the median\n"));
    f->ctl.quiet = true;
    assert_int_equal(show_answered(f, ANSWER_WELL, "critical", status_run), 2);
    assert_string_equal(f->out, "");
}

static void status_json_tells_code_and_text_of_each_problem(void **state)
{
    struct fixture *f = *state;
    f->ctl.json = true;
    assert_int_equal(show_answered(f, ANSWER_WELL, "warn", status_run), 1);
    json_t *root = json_loads(f->out, 0, NULL);
    const char *code;
    const char *text;
    assert_int_equal(
        json_unpack(root, "{s:[{s:s, s:s}]}", "problems", "code", &code, "text", &text), 0);
    assert_string_equal(code, "SHARD_STRAGGLER");
    assert_string_equal(text, "rank 5 is 1.47x the median");
    assert_int_equal(json_integer_value(json_object_get(root, "rejected_frames")), 3);
    json_decref(root);
}

static void nodes_are_a_table_in_any_format(void **state)
{
    struct fixture *f = *state;
    f->ctl.ascii = true;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", nodes_run), 0);
    assert_non_null(strstr(f->out, "NODE"));
    assert_non_null(strstr(f->out, "silent for 4 s"));
    assert_non_null(strstr(f->out, "25%"));
    assert_null(strstr(f->out, "ENDPOINT"));
    f->ctl.no_headers = true;
    f->ctl.format = CTL_WIDE;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", nodes_run), 0);
    assert_null(strstr(f->out, "NODE"));
    assert_non_null(strstr(f->out, "tcp://10.0.0.1:7400"));
    f->ctl.format = CTL_NAME;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", nodes_run), 0);
    assert_string_equal(f->out, "node-a\nnode-b\n");
    f->ctl.format = CTL_CSV;
    f->ctl.no_headers = false;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", nodes_run), 0);
    assert_int_equal(strncmp(f->out, "NODE,STATE,ROLE,", 16), 0);
    assert_non_null(strstr(f->out, "\nnode-a,down,conductor,2,20160,-,-,0.2 ms,4.00 s,0.1.0,"));
}

static void jobs_show_their_losses_as_a_line(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", jobs_run), 0);
    assert_non_null(strstr(f->out, "cockatoo"));
    assert_non_null(strstr(f->out, "61.2k"));
    f->ctl.ascii = true;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", jobs_run), 0);
    assert_non_null(strstr(f->out, "#-_"));
    json_t *root = answered_json(f, "seqctl.jobs/1", jobs_run, 0);
    double loss;
    assert_int_equal(json_unpack(root, "{s:[{s:f}]}", "jobs", "loss", &loss), 0);
    assert_true(loss == 0.25);
    json_decref(root);
}

static char *job_word[] = {(char *)"cockatoo", NULL};

static void shards_say_who_holds_which_tokens_of_which_sequence(void **state)
{
    struct fixture *f = *state;
    f->ctl.words = job_word;
    f->ctl.word_count = 1;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", shards_run), 0);
    assert_non_null(strstr(f->out, "0:0..99 0:200..299 0:400..499 +2 more"));
    assert_non_null(strstr(f->out, "1:0..99"));
    assert_non_null(strstr(f->out, "94.4 ms"));
    assert_non_null(strstr(f->out, "kv 3 of step 19"));
    assert_non_null(strstr(f->out, "1.0 KiB of 2.0 KiB planned"));
    assert_null(strstr(f->out, "scale"));
    f->ctl.format = CTL_WIDE;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", shards_run), 0);
    assert_non_null(strstr(f->out, "0:800..899"));
    assert_non_null(strstr(f->out, "4242"));
}

static void heat_map_has_a_row_for_each_query_rank_and_a_scale(void **state)
{
    struct fixture *f = *state;
    f->ctl.words = job_word;
    f->ctl.word_count = 1;
    f->ctl.heat = true;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", shards_run), 0);
    assert_non_null(strstr(f->out, "    0 node-a   | ░░██\n"));
    assert_non_null(strstr(f->out, "    1 node-b   | ░░  \n"));
    assert_non_null(strstr(f->out, " scale  ░ 1.00k-1.75k  ▒ -2.50k  ▓ -3.25k  █ -4.00k"));
    f->ctl.ascii = true;
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", shards_run), 0);
    assert_non_null(strstr(f->out, "    0 node-a   | ..##\n"));
}

static void shards_json_has_chunks_and_cells(void **state)
{
    struct fixture *f = *state;
    f->ctl.words = job_word;
    f->ctl.word_count = 1;
    json_t *root = answered_json(f, "seqctl.shards/1", shards_run, 0);
    json_t *shards = json_object_get(root, "shards");
    assert_int_equal(json_array_size(shards), 2);
    json_t *first = json_array_get(shards, 0);
    assert_int_equal(json_array_size(json_object_get(first, "chunks")), 5);
    int source;
    int area;
    assert_int_equal(json_unpack(json_array_get(json_object_get(first, "cells"), 1), "{s:i, s:i}",
                                 "source", &source, "area", &area),
                     0);
    assert_int_equal(source, 1);
    assert_int_equal(area, 4000);
    assert_true(json_is_null(json_object_get(json_array_get(shards, 1), "wait_seconds")));
    json_decref(root);
}

static void version_answers_also_without_a_daemon(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(show(f, version_run), 0);
    assert_non_null(strstr(f->out, "does not answer"));
    assert_int_equal(show_answered(f, ANSWER_WELL, "ok", version_run), 0);
    assert_non_null(strstr(f->out, "seqsyncd 0.1.0"));
    json_t *root = answered_json(f, "seqctl.version/1", version_run, 0);
    assert_string_equal(json_string_value(json_object_get(root, "daemon")), "0.1.0");
    json_decref(root);
}

static void refusal_is_told_in_the_daemons_words(void **state)
{
    struct fixture *f = *state;
    f->ctl.words = job_word;
    f->ctl.word_count = 1;
    assert_int_equal(show_answered(f, ANSWER_ERROR, "ok", shards_run), EX_DATAERR);
    assert_string_equal(f->error.code, "INVALID");
    assert_non_null(strstr(f->error.message, "\"cockatoo\""));
    assert_string_equal(f->error.cause, "there is no job of that name");
    assert_string_equal(f->error.hint, "seqctl jobs");
    assert_string_equal(f->out, "");
}

static void malformed_and_foreign_answers_are_errors_of_their_own(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(show_answered(f, ANSWER_GARBAGE, "ok", status_run), EX_PROTOCOL);
    assert_string_equal(f->error.code, "PROTOCOL");
    assert_int_equal(show_answered(f, ANSWER_PROTOCOL, "ok", status_run), EX_PROTOCOL);
    assert_string_equal(f->error.code, "VERSION");
    assert_int_equal(show_answered(f, ANSWER_EMPTY, "ok", status_run), EX_PROTOCOL);
    f->ctl.words = job_word;
    f->ctl.word_count = 1;
    assert_int_equal(show_answered(f, ANSWER_EMPTY, "ok", shards_run), EX_PROTOCOL);
}

static void silence_ends_at_the_timeout(void **state)
{
    struct fixture *f = *state;
    f->ctl.timeout_ns = 50000000;
    assert_int_equal(show_answered(f, ANSWER_NEVER, "ok", status_run), EX_UNAVAILABLE);
    assert_string_equal(f->error.code, "TIMEOUT");
    assert_non_null(strstr(f->error.cause, "0.05 s"));
}

static void missing_daemon_is_noticed_at_once_and_by_its_errno(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(show(f, status_run), EX_UNAVAILABLE);
    assert_string_equal(f->error.code, "UNREACHABLE");
    assert_non_null(strstr(f->error.message, f->endpoint));
    assert_non_null(strstr(f->error.cause, "No such file"));

    /* A socket that a dead daemon left. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strlen(f->path) < sizeof(address.sun_path));
    memcpy(address.sun_path, f->path, strlen(f->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    f->ctl.admin = f->path; /* the short form of the endpoint */
    assert_int_equal(show(f, status_run), EX_UNAVAILABLE);
    assert_non_null(strstr(f->error.cause, "refused"));
}

static void error_has_three_lines_or_is_an_object(void **state)
{
    struct fixture *f = *state;
    char *err = NULL;
    size_t size;
    assert_int_equal(show(f, status_run), EX_UNAVAILABLE);
    f->ctl.err = open_memstream(&err, &size);
    error_print(&f->ctl, &f->error);
    fclose(f->ctl.err);
    assert_int_equal(strncmp(err, "error: no daemon answers at ipc://", 34), 0);
    assert_non_null(strstr(err, " (UNREACHABLE)\n  connect: No such file or directory\n  try: "));
    free(err);

    f->ctl.json = true;
    f->ctl.out = open_memstream(&err, &size);
    error_print(&f->ctl, &f->error);
    fclose(f->ctl.out);
    json_t *root = json_loads(err, 0, NULL);
    const char *code;
    const char *cause;
    assert_int_equal(
        json_unpack(root, "{s:{s:s, s:[s], s:n}}", "error", "code", &code, "cause", &cause, "rank"),
        0);
    assert_string_equal(code, "UNREACHABLE");
    json_decref(root);
    free(err);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(status_exits_with_the_health),
        TEST(status_json_tells_code_and_text_of_each_problem),
        TEST(nodes_are_a_table_in_any_format),
        TEST(jobs_show_their_losses_as_a_line),
        TEST(shards_say_who_holds_which_tokens_of_which_sequence),
        TEST(heat_map_has_a_row_for_each_query_rank_and_a_scale),
        TEST(shards_json_has_chunks_and_cells),
        TEST(version_answers_also_without_a_daemon),
        TEST(refusal_is_told_in_the_daemons_words),
        TEST(malformed_and_foreign_answers_are_errors_of_their_own),
        TEST(silence_ends_at_the_timeout),
        TEST(missing_daemon_is_noticed_at_once_and_by_its_errno),
        TEST(error_has_three_lines_or_is_an_object),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
