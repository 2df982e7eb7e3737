/* Tests of columns: rows of every kind go in and come out. */
#include "columns.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "htstore.h"
#include "mem.h"
#include "samples.h"

#define N_ROWS 300u

static struct hti_columns columns;
static struct sample_rows rows;

static void set_up(void)
{
    sample_seed(11);
    hti_columns_init(&columns);
    memset(&rows, 0, sizeof rows);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    sample_rows_free(&rows);
    hti_columns_release(&columns);
    hti_columns_release(&columns);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void begin(unsigned which, size_t n)
{
    struct hti_row_type type;
    sample_type(which, &type);
    sample_rows_free(&rows);
    sample_rows_make(&rows, &type, n, true);
    hti_columns_reset(&columns, &type);
}

static void append_all(void)
{
    for (size_t i = 0; i < rows.n; i++)
        ck_assert_int_eq(hti_columns_append(&columns, &rows.rows[i]), 0);
}

static void expect_rows(size_t n)
{
    struct hti_columns_walk walk;
    struct hti_row row;
    size_t size = 0;
    hti_columns_walk_init(&walk, &columns);
    for (size_t i = 0; i < n; i++) {
        const struct hti_row *expected = &rows.rows[i];
        ck_assert(hti_columns_walk_next(&walk, &row));
        ck_assert_uint_eq(row.key_size, expected->key_size);
        ck_assert_uint_eq(row.value_size, expected->value_size);
        ck_assert_ptr_nonnull(row.key);
        ck_assert_ptr_nonnull(row.value);
        ck_assert(memcmp(row.key, expected->key, row.key_size) == 0);
        ck_assert(memcmp(row.value, expected->value, row.value_size) == 0);
        size += row.key_size + row.value_size;
    }
    ck_assert(!hti_columns_walk_next(&walk, &row));
    ck_assert(!hti_columns_walk_next(&walk, &row));
    ck_assert_uint_eq(columns.n_rows, n);
    ck_assert_uint_eq(hti_columns_size(&columns), size);
}

START_TEST(rows_come_out_as_they_went_in)
{
    begin((unsigned)_i, N_ROWS);
    append_all();
    expect_rows(N_ROWS);
    ck_assert_uint_eq(columns.key_sizes.size, rows.type.key_size ? 0 : N_ROWS * 4);
    ck_assert_uint_eq(columns.value_sizes.size, rows.type.value_is_fixed ? 0 : N_ROWS * 4);
}
END_TEST

START_TEST(columns_stand_one_behind_the_other)
{
    begin(0, N_ROWS); /* int64 to int64 */
    append_all();
    for (size_t i = 0; i < N_ROWS; i++) {
        ck_assert_mem_eq(columns.keys.data + 8 * i, rows.rows[i].key, 8);
        ck_assert_mem_eq(columns.values.data + 8 * i, rows.rows[i].value, 8);
    }
    begin(5, N_ROWS); /* string to string[2] */
    append_all();
    for (size_t i = 0; i < N_ROWS; i++) {
        ck_assert_uint_eq(hti_load_le32(columns.key_sizes.data + 4 * i), rows.rows[i].key_size);
        ck_assert_uint_eq(hti_load_le32(columns.value_sizes.data + 4 * i), rows.rows[i].value_size);
    }
}
END_TEST

START_TEST(columns_without_rows_have_none)
{
    begin((unsigned)_i, 0);
    expect_rows(0);
}
END_TEST

START_TEST(a_reset_keeps_the_memory_and_takes_another_type)
{
    begin(4, N_ROWS);
    append_all();
    hti_mem_test_fail(0, true);
    hti_columns_reset(&columns, &rows.type);
    expect_rows(0);
    append_all();
    expect_rows(N_ROWS);
    hti_mem_test_fail(UINT64_MAX, false);
    begin(3, N_ROWS);
    append_all();
    expect_rows(N_ROWS);
}
END_TEST

START_TEST(a_row_that_finds_no_memory_is_not_there)
{
    begin((unsigned)_i, N_ROWS);
    for (size_t i = 0; i < N_ROWS; i++) {
        for (uint64_t nth = 0;; nth++) {
            hti_mem_test_fail(nth, true);
            int status = hti_columns_append(&columns, &rows.rows[i]);
            hti_mem_test_fail(UINT64_MAX, false);
            if (status == 0)
                break;
            ck_assert_int_eq(status, HTSTORE_ENOMEM);
            ck_assert_uint_lt(nth, 4);
            expect_rows(i);
        }
    }
    expect_rows(N_ROWS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("columns");
    TCase *tests = tcase_create("columns");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, rows_come_out_as_they_went_in, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, columns_stand_one_behind_the_other);
    tcase_add_loop_test(tests, columns_without_rows_have_none, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, a_reset_keeps_the_memory_and_takes_another_type);
    tcase_add_loop_test(tests, a_row_that_finds_no_memory_is_not_there, 0, N_SAMPLE_TYPES);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
