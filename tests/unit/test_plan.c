/* Plans whose every number is known beforehand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/plan/digest.h"
#include "tests/unit/test_plan_fixture.h"

/* "0-2 7 | 3-6 | ": the tokens of rank after rank. */
static void shards_text(const struct plan *plan, char *ret, size_t size)
{
    size_t at = 0;

    ret[0] = '\0';
    for (uint32_t r = 0; r < plan->rank_count; r++) {
        const struct plan_part *part = &plan->spaces[SEQSYNC_SPACE_TOKENS].parts[r];
        at += (size_t)snprintf(ret + at, size - at, "%s", r > 0 ? " | " : "");
        for (uint32_t c = 0; c < part->chunk_count; c++) {
            const struct seqsync_chunk *chunk = &part->chunks[c];
            at += (size_t)snprintf(ret + at, size - at, "%s%lld", c > 0 ? " " : "",
                                   (long long)chunk->first);
            if (chunk->count > 1) {
                at += (size_t)snprintf(ret + at, size - at, "-%lld",
                                       (long long)(chunk->first + chunk->count - 1));
            }
        }
        assert_true(at < size);
    }
}

struct row {
    uint32_t ranks;
    const char *shards;
};

static void check_table(const int64_t *lengths, uint32_t count, uint32_t placement,
                        const struct row *rows, size_t row_count)
{
    for (size_t i = 0; i < row_count; i++) {
        struct fixture *fixture = fixture_new(rows[i].ranks, 1);
        char text[512];
        for (uint32_t s = 0; s < count; s++) {
            fixture_add(fixture, lengths[s]);
        }
        fixture->batch.placement = placement;
        fixture_plan(fixture);
        assert_null(fixture_oracle(fixture));
        shards_text(fixture->plan, text, sizeof(text));
        assert_string_equal(text, rows[i].shards);
        fixture_free(fixture);
    }
}

static void contiguous_runs_differ_by_at_most_one_token(void **state)
{
    static const struct row rows[] = {
        {1, "0-16"},
        {2, "0-8 | 9-16"},
        {3, "0-5 | 6-11 | 12-16"},
        {5, "0-3 | 4-7 | 8-10 | 11-13 | 14-16"},
        {8, "0-2 | 3-4 | 5-6 | 7-8 | 9-10 | 11-12 | 13-14 | 15-16"},
        {11, "0-1 | 2-3 | 4-5 | 6-7 | 8-9 | 10-11 | 12 | 13 | 14 | 15 | 16"},
    };

    (void)state;
    check_table((int64_t[]){17}, 1, SEQSYNC_PLACE_CONTIGUOUS, rows, sizeof(rows) / sizeof(*rows));
}

static void contiguous_runs_are_cut_where_sequences_end(void **state)
{
    static const struct row rows[] = {
        {1, "0-2 3-9 10"},
        {2, "0-2 3-5 | 6-9 10"},
        {3, "0-2 3 | 4-7 | 8-9 10"},
        {5, "0-2 | 3-4 | 5-6 | 7-8 | 9 10"},
        {8, "0-1 | 2 3 | 4-5 | 6 | 7 | 8 | 9 | 10"},
        {11, "0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10"},
    };

    (void)state;
    check_table((int64_t[]){3, 7, 1}, 3, SEQSYNC_PLACE_CONTIGUOUS, rows,
                sizeof(rows) / sizeof(*rows));
}

static void zigzag_pairs_chunk_p_with_chunk_2p_minus_1_minus_p(void **state)
{
    static const struct row rows[] = {
        {1, "0-21"},
        {2, "0-5 17-21 | 6-16"},
        {3, "0-3 18-21 | 4-7 15-17 | 8-14"},
        {5, "0-2 20-21 | 3-5 18-19 | 6-7 16-17 | 8-9 14-15 | 10-13"},
        {8, "0-1 21 | 2-3 20 | 4-5 19 | 6-7 18 | 8-9 17 | 10-11 16 | 12 15 | 13-14"},
        {11, "0 21 | 1 20 | 2 19 | 3 18 | 4 17 | 5 16 | 6 15 | 7 14 | 8 13 | 9 12 | 10-11"},
    };

    (void)state;
    check_table((int64_t[]){22}, 1, SEQSYNC_PLACE_ZIGZAG, rows, sizeof(rows) / sizeof(*rows));
}

/* Four sequences of three tokens: on five ranks the first takes the low chunks of ranks 0 1 2, the
 * second those of 3 and 4 and the high one of 0, and so on. */
static void zigzag_deals_what_is_left_over_around(void **state)
{
    static const struct row rows[] = {
        {1, "0-2 3-5 6-8 9-11"},
        {2, "0 2 3 6 8 11 | 1 4-5 7 9-10"},
        {3, "0 5 6 11 | 1 4 7 10 | 2 3 8 9"},
        {5, "0 5 9 | 1 8 10 | 2 7 | 3 6 | 4 11"},
        {8, "0 8 | 1 11 | 2 10 | 3 9 | 4 | 5 | 6 | 7"},
        {11, "0 11 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10"},
    };

    (void)state;
    check_table((int64_t[]){3, 3, 3, 3}, 4, SEQSYNC_PLACE_ZIGZAG, rows,
                sizeof(rows) / sizeof(*rows));
}

static void auto_is_zigzag_where_a_sequence_is_causal(void **state)
{
    static const struct {
        uint32_t mask;
        int64_t window_right;
        uint32_t placement;
    } rows[] = {
        {SEQSYNC_MASK_FULL, 0, SEQSYNC_PLACE_CONTIGUOUS},
        {SEQSYNC_MASK_CAUSAL, 5, SEQSYNC_PLACE_ZIGZAG},
        {SEQSYNC_MASK_WINDOW, 0, SEQSYNC_PLACE_ZIGZAG},
        {SEQSYNC_MASK_WINDOW, 1, SEQSYNC_PLACE_CONTIGUOUS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture *fixture = fixture_new(2, 1);
        fixture_add(fixture, 10);
        struct seqsync_sequence *sequence = fixture_add(fixture, 10);
        sequence->mask = rows[i].mask;
        sequence->window_left = 3;
        sequence->window_right = rows[i].window_right;
        fixture_plan(fixture);
        assert_int_equal(fixture->plan->placement, rows[i].placement);
        fixture_free(fixture);
    }
}

/* Three ranks of two tokens, rank 2 alone on node 1, everybody sees everything. */
static void worked_example_of_moves_and_sums(void **state)
{
    struct fixture *fixture = fixture_new(3, 2);

    (void)state;
    fixture_add(fixture, 6);
    fixture->rank_nodes[1] = 0;
    fixture->rank_nodes[2] = 1;
    fixture_plan(fixture);
    const struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS];
    const struct plan_part *part = &space->parts[1];

    assert_int_equal(part->source_count, 3);
    assert_int_equal(part->sources[0].rank, 1);
    assert_int_equal(part->sources[1].rank, 0);
    assert_int_equal(part->sources[1].local, 1);
    assert_int_equal(part->sources[2].rank, 2);
    assert_int_equal(part->sources[2].local, 0);
    assert_int_equal(part->sources[2].inbox_row, 0);
    assert_int_equal(part->sources[2].return_row, 2);
    assert_int_equal(part->return_rows, 4);

    static const struct plan_move moves[] = {
        {.holder = 0, .node = 1, .first_range = 0, .range_count = 1, .rows = 2, .inbox_row = 0},
        {.holder = 1, .node = 1, .first_range = 1, .range_count = 1, .rows = 2, .inbox_row = 2},
        {.holder = 2, .node = 0, .first_range = 2, .range_count = 1, .rows = 2, .inbox_row = 0},
    };
    assert_int_equal(space->move_count, 3);
    assert_memory_equal(space->moves, moves, sizeof(moves));

    static const struct plan_sum sums[] = {
        {.holder = 0, .node = 0, .first_term = 0, .term_count = 2, .row = 0, .count = 2},
        {.holder = 0, .node = 1, .first_term = 2, .term_count = 1, .row = 0, .count = 2},
        {.holder = 1, .node = 0, .first_term = 3, .term_count = 2, .row = 0, .count = 2},
        {.holder = 1, .node = 1, .first_term = 5, .term_count = 1, .row = 2, .count = 2},
        {.holder = 2, .node = 0, .first_term = 6, .term_count = 2, .row = 0, .count = 2},
        {.holder = 2, .node = 1, .first_term = 8, .term_count = 1, .row = 0, .count = 2},
    };
    assert_int_equal(space->sum_count, 6);
    assert_memory_equal(space->sums, sums, sizeof(sums));

    static const struct plan_term terms[] = {
        {0, 1, 0}, {1, 1, 0}, /* of rank 0: rank 1, then node 1 */
        {0, 2, 0},            /* there: rank 2 */
        {0, 0, 0}, {1, 1, 2}, /* of rank 1: rank 0, then node 1 */
        {0, 2, 2},            /* there: rank 2 */
        {0, 0, 2}, {0, 1, 2}, /* of rank 2, on node 0: ranks 0 and 1 */
        {1, 0, 0},            /* at home: node 0 */
    };
    assert_int_equal(space->term_count, 9);
    assert_memory_equal(space->terms, terms, sizeof(terms));
    fixture_free(fixture);
}

/* Node 0 has ranks 0 2 4, node 1 has 1 3 5. */
static void sources_go_own_then_local_then_remote_in_ring_order(void **state)
{
    static const uint32_t expected[6][6] = {
        {0, 2, 4, 1, 3, 5}, {1, 3, 5, 2, 4, 0}, {2, 4, 0, 3, 5, 1},
        {3, 5, 1, 4, 0, 2}, {4, 0, 2, 5, 1, 3}, {5, 1, 3, 0, 2, 4},
    };
    struct fixture *fixture = fixture_new(6, 2);

    (void)state;
    fixture_add(fixture, 12);
    for (uint32_t r = 0; r < 6; r++) {
        fixture->rank_nodes[r] = r % 2;
    }
    fixture_plan(fixture);
    assert_null(fixture_oracle(fixture));
    for (uint32_t r = 0; r < 6; r++) {
        const struct plan_part *part = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[r];
        assert_int_equal(part->source_count, 6);
        for (uint32_t s = 0; s < 6; s++) {
            assert_int_equal(part->sources[s].rank, expected[r][s]);
        }
    }
    fixture_free(fixture);
}

/* A row that two ranks of a node need crosses to the node once, and one sum comes back. */
static void needs_of_one_node_move_once(void **state)
{
    struct fixture *fixture = fixture_new(4, 2);

    (void)state;
    fixture_add(fixture, 400);
    fixture_plan(fixture);
    const struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS];
    int64_t returned = 0;

    for (uint32_t r = 0; r < 4; r++) {
        returned += space->parts[r].return_rows;
    }
    assert_int_equal(returned, 4 * 300);
    assert_int_equal(space->inbox_rows[0], 200);
    assert_int_equal(space->inbox_rows[1], 200);
    fixture_free(fixture);
}

static void tiles_that_no_band_cuts_say_so(void **state)
{
    struct fixture *fixture = fixture_new(2, 1);

    (void)state;
    fixture_add(fixture, 8)->mask = SEQSYNC_MASK_CAUSAL;
    fixture->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
    fixture_plan(fixture);
    const struct plan_part *part = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[1];

    assert_int_equal(part->tile_count, 2);
    assert_true(part->tiles[0].band_low == SEQSYNC_BAND_NONE_LOW);
    assert_int_equal(part->tiles[0].band_high, 0);
    assert_true(part->tiles[1].band_low == SEQSYNC_BAND_NONE_LOW);
    assert_true(part->tiles[1].band_high == SEQSYNC_BAND_NONE_HIGH);
    assert_int_equal(part->area, 10 + 16);
    fixture_free(fixture);
}

/* Every digest is over everything: one bit of the input changes it. */
static void digest_follows_the_input(void **state)
{
    struct fixture *fixture = fixture_new(3, 2);
    uint64_t digests[8];
    size_t count = 0;

    (void)state;
    fixture_add(fixture, 9);
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->sequences[0].tokens = 10;
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->sequences[0].mask = SEQSYNC_MASK_CAUSAL;
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->batch.seed++;
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->sequences[0].sample_id++;
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->rank_nodes[1] = !fixture->rank_nodes[1];
    fixture_plan(fixture);
    digests[count++] = fixture->plan->digest;
    fixture->plan = plan_free(fixture->plan);
    assert_int_equal(plan_new(&fixture->input, 12, &fixture->plan), 0);
    digests[count++] = fixture->plan->digest;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_true(digests[i] != digests[j]);
        }
    }
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contiguous_runs_differ_by_at_most_one_token),
        cmocka_unit_test(contiguous_runs_are_cut_where_sequences_end),
        cmocka_unit_test(zigzag_pairs_chunk_p_with_chunk_2p_minus_1_minus_p),
        cmocka_unit_test(zigzag_deals_what_is_left_over_around),
        cmocka_unit_test(auto_is_zigzag_where_a_sequence_is_causal),
        cmocka_unit_test(worked_example_of_moves_and_sums),
        cmocka_unit_test(sources_go_own_then_local_then_remote_in_ring_order),
        cmocka_unit_test(needs_of_one_node_move_once),
        cmocka_unit_test(tiles_that_no_band_cuts_say_so),
        cmocka_unit_test(digest_follows_the_input),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
