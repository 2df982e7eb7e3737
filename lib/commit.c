/* commit: hides the queue of writers and the group commit. */
#include "commit.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "mem.h"

#define FETCH_AHEAD 12u /* rows between what is applied and what is fetched, in two steps */
#define MAX_SLOWDOWN 4.0
#define MIN_PAUSE_NS 50000u /* shorter ones would mostly oversleep */
#define MAX_PAUSE_NS 200000000u /* about a flush transaction */
#define MANY_ENTRIES 10000u /* if a journal has so many keys, it has more */
#define FETCH_ENTRIES 30000u /* a smaller cache lies in the processor's own */

/* --- memory for a batch, all of it before the journal hears of it: a recorded batch cannot fail to apply --- */

void hti_write_release(struct hti_write *write)
{
    hti_mem_free(write->cores);
    hti_mem_free(write->row_changes);
    hti_record_free(write->record);
    hti_record_free(write->request);
    hti_mem_free(write->request_cores);
    hti_buf_release(&write->values);
    hti_buf_release(&write->value_sizes);
    memset(write, 0, sizeof *write);
}

/* What an operation may add to its table's cache. */
struct room {
    uint64_t n_rows;
    uint64_t bytes;
};

static struct hti_row as_put(const struct hti_op *op, const struct hti_row *row)
{
    struct hti_row put = *row;

    if (op->kind == HTI_OP_REMOVE) {
        put.value = NULL;
        put.value_size = 0;
    }
    return put;
}

static struct room room_of(const struct hti_core *core, const struct hti_op *op)
{
    struct room room = { 0 };
    struct hti_row_walk rows;
    struct hti_row row;

    if (op->kind != HTI_OP_PUT && (op->kind != HTI_OP_REMOVE || core->resident))
        return room;
    room.n_rows = op->n_rows;
    if (!hti_cache_uses_heap(core->rows))
        return room;
    hti_row_walk_init(&rows, op);
    while (hti_row_walk_next(&rows, &row)) {
        const struct hti_row put = as_put(op, &row);
        room.bytes += hti_cache_row_bytes(core->rows, put.key_size, put.value_size);
    }
    return room;
}

static int reserve_large_rows(struct hti_core *core, const struct hti_op *op)
{
    struct hti_row_walk rows;
    struct hti_row row;
    int rc = 0;

    hti_row_walk_init(&rows, op);
    while (rc == 0 && hti_row_walk_next(&rows, &row)) {
        const struct hti_row put = as_put(op, &row);
        if (hti_cache_row_is_large(core->rows, put.key_size, put.value_size))
            rc = hti_cache_reserve_large(core->rows, put.key_size, put.value_size);
    }
    return rc;
}

static int make_rows(struct htstore *store, struct hti_core *core)
{
    struct hti_cache *rows;
    int rc;

    if (core->rows)
        return 0;
    rc = hti_cache_new(&core->type, core->resident ? HTI_CACHE_COMPLETE : HTI_CACHE_PARTIAL, &rows);
    if (rc != 0)
        return rc;
    hti_section_close(&store->section);
    core->rows = rows;
    hti_section_open(&store->section);
    return 0;
}

/* Readers go on while larger arrays are filled; they wait only for the switch. */
static int make_room(struct htstore *store, struct hti_core *core, uint64_t n, uint64_t bytes)
{
    struct hti_cache_growth *growth;
    int rc;

    if (hti_cache_has_room(core->rows, n, bytes))
        return 0;
    rc = hti_cache_grow(core->rows, n, bytes, &growth);
    if (rc == 0 && growth) {
        hti_section_close(&store->section);
        hti_cache_switch(core->rows, growth);
        hti_section_open(&store->section);
        hti_cache_growth_free(growth);
    }
    if (rc == 0 && core->resident && hti_core_memory(store, false) > store->options.cache_bytes) {
        store->over_budget = true;
        pthread_cond_broadcast(&store->work);
    }
    return rc;
}

/* Room for the rows of one more operation beside those that are queued. */
static int reserve_op(struct htstore *store, struct hti_core *core, const struct hti_op *op)
{
    struct room room;
    int rc = op->kind == HTI_OP_CLEAR ? 0 : make_rows(store, core);

    if (rc != 0 || op->kind == HTI_OP_CLEAR)
        return rc;
    room = room_of(core, op);
    rc = make_room(store, core, core->n_reserved + room.n_rows, core->bytes_reserved + room.bytes);
    if (rc == 0 && hti_cache_uses_heap(core->rows) && room.n_rows > 0)
        rc = reserve_large_rows(core, op);
    if (rc != 0)
        return rc;
    core->n_reserved += room.n_rows;
    core->bytes_reserved += room.bytes;
    return 0;
}

static void unreserve_op(struct hti_core *core, const struct hti_op *op)
{
    if (op->kind == HTI_OP_CLEAR)
        return;
    const struct room room = room_of(core, op);
    core->n_reserved -= room.n_rows;
    core->bytes_reserved -= room.bytes;
}

static void unreserve(struct hti_write *write, uint32_t n_ops)
{
    struct hti_op_walk ops;
    struct hti_op op;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; i < n_ops && hti_op_walk_next(&ops, &op) == 0; i++) {
        unreserve_op(write->cores[i], &op);
        if (write->cores[i]->rows && write->cores[i]->n_reserved == 0)
            hti_cache_drop_spares(write->cores[i]->rows);
    }
}

static int reserve(struct htstore *store, struct hti_write *write, struct htstore_error *error)
{
    struct hti_op_walk ops;
    struct hti_op op;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; hti_op_walk_next(&ops, &op) == 0; i++) {
        if (reserve_op(store, write->cores[i], &op) != 0) {
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
    if (core->recent)
        hti_cache_clear(core->recent);
    if (!core->resident)
        core->rows_cleared = true;
    core->n_rows = 0;
    core->uncounted = false;
}

static void apply_put(const struct hti_write *write, struct hti_core *core, const struct hti_row *row)
{
    const enum hti_cache_state before = hti_cache_put(core->rows, row);

    if (core->recent)
        hti_cache_renew(core->recent, row);
    if (!write->resolved && before != HTI_CACHE_PRESENT)
        core->n_rows++;
}

static bool apply_remove(const struct hti_write *write, struct hti_core *core, const struct hti_row *row)
{
    const struct hti_row gone = { .key = row->key, .key_size = row->key_size };
    const enum hti_cache_state before =
        core->resident ? hti_cache_remove(core->rows, row->key, row->key_size) : hti_cache_put(core->rows, &gone);

    if (core->recent)
        hti_cache_renew(core->recent, &gone);
    if (!write->resolved && before == HTI_CACHE_PRESENT)
        core->n_rows--;
    return before == HTI_CACHE_PRESENT;
}

/* Two walks run ahead of the one that applies, so that what a row touches has arrived when its turn comes. */
struct ahead {
    struct hti_row_walk groups, slots;
    bool on;
};

static void start_ahead(struct ahead *ahead, const struct hti_core *core, const struct hti_op *op)
{
    struct hti_row row;

    ahead->on = op->n_rows >= 2 * FETCH_AHEAD && hti_cache_entries(core->rows) >= FETCH_ENTRIES;
    if (!ahead->on)
        return;
    hti_row_walk_init(&ahead->groups, op);
    hti_row_walk_init(&ahead->slots, op);
    for (unsigned i = 0; i < 2 * FETCH_AHEAD && hti_row_walk_next(&ahead->groups, &row); i++)
        hti_cache_fetch_group(core->rows, row.key, row.key_size);
    for (unsigned i = 0; i < FETCH_AHEAD && hti_row_walk_next(&ahead->slots, &row); i++)
        hti_cache_fetch_slot(core->rows, row.key, row.key_size);
}

static void step_ahead(struct ahead *ahead, const struct hti_core *core)
{
    struct hti_row row;

    if (!ahead->on)
        return;
    if (hti_row_walk_next(&ahead->groups, &row))
        hti_cache_fetch_group(core->rows, row.key, row.key_size);
    if (hti_row_walk_next(&ahead->slots, &row))
        hti_cache_fetch_slot(core->rows, row.key, row.key_size);
}

static void apply_op(struct hti_write *write, struct hti_core *core, const struct hti_op *op)
{
    struct hti_row_walk rows;
    struct ahead ahead;
    struct hti_row row;

    if (op->kind == HTI_OP_CLEAR) {
        apply_clear(core);
        return;
    }
    start_ahead(&ahead, core, op);
    hti_row_walk_init(&rows, op);
    for (uint64_t i = 0; hti_row_walk_next(&rows, &row); i++) {
        step_ahead(&ahead, core);
        if (op->kind == HTI_OP_PUT) {
            apply_put(write, core, &row);
        } else {
            const bool removed = apply_remove(write, core, &row);
            if (write->flags && !write->resolved)
                write->flags[i] = removed;
        }
    }
}

static bool collides(const struct hti_core *core, const struct hti_op *op)
{
    struct hti_row_walk rows;
    struct hti_row row;
    const void *value;
    size_t value_size;

    if (op->key_size != 0 || op->kind != HTI_OP_PUT)
        return false;
    hti_row_walk_init(&rows, op);
    while (hti_row_walk_next(&rows, &row))
        if (row.key_size > HTI_SHORT_KEY_MAX &&
            hti_cache_find(core->rows, row.key, row.key_size, &value, &value_size) == HTI_CACHE_COLLISION)
            return true;
    return false;
}

/* Two small steps, and one for all that will follow: each of them moves all rows. But few keys may be written again and again. */
static int make_replay_room(struct hti_core *core, const struct hti_op *op, uint64_t upcoming)
{
    const struct room room = room_of(core, op);
    const uint64_t entries = hti_cache_entries(core->rows), step = entries < MANY_ENTRIES ? 3 * entries : upcoming;
    uint64_t n = step < upcoming ? step : upcoming;
    int rc;

    if (n < room.n_rows)
        n = room.n_rows;
    rc = hti_cache_has_room(core->rows, room.n_rows, room.bytes) ? 0 : hti_cache_reserve(core->rows, n, room.bytes);
    return rc == 0 && hti_cache_uses_heap(core->rows) ? reserve_large_rows(core, op) : rc;
}

int hti_commit_replay(struct htstore *store, struct hti_core *core, const struct hti_op *op, uint64_t lsn,
                      uint64_t upcoming)
{
    struct hti_write write = { .resolved = true };
    int rc = 0;

    assert(!core->resident && core->n_handles == 0);
    core->uncounted = true;
    core->last_lsn = lsn;
    if (op->kind != HTI_OP_CLEAR)
        rc = make_rows(store, core);
    if (rc == 0 && op->kind != HTI_OP_CLEAR && collides(core, op))
        return HTSTORE_ECORRUPT;
    if (rc == 0 && op->kind != HTI_OP_CLEAR)
        rc = make_replay_room(core, op, upcoming);
    if (rc == 0)
        apply_op(&write, core, op);
    return rc;
}

static void apply(struct htstore *store, struct hti_write *write)
{
    struct hti_op_walk ops;
    struct hti_op op;

    hti_op_walk_init(&ops, write->record);
    for (uint32_t i = 0; hti_op_walk_next(&ops, &op) == 0; i++) {
        struct hti_core *core = write->cores[i];
        unreserve_op(core, &op);
        apply_op(write, core, &op);
        if (write->resolved)
            core->n_rows += (uint64_t)write->row_changes[i];
        core->last_lsn = write->record->lsn;
        core->version++;
        if (core->rows && core->n_reserved == 0)
            hti_cache_drop_spares(core->rows); /* of large rows that took the place of others */
    }
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

    hti_section_close(&store->section);
    for (struct hti_write *w = group; w && i < n_done; w = w->next, i++)
        apply(store, w);
    hti_section_open(&store->section);
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

/*
 * From three quarters of the memory on writers become slower, up to four times as slow as the last flush was, so that they
 * need not stop before it has ended. The flusher's rows are given back all at once, when the whole flush is done.
 */
static void slow_down(struct htstore *store, uint64_t size)
{
    const uint64_t limit = store->options.delta_bytes, slow_at = limit / 4 * 3;
    uint64_t ns;

    if (store->delta_bytes <= slow_at || store->flush_ns_per_kib == 0)
        return;
    ns = (size + 1023) / 1024 * store->flush_ns_per_kib;
    ns = (uint64_t)((double)ns * MAX_SLOWDOWN * (double)(store->delta_bytes - slow_at) / (double)(limit - slow_at));
    if (ns < MIN_PAUSE_NS)
        return;
    if (ns > MAX_PAUSE_NS)
        ns = MAX_PAUSE_NS;
    const struct timespec pause = { .tv_nsec = (long)ns };
    pthread_mutex_unlock(&store->write_mutex);
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&store->write_mutex);
}

/* Whether a put adds a row or replaces one is known only of tables in memory. With write_mutex: no mode changes then. */
static bool depends_on_contents(const struct hti_write *write)
{
    for (uint32_t i = 0; i < write->record->n_ops; i++)
        if (!write->cores[i]->resident)
            return true;
    return write->conditional;
}

/* A request whose outcome depends on the contents is resolved when all before it are applied and none is under way. */
static int take_turn(struct htstore *store, struct hti_write *write, struct htstore_error *error)
{
    while (!depends_on_contents(write)) {
        if (store->n_exclusive == 0 && !store->blocked)
            return 0;
        pthread_cond_wait(&store->write_changed, &store->write_mutex);
    }
    store->n_exclusive++;
    while (store->leading || store->queue || store->blocked)
        pthread_cond_wait(&store->write_changed, &store->write_mutex);
    store->n_exclusive--;
    pthread_cond_broadcast(&store->write_changed);
    return hti_resolve(store, write, error);
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
    int rc;

    if (write->durability == HTSTORE_DEFAULT_DURABILITY)
        write->durability = store->options.durability;
    pthread_mutex_lock(&store->write_mutex);
    slow_down(store, write->record->buf.size);
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
