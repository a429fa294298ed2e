/* Workers, daemons and links that are lost: survivors learn who, where and why in time. */
#include "tests/support/sim.h"

#include <seqsync/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Three nodes, so that the conductor, a witness and a victim are three. */
static const struct sim_script longest = {.job = "job",
                                          .world_size = 6,
                                          .steps = 100000,
                                          .exchange_count = 2,
                                          .bucket_count = 1,
                                          .think_us = 300,
                                          .collectives = true,
                                          .nodes = {0, 0, 1, 1, 2, 2}};

static struct sim *start_longest(uint64_t seed)
{
    struct sim *sim = sim_new(seed, 3);

    sim_start(sim, &longest);
    sim_elapse_ms(sim, 200);
    assert_true(sim_outcome(sim, "job", 0)->state == SIM_RUNNING);
    return sim;
}

static void expect_end(struct sim *sim, uint32_t rank, int32_t code, uint32_t within_ms,
                       const char *words)
{
    const struct sim_outcome *outcome = sim_outcome(sim, "job", rank);

    if (outcome->state != SIM_FAILED || outcome->code != code ||
        strstr(outcome->text, words) == NULL || outcome->ended_ns > (200 + within_ms) * SIM_MS) {
        sim_print_trace(sim);
        fail_msg("rank %u: state %d, code %d at %llu ms: %s", rank, (int)outcome->state,
                 outcome->code, (unsigned long long)(outcome->ended_ns / SIM_MS), outcome->text);
    }
}

/* D24: survivors get the error less than a second after it is known. */
static void a_killed_worker_ends_the_job_at_once(void **state)
{
    struct sim *sim = start_longest(1);

    (void)state;
    sim_kill_rank(sim, "job", 3);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 6; rank++) {
        if (rank != 3) {
            expect_end(sim, rank, SEQSYNC_ERR_WORKER_LOST, 100,
                       "rank 3 on node-b was lost: killed by signal 9");
            assert_int_equal(sim_outcome(sim, "job", rank)->rank, 3);
            assert_int_equal(sim_outcome(sim, "job", rank)->node, 1);
        }
    }
    sim_free(sim);
}

static void a_killed_daemon_ends_the_job_at_once(void **state)
{
    struct sim *sim = start_longest(2);

    (void)state;
    sim_kill(sim, 1);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 6; rank++) {
        if (rank / 2 != 1) {
            expect_end(sim, rank, SEQSYNC_ERR_PEER_LOST, 100,
                       "node node-b, which has ranks 2,3, was lost: the connection ended");
            assert_int_equal(sim_outcome(sim, "job", rank)->node, 1);
        }
    }
    sim_free(sim);
}

static void a_killed_conductor_ends_the_job_at_once(void **state)
{
    struct sim *sim = start_longest(3);

    (void)state;
    sim_kill(sim, 0);
    assert_true(sim_run(sim));
    for (uint32_t rank = 2; rank < 6; rank++) {
        expect_end(sim, rank, SEQSYNC_ERR_PEER_LOST, 100,
                   "node node-a, which conducts, was lost: the connection ended");
    }
    sim_free(sim);
}

static void a_vanished_host_is_noticed_by_its_silence(void **state)
{
    struct sim *sim = start_longest(4);

    (void)state;
    sim_vanish(sim, 2);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 4; rank++) {
        expect_end(sim, rank, SEQSYNC_ERR_PEER_LOST, SIM_SILENCE_MS + 200,
                   "node node-c, which has ranks 4,5, was lost: it has been silent for 2.0 s");
    }
    sim_free(sim);
}

/* D25: who is cut off from the conductor ends by itself; nobody commits on the other side alone. */
static void a_node_cut_off_ends_by_itself(void **state)
{
    struct sim *sim = start_longest(5);

    (void)state;
    sim_cut(sim, 2, 0);
    sim_cut(sim, 2, 1);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 6; rank++) {
        expect_end(sim, rank, SEQSYNC_ERR_PEER_LOST, SIM_SILENCE_MS + 300,
                   rank < 4 ? "node-c, which has ranks 4,5" : "node-a, which conducts");
    }
    sim_free(sim);
}

/* The conductor reaches both, but they do not reach each other: one of them says so. */
static void a_link_between_others_ends_the_job(void **state)
{
    struct sim *sim = start_longest(6);

    (void)state;
    sim_cut(sim, 1, 2);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 6; rank++) {
        expect_end(sim, rank, SEQSYNC_ERR_PEER_LOST, SIM_SILENCE_MS + 300, "was lost");
    }
    sim_free(sim);
}

/* D23, D26: after each loss, what is left takes the next job. */
static void the_next_job_runs_after_a_loss(void **state)
{
    struct sim_script next = longest;
    struct sim *sim = start_longest(7);

    (void)state;
    next.steps = 3;
    sim_kill(sim, 1);
    assert_true(sim_run(sim));
    sim_restart(sim, 1);
    sim_elapse_ms(sim, 50);
    sim_start(sim, &next);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 2)->state, SIM_DONE);
    sim_kill(sim, 0);
    sim_restart(sim, 0);
    sim_elapse_ms(sim, 50);
    sim_start(sim, &next);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 5)->state, SIM_DONE);
    sim_cut(sim, 0, 2);
    sim_elapse_ms(sim, 5000);
    sim_heal(sim, 0, 2);
    sim_elapse_ms(sim, 50);
    sim_start(sim, &next);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 4)->steps, 3);
    sim_free(sim);
}

static void a_silent_peer_is_up_again_when_it_is_heard(void **state)
{
    struct sim_script next = longest;
    struct sim *sim = start_longest(8);
    struct peer_view peer;

    (void)state;
    next.steps = 2;
    sim_latency(sim, 5000000); /* up to 5 s: silence without a lost connection */
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 2)->state, SIM_FAILED);
    sim_latency(sim, 1000);
    sim_elapse_ms(sim, 8000);
    engine_peer(sim_engine(sim, 0), 1, &peer);
    assert_true(peer.up);
    sim_start(sim, &next);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 2)->state, SIM_DONE);
    sim_free(sim);
}

/* ---- before the job is formed ---- */

/* D23: a participant that dies before the first step blocks nobody for ever. */
static void missing_ranks_are_named_at_the_join_timeout(void **state)
{
    struct sim *sim = sim_new(20, 3);

    (void)state;
    for (uint32_t rank = 0; rank < 6; rank++) {
        if (rank != 2) {
            sim_start_rank(sim, &longest, rank);
        }
    }
    sim_elapse_ms(sim, 100);
    sim_kill_rank(sim, "job", 4);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 6; rank++) {
        if (rank != 2 && rank != 4) {
            expect_end(sim, rank, SEQSYNC_ERR_TIMEOUT, SIM_JOIN_MS,
                       "ranks 2,4 of job job (6 in all) have not joined within 10 s");
        }
    }
    sim_free(sim);
}

static void a_worker_may_come_back_before_the_job_is_formed(void **state)
{
    struct sim_script script = longest;
    struct sim *sim = sim_new(21, 3);

    (void)state;
    script.steps = 2;
    for (uint32_t rank = 1; rank < 6; rank++) {
        sim_start_rank(sim, &script, rank);
    }
    sim_elapse_ms(sim, 100);
    sim_kill_rank(sim, "job", 4);
    sim_elapse_ms(sim, 100);
    sim_start_rank(sim, &script, 4);
    sim_start_rank(sim, &script, 0);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 4)->state, SIM_DONE);
    sim_free(sim);
}

static void a_lost_node_only_loses_its_joins(void **state)
{
    struct sim_script script = longest;
    struct sim *sim = sim_new(22, 3);

    (void)state;
    script.steps = 2;
    for (uint32_t rank = 1; rank < 6; rank++) {
        sim_start_rank(sim, &script, rank);
    }
    sim_elapse_ms(sim, 100);
    sim_kill(sim, 2);
    sim_elapse_ms(sim, 100);
    sim_restart(sim, 2);
    sim_elapse_ms(sim, 100);
    sim_start_rank(sim, &script, 4);
    sim_start_rank(sim, &script, 5);
    sim_start_rank(sim, &script, 0);
    assert_true(sim_run(sim));
    for (uint32_t rank = 0; rank < 6; rank++) {
        assert_int_equal(sim_outcome(sim, "job", rank)->state, SIM_DONE);
    }
    sim_free(sim);
}

/* Only the worker that comes second is turned away, wherever it comes. */
static void a_rank_that_is_taken_is_refused(void **state)
{
    struct sim_script script = longest, copy = longest;
    struct sim *sim = sim_new(23, 3);

    (void)state;
    script.steps = 500;
    sim_start(sim, &script);
    sim_elapse_ms(sim, 5);
    for (uint32_t node = 0; node < 3; node++) {
        sim_start_rank_on(sim, &copy, 3, node);
        sim_elapse_ms(sim, 20);
        expect_end(sim, 3, SEQSYNC_ERR_DUPLICATE, 100,
                   "rank 3 of job job has joined already, on node-b");
    }
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 0)->state, SIM_DONE);
    assert_int_equal(sim_outcome(sim, "job", 0)->steps, 500);
    sim_free(sim);
}

static void a_rank_that_waits_is_not_taken_twice(void **state)
{
    struct sim_script script = longest;
    struct sim *sim = sim_new(24, 3);

    (void)state;
    script.steps = 2;
    sim_start_rank(sim, &script, 1);
    sim_elapse_ms(sim, 20);
    sim_start_rank_on(sim, &script, 1, 2);
    sim_elapse_ms(sim, 20);
    expect_end(sim, 1, SEQSYNC_ERR_DUPLICATE, 0, "rank 1 of job job has joined already, on node-a");
    for (uint32_t rank = 0; rank < 6; rank++) {
        if (rank != 1) {
            sim_start_rank(sim, &script, rank);
        }
    }
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 5)->state, SIM_DONE);
    sim_free(sim);
}

static void another_world_size_or_policy_is_refused(void **state)
{
    struct sim_script larger = longest, other = longest;
    struct sim *sim = sim_new(25, 3);

    (void)state;
    larger.world_size = 7;
    other.nonfinite = 1;
    sim_start_rank(sim, &longest, 0);
    sim_elapse_ms(sim, 20);
    sim_start_rank(sim, &larger, 2);
    sim_start_rank(sim, &other, 3);
    sim_elapse_ms(sim, 20);
    expect_end(sim, 2, SEQSYNC_ERR_INVALID, 0,
               "rank 2 joins job job with a world size of 7, but others joined with 6");
    expect_end(sim, 3, SEQSYNC_ERR_INVALID, 0, "a policy for non-finite sums of 1");
    assert_int_equal(sim_outcome(sim, "job", 0)->state, SIM_RUNNING);
    sim_free(sim);
}

static void too_many_jobs_are_refused(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h",  "i",
                                        "j", "k", "l", "m", "n", "o", "p", "job"};
    struct sim_script scripts[17];
    struct sim *sim = sim_new(26, 2);

    (void)state;
    for (int i = 0; i < 17; i++) {
        scripts[i] = longest;
        scripts[i].job = names[i];
        scripts[i].world_size = 2;
        sim_start_rank_on(sim, &scripts[i], 0, (uint32_t)i % 2);
        sim_elapse_ms(sim, 5);
    }
    sim_elapse_ms(sim, 50);
    expect_end(sim, 0, SEQSYNC_ERR_NO_CAPACITY, 0, "rank 0 cannot join job job: as many jobs as");
    assert_int_equal(sim_outcome(sim, "p", 0)->state, SIM_RUNNING);
    sim_free(sim);
}

/* D22: a conductor that cannot be reached is an error with its name and the reason. */
static void an_absent_conductor_is_named(void **state)
{
    struct sim *sim = sim_new(27, 2);

    (void)state;
    sim_cut(sim, 0, 1); /* before the first connection */
    sim_start_rank(sim, &longest, 2);
    assert_true(sim_run(sim));
    expect_end(sim, 2, SEQSYNC_ERR_UNREACHABLE, SIM_JOIN_MS,
               "node node-a, which conducts, cannot be reached: it has not connected yet");
    sim_heal(sim, 0, 1);
    sim_elapse_ms(sim, 50);
    sim_kill(sim, 0);
    sim_elapse_ms(sim, 50);
    sim_start_rank(sim, &longest, 2);
    sim_elapse_ms(sim, 10); /* known to be down: no waiting */
    assert_string_equal(sim_outcome(sim, "job", 2)->text,
                        "node node-a, which conducts, cannot be reached: the connection ended");
    sim_free(sim);
}

static void workers_that_wait_hear_of_a_lost_conductor(void **state)
{
    struct sim *sim = sim_new(28, 2);

    (void)state;
    sim_start_rank(sim, &longest, 2);
    sim_elapse_ms(sim, 100);
    sim_kill(sim, 0);
    sim_elapse_ms(sim, 20);
    expect_end(sim, 2, SEQSYNC_ERR_PEER_LOST, 0, "node node-a, which conducts, was lost");
    sim_free(sim);
}

/* D43: all join in the same instant; the job is formed once. */
static void simultaneous_joins_form_one_job(void **state)
{
    struct sim_script script = longest;
    struct sim *sim = sim_new(29, 3);
    struct job_view view;

    (void)state;
    script.steps = 3;
    script.think_us = 0;
    sim_latency(sim, 1);
    sim_elapse_ms(sim, 10);
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    for (uint32_t node = 0; node < 3; node++) {
        assert_int_equal(engine_jobs(sim_engine(sim, node), &view, 1), 1);
        assert_int_equal(view.generation, 1);
        assert_int_equal(view.step, 3);
    }
    sim_free(sim);
}

/* What comes too late, of another generation or of nobody, is dropped. */
static void late_events_are_dropped(void **state)
{
    struct sim_script script = longest;
    struct sim *sim = sim_new(30, 2);

    (void)state;
    script.world_size = 4;
    script.steps = 2;
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    const uint64_t job = sim_job_id(sim, 1, "job");
    const struct message fail = {
        .kind = MESSAGE_FAIL, .job = job, .generation = 1, .fail = {.code = -1}};
    const struct message gather = {.kind = MESSAGE_GATHER,
                                   .job = job,
                                   .generation = 9,
                                   .gather = {.kind = GATHER_BATCH, .sequence = 1, .member = 2}};
    struct event events[] = {
        {.kind = EVENT_SUMMED, .summed = {.job = job, .step = 2, .kind = SUM_OWNED}},
        {.kind = EVENT_RECEIVED,
         .received = {.job = job, .step = 2, .kind = TRANSFER_KV, .part = 0, .node = 0}},
        {.kind = EVENT_PLANNED, .planned = {.job = job, .step = 3}},
        {.kind = EVENT_ADMITTED, .admitted = {.job = job}},
        {.kind = EVENT_JOB_BROKEN, .broken = {.job = job, .end = {.code = -1}}},
        {.kind = EVENT_WORKER_READY, .ready = {.worker = 102, .kind = READY_KV, .sequence = 2}},
        {.kind = EVENT_WORKER_LOST, .worker = {.worker = 102, .code = -9, .text = "late"}},
        {.kind = EVENT_WORKER_COMMIT, .commit = {.worker = 999, .step = 1}},
    };
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        sim_feed(sim, 1, &events[i]);
    }
    sim_feed(sim, 0, &(struct event){.kind = EVENT_MESSAGE, .message = {1, &fail}});
    sim_feed(sim, 0, &(struct event){.kind = EVENT_MESSAGE, .message = {1, &gather}});
    sim_start(sim, &script);
    assert_true(sim_run(sim));
    assert_int_equal(sim_outcome(sim, "job", 2)->state, SIM_DONE);
    sim_free(sim);
}

/* The story of a lost node, as the logs of all nodes tell it together. */
static void the_trace_tells_the_story(void **state)
{
    struct sim *sim = start_longest(31);

    (void)state;
    sim_kill(sim, 1);
    assert_true(sim_run(sim));
    sim_expect_trace(sim, "> job job: generation 1 is formed with 6 ranks\n"
                          "[  200] node 1 > is killed\n"
                          "> node node-b is lost: the connection ended; ending the jobs it takes "
                          "part in\n"
                          "> job job: node node-b, which has ranks 2,3, was lost: the connection "
                          "ended; ending it");
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_worker_ends_the_job_at_once),
        cmocka_unit_test(a_killed_daemon_ends_the_job_at_once),
        cmocka_unit_test(a_killed_conductor_ends_the_job_at_once),
        cmocka_unit_test(a_vanished_host_is_noticed_by_its_silence),
        cmocka_unit_test(a_node_cut_off_ends_by_itself),
        cmocka_unit_test(a_link_between_others_ends_the_job),
        cmocka_unit_test(the_next_job_runs_after_a_loss),
        cmocka_unit_test(a_silent_peer_is_up_again_when_it_is_heard),
        cmocka_unit_test(missing_ranks_are_named_at_the_join_timeout),
        cmocka_unit_test(a_worker_may_come_back_before_the_job_is_formed),
        cmocka_unit_test(a_lost_node_only_loses_its_joins),
        cmocka_unit_test(a_rank_that_is_taken_is_refused),
        cmocka_unit_test(a_rank_that_waits_is_not_taken_twice),
        cmocka_unit_test(another_world_size_or_policy_is_refused),
        cmocka_unit_test(too_many_jobs_are_refused),
        cmocka_unit_test(an_absent_conductor_is_named),
        cmocka_unit_test(workers_that_wait_hear_of_a_lost_conductor),
        cmocka_unit_test(simultaneous_joins_form_one_job),
        cmocka_unit_test(late_events_are_dropped),
        cmocka_unit_test(the_trace_tells_the_story),
    };

    return cmocka_run_group_tests_name("sim_losses", tests, NULL, NULL);
}
