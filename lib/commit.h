/*
 * commit: the way of a write: wait for room, resolve, queue, and be written, synced and applied as part of a group.
 *
 * Concurrent callers share one journal write and one sync. A batch becomes visible when it is in the journal, and synced
 * if its durability asks for it; all batches become visible in the order of their LSNs.
 */
#ifndef HTI_COMMIT_H
#define HTI_COMMIT_H

#include "resolve.h"

/*
 * Carry out a write. write->record must be sealed; write->cores names the table of each operation. 0 or the documented
 * codes of htstore_table_insert(); the outcome is in `write`. Frees nothing: call hti_write_release().
 */
int hti_commit(struct htstore *store, struct hti_write *write, struct htstore_error *error);
void hti_write_release(struct hti_write *write);

/*
 * Apply an operation from a journal to the rows of its table, which has no handle yet: what is below them is not asked, so the table
 * is uncounted afterwards. `upcoming`: at most so many rows will follow, these included. HTSTORE_ENOMEM; HTSTORE_ECORRUPT (two long
 * keys of one stored form, which no commit lets in).
 */
int hti_commit_replay(struct htstore *store, struct hti_core *core, const struct hti_op *op, uint64_t lsn,
                      uint64_t upcoming);

/* Keep everybody from writing, when those at work are done; and let them go on. With flush_mutex. */
void hti_commit_block(struct htstore *store);
void hti_commit_unblock(struct htstore *store);

/* Thread that keeps the promise of HTSTORE_INTERVAL. Argument and result as of pthread_create(). */
void *hti_commit_run_syncer(void *store);

#endif
