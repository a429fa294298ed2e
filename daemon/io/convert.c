#include "daemon/io/convert.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static char *text_out(const char *text)
{
    /* protobuf-c has no const strings; packing does not write to them. */
    return (char *)(uintptr_t)text;
}

static void text_in(char to[MESSAGE_TEXT_MAX], const char *from)
{
    snprintf(to, MESSAGE_TEXT_MAX, "%s", from);
}

static ProtobufCBinaryData bytes_out(const void *data, uint32_t bytes)
{
    return (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)(uintptr_t)data};
}

static void join_out(const struct message_join *join, struct convert_out *ret)
{
    Seqsync__Peer__Join *to = &ret->body.join;

    seqsync__peer__join__init(to);
    to->job = text_out(join->job);
    to->rank = join->rank;
    to->world_size = join->world_size;
    to->nonfinite = join->nonfinite;
    to->leave = join->leave;
    ret->message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_JOIN;
    ret->message.join = to;
}

static void gather_out(const struct message_gather *gather, struct convert_out *ret)
{
    Seqsync__Peer__Gather *to = &ret->body.gather;

    seqsync__peer__gather__init(to);
    to->kind = (Seqsync__Peer__GatherKind)gather->kind;
    to->sequence = gather->sequence;
    to->member = gather->member;
    to->digest = gather->digest;
    to->dtype = gather->dtype;
    to->op = gather->op;
    to->payload = bytes_out(gather->payload, gather->payload_bytes);
    to->skip = gather->skip;
    ret->message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_GATHER;
    ret->message.gather = to;
}

static void agreed_out(const struct message_agreed *agreed, struct convert_out *ret)
{
    Seqsync__Peer__Agreed *to = &ret->body.agreed;

    seqsync__peer__agreed__init(to);
    to->kind = (Seqsync__Peer__GatherKind)agreed->kind;
    to->sequence = agreed->sequence;
    to->digest = agreed->digest;
    to->payload = bytes_out(agreed->payload, agreed->payload_bytes);
    to->skip = agreed->skip;
    ret->message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_AGREED;
    ret->message.agreed = to;
}

static void fail_out(const struct job_end *end, struct convert_out *ret)
{
    Seqsync__Peer__Fail *to = &ret->body.fail;

    seqsync__peer__fail__init(to);
    to->code = end->code;
    to->rank = end->rank;
    to->node = end->node;
    to->text = text_out(end->text);
    to->hint = text_out(end->hint);
    ret->message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_FAIL;
    ret->message.fail = to;
}

void convert_message_out(const struct message *message, struct convert_out *ret)
{
    seqsync__peer__peer_message__init(&ret->message);
    ret->message.job = message->job;
    ret->message.generation = message->generation;
    switch (message->kind) {
    case MESSAGE_JOIN:
        join_out(&message->join, ret);
        return;
    case MESSAGE_GATHER:
        gather_out(&message->gather, ret);
        return;
    case MESSAGE_AGREED:
        agreed_out(&message->agreed, ret);
        return;
    case MESSAGE_FAIL:
        fail_out(&message->fail, ret);
        return;
    }
    assert(!"a message of no kind");
}

static void formed_out(const struct entry *entry, struct convert_out *ret)
{
    Seqsync__Peer__JobFormed *to = &ret->inner.formed;

    seqsync__peer__job_formed__init(to);
    to->job = entry->job;
    to->generation = entry->generation;
    to->name = text_out(entry->formed.name);
    to->nonfinite = entry->formed.nonfinite;
    for (uint32_t rank = 0; rank < entry->formed.world_size; rank++) {
        ret->rank_nodes[rank] = entry->formed.rank_nodes[rank];
    }
    to->n_rank_nodes = entry->formed.world_size;
    to->rank_nodes = ret->rank_nodes;
    ret->body.entry.body_case = SEQSYNC__PEER__ENTRY__BODY_JOB_FORMED;
    ret->body.entry.job_formed = to;
}

static void ended_out(const struct entry *entry, struct convert_out *ret)
{
    Seqsync__Peer__JobEnded *to = &ret->inner.ended;

    seqsync__peer__job_ended__init(to);
    to->job = entry->job;
    to->generation = entry->generation;
    to->code = entry->ended.code;
    to->rank = entry->ended.rank;
    to->node = entry->ended.node;
    to->text = text_out(entry->ended.text);
    to->hint = text_out(entry->ended.hint);
    ret->body.entry.body_case = SEQSYNC__PEER__ENTRY__BODY_JOB_ENDED;
    ret->body.entry.job_ended = to;
}

void convert_entry_out(const struct entry *entry, struct convert_out *ret)
{
    seqsync__peer__peer_message__init(&ret->message);
    seqsync__peer__entry__init(&ret->body.entry);
    ret->body.entry.index = entry->index;
    if (entry->kind == ENTRY_JOB_FORMED) {
        formed_out(entry, ret);
    } else {
        ended_out(entry, ret);
    }
    if (entry->index == 0) {
        ret->message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_PROPOSE;
        ret->message.propose = &ret->body.entry;
    } else {
        ret->message.body_case = SEQSYNC__PEER__PEER_MESSAGE__BODY_ENTRY;
        ret->message.entry = &ret->body.entry;
    }
}

static void join_in(const Seqsync__Peer__Join *from, struct message_join *ret)
{
    snprintf(ret->job, sizeof(ret->job), "%s", from->job);
    ret->rank = from->rank;
    ret->world_size = from->world_size;
    ret->nonfinite = from->nonfinite;
    ret->leave = from->leave;
}

bool convert_message_in(const Seqsync__Peer__PeerMessage *from, struct message *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->job = from->job;
    ret->generation = from->generation;
    switch (from->body_case) {
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_JOIN:
        ret->kind = MESSAGE_JOIN;
        join_in(from->join, &ret->join);
        return true;
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_GATHER:
        ret->kind = MESSAGE_GATHER;
        ret->gather = (struct message_gather){.kind = (enum gather_kind)from->gather->kind,
                                              .sequence = from->gather->sequence,
                                              .member = from->gather->member,
                                              .digest = from->gather->digest,
                                              .dtype = from->gather->dtype,
                                              .op = from->gather->op,
                                              .skip = from->gather->skip,
                                              .payload_bytes = (uint32_t)from->gather->payload.len,
                                              .payload = from->gather->payload.data};
        return true;
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_AGREED:
        ret->kind = MESSAGE_AGREED;
        ret->agreed = (struct message_agreed){.kind = (enum gather_kind)from->agreed->kind,
                                              .sequence = from->agreed->sequence,
                                              .digest = from->agreed->digest,
                                              .skip = from->agreed->skip,
                                              .payload_bytes = (uint32_t)from->agreed->payload.len,
                                              .payload = from->agreed->payload.data};
        return true;
    case SEQSYNC__PEER__PEER_MESSAGE__BODY_FAIL:
        ret->kind = MESSAGE_FAIL;
        ret->fail.code = from->fail->code;
        ret->fail.rank = from->fail->rank;
        ret->fail.node = from->fail->node;
        text_in(ret->fail.text, from->fail->text);
        text_in(ret->fail.hint, from->fail->hint);
        return true;
    default:
        return false;
    }
}

static bool formed_in(const Seqsync__Peer__JobFormed *from, uint32_t node_count, struct entry *ret)
{
    uint32_t on_node[SEQSYNC_NODES_MAX] = {0};

    ret->kind = ENTRY_JOB_FORMED;
    ret->job = from->job;
    ret->generation = from->generation;
    ret->formed.nonfinite = from->nonfinite;
    ret->formed.world_size = (uint32_t)from->n_rank_nodes;
    snprintf(ret->formed.name, sizeof(ret->formed.name), "%s", from->name);
    for (size_t rank = 0; rank < from->n_rank_nodes; rank++) {
        const uint32_t node = from->rank_nodes[rank];
        if (node >= node_count || ++on_node[node] > SEQSYNC_LOCAL_RANKS_MAX) {
            return false;
        }
        ret->formed.rank_nodes[rank] = (uint16_t)node;
    }
    return from->n_rank_nodes > 0;
}

static bool ended_in(const Seqsync__Peer__JobEnded *from, struct entry *ret)
{
    ret->kind = ENTRY_JOB_ENDED;
    ret->job = from->job;
    ret->generation = from->generation;
    ret->ended.code = from->code;
    ret->ended.rank = from->rank;
    ret->ended.node = from->node;
    text_in(ret->ended.text, from->text);
    text_in(ret->ended.hint, from->hint);
    return true;
}

bool convert_entry_in(const Seqsync__Peer__PeerMessage *from, uint32_t node_count,
                      struct entry *ret)
{
    const Seqsync__Peer__Entry *entry;

    if (from->body_case == SEQSYNC__PEER__PEER_MESSAGE__BODY_PROPOSE) {
        entry = from->propose;
    } else if (from->body_case == SEQSYNC__PEER__PEER_MESSAGE__BODY_ENTRY) {
        entry = from->entry;
    } else {
        return false;
    }
    /* A proposal has no index yet; a committed entry has one. */
    if ((from->body_case == SEQSYNC__PEER__PEER_MESSAGE__BODY_PROPOSE) != (entry->index == 0)) {
        return false;
    }
    memset(ret, 0, sizeof(*ret));
    ret->index = entry->index;
    if (entry->body_case == SEQSYNC__PEER__ENTRY__BODY_JOB_FORMED) {
        return formed_in(entry->job_formed, node_count, ret);
    }
    return ended_in(entry->job_ended, ret);
}
