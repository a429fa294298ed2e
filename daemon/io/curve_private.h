/* What curve.c keeps; for it and for the test that lets the handler die. */
#ifndef SEQSYNC_IO_CURVE_PRIVATE_H
#define SEQSYNC_IO_CURVE_PRIVATE_H

#include "daemon/io/curve.h"
#include "daemon/io/zap.h"

#include <pthread.h>

struct curve {
    struct curve_config config;
    char secret[CURVE_KEY_BYTES];
    char public[CURVE_KEY_BYTES];
    struct zap *zap;
    /* the watch */
    uv_async_t *async; /* NULL = not started */
    pthread_t watcher;
    pthread_mutex_t lock; /* of stopping and verdict */
    pthread_cond_t wake;
    bool stopping;
    int verdict;
    uint32_t interval_ms;
    void (*on_open)(void *ctx, int r);
    void *ctx;
};

#endif
