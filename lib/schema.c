/* schema: hides the rules that a table's description must follow. */
#include "schema.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "text.h"

#define TABLE_FLAGS (HTSTORE_NO_CHECKPOINT | HTSTORE_ANONYMOUS)
#define VARIABLE_FLAGS (HTSTORE_ANONYMOUS | HTSTORE_NOT_TRAINABLE)
#define MAPPING_FLAGS (HTSTORE_ANONYMOUS | HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE)
#define NAME_TEXT_SIZE 128

static int check_flags(const char *name, uint32_t flags, uint32_t known, struct htstore_error *error)
{
    if (flags & ~known)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x in the schema", flags & ~known);
    if (!(flags & HTSTORE_ANONYMOUS))
        return hti_catalog_check_name(name, error);
    return name ? hti_fail(error, HTSTORE_EINVAL, "an anonymous object cannot have a name") : 0;
}

static int check_size(const void *schema, size_t size, size_t least, struct htstore_error *error)
{
    if (!schema)
        return hti_fail(error, HTSTORE_EINVAL, "the schema is NULL");
    return size < least ? hti_fail(error, HTSTORE_EINVAL, "schema.size is smaller than the structure") : 0;
}

static int copy_name(const char *name, struct hti_object_record *record, struct htstore_error *error)
{
    if (!name)
        return 0;
    record->name = hti_mem_strdup(name);
    return record->name ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for an object");
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

static int pack_default(const struct htstore_array *value, struct hti_object_record *record,
                        struct htstore_error *error)
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

int hti_schema_check(const char *name, const struct htstore_schema *schema, struct hti_object_record *record,
                     struct htstore_error *error)
{
    int rc = check_size(schema, schema ? schema->size : 0, sizeof *schema, error);

    memset(record, 0, sizeof *record);
    if (rc == 0)
        rc = check_flags(name, schema->flags, TABLE_FLAGS, error);
    if (rc == 0)
        rc = check_dtypes(schema, error);
    if (rc == 0)
        rc = hti_shape_of(&schema->default_value, &record->value_shape, error);
    if (rc == 0)
        rc = hti_dtype_check_elements(schema->default_value.dtype, schema->default_value.data,
                                      hti_shape_count(&record->value_shape), UINT64_MAX, false, "Default value", error);
    if (rc != 0)
        return rc;
    record->kind = HTSTORE_KIND_TABLE;
    record->flags = schema->flags;
    record->key_dtype = schema->key_dtype;
    record->value_dtype = schema->default_value.dtype;
    rc = pack_default(&schema->default_value, record, error);
    if (rc == 0)
        rc = copy_name(name, record, error);
    if (rc != 0)
        hti_object_record_release(record);
    return rc;
}

static int check_variable(const struct htstore_variable_schema *schema, struct hti_object_record *record,
                          struct htstore_error *error)
{
    const struct htstore_array *value = &schema->initial_value;

    if (schema->role > HTSTORE_UPDATE)
        return hti_fail(error, HTSTORE_EINVAL, "unknown role %u", schema->role);
    if (value->dtype == 0)
        return hti_fail(error, HTSTORE_EINVAL, "an initial value is required");
    if (!hti_dtype_is_valid(value->dtype))
        return hti_fail(error, HTSTORE_EINVAL, "unknown dtype %u", value->dtype);
    return hti_shape_of(value, &record->value_shape, error);
}

int hti_schema_check_variable(const char *name, const struct htstore_variable_schema *schema,
                              struct hti_object_record *record, struct htstore_error *error)
{
    int rc = check_size(schema, schema ? schema->size : 0, sizeof *schema, error);

    memset(record, 0, sizeof *record);
    if (rc == 0)
        rc = check_flags(name, schema->flags, VARIABLE_FLAGS, error);
    if (rc == 0)
        rc = check_variable(schema, record, error);
    if (rc == 0)
        rc = copy_name(name, record, error);
    if (rc != 0)
        return rc;
    record->kind = HTSTORE_KIND_VARIABLE;
    record->flags = schema->flags;
    record->role = schema->role ? schema->role : HTSTORE_WEIGHT;
    record->value_dtype = schema->initial_value.dtype;
    return 0;
}

int hti_schema_check_mapping(const char *name, const struct htstore_mapping_schema *schema,
                             struct hti_object_record *record, struct htstore_error *error)
{
    int rc = schema ? check_size(schema, schema->size, sizeof *schema, error) : 0;

    memset(record, 0, sizeof *record);
    if (rc == 0)
        rc = check_flags(name, schema ? schema->flags : 0, MAPPING_FLAGS, error);
    if (rc == 0)
        rc = copy_name(name, record, error);
    if (rc != 0)
        return rc;
    record->kind = HTSTORE_KIND_MAPPING;
    record->flags = schema ? schema->flags : 0;
    return 0;
}

static bool defaults_equal(const struct hti_object_record *a, const struct hti_object_record *b)
{
    return a->default_size == b->default_size && memcmp(a->default_value, b->default_value, a->default_size) == 0;
}

/* A short picture of a default value, for the sentence about two that differ. */
static void show_default(const struct hti_object_record *record, char *out, size_t capacity)
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

static const char *show_name(const struct hti_object_record *record, char out[NAME_TEXT_SIZE])
{
    hti_text_escape(out, NAME_TEXT_SIZE, record->name ? record->name : "", record->name ? strlen(record->name) : 0);
    return out;
}

int hti_schema_kinds_differ(uint32_t wanted, const struct hti_object_record *stored, struct htstore_error *error)
{
    static const char *const KINDS[] = { "object", "table", "variable", "mapping" };
    char name[NAME_TEXT_SIZE];

    return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting kinds %s with %s for %s", KINDS[wanted], KINDS[stored->kind],
                    show_name(stored, name));
}

static int compare_shapes(const struct hti_object_record *wanted, const struct hti_object_record *stored,
                          const char *what, struct htstore_error *error)
{
    char name[NAME_TEXT_SIZE], a[HTI_SHAPE_TEXT_SIZE], b[HTI_SHAPE_TEXT_SIZE];

    if (hti_shape_equal(&wanted->value_shape, &stored->value_shape))
        return 0;
    hti_shape_format(a, &wanted->value_shape, NULL);
    hti_shape_format(b, &stored->value_shape, NULL);
    return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting %sshapes %s with %s for %s", what, a, b,
                    show_name(stored, name));
}

static int compare_flag(const struct hti_object_record *wanted, const struct hti_object_record *stored, uint32_t flag,
                        const char *what, struct htstore_error *error)
{
    char name[NAME_TEXT_SIZE];

    if (((wanted->flags ^ stored->flags) & flag) == 0)
        return 0;
    return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting %s flags %s with %s for %s", what,
                    wanted->flags & flag ? "true" : "false", stored->flags & flag ? "true" : "false",
                    show_name(stored, name));
}

static int compare_variables(const struct hti_object_record *wanted, const struct hti_object_record *stored,
                             struct htstore_error *error)
{
    static const char *const ROLES[] = { "none", "weight", "loss", "update" };
    char name[NAME_TEXT_SIZE];
    int rc;

    if (wanted->value_dtype != stored->value_dtype)
        return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting dtypes %s with %s for variable %s",
                        htstore_dtype_name(wanted->value_dtype), htstore_dtype_name(stored->value_dtype),
                        show_name(stored, name));
    rc = compare_shapes(wanted, stored, "", error);
    if (rc == 0 && wanted->role != stored->role)
        rc = hti_fail(error, HTSTORE_ECONFLICT, "Conflicting roles %s with %s for variable %s", ROLES[wanted->role],
                      ROLES[stored->role], show_name(stored, name));
    return rc ? rc : compare_flag(wanted, stored, HTSTORE_NOT_TRAINABLE, "not-trainable", error);
}

static int compare_tables(const struct hti_object_record *wanted, const struct hti_object_record *stored,
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

int hti_schema_compare(const struct hti_object_record *wanted, const struct hti_object_record *stored,
                       struct htstore_error *error)
{
    switch (wanted->kind) {
    case HTSTORE_KIND_TABLE:
        return compare_tables(wanted, stored, error);
    case HTSTORE_KIND_VARIABLE:
        return compare_variables(wanted, stored, error);
    default:
        return compare_flag(wanted, stored, HTSTORE_LAYER, "layer", error);
    }
}
