/* cursor: hides the LMDB transaction that fixes an instant, and the order of keys that are stored by their hash. */
#include "cursor.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "flush.h"
#include "lookup.h"
#include "mem.h"
#include "outputs.h"
#include "view.h"

#define MAX_BLOCK_ROWS 65536u
#define MAX_BLOCK_BYTES ((uint64_t)64 << 20)

/* A row in LMDB's memory: valid as long as the transaction. */
struct pending {
    struct hti_row row;
    uint8_t key_space[8];
};

struct htstore_cursor {
    uint32_t magic;
    struct htstore *store;
    struct htstore_table *table;
    struct hti_slow slow;
    struct hti_kv_read *read; /* owned stores; NULL on read-only ones, which share a view */
    struct hti_view *view;
    struct hti_kv_cursor *walk;
    uint64_t database; /* pinned, unless 0 or a reader's */
    struct hti_totals_record totals;
    uint64_t n_seen;
    struct hti_hash128 digest;
    bool ended;
    int status; /* of the call that failed: from then on the walk has a hole */
    struct htstore_error failure;

    /* rows that were read ahead: a run of long keys with one prefix, sorted; or the row that ended it */
    struct pending *ahead;
    size_t n_ahead, next_ahead, ahead_capacity;
};

static int check_cursor(const struct htstore_cursor *cursor, struct htstore_error *error)
{
    if (!cursor)
        return hti_fail(error, HTSTORE_EINVAL, "the cursor is NULL");
    if (cursor->magic != HTI_MAGIC_CURSOR)
        return hti_fail(error, HTSTORE_EINVAL, "this is not an open cursor");
    return hti_check_table(cursor->table, false, error);
}

/* --- opening --- */

/*
 * Between two flushes LMDB holds a prefix of history; flush_mutex keeps the next flush from starting before the
 * transaction has begun. The map is grown before, since it cannot be while the cursor is open.
 */
static int fix_instant(struct htstore *store, struct htstore_cursor *cursor, struct htstore_error *error)
{
    const struct hti_core *core = cursor->table->handle.core;
    int rc = hti_flush_locked(store, error);

    if (rc != 0)
        return rc;
    if (hti_kv_is_tight(store->kv, store->options.delta_bytes) && hti_slow_age_ms(store) == 0)
        hti_kv_grow(store->kv, NULL); /* if it cannot grow now, the flusher will say so when it must */
    cursor->totals = core->totals;
    if (core->totals.database != 0) {
        rc = hti_kv_acquire(store->kv, core->totals.database, false, error);
        if (rc == 1)
            return hti_fail(error, HTSTORE_ECORRUPT, "the table's database is missing");
        if (rc != 0)
            return rc;
        cursor->database = core->totals.database;
    }
    return hti_kv_read_begin(store->kv, true, &cursor->read, error);
}

static int open_owned(struct htstore *store, struct htstore_cursor *cursor, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&store->flush_mutex);
    rc = fix_instant(store, cursor, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc ? rc : hti_kv_cursor_open(cursor->read, cursor->totals.database, &cursor->walk, error);
}

static int open_viewed(struct htstore *store, struct htstore_cursor *cursor, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    const struct hti_core *core = cursor->table->handle.core;
    struct hti_kv_read *read;
    int rc = 0;

    pthread_mutex_lock(&store->view_mutex);
    if (core->dropped)
        rc = hti_fail(error, HTSTORE_ENOTFOUND, "%s was dropped by the store's owner", hti_core_label(core, label));
    if (rc == 0)
        rc = hti_view_read(store, &read, error);
    if (rc == 0) {
        cursor->totals = core->totals;
        cursor->view = hti_view_use(store);
        rc = hti_kv_cursor_open(read, cursor->totals.database, &cursor->walk, error);
    }
    pthread_mutex_unlock(&store->view_mutex);
    return rc;
}

static void release_walk(struct htstore_cursor *cursor)
{
    struct htstore *store = cursor->store;

    if (cursor->view)
        pthread_mutex_lock(&store->view_mutex);
    hti_kv_cursor_close(cursor->walk);
    if (cursor->view) {
        hti_view_leave(cursor->view);
        pthread_mutex_unlock(&store->view_mutex);
    }
    hti_kv_read_end(cursor->read);
    if (cursor->database != 0)
        hti_kv_release(store->kv, cursor->database);
    hti_mem_free(cursor->ahead);
}

int htstore_cursor_open(struct htstore_table *table, struct htstore_cursor **out, struct htstore_error *error)
{
    struct htstore_cursor *cursor;
    int rc;

    if (out)
        *out = NULL;
    rc = hti_check_table(table, false, error);
    if (rc != 0)
        return rc;
    if (!out)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the cursor is NULL");
    cursor = hti_mem_zalloc(sizeof *cursor);
    if (!cursor)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a cursor");
    cursor->magic = HTI_MAGIC_CURSOR;
    cursor->store = table->handle.store;
    cursor->table = table;
    rc = table->handle.store->readonly ? open_viewed(table->handle.store, cursor, error)
                                       : open_owned(table->handle.store, cursor, error);
    if (rc != 0) {
        release_walk(cursor);
        hti_mem_free(cursor);
        return rc;
    }
    hti_handle_use(&table->handle, 1);
    hti_slow_enter(table->handle.store, &cursor->slow);
    *out = cursor;
    return 0;
}

void htstore_cursor_close(struct htstore_cursor *cursor)
{
    if (!cursor || cursor->magic != HTI_MAGIC_CURSOR || hti_is_forked(cursor->store))
        return;
    cursor->magic = HTI_MAGIC_CLOSED;
    release_walk(cursor);
    hti_slow_leave(cursor->store, &cursor->slow);
    hti_handle_use(&cursor->table->handle, -1);
    hti_mem_free(cursor);
}

uint64_t htstore_cursor_count(const struct htstore_cursor *cursor)
{
    return check_cursor(cursor, NULL) == 0 ? cursor->totals.n_rows : 0;
}

/* --- rows --- */

static int damaged(const struct htstore_cursor *cursor, const char *what, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    return hti_fail(error, HTSTORE_ECORRUPT, "%s: %s", hti_core_label(cursor->table->handle.core, label), what);
}

static int check_end(struct htstore_cursor *cursor, struct htstore_error *error)
{
    if (cursor->n_seen != cursor->totals.n_rows)
        return damaged(cursor, "rows are missing or too many: the count differs from the catalogue's", error);
    if (cursor->digest.low != cursor->totals.digest.low || cursor->digest.high != cursor->totals.digest.high)
        return damaged(cursor, "rows were lost or altered: the digest differs from the catalogue's", error);
    return 1;
}

/* The next row as LMDB has it, verified. 1 = no more, which is believed only if count and digest agree. */
static int read_row(struct htstore_cursor *cursor, struct pending *p, struct htstore_error *error)
{
    const struct hti_core *core = cursor->table->handle.core;
    struct hti_kv_bytes key, value;
    struct hti_hash128 hash;
    int rc;

    if (cursor->ended)
        return 1;
    rc = hti_kv_cursor_next(cursor->walk, &key, &value, error);
    if (rc == 1) {
        cursor->ended = true;
        return check_end(cursor, error);
    }
    if (rc != 0)
        return rc;
    if (hti_codec_load_row(&core->type, core->record.id, key.data, key.size, value.data, value.size, p->key_space,
                           &p->row, &hash) != 0)
        return damaged(cursor, "a row is damaged: its checksum differs", error);
    hti_digest_add(&cursor->digest, hash);
    cursor->n_seen++;
    return 0;
}

static int push_ahead(struct htstore_cursor *cursor, const struct pending *p, struct htstore_error *error)
{
    if (cursor->n_ahead == cursor->ahead_capacity) {
        const size_t capacity = cursor->ahead_capacity * 2 + 4;
        struct pending *more = hti_mem_realloc_array(cursor->ahead, capacity, sizeof *more);
        if (!more)
            return hti_fail(error, HTSTORE_ENOMEM, "no memory for a block");
        cursor->ahead = more;
        cursor->ahead_capacity = capacity;
    }
    cursor->ahead[cursor->n_ahead++] = *p;
    return 0;
}

static int compare_long_keys(const void *a, const void *b)
{
    const struct hti_row *x = &((const struct pending *)a)->row, *y = &((const struct pending *)b)->row;
    const size_t n = x->key_size < y->key_size ? x->key_size : y->key_size;
    const int order = memcmp(x->key, y->key, n);

    return order ? order : (x->key_size > y->key_size) - (x->key_size < y->key_size);
}

static bool is_long(const struct htstore_cursor *cursor, const struct pending *p)
{
    return hti_codec_key_is_long(&cursor->table->handle.core->type, p->row.key_size);
}

/* Long keys with one prefix are stored in the order of their hashes: gather them all, and sort. */
static int gather_run(struct htstore_cursor *cursor, const struct pending *first, struct htstore_error *error)
{
    struct pending p;
    int rc;

    cursor->n_ahead = cursor->next_ahead = 0;
    rc = push_ahead(cursor, first, error);
    while (rc == 0 && (rc = read_row(cursor, &p, error)) == 0) {
        if (!is_long(cursor, &p) || memcmp(p.row.key, first->row.key, HTI_SHORT_KEY_MAX) != 0) {
            qsort(cursor->ahead, cursor->n_ahead, sizeof *cursor->ahead, compare_long_keys);
            return push_ahead(cursor, &p, error);
        }
        rc = push_ahead(cursor, &p, error);
    }
    if (rc == 1)
        qsort(cursor->ahead, cursor->n_ahead, sizeof *cursor->ahead, compare_long_keys);
    return rc == 1 ? 0 : rc;
}

static int next_row(struct htstore_cursor *cursor, struct pending *p, struct htstore_error *error)
{
    int rc;

    if (cursor->next_ahead == cursor->n_ahead) {
        rc = read_row(cursor, p, error);
        if (rc != 0 || !is_long(cursor, p))
            return rc;
        rc = gather_run(cursor, p, error);
        if (rc != 0)
            return rc;
    } else if (cursor->next_ahead + 1 == cursor->n_ahead && is_long(cursor, &cursor->ahead[cursor->next_ahead])) {
        /* the row that ended the last run may begin another one */
        const struct pending first = cursor->ahead[cursor->next_ahead];
        rc = gather_run(cursor, &first, error);
        if (rc != 0)
            return rc;
    }
    *p = cursor->ahead[cursor->next_ahead++];
    return 0;
}

/* --- outputs --- */

/* What a call hands out. */
struct block {
    struct htstore_array keys, values;
    bool with_values;
    uint64_t n_rows;
};

static void *own_bytes(struct htstore_arena *arena, const void *data, size_t size)
{
    void *copy = hti_arena_alloc(arena, size, 1);

    if (copy && size)
        memcpy(copy, data, size);
    return copy;
}

static int put_key(const struct hti_row_type *type, const struct hti_row *row, struct htstore_array *keys, uint64_t i)
{
    if (type->key_size != 0) {
        hti_codec_unpack_key(type, row->key, (uint8_t *)keys->data + i * type->key_size);
        return 0;
    }
    struct htstore_bytes *string = (struct htstore_bytes *)keys->data + i;
    string->data = own_bytes(keys->arena, row->key, row->key_size);
    string->size = row->key_size;
    return string->data ? 0 : HTSTORE_ENOMEM;
}

static int put_row(const struct htstore_cursor *cursor, const struct hti_row *row, struct block *block,
                   struct htstore_error *error)
{
    const struct hti_row_type *type = &cursor->table->handle.core->type;
    int rc = put_key(type, row, &block->keys, block->n_rows);

    if (rc == 0 && block->with_values)
        rc = hti_output_value(type, row->value, row->value_size, &block->values, block->n_rows);
    if (rc == HTSTORE_ENOMEM)
        return hti_fail(error, rc, "no memory for a block");
    return rc ? damaged(cursor, "a row is damaged", error) : 0;
}

/* Values may be left out: those of rank 8 have no block shape, and then keys can be walked all the same. */
static int make_outputs(const struct htstore_cursor *cursor, struct htstore_arena *arena, uint64_t n,
                        struct block *block, struct htstore_error *error)
{
    const struct hti_object_record *record = &cursor->table->handle.core->record;
    const struct hti_row_type *type = &cursor->table->handle.core->type;
    struct htstore_array *values = &block->values;

    block->keys = htstore_vector(record->key_dtype,
                                 hti_arena_alloc(arena, (size_t)n, htstore_dtype_size(record->key_dtype)), (size_t)n);
    block->keys.arena = arena;
    if (block->with_values) {
        if (record->value_shape.rank + 1 > HTSTORE_MAX_RANK)
            return hti_fail(error, HTSTORE_ESHAPE,
                            "blocks of values of rank %u have a rank above %d; ask for keys only",
                            record->value_shape.rank, HTSTORE_MAX_RANK);
        *values = htstore_vector(record->value_dtype, hti_arena_alloc(arena, (size_t)n, hti_output_row_size(type)),
                                 (size_t)n);
        values->arena = arena;
        values->rank = record->value_shape.rank + 1;
        for (uint32_t i = 0; i < record->value_shape.rank; i++)
            values->shape[i + 1] = record->value_shape.dim[i];
    }
    if (!block->keys.data || (block->with_values && !values->data))
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for %llu rows", (unsigned long long)n);
    return 0;
}

/* Rows until n are there, the block is large enough, or there are no more. */
static int fill(struct htstore_cursor *cursor, uint64_t n, uint64_t max_bytes, struct block *block,
                struct htstore_error *error)
{
    uint64_t bytes = 0;
    struct pending p;
    int rc = 0;

    for (block->n_rows = 0; block->n_rows < n && bytes < max_bytes; block->n_rows++) {
        rc = next_row(cursor, &p, error);
        if (rc == 0)
            rc = put_row(cursor, &p.row, block, error);
        if (rc != 0)
            break;
        bytes += p.row.key_size + p.row.value_size;
    }
    return rc;
}

static void lock_view(const struct htstore_cursor *cursor)
{
    if (cursor->view)
        pthread_mutex_lock(&cursor->store->view_mutex);
}

static void unlock_view(const struct htstore_cursor *cursor)
{
    if (cursor->view)
        pthread_mutex_unlock(&cursor->store->view_mutex);
}

static uint64_t block_rows(const struct htstore_cursor *cursor, uint64_t max_rows)
{
    const uint64_t row = hti_output_row_size(&cursor->table->handle.core->type) + sizeof(struct htstore_bytes);
    uint64_t n = max_rows < MAX_BLOCK_ROWS ? max_rows : MAX_BLOCK_ROWS;

    if (n > MAX_BLOCK_BYTES / row + 1)
        n = MAX_BLOCK_BYTES / row + 1;
    return n;
}

static void deliver(struct block *block, struct htstore_array *keys, struct htstore_array *values)
{
    block->keys.shape[0] = (int64_t)block->n_rows;
    *keys = block->keys;
    if (values) {
        block->values.shape[0] = (int64_t)block->n_rows;
        *values = block->values;
    }
}

static int next_block(struct htstore_cursor *cursor, uint64_t n, struct block *block, struct htstore_error *error)
{
    int rc;

    lock_view(cursor);
    rc = fill(cursor, n, MAX_BLOCK_BYTES, block, &cursor->failure);
    unlock_view(cursor);
    if (rc < 0) {
        cursor->status = rc;
        hti_error_copy(error, &cursor->failure);
    }
    return rc;
}

int htstore_cursor_next(struct htstore_cursor *cursor, uint64_t max_rows, struct htstore_arena *arena,
                        struct htstore_array *keys, struct htstore_array *values, struct htstore_error *error)
{
    struct block block = { .with_values = values != NULL };
    uint64_t n;
    int rc = check_cursor(cursor, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !keys || max_rows == 0)
        return hti_fail(error, HTSTORE_EINVAL, "arena or keys is NULL, or max_rows is 0");
    if (cursor->status != 0) {
        hti_error_copy(error, &cursor->failure);
        return cursor->status;
    }
    n = block_rows(cursor, max_rows);
    rc = make_outputs(cursor, arena, n, &block, error);
    if (rc == 0)
        rc = next_block(cursor, n, &block, error);
    if (rc < 0)
        return rc;
    deliver(&block, keys, values);
    return block.n_rows > 0 ? 0 : 1;
}

static int export_rows(struct htstore_cursor *cursor, struct block *block, struct htstore_error *error)
{
    struct pending p;
    int rc;

    lock_view(cursor);
    rc = fill(cursor, cursor->totals.n_rows, UINT64_MAX, block, error);
    if (rc == 0)
        rc = next_row(cursor, &p, error); /* the end: count and digest are compared there */
    if (rc == 0)
        rc = damaged(cursor, "it has more rows than the catalogue says", error);
    unlock_view(cursor);
    return rc == 1 ? 0 : rc;
}

int htstore_table_export(struct htstore_table *table, struct htstore_arena *arena, struct htstore_array *keys,
                         struct htstore_array *values, struct htstore_error *error)
{
    struct block block = { .with_values = values != NULL };
    struct htstore_cursor *cursor;
    int rc = hti_check_table(table, false, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !keys)
        return hti_fail(error, HTSTORE_EINVAL, "arena or keys is NULL");
    rc = htstore_cursor_open(table, &cursor, error);
    if (rc != 0)
        return rc;
    rc = make_outputs(cursor, arena, cursor->totals.n_rows, &block, error);
    if (rc == 0)
        rc = export_rows(cursor, &block, error);
    htstore_cursor_close(cursor);
    if (rc == 0)
        deliver(&block, keys, values);
    return rc;
}
