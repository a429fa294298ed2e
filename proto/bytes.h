/* Little-endian numbers at a moving place. The caller has checked that there is room. */
#ifndef SEQSYNC_PROTO_BYTES_H
#define SEQSYNC_PROTO_BYTES_H

#include <stdint.h>

static inline void bytes_put(uint8_t **at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *(*at)++ = (uint8_t)(value >> (8 * i));
    }
}

static inline uint64_t bytes_get(const uint8_t **at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++) {
        value |= (uint64_t) * (*at)++ << (8 * i);
    }
    return value;
}

#endif
