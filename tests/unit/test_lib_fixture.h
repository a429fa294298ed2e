/*
 * A daemon that the test plays: it listens at a socket in a private directory, and a thread per
 * rank answers as a script says, honestly or not. Plans are real ones, of daemon/plan.
 *
 * What goes wrong in a thread is kept and told by fake_stop(), since cmocka fails by longjmp.
 */
#ifndef SEQSYNC_TESTS_UNIT_TEST_LIB_FIXTURE_H
#define SEQSYNC_TESTS_UNIT_TEST_LIB_FIXTURE_H

#include "daemon/plan/plan.h"
#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/part.h"

#include <pthread.h>
#include <seqsync/session.h>
#include <stdbool.h>

#define FAKE_RANKS_MAX 4
#define FAKE_TIMEOUT_MS 20000 /* of sessions that are not meant to run into it */

typedef Seqsync__Worker__WorkerMessage worker_message;
typedef Seqsync__Worker__DaemonMessage daemon_message;

struct fake_segment {
    int fd; /* -1 = none */
    int read_fd;
    uint8_t *data;
    size_t bytes;
};

struct fake;

/* One rank's connection. */
struct fake_worker {
    struct fake *fake;
    int fd;
    uint32_t rank;
    struct frame_memory *memory;
    const worker_message *message; /* last one received */
    uint8_t in[WIRE_WORKER_FRAME_MAX];
    struct fake_segment gradient, arena;
    pthread_t thread;
};

/* What a worker's thread does once its Hello is here (in worker->message). */
typedef void fake_script(struct fake_worker *worker);

struct fake {
    char folder[64];
    char path[108];
    int listen_fd;
    uint32_t ranks; /* world size; ranks of other_node live elsewhere and have no worker */
    uint32_t locals;
    bool keep_memory; /* the arenas of the first step serve all */
    bool any_rank;    /* the only worker may call itself what it likes */
    fake_script *script;
    void *ctx; /* the test's own */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t arrived;  /* at the meeting of the workers' threads that is on */
    uint32_t meetings; /* that are over */
    struct fake_worker workers[FAKE_RANKS_MAX];
    struct arena_schema schema; /* as the first rank registered */
    struct seqsync_exchange_shape exchanges[SEQSYNC_EXCHANGES_MAX];
    struct seqsync_bucket_shape buckets[SEQSYNC_BUCKETS_MAX];
    struct arena_page page_layout;
    struct arena_rank rank_layouts[FAKE_RANKS_MAX]; /* of the step */
    struct arena_inbox inbox_layout;
    struct fake_segment page, result, inbox;
    struct plan *plan;
    char problem[256]; /* first one, "" = none */
};

/* Starts to listen. What a script reads of @fake is set between these two. */
void fake_prepare(struct fake *fake, uint32_t ranks, uint32_t locals, fake_script *script);
void fake_listen(struct fake *fake);

/* Both. Starts to listen for @locals workers of a job of @ranks; @script NULL accepts nobody. Ranks
 * from
 * @locals on live on a node 1 that does not exist. */
void fake_start(struct fake *fake, uint32_t ranks, uint32_t locals, fake_script *script);

/* Waits for the threads, frees everything, and fails the test if a thread had a problem. */
void fake_stop(struct fake *fake);

/* Options that lead to @fake. */
void fake_options(const struct fake *fake, uint32_t rank, struct seqsync_session_options *ret);

/* --- for scripts, in the worker's thread --- */

void fake_problem(struct fake *fake, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The next message, in worker->message; false at the end of the connection. */
bool fake_receive(struct fake_worker *worker);

/* Receives a message of that body, which must be the next. */
bool fake_expect(struct fake_worker *worker, Seqsync__Worker__WorkerMessage__BodyCase body);

/* Receives a Ready of that kind. */
bool fake_expect_ready(struct fake_worker *worker, Seqsync__Worker__ReadyKind kind, uint32_t id);

/* Sends with the request of the last message, and @fds beside it. */
void fake_send(struct fake_worker *worker, daemon_message *message, const int *fds, uint32_t count);
void fake_send_bytes(struct fake_worker *worker, const void *bytes, size_t length, const int *fds,
                     uint32_t count);
void fake_send_failure(struct fake_worker *worker, uint64_t request, int32_t code,
                       const char *text);

/* Waits until the threads of all local workers have come here. */
void fake_meet(struct fake *fake);

/* Honest answers. Each but welcome receives its question first. false at the end. */
void fake_welcome(struct fake_worker *worker);
bool fake_register(struct fake_worker *worker);
bool fake_begin(struct fake_worker *worker, uint64_t step);
bool fake_commit(struct fake_worker *worker, bool skip);
bool fake_barrier(struct fake_worker *worker); /* takes a barrier and answers it */

/* Receives a registration and makes the memory, without answering. */
bool fake_take_register(struct fake_worker *worker);

/* The registration's answer, for scripts that spoil it. */
void fake_registered_init(const struct fake_worker *worker, daemon_message *message,
                          Seqsync__Worker__Registered *body, int fds[3]);

/* Receives a beginning, plans it and makes arenas, without answering; then the answer. @part is
 * owned by the caller. @fds: part, arenas, inbox; the count is locals + 2. */
bool fake_take_begin(struct fake_worker *worker);
void fake_step_start_init(struct fake_worker *worker, uint64_t step, struct fake_segment *part,
                          daemon_message *message, Seqsync__Worker__StepStart *body,
                          uint64_t arena_bytes[FAKE_RANKS_MAX], int fds[FAKE_RANKS_MAX + 2]);

/* Sets a word in shared memory and wakes who waits for it. */
void fake_raise(uint8_t *word, uint32_t value);

/* @seals in addition to none; bytes 0 is allowed. */
void fake_segment_make(struct fake_segment *segment, size_t bytes, int seals);
void fake_segment_free(struct fake_segment *segment);

/* Waits, in the test's thread, until @count meetings are over. */
void fake_await_meetings(struct fake *fake, uint32_t count);

/* --- for workers' sides --- */

/* A worker of its own thread, with a session that is open and in the job. */
struct fake_run {
    struct fake *fake;
    uint32_t rank;
    void (*work)(struct fake_run *run);
    struct seqsync_session *session;
    void *ctx;
    char problem[512]; /* first one, "" = none */
    pthread_t thread;
};

/* Notes what is not @ok, once. Returns @ok. */
bool run_must(struct fake_run *run, bool ok, const char *what);

/* Runs @work for each local rank, each in a thread, closes the sessions and fails the test with the
 * first problem. @ctxs: one for each, or NULL. */
void fake_work(struct fake *fake, void (*work)(struct fake_run *run), void *const *ctxs);

/* --- for both --- */

/* How many descriptors this process has open. */
uint32_t open_descriptors(void);

/* A batch of @count sequences. */
void batch_of(struct seqsync_batch *ret, struct seqsync_sequence *sequences, uint32_t count,
              const int64_t *tokens, enum seqsync_mask mask, enum seqsync_placement placement);

#endif
