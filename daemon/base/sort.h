/* A stable sort whose result depends on nothing but its input, without the C library's. */
#ifndef SEQSYNC_BASE_SORT_H
#define SEQSYNC_BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

struct sort_item {
    int64_t key;
    uint64_t value; /* carried along */
};

/* Sorts @items[n] by key, equal keys in their given order. @scratch[n] is overwritten. Runs that
 * are in order already cost one pass. */
void sort_items(struct sort_item *items, struct sort_item *scratch, size_t n);

#endif
