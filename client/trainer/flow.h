/*
 * Rectified flow (Liu, Gong & Liu 2022): the noised patch is x_t = (1 - t) clean + t noise, and the
 * velocity noise - clean leads from one to the other. The network predicts the clean patch; the
 * velocity follows as (x_t - prediction) / t. Pixels are bytes, clean values pixel * 2 / 255 - 1.
 *
 * Losses are sums with counts, over the rank's own patches: nothing here divides.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_FLOW_H
#define SEQSYNC_CLIENT_TRAINER_FLOW_H

#include <stdint.h>

#include "client/trainer/pass.h"

#define TIMESTEP_MIN 0.02
#define TIMESTEP_MAX 0.98

struct loss {
    double clean;    /* sum of (prediction - clean)^2 */
    double velocity; /* sum of (predicted velocity - velocity)^2 = that / t^2 */
    int64_t count;   /* values summed */
};

/* The timestep of @sequence under the step's @seed, TIMESTEP_MIN .. TIMESTEP_MAX. */
double flow_timestep(uint64_t seed, uint32_t sequence);

/*
 * Fills the pass's noised patches for the rows of @part from @pixels[rows][PATCH_VALUES]. The noise
 * of a value depends on @seed and on its global index.
 */
void flow_noise(struct pass *pass, const struct part *part, const uint8_t *pixels, const double *t,
                uint64_t seed);

/* After pass_forward: the loss of the rows of @part. */
struct loss flow_loss(struct pass *pass, const struct part *part, const uint8_t *pixels,
                      const double *t);

/* The same, and backward through the head: d_x and the head's gradients of the sum of squares. */
struct loss flow_loss_backward(struct pass *pass, const struct part *part, struct link *link,
                               const uint8_t *pixels, const double *t);

/* After pass_forward: the predicted clean patches as bytes, out[rows][PATCH_VALUES]. */
void flow_restore(struct pass *pass, const struct part *part, uint8_t *out);

/* The noised patches as bytes, as a picture of them shows them. */
void flow_show_noised(const struct pass *pass, uint8_t *out);

/* Sum of squared differences of @n bytes. */
double pixels_difference(const uint8_t *a, const uint8_t *b, int64_t n);

/* Peak signal-to-noise ratio in dB of a mean squared difference of bytes; 99 at most. */
double psnr_db(double sum, double count);

#endif
