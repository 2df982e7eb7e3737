/* probe: many keys looked up in a cache at once; values of fixed width. */
#ifndef HTI_PROBE_H
#define HTI_PROBE_H

#include "cache.h"

/* The arrays are the caller's. Keys: packed, one after the other, or struct htstore_bytes for string keys. */
struct hti_probe {
    const void *keys;
    uint64_t n;
    uint8_t *values; /* [out] n packed values */
    const uint8_t *defaults; /* packed values for absent keys */
    size_t default_stride; /* bytes from one to the next; 0: one for all */
    uint8_t *found; /* [out] n, 1 where present; may be NULL */
    uint64_t *misses; /* [out] numbers of keys of which nothing is known; room for n; not for a complete cache */
    uint64_t n_misses; /* [out] */
    uint64_t n_present; /* [out] */
};
/* Fills the outputs of all keys but the misses. In a complete cache nothing is a miss. */
void hti_probe_rows(const struct hti_cache *cache, struct hti_probe *probe);

#endif
