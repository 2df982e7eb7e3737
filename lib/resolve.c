/* resolve: hides how the operations of one request see each other's effects before any of them is applied. */
#include "resolve.h"

#include <string.h>

#include "arena.h"
#include "lookup.h"
#include "mem.h"

/* What the request itself has done to a table so far. */
struct overlay {
    struct overlay *next;
    struct hti_core *core;
    struct hti_cache *rows;
    bool cleared;
    int64_t change; /* of the row count, by this request */
};

struct resolver {
    struct htstore *store;
    struct hti_write *write;
    struct hti_kv_read *read; /* begun when memory does not tell */
    struct overlay *overlays;
    struct hti_record *out;
    struct hti_core **cores; /* of the operations of `out` */
    int64_t *row_changes;
    uint32_t n_out;
    uint64_t index; /* of the row, within its operation */
    struct htstore_error *error;
};

static int no_memory(struct resolver *r)
{
    return hti_fail(r->error, HTSTORE_ENOMEM, "no memory for the batch");
}

static struct overlay *overlay_of(struct resolver *r, struct hti_core *core)
{
    struct overlay *o = r->overlays;

    while (o && o->core != core)
        o = o->next;
    if (o)
        return o;
    o = hti_mem_zalloc(sizeof *o);
    if (!o || hti_cache_new(&core->type, HTI_CACHE_PARTIAL, &o->rows) != 0) {
        hti_mem_free(o);
        return NULL;
    }
    o->core = core;
    o->next = r->overlays;
    r->overlays = o;
    return o;
}

static int ask_lmdb(struct resolver *r, const struct hti_core *core, const struct hti_row *row, enum hti_found *found,
                    const void **value, size_t *value_size)
{
    int rc = r->read ? 0 : hti_kv_read_begin(r->store->kv, false, &r->read, r->error);

    if (rc != 0)
        return rc;
    return hti_lookup_stored(core, r->read, core->totals.database, row->key, row->key_size, found, value, value_size,
                             r->error);
}

/*
 * Is there such a row? Its value cannot be kept: readers may push it out at any time. A read transaction may be open here:
 * see remember() in read.c.
 */
static enum hti_found ask_recent(struct htstore *store, const struct hti_core *core, const struct hti_row *row)
{
    enum hti_found found = HTI_FOUND_ASK;
    const void *value;
    size_t value_size;

    struct hti_section_line *line = core->recent ? hti_section_try_enter(&store->section) : NULL;

    if (line) {
        found = hti_lookup_memory(core, row->key, row->key_size, &value, &value_size);
        hti_section_leave(line);
    }
    return found;
}

/* The state of a key after all earlier operations of the request. */
static int find(struct resolver *r, const struct overlay *o, const struct hti_row *row, enum hti_found *found,
                const void **value, size_t *value_size)
{
    switch (hti_cache_find(o->rows, row->key, row->key_size, value, value_size)) {
    case HTI_CACHE_PRESENT:
        *found = HTI_FOUND_PRESENT;
        return 0;
    case HTI_CACHE_ABSENT:
        *found = HTI_FOUND_ABSENT;
        return 0;
    case HTI_CACHE_COLLISION:
        *found = HTI_FOUND_COLLISION;
        return 0;
    case HTI_CACHE_MISS:
        break;
    }
    if (o->cleared) {
        *found = HTI_FOUND_ABSENT;
        return 0;
    }
    *found = hti_lookup_written(o->core, row->key, row->key_size, value, value_size);
    if (*found == HTI_FOUND_ASK && !r->write->want_values)
        *found = ask_recent(r->store, o->core, row);
    if (*found == HTI_FOUND_ASK)
        return ask_lmdb(r, o->core, row, found, value, value_size);
    return 0;
}

/* Record in the overlay that the key now has this row, or none (row->value NULL). */
static int note(struct resolver *r, struct overlay *o, const struct hti_row *row)
{
    if (hti_cache_reserve_row(o->rows, row) != 0)
        return no_memory(r);
    hti_cache_put(o->rows, row);
    return 0;
}

static int keep_value(struct resolver *r, const void *value, size_t size)
{
    struct hti_write *w = r->write;

    if (!w->want_values)
        return 0;
    if (hti_buf_append(&w->values, value, size) != 0 || hti_buf_append_u32(&w->value_sizes, (uint32_t)size) != 0)
        return no_memory(r);
    return 0;
}

static void set_flag(struct resolver *r, bool flag)
{
    if (r->write->flags)
        r->write->flags[r->index] = flag;
}

static int refuse_present(struct resolver *r)
{
    hti_fail(r->error, HTSTORE_EEXIST, "row %llu: the key is already present", (unsigned long long)r->index);
    hti_error_set_index(r->error, r->index);
    return HTSTORE_EEXIST;
}

static int refuse_collision(struct resolver *r)
{
    hti_fail(r->error, HTSTORE_ECONFLICT,
             "row %llu: the key collides with another one of more than %d bytes in its stored form",
             (unsigned long long)r->index, HTI_SHORT_KEY_MAX);
    hti_error_set_index(r->error, r->index);
    return HTSTORE_ECONFLICT;
}

static int put_row(struct resolver *r, struct overlay *o, struct hti_op_builder *builder, const struct hti_row *row,
                   bool was_present)
{
    int rc = note(r, o, row);

    if (rc == 0 && hti_op_builder_row(builder, row) != 0)
        rc = no_memory(r);
    if (rc == 0 && !was_present)
        o->change++;
    return rc;
}

static int resolve_put(struct resolver *r, struct overlay *o, const struct hti_op *op, struct hti_op_builder *builder,
                       const struct hti_row *row)
{
    enum hti_found found;
    const void *value;
    size_t value_size;
    int rc = find(r, o, row, &found, &value, &value_size);

    if (rc != 0)
        return rc;
    if (found == HTI_FOUND_COLLISION)
        return refuse_collision(r);
    if (op->kind == HTI_OP_PUT)
        return put_row(r, o, builder, row, found == HTI_FOUND_PRESENT);

    if (found == HTI_FOUND_PRESENT) {
        if (r->write->all_or_nothing)
            return refuse_present(r);
        set_flag(r, r->write->want_values);
        return keep_value(r, value, value_size);
    }
    set_flag(r, !r->write->want_values);
    rc = keep_value(r, row->value, row->value_size);
    return rc ? rc : put_row(r, o, builder, row, false);
}

static int resolve_remove(struct resolver *r, struct overlay *o, struct hti_op_builder *builder,
                          const struct hti_row *row)
{
    const struct hti_row gone = { .key = row->key, .key_size = row->key_size };
    enum hti_found found;
    const void *value;
    size_t value_size;
    int rc = find(r, o, row, &found, &value, &value_size);

    if (rc != 0)
        return rc;
    set_flag(r, found == HTI_FOUND_PRESENT);
    if (found != HTI_FOUND_PRESENT)
        return 0;
    rc = note(r, o, &gone);
    if (rc == 0 && hti_op_builder_row(builder, &gone) != 0)
        rc = no_memory(r);
    if (rc == 0)
        o->change--;
    return rc;
}

static int add_op(struct resolver *r, struct overlay *o, struct hti_op_builder *builder, int64_t change)
{
    const int rc = hti_op_builder_finish(builder, r->out, r->error);

    if (rc == 0) {
        r->cores[r->n_out] = o->core;
        r->row_changes[r->n_out] = change;
        r->n_out++;
    }
    return rc;
}

static int resolve_rows(struct resolver *r, struct overlay *o, const struct hti_op *op, struct hti_op_builder *builder)
{
    struct hti_row_walk rows;
    struct hti_row row;
    int rc = 0;

    hti_row_walk_init(&rows, op);
    for (r->index = 0; rc == 0 && hti_row_walk_next(&rows, &row); r->index++)
        rc = op->kind == HTI_OP_REMOVE ? resolve_remove(r, o, builder, &row) : resolve_put(r, o, op, builder, &row);
    return rc;
}

static int resolve_op(struct resolver *r, struct hti_core *core, const struct hti_op *op)
{
    struct overlay *o = overlay_of(r, core);
    struct hti_op_builder builder;
    const uint32_t kind = op->kind == HTI_OP_PUT_NEW ? HTI_OP_PUT : op->kind;
    int64_t before;
    int rc = 0;

    if (!o)
        return no_memory(r);
    before = o->change;
    hti_op_builder_init(&builder, core->record.id, &core->type, kind);
    if (op->kind == HTI_OP_CLEAR) {
        hti_cache_clear(o->rows);
        o->cleared = true;
        rc = add_op(r, o, &builder, 0);
    } else {
        rc = resolve_rows(r, o, op, &builder);
        if (rc == 0 && builder.n_rows > 0)
            rc = add_op(r, o, &builder, o->change - before);
    }
    hti_op_builder_release(&builder);
    return rc;
}

static int resolve_all(struct resolver *r)
{
    struct hti_op_walk ops;
    struct hti_op op;
    int rc;

    hti_op_walk_init(&ops, r->write->record);
    for (uint32_t i = 0; (rc = hti_op_walk_next(&ops, &op)) == 0; i++) {
        rc = resolve_op(r, r->write->cores[i], &op);
        if (rc != 0)
            return rc;
    }
    return rc == 1 ? 0 : hti_fail(r->error, HTSTORE_EINVAL, "the batch is malformed");
}

static void release(struct resolver *r)
{
    while (r->overlays) {
        struct overlay *o = r->overlays;
        r->overlays = o->next;
        hti_cache_free(o->rows);
        hti_mem_free(o);
    }
    hti_kv_read_end(r->read);
    hti_record_free(r->out);
    hti_mem_free(r->cores);
    hti_mem_free(r->row_changes);
}

/* The resolved record takes the place of the request, which is kept for a caller that wants to try again. */
static void hand_over(struct resolver *r)
{
    struct hti_write *w = r->write;

    w->request = w->record;
    w->request_cores = w->cores;
    w->record = r->out;
    w->cores = r->cores;
    w->row_changes = r->row_changes;
    w->resolved = true;
    r->out = NULL;
    r->cores = NULL;
    r->row_changes = NULL;
}

int hti_resolve(struct htstore *store, struct hti_write *write, struct htstore_error *error)
{
    struct resolver r = { .store = store, .write = write, .error = error };
    int rc;

    r.out = hti_record_new();
    r.cores = hti_mem_alloc_array(write->record->n_ops, sizeof *r.cores);
    r.row_changes = hti_mem_alloc_array(write->record->n_ops, sizeof *r.row_changes);
    rc = r.out && r.cores && r.row_changes ? resolve_all(&r) : no_memory(&r);
    if (rc == 0 && write->arena) {
        write->value_space = hti_arena_alloc(write->arena, write->values.size, 1);
        rc = write->value_space ? 0 : no_memory(&r);
    }
    if (rc == 0 && r.n_out == 0)
        rc = 1;
    if (rc == 0) {
        hti_record_seal(r.out);
        hand_over(&r);
    }
    release(&r);
    return rc;
}
