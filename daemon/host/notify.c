#include "daemon/host/notify.h"

#include "daemon/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STATUS_MAX 512

static int notify_send(const char *state)
{
    int r = sd_notify(/* unset_environment= */ 0, state);
    return r < 0 ? err_origin(r) : 0;
}

int notify_ready(void)
{
    return err_trace(notify_send("READY=1"));
}

int notify_reloading(void)
{
    struct timespec now;
    char state[96];
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* The time is asked for by Type=notify-reload of later versions, and harmless before. */
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)now.tv_sec * 1000000ull +
                 (unsigned long long)now.tv_nsec / 1000ull);
    return err_trace(notify_send(state));
}

int notify_stopping(void)
{
    return err_trace(notify_send("STOPPING=1"));
}

int notify_status(const char *format, ...)
{
    char state[STATUS_MAX] = "STATUS=";
    va_list args;
    va_start(args, format);
    int n = vsnprintf(state + 7, sizeof(state) - 7, format, args);
    va_end(args);
    if (n < 0) {
        return err_origin(-EINVAL);
    }
    /* A newline would begin another assignment. */
    for (char *c = state; *c != '\0'; c++) {
        if (*c == '\n') {
            *c = ' ';
        }
    }
    return err_trace(notify_send(state));
}

int notify_watchdog(void)
{
    return err_trace(notify_send("WATCHDOG=1"));
}

int notify_watchdog_trigger(void)
{
    return err_trace(notify_send("WATCHDOG=trigger"));
}

int notify_extend_ns(uint64_t ns)
{
    char state[64];
    snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long)(ns / 1000));
    return err_trace(notify_send(state));
}

uint64_t notify_watchdog_interval_ns(void)
{
    uint64_t usec = 0;
    if (sd_watchdog_enabled(/* unset_environment= */ 0, &usec) <= 0) {
        return 0;
    }
    return usec * 1000 / 2;
}

int notify_take_listen_fd(int *ret_fd)
{
    int count = sd_listen_fds(/* unset_environment= */ 1);
    if (count < 0) {
        return err_origin(count);
    }
    if (count == 0) {
        *ret_fd = -1;
        return 0;
    }
    /* More than one, or another kind, is a wrong socket unit: better said than half obeyed. */
    if (count != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET,
                                   /* listening= */ 1) <= 0) {
        return err_origin(-EINVAL);
    }
    *ret_fd = SD_LISTEN_FDS_START;
    return 0;
}
