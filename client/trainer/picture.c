#include "client/trainer/picture.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARGIN_LEFT 44
#define MARGIN_BELOW 24
#define MARGIN 10

int picture_init(struct picture *picture, int32_t width, int32_t height, uint8_t grey)
{
    size_t bytes;

    if (width < 1 || height < 1 || width > 65535 || height > 65535) {
        return -EINVAL;
    }
    bytes = (size_t)width * (size_t)height * 3;
    *picture = (struct picture){.width = width, .height = height, .rgb = malloc(bytes)};
    if (!picture->rgb) {
        return -ENOMEM;
    }
    memset(picture->rgb, grey, bytes);
    return 0;
}

void picture_deinit(struct picture *picture)
{
    free(picture->rgb);
    *picture = (struct picture){0};
}

static void dot(struct picture *picture, int32_t x, int32_t y, uint32_t rgb)
{
    uint8_t *p;

    if (x < 0 || y < 0 || x >= picture->width || y >= picture->height) {
        return;
    }
    p = picture->rgb + ((size_t)y * (size_t)picture->width + (size_t)x) * 3;
    p[0] = (uint8_t)(rgb >> 16);
    p[1] = (uint8_t)(rgb >> 8);
    p[2] = (uint8_t)rgb;
}

void picture_paste(struct picture *picture, int32_t x, int32_t y, const uint8_t *rgb, int32_t width,
                   int32_t height)
{
    for (int32_t j = 0; j < height; j++) {
        for (int32_t i = 0; i < width; i++, rgb += 3) {
            uint32_t colour = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];

            dot(picture, x + i, y + j, colour);
        }
    }
}

/* Digits of 3 x 5 dots, a row in three bits from the top, drawn twice as large. */
static void digit(struct picture *picture, int32_t x, int32_t y, char c)
{
    static const uint16_t digits[] = {075557, 026227, 071747, 071717, 055711,
                                      074717, 074757, 071244, 075757, 075717};
    uint16_t dots = 2; /* a full stop */

    if (c >= '0' && c <= '9') {
        dots = digits[c - '0'];
    }
    for (int32_t j = 0; j < 10; j++) {
        for (int32_t i = 0; i < 6; i++) {
            if (dots >> (14 - j / 2 * 3 - i / 2) & 1) {
                dot(picture, x + i, y + j, 0x404040);
            }
        }
    }
}

/* Ends at @right, its middle at @y. */
static void number(struct picture *picture, int32_t right, int32_t y, double value)
{
    char text[24];
    int length = snprintf(text, sizeof(text), "%.6g", value);

    for (int i = 0; i < length; i++) {
        digit(picture, right - 8 * (length - i), y - 5, text[i]);
    }
}

struct scale {
    double low; /* logarithms of the smallest and largest value */
    double high;
    int32_t top;
    int32_t bottom;
};

static int32_t scale_y(const struct scale *scale, double value)
{
    double part = (log10(value) - scale->low) / (scale->high - scale->low);

    return scale->bottom - (int32_t)lround(part * (scale->bottom - scale->top));
}

static bool drawable(double value)
{
    return isfinite(value) && value > 0;
}

static bool scale_init(struct scale *scale, const struct picture *picture, const double *values,
                       size_t n)
{
    *scale = (struct scale){.low = INFINITY, .high = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        if (drawable(values[i])) {
            scale->low = fmin(scale->low, log10(values[i]));
            scale->high = fmax(scale->high, log10(values[i]));
        }
    }
    scale->top = MARGIN;
    scale->bottom = picture->height - MARGIN_BELOW;
    if (!(scale->low <= scale->high) || scale->bottom <= scale->top ||
        picture->width <= MARGIN_LEFT + MARGIN) {
        return false;
    }
    /* Room around the curve, also around a constant one. */
    scale->low -= 0.05;
    scale->high += 0.05;
    return true;
}

static void grid_draw(struct picture *picture, const struct scale *scale, size_t n)
{
    static const double steps[] = {1, 2, 5};
    int32_t right = picture->width - MARGIN;

    for (int decade = (int)floor(scale->low); decade <= (int)ceil(scale->high); decade++) {
        for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
            double value = steps[i] * pow(10, decade);
            int32_t y = scale_y(scale, value);

            if (y < scale->top || y > scale->bottom) {
                continue;
            }
            for (int32_t x = MARGIN_LEFT; x < right; x++) {
                dot(picture, x, y, 0xd8d8d8);
            }
            number(picture, MARGIN_LEFT - 4, y, value);
        }
    }
    for (int32_t x = MARGIN_LEFT; x < right; x++) {
        dot(picture, x, scale->bottom, 0x808080);
    }
    number(picture, MARGIN_LEFT + 8, picture->height - MARGIN_BELOW / 2, 1);
    number(picture, right, picture->height - MARGIN_BELOW / 2, (double)n);
}

static void line(struct picture *picture, int32_t x0, int32_t y0, int32_t x1, int32_t y1)
{
    int32_t steps = abs(x1 - x0) > abs(y1 - y0) ? abs(x1 - x0) : abs(y1 - y0);

    for (int32_t i = 0; i <= steps; i++) {
        double part = steps ? (double)i / steps : 0;
        int32_t x = x0 + (int32_t)lround(part * (x1 - x0));
        int32_t y = y0 + (int32_t)lround(part * (y1 - y0));

        dot(picture, x, y, 0x2060c0);
        dot(picture, x, y + 1, 0x2060c0);
    }
}

void picture_curve(struct picture *picture, const double *values, size_t n)
{
    struct scale scale;
    int32_t span = picture->width - MARGIN_LEFT - MARGIN - 1;
    bool before = false;
    int32_t x0 = 0;
    int32_t y0 = 0;

    if (!scale_init(&scale, picture, values, n)) {
        return;
    }
    grid_draw(picture, &scale, n);
    for (size_t i = 0; i < n; i++) {
        double part = n > 1 ? (double)i / (double)(n - 1) : 0.5;
        int32_t x = MARGIN_LEFT + (int32_t)lround(part * span);
        int32_t y;

        if (!drawable(values[i])) {
            before = false;
            continue;
        }
        y = scale_y(&scale, values[i]);
        line(picture, before ? x0 : x, before ? y0 : y, x, y);
        before = true;
        x0 = x;
        y0 = y;
    }
}

int picture_write(const struct picture *picture, const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = PNG_FORMAT_RGB};
    size_t length = strlen(path) + sizeof(".new");
    char *fresh = malloc(length);
    FILE *file;
    int r = 0;

    if (!fresh) {
        return -ENOMEM;
    }
    snprintf(fresh, length, "%s.new", path);
    file = fopen(fresh, "wbe");
    if (!file) {
        r = -errno;
        free(fresh);
        return r;
    }
    errno = 0;
    if (!png_image_write_to_stdio(&image, file, 0, picture->rgb, picture->width * 3, NULL)) {
        r = errno ? -errno : -EIO;
    }
    if (fclose(file) != 0 && r == 0) {
        r = -errno;
    }
    if (r == 0 && rename(fresh, path) < 0) {
        r = -errno;
    }
    if (r < 0) {
        unlink(fresh);
    }
    free(fresh);
    return r;
}
