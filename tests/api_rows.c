/* api_rows: hides how a table is compared with the rows that it should have. */
#include "api_rows.h"

#include "api_util.h"

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

void api_expect_ascending(const struct htstore_array *keys)
{
    size_t size = htstore_dtype_size(keys->dtype);
    const uint8_t *data = keys->data;
    for (size_t i = 1; i < api_count(keys); i++)
        ck_assert_msg(key_less(keys->dtype, data + (i - 1) * size, data + i * size),
                      "%s keys %zu and %zu are out of order", htstore_dtype_name(keys->dtype), i - 1, i);
}

size_t api_find_key(const struct htstore_array *keys, const struct htstore_array *wanted, size_t i)
{
    size_t at = 0;
    while (at < api_count(keys) && !api_element_equal(keys, at, wanted, i))
        at++;
    return at;
}

void api_expect_rows(struct htstore_table *table, const struct htstore_array *keys, const struct htstore_array *values,
                     size_t first)
{
    struct htstore_array got_keys, got_values;
    size_t n = api_count(keys);
    OK(htstore_table_export(table, api.arena, &got_keys, &got_values, &api.error));
    ck_assert_uint_eq(api_size(table), n - first);
    ck_assert_uint_eq(got_keys.dtype, keys->dtype);
    ck_assert_uint_eq(got_keys.rank, 1);
    ck_assert_int_eq(got_keys.shape[0], (int64_t)(n - first));
    for (size_t i = first; i < n; i++) {
        size_t at = api_find_key(&got_keys, keys, i);
        ck_assert_msg(at < n - first, "key %zu of dtype %s is missing", i, htstore_dtype_name(keys->dtype));
        struct htstore_array expected = api_row(values, i), got = api_row(&got_values, at);
        ck_assert_msg(api_equal(&expected, &got), "row %zu is %s, not %s", i, api_text(&got), api_text(&expected));
    }
    api_expect_ascending(&got_keys);
}

void api_expect_found(struct htstore_table *table, const struct htstore_array *keys, const struct htstore_array *values,
                      size_t first)
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
