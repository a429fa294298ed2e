/*
 * The table of all configuration keys: what kind of value each has, its limits, where it is kept,
 * and how it is read and written as text. Pure.
 */
#ifndef SEQSYNC_HOST_CONFIG_KEY_H
#define SEQSYNC_HOST_CONFIG_KEY_H

#include "daemon/host/config.h"

#include <stddef.h>

#define CONFIG_VALUE_MAX 1024 /* of a value as text, with NUL */
#define CONFIG_SAY_MAX 320    /* of what is wrong with one */

enum config_kind {
    CONFIG_KIND_NAME,     /* char[SEQSYNC_NAME_MAX + 1] */
    CONFIG_KIND_PATH,     /* char[CONFIG_TEXT_MAX], absolute */
    CONFIG_KIND_ENDPOINT, /* char[CONFIG_TEXT_MAX] */
    CONFIG_KIND_SIZE,     /* char[32]: a size or a percentage, resolved by config_finish() */
    CONFIG_KIND_DURATION, /* uint64_t nanoseconds */
    CONFIG_KIND_COUNT,    /* uint64_t */
    CONFIG_KIND_BOOL,     /* bool */
    CONFIG_KIND_LEVEL,    /* int, enum log_level */
    CONFIG_KIND_GROUP,    /* char[64], resolved by config_finish() */
    CONFIG_KIND_MEMBER,   /* list: members */
    CONFIG_KIND_USER,     /* list: worker_user_names */
};

struct config_key {
    const char *section;
    const char *name;
    enum config_kind kind;
    bool optional; /* may be empty: the built-in state of it */
    size_t offset; /* into struct config; lists: unused */
    uint64_t min;  /* DURATION, COUNT */
    uint64_t max;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

bool config_key_is_list(const struct config_key *key);

/* Its place in the table, -1 = unknown. */
int config_key_find(const char *section, const char *name);
bool config_key_section_exists(const char *section);

/* The name of a section (@section NULL), or of a key of @section, that @wrong may be meant for;
 * NULL = none is near. */
const char *config_key_guess(const char *section, const char *wrong);

/* Reads @value into @config (lists: appends). Changes nothing and says what is wrong in @ret_say,
 * or true. */
bool config_key_set(struct config *config, const struct config_key *key, const char *value,
                    char ret_say[CONFIG_SAY_MAX]);

/* Lists: forgets all entries. */
void config_key_clear(struct config *config, const struct config_key *key);

/* Entries of a list, 1 for others. */
uint32_t config_key_entries(const struct config *config, const struct config_key *key);

/* Writes entry @index as text that config_key_set() reads. */
void config_key_format(const struct config *config, const struct config_key *key, uint32_t index,
                       char ret_value[CONFIG_VALUE_MAX]);

#endif
