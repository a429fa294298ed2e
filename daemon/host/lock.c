#include "daemon/host/lock.h"

#include "daemon/base/err.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether @fd is still the file at @path: the holder before us may have removed it while we waited
 * for nothing. */
static bool lock_is_at(int fd, const char *path)
{
    struct stat held;
    struct stat named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

int lock_take(struct lock *lock, const char *path)
{
    lock->fd = -1;
    int length = snprintf(lock->path, sizeof(lock->path), "%s.lock", path);
    if (length < 0 || (size_t)length >= sizeof(lock->path)) {
        return err_origin(-ENAMETOOLONG);
    }
    for (;;) {
        int fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return err_origin(-errno);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int e = errno;
            close(fd);
            return err_origin(e == EWOULDBLOCK ? -EADDRINUSE : -e);
        }
        if (lock_is_at(fd, lock->path)) {
            lock->fd = fd;
            return 0;
        }
        close(fd);
    }
}

void lock_release(struct lock *lock)
{
    if (lock->fd < 0) {
        return;
    }
    unlink(lock->path); /* while it is held, so that nobody's file but ours is removed */
    close(lock->fd);
    lock->fd = -1;
}
