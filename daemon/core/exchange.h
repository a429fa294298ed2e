/*
 * One K/V exchange on one node in one step: which local ranks have published, which remote holders'
 * rows are here, how far dK/dV are. K/V and dK/dV are used and finished apart: an evaluation has
 * only the former, and what nobody uses in a step is no part of it.
 */
#ifndef SEQSYNC_CORE_EXCHANGE_H
#define SEQSYNC_CORE_EXCHANGE_H

#include "daemon/core/rank_set.h"
#include "daemon/core/returns.h"

enum exchange_outcome {
    EXCHANGE_DUPLICATE = 1,
    EXCHANGE_UNEXPECTED,
};

enum use {
    USE_NONE = 0, /* nobody has used it in this step */
    USE_OPEN,
    USE_DONE,
};

/* What a space's exchanges have in common in a step, made from its shape. */
struct exchange_plan {
    const struct step_send *sends; /* by ascending holder */
    uint32_t send_count;
    uint32_t receive_count;
    struct rank_set receives; /* remote holders whose rows come here */
    struct return_plan returns;
};

struct exchange {
    uint8_t space;
    bool forward_only;
    enum use kv;
    enum use returning;
    uint64_t published; /* local ranks by local index */
    uint64_t returned;
    uint32_t received_count;
    uint64_t *received; /* set of remote holders; [words] */
    uint32_t words;
    struct returns returns;
};

/* Forgets the step. */
void exchange_reset(struct exchange *exchange);

/* A local rank's K/V, or return buffer, is complete. 0 or EXCHANGE_DUPLICATE, which changes
 * nothing. */
int exchange_publish(struct exchange *exchange, uint32_t local);
int exchange_return(struct exchange *exchange, const struct exchange_plan *plan, uint32_t local);

/* A remote holder's rows are here. 0, or an outcome that changes nothing. */
int exchange_receive(struct exchange *exchange, const struct exchange_plan *plan, uint32_t holder);

/* Partial dK/dV of @node for the local @holder are here. Likewise. */
int exchange_receive_return(struct exchange *exchange, const struct exchange_plan *plan,
                            uint32_t holder, uint32_t node);

/* True once, when K/V (or dK/dV) have become complete on this node: @locals have published (or
 * returned) and everything has come (or is summed). */
bool exchange_settle_kv(struct exchange *exchange, const struct exchange_plan *plan,
                        uint64_t locals);
bool exchange_settle_returns(struct exchange *exchange, uint64_t locals);

/* Remote holders whose rows are awaited. */
void exchange_missing(const struct exchange *exchange, const struct exchange_plan *plan,
                      struct rank_set *ret);

/* First send of @holder, or send_count. */
uint32_t exchange_first_send(const struct exchange_plan *plan, uint32_t holder);

#endif
