#include "daemon/io/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void segment_is_zeroed_and_rounded_to_pages(void **state)
{
    struct segment segment = SEGMENT_NULL;
    (void)state;

    assert_int_equal(segment_init(&segment, "test", 5000), 0);
    assert_int_equal(segment.bytes, 8192);
    for (size_t i = 0; i < segment.bytes; i++) {
        assert_int_equal(segment.data[i], 0);
    }
    segment_deinit(&segment);
    assert_null(segment.data);
}

static void segment_can_neither_shrink_nor_grow(void **state)
{
    struct segment segment = SEGMENT_NULL;
    (void)state;

    assert_int_equal(segment_init(&segment, "test", 4096), 0);
    assert_int_equal(ftruncate(segment.fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(segment.fd, 8192), -1);
    assert_int_equal(errno, EPERM);
    segment_deinit(&segment);
}

static void segment_reader_cannot_map_it_for_writing(void **state)
{
    struct segment segment = SEGMENT_NULL;
    char path[64];
    struct stat st;
    (void)state;

    assert_int_equal(segment_init(&segment, "test", 4096), 0);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, segment.read_fd, 0),
                     MAP_FAILED);
    assert_int_equal(errno, EACCES);
    assert_int_equal(fstat(segment.read_fd, &st), 0);
    assert_int_equal(st.st_mode & 0777,
                     0); /* so that another user cannot reopen it through /proc */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", segment.read_fd);
    if (geteuid() != 0) {
        assert_int_equal(open(path, O_RDWR | O_CLOEXEC), -1);
    }
    strcpy((char *)segment.data, "seen");
    const char *read = mmap(NULL, 4096, PROT_READ, MAP_SHARED, segment.read_fd, 0);
    assert_string_equal(read, "seen");
    munmap((void *)(uintptr_t)read, 4096);
    segment_deinit(&segment);
}

static void segment_refuses_impossible_sizes(void **state)
{
    struct segment segment = SEGMENT_NULL;
    (void)state;

    assert_int_equal(segment_init(&segment, "test", 0), -EINVAL);
    assert_int_equal(segment_init(&segment, "test", SIZE_MAX), -EINVAL);
    /* More than the machine has: refused before the kernel fills it, which would end some process.
     */
    assert_int_equal(segment_init(&segment, "test", (size_t)1 << 46), -ENOMEM);
    assert_null(segment.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment_is_zeroed_and_rounded_to_pages),
        cmocka_unit_test(segment_can_neither_shrink_nor_grow),
        cmocka_unit_test(segment_reader_cannot_map_it_for_writing),
        cmocka_unit_test(segment_refuses_impossible_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
