/* Figures and pictures for people, and what people type. */
#include "client/ctl/text.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <string.h>

static void bytes_have_binary_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},           {1023, "1023 B"},        {1024, "1.0 KiB"},
        {1258291, "1.2 MiB"}, {3ull << 30, "3.0 GiB"}, {UINT64_MAX, "16.0 EiB"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(text_bytes(text, sizeof(text), cases[i].bytes), cases[i].text);
    }
}

static void counts_have_three_digits(void **state)
{
    (void)state;
    static const struct {
        double count;
        const char *text;
    } cases[] = {
        {0, "0"},         {-5, "0"},         {999, "999"},       {999.6, "1.00k"}, {61234, "61.2k"},
        {999499, "999k"}, {1.33e6, "1.33M"}, {9.996e6, "10.0M"}, {2e15, "2.00P"},  {1e19, "10000P"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(text_count(text, sizeof(text), cases[i].count), cases[i].text);
    }
}

static void durations_choose_their_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {200000, "0.2 ms"},
        {44300000, "44.3 ms"},
        {138000000, "138 ms"},
        {1320000000, "1.32 s"},
        {59900000000, "59.9 s"},
        {250000000000, "4 min 10 s"},
        {12000000000000, "3 h 20 min"},
        {446400000000000, "5 d 4 h"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(text_duration(text, sizeof(text), cases[i].ns), cases[i].text);
    }
}

static void sparkline_spans_least_to_largest(void **state)
{
    (void)state;
    char text[64];
    const double values[] = {1, 0.5, 0, NAN, 1};
    assert_string_equal(text_sparkline(text, sizeof(text), values, 5, false), "█▅▁ █");
    assert_string_equal(text_sparkline(text, sizeof(text), values, 5, true), "#=_ #");
    assert_string_equal(text_sparkline(text, sizeof(text), values, 0, false), "");
    const double flat[] = {2, 2};
    assert_string_equal(text_sparkline(text, sizeof(text), flat, 2, false), "▁▁");
    /* No character is cut in two: of three-byte characters two fit into eight bytes. */
    assert_string_equal(text_sparkline(text, 8, values, 3, false), "█▅");
}

static void bar_counts_eighths(void **state)
{
    (void)state;
    char text[64];
    assert_string_equal(text_bar(text, sizeof(text), 0.76, 5, false), "███▊ ");
    assert_string_equal(text_bar(text, sizeof(text), 0, 3, false), "   ");
    assert_string_equal(text_bar(text, sizeof(text), 7, 3, false), "███");
    assert_string_equal(text_bar(text, sizeof(text), NAN, 3, false), "   ");
    assert_string_equal(text_bar(text, sizeof(text), 0.5, 4, true), "##  ");
}

static void heat_levels_part_the_range_evenly(void **state)
{
    (void)state;
    assert_int_equal(text_heat_level(0, 1, 100), 0);
    assert_int_equal(text_heat_level(-3, 1, 100), 0);
    assert_int_equal(text_heat_level(1, 1, 100), 1);
    assert_int_equal(text_heat_level(25, 1, 100), 1);
    assert_int_equal(text_heat_level(26, 1, 100), 2);
    assert_int_equal(text_heat_level(100, 1, 100), 4);
    assert_int_equal(text_heat_level(7, 7, 7), 1); /* all alike */
    assert_int_equal(text_heat_level(INT64_MAX, 1, INT64_MAX), 4);
}

/* What the scale says is what the cells show, for every value of many ranges. */
static void heat_scale_agrees_with_the_levels(void **state)
{
    (void)state;
    for (int64_t low = 1; low < 12; low++) {
        for (int64_t high = low; high < 60; high++) {
            for (int64_t value = low; value <= high; value++) {
                uint32_t level = text_heat_level(value, low, high);
                assert_true(value <= text_heat_bound(level, low, high));
                assert_true(level == 1 || value > text_heat_bound(level - 1, low, high));
            }
            assert_int_equal(text_heat_bound(TEXT_HEAT_LEVELS - 1, low, high), high);
        }
    }
}

static void clean_text_cannot_write_to_a_terminal(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(text_clean(text, sizeof(text), "a\x1b[31mb\nc\x7f"), "a?[31mb?c?");
    assert_string_equal(text_clean(text, 4, "abcdef"), "abc");
    assert_string_equal(text_clean(text, sizeof(text), "grün"), "grün");
}

static void json_texts_and_numbers_are_always_valid(void **state)
{
    (void)state;
    json_t *value = text_json("bad \xff byte");
    assert_string_equal(json_string_value(value), "bad ? byte");
    json_decref(value);
    value = text_json_number(NAN);
    assert_true(json_is_null(value));
    json_decref(value);
    value = text_json_number(0.5);
    assert_true(json_real_value(value) == 0.5);
    json_decref(value);
}

static void durations_are_parsed_with_units_only(void **state)
{
    (void)state;
    uint64_t ns = 0;
    assert_true(text_parse_duration("5s", &ns));
    assert_int_equal(ns, 5000000000u);
    assert_true(text_parse_duration("500ms", &ns));
    assert_int_equal(ns, 500000000u);
    assert_true(text_parse_duration("1.5min", &ns));
    assert_int_equal(ns, 90000000000u);
    static const char *const wrong[] = {"",     "5",    "s",    "5 s",    "-5s", "+5s", "5sec",
                                        "infs", "nans", "0x5s", "1e300h", "5s ", ".5s", "5ss"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ns = 7;
        assert_false(text_parse_duration(wrong[i], &ns));
        assert_int_equal(ns, 7);
    }
}

static void counts_are_parsed_within_bounds(void **state)
{
    (void)state;
    uint32_t count = 7;
    assert_true(text_parse_count("64", 1, 64, &count));
    assert_int_equal(count, 64);
    static const char *const wrong[] = {"", "0", "65", "-1", "1x", " 1", "4294967297", "1.0"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(text_parse_count(wrong[i], 1, 64, &count));
        assert_int_equal(count, 64);
    }
}

static void distance_counts_changed_letters(void **state)
{
    (void)state;
    assert_int_equal(text_distance("status", "status"), 0);
    assert_int_equal(text_distance("statu", "status"), 1);
    assert_int_equal(text_distance("nodse", "nodes"), 2);
    assert_int_equal(text_distance("", "run"), 3);
    assert_int_equal(text_distance("run", ""), 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_have_binary_units),
        cmocka_unit_test(counts_have_three_digits),
        cmocka_unit_test(durations_choose_their_units),
        cmocka_unit_test(sparkline_spans_least_to_largest),
        cmocka_unit_test(bar_counts_eighths),
        cmocka_unit_test(heat_levels_part_the_range_evenly),
        cmocka_unit_test(heat_scale_agrees_with_the_levels),
        cmocka_unit_test(clean_text_cannot_write_to_a_terminal),
        cmocka_unit_test(json_texts_and_numbers_are_always_valid),
        cmocka_unit_test(durations_are_parsed_with_units_only),
        cmocka_unit_test(counts_are_parsed_within_bounds),
        cmocka_unit_test(distance_counts_changed_letters),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
