/* structure: hides the transactions that change which tables there are. */
#include "structure.h"

#include "flush.h"

/* What a structural transaction does beside writing the store's record. */
struct change {
    const struct hti_table_record *created;
    const struct hti_core *dropped;
};

static int put_created(struct hti_kv_write *write, const struct hti_table_record *record, struct htstore_error *error)
{
    const struct hti_totals_record totals = { .id = record->id };
    const int rc = hti_catalog_put_table(write, record, error);

    return rc ? rc : hti_catalog_put_totals(write, &totals, error);
}

static int put_dropped(struct hti_kv_write *write, const struct hti_core *core, struct htstore_error *error)
{
    const struct hti_garbage_record garbage = { .database = core->totals.database };
    int rc = hti_catalog_remove(write, HTI_CATALOG_TABLE, core->record.id, error);

    if (rc == 0)
        rc = hti_catalog_remove(write, HTI_CATALOG_TOTALS, core->record.id, error);
    if (rc == 0 && garbage.database != 0)
        rc = hti_catalog_put_garbage(write, &garbage, error);
    return rc;
}

static int try_change(struct htstore *store, const struct hti_store_record *record, const struct change *change,
                      struct htstore_error *error)
{
    struct hti_kv_write *write;
    int rc = hti_kv_begin(store->kv, &write, error);

    if (rc != 0)
        return rc;
    if (change->created)
        rc = put_created(write, change->created, error);
    if (rc == 0 && change->dropped)
        rc = put_dropped(write, change->dropped, error);
    if (rc == 0)
        rc = hti_catalog_put_store(write, record, error);
    if (rc == 0) {
        rc = hti_kv_commit(write, error);
        write = NULL;
    }
    hti_kv_abort(write);
    return rc;
}

static int commit_change(struct htstore *store, const struct hti_store_record *record, const struct change *change,
                         struct htstore_error *error)
{
    struct htstore_error own;
    int rc;

    while ((rc = try_change(store, record, change, &own)) == HTI_KV_MAP_FULL) {
        rc = hti_kv_grow(store->kv, &own);
        if (rc != 0)
            break;
    }
    if (rc == HTSTORE_EIO || rc == HTSTORE_ECORRUPT)
        hti_journal_poison(store->journal, &own);
    if (rc != 0)
        hti_error_copy(error, &own);
    return rc;
}

int hti_structure_create(struct htstore *store, struct hti_table_record *record, struct hti_core **out,
                         struct htstore_error *error)
{
    const struct change change = { .created = record };
    struct hti_store_record next;
    struct hti_table_record copy;
    struct hti_core *core;
    int rc = hti_flush_locked(store, error);

    if (rc != 0)
        return rc;
    next = store->record;
    record->id = next.next_id++;
    copy = *record;
    core = hti_core_new(&copy);
    if (!core)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a table");
    rc = commit_change(store, &next, &change, error);
    if (rc != 0) {
        *record = core->record; /* the memory stays the caller's */
        core->record = (struct hti_table_record){ 0 };
        hti_core_free(core);
        return rc;
    }
    *record = (struct hti_table_record){ 0 };
    store->record = next;
    hti_core_add(store, core);
    *out = core;
    return 0;
}

int hti_structure_drop(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    const struct change change = { .dropped = core };
    int rc = hti_flush_locked(store, error);

    if (rc == 0)
        rc = commit_change(store, &store->record, &change, error);
    if (rc != 0)
        return rc;
    hti_core_unlink(store, core);
    if (core->pinned)
        hti_kv_release(store->kv, core->totals.database);
    if (core->totals.database != 0)
        hti_garbage_add(store, core->totals.database); /* without memory, the next open collects it */
    hti_core_free(core);
    return 0;
}
