/* Pictures that decode back, the gallery put together from the shares of ranks, and the summary. */
#include "client/trainer/gallery.h"
#include "client/trainer/picture.h"
#include "client/trainer/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    char path[128];
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    snprintf(place->folder, sizeof(place->folder), "/tmp/test_trainer_XXXXXX");
    *state = place;
    return mkdtemp(place->folder) ? 0 : -1;
}

static const char *in(struct place *place, const char *name)
{
    snprintf(place->path, sizeof(place->path), "%s/%s", place->folder, name);
    return place->path;
}

static int teardown(void **state)
{
    static const char *const names[] = {
        "a.png",          "a.png.new",   "summary.json", "summary.json.new", "frames.png",
        "frames.png.new", ".restored.0", ".restored.1",  ".restored.2"};
    struct place *place = *state;
    int r;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        unlink(in(place, names[i]));
    }
    /* Fails if anything else was left behind. */
    r = rmdir(place->folder);
    free(place);
    return r;
}

/* RGB bytes of a PNG file. The caller frees them. */
static uint8_t *png_load(const char *path, int32_t *ret_width, int32_t *ret_height)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    uint8_t *rgb;

    assert_true(png_image_begin_read_from_file(&image, path));
    image.format = PNG_FORMAT_RGB;
    rgb = malloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    *ret_width = (int32_t)image.width;
    *ret_height = (int32_t)image.height;
    return rgb;
}

static void picture_decodes_back(void **state)
{
    const char *path = in(*state, "a.png");
    struct picture picture;
    uint8_t tile[4 * 3 * 3];
    uint8_t *back;
    int32_t width;
    int32_t height;

    for (size_t i = 0; i < sizeof(tile); i++) {
        tile[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(picture_init(&picture, 10, 8, 200), 0);
    picture_paste(&picture, 2, 3, tile, 4, 3);
    /* Half of this one falls outside. */
    picture_paste(&picture, -2, -1, tile, 4, 3);
    assert_int_equal(picture_write(&picture, path), 0);
    back = png_load(path, &width, &height);
    assert_int_equal(width, 10);
    assert_int_equal(height, 8);
    assert_memory_equal(back, picture.rgb, 10 * 8 * 3);
    assert_memory_equal(back + (3 * 10 + 2) * 3, tile, 4 * 3);
    assert_memory_equal(back, tile + (1 * 4 + 2) * 3, 2 * 3);
    assert_int_equal(back[10 * 8 * 3 - 1], 200);
    free(back);
    picture_deinit(&picture);
}

static void picture_refuses_impossible_sizes(void **state)
{
    struct picture picture;

    (void)state;
    assert_int_equal(picture_init(&picture, 0, 8, 0), -EINVAL);
    assert_int_equal(picture_init(&picture, 70000, 8, 0), -EINVAL);
}

static void unwritable_picture_is_an_error_and_leaves_nothing(void **state)
{
    struct picture picture;

    assert_int_equal(picture_init(&picture, 300, 300, 1), 0);
    assert_int_equal(picture_write(&picture, in(*state, "missing/a.png")), -ENOENT);
    picture_deinit(&picture);
}

static int32_t blue_dots(const struct picture *picture)
{
    int32_t count = 0;

    for (int32_t i = 0; i < picture->width * picture->height; i++) {
        const uint8_t *p = picture->rgb + i * 3;

        count += p[0] == 0x20 && p[1] == 0x60 && p[2] == 0xc0;
    }
    return count;
}

static void curve_falls_from_left_to_right_and_leaves_out_what_is_no_number(void **state)
{
    const double values[] = {1, 0.5, 0.25, NAN, 0.1, -1, 0.05};
    struct picture picture;

    (void)state;
    assert_int_equal(picture_init(&picture, 200, 100, 255), 0);
    picture_curve(&picture, values, 7);
    assert_in_range(blue_dots(&picture), 60, 2000);
    picture_deinit(&picture);

    assert_int_equal(picture_init(&picture, 200, 100, 255), 0);
    picture_curve(&picture, values, 0);
    picture_curve(&picture, values + 3, 1);
    assert_int_equal(blue_dots(&picture), 0);
    picture_deinit(&picture);

    /* Too small for its margins. */
    assert_int_equal(picture_init(&picture, 20, 20, 255), 0);
    picture_curve(&picture, values, 7);
    assert_int_equal(blue_dots(&picture), 0);
    picture_deinit(&picture);
}

/* Six slices of 1 x 2 patches; rank 0 holds even tokens, rank 1 odd ones, rank 2 nothing. */
static const struct grid gallery_grid = {6, 1, 2};
#define TOKENS 12

static uint8_t gallery_value(int row, int64_t token)
{
    return (uint8_t)(row * 80 + token * 3);
}

static void share_write(const char *folder, int32_t rank, int64_t tokens)
{
    struct seqsync_chunk chunks[TOKENS];
    struct part part = {.chunks = chunks};
    uint8_t *pixels[GALLERY_ROWS_N];

    for (int i = 0; i < GALLERY_ROWS_N; i++) {
        pixels[i] = calloc(TOKENS, PATCH_VALUES);
    }
    for (int64_t g = rank; rank < 2 && g < tokens; g += 2, part.rows++, part.chunk_count++) {
        chunks[part.chunk_count] = (struct seqsync_chunk){
            .first = g, .count = 1, .row = part.rows, .position = g, .rank = (uint32_t)rank};
        for (int i = 0; i < GALLERY_ROWS_N; i++) {
            memset(pixels[i] + part.rows * PATCH_VALUES, gallery_value(i, g), PATCH_VALUES);
        }
    }
    assert_int_equal(
        gallery_write(folder, rank, &gallery_grid, &part, (const uint8_t *const *)pixels), 0);
    for (int i = 0; i < GALLERY_ROWS_N; i++) {
        free(pixels[i]);
    }
}

static void gallery_puts_the_shares_of_all_ranks_together(void **state)
{
    static const int64_t slices[] = {0, 1, 3, 4};
    struct place *place = *state;
    int32_t width;
    int32_t height;
    uint8_t *rgb;

    for (int32_t rank = 0; rank < 3; rank++) {
        share_write(place->folder, rank, TOKENS);
    }
    assert_int_equal(gallery_compose(place->folder, 3, &gallery_grid, in(place, "frames.png")), 0);
    rgb = png_load(in(place, "frames.png"), &width, &height);
    assert_int_equal(width, 4 * (16 + 4) - 4);
    assert_int_equal(height, 3 * (8 + 4) - 4);
    for (int row = 0; row < 3; row++) {
        for (int column = 0; column < 4; column++) {
            for (int64_t w = 0; w < 2; w++) {
                int64_t x = column * 20 + w * 8 + 7;
                int64_t y = row * 12 + 7;

                assert_int_equal(rgb[(y * width + x) * 3],
                                 gallery_value(row, slices[column] * 2 + w));
            }
        }
    }
    assert_int_equal(access(in(place, ".restored.0"), F_OK), -1);
    free(rgb);
}

static void gallery_with_a_patch_missing_is_refused(void **state)
{
    struct place *place = *state;

    share_write(place->folder, 0, TOKENS);
    share_write(place->folder, 1, TOKENS - 4);
    assert_int_equal(gallery_compose(place->folder, 2, &gallery_grid, in(place, "frames.png")),
                     -ENODATA);
    assert_int_equal(access(in(place, "frames.png"), F_OK), -1);
}

static void gallery_with_a_patch_twice_is_refused(void **state)
{
    struct place *place = *state;
    char first[128];

    share_write(place->folder, 0, TOKENS);
    snprintf(first, sizeof(first), "%s", in(place, ".restored.0"));
    assert_int_equal(rename(first, in(place, ".restored.1")), 0);
    share_write(place->folder, 0, TOKENS);
    assert_int_equal(gallery_compose(place->folder, 2, &gallery_grid, in(place, "frames.png")),
                     -ENODATA);
}

static void gallery_without_a_share_says_so(void **state)
{
    struct place *place = *state;

    share_write(place->folder, 0, TOKENS);
    assert_int_equal(gallery_compose(place->folder, 2, &gallery_grid, in(place, "frames.png")),
                     -ENOENT);
}

static void difference_of_losses_is_relative_and_never_hides_nan(void **state)
{
    double a[] = {1, 2, 4};
    double b[] = {1, 2.2, 4};
    double c[] = {1, NAN, 4};
    const struct losses one = {a, 3};
    const struct losses two = {b, 2};
    const struct losses bad = {c, 3};
    const struct losses none = {a, 0};

    (void)state;
    assert_true(fabs(losses_difference(&one, &two) - 0.2 / 2.2) < 1e-12);
    assert_true(losses_difference(&one, &one) == 0);
    assert_true(isnan(losses_difference(&one, &bad)));
    assert_true(isnan(losses_difference(&one, &none)));
}

static void summary_reads_back(void **state)
{
    static const char *const images[] = {"loss.png", "frames.png"};
    const char *path = in(*state, "summary.json");
    double single[] = {0.25, 0.125};
    double many[] = {0.25, 0.1250001, 0.1};
    const double seconds[] = {2, 1, 1.5};
    const struct rank_report ranks[] = {{.rows = 10, .train_ns = 100, .wait_ns = 5}, {.rows = 11}};
    const struct summary summary = {.nodes = 1,
                                    .workers = 2,
                                    .tokens = 21,
                                    .evaluated = true,
                                    .evaluation_loss_first = 0.5,
                                    .evaluation_loss_last = 0.1,
                                    .psnr_noised_db = 11,
                                    .psnr_restored_db = 21,
                                    .single_process = {single, 2},
                                    .distributed = {many, 3},
                                    .step_seconds = seconds,
                                    .tokens_per_second = 1234.5,
                                    .exposed_wait_fraction = 0.02,
                                    .ranks = ranks,
                                    .images = images,
                                    .image_count = 2};
    struct losses back;
    json_t *root;

    assert_int_equal(summary_write(&summary, path, false), 0);
    root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "steps")), 3);
    assert_int_equal(json_integer_value(json_object_get(root, "workers")), 2);
    assert_int_equal(json_array_size(json_object_get(root, "single_process_loss")), 2);
    assert_int_equal(json_array_size(json_object_get(root, "step_seconds")), 3);
    assert_int_equal(json_array_size(json_object_get(root, "images")), 2);
    assert_int_equal(json_array_size(json_object_get(root, "ranks")), 2);
    assert_true(fabs(json_real_value(json_object_get(root, "max_relative_loss_difference")) -
                     1e-7 / 0.1250001) < 1e-12);
    json_decref(root);

    assert_int_equal(losses_read(path, &back), 0);
    assert_int_equal(back.count, 3);
    assert_true(fabs(back.values[1] - many[1]) < 1e-11);
    free(back.values);
}

static void what_is_not_known_is_null_in_the_summary(void **state)
{
    const char *path = in(*state, "summary.json");
    const struct rank_report ranks[1] = {{0}};
    double loss[] = {NAN};
    const struct summary summary = {.workers = 1, .ranks = ranks, .distributed = {loss, 1}};
    json_t *root;

    assert_int_equal(summary_write(&summary, path, false), 0);
    root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_null(json_object_get(root, "evaluation_loss_last")));
    assert_true(json_is_null(json_object_get(root, "psnr_restored_db")));
    assert_true(json_is_null(json_object_get(root, "max_relative_loss_difference")));
    assert_true(json_is_null(json_array_get(json_object_get(root, "distributed_loss"), 0)));
    json_decref(root);
}

static void file_that_holds_no_losses_is_refused(void **state)
{
    static const char *const texts[] = {"",  "{",          "{}",
                                        "3", "[1, \"x\"]", "{\"distributed_loss\": 3}"};
    const char *path = in(*state, "summary.json");
    struct losses losses;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        FILE *file = fopen(path, "w");

        fputs(texts[i], file);
        fclose(file);
        assert_int_equal(losses_read(path, &losses), -EBADMSG);
    }
    assert_int_equal(losses_read(in(*state, "missing"), &losses), -ENOENT);
}

static void full_disk_is_an_error(void **state)
{
    const struct rank_report ranks[1] = {{0}};
    const struct summary summary = {.workers = 1, .ranks = ranks};
    struct place *place = *state;

    /* The temporary name leads to a device on which every write fails. */
    assert_int_equal(symlink("/dev/full", in(place, "summary.json.new")), 0);
    assert_int_equal(summary_write(&summary, in(place, "summary.json"), false), -ENOSPC);
    assert_int_equal(access(in(place, "summary.json"), F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(picture_decodes_back),
        TEST(picture_refuses_impossible_sizes),
        TEST(unwritable_picture_is_an_error_and_leaves_nothing),
        TEST(curve_falls_from_left_to_right_and_leaves_out_what_is_no_number),
        TEST(gallery_puts_the_shares_of_all_ranks_together),
        TEST(gallery_with_a_patch_missing_is_refused),
        TEST(gallery_with_a_patch_twice_is_refused),
        TEST(gallery_without_a_share_says_so),
        TEST(difference_of_losses_is_relative_and_never_hides_nan),
        TEST(summary_reads_back),
        TEST(what_is_not_known_is_null_in_the_summary),
        TEST(file_that_holds_no_losses_is_refused),
        TEST(full_disk_is_an_error),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
