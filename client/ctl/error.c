#include "client/ctl/error.h"

#include "client/ctl/text.h"

#include <jansson.h>
#include <seqsync/status.h>
#include <stdarg.h>
#include <string.h>

int error_set(struct error *error, int exit_status, const char *code, const char *format, ...)
{
    va_list list;
    *error = (struct error){.exit_status = exit_status, .rank = -1};
    snprintf(error->code, sizeof(error->code), "%s", code);
    va_start(list, format);
    vsnprintf(error->message, sizeof(error->message), format, list);
    va_end(list);
    return exit_status;
}

int error_cause(struct error *error, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error->cause, sizeof(error->cause), format, list);
    va_end(list);
    return error->exit_status;
}

int error_hint(struct error *error, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error->hint, sizeof(error->hint), format, list);
    va_end(list);
    return error->exit_status;
}

int error_exit_status(int status)
{
    switch (status) {
    case SEQSYNC_OK:
        return EX_OK;
    case SEQSYNC_ERR_INVALID:
        return EX_DATAERR;
    case SEQSYNC_ERR_CONFIG:
        return EX_CONFIG;
    case SEQSYNC_ERR_NOT_PERMITTED:
        return EX_NOPERM;
    case SEQSYNC_ERR_VERSION:
    case SEQSYNC_ERR_PROTOCOL:
        return EX_PROTOCOL;
    case SEQSYNC_ERR_UNREACHABLE:
    case SEQSYNC_ERR_TIMEOUT:
    case SEQSYNC_ERR_DAEMON_LOST:
    case SEQSYNC_ERR_PEER_LOST:
        return EX_UNAVAILABLE;
    case SEQSYNC_ERR_SHUTDOWN:
    case SEQSYNC_ERR_NO_CAPACITY:
        return EX_TEMPFAIL;
    default:
        return EX_SOFTWARE;
    }
}

static void error_print_json(const struct ctl *ctl, const struct error *error)
{
    json_t *cause = json_array();
    if (error->cause[0]) {
        json_array_append_new(cause, text_json(error->cause));
    }
    json_t *root =
        json_pack("{s:s, s:{s:o, s:o, s:o, s:o, s:o, s:o}}", "schema", "seqctl.error/1", "error",
                  "code", text_json(error->code), "message", text_json(error->message), "node",
                  error->node[0] ? text_json(error->node) : json_null(), "rank",
                  error->rank >= 0 ? json_integer(error->rank) : json_null(), "cause", cause,
                  "hint", error->hint[0] ? text_json(error->hint) : json_null());
    json_dumpf(root, ctl->out, JSON_INDENT(2));
    fputc('\n', ctl->out);
    json_decref(root);
}

void error_print(const struct ctl *ctl, const struct error *error)
{
    if (ctl->json) {
        error_print_json(ctl, error);
        return;
    }
    char text[sizeof(error->message)];
    const char *red = ctl->colour ? "\033[31m" : "";
    const char *plain = ctl->colour ? "\033[0m" : "";
    fprintf(ctl->err, "%serror:%s %s (%s)\n", red, plain,
            text_clean(text, sizeof(text), error->message), error->code);
    if (error->cause[0]) {
        fprintf(ctl->err, "  %s\n", text_clean(text, sizeof(text), error->cause));
    }
    if (error->hint[0]) {
        fprintf(ctl->err, "  try: %s\n", text_clean(text, sizeof(text), error->hint));
    }
}
