/* The verb `status`: one screen, and an exit status that a script can act on. */
#include "client/ctl/ask.h"
#include "client/ctl/show.h"
#include "client/ctl/text.h"

#include <string.h>

typedef Seqsync__Admin__Status status_t;

static int status_exit(const status_t *status)
{
    if (strcmp(status->health, "ok") == 0) {
        return EX_OK;
    }
    return strcmp(status->health, "warn") == 0 ? CTL_EXIT_WARN : CTL_EXIT_CRITICAL;
}

static json_t *status_json(const status_t *status)
{
    json_t *problems = json_array();
    for (size_t i = 0; i < status->n_problems; i++) {
        const char *text = status->problems[i];
        size_t code = strcspn(text, " ");
        json_array_append_new(problems,
                              json_pack("{s:o, s:o}", "code", json_stringn(text, code), "text",
                                        text_json(text + code + strspn(text + code, " "))));
    }
    return json_pack(
        "{s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:I, s:I}",
        "schema", "seqctl.status/1", "node", text_json(status->node), "version",
        text_json(status->version), "uptime_ns", (json_int_t)status->uptime_ns, "health",
        text_json(status->health), "problems", problems, "conductor", text_json(status->conductor),
        "nodes_up", (json_int_t)status->nodes_up, "nodes_down", (json_int_t)status->nodes_down,
        "workers", (json_int_t)status->workers, "jobs_running", (json_int_t)status->jobs_running,
        "jobs_forming", (json_int_t)status->jobs_forming, "arena_bytes",
        (json_int_t)status->arena_bytes, "arena_limit_bytes", (json_int_t)status->arena_limit_bytes,
        "bulk_sent_bytes", (json_int_t)status->bulk_sent_bytes, "bulk_received_bytes",
        (json_int_t)status->bulk_received_bytes, "reduced_bytes", (json_int_t)status->reduced_bytes,
        "rejected_frames", (json_int_t)status->rejected_frames, "checksum_errors",
        (json_int_t)status->checksum_errors, "loop_rescues", (json_int_t)status->loop_rescues);
}

static void status_health(const struct ctl *ctl, const status_t *status)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    static const char *const words[] = {"OK", "WARN", "CRITICAL"};
    int exit_status = status_exit(status);
    fprintf(ctl->out, "%s%s%s", ctl->colour ? colours[exit_status] : "", words[exit_status],
            ctl->colour ? "\033[0m" : "");
}

static void status_problems(const struct ctl *ctl, const status_t *status)
{
    char text[512];
    for (size_t i = 0; i < status->n_problems; i++) {
        fprintf(ctl->out, "%s %s  %s\n", i ? "" : "\n",
                status_exit(status) == CTL_EXIT_WARN ? "WARN" : "CRITICAL",
                text_clean(text, sizeof(text), status->problems[i]));
    }
    if (status->n_problems) {
        fputc('\n', ctl->out);
    }
}

static void status_text(const struct ctl *ctl, const status_t *status)
{
    char a[32];
    char b[32];
    char bar[64];
    FILE *out = ctl->out;
    double fraction = status->arena_limit_bytes
                          ? (double)status->arena_bytes / (double)status->arena_limit_bytes
                          : 0;
    fprintf(out, " node      %s   seqsyncd %s   up %s   health  ", status->node, status->version,
            text_duration(a, sizeof(a), status->uptime_ns));
    status_health(ctl, status);
    fprintf(out, "\n conductor %s\n", status->conductor[0] ? status->conductor : "-");
    status_problems(ctl, status);
    fprintf(out, " nodes     %u up   %u down\n", status->nodes_up, status->nodes_down);
    fprintf(out, " jobs      %u running   %u forming        workers  %u connected\n",
            status->jobs_running, status->jobs_forming, status->workers);
    fprintf(out, " arena     %s of %s  %s %.0f%%\n", text_bytes(a, sizeof(a), status->arena_bytes),
            text_bytes(b, sizeof(b), status->arena_limit_bytes),
            text_bar(bar, sizeof(bar), fraction, 10, ctl->ascii), 100 * fraction);
    fprintf(out, " bulk      sent %s   ", text_bytes(a, sizeof(a), status->bulk_sent_bytes));
    fprintf(out, "received %s   ", text_bytes(a, sizeof(a), status->bulk_received_bytes));
    fprintf(out, "reduced %s\n", text_bytes(a, sizeof(a), status->reduced_bytes));
    fprintf(out, " faults    %llu rejected frames   %llu checksum errors   %llu loop rescues\n",
            (unsigned long long)status->rejected_frames,
            (unsigned long long)status->checksum_errors, (unsigned long long)status->loop_rescues);
}

int status_run(struct ctl *ctl, struct error *error)
{
    struct ask ask = ASK_NULL;
    int exit_status = ask_daemon(&ask, ctl, SEQSYNC__ADMIN__QUESTION__QUESTION_STATUS, NULL, error);
    if (exit_status == EX_OK && !ask.answer->status) {
        exit_status = error_set(error, EX_PROTOCOL, "PROTOCOL", "the answer holds no status");
    }
    if (exit_status == EX_OK) {
        const status_t *status = ask.answer->status;
        exit_status = status_exit(status);
        if (ctl->json) {
            int r = show_json(ctl, status_json(status), error);
            exit_status = r ? r : exit_status;
        } else if (!ctl->quiet) {
            status_text(ctl, status);
        }
    }
    ask_deinit(&ask);
    return exit_status;
}
