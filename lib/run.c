/* run: hides how rows are gathered, sorted and coalesced. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"

/* Tables by id, to find those of the operations. */
struct builder {
    struct hti_run *run;
    struct hti_core **cores; /* ascending ids */
    uint32_t *slots; /* index in run->tables + 1, by position in cores */
    size_t n_cores;
    size_t capacity; /* rows */
    uint32_t sequence;
};

static int compare_cores(const void *a, const void *b)
{
    const struct hti_core *const *x = a, *const *y = b;
    return ((*x)->record.id > (*y)->record.id) - ((*x)->record.id < (*y)->record.id);
}

static int list_cores(struct htstore *store, struct builder *b)
{
    int rc = 0;

    pthread_mutex_lock(&store->objects_mutex);
    for (const struct hti_core *core = store->cores; core; core = core->next)
        b->n_cores++;
    b->cores = hti_mem_alloc_array(b->n_cores, sizeof *b->cores);
    b->slots = hti_mem_zalloc_array(b->n_cores, sizeof *b->slots);
    b->run->tables = hti_mem_zalloc_array(b->n_cores, sizeof *b->run->tables);
    if (b->cores && b->slots && b->run->tables) {
        size_t i = 0;
        for (struct hti_core *core = store->cores; core; core = core->next)
            b->cores[i++] = core;
        qsort(b->cores, b->n_cores, sizeof *b->cores, compare_cores);
    } else {
        rc = HTSTORE_ENOMEM;
    }
    pthread_mutex_unlock(&store->objects_mutex);
    return rc;
}

/* Index in run->tables of the table with this id; added if it is new. -1: there is no such table. */
static int64_t table_of(struct builder *b, uint64_t id)
{
    size_t low = 0, high = b->n_cores;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (b->cores[middle]->record.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == b->n_cores || b->cores[low]->record.id != id)
        return -1;
    if (b->slots[low] == 0) {
        b->run->tables[b->run->n_tables].core = b->cores[low];
        b->slots[low] = ++b->run->n_tables;
    }
    return (int64_t)b->slots[low] - 1;
}

static uint64_t prefix_of(const struct hti_row_type *type, const struct hti_row *row)
{
    uint8_t stored[HTI_STORED_KEY_MAX] = { 0 };

    if (type->key_size == 0) {
        memcpy(stored, row->key, row->key_size < 8 ? row->key_size : 8);
        return hti_load_be64(stored);
    }
    hti_codec_store_key(type, row->key, row->key_size, stored);
    return hti_load_be64(stored);
}

static int add_rows(struct builder *b, uint32_t table, const struct hti_op *op)
{
    const struct hti_row_type *type = &b->run->tables[table].core->type;
    struct hti_row_walk rows;
    struct hti_row row;

    if (b->run->n_rows + op->n_rows > b->capacity) {
        const size_t capacity = b->capacity * 2 + op->n_rows;
        struct hti_run_row *more = hti_mem_realloc_array(b->run->rows, capacity, sizeof *more);
        if (!more)
            return HTSTORE_ENOMEM;
        b->run->rows = more;
        b->capacity = capacity;
    }
    hti_row_walk_init(&rows, op);
    while (hti_row_walk_next(&rows, &row))
        b->run->rows[b->run->n_rows++] = (struct hti_run_row){
            .prefix = prefix_of(type, &row),
            .key = row.key,
            .value = op->kind == HTI_OP_PUT ? row.value : NULL,
            .key_size = (uint32_t)row.key_size,
            .value_size = (uint32_t)row.value_size,
            .table = table,
            .sequence = b->sequence++,
        };
    return 0;
}

static int add_record(struct builder *b, const struct hti_record *record)
{
    struct hti_op_walk ops;
    struct hti_op op;
    int rc;

    hti_op_walk_init(&ops, record);
    while ((rc = hti_op_walk_next(&ops, &op)) == 0) {
        const int64_t table = table_of(b, op.table_id);
        if (table < 0)
            return HTSTORE_ECORRUPT;
        if (op.kind == HTI_OP_CLEAR) {
            b->run->tables[table].cleared = true;
            b->run->tables[table].cleared_at = b->sequence++;
        } else if (add_rows(b, (uint32_t)table, &op) != 0) {
            return HTSTORE_ENOMEM;
        }
    }
    return rc == 1 ? 0 : rc;
}

/* --- order --- */

/* The order of stored keys, from packed string keys: bytes up to the limit of short keys, then the shorter one, then the hash. */
static int compare_strings(const struct hti_run_row *a, const struct hti_run_row *b)
{
    const size_t shorter = a->key_size < b->key_size ? a->key_size : b->key_size;
    const size_t n = shorter < HTI_SHORT_KEY_MAX ? shorter : HTI_SHORT_KEY_MAX;
    const int order = n ? memcmp(a->key, b->key, n) : 0;

    if (order != 0)
        return order;
    if (a->key_size <= HTI_SHORT_KEY_MAX || b->key_size <= HTI_SHORT_KEY_MAX)
        return (a->key_size > b->key_size) - (a->key_size < b->key_size);
    const struct hti_row_type type = { .key_dtype = HTSTORE_STRING };
    uint8_t x[HTI_STORED_KEY_MAX], y[HTI_STORED_KEY_MAX];
    const size_t size = hti_codec_store_key(&type, a->key, a->key_size, x);
    hti_codec_store_key(&type, b->key, b->key_size, y);
    return memcmp(x, y, size);
}

static int compare_keys(const struct hti_run_row *a, const struct hti_run_row *b, bool strings)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return strings ? compare_strings(a, b) : 0;
}

static int compare_fixed(const void *a, const void *b)
{
    const struct hti_run_row *x = a, *y = b;
    const int order = compare_keys(x, y, false);
    return order ? order : (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

static int compare_string_rows(const void *a, const void *b)
{
    const struct hti_run_row *x = a, *y = b;
    const int order = compare_keys(x, y, true);
    return order ? order : (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

/* Group by table (a stable counting sort), leaving out what a later clear removed. */
static int group_by_table(struct hti_run *run)
{
    struct hti_run_row *sorted = hti_mem_alloc_array(run->n_rows, sizeof *sorted);
    size_t at = 0;

    if (!sorted)
        return HTSTORE_ENOMEM;
    for (size_t i = 0; i < run->n_rows; i++)
        run->tables[run->rows[i].table].end++;
    for (uint32_t t = 0; t < run->n_tables; t++) {
        const size_t n = run->tables[t].end;
        run->tables[t].begin = run->tables[t].end = at;
        at += n;
    }
    for (size_t i = 0; i < run->n_rows; i++) {
        struct hti_run_table *table = &run->tables[run->rows[i].table];
        if (!table->cleared || run->rows[i].sequence > table->cleared_at)
            sorted[table->end++] = run->rows[i];
    }
    hti_mem_free(run->rows);
    run->rows = sorted;
    return 0;
}

/* Of equal keys the last one counts. */
static void sort_table(struct hti_run *run, struct hti_run_table *table)
{
    const bool strings = table->core->type.key_size == 0;
    const size_t n = table->end - table->begin;
    struct hti_run_row *rows;
    size_t kept = 0;

    if (n == 0)
        return;
    rows = run->rows + table->begin;
    qsort(rows, n, sizeof *rows, strings ? compare_string_rows : compare_fixed);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || compare_keys(&rows[i], &rows[i + 1], strings) != 0)
            rows[kept++] = rows[i];
    table->end = table->begin + kept;
}

int hti_run_build(struct htstore *store, const struct hti_record *list, struct hti_run *run,
                  struct htstore_error *error)
{
    struct builder b = { .run = run };
    int rc;

    memset(run, 0, sizeof *run);
    rc = list_cores(store, &b);
    for (const struct hti_record *record = list; record && rc == 0; record = record->next)
        rc = add_record(&b, record);
    if (rc == 0 && run->n_rows > 0)
        rc = group_by_table(run);
    for (uint32_t t = 0; rc == 0 && t < run->n_tables; t++)
        sort_table(run, &run->tables[t]);
    hti_mem_free(b.cores);
    hti_mem_free(b.slots);
    if (rc != 0)
        hti_run_release(run);
    if (rc == HTSTORE_ENOMEM)
        return hti_fail(error, rc, "no memory to sort the rows of a flush");
    return rc ? hti_fail(error, rc, "the journal names a table that the catalogue lacks") : 0;
}

void hti_run_release(struct hti_run *run)
{
    hti_mem_free(run->rows);
    hti_mem_free(run->tables);
    memset(run, 0, sizeof *run);
}
