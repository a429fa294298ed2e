/*
 * seqctl's own nouns: the options of one call, and what a verb is given and answers with.
 *
 * A verb writes its answer to ctl->out and returns the exit status. Whatever goes wrong is
 * described once, as a struct error (error.h), by whoever notices it, and printed once, by main.
 *
 * seqctl has one thread, except for libzmq's own while a question is asked.
 */
#ifndef SEQSYNC_CTL_H
#define SEQSYNC_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sysexits.h>

#define CTL_ADMIN_DEFAULT "ipc:///run/seqsync/admin.sock"
#define CTL_SETTINGS_MAX 32

/* Exit statuses beside those of sysexits.h. */
enum {
    CTL_EXIT_WARN = 1,     /* the answer says: degraded */
    CTL_EXIT_CRITICAL = 2, /* the answer says: not working */
};

enum ctl_format {
    CTL_TABLE = 0,
    CTL_WIDE, /* all columns */
    CTL_JSON,
    CTL_CSV,
    CTL_NAME, /* first column only, no header */
};

enum ctl_prefix {
    CTL_PREFIX_AUTO = 0, /* when there is more than one worker */
    CTL_PREFIX_ALWAYS,
    CTL_PREFIX_NEVER,
};

/* `seqctl run`. */
struct ctl_run {
    uint32_t nodes;
    uint32_t workers;
    const char *job; /* NULL = named after the command */
    const char *keep_logs;
    const char *prefix_text;
    enum ctl_prefix prefix;
    const char *log_level;
    uint64_t join_timeout_ns; /* 0 = the daemon's default, as the next two */
    uint64_t step_timeout_ns;
    uint64_t peer_silence_ns;
    uint64_t grace_ns;                      /* from the first failure until the others are killed */
    const char *settings[CTL_SETTINGS_MAX]; /* section.key=value for every daemon */
    uint32_t setting_count;
};

/* The options of this call. Texts are borrowed from argv and the environment. */
struct ctl {
    FILE *out;
    FILE *err;
    const char *admin; /* endpoint */
    uint64_t timeout_ns;
    const char *format_text;
    enum ctl_format format;
    bool json;
    bool no_headers;
    bool quiet;
    bool help;
    bool heat;
    bool colour;
    bool ascii;
    struct ctl_run run;
    char *const *words; /* what follows the verb */
    int word_count;
};

#endif
