#include "daemon/core/fail.h"
#include "daemon/core/text.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"node-a", "node-b"};
static const uint16_t nodes[] = {0, 0, 0, 1, 1, 0};
static const struct roster roster = {names, nodes, 6};

static struct rank_set set_of(const char *ranks)
{
    struct rank_set set;

    rank_set_clear(&set);
    for (; *ranks != '\0'; ranks++) {
        rank_set_add(&set, (uint32_t)(*ranks - '0'));
    }
    return set;
}

static void ranks_are_written_as_people_say_them(void **state)
{
    static const char *const table[][3] = {
        {"", "nobody", ""},
        {"3", "rank 3", "rank 3 on node-b"},
        {"01", "ranks 0,1", "ranks 0,1 on node-a"},
        {"012", "ranks 0-2", "ranks 0-2 on node-a"},
        {"0245", "ranks 0,2,4,5", "ranks 0,2,5 on node-a and rank 4 on node-b"},
        {"012345", "ranks 0-5", "ranks 0-2,5 on node-a and ranks 3,4 on node-b"},
    };
    char at[128];
    struct text text;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct rank_set set = set_of(table[i][0]);
        text_init(&text, at, sizeof(at));
        text_ranks(&text, &set);
        assert_string_equal(at, table[i][1]);
        text_init(&text, at, sizeof(at));
        text_ranks_at(&text, &set, &roster);
        assert_string_equal(at, table[i][2]);
    }
}

static void a_long_text_is_cut_between_characters(void **state)
{
    char at[12];
    struct text text;

    (void)state;
    text_init(&text, at, sizeof(at));
    text_add(&text, "12345678901234");
    assert_string_equal(at, "12345678...");
    text_add(&text, "more");
    assert_int_equal(strlen(at) < sizeof(at), 1);
    text_init(&text, at, sizeof(at));
    text_add(&text, "1234567\xC3\xA9 and more"); /* the cut would fall into the e acute */
    assert_string_equal(at, "1234567...");
}

static void a_thousand_ranks_fit_a_text(void **state)
{
    static uint16_t far[SEQSYNC_RANKS_MAX];
    static const char *far_names[SEQSYNC_NODES_MAX];
    const struct roster wide = {far_names, far, SEQSYNC_RANKS_MAX};
    struct rank_set odd;
    struct rank_set none = set_of("");
    struct job_end end;

    (void)state;
    rank_set_clear(&odd);
    for (uint32_t rank = 0; rank < SEQSYNC_RANKS_MAX; rank++) {
        far[rank] = (uint16_t)(rank % SEQSYNC_NODES_MAX);
        far_names[rank % SEQSYNC_NODES_MAX] = "a-node-with-a-rather-long-name.of.a.domain";
        rank_set_add(&odd, rank);
    }
    fail_differ(&end, &wide, GATHER_BATCH, 3, &odd, &none);
    assert_int_equal(strlen(end.text), MESSAGE_TEXT_MAX - 1);
    assert_string_equal(end.text + MESSAGE_TEXT_MAX - 4, "...");
    assert_int_equal(end.rank, -1);
    assert_int_equal(end.node, -1);
}

/* Every ending says what, where and what to do, and names its culprit. */
static void endings_name_culprit_and_remedy(void **state)
{
    const struct rank_set one = set_of("4"), two = set_of("34"), rest = set_of("0125");
    struct job_end end;

    (void)state;
    fail_missing(&end, &roster, GATHER_COMMIT, 18, &one, UINT64_C(1500000000), "kv 3 of step 18");
    assert_string_equal(
        end.text, "rank 4 on node-b has not committed step 18 within 1.5 s; last: kv 3 of step 18");
    assert_int_equal(end.rank, 4);
    assert_int_equal(end.node, 1);
    fail_missing(&end, &roster, GATHER_REGISTER, 1, &two, UINT64_C(2000000000), "");
    assert_string_equal(end.text, "ranks 3,4 on node-b have not registered within 2 s");
    assert_int_equal(end.rank, -1);
    assert_int_equal(end.node, 1);
    fail_differ(&end, &roster, GATHER_BATCH, 2, &one, &rest);
    assert_string_equal(end.text,
                        "rank 4 on node-b described another batch than ranks 0-2,5 in step 2");
    assert_int_equal(end.code, SEQSYNC_ERR_BATCH_MISMATCH);
    fail_worker_lost(&end, &roster, 3, 0, "killed by signal 9");
    assert_int_equal(end.code, SEQSYNC_ERR_WORKER_LOST);
    assert_true(end.hint[0] != '\0');
    fail_left(&end, "job");
    assert_int_equal(end.code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_written_as_people_say_them),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(a_thousand_ranks_fit_a_text),
        cmocka_unit_test(endings_name_culprit_and_remedy),
    };

    return cmocka_run_group_tests_name("core_text", tests, NULL, NULL);
}
