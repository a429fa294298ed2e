/*
 * Sentences in buffers of fixed size: what does not fit is cut and ends in "...". Ranks and nodes
 * are written the way that people say them: "rank 3 on node-b", "ranks 0-2,4".
 */
#ifndef SEQSYNC_CORE_TEXT_H
#define SEQSYNC_CORE_TEXT_H

#include "daemon/core/rank_set.h"

struct text {
    char *at; /* the caller's, always NUL-terminated */
    size_t size;
    size_t used;
};

/* Who is where. All borrowed. */
struct roster {
    const char *const *node_names;
    const uint16_t *rank_nodes; /* [world_size] */
    uint32_t world_size;
};

/* @size >= 4. */
void text_init(struct text *text, char *at, size_t size);

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "0-2,4" */
void text_numbers(struct text *text, const struct rank_set *ranks);

/* "rank 4", "ranks 0-2,4", "nobody" */
void text_ranks(struct text *text, const struct rank_set *ranks);

/* "rank 3 on node-b", "ranks 0-2 on node-a and rank 3 on node-b" */
void text_ranks_at(struct text *text, const struct rank_set *ranks, const struct roster *roster);

/* "node-a", "node-a and node-c" */
void text_nodes(struct text *text, uint64_t nodes, const char *const *node_names);

#endif
