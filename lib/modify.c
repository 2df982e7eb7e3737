/* modify: hides how calls become operations of a record. */
#include "modify.h"

#include <string.h>

#include "arena.h"
#include "bytes.h"
#include "commit.h"
#include "mem.h"

int hti_modify_flags(uint32_t flags, uint32_t allowed, uint32_t *durability, struct htstore_error *error)
{
    *durability = flags & 0xfu;
    if ((flags & ~(0xfu | allowed)) || *durability > HTSTORE_LAZY)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x", flags);
    return 0;
}

bool hti_modify_is_conditional(const struct htstore_table *table, uint32_t kind, const struct hti_arguments *arguments)
{
    const struct hti_row_type *type = &table->handle.core->type;
    const struct htstore_bytes *strings;

    if (kind == HTI_OP_CLEAR)
        return false;
    if (kind == HTI_OP_PUT_NEW)
        return true;
    if (type->key_size != 0)
        return false;
    strings = arguments->keys->data;
    for (uint64_t i = 0; i < arguments->n_rows; i++)
        if (hti_codec_key_is_long(type, strings[i].size))
            return true;
    return false;
}

int hti_modify_add(struct hti_record *record, const struct htstore_table *table, uint32_t kind,
                   const struct hti_arguments *arguments, struct htstore_error *error)
{
    static const uint8_t NOTHING[1];
    const struct htstore_array *values = arguments->values ? arguments->values : arguments->defaults;
    struct hti_op_source source = {
        .table_id = table->handle.core->record.id,
        .type = &table->handle.core->type,
        .kind = kind,
        .n_rows = arguments->n_rows,
        .keys = arguments->keys ? arguments->keys->data : NULL,
        .shared_value = !arguments->values && arguments->shared_default,
    };

    if (kind == HTI_OP_PUT || kind == HTI_OP_PUT_NEW) {
        source.values = values ? values->data : table->handle.core->default_elements;
        if (!source.values)
            source.values = NOTHING; /* rows without elements */
    }
    return hti_record_add(record, &source, error);
}

/* --- a call on one table --- */

static int start_write(struct hti_write *write, struct htstore_error *error)
{
    memset(write, 0, sizeof *write);
    write->record = hti_record_new();
    write->cores = hti_mem_alloc_array(2, sizeof *write->cores);
    if (write->record && write->cores)
        return 0;
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
}

static int add(struct hti_write *write, const struct htstore_table *table, uint32_t kind,
               const struct hti_arguments *arguments, struct htstore_error *error)
{
    int rc;

    write->cores[write->record->n_ops] = table->handle.core;
    rc = hti_modify_add(write->record, table, kind, arguments, error);
    write->conditional = write->conditional || hti_modify_is_conditional(table, kind, arguments);
    return rc;
}

static int commit(const struct htstore_table *table, struct hti_write *write, struct htstore_error *error)
{
    hti_record_seal(write->record);
    return hti_commit(table->handle.store, write, error);
}

/* Results are staged, since a call that fails must leave the caller's arrays alone. */
static int stage_flags(struct hti_write *write, const uint8_t *wanted, uint64_t n, struct htstore_error *error)
{
    if (!wanted)
        return 0;
    write->flags = hti_mem_alloc((size_t)n);
    return write->flags ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
}

static void deliver_flags(struct hti_write *write, uint8_t *wanted, uint64_t n, int rc)
{
    if (rc == 0 && wanted)
        memcpy(wanted, write->flags, (size_t)n);
    hti_mem_free(write->flags);
    write->flags = NULL;
}

static int check_call(struct htstore_table *table, struct hti_arguments *arguments, bool values_required,
                      struct htstore_error *error)
{
    const int rc = hti_check_table(table, true, error);

    if (rc != 0)
        return rc;
    if (values_required && !arguments->values)
        return hti_fail(error, HTSTORE_EINVAL, "values is NULL");
    return hti_arguments_check(table, arguments, error);
}

/* One operation with optional result flags: what insert, insert_new and remove have in common. */
static int modify_rows(struct htstore_table *table, uint32_t kind, struct hti_arguments *arguments, uint32_t flags,
                       uint8_t *results, struct htstore_error *error)
{
    struct hti_write write;
    uint32_t durability;
    int rc = hti_modify_flags(flags, kind == HTI_OP_PUT_NEW ? HTSTORE_ALL_OR_NOTHING : 0, &durability, error);

    if (rc != 0 || arguments->n_rows == 0)
        return rc;
    rc = start_write(&write, error);
    write.durability = durability;
    write.all_or_nothing = flags & HTSTORE_ALL_OR_NOTHING;
    if (rc == 0)
        rc = stage_flags(&write, results, arguments->n_rows, error);
    if (rc == 0)
        rc = add(&write, table, kind, arguments, error);
    if (rc == 0)
        rc = commit(table, &write, error);
    deliver_flags(&write, results, arguments->n_rows, rc);
    hti_write_release(&write);
    return rc;
}

int htstore_table_insert(struct htstore_table *table, const struct htstore_array *keys,
                         const struct htstore_array *values, uint32_t flags, struct htstore_error *error)
{
    struct hti_arguments arguments = { .keys = keys, .values = values };
    const int rc = check_call(table, &arguments, true, error);

    return rc ? rc : modify_rows(table, HTI_OP_PUT, &arguments, flags, NULL, error);
}

int htstore_table_insert_new(struct htstore_table *table, const struct htstore_array *keys,
                             const struct htstore_array *values, uint8_t *inserted, uint32_t flags,
                             struct htstore_error *error)
{
    struct hti_arguments arguments = { .keys = keys, .values = values };
    const int rc = check_call(table, &arguments, true, error);

    return rc ? rc : modify_rows(table, HTI_OP_PUT_NEW, &arguments, flags, inserted, error);
}

int htstore_table_remove(struct htstore_table *table, const struct htstore_array *keys, uint8_t *removed,
                         uint32_t flags, struct htstore_error *error)
{
    struct hti_arguments arguments = { .keys = keys };
    const int rc = check_call(table, &arguments, false, error);

    return rc ? rc : modify_rows(table, HTI_OP_REMOVE, &arguments, flags, removed, error);
}

/* --- replacing everything --- */

static int replace_all(struct htstore_table *table, const struct hti_arguments *arguments, uint32_t flags,
                       struct htstore_error *error)
{
    const struct hti_arguments none = { 0 };
    struct hti_write write;
    uint32_t durability;
    int rc = hti_modify_flags(flags, 0, &durability, error);

    if (rc != 0)
        return rc;
    rc = start_write(&write, error);
    write.durability = durability;
    if (rc == 0)
        rc = add(&write, table, HTI_OP_CLEAR, &none, error);
    if (rc == 0 && arguments)
        rc = add(&write, table, HTI_OP_PUT, arguments, error);
    if (rc == 0)
        rc = commit(table, &write, error);
    hti_write_release(&write);
    return rc;
}

int htstore_table_clear(struct htstore_table *table, uint32_t flags, struct htstore_error *error)
{
    const int rc = hti_check_table(table, true, error);

    return rc ? rc : replace_all(table, NULL, flags, error);
}

int htstore_table_import(struct htstore_table *table, const struct htstore_array *keys,
                         const struct htstore_array *values, uint32_t flags, struct htstore_error *error)
{
    struct hti_arguments arguments = { .keys = keys, .values = values };
    const int rc = check_call(table, &arguments, true, error);

    return rc ? rc : replace_all(table, arguments.n_rows ? &arguments : NULL, flags, error);
}

/* --- find_or_insert --- */

/* What was found, or inserted, as the caller's rows. Nothing here can fail: the bytes have their place in the arena. */
static void deliver_values(const struct hti_write *write, const struct hti_row_type *type, struct htstore_array *out,
                           uint64_t n)
{
    const size_t stride = hti_output_row_size(type);
    const uint8_t *packed = write->values.data;

    if (write->value_space) {
        if (write->values.size)
            memcpy(write->value_space, packed, write->values.size);
        packed = write->value_space;
    }
    for (uint64_t i = 0; i < n && stride > 0; i++) {
        const uint32_t size = hti_load_le32(write->value_sizes.data + i * 4);
        hti_codec_unpack_value(type, packed, size, (uint8_t *)out->data + i * stride);
        packed += size;
    }
}

static int find_or_insert(struct htstore_table *table, const struct hti_arguments *arguments, uint32_t durability,
                          uint8_t *found, struct htstore_error *error)
{
    struct htstore_array *out = (struct htstore_array *)(uintptr_t)arguments->outputs;
    const struct hti_row_type *type = &table->handle.core->type;
    struct hti_write write;
    int rc = start_write(&write, error);

    write.durability = durability;
    write.want_values = true;
    write.arena = type->value_dtype == HTSTORE_STRING && type->n_elements > 0 ? out->arena : NULL;
    if (rc == 0)
        rc = stage_flags(&write, found, arguments->n_rows, error);
    if (rc == 0)
        rc = add(&write, table, HTI_OP_PUT_NEW, arguments, error);
    if (rc == 0)
        rc = commit(table, &write, error);
    if (rc == 0)
        deliver_values(&write, type, out, arguments->n_rows);
    deliver_flags(&write, found, arguments->n_rows, rc);
    hti_write_release(&write);
    return rc;
}

int htstore_table_find_or_insert(struct htstore_table *table, const struct htstore_array *keys,
                                 const struct htstore_array *candidates, struct htstore_array *values, uint8_t *found,
                                 uint32_t flags, struct htstore_error *error)
{
    struct hti_arguments arguments = {
        .keys = keys, .defaults = candidates, .outputs = values, .defaults_optional = true
    };
    uint32_t durability;
    int rc = hti_check_table(table, true, error);

    if (rc == 0 && !values)
        rc = hti_fail(error, HTSTORE_EINVAL, "values is NULL");
    if (rc == 0)
        rc = hti_arguments_check(table, &arguments, error);
    if (rc == 0)
        rc = hti_modify_flags(flags, 0, &durability, error);
    if (rc != 0 || arguments.n_rows == 0)
        return rc;
    return find_or_insert(table, &arguments, durability, found, error);
}
