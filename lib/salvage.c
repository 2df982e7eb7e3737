/*
 * salvage: hides how what is readable of a damaged store becomes a new one. Rows and records go straight to the flush, as in
 * recovery: no journal and no table in memory grow with them.
 */
#include "salvage.h"

#include <string.h>

#include "flush.h"
#include "mem.h"
#include "place.h"
#include "store.h"
#include "structure.h"
#include "varlayout.h"
#include "wreck.h"
#include "wreck_entries.h"
#include "wreck_journal.h"
#include "wreck_rows.h"

#define OP_BYTES ((size_t)1 << 20)
#define LIST_BYTES ((size_t)4 << 20) /* written in one go */

struct salvage {
    struct hti_wreck wreck;
    struct htstore_options options;
    struct hti_place place;
    struct htstore *store; /* the new one */
    struct hti_record *list, **end; /* waits to be written */
    size_t list_bytes;
    struct hti_op_builder rows; /* of the table that is copied */
    struct htstore_error *error;
};

static int no_memory(struct salvage *s)
{
    return hti_fail(s->error, HTSTORE_ENOMEM, "no memory to recover the store");
}

/* --- writing --- */

static int write_list(struct salvage *s)
{
    int rc = 0;

    if (s->list) {
        pthread_mutex_lock(&s->store->flush_mutex);
        rc = hti_flush_records(s->store, s->list, s->store->record.applied_lsn, s->error);
        pthread_mutex_unlock(&s->store->flush_mutex);
    }
    hti_record_free_list(s->list);
    s->list = NULL;
    s->end = &s->list;
    s->list_bytes = 0;
    return rc;
}

static int push_record(struct salvage *s, struct hti_record *record)
{
    *s->end = record;
    s->end = &record->next;
    s->list_bytes += record->buf.size;
    return s->list_bytes >= LIST_BYTES ? write_list(s) : 0;
}

/* --- rows --- */

static int finish_rows(struct salvage *s)
{
    const struct hti_op_builder done = s->rows;
    struct hti_record *record;
    int rc;

    if (done.n_rows == 0)
        return 0;
    record = hti_record_new();
    if (!record)
        return no_memory(s);
    rc = hti_op_builder_finish(&s->rows, record, s->error);
    if (rc != 0) {
        hti_record_free(record);
        return rc;
    }
    hti_op_builder_release(&s->rows);
    hti_op_builder_init(&s->rows, done.table_id, done.type, done.kind);
    return push_record(s, record);
}

static int copy_row(void *user, const struct hti_row *row)
{
    struct salvage *s = user;

    if (hti_op_builder_row(&s->rows, row) != 0)
        return no_memory(s);
    return s->rows.keys.size + s->rows.values.size >= OP_BYTES ? finish_rows(s) : 0;
}

static int copy_rows(struct salvage *s, struct hti_wreck_table *table)
{
    int rc;

    hti_op_builder_init(&s->rows, table->core->record.id, &table->core->type, HTI_OP_PUT);
    rc = hti_wreck_rows_walk(&s->wreck, table, copy_row, s, s->error);
    if (rc == 0)
        rc = finish_rows(s);
    hti_op_builder_release(&s->rows);
    return rc;
}

/* --- objects --- */

static void count_object(struct salvage *s, uint32_t kind)
{
    struct htstore_recovery *found = &s->wreck.found;

    found->n_tables += kind == HTSTORE_KIND_TABLE;
    found->n_variables += kind == HTSTORE_KIND_VARIABLE;
    found->n_mappings += kind == HTSTORE_KIND_MAPPING;
}

/* The record's memory goes to the new object, but not its name, which messages need. */
static int make_object(struct salvage *s, struct hti_wreck_table *table)
{
    struct hti_object_record record = table->record;
    int rc;

    if (record.name) {
        record.name = hti_mem_strdup(record.name);
        if (!record.name)
            return no_memory(s);
    }
    pthread_mutex_lock(&s->store->flush_mutex);
    rc = hti_structure_create(s->store, &record, NULL, &table->core, s->error);
    pthread_mutex_unlock(&s->store->flush_mutex);
    if (rc != 0) {
        hti_mem_free(record.name);
        return rc;
    }
    table->record.default_value = NULL;
    count_object(s, table->record.kind);
    return 0;
}

static int copy_object(struct salvage *s, struct hti_wreck_table *table)
{
    const uint64_t n_damaged = s->wreck.found.n_damaged_tables;
    char label[HTI_WRECK_LABEL_SIZE];
    int rc;

    if (!table->has_record)
        return 0;
    if (!table->reached) {
        hti_wreck_note(&s->wreck, "%s is not recovered: %s", hti_wreck_label(table, label),
                       table->replaced ? "a later object has its name" : "nothing can open it any more");
        return 0;
    }
    rc = make_object(s, table);
    if (rc != 0 || table->record.kind == HTSTORE_KIND_MAPPING)
        return rc;
    rc = copy_rows(s, table);
    table->damaged = s->wreck.found.n_damaged_tables > n_damaged;
    return rc;
}

/* --- entries --- */

static int add_entry(struct salvage *s, struct hti_core *mapping, const struct hti_entry_record *entry,
                     struct hti_members *known, struct hti_addition *addition)
{
    const struct hti_wreck_table *object = hti_wreck_table(&s->wreck, entry->object);
    char *name;

    if (!object)
        return no_memory(s);
    if (hti_members_find(known, entry->name, entry->name_size)) {
        s->wreck.found.n_lost_entries++;
        hti_wreck_warn(&s->wreck, "mapping number %llu has a key twice: the first entry counts",
                       (unsigned long long)entry->mapping);
        return 1;
    }
    name = hti_mem_dup(entry->name, entry->name_size);
    if (!name)
        return no_memory(s);
    hti_members_add(known, name, entry->name_size, object->core);
    *addition = (struct hti_addition){
        .mapping = mapping, .name = entry->name, .name_size = entry->name_size, .object = object->core
    };
    return 0;
}

static int commit_entries(struct salvage *s, struct hti_change *change)
{
    int rc;

    if (change->n_additions == 0)
        return 0;
    pthread_mutex_lock(&s->store->flush_mutex);
    rc = hti_structure_commit(s->store, change, s->error);
    pthread_mutex_unlock(&s->store->flush_mutex);
    if (rc == 0)
        s->wreck.found.n_entries += change->n_additions;
    return rc;
}

/* In their order, in one step. */
static int copy_entries(struct salvage *s, const struct hti_wreck_table *mapping)
{
    struct hti_members known = { 0 };
    struct hti_change change = { 0 };
    size_t n;
    const struct hti_entry_record *entries = hti_wreck_entries_of(&s->wreck, mapping->id, &n);
    struct hti_core *core = mapping->core;
    int rc = 0;

    change.additions = hti_mem_zalloc_array(n, sizeof *change.additions);
    if (!change.additions || hti_members_reserve(&known, n) != 0)
        rc = no_memory(s);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        rc = add_entry(s, core, &entries[i], &known, &change.additions[change.n_additions]);
        change.n_additions += rc == 0;
    }
    if (rc >= 0)
        rc = commit_entries(s, &change);
    hti_members_release(&known);
    hti_mem_free(change.additions);
    return rc;
}

/* --- journal --- */

static int copy_op(struct salvage *s, const struct hti_op *op, struct hti_core *core, struct hti_record *out)
{
    struct hti_op_builder builder;
    struct hti_row_walk rows;
    struct hti_row row;
    int rc = 0;

    hti_op_builder_init(&builder, core->record.id, &core->type, op->kind);
    hti_row_walk_init(&rows, op);
    while (rc == 0 && hti_row_walk_next(&rows, &row))
        rc = hti_op_builder_row(&builder, &row) ? no_memory(s) : 0;
    if (rc == 0)
        rc = hti_op_builder_finish(&builder, out, s->error);
    hti_op_builder_release(&builder);
    return rc;
}

/* The operations of a record on tables that are recovered. *n_bad: those that do not fit their table. */
static int copy_ops(struct salvage *s, const struct hti_record *record, struct hti_record *out, uint32_t *n_bad)
{
    struct hti_op_walk ops;
    struct hti_op op;
    int rc = 0;

    hti_op_walk_init(&ops, record);
    while (rc == 0 && hti_op_walk_next(&ops, &op) == 0) {
        const struct hti_wreck_table *table = hti_wreck_table(&s->wreck, op.table_id);
        if (!table)
            return no_memory(s);
        if (!table->core)
            continue;
        if (table->record.kind != HTSTORE_KIND_MAPPING && hti_op_is_valid(&op, &table->core->type))
            rc = copy_op(s, &op, table->core, out);
        else
            ++*n_bad;
    }
    return rc;
}

static int apply_record(void *user, const struct hti_record *record)
{
    struct salvage *s = user;
    struct hti_record *out = hti_record_new();
    uint32_t n_bad = 0;
    int rc;

    if (!out)
        return no_memory(s);
    rc = copy_ops(s, record, out, &n_bad);
    if (rc == 0 && n_bad > 0) {
        s->wreck.found.n_lost_records++;
        hti_wreck_warn(&s->wreck, "journal: record %llu does not fit the tables, and is not applied in full",
                       (unsigned long long)record->lsn);
    }
    if (rc != 0 || out->n_ops == 0) {
        hti_record_free(out);
        return rc;
    }
    s->wreck.found.n_records++;
    return push_record(s, out);
}

/* --- rows of variables that are missing: zeros, and empty strings --- */

/* Row numbers that the new store has not. */
struct gaps {
    struct gap {
        uint64_t begin, end;
    } * list;
    size_t n, capacity;
    uint64_t next; /* the row that is expected now */
};

static int add_gap(struct salvage *s, struct gaps *gaps, uint64_t end)
{
    if (gaps->next >= end)
        return 0;
    if (gaps->n == gaps->capacity) {
        const size_t wanted = gaps->capacity * 2 + 16;
        struct gap *more = hti_mem_realloc_array(gaps->list, wanted, sizeof *more);
        if (!more)
            return no_memory(s);
        gaps->list = more;
        gaps->capacity = wanted;
    }
    gaps->list[gaps->n++] = (struct gap){ gaps->next, end };
    return 0;
}

static int find_gaps(struct salvage *s, const struct hti_core *core, uint64_t n_rows, struct gaps *gaps)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    struct hti_kv_read *read;
    struct hti_row row;
    uint8_t space[8];
    uint64_t number;
    int rc = hti_kv_read_begin(s->store->kv, false, &read, s->error);

    if (rc != 0)
        return rc;
    rc = hti_kv_cursor_open(read, core->totals.database, &cursor, s->error);
    while (rc == 0 && (rc = hti_kv_cursor_next(cursor, &key, &value, s->error)) == 0) {
        hti_codec_peek_row(&core->type, key.data, key.size, value.data, value.size, space, &row);
        hti_codec_unpack_key(&core->type, row.key, &number);
        rc = add_gap(s, gaps, number < n_rows ? number : n_rows);
        gaps->next = number + 1;
    }
    hti_kv_cursor_close(cursor);
    hti_kv_read_end(read);
    return rc < 0 ? rc : add_gap(s, gaps, n_rows);
}

static int fill_gaps(struct salvage *s, const struct hti_core *core, const struct gaps *gaps)
{
    const size_t item_size = htstore_dtype_size(core->type.value_dtype);
    void *elements = hti_mem_zalloc_array((size_t)core->type.n_elements, item_size);
    const size_t size = elements ? hti_codec_value_size(&core->type, elements) : 0;
    uint8_t key[8], *packed = elements ? hti_mem_alloc(size) : NULL;
    int rc = packed ? 0 : no_memory(s);

    if (rc == 0)
        hti_codec_pack_value(&core->type, elements, packed);
    hti_op_builder_init(&s->rows, core->record.id, &core->type, HTI_OP_PUT);
    for (size_t i = 0; rc == 0 && i < gaps->n; i++)
        for (uint64_t number = gaps->list[i].begin; rc == 0 && number < gaps->list[i].end; number++) {
            const struct hti_row row = { key, core->type.key_size, packed, size };
            hti_codec_pack_key(&core->type, &number, key);
            rc = copy_row(s, &row);
        }
    if (rc == 0)
        rc = finish_rows(s);
    if (rc == 0)
        rc = write_list(s);
    hti_op_builder_release(&s->rows);
    hti_mem_free(packed);
    hti_mem_free(elements);
    return rc;
}

static int fill_variable(struct salvage *s, const struct hti_wreck_table *table)
{
    const struct hti_core *core = table->core;
    const uint64_t n_elements = hti_shape_count(&core->record.value_shape);
    const uint64_t n_rows = hti_varlayout_rows(core->record.value_dtype, n_elements);
    char label[HTI_WRECK_LABEL_SIZE];
    struct gaps gaps = { 0 };
    int rc;

    if (core->totals.n_rows >= n_rows)
        return 0;
    hti_wreck_warn(&s->wreck, "%s: elements of %llu of its %llu rows are lost: they become zeros, or empty strings",
                   hti_wreck_label(table, label), (unsigned long long)(n_rows - core->totals.n_rows),
                   (unsigned long long)n_rows);
    s->wreck.found.n_damaged_tables += !table->damaged;
    rc = find_gaps(s, core, n_rows, &gaps);
    if (rc == 0)
        rc = fill_gaps(s, core, &gaps);
    hti_mem_free(gaps.list);
    return rc;
}

/* --- the new store --- */

static int fill_store(struct salvage *s)
{
    struct hti_wreck *wreck = &s->wreck;
    int rc = hti_wreck_entries_settle(wreck, s->error);

    for (size_t i = 0; rc == 0 && i < wreck->n_tables; i++)
        rc = copy_object(s, &wreck->tables[i]);
    if (rc == 0)
        rc = hti_wreck_journal_walk(wreck, apply_record, s, s->error);
    if (rc == 0)
        rc = write_list(s);
    for (size_t i = 0; rc == 0 && i < wreck->n_tables; i++)
        if (wreck->tables[i].core && wreck->tables[i].record.kind == HTSTORE_KIND_VARIABLE)
            rc = fill_variable(s, &wreck->tables[i]);
    for (size_t i = 0; rc == 0 && i < wreck->n_tables; i++)
        if (wreck->tables[i].core && wreck->tables[i].record.kind == HTSTORE_KIND_MAPPING)
            rc = copy_entries(s, &wreck->tables[i]);
    for (size_t i = 0; i < wreck->n_tables; i++)
        if (wreck->tables[i].core && wreck->tables[i].record.kind == HTSTORE_KIND_TABLE)
            wreck->found.n_rows += wreck->tables[i].core->totals.n_rows;
    return rc;
}

/* Closed before it gets its name: whoever sees it there sees it whole. */
static int build_store(struct salvage *s)
{
    struct htstore_error reason;
    int rc = hti_place_open(&s->place, &s->options, &s->store, s->error);

    if (rc == 0)
        rc = fill_store(s);
    hti_record_free_list(s->list);
    s->list = NULL;
    if (s->store) {
        const int closed = htstore_close(s->store, &reason);
        if (rc == 0 && closed != 0)
            hti_error_copy(s->error, &reason);
        rc = rc ? rc : closed;
    }
    if (rc == 0)
        rc = hti_place_publish(&s->place, s->error);
    return rc;
}

/* --- the call --- */

static int check_arguments(const char *path, const char *target, const struct htstore_recovery *report,
                           struct htstore_error *error)
{
    if (!path || !*path || !target || !*target)
        return hti_fail(error, HTSTORE_EINVAL, "a path is NULL or empty");
    if (report && report->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "report.size is 0");
    return 0;
}

static void fill_report(const struct hti_wreck *wreck, struct htstore_recovery *report)
{
    struct htstore_recovery r = wreck->found;

    r.size = report->size;
    memcpy(report, &r, r.size < sizeof r ? r.size : sizeof r);
}

int htstore_recover(const char *path, const char *target, const struct htstore_options *options,
                    struct htstore_recovery *report, struct htstore_error *error)
{
    struct salvage s = { .error = error };
    bool building = false;
    int rc = check_arguments(path, target, report, error);

    if (rc == 0)
        rc = hti_store_options(options, &s.options, error);
    if (rc == 0)
        rc = hti_wreck_open(&s.wreck, path, &s.options, error);
    if (rc != 0)
        return rc;
    s.end = &s.list;
    rc = hti_place_choose(&s.place, target, s.wreck.dir_fd, error);
    if (rc == 0) {
        building = true;
        rc = build_store(&s);
    }
    if (rc == 0)
        rc = s.wreck.lossy;
    if (rc >= 0 && report)
        fill_report(&s.wreck, report);
    hti_place_leave(&s.place, building && rc < 0);
    hti_wreck_close(&s.wreck);
    return rc;
}
