/* Nodes that find each other, lose each other, and find each other again. */
#include "test_peer_port_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void a_single_node_opens_nothing(void **state)
{
    struct fixture *f = *state;
    fixture_open(f, 0, 1);
    fixture_turns(f, 2);
    assert_int_equal(peer_port_pending(f->nodes[0].port), 0);
    assert_int_equal(access(f->endpoints[0] + 6, F_OK), -1);
}

static void two_nodes_come_up_in_either_order(void **state)
{
    struct fixture *f = *state;
    fixture_open(f, 0, 2);
    fixture_turns(f, 20);
    assert_false(peer_port_is_up(f->nodes[0].port, 1));
    assert_string_equal(peer_port_reason(f->nodes[0].port, 1), "it has not answered yet");
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    assert_int_equal(f->nodes[0].peers[1].up, 1);
    assert_int_equal(f->nodes[0].peers[1].lost, 0);
    assert_string_equal(peer_port_reason(f->nodes[0].port, 1), "");
    assert_string_equal(peer_port_version(f->nodes[0].port, 1),
                        peer_port_version(f->nodes[1].port, 0));
}

static void messages_come_in_order_between_all(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 4; i++) {
        fixture_open(f, i, 4);
    }
    for (uint32_t i = 0; i < 16; i++) {
        if (i / 4 != i % 4) {
            fixture_until_up(f, i / 4, i % 4);
        }
    }
    for (uint32_t number = 1; number <= 500; number++) {
        for (uint32_t i = 0; i < 16; i++) {
            if (i / 4 != i % 4) {
                assert_int_equal(node_send(&f->nodes[i / 4], i % 4, number), 0);
            }
        }
        if (number % 50 == 0) {
            fixture_turns(f, 1);
        }
    }
    for (uint32_t i = 0; i < 16; i++) {
        if (i / 4 == i % 4) {
            continue;
        }
        struct record *record = &f->nodes[i / 4].peers[i % 4];
        fixture_until_count(f, &record->messages, 500);
        assert_int_equal(record->disorder, 0);
        assert_int_equal(record->lost, 0);
        assert_true(record->heard >= 500);
        struct peer_port_counters counters;
        peer_port_counters(f->nodes[i / 4].port, &counters);
        assert_int_equal(counters.rejected, 0);
    }
}

static bool has_rtt(struct fixture *f, void *ctx)
{
    (void)ctx;
    return peer_port_rtt_ns(f->nodes[0].port, 1) > 0;
}

static void a_ping_is_answered_and_timed(void **state)
{
    struct fixture *f = *state;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    assert_int_equal(peer_port_rtt_ns(f->nodes[0].port, 1), 0);
    uint64_t begun_ns = loop_now_ns();
    peer_port_ping(f->nodes[0].port, 1);
    fixture_until(f, has_rtt, NULL);
    assert_true(peer_port_rtt_ns(f->nodes[0].port, 1) <= loop_now_ns() - begun_ns);
    assert_true(f->nodes[1].peers[0].heard >= 1);
    assert_int_equal(f->nodes[1].peers[0].messages, 0); /* pings stay inside */
}

static void a_node_that_goes_is_lost_and_comes_back_as_another(void **state)
{
    struct fixture *f = *state;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    fixture_close(f, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    assert_string_equal(f->nodes[0].peers[1].how, "the connection to it ended");
    assert_string_equal(peer_port_reason(f->nodes[0].port, 1), "the connection to it ended");
    assert_int_equal(node_send(&f->nodes[0], 1, 1), PEER_PORT_DOWN);
    fixture_open(f, 1, 2);
    fixture_until_count(f, &f->nodes[0].peers[1].up, 2);
    fixture_until_up(f, 1, 0);
    assert_int_equal(node_send(&f->nodes[0], 1, 1), 0);
    fixture_until_count(f, &f->nodes[1].peers[0].messages, 1);
    assert_int_equal(f->nodes[0].peers[1].lost, 1);
}

static void a_reset_begins_anew_on_both_sides(void **state)
{
    struct fixture *f = *state;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    for (uint32_t round = 1; round <= 10; round++) {
        f->inside_call = true;
        peer_port_reset(f->nodes[0].port, 1);
        f->inside_call = false;
        assert_int_equal(node_send(&f->nodes[0], 1, 1), PEER_PORT_DOWN);
        fixture_until_count(f, &f->nodes[0].peers[1].up, round + 1);
        fixture_until_count(f, &f->nodes[1].peers[0].up, round + 1);
        assert_int_equal(f->nodes[0].peers[1].lost, round);
        assert_int_equal(f->nodes[1].peers[0].lost, round);
        assert_int_equal(node_send(&f->nodes[0], 1, 1), 0);
        assert_int_equal(node_send(&f->nodes[1], 0, 1), 0);
        fixture_until_count(f, &f->nodes[0].peers[1].messages, round);
        fixture_until_count(f, &f->nodes[1].peers[0].messages, round);
    }
}

/* Whatever the two do at the same time, it ends with both up and messages flowing. */
static void crossing_resets_end_well(void **state)
{
    struct fixture *f = *state;
    uint32_t seed = 5;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    for (int i = 0; i < 60; i++) {
        seed = seed * 1664525u + 1013904223u;
        peer_port_reset(f->nodes[seed >> 31].port, 1 - (seed >> 31));
        fixture_turns(f, (int)(seed >> 8) % 20);
    }
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    /* A message may meet a last Hello on its way; then both are told, and the next one goes
     * through. */
    for (uint32_t i = 0; i < 2; i++) {
        struct record *record = &f->nodes[1 - i].peers[i];
        uint32_t before = record->messages;
        while (record->messages == before) {
            fixture_until_up(f, i, 1 - i);
            node_send(&f->nodes[i], 1 - i, 1);
            fixture_turns(f, 5);
        }
    }
}

static void a_goodbye_is_heard_before_the_loss(void **state)
{
    struct fixture *f = *state;
    Seqsync__Peer__Bye bye = SEQSYNC__PEER__BYE__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    char reason[] = "maintenance";
    bye.reason = reason;
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_BYE;
    message.bye = &bye;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    assert_int_equal(peer_port_send(f->nodes[1].port, 0, &message), 0);
    assert_true(peer_port_pending(f->nodes[1].port) >= 1); /* beside it perhaps a last Hello */
    fixture_until_count(f, &f->nodes[0].peers[1].messages, 1);
    assert_int_equal(peer_port_pending(f->nodes[1].port), 0);
    fixture_close(f, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    fixture_turns(f, 20); /* the end of the connection is no second loss */
    assert_int_equal(f->nodes[0].peers[1].lost, 1);
    assert_int_equal(f->nodes[0].peers[1].body, SEQSYNC__PEER__PEER_MESSAGE__BODY_BYE);
    assert_string_equal(f->nodes[0].peers[1].how, "it was shut down");
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void nodes_talk_over_tcp_and_names(void **state)
{
    struct fixture *f = *state;
    snprintf(f->endpoints[0], sizeof(f->endpoints[0]), "tcp://127.0.0.1:%u", free_port());
    snprintf(f->endpoints[1], sizeof(f->endpoints[1]), "tcp://localhost:%u", free_port());
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    peer_port_reset(f->nodes[0].port, 1); /* by a name, too */
    fixture_until_count(f, &f->nodes[0].peers[1].up, 2);
}

static int open_at(struct fixture *f, const char *endpoint, bool allow_plaintext)
{
    struct node *node = fixture_configure(f, 0, 2);
    snprintf(f->endpoints[0], sizeof(f->endpoints[0]), "%s", endpoint);
    node->config.allow_plaintext = allow_plaintext;
    int r = peer_port_open(&node->config, &node->port, f->text, sizeof(f->text));
    if (r < 0) {
        node->port = NULL;
    }
    return r;
}

static void without_keys_nobody_beyond_this_machine_is_listened_to(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_at(f, "tcp://0.0.0.0:*", false), -EPERM);
    assert_non_null(strstr(f->text, "allow-plaintext = yes"));
    assert_non_null(strstr(f->text, "node-a"));
    assert_int_equal(open_at(f, "tcp://[::]:*", false), -EPERM);
    assert_int_equal(open_at(f, "tcp://0.0.0.0:*", true), 0);
}

static void bad_endpoints_are_named(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_at(f, "tcp://*:*", true), -EINVAL);
    assert_non_null(strstr(f->text, "tcp://*:*"));
    assert_int_equal(open_at(f, "udp://x", true), -EINVAL);
    assert_int_equal(open_at(f, "tcp://no-such-host.invalid:1", true), -EADDRNOTAVAIL);
    assert_int_equal(open_at(f, "tcp://192.0.2.1:1", true), -EADDRNOTAVAIL); /* not ours */
}

static void an_ipc_endpoint_cannot_be_stolen(void **state)
{
    struct fixture *f = *state;
    struct peer_port *second = NULL;
    fixture_open(f, 0, 2);
    assert_int_equal(peer_port_open(&f->nodes[0].config, &second, f->text, sizeof(f->text)),
                     -EADDRINUSE);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 1, 0);
}

static void close_self(struct node *node, uint32_t peer)
{
    (void)peer;
    if (node->index == 0) {
        fixture_close(node->f, 0);
    }
}

static void a_callback_may_close_the_port(void **state)
{
    struct fixture *f = *state;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    f->hook = close_self;
    fixture_until_count(f, &f->nodes[0].peers[1].up, 1);
    assert_null(f->nodes[0].port);
}

static void close_self_at_bye(struct node *node, uint32_t peer)
{
    if (node->peers[peer].body == SEQSYNC__PEER__PEER_MESSAGE__BODY_BYE) {
        close_self(node, peer);
    }
}

static void a_goodbye_may_be_answered_by_closing_the_port(void **state)
{
    struct fixture *f = *state;
    Seqsync__Peer__Bye bye = SEQSYNC__PEER__BYE__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    char reason[] = "maintenance";
    bye.reason = reason;
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_BYE;
    message.bye = &bye;
    fixture_open(f, 0, 2);
    fixture_open(f, 1, 2);
    fixture_until_up(f, 0, 1);
    fixture_until_up(f, 1, 0);
    f->hook = close_self_at_bye;
    assert_int_equal(peer_port_send(f->nodes[1].port, 0, &message), 0);
    fixture_until_count(f, &f->nodes[0].peers[1].messages, 1);
    assert_null(f->nodes[0].port);
    fixture_turns(f, 10);
    assert_int_equal(f->nodes[0].peers[1].lost, 0); /* no callback after close */
}

static void the_digest_is_of_names_order_and_endpoints(void **state)
{
    (void)state;
    const char *const names[] = {"a", "b"};
    const char *const swapped[] = {"b", "a"};
    const char *const glued[] = {"ab", ""};
    uint64_t digest = peer_port_digest(2, names, names, names);
    assert_true(digest == peer_port_digest(2, names, names, names));
    assert_false(digest == peer_port_digest(2, swapped, names, names));
    assert_false(digest == peer_port_digest(2, names, swapped, names));
    assert_false(digest == peer_port_digest(2, names, names, swapped));
    assert_false(digest == peer_port_digest(2, glued, names, names));
    assert_false(digest == peer_port_digest(1, names, names, names));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_single_node_opens_nothing),
        TEST(two_nodes_come_up_in_either_order),
        TEST(messages_come_in_order_between_all),
        TEST(a_ping_is_answered_and_timed),
        TEST(a_node_that_goes_is_lost_and_comes_back_as_another),
        TEST(a_reset_begins_anew_on_both_sides),
        TEST(crossing_resets_end_well),
        TEST(a_goodbye_is_heard_before_the_loss),
        TEST(nodes_talk_over_tcp_and_names),
        TEST(without_keys_nobody_beyond_this_machine_is_listened_to),
        TEST(bad_endpoints_are_named),
        TEST(an_ipc_endpoint_cannot_be_stolen),
        TEST(a_callback_may_close_the_port),
        TEST(a_goodbye_may_be_answered_by_closing_the_port),
        TEST(the_digest_is_of_names_order_and_endpoints),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
