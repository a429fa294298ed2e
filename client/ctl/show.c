#include "client/ctl/show.h"

int show_json(const struct ctl *ctl, json_t *root, struct error *error)
{
    if (!root) {
        return error_set(error, EX_OSERR, "NO_MEMORY", "not enough memory for the answer");
    }
    if (!ctl->quiet) {
        json_dumpf(root, ctl->out, JSON_INDENT(2));
        fputc('\n', ctl->out);
    }
    json_decref(root);
    return EX_OK;
}
