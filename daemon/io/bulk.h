/*
 * Bulk plane: tensors between daemons. One PULL socket per node receives from all peers, one PUSH
 * socket per peer sends; each direction has a thread of its own, so that a slow peer delays neither
 * the loop nor the other peers.
 *
 * A **transfer** is a run of bytes with a key (job, kind, id, part, sender) and a step. The
 * receiver must expect it before the sender may send it (the engine's GATHER_PLAN sees to that), so
 * that every payload goes straight from libzmq's buffer to its place; what nobody expects is
 * dropped and counted. Frames of one transfer come in order on one connection; a gap, a duplicate,
 * a wrong length or a wrong checksum breaks the job and names the sender, it never makes a wrong
 * sum.
 *
 * Bounds: at most BULK_HWM frames a peer are inside libzmq at either end; the rest of a send is a
 * descriptor here, not bytes. A receiver never waits for anything but the lock of the table.
 */
#ifndef SEQSYNC_IO_BULK_H
#define SEQSYNC_IO_BULK_H

#include "proto/bulk.h"

#include <seqsync/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#define BULK_HWM 64
#define BULK_PIECES_MAX 2

struct bulk;
struct curve;

struct bulk_piece {
    void *data;
    size_t bytes;
};

struct bulk_key {
    uint64_t job;
    uint32_t id;
    uint16_t part; /* BULK_PARAMETER: ignored */
    uint8_t kind;  /* enum bulk_kind */
    uint8_t node;  /* sender; BULK_PARAMETER: ignored */
};

/* A whole transfer has arrived. */
struct bulk_arrival {
    struct bulk_key key;
    uint64_t step;
    int64_t count;
    uint16_t part;
    uint8_t node;
    bool nonfinite;
};

/* Both are called in the loop's thread, never inside a call of this module. */
struct bulk_ops {
    void (*on_arrival)(void *ctx, const struct bulk_arrival *arrival);
    void (*on_broken)(void *ctx, uint64_t job, uint32_t node, int32_t code, const char *text);
};

struct bulk_config {
    uv_loop_t *loop;
    void *zmq;            /* context */
    struct curve *curve;  /* NULL = no keys */
    bool allow_plaintext; /* beyond this machine without keys */
    uint32_t node;
    uint32_t node_count;
    uint64_t incarnation;
    const char *const *names;     /* [node_count], borrowed for life */
    const char *const *endpoints; /* [node_count], bulk endpoints */
    struct bulk_ops ops;
    void *ctx;
};

struct bulk_counters {
    uint64_t sent_bytes; /* payload handed to libzmq */
    uint64_t received_bytes;
    uint64_t unexpected_frames; /* stale or unknown: dropped */
    uint64_t rejected_frames;   /* malformed, or from somebody else than they say */
    uint64_t checksum_errors;
};

/* Binds, connects, starts the threads. With one node there are no sockets. Negative errno; the
 * reason in @ret_text[size]. */
int bulk_open(const struct bulk_config *config, struct bulk **ret, char *ret_text, size_t size);

/*
 * Stops the threads and closes the sockets. What libzmq still holds is let go of by zmq_ctx_term(),
 * which comes next; then bulk_free() reports the last sends as done and frees all in a close
 * callback. Both accept NULL.
 */
void bulk_close(struct bulk *bulk);
void bulk_free(struct bulk *bulk);

/*
 * Expects the transfer @key of @step into @pieces (in order, together the whole transfer). Replaces
 * an expectation of the same key that is complete or of an earlier step. The memory must stay until
 * bulk_forget(). -ENOMEM.
 */
int bulk_expect(struct bulk *bulk, const struct bulk_key *key, uint64_t generation, uint64_t step,
                const struct bulk_piece *pieces, uint32_t piece_count);

/* Drops the expectation of @key; afterwards no thread writes to its memory. */
void bulk_forget(struct bulk *bulk, const struct bulk_key *key);

/* Drops all of a job. */
void bulk_forget_job(struct bulk *bulk, uint64_t job);

/* Drops those of a job whose memory depends on the plan: BULK_KV and BULK_RETURN. */
void bulk_forget_steps(struct bulk *bulk, uint64_t job);

/* One transfer to send. Allocated by the caller with room for its pieces; belongs to bulk until
 * done(). */
struct bulk_send {
    void (*done)(struct bulk_send *send); /* loop thread: libzmq is finished with all memory, or the
                                             send was cancelled */
    struct bulk_header
        header;    /* job, generation, step, id, part, kind, count, flags: set by the caller */
    uint32_t node; /* to */
    uint32_t piece_count;
    const struct bulk_piece *pieces; /* in order; stays until done(). May be empty: then one frame
                                        without payload goes */
    atomic_bool cancelled;
    /* bulk's own */
    struct bulk_send *next;
    uint32_t piece;
    size_t piece_offset;
    atomic_uint outstanding;
};

void bulk_submit(struct bulk *bulk, struct bulk_send *send);

/* The rest of the send is not wanted any more; done() comes when libzmq let go of what it has. */
void bulk_cancel(struct bulk *bulk, struct bulk_send *send);

void bulk_counters(struct bulk *bulk, struct bulk_counters *ret);

#endif
