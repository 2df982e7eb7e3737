/* schema: hides the rules that a table's description must follow. */
#include "schema.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "text.h"

#define KNOWN_FLAGS (HTSTORE_NO_CHECKPOINT | HTSTORE_ANONYMOUS)
#define NAME_TEXT_SIZE 128

static int check_flags(const char *name, const struct htstore_schema *schema, struct htstore_error *error)
{
    if (!schema)
        return hti_fail(error, HTSTORE_EINVAL, "the schema is NULL");
    if (schema->size < sizeof *schema)
        return hti_fail(error, HTSTORE_EINVAL, "schema.size is smaller than the structure");
    if (schema->flags & ~KNOWN_FLAGS)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x in the schema", schema->flags & ~KNOWN_FLAGS);
    if (!(schema->flags & HTSTORE_ANONYMOUS))
        return hti_catalog_check_name(name, error);
    return name ? hti_fail(error, HTSTORE_EINVAL, "an anonymous table cannot have a name") : 0;
}

static int check_dtypes(const struct htstore_schema *schema, struct htstore_error *error)
{
    const struct htstore_array *value = &schema->default_value;

    if (!hti_dtype_is_valid(schema->key_dtype))
        return hti_fail(error, HTSTORE_EINVAL, "unknown key dtype %u", schema->key_dtype);
    if (!hti_dtype_is_key(schema->key_dtype))
        return hti_fail(error, HTSTORE_ETYPE, "%s cannot be a key dtype", htstore_dtype_name(schema->key_dtype));
    if (value->dtype == 0)
        return hti_fail(error, HTSTORE_EINVAL, "a default value is required");
    if (schema->value_dtype != 0 && !hti_dtype_is_valid(schema->value_dtype))
        return hti_fail(error, HTSTORE_EINVAL, "unknown value dtype %u", schema->value_dtype);
    return hti_dtype_expect(value, schema->value_dtype ? schema->value_dtype : value->dtype, "Default value", error);
}

static int too_large(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_EINVAL, "a row of this table is larger than %u bytes", HTSTORE_MAX_ROW_SIZE);
}

static int pack_default(const struct htstore_array *value, struct hti_table_record *record, struct htstore_error *error)
{
    const uint64_t n = hti_shape_count(&record->value_shape);
    const size_t item = hti_dtype_packed_size(value->dtype);
    struct hti_row_type type;

    if (n > HTSTORE_MAX_ROW_SIZE / (item ? item : 4) || (item && n * item + 8 > HTSTORE_MAX_ROW_SIZE))
        return too_large(error);
    hti_row_type_init(&type, record->key_dtype, record->value_dtype, n);
    record->default_size = type.value_is_fixed ? type.value_size : hti_codec_value_size(&type, value->data);
    if (record->default_size == HTI_SIZE_OVERFLOW)
        return too_large(error);
    record->default_value = hti_mem_alloc(record->default_size);
    if (!record->default_value)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the default value");
    if (record->default_size > 0)
        hti_codec_pack_value(&type, value->data, record->default_value);
    return 0;
}

int hti_schema_check(const char *name, const struct htstore_schema *schema, struct hti_table_record *record,
                     struct htstore_error *error)
{
    int rc = check_flags(name, schema, error);

    memset(record, 0, sizeof *record);
    if (rc == 0)
        rc = check_dtypes(schema, error);
    if (rc == 0)
        rc = hti_shape_of(&schema->default_value, &record->value_shape, error);
    if (rc == 0)
        rc = hti_dtype_check_elements(schema->default_value.dtype, schema->default_value.data,
                                      hti_shape_count(&record->value_shape), UINT64_MAX, false, "Default value", error);
    if (rc != 0)
        return rc;
    record->flags = schema->flags;
    record->key_dtype = schema->key_dtype;
    record->value_dtype = schema->default_value.dtype;
    rc = pack_default(&schema->default_value, record, error);
    if (rc == 0 && name) {
        record->name = hti_mem_strdup(name);
        rc = record->name ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for a table");
    }
    if (rc != 0)
        hti_table_record_release(record);
    return rc;
}

static bool defaults_equal(const struct hti_table_record *a, const struct hti_table_record *b)
{
    return a->default_size == b->default_size && memcmp(a->default_value, b->default_value, a->default_size) == 0;
}

/* A short picture of a default value, for the sentence about two that differ. */
static void show_default(const struct hti_table_record *record, char *out, size_t capacity)
{
    if (record->default_size == 0) {
        snprintf(out, capacity, "(empty)");
        return;
    }
    const size_t shown = record->default_size < 16 ? record->default_size : 16;
    size_t at = 0;
    for (size_t i = 0; i < shown; i++)
        at += (size_t)snprintf(out + at, capacity - at, "%02x", record->default_value[i]);
    if (shown < record->default_size)
        snprintf(out + at, capacity - at, "…");
}

int hti_schema_compare(const struct hti_table_record *wanted, const struct hti_table_record *stored,
                       struct htstore_error *error)
{
    char name[NAME_TEXT_SIZE], a[HTI_SHAPE_TEXT_SIZE], b[HTI_SHAPE_TEXT_SIZE];

    hti_text_escape(name, sizeof name, stored->name ? stored->name : "", stored->name ? strlen(stored->name) : 0);
    if (wanted->key_dtype != stored->key_dtype || wanted->value_dtype != stored->value_dtype)
        return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting key/value dtypes %s->%s with %s-%s for table %s",
                        htstore_dtype_name(wanted->key_dtype), htstore_dtype_name(wanted->value_dtype),
                        htstore_dtype_name(stored->key_dtype), htstore_dtype_name(stored->value_dtype), name);
    if (!hti_shape_equal(&wanted->value_shape, &stored->value_shape)) {
        hti_shape_format(a, &wanted->value_shape, NULL);
        hti_shape_format(b, &stored->value_shape, NULL);
        return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting value shapes %s with %s for table %s", a, b, name);
    }
    if (!defaults_equal(wanted, stored)) {
        show_default(wanted, a, sizeof a);
        show_default(stored, b, sizeof b);
        return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting default values (bytes) %s with %s for table %s", a, b,
                        name);
    }
    if ((wanted->flags ^ stored->flags) & HTSTORE_NO_CHECKPOINT)
        return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting checkpoint flags %s with %s for table %s",
                        wanted->flags & HTSTORE_NO_CHECKPOINT ? "false" : "true",
                        stored->flags & HTSTORE_NO_CHECKPOINT ? "false" : "true", name);
    return 0;
}
