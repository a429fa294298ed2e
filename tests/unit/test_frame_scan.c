/* Hostile bytes on every plane: refused at once, without stack and with bounded memory. */
#include "test_frame_fixture.h"

#include "proto/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REFUSED(why, sentence)                                                                     \
    do {                                                                                           \
        const char *said = (why);                                                                  \
        if (said == NULL || strstr(said, sentence) == NULL) {                                      \
            fail_msg("\"%s\" where \"%s\" was due", said != NULL ? said : "(accepted)", sentence); \
        }                                                                                          \
    } while (0)

/* A message that holds itself, which no schema of ours does: field 1. */
static const ProtobufCMessageDescriptor recursive;
static const ProtobufCFieldDescriptor recursive_fields[] = {{.name = "inner",
                                                             .id = 1,
                                                             .label = PROTOBUF_C_LABEL_NONE,
                                                             .type = PROTOBUF_C_TYPE_MESSAGE,
                                                             .descriptor = &recursive}};
static const unsigned recursive_index[] = {0};
static const ProtobufCIntRange recursive_ranges[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor recursive = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                     .n_fields = 1,
                                                     .fields = recursive_fields,
                                                     .fields_sorted_by_name = recursive_index,
                                                     .n_field_ranges = 1,
                                                     .field_ranges = recursive_ranges};

/* @levels messages inside each other, all in @field; the caller frees *ret. */
static size_t nest(uint8_t field, size_t levels, uint8_t **ret)
{
    const size_t capacity = levels * 6;
    uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);
    size_t at = capacity;

    for (size_t i = 0; i < levels; i++) {
        uint8_t head[6];
        size_t length = capacity - at, n = 0;
        head[n++] = (uint8_t)(field << 3 | 2);
        for (; length >= 0x80; length >>= 7) {
            head[n++] = (uint8_t)(length | 0x80);
        }
        head[n++] = (uint8_t)length;
        at -= n;
        memcpy(bytes + at, head, n);
    }
    memmove(bytes, bytes + at, capacity - at);
    *ret = bytes;
    return capacity - at;
}

static void a_depth_bomb_is_refused(void **state)
{
    (void)state;
    static const size_t levels[] = {0, 1, SCAN_DEPTH_MAX - 1, SCAN_DEPTH_MAX, 1000, 1000000};

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        uint8_t *bytes;
        const size_t length = nest(1, levels[i], &bytes);
        const char *why = scan_message(&recursive, bytes, length, UINT32_MAX);
        if (levels[i] < SCAN_DEPTH_MAX) {
            assert_null(why);
        } else {
            REFUSED(why, "too deep");
        }
        free(bytes);
    }
}

/* The same as an attacker sends it: in every field of every plane, as many levels as a frame has
 * room for, and as old-style groups. */
static void depth_bombs_are_refused_on_every_plane(void **state)
{
    struct fixture *f = *state;

    for (enum plane plane = PLANE_WORKER; plane < PLANES_N; plane++) {
        const size_t levels = plane == PLANE_ANSWER    ? 800000
                              : plane == PLANE_REQUEST ? 1000
                                                       : 15000;
        for (uint8_t field = 1; field < 16; field++) {
            uint8_t *bytes;
            const size_t length = nest(field, levels, &bytes);
            assert_non_null(fixture_decode(f, plane, bytes, length));
            memset(bytes, field << 3 | 3, length);
            assert_non_null(fixture_decode(f, plane, bytes, length));
            free(bytes);
        }
    }
}

static void fields_are_counted(void **state)
{
    struct fixture *f = *state;
    struct raw inner = {NULL, 0, 0};

    for (int i = 0; i < 32000; i++) { /* empty exchange shapes: 2 bytes for 40 of memory each */
        raw_bytes(&inner, 1, NULL, 0);
    }
    raw_message(&f->raw, 3, &inner);
    assert_true(f->raw.length <= WIRE_WORKER_FRAME_MAX);
    REFUSED(fixture_decode_raw(f, PLANE_WORKER), "too many fields");

    for (int i = 0; i < 60000; i++) { /* elements of a packed array */
        raw_byte(&inner, 1);
    }
    struct raw formed = {NULL, 0, 0}, entry = {NULL, 0, 0};
    raw_message(&formed, 5, &inner);
    raw_message(&entry, 2, &formed);
    raw_message(&f->raw, 10, &entry);
    REFUSED(fixture_decode_raw(f, PLANE_PEER), "too many fields");

    for (int i = 0; i < 17; i++) {
        raw_number(&f->raw, 1, 1);
    }
    REFUSED(fixture_decode_raw(f, PLANE_REQUEST), "twice");
}

static void numbers_have_at_most_ten_bytes(void **state)
{
    struct fixture *f = *state;
    static const uint8_t longest[] = {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 1};
    static const uint8_t overflow[] = {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                       0xFF, 0xFF, 0xFF, 0xFF, 2};
    static const uint8_t eleven[] = {0x08, 0x80, 0x80, 0x80, 0x80, 0x80,
                                     0x80, 0x80, 0x80, 0x80, 0x80, 0};
    static const uint8_t endless[] = {0x08, 0x80};
    uint8_t bytes[32];

    memcpy(bytes, longest, sizeof(longest));
    bytes[sizeof(longest)] = 0x52; /* and an empty Leave */
    bytes[sizeof(longest) + 1] = 0;
    assert_null(fixture_decode(f, PLANE_WORKER, bytes, sizeof(longest) + 2));
    assert_true(f->worker->request == UINT64_MAX);
    REFUSED(fixture_decode(f, PLANE_WORKER, overflow, sizeof(overflow)), "too long");
    REFUSED(fixture_decode(f, PLANE_WORKER, eleven, sizeof(eleven)), "too long");
    REFUSED(fixture_decode(f, PLANE_WORKER, endless, sizeof(endless)), "truncated");
}

static void lengths_stay_inside_their_message(void **state)
{
    struct fixture *f = *state;
    static const uint8_t beyond[] = {0x12, 3, 0x12, 1};
    static const uint8_t inner[] = {0x12, 2, 0x12, 1, 'v'}; /* ends in the next byte but one */
    static const uint8_t huge[] = {0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1};

    REFUSED(fixture_decode(f, PLANE_WORKER, beyond, sizeof(beyond)), "longer than its message");
    REFUSED(fixture_decode(f, PLANE_WORKER, inner, sizeof(inner)), "longer than its message");
    REFUSED(fixture_decode(f, PLANE_WORKER, huge, sizeof(huge)), "longer than its message");
}

static void keys_and_types_are_those_of_the_schema(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint8_t bytes[8];
        size_t length;
        const char *sentence;
    } cases[] = {
        {{0x00}, 1, "key"},                             /* field 0 */
        {{0x80}, 1, "key"},                             /* truncated */
        {{0xF8, 0xFF, 0xFF, 0xFF, 0x1F, 0}, 6, "key"},  /* field 2^30 - 1 */
        {{0x78, 1}, 2, "does not know"},                /* field 15 */
        {{0x0A, 0}, 2, "wrong type"},                   /* request as bytes */
        {{0x10, 0}, 2, "wrong type"},                   /* hello as a number */
        {{0x0B}, 1, "wrong type"},                      /* groups */
        {{0x0F, 0}, 2, "wrong type"},                   /* wire type 7 */
        {{0x09, 1, 2, 3, 4, 5, 6, 7}, 8, "wrong type"}, /* request as 8 bytes, truncated */
        {{0x4A, 3, 0x49, 0, 0}, 5, "longer"},           /* loss, truncated */
        {{0x08, 1, 0x08, 1}, 4, "twice"},               /* request */
        {{0x52, 0, 0x52, 0}, 4, "twice"},               /* leave */
        {{0x52, 0, 0x12, 0}, 4, "twice"},               /* leave and hello of one oneof */
        {{0x12, 4, 0x12, 2, 'a', 0}, 6, "NUL"},         /* version */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        REFUSED(fixture_decode(f, PLANE_WORKER, cases[i].bytes, cases[i].length),
                cases[i].sentence);
    }
}

static void packed_arrays_are_whole(void **state)
{
    struct fixture *f = *state;
    struct raw job = {NULL, 0, 0};

    raw_bytes(&job, 10, "1234567", 7); /* losses: a double has 8 */
    raw_message(&f->raw, 5, &job);
    REFUSED(fixture_decode_raw(f, PLANE_ANSWER), "packed");
    struct raw start = {NULL, 0, 0};
    raw_bytes(&start, 5, "\x01\x80", 2); /* arena_bytes: the second number does not end */
    raw_message(&f->raw, 5, &start);
    REFUSED(fixture_decode_raw(f, PLANE_DAEMON), "packed");
}

static void lengths_of_frames_are_limited(void **state)
{
    struct fixture *f = *state;
    static const size_t limits[PLANES_N] = {WIRE_WORKER_FRAME_MAX, WIRE_WORKER_FRAME_MAX,
                                            WIRE_PEER_FRAME_MAX, WIRE_ADMIN_REQUEST_MAX,
                                            WIRE_ADMIN_ANSWER_MAX};
    uint8_t *bytes = calloc(1, WIRE_ADMIN_ANSWER_MAX + 1);

    for (enum plane plane = PLANE_WORKER; plane < PLANES_N; plane++) {
        REFUSED(fixture_decode(f, plane, bytes, 0), "empty");
        REFUSED(fixture_decode(f, plane, bytes, limits[plane]), "key");
        REFUSED(fixture_decode(f, plane, bytes, limits[plane] + 1), "longer than");
    }
    free(bytes);
}

/* Shadow memory and quarantine of a sanitizer hide what is measured. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Just below the number of fields that is let through: what costs most to unpack. */
static void fill_costly(struct raw *raw)
{
    struct raw inner = {NULL, 0, 0};

    for (int i = 0; i < 4000; i++) {
        raw_bytes(&inner, 1, NULL, 0);
    }
    raw_message(raw, 3, &inner);
}

static void what_a_frame_costs_is_bounded(void **state)
{
    struct fixture *f = *state;
    const size_t before = resident_bytes();

    for (int i = 0; i < 1000; i++) {
        fill_costly(&f->raw);
        assert_non_null(fixture_decode_raw(f, PLANE_WORKER));
    }
    /* The block of 512 KiB, and what the C library keeps of frames this test made. */
    assert_true(SANITIZED || resident_bytes() < before + 1024 * 1024);

    /* An answer: at most 24 times its bytes. */
    struct raw shard = {NULL, 0, 0}, shards = {NULL, 0, 0};
    for (int i = 0; i < 500000; i++) {
        raw_bytes(&shard, 15, NULL, 0); /* cells */
    }
    raw_message(&shards, 2, &shard);
    raw_message(&f->raw, 6, &shards);
    const size_t length = f->raw.length;
    assert_non_null(fixture_decode_raw(f, PLANE_ANSWER));
    assert_true(SANITIZED || resident_bytes() < before + 24 * length + 2 * 1024 * 1024);
}

/* Whatever bytes: a sentence or a message, and the message before is untouched by a refusal. */
static void noise_is_survived(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 88172645463325252u;
    uint8_t bytes[64];

    for (int i = 0; i < 200000; i++) {
        const enum plane plane = (enum plane)(i % PLANES_N);
        for (size_t at = 0; at < sizeof(bytes); at++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes[at] = (uint8_t)(seed >> 32);
        }
        bytes[0] = (uint8_t)((1 + bytes[1] % 15) << 3 | 2);
        bytes[1] = bytes[2] % (sizeof(bytes) - 2);
        (void)fixture_decode(f, plane, bytes, 2 + bytes[1]);
    }
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_depth_bomb_is_refused),
        TEST(depth_bombs_are_refused_on_every_plane),
        TEST(fields_are_counted),
        TEST(numbers_have_at_most_ten_bytes),
        TEST(lengths_stay_inside_their_message),
        TEST(keys_and_types_are_those_of_the_schema),
        TEST(packed_arrays_are_whole),
        TEST(lengths_of_frames_are_limited),
        TEST(what_a_frame_costs_is_bounded),
        TEST(noise_is_survived),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
