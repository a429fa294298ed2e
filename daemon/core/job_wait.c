/*
 * How long a job waits, and who is named when that was too long. The step's own waits are in
 * step.c, the conductor's in conduct.c; here are those of registration and of collectives: a node
 * names its own workers that are missing; if all of its workers wait, the conductor must speak.
 */
#include "daemon/core/engine_state.h"
#include "daemon/core/fail.h"

void engine_job_last(const struct engine_job *job, const struct rank_set *ranks, char *ret,
                     size_t size)
{
    const bool one = rank_set_count(ranks) == 1;
    char phase[64];
    struct text text;
    const char *comma = "";

    text_init(&text, ret, size);
    for (uint32_t i = 0; i < job->local_count; i++) {
        const struct local_rank *local = &job->locals[i];
        if (!rank_set_has(ranks, local->rank)) {
            continue;
        }
        activity_text(&local->last, phase, sizeof(phase));
        if (one) {
            text_add(&text, "%s", phase);
        } else {
            text_add(&text, "%srank %u %s", comma, local->rank, phase);
        }
        comma = ", ";
    }
}

uint32_t engine_job_laggards(const struct engine_job *job, enum gather_kind kind,
                             struct rank_set *ret)
{
    uint32_t count = 0;

    rank_set_clear(ret);
    for (uint32_t i = 0; i < job->local_count; i++) {
        if (job->locals[i].waiting != kind) {
            rank_set_add(ret, job->locals[i].rank);
            count++;
        }
    }
    return count;
}

struct job_wait {
    enum gather_kind kind;
    uint64_t sequence;
    uint64_t since_ns;
    bool open;
};

static void job_waits(const struct engine_job *job, struct job_wait ret[2])
{
    ret[0] = (struct job_wait){GATHER_REGISTER, 1, job->registering_ns, job->registering};
    ret[1] =
        (struct job_wait){GATHER_REDUCE, job->collectives + 1, job->collecting_ns, job->collecting};
}

static uint64_t wait_deadline_ns(const struct engine *engine, const struct engine_job *job,
                                 const struct job_wait *wait)
{
    const uint64_t timeout = engine->config.step_timeout_ns;
    struct rank_set laggards;

    if (!wait->open) {
        return UINT64_MAX;
    }
    return engine_after(wait->since_ns, engine_job_laggards(job, wait->kind, &laggards) > 0
                                            ? timeout
                                            : 2 * (timeout + engine_grace_ns(engine)));
}

static void wait_tick(struct engine *engine, struct engine_job *job, const struct job_wait *wait)
{
    char last[MESSAGE_TEXT_MAX / 2];
    struct rank_set laggards;
    struct job_end end;

    if (engine->now_ns < wait_deadline_ns(engine, job, wait)) {
        return;
    }
    if (engine_job_laggards(job, wait->kind, &laggards) > 0) {
        engine_job_last(job, &laggards, last, sizeof(last));
        fail_missing(&end, &job->roster, wait->kind, wait->sequence, &laggards,
                     engine->config.step_timeout_ns, last);
    } else {
        fail_no_answer(&end, engine->config.node_names, engine->now_ns - wait->since_ns);
    }
    engine_job_fail(engine, job, &end);
}

uint64_t engine_job_deadline_ns(const struct engine *engine, const struct engine_job *job)
{
    struct job_wait waits[2];

    if (job->state != JOB_RUNNING) {
        return UINT64_MAX;
    }
    if (job->failing) {
        return job->fail_deadline_ns;
    }
    uint64_t deadline = step_deadline_ns(engine, job);
    if (job->conduct != NULL) {
        deadline = engine_earlier(deadline, conduct_deadline_ns(job->conduct));
    }
    job_waits(job, waits);
    for (int i = 0; i < 2; i++) {
        deadline = engine_earlier(deadline, wait_deadline_ns(engine, job, &waits[i]));
    }
    return deadline;
}

void engine_job_tick(struct engine *engine, struct engine_job *job)
{
    struct job_wait waits[2];

    if (job->state != JOB_RUNNING) {
        return;
    }
    if (job->failing) {
        /* Nobody commits the end: better a local end than none. */
        if (engine->now_ns >= job->fail_deadline_ns) {
            engine_job_end(engine, job, &job->end);
        }
        return;
    }
    job_waits(job, waits);
    for (int i = 0; i < 2 && engine_job_is_live(job); i++) {
        wait_tick(engine, job, &waits[i]);
    }
    if (engine_job_is_live(job)) {
        step_tick(engine, job);
    }
    if (job->conduct != NULL && engine_job_is_live(job)) {
        conduct_tick(engine, job);
    }
}
