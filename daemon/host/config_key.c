#include "daemon/host/config_key.h"

#include "daemon/host/config_value.h"
#include "daemon/host/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define SECOND 1000000000ull
#define GUESS_MAX 64 /* bytes of a name that is compared */

#define AT(field) offsetof(struct config, field)

const struct config_key config_keys[] = {
    {"node", "name", CONFIG_KIND_NAME, false, AT(node_name), 0, 0},
    {"node", "state-dir", CONFIG_KIND_PATH, false, AT(state_dir), 0, 0},
    {"node", "runtime-dir", CONFIG_KIND_PATH, false, AT(runtime_dir), 0, 0},
    {"node", "worker-socket", CONFIG_KIND_PATH, true, AT(worker_socket), 0, 0},
    {"node", "admin-endpoint", CONFIG_KIND_ENDPOINT, true, AT(admin_endpoint), 0, 0},
    {"peers", "member", CONFIG_KIND_MEMBER, true, 0, 0, 0},
    {"arena", "limit", CONFIG_KIND_SIZE, false, AT(arena_limit_text), 0, 0},
    {"arena", "per-user-limit", CONFIG_KIND_SIZE, false, AT(arena_user_limit_text), 0, 0},
    {"security", "secret-key-file", CONFIG_KIND_PATH, true, AT(secret_key_file), 0, 0},
    {"security", "allow-plaintext", CONFIG_KIND_BOOL, false, AT(allow_plaintext), 0, 0},
    {"security", "worker-user", CONFIG_KIND_USER, true, 0, 0, 0},
    {"security", "worker-group", CONFIG_KIND_GROUP, true, AT(worker_group_name), 0, 0},
    {"security", "admin-group", CONFIG_KIND_GROUP, true, AT(admin_group_name), 0, 0},
    {"limits", "workers", CONFIG_KIND_COUNT, false, AT(workers_max), 1, 4096},
    {"limits", "workers-per-user", CONFIG_KIND_COUNT, false, AT(workers_per_user_max), 1, 4096},
    {"timeouts", "join", CONFIG_KIND_DURATION, false, AT(join_ns), 100 * MS, 24 * 3600 * SECOND},
    {"timeouts", "step", CONFIG_KIND_DURATION, false, AT(step_ns), 100 * MS, 24 * 3600 * SECOND},
    {"timeouts", "peer-silence", CONFIG_KIND_DURATION, false, AT(peer_silence_ns), 100 * MS,
     3600 * SECOND},
    {"timeouts", "ping", CONFIG_KIND_DURATION, false, AT(ping_ns), 10 * MS, 3600 * SECOND},
    {"timeouts", "handshake", CONFIG_KIND_DURATION, false, AT(handshake_ns), 10 * MS, 600 * SECOND},
    {"timeouts", "curve-check", CONFIG_KIND_DURATION, false, AT(curve_check_ns), 1 * SECOND,
     24 * 3600 * SECOND},
    {"lanes", "count", CONFIG_KIND_COUNT, false, AT(lane_count), 1, 64},
    {"log", "level", CONFIG_KIND_LEVEL, false, AT(log_level), 0, 0},
};
const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);
_Static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEYS_MAX,
               "each key has an origin");

bool config_key_is_list(const struct config_key *key)
{
    return key->kind == CONFIG_KIND_MEMBER || key->kind == CONFIG_KIND_USER;
}

int config_key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].section, section) == 0 &&
            strcmp(config_keys[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

bool config_key_section_exists(const char *section)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].section, section) == 0) {
            return true;
        }
    }
    return false;
}

/* Insertions, deletions and substitutions between two names of less than GUESS_MAX bytes. */
static uint32_t distance(const char *a, const char *b)
{
    uint32_t row[GUESS_MAX];
    size_t length = strlen(b);
    for (size_t j = 0; j <= length; j++) {
        row[j] = (uint32_t)j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i + 1;
        for (size_t j = 0; j < length; j++) {
            uint32_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            best = best < row[j] + 1 ? best : row[j] + 1;
            best = best < diagonal + 1 ? best : diagonal + 1;
            row[j + 1] = best;
        }
    }
    return row[length];
}

const char *config_key_guess(const char *section, const char *wrong)
{
    const char *guess = NULL;
    if (strlen(wrong) >= GUESS_MAX) {
        return NULL;
    }
    uint32_t best = (uint32_t)strlen(wrong) / 3 + 2;
    for (size_t i = 0; i < config_key_count; i++) {
        if (section != NULL && strcmp(config_keys[i].section, section) != 0) {
            continue;
        }
        const char *name = section == NULL ? config_keys[i].section : config_keys[i].name;
        uint32_t d = distance(wrong, name);
        if (d < best) {
            best = d;
            guess = name;
        }
    }
    return guess;
}

/* ---- reading ---- */

static bool say(char ret_say[CONFIG_SAY_MAX], const char *text)
{
    snprintf(ret_say, CONFIG_SAY_MAX, "%s", text);
    return false;
}

/* Splits off the next word of @text, which is written to; "" at the end. */
static char *next_word(char **text)
{
    char *word = *text + strspn(*text, " \t");
    char *end = word + strcspn(word, " \t");
    *text = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static bool set_member(struct config *config, const char *value, char ret_say[CONFIG_SAY_MAX])
{
    char words[CONFIG_VALUE_MAX];
    struct config_member member = {.name = ""};
    snprintf(words, sizeof(words), "%s", value);
    char *rest = words;
    const char *name = next_word(&rest);
    const char *endpoint = next_word(&rest);
    const char *key = next_word(&rest);
    if (*endpoint == '\0' || *next_word(&rest) != '\0') {
        return say(ret_say, "must be NAME ENDPOINT [PUBLICKEY]");
    }
    if (!config_value_is_name(name)) {
        return say(ret_say, "has a bad name: use letters, digits, '.', '_', '-', at most 63");
    }
    if (strlen(endpoint) >= CONFIG_TEXT_MAX ||
        !config_value_endpoint(endpoint, member.bulk_endpoint)) {
        return say(ret_say, "has a bad endpoint: it must be tcp://HOST:PORT with a port of 1 to "
                            "65534, or ipc:///PATH of at most 102 bytes");
    }
    if (*key != '\0' && !config_value_is_key(key)) {
        return say(ret_say, "has a bad public key: it must be the 40 characters that seqsyncd "
                            "--genkey printed");
    }
    if (config->member_count == SEQSYNC_NODES_MAX) {
        return say(ret_say, "is one more than the 64 members that a cluster can have");
    }
    memcpy(member.name, name, strlen(name) + 1);
    memcpy(member.endpoint, endpoint, strlen(endpoint) + 1);
    memcpy(member.public_key, key, strlen(key) + 1);
    config->members[config->member_count++] = member;
    return true;
}

static bool set_user(struct config *config, const char *value, char ret_say[CONFIG_SAY_MAX])
{
    if (strlen(value) >= sizeof(config->worker_user_names[0])) {
        return say(ret_say, "is too long for a user name");
    }
    if (config->worker_user_count == CONFIG_USERS_MAX) {
        return say(ret_say, "is one more than the 64 users that can be named: use worker-group");
    }
    memcpy(config->worker_user_names[config->worker_user_count++], value, strlen(value) + 1);
    return true;
}

static bool set_text(char *field, size_t size, const char *value, char ret_say[CONFIG_SAY_MAX])
{
    if (strlen(value) >= size) {
        return say(ret_say, "is too long");
    }
    memcpy(field, value, strlen(value) + 1);
    return true;
}

static bool set_range(const struct config_key *key, uint64_t value, uint64_t *field,
                      char ret_say[CONFIG_SAY_MAX])
{
    if (value >= key->min && value <= key->max) {
        *field = value;
        return true;
    }
    char min[32];
    char max[32];
    if (key->kind == CONFIG_KIND_DURATION) {
        config_value_format_duration(key->min, min, sizeof(min));
        config_value_format_duration(key->max, max, sizeof(max));
    } else {
        snprintf(min, sizeof(min), "%" PRIu64, key->min);
        snprintf(max, sizeof(max), "%" PRIu64, key->max);
    }
    snprintf(ret_say, CONFIG_SAY_MAX, "must be from %s to %s", min, max);
    return false;
}

static bool set_level(int *field, const char *value, char ret_say[CONFIG_SAY_MAX])
{
    int level = log_level_parse(value);
    if (level < 0) {
        return say(ret_say, "must be error, warning, notice, info or debug");
    }
    *field = level;
    return true;
}

bool config_key_set(struct config *config, const struct config_key *key, const char *value,
                    char ret_say[CONFIG_SAY_MAX])
{
    char *field = (char *)config + key->offset;
    char unused[CONFIG_TEXT_MAX];
    uint64_t number;
    uint32_t percent;
    if (*value == '\0') {
        if (!key->optional) {
            return say(ret_say, "has no value");
        }
        if (config_key_is_list(key)) {
            config_key_clear(config, key);
        } else {
            *field = '\0';
        }
        return true;
    }
    switch (key->kind) {
    case CONFIG_KIND_NAME:
        return config_value_is_name(value)
                   ? set_text(field, SEQSYNC_NAME_MAX + 1, value, ret_say)
                   : say(ret_say, "must be letters, digits, '.', '_', '-', at most 63");
    case CONFIG_KIND_PATH:
        return value[0] == '/' ? set_text(field, CONFIG_TEXT_MAX, value, ret_say)
                               : say(ret_say, "must be an absolute path");
    case CONFIG_KIND_ENDPOINT:
        return config_value_endpoint(value, unused)
                   ? set_text(field, CONFIG_TEXT_MAX, value, ret_say)
                   : say(ret_say, "must be ipc:///PATH or tcp://HOST:PORT");
    case CONFIG_KIND_SIZE:
        return config_value_size(value, &number) || config_value_percent(value, &percent)
                   ? set_text(field, sizeof(config->arena_limit_text), value, ret_say)
                   : say(ret_say, "must be a size with its unit, like 8GiB, or a share, like 80%");
    case CONFIG_KIND_DURATION:
        return config_value_duration(value, &number)
                   ? set_range(key, number, (uint64_t *)(void *)field, ret_say)
                   : say(ret_say, "must be a time with its unit, like 500ms or 60s");
    case CONFIG_KIND_COUNT:
        return config_value_count(value, &number)
                   ? set_range(key, number, (uint64_t *)(void *)field, ret_say)
                   : say(ret_say, "must be a whole number");
    case CONFIG_KIND_BOOL:
        return config_value_bool(value, (bool *)field) ? true : say(ret_say, "must be yes or no");
    case CONFIG_KIND_LEVEL:
        return set_level((int *)(void *)field, value, ret_say);
    case CONFIG_KIND_GROUP:
        return set_text(field, sizeof(config->worker_group_name), value, ret_say);
    case CONFIG_KIND_MEMBER:
        return set_member(config, value, ret_say);
    case CONFIG_KIND_USER:
        return set_user(config, value, ret_say);
    }
    return false;
}

void config_key_clear(struct config *config, const struct config_key *key)
{
    if (key->kind == CONFIG_KIND_MEMBER) {
        config->member_count = 0;
    } else if (key->kind == CONFIG_KIND_USER) {
        config->worker_user_count = 0;
    }
}

/* ---- writing ---- */

uint32_t config_key_entries(const struct config *config, const struct config_key *key)
{
    if (key->kind == CONFIG_KIND_MEMBER) {
        return config->member_count;
    }
    return key->kind == CONFIG_KIND_USER ? config->worker_user_count : 1;
}

void config_key_format(const struct config *config, const struct config_key *key, uint32_t index,
                       char ret_value[CONFIG_VALUE_MAX])
{
    const void *field = (const char *)config + key->offset;
    uint64_t number;
    switch (key->kind) {
    case CONFIG_KIND_DURATION:
        memcpy(&number, field, sizeof(number));
        config_value_format_duration(number, ret_value, CONFIG_VALUE_MAX);
        break;
    case CONFIG_KIND_COUNT:
        memcpy(&number, field, sizeof(number));
        snprintf(ret_value, CONFIG_VALUE_MAX, "%" PRIu64, number);
        break;
    case CONFIG_KIND_BOOL:
        snprintf(ret_value, CONFIG_VALUE_MAX, "%s", *(const bool *)field ? "yes" : "no");
        break;
    case CONFIG_KIND_LEVEL:
        snprintf(ret_value, CONFIG_VALUE_MAX, "%s",
                 log_level_name((enum log_level) * (const int *)field));
        break;
    case CONFIG_KIND_MEMBER: {
        const struct config_member *member = &config->members[index];
        snprintf(ret_value, CONFIG_VALUE_MAX, "%s %s%s%s", member->name, member->endpoint,
                 member->public_key[0] != '\0' ? " " : "", member->public_key);
        break;
    }
    case CONFIG_KIND_USER:
        snprintf(ret_value, CONFIG_VALUE_MAX, "%s", config->worker_user_names[index]);
        break;
    case CONFIG_KIND_NAME:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_ENDPOINT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_GROUP:
        snprintf(ret_value, CONFIG_VALUE_MAX, "%s", (const char *)field);
        break;
    }
}
