/*
 * One rank of a training: a session, the model, and the loop over steps. All ranks run the same
 * calls in the same order; what differs between them is the part that the plan gives each.
 *
 * A failure is kept in words in the trainer, and the functions answer with the exit code that the
 * process should end with: 0 or one of sysexits.h. One thread.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_TRAINER_H
#define SEQSYNC_CLIENT_TRAINER_TRAINER_H

#include <limits.h>

#include <seqsync/session.h>

#include "client/trainer/flow.h"
#include "client/trainer/link_session.h"
#include "client/trainer/optimizer.h"
#include "client/trainer/options.h"
#include "client/trainer/pass.h"
#include "client/trainer/progress.h"
#include "client/trainer/summary.h"

struct failure {
    char what[160]; /* "cannot ...", with a code in brackets where there is one */
    char why[600];
    char hint[300];
};

struct trainer {
    const struct options *options; /* borrowed */
    struct seqsync_session *session;
    int32_t rank;
    int32_t world_size;
    struct model *model;
    struct link_session link;
    struct pass pass;
    struct optimizer optimizer;
    struct progress progress;
    struct seqsync_sequence *sequences; /* [batch_clips] */
    double *t;                          /* [batch_clips] timesteps of the step at hand */
    const float **means;                /* [bucket] */
    uint8_t *pixels;                    /* [rows][PATCH_VALUES] of the rows that chunks name */
    struct seqsync_chunk *chunks;       /* copy: whose pixels are loaded */
    uint32_t chunk_count;
    bool loaded;
    struct losses losses;
    double *step_seconds; /* [losses.count] */
    struct losses reference;
    struct summary summary;
    struct rank_report report;
    uint64_t schedule_ns; /* from the first step's beginning to the last one's end */
    struct failure failure;
};

/* Joins the job and makes everything ready for the first step. */
int trainer_init(struct trainer *trainer, const struct options *options);

/* Accepts a trainer that trainer_init failed on. */
void trainer_deinit(struct trainer *trainer);

/* Evaluates, trains, evaluates, and writes pictures and summary. */
int trainer_run(struct trainer *trainer);

/* The parts of trainer_run; each answers like it. */
int trainer_train(struct trainer *trainer);
int trainer_evaluate(struct trainer *trainer, bool last);
int trainer_report(struct trainer *trainer);

/*
 * Begins a step, loads the part's pixels if they are not, and computes the forward pass with the
 * noise of @seed at the timesteps in trainer->t.
 */
int trainer_step_begin(struct trainer *trainer, uint64_t seed);

/* Ends it. @loss is shown by seqctl. */
int trainer_step_commit(struct trainer *trainer, double loss, int *ret_skip);

/* Sums values[count] over all ranks, whatever the count. */
int trainer_sum(struct trainer *trainer, double *values, size_t count);

/* Keep the words for a status of libseqsync, or for a negative errno about @name; return an exit
 * code. */
int trainer_fail_status(struct trainer *trainer, int status, const char *doing);
int trainer_fail_errno(struct trainer *trainer, int r, const char *doing, const char *name);

#endif
