/* structure: creates and drops tables: flush, then one durable transaction, so that LMDB always holds a prefix of history. */
#ifndef HTI_STRUCTURE_H
#define HTI_STRUCTURE_H

#include "state.h"

/*
 * Put a new table into the catalogue; takes the record's memory on success. The caller holds flush_mutex and knows that the
 * name is free. As hti_flush_locked(); HTSTORE_EIO poisons the store.
 */
int hti_structure_create(struct htstore *store, struct hti_table_record *record, struct hti_core **core,
                         struct htstore_error *error);
/* Take a table without handles out of the catalogue and free it; its rows are deleted later. With flush_mutex. */
int hti_structure_drop(struct htstore *store, struct hti_core *core, struct htstore_error *error);

#endif
