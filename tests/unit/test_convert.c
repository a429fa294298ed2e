/* Whatever the engine says must arrive unchanged at another engine: out, packed, unpacked, in. */
#include "daemon/io/convert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static Seqsync__Peer__PeerMessage *wire(const Seqsync__Peer__PeerMessage *message)
{
    const size_t length = seqsync__peer__peer_message__get_packed_size(message);
    uint8_t *bytes = malloc(length + 1);

    seqsync__peer__peer_message__pack(message, bytes);
    Seqsync__Peer__PeerMessage *received = seqsync__peer__peer_message__unpack(NULL, length, bytes);
    free(bytes);
    assert_non_null(received);
    return received;
}

static void over_the_wire(const struct message *message, struct message *ret,
                          Seqsync__Peer__PeerMessage **ret_from)
{
    struct convert_out out;

    convert_message_out(message, &out);
    *ret_from = wire(&out.message);
    assert_true(convert_message_in(*ret_from, ret));
    assert_int_equal(ret->kind, message->kind);
    assert_int_equal(ret->job, message->job);
    assert_int_equal(ret->generation, message->generation);
}

static void a_join_arrives_unchanged(void **state)
{
    const struct message message = {
        .kind = MESSAGE_JOIN,
        .join = {.job = "cockatoo", .rank = 5, .world_size = 9, .nonfinite = 2, .leave = true}};
    struct message got;
    Seqsync__Peer__PeerMessage *from;
    (void)state;

    over_the_wire(&message, &got, &from);
    assert_string_equal(got.join.job, "cockatoo");
    assert_int_equal(got.join.rank, 5);
    assert_int_equal(got.join.world_size, 9);
    assert_int_equal(got.join.nonfinite, 2);
    assert_true(got.join.leave);
    seqsync__peer__peer_message__free_unpacked(from, NULL);
}

static void a_gather_arrives_unchanged(void **state)
{
    static const uint8_t payload[5] = {1, 0, 255, 3, 4};
    const struct message message = {.kind = MESSAGE_GATHER,
                                    .job = 77,
                                    .generation = 3,
                                    .gather = {.kind = GATHER_REDUCE,
                                               .sequence = UINT64_MAX,
                                               .member = 1023,
                                               .digest = UINT64_C(0x8000000000000001),
                                               .dtype = SEQSYNC_F64,
                                               .op = SEQSYNC_MAX,
                                               .skip = true,
                                               .payload_bytes = sizeof(payload),
                                               .payload = payload}};
    struct message got;
    Seqsync__Peer__PeerMessage *from;
    (void)state;

    over_the_wire(&message, &got, &from);
    assert_int_equal(got.gather.kind, GATHER_REDUCE);
    assert_true(got.gather.sequence == UINT64_MAX);
    assert_int_equal(got.gather.member, 1023);
    assert_true(got.gather.digest == UINT64_C(0x8000000000000001));
    assert_int_equal(got.gather.dtype, SEQSYNC_F64);
    assert_int_equal(got.gather.op, SEQSYNC_MAX);
    assert_true(got.gather.skip);
    assert_int_equal(got.gather.payload_bytes, sizeof(payload));
    assert_memory_equal(got.gather.payload, payload, sizeof(payload));
    seqsync__peer__peer_message__free_unpacked(from, NULL);
}

static void what_is_agreed_arrives_unchanged(void **state)
{
    const struct message message = {
        .kind = MESSAGE_AGREED,
        .job = 1,
        .generation = 2,
        .agreed = {.kind = GATHER_COMMIT, .sequence = 18, .digest = 4, .skip = true}};
    struct message got;
    Seqsync__Peer__PeerMessage *from;
    (void)state;

    over_the_wire(&message, &got, &from);
    assert_int_equal(got.agreed.kind, GATHER_COMMIT);
    assert_int_equal(got.agreed.sequence, 18);
    assert_int_equal(got.agreed.digest, 4);
    assert_true(got.agreed.skip);
    assert_int_equal(got.agreed.payload_bytes, 0);
    seqsync__peer__peer_message__free_unpacked(from, NULL);
}

static void a_failure_arrives_unchanged(void **state)
{
    struct message message = {
        .kind = MESSAGE_FAIL, .job = 1, .fail = {.code = -9, .rank = -1, .node = 2}};
    struct message got;
    Seqsync__Peer__PeerMessage *from;
    (void)state;

    strcpy(message.fail.text, "rank 3 on node-b was killed");
    strcpy(message.fail.hint, "seqctl jobs");
    over_the_wire(&message, &got, &from);
    assert_memory_equal(&got.fail, &message.fail, sizeof(got.fail));
    seqsync__peer__peer_message__free_unpacked(from, NULL);
}

static struct entry formed_entry(void)
{
    struct entry entry = {.kind = ENTRY_JOB_FORMED, .index = 4, .job = 9, .generation = 2};

    strcpy(entry.formed.name, "job");
    entry.formed.world_size = 3;
    entry.formed.nonfinite = 1;
    entry.formed.rank_nodes[0] = 1;
    entry.formed.rank_nodes[1] = 0;
    entry.formed.rank_nodes[2] = 1;
    return entry;
}

static void entries_arrive_unchanged(void **state)
{
    struct entry entries[2] = {formed_entry(),
                               {.kind = ENTRY_JOB_ENDED, .index = 0, .job = 8, .generation = 1}};
    (void)state;

    entries[1].ended = (struct job_end){.code = -10, .rank = -1, .node = 1};
    strcpy(entries[1].ended.text, "node-b is gone");
    for (int i = 0; i < 2; i++) {
        struct convert_out out;
        struct entry got;
        convert_entry_out(&entries[i], &out);
        Seqsync__Peer__PeerMessage *from = wire(&out.message);
        assert_true(convert_entry_in(from, 2, &got));
        assert_memory_equal(&got, &entries[i], sizeof(got));
        seqsync__peer__peer_message__free_unpacked(from, NULL);
    }
}

static void an_entry_that_names_a_node_beyond_the_cluster_is_refused(void **state)
{
    const struct entry entry = formed_entry();
    struct convert_out out;
    struct entry got;
    (void)state;

    convert_entry_out(&entry, &out);
    assert_false(convert_entry_in(&out.message, 1, &got));
    assert_true(convert_entry_in(&out.message, 2, &got));
}

static void an_entry_needs_an_index_and_a_proposal_none(void **state)
{
    const struct entry entry = formed_entry();
    struct convert_out out;
    struct entry got;
    (void)state;

    convert_entry_out(&entry, &out);
    out.message.entry->index = 0;
    assert_false(convert_entry_in(&out.message, 2, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_arrives_unchanged),
        cmocka_unit_test(a_gather_arrives_unchanged),
        cmocka_unit_test(what_is_agreed_arrives_unchanged),
        cmocka_unit_test(a_failure_arrives_unchanged),
        cmocka_unit_test(entries_arrive_unchanged),
        cmocka_unit_test(an_entry_that_names_a_node_beyond_the_cluster_is_refused),
        cmocka_unit_test(an_entry_needs_an_index_and_a_proposal_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
