#include "proto/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct seqsync_exchange_shape exchanges[SEQSYNC_EXCHANGES_MAX];
static struct seqsync_bucket_shape buckets[SEQSYNC_BUCKETS_MAX];

/* Places that a layout took, to be checked against each other. */
struct places {
    struct {
        size_t begin, bytes;
    } list[4 * SEQSYNC_EXCHANGES_MAX + 8 + 4 * SEQSYNC_LOCAL_RANKS_MAX];
    uint32_t count;
};

static void place(struct places *places, size_t begin, size_t bytes)
{
    places->list[places->count].begin = begin;
    places->list[places->count++].bytes = bytes;
}

/* Aligned, inside the segment, and none overlaps another. */
static void expect_disjoint(const struct places *places, size_t segment_bytes)
{
    assert_int_equal(segment_bytes % ARENA_PAGE, 0);
    assert_true(segment_bytes >= ARENA_PAGE);
    for (uint32_t i = 0; i < places->count; i++) {
        const size_t begin = places->list[i].begin, end = begin + places->list[i].bytes;
        assert_int_equal(begin % ARENA_ALIGN, 0);
        assert_true(end <= segment_bytes);
        for (uint32_t j = 0; j < i; j++) {
            const size_t other = places->list[j].begin, bytes = places->list[j].bytes;
            assert_true(places->list[i].bytes == 0 || bytes == 0 || end <= other ||
                        other + bytes <= begin);
        }
    }
}

static struct arena_schema schema_of(uint32_t exchange_count, uint32_t bucket_count,
                                     uint32_t world_size, uint32_t local_count)
{
    for (uint32_t e = 0; e < exchange_count; e++) {
        exchanges[e] = (struct seqsync_exchange_shape){.space = e % SEQSYNC_SPACES_N,
                                                       .heads_kv = 1 + (int32_t)e % 3,
                                                       .head_dim = 5,
                                                       .forward_only = e % 4 == 3};
    }
    for (uint32_t b = 0; b < bucket_count; b++) {
        buckets[b] = (struct seqsync_bucket_shape){.elements = 1 + 37 * b, .role = SEQSYNC_PARTIAL};
    }
    return (struct arena_schema){.exchanges = exchanges,
                                 .buckets = buckets,
                                 .exchange_count = exchange_count,
                                 .bucket_count = bucket_count,
                                 .world_size = world_size,
                                 .local_count = local_count};
}

static void a_page_has_room_for_every_word(void **state)
{
    (void)state;
    static const uint32_t sizes[][4] = {
        {0, 0, 1, 1},
        {1, 1, 1, 1},
        {3, 5, 7, 2},
        {SEQSYNC_EXCHANGES_MAX, SEQSYNC_BUCKETS_MAX, SEQSYNC_RANKS_MAX, SEQSYNC_LOCAL_RANKS_MAX},
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const size_t e = sizes[i][0], b = sizes[i][1], w = sizes[i][2], l = sizes[i][3];
        const struct arena_schema schema =
            schema_of(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
        struct places places = {.count = 0};
        struct arena_page page;
        assert_null(arena_schema_check(&schema));
        assert_true(arena_page_layout(&schema, &page));
        place(&places, page.state, 4);
        place(&places, page.kv_ready, 4 * e * w);
        place(&places, page.return_ready, 4 * e * l);
        place(&places, page.return_free, 4 * e);
        place(&places, page.bucket_ready, 4 * b);
        place(&places, page.bucket_skip, 4 * b);
        place(&places, page.parameter_ready, 4 * b);
        place(&places, page.bucket_count, 8 * b);
        expect_disjoint(&places, page.bytes);
    }
}

static void buckets_follow_each_other(void **state)
{
    (void)state;
    const struct arena_schema schema = schema_of(0, 9, 1, 1);
    struct places places = {.count = 0};
    size_t offset, bytes;

    for (uint32_t b = 0; b < schema.bucket_count; b++) {
        assert_true(arena_bucket_offset(&schema, b, &offset));
        place(&places, offset, buckets[b].elements * sizeof(float));
    }
    assert_true(arena_bucket_offset(&schema, schema.bucket_count, &bytes));
    expect_disjoint(&places, bytes);
    assert_false(arena_bucket_offset(&schema, schema.bucket_count + 1, &bytes));
}

static void no_bucket_is_a_page(void **state)
{
    (void)state;
    const struct arena_schema schema = schema_of(0, 0, 1, 1);
    size_t bytes;

    assert_true(arena_bucket_offset(&schema, 0, &bytes));
    assert_int_equal(bytes, ARENA_PAGE);
}

static size_t plane_bytes(uint32_t e, int64_t rows)
{
    return (size_t)rows * arena_row_elements(&exchanges[e]) * sizeof(float);
}

/* Each exchange's dK/dV fits its slot, and slots, K and V lie apart. */
static void a_rank_has_room_for_keys_and_returns(void **state)
{
    (void)state;
    static const int64_t cases[][4] = {{0, 0, 0, 0}, {1, 0, 9, 0}, {13, 4, 0, 7}, {1000, 3, 99, 1}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct arena_schema schema = schema_of(11, 0, 8, 2);
        const struct arena_rows rows = {{cases[i][0], cases[i][1]}, {cases[i][2], cases[i][3]}};
        struct places places = {.count = 0};
        struct arena_rank rank;
        assert_true(arena_rank_layout(&schema, &rows, &rank));
        place(&places, rank.kv_ready, 4 * schema.exchange_count);
        for (uint32_t e = 0; e < schema.exchange_count; e++) {
            place(&places, rank.k[e], plane_bytes(e, rows.rows[exchanges[e].space]));
            place(&places, rank.v[e], plane_bytes(e, rows.rows[exchanges[e].space]));
        }
        for (uint32_t slot = 0; slot < ARENA_RETURN_SLOTS; slot++) {
            size_t most = 0;
            for (uint32_t e = slot; e < schema.exchange_count; e += ARENA_RETURN_SLOTS) {
                const size_t bytes = plane_bytes(e, rows.return_rows[exchanges[e].space]);
                most = !exchanges[e].forward_only && bytes > most ? bytes : most;
            }
            place(&places, rank.return_k[slot], most);
            place(&places, rank.return_v[slot], most);
        }
        expect_disjoint(&places, rank.bytes);
    }
}

static void an_inbox_has_room_for_every_local_rank(void **state)
{
    (void)state;
    const struct arena_schema schema = schema_of(7, 0, 9, 3);
    const int64_t inbox_rows[SEQSYNC_SPACES_N] = {21, 0};
    const int64_t local_rows[3][SEQSYNC_SPACES_N] = {{5, 1}, {0, 0}, {8, 2}};
    struct places places = {.count = 0};
    struct arena_inbox inbox;

    assert_true(arena_inbox_layout(&schema, inbox_rows, local_rows, &inbox));
    for (uint32_t e = 0; e < schema.exchange_count; e++) {
        place(&places, inbox.k[e], plane_bytes(e, inbox_rows[exchanges[e].space]));
        place(&places, inbox.v[e], plane_bytes(e, inbox_rows[exchanges[e].space]));
    }
    for (uint32_t local = 0; local < schema.local_count; local++) {
        for (uint32_t slot = 0; slot < ARENA_RETURN_SLOTS; slot++) {
            size_t most = 0;
            for (uint32_t e = slot; e < schema.exchange_count; e += ARENA_RETURN_SLOTS) {
                const size_t bytes = plane_bytes(e, local_rows[local][exchanges[e].space]);
                most = !exchanges[e].forward_only && bytes > most ? bytes : most;
            }
            place(&places, inbox.sum_k[local][slot], most);
            place(&places, inbox.sum_v[local][slot], most);
        }
    }
    expect_disjoint(&places, inbox.bytes);
}

/* Sizes that no machine has are refused, and nothing is written. */
static void overflow_is_refused(void **state)
{
    (void)state;
    struct arena_schema schema = schema_of(SEQSYNC_EXCHANGES_MAX, SEQSYNC_BUCKETS_MAX, 1, 1);
    struct arena_rows rows = {{1, 1}, {1, 1}};
    struct arena_rank rank = {.bytes = 77};
    struct arena_inbox inbox = {.bytes = 77};
    size_t bytes = 77;
    static const int64_t bad[] = {-1, INT64_MIN, INT64_MAX, INT64_MAX / 8};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rows.rows[1] = bad[i];
        rows.return_rows[1] = 1;
        assert_false(arena_rank_layout(&schema, &rows, &rank));
        rows.rows[1] = 1;
        rows.return_rows[1] = bad[i];
        assert_false(arena_rank_layout(&schema, &rows, &rank));
        assert_false(arena_inbox_layout(&schema, (int64_t[]){1, bad[i]},
                                        (const int64_t[1][SEQSYNC_SPACES_N]){{1, 1}}, &inbox));
        assert_false(arena_inbox_layout(&schema, (int64_t[]){1, 1},
                                        (const int64_t[1][SEQSYNC_SPACES_N]){{1, bad[i]}}, &inbox));
    }
    buckets[3].elements = UINT64_MAX / 4;
    assert_true(arena_bucket_offset(&schema, 3, &bytes));
    bytes = 77;
    assert_false(arena_bucket_offset(&schema, 4, &bytes));
    assert_false(arena_bucket_offset(&schema, schema.bucket_count, &bytes));
    assert_int_equal(rank.bytes + inbox.bytes + bytes, 3 * 77);
}

/* The largest legal schema on the largest legal batch is a size, though a large one. */
static void the_largest_schema_has_a_layout(void **state)
{
    (void)state;
    struct arena_schema schema = schema_of(SEQSYNC_EXCHANGES_MAX, 0, 1, 1);
    const struct arena_rows rows = {{SEQSYNC_TOKENS_MAX, SEQSYNC_TOKENS_MAX},
                                    {SEQSYNC_TOKENS_MAX, SEQSYNC_TOKENS_MAX}};
    struct arena_rank rank;

    for (uint32_t e = 0; e < schema.exchange_count; e++) {
        exchanges[e].heads_kv = exchanges[e].head_dim = 1024;
    }
    assert_null(arena_schema_check(&schema));
    assert_true(arena_rank_layout(&schema, &rows, &rank));
    assert_true(rank.bytes / 2 / SEQSYNC_EXCHANGES_MAX / (1 << 20) >=
                (size_t)SEQSYNC_TOKENS_MAX * sizeof(float));
}

static void each_limit_has_a_sentence(void **state)
{
    (void)state;
    struct arena_schema schema = schema_of(2, 2, 4, 2);
    const struct seqsync_exchange_shape exchange = exchanges[1];
    const struct seqsync_bucket_shape bucket = buckets[1];
    const struct seqsync_exchange_shape bad_exchanges[] = {
        {2, 1, 1, 0},         {0, 0, 1, 0}, {0, 1, 0, 0},       {0, -1, 1, 0},
        {0, 1, INT32_MIN, 0}, {0, 1, 1, 2}, {0, 65536, 257, 0}, {0, 65537, 1, 0},
    };
    const struct seqsync_bucket_shape bad_buckets[] = {
        {0, SEQSYNC_PARTIAL, 0},     {UINT64_MAX, SEQSYNC_PARTIAL, 0},
        {1, SEQSYNC_SHARDED, 0},     {1, 0, 0},
        {1, SEQSYNC_PARTIAL + 1, 0}, {1, SEQSYNC_REPLICATED, 1},
    };

    assert_null(arena_schema_check(&schema));
    for (size_t i = 0; i < sizeof(bad_exchanges) / sizeof(bad_exchanges[0]); i++) {
        exchanges[1] = bad_exchanges[i];
        assert_non_null(strstr(arena_schema_check(&schema), "exchange"));
    }
    exchanges[1] = exchange;
    for (size_t i = 0; i < sizeof(bad_buckets) / sizeof(bad_buckets[0]); i++) {
        buckets[1] = bad_buckets[i];
        assert_non_null(strstr(arena_schema_check(&schema), "bucket"));
    }
    buckets[1] = bucket;
    const uint32_t bad_ranks[][2] = {
        {0, 1}, {1, 0}, {4, 5}, {SEQSYNC_RANKS_MAX + 1, 1}, {100, SEQSYNC_LOCAL_RANKS_MAX + 1}};
    for (size_t i = 0; i < sizeof(bad_ranks) / sizeof(bad_ranks[0]); i++) {
        schema.world_size = bad_ranks[i][0];
        schema.local_count = bad_ranks[i][1];
        assert_non_null(strstr(arena_schema_check(&schema), "ranks"));
    }
}

static void the_digest_is_of_the_shapes(void **state)
{
    (void)state;
    struct arena_schema schema = schema_of(2, 2, 4, 2);
    const uint64_t digest = arena_schema_digest(&schema);

    assert_int_not_equal(digest, 0);
    schema.local_count = 1; /* differs between nodes */
    assert_int_equal(arena_schema_digest(&schema), digest);
    exchanges[1].forward_only ^= 1;
    assert_int_not_equal(arena_schema_digest(&schema), digest);
    exchanges[1].forward_only ^= 1;
    buckets[0].elements++;
    assert_int_not_equal(arena_schema_digest(&schema), digest);
    buckets[0].elements--;
    schema.bucket_count = 1;
    assert_int_not_equal(arena_schema_digest(&schema), digest);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_has_room_for_every_word),
        cmocka_unit_test(buckets_follow_each_other),
        cmocka_unit_test(no_bucket_is_a_page),
        cmocka_unit_test(a_rank_has_room_for_keys_and_returns),
        cmocka_unit_test(an_inbox_has_room_for_every_local_rank),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(the_largest_schema_has_a_layout),
        cmocka_unit_test(each_limit_has_a_sentence),
        cmocka_unit_test(the_digest_is_of_the_shapes),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
