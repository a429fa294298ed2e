#include "proto/batch.h"
#include "proto/frame.h"
#include "proto/validate.h"

#include <seqsync/collective.h>
#include <seqsync/session.h>

/* ---- worker -> daemon ---- */

static const char *hello_check(const Seqsync__Worker__Hello *hello)
{
    if (!validate_text(hello->version, VALIDATE_VERSION_MAX)) {
        return "hello: the version is no text";
    }
    if (hello->protocol != WIRE_PROTOCOL) {
        return NULL; /* what else it says cannot be judged; the port answers it by name */
    }
    if (!frame_name_ok(hello->job)) {
        return "hello: the job's name is not 1 .. 63 of [A-Za-z0-9._-]";
    }
    if (hello->world_size < 1 || hello->world_size > SEQSYNC_RANKS_MAX ||
        hello->rank >= hello->world_size) {
        return "hello: rank and world size are out of their limits";
    }
    return hello->nonfinite <= SEQSYNC_NONFINITE_PASS
               ? NULL
               : "hello: no such policy for non-finite values";
}

static const char *register_check(const Seqsync__Worker__Register *message)
{
    if (message->n_exchanges > SEQSYNC_EXCHANGES_MAX || message->n_buckets > SEQSYNC_BUCKETS_MAX) {
        return "register: too many exchanges or buckets";
    }
    for (size_t i = 0; i < message->n_exchanges; i++) {
        const Seqsync__Worker__ExchangeShape *shape = message->exchanges[i];
        if (shape->space >= SEQSYNC_SPACES_N || shape->forward_only > 1 || shape->heads_kv < 1 ||
            shape->heads_kv > 65536 || shape->head_dim < 1 || shape->head_dim > 65536) {
            return "register: an exchange is out of its limits";
        }
    }
    for (size_t i = 0; i < message->n_buckets; i++) {
        if (message->buckets[i]->role < SEQSYNC_SHARDED ||
            message->buckets[i]->role > SEQSYNC_PARTIAL) {
            return "register: a bucket's role is none of enum seqsync_role";
        }
    }
    return NULL;
}

static const char *ready_check(const Seqsync__Worker__Ready *ready)
{
    if (ready->kind < SEQSYNC__WORKER__READY_KIND__READY_KV ||
        ready->kind > SEQSYNC__WORKER__READY_KIND__READY_PARAMETER) {
        return "ready: no such kind";
    }
    const bool exchange = ready->kind == SEQSYNC__WORKER__READY_KIND__READY_KV ||
                          ready->kind == SEQSYNC__WORKER__READY_KIND__READY_RETURN;
    if (ready->id >= (exchange ? SEQSYNC_EXCHANGES_MAX : SEQSYNC_BUCKETS_MAX)) {
        return "ready: the id is out of its limits";
    }
    return ready->sequence >= 1 && ready->count >= 0 && ready->root < SEQSYNC_RANKS_MAX
               ? NULL
               : "ready: sequence, count or root are out of their limits";
}

static const char *reduce_check(const Seqsync__Worker__Reduce *reduce)
{
    if (reduce->sequence < 1 || reduce->values.len > SEQSYNC_ALL_REDUCE_BYTES_MAX) {
        return "reduce: no sequence, or too many values";
    }
    if (reduce->values.len == 0 && reduce->dtype == 0 && reduce->op == 0) {
        return NULL; /* a barrier */
    }
    if (!validate_operation(reduce->dtype, reduce->op)) {
        return "reduce: no such type or operation";
    }
    return reduce->values.len % (reduce->dtype == SEQSYNC_F32 ? 4 : 8) == 0
               ? NULL
               : "reduce: not whole values";
}

const char *validate_worker_message(const Seqsync__Worker__WorkerMessage *message)
{
    switch (message->body_case) {
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_HELLO:
        return hello_check(message->hello);
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REGISTER:
        return register_check(message->register_);
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_CREATE:
        return message->buffer_create->bytes >= 1 && message->buffer_create->bytes <= INT64_MAX
                   ? NULL
                   : "buffer create: the size is out of its limits";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BEGIN:
        return message->begin->step >= 1 && message->begin->batch.len <= BATCH_BYTES_MAX
                   ? NULL
                   : "begin: no step, or the batch is too long";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_READY:
        return ready_check(message->ready);
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_REDUCE:
        return reduce_check(message->reduce);
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_COMMIT:
        return message->commit->step >= 1 && message->commit->tokens >= 0 &&
                       message->commit->area >= -1
                   ? NULL
                   : "commit: no step, or a negative amount";
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_BUFFER_FREE:
    case SEQSYNC__WORKER__WORKER_MESSAGE__BODY_LEAVE:
        return NULL;
    default:
        return "a message without a body";
    }
}

/* ---- daemon -> worker ---- */

static const char *welcome_check(const Seqsync__Worker__Welcome *welcome)
{
    if (welcome->node_count < 1 || welcome->node_count > SEQSYNC_NODES_MAX ||
        welcome->node >= welcome->node_count || welcome->local_count < 1 ||
        welcome->local_count > SEQSYNC_LOCAL_RANKS_MAX ||
        welcome->local_rank >= welcome->local_count) {
        return "welcome: nodes or local ranks are out of their limits";
    }
    return frame_name_ok(welcome->node_name) ? NULL : "welcome: the node's name is none";
}

static const char *step_start_check(const Seqsync__Worker__StepStart *start)
{
    return start->step >= 1 && start->part_bytes >= 1 && start->n_arena_bytes >= 1 &&
                   start->n_arena_bytes <= SEQSYNC_LOCAL_RANKS_MAX
               ? NULL
               : "step start: step, part or arenas are out of their limits";
}

static const char *failure_check(const Seqsync__Worker__Failure *failure)
{
    if (failure->code >= 0 || failure->code < SEQSYNC_STATUS_LAST || failure->rank < -1 ||
        failure->rank >= SEQSYNC_RANKS_MAX) {
        return "failure: code or rank are out of their limits";
    }
    return validate_text(failure->text, WIRE_TEXT_MAX) &&
                   validate_text(failure->hint, WIRE_TEXT_MAX) &&
                   validate_text(failure->node, SEQSYNC_NAME_MAX + 1)
               ? NULL
               : "failure: no text";
}

const char *validate_daemon_message(const Seqsync__Worker__DaemonMessage *message)
{
    switch (message->body_case) {
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_WELCOME:
        return welcome_check(message->welcome);
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_STEP_START:
        return step_start_check(message->step_start);
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REDUCED:
        return message->reduced->values.len <= SEQSYNC_ALL_REDUCE_BYTES_MAX
                   ? NULL
                   : "reduced: too many values";
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FAILURE:
        return failure_check(message->failure);
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_REGISTERED:
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_BUFFER:
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_COMMITTED:
    case SEQSYNC__WORKER__DAEMON_MESSAGE__BODY_FREED:
        return NULL;
    default:
        return "a message without a body";
    }
}
