/* objects: hides how the catalogue of a whole store becomes tables in memory. */
#include "objects.h"

#include <string.h>

#include "mem.h"

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the catalogue");
}

static int read_table(struct hti_objects *objects, uint64_t id, struct hti_kv_bytes value, struct htstore_error *error)
{
    struct hti_table_record *more =
        hti_mem_realloc_array(objects->tables, objects->n_tables + 1, sizeof *objects->tables);
    int rc;

    if (!more)
        return no_memory(error);
    objects->tables = more;
    rc = hti_catalog_decode_table(id, value, &more[objects->n_tables], error);
    if (rc == 0)
        objects->n_tables++;
    return rc;
}

static int read_totals(struct hti_objects *objects, uint64_t id, struct hti_kv_bytes value, struct htstore_error *error)
{
    struct hti_totals_record *more =
        hti_mem_realloc_array(objects->totals, objects->n_totals + 1, sizeof *objects->totals);
    int rc;

    if (!more)
        return no_memory(error);
    objects->totals = more;
    rc = hti_catalog_decode_totals(id, value, &more[objects->n_totals], error);
    if (rc == 0)
        objects->n_totals++;
    return rc;
}

static int read_garbage(struct hti_objects *objects, uint64_t id, struct hti_kv_bytes value,
                        struct htstore_error *error)
{
    struct hti_garbage_record record;
    uint64_t *more = hti_mem_realloc_array(objects->garbage, objects->n_garbage + 1, sizeof *more);
    int rc;

    if (!more)
        return no_memory(error);
    objects->garbage = more;
    rc = hti_catalog_decode_garbage(id, value, &record, error);
    if (rc == 0)
        more[objects->n_garbage++] = record.database;
    return rc;
}

static int read_record(struct hti_objects *objects, struct hti_kv_bytes key, struct hti_kv_bytes value,
                       struct htstore_error *error)
{
    enum hti_record_kind kind;
    uint64_t id;

    if (hti_catalog_decode_key(key, &kind, &id) != 0)
        return hti_fail(error, HTSTORE_ECORRUPT, "the catalogue holds a record under an unknown key");
    switch (kind) {
    case HTI_CATALOG_TABLE:
        return read_table(objects, id, value, error);
    case HTI_CATALOG_TOTALS:
        return read_totals(objects, id, value, error);
    case HTI_CATALOG_GARBAGE:
        return read_garbage(objects, id, value, error);
    case HTI_CATALOG_STORE:
        break; /* read before */
    }
    return 0;
}

/* Both lists come in ascending order of ids: they must name the same tables. */
static int check_pairs(const struct hti_objects *objects, struct htstore_error *error)
{
    bool equal = objects->n_tables == objects->n_totals;

    for (size_t i = 0; equal && i < objects->n_tables; i++)
        equal = objects->tables[i].id == objects->totals[i].id && objects->tables[i].id < objects->store.next_id;
    return equal ? 0 : hti_fail(error, HTSTORE_ECORRUPT, "the catalogue's tables and totals do not match");
}

int hti_objects_read(struct hti_kv_read *read, struct hti_objects *objects, struct htstore_error *error)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    int rc;

    memset(objects, 0, sizeof *objects);
    rc = hti_catalog_get_store(read, &objects->store, error);
    if (rc != 0)
        return rc;
    rc = hti_kv_cursor_open(read, HTI_KV_CATALOG, &cursor, error);
    if (rc != 0)
        return rc;
    while ((rc = hti_kv_cursor_next(cursor, &key, &value, error)) == 0) {
        rc = read_record(objects, key, value, error);
        if (rc != 0)
            break;
    }
    hti_kv_cursor_close(cursor);
    if (rc == 1)
        rc = check_pairs(objects, error);
    if (rc != 0)
        hti_objects_release(objects);
    return rc;
}

void hti_objects_release(struct hti_objects *objects)
{
    for (size_t i = 0; i < objects->n_tables; i++)
        hti_table_record_release(&objects->tables[i]);
    hti_mem_free(objects->tables);
    hti_mem_free(objects->totals);
    hti_mem_free(objects->garbage);
    memset(objects, 0, sizeof *objects);
}

static void set_totals(struct hti_core *core, const struct hti_totals_record *totals)
{
    core->totals = *totals;
    core->n_rows = totals->n_rows;
}

/* Tables that the store does not know yet, as a list of their own: nothing is changed until all memory is there. */
static int make_new_cores(struct htstore *store, struct hti_objects *objects, struct hti_core **list)
{
    *list = NULL;
    for (size_t i = 0; i < objects->n_tables; i++) {
        if (hti_core_by_id(store, objects->tables[i].id))
            continue;
        struct hti_core *core = hti_core_new(&objects->tables[i]);
        if (!core)
            return HTSTORE_ENOMEM;
        set_totals(core, &objects->totals[i]);
        core->next = *list;
        *list = core;
    }
    return 0;
}

static void free_cores(struct hti_core *list)
{
    while (list) {
        struct hti_core *next = list->next;
        hti_core_free(list);
        list = next;
    }
}

static bool has_totals(const struct hti_objects *objects, uint64_t id)
{
    for (size_t i = 0; i < objects->n_totals; i++)
        if (objects->totals[i].id == id)
            return true;
    return false;
}

/* Returns the list of those that can be freed. */
static struct hti_core *drop_missing(struct htstore *store, const struct hti_objects *objects)
{
    struct hti_core *gone = NULL;

    for (struct hti_core **p = &store->cores; *p;) {
        struct hti_core *core = *p;
        if (!has_totals(objects, core->record.id)) {
            core->dropped = true;
            if (core->n_handles == 0) {
                *p = core->next;
                core->next = gone;
                gone = core;
                continue;
            }
        }
        p = &core->next;
    }
    return gone;
}

int hti_objects_install(struct htstore *store, struct hti_objects *objects, struct htstore_error *error)
{
    struct hti_core *added, *gone;

    if (make_new_cores(store, objects, &added) != 0) {
        free_cores(added);
        return no_memory(error);
    }
    pthread_rwlock_wrlock(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (size_t i = 0; i < objects->n_totals; i++) {
        struct hti_core *core = hti_core_by_id(store, objects->totals[i].id);
        if (core)
            set_totals(core, &objects->totals[i]);
    }
    gone = drop_missing(store, objects);
    while (added) {
        struct hti_core *core = added;
        added = core->next;
        core->next = store->cores;
        store->cores = core;
    }
    pthread_mutex_unlock(&store->objects_mutex);
    pthread_rwlock_unlock(&store->section);
    free_cores(gone);
    return 0;
}
