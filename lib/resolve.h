/*
 * resolve: turns a request whose outcome depends on the contents into one of plain puts and removals, which can be
 * replayed over any state between two flushes.
 */
#ifndef HTI_RESOLVE_H
#define HTI_RESOLVE_H

#include "state.h"

/* A change on its way: what is asked, what will be written, and what is reported. */
struct hti_write {
    /* the request */
    struct hti_record *record; /* owned; replaced when it is resolved; NULL once the journal has it */
    struct hti_core **cores; /* of its operations; owned */
    uint32_t durability;
    bool conditional; /* the outcome depends on the contents: must be resolved */
    bool all_or_nothing; /* one present key refuses the request */
    bool want_values; /* find_or_insert: keep what is found */
    struct htstore_arena *arena; /* where the bytes of wanted string values will go */
    uint8_t *flags; /* one a row of the only operation: inserted, found or removed; borrowed; may be NULL */

    /* the outcome */
    struct hti_buf values; /* packed values of all rows of the only operation, if wanted */
    struct hti_buf value_sizes; /* u32 each */
    uint8_t *value_space; /* room for `values` in the arena, reserved before anything is written */
    int status;
    struct htstore_error error;

    /* of resolve and commit */
    bool resolved;
    struct hti_record *request; /* what `record` was before it was resolved; owned, and so are its cores */
    struct hti_core **request_cores;
    int64_t *row_changes; /* resolved: by how much the row count of each operation's table changes; owned */
    bool done;
    struct hti_write *next;
};

/*
 * Resolve write->record. The caller holds write_mutex, and no leader is at work. 0; 1 = nothing is to be written;
 * HTSTORE_EEXIST (index set), HTSTORE_ECONFLICT (colliding long keys), HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM.
 */
int hti_resolve(struct htstore *store, struct hti_write *write, struct htstore_error *error);

#endif
