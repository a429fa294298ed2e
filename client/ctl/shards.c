/* The verb `shards`: who holds which tokens, computes what and waits how long. */
#include "client/ctl/ask.h"
#include "client/ctl/heat.h"
#include "client/ctl/jobs.h"
#include "client/ctl/show.h"
#include "client/ctl/table.h"
#include "client/ctl/text.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SHARDS_RANGES_SHOWN 3 /* of a shard's chunks, in a table that is not wide */

static const struct table_column columns[] = {
    {"RANK", TABLE_RIGHT},
    {"NODE", 0},
    {"PID", TABLE_RIGHT | TABLE_WIDE},
    {"TOKENS", TABLE_RIGHT},
    {"HOLDS", TABLE_TRUNC},
    {"TILES", TABLE_RIGHT},
    {"AREA", TABLE_RIGHT},
    {"NEED", TABLE_RIGHT},
    {"REMOTE", TABLE_RIGHT},
    {"RETURN", TABLE_RIGHT},
    {"COMPUTE", TABLE_RIGHT},
    {"WAIT", TABLE_RIGHT},
    {"PHASE", TABLE_TRUNC},
};

static json_t *shard_chunks_json(const Seqsync__Admin__Shard *shard)
{
    json_t *chunks = json_array();
    for (size_t i = 0; i < shard->n_chunks; i++) {
        const Seqsync__Admin__Range *chunk = shard->chunks[i];
        json_array_append_new(
            chunks, json_pack("{s:I, s:I, s:I, s:I}", "sequence", (json_int_t)chunk->sequence,
                              "position", (json_int_t)chunk->position, "first",
                              (json_int_t)chunk->first, "count", (json_int_t)chunk->count));
    }
    return chunks;
}

static json_t *shard_cells_json(const Seqsync__Admin__Shard *shard)
{
    json_t *cells = json_array();
    for (size_t i = 0; i < shard->n_cells; i++) {
        const Seqsync__Admin__Cell *cell = shard->cells[i];
        json_array_append_new(
            cells, json_pack("{s:I, s:I, s:I}", "source", (json_int_t)cell->source, "area",
                             (json_int_t)cell->area, "need_rows", (json_int_t)cell->need_rows));
    }
    return cells;
}

static json_t *shard_json(const Seqsync__Admin__Shard *shard)
{
    return json_pack(
        "{s:I, s:I, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "rank",
        (json_int_t)shard->rank, "node", (json_int_t)shard->node, "node_name",
        text_json(shard->node_name), "pid", (json_int_t)shard->pid, "tokens",
        (json_int_t)shard->tokens, "chunks", shard_chunks_json(shard), "chunk_count",
        (json_int_t)shard->chunk_count, "tile_count", (json_int_t)shard->tile_count, "area",
        (json_int_t)shard->area, "need_bytes", (json_int_t)shard->need_bytes, "need_remote_bytes",
        (json_int_t)shard->need_remote_bytes, "return_bytes", (json_int_t)shard->return_bytes,
        "compute_seconds", text_json_number(shard->compute_seconds), "wait_seconds",
        text_json_number(shard->wait_seconds), "cells", shard_cells_json(shard), "phase",
        text_json(shard->phase));
}

static json_t *shards_json(const Seqsync__Admin__Shards *shards)
{
    json_t *list = json_array();
    for (size_t i = 0; i < shards->n_shards; i++) {
        json_array_append_new(list, shard_json(shards->shards[i]));
    }
    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:o}", "schema", "seqctl.shards/1", "job",
                     shards->job ? job_json(shards->job) : json_null(), "sequence_count",
                     (json_int_t)shards->sequence_count, "kv_planned_bytes",
                     (json_int_t)shards->kv_planned_bytes, "kv_moved_bytes",
                     (json_int_t)shards->kv_moved_bytes, "shards", list);
}

/* "0:0..143 0:432..575 +2 more": positions within each sequence. */
static void shard_holds(char *out, size_t size, const struct ctl *ctl,
                        const Seqsync__Admin__Shard *shard)
{
    bool all = ctl->format == CTL_WIDE || ctl->format == CTL_CSV;
    size_t used = 0;
    size_t shown = 0;
    out[0] = '\0';
    for (; shown < shard->n_chunks && (all || shown < SHARDS_RANGES_SHOWN); shown++) {
        const Seqsync__Admin__Range *chunk = shard->chunks[shown];
        char piece[80];
        int length =
            snprintf(piece, sizeof(piece), "%s%u:%lld..%lld", shown ? " " : "", chunk->sequence,
                     (long long)chunk->position, (long long)(chunk->position + chunk->count - 1));
        if (used + (size_t)length + sizeof(" +4294967295 more") > size) {
            break;
        }
        memcpy(out + used, piece, (size_t)length + 1);
        used += (size_t)length;
    }
    if (shown < shard->chunk_count) {
        snprintf(out + used, size - used, " +%u more", shard->chunk_count - (uint32_t)shown);
    } else if (shard->chunk_count == 0) {
        snprintf(out, size, "nothing");
    }
}

static void shards_seconds(struct table *table, double seconds)
{
    char text[32];
    if (seconds > 0 && seconds < 1e9) { /* 0 and NaN: not measured */
        table_cell(table, "%s", text_duration(text, sizeof(text), (uint64_t)(seconds * 1e9)));
    } else {
        table_cell(table, "-");
    }
}

static void shards_row(struct table *table, const struct ctl *ctl,
                       const Seqsync__Admin__Shard *shard)
{
    char text[512];
    table_row(table);
    table_cell(table, "%u", shard->rank);
    table_cell(table, "%s", shard->node_name);
    if (shard->pid) {
        table_cell(table, "%d", shard->pid);
    } else {
        table_cell(table, "-"); /* a worker of another node */
    }
    table_cell(table, "%lld", (long long)shard->tokens);
    shard_holds(text, sizeof(text), ctl, shard);
    table_cell(table, "%s", text);
    table_cell(table, "%u", shard->tile_count);
    table_cell(table, "%s", text_count(text, sizeof(text), (double)shard->area));
    table_cell(table, "%s", text_bytes(text, sizeof(text), shard->need_bytes));
    table_cell(table, "%s", text_bytes(text, sizeof(text), shard->need_remote_bytes));
    table_cell(table, "%s", text_bytes(text, sizeof(text), shard->return_bytes));
    shards_seconds(table, shard->compute_seconds);
    shards_seconds(table, shard->wait_seconds);
    table_cell(table, "%s", shard->phase);
}

static void shards_title(const struct ctl *ctl, const Seqsync__Admin__Shards *shards)
{
    const Seqsync__Admin__Job *job = shards->job;
    char moved[32];
    char planned[32];
    fprintf(ctl->out,
            " job %s  %s  step %llu  generation %llu   %u ranks on %u nodes   %llu tokens in %u "
            "sequence%s\n keys and values to this node: %s of %s planned",
            job->name, job->state, (unsigned long long)job->step,
            (unsigned long long)job->generation, job->world_size, job->node_count,
            (unsigned long long)job->tokens, shards->sequence_count,
            shards->sequence_count == 1 ? "" : "s",
            text_bytes(moved, sizeof(moved), shards->kv_moved_bytes),
            text_bytes(planned, sizeof(planned), shards->kv_planned_bytes));
    if (job->imbalance > 0) {
        fprintf(ctl->out, "   imbalance %.2f", job->imbalance);
    }
    fputs("\n\n", ctl->out);
}

static uint32_t terminal_columns(const struct ctl *ctl)
{
    struct winsize size;
    int fd = fileno(ctl->out);
    if (fd >= 0 && isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return 120;
}

static int shards_text(const struct ctl *ctl, const Seqsync__Admin__Shards *shards,
                       struct error *error)
{
    bool for_people = ctl->format == CTL_TABLE || ctl->format == CTL_WIDE;
    if (for_people && shards->job && !ctl->no_headers) {
        shards_title(ctl, shards);
    }
    struct table *table = table_new(columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < shards->n_shards; i++) {
        shards_row(table, ctl, shards->shards[i]);
    }
    int status = table_print(table, ctl, error);
    table_free(table);
    if (status == EX_OK && ctl->heat && for_people) {
        fputc('\n', ctl->out);
        status = heat_print(ctl, shards, terminal_columns(ctl), error);
    }
    return status;
}

int shards_run(struct ctl *ctl, struct error *error)
{
    struct ask ask = ASK_NULL;
    int status =
        ask_daemon(&ask, ctl, SEQSYNC__ADMIN__QUESTION__QUESTION_SHARDS, ctl->words[0], error);
    if (status == EX_OK && !ask.answer->shards) {
        status = error_set(error, EX_PROTOCOL, "PROTOCOL", "the answer holds no shards");
    }
    if (status == EX_OK && ctl->json) {
        status = show_json(ctl, shards_json(ask.answer->shards), error);
    } else if (status == EX_OK && !ctl->quiet) {
        status = shards_text(ctl, ask.answer->shards, error);
    }
    if (status && strcmp(error->code, "INVALID") == 0) {
        char words[sizeof(error->message)];
        snprintf(words, sizeof(words), "%s", error->message);
        error_set(error, status, "INVALID", "the daemon cannot tell about job \"%s\"",
                  ctl->words[0]);
        error_cause(error, "%s", words);
        error_hint(error, "seqctl jobs");
    }
    ask_deinit(&ask);
    return status;
}
