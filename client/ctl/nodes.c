/* The verb `nodes`. */
#include "client/ctl/ask.h"
#include "client/ctl/show.h"
#include "client/ctl/table.h"
#include "client/ctl/text.h"

#include <string.h>

static const struct table_column columns[] = {
    {"NODE", 0},
    {"STATE", 0},
    {"ROLE", 0},
    {"WORKERS", TABLE_RIGHT},
    {"TOKENS", TABLE_RIGHT},
    {"ARENA", TABLE_RIGHT},
    {"USED", 0},
    {"RTT", TABLE_RIGHT},
    {"SILENT", TABLE_RIGHT | TABLE_WIDE},
    {"VERSION", 0},
    {"ENDPOINT", TABLE_WIDE},
    {"REASON", TABLE_TRUNC},
};

static json_t *nodes_json(const Seqsync__Admin__Answer *answer)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < answer->n_nodes; i++) {
        const Seqsync__Admin__Node *node = answer->nodes[i];
        json_t *entry =
            json_pack("{s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "name",
                      text_json(node->name), "state", text_json(node->state), "role",
                      text_json(node->role), "self", node->self, "workers",
                      (json_int_t)node->workers, "tokens", (json_int_t)node->tokens, "arena_bytes",
                      (json_int_t)node->arena_bytes, "arena_limit_bytes",
                      (json_int_t)node->arena_limit_bytes, "rtt_ns", (json_int_t)node->rtt_ns,
                      "silent_ns", (json_int_t)node->silent_ns, "version", text_json(node->version),
                      "endpoint", text_json(node->endpoint), "reason", text_json(node->reason));
        json_array_append_new(nodes, entry);
    }
    return json_pack("{s:s, s:o}", "schema", "seqctl.nodes/1", "nodes", nodes);
}

static void nodes_arena(struct table *table, const struct ctl *ctl,
                        const Seqsync__Admin__Node *node)
{
    char used[32];
    char limit[32];
    char bar[32];
    if (node->arena_limit_bytes == 0) {
        table_cell(table, "-"); /* another node's is not known here */
        table_cell(table, "-");
        return;
    }
    double fraction = (double)node->arena_bytes / (double)node->arena_limit_bytes;
    table_cell(table, "%s / %s", text_bytes(used, sizeof(used), node->arena_bytes),
               text_bytes(limit, sizeof(limit), node->arena_limit_bytes));
    table_cell(table, "%s %2.0f%%", text_bar(bar, sizeof(bar), fraction, 5, ctl->ascii),
               100 * fraction);
    table_mood(table, fraction >= 0.9 ? TABLE_BAD : TABLE_PLAIN);
}

static void nodes_row(struct table *table, const struct ctl *ctl, const Seqsync__Admin__Node *node)
{
    char text[32];
    bool up = strcmp(node->state, "up") == 0;
    bool down = strcmp(node->state, "down") == 0;
    table_row(table);
    table_cell(table, "%s", node->name);
    table_cell(table, "%s", node->state);
    table_mood(table, up ? TABLE_GOOD : down ? TABLE_BAD : TABLE_DOUBTFUL);
    table_cell(table, "%s", node->role[0] ? node->role : "-");
    table_cell(table, "%u", node->workers);
    table_cell(table, "%llu", (unsigned long long)node->tokens);
    nodes_arena(table, ctl, node);
    if (node->self) {
        table_cell(table, "self");
    } else if (node->rtt_ns == 0) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%s", text_duration(text, sizeof(text), node->rtt_ns));
    }
    table_cell(table, "%s", node->self ? "-" : text_duration(text, sizeof(text), node->silent_ns));
    table_cell(table, "%s", node->version[0] ? node->version : "-");
    table_cell(table, "%s", node->endpoint[0] ? node->endpoint : "-");
    table_cell(table, "%s", node->reason);
}

int nodes_run(struct ctl *ctl, struct error *error)
{
    struct ask ask = ASK_NULL;
    int status = ask_daemon(&ask, ctl, SEQSYNC__ADMIN__QUESTION__QUESTION_NODES, NULL, error);
    if (status == EX_OK && ctl->json) {
        status = show_json(ctl, nodes_json(ask.answer), error);
    } else if (status == EX_OK && !ctl->quiet) {
        struct table *table = table_new(columns, sizeof(columns) / sizeof(columns[0]));
        for (size_t i = 0; i < ask.answer->n_nodes; i++) {
            nodes_row(table, ctl, ask.answer->nodes[i]);
        }
        status = table_print(table, ctl, error);
        table_free(table);
    }
    ask_deinit(&ask);
    return status;
}
