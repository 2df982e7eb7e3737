/* snapshot: snapshot files without a store: what they say of themselves, and whether they are whole. */
#ifndef HTI_SNAPSHOT_H
#define HTI_SNAPSHOT_H

#include "htstore.h"
#include "snapread.h"

/* Open a file of a folder for reading: a regular one. As hti_file_open() and hti_snapread_open(). *fd is -1 on failure. */
int hti_snapshot_open(int folder_fd, const char *name, const char *path, int *fd, struct hti_snapread **reader,
                      struct htstore_error *error);

/* A path of the user's: it may lead through links. HTSTORE_EFORMAT if it is no regular file. */
int hti_snapshot_open_path(const char *path, int *fd, struct htstore_error *error);

/* Read and verify every block. HTSTORE_ENOTFOUND, HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM. `lsn` may be NULL. */
int hti_snapshot_verify(int folder_fd, const char *name, const char *folder, uint32_t threads, uint64_t *lsn,
                        struct htstore_error *error);
/* The header alone. */
int hti_snapshot_lsn(int folder_fd, const char *name, const char *folder, uint64_t *lsn, struct htstore_error *error);

/* The node of the save counter, or UINT32_MAX. */
uint32_t hti_snapshot_counter_node(const struct hti_snap_graph *graph);
/* The save counter in the file: 0, or 1 if it has none; HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_snapshot_counter(struct hti_snapread *reader, int64_t *counter, struct htstore_error *error);

#endif
