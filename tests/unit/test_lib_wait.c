/* Waits end: by what was waited for, by the job's failure, by the daemon's end, at the deadline.
 * And calls within a step are refused in every wrong order. */
#include "test_lib_fixture.h"

#include <math.h>
#include <seqsync/gradient.h>
#include <seqsync/parameter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

/* One rank here and one far away, of which nothing ever comes. */
static const struct seqsync_exchange_shape shapes[3] = {
    {.space = SEQSYNC_SPACE_TOKENS, .heads_kv = 1, .head_dim = 4},
    {.space = SEQSYNC_SPACE_TOKENS, .heads_kv = 1, .head_dim = 4, .forward_only = 1},
    {.space = SEQSYNC_SPACE_TOKENS, .heads_kv = 1, .head_dim = 4},
};
static const struct seqsync_bucket_shape buckets[2] = {{.elements = 3, .role = SEQSYNC_PARTIAL},
                                                       {.elements = 1, .role = SEQSYNC_REPLICATED}};

struct scene {
    struct fake fake;
    struct seqsync_session *session;
    struct seqsync_step *step;
    uint32_t far; /* source of the far rank's keys */
    uint32_t own;
};

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' does not say '%s'", text, part);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void scene_begin(struct scene *scene)
{
    const int64_t tokens = 8;
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    uint32_t count;

    batch_of(&batch, &sequence, 1, &tokens, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_CONTIGUOUS);
    assert_int_equal(seqsync_step_begin(scene->session, &batch, &scene->step), 0);
    const struct seqsync_source *sources =
        seqsync_step_sources(scene->step, SEQSYNC_SPACE_TOKENS, &count);
    assert_int_equal(count, 2);
    scene->own = sources[0].rank == 0 ? 0 : 1;
    scene->far = 1 - scene->own;
}

/* Joins and registers; @script does the rest. */
static void scene_start(struct scene *scene, fake_script *script, uint32_t timeout_ms)
{
    struct seqsync_session_options options;

    fake_prepare(&scene->fake, 2, 1, script);
    scene->fake.ctx = scene;
    fake_listen(&scene->fake);
    fake_options(&scene->fake, 0, &options);
    options.timeout_ms = timeout_ms;
    assert_int_equal(seqsync_session_open(&options, &scene->session), 0);
    assert_int_equal(seqsync_session_register(scene->session, shapes, 3, buckets, 2), 0);
}

static void scene_stop(struct scene *scene)
{
    scene->session = seqsync_session_close(scene->session);
    fake_stop(&scene->fake);
}

static void read_to_the_end(struct fake_worker *worker)
{
    while (fake_receive(worker)) {
    }
}

static void script_begin(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_begin(worker, 1)) {
        read_to_the_end(worker);
    }
}

static void script_register(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker)) {
        read_to_the_end(worker);
    }
}

/* ---- wrong order ---- */

static void script_step_and_another(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (!fake_register(worker) || !fake_begin(worker, 1)) {
        return;
    }
    while (fake_receive(worker) &&
           worker->message->body_case == SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY) {
    }
    const Seqsync__Worker__Commit *commit = worker->message->commit;
    if (worker->message->body_case != SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT ||
        commit->tokens != 4 || commit->area != -1 || !isnan(commit->loss) ||
        commit->kv_remote_bytes != 0 || commit->compute_ns == 0 ||
        commit->return_bytes != 2 * 4 * 4 * sizeof(float)) {
        fake_problem(worker->fake, "another commit than was meant");
    }
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Committed committed = SEQSYNC__WORKER__COMMITTED__INIT;
    committed.step = 1;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_COMMITTED;
    message.committed = &committed;
    fake_send(worker, &message, NULL, 0);
    if (fake_begin(worker, 2)) {
        read_to_the_end(worker);
    }
}

static void a_step_refuses_what_is_out_of_order(void **state)
{
    (void)state;
    struct scene scene;
    float *a, *b;
    const float *c, *d;
    const int64_t tokens = 8;
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    struct seqsync_step *step;
    struct seqsync_attestation wrong = {.size = 3};
    float *const values[2] = {NULL, NULL};

    scene_start(&scene, script_step_and_another, FAKE_TIMEOUT_MS);
    assert_int_equal(seqsync_session_register(scene.session, shapes, 3, buckets, 2),
                     SEQSYNC_ERR_INVALID);
    assert_null(seqsync_gradient_buffer(scene.session, 2));
    assert_non_null(seqsync_gradient_buffer(scene.session, 1));
    scene_begin(&scene);
    batch_of(&batch, &sequence, 1, &tokens, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_CONTIGUOUS);
    assert_int_equal(seqsync_step_begin(scene.session, &batch, &step), SEQSYNC_ERR_INVALID);
    assert_contains(seqsync_session_error(scene.session), "still open");
    assert_int_equal(seqsync_parameter_pull(scene.session, 1, values), SEQSYNC_ERR_INVALID);

    assert_int_equal(seqsync_kv_buffer(scene.step, 3, &a, &b), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_publish(scene.step, 3), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_wait(scene.step, 0, 2, &c, &d), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_wait(scene.step, 0, scene.own, &c, &d), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_kv_publish(scene.step, 0), 0);
    assert_int_equal(seqsync_kv_publish(scene.step, 0), SEQSYNC_ERR_DUPLICATE);
    assert_int_equal(seqsync_kv_buffer(scene.step, 0, &a, &b), 0);
    assert_int_equal(seqsync_kv_wait(scene.step, 0, scene.own, &c, &d), 0);
    assert_ptr_equal(a, c);
    assert_ptr_equal(b, d);

    assert_int_equal(seqsync_return_buffer(scene.step, 1, &a, &b), SEQSYNC_ERR_INVALID);
    assert_contains(seqsync_session_error(scene.session), "forward only");
    assert_int_equal(seqsync_return_publish(scene.step, 0), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_return_wait(scene.step, 0, &c, &d), SEQSYNC_ERR_INVALID);
    /* Asked for twice, handed in once: the commit above counts it once. */
    assert_int_equal(seqsync_return_buffer(scene.step, 0, &a, &b), 0);
    assert_int_equal(seqsync_return_buffer(scene.step, 0, &a, &b), 0);
    assert_int_equal(seqsync_return_publish(scene.step, 0), 0);
    assert_int_equal(seqsync_return_publish(scene.step, 0), SEQSYNC_ERR_DUPLICATE);
    assert_int_equal(seqsync_return_buffer(scene.step, 0, &a, &b), SEQSYNC_ERR_DUPLICATE);

    assert_int_equal(seqsync_gradient_wait(scene.step, 0, &c, NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_gradient_contribute(scene.step, 2, 1), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_gradient_contribute(scene.step, 0, -1), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_gradient_contribute(scene.step, 0, 0), 0);
    assert_int_equal(seqsync_gradient_contribute(scene.step, 0, 0), SEQSYNC_ERR_DUPLICATE);
    assert_contains(seqsync_session_error(scene.session), "bucket 0 of step 1");

    assert_int_equal(seqsync_step_commit(scene.step, &wrong, NULL), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_step_commit(scene.step, NULL, NULL), 0);
    assert_int_equal(seqsync_kv_publish(scene.step, 1), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_step_commit(scene.step, NULL, NULL), SEQSYNC_ERR_INVALID);
    /* Everything is open again in the next step. */
    scene_begin(&scene);
    assert_int_equal(seqsync_step_number(scene.step), 2);
    assert_int_equal(seqsync_kv_publish(scene.step, 0), 0);
    assert_int_equal(seqsync_gradient_contribute(scene.step, 0, 0), 0);
    scene_stop(&scene);
}

static void a_batch_beyond_the_limits_is_refused_here(void **state)
{
    (void)state;
    struct scene scene;
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    struct seqsync_step *step;
    const int64_t none = 0;

    scene_start(&scene, script_register, FAKE_TIMEOUT_MS);
    batch_of(&batch, &sequence, 1, &none, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_AUTO);
    assert_int_equal(seqsync_step_begin(scene.session, &batch, &step), SEQSYNC_ERR_INVALID);
    assert_contains(seqsync_session_error(scene.session), "tokens");
    scene_stop(&scene);
}

/* ---- deadlines ---- */

#define SHORT_MS 400

static int wait_keys(struct scene *scene)
{
    const float *k, *v;

    return seqsync_kv_wait(scene->step, 2, scene->far, &k, &v);
}

static int wait_returns(struct scene *scene)
{
    const float *k, *v;
    float *dk, *dv;

    assert_int_equal(seqsync_return_buffer(scene->step, 0, &dk, &dv), 0);
    assert_int_equal(seqsync_return_publish(scene->step, 0), 0);
    return seqsync_return_wait(scene->step, 0, &k, &v);
}

/* The slot of exchange 0 is that of exchange 2, and its sums have not been taken. */
static int wait_slot(struct scene *scene)
{
    float *dk, *dv;

    assert_int_equal(seqsync_return_buffer(scene->step, 0, &dk, &dv), 0);
    assert_int_equal(seqsync_return_publish(scene->step, 0), 0);
    return seqsync_return_buffer(scene->step, 2, &dk, &dv);
}

static int wait_gradient(struct scene *scene)
{
    const float *mean;

    assert_int_equal(seqsync_gradient_contribute(scene->step, 1, 5), 0);
    return seqsync_gradient_wait(scene->step, 1, &mean, NULL);
}

static int wait_commit(struct scene *scene)
{
    return seqsync_step_commit(scene->step, NULL, NULL);
}

static const struct {
    const char *name;
    int (*wait)(struct scene *scene);
    const char *says[3];
} waits[] = {
    {"keys", wait_keys, {"keys of rank 1 on node 1", "exchange 2", "step 1"}},
    {"returns", wait_returns, {"returns for rank 0", "exchange 0", "step 1"}},
    {"slot", wait_slot, {"sums of returns", "exchange 0", "step 1"}},
    {"gradient", wait_gradient, {"bucket 1", "step 1", "rank 0"}},
};

static void a_wait_ends_at_the_deadline_and_says_for_what(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        struct scene scene;
        scene_start(&scene, script_begin, SHORT_MS);
        scene_begin(&scene);
        const uint64_t start = now_ms();
        const int r = waits[i].wait(&scene);
        const uint64_t took = now_ms() - start;
        if (r != SEQSYNC_ERR_TIMEOUT || took < SHORT_MS || took > 5000) {
            fail_msg("%s: %s after %d ms", waits[i].name, seqsync_status_name(r), (int)took);
        }
        for (int s = 0; s < 3; s++) {
            assert_contains(seqsync_session_error(scene.session), waits[i].says[s]);
        }
        assert_int_equal(seqsync_kv_publish(scene.step, 0), SEQSYNC_ERR_TIMEOUT);
        scene_stop(&scene);
    }
}

/* Lets all ranks meet before the parameters, and then sends none. */
static void script_meet(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_barrier(worker)) {
        while (fake_receive(worker)) {
        }
    }
}

static void parameters_that_never_come_are_named(void **state)
{
    (void)state;
    struct scene scene;
    float a[3], b[1];
    float *const values[2] = {a, b};

    scene_start(&scene, script_meet, SHORT_MS);
    assert_int_equal(seqsync_parameter_pull(scene.session, 2, values), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_parameter_pull(scene.session, 1, values), SEQSYNC_ERR_TIMEOUT);
    assert_contains(seqsync_session_error(scene.session), "parameters of bucket 0 from rank 1");
    scene_stop(&scene);
}

static void a_commit_that_never_comes_ends_too(void **state)
{
    (void)state;
    struct scene scene;

    scene_start(&scene, script_begin, SHORT_MS);
    scene_begin(&scene);
    assert_int_equal(wait_commit(&scene), SEQSYNC_ERR_TIMEOUT);
    assert_contains(seqsync_session_error(scene.session), "commit a step");
    scene_stop(&scene);
}

/* ---- failures in mid-wait ---- */

/* Whatever the worker waits for, it hears that rank 1 died. */
static void script_fail(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_begin(worker, 1)) {
        fake_send_failure(worker, 0, SEQSYNC_ERR_WORKER_LOST, "rank 1 was killed by signal 9");
        fake_raise(worker->fake->page.data + worker->fake->page_layout.state,
                   (uint32_t)SEQSYNC_ERR_WORKER_LOST);
        read_to_the_end(worker);
    }
}

/* As above, but only the word is there: the message is lost with the connection's buffer. */
static void script_fail_by_word(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_begin(worker, 1)) {
        fake_raise(worker->fake->page.data + worker->fake->page_layout.state,
                   (uint32_t)SEQSYNC_ERR_PEER_LOST);
        read_to_the_end(worker);
    }
}

static void script_end(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker)) {
        (void)fake_begin(worker, 1);
    }
}

/* Says something that nobody asked for. */
static void script_babble(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_register(worker) && fake_begin(worker, 1)) {
        fake_welcome(worker);
        read_to_the_end(worker);
    }
}

static const struct {
    fake_script *script;
    int status;
    const char *says;
} ends[] = {
    {script_fail, SEQSYNC_ERR_WORKER_LOST, "rank 1 was killed by signal 9 (on node-a); look there"},
    {script_fail_by_word, SEQSYNC_ERR_PEER_LOST, "the job has failed"},
    {script_end, SEQSYNC_ERR_DAEMON_LOST, "closed the connection"},
    {script_babble, SEQSYNC_ERR_PROTOCOL, "nobody asked for"},
};

/* D24: who waits hears of a failure at once, not at the deadline. */
static void a_wait_ends_with_the_job(void **state)
{
    (void)state;
    for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
        for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
            struct scene scene;
            scene_start(&scene, ends[e].script, FAKE_TIMEOUT_MS);
            scene_begin(&scene);
            const uint64_t start = now_ms();
            int r = waits[i].wait(&scene);
            if (r != ends[e].status || now_ms() - start > FAKE_TIMEOUT_MS / 4) {
                fail_msg("%s, end %zu: %s: %s", waits[i].name, e, seqsync_status_name(r),
                         seqsync_session_error(scene.session));
            }
            assert_contains(seqsync_session_error(scene.session), ends[e].says);
            r = wait_commit(&scene);
            assert_int_equal(r, ends[e].status);
            scene_stop(&scene);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_refuses_what_is_out_of_order),
        cmocka_unit_test(a_batch_beyond_the_limits_is_refused_here),
        cmocka_unit_test(a_wait_ends_at_the_deadline_and_says_for_what),
        cmocka_unit_test(parameters_that_never_come_are_named),
        cmocka_unit_test(a_commit_that_never_comes_ends_too),
        cmocka_unit_test(a_wait_ends_with_the_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
