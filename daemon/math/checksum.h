/* Checksum of bulk payloads. Free function on a plain array. */
#ifndef SEQSYNC_MATH_CHECKSUM_H
#define SEQSYNC_MATH_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of @bytes bytes at @data; @data may be NULL if there are none. */
uint64_t checksum_xxh3(const void *data, size_t bytes);

#endif
