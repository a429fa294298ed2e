/*
 * Pictures of packed RGB bytes: frames side by side, a curve of the loss, and writing either as
 * PNG.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_PICTURE_H
#define SEQSYNC_CLIENT_TRAINER_PICTURE_H

#include <stddef.h>
#include <stdint.h>

struct picture {
    int32_t width;
    int32_t height;
    uint8_t *rgb; /* [height][width][3] */
};

/* A picture of one grey. 0, -EINVAL (a side < 1 or above 65535) or -ENOMEM. */
int picture_init(struct picture *picture, int32_t width, int32_t height, uint8_t grey);
void picture_deinit(struct picture *picture);

/* Copies @rgb[height][width][3] to (x, y); what falls outside is left out. */
void picture_paste(struct picture *picture, int32_t x, int32_t y, const uint8_t *rgb, int32_t width,
                   int32_t height);

/*
 * Draws values[n] from left to right over the whole picture, on a logarithmic scale with a line and
 * its number at 1, 2 and 5 of each decade. Values that are not finite and positive are left out.
 */
void picture_curve(struct picture *picture, const double *values, size_t n);

/*
 * Writes a PNG under a temporary name beside @path and renames it, so that no half picture is ever
 * seen. Negative errno; -EIO if libpng gives no better reason.
 */
int picture_write(const struct picture *picture, const char *path);

#endif
