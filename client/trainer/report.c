#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/trainer/memory.h"
#include "client/trainer/picture.h"
#include "client/trainer/trainer.h"

#define CURVE_WIDTH 720
#define CURVE_HEIGHT 320

static int out_path(struct trainer *trainer, const char *name, char ret[PATH_MAX])
{
    int length = snprintf(ret, PATH_MAX, "%s/%s", trainer->options->out, name);

    return length < PATH_MAX ? 0
                             : trainer_fail_errno(trainer, -ENAMETOOLONG, "write the results",
                                                  trainer->options->out);
}

static int curve_write(struct trainer *trainer)
{
    char path[PATH_MAX];
    struct picture picture;
    int r = out_path(trainer, "loss.png", path);

    if (r) {
        return r;
    }
    r = picture_init(&picture, CURVE_WIDTH, CURVE_HEIGHT, 255);
    if (r == 0) {
        picture_curve(&picture, trainer->losses.values, trainer->losses.count);
        r = picture_write(&picture, path);
        picture_deinit(&picture);
    }
    return r < 0 ? trainer_fail_errno(trainer, r, "write the loss curve", path) : 0;
}

/* Every rank puts its own report in its place, the rest being 0: the sum is the list of all. */
static int reports_gather(struct trainer *trainer, struct rank_report *reports)
{
    struct seqsync_session_counters counters;

    seqsync_session_counters(trainer->session, &counters);
    trainer->report.rows = (double)trainer->pass.rows;
    trainer->report.shared_bytes = (double)counters.shared_bytes;
    trainer->report.resident_bytes = (double)memory_read().resident_bytes;
    reports[trainer->rank] = trainer->report;
    return trainer_sum(trainer, (double *)reports,
                       (size_t)trainer->world_size * RANK_REPORT_VALUES);
}

static double wait_fraction(const struct rank_report *reports, int32_t count)
{
    double waited = 0;
    double trained = 0;

    for (int32_t i = 0; i < count; i++) {
        waited += reports[i].wait_ns;
        trained += reports[i].train_ns;
    }
    return trained > 0 ? waited / trained : 0;
}

static int results_write(struct trainer *trainer, const struct rank_report *reports)
{
    static const char *const images[] = {"loss.png", "frames.png"};
    struct summary *s = &trainer->summary;
    double seconds = (double)trainer->schedule_ns * 1e-9;
    char path[PATH_MAX];
    int r = out_path(trainer, "summary.json", path);

    if (r) {
        return r;
    }
    s->nodes = seqsync_session_node_count(trainer->session);
    s->workers = trainer->world_size;
    s->tokens = trainer->progress.tokens;
    s->parameters = (int64_t)trainer->model->elements_total;
    s->distributed = trainer->losses;
    s->step_seconds = trainer->step_seconds;
    s->single_process = trainer->reference;
    if (trainer->world_size == 1 && !trainer->options->reference_losses) {
        s->single_process = trainer->losses;
    }
    s->tokens_per_second =
        seconds > 0 ? (double)s->tokens * (double)trainer->losses.count / seconds : 0;
    s->exposed_wait_fraction = wait_fraction(reports, trainer->world_size);
    s->ranks = reports;
    s->images = images;
    s->image_count = s->evaluated ? 2 : 1;
    r = summary_write(s, path, trainer->options->json);
    return r < 0 ? trainer_fail_errno(trainer, r, "write the summary", path) : 0;
}

static void results_say(struct trainer *trainer)
{
    const struct summary *s = &trainer->summary;

    if (s->evaluated) {
        progress_say(&trainer->progress,
                     "frames at t = 0.5 against the clip: noised %.2f dB, restored %.2f dB",
                     s->psnr_noised_db, s->psnr_restored_db);
    }
    progress_say(&trainer->progress, "%.0f tokens/s, %.1f %% of the time waiting; see %s",
                 s->tokens_per_second, 100 * s->exposed_wait_fraction, trainer->options->out);
}

int trainer_report(struct trainer *trainer)
{
    struct rank_report *reports = calloc((size_t)trainer->world_size, sizeof(*reports));
    int r;

    if (!reports) {
        return trainer_fail_errno(trainer, -ENOMEM, "make room for the reports", "memory");
    }
    r = reports_gather(trainer, reports);
    if (r == 0 && trainer->rank == 0) {
        r = curve_write(trainer);
        if (r == 0) {
            r = results_write(trainer, reports);
        }
        if (r == 0) {
            results_say(trainer);
        }
    }
    free(reports);
    return r;
}
