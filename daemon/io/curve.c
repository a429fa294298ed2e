#include "daemon/io/curve.h"

#include "daemon/base/err.h"
#include "daemon/io/curve_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROBE_START_MS 5000
#define PROBE_MS 10000

static bool key_is_plausible(const char *key)
{
    uint8_t bytes[32];
    return strlen(key) == CURVE_KEY_BYTES - 1 && zmq_z85_decode(bytes, key) != NULL;
}

/* The first 40 bytes of a file that nobody but its owner may read. */
static int secret_read(const char *file, char ret_secret[CURVE_KEY_BYTES], char *ret_text,
                       size_t size)
{
    struct stat status;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        int r = -errno;
        snprintf(ret_text, size, "cannot read the secret key %s: %s", file, strerror(-r));
        if (fd >= 0) {
            close(fd);
        }
        return err_origin(r);
    }
    if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0) {
        snprintf(ret_text, size,
                 "the secret key %s must be a file that only its owner may read (chmod 600)", file);
        close(fd);
        return err_origin(-EPERM);
    }
    ssize_t n = read(fd, ret_secret, CURVE_KEY_BYTES - 1);
    close(fd);
    ret_secret[n > 0 ? n : 0] = '\0';
    if (!key_is_plausible(ret_secret)) {
        snprintf(ret_text, size, "%s holds no key: make one with seqsyncd --genkey FILE", file);
        return err_origin(-EINVAL);
    }
    return 0;
}

static int keys_check(struct curve *curve, char *ret_text, size_t size)
{
    const struct curve_config *config = &curve->config;
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (config->public_keys[i] == NULL || !key_is_plausible(config->public_keys[i])) {
            snprintf(ret_text, size, "member %s has no public key in [peers], or a malformed one",
                     config->names[i]);
            return err_origin(-EINVAL);
        }
    }
    if (zmq_curve_public(curve->public, curve->secret) != 0) {
        snprintf(ret_text, size, "the secret key is unusable: %s", zmq_strerror(zmq_errno()));
        return err_origin(-EINVAL);
    }
    if (strcmp(curve->public, config->public_keys[config->node]) != 0) {
        snprintf(ret_text, size,
                 "the secret key does not belong to this node: its public key is %s, and [peers] "
                 "says %s for %s",
                 curve->public, config->public_keys[config->node], config->names[config->node]);
        return err_origin(-EINVAL);
    }
    return 0;
}

int curve_open(const struct curve_config *config, struct curve **ret, char *ret_text, size_t size)
{
    if (config->secret_key_file == NULL || config->secret_key_file[0] == '\0') {
        *ret = NULL;
        return 0;
    }
    if (zmq_has("curve") != 1) {
        snprintf(ret_text, size, "this libzmq has no CURVE; keys cannot be used");
        return err_origin(-ENOTSUP);
    }
    struct curve *curve = calloc(1, sizeof(*curve));
    if (curve == NULL) {
        snprintf(ret_text, size, "out of memory");
        return err_origin(-ENOMEM);
    }
    curve->config = *config;
    pthread_mutex_init(&curve->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&curve->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = secret_read(config->secret_key_file, curve->secret, ret_text, size);
    if (r == 0) {
        r = keys_check(curve, ret_text, size);
    }
    if (r == 0) {
        r = zap_start(config->zmq, config->node_count, config->names, config->public_keys,
                      &curve->zap);
        if (r < 0) {
            snprintf(ret_text, size, "cannot start the key check (ZAP): %s", strerror(-r));
        }
    }
    if (r == 0) {
        r = curve_probe(curve, PROBE_START_MS);
        if (r < 0) {
            snprintf(ret_text, size, "a connection with an unknown key was not refused");
        }
    }
    if (r < 0) {
        curve_close(curve);
        return err_trace(r);
    }
    *ret = curve;
    return 0;
}

void curve_close(struct curve *curve)
{
    if (curve == NULL) {
        return;
    }
    zap_stop(curve->zap);
    pthread_mutex_destroy(&curve->lock);
    pthread_cond_destroy(&curve->wake);
    explicit_bzero(curve->secret, sizeof(curve->secret));
    free(curve);
}

bool curve_enabled(const struct curve *curve)
{
    return curve != NULL;
}

static int set_text(void *socket, int option, const char *text)
{
    return zmq_setsockopt(socket, option, text, strlen(text)) == 0 ? 0 : -zmq_errno();
}

int curve_apply_server(const struct curve *curve, void *socket)
{
    if (curve == NULL) {
        return 0;
    }
    const int one = 1;
    int r = zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &one, sizeof(one)) == 0 ? 0 : -zmq_errno();
    if (r == 0) {
        r = set_text(socket, ZMQ_CURVE_SECRETKEY, curve->secret);
    }
    if (r == 0) {
        r = set_text(socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN);
    }
    return r < 0 ? err_origin(r) : 0;
}

static int apply_client(void *socket, const char *server, const char *public, const char *secret)
{
    int r = set_text(socket, ZMQ_CURVE_SERVERKEY, server);
    if (r == 0) {
        r = set_text(socket, ZMQ_CURVE_PUBLICKEY, public);
    }
    if (r == 0) {
        r = set_text(socket, ZMQ_CURVE_SECRETKEY, secret);
    }
    return r < 0 ? err_origin(r) : 0;
}

int curve_apply_client(const struct curve *curve, void *socket, uint32_t node)
{
    if (curve == NULL) {
        return 0;
    }
    return err_trace(
        apply_client(socket, curve->config.public_keys[node], curve->public, curve->secret));
}

bool curve_is_from(const struct curve *curve, zmq_msg_t *payload, uint32_t node)
{
    if (curve == NULL) {
        return true;
    }
    const char *user = zmq_msg_gets(payload, "User-Id");
    return user != NULL && strcmp(user, curve->config.names[node]) == 0;
}

/* ---- the probe ---- */

/* 0, -EKEYREJECTED, or -EAGAIN for events that say nothing yet. */
static int probe_judge(uint16_t event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        return -EKEYREJECTED;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return 0;
    default:
        return -EAGAIN;
    }
}

static int probe_wait(void *monitor, uint32_t timeout_ms)
{
    struct timespec begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (;;) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        long passed = (now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000;
        int left = passed >= (long)timeout_ms ? 0 : (int)((long)timeout_ms - passed);
        if (left == 0 || zmq_setsockopt(monitor, ZMQ_RCVTIMEO, &left, sizeof(left)) != 0) {
            return -ETIMEDOUT;
        }
        uint8_t frame[6];
        uint8_t address[256];
        if (zmq_recv(monitor, frame, sizeof(frame), 0) < (int)sizeof(frame) ||
            zmq_recv(monitor, address, sizeof(address), 0) < 0) {
            if (zmq_errno() == EINTR) {
                continue;
            }
            return -ETIMEDOUT;
        }
        uint16_t event;
        memcpy(&event, frame, sizeof(event));
        int r = probe_judge(event);
        if (r != -EAGAIN) {
            return r;
        }
    }
}

/* The server is one of our own on an abstract local socket: the handler judges it like any other of
 * the context. */
static int probe_run(const struct curve *curve, void *server, void *client, void *monitor,
                     uint32_t timeout_ms)
{
    char public[CURVE_KEY_BYTES];
    char secret[CURVE_KEY_BYTES];
    char endpoint[64];
    char events[64];
    uint64_t tag = 0;
    const int zero = 0;
    if (getrandom(&tag, sizeof(tag), 0) != (ssize_t)sizeof(tag) ||
        zmq_curve_keypair(public, secret) != 0) {
        return -EIO;
    }
    snprintf(endpoint, sizeof(endpoint), "ipc://@seqsync-probe-%016llx", (unsigned long long)tag);
    snprintf(events, sizeof(events), "inproc://seqsync-probe-%016llx", (unsigned long long)tag);
    zmq_setsockopt(server, ZMQ_LINGER, &zero, sizeof(zero));
    zmq_setsockopt(client, ZMQ_LINGER, &zero, sizeof(zero));
    if (curve_apply_server(curve, server) < 0 ||
        apply_client(client, curve->public, public, secret) < 0 ||
        zmq_bind(server, endpoint) != 0 || zmq_socket_monitor(client, events, ZMQ_EVENT_ALL) != 0 ||
        zmq_connect(monitor, events) != 0 || zmq_connect(client, endpoint) != 0) {
        return -EIO;
    }
    int r = probe_wait(monitor, timeout_ms);
    zmq_socket_monitor(client, NULL, 0);
    return r;
}

int curve_probe(const struct curve *curve, uint32_t timeout_ms)
{
    if (curve == NULL) {
        return 0;
    }
    void *server = zmq_socket(curve->config.zmq, ZMQ_PULL);
    void *client = zmq_socket(curve->config.zmq, ZMQ_PUSH);
    void *monitor = zmq_socket(curve->config.zmq, ZMQ_PAIR);
    int r = -ETIMEDOUT;
    if (server != NULL && client != NULL && monitor != NULL) {
        r = probe_run(curve, server, client, monitor, timeout_ms);
        r = r == -EIO ? -ETIMEDOUT : r;
    }
    void *sockets[] = {client, monitor, server};
    for (size_t i = 0; i < 3; i++) {
        if (sockets[i] != NULL) {
            zmq_close(sockets[i]);
        }
    }
    return r < 0 ? err_origin(r) : 0;
}

/* ---- the watch ---- */

/* Waits for the interval; false if the watch is to end. */
static bool watch_wait(struct curve *curve)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(curve->interval_ms / 1000);
    until.tv_nsec += (long)(curve->interval_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&curve->lock);
    while (!curve->stopping &&
           pthread_cond_timedwait(&curve->wake, &curve->lock, &until) != ETIMEDOUT) {
    }
    bool go_on = !curve->stopping;
    pthread_mutex_unlock(&curve->lock);
    return go_on;
}

static void *watch_run(void *arg)
{
    struct curve *curve = arg;
    while (watch_wait(curve)) {
        int r = curve_probe(curve, PROBE_MS);
        if (r < 0) {
            pthread_mutex_lock(&curve->lock);
            bool stopping = curve->stopping;
            curve->verdict = r;
            pthread_mutex_unlock(&curve->lock);
            if (!stopping) {
                uv_async_send(curve->async);
            }
            return NULL;
        }
    }
    return NULL;
}

static void watch_on_async(uv_async_t *async)
{
    struct curve *curve = async->data;
    pthread_mutex_lock(&curve->lock);
    int r = curve->verdict;
    pthread_mutex_unlock(&curve->lock);
    if (r < 0) {
        curve->on_open(curve->ctx, r);
    }
}

static void watch_on_closed(uv_handle_t *handle)
{
    free(handle);
}

int curve_watch_start(struct curve *curve, uv_loop_t *loop, uint32_t interval_ms,
                      void (*on_open)(void *ctx, int r), void *ctx)
{
    if (curve == NULL) {
        return 0;
    }
    /* On the heap, because it outlives the curve by some turns of the loop. */
    uv_async_t *async = malloc(sizeof(*async));
    if (async == NULL) {
        return err_origin(-ENOMEM);
    }
    int r = uv_async_init(loop, async, watch_on_async);
    if (r < 0) {
        free(async);
        return err_origin(r);
    }
    async->data = curve;
    curve->async = async;
    curve->interval_ms = interval_ms;
    curve->on_open = on_open;
    curve->ctx = ctx;
    r = -pthread_create(&curve->watcher, NULL, watch_run, curve);
    if (r < 0) {
        curve->async = NULL;
        uv_close((uv_handle_t *)async, watch_on_closed);
        return err_origin(r);
    }
    return 0;
}

void curve_watch_stop(struct curve *curve)
{
    if (curve == NULL || curve->async == NULL) {
        return;
    }
    pthread_mutex_lock(&curve->lock);
    curve->stopping = true;
    pthread_cond_signal(&curve->wake);
    pthread_mutex_unlock(&curve->lock);
    pthread_join(curve->watcher, NULL);
    uv_close((uv_handle_t *)curve->async, watch_on_closed);
    curve->async = NULL;
}

/* ---- keys ---- */

int curve_generate(const char *secret_key_file, char ret_public[CURVE_KEY_BYTES])
{
    char secret[CURVE_KEY_BYTES];
    char line[CURVE_KEY_BYTES + 1];
    if (zmq_curve_keypair(ret_public, secret) != 0) {
        return err_origin(-zmq_errno());
    }
    int fd = open(secret_key_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_origin(-errno);
    }
    snprintf(line, sizeof(line), "%s\n", secret);
    ssize_t length = (ssize_t)strlen(line);
    errno = EIO; /* of a short write */
    int r = write(fd, line, (size_t)length) == length && fsync(fd) == 0 ? 0 : -errno;
    if (close(fd) != 0 && r == 0) {
        r = -errno;
    }
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(line, sizeof(line));
    if (r < 0) {
        unlink(secret_key_file);
        return err_origin(r);
    }
    return 0;
}

void curve_counters(const struct curve *curve, uint64_t *ret_admitted, uint64_t *ret_refused)
{
    *ret_admitted = 0;
    *ret_refused = 0;
    if (curve != NULL) {
        zap_counters(curve->zap, ret_admitted, ret_refused);
    }
}
