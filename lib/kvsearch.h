/*
 * kvsearch: many keys looked up in one tree of an LMDB file at once, in the map of the file.
 *
 * A search in LMDB waits for memory some twenty times, once after the other: three or four pages, and on each a binary
 * search. Here a group of keys is searched side by side: each step fetches what the next one of its key needs, and goes on
 * with the other keys meanwhile. Pages of a state do not change while a read transaction of it is open.
 *
 * Whatever the bytes are, nothing outside the pages is read; what looks wrong is left to LMDB, which knows how to say so.
 */
#ifndef HTI_KVSEARCH_H
#define HTI_KVSEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvpage.h"

#define HTI_KVSEARCH_KEYS 32u /* searched side by side */

struct hti_kvsearch {
    const uint8_t *map; /* page 0 */
    uint64_t n_pages; /* that may be read */
    uint32_t page_size;
    uint64_t root;
};

enum hti_kvsearch_result {
    HTI_KVSEARCH_FOUND = 0,
    HTI_KVSEARCH_ABSENT = 1,
    HTI_KVSEARCH_ASK = 2 /* a page looks wrong: ask LMDB */
};

struct hti_kvsearch_key {
    const uint8_t *key; /* stored form */
    size_t key_size;
    enum hti_kvsearch_result result;
    const uint8_t *value; /* [out] in the map */
    size_t value_size;
};

/*
 * Find the map by the address of an entry of a leaf in it. False: it does not look like one; do without.
 */
bool hti_kvsearch_init(struct hti_kvsearch *search, const void *entry, uint32_t page_size, uint64_t n_pages,
                       const struct hti_kvpage_tree *tree);
void hti_kvsearch_find(const struct hti_kvsearch *search, struct hti_kvsearch_key *keys, unsigned n);

#endif
