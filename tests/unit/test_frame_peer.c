/* The peer control plane: each message at its limits and beyond them. */
#include "test_frame_fixture.h"

#include <seqsync/collective.h>
#include <seqsync/session.h>
#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char name[] = "node-a";
static char version[] = "0.1.0";

#define PEER(NAME, field, value)                                                                   \
    (m.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_##NAME, m.field = (value), &m.base)
#define OK(NAME, field, value) fixture_expect_ok(f, PLANE_PEER, PEER(NAME, field, value))
#define REFUSED(NAME, field, value, what)                                                          \
    fixture_expect_refused(f, PLANE_PEER, PEER(NAME, field, value), what)

static Seqsync__Peer__PeerMessage message(void)
{
    Seqsync__Peer__PeerMessage m = SEQSYNC__PEER__PEER_MESSAGE__INIT;

    m.node = SEQSYNC_NODES_MAX - 1;
    m.incarnation = UINT64_MAX;
    m.sequence = 1;
    return m;
}

static void envelope_and_small_bodies(void **state)
{
    struct fixture *f = *state;
    Seqsync__Peer__PeerMessage m = message();
    Seqsync__Peer__Ping ping = SEQSYNC__PEER__PING__INIT;
    Seqsync__Peer__Pong pong = SEQSYNC__PEER__PONG__INIT;
    Seqsync__Peer__Bye bye = SEQSYNC__PEER__BYE__INIT;

    OK(PING, ping, &ping);
    OK(PONG, pong, &pong);
    OK(BYE, bye, &bye);
    bye.reason = "\x1B";
    REFUSED(BYE, bye, &bye, "text");
    m.node = SEQSYNC_NODES_MAX;
    REFUSED(PING, ping, &ping, "node");
    m.node = 0;
    m.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY__NOT_SET;
    fixture_expect_refused(f, PLANE_PEER, &m.base, "without a body");
}

static void hello_names_a_node(void **state)
{
    struct fixture *f = *state;
    Seqsync__Peer__PeerMessage m = message();
    Seqsync__Peer__Hello hello = SEQSYNC__PEER__HELLO__INIT;
    char endpoint[257];

    memset(endpoint, 'e', sizeof(endpoint) - 1);
    endpoint[sizeof(endpoint) - 1] = '\0';
    hello.protocol = WIRE_PROTOCOL;
    hello.version = version;
    hello.name = name;
    hello.bulk_endpoint = endpoint + 1;
    OK(HELLO, hello, &hello);
    hello.bulk_endpoint = endpoint;
    REFUSED(HELLO, hello, &hello, "endpoint");
    hello.bulk_endpoint = "tcp://*:1";
    hello.name = "";
    REFUSED(HELLO, hello, &hello, "name");
    hello.protocol = WIRE_PROTOCOL + 1;
    OK(HELLO, hello, &hello);
    hello.version = "\n";
    REFUSED(HELLO, hello, &hello, "version");
}

static void join_names_a_rank(void **state)
{
    struct fixture *f = *state;
    Seqsync__Peer__PeerMessage m = message();
    Seqsync__Peer__Join join = SEQSYNC__PEER__JOIN__INIT;

    join.job = name;
    join.world_size = SEQSYNC_RANKS_MAX;
    join.rank = SEQSYNC_RANKS_MAX - 1;
    join.nonfinite = SEQSYNC_NONFINITE_PASS;
    OK(JOIN, join, &join);
    join.rank++;
    REFUSED(JOIN, join, &join, "rank");
    join.world_size++;
    REFUSED(JOIN, join, &join, "world size");
    join.world_size = join.rank = 0;
    REFUSED(JOIN, join, &join, "world size");
    join.world_size = 1;
    join.nonfinite = 3;
    REFUSED(JOIN, join, &join, "policy");
    join.nonfinite = 0;
    join.job = "..";
    REFUSED(JOIN, join, &join, "name");
}

static void gather_and_agreed_are_of_a_kind(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[61 * 1024];
    Seqsync__Peer__PeerMessage m = message();
    Seqsync__Peer__Gather gather = SEQSYNC__PEER__GATHER__INIT;
    Seqsync__Peer__Agreed agreed = SEQSYNC__PEER__AGREED__INIT;

    for (int kind = -1; kind < 9; kind++) {
        gather.kind = agreed.kind = (Seqsync__Peer__GatherKind)kind;
        if (kind < 1 || kind > 6) {
            REFUSED(GATHER, gather, &gather, "kind");
            REFUSED(AGREED, agreed, &agreed, "kind");
        } else {
            OK(GATHER, gather, &gather);
            OK(AGREED, agreed, &agreed);
        }
    }
    gather.kind = SEQSYNC__PEER__GATHER_KIND__GATHER_COMMIT;
    gather.member = SEQSYNC_RANKS_MAX - 1;
    OK(GATHER, gather, &gather);
    gather.member++;
    REFUSED(GATHER, gather, &gather, "member");
    gather.kind = SEQSYNC__PEER__GATHER_KIND__GATHER_PLAN;
    gather.member = SEQSYNC_NODES_MAX;
    REFUSED(GATHER, gather, &gather, "member");
    gather.kind = SEQSYNC__PEER__GATHER_KIND__GATHER_REDUCE;
    gather.payload = (ProtobufCBinaryData){SEQSYNC_ALL_REDUCE_BYTES_MAX, bytes};
    REFUSED(GATHER, gather, &gather, "type or operation");
    gather.dtype = SEQSYNC_I64;
    gather.op = SEQSYNC_MAX;
    OK(GATHER, gather, &gather);
    gather.op++;
    REFUSED(GATHER, gather, &gather, "type or operation");
    gather.op--;
    gather.payload.len++;
    REFUSED(GATHER, gather, &gather, "too long");
    agreed.kind = SEQSYNC__PEER__GATHER_KIND__GATHER_COMMIT;
    agreed.payload = (ProtobufCBinaryData){60 * 1024, bytes};
    OK(AGREED, agreed, &agreed);
    agreed.payload.len++;
    REFUSED(AGREED, agreed, &agreed, "payload");
    agreed.kind = SEQSYNC__PEER__GATHER_KIND__GATHER_REDUCE;
    agreed.payload.len = SEQSYNC_ALL_REDUCE_BYTES_MAX;
    OK(AGREED, agreed, &agreed);
    agreed.payload.len++;
    REFUSED(AGREED, agreed, &agreed, "payload");
}

static void entries_form_and_end_jobs(void **state)
{
    struct fixture *f = *state;
    static uint32_t nodes[SEQSYNC_RANKS_MAX + 1];
    Seqsync__Peer__PeerMessage m = message();
    Seqsync__Peer__Entry entry = SEQSYNC__PEER__ENTRY__INIT;
    Seqsync__Peer__JobFormed formed = SEQSYNC__PEER__JOB_FORMED__INIT;
    Seqsync__Peer__JobEnded ended = SEQSYNC__PEER__JOB_ENDED__INIT;

    entry.index = 1;
    REFUSED(ENTRY, entry, &entry, "without a body");
    REFUSED(PROPOSE, propose, &entry, "without a body");
    for (size_t i = 0; i <= SEQSYNC_RANKS_MAX; i++) {
        nodes[i] = SEQSYNC_NODES_MAX - 1;
    }
    formed.name = name;
    formed.rank_nodes = nodes;
    formed.n_rank_nodes = SEQSYNC_RANKS_MAX;
    entry.body_case = SEQSYNC__PEER__ENTRY__BODY_JOB_FORMED;
    entry.job_formed = &formed;
    OK(ENTRY, entry, &entry);
    OK(PROPOSE, propose, &entry);
    nodes[SEQSYNC_RANKS_MAX - 1] = SEQSYNC_NODES_MAX;
    REFUSED(ENTRY, entry, &entry, "node");
    nodes[SEQSYNC_RANKS_MAX - 1] = 0;
    formed.n_rank_nodes++;
    REFUSED(ENTRY, entry, &entry, "ranks");
    formed.n_rank_nodes = 0;
    REFUSED(ENTRY, entry, &entry, "ranks");
    formed.n_rank_nodes = 1;
    formed.nonfinite = 3;
    REFUSED(PROPOSE, propose, &entry, "policy");
    formed.nonfinite = 0;
    formed.name = "";
    REFUSED(PROPOSE, propose, &entry, "name");
    entry.body_case = SEQSYNC__PEER__ENTRY__BODY_JOB_ENDED;
    entry.job_ended = &ended;
    ended.rank = ended.node = -1;
    OK(ENTRY, entry, &entry);
    ended.node = SEQSYNC_NODES_MAX;
    REFUSED(ENTRY, entry, &entry, "node");
}

static void fail_names_code_and_culprit(void **state)
{
    struct fixture *f = *state;
    Seqsync__Peer__PeerMessage m = message();
    Seqsync__Peer__Fail fail = SEQSYNC__PEER__FAIL__INIT;

    fail.code = SEQSYNC_STATUS_LAST;
    fail.rank = SEQSYNC_RANKS_MAX - 1;
    fail.node = SEQSYNC_NODES_MAX - 1;
    OK(FAIL, fail, &fail);
    fail.code--;
    REFUSED(FAIL, fail, &fail, "code");
    fail.code = 1;
    REFUSED(FAIL, fail, &fail, "code");
    fail.code = 0;
    fail.rank = -2;
    REFUSED(FAIL, fail, &fail, "rank");
    fail.rank = SEQSYNC_RANKS_MAX;
    REFUSED(FAIL, fail, &fail, "rank");
    fail.rank = -1;
    fail.node = -2;
    REFUSED(FAIL, fail, &fail, "node");
    fail.node = -1;
    fail.text = "line\nline";
    REFUSED(FAIL, fail, &fail, "text");
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(envelope_and_small_bodies), TEST(hello_names_a_node),
        TEST(join_names_a_rank),         TEST(gather_and_agreed_are_of_a_kind),
        TEST(entries_form_and_end_jobs), TEST(fail_names_code_and_culprit),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
