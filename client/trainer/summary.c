#include "client/trainer/summary.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

double losses_difference(const struct losses *a, const struct losses *b)
{
    size_t count = a->count < b->count ? a->count : b->count;
    double most = count ? 0 : NAN;

    for (size_t i = 0; i < count; i++) {
        double size = fmax(fabs(a->values[i]), fabs(b->values[i]));
        double difference = size > 0 ? fabs(a->values[i] - b->values[i]) / size : 0;

        /* A loss that is not a number must not look like agreement. */
        if (isnan(difference)) {
            return NAN;
        }
        most = fmax(most, difference);
    }
    return most;
}

static int losses_take(json_t *array, struct losses *ret)
{
    size_t count = json_array_size(array);
    double *values;

    if (!json_is_array(array)) {
        return -EBADMSG;
    }
    values = calloc(count + 1, sizeof(*values));
    if (!values) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_array_get(array, i);

        if (!json_is_number(value)) {
            free(values);
            return -EBADMSG;
        }
        values[i] = json_number_value(value);
    }
    *ret = (struct losses){.values = values, .count = count};
    return 0;
}

int losses_read(const char *path, struct losses *ret)
{
    FILE *file = fopen(path, "rbe");
    json_error_t error;
    json_t *root;
    json_t *array;
    int r;

    if (!file) {
        return -errno;
    }
    root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    fclose(file);
    if (!root) {
        return -EBADMSG;
    }
    array = json_is_object(root) ? json_object_get(root, "distributed_loss") : root;
    r = losses_take(array, ret);
    json_decref(root);
    return r;
}

/* JSON has no NaN: what is not known is null. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *losses_json(const struct losses *losses)
{
    json_t *array = json_array();

    for (size_t i = 0; i < losses->count; i++) {
        json_array_append_new(array, real(losses->values[i]));
    }
    return array;
}

/* The first step is slower than the others: it touches all memory for the first time. */
static json_t *step_seconds_json(const struct summary *summary)
{
    json_t *array = json_array();

    for (size_t i = 0; summary->step_seconds && i < summary->distributed.count; i++) {
        json_array_append_new(array, real(summary->step_seconds[i]));
    }
    return array;
}

static json_t *images_json(const struct summary *summary)
{
    json_t *array = json_array();

    for (size_t i = 0; i < summary->image_count; i++) {
        json_array_append_new(array, json_string(summary->images[i]));
    }
    return array;
}

static json_t *ranks_json(const struct summary *summary)
{
    json_t *array = json_array();

    for (int32_t i = 0; i < summary->workers; i++) {
        const struct rank_report *rank = &summary->ranks[i];
        json_t *object = json_object();

        json_object_set_new(object, "rank", json_integer(i));
        json_object_set_new(object, "tokens", json_integer((json_int_t)rank->rows));
        json_object_set_new(object, "private_bytes_peak",
                            json_integer((json_int_t)rank->private_bytes));
        json_object_set_new(object, "shared_bytes", json_integer((json_int_t)rank->shared_bytes));
        json_object_set_new(object, "resident_bytes_peak",
                            json_integer((json_int_t)rank->resident_bytes));
        json_object_set_new(object, "train_seconds", json_real(rank->train_ns * 1e-9));
        json_object_set_new(object, "cpu_seconds", json_real(rank->cpu_ns * 1e-9));
        json_object_set_new(object, "wait_fraction",
                            real(rank->train_ns > 0 ? rank->wait_ns / rank->train_ns : 0));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *summary_json(const struct summary *s)
{
    json_t *root = json_object();
    double unknown = s->evaluated ? 1 : NAN;

    json_object_set_new(root, "nodes", json_integer(s->nodes));
    json_object_set_new(root, "workers", json_integer(s->workers));
    json_object_set_new(root, "tokens", json_integer(s->tokens));
    json_object_set_new(root, "parameters", json_integer(s->parameters));
    json_object_set_new(root, "steps", json_integer((json_int_t)s->distributed.count));
    json_object_set_new(root, "skipped_steps", json_integer(s->skipped_steps));
    json_object_set_new(root, "evaluation_loss_first", real(s->evaluation_loss_first * unknown));
    json_object_set_new(root, "evaluation_loss_last", real(s->evaluation_loss_last * unknown));
    json_object_set_new(root, "evaluation_velocity_loss_first",
                        real(s->evaluation_velocity_first * unknown));
    json_object_set_new(root, "evaluation_velocity_loss_last",
                        real(s->evaluation_velocity_last * unknown));
    json_object_set_new(root, "psnr_noised_db", real(s->psnr_noised_db * unknown));
    json_object_set_new(root, "psnr_restored_db", real(s->psnr_restored_db * unknown));
    json_object_set_new(root, "single_process_loss", losses_json(&s->single_process));
    json_object_set_new(root, "distributed_loss", losses_json(&s->distributed));
    json_object_set_new(root, "max_relative_loss_difference",
                        real(losses_difference(&s->single_process, &s->distributed)));
    json_object_set_new(root, "tokens_per_second", real(s->tokens_per_second));
    json_object_set_new(root, "exposed_wait_fraction", real(s->exposed_wait_fraction));
    json_object_set_new(root, "step_seconds", step_seconds_json(s));
    json_object_set_new(root, "images", images_json(s));
    json_object_set_new(root, "ranks", ranks_json(s));
    return root;
}

static int text_write(const char *text, const char *path)
{
    size_t length = strlen(path) + sizeof(".new");
    char *fresh = malloc(length);
    FILE *file;
    int r = 0;

    if (!fresh) {
        return -ENOMEM;
    }
    snprintf(fresh, length, "%s.new", path);
    file = fopen(fresh, "wbe");
    if (!file) {
        r = -errno;
        free(fresh);
        return r;
    }
    if (fputs(text, file) < 0 || fputc('\n', file) < 0) {
        r = -EIO;
    }
    /* A full disk may show only here. */
    if (fclose(file) != 0) {
        r = -errno;
    }
    if (r == 0 && rename(fresh, path) < 0) {
        r = -errno;
    }
    if (r < 0) {
        unlink(fresh);
    }
    free(fresh);
    return r;
}

int summary_write(const struct summary *summary, const char *path, bool print)
{
    json_t *root = summary_json(summary);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    int r;

    json_decref(root);
    if (!text) {
        return -ENOMEM;
    }
    r = text_write(text, path);
    if (r == 0 && print && puts(text) < 0) {
        r = -EIO;
    }
    free(text);
    return r;
}
