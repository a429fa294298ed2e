/* The command line, and pixels from files that ffmpeg decodes, cannot decode, or does not find. */
#include "client/trainer/clip.h"
#include "client/trainer/options.h"

#include <errno.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

#define GRID_T 3
#define GRID_H 2
#define GRID_W 4
#define AREA (GRID_H * GRID_W)
#define TOKENS (GRID_T * AREA)
static const struct grid grid = {GRID_T, GRID_H, GRID_W};

struct file {
    char folder[64];
    char path[128];
};

static void run(const char *const argv[])
{
    pid_t pid;
    int status;

    assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Six frames of 32 x 16, frame n of one grey 20 + 30 n, without loss. */
static int setup(void **state)
{
    struct file *file = calloc(1, sizeof(*file));
    const char *argv[] = {"ffmpeg",
                          "-v",
                          "error",
                          "-nostdin",
                          "-f",
                          "lavfi",
                          "-i",
                          "color=black:size=32x16:rate=10:duration=0.6,format=rgb24,"
                          "geq=r='20+30*N':g='20+30*N':b='20+30*N'",
                          "-c:v",
                          "ffv1",
                          "-level",
                          "3",
                          "-slicecrc",
                          "1",
                          file->path,
                          NULL};

    snprintf(file->folder, sizeof(file->folder), "/tmp/test_trainer_XXXXXX");
    if (!mkdtemp(file->folder)) {
        return -1;
    }
    snprintf(file->path, sizeof(file->path), "%s/clip.mkv", file->folder);
    run(argv);
    *state = file;
    return 0;
}

static int teardown(void **state)
{
    struct file *file = *state;

    unlink(file->path);
    rmdir(file->folder);
    free(file);
    return 0;
}

static struct part whole_part(struct seqsync_chunk *chunk, uint32_t sequences)
{
    *chunk = (struct seqsync_chunk){.count = (int64_t)TOKENS * sequences};
    return (struct part){
        .rows = chunk->count, .chunks = chunk, .chunk_count = 1, .sequences = sequences};
}

static void clip_is_cut_into_patches(void **state)
{
    const struct file *file = *state;
    const struct clip clip = {.path = file->path, .grid = grid};
    uint8_t *pixels = malloc(TOKENS * PATCH_VALUES);
    char reason[CLIP_REASON_BYTES];
    struct seqsync_chunk chunk;
    struct part part = whole_part(&chunk, 1);

    assert_int_equal(clip_load(&clip, &part, pixels, reason), 0);
    assert_string_equal(reason, "");
    for (int64_t i = 0; i < TOKENS * PATCH_VALUES; i++) {
        int64_t slice = i / PATCH_VALUES / AREA;
        int64_t frame = slice * 2 + i % PATCH_VALUES / (PATCH_VALUES / 2);

        assert_in_range(pixels[i], 20 + 30 * frame - 1, 20 + 30 * frame + 1);
    }
    free(pixels);
}

static void clip_begins_where_it_is_told_to(void **state)
{
    const struct file *file = *state;
    const struct clip clip = {.path = file->path, .start_seconds = 0.4, .grid = {1, 1, 1}};
    const struct seqsync_chunk chunk = {.count = 1};
    const struct part part = {.rows = 1, .chunks = &chunk, .chunk_count = 1, .sequences = 1};
    uint8_t pixels[PATCH_VALUES];
    char reason[CLIP_REASON_BYTES];

    assert_int_equal(clip_load(&clip, &part, pixels, reason), 0);
    assert_in_range(pixels[0], 20 + 30 * 4 - 1, 20 + 30 * 4 + 1);
    assert_in_range(pixels[PATCH_VALUES - 1], 20 + 30 * 5 - 1, 20 + 30 * 5 + 1);
}

static void each_rank_keeps_what_the_whole_has_in_its_place(void **state)
{
    const struct clip clip = {.grid = grid};
    uint8_t *whole = malloc(2 * TOKENS * PATCH_VALUES);
    uint8_t *pixels = malloc(2 * TOKENS * PATCH_VALUES);
    char reason[CLIP_REASON_BYTES];
    struct seqsync_chunk chunk;
    struct part part = whole_part(&chunk, 2);
    const struct seqsync_chunk chunks[] = {
        {.first = 3, .count = 14, .row = 0, .position = 3},
        {.first = TOKENS - 1, .count = 1, .row = 14, .position = TOKENS - 1},
        {.first = TOKENS + 5, .count = 9, .row = 15, .position = 5, .sequence = 1},
    };
    struct part piece = {.rows = 24, .chunks = chunks, .chunk_count = 3, .sequences = 2};

    (void)state;
    assert_int_equal(clip_load(&clip, &part, whole, reason), 0);
    assert_int_equal(clip_load(&clip, &piece, pixels, reason), 0);
    for (int c = 0; c < 3; c++) {
        assert_memory_equal(pixels + chunks[c].row * PATCH_VALUES,
                            whole + chunks[c].first * PATCH_VALUES,
                            (size_t)(chunks[c].count * PATCH_VALUES));
    }
    /* The drawn picture moves. */
    assert_memory_not_equal(whole, whole + TOKENS * PATCH_VALUES, TOKENS * PATCH_VALUES);
    free(whole);
    free(pixels);
}

static void rank_without_tokens_decodes_nothing(void **state)
{
    const struct clip clip = {.path = "/nonexistent", .grid = grid};
    const struct part part = {.sequences = 1};
    char reason[CLIP_REASON_BYTES];

    (void)state;
    assert_int_equal(clip_load(&clip, &part, NULL, reason), 0);
}

static int load_reason(const char *path, uint32_t sequences, char *reason)
{
    const struct clip clip = {.path = path, .grid = grid};
    uint8_t *pixels = malloc((size_t)sequences * TOKENS * PATCH_VALUES);
    struct seqsync_chunk chunk;
    struct part part = whole_part(&chunk, sequences);
    int r = clip_load(&clip, &part, pixels, reason);

    free(pixels);
    return r;
}

static void missing_file_is_named(void **state)
{
    char reason[CLIP_REASON_BYTES];

    (void)state;
    assert_int_equal(load_reason("/nonexistent/clip.mp4", 1, reason), -ENODATA);
    assert_non_null(strstr(reason, "/nonexistent/clip.mp4"));
    assert_non_null(strstr(reason, "No such file"));
}

static void file_that_is_no_video_is_refused(void **state)
{
    struct file *file = *state;
    char reason[CLIP_REASON_BYTES];
    FILE *out = fopen(file->path, "w");

    fputs("this is not a video\n", out);
    fclose(out);
    assert_int_equal(load_reason(file->path, 1, reason), -ENODATA);
    assert_non_null(strstr(reason, "ffmpeg cannot decode the clip"));
}

/* Every frame carries a checksum; a picture with a hole must not be trained on. */
static void damaged_frame_is_refused(void **state)
{
    struct file *file = *state;
    char reason[CLIP_REASON_BYTES];
    FILE *out = fopen(file->path, "r+");
    long size;

    fseek(out, 0, SEEK_END);
    size = ftell(out);
    for (long at = size / 2; at < size / 2 + 8; at++) {
        int byte;

        fseek(out, at, SEEK_SET);
        byte = fgetc(out);
        fseek(out, at, SEEK_SET);
        fputc(byte ^ 0x55, out);
    }
    fclose(out);
    assert_int_equal(load_reason(file->path, 1, reason), -ENODATA);
    assert_non_null(strstr(reason, "ffmpeg cannot decode the clip"));
}

static void clip_that_ends_early_says_after_how_many_frames(void **state)
{
    const struct file *file = *state;
    char reason[CLIP_REASON_BYTES];

    assert_int_equal(load_reason(file->path, 2, reason), -ENODATA);
    assert_non_null(strstr(reason, "ends after 6 of the 12 frames"));
}

static void missing_ffmpeg_is_named(void **state)
{
    const struct file *file = *state;
    char reason[CLIP_REASON_BYTES];
    char *path = strdup(getenv("PATH"));

    setenv("PATH", file->folder, 1);
    assert_int_equal(load_reason(file->path, 1, reason), -ENOENT);
    setenv("PATH", path, 1);
    free(path);
    assert_non_null(strstr(reason, "ffmpeg"));
    assert_non_null(strstr(reason, "missing"));
}

struct line {
    const char *arguments[8];
    const char *reason; /* part of it; NULL: the line is legal */
};

static const struct line lines[] = {
    {{"--synthetic", "--out", "x"}, NULL},
    {{"--clip", "a.mp4", "--out", "x", "--size", "64x32", "--frames=4"}, NULL},
    {{"--synthetic", "--out", "x", "--mask", "window:5,0"}, NULL},
    {{"--out", "x"}, "one of --clip"},
    {{"--clip", "a", "--synthetic", "--out", "x"}, "one of --clip"},
    {{"--synthetic"}, "--out"},
    {{"--synthetic", "--out", "x", "--size", "64x33"}, "multiples of 8"},
    {{"--synthetic", "--out", "x", "--size", "64"}, "--size cannot be \"64\""},
    {{"--synthetic", "--out", "x", "--frames", "3"}, "multiple of 2"},
    {{"--synthetic", "--out", "x", "--heads", "5"}, "multiple of the number of heads"},
    {{"--synthetic", "--out", "x", "--steps", "-1"}, "--steps cannot be \"-1\""},
    {{"--synthetic", "--out", "x", "--steps", "9x"}, "--steps cannot be \"9x\""},
    {{"--synthetic", "--out", "x", "--lr", "nan"}, "--lr cannot be \"nan\""},
    {{"--synthetic", "--out", "x", "--mask", "window:5"}, "--mask cannot be"},
    {{"--synthetic", "--out", "x", "--nonfinite", "maybe"}, "--nonfinite cannot be"},
    {{"--synthetic", "--out", "x", "--stepps", "9"}, "--stepps is not an option"},
    {{"--synthetic", "--out"}, "--out needs a value"},
    {{"--synthetic", "--out", "x", "stray"}, "\"stray\" belongs to no option"},
    {{"--synthetic", "--out", "x", "--frames", "131072", "--size", "4096x4096"}, "tokens"},
};

static void command_lines_are_taken_or_refused_with_the_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct options options;
        char reason[OPTIONS_REASON_BYTES] = "";
        char *argv[10] = {(char *)"seqsync-trainer"};
        enum options_outcome outcome;
        int argc = 1;

        for (int j = 0; j < 8 && lines[i].arguments[j]; j++) {
            argv[argc++] = (char *)(uintptr_t)lines[i].arguments[j];
        }
        outcome = options_parse(&options, argc, argv, reason);
        if (outcome != (lines[i].reason ? OPTIONS_USAGE : OPTIONS_RUN) ||
            (lines[i].reason && !strstr(reason, lines[i].reason))) {
            fail_msg("line %zu: outcome %d, \"%s\"", i, outcome, reason);
        }
    }
}

static void values_arrive_where_they_belong(void **state)
{
    const char *const argv[] = {
        "t",       "--synthetic", "--out",    "o", "--size",  "64x32", "--frames", "6",
        "--width", "96",          "--layers", "2", "--heads", "4",     "--lr",     "0.5",
        "--seed",  "77",          "--warmup", "3", "--steps", "9",     "--mask",   "window:5,2"};
    struct options options;
    char reason[OPTIONS_REASON_BYTES];

    (void)state;
    assert_int_equal(
        options_parse(&options, sizeof(argv) / sizeof(*argv), (char **)(uintptr_t)argv, reason),
        OPTIONS_RUN);
    assert_int_equal(options.shape.grid.t, 3);
    assert_int_equal(options.shape.grid.h, 4);
    assert_int_equal(options.shape.grid.w, 8);
    assert_int_equal(options.shape.width, 96);
    assert_int_equal(options.shape.layers, 2);
    assert_int_equal(options.shape.heads, 4);
    assert_true(options.optimizer.rate == 0.5);
    assert_int_equal(options.seed, 77);
    assert_int_equal(options.optimizer.warmup, 3);
    assert_int_equal(options.optimizer.steps, 9);
    assert_int_equal(options.mask, SEQSYNC_MASK_WINDOW);
    assert_int_equal(options.window_left, 5);
    assert_int_equal(options.window_right, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(clip_is_cut_into_patches),
        TEST(clip_begins_where_it_is_told_to),
        cmocka_unit_test(each_rank_keeps_what_the_whole_has_in_its_place),
        cmocka_unit_test(rank_without_tokens_decodes_nothing),
        cmocka_unit_test(missing_file_is_named),
        TEST(file_that_is_no_video_is_refused),
        TEST(damaged_frame_is_refused),
        TEST(clip_that_ends_early_says_after_how_many_frames),
        TEST(missing_ffmpeg_is_named),
        cmocka_unit_test(command_lines_are_taken_or_refused_with_the_reason),
        cmocka_unit_test(values_arrive_where_they_belong),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
