/* tsv: rows as lines of columns: which columns make a row, and how a row is written. */
#ifndef TOOLS_TSV_H
#define TOOLS_TSV_H

#include "buffer.h"
#include "htstore.h"
#include "rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tsv_source { TSV_COLUMN, TSV_WHOLE, TSV_LINE };

/* How a line becomes a row. */
struct tsv_format {
    bool escapes; /* backslashes start escapes */
    bool drop_cr; /* one CR at the end of a line is not data */
    bool exact; /* a column behind the last one that is used refuses the row */
    char delimiter;
    enum tsv_source key, value;
    size_t key_column; /* from 0 */
    size_t first_column, last_column; /* of the value, from 0 */
    bool no_columns; /* a value without elements */
    int64_t line_offset; /* number of the first row, for TSV_LINE */
};

/* Initialise with { 0 }. */
struct tsv_record {
    struct htstore_bytes key;
    struct htstore_bytes *values;
    size_t n_values, capacity;
    struct buffer bytes; /* of unescaped columns */
    char key_number[32], value_number[32];
};

/*
 * Take a line apart. `row` counts from 0. Returns 0, or -1 and appends the reason to `reason`. The record points into the
 * line and into itself.
 */
int tsv_split(const struct tsv_format *format, struct tsv_record *record, struct htstore_bytes line, uint64_t row,
              struct buffer *reason);

/* The column that holds the key (at = 0) or element at - 1; -1 if it is the whole line or its number. */
int64_t tsv_column(const struct tsv_format *format, size_t at);

void tsv_release(struct tsv_record *record);

/* Append row i of a block of rows, with its LF. */
void tsv_write_row(struct buffer *text, const struct rows_layout *layout, const void *key, const void *value);

/* Append a header line: key, then value or value.0, value.1 and so on. */
void tsv_write_header(struct buffer *text, const struct rows_layout *layout);

#endif
