/*
 * kvwalk: a walk over the trees of an LMDB 0.9 data file, however damaged it is: every entry that can be reached, and
 * which pages are bad. Reads by pread alone, without liblmdb. Never crashes on any bytes.
 */
#ifndef HTI_KVWALK_H
#define HTI_KVWALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "kvpage.h"

/*
 * One state of a file, open for walks; single-threaded. Who has read the metas needs no open and close: zeros, and `file`
 * filled, will do.
 */
struct hti_kvwalk {
    struct hti_kvpage_file file;
    char *path; /* owned */
    int read_errno; /* of the last page that the last walk could not read; 0 = it could read all */
};

/*
 * Called for each intact leaf entry, in key order. The memory is valid during the call. Non-zero stops the walk, which
 * then returns that value.
 */
typedef int (*hti_kvwalk_entry_fn)(void *user, const uint8_t *key, size_t key_size, const uint8_t *value,
                                   size_t value_size);
/*
 * Called for each page that is damaged or cannot be read, with the reason in words ("it is reached twice"). Its subtree,
 * or those of its entries that were not handed out, are lost.
 */
typedef void (*hti_kvwalk_bad_fn)(void *user, uint64_t page, const char *reason);

/*
 * Start a walk on the newest meta that is intact (`skip_newest` = the other one). HTSTORE_ECORRUPT if there is none,
 * HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_EIO, HTSTORE_ENOMEM. `fd` is borrowed.
 */
int hti_kvwalk_open(int fd, bool skip_newest, const char *path, struct hti_kvwalk **walk, struct htstore_error *error);
/*
 * Start a walk on the state of this transaction, which the caller's read transaction pins: its pages stay as long as that
 * is open. 1 = the file tells of newer states only (begin a new read transaction, and try again). HTSTORE_ECORRUPT and the
 * others as above.
 */
int hti_kvwalk_open_at(int fd, uint64_t txn_id, const char *path, struct hti_kvwalk **walk,
                       struct htstore_error *error);
void hti_kvwalk_close(struct hti_kvwalk *walk);
uint64_t hti_kvwalk_txn_id(const struct hti_kvwalk *walk);

/*
 * The tree of a named database. Walks the main tree, skipping what is damaged. 0, 1 = no such database, negative = error.
 * Damage met on the way is told to `bad`.
 */
int hti_kvwalk_find_tree(struct hti_kvwalk *walk, const char *name, struct hti_kvpage_tree *tree, hti_kvwalk_bad_fn bad,
                         void *user, struct htstore_error *error);
/* Every named database that the main tree records, in the order of names. Non-zero stops the walk, as below. */
typedef int (*hti_kvwalk_tree_fn)(void *user, const uint8_t *name, size_t name_size,
                                  const struct hti_kvpage_tree *tree);
int hti_kvwalk_list_trees(struct hti_kvwalk *walk, hti_kvwalk_tree_fn tree, hti_kvwalk_bad_fn bad, void *user,
                          struct htstore_error *error);
/* Every entry of a tree. 0 when done (also with bad pages), the callback's value if it stopped, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_kvwalk_walk(struct hti_kvwalk *walk, const struct hti_kvpage_tree *tree, hti_kvwalk_entry_fn entry,
                    hti_kvwalk_bad_fn bad, void *user, struct htstore_error *error);

/* --- entry by entry --- */

struct hti_kvwalk_cursor;

struct hti_kvwalk_options { /* zeros are defaults */
    hti_kvwalk_bad_fn bad; /* NULL: a bad page is an error */
    void *user; /* for `bad` */
    size_t max_value; /* larger values outside their leaf are not read; 0 = all are */
    bool trees; /* records of databases are entries, too; else they are bad */
};

struct hti_kvwalk_entry {
    const uint8_t *key;
    size_t key_size;
    const uint8_t *value; /* NULL: not read, since it is larger than max_value */
    size_t value_size;
    uint64_t value_page; /* where it begins, for hti_kvwalk_read_value(); 0: it lies in the leaf */
    uint64_t page; /* the leaf */
    bool is_tree; /* the value is the record of a database */
};

/* `walk` must outlive the cursor; `options` may be NULL. HTSTORE_ENOMEM. */
int hti_kvwalk_cursor_open(struct hti_kvwalk *walk, const struct hti_kvpage_tree *tree,
                           const struct hti_kvwalk_options *options, struct hti_kvwalk_cursor **cursor,
                           struct htstore_error *error);
/*
 * The next entry, in the same order and after the same checks as above. Its memory is valid until the next call. 1 = no
 * more. HTSTORE_ECORRUPT (a bad page: number and reason in the sentence, path and offset set), HTSTORE_EIO, HTSTORE_ENOMEM; nothing comes
 * after an error.
 */
int hti_kvwalk_cursor_next(struct hti_kvwalk_cursor *cursor, struct hti_kvwalk_entry *entry,
                           struct htstore_error *error);
/*
 * The leaf that the next entry lies on, for those who take entries by themselves: nothing of it is checked but the header.
 * It stays at hand until it is skipped, or its entries are taken one by one. 0, 1 or an error as above.
 */
struct hti_kvwalk_leaf {
    const uint8_t *data; /* of the page, until the next call */
    unsigned first; /* that was not taken yet */
    unsigned n_entries;
};
int hti_kvwalk_cursor_leaf(struct hti_kvwalk_cursor *cursor, struct hti_kvwalk_leaf *leaf, struct htstore_error *error);
void hti_kvwalk_cursor_skip_leaf(struct hti_kvwalk_cursor *cursor);
void hti_kvwalk_cursor_close(struct hti_kvwalk_cursor *cursor); /* NULL is allowed */
/* Read `size` bytes at `offset` of a value that an entry left out. HTSTORE_ECORRUPT (the file ends before), HTSTORE_EIO. */
int hti_kvwalk_read_value(struct hti_kvwalk *walk, uint64_t page, uint64_t offset, void *data, size_t size,
                          struct htstore_error *error);

#endif
