#include "daemon/host/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int log_level_now = LOG_LEVEL_INFO;
static atomic_int log_fd = STDERR_FILENO;

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
    atomic_store(&log_level_now, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load(&log_level_now);
}

void log_set_fd(int fd)
{
    atomic_store(&log_fd, fd);
}

const char *log_level_name(enum log_level level)
{
    if (level < LOG_LEVEL_ERROR || level > LOG_LEVEL_DEBUG) {
        return NULL;
    }
    return level_names[level];
}

int log_level_parse(const char *name)
{
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            return level;
        }
    }
    return -1;
}

/* What stands before the text; its length. */
static size_t log_prefix(char *line, size_t size, int level, int tty)
{
    int n;
    if (!tty) {
        n = snprintf(line, size, "<%d>", level);
    } else {
        struct timespec now;
        struct tm utc;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        n = snprintf(line, size, "time=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s msg=\"",
                     utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                     utc.tm_sec, now.tv_nsec / 1000000, level_names[level]);
    }
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* Copies @text, so that a name from the network can neither end the line nor steer the terminal. */
static size_t log_escape(char *line, size_t used, size_t size, const char *text, int tty)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (used + 5 >= size) {
            memcpy(line + used, "...", 3);
            return used + 3;
        }
        if (tty && (c == '"' || c == '\\')) {
            line[used++] = '\\';
        }
        line[used++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    return used;
}

void log_msg(int level, const char *format, ...)
{
    if (level > atomic_load(&log_level_now)) {
        return;
    }
    if (level < LOG_LEVEL_ERROR) {
        level = LOG_LEVEL_ERROR;
    }
    if (level > LOG_LEVEL_DEBUG) {
        level = LOG_LEVEL_DEBUG;
    }
    int saved = errno;
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0) {
        text[0] = '\0';
    }
    int fd = atomic_load(&log_fd);
    int tty = isatty(fd);
    char line[LOG_LINE_MAX];
    size_t used = log_prefix(line, sizeof(line), level, tty);
    used = log_escape(line, used, sizeof(line) - 2, text, tty);
    if (tty) {
        line[used++] = '"';
    }
    line[used++] = '\n';
    /* Nothing can be done about a log that takes no lines; the result is looked at to please the
     * compiler only. */
    if (write(fd, line, used) < 0) {
        errno = saved;
    }
    errno = saved;
}
