/*
 * codec: how keys and rows are packed (journal, memory) and stored (LMDB).
 *
 * Packed key:   fixed width: canonical little-endian bytes (-0.0 becomes +0.0); string: its bytes.
 * Packed value: fixed width: elements in order, little-endian; string: u32 sizes of all elements, then their bytes.
 * Stored key:   1 to 506 bytes whose memcmp order is the key order (integers sign-flipped big-endian, floats in IEEE total
 *               order, bool 0 or 1; strings of <= 490 bytes + one 0x00; longer ones: 490 bytes + XXH3-128 of the whole key,
 *               big-endian, so that only among long keys that share 490 bytes the order is by hash).
 * Stored row:   [long keys only: u32 key size, key] packed value, u32 row checksum (hash.h).
 * Lookup key:   what identifies a row in memory: the packed key, or, for strings above 490 bytes, the stored key.
 */
#ifndef HTI_CODEC_H
#define HTI_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "hash.h"
#include "htstore.h"

#define HTI_STORED_KEY_MAX 506
#define HTI_SHORT_KEY_MAX 490

/* The types of a table, as far as packing needs them. */
struct hti_row_type {
    uint32_t key_dtype;
    uint32_t value_dtype;
    uint64_t n_elements; /* of a value */
    uint32_t key_size; /* packed, bytes; 0 = string */
    uint32_t value_size; /* packed, bytes; meaningful only if value_is_fixed */
    bool value_is_fixed;
};
void hti_row_type_init(struct hti_row_type *type, uint32_t key_dtype, uint32_t value_dtype, uint64_t n_elements);

/* One row in packed form; the pointers are borrowed. */
struct hti_row {
    const void *key;
    size_t key_size;
    const void *value;
    size_t value_size;
};

/* --- caller's arrays <-> packed --- */

/* Pack a fixed-width key element at `element` (native) to type->key_size bytes. */
void hti_codec_pack_key(const struct hti_row_type *type, const void *element, uint8_t *out);
/* The same of `n` elements, one behind the other. */
void hti_codec_pack_keys(const struct hti_row_type *type, const void *elements, size_t n, uint8_t *out);
/* The inverse, for exports: packed bytes to the caller's element. */
void hti_codec_unpack_key(const struct hti_row_type *type, const void *packed, void *element);

/* Size of the packed value of n_elements elements at `elements`; HTI_SIZE_OVERFLOW if above HTSTORE_MAX_ROW_SIZE. */
#define HTI_SIZE_OVERFLOW SIZE_MAX
size_t hti_codec_value_size(const struct hti_row_type *type, const void *elements);
void hti_codec_pack_value(const struct hti_row_type *type, const void *elements, uint8_t *out);
/* The same of `n` rows of fixed width, one behind the other. */
void hti_codec_pack_values(const struct hti_row_type *type, const void *elements, size_t n, uint8_t *out);
/*
 * Packed value to the caller's elements. Strings: struct htstore_bytes that point into `packed`. HTSTORE_ECORRUPT if a
 * string value's sizes do not add up (no error struct: the caller knows the row).
 */
int hti_codec_unpack_value(const struct hti_row_type *type, const void *packed, size_t size, void *elements);
/* Are packed values, or keys, the same bytes as the caller's elements? For strings: keys yes, values no. */
bool hti_codec_values_are_native(const struct hti_row_type *type);
bool hti_codec_keys_are_native(const struct hti_row_type *type);
/* Is this a well-formed packed value of the type? For everything that comes from files. */
bool hti_codec_value_is_valid(const struct hti_row_type *type, const void *packed, size_t size);
/* Are all bytes of the right size well-formed: keys and values of numbers, floats as keys excepted? */
bool hti_codec_is_always_valid(const struct hti_row_type *type);
/* Is this a well-formed, canonical packed key (bool 0/1, no NaN, no -0.0, right size)? */
bool hti_codec_key_is_valid(const struct hti_row_type *type, const void *packed, size_t size);

/* --- packed <-> stored --- */

bool hti_codec_key_is_long(const struct hti_row_type *type, size_t key_size);
/* Returns the size of the stored key. */
size_t hti_codec_store_key(const struct hti_row_type *type, const void *key, size_t key_size,
                           uint8_t out[HTI_STORED_KEY_MAX]);
/*
 * Ordered keys: the stored form of keys of fixed width, as numbers: their bytes are the first ones of the number in big-endian
 * order, zeros follow. And the packed key of one.
 */
void hti_codec_order_keys(const struct hti_row_type *type, const uint8_t *packed, size_t n, uint64_t *ordered);
void hti_codec_key_of_order(const struct hti_row_type *type, uint64_t ordered, uint8_t *packed);
/* Size of the stored row. */
size_t hti_codec_stored_size(const struct hti_row_type *type, const struct hti_row *row);
/* Writes hti_codec_stored_size() bytes. `hash` is hti_hash_row() of the row. */
void hti_codec_store_row(const struct hti_row_type *type, uint64_t table_id, const struct hti_row *row,
                         struct hti_hash128 hash, uint8_t *out);
/*
 * Take a stored key and row apart and verify them: sizes, key form, checksum. row->key points to `key_space`
 * (fixed keys), into `stored_key` (short strings) or into `stored` (long ones). Returns 0 or HTSTORE_ECORRUPT.
 */
int hti_codec_load_row(const struct hti_row_type *type, uint64_t table_id, const void *stored_key,
                       size_t stored_key_size, const void *stored, size_t stored_size, uint8_t key_space[8],
                       struct hti_row *row, struct hti_hash128 *hash);
/*
 * The same without verification, for subtracting from a digest whatever the page holds. If it cannot even be taken apart,
 * the row has the stored key as key and all stored bytes as value.
 */
void hti_codec_peek_row(const struct hti_row_type *type, const void *stored_key, size_t stored_key_size,
                        const void *stored, size_t stored_size, uint8_t key_space[8], struct hti_row *row);

/* The lookup key of a packed key: `key` itself, or the stored key written to `space`. Returns a pointer, sets *size. */
const void *hti_codec_lookup_key(const struct hti_row_type *type, const void *key, size_t key_size,
                                 uint8_t space[HTI_STORED_KEY_MAX], size_t *size);

/* Tests: keep only these bits of the hash of long keys, so that collisions can be made. ~0 restores. */
void hti_codec_test_hash_mask(uint64_t mask);

#endif
