/* checkpoint: a root and a save counter; saving them to files. */
#ifndef HTI_CHECKPOINT_H
#define HTI_CHECKPOINT_H

#include <stdbool.h>

#include "graph.h"

#define HTI_MAGIC_CHECKPOINT 0x74706b63u

struct hti_checkpoint_entry {
    char *name;
    size_t name_size;
    void *handle; /* our own */
};

struct htstore_checkpoint {
    uint32_t magic;
    uint32_t n_users; /* objects_mutex: restores, managers */
    struct htstore *store;
    struct htstore_mapping *root; /* our own handle; may be NULL */
    struct hti_checkpoint_entry *entries; /* ascending names */
    size_t n_entries;
    int64_t counter; /* objects_mutex */
};

/* HTSTORE_EINVAL: NULL, closed, or in a forked child. */
int hti_checkpoint_check(const struct htstore_checkpoint *checkpoint, struct htstore_error *error);
struct htstore *hti_checkpoint_store(const struct htstore_checkpoint *checkpoint);
int hti_checkpoint_use(struct htstore_checkpoint *checkpoint, int change); /* n_users; always 0 */
int64_t hti_checkpoint_counter(const struct htstore_checkpoint *checkpoint);
void hti_checkpoint_set_counter(struct htstore_checkpoint *checkpoint, int64_t counter);
/* Set the counter to `to` if it is `from`. */
void hti_checkpoint_retract(struct htstore_checkpoint *checkpoint, int64_t from, int64_t to);

/*
 * The root as it is now; `entries` is room for those of the checkpoint. With the graph's mutex. HTSTORE_EEXIST if the root
 * mapping has been given a key of one of the entries, with another object.
 */
int hti_checkpoint_root(const struct htstore_checkpoint *checkpoint, struct hti_root_entry *entries,
                        struct hti_root *root, struct htstore_error *error);
struct hti_root_entry *hti_checkpoint_room(const struct htstore_checkpoint *checkpoint); /* for it; NULL: no memory */

struct hti_save_target {
    int folder_fd;
    const char *folder; /* for messages */
    const char *name;
    int64_t counter; /* what the file holds, and the save counter becomes if this succeeds; negative: neither */
    bool replace;
    uint64_t lsn; /* out */
};

/*
 * Write the file: under the name ".NAME.tmp", where a leftover is replaced; synced; renamed; the folder synced. After a failure
 * nothing is left, what was to be replaced is there, and the counter is as before. Saves of a store take turns.
 */
int hti_checkpoint_save_in(struct htstore_checkpoint *checkpoint, struct hti_save_target *target,
                           const struct htstore_snapshot_options *options, struct htstore_error *error);

#endif
