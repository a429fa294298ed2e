/* Peers: their messages become events or entries of the control log; the engine's messages go the
 * other way. */
#include "daemon/host/log.h"
#include "daemon/io/convert.h"
#include "daemon/io/driver_private.h"

#include <stdio.h>
#include <string.h>

static void peer_on_up(void *ctx, uint32_t node)
{
    struct driver *driver = ctx;

    if (node == 0) {
        control_log_restart(&driver->log);
    }
    driver_feed(driver, &(struct event){.kind = EVENT_PEER_UP,
                                        .now_ns = driver_now(driver),
                                        .peer = {.node = node, .text = ""}});
}

static void peer_on_heard(void *ctx, uint32_t node)
{
    struct driver *driver = ctx;

    driver_feed(driver, &(struct event){.kind = EVENT_PEER_HEARD,
                                        .now_ns = driver_now(driver),
                                        .peer = {.node = node, .text = ""}});
}

static void peer_on_lost(void *ctx, uint32_t node, const char *how)
{
    struct driver *driver = ctx;

    driver_feed(driver, &(struct event){.kind = EVENT_PEER_LOST,
                                        .now_ns = driver_now(driver),
                                        .peer = {.node = node, .text = how}});
}

static void peer_on_message(void *ctx, uint32_t node, const Seqsync__Peer__PeerMessage *from)
{
    struct driver *driver = ctx;
    struct message message;
    struct entry entry;

    if (convert_message_in(from, &message)) {
        driver_feed(driver, &(struct event){.kind = EVENT_MESSAGE,
                                            .now_ns = driver_now(driver),
                                            .message = {.node = node, .message = &message}});
        return;
    }
    if (convert_entry_in(from, driver->node_count, &entry)) {
        const int r = control_log_receive(&driver->log, node, &entry);
        if (r != 0) {
            log_msg(LOG_LEVEL_WARNING,
                    "%s sent a control entry that is not its to send or is old (%d), ignoring",
                    driver->names[node], r);
        }
        return;
    }
    log_msg(LOG_LEVEL_WARNING, "%s sent a message that makes no sense here, ignoring",
            driver->names[node]);
}

const struct peer_port_ops driver_peer_ops = {.on_up = peer_on_up,
                                              .on_heard = peer_on_heard,
                                              .on_lost = peer_on_lost,
                                              .on_message = peer_on_message};

/* ---- control log ---- */

static void log_on_send(void *ctx, uint32_t node, const struct entry *entry)
{
    struct driver *driver = ctx;
    struct convert_out out;

    convert_entry_out(entry, &out);
    out.message.job = entry->job;
    out.message.generation = entry->generation;
    const int r = peer_port_send(driver->peer_port, node, &out.message);
    if (r < 0) {
        /* A node that is down has no ranks of a living job: it misses nothing that it needs. */
        log_msg(LOG_LEVEL_DEBUG, "%s is not told of a control entry: %s", driver->names[node],
                strerror(-r));
    }
}

/* Takes in a job before the engine hears that it is formed. */
static void log_on_committed(void *ctx, const struct entry *entry)
{
    struct driver *driver = ctx;

    driver_feed(driver, &(struct event){
                            .kind = EVENT_COMMITTED, .now_ns = driver_now(driver), .entry = entry});
}

const struct control_log_ops driver_log_ops = {.send = log_on_send, .committed = log_on_committed};
