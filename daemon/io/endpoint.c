#include "daemon/io/endpoint.h"

#include "daemon/base/err.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_MAX 256

/* "tcp://HOST:PORT" or "tcp://[HOST]:PORT" into its two texts. */
static bool endpoint_split(const char *endpoint, char host[HOST_MAX], const char **ret_port)
{
    const char *first = endpoint + strlen("tcp://");
    const char *colon = strrchr(first, ':');
    if (colon == NULL || colon == first || colon[1] == '\0') {
        return false;
    }
    size_t length = (size_t)(colon - first);
    if (first[0] == '[') {
        if (length < 3 || first[length - 1] != ']') {
            return false;
        }
        first++;
        length -= 2;
    }
    if (length >= HOST_MAX) {
        return false;
    }
    memcpy(host, first, length);
    host[length] = '\0';
    *ret_port = colon + 1;
    return true;
}

static bool address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof(v6));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        return v6.sin6_addr.s6_addr[12] == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static int endpoint_resolve_tcp(const char *endpoint, char ret_address[ENDPOINT_MAX],
                                bool *ret_local, const char **ret_text)
{
    char host[HOST_MAX];
    const char *port;
    if (!endpoint_split(endpoint, host, &port)) {
        *ret_text = "is not of the form tcp://HOST:PORT";
        return err_origin(-EINVAL);
    }
    if (strcmp(host, "*") == 0) {
        *ret_text = "names no address: peers could not connect to \"*\"";
        return err_origin(-EINVAL);
    }
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0 || found == NULL) {
        *ret_text = "names a host that cannot be looked up";
        return err_origin(-EADDRNOTAVAIL);
    }
    char numeric[HOST_MAX];
    int r = getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof(numeric), NULL, 0,
                        NI_NUMERICHOST);
    bool v6 = found->ai_family == AF_INET6;
    *ret_local = address_is_loopback(found->ai_addr);
    freeaddrinfo(found);
    if (r != 0) {
        *ret_text = "names a host that cannot be looked up";
        return err_origin(-EADDRNOTAVAIL);
    }
    int length =
        snprintf(ret_address, ENDPOINT_MAX, v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", numeric, port);
    if (length < 0 || length >= ENDPOINT_MAX) {
        *ret_text = "is too long";
        return err_origin(-EINVAL);
    }
    return 0;
}

int endpoint_resolve(const char *endpoint, char ret_address[ENDPOINT_MAX], bool *ret_local,
                     const char **ret_text)
{
    if (strncmp(endpoint, "tcp://", 6) == 0) {
        return err_trace(endpoint_resolve_tcp(endpoint, ret_address, ret_local, ret_text));
    }
    if (strncmp(endpoint, "ipc://", 6) != 0 || endpoint[6] == '\0') {
        *ret_text = "is neither tcp://HOST:PORT nor ipc:///PATH";
        return err_origin(-EINVAL);
    }
    /* libzmq cuts off nothing, it fails; a plain sentence is better than its "File name too long".
     */
    if (strlen(endpoint) - 6 > 107) {
        *ret_text = "has a path of more than 107 bytes, the limit of local sockets";
        return err_origin(-EINVAL);
    }
    memcpy(ret_address, endpoint, strlen(endpoint) + 1);
    *ret_local = true;
    return 0;
}

int endpoint_check_bind(const char *endpoint, bool have_keys, bool allow_plaintext,
                        char ret_address[ENDPOINT_MAX], const char **ret_text)
{
    bool local = false;
    int r = endpoint_resolve(endpoint, ret_address, &local, ret_text);
    if (r < 0) {
        return err_trace(r);
    }
    if (!local && !have_keys && !allow_plaintext) {
        *ret_text = "can be reached from other machines, and there are no keys: set [security] "
                    "secret-key-file, or, in a network that you trust, allow-plaintext = yes";
        return err_origin(-EPERM);
    }
    return 0;
}
