/* The command table: parsing, help and completion all follow from it. */
#include "client/ctl/command.h"

#include "tests/support/proc.h"
#include "tests/support/tmp.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16
#define SOON_MS 10000

struct fixture {
    struct ctl ctl;
    struct error error;
    const struct command_entry *command;
};

/* Parses a line of words; the words' memory lives for the next 63 calls. */
static int parse(struct fixture *fixture, const char *line)
{
    static char texts[64][512];
    static char *words[64][WORDS_MAX];
    static int used;
    int argc = 0;
    char *text = texts[used];
    char **argv = words[used];
    used = (used + 1) % 64;
    *fixture = (struct fixture){.ctl = {.admin = "default", .timeout_ns = 1}};
    snprintf(text, sizeof(texts[0]), "seqctl %s", line);
    for (char *word = strtok(text, " "); word && argc + 1 < WORDS_MAX; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return command_parse(&fixture->ctl, argc, argv, &fixture->command, &fixture->error);
}

static void options_are_taken_before_and_behind_the_verb(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "--admin /a shards job-1 --heat -t 2s --no-headers"), EX_OK);
    assert_string_equal(f.command->name, "shards");
    assert_string_equal(f.ctl.admin, "/a");
    assert_int_equal(f.ctl.timeout_ns, 2000000000u);
    assert_true(f.ctl.heat && f.ctl.no_headers);
    assert_int_equal(f.ctl.word_count, 1);
    assert_string_equal(f.ctl.words[0], "job-1");
    assert_int_equal(parse(&f, "shards --heat job-1"), EX_OK);
    assert_string_equal(f.ctl.words[0], "job-1");
}

static void json_and_format_json_are_the_same(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "status --json"), EX_OK);
    assert_int_equal(f.ctl.format, CTL_JSON);
    assert_int_equal(parse(&f, "status -o json"), EX_OK);
    assert_true(f.ctl.json);
    assert_int_equal(parse(&f, "status -o yaml"), EX_USAGE);
    assert_non_null(strstr(f.error.cause, "wide"));
}

static void run_leaves_the_options_of_its_command_alone(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "run -n 2 --workers 4 --set lanes.count=1 ./worker --json -n 9"),
                     EX_OK);
    assert_int_equal(f.ctl.run.nodes, 2);
    assert_int_equal(f.ctl.run.workers, 4);
    assert_int_equal(f.ctl.run.setting_count, 1);
    assert_false(f.ctl.json);
    assert_int_equal(f.ctl.word_count, 4);
    assert_string_equal(f.ctl.words[1], "--json");
    assert_int_equal(parse(&f, "run -- -odd-name"), EX_OK);
    assert_string_equal(f.ctl.words[0], "-odd-name");
}

static void mistakes_are_named_with_what_was_meant(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *message;
        const char *hint;
    } cases[] = {
        {"", "which command?", "seqctl --help"},
        {"statsu", "there is no command \"statsu\"", "seqctl status"},
        {"xyzzy", "there is no command \"xyzzy\"", "seqctl --help"},
        {"status --jsn", "option --jsn is not known", "--json"},
        {"status -z", "option -z is not known", "seqctl --help"},
        {"status extra", "does not take \"extra\"", "seqctl status --help"},
        {"shards", "seqctl shards needs JOB", "seqctl shards --help"},
        {"run", "seqctl run needs", "seqctl run --help"},
        {"status --timeout", "needs a value", ""},
        {"status --timeout soon", "--timeout cannot be \"soon\"", ""},
        {"status --timeout 0s", "--timeout cannot be \"0s\"", ""},
        {"run --nodes 0 x", "--nodes cannot be \"0\"", ""},
        {"run --nodes 65 x", "--nodes cannot be \"65\"", ""},
        {"run --workers 1025 x", "--workers cannot be \"1025\"", ""},
        {"run --set nonsense x", "--set cannot be \"nonsense\"", ""},
        {"run --prefix maybe x", "--prefix cannot be \"maybe\"", ""},
        {"shards --heat=yes job", "option", "seqctl --help"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        assert_int_equal(parse(&f, cases[i].line), EX_USAGE);
        assert_int_equal(f.error.exit_status, EX_USAGE);
        if (!strstr(f.error.message, cases[i].message)) {
            fail_msg("\"%s\": %s", cases[i].line, f.error.message);
        }
        if (!strstr(f.error.hint, cases[i].hint)) {
            fail_msg("\"%s\": hint %s", cases[i].line, f.error.hint);
        }
    }
}

static void too_many_settings_are_refused(void **state)
{
    (void)state;
    char *argv[2 * CTL_SETTINGS_MAX + 6] = {(char *)"seqctl", (char *)"run"};
    int argc = 2;
    for (int i = 0; i <= CTL_SETTINGS_MAX; i++) {
        argv[argc++] = (char *)"-s";
        argv[argc++] = (char *)"log.level=info";
    }
    argv[argc++] = (char *)"true";
    struct fixture f = {.ctl = {.admin = ""}};
    assert_int_equal(command_parse(&f.ctl, argc, argv, &f.command, &f.error), EX_USAGE);
    assert_non_null(strstr(f.error.message, "more than"));
}

static char *help_text(const struct command_entry *entry)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    command_help(out, entry);
    fclose(out);
    return text;
}

static void help_needs_no_words_and_knows_everything(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "--help"), EX_OK);
    assert_true(f.ctl.help && !f.command);
    assert_int_equal(parse(&f, "shards --help"), EX_OK);
    assert_string_equal(f.command->name, "shards");
    assert_int_equal(parse(&f, "help run"), EX_OK);
    assert_string_equal(f.command->name, "run");
    char *whole = help_text(NULL);
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        char *text = help_text(entry);
        for (const struct option_entry *o = entry->options; o && o->name; o++) {
            assert_non_null(strstr(text, o->name));
        }
        assert_non_null(strstr(whole, entry->name));
        free(text);
    }
    free(whole);
}

/* Letters and names are unique among what one command takes, and all fit the parser's table. */
static void table_is_unambiguous(void **state)
{
    (void)state;
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        const struct option_entry *all[64];
        size_t count = 0;
        for (const struct option_entry *o = command_global_options; o->name; o++) {
            all[count++] = o;
        }
        for (const struct option_entry *o = entry->options; o && o->name; o++) {
            all[count++] = o;
        }
        assert_true(count <= 40);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < i; j++) {
                assert_string_not_equal(all[i]->name, all[j]->name);
                assert_true(!all[i]->letter || all[i]->letter != all[j]->letter);
            }
        }
    }
}

static void expect_options_in(const char *manual, const struct option_entry *options)
{
    for (const struct option_entry *o = options; o && o->name; o++) {
        char wanted[64];
        if (o->letter) { /* mdoc has both behind one macro */
            snprintf(wanted, sizeof(wanted), "Fl %c , -%s", o->letter, o->name);
        } else {
            snprintf(wanted, sizeof(wanted), "Fl -%s", o->name);
        }
        if (!strstr(manual, wanted)) {
            fail_msg("--%s is not in seqctl(1)", o->name);
        }
    }
}

static void manual_knows_every_verb_and_option(void **state)
{
    (void)state;
    char *manual = tmp_read(SOURCE_FOLDER "/deploy/man/seqctl.1");
    assert_non_null(manual);
    expect_options_in(manual, command_global_options);
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "\n.It Cm %s", entry->name);
        if (!strstr(manual, wanted)) {
            fail_msg("%s is not in seqctl(1)", entry->name);
        }
        expect_options_in(manual, entry->options);
    }
    free(manual);
}

static char *completion(const char *shell)
{
    struct ctl ctl = {.admin = ""};
    struct error error = {0};
    char *word = (char *)shell;
    char *text = NULL;
    size_t size;
    ctl.words = &word;
    ctl.word_count = 1;
    ctl.out = open_memstream(&text, &size);
    assert_int_equal(completion_run(&ctl, &error), EX_OK);
    fclose(ctl.out);
    return text;
}

static void completions_know_every_verb_and_option(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < 3; i++) {
        char *text = completion(shells[i]);
        for (const struct command_entry *entry = command_table; entry->name; entry++) {
            assert_non_null(strstr(text, entry->name));
            for (const struct option_entry *o = entry->options; o && o->name; o++) {
                assert_non_null(strstr(text, o->name));
            }
        }
        free(text);
    }
}

/* Runs the script in a real bash and asks it as bash would. */
static void bash_completion_completes(void **state)
{
    (void)state;
    struct tmp tmp;
    char path[TMP_PATH_MAX];
    char script[TMP_PATH_MAX + 512];
    char *out = NULL;
    tmp_make(&tmp);
    char *text = completion("bash");
    tmp_write(&tmp, path, "seqctl.bash", text);
    snprintf(script, sizeof(script),
             "set -eu; . %s\n"
             "ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _seqctl;"
             " echo \"${COMPREPLY[*]-}\"; }\n"
             "ask seqctl sta\nask seqctl shards --he\nask seqctl completion f\n"
             "ask seqctl -o w\nask seqctl run --pref",
             path);
    assert_int_equal(proc_run((const char *const[]){"bash", "-c", script, NULL}, SOON_MS, &out), 0);
    assert_string_equal(out, "status\n--help --heat\nfish\nwide\n--prefix\n");
    free(out);
    free(text);
    tmp_remove(&tmp);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_taken_before_and_behind_the_verb),
        cmocka_unit_test(json_and_format_json_are_the_same),
        cmocka_unit_test(run_leaves_the_options_of_its_command_alone),
        cmocka_unit_test(mistakes_are_named_with_what_was_meant),
        cmocka_unit_test(too_many_settings_are_refused),
        cmocka_unit_test(help_needs_no_words_and_knows_everything),
        cmocka_unit_test(table_is_unambiguous),
        cmocka_unit_test(manual_knows_every_verb_and_option),
        cmocka_unit_test(completions_know_every_verb_and_option),
        cmocka_unit_test(bash_completion_completes),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
