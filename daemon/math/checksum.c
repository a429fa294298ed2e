#include "daemon/math/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t checksum_xxh3(const void *data, size_t bytes)
{
    return XXH3_64bits(bytes > 0 ? data : "", bytes);
}
