/* compare: hides how a table in memory is proved equal to its rows in LMDB. */
#include "compare.h"

#include <string.h>

#include "commit.h"
#include "flush.h"

static int differ(const struct hti_core *core, const char *what, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];

    return hti_fail(error, HTSTORE_ECORRUPT, "%s: memory and LMDB differ: %s", hti_core_label(core, label), what);
}

static int compare_row(const struct hti_core *core, struct hti_kv_bytes key, struct hti_kv_bytes value,
                       struct htstore_error *error)
{
    uint8_t key_space[8];
    struct hti_hash128 hash;
    const void *found = NULL;
    size_t size = 0;
    struct hti_row row;

    if (hti_codec_load_row(&core->type, core->record.id, key.data, key.size, value.data, value.size, key_space, &row,
                           &hash) != 0)
        return differ(core, "a row in LMDB is damaged", error);
    if (hti_cache_find(core->rows, row.key, row.key_size, &found, &size) != HTI_CACHE_PRESENT)
        return differ(core, "a row of LMDB is not in memory", error);
    if (size != row.value_size || (size > 0 && memcmp(found, row.value, size) != 0))
        return differ(core, "a row has two values", error);
    return 0;
}

static int compare_rows(struct htstore *store, const struct hti_core *core, struct htstore_error *error)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    struct hti_kv_read *read;
    int rc = hti_kv_read_begin(store->kv, false, &read, error);

    if (rc != 0)
        return rc;
    rc = hti_kv_cursor_open(read, core->totals.database, &cursor, error);
    if (rc == 0) {
        while ((rc = hti_kv_cursor_next(cursor, &key, &value, error)) == 0)
            if ((rc = compare_row(core, key, value, error)) != 0)
                break;
        hti_kv_cursor_close(cursor);
    }
    hti_kv_read_end(read);
    return rc == 1 ? 0 : rc;
}

static int compare_core(struct htstore *store, const struct hti_core *core, struct htstore_error *error)
{
    int rc;

    if (hti_cache_present(core->rows) != core->totals.n_rows)
        return differ(core, "the counts of rows", error);
    if (core->totals.database == 0)
        return 0;
    rc = hti_kv_acquire(store->kv, core->totals.database, false, error);
    if (rc == 1)
        return differ(core, "its database is missing", error);
    if (rc != 0)
        return rc;
    rc = compare_rows(store, core, error);
    hti_kv_release(store->kv, core->totals.database);
    return rc;
}

/* With flush_mutex, nobody writing and everything flushed: what is in memory is what LMDB must have. */
static int compare_all(struct htstore *store, uint64_t *n_tables, struct htstore_error *error)
{
    int rc = hti_flush_locked(store, error);

    *n_tables = 0;
    for (const struct hti_core *core = store->cores; core && rc == 0; core = core->next) {
        if (!core->resident || core->record.kind == HTSTORE_KIND_MAPPING)
            continue;
        rc = compare_core(store, core, error);
        ++*n_tables;
    }
    return rc;
}

int htstore_compare_cache(struct htstore *store, uint64_t *n_tables, struct htstore_error *error)
{
    uint64_t n = 0;
    int rc = hti_check_store(store, true, error);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&store->flush_mutex);
    hti_commit_block(store);
    rc = compare_all(store, &n, error);
    hti_commit_unblock(store);
    pthread_mutex_unlock(&store->flush_mutex);
    if (rc == 0 && n_tables)
        *n_tables = n;
    return rc;
}
