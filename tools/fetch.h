/* fetch: what a table holds for a batch of keys, in memory of our own. */
#ifndef TOOLS_FETCH_H
#define TOOLS_FETCH_H

#include "rows.h"

#include <stdint.h>

/* Initialise with { 0 }. */
struct fetch {
    size_t capacity;
    uint8_t *found;
    void *values;
    struct htstore_arena *arena;
};

/* Look up the keys of all rows. Returns what htstore_table_lookup() returns. The result is valid until the next call. */
int fetch_run(struct fetch *fetch, struct htstore_table *table, const struct rows *rows, struct htstore_error *error);

/* The value of row i: the stored one, or the default. */
const void *fetch_value(const struct fetch *fetch, const struct rows_layout *layout, size_t i);

void fetch_release(struct fetch *fetch);

#endif
