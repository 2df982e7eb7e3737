/* run: hides how rows are gathered, sorted and coalesced. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"

#define GROUP 256u /* keys that are ordered in one call */
#define WORD_SIZE 8u
#define FEW_STRINGS 24u /* compared, not sorted by their next word */

/* Tables by id, to find those of the operations. */
struct builder {
    struct hti_run *run;
    struct hti_core **cores; /* ascending ids */
    uint32_t *slots; /* index in run->tables + 1, by position in cores */
    size_t n_cores;
    uint32_t n_ops;
    size_t n_wide; /* rows put so far */
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

/* The table with this id in run->tables, added if it is new. NULL: there is no such table. */
static struct hti_run_table *table_of(struct builder *b, uint64_t id)
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
        return NULL;
    if (b->slots[low] == 0) {
        struct hti_run_table *table = &b->run->tables[b->run->n_tables];
        table->core = b->cores[low];
        table->is_fixed = table->core->type.key_size != 0 && table->core->type.value_is_fixed;
        b->slots[low] = ++b->run->n_tables;
    }
    return &b->run->tables[b->slots[low] - 1];
}

/* --- the rows of each table, in the order of their arrival --- */

/* Called twice for each operation, in order: to count rows, which a clear forgets, and to put them. */
typedef void (*op_fn)(struct builder *b, struct hti_run_table *table, const struct hti_op *op);

static void count_op(struct builder *b, struct hti_run_table *table, const struct hti_op *op)
{
    if (op->kind == HTI_OP_CLEAR) {
        table->cleared = true;
        table->first_op = b->n_ops;
        table->end = 0;
    } else {
        table->end += op->n_rows;
    }
}

static void put_fixed(const struct hti_row_type *type, const struct hti_op *op, struct hti_radix_item *items)
{
    uint64_t ordered[GROUP];

    for (uint32_t first = 0, n; first < op->n_rows; first += n) {
        n = op->n_rows - first < GROUP ? op->n_rows - first : GROUP;
        hti_codec_order_keys(type, op->keys + (size_t)first * op->key_size, n, ordered);
        for (uint32_t i = 0; i < n; i++)
            items[first + i] = (struct hti_radix_item){
                ordered[i], op->kind == HTI_OP_PUT ? op->values + (size_t)(first + i) * op->value_size : NULL
            };
    }
}

/* Up to 8 bytes of a string from `depth` on, as a number; zero-padded. */
static uint64_t word_at(const struct hti_run_wide *wide, size_t depth)
{
    uint8_t bytes[WORD_SIZE] = { 0 };

    if (wide->key_size >= depth + WORD_SIZE)
        return hti_load_be64(wide->key + depth);
    if (wide->key_size > depth)
        memcpy(bytes, wide->key + depth, wide->key_size - depth);
    return hti_load_be64(bytes);
}

static void put_wide(const struct hti_row_type *type, const struct hti_op *op, struct hti_radix_item *items,
                     struct hti_run_wide *wide)
{
    struct hti_row_walk rows;
    struct hti_row row;

    hti_row_walk_init(&rows, op);
    for (; hti_row_walk_next(&rows, &row); items++, wide++) {
        *wide = (struct hti_run_wide){ .key = row.key,
                                       .value = op->kind == HTI_OP_PUT ? row.value : NULL,
                                       .key_size = (uint32_t)row.key_size,
                                       .value_size = (uint32_t)row.value_size };
        items->place = wide;
        if (type->key_size == 0)
            items->key = word_at(wide, 0);
        else
            hti_codec_order_keys(type, row.key, 1, &items->key);
    }
}

static void put_op(struct builder *b, struct hti_run_table *table, const struct hti_op *op)
{
    struct hti_radix_item *items = b->run->items + table->end;

    if (b->n_ops < table->first_op || op->kind == HTI_OP_CLEAR)
        return;
    table->end += op->n_rows;
    if (table->is_fixed) {
        put_fixed(&table->core->type, op, items);
    } else {
        put_wide(&table->core->type, op, items, b->run->wide + b->n_wide);
        b->n_wide += op->n_rows;
    }
}

static int each_op(struct builder *b, const struct hti_record *list, op_fn call)
{
    b->n_ops = 0;
    for (const struct hti_record *record = list; record; record = record->next) {
        struct hti_op_walk ops;
        struct hti_op op;
        int rc;
        hti_op_walk_init(&ops, record);
        for (; (rc = hti_op_walk_next(&ops, &op)) == 0; b->n_ops++) {
            struct hti_run_table *table = table_of(b, op.table_id);
            if (!table)
                return HTSTORE_ECORRUPT;
            call(b, table, &op);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Give each table its place. */
static int make_room(struct hti_run *run)
{
    size_t at = 0, n_wide = 0;

    for (uint32_t t = 0; t < run->n_tables; t++) {
        struct hti_run_table *table = &run->tables[t];
        const size_t n = table->end;
        table->begin = table->end = at;
        at += n;
        n_wide += table->is_fixed ? 0 : n;
    }
    run->items = hti_mem_alloc_array(at, sizeof *run->items);
    run->wide = hti_mem_alloc_array(n_wide, sizeof *run->wide);
    return run->items && run->wide ? 0 : HTSTORE_ENOMEM;
}

/* --- order --- */

/* The order of stored keys, from packed string keys: bytes up to the limit of short keys, then the shorter one, then the hash. */
static int compare_strings(const struct hti_run_wide *a, const struct hti_run_wide *b)
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

/* Rows of equal keys in the order of their arrival, which is that of their places. */
static int compare_items(const void *a, const void *b)
{
    const struct hti_run_wide *x = ((const struct hti_radix_item *)a)->place;
    const struct hti_run_wide *y = ((const struct hti_radix_item *)b)->place;
    const int order = compare_strings(x, y);

    return order ? order : (x > y) - (x < y);
}

/*
 * Strings that share the first `depth` bytes, by the next 8, then those that share these too by the next, and so on: a comparison
 * would read all of what they share each time. Words say nothing of strings that have ended: those are compared.
 */
static void sort_strings(struct hti_radix_item *items, struct hti_radix_item *scratch, size_t n, size_t depth)
{
    if (n <= FEW_STRINGS || depth + WORD_SIZE > HTI_SHORT_KEY_MAX) {
        qsort(items, n, sizeof *items, compare_items);
        return;
    }
    for (size_t i = 0; i < n && depth > 0; i++)
        items[i].key = word_at(items[i].place, depth);
    hti_radix_sort(items, scratch, n);
    for (size_t begin = 0, end; begin < n; begin = end) {
        bool ended = false;
        for (end = begin; end < n && items[end].key == items[begin].key; end++)
            ended |= ((const struct hti_run_wide *)items[end].place)->key_size <= depth + WORD_SIZE;
        if (end - begin < 2)
            continue;
        if (ended)
            qsort(items + begin, end - begin, sizeof *items, compare_items);
        else
            sort_strings(items + begin, scratch, end - begin, depth + WORD_SIZE);
    }
}

static bool are_equal(const struct hti_radix_item *a, const struct hti_radix_item *b, bool strings)
{
    return a->key == b->key && (!strings || compare_strings(a->place, b->place) == 0);
}

/* Of equal keys the last one counts. */
static void sort_table(struct hti_run *run, struct hti_run_table *table, struct hti_radix_item *scratch)
{
    const bool strings = table->core->type.key_size == 0;
    const size_t n = table->end - table->begin;
    struct hti_radix_item *items = run->items + table->begin;
    size_t kept = 0;

    if (strings)
        sort_strings(items, scratch, n, 0);
    else
        hti_radix_sort(items, scratch, n);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || !are_equal(&items[i], &items[i + 1], strings))
            items[kept++] = items[i];
    table->end = table->begin + kept;
}

static int sort_tables(struct hti_run *run)
{
    struct hti_radix_item *scratch;
    size_t most = 0;

    for (uint32_t t = 0; t < run->n_tables; t++)
        if (run->tables[t].end - run->tables[t].begin > most)
            most = run->tables[t].end - run->tables[t].begin;
    scratch = hti_mem_alloc_array(most, sizeof *scratch);
    if (!scratch)
        return HTSTORE_ENOMEM;
    for (uint32_t t = 0; t < run->n_tables; t++)
        sort_table(run, &run->tables[t], scratch);
    hti_mem_free(scratch);
    return 0;
}

int hti_run_build(struct htstore *store, const struct hti_record *list, struct hti_run *run,
                  struct htstore_error *error)
{
    struct builder b = { .run = run };
    int rc;

    memset(run, 0, sizeof *run);
    rc = list_cores(store, &b);
    if (rc == 0)
        rc = each_op(&b, list, count_op);
    if (rc == 0)
        rc = make_room(run);
    if (rc == 0)
        rc = each_op(&b, list, put_op);
    if (rc == 0)
        rc = sort_tables(run);
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
    hti_mem_free(run->items);
    hti_mem_free(run->wide);
    hti_mem_free(run->tables);
    memset(run, 0, sizeof *run);
}

void hti_run_row(const struct hti_run *run, const struct hti_run_table *table, size_t at, uint8_t space[8],
                 struct hti_row *row)
{
    const struct hti_radix_item *item = &run->items[at];
    const struct hti_row_type *type = &table->core->type;

    if (table->is_fixed) {
        hti_codec_key_of_order(type, item->key, space);
        *row = (struct hti_row){ space, type->key_size, item->place, type->value_size };
    } else {
        const struct hti_run_wide *wide = item->place;
        *row = (struct hti_row){ wide->key, wide->key_size, wide->value, wide->value_size };
    }
}
