/* objects: reads the whole catalogue of one state of LMDB, and brings the objects in memory in line with it. */
#ifndef HTI_OBJECTS_H
#define HTI_OBJECTS_H

#include "state.h"

struct hti_objects {
    struct hti_store_record store;
    struct hti_object_record *records; /* ascending ids */
    size_t n_records;
    struct hti_totals_record *totals; /* of the same objects, in the same order */
    size_t n_totals;
    struct hti_entry_record *entries; /* by mapping and index; names are owned, NUL-terminated */
    size_t n_entries, max_entries;
    uint64_t *garbage;
    size_t n_garbage;
};

/* HTSTORE_ECORRUPT (a damaged record; an object without totals; an entry too many or too few), HTSTORE_EVERSION, HTSTORE_EFORMAT, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_objects_read(struct hti_kv_read *read, struct hti_objects *objects, struct htstore_error *error);
/*
 * Add to the garbage the databases in the file that the catalogue knows nothing of: they were made, empty, for a transaction
 * that a crash prevented. Their numbers are not given again. Results as above.
 */
int hti_objects_add_strays(struct hti_kv_read *read, struct hti_objects *objects, struct htstore_error *error);
void hti_objects_release(struct hti_objects *objects);
/*
 * Make and update the store's objects: totals, row counts, flags and entries are those of `objects`; objects that it lacks
 * are marked as dropped, and freed if no handle is open. Takes records and names out of `objects`. HTSTORE_ENOMEM changes nothing
 * that can be seen.
 */
int hti_objects_install(struct htstore *store, struct hti_objects *objects, struct htstore_error *error);

#endif
