/* load: hides how a table's rows come from LMDB into memory. */
#include "load.h"

#include <stdatomic.h>
#include <string.h>

#include "budget.h"
#include "flush.h"
#include "lookup.h"
#include "warm.h"

#define VISIT_BYTES 16384u /* for the rows of short visits */
#define QUICK_ROWS 65536u /* tables up to so many rows are loaded at once, in some ms */

struct loader {
    const struct hti_core *core;
    const struct hti_totals_record *totals;
    struct hti_cache *cache;
    struct hti_hash128 digest;
    uint64_t n_rows; /* that were read */
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
    hti_cache_add(l->cache, &row); /* what the cache knows already is newer */
    hti_digest_add(&l->digest, hash);
    l->n_rows++;
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

    if (l->n_rows != totals->n_rows)
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

/* Rows that LMDB has, as far as they count. */
static uint64_t rows_below(const struct hti_core *core)
{
    return core->rows_cleared ? 0 : core->totals.n_rows;
}

static void set_rows(struct htstore *store, struct hti_core *core, struct hti_cache *rows)
{
    hti_section_close(&store->section);
    core->rows = rows;
    hti_section_open(&store->section);
}

/* How many there are was not known after a recovery; otherwise it must be so many. */
static int count_rows(struct htstore *store, struct hti_core *core, uint64_t n, struct htstore_error *error)
{
    struct loader l = { .core = core, .error = error };

    if (!core->uncounted && core->n_rows != n)
        return damaged(&l, "rows are missing or too many: the count differs from the catalogue's");
    hti_section_close(&store->section);
    core->n_rows = n;
    core->uncounted = false;
    hti_section_open(&store->section);
    return 0;
}

/* LMDB's rows are added to those that it lacks. Nobody else sees them meanwhile, nor waits for them: there is no handle. */
static int complete_rows(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    struct loader l = { .core = core, .totals = &core->totals, .cache = core->rows, .error = error };
    int rc = 0;

    set_rows(store, core, NULL);
    if (rows_below(core) > 0)
        rc = load_all(store, &l);
    if (rc == 0)
        rc = count_rows(store, core, hti_cache_present(l.cache), error);
    if (rc != 0) {
        set_rows(store, core, l.cache); /* what was added is as LMDB has it */
        return rc;
    }
    hti_cache_complete(l.cache);
    hti_core_change_mode(store, core, l.cache, NULL, true);
    return 0;
}

static int make_resident(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    const struct hti_totals_record none = { .id = core->record.id };
    struct hti_cache *rows;
    int rc;

    if (core->rows)
        return complete_rows(store, core, error);
    rc = hti_load_rows(store, core, core->rows_cleared ? &none : &core->totals, &rows, error);
    if (rc == 0)
        hti_core_change_mode(store, core, rows, NULL, true);
    return rc;
}

/* Bytes of the table's pages for each of its rows. */
static uint64_t stored_row_bytes(struct htstore *store, const struct hti_core *core)
{
    struct hti_kv_shape shape = { 0 };
    struct hti_kv_read *read;

    if (core->totals.database == 0 || core->totals.n_rows == 0 ||
        hti_kv_acquire(store->kv, core->totals.database, false, NULL) != 0)
        return 0;
    if (hti_kv_read_begin(store->kv, false, &read, NULL) == 0) {
        hti_kv_read_shape(read, core->totals.database, &shape, NULL);
        hti_kv_read_end(read);
    }
    hti_kv_release(store->kv, core->totals.database);
    return shape.bytes / core->totals.n_rows + 1;
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

static int make_bounded(struct htstore *store, struct hti_core *core, uint64_t estimate, uint64_t row_bytes,
                        struct htstore_error *error)
{
    const int rc = pin_database(store, core, error);

    if (rc != 0 || core->recent)
        return rc;
    struct hti_cache *recent = hti_budget_recent(store, core, estimate, row_bytes);
    if (recent)
        hti_core_change_mode(store, core, core->rows, recent, false);
    if (hti_core_memory(store, false) > store->options.cache_bytes) { /* the others have to give some back */
        pthread_mutex_lock(&store->write_mutex);
        store->over_budget = true;
        pthread_cond_broadcast(&store->work);
        pthread_mutex_unlock(&store->write_mutex);
    }
    return 0;
}

static int start_warming(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    const int rc = pin_database(store, core, error);
    return rc ? rc : hti_warm_start(store, core, error);
}

static _Atomic uint64_t quick_rows = QUICK_ROWS;

void hti_load_test_quick_rows(uint64_t n)
{
    atomic_store(&quick_rows, n);
}

/* Memory that the table would take, and of it what each row takes where it is stored. */
static uint64_t estimate_bytes(struct htstore *store, const struct hti_core *core, uint64_t *row_bytes)
{
    const uint64_t own = core->rows ? hti_cache_entries(core->rows) : 0;

    *row_bytes = stored_row_bytes(store, core);
    if (*row_bytes == 0 && own > 0)
        *row_bytes = hti_cache_mean_bytes(core->rows);
    return hti_cache_estimate(&core->type, rows_below(core) + own, *row_bytes);
}

/*
 * Decided once, for the first handle: then nobody reads or writes the table, and nobody can begin to, since opening needs
 * flush_mutex. With writers at work the rows that they add while it is being loaded would be missing. What LMDB lacks is in `rows`,
 * and need not be flushed before: after a recovery nobody shall wait for that. Only half of a flush that failed must come to its end.
 */
int hti_load_table(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    uint64_t row_bytes, estimate;
    int rc;

    if (has_handles(store, core) || core->resident || core->warming)
        return 0;
    if ((core->frozen || core->frozen_cleared) && (rc = hti_flush_locked(store, error)) != 0)
        return rc;
    if (rows_below(core) == 0 && !core->rows)
        return make_resident(store, core, error);
    estimate = estimate_bytes(store, core, &row_bytes);
    if (store->options.flags & HTSTORE_NO_PRELOAD)
        return make_bounded(store, core, estimate < VISIT_BYTES ? estimate : VISIT_BYTES, row_bytes, error);
    if (estimate > hti_budget_free(store))
        return make_bounded(store, core, estimate, row_bytes, error);
    if (rows_below(core) <= atomic_load(&quick_rows))
        return make_resident(store, core, error);
    return start_warming(store, core, error);
}
