/*
 * Real daemons and workers under test: on this host over private ipc endpoints, or each on a host
 * of its own (netns.h) over TCP. Programs are looked up beside the test, in the build tree.
 *
 * One thread. Whatever cannot be set up ends the test program with a message.
 */
#ifndef SEQSYNC_TESTS_SUPPORT_CLUSTER_H
#define SEQSYNC_TESTS_SUPPORT_CLUSTER_H

#include "tests/support/netns.h"
#include "tests/support/proc.h"
#include "tests/support/tmp.h"

#define CLUSTER_NODES_MAX 8
#define CLUSTER_WORKERS_MAX 32

struct cluster_options {
    uint32_t nodes;
    struct netns *netns;      /* node i lives on host i; NULL = all on this host */
    bool keys;                /* CURVE between the nodes */
    const char *step_timeout; /* of the daemons, e.g. "120s"; NULL = "8s" */
    const char *const *extra; /* "section.key=value" for all nodes, NULL-ended; or NULL */
};

struct cluster {
    struct tmp tmp;
    struct netns *netns;
    uint32_t nodes;
    struct proc *daemons[CLUSTER_NODES_MAX];
    struct proc *workers[CLUSTER_WORKERS_MAX];
    uint32_t worker_nodes[CLUSTER_WORKERS_MAX];
    uint32_t worker_count;
    char mark[64]; /* in the environment of every process of this cluster */
};

/* Starts the daemons and waits until all of them see each other. */
void cluster_start(struct cluster *cluster, const struct cluster_options *options);

/* Starts (again) the daemon of one node, without waiting. */
void cluster_start_daemon(struct cluster *cluster, uint32_t node);

/* Waits until node @node sees @up other nodes. false: not in time. */
bool cluster_wait_peers(struct cluster *cluster, uint32_t node, uint32_t up, uint32_t timeout_ms);

/*
 * Starts workers of @job: rank i on node rank_nodes[i]. @argv[0] is the name of a program of the
 * build tree, e.g. "scenario_worker". Their numbers in cluster->workers are the ranks.
 */
void cluster_run(struct cluster *cluster, const char *job, const char *const *argv,
                 uint32_t world_size, const uint32_t *rank_nodes);

/* Waits for all workers; statuses[rank]. false: one has not ended in time. Frees none. */
bool cluster_wait(struct cluster *cluster, uint32_t timeout_ms, int *ret_statuses);

/* Frees the workers, so that another job can run. */
void cluster_clear_workers(struct cluster *cluster);

/* Runs seqctl against a node; its exit status. *ret_out: all it printed, which the caller frees;
 * may be NULL. */
int cluster_ctl(struct cluster *cluster, uint32_t node, const char *const *args, char **ret_out);

/*
 * Stops the daemons by SIGTERM and removes everything. Returns how many things are wrong: a daemon
 * that did not exit with 0 (unless it was killed by the test), a process that is left.
 */
uint32_t cluster_stop(struct cluster *cluster);

/* Sockets and memfds of the daemon of @node that belong to jobs: descriptors whose name begins with
 * "seqsync-". */
uint32_t cluster_memfds(const struct cluster *cluster, uint32_t node);

/* Path of a program of the build tree, in @out. */
const char *cluster_program(const char *name, char out[TMP_PATH_MAX]);

#endif
