#include "proto/bulk.h"
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct bulk_header good = {.job = UINT64_C(0x1122334455667788),
                                        .generation = UINT64_MAX,
                                        .step = 3,
                                        .incarnation = 4,
                                        .offset = 5,
                                        .total = UINT64_C(1) << 40,
                                        .checksum = 6,
                                        .count = INT64_MAX,
                                        .id = 255,
                                        .length = 1000,
                                        .part = 63,
                                        .kind = BULK_PARTIAL,
                                        .node = 63,
                                        .flags = 1};

static const char *decode(const struct bulk_header *header, struct bulk_header *ret)
{
    uint8_t bytes[BULK_HEADER_BYTES];

    bulk_header_encode(header, bytes);
    return bulk_header_decode(bytes, sizeof(bytes), header->length, ret);
}

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    struct bulk_header got;

    memset(&got, 0xAA, sizeof(got));
    assert_null(decode(&good, &got));
    assert_memory_equal(&got, &good, sizeof(good));
}

static void the_bytes_are_these(void **state)
{
    (void)state;
    static const uint8_t expected[BULK_HEADER_BYTES] = {0x53,
                                                        0x51,
                                                        0x51,
                                                        0x31,
                                                        1,
                                                        BULK_PARTIAL,
                                                        63,
                                                        0,
                                                        63,
                                                        0,
                                                        0,
                                                        0,
                                                        1,
                                                        0,
                                                        0,
                                                        0,
                                                        255,
                                                        0,
                                                        0,
                                                        0,
                                                        0xE8,
                                                        0x03,
                                                        0,
                                                        0,
                                                        /* job */ 0x88,
                                                        0x77,
                                                        0x66,
                                                        0x55,
                                                        0x44,
                                                        0x33,
                                                        0x22,
                                                        0x11,
                                                        /* generation */ 255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        /* step */ 3,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        /* incarnation */ 4,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        /* offset */ 5,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        /* total */ 0,
                                                        0,
                                                        0,
                                                        0,
                                                        0,
                                                        1,
                                                        0,
                                                        0,
                                                        /* count */ 255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        255,
                                                        127,
                                                        /* checksum */ 6};
    uint8_t bytes[BULK_HEADER_BYTES];

    bulk_header_encode(&good, bytes);
    assert_memory_equal(bytes, expected, sizeof(bytes));
}

static void a_payload_stays_inside_its_transfer(void **state)
{
    (void)state;
    struct bulk_header header = good, got;

    header.total = header.length = WIRE_BULK_CHUNK_BYTES;
    header.offset = 0;
    assert_null(decode(&header, &got));
    header.offset = 1;
    assert_non_null(strstr(decode(&header, &got), "beyond"));
    header.offset = UINT64_MAX;
    assert_non_null(strstr(decode(&header, &got), "beyond"));
    header.total = UINT64_MAX; /* and offset + length wraps around */
    header.offset = UINT64_MAX - 5;
    header.length = 6;
    assert_non_null(strstr(decode(&header, &got), "beyond"));
    header.length = 5;
    assert_null(decode(&header, &got));
    header.offset = header.total = header.length = 0; /* a transfer of nothing */
    assert_null(decode(&header, &got));
    header.total = header.length = WIRE_BULK_CHUNK_BYTES + 1;
    assert_non_null(strstr(decode(&header, &got), "length"));
}

static void each_limit_is_kept(void **state)
{
    (void)state;
    struct bulk_header got = {.job = 99};
    static const struct {
        uint8_t kind;
        uint32_t id, part;
        bool ok;
    } cases[] = {
        {0, 0, 0, false},
        {BULK_KV, 255, 1023, true},
        {BULK_KV, 256, 0, false},
        {BULK_RETURN, 0, 1024, false},
        {BULK_PARTIAL, 0, 63, true},
        {BULK_PARTIAL, 0, 64, false},
        {BULK_RESULT, 256, 0, false},
        {BULK_RESULT, 0, 64, false},
        {BULK_PARAMETER, 255, 1023, true},
        {BULK_PARAMETER, 0, 1024, false},
        {BULK_PARAMETER + 1, 0, 0, false},
        {255, 0, 0, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bulk_header header = good;
        header.kind = cases[i].kind;
        header.id = cases[i].id;
        header.part = (uint16_t)cases[i].part;
        assert_int_equal(decode(&header, &got) == NULL, cases[i].ok);
    }
    struct bulk_header header = good;
    header.node = 64;
    assert_non_null(decode(&header, &got));
    header = good;
    header.flags = 2;
    assert_non_null(decode(&header, &got));
    header = good;
    header.count = -1;
    assert_non_null(decode(&header, &got));
}

static void other_bytes_are_refused_and_write_nothing(void **state)
{
    (void)state;
    uint8_t bytes[BULK_HEADER_BYTES + 1] = {0};
    struct bulk_header got, untouched;

    memset(&got, 0x55, sizeof(got));
    untouched = got;
    bulk_header_encode(&good, bytes);
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        if (length != BULK_HEADER_BYTES) {
            uint8_t *cut = malloc(length > 0 ? length : 1);
            memcpy(cut, bytes, length);
            assert_non_null(bulk_header_decode(cut, length, good.length, &got));
            free(cut);
        }
    }
    assert_non_null(bulk_header_decode(bytes, BULK_HEADER_BYTES, good.length + 1, &got));
    for (size_t i = 0; i < 12; i++) { /* magic, version, kind, part, node, reserved */
        if (i != 5) {
            bytes[i] ^= 0x80;
            assert_non_null(bulk_header_decode(bytes, BULK_HEADER_BYTES, good.length, &got));
            bytes[i] ^= 0x80;
        }
    }
    assert_memory_equal(&got, &untouched, sizeof(got));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(a_payload_stays_inside_its_transfer),
        cmocka_unit_test(each_limit_is_kept),
        cmocka_unit_test(other_bytes_are_refused_and_write_nothing),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
