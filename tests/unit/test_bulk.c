/* Two or three bulk planes in one process, over ipc in a private directory, and a raw ZeroMQ socket
 * that misbehaves. */
#include "daemon/io/bulk.h"
#include "daemon/math/checksum.h"
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define NODES 3
#define BYTES (3 * WIRE_BULK_CHUNK_BYTES + 12345)

struct node {
    struct fixture *fixture;
    struct bulk *bulk;
    uint32_t arrivals;
    uint32_t broken;
    int32_t broken_code;
    struct bulk_arrival last;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t deadline;
    void *zmq;
    char dir[64];
    char endpoints[NODES][128];
    struct node nodes[NODES];
    uint32_t sent;
    bool timed_out;
    uint8_t *source;
    uint8_t *target;
};

static void on_arrival(void *ctx, const struct bulk_arrival *arrival)
{
    struct node *node = ctx;

    node->arrivals++;
    node->last = *arrival;
    uv_stop(&node->fixture->loop);
}

static void on_broken(void *ctx, uint64_t job, uint32_t from, int32_t code, const char *text)
{
    struct node *node = ctx;

    (void)job;
    (void)from;
    (void)text;
    node->broken++;
    node->broken_code = code;
    uv_stop(&node->fixture->loop);
}

static void on_deadline(uv_timer_t *timer)
{
    struct fixture *fixture = timer->data;

    fixture->timed_out = true;
    uv_stop(&fixture->loop);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    static const char *const names[NODES] = {"a", "b", "c"};
    const char *endpoints[NODES];
    char why[256];

    strcpy(fixture->dir, "/tmp/seqsync-bulk-XXXXXX");
    if (mkdtemp(fixture->dir) == NULL) {
        return -1;
    }
    uv_loop_init(&fixture->loop);
    uv_timer_init(&fixture->loop, &fixture->deadline);
    fixture->deadline.data = fixture;
    uv_timer_start(&fixture->deadline, on_deadline, 20000, 0);
    fixture->zmq = zmq_ctx_new();
    fixture->source = malloc(BYTES);
    fixture->target = calloc(1, BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        fixture->source[i] = (uint8_t)(i * 31 + i / 251);
    }
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(fixture->endpoints[i], sizeof(fixture->endpoints[i]), "ipc://%s/%u", fixture->dir,
                 i);
        endpoints[i] = fixture->endpoints[i];
    }
    for (uint32_t i = 0; i < NODES; i++) {
        const struct bulk_config config = {
            .loop = &fixture->loop,
            .zmq = fixture->zmq,
            .node = i,
            .node_count = NODES,
            .incarnation = 100 + i,
            .names = names,
            .endpoints = endpoints,
            .ops = {.on_arrival = on_arrival, .on_broken = on_broken},
            .ctx = &fixture->nodes[i]};
        fixture->nodes[i].fixture = fixture;
        if (bulk_open(&config, &fixture->nodes[i].bulk, why, sizeof(why)) != 0) {
            fprintf(stderr, "%s\n", why);
            return -1;
        }
    }
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char path[160];

    for (uint32_t i = 0; i < NODES; i++) {
        bulk_close(fixture->nodes[i].bulk);
    }
    zmq_ctx_term(fixture->zmq);
    for (uint32_t i = 0; i < NODES; i++) {
        bulk_free(fixture->nodes[i].bulk);
    }
    uv_close((uv_handle_t *)&fixture->deadline, NULL);
    /* A send that was done only now has asked the loop to stop: it must turn all the same. */
    while (uv_run(&fixture->loop, UV_RUN_DEFAULT) != 0) {
    }
    const int r = uv_loop_close(&fixture->loop);
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(path, sizeof(path), "%s/%u", fixture->dir, i);
        unlink(path);
    }
    rmdir(fixture->dir);
    free(fixture->source);
    free(fixture->target);
    free(fixture);
    return r;
}

static void on_sent(struct bulk_send *send)
{
    struct fixture *fixture = *(struct fixture **)(void *)(send + 1);

    fixture->sent++;
    free(send);
    uv_stop(&fixture->loop);
}

static const struct bulk_header transfer = {
    .job = 3, .generation = 5, .step = 9, .id = 1, .part = 2, .kind = BULK_KV};

static struct bulk_send *submit(struct fixture *fixture, uint32_t from, uint32_t to,
                                const struct bulk_piece *pieces, uint32_t piece_count)
{
    struct bulk_send *send = calloc(1, sizeof(*send) + sizeof(void *));

    *(struct fixture **)(void *)(send + 1) = fixture;
    send->done = on_sent;
    send->header = transfer;
    send->node = to;
    send->pieces = pieces;
    send->piece_count = piece_count;
    bulk_submit(fixture->nodes[from].bulk, send);
    return send;
}

static void expect(struct fixture *fixture, uint32_t at, uint32_t from,
                   const struct bulk_piece *pieces, uint32_t piece_count)
{
    const struct bulk_key key = {
        .job = 3, .id = 1, .part = 2, .kind = BULK_KV, .node = (uint8_t)from};

    assert_int_equal(bulk_expect(fixture->nodes[at].bulk, &key, 5, 9, pieces, piece_count), 0);
}

static void run_until(struct fixture *fixture, const uint32_t *count, uint32_t wanted)
{
    while (*count < wanted && !fixture->timed_out) {
        uv_run(&fixture->loop, UV_RUN_DEFAULT);
    }
    assert_false(fixture->timed_out);
}

static void a_transfer_of_several_frames_arrives_whole(void **state)
{
    struct fixture *fixture = *state;
    const struct bulk_piece from[2] = {{fixture->source, 1000},
                                       {fixture->source + 1000, BYTES - 1000}};
    const struct bulk_piece to[2] = {{fixture->target, BYTES - 77},
                                     {fixture->target + BYTES - 77, 77}};
    struct bulk_counters counters;

    expect(fixture, 1, 0, to, 2);
    submit(fixture, 0, 1, from, 2);
    run_until(fixture, &fixture->nodes[1].arrivals, 1);
    run_until(fixture, &fixture->sent, 1);
    assert_memory_equal(fixture->target, fixture->source, BYTES);
    assert_int_equal(fixture->nodes[1].last.step, 9);
    bulk_counters(fixture->nodes[1].bulk, &counters);
    assert_int_equal(counters.received_bytes, BYTES);
    assert_int_equal(
        counters.unexpected_frames + counters.rejected_frames + counters.checksum_errors, 0);
}

static void an_empty_transfer_arrives(void **state)
{
    struct fixture *fixture = *state;

    expect(fixture, 1, 0, NULL, 0);
    submit(fixture, 0, 1, NULL, 0);
    run_until(fixture, &fixture->nodes[1].arrivals, 1);
    run_until(fixture, &fixture->sent, 1);
}

static void what_nobody_expects_is_dropped_and_counted(void **state)
{
    struct fixture *fixture = *state;
    const struct bulk_piece piece = {fixture->source, 100};
    const struct bulk_piece to = {fixture->target, 100};
    struct bulk_counters counters;

    submit(fixture, 0, 1, &piece, 1);
    run_until(fixture, &fixture->sent, 1);
    /* The same connection keeps its order: when the second arrives, the first was looked at. */
    expect(fixture, 1, 2, &to, 1);
    submit(fixture, 2, 1, &piece, 1);
    run_until(fixture, &fixture->nodes[1].arrivals, 1);
    run_until(fixture, &fixture->sent, 2);
    do {
        bulk_counters(fixture->nodes[1].bulk, &counters);
    } while (counters.unexpected_frames == 0);
    assert_int_equal(counters.unexpected_frames, 1);
    assert_int_equal(fixture->nodes[1].broken, 0);
}

static void a_transfer_of_another_length_breaks_its_job(void **state)
{
    struct fixture *fixture = *state;
    const struct bulk_piece piece = {fixture->source, 100};
    const struct bulk_piece to = {fixture->target, 101};

    expect(fixture, 1, 0, &to, 1);
    submit(fixture, 0, 1, &piece, 1);
    run_until(fixture, &fixture->nodes[1].broken, 1);
    assert_int_equal(fixture->nodes[1].broken_code, SEQSYNC_ERR_PROTOCOL);
}

static void a_send_to_a_peer_that_is_not_there_waits_and_can_be_cancelled(void **state)
{
    struct fixture *fixture = *state;
    const struct bulk_piece piece = {fixture->source, BYTES};

    bulk_close(fixture->nodes[2].bulk);
    struct bulk_send *send = submit(fixture, 0, 2, &piece, 1);
    bulk_cancel(fixture->nodes[0].bulk, send);
    run_until(fixture, &fixture->sent, 1);
    /* Others are still served. */
    const struct bulk_piece to = {fixture->target, BYTES};
    expect(fixture, 1, 0, &to, 1);
    submit(fixture, 0, 1, &piece, 1);
    run_until(fixture, &fixture->nodes[1].arrivals, 1);
    assert_memory_equal(fixture->target, fixture->source, BYTES);
    /* teardown closes node 2 again, which must do no harm */
}

/* A stranger on the socket: raw frames, good and bad. */
static void raw_send(void *socket, const struct bulk_header *header, size_t header_bytes,
                     const void *payload, size_t length, int extra_parts)
{
    uint8_t bytes[BULK_HEADER_BYTES];

    bulk_header_encode(header, bytes);
    zmq_send(socket, bytes, header_bytes, ZMQ_SNDMORE);
    zmq_send(socket, payload, length, extra_parts > 0 ? ZMQ_SNDMORE : 0);
    for (int i = 0; i < extra_parts; i++) {
        zmq_send(socket, "x", 1, i + 1 < extra_parts ? ZMQ_SNDMORE : 0);
    }
}

static void hostile_frames_are_counted_and_do_no_harm(void **state)
{
    struct fixture *fixture = *state;
    const int linger = 0;
    struct bulk_counters counters;
    struct bulk_header header = transfer;
    const struct bulk_piece to = {fixture->target, 4};
    void *socket = zmq_socket(fixture->zmq, ZMQ_PUSH);

    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    assert_int_equal(zmq_connect(socket, fixture->endpoints[1]), 0);
    header.total = 4;
    header.length = 4;
    header.checksum = checksum_xxh3("good", 4);
    zmq_send(socket, "", 0, 0);                  /* one part */
    zmq_send(socket, "garbage", 7, ZMQ_SNDMORE); /* not a header */
    zmq_send(socket, "good", 4, 0);
    raw_send(socket, &header, BULK_HEADER_BYTES - 1, "good", 4, 0); /* short header */
    raw_send(socket, &header, BULK_HEADER_BYTES, "good", 4, 3);     /* too many parts */
    raw_send(socket, &header, BULK_HEADER_BYTES, "goo", 3, 0);      /* length lies */
    header.node = 1;
    raw_send(socket, &header, BULK_HEADER_BYTES, "good", 4, 0); /* claims to be the receiver */
    header.node = 77;
    raw_send(socket, &header, BULK_HEADER_BYTES, "good", 4, 0); /* claims to be nobody */
    expect(fixture, 1, 0, &to, 1);
    header.node = 0;
    raw_send(socket, &header, BULK_HEADER_BYTES, "bad!", 4, 0); /* damaged */
    run_until(fixture, &fixture->nodes[1].broken, 1);
    assert_int_equal(fixture->nodes[1].broken_code, SEQSYNC_ERR_CHECKSUM);
    raw_send(socket, &header, BULK_HEADER_BYTES, "good", 4, 0);
    run_until(fixture, &fixture->nodes[1].arrivals, 1);
    assert_memory_equal(fixture->target, "good", 4);
    bulk_counters(fixture->nodes[1].bulk, &counters);
    assert_int_equal(counters.rejected_frames, 7);
    assert_int_equal(counters.checksum_errors, 1);
    zmq_close(socket);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_transfer_of_several_frames_arrives_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_empty_transfer_arrives, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_expects_is_dropped_and_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_transfer_of_another_length_breaks_its_job, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_send_to_a_peer_that_is_not_there_waits_and_can_be_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_frames_are_counted_and_do_no_harm, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
