/* One question, one answer, whatever is asked and however (D39). */
#include "daemon/io/admin_port.h"

#include <errno.h>
#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#define PATIENCE_MS 30000
#define ASKERS_MAX 16

struct fixture {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool timed_out;
    void *zmq;
    void *askers[ASKERS_MAX]; /* closed at the end, also of a test that fails */
    uint32_t asker_count;
    char dir[128];
    char endpoint[192];
    char text[512];
    struct admin_port_config config;
    struct admin_port *port;
    uint32_t asked;
    int32_t question;
    char job[64];
    bool close_when_asked;
    bool huge; /* answers that no frame can hold */
    struct frame_memory *memory;
};

static void on_deadline(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    f->timed_out = true;
}

static void port_close(struct fixture *f)
{
    admin_port_close(f->port);
    f->port = NULL;
}

static void on_request(void *ctx, const Seqsync__Admin__Request *request,
                       Seqsync__Admin__Answer *answer)
{
    static char version[] = "1.2.3";
    static char large[WIRE_ADMIN_ANSWER_MAX + 1];
    struct fixture *f = ctx;
    f->asked++;
    f->question = (int32_t)request->question;
    snprintf(f->job, sizeof(f->job), "%s", request->job);
    answer->version = version;
    if (f->huge) {
        memset(large, 'x', sizeof(large) - 1);
        answer->version = large;
    }
    if (f->close_when_asked) {
        port_close(f);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.60s/seqsync-admin-XXXXXX", tmp != NULL ? tmp : "/tmp");
    f->zmq = zmq_ctx_new();
    f->memory = frame_memory_new();
    if (mkdtemp(f->dir) == NULL || uv_loop_init(&f->loop) != 0) {
        return -1;
    }
    uv_timer_init(&f->loop, &f->deadline);
    f->deadline.data = f;
    snprintf(f->endpoint, sizeof(f->endpoint), "ipc://%s/admin.sock", f->dir);
    f->config = (struct admin_port_config){
        .loop = &f->loop, .zmq = f->zmq, .endpoint = f->endpoint, .ops = {on_request}, .ctx = f};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < f->asker_count; i++) {
        zmq_close(f->askers[i]);
    }
    port_close(f);
    uv_close((uv_handle_t *)&f->deadline, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int r = (int)loop_leftovers(&f->loop, NULL, NULL);
    r |= uv_loop_close(&f->loop);
    r |= zmq_ctx_term(f->zmq);
    frame_memory_free(f->memory);
    r |= rmdir(f->dir); /* socket and lock are gone */
    free(f);
    return r;
}

static void open_port(struct fixture *f)
{
    assert_int_equal(admin_port_open(&f->config, &f->port, f->text, sizeof(f->text)), 0);
}

static void *new_asker(struct fixture *f, int type)
{
    const int zero = 0;
    assert_true(f->asker_count < ASKERS_MAX);
    void *asker = zmq_socket(f->zmq, type);
    assert_non_null(asker);
    f->askers[f->asker_count++] = asker;
    assert_int_equal(zmq_setsockopt(asker, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    assert_int_equal(zmq_connect(asker, admin_port_endpoint(f->port)), 0);
    return asker;
}

static size_t request_bytes(uint32_t protocol, Seqsync__Admin__Question question, const char *job,
                            uint8_t bytes[WIRE_ADMIN_REQUEST_MAX])
{
    Seqsync__Admin__Request request = SEQSYNC__ADMIN__REQUEST__INIT;
    char copy[64];
    snprintf(copy, sizeof(copy), "%s", job);
    request.protocol = protocol;
    request.question = question;
    request.job = copy;
    size_t length = frame_encode(&request.base, bytes, WIRE_ADMIN_REQUEST_MAX);
    assert_true(length > 0);
    return length;
}

static void ask(void *asker, uint32_t protocol, Seqsync__Admin__Question question, const char *job)
{
    uint8_t bytes[WIRE_ADMIN_REQUEST_MAX];
    size_t length = request_bytes(protocol, question, job, bytes);
    assert_int_equal(zmq_send(asker, bytes, length, 0), length);
}

/* The next answer, whose frames before the last one must be empty. Valid until the next one. */
static Seqsync__Admin__Answer *next_answer(struct fixture *f, void *asker)
{
    Seqsync__Admin__Answer *answer = NULL;
    zmq_msg_t part;
    zmq_msg_init(&part);
    f->timed_out = false;
    uv_timer_start(&f->deadline, on_deadline, PATIENCE_MS, 0);
    while (zmq_msg_recv(&part, asker, ZMQ_DONTWAIT) < 0 && !f->timed_out) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    uv_timer_stop(&f->deadline);
    assert_false(f->timed_out);
    while (zmq_msg_more(&part)) {
        assert_int_equal(zmq_msg_size(&part), 0);
        assert_true(zmq_msg_recv(&part, asker, 0) >= 0);
    }
    assert_null(frame_decode_answer(f->memory, zmq_msg_data(&part), zmq_msg_size(&part), &answer));
    zmq_msg_close(&part);
    assert_int_equal(answer->protocol, WIRE_PROTOCOL);
    return answer;
}

static struct admin_port_counters counters_of(const struct fixture *f)
{
    struct admin_port_counters counters;
    admin_port_counters(f->port, &counters);
    return counters;
}

static void a_question_is_answered(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    void *asker = new_asker(f, ZMQ_DEALER);
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS, "video");
    assert_string_equal(next_answer(f, asker)->version, "1.2.3");
    assert_int_equal(f->question, SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS);
    assert_string_equal(f->job, "video");
    assert_int_equal(counters_of(f).answered, 1);
    assert_int_equal(counters_of(f).rejected, 0);
}

static void a_req_socket_is_answered_in_its_form(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    void *asker = new_asker(f, ZMQ_REQ);
    for (uint32_t i = 1; i <= 3; i++) {
        ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
        assert_string_equal(next_answer(f, asker)->version, "1.2.3");
        assert_int_equal(f->asked, i);
    }
}

static void over_tcp_the_system_chooses_a_port(void **state)
{
    struct fixture *f = *state;
    f->config.endpoint = "tcp://127.0.0.1:*";
    open_port(f);
    assert_null(strchr(admin_port_endpoint(f->port), '*'));
    void *asker = new_asker(f, ZMQ_DEALER);
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, asker)->version, "1.2.3");
}

static void other_machines_are_never_listened_to(void **state)
{
    struct fixture *f = *state;
    f->config.endpoint = "tcp://0.0.0.0:*";
    assert_int_equal(admin_port_open(&f->config, &f->port, f->text, sizeof(f->text)), -EPERM);
    assert_non_null(strstr(f->text, "other machines"));
    f->config.endpoint = "udp://x";
    assert_int_equal(admin_port_open(&f->config, &f->port, f->text, sizeof(f->text)), -EINVAL);
    f->config.endpoint = "ipc:///nonexistent/admin.sock";
    assert_int_equal(admin_port_open(&f->config, &f->port, f->text, sizeof(f->text)), -ENOENT);
    assert_non_null(strstr(f->text, "/nonexistent/admin.sock"));
}

static void the_socket_is_for_user_and_group_and_one_daemon(void **state)
{
    struct fixture *f = *state;
    struct admin_port *second = NULL;
    struct stat status;
    f->config.has_group = true;
    f->config.group = getgid();
    open_port(f);
    assert_int_equal(stat(f->endpoint + 6, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
    assert_int_equal(status.st_gid, getgid());
    assert_int_equal(admin_port_open(&f->config, &second, f->text, sizeof(f->text)), -EADDRINUSE);
    assert_non_null(strstr(f->text, "another daemon serves"));
    void *asker = new_asker(f, ZMQ_DEALER); /* the first one still has its socket */
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, asker)->version, "1.2.3");
}

static void another_protocol_is_answered_with_an_error(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    void *asker = new_asker(f, ZMQ_DEALER);
    ask(asker, WIRE_PROTOCOL + 1, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    const Seqsync__Admin__Answer *answer = next_answer(f, asker);
    assert_non_null(answer->error);
    assert_int_equal(answer->error->code, SEQSYNC_ERR_VERSION);
    assert_string_equal(answer->error->text, "the asker speaks protocol 2, the daemon 1");
    assert_int_equal(f->asked, 0);
}

struct bytes {
    const char *bytes;
    size_t length;
};

#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct bytes garbage[] = {
    BYTES(""),
    BYTES("\xff"),
    BYTES("\x08"),
    BYTES("\x08\x01"),                         /* no question */
    BYTES("\x08\x01\x10\x63"),                 /* question 99 */
    BYTES("\x08\x01\x10\x04\x1a\xff\xff\x03"), /* a job of 64 KiB that is not there */
    BYTES("\x08\x01\x10\x04\x1a\x03../"),      /* a job that is no name */
    BYTES("GET / HTTP/1.0\r\n\r\n"),
    BYTES("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"), /* groups */
};

static void garbage_is_answered_with_an_error(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    void *asker = new_asker(f, ZMQ_DEALER);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        assert_int_equal(zmq_send(asker, garbage[i].bytes, garbage[i].length, 0),
                         garbage[i].length);
        const Seqsync__Admin__Answer *answer = next_answer(f, asker);
        assert_non_null(answer->error);
        assert_int_equal(answer->error->code, SEQSYNC_ERR_PROTOCOL);
        assert_non_null(strstr(answer->error->text, "the request cannot be read"));
        assert_int_equal(counters_of(f).rejected, i + 1);
    }
    assert_int_equal(f->asked, 0);
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, asker)->version, "1.2.3");
}

/* Frames that are no question get no answer: there is no form to give it in. */
static void messages_of_a_wrong_form_are_counted_and_dropped(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    void *asker = new_asker(f, ZMQ_DEALER);
    for (int parts = 2; parts <= 6; parts++) {
        for (int i = 0; i < parts; i++) {
            assert_int_equal(zmq_send(asker, "x", 1, i + 1 < parts ? ZMQ_SNDMORE : 0), 1);
        }
    }
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, asker)->version, "1.2.3");
    assert_int_equal(counters_of(f).rejected, 5);
    assert_int_equal(counters_of(f).answered, 1);
}

/* libzmq ends the connection of a frame beyond MAXMSGSIZE; its asker connects again. */
static void a_request_that_is_too_large_ends_its_connection_only(void **state)
{
    struct fixture *f = *state;
    static char large[WIRE_ADMIN_REQUEST_MAX + 1];
    open_port(f);
    void *asker = new_asker(f, ZMQ_DEALER);
    void *other = new_asker(f, ZMQ_DEALER);
    assert_int_equal(zmq_send(asker, large, sizeof(large), 0), sizeof(large));
    ask(other, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, other)->version, "1.2.3");
    assert_int_equal(f->asked, 1);
    assert_int_equal(zmq_send(other, large, WIRE_ADMIN_REQUEST_MAX, 0), WIRE_ADMIN_REQUEST_MAX);
    assert_non_null(next_answer(f, other)->error); /* as large as may be, and no request */
}

static void an_answer_that_is_too_large_is_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    void *asker = new_asker(f, ZMQ_DEALER);
    f->huge = true;
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_JOBS, "");
    while (f->asked == 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(counters_of(f).dropped, 1);
    f->huge = false;
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, asker)->version, "1.2.3");
}

/* D39: whoever hammers gets a few answers a turn; the loop goes on, and so do other askers. */
static void who_hammers_and_does_not_read_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[WIRE_ADMIN_REQUEST_MAX];
    size_t length =
        request_bytes(WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "", bytes);
    open_port(f);
    void *hammer = new_asker(f, ZMQ_DEALER);
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 100 && zmq_send(hammer, bytes, length, ZMQ_DONTWAIT) >= 0; i++) {
        }
        uint32_t before = f->asked;
        uv_run(&f->loop, UV_RUN_NOWAIT);
        /* A turn has two pumps: before the loop blocks, and after. */
        assert_true(f->asked - before <= 2 * ADMIN_PORT_BUDGET);
    }
    void *other = new_asker(f, ZMQ_DEALER);
    ask(other, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_VERSION, "");
    assert_string_equal(next_answer(f, other)->version, "1.2.3");
    assert_int_equal(counters_of(f).rescues, 0);
}

static void an_asker_that_is_gone_before_its_answer_costs_nothing(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    for (uint32_t i = 0; i < 50; i++) {
        void *asker = new_asker(f, ZMQ_DEALER);
        ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
        uv_run(&f->loop, UV_RUN_NOWAIT);
        zmq_close(asker);
        f->asker_count--;
    }
    void *other = new_asker(f, ZMQ_DEALER);
    ask(other, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    assert_string_equal(next_answer(f, other)->version, "1.2.3");
}

static void a_callback_may_close_the_port(void **state)
{
    struct fixture *f = *state;
    open_port(f);
    f->close_when_asked = true;
    void *asker = new_asker(f, ZMQ_DEALER);
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    ask(asker, WIRE_PROTOCOL, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, "");
    while (f->port != NULL) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(f->asked, 1);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_question_is_answered),
        TEST(a_req_socket_is_answered_in_its_form),
        TEST(over_tcp_the_system_chooses_a_port),
        TEST(other_machines_are_never_listened_to),
        TEST(the_socket_is_for_user_and_group_and_one_daemon),
        TEST(another_protocol_is_answered_with_an_error),
        TEST(garbage_is_answered_with_an_error),
        TEST(messages_of_a_wrong_form_are_counted_and_dropped),
        TEST(a_request_that_is_too_large_ends_its_connection_only),
        TEST(an_answer_that_is_too_large_is_dropped_and_counted),
        TEST(who_hammers_and_does_not_read_holds_up_nobody),
        TEST(an_asker_that_is_gone_before_its_answer_costs_nothing),
        TEST(a_callback_may_close_the_port),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
