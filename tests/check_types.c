/* check_types: semantics.md 1.1 and 1.2: every dtype as key and value, floats and bools with odd bits, ranks, long strings. */
#include "api_util.h"

#include <stdio.h>

#define N_ROWS 40

/* ---- order and completeness of exports ---- */

static int compare_strings(const struct htstore_bytes *a, const struct htstore_bytes *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size ? memcmp(a->data, b->data, size) : 0;
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

#define LESS(type, a, b) (*(const type *)(a) < *(const type *)(b))

static bool key_less(uint32_t dtype, const void *a, const void *b)
{
    switch (dtype) {
    case HTSTORE_INT8:
        return LESS(int8_t, a, b);
    case HTSTORE_INT16:
        return LESS(int16_t, a, b);
    case HTSTORE_INT32:
        return LESS(int32_t, a, b);
    case HTSTORE_INT64:
        return LESS(int64_t, a, b);
    case HTSTORE_UINT16:
        return LESS(uint16_t, a, b);
    case HTSTORE_UINT32:
        return LESS(uint32_t, a, b);
    case HTSTORE_UINT64:
        return LESS(uint64_t, a, b);
    case HTSTORE_FLOAT32:
        return LESS(float, a, b);
    case HTSTORE_FLOAT64:
        return LESS(double, a, b);
    case HTSTORE_STRING:
        return compare_strings(a, b) < 0;
    default:
        return LESS(uint8_t, a, b);
    }
}

static void expect_ascending(const struct htstore_array *keys)
{
    size_t size = htstore_dtype_size(keys->dtype);
    const uint8_t *data = keys->data;
    for (size_t i = 1; i < api_count(keys); i++)
        ck_assert_msg(key_less(keys->dtype, data + (i - 1) * size, data + i * size),
                      "%s keys %zu and %zu are out of order", htstore_dtype_name(keys->dtype), i - 1, i);
}

static size_t find_key(const struct htstore_array *keys, const struct htstore_array *wanted, size_t i)
{
    size_t at = 0;
    while (at < api_count(keys) && !api_element_equal(keys, at, wanted, i))
        at++;
    return at;
}

/* The table holds exactly the rows from `first` on. */
static void expect_rows(struct htstore_table *table, const struct htstore_array *keys,
                        const struct htstore_array *values, size_t first)
{
    struct htstore_array got_keys, got_values;
    size_t n = api_count(keys);
    OK(htstore_table_export(table, api.arena, &got_keys, &got_values, &api.error));
    ck_assert_uint_eq(api_size(table), n - first);
    ck_assert_uint_eq(got_keys.dtype, keys->dtype);
    ck_assert_uint_eq(got_keys.rank, 1);
    ck_assert_int_eq(got_keys.shape[0], (int64_t)(n - first));
    for (size_t i = first; i < n; i++) {
        size_t at = find_key(&got_keys, keys, i);
        ck_assert_msg(at < n - first, "key %zu of dtype %s is missing", i, htstore_dtype_name(keys->dtype));
        struct htstore_array expected = api_row(values, i), got = api_row(&got_values, at);
        ck_assert_msg(api_equal(&expected, &got), "row %zu is %s, not %s", i, api_text(&got), api_text(&expected));
    }
    expect_ascending(&got_keys);
}

static void expect_found(struct htstore_table *table, const struct htstore_array *keys,
                         const struct htstore_array *values, size_t first)
{
    struct htstore_array out = *values, default_row = api_row(values, 0);
    size_t n = api_count(keys);
    uint8_t *found = api_alloc(n + 1);
    out.data = api_alloc(api_count(values) * htstore_dtype_size(values->dtype) + 1);
    out.arena = api.arena;
    OK(htstore_table_lookup(table, keys, &default_row, &out, found, &api.error));
    for (size_t i = 0; i < n; i++) {
        struct htstore_array expected = api_row(values, i < first ? 0 : i), got = api_row(&out, i);
        ck_assert_int_eq(found[i], i >= first);
        ck_assert_msg(api_equal(&expected, &got), "key %zu: %s, not %s", i, api_text(&got), api_text(&expected));
    }
}

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
    expect_found(s->table, &s->keys, &s->values, api_count(&s->keys));
    OK(htstore_table_insert(s->table, &s->keys, &s->values, HTSTORE_LAZY, &api.error));
    expect_found(s->table, &s->keys, &s->values, 0);
    expect_rows(s->table, &s->keys, &s->values, 0);
    uint8_t removed = 0;
    OK(htstore_table_remove(s->table, &first, &removed, HTSTORE_LAZY, &api.error));
    ck_assert_int_eq(removed, 1);
    expect_found(s->table, &s->keys, &s->values, 1);
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
        expect_found(samples[d].table, &samples[d].keys, &samples[d].values, 1);
        expect_rows(samples[d].table, &samples[d].keys, &samples[d].values, 1);
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
    expect_rows(api.table, &keys, &values, 0);
    api_reopen();
    expect_rows(api.table, &keys, &values, 0);
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
    expect_rows(api.table, &keys, &values, 0);
}
END_TEST

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
    expect_found(api.table, &keys, &values, 0);
    expect_rows(api.table, &keys, &values, 0);
    api_reopen();
    expect_found(api.table, &keys, &values, 0);
    expect_rows(api.table, &keys, &values, 0);
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
    expect_found(api.table, &keys, &values, 0);
    ck_assert_uint_eq(api_size(api.table), n);
    struct htstore_array some = htstore_vector(HTSTORE_STRING, words, 4);
    OK(htstore_table_remove(api.table, &some, NULL, 0, &api.error));
    api_settle();
    expect_found(api.table, &keys, &values, 4);
    struct htstore_array got_keys, got_values;
    OK(htstore_table_export(api.table, api.arena, &got_keys, &got_values, &api.error));
    ck_assert_int_eq(got_keys.shape[0], (int64_t)n - 4);
    for (size_t i = 4; i < n; i++)
        ck_assert_msg(find_key(&got_keys, &keys, i) < n - 4, "key %zu of %zu bytes is missing", i, words[i].size);
    expect_ascending(&got_keys);
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
    expect_found(api.table, &keys, &values, 0);
    expect_rows(api.table, &keys, &values, 0);
    OK(htstore_table_insert(api.table, &half, &half, 0, &api.error));
    api_settle();
    ck_assert_uint_eq(api_size(api.table), 8);
    expect_found(api.table, &half, &half, 0);
    OK(htstore_table_remove(api.table, &half, NULL, 0, &api.error));
    api_settle();
    expect_found(api.table, &keys, &values, 4);
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
    expect_found(api.table, keys, values, 0);
    expect_rows(api.table, keys, values, 0);
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
    expect_found(api.table, &keys, &values, 0);
    struct htstore_array absent = api_keys("9"), out = api_outputs(&absent);
    OK(htstore_table_lookup(api.table, &absent, NULL, &out, NULL, &api.error));
    ck_assert(api_equal(&out, &schema.default_value));
}
END_TEST

static void add_dtype_tests(TCase *tests)
{
    tcase_add_loop_test(tests, every_key_dtype_holds_every_value_dtype, HTSTORE_INT8, HTSTORE_STRING + 1);
    tcase_add_loop_test(tests, every_value_of_a_small_key_type_is_a_key, 0, 2);
    tcase_add_loop_test(tests, float16_and_bfloat16_are_no_key_types, 0, 2);
    tcase_add_test(tests, dtypes_have_names_and_sizes);
    tcase_add_loop_test(tests, each_dtype_is_named_in_refusals, HTSTORE_INT8, HTSTORE_STRING + 1);
    tcase_add_loop_test(tests, negative_zero_is_the_key_zero, 0, 2 * API_N_VARIATIONS);
    tcase_add_loop_test(tests, infinities_are_ordinary_keys, 0, 2 * API_N_VARIATIONS);
    tcase_add_loop_test(tests, nan_keys_are_refused_by_every_call, 0, 8);
    tcase_add_loop_test(tests, float_values_keep_their_bits, 0, 4 * API_N_VARIATIONS);
}

int main(void)
{
    Suite *suite = suite_create("types");
    TCase *tests = tcase_create("types");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    add_dtype_tests(tests);
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
