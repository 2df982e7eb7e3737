/* variable: hides how a variable is opened, and what an array must be to be assigned to it. */
#include "variable.h"

#include <string.h>

#include "arena.h"
#include "object.h"
#include "schema.h"
#include "span.h"

/* --- creating and opening --- */

static int check_call(struct htstore *store, bool write, struct htstore_variable **variable,
                      struct htstore_error *error)
{
    int rc;

    if (variable)
        *variable = NULL;
    rc = hti_check_store(store, write, error);
    if (rc != 0)
        return rc;
    return variable ? 0 : hti_fail(error, HTSTORE_EINVAL, "the place for the variable is NULL");
}

static int open_variable(struct htstore *store, const char *name, const struct htstore_variable_schema *schema,
                         enum hti_open_mode mode, struct htstore_variable **variable, struct htstore_error *error)
{
    struct hti_object_record record;
    struct hti_opening opening = {
        .name = name, .kind = HTSTORE_KIND_VARIABLE, .mode = mode, .record = &record, .make = hti_span_create
    };
    void *handle;
    int rc = hti_schema_check_variable(name, schema, &record, error);

    if (rc == 0 && mode != HTI_OPEN_EXISTING) {
        const struct htstore_array *value = &schema->initial_value;
        opening.user = (void *)(uintptr_t)value;
        rc = hti_dtype_check_elements(value->dtype, value->data, hti_shape_count(&record.value_shape), UINT64_MAX,
                                      false, "Initial value", error);
    }
    if (rc == 0)
        rc = hti_object_open(store, &opening, &handle, error);
    if (rc == 0)
        *variable = handle;
    hti_object_record_release(&record);
    return rc;
}

int htstore_variable_create(struct htstore *store, const char *name, const struct htstore_variable_schema *schema,
                            struct htstore_variable **variable, struct htstore_error *error)
{
    const int rc = check_call(store, true, variable, error);

    return rc ? rc : open_variable(store, name, schema, HTI_OPEN_CREATE, variable, error);
}

int htstore_variable_open(struct htstore *store, const char *name, const struct htstore_variable_schema *expected,
                          struct htstore_variable **variable, struct htstore_error *error)
{
    struct hti_opening opening = { .name = name, .kind = HTSTORE_KIND_VARIABLE, .mode = HTI_OPEN_EXISTING };
    void *handle;
    int rc = check_call(store, false, variable, error);

    if (rc != 0)
        return rc;
    if (expected && (expected->flags & HTSTORE_ANONYMOUS))
        return hti_fail(error, HTSTORE_EINVAL, "an anonymous variable cannot be opened by name");
    if (expected)
        return open_variable(store, name, expected, HTI_OPEN_EXISTING, variable, error);
    rc = hti_catalog_check_name(name, error);
    if (rc == 0)
        rc = hti_object_open(store, &opening, &handle, error);
    if (rc == 0)
        *variable = handle;
    return rc;
}

int htstore_variable_get_or_create(struct htstore *store, const char *name,
                                   const struct htstore_variable_schema *schema, struct htstore_variable **variable,
                                   struct htstore_error *error)
{
    int rc = check_call(store, false, variable, error);

    if (rc == 0 && !store->readonly)
        rc = hti_check_store(store, true, error);
    return rc ? rc : open_variable(store, name, schema, HTI_OPEN_OR_CREATE, variable, error);
}

int htstore_variable_drop(struct htstore *store, const char *name, struct htstore_error *error)
{
    return hti_object_drop(store, name, HTSTORE_KIND_VARIABLE, error);
}

int htstore_variable_close(struct htstore_variable *variable, struct htstore_error *error)
{
    int rc;

    if (!variable)
        return 0;
    rc = hti_check_variable(variable, false, error);
    return rc ? rc : hti_object_close(&variable->handle, error);
}

/* --- checks of a caller's array --- */

static struct hti_shape slice_shape(const struct hti_core *core, int64_t n)
{
    struct hti_shape shape = core->record.value_shape;

    shape.dim[0] = n;
    return shape;
}

/* The elements that a slice covers. HTSTORE_ESHAPE if they are not the variable's. */
static int check_slice(const struct hti_core *core, int64_t begin, const struct htstore_array *value,
                       struct hti_span *span, struct htstore_error *error)
{
    const struct hti_shape *all = &core->record.value_shape;
    struct hti_shape shape;
    uint64_t per_index;
    int64_t n;
    int rc;

    if (all->rank == 0)
        return hti_fail(error, HTSTORE_ESHAPE, "a scalar has no slices");
    n = value->rank > 0 ? value->shape[0] : 0;
    shape = slice_shape(core, n);
    rc = hti_shape_expect(value, &shape, NULL, "value", error);
    if (rc != 0)
        return rc;
    if (begin < 0 || n < 0 || begin > all->dim[0] || n > all->dim[0] - begin)
        return hti_fail(error, HTSTORE_ESHAPE, "a slice of %lld at %lld is not within the first dimension, %lld",
                        (long long)n, (long long)begin, (long long)all->dim[0]);
    shape = slice_shape(core, 1);
    per_index = hti_shape_count(&shape);
    hti_span_init(span, core, (uint64_t)begin * per_index, (uint64_t)(begin + n) * per_index);
    return 0;
}

static int check_value(struct htstore_variable *variable, bool write, const struct htstore_array *value,
                       struct htstore_error *error)
{
    int rc = hti_check_variable(variable, write, error);

    if (rc != 0)
        return rc;
    if (!value)
        return hti_fail(error, HTSTORE_EINVAL, "value is NULL");
    return hti_dtype_expect(value, variable->handle.core->record.value_dtype, "Value", error);
}

static int check_whole(const struct hti_core *core, const struct htstore_array *value, struct hti_span *span,
                       struct htstore_error *error)
{
    const int rc = hti_shape_expect(value, &core->record.value_shape, NULL, "value", error);

    if (rc == 0)
        hti_span_init(span, core, 0, hti_shape_count(&core->record.value_shape));
    return rc;
}

static int check_input(const struct hti_span *span, const struct htstore_array *value, struct htstore_error *error)
{
    return hti_dtype_check_elements(value->dtype, value->data, span->end - span->begin, 1, false, "Value", error);
}

static int check_output(const struct hti_span *span, const struct htstore_array *value, struct htstore_error *error)
{
    if (span->end > span->begin && !value->data)
        return hti_fail(error, HTSTORE_EINVAL, "value has elements but no data");
    if (value->dtype == HTSTORE_STRING && !hti_arena_is_valid(value->arena))
        return hti_fail(error, HTSTORE_EINVAL, "strings need an arena");
    return 0;
}

/* --- assigning and reading --- */

int htstore_variable_read(struct htstore_variable *variable, struct htstore_array *value, struct htstore_error *error)
{
    struct hti_span span;
    int rc = check_value(variable, false, value, error);

    if (rc == 0)
        rc = check_whole(variable->handle.core, value, &span, error);
    if (rc == 0)
        rc = check_output(&span, value, error);
    return rc ? rc : hti_span_read(variable->handle.store, &span, value, error);
}

int htstore_variable_read_slice(struct htstore_variable *variable, int64_t begin, struct htstore_array *value,
                                struct htstore_error *error)
{
    struct hti_span span;
    int rc = check_value(variable, false, value, error);

    if (rc == 0)
        rc = check_slice(variable->handle.core, begin, value, &span, error);
    if (rc == 0)
        rc = check_output(&span, value, error);
    return rc ? rc : hti_span_read(variable->handle.store, &span, value, error);
}

int htstore_variable_assign(struct htstore_variable *variable, const struct htstore_array *value,
                            struct htstore_error *error)
{
    struct hti_span span;
    int rc = check_value(variable, true, value, error);

    if (rc == 0)
        rc = check_whole(variable->handle.core, value, &span, error);
    if (rc == 0)
        rc = check_input(&span, value, error);
    return rc ? rc : hti_span_assign(variable->handle.store, &span, value, error);
}

int htstore_variable_assign_slice(struct htstore_variable *variable, int64_t begin, const struct htstore_array *value,
                                  struct htstore_error *error)
{
    struct hti_span span;
    int rc = check_value(variable, true, value, error);

    if (rc == 0)
        rc = check_slice(variable->handle.core, begin, value, &span, error);
    if (rc == 0)
        rc = check_input(&span, value, error);
    return rc ? rc : hti_span_assign(variable->handle.store, &span, value, error);
}

/* --- what a handle tells --- */

const char *htstore_variable_name(const struct htstore_variable *variable)
{
    return hti_check_variable(variable, false, NULL) == 0 ? variable->handle.core->record.name : NULL;
}

int htstore_variable_schema(const struct htstore_variable *variable, struct htstore_variable_schema *schema,
                            struct htstore_error *error)
{
    const struct hti_object_record *record;
    struct htstore_variable_schema s;
    int rc = hti_check_variable(variable, false, error);

    if (rc != 0)
        return rc;
    if (!schema || schema->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "schema is NULL or its size is 0");
    record = &variable->handle.core->record;
    memset(&s, 0, sizeof s);
    s.size = schema->size;
    s.flags = record->flags;
    s.role = record->role;
    s.initial_value = htstore_scalar(record->value_dtype, NULL);
    s.initial_value.rank = record->value_shape.rank;
    memcpy(s.initial_value.shape, record->value_shape.dim, sizeof s.initial_value.shape);
    memcpy(schema, &s, schema->size < sizeof s ? schema->size : sizeof s);
    return 0;
}
