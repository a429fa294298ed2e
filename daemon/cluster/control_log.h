/*
 * The control log: what all nodes must see in one order. The engine proposes entries and acts on
 * committed ones only.
 *
 * This log is local: the member list is static, and node 0 orders entries by itself. An entry is
 * committed when node 0 has given it its index; the other nodes learn of it over the peer control
 * plane, in order. If node 0 is lost, nothing can be committed any more, and the engines end their
 * jobs by themselves.
 */
#ifndef SEQSYNC_CLUSTER_CONTROL_LOG_H
#define SEQSYNC_CLUSTER_CONTROL_LOG_H

#include "daemon/core/message.h"

struct control_log_ops {
    /* Sends a proposal to the conductor, or (index set) a committed entry to a member. */
    void (*send)(void *ctx, uint32_t node, const struct entry *entry);
    /* An entry is committed here, in the order of indices. May come inside control_log_propose():
     * the callee queues it. */
    void (*committed)(void *ctx, const struct entry *entry);
};

struct control_log {
    struct control_log_ops ops;
    void *ctx;
    uint32_t node;
    uint32_t node_count;
    uint64_t last_index; /* given (conductor) or seen */
    uint64_t gaps;       /* entries that were committed while this node was cut off */
};

void control_log_init(struct control_log *log, uint32_t node, uint32_t node_count,
                      const struct control_log_ops *ops, void *ctx);

/* Proposes; borrows @entry during the call. */
void control_log_propose(struct control_log *log, const struct entry *entry);

enum control_log_outcome {
    CONTROL_LOG_NOT_CONDUCTOR = 1, /* a proposal came to a node that does not conduct */
    CONTROL_LOG_NOT_FROM_CONDUCTOR = 2,
    CONTROL_LOG_OLD = 3, /* an index that was seen already: dropped */
};

/* A proposal (index 0) or a committed entry arrived from @node. 0, or an outcome that changes
 * nothing. */
int control_log_receive(struct control_log *log, uint32_t node, const struct entry *entry);

/* Node 0 came back as a new incarnation: its indices start anew. */
void control_log_restart(struct control_log *log);

#endif
