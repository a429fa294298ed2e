/*
 * What systemd is told, and what it hands over. Without systemd (no NOTIFY_SOCKET) the calls do
 * nothing. Loop thread.
 */
#ifndef SEQSYNC_HOST_NOTIFY_H
#define SEQSYNC_HOST_NOTIFY_H

#include <stdint.h>

/* Negative errno of the sending, which callers may ignore: 0 = sent or nobody to send to. */
int notify_ready(void);
int notify_reloading(void); /* followed by notify_ready() */
int notify_stopping(void);
int notify_status(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* one line with live numbers */
int notify_watchdog(void);                 /* the loop and the lanes made progress */
int notify_watchdog_trigger(void);         /* they never will again: restart us */
int notify_extend_ns(uint64_t ns);         /* stopping takes so much longer */

/* How often notify_watchdog() is due at the latest: half of WatchdogSec. 0 = not wanted. */
uint64_t notify_watchdog_interval_ns(void);

/*
 * The listening AF_UNIX SOCK_SEQPACKET socket that systemd passed, the caller's from here on; -1 =
 * none. -EINVAL if what was passed is something else. Once: the environment variables are removed.
 */
int notify_take_listen_fd(int *ret_fd);

#endif
