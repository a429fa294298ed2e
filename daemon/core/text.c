#include "daemon/core/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void text_init(struct text *text, char *at, size_t size)
{
    assert(size >= 4);
    *text = (struct text){.at = at, .size = size};
    at[0] = '\0';
}

void text_add(struct text *text, const char *format, ...)
{
    const size_t room = text->size - text->used;
    va_list args;

    va_start(args, format);
    const int n = vsnprintf(text->at + text->used, room, format, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    if ((size_t)n >= room) {
        /* Cut between characters: half of one would make the text illegal for whoever gets it. */
        size_t end = text->size - 4;
        while (end > 0 && ((unsigned char)text->at[end] & 0xC0) == 0x80) {
            end--;
        }
        memcpy(text->at + end, "...", 4);
        text->used = text->size - 1;
        return;
    }
    text->used += (size_t)n;
}

void text_numbers(struct text *text, const struct rank_set *ranks)
{
    const char *comma = "";

    for (uint32_t first = rank_set_next(ranks, 0); first != RANK_SET_END;) {
        uint32_t last = first;
        while (last + 1 < SEQSYNC_RANKS_MAX && rank_set_has(ranks, last + 1)) {
            last++;
        }
        /* Two neighbours read better as "0,1" than as "0-1". */
        if (last == first) {
            text_add(text, "%s%u", comma, first);
        } else {
            text_add(text, "%s%u%s%u", comma, first, last == first + 1 ? "," : "-", last);
        }
        comma = ",";
        first = rank_set_next(ranks, last + 1);
    }
}

void text_ranks(struct text *text, const struct rank_set *ranks)
{
    const uint32_t count = rank_set_count(ranks);

    if (count == 0) {
        text_add(text, "nobody");
        return;
    }
    text_add(text, count == 1 ? "rank " : "ranks ");
    text_numbers(text, ranks);
}

void text_ranks_at(struct text *text, const struct rank_set *ranks, const struct roster *roster)
{
    struct rank_set on_node[SEQSYNC_NODES_MAX];
    uint64_t nodes = 0;
    const char *and = "";

    memset(on_node, 0, sizeof(on_node));
    for (uint32_t rank = rank_set_next(ranks, 0); rank != RANK_SET_END;
         rank = rank_set_next(ranks, rank + 1)) {
        assert(rank < roster->world_size);
        rank_set_add(&on_node[roster->rank_nodes[rank]], rank);
        nodes |= UINT64_C(1) << roster->rank_nodes[rank];
    }
    for (uint32_t node = 0; node < SEQSYNC_NODES_MAX; node++) {
        if ((nodes >> node & 1) != 0) {
            text_add(text, "%s", and);
            text_ranks(text, &on_node[node]);
            text_add(text, " on %s", roster->node_names[node]);
            and = " and ";
        }
    }
}

void text_nodes(struct text *text, uint64_t nodes, const char *const *node_names)
{
    const char *and = "";

    for (uint32_t node = 0; node < SEQSYNC_NODES_MAX; node++) {
        if ((nodes >> node & 1) != 0) {
            text_add(text, "%s%s", and, node_names[node]);
            and = " and ";
        }
    }
}
