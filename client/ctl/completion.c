/*
 * Completion scripts, printed from the command table. Names of jobs come from the daemon, which
 * gets 200 ms for the answer: a shell must not hang because a daemon does.
 */
#include "client/ctl/command.h"

#include <string.h>

#define JOBS_COMMAND "seqctl jobs -o name --timeout 200ms 2>/dev/null"

static bool takes_value(const struct option_entry *option)
{
    return option->kind != OPTION_FLAG;
}

static void bash_options(FILE *out, const struct option_entry *options)
{
    for (const struct option_entry *option = options; option && option->name; option++) {
        fprintf(out, " --%s", option->name);
    }
}

static void bash_kind(FILE *out, enum complete_kind kind, const char *words)
{
    switch (kind) {
    case COMPLETE_WORDS:
        fprintf(out, "COMPREPLY=($(compgen -W '%s' -- \"$word\"))", words);
        return;
    case COMPLETE_JOB:
        fprintf(out, "COMPREPLY=($(compgen -W \"$(%s)\" -- \"$word\"))", JOBS_COMMAND);
        return;
    case COMPLETE_FILE:
        fprintf(out, "COMPREPLY=($(compgen -f -- \"$word\"))");
        return;
    case COMPLETE_DIRECTORY:
        fprintf(out, "COMPREPLY=($(compgen -d -- \"$word\"))");
        return;
    case COMPLETE_COMMAND:
        fprintf(out, "COMPREPLY=($(compgen -c -- \"$word\"))");
        return;
    case COMPLETE_NOTHING:
        fprintf(out, "COMPREPLY=()");
        return;
    }
}

/* case "$before" of all options that take a value. */
static void bash_values(FILE *out, const struct option_entry *options)
{
    for (const struct option_entry *option = options; option && option->name; option++) {
        if (takes_value(option)) {
            fprintf(out, "    --%s", option->name);
            if (option->letter) {
                fprintf(out, " | -%c", option->letter);
            }
            fprintf(out, ") ");
            bash_kind(out, option->complete, option->words);
            fprintf(out, "; return ;;\n");
        }
    }
}

static void completion_bash(FILE *out)
{
    fprintf(out, "# bash completion for seqctl, printed by `seqctl completion bash`\n"
                 "# shellcheck disable=SC2207 # the usual idiom of completion functions\n"
                 "_seqctl() {\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    local verb='' i\n"
                 "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "        case ${COMP_WORDS[i]} in\n        ");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(out, "%s%s", entry == command_table ? "" : " | ", entry->name);
    }
    fprintf(out, ") verb=${COMP_WORDS[i]}; break ;;\n        esac\n    done\n"
                 "    case $before in\n");
    bash_values(out, command_global_options);
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        bash_values(out, entry->options);
    }
    fprintf(out, "    esac\n    case $verb in\n");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(
            out,
            "    %s)\n        if [[ $word == -* ]]; then\n            COMPREPLY=($(compgen -W '",
            entry->name);
        bash_options(out, command_global_options);
        bash_options(out, entry->options);
        fprintf(out, "' -- \"$word\"))\n        else\n            ");
        bash_kind(out, entry->complete, entry->words);
        fprintf(out, "\n        fi ;;\n");
    }
    fprintf(out, "    *) COMPREPLY=($(compgen -W '");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(out, "%s ", entry->name);
    }
    fprintf(out, "help");
    bash_options(out, command_global_options);
    fprintf(out, "' -- \"$word\")) ;;\n    esac\n}\ncomplete -F _seqctl seqctl\n");
}

/* A text within single quotes, in a specification where brackets and colons have a meaning. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '\'':
            fputs("'\\''", out);
            break;
        case ':':
        case '[':
        case ']':
            fprintf(out, "\\%c", *text);
            break;
        default:
            fputc(*text, out);
            break;
        }
    }
}

/* A text within single quotes. */
static void fish_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        fprintf(out, *text == '\'' ? "\\%c" : "%c", *text);
    }
}

static void zsh_kind(FILE *out, enum complete_kind kind, const char *words)
{
    switch (kind) {
    case COMPLETE_WORDS:
        fprintf(out, "(%s)", words);
        return;
    case COMPLETE_JOB:
        fprintf(out, "($(%s))", JOBS_COMMAND);
        return;
    case COMPLETE_FILE:
        fprintf(out, "_files");
        return;
    case COMPLETE_DIRECTORY:
        fprintf(out, "_files -/");
        return;
    case COMPLETE_COMMAND:
        fprintf(out, "_command_names -e");
        return;
    case COMPLETE_NOTHING:
        fprintf(out, " ");
        return;
    }
}

static void zsh_options(FILE *out, const struct option_entry *options)
{
    for (const struct option_entry *option = options; option && option->name; option++) {
        fprintf(out, " \\\n            '%s--%s[", option->kind == OPTION_SETTING ? "*" : "",
                option->name);
        zsh_text(out, option->help);
        fprintf(out, "]");
        if (takes_value(option)) {
            fprintf(out, ":");
            zsh_text(out, option->argument);
            fprintf(out, ":");
            zsh_kind(out, option->complete, option->words);
        }
        fprintf(out, "'");
    }
}

static void completion_zsh(FILE *out)
{
    fprintf(out, "#compdef seqctl\n"
                 "# zsh completion for seqctl, printed by `seqctl completion zsh`\n"
                 "_seqctl() {\n    local state verb\n    local -a commands\n    commands=(\n");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(out, "        '%s:", entry->name);
        zsh_text(out, entry->summary);
        fprintf(out, "'\n");
    }
    fprintf(out, "    )\n    _arguments -C");
    zsh_options(out, command_global_options);
    fprintf(out, " \\\n            '1:command:->command' '*::argument:->argument'\n"
                 "    verb=$words[1]\n"
                 "    case $state in\n    command) _describe command commands ;;\n"
                 "    argument)\n        case $verb in\n");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(out, "        %s) _arguments", entry->name);
        zsh_options(out, command_global_options);
        zsh_options(out, entry->options);
        if (entry->words_max < 0) {
            fprintf(out, " \\\n            '1:command:_command_names -e' '*::arguments:_normal'");
        } else if (entry->words_max > 0) {
            fprintf(out, " \\\n            '1:argument:");
            zsh_kind(out, entry->complete, entry->words);
            fprintf(out, "'");
        }
        fprintf(out, " ;;\n");
    }
    /* Autoloaded, this file is the function's body; sourced, it has to say what it completes. */
    fprintf(out, "        esac ;;\n    esac\n}\n"
                 "if [[ $funcstack[1] == _seqctl ]]; then\n    _seqctl \"$@\"\n"
                 "else\n    compdef _seqctl seqctl\nfi\n");
}

static void fish_options(FILE *out, const char *condition, const struct option_entry *options)
{
    for (const struct option_entry *option = options; option && option->name; option++) {
        fprintf(out, "complete -c seqctl%s -l %s", condition, option->name);
        if (option->letter) {
            fprintf(out, " -s %c", option->letter);
        }
        switch (option->complete) {
        case COMPLETE_WORDS:
            fprintf(out, " -xa '%s'", option->words);
            break;
        case COMPLETE_FILE:
            fprintf(out, " -rF");
            break;
        case COMPLETE_DIRECTORY:
            fprintf(out, " -xa '(__fish_complete_directories)'");
            break;
        default:
            fprintf(out, "%s", takes_value(option) ? " -x" : "");
            break;
        }
        fprintf(out, " -d '");
        fish_text(out, option->help);
        fprintf(out, "'\n");
    }
}

static void completion_fish(FILE *out)
{
    fprintf(out, "# fish completion for seqctl, printed by `seqctl completion fish`\n"
                 "complete -c seqctl -f\n");
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        fprintf(out, "complete -c seqctl -n __fish_use_subcommand -a %s -d '", entry->name);
        fish_text(out, entry->summary);
        fprintf(out, "'\n");
    }
    fish_options(out, "", command_global_options);
    for (const struct command_entry *entry = command_table; entry->name; entry++) {
        char condition[96];
        snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s'", entry->name);
        fish_options(out, condition, entry->options);
        switch (entry->complete) {
        case COMPLETE_WORDS:
            fprintf(out, "complete -c seqctl%s -a '%s'\n", condition, entry->words);
            break;
        case COMPLETE_JOB:
            fprintf(out, "complete -c seqctl%s -a '(%s)'\n", condition, JOBS_COMMAND);
            break;
        case COMPLETE_COMMAND:
            fprintf(out, "complete -c seqctl%s -a '(__fish_complete_command)'\n", condition);
            break;
        default:
            break;
        }
    }
}

int completion_run(struct ctl *ctl, struct error *error)
{
    static const struct {
        const char *shell;
        void (*print)(FILE *out);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        if (strcmp(ctl->words[0], shells[i].shell) == 0) {
            shells[i].print(ctl->out);
            return EX_OK;
        }
    }
    error_set(error, EX_USAGE, "USAGE", "there is no completion for \"%s\"", ctl->words[0]);
    return error_cause(error, "expected bash, zsh or fish");
}
