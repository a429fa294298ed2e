/* Joining: from where a worker knows who it is, and what it is told when it cannot join. */
#include "test_lib_fixture.h"

#include <fcntl.h>
#include <seqsync/collective.h>
#include <seqsync/exchange.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const variables[] = {
    "SEQSYNC_SOCKET",       "SEQSYNC_JOB",  "SEQSYNC_RANK", "SEQSYNC_WORLD_SIZE",
    "SEQSYNC_TIMEOUT_MS",   "SEQSYNC_LOG",  "RANK",         "WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",  "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID",
    "SLURM_STEP_ID",        "PMI_RANK",     "PMI_SIZE",     "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
};

static int environment_clear(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        unsetenv(variables[i]);
    }
    return 0;
}

/* "NAME=VALUE NAME=VALUE" */
static void environment_set(const char *words)
{
    char copy[512], *save = NULL;

    environment_clear(NULL);
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        *value = '\0';
        setenv(word, value + 1, 1);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' does not say '%s'", text, part);
    }
}

/* ---- who am I ---- */

struct hello_seen {
    uint32_t rank, world_size, nonfinite;
    char job[SEQSYNC_NAME_MAX + 1], version[32];
};

/* Notes the Hello and refuses, so that any rank and world size will do. */
static void script_note_hello(struct fake_worker *worker)
{
    struct hello_seen *seen = worker->fake->ctx;
    const Seqsync__Worker__Hello *hello = worker->message->hello;

    seen->rank = hello->rank;
    seen->world_size = hello->world_size;
    seen->nonfinite = hello->nonfinite;
    snprintf(seen->job, sizeof(seen->job), "%s", hello->job);
    snprintf(seen->version, sizeof(seen->version), "%s", hello->version);
    fake_send_failure(worker, worker->message->request, SEQSYNC_ERR_SHUTDOWN, "going down");
}

static const struct {
    const char *environment;
    uint32_t rank, world_size;
    const char *job;
} launchers[] = {
    {"A=b", 0, 1, "default"},
    {"SEQSYNC_RANK=1 SEQSYNC_WORLD_SIZE=3 SEQSYNC_JOB=mine", 1, 3, "mine"},
    {"RANK=2 WORLD_SIZE=4 TORCHELASTIC_RUN_ID=run-7", 2, 4, "run-7"},
    {"SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_JOB_ID=12 SLURM_STEP_ID=3", 1, 2, "12.3"},
    {"OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4", 3, 4, "default"},
    {"PMI_RANK=0 PMI_SIZE=2", 0, 2, "default"},
    /* The first of them wins, each for what it knows. */
    {"SEQSYNC_RANK=1 SEQSYNC_WORLD_SIZE=2 RANK=0 WORLD_SIZE=4", 1, 2, "default"},
    {"RANK=3 WORLD_SIZE=4 SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_JOB_ID=9 SLURM_STEP_ID=0", 3, 4,
     "9.0"},
    {"SLURM_PROCID=1 SLURM_NTASKS=4 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4", 1, 4,
     "default"},
    {"OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 PMI_RANK=0 PMI_SIZE=4", 2, 4, "default"},
    {"SEQSYNC_JOB= TORCHELASTIC_RUN_ID=run", 0, 1, "run"},
};

static void launchers_are_asked_in_their_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++) {
        struct fake fake;
        struct seqsync_session *session;
        struct hello_seen seen = {0};
        fake_prepare(&fake, FAKE_RANKS_MAX, 1, script_note_hello);
        fake.any_rank = true;
        fake.ctx = &seen;
        fake_listen(&fake);
        environment_set(launchers[i].environment);
        setenv("SEQSYNC_SOCKET", fake.path, 1);
        const int r = seqsync_session_open(NULL, &session);
        assert_int_equal(r, SEQSYNC_ERR_SHUTDOWN);
        seqsync_session_close(session);
        fake_stop(&fake);
        assert_int_equal(seen.rank, launchers[i].rank);
        assert_int_equal(seen.world_size, launchers[i].world_size);
        assert_string_equal(seen.job, launchers[i].job);
        assert_string_equal(seen.version, "0.1.0");
    }
}

static void options_win_over_the_environment(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session *session;
    struct seqsync_session_options options;
    struct hello_seen seen = {0};

    fake_prepare(&fake, 3, 1, script_note_hello);
    fake.any_rank = true;
    fake.ctx = &seen;
    fake_listen(&fake);
    /* None of this is looked at, so none of it need make sense. */
    environment_set("SEQSYNC_SOCKET=/nowhere SEQSYNC_RANK=x SEQSYNC_WORLD_SIZE=1 SEQSYNC_JOB=other "
                    "SEQSYNC_TIMEOUT_MS=soon");
    fake_options(&fake, 2, &options);
    options.nonfinite = SEQSYNC_NONFINITE_SKIP;
    assert_int_equal(seqsync_session_open(&options, &session), SEQSYNC_ERR_SHUTDOWN);
    seqsync_session_close(session);
    fake_stop(&fake);
    assert_int_equal(seen.rank, 2);
    assert_int_equal(seen.world_size, 3);
    assert_int_equal(seen.nonfinite, SEQSYNC_NONFINITE_SKIP);
    assert_string_equal(seen.job, "test");
}

static void an_unusable_environment_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *environment;
        const char *names;
    } cases[] = {
        {"SEQSYNC_RANK=1", "SEQSYNC_WORLD_SIZE"},
        {"SEQSYNC_RANK=2 SEQSYNC_WORLD_SIZE=2", "SEQSYNC_RANK"},
        {"RANK=-1 WORLD_SIZE=2", "RANK"},
        {"RANK=1x WORLD_SIZE=2", "RANK"},
        {"RANK= WORLD_SIZE=2", "RANK"},
        {"RANK=0 WORLD_SIZE=99999999999999999999", "WORLD_SIZE"},
        {"SLURM_PROCID=0", "SLURM_NTASKS"},
        {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=0", "OMPI_COMM_WORLD_SIZE"},
        {"PMI_RANK=0 PMI_SIZE=4096", "PMI_SIZE"},
        {"SEQSYNC_TIMEOUT_MS=soon", "SEQSYNC_TIMEOUT_MS"},
        {"SEQSYNC_TIMEOUT_MS=0", "SEQSYNC_TIMEOUT_MS"},
        {"SEQSYNC_JOB=../x", "../x"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seqsync_session *session;
        environment_set(cases[i].environment);
        assert_int_equal(seqsync_session_open(NULL, &session), SEQSYNC_ERR_CONFIG);
        assert_contains(seqsync_session_error(session), cases[i].names);
        seqsync_session_close(session);
    }
}

static void impossible_options_are_refused(void **state)
{
    (void)state;
    struct seqsync_session_options good, bad;
    struct seqsync_session *session;
    char path[200];

    seqsync_session_options_init(&good);
    bad = good;
    bad.size = 8;
    assert_int_equal(seqsync_session_open(&bad, &session), SEQSYNC_ERR_INVALID);
    seqsync_session_close(session);
    bad = good;
    bad.rank = 3;
    bad.world_size = 3;
    assert_int_equal(seqsync_session_open(&bad, &session), SEQSYNC_ERR_INVALID);
    seqsync_session_close(session);
    bad = good;
    bad.nonfinite = 9;
    assert_int_equal(seqsync_session_open(&bad, &session), SEQSYNC_ERR_INVALID);
    assert_contains(seqsync_session_error(session), "nonfinite");
    seqsync_session_close(session);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    bad = good;
    bad.socket_path = path;
    assert_int_equal(seqsync_session_open(&bad, &session), SEQSYNC_ERR_CONFIG);
    seqsync_session_close(session);
}

/* ---- no daemon ---- */

static void a_missing_daemon_is_named_with_what_to_do(void **state)
{
    (void)state;
    struct seqsync_session_options options;
    struct seqsync_session *session;

    seqsync_session_options_init(&options);
    options.socket_path = "/nonexistent/seqsync.sock";
    assert_int_equal(seqsync_session_open(&options, &session), SEQSYNC_ERR_UNREACHABLE);
    assert_contains(seqsync_session_error(session), "/nonexistent/seqsync.sock");
    assert_contains(seqsync_session_error(session), "No such file");
    assert_contains(seqsync_session_error(session), "systemctl status seqsyncd");
    seqsync_session_close(session);
}

/* D33: a stopped daemon accepts nobody, and its queue of callers is full. */
static void connecting_ends_at_the_deadline(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int callers[8], count = 0, r = 0;

    fake_start(&fake, 1, 0, NULL);
    memcpy(address.sun_path, fake.path, strlen(fake.path) + 1);
    while (count < 8 && r == 0) {
        callers[count] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        r = connect(callers[count++], (struct sockaddr *)(void *)&address, sizeof(address));
    }
    assert_int_equal(r, -1);
    fake_options(&fake, 0, &options);
    options.timeout_ms = 500;
    const uint64_t start = now_ms();
    assert_int_equal(seqsync_session_open(&options, &session), SEQSYNC_ERR_TIMEOUT);
    assert_true(now_ms() - start < 5000);
    assert_contains(seqsync_session_error(session), fake.path);
    seqsync_session_close(session);
    while (count > 0) {
        close(callers[--count]);
    }
    fake_stop(&fake);
}

static void script_be_silent(struct fake_worker *worker)
{
    (void)fake_receive(worker); /* until the other end is closed */
}

static void a_job_that_never_forms_ends_at_the_deadline(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;

    fake_start(&fake, 2, 1, script_be_silent);
    fake_options(&fake, 0, &options);
    options.timeout_ms = 500;
    assert_int_equal(seqsync_session_open(&options, &session), SEQSYNC_ERR_TIMEOUT);
    assert_contains(seqsync_session_error(session), "all ranks have joined");
    assert_contains(seqsync_session_error(session), fake.path);
    assert_int_equal(seqsync_barrier(session), SEQSYNC_ERR_TIMEOUT);
    seqsync_session_close(session);
    fake_stop(&fake);
}

/* ---- joined ---- */

static void script_welcome(struct fake_worker *worker)
{
    fake_welcome(worker);
    while (fake_receive(worker)) {
    }
}

static void script_expect_leave(struct fake_worker *worker)
{
    fake_welcome(worker);
    (void)fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE);
}

static void a_session_knows_its_place_and_says_good_bye(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    const uint32_t before = open_descriptors();

    fake_start(&fake, 3, 1, script_expect_leave);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    assert_int_equal(seqsync_session_rank(session), 0);
    assert_int_equal(seqsync_session_world_size(session), 3);
    assert_int_equal(seqsync_session_node(session), 0);
    assert_int_equal(seqsync_session_node_count(session), 2);
    assert_int_equal(seqsync_session_local_rank(session), 0);
    assert_int_equal(seqsync_session_generation(session), 7);
    assert_string_equal(seqsync_session_error(session), "");
    assert_null(seqsync_session_close(session));
    fake_stop(&fake);
    assert_int_equal(open_descriptors(), before);
}

static void calls_out_of_order_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct seqsync_step *step;
    struct seqsync_buffer *buffer;
    struct seqsync_sequence sequence;
    struct seqsync_batch batch;
    const int64_t tokens = 4;
    const struct seqsync_bucket_shape sharded = {.elements = 4, .role = SEQSYNC_SHARDED};
    double values[2049];

    fake_start(&fake, 1, 1, script_welcome);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    batch_of(&batch, &sequence, 1, &tokens, SEQSYNC_MASK_FULL, SEQSYNC_PLACE_AUTO);
    assert_int_equal(seqsync_step_begin(session, &batch, &step), SEQSYNC_ERR_INVALID);
    assert_contains(seqsync_session_error(session), "register");
    assert_int_equal(seqsync_session_register(session, NULL, 0, &sharded, 1), SEQSYNC_ERR_INVALID);
    assert_contains(seqsync_session_error(session), "role");
    assert_null(seqsync_session_close(NULL));
    assert_int_equal(seqsync_buffer_create(session, 0, &buffer), SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_all_reduce(session, values, 2049, SEQSYNC_F64, SEQSYNC_SUM),
                     SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_all_reduce(session, values, SIZE_MAX, SEQSYNC_F32, SEQSYNC_SUM),
                     SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_all_reduce(session, values, 1, (enum seqsync_dtype)9, SEQSYNC_SUM),
                     SEQSYNC_ERR_INVALID);
    assert_int_equal(seqsync_all_reduce(session, values, 1, SEQSYNC_F64, (enum seqsync_op)0),
                     SEQSYNC_ERR_INVALID);
    seqsync_session_close(session);
    fake_stop(&fake);
}

/* ---- small collectives and buffers ---- */

/* Answers as many collectives as the test says; then only a good-bye may come. */
static void script_reduce(struct fake_worker *worker)
{
    const uint64_t count = *(const uint64_t *)worker->fake->ctx;

    fake_welcome(worker);
    for (uint64_t sequence = 1; sequence <= count; sequence++) {
        daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
        Seqsync__Worker__Reduced reduced = SEQSYNC__WORKER__REDUCED__INIT;
        float values[2] = {10, 20};
        if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE)) {
            return;
        }
        const Seqsync__Worker__Reduce *reduce = worker->message->reduce;
        const size_t bytes = sequence == 2 ? 0 : sizeof(values);
        if (reduce->sequence != sequence || reduce->values.len != bytes) {
            fake_problem(worker->fake, "collective %llu of %zu bytes",
                         (unsigned long long)reduce->sequence, reduce->values.len);
        }
        if (bytes > 0 && (reduce->dtype != SEQSYNC_F32 || reduce->op != SEQSYNC_MAX)) {
            fake_problem(worker->fake, "another type or operation");
        }
        reduced.values = (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)values};
        message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED;
        message.reduced = &reduced;
        fake_send(worker, &message, NULL, 0);
    }
    (void)fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE);
}

static void collectives_are_counted_and_answered_in_place(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    float values[2] = {1, 2};

    fake_prepare(&fake, 1, 1, script_reduce);
    uint64_t count = 3;
    fake.ctx = &count;
    fake_listen(&fake);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    assert_int_equal(seqsync_all_reduce(session, values, 2, SEQSYNC_F32, SEQSYNC_MAX), 0);
    assert_true(values[0] == 10 && values[1] == 20);
    assert_int_equal(seqsync_barrier(session), 0);
    assert_int_equal(seqsync_all_reduce(session, values, 2, SEQSYNC_F32, SEQSYNC_MAX), 0);
    seqsync_session_close(session);
    fake_stop(&fake);
}

static void script_lend(struct fake_worker *worker)
{
    struct fake_segment segment;
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Buffer buffer = SEQSYNC__WORKER__BUFFER__INIT;
    Seqsync__Worker__Freed freed = SEQSYNC__WORKER__FREED__INIT;

    fake_welcome(worker);
    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE)) {
        return;
    }
    fake_send_failure(worker, worker->message->request, SEQSYNC_ERR_NO_CAPACITY,
                      "the quota is full");
    for (int i = 0; i < 2; i++) {
        if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE)) {
            return;
        }
        fake_segment_make(&segment, 4096, F_SEAL_SHRINK | F_SEAL_GROW);
        buffer.buffer = (uint32_t)i + 5;
        buffer.bytes = segment.bytes;
        message.request = 0;
        message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_BUFFER;
        message.buffer = &buffer;
        fake_send(worker, &message, &segment.fd, 1);
        fake_segment_free(&segment);
    }
    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_FREE)) {
        return;
    }
    if (worker->message->buffer_free->buffer != 5) {
        fake_problem(worker->fake, "another buffer is freed");
    }
    message.request = 0;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FREED;
    message.freed = &freed;
    fake_send(worker, &message, NULL, 0);
    (void)fake_receive(worker);
}

static void buffers_are_lent_and_a_refusal_ends_nothing(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct seqsync_session_counters counters;
    struct seqsync_buffer *buffer, *forgotten;
    const uint32_t before = open_descriptors();

    fake_start(&fake, 1, 1, script_lend);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    assert_int_equal(seqsync_buffer_create(session, 1000, &buffer), SEQSYNC_ERR_NO_CAPACITY);
    assert_contains(seqsync_session_error(session), "the quota is full");
    assert_contains(seqsync_session_error(session), "look there");
    assert_int_equal(seqsync_buffer_create(session, 1000, &buffer), 0);
    assert_int_equal(seqsync_buffer_create(session, 4096, &forgotten), 0);
    assert_int_equal(seqsync_buffer_size(buffer), 1000);
    assert_int_equal((uintptr_t)seqsync_buffer_data(buffer) % 64, 0);
    memset(seqsync_buffer_data(buffer), 1, 1000);
    seqsync_session_counters(session, &counters);
    assert_int_equal(counters.shared_bytes, 1000 + 4096);
    assert_null(seqsync_buffer_free(buffer));
    seqsync_session_close(session);
    fake_stop(&fake);
    assert_int_equal(open_descriptors(), before);
}

/* The end of the job, said just when a buffer is asked for, is no refusal of the buffer. */
static void script_fail_at_buffer(struct fake_worker *worker)
{
    fake_welcome(worker);
    if (fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE)) {
        fake_send_failure(worker, worker->message->request, SEQSYNC_ERR_WORKER_LOST,
                          "rank 1 was killed by signal 9");
    }
}

static void the_first_error_stays(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct seqsync_buffer *buffer;

    fake_start(&fake, 2, 1, script_fail_at_buffer);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    assert_int_equal(seqsync_buffer_create(session, 8, &buffer), SEQSYNC_ERR_WORKER_LOST);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(seqsync_barrier(session), SEQSYNC_ERR_WORKER_LOST);
        assert_string_equal(seqsync_session_error(session),
                            "rank 1 was killed by signal 9 (on node-a); look there");
    }
    seqsync_session_close(session);
    fake_stop(&fake);
}

/* ---- a process that may open no more ---- */

/* The limit falls just before the answer comes, which brings three descriptors. */
static void script_use_up(struct fake_worker *worker)
{
    struct rlimit limit;
    daemon_message message;
    Seqsync__Worker__Registered body;
    int fds[3];

    fake_welcome(worker);
    if (!fake_take_register(worker) || getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    fake_registered_init(worker, &message, &body, fds);
    limit.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &limit);
    fake_send(worker, &message, fds, 3);
    (void)fake_receive(worker);
}

static void a_process_without_free_descriptors_is_told_so(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    struct rlimit limit;
    char text[512];

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    fake_start(&fake, 1, 1, script_use_up);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    const int r = seqsync_session_register(session, NULL, 0, NULL, 0);
    setrlimit(RLIMIT_NOFILE, &limit);
    snprintf(text, sizeof(text), "%s", seqsync_session_error(session));
    seqsync_session_close(session);
    fake_stop(&fake);
    assert_int_equal(r, SEQSYNC_ERR_NO_MEMORY);
    assert_contains(text, "ulimit -n");
}

/* ---- fork ---- */

static void a_child_cannot_use_or_end_its_parents_session(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;
    float values[2] = {1, 2};
    int status;

    fake_prepare(&fake, 1, 1, script_reduce);
    uint64_t count = 1;
    fake.ctx = &count;
    fake_listen(&fake);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const bool refused = seqsync_barrier(session) == SEQSYNC_ERR_INVALID &&
                             strstr(seqsync_session_error(session), "fork") != NULL;
        seqsync_session_close(session);
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* A Leave of the child would be what the daemon reads here instead. */
    assert_string_equal(seqsync_session_error(session), "");
    assert_int_equal(seqsync_all_reduce(session, values, 2, SEQSYNC_F32, SEQSYNC_MAX), 0);
    seqsync_session_close(session);
    fake_stop(&fake);
}

/* Whoever writes to a daemon that went away gets an answer, not SIGPIPE. */
static void script_hang_up(struct fake_worker *worker)
{
    fake_welcome(worker);
    shutdown(worker->fd, SHUT_RDWR);
    fake_meet(worker->fake);
}

static void a_daemon_that_went_away_is_lost(void **state)
{
    (void)state;
    struct fake fake;
    struct seqsync_session_options options;
    struct seqsync_session *session;

    signal(SIGPIPE, SIG_DFL);
    fake_start(&fake, 1, 1, script_hang_up);
    fake_options(&fake, 0, &options);
    assert_int_equal(seqsync_session_open(&options, &session), 0);
    fake_await_meetings(&fake, 1);
    assert_int_equal(seqsync_barrier(session), SEQSYNC_ERR_DAEMON_LOST);
    assert_contains(seqsync_session_error(session), fake.path);
    assert_int_equal(seqsync_barrier(session), SEQSYNC_ERR_DAEMON_LOST);
    seqsync_session_close(session);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(launchers_are_asked_in_their_order, environment_clear),
        cmocka_unit_test_setup(options_win_over_the_environment, environment_clear),
        cmocka_unit_test_setup(an_unusable_environment_is_named, environment_clear),
        cmocka_unit_test_setup(impossible_options_are_refused, environment_clear),
        cmocka_unit_test_setup(a_missing_daemon_is_named_with_what_to_do, environment_clear),
        cmocka_unit_test_setup(connecting_ends_at_the_deadline, environment_clear),
        cmocka_unit_test_setup(a_job_that_never_forms_ends_at_the_deadline, environment_clear),
        cmocka_unit_test_setup(a_session_knows_its_place_and_says_good_bye, environment_clear),
        cmocka_unit_test_setup(calls_out_of_order_are_refused_and_change_nothing,
                               environment_clear),
        cmocka_unit_test_setup(collectives_are_counted_and_answered_in_place, environment_clear),
        cmocka_unit_test_setup(buffers_are_lent_and_a_refusal_ends_nothing, environment_clear),
        cmocka_unit_test_setup(the_first_error_stays, environment_clear),
        cmocka_unit_test_setup(a_process_without_free_descriptors_is_told_so, environment_clear),
        cmocka_unit_test_setup(a_child_cannot_use_or_end_its_parents_session, environment_clear),
        cmocka_unit_test_setup(a_daemon_that_went_away_is_lost, environment_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
