/* load: hides how a table's rows come from LMDB into memory. */
#include "load.h"

#include <string.h>

#include "flush.h"
#include "lookup.h"

struct loader {
    const struct hti_core *core;
    const struct hti_totals_record *totals;
    struct hti_cache *cache;
    struct hti_hash128 digest;
    struct htstore_error *error;
};

static int damaged(struct loader *l, const char *what)
{
    char label[HTI_CORE_LABEL_SIZE];
    return hti_fail(l->error, HTSTORE_ECORRUPT, "%s: %s", hti_core_label(l->core, label), what);
}

static int no_memory(struct loader *l)
{
    char label[HTI_CORE_LABEL_SIZE];
    return hti_fail(l->error, HTSTORE_ENOMEM, "no memory to load %s", hti_core_label(l->core, label));
}

static int add_row(struct loader *l, struct hti_kv_bytes key, struct hti_kv_bytes value)
{
    uint8_t key_space[8];
    struct hti_hash128 hash;
    struct hti_row row;

    if (hti_codec_load_row(&l->core->type, l->core->record.id, key.data, key.size, value.data, value.size, key_space,
                           &row, &hash) != 0)
        return damaged(l, "a row is damaged: its checksum differs");
    if (hti_cache_reserve_row(l->cache, &row) != 0)
        return no_memory(l);
    hti_cache_put(l->cache, &row);
    hti_digest_add(&l->digest, hash);
    return 0;
}

static int read_rows(struct loader *l, struct hti_kv_read *read)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    int rc = hti_kv_cursor_open(read, l->totals->database, &cursor, l->error);

    if (rc != 0)
        return rc;
    while ((rc = hti_kv_cursor_next(cursor, &key, &value, l->error)) == 0) {
        rc = add_row(l, key, value);
        if (rc != 0)
            break;
    }
    hti_kv_cursor_close(cursor);
    return rc == 1 ? 0 : rc;
}

/* LMDB may lose rows without a word when a page is damaged; count and digest show it. */
static int check_totals(struct loader *l)
{
    const struct hti_totals_record *totals = l->totals;

    if (hti_cache_present(l->cache) != totals->n_rows)
        return damaged(l, "rows are missing or too many: the count differs from the catalogue's");
    if (l->digest.low != totals->digest.low || l->digest.high != totals->digest.high)
        return damaged(l, "rows were lost or altered: the digest differs from the catalogue's");
    return 0;
}

static int load_all(struct htstore *store, struct loader *l)
{
    struct hti_kv_read *read;
    int rc;

    if (hti_cache_reserve(l->cache, l->totals->n_rows, 0) != 0)
        return no_memory(l);
    rc = hti_kv_acquire(store->kv, l->totals->database, false, l->error);
    if (rc != 0)
        return rc == 1 ? damaged(l, "its database is missing") : rc;
    rc = hti_kv_read_begin(store->kv, false, &read, l->error);
    if (rc == 0) {
        rc = read_rows(l, read);
        hti_kv_read_end(read);
    }
    hti_kv_release(store->kv, l->totals->database);
    return rc ? rc : check_totals(l);
}

int hti_load_rows(struct htstore *store, const struct hti_core *core, const struct hti_totals_record *totals,
                  struct hti_cache **rows, struct htstore_error *error)
{
    struct loader l = { .core = core, .totals = totals, .error = error };
    int rc = hti_cache_new(&core->type, HTI_CACHE_COMPLETE, &l.cache) ? no_memory(&l) : 0;

    if (rc == 0 && totals->database != 0)
        rc = load_all(store, &l);
    if (rc != 0) {
        hti_cache_free(l.cache);
        return rc;
    }
    *rows = l.cache;
    return 0;
}

static int make_resident(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    struct hti_cache *rows;
    const int rc = hti_load_rows(store, core, &core->totals, &rows, error);

    if (rc != 0)
        return rc;
    hti_section_close(&store->section);
    struct hti_cache *old = core->rows; /* flushed: what it says is in LMDB too */
    core->rows = rows;
    core->rows_cleared = false;
    core->resident = true;
    if (core->pinned)
        hti_kv_release(store->kv, core->totals.database);
    core->pinned = false;
    hti_section_open(&store->section);
    hti_cache_free(old);
    return 0;
}

/* A rough size in memory: twice that of its pages, which hold keys and values with less air. */
static bool fits(struct htstore *store, const struct hti_core *core)
{
    struct hti_kv_shape shape = { 0 };
    struct hti_kv_read *read;
    uint64_t used;

    if (core->totals.database == 0)
        return true;
    if (hti_kv_acquire(store->kv, core->totals.database, false, NULL) != 0)
        return false;
    if (hti_kv_read_begin(store->kv, false, &read, NULL) == 0) {
        hti_kv_read_shape(read, core->totals.database, &shape, NULL);
        hti_kv_read_end(read);
    }
    hti_kv_release(store->kv, core->totals.database);
    used = hti_core_memory(store);
    return shape.bytes < store->options.cache_bytes / 2 && used < store->options.cache_bytes - shape.bytes * 2;
}

static int pin_database(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    int rc;

    if (core->pinned || core->totals.database == 0)
        return 0;
    rc = hti_kv_acquire(store->kv, core->totals.database, false, error);
    if (rc == 1)
        return hti_fail(error, HTSTORE_ECORRUPT, "%s: its database is missing", hti_core_label(core, label));
    if (rc != 0)
        return rc;
    hti_section_close(&store->section);
    core->pinned = true;
    hti_section_open(&store->section);
    return 0;
}

static bool has_handles(struct htstore *store, const struct hti_core *core)
{
    pthread_mutex_lock(&store->objects_mutex);
    const bool open = core->n_handles > 0;
    pthread_mutex_unlock(&store->objects_mutex);
    return open;
}

/*
 * Decided once, for the first handle: then nobody reads or writes the table, and nobody can begin to, since opening needs
 * flush_mutex. With writers at work the rows that they add while it is being loaded would be missing.
 */
int hti_load_table(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    bool empty;
    int rc;

    if (has_handles(store, core) || core->resident)
        return 0;
    empty = core->totals.n_rows == 0 && core->last_lsn <= atomic_load(&store->applied_lsn);
    if (!empty && ((store->options.flags & HTSTORE_NO_PRELOAD) || !fits(store, core)))
        return pin_database(store, core, error);
    if (core->last_lsn > atomic_load(&store->applied_lsn)) {
        rc = hti_flush_locked(store, error);
        if (rc != 0)
            return rc;
    }
    return make_resident(store, core, error);
}
