/*
 * Signals as events of the loop: SIGTERM and SIGINT (stop), SIGHUP (reload), SIGUSR1 (log the
 * state). SIGPIPE is ignored.
 */
#ifndef SEQSYNC_HOST_SIGNALS_H
#define SEQSYNC_HOST_SIGNALS_H

#include <stdint.h>
#include <uv.h>

#define SIGNALS_N 4

struct signals {
    uv_signal_t handles[SIGNALS_N];
    uint32_t open;
    void (*on_signal)(void *ctx, int signum);
    void *ctx;
};

/* libuv's codes; then nothing was opened, but handles may still be closing: run the loop before
 * freeing @signals. */
int signals_open(struct signals *signals, uv_loop_t *loop, void (*on_signal)(void *ctx, int signum),
                 void *ctx);

/* The memory may go when the loop has run the close callbacks. */
void signals_close(struct signals *signals);

#endif
