#include "test_lib_fixture.h"

#include "proto/batch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 30000 /* of the fake itself: the test is broken if it lasts */

void fake_problem(struct fake *fake, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&fake->lock);
    if (fake->problem[0] == '\0') {
        va_start(args, format);
        vsnprintf(fake->problem, sizeof(fake->problem), format, args);
        va_end(args);
    }
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

/* ---- memory ---- */

void fake_segment_make(struct fake_segment *segment, size_t bytes, int seals)
{
    char path[64];

    *segment = (struct fake_segment){
        .fd = memfd_create("seqsync-test", MFD_CLOEXEC | MFD_ALLOW_SEALING), .bytes = bytes};
    if (segment->fd < 0 || ftruncate(segment->fd, (off_t)bytes) != 0 ||
        fcntl(segment->fd, F_ADD_SEALS, seals) != 0) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", segment->fd);
    segment->read_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (bytes > 0) {
        void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, 0);
        if (data == MAP_FAILED || segment->read_fd < 0) {
            abort();
        }
        segment->data = data;
    }
}

static void sealed_make(struct fake_segment *segment, size_t bytes)
{
    fake_segment_make(segment, bytes, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

void fake_segment_free(struct fake_segment *segment)
{
    if (segment->data != NULL) {
        munmap(segment->data, segment->bytes);
    }
    if (segment->fd >= 0) {
        close(segment->fd);
        close(segment->read_fd);
    }
    *segment = (struct fake_segment){.fd = -1, .read_fd = -1};
}

void fake_raise(uint8_t *word, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)word, value, memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- messages ---- */

bool fake_receive(struct fake_worker *worker)
{
    struct pollfd ready = {.fd = worker->fd, .events = POLLIN};
    worker_message *message;

    if (poll(&ready, 1, PATIENCE_MS) != 1) {
        fake_problem(worker->fake, "rank %u says nothing", worker->rank);
        return false;
    }
    const ssize_t length = recv(worker->fd, worker->in, sizeof(worker->in), 0);
    if (length <= 0) {
        return false;
    }
    const char *why = frame_decode_worker(worker->memory, worker->in, (size_t)length, &message);
    if (why != NULL) {
        fake_problem(worker->fake, "rank %u sent what makes no sense: %s", worker->rank, why);
        return false;
    }
    worker->message = message;
    return true;
}

bool fake_expect(struct fake_worker *worker, Seqsync__Worker__WorkerMessage__BodyCase body)
{
    if (!fake_receive(worker)) {
        return false;
    }
    if (worker->message->body_case != body) {
        fake_problem(worker->fake, "rank %u sent body %d, not %d", worker->rank,
                     (int)worker->message->body_case, (int)body);
        return false;
    }
    return true;
}

bool fake_expect_ready(struct fake_worker *worker, Seqsync__Worker__ReadyKind kind, uint32_t id)
{
    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY)) {
        return false;
    }
    const Seqsync__Worker__Ready *ready = worker->message->ready;
    if (ready->kind != kind || ready->id != id || worker->message->request != 0) {
        fake_problem(worker->fake, "rank %u is ready with kind %d, id %u; not %d, %u", worker->rank,
                     (int)ready->kind, ready->id, (int)kind, id);
        return false;
    }
    return true;
}

void fake_send_bytes(struct fake_worker *worker, const void *bytes, size_t length, const int *fds,
                     uint32_t count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 128)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    }
    if (sendmsg(worker->fd, &header, MSG_NOSIGNAL) != (ssize_t)length && errno != EPIPE) {
        fake_problem(worker->fake, "cannot send to rank %u: %s", worker->rank, strerror(errno));
    }
}

void fake_send(struct fake_worker *worker, daemon_message *message, const int *fds, uint32_t count)
{
    uint8_t bytes[WIRE_WORKER_FRAME_MAX];

    if (message->request == 0 && worker->message != NULL) {
        message->request = worker->message->request;
    }
    fake_send_bytes(worker, bytes, frame_encode(&message->base, bytes, sizeof(bytes)), fds, count);
}

void fake_send_failure(struct fake_worker *worker, uint64_t request, int32_t code, const char *text)
{
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Failure failure = SEQSYNC__WORKER__FAILURE__INIT;
    uint8_t bytes[WIRE_WORKER_FRAME_MAX];

    failure.code = code;
    failure.rank = -1;
    failure.node = (char *)(uintptr_t) "node-a";
    failure.text = (char *)(uintptr_t)text;
    failure.hint = (char *)(uintptr_t) "look there";
    message.request = request;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE;
    message.failure = &failure;
    fake_send_bytes(worker, bytes, frame_encode(&message.base, bytes, sizeof(bytes)), NULL, 0);
}

void fake_meet(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    const uint32_t meeting = fake->meetings;
    fake->arrived++;
    if (fake->arrived == fake->locals) {
        fake->arrived = 0;
        fake->meetings++;
        pthread_cond_broadcast(&fake->changed);
    }
    while (fake->meetings == meeting && fake->problem[0] == '\0') {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    pthread_mutex_unlock(&fake->lock);
}

void fake_await_meetings(struct fake *fake, uint32_t count)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->meetings < count && fake->problem[0] == '\0') {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    pthread_mutex_unlock(&fake->lock);
}

/* ---- honest answers ---- */

void fake_welcome(struct fake_worker *worker)
{
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Welcome welcome = SEQSYNC__WORKER__WELCOME__INIT;

    welcome.job = 1;
    welcome.generation = 7;
    welcome.node_count = worker->fake->ranks > worker->fake->locals ? 2 : 1;
    welcome.local_rank = worker->rank;
    welcome.local_count = worker->fake->locals;
    welcome.node_name = (char *)(uintptr_t) "node-a";
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_WELCOME;
    message.welcome = &welcome;
    fake_send(worker, &message, NULL, 0);
}

static void schema_take(struct fake *fake, const Seqsync__Worker__Register *from)
{
    for (size_t i = 0; i < from->n_exchanges; i++) {
        fake->exchanges[i] =
            (struct seqsync_exchange_shape){.space = from->exchanges[i]->space,
                                            .heads_kv = (int32_t)from->exchanges[i]->heads_kv,
                                            .head_dim = (int32_t)from->exchanges[i]->head_dim,
                                            .forward_only = from->exchanges[i]->forward_only};
    }
    for (size_t i = 0; i < from->n_buckets; i++) {
        fake->buckets[i] = (struct seqsync_bucket_shape){.elements = from->buckets[i]->elements,
                                                         .role = from->buckets[i]->role};
    }
    fake->schema = (struct arena_schema){.exchanges = fake->exchanges,
                                         .buckets = fake->buckets,
                                         .exchange_count = (uint32_t)from->n_exchanges,
                                         .bucket_count = (uint32_t)from->n_buckets,
                                         .world_size = fake->ranks,
                                         .local_count = fake->locals};
}

bool fake_take_register(struct fake_worker *worker)
{
    struct fake *fake = worker->fake;
    size_t bytes = 0;

    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REGISTER)) {
        return false;
    }
    if (worker->rank == 0) {
        schema_take(fake, worker->message->register_);
        if (!arena_page_layout(&fake->schema, &fake->page_layout) ||
            !arena_bucket_offset(&fake->schema, fake->schema.bucket_count, &bytes)) {
            fake_problem(fake, "the schema is too large");
        }
        sealed_make(&fake->page, fake->page_layout.bytes);
        sealed_make(&fake->result, bytes);
    }
    fake_meet(fake);
    sealed_make(&worker->gradient, fake->result.bytes);
    return true;
}

void fake_registered_init(const struct fake_worker *worker, daemon_message *message,
                          Seqsync__Worker__Registered *body, int fds[3])
{
    seqsync__worker__daemon_message__init(message);
    seqsync__worker__registered__init(body);
    body->page_bytes = worker->fake->page.bytes;
    body->gradient_bytes = worker->gradient.bytes;
    body->result_bytes = worker->fake->result.bytes;
    fds[0] = worker->fake->page.read_fd;
    fds[1] = worker->gradient.fd;
    fds[2] = worker->fake->result.read_fd;
    message->body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REGISTERED;
    message->registered = body;
}

bool fake_register(struct fake_worker *worker)
{
    daemon_message message;
    Seqsync__Worker__Registered body;
    int fds[3];

    if (!fake_take_register(worker)) {
        return false;
    }
    fake_registered_init(worker, &message, &body, fds);
    fake_send(worker, &message, fds, 3);
    return true;
}

/* ---- steps ---- */

static void rows_of(const struct fake *fake, uint32_t rank, struct arena_rows *ret)
{
    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        ret->rows[s] = fake->plan->spaces[s].parts[rank].rows;
        ret->return_rows[s] = fake->plan->spaces[s].parts[rank].return_rows;
    }
}

static bool plan_make(struct fake *fake, const Seqsync__Worker__Begin *begin)
{
    static struct seqsync_sequence sequences[SEQSYNC_SEQUENCES_MAX];
    uint32_t nodes[FAKE_RANKS_MAX];
    struct seqsync_batch batch;
    const char *why = batch_decode(begin->batch.data, begin->batch.len, sequences, &batch);

    if (why != NULL) {
        fake_problem(fake, "the batch makes no sense: %s", why);
        return false;
    }
    for (uint32_t rank = 0; rank < fake->ranks; rank++) {
        nodes[rank] = rank < fake->locals ? 0 : 1;
    }
    const struct plan_input input = {
        .batch = &batch, .rank_nodes = nodes, .rank_count = fake->ranks, .node_count = 2};
    fake->plan = plan_free(fake->plan);
    if (plan_new(&input, 1, &fake->plan) != 0) {
        fake_problem(fake, "no plan");
        return false;
    }
    fake->plan->seed = batch.seed;
    return true;
}

static void inbox_make(struct fake *fake)
{
    int64_t inbox_rows[SEQSYNC_SPACES_N], rows[FAKE_RANKS_MAX][SEQSYNC_SPACES_N];

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        inbox_rows[s] = fake->plan->spaces[s].inbox_rows[0];
        for (uint32_t i = 0; i < fake->locals; i++) {
            rows[i][s] = fake->plan->spaces[s].parts[i].rows;
        }
    }
    if (!arena_inbox_layout(&fake->schema, inbox_rows, (const int64_t(*)[SEQSYNC_SPACES_N])rows,
                            &fake->inbox_layout)) {
        fake_problem(fake, "no layout of the inbox");
        return;
    }
    fake_segment_free(&fake->inbox);
    sealed_make(&fake->inbox, fake->inbox_layout.bytes);
}

bool fake_take_begin(struct fake_worker *worker)
{
    struct fake *fake = worker->fake;
    struct arena_rank *layout = &fake->rank_layouts[worker->rank];
    struct arena_rows rows;

    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BEGIN)) {
        return false;
    }
    if (fake->keep_memory && worker->message->begin->step > 1) {
        return true;
    }
    if (worker->rank == 0) {
        if (!plan_make(fake, worker->message->begin)) {
            return false;
        }
        inbox_make(fake);
    }
    fake_meet(fake);
    rows_of(fake, worker->rank, &rows);
    if (!arena_rank_layout(&fake->schema, &rows, layout)) {
        fake_problem(fake, "no layout of an arena");
        return false;
    }
    fake_segment_free(&worker->arena);
    sealed_make(&worker->arena, layout->bytes);
    fake_meet(fake);
    return true;
}

/* As job_part() of daemon/io puts it together. */
static void part_make(struct fake_worker *worker, uint64_t step, struct fake_segment *ret)
{
    const struct plan *plan = worker->fake->plan;
    int64_t rows[FAKE_RANKS_MAX][SEQSYNC_SPACES_N], return_rows[FAKE_RANKS_MAX][SEQSYNC_SPACES_N];
    uint32_t locals[FAKE_RANKS_MAX];
    struct part part = {.local_rows = (const int64_t(*)[SEQSYNC_SPACES_N])rows,
                        .local_return_rows = (const int64_t(*)[SEQSYNC_SPACES_N])return_rows,
                        .local_ranks = locals,
                        .sequence_ends = &plan->offsets[SEQSYNC_SPACE_TOKENS][1],
                        .local_count = worker->fake->locals,
                        .sequence_count = plan->sequence_count,
                        .rank = worker->rank,
                        .placement = plan->placement,
                        .seed = plan->seed,
                        .step = step,
                        .plan_digest = plan->digest};
    size_t bytes = 0;

    for (uint32_t s = 0; s < SEQSYNC_SPACES_N; s++) {
        const struct plan_part *from = &plan->spaces[s].parts[worker->rank];
        part.spaces[s] = (struct part_space){.chunks = from->chunks,
                                             .tiles = from->tiles,
                                             .sources = from->sources,
                                             .chunk_count = from->chunk_count,
                                             .tile_count = from->tile_count,
                                             .source_count = from->source_count,
                                             .rows = from->rows,
                                             .return_rows = from->return_rows,
                                             .inbox_rows = plan->spaces[s].inbox_rows[0],
                                             .total = plan->spaces[s].total,
                                             .area = from->area};
        for (uint32_t i = 0; i < worker->fake->locals; i++) {
            locals[i] = i;
            rows[i][s] = plan->spaces[s].parts[i].rows;
            return_rows[i][s] = plan->spaces[s].parts[i].return_rows;
        }
    }
    if (!part_bytes(&part, &bytes)) {
        fake_problem(worker->fake, "a part is too large");
    }
    sealed_make(ret, bytes);
    part_encode(&part, ret->data);
}

void fake_step_start_init(struct fake_worker *worker, uint64_t step, struct fake_segment *part,
                          daemon_message *message, Seqsync__Worker__StepStart *body,
                          uint64_t arena_bytes[FAKE_RANKS_MAX], int fds[FAKE_RANKS_MAX + 2])
{
    struct fake *fake = worker->fake;

    part_make(worker, step, part);
    seqsync__worker__daemon_message__init(message);
    seqsync__worker__step_start__init(body);
    body->step = step;
    body->part_bytes = part->bytes;
    body->new_arenas = true;
    body->inbox_bytes = fake->inbox.bytes;
    body->n_arena_bytes = fake->locals;
    body->arena_bytes = arena_bytes;
    fds[0] = part->read_fd;
    for (uint32_t i = 0; i < fake->locals; i++) {
        const struct fake_segment *arena = &fake->workers[i].arena;
        arena_bytes[i] = arena->bytes;
        fds[1 + i] = i == worker->rank ? arena->fd : arena->read_fd;
    }
    fds[1 + fake->locals] = fake->inbox.read_fd;
    message->body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_STEP_START;
    message->step_start = body;
}

bool fake_begin(struct fake_worker *worker, uint64_t step)
{
    daemon_message message;
    Seqsync__Worker__StepStart body;
    struct fake_segment part;
    uint64_t arena_bytes[FAKE_RANKS_MAX];
    int fds[FAKE_RANKS_MAX + 2];

    if (!fake_take_begin(worker)) {
        return false;
    }
    if (worker->message->begin->step != step) {
        fake_problem(worker->fake, "rank %u begins step %llu, not %llu", worker->rank,
                     (unsigned long long)worker->message->begin->step, (unsigned long long)step);
    }
    fake_step_start_init(worker, step, &part, &message, &body, arena_bytes, fds);
    body.new_arenas = !worker->fake->keep_memory || step == 1;
    fake_send(worker, &message, fds, body.new_arenas ? worker->fake->locals + 2 : 1);
    fake_segment_free(&part);
    return true;
}

bool fake_barrier(struct fake_worker *worker)
{
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Reduced reduced = SEQSYNC__WORKER__REDUCED__INIT;

    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE)) {
        return false;
    }
    if (worker->message->reduce->values.len != 0) {
        fake_problem(worker->fake, "rank %u reduces where a barrier is due", worker->rank);
        return false;
    }
    message.request = worker->message->request;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED;
    message.reduced = &reduced;
    fake_send(worker, &message, NULL, 0);
    return true;
}

bool fake_commit(struct fake_worker *worker, bool skip)
{
    daemon_message message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Committed committed = SEQSYNC__WORKER__COMMITTED__INIT;

    if (!fake_expect(worker, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT)) {
        return false;
    }
    committed.step = worker->message->commit->step;
    committed.skip = skip;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_COMMITTED;
    message.committed = &committed;
    fake_send(worker, &message, NULL, 0);
    return true;
}

/* ---- life ---- */

static void *worker_run(void *ctx)
{
    struct fake_worker *worker = ctx;

    worker->fake->script(worker);
    /* Who closes with unread data resets; the worker's end says that it has seen what was sent. */
    shutdown(worker->fd, SHUT_WR);
    return NULL;
}

/* Accepts the workers and gives each its thread; their Hello says who they are. */
static void *fake_run(void *ctx)
{
    struct fake *fake = ctx;
    uint32_t count = 0;

    while (count < fake->locals) {
        struct pollfd ready = {.fd = fake->listen_fd, .events = POLLIN};
        struct fake_worker first = {.fake = fake, .rank = UINT32_MAX};
        if (poll(&ready, 1, PATIENCE_MS) != 1) {
            fake_problem(fake, "only %u of %u workers came", count, fake->locals);
            break;
        }
        first.fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (first.fd < 0) {
            break; /* the test is over */
        }
        first.memory = frame_memory_new();
        const bool said = fake_expect(&first, SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO);
        const uint32_t rank = said && !fake->any_rank ? first.message->hello->rank : 0;
        if (!said || rank >= fake->locals || fake->workers[rank].fd >= 0) {
            fake_problem(fake, "a worker that was not awaited");
            close(first.fd);
            frame_memory_free(first.memory);
            break;
        }
        struct fake_worker *worker = &fake->workers[rank];
        worker->fd = first.fd;
        worker->memory = first.memory;
        worker->message = first.message;
        pthread_create(&worker->thread, NULL, worker_run, worker);
        count++;
    }
    return NULL;
}

void fake_prepare(struct fake *fake, uint32_t ranks, uint32_t locals, fake_script *script)
{
    memset(fake, 0, sizeof(*fake));
    fake->ranks = ranks;
    fake->locals = locals;
    fake->script = script;
    fake->page.fd = fake->result.fd = fake->inbox.fd = -1;
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    for (uint32_t i = 0; i < FAKE_RANKS_MAX; i++) {
        fake->workers[i].fake = fake;
        fake->workers[i].fd = fake->workers[i].gradient.fd = fake->workers[i].arena.fd = -1;
        fake->workers[i].rank = i;
    }
}

void fake_listen(struct fake *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(fake->folder, sizeof(fake->folder), "/tmp/seqsync-lib-XXXXXX");
    assert_non_null(mkdtemp(fake->folder));
    snprintf(fake->path, sizeof(fake->path), "%s/socket", fake->folder);
    memcpy(address.sun_path, fake->path, strlen(fake->path) + 1);
    fake->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(fake->listen_fd >= 0);
    assert_int_equal(bind(fake->listen_fd, (struct sockaddr *)(void *)&address, sizeof(address)),
                     0);
    assert_int_equal(listen(fake->listen_fd, fake->script == NULL ? 0 : 8), 0);
    if (fake->script != NULL) {
        assert_int_equal(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
    }
}

void fake_start(struct fake *fake, uint32_t ranks, uint32_t locals, fake_script *script)
{
    fake_prepare(fake, ranks, locals, script);
    fake_listen(fake);
}

void fake_stop(struct fake *fake)
{
    char problem[sizeof(fake->problem)];

    shutdown(fake->listen_fd, SHUT_RDWR);
    if (fake->script != NULL) {
        pthread_join(fake->thread, NULL);
    }
    for (uint32_t i = 0; i < FAKE_RANKS_MAX; i++) {
        struct fake_worker *worker = &fake->workers[i];
        if (worker->fd >= 0) {
            pthread_join(worker->thread, NULL);
            close(worker->fd);
            frame_memory_free(worker->memory);
        }
        fake_segment_free(&worker->gradient);
        fake_segment_free(&worker->arena);
    }
    fake_segment_free(&fake->page);
    fake_segment_free(&fake->result);
    fake_segment_free(&fake->inbox);
    fake->plan = plan_free(fake->plan);
    close(fake->listen_fd);
    unlink(fake->path);
    rmdir(fake->folder);
    pthread_mutex_destroy(&fake->lock);
    pthread_cond_destroy(&fake->changed);
    memcpy(problem, fake->problem, sizeof(problem));
    if (problem[0] != '\0') {
        fail_msg("the fake daemon: %s", problem);
    }
}

void fake_options(const struct fake *fake, uint32_t rank, struct seqsync_session_options *ret)
{
    seqsync_session_options_init(ret);
    ret->socket_path = fake->path;
    ret->job = "test";
    ret->rank = (int32_t)rank;
    ret->world_size = (int32_t)fake->ranks;
    ret->timeout_ms = FAKE_TIMEOUT_MS;
}

bool run_must(struct fake_run *run, bool ok, const char *what)
{
    if (!ok && run->problem[0] == '\0') {
        snprintf(run->problem, sizeof(run->problem), "%s: %s", what,
                 seqsync_session_error(run->session));
    }
    return ok;
}

static void *run_thread(void *ctx)
{
    struct fake_run *run = ctx;
    struct seqsync_session_options options;

    fake_options(run->fake, run->rank, &options);
    if (run_must(run, seqsync_session_open(&options, &run->session) == 0, "open")) {
        run->work(run);
    }
    run->session = seqsync_session_close(run->session);
    return NULL;
}

void fake_work(struct fake *fake, void (*work)(struct fake_run *run), void *const *ctxs)
{
    struct fake_run runs[FAKE_RANKS_MAX];

    for (uint32_t i = 0; i < fake->locals; i++) {
        runs[i] = (struct fake_run){
            .fake = fake, .rank = i, .work = work, .ctx = ctxs != NULL ? ctxs[i] : NULL};
        assert_int_equal(pthread_create(&runs[i].thread, NULL, run_thread, &runs[i]), 0);
    }
    for (uint32_t i = 0; i < fake->locals; i++) {
        pthread_join(runs[i].thread, NULL);
    }
    for (uint32_t i = 0; i < fake->locals; i++) {
        if (runs[i].problem[0] != '\0') {
            fake_problem(fake, "rank %u: %.200s", i, runs[i].problem);
        }
    }
}

uint32_t open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint32_t count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

void batch_of(struct seqsync_batch *ret, struct seqsync_sequence *sequences, uint32_t count,
              const int64_t *tokens, enum seqsync_mask mask, enum seqsync_placement placement)
{
    memset(sequences, 0, count * sizeof(*sequences));
    for (uint32_t i = 0; i < count; i++) {
        sequences[i].tokens = tokens[i];
        sequences[i].mask = mask;
        sequences[i].sample_id = i;
    }
    *ret = (struct seqsync_batch){.size = sizeof(*ret),
                                  .sequences = sequences,
                                  .sequence_count = count,
                                  .placement = placement,
                                  .context_role = SEQSYNC_SHARDED,
                                  .seed = 42};
}
