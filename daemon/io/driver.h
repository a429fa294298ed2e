/*
 * The driver: turns what ports, lanes, bulk and timers report into events, feeds them to the engine
 * one by one, and performs the actions that come back. It holds no policy: every decision is the
 * engine's.
 *
 * Events that come while actions are being performed are queued, so that the engine is never
 * entered twice and no port is called back inside its own call.
 */
#ifndef SEQSYNC_IO_DRIVER_H
#define SEQSYNC_IO_DRIVER_H

#include "daemon/host/config.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct driver;

struct driver_health {
    uint64_t lane_jobs_done; /* progress of the lanes */
    uint32_t lane_jobs_pending;
    uint32_t workers;
    uint32_t jobs;
    uint32_t peers_up;
    uint32_t peers;
};

/*
 * Opens lanes, bulk, ports; after success workers and peers are served as the loop runs. @config
 * and @zmq are borrowed for the driver's life; @listen_fd (a listening worker socket, or -1) is
 * taken. Negative errno with the reason in
 * @ret_text[text_size]; the process can then only exit.
 */
int driver_new(uv_loop_t *loop, void *zmq, const struct config *config, int listen_fd,
               struct driver **ret, char *ret_text, size_t text_size);

/*
 * Orderly shutdown: jobs end with SHUTDOWN, workers and peers are told, all sockets close.
 * @on_closed comes when that is done; what is in flight then is only what libzmq holds: call
 * zmq_ctx_term(), then driver_free().
 */
void driver_close(struct driver *driver, void (*on_closed)(void *ctx), void *ctx);

/* After driver_close() has completed and zmq_ctx_term() returned. The last handles close in the
 * next loop turn. NULL is fine. */
void driver_free(struct driver *driver);

void driver_health(const struct driver *driver, struct driver_health *ret);

#endif
