/* check_batch: htstore_batch: order, atomicity, what it refuses, and what a batch is after commit, refusal and reset. */
#include "api_util.h"

static struct htstore_batch *batch;
static struct htstore_table *numbers; /* int64 -> int64, api.table */
static struct htstore_table *words; /* string -> string */

static void setup(void)
{
    api_setup();
    api_open_store();
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "none", HTSTORE_STRING);
    OK(htstore_table_create(api.store, "words", &schema, &words, &api.error));
    api_begin_table("numbers", HTSTORE_INT64, HTSTORE_INT64, "-1");
    numbers = api.table;
    OK(htstore_batch_new(api.store, &batch, &api.error));
    ck_assert_ptr_nonnull(batch);
}

static void teardown(void)
{
    htstore_batch_free(batch);
    OK(htstore_table_close(words, &api.error));
    api_teardown();
}

static int add_insert(struct htstore_table *table, const char *keys_text, const char *values_text)
{
    struct htstore_array keys = api_array(htstore_table_key_dtype(table), keys_text);
    struct htstore_array values = api_array(htstore_table_value_dtype(table), values_text);
    return htstore_batch_insert(batch, table, &keys, &values, &api.error);
}

static int add_insert_new(struct htstore_table *table, const char *keys_text, const char *values_text)
{
    struct htstore_array keys = api_array(htstore_table_key_dtype(table), keys_text);
    struct htstore_array values = api_array(htstore_table_value_dtype(table), values_text);
    return htstore_batch_insert_new(batch, table, &keys, &values, &api.error);
}

static int add_remove(struct htstore_table *table, const char *keys_text)
{
    struct htstore_array keys = api_array(htstore_table_key_dtype(table), keys_text);
    return htstore_batch_remove(batch, table, &keys, &api.error);
}

static void commit(void)
{
    OK(htstore_batch_commit(batch, 0, &api.error));
}

static void words_are(const char *keys, const char *values)
{
    api.table = words;
    EXPORT_IS(keys, values);
    api.table = numbers;
}

START_TEST(a_batch_changes_several_tables_in_one_step)
{
    INSERT("[1 2 9]", "[1 2 9]");
    struct htstore_stats before = api_stats();
    OK(add_insert(numbers, "[1 3]", "[10 30]"));
    OK(add_insert(words, "[a b]", "[x y]"));
    OK(add_remove(numbers, "[2 7]"));
    OK(add_insert_new(words, "[c]", "[z]"));
    SIZE_IS(3);
    GET_IS("[1 2 3]", "[1 2 -1]");
    commit();
    struct htstore_stats after = api_stats();
    ck_assert_uint_eq(after.visible_lsn - before.visible_lsn, 1);
    ck_assert_uint_eq(after.durable_lsn, after.visible_lsn);
    EXPORT_IS("[1 3 9]", "[10 30 9]");
    words_are("[a b c]", "[x y z]");
}
END_TEST

START_TEST(operations_apply_in_the_order_they_were_added)
{
    INSERT("[1 2]", "[1 2]");
    OK(add_insert(numbers, "[3 4]", "[30 40]"));
    OK(add_remove(numbers, "[3 1]"));
    OK(add_insert_new(numbers, "[3 5]", "[33 50]"));
    OK(add_insert(numbers, "[5 5]", "[51 52]"));
    OK(add_remove(numbers, "2"));
    commit();
    EXPORT_IS("[3 4 5]", "[33 40 52]");
    GET_IS("[1 2 3 4 5]", "[-1 -1 33 40 52]");
    SIZE_IS(3);
}
END_TEST

START_TEST(remove_after_insert_in_one_batch_leaves_nothing)
{
    OK(add_insert(numbers, "[1 2]", "[10 20]"));
    OK(add_remove(numbers, "[1 2]"));
    commit();
    SIZE_IS(0);
    GET_OR_IS("[1 2]", NULL, "[-1 -1]", "[0 0]");
    OK(htstore_flush(api.store, &api.error));
    EXPORT_IS("[]", "[]");
}
END_TEST

START_TEST(clear_then_insert_in_one_batch_replaces_the_contents)
{
    INSERT("[1 2 3]", "[1 2 3]");
    OK(htstore_batch_clear(batch, numbers, &api.error));
    OK(add_insert(numbers, "[3 4]", "[30 40]"));
    commit();
    SIZE_IS(2);
    GET_IS("[1 2 3 4]", "[-1 -1 30 40]");
    EXPORT_IS("[3 4]", "[30 40]");
    OK(add_insert(numbers, "[5]", "[50]"));
    OK(htstore_batch_clear(batch, numbers, &api.error));
    OK(add_insert_new(numbers, "[3]", "[33]"));
    OK(htstore_batch_clear(batch, words, &api.error));
    commit();
    EXPORT_IS("[3]", "[33]");
    words_are("[]", "[]");
}
END_TEST

START_TEST(a_present_new_key_refuses_the_whole_batch)
{
    INSERT("[1 2]", "[1 2]");
    struct api_state before = api_state();
    OK(add_insert(numbers, "[3]", "[30]"));
    OK(add_insert(words, "[a]", "[x]"));
    OK(add_insert_new(numbers, "[4 5 2 1]", "[40 50 20 10]"));
    OK(add_remove(numbers, "1"));
    REFUSED(htstore_batch_commit(batch, 0, &api.error), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 2);
    UNCHANGED(before);
    words_are("[]", "[]");
    REMOVE("[2 1]");
    commit();
    EXPORT_IS("[3 4 5 2]", "[30 40 50 20]");
    words_are("[a]", "[x]");
}
END_TEST

START_TEST(a_new_key_must_be_absent_when_its_turn_comes)
{
    OK(add_insert(numbers, "[1]", "[10]"));
    OK(add_insert_new(numbers, "[7 1]", "[70 11]"));
    struct api_state before = api_state();
    REFUSED(htstore_batch_commit(batch, 0, &api.error), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 1);
    UNCHANGED(before);
    htstore_batch_reset(batch);
    INSERT("[1]", "[10]");
    OK(add_remove(numbers, "[1]"));
    OK(add_insert_new(numbers, "[7 1]", "[70 11]"));
    commit();
    EXPORT_IS("[1 7]", "[11 70]");
}
END_TEST

START_TEST(a_new_key_twice_in_one_call_refuses_the_batch)
{
    int result = add_insert_new(numbers, "[5 6 5]", "[1 2 1]");
    struct api_state before = api_state();
    if (result == 0)
        result = htstore_batch_commit(batch, 0, &api.error);
    ck_assert_int_eq(result, HTSTORE_EEXIST);
    ck_assert_int_eq(api.error.index, 2);
    UNCHANGED(before);
    SIZE_IS(0);
}
END_TEST

START_TEST(a_new_key_of_an_earlier_call_refuses_the_batch)
{
    OK(add_insert_new(numbers, "[5]", "[1]"));
    OK(add_insert_new(words, "[5]", "[1]"));
    OK(add_insert_new(numbers, "[6 5]", "[2 2]"));
    REFUSED(htstore_batch_commit(batch, 0, &api.error), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 1);
    SIZE_IS(0);
}
END_TEST

START_TEST(keys_and_values_are_copied_when_they_are_added)
{
    int64_t key = 1, value = 2;
    char text[] = "word";
    struct htstore_bytes bytes = htstore_string(text);
    struct htstore_array k = htstore_vector(HTSTORE_INT64, &key, 1), v = htstore_vector(HTSTORE_INT64, &value, 1);
    struct htstore_array w = htstore_vector(HTSTORE_STRING, &bytes, 1);
    OK(htstore_batch_insert(batch, numbers, &k, &v, &api.error));
    OK(htstore_batch_insert(batch, words, &w, &w, &api.error));
    key = value = 99;
    memset(text, '#', sizeof text);
    bytes.size = 0;
    commit();
    EXPORT_IS("[1]", "[2]");
    words_are("[word]", "[word]");
}
END_TEST

START_TEST(a_committed_batch_is_empty_and_may_be_used_again)
{
    OK(add_insert(numbers, "[1]", "[10]"));
    commit();
    INSERT("[1]", "[11]");
    uint64_t lsn = api_stats().visible_lsn;
    commit();
    ck_assert_uint_eq(api_stats().visible_lsn, lsn);
    EXPORT_IS("[1]", "[11]");
    OK(add_insert(numbers, "[2]", "[20]"));
    commit();
    EXPORT_IS("[1 2]", "[11 20]");
}
END_TEST

START_TEST(an_empty_commit_does_nothing)
{
    struct api_state before = api_state();
    commit();
    OK(add_insert(numbers, "[]", "[]"));
    OK(add_insert_new(words, "[]", "[]"));
    OK(add_remove(words, "[]"));
    commit();
    ck_assert_uint_eq(api_size(numbers), before.size);
    EXPORT_IS("[]", "[]");
}
END_TEST

START_TEST(reset_forgets_all_operations)
{
    OK(add_insert(numbers, "[1]", "[10]"));
    OK(htstore_batch_clear(batch, words, &api.error));
    htstore_batch_reset(batch);
    struct api_state before = api_state();
    commit();
    UNCHANGED(before);
    OK(add_insert(numbers, "[2]", "[20]"));
    htstore_batch_reset(batch);
    htstore_batch_reset(batch);
    htstore_batch_reset(NULL);
    htstore_batch_free(NULL);
    OK(add_insert(numbers, "[3]", "[30]"));
    commit();
    EXPORT_IS("[3]", "[30]");
}
END_TEST

START_TEST(a_refused_operation_leaves_the_batch_as_it_was)
{
    struct htstore_error *e = &api.error;
    struct htstore_array keys = api_keys("[1 2]"), flat = api_values("[1 2 3]"),
                         strings = api_array(HTSTORE_STRING, "[a b]");
    struct htstore_array good = api_values("[1 2]");
    OK(add_insert(numbers, "[1]", "[10]"));
    REFUSED(htstore_batch_insert(batch, numbers, &keys, &flat, e), HTSTORE_ESHAPE,
            "Expected shape [2] for value, got [3]");
    REFUSED(htstore_batch_insert(batch, numbers, &strings, &good, e), HTSTORE_ETYPE,
            "Key must be type int64 but got string");
    REFUSED(htstore_batch_insert(batch, numbers, &keys, &strings, e), HTSTORE_ETYPE,
            "Value must be type int64 but got string");
    REFUSED(htstore_batch_insert_new(batch, numbers, &keys, &flat, e), HTSTORE_ESHAPE, "Expected shape [2]");
    REFUSED(htstore_batch_insert_new(batch, numbers, &strings, &good, e), HTSTORE_ETYPE, "Key must be type int64");
    REFUSED(htstore_batch_remove(batch, numbers, &strings, e), HTSTORE_ETYPE, "Key must be type int64 but got string");
    REFUSED(htstore_batch_remove(batch, numbers, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_remove(batch, NULL, &keys, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_insert(batch, numbers, &keys, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_insert(NULL, numbers, &keys, &good, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_clear(batch, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_commit(NULL, 0, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_commit(batch, 4, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_commit(batch, HTSTORE_ALL_OR_NOTHING, e), HTSTORE_EINVAL, "");
    SIZE_IS(0);
    commit();
    EXPORT_IS("[1]", "[10]");
}
END_TEST

START_TEST(a_table_of_another_store_is_refused)
{
    struct htstore *other;
    struct htstore_table *foreign;
    struct htstore_error *e = &api.error;
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    struct htstore_array keys = api_keys("[1]");
    OK(htstore_open(api_path("other"), &api.options, &other, e));
    OK(htstore_table_create(other, "numbers", &schema, &foreign, e));
    OK(add_insert(numbers, "[1]", "[10]"));
    REFUSED(htstore_batch_insert(batch, foreign, &keys, &keys, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_insert_new(batch, foreign, &keys, &keys, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_remove(batch, foreign, &keys, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_clear(batch, foreign, e), HTSTORE_EINVAL, "");
    commit();
    ck_assert_uint_eq(api_size(foreign), 0);
    EXPORT_IS("[1]", "[10]");
    OK(htstore_table_close(foreign, e));
    OK(htstore_close(other, e));
}
END_TEST

START_TEST(a_batch_keeps_table_and_store_open)
{
    ck_assert_uint_eq(api_stats().open_handles, 3);
    OK(add_insert(words, "[a]", "[x]"));
    REFUSED(htstore_table_close(words, &api.error), HTSTORE_EBUSY, "");
    words_are("[]", "[]");
    commit();
    OK(htstore_table_close(words, &api.error));
    OK(htstore_table_open(api.store, "words", NULL, &words, &api.error));
    OK(add_insert(words, "[b]", "[y]"));
    htstore_batch_reset(batch);
    OK(htstore_table_close(words, &api.error));
    OK(htstore_table_close(numbers, &api.error));
    api.table = NULL;
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "");
    ck_assert_uint_eq(api_stats().open_handles, 1);
    OK(htstore_table_open(api.store, "words", NULL, &words, &api.error));
    OK(htstore_table_open(api.store, "numbers", NULL, &numbers, &api.error));
    api.table = numbers;
    words_are("[a]", "[x]");
}
END_TEST

START_TEST(a_read_only_store_has_no_batches)
{
    struct htstore_batch *none = batch;
    htstore_batch_free(batch);
    batch = NULL;
    OK(htstore_table_close(words, &api.error));
    api_close_store();
    api.options.flags = HTSTORE_READONLY;
    api_open_store();
    OK(htstore_table_open(api.store, "words", NULL, &words, &api.error));
    REFUSED(htstore_batch_new(api.store, &none, &api.error), HTSTORE_EREADONLY, "");
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(a_batch_survives_reopening_whole)
{
    OK(add_insert(numbers, "[1 2]", "[10 20]"));
    OK(add_insert(words, "[a]", "[x]"));
    OK(htstore_batch_commit(batch, (uint32_t)_i, &api.error));
    htstore_batch_free(batch);
    OK(htstore_table_close(words, &api.error));
    api.name = "numbers";
    api_reopen();
    numbers = api.table;
    OK(htstore_table_open(api.store, "words", NULL, &words, &api.error));
    OK(htstore_batch_new(api.store, &batch, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
    words_are("[a]", "[x]");
}
END_TEST

START_TEST(a_batch_may_be_larger_than_a_segment)
{
    enum { N = 30000 };
    int64_t *keys = api_alloc(N * sizeof *keys);
    for (int64_t i = 0; i < N; i++)
        keys[i] = i * 7;
    for (size_t at = 0; at < N; at += N / 10) {
        struct htstore_array k = htstore_vector(HTSTORE_INT64, keys + at, N / 10);
        OK(htstore_batch_insert(batch, numbers, &k, &k, &api.error));
    }
    OK(add_remove(numbers, "[0 7]"));
    commit();
    SIZE_IS(N - 2);
    GET_IS("[0 7 14 209993]", "[-1 -1 14 209993]");
    OK(htstore_flush(api.store, &api.error));
    SIZE_IS(N - 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("batch");
    TCase *tests = tcase_create("batch");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_batch_changes_several_tables_in_one_step);
    tcase_add_test(tests, operations_apply_in_the_order_they_were_added);
    tcase_add_test(tests, remove_after_insert_in_one_batch_leaves_nothing);
    tcase_add_test(tests, clear_then_insert_in_one_batch_replaces_the_contents);
    tcase_add_test(tests, a_present_new_key_refuses_the_whole_batch);
    tcase_add_test(tests, a_new_key_must_be_absent_when_its_turn_comes);
    tcase_add_test(tests, a_new_key_twice_in_one_call_refuses_the_batch);
    tcase_add_test(tests, a_new_key_of_an_earlier_call_refuses_the_batch);
    tcase_add_test(tests, keys_and_values_are_copied_when_they_are_added);
    tcase_add_test(tests, a_committed_batch_is_empty_and_may_be_used_again);
    tcase_add_test(tests, an_empty_commit_does_nothing);
    tcase_add_test(tests, reset_forgets_all_operations);
    tcase_add_test(tests, a_refused_operation_leaves_the_batch_as_it_was);
    tcase_add_test(tests, a_table_of_another_store_is_refused);
    tcase_add_test(tests, a_batch_keeps_table_and_store_open);
    tcase_add_test(tests, a_read_only_store_has_no_batches);
    tcase_add_loop_test(tests, a_batch_survives_reopening_whole, 0, HTSTORE_LAZY + 1);
    tcase_add_test(tests, a_batch_may_be_larger_than_a_segment);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
