/* What workers print on its way out: whole lines, progress, bounds. */
#include "client/ctl/output.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CLEAR "\r\x1b[K"

struct fixture {
    int read_fd;
    int write_fd;
    struct output output;
};

static void use(struct fixture *fixture, int read_fd, int write_fd)
{
    fixture->read_fd = read_fd;
    fixture->write_fd = write_fd;
    fcntl(read_fd, F_SETFL, O_NONBLOCK);
    output_init(&fixture->output, write_fd, write_fd);
}

static int setup_pipe(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int fds[2];
    if (!fixture || pipe(fds)) {
        return -1;
    }
    use(fixture, fds[0], fds[1]);
    *state = fixture;
    return 0;
}

static int setup_terminal(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int master;
    int slave;
    struct termios raw;
    if (!fixture || openpty(&master, &slave, NULL, NULL, NULL)) {
        return -1;
    }
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    use(fixture, master, slave);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    output_deinit(&fixture->output);
    close(fixture->read_fd);
    close(fixture->write_fd);
    free(fixture);
    return 0;
}

/* Everything that has been written so far. */
static const char *written(struct fixture *fixture)
{
    static char text[256 * 1024];
    size_t used = 0;
    for (;;) {
        output_flush(&fixture->output);
        ssize_t count = read(fixture->read_fd, text + used, sizeof(text) - 1 - used);
        if (count <= 0) {
            text[used] = '\0';
            return text;
        }
        used += (size_t)count;
    }
}

static void feed(struct lines *lines, const char *text)
{
    lines_feed(lines, text, strlen(text));
}

static void lines_of_two_workers_never_mix(void **state)
{
    struct fixture *f = *state;
    struct lines a;
    struct lines b;
    lines_init(&a, &f->output, OUTPUT_OUT, "[rank 0] ", true);
    lines_init(&b, &f->output, OUTPUT_ERR, "[rank 1] ", false);
    feed(&a, "hel");
    feed(&b, "wor");
    feed(&a, "lo\nag");
    feed(&b, "ld\n\n");
    lines_end(&a);
    lines_end(&b);
    assert_string_equal(written(f), "[rank 0] hello\n[rank 1] world\n[rank 1] \n[rank 0] ag\n");
    lines_deinit(&a);
    lines_deinit(&b);
}

static void dos_line_ends_are_line_ends(void **state)
{
    struct fixture *f = *state;
    struct lines lines;
    lines_init(&lines, &f->output, OUTPUT_OUT, "", true);
    feed(&lines, "one\r\ntwo\r");
    feed(&lines, "\nthree\n");
    assert_string_equal(written(f), "one\ntwo\nthree\n");
    lines_deinit(&lines);
}

static void progress_leaves_only_its_last_state_where_there_is_no_terminal(void **state)
{
    struct fixture *f = *state;
    struct lines lines;
    lines_init(&lines, &f->output, OUTPUT_OUT, "> ", true);
    feed(&lines, "\rstep 1");
    feed(&lines, "\rstep 2\rstep 3");
    assert_string_equal(written(f), "");
    feed(&lines, "\nnext\n");
    assert_string_equal(written(f), "> step 3\n> next\n");
    lines_deinit(&lines);
}

static void progress_is_shown_on_a_terminal_and_drawn_again_below_lines(void **state)
{
    struct fixture *f = *state;
    struct lines first;
    struct lines other;
    lines_init(&first, &f->output, OUTPUT_ERR, "[rank 0] ", true);
    lines_init(&other, &f->output, OUTPUT_OUT, "[rank 1] ", false);
    feed(&first, "\rstep 1");
    assert_string_equal(written(f), CLEAR "step 1");
    feed(&other, "\rnobody sees this\rwarning\n");
    assert_string_equal(written(f), CLEAR "[rank 1] warning\nstep 1");
    feed(&first, "\rstep 2\n");
    assert_string_equal(written(f), CLEAR "[rank 0] step 2\n");
    feed(&other, "after\n");
    assert_string_equal(written(f), "[rank 1] after\n");
    lines_deinit(&first);
    lines_deinit(&other);
}

static void endless_line_is_broken(void **state)
{
    struct fixture *f = *state;
    struct lines lines;
    static char bytes[OUTPUT_LINE_MAX + 10];
    memset(bytes, 'x', sizeof(bytes));
    lines_init(&lines, &f->output, OUTPUT_OUT, "", false);
    lines_feed(&lines, bytes, sizeof(bytes));
    lines_end(&lines);
    const char *text = written(f);
    assert_int_equal(strcspn(text, "\n"), OUTPUT_LINE_MAX);
    assert_string_equal(text + OUTPUT_LINE_MAX, "\nxxxxxxxxxx\n");
    lines_deinit(&lines);
}

static void full_queue_says_so_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    static char bytes[1000];
    size_t lines = 0;
    memset(bytes, 'y', sizeof(bytes));
    while (!output_is_full(&f->output)) {
        output_line(&f->output, OUTPUT_OUT, "", bytes, sizeof(bytes));
        output_flush(&f->output); /* stops at the full pipe instead of blocking */
        lines++;
    }
    assert_true(f->output.queued >= OUTPUT_QUEUE_MAX);
    size_t total = 0;
    struct pollfd entry;
    while (output_poll(&f->output, &entry)) {
        assert_int_equal(entry.fd, f->write_fd);
        total += strlen(written(f));
    }
    total += strlen(written(f));
    assert_int_equal(total, lines * (sizeof(bytes) + 1));
}

static void lost_reader_breaks_the_output(void **state)
{
    struct fixture *f = *state;
    int other[2];
    struct pollfd entry;
    assert_int_equal(pipe(other), 0);
    close(f->read_fd);
    f->read_fd = other[0];
    output_line(&f->output, OUTPUT_OUT, "", "text", 4);
    output_flush(&f->output);
    assert_true(f->output.broken);
    output_line(&f->output, OUTPUT_OUT, "", "text", 4); /* dropped */
    assert_false(output_poll(&f->output, &entry));
    close(other[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_of_two_workers_never_mix, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(dos_line_ends_are_line_ends, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(
            progress_leaves_only_its_last_state_where_there_is_no_terminal, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(progress_is_shown_on_a_terminal_and_drawn_again_below_lines,
                                        setup_terminal, teardown),
        cmocka_unit_test_setup_teardown(endless_line_is_broken, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(full_queue_says_so_and_loses_nothing, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(lost_reader_breaks_the_output, setup_pipe, teardown),
    };
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
