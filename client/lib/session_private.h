/* What the library's files share. Nothing here leaves the library. */
#ifndef SEQSYNC_LIB_SESSION_PRIVATE_H
#define SEQSYNC_LIB_SESSION_PRIVATE_H

#include "client/lib/segment.h"
#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/part.h"

#include <seqsync/gradient.h>
#include <seqsync/plan.h>
#include <seqsync/session.h>
#include <stdbool.h>
#include <sys/types.h>

#define SEQSYNC__TEXT_MAX 1400
/* Beyond the session's timeout, so that the daemon, who knows the culprit, speaks first; a tenth of
 * it, at most this. */
#define SEQSYNC__GRACE_MS_MAX 5000u

/* What seqsync_step_* work on. One at a time, embedded in the session. */
struct seqsync_step {
    struct seqsync_session *session;
    bool open;
    uint64_t number;
    struct seqsync__map part_map;
    struct part part;
    uint32_t local; /* our place among the local ranks */
    struct arena_rank rank_layouts[SEQSYNC_LOCAL_RANKS_MAX];
    struct arena_inbox inbox_layout;
    bool kv_published[SEQSYNC_EXCHANGES_MAX];
    bool return_published[SEQSYNC_EXCHANGES_MAX];
    bool contributed[SEQSYNC_BUCKETS_MAX];
    int32_t slot_user[ARENA_RETURN_SLOTS]; /* exchange that last used the return slot in this step,
                                              -1 = none */
    uint64_t *
        source_seen[SEQSYNC_SPACES_N]; /* bitmap [exchange][source]: counted in the byte counters */
    uint64_t begun_ns;                 /* when the step had started */
    uint64_t wait_ns;                  /* since then, in waits of this step */
    uint64_t kv_remote_bytes;
    uint64_t return_bytes;
};

struct seqsync_buffer {
    struct seqsync_session *session;
    struct seqsync_buffer *next;
    struct seqsync__map map;
    size_t bytes; /* as asked for */
    uint32_t id;
};

struct seqsync_session {
    int fd; /* -1 = not connected, or over */
    pid_t pid;
    char socket_path[108];
    char job[SEQSYNC_NAME_MAX + 1];
    char node_name[SEQSYNC_NAME_MAX + 1];
    int32_t rank;
    int32_t world_size;
    uint32_t timeout_ms;
    uint32_t nonfinite;
    uint64_t generation;
    uint32_t node, node_count, local_rank, local_count;
    int failed; /* first error of the job, sticky; 0 = none */
    char text[SEQSYNC__TEXT_MAX];
    uint64_t request;
    struct frame_memory *memory;
    uint8_t *scratch; /* [WIRE_WORKER_FRAME_MAX] */

    bool registered;
    struct arena_schema schema;
    struct seqsync_exchange_shape exchanges[SEQSYNC_EXCHANGES_MAX];
    struct seqsync_bucket_shape buckets[SEQSYNC_BUCKETS_MAX];
    struct arena_page page_layout;
    struct seqsync__map page, gradient, result;
    struct seqsync__map arenas[SEQSYNC_LOCAL_RANKS_MAX];
    struct seqsync__map inbox;
    uint64_t parameter_round;
    uint64_t reduce_sequence;
    uint64_t step_number; /* last one begun */
    struct seqsync_step step;
    struct seqsync_buffer *buffers;
    struct seqsync_session_counters counters;
};

/* --- session.c --- */

/* Keeps the text and answers @status. Errors of the job stay; others are of the call only. */
int seqsync__fail(struct seqsync_session *session, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As above, and the job is over for this session: every later call answers the same. */
int seqsync__end(struct seqsync_session *session, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As above, for a static sentence about an answer: NO_MEMORY if that is what it says, else
 * PROTOCOL.
 */
int seqsync__end_answer(struct seqsync_session *session, const char *what, const char *why);

/* 0 if the session can be used: not NULL, alive, in its own process, not failed. */
int seqsync__check(struct seqsync_session *session);

uint64_t seqsync__now_ns(void);

/* When a wait that begins now must end. */
uint64_t seqsync__deadline_ns(const struct seqsync_session *session);

/* --- channel.c --- */

struct seqsync__fds {
    int fds[WIRE_FDS_MAX];
    uint32_t count;
};

/* Closes what was not taken. */
void seqsync__fds_close(struct seqsync__fds *fds);

int seqsync__connect(struct seqsync_session *session);

/* Sends without waiting for an answer. */
int seqsync__send(struct seqsync_session *session, Seqsync__Worker__WorkerMessage *message);

/* Sends if that needs no waiting at all; whether it arrives is not known. */
void seqsync__send_last(struct seqsync_session *session, Seqsync__Worker__WorkerMessage *message);

/*
 * Sends and waits for the answer, which must have body @body and lives until the next call.
 * @ret_fds NULL: the answer may have none. A Failure as the answer becomes its code; asked for or
 * not, it ends the job unless @soft.
 */
int seqsync__call(struct seqsync_session *session, Seqsync__Worker__WorkerMessage *message,
                  Seqsync__Worker__DaemonMessage__BodyCase body, bool soft,
                  Seqsync__Worker__DaemonMessage **ret, struct seqsync__fds *ret_fds);

/*
 * Looks whether the daemon has said or is something that ends the job, for @wait_ms at most; 0 does
 * not wait. 0 = no.
 */
int seqsync__poll_failure(struct seqsync_session *session, uint32_t wait_ms);

/* --- wait.c --- */

/*
 * Waits until the 32-bit word at @word equals @value. What is waited for is told by @format on
 * failure. Counts the time.
 */
int seqsync__wait_word(struct seqsync_session *session, const void *word, uint32_t value,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Release store and wake-up of whoever waits for the word. */
void seqsync__raise_word(void *word, uint32_t value);

/* --- step.c --- */
int seqsync__step_check(struct seqsync_step *step);
void seqsync__step_close(struct seqsync_step *step);

/* --- gradient.c --- */
float *seqsync__bucket_data(const struct seqsync_session *session, const struct seqsync__map *map,
                            uint32_t bucket);

#endif
