/* managerstate: what a checkpoint manager remembers of its folder, and the file in which it does. */
#ifndef HTI_MANAGERSTATE_H
#define HTI_MANAGERSTATE_H

#include <stdint.h>

#include "buf.h"
#include "error.h"

/* What the state says of a checkpoint. Values are stored in files. */
enum hti_managed_mark {
    HTI_MANAGED_LISTED = 1, /* on the active list */
    HTI_MANAGED_DELETING = 2, /* off the list; its file is to be deleted, and may be gone already */
    HTI_MANAGED_SAVING = 3 /* being saved: its file may be there, and if so it is the manager's */
};

struct hti_managed {
    int64_t number; /* >= 0; once in a state */
    double time; /* seconds since 1970, finite */
    uint32_t mark;
};

#define HTI_MANAGERSTATE_MAX ((size_t)1 << 20) /* entries of a state */

struct hti_managerstate {
    double last_preserved; /* time of the last checkpoint that was kept for good; finite */
    struct hti_managed *entries; /* owned; oldest first */
    size_t n_entries;
    size_t capacity;
};

void hti_managerstate_init(struct hti_managerstate *state);
void hti_managerstate_release(struct hti_managerstate *state);
/* `copy` is initialised; HTSTORE_ENOMEM leaves it empty. */
int hti_managerstate_copy(const struct hti_managerstate *state, struct hti_managerstate *copy,
                          struct htstore_error *error);
/* Put a checkpoint at the end. Its number must not be there. HTSTORE_ENOMEM changes nothing. */
int hti_managerstate_append(struct hti_managerstate *state, const struct hti_managed *entry,
                            struct htstore_error *error);
/* The entry of that number, or NULL; valid until the state changes. */
struct hti_managed *hti_managerstate_find(const struct hti_managerstate *state, int64_t number);
/* Take out the entry of that number; nothing if there is none. */
void hti_managerstate_remove(struct hti_managerstate *state, int64_t number);
size_t hti_managerstate_count(const struct hti_managerstate *state, uint32_t mark);

/* The bytes of the file: docs/checkpoint-folder.md. HTSTORE_ENOMEM. */
int hti_managerstate_encode(const struct hti_managerstate *state, struct hti_buf *buf, struct htstore_error *error);
/*
 * `state` is initialised, and stays empty on failure. HTSTORE_EFORMAT (no state file), HTSTORE_EVERSION, HTSTORE_ECORRUPT,
 * HTSTORE_ENOMEM. `path` is for messages.
 */
int hti_managerstate_decode(const void *data, size_t size, const char *path, struct hti_managerstate *state,
                            struct htstore_error *error);

/* Read the file. As decode, and HTSTORE_ENOTFOUND, HTSTORE_EIO. */
int hti_managerstate_load(int folder_fd, const char *name, const char *path, struct hti_managerstate *state,
                          struct htstore_error *error);
/*
 * Replace the file: `temporary` is written, synced and renamed, then the folder is synced. After a failure the file is
 * the old one or the new one, and which of them a power cut leaves is not known; `temporary` is gone.
 */
int hti_managerstate_store(int folder_fd, const char *name, const char *temporary, const char *path,
                           const struct hti_managerstate *state, struct htstore_error *error);

#endif
