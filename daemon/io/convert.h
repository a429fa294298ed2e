/* Between the engine's plain messages and the peer plane's protobuf. Pure; borrows everything
 * during the call. */
#ifndef SEQSYNC_IO_CONVERT_H
#define SEQSYNC_IO_CONVERT_H

#include "daemon/core/message.h"
#include "proto/frame.h"

/* A protobuf message with room for its parts; it points into what it was made from. */
struct convert_out {
    Seqsync__Peer__PeerMessage message;
    union {
        Seqsync__Peer__Join join;
        Seqsync__Peer__Gather gather;
        Seqsync__Peer__Agreed agreed;
        Seqsync__Peer__Fail fail;
        Seqsync__Peer__Entry entry;
    } body;
    union {
        Seqsync__Peer__JobFormed formed;
        Seqsync__Peer__JobEnded ended;
    } inner;
    uint32_t rank_nodes[SEQSYNC_RANKS_MAX];
};

void convert_message_out(const struct message *message, struct convert_out *ret);

/* A proposal if entry->index is 0, else a committed entry. */
void convert_entry_out(const struct entry *entry, struct convert_out *ret);

/* False if it carries no engine message (an entry, say). The frame decoder has checked all ranges.
 */
bool convert_message_in(const Seqsync__Peer__PeerMessage *from, struct message *ret);

/* False if it carries no entry. @node_count bounds the nodes that an entry may name. */
bool convert_entry_in(const Seqsync__Peer__PeerMessage *from, uint32_t node_count,
                      struct entry *ret);

#endif
