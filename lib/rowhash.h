/* rowhash: hashes of many rows of one size, several times as fast as one by one. */
#ifndef HTI_ROWHASH_H
#define HTI_ROWHASH_H

#include <stddef.h>
#include <stdint.h>

#include "hash.h"

/*
 * hti_hash_row() of `n` rows that stand one behind the other, each `size` bytes: u32 little-endian key size, key, value.
 * For rows of up to some hundred bytes.
 */
void hti_rowhash_many(const uint8_t *rows, size_t size, size_t n, struct hti_hash128 *hashes);

#endif
