/*
 * dK/dV going home. For one exchange and step, this node makes one sum per holder: for a holder of
 * another node, of what the local ranks return for it, sent there once; for a holder of this node,
 * of that and of what the other nodes sent. A sum runs once, when everything that it reads is
 * there.
 *
 * Local ranks are bits by local index, nodes are bits by node index.
 */
#ifndef SEQSYNC_CORE_RETURNS_H
#define SEQSYNC_CORE_RETURNS_H

#include "daemon/core/engine.h"

enum returns_outcome {
    RETURNS_DUPLICATE = 1,
    RETURNS_UNEXPECTED, /* nobody returns that, or not now */
};

enum return_state {
    RETURN_WAITING = 0,
    RETURN_SUMMING,
    RETURN_DONE,
};

/* What the sums of a space need, the same for all its exchanges in a step. */
struct return_need {
    uint64_t ranks; /* local ones that must have published */
    uint64_t nodes; /* whose partials must be here */
};

struct return_plan {
    const struct step_return *returns; /* of the step's shape, by ascending holder */
    struct return_need *needs;         /* [count], capacity world_size */
    uint32_t count;
};

struct return_sum {
    uint64_t received; /* nodes whose partial is here */
    enum return_state state;
};

struct returns {
    struct return_sum *sums; /* capacity world_size */
    uint32_t left;           /* sums that are not done */
};

/* All sums wait again. */
void returns_open(struct returns *returns, const struct return_plan *plan);

/* The sum of @holder, or -1. */
int32_t returns_find(const struct return_plan *plan, uint32_t holder);

/* A partial of @node for @holder is here. 0, or an outcome that changes nothing. */
int returns_receive(struct returns *returns, const struct return_plan *plan, uint32_t holder,
                    uint32_t node);

/*
 * The first sum at or after @from that has everything and has not begun, which begins now; or -1.
 * @published: local ranks whose return buffers are complete.
 */
int32_t returns_next(struct returns *returns, const struct return_plan *plan, uint32_t from,
                     uint64_t published);

/* The sum of @holder is done. 0 or RETURNS_UNEXPECTED. */
int returns_summed(struct returns *returns, const struct return_plan *plan, uint32_t holder);

#endif
