/* Checked arithmetic for sizes and counts. Each returns true and writes *ret, or false and leaves
 * it. */
#ifndef SEQSYNC_BASE_NUM_H
#define SEQSYNC_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool num_mul_size(size_t *ret, size_t a, size_t b)
{
    size_t v;
    if (__builtin_mul_overflow(a, b, &v)) {
        return false;
    }
    *ret = v;
    return true;
}

static inline bool num_add_size(size_t *ret, size_t a, size_t b)
{
    size_t v;
    if (__builtin_add_overflow(a, b, &v)) {
        return false;
    }
    *ret = v;
    return true;
}

static inline bool num_mul_i64(int64_t *ret, int64_t a, int64_t b)
{
    int64_t v;
    if (__builtin_mul_overflow(a, b, &v)) {
        return false;
    }
    *ret = v;
    return true;
}

static inline bool num_add_i64(int64_t *ret, int64_t a, int64_t b)
{
    int64_t v;
    if (__builtin_add_overflow(a, b, &v)) {
        return false;
    }
    *ret = v;
    return true;
}

/* @n rounded up to a multiple of @unit, a power of two. */
static inline bool num_round_up(size_t *ret, size_t n, size_t unit)
{
    size_t v;
    if (__builtin_add_overflow(n, unit - 1, &v)) {
        return false;
    }
    *ret = v & ~(unit - 1);
    return true;
}

#endif
