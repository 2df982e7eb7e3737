/* load: decides for a table's first handle how its rows are kept, and loads small ones, proving that they are whole. */
#ifndef HTI_LOAD_H
#define HTI_LOAD_H

#include "state.h"

/*
 * Make a table ready for lookups: in memory at once if it is small, in the background if it fits the budget, else bounded.
 * With flush_mutex. A table that has a handle stays as it is. HTSTORE_ECORRUPT (a row's checksum, the count or the digest differs),
 * HTSTORE_ENOMEM, HTSTORE_EBUSY (too many tables open), or as hti_flush_locked().
 */
int hti_load_table(struct htstore *store, struct hti_core *core, struct htstore_error *error);
/*
 * The rows of a state of a table, in memory; the caller frees them. Nothing may change them meanwhile. Codes as above.
 */
int hti_load_rows(struct htstore *store, const struct hti_core *core, const struct hti_totals_record *totals,
                  struct hti_cache **rows, struct htstore_error *error);

/* Tests: tables of more rows warm up in the background. */
void hti_load_test_quick_rows(uint64_t n);

#endif
