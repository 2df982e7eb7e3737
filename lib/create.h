/* create: makes a store in one atomic step: built beside its place, synced, renamed. */
#ifndef HTI_CREATE_H
#define HTI_CREATE_H

#include "error.h"

#define HTI_CREATE_TMP_SUFFIX                                                                                          \
    ".htstore-tmp" /* "." NAME this: the one name of a store being made, so leftovers cannot pile up */

/*
 * HTSTORE_EEXIST (something of that name is there), HTSTORE_EBUSY (another process is making it), HTSTORE_ENOTFOUND (no parent folder),
 * HTSTORE_EINVAL (name, file system), HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM.
 */
int hti_create_store(const char *path, uint32_t flags, struct htstore_error *error);

/*
 * For others who build a store beside its place, under the temporary name: remove what an interrupted one has left
 * (HTSTORE_EBUSY if somebody is at work there), and put the finished one into place. `fd` is the folder as it was built;
 * it must still be the one of that name. `path` is for messages. HTSTORE_EEXIST, HTSTORE_EBUSY, HTSTORE_EIO, …
 */
int hti_create_clear(int parent_fd, const char *temporary, const char *path, struct htstore_error *error);
int hti_create_publish(int parent_fd, const char *temporary, const char *name, int fd, const char *path,
                       struct htstore_error *error);

#endif
