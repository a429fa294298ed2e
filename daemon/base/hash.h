/* XXH3-64 over a stream of fields. Inlined, so that pure libraries gain no outside symbol. */
#ifndef SEQSYNC_BASE_HASH_H
#define SEQSYNC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct hash {
    XXH3_state_t state;
};

static inline void hash_init(struct hash *hash)
{
    (void)XXH3_64bits_reset(&hash->state);
}

/* @bytes may be NULL if @count is 0. */
static inline void hash_bytes(struct hash *hash, const void *bytes, size_t count)
{
    if (count > 0) {
        (void)XXH3_64bits_update(&hash->state, bytes, count);
    }
}

static inline void hash_u64(struct hash *hash, uint64_t value)
{
    hash_bytes(hash, &value, sizeof(value));
}

static inline void hash_i64(struct hash *hash, int64_t value)
{
    hash_bytes(hash, &value, sizeof(value));
}

static inline void hash_u32(struct hash *hash, uint32_t value)
{
    hash_bytes(hash, &value, sizeof(value));
}

static inline uint64_t hash_end(const struct hash *hash)
{
    return XXH3_64bits_digest(&hash->state);
}

#endif
