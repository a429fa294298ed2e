#include "client/trainer/gallery.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/trainer/picture.h"

#define TILE_BYTES (PATCH_SIDE * PATCH_SIDE * 3)
#define GAP 4

/* The first frame of one patch, three times. */
struct record {
    int64_t index; /* of the token within its sequence */
    uint8_t pixels[GALLERY_ROWS_N][TILE_BYTES];
};

static int32_t columns(const struct grid *grid)
{
    return grid->t < GALLERY_FRAMES_MAX ? grid->t : GALLERY_FRAMES_MAX;
}

/* The column that shows the slice @t, or -1. Columns are spread evenly over the clip. */
static int32_t column_of(const struct grid *grid, int64_t t)
{
    for (int32_t c = 0; c < columns(grid); c++) {
        if (t == (int64_t)c * grid->t / columns(grid)) {
            return c;
        }
    }
    return -1;
}

static int share_path(char *path, size_t n, const char *folder, int32_t rank)
{
    int length = snprintf(path, n, "%s/.restored.%" PRId32, folder, rank);

    return (size_t)length < n ? 0 : -ENAMETOOLONG;
}

static bool row_write(FILE *file, const struct grid *grid, int64_t index, int64_t row,
                      const uint8_t *const pixels[GALLERY_ROWS_N])
{
    struct record record = {.index = index};

    if (column_of(grid, index / ((int64_t)grid->h * grid->w)) < 0) {
        return true;
    }
    for (int i = 0; i < GALLERY_ROWS_N; i++) {
        memcpy(record.pixels[i], pixels[i] + row * PATCH_VALUES, TILE_BYTES);
    }
    return fwrite(&record, sizeof(record), 1, file) == 1;
}

int gallery_write(const char *folder, int32_t rank, const struct grid *grid,
                  const struct part *part, const uint8_t *const pixels[GALLERY_ROWS_N])
{
    char path[PATH_MAX];
    FILE *file;
    bool ok = true;
    int r = share_path(path, sizeof(path), folder, rank);

    if (r < 0) {
        return r;
    }
    file = fopen(path, "wbe");
    if (!file) {
        return -errno;
    }
    errno = 0;
    for (struct rows rows = {0}; ok && rows_next(part, &rows);) {
        for (int64_t i = 0; ok && rows.sequence == 0 && i < rows.count; i++) {
            ok = row_write(file, grid, rows.position + i, rows.row + i, pixels);
        }
    }
    r = ok ? 0 : errno ? -errno : -EIO;
    if (fclose(file) != 0 && r == 0) {
        r = -errno;
    }
    if (r < 0) {
        unlink(path);
    }
    return r;
}

struct canvas {
    const struct grid *grid;
    struct picture picture;
    bool *seen; /* [columns][h][w] */
    int64_t missing;
};

static int record_place(struct canvas *canvas, const struct record *record)
{
    const struct grid *grid = canvas->grid;
    int64_t area = (int64_t)grid->h * grid->w;
    int64_t place = record->index % area;
    int32_t column;
    bool *seen;

    if (record->index < 0 || record->index >= area * grid->t) {
        return -ENODATA;
    }
    column = column_of(grid, record->index / area);
    seen = column < 0 ? NULL : &canvas->seen[column * area + place];
    if (!seen || *seen) {
        return -ENODATA;
    }
    *seen = true;
    canvas->missing--;
    for (int32_t i = 0; i < GALLERY_ROWS_N; i++) {
        int32_t x = column * (grid->w * PATCH_SIDE + GAP) + (int32_t)(place % grid->w) * PATCH_SIDE;
        int32_t y = i * (grid->h * PATCH_SIDE + GAP) + (int32_t)(place / grid->w) * PATCH_SIDE;

        picture_paste(&canvas->picture, x, y, record->pixels[i], PATCH_SIDE, PATCH_SIDE);
    }
    return 0;
}

static int share_read(struct canvas *canvas, const char *folder, int32_t rank)
{
    char path[PATH_MAX];
    struct record record;
    FILE *file;
    int r = share_path(path, sizeof(path), folder, rank);

    if (r < 0) {
        return r;
    }
    file = fopen(path, "rbe");
    if (!file) {
        return -errno;
    }
    while (r == 0 && fread(&record, sizeof(record), 1, file) == 1) {
        r = record_place(canvas, &record);
    }
    fclose(file);
    unlink(path);
    return r;
}

int gallery_compose(const char *folder, int32_t ranks, const struct grid *grid, const char *path)
{
    struct canvas canvas = {.grid = grid};
    int32_t n = columns(grid);
    int r = picture_init(&canvas.picture, n * (grid->w * PATCH_SIDE + GAP) - GAP,
                         GALLERY_ROWS_N * (grid->h * PATCH_SIDE + GAP) - GAP, 255);

    if (r < 0) {
        return r;
    }
    canvas.missing = (int64_t)n * grid->h * grid->w;
    canvas.seen = calloc((size_t)canvas.missing, sizeof(*canvas.seen));
    if (!canvas.seen) {
        r = -ENOMEM;
    }
    for (int32_t rank = 0; r == 0 && rank < ranks; rank++) {
        r = share_read(&canvas, folder, rank);
    }
    if (r == 0 && canvas.missing != 0) {
        r = -ENODATA;
    }
    if (r == 0) {
        r = picture_write(&canvas.picture, path);
    }
    free(canvas.seen);
    picture_deinit(&canvas.picture);
    return r;
}
