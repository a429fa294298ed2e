#include "tests/support/netns.h"

#include "tests/support/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NETNS_FOLDER "/run/netns"
#define NETNS_NAME "seqsync-test-"
#define WORDS_MAX 32
#define IP_TIMEOUT_MS 20000

struct netns {
    uint32_t hosts;
    char bridge[64]; /* namespace of the switch */
    char names[NETNS_HOSTS_MAX][64];
    char addresses[NETNS_HOSTS_MAX][24];
};

/* Runs `ip` with the words of a line; 0 if it succeeded. *ret_text (may be NULL): what it said. */
static int ip(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int ip(char **ret_text, const char *format, ...)
{
    char line[512];
    const char *words[WORDS_MAX] = {"ip"};
    size_t count = 1;
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    for (char *word = strtok(line, " "); word && count + 1 < WORDS_MAX; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    char *text = NULL;
    int status = proc_run(words, IP_TIMEOUT_MS, &text);
    if (ret_text) {
        *ret_text = text;
    } else {
        free(text);
    }
    return status;
}

static void netns_sweep(void)
{
    DIR *folder = opendir(NETNS_FOLDER);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (strncmp(entry->d_name, NETNS_NAME, strlen(NETNS_NAME)) != 0) {
            continue;
        }
        long pid = strtol(entry->d_name + strlen(NETNS_NAME), NULL, 10);
        if (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH) {
            ip(NULL, "netns delete %s", entry->d_name);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

static bool netns_add_host(struct netns *netns, uint32_t host)
{
    const char *name = netns->names[host];
    const char *bridge = netns->bridge;
    /* The pair is made inside the host's namespace, so that no name meets one of the machine's. */
    return ip(NULL, "netns add %s", name) == 0 && ip(NULL, "-n %s link set lo up", name) == 0 &&
           ip(NULL, "-n %s link add eth0 type veth peer name port%u netns %s", name, host,
              bridge) == 0 &&
           ip(NULL, "-n %s address add %s/24 dev eth0", name, netns->addresses[host]) == 0 &&
           ip(NULL, "-n %s link set eth0 up", name) == 0 &&
           ip(NULL, "-n %s link set port%u master switch", bridge, host) == 0 &&
           ip(NULL, "-n %s link set port%u up", bridge, host) == 0;
}

struct netns *netns_new(uint32_t hosts, char *ret_why, size_t size)
{
    static uint32_t serial;
    struct netns *netns = calloc(1, sizeof(*netns));
    char *said = NULL;
    if (!netns || hosts > NETNS_HOSTS_MAX) {
        snprintf(ret_why, size, "no memory, or too many hosts");
        free(netns);
        return NULL;
    }
    netns_sweep();
    serial++;
    netns->hosts = hosts;
    snprintf(netns->bridge, sizeof(netns->bridge), NETNS_NAME "%d-%u-switch", (int)getpid(),
             serial);
    for (uint32_t i = 0; i < hosts; i++) {
        snprintf(netns->names[i], sizeof(netns->names[i]), NETNS_NAME "%d-%u-%u", (int)getpid(),
                 serial, i);
        snprintf(netns->addresses[i], sizeof(netns->addresses[i]), "10.77.0.%u", i + 1);
    }
    bool ok = ip(&said, "netns add %s", netns->bridge) == 0;
    if (!ok) {
        snprintf(ret_why, size, "ip netns add: %.200s", said ? said : "");
    }
    free(said);
    if (ok) {
        ok = ip(NULL, "-n %s link add switch type bridge", netns->bridge) == 0 &&
             ip(NULL, "-n %s link set switch up", netns->bridge) == 0;
        for (uint32_t i = 0; i < hosts && ok; i++) {
            ok = netns_add_host(netns, i);
        }
        if (!ok) {
            snprintf(ret_why, size, "cannot make veth pairs and a bridge");
        }
    }
    return ok ? netns : netns_free(netns);
}

struct netns *netns_free(struct netns *netns)
{
    if (netns) {
        for (uint32_t i = 0; i < netns->hosts; i++) {
            ip(NULL, "netns delete %s", netns->names[i]);
        }
        ip(NULL, "netns delete %s", netns->bridge);
        free(netns);
    }
    return NULL;
}

const char *netns_host(const struct netns *netns, uint32_t host)
{
    return netns->names[host];
}

const char *netns_address(const struct netns *netns, uint32_t host)
{
    return netns->addresses[host];
}

static void netns_must(int status, const char *what)
{
    if (status) {
        fprintf(stderr, "netns: cannot %s\n", what);
        exit(1);
    }
}

void netns_cut(struct netns *netns, uint32_t host)
{
    netns_must(ip(NULL, "-n %s link set port%u down", netns->bridge, host), "cut a link");
}

void netns_mend(struct netns *netns, uint32_t host)
{
    netns_must(ip(NULL, "-n %s link set port%u master switch up", netns->bridge, host),
               "mend a link");
}

void netns_swallow(struct netns *netns, uint32_t host)
{
    netns_must(ip(NULL, "-n %s link set port%u nomaster", netns->bridge, host), "swallow");
}

int netns_enter(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), NETNS_FOLDER "/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int r = setns(fd, CLONE_NEWNET);
    close(fd);
    return r;
}
