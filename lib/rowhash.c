/* rowhash: hides that libxxhash is compiled in, so that a size known beforehand leaves some multiplications of its code. */
#include "rowhash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline __attribute__((always_inline)) void hash_rows(const uint8_t *rows, size_t size, size_t n,
                                                            struct hti_hash128 *hashes)
{
    for (size_t i = 0; i < n; i++) {
        const XXH128_hash_t hash = XXH3_128bits_withSeed(rows + i * size, size, HTI_HASH_ROW_SEED);
        hashes[i] = (struct hti_hash128){ .low = hash.low64, .high = hash.high64 };
    }
}

void hti_rowhash_many(const uint8_t *rows, size_t size, size_t n, struct hti_hash128 *hashes)
{
    switch (size) {
    case 12: /* keys and values of 4 or 8 bytes */
        hash_rows(rows, 12, n, hashes);
        break;
    case 16:
        hash_rows(rows, 16, n, hashes);
        break;
    case 20:
        hash_rows(rows, 20, n, hashes);
        break;
    default:
        hash_rows(rows, size, n, hashes);
    }
}
