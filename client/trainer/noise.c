#include "client/trainer/noise.h"

#include <assert.h>
#include <math.h>
#include <seqsync/plan.h>

void noise_fill(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out)
{
    assert(first % 2 == 0);
    for (int64_t i = 0; i < n; i += 2) {
        uint64_t bits = seqsync_random_u64(seed, stream, (first + (uint64_t)i) / 2);
        /* 24 bits each; the radius's uniform number is in (0, 1], so that its logarithm is finite.
         */
        float radius = sqrtf(-2.0f * logf((float)((bits >> 40) + 1) * 0x1p-24f));
        float angle = (float)((bits >> 8) & 0xffffff) * (6.2831853f * 0x1p-24f);

        out[i] = radius * cosf(angle);
        if (i + 1 < n) {
            out[i + 1] = radius * sinf(angle);
        }
    }
}

double noise_uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint64_t bits = seqsync_random_u64(seed, stream, counter);

    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}
