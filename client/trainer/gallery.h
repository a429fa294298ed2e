/*
 * The picture that shows what was learned: up to four frames of the first sequence, each as it is,
 * noised, and restored. Every rank writes the patches it holds of those frames to a file of its own
 * in the output folder; when all have, rank 0 puts them together and removes the files. So all
 * ranks must see one folder: a limit that only this picture has.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_GALLERY_H
#define SEQSYNC_CLIENT_TRAINER_GALLERY_H

#include <stdint.h>

#include "client/trainer/model.h"
#include "client/trainer/part.h"

#define GALLERY_FRAMES_MAX 4

enum gallery_row {
    GALLERY_INPUT,
    GALLERY_NOISED,
    GALLERY_RESTORED,
    GALLERY_ROWS_N,
};

/* Writes this rank's share from pixels[row of gallery][rows][PATCH_VALUES]. Negative errno. */
int gallery_write(const char *folder, int32_t rank, const struct grid *grid,
                  const struct part *part, const uint8_t *const pixels[GALLERY_ROWS_N]);

/*
 * Reads and removes the files of @ranks ranks and writes the picture to @path. Negative errno;
 * -ENODATA if they do not hold every patch exactly once.
 */
int gallery_compose(const char *folder, int32_t ranks, const struct grid *grid, const char *path);

#endif
