/*
 * The private directory of one `seqctl run`: sockets, configuration and logs of its daemons, mode
 * 0700, in XDG_RUNTIME_DIR, TMPDIR or /tmp.
 *
 *     node-a.conf  a.sock (workers)  a.admin  a.peer, a.peer.bulk  a.notify  a.log  a.d/ (state)
 */
#ifndef SEQSYNC_CTL_RUNDIR_H
#define SEQSYNC_CTL_RUNDIR_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"

#define RUNDIR_PATH_MAX 256

struct rundir {
    char path[128]; /* short enough for socket names in it */
};

/* EX_OK, or fills @error; then nothing was made. */
int rundir_make(struct rundir *dir, struct error *error);

/* Removes everything in it and itself. Harmless if it is gone. */
void rundir_remove(const struct rundir *dir);

/* "a" .. "z", "aa" ..: the short name of node @node. */
const char *rundir_node_letter(char out[4], uint32_t node);

/* PATH/LETTER.SUFFIX. */
const char *rundir_file(const struct rundir *dir, char out[RUNDIR_PATH_MAX], uint32_t node,
                        const char *suffix);

/* Where node @node's configuration and log are: in the directory, or in --keep-logs. */
const char *rundir_config(const struct rundir *dir, const struct ctl_run *run,
                          char out[RUNDIR_PATH_MAX], uint32_t node);
const char *rundir_log(const struct rundir *dir, const struct ctl_run *run,
                       char out[RUNDIR_PATH_MAX], uint32_t node);

/* Writes the configuration of node @node. EX_OK, or fills @error. */
int rundir_write_config(const struct rundir *dir, const struct ctl_run *run, uint32_t node,
                        struct error *error);

#endif
