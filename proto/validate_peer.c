#include "proto/frame.h"
#include "proto/validate.h"

#include <seqsync/collective.h>
#include <seqsync/session.h>
#include <seqsync/status.h>

#define PAYLOAD_BYTES_MAX (60u * 1024u) /* more than the longest agreed commit carries */
#define ENDPOINT_BYTES_MAX 256u         /* with its NUL */

static const char *hello_check(const Seqsync__Peer__Hello *hello)
{
    if (!validate_text(hello->version, VALIDATE_VERSION_MAX)) {
        return "hello: the version is no text";
    }
    if (hello->protocol != WIRE_PROTOCOL) {
        return NULL; /* what else it says cannot be judged; the port refuses it by name */
    }
    return frame_name_ok(hello->name) && validate_text(hello->bulk_endpoint, ENDPOINT_BYTES_MAX)
               ? NULL
               : "hello: name or endpoint is none";
}

static const char *join_check(const Seqsync__Peer__Join *join)
{
    if (!frame_name_ok(join->job)) {
        return "join: the job's name is none";
    }
    return join->world_size >= 1 && join->world_size <= SEQSYNC_RANKS_MAX &&
                   join->rank < join->world_size && join->nonfinite <= SEQSYNC_NONFINITE_PASS
               ? NULL
               : "join: rank, world size or policy is out of its limits";
}

static bool gather_kind_ok(Seqsync__Peer__GatherKind kind)
{
    return kind >= SEQSYNC__PEER__GATHER_KIND__GATHER_REGISTER &&
           kind <= SEQSYNC__PEER__GATHER_KIND__GATHER_LEAVE;
}

static const char *gather_check(const Seqsync__Peer__Gather *gather)
{
    const bool reduce = gather->kind == SEQSYNC__PEER__GATHER_KIND__GATHER_REDUCE;
    const bool barrier = gather->dtype == 0 && gather->op == 0 && gather->payload.len == 0;
    const bool nodes = gather->kind == SEQSYNC__PEER__GATHER_KIND__GATHER_PLAN;

    if (!gather_kind_ok(gather->kind) ||
        gather->member >= (nodes ? SEQSYNC_NODES_MAX : SEQSYNC_RANKS_MAX)) {
        return "gather: kind or member is out of its limits";
    }
    if (gather->payload.len > SEQSYNC_ALL_REDUCE_BYTES_MAX) {
        return "gather: the payload is too long";
    }
    return !reduce || barrier || validate_operation(gather->dtype, gather->op)
               ? NULL
               : "gather: no such type or operation";
}

static const char *agreed_check(const Seqsync__Peer__Agreed *agreed)
{
    /* A commit carries every rank's report, a reduction its result. */
    const size_t payload_max = agreed->kind == SEQSYNC__PEER__GATHER_KIND__GATHER_COMMIT
                                   ? PAYLOAD_BYTES_MAX
                                   : SEQSYNC_ALL_REDUCE_BYTES_MAX;

    return gather_kind_ok(agreed->kind) && agreed->payload.len <= payload_max
               ? NULL
               : "agreed: kind or payload is out of its limits";
}

static const char *end_check(int32_t code, int32_t rank, int32_t node, const char *text,
                             const char *hint)
{
    if (code > 0 || code < SEQSYNC_STATUS_LAST || rank < -1 || rank >= SEQSYNC_RANKS_MAX ||
        node < -1 || node >= SEQSYNC_NODES_MAX) {
        return "an end's code, rank or node is out of its limits";
    }
    return validate_text(text, WIRE_TEXT_MAX) && validate_text(hint, WIRE_TEXT_MAX)
               ? NULL
               : "an end without a text";
}

static const char *entry_check(const Seqsync__Peer__Entry *entry)
{
    switch (entry->body_case) {
    case SEQSYNC__PEER__ENTRY__BODY_JOB_FORMED:
        if (!frame_name_ok(entry->job_formed->name) || entry->job_formed->n_rank_nodes < 1 ||
            entry->job_formed->n_rank_nodes > SEQSYNC_RANKS_MAX ||
            entry->job_formed->nonfinite > SEQSYNC_NONFINITE_PASS) {
            return "job formed: name, ranks or policy is out of its limits";
        }
        for (size_t i = 0; i < entry->job_formed->n_rank_nodes; i++) {
            if (entry->job_formed->rank_nodes[i] >= SEQSYNC_NODES_MAX) {
                return "job formed: a rank's node is out of its limits";
            }
        }
        return NULL;
    case SEQSYNC__PEER__ENTRY__BODY_JOB_ENDED:
        return end_check(entry->job_ended->code, entry->job_ended->rank, entry->job_ended->node,
                         entry->job_ended->text, entry->job_ended->hint);
    default:
        return "an entry without a body";
    }
}

const char *validate_peer_message(const Seqsync__Peer__PeerMessage *message)
{
    if (message->node >= SEQSYNC_NODES_MAX) {
        return "the sender's node is out of its limits";
    }
    switch (message->body_case) {
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_HELLO:
        return hello_check(message->hello);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_PROPOSE:
        return entry_check(message->propose);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_ENTRY:
        return entry_check(message->entry);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_JOIN:
        return join_check(message->join);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_GATHER:
        return gather_check(message->gather);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_AGREED:
        return agreed_check(message->agreed);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_FAIL:
        return end_check(message->fail->code, message->fail->rank, message->fail->node,
                         message->fail->text, message->fail->hint);
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_BYE:
        return validate_text(message->bye->reason, WIRE_TEXT_MAX) ? NULL : "bye: no text";
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_PING:
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_PONG:
        return NULL;
    default:
        return "a message without a body";
    }
}
