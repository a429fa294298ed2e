/* The command line of seqsync-trainer. */
#ifndef SEQSYNC_CLIENT_TRAINER_OPTIONS_H
#define SEQSYNC_CLIENT_TRAINER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <seqsync/types.h>

#include "client/trainer/model.h"
#include "client/trainer/optimizer.h"

#define OPTIONS_REASON_BYTES 256

struct options {
    const char *clip; /* file; NULL with synthetic. Strings are borrowed from argv */
    bool synthetic;
    double start_seconds;
    int32_t width_pixels;
    int32_t height_pixels;
    int32_t frames;
    int32_t batch_clips;
    struct model_shape shape;
    struct optimizer_options optimizer;
    int64_t stop_after; /* train only the first so many steps of the schedule */
    uint64_t seed;
    enum seqsync_mask mask;
    int64_t window_left;
    int64_t window_right;
    uint32_t nonfinite; /* enum seqsync_nonfinite */
    const char *out;    /* folder */
    const char *reference_losses;
    bool evaluation; /* before and after; also the pictures */
    bool json;       /* the summary also to standard output */
    bool quiet;      /* no progress */
};

enum options_outcome {
    OPTIONS_RUN = 0,
    OPTIONS_HELP = 1,
    OPTIONS_VERSION = 2,
    OPTIONS_USAGE = 3, /* the reason says what is wrong */
};

/* Reads argv. Writes no output. */
enum options_outcome options_parse(struct options *options, int argc, char **argv,
                                   char ret_reason[OPTIONS_REASON_BYTES]);

/* The text of --help. Static. */
const char *options_help(void);

#endif
