/* What the readers of files, environment and flags share. */
#ifndef SEQSYNC_HOST_CONFIG_PARSE_H
#define SEQSYNC_HOST_CONFIG_PARSE_H

#include "daemon/host/config.h"

/* Adds one line to the problems. */
void config_complain(struct config_problems *problems, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Complains of an unknown key, or of an unknown section if @section is NULL, and guesses what was
 * meant. */
void config_complain_unknown(struct config_problems *problems, const char *place,
                             const char *section, const char *name);

/*
 * Gives key number @key a value from @origin, which is at least as strong as the value's so far. A
 * line number makes it one of a file, where a key that is no list may stand once.
 */
void config_set(struct config *config, int key, const char *value,
                const struct config_origin *origin, struct config_problems *problems);

#endif
