#include "daemon/cluster/control_log.h"

#define CONDUCTOR 0

void control_log_init(struct control_log *log, uint32_t node, uint32_t node_count,
                      const struct control_log_ops *ops, void *ctx)
{
    *log = (struct control_log){.ops = *ops, .ctx = ctx, .node = node, .node_count = node_count};
}

/* Gives the next index and tells everybody, ourselves included. */
static void log_commit(struct control_log *log, const struct entry *proposal)
{
    struct entry entry = *proposal;

    entry.index = ++log->last_index;
    for (uint32_t node = 0; node < log->node_count; node++) {
        if (node != log->node) {
            log->ops.send(log->ctx, node, &entry);
        }
    }
    log->ops.committed(log->ctx, &entry);
}

void control_log_propose(struct control_log *log, const struct entry *entry)
{
    if (log->node == CONDUCTOR) {
        log_commit(log, entry);
    } else {
        log->ops.send(log->ctx, CONDUCTOR, entry);
    }
}

int control_log_receive(struct control_log *log, uint32_t node, const struct entry *entry)
{
    if (entry->index == 0) {
        if (log->node != CONDUCTOR) {
            return CONTROL_LOG_NOT_CONDUCTOR;
        }
        log_commit(log, entry);
        return 0;
    }
    if (node != CONDUCTOR || log->node == CONDUCTOR) {
        return CONTROL_LOG_NOT_FROM_CONDUCTOR;
    }
    if (entry->index <= log->last_index) {
        return CONTROL_LOG_OLD;
    }
    log->gaps += entry->index - log->last_index - 1;
    log->last_index = entry->index;
    log->ops.committed(log->ctx, entry);
    return 0;
}

void control_log_restart(struct control_log *log)
{
    log->last_index = 0;
}
