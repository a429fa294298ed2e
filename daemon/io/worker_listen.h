/*
 * The listening socket of the worker port: made at a path that a lock guards, or inherited from
 * systemd; and who may use it.
 */
#ifndef SEQSYNC_IO_WORKER_LISTEN_H
#define SEQSYNC_IO_WORKER_LISTEN_H

#include "daemon/host/lock.h"
#include "daemon/io/worker_port.h"

#include <sys/un.h>

struct worker_listen {
    int fd;
    struct lock lock;
    char path[sizeof(
        ((struct sockaddr_un *)NULL)->sun_path)]; /* "" = inherited: not ours to remove */
};

/* Binds config->path, or takes config->listen_fd. Negative errno with the reason in
 * @ret_text[size]. */
int worker_listen_open(struct worker_listen *self, const struct worker_port_config *config,
                       char *ret_text, size_t size);

/* Closes and removes the socket and its lock. */
void worker_listen_close(struct worker_listen *self);

/* Who is at the other end of @fd. Negative errno. */
int worker_listen_peer(int fd, struct worker_peer *ret);

/*
 * Whether the peer of @fd is the daemon's user, root, one of config's users, or in config's group,
 * by its effective or a supplementary group.
 */
bool worker_listen_permits(const struct worker_port_config *config, int fd,
                           const struct worker_peer *peer);

#endif
