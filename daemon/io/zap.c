#include "daemon/io/zap.h"

#include "daemon/base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define KEY_BYTES 32

/* A request's parts, RFC 27: version, request id, domain, address, routing id, mechanism,
 * credentials. */
enum zap_part {
    ZAP_PART_VERSION = 0,
    ZAP_PART_REQUEST = 1,
    ZAP_PART_DOMAIN = 2,
    ZAP_PART_MECHANISM = 5,
    ZAP_PART_CREDENTIALS = 6,
    ZAP_PARTS_N = 7,
};

struct zap {
    void *handler;     /* REP; the thread's once it runs */
    void *order;       /* PAIR: anything that comes means stop; the thread's end */
    void *control;     /* the other end, the owner's */
    char endpoint[64]; /* of order */
    pthread_t thread;
    uint32_t count;
    const char *const *names;
    uint8_t (*keys)[KEY_BYTES]; /* [count] */
    atomic_ullong admitted;
    atomic_ullong refused;
};

static bool part_is(zmq_msg_t *part, const char *text)
{
    return zmq_msg_size(part) == strlen(text) &&
           memcmp(zmq_msg_data(part), text, strlen(text)) == 0;
}

/* The member whose key it is, NULL = nobody's. */
static const char *zap_judge(const struct zap *zap, zmq_msg_t parts[ZAP_PARTS_N], uint32_t count)
{
    if (count != ZAP_PARTS_N || !part_is(&parts[ZAP_PART_VERSION], "1.0") ||
        !part_is(&parts[ZAP_PART_DOMAIN], ZAP_DOMAIN) ||
        !part_is(&parts[ZAP_PART_MECHANISM], "CURVE") ||
        zmq_msg_size(&parts[ZAP_PART_CREDENTIALS]) != KEY_BYTES) {
        return NULL;
    }
    for (uint32_t i = 0; i < zap->count; i++) {
        if (memcmp(zap->keys[i], zmq_msg_data(&parts[ZAP_PART_CREDENTIALS]), KEY_BYTES) == 0) {
            return zap->names[i];
        }
    }
    return NULL;
}

static void zap_answer(struct zap *zap, zmq_msg_t *request, const char *name)
{
    const char *code = name != NULL ? "200" : "400";
    const char *text = name != NULL ? "OK" : "unknown key";
    const char *user = name != NULL ? name : "";
    if (name != NULL) {
        atomic_fetch_add(&zap->admitted, 1);
    } else {
        atomic_fetch_add(&zap->refused, 1);
    }
    zmq_send(zap->handler, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(zap->handler, zmq_msg_data(request), zmq_msg_size(request), ZMQ_SNDMORE);
    zmq_send(zap->handler, code, 3, ZMQ_SNDMORE);
    zmq_send(zap->handler, text, strlen(text), ZMQ_SNDMORE);
    zmq_send(zap->handler, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(zap->handler, "", 0, 0);
}

/* Takes one request and answers it; false if the socket is of no use any more. */
static bool zap_serve(struct zap *zap)
{
    zmq_msg_t parts[ZAP_PARTS_N];
    uint32_t count = 0;
    bool more = true;
    bool alive = true;
    while (more) {
        zmq_msg_t surplus;
        zmq_msg_t *part = count < ZAP_PARTS_N ? &parts[count] : &surplus;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, zap->handler, 0) < 0) {
            zmq_msg_close(part);
            if (zmq_errno() == EINTR) {
                continue;
            }
            alive = false;
            break;
        }
        more = zmq_msg_more(part) != 0;
        if (part == &surplus) {
            zmq_msg_close(part);
        }
        count++;
    }
    if (alive) {
        zmq_msg_t none;
        zmq_msg_init(&none);
        zmq_msg_t *request = count > ZAP_PART_REQUEST ? &parts[ZAP_PART_REQUEST] : &none;
        zap_answer(zap, request, zap_judge(zap, parts, count));
        zmq_msg_close(&none);
    }
    for (uint32_t i = 0; i < count && i < ZAP_PARTS_N; i++) {
        zmq_msg_close(&parts[i]);
    }
    return alive;
}

static void *zap_run(void *arg)
{
    struct zap *zap = arg;
    zmq_pollitem_t items[] = {
        {.socket = zap->handler, .events = ZMQ_POLLIN},
        {.socket = zap->order, .events = ZMQ_POLLIN},
    };
    for (;;) {
        if (zmq_poll(items, 2, -1) < 0) {
            if (zmq_errno() == EINTR) {
                continue;
            }
            break; /* ETERM */
        }
        if ((items[1].revents & ZMQ_POLLIN) != 0) {
            break;
        }
        if ((items[0].revents & ZMQ_POLLIN) != 0 && !zap_serve(zap)) {
            break;
        }
    }
    /* From here on libzmq would let everybody in, so the servers must be closed: zap_stop() says
     * so. */
    /* At once; a close gives the names back later, when the next handler may have this address. */
    zmq_unbind(zap->handler, ZAP_ENDPOINT);
    zmq_unbind(zap->order, zap->endpoint);
    zmq_close(zap->handler);
    zmq_close(zap->order);
    return NULL;
}

static void zap_free(struct zap *zap, bool threaded)
{
    const int zero = 0;
    if (!threaded && zap->handler != NULL) {
        zmq_close(zap->handler);
    }
    if (!threaded && zap->order != NULL) {
        zmq_close(zap->order);
    }
    if (zap->control != NULL) {
        zmq_setsockopt(zap->control, ZMQ_LINGER, &zero, sizeof(zero));
        zmq_close(zap->control);
    }
    free(zap->keys);
    free(zap);
}

static int zap_open(struct zap *zap, void *zmq, const char *const *public_keys)
{
    const int zero = 0;
    zap->keys = calloc(zap->count, KEY_BYTES);
    if (zap->keys == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < zap->count; i++) {
        if (zmq_z85_decode(zap->keys[i], public_keys[i]) == NULL) {
            return -EINVAL;
        }
    }
    snprintf(zap->endpoint, sizeof(zap->endpoint), "inproc://seqsync-zap-%p", (void *)zap);
    zap->handler = zmq_socket(zmq, ZMQ_REP);
    zap->order = zmq_socket(zmq, ZMQ_PAIR);
    zap->control = zmq_socket(zmq, ZMQ_PAIR);
    if (zap->handler == NULL || zap->order == NULL || zap->control == NULL ||
        zmq_setsockopt(zap->handler, ZMQ_LINGER, &zero, sizeof(zero)) != 0 ||
        zmq_bind(zap->handler, ZAP_ENDPOINT) != 0 || zmq_bind(zap->order, zap->endpoint) != 0 ||
        zmq_connect(zap->control, zap->endpoint) != 0) {
        return -zmq_errno();
    }
    return -pthread_create(&zap->thread, NULL, zap_run, zap);
}

int zap_start(void *zmq, uint32_t count, const char *const *names, const char *const *public_keys,
              struct zap **ret)
{
    struct zap *zap = calloc(1, sizeof(*zap));
    if (zap == NULL) {
        return err_origin(-ENOMEM);
    }
    zap->count = count;
    zap->names = names;
    int r = zap_open(zap, zmq, public_keys);
    if (r < 0) {
        zap_free(zap, /* threaded= */ false);
        return err_origin(r);
    }
    *ret = zap;
    return 0;
}

void zap_stop(struct zap *zap)
{
    if (zap == NULL) {
        return;
    }
    /* With the context shut down the send fails, and the thread has left by itself. */
    zmq_send(zap->control, "", 0, 0);
    pthread_join(zap->thread, NULL);
    zap_free(zap, /* threaded= */ true);
}

void zap_counters(const struct zap *zap, uint64_t *ret_admitted, uint64_t *ret_refused)
{
    *ret_admitted = atomic_load(&zap->admitted);
    *ret_refused = atomic_load(&zap->refused);
}
