#include "daemon/host/signals.h"

#include "daemon/base/err.h"

#include <assert.h>
#include <signal.h>

static const int signals_wanted[SIGNALS_N] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

static void signals_on_signal(uv_signal_t *handle, int signum)
{
    struct signals *signals = handle->data;
    signals->on_signal(signals->ctx, signum);
}

int signals_open(struct signals *signals, uv_loop_t *loop, void (*on_signal)(void *ctx, int signum),
                 void *ctx)
{
    signals->on_signal = on_signal;
    signals->ctx = ctx;
    signals->open = 0;
    signal(SIGPIPE, SIG_IGN);
    for (uint32_t i = 0; i < SIGNALS_N; i++) {
        int r = uv_signal_init(loop, &signals->handles[i]);
        if (r == 0) {
            signals->handles[i].data = signals;
            signals->open++;
            r = uv_signal_start(&signals->handles[i], signals_on_signal, signals_wanted[i]);
        }
        if (r < 0) {
            signals_close(signals);
            return err_origin(r);
        }
    }
    return 0;
}

static void signals_on_closed(uv_handle_t *handle)
{
    struct signals *signals = handle->data;
    assert(signals->open > 0);
    signals->open--;
}

void signals_close(struct signals *signals)
{
    uint32_t open = signals->open;
    for (uint32_t i = 0; i < open; i++) {
        if (!uv_is_closing((uv_handle_t *)&signals->handles[i])) {
            uv_close((uv_handle_t *)&signals->handles[i], signals_on_closed);
        }
    }
}
