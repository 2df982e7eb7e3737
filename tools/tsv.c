/* tsv: hides delimiters, column numbers and escapes of lines. */
#include "tsv.h"

#include "escape.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct htstore_bytes *add_value(struct tsv_record *record)
{
    if (record->n_values == record->capacity) {
        record->capacity = record->capacity == 0 ? 16 : 2 * record->capacity;
        record->values = memory_resize(record->values, record->capacity, sizeof *record->values);
    }
    return &record->values[record->n_values++];
}

static bool uses_column(const struct tsv_format *format, size_t column, bool *is_key)
{
    *is_key = format->key == TSV_COLUMN && column == format->key_column;
    return *is_key || (format->value == TSV_COLUMN && !format->no_columns && column >= format->first_column &&
                       column <= format->last_column);
}

/* One column into the record: `bytes` has room for it, so what points there stays valid. */
static int take_column(const struct tsv_format *format, struct tsv_record *record, struct htstore_bytes column,
                       struct htstore_bytes *taken)
{
    char *bytes = record->bytes.data + record->bytes.size;
    size_t n;

    *taken = column;
    if (!format->escapes || column.size == 0 || memchr(column.data, '\\', column.size) == NULL)
        return 0;
    if (escape_read(column.data, column.size, bytes, &n) != 0)
        return -1;
    taken->data = bytes;
    taken->size = n;
    record->bytes.size += n;
    return 0;
}

static int refuse_escape(struct htstore_bytes column, int64_t number, struct buffer *reason)
{
    char shown[ESCAPE_SHOWN_SIZE];

    if (number >= 0)
        buffer_printf(reason, "column %" PRId64 ": ", number);
    buffer_printf(
        reason,
        "%s has a backslash that starts no escape (\\\\ \\t \\n \\r \\xHH); give --escape=none to take it as it is",
        escape_show(shown, column.data, column.size));
    return -1;
}

/* All columns of a line; *n_columns is their number. */
static int split_columns(const struct tsv_format *format, struct tsv_record *record, struct htstore_bytes line,
                         size_t *n_columns, struct buffer *reason)
{
    const char *at = line.data;
    size_t rest = line.size;

    for (size_t column = 0;; column++) {
        const char *end = rest > 0 ? memchr(at, format->delimiter, rest) : NULL;
        struct htstore_bytes field = { at, end != NULL ? (size_t)(end - at) : rest };
        bool is_key;

        if (uses_column(format, column, &is_key)) {
            struct htstore_bytes taken;

            if (take_column(format, record, field, &taken) != 0)
                return refuse_escape(field, (int64_t)column, reason);
            if (is_key)
                record->key = taken;
            if (format->value == TSV_COLUMN && !format->no_columns && column >= format->first_column &&
                column <= format->last_column)
                *add_value(record) = taken;
        }
        if (end == NULL) {
            *n_columns = column + 1;
            return 0;
        }
        rest -= field.size + 1;
        at = end + 1;
    }
}

static size_t columns_needed(const struct tsv_format *format)
{
    size_t n = 0;

    if (format->key == TSV_COLUMN)
        n = format->key_column + 1;
    if (format->value == TSV_COLUMN && !format->no_columns && format->last_column + 1 > n)
        n = format->last_column + 1;
    return n;
}

static struct htstore_bytes line_number(const struct tsv_format *format, uint64_t row, char text[32])
{
    int64_t number;

    if (__builtin_add_overflow((int64_t)row, format->line_offset, &number))
        number = INT64_MAX;
    snprintf(text, 32, "%" PRId64, number);
    return htstore_string(text);
}

int tsv_split(const struct tsv_format *format, struct tsv_record *record, struct htstore_bytes line, uint64_t row,
              struct buffer *reason)
{
    size_t needed = columns_needed(format), n_columns = 0;
    struct htstore_bytes whole;

    record->n_values = 0;
    record->bytes.size = 0;
    buffer_reserve(&record->bytes, 3 * line.size + 1); /* key, value and whole line: never longer than the text */
    if (format->drop_cr && line.size > 0 && ((const char *)line.data)[line.size - 1] == '\r')
        line.size--;
    if (needed > 0 || format->exact) {
        if (split_columns(format, record, line, &n_columns, reason) != 0)
            return -1;
        if (n_columns < needed || (format->exact && n_columns > needed)) {
            buffer_printf(reason, "%zu column%s, expected %s%zu", n_columns, n_columns == 1 ? "" : "s",
                          format->exact ? "" : "at least ", needed);
            return -1;
        }
    }
    if (format->key == TSV_WHOLE || format->value == TSV_WHOLE) {
        if (take_column(format, record, line, &whole) != 0)
            return refuse_escape(line, -1, reason);
        if (format->key == TSV_WHOLE)
            record->key = whole;
        if (format->value == TSV_WHOLE)
            *add_value(record) = whole;
    }
    if (format->key == TSV_LINE)
        record->key = line_number(format, row, record->key_number);
    if (format->value == TSV_LINE)
        *add_value(record) = line_number(format, row, record->value_number);
    return 0;
}

int64_t tsv_column(const struct tsv_format *format, size_t at)
{
    if (at == 0)
        return format->key == TSV_COLUMN ? (int64_t)format->key_column : -1;
    return format->value == TSV_COLUMN ? (int64_t)(format->first_column + at - 1) : -1;
}

void tsv_release(struct tsv_record *record)
{
    free(record->values);
    buffer_release(&record->bytes);
    memset(record, 0, sizeof *record);
}

void tsv_write_row(struct buffer *text, const struct rows_layout *layout, const void *key, const void *value)
{
    rows_write_element(text, layout->key_dtype, key);
    for (size_t i = 0; i < layout->width; i++) {
        buffer_add(text, '\t');
        rows_write_element(text, layout->value_dtype, (const char *)value + i * layout->element_size);
    }
    buffer_add(text, '\n');
}

void tsv_write_header(struct buffer *text, const struct rows_layout *layout)
{
    buffer_text(text, layout->value_rank == 0 ? "key\tvalue" : "key");
    for (size_t i = 0; layout->value_rank > 0 && i < layout->width; i++)
        buffer_printf(text, "\tvalue.%zu", i);
    buffer_add(text, '\n');
}
