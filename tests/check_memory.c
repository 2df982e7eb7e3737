/*
 * check_memory: every call of the public API with its first, second, third … allocation failing, once or from then on:
 * HTSTORE_ENOMEM and nothing changed, or success. Afterwards the call works.
 */
#include "api_util.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "mem.h"

#define MAX_ALLOCATIONS 5000

static struct htstore_array keys, values, outputs;
static uint8_t flags[8];

#define ROWS "a=1\nb=2\nlong=3\n"

static void reset_rows(void)
{
    struct htstore_array old_keys = api_keys("[a b long]"), old_values = api_values("[1 2 3]");
    OK(htstore_table_import(api.table, &old_keys, &old_values, 0, &api.error));
}

static int run_insert(void)
{
    return htstore_table_insert(api.table, &keys, &values, 0, &api.error);
}

static int run_insert_new(void)
{
    return htstore_table_insert_new(api.table, &keys, &values, flags, 0, &api.error);
}

static int run_find_or_insert(void)
{
    return htstore_table_find_or_insert(api.table, &keys, NULL, &outputs, flags, 0, &api.error);
}

static int run_lookup(void)
{
    return htstore_table_lookup(api.table, &keys, &values, &outputs, flags, &api.error);
}

static int run_remove(void)
{
    return htstore_table_remove(api.table, &keys, flags, 0, &api.error);
}

static int run_clear(void)
{
    return htstore_table_clear(api.table, 0, &api.error);
}

static int run_import(void)
{
    return htstore_table_import(api.table, &keys, &values, 0, &api.error);
}

static int run_export(void)
{
    struct htstore_array k, v;
    return htstore_table_export(api.table, api.arena, &k, &v, &api.error);
}

static int run_cursor(void)
{
    struct htstore_cursor *cursor;
    struct htstore_array k, v;
    int result = htstore_cursor_open(api.table, &cursor, &api.error);
    if (result != 0) {
        ck_assert_ptr_null(cursor);
        return result;
    }
    while ((result = htstore_cursor_next(cursor, 1, api.arena, &k, &v, &api.error)) == 0)
        ;
    htstore_cursor_close(cursor);
    return result == 1 ? 0 : result;
}

static int run_batch(void)
{
    struct htstore_batch *batch;
    int result = htstore_batch_new(api.store, &batch, &api.error);
    if (result != 0)
        return result;
    result = htstore_batch_remove(batch, api.table, &keys, &api.error);
    if (result == 0)
        result = htstore_batch_insert_new(batch, api.table, &keys, &values, &api.error);
    if (result == 0)
        result = htstore_batch_insert(batch, api.table, &keys, &values, &api.error);
    if (result == 0)
        result = htstore_batch_commit(batch, 0, &api.error);
    htstore_batch_free(batch);
    return result;
}

static int run_flush(void)
{
    return htstore_flush(api.store, &api.error);
}

static int run_list(void)
{
    const struct htstore_object *objects;
    uint64_t n;
    return htstore_list(api.store, api.arena, &objects, &n, &api.error);
}

static int run_open_table(void)
{
    struct htstore_table *table = (struct htstore_table *)&api;
    int result = htstore_table_open(api.store, "t1", NULL, &table, &api.error);
    if (result == 0)
        return htstore_table_close(table, &api.error);
    ck_assert_ptr_null(table);
    return result;
}

static int run_create_table(void)
{
    struct htstore_table *table = (struct htstore_table *)&api;
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    schema.flags = HTSTORE_ANONYMOUS;
    int result = htstore_table_create(api.store, NULL, &schema, &table, &api.error);
    if (result == 0)
        return htstore_table_close(table, &api.error);
    ck_assert_ptr_null(table);
    return result;
}

static const struct {
    const char *name;
    int (*run)(void);
    bool reads_only;
} operations[] = {
    { "insert", run_insert, false },
    { "insert_new", run_insert_new, false },
    { "find_or_insert", run_find_or_insert, false },
    { "lookup", run_lookup, true },
    { "remove", run_remove, false },
    { "clear", run_clear, false },
    { "import", run_import, false },
    { "export", run_export, true },
    { "cursor", run_cursor, true },
    { "batch", run_batch, false },
    { "flush", run_flush, true },
    { "list", run_list, true },
    { "table_open", run_open_table, true },
    { "table_create", run_create_table, true },
};
#define N_OPERATIONS ((int)(sizeof operations / sizeof operations[0]))

/* One attempt with that allocation failing; returns whether the call did without it. */
static bool attempt(int operation, uint64_t nth, bool sticky, const char *changed)
{
    const char *name = operations[operation].name;
    reset_rows();
    struct htstore_stats before = api_stats();
    hti_mem_test_fail(nth, sticky);
    int result = operations[operation].run();
    bool failed = hti_mem_test_failed();
    hti_mem_test_fail(UINT64_MAX, false);
    htstore_arena_reset(api.arena);
    ck_assert_msg(result == 0 || (result == HTSTORE_ENOMEM && failed), "%s, allocation %ju: %d: %s", name,
                  (uintmax_t)nth, result, api.error.message);
    ck_assert_uint_eq(api_stats().open_handles, before.open_handles);
    if (operations[operation].run != run_create_table) /* what is not deleted now is purged by the next open */
        ck_assert_uint_eq(api_stats().n_tables, before.n_tables);
    const char *expected = result == 0 && !operations[operation].reads_only ? changed : ROWS;
    const char *rows = api_dump(api.table);
    ck_assert_msg(strcmp(rows, expected) == 0, "%s, allocation %ju gave %d and left\n%s", name, (uintmax_t)nth, result,
                  rows);
    return result == 0 && !failed;
}

/* Tables in memory and not, rows flushed and not. */
static void begin(int variation)
{
    struct htstore_bytes *words = api_alloc(3 * sizeof *words);
    char *text = api_alloc(2000);
    memset(text, 'x', 2000);
    words[0] = htstore_string("b");
    words[1] = htstore_string("new");
    words[2] = (struct htstore_bytes){ .data = text, .size = 2000 };
    api.options.durability = HTSTORE_LAZY;
    api_begin(variation, HTSTORE_STRING, HTSTORE_STRING, "none");
    keys = htstore_vector(HTSTORE_STRING, words, 3);
    values = keys;
    outputs = api_outputs(&keys);
}

static const int variations[] = { 0, 5, 9 };

START_TEST(calls_survive_failing_allocations)
{
    int operation = _i % N_OPERATIONS, kind = _i / N_OPERATIONS;
    begin(variations[kind / 2]);
    reset_rows();
    OK(operations[operation].run());
    const char *changed = api_dump(api.table);
    uint64_t nth = 0;
    while (!attempt(operation, nth, kind % 2, changed))
        ck_assert_uint_lt(nth++, MAX_ALLOCATIONS);
    api_reopen();
    ck_assert_uint_eq(api_stats().n_tables, 1);
    ck_assert_str_eq(api_dump(api.table), operations[operation].reads_only ? ROWS : changed);
}
END_TEST

static size_t count_segments(void)
{
    size_t n = 0;
    DIR *folder = opendir(api_path("store/journal"));
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

START_TEST(opening_survives_failing_allocations)
{
    begin(0);
    reset_rows();
    api_close_store();
    size_t n_segments = count_segments();
    for (uint64_t nth = 0;; nth++) {
        struct htstore *store = (struct htstore *)&api;
        ck_assert_uint_lt(nth, MAX_ALLOCATIONS);
        hti_mem_test_fail(nth, _i);
        int result = htstore_open(api.path, &api.options, &store, &api.error);
        bool failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(result == 0 || (result == HTSTORE_ENOMEM && failed), "allocation %ju: %d: %s", (uintmax_t)nth,
                      result, api.error.message);
        if (result == 0)
            OK(htstore_close(store, &api.error));
        else
            ck_assert_ptr_null(store);
        ck_assert_msg(count_segments() <= n_segments + 1,
                      "each open that fails leaves a segment behind: allocation %ju", (uintmax_t)nth);
        if (result == 0 && !failed)
            break;
    }
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    ck_assert_str_eq(api_dump(api.table), ROWS);
}
END_TEST

START_TEST(creation_survives_failing_allocations)
{
    for (uint64_t nth = 0;; nth++) {
        ck_assert_uint_lt(nth, MAX_ALLOCATIONS);
        hti_mem_test_fail(nth, _i);
        int result = htstore_open(api.path, &api.options, &api.store, &api.error);
        bool failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(result == 0 || (result == HTSTORE_ENOMEM && failed), "allocation %ju: %d: %s", (uintmax_t)nth,
                      result, api.error.message);
        if (result == 0) {
            api_close_store();
            break;
        }
        if (access(api.path, F_OK) == 0) {
            api_open_store();
            api_close_store();
            break;
        }
    }
}
END_TEST

START_TEST(closing_survives_failing_allocations)
{
    uint64_t nth = 0;
    int result = HTSTORE_ENOMEM;
    for (; result != 0; nth++) {
        begin(0);
        reset_rows();
        OK(htstore_table_close(api.table, &api.error));
        api.table = NULL;
        hti_mem_test_fail(nth, _i);
        result = htstore_close(api.store, &api.error);
        hti_mem_test_fail(UINT64_MAX, false);
        api.store = NULL;
        ck_assert_msg(result == 0 || result == HTSTORE_ENOMEM, "allocation %ju: %d", (uintmax_t)nth, result);
        api_open_store();
        OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
        ck_assert_str_eq(api_dump(api.table), ROWS);
        OK(htstore_table_close(api.table, &api.error));
        api.table = NULL;
        OK(htstore_table_drop(api.store, "t1", &api.error));
        api_close_store();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, calls_survive_failing_allocations, 0, N_OPERATIONS * 6);
    tcase_add_loop_test(tests, opening_survives_failing_allocations, 0, 2);
    tcase_add_loop_test(tests, creation_survives_failing_allocations, 0, 2);
    tcase_add_loop_test(tests, closing_survives_failing_allocations, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
