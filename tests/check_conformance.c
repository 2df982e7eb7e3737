/* check_conformance: the cases of semantics.md section 4 that concern tables, each with every variation of a table. */
#include "api_util.h"

static int try_insert(struct htstore_array keys, struct htstore_array values)
{
    return htstore_table_insert(api.table, &keys, &values, 0, &api.error);
}

/* A lookup that is refused must not touch its outputs. */
static int try_lookup(struct htstore_array keys, struct htstore_array defaults)
{
    struct htstore_array out = api_outputs(&keys);
    uint8_t found[16];
    memset(found, 7, sizeof found);
    int result = htstore_table_lookup(api.table, &keys, &defaults, &out, found, &api.error);
    if (result != 0) {
        ck_assert(api_is_untouched(&out));
        ck_assert_int_eq(found[0], 7);
    }
    return result;
}

START_TEST(test_C01_insert_remove_lookup_export)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    SIZE_IS(0);
    INSERT("[brain salad surgery tarkus]", "[0 1 2 3]");
    SIZE_IS(4);
    REMOVE("[tarkus tank]");
    SIZE_IS(3);
    GET_IS("[brain salad tank]", "[0 1 -1]");
    EXPORT_IS("[brain salad surgery]", "[0 1 2]");
}
END_TEST

START_TEST(test_C07_two_handles_share_one_named_table)
{
    struct htstore_table *second;
    api_begin(_i, HTSTORE_INT64, HTSTORE_STRING, "-");
    if (api.variation->anonymous)
        return;
    SIZE_IS(0);
    INSERT("[11 12]", "[a b]");
    SIZE_IS(2);
    GET_IS("[11 12 13]", "[a b -]");
    OK(htstore_table_open(api.store, "t1", NULL, &second, &api.error));
    struct htstore_table *first = api.table;
    api.table = second;
    SIZE_IS(2);
    GET_IS("[10 11 12]", "[- a b]");
    ck_assert_uint_eq(htstore_table_id(first), htstore_table_id(second));
    OK(htstore_table_close(first, &api.error));
}
END_TEST

START_TEST(test_C08_vector_values)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    SIZE_IS(0);
    INSERT("[brain salad surgery tarkus]", "[[0 1][2 3][4 5][6 7]]");
    SIZE_IS(4);
    REMOVE("[tarkus tank]");
    SIZE_IS(3);
    GET_IS("[brain salad tank]", "[[0 1][2 3][-1 -1]]");
    EXPORT_IS("[brain salad surgery]", "[[0 1][2 3][4 5]]");
}
END_TEST

START_TEST(test_C10_values_of_a_wrong_shape_are_refused)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    struct htstore_array keys = api_keys("[brain salad surgery]");
    struct api_state before = api_state();
    REFUSED(try_insert(keys, api_values("[0 1 2 3 4 5]")), HTSTORE_ESHAPE, "Expected shape [3,2] for value, got [6]");
    REFUSED(try_insert(keys, api_values("[[0 1 2][3 4 5]]")), HTSTORE_ESHAPE,
            "Expected shape [3,2] for value, got [2,3]");
    REFUSED(try_insert(keys, api_values("[[0 1][2 3]]")), HTSTORE_ESHAPE, "Expected shape [3,2] for value, got [2,2]");
    REFUSED(try_insert(keys, api_values("[[0][2][4]]")), HTSTORE_ESHAPE, "Expected shape [3,2] for value, got [3,1]");
    UNCHANGED(before);
    INSERT("[brain salad surgery]", "[[0 1][2 3][4 5]]");
    SIZE_IS(3);
}
END_TEST

START_TEST(test_C12_the_last_of_equal_keys_wins)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    SIZE_IS(0);
    INSERT("[brain salad surgery brain]", "[0 1 2 3]");
    SIZE_IS(3);
    GET_IS("[brain salad tank]", "[3 1 -1]");
}
END_TEST

START_TEST(test_C14_defaults_of_a_wrong_shape_are_refused)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    struct htstore_array keys = api_keys("[[brain salad][tank tarkus]]");
    REFUSED(try_lookup(keys, api_values("[[-2 -3][-4 -5][-6 -7][-8 -9]]")), HTSTORE_ESHAPE,
            "Expected shape [2] or [2,2,2] for default value, got [4,2]");
    REFUSED(try_lookup(keys, api_values("[[[-2 -3][-4 -5]]]")), HTSTORE_ESHAPE,
            "Expected shape [2] or [2,2,2] for default value, got [1,2,2]");
}
END_TEST

START_TEST(test_C16_a_default_row_for_each_key)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    INSERT("[brain salad surgery]", "[[0 1][2 3][4 5]]");
    SIZE_IS(3);
    GET_OR_IS("[[brain salad][tank tarkus]]", "[[[-2 -3][-4 -5]][[-6 -7][-8 -9]]]", "[[[0 1][2 3]][[-6 -7][-8 -9]]]",
              "[1 1 0 0]");
}
END_TEST

START_TEST(test_C18_keys_of_rank_two)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[[brain salad][surgery tank]]", "[[0 1][2 3]]");
    SIZE_IS(4);
    REMOVE("[salad tarkus]");
    SIZE_IS(3);
    GET_IS("[brain salad tank tarkus]", "[0 -1 3 -1]");
}
END_TEST

START_TEST(test_C20_vectors_under_keys_of_rank_two)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1 -1]");
    INSERT("[brain salad surgery]", "[[0 1 2][2 3 4][4 5 6]]");
    SIZE_IS(3);
    REMOVE("[[brain tank]]");
    SIZE_IS(2);
    GET_IS("[[brain salad][surgery tank]]", "[[[-1 -1 -1][2 3 4]][[4 5 6][-1 -1 -1]]]");
}
END_TEST

START_TEST(test_C23_other_dtypes_are_refused)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    struct htstore_array none = htstore_scalar(HTSTORE_INT64, &(int64_t){ 0 });
    REFUSED(try_insert(api_array(HTSTORE_INT32, "[4 5 6]"), api_values("[0 1 2]")), HTSTORE_ETYPE,
            "Key must be type string but got int32");
    REFUSED(try_insert(api_keys("[brain salad surgery]"), api_array(HTSTORE_STRING, "[a b c]")), HTSTORE_ETYPE,
            "Value must be type int64 but got string");
    SIZE_IS(0);
    INSERT("[brain salad surgery]", "[0 1 2]");
    SIZE_IS(3);
    INSERT("brain", "-1");
    SIZE_IS(3);
    GET_IS("brain", "-1");
    REFUSED(try_lookup(api_array(HTSTORE_INT64, "[1 2 3]"), none), HTSTORE_ETYPE,
            "Key must be type string but got int64");
}
END_TEST

START_TEST(test_C23_a_default_of_another_dtype_is_refused)
{
    struct htstore_table *table = (struct htstore_table *)&api;
    api_open_store();
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "UNK", HTSTORE_STRING);
    schema.value_dtype = HTSTORE_INT64;
    schema.flags = _i ? HTSTORE_ANONYMOUS : 0;
    REFUSED(htstore_table_create(api.store, _i ? NULL : "t1", &schema, &table, &api.error), HTSTORE_ETYPE,
            "Default value must be type int64 but got string");
    ck_assert_ptr_null(table);
    ck_assert_uint_eq(api_stats().n_tables, 0);
}
END_TEST

START_TEST(test_C25_float_values)
{
    api_begin(_i, HTSTORE_INT64, HTSTORE_FLOAT32, "-1.0");
    SIZE_IS(0);
    INSERT("[3 7 0]", "[7.5 -1.2 9.9]");
    SIZE_IS(3);
    struct htstore_array expected = api_values("[-1.2 9.9 -1.0]");
    GET_IS("[7 0 11]", api_text(&expected));
}
END_TEST

START_TEST(test_C28_removed_keys_give_the_default)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[a b c]", "[7 8 9]");
    GET_IS("[a f]", "[7 -1]");
    REMOVE("[c]");
    GET_IS("[a b c]", "[7 8 -1]");
    EXPORT_IS("[a b]", "[7 8]");
}
END_TEST

static void expect_empty_batches(const char *value_shape)
{
    struct htstore_array keys = api_shaped(HTSTORE_STRING, "0", NULL);
    struct htstore_array values = api_shaped(HTSTORE_INT64, value_shape, NULL);
    struct htstore_array out = values;
    uint64_t size = api_size(api.table);
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_settle();
    OK(htstore_table_lookup(api.table, &keys, NULL, &out, NULL, &api.error));
    OK(htstore_table_remove(api.table, &keys, NULL, 0, &api.error));
    api_settle();
    SIZE_IS(size);
}

START_TEST(test_D01_empty_batches_of_scalars)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    expect_empty_batches("0");
    INSERT("[a b]", "[1 2]");
    expect_empty_batches("0");
    GET_IS("[a b]", "[1 2]");
}
END_TEST

START_TEST(test_D01_empty_batches_of_vectors)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1 -1]");
    expect_empty_batches("0,3");
    INSERT("[a]", "[[1 2 3]]");
    expect_empty_batches("0,3");
    GET_IS("[]", "[]");
    GET_IS("[a]", "[[1 2 3]]");
}
END_TEST

START_TEST(test_D05_a_second_insert_replaces_the_value)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[a b]", "[1 2]");
    SIZE_IS(2);
    INSERT("a", "3");
    SIZE_IS(2);
    GET_IS("[a b]", "[3 2]");
    EXPORT_IS("[a b]", "[3 2]");
}
END_TEST

START_TEST(test_D08_import_replaces_the_contents)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[a c d]", "[7 8 9]");
    struct htstore_array keys = api_keys("[a b a]"), values = api_values("[1 2 3]");
    OK(htstore_table_import(api.table, &keys, &values, 0, &api.error));
    api_settle();
    SIZE_IS(2);
    GET_IS("[a b c d]", "[3 2 -1 -1]");
    EXPORT_IS("[a b]", "[3 2]");
}
END_TEST

START_TEST(test_D10_empty_strings_and_embedded_nuls)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_STRING, "-");
    INSERT("[\\e a a\\0 a\\0b \\0]", "[empty \\e \\0\\0 x\\0y\\0 one]");
    SIZE_IS(5);
    GET_OR_IS("[\\e a a\\0 a\\0b \\0 \\0\\0]", NULL, "[empty \\e \\0\\0 x\\0y\\0 one -]", "[1 1 1 1 1 0]");
    EXPORT_IS("[\\e a a\\0 a\\0b \\0]", "[empty \\e \\0\\0 x\\0y\\0 one]");
    REMOVE("[a\\0b \\e]");
    GET_OR_IS("[\\e a a\\0 a\\0b \\0]", NULL, "[- \\e \\0\\0 - one]", "[0 1 1 0 1]");
}
END_TEST

START_TEST(test_D12_an_existing_name_is_opened_with_its_schema_only)
{
    struct htstore_table *other = (struct htstore_table *)&api;
    api_begin(_i, HTSTORE_INT64, HTSTORE_INT64, "-1");
    if (api.variation->anonymous)
        return;
    INSERT("[1 2]", "[10 20]");
    struct htstore_schema strings = api_schema(HTSTORE_INT64, "-", HTSTORE_STRING);
    struct htstore_schema same = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    const char *text = "Conflicting key/value dtypes int64->string with int64-int64 for table t1";
    REFUSED(htstore_table_open(api.store, "t1", &strings, &other, &api.error), HTSTORE_ECONFLICT, text);
    ck_assert_ptr_null(other);
    REFUSED(htstore_table_get_or_create(api.store, "t1", &strings, &other, &api.error), HTSTORE_ECONFLICT, text);
    ck_assert_ptr_null(other);
    struct htstore_table *first = api.table;
    OK(htstore_table_open(api.store, "t1", &same, &api.table, &api.error));
    OK(htstore_table_close(first, &api.error));
    GET_IS("[1 2 3]", "[10 20 -1]");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conformance");
    TCase *cases = tcase_create("tables");
    tcase_add_checked_fixture(cases, api_setup, api_teardown);
    tcase_add_loop_test(cases, test_C01_insert_remove_lookup_export, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C07_two_handles_share_one_named_table, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C08_vector_values, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C10_values_of_a_wrong_shape_are_refused, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C12_the_last_of_equal_keys_wins, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C14_defaults_of_a_wrong_shape_are_refused, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C16_a_default_row_for_each_key, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C18_keys_of_rank_two, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C20_vectors_under_keys_of_rank_two, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C23_other_dtypes_are_refused, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C23_a_default_of_another_dtype_is_refused, 0, 2);
    tcase_add_loop_test(cases, test_C25_float_values, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_C28_removed_keys_give_the_default, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_D01_empty_batches_of_scalars, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_D01_empty_batches_of_vectors, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_D05_a_second_insert_replaces_the_value, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_D08_import_replaces_the_contents, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_D10_empty_strings_and_embedded_nuls, 0, API_N_VARIATIONS);
    tcase_add_loop_test(cases, test_D12_an_existing_name_is_opened_with_its_schema_only, 0, API_N_VARIATIONS);
    suite_add_tcase(suite, cases);
    return check_run(suite);
}
