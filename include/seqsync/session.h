/*
 * A session is one worker's membership of a job, held with the daemon of its node. It owns
 * everything else that this library hands out: exchanges, buffers, steps and results die with it.
 *
 * Threads: one session belongs to one thread at a time; two sessions are independent. No call
 * blocks for ever: each wait ends at the session's timeout, and a tenth of it (at most 5 s) in
 * which the daemon may still say who is late, with SEQSYNC_ERR_TIMEOUT and the name of who was
 * waited for. After a failure of the job every call answers with the job's first error; close the
 * session then.
 *
 * After fork() a child must not use the session; closing is left to the parent.
 */
#ifndef SEQSYNC_SESSION_H
#define SEQSYNC_SESSION_H

#include <seqsync/status.h>
#include <seqsync/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct seqsync_session;
struct seqsync_buffer;

/* What to do when a sum has a NaN or an infinity in it. The same on all ranks; part of the schema.
 */
enum seqsync_nonfinite {
    SEQSYNC_NONFINITE_FAIL = 0, /* the job fails, naming bucket and rank */
    SEQSYNC_NONFINITE_SKIP =
        1, /* the step commits with *ret_skip set on all ranks: update nothing */
    SEQSYNC_NONFINITE_PASS = 2, /* let the values pass */
};

/* Zero or NULL in any field means: take it from the environment, else the default. */
struct seqsync_session_options {
    size_t size; /* sizeof(struct seqsync_session_options) */
    const char
        *socket_path; /* SEQSYNC_SOCKET, else /run/seqsync/seqsync.sock. Borrowed during the call */
    const char *job;  /* SEQSYNC_JOB, TORCHELASTIC_RUN_ID, SLURM_JOB_ID.SLURM_STEP_ID, else
                         "default". Borrowed */
    int32_t rank;     /* -1 = from the environment */
    int32_t world_size;  /* 0 = from the environment */
    uint32_t timeout_ms; /* longest wait of any call; SEQSYNC_TIMEOUT_MS, else 600000 */
    uint32_t nonfinite;  /* enum seqsync_nonfinite */
};

/* Fills in "everything from the environment". */
void seqsync_session_options_init(struct seqsync_session_options *options);

/*
 * Joins the job and returns when all world_size ranks have joined on their nodes. @options may be
 * NULL.
 *
 * Rank and world size come from, in this order: the options; SEQSYNC_RANK and SEQSYNC_WORLD_SIZE;
 * RANK and WORLD_SIZE (torchrun); SLURM_PROCID and SLURM_NTASKS; OMPI_COMM_WORLD_RANK and _SIZE;
 * PMI_RANK and PMI_SIZE; else a single process.
 *
 * UNREACHABLE, VERSION, NOT_PERMITTED, CONFIG (environment), TIMEOUT (names the missing ranks),
 * NO_CAPACITY. On failure *ret is NULL, or, where a text could be kept, a session that only
 * seqsync_session_error() and _close() may be given.
 */
int seqsync_session_open(const struct seqsync_session_options *options,
                         struct seqsync_session **ret);

/* Leaves the job and frees everything of the session. Accepts NULL; returns NULL. Waits for nobody.
 */
struct seqsync_session *seqsync_session_close(struct seqsync_session *session);

int32_t seqsync_session_rank(const struct seqsync_session *session);
int32_t seqsync_session_world_size(const struct seqsync_session *session);
int32_t seqsync_session_node(
    const struct seqsync_session *session); /* this node's index, 0 .. node_count - 1 */
int32_t seqsync_session_node_count(
    const struct seqsync_session *session); /* nodes that have ranks of this job or not */
int32_t seqsync_session_local_rank(
    const struct seqsync_session *session); /* place among this node's ranks */
uint64_t seqsync_session_generation(const struct seqsync_session *session);

/* What went wrong last in this session: "what, where, why; next". "" if nothing did. Valid until
 * the next call. */
const char *seqsync_session_error(const struct seqsync_session *session);

/* Time and bytes since the session was opened; all monotonic. */
struct seqsync_session_counters {
    uint64_t wait_ns;         /* in waits for keys, returns, gradients, commits */
    uint64_t kv_local_bytes;  /* K/V read in place from workers of this node */
    uint64_t kv_remote_bytes; /* K/V read from the node's inbox */
    uint64_t return_bytes;    /* dK/dV handed in for other ranks */
    uint64_t gradient_bytes;  /* gradients contributed */
    uint64_t shared_bytes;    /* shared memory lent to this session now, own arena and results */
};
void seqsync_session_counters(const struct seqsync_session *session,
                              struct seqsync_session_counters *ret);

/*
 * Shared buffers: @bytes of zeroed memory in a sealed memfd that the daemon made and charges to
 * this user. 64-byte aligned. NO_CAPACITY names the quota. The session frees what the caller did
 * not.
 */
int seqsync_buffer_create(struct seqsync_session *session, size_t bytes,
                          struct seqsync_buffer **ret);
void *seqsync_buffer_data(const struct seqsync_buffer *buffer);
size_t seqsync_buffer_size(const struct seqsync_buffer *buffer);
struct seqsync_buffer *
seqsync_buffer_free(struct seqsync_buffer *buffer); /* accepts NULL; returns NULL */

#ifdef __cplusplus
}
#endif
#endif
