/*
 * An engine fed with what a hostile worker, a confused peer or an unlucky io can say, in any order:
 * whatever io has not ruled out must end a job at most, never the engine. Random, but repeated by
 * its seed.
 */
#include "daemon/core/engine.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 6
#define EVENTS 4000
#define PENDING_MAX 256

static const char *const node_names[] = {"node-a", "node-b"};
static const char *const job_names[] = {"one", "two", "three"};

struct hostile {
    struct engine *engine;
    uint64_t random;
    uint64_t now_ns;
    uint64_t last_job;
    struct event pending[PENDING_MAX]; /* answers of io, in no order */
    uint32_t pending_count;
    struct entry entries[8];
    uint32_t entry_count;
    uint32_t formed;
    uint32_t committed;
    uint64_t payload[2048];
    struct {
        uint32_t stage; /* 0 = has not joined; then as far as the last reply */
        uint32_t at;    /* of a step's calls */
        uint64_t step;
        bool asked;
    } workers[WORKERS];
};

static uint32_t draw(struct hostile *h, uint32_t below)
{
    h->random = h->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((h->random >> 33) % below);
}

/* Mostly small, now and then absurd. */
static uint64_t draw_number(struct hostile *h)
{
    return draw(h, 20) == 0 ? UINT64_MAX - draw(h, 3) : draw(h, 4);
}

/* One rank here and one on the other node: each needs the other. */
static const struct step_send sends[] = {{0, 1}};
static const struct step_receive receives[] = {{1}};
static const uint32_t rank_0[] = {0};
static const uint32_t node_1[] = {1};
static const struct step_return returns[] = {{.holder = 0, .node_count = 1, .nodes = node_1},
                                             {.holder = 1, .rank_count = 1, .ranks = rank_0}};
static const int64_t tokens[] = {2, 2};
static const struct step_shape shape = {.spaces = {{.sends = sends,
                                                    .receives = receives,
                                                    .returns = returns,
                                                    .send_count = 1,
                                                    .receive_count = 1,
                                                    .return_count = 2}},
                                        .local_tokens = tokens,
                                        .local_area = tokens,
                                        .plan_digest = 1};
/* For a job with all ranks here. */
static const struct step_shape narrow = {
    .local_tokens = tokens, .local_area = tokens, .plan_digest = 1};

static void take_reply(struct hostile *h, const struct action *action)
{
    const uint32_t worker = action->reply.worker;

    h->workers[worker].asked = false;
    switch (action->reply.kind) {
    case REPLY_WELCOME:
        h->workers[worker].stage = 1;
        h->workers[worker].step = 0;
        return;
    case REPLY_REGISTERED:
        h->workers[worker].stage = 2;
        return;
    case REPLY_STEP_START:
        h->workers[worker].stage = 3;
        h->workers[worker].at = 0;
        return;
    case REPLY_COMMITTED:
        h->workers[worker].stage = 2;
        h->workers[worker].step++;
        h->committed++;
        return;
    default:
        return;
    }
}

static void take_action(struct hostile *h, const struct action *action)
{
    struct event answer = {.kind = EVENT_TICK};

    switch (action->kind) {
    case ACTION_PROPOSE:
        assert_true(h->entry_count < 8);
        h->entries[h->entry_count++] = *action->entry;
        return;
    case ACTION_ADMIT:
        answer = (struct event){.kind = EVENT_ADMITTED, .admitted = {.job = action->job.job}};
        break;
    case ACTION_PLAN:
        answer = (struct event){.kind = EVENT_PLANNED,
                                .planned = {.job = action->job.job, .step = action->job.step}};
        break;
    case ACTION_SUM:
        answer = (struct event){.kind = EVENT_SUMMED,
                                .summed = {.job = action->sum.job,
                                           .step = action->sum.step,
                                           .kind = action->sum.kind,
                                           .id = action->sum.id,
                                           .part = action->sum.part,
                                           .rank = -1}};
        break;
    case ACTION_CLOSE:
        h->workers[action->close.worker].stage = 0;
        h->workers[action->close.worker].asked = false;
        return;
    case ACTION_REPLY:
        take_reply(h, action);
        if (action->reply.kind == REPLY_FAILURE) {
            assert_true(action->reply.end->text[0] != '\0');
            assert_true(action->reply.end->code < 0);
        }
        return;
    default:
        return;
    }
    if (h->pending_count < PENDING_MAX) {
        h->pending[h->pending_count++] = answer;
    }
}

static void feed(struct hostile *h, struct event event)
{
    struct actions actions;

    event.now_ns = h->now_ns;
    engine_step(h->engine, &event, &actions);
    for (uint32_t i = 0; i < actions.count; i++) {
        take_action(h, &actions.items[i]);
    }
    while (h->entry_count > 0) {
        struct entry entry = h->entries[--h->entry_count];
        if (entry.kind == ENTRY_JOB_FORMED) {
            h->last_job = entry.job;
            h->formed++;
        }
        feed(h, (struct event){.kind = EVENT_COMMITTED, .entry = &entry});
    }
}

static bool job_is_wide(struct hostile *h, uint64_t job)
{
    struct job_view views[32];
    const uint32_t count = engine_jobs(h->engine, views, 32);

    for (uint32_t i = 0; i < count; i++) {
        if (views[i].id == job) {
            return views[i].world_size == 2 && views[i].ranks[0].node != views[i].ranks[1].node &&
                   views[i].ranks[0].node == 0;
        }
    }
    return false;
}

static void feed_answer(struct hostile *h)
{
    if (h->pending_count == 0) {
        return;
    }
    const uint32_t i = draw(h, h->pending_count);
    struct event event = h->pending[i];
    h->pending[i] = h->pending[--h->pending_count];
    if (event.kind == EVENT_PLANNED) {
        event.planned.shape = job_is_wide(h, event.planned.job) ? &shape : &narrow;
        event.planned.error = NULL;
    }
    if (event.kind == EVENT_SUMMED) {
        event.summed.nonfinite = draw(h, 50) == 0;
        event.summed.rank = event.summed.nonfinite ? (int32_t)draw(h, 3) - 1 : -1;
    }
    feed(h, event);
    if (draw(h, 10) == 0) {
        feed(h, event); /* io would not, but a late copy must not harm */
    }
}

static void feed_register(struct hostile *h, uint32_t worker, uint64_t digest)
{
    static const uint8_t spaces[] = {0, 1}, forward[] = {0, 1};
    static const uint8_t roles[] = {SEQSYNC_PARTIAL, SEQSYNC_REPLICATED};

    feed(h, (struct event){.kind = EVENT_WORKER_REGISTER,
                           .reg = {.worker = worker,
                                   .digest = digest,
                                   .exchange_count = 2,
                                   .bucket_count = 2,
                                   .exchange_spaces = spaces,
                                   .exchange_forward_only = forward,
                                   .bucket_roles = roles}});
}

/* The calls of a step that goes well, one by one. */
static void feed_step_call(struct hostile *h, uint32_t worker)
{
    static const struct {
        enum ready_kind kind;
        uint32_t id;
    } calls[] = {
        {READY_KV, 0}, {READY_KV, 1}, {READY_RETURN, 0}, {READY_GRADIENT, 0}, {READY_GRADIENT, 1}};
    const uint32_t at = h->workers[worker].at++;
    const uint64_t step = h->workers[worker].step + 1;

    if (at < sizeof(calls) / sizeof(calls[0])) {
        feed(h, (struct event){.kind = EVENT_WORKER_READY,
                               .ready = {.worker = worker,
                                         .kind = calls[at].kind,
                                         .id = calls[at].id,
                                         .sequence = step,
                                         .count = 3}});
        return;
    }
    h->workers[worker].asked = true;
    feed(h, (struct event){
                .kind = EVENT_WORKER_COMMIT,
                .commit = {.worker = worker, .step = step, .area = -1, .report = {.tokens = 2}}});
}

/* What a worker that keeps the rules does next: two are a job, the others are one each. */
static void feed_sound_worker(struct hostile *h)
{
    const uint32_t worker = draw(h, 3);

    if (h->workers[worker].asked) {
        return;
    }
    h->workers[worker].asked = h->workers[worker].stage != 3;
    switch (h->workers[worker].stage) {
    case 0:
        feed(h, (struct event){.kind = EVENT_WORKER_HELLO,
                               .hello = {.worker = worker,
                                         .job = job_names[worker / 2],
                                         .rank = worker % 2,
                                         .world_size = worker < 2 ? 2 : 1}});
        return;
    case 1:
        feed_register(h, worker, 0);
        return;
    case 2:
        feed(h, (struct event){.kind = EVENT_WORKER_BEGIN,
                               .begin = {.worker = worker, .step = h->workers[worker].step + 1}});
        return;
    default:
        feed_step_call(h, worker);
    }
}

static void feed_worker(struct hostile *h)
{
    const uint32_t worker = draw(h, WORKERS);
    const uint32_t world = 1 + draw(h, 2);

    switch (draw(h, 16)) {
    case 0:
    case 1:
        feed(h, (struct event){.kind = EVENT_WORKER_HELLO,
                               .hello = {.worker = worker,
                                         .job = job_names[draw(h, 3)],
                                         .rank = draw(h, world),
                                         .world_size = world}});
        return;
    case 2:
    case 3:
        feed_register(h, worker, draw(h, 30) == 0);
        return;
    case 4:
    case 5:
    case 6:
        feed(h, (struct event){
                    .kind = EVENT_WORKER_BEGIN,
                    .begin = {.worker = worker,
                              .step = draw(h, 8) == 0 ? draw_number(h) : 1 + h->committed % 2,
                              .digest = draw(h, 40) == 0}});
        return;
    case 7:
    case 8:
    case 9:
        feed(h, (struct event){.kind = EVENT_WORKER_READY,
                               .ready = {.worker = worker,
                                         .kind = (enum ready_kind)draw(h, 6),
                                         .id = (uint32_t)draw_number(h),
                                         .sequence = draw_number(h),
                                         .count = (int64_t)draw_number(h),
                                         .root = draw(h, 2)}});
        return;
    case 10:
        feed(h, (struct event){.kind = EVENT_WORKER_REDUCE,
                               .reduce = {.worker = worker,
                                          .sequence = draw_number(h),
                                          .dtype = draw(h, 5),
                                          .op = draw(h, 5),
                                          .bytes = 8 * draw(h, 3),
                                          .values = h->payload}});
        return;
    case 11:
    case 12:
        feed(h, (struct event){.kind = EVENT_WORKER_COMMIT,
                               .commit = {.worker = worker,
                                          .step = 1 + draw_number(h),
                                          .area = draw(h, 10) == 0 ? 3 : -1,
                                          .report = {.tokens = draw(h, 10) == 0 ? 3 : 2}}});
        return;
    case 13:
        feed(h, (struct event){.kind = EVENT_WORKER_LEAVE, .worker = {.worker = worker}});
        return;
    default:
        feed(h, (struct event){.kind = EVENT_WORKER_LOST,
                               .worker = {.worker = worker,
                                          .code = SEQSYNC_ERR_WORKER_LOST,
                                          .text = "killed by signal 9"}});
    }
}

/* What a peer may say after io has checked its ranges. */
static void feed_message(struct hostile *h)
{
    struct message message = {.kind = (enum message_kind)(1 + draw(h, 4)),
                              .job = draw(h, 6) == 0 ? draw_number(h) : h->last_job,
                              .generation = draw(h, 6) == 0 ? draw_number(h) : h->formed};

    switch (message.kind) {
    case MESSAGE_JOIN:
        message.generation = 0;
        message.join.world_size = 1 + draw(h, 2);
        message.join.rank = draw(h, message.join.world_size);
        message.join.leave = draw(h, 3) == 0;
        snprintf(message.join.job, sizeof(message.join.job), "%s", job_names[draw(h, 3)]);
        break;
    case MESSAGE_GATHER:
        message.gather =
            (struct message_gather){.kind = (enum gather_kind)(1 + draw(h, 6)),
                                    .sequence = draw(h, 4) == 0 ? draw_number(h) : 1,
                                    .member = draw(h, 8) == 0 ? draw(h, 1024) : 1,
                                    .digest = draw(h, 20) == 0 ? draw_number(h) : (draw(h, 2) == 0),
                                    .dtype = draw(h, 4),
                                    .op = draw(h, 4),
                                    .payload_bytes = draw(h, 2) == 0 ? 0 : 8 * draw(h, 8),
                                    .payload = h->payload};
        break;
    case MESSAGE_AGREED:
        message.agreed = (struct message_agreed){.kind = (enum gather_kind)(1 + draw(h, 6)),
                                                 .sequence = draw_number(h)};
        break;
    case MESSAGE_FAIL:
        message.generation = draw(h, 2) == 0 ? 0 : message.generation;
        message.fail = (struct job_end){.code = -(int32_t)draw(h, 27),
                                        .rank = (int32_t)draw(h, 1024) - 1,
                                        .node = (int32_t)draw(h, 64) - 1,
                                        .text = "it says so"};
        break;
    }
    feed(h, (struct event){.kind = EVENT_MESSAGE, .message = {1, &message}});
}

static void feed_transfer(struct hostile *h)
{
    feed(h, (struct event){.kind = EVENT_RECEIVED,
                           .received = {.job = h->last_job,
                                        .step = draw(h, 3) == 0 ? draw_number(h) : 1,
                                        .kind = (enum transfer_kind)(1 + draw(h, 5)),
                                        .id = (uint32_t)draw_number(h),
                                        .part = (uint32_t)draw_number(h),
                                        .node = draw(h, 10) == 0 ? 0 : 1,
                                        .count = (int64_t)draw_number(h)}});
}

static void feed_peer(struct hostile *h)
{
    static const enum event_kind kinds[] = {EVENT_PEER_UP, EVENT_PEER_HEARD, EVENT_PEER_HEARD,
                                            EVENT_PEER_LOST};

    feed(h, (struct event){.kind = kinds[draw(h, 4)], .peer = {.node = 1, .text = "reset"}});
}

static void feed_tick(struct hostile *h)
{
    const uint64_t deadline = engine_deadline_ns(h->engine);

    if (deadline != UINT64_MAX && deadline > h->now_ns && draw(h, 4) == 0) {
        h->now_ns = deadline;
    }
    feed(h, (struct event){.kind = EVENT_TICK});
}

static void feed_noise(struct hostile *h)
{
    switch (draw(h, 8)) {
    case 0:
    case 1:
    case 2:
        feed_worker(h);
        return;
    case 3:
    case 4:
        feed_message(h);
        return;
    case 5:
        feed_transfer(h);
        return;
    case 6:
        feed_peer(h);
        return;
    default:
        feed_tick(h);
    }
}

static void run(struct hostile *h, uint64_t seed)
{
    /* In a thousand events: from a quiet cluster to nothing but nonsense. */
    static const uint32_t noises[] = {5, 30, 200, 800};
    const struct engine_config config = {.node = 0, /* it conducts: most can be said to it */
                                         .node_count = 2,
                                         .node_names = node_names,
                                         .join_timeout_ns = 50000,
                                         .step_timeout_ns = 20000,
                                         .peer_silence_ns = 9000,
                                         .ping_interval_ns = 2000};

    memset(h, 0, sizeof(*h));
    h->random = seed;
    assert_int_equal(engine_new(&config, 0, &h->engine), 0);
    feed(h, (struct event){.kind = EVENT_PEER_UP, .peer = {.node = 1, .text = ""}});
    for (uint32_t i = 0; i < EVENTS; i++) {
        h->now_ns += draw(h, 20);
        if (draw(h, 1000) < noises[seed % 4]) {
            feed_noise(h);
        } else if (draw(h, 3) == 0) {
            feed_answer(h);
        } else {
            feed_sound_worker(h);
        }
    }
    h->engine = engine_free(h->engine);
}

static void no_event_harms_the_engine(void **state)
{
    struct hostile *h = malloc(sizeof(*h));
    uint32_t formed = 0, committed = 0;

    (void)state;
    assert_non_null(h);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run(h, seed);
        formed += h->formed;
        committed += h->committed;
    }
    free(h);
    /* The noise must reach deep, or it proves nothing. */
    assert_true(formed > 1000);
    assert_true(committed > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_event_harms_the_engine),
    };

    return cmocka_run_group_tests_name("engine_hostile", tests, NULL, NULL);
}
