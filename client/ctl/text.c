#include "client/ctl/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1e9
#define DISTANCE_MAX 63 /* longer words are compared up to here */

static const char *const spark_utf8[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const char *const spark_ascii[] = {"_", ".", "-", "=", "*", "#"};
static const char *const heat_utf8[TEXT_HEAT_LEVELS] = {" ", "░", "▒", "▓", "█"};
static const char *const heat_ascii[TEXT_HEAT_LEVELS] = {" ", ".", ":", "*", "#"};
static const char *const bar_utf8[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};

char *text_bytes(char *out, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

char *text_count(char *out, size_t size, double count)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P"};
    size_t unit = 0;
    double value = count > 0 ? count : 0;
    while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out, size, "%.*f%s", digits, value, units[unit]);
    return out;
}

char *text_duration(char *out, size_t size, uint64_t ns)
{
    uint64_t seconds = ns / 1000000000u;
    double exact = (double)ns / NS_PER_S;
    if (exact < 0.1) {
        snprintf(out, size, "%.1f ms", exact * 1e3);
    } else if (exact < 1) {
        snprintf(out, size, "%.0f ms", exact * 1e3);
    } else if (seconds < 10) {
        snprintf(out, size, "%.2f s", exact);
    } else if (seconds < 60) {
        snprintf(out, size, "%.1f s", exact);
    } else if (seconds < 3600) {
        snprintf(out, size, "%u min %u s", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
    } else if (seconds < 86400) {
        snprintf(out, size, "%u h %u min", (unsigned)(seconds / 3600),
                 (unsigned)(seconds / 60 % 60));
    } else {
        snprintf(out, size, "%llu d %u h", (unsigned long long)(seconds / 86400),
                 (unsigned)(seconds / 3600 % 24));
    }
    return out;
}

/* Appends @piece if it fits as a whole, so that no character is cut in two. */
static void text_append(char *out, size_t size, size_t *used, const char *piece)
{
    size_t length = strlen(piece);
    if (*used + length + 1 <= size) {
        memcpy(out + *used, piece, length + 1);
        *used += length;
    }
}

char *text_sparkline(char *out, size_t size, const double *values, size_t count, bool ascii)
{
    const char *const *glyphs = ascii ? spark_ascii : spark_utf8;
    size_t levels = ascii ? sizeof(spark_ascii) / sizeof(spark_ascii[0])
                          : sizeof(spark_utf8) / sizeof(spark_utf8[0]);
    double low = INFINITY;
    double high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            low = fmin(low, values[i]);
            high = fmax(high, values[i]);
        }
    }
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t level = 0;
        if (!isfinite(values[i])) {
            text_append(out, size, &used, " ");
            continue;
        }
        if (high > low) {
            level = (size_t)((values[i] - low) / (high - low) * (double)levels);
        }
        text_append(out, size, &used, glyphs[level < levels ? level : levels - 1]);
    }
    return out;
}

char *text_bar(char *out, size_t size, double fraction, uint32_t cells, bool ascii)
{
    double cut = fraction > 0 ? fmin(fraction, 1) : 0;
    uint32_t eighths = (uint32_t)lround(cut * cells * 8);
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < cells; i++) {
        uint32_t part = eighths > 8 ? 8 : eighths;
        eighths -= part;
        text_append(out, size, &used, ascii ? (part >= 4 ? "#" : " ") : bar_utf8[part]);
    }
    return out;
}

uint32_t text_heat_level(int64_t value, int64_t low, int64_t high)
{
    if (value <= 0) {
        return 0;
    }
    /* In floating point, because the spread of two areas times four may overflow. */
    double spread = (double)high - (double)low + 1;
    double part = ((double)value - (double)low) / spread * (TEXT_HEAT_LEVELS - 1);
    uint32_t level = 1 + (uint32_t)fmax(part, 0);
    return level < TEXT_HEAT_LEVELS ? level : TEXT_HEAT_LEVELS - 1;
}

int64_t text_heat_bound(uint32_t level, int64_t low, int64_t high)
{
    if (level >= TEXT_HEAT_LEVELS - 1) {
        return high;
    }
    double spread = (double)high - (double)low + 1;
    return (int64_t)((double)low + ceil(spread * level / (TEXT_HEAT_LEVELS - 1)) - 1);
}

const char *text_heat_glyph(uint32_t level, bool ascii)
{
    uint32_t cut = level < TEXT_HEAT_LEVELS ? level : TEXT_HEAT_LEVELS - 1;
    return ascii ? heat_ascii[cut] : heat_utf8[cut];
}

char *text_clean(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (; text[used] && used + 1 < size; used++) {
        unsigned char c = (unsigned char)text[used];
        out[used] = c < 0x20 || c == 0x7f ? '?' : text[used];
    }
    out[used] = '\0';
    return out;
}

json_t *text_json(const char *text)
{
    json_t *value = json_string(text);
    if (value) {
        return value;
    }
    char *copy = strdup(text);
    if (!copy) {
        return json_null();
    }
    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c >= 0x80) {
            *c = '?';
        }
    }
    value = json_string(copy);
    free(copy);
    return value ? value : json_null();
}

json_t *text_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

bool text_parse_duration(const char *text, uint64_t *ret_ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {
        {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9},
    };
    char *end = NULL;
    /* strtod would take " 5", "-5", "inf" and "0x5" as well. */
    if (!isdigit((unsigned char)text[0]) || text[strspn(text, "0123456789.")] == 'x') {
        return false;
    }
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].name) == 0) {
            double ns = number * units[i].ns;
            if (!(ns < 1e18)) {
                return false;
            }
            *ret_ns = (uint64_t)ns;
            return true;
        }
    }
    return false;
}

bool text_parse_count(const char *text, uint32_t least, uint32_t most, uint32_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits]) {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    if (value < least || value > most) {
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}

uint32_t text_distance(const char *a, const char *b)
{
    uint32_t row[DISTANCE_MAX + 1];
    size_t width = strnlen(b, DISTANCE_MAX);
    for (size_t j = 0; j <= width; j++) {
        row[j] = (uint32_t)j;
    }
    for (size_t i = 0; a[i] && i < DISTANCE_MAX; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i + 1;
        for (size_t j = 1; j <= width; j++) {
            uint32_t change = diagonal + (a[i] != b[j - 1]);
            uint32_t shift = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = change < shift ? change : shift;
        }
    }
    return row[width];
}
