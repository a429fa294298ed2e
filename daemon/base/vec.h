/* Arrays that grow by doubling, and arrays of a known length. No state of their own. */
#ifndef SEQSYNC_BASE_VEC_H
#define SEQSYNC_BASE_VEC_H

#include <stdint.h>
#include <stdlib.h>

#include "daemon/base/num.h"

/*
 * @items, an allocated array of *capacity elements of @size bytes or NULL, grown to hold at least
 * @need >= 1. Returns the array, which replaces @items, or NULL if there is no memory or @need is
 * beyond 32 bits; @items then stays valid.
 */
static inline void *vec_grow(void *items, uint32_t *capacity, uint64_t need, size_t size)
{
    uint64_t wanted = *capacity < 16 ? 16 : *capacity;
    size_t bytes;

    if (need <= *capacity) {
        return items;
    }
    while (wanted < need) {
        wanted *= 2;
    }
    wanted = wanted > UINT32_MAX ? UINT32_MAX : wanted;
    if (need > UINT32_MAX || !num_mul_size(&bytes, (size_t)wanted, size)) {
        return NULL;
    }
    void *grown = realloc(items, bytes);
    if (grown) {
        *capacity = (uint32_t)wanted;
    }
    return grown;
}

/* @count zeroed elements; never NULL for lack of elements, so that the result may be copied from
 * and to. NULL if there is no memory. */
static inline void *vec_new(size_t count, size_t size)
{
    return calloc(count > 0 ? count : 1, size);
}

#endif
