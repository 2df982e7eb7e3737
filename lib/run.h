/* run: the rows of many batches as one sorted run, each key once: what a flush writes. */
#ifndef HTI_RUN_H
#define HTI_RUN_H

#include "radix.h"
#include "state.h"

/* A row whose key or value varies in size: where its packed forms are in its record. */
struct hti_run_wide {
    const uint8_t *key;
    const uint8_t *value; /* NULL: the key is removed */
    uint32_t key_size;
    uint32_t value_size;
};

struct hti_run_table {
    struct hti_core *core;
    bool cleared; /* all rows of before are gone */
    bool
        is_fixed; /* keys and values of fixed width: items have the ordered key (codec.h) and the packed value, NULL = removed */
    size_t begin, end; /* its rows */
    uint32_t first_op; /* those before it were cleared */
};

/* Items of tables that are not fixed have a struct hti_run_wide as place. */
struct hti_run {
    struct hti_radix_item
        *items; /* by table, ascending stored keys; between two tables may lie some that do not count */
    struct hti_run_wide *wide;
    struct hti_run_table *tables;
    uint32_t n_tables;
};

/* Sort the rows of a list of records, which must stay while the run is used. HTSTORE_ENOMEM; HTSTORE_ECORRUPT: a table that does not exist. */
int hti_run_build(struct htstore *store, const struct hti_record *list, struct hti_run *run,
                  struct htstore_error *error);
void hti_run_release(struct hti_run *run);

/* The packed form of one row; value NULL: the key is removed. The key may lie in `space`. */
void hti_run_row(const struct hti_run *run, const struct hti_run_table *table, size_t at, uint8_t space[8],
                 struct hti_row *row);

#endif
