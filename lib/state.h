/*
 * state: what an open store is in memory: its tables, locks and counters. Shared by the modules of the store's layer.
 *
 * Lock order, outermost first (docs/threads.md):
 *   save_mutex     snapshots take turns; held for as long as one is written
 *   contents_mutex whoever replaces contents, or part of a row: restores, and writers of variables
 *   flush_mutex    LMDB's writer: flushes, structural changes, the start of cursors; held across disk work
 *   write_mutex    who commits next: the queue, the delta, reservations; not held across disk work
 *   section        a reader-writer lock: contents of tables in memory; held for memory work only
 *   objects_mutex  list of tables, counts of handles
 * The locks inside journal and kv are below all of these.
 */
#ifndef HTI_STATE_H
#define HTI_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache.h"
#include "catalog.h"
#include "htstore.h"
#include "journal.h"
#include "kv.h"
#include "lock.h"
#include "members.h"
#include "record.h"
#include "section.h"

/*
 * An object, once in memory however many handles it has. A variable is a table whose rows hold its elements (varlayout.h);
 * a mapping has members instead of rows.
 */
struct hti_core {
    struct hti_core *next; /* objects_mutex */
    struct hti_object_record record; /* constant, but for a mapping's flags: section */
    struct hti_row_type type; /* constant; tables, variables */
    void *default_elements; /* constant; tables: the default value as a caller's row */
    struct hti_members members; /* section; changed with flush_mutex too; mappings */
    uint64_t n_holders; /* flush_mutex: entries of mappings that name it */
    uint64_t restored_by; /* flush_mutex: number of the restore that its contents came from; 0: none */
    uint32_t marks; /* graph mutex: of a walk over the graph */

    /*
     * section. A table is in one of three modes, changed with flush_mutex and write_mutex too:
     *   resident  `rows` are all rows
     *   warming   `rows` are those that were read or written so far; the others are asked of LMDB (warm.h)
     *   bounded   `rows` were written since the last freeze, `frozen` before it and are being flushed; `recent` are some
     *             of the rows that were asked for, as they are now; the others are asked of LMDB (budget.h)
     */
    uint64_t n_rows; /* uncounted: by how much it has changed since the flush or open that it is counted from */
    bool uncounted; /* recovery does not know yet which rows are new: a flush will tell, or a clear, or loading */
    uint64_t last_lsn; /* of the last batch that touched it */
    uint64_t version; /* goes up with every change of its contents or mode */
    bool resident;
    struct hti_warming *warming; /* how far it has come; NULL: not warming. Contents: flush_mutex */
    bool damaged; /* warming has shown that rows are missing */
    struct hti_cache *rows; /* NULL: nothing is known yet */
    struct hti_cache *frozen; /* bounded */
    struct hti_cache *recent; /* bounded; NULL: no memory for it */
    bool rows_cleared; /* a clear happened: what is below `rows` does not count */
    bool frozen_cleared;
    struct hti_totals_record totals; /* what LMDB holds; changed with flush_mutex too */
    struct hti_totals_record coming; /* flush_mutex: of a mapping, with the entries of the change at hand */
    bool pinned; /* totals.database is pinned in kv for lookups */

    uint64_t n_reserved; /* write_mutex: rows queued, for which `rows` has room */
    uint64_t bytes_reserved; /* write_mutex: what they take beside their slots */
    uint32_t n_handles; /* objects_mutex */
    bool dropped; /* objects_mutex: gone from the catalogue, kept for open handles of a reader */
};

/* Handles begin with a magic number, so that one of another kind, or a closed one, is told apart. */
#define HTI_MAGIC_TABLE 0x6c627468u
#define HTI_MAGIC_VARIABLE 0x72767468u
#define HTI_MAGIC_MAPPING 0x706d7468u
#define HTI_MAGIC_CURSOR 0x72637468u
#define HTI_MAGIC_BATCH 0x61627468u
#define HTI_MAGIC_CLOSED 0xdeadc105u

/* A handle of an object, of any kind. */
struct hti_handle {
    uint32_t magic;
    uint32_t n_users; /* objects_mutex: cursors, batches with operations on it, checkpoint objects */
    struct htstore *store;
    struct hti_core *core;
    struct hti_handle *next_closed;
};

struct htstore_table {
    struct hti_handle handle;
};

struct htstore_variable {
    struct hti_handle handle;
};

struct htstore_mapping {
    struct hti_handle handle;
};

/* An open cursor, in the store's list of them. */
struct hti_slow {
    struct hti_slow *next, *previous;
    uint64_t since_ms;
};

/* A flush of one half leaves the other one to those who write meanwhile. */
#define HTI_FLUSH_AT(delta_bytes) ((delta_bytes) / 2)

struct hti_write;
struct hti_warming;
struct hti_view;
struct hti_waiting;

struct htstore {
    struct htstore *next; /* among the open stores of the process */
    struct htstore_options options;
    char *path;
    uint8_t store_id[16];
    bool readonly;
    int dir_fd;
    int journal_fd;
    uint64_t device, inode; /* of data.mdb: the same store is opened once */
    struct hti_lock lock;
    struct hti_kv *kv;
    struct hti_journal *journal; /* NULL: read-only, or while recovering */

    pthread_mutex_t save_mutex;
    pthread_mutex_t contents_mutex;
    pthread_mutex_t flush_mutex;
    struct hti_store_record record; /* as committed last */
    struct hti_record *frozen; /* being flushed, oldest first */
    uint64_t frozen_lsn;
    uint64_t *garbage; /* databases to be deleted */
    size_t n_garbage;
    struct hti_waiting *waiting; /* restores that wait for keys; structure.h */
    uint64_t n_restores; /* numbers them */

    pthread_mutex_t write_mutex;
    pthread_cond_t write_changed; /* queue, leader, room in the delta */
    struct hti_write *queue, **queue_end;
    bool leading; /* a leader is at work on a group */
    uint32_t n_exclusive; /* calls that wait for an empty queue */
    bool blocked; /* nobody writes: contents are being replaced */
    uint32_t n_waiting; /* calls that wait for room in the delta */
    struct hti_record *delta, **delta_end; /* applied, not yet frozen; oldest first */
    uint64_t delta_lsn; /* of the last record in the delta */
    uint64_t delta_bytes; /* of delta and frozen */
    uint64_t delta_rows;
    bool replayed; /* the delta, or what is frozen, came from a journal: it is flushed soon */
    uint64_t delta_since_ms; /* when the oldest record came; 0: none */
    uint64_t unsynced_since_ms; /* when the oldest INTERVAL record came that is not synced; 0: none */
    uint64_t flush_ns_per_kib; /* what the last large flush took; 0: not known */
    int flush_status; /* of the last flush */
    struct htstore_error flush_error;
    pthread_cond_t work; /* for the flusher and the syncer */
    bool stopping;
    bool over_budget; /* write_mutex: tables in memory may take more than they should */
    bool to_warm; /* write_mutex: there are tables that warm up */
    pthread_cond_t warmed; /* with write_mutex: a table has left that mode */
    pthread_t flusher, syncer, warmer;
    uint32_t n_threads; /* of those, started */
    bool in_use; /* LMDB may say that this session's journal exists */

    struct hti_section section;
    _Atomic uint64_t visible_lsn;
    _Atomic uint64_t applied_lsn;

    pthread_mutex_t objects_mutex;
    struct hti_core *cores; /* changed with flush_mutex or view_mutex too */
    uint64_t n_handles; /* objects, cursors, batches, checkpoint objects */
    struct hti_handle *closed, **closed_end; /* handles closed lately, oldest first */
    uint32_t n_closed;
    struct hti_slow *slow; /* open cursors */

    struct hti_view *view; /* read-only stores: the state that is seen; view.c */
    pthread_mutex_t view_mutex;

    _Atomic uint64_t n_batches, n_flushes, n_flush_transactions, n_replayed;
};

/* Locks and conditions; 0 or HTSTORE_ENOMEM. */
int hti_state_init(struct htstore *store, struct htstore_error *error);
void hti_state_release(struct htstore *store);

uint64_t hti_now_ms(void); /* CLOCK_MONOTONIC, never 0 */
/* Wait on a condition of the store until then, at most. */
void hti_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ms);

void hti_log(const struct htstore *store, int32_t level, const char *module, const char *format, ...) HTI_PRINTF(4, 5);

/* --- which stores are open in this process --- */
int hti_registry_add(struct htstore *store,
                     struct htstore_error *error); /* HTSTORE_EBUSY: its data.mdb is open already */
void hti_registry_remove(struct htstore *store);

/*
 * May this handle be used? HTSTORE_EINVAL: NULL, closed, of another kind, or we are in a forked child. `write` asks also
 * for HTSTORE_EREADONLY and for the error that poisoned the store.
 */
int hti_check_store(const struct htstore *store, bool write, struct htstore_error *error);
int hti_check_table(const struct htstore_table *table, bool write, struct htstore_error *error);
int hti_check_variable(const struct htstore_variable *variable, bool write, struct htstore_error *error);
int hti_check_mapping(const struct htstore_mapping *mapping, bool write, struct htstore_error *error);
bool hti_is_handle(const void *object); /* an open table, variable or mapping? */
bool hti_is_forked(const struct htstore *store);
/* The lock that keeps the list of objects, and mappings, from changing: an owner's flush_mutex, a reader's view_mutex. */
pthread_mutex_t *hti_graph_mutex(struct htstore *store);

/* --- objects --- */
struct hti_core *hti_core_new(struct hti_object_record *record); /* takes the record's memory; NULL: no memory */
void hti_core_free(struct hti_core *core);
/* "table words" or "anonymous mapping 7", for messages. */
#define HTI_CORE_LABEL_SIZE 128
const char *hti_core_label(const struct hti_core *core, char out[HTI_CORE_LABEL_SIZE]);
struct hti_core *hti_core_by_id(struct htstore *store, uint64_t id); /* any lock that keeps the list from changing */
struct hti_core *hti_core_by_name(struct htstore *store, const char *name);
uint64_t hti_core_bytes(const struct hti_core *core); /* of what the budget is for; with the section */
/* Sum over all objects, with what bounded ones hold until it is flushed, or without; takes objects_mutex and section. */
uint64_t hti_core_memory(struct htstore *store, bool unflushed);
/*
 * Another mode: the caches that it has from now on; those that it had are freed unless they are the same. All that they
 * knew must be flushed, or be in the new ones, and no write of the table be queued. A clear stays in force with the rows that
 * came after it, unless they are all now. With flush_mutex.
 */
void hti_core_change_mode(struct htstore *store, struct hti_core *core, struct hti_cache *rows,
                          struct hti_cache *recent, bool resident);
/* Free caches that nobody needs: no handle, nothing unflushed. With flush_mutex. */
void hti_core_trim(struct htstore *store, struct hti_core *core);
/* Begin to delete a database's rows later; in memory only. With flush_mutex. 0 or HTSTORE_ENOMEM. */
int hti_garbage_add(struct htstore *store, uint64_t database);

int hti_handle_new(struct hti_handle **handle, struct htstore_error *error); /* memory for one; HTSTORE_ENOMEM */
void hti_handle_open(struct hti_handle *handle, struct htstore *store, struct hti_core *core);
void hti_handle_retire(struct hti_handle *handle); /* with objects_mutex; the memory is freed some time later */
void hti_handle_use(struct hti_handle *handle, int change); /* n_users */
void hti_handle_count(struct htstore *store, int change); /* batches, checkpoint objects */
void hti_slow_enter(struct htstore *store, struct hti_slow *slow); /* cursors: also counts the handle */
void hti_slow_leave(struct htstore *store, struct hti_slow *slow);
uint64_t hti_slow_age_ms(struct htstore *store); /* of the oldest open cursor; 0: none */

#endif
