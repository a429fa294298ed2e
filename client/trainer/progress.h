/*
 * How the training goes, on standard error: one line that is drawn anew on a terminal, a plain line
 * now and then elsewhere. Only rank 0 shows it.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_PROGRESS_H
#define SEQSYNC_CLIENT_TRAINER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown;
    bool terminal;
    int64_t steps;
    int64_t tokens; /* of a step */
    int64_t every;  /* steps between two plain lines */
};

/* What one step took. */
struct progress_step {
    int64_t done;     /* steps so far, this one included */
    double loss;      /* mean clean-patch loss */
    double rate;      /* learning rate */
    uint64_t step_ns; /* from its beginning to the end of the update */
    uint64_t wait_ns; /* of that, waiting */
};

void progress_init(struct progress *progress, bool shown, int64_t steps, int64_t tokens);
void progress_step(struct progress *progress, const struct progress_step *step);

/* A line of its own, for everything else there is to say. */
void progress_say(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Leaves the terminal's line. */
void progress_end(struct progress *progress);

#endif
