/* The directories of tests: made, filled, removed, and swept when a test was killed. */
#include "tests/support/tmp.h"

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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static void tmp_is_private_and_goes_with_all_that_is_in_it(void **state)
{
    (void)state;
    struct tmp tmp;
    char path[TMP_PATH_MAX];
    char before[sizeof(tmp.path)];
    struct stat status;
    tmp_make(&tmp);
    strcpy(before, tmp.path);
    assert_int_equal(stat(tmp.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(mkdir(tmp_file(&tmp, path, "folder"), 0700), 0);
    tmp_write(&tmp, path, "folder/file", "text");
    char *text = tmp_read(path);
    assert_string_equal(text, "text");
    free(text);
    assert_int_equal(symlink("/", tmp_file(&tmp, path, "link")), 0);
    tmp_remove(&tmp);
    assert_false(exists(before));
    assert_true(exists("/tmp"));
    tmp_remove(&tmp); /* a second time does nothing */
}

static void tmp_of_a_killed_test_is_swept_by_the_next(void **state)
{
    (void)state;
    int pipe_fds[2];
    char path[sizeof(((struct tmp *)NULL)->path)];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct tmp theirs;
        tmp_make(&theirs);
        _exit(write(pipe_fds[1], theirs.path, sizeof(theirs.path)) > 0 ? 0 : 1);
    }
    assert_int_equal(read(pipe_fds[0], path, sizeof(path)), sizeof(path));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(exists(path));
    struct tmp tmp;
    tmp_make(&tmp);
    assert_false(exists(path));
    tmp_remove(&tmp);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void tmp_read_of_a_missing_file_is_null_and_of_an_empty_one_is_empty(void **state)
{
    (void)state;
    struct tmp tmp;
    char path[TMP_PATH_MAX];
    tmp_make(&tmp);
    assert_null(tmp_read(tmp_file(&tmp, path, "nothing")));
    char *text = tmp_read(tmp_write(&tmp, path, "empty", ""));
    assert_string_equal(text, "");
    free(text);
    tmp_remove(&tmp);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tmp_is_private_and_goes_with_all_that_is_in_it),
        cmocka_unit_test(tmp_of_a_killed_test_is_swept_by_the_next),
        cmocka_unit_test(tmp_read_of_a_missing_file_is_null_and_of_an_empty_one_is_empty),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
