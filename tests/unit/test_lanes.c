#include "daemon/io/lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>

#define JOBS 1000

struct count_job {
    struct lane_job lane;
    struct fixture *fixture;
};

struct fixture {
    uv_loop_t loop;
    struct lanes *lanes;
    atomic_uint runs;
    uint32_t dones;
    uint32_t resubmits;
    struct count_job jobs[JOBS];
};

static void count_run(struct lane_job *lane)
{
    struct count_job *job = (struct count_job *)(void *)lane;
    atomic_fetch_add(&job->fixture->runs, 1);
}

static void count_done(struct lane_job *lane)
{
    struct count_job *job = (struct count_job *)(void *)lane;
    struct fixture *fixture = job->fixture;

    fixture->dones++;
    if (fixture->resubmits > 0) {
        fixture->resubmits--;
        lanes_submit(fixture->lanes, lane);
    } else if (lanes_pending(fixture->lanes) == 0) {
        uv_stop(&fixture->loop);
    }
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    uv_loop_init(&fixture->loop);
    if (lanes_new(&fixture->loop, 3, &fixture->lanes) != 0) {
        return -1;
    }
    for (int i = 0; i < JOBS; i++) {
        fixture->jobs[i] = (struct count_job){{.run = count_run, .done = count_done}, fixture};
    }
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    lanes_close(fixture->lanes);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    const int r = uv_loop_close(&fixture->loop);
    free(fixture);
    return r;
}

static void lanes_run_each_job_once(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < JOBS; i++) {
        lanes_submit(fixture->lanes, &fixture->jobs[i].lane);
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(atomic_load(&fixture->runs), JOBS);
    assert_int_equal(fixture->dones, JOBS);
    assert_int_equal(lanes_completed(fixture->lanes), JOBS);
}

static void lanes_take_a_job_again_from_its_completion(void **state)
{
    struct fixture *fixture = *state;

    fixture->resubmits = 500;
    lanes_submit(fixture->lanes, &fixture->jobs[0].lane);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(atomic_load(&fixture->runs), 501);
}

static void lanes_report_what_is_queued_when_they_close(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < JOBS; i++) {
        lanes_submit(fixture->lanes, &fixture->jobs[i].lane);
    }
    lanes_close(fixture->lanes);
    assert_int_equal(fixture->dones, JOBS);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(lanes_new(&fixture->loop, 1, &fixture->lanes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lanes_run_each_job_once, setup, teardown),
        cmocka_unit_test_setup_teardown(lanes_take_a_job_again_from_its_completion, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lanes_report_what_is_queued_when_they_close, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
