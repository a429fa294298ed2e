/*
 * Happy path: the loop submits a send; the sending thread cuts it into frames, hands each to libzmq
 * without copying, and when libzmq has let go of all of them the send is reported done in the loop.
 * The receiving thread checks a frame's header, sender and checksum, and places its payload; the
 * frame that completes a transfer is reported as an arrival.
 *
 * Failure modes: a peer that does not read fills its socket: its sends wait here, the others go on.
 * A peer that is gone: its connection has no pipe (ZMQ_IMMEDIATE), its sends wait until the engine
 * ends the job and they are cancelled. A frame that does not fit what is expected breaks its job. A
 * frame from somebody who is not the node it names is dropped.
 */
#include "daemon/io/bulk.h"

#include "daemon/base/err.h"
#include "daemon/io/bulk_table.h"
#include "daemon/io/curve.h"
#include "daemon/io/endpoint.h"
#include "daemon/math/checksum.h"
#include "proto/wire.h"

#include <assert.h>
#include <pthread.h>
#include <seqsync/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#define BULK_BURST 8 /* frames sent to one peer before the next one has its turn */

enum report_kind { REPORT_ARRIVAL, REPORT_BROKEN };

/* What a thread tells the loop. */
struct report {
    struct report *next;
    enum report_kind kind;
    struct bulk_arrival arrival;
    uint64_t job; /* BROKEN */
    uint32_t node;
    int32_t code;
    const char *text;
};

struct bulk_peer {
    void *socket; /* PUSH, of the sending thread; NULL for ourselves */
    struct bulk_send *head;
    struct bulk_send *tail;
    bool blocked; /* the last send found no room */
};

struct bulk {
    struct bulk_config config;
    struct bulk_table table;
    void *pull;
    int receive_wake; /* eventfds */
    int send_wake;
    pthread_t receiver;
    pthread_t sender;
    uint32_t thread_count; /* 0 .. 2: which threads run */
    uv_async_t reported;
    pthread_mutex_t lock;
    struct bulk_send *submitted; /* newest first, under lock */
    struct report *reports;      /* oldest first, under lock */
    struct report **reports_tail;
    struct bulk_send *sent; /* under lock */
    atomic_bool stopping;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t unexpected_frames;
    _Atomic uint64_t rejected_frames;
    _Atomic uint64_t checksum_errors;
    struct bulk_peer peers[SEQSYNC_NODES_MAX];
};

static void wake_fd(int fd)
{
    const uint64_t one = 1;
    /* The counter of an eventfd cannot overflow here, and any other failure would only delay. */
    (void)!write(fd, &one, sizeof(one));
}

static void clear_fd(int fd)
{
    uint64_t n;
    (void)!read(fd, &n, sizeof(n));
}

/* ---- reports to the loop ---- */

static void report_push(struct bulk *bulk, const struct report *from)
{
    struct report *report = malloc(sizeof(*report));

    if (report == NULL) {
        /* The engine's deadline will name who is waited for; there is nothing better to say without
         * memory. */
        return;
    }
    *report = *from;
    report->next = NULL;
    pthread_mutex_lock(&bulk->lock);
    *bulk->reports_tail = report;
    bulk->reports_tail = &report->next;
    pthread_mutex_unlock(&bulk->lock);
    uv_async_send(&bulk->reported);
}

static void bulk_deliver(struct bulk *bulk)
{
    pthread_mutex_lock(&bulk->lock);
    struct report *reports = bulk->reports;
    struct bulk_send *sent = bulk->sent;
    bulk->reports = NULL;
    bulk->reports_tail = &bulk->reports;
    bulk->sent = NULL;
    pthread_mutex_unlock(&bulk->lock);

    for (struct report *report = reports, *next; report != NULL; report = next) {
        next = report->next;
        if (report->kind == REPORT_ARRIVAL) {
            bulk->config.ops.on_arrival(bulk->config.ctx, &report->arrival);
        } else {
            bulk->config.ops.on_broken(bulk->config.ctx, report->job, report->node, report->code,
                                       report->text);
        }
        free(report);
    }
    for (struct bulk_send *next; sent != NULL; sent = next) {
        next = sent->next;
        sent->done(sent);
    }
}

static void bulk_on_reported(uv_async_t *async)
{
    bulk_deliver(async->data);
}

/* ---- sending thread ---- */

/* Drops one reference of a send; the last one hands it back to the loop. Any thread (libzmq's IO
 * threads too). */
static void send_unref(struct bulk *bulk, struct bulk_send *send)
{
    if (atomic_fetch_sub(&send->outstanding, 1) > 1) {
        return;
    }
    pthread_mutex_lock(&bulk->lock);
    send->next = bulk->sent;
    bulk->sent = send;
    pthread_mutex_unlock(&bulk->lock);
    uv_async_send(&bulk->reported);
}

struct frame_ref {
    struct bulk *bulk;
    struct bulk_send *send;
};

static void frame_on_free(void *data, void *hint)
{
    struct frame_ref *ref = hint;

    (void)data;
    send_unref(ref->bulk, ref->send);
    free(ref);
}

/* Payload message of the next frame: borrows the piece's memory until frame_on_free(). */
static int frame_payload(struct bulk *bulk, struct bulk_send *send, zmq_msg_t *ret,
                         size_t *ret_length)
{
    size_t length = 0;
    uint8_t *data = NULL;

    while (send->piece < send->piece_count &&
           send->piece_offset == send->pieces[send->piece].bytes) {
        send->piece++;
        send->piece_offset = 0;
    }
    if (send->piece < send->piece_count) {
        const struct bulk_piece *piece = &send->pieces[send->piece];
        length = piece->bytes - send->piece_offset;
        length = length < WIRE_BULK_CHUNK_BYTES ? length : WIRE_BULK_CHUNK_BYTES;
        data = (uint8_t *)piece->data + send->piece_offset;
    }
    *ret_length = length;
    if (length == 0) {
        zmq_msg_init(ret);
        return 0;
    }
    struct frame_ref *ref = malloc(sizeof(*ref));
    if (ref == NULL) {
        return err_origin(-ENOMEM);
    }
    *ref = (struct frame_ref){bulk, send};
    atomic_fetch_add(&send->outstanding, 1);
    if (zmq_msg_init_data(ret, data, length, frame_on_free, ref) != 0) {
        frame_on_free(data, ref);
        return err_origin(-ENOMEM);
    }
    return 0;
}

/* Sends the next frame. 0, -EAGAIN if there is no room, or another negative errno. */
static int frame_send(struct bulk *bulk, struct bulk_peer *peer, struct bulk_send *send)
{
    uint8_t header[BULK_HEADER_BYTES];
    zmq_msg_t payload;
    size_t length;
    int events = 0;
    size_t size = sizeof(events);

    /* Asked first, since a payload message must not be made for nothing: undoing it would look like
     * a finished frame. */
    if (zmq_getsockopt(peer->socket, ZMQ_EVENTS, &events, &size) != 0) {
        return err_origin(-zmq_errno());
    }
    if ((events & ZMQ_POLLOUT) == 0) {
        return -EAGAIN;
    }
    int r = frame_payload(bulk, send, &payload, &length);
    if (r < 0) {
        return err_trace(r);
    }
    send->header.length = (uint32_t)length;
    send->header.checksum = checksum_xxh3(zmq_msg_data(&payload), length);
    bulk_header_encode(&send->header, header);
    if (zmq_send(peer->socket, header, sizeof(header), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
        r = -zmq_errno();
        zmq_msg_close(&payload);
        return r;
    }
    if (zmq_msg_send(&payload, peer->socket, 0) < 0) {
        r = -zmq_errno();
        zmq_msg_close(&payload);
        return err_origin(r);
    }
    send->header.offset += length;
    send->piece_offset += length;
    atomic_fetch_add(&bulk->sent_bytes, length);
    return 0;
}

/* Whether the last frame of the send is out. */
static bool send_is_complete(const struct bulk_send *send)
{
    return send->header.offset == send->header.total;
}

static void peer_pop(struct bulk *bulk, struct bulk_peer *peer)
{
    struct bulk_send *send = peer->head;

    peer->head = send->next;
    if (peer->head == NULL) {
        peer->tail = NULL;
    }
    send_unref(bulk, send);
}

/* Sends up to a burst; true if something was done. */
static bool peer_pump(struct bulk *bulk, struct bulk_peer *peer)
{
    bool progress = false;

    peer->blocked = false;
    for (int i = 0; i < BULK_BURST && peer->head != NULL; i++) {
        struct bulk_send *send = peer->head;
        if (atomic_load(&send->cancelled)) {
            peer_pop(bulk, peer);
            progress = true;
            continue;
        }
        const int r = frame_send(bulk, peer, send);
        if (r < 0) {
            /* No room, or no memory: try again when the socket says so, or after the poll's
             * timeout. */
            peer->blocked = true;
            break;
        }
        progress = true;
        if (send_is_complete(send)) {
            peer_pop(bulk, peer);
        }
    }
    return progress;
}

static void sender_take_submitted(struct bulk *bulk)
{
    struct bulk_send *list = NULL;

    pthread_mutex_lock(&bulk->lock);
    struct bulk_send *newest = bulk->submitted;
    bulk->submitted = NULL;
    pthread_mutex_unlock(&bulk->lock);
    for (struct bulk_send *next; newest != NULL; newest = next) {
        next = newest->next;
        newest->next = list;
        list = newest;
    }
    for (struct bulk_send *next; list != NULL; list = next) {
        struct bulk_peer *peer = &bulk->peers[list->node];
        next = list->next;
        list->next = NULL;
        if (peer->tail != NULL) {
            peer->tail->next = list;
        } else {
            peer->head = list;
        }
        peer->tail = list;
    }
}

static void sender_wait(struct bulk *bulk)
{
    zmq_pollitem_t items[SEQSYNC_NODES_MAX + 1];
    int n = 0;

    items[n++] = (zmq_pollitem_t){.fd = bulk->send_wake, .events = ZMQ_POLLIN};
    for (uint32_t i = 0; i < bulk->config.node_count; i++) {
        if (bulk->peers[i].blocked) {
            items[n++] = (zmq_pollitem_t){.socket = bulk->peers[i].socket, .events = ZMQ_POLLOUT};
        }
    }
    /* A cancelled send of a blocked peer is found by the wake-up; the timeout only covers a failed
     * allocation. */
    (void)zmq_poll(items, n, n > 1 ? 100 : -1);
    if ((items[0].revents & ZMQ_POLLIN) != 0) {
        clear_fd(bulk->send_wake);
    }
}

static void *sender_main(void *arg)
{
    struct bulk *bulk = arg;

    while (!atomic_load(&bulk->stopping)) {
        bool progress = false;
        sender_take_submitted(bulk);
        for (uint32_t i = 0; i < bulk->config.node_count; i++) {
            progress |= peer_pump(bulk, &bulk->peers[i]);
        }
        if (!progress) {
            sender_wait(bulk);
        }
    }
    sender_take_submitted(bulk);
    for (uint32_t i = 0; i < bulk->config.node_count; i++) {
        while (bulk->peers[i].head != NULL) {
            peer_pop(bulk, &bulk->peers[i]);
        }
    }
    return NULL;
}

/* ---- receiving thread ---- */

/* The sender that the connection was authenticated as must be the one that the header names. */
static bool frame_is_from(const struct bulk *bulk, zmq_msg_t *payload, uint8_t node)
{
    if (node >= bulk->config.node_count || node == bulk->config.node) {
        return false;
    }
    return curve_is_from(bulk->config.curve, payload, node);
}

static void frame_broken(struct bulk *bulk, const struct bulk_header *header, int32_t code,
                         const char *text)
{
    report_push(bulk, &(struct report){.kind = REPORT_BROKEN,
                                       .job = header->job,
                                       .node = header->node,
                                       .code = code,
                                       .text = text});
}

static void frame_place(struct bulk *bulk, const struct bulk_header *header, const void *payload)
{
    const char *text = NULL;
    bool complete = false;

    int r = bulk_table_probe(&bulk->table, header, &text);
    if (r == BULK_TABLE_UNEXPECTED) {
        atomic_fetch_add(&bulk->unexpected_frames, 1);
        return;
    }
    if (r == 0 && checksum_xxh3(payload, header->length) != header->checksum) {
        atomic_fetch_add(&bulk->checksum_errors, 1);
        frame_broken(bulk, header, SEQSYNC_ERR_CHECKSUM,
                     "the checksum of a frame does not fit its payload: it was damaged on the way, "
                     "or a worker wrote to what it had published");
        return;
    }
    r = r == 0 ? bulk_table_place(&bulk->table, header, payload, &complete, &text) : r;
    if (r == BULK_TABLE_UNEXPECTED) {
        return; /* forgotten in between */
    }
    if (r == BULK_TABLE_BROKEN) {
        frame_broken(bulk, header, SEQSYNC_ERR_PROTOCOL, text);
        return;
    }
    atomic_fetch_add(&bulk->received_bytes, header->length);
    if (complete) {
        report_push(bulk, &(struct report){.kind = REPORT_ARRIVAL,
                                           .arrival = {.key = {.job = header->job,
                                                               .id = header->id,
                                                               .part = header->part,
                                                               .kind = header->kind,
                                                               .node = header->node},
                                                       .step = header->step,
                                                       .count = header->count,
                                                       .part = header->part,
                                                       .node = header->node,
                                                       .nonfinite = (header->flags & 1) != 0}});
    }
}

/* Takes one message of exactly two parts; anything else is dropped whole. False if there is none.
 */
static bool receiver_take(struct bulk *bulk)
{
    struct bulk_header header;
    zmq_msg_t parts[2];
    int n = 0;
    bool more = true;

    zmq_msg_init(&parts[0]);
    zmq_msg_init(&parts[1]);
    while (more) {
        zmq_msg_t extra;
        zmq_msg_t *part = n < 2 ? &parts[n] : &extra;
        if (n >= 2) {
            zmq_msg_init(&extra);
        }
        if (zmq_msg_recv(part, bulk->pull, ZMQ_DONTWAIT) < 0) {
            break;
        }
        more = zmq_msg_more(part) != 0;
        n++;
        if (n > 2) {
            zmq_msg_close(&extra);
        }
    }
    if (n == 2 &&
        bulk_header_decode(zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]),
                           zmq_msg_size(&parts[1]), &header) == NULL &&
        frame_is_from(bulk, &parts[1], header.node)) {
        frame_place(bulk, &header, zmq_msg_data(&parts[1]));
    } else if (n > 0) {
        atomic_fetch_add(&bulk->rejected_frames, 1);
    }
    zmq_msg_close(&parts[0]);
    zmq_msg_close(&parts[1]);
    return n > 0;
}

static void *receiver_main(void *arg)
{
    struct bulk *bulk = arg;
    zmq_pollitem_t items[2] = {{.socket = bulk->pull, .events = ZMQ_POLLIN},
                               {.fd = bulk->receive_wake, .events = ZMQ_POLLIN}};

    while (!atomic_load(&bulk->stopping)) {
        while (!atomic_load(&bulk->stopping) && receiver_take(bulk)) {
        }
        (void)zmq_poll(items, 2, -1);
    }
    return NULL;
}

/* ---- life ---- */

static int socket_options(void *socket)
{
    const int hwm = BULK_HWM, zero = 0, one = 1, interval = 50, interval_max = 1000,
              handshake = 5000;
    /* libzmq counts what CURVE adds to a frame, too; the header decoder checks the real limit. */
    const int64_t max = WIRE_BULK_CHUNK_BYTES + WIRE_CURVE_SLACK_BYTES;
    int r = 0;

    r |= zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof(hwm));
    r |= zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof(hwm));
    r |= zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero));
    r |= zmq_setsockopt(socket, ZMQ_IMMEDIATE, &one, sizeof(one));
    r |= zmq_setsockopt(socket, ZMQ_IPV6, &one, sizeof(one));
    r |= zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof(max));
    r |= zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &interval, sizeof(interval));
    r |= zmq_setsockopt(socket, ZMQ_RECONNECT_IVL_MAX, &interval_max, sizeof(interval_max));
    r |= zmq_setsockopt(socket, ZMQ_HANDSHAKE_IVL, &handshake, sizeof(handshake));
    return r == 0 ? 0 : err_origin(-zmq_errno());
}

static int bulk_bind(struct bulk *bulk, char *ret_text, size_t size)
{
    const struct bulk_config *config = &bulk->config;
    const char *endpoint = config->endpoints[config->node];
    char address[ENDPOINT_MAX];
    const char *why;

    int r = endpoint_check_bind(endpoint, curve_enabled(config->curve), config->allow_plaintext,
                                address, &why);
    if (r < 0) {
        snprintf(ret_text, size, "bulk endpoint %s: %s", endpoint, why);
        return err_trace(r);
    }
    bulk->pull = zmq_socket(config->zmq, ZMQ_PULL);
    if (bulk->pull == NULL || socket_options(bulk->pull) < 0) {
        return err_origin(-zmq_errno());
    }
    r = curve_apply_server(config->curve, bulk->pull);
    if (r < 0) {
        return err_trace(r);
    }
    if (zmq_bind(bulk->pull, address) != 0) {
        r = -zmq_errno();
        snprintf(ret_text, size, "cannot listen on the bulk endpoint %s: %s", endpoint,
                 zmq_strerror(-r));
        return err_origin(r);
    }
    return 0;
}

static int bulk_connect(struct bulk *bulk, uint32_t node)
{
    const struct bulk_config *config = &bulk->config;
    void *socket = zmq_socket(config->zmq, ZMQ_PUSH);

    bulk->peers[node].socket = socket;
    if (socket == NULL || socket_options(socket) < 0) {
        return err_origin(-zmq_errno());
    }
    const int r = curve_apply_client(config->curve, socket, node);
    if (r < 0) {
        return err_trace(r);
    }
    return zmq_connect(socket, config->endpoints[node]) == 0 ? 0 : err_origin(-zmq_errno());
}

static int bulk_sockets(struct bulk *bulk, char *ret_text, size_t size)
{
    const struct bulk_config *config = &bulk->config;
    int r;

    snprintf(ret_text, size, "cannot make the bulk socket");
    r = bulk_bind(bulk, ret_text, size);
    for (uint32_t i = 0; i < config->node_count && r == 0; i++) {
        if (i != config->node) {
            snprintf(ret_text, size, "cannot make the bulk socket to %s at %s", config->names[i],
                     config->endpoints[i]);
            r = bulk_connect(bulk, i);
        }
    }
    return err_trace(r);
}

static int bulk_threads(struct bulk *bulk, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "cannot start the bulk threads");
    bulk->receive_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bulk->send_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bulk->receive_wake < 0 || bulk->send_wake < 0) {
        return err_origin(-errno);
    }
    int r = pthread_create(&bulk->receiver, NULL, receiver_main, bulk);
    if (r != 0) {
        return err_origin(-r);
    }
    bulk->thread_count = 1;
    r = pthread_create(&bulk->sender, NULL, sender_main, bulk);
    if (r != 0) {
        return err_origin(-r);
    }
    bulk->thread_count = 2;
    return 0;
}

int bulk_open(const struct bulk_config *config, struct bulk **ret, char *ret_text, size_t size)
{
    struct bulk *bulk = calloc(1, sizeof(*bulk));
    int r;

    snprintf(ret_text, size, "out of memory");
    if (bulk == NULL) {
        return err_origin(-ENOMEM);
    }
    bulk->config = *config;
    bulk->receive_wake = -1;
    bulk->send_wake = -1;
    bulk->reports_tail = &bulk->reports;
    pthread_mutex_init(&bulk->lock, NULL);
    bulk_table_init(&bulk->table);
    r = uv_async_init(config->loop, &bulk->reported, bulk_on_reported);
    if (r < 0) {
        bulk_table_deinit(&bulk->table);
        free(bulk);
        return err_origin(r);
    }
    bulk->reported.data = bulk;
    if (config->node_count > 1) {
        r = bulk_sockets(bulk, ret_text, size);
        r = r < 0 ? r : bulk_threads(bulk, ret_text, size);
        if (r < 0) {
            bulk_close(bulk);
            bulk_free(bulk);
            return err_trace(r);
        }
    }
    *ret = bulk;
    return 0;
}

static void bulk_on_closed(uv_handle_t *handle)
{
    struct bulk *bulk = handle->data;

    bulk_table_deinit(&bulk->table);
    pthread_mutex_destroy(&bulk->lock);
    free(bulk);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void close_socket(void **socket)
{
    if (*socket != NULL) {
        zmq_close(*socket);
    }
    *socket = NULL;
}

void bulk_close(struct bulk *bulk)
{
    if (bulk == NULL) {
        return;
    }
    atomic_store(&bulk->stopping, true);
    if (bulk->thread_count > 0) {
        wake_fd(bulk->receive_wake);
        pthread_join(bulk->receiver, NULL);
    }
    if (bulk->thread_count > 1) {
        wake_fd(bulk->send_wake);
        pthread_join(bulk->sender, NULL);
    }
    bulk->thread_count = 0;
    close_socket(&bulk->pull);
    for (uint32_t i = 0; i < bulk->config.node_count; i++) {
        close_socket(&bulk->peers[i].socket);
    }
    close_fd(&bulk->receive_wake);
    close_fd(&bulk->send_wake);
}

void bulk_free(struct bulk *bulk)
{
    if (bulk == NULL) {
        return;
    }
    assert(bulk->pull == NULL);
    bulk_deliver(bulk);
    uv_close((uv_handle_t *)&bulk->reported, bulk_on_closed);
}

int bulk_expect(struct bulk *bulk, const struct bulk_key *key, uint64_t generation, uint64_t step,
                const struct bulk_piece *pieces, uint32_t piece_count)
{
    assert(piece_count <= BULK_PIECES_MAX);
    return err_trace(bulk_table_expect(&bulk->table, key, generation, step, pieces, piece_count));
}

void bulk_forget(struct bulk *bulk, const struct bulk_key *key)
{
    bulk_table_forget(&bulk->table, key);
}

void bulk_forget_job(struct bulk *bulk, uint64_t job)
{
    bulk_table_forget_job(&bulk->table, job);
}

void bulk_forget_steps(struct bulk *bulk, uint64_t job)
{
    bulk_table_forget_steps(&bulk->table, job);
}

void bulk_submit(struct bulk *bulk, struct bulk_send *send)
{
    assert(send->node < bulk->config.node_count && bulk->peers[send->node].socket != NULL);
    send->header.incarnation = bulk->config.incarnation;
    send->header.node = (uint8_t)bulk->config.node;
    send->header.offset = 0;
    send->header.total = 0;
    for (uint32_t i = 0; i < send->piece_count; i++) {
        send->header.total += send->pieces[i].bytes;
    }
    send->piece = 0;
    send->piece_offset = 0;
    atomic_store(&send->outstanding, 1);
    pthread_mutex_lock(&bulk->lock);
    send->next = bulk->submitted;
    bulk->submitted = send;
    pthread_mutex_unlock(&bulk->lock);
    wake_fd(bulk->send_wake);
}

void bulk_cancel(struct bulk *bulk, struct bulk_send *send)
{
    atomic_store(&send->cancelled, true);
    wake_fd(bulk->send_wake);
}

void bulk_counters(struct bulk *bulk, struct bulk_counters *ret)
{
    ret->sent_bytes = atomic_load(&bulk->sent_bytes);
    ret->received_bytes = atomic_load(&bulk->received_bytes);
    ret->unexpected_frames = atomic_load(&bulk->unexpected_frames);
    ret->rejected_frames = atomic_load(&bulk->rejected_frames);
    ret->checksum_errors = atomic_load(&bulk->checksum_errors);
}
