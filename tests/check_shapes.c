/* check_shapes: semantics.md 1.2: ranks of keys and values, strings of every length, rows of several MiB. */
#include "api_rows.h"
#include "api_util.h"

#include <stdio.h>

/* ---- ranks ---- */

START_TEST(values_have_any_rank)
{
    static const char *const shapes[] = { "",        "2",         "2,3",         "2,1,2",
                                          "2,1,2,2", "1,1,1,1,3", "2,2,2,2,2,2", "1,2,1,2,1,2,1" };
    char shape[40];
    uint32_t dtype = _i % 2 ? HTSTORE_STRING : HTSTORE_INT32;
    const char *tail = shapes[_i / 2];
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT16 };
    (void)snprintf(shape, sizeof shape, "5%s%s", *tail ? "," : "", tail);
    struct htstore_array keys = api_numbered(HTSTORE_INT16, "5", 0), values = api_numbered(dtype, shape, 1);
    schema.default_value = api_numbered(dtype, tail, 3);
    api_open_store();
    OK(htstore_table_create(api.store, "t1", &schema, &api.table, &api.error));
    api.name = "t1";
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_expect_found(api.table, &keys, &values, 0);
    api_expect_rows(api.table, &keys, &values, 0);
    api_reopen();
    api_expect_found(api.table, &keys, &values, 0);
    api_expect_rows(api.table, &keys, &values, 0);
}
END_TEST

START_TEST(values_of_rank_eight_have_scalar_keys)
{
    const char *shape = "1,2,1,2,1,1,1,2";
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT16 };
    struct htstore_array key = api_numbered(HTSTORE_INT16, "", 3), value = api_numbered(HTSTORE_INT32, shape, 1);
    struct htstore_array many = api_numbered(HTSTORE_INT16, "1", 3);
    schema.default_value = api_numbered(HTSTORE_INT32, shape, 3);
    api_open_store();
    OK(htstore_table_create(api.store, "t1", &schema, &api.table, &api.error));
    api.name = "t1";
    OK(htstore_table_insert(api.table, &key, &value, 0, &api.error));
    REFUSED(htstore_table_insert(api.table, &many, &value, 0, &api.error), HTSTORE_ESHAPE, "shape");
    for (int i = 0; i < 2; i++, api_reopen()) {
        struct htstore_array out = api_outputs(&key), keys, values;
        OK(htstore_table_lookup(api.table, &key, NULL, &out, NULL, &api.error));
        ck_assert(api_equal(&out, &value));
        ck_assert_uint_eq(api_size(api.table), 1);
        REFUSED(htstore_table_export(api.table, api.arena, &keys, &values, &api.error), HTSTORE_ESHAPE, "");
        OK(htstore_table_export(api.table, api.arena, &keys, NULL, &api.error));
        ck_assert(api_count(&keys) == 1 && api_element_equal(&keys, 0, &key, 0));
    }
}
END_TEST

START_TEST(values_may_have_no_elements)
{
    static const char *const shapes[] = { "0", "2,0", "0,3", "1,0,2" };
    char shape[40];
    const char *tail = shapes[_i / 2];
    uint32_t dtype = _i % 2 ? HTSTORE_STRING : HTSTORE_INT64;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_STRING };
    schema.default_value = api_shaped(dtype, tail, NULL);
    (void)snprintf(shape, sizeof shape, "3,%s", tail);
    struct htstore_array keys = api_array(HTSTORE_STRING, "[a b c]"), values = api_shaped(dtype, shape, NULL);
    api_open_store();
    OK(htstore_table_create(api.store, "t1", &schema, &api.table, &api.error));
    api.name = "t1";
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    REMOVE("[b]");
    for (int i = 0; i < 2; i++, api_reopen()) {
        struct htstore_array got_keys, got_values, out = values;
        uint8_t found[3] = { 7, 7, 7 };
        OK(htstore_table_lookup(api.table, &keys, NULL, &out, found, &api.error));
        ck_assert_str_eq(api_flags(found, 3), "[1 0 1]");
        OK(htstore_table_export(api.table, api.arena, &got_keys, &got_values, &api.error));
        ck_assert_str_eq(api_text(&got_keys), "[a c]");
        (void)snprintf(shape, sizeof shape, "2,%s", tail);
        ck_assert_str_eq(api_shape(&got_values), shape);
    }
}
END_TEST

START_TEST(keys_have_any_rank)
{
    static const char *const shapes[] = { "",          "6",           "2,3",           "2,1,3",          "1,2,3,1",
                                          "1,1,2,1,3", "1,1,2,1,3,1", "3,1,1,1,1,1,2", "1,1,1,2,1,1,1,3" };
    const char *shape = shapes[_i];
    uint8_t removed[6], found[6];
    api_open_store();
    api_begin_table("t1", HTSTORE_INT32, HTSTORE_INT64, "-1");
    struct htstore_array keys = api_numbered(HTSTORE_INT32, shape, 20), values = api_numbered(HTSTORE_INT64, shape, 40);
    size_t n = api_count(&keys);
    struct htstore_array out = api_outputs(&keys);
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    ck_assert_uint_eq(api_size(api.table), n);
    OK(htstore_table_lookup(api.table, &keys, NULL, &out, found, &api.error));
    ck_assert(api_equal(&out, &values));
    OK(htstore_table_find_or_insert(api.table, &keys, NULL, &out, found, 0, &api.error));
    ck_assert(api_equal(&out, &values));
    OK(htstore_table_remove(api.table, &keys, removed, 0, &api.error));
    ck_assert_mem_eq(found, removed, n);
    ck_assert_uint_eq(api_size(api.table), 0);
    OK(htstore_table_import(api.table, &keys, &values, 0, &api.error));
    ck_assert_uint_eq(api_size(api.table), n);
}
END_TEST

/* ---- strings ---- */

static struct htstore_bytes make_long(size_t size, uint8_t fill, uint8_t last)
{
    uint8_t *data = api_alloc(size + 1);
    memset(data, fill, size);
    if (size)
        data[size - 1] = last;
    return (struct htstore_bytes){ .data = data, .size = size };
}

START_TEST(string_keys_of_every_length_are_kept)
{
    static const size_t sizes[] = { 0,   1,   2,   489, 490, 491, 492,  505,   506,
                                    507, 510, 511, 512, 513, 600, 4096, 65535, 65536 };
    enum { N_SIZES = sizeof sizes / sizeof sizes[0] };
    struct htstore_bytes words[3 * N_SIZES];
    size_t n = 0;
    for (size_t i = 0; i < N_SIZES; i++) {
        words[n++] = make_long(sizes[i], 'x', 'x');
        if (sizes[i] > 0)
            words[n++] = make_long(sizes[i], 'x', 0);
        if (sizes[i] > 1)
            words[n++] = make_long(sizes[i], 0, 0);
    }
    char shape[16];
    (void)snprintf(shape, sizeof shape, "%zu", n);
    struct htstore_array keys = htstore_vector(HTSTORE_STRING, words, n),
                         values = api_numbered(HTSTORE_INT64, shape, 0);
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_settle();
    api_expect_found(api.table, &keys, &values, 0);
    ck_assert_uint_eq(api_size(api.table), n);
    struct htstore_array some = htstore_vector(HTSTORE_STRING, words, 4);
    OK(htstore_table_remove(api.table, &some, NULL, 0, &api.error));
    api_settle();
    api_expect_found(api.table, &keys, &values, 4);
    struct htstore_array got_keys, got_values;
    OK(htstore_table_export(api.table, api.arena, &got_keys, &got_values, &api.error));
    ck_assert_int_eq(got_keys.shape[0], (int64_t)n - 4);
    for (size_t i = 4; i < n; i++)
        ck_assert_msg(api_find_key(&got_keys, &keys, i) < n - 4, "key %zu of %zu bytes is missing", i, words[i].size);
    api_expect_ascending(&got_keys);
}
END_TEST

START_TEST(keys_that_share_their_first_600_bytes_are_distinct)
{
    struct htstore_bytes words[8];
    for (size_t i = 0; i < 8; i++)
        words[i] = make_long(601 + i / 4, 'p', (uint8_t)('a' + i));
    struct htstore_array keys = htstore_vector(HTSTORE_STRING, words, 8),
                         half = htstore_vector(HTSTORE_STRING, words, 4);
    struct htstore_array values = api_numbered(HTSTORE_STRING, "8", 1);
    api_begin(_i, HTSTORE_STRING, HTSTORE_STRING, "none");
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_settle();
    api_expect_found(api.table, &keys, &values, 0);
    api_expect_rows(api.table, &keys, &values, 0);
    OK(htstore_table_insert(api.table, &half, &half, 0, &api.error));
    api_settle();
    ck_assert_uint_eq(api_size(api.table), 8);
    api_expect_found(api.table, &half, &half, 0);
    OK(htstore_table_remove(api.table, &half, NULL, 0, &api.error));
    api_settle();
    api_expect_found(api.table, &keys, &values, 4);
    ck_assert_uint_eq(api_size(api.table), 4);
}
END_TEST

START_TEST(string_values_have_shapes)
{
    api_begin(_i, HTSTORE_INT64, HTSTORE_STRING, "[[d00 d01][\\e d11]]");
    INSERT("[1 2]", "[[[a \\e][\\0 b\\0c]][[\\e \\e][\\e \\e]]]");
    GET_OR_IS("[2 1 3]", NULL, "[[[\\e \\e][\\e \\e]][[a \\e][\\0 b\\0c]][[d00 d01][\\e d11]]]", "[1 1 0]");
    EXPORT_IS("[1 2]", "[[[a \\e][\\0 b\\0c]][[\\e \\e][\\e \\e]]]");
    GET_OR_IS("[3 2]", "[[x y][z \\e]]", "[[[x y][z \\e]][[\\e \\e][\\e \\e]]]", "[0 1]");
}
END_TEST

/* ---- large rows ---- */

static void put_and_check(const struct htstore_array *keys, const struct htstore_array *values)
{
    OK(htstore_table_insert(api.table, keys, values, 0, &api.error));
    api_settle();
    api_expect_found(api.table, keys, values, 0);
    api_expect_rows(api.table, keys, values, 0);
}

START_TEST(string_values_of_several_mib_are_kept)
{
    struct htstore_bytes words[3] = { make_long(3u << 20, 'v', 'w'), make_long(4096, 'v', 'w'),
                                      make_long(1, 'v', 'w') };
    struct htstore_bytes turned[3] = { words[2], words[0], words[1] };
    struct htstore_array values = htstore_vector(HTSTORE_STRING, words, 3);
    struct htstore_array others = htstore_vector(HTSTORE_STRING, turned, 3);
    struct htstore_array keys = api_array(HTSTORE_INT64, "[1 2 3]");
    api.options.map_size = 1u << 20;
    api_begin(_i, HTSTORE_INT64, HTSTORE_STRING, "none");
    put_and_check(&keys, &values);
    put_and_check(&keys, &others);
}
END_TEST

START_TEST(wide_rows_are_kept)
{
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    schema.default_value = api_numbered(HTSTORE_INT64, "131072,3", 0);
    struct htstore_array keys = api_array(HTSTORE_INT64, "[7 8]"),
                         values = api_numbered(HTSTORE_INT64, "2,131072,3", 9);
    api_open_store();
    api.name = "t1";
    OK(htstore_table_create(api.store, api.name, &schema, &api.table, &api.error));
    put_and_check(&keys, &values);
    api_reopen();
    api_expect_found(api.table, &keys, &values, 0);
    struct htstore_array absent = api_keys("9"), out = api_outputs(&absent);
    OK(htstore_table_lookup(api.table, &absent, NULL, &out, NULL, &api.error));
    ck_assert(api_equal(&out, &schema.default_value));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shapes");
    TCase *tests = tcase_create("shapes");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, values_have_any_rank, 0, 16);
    tcase_add_test(tests, values_of_rank_eight_have_scalar_keys);
    tcase_add_loop_test(tests, values_may_have_no_elements, 0, 8);
    tcase_add_loop_test(tests, keys_have_any_rank, 0, 9);
    tcase_add_loop_test(tests, string_keys_of_every_length_are_kept, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, keys_that_share_their_first_600_bytes_are_distinct, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, string_values_have_shapes, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, string_values_of_several_mib_are_kept, 0, API_N_VARIATIONS);
    tcase_add_test(tests, wide_rows_are_kept);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
