/*
 * CURVE keys of the peer sockets, and the ZAP handler that says whose keys are let in.
 *
 * libzmq fails open: a CURVE server without a living handler on inproc://zeromq.zap.01 admits every
 * key. So the handler has a thread of its own in the same context, is bound before any server
 * socket exists and closed after the last one; and a probe connects with a throw-away key, at start
 * and on a timer, and must be refused. Users of server sockets check the "User-Id" property (the
 * member's name) of payload frames besides.
 *
 * Without keys everything here does nothing, so callers need not ask.
 */
#ifndef SEQSYNC_IO_CURVE_H
#define SEQSYNC_IO_CURVE_H

#include <seqsync/types.h>
#include <stdbool.h>
#include <uv.h>
#include <zmq.h>

#define CURVE_KEY_BYTES 41 /* Z85 with NUL */

struct curve;

struct curve_config {
    void *zmq;                   /* the one context */
    const char *secret_key_file; /* NULL or "" = no keys */
    uint32_t node;               /* this one */
    uint32_t node_count;
    const char *const *names;       /* [node_count], borrowed for life */
    const char *const *public_keys; /* [node_count], Z85, borrowed for life; all needed when there
                                       is a secret key */
};

/*
 * Reads the key file, checks it against this node's public key, starts the handler, and probes that
 * a stranger is refused. Blocks for at most some seconds. Negative errno, with the reason in
 * @ret_text[size].
 */
int curve_open(const struct curve_config *config, struct curve **ret, char *ret_text, size_t size);

/* All server sockets are closed before. Joins the threads, frees. Accepts NULL. */
void curve_close(struct curve *curve);

/* false for NULL. */
bool curve_enabled(const struct curve *curve);

/* Before bind/connect, in the socket's thread. Accept NULL. Negative errno. */
int curve_apply_server(const struct curve *curve, void *socket);
int curve_apply_client(const struct curve *curve, void *socket, uint32_t node);

/*
 * Whether a payload frame comes from @node, as far as keys can tell: true without keys. Not for
 * routing-id frames, which may lack the property. Any thread.
 */
bool curve_is_from(const struct curve *curve, zmq_msg_t *payload, uint32_t node);

/*
 * Tries to get in with a throw-away key. 0 = refused, as it must be; -EKEYREJECTED = a stranger is
 * admitted; -ETIMEDOUT = no verdict. Blocks for at most @timeout_ms. Any thread.
 */
int curve_probe(const struct curve *curve, uint32_t timeout_ms);

/*
 * Probes every @interval_ms in a thread of its own; @on_open is called in the loop's thread, once,
 * when a stranger was not refused: the daemon must exit. No effect without keys.
 */
int curve_watch_start(struct curve *curve, uv_loop_t *loop, uint32_t interval_ms,
                      void (*on_open)(void *ctx, int r), void *ctx);
/* Joins the probing thread; its handle is closed in the next turns of the loop. Before
 * curve_close(). */
void curve_watch_stop(struct curve *curve);

/* Makes a key pair: the secret into a new file of mode 0600, the public key into @ret_public.
 * -EEXIST and others. */
int curve_generate(const char *secret_key_file, char ret_public[CURVE_KEY_BYTES]);

/* Refusals and admissions so far. Any thread. */
void curve_counters(const struct curve *curve, uint64_t *ret_admitted, uint64_t *ret_refused);

#endif
