/* seqctl: asks seqsync daemons, and runs jobs with daemons of its own. See seqctl(1). */
#include "client/ctl/command.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ctl_init(struct ctl *ctl)
{
    const char *admin = getenv("SEQSYNC_ADMIN");
    const char *no_colour = getenv("NO_COLOR");
    *ctl = (struct ctl){
        .out = stdout,
        .err = stderr,
        .admin = admin && admin[0] ? admin : CTL_ADMIN_DEFAULT,
        .timeout_ns = 5000000000u,
        .run = {.nodes = 1, .workers = 1, .grace_ns = 10000000000u},
    };
    ctl->colour = isatty(STDOUT_FILENO) && !(no_colour && no_colour[0]);
    setlocale(LC_CTYPE, "");
    ctl->ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
}

static int ctl_run(struct ctl *ctl, int argc, char **argv, struct error *error)
{
    const struct command_entry *command = NULL;
    int status = command_parse(ctl, argc, argv, &command, error);
    if (status) {
        return status;
    }
    if (ctl->help) {
        command_help(ctl->out, command);
        return EX_OK;
    }
    return command->run(ctl, error);
}

int main(int argc, char **argv)
{
    struct ctl ctl;
    struct error error = {.exit_status = EX_OK};
    ctl_init(&ctl);
    int status = ctl_run(&ctl, argc, argv, &error);
    if (error.exit_status) {
        error_print(&ctl, &error);
    }
    if (fflush(stdout) && status == EX_OK) {
        status = EX_IOERR;
    }
    return status;
}
