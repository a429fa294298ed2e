/*
 * The daemon's log, to stderr: one line, one write(). On a terminal logfmt with time; else each
 * line begins with its level as "<N>", which journald understands. Levels are those of syslog, 3
 * error .. 7 debug. Any thread.
 */
#ifndef SEQSYNC_HOST_LOG_H
#define SEQSYNC_HOST_LOG_H

/* As the priorities of syslog.h, whose names are macros. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

#define LOG_LINE_MAX 2048 /* longer lines are cut, and end in "..." */

/* Lines above @level (less important) are dropped. At start it is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Where lines go; a test's choice. At start it is stderr. */
void log_set_fd(int fd);

/* The text has no newline at its end; control characters in it are replaced. errno is kept. */
void log_msg(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "error" .. "debug", or NULL / -1 for unknown ones. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *name);

#endif
