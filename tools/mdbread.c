/*
 * mdbread: hides the grammar of dumps. It is that of db_dump (Berkeley DB, "db_dump" in its Utilities manual) as mdb_dump
 * and mdb_load of LMDB 0.9 and 1.0 write and read it.
 */
#include "mdbread.h"

#include "escape.h"

#include <stdarg.h>
#include <string.h>

static const char version_line[] = "VERSION=3";

void mdbread_open(struct mdbread *read, struct lines *lines)
{
    memset(read, 0, sizeof *read);
    read->lines = lines;
}

void mdbread_close(struct mdbread *read)
{
    buffer_release(&read->header.database);
    buffer_release(&read->key);
    buffer_release(&read->value);
    buffer_release(&read->why);
}

bool mdbread_is_dump(const void *data, size_t size)
{
    return size >= sizeof version_line - 1 && memcmp(data, version_line, sizeof version_line - 1) == 0;
}

static enum mdbread_result refuse(struct mdbread *read, enum mdbread_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum mdbread_result refuse(struct mdbread *read, enum mdbread_result result, const char *format, ...)
{
    va_list arguments;

    read->why.size = 0;
    va_start(arguments, format);
    buffer_vprintf(&read->why, format, arguments);
    va_end(arguments);
    if (read->is_dos && result == MDBREAD_DAMAGED)
        buffer_text(&read->why, "; the line ends in CR LF, a dump has LF");
    buffer_string(&read->why);
    return result;
}

static enum mdbread_result next_line(struct mdbread *read, struct htstore_bytes *line)
{
    read->lines_result = lines_next(read->lines, line);
    if (read->lines_result == LINES_END)
        return MDBREAD_END;
    if (read->lines_result != LINES_LINE)
        return MDBREAD_STOPPED;
    read->is_dos = line->size > 0 && ((const char *)line->data)[line->size - 1] == '\r';
    return MDBREAD_OK;
}

/* ---- header ---- */

static bool is_text(struct htstore_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static enum mdbread_result refuse_line(struct mdbread *read, struct htstore_bytes line, const char *expected)
{
    char shown[ESCAPE_SHOWN_SIZE];

    return refuse(read, MDBREAD_DAMAGED, "%s where %s is expected", escape_show(shown, line.data, line.size), expected);
}

static enum mdbread_result set_type(struct mdbread *read, struct htstore_bytes value)
{
    char shown[ESCAPE_SHOWN_SIZE];

    if (is_text(value, "recno"))
        read->header.bad_type = "recno";
    else if (is_text(value, "queue"))
        read->header.bad_type = "queue";
    else if (!is_text(value, "btree") && !is_text(value, "hash"))
        return refuse(read, MDBREAD_UNSUPPORTED, "type=%s is not known; btree and hash are",
                      escape_show(shown, value.data, value.size));
    return MDBREAD_OK;
}

/* A flag line: 0 or 1. */
static enum mdbread_result set_flag(struct mdbread *read, size_t at, struct htstore_bytes value)
{
    static const char *const words[] = { "duplicates=1", "dupsort=1", "dupfixed=1", "integerdup=1", "reversedup=1" };
    char shown[ESCAPE_SHOWN_SIZE];

    if (!is_text(value, "0") && !is_text(value, "1"))
        return refuse(read, MDBREAD_DAMAGED, "a flag is 0 or 1, not %s", escape_show(shown, value.data, value.size));
    if (is_text(value, "0"))
        return MDBREAD_OK;
    if (at < sizeof words / sizeof words[0])
        read->header.several = words[at];
    else
        read->header.integer_keys = true;
    return MDBREAD_OK;
}

/* A header line; `seen` are those that may stand once. */
static enum mdbread_result set_word(struct mdbread *read, struct htstore_bytes word, struct htstore_bytes value,
                                    unsigned *seen)
{
    static const char *const words[] = { "format", "database", "type", "VERSION" };
    static const char *const flags[] = {
        "duplicates", "dupsort", "dupfixed", "integerdup", "reversedup", "integerkey"
    };
    char shown[ESCAPE_SHOWN_SIZE];

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!is_text(word, words[i]))
            continue;
        if (i == 3 || (*seen & 1u << i) != 0)
            return refuse(read, MDBREAD_DAMAGED, "%s= stands twice in a header", words[i]);
        *seen |= 1u << i;
    }
    if (is_text(word, "format")) {
        read->header.is_print = is_text(value, "print");
        if (!read->header.is_print && !is_text(value, "bytevalue"))
            return refuse(read, MDBREAD_UNSUPPORTED, "format=%s is not known; bytevalue and print are",
                          escape_show(shown, value.data, value.size));
    } else if (is_text(word, "database")) {
        read->header.has_database = true;
        buffer_append(&read->header.database, value.data, value.size);
    } else if (is_text(word, "type")) {
        return set_type(read, value);
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (is_text(word, flags[i]))
            return set_flag(read, i, value);
    }
    return MDBREAD_OK;
}

static enum mdbread_result read_header_line(struct mdbread *read, struct htstore_bytes line, unsigned *seen)
{
    const char *equal = line.size > 0 ? memchr(line.data, '=', line.size) : NULL;
    struct htstore_bytes word = { line.data, 0 }, value = { NULL, 0 };

    if (equal == NULL || equal == line.data)
        return refuse_line(read, line, "a header line, WORD=VALUE,");
    word.size = (size_t)(equal - (const char *)line.data);
    value.data = equal + 1;
    value.size = line.size - word.size - 1;
    if (is_text(word, "DATA"))
        return refuse_line(read, line, "HEADER=END");
    return set_word(read, word, value, seen);
}

static enum mdbread_result read_version(struct mdbread *read)
{
    struct htstore_bytes line;
    char shown[ESCAPE_SHOWN_SIZE];
    enum mdbread_result result = next_line(read, &line);

    if (result != MDBREAD_OK || is_text(line, version_line))
        return result;
    if (line.size > 8 && memcmp(line.data, version_line, 8) == 0 && !read->is_dos)
        return refuse(read, MDBREAD_UNSUPPORTED, "%s is not known; VERSION=3 is",
                      escape_show(shown, line.data, line.size));
    return refuse_line(read, line, version_line);
}

static enum mdbread_result refuse_end(struct mdbread *read, const char *missing)
{
    read->is_dos = false;
    return refuse(read, MDBREAD_DAMAGED, "the file ends here without %s: it was cut off, or the dump failed", missing);
}

enum mdbread_result mdbread_section(struct mdbread *read)
{
    struct buffer database = read->header.database;
    struct htstore_bytes line;
    unsigned seen = 0;
    enum mdbread_result result;

    memset(&read->header, 0, sizeof read->header);
    read->header.database = database;
    read->header.database.size = 0;
    result = read_version(read);
    while (result == MDBREAD_OK) {
        result = next_line(read, &line);
        if (result == MDBREAD_END)
            return refuse_end(read, "HEADER=END");
        if (result != MDBREAD_OK)
            return result;
        if (is_text(line, "HEADER=END"))
            break;
        result = read_header_line(read, line, &seen);
    }
    if (result == MDBREAD_OK && (seen & 1) == 0)
        return refuse(read, MDBREAD_DAMAGED, "the header has no format=");
    return result;
}

enum mdbread_result mdbread_check(struct mdbread *read)
{
    const struct mdbread_header *header = &read->header;

    if (header->bad_type != NULL)
        return refuse(read, MDBREAD_UNSUPPORTED, "type=%s: rows that have record numbers, not keys", header->bad_type);
    if (header->several != NULL)
        return refuse(read, MDBREAD_UNSUPPORTED, "%s: several values a key, a table has one", header->several);
    return MDBREAD_OK;
}

/* ---- data ---- */

static int digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static enum mdbread_result decode_hex(struct mdbread *read, const unsigned char *text, size_t size,
                                      struct buffer *bytes)
{
    char shown[ESCAPE_SHOWN_SIZE];

    for (size_t i = 0; i < size; i++) {
        if (digit(text[i]) < 0)
            return refuse(read, MDBREAD_DAMAGED, "%s in column %zu is no hexadecimal digit",
                          escape_show(shown, text + i, 1), i + 2);
    }
    if (size % 2 != 0)
        return refuse(read, MDBREAD_DAMAGED, "an odd number of hexadecimal digits: %zu", size);
    for (size_t i = 0; i < size; i += 2)
        bytes->data[bytes->size++] = (char)(digit(text[i]) << 4 | digit(text[i + 1]));
    return MDBREAD_OK;
}

static enum mdbread_result decode_print(struct mdbread *read, const unsigned char *text, size_t size,
                                        struct buffer *bytes)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = text[i];

        if (c == '\\' && i + 1 < size && text[i + 1] == '\\') {
            i++;
        } else if (c == '\\' && i + 2 < size && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
            c = (unsigned char)(digit(text[i + 1]) << 4 | digit(text[i + 2]));
            read->is_ambiguous = true;
            i += 2;
        } else if (c == '\\') {
            return refuse(
                read, MDBREAD_DAMAGED,
                "the backslash in column %zu starts neither \\\\ nor \\xx: written by mdb_dump before 0.9.25, "
                "dump again without -p",
                i + 2);
        }
        bytes->data[bytes->size++] = (char)c;
    }
    return MDBREAD_OK;
}

/* A line of data: a space, then the bytes. */
static enum mdbread_result decode(struct mdbread *read, struct htstore_bytes line, struct buffer *bytes)
{
    const unsigned char *text = line.data;
    enum mdbread_result result;

    bytes->size = 0;
    if (line.size == 0 || text[0] != ' ')
        return refuse_line(read, line, "a space and data, or DATA=END,");
    buffer_reserve(bytes, read->header.is_print ? line.size : line.size / 2 + 1);
    if (read->header.is_print)
        result = decode_print(read, text + 1, line.size - 1, bytes);
    else
        result = decode_hex(read, text + 1, line.size - 1, bytes);
    if (result == MDBREAD_OK && bytes->size > HTSTORE_MAX_ROW_SIZE)
        return refuse(read, MDBREAD_UNSUPPORTED, "%zu bytes in one line: a row has at most 256 MiB", bytes->size);
    return result;
}

enum mdbread_result mdbread_row(struct mdbread *read)
{
    struct htstore_bytes line;
    enum mdbread_result result = next_line(read, &line);

    if (result == MDBREAD_END)
        return refuse_end(read, "DATA=END");
    if (result != MDBREAD_OK)
        return result;
    if (is_text(line, "DATA=END"))
        return MDBREAD_END;
    result = decode(read, line, &read->key);
    if (result != MDBREAD_OK)
        return result;
    result = next_line(read, &line);
    if (result == MDBREAD_END)
        return refuse_end(read, "the value of the last key");
    if (result == MDBREAD_OK && is_text(line, "DATA=END"))
        return refuse(read, MDBREAD_DAMAGED, "DATA=END where the value of a key is expected");
    return result == MDBREAD_OK ? decode(read, line, &read->value) : result;
}
