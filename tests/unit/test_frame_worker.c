/* The session plane: each message at its limits and beyond them. */
#include "test_frame_fixture.h"

#include "proto/batch.h"

#include <math.h>
#include <seqsync/collective.h>
#include <seqsync/session.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One message of each kind; the fields of the union's names share nothing, so all may be set. */
struct worker {
    Seqsync__Worker__WorkerMessage message;
    Seqsync__Worker__Hello hello;
    Seqsync__Worker__Register reg;
    Seqsync__Worker__BufferCreate create;
    Seqsync__Worker__BufferFree buffer_free;
    Seqsync__Worker__Begin begin;
    Seqsync__Worker__Ready ready;
    Seqsync__Worker__Reduce reduce;
    Seqsync__Worker__Commit commit;
    Seqsync__Worker__Leave leave;
};

static char job_name[] = "job-1.a_B";
static char version[] = "0.1.0";

static void worker_init(struct worker *w)
{
    seqsync__worker__worker_message__init(&w->message);
    w->message.request = 7;
    seqsync__worker__hello__init(&w->hello);
    w->hello.protocol = WIRE_PROTOCOL;
    w->hello.version = version;
    w->hello.job = job_name;
    w->hello.world_size = SEQSYNC_RANKS_MAX;
    w->hello.rank = SEQSYNC_RANKS_MAX - 1;
    w->hello.nonfinite = SEQSYNC_NONFINITE_PASS;
    seqsync__worker__register__init(&w->reg);
    seqsync__worker__buffer_create__init(&w->create);
    w->create.bytes = 1;
    seqsync__worker__buffer_free__init(&w->buffer_free);
    seqsync__worker__begin__init(&w->begin);
    w->begin.step = 1;
    seqsync__worker__ready__init(&w->ready);
    w->ready.kind = SEQSYNC__WORKER__READY_KIND__READY_KV;
    w->ready.sequence = 1;
    seqsync__worker__reduce__init(&w->reduce);
    w->reduce.sequence = 1;
    seqsync__worker__commit__init(&w->commit);
    w->commit.step = 1;
    w->commit.area = -1;
    w->commit.loss = (double)NAN;
    seqsync__worker__leave__init(&w->leave);
}

static const ProtobufCMessage *as(struct worker *w, Seqsync__Worker__WorkerMessage__BodyCase body)
{
    w->message.body_case = body;
    switch (body) {
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO:
        w->message.hello = &w->hello;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REGISTER:
        w->message.register_ = &w->reg;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE:
        w->message.buffer_create = &w->create;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_FREE:
        w->message.buffer_free = &w->buffer_free;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BEGIN:
        w->message.begin = &w->begin;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY:
        w->message.ready = &w->ready;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE:
        w->message.reduce = &w->reduce;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT:
        w->message.commit = &w->commit;
        break;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE:
        w->message.leave = &w->leave;
        break;
    default:
        fail();
    }
    return &w->message.base;
}
#define WORKER(body) as(&w, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_##body)
#define WORKER_OK(body) fixture_expect_ok(f, PLANE_WORKER, WORKER(body))
#define WORKER_REFUSED(body, what) fixture_expect_refused(f, PLANE_WORKER, WORKER(body), what)

static void every_body_comes_through(void **state)
{
    struct fixture *f = *state;
    struct worker w;

    worker_init(&w);
    WORKER_OK(HELLO);
    WORKER_OK(REGISTER);
    WORKER_OK(BUFFER_CREATE);
    WORKER_OK(BUFFER_FREE);
    WORKER_OK(BEGIN);
    WORKER_OK(READY);
    WORKER_OK(REDUCE);
    WORKER_OK(COMMIT);
    WORKER_OK(LEAVE);
    w.message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY__NOT_SET;
    fixture_expect_refused(f, PLANE_WORKER, &w.message.base, "without a body");
}

static void hello_names_a_rank_of_a_job(void **state)
{
    struct fixture *f = *state;
    struct worker w;
    char longest[SEQSYNC_NAME_MAX + 2], longest_version[65];
    char *const bad_names[] = {"", ".a", "-a", "a b", "a/b", "a\n", "caf\xC3\xA9", longest};
    char *const bad_versions[] = {"a\x1B[2J",
                                  "a\xC2\x9B"
                                  "2J",
                                  "\xFF",
                                  "\xC0\x80",
                                  "\xED\xA0\x80",
                                  "\xF4\x90\x80\x80",
                                  "\xE2\x82",
                                  longest_version};

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memset(longest_version, '1', sizeof(longest_version) - 1);
    longest_version[sizeof(longest_version) - 1] = '\0';
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
        worker_init(&w);
        w.hello.job = bad_names[i];
        WORKER_REFUSED(HELLO, "job's name");
    }
    worker_init(&w);
    w.hello.job = longest + 1;
    WORKER_OK(HELLO);
    for (size_t i = 0; i < sizeof(bad_versions) / sizeof(bad_versions[0]); i++) {
        worker_init(&w);
        w.hello.version = bad_versions[i];
        WORKER_REFUSED(HELLO, "version");
    }
    worker_init(&w);
    w.hello.version = longest_version + 1;
    WORKER_OK(HELLO);
    w.hello.version = "1.0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\xA6";
    WORKER_OK(HELLO);
    w.hello.rank = SEQSYNC_RANKS_MAX;
    WORKER_REFUSED(HELLO, "rank");
    w.hello.rank = 0;
    w.hello.world_size = 0;
    WORKER_REFUSED(HELLO, "world size");
    w.hello.world_size = SEQSYNC_RANKS_MAX + 1;
    WORKER_REFUSED(HELLO, "world size");
    w.hello.world_size = 1;
    w.hello.nonfinite = SEQSYNC_NONFINITE_PASS + 1;
    WORKER_REFUSED(HELLO, "policy");
    /* Of another protocol nothing is judged but its texts: who speaks it is told so by name. */
    w.hello.protocol = WIRE_PROTOCOL + 1;
    w.hello.job = "";
    WORKER_OK(HELLO);
    w.hello.version = "\xFF";
    WORKER_REFUSED(HELLO, "version");
}

static void register_lists_shapes(void **state)
{
    struct fixture *f = *state;
    struct worker w;
    Seqsync__Worker__ExchangeShape shape = SEQSYNC__WORKER__EXCHANGE_SHAPE__INIT;
    Seqsync__Worker__BucketShape bucket = SEQSYNC__WORKER__BUCKET_SHAPE__INIT;
    Seqsync__Worker__ExchangeShape *shapes[SEQSYNC_EXCHANGES_MAX + 1];
    Seqsync__Worker__BucketShape *buckets[SEQSYNC_BUCKETS_MAX + 1];

    for (size_t i = 0; i <= SEQSYNC_EXCHANGES_MAX; i++) {
        shapes[i] = &shape;
    }
    for (size_t i = 0; i <= SEQSYNC_BUCKETS_MAX; i++) {
        buckets[i] = &bucket;
    }
    worker_init(&w);
    shape.space = 1;
    shape.heads_kv = shape.head_dim = 65536;
    shape.forward_only = 1;
    bucket.elements = UINT64_MAX;
    bucket.role = SEQSYNC_PARTIAL;
    w.reg.exchanges = shapes;
    w.reg.buckets = buckets;
    w.reg.n_exchanges = SEQSYNC_EXCHANGES_MAX;
    w.reg.n_buckets = SEQSYNC_BUCKETS_MAX;
    WORKER_OK(REGISTER); /* the most that may come, in one frame and one block of memory */
    w.reg.n_exchanges = SEQSYNC_EXCHANGES_MAX + 1;
    WORKER_REFUSED(REGISTER, "too many");
    w.reg.n_exchanges = 1;
    w.reg.n_buckets = SEQSYNC_BUCKETS_MAX + 1;
    WORKER_REFUSED(REGISTER, "too many");
    w.reg.n_buckets = 1;
    bucket.role = 0;
    WORKER_REFUSED(REGISTER, "role");
    bucket.role = 4;
    WORKER_REFUSED(REGISTER, "role");
    bucket.role = SEQSYNC_REPLICATED;
    shape.space = 2;
    WORKER_REFUSED(REGISTER, "exchange");
    shape.space = 0;
    shape.heads_kv = 0;
    WORKER_REFUSED(REGISTER, "exchange");
    shape.heads_kv = UINT32_MAX;
    WORKER_REFUSED(REGISTER, "exchange");
    shape.heads_kv = 1;
    shape.forward_only = 2;
    WORKER_REFUSED(REGISTER, "exchange");
}

static void amounts_are_limited(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[WIRE_WORKER_FRAME_MAX];
    struct worker w;

    worker_init(&w);
    w.begin.batch = (ProtobufCBinaryData){BATCH_BYTES_MAX, bytes};
    WORKER_OK(BEGIN);
    w.begin.batch.len++;
    WORKER_REFUSED(BEGIN, "batch");
    w.begin.batch.len = 0;
    w.begin.step = 0;
    WORKER_REFUSED(BEGIN, "step");
    w.create.bytes = 0;
    WORKER_REFUSED(BUFFER_CREATE, "size");
    w.create.bytes = UINT64_MAX;
    WORKER_REFUSED(BUFFER_CREATE, "size");
    w.commit.tokens = -1;
    WORKER_REFUSED(COMMIT, "negative");
    w.commit.tokens = 0;
    w.commit.area = -2;
    WORKER_REFUSED(COMMIT, "negative");
    w.commit.area = 0;
    w.commit.step = 0;
    WORKER_REFUSED(COMMIT, "step");
}

static void ready_says_what(void **state)
{
    struct fixture *f = *state;
    struct worker w;

    for (uint32_t kind = 0; kind < 8; kind++) {
        worker_init(&w);
        w.ready.kind = (Seqsync__Worker__ReadyKind)kind;
        w.ready.id = 255;
        w.ready.root = SEQSYNC_RANKS_MAX - 1;
        w.ready.count = INT64_MAX;
        if (kind < 1 || kind > 4) {
            WORKER_REFUSED(READY, "kind");
            continue;
        }
        WORKER_OK(READY);
        w.ready.id = 256;
        WORKER_REFUSED(READY, "id");
        w.ready.id = 0;
        w.ready.count = -1;
        WORKER_REFUSED(READY, "count");
        w.ready.count = 0;
        w.ready.root = SEQSYNC_RANKS_MAX;
        WORKER_REFUSED(READY, "root");
        w.ready.root = 0;
        w.ready.sequence = 0;
        WORKER_REFUSED(READY, "sequence");
    }
}

static void reduce_brings_whole_values(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[SEQSYNC_ALL_REDUCE_BYTES_MAX + 8];
    struct worker w;

    worker_init(&w);
    WORKER_OK(REDUCE); /* a barrier */
    w.reduce.dtype = SEQSYNC_F32;
    WORKER_REFUSED(REDUCE, "type or operation");
    w.reduce.op = SEQSYNC_MAX;
    w.reduce.values = (ProtobufCBinaryData){SEQSYNC_ALL_REDUCE_BYTES_MAX, bytes};
    WORKER_OK(REDUCE);
    w.reduce.values.len += 4;
    WORKER_REFUSED(REDUCE, "too many values");
    w.reduce.values.len = 6;
    WORKER_REFUSED(REDUCE, "whole values");
    w.reduce.values.len = 12;
    WORKER_OK(REDUCE);
    w.reduce.dtype = SEQSYNC_I64;
    WORKER_REFUSED(REDUCE, "whole values");
    w.reduce.dtype = 4;
    WORKER_REFUSED(REDUCE, "type or operation");
    w.reduce.dtype = SEQSYNC_F64;
    w.reduce.op = 4;
    WORKER_REFUSED(REDUCE, "type or operation");
    w.reduce.op = SEQSYNC_SUM;
    w.reduce.values.len = 16;
    w.reduce.sequence = 0;
    WORKER_REFUSED(REDUCE, "sequence");
}

/* ---- what a daemon sends ---- */

#define DAEMON(NAME, field, value)                                                                 \
    (d.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_##NAME, d.field = (value), &d.base)
#define DAEMON_OK(NAME, field, value) fixture_expect_ok(f, PLANE_DAEMON, DAEMON(NAME, field, value))
#define DAEMON_REFUSED(NAME, field, value, what)                                                   \
    fixture_expect_refused(f, PLANE_DAEMON, DAEMON(NAME, field, value), what)

static void welcome_places_a_rank(void **state)
{
    struct fixture *f = *state;
    Seqsync__Worker__DaemonMessage d = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Welcome welcome = SEQSYNC__WORKER__WELCOME__INIT;

    welcome.node_name = job_name;
    welcome.node = 63;
    welcome.node_count = SEQSYNC_NODES_MAX;
    welcome.local_rank = 63;
    welcome.local_count = SEQSYNC_LOCAL_RANKS_MAX;
    DAEMON_OK(WELCOME, welcome, &welcome);
    welcome.node = 64;
    DAEMON_REFUSED(WELCOME, welcome, &welcome, "nodes");
    welcome.node_count = 65;
    DAEMON_REFUSED(WELCOME, welcome, &welcome, "nodes");
    welcome.node = welcome.node_count = 0;
    DAEMON_REFUSED(WELCOME, welcome, &welcome, "nodes");
    welcome.node_count = 1;
    welcome.local_rank = 64;
    DAEMON_REFUSED(WELCOME, welcome, &welcome, "local ranks");
    welcome.local_count = 65;
    DAEMON_REFUSED(WELCOME, welcome, &welcome, "local ranks");
    welcome.local_rank = 0;
    welcome.local_count = 1;
    welcome.node_name = "a b";
    DAEMON_REFUSED(WELCOME, welcome, &welcome, "name");
}

static void steps_results_and_failures_are_limited(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[SEQSYNC_ALL_REDUCE_BYTES_MAX + 1];
    static uint64_t arenas[SEQSYNC_LOCAL_RANKS_MAX + 1];
    Seqsync__Worker__DaemonMessage d = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__StepStart start = SEQSYNC__WORKER__STEP_START__INIT;
    Seqsync__Worker__Reduced reduced = SEQSYNC__WORKER__REDUCED__INIT;
    Seqsync__Worker__Failure failure = SEQSYNC__WORKER__FAILURE__INIT;
    Seqsync__Worker__Registered registered = SEQSYNC__WORKER__REGISTERED__INIT;
    Seqsync__Worker__Buffer buffer = SEQSYNC__WORKER__BUFFER__INIT;
    Seqsync__Worker__Committed committed = SEQSYNC__WORKER__COMMITTED__INIT;
    Seqsync__Worker__Freed freed = SEQSYNC__WORKER__FREED__INIT;

    DAEMON_OK(REGISTERED, registered, &registered);
    DAEMON_OK(BUFFER, buffer, &buffer);
    DAEMON_OK(COMMITTED, committed, &committed);
    DAEMON_OK(FREED, freed, &freed);
    start.step = start.part_bytes = 1;
    start.arena_bytes = arenas;
    start.n_arena_bytes = SEQSYNC_LOCAL_RANKS_MAX;
    DAEMON_OK(STEP_START, step_start, &start);
    start.n_arena_bytes++;
    DAEMON_REFUSED(STEP_START, step_start, &start, "arenas");
    start.n_arena_bytes = 0;
    DAEMON_REFUSED(STEP_START, step_start, &start, "arenas");
    start.n_arena_bytes = 1;
    start.part_bytes = 0;
    DAEMON_REFUSED(STEP_START, step_start, &start, "part");
    reduced.values = (ProtobufCBinaryData){SEQSYNC_ALL_REDUCE_BYTES_MAX, bytes};
    DAEMON_OK(REDUCED, reduced, &reduced);
    reduced.values.len++;
    DAEMON_REFUSED(REDUCED, reduced, &reduced, "too many");
    failure.code = SEQSYNC_STATUS_LAST;
    failure.rank = -1;
    DAEMON_OK(FAILURE, failure, &failure);
    failure.code--;
    DAEMON_REFUSED(FAILURE, failure, &failure, "code");
    failure.code = 0;
    DAEMON_REFUSED(FAILURE, failure, &failure, "code");
    failure.code = -1;
    failure.rank = -2;
    DAEMON_REFUSED(FAILURE, failure, &failure, "rank");
    failure.rank = SEQSYNC_RANKS_MAX;
    DAEMON_REFUSED(FAILURE, failure, &failure, "rank");
    failure.rank = 0;
    char text[WIRE_TEXT_MAX + 1] = {0};
    memset(text, 'x', WIRE_TEXT_MAX);
    failure.text = text + 1;
    DAEMON_OK(FAILURE, failure, &failure);
    failure.hint = text;
    DAEMON_REFUSED(FAILURE, failure, &failure, "text");
    d.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY__NOT_SET;
    d.request = 1;
    fixture_expect_refused(f, PLANE_DAEMON, &d.base, "without a body");
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_body_comes_through), TEST(hello_names_a_rank_of_a_job),
        TEST(register_lists_shapes),    TEST(amounts_are_limited),
        TEST(ready_says_what),          TEST(reduce_brings_whole_values),
        TEST(welcome_places_a_rank),    TEST(steps_results_and_failures_are_limited),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
