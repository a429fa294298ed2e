/* Keys of peers: who is let in, and that it is noticed when everybody would be (D50). */
#include "daemon/io/curve.h"

#include "daemon/io/curve_private.h"
#include "daemon/io/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NODES 2
#define PROBE_MS 10000
#define SOCKETS_MAX 8

static const char *const names[NODES] = {"node-a", "node-b"};

struct fixture {
    void *zmq;
    char dir[256];
    char files[NODES][300];
    char public[NODES][CURVE_KEY_BYTES];
    const char *publics[NODES];
    struct curve *curve; /* of node 0 */
    char text[512];
    void *sockets[SOCKETS_MAX]; /* so that a test that fails leaves none open */
};

static struct curve_config config_of(const struct fixture *f)
{
    return (struct curve_config){.zmq = f->zmq,
                                 .secret_key_file = f->files[0],
                                 .node = 0,
                                 .node_count = NODES,
                                 .names = names,
                                 .public_keys = f->publics};
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%s/seqsync-curve-XXXXXX", tmp != NULL ? tmp : "/tmp");
    f->zmq = zmq_ctx_new();
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    for (int i = 0; i < NODES; i++) {
        snprintf(f->files[i], sizeof(f->files[i]), "%s/key-%d", f->dir, i);
        if (curve_generate(f->files[i], f->public[i]) != 0) {
            return -1;
        }
        f->publics[i] = f->public[i];
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (f->sockets[i] != NULL) {
            zmq_close(f->sockets[i]);
        }
    }
    curve_close(f->curve);
    for (int i = 0; i < NODES; i++) {
        unlink(f->files[i]);
    }
    int r = rmdir(f->dir);
    r |= zmq_ctx_term(f->zmq);
    free(f);
    return r;
}

static void open_curve(struct fixture *f)
{
    struct curve_config config = config_of(f);
    int r = curve_open(&config, &f->curve, f->text, sizeof(f->text));
    if (r < 0) {
        fail_msg("%d: %s", r, f->text);
    }
}

static void *new_socket(struct fixture *f, int type)
{
    const int zero = 0;
    const int patience_ms = 20000;
    int place = 0;
    while (place < SOCKETS_MAX && f->sockets[place] != NULL) {
        place++;
    }
    assert_true(place < SOCKETS_MAX);
    void *socket = zmq_socket(f->zmq, type);
    assert_non_null(socket);
    f->sockets[place] = socket;
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms)), 0);
    return socket;
}

static void close_socket(struct fixture *f, void *socket)
{
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (f->sockets[i] == socket) {
            f->sockets[i] = NULL;
        }
    }
    assert_int_equal(zmq_close(socket), 0);
}

static void *new_server(struct fixture *f, char endpoint[256])
{
    size_t size = 256;
    void *server = new_socket(f, ZMQ_ROUTER);
    assert_int_equal(curve_apply_server(f->curve, server), 0);
    assert_int_equal(zmq_bind(server, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(server, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    return server;
}

static void set_text(void *socket, int option, const char *text)
{
    assert_int_equal(zmq_setsockopt(socket, option, text, strlen(text)), 0);
}

static void read_secret(const char *file, char secret[CURVE_KEY_BYTES])
{
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    assert_int_equal(fread(secret, 1, CURVE_KEY_BYTES - 1, in), CURVE_KEY_BYTES - 1);
    secret[CURVE_KEY_BYTES - 1] = '\0';
    fclose(in);
}

/* A client of node 0 with node-b's keys, or with new ones; connected if @endpoint is not NULL. */
static void *new_client(struct fixture *f, const char *endpoint, bool stranger)
{
    char public[CURVE_KEY_BYTES];
    char secret[CURVE_KEY_BYTES];
    void *client = new_socket(f, ZMQ_DEALER);
    if (stranger) {
        assert_int_equal(zmq_curve_keypair(public, secret), 0);
    } else {
        memcpy(public, f->public[1], sizeof(public));
        read_secret(f->files[1], secret);
    }
    set_text(client, ZMQ_CURVE_SERVERKEY, f->public[0]);
    set_text(client, ZMQ_CURVE_PUBLICKEY, public);
    set_text(client, ZMQ_CURVE_SECRETKEY, secret);
    if (endpoint != NULL) {
        assert_int_equal(zmq_connect(client, endpoint), 0);
    }
    return client;
}

/* Connects a client that is not connected: the handshake's outcome, an event of the monitor. */
static uint16_t handshake_of(struct fixture *f, void *client, const char *endpoint)
{
    uint8_t frame[6];
    uint8_t address[256];
    uint16_t event = 0;
    void *monitor = new_socket(f, ZMQ_PAIR);
    assert_int_equal(
        zmq_socket_monitor(client, "inproc://monitor",
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH),
        0);
    assert_int_equal(zmq_connect(monitor, "inproc://monitor"), 0);
    assert_int_equal(zmq_connect(client, endpoint), 0);
    if (zmq_recv(monitor, frame, sizeof(frame), 0) == (int)sizeof(frame) &&
        zmq_recv(monitor, address, sizeof(address), 0) >= 0) {
        memcpy(&event, frame, sizeof(event));
    }
    zmq_socket_monitor(client, NULL, 0);
    close_socket(f, monitor);
    return event;
}

static void without_keys_everything_is_open_and_silent(void **state)
{
    struct fixture *f = *state;
    struct curve_config config = config_of(f);
    struct curve *curve = (struct curve *)f;
    config.secret_key_file = "";
    assert_int_equal(curve_open(&config, &curve, f->text, sizeof(f->text)), 0);
    assert_null(curve);
    assert_false(curve_enabled(curve));
    assert_int_equal(curve_apply_server(curve, NULL), 0);
    assert_int_equal(curve_apply_client(curve, NULL, 1), 0);
    assert_int_equal(curve_probe(curve, 1), 0);
    assert_int_equal(curve_watch_start(curve, NULL, 1, NULL, NULL), 0);
    curve_watch_stop(curve);
    curve_close(curve);
}

static void a_secret_is_its_owners_alone_and_never_overwritten(void **state)
{
    struct fixture *f = *state;
    struct stat status;
    char public[CURVE_KEY_BYTES];
    assert_int_equal(stat(f->files[0], &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(curve_generate(f->files[0], public), -EEXIST);
    open_curve(f); /* it is still the first key */
}

static void a_file_that_others_may_read_is_refused(void **state)
{
    struct fixture *f = *state;
    struct curve_config config = config_of(f);
    assert_int_equal(chmod(f->files[0], 0640), 0);
    assert_int_equal(curve_open(&config, &f->curve, f->text, sizeof(f->text)), -EPERM);
    assert_non_null(strstr(f->text, "chmod 600"));
}

static void each_wrong_key_is_named(void **state)
{
    struct fixture *f = *state;
    struct curve_config config = config_of(f);
    config.secret_key_file = f->files[1];
    assert_int_equal(curve_open(&config, &f->curve, f->text, sizeof(f->text)), -EINVAL);
    assert_non_null(strstr(f->text, "does not belong to this node"));
    config = config_of(f);
    f->publics[1] = "";
    assert_int_equal(curve_open(&config, &f->curve, f->text, sizeof(f->text)), -EINVAL);
    assert_non_null(strstr(f->text, "node-b has no public key"));
    f->publics[1] = f->public[1];
    config.secret_key_file = "/nonexistent/key";
    assert_int_equal(curve_open(&config, &f->curve, f->text, sizeof(f->text)), -ENOENT);
    assert_int_equal(truncate(f->files[0], 20), 0);
    config = config_of(f);
    assert_int_equal(curve_open(&config, &f->curve, f->text, sizeof(f->text)), -EINVAL);
    assert_non_null(strstr(f->text, "holds no key"));
}

static void an_unknown_key_is_refused_at_start(void **state)
{
    struct fixture *f = *state;
    uint64_t admitted;
    uint64_t refused;
    char endpoint[256];
    open_curve(f);
    curve_counters(f->curve, &admitted, &refused);
    assert_int_equal(admitted, 0);
    assert_int_equal(refused, 1); /* the probe */
    void *server = new_server(f, endpoint);
    void *client = new_client(f, NULL, /* stranger= */ true);
    assert_int_equal(handshake_of(f, client, endpoint), ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    curve_counters(f->curve, &admitted, &refused);
    assert_int_equal(admitted, 0);
    assert_true(refused >= 2);
    close_socket(f, client);
    close_socket(f, server);
}

/* Also D7: the property is asked of the payload frame, after a poll has prefetched the routing id.
 */
static void a_member_is_let_in_as_itself(void **state)
{
    struct fixture *f = *state;
    char endpoint[256];
    open_curve(f);
    void *server = new_server(f, endpoint);
    void *client = new_client(f, endpoint, /* stranger= */ false);
    assert_int_equal(zmq_send(client, "hello", 5, 0), 5);
    zmq_pollitem_t item = {.socket = server, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 20000), 1);
    zmq_msg_t id;
    zmq_msg_t payload;
    zmq_msg_init(&id);
    zmq_msg_init(&payload);
    assert_true(zmq_msg_recv(&id, server, 0) > 0);
    assert_int_equal(zmq_msg_recv(&payload, server, 0), 5);
    assert_true(curve_is_from(f->curve, &payload, 1));
    assert_false(curve_is_from(f->curve, &payload, 0));
    zmq_msg_close(&id);
    zmq_msg_close(&payload);
    close_socket(f, client);
    close_socket(f, server);
}

static void a_plaintext_client_gets_nothing_through(void **state)
{
    struct fixture *f = *state;
    char endpoint[256];
    const int soon_ms = 300;
    open_curve(f);
    void *server = new_server(f, endpoint);
    void *plain = new_socket(f, ZMQ_DEALER);
    assert_int_equal(zmq_connect(plain, endpoint), 0);
    assert_int_equal(zmq_send(plain, "x", 1, 0), 1);
    /* A member's message, sent later, is the first to come. */
    void *client = new_client(f, endpoint, /* stranger= */ false);
    assert_int_equal(zmq_send(client, "hello", 5, 0), 5);
    char bytes[64];
    assert_true(zmq_recv(server, bytes, sizeof(bytes), 0) > 0);
    assert_int_equal(zmq_recv(server, bytes, sizeof(bytes), 0), 5);
    assert_int_equal(zmq_setsockopt(server, ZMQ_RCVTIMEO, &soon_ms, sizeof(soon_ms)), 0);
    assert_int_equal(zmq_recv(server, bytes, sizeof(bytes), 0), -1);
    close_socket(f, plain);
    close_socket(f, client);
    close_socket(f, server);
}

static void a_second_handler_in_the_context_is_refused(void **state)
{
    struct fixture *f = *state;
    struct curve_config config = config_of(f);
    struct curve *second = NULL;
    open_curve(f);
    assert_int_equal(curve_open(&config, &second, f->text, sizeof(f->text)), -EADDRINUSE);
}

static void after_close_and_open_an_unknown_key_is_still_refused(void **state)
{
    struct fixture *f = *state;
    open_curve(f);
    curve_close(f->curve);
    f->curve = NULL;
    open_curve(f);
    assert_int_equal(curve_probe(f->curve, PROBE_MS), 0);
}

static void a_dead_handler_is_found_by_the_probe(void **state)
{
    struct fixture *f = *state;
    char endpoint[256];
    open_curve(f);
    void *server = new_server(f, endpoint);
    zap_stop(f->curve->zap);
    f->curve->zap = NULL;
    assert_int_equal(curve_probe(f->curve, PROBE_MS), -EKEYREJECTED);
    /* That is no false alarm: libzmq does let a stranger in now. */
    void *client = new_client(f, NULL, /* stranger= */ true);
    assert_int_equal(handshake_of(f, client, endpoint), ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    close_socket(f, client);
    close_socket(f, server);
}

struct alarm {
    uv_loop_t loop;
    struct curve *curve;
    int r;
    int count;
};

static void on_open(void *ctx, int r)
{
    struct alarm *alarm = ctx;
    alarm->r = r;
    alarm->count++;
    curve_watch_stop(alarm->curve);
}

static void a_dead_handler_is_found_by_the_watch(void **state)
{
    struct fixture *f = *state;
    struct alarm alarm = {.count = 0};
    open_curve(f);
    alarm.curve = f->curve;
    assert_int_equal(uv_loop_init(&alarm.loop), 0);
    zap_stop(f->curve->zap);
    f->curve->zap = NULL;
    assert_int_equal(curve_watch_start(f->curve, &alarm.loop, 10, on_open, &alarm), 0);
    uv_run(&alarm.loop, UV_RUN_DEFAULT);
    assert_int_equal(alarm.count, 1);
    assert_int_equal(alarm.r, -EKEYREJECTED);
    assert_int_equal(uv_loop_close(&alarm.loop), 0);
}

struct patience {
    struct alarm alarm;
    uv_timer_t timer;
};

/* Until the watch has probed three times. */
static void on_look(uv_timer_t *timer)
{
    struct patience *patience = loop_owner(timer, struct patience, timer);
    uint64_t admitted;
    uint64_t refused;
    curve_counters(patience->alarm.curve, &admitted, &refused);
    if (refused >= 4) {
        uv_close((uv_handle_t *)timer, NULL);
        curve_watch_stop(patience->alarm.curve);
    }
}

static void a_living_handler_raises_no_alarm(void **state)
{
    struct fixture *f = *state;
    struct patience patience = {.alarm = {.count = 0}};
    open_curve(f);
    patience.alarm.curve = f->curve;
    assert_int_equal(uv_loop_init(&patience.alarm.loop), 0);
    uv_timer_init(&patience.alarm.loop, &patience.timer);
    uv_timer_start(&patience.timer, on_look, 5, 5);
    assert_int_equal(
        curve_watch_start(f->curve, &patience.alarm.loop, 10, on_open, &patience.alarm), 0);
    uv_run(&patience.alarm.loop, UV_RUN_DEFAULT);
    assert_int_equal(patience.alarm.count, 0);
    assert_int_equal(uv_loop_close(&patience.alarm.loop), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(without_keys_everything_is_open_and_silent),
        TEST(a_secret_is_its_owners_alone_and_never_overwritten),
        TEST(a_file_that_others_may_read_is_refused),
        TEST(each_wrong_key_is_named),
        TEST(an_unknown_key_is_refused_at_start),
        TEST(a_member_is_let_in_as_itself),
        TEST(a_plaintext_client_gets_nothing_through),
        TEST(a_second_handler_in_the_context_is_refused),
        TEST(after_close_and_open_an_unknown_key_is_still_refused),
        TEST(a_dead_handler_is_found_by_the_probe),
        TEST(a_dead_handler_is_found_by_the_watch),
        TEST(a_living_handler_raises_no_alarm),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
