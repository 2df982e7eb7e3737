/* Tests of block: rows of every type come back, and nothing malformed is believed. */
#include "block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "dtype.h"
#include "htstore.h"
#include "mem.h"
#include "planes.h"
#include "samples.h"

#define HEAD_SIZE 16u
#define FEW 40u

static struct hti_columns columns, decoded;
static struct hti_block_space space;
static struct hti_buf plain;
static struct sample_rows rows;

static void set_up(void)
{
    sample_seed(17);
    memset(&rows, 0, sizeof rows);
    hti_columns_init(&columns);
    hti_columns_init(&decoded);
    hti_block_space_init(&space);
    hti_buf_init(&plain);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    sample_rows_free(&rows);
    hti_columns_release(&columns);
    hti_columns_release(&decoded);
    hti_block_space_release(&space);
    hti_buf_release(&plain);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void gather(const struct hti_row_type *type, size_t n)
{
    sample_rows_free(&rows);
    sample_rows_make(&rows, type, n, true);
    hti_columns_reset(&columns, type);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(hti_columns_append(&columns, &rows.rows[i]), 0);
}

static void encode(void)
{
    plain.size = 0;
    ck_assert_int_eq(hti_block_encode(&columns, &space, &plain), 0);
    ck_assert_uint_le(plain.size, HTI_BLOCK_MAX_PLAIN);
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

static bool equal(const struct hti_buf *a, const struct hti_buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static void expect_round_trip(void)
{
    encode();
    ck_assert_int_eq(decode(&columns.type, plain.data, plain.size), 0);
    ck_assert_uint_eq(decoded.n_rows, columns.n_rows);
    ck_assert(equal(&decoded.keys, &columns.keys));
    ck_assert(equal(&decoded.key_sizes, &columns.key_sizes));
    ck_assert(equal(&decoded.values, &columns.values));
    ck_assert(equal(&decoded.value_sizes, &columns.value_sizes));
}

static void expect_codings(unsigned of_keys, unsigned of_values)
{
    ck_assert_uint_eq(plain.data[1], of_keys);
    ck_assert_uint_eq(plain.data[2], of_values);
}

/* --- round trips --- */

START_TEST(rows_of_every_type_come_back)
{
    static const uint64_t n_elements[] = { 0, 1, 3 };
    static const size_t n_rows[] = { 1, 2, 33, 300 };
    const uint32_t key_dtype = HTSTORE_INT8 + (uint32_t)_i / HTSTORE_STRING;
    const uint32_t value_dtype = HTSTORE_INT8 + (uint32_t)_i % HTSTORE_STRING;
    struct hti_row_type type;
    if (!hti_dtype_is_key(key_dtype))
        return;
    for (size_t e = 0; e < 3; e++)
        for (size_t r = 0; r < 4; r++) {
            hti_row_type_init(&type, key_dtype, value_dtype, n_elements[e]);
            gather(&type, n_rows[r]);
            expect_round_trip();
        }
}
END_TEST

START_TEST(random_blocks_come_back)
{
    struct hti_row_type type;
    sample_type((unsigned)_i, &type);
    for (unsigned round = 0; round < 20; round++) {
        gather(&type, 1 + sample_below(2000));
        expect_round_trip();
    }
}
END_TEST

static void append(const void *key, size_t key_size, const void *value, size_t value_size)
{
    const struct hti_row row = { key, key_size, value, value_size };
    ck_assert(!hti_block_is_large(&row));
    ck_assert(hti_block_has_room(&columns, &row));
    ck_assert_int_eq(hti_columns_append(&columns, &row), 0);
}

static void begin(uint32_t key_dtype, uint32_t value_dtype, uint64_t n_elements)
{
    struct hti_row_type type;
    hti_row_type_init(&type, key_dtype, value_dtype, n_elements);
    hti_columns_reset(&columns, &type);
}

static void append_numbers(uint64_t key, uint64_t value)
{
    uint8_t bytes[16];
    hti_store_le64(bytes, key);
    hti_store_le64(bytes + 8, value);
    append(bytes, 8, bytes + 8, 8);
}

/* A row of strings; the value is one. */
static void append_strings(const char *key, size_t key_size, const char *value, size_t value_size)
{
    uint8_t *packed = malloc(4 + value_size);
    ck_assert_ptr_nonnull(packed);
    hti_store_le32(packed, (uint32_t)value_size);
    memcpy(packed + 4, value, value_size);
    append(key, key_size, packed, 4 + value_size);
    free(packed);
}

START_TEST(sorted_numbers_are_coded_as_deltas)
{
    uint64_t key = (uint64_t)-5000000;
    begin(HTSTORE_INT64, HTSTORE_INT64, 1);
    for (unsigned i = 0; i < HTI_BLOCK_MAX_ROWS; i++) {
        append_numbers(key, sample_below(200));
        key += 1 + sample_below(60000);
    }
    const struct hti_row one_more = { &key, 8, &key, 8 };
    ck_assert(!hti_block_has_room(&columns, &one_more));
    expect_round_trip();
    expect_codings(HTI_CODING_DELTAS, HTI_CODING_PLANES);
    /* two bytes of each difference and one of each value vary; the first key, masks and constants are 8 + 2 + 6 + 7 */
    ck_assert_uint_eq(plain.size, HEAD_SIZE + 23 + 2 * (HTI_BLOCK_MAX_ROWS - 1) + HTI_BLOCK_MAX_ROWS);
}
END_TEST

START_TEST(single_bytes_are_never_coded_as_deltas)
{
    begin(HTSTORE_UINT8, HTSTORE_INT8, 0);
    for (unsigned i = 0; i < 256; i++) {
        const uint8_t key = (uint8_t)i;
        append(&key, 1, "", 0);
    }
    expect_round_trip();
    expect_codings(HTI_CODING_PLANES, HTI_CODING_PLAIN);
}
END_TEST

START_TEST(few_different_long_numbers_stay_plain)
{
    begin(HTSTORE_INT64, HTSTORE_UINT64, 1);
    for (unsigned i = 0; i < 5000; i++)
        append_numbers(i, (1 + sample_below(50)) * UINT64_C(0x9E3779B97F4A7C15));
    expect_round_trip();
    expect_codings(HTI_CODING_DELTAS, HTI_CODING_PLAIN);
}
END_TEST

START_TEST(keys_with_common_starts_are_front_coded)
{
    char key[64];
    begin(HTSTORE_STRING, HTSTORE_STRING, 1);
    for (unsigned i = 0; i < 30000; i++) {
        const int size = snprintf(key, sizeof key, "https://example.org/%05u/%u", i / 7, i);
        append_strings(key, (size_t)size, key + 8, sample_below(9));
    }
    expect_round_trip();
    expect_codings(HTI_CODING_FRONT, HTI_CODING_STRINGS);
    ck_assert_uint_lt(plain.size, hti_columns_size(&columns) / 2);
}
END_TEST

START_TEST(keys_without_common_starts_are_not)
{
    begin(HTSTORE_STRING, HTSTORE_STRING, 1);
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t key = sample_random();
        append_strings((const char *)&key, sizeof key, "value", 5);
    }
    expect_round_trip();
    expect_codings(HTI_CODING_STRINGS, HTI_CODING_STRINGS);
}
END_TEST

START_TEST(as_many_empty_strings_as_there_may_be_come_back)
{
    begin(HTSTORE_STRING, HTSTORE_STRING, 1);
    for (unsigned i = 0; i < HTI_BLOCK_MAX_ROWS; i++)
        append_strings("", 0, "", 0);
    expect_round_trip();
    ck_assert_uint_eq(plain.size, HEAD_SIZE + 5 + 5);
}
END_TEST

/* Few rows that fill a block, with sizes that need every byte of a size field. */
START_TEST(the_largest_rows_of_a_block_come_back)
{
    char *bytes = calloc(1, HTI_BLOCK_LARGE);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < HTI_BLOCK_LARGE; i++)
        bytes[i] = (char)(i * 31 >> 4);
    begin(HTSTORE_STRING, HTSTORE_STRING, 1);
    append_strings(bytes, HTI_BLOCK_LARGE - 4, "", 0);
    append_strings("k", 1, bytes, HTI_BLOCK_LARGE - 5);
    expect_round_trip();
    const struct hti_row one_more = { "x", 1, "", 0 };
    ck_assert(!hti_block_has_room(&columns, &one_more));
    begin(HTSTORE_STRING, HTSTORE_STRING, 1);
    append_strings(bytes, HTI_BLOCK_LARGE - 100, "", 0);
    for (unsigned i = 0; i < 60000; i++)
        append_strings(bytes, i % 12, "", 0);
    append_strings(bytes, 300000, "", 0);
    expect_round_trip();
    free(bytes);
}
END_TEST

START_TEST(equal_rows_give_equal_bytes)
{
    struct hti_block_space other;
    struct hti_buf again;
    struct hti_row_type type;
    sample_type((unsigned)_i, &type);
    hti_block_space_init(&other);
    hti_buf_init(&again);
    gather(&type, 300);
    encode();
    ck_assert_int_eq(hti_buf_append(&again, "before", 6), 0);
    ck_assert_int_eq(hti_block_encode(&columns, &other, &again), 0);
    ck_assert_uint_eq(again.size, plain.size + 6);
    ck_assert_mem_eq(again.data, "before", 6);
    ck_assert_mem_eq(again.data + 6, plain.data, plain.size);
    hti_block_space_release(&other);
    hti_buf_release(&again);
}
END_TEST

/* --- what is refused --- */

/* Whatever was accepted is a set of well-formed rows. */
static void expect_well_formed(const struct hti_row_type *type)
{
    struct hti_columns_walk walk;
    struct hti_row row;
    uint32_t n = 0;
    size_t size = 0;
    hti_columns_walk_init(&walk, &decoded);
    for (; hti_columns_walk_next(&walk, &row); n++) {
        if (!hti_codec_key_is_valid(type, row.key, row.key_size) ||
            !hti_codec_value_is_valid(type, row.value, row.value_size) || hti_block_is_large(&row))
            ck_abort_msg("row %u", n);
        (void)hti_hash_row(row.key, row.key_size, row.value, row.value_size);
        size += row.key_size + row.value_size;
    }
    if (n != decoded.n_rows || size != hti_columns_size(&decoded))
        ck_abort_msg("%u rows, %zu bytes", n, size);
}

START_TEST(no_changed_byte_does_harm)
{
    static const uint8_t changes[] = { 0x01, 0x80, 0xFF, 0x02, 0x03, 0x04 };
    struct hti_row_type type;
    sample_type((unsigned)_i, &type);
    gather(&type, FEW);
    encode();
    for (size_t at = 0; at < plain.size; at++)
        for (size_t k = 0; k < sizeof changes; k++) {
            plain.data[at] ^= changes[k];
            if (decode(&type, plain.data, plain.size) == 0)
                expect_well_formed(&type);
            plain.data[at] ^= changes[k];
        }
}
END_TEST

START_TEST(a_block_that_is_cut_or_longer_is_refused)
{
    struct hti_row_type type;
    sample_type((unsigned)_i, &type);
    gather(&type, FEW);
    encode();
    for (size_t size = 0; size < plain.size; size++)
        ck_assert_int_eq(decode(&type, plain.data, size), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(&type, plain.data, plain.size), 0);
    ck_assert_int_eq(hti_buf_append_u8(&plain, 0), 0);
    ck_assert_int_eq(decode(&type, plain.data, plain.size), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(a_block_of_another_type_does_no_harm)
{
    struct hti_row_type type, other;
    sample_type((unsigned)_i, &type);
    gather(&type, FEW);
    encode();
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++) {
        sample_type(i, &other);
        if (decode(&other, plain.data, plain.size) == 0)
            expect_well_formed(&other);
    }
}
END_TEST

/* --- memory --- */

START_TEST(failing_allocations_are_reported)
{
    struct hti_row_type type;
    int status = HTSTORE_ENOMEM;
    sample_type((unsigned)_i, &type);
    gather(&type, 300);
    for (uint64_t nth = 0; status != 0; nth++) {
        ck_assert_uint_lt(nth, 10);
        hti_block_space_release(&space);
        hti_buf_release(&plain);
        hti_mem_test_fail(nth, true);
        status = hti_block_encode(&columns, &space, &plain);
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert(status == 0 || (status == HTSTORE_ENOMEM && plain.size == 0));
    }
    status = HTSTORE_ENOMEM;
    for (uint64_t nth = 0; status != 0; nth++) {
        ck_assert_uint_lt(nth, 10);
        hti_block_space_release(&space);
        hti_columns_release(&decoded);
        hti_mem_test_fail(nth, true);
        status = hti_block_decode(&type, plain.data, plain.size, &space, &decoded);
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert(status == 0 || (status == HTSTORE_ENOMEM && decoded.n_rows == 0));
    }
    ck_assert(equal(&decoded.keys, &columns.keys));
    ck_assert(equal(&decoded.values, &columns.values));
}
END_TEST

START_TEST(memory_once_taken_is_enough_for_the_next_block)
{
    struct hti_row_type type;
    sample_type((unsigned)_i, &type);
    gather(&type, 300);
    expect_round_trip();
    hti_mem_test_fail(0, true);
    expect_round_trip();
}
END_TEST

static TCase *make_round_trips(void)
{
    TCase *tests = tcase_create("round trips");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, rows_of_every_type_come_back, 0, HTSTORE_STRING * HTSTORE_STRING);
    tcase_add_loop_test(tests, random_blocks_come_back, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, sorted_numbers_are_coded_as_deltas);
    tcase_add_test(tests, single_bytes_are_never_coded_as_deltas);
    tcase_add_test(tests, few_different_long_numbers_stay_plain);
    tcase_add_test(tests, keys_with_common_starts_are_front_coded);
    tcase_add_test(tests, keys_without_common_starts_are_not);
    tcase_add_test(tests, as_many_empty_strings_as_there_may_be_come_back);
    tcase_add_test(tests, the_largest_rows_of_a_block_come_back);
    tcase_add_loop_test(tests, equal_rows_give_equal_bytes, 0, N_SAMPLE_TYPES);
    return tests;
}

static TCase *make_refusals(void)
{
    TCase *tests = tcase_create("refusals");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, no_changed_byte_does_harm, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, a_block_that_is_cut_or_longer_is_refused, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, a_block_of_another_type_does_no_harm, 0, N_SAMPLE_TYPES);
    return tests;
}

static TCase *make_memory(void)
{
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, failing_allocations_are_reported, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, memory_once_taken_is_enough_for_the_next_block, 0, N_SAMPLE_TYPES);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("block");
    suite_add_tcase(suite, make_round_trips());
    suite_add_tcase(suite, make_refusals());
    suite_add_tcase(suite, make_memory());
    return check_run(suite);
}
