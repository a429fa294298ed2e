/*
 * Which pairs of a tile are seen: the tile's band in indices relative to the tile. Query i sees key
 * j iff i + low <= j <= i + high. Pure arithmetic; nothing here can overflow for counts below 2^31
 * and any band.
 */
#ifndef SEQSYNC_ATTENTION_BAND_H
#define SEQSYNC_ATTENTION_BAND_H

#include <stdbool.h>
#include <stdint.h>

#include <seqsync/types.h>

struct band {
    int64_t low;
    int64_t high;
};

/* A rectangle of the tile, ends exclusive. */
struct band_rect {
    int64_t q_begin;
    int64_t q_end;
    int64_t k_begin;
    int64_t k_end;
};

/* The band of @tile, whose first indices are >= 0 and whose counts are below 2^31. */
struct band band_of_tile(const struct seqsync_tile *tile);

/*
 * Shrinks @rect to the rows and columns in which at least one pair is seen; both are contiguous,
 * because the band moves monotonically. False, with @rect unspecified, if it sees nothing.
 */
bool band_trim(const struct band *band, struct band_rect *rect);

/* True if @rect holds at least one hidden pair. */
bool band_cuts(const struct band *band, const struct band_rect *rect);

/*
 * For every row of @rect: columns ret_first[r] .. ret_last[r] (exclusive) are seen, relative to
 * @rect. Empty ranges are 0 .. 0.
 */
void band_ranges(const struct band *band, const struct band_rect *rect, int32_t *ret_first,
                 int32_t *ret_last);

#endif
