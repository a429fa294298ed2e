/* Different states on different threads at once give the bits that one thread gives. */
#include <seqsync/attention.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/test_attention_fixture.h"

#define THREADS_N 4
#define TOKENS 300
#define WIDTH (2 * 16)
#define REPEATS 3

/* What one thread computes, and whether every call succeeded: asserted after it has ended. */
struct job {
    const struct problem *problem;
    float o[TOKENS * WIDTH];
    float lse[TOKENS * 2];
    float dq[TOKENS * WIDTH];
    float dk[TOKENS * WIDTH];
    float dv[TOKENS * WIDTH];
    float delta[TOKENS * 2];
    int status;
};

static void *job_run(void *argument)
{
    struct job *job = argument;
    const struct problem *p = job->problem;
    struct seqsync_attention_shape shape = {
        .size = sizeof(shape), .heads = 2, .heads_kv = 2, .head_dim = 16};
    struct seqsync_tile tile = problem_tile(p, 0, TOKENS, 0, TOKENS);
    struct seqsync_attention *attention = NULL;

    job->status = seqsync_attention_new(&shape, &attention);
    for (int i = 0; i < REPEATS && !job->status; i++) {
        memset(job->dq, 0, sizeof(job->dq));
        memset(job->dk, 0, sizeof(job->dk));
        memset(job->dv, 0, sizeof(job->dv));
        seqsync_attention_forward_begin(attention, TOKENS, job->o, WIDTH, job->lse);
        job->status = seqsync_attention_forward_tile(attention, &tile, p->q, WIDTH, p->k, p->v,
                                                     WIDTH, job->o, job->lse);
        if (job->status) {
            break;
        }
        seqsync_attention_backward_begin(attention, TOKENS, job->o, p->d_o, WIDTH, job->delta);
        job->status = seqsync_attention_backward_tile(attention, &tile, p->q, WIDTH, p->k, p->v,
                                                      WIDTH, p->d_o, job->lse, job->delta, job->dq,
                                                      job->dk, job->dv, WIDTH);
    }
    seqsync_attention_free(attention);
    return NULL;
}

static void states_on_different_threads_do_not_disturb_each_other(void **state)
{
    static struct job jobs[THREADS_N + 1];
    struct problem problem = {.heads = 2,
                              .heads_kv = 2,
                              .head_dim = 16,
                              .queries = TOKENS,
                              .keys = TOKENS,
                              .mask = SEQSYNC_MASK_CAUSAL};
    pthread_t threads[THREADS_N];

    (void)state;
    problem_init(&problem, 61, 1.0f);
    for (int i = 0; i <= THREADS_N; i++) {
        jobs[i].problem = &problem;
    }
    (void)job_run(&jobs[THREADS_N]);
    for (int i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, job_run, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (int i = 0; i < THREADS_N; i++) {
        assert_int_equal(jobs[i].status, SEQSYNC_OK);
        assert_memory_equal(jobs[i].o, jobs[THREADS_N].o, sizeof(jobs[i].o));
        assert_memory_equal(jobs[i].lse, jobs[THREADS_N].lse, sizeof(jobs[i].lse));
        assert_memory_equal(jobs[i].dq, jobs[THREADS_N].dq, sizeof(jobs[i].dq));
        assert_memory_equal(jobs[i].dk, jobs[THREADS_N].dk, sizeof(jobs[i].dk));
        assert_memory_equal(jobs[i].dv, jobs[THREADS_N].dv, sizeof(jobs[i].dv));
    }
    problem_deinit(&problem);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_on_different_threads_do_not_disturb_each_other),
    };

    seqsync_attention_init();
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
