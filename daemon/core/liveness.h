/*
 * Which peers are there. A peer is up from its Hello until its connection ends or it has been
 * silent for too long; one that was only silent is up again as soon as it is heard.
 */
#ifndef SEQSYNC_CORE_LIVENESS_H
#define SEQSYNC_CORE_LIVENESS_H

#include <seqsync/types.h>
#include <stdbool.h>

#define LIVENESS_REASON_MAX 160

struct liveness_peer {
    bool up;
    bool known;  /* has been up before */
    bool silent; /* it is down because it was silent; its connection may still be there */
    uint64_t heard_ns;
    uint64_t ping_ns; /* when the next ping is due */
    char reason[LIVENESS_REASON_MAX];
};

struct liveness {
    uint64_t silence_ns;
    uint64_t interval_ns;
    uint32_t node; /* this one: always up */
    uint32_t node_count;
    struct liveness_peer peers[SEQSYNC_NODES_MAX];
};

#define LIVENESS_NONE UINT32_MAX

void liveness_init(struct liveness *liveness, uint32_t node, uint32_t node_count,
                   uint64_t silence_ns, uint64_t interval_ns);

/* A Hello of @node arrived. */
void liveness_up(struct liveness *liveness, uint32_t node, uint64_t now_ns);

/* A message of @node arrived. True if that brings a silent peer back. */
bool liveness_heard(struct liveness *liveness, uint32_t node, uint64_t now_ns);

/* The connection ended. True if it was up until now. Copies @how. */
bool liveness_lost(struct liveness *liveness, uint32_t node, const char *how);

/* Takes down one peer that has been silent for too long and returns it, or LIVENESS_NONE. */
uint32_t liveness_expire(struct liveness *liveness, uint64_t now_ns);

/* A peer whose ping is due, once; or LIVENESS_NONE. */
uint32_t liveness_ping(struct liveness *liveness, uint64_t now_ns);

bool liveness_is_up(const struct liveness *liveness, uint32_t node);

/* UINT64_MAX if there is nothing to watch. */
uint64_t liveness_deadline_ns(const struct liveness *liveness);

#endif
