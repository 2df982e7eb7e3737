/* Tests of fixedrows and rowhash: many rows at once are what they are one by one, and no damaged one passes. */
#include "fixedrows.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "htstore.h"
#include "mem.h"
#include "rowhash.h"
#include "samples.h"

#define PAGE_SIZE 4096u
#define TABLE_ID 77u
#define MAX_LEAF_ROWS 200u

/* Key, value and number of elements of tables that fit; the first two are those with code of their own. */
static const struct {
    uint32_t key, value;
    uint64_t n_elements;
} types[] = { { HTSTORE_INT64, HTSTORE_INT64, 1 },   { HTSTORE_UINT64, HTSTORE_FLOAT32, 1 },
              { HTSTORE_INT8, HTSTORE_UINT8, 1 },    { HTSTORE_UINT8, HTSTORE_INT16, 3 },
              { HTSTORE_INT16, HTSTORE_FLOAT64, 2 }, { HTSTORE_UINT16, HTSTORE_INT64, 1 },
              { HTSTORE_INT32, HTSTORE_INT32, 1 },   { HTSTORE_UINT32, HTSTORE_INT64, 1 },
              { HTSTORE_INT64, HTSTORE_FLOAT16, 5 }, { HTSTORE_INT64, HTSTORE_FLOAT64, 32 } };
#define N_TYPES (int)(sizeof types / sizeof types[0])

static struct hti_row_type type;
static struct sample_rows rows;
static struct hti_columns columns;
static struct hti_buf stored, kept;
static uint8_t page[PAGE_SIZE];
static struct hti_fixedrows_leaf leaf;
static struct hti_hash128 expected; /* digest */

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    sample_rows_free(&rows);
    hti_columns_release(&columns);
    hti_buf_release(&stored);
    hti_buf_release(&kept);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void set_up(void)
{
    sample_seed(5);
    memset(&rows, 0, sizeof rows);
    hti_columns_init(&columns);
    hti_buf_init(&stored);
    hti_buf_init(&kept);
}

static int compare_rows(const void *a, const void *b)
{
    uint8_t x[HTI_STORED_KEY_MAX], y[HTI_STORED_KEY_MAX];
    const size_t size = hti_codec_store_key(&type, ((const struct hti_row *)a)->key, type.key_size, x);

    hti_codec_store_key(&type, ((const struct hti_row *)b)->key, type.key_size, y);
    return memcmp(x, y, size);
}

/* Rows of one type in ascending order, none twice; and their digest. */
static void make_rows(int which, size_t n)
{
    size_t n_kept = 0;

    hti_row_type_init(&type, types[which].key, types[which].value, types[which].n_elements);
    sample_rows_make(&rows, &type, n, false);
    qsort(rows.rows, rows.n, sizeof rows.rows[0], compare_rows);
    hti_columns_reset(&columns, &type);
    expected = (struct hti_hash128){ 0 };
    for (size_t i = 0; i < n; i++) {
        const struct hti_row *row = &rows.rows[i];
        if (n_kept > 0 && compare_rows(row, &rows.rows[i - 1]) == 0)
            continue;
        ck_assert_int_eq(hti_columns_append(&columns, row), 0);
        hti_digest_add(&expected, hti_hash_row(row->key, row->key_size, row->value, row->value_size));
        n_kept++;
    }
}

/* A leaf page as LMDB fills it, of as many of the rows in the columns as it holds. */
static void make_leaf(void)
{
    const size_t entry_size = hti_fixedrows_entry_size(&type);
    struct hti_columns_walk walk;
    struct hti_row row;
    uint32_t end = PAGE_SIZE, n = 0;

    memset(page, 0, sizeof page);
    expected = (struct hti_hash128){ 0 };
    hti_columns_walk_init(&walk, &columns);
    while (n < MAX_LEAF_ROWS && 16 + 2 * (n + 1) + entry_size <= end && hti_columns_walk_next(&walk, &row)) {
        const struct hti_hash128 hash = hti_hash_row(row.key, row.key_size, row.value, row.value_size);
        uint8_t *entry = page + (end -= (uint32_t)entry_size);
        hti_store_le32(entry, (uint32_t)hti_codec_stored_size(&type, &row));
        hti_store_le16(entry + 6, (uint16_t)type.key_size);
        uint8_t key[HTI_STORED_KEY_MAX];
        memcpy(entry + 8, key, hti_codec_store_key(&type, row.key, row.key_size, key));
        hti_codec_store_row(&type, TABLE_ID, &row, hash, entry + 8 + type.key_size);
        hti_store_le16(page + 16 + 2 * n++, (uint16_t)end);
        hti_digest_add(&expected, hash);
    }
    leaf = (struct hti_fixedrows_leaf){
        .n_rows = n, .start = end, .page_size = PAGE_SIZE, .slots = page + 16, .entries = page + end
    };
}

static void expect_digest(struct hti_hash128 digest)
{
    ck_assert_uint_eq(digest.low, expected.low);
    ck_assert_uint_eq(digest.high, expected.high);
}

START_TEST(only_integer_keys_and_small_values_of_fixed_width_fit)
{
    struct hti_row_type t;
    const uint32_t keys[] = { HTSTORE_FLOAT32, HTSTORE_FLOAT64, HTSTORE_BOOL, HTSTORE_STRING };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        hti_row_type_init(&t, keys[i], HTSTORE_INT64, 1);
        ck_assert(!hti_fixedrows_fit(&t));
    }
    hti_row_type_init(&t, HTSTORE_INT64, HTSTORE_BOOL, 1);
    ck_assert(!hti_fixedrows_fit(&t));
    hti_row_type_init(&t, HTSTORE_INT64, HTSTORE_STRING, 1);
    ck_assert(!hti_fixedrows_fit(&t));
    hti_row_type_init(&t, HTSTORE_INT64, HTSTORE_INT64, 0);
    ck_assert(!hti_fixedrows_fit(&t));
    hti_row_type_init(&t, HTSTORE_INT64, HTSTORE_UINT8, HTI_FIXEDROWS_MAX_VALUE + 1);
    ck_assert(!hti_fixedrows_fit(&t));
    hti_row_type_init(&t, HTSTORE_INT64, HTSTORE_UINT8, HTI_FIXEDROWS_MAX_VALUE);
    ck_assert(hti_fixedrows_fit(&t));
}
END_TEST

START_TEST(hashes_of_many_rows_are_those_of_each)
{
    uint8_t images[7 * 300];
    struct hti_hash128 hashes[7];

    for (size_t size = 6; size <= 300; size++) {
        const size_t key_size = 2, value_size = size - 4 - key_size;
        for (size_t i = 0; i < sizeof images; i++)
            images[i] = (uint8_t)sample_random();
        for (size_t i = 0; i < 7; i++)
            hti_store_le32(images + i * size, (uint32_t)key_size);
        hti_rowhash_many(images, size, 7, hashes);
        for (size_t i = 0; i < 7; i++) {
            const uint8_t *row = images + i * size;
            const struct hti_hash128 hash = hti_hash_row(row + 4, key_size, row + 4 + key_size, value_size);
            ck_assert(hash.low == hashes[i].low && hash.high == hashes[i].high);
        }
    }
}
END_TEST

START_TEST(a_leaf_becomes_its_rows)
{
    struct hti_columns loaded;
    struct hti_hash128 digest = { 0 };
    const uint8_t *at;

    make_rows(_i, 300);
    ck_assert(hti_fixedrows_fit(&type));
    make_leaf();
    ck_assert_uint_gt(leaf.n_rows, 5);
    ck_assert_int_eq(hti_fixedrows_keep(&leaf, &kept), 0);
    ck_assert_int_eq(hti_fixedrows_keep(&leaf, &kept), 0);
    hti_columns_init(&loaded);
    hti_columns_reset(&loaded, &type);
    at = kept.data;
    ck_assert(hti_fixedrows_next(&at, kept.data + kept.size, &leaf));
    ck_assert_int_eq(hti_fixedrows_load(TABLE_ID, &leaf, &loaded, &digest), 0);
    expect_digest(digest);
    ck_assert_uint_eq(loaded.n_rows, leaf.n_rows);
    ck_assert_mem_eq(loaded.keys.data, columns.keys.data, leaf.n_rows * type.key_size);
    ck_assert_mem_eq(loaded.values.data, columns.values.data, leaf.n_rows * type.value_size);
    ck_assert(hti_fixedrows_next(&at, kept.data + kept.size, &leaf));
    ck_assert_int_eq(hti_fixedrows_load(TABLE_ID, &leaf, &loaded, &digest), 0);
    ck_assert_uint_eq(loaded.n_rows, 2 * leaf.n_rows);
    ck_assert(!hti_fixedrows_next(&at, kept.data + kept.size, &leaf));
    hti_columns_release(&loaded);
}
END_TEST

START_TEST(no_bit_of_a_leaf_can_change_unnoticed)
{
    make_rows(_i, 300);
    make_leaf();
    for (size_t i = 16; i < PAGE_SIZE; i++) {
        const size_t entry_size = 12 + type.key_size + type.value_size;
        if (i >= 16 + 2 * leaf.n_rows && i < leaf.start)
            continue;
        if (i >= leaf.start && (i - leaf.start) % hti_fixedrows_entry_size(&type) >= entry_size)
            continue; /* the byte that makes an entry even */
        struct hti_hash128 digest = { 0 };
        page[i] ^= (uint8_t)(1u << (i % 8));
        columns.n_rows = 0;
        columns.keys.size = columns.values.size = 0;
        if (hti_fixedrows_load(TABLE_ID, &leaf, &columns, &digest) == 0) /* a slot that points to another row */
            ck_assert(digest.low != expected.low || digest.high != expected.high);
        else
            ck_assert_int_eq(hti_fixedrows_load(TABLE_ID, &leaf, &columns, &digest), HTSTORE_ECORRUPT);
        page[i] ^= (uint8_t)(1u << (i % 8));
    }
    struct hti_hash128 digest = { 0 };
    ck_assert_int_eq(hti_fixedrows_load(TABLE_ID + 1, &leaf, &columns, &digest), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(rows_are_stored_as_one_by_one)
{
    struct hti_hash128 digest = { 0 };
    struct hti_columns_walk walk;
    struct hti_row row;
    const uint8_t *at;

    make_rows(_i, 300);
    ck_assert_int_eq(hti_fixedrows_store(TABLE_ID, &columns, &stored, &digest), 0);
    expect_digest(digest);
    at = stored.data;
    hti_columns_walk_init(&walk, &columns);
    while (hti_columns_walk_next(&walk, &row)) {
        uint8_t key[HTI_STORED_KEY_MAX], value[300];
        const size_t size = hti_codec_stored_size(&type, &row);
        ck_assert_uint_eq(hti_load_le32(at), hti_codec_store_key(&type, row.key, row.key_size, key));
        ck_assert_uint_eq(hti_load_le32(at + 4), size);
        hti_codec_store_row(&type, TABLE_ID, &row, hti_hash_row(row.key, row.key_size, row.value, row.value_size),
                            value);
        ck_assert_mem_eq(at + 8, key, type.key_size);
        ck_assert_mem_eq(at + 8 + type.key_size, value, size);
        at += 8 + type.key_size + size;
    }
    ck_assert_ptr_eq(at, stored.data + stored.size);
}
END_TEST

/* With keys of any dtype, and of the widest value; every third one is only a key. */
START_TEST(rows_are_sealed_as_one_by_one)
{
    static const uint32_t keys[] = { HTSTORE_INT8,  HTSTORE_INT16,   HTSTORE_INT32,  HTSTORE_INT64,
                                     HTSTORE_UINT8, HTSTORE_UINT16,  HTSTORE_UINT32, HTSTORE_UINT64,
                                     HTSTORE_BOOL,  HTSTORE_FLOAT32, HTSTORE_FLOAT64 };
    static const uint64_t sizes[] = { 0, 4, 8, 13, HTI_FIXEDROWS_MAX_VALUE };
    struct hti_radix_item items[HTI_FIXEDROWS_GROUP];
    static struct hti_fixedrows_sealed sealed;
    uint8_t key[HTI_STORED_KEY_MAX], row_space[HTI_FIXEDROWS_MAX_VALUE + 4];

    hti_row_type_init(&type, keys[_i / 5], HTSTORE_UINT8, sizes[_i % 5]);
    sample_rows_make(&rows, &type, HTI_FIXEDROWS_GROUP, false);
    for (uint32_t n = 1; n <= HTI_FIXEDROWS_GROUP; n += 21) {
        for (uint32_t i = 0; i < n; i++) {
            hti_codec_order_keys(&type, rows.rows[i].key, 1, &items[i].key);
            items[i].place = i % 3 == 2 ? NULL : rows.rows[i].value;
        }
        hti_fixedrows_seal(&type, TABLE_ID, items, n, &sealed);
        for (uint32_t i = 0; i < n; i++) {
            const struct hti_row *row = &rows.rows[i];
            const struct hti_hash128 hash = hti_hash_row(row->key, row->key_size, row->value, row->value_size);
            ck_assert_uint_eq(hti_codec_store_key(&type, row->key, row->key_size, key), type.key_size);
            ck_assert(memcmp(sealed.keys + i * 8, key, type.key_size) == 0);
            if (i % 3 == 2)
                continue;
            hti_codec_store_row(&type, TABLE_ID, row, hash, row_space);
            ck_assert(memcmp(sealed.rows + i * (type.value_size + 4), row_space, type.value_size + 4) == 0);
            ck_assert(sealed.hashes[i].low == hash.low && sealed.hashes[i].high == hash.high);
        }
    }
}
END_TEST

START_TEST(keys_that_do_not_ascend_are_refused)
{
    struct hti_hash128 digest = { 0 };
    uint8_t key[8];

    make_rows(_i, 300);
    for (uint32_t i = 1; i < columns.n_rows; i += 7) {
        uint8_t *at = columns.keys.data + (size_t)i * type.key_size;
        memcpy(key, at, type.key_size);
        memcpy(at, at - type.key_size, type.key_size); /* equal is not ascending either */
        ck_assert_int_eq(hti_fixedrows_store(TABLE_ID, &columns, &stored, &digest), 1);
        ck_assert_int_eq(hti_fixedrows_store(0, &columns, &stored, &digest), 1);
        ck_assert_uint_eq(stored.size, 0);
        memcpy(at, key, type.key_size);
    }
}
END_TEST

START_TEST(without_a_table_there_is_only_the_digest)
{
    struct hti_hash128 digest = { 0 };

    make_rows(_i, 300);
    ck_assert_int_eq(hti_fixedrows_store(0, &columns, &stored, &digest), 0);
    expect_digest(digest);
    ck_assert_uint_eq(stored.size, 0);
    hti_columns_reset(&columns, &type);
    ck_assert_int_eq(hti_fixedrows_store(TABLE_ID, &columns, &stored, &digest), 0);
    expect_digest(digest);
}
END_TEST

START_TEST(without_memory_nothing_is_appended)
{
    struct hti_hash128 digest = { 0 };

    make_rows(0, 300);
    make_leaf();
    hti_columns_release(&columns);
    hti_columns_init(&columns);
    hti_columns_reset(&columns, &type);
    for (uint64_t i = 0; i < 2; i++) {
        hti_mem_test_fail(i, true);
        ck_assert_int_eq(hti_fixedrows_load(TABLE_ID, &leaf, &columns, &digest), HTSTORE_ENOMEM);
        ck_assert_uint_eq(columns.n_rows, 0);
        hti_mem_test_fail(UINT64_MAX, false);
    }
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_fixedrows_keep(&leaf, &kept), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_int_eq(hti_fixedrows_load(TABLE_ID, &leaf, &columns, &digest), 0);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_fixedrows_store(TABLE_ID, &columns, &stored, &digest), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fixedrows");
    TCase *tcase = tcase_create("rows");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, only_integer_keys_and_small_values_of_fixed_width_fit);
    tcase_add_test(tcase, hashes_of_many_rows_are_those_of_each);
    tcase_add_loop_test(tcase, a_leaf_becomes_its_rows, 0, N_TYPES);
    tcase_add_loop_test(tcase, rows_are_sealed_as_one_by_one, 0, 55);
    tcase_add_loop_test(tcase, no_bit_of_a_leaf_can_change_unnoticed, 0, N_TYPES);
    tcase_add_loop_test(tcase, rows_are_stored_as_one_by_one, 0, N_TYPES);
    tcase_add_loop_test(tcase, keys_that_do_not_ascend_are_refused, 0, N_TYPES);
    tcase_add_loop_test(tcase, without_a_table_there_is_only_the_digest, 0, N_TYPES);
    tcase_add_test(tcase, without_memory_nothing_is_appended);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
