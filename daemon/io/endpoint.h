/*
 * Endpoints as they stand in the config: "tcp://HOST:PORT" with HOST a name, an IPv4 address or [an
 * IPv6 address], or "ipc:///PATH".
 */
#ifndef SEQSYNC_IO_ENDPOINT_H
#define SEQSYNC_IO_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#define ENDPOINT_MAX 256 /* bytes with NUL */

/*
 * What a socket is bound to: libzmq binds to numeric addresses only, so the name is looked up
 * (blocking, at start only).
 * @ret_local: nobody beyond this machine can reach it (ipc or a loopback address). -EINVAL or
 * -EADDRNOTAVAIL, with the reason in @ret_text (static).
 */
int endpoint_resolve(const char *endpoint, char ret_address[ENDPOINT_MAX], bool *ret_local,
                     const char **ret_text);

/*
 * endpoint_resolve() with the rule of the house: no server socket beyond this machine without keys,
 * unless the config says so. -EPERM then.
 */
int endpoint_check_bind(const char *endpoint, bool have_keys, bool allow_plaintext,
                        char ret_address[ENDPOINT_MAX], const char **ret_text);

#endif
