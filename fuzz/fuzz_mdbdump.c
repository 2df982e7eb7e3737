/*
 * fuzz_mdbdump: the reader of dumps over any bytes: all sections, and their rows as rows of tables of several kinds. What
 * was read must come out the same when it is written and read again.
 */
#include "../tools/mdbread.h"

#include "../tools/mdbwrite.h"
#include "../tools/packed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct htstore_bytes bytes_of(const struct buffer *buffer)
{
    return (struct htstore_bytes){ buffer->data, buffer->size };
}

/* A row that is accepted gives its bytes back: only keys change, -0.0 to 0.0. */
static void try_row(const struct rows_layout *layout, bool big_endian, const struct mdbread *read)
{
    struct htstore_bytes key = bytes_of(&read->key), value = bytes_of(&read->value);
    struct packed_order order = { big_endian, read->header.integer_keys };
    struct buffer packed = { 0 }, reason = { 0 };
    struct rows rows;

    rows_init(&rows, layout, false);
    if (packed_read(&rows, &order, &key, &value, &reason) == 0) {
        packed_append(&packed, layout->value_dtype, layout->width, rows_value(&rows, 0), packed_has_sizes(layout));
        if (packed.size != value.size ||
            (!big_endian && packed.size > 0 && memcmp(packed.data, value.data, packed.size) != 0))
            abort();
    } else if (reason.size == 0 || rows.n != 0) {
        abort();
    }
    buffer_release(&packed);
    buffer_release(&reason);
    rows_release(&rows);
}

static void try_rows(const struct mdbread *read)
{
    static const uint32_t keys[] = { HTSTORE_STRING, HTSTORE_INT64, HTSTORE_FLOAT32, HTSTORE_UINT32, HTSTORE_BOOL };
    static const uint32_t values[] = { HTSTORE_STRING, HTSTORE_STRING, HTSTORE_UINT8, HTSTORE_FLOAT16, HTSTORE_INT64 };

    for (size_t i = 0; i < 5; i++) {
        struct rows_layout layout = { .key_dtype = keys[i], .value_dtype = values[i], .value_rank = i > 0 };

        layout.width = i == 1 ? 2 : 1;
        layout.value_shape[0] = (int64_t)layout.width;
        layout.key_size = htstore_dtype_size(keys[i]);
        layout.element_size = htstore_dtype_size(values[i]);
        try_row(&layout, false, read);
        try_row(&layout, true, read);
    }
}

/* Append what is read of a section; false at a refusal. */
static bool read_section(struct mdbread *read, struct buffer *text, bool try)
{
    static const struct mdbwrite settings = { 1, true };
    enum mdbread_result result = mdbread_section(read);

    if (result != MDBREAD_OK)
        return false;
    (void)mdbread_check(read);
    if (memchr(buffer_string(&read->header.database), '\0', read->header.database.size) != NULL)
        return false; /* such a name is never written */
    mdbwrite_begin(text, &settings, buffer_string(&read->header.database));
    while ((result = mdbread_row(read)) == MDBREAD_OK) {
        if (try)
            try_rows(read);
        mdbwrite_bytes(text, read->key.data, read->key.size);
        mdbwrite_bytes(text, read->value.data, read->value.size);
    }
    if (result != MDBREAD_END && read->why.size == 0)
        abort();
    mdbwrite_end(text);
    return result == MDBREAD_END;
}

static void read_text(const void *data, size_t size, struct buffer *text, bool try)
{
    int fd = memfd_create("fuzz_mdbdump", MFD_CLOEXEC);
    struct mdbread read;
    struct lines lines;

    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size) || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    lines_open(&lines, fd);
    mdbread_open(&read, &lines);
    while (read_section(&read, text, try))
        continue;
    mdbread_close(&read);
    lines_close(&lines);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer first = { 0 }, second = { 0 };

    read_text(data, size, &first, true);
    read_text(first.data, first.size, &second, false);
    if (first.size != second.size || (first.size > 0 && memcmp(first.data, second.data, first.size) != 0))
        abort();
    buffer_release(&first);
    buffer_release(&second);
    return 0;
}
