#include "client/trainer/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <seqsync/session.h>

static const char help[] =
    "usage: seqsync-trainer (--clip FILE | --synthetic) --out DIR [options]\n"
    "\n"
    "Trains a video diffusion transformer on one clip, its tokens spread over the workers of a\n"
    "seqsync job. Start it with `seqctl run`, or one process a rank beside a running seqsyncd.\n"
    "\n"
    "input\n"
    "  --clip FILE              video, decoded by ffmpeg\n"
    "  --synthetic              a drawn moving picture instead\n"
    "  --start SECONDS          where in the video to begin (0)\n"
    "  --size WxH               pixels of a frame, multiples of 8 (256x144)\n"
    "  --frames N               frames of a sequence, a multiple of 2 (8)\n"
    "  --batch-clips N          sequences of a batch, one after the other in the video (1)\n"
    "model\n"
    "  --width N  --layers N  --heads N                     (192, 4, 3)\n"
    "  --mask full|causal|window:LEFT,RIGHT                 which tokens a token sees (full)\n"
    "training\n"
    "  --steps N                length of the schedule (160)\n"
    "  --stop-after N           train only the first N steps of the schedule\n"
    "  --lr X  --lr-last X  --warmup N                      (0.002, 0, 5)\n"
    "  --weight-decay X  --clip-norm X                      (0.01, 0.3)\n"
    "  --seed N                 root of all random numbers (1)\n"
    "  --nonfinite fail|skip|pass                           a NaN in a gradient (fail)\n"
    "output\n"
    "  --out DIR                summary.json and pictures go here\n"
    "  --reference-losses FILE  summary of a one-worker run to compare with\n"
    "  --no-evaluation          no loss on fixed noise before and after, no pictures\n"
    "  --json                   print the summary on standard output too\n"
    "  --quiet                  no progress\n"
    "  --help  --version\n";

const char *options_help(void)
{
    return help;
}

enum key {
    KEY_CLIP = 256,
    KEY_SYNTHETIC,
    KEY_START,
    KEY_SIZE,
    KEY_FRAMES,
    KEY_BATCH_CLIPS,
    KEY_WIDTH,
    KEY_LAYERS,
    KEY_HEADS,
    KEY_MASK,
    KEY_STEPS,
    KEY_STOP_AFTER,
    KEY_LR,
    KEY_LR_LAST,
    KEY_WARMUP,
    KEY_WEIGHT_DECAY,
    KEY_CLIP_NORM,
    KEY_SEED,
    KEY_NONFINITE,
    KEY_OUT,
    KEY_REFERENCE_LOSSES,
    KEY_NO_EVALUATION,
    KEY_JSON,
    KEY_QUIET,
    KEY_HELP,
    KEY_VERSION,
};

static const struct option keys[] = {
    {"clip", required_argument, NULL, KEY_CLIP},
    {"synthetic", no_argument, NULL, KEY_SYNTHETIC},
    {"start", required_argument, NULL, KEY_START},
    {"size", required_argument, NULL, KEY_SIZE},
    {"frames", required_argument, NULL, KEY_FRAMES},
    {"batch-clips", required_argument, NULL, KEY_BATCH_CLIPS},
    {"width", required_argument, NULL, KEY_WIDTH},
    {"layers", required_argument, NULL, KEY_LAYERS},
    {"heads", required_argument, NULL, KEY_HEADS},
    {"mask", required_argument, NULL, KEY_MASK},
    {"steps", required_argument, NULL, KEY_STEPS},
    {"stop-after", required_argument, NULL, KEY_STOP_AFTER},
    {"lr", required_argument, NULL, KEY_LR},
    {"lr-last", required_argument, NULL, KEY_LR_LAST},
    {"warmup", required_argument, NULL, KEY_WARMUP},
    {"weight-decay", required_argument, NULL, KEY_WEIGHT_DECAY},
    {"clip-norm", required_argument, NULL, KEY_CLIP_NORM},
    {"seed", required_argument, NULL, KEY_SEED},
    {"nonfinite", required_argument, NULL, KEY_NONFINITE},
    {"out", required_argument, NULL, KEY_OUT},
    {"reference-losses", required_argument, NULL, KEY_REFERENCE_LOSSES},
    {"no-evaluation", no_argument, NULL, KEY_NO_EVALUATION},
    {"json", no_argument, NULL, KEY_JSON},
    {"quiet", no_argument, NULL, KEY_QUIET},
    {"help", no_argument, NULL, KEY_HELP},
    {"version", no_argument, NULL, KEY_VERSION},
    {NULL, 0, NULL, 0},
};

/* Options that are one whole number: where it goes and what it may be. */
struct whole {
    int key;
    size_t offset;
    size_t size;
    int64_t least;
    int64_t most;
};
#define WHOLE(key, field, least, most)                                                             \
    {                                                                                              \
        key, offsetof(struct options, field), sizeof(((struct options *)0)->field), least, most    \
    }

static const struct whole wholes[] = {
    WHOLE(KEY_FRAMES, frames, PATCH_FRAMES, 131072),
    WHOLE(KEY_BATCH_CLIPS, batch_clips, 1, SEQSYNC_SEQUENCES_MAX),
    WHOLE(KEY_WIDTH, shape.width, 1, MODEL_WIDTH_MAX),
    WHOLE(KEY_LAYERS, shape.layers, 1, MODEL_LAYERS_MAX),
    WHOLE(KEY_HEADS, shape.heads, 1, MODEL_WIDTH_MAX),
    WHOLE(KEY_STEPS, optimizer.steps, 0, 1000000000),
    WHOLE(KEY_STOP_AFTER, stop_after, 0, 1000000000),
    WHOLE(KEY_WARMUP, optimizer.warmup, 0, 1000000000),
    WHOLE(KEY_SEED, seed, 0, INT64_MAX),
};

/* Options that are one number, not negative. */
struct number {
    int key;
    size_t offset;
};
static const struct number numbers[] = {
    {KEY_START, offsetof(struct options, start_seconds)},
    {KEY_LR, offsetof(struct options, optimizer.rate)},
    {KEY_LR_LAST, offsetof(struct options, optimizer.rate_last)},
    {KEY_WEIGHT_DECAY, offsetof(struct options, optimizer.weight_decay)},
    {KEY_CLIP_NORM, offsetof(struct options, optimizer.norm_max)},
};

static bool whole_parse(const char *text, char end, int64_t least, int64_t most, int64_t *ret,
                        const char **ret_rest)
{
    char *rest;
    long long value;

    errno = 0;
    value = strtoll(text, &rest, 10);
    if (errno || rest == text || *rest != end || value < least || value > most) {
        return false;
    }
    *ret = value;
    if (ret_rest) {
        *ret_rest = end ? rest + 1 : rest;
    }
    return true;
}

static bool size_parse(struct options *options, const char *text)
{
    const char *rest;
    int64_t width;
    int64_t height;

    if (!whole_parse(text, 'x', PATCH_SIDE, 32768, &width, &rest) ||
        !whole_parse(rest, '\0', PATCH_SIDE, 32768, &height, NULL)) {
        return false;
    }
    options->width_pixels = (int32_t)width;
    options->height_pixels = (int32_t)height;
    return true;
}

static bool mask_parse(struct options *options, const char *text)
{
    const char *rest;

    if (strcmp(text, "full") == 0) {
        options->mask = SEQSYNC_MASK_FULL;
        return true;
    }
    if (strcmp(text, "causal") == 0) {
        options->mask = SEQSYNC_MASK_CAUSAL;
        return true;
    }
    options->mask = SEQSYNC_MASK_WINDOW;
    return strncmp(text, "window:", 7) == 0 &&
           whole_parse(text + 7, ',', 0, SEQSYNC_TOKENS_MAX, &options->window_left, &rest) &&
           whole_parse(rest, '\0', 0, SEQSYNC_TOKENS_MAX, &options->window_right, NULL);
}

static bool nonfinite_parse(struct options *options, const char *text)
{
    static const char *const names[] = {"fail", "skip", "pass"};

    for (uint32_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(text, names[i]) == 0) {
            options->nonfinite = i;
            return true;
        }
    }
    return false;
}

/* 1: taken, 0: not a number option, -1: wrong. */
static int number_take(struct options *options, int key, const char *text)
{
    for (size_t i = 0; i < sizeof(wholes) / sizeof(*wholes); i++) {
        int64_t value;

        if (wholes[i].key != key) {
            continue;
        }
        if (!whole_parse(text, '\0', wholes[i].least, wholes[i].most, &value, NULL)) {
            return -1;
        }
        if (wholes[i].size == sizeof(int32_t)) {
            *(int32_t *)((char *)options + wholes[i].offset) = (int32_t)value;
        } else {
            *(int64_t *)((char *)options + wholes[i].offset) = value;
        }
        return 1;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        char *rest;
        double value;

        if (numbers[i].key != key) {
            continue;
        }
        value = strtod(text, &rest);
        if (rest == text || *rest != '\0' || !isfinite(value) || value < 0) {
            return -1;
        }
        *(double *)((char *)options + numbers[i].offset) = value;
        return 1;
    }
    return 0;
}

static bool take(struct options *options, int key, const char *text)
{
    int taken = number_take(options, key, text);

    if (taken != 0) {
        return taken > 0;
    }
    switch (key) {
    case KEY_CLIP:
        options->clip = text;
        return true;
    case KEY_SYNTHETIC:
        options->synthetic = true;
        return true;
    case KEY_SIZE:
        return size_parse(options, text);
    case KEY_MASK:
        return mask_parse(options, text);
    case KEY_NONFINITE:
        return nonfinite_parse(options, text);
    case KEY_OUT:
        options->out = text;
        return true;
    case KEY_REFERENCE_LOSSES:
        options->reference_losses = text;
        return true;
    case KEY_NO_EVALUATION:
        options->evaluation = false;
        return true;
    case KEY_JSON:
        options->json = true;
        return true;
    case KEY_QUIET:
        options->quiet = true;
        return true;
    default:
        return false;
    }
}

static const char *fault(struct options *options)
{
    int64_t tokens;
    const char *shape;

    if (!options->clip == !options->synthetic) {
        return "give one of --clip FILE and --synthetic";
    }
    if (!options->out) {
        return "--out DIR is missing: where the summary and the pictures go";
    }
    if (options->width_pixels % PATCH_SIDE || options->height_pixels % PATCH_SIDE) {
        return "--size must be multiples of 8: a patch is 8 x 8 pixels";
    }
    if (options->frames % PATCH_FRAMES) {
        return "--frames must be a multiple of 2: a patch spans 2 frames";
    }
    options->shape.grid = (struct grid){.t = options->frames / PATCH_FRAMES,
                                        .h = options->height_pixels / PATCH_SIDE,
                                        .w = options->width_pixels / PATCH_SIDE};
    shape = model_shape_fault(&options->shape);
    if (shape) {
        return shape;
    }
    tokens = model_tokens(&options->shape);
    if (tokens > SEQSYNC_TOKENS_MAX / options->batch_clips) {
        return "a batch may have at most 2^28 tokens: use fewer frames or a smaller size";
    }
    return NULL;
}

enum options_outcome options_parse(struct options *options, int argc, char **argv,
                                   char ret_reason[OPTIONS_REASON_BYTES])
{
    const char *wrong;
    int key;

    *options = (struct options){
        .width_pixels = 256,
        .height_pixels = 144,
        .frames = 8,
        .batch_clips = 1,
        .shape = {.width = 192, .layers = 4, .heads = 3},
        .optimizer = {.rate = 2e-3,
                      .warmup = 5,
                      .steps = 160,
                      .beta1 = 0.9,
                      .beta2 = 0.95,
                      .epsilon = 1e-8,
                      .weight_decay = 0.01,
                      .norm_max = 0.3},
        .stop_after = INT64_MAX,
        .seed = 1,
        .mask = SEQSYNC_MASK_FULL,
        .nonfinite = SEQSYNC_NONFINITE_FAIL,
        .evaluation = true,
    };
    opterr = 0;
    optind = 0;
    while ((key = getopt_long(argc, argv, ":", keys, NULL)) != -1) {
        if (key == KEY_HELP) {
            return OPTIONS_HELP;
        }
        if (key == KEY_VERSION) {
            return OPTIONS_VERSION;
        }
        if (key == '?' || key == ':') {
            snprintf(ret_reason, OPTIONS_REASON_BYTES, "%.100s %s", argv[optind - 1],
                     key == '?' ? "is not an option" : "needs a value");
            return OPTIONS_USAGE;
        }
        if (!take(options, key, optarg)) {
            snprintf(ret_reason, OPTIONS_REASON_BYTES, "--%s cannot be \"%.100s\"",
                     keys[key - KEY_CLIP].name, optarg);
            return OPTIONS_USAGE;
        }
    }
    wrong = optind < argc ? argv[optind] : NULL;
    if (wrong) {
        snprintf(ret_reason, OPTIONS_REASON_BYTES, "\"%.100s\" belongs to no option", wrong);
        return OPTIONS_USAGE;
    }
    wrong = fault(options);
    if (wrong) {
        snprintf(ret_reason, OPTIONS_REASON_BYTES, "%s", wrong);
        return OPTIONS_USAGE;
    }
    return OPTIONS_RUN;
}
