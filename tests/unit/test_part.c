#include "proto/part.h"

#include "test_plan_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A rank's part as its daemon assembles it from the plan. */
struct view {
    struct part part;
    int64_t local_rows[SEQSYNC_LOCAL_RANKS_MAX][SEQSYNC_SPACES_N];
    int64_t local_return_rows[SEQSYNC_LOCAL_RANKS_MAX][SEQSYNC_SPACES_N];
    uint32_t local_ranks[SEQSYNC_LOCAL_RANKS_MAX];
};

static void view_init(struct view *view, const struct plan *plan, uint32_t rank)
{
    struct part *part = &view->part;

    memset(view, 0, sizeof(*view));
    for (uint32_t r = 0; r < plan->rank_count; r++) {
        if (plan->rank_nodes[r] == plan->rank_nodes[rank]) {
            for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
                view->local_rows[part->local_count][s] = plan->spaces[s].parts[r].rows;
                view->local_return_rows[part->local_count][s] =
                    plan->spaces[s].parts[r].return_rows;
            }
            view->local_ranks[part->local_count++] = r;
        }
    }
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct plan_part *from = &plan->spaces[s].parts[rank];
        part->spaces[s] =
            (struct part_space){.chunks = from->chunks,
                                .tiles = from->tiles,
                                .sources = from->sources,
                                .chunk_count = from->chunk_count,
                                .tile_count = from->tile_count,
                                .source_count = from->source_count,
                                .rows = from->rows,
                                .return_rows = from->return_rows,
                                .inbox_rows = plan->spaces[s].inbox_rows[plan->rank_nodes[rank]],
                                .total = plan->spaces[s].total,
                                .area = from->area};
    }
    part->local_rows = (const int64_t(*)[SEQSYNC_SPACES_N])view->local_rows;
    part->local_return_rows = (const int64_t(*)[SEQSYNC_SPACES_N])view->local_return_rows;
    part->local_ranks = view->local_ranks;
    part->sequence_ends = &plan->offsets[SEQSYNC_SPACE_TOKENS][1];
    part->sequence_count = plan->sequence_count;
    part->rank = rank;
    part->placement = plan->placement;
    part->seed = 5;
    part->step = 6;
    part->plan_digest = plan->digest;
}

/* Exactly as long as the part, so that a sanitizer sees a read behind it. The caller frees it. */
static uint8_t *encode(const struct part *part, size_t *ret_bytes)
{
    assert_true(part_bytes(part, ret_bytes));
    uint8_t *bytes = aligned_alloc(64, (*ret_bytes + 63) / 64 * 64);
    part_encode(part, bytes);
    return bytes;
}

static void expect_equal(const struct part *got, const struct part *part)
{
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct part_space *a = &got->spaces[s], *b = &part->spaces[s];
        assert_int_equal(a->chunk_count, b->chunk_count);
        assert_int_equal(a->tile_count, b->tile_count);
        assert_int_equal(a->source_count, b->source_count);
        assert_memory_equal(&a->rows, &b->rows, sizeof(*a) - offsetof(struct part_space, rows));
        assert_memory_equal(a->chunks, b->chunks, a->chunk_count * sizeof(*a->chunks));
        assert_memory_equal(a->tiles, b->tiles, a->tile_count * sizeof(*a->tiles));
        assert_memory_equal(a->sources, b->sources, a->source_count * sizeof(*a->sources));
    }
    assert_int_equal(got->local_count, part->local_count);
    assert_memory_equal(got->local_rows, part->local_rows,
                        part->local_count * sizeof(part->local_rows[0]));
    assert_memory_equal(got->local_return_rows, part->local_return_rows,
                        part->local_count * sizeof(part->local_return_rows[0]));
    assert_memory_equal(got->local_ranks, part->local_ranks, part->local_count * sizeof(uint32_t));
    assert_int_equal(got->sequence_count, part->sequence_count);
    assert_memory_equal(got->sequence_ends, part->sequence_ends,
                        part->sequence_count * sizeof(int64_t));
    assert_memory_equal(&got->local_count, &part->local_count,
                        sizeof(*got) - offsetof(struct part, local_count));
}

/* Whatever masks, ranks and nodes: what the planner makes is what the worker may use. */
static void parts_of_random_plans_are_decoded(void **state)
{
    (void)state;
    struct view view;
    struct part got;
    size_t bytes;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct fixture *f = fixture_random(seed);
        fixture_plan(f);
        for (uint32_t rank = 0; rank < f->plan->rank_count; rank++) {
            view_init(&view, f->plan, rank);
            uint8_t *encoded = encode(&view.part, &bytes);
            const char *why = part_decode(encoded, bytes, &got);
            if (why != NULL) {
                fail_msg("seed %llu, rank %u: %s", (unsigned long long)seed, rank, why);
            }
            expect_equal(&got, &view.part);
            free(encoded);
        }
        fixture_free(f);
    }
}

/* Rank 1 of 4 on 2 nodes, with own, local and remote sources in both spaces. */
struct broken {
    struct fixture *f;
    struct view view;
    uint8_t *bytes;
    size_t length;
    struct part part; /* pointing into the bytes, which may be written */
};

static int broken_setup(void **state)
{
    struct broken *b = calloc(1, sizeof(*b));

    b->f = fixture_new(4, 2);
    fixture_add(b->f, 11)->context_tokens = 9;
    fixture_add(b->f, 12)->mask = SEQSYNC_MASK_CAUSAL;
    b->f->batch.context_role = SEQSYNC_SHARDED;
    fixture_plan(b->f);
    view_init(&b->view, b->f->plan, 1);
    b->bytes = encode(&b->view.part, &b->length);
    *state = b;
    return part_decode(b->bytes, b->length, &b->part) == NULL ? 0 : -1;
}

static int broken_teardown(void **state)
{
    struct broken *b = *state;

    free(b->bytes);
    fixture_free(b->f);
    free(b);
    return 0;
}

/* Writes @value over the @size bytes at @field, which the part holds, decodes, and puts it back. */
static void expect_refused(struct broken *b, const void *field, int64_t value, size_t size,
                           const char *sentence)
{
    uint8_t *at = b->bytes + ((const uint8_t *)field - b->bytes);
    struct part got = {.step = 99};
    int64_t old = 0;

    assert_in_range((uintptr_t)field, (uintptr_t)b->bytes,
                    (uintptr_t)(b->bytes + b->length - size));
    memcpy(&old, at, size);
    memcpy(at, &value, size);
    const char *why = part_decode(b->bytes, b->length, &got);
    memcpy(at, &old, size);
    if (why == NULL || strstr(why, sentence) == NULL) {
        fail_msg("\"%s\" where \"%s\" was due", why != NULL ? why : "(accepted)", sentence);
    }
    assert_int_equal(got.step, 99);
}
#define REFUSED(field, value, sentence)                                                            \
    expect_refused(b, &(field), (int64_t)(value), sizeof(field), sentence)

static void chunks_cover_the_shard_and_nothing_else(void **state)
{
    struct broken *b = *state;

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct part_space *space = &b->part.spaces[s];
        assert_true(space->chunk_count >= 1);
        const struct seqsync_chunk *chunk = &space->chunks[space->chunk_count - 1];
        REFUSED(chunk->row, chunk->row + 1, "chunk");
        REFUSED(chunk->rank, 0, "chunk");
        REFUSED(chunk->sequence, b->part.sequence_count, "chunk");
        REFUSED(chunk->position, -1, "chunk");
        REFUSED(chunk->first, -1, "chunk");
        REFUSED(chunk->first, space->total, "chunk");
        REFUSED(chunk->count, 0, "chunk");
        REFUSED(chunk->count, chunk->count + 1, "chunk");
        REFUSED(chunk->count, INT64_MAX, "chunk");
        if (chunk->count > 1) {
            REFUSED(chunk->count, chunk->count - 1, "chunk");
        }
    }
    const struct seqsync_chunk *chunk = &b->part.spaces[0].chunks[0];
    REFUSED(chunk->position, chunk->position + 1, "outside its sequence");
    REFUSED(chunk->sequence, chunk->sequence ^ 1, "outside its sequence");
}

static void sources_stay_in_inbox_shard_and_return_buffer(void **state)
{
    struct broken *b = *state;
    bool own = false, local = false, remote = false;

    for (uint32_t i = 0; i < b->part.spaces[0].source_count; i++) {
        const struct part_space *space = &b->part.spaces[0];
        const struct seqsync_source *source = &space->sources[i];
        REFUSED(source->rank, SEQSYNC_RANKS_MAX, "source");
        REFUSED(source->node, SEQSYNC_NODES_MAX, "source");
        REFUSED(source->local, 2, "source");
        REFUSED(source->reserved, 1, "source");
        REFUSED(source->view_rows, -1, "source");
        REFUSED(source->view_rows, INT64_MAX, "source");
        REFUSED(source->return_rows, -1, "return buffer");
        REFUSED(source->return_rows, INT64_MAX, "return buffer");
        REFUSED(source->return_row, space->return_rows + 1, "return buffer");
        if (source->local) {
            REFUSED(source->inbox_row, 0, "local source");
            REFUSED(source->rank, 3, "local source"); /* a rank of the other node */
            own = own || source->rank == b->part.rank;
            local = local || source->rank != b->part.rank;
        } else {
            REFUSED(source->inbox_row, -1, "inbox");
            REFUSED(source->inbox_row, space->inbox_rows - source->view_rows + 1, "inbox");
            REFUSED(source->inbox_row, INT64_MAX, "inbox");
            REFUSED(source->view_rows, 0, "inbox");
            remote = true;
        }
    }
    assert_true(own && local && remote);
}

static void tiles_stay_in_shard_view_and_return_buffer(void **state)
{
    struct broken *b = *state;

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct part_space *space = &b->part.spaces[s];
        for (uint32_t i = 0; i < space->tile_count; i++) {
            const struct seqsync_tile *tile = &space->tiles[i];
            const struct seqsync_source *source = &space->sources[tile->source];
            REFUSED(tile->source, space->source_count, "tile");
            REFUSED(tile->q_row, -1, "queries");
            REFUSED(tile->q_row, b->part.spaces[0].rows, "queries");
            REFUSED(tile->q_row, INT64_MAX, "queries");
            REFUSED(tile->q_first, tile->q_first + 1, "queries");
            REFUSED(tile->q_first, INT64_MIN, "queries");
            REFUSED(tile->q_count, 0, "queries");
            REFUSED(tile->q_count, INT64_MAX, "queries");
            REFUSED(tile->k_row, -1, "keys");
            REFUSED(tile->k_row, source->view_rows - tile->k_count + 1, "keys");
            REFUSED(tile->k_row, INT64_MAX, "keys");
            REFUSED(tile->k_first, -1, "keys");
            REFUSED(tile->k_first, space->total, "keys");
            REFUSED(tile->k_count, 0, "keys");
            REFUSED(tile->k_count, source->view_rows + 1, "keys");
            REFUSED(tile->reserved, 1, "reserved");
            REFUSED(tile->return_row, INT64_MAX, "return buffer");
            REFUSED(tile->return_row, -2, "return buffer");
            if (source->rank == b->part.rank) {
                REFUSED(tile->return_row, 0, "return buffer");
            } else {
                REFUSED(tile->return_row, source->return_row - 1, "return buffer");
                REFUSED(tile->return_row,
                        source->return_row + source->return_rows - tile->k_count + 1,
                        "return buffer");
            }
            if (tile->band_high < INT64_MAX) {
                REFUSED(tile->band_low, tile->band_high + 1, "band");
            }
        }
        assert_true(space->tile_count > 0);
    }
}

static void ranks_and_sequences_are_what_they_say(void **state)
{
    struct broken *b = *state;

    REFUSED(b->part.local_ranks[1], 0, "ascend");
    REFUSED(b->part.local_ranks[1], SEQSYNC_RANKS_MAX, "ascend");
    REFUSED(b->part.local_ranks[1], 2, "not among");
    REFUSED(b->part.local_rows[0][0], -1, "local rank");
    REFUSED(b->part.local_rows[1][0], b->part.local_rows[1][0] + 1, "local rank");
    REFUSED(b->part.local_rows[0][1], SEQSYNC_TOKENS_MAX + 1, "local rank");
    REFUSED(b->part.local_return_rows[0][0], INT64_MIN, "local rank");
    REFUSED(b->part.local_return_rows[1][1], b->part.local_return_rows[1][1] + 1, "local rank");
    REFUSED(b->part.sequence_ends[0], 0, "ends");
    REFUSED(b->part.sequence_ends[1], b->part.sequence_ends[0], "ends");
    REFUSED(b->part.sequence_ends[1], INT64_MAX, "ends");
}

/* The same over the head, whose fields are found by what they hold: any word of it, made absurd. */
static void no_word_of_the_head_may_be_absurd(void **state)
{
    struct broken *b = *state;
    const size_t head = (size_t)((const uint8_t *)b->part.spaces[0].chunks - b->bytes);
    struct part got;

    for (size_t at = 0; at + 8 <= head; at += 8) {
        uint64_t old;
        memcpy(&old, b->bytes + at, 8);
        memset(b->bytes + at, 0xFF, 8);
        /* Seed, step, digest and area may be anything. */
        if (part_decode(b->bytes, b->length, &got) == NULL) {
            assert_true(got.seed == UINT64_MAX || got.step == UINT64_MAX ||
                        got.plan_digest == UINT64_MAX);
        }
        memcpy(b->bytes + at, &old, 8);
    }
    assert_null(part_decode(b->bytes, b->length, &got));
}

static void truncations_are_refused_and_a_tail_is_not_read(void **state)
{
    struct broken *b = *state;
    struct part got;

    for (size_t length = 0; length < b->length; length++) {
        uint8_t *cut = malloc(length > 0 ? length : 1);
        memcpy(cut, b->bytes, length);
        assert_non_null(part_decode(cut, length, &got));
        free(cut);
    }
    uint8_t *longer = aligned_alloc(64, (b->length + 64 + 63) / 64 * 64);
    memset(longer, 0xFF, b->length + 64);
    memcpy(longer, b->bytes, b->length);
    assert_null(part_decode(longer, b->length + 64, &got));
    free(longer);
}

static void a_rank_without_tokens_has_a_part(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(5, 2);
    struct view view;
    struct part got;
    size_t bytes;

    fixture_add(f, 2);
    fixture_plan(f);
    uint32_t empty = 0;
    for (uint32_t rank = 0; rank < 5; rank++) {
        view_init(&view, f->plan, rank);
        uint8_t *encoded = encode(&view.part, &bytes);
        assert_null(part_decode(encoded, bytes, &got));
        empty += got.spaces[0].rows == 0;
        free(encoded);
    }
    assert_int_equal(empty, 3);
    fixture_free(f);
}

int main(int argc, char **argv)
{
#define BROKEN(name) cmocka_unit_test_setup_teardown(name, broken_setup, broken_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_random_plans_are_decoded),
        cmocka_unit_test(a_rank_without_tokens_has_a_part),
        BROKEN(chunks_cover_the_shard_and_nothing_else),
        BROKEN(sources_stay_in_inbox_shard_and_return_buffer),
        BROKEN(tiles_stay_in_shard_view_and_return_buffer),
        BROKEN(ranks_and_sequences_are_what_they_say),
        BROKEN(no_word_of_the_head_may_be_absurd),
        BROKEN(truncations_are_refused_and_a_tail_is_not_read),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
