/* warm: hides how a walk over a table goes on after it was interrupted, and how it is proved that it missed nothing. */
#include "warm.h"

#include <string.h>
#include <time.h>

#include "budget.h"
#include "commit.h"
#include "mem.h"

#define SLICE_ROWS 65536u /* read with flush_mutex held */
#define STEP_ROWS 512u /* added with the section closed */
#define STEP_BYTES ((size_t)1 << 20)
#define PAUSE_NS 100000 /* between slices: who waits for flush_mutex gets it */

struct hti_warming {
    uint8_t key[HTI_STORED_KEY_MAX]; /* the last one that was read; stored form */
    size_t key_size; /* 0: none yet */
    struct hti_totals_record totals; /* when it began */
    struct hti_hash128 digest; /* of the rows read */
    bool has_room; /* for all rows that it had when it began */
    bool stopped; /* for want of memory */
};

int hti_warm_start(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    struct hti_warming *warming = hti_mem_zalloc(sizeof *warming);
    struct hti_cache *rows = core->rows;
    char label[HTI_CORE_LABEL_SIZE];
    int rc = warming ? 0 : HTSTORE_ENOMEM;

    if (rc == 0 && !rows) { /* else room is made beside readers, who need not wait until many rows have moved */
        rc = hti_cache_new(&core->type, HTI_CACHE_PARTIAL, &rows);
        rc = rc ? rc : hti_cache_reserve(rows, core->totals.n_rows, 0);
        if (rc == 0)
            warming->has_room = true;
    }
    if (rc != 0) {
        hti_mem_free(warming);
        if (rows != core->rows)
            hti_cache_free(rows);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to load %s", hti_core_label(core, label));
    }
    warming->totals = core->totals;
    hti_core_change_mode(store, core, rows, NULL, false);
    pthread_mutex_lock(&store->write_mutex);
    hti_section_close(&store->section);
    core->warming = warming;
    hti_section_open(&store->section);
    store->to_warm = true;
    pthread_cond_broadcast(&store->work);
    pthread_mutex_unlock(&store->write_mutex);
    return 0;
}

void hti_warm_wait(struct htstore *store, struct hti_core *core)
{
    pthread_mutex_lock(&store->write_mutex);
    while (core->warming && !core->warming->stopped && !core->damaged)
        pthread_cond_wait(&store->warmed, &store->write_mutex);
    pthread_mutex_unlock(&store->write_mutex);
}

/* --- a slice --- */

struct slice {
    struct htstore *store;
    struct hti_core *core;
    struct hti_kv_cursor *cursor;
    struct hti_row rows[STEP_ROWS]; /* in LMDB's pages, which stay for as long as the cursor is open */
    uint8_t keys[STEP_ROWS][8];
    unsigned n_rows;
    size_t bytes;
    struct htstore_error *error;
};

static int damaged(const struct hti_core *core, const char *what, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    return hti_fail(error, HTSTORE_ECORRUPT, "%s: %s", hti_core_label(core, label), what);
}

/* Rows up to the size of a step. 1: there are no more. */
static int read_step(struct slice *s, bool resume)
{
    struct hti_warming *w = s->core->warming;
    struct hti_kv_bytes key = { w->key, w->key_size }, value;
    struct hti_hash128 hash;
    int rc = 0;

    s->n_rows = 0;
    s->bytes = 0;
    while (s->n_rows < STEP_ROWS && s->bytes < STEP_BYTES) {
        rc = resume && w->key_size > 0 ? hti_kv_cursor_seek(s->cursor, key, &key, &value, s->error)
                                       : hti_kv_cursor_next(s->cursor, &key, &value, s->error);
        resume = false;
        if (rc != 0)
            break;
        if (hti_codec_load_row(&s->core->type, s->core->record.id, key.data, key.size, value.data, value.size,
                               s->keys[s->n_rows], &s->rows[s->n_rows], &hash) != 0)
            return damaged(s->core, "a row is damaged: its checksum differs", s->error);
        hti_digest_add(&w->digest, hash);
        s->bytes += key.size + value.size;
        s->n_rows++;
    }
    if (s->n_rows > 0 && rc >= 0) {
        /* `key` is that of the last row: a failed call leaves it alone */
        memcpy(w->key, key.data, key.size);
        w->key_size = key.size;
    }
    return rc;
}

static int make_room(struct slice *s)
{
    struct hti_core *core = s->core;
    struct hti_cache_growth *growth;
    const uint64_t n = core->warming->has_room ? s->n_rows : core->warming->totals.n_rows;
    uint64_t bytes = core->bytes_reserved;
    int rc;

    for (unsigned i = 0; i < s->n_rows; i++)
        bytes += hti_cache_row_bytes(core->rows, s->rows[i].key_size, s->rows[i].value_size);
    rc = hti_cache_grow(core->rows, core->n_reserved + n, bytes, &growth);
    core->warming->has_room = core->warming->has_room || rc == 0;
    for (unsigned i = 0; rc == 0 && hti_cache_uses_heap(core->rows) && i < s->n_rows; i++)
        if (hti_cache_row_is_large(core->rows, s->rows[i].key_size, s->rows[i].value_size))
            rc = hti_cache_reserve_large(core->rows, s->rows[i].key_size, s->rows[i].value_size);
    if (growth) {
        hti_section_close(&s->store->section);
        hti_cache_switch(core->rows, growth);
        hti_section_open(&s->store->section);
        hti_cache_growth_free(growth);
    }
    return rc;
}

/* 1: the table was cleared, what LMDB has does not count any more. */
static int add_step(struct slice *s)
{
    struct htstore *store = s->store;
    int rc;

    pthread_mutex_lock(&store->write_mutex);
    rc = s->core->rows_cleared ? 1 : make_room(s);
    if (rc == 0) {
        hti_section_close(&store->section);
        for (unsigned i = 0; i < s->n_rows; i++)
            hti_cache_add(s->core->rows, &s->rows[i]);
        hti_section_open(&store->section);
    }
    pthread_mutex_unlock(&store->write_mutex);
    return rc < 0 ? hti_fail(s->error, rc, "no memory to load a table") : rc;
}

/* 0: there is more; 1: that was all. */
static int add_slice(struct slice *s)
{
    bool resume = true;
    int rc = 0, added = 0;

    for (unsigned n = 0; n < SLICE_ROWS && rc == 0 && added == 0; n += s->n_rows) {
        rc = read_step(s, resume);
        resume = false;
        if (rc >= 0 && s->n_rows > 0)
            added = add_step(s);
    }
    return added != 0 ? added : rc;
}

/* The section is closed with a read transaction open: nobody replaces the map or closes a database without flush_mutex. */
static int warm_slice(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    struct slice *s = hti_mem_zalloc(sizeof *s);
    struct hti_kv_read *read;
    int rc;

    if (!s)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to load a table");
    s->store = store;
    s->core = core;
    s->error = error;
    rc = hti_kv_read_begin(store->kv, false, &read, error);
    if (rc == 0) {
        rc = hti_kv_cursor_open(read, core->totals.database, &s->cursor, error);
        if (rc == 0)
            rc = add_slice(s);
        hti_kv_cursor_close(s->cursor);
        hti_kv_read_end(read);
    }
    hti_mem_free(s);
    return rc;
}

/* --- the end --- */

static bool same_totals(const struct hti_totals_record *a, const struct hti_totals_record *b)
{
    return a->database == b->database && a->n_rows == b->n_rows && a->digest.low == b->digest.low &&
           a->digest.high == b->digest.high;
}

/*
 * LMDB may lose rows without a word when a page is damaged. The count must be right whatever was written meanwhile, if it is known;
 * the digest can be compared if no flush has changed it.
 */
static int check_all(const struct hti_core *core, struct htstore_error *error)
{
    const struct hti_warming *w = core->warming;

    if (!core->uncounted && hti_cache_present(core->rows) != core->n_rows)
        return damaged(core, "rows are missing or too many: the count differs from the catalogue's", error);
    if (!core->rows_cleared && same_totals(&w->totals, &core->totals) &&
        (w->digest.low != w->totals.digest.low || w->digest.high != w->totals.digest.high))
        return damaged(core, "rows were lost or altered: the digest differs from the catalogue's", error);
    return 0;
}

/* Nobody writes: what is queued was reserved for a table in the other mode. */
static int finish(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    int rc;

    hti_commit_block(store);
    rc = check_all(core, error);
    if (rc == 0) {
        pthread_mutex_lock(&store->write_mutex);
        hti_section_close(&store->section);
        hti_cache_complete(core->rows);
        core->n_rows = hti_cache_present(core->rows);
        core->uncounted = false;
        hti_section_open(&store->section);
        pthread_mutex_unlock(&store->write_mutex);
        hti_core_change_mode(store, core, core->rows, NULL, true);
    }
    hti_commit_unblock(store);
    return rc;
}

/* From now on the table answers with an error, and the store takes no more writes. */
static void give_up(struct htstore *store, struct hti_core *core, const struct htstore_error *error)
{
    hti_log(store, HTSTORE_LOG_ERROR, "warm", "%s", error->message);
    hti_journal_poison(store->journal, error);
    pthread_mutex_lock(&store->write_mutex);
    hti_section_close(&store->section);
    core->damaged = true;
    hti_section_open(&store->section);
    pthread_cond_broadcast(&store->warmed);
    pthread_mutex_unlock(&store->write_mutex);
}

/* Without memory it keeps what little it may; if even that is not possible now, it stays as it is and asks LMDB. */
static void stop_early(struct htstore *store, struct hti_core *core, const struct htstore_error *error)
{
    hti_log(store, HTSTORE_LOG_ERROR, "warm", "%s", error->message);
    pthread_mutex_lock(&store->write_mutex);
    core->warming->stopped = true;
    pthread_cond_broadcast(&store->warmed);
    pthread_mutex_unlock(&store->write_mutex);
    hti_budget_bound(store, core, 0);
}

static struct hti_core *next_to_warm(struct htstore *store)
{
    struct hti_core *core = store->cores;

    while (core && (!core->warming || core->warming->stopped || core->damaged))
        core = core->next;
    return core;
}

/* With flush_mutex. 1: nothing to do. */
static int warm_once(struct htstore *store)
{
    struct hti_core *core = next_to_warm(store);
    struct htstore_error error;
    int rc;

    if (!core)
        return 1;
    rc = warm_slice(store, core, &error);
    if (rc == 1)
        rc = finish(store, core, &error);
    if (rc == HTSTORE_ENOMEM || rc == HTSTORE_EBUSY)
        stop_early(store, core, &error);
    else if (rc < 0)
        give_up(store, core, &error);
    return 0;
}

static void work(struct htstore *store, bool balance)
{
    const struct timespec pause = { .tv_nsec = PAUSE_NS };
    bool more = true;

    while (more) {
        pthread_mutex_lock(&store->flush_mutex);
        if (balance)
            hti_budget_balance(store);
        balance = false;
        more = warm_once(store) == 0;
        pthread_mutex_unlock(&store->flush_mutex);
        if (more)
            nanosleep(&pause, NULL);
        pthread_mutex_lock(&store->write_mutex);
        more = more && !store->stopping;
        pthread_mutex_unlock(&store->write_mutex);
    }
}

void *hti_warm_run(void *argument)
{
    struct htstore *store = argument;

    pthread_mutex_lock(&store->write_mutex);
    while (!store->stopping) {
        const bool balance = store->over_budget, warm = store->to_warm;
        if (!balance && !warm) {
            hti_wait_until(&store->work, &store->write_mutex, hti_now_ms() + 3600000u);
            continue;
        }
        store->over_budget = store->to_warm = false;
        pthread_mutex_unlock(&store->write_mutex);
        work(store, balance);
        pthread_mutex_lock(&store->write_mutex);
    }
    pthread_mutex_unlock(&store->write_mutex);
    return NULL;
}
