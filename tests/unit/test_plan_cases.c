/* Faults that users of other systems met, by their numbers in the list of cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_plan_fixture.h"

static int64_t rows_of(const struct fixture *fixture, uint32_t rank)
{
    return fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[rank].rows;
}

static int64_t total_rows(const struct fixture *fixture)
{
    int64_t rows = 0;

    for (uint32_t r = 0; r < fixture->plan->rank_count; r++) {
        rows += rows_of(fixture, r);
    }
    return rows;
}

static int64_t total_area(const struct fixture *fixture, uint32_t space)
{
    int64_t area = 0;

    for (uint32_t r = 0; r < fixture->plan->rank_count; r++) {
        area += fixture->plan->spaces[space].parts[r].area;
    }
    return area;
}

static void assert_shard(const struct fixture *fixture, uint32_t rank, const int64_t *expected,
                         int64_t count)
{
    int64_t got_count;
    int64_t *got = fixture_shard(fixture, SEQSYNC_SPACE_TOKENS, rank, &got_count);

    assert_int_equal(got_count, count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(got[i], expected[i]);
    }
    free(got);
}

static void case_s34_lengths_that_do_not_divide_are_exact(void **state)
{
    (void)state;
    for (int64_t tokens = 1; tokens <= 40; tokens++) {
        for (uint32_t ranks = 1; ranks <= 11; ranks++) {
            struct fixture *fixture = fixture_new(ranks, 1 + ranks / 4);
            fixture_add(fixture, tokens)->mask = 1 + (uint32_t)(tokens % 2);
            fixture_plan(fixture);
            assert_null(fixture_oracle(fixture));
            fixture_free(fixture);
        }
    }
}

static void case_s35_2999_tokens_on_4_ranks(void **state)
{
    static const int64_t contiguous[] = {750, 750, 750, 749};
    struct fixture *fixture = fixture_new(4, 1);

    (void)state;
    fixture_add(fixture, 2999);
    fixture_plan(fixture);
    for (uint32_t r = 0; r < 4; r++) {
        assert_int_equal(rows_of(fixture, r), contiguous[r]);
    }
    /* Halves of 375 and 374 need not match: both are counted, neither is padded. */
    fixture->sequences[0].mask = SEQSYNC_MASK_CAUSAL;
    fixture_plan(fixture);
    assert_int_equal(fixture->plan->placement, SEQSYNC_PLACE_ZIGZAG);
    for (uint32_t r = 0; r < 4; r++) {
        assert_in_range(rows_of(fixture, r), 749, 750);
    }
    assert_int_equal(total_rows(fixture), 2999);
    assert_int_equal(total_area(fixture, SEQSYNC_SPACE_TOKENS), 2999 * 3000 / 2);
    fixture_free(fixture);
}

static void case_s36_no_token_of_a_video_is_dropped(void **state)
{
    struct fixture *fixture = fixture_new(8, 2);

    (void)state;
    fixture_add(fixture, 21 * 60 * 45);
    fixture_plan(fixture);
    assert_int_equal(total_rows(fixture), 56700);
    for (uint32_t r = 0; r < 8; r++) {
        assert_in_range(rows_of(fixture, r), 7087, 7088);
    }
    assert_int_equal(total_area(fixture, SEQSYNC_SPACE_TOKENS), (int64_t)56700 * 56700);
    fixture_free(fixture);
}

static void case_s38_698_tokens_are_neither_padded_nor_dropped(void **state)
{
    struct fixture *fixture = fixture_new(4, 1);

    (void)state;
    fixture_add(fixture, 698);
    for (uint32_t mask = SEQSYNC_MASK_FULL; mask <= SEQSYNC_MASK_CAUSAL; mask++) {
        fixture->sequences[0].mask = mask;
        fixture_plan(fixture);
        const uint64_t digest = fixture->plan->digest;
        assert_int_equal(total_rows(fixture), 698);
        assert_int_equal(total_area(fixture, SEQSYNC_SPACE_TOKENS),
                         mask == SEQSYNC_MASK_FULL ? 698 * 698 : 698 * 699 / 2);
        fixture_plan(fixture);
        assert_true(fixture->plan->digest == digest);
    }
    fixture_free(fixture);
}

static void case_s40_as_many_tokens_come_back_as_went_in(void **state)
{
    struct fixture *fixture = fixture_new(8, 1);
    bool *held = calloc(57826, sizeof(bool));

    (void)state;
    assert_non_null(held);
    fixture_add(fixture, 57826);
    fixture_plan(fixture);
    for (uint32_t r = 0; r < 8; r++) {
        int64_t count;
        int64_t *shard = fixture_shard(fixture, SEQSYNC_SPACE_TOKENS, r, &count);
        for (int64_t i = 0; i < count; i++) {
            assert_in_range(shard[i], 0, 57825);
            assert_false(held[shard[i]]);
            held[shard[i]] = true;
        }
        free(shard);
    }
    assert_int_equal(total_rows(fixture), 57826);
    free(held);
    fixture_free(fixture);
}

static void case_s42_zigzag_is_per_document(void **state)
{
    struct fixture *fixture = fixture_new(2, 1);

    (void)state;
    fixture_add(fixture, 8)->mask = SEQSYNC_MASK_CAUSAL;
    fixture_add(fixture, 8)->mask = SEQSYNC_MASK_CAUSAL;
    fixture_plan(fixture);
    assert_shard(fixture, 0, (int64_t[]){0, 1, 6, 7, 8, 9, 14, 15}, 8);
    assert_shard(fixture, 1, (int64_t[]){2, 3, 4, 5, 10, 11, 12, 13}, 8);
    fixture_free(fixture);
}

static void case_s43_sequences_shorter_than_2p_chunks(void **state)
{
    (void)state;
    for (int64_t tokens = 1; tokens < 16; tokens++) {
        struct fixture *fixture = fixture_new(8, 3);
        uint32_t empty = 0;
        fixture_add(fixture, tokens)->mask = SEQSYNC_MASK_CAUSAL;
        fixture_plan(fixture);
        assert_null(fixture_oracle(fixture));
        for (uint32_t r = 0; r < 8; r++) {
            empty += rows_of(fixture, r) == 0;
        }
        assert_int_equal(empty, tokens < 8 ? 8 - tokens : 0);
        fixture_free(fixture);
    }
}

/* Ranks 0 and 1 hold document A, 2 and 3 hold B: nobody reads of the other, whatever A is like. */
static void case_s45_documents_do_not_see_each_other(void **state)
{
    struct fixture *fixture = fixture_new(4, 2);

    (void)state;
    for (uint32_t mask = SEQSYNC_MASK_FULL; mask <= SEQSYNC_MASK_WINDOW; mask++) {
        fixture_free(fixture);
        fixture = fixture_new(4, 2);
        struct seqsync_sequence *a = fixture_add(fixture, 20);
        a->mask = mask;
        a->window_left = a->window_right = 1000;
        fixture_add(fixture, 20);
        fixture->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
        fixture_plan(fixture);
        assert_null(fixture_oracle(fixture));
        const struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS];
        assert_int_equal(space->move_count, 0);
        for (uint32_t r = 2; r < 4; r++) {
            const struct plan_part *part = &space->parts[r];
            assert_int_equal(part->area, 200);
            assert_int_equal(part->source_count, 2);
            assert_int_equal(part->sources[0].rank, r);
            assert_int_equal(part->sources[1].rank, 5 - r);
        }
    }
    fixture_free(fixture);
}

static void case_s46_packed_positions_come_from_global_indices(void **state)
{
    static const int64_t positions[] = {0, 3, 0, 3};
    struct fixture *fixture = fixture_new(2, 1);

    (void)state;
    fixture_add(fixture, 4);
    fixture_add(fixture, 4);
    fixture->batch.placement = SEQSYNC_PLACE_ZIGZAG;
    fixture_plan(fixture);
    assert_shard(fixture, 0, (int64_t[]){0, 3, 4, 7}, 4);
    assert_shard(fixture, 1, (int64_t[]){1, 2, 5, 6}, 4);
    /* The position within the document is there as well, under a name of its own. */
    const struct plan_part *part = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[0];
    assert_int_equal(part->chunk_count, 4);
    for (uint32_t c = 0; c < 4; c++) {
        assert_int_equal(part->chunks[c].position, positions[c]);
        assert_int_equal(part->chunks[c].sequence, c / 2);
    }
    fixture_free(fixture);
}

static void case_s49_lengths_are_local_and_positions_are_not(void **state)
{
    struct fixture *fixture = fixture_new(2, 1);

    (void)state;
    fixture_add(fixture, 2048);
    fixture_plan(fixture);
    const struct plan_part *part = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[1];
    assert_int_equal(part->chunk_count, 1);
    assert_int_equal(part->chunks[0].first, 1024);
    assert_int_equal(part->chunks[0].position, 1024);
    assert_int_equal(part->chunks[0].count, 1024);
    assert_int_equal(part->chunks[0].row, 0);
    assert_int_equal(part->rows, 1024);
    for (uint32_t t = 0; t < part->tile_count; t++) {
        assert_int_equal(part->tiles[t].q_first, 1024);
        assert_int_equal(part->tiles[t].q_row, 0);
    }
    fixture_free(fixture);
}

/* A token's label is the next of its sequence, by global index, whoever holds it. */
static void assert_labels(const struct fixture *fixture, uint32_t rank, const int64_t *expected)
{
    const struct plan *plan = fixture->plan;
    const struct plan_part *part = &plan->spaces[SEQSYNC_SPACE_TOKENS].parts[rank];
    int64_t row = 0;

    for (uint32_t c = 0; c < part->chunk_count; c++) {
        const struct seqsync_chunk *chunk = &part->chunks[c];
        const int64_t end = plan->offsets[SEQSYNC_SPACE_TOKENS][chunk->sequence + 1];
        for (int64_t i = 0; i < chunk->count; i++) {
            const int64_t next = chunk->first + i + 1;
            assert_int_equal(next < end ? next : -100, expected[row]);
            row++;
        }
    }
}

static void case_s50_labels_are_shifted_before_sharding(void **state)
{
    struct fixture *fixture = fixture_new(2, 1);

    (void)state;
    fixture_add(fixture, 8)->mask = SEQSYNC_MASK_CAUSAL;
    fixture_plan(fixture);
    assert_shard(fixture, 0, (int64_t[]){0, 1, 6, 7}, 4);
    assert_labels(fixture, 0, (int64_t[]){1, 2, 7, -100});
    assert_labels(fixture, 1, (int64_t[]){3, 4, 5, 6});
    fixture_free(fixture);
}

static void case_s61_a_replicated_token_is_attended_once(void **state)
{
    struct fixture *fixture = fixture_new(4, 2);

    (void)state;
    fixture_add(fixture, 21)->context_tokens = 7;
    fixture_add(fixture, 6)->context_tokens = 0;
    fixture_add(fixture, 10)->context_tokens = 3;
    for (uint32_t role = SEQSYNC_SHARDED; role <= SEQSYNC_REPLICATED; role++) {
        fixture->batch.context_role = role;
        fixture_plan(fixture);
        assert_null(fixture_oracle(fixture));
        assert_int_equal(total_area(fixture, SEQSYNC_SPACE_CONTEXT), 21 * 7 + 10 * 3);
    }
    const struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_CONTEXT];
    assert_int_equal(space->move_count, 0);
    assert_int_equal(space->sum_count, 0);
    for (uint32_t r = 0; r < 4; r++) {
        assert_int_equal(space->parts[r].rows, 10);
        assert_int_equal(space->parts[r].need_count, 0);
        assert_in_range(space->parts[r].source_count, 0, 1);
    }
    fixture_free(fixture);
}

static void case_s65_work_is_split_by_tokens_not_by_samples(void **state)
{
    static const int64_t lengths[] = {10000, 3, 1, 2, 500, 1, 1, 7};

    (void)state;
    for (uint32_t placement = SEQSYNC_PLACE_CONTIGUOUS; placement <= SEQSYNC_PLACE_ZIGZAG;
         placement++) {
        struct fixture *fixture = fixture_new(4, 1);
        for (size_t s = 0; s < sizeof(lengths) / sizeof(lengths[0]); s++) {
            fixture_add(fixture, lengths[s])->mask = SEQSYNC_MASK_CAUSAL;
        }
        fixture->batch.placement = placement;
        fixture_plan(fixture);
        for (uint32_t r = 0; r < 4; r++) {
            assert_in_range(rows_of(fixture, r), 10515 / 4, 10515 / 4 + 1);
        }
        fixture_free(fixture);
    }
}

static void case_s70_a_sliding_window_stays_one(void **state)
{
    struct fixture *fixture = fixture_new(4, 2);
    struct seqsync_sequence *sequence = fixture_add(fixture, 4000);

    (void)state;
    sequence->mask = SEQSYNC_MASK_WINDOW;
    sequence->window_left = 100;
    fixture->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
    fixture_plan(fixture);
    const struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS];
    assert_int_equal(total_area(fixture, SEQSYNC_SPACE_TOKENS), 4000 * 101 - 100 * 101 / 2);
    for (uint32_t r = 0; r < 4; r++) {
        const struct plan_part *part = &space->parts[r];
        /* Only the halo moves: the last 100 keys of the rank before. */
        assert_int_equal(part->return_rows, r > 0 ? 100 : 0);
        assert_int_equal(part->tiles[0].band_low, -100);
        assert_int_equal(part->tiles[0].band_high, 0);
    }
    assert_int_equal(space->move_count, 1);
    assert_int_equal(space->ranges[0].holder_row, 900);
    assert_int_equal(space->ranges[0].count, 100);
    /* A plan made with the window ignored is refused for this batch. */
    struct fixture *causal = fixture_new(4, 2);
    fixture_add(causal, 4000)->mask = SEQSYNC_MASK_CAUSAL;
    causal->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
    fixture_plan(causal);
    causal->plan->sequences[0] = *sequence;
    assert_non_null(plan_validate(causal->plan, &fixture->input));
    fixture_free(causal);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_s34_lengths_that_do_not_divide_are_exact),
        cmocka_unit_test(case_s35_2999_tokens_on_4_ranks),
        cmocka_unit_test(case_s36_no_token_of_a_video_is_dropped),
        cmocka_unit_test(case_s38_698_tokens_are_neither_padded_nor_dropped),
        cmocka_unit_test(case_s40_as_many_tokens_come_back_as_went_in),
        cmocka_unit_test(case_s42_zigzag_is_per_document),
        cmocka_unit_test(case_s43_sequences_shorter_than_2p_chunks),
        cmocka_unit_test(case_s45_documents_do_not_see_each_other),
        cmocka_unit_test(case_s46_packed_positions_come_from_global_indices),
        cmocka_unit_test(case_s49_lengths_are_local_and_positions_are_not),
        cmocka_unit_test(case_s50_labels_are_shifted_before_sharding),
        cmocka_unit_test(case_s61_a_replicated_token_is_attended_once),
        cmocka_unit_test(case_s65_work_is_split_by_tokens_not_by_samples),
        cmocka_unit_test(case_s70_a_sliding_window_stays_one),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
