/* text: what is UTF-8, and how bytes are shown in messages. */
#ifndef HTI_TEXT_H
#define HTI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Valid UTF-8 without NUL: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool hti_text_is_valid(const void *data, size_t size);

/*
 * Escape bytes for a message: valid UTF-8 of printable characters stays; controls (below 0x20, 0x7F, U+0080–U+009F) and
 * bytes that are not UTF-8 become \xHH, a backslash becomes \\. Writes a NUL-terminated string of at most `capacity`
 * bytes, cut at an escape or character boundary and ended with "…" if it does not fit. capacity >= 8.
 */
void hti_text_escape(char *out, size_t capacity, const void *data, size_t size);

#endif
