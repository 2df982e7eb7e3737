/*
 * fuzz_mdbdump: the reader of dumps over any bytes: all sections, and their rows as rows of tables of several kinds, and as
 * records of a store. What was read must come out the same when it is written and read again; records that make a store must
 * make the same records again.
 */
#include "../tools/mdbread.h"

#include "../tools/dumpschema.h"
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

static void read_records(const char *text, size_t size, struct dump_objects *objects);

/* Records that hold together, written, are read again as the same records. */
static void try_objects(struct dump_objects *objects)
{
    struct buffer reason = { 0 }, first = { 0 }, second = { 0 };
    struct dump_objects again = { 0 };

    if (dumpschema_check(objects, &reason) == 0) {
        for (size_t i = 0; i < objects->n; i++) {
            if (objects->list[i]->section != NULL &&
                dumpschema_find_section(objects, objects->list[i]->section) != objects->list[i])
                abort();
        }
        dumpschema_write(&first, objects);
        mdbwrite_end(&first);
        read_records(first.data, first.size, &again);
        dumpschema_write(&second, &again);
        mdbwrite_end(&second);
        if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
            abort();
    } else if (reason.size == 0) {
        abort();
    }
    dumpschema_release(&again);
    buffer_release(&reason);
    buffer_release(&first);
    buffer_release(&second);
}

static void try_record(struct dump_objects *objects, const struct mdbread *read)
{
    struct htstore_bytes key = bytes_of(&read->key), value = bytes_of(&read->value);
    struct buffer reason = { 0 };

    if (dumpschema_read(objects, &key, &value, &reason) != 0) {
        if (reason.size == 0)
            abort();
        dumpschema_release(objects); /* as a restore ends here */
    }
    buffer_release(&reason);
}

/* Append what is read of a section; false at a refusal. */
static bool read_section(struct mdbread *read, struct buffer *text, bool try)
{
    static const struct mdbwrite settings = { 1, true };
    struct dump_objects objects = { 0 };
    enum mdbread_result result = mdbread_section(read);

    if (result != MDBREAD_OK)
        return false;
    (void)mdbread_check(read);
    if (memchr(buffer_string(&read->header.database), '\0', read->header.database.size) != NULL)
        return false; /* such a name is never written */
    mdbwrite_begin(text, &settings, buffer_string(&read->header.database));
    while ((result = mdbread_row(read)) == MDBREAD_OK) {
        if (try) {
            try_rows(read);
            try_record(&objects, read);
        }
        mdbwrite_bytes(text, read->key.data, read->key.size);
        mdbwrite_bytes(text, read->value.data, read->value.size);
    }
    if (result != MDBREAD_END && read->why.size == 0)
        abort();
    try_objects(&objects);
    dumpschema_release(&objects);
    mdbwrite_end(text);
    return result == MDBREAD_END;
}

/* The file of that text. */
static int open_text(const void *data, size_t size)
{
    int fd = memfd_create("fuzz_mdbdump", MFD_CLOEXEC);

    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size) || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    return fd;
}

/* The rows of a section without its header. */
static void read_records(const char *text, size_t size, struct dump_objects *objects)
{
    int fd = open_text(text, size);
    struct mdbread read;
    struct lines lines;

    lines_open(&lines, fd);
    mdbread_open(&read, &lines);
    while (mdbread_row(&read) == MDBREAD_OK)
        try_record(objects, &read);
    mdbread_close(&read);
    lines_close(&lines);
    close(fd);
}

static void read_text(const void *data, size_t size, struct buffer *text, bool try)
{
    int fd = open_text(data, size);
    struct mdbread read;
    struct lines lines;

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
