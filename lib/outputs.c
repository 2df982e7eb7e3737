/* outputs: hides how the caller's arrays are checked, read and filled. */
#include "outputs.h"

#include <string.h>

#include "arena.h"

static struct hti_shape value_shape(const struct htstore_table *table)
{
    return table->handle.core->record.value_shape;
}

static int check_pointers(const struct hti_arguments *a, struct htstore_error *error)
{
    if (!a->keys)
        return hti_fail(error, HTSTORE_EINVAL, "keys is NULL");
    return 0;
}

static int check_dtypes(const struct htstore_table *table, const struct hti_arguments *a, struct htstore_error *error)
{
    const struct hti_row_type *type = &table->handle.core->type;
    int rc = hti_dtype_expect(a->keys, type->key_dtype, "Key", error);

    if (rc == 0 && a->values)
        rc = hti_dtype_expect(a->values, type->value_dtype, "Value", error);
    if (rc == 0 && a->defaults)
        rc = hti_dtype_expect(a->defaults, type->value_dtype, "Default value", error);
    if (rc == 0 && a->outputs)
        rc = hti_dtype_expect(a->outputs, type->value_dtype, "Value", error);
    return rc;
}

static int fail_default_shape(const struct htstore_array *defaults, const struct hti_shape *keys,
                              const struct hti_shape *value, struct htstore_error *error)
{
    char one[HTI_SHAPE_TEXT_SIZE], all[HTI_SHAPE_TEXT_SIZE], got[HTI_SHAPE_TEXT_SIZE];
    struct hti_shape given;
    const int rc = hti_shape_of(defaults, &given, error);

    if (rc != 0)
        return rc;
    hti_shape_format(one, value, NULL);
    hti_shape_format(all, keys, value);
    hti_shape_format(got, &given, NULL);
    return hti_fail(error, HTSTORE_ESHAPE, "Expected shape %s or %s for default value, got %s", one, all, got);
}

static int check_default_shape(const struct htstore_table *table, struct hti_arguments *a, const struct hti_shape *keys,
                               struct htstore_error *error)
{
    const struct hti_shape value = value_shape(table);

    if (!a->defaults || hti_shape_expect(a->defaults, &value, NULL, "default value", NULL) == 0) {
        a->shared_default = true;
        return 0;
    }
    a->shared_default = false;
    if (hti_shape_expect(a->defaults, keys, &value, "default value", NULL) == 0)
        return 0;
    return fail_default_shape(a->defaults, keys, &value, error);
}

static int check_shapes(const struct htstore_table *table, struct hti_arguments *a, struct htstore_error *error)
{
    const struct hti_shape value = value_shape(table);
    struct hti_shape keys;
    int rc = hti_shape_of(a->keys, &keys, error);

    if (rc != 0)
        return rc;
    a->n_rows = hti_shape_count(&keys);
    if (a->values)
        rc = hti_shape_expect(a->values, &keys, &value, "value", error);
    if (rc == 0 && a->defaults_optional)
        rc = check_default_shape(table, a, &keys, error);
    if (rc == 0 && a->outputs)
        rc = hti_shape_expect(a->outputs, &keys, &value, "value", error);
    return rc;
}

static int check_output(const struct hti_row_type *type, const struct hti_arguments *a, struct htstore_error *error)
{
    const struct htstore_array *out = a->outputs;

    if (!out || a->n_rows == 0 || type->n_elements == 0)
        return 0;
    if (!out->data)
        return hti_fail(error, HTSTORE_EINVAL, "the values to write to are NULL");
    if (type->value_dtype == HTSTORE_STRING && !hti_arena_is_valid(out->arena))
        return hti_fail(error, HTSTORE_EINVAL, "string outputs need an arena");
    return 0;
}

static int check_contents(const struct htstore_table *table, const struct hti_arguments *a, struct htstore_error *error)
{
    const struct hti_row_type *type = &table->handle.core->type;
    int rc = hti_dtype_check_elements(type->key_dtype, a->keys->data, a->n_rows, 1, true, "Key", error);

    if (rc == 0 && a->values)
        rc = hti_dtype_check_elements(type->value_dtype, a->values->data, a->n_rows * type->n_elements,
                                      type->n_elements, false, "Value", error);
    if (rc == 0 && a->defaults)
        rc = hti_dtype_check_elements(type->value_dtype, a->defaults->data,
                                      (a->shared_default ? 1 : a->n_rows) * type->n_elements, type->n_elements, false,
                                      "Default value", error);
    return rc ? rc : check_output(type, a, error);
}

/*
 * The common case, decided without a loop over shapes: keys are a scalar or a vector, and all arrays fit. False: look closely,
 * which also finds the sentence if something is wrong.
 */
static bool is_plain(const struct htstore_table *table, struct hti_arguments *a)
{
    const struct hti_core *core = table->handle.core;
    const struct htstore_array *const arrays[] = { a->values, a->outputs };
    const struct hti_shape *value = &core->record.value_shape;
    const uint64_t n = a->keys->rank == 0 ? 1 : (uint64_t)a->keys->shape[0];

    if (a->keys->dtype != core->type.key_dtype || a->keys->rank > 1 || n > INT32_MAX || a->defaults || value->rank > 1)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        const struct htstore_array *array = arrays[i];
        if (!array)
            continue;
        if (array->dtype != core->type.value_dtype || array->rank != a->keys->rank + value->rank)
            return false;
        if ((a->keys->rank == 1 && (uint64_t)array->shape[0] != n) ||
            (value->rank == 1 && array->shape[a->keys->rank] != value->dim[0]))
            return false;
    }
    a->n_rows = n;
    a->shared_default = true;
    return true;
}

int hti_arguments_check(const struct htstore_table *table, struct hti_arguments *a, struct htstore_error *error)
{
    int rc = check_pointers(a, error);

    if (rc == 0 && is_plain(table, a))
        return check_contents(table, a, error);
    if (rc == 0)
        rc = check_dtypes(table, a, error);
    if (rc == 0)
        rc = check_shapes(table, a, error);
    return rc ? rc : check_contents(table, a, error);
}

size_t hti_output_row_size(const struct hti_row_type *type)
{
    return (size_t)type->n_elements * htstore_dtype_size(type->value_dtype);
}

static void *row_at(const struct hti_row_type *type, struct htstore_array *out, uint64_t i)
{
    return (uint8_t *)out->data + i * hti_output_row_size(type);
}

/* The strings of a row point to somebody else's memory: give them copies that last as long as the arena. */
static int own_strings(const struct hti_row_type *type, struct htstore_bytes *strings, struct htstore_arena *arena)
{
    size_t total = 0;
    uint8_t *space;

    for (uint64_t k = 0; k < type->n_elements; k++)
        total += strings[k].size;
    space = hti_arena_alloc(arena, total, 1);
    if (!space)
        return HTSTORE_ENOMEM;
    for (uint64_t k = 0; k < type->n_elements; k++) {
        if (strings[k].size)
            memcpy(space, strings[k].data, strings[k].size);
        strings[k].data = space;
        space += strings[k].size;
    }
    return 0;
}

int hti_output_value(const struct hti_row_type *type, const void *packed, size_t size, struct htstore_array *out,
                     uint64_t i)
{
    int rc;

    if (type->n_elements == 0)
        return 0;
    rc = hti_codec_unpack_value(type, packed, size, row_at(type, out, i));
    if (rc == 0 && type->value_dtype == HTSTORE_STRING)
        rc = own_strings(type, row_at(type, out, i), out->arena);
    return rc;
}

int hti_output_elements(const struct hti_row_type *type, const void *elements, struct htstore_array *out, uint64_t i)
{
    if (type->n_elements == 0)
        return 0;
    memcpy(row_at(type, out, i), elements, hti_output_row_size(type));
    return type->value_dtype == HTSTORE_STRING ? own_strings(type, row_at(type, out, i), out->arena) : 0;
}

const void *hti_input_key(const struct hti_row_type *type, const struct htstore_array *keys, uint64_t i,
                          uint8_t space[8], size_t *size)
{
    if (type->key_size == 0) {
        const struct htstore_bytes *string = (const struct htstore_bytes *)keys->data + i;
        *size = string->size;
        return string->size ? string->data : (const void *)"";
    }
    hti_codec_pack_key(type, (const uint8_t *)keys->data + i * type->key_size, space);
    *size = type->key_size;
    return space;
}
