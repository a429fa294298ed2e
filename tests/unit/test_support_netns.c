/* Hosts made of network namespaces: they reach each other, until a link is cut. Needs root. */
#include "tests/support/netns.h"

#include "tests/support/proc.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOON_MS 10000
#define HOSTS 3

static int setup(void **state)
{
    char why[256];
    struct netns *netns = netns_new(HOSTS, why, sizeof(why));
    if (!netns) {
        print_message("skipped: %s\n", why);
    }
    *state = netns;
    return 0;
}

static int teardown(void **state)
{
    netns_free(*state);
    return 0;
}

/* A UDP socket of @host, bound to a port that the system chose. Made by a child, which enters the
 * namespace for ever; the socket comes back over a socket pair. */
static int socket_of_host(const struct netns *netns, uint32_t host, uint16_t *ret_port)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    fflush(NULL);
    pid_t pid = fork();
    char control[CMSG_SPACE(sizeof(int))];
    char byte = 'x';
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    if (pid == 0) {
        int fd = netns_enter(netns_host(netns, host)) ? -1 : socket(AF_INET, SOCK_DGRAM, 0);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
        _exit(fd >= 0 && sendmsg(pair[1], &message, 0) == 1 ? 0 : 1);
    }
    int status;
    int fd;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(recvmsg(pair[0], &message, 0), 1);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    close(pair[0]);
    close(pair[1]);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static ssize_t send_to(int fd, const struct netns *netns, uint32_t host, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, netns_address(netns, host), &address.sin_addr);
    return sendto(fd, "hello", 5, 0, (struct sockaddr *)&address, sizeof(address));
}

static bool arrives(int fd, int timeout_ms)
{
    char bytes[16];
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, timeout_ms) == 1 && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == 5;
}

struct link {
    int from;
    int to;
    const struct netns *netns;
    uint32_t host;
    uint16_t port;
};

/* Datagrams may be lost while a bridge learns, so each look sends another. */
static bool link_works(void *ctx)
{
    struct link *link = ctx;
    send_to(link->from, link->netns, link->host, link->port);
    return arrives(link->to, 10);
}

static void netns_hosts_reach_each_other_until_cut_and_after_mending(void **state)
{
    struct netns *netns = *state;
    if (!netns) {
        skip();
    }
    uint16_t port_a;
    uint16_t port_b;
    int a = socket_of_host(netns, 0, &port_a);
    int b = socket_of_host(netns, 2, &port_b);
    struct link there = {a, b, netns, 2, port_b};
    struct link back = {b, a, netns, 0, port_a};
    assert_true(proc_wait_until(link_works, &there, SOON_MS));
    assert_true(proc_wait_until(link_works, &back, SOON_MS));

    netns_cut(netns, 2);
    while (arrives(b, 0)) {
    }
    send_to(a, netns, 2, port_b);
    assert_false(arrives(b, 200));
    netns_mend(netns, 2);
    assert_true(proc_wait_until(link_works, &there, SOON_MS));

    netns_swallow(netns, 2);
    while (arrives(b, 0)) {
    }
    assert_int_equal(send_to(a, netns, 2, port_b), 5); /* the sender notices nothing */
    assert_false(arrives(b, 200));
    netns_mend(netns, 2);
    assert_true(proc_wait_until(link_works, &there, SOON_MS));
    close(a);
    close(b);
}

static void netns_process_sees_only_its_host(void **state)
{
    struct netns *netns = *state;
    if (!netns) {
        skip();
    }
    struct proc *proc = proc_start(&(struct proc_options){
        .argv = (const char *const[]){"ip", "-brief", "address", NULL},
        .netns = netns_host(netns, 1),
    });
    int status;
    assert_true(proc_wait_exit(proc, SOON_MS, &status));
    assert_int_equal(status, 0);
    assert_non_null(strstr(proc_out(proc), "10.77.0.2/24"));
    assert_null(strstr(proc_out(proc), "10.77.0.1/24"));
    proc_free(proc);
}

static void netns_free_leaves_nothing(void **state)
{
    struct netns *netns = *state;
    char why[256];
    char *out = NULL;
    char name[64];
    if (!netns) {
        skip();
    }
    struct netns *other =
        netns_new(2, why, sizeof(why)); /* beside the first: addresses are alike */
    assert_non_null(other);
    snprintf(name, sizeof(name), "%s", netns_host(other, 1));
    netns_free(other);
    assert_int_equal(proc_run((const char *const[]){"ip", "netns", "list", NULL}, SOON_MS, &out),
                     0);
    assert_null(strstr(out, name));
    assert_non_null(strstr(out, netns_host(netns, 1)));
    free(out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(netns_hosts_reach_each_other_until_cut_and_after_mending),
        cmocka_unit_test(netns_process_sees_only_its_host),
        cmocka_unit_test(netns_free_leaves_nothing),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
