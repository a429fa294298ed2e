/* Workers: their messages become events, the engine's replies become messages with file
 * descriptors. */
#include "daemon/base/err.h"
#include "daemon/host/log.h"
#include "daemon/io/driver_private.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct driver_worker *driver_worker_find(struct driver *driver, uint32_t handle)
{
    for (uint32_t i = 0; i < DRIVER_WORKERS_MAX; i++) {
        if (driver->workers[i].used && driver->workers[i].handle == handle) {
            return &driver->workers[i];
        }
    }
    return NULL;
}

static struct driver_worker *worker_add(struct driver *driver, uint32_t handle,
                                        const struct worker_peer *peer)
{
    for (uint32_t i = 0; i < DRIVER_WORKERS_MAX; i++) {
        struct driver_worker *worker = &driver->workers[i];
        if (!worker->used) {
            *worker = (struct driver_worker){.used = true,
                                             .handle = handle,
                                             .uid = (uint32_t)peer->uid,
                                             .pid = (int32_t)peer->pid};
            driver->worker_count++;
            return worker;
        }
    }
    return NULL;
}

static void buffer_free(struct driver *driver, struct driver_buffer *buffer)
{
    quota_release(&driver->quota, buffer->uid, buffer->segment.bytes);
    segment_deinit(&buffer->segment);
    free(buffer);
}

static void worker_remove(struct driver *driver, struct driver_worker *worker)
{
    for (struct driver_buffer *buffer = worker->buffers, *next; buffer != NULL; buffer = next) {
        next = buffer->next;
        buffer_free(driver, buffer);
    }
    *worker = (struct driver_worker){.used = false};
    driver->worker_count--;
}

void driver_worker_forget_job(struct driver *driver, const struct job *job)
{
    for (uint32_t i = 0; i < DRIVER_WORKERS_MAX; i++) {
        if (driver->workers[i].used && driver->workers[i].job == job) {
            driver->workers[i].job = NULL;
        }
    }
}

void driver_worker_drop(struct driver *driver, uint32_t handle)
{
    struct driver_worker *worker = driver_worker_find(driver, handle);

    worker_port_drop(driver->worker_port, handle);
    if (worker != NULL) {
        worker_remove(driver, worker);
    }
}

void driver_worker_close(struct driver *driver)
{
    for (uint32_t i = 0; i < DRIVER_WORKERS_MAX; i++) {
        if (driver->workers[i].used) {
            worker_remove(driver, &driver->workers[i]);
        }
    }
}

/* ---- answers ---- */

/* Afterwards the worker may be gone: what cannot be sent to ends the session, and the job hears
 * why. */
static void worker_send(struct driver *driver, struct driver_worker *worker,
                        Seqsync__Worker__DaemonMessage *message, const int *fds, uint32_t fd_count)
{
    const uint32_t handle = worker->handle;
    char how[128];

    message->request = worker->waiting ? worker->request : 0;
    worker->waiting = false;
    const int r = worker_port_send(driver->worker_port, handle, message, fds, fd_count);
    if (r >= 0) {
        return;
    }
    snprintf(how, sizeof(how), "its daemon cannot answer it: %s", strerror(-r));
    driver_worker_drop(driver, handle);
    driver_feed(
        driver,
        &(struct event){.kind = EVENT_WORKER_LOST,
                        .now_ns = driver_now(driver),
                        .worker = {.worker = handle, .code = SEQSYNC_ERR_NO_MEMORY, .text = how}});
}

static char *text_out(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void worker_send_failure(struct driver *driver, struct driver_worker *worker,
                                const struct job_end *end)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Failure failure = SEQSYNC__WORKER__FAILURE__INIT;

    failure.code = end->code != 0 ? end->code : SEQSYNC_ERR_JOB_FAILED;
    failure.node = text_out(end->node >= 0 && (uint32_t)end->node < driver->node_count
                                ? driver->names[end->node]
                                : driver->names[driver->node]);
    failure.rank = end->rank;
    failure.text = text_out(end->text);
    failure.hint = text_out(end->hint);
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE;
    message.failure = &failure;
    worker_send(driver, worker, &message, NULL, 0);
}

/* The worker broke the contract: it is told, its session ends, and its job learns why. */
static void worker_violation(struct driver *driver, struct driver_worker *worker, int32_t code,
                             const char *what)
{
    struct job_end end = {
        .code = code, .rank = (int32_t)worker->rank, .node = (int32_t)driver->node};
    const uint32_t handle = worker->handle;

    snprintf(end.text, sizeof(end.text), "%s", what);
    snprintf(end.hint, sizeof(end.hint), "fix the call that sent it");
    worker_send_failure(driver, worker, &end);
    if (driver_worker_find(driver, handle) == NULL) {
        return; /* it could not even be told; the job knows */
    }
    driver_worker_drop(driver, handle);
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_LOST,
                                        .now_ns = driver_now(driver),
                                        .worker = {.worker = handle, .code = code, .text = what}});
}

static void reply_welcome(struct driver *driver, struct driver_worker *worker, uint64_t id)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Welcome welcome = SEQSYNC__WORKER__WELCOME__INIT;
    struct job *job = driver_job(driver, id);

    if (job == NULL) {
        return; /* no memory for it: EVENT_JOB_BROKEN is on its way */
    }
    const int32_t local = job_local_index(job, worker->rank);
    assert(local >= 0);
    if (job->uid == UINT32_MAX) {
        job->uid = worker->uid;
    }
    if (job->uid != worker->uid) {
        worker_violation(driver, worker, SEQSYNC_ERR_NOT_PERMITTED,
                         "a job's workers on one node must be one user's");
        return;
    }
    worker->job = job;
    welcome.job = job->id;
    welcome.generation = job->generation;
    welcome.node = driver->node;
    welcome.node_count = driver->node_count;
    welcome.local_rank = (uint32_t)local;
    welcome.local_count = job->local_count;
    welcome.node_name = text_out(driver->names[driver->node]);
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_WELCOME;
    message.welcome = &welcome;
    worker_send(driver, worker, &message, NULL, 0);
}

static void reply_registered(struct driver *driver, struct driver_worker *worker)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Registered registered = SEQSYNC__WORKER__REGISTERED__INIT;
    const struct job *job = worker->job;
    const int32_t local = job_local_index(job, worker->rank);
    const int fds[3] = {job->page.read_fd, job->gradients[local].fd, job->result.read_fd};

    registered.page_bytes = job->page.bytes;
    registered.gradient_bytes = job->gradients[local].bytes;
    registered.result_bytes = job->result.bytes;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REGISTERED;
    message.registered = &registered;
    worker_send(driver, worker, &message, fds, 3);
}

static void reply_step_start(struct driver *driver, struct driver_worker *worker, uint64_t step)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__StepStart start = SEQSYNC__WORKER__STEP_START__INIT;
    const struct job *job = worker->job;
    const int32_t local = job_local_index(job, worker->rank);
    uint64_t arena_bytes[SEQSYNC_LOCAL_RANKS_MAX];
    int fds[WIRE_FDS_MAX];
    uint32_t n = 0;
    struct segment part;
    size_t bytes;

    if (job_part(job, (uint32_t)local, &part, &bytes) < 0) {
        worker_violation(driver, worker, SEQSYNC_ERR_NO_MEMORY,
                         "no memory for this rank's part of the plan");
        return;
    }
    fds[n++] = part.read_fd;
    start.step = step;
    start.part_bytes = bytes;
    start.new_arenas = worker->memory_version != job->memory_version;
    start.inbox_bytes = job->step_memory.inbox.bytes;
    start.n_arena_bytes = job->local_count;
    start.arena_bytes = arena_bytes;
    for (uint32_t i = 0; i < job->local_count; i++) {
        const struct segment *arena = &job->step_memory.arenas[i];
        arena_bytes[i] = arena->bytes;
        if (start.new_arenas) {
            fds[n++] = i == (uint32_t)local ? arena->fd : arena->read_fd;
        }
    }
    if (start.new_arenas) {
        fds[n++] = job->step_memory.inbox.read_fd;
        worker->memory_version = job->memory_version;
    }
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_STEP_START;
    message.step_start = &start;
    worker_send(driver, worker, &message, fds, n);
    segment_deinit(&part);
}

static void reply_reduced(struct driver *driver, struct driver_worker *worker, const void *values,
                          uint32_t bytes)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Reduced reduced = SEQSYNC__WORKER__REDUCED__INIT;

    reduced.values = (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)(uintptr_t)values};
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED;
    message.reduced = &reduced;
    worker_send(driver, worker, &message, NULL, 0);
}

static void reply_committed(struct driver *driver, struct driver_worker *worker, uint64_t step,
                            bool skip)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Committed committed = SEQSYNC__WORKER__COMMITTED__INIT;

    committed.step = step;
    committed.skip = skip;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_COMMITTED;
    message.committed = &committed;
    worker_send(driver, worker, &message, NULL, 0);
}

void driver_worker_reply(struct driver *driver, const struct action *action)
{
    struct driver_worker *worker = driver_worker_find(driver, action->reply.worker);

    if (worker == NULL) {
        return; /* it went away; the engine hears of it next */
    }
    if (action->reply.kind != REPLY_WELCOME && action->reply.kind != REPLY_FAILURE &&
        worker->job == NULL) {
        return; /* likewise for its job's memory */
    }
    switch (action->reply.kind) {
    case REPLY_WELCOME:
        reply_welcome(driver, worker, action->reply.job);
        return;
    case REPLY_REGISTERED:
        reply_registered(driver, worker);
        return;
    case REPLY_STEP_START:
        reply_step_start(driver, worker, action->reply.step);
        return;
    case REPLY_REDUCED:
        reply_reduced(driver, worker, action->reply.values, action->reply.bytes);
        return;
    case REPLY_COMMITTED:
        reply_committed(driver, worker, action->reply.step, action->reply.skip);
        return;
    case REPLY_FAILURE:
        worker_send_failure(driver, worker, action->reply.end);
        return;
    }
}

/* ---- user buffers ---- */

struct buffer_job {
    struct lane_job lane;
    struct driver *driver;
    struct driver_buffer *buffer;
    uint32_t handle;
    uint64_t charged;
    size_t bytes;
    int r;
};

static void buffer_run(struct lane_job *lane)
{
    struct buffer_job *work = (struct buffer_job *)(void *)lane;

    work->r = segment_init(&work->buffer->segment, "seqsync-buffer", work->bytes);
}

static void send_buffer(struct driver *driver, struct driver_worker *worker,
                        const struct driver_buffer *buffer)
{
    Seqsync__Worker__DaemonMessage message = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Buffer answer = SEQSYNC__WORKER__BUFFER__INIT;

    answer.buffer = buffer->id;
    answer.bytes = buffer->segment.bytes;
    message.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_BUFFER;
    message.buffer = &answer;
    worker_send(driver, worker, &message, &buffer->segment.fd, 1);
}

/* Refuses a request without ending the session. */
static void worker_refuse(struct driver *driver, struct driver_worker *worker, int32_t code,
                          const char *text, const char *hint)
{
    struct job_end end = {
        .code = code, .rank = (int32_t)worker->rank, .node = (int32_t)driver->node};

    snprintf(end.text, sizeof(end.text), "%s", text);
    snprintf(end.hint, sizeof(end.hint), "%s", hint);
    worker_send_failure(driver, worker, &end);
}

static void buffer_done(struct lane_job *lane)
{
    struct buffer_job *work = (struct buffer_job *)(void *)lane;
    struct driver *driver = work->driver;
    struct driver_worker *worker = driver_worker_find(driver, work->handle);
    struct driver_buffer *buffer = work->buffer;

    if (work->r < 0 || worker == NULL) {
        segment_deinit(&buffer->segment);
        quota_release(&driver->quota, buffer->uid, work->charged);
        free(buffer);
        if (worker != NULL) {
            worker_refuse(driver, worker, SEQSYNC_ERR_NO_MEMORY, "cannot allocate the buffer",
                          "ask for less, or free memory on this node");
        }
    } else {
        assert(buffer->segment.bytes == work->charged);
        buffer->next = worker->buffers;
        worker->buffers = buffer;
        worker->buffer_count++;
        send_buffer(driver, worker, buffer);
    }
    free(work);
}

static void recv_buffer_create(struct driver *driver, struct driver_worker *worker,
                               const Seqsync__Worker__BufferCreate *message)
{
    const uint64_t bytes = (message->bytes + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;

    if (message->bytes == 0 || bytes < message->bytes ||
        worker->buffer_count >= DRIVER_BUFFERS_MAX ||
        quota_charge(&driver->quota, worker->uid, bytes) != 0) {
        worker_refuse(driver, worker, SEQSYNC_ERR_NO_CAPACITY,
                      "a shared buffer would exceed this user's quota",
                      "see [arena] limit and per-user-limit, or free other buffers");
        return;
    }
    struct driver_buffer *buffer = calloc(1, sizeof(*buffer));
    struct buffer_job *work = calloc(1, sizeof(*work));
    if (buffer == NULL || work == NULL) {
        free(buffer);
        free(work);
        quota_release(&driver->quota, worker->uid, bytes);
        worker_refuse(driver, worker, SEQSYNC_ERR_NO_MEMORY, "out of memory",
                      "free memory on this node");
        return;
    }
    *buffer = (struct driver_buffer){
        .segment = SEGMENT_NULL, .id = ++worker->buffer_last_id, .uid = worker->uid};
    *work = (struct buffer_job){.lane = {.run = buffer_run, .done = buffer_done},
                                .driver = driver,
                                .buffer = buffer,
                                .handle = worker->handle,
                                .charged = bytes,
                                .bytes = (size_t)bytes};
    lanes_submit(driver->lanes, &work->lane);
}

static void recv_buffer_free(struct driver *driver, struct driver_worker *worker,
                             const Seqsync__Worker__BufferFree *message)
{
    Seqsync__Worker__DaemonMessage answer = SEQSYNC__WORKER__DAEMON_MESSAGE__INIT;
    Seqsync__Worker__Freed freed = SEQSYNC__WORKER__FREED__INIT;

    for (struct driver_buffer **at = &worker->buffers; *at != NULL; at = &(*at)->next) {
        struct driver_buffer *buffer = *at;
        if (buffer->id == message->buffer) {
            *at = buffer->next;
            worker->buffer_count--;
            buffer_free(driver, buffer);
            answer.body_case = SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FREED;
            answer.freed = &freed;
            worker_send(driver, worker, &answer, NULL, 0);
            return;
        }
    }
    worker_violation(driver, worker, SEQSYNC_ERR_PROTOCOL,
                     "it frees a buffer that it does not have");
}

/* ---- messages ---- */

static void recv_hello(struct driver *driver, struct driver_worker *worker,
                       const Seqsync__Worker__Hello *hello)
{
    worker->rank = hello->rank;
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_HELLO,
                                        .now_ns = driver_now(driver),
                                        .hello = {.worker = worker->handle,
                                                  .job = hello->job,
                                                  .rank = hello->rank,
                                                  .world_size = hello->world_size,
                                                  .nonfinite = hello->nonfinite,
                                                  .pid = worker->pid}});
}

static void recv_register(struct driver *driver, struct driver_worker *worker,
                          const Seqsync__Worker__Register *message)
{
    struct seqsync_exchange_shape exchanges[SEQSYNC_EXCHANGES_MAX];
    struct seqsync_bucket_shape buckets[SEQSYNC_BUCKETS_MAX];
    uint8_t spaces[SEQSYNC_EXCHANGES_MAX], forward_only[SEQSYNC_EXCHANGES_MAX],
        roles[SEQSYNC_BUCKETS_MAX];
    struct job *job = worker->job;

    if (job == NULL) {
        worker_violation(driver, worker, SEQSYNC_ERR_PROTOCOL,
                         "it registers before it has joined a job");
        return;
    }
    for (size_t i = 0; i < message->n_exchanges; i++) {
        const Seqsync__Worker__ExchangeShape *from = message->exchanges[i];
        exchanges[i] = (struct seqsync_exchange_shape){.space = from->space,
                                                       .heads_kv = (int32_t)from->heads_kv,
                                                       .head_dim = (int32_t)from->head_dim,
                                                       .forward_only = from->forward_only};
        spaces[i] = (uint8_t)from->space;
        forward_only[i] = (uint8_t)from->forward_only;
    }
    for (size_t i = 0; i < message->n_buckets; i++) {
        buckets[i] = (struct seqsync_bucket_shape){.elements = message->buckets[i]->elements,
                                                   .role = message->buckets[i]->role};
        roles[i] = (uint8_t)message->buckets[i]->role;
    }
    const struct arena_schema schema = {.exchanges = exchanges,
                                        .buckets = buckets,
                                        .exchange_count = (uint32_t)message->n_exchanges,
                                        .bucket_count = (uint32_t)message->n_buckets,
                                        .world_size = job->world_size,
                                        .local_count = job->local_count};
    const char *why = arena_schema_check(&schema);
    if (why == NULL) {
        why = job_set_schema(job, &schema);
    }
    if (why != NULL) {
        worker_violation(driver, worker, SEQSYNC_ERR_INVALID, why);
        return;
    }
    /* local_count differs between nodes and is no part of what ranks must agree on. */
    struct arena_schema common = schema;
    common.local_count = 1;
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_REGISTER,
                                        .now_ns = driver_now(driver),
                                        .reg = {.worker = worker->handle,
                                                .digest = arena_schema_digest(&common),
                                                .exchange_count = schema.exchange_count,
                                                .bucket_count = schema.bucket_count,
                                                .exchange_spaces = spaces,
                                                .exchange_forward_only = forward_only,
                                                .bucket_roles = roles}});
}

static void recv_begin(struct driver *driver, struct driver_worker *worker,
                       const Seqsync__Worker__Begin *message)
{
    struct job *job = worker->job;

    if (job == NULL || !job->admitted) {
        worker_violation(driver, worker, SEQSYNC_ERR_PROTOCOL,
                         "it begins a step before it has registered");
        return;
    }
    const char *why = job_set_batch(job, message->batch.data, message->batch.len);
    if (why != NULL) {
        worker_violation(driver, worker, SEQSYNC_ERR_INVALID, why);
        return;
    }
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_BEGIN,
                                        .now_ns = driver_now(driver),
                                        .begin = {.worker = worker->handle,
                                                  .step = message->step,
                                                  .digest = batch_digest(message->batch.data,
                                                                         message->batch.len)}});
}

static void recv_ready(struct driver *driver, const struct driver_worker *worker,
                       const Seqsync__Worker__Ready *message)
{
    _Static_assert((int)SEQSYNC__WORKER__READY_KIND__READY_PARAMETER == (int)READY_PARAMETER,
                   "same numbers");
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_READY,
                                        .now_ns = driver_now(driver),
                                        .ready = {.worker = worker->handle,
                                                  .kind = (enum ready_kind)message->kind,
                                                  .id = message->id,
                                                  .sequence = message->sequence,
                                                  .count = message->count,
                                                  .root = message->root}});
}

static void recv_reduce(struct driver *driver, const struct driver_worker *worker,
                        const Seqsync__Worker__Reduce *message)
{
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_REDUCE,
                                        .now_ns = driver_now(driver),
                                        .reduce = {.worker = worker->handle,
                                                   .sequence = message->sequence,
                                                   .dtype = message->dtype,
                                                   .op = message->op,
                                                   .bytes = (uint32_t)message->values.len,
                                                   .values = message->values.data}});
}

static void recv_commit(struct driver *driver, const struct driver_worker *worker,
                        const Seqsync__Worker__Commit *message)
{
    driver_feed(driver,
                &(struct event){.kind = EVENT_WORKER_COMMIT,
                                .now_ns = driver_now(driver),
                                .commit = {.worker = worker->handle,
                                           .step = message->step,
                                           .area = message->area,
                                           .parameter_digest = message->parameter_digest,
                                           .report = {.tokens = message->tokens,
                                                      .compute_ns = message->compute_ns,
                                                      .wait_ns = message->wait_ns,
                                                      .kv_remote_bytes = message->kv_remote_bytes,
                                                      .loss = message->loss}}});
}

static void worker_on_message(void *ctx, uint32_t handle, const struct worker_peer *peer,
                              const Seqsync__Worker__WorkerMessage *message)
{
    struct driver *driver = ctx;
    struct driver_worker *worker = driver_worker_find(driver, handle);

    if (worker == NULL) {
        worker = worker_add(driver, handle, peer);
        if (worker == NULL) {
            log_msg(LOG_LEVEL_WARNING, "pid %d: no room for another worker; its session ends",
                    (int)peer->pid);
            worker_port_drop(driver->worker_port, handle);
            return;
        }
    }
    if (message->request != 0) {
        worker->request = message->request;
        worker->waiting = true;
    }
    switch (message->body_case) {
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO:
        recv_hello(driver, worker, message->hello);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REGISTER:
        recv_register(driver, worker, message->register_);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE:
        recv_buffer_create(driver, worker, message->buffer_create);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_FREE:
        recv_buffer_free(driver, worker, message->buffer_free);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BEGIN:
        recv_begin(driver, worker, message->begin);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY:
        recv_ready(driver, worker, message->ready);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE:
        recv_reduce(driver, worker, message->reduce);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT:
        recv_commit(driver, worker, message->commit);
        return;
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE:
        driver_feed(driver, &(struct event){.kind = EVENT_WORKER_LEAVE,
                                            .now_ns = driver_now(driver),
                                            .worker = {.worker = handle}});
        return;
    default:
        assert(!"the frame decoder lets no other body pass");
    }
}

static void worker_on_lost(void *ctx, uint32_t handle, int32_t code, const char *how)
{
    struct driver *driver = ctx;
    struct driver_worker *worker = driver_worker_find(driver, handle);

    if (worker == NULL) {
        return; /* it never said a word that counted */
    }
    worker_remove(driver, worker);
    driver_feed(driver, &(struct event){.kind = EVENT_WORKER_LOST,
                                        .now_ns = driver_now(driver),
                                        .worker = {.worker = handle, .code = code, .text = how}});
}

const struct worker_port_ops driver_worker_ops = {.on_message = worker_on_message,
                                                  .on_lost = worker_on_lost};
