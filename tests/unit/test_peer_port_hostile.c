/* Node 0 against a node 1 that does not keep to the contract, strangers, scans, and wrong keys. */
#include "test_peer_port_fixture.h"

#include "daemon/io/curve_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A fake node 1 that node 0 takes for up. */
static void fake_up(struct fake *fake, struct fixture *f)
{
    fake_open(fake, f, 1, NULL);
    fixture_open(f, 0, 2);
    assert_int_equal(fake_receive(fake)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    fake_hello(fake);
    fixture_until_up(f, 0, 1);
}

/*
 * After a violation node 0 begins anew by a new connection; an answer to its Hello there is enough
 * to be up again. On the connection before there may be another Hello, which is past.
 */
static void fake_recovers(struct fake *fake, struct fixture *f)
{
    uint32_t up = f->nodes[0].peers[1].up;
    do {
        assert_int_equal(fake_receive(fake)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    } while (!fake->fresh);
    fake_hello(fake);
    fixture_until_count(f, &f->nodes[0].peers[1].up, up + 1);
    fake_join(fake, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].messages, f->nodes[0].peers[1].messages + 1);
}

static void a_gap_is_a_loss(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_up(&fake, f);
    fake_join(&fake, 1);
    fake.sequence++;
    fake_join(&fake, 2);
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    assert_string_equal(f->nodes[0].peers[1].how, "message 4 came where 3 was due");
    assert_int_equal(f->nodes[0].peers[1].messages, 1);
    fake_recovers(&fake, f);
    fake_close(&fake);
}

static void a_repeated_message_is_a_loss(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_up(&fake, f);
    fake_join(&fake, 1);
    fake.sequence--;
    fake_join(&fake, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    assert_int_equal(f->nodes[0].peers[1].messages, 1);
    fake_recovers(&fake, f);
    fake_close(&fake);
}

static void another_incarnation_on_the_same_connection_is_a_loss(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_up(&fake, f);
    fake.incarnation++;
    fake_join(&fake, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    fake_close(&fake);
}

static void a_new_connection_of_the_same_incarnation_may_have_lost_messages(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_up(&fake, f);
    fake_connect(&fake, NULL);
    fake.sequence = 0;
    fake_hello(&fake);
    fixture_until_count(f, &f->nodes[0].peers[1].up, 2);
    assert_int_equal(f->nodes[0].peers[1].lost, 1);
    assert_non_null(strstr(f->nodes[0].peers[1].how, "connected again"));
    assert_int_equal(fake_receive(&fake)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    fake_close(&fake);
}

static void a_new_incarnation_is_a_restart_and_the_old_one_is_not_believed_again(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct peer_port_counters counters;
    fake_up(&fake, f);
    fake_connect(&fake, NULL);
    fake.sequence = 0;
    fake.incarnation++;
    fake_hello(&fake);
    fixture_until_count(f, &f->nodes[0].peers[1].up, 2);
    assert_string_equal(f->nodes[0].peers[1].how, "it was restarted");
    /* A Hello of the incarnation before, as if delayed on its old connection. */
    void *current = fake.dealer;
    uint64_t sequence = fake.sequence;
    fake.dealer = NULL;
    fake_connect(&fake, NULL);
    fake.incarnation--;
    fake_hello(&fake);
    do {
        uv_run(&f->loop, UV_RUN_ONCE);
        peer_port_counters(f->nodes[0].port, &counters);
    } while (counters.stale == 0);
    assert_int_equal(f->nodes[0].peers[1].lost, 1);
    fixture_socket_close(f, fake.dealer);
    fake.dealer = current;
    fake.sequence = sequence;
    fake.incarnation++;
    fake_join(&fake, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].messages, 1);
    fake_close(&fake);
}

struct refusal {
    uint32_t protocol;
    const char *name;
    uint64_t digest;
    const char *reason;
};

static const struct refusal refusals[] = {
    {WIRE_PROTOCOL + 1, "node-b", 77, "it speaks protocol 2 (version 9.9.9)"},
    {WIRE_PROTOCOL, "node-x", 77, "it calls itself node-x"},
    {WIRE_PROTOCOL, "node-b", 78, "its member list differs from ours"},
};

static void a_hello_that_does_not_fit_is_refused_with_a_reason(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_open(&fake, f, 1, NULL);
    fixture_open(f, 0, 2);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        fake.protocol = refusals[i].protocol;
        fake.name = refusals[i].name;
        fake.digest = refusals[i].digest;
        fake_hello(&fake);
        fake_join(&fake, 1);
        fixture_until_reason(f, 0, 1, refusals[i].reason);
        fixture_turns(f, 5);
        assert_false(peer_port_is_up(f->nodes[0].port, 1));
    }
    assert_int_equal(f->nodes[0].peers[1].messages, 0);
    assert_int_equal(f->nodes[0].peers[1].heard, 0);
    fake_close(&fake);
}

static void a_peer_that_says_no_hello_is_told_of(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_open(&fake, f, 1, NULL);
    struct node *node = fixture_configure(f, 0, 2);
    node->config.handshake_ms = 100;
    assert_int_equal(peer_port_open(&node->config, &node->port, f->text, sizeof(f->text)), 0);
    fixture_until_reason(f, 0, 1, "it is connected, but says no Hello");
    fake_close(&fake);
}

static void a_ping_is_answered_with_what_it_held(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    Seqsync__Peer__PeerMessage *message = NULL;
    fake_up(&fake, f);
    fake_ping(&fake);
    do {
        message = fake_receive(&fake);
    } while (message->body_case == SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    assert_int_equal(message->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_PONG);
    assert_int_equal(message->pong->sent_ns, 4711);
    assert_int_equal(message->node, 0);
    fake_close(&fake);
}

static const char *const garbage[] = {
    "\xff",
    "\x08",
    "\x32\xff\xff\xff\xff\x0f",
    "GET / HTTP/1.0\r\n\r\n",
    "\x08\x01\x10\x01\x18\x02",
};

static void garbage_ends_the_connection_it_came_on(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    fake_up(&fake, f);
    for (uint32_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        fake_send_bytes(&fake, garbage[i], strlen(garbage[i]));
        fixture_until_count(f, &f->nodes[0].peers[1].lost, i + 1);
        assert_non_null(strstr(f->nodes[0].peers[1].how, "it sent a bad message"));
        fake_recovers(&fake, f);
    }
    fake_close(&fake);
}

static void garbage_from_elsewhere_ends_nothing(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct fake stranger = {.f = f, .index = 1, .name = "node-b", .incarnation = 1};
    fake_up(&fake, f);
    fake_connect(&stranger, NULL);
    for (uint32_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        fake_send_bytes(&stranger, garbage[i], strlen(garbage[i]));
    }
    stranger.index = 0; /* node 0 itself */
    fake_hello(&stranger);
    stranger.index = 2; /* nobody */
    fake_hello(&stranger);
    zmq_send(stranger.dealer, "a", 1, ZMQ_SNDMORE);
    zmq_send(stranger.dealer, "b", 1, 0);
    zmq_send(stranger.dealer, "", 0, 0);
    while (node_rejected(&f->nodes[0]) < sizeof(garbage) / sizeof(garbage[0]) + 4) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_true(peer_port_is_up(f->nodes[0].port, 1));
    assert_int_equal(f->nodes[0].peers[1].lost, 0);
    fake_join(&fake, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].messages, 1);
    fixture_socket_close(f, stranger.dealer);
    fake_close(&fake);
}

/* libzmq ends a connection with a frame beyond MAXMSGSIZE by itself, before it has memory for it.
 */
static void a_frame_that_is_too_large_never_arrives(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    static char huge[WIRE_PEER_FRAME_MAX + WIRE_CURVE_SLACK_BYTES + 1];
    fake_up(&fake, f);
    fake_send_bytes(&fake, huge, sizeof(huge));
    fake_join(&fake, 1); /* may be lost with it */
    fake_connect(&fake, NULL);
    fake_hello(&fake);
    fixture_until_count(f, &f->nodes[0].peers[1].up, 2);
    assert_int_equal(node_rejected(&f->nodes[0]), 0);
    fake_close(&fake);
}

/* D51: a stranger on a reused address gets our Hello and nothing else, and gives nothing. */
static void a_stranger_on_a_reused_address_gets_and_gives_nothing(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct fake stranger = {.f = f, .index = 1, .name = "node-b"};
    fake_up(&fake, f);
    fixture_socket_close(f, fake.router); /* the node dies ... */
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    stranger.memory = frame_memory_new();
    stranger.router = fixture_socket(f, ZMQ_ROUTER); /* ... and somebody else gets its address */
    while (zmq_bind(stranger.router, f->endpoints[1]) != 0) {
        assert_int_equal(zmq_errno(), EADDRINUSE);
    }
    assert_int_equal(fake_receive(&stranger)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    /* What it says comes on no connection with a Hello. */
    fake_join(&fake, 1);
    assert_int_equal(node_send(&f->nodes[0], 1, 1), PEER_PORT_DOWN);
    peer_port_ping(f->nodes[0].port, 1);
    fixture_turns(f, 50);
    assert_int_equal(f->nodes[0].peers[1].messages, 0);
    assert_false(peer_port_is_up(f->nodes[0].port, 1));
    char bytes[64];
    assert_int_equal(zmq_recv(stranger.router, bytes, sizeof(bytes), ZMQ_DONTWAIT), -1);
    fixture_socket_close(f, stranger.router);
    fixture_socket_close(f, fake.dealer);
    frame_memory_free(stranger.memory);
    frame_memory_free(fake.memory);
}

static void a_peer_that_does_not_read_is_lost_and_not_inside_the_call(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    uint32_t number = 0;
    fake_up(&fake, f);
    while (node_send(&f->nodes[0], 1, number + 1) == 0) {
        number++;
        if (number % 500 == 0) {
            fixture_turns(f, 1);
        }
        assert_true(number < 1000000);
    }
    assert_true(number >= PEER_PORT_OUT_MAX);
    assert_int_equal(f->nodes[0].peers[1].lost, 0);
    assert_false(peer_port_is_up(f->nodes[0].port, 1));
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    assert_non_null(strstr(f->nodes[0].peers[1].how, "it takes no messages"));
    fake_close(&fake);
}

static int raw_connect(const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", endpoint + 6);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static long resident_kib(void)
{
    long total = 0;
    long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &total, &resident), 2);
    fclose(file);
    return resident * 4;
}

static bool has_hung_up(struct fixture *f, void *ctx)
{
    char bytes[256];
    (void)f;
    ssize_t n = recv(*(int *)ctx, bytes, sizeof(bytes), MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* D14: 56 bytes that claim a huge length. D39: scans. Nobody's memory or job is touched. */
static void probes_and_scans_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    char probe[56];
    struct node *node = fixture_configure(f, 0, 2);
    fake_open(&fake, f, 1, NULL);
    node->config.handshake_ms = 200;
    assert_int_equal(peer_port_open(&node->config, &node->port, f->text, sizeof(f->text)), 0);
    assert_int_equal(fake_receive(&fake)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    fake_hello(&fake);
    fixture_until_up(f, 0, 1);
    long before_kib = resident_kib();
    memset(probe, 0xff, sizeof(probe));
    for (uint32_t i = 0; i < 100; i++) {
        int fd = raw_connect(f->endpoints[0]);
        if (fd < 0) {
            fixture_turns(f, 1);
            continue;
        }
        assert_int_equal(send(fd, probe, i % 2 == 0 ? sizeof(probe) : 1, MSG_NOSIGNAL),
                         i % 2 == 0 ? sizeof(probe) : 1);
        if (i % 10 == 0) {
            fixture_until(f, has_hung_up,
                          &fd); /* also those that go silent, by the handshake's time */
        }
        close(fd);
    }
    assert_true(resident_kib() - before_kib < 16 * 1024);
    assert_true(peer_port_is_up(node->port, 1));
    assert_int_equal(node->peers[1].lost, 0);
    fake_join(&fake, 1);
    fixture_until_count(f, &node->peers[1].messages, 1);
    fake_close(&fake);
}

/* ---- with keys ---- */

struct keys {
    char files[3][300];
    char public[3][CURVE_KEY_BYTES];
    const char *publics[3];
};

static void open_keys(struct fixture *f, struct keys *keys)
{
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(keys->files[i], sizeof(keys->files[i]), "%s/key-%u", f->dir, (unsigned)i);
        assert_int_equal(curve_generate(keys->files[i], keys->public[i]), 0);
        keys->publics[i] = keys->public[i];
    }
    struct curve_config config = {.zmq = f->zmq,
                                  .secret_key_file = keys->files[0],
                                  .node = 0,
                                  .node_count = 3,
                                  .names = f->names,
                                  .public_keys = keys->publics};
    assert_int_equal(curve_open(&config, &f->curve, f->text, sizeof(f->text)), 0);
}

static void with_keys_a_member_is_up_and_only_as_itself(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct keys keys;
    open_keys(f, &keys);
    fake_open(&fake, f, 1, keys.files[1]);
    fixture_open(f, 0, 3);
    assert_int_equal(fake_receive(&fake)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    fake_hello(&fake);
    fixture_until_up(f, 0, 1);
    fake_join(&fake, 1);
    fixture_until_count(f, &f->nodes[0].peers[1].messages, 1);
    /* It says that it is node-c, with node-b's key. */
    fake.index = 2;
    fake.name = "node-c";
    fake_hello(&fake);
    fixture_until_count(f, &f->nodes[0].peers[1].lost, 1);
    assert_int_equal(node_rejected(&f->nodes[0]), 1);
    assert_false(peer_port_is_up(f->nodes[0].port, 2));
    fake_close(&fake);
}

/* The owner of the address has another key than the config says: not even our Hello is given away.
 */
static void with_keys_an_impostor_gets_nothing_at_all(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct keys keys;
    char bytes[64];
    open_keys(f, &keys);
    fake_open(&fake, f, 1, keys.files[2]);
    fixture_open(f, 0, 3);
    fixture_until_reason(f, 0, 1, "no handshake with");
    fixture_turns(f, 20);
    assert_int_equal(zmq_recv(fake.router, bytes, sizeof(bytes), ZMQ_DONTWAIT), -1);
    fake_close(&fake);
}

static void with_keys_plaintext_is_not_heard(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct keys keys;
    open_keys(f, &keys);
    fake_open(&fake, f, 1, NULL);
    fixture_open(f, 0, 3);
    fake_hello(&fake);
    fixture_until_reason(f, 0, 1, "no handshake with");
    fixture_turns(f, 20);
    assert_int_equal(f->nodes[0].peers[1].up, 0);
    assert_int_equal(node_rejected(&f->nodes[0]), 0);
    fake_close(&fake);
}

/*
 * D50: libzmq lets every key in when the key check is dead. Whoever comes in then is nobody by
 * name, so nothing of what they say is taken.
 */
static void with_keys_and_a_dead_check_a_stranger_is_not_believed(void **state)
{
    struct fixture *f = *state;
    struct fake fake;
    struct keys keys;
    open_keys(f, &keys);
    struct fake stranger = {.f = f, .index = 1, .name = "node-b", .incarnation = 9, .digest = 77};
    stranger.protocol = WIRE_PROTOCOL;
    fake_open(&fake, f, 1, keys.files[1]);
    fixture_open(f, 0, 3);
    assert_int_equal(fake_receive(&fake)->body_case, SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO);
    fake_hello(&fake);
    fixture_until_up(f, 0, 1);
    zap_stop(f->curve->zap);
    f->curve->zap = NULL;
    assert_int_equal(curve_probe(f->curve, 10000), -EKEYREJECTED); /* in they are */
    char unknown[300];
    char public[CURVE_KEY_BYTES];
    snprintf(unknown, sizeof(unknown), "%s/key-unknown", f->dir);
    assert_int_equal(curve_generate(unknown, public), 0);
    fake_connect(&stranger, unknown);
    fake_hello(&stranger);
    fake_join(&stranger, 1);
    while (node_rejected(&f->nodes[0]) < 2) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(f->nodes[0].peers[1].lost, 0);
    fake_join(&fake, 1); /* the connection that was let in by name goes on */
    fixture_until_count(f, &f->nodes[0].peers[1].messages, 1);
    fixture_socket_close(f, stranger.dealer);
    fake_close(&fake);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_gap_is_a_loss),
        TEST(a_repeated_message_is_a_loss),
        TEST(another_incarnation_on_the_same_connection_is_a_loss),
        TEST(a_new_connection_of_the_same_incarnation_may_have_lost_messages),
        TEST(a_new_incarnation_is_a_restart_and_the_old_one_is_not_believed_again),
        TEST(a_hello_that_does_not_fit_is_refused_with_a_reason),
        TEST(a_peer_that_says_no_hello_is_told_of),
        TEST(a_ping_is_answered_with_what_it_held),
        TEST(garbage_ends_the_connection_it_came_on),
        TEST(garbage_from_elsewhere_ends_nothing),
        TEST(a_frame_that_is_too_large_never_arrives),
        TEST(a_stranger_on_a_reused_address_gets_and_gives_nothing),
        TEST(a_peer_that_does_not_read_is_lost_and_not_inside_the_call),
        TEST(probes_and_scans_are_dropped),
        TEST(with_keys_a_member_is_up_and_only_as_itself),
        TEST(with_keys_an_impostor_gets_nothing_at_all),
        TEST(with_keys_plaintext_is_not_heard),
        TEST(with_keys_and_a_dead_check_a_stranger_is_not_believed),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
