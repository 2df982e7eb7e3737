/* commit: hides the queue of writers and the group commit. */
#include "commit.h"

#include <assert.h>
#include <string.h>

#include "mem.h"

/* --- memory for a batch, all of it before the journal hears of it: a recorded batch cannot fail to apply --- */

static bool needs_cell(const struct hti_core *core, uint32_t kind)
{
    return hti_cache_uses_cells(&core->type) && (kind == HTI_OP_PUT || (kind == HTI_OP_REMOVE && !core->resident));
}

static int make_cells_of(struct hti_write *write, const struct hti_core *core, const struct hti_op *op)
{
    struct hti_row_walk rows;
    struct hti_row row;

    if (!needs_cell(core, op->kind))
        return 0;
    hti_row_walk_init(&rows, op);
    while (hti_row_walk_next(&rows, &row)) {
        if (op->kind == HTI_OP_REMOVE)
            row = (struct hti_row){ .key = row.key, .key_size = row.key_size };
        void *cell = hti_cache_cell_new(&row);
        if (!cell)
            return HTSTORE_ENOMEM;
        write->cells[write->n_cells++] = cell;
    }
    return 0;
}

static int make_cells(struct hti_write *write, struct htstore_error *error)
{
    struct hti_op_walk ops;
    struct hti_op op;
    uint64_t n = 0;
    int rc = 0;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; hti_op_walk_next(&ops, &op) == 0; i++)
        n += needs_cell(write->cores[i], op.kind) ? op.n_rows : 0;
    if (n == 0)
        return 0;
    write->cells = hti_mem_alloc_array((size_t)n, sizeof *write->cells);
    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; write->cells && rc == 0 && hti_op_walk_next(&ops, &op) == 0; i++)
        rc = make_cells_of(write, write->cores[i], &op);
    return write->cells && rc == 0 ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
}

void hti_write_release(struct hti_write *write)
{
    for (uint64_t i = 0; write->cells && i < write->n_cells; i++)
        hti_cache_cell_free(write->cells[i]);
    hti_mem_free(write->cells);
    hti_mem_free(write->cores);
    hti_mem_free(write->row_changes);
    hti_record_free(write->record);
    hti_record_free(write->request);
    hti_mem_free(write->request_cores);
    hti_buf_release(&write->values);
    hti_buf_release(&write->value_sizes);
    memset(write, 0, sizeof *write);
}

static uint64_t entries_added(const struct hti_core *core, const struct hti_op *op)
{
    return op->kind == HTI_OP_PUT || (op->kind == HTI_OP_REMOVE && !core->resident) ? op->n_rows : 0;
}

/* Room for the rows of one more batch beside those that are queued. Moving the entries needs the section. */
static int reserve_rows(struct htstore *store, struct hti_core *core, uint64_t n)
{
    const uint64_t wanted = core->n_reserved + n;
    int rc = 0;

    if (!core->rows || !hti_cache_has_room(core->rows, wanted)) {
        pthread_rwlock_wrlock(&store->section);
        if (!core->rows)
            rc = hti_cache_new(&core->type, &core->rows);
        if (rc == 0)
            rc = hti_cache_reserve(core->rows, wanted);
        pthread_rwlock_unlock(&store->section);
    }
    if (rc == 0)
        core->n_reserved = wanted;
    return rc;
}

static void unreserve(struct hti_write *write, uint32_t n_ops)
{
    struct hti_op_walk ops;
    struct hti_op op;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; i < n_ops && hti_op_walk_next(&ops, &op) == 0; i++)
        write->cores[i]->n_reserved -= entries_added(write->cores[i], &op);
}

static int reserve(struct htstore *store, struct hti_write *write, struct htstore_error *error)
{
    struct hti_op_walk ops;
    struct hti_op op;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; hti_op_walk_next(&ops, &op) == 0; i++) {
        if (reserve_rows(store, write->cores[i], entries_added(write->cores[i], &op)) != 0) {
            unreserve(write, i);
            return hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
        }
    }
    return 0;
}

/* --- applying, in the closed section: nothing here can fail --- */

static void apply_clear(struct hti_core *core)
{
    if (core->rows)
        hti_cache_clear(core->rows);
    if (!core->resident)
        core->rows_cleared = true;
    core->n_rows = 0;
}

static void apply_put(struct hti_write *write, struct hti_core *core, const struct hti_row *row, void *cell)
{
    const enum hti_cache_state before = hti_cache_put(core->rows, row, cell);

    if (!write->resolved && before != HTI_CACHE_PRESENT)
        core->n_rows++;
}

static bool apply_remove(struct hti_write *write, struct hti_core *core, const struct hti_row *row, void *cell)
{
    const struct hti_row gone = { .key = row->key, .key_size = row->key_size };
    const enum hti_cache_state before =
        core->resident ? hti_cache_remove(core->rows, row->key, row->key_size) : hti_cache_put(core->rows, &gone, cell);

    if (!write->resolved && before == HTI_CACHE_PRESENT)
        core->n_rows--;
    return before == HTI_CACHE_PRESENT;
}

static void apply_op(struct hti_write *write, struct hti_core *core, const struct hti_op *op, void ***cells)
{
    const bool with_cells = needs_cell(core, op->kind);
    struct hti_row_walk rows;
    struct hti_row row;

    if (op->kind == HTI_OP_CLEAR) {
        apply_clear(core);
        return;
    }
    hti_row_walk_init(&rows, op);
    for (uint64_t i = 0; hti_row_walk_next(&rows, &row); i++) {
        void *cell = with_cells ? *(*cells)++ : NULL;
        if (op->kind == HTI_OP_PUT) {
            apply_put(write, core, &row, cell);
        } else {
            const bool removed = apply_remove(write, core, &row, cell);
            if (write->flags && !write->resolved)
                write->flags[i] = removed;
        }
    }
}

static void apply(struct htstore *store, struct hti_write *write)
{
    void **cells = write->cells;
    struct hti_op_walk ops;
    struct hti_op op;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; hti_op_walk_next(&ops, &op) == 0; i++) {
        struct hti_core *core = write->cores[i];
        apply_op(write, core, &op, &cells);
        if (write->resolved)
            core->n_rows += (uint64_t)write->row_changes[i];
        core->last_lsn = write->record->lsn;
        core->n_reserved -= entries_added(core, &op);
    }
    write->n_cells = 0; /* the caches have them */
    atomic_store(&store->visible_lsn, write->record->lsn);
}

static void push_delta(struct htstore *store, struct hti_record *record)
{
    record->next = NULL;
    *store->delta_end = record;
    store->delta_end = &record->next;
    store->delta_lsn = record->lsn;
    store->delta_bytes += record->buf.size;
    store->delta_rows += record->n_rows;
    if (store->delta_since_ms == 0) {
        store->delta_since_ms = hti_now_ms();
        pthread_cond_broadcast(&store->work); /* the flusher counts the age from now */
    }
}

/* --- the group --- */

static struct hti_record *chain_records(struct hti_write *group)
{
    for (struct hti_write *w = group; w; w = w->next)
        w->record->next = w->next ? w->next->record : NULL;
    return group->record;
}

static bool group_needs_sync(const struct htstore *store, const struct hti_write *group)
{
    bool interval = false;

    for (const struct hti_write *w = group; w; w = w->next) {
        if (w->durability == HTSTORE_SYNC)
            return true;
        interval = interval || w->durability == HTSTORE_INTERVAL;
    }
    /* the syncer is late: nobody is told "done" while older batches are overdue */
    return interval && store->unsynced_since_ms != 0 &&
           hti_now_ms() - store->unsynced_since_ms >= store->options.interval_ms;
}

/* Write and sync. *n_done batches of the group are in the journal as they asked for; the others failed with `error`. */
static void write_group(struct htstore *store, struct hti_write *group, bool sync, uint64_t *n_done,
                        struct htstore_error *error)
{
    hti_journal_append(store->journal, chain_records(group), n_done, error);
    if (*n_done > 0 && sync && hti_journal_sync(store->journal, hti_journal_written_lsn(store->journal), error) != 0)
        *n_done = 0;
}

static void finish_group(struct htstore *store, struct hti_write *group, uint64_t n_done,
                         const struct htstore_error *error)
{
    uint64_t i = 0;

    pthread_rwlock_wrlock(&store->section);
    for (struct hti_write *w = group; w && i < n_done; w = w->next, i++)
        apply(store, w);
    pthread_rwlock_unlock(&store->section);
    i = 0;
    for (struct hti_write *w = group, *next; w; w = next, i++) {
        next = w->next; /* its owner may be gone once it is done */
        if (i < n_done) {
            push_delta(store, w->record);
            w->record = NULL;
        } else {
            unreserve(w, UINT32_MAX);
            w->status = error->code;
            w->error = *error;
        }
        w->done = true;
    }
    atomic_fetch_add(&store->n_batches, n_done);
}

static void note_interval(struct htstore *store, const struct hti_write *group, bool synced)
{
    if (synced)
        store->unsynced_since_ms = 0;
    for (const struct hti_write *w = group; w && !synced; w = w->next)
        if (w->durability == HTSTORE_INTERVAL && store->unsynced_since_ms == 0) {
            store->unsynced_since_ms = hti_now_ms();
            pthread_cond_broadcast(&store->work);
        }
}

/*
 * Called and left with write_mutex. Applying and entering the delta are one step for whoever holds it: a flush must not
 * freeze a table's rows without the record that they come from.
 */
static void lead(struct htstore *store)
{
    struct hti_write *group = store->queue;
    const bool sync = group_needs_sync(store, group);
    struct htstore_error error;
    uint64_t n_done = 0;

    memset(&error, 0, sizeof error);
    store->queue = NULL;
    store->queue_end = &store->queue;
    store->leading = true;
    pthread_mutex_unlock(&store->write_mutex);
    write_group(store, group, sync, &n_done, &error);
    pthread_mutex_lock(&store->write_mutex);
    note_interval(store, group, sync);
    finish_group(store, group, n_done, &error);
    store->leading = false;
    if (store->delta_bytes >= HTI_FLUSH_AT(store->options.delta_bytes))
        pthread_cond_broadcast(&store->work);
    pthread_cond_broadcast(&store->write_changed);
}

/* --- one write --- */

/*
 * Back-pressure: wait while the memory for unflushed rows is used up. If flushing fails, waiting might last for ever: the
 * flush's error is the answer then; but when an open cursor is what blocks the flush, its owner may be this very thread,
 * and the write is let in.
 */
static int wait_for_room(struct htstore *store, uint64_t size, struct htstore_error *error)
{
    while (store->delta_bytes > 0 && store->delta_bytes + size > store->options.delta_bytes) {
        const int poisoned = hti_journal_poisoned(store->journal, error);
        if (poisoned)
            return poisoned;
        if (store->flush_status == HTSTORE_EBUSY)
            return 0;
        if (store->flush_status != 0) {
            hti_error_copy(error, &store->flush_error);
            pthread_cond_broadcast(&store->work); /* try again: there may be space by now */
            return store->flush_status;
        }
        store->n_waiting++;
        pthread_cond_broadcast(&store->work);
        pthread_cond_wait(&store->write_changed, &store->write_mutex);
        store->n_waiting--;
    }
    return 0;
}

/* A request whose outcome depends on the contents is resolved when all before it are applied and none is under way. */
static int take_turn(struct htstore *store, struct hti_write *write, struct htstore_error *error)
{
    int rc;

    if (!write->conditional) {
        while (store->n_exclusive > 0 || store->blocked)
            pthread_cond_wait(&store->write_changed, &store->write_mutex);
        return 0;
    }
    store->n_exclusive++;
    while (store->leading || store->queue || store->blocked)
        pthread_cond_wait(&store->write_changed, &store->write_mutex);
    store->n_exclusive--;
    pthread_cond_broadcast(&store->write_changed);
    rc = hti_resolve(store, write, error);
    return rc ? rc : make_cells(write, error);
}

static void enqueue_and_wait(struct htstore *store, struct hti_write *write)
{
    write->next = NULL;
    write->done = false;
    *store->queue_end = write;
    store->queue_end = &write->next;
    while (!write->done) {
        if (store->leading)
            pthread_cond_wait(&store->write_changed, &store->write_mutex);
        else
            lead(store);
    }
}

int hti_commit(struct htstore *store, struct hti_write *write, struct htstore_error *error)
{
    int rc = write->conditional ? 0 : make_cells(write, error);

    if (rc != 0)
        return rc;
    if (write->durability == HTSTORE_DEFAULT_DURABILITY)
        write->durability = store->options.durability;
    pthread_mutex_lock(&store->write_mutex);
    rc = wait_for_room(store, write->record->buf.size, error);
    if (rc == 0)
        rc = take_turn(store, write, error);
    if (rc == 0)
        rc = hti_journal_poisoned(store->journal, error);
    if (rc == 0)
        rc = reserve(store, write, error);
    if (rc == 0)
        enqueue_and_wait(store, write);
    pthread_mutex_unlock(&store->write_mutex);
    if (rc == 1)
        return 0; /* nothing was to be written */
    if (rc == 0 && write->status != 0) {
        hti_error_copy(error, &write->error);
        rc = write->status;
    }
    return rc;
}

void hti_commit_block(struct htstore *store)
{
    pthread_mutex_lock(&store->write_mutex);
    store->blocked = true;
    while (store->leading || store->queue)
        pthread_cond_wait(&store->write_changed, &store->write_mutex);
    pthread_mutex_unlock(&store->write_mutex);
}

void hti_commit_unblock(struct htstore *store)
{
    pthread_mutex_lock(&store->write_mutex);
    store->blocked = false;
    pthread_cond_broadcast(&store->write_changed);
    pthread_mutex_unlock(&store->write_mutex);
}

void *hti_commit_run_syncer(void *argument)
{
    struct htstore *store = argument;

    pthread_mutex_lock(&store->write_mutex);
    while (!store->stopping) {
        if (store->unsynced_since_ms == 0) {
            pthread_cond_wait(&store->work, &store->write_mutex);
            continue;
        }
        /* half of the interval is for waiting, the other half for the sync itself */
        const uint64_t due = store->unsynced_since_ms + store->options.interval_ms / 2;
        if (hti_now_ms() < due) {
            hti_wait_until(&store->work, &store->write_mutex, due);
            continue;
        }
        store->unsynced_since_ms = 0;
        pthread_mutex_unlock(&store->write_mutex);
        hti_journal_sync(store->journal, hti_journal_written_lsn(store->journal), NULL); /* failure poisons the store */
        pthread_mutex_lock(&store->write_mutex);
    }
    pthread_mutex_unlock(&store->write_mutex);
    return NULL;
}
