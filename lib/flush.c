/* flush: hides the size and order of LMDB transactions, and what happens when one fails. */
#include "flush.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "flushrows.h"
#include "mem.h"
#include "run.h"

/*
 * LMDB spills at 131071, and there may be twice as many as are counted. Fewer are better, too: pages can be used again only two
 * transactions later, and LMDB keeps the list of dirty ones sorted by insertion. Each transaction costs two syncs.
 */
#define MAX_DIRTY_PAGES 20000u
#define TRIM_ROWS 30000u /* rows of a garbage database deleted in one transaction */
#define MIN_MEASURED ((uint64_t)1 << 20) /* bytes; a smaller flush says nothing of its speed */
#define RETRY_MS 100u /* between attempts after one that failed */
#define IDLE_MS 3600000u
#define REPLAYED_AGE_MS 1000u

/* A table within one transaction. */
struct target {
    struct hti_core *core;
    struct hti_flushrows rows;
    uint64_t old_database; /* replaced by a clear: becomes garbage */
    bool pin_kept; /* the pin of its database goes over to the table */
};

/* A flush under way: a sorted run, and how far it has come. One transaction is a step. */
struct flush {
    struct htstore *store;
    struct hti_run run;
    uint64_t lsn;
    uint32_t table; /* where the next step begins */
    size_t row;
    bool table_started; /* some of its rows, or its clear, are committed */

    struct hti_kv_write *write;
    struct target *targets;
    uint32_t n_targets, max_targets;
    struct hti_store_record record;
    struct hti_buf space; /* for a stored row */
    struct htstore_error *error;
};

static int no_memory(struct flush *f)
{
    return hti_fail(f->error, HTSTORE_ENOMEM, "no memory to flush");
}

/* --- the tables of a step. Their databases are opened, and made, before its transaction begins --- */

static int add_target(struct flush *f, const struct hti_run_table *table, bool started)
{
    struct target *t = &f->targets[f->n_targets];
    struct hti_totals_record *totals;
    int rc = 0;

    memset(t, 0, sizeof *t);
    t->core = table->core;
    t->rows = (struct hti_flushrows){
        .kv = f->store->kv, .run = &f->run, .table = table, .totals = table->core->totals, .space = &f->space
    };
    totals = &t->rows.totals;
    if (table->cleared && !started) {
        t->old_database = totals->database;
        *totals = (struct hti_totals_record){ .id = totals->id };
    }
    if (totals->database == 0 && table->end > table->begin)
        totals->database = f->record.next_id++;
    if (totals->database != 0)
        rc = hti_kv_acquire(f->store->kv, totals->database, true, f->error);
    if (rc == 0)
        f->n_targets++;
    return rc;
}

static int choose_targets(struct flush *f)
{
    int rc = 0;

    f->n_targets = 0;
    for (uint32_t t = f->table; rc == 0 && t < f->run.n_tables && f->n_targets < f->max_targets; t++)
        rc = add_target(f, &f->run.tables[t], t == f->table && f->table_started);
    return rc;
}

static void release_targets(struct flush *f)
{
    for (uint32_t i = 0; i < f->n_targets; i++)
        if (f->targets[i].rows.totals.database != 0 && !f->targets[i].pin_kept)
            hti_kv_release(f->store->kv, f->targets[i].rows.totals.database);
    f->n_targets = 0;
}

/* --- a step --- */

/* Apply rows of the targets until all are in or the transaction is large enough. *table and *row: how far it came. */
static int fill(struct flush *f, uint32_t *table, size_t *row)
{
    uint64_t pages = 0; /* of the targets before this one */
    int rc = 0;

    *table = f->table;
    *row = f->row;
    for (uint32_t i = 0; i < f->n_targets; i++) {
        struct target *t = &f->targets[i];
        const struct hti_run_table *source = &f->run.tables[f->table + i];
        size_t at = i == 0 && f->table_started ? f->row : source->begin;
        rc = hti_flushrows_begin(&t->rows, f->write, f->error);
        if (rc == 0 && pages < MAX_DIRTY_PAGES)
            rc = hti_flushrows_apply(&t->rows, f->write, &at, MAX_DIRTY_PAGES - pages, f->error);
        if (rc != 0)
            return rc;
        if (at < source->end) {
            *table = f->table + i;
            *row = at;
            return 0;
        }
        pages += hti_flushrows_pages(&t->rows);
    }
    *table = f->table + f->n_targets;
    return 0;
}

static int put_catalog(struct flush *f, uint32_t n_used, bool last)
{
    int rc;

    f->record.flushing = !last;
    if (last)
        f->record.applied_lsn = f->lsn;
    rc = hti_catalog_put_store(f->write, &f->record, f->error);
    for (uint32_t i = 0; rc == 0 && i < n_used; i++) {
        const struct target *t = &f->targets[i];
        const struct hti_garbage_record garbage = { .database = t->old_database };
        rc = hti_catalog_put_totals(f->write, &t->rows.totals, f->error);
        if (rc == 0 && t->old_database != 0)
            rc = hti_catalog_put_garbage(f->write, &garbage, f->error);
    }
    return rc;
}

/* With write_mutex and the section. A table that is read through LMDB keeps its database pinned. */
static void publish_target(struct htstore *store, struct target *t)
{
    struct hti_core *core = t->core;

    if (core->totals.database != t->rows.totals.database) {
        if (core->pinned)
            hti_kv_release(store->kv, core->totals.database);
        core->pinned = false;
    }
    pthread_mutex_lock(&store->objects_mutex);
    if (!core->pinned && !core->resident && core->n_handles > 0 && t->rows.totals.database != 0)
        core->pinned = t->pin_kept = true;
    pthread_mutex_unlock(&store->objects_mutex);
    core->totals = t->rows.totals;
}

/* What was committed becomes what lookups and resolvers go by. */
static void publish_step(struct flush *f, uint32_t n_used)
{
    struct htstore *store = f->store;

    pthread_mutex_lock(&store->write_mutex);
    hti_section_close(&store->section);
    store->record = f->record;
    for (uint32_t i = 0; i < n_used; i++)
        publish_target(store, &f->targets[i]);
    hti_section_open(&store->section);
    pthread_mutex_unlock(&store->write_mutex);
    for (uint32_t i = 0; i < n_used; i++)
        if (f->targets[i].old_database != 0)
            hti_garbage_add(store, f->targets[i].old_database); /* without memory, the next open collects it */
    atomic_fetch_add(&store->n_flush_transactions, 1);
}

static int commit_step(struct flush *f, uint32_t table, size_t row)
{
    const bool stopped_inside = table < f->table + f->n_targets;
    const uint32_t n_used = stopped_inside ? table - f->table + 1 : f->n_targets;
    int rc = put_catalog(f, n_used, table == f->run.n_tables);

    if (rc != 0)
        return rc;
    rc = hti_kv_commit(f->write, f->error);
    f->write = NULL;
    if (rc != 0)
        return rc;
    publish_step(f, n_used);
    f->table = table;
    f->row = row;
    f->table_started = stopped_inside;
    return 0;
}

static int try_step(struct flush *f)
{
    uint32_t table;
    size_t row;
    int rc;

    f->record = f->store->record;
    rc = choose_targets(f);
    if (rc == 0)
        rc = hti_kv_begin(f->store->kv, &f->write, f->error);
    if (rc == 0)
        rc = fill(f, &table, &row);
    if (rc == 0)
        rc = commit_step(f, table, row);
    hti_kv_abort(f->write);
    f->write = NULL;
    release_targets(f);
    return rc;
}

static int run_step(struct flush *f)
{
    int rc;

    while ((rc = try_step(f)) == HTI_KV_MAP_FULL) {
        rc = hti_kv_grow(f->store->kv, f->error);
        if (rc != 0)
            break;
    }
    return rc;
}

int hti_flush_records(struct htstore *store, const struct hti_record *list, uint64_t lsn, struct htstore_error *error)
{
    struct flush f = { .store = store, .lsn = lsn, .error = error };
    int rc;

    hti_buf_init(&f.space);
    f.max_targets = store->options.max_open_tables / 2;
    rc = hti_run_build(store, list, &f.run, error);
    if (rc != 0)
        return rc;
    f.targets = hti_mem_alloc_array(f.max_targets, sizeof *f.targets);
    if (!f.targets)
        rc = no_memory(&f);
    do {
        if (rc == 0)
            rc = run_step(&f);
    } while (rc == 0 && f.table < f.run.n_tables);
    hti_mem_free(f.targets);
    hti_buf_release(&f.space);
    hti_run_release(&f.run);
    return rc;
}

/* --- the delta --- */

/* With write_mutex, no leader at work and nothing queued: what is in memory is exactly what the delta's records made. */
static void freeze(struct htstore *store)
{
    store->frozen = store->delta;
    store->frozen_lsn = store->delta_lsn;
    store->delta = NULL;
    store->delta_end = &store->delta;
    store->delta_since_ms = 0;
    hti_section_close(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (struct hti_core *core = store->cores; core; core = core->next) {
        if (core->uncounted) /* the flush will count the rows up to here */
            core->n_rows = 0;
        if (core->resident || core->warming || (!core->rows && !core->rows_cleared))
            continue;
        assert(!core->frozen && core->n_reserved == 0);
        core->frozen = core->rows;
        core->frozen_cleared = core->rows_cleared;
        core->rows = NULL;
        core->rows_cleared = false;
    }
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_open(&store->section);
}

static void freeze_delta(struct htstore *store)
{
    pthread_mutex_lock(&store->write_mutex);
    store->n_exclusive++;
    while (store->leading || store->queue)
        pthread_cond_wait(&store->write_changed, &store->write_mutex);
    store->n_exclusive--;
    if (store->delta)
        freeze(store);
    pthread_cond_broadcast(&store->write_changed);
    pthread_mutex_unlock(&store->write_mutex);
}

/* What LMDB counts, and what has changed since. */
static void count_rows(struct hti_core *core)
{
    if (!core->uncounted)
        return;
    core->n_rows += core->totals.n_rows;
    core->uncounted = false;
}

static void forget_frozen_rows(struct htstore *store)
{
    hti_section_close(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (struct hti_core *core = store->cores; core; core = core->next) {
        hti_cache_free(core->frozen);
        core->frozen = NULL;
        core->frozen_cleared = false;
        count_rows(core);
    }
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_open(&store->section);
}

/* How fast the disk takes rows; small flushes would only tell how long a sync lasts. */
static void note_speed(struct htstore *store, uint64_t bytes, uint64_t ms)
{
    if (bytes >= MIN_MEASURED)
        store->flush_ns_per_kib = ms * 1000000 / (bytes >> 10);
}

/* All of it is in LMDB: memory for new batches. */
static void release_frozen(struct htstore *store, uint64_t since_ms)
{
    struct hti_record *list = store->frozen;
    uint64_t bytes = 0;

    pthread_mutex_lock(&store->write_mutex);
    forget_frozen_rows(store);
    atomic_store(&store->applied_lsn, store->frozen_lsn);
    store->frozen = NULL;
    store->replayed = false;
    for (const struct hti_record *record = list; record; record = record->next) {
        bytes += record->buf.size;
        store->delta_rows -= record->n_rows;
    }
    store->delta_bytes -= bytes;
    note_speed(store, bytes, hti_now_ms() - since_ms);
    pthread_cond_broadcast(&store->write_changed);
    pthread_mutex_unlock(&store->write_mutex);
    hti_record_free_list(list);
    atomic_fetch_add(&store->n_flushes, 1);
}

static void trim_cores(struct htstore *store)
{
    for (struct hti_core *core = store->cores; core; core = core->next)
        hti_core_trim(store, core);
}

/* The journal is synced first: rows in LMDB must be a prefix of what the journal proves, also between transactions. */
static int flush_frozen(struct htstore *store, struct htstore_error *error)
{
    const uint64_t since_ms = hti_now_ms();
    int rc = hti_journal_sync(store->journal, store->frozen_lsn, error);

    if (rc == 0)
        rc = hti_flush_records(store, store->frozen, store->frozen_lsn, error);
    if (rc != 0)
        return rc;
    release_frozen(store, since_ms);
    trim_cores(store);
    /* a segment that cannot be deleted now is tried again after the next flush */
    hti_journal_release(store->journal, atomic_load(&store->applied_lsn), NULL);
    return 0;
}

static void note_result(struct htstore *store, int rc, const struct htstore_error *error)
{
    if (rc == HTSTORE_EIO || rc == HTSTORE_ECORRUPT)
        hti_journal_poison(store->journal, error);
    pthread_mutex_lock(&store->write_mutex);
    store->flush_status = rc;
    if (rc != 0) {
        store->flush_error = *error;
        store->replayed = false; /* tried again as any other flush that failed */
    }
    pthread_cond_broadcast(&store->write_changed);
    pthread_mutex_unlock(&store->write_mutex);
}

int hti_flush_locked(struct htstore *store, struct htstore_error *error)
{
    const uint64_t wanted = atomic_load(&store->visible_lsn);
    struct htstore_error own;
    int rc;

    if (atomic_load(&store->applied_lsn) >= wanted)
        return 0; /* also when the store is poisoned: what is asked for is there */
    rc = hti_journal_poisoned(store->journal, &own);
    while (rc == 0 && atomic_load(&store->applied_lsn) < wanted) {
        if (!store->frozen)
            freeze_delta(store);
        rc = flush_frozen(store, &own);
    }
    note_result(store, rc, &own); /* also when poisoned: a writer may wait for room that no flush will make */
    if (rc != 0)
        hti_error_copy(error, &own);
    return rc;
}

static bool is_counted(struct htstore *store, const struct hti_core *only)
{
    bool counted = true;

    struct hti_section_line *line = hti_section_enter(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (const struct hti_core *core = only ? only : store->cores; core && counted; core = only ? NULL : core->next)
        counted = !core->uncounted;
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_leave(line);
    return counted;
}

int hti_flush_count(struct htstore *store, const struct hti_core *core, struct htstore_error *error)
{
    int rc;

    if (is_counted(store, core))
        return 0;
    pthread_mutex_lock(&store->flush_mutex);
    rc = is_counted(store, core) ? 0 : hti_flush_locked(store, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

int hti_flush_commit_record(struct htstore *store, struct htstore_error *error)
{
    struct hti_kv_write *write;
    int rc;

    do {
        rc = hti_kv_begin(store->kv, &write, error);
        if (rc != 0)
            return rc;
        rc = hti_catalog_put_store(write, &store->record, error);
        if (rc == 0) {
            rc = hti_kv_commit(write, error);
            write = NULL;
        }
        hti_kv_abort(write);
        if (rc == HTI_KV_MAP_FULL)
            rc = hti_kv_grow(store->kv, error) == 0 ? HTI_KV_MAP_FULL : HTSTORE_EBUSY;
    } while (rc == HTI_KV_MAP_FULL);
    return rc;
}

/* --- garbage --- */

static int collect_slice(struct htstore *store, uint64_t database, bool exists, bool *gone, struct htstore_error *error)
{
    struct hti_kv_write *write;
    bool left = false;
    int rc = hti_kv_begin(store->kv, &write, error);

    if (rc != 0)
        return rc;
    if (exists)
        rc = hti_kv_trim(write, database, TRIM_ROWS, &left, error);
    *gone = exists && !left;
    if (rc == 0 && *gone)
        rc = hti_kv_drop(write, database, error);
    *gone = *gone && rc == 0;
    if (rc == 0 && !left)
        rc = hti_catalog_remove(write, HTI_CATALOG_GARBAGE, database, error);
    if (rc == 0) {
        rc = hti_kv_commit(write, error);
        write = NULL;
    }
    hti_kv_abort(write);
    if (rc == 0 && !left)
        store->n_garbage--;
    return rc;
}

int hti_flush_collect(struct htstore *store, struct htstore_error *error)
{
    struct hti_kv_stats stats;
    uint64_t database;
    bool gone = false;
    int rc;

    if (store->n_garbage == 0 || hti_journal_poisoned(store->journal, NULL) != 0)
        return 1;
    hti_kv_stats(store->kv, &stats);
    database = store->garbage[store->n_garbage - 1];
    if (stats.slow_readers > 0 || hti_kv_is_pinned(store->kv, database))
        return 1; /* its pages could not be used again yet */
    rc = hti_kv_acquire(store->kv, database, false, error);
    if (rc < 0)
        return rc;
    const bool exists = rc == 0;
    rc = collect_slice(store, database, exists, &gone, error);
    if (exists && !gone)
        hti_kv_release(store->kv, database);
    if (rc == HTI_KV_MAP_FULL)
        rc = hti_kv_grow(store->kv, error);
    return rc;
}

/* --- the thread --- */

static atomic_bool held;

void hti_flush_test_hold(bool on)
{
    atomic_store(&held, on);
}

/* Who has opened the store opens its tables first, and would have to wait for the flush. */
static uint64_t replayed_due(const struct htstore *store)
{
    const uint32_t age = store->options.flush_age_ms;
    return store->delta_since_ms == 0 ? 0 : store->delta_since_ms + (age < REPLAYED_AGE_MS ? age : REPLAYED_AGE_MS);
}

static bool is_due(const struct htstore *store, uint64_t now)
{
    if (store->n_waiting > 0)
        return true;
    if (store->replayed)
        return now >= replayed_due(store) && !atomic_load(&held);
    if (store->delta_bytes >= HTI_FLUSH_AT(store->options.delta_bytes))
        return true;
    return store->delta_since_ms != 0 && now >= store->delta_since_ms + store->options.flush_age_ms;
}

static void report(struct htstore *store, int rc, int *last_rc, const struct htstore_error *error)
{
    if (rc < 0 && rc != *last_rc)
        hti_log(store, HTSTORE_LOG_ERROR, "flush", "%s", error->message);
    else if (rc >= 0 && *last_rc < 0)
        hti_log(store, HTSTORE_LOG_INFO, "flush", "flushing works again");
    *last_rc = rc < 0 ? rc : 0;
}

static void report_slow_reader(struct htstore *store, uint64_t *reported_ms)
{
    const uint64_t now = hti_now_ms(), age = hti_slow_age_ms(store);
    struct hti_kv_stats stats;

    if (!store->options.slow_reader || age < store->options.slow_reader_ms ||
        now - *reported_ms < store->options.slow_reader_ms)
        return;
    *reported_ms = now;
    hti_kv_stats(store->kv, &stats);
    const uint64_t last = hti_kv_last_id(store->kv);
    store->options.slow_reader(store->options.slow_reader_user, age,
                               stats.oldest_read_id < last ? last - stats.oldest_read_id : 0);
}

static int work_once(struct htstore *store, bool flush, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&store->flush_mutex);
    rc = flush ? hti_flush_locked(store, error) : hti_flush_collect(store, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

/* When to look again, if nothing wakes the thread before. */
static uint64_t next_look(const struct htstore *store, uint64_t now)
{
    uint64_t next = now + IDLE_MS;

    if (store->delta_since_ms != 0 && store->delta_since_ms + store->options.flush_age_ms < next)
        next = store->delta_since_ms + store->options.flush_age_ms;
    if (store->replayed && !atomic_load(&held) && replayed_due(store) < next)
        next = replayed_due(store);
    if (store->options.slow_reader && now + store->options.slow_reader_ms < next)
        next = now + store->options.slow_reader_ms;
    return next;
}

void *hti_flush_run(void *argument)
{
    struct htstore *store = argument;
    struct htstore_error error;
    uint64_t reported_ms = 0;
    bool collecting = true;
    int last_rc = 0;

    pthread_mutex_lock(&store->write_mutex);
    while (!store->stopping) {
        const uint64_t now = hti_now_ms();
        const bool flush = is_due(store, now);
        if (!flush && !collecting) {
            hti_wait_until(&store->work, &store->write_mutex, next_look(store, now));
            collecting = true;
            continue;
        }
        pthread_mutex_unlock(&store->write_mutex);
        const int rc = work_once(store, flush, &error);
        collecting = rc == 0;
        report(store, rc, &last_rc, &error);
        report_slow_reader(store, &reported_ms);
        pthread_mutex_lock(&store->write_mutex);
        if (rc < 0 && !store->stopping) /* a pause, whoever signals */
            for (const uint64_t until = hti_now_ms() + RETRY_MS; !store->stopping && hti_now_ms() < until;)
                hti_wait_until(&store->work, &store->write_mutex, until);
    }
    pthread_mutex_unlock(&store->write_mutex);
    return NULL;
}
