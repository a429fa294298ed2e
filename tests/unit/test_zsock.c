#include "daemon/io/zsock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOAK_MESSAGES 20000 /* each way */

struct fixture {
    uv_loop_t loop;
    void *zmq;
    struct zsock zsock;
    void *other; /* the far end, used by the test itself or by a thread */
    char endpoint[256];
    uv_timer_t deadline;
    uint32_t seed;
    uint64_t got;      /* messages */
    uint64_t expected; /* stop after so many */
    uint64_t sent;
    uint64_t wrong;
    bool timed_out;
    bool close_in_callback;
    uint32_t turn_got; /* in this turn of the loop */
    uint32_t turn_got_max;
};

static struct fixture *fixture_of(struct zsock *zsock)
{
    return loop_owner(zsock, struct fixture, zsock);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->zmq = zmq_ctx_new();
    f->seed = 1;
    if (uv_loop_init(&f->loop) != 0) {
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f);
    return 0;
}

static void on_deadline(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    f->timed_out = true;
    uv_stop(&f->loop);
}

/* Runs the loop until it is stopped or empty; a test that hangs fails here. */
static void run(struct fixture *f)
{
    f->timed_out = false;
    uv_timer_init(&f->loop, &f->deadline);
    f->deadline.data = f;
    uv_timer_start(&f->deadline, on_deadline, 60000, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&f->deadline, NULL);
}

/* Closes all; nothing may be left. */
static void finish(struct fixture *f)
{
    zsock_close(&f->zsock);
    zsock_close(&f->zsock);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(loop_leftovers(&f->loop, NULL, NULL), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    if (f->other != NULL) {
        assert_int_equal(zmq_close(f->other), 0);
    }
    assert_int_equal(zmq_ctx_term(f->zmq), 0);
}

static void *new_socket(struct fixture *f, int type)
{
    const int zero = 0;
    void *socket = zmq_socket(f->zmq, type);
    assert_non_null(socket);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    return socket;
}

static void bind_other(struct fixture *f, const char *endpoint)
{
    size_t size = sizeof(f->endpoint);
    assert_int_equal(zmq_bind(f->other, endpoint), 0);
    assert_int_equal(zmq_getsockopt(f->other, ZMQ_LAST_ENDPOINT, f->endpoint, &size), 0);
}

/* Messages are numbered from 0 in each direction. */
static void on_numbered(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count)
{
    struct fixture *f = fixture_of(zsock);
    uint64_t number = UINT64_MAX;
    if (part_count == 1 && zmq_msg_size(&parts[0]) == sizeof(number)) {
        memcpy(&number, zmq_msg_data(&parts[0]), sizeof(number));
    }
    f->wrong += number != f->got;
    f->got++;
    f->turn_got++;
    if (f->close_in_callback) {
        zsock_close(zsock);
        uv_stop(&f->loop);
    } else if (f->got == f->expected) {
        uv_stop(&f->loop);
    }
}

static int send_number(struct fixture *f)
{
    int r = zsock_send(&f->zsock, &(struct zsock_part){.data = &f->sent, .bytes = 8}, 1);
    if (r == 0) {
        f->sent++;
    }
    return r;
}

static void open_zsock(struct fixture *f, int type, uint32_t out_max, uint32_t budget,
                       void (*on_message)(struct zsock *, zmq_msg_t *, uint32_t))
{
    struct zsock_config config = {.loop = &f->loop,
                                  .socket = new_socket(f, type),
                                  .out_max = out_max,
                                  .budget = budget,
                                  .drop_unsendable = type == ZMQ_ROUTER,
                                  .on_message = on_message};
    assert_int_equal(zsock_init(&f->zsock, &config), 0);
}

/* ---- the soak: D10, edges of ZMQ_FD missed by interleaved sends and receives ---- */

struct far {
    pthread_t thread;
    void *socket;
    uint32_t seed;
    uint64_t got;
    uint64_t wrong;
};

/* Sends and receives in random bursts, sometimes waiting for an answer, so that both ends fall
 * asleep often. */
static void *far_run(void *arg)
{
    struct far *far = arg;
    uint64_t sent = 0;
    while (sent < SOAK_MESSAGES || far->got < SOAK_MESSAGES) {
        uint32_t burst = next_random(&far->seed) % 8;
        for (uint32_t i = 0; i < burst && sent < SOAK_MESSAGES; i++) {
            if (zmq_send(far->socket, &sent, sizeof(sent), ZMQ_DONTWAIT) < 0) {
                break;
            }
            sent++;
        }
        int wait = sent == SOAK_MESSAGES || next_random(&far->seed) % 16 == 0 ? 20 : 0;
        zmq_pollitem_t item = {.socket = far->socket, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, wait);
        uint32_t take = next_random(&far->seed) % 16;
        for (uint32_t i = 0; i < take; i++) {
            uint64_t number;
            if (zmq_recv(far->socket, &number, sizeof(number), ZMQ_DONTWAIT) < 0) {
                break;
            }
            far->wrong += number != far->got;
            far->got++;
        }
    }
    return NULL;
}

/* Sends from within the receive callback, from a timer, and from a check handle: all the places a
 * caller may be in. */
static void on_soak(struct zsock *zsock, zmq_msg_t *parts, uint32_t part_count)
{
    struct fixture *f = fixture_of(zsock);
    uint32_t burst = next_random(&f->seed) % 3;
    for (uint32_t i = 0; i < burst && f->sent < SOAK_MESSAGES; i++) {
        send_number(f);
    }
    uint64_t expected = f->expected;
    f->expected = 0; /* the soak stops itself */
    on_numbered(zsock, parts, part_count);
    f->expected = expected;
    if (f->got == SOAK_MESSAGES && f->sent == SOAK_MESSAGES && f->zsock.out_count == 0) {
        uv_stop(&f->loop);
    }
}

static void soak_send(struct fixture *f)
{
    uint32_t burst = next_random(&f->seed) % 6;
    for (uint32_t i = 0; i < burst && f->sent < SOAK_MESSAGES; i++) {
        send_number(f);
    }
    if (f->got == SOAK_MESSAGES && f->sent == SOAK_MESSAGES && f->zsock.out_count == 0) {
        uv_stop(&f->loop);
    }
}

static void on_soak_timer(uv_timer_t *timer)
{
    soak_send(timer->data);
}

static void on_soak_check(uv_check_t *check)
{
    struct fixture *f = check->data;
    if (next_random(&f->seed) % 4 == 0) {
        soak_send(f);
    }
}

static void soak(struct fixture *f, const char *endpoint)
{
    struct far far = {.seed = 7};
    uv_timer_t timer;
    uv_check_t check;
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, endpoint);
    open_zsock(f, ZMQ_DEALER, 64, 5, on_soak);
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    uv_timer_init(&f->loop, &timer);
    uv_check_init(&f->loop, &check);
    timer.data = f;
    check.data = f;
    uv_timer_start(&timer, on_soak_timer, 1, 1);
    uv_check_start(&check, on_soak_check);
    far.socket = f->other;
    assert_int_equal(pthread_create(&far.thread, NULL, far_run, &far), 0);
    run(f);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_close((uv_handle_t *)&check, NULL);
    if (f->timed_out) {
        fail_msg("stuck after %llu received, %llu sent, %llu rescues", (unsigned long long)f->got,
                 (unsigned long long)f->sent, (unsigned long long)f->zsock.rescues);
    }
    /* What is with libzmq still goes out on its own thread. */
    assert_int_equal(pthread_join(far.thread, NULL), 0);
    assert_int_equal(f->got, SOAK_MESSAGES);
    assert_int_equal(far.got, SOAK_MESSAGES);
    assert_int_equal(f->wrong, 0);
    assert_int_equal(far.wrong, 0);
    assert_int_equal(f->zsock.rescues, 0);
    finish(f);
}

static void random_interleaving_over_tcp_misses_no_edge(void **state)
{
    soak(*state, "tcp://127.0.0.1:*");
}

static void random_interleaving_over_ipc_misses_no_edge(void **state)
{
    soak(*state, "ipc://*");
}

static void random_interleaving_in_process_misses_no_edge(void **state)
{
    soak(*state, "inproc://soak");
}

/* ---- the rescue itself, so that "no rescues" means something ---- */

struct thief {
    uv_prepare_t prepare;
    struct fixture *f;
    bool done;
};

/* Runs after the zsock's hook, with the loop about to block: lets a message come, and asks for it
 * behind its back. */
static void on_steal(uv_prepare_t *prepare)
{
    struct thief *thief = prepare->data;
    struct fixture *f = thief->f;
    int events = 0;
    size_t size = sizeof(events);
    uint64_t zero = 0;
    if (thief->done || uv_backend_timeout(&f->loop) == 0) {
        return;
    }
    thief->done = true;
    zmq_send(f->other, &zero, sizeof(zero), 0);
    while ((events & ZMQ_POLLIN) == 0) {
        zmq_getsockopt(f->zsock.config.socket, ZMQ_EVENTS, &events, &size);
    }
}

static void a_stolen_edge_is_rescued_and_counted(void **state)
{
    struct fixture *f = *state;
    struct thief thief = {.f = f};
    /* libuv runs the prepare handle that was started first last. */
    uv_prepare_init(&f->loop, &thief.prepare);
    thief.prepare.data = &thief;
    uv_prepare_start(&thief.prepare, on_steal);
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, "inproc://steal");
    open_zsock(f, ZMQ_DEALER, 4, 4, on_numbered);
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    f->expected = 1;
    run(f);
    assert_true(thief.done);
    assert_int_equal(f->got, 1);
    assert_int_equal(f->zsock.rescues, 1);
    uv_close((uv_handle_t *)&thief.prepare, NULL);
    finish(f);
}

/* ---- bounds ---- */

static void on_turn(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;
    if (f->turn_got > f->turn_got_max) {
        f->turn_got_max = f->turn_got;
    }
    f->turn_got = 0;
}

static void a_busy_socket_keeps_to_its_budget(void **state)
{
    struct fixture *f = *state;
    uv_prepare_t prepare;
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, "inproc://budget");
    open_zsock(f, ZMQ_DEALER, 4, 10, on_numbered);
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(zmq_send(f->other, &i, sizeof(i), ZMQ_DONTWAIT), 8);
    }
    uv_prepare_init(&f->loop, &prepare);
    prepare.data = f;
    uv_prepare_start(&prepare, on_turn);
    f->expected = 1000;
    run(f);
    uv_close((uv_handle_t *)&prepare, NULL);
    assert_int_equal(f->got, 1000);
    assert_int_equal(f->wrong, 0);
    assert_in_range(f->turn_got_max, 1, 20); /* two pumps a turn */
    assert_int_equal(f->zsock.rescues, 0);
    finish(f);
}

static void a_full_queue_refuses_and_keeps_what_it_has(void **state)
{
    struct fixture *f = *state;
    const int one = 1;
    open_zsock(f, ZMQ_DEALER, 3, 10, on_numbered);
    /* IMMEDIATE: nothing is taken while no connection stands. */
    zmq_setsockopt(f->zsock.config.socket, ZMQ_IMMEDIATE, &one, sizeof(one));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send_number(f), 0);
    }
    assert_int_equal(send_number(f), ZSOCK_FULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(send_number(f), ZSOCK_FULL);
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, "tcp://127.0.0.1:*");
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    while (f->zsock.out_count > 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t number = 0;
        assert_int_equal(zmq_recv(f->other, &number, sizeof(number), 0), 8);
        assert_int_equal(number, i);
    }
    assert_int_equal(f->zsock.sent, 3);
    finish(f);
}

static void discarded_messages_are_not_sent(void **state)
{
    struct fixture *f = *state;
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, "inproc://discard");
    open_zsock(f, ZMQ_DEALER, 4, 4, on_numbered);
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    assert_int_equal(send_number(f), 0);
    assert_int_equal(send_number(f), 0);
    zsock_discard(&f->zsock);
    assert_int_equal(send_number(f), 0);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    uint64_t number = 0;
    assert_int_equal(zmq_recv(f->other, &number, sizeof(number), 0), 8);
    assert_int_equal(number, 2);
    finish(f);
}

static void a_router_drops_what_nobody_takes(void **state)
{
    struct fixture *f = *state;
    const int one = 1;
    const struct zsock_part parts[] = {{.data = "nobody", .bytes = 6}, {.data = "x", .bytes = 1}};
    open_zsock(f, ZMQ_ROUTER, 4, 4, on_numbered);
    zmq_setsockopt(f->zsock.config.socket, ZMQ_ROUTER_MANDATORY, &one, sizeof(one));
    assert_int_equal(zsock_send(&f->zsock, parts, 2), 0);
    assert_int_equal(zsock_send(&f->zsock, parts, 2), 0);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->zsock.dropped, 2);
    assert_int_equal(f->zsock.out_count, 0);
    finish(f);
}

static void a_message_of_many_parts_is_dropped_whole(void **state)
{
    struct fixture *f = *state;
    uint64_t zero = 0;
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, "inproc://parts");
    open_zsock(f, ZMQ_DEALER, 4, 4, on_numbered);
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    for (int i = 0; i < 99; i++) {
        assert_int_equal(zmq_send(f->other, "x", 1, ZMQ_SNDMORE), 1);
    }
    assert_int_equal(zmq_send(f->other, "x", 1, 0), 1);
    assert_int_equal(zmq_send(f->other, &zero, sizeof(zero), 0), 8);
    f->expected = 1;
    run(f);
    assert_int_equal(f->zsock.malformed, 1);
    assert_int_equal(f->got, 1);
    assert_int_equal(f->wrong, 0);
    finish(f);
}

static void closing_inside_the_callback_ends_it_at_once(void **state)
{
    struct fixture *f = *state;
    f->other = new_socket(f, ZMQ_DEALER);
    bind_other(f, "inproc://close");
    open_zsock(f, ZMQ_DEALER, 4, 4, on_numbered);
    assert_int_equal(zmq_connect(f->zsock.config.socket, f->endpoint), 0);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(zmq_send(f->other, &i, sizeof(i), 0), 8);
    }
    f->close_in_callback = true;
    run(f);
    assert_int_equal(f->got, 1);
    finish(f);
}

static void a_context_that_ends_is_met_without_spinning(void **state)
{
    struct fixture *f = *state;
    open_zsock(f, ZMQ_DEALER, 4, 4, on_numbered);
    assert_int_equal(zmq_ctx_shutdown(f->zmq), 0);
    assert_int_equal(send_number(f), 0);
    for (int i = 0; i < 3; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_int_not_equal(uv_backend_timeout(&f->loop), 0);
    finish(f);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(random_interleaving_over_tcp_misses_no_edge),
        TEST(random_interleaving_over_ipc_misses_no_edge),
        TEST(random_interleaving_in_process_misses_no_edge),
        TEST(a_stolen_edge_is_rescued_and_counted),
        TEST(a_busy_socket_keeps_to_its_budget),
        TEST(a_full_queue_refuses_and_keeps_what_it_has),
        TEST(discarded_messages_are_not_sent),
        TEST(a_router_drops_what_nobody_takes),
        TEST(a_message_of_many_parts_is_dropped_whole),
        TEST(closing_inside_the_callback_ends_it_at_once),
        TEST(a_context_that_ends_is_met_without_spinning),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
