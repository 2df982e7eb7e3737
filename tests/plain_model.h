/* plain_model: a table as a plain model knows it: the version of the value that each key has; and rows to work on. */
#ifndef PLAIN_MODEL_H
#define PLAIN_MODEL_H

#include "plain_rows.h"

#define PLAIN_MAX_ROWS 3000
#define PLAIN_MAX_HANDLES 3

struct plain_table {
    const struct plain_kind *kind;
    struct htstore_table *handles[PLAIN_MAX_HANDLES];
    size_t n_handles;
    uint64_t *version_of; /* by number of the key; 0 = absent */
    uint64_t n_rows;
    size_t first, window; /* numbers that are at work now: the table grows to about that size */
    bool shrinks;
};

void plain_table_init(struct plain_table *table, const struct plain_kind *kind); /* no rows, no handles */
void plain_table_release(struct plain_table *table);

uint64_t plain_version(const struct plain_table *table, size_t number); /* of any number */
void plain_set(struct plain_table *table, size_t number, uint64_t version);
void plain_forget(struct plain_table *table); /* all rows */

/* What was set between the two, in whatever tables, can be undone. */
void plain_begin(void);
void plain_end(bool undo);

/* Choose other numbers, few or many, and whether their rows become more or fewer. */
void plain_window(struct plain_table *table);

/* Rows with new versions; arrays in memory of plain_alloc(). */
struct plain_sample {
    struct plain_table *table;
    size_t n, numbers[PLAIN_MAX_ROWS];
    uint64_t versions[PLAIN_MAX_ROWS];
    struct htstore_array keys, values;
};
/* For reading: keys from everywhere, those that are never present too. */
void plain_sample(struct plain_sample *sample, struct plain_table *table, bool reading);
void plain_cut(struct plain_sample *sample, size_t n); /* to at most so many rows */
/*
 * Defaults: none, one row for all, or the rows of the sample. Returns the version that all absent keys have by them (the
 * table's default is version 1); 0: each has its own of the sample.
 */
uint64_t plain_defaults(const struct plain_sample *sample, struct htstore_array *one, struct htstore_array **defaults);
/* Sometimes: give the keys, and what has their shape, two dimensions, or none if there is one key. */
void plain_bend(struct plain_sample *sample, struct htstore_array *defaults, struct htstore_array *out);

#endif
