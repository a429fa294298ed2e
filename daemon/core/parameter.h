/*
 * Rounds in which one rank's values of a bucket go to all nodes. Rounds of a bucket count from 1,
 * one after the other; any rank may be the root of a round.
 */
#ifndef SEQSYNC_CORE_PARAMETER_H
#define SEQSYNC_CORE_PARAMETER_H

#include <stdbool.h>
#include <stdint.h>

enum parameter_outcome {
    PARAMETER_STALE = 1, /* the round is over */
    PARAMETER_FUTURE,    /* an earlier round is missing */
    PARAMETER_BUSY,      /* this round has a root already */
};

struct parameter {
    uint64_t round; /* last one that is complete here */
    uint32_t root;  /* whose values are being copied */
    bool copying;   /* round + 1: the local root's values to the result */
};

/* A local root has written its values. 0, or an outcome that changes nothing. */
int parameter_publish(struct parameter *parameter, uint64_t round, uint32_t root);

/* The copy is done. Whether it was asked for. */
bool parameter_copied(struct parameter *parameter, uint64_t round, uint32_t root);

/* A remote root's values are here. 0, or an outcome that changes nothing. */
int parameter_receive(struct parameter *parameter, uint64_t round);

#endif
