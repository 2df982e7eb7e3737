/* table: hides how names lead to tables and how long tables live. */
#include "table.h"

#include <string.h>

#include "load.h"
#include "schema.h"
#include "structure.h"
#include "text.h"
#include "view.h"

#define NAME_TEXT_SIZE 128

static int not_found(const char *name, struct htstore_error *error)
{
    char text[NAME_TEXT_SIZE];

    hti_text_escape(text, sizeof text, name, strlen(name));
    return hti_fail(error, HTSTORE_ENOTFOUND, "there is no table %s", text);
}

/* With the lock that keeps the list of tables (flush_mutex, or a reader's view_mutex). */
static int open_core(struct htstore *store, struct hti_core *core, const struct hti_table_record *expected,
                     struct htstore_table **table, struct htstore_error *error)
{
    int rc = expected ? hti_schema_compare(expected, &core->record, error) : 0;

    if (rc == 0 && !store->readonly)
        rc = hti_load_table(store, core, error);
    return rc ? rc : hti_handle_new(store, core, table, error);
}

static struct hti_core *find_core(struct htstore *store, const char *name)
{
    struct hti_core *core;

    pthread_mutex_lock(&store->objects_mutex);
    core = hti_core_by_name(store, name);
    pthread_mutex_unlock(&store->objects_mutex);
    return core;
}

static int make_core(struct htstore *store, struct hti_table_record *record, struct htstore_table **table,
                     struct htstore_error *error)
{
    struct hti_core *core;
    int rc = hti_structure_create(store, record, &core, error);

    if (rc != 0)
        return rc;
    rc = open_core(store, core, NULL, table, error);
    if (rc != 0)
        hti_structure_drop(store, core, NULL); /* a call that fails leaves nothing behind */
    return rc;
}

enum mode { MODE_CREATE, MODE_OPEN, MODE_GET_OR_CREATE };

static int open_or_make(struct htstore *store, const char *name, struct hti_table_record *record, enum mode mode,
                        struct htstore_table **table, struct htstore_error *error)
{
    struct hti_core *core = name ? find_core(store, name) : NULL;
    char text[NAME_TEXT_SIZE];

    if (core && mode == MODE_CREATE) {
        hti_text_escape(text, sizeof text, name, strlen(name));
        return hti_fail(error, HTSTORE_EEXIST, "the name %s is already used", text);
    }
    if (core)
        return open_core(store, core, record, table, error);
    if (mode == MODE_OPEN)
        return not_found(name, error);
    return make_core(store, record, table, error);
}

static pthread_mutex_t *objects_lock(struct htstore *store)
{
    return store->readonly ? &store->view_mutex : &store->flush_mutex;
}

/* `schema` is NULL when any will do (MODE_OPEN). */
static int open_table(struct htstore *store, const char *name, const struct htstore_schema *schema, enum mode mode,
                      struct htstore_table **table, struct htstore_error *error)
{
    struct hti_table_record record;
    int rc;

    memset(&record, 0, sizeof record);
    if (schema || mode != MODE_OPEN)
        rc = hti_schema_check(name, schema, &record, error);
    else
        rc = hti_catalog_check_name(name, error);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(objects_lock(store));
    if (store->readonly && mode == MODE_GET_OR_CREATE && !(name && find_core(store, name)))
        rc = hti_check_store(store, true, error);
    if (rc == 0)
        rc = open_or_make(store, name, schema ? &record : NULL, mode, table, error);
    pthread_mutex_unlock(objects_lock(store));
    hti_table_record_release(&record);
    return rc;
}

int htstore_table_create(struct htstore *store, const char *name, const struct htstore_schema *schema,
                         struct htstore_table **table, struct htstore_error *error)
{
    int rc;

    if (table)
        *table = NULL;
    rc = hti_check_store(store, true, error);
    if (rc != 0)
        return rc;
    if (!table)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the table is NULL");
    return open_table(store, name, schema, MODE_CREATE, table, error);
}

int htstore_table_open(struct htstore *store, const char *name, const struct htstore_schema *expected,
                       struct htstore_table **table, struct htstore_error *error)
{
    int rc;

    if (table)
        *table = NULL;
    rc = hti_check_store(store, false, error);
    if (rc != 0)
        return rc;
    if (!table)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the table is NULL");
    if (expected && (expected->flags & HTSTORE_ANONYMOUS))
        return hti_fail(error, HTSTORE_EINVAL, "an anonymous table cannot be opened");
    return open_table(store, name, expected, MODE_OPEN, table, error);
}

int htstore_table_get_or_create(struct htstore *store, const char *name, const struct htstore_schema *schema,
                                struct htstore_table **table, struct htstore_error *error)
{
    int rc;

    if (table)
        *table = NULL;
    rc = hti_check_store(store, false, error);
    if (rc == 0 && !store->readonly)
        rc = hti_check_store(store, true, error);
    if (rc != 0)
        return rc;
    if (!table)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the table is NULL");
    return open_table(store, name, schema, MODE_GET_OR_CREATE, table, error);
}

static int drop_by_name(struct htstore *store, const char *name, struct htstore_error *error)
{
    struct hti_core *core = find_core(store, name);
    char text[NAME_TEXT_SIZE];
    bool busy;

    if (!core)
        return not_found(name, error);
    pthread_mutex_lock(&store->objects_mutex);
    busy = core->n_handles > 0;
    pthread_mutex_unlock(&store->objects_mutex);
    if (busy) {
        hti_text_escape(text, sizeof text, name, strlen(name));
        return hti_fail(error, HTSTORE_EBUSY, "table %s is open", text);
    }
    return hti_structure_drop(store, core, error);
}

int htstore_table_drop(struct htstore *store, const char *name, struct htstore_error *error)
{
    int rc = hti_check_store(store, true, error);

    if (rc == 0)
        rc = hti_catalog_check_name(name, error);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&store->flush_mutex);
    rc = drop_by_name(store, name, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

/*
 * The last handle is closed. Nothing reaches an anonymous table any more: it is deleted, now or, if that fails, by the
 * next open. The memory of others is freed, unless a flush is under way, which does so at its end.
 */
static void forget_core(struct htstore *store, uint64_t id, bool anonymous)
{
    struct hti_core *core;

    if (anonymous)
        pthread_mutex_lock(&store->flush_mutex);
    else if (pthread_mutex_trylock(&store->flush_mutex) != 0)
        return;
    core = hti_core_by_id(store, id); /* it may have been dropped since */
    if (core && anonymous)
        hti_structure_drop(store, core, NULL);
    else if (core)
        hti_core_trim(store, core);
    pthread_mutex_unlock(&store->flush_mutex);
}

int htstore_table_close(struct htstore_table *table, struct htstore_error *error)
{
    struct htstore *store;
    uint64_t id;
    bool last, anonymous;
    int rc;

    if (!table)
        return 0;
    rc = hti_check_table(table, false, error);
    if (rc != 0)
        return rc;
    store = table->store;
    id = table->core->record.id;
    anonymous = table->core->record.flags & HTSTORE_ANONYMOUS;
    pthread_mutex_lock(&store->objects_mutex);
    if (table->n_users > 0) {
        pthread_mutex_unlock(&store->objects_mutex);
        return hti_fail(error, HTSTORE_EBUSY, "a cursor or a batch still uses this handle");
    }
    last = --table->core->n_handles == 0;
    hti_handle_retire(table);
    pthread_mutex_unlock(&store->objects_mutex);
    if (last && !store->readonly)
        forget_core(store, id, anonymous);
    return 0;
}

/* --- what a handle tells --- */

const char *htstore_table_name(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->core->record.name : NULL;
}

uint64_t htstore_table_id(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->core->record.id : 0;
}

uint32_t htstore_table_key_dtype(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->core->record.key_dtype : 0;
}

uint32_t htstore_table_value_dtype(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->core->record.value_dtype : 0;
}

int htstore_table_schema(const struct htstore_table *table, struct htstore_schema *schema, struct htstore_error *error)
{
    const struct hti_table_record *record;
    struct htstore_schema s;
    int rc = hti_check_table(table, false, error);

    if (rc != 0)
        return rc;
    if (!schema || schema->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "schema is NULL or its size is 0");
    record = &table->core->record;
    memset(&s, 0, sizeof s);
    s.size = schema->size;
    s.flags = record->flags;
    s.key_dtype = record->key_dtype;
    s.value_dtype = record->value_dtype;
    s.default_value = htstore_scalar(record->value_dtype, table->core->default_elements);
    s.default_value.rank = record->value_shape.rank;
    memcpy(s.default_value.shape, record->value_shape.dim, sizeof s.default_value.shape);
    memcpy(schema, &s, schema->size < sizeof s ? schema->size : sizeof s);
    return 0;
}
