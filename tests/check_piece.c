/* Tests of piece: large rows are cut and put together, and nothing else is. */
#include "piece.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "htstore.h"
#include "mem.h"
#include "samples.h"

#define MIB (1u << 20)

static struct hti_row_type strings, blob;
static struct hti_buf plain;
static struct hti_piece_joint joint;
static uint8_t *key, *value;

static void set_up(void)
{
    sample_seed(5);
    hti_row_type_init(&strings, HTSTORE_STRING, HTSTORE_STRING, 1);
    hti_row_type_init(&blob, HTSTORE_INT64, HTSTORE_UINT8, 3 * MIB);
    hti_buf_init(&plain);
    hti_piece_joint_init(&joint);
    key = value = NULL;
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    free(key);
    free(value);
    hti_buf_release(&plain);
    hti_piece_joint_release(&joint);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static uint8_t *make_bytes(size_t size)
{
    uint8_t *bytes = malloc(size ? size : 1);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    return bytes;
}

/* A row of strings; value_size includes the size field of the one element. */
static struct hti_row make_row(size_t key_size, size_t value_size)
{
    free(key);
    free(value);
    key = make_bytes(key_size);
    value = make_bytes(value_size);
    hti_store_le32(value, (uint32_t)(value_size - 4));
    return (struct hti_row){ key, key_size, value, value_size };
}

static void encode(const struct hti_row *row, uint32_t index)
{
    plain.size = 0;
    ck_assert_int_eq(hti_piece_encode(row, index, &plain), 0);
    ck_assert_uint_le(plain.size, HTI_PIECE_MAX_PLAIN);
}

static void expect_joined(const struct hti_row_type *type, const struct hti_row *row)
{
    const uint32_t n = hti_piece_count(row);
    struct hti_row joined = { .key = NULL };
    hti_piece_joint_begin(&joint);
    for (uint32_t i = 0; i < n; i++) {
        struct hti_piece piece;
        encode(row, i);
        ck_assert_int_eq(hti_piece_decode(type, plain.data, plain.size, &piece), 0);
        ck_assert_int_eq(hti_piece_joint_next(&joint, type, &piece, &joined), i + 1 < n);
    }
    ck_assert_uint_eq(joined.key_size, row->key_size);
    ck_assert_uint_eq(joined.value_size, row->value_size);
    ck_assert_mem_eq(joined.key, row->key, row->key_size);
    ck_assert_mem_eq(joined.value, row->value, row->value_size);
}

START_TEST(large_rows_are_cut_and_joined)
{
    static const size_t sizes[][2] = {
        { 0, MIB + 1 },       { 1, MIB },          { MIB - 4, 5 },       { MIB, 4 },
        { MIB + 1, 4 },       { 5, 2 * MIB - 5 },  { 5, 2 * MIB - 4 },   { 2 * MIB, 4 },
        { 2 * MIB + 7, MIB }, { 3, 5 * MIB + 11 }, { MIB + 3, 2 * MIB },
    };
    const struct hti_row row = make_row(sizes[_i][0], sizes[_i][1]);
    ck_assert(hti_block_is_large(&row));
    ck_assert_uint_eq(hti_piece_count(&row), (row.key_size + row.value_size + MIB - 1) / MIB);
    expect_joined(&strings, &row);
}
END_TEST

START_TEST(rows_of_fixed_size_are_cut_and_joined)
{
    key = make_bytes(8);
    value = make_bytes(3 * MIB);
    const struct hti_row row = { key, 8, value, 3 * MIB };
    ck_assert_uint_eq(hti_piece_count(&row), 4);
    expect_joined(&blob, &row);
}
END_TEST

START_TEST(only_rows_above_the_limit_are_large)
{
    struct hti_row row = { .key_size = 10, .value_size = HTI_BLOCK_LARGE - 10 };
    ck_assert(!hti_block_is_large(&row));
    row.value_size++;
    ck_assert(hti_block_is_large(&row));
    row.key_size = HTI_BLOCK_LARGE + 1;
    row.value_size = 0;
    ck_assert(hti_block_is_large(&row));
    row.value_size = SIZE_MAX;
    ck_assert(hti_block_is_large(&row));
}
END_TEST

static int decode(const struct hti_row_type *type, size_t size)
{
    uint8_t *copy = sample_copy(plain.data, size);
    struct hti_piece piece;
    int status = hti_piece_decode(type, copy, size, &piece);
    free(copy);
    return status;
}

START_TEST(heads_that_lie_are_refused)
{
    static const struct {
        uint32_t index; /* of the piece; the second has 5 bytes */
        unsigned at;
        uint32_t value;
        int status;
    } lies[] = {
        { 1, 0, 2, 0 },
        { 1, 0, 1, HTSTORE_ECORRUPT },
        { 1, 0, 0x102, HTSTORE_ECORRUPT },
        { 1, 4, 8, HTSTORE_ECORRUPT }, /* one byte more than is there */
        { 1, 4, 6, HTSTORE_ECORRUPT },
        { 0, 4, 8, 0 }, /* the others will not fit */
        { 0, 4, HTSTORE_MAX_ROW_SIZE - (MIB - 2), 0 },
        { 0, 4, HTSTORE_MAX_ROW_SIZE - (MIB - 2) + 1, HTSTORE_ECORRUPT },
        { 0, 4, UINT32_MAX, HTSTORE_ECORRUPT },
        { 0, 8, MIB - 6, 0 },
        { 0, 8, MIB - 7, HTSTORE_ECORRUPT }, /* not large */
        { 0, 8, UINT32_MAX - 6, HTSTORE_ECORRUPT },
        { 1, 12, 1, HTSTORE_ECORRUPT },
        { 1, 12, 2 * MIB, HTSTORE_ECORRUPT },
        { 0, 12, MIB, HTSTORE_ECORRUPT },
        { 1, 12, UINT32_MAX & ~(MIB - 1), HTSTORE_ECORRUPT },
    };
    const struct hti_row row = make_row(7, MIB + 5 - 7);
    encode(&row, lies[_i].index);
    hti_store_le32(plain.data + lies[_i].at, lies[_i].value);
    ck_assert_int_eq(decode(&strings, plain.size), lies[_i].status);
}
END_TEST

START_TEST(pieces_begin_where_the_format_says)
{
    const struct hti_row row = make_row(7, MIB + 5 - 7);
    encode(&row, 1);
    ck_assert_uint_eq(plain.size, HTI_PIECE_HEAD_SIZE + 5);
    ck_assert_uint_eq(hti_load_le32(plain.data + 12), MIB);
    hti_store_le32(plain.data + 12, MIB + 1); /* and the four bytes that are left from there on */
    ck_assert_int_eq(decode(&strings, plain.size - 1), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(cut_and_lengthened_pieces_are_refused)
{
    const struct hti_row row = make_row(7, MIB + 5 - 7);
    encode(&row, 1);
    for (size_t size = 0; size < plain.size; size++)
        ck_assert_int_eq(decode(&strings, size), HTSTORE_ECORRUPT);
    ck_assert_int_eq(hti_buf_append_u8(&plain, 0), 0);
    ck_assert_int_eq(decode(&strings, plain.size), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(a_piece_of_another_type_is_refused)
{
    const struct hti_row row = make_row(8, 3 * MIB);
    encode(&row, 3);
    ck_assert_int_eq(decode(&strings, plain.size), 0);
    ck_assert_int_eq(decode(&blob, plain.size), 0);
    encode(&row, 0);
    hti_store_le32(plain.data + 4, 7);
    ck_assert_int_eq(decode(&strings, plain.size), 0);
    ck_assert_int_eq(decode(&blob, plain.size), HTSTORE_ECORRUPT);
    hti_store_le32(plain.data + 4, 8);
    hti_store_le32(plain.data + 8, 3 * MIB + 1);
    ck_assert_int_eq(decode(&strings, plain.size), 0);
    ck_assert_int_eq(decode(&blob, plain.size), HTSTORE_ECORRUPT);
}
END_TEST

/* Decode piece `index` of the row and hand it to the joint. */
static int join(const struct hti_row *row, uint32_t index, uint32_t key_size)
{
    struct hti_piece piece;
    struct hti_row joined;
    encode(row, index);
    ck_assert_int_eq(hti_piece_decode(&strings, plain.data, plain.size, &piece), 0);
    piece.value_size -= key_size - piece.key_size;
    piece.key_size = key_size;
    return hti_piece_joint_next(&joint, &strings, &piece, &joined);
}

START_TEST(pieces_come_in_order_and_from_one_row)
{
    const struct hti_row row = make_row(7, 3 * MIB);
    ck_assert_int_eq(join(&row, 1, 7), HTSTORE_ECORRUPT);
    ck_assert_int_eq(join(&row, 0, 7), 1);
    ck_assert_int_eq(join(&row, 0, 7), HTSTORE_ECORRUPT);
    ck_assert_int_eq(join(&row, 2, 7), HTSTORE_ECORRUPT);
    ck_assert_int_eq(join(&row, 1, 8), HTSTORE_ECORRUPT);
    ck_assert_int_eq(join(&row, 1, 7), 1);
    ck_assert_int_eq(join(&row, 2, 7), 1);
    ck_assert_int_eq(join(&row, 3, 7), 0);
}
END_TEST

START_TEST(a_malformed_value_is_refused_when_it_is_complete)
{
    struct hti_row row = make_row(7, MIB);
    hti_store_le32(value, MIB); /* its one string would not fit */
    ck_assert_int_eq(join(&row, 0, 7), 1);
    ck_assert_int_eq(join(&row, 1, 7), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(failing_allocations_are_reported)
{
    const struct hti_row row = make_row(7, MIB);
    struct hti_piece piece;
    struct hti_row joined;
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_piece_encode(&row, 0, &plain), HTSTORE_ENOMEM);
    ck_assert_uint_eq(plain.size, 0);
    hti_mem_test_fail(UINT64_MAX, false);
    encode(&row, 0);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_piece_decode(&strings, plain.data, plain.size, &piece), 0);
    ck_assert_int_eq(hti_piece_joint_next(&joint, &strings, &piece, &joined), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_int_eq(hti_piece_joint_next(&joint, &strings, &piece, &joined), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("piece");
    TCase *tests = tcase_create("piece");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, large_rows_are_cut_and_joined, 0, 11);
    tcase_add_test(tests, rows_of_fixed_size_are_cut_and_joined);
    tcase_add_test(tests, only_rows_above_the_limit_are_large);
    tcase_add_loop_test(tests, heads_that_lie_are_refused, 0, 16);
    tcase_add_test(tests, pieces_begin_where_the_format_says);
    tcase_add_test(tests, cut_and_lengthened_pieces_are_refused);
    tcase_add_test(tests, a_piece_of_another_type_is_refused);
    tcase_add_test(tests, pieces_come_in_order_and_from_one_row);
    tcase_add_test(tests, a_malformed_value_is_refused_when_it_is_complete);
    tcase_add_test(tests, failing_allocations_are_reported);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
