#include "client/lib/session_private.h"

#include "client/lib/environment.h"

#include <seqsync/version.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *seqsync_version(void)
{
    return SEQSYNC_VERSION_STRING;
}

int seqsync__fail(struct seqsync_session *session, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(session->text, sizeof(session->text), format, args);
    va_end(args);
    return status;
}

int seqsync__end(struct seqsync_session *session, int status, const char *format, ...)
{
    va_list args;

    if (session->failed == 0) {
        session->failed = status;
        va_start(args, format);
        vsnprintf(session->text, sizeof(session->text), format, args);
        va_end(args);
    }
    return session->failed;
}

int seqsync__end_answer(struct seqsync_session *session, const char *what, const char *why)
{
    return seqsync__end(
        session, why == seqsync__out_of_memory ? SEQSYNC_ERR_NO_MEMORY : SEQSYNC_ERR_PROTOCOL,
        "rank %d, %s: %s", session->rank, what, why);
}

int seqsync__check(struct seqsync_session *session)
{
    if (session == NULL) {
        return SEQSYNC_ERR_INVALID;
    }
    if (session->pid != getpid()) {
        return seqsync__fail(
            session, SEQSYNC_ERR_INVALID,
            "the session belongs to process %d, and this is a child of it, process "
            "%d; open a session of its own after fork()",
            (int)session->pid, (int)getpid());
    }
    return session->failed;
}

void seqsync_session_options_init(struct seqsync_session_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
    options->rank = -1;
}

/* Rank, world size and timeout: what options do not say must be usable in the environment. */
static int session_configure_numbers(struct seqsync_session *session,
                                     const struct seqsync_session_options *options,
                                     const struct seqsync__environment *environment)
{
    const bool own_ranks = options->rank >= 0 && options->world_size > 0;
    const char *why = own_ranks ? NULL : environment->ranks_problem;

    if (why == NULL && options->timeout_ms == 0) {
        why = environment->timeout_problem;
    }
    if (why != NULL) {
        return seqsync__end(session, SEQSYNC_ERR_CONFIG,
                            "environment: %s; set them by the launcher, or pass options", why);
    }
    session->rank = options->rank >= 0 ? options->rank : environment->rank;
    session->world_size = options->world_size > 0 ? options->world_size : environment->world_size;
    session->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : environment->timeout_ms;
    session->nonfinite = options->nonfinite;
    if (options->nonfinite > SEQSYNC_NONFINITE_PASS) {
        return seqsync__end(session, SEQSYNC_ERR_INVALID,
                            "options.nonfinite is %u, none of enum seqsync_nonfinite",
                            options->nonfinite);
    }
    if (options->rank < -1 || options->world_size < 0 || session->rank >= session->world_size ||
        session->world_size > SEQSYNC_RANKS_MAX) {
        return seqsync__end(
            session, SEQSYNC_ERR_INVALID, "rank %d of %d is not possible (at most %d ranks)",
            options->rank < -1 ? options->rank : session->rank,
            options->world_size < 0 ? options->world_size : session->world_size, SEQSYNC_RANKS_MAX);
    }
    return 0;
}

static int session_configure(struct seqsync_session *session,
                             const struct seqsync_session_options *options)
{
    struct seqsync__environment environment;
    const char *log = getenv("SEQSYNC_LOG");
    const char *path, *job;

    seqsync__environment_read(&environment);
    if (options->size != sizeof(*options)) {
        return seqsync__end(session, SEQSYNC_ERR_INVALID,
                            "options.size is %zu, not sizeof(struct seqsync_session_options); use "
                            "seqsync_session_options_init()",
                            options->size);
    }
    const int r = session_configure_numbers(session, options, &environment);
    if (r != 0) {
        return r;
    }
    path = options->socket_path != NULL ? options->socket_path : environment.socket_path;
    if (strlen(path) >= sizeof(session->socket_path)) {
        return seqsync__end(session, SEQSYNC_ERR_CONFIG,
                            "the socket path %s is longer than %zu bytes", path,
                            sizeof(session->socket_path) - 1);
    }
    snprintf(session->socket_path, sizeof(session->socket_path), "%s", path);
    job = options->job != NULL ? options->job : environment.job;
    if (!frame_name_ok(job)) {
        return seqsync__end(
            session, SEQSYNC_ERR_CONFIG,
            "the job name '%.80s' is not 1 .. %d of letters, digits, '.', '_' and '-'", job,
            SEQSYNC_NAME_MAX);
    }
    snprintf(session->job, sizeof(session->job), "%.*s", SEQSYNC_NAME_MAX, job);
    if (log != NULL && strcmp(log, "debug") == 0) {
        fprintf(stderr, "seqsync: rank %d of %d (%s); job %s; daemon at %s\n", session->rank,
                session->world_size, options->rank >= 0 ? "options" : environment.source,
                session->job, session->socket_path);
    }
    return 0;
}

static int session_join(struct seqsync_session *session)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Hello hello = SEQSYNC__WORKER__HELLO__INIT;
    Seqsync__Worker__DaemonMessage *answer;
    int r = seqsync__connect(session);

    if (r != 0) {
        return r;
    }
    hello.protocol = WIRE_PROTOCOL;
    hello.version = (char *)(uintptr_t)seqsync_version();
    hello.job = session->job;
    hello.rank = (uint32_t)session->rank;
    hello.world_size = (uint32_t)session->world_size;
    hello.nonfinite = session->nonfinite;
    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO;
    message.hello = &hello;
    r = seqsync__call(session, &message, SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_WELCOME, false,
                      &answer, NULL);
    if (r != 0) {
        return r;
    }
    const Seqsync__Worker__Welcome *welcome = answer->welcome;
    if (welcome->local_count > (uint32_t)session->world_size) {
        return seqsync__end_answer(session, "joining", "more ranks on this node than in the job");
    }
    session->generation = welcome->generation;
    session->node = welcome->node;
    session->node_count = welcome->node_count;
    session->local_rank = welcome->local_rank;
    session->local_count = welcome->local_count;
    snprintf(session->node_name, sizeof(session->node_name), "%s", welcome->node_name);
    return 0;
}

int seqsync_session_open(const struct seqsync_session_options *options,
                         struct seqsync_session **ret)
{
    struct seqsync_session_options defaults;
    struct seqsync_session *session;
    int r;

    if (ret == NULL) {
        return SEQSYNC_ERR_INVALID;
    }
    *ret = NULL;
    session = calloc(1, sizeof(*session));
    if (session == NULL) {
        return SEQSYNC_ERR_NO_MEMORY;
    }
    session->fd = -1;
    session->pid = getpid();
    session->memory = frame_memory_new();
    session->scratch = malloc(WIRE_WORKER_FRAME_MAX);
    if (session->memory == NULL || session->scratch == NULL) {
        seqsync_session_close(session);
        return SEQSYNC_ERR_NO_MEMORY;
    }
    if (options == NULL) {
        seqsync_session_options_init(&defaults);
        options = &defaults;
    }
    r = session_configure(session, options);
    if (r == 0) {
        r = session_join(session);
    }
    /* Also a failed one is handed out: it has the words. */
    *ret = session;
    return r;
}

static void session_say_leave(struct seqsync_session *session)
{
    Seqsync__Worker__WorkerMessage message = SEQSYNC__WORKER__WORKER_MESSAGE__INIT;
    Seqsync__Worker__Leave leave = SEQSYNC__WORKER__LEAVE__INIT;

    message.body_case = SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE;
    message.leave = &leave;
    /* If it cannot be said, the end of the connection says enough. */
    seqsync__send_last(session, &message);
}

struct seqsync_session *seqsync_session_close(struct seqsync_session *session)
{
    if (session == NULL) {
        return NULL;
    }
    if (session->fd >= 0) {
        if (session->failed == 0 && session->pid == getpid()) {
            session_say_leave(session);
        }
        close(session->fd);
    }
    seqsync__step_close(&session->step);
    while (session->buffers != NULL) {
        struct seqsync_buffer *buffer = session->buffers;
        session->buffers = buffer->next;
        seqsync__map_close(&buffer->map);
        free(buffer);
    }
    for (uint32_t i = 0; i < SEQSYNC_LOCAL_RANKS_MAX; i++) {
        seqsync__map_close(&session->arenas[i]);
    }
    seqsync__map_close(&session->inbox);
    seqsync__map_close(&session->page);
    seqsync__map_close(&session->gradient);
    seqsync__map_close(&session->result);
    frame_memory_free(session->memory);
    free(session->scratch);
    free(session);
    return NULL;
}

int32_t seqsync_session_rank(const struct seqsync_session *session)
{
    return session->rank;
}

int32_t seqsync_session_world_size(const struct seqsync_session *session)
{
    return session->world_size;
}

int32_t seqsync_session_node(const struct seqsync_session *session)
{
    return (int32_t)session->node;
}

int32_t seqsync_session_node_count(const struct seqsync_session *session)
{
    return (int32_t)session->node_count;
}

int32_t seqsync_session_local_rank(const struct seqsync_session *session)
{
    return (int32_t)session->local_rank;
}

uint64_t seqsync_session_generation(const struct seqsync_session *session)
{
    return session->generation;
}

const char *seqsync_session_error(const struct seqsync_session *session)
{
    return session != NULL ? session->text : "out of memory";
}

void seqsync_session_counters(const struct seqsync_session *session,
                              struct seqsync_session_counters *ret)
{
    *ret = session->counters;
    ret->shared_bytes = session->page.bytes + session->gradient.bytes + session->result.bytes +
                        session->inbox.bytes;
    if (session->arenas[session->local_rank].data != NULL) {
        ret->shared_bytes += session->arenas[session->local_rank].bytes;
    }
    for (const struct seqsync_buffer *buffer = session->buffers; buffer != NULL;
         buffer = buffer->next) {
        ret->shared_bytes += buffer->map.bytes;
    }
}
