#include "daemon/io/worker_listen.h"

#include "daemon/base/err.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 128
#define GROUPS_MAX 65536 /* NGROUPS_MAX of Linux */

static int listen_fail(struct worker_listen *self, int r, const char *what, const char *path,
                       char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%s %s: %s", what, path, strerror(-r));
    worker_listen_close(self);
    return err_origin(r);
}

static int listen_inherit(struct worker_listen *self, int fd, char *ret_text, size_t size)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        int r = -errno;
        snprintf(ret_text, size, "the inherited worker socket cannot be used: %s", strerror(-r));
        return err_origin(r);
    }
    self->fd = fd;
    return 0;
}

int worker_listen_open(struct worker_listen *self, const struct worker_port_config *config,
                       char *ret_text, size_t size)
{
    memset(self, 0, sizeof(*self));
    self->fd = -1;
    self->lock.fd = -1;
    if (config->listen_fd >= 0) {
        return err_trace(listen_inherit(self, config->listen_fd, ret_text, size));
    }
    const char *path = config->path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return listen_fail(self, -ENAMETOOLONG, "cannot make the worker socket", path, ret_text,
                           size);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int r = lock_take(&self->lock, path);
    if (r == -EADDRINUSE) {
        snprintf(ret_text, size, "another daemon serves %s (it holds %s.lock)", path, path);
        return err_trace(r);
    }
    if (r < 0) {
        return listen_fail(self, r, "cannot lock the worker socket", path, ret_text, size);
    }
    self->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0) {
        return listen_fail(self, -errno, "cannot make the worker socket", path, ret_text, size);
    }
    /* Who holds the lock owns the path, so what is there is left over from a daemon that died. */
    unlink(path);
    mode_t mask = umask(0177);
    r = bind(self->fd, (const struct sockaddr *)&address, sizeof(address));
    int e = errno;
    umask(mask);
    if (r != 0) {
        return listen_fail(self, -e, "cannot bind the worker socket", path, ret_text, size);
    }
    memcpy(self->path, path, strlen(path) + 1);
    if ((config->has_group && chown(path, (uid_t)-1, config->group) != 0) ||
        chmod(path, 0660) != 0 || listen(self->fd, BACKLOG) != 0) {
        return listen_fail(self, -errno, "cannot open the worker socket", path, ret_text, size);
    }
    return 0;
}

void worker_listen_close(struct worker_listen *self)
{
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
    if (self->path[0] != '\0') {
        unlink(self->path);
        self->path[0] = '\0';
    }
    lock_release(&self->lock);
}

int worker_listen_peer(int fd, struct worker_peer *ret)
{
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
        return err_origin(-errno);
    }
    ret->uid = credentials.uid;
    ret->gid = credentials.gid;
    ret->pid = credentials.pid;
    return 0;
}

static bool peer_has_group(int fd, gid_t group)
{
    socklen_t length = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &length) == 0 || errno != ERANGE ||
        length > GROUPS_MAX * sizeof(gid_t)) {
        return false; /* no supplementary groups at all */
    }
    gid_t *groups = malloc(length);
    bool found = false;
    if (groups != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) == 0) {
        for (size_t i = 0; i < length / sizeof(gid_t); i++) {
            found = found || groups[i] == group;
        }
    }
    free(groups);
    return found;
}

bool worker_listen_permits(const struct worker_port_config *config, int fd,
                           const struct worker_peer *peer)
{
    if (peer->uid == 0 || peer->uid == geteuid()) {
        return true;
    }
    for (uint32_t i = 0; i < config->user_count; i++) {
        if (config->users[i] == peer->uid) {
            return true;
        }
    }
    return config->has_group && (peer->gid == config->group || peer_has_group(fd, config->group));
}
