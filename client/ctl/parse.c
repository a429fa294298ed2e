/* From argv to struct ctl, along the command table. */
#include "client/ctl/command.h"

#include "client/ctl/text.h"

#include <getopt.h>
#include <string.h>

#define PARSE_OPTIONS_MAX 40

/* What getopt_long() needs, made of the global options and one command's own. */
struct parse {
    struct option longs[PARSE_OPTIONS_MAX + 1];
    const struct option_entry *entries[PARSE_OPTIONS_MAX];
    int count;
    char letters[2 * PARSE_OPTIONS_MAX + 3];
};

static void parse_add(struct parse *parse, const struct option_entry *options)
{
    for (const struct option_entry *entry = options; entry && entry->name; entry++) {
        if (parse->count == PARSE_OPTIONS_MAX) {
            return; /* a test walks the table, so that this cannot happen unseen */
        }
        bool has_argument = entry->kind != OPTION_FLAG;
        parse->longs[parse->count] = (struct option){
            .name = entry->name,
            .has_arg = has_argument ? required_argument : no_argument,
            .val = 256 + parse->count,
        };
        parse->entries[parse->count++] = entry;
        if (entry->letter) {
            size_t used = strlen(parse->letters);
            parse->letters[used] = entry->letter;
            parse->letters[used + 1] = has_argument ? ':' : '\0';
            parse->letters[used + 2] = '\0';
        }
    }
}

static const struct option_entry *parse_entry(const struct parse *parse, int value)
{
    if (value >= 256) {
        return parse->entries[value - 256];
    }
    for (int i = 0; i < parse->count; i++) {
        if (parse->entries[i]->letter == value) {
            return parse->entries[i];
        }
    }
    return NULL;
}

static int parse_value_error(struct error *error, const struct option_entry *entry,
                             const char *value, const char *expected)
{
    error_set(error, EX_USAGE, "USAGE", "--%s cannot be \"%s\"", entry->name, value);
    return error_cause(error, "expected %s", expected);
}

/* Stores one option's value where the table says. */
static int parse_store(struct ctl *ctl, const struct option_entry *entry, const char *value,
                       struct error *error)
{
    void *at = (char *)ctl + entry->offset;
    char expected[80];
    switch (entry->kind) {
    case OPTION_FLAG:
        *(bool *)at = true;
        return EX_OK;
    case OPTION_TEXT:
        *(const char **)at = value;
        return EX_OK;
    case OPTION_DURATION:
        if (!text_parse_duration(value, at) || *(uint64_t *)at == 0) {
            return parse_value_error(error, entry, value, "a duration such as 500ms, 5s, 2min");
        }
        return EX_OK;
    case OPTION_COUNT:
        if (!text_parse_count(value, entry->least, entry->most, at)) {
            snprintf(expected, sizeof(expected), "a number from %u to %u", entry->least,
                     entry->most);
            return parse_value_error(error, entry, value, expected);
        }
        return EX_OK;
    case OPTION_SETTING:
        if (!strchr(value, '.') || !strchr(value, '=') || strpbrk(value, "\n\r")) {
            return parse_value_error(error, entry, value, "SECTION.KEY=VALUE");
        }
        if (ctl->run.setting_count == CTL_SETTINGS_MAX) {
            return error_set(error, EX_USAGE, "USAGE", "more than %d times --%s", CTL_SETTINGS_MAX,
                             entry->name);
        }
        ctl->run.settings[ctl->run.setting_count++] = value;
        return EX_OK;
    }
    return error_set(error, EX_SOFTWARE, "INTERNAL", "option --%s has no kind", entry->name);
}

/* "did you mean": the known word that is nearest to what was typed, if it is near. */
static const char *parse_nearest(const char *typed, const struct parse *parse)
{
    const char *best = NULL;
    uint32_t best_distance = 3;
    for (int i = 0; parse && i < parse->count; i++) {
        uint32_t distance = text_distance(typed, parse->entries[i]->name);
        if (distance < best_distance) {
            best = parse->entries[i]->name;
            best_distance = distance;
        }
    }
    for (const struct command_entry *entry = command_table; !parse && entry->name; entry++) {
        uint32_t distance = text_distance(typed, entry->name);
        if (distance < best_distance) {
            best = entry->name;
            best_distance = distance;
        }
    }
    return best;
}

static int parse_unknown(struct error *error, const struct parse *parse, const char *word, int kind)
{
    if (kind == ':') {
        return error_set(error, EX_USAGE, "USAGE", "option %s needs a value", word);
    }
    error_set(error, EX_USAGE, "USAGE", "option %s is not known, or ambiguous", word);
    const char *near = strncmp(word, "--", 2) == 0 ? parse_nearest(word + 2, parse) : NULL;
    if (near) {
        return error_hint(error, "--%s", near);
    }
    return error_hint(error, "seqctl --help");
}

/* Options up to the first word, or among all words. Leaves optind behind what it took. */
static int parse_options(struct ctl *ctl, int argc, char **argv, const struct command_entry *entry,
                         bool stop_at_word, struct error *error)
{
    struct parse parse = {.count = 0};
    /* '+': stop at the first word. ':': tell a missing value from an unknown option. */
    strcpy(parse.letters, stop_at_word ? "+:" : ":");
    parse_add(&parse, command_global_options);
    parse_add(&parse, entry ? entry->options : NULL);
    opterr = 0;
    for (;;) {
        int value = getopt_long(argc, argv, parse.letters, parse.longs, NULL);
        if (value == -1) {
            return EX_OK;
        }
        if (value == '?' || value == ':') {
            char letter[3] = {'-', (char)optopt, '\0'};
            bool is_letter = optopt > 0 && optopt < 256;
            return parse_unknown(error, &parse, is_letter ? letter : argv[optind - 1], value);
        }
        const struct option_entry *option = parse_entry(&parse, value);
        int status = parse_store(ctl, option, optarg, error);
        if (status) {
            return status;
        }
    }
}

static int parse_formats(struct ctl *ctl, struct error *error)
{
    static const char *const formats[] = {"table", "wide", "json", "csv", "name"};
    static const char *const prefixes[] = {"auto", "always", "never"};
    bool known = !ctl->format_text;
    for (uint32_t i = 0; ctl->format_text && i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(ctl->format_text, formats[i]) == 0) {
            ctl->format = (enum ctl_format)i;
            known = true;
        }
    }
    if (!known) {
        error_set(error, EX_USAGE, "USAGE", "--format cannot be \"%s\"", ctl->format_text);
        return error_cause(error, "expected table, wide, json, csv or name");
    }
    if (ctl->format == CTL_JSON) {
        ctl->json = true;
    } else if (ctl->json) {
        ctl->format = CTL_JSON;
    }
    known = !ctl->run.prefix_text;
    for (uint32_t i = 0; ctl->run.prefix_text && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strcmp(ctl->run.prefix_text, prefixes[i]) == 0) {
            ctl->run.prefix = (enum ctl_prefix)i;
            known = true;
        }
    }
    if (!known) {
        error_set(error, EX_USAGE, "USAGE", "--prefix cannot be \"%s\"", ctl->run.prefix_text);
        return error_cause(error, "expected auto, always or never");
    }
    return EX_OK;
}

static int parse_words(struct ctl *ctl, const struct command_entry *command, struct error *error)
{
    if (ctl->word_count < command->words_min) {
        error_set(error, EX_USAGE, "USAGE", "seqctl %s needs %s", command->name,
                  command->arguments);
        return error_hint(error, "seqctl %s --help", command->name);
    }
    if (command->words_max >= 0 && ctl->word_count > command->words_max) {
        error_set(error, EX_USAGE, "USAGE", "seqctl %s does not take \"%s\"", command->name,
                  ctl->words[command->words_max]);
        return error_hint(error, "seqctl %s --help", command->name);
    }
    return EX_OK;
}

int command_parse(struct ctl *ctl, int argc, char **argv, const struct command_entry **ret_command,
                  struct error *error)
{
    *ret_command = NULL;
    optind = 0; /* glibc: start anew, also for a second call in one process */
    int status = parse_options(ctl, argc, argv, NULL, /* stop_at_word= */ true, error);
    if (status) {
        return status;
    }
    if (optind >= argc) {
        if (ctl->help) {
            return EX_OK;
        }
        error_set(error, EX_USAGE, "USAGE", "which command?");
        return error_hint(error, "seqctl --help");
    }
    const char *name = argv[optind];
    const struct command_entry *command = command_find(name);
    if (!command && strcmp(name, "help") == 0) {
        ctl->help = true;
        *ret_command = optind + 1 < argc ? command_find(argv[optind + 1]) : NULL;
        return EX_OK;
    }
    if (!command) {
        error_set(error, EX_USAGE, "USAGE", "there is no command \"%s\"", name);
        const char *near = parse_nearest(name, NULL);
        return near ? error_hint(error, "seqctl %s", near) : error_hint(error, "seqctl --help");
    }
    /* The command's own pass sees its name as argv[0], as getopt expects. */
    argc -= optind;
    argv += optind;
    optind = 0;
    status = parse_options(ctl, argc, argv, command, command->words_max < 0, error);
    if (status) {
        return status;
    }
    *ret_command = command;
    ctl->words = argv + optind;
    ctl->word_count = argc - optind;
    status = parse_formats(ctl, error);
    if (status || ctl->help) {
        return status;
    }
    return parse_words(ctl, command, error);
}
