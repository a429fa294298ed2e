/* Values of the configuration as text: numbers with units, names, endpoints. Pure. */
#ifndef SEQSYNC_HOST_CONFIG_VALUE_H
#define SEQSYNC_HOST_CONFIG_VALUE_H

#include "daemon/host/config.h"

/* Each reads the whole of @text, or answers false and leaves *ret. */
bool config_value_count(const char *text, uint64_t *ret);
bool config_value_duration(const char *text, uint64_t *ret_ns); /* "500ms" */
bool config_value_size(const char *text, uint64_t *ret_bytes);  /* "8GiB" */
bool config_value_percent(const char *text, uint32_t *ret);     /* "80%", 1 .. 100 */
bool config_value_bool(const char *text, bool *ret);

/* The largest unit that divides it. @size >= 24. */
void config_value_format_duration(uint64_t ns, char *ret, size_t size);

/* 1 .. SEQSYNC_NAME_MAX of [A-Za-z0-9._-], not starting with '.' or '-'. */
bool config_value_is_name(const char *text);

bool config_value_is_key(const char *text); /* 40 characters of Z85 */

/*
 * Whether it is tcp://HOST:PORT or ipc:///PATH, such that a bulk endpoint can be derived, which is
 * written to
 * @ret_bulk[CONFIG_TEXT_MAX]: PORT + 1, or PATH.bulk.
 */
bool config_value_endpoint(const char *text, char *ret_bulk);

#endif
