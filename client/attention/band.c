#include "client/attention/band.h"

/* Farther from the diagonal than any two indices of a tile can be, and small enough that sums of a
 * few stay exact. */
#define BAND_FAR (INT64_C(1) << 33)

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t limit_add(int64_t offset, int64_t edge)
{
    int64_t sum;

    if (__builtin_add_overflow(offset, edge, &sum)) {
        return edge < 0 ? -BAND_FAR : BAND_FAR;
    }
    return max_i64(-BAND_FAR, min_i64(BAND_FAR, sum));
}

struct band band_of_tile(const struct seqsync_tile *tile)
{
    /* Both are >= 0, so the difference cannot overflow. */
    int64_t offset = tile->q_first - tile->k_first;

    return (struct band){
        .low = limit_add(offset, tile->band_low),
        .high = limit_add(offset, tile->band_high),
    };
}

bool band_trim(const struct band *band, struct band_rect *rect)
{
    if (band->low > band->high) {
        return false;
    }
    rect->q_begin = max_i64(rect->q_begin, rect->k_begin - band->high);
    rect->q_end = min_i64(rect->q_end, rect->k_end - band->low);
    if (rect->q_begin >= rect->q_end) {
        return false;
    }
    rect->k_begin = max_i64(rect->k_begin, rect->q_begin + band->low);
    rect->k_end = min_i64(rect->k_end, rect->q_end + band->high);
    return rect->k_begin < rect->k_end;
}

bool band_cuts(const struct band *band, const struct band_rect *rect)
{
    return rect->k_begin < rect->q_end - 1 + band->low ||
           rect->k_end - 1 > rect->q_begin + band->high;
}

void band_ranges(const struct band *band, const struct band_rect *rect, int32_t *ret_first,
                 int32_t *ret_last)
{
    int64_t columns = rect->k_end - rect->k_begin;

    for (int64_t r = 0; r < rect->q_end - rect->q_begin; r++) {
        int64_t diagonal = rect->q_begin + r - rect->k_begin;
        int64_t first = max_i64(0, min_i64(columns, diagonal + band->low));
        int64_t last = max_i64(0, min_i64(columns, diagonal + band->high + 1));

        if (first >= last) {
            first = 0;
            last = 0;
        }
        ret_first[r] = (int32_t)first;
        ret_last[r] = (int32_t)last;
    }
}
