/*
 * recover: replays what the journal holds beyond LMDB, and tells a torn tail from damage.
 *
 * What was replayed becomes the delta, as if it had just been written: tables show it, and the flusher brings it to LMDB. So an open
 * does not wait for a flush.
 */
#ifndef HTI_RECOVER_H
#define HTI_RECOVER_H

#include "segment.h"
#include "state.h"

/* What was found; `last_lsn` is the last one that counts, everything behind it is a torn tail. */
struct hti_recovery {
    uint64_t *segments; /* numbers, ascending; owned */
    size_t n_segments;
    /*
     * The first ones belong to sessions that ended with a commit of all that counted in them. A power cut can bring them
     * back after they were deleted, torn tail and all: they are not read, only deleted again.
     */
    size_t n_obsolete;
    uint64_t last_lsn;
    struct hti_record *list; /* those after applied_lsn; owned; NULL: there are none, or too many to be kept */
    bool is_listed;
};

/*
 * Look at every segment in the journal folder. HTSTORE_ECORRUPT: a record that had been synced is damaged or missing; path and
 * offset say where. Nothing is changed, but leftovers of segments that were never finished are removed.
 */
int hti_recover_scan(struct htstore *store, struct hti_recovery *recovery, struct htstore_error *error);
void hti_recover_release(struct hti_recovery *recovery);

/*
 * Make the records after applied_lsn the delta, and apply them to the tables, none of which has a handle. What exceeds
 * options.delta_bytes is put into LMDB first, durably. HTSTORE_ECORRUPT: a record fits no table; HTSTORE_ENOMEM; or as
 * hti_flush_records().
 *
 * The delta must be synced by this process before anybody counts on it: a journal of ours that begins with it does that. The
 * segments stay. They may be deleted once a commit of this process names that journal.
 */
int hti_recover_replay(struct htstore *store, struct hti_recovery *recovery, struct htstore_error *error);

/* Delete the segments that were found, oldest first, so that no gap can be seen between two crashes. */
int hti_recover_delete(struct htstore *store, const struct hti_recovery *recovery, struct htstore_error *error);

#endif
