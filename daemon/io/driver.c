#include "daemon/io/driver.h"

#include "daemon/base/err.h"
#include "daemon/host/log.h"
#include "daemon/io/convert.h"
#include "daemon/io/driver_private.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DRIVER_DRAIN_NS                                                                            \
    UINT64_C(2000000000) /* a shutdown waits so long for jobs to end in good order */

uint64_t driver_now(const struct driver *driver)
{
    (void)driver;
    return uv_hrtime();
}

struct job *driver_job(const struct driver *driver, uint64_t id)
{
    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        if (driver->jobs[i] != NULL && driver->jobs[i]->id == id && !driver->jobs[i]->ending) {
            return driver->jobs[i];
        }
    }
    return NULL;
}

/* ---- jobs of this node ---- */

static bool entry_has_node(const struct entry *entry, uint32_t node)
{
    for (uint32_t rank = 0; rank < entry->formed.world_size; rank++) {
        if (entry->formed.rank_nodes[rank] == node) {
            return true;
        }
    }
    return false;
}

static void feed_broken(struct driver *driver, uint64_t job, int32_t code, int32_t node,
                        const char *text, const char *hint)
{
    struct event event = {.kind = EVENT_JOB_BROKEN, .now_ns = driver_now(driver)};

    event.broken.job = job;
    event.broken.end = (struct job_end){.code = code, .rank = -1, .node = node};
    snprintf(event.broken.end.text, sizeof(event.broken.end.text), "%s", text);
    snprintf(event.broken.end.hint, sizeof(event.broken.end.hint), "%s", hint);
    driver_feed(driver, &event);
}

/* The job must be here before the engine welcomes its workers. */
static void driver_take_job(struct driver *driver, const struct entry *entry)
{
    struct job *job;

    if (entry->kind != ENTRY_JOB_FORMED || !entry_has_node(entry, driver->node)) {
        return;
    }
    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        if (driver->jobs[i] == NULL) {
            if (job_new(&driver->host, entry, driver->node_count, &job) == 0) {
                job->uid = UINT32_MAX;
                driver->jobs[i] = job;
                return;
            }
            break;
        }
    }
    feed_broken(driver, entry->job, SEQSYNC_ERR_NO_MEMORY, (int32_t)driver->node,
                "no room for another job", "wait until others have ended");
}

/* ---- actions ---- */

static void perform_propose(struct driver *driver, const struct entry *entry)
{
    control_log_propose(&driver->log, entry);
}

static void perform_message(struct driver *driver, const struct action *action)
{
    struct convert_out out;

    convert_message_out(action->message.message, &out);
    const int r = peer_port_send(driver->peer_port, action->message.node, &out.message);
    if (r < 0) {
        /* The port reports the peer as lost, or it is lost already; the engine acts on that. */
        log_msg(LOG_LEVEL_DEBUG, "a message to %s is not sent: %s",
                driver->names[action->message.node], strerror(-r));
    }
}

static void perform_send(struct driver *driver, const struct action *action)
{
    struct job *job = driver_job(driver, action->send.job);

    if (job != NULL &&
        job_send(job, action->send.step, action->send.kind, action->send.id, action->send.part,
                 action->send.node, action->send.count, action->send.nonfinite) < 0) {
        feed_broken(driver, job->id, SEQSYNC_ERR_NO_MEMORY, (int32_t)driver->node,
                    "out of memory for a transfer", "free memory on this node");
    }
}

static void perform_sum(struct driver *driver, const struct action *action)
{
    struct job *job = driver_job(driver, action->sum.job);

    if (job != NULL && job_sum(job, action->sum.step, action->sum.kind, action->sum.id,
                               action->sum.part, action->sum.count) < 0) {
        feed_broken(driver, job->id, SEQSYNC_ERR_NO_MEMORY, (int32_t)driver->node,
                    "out of memory for a sum", "free memory on this node");
    }
}

static void perform_job(struct driver *driver, const struct action *action)
{
    struct job *job = driver_job(driver, action->job.job);

    if (job == NULL) {
        return;
    }
    switch (action->kind) {
    case ACTION_ADMIT:
        job_admit(job);
        return;
    case ACTION_PLAN:
        job_plan(job, action->job.step);
        return;
    case ACTION_END:
        driver_worker_forget_job(driver, job);
        job_end(job);
        return;
    default:
        return; /* ACTION_STEP_END: plan and memory stay for the next step of the same shape */
    }
}

static void perform(struct driver *driver, const struct action *action)
{
    struct job *job;

    switch (action->kind) {
    case ACTION_REPLY:
        driver_worker_reply(driver, action);
        return;
    case ACTION_CLOSE:
        driver_worker_drop(driver, action->close.worker);
        return;
    case ACTION_MESSAGE:
        perform_message(driver, action);
        return;
    case ACTION_PING:
        peer_port_ping(driver->peer_port, action->ping.node);
        return;
    case ACTION_PROPOSE:
        perform_propose(driver, action->entry);
        return;
    case ACTION_ADMIT:
    case ACTION_PLAN:
    case ACTION_STEP_END:
    case ACTION_END:
        perform_job(driver, action);
        return;
    case ACTION_SEND:
        perform_send(driver, action);
        return;
    case ACTION_SUM:
        perform_sum(driver, action);
        return;
    case ACTION_RAISE:
        job = driver_job(driver, action->raise.job);
        if (job != NULL) {
            job_raise(job, action->raise.word, action->raise.id, action->raise.index,
                      action->raise.stamp, action->raise.count, action->raise.value,
                      action->raise.skip);
        }
        return;
    case ACTION_TRACE:
        log_msg(action->trace.level, "%s", action->trace.text);
        return;
    }
}

/* ---- the queue ---- */

static const char *event_text(const struct event *event)
{
    switch (event->kind) {
    case EVENT_WORKER_LOST:
        return event->worker.text;
    case EVENT_PEER_LOST:
        return event->peer.text;
    default:
        return NULL;
    }
}

/* Copies an event with what it borrows. Only kinds that arise while actions are performed come
 * here. */
static void driver_queue(struct driver *driver, const struct event *event)
{
    struct driver_pending *pending = malloc(sizeof(*pending));

    if (pending == NULL) {
        log_msg(LOG_LEVEL_ERROR,
                "out of memory in the event queue; stopping rather than losing an event");
        abort();
    }
    pending->next = NULL;
    pending->event = *event;
    const char *text = event_text(event);
    if (text != NULL) {
        snprintf(pending->text, sizeof(pending->text), "%s", text);
        if (event->kind == EVENT_WORKER_LOST) {
            pending->event.worker.text = pending->text;
        } else {
            pending->event.peer.text = pending->text;
        }
    }
    if (event->kind == EVENT_COMMITTED) {
        pending->entry = *event->entry;
        pending->event.entry = &pending->entry;
    }
    *driver->pending_tail = pending;
    driver->pending_tail = &pending->next;
}

static void driver_step(struct driver *driver, const struct event *event)
{
    struct actions actions;

    if (event->kind == EVENT_COMMITTED) {
        driver_take_job(driver, event->entry);
    }
    engine_step(driver->engine, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++) {
        perform(driver, &actions.items[i]);
    }
}

static void driver_arm_timer(struct driver *driver);

void driver_feed(struct driver *driver, const struct event *event)
{
    if (driver->performing) {
        driver_queue(driver, event);
        return;
    }
    driver->performing = true;
    driver_step(driver, event);
    while (driver->pending != NULL) {
        struct driver_pending *pending = driver->pending;
        driver->pending = pending->next;
        if (driver->pending == NULL) {
            driver->pending_tail = &driver->pending;
        }
        driver_step(driver, &pending->event);
        free(pending);
    }
    driver->performing = false;
    driver_arm_timer(driver);
}

static void driver_on_timer(uv_timer_t *timer)
{
    struct driver *driver = timer->data;

    driver_feed(driver, &(struct event){.kind = EVENT_TICK, .now_ns = driver_now(driver)});
}

static void driver_arm_timer(struct driver *driver)
{
    const uint64_t deadline = engine_deadline_ns(driver->engine);
    const uint64_t now = driver_now(driver);

    if (!driver->timer_open || driver->closing) {
        return;
    }
    if (deadline == UINT64_MAX) {
        uv_timer_stop(&driver->timer);
        return;
    }
    uv_update_time(driver->loop);
    /* Rounded up: a tick before the deadline would only come again. */
    const uint64_t ms = deadline > now ? (deadline - now + 999999) / 1000000 : 0;
    uv_timer_start(&driver->timer, driver_on_timer, ms, 0);
}

/* ---- answers of lanes and bulk ---- */

static void job_on_admitted(void *ctx, struct job *job, int32_t code, const char *error)
{
    struct driver *driver = ctx;

    driver_feed(driver,
                &(struct event){.kind = EVENT_ADMITTED,
                                .now_ns = driver_now(driver),
                                .admitted = {.job = job->id, .error = error, .code = code}});
}

static void job_on_planned(void *ctx, struct job *job, uint64_t step, int32_t code,
                           const char *error)
{
    struct driver *driver = ctx;

    driver_feed(driver, &(struct event){.kind = EVENT_PLANNED,
                                        .now_ns = driver_now(driver),
                                        .planned = {.job = job->id,
                                                    .step = step,
                                                    .shape = error == NULL ? &job->shape : NULL,
                                                    .error = error,
                                                    .code = code}});
}

static void job_on_summed(void *ctx, struct job *job, uint64_t step, enum sum_kind kind,
                          uint32_t id, uint32_t part, bool nonfinite, int32_t rank)
{
    struct driver *driver = ctx;

    driver_feed(driver, &(struct event){.kind = EVENT_SUMMED,
                                        .now_ns = driver_now(driver),
                                        .summed = {.job = job->id,
                                                   .step = step,
                                                   .kind = kind,
                                                   .id = id,
                                                   .part = part,
                                                   .nonfinite = nonfinite,
                                                   .rank = rank}});
}

static void job_on_broken(void *ctx, struct job *job, int32_t code, const char *text)
{
    struct driver *driver = ctx;

    feed_broken(driver, job->id, code, (int32_t)driver->node, text,
                "see the daemon's log on this node");
}

static void job_on_gone(void *ctx, struct job *job)
{
    struct driver *driver = ctx;

    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        if (driver->jobs[i] == job) {
            driver->jobs[i] = NULL;
        }
    }
}

static void bulk_on_arrival(void *ctx, const struct bulk_arrival *arrival)
{
    struct driver *driver = ctx;
    struct job *job = driver_job(driver, arrival->key.job);

    _Static_assert((int)BULK_KV == (int)TRANSFER_KV && (int)BULK_RETURN == (int)TRANSFER_RETURN &&
                       (int)BULK_PARTIAL == (int)TRANSFER_PARTIAL &&
                       (int)BULK_RESULT == (int)TRANSFER_RESULT &&
                       (int)BULK_PARAMETER == (int)TRANSFER_PARAMETER,
                   "frames and transfers count alike");
    if (job == NULL) {
        return; /* it ended while the frame was on its way */
    }
    if (job_arrived(job, arrival) < 0) {
        feed_broken(driver, job->id, SEQSYNC_ERR_NO_MEMORY, (int32_t)driver->node,
                    "out of memory for a transfer", "free memory on this node");
        return;
    }
    driver_feed(driver, &(struct event){.kind = EVENT_RECEIVED,
                                        .now_ns = driver_now(driver),
                                        .received = {.job = job->id,
                                                     .step = arrival->step,
                                                     .kind = (enum transfer_kind)arrival->key.kind,
                                                     .id = arrival->key.id,
                                                     .part = arrival->part,
                                                     .node = arrival->node,
                                                     .count = arrival->count,
                                                     .nonfinite = arrival->nonfinite}});
}

static void bulk_on_broken(void *ctx, uint64_t job, uint32_t node, int32_t code, const char *text)
{
    struct driver *driver = ctx;
    char words[MESSAGE_TEXT_MAX];

    snprintf(words, sizeof(words), "bulk data from %s: %s", driver->names[node], text);
    feed_broken(driver, job, code, (int32_t)node, words, "check the link between the two nodes");
}

/* ---- life ---- */

static int driver_open_engine(struct driver *driver)
{
    const struct config *config = driver->config;
    const struct engine_config engine = {.node = driver->node,
                                         .node_count = driver->node_count,
                                         .node_names = driver->names,
                                         .join_timeout_ns = config->join_ns,
                                         .step_timeout_ns = config->step_ns,
                                         .peer_silence_ns = config->peer_silence_ns,
                                         .ping_interval_ns = config->ping_ns};
    int r = engine_new(&engine, driver_now(driver), &driver->engine);

    if (r < 0) {
        return err_trace(r);
    }
    control_log_init(&driver->log, driver->node, driver->node_count, &driver_log_ops, driver);
    quota_init(&driver->quota, config->arena_limit_bytes, config->arena_user_limit_bytes);
    r = lanes_new(driver->loop, (uint32_t)config->lane_count, &driver->lanes);
    if (r < 0) {
        return err_trace(r);
    }
    driver->host = (struct job_host){.lanes = driver->lanes,
                                     .quota = &driver->quota,
                                     .ops = {.on_admitted = job_on_admitted,
                                             .on_planned = job_on_planned,
                                             .on_summed = job_on_summed,
                                             .on_broken = job_on_broken,
                                             .on_gone = job_on_gone},
                                     .ctx = driver,
                                     .node = driver->node};
    return 0;
}

static int driver_open_curve(struct driver *driver, void *zmq, char *ret_text, size_t size)
{
    const struct config *config = driver->config;
    for (uint32_t i = 0; i < driver->node_count; i++) {
        driver->public_keys[i] = config->members[i].public_key;
    }
    const struct curve_config curve = {.zmq = zmq,
                                       .secret_key_file = config->secret_key_file,
                                       .node = driver->node,
                                       .node_count = driver->node_count,
                                       .names = driver->names,
                                       .public_keys = driver->public_keys};
    return err_trace(curve_open(&curve, &driver->curve, ret_text, size));
}

static int driver_open_bulk(struct driver *driver, void *zmq, char *ret_text, size_t size)
{
    const struct bulk_config bulk = {
        .loop = driver->loop,
        .zmq = zmq,
        .curve = driver->curve,
        .allow_plaintext = driver->config->allow_plaintext,
        .node = driver->node,
        .node_count = driver->node_count,
        .incarnation = driver->incarnation,
        .names = driver->names,
        .endpoints = driver->bulk_endpoints,
        .ops = {.on_arrival = bulk_on_arrival, .on_broken = bulk_on_broken},
        .ctx = driver};
    const int r = bulk_open(&bulk, &driver->bulk, ret_text, size);

    driver->host.bulk = driver->bulk;
    return err_trace(r);
}

static int driver_open_peers(struct driver *driver, void *zmq, char *ret_text, size_t size)
{
    const struct config *config = driver->config;
    const struct peer_port_config peers = {
        .loop = driver->loop,
        .zmq = zmq,
        .curve = driver->curve,
        .allow_plaintext = config->allow_plaintext,
        .node = driver->node,
        .node_count = driver->node_count,
        .names = driver->names,
        .endpoints = driver->endpoints,
        .bulk_endpoint = driver->bulk_endpoints[driver->node],
        .incarnation = driver->incarnation,
        .cluster_digest = peer_port_digest(driver->node_count, driver->names, driver->endpoints,
                                           driver->bulk_endpoints),
        .handshake_ms = (uint32_t)(config->handshake_ns / LOOP_NS_PER_MS),
        .ops = driver_peer_ops,
        .ctx = driver};
    return err_trace(peer_port_open(&peers, &driver->peer_port, ret_text, size));
}

static int driver_open_workers(struct driver *driver, int listen_fd, char *ret_text, size_t size)
{
    const struct config *config = driver->config;
    const struct worker_port_config workers = {
        .loop = driver->loop,
        .path = config->worker_socket,
        .listen_fd = listen_fd,
        .workers_max = (uint32_t)config->workers_max,
        .workers_per_user_max = (uint32_t)config->workers_per_user_max,
        .handshake_ms = (uint32_t)(config->handshake_ns / LOOP_NS_PER_MS),
        .users = config->worker_users,
        .user_count = config->worker_user_count,
        .has_group = config->has_worker_group,
        .group = config->worker_group,
        .node_name = driver->names[driver->node],
        .ops = driver_worker_ops,
        .ctx = driver};
    return err_trace(worker_port_open(&workers, &driver->worker_port, ret_text, size));
}

static int driver_open_admin(struct driver *driver, void *zmq, char *ret_text, size_t size)
{
    const struct config *config = driver->config;
    const struct admin_port_config admin = {.loop = driver->loop,
                                            .zmq = zmq,
                                            .endpoint = config->admin_endpoint,
                                            .has_group = config->has_admin_group,
                                            .group = config->admin_group,
                                            .ops = driver_admin_ops,
                                            .ctx = driver};
    return err_trace(admin_port_open(&admin, &driver->admin_port, ret_text, size));
}

static uint64_t random_incarnation(void)
{
    uint64_t number = 0;

    while (number == 0) {
        if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
            number = uv_hrtime() ^ (uint64_t)getpid() << 32;
        }
    }
    return number;
}

/* An unknown key got in: CURVE protects nothing any more, and going on would be worse than
 * stopping. */
static void driver_on_curve_open(void *ctx, int r)
{
    (void)ctx;
    log_msg(LOG_LEVEL_ERROR, "a stranger's key was not refused (%s); stopping at once",
            strerror(-r));
    _exit(EXIT_FAILURE);
}

int driver_new(uv_loop_t *loop, void *zmq, const struct config *config, int listen_fd,
               struct driver **ret, char *ret_text, size_t text_size)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    int r;

    snprintf(ret_text, text_size, "out of memory");
    if (driver == NULL) {
        return err_origin(-ENOMEM);
    }
    driver->loop = loop;
    driver->config = config;
    driver->pending_tail = &driver->pending;
    driver->started_ns = uv_hrtime();
    driver->incarnation = random_incarnation();
    driver->node = config->node;
    driver->node_count = config->member_count;
    for (uint32_t i = 0; i < driver->node_count; i++) {
        driver->names[i] = config->members[i].name;
        driver->endpoints[i] = config->members[i].endpoint;
        driver->bulk_endpoints[i] = config->members[i].bulk_endpoint;
    }
    uv_timer_init(loop, &driver->timer);
    driver->timer.data = driver;
    driver->timer_open = true;
    *ret = driver;
    r = driver_open_engine(driver);
    r = r < 0 ? r : driver_open_curve(driver, zmq, ret_text, text_size);
    r = r < 0 ? r : driver_open_bulk(driver, zmq, ret_text, text_size);
    r = r < 0 ? r : driver_open_peers(driver, zmq, ret_text, text_size);
    r = r < 0 ? r : driver_open_admin(driver, zmq, ret_text, text_size);
    r = r < 0 ? r : driver_open_workers(driver, listen_fd, ret_text, text_size);
    if (r == 0 && driver->curve != NULL) {
        r = curve_watch_start(driver->curve, loop,
                              (uint32_t)(config->curve_check_ns / LOOP_NS_PER_MS),
                              driver_on_curve_open, driver);
    }
    if (r == 0) {
        driver_arm_timer(driver);
    }
    return err_trace(r);
}

/* ---- shutdown: jobs end, their memory goes, then the ports ---- */

static void driver_on_ports_closed(uv_timer_t *timer)
{
    struct driver *driver = timer->data;

    if (driver->curve != NULL) {
        curve_watch_stop(driver->curve);
        curve_close(driver->curve);
        driver->curve = NULL;
    }
    driver->on_closed(driver->closed_ctx);
}

static void driver_on_drained(uv_timer_t *timer)
{
    struct driver *driver = timer->data;

    worker_port_close(driver->worker_port);
    /* Buffers that a lane still makes find no worker to be sent to, and are given back. */
    driver_worker_close(driver);
    admin_port_close(driver->admin_port);
    peer_port_close(driver->peer_port);
    bulk_close(driver->bulk);
    driver->worker_port = NULL;
    driver->admin_port = NULL;
    driver->peer_port = NULL;
    /* Their sockets close in the next turn; the keys must outlive them. */
    uv_timer_start(timer, driver_on_ports_closed, 1, 0);
}

static bool driver_has_jobs(const struct driver *driver)
{
    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        if (driver->jobs[i] != NULL && !driver->jobs[i]->ending) {
            return true;
        }
    }
    return false;
}

static void driver_on_drain_tick(uv_timer_t *timer)
{
    struct driver *driver = timer->data;
    const uint64_t now = driver_now(driver);

    if (driver_has_jobs(driver) && now < driver->drain_until_ns) {
        /* The engine's own deadlines go on while its jobs end. */
        if (engine_deadline_ns(driver->engine) <= now) {
            driver_feed(driver, &(struct event){.kind = EVENT_TICK, .now_ns = now});
        }
        return;
    }
    uv_timer_stop(timer);
    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        struct job *job = driver->jobs[i];
        if (job != NULL && !job->ending) {
            driver_worker_forget_job(driver, job);
            job_end(job);
        }
    }
    /* One more turn, so that last words to workers and peers leave. */
    uv_timer_start(timer, driver_on_drained, 20, 0);
}

void driver_close(struct driver *driver, void (*on_closed)(void *ctx), void *ctx)
{
    driver->on_closed = on_closed;
    driver->closed_ctx = ctx;
    driver->closing = true;
    driver->drain_until_ns = driver_now(driver) + DRIVER_DRAIN_NS;
    if (driver->worker_port != NULL) {
        worker_port_stop_accepting(driver->worker_port);
    }
    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        if (driver->jobs[i] != NULL && !driver->jobs[i]->ending) {
            char text[MESSAGE_TEXT_MAX];
            snprintf(text, sizeof(text), "the daemon of %s is shutting down",
                     driver->names[driver->node]);
            feed_broken(driver, driver->jobs[i]->id, SEQSYNC_ERR_SHUTDOWN, (int32_t)driver->node,
                        text, "start the job again when it is back");
        }
    }
    uv_timer_start(&driver->timer, driver_on_drain_tick, 0, 10);
}

static void driver_on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void driver_free(struct driver *driver)
{
    if (driver == NULL) {
        return;
    }
    /* Sums, plans and sends in flight give their memory back here; on_gone frees the jobs. */
    lanes_close(driver->lanes);
    bulk_free(driver->bulk);
    driver_worker_close(driver);
    while (driver->pending != NULL) {
        struct driver_pending *pending = driver->pending;
        driver->pending = pending->next;
        free(pending);
    }
    engine_free(driver->engine);
    driver_admin_close(driver);
    uv_close((uv_handle_t *)&driver->timer, driver_on_timer_closed);
}

void driver_health(const struct driver *driver, struct driver_health *ret)
{
    struct peer_view peer;

    *ret = (struct driver_health){.lane_jobs_done = lanes_completed(driver->lanes),
                                  .lane_jobs_pending = lanes_pending(driver->lanes),
                                  .workers = driver->worker_count,
                                  .peers = driver->node_count - 1};
    for (size_t i = 0; i < sizeof(driver->jobs) / sizeof(driver->jobs[0]); i++) {
        ret->jobs += driver->jobs[i] != NULL && !driver->jobs[i]->ending;
    }
    for (uint32_t node = 0; node < driver->node_count; node++) {
        if (node != driver->node) {
            engine_peer(driver->engine, node, &peer);
            ret->peers_up += peer.up;
        }
    }
}
