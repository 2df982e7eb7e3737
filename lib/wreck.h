/*
 * wreck: what can still be read of a damaged store's data.mdb: its catalogue and its rows. Changes nothing in the store's
 * folder, never asks LMDB, and believes no record or row without its checksum.
 */
#ifndef HTI_WRECK_H
#define HTI_WRECK_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog.h"
#include "codec.h"
#include "kvwalk.h"
#include "lock.h"

/* A database of rows, as the main tree of a state records it. */
struct hti_wreck_database {
    uint64_t number;
    bool claimed; /* the newest catalogue says whose it is */
    struct hti_kvpage_tree tree;
};

/* What one of the two meta pages leads to: the state after the last transaction, or the one before it. */
struct hti_wreck_state {
    struct hti_kvwalk *file;
    struct hti_wreck_database *databases;
    size_t n_databases;
    bool has_catalog;
    struct hti_kvpage_tree catalog;
};

struct hti_core;

/* What is known of a table, a variable or a mapping. Without `has_record` it is lost: somebody names its id, but nobody tells what it is. */
struct hti_wreck_table {
    uint64_t id;
    bool has_record;
    bool has_totals;
    bool replaced; /* a later object has its name */
    bool reached; /* a name leads to it; hti_wreck_entries_settle() */
    bool damaged; /* the caller's: rows of it are missing */
    unsigned totals_state; /* where they were found */
    struct hti_object_record record;
    struct hti_totals_record totals;
    struct hti_row_type type;
    struct hti_core *core; /* the caller's: its copy */
};

/* The two states: the newest first. Only one may be left. */
#define HTI_WRECK_STATES 2
#define HTI_WRECK_MAX_BAD_PAGES 64

struct hti_wreck {
    const struct htstore_options *options; /* borrowed */
    struct htstore_recovery found; /* counts of what is lost, so far */
    bool lossy; /* something is: hti_wreck_warn() was called */
    char path[256];
    char data_path[256];
    int dir_fd, data_fd;
    struct hti_lock lock;
    struct hti_wreck_state states[HTI_WRECK_STATES];
    unsigned n_states;
    bool has_store;
    bool store_is_exact; /* it tells up to which LSN the rows that are found hold the journal */
    struct hti_store_record store;
    struct hti_wreck_table *tables; /* ascending ids */
    size_t n_tables;
    struct hti_entry_record *entries; /* by mapping and index once they are settled; names are owned */
    size_t n_entries, max_entries;
    uint64_t *garbage; /* databases that nobody needs any more */
    size_t n_garbage;
    uint64_t bad_pages[HTI_WRECK_MAX_BAD_PAGES]; /* the first ones: both states may lead to the same page */
    size_t n_bad_pages;
};

/*
 * Open the folder, keep owners out until hti_wreck_close(), and read the catalogue as far as possible. HTSTORE_ENOTFOUND,
 * HTSTORE_EBUSY (owned), HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT (no table can be told), HTSTORE_EINVAL (unsafe folder or file system),
 * HTSTORE_EIO, HTSTORE_ENOMEM. `options` are complete (store.h); flags, lock_timeout_ms and log are used.
 */
int hti_wreck_open(struct hti_wreck *wreck, const char *path, const struct htstore_options *options,
                   struct htstore_error *error);
void hti_wreck_close(struct hti_wreck *wreck);

/* "table words" or "object number 7", for messages. */
#define HTI_WRECK_LABEL_SIZE 128
const char *hti_wreck_label(const struct hti_wreck_table *table, char out[HTI_WRECK_LABEL_SIZE]);

/* The table with that id. One that nobody knew is added as lost. NULL: no memory. */
struct hti_wreck_table *hti_wreck_table(struct hti_wreck *wreck, uint64_t id);

/* What a walk met. A walk's own structure begins with it, so that hti_wreck_note_page() can be its hti_kvwalk_bad_fn. */
struct hti_wreck_damage {
    struct hti_wreck *wreck;
    const char *what; /* is walked: for messages */
    uint64_t n_pages;
};
#define HTI_WRECK_MAX_TOLD 3 /* damaged pages, and rows, of one kind that are told one by one */
void hti_wreck_note_page(void *damage, uint64_t page, const char *reason);
void hti_wreck_tell_pages(const struct hti_wreck_damage *damage); /* after the walk: how many in all */

/* Tell options->log. A warning is a loss. */
void hti_wreck_warn(struct hti_wreck *wreck, const char *format, ...) HTI_PRINTF(2, 3);
void hti_wreck_note(const struct hti_wreck *wreck, const char *format, ...) HTI_PRINTF(2, 3);

#endif
