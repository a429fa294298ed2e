/* The geometry of a tile's band against asking every pair. */
#include "client/attention/band.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t edges[] = {INT64_MIN, INT64_MIN + 1, -1000,    -13, -3, -1, 0, 1, 2, 7, 12,
                                1000,      INT64_MAX - 1, INT64_MAX};
#define EDGES_N (sizeof(edges) / sizeof(edges[0]))

static bool sees(const struct seqsync_tile *tile, int64_t i, int64_t j)
{
    int64_t distance = (tile->k_first + j) - (tile->q_first + i);

    return tile->band_low <= distance && distance <= tile->band_high;
}

static void check_rect(const struct seqsync_tile *tile, const struct band_rect *rect)
{
    struct band band = band_of_tile(tile);
    struct band_rect trimmed = *rect;
    struct band_rect tight = {INT64_MAX, INT64_MIN, INT64_MAX, INT64_MIN};
    int32_t first[16];
    int32_t last[16];
    bool hidden = false;

    for (int64_t i = rect->q_begin; i < rect->q_end; i++) {
        for (int64_t j = rect->k_begin; j < rect->k_end; j++) {
            if (sees(tile, i, j)) {
                tight.q_begin = i < tight.q_begin ? i : tight.q_begin;
                tight.q_end = i >= tight.q_end ? i + 1 : tight.q_end;
                tight.k_begin = j < tight.k_begin ? j : tight.k_begin;
                tight.k_end = j >= tight.k_end ? j + 1 : tight.k_end;
            }
        }
    }
    assert_int_equal(band_trim(&band, &trimmed), tight.q_end > tight.q_begin);
    if (tight.q_end <= tight.q_begin) {
        return;
    }
    assert_memory_equal(&trimmed, &tight, sizeof(tight));
    band_ranges(&band, &tight, first, last);
    for (int64_t i = tight.q_begin; i < tight.q_end; i++) {
        for (int64_t j = tight.k_begin; j < tight.k_end; j++) {
            bool inside = j - tight.k_begin >= first[i - tight.q_begin] &&
                          j - tight.k_begin < last[i - tight.q_begin];

            assert_int_equal(inside, sees(tile, i, j));
            hidden = hidden || !inside;
        }
    }
    assert_int_equal(band_cuts(&band, &tight), hidden);
}

static void trimming_and_ranges_agree_with_every_pair(void **state)
{
    static const int64_t firsts[] = {0, 1, 5, 20};

    (void)state;
    for (size_t i = 0; i < EDGES_N * EDGES_N * 16; i++) {
        struct seqsync_tile tile = {
            .q_first = firsts[i / (EDGES_N * EDGES_N) % 4],
            .k_first = firsts[i / (EDGES_N * EDGES_N) / 4],
            .q_count = 14,
            .k_count = 11,
            .band_low = edges[i % EDGES_N],
            .band_high = edges[i / EDGES_N % EDGES_N],
        };
        struct band_rect rects[] = {
            {0, 14, 0, 11}, {3, 9, 2, 11}, {13, 14, 0, 11}, {0, 14, 10, 11}, {2, 3, 2, 3}};

        for (size_t r = 0; r < sizeof(rects) / sizeof(rects[0]); r++) {
            check_rect(&tile, &rects[r]);
        }
    }
}

static void distances_beyond_any_tile_do_not_overflow(void **state)
{
    struct seqsync_tile tile = {.q_first = INT64_MAX,
                                .k_first = 0,
                                .q_count = 1,
                                .k_count = 1,
                                .band_low = INT64_MIN,
                                .band_high = INT64_MAX};
    struct band_rect rect = {0, 1, 0, 1};
    struct band band = band_of_tile(&tile);

    (void)state;
    assert_true(band_trim(&band, &rect));
    tile.band_high = 5 - INT64_MAX;
    tile.band_low = -INT64_MAX;
    band = band_of_tile(&tile);
    assert_int_equal(band.low, 0);
    assert_int_equal(band.high, 5);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trimming_and_ranges_agree_with_every_pair),
        cmocka_unit_test(distances_beyond_any_tile_do_not_overflow),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
