/* reader: hides which lines are rows and how large a batch may grow. */
#include "reader.h"

#include "buffer.h"
#include "packed.h"
#include "progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BATCH_BYTES                                                                                                \
    (64u << 20) /* a batch ends here too: with one more row it stays below the limit of the library */

static bool is_no_row(const struct reader *reader, struct htstore_bytes line)
{
    const struct reader_settings *settings = reader->settings;
    const char *text = line.data;
    size_t size = line.size;

    if (reader->lines.number <= settings->skip_lines)
        return true;
    if (settings->comment != NULL && size >= strlen(settings->comment) &&
        memcmp(text, settings->comment, strlen(settings->comment)) == 0)
        return true;
    if (settings->format.drop_cr && size == 1 && text[0] == '\r')
        size = 0;
    return settings->skip_blank && size == 0;
}

static struct reader_entry *add_entry(struct reader *reader, struct htstore_bytes line)
{
    struct reader_entry *entry;

    if (reader->n_entries == reader->capacity) {
        reader->capacity = reader->capacity == 0 ? 1024 : 2 * reader->capacity;
        reader->entries = memory_resize(reader->entries, reader->capacity, sizeof *reader->entries);
    }
    entry = &reader->entries[reader->n_entries++];
    memset(entry, 0, sizeof *entry);
    entry->row = reader->row;
    entry->line = reader->lines.number;
    entry->at = READER_NO_ROW;
    if (reader->settings->keep_lines) {
        entry->raw_start = reader->raw.size;
        entry->raw_size = line.size;
        buffer_append(&reader->raw, line.data, line.size);
    }
    return entry;
}

/* The reason belongs to the entry. */
static void explain(const struct reader *reader, enum rows_result result, size_t at, struct buffer *reason)
{
    const struct htstore_bytes *element = at == 0 ? &reader->record.key : &reader->record.values[at - 1];
    int64_t column = tsv_column(&reader->settings->format, at);

    if (result == ROWS_TOO_LARGE)
        column = -1;
    if (column >= 0)
        buffer_printf(reason, "column %" PRId64 ": ", column);
    rows_explain(reason, reader->rows.layout, result, at, element);
}

static void read_row(struct reader *reader, struct htstore_bytes line)
{
    struct reader_entry *entry = add_entry(reader, line);
    struct buffer reason = { 0 };
    size_t at;
    enum rows_result result;

    if (tsv_split(&reader->settings->format, &reader->record, line, reader->row - 1, &reason) == 0) {
        result = rows_append(&reader->rows, &reader->record.key, reader->record.values, &at);
        if (result == ROWS_OK) {
            entry->at = reader->rows.n - 1;
            return;
        }
        explain(reader, result, at, &reason);
    }
    buffer_string(&reason);
    entry->reason = reason.data;
}

static void clear_batch(struct reader *reader)
{
    for (size_t i = 0; i < reader->n_entries; i++)
        free(reader->entries[i].reason);
    reader->n_entries = 0;
    reader->raw.size = 0;
    rows_clear(&reader->rows);
}

static bool is_full(const struct reader *reader)
{
    if (reader->settings->batch_rows == UINT64_MAX)
        return false;
    return reader->n_entries >= reader->settings->batch_rows ||
           reader->rows.bytes + reader->raw.size >= MAX_BATCH_BYTES;
}

void reader_open(struct reader *reader, const struct reader_settings *settings, const struct rows_layout *layout)
{
    memset(reader, 0, sizeof *reader);
    reader->settings = settings;
    lines_open(&reader->lines, settings->fd);
    if (settings->mdb != NULL)
        mdbrows_open(&reader->mdb, settings->mdb, &reader->lines);
    rows_init(&reader->rows, layout, false);
}

/* The next line that is a row. */
static void read_next_line(struct reader *reader)
{
    struct htstore_bytes line;

    reader->result = lines_next(&reader->lines, &line);
    if (reader->result != LINES_LINE || is_no_row(reader, line))
        return;
    reader->row++;
    if (reader->row > reader->settings->skip_rows)
        read_row(reader, line);
}

static enum lines_result lines_result_of(const struct mdbread *read, enum mdbread_result result)
{
    switch (result) {
    case MDBREAD_OK:
        return LINES_LINE;
    case MDBREAD_END:
        return LINES_END;
    case MDBREAD_DAMAGED:
        return LINES_DAMAGED;
    case MDBREAD_UNSUPPORTED:
        return LINES_UNSUPPORTED;
    case MDBREAD_STOPPED:
    default:
        return read->lines_result;
    }
}

/* The next key and value of a dump. */
static void read_next_pair(struct reader *reader)
{
    const struct mdbread *read = &reader->mdb.read;
    struct packed_order order = { reader->settings->mdb->big_endian, false };
    struct htstore_bytes key, value, none = { NULL, 0 };
    struct reader_entry *entry;
    struct buffer reason = { 0 };

    reader->result = lines_result_of(read, mdbrows_next(&reader->mdb));
    if (reader->result != LINES_LINE)
        return;
    reader->row++;
    if (reader->row <= reader->settings->skip_rows)
        return;
    key = (struct htstore_bytes){ read->key.data, read->key.size };
    value = (struct htstore_bytes){ read->value.data, read->value.size };
    order.integer_keys = read->header.integer_keys;
    entry = add_entry(reader, none);
    entry->line--; /* that of the key */
    if (packed_read(&reader->rows, &order, &key, &value, &reason) == 0) {
        entry->at = reader->rows.n - 1;
        return;
    }
    buffer_string(&reason);
    entry->reason = reason.data;
}

void reader_next(struct reader *reader)
{
    clear_batch(reader);
    while (!is_full(reader)) {
        if (reader->settings->mdb != NULL)
            read_next_pair(reader);
        else
            read_next_line(reader);
        if (reader->result != LINES_LINE)
            return;
        if (reader->row % 1024 == 0 && reader->progress != NULL)
            progress_update(reader->progress, reader->row, reader->lines.consumed);
    }
}

struct htstore_bytes reader_raw(const struct reader *reader, const struct reader_entry *entry)
{
    struct htstore_bytes raw = { "", 0 };

    if (reader->raw.data != NULL) {
        raw.data = reader->raw.data + entry->raw_start;
        raw.size = entry->raw_size;
    }
    return raw;
}

void reader_close(struct reader *reader)
{
    clear_batch(reader);
    if (reader->settings->mdb != NULL)
        mdbrows_close(&reader->mdb);
    lines_close(&reader->lines);
    tsv_release(&reader->record);
    free(reader->entries);
    buffer_release(&reader->raw);
    rows_release(&reader->rows);
}
