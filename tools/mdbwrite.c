/* mdbwrite: hides the header lines of dumps and their hexadecimal digits: docs/dump-format.md. */
#include "mdbwrite.h"

#include <inttypes.h>

#define LEAST_MAP_SIZE (UINT64_C(64) << 20)
#define LARGE_MAP_SIZE (UINT64_C(1) << 40)

uint64_t mdbwrite_map_size(uint64_t bytes)
{
    uint64_t size = LEAST_MAP_SIZE;

    if (bytes == 0)
        return LARGE_MAP_SIZE;
    /* Four times: rows in another order than that of keys fill pages by two thirds, and mdb_load rewrites pages all along. */
    while (size / 4 < bytes && size < UINT64_C(1) << 62)
        size *= 2;
    return size;
}

void mdbwrite_begin(struct buffer *text, const struct mdbwrite *settings, const char *database)
{
    buffer_printf(text, "VERSION=3\nformat=bytevalue\ndatabase=");
    buffer_text(text, database);
    buffer_text(text, "\ntype=btree\n");
    if (!settings->is_bdb)
        buffer_printf(text, "mapsize=%" PRIu64 "\nmaxreaders=126\n", settings->map_size);
    buffer_text(text, "db_pagesize=4096\nHEADER=END\n");
}

void mdbwrite_bytes(struct buffer *text, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;
    char *at = buffer_reserve(text, 2 * size + 2);

    *at++ = ' ';
    for (size_t i = 0; i < size; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = '\n';
    text->size += 2 * size + 2;
}

void mdbwrite_end(struct buffer *text)
{
    buffer_text(text, "DATA=END\n");
}
