/* Tests of dtype: element types, shapes, and the sentences of refusals. */
#include "dtype.h"

#include <math.h>
#include <string.h>

#include "check_util.h"

static const struct {
    uint32_t dtype;
    const char *name;
    size_t size, packed_size;
    bool is_key;
} expected_dtypes[] = {
    { 1, "int8", 1, 1, true },       { 2, "int16", 2, 2, true },
    { 3, "int32", 4, 4, true },      { 4, "int64", 8, 8, true },
    { 5, "uint8", 1, 1, true },      { 6, "uint16", 2, 2, true },
    { 7, "uint32", 4, 4, true },     { 8, "uint64", 8, 8, true },
    { 9, "bool", 1, 1, true },       { 10, "float16", 2, 2, false },
    { 11, "bfloat16", 2, 2, false }, { 12, "float32", 4, 4, true },
    { 13, "float64", 8, 8, true },   { 14, "string", sizeof(struct htstore_bytes), 0, true },
};

START_TEST(every_dtype_has_its_number_name_and_size)
{
    uint32_t dtype = expected_dtypes[_i].dtype;
    ck_assert(hti_dtype_is_valid(dtype));
    ck_assert_str_eq(htstore_dtype_name(dtype), expected_dtypes[_i].name);
    ck_assert_uint_eq(htstore_dtype_from_name(expected_dtypes[_i].name), dtype);
    ck_assert_uint_eq(htstore_dtype_size(dtype), expected_dtypes[_i].size);
    ck_assert_uint_eq(hti_dtype_packed_size(dtype), expected_dtypes[_i].packed_size);
    ck_assert_int_eq(hti_dtype_is_key(dtype), expected_dtypes[_i].is_key);
}
END_TEST

START_TEST(other_numbers_are_no_dtypes)
{
    static const uint32_t others[] = { 0, 15, 77, 256 + 4, UINT32_MAX };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ck_assert(!hti_dtype_is_valid(others[i]));
        ck_assert(!hti_dtype_is_key(others[i]));
        ck_assert_ptr_null(htstore_dtype_name(others[i]));
        ck_assert_uint_eq(htstore_dtype_size(others[i]), 0);
        ck_assert_uint_eq(hti_dtype_packed_size(others[i]), 0);
    }
}
END_TEST

START_TEST(other_names_are_no_dtypes)
{
    ck_assert_uint_eq(htstore_dtype_from_name(NULL), 0);
    ck_assert_uint_eq(htstore_dtype_from_name(""), 0);
    ck_assert_uint_eq(htstore_dtype_from_name("int"), 0);
    ck_assert_uint_eq(htstore_dtype_from_name("INT64"), 0);
    ck_assert_uint_eq(htstore_dtype_from_name("int64 "), 0);
}
END_TEST

/* An array of 1-byte elements with the given dimensions and no data. */
static struct htstore_array make_array(uint32_t rank, const int64_t *dim)
{
    struct htstore_array array = htstore_scalar(HTSTORE_INT8, NULL);
    array.rank = rank;
    for (uint32_t i = 0; i < rank && i < HTSTORE_MAX_RANK; i++)
        array.shape[i] = dim[i];
    return array;
}

static struct hti_shape make_shape(uint32_t rank, const int64_t *dim)
{
    struct hti_shape shape = { .rank = rank };
    for (uint32_t i = 0; i < rank; i++)
        shape.dim[i] = dim[i];
    return shape;
}

#define DIM(...) ((const int64_t[]){ __VA_ARGS__ })

START_TEST(the_shape_of_an_array_is_copied)
{
    struct htstore_array array = make_array(8, DIM(1, 2, 3, 4, 5, 6, 7, 8));
    struct hti_shape shape;
    ck_assert_int_eq(hti_shape_of(&array, &shape, NULL), 0);
    ck_assert_uint_eq(shape.rank, 8);
    ck_assert_mem_eq(shape.dim, array.shape, sizeof shape.dim);
    ck_assert_uint_eq(hti_shape_count(&shape), 40320);

    array = htstore_scalar(HTSTORE_STRING, NULL);
    ck_assert_int_eq(hti_shape_of(&array, &shape, NULL), 0);
    ck_assert_uint_eq(shape.rank, 0);
    ck_assert_uint_eq(hti_shape_count(&shape), 1);
}
END_TEST

static void expect_bad_shape(const struct htstore_array *array, const char *message)
{
    struct hti_shape shape = { .rank = 77 };
    struct htstore_error error;
    ck_assert_int_eq(hti_shape_of(array, &shape, &error), HTSTORE_ESHAPE);
    ck_assert_int_eq(hti_shape_of(array, &shape, NULL), HTSTORE_ESHAPE);
    ck_assert_int_eq(error.code, HTSTORE_ESHAPE);
    ck_assert_str_eq(error.message, message);
    ck_assert_uint_eq(shape.rank, 77);
}

START_TEST(a_rank_above_eight_is_refused)
{
    struct htstore_array array = make_array(9, DIM(1, 1, 1, 1, 1, 1, 1, 1, 1));
    expect_bad_shape(&array, "Rank 9 of an array is above 8");
    array.rank = UINT32_MAX;
    expect_bad_shape(&array, "Rank 4294967295 of an array is above 8");
}
END_TEST

START_TEST(a_negative_dimension_is_refused)
{
    struct htstore_array array = make_array(3, DIM(2, -1, 3));
    expect_bad_shape(&array, "Shape [2,-1,3] has a negative dimension");
    array = make_array(2, DIM(0, INT64_MIN));
    expect_bad_shape(&array, "Shape [0,-9223372036854775808] has a negative dimension");
}
END_TEST

START_TEST(a_size_that_overflows_is_refused)
{
    const int64_t big = INT64_C(1) << 40;
    struct htstore_array array = make_array(2, DIM(big, big));
    expect_bad_shape(&array, "Shape [1099511627776,1099511627776] is too large for memory");
    array = make_array(4, DIM(big, INT64_C(1) << 24, 2, 3));
    expect_bad_shape(&array, "Shape [1099511627776,16777216,2,3] is too large for memory");

    array = make_array(1, DIM(INT64_MAX));
    struct hti_shape shape;
    ck_assert_int_eq(hti_shape_of(&array, &shape, NULL), 0);
    array.dtype = HTSTORE_INT16;
    expect_bad_shape(&array, "Shape [9223372036854775807] is too large for memory");
    array.dtype = HTSTORE_STRING;
    expect_bad_shape(&array, "Shape [9223372036854775807] is too large for memory");
}
END_TEST

START_TEST(an_array_without_elements_is_never_too_large)
{
    const int64_t big = INT64_C(1) << 40;
    struct htstore_array first = make_array(3, DIM(0, big, big));
    struct htstore_array last = make_array(3, DIM(big, big, 0));
    struct hti_shape shape;
    ck_assert_int_eq(hti_shape_of(&first, &shape, NULL), 0);
    ck_assert_uint_eq(hti_shape_count(&shape), 0);
    ck_assert_int_eq(hti_shape_of(&last, &shape, NULL), 0);
    ck_assert_uint_eq(hti_shape_count(&shape), 0);
}
END_TEST

START_TEST(shapes_are_compared_not_counts)
{
    struct hti_shape a = make_shape(2, DIM(4, 2));
    struct hti_shape b = make_shape(3, DIM(2, 2, 2));
    struct hti_shape c = make_shape(2, DIM(2, 4));
    struct hti_shape d = make_shape(2, DIM(4, 2));
    d.dim[2] = 9;
    ck_assert(!hti_shape_equal(&a, &b));
    ck_assert(!hti_shape_equal(&a, &c));
    ck_assert(hti_shape_equal(&a, &d));
    a.rank = 0;
    c.rank = 0;
    ck_assert(hti_shape_equal(&a, &c));
}
END_TEST

static void expect_text(const struct hti_shape *a, const struct hti_shape *b, const char *expected)
{
    char text[HTI_SHAPE_TEXT_SIZE];
    hti_shape_format(text, a, b);
    ck_assert_str_eq(text, expected);
}

START_TEST(shapes_print_without_spaces)
{
    struct hti_shape none = make_shape(0, NULL);
    struct hti_shape one = make_shape(1, DIM(6));
    struct hti_shape two = make_shape(2, DIM(3, 2));
    expect_text(&none, NULL, "[]");
    expect_text(&none, &none, "[]");
    expect_text(&one, NULL, "[6]");
    expect_text(&two, NULL, "[3,2]");
    expect_text(&two, &one, "[3,2,6]");
    expect_text(&none, &two, "[3,2]");
    expect_text(&two, &none, "[3,2]");
}
END_TEST

START_TEST(the_longest_shapes_print_whole)
{
    const int64_t m = INT64_MIN;
    struct hti_shape shape = make_shape(8, DIM(m, m, m, m, m, m, m, m));
    char text[HTI_SHAPE_TEXT_SIZE];
    hti_shape_format(text, &shape, &shape);
    ck_assert_uint_eq(strlen(text), 16 * 20 + 15 + 2);
    ck_assert_int_eq(text[strlen(text) - 1], ']');
}
END_TEST

START_TEST(an_expected_shape_is_accepted)
{
    struct hti_shape none = make_shape(0, NULL);
    struct hti_shape keys = make_shape(2, DIM(3, 2));
    struct hti_shape row = make_shape(1, DIM(5));
    struct htstore_array array = make_array(3, DIM(3, 2, 5));
    ck_assert_int_eq(hti_shape_expect(&array, &keys, &row, "value", NULL), 0);
    array = make_array(2, DIM(3, 2));
    ck_assert_int_eq(hti_shape_expect(&array, &keys, NULL, "value", NULL), 0);
    ck_assert_int_eq(hti_shape_expect(&array, &keys, &none, "value", NULL), 0);
    ck_assert_int_eq(hti_shape_expect(&array, &none, &keys, "value", NULL), 0);
    array = make_array(0, NULL);
    ck_assert_int_eq(hti_shape_expect(&array, &none, &none, "value", NULL), 0);
}
END_TEST

static void expect_refused_shape(const struct htstore_array *array, const struct hti_shape *a,
                                 const struct hti_shape *b, const char *what, const char *message)
{
    struct htstore_error error;
    ck_assert_int_eq(hti_shape_expect(array, a, b, what, &error), HTSTORE_ESHAPE);
    ck_assert_int_eq(error.code, HTSTORE_ESHAPE);
    ck_assert_int_eq(error.index, -1);
    ck_assert_str_eq(error.message, message);
    ck_assert_int_eq(hti_shape_expect(array, a, b, what, NULL), HTSTORE_ESHAPE);
}

START_TEST(another_shape_is_refused_with_both_named)
{
    struct hti_shape keys = make_shape(1, DIM(3));
    struct hti_shape row = make_shape(1, DIM(2));
    struct htstore_array array = make_array(1, DIM(6));
    expect_refused_shape(&array, &keys, &row, "value", "Expected shape [3,2] for value, got [6]");
    array = make_array(2, DIM(2, 3));
    expect_refused_shape(&array, &keys, &row, "value", "Expected shape [3,2] for value, got [2,3]");
    array = make_array(2, DIM(3, 1));
    expect_refused_shape(&array, &keys, &row, "default value", "Expected shape [3,2] for default value, got [3,1]");
    array = make_array(2, DIM(1, 2));
    expect_refused_shape(&array, &keys, &row, "value", "Expected shape [3,2] for value, got [1,2]");
    array = make_array(0, NULL);
    expect_refused_shape(&array, &keys, NULL, "key", "Expected shape [3] for key, got []");
    array = make_array(2, DIM(3, -2));
    expect_refused_shape(&array, &keys, &row, "value", "Shape [3,-2] has a negative dimension");
}
END_TEST

START_TEST(a_joined_rank_above_eight_is_refused)
{
    struct hti_shape keys = make_shape(1, DIM(1));
    struct hti_shape row = make_shape(8, DIM(1, 1, 1, 1, 1, 1, 1, 1));
    struct htstore_array array = make_array(8, DIM(1, 1, 1, 1, 1, 1, 1, 1));
    expect_refused_shape(&array, &keys, &row, "value",
                         "Expected shape [1,1,1,1,1,1,1,1,1] for value, got [1,1,1,1,1,1,1,1]");
}
END_TEST

START_TEST(the_right_dtype_is_accepted)
{
    for (uint32_t dtype = HTSTORE_INT8; dtype <= HTSTORE_STRING; dtype++) {
        struct htstore_array array = htstore_scalar(dtype, NULL);
        ck_assert_int_eq(hti_dtype_expect(&array, dtype, "Key", NULL), 0);
    }
}
END_TEST

START_TEST(another_dtype_is_refused_with_both_named)
{
    struct htstore_array array = htstore_scalar(HTSTORE_INT32, NULL);
    struct htstore_error error;
    ck_assert_int_eq(hti_dtype_expect(&array, HTSTORE_INT64, "Key", &error), HTSTORE_ETYPE);
    ck_assert_str_eq(error.message, "Key must be type int64 but got int32");
    array.dtype = HTSTORE_STRING;
    ck_assert_int_eq(hti_dtype_expect(&array, HTSTORE_INT64, "Default value", &error), HTSTORE_ETYPE);
    ck_assert_str_eq(error.message, "Default value must be type int64 but got string");
    ck_assert_int_eq(hti_dtype_expect(&array, HTSTORE_INT64, "Value", NULL), HTSTORE_ETYPE);
}
END_TEST

START_TEST(an_unknown_dtype_is_an_invalid_argument)
{
    struct htstore_array array = htstore_scalar(77, NULL);
    struct htstore_error error;
    ck_assert_int_eq(hti_dtype_expect(&array, HTSTORE_INT64, "Value", &error), HTSTORE_EINVAL);
    ck_assert_ptr_nonnull(strstr(error.message, "unknown dtype 77"));
    array.dtype = 0;
    ck_assert_int_eq(hti_dtype_expect(&array, HTSTORE_INT64, "Value", &error), HTSTORE_EINVAL);
}
END_TEST

static void expect_bad_element(uint32_t dtype, const void *data, uint64_t n, uint64_t elements_per_row, int64_t row,
                               const char *message)
{
    struct htstore_error error;
    ck_assert_int_eq(hti_dtype_check_elements(dtype, data, n, elements_per_row, true, "Key", &error), HTSTORE_EINVAL);
    ck_assert_int_eq(error.code, HTSTORE_EINVAL);
    ck_assert_int_eq(error.index, row);
    ck_assert_str_eq(error.message, message);
    ck_assert_int_eq(hti_dtype_check_elements(dtype, data, n, elements_per_row, true, "Key", NULL), HTSTORE_EINVAL);
}

START_TEST(no_elements_need_no_data)
{
    for (uint32_t dtype = HTSTORE_INT8; dtype <= HTSTORE_STRING; dtype++) {
        ck_assert_int_eq(hti_dtype_check_elements(dtype, NULL, 0, 0, true, "Key", NULL), 0);
        expect_bad_element(dtype, NULL, 3, 1, -1, "Key has 3 elements but its data is NULL");
    }
}
END_TEST

START_TEST(a_bool_that_is_neither_zero_nor_one_is_found)
{
    uint8_t bools[300];
    for (size_t i = 0; i < sizeof bools; i++)
        bools[i] = i % 3 == 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        bools[200] = (uint8_t)byte;
        int status = hti_dtype_check_elements(HTSTORE_BOOL, bools, sizeof bools, 1, false, "Value", NULL);
        ck_assert_int_eq(status, byte <= 1 ? 0 : HTSTORE_EINVAL);
    }
    bools[200] = 0;
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_BOOL, bools, sizeof bools, 1, false, "Value", NULL), 0);
    bools[299] = 0xFF;
    expect_bad_element(HTSTORE_BOOL, bools, 300, 1, 299, "Key of row 299 is a bool that is neither 0 nor 1");
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_BOOL, bools, 299, 1, true, "Value", NULL), 0);
    bools[100] = 2;
    expect_bad_element(HTSTORE_BOOL, bools, 300, 100, 1, "Key of row 1 is a bool that is neither 0 nor 1");
    bools[0] = 128;
    expect_bad_element(HTSTORE_BOOL, bools, 300, 100, 0, "Key of row 0 is a bool that is neither 0 nor 1");
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_BOOL, bools, 1, 1, false, "Value", NULL), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_UINT8, bools, 300, 1, true, "Key", NULL), 0);
}
END_TEST

static uint32_t float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static uint64_t double_bits(double f)
{
    uint64_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

START_TEST(nan_is_refused_in_float32_keys_only)
{
    static const uint32_t nans[] = { 0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000, 0xFFFFFFFF };
    for (size_t i = 0; i < sizeof nans / sizeof nans[0]; i++) {
        uint32_t keys[40] = { float_bits(INFINITY), float_bits(-INFINITY), float_bits(-0.0f), 1, 0x80000001 };
        ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_FLOAT32, keys, 40, 1, true, "Key", NULL), 0);
        keys[39] = nans[i];
        expect_bad_element(HTSTORE_FLOAT32, keys, 40, 1, 39, "Key of row 39 is NaN");
        keys[6] = nans[i];
        expect_bad_element(HTSTORE_FLOAT32, keys, 40, 1, 6, "Key of row 6 is NaN");
        ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_FLOAT32, keys, 40, 1, false, "Value", NULL), 0);
        ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_INT32, keys, 40, 1, true, "Key", NULL), 0);
    }
}
END_TEST

START_TEST(nan_is_refused_in_float64_keys_only)
{
    static const uint64_t nans[] = { UINT64_C(0x7FF0000000000001), UINT64_C(0x7FF8000000000000), UINT64_MAX,
                                     UINT64_C(0xFFF0000000000001) };
    for (size_t i = 0; i < sizeof nans / sizeof nans[0]; i++) {
        uint64_t keys[40] = { double_bits(INFINITY), double_bits(-INFINITY), double_bits(-0.0), 1 };
        ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_FLOAT64, keys, 40, 1, true, "Key", NULL), 0);
        keys[39] = nans[i];
        expect_bad_element(HTSTORE_FLOAT64, keys, 40, 1, 39, "Key of row 39 is NaN");
        keys[6] = nans[i];
        expect_bad_element(HTSTORE_FLOAT64, keys, 40, 1, 6, "Key of row 6 is NaN");
        ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_FLOAT64, keys, 40, 1, false, "Value", NULL), 0);
        ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_UINT64, keys, 40, 1, true, "Key", NULL), 0);
    }
}
END_TEST

START_TEST(half_floats_are_opaque)
{
    static const uint16_t nans[] = { 0x7E00, 0xFFFF, 0x7FC0 };
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_FLOAT16, nans, 3, 1, false, "Value", NULL), 0);
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_BFLOAT16, nans, 3, 1, false, "Value", NULL), 0);
}
END_TEST

START_TEST(a_string_with_a_size_needs_data)
{
    struct htstore_bytes strings[4] = { { "a", 1 }, { NULL, 0 }, { "", 0 }, { NULL, 5 } };
    ck_assert_int_eq(hti_dtype_check_elements(HTSTORE_STRING, strings, 3, 1, true, "Key", NULL), 0);
    expect_bad_element(HTSTORE_STRING, strings, 4, 1, 3, "Key of row 3 is a string that has a size but no data");
    expect_bad_element(HTSTORE_STRING, strings, 4, 2, 1, "Key of row 1 is a string that has a size but no data");
}
END_TEST

static void add_shape_tests(TCase *tcase)
{
    tcase_add_test(tcase, the_shape_of_an_array_is_copied);
    tcase_add_test(tcase, a_rank_above_eight_is_refused);
    tcase_add_test(tcase, a_negative_dimension_is_refused);
    tcase_add_test(tcase, a_size_that_overflows_is_refused);
    tcase_add_test(tcase, an_array_without_elements_is_never_too_large);
    tcase_add_test(tcase, shapes_are_compared_not_counts);
    tcase_add_test(tcase, shapes_print_without_spaces);
    tcase_add_test(tcase, the_longest_shapes_print_whole);
    tcase_add_test(tcase, an_expected_shape_is_accepted);
    tcase_add_test(tcase, another_shape_is_refused_with_both_named);
    tcase_add_test(tcase, a_joined_rank_above_eight_is_refused);
}

static void add_element_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, every_dtype_has_its_number_name_and_size, 0, 14);
    tcase_add_test(tcase, other_numbers_are_no_dtypes);
    tcase_add_test(tcase, other_names_are_no_dtypes);
    tcase_add_test(tcase, the_right_dtype_is_accepted);
    tcase_add_test(tcase, another_dtype_is_refused_with_both_named);
    tcase_add_test(tcase, an_unknown_dtype_is_an_invalid_argument);
    tcase_add_test(tcase, no_elements_need_no_data);
    tcase_add_test(tcase, a_bool_that_is_neither_zero_nor_one_is_found);
    tcase_add_test(tcase, nan_is_refused_in_float32_keys_only);
    tcase_add_test(tcase, nan_is_refused_in_float64_keys_only);
    tcase_add_test(tcase, half_floats_are_opaque);
    tcase_add_test(tcase, a_string_with_a_size_needs_data);
}

int main(void)
{
    Suite *suite = suite_create("dtype");
    TCase *shapes = tcase_create("shapes");
    TCase *elements = tcase_create("elements");
    add_shape_tests(shapes);
    add_element_tests(elements);
    suite_add_tcase(suite, shapes);
    suite_add_tcase(suite, elements);
    return check_run(suite);
}
