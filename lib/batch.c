/* batch: hides how operations are gathered until they are committed. */
#include "batch.h"

#include <string.h>

#include "commit.h"
#include "mem.h"
#include "modify.h"

struct htstore_batch {
    uint32_t magic;
    struct htstore *store;
    struct hti_record *record;
    struct htstore_table **tables; /* of each operation */
    size_t capacity;
    bool conditional;
};

static int check_batch(const struct htstore_batch *batch, bool write, struct htstore_error *error)
{
    if (!batch)
        return hti_fail(error, HTSTORE_EINVAL, "the batch is NULL");
    if (batch->magic != HTI_MAGIC_BATCH)
        return hti_fail(error, HTSTORE_EINVAL, "this is not an open batch");
    return hti_check_store(batch->store, write, error);
}

int htstore_batch_new(struct htstore *store, struct htstore_batch **out, struct htstore_error *error)
{
    struct htstore_batch *batch;
    int rc;

    if (out)
        *out = NULL;
    rc = hti_check_store(store, true, error);
    if (rc != 0)
        return rc;
    if (!out)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the batch is NULL");
    batch = hti_mem_zalloc(sizeof *batch);
    if (batch)
        batch->record = hti_record_new();
    if (!batch || !batch->record) {
        hti_mem_free(batch);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a batch");
    }
    batch->magic = HTI_MAGIC_BATCH;
    batch->store = store;
    hti_handle_count(store, 1);
    *out = batch;
    return 0;
}

static int make_room(struct htstore_batch *batch, struct htstore_error *error)
{
    const size_t capacity = batch->capacity * 2 + 8;
    struct htstore_table **more;

    if (batch->record->n_ops < batch->capacity)
        return 0;
    more = hti_mem_realloc_array(batch->tables, capacity, sizeof *more);
    if (!more)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
    batch->tables = more;
    batch->capacity = capacity;
    return 0;
}

static int check_add(const struct htstore_batch *batch, const struct htstore_table *table, struct htstore_error *error)
{
    int rc = check_batch(batch, false, error);

    if (rc == 0)
        rc = hti_check_table(table, true, error);
    if (rc == 0 && table->handle.store != batch->store)
        rc = hti_fail(error, HTSTORE_EINVAL, "the table belongs to another store than the batch");
    return rc;
}

static int add(struct htstore_batch *batch, struct htstore_table *table, uint32_t kind,
               const struct hti_arguments *arguments, struct htstore_error *error)
{
    int rc = make_room(batch, error);

    if (rc == 0)
        rc = hti_modify_add(batch->record, table, kind, arguments, error);
    if (rc != 0)
        return rc;
    batch->tables[batch->record->n_ops - 1] = table;
    batch->conditional = batch->conditional || hti_modify_is_conditional(table, kind, arguments);
    hti_handle_use(&table->handle, 1);
    return 0;
}

static int add_puts(struct htstore_batch *batch, struct htstore_table *table, uint32_t kind,
                    const struct htstore_array *keys, const struct htstore_array *values, struct htstore_error *error)
{
    struct hti_arguments arguments = { .keys = keys, .values = values };
    int rc = check_add(batch, table, error);

    if (rc == 0 && !values)
        rc = hti_fail(error, HTSTORE_EINVAL, "values is NULL");
    if (rc == 0)
        rc = hti_arguments_check(table, &arguments, error);
    if (rc != 0 || arguments.n_rows == 0)
        return rc;
    return add(batch, table, kind, &arguments, error);
}

int htstore_batch_insert(struct htstore_batch *batch, struct htstore_table *table, const struct htstore_array *keys,
                         const struct htstore_array *values, struct htstore_error *error)
{
    return add_puts(batch, table, HTI_OP_PUT, keys, values, error);
}

int htstore_batch_insert_new(struct htstore_batch *batch, struct htstore_table *table, const struct htstore_array *keys,
                             const struct htstore_array *values, struct htstore_error *error)
{
    return add_puts(batch, table, HTI_OP_PUT_NEW, keys, values, error);
}

int htstore_batch_remove(struct htstore_batch *batch, struct htstore_table *table, const struct htstore_array *keys,
                         struct htstore_error *error)
{
    struct hti_arguments arguments = { .keys = keys };
    int rc = check_add(batch, table, error);

    if (rc == 0)
        rc = hti_arguments_check(table, &arguments, error);
    if (rc != 0 || arguments.n_rows == 0)
        return rc;
    return add(batch, table, HTI_OP_REMOVE, &arguments, error);
}

int htstore_batch_clear(struct htstore_batch *batch, struct htstore_table *table, struct htstore_error *error)
{
    const struct hti_arguments arguments = { 0 };
    const int rc = check_add(batch, table, error);

    return rc ? rc : add(batch, table, HTI_OP_CLEAR, &arguments, error);
}

static void release_tables(struct htstore_batch *batch, uint32_t n_ops)
{
    for (uint32_t i = 0; i < n_ops; i++)
        hti_handle_use(&batch->tables[i]->handle, -1);
    batch->conditional = false;
}

static int start_write(const struct htstore_batch *batch, struct hti_write *write, struct htstore_error *error)
{
    memset(write, 0, sizeof *write);
    write->cores = hti_mem_alloc_array(batch->record->n_ops, sizeof *write->cores);
    if (!write->cores)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
    for (uint32_t i = 0; i < batch->record->n_ops; i++)
        write->cores[i] = batch->tables[i]->handle.core;
    write->record = batch->record;
    write->conditional = batch->conditional;
    write->all_or_nothing = true;
    return 0;
}

/* After a failure the operations are the batch's again. */
static void take_back(struct htstore_batch *batch, struct hti_write *write)
{
    if (write->request)
        write->request = NULL;
    else
        write->record = NULL;
    (void)batch;
}

int htstore_batch_commit(struct htstore_batch *batch, uint32_t flags, struct htstore_error *error)
{
    struct hti_record *fresh;
    struct hti_write write;
    uint32_t durability, n_ops;
    int rc = check_batch(batch, true, error);

    if (rc == 0)
        rc = hti_modify_flags(flags, 0, &durability, error);
    if (rc != 0 || batch->record->n_ops == 0)
        return rc;
    n_ops = batch->record->n_ops;
    fresh = hti_record_new();
    rc = fresh ? start_write(batch, &write, error) : hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
    if (rc != 0) {
        hti_record_free(fresh);
        return rc;
    }
    write.durability = durability;
    hti_record_seal(write.record);
    rc = hti_commit(batch->store, &write, error);
    if (rc == 0) {
        batch->record = fresh;
        release_tables(batch, n_ops);
    } else {
        hti_record_free(fresh);
        take_back(batch, &write);
    }
    hti_write_release(&write);
    return rc;
}

static bool is_usable(const struct htstore_batch *batch)
{
    return batch && batch->magic == HTI_MAGIC_BATCH && !hti_is_forked(batch->store);
}

void htstore_batch_reset(struct htstore_batch *batch)
{
    if (!is_usable(batch))
        return;
    release_tables(batch, batch->record->n_ops);
    batch->record->n_ops = 0;
    batch->record->n_rows = 0;
    batch->record->buf.size = HTI_RECORD_HEADER_SIZE;
}

void htstore_batch_free(struct htstore_batch *batch)
{
    if (!is_usable(batch))
        return;
    release_tables(batch, batch->record->n_ops);
    hti_handle_count(batch->store, -1);
    batch->magic = HTI_MAGIC_CLOSED;
    hti_record_free(batch->record);
    hti_mem_free(batch->tables);
    hti_mem_free(batch);
}
