/* codec: hides the byte forms of keys, values and rows. */
#include "codec.h"

#include <stdatomic.h>
#include <string.h>

#include "bytes.h"
#include "dtype.h"

#define STRING_SIZE_SIZE 4
#define ROW_CHECKSUM_SIZE 4
#define LONG_KEY_HEAD_SIZE 4
#define SIGN_BIT (UINT64_C(1) << 63)

static const bool host_is_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

static _Atomic uint64_t test_hash_mask = UINT64_MAX;

void hti_codec_test_hash_mask(uint64_t mask)
{
    atomic_store(&test_hash_mask, mask);
}

void hti_row_type_init(struct hti_row_type *type, uint32_t key_dtype, uint32_t value_dtype, uint64_t n_elements)
{
    *type = (struct hti_row_type){ .key_dtype = key_dtype, .value_dtype = value_dtype, .n_elements = n_elements };
    type->key_size = (uint32_t)hti_dtype_packed_size(key_dtype);
    type->value_is_fixed = value_dtype != HTSTORE_STRING;
    uint64_t value_size;
    if (__builtin_mul_overflow(n_elements, hti_dtype_packed_size(value_dtype), &value_size) || value_size > UINT32_MAX)
        value_size = UINT32_MAX; /* above every limit: hti_codec_value_size() refuses it */
    type->value_size = (uint32_t)value_size;
}

/* --- elements of fixed width: 1, 2, 4 or 8 bytes --- */

/* In the order of the host, as in the caller's arrays. */
static uint64_t load_native(const void *in, size_t size)
{
    uint8_t v1;
    uint16_t v2;
    uint32_t v4;
    uint64_t v8;
    switch (size) {
    case 1:
        memcpy(&v1, in, sizeof v1);
        return v1;
    case 2:
        memcpy(&v2, in, sizeof v2);
        return v2;
    case 4:
        memcpy(&v4, in, sizeof v4);
        return v4;
    default:
        memcpy(&v8, in, sizeof v8);
        return v8;
    }
}

static void store_native(void *out, uint64_t v, size_t size)
{
    const uint8_t v1 = (uint8_t)v;
    const uint16_t v2 = (uint16_t)v;
    const uint32_t v4 = (uint32_t)v;
    switch (size) {
    case 1:
        memcpy(out, &v1, sizeof v1);
        break;
    case 2:
        memcpy(out, &v2, sizeof v2);
        break;
    case 4:
        memcpy(out, &v4, sizeof v4);
        break;
    default:
        memcpy(out, &v, sizeof v);
        break;
    }
}

/* In little-endian order, as in packed keys and values. */
static uint64_t load_little(const uint8_t *in, size_t size)
{
    switch (size) {
    case 1:
        return in[0];
    case 2:
        return hti_load_le16(in);
    case 4:
        return hti_load_le32(in);
    default:
        return hti_load_le64(in);
    }
}

static void store_little(uint8_t *out, uint64_t v, size_t size)
{
    switch (size) {
    case 1:
        out[0] = (uint8_t)v;
        break;
    case 2:
        hti_store_le16(out, (uint16_t)v);
        break;
    case 4:
        hti_store_le32(out, (uint32_t)v);
        break;
    default:
        hti_store_le64(out, v);
        break;
    }
}

static void copy_bytes(void *out, const void *in, size_t size)
{
    if (size == 8)
        memcpy(out, in, 8);
    else if (size > 0)
        memcpy(out, in, size);
}

/* `size` is that of all elements, in bytes. */
static void pack_elements(uint32_t dtype, uint8_t *out, const uint8_t *elements, size_t size)
{
    if (host_is_little) {
        copy_bytes(out, elements, size);
        return;
    }
    size_t width = hti_dtype_packed_size(dtype);
    for (size_t i = 0; i < size; i += width)
        store_little(out + i, load_native(elements + i, width), width);
}

static void unpack_elements(uint32_t dtype, uint8_t *elements, const uint8_t *packed, size_t size)
{
    if (host_is_little) {
        copy_bytes(elements, packed, size);
        return;
    }
    size_t width = hti_dtype_packed_size(dtype);
    for (size_t i = 0; i < size; i += width)
        store_native(elements + i, load_little(packed + i, width), width);
}

static bool is_float(uint32_t dtype)
{
    return dtype == HTSTORE_FLOAT32 || dtype == HTSTORE_FLOAT64;
}

bool hti_codec_values_are_native(const struct hti_row_type *type)
{
    return type->value_is_fixed && (host_is_little || hti_dtype_packed_size(type->value_dtype) == 1);
}

bool hti_codec_keys_are_native(const struct hti_row_type *type)
{
    if (type->key_size <= 1)
        return true;
    return host_is_little && !is_float(type->key_dtype);
}

void hti_codec_pack_key(const struct hti_row_type *type, const void *element, uint8_t *out)
{
    uint64_t bits = load_native(element, type->key_size);
    if (is_float(type->key_dtype) && bits << (64 - 8 * type->key_size) == SIGN_BIT)
        bits = 0;
    store_little(out, bits, type->key_size);
}

void hti_codec_pack_keys(const struct hti_row_type *type, const void *elements, size_t n, uint8_t *out)
{
    const uint8_t *element = elements;

    if (!is_float(type->key_dtype)) {
        pack_elements(type->key_dtype, out, element, n * type->key_size);
        return;
    }
    for (size_t i = 0; i < n; i++)
        hti_codec_pack_key(type, element + i * type->key_size, out + i * type->key_size);
}

void hti_codec_unpack_key(const struct hti_row_type *type, const void *packed, void *element)
{
    store_native(element, load_little(packed, type->key_size), type->key_size);
}

/* --- values --- */

static size_t string_value_size(const struct hti_row_type *type, const struct htstore_bytes *elements)
{
    if (type->n_elements > HTSTORE_MAX_ROW_SIZE / STRING_SIZE_SIZE)
        return HTI_SIZE_OVERFLOW;
    size_t size = (size_t)type->n_elements * STRING_SIZE_SIZE;
    for (uint64_t i = 0; i < type->n_elements; i++) {
        if (elements[i].size > HTSTORE_MAX_ROW_SIZE - size)
            return HTI_SIZE_OVERFLOW;
        size += elements[i].size;
    }
    return size;
}

size_t hti_codec_value_size(const struct hti_row_type *type, const void *elements)
{
    if (!type->value_is_fixed)
        return string_value_size(type, elements);
    return type->value_size <= HTSTORE_MAX_ROW_SIZE ? type->value_size : HTI_SIZE_OVERFLOW;
}

static void pack_strings(const struct hti_row_type *type, const struct htstore_bytes *elements, uint8_t *out)
{
    uint8_t *sizes = out;
    uint8_t *bytes = out + (size_t)type->n_elements * STRING_SIZE_SIZE;
    for (uint64_t i = 0; i < type->n_elements; i++) {
        hti_store_le32(sizes, (uint32_t)elements[i].size);
        sizes += STRING_SIZE_SIZE;
        if (elements[i].size > 0)
            memcpy(bytes, elements[i].data, elements[i].size);
        bytes += elements[i].size;
    }
}

void hti_codec_pack_value(const struct hti_row_type *type, const void *elements, uint8_t *out)
{
    if (!type->value_is_fixed)
        pack_strings(type, elements, out);
    else
        pack_elements(type->value_dtype, out, elements, type->value_size);
}

void hti_codec_pack_values(const struct hti_row_type *type, const void *elements, size_t n, uint8_t *out)
{
    pack_elements(type->value_dtype, out, elements, n * type->value_size);
}

/* Walk the strings of a packed value, storing them to `elements` if not NULL. Returns whether the sizes add up. */
static bool walk_strings(const struct hti_row_type *type, const uint8_t *packed, size_t size,
                         struct htstore_bytes *elements)
{
    if (type->n_elements > size / STRING_SIZE_SIZE)
        return false;
    size_t position = (size_t)type->n_elements * STRING_SIZE_SIZE;
    for (uint64_t i = 0; i < type->n_elements; i++) {
        size_t string_size = hti_load_le32(packed + i * STRING_SIZE_SIZE);
        if (string_size > size - position)
            return false;
        if (elements)
            elements[i] = (struct htstore_bytes){ .data = packed + position, .size = string_size };
        position += string_size;
    }
    return position == size;
}

int hti_codec_unpack_value(const struct hti_row_type *type, const void *packed, size_t size, void *elements)
{
    if (!type->value_is_fixed)
        return walk_strings(type, packed, size, elements) ? HTSTORE_OK : HTSTORE_ECORRUPT;
    if (size != type->value_size)
        return HTSTORE_ECORRUPT;
    unpack_elements(type->value_dtype, elements, packed, size);
    return HTSTORE_OK;
}

static bool are_bools(const uint8_t *bytes, size_t size)
{
    uint8_t all = 0;
    for (size_t i = 0; i < size; i++)
        all |= bytes[i];
    return all <= 1;
}

bool hti_codec_value_is_valid(const struct hti_row_type *type, const void *packed, size_t size)
{
    if (size > HTSTORE_MAX_ROW_SIZE)
        return false;
    if (!type->value_is_fixed)
        return walk_strings(type, packed, size, NULL);
    if (size != type->value_size)
        return false;
    return type->value_dtype != HTSTORE_BOOL || are_bools(packed, size);
}

/* --- keys --- */

static bool is_canonical_float(uint64_t bits, uint64_t sign_bit, uint64_t infinity)
{
    return bits != sign_bit && (bits & ~sign_bit) <= infinity;
}

bool hti_codec_key_is_valid(const struct hti_row_type *type, const void *packed, size_t size)
{
    if (type->key_size == 0)
        return size <= HTSTORE_MAX_ROW_SIZE;
    if (size != type->key_size)
        return false;
    switch (type->key_dtype) {
    case HTSTORE_BOOL:
        return are_bools(packed, 1);
    case HTSTORE_FLOAT32:
        return is_canonical_float(hti_load_le32(packed), UINT64_C(1) << 31, UINT64_C(0x7F800000));
    case HTSTORE_FLOAT64:
        return is_canonical_float(hti_load_le64(packed), SIGN_BIT, UINT64_C(0x7FF0000000000000));
    default:
        return true;
    }
}

bool hti_codec_is_always_valid(const struct hti_row_type *type)
{
    return type->key_dtype >= HTSTORE_INT8 && type->key_dtype <= HTSTORE_UINT64 && type->value_is_fixed &&
           type->value_dtype != HTSTORE_BOOL && type->value_size <= HTSTORE_MAX_ROW_SIZE - sizeof(uint64_t);
}

static bool is_signed_integer(uint32_t dtype)
{
    return dtype >= HTSTORE_INT8 && dtype <= HTSTORE_INT64;
}

/* The key moved to the top of 64 bits, changed so that its order as an unsigned number is the order of keys. */
static uint64_t to_ordered(const struct hti_row_type *type, uint64_t key)
{
    uint64_t top = key << (64 - 8 * type->key_size);
    if (is_float(type->key_dtype))
        return top & SIGN_BIT ? ~top : top ^ SIGN_BIT;
    return is_signed_integer(type->key_dtype) ? top ^ SIGN_BIT : top;
}

static uint64_t from_ordered(const struct hti_row_type *type, uint64_t top)
{
    if (is_float(type->key_dtype))
        top = top & SIGN_BIT ? top ^ SIGN_BIT : ~top;
    else if (is_signed_integer(type->key_dtype))
        top ^= SIGN_BIT;
    return top >> (64 - 8 * type->key_size);
}

/* Byte-swapped, the top bytes of the ordered key are stored in big-endian order. */
static void store_fixed_key(const struct hti_row_type *type, const void *key, uint8_t *out)
{
    uint64_t ordered = to_ordered(type, load_little(key, type->key_size));
    store_little(out, __builtin_bswap64(ordered), type->key_size);
}

static void load_fixed_key(const struct hti_row_type *type, const void *stored, uint8_t *out)
{
    uint64_t ordered = __builtin_bswap64(load_little(stored, type->key_size));
    store_little(out, from_ordered(type, ordered), type->key_size);
}

void hti_codec_order_keys(const struct hti_row_type *type, const uint8_t *packed, size_t n, uint64_t *ordered)
{
    const struct hti_row_type copy = *type; /* which the results cannot change */

    if (copy.key_dtype == HTSTORE_INT64 || copy.key_dtype == HTSTORE_UINT64) {
        const uint64_t flip = copy.key_dtype == HTSTORE_INT64 ? SIGN_BIT : 0;
        for (size_t i = 0; i < n; i++)
            ordered[i] = hti_load_le64(packed + 8 * i) ^ flip;
        return;
    }
    for (size_t i = 0; i < n; i++)
        ordered[i] = to_ordered(&copy, load_little(packed + i * copy.key_size, copy.key_size));
}

void hti_codec_key_of_order(const struct hti_row_type *type, uint64_t ordered, uint8_t *packed)
{
    store_little(packed, from_ordered(type, ordered), type->key_size);
}

bool hti_codec_key_is_long(const struct hti_row_type *type, size_t key_size)
{
    return type->key_size == 0 && key_size > HTI_SHORT_KEY_MAX;
}

static size_t store_long_key(const void *key, size_t key_size, uint8_t *out)
{
    struct hti_hash128 hash = hti_hash128(key, key_size);
    uint64_t mask = atomic_load_explicit(&test_hash_mask, memory_order_relaxed);
    memcpy(out, key, HTI_SHORT_KEY_MAX);
    hti_store_be64(out + HTI_SHORT_KEY_MAX, hash.high & mask);
    hti_store_be64(out + HTI_SHORT_KEY_MAX + 8, hash.low & mask);
    return HTI_STORED_KEY_MAX;
}

size_t hti_codec_store_key(const struct hti_row_type *type, const void *key, size_t key_size,
                           uint8_t out[HTI_STORED_KEY_MAX])
{
    if (type->key_size > 0) {
        store_fixed_key(type, key, out);
        return type->key_size;
    }
    if (key_size > HTI_SHORT_KEY_MAX)
        return store_long_key(key, key_size, out);
    if (key_size > 0)
        memcpy(out, key, key_size);
    out[key_size] = 0;
    return key_size + 1;
}

const void *hti_codec_lookup_key(const struct hti_row_type *type, const void *key, size_t key_size,
                                 uint8_t space[HTI_STORED_KEY_MAX], size_t *size)
{
    if (!hti_codec_key_is_long(type, key_size)) {
        *size = key_size;
        return key;
    }
    *size = store_long_key(key, key_size, space);
    return space;
}

/* --- rows --- */

size_t hti_codec_stored_size(const struct hti_row_type *type, const struct hti_row *row)
{
    size_t head_size = hti_codec_key_is_long(type, row->key_size) ? LONG_KEY_HEAD_SIZE + row->key_size : 0;
    return head_size + row->value_size + ROW_CHECKSUM_SIZE;
}

void hti_codec_store_row(const struct hti_row_type *type, uint64_t table_id, const struct hti_row *row,
                         struct hti_hash128 hash, uint8_t *out)
{
    if (hti_codec_key_is_long(type, row->key_size)) {
        hti_store_le32(out, (uint32_t)row->key_size);
        memcpy(out + LONG_KEY_HEAD_SIZE, row->key, row->key_size);
        out += LONG_KEY_HEAD_SIZE + row->key_size;
    }
    if (row->value_size > 0)
        memcpy(out, row->value, row->value_size);
    hti_store_le32(out + row->value_size, hti_hash_row_checksum(hash, table_id));
}

/* Take the whole key from the head of a stored row. `size` excludes the checksum. */
static bool split_long_row(const uint8_t *stored, size_t size, struct hti_row *row)
{
    if (size < LONG_KEY_HEAD_SIZE)
        return false;
    size_t key_size = hti_load_le32(stored);
    size_t left = size - LONG_KEY_HEAD_SIZE;
    if (key_size <= HTI_SHORT_KEY_MAX || key_size > left)
        return false;
    row->key = stored + LONG_KEY_HEAD_SIZE;
    row->key_size = key_size;
    row->value = stored + LONG_KEY_HEAD_SIZE + key_size;
    row->value_size = left - key_size;
    return true;
}

/* Find key and value by sizes alone. Returns whether the sizes allow it. */
static bool split_row(const struct hti_row_type *type, const uint8_t *stored_key, size_t stored_key_size,
                      const uint8_t *stored, size_t stored_size, uint8_t *key_space, struct hti_row *row)
{
    if (stored_size < ROW_CHECKSUM_SIZE)
        return false;
    size_t size = stored_size - ROW_CHECKSUM_SIZE;
    if (type->key_size == 0 && stored_key_size == HTI_STORED_KEY_MAX)
        return split_long_row(stored, size, row);
    row->value = stored;
    row->value_size = size;
    if (type->key_size > 0) {
        if (stored_key_size != type->key_size)
            return false;
        load_fixed_key(type, stored_key, key_space);
        row->key = key_space;
        row->key_size = type->key_size;
        return true;
    }
    if (stored_key_size == 0 || stored_key_size > HTI_SHORT_KEY_MAX + 1 || stored_key[stored_key_size - 1] != 0)
        return false;
    row->key = stored_key;
    row->key_size = stored_key_size - 1;
    return true;
}

/* The form of short and fixed keys is one-to-one: only a long key must be compared with the key it was stored under. */
static bool is_stored_under(const struct hti_row_type *type, const struct hti_row *row, const void *stored_key)
{
    if (!hti_codec_key_is_long(type, row->key_size))
        return true;
    uint8_t expected[HTI_STORED_KEY_MAX];
    size_t size = store_long_key(row->key, row->key_size, expected);
    return memcmp(expected, stored_key, size) == 0;
}

int hti_codec_load_row(const struct hti_row_type *type, uint64_t table_id, const void *stored_key,
                       size_t stored_key_size, const void *stored, size_t stored_size, uint8_t key_space[8],
                       struct hti_row *row, struct hti_hash128 *hash)
{
    if (!split_row(type, stored_key, stored_key_size, stored, stored_size, key_space, row))
        return HTSTORE_ECORRUPT;
    if (!hti_codec_key_is_valid(type, row->key, row->key_size) ||
        !hti_codec_value_is_valid(type, row->value, row->value_size) || !is_stored_under(type, row, stored_key))
        return HTSTORE_ECORRUPT;
    *hash = hti_hash_row(row->key, row->key_size, row->value, row->value_size);
    const uint8_t *checksum = (const uint8_t *)row->value + row->value_size;
    return hti_load_le32(checksum) == hti_hash_row_checksum(*hash, table_id) ? HTSTORE_OK : HTSTORE_ECORRUPT;
}

void hti_codec_peek_row(const struct hti_row_type *type, const void *stored_key, size_t stored_key_size,
                        const void *stored, size_t stored_size, uint8_t key_space[8], struct hti_row *row)
{
    if (split_row(type, stored_key, stored_key_size, stored, stored_size, key_space, row))
        return;
    *row =
        (struct hti_row){ .key = stored_key, .key_size = stored_key_size, .value = stored, .value_size = stored_size };
}
