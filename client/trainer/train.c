#include <time.h>

#include "client/trainer/noise.h"
#include "client/trainer/trainer.h"

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t waited_ns(const struct trainer *trainer)
{
    struct seqsync_session_counters counters;

    seqsync_session_counters(trainer->session, &counters);
    return counters.wait_ns;
}

/* Forward and backward. The buckets have left when it returns; *ret_loss is the mean of all ranks.
 */
static int compute(struct trainer *trainer, uint64_t seed, double *ret_loss)
{
    struct loss loss;
    double sums[2];
    int r;

    for (int32_t i = 0; i < trainer->options->batch_clips; i++) {
        trainer->t[i] = flow_timestep(seed, (uint32_t)i);
    }
    r = trainer_step_begin(trainer, seed);
    if (r) {
        return r;
    }
    loss = flow_loss_backward(&trainer->pass, &trainer->link.part, &trainer->link.link,
                              trainer->pixels, trainer->t);
    r = pass_backward(&trainer->pass, &trainer->link.part, &trainer->link.link, loss.count);
    if (r < 0) {
        return trainer_fail_status(trainer, r, "compute the backward pass");
    }
    sums[0] = loss.clean;
    sums[1] = (double)loss.count;
    r = trainer_sum(trainer, sums, 2);
    if (r) {
        return r;
    }
    *ret_loss = sums[1] > 0 ? sums[0] / sums[1] : 0;
    return 0;
}

/* The update comes after the commit: a step that did not happen everywhere changes nothing. */
static int train_step(struct trainer *trainer, int64_t step, struct progress_step *shown)
{
    uint64_t seed = seqsync_random_u64(trainer->options->seed, STREAM_STEP, (uint64_t)step);
    int skip = 0;
    int r = compute(trainer, seed, &shown->loss);

    if (r) {
        return r;
    }
    r = link_session_means(&trainer->link, trainer->means);
    if (r < 0) {
        return trainer_fail_status(trainer, r, "average the gradients");
    }
    r = trainer_step_commit(trainer, shown->loss, &skip);
    if (r) {
        return r;
    }
    shown->rate = optimizer_rate(&trainer->options->optimizer, trainer->optimizer.steps_done);
    if (skip) {
        trainer->summary.skipped_steps++;
    } else {
        optimizer_step(&trainer->optimizer, trainer->model, trainer->means);
    }
    trainer->losses.values[trainer->losses.count++] = shown->loss;
    return 0;
}

int trainer_train(struct trainer *trainer)
{
    uint64_t began = now_ns();
    uint64_t waited = waited_ns(trainer);
    uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

    for (int64_t step = 0; step < trainer->progress.steps; step++) {
        struct progress_step shown = {.done = step + 1};
        uint64_t step_began = now_ns();
        uint64_t step_waited = waited_ns(trainer);
        int r = train_step(trainer, step, &shown);

        if (r) {
            return r;
        }
        shown.step_ns = now_ns() - step_began;
        shown.wait_ns = waited_ns(trainer) - step_waited;
        trainer->step_seconds[step] = (double)shown.step_ns * 1e-9;
        progress_step(&trainer->progress, &shown);
    }
    progress_end(&trainer->progress);
    trainer->schedule_ns = now_ns() - began;
    trainer->report.train_ns = (double)trainer->schedule_ns;
    trainer->report.wait_ns = (double)(waited_ns(trainer) - waited);
    trainer->report.cpu_ns = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
