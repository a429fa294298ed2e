#include "client/trainer/clip.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/trainer/decoder.h"

static int64_t slice_bytes(const struct grid *grid)
{
    return (int64_t)PATCH_FRAMES * grid->h * PATCH_SIDE * grid->w * PATCH_SIDE * 3;
}

/* A disc that circles over a slowly turning wave of colours. */
static void slice_draw(const struct grid *grid, int64_t slice, uint8_t *frames)
{
    int32_t height = grid->h * PATCH_SIDE;
    int32_t width = grid->w * PATCH_SIDE;

    for (int64_t f = 0; f < PATCH_FRAMES; f++) {
        double time = (double)(slice * PATCH_FRAMES + f) * 0.15;
        double cx = width * (0.5 + 0.3 * cos(time));
        double cy = height * (0.5 + 0.3 * sin(time));
        double radius = 0.2 * (height < width ? height : width);

        for (int32_t y = 0; y < height; y++) {
            for (int32_t x = 0; x < width; x++) {
                double wave = sin(0.11 * x + 0.07 * y + time);
                bool in = hypot(x - cx, y - cy) < radius;

                *frames++ = (uint8_t)(in ? 230 : 110 + 60 * wave);
                *frames++ = (uint8_t)(in ? 200 : 100 + 50 * cos(0.05 * y - time));
                *frames++ = (uint8_t)(in ? 60 : 140 - 60 * wave);
            }
        }
    }
}

/* Copies the patch at (h, w) out of two whole frames. */
static void patch_cut(const struct grid *grid, const uint8_t *frames, int64_t h, int64_t w,
                      uint8_t *patch)
{
    size_t line = (size_t)PATCH_SIDE * 3;
    size_t stride = (size_t)grid->w * line;

    for (int64_t y = 0; y < (int64_t)PATCH_FRAMES * PATCH_SIDE; y++) {
        int64_t frame = y / PATCH_SIDE;
        int64_t row = frame * grid->h * PATCH_SIDE + h * PATCH_SIDE + y % PATCH_SIDE;

        memcpy(patch, frames + (size_t)row * stride + (size_t)w * line, line);
        patch += line;
    }
}

/* Keeps what the part holds of the slice, counted over all sequences; says how many patches. */
static int64_t slice_keep(const struct grid *grid, const struct part *part, int64_t slice,
                          const uint8_t *frames, uint8_t *pixels)
{
    int64_t area = (int64_t)grid->h * grid->w;
    int64_t first = slice * area;
    int64_t kept = 0;

    for (uint32_t c = 0; c < part->chunk_count; c++) {
        const struct seqsync_chunk *chunk = &part->chunks[c];
        int64_t from = chunk->first > first ? chunk->first : first;
        int64_t end = chunk->first + chunk->count;
        int64_t to = end < first + area ? end : first + area;

        for (int64_t g = from; g < to; g++) {
            int64_t row = chunk->row + g - chunk->first;

            patch_cut(grid, frames, (g - first) / grid->w, (g - first) % grid->w,
                      pixels + row * PATCH_VALUES);
            kept++;
        }
    }
    return kept;
}

static int reason_open(const struct clip *clip, int r, char *ret)
{
    if (r == -ENOENT) {
        snprintf(ret, CLIP_REASON_BYTES, "the program ffmpeg, which decodes the clip, is missing");
    } else {
        snprintf(ret, CLIP_REASON_BYTES, "cannot start ffmpeg for %.200s: %s", clip->path,
                 strerror(-r));
    }
    return r;
}

static int reason_read(const struct clip *clip, const struct decoder *decoder, int r, int64_t slice,
                       int64_t slices, char *ret)
{
    char words[160];

    decoder_words(decoder, words, sizeof(words));
    if (r == -ETIMEDOUT) {
        snprintf(ret, CLIP_REASON_BYTES, "ffmpeg gave no frame of %.120s for a minute", clip->path);
    } else if (words[0]) {
        snprintf(ret, CLIP_REASON_BYTES, "ffmpeg cannot decode the clip: %s", words);
    } else {
        snprintf(ret, CLIP_REASON_BYTES,
                 "%.120s ends after %" PRId64 " of the %" PRId64 " frames asked for", clip->path,
                 slice * PATCH_FRAMES, slices * PATCH_FRAMES);
    }
    return r;
}

int clip_load(const struct clip *clip, const struct part *part, uint8_t *pixels,
              char ret_reason[CLIP_REASON_BYTES])
{
    const struct grid *grid = &clip->grid;
    int64_t slices = (int64_t)grid->t * part->sequences;
    struct decoder decoder = DECODER_NULL;
    struct decoder_options options = {.path = clip->path,
                                      .start_seconds = clip->start_seconds,
                                      .width = grid->w * PATCH_SIDE,
                                      .height = grid->h * PATCH_SIDE,
                                      .frames = slices * PATCH_FRAMES};
    int64_t missing = part->rows;
    uint8_t *frames = NULL;
    int r = 0;

    ret_reason[0] = '\0';
    if (missing == 0) {
        return 0;
    }
    frames = malloc((size_t)slice_bytes(grid));
    if (!frames) {
        snprintf(ret_reason, CLIP_REASON_BYTES, "no memory for two frames");
        return -ENOMEM;
    }
    if (clip->path) {
        r = decoder_open(&decoder, &options);
        if (r < 0) {
            free(frames);
            return reason_open(clip, r, ret_reason);
        }
    }
    /* After the last own patch the rest of the clip is of no interest. */
    for (int64_t slice = 0; slice < slices && missing > 0; slice++) {
        if (clip->path) {
            r = decoder_read(&decoder, frames, (size_t)slice_bytes(grid));
            if (r < 0) {
                reason_read(clip, &decoder, r, slice, slices, ret_reason);
                break;
            }
        } else {
            slice_draw(grid, slice, frames);
        }
        missing -= slice_keep(grid, part, slice, frames, pixels);
    }
    decoder_close(&decoder);
    free(frames);
    return r;
}
