#include "daemon/core/outbox.h"

#include "daemon/base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){
        .actions = malloc((size_t)OUTBOX_ACTIONS_MAX * sizeof(struct action)),
        .messages = malloc(OUTBOX_MESSAGES_MAX * sizeof(struct message)),
        .entries = malloc(OUTBOX_ENTRIES_MAX * sizeof(struct entry)),
        .ends = malloc(OUTBOX_ENDS_MAX * sizeof(struct job_end)),
    };
    if (outbox->actions == NULL || outbox->messages == NULL || outbox->entries == NULL ||
        outbox->ends == NULL) {
        outbox_deinit(outbox);
        return err_origin(-ENOMEM);
    }
    return 0;
}

void outbox_deinit(struct outbox *outbox)
{
    free(outbox->actions);
    free(outbox->messages);
    free(outbox->entries);
    free(outbox->ends);
    *outbox = (struct outbox){.actions = NULL};
}

void outbox_clear(struct outbox *outbox)
{
    outbox->action_count = 0;
    outbox->message_count = 0;
    outbox->entry_count = 0;
    outbox->end_count = 0;
}

struct action *outbox_action(struct outbox *outbox, enum action_kind kind)
{
    assert(outbox->action_count < OUTBOX_ACTIONS_MAX);
    struct action *action = &outbox->actions[outbox->action_count++];
    /* A trace is written in whole by its one writer; the rest is small. */
    memset(action, 0, kind == ACTION_TRACE ? offsetof(struct action, trace) : sizeof(*action));
    action->kind = kind;
    return action;
}

struct message *outbox_message(struct outbox *outbox, enum message_kind kind)
{
    assert(outbox->message_count < OUTBOX_MESSAGES_MAX);
    struct message *message = &outbox->messages[outbox->message_count++];
    memset(message, 0, offsetof(struct message, join));
    message->kind = kind;
    return message;
}

struct entry *outbox_entry(struct outbox *outbox, enum entry_kind kind)
{
    assert(outbox->entry_count < OUTBOX_ENTRIES_MAX);
    struct entry *entry = &outbox->entries[outbox->entry_count++];
    memset(entry, 0, sizeof(*entry));
    entry->kind = kind;
    outbox_action(outbox, ACTION_PROPOSE)->entry = entry;
    return entry;
}

struct job_end *outbox_end(struct outbox *outbox)
{
    assert(outbox->end_count < OUTBOX_ENDS_MAX);
    struct job_end *end = &outbox->ends[outbox->end_count++];
    *end = (struct job_end){.rank = -1, .node = -1};
    return end;
}

void outbox_send(struct outbox *outbox, uint32_t node, const struct message *message)
{
    struct action *action = outbox_action(outbox, ACTION_MESSAGE);

    action->message.node = node;
    action->message.message = message;
}

void outbox_fail_worker(struct outbox *outbox, uint32_t worker, const struct job_end *end)
{
    struct action *action = outbox_action(outbox, ACTION_REPLY);

    action->reply.worker = worker;
    action->reply.kind = REPLY_FAILURE;
    action->reply.end = end;
    outbox_close(outbox, worker);
}

void outbox_close(struct outbox *outbox, uint32_t worker)
{
    outbox_action(outbox, ACTION_CLOSE)->close.worker = worker;
}

void outbox_trace(struct outbox *outbox, int level, const char *format, ...)
{
    struct action *action = outbox_action(outbox, ACTION_TRACE);
    va_list args;

    action->trace.level = level;
    va_start(args, format);
    vsnprintf(action->trace.text, sizeof(action->trace.text), format, args);
    va_end(args);
}
