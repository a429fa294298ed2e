#include "proto/validate.h"

#include <seqsync/types.h>

/* Length of the UTF-8 sequence at @at, 0 if it is none: overlong forms, surrogates and values
 * beyond U+10FFFF are refused. */
static unsigned utf8_length(const unsigned char *at)
{
    unsigned length, value, smallest;

    if (at[0] < 0x80) {
        return 1;
    }
    if ((at[0] & 0xE0) == 0xC0) {
        length = 2;
        value = at[0] & 0x1F;
        smallest = 0x80;
    } else if ((at[0] & 0xF0) == 0xE0) {
        length = 3;
        value = at[0] & 0x0F;
        smallest = 0x800;
    } else if ((at[0] & 0xF8) == 0xF0) {
        length = 4;
        value = at[0] & 0x07;
        smallest = 0x10000;
    } else {
        return 0;
    }
    for (unsigned i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) { /* a NUL ends the loop here */
            return 0;
        }
        value = value << 6 | (at[i] & 0x3F);
    }
    return value < smallest || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF) ? 0
                                                                                        : length;
}

/* C0, DEL and C1 (RFC 3629 writes U+0080 .. U+009F as C2 80 .. C2 9F): they would steer the
 * terminal or the log that shows the text. */
static bool is_control(const unsigned char *at, unsigned length)
{
    return (length == 1 && (at[0] < 0x20 || at[0] == 0x7F)) ||
           (length == 2 && at[0] == 0xC2 && at[1] < 0xA0);
}

bool validate_text(const char *text, size_t bytes_max)
{
    size_t at = 0;

    while (text[at] != '\0') {
        const unsigned char *now = (const unsigned char *)text + at;
        const unsigned length = utf8_length(now);
        if (length == 0 || is_control(now, length)) {
            return false;
        }
        at += length;
        if (at >= bytes_max) {
            return false;
        }
    }
    return true;
}

bool validate_operation(uint32_t dtype, uint32_t op)
{
    return dtype >= SEQSYNC_F32 && dtype <= SEQSYNC_I64 && op >= SEQSYNC_SUM && op <= SEQSYNC_MAX;
}
