/*
 * Where the pixels come from: a video file, decoded by the program ffmpeg in a process of its own,
 * or a moving picture drawn by a formula. A rank reads the whole clip once, two frames at a time,
 * and keeps only the patches of its own tokens, as bytes.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_CLIP_H
#define SEQSYNC_CLIENT_TRAINER_CLIP_H

#include <stdint.h>

#include "client/trainer/model.h"
#include "client/trainer/part.h"

#define CLIP_REASON_BYTES 320

struct clip {
    const char *path;     /* of the file; NULL: the drawn picture */
    double start_seconds; /* where in the file to begin */
    struct grid grid;     /* of one sequence; the next sequence follows where the last one ends */
};

/*
 * Fills pixels[part->rows][PATCH_VALUES], each patch frame by frame, row by row, red green blue.
 * Negative errno, with what happened and why in @ret_reason: -ENOENT no program ffmpeg, -ENODATA
 * the file cannot be decoded or ends early, -ETIMEDOUT nothing came from ffmpeg for a minute.
 */
int clip_load(const struct clip *clip, const struct part *part, uint8_t *pixels,
              char ret_reason[CLIP_REASON_BYTES]);

#endif
