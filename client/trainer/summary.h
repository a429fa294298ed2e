/* What a training came to, as summary.json; and the losses of an earlier one to compare with. */
#ifndef SEQSYNC_CLIENT_TRAINER_SUMMARY_H
#define SEQSYNC_CLIENT_TRAINER_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Losses step by step; owned. */
struct losses {
    double *values;
    size_t count;
};

/* What one rank used and did. */
struct rank_report {
    double rows;
    double private_bytes;  /* largest private resident memory seen */
    double shared_bytes;   /* shared memory lent to it */
    double resident_bytes; /* peak resident memory; counts what it read of others' too */
    double train_ns;
    double wait_ns;
    double cpu_ns; /* processor time of the training, all threads */
};
#define RANK_REPORT_VALUES (sizeof(struct rank_report) / sizeof(double))

struct summary {
    int32_t nodes;
    int32_t workers;
    int64_t tokens;
    int64_t parameters;
    bool evaluated;
    double evaluation_loss_first;
    double evaluation_loss_last;
    double evaluation_velocity_first;
    double evaluation_velocity_last;
    double psnr_noised_db; /* at t = 0.5, after the training */
    double psnr_restored_db;
    struct losses single_process; /* borrowed */
    struct losses distributed;    /* borrowed */
    const double *step_seconds;   /* [distributed.count] on rank 0, borrowed; NULL = not timed */
    int64_t skipped_steps;
    double tokens_per_second;
    double exposed_wait_fraction;
    const struct rank_report *ranks; /* [workers], borrowed */
    const char *const *images;       /* names within the output folder, borrowed */
    size_t image_count;
};

/* Largest relative difference over the steps that both have; NaN if there are none. */
double losses_difference(const struct losses *a, const struct losses *b);

/*
 * Reads the losses of an earlier run: a summary (its "distributed_loss") or a plain array of
 * numbers. Negative errno; -EBADMSG if the file is something else. Free the values.
 */
int losses_read(const char *path, struct losses *ret);

/*
 * Writes @path, by a temporary file and a rename, and to standard output too if @print. Negative
 * errno.
 */
int summary_write(const struct summary *summary, const char *path, bool print);

#endif
