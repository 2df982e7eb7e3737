/*
 * Tests of what an open shows that has replayed a journal, before a flush has brought that to LMDB: rows, counts, everything that
 * is asked for at once, and a second crash.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api_util.h"
#include "crash/folder.h"
#include "flush.h"
#include "load.h"

#define N_KEYS 240
#define N_TABLES 3
#define N_STEPS 40
#define ABSENT INT64_MIN
#define N_MODES 4 /* how tables are kept */
#define N_ASKED 8 /* what is asked for first */

static const char *const names[N_TABLES] = { "a", "b", "c" };

static struct {
    struct htstore_table *tables[N_TABLES];
    int64_t rows[N_TABLES][N_KEYS]; /* as they must be */
    uint64_t random;
    unsigned n_crashes;
} model;

static void set_up(void)
{
    api_setup();
    api.options.durability = HTSTORE_LAZY;
    api.options.flush_age_ms = 3600000;
    memset(&model, 0, sizeof model);
    for (unsigned t = 0; t < N_TABLES; t++)
        for (unsigned k = 0; k < N_KEYS; k++)
            model.rows[t][k] = ABSENT;
    hti_flush_test_hold(true);
}

static void close_all(void)
{
    for (unsigned t = 0; t < N_TABLES; t++)
        if (model.tables[t])
            OK(htstore_table_close(model.tables[t], &api.error));
    memset(model.tables, 0, sizeof model.tables);
    api_close_store();
}

static void tear_down(void)
{
    close_all();
    hti_flush_test_hold(false);
    hti_load_test_quick_rows(UINT64_MAX);
    api_teardown();
}

/* Tables at once in memory, loaded in the background, without preload, and with next to no memory. */
static void set_mode(int mode)
{
    hti_load_test_quick_rows(mode == 1 ? 0 : UINT64_MAX);
    if (mode == 2)
        api.options.flags |= HTSTORE_NO_PRELOAD;
    if (mode == 3)
        api.options.cache_bytes = 4096;
}

static void open_all(void)
{
    const struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);

    api_open_store();
    for (unsigned t = 0; t < N_TABLES; t++)
        OK(htstore_table_get_or_create(api.store, names[t], &schema, &model.tables[t], &api.error));
}

/* What a killed process leaves: the files as they are. */
static void crash(void)
{
    char name[32];

    (void)snprintf(name, sizeof name, "crashed%u", model.n_crashes++);
    const char *path = api_path(name);
    while (!folder_copy(api.path, path)) /* a segment got its name meanwhile */
        ck_assert(folder_remove(path));
    close_all();
    (void)snprintf(api.path, sizeof api.path, "%s", path);
}

static uint64_t draw(uint64_t n)
{
    model.random = model.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (model.random >> 33) % n;
}

/* --- writes, in the model too --- */

static struct htstore_array ints(int64_t *elements, size_t n)
{
    return htstore_vector(HTSTORE_INT64, elements, n);
}

static size_t draw_keys(int64_t keys[N_KEYS])
{
    const size_t n = 1 + draw(20);

    for (size_t i = 0; i < n; i++)
        keys[i] = (int64_t)draw(N_KEYS);
    return n;
}

static void put(unsigned t)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    const size_t n = draw_keys(keys);

    for (size_t i = 0; i < n; i++)
        model.rows[t][keys[i]] = values[i] = (int64_t)draw(1000000);
    const struct htstore_array k = ints(keys, n), v = ints(values, n);
    OK(htstore_table_insert(model.tables[t], &k, &v, 0, &api.error));
}

static void put_new(unsigned t)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    uint8_t inserted[N_KEYS];
    const size_t n = draw_keys(keys);

    for (size_t i = 0; i < n; i++)
        values[i] = (int64_t)draw(1000000);
    const struct htstore_array k = ints(keys, n), v = ints(values, n);
    OK(htstore_table_insert_new(model.tables[t], &k, &v, inserted, 0, &api.error));
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(inserted[i], model.rows[t][keys[i]] == ABSENT);
        if (inserted[i])
            model.rows[t][keys[i]] = values[i];
    }
}

static void take_away(unsigned t)
{
    int64_t keys[N_KEYS];
    uint8_t removed[N_KEYS];
    const size_t n = draw_keys(keys);
    const struct htstore_array k = ints(keys, n);

    OK(htstore_table_remove(model.tables[t], &k, removed, 0, &api.error));
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(removed[i], model.rows[t][keys[i]] != ABSENT);
        model.rows[t][keys[i]] = ABSENT;
    }
}

static void clear(unsigned t)
{
    OK(htstore_table_clear(model.tables[t], 0, &api.error));
    for (unsigned k = 0; k < N_KEYS; k++)
        model.rows[t][k] = ABSENT;
}

/* Two tables in one record, one of them cleared before. */
static void put_both(unsigned t)
{
    const unsigned other = (t + 1) % N_TABLES;
    struct htstore_batch *batch;
    int64_t key = (int64_t)draw(N_KEYS), value = (int64_t)draw(1000000);
    const struct htstore_array k = ints(&key, 1), v = ints(&value, 1);

    OK(htstore_batch_new(api.store, &batch, &api.error));
    OK(htstore_batch_clear(batch, model.tables[t], &api.error));
    OK(htstore_batch_insert(batch, model.tables[t], &k, &v, &api.error));
    OK(htstore_batch_insert(batch, model.tables[other], &k, &v, &api.error));
    OK(htstore_batch_commit(batch, 0, &api.error));
    htstore_batch_free(batch);
    for (unsigned i = 0; i < N_KEYS; i++)
        model.rows[t][i] = ABSENT;
    model.rows[t][key] = model.rows[other][key] = value;
}

static void write_some(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const unsigned t = (unsigned)draw(N_TABLES);
        const uint64_t what = draw(60); /* few clears: they make counts known */
        if (what < 28)
            put(t);
        else if (what < 38)
            put_new(t);
        else if (what < 58)
            take_away(t);
        else if (what < 59)
            clear(t);
        else
            put_both(t);
    }
}

/* --- checks --- */

static bool is_flushed(void)
{
    return atomic_load(&api.store->applied_lsn) == atomic_load(&api.store->visible_lsn);
}

/* With next to no memory a table gives way, and is flushed for that, whoever holds the flusher. */
static void expect_unflushed(void)
{
    if (api.options.cache_bytes == 0)
        ck_assert(!is_flushed());
}

static uint64_t rows_of(unsigned t)
{
    uint64_t n = 0;

    for (unsigned k = 0; k < N_KEYS; k++)
        n += model.rows[t][k] != ABSENT;
    return n;
}

static void expect_rows(void)
{
    int64_t keys[N_KEYS], values[N_KEYS];
    uint8_t found[N_KEYS];

    for (int64_t k = 0; k < N_KEYS; k++)
        keys[k] = k;
    for (unsigned t = 0; t < N_TABLES; t++) {
        const struct htstore_array k = ints(keys, N_KEYS);
        struct htstore_array v = ints(values, N_KEYS);
        OK(htstore_table_lookup(model.tables[t], &k, NULL, &v, found, &api.error));
        for (unsigned i = 0; i < N_KEYS; i++) {
            ck_assert_int_eq(found[i], model.rows[t][i] != ABSENT);
            ck_assert_int_eq(values[i], found[i] ? model.rows[t][i] : -1);
        }
    }
}

static void expect_sizes(void)
{
    for (unsigned t = 0; t < N_TABLES; t++)
        ck_assert_uint_eq(api_size(model.tables[t]), rows_of(t));
}

static void expect_export(void)
{
    struct htstore_array keys, values;

    for (unsigned t = 0; t < N_TABLES; t++) {
        OK(htstore_table_export(model.tables[t], api.arena, &keys, &values, &api.error));
        ck_assert_int_eq(keys.shape[0], (int64_t)rows_of(t));
    }
}

static void expect_cursor(void)
{
    for (unsigned t = 0; t < N_TABLES; t++) {
        struct htstore_cursor *cursor;
        struct htstore_array keys, values;
        uint64_t n = 0;
        OK(htstore_cursor_open(model.tables[t], &cursor, &api.error));
        while (htstore_cursor_next(cursor, 64, api.arena, &keys, &values, &api.error) == 0)
            for (int64_t i = 0; i < keys.shape[0]; i++, n++)
                ck_assert_int_eq(((const int64_t *)values.data)[i], model.rows[t][((const int64_t *)keys.data)[i]]);
        htstore_cursor_close(cursor);
        ck_assert_uint_eq(n, rows_of(t));
    }
}

static void expect_list(void)
{
    const struct htstore_object *objects;
    uint64_t n;

    OK(htstore_list(api.store, api.arena, &objects, &n, &api.error));
    ck_assert_uint_eq(n, N_TABLES);
    for (unsigned t = 0; t < N_TABLES; t++)
        ck_assert_uint_eq(objects[t].n_rows, rows_of(t));
}

static void expect_stats(void)
{
    ck_assert_uint_eq(api_stats().n_rows, rows_of(0) + rows_of(1) + rows_of(2));
}

static void expect_checkpoint(void)
{
    struct htstore_checkpoint *checkpoint;
    struct htstore_check_report report = { .size = sizeof report };
    const char *path = api_path("checkpoint");

    (void)unlink(path);
    OK(htstore_checkpoint_new(api.store, NULL, &checkpoint, &api.error));
    OK(htstore_checkpoint_write(checkpoint, path, NULL, &api.error));
    OK(htstore_checkpoint_close(checkpoint, &api.error));
    OK(htstore_check(path, NULL, &report, &api.error));
    ck_assert_uint_eq(report.n_rows, rows_of(0) + rows_of(1) + rows_of(2));
}

static void expect_warm(void)
{
    for (unsigned t = 0; t < N_TABLES; t++) {
        const int rc = htstore_table_warm(model.tables[t], &api.error);
        ck_assert_int_ge(rc, 0);
    }
}

/* Whatever is asked for first. */
static void ask(int what)
{
    static void (*const asked[N_ASKED])(void) = {
        expect_rows, expect_sizes, expect_export,     expect_cursor,
        expect_list, expect_stats, expect_checkpoint, expect_warm,
    };
    asked[what]();
}

static void expect_all(void)
{
    expect_rows();
    expect_sizes();
    expect_stats();
    expect_cursor();
    expect_rows();
}

/* Flushed rows, and unflushed ones. */
static void make_crashed(int seed)
{
    model.random = (uint64_t)seed;
    open_all();
    write_some(N_STEPS);
    OK(htstore_flush(api.store, &api.error));
    write_some(N_STEPS);
    crash();
}

static void expect_sound_file(void)
{
    struct htstore_check_report report = { .size = sizeof report };
    OK(htstore_check(api.path, NULL, &report, &api.error));
}

/* --- tests --- */

START_TEST(what_was_replayed_is_there_before_it_is_flushed)
{
    make_crashed(_i);
    set_mode(_i % N_MODES);
    open_all();
    expect_unflushed();
    ask(_i / N_MODES);
    expect_all();
    write_some(N_STEPS);
    expect_all();
}
END_TEST

START_TEST(writes_after_a_replay_count_rows_right)
{
    make_crashed(100 + _i);
    set_mode(_i % N_MODES);
    open_all();
    write_some(N_STEPS);
    expect_rows();
    if (_i / N_MODES % 2)
        expect_warm();
    expect_unflushed();
    expect_sizes();
    if (_i % N_MODES == 0 || (_i % N_MODES == 1 && _i / N_MODES % 2)) /* all rows in memory: they are counted there */
        expect_unflushed();
    OK(htstore_flush(api.store, &api.error));
    write_some(N_STEPS);
    expect_all();
    close_all();
    expect_sound_file();
    open_all();
    expect_all();
}
END_TEST

START_TEST(a_second_crash_before_the_flush_loses_nothing)
{
    make_crashed(200 + _i);
    set_mode(_i % N_MODES);
    for (unsigned round = 0; round < 3; round++) {
        open_all();
        expect_rows();
        if (round > 0)
            write_some(N_STEPS / 2);
        expect_unflushed();
        crash();
        expect_sound_file();
    }
    open_all();
    expect_rows();
    expect_all();
}
END_TEST

START_TEST(a_table_may_be_closed_and_opened_again_before_the_flush)
{
    make_crashed(300 + _i);
    set_mode(_i % N_MODES);
    open_all();
    for (unsigned t = 0; t < N_TABLES; t++) {
        OK(htstore_table_close(model.tables[t], &api.error));
        OK(htstore_table_open(api.store, names[t], NULL, &model.tables[t], &api.error));
    }
    expect_rows();
    write_some(N_STEPS);
    expect_unflushed();
    expect_all();
}
END_TEST

/* With a delta that holds less than what the journal does. */
START_TEST(what_exceeds_the_delta_is_flushed_first)
{
    make_crashed(400 + _i);
    set_mode(_i % N_MODES);
    open_all();
    expect_rows();
    while (atomic_load(&api.store->visible_lsn) < 600)
        put((unsigned)draw(N_TABLES));
    crash();
    api.options.delta_bytes = 64u << 10;
    open_all();
    ck_assert_uint_gt(atomic_load(&api.store->applied_lsn), 0);
    expect_all();
}
END_TEST

/* The clear hides what LMDB has, with rows after it and without. */
START_TEST(a_clear_in_the_journal_hides_the_rows_before_it)
{
    open_all();
    for (unsigned t = 0; t < N_TABLES; t++)
        put(t);
    OK(htstore_flush(api.store, &api.error));
    clear(0);
    clear(1);
    put(1);
    put(2);
    crash();
    set_mode(_i % N_MODES);
    open_all();
    expect_rows();
    if (_i / N_MODES)
        clear(2);
    for (unsigned t = 0; t < (_i / N_MODES ? 3 : 2); t++) /* known: nothing below counts */
        ck_assert_uint_eq(api_size(model.tables[t]), rows_of(t));
    expect_unflushed();
    expect_all();
}
END_TEST

START_TEST(the_flusher_brings_it_to_lmdb_by_itself)
{
    make_crashed(500);
    hti_flush_test_hold(false);
    open_all();
    while (!is_flushed())
        usleep(1000);
    expect_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replay");
    TCase *tests = tcase_create("replay");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, what_was_replayed_is_there_before_it_is_flushed, 0, N_MODES * N_ASKED);
    tcase_add_loop_test(tests, writes_after_a_replay_count_rows_right, 0, 4 * N_MODES);
    tcase_add_loop_test(tests, a_second_crash_before_the_flush_loses_nothing, 0, 2 * N_MODES);
    tcase_add_loop_test(tests, a_table_may_be_closed_and_opened_again_before_the_flush, 0, 2 * N_MODES);
    tcase_add_loop_test(tests, what_exceeds_the_delta_is_flushed_first, 0, N_MODES);
    tcase_add_loop_test(tests, a_clear_in_the_journal_hides_the_rows_before_it, 0, 2 * N_MODES);
    tcase_add_test(tests, the_flusher_brings_it_to_lmdb_by_itself);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
