#include "proto/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    struct seqsync_sequence decoded[SEQSYNC_SEQUENCES_MAX];
    struct seqsync_batch batch;
    uint8_t bytes[BATCH_BYTES_MAX + 1];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->sequences[0] = (struct seqsync_sequence){
        .tokens = 7, .context_tokens = 3, .sample_id = UINT64_MAX, .mask = SEQSYNC_MASK_CAUSAL};
    f->sequences[1] = (struct seqsync_sequence){
        .tokens = 1, .mask = SEQSYNC_MASK_WINDOW, .window_left = 0, .window_right = 5};
    f->batch = (struct seqsync_batch){.size = sizeof(f->batch),
                                      .sequences = f->sequences,
                                      .sequence_count = 2,
                                      .placement = SEQSYNC_PLACE_ZIGZAG,
                                      .context_role = SEQSYNC_SHARDED,
                                      .seed = UINT64_C(0x0123456789ABCDEF),
                                      .content_digest = 42};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void expect_same(const struct fixture *f, const struct seqsync_batch *got)
{
    struct seqsync_batch plain = f->batch;

    assert_ptr_equal(got->sequences, f->decoded);
    plain.sequences = f->decoded;
    assert_memory_equal(got, &plain, sizeof(plain));
    assert_memory_equal(f->decoded, f->sequences,
                        f->batch.sequence_count * sizeof(f->sequences[0]));
}

static void what_was_encoded_is_decoded(void **state)
{
    struct fixture *f = *state;
    struct seqsync_batch got;

    assert_null(batch_check(&f->batch));
    const size_t length = batch_encode(&f->batch, f->bytes);
    assert_null(batch_decode(f->bytes, length, f->decoded, &got));
    expect_same(f, &got);
}

static void the_largest_batch_fits_its_bound(void **state)
{
    struct fixture *f = *state;
    struct seqsync_batch got;

    for (uint32_t i = 0; i < SEQSYNC_SEQUENCES_MAX; i++) {
        f->sequences[i] =
            (struct seqsync_sequence){.tokens = SEQSYNC_TOKENS_MAX / SEQSYNC_SEQUENCES_MAX,
                                      .context_tokens = i,
                                      .sample_id = i,
                                      .mask = SEQSYNC_MASK_FULL};
    }
    f->batch.sequence_count = SEQSYNC_SEQUENCES_MAX;
    assert_null(batch_check(&f->batch));
    const size_t length = batch_encode(&f->batch, f->bytes);
    assert_true(length <= BATCH_BYTES_MAX);
    assert_null(batch_decode(f->bytes, length, f->decoded, &got));
    expect_same(f, &got);
    f->sequences[0].tokens++; /* now the batch has one token too many */
    assert_non_null(strstr(batch_check(&f->batch), "SEQSYNC_TOKENS_MAX"));
}

static void each_limit_has_a_sentence(void **state)
{
    struct fixture *f = *state;
    const struct fixture good = *f;
    const struct {
        const char *sentence;
        size_t offset; /* of a field in the fixture */
        uint64_t value;
        size_t bytes;
    } bad[] = {
#define FIELD(what, field, number)                                                                 \
    {what, offsetof(struct fixture, field), (uint64_t)(number),                                    \
     sizeof(((struct fixture *)0)->field)}
        FIELD("batch size", batch.size, sizeof(struct seqsync_batch) - 8),
        FIELD("sequence_count", batch.sequence_count, 0),
        FIELD("sequence_count", batch.sequence_count, SEQSYNC_SEQUENCES_MAX + 1),
        FIELD("placement", batch.placement, 3),
        FIELD("reserved", batch.reserved, 1),
        FIELD("context_role", batch.context_role, SEQSYNC_PARTIAL),
        FIELD("context_role", batch.context_role, 0),
        FIELD("without its sequences", batch.sequences, 0),
        FIELD("tokens must", sequences[0].tokens, 0),
        FIELD("tokens must", sequences[1].tokens, -1),
        FIELD("tokens must", sequences[1].tokens, SEQSYNC_TOKENS_MAX + 1),
        FIELD("than SEQSYNC_TOKENS_MAX tokens", sequences[1].tokens, SEQSYNC_TOKENS_MAX - 6),
        FIELD("context_tokens", sequences[0].context_tokens, -1),
        FIELD("context_tokens", sequences[0].context_tokens, INT64_MAX),
        FIELD("mask", sequences[0].mask, 0),
        FIELD("mask", sequences[0].mask, 4),
        FIELD("window", sequences[0].window_left, 1),
        FIELD("window", sequences[1].window_right, -1),
        FIELD("window", sequences[1].window_left, SEQSYNC_TOKENS_MAX + 1),
        FIELD("reserved", sequences[1].reserved, 1),
#undef FIELD
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        *f = good;
        memcpy((uint8_t *)f + bad[i].offset, &bad[i].value, bad[i].bytes);
        const char *why = batch_check(&f->batch);
        assert_non_null(why);
        if (strstr(why, bad[i].sentence) == NULL) {
            fail_msg("case %zu: \"%s\" does not name %s", i, why, bad[i].sentence);
        }
    }
}

static void without_context_no_role_is_needed(void **state)
{
    struct fixture *f = *state;

    f->sequences[0].context_tokens = 0;
    f->batch.context_role = 0;
    assert_null(batch_check(&f->batch));
}

static void every_truncation_and_a_tail_are_refused(void **state)
{
    struct fixture *f = *state;
    const size_t length = batch_encode(&f->batch, f->bytes);
    struct seqsync_batch got = {.seed = 99};

    for (size_t i = 0; i <= length + 1; i++) {
        if (i != length) {
            /* Of its exact size, so that a sanitizer sees a read behind it. */
            uint8_t *cut = malloc(i > 0 ? i : 1);
            memcpy(cut, f->bytes, i);
            assert_non_null(batch_decode(cut, i, f->decoded, &got));
            free(cut);
        }
    }
    assert_int_equal(got.seed, 99);
}

/* Any one byte changed is refused or gives another batch: no byte is without meaning. */
static void every_byte_counts(void **state)
{
    struct fixture *f = *state;
    const size_t length = batch_encode(&f->batch, f->bytes);
    uint8_t again[BATCH_BYTES_MAX];
    struct seqsync_batch got;

    for (size_t i = 0; i < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            f->bytes[i] ^= (uint8_t)(1 << bit);
            if (batch_decode(f->bytes, length, f->decoded, &got) == NULL) {
                assert_int_equal(batch_encode(&got, again), length);
                assert_memory_equal(again, f->bytes, length);
            }
            f->bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
}

static void digests_tell_batches_apart(void **state)
{
    struct fixture *f = *state;
    const size_t length = batch_encode(&f->batch, f->bytes);
    const uint64_t digest = batch_digest(f->bytes, length);

    assert_int_not_equal(digest, 0);
    assert_int_equal(batch_digest(f->bytes, length), digest);
    for (size_t i = 0; i < length; i++) {
        f->bytes[i] ^= 1;
        assert_int_not_equal(batch_digest(f->bytes, length), digest);
        f->bytes[i] ^= 1;
    }
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_encoded_is_decoded),
        TEST(the_largest_batch_fits_its_bound),
        TEST(each_limit_has_a_sentence),
        TEST(without_context_no_role_is_needed),
        TEST(every_truncation_and_a_tail_are_refused),
        TEST(every_byte_counts),
        TEST(digests_tell_batches_apart),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
