/*
 * The validator against damaged plans: every field of everything in a plan is changed in turn, to
 * its neighbours and to extreme values, and the digest made to fit. The validator must refuse each,
 * and must not follow what it cannot trust.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/plan/digest.h"
#include "tests/unit/test_plan_fixture.h"

#define SEEDS 60

struct field {
    const char *name;
    size_t offset;
    size_t size;
};

#define FIELD(type, member)                                                                        \
    {                                                                                              \
#type "." #member, offsetof(struct type, member), sizeof(((struct type *)0)->member)       \
    }
#define FIELDS_N(fields) (sizeof(fields) / sizeof((fields)[0]))

static const struct field chunk_fields[] = {
    FIELD(seqsync_chunk, first),    FIELD(seqsync_chunk, count),    FIELD(seqsync_chunk, row),
    FIELD(seqsync_chunk, position), FIELD(seqsync_chunk, sequence), FIELD(seqsync_chunk, rank),
};
/* The bands are changed apart, since some of their values mean the same. */
static const struct field tile_fields[] = {
    FIELD(seqsync_tile, q_first), FIELD(seqsync_tile, k_first),  FIELD(seqsync_tile, q_count),
    FIELD(seqsync_tile, k_count), FIELD(seqsync_tile, q_row),    FIELD(seqsync_tile, k_row),
    FIELD(seqsync_tile, source),  FIELD(seqsync_tile, reserved), FIELD(seqsync_tile, return_row),
};
static const struct field source_fields[] = {
    FIELD(seqsync_source, rank),        FIELD(seqsync_source, node),
    FIELD(seqsync_source, local),       FIELD(seqsync_source, reserved),
    FIELD(seqsync_source, view_rows),   FIELD(seqsync_source, inbox_row),
    FIELD(seqsync_source, return_rows), FIELD(seqsync_source, return_row),
};
static const struct field range_fields[] = {
    FIELD(plan_range, holder_row),
    FIELD(plan_range, row),
    FIELD(plan_range, count),
};
static const struct field move_fields[] = {
    FIELD(plan_move, holder),      FIELD(plan_move, node), FIELD(plan_move, first_range),
    FIELD(plan_move, range_count), FIELD(plan_move, rows), FIELD(plan_move, inbox_row),
};
static const struct field sum_fields[] = {
    FIELD(plan_sum, holder),     FIELD(plan_sum, node), FIELD(plan_sum, first_term),
    FIELD(plan_sum, term_count), FIELD(plan_sum, row),  FIELD(plan_sum, count),
};
static const struct field term_fields[] = {
    FIELD(plan_term, from_node),
    FIELD(plan_term, from),
    FIELD(plan_term, row),
};
static const struct field sequence_fields[] = {
    FIELD(seqsync_sequence, tokens),      FIELD(seqsync_sequence, context_tokens),
    FIELD(seqsync_sequence, window_left), FIELD(seqsync_sequence, window_right),
    FIELD(seqsync_sequence, sample_id),   FIELD(seqsync_sequence, mask),
    FIELD(seqsync_sequence, reserved),
};
static const struct field part_fields[] = {
    FIELD(plan_part, rows),
    FIELD(plan_part, return_rows),
    FIELD(plan_part, area),
};
static const struct field space_fields[] = {FIELD(plan_space, total)};
static const struct field plan_fields[] = {
    FIELD(plan, seed),
    FIELD(plan, placement),
    FIELD(plan, context_role),
};
static const struct field i64_fields[] = {{"int64_t", 0, sizeof(int64_t)}};
static const struct field u32_fields[] = {{"uint32_t", 0, sizeof(uint32_t)}};

struct mutator {
    const struct fixture *fixture;
    uint64_t seed;
    uint64_t random;
    uint64_t digest; /* of the plan undamaged */
    size_t tried;
};

/* The plan as it is now must be refused, and not for its digest. */
static void expect_refusal(struct mutator *mutator, const char *what)
{
    struct plan *plan = mutator->fixture->plan;

    plan->digest = plan_digest(plan);
    if (plan->digest == mutator->digest) {
        fail_msg("seed %llu: %s: the digest does not change", (unsigned long long)mutator->seed,
                 what);
    }
    if (!plan_validate(plan, &mutator->fixture->input)) {
        fail_msg("seed %llu: %s: the validator accepts", (unsigned long long)mutator->seed, what);
    }
    plan->digest = mutator->digest;
    mutator->tried++;
}

static void mutate_field(struct mutator *mutator, void *struct_at, const struct field *field)
{
    uint64_t old = 0, value;
    void *at = (char *)struct_at + field->offset;

    memcpy(&old, at, field->size);
    const uint64_t values[] = {
        old + 1,
        old - 1,
        0,
        1,
        (uint64_t)INT64_MAX,
        (uint64_t)INT64_MIN,
        UINT64_MAX,
        fixture_random_u64(&mutator->random) % 64,
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        value = values[i];
        if (memcmp(&value, &old, field->size) != 0) {
            memcpy(at, &value, field->size);
            expect_refusal(mutator, field->name);
        }
    }
    memcpy(at, &old, field->size);
}

/* Every field of one element of @items, taken at random. */
static void mutate_array(struct mutator *mutator, void *items, uint64_t count, size_t size,
                         const struct field *fields, size_t field_count)
{
    if (count == 0) {
        return;
    }
    char *item = (char *)items + fixture_random_u64(&mutator->random) % count * size;
    for (size_t i = 0; i < field_count; i++) {
        mutate_field(mutator, item, &fields[i]);
    }
}

#define MUTATE(mutator, items, count, fields)                                                      \
    mutate_array((mutator), (items), (count), sizeof(*(items)), (fields), FIELDS_N(fields))

/* The last element goes, as if there had never been one. */
static void mutate_count(struct mutator *mutator, uint32_t *count, const char *what)
{
    if (*count > 0) {
        (*count)--;
        expect_refusal(mutator, what);
        (*count)++;
    }
}

/* Two neighbours change places. */
static void mutate_order(struct mutator *mutator, void *items, uint32_t count, size_t size,
                         const char *what)
{
    char kept[128];

    assert_true(size <= sizeof(kept));
    if (count < 2) {
        return;
    }
    char *first = (char *)items + fixture_random_u64(&mutator->random) % (count - 1) * size;
    if (memcmp(first, first + size, size) == 0) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        memcpy(kept, first, size);
        memcpy(first, first + size, size);
        memcpy(first + size, kept, size);
        if (i == 0) {
            expect_refusal(mutator, what);
        }
    }
}

static void mutate_bands(struct mutator *mutator, const struct plan_part *part)
{
    if (part->tile_count == 0) {
        return;
    }
    struct seqsync_tile *tile =
        &part->tiles[fixture_random_u64(&mutator->random) % part->tile_count];
    const int64_t low = tile->band_low, high = tile->band_high;
    const int64_t lowest = tile->k_first - (tile->q_first + tile->q_count - 1);
    const int64_t highest = tile->k_first + tile->k_count - 1 - tile->q_first;

    tile->band_low = (low == SEQSYNC_BAND_NONE_LOW ? lowest : low) + 1;
    expect_refusal(mutator, "a band that hides more");
    tile->band_low = INT64_MAX;
    expect_refusal(mutator, "a band that hides everything");
    if (low != SEQSYNC_BAND_NONE_LOW) {
        tile->band_low = low - 1;
        expect_refusal(mutator, "a band that shows more");
        tile->band_low = SEQSYNC_BAND_NONE_LOW;
        expect_refusal(mutator, "a band that shows everything");
    }
    tile->band_low = low;
    tile->band_high = (high == SEQSYNC_BAND_NONE_HIGH ? highest : high) - 1;
    expect_refusal(mutator, "a band that hides more");
    tile->band_high = INT64_MIN;
    expect_refusal(mutator, "a band that hides everything");
    if (high != SEQSYNC_BAND_NONE_HIGH) {
        tile->band_high = high + 1;
        expect_refusal(mutator, "a band that shows more");
        tile->band_high = SEQSYNC_BAND_NONE_HIGH;
        expect_refusal(mutator, "a band that shows everything");
    }
    tile->band_high = high;
}

static void mutate_part(struct mutator *mutator, struct plan_part *part)
{
    MUTATE(mutator, part, 1, part_fields);
    MUTATE(mutator, part->chunks, part->chunk_count, chunk_fields);
    MUTATE(mutator, part->tiles, part->tile_count, tile_fields);
    MUTATE(mutator, part->sources, part->source_count, source_fields);
    MUTATE(mutator, part->needs, part->need_count, range_fields);
    mutate_bands(mutator, part);
    mutate_count(mutator, &part->chunk_count, "a chunk missing");
    mutate_count(mutator, &part->tile_count, "a tile missing");
    mutate_count(mutator, &part->source_count, "a source missing");
    mutate_count(mutator, &part->need_count, "a need missing");
    mutate_order(mutator, part->chunks, part->chunk_count, sizeof(*part->chunks), "chunk order");
    mutate_order(mutator, part->tiles, part->tile_count, sizeof(*part->tiles), "tile order");
    mutate_order(mutator, part->sources, part->source_count, sizeof(*part->sources),
                 "source order");
    mutate_order(mutator, part->needs, part->need_count, sizeof(*part->needs), "need order");
}

static void mutate_space(struct mutator *mutator, struct plan_space *space)
{
    const struct plan *plan = mutator->fixture->plan;

    for (uint32_t r = 0; r < plan->rank_count; r++) {
        mutate_part(mutator, &space->parts[r]);
    }
    MUTATE(mutator, space, 1, space_fields);
    MUTATE(mutator, space->moves, space->move_count, move_fields);
    MUTATE(mutator, space->ranges, space->range_count, range_fields);
    MUTATE(mutator, space->sums, space->sum_count, sum_fields);
    MUTATE(mutator, space->terms, space->term_count, term_fields);
    MUTATE(mutator, space->inbox_rows, plan->node_count, i64_fields);
    mutate_count(mutator, &space->move_count, "a move missing");
    mutate_count(mutator, &space->range_count, "a range missing");
    mutate_count(mutator, &space->sum_count, "a sum missing");
    mutate_count(mutator, &space->term_count, "a term missing");
    mutate_order(mutator, space->moves, space->move_count, sizeof(*space->moves), "move order");
    mutate_order(mutator, space->ranges, space->range_count, sizeof(*space->ranges), "range order");
    mutate_order(mutator, space->sums, space->sum_count, sizeof(*space->sums), "sum order");
    mutate_order(mutator, space->terms, space->term_count, sizeof(*space->terms), "term order");
}

static void damaged_plans_are_refused(void **state)
{
    size_t tried = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture *fixture = fixture_random(seed);
        fixture_plan(fixture);
        struct plan *plan = fixture->plan;
        struct mutator mutator = {
            .fixture = fixture, .seed = seed, .random = seed, .digest = plan->digest};
        for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
            mutate_space(&mutator, &plan->spaces[s]);
            MUTATE(&mutator, plan->offsets[s], (uint64_t)plan->sequence_count + 1, i64_fields);
        }
        MUTATE(&mutator, plan, 1, plan_fields);
        MUTATE(&mutator, plan->sequences, plan->sequence_count, sequence_fields);
        MUTATE(&mutator, plan->rank_nodes, plan->rank_count, u32_fields);
        mutate_count(&mutator, &plan->rank_count, "a rank missing");
        mutate_count(&mutator, &plan->node_count, "a node missing");
        mutate_count(&mutator, &plan->sequence_count, "a sequence missing");
        assert_null(plan_validate(plan, &fixture->input));
        tried += mutator.tried;
        fixture_free(fixture);
    }
    assert_true(tried > (size_t)SEEDS * 100);
}

static void a_digest_that_does_not_fit_is_refused(void **state)
{
    struct fixture *fixture = fixture_random(1);

    (void)state;
    fixture_plan(fixture);
    fixture->plan->digest++;
    assert_non_null(plan_validate(fixture->plan, &fixture->input));
    fixture->plan->digest--;
    fixture->plan->batch_digest++;
    assert_non_null(plan_validate(fixture->plan, &fixture->input));
    fixture_free(fixture);
}

/* Three ranks of one node, each with two of six tokens: a contribution that a sum leaves out, with
 * all counts made to fit, and one that it takes twice. */
static void sums_that_leave_out_or_repeat_a_rank_are_refused(void **state)
{
    struct fixture *fixture = fixture_new(3, 1);

    (void)state;
    fixture_add(fixture, 6);
    fixture_plan(fixture);
    struct plan_space *space = &fixture->plan->spaces[SEQSYNC_SPACE_TOKENS];

    assert_int_equal(space->sum_count, 3);
    assert_int_equal(space->term_count, 6);
    space->sums[2].term_count = 1;
    space->term_count = 5;
    fixture->plan->digest = plan_digest(fixture->plan);
    assert_string_equal(plan_validate(fixture->plan, &fixture->input),
                        "a contribution is left out of the sums");
    space->sums[2].term_count = 2;
    space->term_count = 6;
    space->terms[5] = space->terms[4];
    fixture->plan->digest = plan_digest(fixture->plan);
    assert_string_equal(plan_validate(fixture->plan, &fixture->input),
                        "terms are not in the order of nodes and ranks");
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_plans_are_refused),
        cmocka_unit_test(a_digest_that_does_not_fit_is_refused),
        cmocka_unit_test(sums_that_leave_out_or_repeat_a_rank_are_refused),
    };

    cmocka_set_test_filter(getenv("SEQSYNC_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
