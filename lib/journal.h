/*
 * journal: the append side of the redo log: numbers records, writes them, syncs them, prepares and deletes segments.
 *
 * Threads: one appender at a time (the group's leader), and one caller of hti_journal_release(); hti_journal_sync() and
 * _stats() from any thread.
 * After a failed write or sync nothing is written or synced any more: every later call returns that first error.
 */
#ifndef HTI_JOURNAL_H
#define HTI_JOURNAL_H

#include <stdint.h>

#include "record.h"

struct hti_journal;

struct hti_journal_options {
    int dir_fd; /* of the journal folder; borrowed, must outlive the journal */
    const char *path; /* of the journal folder, for messages; copied */
    uint8_t store_id[16];
    uint64_t first_segment; /* number of the segment to make */
    struct hti_record *records; /* NULL, or what it begins with, LSNs and all: synced before it has its name */
    uint64_t next_lsn; /* behind them */
    uint64_t segment_bytes; /* size that segments grow to */
};

/* Make the first segment and start the thread that prepares the next ones. */
int hti_journal_open(const struct hti_journal_options *options, struct hti_journal **journal,
                     struct htstore_error *error);
/* Stop. `remove` deletes all its segments: only after everything in them was committed to LMDB. */
void hti_journal_close(struct hti_journal *journal, bool remove);

/*
 * Give the records LSNs, in list order, and write them. *n_written tells how many are known to be whole in the file, also
 * after an error. HTSTORE_ENOSPC, HTSTORE_ENOMEM: nothing was written of the others, retry later. HTSTORE_EIO: poisoned, and
 * how much of the others is in the file is not known; there is no gap.
 */
int hti_journal_append(struct hti_journal *journal, struct hti_record *list, uint64_t *n_written,
                       struct htstore_error *error);

/* Make everything up to `lsn` durable, which must have been written. HTSTORE_EIO poisons. */
int hti_journal_sync(struct hti_journal *journal, uint64_t lsn, struct htstore_error *error);

uint64_t hti_journal_written_lsn(struct hti_journal *journal);
uint64_t hti_journal_durable_lsn(struct hti_journal *journal);

/* Delete segments all of whose records are <= lsn, which a commit of this process has put into LMDB. 0 or the first error. */
int hti_journal_release(struct hti_journal *journal, uint64_t lsn, struct htstore_error *error);

struct hti_journal_stats {
    uint64_t bytes; /* of all segment files */
    uint64_t syncs;
    uint64_t last_segment;
};
void hti_journal_stats(struct hti_journal *journal, struct hti_journal_stats *stats);

/* Refuse everything from now on with this error; the first one stays. Also for errors of other layers. */
void hti_journal_poison(struct hti_journal *journal, const struct htstore_error *error);
/* 0, or the code of the error that poisoned it, which is copied to `error`. */
int hti_journal_poisoned(struct hti_journal *journal, struct htstore_error *error);

#endif
