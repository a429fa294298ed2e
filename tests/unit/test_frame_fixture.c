#include "test_frame_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void raw_free(struct raw *raw)
{
    free(raw->bytes);
    *raw = (struct raw){NULL, 0, 0};
}

static void raw_append(struct raw *raw, const void *bytes, size_t length)
{
    if (raw->length + length > raw->capacity) {
        raw->capacity = 2 * (raw->length + length) + 64;
        raw->bytes = realloc(raw->bytes, raw->capacity);
        assert_non_null(raw->bytes);
    }
    if (length > 0) {
        memcpy(raw->bytes + raw->length, bytes, length);
    }
    raw->length += length;
}

void raw_byte(struct raw *raw, uint8_t byte)
{
    raw_append(raw, &byte, 1);
}

void raw_varint(struct raw *raw, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        raw_byte(raw, (uint8_t)(value | 0x80));
    }
    raw_byte(raw, (uint8_t)value);
}

void raw_number(struct raw *raw, uint32_t field, uint64_t value)
{
    raw_varint(raw, (uint64_t)field << 3);
    raw_varint(raw, value);
}

void raw_bytes(struct raw *raw, uint32_t field, const void *bytes, size_t length)
{
    raw_varint(raw, (uint64_t)field << 3 | 2);
    raw_varint(raw, length);
    raw_append(raw, bytes, length);
}

void raw_text(struct raw *raw, uint32_t field, const char *text)
{
    raw_bytes(raw, field, text, strlen(text));
}

void raw_message(struct raw *raw, uint32_t field, struct raw *inner)
{
    raw_bytes(raw, field, inner->bytes, inner->length);
    raw_free(inner);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->memory = frame_memory_new();
    *state = f;
    return f->memory != NULL ? 0 : -1;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    raw_free(&f->raw);
    frame_memory_free(f->memory);
    free(f);
    return 0;
}

const char *fixture_decode(struct fixture *f, enum plane plane, const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    const char *why = NULL;

    if (length > 0) {
        memcpy(copy, bytes, length);
    }
    switch (plane) {
    case PLANE_WORKER:
        why = frame_decode_worker(f->memory, copy, length, &f->worker);
        break;
    case PLANE_DAEMON:
        why = frame_decode_daemon(f->memory, copy, length, &f->daemon);
        break;
    case PLANE_PEER:
        why = frame_decode_peer(f->memory, copy, length, &f->peer);
        break;
    case PLANE_REQUEST:
        why = frame_decode_request(f->memory, copy, length, &f->request);
        break;
    case PLANE_ANSWER:
        why = frame_decode_answer(f->memory, copy, length, &f->answer);
        break;
    case PLANES_N:
        fail();
    }
    free(copy);
    return why;
}

const char *fixture_decode_raw(struct fixture *f, enum plane plane)
{
    const char *why = fixture_decode(f, plane, f->raw.bytes, f->raw.length);

    raw_free(&f->raw);
    return why;
}

static const ProtobufCMessage *fixture_message(const struct fixture *f, enum plane plane)
{
    const ProtobufCMessage *const messages[PLANES_N] = {
        [PLANE_WORKER] = (const void *)f->worker, [PLANE_DAEMON] = (const void *)f->daemon,
        [PLANE_PEER] = (const void *)f->peer,     [PLANE_REQUEST] = (const void *)f->request,
        [PLANE_ANSWER] = (const void *)f->answer,
    };

    return messages[plane];
}

void fixture_expect_ok(struct fixture *f, enum plane plane, const ProtobufCMessage *message)
{
    uint8_t *bytes = malloc(WIRE_ADMIN_ANSWER_MAX), *again = malloc(WIRE_ADMIN_ANSWER_MAX);
    const size_t length = frame_encode(message, bytes, WIRE_ADMIN_ANSWER_MAX);

    assert_true(length > 0);
    const char *why = fixture_decode(f, plane, bytes, length);
    if (why != NULL) {
        fail_msg("refused: %s", why);
    }
    assert_int_equal(frame_encode(fixture_message(f, plane), again, WIRE_ADMIN_ANSWER_MAX), length);
    assert_memory_equal(again, bytes, length);
    free(bytes);
    free(again);
}

void fixture_expect_refused(struct fixture *f, enum plane plane, const ProtobufCMessage *message,
                            const char *sentence)
{
    uint8_t *bytes = malloc(2 * WIRE_ADMIN_ANSWER_MAX);
    const size_t length = frame_encode(message, bytes, 2 * WIRE_ADMIN_ANSWER_MAX);
    const ProtobufCMessage *before = fixture_message(f, plane);

    const char *why = fixture_decode(f, plane, bytes, length);
    if (why == NULL || strstr(why, sentence) == NULL) {
        fail_msg("\"%s\" where \"%s\" was due", why != NULL ? why : "(accepted)", sentence);
    }
    assert_ptr_equal(fixture_message(f, plane), before);
    free(bytes);
}
