/* Tests of codec: the bytes of keys and rows, their order, and that no damage of them goes unnoticed. */
#include "codec.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "dtype.h"

#define TABLE_ID 42
#define N_DTYPES 14
#define POOL_SIZE (128 << 10)
#define MAX_ELEMENTS 3
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Random bytes from which strings are cut, with many NULs and repetitions. */
static uint8_t pool[POOL_SIZE];
static uint64_t random_state;

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t next_random(void)
{
    uint64_t x = random_state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static size_t random_below(size_t limit)
{
    return (size_t)(next_random() % limit);
}

static void set_up(void)
{
    random_state = 1;
    for (size_t i = 0; i < POOL_SIZE; i++)
        pool[i] = next_random() % 4 == 0 ? 0 : (uint8_t)next_random();
}

static void tear_down(void)
{
    hti_codec_test_hash_mask(UINT64_MAX);
}

/* A copy of exactly this size, so that sanitizers see every step outside. */
static uint8_t *copy_exactly(const void *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(copy);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* --- one row in all its forms --- */

union element {
    uint64_t bits; /* as many bytes of it as the dtype has, in the host's order */
    uint8_t native[8];
    struct htstore_bytes string;
};

struct sample {
    struct hti_row_type type;
    struct hti_row row; /* memory owned by the sample, like all that follows */
    struct hti_hash128 hash;
    uint8_t *stored_key;
    size_t stored_key_size;
    uint8_t *stored;
    size_t stored_size;
};

static void set_bits(union element *element, uint32_t dtype, uint64_t bits)
{
    uint8_t b1 = (uint8_t)bits;
    uint16_t b2 = (uint16_t)bits;
    uint32_t b4 = (uint32_t)bits;
    switch (hti_dtype_packed_size(dtype)) {
    case 1:
        memcpy(element->native, &b1, 1);
        break;
    case 2:
        memcpy(element->native, &b2, 2);
        break;
    case 4:
        memcpy(element->native, &b4, 4);
        break;
    default:
        element->bits = bits;
        break;
    }
}

/* Any element that may be a key, and so is a legal value too. */
static union element make_element(uint32_t dtype)
{
    union element element = { .bits = 0 };
    if (dtype == HTSTORE_STRING) {
        element.string.size = random_below(20);
        element.string.data = element.string.size > 0 ? pool + random_below(POOL_SIZE - 20) : NULL;
        return element;
    }
    do {
        set_bits(&element, dtype, dtype == HTSTORE_BOOL ? next_random() % 2 : next_random());
    } while (hti_dtype_check_elements(dtype, element.native, 1, 1, true, "", NULL) != 0);
    return element;
}

/* Elements in the form of a caller's array. */
static void make_elements(uint32_t dtype, size_t n, uint8_t out[MAX_ELEMENTS * sizeof(struct htstore_bytes)])
{
    size_t size = htstore_dtype_size(dtype);
    for (size_t i = 0; i < n; i++) {
        union element element = make_element(dtype);
        memcpy(out + i * size, &element, size);
    }
}

/* Fill a sample from a packed key and a packed value. */
static void store_sample(struct sample *sample, const void *key, size_t key_size, const void *value, size_t value_size)
{
    uint8_t stored_key[HTI_STORED_KEY_MAX];
    struct hti_row *row = &sample->row;
    row->key = copy_exactly(key, key_size);
    row->key_size = key_size;
    row->value = copy_exactly(value, value_size);
    row->value_size = value_size;
    sample->hash = hti_hash_row(row->key, key_size, row->value, value_size);
    sample->stored_key_size = hti_codec_store_key(&sample->type, row->key, key_size, stored_key);
    sample->stored_key = copy_exactly(stored_key, sample->stored_key_size);
    sample->stored_size = hti_codec_stored_size(&sample->type, row);
    sample->stored = malloc(sample->stored_size);
    ck_assert_ptr_nonnull(sample->stored);
    hti_codec_store_row(&sample->type, TABLE_ID, row, sample->hash, sample->stored);
}

static void release_sample(struct sample *sample)
{
    free((void *)(uintptr_t)sample->row.key);
    free((void *)(uintptr_t)sample->row.value);
    free(sample->stored_key);
    free(sample->stored);
}

/* A row of random elements; `string_key_size` bytes of key if keys are strings. */
static struct sample make_sample(uint32_t key_dtype, uint32_t value_dtype, size_t n_elements, size_t string_key_size)
{
    struct sample sample;
    uint8_t elements[MAX_ELEMENTS * sizeof(struct htstore_bytes)] = { 0 };
    uint8_t packed_key[8];
    hti_row_type_init(&sample.type, key_dtype, value_dtype, n_elements);
    make_elements(value_dtype, n_elements, elements);
    size_t value_size = hti_codec_value_size(&sample.type, elements);
    uint8_t *value = malloc(value_size + 1);
    ck_assert_ptr_nonnull(value);
    hti_codec_pack_value(&sample.type, elements, value);
    if (key_dtype == HTSTORE_STRING) {
        store_sample(&sample, pool + random_below(64), string_key_size, value, value_size);
    } else {
        union element key = make_element(key_dtype);
        hti_codec_pack_key(&sample.type, &key, packed_key);
        store_sample(&sample, packed_key, sample.type.key_size, value, value_size);
    }
    free(value);
    return sample;
}

static bool same_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static bool same_row(const struct hti_row *a, const struct hti_row *b)
{
    return same_bytes(a->key, a->key_size, b->key, b->key_size) &&
           same_bytes(a->value, a->value_size, b->value, b->value_size);
}

static int load_sample(const struct sample *sample, const uint8_t *stored_key, size_t stored_key_size,
                       const uint8_t *stored, size_t stored_size)
{
    uint8_t key_space[8];
    struct hti_row row;
    struct hti_hash128 hash;
    return hti_codec_load_row(&sample->type, TABLE_ID, stored_key, stored_key_size, stored, stored_size, key_space,
                              &row, &hash);
}

/* Peek, and touch every byte of what it yields. */
static void peek_and_touch(const struct hti_row_type *type, const uint8_t *stored_key, size_t stored_key_size,
                           const uint8_t *stored, size_t stored_size)
{
    uint8_t key_space[8];
    struct hti_row row;
    hti_codec_peek_row(type, stored_key, stored_key_size, stored, stored_size, key_space, &row);
    ck_assert_uint_le(row.value_size, stored_size);
    uint8_t *key = copy_exactly(row.key, row.key_size);
    uint8_t *value = copy_exactly(row.value, row.value_size);
    free(key);
    free(value);
}

static void expect_round_trip(const struct sample *sample)
{
    uint8_t key_space[8];
    struct hti_row row;
    struct hti_hash128 hash;
    ck_assert_int_eq(hti_codec_load_row(&sample->type, TABLE_ID, sample->stored_key, sample->stored_key_size,
                                        sample->stored, sample->stored_size, key_space, &row, &hash),
                     0);
    ck_assert(same_row(&row, &sample->row));
    ck_assert_mem_eq(&hash, &sample->hash, sizeof hash);
    hti_codec_peek_row(&sample->type, sample->stored_key, sample->stored_key_size, sample->stored, sample->stored_size,
                       key_space, &row);
    ck_assert(same_row(&row, &sample->row));
}

/* --- order of stored keys --- */

static bool is_signed(uint32_t dtype)
{
    return dtype <= HTSTORE_INT64;
}

static bool is_float(uint32_t dtype)
{
    return dtype == HTSTORE_FLOAT32 || dtype == HTSTORE_FLOAT64;
}

static int64_t signed_of(uint32_t dtype, const union element *element)
{
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    memcpy(&i8, element, sizeof i8);
    memcpy(&i16, element, sizeof i16);
    memcpy(&i32, element, sizeof i32);
    memcpy(&i64, element, sizeof i64);
    return dtype == HTSTORE_INT8 ? i8 : dtype == HTSTORE_INT16 ? i16 : dtype == HTSTORE_INT32 ? i32 : i64;
}

static uint64_t unsigned_of(uint32_t dtype, const union element *element)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    memcpy(&u8, element, sizeof u8);
    memcpy(&u16, element, sizeof u16);
    memcpy(&u32, element, sizeof u32);
    return dtype == HTSTORE_UINT16 ? u16 : dtype == HTSTORE_UINT32 ? u32 : dtype == HTSTORE_UINT64 ? element->bits : u8;
}

static double float_of(uint32_t dtype, const union element *element)
{
    float f32;
    double f64;
    memcpy(&f32, element, sizeof f32);
    memcpy(&f64, element, sizeof f64);
    return dtype == HTSTORE_FLOAT32 ? (double)f32 : f64;
}

/* How two numbers compare by the rules of C: -1, 0 or 1. */
static int compare_numbers(uint32_t dtype, const union element *a, const union element *b)
{
    if (is_float(dtype)) {
        double x = float_of(dtype, a), y = float_of(dtype, b);
        return (x > y) - (x < y);
    }
    if (is_signed(dtype)) {
        int64_t x = signed_of(dtype, a), y = signed_of(dtype, b);
        return (x > y) - (x < y);
    }
    uint64_t x = unsigned_of(dtype, a), y = unsigned_of(dtype, b);
    return (x > y) - (x < y);
}

/* LMDB's order: bytes, then the shorter first. */
static int compare_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
    size_t common = a_size < b_size ? a_size : b_size;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    if (order == 0)
        return (a_size > b_size) - (a_size < b_size);
    return order < 0 ? -1 : 1;
}

/* Floats around every border: zeros, subnormals, normals, infinities. */
static const double float_extremes[] = { 0.0,          -0.0,    1.0,     -1.0,     INFINITY,        -INFINITY,
                                         FLT_TRUE_MIN, FLT_MIN, FLT_MAX, -FLT_MAX, -FLT_TRUE_MIN,   -FLT_MIN,
                                         DBL_TRUE_MIN, DBL_MIN, DBL_MAX, -DBL_MAX, -DBL_TRUE_MIN,   -DBL_MIN,
                                         FLT_MIN / 2,  0.1,     -0.1,    2.0,      1 + FLT_EPSILON, -3.5 };
static const uint64_t integer_extremes[] = { 0,
                                             1,
                                             2,
                                             0x7F,
                                             0x80,
                                             0xFF,
                                             0x100,
                                             0x7FFF,
                                             0x8000,
                                             0xFFFF,
                                             0x10000,
                                             0x7FFFFFFF,
                                             0x80000000,
                                             0xFFFFFFFF,
                                             UINT64_C(0x100000000),
                                             UINT64_C(0x7FFFFFFFFFFFFFFF),
                                             UINT64_C(0x8000000000000000),
                                             UINT64_C(0x8000000000000001),
                                             UINT64_MAX - 1,
                                             UINT64_MAX };

#define N_NUMBERS 200

static void fill_extremes(uint32_t dtype, union element numbers[N_NUMBERS])
{
    for (size_t i = 0; i < COUNT(float_extremes) && is_float(dtype); i++) {
        double f64 = float_extremes[i];
        float f32 = isinf(f64) || fabs(f64) <= (double)FLT_MAX ? (float)f64 : FLT_MAX;
        if (dtype == HTSTORE_FLOAT32)
            memcpy(&numbers[i], &f32, sizeof f32);
        else
            memcpy(&numbers[i], &f64, sizeof f64);
    }
    for (size_t i = 0; i < COUNT(integer_extremes) && !is_float(dtype); i++)
        set_bits(&numbers[i], dtype, dtype == HTSTORE_BOOL ? i % 2 : integer_extremes[i]);
}

struct fixed_key {
    union element element;
    uint8_t stored[HTI_STORED_KEY_MAX];
    size_t stored_size;
};

static void store_fixed_keys(const struct hti_row_type *type, struct fixed_key keys[N_NUMBERS])
{
    static union element numbers[N_NUMBERS];
    for (size_t i = 0; i < N_NUMBERS; i++)
        numbers[i] = make_element(type->key_dtype);
    fill_extremes(type->key_dtype, numbers);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        uint8_t packed[8];
        keys[i].element = numbers[i];
        hti_codec_pack_key(type, &numbers[i], packed);
        ck_assert(hti_codec_key_is_valid(type, packed, type->key_size));
        keys[i].stored_size = hti_codec_store_key(type, packed, type->key_size, keys[i].stored);
        ck_assert_uint_eq(keys[i].stored_size, type->key_size);
    }
}

START_TEST(stored_numbers_sort_like_the_numbers)
{
    static struct fixed_key keys[N_NUMBERS];
    uint32_t dtype = (uint32_t)_i;
    struct hti_row_type type;
    if (!hti_dtype_is_key(dtype))
        return;
    hti_row_type_init(&type, dtype, HTSTORE_INT64, 1);
    store_fixed_keys(&type, keys);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        for (size_t j = 0; j < N_NUMBERS; j++) {
            int order = compare_bytes(keys[i].stored, keys[i].stored_size, keys[j].stored, keys[j].stored_size);
            if (order != compare_numbers(dtype, &keys[i].element, &keys[j].element))
                ck_abort_msg("keys %zu and %zu of dtype %u", i, j, dtype);
        }
    }
}
END_TEST

struct string_key {
    uint8_t data[700];
    size_t size;
    uint8_t stored[HTI_STORED_KEY_MAX];
    size_t stored_size;
};

#define N_STRINGS 260

/* Keys over a small alphabet and of sizes around the limits, so that many are prefixes of others. */
static void fill_string_keys(struct string_key keys[N_STRINGS])
{
    static const size_t sizes[] = { 0, 1, 2, 3, 4, 488, 489, 490, 491, 492, 505, 506, 507, 511, 512, 600 };
    static const uint8_t alphabet[] = { 0, 0, 1, 0xFF };
    for (size_t i = 0; i < N_STRINGS; i++) {
        uint8_t filler = alphabet[random_below(4)];
        keys[i].size = sizes[random_below(COUNT(sizes))];
        memset(keys[i].data, filler, sizeof keys[i].data);
        for (size_t n = random_below(3); n > 0 && keys[i].size > 0; n--)
            keys[i].data[random_below(2) ? random_below(keys[i].size) : keys[i].size - 1] = alphabet[random_below(4)];
    }
}

START_TEST(stored_strings_sort_like_the_strings)
{
    static struct string_key keys[N_STRINGS];
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    fill_string_keys(keys);
    for (size_t i = 0; i < N_STRINGS; i++)
        keys[i].stored_size = hti_codec_store_key(&type, keys[i].data, keys[i].size, keys[i].stored);
    for (size_t i = 0; i < N_STRINGS; i++) {
        for (size_t j = 0; j < N_STRINGS; j++) {
            struct string_key *a = &keys[i], *b = &keys[j];
            int order = compare_bytes(a->data, a->size, b->data, b->size);
            int stored_order = compare_bytes(a->stored, a->stored_size, b->stored, b->stored_size);
            bool by_hash = a->size > HTI_SHORT_KEY_MAX && b->size > HTI_SHORT_KEY_MAX &&
                           memcmp(a->data, b->data, HTI_SHORT_KEY_MAX) == 0;
            if (by_hash ? (order == 0) != (stored_order == 0) : order != stored_order)
                ck_abort_msg("keys %zu and %zu, %zu and %zu bytes", i, j, a->size, b->size);
        }
    }
}
END_TEST

START_TEST(long_strings_that_share_600_bytes_have_stored_keys_of_their_own)
{
    enum { N = 40 };
    static uint8_t stored[N][HTI_STORED_KEY_MAX];
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    for (size_t i = 0; i < N; i++) {
        uint8_t key[601 + N];
        memset(key, 'k', sizeof key);
        key[600] = (uint8_t)i;
        ck_assert_uint_eq(hti_codec_store_key(&type, key, 601 + i / 2, stored[i]), HTI_STORED_KEY_MAX);
        for (size_t j = 0; j < i; j++)
            ck_assert_mem_ne(stored[i], stored[j], HTI_STORED_KEY_MAX);
    }
}
END_TEST

/* --- the formats, byte for byte --- */

static const struct {
    uint32_t dtype;
    uint64_t bits;
    uint8_t packed[8], stored[8];
} key_formats[] = {
    { HTSTORE_INT8, 0xFF, { 0xFF }, { 0x7F } },
    { HTSTORE_INT16, 0x0102, { 0x02, 0x01 }, { 0x81, 0x02 } },
    { HTSTORE_INT32, 0xFFFFFFFE, { 0xFE, 0xFF, 0xFF, 0xFF }, { 0x7F, 0xFF, 0xFF, 0xFE } },
    { HTSTORE_INT64, 0x0102030405060708, { 8, 7, 6, 5, 4, 3, 2, 1 }, { 0x81, 2, 3, 4, 5, 6, 7, 8 } },
    { HTSTORE_UINT8, 0x80, { 0x80 }, { 0x80 } },
    { HTSTORE_UINT16, 0xF102, { 0x02, 0xF1 }, { 0xF1, 0x02 } },
    { HTSTORE_UINT32, 0x01020304, { 4, 3, 2, 1 }, { 1, 2, 3, 4 } },
    { HTSTORE_UINT64, 0xF102030405060708, { 8, 7, 6, 5, 4, 3, 2, 0xF1 }, { 0xF1, 2, 3, 4, 5, 6, 7, 8 } },
    { HTSTORE_BOOL, 1, { 1 }, { 1 } },
    { HTSTORE_FLOAT32, 0x3F800000, { 0, 0, 0x80, 0x3F }, { 0xBF, 0x80, 0, 0 } },
    { HTSTORE_FLOAT32, 0xBF800000, { 0, 0, 0x80, 0xBF }, { 0x40, 0x7F, 0xFF, 0xFF } },
    { HTSTORE_FLOAT32, 0x80000000, { 0 }, { 0x80 } },
    { HTSTORE_FLOAT64, 0x3FF0000000000001, { 1, 0, 0, 0, 0, 0, 0xF0, 0x3F }, { 0xBF, 0xF0, 0, 0, 0, 0, 0, 1 } },
    { HTSTORE_FLOAT64,
      0xBFF0000000000000,
      { 0, 0, 0, 0, 0, 0, 0xF0, 0xBF },
      { 0x40, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF } },
    { HTSTORE_FLOAT64, 0x8000000000000000, { 0 }, { 0x80 } },
};

START_TEST(numbers_have_their_fixed_packed_and_stored_bytes)
{
    struct hti_row_type type;
    union element element = { .bits = 0 }, back = { .bits = 0 };
    uint8_t packed[8] = { 0 }, stored[HTI_STORED_KEY_MAX] = { 0 };
    hti_row_type_init(&type, key_formats[_i].dtype, HTSTORE_INT64, 1);
    set_bits(&element, key_formats[_i].dtype, key_formats[_i].bits);

    hti_codec_pack_key(&type, &element, packed);
    ck_assert_mem_eq(packed, key_formats[_i].packed, 8);
    ck_assert_uint_eq(hti_codec_store_key(&type, packed, type.key_size, stored), type.key_size);
    ck_assert_mem_eq(stored, key_formats[_i].stored, 8);
    hti_codec_unpack_key(&type, packed, &back);
    ck_assert_int_eq(compare_numbers(type.key_dtype, &element, &back), 0);
}
END_TEST

START_TEST(strings_have_their_fixed_stored_bytes)
{
    uint8_t stored[HTI_STORED_KEY_MAX], expected[HTI_STORED_KEY_MAX];
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    ck_assert_uint_eq(hti_codec_store_key(&type, NULL, 0, stored), 1);
    ck_assert_mem_eq(stored, "\0", 1);
    ck_assert_uint_eq(hti_codec_store_key(&type, "a\0b", 3, stored), 4);
    ck_assert_mem_eq(stored, "a\0b\0", 4);
    ck_assert_uint_eq(hti_codec_store_key(&type, pool, 490, stored), 491);
    ck_assert_mem_eq(stored, pool, 490);
    ck_assert_uint_eq(stored[490], 0);

    struct hti_hash128 hash = hti_hash128(pool, 491);
    memcpy(expected, pool, 490);
    hti_store_be64(expected + 490, hash.high);
    hti_store_be64(expected + 498, hash.low);
    ck_assert_uint_eq(hti_codec_store_key(&type, pool, 491, stored), 506);
    ck_assert_mem_eq(stored, expected, 506);
}
END_TEST

START_TEST(values_have_their_fixed_packed_bytes)
{
    static const uint16_t numbers[] = { 0x0102, 0x0304, 0xF506 };
    static const struct htstore_bytes strings[] = { { "ab", 2 }, { NULL, 0 }, { "\0", 1 } };
    uint8_t out[32];
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_UINT16, 3);
    ck_assert_uint_eq(hti_codec_value_size(&type, numbers), 6);
    hti_codec_pack_value(&type, numbers, out);
    ck_assert_mem_eq(out, "\x02\x01\x04\x03\x06\xF5", 6);

    hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_STRING, 3);
    ck_assert_uint_eq(hti_codec_value_size(&type, strings), 15);
    hti_codec_pack_value(&type, strings, out);
    ck_assert_mem_eq(out, "\2\0\0\0\0\0\0\0\1\0\0\0ab\0", 15);
}
END_TEST

START_TEST(rows_have_their_fixed_stored_bytes)
{
    struct sample sample;
    uint8_t head[4];
    hti_row_type_init(&sample.type, HTSTORE_INT16, HTSTORE_UINT8, 3);
    store_sample(&sample, "\x02\x01", 2, "xyz", 3);
    ck_assert_uint_eq(sample.stored_size, 7);
    ck_assert_mem_eq(sample.stored, "xyz", 3);
    ck_assert_uint_eq(hti_load_le32(sample.stored + 3),
                      hti_hash_row_checksum(hti_hash_row("\x02\x01", 2, "xyz", 3), 42));
    release_sample(&sample);

    hti_row_type_init(&sample.type, HTSTORE_STRING, HTSTORE_UINT8, 3);
    store_sample(&sample, pool, 0x1F1, "xyz", 3);
    ck_assert_uint_eq(sample.stored_size, 4 + 0x1F1 + 3 + 4);
    hti_store_le32(head, 0x1F1);
    ck_assert_mem_eq(sample.stored, head, 4);
    ck_assert_mem_eq(sample.stored + 4, pool, 0x1F1);
    ck_assert_mem_eq(sample.stored + 4 + 0x1F1, "xyz", 3);
    release_sample(&sample);
}
END_TEST

/* --- round trips --- */

/* Unpacking gives the elements that were packed. */
static void expect_unpacked(uint32_t value_dtype, size_t n)
{
    uint8_t elements[MAX_ELEMENTS * sizeof(struct htstore_bytes)] = { 0 };
    struct htstore_bytes back[MAX_ELEMENTS] = { { NULL, 0 } };
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT8, value_dtype, n);
    make_elements(value_dtype, n, elements);
    size_t size = hti_codec_value_size(&type, elements);
    uint8_t *packed = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(packed);
    hti_codec_pack_value(&type, elements, packed);
    ck_assert(hti_codec_value_is_valid(&type, packed, size));
    ck_assert_int_eq(hti_codec_unpack_value(&type, packed, size, back), 0);
    if (value_dtype != HTSTORE_STRING)
        ck_assert_mem_eq(back, elements, sizeof elements);
    for (size_t i = 0; i < n && value_dtype == HTSTORE_STRING; i++) {
        struct htstore_bytes string;
        memcpy(&string, elements + i * sizeof string, sizeof string);
        ck_assert(same_bytes(back[i].data, back[i].size, string.data, string.size));
    }
    free(packed);
}

START_TEST(values_come_back_from_packing)
{
    for (int round = 0; round < 20; round++)
        for (size_t n = 0; n <= MAX_ELEMENTS; n++)
            expect_unpacked((uint32_t)_i, n);
}
END_TEST

START_TEST(rows_come_back_for_every_pair_of_dtypes)
{
    static const size_t counts[] = { 0, 1, 3 };
    static const size_t string_key_sizes[] = { 0, 11, 490, 491, 700 };
    uint32_t key_dtype = (uint32_t)_i;
    if (!hti_dtype_is_key(key_dtype))
        return;
    for (uint32_t value_dtype = 1; value_dtype <= N_DTYPES; value_dtype++) {
        for (size_t c = 0; c < COUNT(counts); c++) {
            for (size_t k = 0; k < COUNT(string_key_sizes); k++) {
                struct sample sample = make_sample(key_dtype, value_dtype, counts[c], string_key_sizes[k]);
                expect_round_trip(&sample);
                release_sample(&sample);
            }
        }
    }
}
END_TEST

START_TEST(string_keys_of_any_size_come_back)
{
    static const size_t sizes[] = { 0, 1, 489, 490, 491, 510, 511, 512, 64 << 10 };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct sample sample = make_sample(HTSTORE_STRING, HTSTORE_FLOAT64, 3, sizes[i]);
        bool is_long = sizes[i] > HTI_SHORT_KEY_MAX;
        ck_assert_int_eq(hti_codec_key_is_long(&sample.type, sizes[i]), is_long);
        ck_assert_uint_eq(sample.stored_key_size, is_long ? HTI_STORED_KEY_MAX : sizes[i] + 1);
        ck_assert_uint_eq(sample.stored_size, (is_long ? 4 + sizes[i] : 0) + 24 + 4);
        expect_round_trip(&sample);
        release_sample(&sample);
    }
}
END_TEST

START_TEST(a_negative_zero_key_is_the_positive_one)
{
    const float f32[2] = { -0.0f, 0.0f };
    const double f64[2] = { -0.0, 0.0 };
    uint8_t packed[2][8] = { { 0 } };
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_FLOAT32, HTSTORE_INT64, 1);
    hti_codec_pack_key(&type, &f32[0], packed[0]);
    hti_codec_pack_key(&type, &f32[1], packed[1]);
    ck_assert_mem_eq(packed[0], packed[1], 8);
    hti_row_type_init(&type, HTSTORE_FLOAT64, HTSTORE_INT64, 1);
    hti_codec_pack_key(&type, &f64[0], packed[0]);
    hti_codec_pack_key(&type, &f64[1], packed[1]);
    ck_assert_mem_eq(packed[0], packed[1], 8);
}
END_TEST

START_TEST(values_keep_the_bits_of_nan_and_negative_zero)
{
    static const uint64_t bits[] = { UINT64_C(0x7FF0000000000001), UINT64_C(0xFFFFFFFFFFFFFFFF), UINT64_C(1) << 63 };
    uint64_t packed[3], back[3];
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_FLOAT64, 3);
    hti_codec_pack_value(&type, bits, (uint8_t *)packed);
    ck_assert(hti_codec_value_is_valid(&type, packed, sizeof packed));
    ck_assert_int_eq(hti_codec_unpack_value(&type, packed, sizeof packed, back), 0);
    ck_assert_mem_eq(back, bits, sizeof bits);
}
END_TEST

START_TEST(the_lookup_key_is_the_key_or_for_long_ones_the_stored_key)
{
    uint8_t space[HTI_STORED_KEY_MAX], stored[HTI_STORED_KEY_MAX];
    size_t size = 0;
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    ck_assert_ptr_eq(hti_codec_lookup_key(&type, pool, 490, space, &size), pool);
    ck_assert_uint_eq(size, 490);
    ck_assert_ptr_eq(hti_codec_lookup_key(&type, pool, 491, space, &size), space);
    ck_assert_uint_eq(size, HTI_STORED_KEY_MAX);
    hti_codec_store_key(&type, pool, 491, stored);
    ck_assert_mem_eq(space, stored, sizeof space);

    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_INT64, 1);
    ck_assert_ptr_eq(hti_codec_lookup_key(&type, pool, 8, space, &size), pool);
    ck_assert_uint_eq(size, 8);
    ck_assert(!hti_codec_key_is_long(&type, 8));
}
END_TEST

START_TEST(masked_hashes_make_long_keys_collide)
{
    struct sample a, b;
    uint8_t key[600];
    memset(key, 'k', sizeof key);
    hti_codec_test_hash_mask(0);
    hti_row_type_init(&a.type, HTSTORE_STRING, HTSTORE_UINT8, 1);
    b.type = a.type;
    store_sample(&a, key, 599, "v", 1);
    store_sample(&b, key, 600, "v", 1);
    ck_assert(same_bytes(a.stored_key, a.stored_key_size, b.stored_key, b.stored_key_size));
    expect_round_trip(&a);
    expect_round_trip(&b);
    ck_assert(!same_row(&a.row, &b.row));
    ck_assert(!same_bytes(a.stored, a.stored_size, b.stored, b.stored_size));

    hti_codec_test_hash_mask(UINT64_MAX);
    ck_assert_int_eq(load_sample(&a, a.stored_key, a.stored_key_size, a.stored, a.stored_size), HTSTORE_ECORRUPT);
    release_sample(&a);
    release_sample(&b);
}
END_TEST

/* --- sizes --- */

START_TEST(values_above_the_limit_overflow)
{
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_INT64, HTSTORE_MAX_ROW_SIZE / 8);
    ck_assert_uint_eq(hti_codec_value_size(&type, NULL), HTSTORE_MAX_ROW_SIZE);
    static const uint64_t counts[] = { HTSTORE_MAX_ROW_SIZE / 8 + 1, UINT64_C(1) << 29, UINT64_C(1) << 61, UINT64_MAX };
    for (size_t i = 0; i < COUNT(counts); i++) {
        hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_INT64, counts[i]);
        ck_assert_uint_eq(hti_codec_value_size(&type, NULL), HTI_SIZE_OVERFLOW);
        ck_assert(!hti_codec_value_is_valid(&type, "", 0));
    }
    static const uint64_t string_counts[] = { HTSTORE_MAX_ROW_SIZE / 4 + 1, UINT64_C(1) << 62, UINT64_MAX };
    for (size_t i = 0; i < COUNT(string_counts); i++) {
        hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_STRING, string_counts[i]);
        ck_assert_uint_eq(hti_codec_value_size(&type, NULL), HTI_SIZE_OVERFLOW);
        ck_assert(!hti_codec_value_is_valid(&type, "", 0));
    }
}
END_TEST

START_TEST(a_packed_value_above_the_limit_is_not_valid)
{
    uint8_t packed[4]; /* only the sizes are looked at */
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_STRING, 1);
    hti_store_le32(packed, HTSTORE_MAX_ROW_SIZE - 4);
    ck_assert(hti_codec_value_is_valid(&type, packed, HTSTORE_MAX_ROW_SIZE));
    hti_store_le32(packed, HTSTORE_MAX_ROW_SIZE - 3);
    ck_assert(!hti_codec_value_is_valid(&type, packed, (size_t)HTSTORE_MAX_ROW_SIZE + 1));
}
END_TEST

START_TEST(strings_above_the_limit_overflow)
{
    struct htstore_bytes strings[3] = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT8, HTSTORE_STRING, 3);
    strings[1].size = HTSTORE_MAX_ROW_SIZE - 12;
    ck_assert_uint_eq(hti_codec_value_size(&type, strings), HTSTORE_MAX_ROW_SIZE);
    strings[2].size = 1;
    ck_assert_uint_eq(hti_codec_value_size(&type, strings), HTI_SIZE_OVERFLOW);
    strings[1].size = SIZE_MAX - 5;
    strings[2].size = 0;
    ck_assert_uint_eq(hti_codec_value_size(&type, strings), HTI_SIZE_OVERFLOW);
    strings[0].size = SIZE_MAX;
    ck_assert_uint_eq(hti_codec_value_size(&type, strings), HTI_SIZE_OVERFLOW);
}
END_TEST

/* --- damage --- */

/* Flip each byte of `bytes` in several ways; the sample must not load. */
static void expect_flips_found(const struct sample *sample, uint8_t *bytes, size_t size)
{
    static const uint8_t flips[] = { 0x01, 0x80, 0xFF };
    for (size_t i = 0; i < size; i++) {
        for (size_t f = 0; f < COUNT(flips); f++) {
            bytes[i] ^= flips[f];
            if (load_sample(sample, sample->stored_key, sample->stored_key_size, sample->stored, sample->stored_size) !=
                HTSTORE_ECORRUPT)
                ck_abort_msg("byte %zu of %zu flipped by %02X", i, size, flips[f]);
            bytes[i] ^= flips[f];
        }
    }
}

/* Cut and lengthen key and row; nothing of this may load, or be read past its end. */
static void expect_cuts_found(const struct sample *sample)
{
    for (size_t size = 0; size <= sample->stored_size + 1; size++) {
        uint8_t *cut = malloc(size + 1);
        ck_assert_ptr_nonnull(cut);
        cut = realloc(cut, size > 0 ? size : 1);
        ck_assert_ptr_nonnull(cut);
        memset(cut, 0, size);
        memcpy(cut, sample->stored, size < sample->stored_size ? size : sample->stored_size);
        int status = load_sample(sample, sample->stored_key, sample->stored_key_size, cut, size);
        ck_assert_int_eq(status, size == sample->stored_size ? 0 : HTSTORE_ECORRUPT);
        peek_and_touch(&sample->type, sample->stored_key, sample->stored_key_size, cut, size);
        free(cut);
    }
    for (size_t size = 0; size < sample->stored_key_size; size++) {
        uint8_t *cut = copy_exactly(sample->stored_key, size);
        ck_assert_int_eq(load_sample(sample, cut, size, sample->stored, sample->stored_size), HTSTORE_ECORRUPT);
        peek_and_touch(&sample->type, cut, size, sample->stored, sample->stored_size);
        free(cut);
    }
}

static void expect_damage_found(uint32_t key_dtype, uint32_t value_dtype, size_t n, size_t string_key_size)
{
    struct sample sample = make_sample(key_dtype, value_dtype, n, string_key_size);
    expect_flips_found(&sample, sample.stored, sample.stored_size);
    expect_flips_found(&sample, sample.stored_key, sample.stored_key_size);
    expect_cuts_found(&sample);
    release_sample(&sample);
}

START_TEST(every_flip_and_every_cut_is_found)
{
    static const size_t counts[] = { 0, 1, 3 };
    uint32_t key_dtype = (uint32_t)_i;
    if (!hti_dtype_is_key(key_dtype))
        return;
    for (uint32_t value_dtype = 1; value_dtype <= N_DTYPES; value_dtype++)
        for (size_t c = 0; c < COUNT(counts); c++)
            expect_damage_found(key_dtype, value_dtype, counts[c], random_below(30));
}
END_TEST

START_TEST(every_flip_and_every_cut_of_long_keys_is_found)
{
    expect_damage_found(HTSTORE_STRING, HTSTORE_INT32, 0, 491);
    expect_damage_found(HTSTORE_STRING, HTSTORE_INT64, 1, 490);
    expect_damage_found(HTSTORE_STRING, HTSTORE_INT64, 1, 506);
    expect_damage_found(HTSTORE_STRING, HTSTORE_STRING, 3, 600);
}
END_TEST

START_TEST(a_row_of_another_table_is_found)
{
    struct sample sample = make_sample(HTSTORE_INT64, HTSTORE_INT64, 1, 0);
    uint8_t key_space[8];
    struct hti_row row;
    struct hti_hash128 hash;
    for (uint64_t id = TABLE_ID - 1; id <= TABLE_ID + 1; id++) {
        int status = hti_codec_load_row(&sample.type, id, sample.stored_key, sample.stored_key_size, sample.stored,
                                        sample.stored_size, key_space, &row, &hash);
        ck_assert_int_eq(status, id == TABLE_ID ? 0 : HTSTORE_ECORRUPT);
    }
    release_sample(&sample);
}
END_TEST

/* The row of another key, itself intact, under this one; the keys differ in their last byte. */
START_TEST(a_row_under_the_key_of_another_is_found)
{
    static const size_t key_sizes[] = { 5, 490, 491, 600 };
    for (size_t i = 0; i < COUNT(key_sizes); i++) {
        struct sample a, b;
        uint8_t key[600];
        memset(key, 'k', sizeof key);
        hti_row_type_init(&a.type, HTSTORE_STRING, HTSTORE_UINT8, 1);
        b.type = a.type;
        store_sample(&a, key, key_sizes[i], "v", 1);
        key[key_sizes[i] - 1] = 'l';
        store_sample(&b, key, key_sizes[i], "v", 1);
        ck_assert_int_eq(load_sample(&a, b.stored_key, b.stored_key_size, a.stored, a.stored_size), HTSTORE_ECORRUPT);
        ck_assert_int_eq(load_sample(&a, a.stored_key, a.stored_key_size, b.stored, b.stored_size), HTSTORE_ECORRUPT);
        release_sample(&a);
        release_sample(&b);
    }
}
END_TEST

/* Store what is not a row of the type, with a right checksum: it must be refused for its form. */
static void expect_form_refused(uint32_t key_dtype, uint32_t value_dtype, size_t n_elements, const struct hti_row *row)
{
    struct sample sample;
    hti_row_type_init(&sample.type, key_dtype, value_dtype, n_elements);
    store_sample(&sample, row->key, row->key_size, row->value, row->value_size);
    ck_assert_int_eq(load_sample(&sample, sample.stored_key, sample.stored_key_size, sample.stored, sample.stored_size),
                     HTSTORE_ECORRUPT);
    release_sample(&sample);
}

START_TEST(keys_of_bad_form_are_refused_though_the_checksum_is_right)
{
    static const struct {
        uint32_t dtype;
        const char *packed;
    } bad[] = {
        { HTSTORE_BOOL, "\x02" },
        { HTSTORE_BOOL, "\xFF" },
        { HTSTORE_FLOAT32, "\0\0\0\x80" },
        { HTSTORE_FLOAT32, "\x01\0\x80\x7F" },
        { HTSTORE_FLOAT32, "\0\0\xC0\xFF" },
        { HTSTORE_FLOAT64, "\0\0\0\0\0\0\0\x80" },
        { HTSTORE_FLOAT64, "\x01\0\0\0\0\0\xF0\x7F" },
        { HTSTORE_FLOAT64, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        size_t size = hti_dtype_packed_size(bad[i].dtype);
        struct hti_row row = { .key = bad[i].packed, .key_size = size, .value = "v", .value_size = 1 };
        expect_form_refused(bad[i].dtype, HTSTORE_UINT8, 1, &row);
    }
}
END_TEST

static void expect_value_refused(uint32_t dtype, size_t n_elements, const char *packed, size_t size)
{
    struct hti_row row = { .key = "k", .key_size = 1, .value = packed, .value_size = size };
    struct hti_row_type type;
    struct htstore_bytes elements[MAX_ELEMENTS];
    expect_form_refused(HTSTORE_UINT8, dtype, n_elements, &row);
    expect_form_refused(HTSTORE_STRING, dtype, n_elements, &row);

    uint8_t *value = copy_exactly(packed, size);
    hti_row_type_init(&type, HTSTORE_UINT8, dtype, n_elements);
    ck_assert(!hti_codec_value_is_valid(&type, value, size));
    if (dtype != HTSTORE_BOOL)
        ck_assert_int_eq(hti_codec_unpack_value(&type, value, size, elements), HTSTORE_ECORRUPT);
    free(value);
}

START_TEST(values_of_bad_form_are_refused_though_the_checksum_is_right)
{
    expect_value_refused(HTSTORE_BOOL, 3, "\0\1\2", 3);
    expect_value_refused(HTSTORE_BOOL, 3, "\xFF\0\0", 3);
    expect_value_refused(HTSTORE_INT16, 1, "a", 1);
    expect_value_refused(HTSTORE_INT16, 1, "abc", 3);
    expect_value_refused(HTSTORE_INT16, 0, "a", 1);
    expect_value_refused(HTSTORE_STRING, 0, "a", 1);
    expect_value_refused(HTSTORE_STRING, 1, "", 0);
    expect_value_refused(HTSTORE_STRING, 1, "\1\0\0", 3);
    expect_value_refused(HTSTORE_STRING, 1, "\1\0\0\0", 4);
    expect_value_refused(HTSTORE_STRING, 1, "\1\0\0\0ab", 6);
    expect_value_refused(HTSTORE_STRING, 1,
                         "\xFF\xFF\xFF\xFF"
                         "ab",
                         6);
    expect_value_refused(HTSTORE_STRING, 3, "\2\0\0\0\0\0\0\0\0\0\0\0a", 13);
    expect_value_refused(HTSTORE_STRING, 3, "\1\0\0\0\xFF\xFF\xFF\xFF\0\0\0\0a", 13);
    expect_value_refused(HTSTORE_STRING, 3, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\2\0\0\0", 12);
    expect_value_refused(HTSTORE_STRING, 3, "\0\0\0\0\0\0\0\0", 8);
}
END_TEST

/* Build the stored row of a long key by hand, with a right stored key and checksum. */
static int load_long_row(uint32_t claimed_size, size_t key_size)
{
    uint8_t stored_key[HTI_STORED_KEY_MAX];
    struct sample sample;
    size_t size = 4 + key_size + 1 + 4;
    uint8_t *stored = malloc(size);
    ck_assert_ptr_nonnull(stored);
    struct hti_hash128 hash = hti_hash128(pool, key_size);
    memcpy(stored_key, pool, HTI_SHORT_KEY_MAX);
    hti_store_be64(stored_key + 490, hash.high);
    hti_store_be64(stored_key + 498, hash.low);
    hti_store_le32(stored, claimed_size);
    memcpy(stored + 4, pool, key_size);
    stored[4 + key_size] = 'v';
    hti_store_le32(stored + size - 4, hti_hash_row_checksum(hti_hash_row(pool, key_size, "v", 1), TABLE_ID));
    hti_row_type_init(&sample.type, HTSTORE_STRING, HTSTORE_UINT8, 1);
    int status = load_sample(&sample, stored_key, sizeof stored_key, stored, size);
    peek_and_touch(&sample.type, stored_key, sizeof stored_key, stored, size);
    free(stored);
    return status;
}

START_TEST(hostile_sizes_of_long_keys_are_refused)
{
    ck_assert_int_eq(load_long_row(491, 491), 0);
    ck_assert_int_eq(load_long_row(490, 490), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(100, 100), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(0, 491), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(492, 491), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(493, 491), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(496, 491), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(UINT32_MAX, 491), HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_long_row(UINT32_MAX - 3, 491), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(a_short_string_key_has_one_stored_form)
{
    static const char *const bad[] = { "ab", "a\0b" };
    struct sample sample = make_sample(HTSTORE_STRING, HTSTORE_UINT8, 1, 1);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_int_eq(load_sample(&sample, (const uint8_t *)bad[i], 2 + i, sample.stored, sample.stored_size),
                         HTSTORE_ECORRUPT);
    ck_assert_int_eq(load_sample(&sample, NULL, 0, sample.stored, sample.stored_size), HTSTORE_ECORRUPT);
    release_sample(&sample);
}
END_TEST

/* Of a row whose checksum is wrong, peek still tells key and value. */
START_TEST(peek_tells_a_damaged_row_as_it_is)
{
    static const size_t key_sizes[] = { 3, 600 };
    for (size_t i = 0; i < COUNT(key_sizes); i++) {
        struct sample sample = make_sample(HTSTORE_STRING, HTSTORE_INT64, 1, key_sizes[i]);
        uint8_t key_space[8];
        struct hti_row row;
        sample.stored[sample.stored_size - 1] ^= 1;
        hti_codec_peek_row(&sample.type, sample.stored_key, sample.stored_key_size, sample.stored, sample.stored_size,
                           key_space, &row);
        ck_assert(same_row(&row, &sample.row));
        release_sample(&sample);
    }
}
END_TEST

static void expect_peeked_whole(const struct hti_row_type *type, size_t stored_key_size, size_t stored_size)
{
    uint8_t key_space[8];
    struct hti_row row;
    hti_codec_peek_row(type, pool, stored_key_size, pool + 1000, stored_size, key_space, &row);
    ck_assert_ptr_eq(row.key, pool);
    ck_assert_uint_eq(row.key_size, stored_key_size);
    ck_assert_ptr_eq(row.value, pool + 1000);
    ck_assert_uint_eq(row.value_size, stored_size);
}

START_TEST(peek_gives_all_bytes_of_what_cannot_be_taken_apart)
{
    struct hti_row_type type;
    memset(pool, 0xEE, 2000);
    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_INT64, 1);
    expect_peeked_whole(&type, 7, 12);
    expect_peeked_whole(&type, 9, 12);
    expect_peeked_whole(&type, 8, 3);
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    expect_peeked_whole(&type, 0, 12);
    expect_peeked_whole(&type, 5, 12);
    expect_peeked_whole(&type, 506, 700);
    expect_peeked_whole(&type, 506, 7);
    expect_peeked_whole(&type, 507, 700);
    expect_peeked_whole(&type, 5, 0);
    pool[491] = 0;
    expect_peeked_whole(&type, 492, 700);
    pool[504] = 0;
    expect_peeked_whole(&type, 505, 700);
}
END_TEST

/* Random bytes with small numbers and the sizes that matter. */
static uint8_t *make_noise(size_t size)
{
    uint8_t *noise = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(noise);
    uint64_t style = next_random() % 4;
    for (size_t i = 0; i < size; i++)
        noise[i] = (uint8_t)(style == 0 ? next_random() : style == 1 ? next_random() % 3 : style == 2 ? 0 : 0xFF);
    if (size >= 4 && next_random() % 2)
        hti_store_le32(noise, (uint32_t)(next_random() % 2 ? random_below(size + 2) : 485 + random_below(20)));
    if (size > 0 && next_random() % 2)
        noise[size - 1] = 0;
    return noise;
}

START_TEST(noise_is_never_a_row_and_never_read_past_its_end)
{
    static const size_t key_sizes[] = { 0, 1, 2, 4, 8, 9, 490, 491, 492, 505, 506, 507, 511 };
    struct htstore_bytes elements[MAX_ELEMENTS];
    for (int round = 0; round < 20000; round++) {
        struct sample sample;
        uint32_t key_dtype = 1 + (uint32_t)random_below(N_DTYPES);
        uint32_t value_dtype = 1 + (uint32_t)random_below(N_DTYPES);
        if (next_random() % 2)
            key_dtype = HTSTORE_STRING;
        hti_row_type_init(&sample.type, key_dtype, value_dtype, random_below(MAX_ELEMENTS + 1));
        size_t fitting = sample.type.key_size;
        size_t key_size = next_random() % 2 && fitting > 0 ? fitting : key_sizes[random_below(COUNT(key_sizes))];
        size_t size = random_below(next_random() % 2 ? 40 : 600);
        uint8_t *key = make_noise(key_size), *stored = make_noise(size);
        ck_assert_int_eq(load_sample(&sample, key, key_size, stored, size), HTSTORE_ECORRUPT);
        peek_and_touch(&sample.type, key, key_size, stored, size);
        (void)hti_codec_key_is_valid(&sample.type, stored, size);
        bool is_valid = hti_codec_value_is_valid(&sample.type, stored, size);
        int status = hti_codec_unpack_value(&sample.type, stored, size, elements);
        ck_assert(is_valid ? status == 0 : status == HTSTORE_ECORRUPT || value_dtype == HTSTORE_BOOL);
        free(key);
        free(stored);
    }
}
END_TEST

START_TEST(packed_keys_of_bad_form_are_not_valid)
{
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT32, HTSTORE_INT64, 1);
    ck_assert(hti_codec_key_is_valid(&type, "\0\0\0\x80", 4));
    ck_assert(!hti_codec_key_is_valid(&type, "abc", 3));
    ck_assert(!hti_codec_key_is_valid(&type, "abcde", 5));
    ck_assert(!hti_codec_key_is_valid(&type, "", 0));
    hti_row_type_init(&type, HTSTORE_FLOAT32, HTSTORE_INT64, 1);
    ck_assert(hti_codec_key_is_valid(&type, "\0\0\x80\x7F", 4));
    ck_assert(hti_codec_key_is_valid(&type, "\0\0\x80\xFF", 4));
    ck_assert(hti_codec_key_is_valid(&type, "\1\0\0\x80", 4));
    ck_assert(!hti_codec_key_is_valid(&type, "\0\0\0\x80", 4));
    ck_assert(!hti_codec_key_is_valid(&type, "\1\0\x80\x7F", 4));
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    ck_assert(hti_codec_key_is_valid(&type, "", 0));
    ck_assert(hti_codec_key_is_valid(&type, "\xFF\0", 2));
    ck_assert(!hti_codec_key_is_valid(&type, "", (size_t)HTSTORE_MAX_ROW_SIZE + 1));
}
END_TEST

static void add_format_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, stored_numbers_sort_like_the_numbers, 1, HTSTORE_STRING);
    tcase_add_test(tcase, stored_strings_sort_like_the_strings);
    tcase_add_test(tcase, long_strings_that_share_600_bytes_have_stored_keys_of_their_own);
    tcase_add_loop_test(tcase, numbers_have_their_fixed_packed_and_stored_bytes, 0, (int)COUNT(key_formats));
    tcase_add_test(tcase, strings_have_their_fixed_stored_bytes);
    tcase_add_test(tcase, values_have_their_fixed_packed_bytes);
    tcase_add_test(tcase, rows_have_their_fixed_stored_bytes);
    tcase_add_loop_test(tcase, values_come_back_from_packing, 1, N_DTYPES + 1);
    tcase_add_loop_test(tcase, rows_come_back_for_every_pair_of_dtypes, 1, N_DTYPES + 1);
    tcase_add_test(tcase, string_keys_of_any_size_come_back);
    tcase_add_test(tcase, a_negative_zero_key_is_the_positive_one);
    tcase_add_test(tcase, values_keep_the_bits_of_nan_and_negative_zero);
    tcase_add_test(tcase, the_lookup_key_is_the_key_or_for_long_ones_the_stored_key);
    tcase_add_test(tcase, masked_hashes_make_long_keys_collide);
    tcase_add_test(tcase, values_above_the_limit_overflow);
    tcase_add_test(tcase, strings_above_the_limit_overflow);
    tcase_add_test(tcase, a_packed_value_above_the_limit_is_not_valid);
}

static void add_damage_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, every_flip_and_every_cut_is_found, 1, N_DTYPES + 1);
    tcase_add_test(tcase, every_flip_and_every_cut_of_long_keys_is_found);
    tcase_add_test(tcase, a_row_of_another_table_is_found);
    tcase_add_test(tcase, a_row_under_the_key_of_another_is_found);
    tcase_add_test(tcase, keys_of_bad_form_are_refused_though_the_checksum_is_right);
    tcase_add_test(tcase, values_of_bad_form_are_refused_though_the_checksum_is_right);
    tcase_add_test(tcase, hostile_sizes_of_long_keys_are_refused);
    tcase_add_test(tcase, a_short_string_key_has_one_stored_form);
    tcase_add_test(tcase, peek_tells_a_damaged_row_as_it_is);
    tcase_add_test(tcase, peek_gives_all_bytes_of_what_cannot_be_taken_apart);
    tcase_add_test(tcase, noise_is_never_a_row_and_never_read_past_its_end);
    tcase_add_test(tcase, packed_keys_of_bad_form_are_not_valid);
}

int main(void)
{
    Suite *suite = suite_create("codec");
    TCase *formats = tcase_create("formats");
    TCase *damage = tcase_create("damage");
    tcase_add_checked_fixture(formats, set_up, tear_down);
    tcase_add_checked_fixture(damage, set_up, tear_down);
    tcase_set_timeout(damage, 120);
    add_format_tests(formats);
    add_damage_tests(damage);
    suite_add_tcase(suite, formats);
    suite_add_tcase(suite, damage);
    return check_run(suite);
}
