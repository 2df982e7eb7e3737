/* build: hides the transactions in which new contents are written beside the old ones. */
#include "build.h"

#include <assert.h>
#include <string.h>

#include "flush.h"
#include "mem.h"

#define TRANSACTION_BYTES ((uint64_t)48 << 20) /* far below what LMDB keeps in memory without spilling */
#define UNSYNCED_BYTES ((uint64_t)2 << 20) /* where commits cost little: what a processor's own cache holds */
#define ROW_EXTRA 10u /* bytes that a row takes in a page beside key and value */

void hti_build_init(struct hti_build *build, struct htstore *store, const struct hti_row_type *type, uint64_t id,
                    bool takes_lock)
{
    memset(build, 0, sizeof *build);
    build->store = store;
    build->type = type;
    build->totals.id = id;
    build->takes_lock = takes_lock;
}

static void leave(struct hti_build *build)
{
    if (build->takes_lock)
        pthread_mutex_unlock(&build->store->flush_mutex);
}

static void enter(struct hti_build *build)
{
    if (build->takes_lock)
        pthread_mutex_lock(&build->store->flush_mutex);
}

/*
 * A transaction that finds the map full could not be repeated, since its rows are gone: the map is grown before. Where it
 * cannot grow now there may be room all the same.
 */
static int make_room(struct htstore *store, uint64_t bytes, struct htstore_error *error)
{
    int rc = 0;

    while (rc == 0 && hti_kv_is_tight(store->kv, bytes))
        rc = hti_kv_grow(store->kv, error);
    return rc == HTSTORE_EBUSY ? 0 : rc;
}

static int put_head(struct hti_build *build, const struct hti_store_record *record, struct htstore_error *error)
{
    const struct hti_garbage_record garbage = { .database = build->totals.database };
    const int rc = hti_catalog_put_store(build->write, record, error);

    return rc ? rc : hti_catalog_put_garbage(build->write, &garbage, error);
}

/* The database exists, empty, before the transaction that says whose it is not yet. */
static int begin_database(struct hti_build *build, struct htstore_error *error)
{
    struct htstore *store = build->store;
    const uint64_t database = store->record.next_id++;
    const int rc = hti_kv_acquire(store->kv, database, true, error);

    if (rc != 0)
        return rc;
    build->totals.database = database;
    build->pinned = true;
    return 0;
}

/* Writers that wait for memory would wait for as long as this thread goes on, which may take the lock again at once. */
static void serve_waiting(struct htstore *store)
{
    bool waiting;

    pthread_mutex_lock(&store->write_mutex);
    waiting = store->n_waiting > 0;
    pthread_mutex_unlock(&store->write_mutex);
    if (waiting)
        hti_flush_locked(store, NULL); /* if it fails, they are told */
}

static int begin_transaction(struct hti_build *build, uint64_t bytes, struct htstore_error *error)
{
    struct htstore *store = build->store;
    const bool first = build->totals.database == 0;
    int rc;

    serve_waiting(store);
    rc = hti_journal_poisoned(store->journal, error);
    if (rc == 0)
        rc = make_room(store, 2 * (bytes > TRANSACTION_BYTES ? bytes : TRANSACTION_BYTES), error);
    if (rc == 0 && first)
        rc = begin_database(build, error);
    if (rc == 0)
        rc = hti_kv_begin(store->kv, &build->write, error);
    if (rc == 0 && first)
        rc = put_head(build, &store->record, error);
    build->bytes = 0;
    build->capacity = hti_kv_defers_syncs(store->kv) ? UNSYNCED_BYTES : TRANSACTION_BYTES;
    return rc;
}

/* A failed write of LMDB poisons the store, whichever step of a transaction it is. */
static int fail(struct hti_build *build, int rc, const struct htstore_error *reason, struct htstore_error *error)
{
    build->failed = true;
    if (build->write) {
        hti_kv_abort(build->write);
        build->write = NULL;
    }
    if (rc == HTSTORE_EIO)
        hti_journal_poison(build->store->journal, reason);
    leave(build);
    if (rc == HTI_KV_MAP_FULL)
        return hti_fail(error, HTSTORE_EBUSY, "the map is full, and an open cursor keeps it from growing");
    if (rc != 0)
        hti_error_copy(error, reason);
    return rc;
}

static int commit(struct hti_build *build, struct htstore_error *error)
{
    struct htstore_error own = { 0 };
    int rc;

    if (!build->write)
        return 0;
    rc = hti_kv_commit(build->write, &own);
    build->write = NULL;
    if (rc == HTSTORE_ECORRUPT)
        hti_journal_poison(build->store->journal, &own);
    if (rc != 0)
        return fail(build, rc, &own, error);
    leave(build);
    return 0;
}

int hti_build_stored(struct hti_build *build, struct hti_kv_bytes key, struct hti_kv_bytes value,
                     struct htstore_error *error)
{
    const uint64_t bytes = key.size + value.size + ROW_EXTRA;
    struct htstore_error own;
    int rc = 0;

    assert(!build->failed);
    if (build->write && build->bytes + bytes > build->capacity)
        rc = commit(build, error);
    if (rc != 0)
        return rc;
    if (!build->write) {
        enter(build);
        rc = begin_transaction(build, bytes, &own);
    }
    if (rc == 0)
        rc = hti_kv_append(build->write, build->totals.database, key, value, NULL, &own);
    if (rc != 0)
        return fail(build, rc, &own, error);
    build->bytes += bytes;
    build->totals.n_rows++;
    return 0;
}

static int make_space(struct hti_build *build, size_t size, struct htstore_error *error)
{
    uint8_t *more;

    if (size <= build->space_size)
        return 0;
    more = hti_mem_realloc_array(build->space, size, 1);
    if (!more)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a row");
    build->space = more;
    build->space_size = size;
    return 0;
}

int hti_build_row(struct hti_build *build, const struct hti_row *row, struct htstore_error *error)
{
    const struct hti_hash128 hash = hti_hash_row(row->key, row->key_size, row->value, row->value_size);
    const size_t size = hti_codec_stored_size(build->type, row);
    uint8_t key[HTI_STORED_KEY_MAX];
    struct hti_kv_bytes stored_key = { key, hti_codec_store_key(build->type, row->key, row->key_size, key) };
    struct htstore_error own;
    int rc = make_space(build, size, &own);

    if (rc != 0 && build->write)
        return fail(build, rc, &own, error);
    if (rc != 0) {
        hti_error_copy(error, &own);
        return rc;
    }
    hti_codec_store_row(build->type, build->totals.id, row, hash, build->space);
    rc = hti_build_stored(build, stored_key, (struct hti_kv_bytes){ build->space, size }, error);
    if (rc == 0)
        hti_digest_add(&build->totals.digest, hash);
    return rc;
}

int hti_build_pause(struct hti_build *build, struct htstore_error *error)
{
    return commit(build, error);
}

static void unpin(struct hti_build *build)
{
    if (build->pinned)
        hti_kv_release(build->store->kv, build->totals.database);
    build->pinned = false;
}

int hti_build_finish(struct hti_build *build, struct htstore_error *error)
{
    const int rc = commit(build, error);

    if (rc == 0)
        unpin(build);
    return rc;
}

void hti_build_abort(struct hti_build *build)
{
    if (build->write)
        fail(build, 0, NULL, NULL);
    unpin(build);
    if (build->totals.database == 0)
        return;
    enter(build);
    hti_garbage_add(build->store, build->totals.database); /* without memory, the next open collects it */
    leave(build);
    build->totals.database = 0;
}

void hti_build_release(struct hti_build *build)
{
    hti_mem_free(build->space);
    build->space = NULL;
}
