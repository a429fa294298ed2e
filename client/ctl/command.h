/*
 * The command table: one place says which verbs and options there are, what they take and what they
 * are for. Parsing, help and shell completion all follow from it.
 */
#ifndef SEQSYNC_CTL_COMMAND_H
#define SEQSYNC_CTL_COMMAND_H

#include "client/ctl/ctl.h"
#include "client/ctl/error.h"

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_DURATION, /* uint64_t, ns */
    OPTION_COUNT,    /* uint32_t, within least .. most */
    OPTION_SETTING,  /* appended to ctl->run.settings */
};

/* What completes an argument. */
enum complete_kind {
    COMPLETE_NOTHING,
    COMPLETE_FILE,
    COMPLETE_DIRECTORY,
    COMPLETE_WORDS,   /* those of option.words */
    COMPLETE_JOB,     /* a job that the daemon knows */
    COMPLETE_COMMAND, /* any program */
};

struct option_entry {
    const char *name; /* without "--" */
    char letter;      /* 0 = none */
    enum option_kind kind;
    const char *argument; /* for help; NULL for flags */
    const char *help;
    size_t offset; /* of the value in struct ctl */
    uint32_t least;
    uint32_t most;
    enum complete_kind complete;
    const char *words; /* space-separated */
};

struct command_entry {
    const char *name;
    const char *arguments; /* for help */
    const char *summary;
    const char *detail;                 /* paragraphs for help, or NULL */
    const struct option_entry *options; /* its own, ended by name NULL; or NULL */
    int words_min;
    int words_max; /* -1 = any number, and no option is looked for behind the first */
    enum complete_kind complete;
    const char *words;
    /* Returns an exit status; on an error fills @error. */
    int (*run)(struct ctl *ctl, struct error *error);
};

/* Ended by name NULL. */
extern const struct command_entry command_table[];
extern const struct option_entry command_global_options[];

/* NULL if there is none of that name. */
const struct command_entry *command_find(const char *name);

/* Of the whole, or of one command. */
void command_help(FILE *out, const struct command_entry *command);

/*
 * Parses the whole command line. *ret_command is NULL if help of the whole is wanted. On failure
 * fills @error (EX_USAGE). @ctl has its defaults and is changed as the options say.
 */
int command_parse(struct ctl *ctl, int argc, char **argv, const struct command_entry **ret_command,
                  struct error *error);

/* The verb `completion`: prints a script for bash, zsh or fish. */
int completion_run(struct ctl *ctl, struct error *error);

#endif
