/* run: the rows of many batches as one sorted run, each key once: what a flush writes. */
#ifndef HTI_RUN_H
#define HTI_RUN_H

#include "state.h"

struct hti_run_row {
    uint64_t prefix; /* first 8 bytes of the stored key, as a number; zero-padded */
    const uint8_t *key; /* packed; in its record */
    const uint8_t *value; /* packed; NULL: the key is removed */
    uint32_t key_size;
    uint32_t value_size;
    uint32_t table; /* index in run.tables */
    uint32_t sequence; /* order of arrival */
};

struct hti_run_table {
    struct hti_core *core;
    bool cleared; /* all rows of before are gone */
    uint32_t cleared_at; /* sequence */
    size_t begin, end; /* its rows */
};

struct hti_run {
    struct hti_run_row
        *rows; /* ascending by table, then stored key; between two tables may lie some that do not count */
    size_t n_rows; /* of all operations, before they were coalesced */
    struct hti_run_table *tables;
    uint32_t n_tables;
};

/* Sort the rows of a list of records, which must stay while the run is used. HTSTORE_ENOMEM; HTSTORE_ECORRUPT: a table that does not exist. */
int hti_run_build(struct htstore *store, const struct hti_record *list, struct hti_run *run,
                  struct htstore_error *error);
void hti_run_release(struct hti_run *run);

#endif
