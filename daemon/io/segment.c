#include "daemon/io/segment.h"

#include "daemon/base/err.h"
#include "daemon/base/num.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int segment_fail(struct segment *segment, int r)
{
    segment_deinit(segment);
    return err_origin(r);
}

/*
 * Whether the machine has @bytes to give. A memfd has no size limit of its own: the kernel would
 * fill the machine page by page, and end some process, before fallocate() fails.
 */
static bool memory_has_room(size_t bytes)
{
    char line[128];
    unsigned long long kib = 0;
    bool found = false;
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return true; /* no /proc: the quota is all that is left */
    }
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        found = sscanf(line, "MemAvailable: %llu kB", &kib) == 1;
    }
    fclose(file);
    return !found || bytes / 1024 < kib;
}

int segment_init(struct segment *segment, const char *label, size_t bytes)
{
    struct segment made = SEGMENT_NULL;
    const size_t page = 4096;
    char path[64];

    if (bytes == 0 || !num_round_up(&made.bytes, bytes, page) || made.bytes > (size_t)INT64_MAX) {
        return err_origin(-EINVAL);
    }
    if (!memory_has_room(made.bytes)) {
        return err_origin(-ENOMEM);
    }
    made.fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made.fd < 0) {
        return err_origin(-errno);
    }
    /* fallocate sets the size as well, and fails here where writing would fail later. */
    if (fallocate(made.fd, 0, 0, (off_t)made.bytes) < 0) {
        return segment_fail(&made, errno == ENOSPC ? -ENOMEM : -errno);
    }
    if (fcntl(made.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return segment_fail(&made, -errno);
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", made.fd);
    made.read_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (made.read_fd < 0) {
        return segment_fail(&made, -errno);
    }
    /* Another user who holds read_fd must not be able to reopen it for writing by way of /proc. */
    if (fchmod(made.fd, 0) < 0) {
        return segment_fail(&made, -errno);
    }
    void *data = mmap(NULL, made.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd, 0);
    if (data == MAP_FAILED) {
        return segment_fail(&made, -errno);
    }
    made.data = data;
    *segment = made;
    return 0;
}

void segment_deinit(struct segment *segment)
{
    if (segment->data != NULL) {
        munmap(segment->data, segment->bytes);
    }
    if (segment->fd >= 0) {
        close(segment->fd);
    }
    if (segment->read_fd >= 0) {
        close(segment->read_fd);
    }
    *segment = (struct segment)SEGMENT_NULL;
}
