/* wreck_journal: the records of a damaged store's journal, in order, and where some are missing. */
#ifndef HTI_WRECK_JOURNAL_H
#define HTI_WRECK_JOURNAL_H

#include "record.h"
#include "wreck.h"

/* Called for each record. Non-zero stops the walk, which then returns that value. */
typedef int (*hti_wreck_record_fn)(void *user, const struct hti_record *record);
/*
 * The records after the store's applied_lsn, without the torn tail, which nobody was promised. Those that had been synced
 * and are missing or damaged are counted and told; the ones behind them are shown all the same. 0, HTSTORE_EVERSION, HTSTORE_EIO,
 * HTSTORE_ENOMEM.
 */
int hti_wreck_journal_walk(struct hti_wreck *wreck, hti_wreck_record_fn record, void *user,
                           struct htstore_error *error);

#endif
