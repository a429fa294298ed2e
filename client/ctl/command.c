#include "client/ctl/command.h"

#include "client/ctl/run.h"
#include "client/ctl/show.h"

#include <seqsync/types.h>
#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(struct ctl, field)

const struct option_entry command_global_options[] = {
    {.name = "admin",
     .letter = 'a',
     .kind = OPTION_TEXT,
     .argument = "ENDPOINT",
     .help = "the daemon to ask: ipc:///PATH, /PATH or tcp://HOST:PORT; also SEQSYNC_ADMIN",
     .offset = AT(admin),
     .complete = COMPLETE_FILE},
    {.name = "timeout",
     .letter = 't',
     .kind = OPTION_DURATION,
     .argument = "DURATION",
     .help = "give up after so long (5s)",
     .offset = AT(timeout_ns)},
    {.name = "format",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .argument = "FORMAT",
     .help = "table, wide, json, csv or name",
     .offset = AT(format_text),
     .complete = COMPLETE_WORDS,
     .words = "table wide json csv name"},
    {.name = "json",
     .kind = OPTION_FLAG,
     .help = "answer and errors as JSON on standard output",
     .offset = AT(json)},
    {.name = "no-headers",
     .kind = OPTION_FLAG,
     .help = "tables without their first line",
     .offset = AT(no_headers)},
    {.name = "quiet",
     .letter = 'q',
     .kind = OPTION_FLAG,
     .help = "no answer on standard output, only the exit status",
     .offset = AT(quiet)},
    {.name = "help",
     .letter = 'h',
     .kind = OPTION_FLAG,
     .help = "this help, or that of a command",
     .offset = AT(help)},
    {0},
};

static const struct option_entry shards_options[] = {
    {.name = "heat",
     .kind = OPTION_FLAG,
     .help = "add a map of who reads whose keys (rows: query rank, columns: source rank)",
     .offset = AT(heat)},
    {0},
};

static const struct option_entry run_options[] = {
    {.name = "nodes",
     .letter = 'n',
     .kind = OPTION_COUNT,
     .argument = "N",
     .help = "how many private daemons (1)",
     .offset = AT(run.nodes),
     .least = 1,
     .most = SEQSYNC_NODES_MAX},
    {.name = "workers",
     .letter = 'w',
     .kind = OPTION_COUNT,
     .argument = "W",
     .help = "how many workers, spread over the daemons in blocks (1)",
     .offset = AT(run.workers),
     .least = 1,
     .most = SEQSYNC_RANKS_MAX},
    {.name = "job",
     .letter = 'j',
     .kind = OPTION_TEXT,
     .argument = "NAME",
     .help = "the job's name (that of COMMAND)",
     .offset = AT(run.job)},
    {.name = "prefix",
     .kind = OPTION_TEXT,
     .argument = "WHEN",
     .help = "put [rank 2] before each line: auto, always or never (auto: with several workers)",
     .offset = AT(run.prefix_text),
     .complete = COMPLETE_WORDS,
     .words = "auto always never"},
    {.name = "keep-logs",
     .kind = OPTION_TEXT,
     .argument = "DIR",
     .help = "leave the daemons' logs and config files in DIR",
     .offset = AT(run.keep_logs),
     .complete = COMPLETE_DIRECTORY},
    {.name = "log-level",
     .kind = OPTION_TEXT,
     .argument = "LEVEL",
     .help = "of the daemons: error, warning, notice, info or debug (info)",
     .offset = AT(run.log_level),
     .complete = COMPLETE_WORDS,
     .words = "error warning notice info debug"},
    {.name = "join-timeout",
     .kind = OPTION_DURATION,
     .argument = "DURATION",
     .help = "how long the job may wait for its last worker",
     .offset = AT(run.join_timeout_ns)},
    {.name = "step-timeout",
     .kind = OPTION_DURATION,
     .argument = "DURATION",
     .help = "how long one training step may take",
     .offset = AT(run.step_timeout_ns)},
    {.name = "peer-silence",
     .kind = OPTION_DURATION,
     .argument = "DURATION",
     .help = "after how long a silent daemon counts as lost",
     .offset = AT(run.peer_silence_ns)},
    {.name = "grace",
     .kind = OPTION_DURATION,
     .argument = "DURATION",
     .help = "how long the others may take to end after one failed, or after Ctrl-C (10s)",
     .offset = AT(run.grace_ns)},
    {.name = "set",
     .letter = 's',
     .kind = OPTION_SETTING,
     .argument = "SECTION.KEY=VALUE",
     .help = "any other setting of seqsync.conf(5), for every daemon; may be repeated"},
    {0},
};

const struct command_entry command_table[] = {
    {.name = "run",
     .arguments = "[--] COMMAND [ARGUMENT ...]",
     .summary = "run a job on this machine with daemons of its own",
     .detail =
         "Starts private daemons and workers, shows the workers' output, and leaves nothing\n"
         "behind, however it ends. Each worker finds in its environment SEQSYNC_SOCKET,\n"
         "SEQSYNC_JOB, SEQSYNC_ADMIN, RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,\n"
         "GROUP_RANK and, unless set already, OPENBLAS_NUM_THREADS=1. The exit status is the\n"
         "first failing worker's: its own, or 128 + the number of the signal that ended it.\n",
     .options = run_options,
     .words_min = 1,
     .words_max = -1,
     .complete = COMPLETE_COMMAND,
     .run = run_run},
    {.name = "status",
     .summary = "one daemon's health, numbers and problems",
     .detail = "Exit status 0: healthy, 1: degraded, 2: critical.\n",
     .run = status_run},
    {.name = "nodes", .summary = "the nodes that this daemon knows", .run = nodes_run},
    {.name = "jobs", .summary = "the jobs that this daemon takes part in", .run = jobs_run},
    {.name = "shards",
     .arguments = "JOB",
     .summary = "who holds which tokens, computes what and waits how long",
     .options = shards_options,
     .words_min = 1,
     .words_max = 1,
     .complete = COMPLETE_JOB,
     .run = shards_run},
    {.name = "version", .summary = "versions of seqctl and of the daemon", .run = version_run},
    {.name = "completion",
     .arguments = "bash|zsh|fish",
     .summary = "print a completion script for a shell",
     .words_min = 1,
     .words_max = 1,
     .complete = COMPLETE_WORDS,
     .words = "bash zsh fish",
     .run = completion_run},
    {0},
};

const struct command_entry *command_find(const char *name)
{
    for (const struct command_entry *command = command_table; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static void help_options(FILE *out, const char *title, const struct option_entry *options)
{
    fprintf(out, "\n%s:\n", title);
    for (const struct option_entry *option = options; option->name; option++) {
        char text[80];
        char letter[8] = "    ";
        if (option->letter) {
            snprintf(letter, sizeof(letter), "-%c, ", option->letter);
        }
        snprintf(text, sizeof(text), "%s--%s%s%s", letter, option->name,
                 option->argument ? " " : "", option->argument ? option->argument : "");
        fprintf(out, "  %-30s %s\n", text, option->help);
    }
}

void command_help(FILE *out, const struct command_entry *command)
{
    if (command) {
        fprintf(out, "usage: seqctl %s [OPTION ...]%s%s\n%s.\n", command->name,
                command->arguments ? " " : "", command->arguments ? command->arguments : "",
                command->summary);
        if (command->detail) {
            fprintf(out, "\n%s", command->detail);
        }
        if (command->options) {
            help_options(out, "options", command->options);
        }
        help_options(out, "options of every command", command_global_options);
        return;
    }
    fprintf(out, "usage: seqctl [OPTION ...] COMMAND ...\n"
                 "Run sequence-parallel jobs and ask seqsync daemons about them.\n\ncommands:\n");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(out, "  %-12s %s\n", entry->name, entry->summary);
    }
    help_options(out, "options of every command", command_global_options);
    fprintf(out, "\nexit status: 0 ok, 1 degraded, 2 critical, 64 usage, 65 no such thing,\n"
                 "  69 daemon unreachable, 70 fault, 75 try again, 76 other version,\n"
                 "  77 not permitted, 78 configuration. See seqctl(1).\n");
}
