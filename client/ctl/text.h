/*
 * Figures and pictures for people: bytes, counts, durations, sparklines, bars, heat cells; and the
 * small parsers for what people type. Pure, except that nothing here touches anything but its
 * arguments.
 *
 * Every text_* that fills a buffer writes at most @size bytes with NUL and returns the buffer.
 */
#ifndef SEQSYNC_CTL_TEXT_H
#define SEQSYNC_CTL_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_HEAT_LEVELS 5 /* 0 is blank: nothing there */

/* "0 B", "812 B", "1.2 MiB". */
char *text_bytes(char *out, size_t size, uint64_t bytes);

/* "812", "61.2k", "1.33M", "2.04G". Negative values are cut to 0. */
char *text_count(char *out, size_t size, double count);

/* "0.2 ms", "1.32 s", "4 min 10 s", "3 h 20 min", "5 d 4 h". */
char *text_duration(char *out, size_t size, uint64_t ns);

/* @count values as a line of small bars between their least and largest; "" for none. NaN is blank.
 */
char *text_sparkline(char *out, size_t size, const double *values, size_t count, bool ascii);

/* @fraction (cut to 0..1) of @cells characters, in eighths; padded with blanks. */
char *text_bar(char *out, size_t size, double fraction, uint32_t cells, bool ascii);

/*
 * The level of a heat cell: 0 for nothing, else 1 .. TEXT_HEAT_LEVELS - 1 in equal parts of @low ..
 * @high, the least and largest cell that is not empty.
 */
uint32_t text_heat_level(int64_t value, int64_t low, int64_t high);

/* The largest value of @level, for the printed scale. */
int64_t text_heat_bound(uint32_t level, int64_t low, int64_t high);

/* One character, static. */
const char *text_heat_glyph(uint32_t level, bool ascii);

/* Copies @text with control characters replaced by '?', so that no peer can write to a terminal. */
char *text_clean(char *out, size_t size, const char *text);

/* A JSON string; what is not UTF-8 is replaced. A JSON number; NaN and infinities become null. */
json_t *text_json(const char *text);
json_t *text_json_number(double value);

/* "5s", "500ms", "1.5min" to nanoseconds; units ns us ms s min h. false = not such a text. */
bool text_parse_duration(const char *text, uint64_t *ret_ns);

/* A decimal number in @least .. @most. */
bool text_parse_count(const char *text, uint32_t least, uint32_t most, uint32_t *ret);

/* How many letters must change to make @a of @b: for "did you mean". */
uint32_t text_distance(const char *a, const char *b);

#endif
