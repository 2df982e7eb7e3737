/* check_types: semantics.md 1.1: every dtype as key and as value, and floats with odd bits. */
#include "api_rows.h"
#include "api_util.h"

#include <stdio.h>

#define N_ROWS 40

/* ---- every key dtype with every value dtype ---- */

struct sample {
    struct htstore_table *table;
    struct htstore_array keys, values;
    char name[8];
};

static void create_sample(struct sample *s, uint32_t key_dtype, uint32_t value_dtype)
{
    size_t n = api_distinct(key_dtype, N_ROWS);
    char shape[16];
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = key_dtype };
    (void)snprintf(shape, sizeof shape, "%zu", n);
    s->keys = api_numbered(key_dtype, shape, 0);
    (void)snprintf(shape, sizeof shape, "%zu,2", n);
    s->values = api_numbered(value_dtype, shape, 0);
    schema.default_value = api_row(&s->values, 0);
    (void)snprintf(s->name, sizeof s->name, "t%u", value_dtype);
    OK(htstore_table_create(api.store, s->name, &schema, &s->table, &api.error));
    ck_assert_uint_eq(htstore_table_key_dtype(s->table), key_dtype);
    ck_assert_uint_eq(htstore_table_value_dtype(s->table), value_dtype);
}

static void fill_sample(struct sample *s)
{
    struct htstore_array first = api_row(&s->keys, 0);
    api_expect_found(s->table, &s->keys, &s->values, api_count(&s->keys));
    OK(htstore_table_insert(s->table, &s->keys, &s->values, HTSTORE_LAZY, &api.error));
    api_expect_found(s->table, &s->keys, &s->values, 0);
    api_expect_rows(s->table, &s->keys, &s->values, 0);
    uint8_t removed = 0;
    OK(htstore_table_remove(s->table, &first, &removed, HTSTORE_LAZY, &api.error));
    ck_assert_int_eq(removed, 1);
    api_expect_found(s->table, &s->keys, &s->values, 1);
}

static void reopen_samples(struct sample *samples)
{
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++)
        OK(htstore_table_close(samples[d].table, &api.error));
    api_reopen();
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++)
        OK(htstore_table_open(api.store, samples[d].name, NULL, &samples[d].table, &api.error));
}

static void expect_samples(const struct sample *samples)
{
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++) {
        api_expect_found(samples[d].table, &samples[d].keys, &samples[d].values, 1);
        api_expect_rows(samples[d].table, &samples[d].keys, &samples[d].values, 1);
    }
}

START_TEST(every_key_dtype_holds_every_value_dtype)
{
    struct sample samples[HTSTORE_STRING + 1];
    if (_i == HTSTORE_FLOAT16 || _i == HTSTORE_BFLOAT16)
        return;
    api_open_store();
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++) {
        create_sample(&samples[d], (uint32_t)_i, d);
        fill_sample(&samples[d]);
    }
    expect_samples(samples);
    reopen_samples(samples);
    expect_samples(samples);
    api.options.flags |= HTSTORE_NO_PRELOAD;
    reopen_samples(samples);
    expect_samples(samples);
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++)
        OK(htstore_table_close(samples[d].table, &api.error));
}
END_TEST

START_TEST(every_value_of_a_small_key_type_is_a_key)
{
    uint32_t dtype = _i ? HTSTORE_UINT8 : HTSTORE_INT8;
    struct htstore_array keys = api_numbered(dtype, "256", 0), values = api_numbered(HTSTORE_UINT16, "256", 0);
    api_open_store();
    api_begin_table("t1", dtype, HTSTORE_UINT16, "7");
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_expect_rows(api.table, &keys, &values, 0);
    api_reopen();
    api_expect_rows(api.table, &keys, &values, 0);
}
END_TEST

START_TEST(float16_and_bfloat16_are_no_key_types)
{
    struct htstore_table *table = (struct htstore_table *)&api;
    struct htstore_schema schema = api_schema(_i ? HTSTORE_BFLOAT16 : HTSTORE_FLOAT16, "-1", HTSTORE_INT64);
    api_open_store();
    REFUSED(htstore_table_create(api.store, "t1", &schema, &table, &api.error), HTSTORE_ETYPE,
            _i ? "bfloat16" : "float16");
    ck_assert_ptr_null(table);
    REFUSED(htstore_table_get_or_create(api.store, "t1", &schema, &table, &api.error), HTSTORE_ETYPE,
            _i ? "bfloat16" : "float16");
    ck_assert_uint_eq(api_stats().n_tables, 0);
}
END_TEST

START_TEST(dtypes_have_names_and_sizes)
{
    static const char *const names[] = { "int8",   "int16", "int32",   "int64",    "uint8",   "uint16",  "uint32",
                                         "uint64", "bool",  "float16", "bfloat16", "float32", "float64", "string" };
    static const size_t sizes[] = { 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 2, 4, 8, sizeof(struct htstore_bytes) };
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++) {
        ck_assert_str_eq(htstore_dtype_name(d), names[d - 1]);
        ck_assert_uint_eq(htstore_dtype_from_name(names[d - 1]), d);
        ck_assert_uint_eq(htstore_dtype_size(d), sizes[d - 1]);
    }
    ck_assert_ptr_null(htstore_dtype_name(0));
    ck_assert_ptr_null(htstore_dtype_name(HTSTORE_STRING + 1));
    ck_assert_uint_eq(htstore_dtype_size(0) + htstore_dtype_size(HTSTORE_STRING + 1), 0);
    ck_assert_uint_eq(htstore_dtype_from_name("int") + htstore_dtype_from_name("") + htstore_dtype_from_name(NULL), 0);
}
END_TEST

START_TEST(each_dtype_is_named_in_refusals)
{
    char text[80];
    if (_i == HTSTORE_FLOAT16 || _i == HTSTORE_BFLOAT16)
        return;
    api_open_store();
    api_begin_table("t1", (uint32_t)_i, (uint32_t)_i, _i == HTSTORE_BOOL ? "0" : "7");
    struct htstore_array own_keys = api_numbered((uint32_t)_i, "2", 1);
    for (uint32_t d = HTSTORE_INT8; d <= HTSTORE_STRING; d++) {
        if (d == (uint32_t)_i)
            continue;
        struct htstore_array other = api_numbered(d, "2", 0);
        (void)snprintf(text, sizeof text, "Key must be type %s but got %s", htstore_dtype_name((uint32_t)_i),
                       htstore_dtype_name(d));
        REFUSED(htstore_table_insert(api.table, &other, &own_keys, 0, &api.error), HTSTORE_ETYPE, text);
        REFUSED(htstore_table_remove(api.table, &other, NULL, 0, &api.error), HTSTORE_ETYPE, text);
        (void)snprintf(text, sizeof text, "Value must be type %s but got %s", htstore_dtype_name((uint32_t)_i),
                       htstore_dtype_name(d));
        REFUSED(htstore_table_insert(api.table, &own_keys, &other, 0, &api.error), HTSTORE_ETYPE, text);
        struct htstore_array out = api_outputs(&own_keys);
        (void)snprintf(text, sizeof text, "Default value must be type %s but got %s", htstore_dtype_name((uint32_t)_i),
                       htstore_dtype_name(d));
        REFUSED(htstore_table_lookup(api.table, &own_keys, &other, &out, NULL, &api.error), HTSTORE_ETYPE, text);
    }
    SIZE_IS(0);
}
END_TEST

/* ---- floats ---- */

static void expect_zero_key(void)
{
    struct htstore_array keys, values;
    OK(htstore_table_export(api.table, api.arena, &keys, &values, &api.error));
    ck_assert_int_eq(keys.shape[0], 1);
    const uint8_t *bytes = keys.data;
    for (size_t i = 0; i < htstore_dtype_size(keys.dtype); i++)
        ck_assert_int_eq(bytes[i], 0);
}

static uint32_t float_dtype(int i)
{
    return i % 2 ? HTSTORE_FLOAT64 : HTSTORE_FLOAT32;
}

START_TEST(negative_zero_is_the_key_zero)
{
    api_begin(_i / 2, float_dtype(_i), HTSTORE_INT64, "-1");
    INSERT("-0", "5");
    SIZE_IS(1);
    GET_OR_IS("[0 -0]", NULL, "[5 5]", "[1 1]");
    expect_zero_key();
    INSERT("[-0 0]", "[6 7]");
    SIZE_IS(1);
    GET_IS("-0", "7");
    INSERT("[0 -0]", "[8 9]");
    GET_IS("[0 -0]", "[9 9]");
    expect_zero_key();
    REMOVE("-0");
    SIZE_IS(0);
    GET_IS("0", "-1");
}
END_TEST

START_TEST(infinities_are_ordinary_keys)
{
    api_begin(_i / 2, float_dtype(_i), HTSTORE_INT64, "-1");
    INSERT("[inf -inf 0]", "[1 2 3]");
    GET_OR_IS("[-inf inf 1 0]", NULL, "[2 1 -1 3]", "[1 1 0 1]");
    EXPORT_IS("[-inf 0 inf]", "[2 3 1]");
    REMOVE("inf");
    GET_IS("[-inf inf]", "[2 -1]");
}
END_TEST

/* Two keys, of which the second is some NaN. */
static struct htstore_array make_nan_keys(uint32_t dtype, int kind)
{
    static const uint32_t bits4[] = { 0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff };
    static const uint64_t bits8[] = { 0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001, UINT64_MAX };
    struct htstore_array keys = api_array(dtype, "[1 2]");
    if (dtype == HTSTORE_FLOAT32)
        memcpy((uint8_t *)keys.data + 4, &bits4[kind], 4);
    else
        memcpy((uint8_t *)keys.data + 8, &bits8[kind], 8);
    return keys;
}

static void refuse_nan(int result)
{
    api_refused(API_HERE, result, HTSTORE_EINVAL, "NaN");
    ck_assert_int_eq(api.error.index, 1);
    api_spoil_error();
}

START_TEST(nan_keys_are_refused_by_every_call)
{
    uint32_t dtype = float_dtype(_i);
    struct htstore_error *e = &api.error;
    struct htstore_batch *batch;
    uint8_t flags[2] = { 7, 7 };
    api_open_store();
    api_begin_table("t1", dtype, HTSTORE_INT64, "-1");
    INSERT("[1 3]", "[10 30]");
    OK(htstore_batch_new(api.store, &batch, e));
    struct htstore_array keys = make_nan_keys(dtype, _i / 2), values = api_values("[1 2]"), out = api_outputs(&keys);
    struct api_state before = api_state();
    refuse_nan(htstore_table_insert(api.table, &keys, &values, 0, e));
    refuse_nan(htstore_table_insert_new(api.table, &keys, &values, flags, 0, e));
    refuse_nan(htstore_table_insert_new(api.table, &keys, &values, flags, HTSTORE_ALL_OR_NOTHING, e));
    refuse_nan(htstore_table_find_or_insert(api.table, &keys, &values, &out, flags, 0, e));
    refuse_nan(htstore_table_lookup(api.table, &keys, NULL, &out, flags, e));
    refuse_nan(htstore_table_remove(api.table, &keys, flags, 0, e));
    refuse_nan(htstore_table_import(api.table, &keys, &values, 0, e));
    refuse_nan(htstore_batch_insert(batch, api.table, &keys, &values, e));
    refuse_nan(htstore_batch_insert_new(batch, api.table, &keys, &values, e));
    refuse_nan(htstore_batch_remove(batch, api.table, &keys, e));
    OK(htstore_batch_commit(batch, 0, e));
    UNCHANGED(before);
    ck_assert(api_is_untouched(&out));
    ck_assert_int_eq(flags[0] + flags[1], 14);
    htstore_batch_free(batch);
}
END_TEST

START_TEST(float_values_keep_their_bits)
{
    static const uint32_t dtypes[] = { HTSTORE_FLOAT32, HTSTORE_FLOAT64, HTSTORE_FLOAT16, HTSTORE_BFLOAT16 };
    static const uint16_t bits2[] = { 0x7c01, 0xfe00, 0x8000, 0xffff };
    static const uint32_t bits4[] = { 0x7f800001, 0xffc12345, 0x80000000, 0xffffffff };
    static const uint64_t bits8[] = { 0x7ff0000000000001, 0xfff8123456789abc, UINT64_C(1) << 63, UINT64_MAX };
    uint32_t dtype = dtypes[_i % 4];
    size_t size = htstore_dtype_size(dtype);
    struct htstore_array values = htstore_vector(dtype,
                                                 size == 2   ? (const void *)bits2
                                                 : size == 4 ? (const void *)bits4
                                                             : bits8,
                                                 4);
    api_begin(_i / 4, HTSTORE_INT8, dtype, "0");
    struct htstore_array keys = api_keys("[1 2 3 4]"), out = api_outputs(&keys);
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_settle();
    OK(htstore_table_lookup(api.table, &keys, NULL, &out, NULL, &api.error));
    ck_assert_mem_eq(out.data, values.data, 4 * size);
    struct htstore_array missing = api_keys("[5 6 7 8]");
    OK(htstore_table_lookup(api.table, &missing, &values, &out, NULL, &api.error));
    ck_assert_mem_eq(out.data, values.data, 4 * size);
    api_expect_rows(api.table, &keys, &values, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("types");
    TCase *tests = tcase_create("types");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, every_key_dtype_holds_every_value_dtype, HTSTORE_INT8, HTSTORE_STRING + 1);
    tcase_add_loop_test(tests, every_value_of_a_small_key_type_is_a_key, 0, 2);
    tcase_add_loop_test(tests, float16_and_bfloat16_are_no_key_types, 0, 2);
    tcase_add_test(tests, dtypes_have_names_and_sizes);
    tcase_add_loop_test(tests, each_dtype_is_named_in_refusals, HTSTORE_INT8, HTSTORE_STRING + 1);
    tcase_add_loop_test(tests, negative_zero_is_the_key_zero, 0, 2 * API_N_VARIATIONS);
    tcase_add_loop_test(tests, infinities_are_ordinary_keys, 0, 2 * API_N_VARIATIONS);
    tcase_add_loop_test(tests, nan_keys_are_refused_by_every_call, 0, 8);
    tcase_add_loop_test(tests, float_values_keep_their_bits, 0, 4 * API_N_VARIATIONS);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
