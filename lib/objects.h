/* objects: reads the whole catalogue of one state of LMDB, and brings the tables in memory in line with it. */
#ifndef HTI_OBJECTS_H
#define HTI_OBJECTS_H

#include "state.h"

struct hti_objects {
    struct hti_store_record store;
    struct hti_table_record *tables; /* ascending ids */
    size_t n_tables;
    struct hti_totals_record *totals; /* of the same tables, in the same order */
    size_t n_totals;
    uint64_t *garbage;
    size_t n_garbage;
};

/* HTSTORE_ECORRUPT (a damaged record; a table without totals), HTSTORE_EVERSION, HTSTORE_EFORMAT, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_objects_read(struct hti_kv_read *read, struct hti_objects *objects, struct htstore_error *error);
void hti_objects_release(struct hti_objects *objects);
/*
 * Make and update the store's tables: totals and row counts are those of `objects`; tables that it lacks are marked as
 * dropped, and freed if no handle is open. Takes table records out of `objects`. HTSTORE_ENOMEM changes nothing.
 */
int hti_objects_install(struct htstore *store, struct hti_objects *objects, struct htstore_error *error);

#endif
