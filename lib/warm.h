/*
 * warm: brings a large table into memory in the background, from its first handle on.
 *
 * Meanwhile its cache knows what was written since, and what has been read so far; whatever it does not know is asked of
 * LMDB. Rows are read in the order of their keys, a slice at a time with flush_mutex, and added unless something newer is
 * known of their key: so it does not matter what is written or flushed between two slices.
 */
#ifndef HTI_WARM_H
#define HTI_WARM_H

#include "state.h"

/* Begin: the table has no handle yet; what it has in memory is all that LMDB lacks. With flush_mutex. HTSTORE_ENOMEM. */
int hti_warm_start(struct htstore *store, struct hti_core *core, struct htstore_error *error);
/* Wait until a table does not warm up any more. Takes write_mutex. */
void hti_warm_wait(struct htstore *store, struct hti_core *core);

/* The thread that warms tables up, and keeps them within the budget. Argument and result as of pthread_create(). */
void *hti_warm_run(void *store);

#endif
