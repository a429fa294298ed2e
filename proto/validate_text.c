#include "proto/validate.h"

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

bool validate_text(const char *text, size_t bytes_max)
{
    size_t at = 0;

    while (text[at] != '\0') {
        const unsigned length = utf8_length((const unsigned char *)text + at);
        if (length == 0 || (length == 1 && ((unsigned char)text[at] < 0x20 || text[at] == 0x7F))) {
            return false;
        }
        at += length;
        if (at >= bytes_max) {
            return false;
        }
    }
    return true;
}
