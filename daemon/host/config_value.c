#include "daemon/host/config_value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SOCKET_MAX 107 /* bytes of a local socket's path */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"min", 60ull * 1000000000},
    {"h", 3600ull * 1000000000},
};

static const struct unit sizes[] = {
    {"B", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40},
};

/* Digits at the start of @text; the rest in *ret_rest. */
static bool read_digits(const char *text, uint64_t *ret, const char **ret_rest)
{
    uint64_t value = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value)) {
            return false;
        }
    }
    if (c == text) {
        return false;
    }
    *ret = value;
    *ret_rest = c;
    return true;
}

static bool read_with_unit(const char *text, const struct unit *units, size_t unit_count,
                           uint64_t *ret)
{
    uint64_t value;
    const char *rest;
    if (!read_digits(text, &value, &rest)) {
        return false;
    }
    while (*rest == ' ') {
        rest++;
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(rest, units[i].name) == 0) {
            return !__builtin_mul_overflow(value, units[i].factor, ret);
        }
    }
    return false;
}

bool config_value_count(const char *text, uint64_t *ret)
{
    uint64_t value;
    const char *rest;
    if (!read_digits(text, &value, &rest) || *rest != '\0') {
        return false;
    }
    *ret = value;
    return true;
}

bool config_value_duration(const char *text, uint64_t *ret_ns)
{
    return read_with_unit(text, durations, sizeof(durations) / sizeof(durations[0]), ret_ns);
}

bool config_value_size(const char *text, uint64_t *ret_bytes)
{
    return read_with_unit(text, sizes, sizeof(sizes) / sizeof(sizes[0]), ret_bytes);
}

bool config_value_percent(const char *text, uint32_t *ret)
{
    uint64_t value;
    const char *rest;
    if (!read_digits(text, &value, &rest) || strcmp(rest, "%") != 0 || value < 1 || value > 100) {
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}

bool config_value_bool(const char *text, bool *ret)
{
    if (strcmp(text, "yes") == 0) {
        *ret = true;
        return true;
    }
    if (strcmp(text, "no") == 0) {
        *ret = false;
        return true;
    }
    return false;
}

void config_value_format_duration(uint64_t ns, char *ret, size_t size)
{
    size_t unit = 0;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        if (ns % durations[i].factor == 0 && ns >= durations[i].factor) {
            unit = i;
        }
    }
    snprintf(ret, size, "%" PRIu64 "%s", ns / durations[unit].factor, durations[unit].name);
}

bool config_value_is_name(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen(text);
    return length >= 1 && length <= SEQSYNC_NAME_MAX && text[0] != '.' && text[0] != '-' &&
           strspn(text, letters) == length;
}

bool config_value_is_key(const char *text)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  ".-:+=^!/*?&<>()[]{}@%$#";
    return strlen(text) == 40 && strspn(text, letters) == 40;
}

bool config_value_endpoint(const char *text, char *ret_bulk)
{
    if (strncmp(text, "ipc://", 6) == 0) {
        const char *path = text + 6;
        if (path[0] != '/' || strlen(path) + strlen(".bulk") > PATH_SOCKET_MAX) {
            return false;
        }
        snprintf(ret_bulk, CONFIG_TEXT_MAX, "%s.bulk", text);
        return true;
    }
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (strncmp(text, "tcp://", 6) != 0 || colon == NULL || colon < text + 7 ||
        !config_value_count(colon + 1, &port) || port < 1 || port > 65534) {
        return false;
    }
    int host_bytes = (int)(colon - text);
    int n = snprintf(ret_bulk, CONFIG_TEXT_MAX, "%.*s:%u", host_bytes, text, (unsigned)port + 1);
    return n > 0 && n < CONFIG_TEXT_MAX;
}
