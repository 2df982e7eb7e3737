/*
 * kvfile: reads an LMDB 0.9 data file by pread alone, without liblmdb: the check before LMDB maps it, and a walk over the
 * pages of a damaged one. Never crashes on any bytes. Format: lmdb.h / mdb.c 0.9.24, data format version 1.
 */
#ifndef HTI_KVFILE_H
#define HTI_KVFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/*
 * Is it safe to let LMDB map this file? Both metas are checked, the roots of the newest one, and that the file is as long as it
 * says (missing pages must be in its free list). 0, or HTSTORE_EFORMAT (not an LMDB file; empty; other byte
 * order), HTSTORE_EVERSION (LMDB 1.0 or another data version), HTSTORE_ECORRUPT (truncated, damaged: offset set, expected and
 * actual size in the sentence), HTSTORE_EIO. `path` is for messages.
 */
int hti_kvfile_check(int fd, const char *path, struct htstore_error *error);

struct hti_kvfile; /* an open walk; single-threaded */

/* A database as its record in the main tree describes it. */
struct hti_kvfile_tree {
    uint64_t root; /* page number; UINT64_MAX = empty */
    uint64_t n_entries; /* as recorded */
    uint16_t depth;
    uint16_t flags;
};

/*
 * Called for each intact leaf entry, in key order. The memory is valid during the call. Non-zero stops the walk, which
 * then returns that value.
 */
typedef int (*hti_kvfile_entry_fn)(void *user, const uint8_t *key, size_t key_size, const uint8_t *value,
                                   size_t value_size);
/*
 * Called for each page that is damaged or cannot be read, with the reason in words ("it is reached twice"). Its subtree,
 * or those of its entries that were not handed out, are lost.
 */
typedef void (*hti_kvfile_bad_fn)(void *user, uint64_t page, const char *reason);

/*
 * Start a walk on the newest meta that is intact (`skip_newest` = the other one). HTSTORE_ECORRUPT if there is none,
 * HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_EIO, HTSTORE_ENOMEM. `fd` is borrowed.
 */
int hti_kvfile_open(int fd, bool skip_newest, const char *path, struct hti_kvfile **file, struct htstore_error *error);
void hti_kvfile_close(struct hti_kvfile *file);
uint64_t hti_kvfile_txn_id(const struct hti_kvfile *file);

/*
 * The tree of a named database. Walks the main tree, skipping what is damaged. 0, 1 = no such database, negative = error.
 * Damage met on the way is told to `bad`.
 */
int hti_kvfile_find_tree(struct hti_kvfile *file, const char *name, struct hti_kvfile_tree *tree, hti_kvfile_bad_fn bad,
                         void *user, struct htstore_error *error);
/* Every named database that the main tree records, in the order of names. Non-zero stops the walk, as below. */
typedef int (*hti_kvfile_tree_fn)(void *user, const uint8_t *name, size_t name_size,
                                  const struct hti_kvfile_tree *tree);
int hti_kvfile_list_trees(struct hti_kvfile *file, hti_kvfile_tree_fn tree, hti_kvfile_bad_fn bad, void *user,
                          struct htstore_error *error);
/* Every entry of a tree. 0 when done (also with bad pages), the callback's value if it stopped, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_kvfile_walk(struct hti_kvfile *file, const struct hti_kvfile_tree *tree, hti_kvfile_entry_fn entry,
                    hti_kvfile_bad_fn bad, void *user, struct htstore_error *error);

#endif
