#include "client/trainer/position.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Longest wave lengths over 2 pi: clips are at most some hundred patches long. */
#define EMBEDDING_PERIOD 1000.0
#define ROTARY_PERIOD 100.0

static void grid_place(const struct grid *grid, int64_t index, int64_t ret[3])
{
    ret[2] = index % grid->w;
    ret[1] = index / grid->w % grid->h;
    ret[0] = index / grid->w / grid->h;
}

static void axis_fill(struct position *position, int axis, int64_t length)
{
    int64_t half = position->axis_width / 2;
    int64_t pairs = position->pairs[axis];

    for (int64_t x = 0; x < length; x++) {
        float *embedding = position->embedding[axis] + x * position->axis_width;

        for (int64_t i = 0; i < half; i++) {
            double angle = (double)x * pow(EMBEDDING_PERIOD, -(double)i / (double)half);

            embedding[i] = (float)sin(angle);
            embedding[half + i] = (float)cos(angle);
        }
        for (int64_t i = 0; i < pairs; i++) {
            double angle = (double)x * pow(ROTARY_PERIOD, -(double)i / (double)pairs);

            position->cosine[axis][x * pairs + i] = (float)cos(angle);
            position->sine[axis][x * pairs + i] = (float)sin(angle);
        }
    }
}

int position_init(struct position *position, const struct model *model)
{
    const struct grid *grid = &model->shape.grid;
    const int64_t length[3] = {grid->t, grid->h, grid->w};
    int64_t pairs = model->head_dim / 2;

    *position = (struct position){.grid = *grid, .width = model->shape.width};
    position->axis_width = model->shape.width / 6 * 2;
    position->pairs[1] = pairs * 3 / 8;
    position->pairs[2] = pairs * 3 / 8;
    position->pairs[0] = pairs - 2 * position->pairs[1];
    for (int a = 0; a < 3; a++) {
        size_t wide = (size_t)(length[a] * position->axis_width);
        size_t turned = (size_t)(length[a] * position->pairs[a]);

        position->embedding[a] = calloc(wide + 1, sizeof(float));
        position->cosine[a] = calloc(turned + 1, sizeof(float));
        position->sine[a] = calloc(turned + 1, sizeof(float));
        if (!position->embedding[a] || !position->cosine[a] || !position->sine[a]) {
            position_deinit(position);
            return -ENOMEM;
        }
        axis_fill(position, a, length[a]);
    }
    return 0;
}

void position_deinit(struct position *position)
{
    for (int a = 0; a < 3; a++) {
        free(position->embedding[a]);
        free(position->cosine[a]);
        free(position->sine[a]);
    }
    *position = (struct position){0};
}

void position_add(const struct position *position, int64_t index, float *x)
{
    int64_t place[3];

    grid_place(&position->grid, index, place);
    for (int a = 0; a < 3; a++) {
        const float *embedding = position->embedding[a] + place[a] * position->axis_width;

        for (int64_t i = 0; i < position->axis_width; i++) {
            *x++ += embedding[i];
        }
    }
}

void position_angles(const struct position *position, int64_t index, float *ret_cosine,
                     float *ret_sine)
{
    int64_t place[3];

    grid_place(&position->grid, index, place);
    for (int a = 0; a < 3; a++) {
        int64_t pairs = position->pairs[a];
        size_t bytes = (size_t)pairs * sizeof(float);

        memcpy(ret_cosine, position->cosine[a] + place[a] * pairs, bytes);
        memcpy(ret_sine, position->sine[a] + place[a] * pairs, bytes);
        ret_cosine += pairs;
        ret_sine += pairs;
    }
}
