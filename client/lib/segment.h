/* Shared memory that the daemon lends: a received descriptor, checked and mapped. */
#ifndef SEQSYNC_LIB_SEGMENT_H
#define SEQSYNC_LIB_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seqsync__map {
    uint8_t *data; /* NULL = nothing */
    size_t bytes;
};

/* The sentence for what is nobody's fault but this process's want of memory. */
extern const char seqsync__out_of_memory[];

/*
 * Maps @fd, which stays the caller's. NULL, or a static sentence: smaller than @bytes, not sealed
 * against shrinking, or seqsync__out_of_memory. The size mapped is @bytes.
 */
const char *seqsync__map_open(struct seqsync__map *map, int fd, size_t bytes, bool writable);

/* Accepts an empty one. */
void seqsync__map_close(struct seqsync__map *map);

#endif
