/*
 * kv: the only user of LMDB: environment, databases by number, write and read transactions, growth of the map.
 *
 * Threads: everything named "writer" below is called by one thread at a time (the store's flush lock sees to that).
 * Read transactions may begin and end in any thread, each is used by one thread at a time.
 */
#ifndef HTI_KV_H
#define HTI_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "kvpage.h"
#include "kvsearch.h"

struct hti_kv;
struct hti_kv_write; /* a write transaction */
struct hti_kv_read; /* a read transaction */
struct hti_kv_cursor; /* walks a database in key order */

#define HTI_KV_CATALOG (UINT64_MAX - 1) /* number of the catalogue's database; rows have numbers from 1, 0 is none */
#define HTI_KV_NAMES UINT64_MAX /* for cursors: the keys are the names of all databases in the file */
#define HTI_KV_MAX_KEY_SIZE 511

struct hti_kv_bytes {
    const void *data;
    size_t size;
};

/* The number of the database that has this name in the file; false if it is none of ours. */
bool hti_kv_parse_name(struct hti_kv_bytes name, uint64_t *database);

struct hti_kv_options {
    int dir_fd; /* folder of data.mdb and lock.mdb */
    const char *path; /* of the store, for messages */
    bool readonly;
    uint64_t map_size; /* wanted; smaller if address space is short, larger if the file is */
    uint32_t max_pinned; /* databases that may stay pinned at once; as many again can be open for a flush */
    uint32_t max_readers;
};

/* The files are checked (kvfile) by the caller. HTSTORE_ECORRUPT, HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM. */
int hti_kv_open(const struct hti_kv_options *options, struct hti_kv **kv, struct htstore_error *error);
void hti_kv_close(struct hti_kv *kv); /* no transaction may be open */

/*
 * Open databases by number. `acquire` pins one, so that its handle stays; opening it the first time takes a short
 * transaction of its own (with `create`: a committed one), so it must not run inside a write transaction. Writer.
 * 0; 1 = it does not exist (without `create`); HTSTORE_EBUSY = too many are pinned (without `create`: a flush, which holds
 * at most max_pinned / 2, always finds room; and so does who pins one for each that is pinned, to take its place).
 */
int hti_kv_acquire(struct hti_kv *kv, uint64_t database, bool create, struct htstore_error *error);
void hti_kv_release(struct hti_kv *kv, uint64_t database); /* any thread */
bool hti_kv_is_pinned(struct hti_kv *kv, uint64_t database);
/* Readers in another process than the owner: open all of these, in one transaction. Those that do not fit are left out. */
int hti_kv_open_all(struct hti_kv *kv, const uint64_t *databases, size_t n, struct htstore_error *error);

/* --- writing --- */
int hti_kv_begin(struct hti_kv *kv, struct hti_kv_write **write, struct htstore_error *error);
/*
 * put, remove and commit return HTI_KV_MAP_FULL when the map must grow (hti_kv_grow(), then start anew), and otherwise
 * 0 or a status. After any failure the transaction must be aborted (commit: is gone).
 */
#define HTI_KV_MAP_FULL 2
int hti_kv_put(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
               struct htstore_error *error);
/* Never overwrites: 1 = the key is present, and nothing was changed. */
int hti_kv_put_new(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
                   struct htstore_error *error);
/* The key must be greater than all others of the database; HTSTORE_ECORRUPT if it is not. stored: as below; may be NULL. */
int hti_kv_append(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
                  struct hti_kv_bytes *stored, struct htstore_error *error);
/* The greatest key; valid until the next change. 1 = the database is empty. */
int hti_kv_last_key(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes *key,
                    struct htstore_error *error);
int hti_kv_remove(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key,
                  struct htstore_error *error); /* 1 = absent */
/*
 * For many rows of one database in ascending order: each is searched from where the one before it was found. `find` and
 * `offer`, which stores a row if its key is absent, set *stored to what the database has under the key: 0 = it was stored (offer), or
 * found (find); 1 = it was there already, and nothing was changed (offer), or it is absent (find). What was found, and
 * nothing else, may then be replaced or removed. After removals the next search begins at the root again.
 */
int hti_kv_offer(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
                 struct hti_kv_bytes *stored, struct htstore_error *error);
int hti_kv_find(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes *stored,
                struct htstore_error *error);
int hti_kv_replace_found(struct hti_kv_write *write, struct hti_kv_bytes key, struct hti_kv_bytes value,
                         struct hti_kv_bytes *stored, struct htstore_error *error);
int hti_kv_remove_found(struct hti_kv_write *write, struct htstore_error *error);
/* The stored bytes are valid until the next change in this transaction. 1 = absent. */
int hti_kv_get(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes *value,
               struct htstore_error *error);
/* Remove up to `max` entries from the front of a database; *left tells whether there are more. */
int hti_kv_trim(struct hti_kv_write *write, uint64_t database, uint64_t max, bool *left, struct htstore_error *error);
/* Delete an (almost) empty database. It must not be pinned by others; its handle is gone even if the commit fails. */
int hti_kv_drop(struct hti_kv_write *write, uint64_t database, struct htstore_error *error);
int hti_kv_commit(struct hti_kv_write *write, struct htstore_error *error);
void hti_kv_abort(struct hti_kv_write *write);
/*
 * From now on commits do not sync, for a new store that nobody is to see before it is whole; or sync all, and go back to
 * the usual. Writer, no transaction open.
 */
int hti_kv_defer_syncs(struct hti_kv *kv, bool defer, struct htstore_error *error);
bool hti_kv_defers_syncs(const struct hti_kv *kv);

/* --- reading --- */
/* `slow`: held for long (cursors, snapshots of a reader); growth does not wait for those, it is refused. */
int hti_kv_read_begin(struct hti_kv *kv, bool slow, struct hti_kv_read **read, struct htstore_error *error);
void hti_kv_read_end(struct hti_kv_read *read);
uint64_t hti_kv_read_id(const struct hti_kv_read *read); /* number of the committed transaction that is seen */
uint64_t hti_kv_last_id(struct hti_kv *kv); /* number of the last committed one */
/*
 * Valid until the read ends. 1 = absent. Database 0 is one without rows; one that is not open (see hti_kv_open_all()) is
 * HTSTORE_EBUSY, for a cursor too, since its rows are there all the same.
 */
int hti_kv_read_get(struct hti_kv_read *read, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes *value,
                    struct htstore_error *error);

int hti_kv_cursor_open(struct hti_kv_read *read, uint64_t database, struct hti_kv_cursor **cursor,
                       struct htstore_error *error);
int hti_kv_cursor_next(struct hti_kv_cursor *cursor, struct hti_kv_bytes *key, struct hti_kv_bytes *value,
                       struct htstore_error *error); /* 1 = no more */
/* The first entry whose key is greater than `after`; next() goes on from there. 1 = there is none. */
int hti_kv_cursor_seek(struct hti_kv_cursor *cursor, struct hti_kv_bytes after, struct hti_kv_bytes *key,
                       struct hti_kv_bytes *value, struct htstore_error *error);
void hti_kv_cursor_close(struct hti_kv_cursor *cursor); /* before its read ends */

/*
 * Where the tree of a database begins in this state, for those who read pages by themselves. 1 = there is no such database.
 * The pages stay as long as the read is open.
 */
int hti_kv_read_tree(struct hti_kv_read *read, uint64_t database, struct hti_kvpage_tree *tree,
                     struct htstore_error *error);

/*
 * To search the tree of a database in the map, as long as the read is open. 1 = that is not possible: the database does not
 * exist, or does not look as expected; use hti_kv_read_get().
 */
int hti_kv_read_search(struct hti_kv_read *read, uint64_t database, struct hti_kvsearch *search,
                       struct htstore_error *error);

/* --- sizes --- */
struct hti_kv_shape {
    uint64_t n_entries;
    uint64_t leaf_pages;
    uint64_t bytes; /* of all its pages */
};
int hti_kv_shape(struct hti_kv_write *write, uint64_t database, struct hti_kv_shape *shape,
                 struct htstore_error *error);
int hti_kv_read_shape(struct hti_kv_read *read, uint64_t database, struct hti_kv_shape *shape,
                      struct htstore_error *error);
/* Pages that a value takes outside its leaf; 0 if it lies in the leaf. */
uint64_t hti_kv_overflow_pages(const struct hti_kv *kv, size_t key_size, size_t value_size);
uint32_t hti_kv_page_size(const struct hti_kv *kv);

/* Grow the map. Writer, no transaction open. HTSTORE_EBUSY: a slow reader is open; HTSTORE_ENOSPC, HTSTORE_ENOMEM: not possible. */
int hti_kv_grow(struct hti_kv *kv, struct htstore_error *error);
/* Is less than a quarter, or less than `bytes`, of the map left? */
bool hti_kv_is_tight(struct hti_kv *kv, uint64_t bytes);
/* Is the file, which another process may have made larger, within the map? */
bool hti_kv_fits(struct hti_kv *kv);
/* Free reader slots that dead processes left. */
void hti_kv_check_readers(struct hti_kv *kv);

struct hti_kv_stats {
    uint64_t map_size;
    uint64_t data_bytes;
    uint64_t growths;
    uint64_t slow_readers;
    uint64_t oldest_read_id; /* of the slow readers; UINT64_MAX if none */
};
void hti_kv_stats(struct hti_kv *kv, struct hti_kv_stats *stats);
const char *hti_kv_version(void); /* of liblmdb */

#endif
