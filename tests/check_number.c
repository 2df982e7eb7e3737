/* Tests of the tool's numbers as text: strict on input, shortest exact on output. */
#include "../tools/number.h"

#include "htstore.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check_util.h"

static enum number_result parse(uint32_t dtype, const char *text, void *element)
{
    return number_parse(dtype, text, strlen(text), element);
}

static void expect_result(uint32_t dtype, const char *text, enum number_result expected)
{
    char element[8];
    enum number_result result = parse(dtype, text, element);

    ck_assert_msg(result == expected, "%s \"%s\": result %d, expected %d", htstore_dtype_name(dtype), text, result,
                  expected);
}

/* The text is read, and printed as the same text. */
static void expect_round_trip(uint32_t dtype, const char *text)
{
    char element[8], printed[NUMBER_TEXT_SIZE];

    expect_result(dtype, text, NUMBER_OK);
    parse(dtype, text, element);
    ck_assert_uint_eq(number_print(dtype, element, printed), strlen(text));
    ck_assert_str_eq(printed, text);
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float parse_float32(const char *text)
{
    float value = 0;

    ck_assert_int_eq(parse(HTSTORE_FLOAT32, text, &value), NUMBER_OK);
    return value;
}

static const struct {
    uint32_t dtype;
    const char *least, *most, *below, *above;
} limits[] = {
    { HTSTORE_INT8, "-128", "127", "-129", "128" },
    { HTSTORE_INT16, "-32768", "32767", "-32769", "32768" },
    { HTSTORE_INT32, "-2147483648", "2147483647", "-2147483649", "2147483648" },
    { HTSTORE_INT64, "-9223372036854775808", "9223372036854775807", "-9223372036854775809", "9223372036854775808" },
    { HTSTORE_UINT8, "0", "255", "-1", "256" },
    { HTSTORE_UINT16, "0", "65535", "-1", "65536" },
    { HTSTORE_UINT32, "0", "4294967295", "-1", "4294967296" },
    { HTSTORE_UINT64, "0", "18446744073709551615", "-1", "18446744073709551616" },
};

#define N_LIMITS ((int)(sizeof limits / sizeof limits[0]))

START_TEST(integer_limits_are_read_and_printed)
{
    expect_round_trip(limits[_i].dtype, limits[_i].least);
    expect_round_trip(limits[_i].dtype, limits[_i].most);
    expect_round_trip(limits[_i].dtype, "0");
    expect_round_trip(limits[_i].dtype, "42");
}
END_TEST

START_TEST(integers_beyond_the_limits_are_out_of_range)
{
    expect_result(limits[_i].dtype, limits[_i].below, NUMBER_RANGE);
    expect_result(limits[_i].dtype, limits[_i].above, NUMBER_RANGE);
    expect_result(limits[_i].dtype, "99999999999999999999999999", NUMBER_RANGE);
    expect_result(limits[_i].dtype, "-99999999999999999999999999", NUMBER_RANGE);
}
END_TEST

START_TEST(integers_that_are_not_decimal_are_refused)
{
    static const char *const texts[] = { "",    " 1",  "1 ",  "+1",  "-",    "--1", "0x10", "1.0", "1e3",  "abc",
                                         "12a", "\t1", "1\n", "1,0", "true", "nan", "- 1",  "０",  "1_000" };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_result(limits[_i].dtype, texts[i], NUMBER_SYNTAX);
}
END_TEST

START_TEST(a_refused_text_leaves_the_element_as_it_was)
{
    int32_t value = 77;
    float single = 1.5f;

    ck_assert_int_eq(parse(HTSTORE_INT32, "2147483648", &value), NUMBER_RANGE);
    ck_assert_int_eq(parse(HTSTORE_INT32, "12x", &value), NUMBER_SYNTAX);
    ck_assert_int_eq(value, 77);
    ck_assert_int_eq(parse(HTSTORE_FLOAT32, "1e39", &single), NUMBER_RANGE);
    ck_assert(bits_of(single) == bits_of(1.5f));
}
END_TEST

START_TEST(a_nul_inside_of_a_number_is_refused)
{
    char element[8];

    ck_assert_int_eq(number_parse(HTSTORE_INT32, "1\0002", 3, element), NUMBER_SYNTAX);
    ck_assert_int_eq(number_parse(HTSTORE_FLOAT64, "1\0002", 3, element), NUMBER_SYNTAX);
    ck_assert_int_eq(number_parse(HTSTORE_BOOL, "1\0", 2, element), NUMBER_SYNTAX);
}
END_TEST

START_TEST(text_of_any_length_before_its_end_is_read)
{
    int64_t value = 0;

    ck_assert_int_eq(number_parse(HTSTORE_INT64, "12345", 3, &value), NUMBER_OK);
    ck_assert_int_eq(value, 123);
}
END_TEST

START_TEST(float32_is_not_rounded_twice)
{
    /* one bit above the middle of two floats, but the double nearest to it is that middle */
    float value = parse_float32("1.00000017881393432617187499");

    ck_assert_uint_eq(bits_of(value), UINT32_C(0x3f800001));
    ck_assert_uint_ne(bits_of((float)strtod("1.00000017881393432617187499", NULL)), bits_of(value));
}
END_TEST

START_TEST(floats_are_printed_with_the_fewest_digits)
{
    char text[NUMBER_TEXT_SIZE];
    float single = 0.1f;
    double value = 0.1;

    number_print(HTSTORE_FLOAT32, &single, text);
    ck_assert_str_eq(text, "0.1");
    number_print(HTSTORE_FLOAT64, &value, text);
    ck_assert_str_eq(text, "0.1");
    value = 0.1 + 0.2;
    number_print(HTSTORE_FLOAT64, &value, text);
    ck_assert_str_eq(text, "0.30000000000000004");
    single = 16777216.0f;
    number_print(HTSTORE_FLOAT32, &single, text);
    ck_assert_str_eq(text, "16777216");
}
END_TEST

static const uint32_t float_dtypes[] = { HTSTORE_FLOAT16, HTSTORE_BFLOAT16, HTSTORE_FLOAT32, HTSTORE_FLOAT64 };

#define N_FLOATS ((int)(sizeof float_dtypes / sizeof float_dtypes[0]))

START_TEST(special_floats_are_read_and_printed)
{
    static const char *const texts[] = { "0", "-0", "1", "-1", "0.5", "nan", "inf", "-inf" };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_round_trip(float_dtypes[_i], texts[i]);
    expect_result(float_dtypes[_i], "NaN", NUMBER_OK);
    expect_result(float_dtypes[_i], "-Infinity", NUMBER_OK);
}
END_TEST

START_TEST(floats_that_are_not_decimal_are_refused)
{
    static const char *const texts[] = { "",     " 1",  "1 ",    "+1", "0x1p3", "0x10", "nan(1)", "nan(0x7)",
                                         "infi", ".",   "-.",    "e5", "1e",    "1e+",  "1.5.2",  "1,5",
                                         "-",    "--1", "1e5.0", "1f", "\n1",   "inf ", "nanx",   "+inf" };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_result(float_dtypes[_i], texts[i], NUMBER_SYNTAX);
}
END_TEST

START_TEST(forms_without_digits_on_one_side_of_the_point_are_read)
{
    expect_result(float_dtypes[_i], ".5", NUMBER_OK);
    expect_result(float_dtypes[_i], "5.", NUMBER_OK);
    expect_result(float_dtypes[_i], "1E+1", NUMBER_OK);
    expect_result(float_dtypes[_i], "-1e-1", NUMBER_OK);
}
END_TEST

START_TEST(finite_text_that_overflows_is_out_of_range)
{
    expect_result(HTSTORE_FLOAT64, "1e309", NUMBER_RANGE);
    expect_result(HTSTORE_FLOAT64, "1.7976931348623157e308", NUMBER_OK);
    expect_result(HTSTORE_FLOAT32, "3.5e38", NUMBER_RANGE);
    expect_result(HTSTORE_FLOAT32, "-3.5e38", NUMBER_RANGE);
    expect_result(HTSTORE_FLOAT32, "3.4028235e38", NUMBER_OK);
    expect_result(HTSTORE_FLOAT16, "65520", NUMBER_RANGE);
    expect_result(HTSTORE_FLOAT16, "65519", NUMBER_OK);
    expect_result(HTSTORE_FLOAT16, "1e39", NUMBER_RANGE);
    expect_result(HTSTORE_BFLOAT16, "3.4e38", NUMBER_RANGE);
    expect_result(HTSTORE_BFLOAT16, "3.38e38", NUMBER_OK);
}
END_TEST

START_TEST(subnormals_are_numbers)
{
    expect_round_trip(HTSTORE_FLOAT32, "1.4013e-45"); /* the smallest: 6 digits, though 1e-45 would do */
    expect_round_trip(HTSTORE_FLOAT64, "4.94065645841247e-324");
    ck_assert_uint_eq(bits_of(parse_float32("1e-45")), 1);
    ck_assert_uint_eq(bits_of(parse_float32("1.1754942e-38")), UINT32_C(0x007fffff));
    ck_assert_uint_eq(bits_of(parse_float32("1e-60")), 0);
}
END_TEST

START_TEST(a_sample_of_all_float32_reads_back_equal)
{
    char text[NUMBER_TEXT_SIZE];

    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 99991) {
        uint32_t in = (uint32_t)bits, out = 0;
        float value;

        memcpy(&value, &in, sizeof value);
        if (isnan(value))
            continue;
        ck_assert_uint_eq(number_parse(HTSTORE_FLOAT32, text, number_print(HTSTORE_FLOAT32, &in, text), &out),
                          NUMBER_OK);
        ck_assert_msg(out == in, "%08" PRIx32 " is printed as %s and read as %08" PRIx32, in, text, out);
    }
}
END_TEST

START_TEST(random_doubles_read_back_equal)
{
    uint64_t state = 88172645463325252u;
    char text[NUMBER_TEXT_SIZE];

    for (int i = 0; i < 100000; i++) {
        uint64_t out = 0;
        double value;

        state ^= state << 13; /* xorshift64, Marsaglia 2003 */
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(&value, &state, sizeof value);
        if (isnan(value))
            continue;
        ck_assert_uint_eq(number_parse(HTSTORE_FLOAT64, text, number_print(HTSTORE_FLOAT64, &state, text), &out),
                          NUMBER_OK);
        ck_assert_msg(out == state, "%016" PRIx64 " is printed as %s", state, text);
    }
}
END_TEST

START_TEST(every_half_reads_back_equal)
{
    uint32_t dtype = _i == 0 ? HTSTORE_FLOAT16 : HTSTORE_BFLOAT16;
    char text[NUMBER_TEXT_SIZE];

    for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
        uint16_t in = (uint16_t)bits, out = 0;
        float value = _i == 0 ? number_float_from_half(in) : number_float_from_bfloat(in);

        if (isnan(value))
            continue;
        ck_assert_uint_eq(number_parse(dtype, text, number_print(dtype, &in, text), &out), NUMBER_OK);
        ck_assert_msg(out == in, "%04x is printed as %s and read as %04x", in, text, out);
    }
}
END_TEST

START_TEST(halves_round_to_nearest_with_ties_to_even)
{
    ck_assert_uint_eq(number_half_from_float(1.0f), 0x3c00);
    ck_assert_uint_eq(number_half_from_float(0x1.002p0f), 0x3c00); /* tie between 0x3c00 and 0x3c01 */
    ck_assert_uint_eq(number_half_from_float(0x1.006p0f), 0x3c02); /* tie between 0x3c01 and 0x3c02 */
    ck_assert_uint_eq(number_half_from_float(0x1.00201p0f), 0x3c01);
    ck_assert_uint_eq(number_half_from_float(0x1p-24f), 0x0001);
    ck_assert_uint_eq(number_half_from_float(0x1p-25f), 0x0000);
    ck_assert_uint_eq(number_half_from_float(0x1.8p-24f), 0x0002);
    ck_assert_uint_eq(number_half_from_float(-0x1p-14f), 0x8400);
    ck_assert_uint_eq(number_half_from_float(0x1.ff8p-15f), 0x03ff);
    ck_assert_uint_eq(number_half_from_float(-INFINITY), 0xfc00);
    ck_assert_uint_eq(number_bfloat_from_float(1.0f), 0x3f80);
    ck_assert_uint_eq(number_bfloat_from_float(0x1.01p0f), 0x3f80);
    ck_assert_uint_eq(number_bfloat_from_float(0x1.03p0f), 0x3f82);
    ck_assert(isnan(number_float_from_half(number_half_from_float(NAN))));
    ck_assert(isnan(number_float_from_bfloat(number_bfloat_from_float(NAN))));
}
END_TEST

START_TEST(bool_is_true_false_1_or_0)
{
    uint8_t value = 9;

    expect_round_trip(HTSTORE_BOOL, "true");
    expect_round_trip(HTSTORE_BOOL, "false");
    ck_assert_int_eq(parse(HTSTORE_BOOL, "1", &value), NUMBER_OK);
    ck_assert_uint_eq(value, 1);
    ck_assert_int_eq(parse(HTSTORE_BOOL, "0", &value), NUMBER_OK);
    ck_assert_uint_eq(value, 0);
    expect_result(HTSTORE_BOOL, "TRUE", NUMBER_SYNTAX);
    expect_result(HTSTORE_BOOL, "2", NUMBER_SYNTAX);
    expect_result(HTSTORE_BOOL, "", NUMBER_SYNTAX);
    expect_result(HTSTORE_BOOL, "00", NUMBER_SYNTAX);
}
END_TEST

START_TEST(a_string_is_no_number)
{
    struct htstore_bytes bytes;

    ck_assert_int_eq(number_parse(HTSTORE_STRING, "1", 1, &bytes), NUMBER_SYNTAX);
}
END_TEST

START_TEST(very_long_texts_are_read_or_refused_whole)
{
    char text[3000];
    double value = 0;

    memset(text, '0', sizeof text);
    text[1] = '.';
    text[1500] = '1';
    ck_assert_int_eq(number_parse(HTSTORE_FLOAT64, text, 1501, &value), NUMBER_OK);
    ck_assert(value >= 0 && value < 1e-300);
    ck_assert_int_eq(number_parse(HTSTORE_FLOAT64, text, sizeof text, &value), NUMBER_SYNTAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("number");
    TCase *integers = tcase_create("integers");
    TCase *floats = tcase_create("floats");

    tcase_add_loop_test(integers, integer_limits_are_read_and_printed, 0, N_LIMITS);
    tcase_add_loop_test(integers, integers_beyond_the_limits_are_out_of_range, 0, N_LIMITS);
    tcase_add_loop_test(integers, integers_that_are_not_decimal_are_refused, 0, N_LIMITS);
    tcase_add_test(integers, a_refused_text_leaves_the_element_as_it_was);
    tcase_add_test(integers, a_nul_inside_of_a_number_is_refused);
    tcase_add_test(integers, text_of_any_length_before_its_end_is_read);
    tcase_add_test(integers, bool_is_true_false_1_or_0);
    tcase_add_test(integers, a_string_is_no_number);
    suite_add_tcase(suite, integers);
    tcase_add_test(floats, float32_is_not_rounded_twice);
    tcase_add_test(floats, floats_are_printed_with_the_fewest_digits);
    tcase_add_loop_test(floats, special_floats_are_read_and_printed, 0, N_FLOATS);
    tcase_add_loop_test(floats, floats_that_are_not_decimal_are_refused, 0, N_FLOATS);
    tcase_add_loop_test(floats, forms_without_digits_on_one_side_of_the_point_are_read, 0, N_FLOATS);
    tcase_add_test(floats, finite_text_that_overflows_is_out_of_range);
    tcase_add_test(floats, subnormals_are_numbers);
    tcase_add_test(floats, a_sample_of_all_float32_reads_back_equal);
    tcase_add_test(floats, random_doubles_read_back_equal);
    tcase_add_loop_test(floats, every_half_reads_back_equal, 0, 2);
    tcase_add_test(floats, halves_round_to_nearest_with_ties_to_even);
    tcase_add_test(floats, very_long_texts_are_read_or_refused_whole);
    suite_add_tcase(suite, floats);
    return check_run(suite);
}
