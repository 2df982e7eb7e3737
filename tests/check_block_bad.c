/* Tests of block: payloads made by hand, of which each says one thing that is not so. */
#include "block.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "dtype.h"
#include "htstore.h"
#include "mem.h"
#include "samples.h"

#define HEAD_SIZE 16u

static struct hti_columns decoded;
static struct hti_block_space space;
static struct hti_buf plain;

static void set_up(void)
{
    hti_columns_init(&decoded);
    hti_block_space_init(&space);
    hti_buf_init(&plain);
}

static void tear_down(void)
{
    hti_columns_release(&decoded);
    hti_block_space_release(&space);
    hti_buf_release(&plain);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* From memory of exactly that size. */
static int decode(const struct hti_row_type *type, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = sample_copy(bytes, size);
    int status = hti_block_decode(type, copy, size, &space, &decoded);
    free(copy);
    if (status != 0 && (status != HTSTORE_ECORRUPT || decoded.n_rows != 0 || hti_columns_size(&decoded) != 0))
        ck_abort_msg("status %d, %u rows", status, decoded.n_rows);
    return status;
}

static void put_head(unsigned key_coding, unsigned value_coding, uint32_t n_rows, uint32_t keys_size,
                     uint32_t values_size)
{
    plain.size = 0;
    ck_assert_int_eq(hti_buf_append_u8(&plain, 1), 0);
    ck_assert_int_eq(hti_buf_append_u8(&plain, (uint8_t)key_coding), 0);
    ck_assert_int_eq(hti_buf_append_u8(&plain, (uint8_t)value_coding), 0);
    ck_assert_int_eq(hti_buf_append_u8(&plain, 0), 0);
    ck_assert_int_eq(hti_buf_append_u32(&plain, n_rows), 0);
    ck_assert_int_eq(hti_buf_append_u32(&plain, keys_size), 0);
    ck_assert_int_eq(hti_buf_append_u32(&plain, values_size), 0);
}

static void put(const void *bytes, size_t size)
{
    ck_assert_int_eq(hti_buf_append(&plain, bytes, size), 0);
}

/* planes(n, 4) of equal sizes */
static void put_constant_size(uint32_t size)
{
    ck_assert_int_eq(hti_buf_append_u8(&plain, 0), 0);
    ck_assert_int_eq(hti_buf_append_u32(&plain, size), 0);
}

/* planes(n, 4) of n sizes below 256 */
static void put_sizes(const char *sizes, size_t n)
{
    ck_assert_int_eq(hti_buf_append_u8(&plain, 1), 0);
    put(sizes, n);
    put("\0\0", 3);
}

static int decode_as(uint32_t key_dtype, uint32_t value_dtype, uint64_t n_elements)
{
    struct hti_row_type type;
    hti_row_type_init(&type, key_dtype, value_dtype, n_elements);
    return decode(&type, plain.data, plain.size);
}

START_TEST(heads_that_lie_are_refused)
{
    static const struct {
        unsigned at, size;
        uint32_t value;
        int status;
    } lies[] = {
        { 0, 1, 1, 0 },
        { 0, 1, 0, HTSTORE_ECORRUPT }, /* kind */
        { 0, 1, 2, HTSTORE_ECORRUPT },
        { 1, 1, 1, HTSTORE_ECORRUPT }, /* codings that do not fit */
        { 1, 1, 2, HTSTORE_ECORRUPT },
        { 1, 1, 3, HTSTORE_ECORRUPT },
        { 1, 1, 4, HTSTORE_ECORRUPT },
        { 1, 1, 5, HTSTORE_ECORRUPT },
        { 2, 1, 1, HTSTORE_ECORRUPT },
        { 2, 1, 2, HTSTORE_ECORRUPT },
        { 2, 1, 3, HTSTORE_ECORRUPT },
        { 2, 1, 4, HTSTORE_ECORRUPT },
        { 3, 1, 1, HTSTORE_ECORRUPT }, /* reserved */
        { 4, 4, 0, HTSTORE_ECORRUPT }, /* rows */
        { 4, 4, 1, HTSTORE_ECORRUPT },
        { 4, 4, 3, HTSTORE_ECORRUPT },
        { 4, 4, 65537, HTSTORE_ECORRUPT },
        { 4, 4, UINT32_MAX, HTSTORE_ECORRUPT },
        { 8, 4, 0, HTSTORE_ECORRUPT }, /* size of keys */
        { 8, 4, 15, HTSTORE_ECORRUPT },
        { 8, 4, 17, HTSTORE_ECORRUPT },
        { 8, 4, UINT32_MAX, HTSTORE_ECORRUPT },
        { 12, 4, 0, HTSTORE_ECORRUPT }, /* size of values */
        { 12, 4, 3, HTSTORE_ECORRUPT },
        { 12, 4, UINT32_MAX, HTSTORE_ECORRUPT },
    };
    put_head(0, 0, 2, 16, 4);
    put("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\4", 20);
    if (lies[_i].size == 1)
        plain.data[lies[_i].at] = (uint8_t)lies[_i].value;
    else
        hti_store_le32(plain.data + lies[_i].at, lies[_i].value);
    ck_assert_int_eq(decode_as(HTSTORE_INT64, HTSTORE_UINT16, 1), lies[_i].status);
}
END_TEST

START_TEST(a_block_without_rows_is_refused)
{
    put_head(0, 0, 0, 0, 0);
    ck_assert_int_eq(decode_as(HTSTORE_INT64, HTSTORE_INT64, 1), HTSTORE_ECORRUPT);
    put_head(3, 3, 0, 0, 0);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_STRING, 1), HTSTORE_ECORRUPT);
}
END_TEST

/* Constant columns make little of much: limits must hold all the same. */
START_TEST(more_rows_or_bytes_than_the_limits_are_refused)
{
    const uint32_t n = HTI_BLOCK_MAX_ROWS;
    put_head(3, 1, n, 0, n);
    put_constant_size(0);
    put("\0\1", 2);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_BOOL, 1), 0);
    hti_store_le32(plain.data + 4, n + 1);
    hti_store_le32(plain.data + 12, n + 1);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_BOOL, 1), HTSTORE_ECORRUPT);
    put_head(3, 1, n, 0, 32 * n);
    put_constant_size(0);
    put("\0\1", 2);
    ck_assert_uint_eq(32 * n, HTI_BLOCK_MAX_BYTES);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_BOOL, 32), 0);
    hti_store_le32(plain.data + 12, 33 * n);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_BOOL, 33), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(large_rows_are_refused)
{
    put_head(0, 1, 1, 1, HTI_BLOCK_LARGE - 1);
    put("k\0\1", 3);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_UINT8, HTI_BLOCK_LARGE - 1), 0);
    hti_store_le32(plain.data + 12, HTI_BLOCK_LARGE);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_UINT8, HTI_BLOCK_LARGE), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(keys_that_are_not_canonical_are_refused)
{
    static const struct {
        uint32_t dtype;
        uint64_t bits;
        int status;
    } keys[] = {
        { HTSTORE_BOOL, 1, 0 },
        { HTSTORE_BOOL, 2, HTSTORE_ECORRUPT },
        { HTSTORE_FLOAT32, 0x7F800000, 0 },
        { HTSTORE_FLOAT32, 0x7F800001, HTSTORE_ECORRUPT },
        { HTSTORE_FLOAT32, 0x80000000, HTSTORE_ECORRUPT },
        { HTSTORE_FLOAT64, UINT64_C(0x7FF0000000000000), 0 },
        { HTSTORE_FLOAT64, UINT64_C(0x7FF0000000000001), HTSTORE_ECORRUPT },
        { HTSTORE_FLOAT64, UINT64_C(0x8000000000000000), HTSTORE_ECORRUPT },
    };
    const uint32_t width = (uint32_t)hti_dtype_packed_size(keys[_i].dtype);
    uint8_t bits[16] = { 0 };
    hti_store_le64(bits + width, keys[_i].bits);
    put_head(0, 0, 2, 2 * width, 0);
    put(bits, (size_t)2 * width);
    ck_assert_int_eq(decode_as(keys[_i].dtype, HTSTORE_INT8, 0), keys[_i].status);
}
END_TEST

START_TEST(bools_that_are_not_are_refused)
{
    put_head(0, 0, 2, 2, 4);
    put("\1\2\0\1\1\0", 6);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_BOOL, 2), 0);
    plain.data[plain.size - 1] = 2;
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_BOOL, 2), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_UINT8, 2), 0);
}
END_TEST

START_TEST(masks_have_no_bits_beyond_the_width)
{
    put_head(1, 0, 2, 4, 0);
    put("\3\1\2\0\0", 5);
    ck_assert_int_eq(decode_as(HTSTORE_UINT16, HTSTORE_INT8, 0), 0);
    plain.data[HEAD_SIZE] = 7;
    ck_assert_int_eq(decode_as(HTSTORE_UINT16, HTSTORE_INT8, 0), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(there_are_no_deltas_of_single_bytes)
{
    put_head(2, 0, 2, 2, 0);
    put("\1\0\1", 3);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_INT8, 0), HTSTORE_ECORRUPT);
    put_head(2, 0, 2, 4, 0);
    put("\1\0\0\1\0", 5);
    ck_assert_int_eq(decode_as(HTSTORE_UINT16, HTSTORE_INT8, 0), 0);
    ck_assert_mem_eq(decoded.keys.data, "\1\0\2\0", 4);
}
END_TEST

/* Keys "ab", "abc", "b"; the values have no elements. */
static int decode_front(const char *shared, const char *rests, uint32_t keys_size)
{
    put_head(4, 0, 3, keys_size, 0);
    put_sizes(shared, 3);
    put_sizes(rests, 3);
    put("abcb", 4);
    return decode_as(HTSTORE_STRING, HTSTORE_INT8, 0);
}

START_TEST(front_coding_shares_with_the_key_before_only)
{
    ck_assert_int_eq(decode_front("\0\2\0", "\2\1\1", 6), 0);
    ck_assert_mem_eq(decoded.keys.data, "ababcb", 6);
    ck_assert_int_eq(decode_front("\0\3\0", "\2\1\1", 7), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_front("\0\2\4", "\2\1\1", 10), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_front("\1\2\0", "\2\1\1", 7), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_front("\0\2\3", "\2\1\1", 9), 0);
    ck_assert_mem_eq(decoded.keys.data, "ababcabcb", 9);
}
END_TEST

START_TEST(front_coded_keys_have_the_size_that_is_declared)
{
    ck_assert_int_eq(decode_front("\0\2\0", "\2\1\1", 5), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_front("\0\2\0", "\2\1\1", 7), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_front("\0\2\0", "\2\1\0", 5), HTSTORE_ECORRUPT); /* a byte left over */
    ck_assert_int_eq(decode_front("\0\2\0", "\2\1\2", 7), HTSTORE_ECORRUPT); /* a byte too few */
}
END_TEST

/* Sizes that fit one by one, and not together: the keys would go 490 bytes beyond what was declared. */
START_TEST(front_coded_keys_stay_within_the_size_that_is_declared)
{
    static const char bytes[1500];
    put_head(4, 0, 2, 2000, 0);
    put("\3\0\xDE\0\3\0\0", 7); /* 0, 990 */
    put("\3\xE8\xF4\3\1\0\0", 7); /* 1000, 500 */
    put(bytes, sizeof bytes);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_INT8, 0), HTSTORE_ECORRUPT);
    hti_store_le32(plain.data + 8, 1000 + 1490);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_INT8, 0), 0);
}
END_TEST

START_TEST(sizes_of_strings_add_up)
{
    static const struct {
        uint32_t size, keys_size;
        int status;
    } cases[] = {
        { 3, 6, 0 },
        { 3, 5, HTSTORE_ECORRUPT },
        { 4, 6, HTSTORE_ECORRUPT },
        { 0x80000003, 6, HTSTORE_ECORRUPT }, /* twice: 6, modulo 2^32 */
        { UINT32_MAX, 6, HTSTORE_ECORRUPT },
    };
    put_head(3, 0, 2, cases[_i].keys_size, 0);
    put_constant_size(cases[_i].size);
    put("abcdef", cases[_i].keys_size);
    ck_assert_int_eq(decode_as(HTSTORE_STRING, HTSTORE_INT8, 0), cases[_i].status);
    put_head(0, 3, 1, 1, 8 + cases[_i].keys_size);
    put("k", 1);
    put_constant_size(cases[_i].size);
    put("abcdef", cases[_i].keys_size);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, 2), cases[_i].status);
}
END_TEST

START_TEST(more_elements_than_bytes_are_refused)
{
    put_head(0, 3, 2, 2, 8);
    put("ab", 2);
    put_constant_size(0);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, 1), 0);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, 2), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, UINT64_C(1) << 61), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, UINT64_MAX), HTSTORE_ECORRUPT);
    put_head(0, 3, 2, 2, 0);
    put("ab", 2);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, 0), 0);
    ck_assert_int_eq(decode_as(HTSTORE_UINT8, HTSTORE_STRING, UINT64_C(1) << 61), HTSTORE_ECORRUPT);
}
END_TEST

/* What payloads claim does not make a decoder allocate more than it says. */
START_TEST(decoding_stays_within_its_memory)
{
    static const char *const shapes[] = { "strings", "front", "values" };
    const uint32_t n = HTI_BLOCK_MAX_ROWS;
    if (_i == 0) {
        put_head(3, 0, n, HTI_BLOCK_MAX_BYTES, 0);
        put_constant_size(UINT32_MAX);
    } else if (_i == 1) {
        put_head(4, 0, n, HTI_BLOCK_MAX_BYTES, 0);
        put_constant_size(UINT32_MAX);
        put_constant_size(0);
    } else {
        put_head(3, 3, n, 0, HTI_BLOCK_MAX_BYTES);
        put_constant_size(0);
        put_constant_size(UINT32_MAX);
    }
    ck_assert_int_eq(decode_as(HTSTORE_STRING, _i == 2 ? HTSTORE_STRING : HTSTORE_INT8, _i == 2 ? 8 : 0),
                     HTSTORE_ECORRUPT);
    const size_t used = decoded.keys.capacity + decoded.key_sizes.capacity + decoded.values.capacity +
                        decoded.value_sizes.capacity + space.sizes.capacity + space.other_sizes.capacity;
    ck_assert_msg(used <= HTI_BLOCK_MAX_DECODE, "%s: %zu bytes", shapes[_i], used);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block_bad");
    TCase *tests = tcase_create("block_bad");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, heads_that_lie_are_refused, 0, 25);
    tcase_add_test(tests, a_block_without_rows_is_refused);
    tcase_add_test(tests, more_rows_or_bytes_than_the_limits_are_refused);
    tcase_add_test(tests, large_rows_are_refused);
    tcase_add_loop_test(tests, keys_that_are_not_canonical_are_refused, 0, 8);
    tcase_add_test(tests, bools_that_are_not_are_refused);
    tcase_add_test(tests, masks_have_no_bits_beyond_the_width);
    tcase_add_test(tests, there_are_no_deltas_of_single_bytes);
    tcase_add_test(tests, front_coding_shares_with_the_key_before_only);
    tcase_add_test(tests, front_coded_keys_have_the_size_that_is_declared);
    tcase_add_test(tests, front_coded_keys_stay_within_the_size_that_is_declared);
    tcase_add_loop_test(tests, sizes_of_strings_add_up, 0, 5);
    tcase_add_test(tests, more_elements_than_bytes_are_refused);
    tcase_add_loop_test(tests, decoding_stays_within_its_memory, 0, 3);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
