/*
 * The actions of one engine step, with what they point to, in arrays sized once for the most that
 * one event can cause. They stay valid until the next step clears them.
 */
#ifndef SEQSYNC_CORE_OUTBOX_H
#define SEQSYNC_CORE_OUTBOX_H

#include "daemon/core/engine.h"

/*
 * The most actions: losing the conductor ends every job (a failure and a close for each local
 * worker, and a few lines for each job) and sends every worker away that waits for one (a failure,
 * a close and a farewell). One job alone: each rank's join is refused, or each holder's sum begins.
 */
#define OUTBOX_ACTIONS_MAX                                                                         \
    (ENGINE_JOBS_MAX * (5 * SEQSYNC_LOCAL_RANKS_MAX + 16) + 2 * SEQSYNC_RANKS_MAX + 256)
#define OUTBOX_MESSAGES_MAX (ENGINE_JOBS_MAX * (SEQSYNC_LOCAL_RANKS_MAX + 8) + SEQSYNC_RANKS_MAX)
#define OUTBOX_ENTRIES_MAX (2 * ENGINE_JOBS_MAX)
#define OUTBOX_ENDS_MAX (ENGINE_JOBS_MAX * SEQSYNC_LOCAL_RANKS_MAX + 16)

struct outbox {
    struct action *actions;
    struct message *messages;
    struct entry *entries;
    struct job_end *ends;
    uint32_t action_count;
    uint32_t message_count;
    uint32_t entry_count;
    uint32_t end_count;
};

/* -ENOMEM. */
int outbox_init(struct outbox *outbox);
void outbox_deinit(struct outbox *outbox);
void outbox_clear(struct outbox *outbox);

/* Each gives one more of its kind, zeroed (a message only its head); asserts that there is room. */
struct action *outbox_action(struct outbox *outbox, enum action_kind kind);
struct message *outbox_message(struct outbox *outbox, enum message_kind kind);
struct entry *outbox_entry(struct outbox *outbox, enum entry_kind kind);
struct job_end *outbox_end(struct outbox *outbox);

void outbox_send(struct outbox *outbox, uint32_t node, const struct message *message);
void outbox_fail_worker(struct outbox *outbox, uint32_t worker, const struct job_end *end);
void outbox_close(struct outbox *outbox, uint32_t worker);
void outbox_trace(struct outbox *outbox, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum trace_level {
    TRACE_ERROR = 3,
    TRACE_WARNING = 4,
    TRACE_NOTICE = 5,
    TRACE_INFO = 6,
    TRACE_DEBUG = 7,
};

#endif
