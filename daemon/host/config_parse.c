/* One INI file: bytes in, values and problems out. */
#include "daemon/host/config_parse.h"
#include "daemon/host/config_key.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 1024
_Static_assert(LINE_MAX_BYTES <= CONFIG_VALUE_MAX, "a value is part of a line");

struct parse {
    struct config *config;
    struct config_problems *problems;
    const char *file;
    enum config_source source;
    uint32_t line;
    char section[64];
    bool skip; /* the section is unknown, which was said already */
};

void config_complain(struct config_problems *problems, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    problems->count++;
    size_t used = strlen(problems->text);
    size_t length = strlen(text);
    if (used + length + 2 <= sizeof(problems->text)) {
        memcpy(problems->text + used, text, length);
        memcpy(problems->text + used + length, "\n", 2);
    }
}

/* What stands before a problem: "FILE:LINE", or where else the value is from. */
static void format_place(const struct config_origin *origin, char *ret, size_t size)
{
    if (origin->line > 0) {
        snprintf(ret, size, "%s:%u", origin->file, (unsigned)origin->line);
    } else {
        snprintf(ret, size, "%s", origin->file);
    }
}

void config_set(struct config *config, int key, const char *value,
                const struct config_origin *origin, struct config_problems *problems)
{
    const struct config_key *spec = &config_keys[key];
    struct config_origin *previous = &config->origins[key];
    char place[CONFIG_TEXT_MAX + 16];
    char text[CONFIG_SAY_MAX];
    bool same = previous->source == origin->source && strcmp(previous->file, origin->file) == 0;
    format_place(origin, place, sizeof(place));
    if (same && origin->line > 0 && !config_key_is_list(spec)) {
        config_complain(problems, "%s: [%s] %s is set already on line %u", place, spec->section,
                        spec->name, (unsigned)previous->line);
        return;
    }
    /* A list is the entries of one source. */
    if (!same && config_key_is_list(spec)) {
        config_key_clear(config, spec);
    }
    *previous = *origin;
    if (!config_key_set(config, spec, value, text)) {
        config_complain(problems, "%s: [%s] %s = %.200s: it %s", place, spec->section, spec->name,
                        value, text);
    }
}

void config_complain_unknown(struct config_problems *problems, const char *place,
                             const char *section, const char *name)
{
    const char *guess = config_key_guess(section, name);
    const char *what = section == NULL ? "section" : "key";
    config_complain(problems,
                    guess != NULL ? "%s: unknown %s \"%.64s\"%s%s, did you mean \"%s\"?"
                                  : "%s: unknown %s \"%.64s\"%s%s",
                    place, what, name, section != NULL ? " in " : "",
                    section != NULL ? section : "", guess);
}

static void parse_place(const struct parse *parse, char *ret, size_t size)
{
    snprintf(ret, size, "%s:%u", parse->file, (unsigned)parse->line);
}

static void parse_section(struct parse *parse, char *text)
{
    char place[CONFIG_TEXT_MAX + 16];
    parse_place(parse, place, sizeof(place));
    size_t length = strlen(text);
    parse->skip = true;
    if (length < 3 || text[length - 1] != ']') {
        config_complain(parse->problems, "%s: a section is written [name]", place);
        return;
    }
    text[length - 1] = '\0';
    const char *name = text + 1;
    if (strlen(name) >= sizeof(parse->section) || !config_key_section_exists(name)) {
        config_complain_unknown(parse->problems, place, NULL, name);
        return;
    }
    snprintf(parse->section, sizeof(parse->section), "%s", name);
    parse->skip = false;
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL) {
        length--;
    }
    text[length] = '\0';
    return text;
}

static void parse_assignment(struct parse *parse, char *text)
{
    char place[CONFIG_TEXT_MAX + 16];
    parse_place(parse, place, sizeof(place));
    char *equals = strchr(text, '=');
    if (equals == NULL) {
        config_complain(parse->problems, "%s: neither [section] nor key = value", place);
        return;
    }
    if (parse->skip) {
        return;
    }
    if (parse->section[0] == '\0') {
        config_complain(parse->problems, "%s: a key before the first [section]", place);
        return;
    }
    *equals = '\0';
    const char *name = trim(text);
    const char *value = trim(equals + 1);
    int key = config_key_find(parse->section, name);
    if (key < 0) {
        config_complain_unknown(parse->problems, place, parse->section, name);
        return;
    }
    struct config_origin origin = {.source = parse->source, .line = parse->line};
    snprintf(origin.file, sizeof(origin.file), "%s", parse->file);
    config_set(parse->config, key, value, &origin, parse->problems);
}

static void parse_line(struct parse *parse, const char *bytes, size_t length)
{
    char line[LINE_MAX_BYTES];
    parse->line++;
    if (length >= sizeof(line) || memchr(bytes, '\0', length) != NULL) {
        config_complain(parse->problems, "%s:%u: the line %s", parse->file, (unsigned)parse->line,
                        length >= sizeof(line) ? "is longer than 1023 bytes" : "holds a NUL byte");
        return;
    }
    memcpy(line, bytes, length);
    line[length] = '\0';
    char *text = trim(line);
    if (*text == '\0' || *text == '#' || *text == ';') {
        return;
    }
    if (*text == '[') {
        parse_section(parse, text);
    } else {
        parse_assignment(parse, text);
    }
}

void config_parse(struct config *config, const char *bytes, size_t length, const char *file,
                  enum config_source source, struct config_problems *problems)
{
    struct parse parse = {.config = config, .problems = problems, .file = file, .source = source};
    size_t first = 0;
    while (first < length) {
        const char *end = memchr(bytes + first, '\n', length - first);
        size_t line = end != NULL ? (size_t)(end - (bytes + first)) : length - first;
        parse_line(&parse, bytes + first, line);
        first += line + 1;
    }
}
