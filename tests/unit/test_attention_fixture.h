/*
 * A problem of attention, its answer by the library (cut into tiles in any way) and by definition
 * in double precision, and bounds on their difference that follow from the sizes and from f32.
 */
#ifndef SEQSYNC_TESTS_UNIT_TEST_ATTENTION_FIXTURE_H
#define SEQSYNC_TESTS_UNIT_TEST_ATTENTION_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <seqsync/attention.h>

struct problem {
    int32_t heads;
    int32_t heads_kv;
    int32_t head_dim;
    float scale; /* 0: the default */
    int64_t queries;
    int64_t keys;
    int64_t q_first; /* global indices of the first query and key */
    int64_t k_first;
    enum seqsync_mask mask;
    int64_t window_left;
    int64_t window_right;
    int64_t q_gap; /* unused elements between rows */
    int64_t kv_gap;
    float *q, *k, *v, *d_o;
};

/* What the library wrote. Gaps between rows hold the sentinel -77 where nothing was written. */
struct answer {
    float *o, *lse, *delta, *dq, *dk, *dv;
};

/* By definition; dense: [row][head][dim]. */
struct reference {
    double *o, *lse, *dq, *dk, *dv;
};

/* Largest allowed differences to the reference. */
struct bounds {
    double o, lse, dq, dk, dv;
};

#define SENTINEL (-77.0f)

int64_t problem_q_stride(const struct problem *problem);
int64_t problem_kv_stride(const struct problem *problem);
bool problem_sees(const struct problem *problem, int64_t query, int64_t key);

/* Fills the tensors with uniform values in -size .. size that depend on @seed only. Free with
 * problem_deinit. */
void problem_init(struct problem *problem, uint32_t seed, float size);
void problem_deinit(struct problem *problem);

/* The tile of queries q .. q + q_count and keys k .. k + k_count of @problem. */
struct seqsync_tile problem_tile(const struct problem *problem, int64_t q, int64_t q_count,
                                 int64_t k, int64_t k_count);

/* Forward and backward over q_pieces x k_pieces tiles of nearly equal size. */
void answer_init(struct answer *answer, const struct problem *problem, int64_t q_pieces,
                 int64_t k_pieces);
void answer_deinit(struct answer *answer);

/* Whether two answers are equal bit for bit. */
bool answer_equals(const struct answer *a, const struct answer *b, const struct problem *problem);

void reference_init(struct reference *reference, const struct problem *problem);
void reference_deinit(struct reference *reference);

/* sum of o * d_o of the forward by definition, the loss whose gradients are dq, dk and dv. */
double reference_loss(const struct problem *problem);

/* @merges: how many blocks of keys and tiles a row's result is put together from. Non-finite inputs
 * do not count. */
struct bounds bounds_of(const struct problem *problem, const struct reference *reference,
                        int64_t merges);

/*
 * cmocka assertions: every value within its bound, non-finite exactly where the reference is, gaps
 * not written.
 */
void assert_answer(const struct answer *answer, const struct reference *reference,
                   const struct bounds *bounds, const struct problem *problem);

/* cmocka's assert_float_equal, in double precision. */
void assert_near(double value, double expected, double bound);

#endif
