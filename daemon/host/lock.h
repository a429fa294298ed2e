/*
 * A lock file: who holds it owns a path. The kernel lets go of it when the process dies, however it
 * dies.
 */
#ifndef SEQSYNC_HOST_LOCK_H
#define SEQSYNC_HOST_LOCK_H

#include <limits.h>

struct lock {
    int fd; /* -1 = not held */
    char path[PATH_MAX];
};

#define LOCK_NULL                                                                                  \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Takes the lock of @path, which is the file "@path.lock". -EADDRINUSE = another process holds it;
 * or open's errno. */
int lock_take(struct lock *lock, const char *path);

/* Removes the file and lets go. Accepts LOCK_NULL. */
void lock_release(struct lock *lock);

#endif
