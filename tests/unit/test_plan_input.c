/* Which inputs are legal, and what the refusal of the others says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_plan_fixture.h"

/* A legal input but for one number. @part is a struct of the fixture, by its offset. */
struct change {
    const char *names; /* a word that the refusal must hold */
    size_t offset;     /* in struct fixture */
    size_t size;
    int64_t value;
};

#define AT(member, new_value, word)                                                                \
    {                                                                                              \
        (word), offsetof(struct fixture, member), sizeof(((struct fixture *)0)->member),           \
            (new_value)                                                                            \
    }

static const struct change changes[] = {
    AT(input.batch, 0, "batch"),
    AT(input.rank_nodes, 0, "rank_nodes"),
    AT(input.rank_count, 0, "rank_count"),
    AT(input.rank_count, SEQSYNC_RANKS_MAX + 1, "rank_count"),
    AT(input.rank_count, SEQSYNC_LOCAL_RANKS_MAX + 2, "64 ranks on a node"),
    AT(input.node_count, 0, "node_count"),
    AT(input.node_count, SEQSYNC_NODES_MAX + 1, "node_count"),
    AT(rank_nodes[1], 2, "node_count"),
    AT(batch.size, sizeof(struct seqsync_batch) - 1, "size"),
    AT(batch.sequences, 0, "sequence_count"),
    AT(batch.sequence_count, 0, "sequence_count"),
    AT(batch.sequence_count, SEQSYNC_SEQUENCES_MAX + 1, "sequence_count"),
    AT(batch.placement, 3, "placement"),
    AT(batch.context_role, 0, "context_role"),
    AT(batch.context_role, SEQSYNC_PARTIAL, "context_role"),
    AT(batch.reserved, 1, "reserved"),
    AT(sequences[1].tokens, 0, "at least 1"),
    AT(sequences[1].tokens, INT64_MIN, "at least 1"),
    AT(sequences[1].tokens, INT64_MAX, "at most 268435456"),
    AT(sequences[1].tokens, SEQSYNC_TOKENS_MAX, "in all"),
    AT(sequences[1].context_tokens, -1, "context_tokens"),
    AT(sequences[1].context_tokens, SEQSYNC_TOKENS_MAX, "context_tokens of the batch"),
    AT(sequences[1].mask, 0, "mask"),
    AT(sequences[1].mask, 4, "mask"),
    AT(sequences[1].window_left, -1, "window_left"),
    AT(sequences[1].window_right, INT64_MIN, "window_right"),
    AT(sequences[1].reserved, 1, "reserved"),
};

static struct fixture *legal_fixture(void)
{
    struct fixture *fixture = fixture_new(2, 2);

    fixture_add(fixture, 5)->context_tokens = 1;
    fixture_add(fixture, 5)->mask = SEQSYNC_MASK_WINDOW;
    assert_null(plan_input_check(&fixture->input));
    return fixture;
}

static void assert_refusal(const struct fixture *fixture, const char *names)
{
    const char *why = plan_input_check(&fixture->input);

    if (!why) {
        fail_msg("an input is accepted that should be refused for its %s", names);
    } else if (!strstr(why, names)) {
        fail_msg("\"%s\" does not speak of %s", why, names);
    }
}

static void illegal_inputs_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct fixture *fixture = legal_fixture();
        memcpy((char *)fixture + changes[i].offset, &changes[i].value, changes[i].size);
        assert_refusal(fixture, changes[i].names);
        fixture_free(fixture);
    }
}

static void plans_of_too_many_tiles_are_refused(void **state)
{
    struct fixture *fixture = fixture_new(128, 2);

    (void)state;
    while (fixture->batch.sequence_count < SEQSYNC_SEQUENCES_MAX) {
        fixture_add(fixture, 4096)->mask = SEQSYNC_MASK_CAUSAL;
    }
    assert_refusal(fixture, "tiles");
    fixture->batch.placement = SEQSYNC_PLACE_CONTIGUOUS;
    assert_null(plan_input_check(&fixture->input));
    fixture_free(fixture);
}

static void extreme_lengths_are_planned(void **state)
{
    struct fixture *fixture = fixture_new(1, SEQSYNC_NODES_MAX);

    (void)state;
    fixture_add(fixture, SEQSYNC_TOKENS_MAX)->context_tokens = SEQSYNC_TOKENS_MAX;
    fixture_plan(fixture);
    assert_int_equal(fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].parts[0].area, (int64_t)1 << 56);
    assert_int_equal(fixture->plan->spaces[SEQSYNC_SPACE_CONTEXT].parts[0].area, (int64_t)1 << 56);
    fixture_free(fixture);

    fixture = fixture_new(SEQSYNC_RANKS_MAX, 16);
    fixture_add(fixture, 1)->context_tokens = 1;
    fixture_plan(fixture);
    fixture_free(fixture);
}

static void extreme_windows_are_planned(void **state)
{
    struct fixture *fixture = fixture_new(3, 3);
    struct seqsync_sequence *sequence = fixture_add(fixture, SEQSYNC_TOKENS_MAX);

    (void)state;
    sequence->mask = SEQSYNC_MASK_WINDOW;
    sequence->window_left = INT64_MAX;
    sequence->window_right = INT64_MAX;
    fixture_plan(fixture);
    sequence->window_right = 0;
    fixture_plan(fixture);
    sequence->window_left = 0;
    fixture_plan(fixture);
    assert_int_equal(fixture->plan->spaces[SEQSYNC_SPACE_TOKENS].move_count, 0);
    /* A window means nothing to another mask. */
    sequence->mask = SEQSYNC_MASK_FULL;
    sequence->window_left = -1;
    fixture_plan(fixture);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(illegal_inputs_are_refused_by_name),
        cmocka_unit_test(plans_of_too_many_tiles_are_refused),
        cmocka_unit_test(extreme_lengths_are_planned),
        cmocka_unit_test(extreme_windows_are_planned),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
