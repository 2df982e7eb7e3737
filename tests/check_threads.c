/* check_threads: many threads on one store: visibility, races for one key, one instant of exports, shared syncs. */
#include "api_util.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define N_READERS 3
#define N_WRITERS 3
#define N_KEYS 64
#define MAX_THREADS 16

/* ---- threads that report the line of their first wrong observation ---- */

static _Atomic int wrong_line, wrong_result, n_writing;

static void note(int line, int result)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&wrong_line, &none, line))
        atomic_store(&wrong_result, result);
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            note(__LINE__, 0);                                                                                         \
    } while (0)
#define DONE(call) expect_done(__LINE__, (call))

static void expect_done(int line, int result)
{
    if (result != 0)
        note(line, result);
}

struct worker {
    pthread_t thread;
    int number;
    void (*run)(struct worker *worker);
    bool writer; /* readers go on until all writers are done */
    struct htstore_arena *arena;
};

static struct worker workers[MAX_THREADS];
static int n_workers;

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    if (worker->writer) {
        worker->run(worker);
        atomic_fetch_sub(&n_writing, 1);
        return NULL;
    }
    do {
        worker->run(worker);
        htstore_arena_reset(worker->arena);
    } while (atomic_load(&n_writing) > 0 && !atomic_load(&wrong_line));
    return NULL;
}

static void add_workers(int n, bool writer, void (*run)(struct worker *worker))
{
    for (int i = 0; i < n; i++) {
        struct worker *worker = &workers[n_workers++];
        *worker = (struct worker){ .number = i, .run = run, .writer = writer };
        OK(htstore_arena_new(&worker->arena, &api.error));
    }
}

static void run_workers(void)
{
    atomic_store(&n_writing, 0);
    for (int i = 0; i < n_workers; i++)
        atomic_fetch_add(&n_writing, workers[i].writer);
    for (int i = 0; i < n_workers; i++)
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    for (int i = 0; i < n_workers; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        htstore_arena_free(workers[i].arena);
    }
    n_workers = 0;
    ck_assert_msg(!wrong_line, "line %d of a thread, result %d", wrong_line, wrong_result);
}

static void setup(void)
{
    api_setup();
    n_workers = 0;
    atomic_store(&wrong_line, 0);
    atomic_store(&wrong_result, 0);
    api.options.durability = HTSTORE_LAZY;
    api.options.delta_bytes = 256u << 10;
    api.options.segment_bytes = 256u << 10;
}

static void use_little_memory(void)
{
    api.options.flags |= HTSTORE_NO_PRELOAD;
    api.options.cache_bytes = 4096;
}

/* ---- arrays on the stack of a thread ---- */

static struct htstore_array vector(int64_t *elements, size_t n)
{
    return htstore_vector(HTSTORE_INT64, elements, n);
}

static int put(struct htstore_table *table, const int64_t *keys, const int64_t *values, size_t n, uint32_t flags)
{
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n), v = htstore_vector(HTSTORE_INT64, values, n);
    return htstore_table_insert(table, &k, &v, flags, NULL);
}

static int get(struct htstore_table *table, const int64_t *keys, int64_t *values, size_t n)
{
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n), v = vector(values, n);
    return htstore_table_lookup(table, &k, NULL, &v, NULL, NULL);
}

static void fill(int64_t *elements, size_t n, int64_t first, int64_t add)
{
    for (size_t i = 0; i < n; i++)
        elements[i] = first + (int64_t)i * add;
}

static void open_numbers(const char *default_value)
{
    api_open_store();
    api_begin_table("numbers", HTSTORE_INT64, HTSTORE_INT64, default_value);
}

/* ---- a batch is visible entirely or not at all ---- */

/* All keys get one number; the next batch has a higher one of this writer. */
static void write_equal_values(struct worker *worker)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    fill(keys, N_KEYS, 0, 1);
    for (int64_t i = 1; i <= 800; i++) {
        fill(values, N_KEYS, i * N_WRITERS + worker->number, 0);
        DONE(put(api.table, keys, values, N_KEYS, i % 50 ? 0 : HTSTORE_SYNC));
        int64_t seen[2], ends[2] = { 0, N_KEYS - 1 };
        DONE(get(api.table, ends, seen, 2));
        EXPECT(seen[0] == seen[1] && seen[0] != -1);
    }
}

static void read_equal_values(struct worker *worker)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    fill(keys, N_KEYS, worker->number % 2 ? N_KEYS - 1 : 0, worker->number % 2 ? -1 : 1);
    DONE(get(api.table, keys, values, N_KEYS));
    for (size_t i = 1; i < N_KEYS; i++)
        EXPECT(values[i] == values[0]);
}

START_TEST(a_lookup_never_sees_part_of_a_batch)
{
    if (_i)
        use_little_memory();
    open_numbers("-1");
    add_workers(N_WRITERS, true, write_equal_values);
    add_workers(N_READERS, false, read_equal_values);
    run_workers();
    SIZE_IS(N_KEYS);
}
END_TEST

/* Replaces everything in one step: there are always N_KEYS rows of one number, under changing keys. */
static void write_whole_contents(struct worker *worker)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    struct htstore_array k = vector(keys, N_KEYS), v = vector(values, N_KEYS);
    for (int64_t i = 1; i <= 1500; i++) {
        fill(keys, N_KEYS, i % 7, 1);
        fill(values, N_KEYS, i * N_WRITERS + worker->number, 0);
        if (i % 2) {
            DONE(htstore_table_import(api.table, &k, &v, 0, NULL));
            continue;
        }
        struct htstore_batch *batch;
        DONE(htstore_batch_new(api.store, &batch, NULL));
        DONE(htstore_batch_clear(batch, api.table, NULL));
        DONE(htstore_batch_insert(batch, api.table, &k, &v, NULL));
        DONE(htstore_batch_commit(batch, 0, NULL));
        htstore_batch_free(batch);
    }
}

static void read_whole_contents(struct worker *worker)
{
    int64_t keys[N_KEYS + 7], values[N_KEYS + 7], number = -1;
    size_t n = 0;
    uint64_t size = 0;
    fill(keys, N_KEYS + 7, 0, 1);
    DONE(get(api.table, keys, values, N_KEYS + 7));
    for (size_t i = 0; i < N_KEYS + 7; i++) {
        if (values[i] == -1)
            continue;
        EXPECT(number == -1 || number == values[i]);
        number = values[i];
        n++;
    }
    EXPECT(n == N_KEYS);
    DONE(htstore_table_size(api.table, &size, NULL));
    EXPECT(size == N_KEYS);
    if (worker->number == 0 && values[N_KEYS / 2] % 8 == 0) {
        struct htstore_array k, v;
        DONE(htstore_table_export(api.table, worker->arena, &k, &v, NULL));
        EXPECT(k.shape[0] == N_KEYS);
        for (int64_t i = 1; i < k.shape[0]; i++)
            EXPECT(((const int64_t *)v.data)[i] == ((const int64_t *)v.data)[0]);
    }
}

START_TEST(contents_are_replaced_in_one_step)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    open_numbers("-1");
    fill(keys, N_KEYS, 0, 1);
    fill(values, N_KEYS, 1, 0);
    OK(put(api.table, keys, values, N_KEYS, 0));
    add_workers(2, true, write_whole_contents);
    add_workers(N_READERS, false, read_whole_contents);
    run_workers();
}
END_TEST

/* Rows of several elements are never mixed. */
static void write_wide_rows(struct worker *worker)
{
    int64_t key = 5, row[8];
    struct htstore_array k = vector(&key, 1), v = htstore_matrix(HTSTORE_INT64, row, 1, 8);
    for (int64_t i = 0; i < 4000; i++) {
        fill(row, 8, i * N_WRITERS + worker->number, 0);
        DONE(htstore_table_insert(api.table, &k, &v, 0, NULL));
        if (i % 100 == 99)
            DONE(htstore_table_remove(api.table, &k, NULL, 0, NULL));
    }
}

static void read_wide_rows(struct worker *worker)
{
    int64_t key = 5, row[8];
    struct htstore_array k = vector(&key, 1), v = htstore_matrix(HTSTORE_INT64, row, 1, 8);
    (void)worker;
    DONE(htstore_table_lookup(api.table, &k, NULL, &v, NULL, NULL));
    for (size_t i = 1; i < 8; i++)
        EXPECT(row[i] == row[0]);
}

START_TEST(rows_are_never_mixed)
{
    open_numbers("[-1 -1 -1 -1 -1 -1 -1 -1]");
    add_workers(N_WRITERS, true, write_wide_rows);
    add_workers(N_READERS, false, read_wide_rows);
    run_workers();
}
END_TEST

/* ---- order: what a thread has seen stays, and is newer later ---- */

static _Atomic int64_t acknowledged;

static void write_growing_number(struct worker *worker)
{
    int64_t key = 1;
    (void)worker;
    for (int64_t i = 1; i <= 10000; i++) {
        DONE(put(api.table, &key, &i, 1, i % 500 ? 0 : HTSTORE_SYNC));
        atomic_store(&acknowledged, i);
    }
}

static void read_growing_number(struct worker *worker)
{
    int64_t key = 1, last = -1, value;
    (void)worker;
    for (int i = 0; i < 1000; i++) {
        int64_t known = atomic_load(&acknowledged);
        DONE(get(api.table, &key, &value, 1));
        EXPECT(value >= known && value >= last);
        last = value;
    }
}

START_TEST(lookups_never_go_back)
{
    open_numbers("-1");
    atomic_store(&acknowledged, 0);
    int64_t key = 1, zero = 0;
    OK(put(api.table, &key, &zero, 1, 0));
    add_workers(1, true, write_growing_number);
    add_workers(N_READERS, false, read_growing_number);
    run_workers();
}
END_TEST

/* ---- races for one key ---- */

#define N_RACES 1500
#define RACE_BATCH 25
static uint8_t won[MAX_THREADS][N_RACES];
static int64_t told[MAX_THREADS][N_RACES];

static void race_insert_new(struct worker *worker)
{
    int64_t keys[RACE_BATCH], values[RACE_BATCH];
    struct htstore_array k = vector(keys, RACE_BATCH), v = vector(values, RACE_BATCH);
    fill(values, RACE_BATCH, worker->number, 0);
    for (int64_t at = 0; at < N_RACES; at += RACE_BATCH) {
        fill(keys, RACE_BATCH, at, 1);
        DONE(htstore_table_insert_new(api.table, &k, &v, won[worker->number] + at, 0, NULL));
    }
}

START_TEST(of_threads_that_insert_a_new_key_one_wins)
{
    open_numbers("-1");
    memset(won, 7, sizeof won);
    add_workers(4, true, race_insert_new);
    run_workers();
    SIZE_IS(N_RACES);
    for (int64_t key = 0; key < N_RACES; key++) {
        int64_t value = -1;
        OK(get(api.table, &key, &value, 1));
        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(won[i][key], value == i);
    }
}
END_TEST

static void race_find_or_insert(struct worker *worker)
{
    int64_t keys[RACE_BATCH], candidates[RACE_BATCH];
    struct htstore_array k = vector(keys, RACE_BATCH), c = vector(candidates, RACE_BATCH);
    fill(candidates, RACE_BATCH, worker->number, 0);
    for (int64_t at = 0; at < N_RACES; at += RACE_BATCH) {
        struct htstore_array out = vector(told[worker->number] + at, RACE_BATCH);
        fill(keys, RACE_BATCH, at, 1);
        DONE(htstore_table_find_or_insert(api.table, &k, &c, &out, won[worker->number] + at, 0, NULL));
    }
}

START_TEST(threads_that_find_or_insert_agree_on_the_row)
{
    open_numbers("-1");
    add_workers(4, true, race_find_or_insert);
    run_workers();
    SIZE_IS(N_RACES);
    for (int64_t key = 0; key < N_RACES; key++) {
        int n_inserted = 0;
        int64_t value = -1;
        OK(get(api.table, &key, &value, 1));
        for (int i = 0; i < 4; i++) {
            n_inserted += won[i][key] == 0;
            ck_assert_int_eq(told[i][key], value);
            ck_assert_int_eq(won[i][key], value != i);
        }
        ck_assert_int_eq(n_inserted, 1);
    }
}
END_TEST

/* ---- names and handles ---- */

static uint64_t ids[MAX_THREADS][20];

static void make_the_same_tables(struct worker *worker)
{
    int64_t minus_one = -1, key = worker->number;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    schema.default_value = htstore_scalar(HTSTORE_INT64, &minus_one);
    for (int i = 0; i < 20; i++) {
        char name[32];
        struct htstore_table *table;
        (void)snprintf(name, sizeof name, "table%d", (i + worker->number * 5) % 20);
        int result = htstore_table_get_or_create(api.store, name, &schema, &table, NULL);
        DONE(result);
        if (result != 0)
            return;
        ids[worker->number][(i + worker->number * 5) % 20] = htstore_table_id(table);
        DONE(put(table, &key, &key, 1, 0));
        DONE(htstore_table_close(table, NULL));
    }
}

START_TEST(concurrent_get_or_create_makes_one_table)
{
    api_open_store();
    add_workers(4, true, make_the_same_tables);
    run_workers();
    ck_assert_uint_eq(api_stats().n_tables, 20);
    for (int i = 0; i < 20; i++) {
        char name[32];
        ck_assert_uint_ge(ids[0][i], 1);
        for (int j = 1; j < 4; j++)
            ck_assert_uint_eq(ids[j][i], ids[0][i]);
        (void)snprintf(name, sizeof name, "table%d", i);
        OK(htstore_table_open(api.store, name, NULL, &api.table, &api.error));
        EXPORT_IS("[0 1 2 3]", "[0 1 2 3]");
        OK(htstore_table_close(api.table, &api.error));
    }
    api.table = NULL;
}
END_TEST

static void come_and_go(struct worker *worker)
{
    int64_t minus_one = -1, key = worker->number, value;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64, .flags = HTSTORE_ANONYMOUS };
    schema.default_value = htstore_scalar(HTSTORE_INT64, &minus_one);
    for (int64_t i = 0; i < 60; i++) {
        struct htstore_table *table;
        int result = i % 5 ? htstore_table_open(api.store, "numbers", NULL, &table, NULL)
                           : htstore_table_create(api.store, NULL, &schema, &table, NULL);
        DONE(result);
        if (result != 0)
            return;
        DONE(put(table, &key, &i, 1, 0));
        DONE(get(table, &key, &value, 1));
        EXPECT(value == i);
        DONE(htstore_table_close(table, NULL));
    }
}

static void look_around(struct worker *worker)
{
    struct htstore_stats stats = { .size = sizeof stats };
    const struct htstore_object *objects;
    uint64_t n = 0;
    DONE(htstore_stats(api.store, &stats, NULL));
    EXPECT(stats.visible_lsn >= stats.durable_lsn && stats.visible_lsn >= stats.applied_lsn);
    DONE(htstore_list(api.store, worker->arena, &objects, &n, NULL));
    EXPECT(n == 1);
}

START_TEST(handles_come_and_go_in_many_threads)
{
    open_numbers("-1");
    add_workers(N_WRITERS, true, come_and_go);
    add_workers(1, false, look_around);
    run_workers();
    ck_assert_uint_eq(api_stats().n_tables, 1);
    EXPORT_IS("[0 1 2]", "[59 59 59]");
}
END_TEST

/* The table is emptied, flushed and filled, while others open it: an empty table may move into memory then. */
static void empty_and_fill(struct worker *worker)
{
    int64_t keys[40], values[40], seen[40];
    struct htstore_array k = vector(keys, 40);
    (void)worker;
    fill(keys, 40, 0, 3);
    for (int64_t i = 0; i < 100; i++) {
        if (i % 2)
            DONE(htstore_table_clear(api.table, 0, NULL));
        else
            DONE(htstore_table_remove(api.table, &k, NULL, 0, NULL));
        if (i % 3)
            DONE(htstore_flush(api.store, NULL));
        DONE(get(api.table, keys, seen, 40));
        EXPECT(seen[0] == -1 && seen[39] == -1);
        fill(values, 40, i, 1);
        DONE(put(api.table, keys, values, 40, 0));
        DONE(get(api.table, keys, seen, 40));
        EXPECT(memcmp(values, seen, sizeof seen) == 0);
    }
}

static void open_and_look(struct worker *worker)
{
    int64_t keys[40], seen[40];
    struct htstore_table *table;
    uint64_t size = 0;
    (void)worker;
    fill(keys, 40, 0, 3);
    int result = htstore_table_open(api.store, "numbers", NULL, &table, NULL);
    DONE(result);
    if (result != 0)
        return;
    DONE(get(table, keys, seen, 40));
    for (int64_t i = 1; i < 40; i++)
        EXPECT(seen[i] == (seen[0] == -1 ? -1 : seen[0] + i));
    DONE(htstore_table_size(table, &size, NULL));
    EXPECT(size == 0 || size == 40);
    DONE(htstore_table_close(table, NULL));
}

START_TEST(tables_may_move_into_memory_while_they_are_written)
{
    open_numbers("-1");
    INSERT("[0 3]", "[1 2]");
    api.options.flags |= HTSTORE_NO_PRELOAD;
    for (int i = 0; i < 5; i++) {
        int64_t keys[40], values[40];
        fill(keys, 40, 0, 3);
        fill(values, 40, 7, 1);
        OK(put(api.table, keys, values, 40, 0));
        api_reopen();
        add_workers(1, true, empty_and_fill);
        add_workers(N_READERS, false, open_and_look);
        run_workers();
        SIZE_IS(40);
        GET_IS("[0 3 117]", "[99 100 138]");
    }
}
END_TEST

/* No handle lasts: a table may leave memory while another thread opens it. */
static void visit(struct worker *worker)
{
    int64_t keys[10], values[10], seen[10];
    fill(keys, 10, worker->number * 100, 1);
    for (int64_t i = 0; i < 150; i++) {
        struct htstore_table *table;
        int result = htstore_table_open(api.store, "numbers", NULL, &table, NULL);
        DONE(result);
        if (result != 0)
            return;
        if (i > 0) {
            DONE(get(table, keys, seen, 10));
            EXPECT(memcmp(values, seen, sizeof seen) == 0);
        }
        fill(values, 10, i, 1);
        DONE(put(table, keys, values, 10, 0));
        DONE(htstore_table_close(table, NULL));
    }
}

static void flush_only(struct worker *worker)
{
    (void)worker;
    DONE(htstore_flush(api.store, NULL));
}

START_TEST(rows_stay_while_no_handle_lasts)
{
    if (_i)
        use_little_memory();
    open_numbers("-1");
    OK(htstore_table_close(api.table, &api.error));
    api.table = NULL;
    add_workers(N_WRITERS, true, visit);
    add_workers(1, false, flush_only);
    run_workers();
    OK(htstore_table_open(api.store, "numbers", NULL, &api.table, &api.error));
    SIZE_IS(10 * N_WRITERS);
    GET_IS("[0 9 100 209]", "[149 158 149 158]");
}
END_TEST

/* Names are made, filled and dropped by all: every result is one of those that the state of the name explains. */
static void make_and_drop(struct worker *worker)
{
    int64_t minus_one = -1, key = worker->number, value;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    schema.default_value = htstore_scalar(HTSTORE_INT64, &minus_one);
    for (int64_t i = 0; i < 60; i++) {
        struct htstore_table *table;
        const char *name = i % 2 ? "a" : "b";
        int result = i % 3 ? htstore_table_get_or_create(api.store, name, &schema, &table, NULL)
                           : htstore_table_create(api.store, name, &schema, &table, NULL);
        EXPECT(result == 0 || (i % 3 == 0 && result == HTSTORE_EEXIST));
        if (result == 0) {
            DONE(put(table, &key, &i, 1, 0));
            DONE(get(table, &key, &value, 1));
            EXPECT(value == i);
            DONE(htstore_table_close(table, NULL));
        }
        result = htstore_table_drop(api.store, name, NULL);
        EXPECT(result == 0 || result == HTSTORE_EBUSY || result == HTSTORE_ENOTFOUND);
    }
}

START_TEST(names_are_made_and_dropped_in_many_threads)
{
    api_open_store();
    add_workers(N_WRITERS, true, make_and_drop);
    add_workers(1, false, flush_only);
    run_workers();
    ck_assert_uint_le(api_stats().n_tables, 2);
    (void)htstore_table_drop(api.store, "a", NULL);
    (void)htstore_table_drop(api.store, "b", NULL);
    ck_assert_uint_eq(api_stats().n_tables, 0);
    ck_assert_uint_eq(api_stats().n_rows, 0);
    api_reopen();
    ck_assert_uint_eq(api_stats().n_tables, 0);
}
END_TEST

/* ---- exports at one instant ---- */

#define N_ACCOUNTS 50
#define MONEY 1000
static struct htstore_table *accounts[2];

/* Moves money between accounts of a table, in both tables by one batch: sums stay. Each writer has its own accounts. */
static void transfer(struct worker *worker)
{
    int64_t balance[2], keys[2] = { worker->number * 2, worker->number * 2 + 1 };
    fill(balance, 2, MONEY, 0);
    for (int64_t i = 0; i < 1500; i++) {
        struct htstore_batch *batch;
        struct htstore_array k = vector(keys, 2), v = vector(balance, 2);
        int64_t amount = (i * 37 + worker->number) % 90;
        balance[0] += i % 2 ? amount : -amount;
        balance[1] = 2 * MONEY - balance[0];
        DONE(htstore_batch_new(api.store, &batch, NULL));
        DONE(htstore_batch_insert(batch, accounts[0], &k, &v, NULL));
        DONE(htstore_batch_insert(batch, accounts[1], &k, &v, NULL));
        DONE(htstore_batch_commit(batch, 0, NULL));
        htstore_batch_free(batch);
        if (i % 100 == 0)
            DONE(htstore_flush(api.store, NULL));
    }
}

static void audit(struct worker *worker)
{
    struct htstore_cursor *cursor;
    struct htstore_array k, v;
    int64_t sum = 0;
    uint64_t n = 0;
    int result = htstore_cursor_open(accounts[worker->number % 2], &cursor, NULL);
    DONE(result);
    if (result != 0)
        return;
    EXPECT(htstore_cursor_count(cursor) == N_ACCOUNTS);
    while ((result = htstore_cursor_next(cursor, 7, worker->arena, &k, &v, NULL)) == 0)
        for (int64_t i = 0; i < k.shape[0]; i++, n++)
            sum += ((const int64_t *)v.data)[i];
    EXPECT(result == 1 && n == N_ACCOUNTS && sum == N_ACCOUNTS * MONEY);
    htstore_cursor_close(cursor);
}

START_TEST(exports_keep_sums_that_batches_keep)
{
    int64_t keys[N_ACCOUNTS], values[N_ACCOUNTS];
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    api_open_store();
    OK(htstore_table_create(api.store, "a", &schema, &accounts[0], &api.error));
    OK(htstore_table_create(api.store, "b", &schema, &accounts[1], &api.error));
    fill(keys, N_ACCOUNTS, 0, 1);
    fill(values, N_ACCOUNTS, MONEY, 0);
    OK(put(accounts[0], keys, values, N_ACCOUNTS, 0));
    OK(put(accounts[1], keys, values, N_ACCOUNTS, 0));
    add_workers(N_WRITERS, true, transfer);
    add_workers(2, false, audit);
    run_workers();
    ck_assert_str_eq(api_dump(accounts[0]), api_dump(accounts[1]));
    OK(htstore_table_close(accounts[0], &api.error));
    OK(htstore_table_close(accounts[1], &api.error));
}
END_TEST

/* ---- durable writers, and everything at once ---- */

static void write_durably(struct worker *worker)
{
    for (int64_t i = 0; i < 150; i++) {
        struct htstore_stats before = { .size = sizeof before }, after = { .size = sizeof after };
        int64_t key = worker->number * 1000 + i;
        DONE(htstore_stats(api.store, &before, NULL));
        DONE(put(api.table, &key, &i, 1, HTSTORE_SYNC));
        DONE(htstore_stats(api.store, &after, NULL));
        EXPECT(after.durable_lsn > before.durable_lsn);
    }
}

START_TEST(durable_writers_lose_nothing)
{
    open_numbers("-1");
    struct htstore_stats before = api_stats();
    add_workers(4, true, write_durably);
    run_workers();
    struct htstore_stats after = api_stats();
    ck_assert_uint_eq(after.batches - before.batches, 600);
    ck_assert_uint_eq(after.durable_lsn, after.visible_lsn);
    ck_assert_uint_ge(after.syncs, 1);
    SIZE_IS(600);
    api_reopen();
    SIZE_IS(600);
    GET_IS("[0 1 1149 2000 3149 3150]", "[0 1 149 0 149 -1]");
}
END_TEST

/* Rows of this thread alone: what it wrote it sees, flushed or not. */
static void write_own_rows(struct worker *worker)
{
    int64_t keys[40], values[40], seen[40];
    struct htstore_array k = vector(keys, 40);
    fill(keys, 40, worker->number * INT64_C(1000000), 13);
    for (int64_t i = 0; i < 400; i++) {
        fill(values, 40, i, 1);
        DONE(put(api.table, keys, values, 40, (uint32_t)(i % 4)));
        DONE(get(api.table, keys, seen, 40));
        EXPECT(memcmp(values, seen, sizeof seen) == 0);
        if (i % 10 == 9) {
            DONE(htstore_table_remove(api.table, &k, NULL, 0, NULL));
            DONE(get(api.table, keys, seen, 40));
            EXPECT(seen[0] == -1 && seen[39] == -1);
        }
    }
    DONE(put(api.table, keys, values, 40, 0));
}

static void flush_and_export(struct worker *worker)
{
    struct htstore_array k, v;
    uint64_t size;
    DONE(htstore_flush(api.store, NULL));
    DONE(htstore_sync(api.store, NULL));
    DONE(htstore_table_export(api.table, worker->arena, &k, &v, NULL));
    EXPECT(k.shape[0] % 40 == 0);
    DONE(htstore_table_size(api.table, &size, NULL));
    EXPECT(size % 40 == 0);
}

START_TEST(writers_see_their_rows_while_others_flush_and_export)
{
    if (_i)
        use_little_memory();
    api.options.delta_bytes = 64u << 10;
    api.options.segment_bytes = 64u << 10;
    open_numbers("-1");
    add_workers(N_WRITERS, true, write_own_rows);
    add_workers(2, false, flush_and_export);
    run_workers();
    SIZE_IS(N_WRITERS * 40);
    api_reopen();
    SIZE_IS(N_WRITERS * 40);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tests = tcase_create("threads");
    tcase_add_checked_fixture(tests, setup, api_teardown);
    tcase_add_loop_test(tests, a_lookup_never_sees_part_of_a_batch, 0, 2);
    tcase_add_test(tests, contents_are_replaced_in_one_step);
    tcase_add_test(tests, rows_are_never_mixed);
    tcase_add_test(tests, lookups_never_go_back);
    tcase_add_test(tests, of_threads_that_insert_a_new_key_one_wins);
    tcase_add_test(tests, threads_that_find_or_insert_agree_on_the_row);
    tcase_add_test(tests, concurrent_get_or_create_makes_one_table);
    tcase_add_test(tests, handles_come_and_go_in_many_threads);
    tcase_add_test(tests, tables_may_move_into_memory_while_they_are_written);
    tcase_add_loop_test(tests, rows_stay_while_no_handle_lasts, 0, 2);
    tcase_add_test(tests, names_are_made_and_dropped_in_many_threads);
    tcase_add_test(tests, exports_keep_sums_that_batches_keep);
    tcase_add_test(tests, durable_writers_lose_nothing);
    tcase_add_loop_test(tests, writers_see_their_rows_while_others_flush_and_export, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
