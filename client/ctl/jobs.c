/* The verb `jobs`. */
#include "client/ctl/jobs.h"

#include "client/ctl/ask.h"
#include "client/ctl/show.h"
#include "client/ctl/text.h"

#include <math.h>
#include <string.h>

#define JOBS_SPARK_CELLS 12 /* last losses that are drawn */

static const struct table_column columns[] = {
    {"JOB", 0},
    {"STATE", 0},
    {"STEP", TABLE_RIGHT},
    {"RANKS", TABLE_RIGHT},
    {"NODES", TABLE_RIGHT},
    {"TOKENS", TABLE_RIGHT},
    {"TOK/S", TABLE_RIGHT},
    {"STEP TIME", TABLE_RIGHT},
    {"LOSS", TABLE_RIGHT},
    {"TREND", 0},
    {"IMBAL", TABLE_RIGHT},
    {"GEN", TABLE_RIGHT | TABLE_WIDE},
    {"REASON", TABLE_TRUNC},
};

json_t *job_json(const Seqsync__Admin__Job *job)
{
    json_t *losses = json_array();
    for (size_t i = 0; i < job->n_losses; i++) {
        json_array_append_new(losses, text_json_number(job->losses[i]));
    }
    return json_pack("{s:I, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
                     (json_int_t)job->id, "name", text_json(job->name), "generation",
                     (json_int_t)job->generation, "state", text_json(job->state), "step",
                     (json_int_t)job->step, "world_size", (json_int_t)job->world_size, "node_count",
                     (json_int_t)job->node_count, "tokens", (json_int_t)job->tokens, "loss",
                     text_json_number(job->loss), "losses", losses, "imbalance",
                     text_json_number(job->imbalance), "step_seconds",
                     text_json_number(job->step_seconds), "tokens_per_second",
                     text_json_number(job->tokens_per_second), "reason", text_json(job->reason));
}

enum table_mood job_mood(const Seqsync__Admin__Job *job)
{
    if (strcmp(job->state, "running") == 0) {
        return TABLE_GOOD;
    }
    return strcmp(job->state, "failed") == 0 ? TABLE_BAD : TABLE_PLAIN;
}

static json_t *jobs_json(const Seqsync__Admin__Answer *answer)
{
    json_t *jobs = json_array();
    for (size_t i = 0; i < answer->n_jobs; i++) {
        json_array_append_new(jobs, job_json(answer->jobs[i]));
    }
    return json_pack("{s:s, s:o}", "schema", "seqctl.jobs/1", "jobs", jobs);
}

static void jobs_row(struct table *table, const struct ctl *ctl, const Seqsync__Admin__Job *job)
{
    char text[128];
    size_t first = job->n_losses > JOBS_SPARK_CELLS ? job->n_losses - JOBS_SPARK_CELLS : 0;
    table_row(table);
    table_cell(table, "%s", job->name);
    table_cell(table, "%s", job->state);
    table_mood(table, job_mood(job));
    table_cell(table, "%llu", (unsigned long long)job->step);
    table_cell(table, "%u", job->world_size);
    table_cell(table, "%u", job->node_count);
    table_cell(table, "%llu", (unsigned long long)job->tokens);
    table_cell(table, "%s",
               job->tokens_per_second > 0 ? text_count(text, sizeof(text), job->tokens_per_second)
                                          : "-");
    table_cell(table, "%s",
               job->step_seconds > 0
                   ? text_duration(text, sizeof(text), (uint64_t)(job->step_seconds * 1e9))
                   : "-");
    if (isfinite(job->loss)) {
        table_cell(table, "%.4g", job->loss);
    } else {
        table_cell(table, "-");
    }
    table_cell(
        table, "%s",
        text_sparkline(text, sizeof(text), job->losses + first, job->n_losses - first, ctl->ascii));
    if (job->imbalance > 0 && isfinite(job->imbalance)) {
        table_cell(table, "%.2f", job->imbalance);
    } else {
        table_cell(table, "-");
    }
    table_cell(table, "%llu", (unsigned long long)job->generation);
    table_cell(table, "%s", job->reason);
}

int jobs_run(struct ctl *ctl, struct error *error)
{
    struct ask ask = ASK_NULL;
    int status = ask_daemon(&ask, ctl, SEQSYNC__ADMIN__QUESTION__QUESTION_JOBS, NULL, error);
    if (status == EX_OK && ctl->json) {
        status = show_json(ctl, jobs_json(ask.answer), error);
    } else if (status == EX_OK && !ctl->quiet) {
        struct table *table = table_new(columns, sizeof(columns) / sizeof(columns[0]));
        for (size_t i = 0; i < ask.answer->n_jobs; i++) {
            jobs_row(table, ctl, ask.answer->jobs[i]);
        }
        status = table_print(table, ctl, error);
        table_free(table);
    }
    ask_deinit(&ask);
    return status;
}
