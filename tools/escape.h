/* escape: bytes as text: TSV escapes, quoted bytes for messages, names of tables as arguments. */
#ifndef TOOLS_ESCAPE_H
#define TOOLS_ESCAPE_H

#include "buffer.h"

#include <stddef.h>
#include <stdint.h>

/* The length of the UTF-8 character at the start, 1 to 4; 0 if it is none (overlong forms and surrogates are none). */
size_t escape_utf8_length(const void *data, size_t size);

/* Append bytes as TSV text: \\ \t \n \r, \xHH for other controls, 0x7F and what is not UTF-8. */
void escape_bytes(struct buffer *text, const void *data, size_t size);

/*
 * Read TSV text into `bytes`, which has room for `size` bytes. Returns 0 and their number, or -1 for a backslash that
 * starts no escape.
 */
int escape_read(const char *text, size_t size, char *bytes, size_t *n);

#define ESCAPE_SHOWN_SIZE 320

/* Bytes for a message: escaped, in double quotes, shortened. Returns `shown`. */
const char *escape_show(char shown[ESCAPE_SHOWN_SIZE], const void *data, size_t size);

/*
 * Read the first name of a TABLE or PATH argument, up to a slash: "\/" is a slash, "\\" a backslash, "\e" alone the empty
 * name, other escapes as in TSV. *length is what was read of the argument. Returns 0, or -1 for another escape, for a NUL,
 * and for nothing at all.
 */
int escape_read_name(const char *argument, struct buffer *name, size_t *length);

/* Append a name as it is typed in an argument. */
void escape_name(struct buffer *text, const char *name);

/* Bytes with IEC units, "1.5 GiB". */
const char *escape_size(char text[32], uint64_t size);

#endif
