/*
 * Several hosts on one machine: network namespaces, each joined by a veth pair to a bridge in one
 * more namespace, so that nothing of the real network is touched.
 *
 *     host 0: 10.77.0.1 --veth--+
 *     host 1: 10.77.0.2 --veth--+-- bridge (namespace of its own)
 *     host 2: 10.77.0.3 --veth--+
 *
 * Names carry the test's pid. What a killed test left behind is removed by the next.
 */
#ifndef SEQSYNC_TESTS_SUPPORT_NETNS_H
#define SEQSYNC_TESTS_SUPPORT_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETNS_HOSTS_MAX 16

struct netns;

/* NULL if this process may not make namespaces; @ret_why[size] says why. Then skip the test. */
struct netns *netns_new(uint32_t hosts, char *ret_why, size_t size);

/* Removes everything. Accepts NULL; returns NULL. */
struct netns *netns_free(struct netns *netns);

/* For proc_options.netns, and the address there. Valid as long as @netns. */
const char *netns_host(const struct netns *netns, uint32_t host);
const char *netns_address(const struct netns *netns, uint32_t host);

/*
 * Takes the cable out: the host's interface loses its carrier. Packets on the way are lost, sockets
 * stay. Ends the program if it cannot, as the next two.
 */
void netns_cut(struct netns *netns, uint32_t host);

/* The switch swallows everything from and to the host, which notices nothing but silence. */
void netns_swallow(struct netns *netns, uint32_t host);

/* Undoes both. */
void netns_mend(struct netns *netns, uint32_t host);

/* Makes the calling process enter the namespace. 0, or -1 with errno. Before exec only. */
int netns_enter(const char *name);

#endif
