/* Tests of varlayout: rows of variables. */
#include "varlayout.h"

#include "check_util.h"
#include "dtype.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    uint32_t dtype;
    uint64_t n_elements, per_row, n_rows;
} cases[] = {
    { HTSTORE_INT64, 0, 0, 0 },
    { HTSTORE_INT64, 1, 1, 1 },
    { HTSTORE_INT64, 8187, 8187, 1 },
    { HTSTORE_INT64, 8188, 8187, 2 },
    { HTSTORE_INT64, 16374, 8187, 2 },
    { HTSTORE_INT64, 16375, 8187, 3 },
    { HTSTORE_FLOAT32, 16375, 16375, 1 },
    { HTSTORE_FLOAT32, 16376, 16375, 2 },
    { HTSTORE_FLOAT16, 32751, 32750, 2 },
    { HTSTORE_BOOL, 65500, 65500, 1 },
    { HTSTORE_BOOL, 65501, 65500, 2 },
    { HTSTORE_UINT8, UINT64_MAX, 65500, UINT64_MAX / 65500 + 1 },
    { HTSTORE_STRING, 0, 0, 0 },
    { HTSTORE_STRING, 1, 1, 1 },
    { HTSTORE_STRING, UINT64_MAX, 1, UINT64_MAX },
};

START_TEST(elements_are_spread_over_rows)
{
    ck_assert_uint_eq(hti_varlayout_row_elements(cases[_i].dtype, cases[_i].n_elements), cases[_i].per_row);
    ck_assert_uint_eq(hti_varlayout_rows(cases[_i].dtype, cases[_i].n_elements), cases[_i].n_rows);
}
END_TEST

START_TEST(rows_have_numbers_as_keys_and_elements_as_values)
{
    struct hti_row_type type;

    hti_varlayout_init(&type, cases[_i].dtype, cases[_i].n_elements);
    ck_assert_uint_eq(type.key_dtype, HTSTORE_UINT64);
    ck_assert_uint_eq(type.key_size, 8);
    ck_assert_uint_eq(type.value_dtype, cases[_i].dtype);
    ck_assert_uint_eq(type.n_elements, cases[_i].per_row);
    ck_assert_int_eq(type.value_is_fixed, cases[_i].dtype != HTSTORE_STRING);
    if (type.value_is_fixed)
        ck_assert_uint_eq(type.value_size, cases[_i].per_row * hti_dtype_packed_size(cases[_i].dtype));
}
END_TEST

START_TEST(no_row_of_any_dtype_is_above_the_limit)
{
    struct hti_row_type type;

    for (uint32_t dtype = 1; hti_dtype_is_valid(dtype); dtype++) {
        if (dtype == HTSTORE_STRING)
            continue;
        hti_varlayout_init(&type, dtype, UINT64_C(1) << 40);
        ck_assert_uint_le(type.value_size, HTI_VARLAYOUT_ROW_SIZE);
        ck_assert_uint_gt(type.value_size + hti_dtype_packed_size(dtype), HTI_VARLAYOUT_ROW_SIZE);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("varlayout");
    TCase *tests = tcase_create("rows");

    tcase_add_loop_test(tests, elements_are_spread_over_rows, 0, (int)COUNT(cases));
    tcase_add_loop_test(tests, rows_have_numbers_as_keys_and_elements_as_values, 0, (int)COUNT(cases));
    tcase_add_test(tests, no_row_of_any_dtype_is_above_the_limit);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
