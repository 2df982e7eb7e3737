/*
 * fuzz_codec: stored keys and rows, over any bytes: as they are, and with a checksum that is right, so that mere chance gets
 * past it. The first bytes choose the type and cut the rest: key dtype, value dtype, number of elements, size of the key u16.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "dtype.h"
#include "samples.h"

#define TABLE_ID 42u
#define HEAD_SIZE 5u
#define MAX_ELEMENTS 5u
#define MAX_SIZE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static volatile uint64_t sink; /* or the compiler would not read what nobody uses */

static void touch(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sink += ((const uint8_t *)data)[i];
}

/* What the caller's array would hold. */
static void unpack(const struct hti_row_type *type, const struct hti_row *row)
{
    void *elements = malloc((size_t)type->n_elements * htstore_dtype_size(type->value_dtype) + 1);
    const struct htstore_bytes *strings = elements;

    must(elements != NULL);
    must(hti_codec_unpack_value(type, row->value, row->value_size, elements) == 0);
    for (uint64_t i = 0; type->value_dtype == HTSTORE_STRING && i < type->n_elements; i++)
        touch(strings[i].data, strings[i].size);
    free(elements);
    if (type->key_size > 0) {
        uint8_t element[8], again[8];
        hti_codec_unpack_key(type, row->key, element);
        hti_codec_pack_key(type, element, again);
        must(memcmp(again, row->key, type->key_size) == 0);
    }
}

/* A row that was accepted is stored as the very bytes that it came from. */
static void check_round_trip(const struct hti_row_type *type, const struct hti_row *row, struct hti_hash128 hash,
                             const struct hti_row *stored)
{
    uint8_t key[HTI_STORED_KEY_MAX], *bytes = malloc(stored->value_size);

    must(bytes != NULL && hti_codec_stored_size(type, row) == stored->value_size);
    must(hti_codec_store_key(type, row->key, row->key_size, key) == stored->key_size);
    must(memcmp(key, stored->key, stored->key_size) == 0);
    hti_codec_store_row(type, TABLE_ID, row, hash, bytes);
    must(memcmp(bytes, stored->value, stored->value_size) == 0);
    free(bytes);
    must(hti_codec_key_is_valid(type, row->key, row->key_size));
    must(hti_codec_value_is_valid(type, row->value, row->value_size));
    unpack(type, row);
}

/* Whatever a page holds can be taken apart, and hashed. Returns the row. */
static struct hti_row peek(const struct hti_row_type *type, const struct hti_row *stored, uint8_t key_space[8])
{
    uint8_t space[HTI_STORED_KEY_MAX];
    struct hti_row row;
    size_t size;

    hti_codec_peek_row(type, stored->key, stored->key_size, stored->value, stored->value_size, key_space, &row);
    touch(row.key, row.key_size);
    touch(row.value, row.value_size);
    (void)hti_codec_key_is_valid(type, row.key, row.key_size);
    (void)hti_codec_value_is_valid(type, row.value, row.value_size);
    const void *lookup = hti_codec_lookup_key(type, row.key, row.key_size, space, &size);
    touch(lookup, size);
    return row;
}

static bool load(const struct hti_row_type *type, const struct hti_row *stored)
{
    struct hti_hash128 hash;
    struct hti_row row;
    uint8_t key_space[8];
    const int rc = hti_codec_load_row(type, TABLE_ID, stored->key, stored->key_size, stored->value, stored->value_size,
                                      key_space, &row, &hash);

    must(rc == 0 || rc == HTSTORE_ECORRUPT);
    if (rc == 0)
        check_round_trip(type, &row, hash, stored);
    return rc == 0;
}

/* The key of a long row as it must be stored, so that such rows are met at all. */
static void correct_key(const struct hti_row_type *type, const struct hti_row *row, uint8_t *stored_key)
{
    uint8_t key[HTI_STORED_KEY_MAX];

    if (hti_codec_key_is_long(type, row->key_size) &&
        hti_codec_store_key(type, row->key, row->key_size, key) == HTI_STORED_KEY_MAX)
        memcpy(stored_key, key, HTI_STORED_KEY_MAX);
}

static void try_row(const struct hti_row_type *type, uint8_t *key, size_t key_size, uint8_t *value, size_t value_size)
{
    const struct hti_row stored = { key, key_size, value, value_size };
    uint8_t key_space[8];
    struct hti_row row = peek(type, &stored, key_space);

    (void)load(type, &stored);
    if (value_size < 4 || row.value_size + 4 > value_size)
        return;
    if (key_size == HTI_STORED_KEY_MAX)
        correct_key(type, &row, key);
    const struct hti_hash128 hash = hti_hash_row(row.key, row.key_size, row.value, row.value_size);
    hti_store_le32(value + value_size - 4, hti_hash_row_checksum(hash, TABLE_ID));
    (void)load(type, &stored);
}

/* A valid row, to see that the target is awake; then one or two of its bytes changed. */
static void try_sample(uint8_t choice, const uint8_t *data, size_t size)
{
    struct hti_row_type type;
    struct sample_rows rows;
    uint8_t stored_key[HTI_STORED_KEY_MAX], *bytes;

    sample_seed(choice / N_SAMPLE_TYPES);
    sample_type(choice % N_SAMPLE_TYPES, &type);
    sample_rows_make(&rows, &type, 16, true);
    const struct hti_row *row = &rows.rows[0];
    while (choice >= 128 && row < &rows.rows[15] && !hti_codec_key_is_long(&type, row->key_size))
        row++;
    const size_t key_size = hti_codec_store_key(&type, row->key, row->key_size, stored_key);
    const size_t value_size = hti_codec_stored_size(&type, row);
    bytes = malloc(value_size);
    must(bytes != NULL);
    hti_codec_store_row(&type, TABLE_ID, row, hti_hash_row(row->key, row->key_size, row->value, row->value_size),
                        bytes);
    const struct hti_row stored = { stored_key, key_size, bytes, value_size };
    must(load(&type, &stored));
    for (; size >= 3; data += 3, size -= 3) {
        const size_t at = hti_load_le16(data),
                     room = at & 1 && value_size > 8 ? 8 : value_size; /* often where sizes are */
        bytes[(at >> 1) % room] ^= data[2];
    }
    try_row(&type, stored_key, key_size, bytes, value_size);
    free(bytes);
    sample_rows_free(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hti_row_type type;
    uint8_t *key, *value;
    uint32_t key_dtype;
    size_t key_size;

    if (size < HEAD_SIZE || size > MAX_SIZE)
        return 0;
    key_dtype = HTSTORE_INT8 + data[0] % HTSTORE_STRING;
    if (!hti_dtype_is_key(key_dtype))
        key_dtype = HTSTORE_STRING;
    hti_row_type_init(&type, key_dtype, HTSTORE_INT8 + data[1] % HTSTORE_STRING, data[2] % (MAX_ELEMENTS + 1));
    key_size = hti_load_le16(data + 3) % 600;
    if (key_size > size - HEAD_SIZE)
        key_size = size - HEAD_SIZE;
    key = sample_copy(data + HEAD_SIZE, key_size);
    value = sample_copy(data + HEAD_SIZE + key_size, size - HEAD_SIZE - key_size);
    try_row(&type, key, key_size, value, size - HEAD_SIZE - key_size);
    free(key);
    free(value);
    try_sample(data[0], data + 1, size - 1 < 6 ? size - 1 : 6);
    return 0;
}
