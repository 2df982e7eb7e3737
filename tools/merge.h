/* merge: what becomes of a batch of rows that meets a table: the conflict policy. */
#ifndef TOOLS_MERGE_H
#define TOOLS_MERGE_H

#include "fetch.h"
#include "rows.h"

#include <stddef.h>
#include <stdint.h>

enum merge_policy { MERGE_ERROR, MERGE_KEEP, MERGE_REPLACE };

enum merge_outcome { MERGE_INSERTED, MERGE_REPLACED, MERGE_KEPT, MERGE_EQUAL, MERGE_CONFLICT };

struct merge {
    enum merge_policy policy;
    const struct rows *in;
    const struct fetch *old; /* of all rows of `in`; NULL: the table counts as empty */
    struct rows out; /* what is to be written: each key once */
    size_t *slots; /* hash table over the keys of `out`: row + 1, or 0 */
    size_t n_slots;
};

/* Initialise with { 0 }, then merge_start() for each batch. */
void merge_start(struct merge *merge, const struct rows *in, const struct fetch *old);

/* Decide about row i; rows go in order. *present is the value that the key had before, NULL if it had none. */
enum merge_outcome merge_row(struct merge *merge, size_t i, const void **present);

void merge_release(struct merge *merge);

#endif
