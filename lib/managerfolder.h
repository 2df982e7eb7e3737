/* managerfolder: the folder of a checkpoint manager: its lock, the names in it, deletions that last. */
#ifndef HTI_MANAGERFOLDER_H
#define HTI_MANAGERFOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/*
 * Names: PREFIX-N a checkpoint, N decimal without leading zeros, below 2^63; .PREFIX-N.tmp one that is being written;
 * PREFIX.state and .PREFIX.state.tmp likewise. All else is not ours.
 */
struct hti_managerfolder {
    int fd;
    char *path; /* owned; for messages and results */
    char *prefix; /* owned */
    bool locked;
};

struct hti_managerfolder_where {
    int store_fd; /* of the store's folder */
    const char *store_path;
    const char *folder; /* NULL: `checkpoints` in the store's folder */
    const char *prefix; /* NULL: "ckpt" */
    bool make; /* if it is missing */
    bool any_filesystem;
    bool shared_folder; /* group and others may write it */
};

/*
 * Open and lock. HTSTORE_EINVAL (a prefix that is no file name; the store's own folder; an unsafe folder or file system),
 * HTSTORE_EBUSY (locked by somebody else, in this process too), HTSTORE_ENOTFOUND, HTSTORE_EFORMAT (no folder), HTSTORE_EIO,
 * HTSTORE_ENOMEM.
 */
int hti_managerfolder_open(const struct hti_managerfolder_where *where, struct hti_managerfolder *folder,
                           struct htstore_error *error);
void hti_managerfolder_close(struct hti_managerfolder *folder);

/* Make the folder's own name durable. */
int hti_managerfolder_sync_parent(const struct hti_managerfolder *folder, struct htstore_error *error);
int hti_managerfolder_sync(const struct hti_managerfolder *folder, struct htstore_error *error);

#define HTI_MANAGERFOLDER_NAME_SIZE (NAME_MAX + 1)
void hti_managerfolder_name(const struct hti_managerfolder *folder, int64_t number,
                            char name[HTI_MANAGERFOLDER_NAME_SIZE]);
void hti_managerfolder_state_names(const struct hti_managerfolder *folder, char name[HTI_MANAGERFOLDER_NAME_SIZE],
                                   char temporary[HTI_MANAGERFOLDER_NAME_SIZE]);
/* Bytes that the path of any checkpoint takes, the final NUL included; and that path. */
size_t hti_managerfolder_path_size(const struct hti_managerfolder *folder);
void hti_managerfolder_path(const struct hti_managerfolder *folder, int64_t number, char *path);

struct hti_managerfile {
    int64_t number;
    uint64_t bytes;
    bool regular; /* else a link, a folder or the like: it takes the number, but is no checkpoint */
};

/* What has the name of a checkpoint, ascending. Free *files with hti_mem_free(). HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_managerfolder_scan(const struct hti_managerfolder *folder, struct hti_managerfile **files, size_t *n,
                           struct htstore_error *error);
const struct hti_managerfile *hti_managerfile_find(const struct hti_managerfile *files, size_t n, int64_t number);

/* Delete temporary files of a crash, durably. *n: how many there were. */
int hti_managerfolder_clean(const struct hti_managerfolder *folder, size_t *n, struct htstore_error *error);
/* Delete a checkpoint; a missing one is no error. Not durable before hti_managerfolder_sync(). */
int hti_managerfolder_unlink(const struct hti_managerfolder *folder, int64_t number, struct htstore_error *error);
/* Have the next reader of a checkpoint that was synced read it from the disk. */
int hti_managerfolder_forget_pages(const struct hti_managerfolder *folder, int64_t number, struct htstore_error *error);

#endif
