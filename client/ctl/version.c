/* The verb `version`: it answers also when no daemon does. */
#include "client/ctl/ask.h"
#include "client/ctl/show.h"
#include "client/ctl/text.h"

#include <seqsync/version.h>

int version_run(struct ctl *ctl, struct error *error)
{
    struct ask ask = ASK_NULL;
    struct error unreachable = {0};
    int status =
        ask_daemon(&ask, ctl, SEQSYNC__ADMIN__QUESTION__QUESTION_VERSION, NULL, &unreachable);
    const char *daemon = status == EX_OK ? ask.answer->version : NULL;
    status = EX_OK;
    if (ctl->json) {
        json_t *root = json_pack("{s:s, s:s, s:i, s:o}", "schema", "seqctl.version/1", "seqctl",
                                 SEQSYNC_VERSION_STRING, "protocol", WIRE_PROTOCOL, "daemon",
                                 daemon ? text_json(daemon) : json_null());
        status = show_json(ctl, root, error);
    } else if (!ctl->quiet) {
        char text[64];
        fprintf(ctl->out, "seqctl   %s (protocol %d)\n", SEQSYNC_VERSION_STRING, WIRE_PROTOCOL);
        fprintf(ctl->out, "seqsyncd %s\n",
                daemon ? text_clean(text, sizeof(text), daemon) : "does not answer");
    }
    ask_deinit(&ask);
    return status;
}
