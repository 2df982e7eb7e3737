/* escape: hides which bytes are shown as they are and how the others are written. */
#include "escape.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t escape_utf8_length(const void *data, size_t size)
{
    const unsigned char *p = data;
    unsigned char least = 0x80, most = 0xbf; /* bounds of the second byte; Unicode 15, table 3-7 */
    size_t length;

    if (size == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        least = 0xa0;
    else if (p[0] == 0xed)
        most = 0x9f;
    else if (p[0] == 0xf0)
        least = 0x90;
    else if (p[0] == 0xf4)
        most = 0x8f;
    if (size < length || p[1] < least || p[1] > most)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

/* The letter behind the backslash, 'x' for hexadecimal, 0 for bytes that stand for themselves. */
static char escape_letter(const unsigned char *p, size_t size, size_t *length)
{
    *length = 1;
    switch (p[0]) {
    case '\\':
        return '\\';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    default:
        break;
    }
    if (p[0] < 0x20 || p[0] == 0x7f)
        return 'x';
    if (p[0] < 0x80)
        return '\0';
    *length = escape_utf8_length(p, size);
    if (*length > 0)
        return '\0';
    *length = 1;
    return 'x';
}

void escape_bytes(struct buffer *text, const void *data, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = data;
    size_t plain = 0;

    for (size_t i = 0, length; i < size; i += length) {
        char letter = escape_letter(p + i, size - i, &length);

        if (letter == '\0')
            continue;
        buffer_append(text, p + plain, i - plain);
        buffer_add(text, '\\');
        buffer_add(text, letter);
        if (letter == 'x') {
            buffer_add(text, hex[p[i] >> 4]);
            buffer_add(text, hex[p[i] & 15]);
        }
        plain = i + length;
    }
    if (size > plain)
        buffer_append(text, p + plain, size - plain);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* One escape at text[0] = '\\'. Returns its length, or 0 if it is none. */
static size_t read_escape(const char *text, size_t size, char *byte)
{
    int high, low;

    if (size < 2)
        return 0;
    switch (text[1]) {
    case '\\':
        *byte = '\\';
        return 2;
    case 't':
        *byte = '\t';
        return 2;
    case 'n':
        *byte = '\n';
        return 2;
    case 'r':
        *byte = '\r';
        return 2;
    case 'x':
        if (size < 4)
            return 0;
        high = hex_digit(text[2]);
        low = hex_digit(text[3]);
        if (high < 0 || low < 0)
            return 0;
        *byte = (char)(unsigned char)(high * 16 + low);
        return 4;
    default:
        return 0;
    }
}

int escape_read(const char *text, size_t size, char *bytes, size_t *n)
{
    size_t written = 0;

    for (size_t i = 0; i < size;) {
        const char *backslash = memchr(text + i, '\\', size - i);
        size_t plain = backslash != NULL ? (size_t)(backslash - (text + i)) : size - i;

        memcpy(bytes + written, text + i, plain);
        written += plain;
        i += plain;
        if (i < size) {
            size_t length = read_escape(text + i, size - i, bytes + written);

            if (length == 0)
                return -1;
            written++;
            i += length;
        }
    }
    *n = written;
    return 0;
}

const char *escape_show(char shown[ESCAPE_SHOWN_SIZE], const void *data, size_t size)
{
    struct buffer text = { 0 };
    size_t limit = 64; /* bytes shown; each takes 4 characters at most */
    const unsigned char *p = data;

    if (size > limit) {
        while (limit > 60 && (p[limit] & 0xc0) == 0x80)
            limit--; /* not in the middle of a character */
    } else {
        limit = size;
    }
    buffer_add(&text, '"');
    escape_bytes(&text, data, limit);
    buffer_text(&text, limit < size ? "…\"" : "\"");
    snprintf(shown, ESCAPE_SHOWN_SIZE, "%s", buffer_string(&text));
    buffer_release(&text);
    return shown;
}

/* One byte of a name at text[0], which is no slash. Returns its length as typed, or 0 if it is none. */
static size_t read_name_byte(const char *text, char *byte)
{
    *byte = text[0];
    if (text[0] != '\\')
        return 1;
    if (text[1] == '/') {
        *byte = '/';
        return 2;
    }
    return read_escape(text, strlen(text), byte);
}

int escape_read_name(const char *argument, struct buffer *name, size_t *length)
{
    size_t i = 0;

    if (strncmp(argument, "\\e", 2) == 0 && (argument[2] == '\0' || argument[2] == '/')) {
        *length = 2;
        return 0;
    }
    while (argument[i] != '\0' && argument[i] != '/') {
        char byte;
        size_t typed = read_name_byte(argument + i, &byte);

        if (typed == 0 || byte == '\0')
            return -1;
        buffer_add(name, byte);
        i += typed;
    }
    *length = i;
    return i > 0 ? 0 : -1;
}

void escape_name(struct buffer *text, const char *name)
{
    if (name[0] == '\0')
        buffer_text(text, "\\e");
    for (;;) {
        size_t n = strcspn(name, "/");

        escape_bytes(text, name, n);
        if (name[n] == '\0')
            return;
        buffer_text(text, "\\/");
        name += n + 1;
    }
}

const char *escape_size(char text[32], uint64_t size)
{
    static const char units[] = "KMGTPE";
    double value = (double)size;
    size_t unit = 0;

    if (size < 1024) {
        snprintf(text, 32, "%u B", (unsigned)size);
        return text;
    }
    for (value /= 1024; value >= 1023.95 && unit < 5; unit++)
        value /= 1024;
    snprintf(text, 32, "%.1f %ciB", value, units[unit]);
    return text;
}
