/*
 * Attention of this rank's rows over the tiles of its part, keys and values coming from all ranks
 * by the link. Own tiles are computed while those of others are still on their way; in the backward
 * pass it is the other way round, so that what others wait for leaves first. Both orders are fixed,
 * hence a repeated run has equal bits.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_ATTEND_H
#define SEQSYNC_CLIENT_TRAINER_ATTEND_H

#include "client/trainer/pass.h"

/* From the layer's q and everybody's K, V to its o and lse. The own K and V are published. */
int attend_forward(struct pass *pass, const struct part *part, struct link *link, int32_t layer);

/*
 * From the pass's d_o to d_q, and to d_k and d_v over the own queries alone. What belongs to others
 * has been handed to the link.
 */
int attend_backward(struct pass *pass, const struct part *part, struct link *link, int32_t layer);

/* Waits for what others computed for the own keys and values, and adds it to d_k and d_v. */
int attend_collect(struct pass *pass, struct link *link, int32_t layer);

#endif
