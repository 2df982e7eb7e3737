/* check_cursor: exports and cursors: one instant, whatever writers do meanwhile. */
#include "api_util.h"

#define N_ROWS 500

static struct htstore_cursor *open_cursor(void)
{
    struct htstore_cursor *cursor = NULL;
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    ck_assert_ptr_nonnull(cursor);
    return cursor;
}

static void fill_table(size_t n, int64_t add)
{
    int64_t *keys = api_alloc(n * sizeof *keys), *values = api_alloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        keys[i] = (int64_t)i - 100;
        values[i] = keys[i] * 3 + add;
    }
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n), v = htstore_vector(HTSTORE_INT64, values, n);
    OK(htstore_table_insert(api.table, &k, &v, HTSTORE_LAZY, &api.error));
    api_settle();
}

/* Walk the rest of the cursor in blocks: rows with keys `first` and up, one by one, and values 3 * key + add. */
static void expect_rest(struct htstore_cursor *cursor, int64_t first, int64_t n, int64_t add, uint64_t block)
{
    struct htstore_array keys, values;
    int result;
    int64_t at = first;
    for (; (result = htstore_cursor_next(cursor, block, api.arena, &keys, &values, &api.error)) == 0;) {
        ck_assert_uint_eq(keys.rank, 1);
        ck_assert_int_ge(keys.shape[0], 1);
        ck_assert_int_le(keys.shape[0], (int64_t)block);
        ck_assert_int_eq(values.shape[0], keys.shape[0]);
        for (int64_t i = 0; i < keys.shape[0]; i++, at++) {
            ck_assert_int_eq(((const int64_t *)keys.data)[i], at);
            ck_assert_int_eq(((const int64_t *)values.data)[i], at * 3 + add);
        }
        htstore_arena_reset(api.arena);
    }
    ck_assert_int_eq(result, 1);
    ck_assert_int_eq(at, first + n);
    ck_assert_int_eq(keys.shape[0] + values.shape[0], 0);
}

START_TEST(a_cursor_walks_all_rows_in_blocks_of_any_size)
{
    static const uint64_t blocks[] = { 1, 2, 7, 499, 500, 501, UINT64_MAX >> 1 };
    api_begin(_i, HTSTORE_INT64, HTSTORE_INT64, "-1");
    fill_table(N_ROWS, 1);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        struct htstore_cursor *cursor = open_cursor();
        ck_assert_uint_eq(htstore_cursor_count(cursor), N_ROWS);
        expect_rest(cursor, -100, N_ROWS, 1, blocks[i]);
        expect_rest(cursor, 0, 0, 0, 1);
        ck_assert_uint_eq(htstore_cursor_count(cursor), N_ROWS);
        htstore_cursor_close(cursor);
    }
}
END_TEST

START_TEST(a_cursor_sees_nothing_of_later_writes)
{
    struct htstore_array keys, values;
    api_begin(_i, HTSTORE_INT64, HTSTORE_INT64, "-1");
    if (api.variation->phase == API_REOPENED)
        return;
    fill_table(N_ROWS, 1);
    struct htstore_cursor *first = open_cursor();
    OK(htstore_cursor_next(first, 10, api.arena, &keys, &values, &api.error));
    int64_t taken = keys.shape[0];
    fill_table(2 * N_ROWS, 2);
    REMOVE("[-100 -99 0 1]");
    struct htstore_cursor *second = open_cursor();
    ck_assert_uint_eq(htstore_cursor_count(second), 2 * N_ROWS - 4);
    OK(htstore_table_clear(api.table, 0, &api.error));
    api_settle();
    struct htstore_cursor *third = open_cursor();
    keys = api_keys("[1 2]");
    values = api_values("[10 20]");
    OK(htstore_table_import(api.table, &keys, &values, 0, &api.error));
    OK(htstore_flush(api.store, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
    ck_assert_uint_eq(htstore_cursor_count(third), 0);
    expect_rest(third, 0, 0, 0, 10);
    ck_assert_uint_eq(htstore_cursor_count(first), N_ROWS);
    expect_rest(first, -100 + taken, N_ROWS - taken, 1, 64);
    OK(htstore_cursor_next(second, 1, api.arena, &keys, &values, &api.error));
    ck_assert_int_eq(*(const int64_t *)keys.data, -98);
    htstore_cursor_close(second);
    htstore_cursor_close(first);
    htstore_cursor_close(third);
    SIZE_IS(2);
}
END_TEST

START_TEST(an_empty_table_exports_empty_arrays)
{
    struct htstore_array keys, values;
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1 -1]");
    OK(htstore_table_export(api.table, api.arena, &keys, &values, &api.error));
    ck_assert_uint_eq(keys.dtype, HTSTORE_STRING);
    ck_assert_uint_eq(values.dtype, HTSTORE_INT64);
    ck_assert_str_eq(api_shape(&keys), "0");
    ck_assert_str_eq(api_shape(&values), "0,3");
    struct htstore_cursor *cursor = open_cursor();
    ck_assert_uint_eq(htstore_cursor_count(cursor), 0);
    ck_assert_int_eq(htstore_cursor_next(cursor, 5, api.arena, &keys, &values, &api.error), 1);
    ck_assert_str_eq(api_shape(&keys), "0");
    ck_assert_str_eq(api_shape(&values), "0,3");
    htstore_cursor_close(cursor);
}
END_TEST

START_TEST(exports_outlive_later_writes_and_the_table)
{
    struct htstore_array keys, values;
    api_begin(_i, HTSTORE_STRING, HTSTORE_STRING, "-");
    INSERT("[a b c]", "[x yy zzz]");
    OK(htstore_table_export(api.table, api.arena, &keys, &values, &api.error));
    INSERT("[a d]", "[other 4]");
    OK(htstore_table_clear(api.table, 0, &api.error));
    api_settle();
    api_close_store();
    ck_assert_str_eq(api_text(&keys), "[a b c]");
    ck_assert_str_eq(api_text(&values), "[x yy zzz]");
}
END_TEST

START_TEST(rows_of_a_mib_come_in_blocks_that_may_be_smaller)
{
    enum { N = 6 };
    struct htstore_bytes words[N];
    for (size_t i = 0; i < N; i++) {
        char *data = api_alloc((1u << 20) + i);
        memset(data, (int)('a' + i), (1u << 20) + i);
        words[i] = (struct htstore_bytes){ .data = data, .size = (1u << 20) + i };
    }
    api_open_store();
    api_begin_table("t1", HTSTORE_INT8, HTSTORE_STRING, "-");
    struct htstore_array keys = api_keys("[0 1 2 3 4 5]"), values = htstore_vector(HTSTORE_STRING, words, N);
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    struct htstore_cursor *cursor = open_cursor();
    size_t at = 0;
    int result;
    while ((result = htstore_cursor_next(cursor, 100, api.arena, &keys, &values, &api.error)) == 0) {
        ck_assert_uint_ge(api_count(&keys), 1);
        for (size_t i = 0; i < api_count(&keys); i++, at++) {
            ck_assert_int_eq(((const int8_t *)keys.data)[i], (int8_t)at);
            const struct htstore_bytes *got = (const struct htstore_bytes *)values.data + i;
            ck_assert(got->size == words[at].size && memcmp(got->data, words[at].data, got->size) == 0);
        }
    }
    ck_assert_int_eq(result, 1);
    ck_assert_uint_eq(at, N);
    htstore_cursor_close(cursor);
}
END_TEST

START_TEST(keys_may_be_walked_without_values)
{
    struct htstore_array keys;
    api_begin(_i, HTSTORE_STRING, HTSTORE_STRING, "-");
    INSERT("[c a b]", "[3 1 2]");
    OK(htstore_table_export(api.table, api.arena, &keys, NULL, &api.error));
    ck_assert_str_eq(api_text(&keys), "[a b c]");
    struct htstore_cursor *cursor = open_cursor();
    OK(htstore_cursor_next(cursor, 1, api.arena, &keys, NULL, &api.error));
    ck_assert_str_eq(api_text(&keys), "[a]");
    while (htstore_cursor_next(cursor, 1, api.arena, &keys, NULL, &api.error) == 0)
        ck_assert_uint_eq(api_count(&keys), 1);
    ck_assert_uint_eq(api_count(&keys), 0);
    htstore_cursor_close(cursor);
}
END_TEST

START_TEST(long_keys_come_in_order_over_any_blocks)
{
    enum { N = 60 };
    struct htstore_bytes words[N];
    struct htstore_array keys;
    for (size_t i = 0; i < N; i++) {
        size_t size = i % 3 == 0 ? 5 : 490 + i % 3 + i / 20;
        char *data = api_alloc(size + 2);
        memset(data, 'a' + (int)(i / 20), size);
        data[size - 1] = (char)(1 + i * 7 % 100);
        words[i] = (struct htstore_bytes){ .data = data, .size = size };
    }
    api_begin(_i, HTSTORE_STRING, HTSTORE_STRING, "-");
    struct htstore_array all = htstore_vector(HTSTORE_STRING, words, N);
    OK(htstore_table_insert(api.table, &all, &all, 0, &api.error));
    api_settle();
    for (uint64_t block = 1; block < N; block += 5) {
        struct htstore_cursor *cursor = open_cursor();
        struct htstore_bytes last = { "", 0 };
        size_t n = 0;
        while (htstore_cursor_next(cursor, block, api.arena, &keys, NULL, &api.error) == 0) {
            for (size_t i = 0; i < api_count(&keys); i++, n++) {
                struct htstore_bytes key = ((const struct htstore_bytes *)keys.data)[i];
                int order = memcmp(last.data, key.data, last.size < key.size ? last.size : key.size);
                ck_assert_msg(order < 0 || (order == 0 && last.size < key.size), "key %zu is out of order", n);
                last = key;
            }
        }
        ck_assert_uint_eq(n, N);
        htstore_cursor_close(cursor);
    }
}
END_TEST

START_TEST(open_cursors_keep_table_and_store_open)
{
    struct htstore_table *second;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2]", "[3 6]");
    ck_assert_uint_eq(api_stats().open_handles, 1);
    struct htstore_cursor *cursor = open_cursor();
    ck_assert_uint_eq(api_stats().open_handles, 2);
    REFUSED(htstore_table_close(api.table, &api.error), HTSTORE_EBUSY, "");
    REFUSED(htstore_table_drop(api.store, "t1", &api.error), HTSTORE_EBUSY, "");
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "");
    OK(htstore_table_open(api.store, "t1", NULL, &second, &api.error));
    OK(htstore_table_close(second, &api.error));
    GET_IS("[1 2]", "[3 6]");
    expect_rest(cursor, 1, 2, 0, 1);
    htstore_cursor_close(cursor);
    htstore_cursor_close(NULL);
    ck_assert_uint_eq(api_stats().open_handles, 1);
}
END_TEST

START_TEST(cursor_arguments_are_checked)
{
    struct htstore_error *e = &api.error;
    struct htstore_array keys, values;
    struct htstore_cursor *none = (struct htstore_cursor *)&api;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2]", "[3 6]");
    struct htstore_cursor *cursor = open_cursor();
    memset(&keys, 0x5A, sizeof keys);
    REFUSED(htstore_cursor_next(cursor, 0, api.arena, &keys, &values, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_cursor_next(cursor, 1, NULL, &keys, &values, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_cursor_next(cursor, 1, api.arena, NULL, &values, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_cursor_next(NULL, 1, api.arena, &keys, &values, e), HTSTORE_EINVAL, "");
    ck_assert_uint_eq(keys.dtype, 0x5A5A5A5A);
    REFUSED(htstore_cursor_open(NULL, &none, e), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(none);
    REFUSED(htstore_cursor_open(api.table, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_export(api.table, NULL, &keys, &values, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_export(api.table, api.arena, NULL, &values, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_export(NULL, api.arena, &keys, &values, e), HTSTORE_EINVAL, "");
    ck_assert_uint_eq(htstore_cursor_count(NULL), 0);
    expect_rest(cursor, 1, 2, 0, 10);
    htstore_cursor_close(cursor);
}
END_TEST

START_TEST(too_many_cursors_are_busy_and_harm_nothing)
{
    enum { MANY = 1000 };
    struct htstore_cursor *cursors[MANY];
    size_t n = 0;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2]", "[3 6]");
    for (; n < MANY; n++) {
        int result = htstore_cursor_open(api.table, &cursors[n], &api.error);
        if (result != 0) {
            ck_assert_int_eq(result, HTSTORE_EBUSY);
            ck_assert_ptr_null(cursors[n]);
            break;
        }
    }
    ck_assert_uint_ge(n, 16);
    GET_IS("[1 2 3]", "[3 6 -1]");
    INSERT("3", "9");
    OK(htstore_flush(api.store, &api.error));
    expect_rest(cursors[n - 1], 1, 2, 0, 1);
    while (n > 0)
        htstore_cursor_close(cursors[--n]);
    struct htstore_cursor *cursor = open_cursor();
    expect_rest(cursor, 1, 3, 0, 10);
    htstore_cursor_close(cursor);
}
END_TEST

/*
 * While a cursor is open the map cannot grow, so nothing can be flushed. A writer in the thread that holds the cursor must
 * not wait for ever: it goes on, or it is told to come again.
 */
START_TEST(a_cursor_that_stops_the_map_from_growing_does_not_stop_the_process)
{
    enum { N = 64, N_BATCHES = 100 };
    static int64_t keys[N], rows[N][128];
    api.options.map_size = 1u << 20;
    api.options.delta_bytes = 64u << 10;
    api_open_store();
    api_begin_table(
        "t1", HTSTORE_INT64, HTSTORE_INT64,
        api_text(&(struct htstore_array){ .dtype = HTSTORE_INT64, .rank = 1, .shape = { 128 }, .data = rows[0] }));
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, N), r = htstore_matrix(HTSTORE_INT64, rows, N, 128);
    struct htstore_cursor *cursor = open_cursor();
    uint64_t n = 0;
    int result = 0;
    for (int64_t i = 0; i < N_BATCHES && result == 0; i++) {
        for (int64_t j = 0; j < N; j++)
            keys[j] = i * N + j;
        result = htstore_table_insert(api.table, &k, &r, HTSTORE_LAZY, &api.error);
        n += result == 0 ? N : 0;
    }
    ck_assert_msg(result == 0 || result == HTSTORE_ENOMEM || result == HTSTORE_EBUSY, "insert gave %d: %s", result,
                  api.error.message);
    SIZE_IS(n);
    ck_assert_uint_eq(htstore_cursor_count(cursor), 0);
    htstore_cursor_close(cursor);
    OK(htstore_table_insert(api.table, &k, &r, 0, &api.error));
    OK(htstore_flush(api.store, &api.error));
    SIZE_IS(result == 0 ? n : n + N);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cursor");
    TCase *tests = tcase_create("cursor");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, a_cursor_walks_all_rows_in_blocks_of_any_size, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, a_cursor_sees_nothing_of_later_writes, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, an_empty_table_exports_empty_arrays, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, exports_outlive_later_writes_and_the_table, 0, API_N_VARIATIONS);
    tcase_add_test(tests, rows_of_a_mib_come_in_blocks_that_may_be_smaller);
    tcase_add_loop_test(tests, keys_may_be_walked_without_values, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, long_keys_come_in_order_over_any_blocks, 0, API_N_VARIATIONS);
    tcase_add_test(tests, open_cursors_keep_table_and_store_open);
    tcase_add_test(tests, cursor_arguments_are_checked);
    tcase_add_test(tests, too_many_cursors_are_busy_and_harm_nothing);
    tcase_add_test(tests, a_cursor_that_stops_the_map_from_growing_does_not_stop_the_process);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
