#include "daemon/io/bulk_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    struct bulk_table table;
    uint8_t first[10];
    uint8_t second[6];
};

static const struct bulk_key key = {.job = 3, .id = 1, .part = 2, .kind = BULK_KV, .node = 1};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const struct bulk_piece pieces[2] = {{fixture->first, 10}, {fixture->second, 6}};

    bulk_table_init(&fixture->table);
    *state = fixture;
    return bulk_table_expect(&fixture->table, &key, /* generation= */ 5, /* step= */ 9, pieces, 2);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    bulk_table_deinit(&fixture->table);
    free(fixture);
    return 0;
}

static struct bulk_header header_of(uint64_t offset, uint32_t length)
{
    return (struct bulk_header){.job = 3,
                                .generation = 5,
                                .step = 9,
                                .offset = offset,
                                .total = 16,
                                .length = length,
                                .id = 1,
                                .part = 2,
                                .kind = BULK_KV,
                                .node = 1};
}

static int place(struct fixture *fixture, const struct bulk_header *header, bool *ret_complete)
{
    static const uint8_t bytes[17] = "abcdefghijklmnop";
    const char *text = NULL;
    const int r =
        bulk_table_place(&fixture->table, header, bytes + header->offset, ret_complete, &text);

    assert_true((r == BULK_TABLE_BROKEN) == (text != NULL));
    return r;
}

static void frames_are_placed_across_the_pieces(void **state)
{
    struct fixture *fixture = *state;
    struct bulk_header header = header_of(0, 7);
    bool complete = true;

    assert_int_equal(place(fixture, &header, &complete), 0);
    assert_false(complete);
    header = header_of(7, 9);
    assert_int_equal(place(fixture, &header, &complete), 0);
    assert_true(complete);
    assert_memory_equal(fixture->first, "abcdefghij", 10);
    assert_memory_equal(fixture->second, "klmnop", 6);
}

static void a_gap_or_a_repeated_frame_breaks_the_transfer(void **state)
{
    struct fixture *fixture = *state;
    struct bulk_header header = header_of(4, 4);
    bool complete = false;

    assert_int_equal(place(fixture, &header, &complete), BULK_TABLE_BROKEN);
    header = header_of(0, 4);
    assert_int_equal(place(fixture, &header, &complete), 0);
    assert_int_equal(place(fixture, &header, &complete), BULK_TABLE_BROKEN);
    assert_int_equal(fixture->first[4], 0);
}

static void a_complete_transfer_takes_nothing_more(void **state)
{
    struct fixture *fixture = *state;
    struct bulk_header header = header_of(0, 16);
    bool complete = false;

    assert_int_equal(place(fixture, &header, &complete), 0);
    assert_true(complete);
    header = header_of(16, 0);
    assert_int_equal(place(fixture, &header, &complete), BULK_TABLE_BROKEN);
}

static void another_step_generation_or_sender_is_unexpected(void **state)
{
    struct fixture *fixture = *state;
    bool complete = false;
    struct bulk_header headers[5];

    for (int i = 0; i < 5; i++) {
        headers[i] = header_of(0, 16);
    }
    headers[0].step = 8;
    headers[1].generation = 4;
    headers[2].node = 2;
    headers[3].job = 4;
    headers[4].part = 3;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(place(fixture, &headers[i], &complete), BULK_TABLE_UNEXPECTED);
    }
    assert_int_equal(fixture->first[0], 0);
}

static void another_length_than_planned_breaks_the_transfer(void **state)
{
    struct fixture *fixture = *state;
    struct bulk_header header = header_of(0, 4);
    bool complete = false;

    header.total = 15;
    assert_int_equal(place(fixture, &header, &complete), BULK_TABLE_BROKEN);
}

static void what_is_forgotten_is_unexpected(void **state)
{
    struct fixture *fixture = *state;
    struct bulk_header header = header_of(0, 16);
    bool complete = false;

    bulk_table_forget(&fixture->table, &key);
    assert_int_equal(place(fixture, &header, &complete), BULK_TABLE_UNEXPECTED);
    bulk_table_forget(&fixture->table, &key);
}

static void forgetting_a_job_leaves_the_others(void **state)
{
    struct fixture *fixture = *state;
    const struct bulk_piece piece = {fixture->second, 6};
    struct bulk_key other = key;
    struct bulk_header header = header_of(0, 6);
    bool complete = false;

    other.job = 4;
    for (uint32_t id = 0; id < 100; id++) {
        other.id = id;
        assert_int_equal(bulk_table_expect(&fixture->table, &other, 5, 9, &piece, 1), 0);
    }
    bulk_table_forget_job(&fixture->table, 3);
    assert_int_equal(place(fixture, &header, &complete), BULK_TABLE_UNEXPECTED);
    header.job = 4;
    header.id = 77;
    header.total = 6;
    assert_int_equal(place(fixture, &header, &complete), 0);
    assert_true(complete);
}

static void parameters_may_come_from_any_root(void **state)
{
    struct fixture *fixture = *state;
    const struct bulk_piece piece = {fixture->second, 6};
    const struct bulk_key parameter = {.job = 3, .id = 0, .kind = BULK_PARAMETER};
    struct bulk_header header = header_of(0, 6);
    bool complete = false;

    assert_int_equal(bulk_table_expect(&fixture->table, &parameter, 5, 1, &piece, 1), 0);
    header.kind = BULK_PARAMETER;
    header.id = 0;
    header.step = 1;
    header.part = 12;
    header.node = 2;
    header.total = 6;
    assert_int_equal(place(fixture, &header, &complete), 0);
    assert_true(complete);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_are_placed_across_the_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gap_or_a_repeated_frame_breaks_the_transfer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_complete_transfer_takes_nothing_more, setup, teardown),
        cmocka_unit_test_setup_teardown(another_step_generation_or_sender_is_unexpected, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_length_than_planned_breaks_the_transfer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_forgotten_is_unexpected, setup, teardown),
        cmocka_unit_test_setup_teardown(forgetting_a_job_leaves_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_may_come_from_any_root, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
