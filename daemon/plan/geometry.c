#include "daemon/plan/geometry.h"

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct reach geometry_reach_all(void)
{
    return (struct reach){.before = SEQSYNC_TOKENS_MAX, .after = SEQSYNC_TOKENS_MAX};
}

struct reach geometry_reach(const struct seqsync_sequence *sequence)
{
    struct reach reach = geometry_reach_all();

    if (sequence->mask == SEQSYNC_MASK_CAUSAL) {
        reach.after = 0;
    } else if (sequence->mask == SEQSYNC_MASK_WINDOW) {
        reach.before = min_i64(reach.before, sequence->window_left);
        reach.after = min_i64(reach.after, sequence->window_right);
    }
    return reach;
}

bool geometry_is_causal(const struct seqsync_sequence *sequence)
{
    return geometry_reach(sequence).after == 0;
}

bool geometry_trim(const struct reach *reach, struct rect *rect)
{
    rect->q_first = max_i64(rect->q_first, rect->k_first - reach->after);
    rect->q_end = min_i64(rect->q_end, rect->k_end + reach->before);
    if (rect->q_first >= rect->q_end) {
        return false;
    }
    /* Every query left sees a key, and the keys seen by neighbours touch: none between is hidden
     * from all. */
    rect->k_first = max_i64(rect->k_first, rect->q_first - reach->before);
    rect->k_end = min_i64(rect->k_end, rect->q_end + reach->after);
    return true;
}

void geometry_band(const struct reach *reach, const struct rect *rect, int64_t *ret_low,
                   int64_t *ret_high)
{
    const int64_t lowest = rect->k_first - (rect->q_end - 1);
    const int64_t highest = rect->k_end - 1 - rect->q_first;

    *ret_low = -reach->before <= lowest ? SEQSYNC_BAND_NONE_LOW : -reach->before;
    *ret_high = reach->after >= highest ? SEQSYNC_BAND_NONE_HIGH : reach->after;
}

/* Sum over j <= last of j clamped to 0 .. limit. */
static int64_t clamped_series(int64_t last, int64_t limit)
{
    if (last <= 0) {
        return 0;
    }
    const int64_t rising = min_i64(last, limit);
    return rising * (rising + 1) / 2 + (last - rising) * limit;
}

/* Pairs of @rect with k - q <= high. */
static int64_t area_below(const struct rect *rect, int64_t high)
{
    const int64_t q_count = rect->q_end - rect->q_first;
    const int64_t k_count = rect->k_end - rect->k_first;
    const int64_t lowest = rect->k_first - (rect->q_end - 1);
    const int64_t highest = rect->k_end - 1 - rect->q_first;

    if (high >= highest) {
        return q_count * k_count;
    }
    if (high < lowest) {
        return 0;
    }
    /* Query q_first + i sees its first keys up to number seen + i, clamped to 0 .. k_count. */
    const int64_t seen = rect->q_first + high - rect->k_first + 1;
    return clamped_series(seen + q_count - 1, k_count) - clamped_series(seen - 1, k_count);
}

int64_t geometry_area(const struct rect *rect, int64_t low, int64_t high)
{
    const int64_t above = low == SEQSYNC_BAND_NONE_LOW ? 0 : area_below(rect, low - 1);

    return area_below(rect, high) - above;
}
