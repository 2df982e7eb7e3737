/* flush: brings journalled batches into LMDB: sorted, in transactions of bounded size, totals and applied LSN with them. */
#ifndef HTI_FLUSH_H
#define HTI_FLUSH_H

#include "state.h"

/*
 * Put a list of records (ascending LSNs) into LMDB; store->record.applied_lsn becomes `lsn`. The caller holds flush_mutex.
 * Also what recovery uses. Failing half-way is harmless: the same list can be given again. 0; HTSTORE_ENOSPC, HTSTORE_ENOMEM,
 * HTSTORE_EBUSY (the map cannot grow now): retry later; HTSTORE_EIO, HTSTORE_ECORRUPT.
 */
int hti_flush_records(struct htstore *store, const struct hti_record *list, uint64_t lsn, struct htstore_error *error);

/*
 * Flush everything that is applied now. The caller holds flush_mutex. Codes as above; after HTSTORE_EIO and HTSTORE_ECORRUPT the
 * store is poisoned.
 */
int hti_flush_locked(struct htstore *store, struct htstore_error *error);

/*
 * Make row counts known that recovery has left open (state.h): of one object, or of all (NULL). Takes flush_mutex, and flushes, only if
 * that is needed. Codes as above.
 */
int hti_flush_count(struct htstore *store, const struct hti_core *core, struct htstore_error *error);

/* Commit store->record as it stands (it holds the session, flags and LSN). With flush_mutex. */
int hti_flush_commit_record(struct htstore *store, struct htstore_error *error);

/* Delete one slice of a garbage database. 0 = did something, 1 = nothing to do (now), negative = error. With flush_mutex. */
int hti_flush_collect(struct htstore *store, struct htstore_error *error);

/* The flusher's thread. */
void *hti_flush_run(void *store);

/* Tests: the thread leaves alone what was replayed, until somebody else has it flushed. */
void hti_flush_test_hold(bool on);

#endif
