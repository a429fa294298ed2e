/*
 * Calls that cannot be meant are refused at once and change nothing; a daemon that falls silent, or
 * whose words in shared memory mean nothing, holds nobody for longer than the timeout.
 */
#include "test_lib_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <seqsync/collective.h>
#include <seqsync/gradient.h>
#include <seqsync/parameter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SHORT_MS                                                                                   \
    600 /* long enough for what is answered on a busy machine, short enough to wait for */
#define PROMPT_MS 10000
#define TOKENS 8

static const struct seqsync_exchange_shape exchanges[3] = {
    {.heads_kv = 1, .head_dim = 4}, {.heads_kv = 1, .head_dim = 4}, {.heads_kv = 1, .head_dim = 4}};
static const struct seqsync_bucket_shape bucket = {.elements = 5, .role = SEQSYNC_PARTIAL};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void batch_make(struct seqsync_batch *ret, struct seqsync_sequence *sequence)
{
    const int64_t tokens = TOKENS;

    batch_of(ret, sequence, 1, &tokens, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_CONTIGUOUS);
}

static uint32_t far_source(const struct seqsync_step *step)
{
    uint32_t count, i = 0;
    const struct seqsync_source *sources = seqsync_step_sources(step, SEQSYNC_SPACE_TOKENS, &count);

    while (i < count && sources[i].local) {
        i++;
    }
    assert_true(i < count);
    return i;
}

/* ---- calls that cannot be meant ---- */

static void script_register(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker)) {
        while (fake_receive(worker)) {
        }
    }
}

static void script_listen(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_begin(worker, 1)) {
        while (fake_receive(worker)) {
        }
    }
}

static void refused(struct seqsync_session *session, int r, int status, const char *words)
{
    assert_int_equal(r, status);
    if (strstr(seqsync_session_error(session), words) == NULL) {
        fail_msg("'%s' does not say '%s'", seqsync_session_error(session), words);
    }
}

static void what_is_counted_but_not_given_is_refused(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct seqsync_buffer *buffer;
    struct seqsync_step *step;
    float *values[1] = {NULL};
    double value = 1;
    const uint64_t start = now_ms();

    fake_start(&fake, 2, 1, script_register);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    refused(session, seqsync_session_register(session, NULL, 1, NULL, 0), SEQSYNC_ERR_INVALID,
            "not given");
    refused(session, seqsync_session_register(session, NULL, 0, NULL, 1), SEQSYNC_ERR_INVALID,
            "not given");
    refused(session, seqsync_buffer_create(session, 1, NULL), SEQSYNC_ERR_INVALID, "nobody");
    refused(session, seqsync_buffer_create(session, 0, &buffer), SEQSYNC_ERR_INVALID, "0 bytes");
    assert_int_equal(seqsync_session_register(session, exchanges, 3, &bucket, 1), 0);
    refused(session, seqsync_parameter_pull(session, -1, values), SEQSYNC_ERR_INVALID, "rank -1");
    refused(session, seqsync_parameter_pull(session, 1, values), SEQSYNC_ERR_INVALID, "bucket 0");
    refused(session, seqsync_parameter_publish(session, NULL), SEQSYNC_ERR_INVALID, "bucket 0");
    refused(session, seqsync_all_reduce(session, NULL, 1, SEQSYNC_F64, SEQSYNC_SUM),
            SEQSYNC_ERR_INVALID, "not given");
    refused(session, seqsync_all_reduce(session, &value, 1, SEQSYNC_F64, (enum seqsync_op)4),
            SEQSYNC_ERR_INVALID, "operation");
    refused(session, seqsync_step_begin(session, NULL, &step), SEQSYNC_ERR_INVALID, "batch");
    assert_true(now_ms() - start < PROMPT_MS);
    seqsync_session_close(session);
    fake_stop(&fake);
}

static void ranks_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const int32_t pairs[][2] = {{-2, 4}, {0, -1}, {4, 4}, {0, SEQSYNC_RANKS_MAX + 1}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct seqsync_session_options options;
        struct seqsync_session *session;
        seqsync_session_options_init(&options);
        options.rank = pairs[i][0];
        options.world_size = pairs[i][1];
        const int r = seqsync_session_open(&options, &session);
        refused(session, r, SEQSYNC_ERR_INVALID, "is not possible");
        seqsync_session_close(session);
    }
}

/* Exchanges 0 and 2 share a return buffer. Waiting for what is not even published would not end. */
static void a_return_buffer_that_is_not_published_is_not_waited_for(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    struct seqsync_step *step;
    float *dk, *dv;

    fake_start(&fake, 2, 1, script_listen);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    assert_int_equal(seqsync_session_register(session, exchanges, 3, &bucket, 1), 0);
    batch_make(&batch, &sequence);
    assert_int_equal(seqsync_step_begin(session, &batch, &step), 0);
    assert_int_equal(seqsync_return_buffer(step, 0, &dk, &dv), 0);
    assert_int_equal(seqsync_return_buffer(step, 1, &dk, &dv), 0);
    refused(session, seqsync_return_buffer(step, 2, &dk, &dv), SEQSYNC_ERR_INVALID, "exchange 0");
    seqsync_session_close(session);
    fake_stop(&fake);
}

static void nothing_is_no_session(void **state)
{
    (void)state;
    const float *k, *v;
    float *dk;
    struct seqsync_step *step;
    struct seqsync_buffer *buffer;

    assert_int_equal(seqsync_session_open(NULL, NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_session_register(NULL, NULL, 0, NULL, 0), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_barrier(NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_buffer_create(NULL, 1, &buffer), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_parameter_publish(NULL, NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_parameter_pull(NULL, 0, NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_step_begin(NULL, NULL, &step), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_step_commit(NULL, NULL, NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_buffer(NULL, 0, &dk, &dk), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_publish(NULL, 0), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_wait(NULL, 0, 0, &k, &v), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_return_buffer(NULL, 0, &dk, &dk), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_return_publish(NULL, 0), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_return_wait(NULL, 0, &k, &v), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_gradient_contribute(NULL, 0, 0), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_gradient_wait(NULL, 0, &k, NULL), SEQSYNC_ERR_INVALID);
    assert_null(seqsync_gradient_buffer(NULL, 0));
}

/* ---- silence ---- */

#define CALLS 6 /* that are answered */

/* Answers so many calls, and then no more. */
static void script_fall_silent(struct fake_worker *worker)
{
    const int answers = *(const int *)worker->fake->ctx;
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Buffer buffer = SEQSYNC__WORKER__BUFFER__INIT;
    Seqsync__Worker__Reduced reduced = SEQSYNC__WORKER__REDUCED__INIT;
    struct fake_segment segment;

    for (int i = 0; i < answers; i++) {
        switch (i) {
        case 0:
            fake_welcome(worker);
            break;
        case 1:
            (void)fake_register(worker);
            break;
        case 2:
            (void)fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE);
            fake_segment_make(&segment, 4096, F_SEAL_SHRINK | F_SEAL_GROW);
            buffer.bytes = 4096;
            message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_BUFFER;
            message.buffer = &buffer;
            fake_send(worker, &message, &segment.fd, 1);
            fake_segment_free(&segment);
            break;
        case 3:
            (void)fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE);
            message.request = 0;
            message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED;
            message.reduced = &reduced;
            fake_send(worker, &message, NULL, 0);
            break;
        default:
            (void)fake_begin(worker, 1);
            break;
        }
    }
    while (fake_receive(worker)) {
    }
}

/* All that are answered, in their order, until one fails. */
static int make_calls(const struct seqsync_session_options *options, struct seqsync_session **ret)
{
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    struct seqsync_buffer *buffer;
    struct seqsync_step *step;
    int r = seqsync_session_open(options, ret);

    batch_make(&batch, &sequence);
    r = r != 0 ? r : seqsync_session_register(*ret, exchanges, 3, &bucket, 1);
    r = r != 0 ? r : seqsync_buffer_create(*ret, 4096, &buffer);
    r = r != 0 ? r : seqsync_barrier(*ret);
    r = r != 0 ? r : seqsync_step_begin(*ret, &batch, &step);
    return r != 0 ? r : seqsync_step_commit(step, NULL, NULL);
}

static void a_silent_daemon_is_waited_for_until_the_timeout(void **state)
{
    (void)state;
    static const char *const words[CALLS] = {"all ranks have joined", "all ranks have registered",
                                             "shared buffer",         "reduce values",
                                             "plan a step",           "commit a step"};

    for (int answers = 0; answers < CALLS; answers++) {
        struct fake fake;
        struct seqsync_session_options options;
        struct seqsync_session *session;
        const uint32_t before = open_descriptors();
        const uint64_t start = now_ms();
        fake_prepare(&fake, 1, 1, script_fall_silent);
        fake.ctx = &answers;
        fake_listen(&fake);
        fake_options(&fake, 0, &options);
        options.timeout_ms = SHORT_MS;
        const int r = make_calls(&options, &session);
        refused(session, r, SEQSYNC_ERR_TIMEOUT, words[answers]);
        refused(session, seqsync_barrier(session), SEQSYNC_ERR_TIMEOUT, fake.path);
        assert_true(now_ms() - start >= SHORT_MS && now_ms() - start < PROMPT_MS);
        seqsync_session_close(session);
        fake_stop(&fake);
        assert_int_equal(open_descriptors(), before);
    }
}

/* ---- words in shared memory ---- */

/* What was true of an earlier step, or will be of a later one, is not what is waited for. */
static void script_raise_stale(struct fake_worker *worker)
{
    struct fake *fake = worker->fake;
    const struct arena_page *layout = &fake->page_layout;

    fake_welcome(worker);
    if (!fake_register(worker)) {
        return;
    }
    for (uint32_t value = 2; value > 0; value = value == 2 ? UINT32_MAX : 0) {
        fake_raise(fake->page.data + layout->kv_ready + 4, value); /* exchange 0, rank 1 */
        fake_raise(fake->page.data + layout->bucket_ready, value);
    }
    (void)fake_begin(worker, 1);
    while (fake_receive(worker)) {
    }
}

static void a_word_of_another_step_ends_no_wait(void **state)
{
    (void)state;
    for (int keys = 0; keys < 2; keys++) {
        struct fake fake;
        struct seqsync_session_options options;
        struct seqsync_session *session;
        struct seqsync_sequence sequence;
        struct seqsync_batch batch;
        struct seqsync_step *step;
        const float *k, *v;
        fake_start(&fake, 2, 1, script_raise_stale);
        fake_options(&fake, 0, &options);
        options.timeout_ms = SHORT_MS;
        assert_int_equal(seqsync_session_open(&options, &session), 0);
        assert_int_equal(seqsync_session_register(session, exchanges, 3, &bucket, 1), 0);
        batch_make(&batch, &sequence);
        assert_int_equal(seqsync_step_begin(session, &batch, &step), 0);
        assert_int_equal(seqsync_gradient_contribute(step, 0, 1), 0);
        const int r = keys ? seqsync_kv_wait(step, 0, far_source(step), &k, &v)
                           : seqsync_gradient_wait(step, 0, &k, NULL);
        refused(session, r, SEQSYNC_ERR_TIMEOUT, keys ? "keys of rank 1" : "sum of bucket 0");
        seqsync_session_close(session);
        fake_stop(&fake);
    }
}

/* The state word of no known status, and no message; the barrier before parameters is answered. */
static void script_end_with_nonsense(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker)) {
        fake_raise(worker->fake->page.data + worker->fake->page_layout.state, 7);
        (void)fake_barrier(worker);
        while (fake_receive(worker)) {
        }
    }
}

static void an_end_of_no_known_kind_is_an_end(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    float values[5];
    float *const list[] = {values};

    fake_start(&fake, 2, 1, script_end_with_nonsense);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    assert_int_equal(seqsync_session_register(session, exchanges, 3, &bucket, 1), 0);
    refused(session, seqsync_parameter_pull(session, 1, list), SEQSYNC_ERR_JOB_FAILED,
            "seqctl jobs");
    seqsync_session_close(session);
    fake_stop(&fake);
}

/* ---- leaving ---- */

/* Reads nothing, as a daemon that is stopped. */
static void script_be_stopped(struct fake_worker *worker)
{
    struct pollfd end = {.fd = worker->fd, .events = 0};

    fake_welcome(worker);
    (void)poll(&end, 1, PROMPT_MS);
}

/* The descriptor of this process that is connected to @path. */
static int connected_to(const char *path)
{
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_un peer = {.sun_family = AF_UNSPEC};
        socklen_t length = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)(void *)&peer, &length) == 0 &&
            peer.sun_family == AF_UNIX && length > sizeof(sa_family_t) &&
            strcmp(peer.sun_path, path) == 0) {
            return fd;
        }
    }
    fail_msg("nobody is connected to %s", path);
    return -1;
}

static void closing_waits_for_nobody(void **state)
{
    (void)state;
    static const char bytes[4096];
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;

    fake_start(&fake, 1, 1, script_be_stopped);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    const int fd = connected_to(fake.path);
    while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    const uint64_t start = now_ms();
    seqsync_session_close(session);
    assert_true(now_ms() - start < FAKE_TIMEOUT_MS / 2);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_counted_but_not_given_is_refused),
        cmocka_unit_test(ranks_that_cannot_be_are_refused),
        cmocka_unit_test(a_return_buffer_that_is_not_published_is_not_waited_for),
        cmocka_unit_test(nothing_is_no_session),
        cmocka_unit_test(a_silent_daemon_is_waited_for_until_the_timeout),
        cmocka_unit_test(a_word_of_another_step_ends_no_wait),
        cmocka_unit_test(an_end_of_no_known_kind_is_an_end),
        cmocka_unit_test(closing_waits_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
