#include "test_peer_port_fixture.h"

#define PATIENCE_MS 30000

static const char *const names[NODES_MAX] = {"node-a", "node-b", "node-c", "node-d"};

static void note(struct node *node)
{
    node->f->called_inside = node->f->called_inside || node->f->inside_call;
}

static void on_up(void *ctx, uint32_t peer)
{
    struct node *node = ctx;
    note(node);
    node->peers[peer].up++;
    if (node->f->hook != NULL) {
        node->f->hook(node, peer);
    }
}

static void on_heard(void *ctx, uint32_t peer)
{
    struct node *node = ctx;
    note(node);
    node->peers[peer].heard++;
}

static void on_lost(void *ctx, uint32_t peer, const char *how)
{
    struct node *node = ctx;
    struct record *record = &node->peers[peer];
    note(node);
    record->lost++;
    snprintf(record->how, sizeof(record->how), "%s", how);
}

static void on_message(void *ctx, uint32_t peer, const Seqsync__Peer__PeerMessage *message)
{
    struct node *node = ctx;
    struct record *record = &node->peers[peer];
    note(node);
    record->messages++;
    record->body = (int)message->body_case;
    if (message->body_case == SEQSYNC__PEER__PEER_MESSAGE__BODY_JOIN) {
        record->disorder += message->join->world_size != record->number + 1;
        record->number = message->join->world_size;
    }
    if (node->f->hook != NULL) {
        node->f->hook(node, peer);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    f->timed_out = true;
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.60s/seqsync-peer-XXXXXX", tmp != NULL ? tmp : "/tmp");
    f->zmq = zmq_ctx_new();
    if (mkdtemp(f->dir) == NULL || uv_loop_init(&f->loop) != 0) {
        return -1;
    }
    uv_timer_init(&f->loop, &f->deadline);
    f->deadline.data = f;
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        snprintf(f->endpoints[i], sizeof(f->endpoints[i]), "ipc://%s/%u", f->dir, (unsigned)i);
        f->endpoint_list[i] = f->endpoints[i];
        f->names[i] = names[i];
    }
    f->incarnations = 100;
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        fixture_close(f, i);
    }
    uv_close((uv_handle_t *)&f->deadline, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int r = (int)loop_leftovers(&f->loop, NULL, NULL);
    r |= uv_loop_close(&f->loop);
    for (uint32_t i = 0; i < SOCKETS_MAX; i++) {
        if (f->sockets[i] != NULL) {
            zmq_close(f->sockets[i]);
        }
    }
    curve_close(f->curve);
    r |= zmq_ctx_term(f->zmq);
    r |= f->called_inside;
    /* Of a port that is closed neither socket nor lock may be left. */
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        char lock[sizeof(f->endpoints[i]) + 8];
        snprintf(lock, sizeof(lock), "%s.lock", f->endpoints[i] + 6);
        bool was_ours = f->nodes[i].f != NULL && strncmp(f->endpoints[i], "ipc://", 6) == 0;
        r |= was_ours && (access(f->endpoints[i] + 6, F_OK) == 0 || access(lock, F_OK) == 0);
    }
    char command[400];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    r |= system(command);
    free(f);
    return r;
}

struct node *fixture_configure(struct fixture *f, uint32_t i, uint32_t count)
{
    struct node *node = &f->nodes[i];
    node->f = f;
    node->index = i;
    node->config = (struct peer_port_config){
        .loop = &f->loop,
        .zmq = f->zmq,
        .curve = f->curve,
        .node = i,
        .node_count = count,
        .names = f->names,
        .endpoints = f->endpoint_list,
        .bulk_endpoint = "ipc:///bulk",
        .incarnation = ++f->incarnations,
        .cluster_digest = 77,
        .handshake_ms = 2000,
        .ops = {on_up, on_heard, on_lost, on_message},
        .ctx = node,
    };
    return node;
}

struct node *fixture_open(struct fixture *f, uint32_t i, uint32_t count)
{
    struct node *node = fixture_configure(f, i, count);
    int r = peer_port_open(&node->config, &node->port, f->text, sizeof(f->text));
    if (r != 0) {
        node->port = NULL;
        fail_msg("%d: %s", r, f->text);
    }
    return node;
}

void fixture_close(struct fixture *f, uint32_t i)
{
    peer_port_close(f->nodes[i].port);
    f->nodes[i].port = NULL;
}

void fixture_until(struct fixture *f, bool (*done)(struct fixture *f, void *ctx), void *ctx)
{
    f->timed_out = false;
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    while (!done(f, ctx) && !f->timed_out) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&f->deadline);
    assert_false(f->timed_out);
}

struct pair {
    uint32_t i;
    uint32_t peer;
    const char *part;
};

static bool is_up(struct fixture *f, void *ctx)
{
    const struct pair *pair = ctx;
    return peer_port_is_up(f->nodes[pair->i].port, pair->peer);
}

void fixture_until_up(struct fixture *f, uint32_t i, uint32_t peer)
{
    struct pair pair = {.i = i, .peer = peer};
    fixture_until(f, is_up, &pair);
}

struct counter {
    const uint32_t *counter;
    uint32_t count;
};

static bool is_counted(struct fixture *f, void *ctx)
{
    const struct counter *counter = ctx;
    (void)f;
    return *counter->counter >= counter->count;
}

void fixture_until_count(struct fixture *f, const uint32_t *counter, uint32_t count)
{
    struct counter wanted = {.counter = counter, .count = count};
    fixture_until(f, is_counted, &wanted);
    assert_int_equal(*counter, count);
}

static bool is_reason(struct fixture *f, void *ctx)
{
    const struct pair *pair = ctx;
    return strstr(peer_port_reason(f->nodes[pair->i].port, pair->peer), pair->part) != NULL;
}

void fixture_until_reason(struct fixture *f, uint32_t i, uint32_t peer, const char *part)
{
    struct pair pair = {.i = i, .peer = peer, .part = part};
    fixture_until(f, is_reason, &pair);
}

void fixture_turns(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

static void fill_join(Seqsync__Peer__PeerMessage *message, Seqsync__Peer__Join *join,
                      uint32_t number)
{
    static char job[] = "job";
    seqsync__peer__peer_message__init(message);
    seqsync__peer__join__init(join);
    join->job = job;
    join->world_size = number;
    message->body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_JOIN;
    message->join = join;
}

int node_send(struct node *node, uint32_t peer, uint32_t number)
{
    Seqsync__Peer__PeerMessage message;
    Seqsync__Peer__Join join;
    fill_join(&message, &join, number);
    node->f->inside_call = true;
    int r = peer_port_send(node->port, peer, &message);
    node->f->inside_call = false;
    return r;
}

uint64_t node_rejected(const struct node *node)
{
    struct peer_port_counters counters;
    peer_port_counters(node->port, &counters);
    return counters.rejected;
}

/* ---- the fake ---- */

void *fixture_socket(struct fixture *f, int type)
{
    const int zero = 0;
    uint32_t place = 0;
    while (place < SOCKETS_MAX && f->sockets[place] != NULL) {
        place++;
    }
    assert_true(place < SOCKETS_MAX);
    f->sockets[place] = zmq_socket(f->zmq, type);
    assert_non_null(f->sockets[place]);
    assert_int_equal(zmq_setsockopt(f->sockets[place], ZMQ_LINGER, &zero, sizeof(zero)), 0);
    return f->sockets[place];
}

void fixture_socket_close(struct fixture *f, void *socket)
{
    for (uint32_t i = 0; i < SOCKETS_MAX; i++) {
        if (f->sockets[i] == socket) {
            f->sockets[i] = NULL;
        }
    }
    assert_int_equal(zmq_close(socket), 0);
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

void fake_connect(struct fake *fake, const char *keys)
{
    if (fake->dealer != NULL) {
        fixture_socket_close(fake->f, fake->dealer);
    }
    fake->dealer = fixture_socket(fake->f, ZMQ_DEALER);
    if (keys != NULL) {
        char secret[CURVE_KEY_BYTES];
        char public[CURVE_KEY_BYTES];
        read_secret(keys, secret);
        assert_int_equal(zmq_curve_public(public, secret), 0);
        assert_int_equal(curve_apply_client(fake->f->curve, fake->dealer, 0), 0);
        set_text(fake->dealer, ZMQ_CURVE_PUBLICKEY, public);
        set_text(fake->dealer, ZMQ_CURVE_SECRETKEY, secret);
    }
    assert_int_equal(zmq_connect(fake->dealer, fake->f->endpoints[0]), 0);
}

void fake_open(struct fake *fake, struct fixture *f, uint32_t index, const char *keys)
{
    memset(fake, 0, sizeof(*fake));
    fake->f = f;
    fake->index = index;
    fake->incarnation = ++f->incarnations;
    fake->digest = 77;
    fake->protocol = WIRE_PROTOCOL;
    fake->name = names[index];
    fake->memory = frame_memory_new();
    fake->router = fixture_socket(f, ZMQ_ROUTER);
    if (keys != NULL) {
        char secret[CURVE_KEY_BYTES];
        read_secret(keys, secret);
        assert_int_equal(curve_apply_server(f->curve, fake->router), 0);
        set_text(fake->router, ZMQ_CURVE_SECRETKEY, secret);
    }
    assert_int_equal(zmq_bind(fake->router, f->endpoints[index]), 0);
    fake_connect(fake, keys);
}

void fake_close(struct fake *fake)
{
    fixture_socket_close(fake->f, fake->router);
    fixture_socket_close(fake->f, fake->dealer);
    frame_memory_free(fake->memory);
}

void fake_send_bytes(struct fake *fake, const void *bytes, size_t length)
{
    assert_int_equal(zmq_send(fake->dealer, bytes, length, 0), length);
}

static void fake_send(struct fake *fake, Seqsync__Peer__PeerMessage *message)
{
    uint8_t bytes[WIRE_PEER_FRAME_MAX];
    message->node = fake->index;
    message->incarnation = fake->incarnation;
    message->sequence = ++fake->sequence;
    size_t length = frame_encode(&message->base, bytes, sizeof(bytes));
    assert_true(length > 0);
    fake_send_bytes(fake, bytes, length);
}

void fake_hello(struct fake *fake)
{
    Seqsync__Peer__Hello hello = SEQSYNC__PEER__HELLO__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    char version[] = "9.9.9";
    char bulk[] = "ipc:///bulk";
    char name[SEQSYNC_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%s", fake->name);
    hello.protocol = fake->protocol;
    hello.version = version;
    hello.name = name;
    hello.cluster_digest = fake->digest;
    hello.bulk_endpoint = bulk;
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    fake_send(fake, &message);
}

void fake_ping(struct fake *fake)
{
    Seqsync__Peer__Ping ping = SEQSYNC__PEER__PING__INIT;
    Seqsync__Peer__PeerMessage message = SEQSYNC__PEER__PEER_MESSAGE__INIT;
    ping.sent_ns = 4711;
    message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_PING;
    message.ping = &ping;
    fake_send(fake, &message);
}

void fake_join(struct fake *fake, uint32_t number)
{
    Seqsync__Peer__PeerMessage message;
    Seqsync__Peer__Join join;
    fill_join(&message, &join, number);
    fake_send(fake, &message);
}

struct arrival {
    struct fake *fake;
    zmq_msg_t id;
    zmq_msg_t payload;
};

static bool has_arrived(struct fixture *f, void *ctx)
{
    struct arrival *arrival = ctx;
    (void)f;
    if (zmq_msg_recv(&arrival->id, arrival->fake->router, ZMQ_DONTWAIT) < 0) {
        return false;
    }
    assert_true(zmq_msg_recv(&arrival->payload, arrival->fake->router, 0) >= 0);
    return true;
}

Seqsync__Peer__PeerMessage *fake_receive(struct fake *fake)
{
    struct arrival arrival = {.fake = fake};
    Seqsync__Peer__PeerMessage *message = NULL;
    zmq_msg_init(&arrival.id);
    zmq_msg_init(&arrival.payload);
    fixture_until(fake->f, has_arrived, &arrival);
    assert_null(frame_decode_peer(fake->memory, zmq_msg_data(&arrival.payload),
                                  zmq_msg_size(&arrival.payload), &message));
    size_t id_bytes = zmq_msg_size(&arrival.id);
    fake->fresh =
        id_bytes != fake->id_bytes || memcmp(fake->id, zmq_msg_data(&arrival.id), id_bytes) != 0;
    fake->id_bytes = id_bytes;
    memcpy(fake->id, zmq_msg_data(&arrival.id), id_bytes);
    zmq_msg_close(&arrival.id);
    zmq_msg_close(&arrival.payload);
    return message;
}
