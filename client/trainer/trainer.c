#include "client/trainer/trainer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <seqsync/attention.h>
#include <seqsync/collective.h>
#include <seqsync/parameter.h>

#include "client/trainer/clip.h"
#include "client/trainer/memory.h"

static int64_t steps_to_train(const struct options *options)
{
    return options->optimizer.steps < options->stop_after ? options->optimizer.steps
                                                          : options->stop_after;
}

static int join(struct trainer *trainer)
{
    struct seqsync_session_options session_options;
    int r;

    seqsync_session_options_init(&session_options);
    session_options.nonfinite = trainer->options->nonfinite;
    r = seqsync_session_open(&session_options, &trainer->session);
    if (r < 0) {
        return trainer_fail_status(trainer, r, "join the job");
    }
    trainer->rank = seqsync_session_rank(trainer->session);
    trainer->world_size = seqsync_session_world_size(trainer->session);
    return 0;
}

static int folder_make(struct trainer *trainer)
{
    const char *folder = trainer->options->out;

    if (mkdir(folder, 0777) < 0 && errno != EEXIST) {
        return trainer_fail_errno(trainer, -errno, "make the output folder", folder);
    }
    return 0;
}

/* All ranks start from rank 0's bits, though all could compute them: the digests are compared. */
static int parameters_share(struct trainer *trainer)
{
    struct model *model = trainer->model;
    int r;

    if (trainer->rank == 0) {
        model_start(model, trainer->options->seed);
        r = seqsync_parameter_publish(trainer->session, (const float *const *)model->values);
    } else {
        r = seqsync_parameter_pull(trainer->session, 0, model->values);
    }
    return r < 0 ? trainer_fail_status(trainer, r, "share the starting parameters") : 0;
}

static void batch_describe(struct trainer *trainer)
{
    const struct options *options = trainer->options;
    bool window = options->mask == SEQSYNC_MASK_WINDOW;

    for (int32_t i = 0; i < options->batch_clips; i++) {
        trainer->sequences[i] = (struct seqsync_sequence){
            .tokens = model_tokens(&options->shape),
            .window_left = window ? options->window_left : 0,
            .window_right = window ? options->window_right : 0,
            .sample_id = (uint64_t)i,
            .mask = options->mask,
        };
    }
}

static int arrays_make(struct trainer *trainer)
{
    const struct options *options = trainer->options;
    size_t clips = (size_t)options->batch_clips;
    int r;

    trainer->sequences = calloc(clips, sizeof(*trainer->sequences));
    trainer->t = calloc(clips, sizeof(*trainer->t));
    trainer->means = calloc(trainer->model->bucket_count, sizeof(*trainer->means));
    trainer->losses.values =
        calloc((size_t)steps_to_train(options) + 1, sizeof(*trainer->losses.values));
    trainer->step_seconds =
        calloc((size_t)steps_to_train(options) + 1, sizeof(*trainer->step_seconds));
    if (!trainer->sequences || !trainer->t || !trainer->means || !trainer->losses.values ||
        !trainer->step_seconds) {
        return trainer_fail_errno(trainer, -ENOMEM, "make room for the training", "memory");
    }
    r = optimizer_init(&trainer->optimizer, trainer->model, &options->optimizer);
    if (r < 0) {
        return trainer_fail_errno(trainer, r, "make room for the optimizer", "memory");
    }
    r = pass_init(&trainer->pass, trainer->model, (uint32_t)options->batch_clips);
    if (r < 0) {
        return trainer_fail_errno(trainer, -ENOMEM, "make room for the activations", "memory");
    }
    return 0;
}

/* What needs no other rank, so that a wrong option ends a worker before it joins. */
static int prepare(struct trainer *trainer)
{
    const struct options *options = trainer->options;
    int r = folder_make(trainer);

    if (r) {
        return r;
    }
    if (options->reference_losses) {
        r = losses_read(options->reference_losses, &trainer->reference);
        if (r < 0) {
            return trainer_fail_errno(trainer, r, "read the reference losses",
                                      options->reference_losses);
        }
    }
    trainer->model = model_new(&options->shape);
    if (!trainer->model) {
        return trainer_fail_errno(trainer, -ENOMEM, "make room for the parameters", "memory");
    }
    r = arrays_make(trainer);
    if (r) {
        return r;
    }
    batch_describe(trainer);
    return 0;
}

int trainer_init(struct trainer *trainer, const struct options *options)
{
    int r;

    *trainer = (struct trainer){.options = options};
    seqsync_attention_init();
    r = prepare(trainer);
    if (r) {
        return r;
    }
    r = join(trainer);
    if (r) {
        return r;
    }
    progress_init(&trainer->progress, trainer->rank == 0 && !options->quiet,
                  steps_to_train(options),
                  model_tokens(&options->shape) * (int64_t)options->batch_clips);
    r = link_session_init(&trainer->link, trainer->session, trainer->model);
    if (r < 0) {
        return trainer_fail_status(trainer, r, "register the model");
    }
    return parameters_share(trainer);
}

void trainer_deinit(struct trainer *trainer)
{
    pass_deinit(&trainer->pass);
    optimizer_deinit(&trainer->optimizer);
    link_session_deinit(&trainer->link);
    trainer->session = seqsync_session_close(trainer->session);
    trainer->model = model_free(trainer->model);
    free(trainer->sequences);
    free(trainer->t);
    free(trainer->means);
    free(trainer->pixels);
    free(trainer->chunks);
    free(trainer->losses.values);
    free(trainer->step_seconds);
    free(trainer->reference.values);
}

int trainer_sum(struct trainer *trainer, double *values, size_t count)
{
    const size_t most = SEQSYNC_ALL_REDUCE_BYTES_MAX / sizeof(*values);

    for (size_t at = 0; at < count; at += most) {
        size_t n = count - at < most ? count - at : most;
        int r = seqsync_all_reduce(trainer->session, values + at, n, SEQSYNC_F64, SEQSYNC_SUM);

        if (r < 0) {
            return trainer_fail_status(trainer, r, "sum over the ranks");
        }
    }
    return 0;
}

static bool chunks_changed(const struct trainer *trainer)
{
    const struct part *part = &trainer->link.part;

    if (!trainer->loaded || part->chunk_count != trainer->chunk_count) {
        return true;
    }
    for (uint32_t i = 0; i < part->chunk_count; i++) {
        const struct seqsync_chunk *now = &part->chunks[i];
        const struct seqsync_chunk *then = &trainer->chunks[i];

        if (now->first != then->first || now->count != then->count || now->row != then->row) {
            return true;
        }
    }
    return false;
}

static int clip_fail(struct trainer *trainer, int r, const char *reason)
{
    struct failure *failure = &trainer->failure;

    snprintf(failure->what, sizeof(failure->what), "cannot load the clip");
    snprintf(failure->why, sizeof(failure->why), "%s", reason);
    snprintf(failure->hint, sizeof(failure->hint), "%s",
             r == -ENOENT ? "apt-get install ffmpeg, or --synthetic"
                          : "another --clip or --start, or fewer --frames");
    return r == -ENOENT ? EX_UNAVAILABLE : EX_NOINPUT;
}

/* The plan says only now which tokens are ours; it seldom changes its mind. */
static int pixels_load(struct trainer *trainer)
{
    const struct options *options = trainer->options;
    const struct part *part = &trainer->link.part;
    struct clip clip = {.path = options->synthetic ? NULL : options->clip,
                        .start_seconds = options->start_seconds,
                        .grid = options->shape.grid};
    size_t chunk_bytes = (size_t)part->chunk_count * sizeof(*part->chunks);
    char reason[CLIP_REASON_BYTES];
    int r;

    trainer->loaded = false;
    free(trainer->pixels);
    free(trainer->chunks);
    trainer->pixels = malloc((size_t)part->rows * PATCH_VALUES + 1);
    trainer->chunks = malloc(chunk_bytes + 1);
    r = trainer->pixels && trainer->chunks ? pass_resize(&trainer->pass, part->rows) : -ENOMEM;
    if (r < 0) {
        return trainer_fail_errno(trainer, r, "make room for the tokens", "memory");
    }
    r = clip_load(&clip, part, trainer->pixels, reason);
    if (r < 0) {
        return clip_fail(trainer, r, reason);
    }
    if (part->chunk_count > 0) {
        memcpy(trainer->chunks, part->chunks, chunk_bytes);
    }
    trainer->chunk_count = part->chunk_count;
    trainer->loaded = true;
    return 0;
}

int trainer_step_begin(struct trainer *trainer, uint64_t seed)
{
    struct seqsync_batch batch = {.size = sizeof(batch),
                                  .sequences = trainer->sequences,
                                  .sequence_count = (uint32_t)trainer->options->batch_clips,
                                  .placement = SEQSYNC_PLACE_AUTO,
                                  .context_role = SEQSYNC_SHARDED,
                                  .seed = seed};
    int r = link_session_begin(&trainer->link, &batch);

    if (r < 0) {
        return trainer_fail_status(trainer, r, "begin a step");
    }
    if (chunks_changed(trainer)) {
        r = pixels_load(trainer);
        if (r) {
            return r;
        }
    }
    flow_noise(&trainer->pass, &trainer->link.part, trainer->pixels, trainer->t, seed);
    r = pass_forward(&trainer->pass, &trainer->link.part, &trainer->link.link, trainer->t);
    return r < 0 ? trainer_fail_status(trainer, r, "compute the forward pass") : 0;
}

int trainer_step_commit(struct trainer *trainer, double loss, int *ret_skip)
{
    struct seqsync_attestation attestation = {
        .size = sizeof(attestation),
        .tokens = trainer->pass.rows,
        .area = -1,
        .parameter_digest = link_session_digest(&trainer->link, trainer->model),
        .loss = loss,
    };
    struct memory memory = memory_read();
    int r;

    if ((double)memory.private_bytes > trainer->report.private_bytes) {
        trainer->report.private_bytes = (double)memory.private_bytes;
    }
    r = link_session_commit(&trainer->link, &attestation, ret_skip);
    return r < 0 ? trainer_fail_status(trainer, r, "commit a step") : 0;
}

int trainer_run(struct trainer *trainer)
{
    const struct options *options = trainer->options;
    int r;

    progress_say(&trainer->progress,
                 "%lld tokens on %d workers and %d nodes, %.2f million parameters",
                 (long long)trainer->progress.tokens, trainer->world_size,
                 seqsync_session_node_count(trainer->session),
                 (double)trainer->model->elements_total * 1e-6);
    if (options->evaluation) {
        r = trainer_evaluate(trainer, /* last= */ false);
        if (r) {
            return r;
        }
    }
    r = trainer_train(trainer);
    if (r) {
        return r;
    }
    if (options->evaluation) {
        r = trainer_evaluate(trainer, /* last= */ true);
        if (r) {
            return r;
        }
    }
    return trainer_report(trainer);
}
