/* hash: the only user of libxxhash. On-disk hashes have fixed public seeds; in-memory hashes are keyed by a secret. */
#ifndef HTI_HASH_H
#define HTI_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HTI_HASH_ROW_SEED UINT64_C(0x68747374726f7731)

struct hti_hash128 {
    uint64_t low, high;
};

/* XXH3-64 with a seed. On disk: journal and catalogue checksums. */
uint64_t hti_hash64(const void *data, size_t size, uint64_t seed);

/* XXH3-128, seed 0. On disk: the stored form of long keys. */
struct hti_hash128 hti_hash128(const void *data, size_t size);

/*
 * Row hash: XXH3-128 (seed 0x68747374726f7731, "htstrow1") over u32 little-endian key size, key, value. `key` is the
 * packed key (fixed width: little-endian canonical bytes; string: its bytes), `value` the packed value. No allocation.
 */
struct hti_hash128 hti_hash_row(const void *key, size_t key_size, const void *value, size_t value_size);

/* The same of a row whose key and value come in parts. new: NULL = no memory. */
struct hti_row_hasher;
struct hti_row_hasher *hti_row_hasher_new(size_t key_size);
void hti_row_hasher_add(struct hti_row_hasher *hasher, const void *data, size_t size);
struct hti_hash128 hti_row_hasher_result(const struct hti_row_hasher *hasher);
void hti_row_hasher_free(struct hti_row_hasher *hasher);

/*
 * Row checksum: 32 bits of the row hash bound to a table:
 * x = low ^ (high * 0x9E3779B97F4A7C15) ^ (table_id * 0xD6E8FEB86659FD93); x ^= x >> 32; x *= 0xD6E8FEB86659FD93;
 * x ^= x >> 32; the low 32 bits.
 */
static inline uint32_t hti_hash_row_checksum(struct hti_hash128 row, uint64_t table_id)
{
    const uint64_t mix = UINT64_C(0xD6E8FEB86659FD93);
    uint64_t x = row.low ^ (row.high * UINT64_C(0x9E3779B97F4A7C15)) ^ (table_id * mix);

    x ^= x >> 32;
    x *= mix;
    x ^= x >> 32;
    return (uint32_t)x;
}

/* Digest of a multiset of rows: the sum of row hashes modulo 2^128. Order-independent, detects accidents, not attacks. */
static inline void hti_digest_add(struct hti_hash128 *digest, struct hti_hash128 row)
{
    digest->low += row.low;
    digest->high += row.high + (digest->low < row.low);
}
void hti_digest_subtract(struct hti_hash128 *digest, struct hti_hash128 row);

/* Secret of an in-memory hash: random, never stored. */
#define HTI_HASH_SECRET_SIZE 192
struct hti_hash_secret {
    uint8_t bytes[HTI_HASH_SECRET_SIZE];
};
void hti_hash_random(void *out, size_t size); /* random bytes from getrandom, at worst from clock and addresses */
uint64_t hti_hash_keyed(const struct hti_hash_secret *secret, const void *data, size_t size);

unsigned hti_hash_version(void); /* of libxxhash: major * 10000 + minor * 100 + release */

#endif
