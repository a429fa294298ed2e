/*
 * One forward and backward pass over the rows that this rank holds. A pass owns the activations of
 * those rows, layer by layer, and scratch for ROWS_MAX of them; nothing in it grows with the length
 * of the whole sequence. Keys and values are not here: they lie in the link's memory, where the
 * other ranks read them.
 *
 * Per row and layer it keeps 11 x width + heads floats: the input, q and k before and q after their
 * norm, the attention's output, both branches' outputs, the MLP before its GELU. What is cheap to
 * compute again (norms, GELU) is.
 *
 * One thread. Errors are those of the link and of libseqsync-attention, or -ENOMEM.
 */
#ifndef SEQSYNC_CLIENT_TRAINER_PASS_H
#define SEQSYNC_CLIENT_TRAINER_PASS_H

#include <seqsync/attention.h>

#include "client/trainer/condition.h"
#include "client/trainer/kernels.h"
#include "client/trainer/link.h"
#include "client/trainer/model.h"
#include "client/trainer/part.h"
#include "client/trainer/position.h"

struct layer_rows {
    float *x;           /* [rows][width] input */
    float *qk;          /* [rows][2][width] before norm and rotation */
    float *q;           /* [rows][width] after them */
    float *o;           /* [rows][width] output of attention */
    float *lse;         /* [rows][heads] */
    float *y_attention; /* [rows][width] before the gate */
    float *u;           /* [rows][4 width] before GELU */
    float *y_mlp;       /* [rows][width] before the gate */
};

struct scratch {
    float *h;    /* [ROWS_MAX][width] after norm and modulation */
    float *x;    /* [ROWS_MAX][width] */
    float *y;    /* [ROWS_MAX][width] */
    float *wide; /* [ROWS_MAX][4 width, or PATCH_VALUES if more] */
    float *deep; /* [ROWS_MAX][4 width] */
    float *mean; /* [ROWS_MAX] */
    float *rstd;
    float *cosine; /* [head_dim / 2] */
    float *sine;
};

struct pass {
    const struct model *model; /* borrowed */
    const struct trainer_kernels *kernels;
    struct position position;
    struct condition condition;
    struct seqsync_attention *attention;
    int64_t rows;
    float *noised; /* [rows][PATCH_VALUES] x_t, which the caller fills before pass_forward */
    struct layer_rows *layers;
    float *x_last; /* [rows][width] input of the head */
    float *d_x;    /* [rows][width] gradient of the stream, from the head down */
    float *d_o;    /* [rows][width] gradient of attention's output, then of its input */
    float *d_q;
    float *d_k;
    float *d_v;
    float *delta; /* [rows][heads] */
    struct scratch scratch;
};

/* Makes a pass for batches of @sequences sequences. Borrows @model. Negative errno or status. */
int pass_init(struct pass *pass, const struct model *model, uint32_t sequences);
void pass_deinit(struct pass *pass);

/* Makes room for @rows rows. Keeps nothing of the last pass if that changes. -ENOMEM. */
int pass_resize(struct pass *pass, int64_t rows);

/* Embedding and all blocks; t[sequences] are the timesteps. Leaves x_last for the head. */
int pass_forward(struct pass *pass, const struct part *part, struct link *link, const double *t);

/*
 * All blocks and the embedding, after the head has filled d_x and its gradients. @count goes with
 * each bucket: how many values this rank's loss summed.
 */
int pass_backward(struct pass *pass, const struct part *part, struct link *link, int64_t count);

/* Before the head's first rows: clears its gradients. */
void pass_backward_begin(struct pass *pass, struct link *link);

#endif
