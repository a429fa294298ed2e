/*
 * K/V exchange of one attention layer: every rank publishes the keys and values of its own rows;
 * every rank reads those that its tiles need, in place, and hands back dK/dV for the rows of
 * others.
 *
 * Order within a step, for each exchange:
 *   forward   write kv_buffer rows, kv_publish; for each tile kv_wait(tile.source), compute
 *   backward  for each tile again kv_wait (returns at once), compute into own dK/dV and
 * return_buffer; return_publish; return_wait gives the sum of the other ranks' dK/dV for the own
 * rows: add it to the own share Published K/V stay readable by all until the step is committed. The
 * buffers belong to the session.
 *
 * Shapes: f32, rows x heads_kv x head_dim, contiguous (row stride heads_kv * head_dim); K and V are
 * two such planes.
 */
#ifndef SEQSYNC_EXCHANGE_H
#define SEQSYNC_EXCHANGE_H

#include <seqsync/plan.h>
#include <seqsync/session.h>

#ifdef __cplusplus
extern "C" {
#endif

struct seqsync_exchange_shape {
    uint32_t space;        /* enum seqsync_space */
    int32_t heads_kv;      /* >= 1 */
    int32_t head_dim;      /* >= 1 */
    uint32_t forward_only; /* 1: never returns dK/dV (evaluation); saves the return buffers */
};

/* One gradient bucket: a run of consecutive elements reduced together. */
struct seqsync_bucket_shape {
    uint64_t elements; /* f32, >= 1 */
    uint32_t role; /* SEQSYNC_PARTIAL: sum over ranks; SEQSYNC_REPLICATED: each rank has the whole,
                      rank 0's counts */
    uint32_t reserved; /* 0 */
};

/*
 * Says once, before the first step, what this job exchanges and aggregates; exchanges and buckets
 * are then known by their index. Collective: returns when all ranks have registered.
 * SCHEMA_MISMATCH names the ranks that differ. Either count may be 0. Borrows during the call.
 */
int seqsync_session_register(struct seqsync_session *session,
                             const struct seqsync_exchange_shape *exchanges,
                             uint32_t exchange_count, const struct seqsync_bucket_shape *buckets,
                             uint32_t bucket_count);

/* Where to write K and V of this rank's rows. *ret_k and *ret_v stay valid until the step ends.
 * INVALID. */
int seqsync_kv_buffer(struct seqsync_step *step, uint32_t exchange, float **ret_k, float **ret_v);

/* The rows are complete: everyone may read them. Once per exchange and step: DUPLICATE. Writing
 * afterwards is an error. */
int seqsync_kv_publish(struct seqsync_step *step, uint32_t exchange);

/*
 * Waits until the keys and values of @source (index into seqsync_step_sources() of the exchange's
 * space) are here, and gives their planes: row 0 is the source's view row 0, as counted by
 * seqsync_tile.k_row. Read-only memory. TIMEOUT, WORKER_LOST, PEER_LOST, DAEMON_LOST.
 */
int seqsync_kv_wait(struct seqsync_step *step, uint32_t exchange, uint32_t source,
                    const float **ret_k, const float **ret_v);

/*
 * The return buffer of this exchange: return_rows rows for dK and for dV, cleared to 0. There are
 * two, for exchanges of even and of odd index: waits until the last one of the same kind has been
 * summed; INVALID if that is not even published. Fill it by seqsync_tile.return_row. Valid until
 * return_publish.
 */
int seqsync_return_buffer(struct seqsync_step *step, uint32_t exchange, float **ret_dk,
                          float **ret_dv);

/* The return buffer is complete (call it also when return_rows is 0). Once per exchange and step:
 * DUPLICATE. */
int seqsync_return_publish(struct seqsync_step *step, uint32_t exchange);

/*
 * Waits for the sum over all other ranks of dK/dV for this rank's own rows (all rows; zero where
 * nobody read them), in a fixed order. Read-only; valid until this rank's return_publish of another
 * exchange whose index is as even or odd as this one's, or the step's end.
 */
int seqsync_return_wait(struct seqsync_step *step, uint32_t exchange, const float **ret_dk,
                        const float **ret_dv);

#ifdef __cplusplus
}
#endif
#endif
