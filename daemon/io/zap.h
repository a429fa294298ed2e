/*
 * The ZAP handler: a thread that answers libzmq's question whether a key may come in, and as whom.
 * One per context, bound before any CURVE server is, and stopped after the last one is closed.
 */
#ifndef SEQSYNC_IO_ZAP_H
#define SEQSYNC_IO_ZAP_H

#include <stdint.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_DOMAIN "seqsync"

struct zap;

/*
 * Admits the keys @public_keys[count] (Z85), as users @names[count]; both are borrowed until
 * zap_stop(). When it returns, the handler is bound. Negative errno; -EADDRINUSE = the context has
 * one already.
 */
int zap_start(void *zmq, uint32_t count, const char *const *names, const char *const *public_keys,
              struct zap **ret);

/* Joins the thread. Accepts NULL. */
void zap_stop(struct zap *zap);

/* Any thread. */
void zap_counters(const struct zap *zap, uint64_t *ret_admitted, uint64_t *ret_refused);

#endif
