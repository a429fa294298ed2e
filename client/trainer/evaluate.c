#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/trainer/gallery.h"
#include "client/trainer/noise.h"
#include "client/trainer/trainer.h"

/* Timesteps of the evaluation; the pictures are made at the middle one. */
static const double timesteps[] = {0.1, 0.3, 0.5, 0.7, 0.9};
#define TIMESTEPS (sizeof(timesteps) / sizeof(*timesteps))
#define SHOWN 2

/* What is summed over the ranks. */
enum sum {
    SUM_CLEAN,
    SUM_VELOCITY,
    SUM_COUNT,
    SUM_NOISED_ERROR,
    SUM_RESTORED_ERROR,
    SUM_PIXELS,
    SUM_N,
};

/* Writes the own share of the pictures, and says how far they are from the clip. */
static int compare(struct trainer *trainer, double sums[SUM_N])
{
    const struct part *part = &trainer->link.part;
    int64_t n = part->rows * PATCH_VALUES;
    uint8_t *noised = malloc((size_t)n + 1);
    uint8_t *restored = malloc((size_t)n + 1);
    const uint8_t *const pixels[GALLERY_ROWS_N] = {trainer->pixels, noised, restored};
    int r;

    if (!noised || !restored) {
        r = trainer_fail_errno(trainer, -ENOMEM, "make room for the pictures", "memory");
        goto out;
    }
    flow_show_noised(&trainer->pass, noised);
    flow_restore(&trainer->pass, part, restored);
    sums[SUM_NOISED_ERROR] = pixels_difference(noised, trainer->pixels, n);
    sums[SUM_RESTORED_ERROR] = pixels_difference(restored, trainer->pixels, n);
    sums[SUM_PIXELS] = (double)n;
    r = gallery_write(trainer->options->out, trainer->rank, &trainer->options->shape.grid, part,
                      pixels);
    if (r < 0) {
        r = trainer_fail_errno(trainer, r, "write the restored frames", trainer->options->out);
    }
out:
    free(noised);
    free(restored);
    return r;
}

/* One step without a backward pass. Adds the mean losses to @clean and @velocity. */
static int evaluate_at(struct trainer *trainer, size_t index, bool pictures, double *clean,
                       double *velocity)
{
    uint64_t seed = seqsync_random_u64(trainer->options->seed, STREAM_EVALUATION, index);
    double sums[SUM_N] = {0};
    struct loss loss;
    int skip;
    int r;

    for (int32_t i = 0; i < trainer->options->batch_clips; i++) {
        trainer->t[i] = timesteps[index];
    }
    r = trainer_step_begin(trainer, seed);
    if (r) {
        return r;
    }
    loss = flow_loss(&trainer->pass, &trainer->link.part, trainer->pixels, trainer->t);
    sums[SUM_CLEAN] = loss.clean;
    sums[SUM_VELOCITY] = loss.velocity;
    sums[SUM_COUNT] = (double)loss.count;
    if (pictures) {
        r = compare(trainer, sums);
        if (r) {
            return r;
        }
    }
    r = link_session_forgo(&trainer->link);
    if (r < 0) {
        return trainer_fail_status(trainer, r, "end an evaluation");
    }
    r = trainer_sum(trainer, sums, SUM_N);
    if (r) {
        return r;
    }
    *clean += sums[SUM_CLEAN] / sums[SUM_COUNT] / TIMESTEPS;
    *velocity += sums[SUM_VELOCITY] / sums[SUM_COUNT] / TIMESTEPS;
    if (pictures) {
        trainer->summary.psnr_noised_db = psnr_db(sums[SUM_NOISED_ERROR], sums[SUM_PIXELS]);
        trainer->summary.psnr_restored_db = psnr_db(sums[SUM_RESTORED_ERROR], sums[SUM_PIXELS]);
    }
    return trainer_step_commit(trainer, sums[SUM_CLEAN] / sums[SUM_COUNT], &skip);
}

/* Every rank's share has been written since it summed; that sum has come to all. */
static int pictures_compose(struct trainer *trainer)
{
    char path[PATH_MAX];
    int r;

    if (trainer->rank != 0) {
        return 0;
    }
    if ((size_t)snprintf(path, sizeof(path), "%s/frames.png", trainer->options->out) >=
        sizeof(path)) {
        return trainer_fail_errno(trainer, -ENAMETOOLONG, "write the pictures",
                                  trainer->options->out);
    }
    r = gallery_compose(trainer->options->out, trainer->world_size, &trainer->options->shape.grid,
                        path);
    return r < 0 ? trainer_fail_errno(trainer, r, "put the restored frames together",
                                      trainer->options->out)
                 : 0;
}

int trainer_evaluate(struct trainer *trainer, bool last)
{
    struct summary *summary = &trainer->summary;
    double clean = 0;
    double velocity = 0;

    for (size_t i = 0; i < TIMESTEPS; i++) {
        int r = evaluate_at(trainer, i, last && i == SHOWN, &clean, &velocity);

        if (r) {
            return r;
        }
    }
    progress_say(&trainer->progress, "evaluation loss %.4f %s the training", clean,
                 last ? "after" : "before");
    if (!last) {
        summary->evaluation_loss_first = clean;
        summary->evaluation_velocity_first = velocity;
        return 0;
    }
    summary->evaluated = true;
    summary->evaluation_loss_last = clean;
    summary->evaluation_velocity_last = velocity;
    return pictures_compose(trainer);
}
