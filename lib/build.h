/*
 * build: new contents for an object, written beside the old ones: rows in ascending order, appended to a database of their
 * own. Until a structural change makes it somebody's (structure.h), the catalogue calls that database garbage, so that
 * nothing is left of a build that was interrupted.
 */
#ifndef HTI_BUILD_H
#define HTI_BUILD_H

#include "state.h"

struct hti_build {
    struct htstore *store;
    const struct hti_row_type *type; /* borrowed */
    struct hti_totals_record totals; /* so far; complete once it is finished. Database 0: there are no rows */
    bool takes_lock; /* flush_mutex is taken for each transaction; otherwise the caller has it */
    bool failed;
    bool pinned; /* the database is, in kv */
    struct hti_kv_write *write; /* the transaction under way; flush_mutex is held meanwhile */
    uint64_t bytes, capacity; /* written in it; that it takes */
    uint8_t *space; /* for a stored row */
    size_t space_size;
};

/* `id` is that of the object. Nothing is written before the first row. */
void hti_build_init(struct hti_build *build, struct htstore *store, const struct hti_row_type *type, uint64_t id,
                    bool takes_lock);
/*
 * Append a row. HTSTORE_ECORRUPT (it does not come after the one before), or as hti_flush_records(). After a failure the build
 * can only be aborted.
 */
int hti_build_row(struct hti_build *build, const struct hti_row *row, struct htstore_error *error);
/* Append a row in its stored form (codec.h), whose checksum is of this object; `digest` is added by the caller. */
int hti_build_stored(struct hti_build *build, struct hti_kv_bytes key, struct hti_kv_bytes value,
                     struct htstore_error *error);
/* Let waiting flushes and changes in between two rows. */
int hti_build_pause(struct hti_build *build, struct htstore_error *error);
/* Commit what is left; build->totals may then be given to an object. */
int hti_build_finish(struct hti_build *build, struct htstore_error *error);
/* Forget a build, finished or not, that nobody was given. Takes flush_mutex with takes_lock. */
void hti_build_abort(struct hti_build *build);
/* Free memory; after a finish or an abort. */
void hti_build_release(struct hti_build *build);

#endif
