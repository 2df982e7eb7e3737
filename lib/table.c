/* table: hides how a table is opened and what its handle tells. */
#include "table.h"

#include <string.h>

#include "object.h"
#include "schema.h"

/* `schema` is NULL when any will do (HTI_OPEN_EXISTING). */
static int open_table(struct htstore *store, const char *name, const struct htstore_schema *schema,
                      enum hti_open_mode mode, struct htstore_table **table, struct htstore_error *error)
{
    struct hti_object_record record;
    const bool any = !schema && mode == HTI_OPEN_EXISTING;
    const struct hti_opening opening = {
        .name = name, .kind = HTSTORE_KIND_TABLE, .mode = mode, .record = any ? NULL : &record
    };
    void *handle;
    int rc;

    memset(&record, 0, sizeof record);
    rc = any ? hti_catalog_check_name(name, error) : hti_schema_check(name, schema, &record, error);
    if (rc == 0)
        rc = hti_object_open(store, &opening, &handle, error);
    if (rc == 0)
        *table = handle;
    hti_object_record_release(&record);
    return rc;
}

static int check_call(struct htstore *store, bool write, struct htstore_table **table, struct htstore_error *error)
{
    int rc;

    if (table)
        *table = NULL;
    rc = hti_check_store(store, write, error);
    if (rc != 0)
        return rc;
    return table ? 0 : hti_fail(error, HTSTORE_EINVAL, "the place for the table is NULL");
}

int htstore_table_create(struct htstore *store, const char *name, const struct htstore_schema *schema,
                         struct htstore_table **table, struct htstore_error *error)
{
    const int rc = check_call(store, true, table, error);

    return rc ? rc : open_table(store, name, schema, HTI_OPEN_CREATE, table, error);
}

int htstore_table_open(struct htstore *store, const char *name, const struct htstore_schema *expected,
                       struct htstore_table **table, struct htstore_error *error)
{
    const int rc = check_call(store, false, table, error);

    if (rc != 0)
        return rc;
    if (expected && (expected->flags & HTSTORE_ANONYMOUS))
        return hti_fail(error, HTSTORE_EINVAL, "an anonymous table cannot be opened");
    return open_table(store, name, expected, HTI_OPEN_EXISTING, table, error);
}

int htstore_table_get_or_create(struct htstore *store, const char *name, const struct htstore_schema *schema,
                                struct htstore_table **table, struct htstore_error *error)
{
    int rc = check_call(store, false, table, error);

    if (rc == 0 && !store->readonly)
        rc = hti_check_store(store, true, error);
    return rc ? rc : open_table(store, name, schema, HTI_OPEN_OR_CREATE, table, error);
}

int htstore_table_drop(struct htstore *store, const char *name, struct htstore_error *error)
{
    return hti_object_drop(store, name, HTSTORE_KIND_TABLE, error);
}

int htstore_table_close(struct htstore_table *table, struct htstore_error *error)
{
    int rc;

    if (!table)
        return 0;
    rc = hti_check_table(table, false, error);
    return rc ? rc : hti_object_close(&table->handle, error);
}

/* --- what a handle tells --- */

const char *htstore_table_name(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->handle.core->record.name : NULL;
}

uint64_t htstore_table_id(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->handle.core->record.id : 0;
}

uint32_t htstore_table_key_dtype(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->handle.core->record.key_dtype : 0;
}

uint32_t htstore_table_value_dtype(const struct htstore_table *table)
{
    return hti_check_table(table, false, NULL) == 0 ? table->handle.core->record.value_dtype : 0;
}

int htstore_table_schema(const struct htstore_table *table, struct htstore_schema *schema, struct htstore_error *error)
{
    const struct hti_object_record *record;
    struct htstore_schema s;
    int rc = hti_check_table(table, false, error);

    if (rc != 0)
        return rc;
    if (!schema || schema->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "schema is NULL or its size is 0");
    record = &table->handle.core->record;
    memset(&s, 0, sizeof s);
    s.size = schema->size;
    s.flags = record->flags;
    s.key_dtype = record->key_dtype;
    s.value_dtype = record->value_dtype;
    s.default_value = htstore_scalar(record->value_dtype, table->handle.core->default_elements);
    s.default_value.rank = record->value_shape.rank;
    memcpy(s.default_value.shape, record->value_shape.dim, sizeof s.default_value.shape);
    memcpy(schema, &s, schema->size < sizeof s ? schema->size : sizeof s);
    return 0;
}
