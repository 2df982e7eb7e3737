/* reader: the rows of a text file or of a dump, batch by batch, those that are refused included. */
#ifndef TOOLS_READER_H
#define TOOLS_READER_H

#include "lines.h"
#include "mdbrows.h"
#include "rows.h"
#include "tsv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress;

struct reader_settings {
    int fd;
    const char *source; /* name of the input, for messages */
    const struct mdbrows_settings *mdb; /* a dump; NULL: a row is a line of `format` */
    struct tsv_format format;
    const char *comment; /* lines that start so are no rows; NULL: none */
    uint64_t skip_lines; /* at the start */
    bool skip_blank;
    bool keep_lines; /* raw lines are wanted; not of dumps */
    uint64_t skip_rows; /* at the start; they count as rows */
    uint64_t batch_rows; /* UINT64_MAX: all rows are one batch */
};

#define READER_NO_ROW SIZE_MAX

/* One input row of the batch. */
struct reader_entry {
    uint64_t row, line; /* from 1 */
    size_t at; /* its index in the typed rows; READER_NO_ROW if it was refused */
    char *reason; /* then why */
    size_t raw_start, raw_size;
};

struct reader {
    const struct reader_settings *settings;
    struct progress *progress; /* NULL after reader_open(); the caller may set it */
    struct lines lines;
    struct tsv_record record;
    struct mdbrows mdb;
    struct buffer raw;
    size_t capacity;
    uint64_t row; /* of the last input row read */
    enum lines_result result; /* LINES_LINE: there may be more */

    /* The batch. */
    struct reader_entry *entries;
    size_t n_entries;
    struct rows rows; /* those that were not refused */
};

/* Borrows settings and layout. */
void reader_open(struct reader *reader, const struct reader_settings *settings, const struct rows_layout *layout);

/* Read the next batch; then `result` tells whether and why it is the last one, for dumps with mdb.read.why. */
void reader_next(struct reader *reader);

/* The line of an entry; empty unless keep_lines. */
struct htstore_bytes reader_raw(const struct reader *reader, const struct reader_entry *entry);

void reader_close(struct reader *reader);

#endif
