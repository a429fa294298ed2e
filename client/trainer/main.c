/* seqsync-trainer: one rank of a video diffusion training, see trainer.h. */
#include <stdio.h>
#include <sysexits.h>

#include <seqsync/version.h>

#include "client/trainer/options.h"
#include "client/trainer/trainer.h"

static struct options arg_options;

/* Sets *ret_done when there is nothing to run. */
static int parse_argv(int argc, char **argv, bool *ret_done)
{
    char reason[OPTIONS_REASON_BYTES];

    *ret_done = true;
    switch (options_parse(&arg_options, argc, argv, reason)) {
    case OPTIONS_HELP:
        fputs(options_help(), stdout);
        return EX_OK;
    case OPTIONS_VERSION:
        printf("seqsync-trainer %s\n", seqsync_version());
        return EX_OK;
    case OPTIONS_USAGE:
        fprintf(stderr, "error: cannot read the command line\n  %s\n  try: %s\n", reason,
                "seqsync-trainer --help");
        return EX_USAGE;
    case OPTIONS_RUN:
        break;
    }
    *ret_done = false;
    return EX_OK;
}

static void say_failure(const struct failure *failure)
{
    fprintf(stderr, "error: %s\n  %s\n  try: %s\n", failure->what, failure->why, failure->hint);
}

int main(int argc, char **argv)
{
    struct trainer trainer;
    bool done;
    int r = parse_argv(argc, argv, &done);

    if (done) {
        return r;
    }
    r = trainer_init(&trainer, &arg_options);
    if (r == 0) {
        r = trainer_run(&trainer);
    }
    if (r != 0) {
        say_failure(&trainer.failure);
    }
    trainer_deinit(&trainer);
    return r;
}
