/*
 * A segment: shared memory of fixed size in a sealed memfd that the daemon made. The owner gets @fd
 * (read-write), everyone else @read_fd, which cannot be mapped for writing. Since it can neither
 * shrink nor grow, no worker can make the daemon (or a zero-copy send) touch a page that is not
 * there, whatever it does to its own mapping.
 */
#ifndef SEQSYNC_IO_SEGMENT_H
#define SEQSYNC_IO_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

struct segment {
    uint8_t *data; /* the daemon's mapping, read-write; NULL = no segment */
    size_t bytes;  /* a multiple of the page size */
    int fd;        /* read-write */
    int read_fd;   /* read-only description of the same file */
};

#define SEGMENT_NULL                                                                               \
    {                                                                                              \
        .data = NULL, .bytes = 0, .fd = -1, .read_fd = -1                                          \
    }

/*
 * Makes @bytes (rounded up to pages) of zeroed, allocated memory. Pages are there when it returns:
 * a full machine is met here and not as SIGBUS in a step. @label shows in /proc/PID/maps. -ENOMEM,
 * -EMFILE, -EINVAL. Any thread.
 */
int segment_init(struct segment *segment, const char *label, size_t bytes);

/* Accepts SEGMENT_NULL. The memory lives on while another process maps it. */
void segment_deinit(struct segment *segment);

#endif
