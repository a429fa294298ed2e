#include "client/trainer/flow.h"

#include <math.h>

#include "client/trainer/head.h"
#include "client/trainer/noise.h"

double flow_timestep(uint64_t seed, uint32_t sequence)
{
    double u = noise_uniform(seed, STREAM_TIMESTEP, sequence);

    return TIMESTEP_MIN + (TIMESTEP_MAX - TIMESTEP_MIN) * u;
}

void flow_noise(struct pass *pass, const struct part *part, const uint8_t *pixels, const double *t,
                uint64_t seed)
{
    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t n = rows.count * PATCH_VALUES;
        const uint8_t *clean = pixels + rows.row * PATCH_VALUES;
        float *x = pass->noised + rows.row * PATCH_VALUES;
        float signal = (float)(1.0 - t[rows.sequence]);
        float noise = (float)t[rows.sequence];

        noise_fill(seed, STREAM_NOISE, (uint64_t)rows.global * PATCH_VALUES, n, x);
        for (int64_t i = 0; i < n; i++) {
            x[i] = signal * ((float)clean[i] * (2.0f / 255.0f) - 1.0f) + noise * x[i];
        }
    }
}

static void loss_add(struct loss *loss, double clean, double t, int64_t count)
{
    loss->clean += clean;
    loss->velocity += clean / (t * t);
    loss->count += count;
}

struct loss flow_loss(struct pass *pass, const struct part *part, const uint8_t *pixels,
                      const double *t)
{
    struct loss loss = {0};

    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t n = rows.count * PATCH_VALUES;
        float *out = head_forward(pass, &rows);
        double sum =
            pass->kernels->difference(out, pixels + rows.row * PATCH_VALUES, n, /* factor= */ 0);

        loss_add(&loss, sum, t[rows.sequence], n);
    }
    return loss;
}

struct loss flow_loss_backward(struct pass *pass, const struct part *part, struct link *link,
                               const uint8_t *pixels, const double *t)
{
    float *gradient = link->gradients[BUCKET_HEAD(pass->model)];
    struct loss loss = {0};

    pass_backward_begin(pass, link);
    for (struct rows rows = {0}; rows_next(part, &rows);) {
        int64_t n = rows.count * PATCH_VALUES;
        float *out = head_forward(pass, &rows);
        double sum =
            pass->kernels->difference(out, pixels + rows.row * PATCH_VALUES, n, /* factor= */ 2);

        head_backward(pass, &rows, out, gradient);
        loss_add(&loss, sum, t[rows.sequence], n);
    }
    return loss;
}

static uint8_t to_byte(float x)
{
    float scaled = (x + 1.0f) * 127.5f + 0.5f;

    /* The comparisons are false for NaN, which becomes black. */
    if (scaled >= 255.0f) {
        return 255;
    }
    return scaled >= 0.0f ? (uint8_t)scaled : 0;
}

void flow_restore(struct pass *pass, const struct part *part, uint8_t *out)
{
    for (struct rows rows = {0}; rows_next(part, &rows);) {
        const float *clean = head_forward(pass, &rows);

        for (int64_t i = 0; i < rows.count * PATCH_VALUES; i++) {
            out[rows.row * PATCH_VALUES + i] = to_byte(clean[i]);
        }
    }
}

void flow_show_noised(const struct pass *pass, uint8_t *out)
{
    for (int64_t i = 0; i < pass->rows * PATCH_VALUES; i++) {
        out[i] = to_byte(pass->noised[i]);
    }
}

double pixels_difference(const uint8_t *a, const uint8_t *b, int64_t n)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < n; i++) {
        int32_t d = (int32_t)a[i] - (int32_t)b[i];

        sum += d * d;
    }
    return (double)sum;
}

double psnr_db(double sum, double count)
{
    double mean = count > 0 ? sum / count : 0;
    double db = mean > 0 ? 10.0 * log10(255.0 * 255.0 / mean) : 99.0;

    return db < 99.0 ? db : 99.0;
}
