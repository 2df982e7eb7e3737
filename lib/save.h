/* save: streams one state of a store into a snapshot: one thread reads pages, workers verify, encode and compress. */
#ifndef HTI_SAVE_H
#define HTI_SAVE_H

#include "instant.h"

/* Threads of work on snapshots beside the caller's: as asked for, bounded so that memory is; 0: one for each processor. */
#define HTI_SAVE_MAX_THREADS 4u
unsigned hti_save_threads(uint32_t wanted);

/* Options of a call: NULL or a size of 0 is refused elsewhere. HTSTORE_EINVAL: unknown flags, a level out of range. */
int hti_save_options(const struct htstore_snapshot_options *options, uint32_t known_flags,
                     struct htstore_snapshot_options *complete, struct htstore_error *error);

/*
 * Write the snapshot to a file descriptor. HTSTORE_ECORRUPT: what was read is not what the store should hold: the sentence names
 * the object; HTSTORE_ECANCELED, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM. `options` are complete; `path` is for messages.
 */
int hti_save_write(struct hti_instant *instant, int fd, const char *path,
                   const struct htstore_snapshot_options *options, struct htstore_error *error);

#endif
