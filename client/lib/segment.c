#include "client/lib/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

const char seqsync__out_of_memory[] = "this process has no memory left; raise its limits (ulimit)";

const char *seqsync__map_open(struct seqsync__map *map, int fd, size_t bytes, bool writable)
{
    struct stat st;
    const int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW)) {
        return "memory from the daemon is not sealed";
    }
    if (fstat(fd, &st) != 0 || bytes == 0 || st.st_size < 0 || (uint64_t)st.st_size < bytes) {
        return "memory from the daemon is smaller than it said";
    }
    void *data =
        mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return errno == ENOMEM || errno == EAGAIN ? seqsync__out_of_memory
                                                  : "memory from the daemon cannot be mapped";
    }
    seqsync__map_close(map);
    map->data = data;
    map->bytes = bytes;
    return NULL;
}

void seqsync__map_close(struct seqsync__map *map)
{
    if (map->data != NULL) {
        munmap(map->data, map->bytes);
    }
    map->data = NULL;
    map->bytes = 0;
}
