/*
 * cache: rows in memory, found by key: the resident contents of a table, or what is known of some of its keys.
 *
 * Not synchronised: the store lets readers in together and the writer alone. A put never fails once room was reserved
 * and, where the type needs them, cells were made.
 */
#ifndef HTI_CACHE_H
#define HTI_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec.h"

struct hti_cache;

enum hti_cache_state {
    HTI_CACHE_MISS = 0, /* nothing is known of the key */
    HTI_CACHE_PRESENT = 1,
    HTI_CACHE_ABSENT = 2, /* known to be absent, or of one stored form with a key that is; the two share an entry */
    HTI_CACHE_COLLISION = 3 /* another long key has the same stored form; see codec.h */
};

int hti_cache_new(const struct hti_row_type *type, struct hti_cache **cache); /* 0 or HTSTORE_ENOMEM; type is copied */
void hti_cache_free(struct hti_cache *cache);
uint64_t hti_cache_present(const struct hti_cache *cache); /* rows that are present */
uint64_t hti_cache_entries(const struct hti_cache *cache); /* present and absent ones */
uint64_t hti_cache_bytes(const struct hti_cache *cache); /* memory held */

/* Make sure that `n` entries can be added without failing. HTSTORE_ENOMEM leaves the cache as it was. */
int hti_cache_reserve(struct hti_cache *cache, uint64_t n);
/* Would hti_cache_reserve() have to move the entries? */
bool hti_cache_has_room(const struct hti_cache *cache, uint64_t n);

/* Rows that are too large or too variable to lie in a slot live in a cell each, made before they are put. */
bool hti_cache_uses_cells(const struct hti_row_type *type);
void *hti_cache_cell_new(const struct hti_row *row); /* NULL: no memory */
void hti_cache_cell_free(void *cell);

/* Keys are packed keys. On HTI_CACHE_PRESENT *value and *value_size are set; valid until the next change. */
enum hti_cache_state hti_cache_find(const struct hti_cache *cache, const void *key, size_t key_size, const void **value,
                                    size_t *value_size);
/*
 * Set a key to a row, or to absent (row->value NULL). `cell` comes from hti_cache_cell_new() of the same row where cells
 * are used, else NULL; the cache takes it. Returns what was known before; never HTI_CACHE_COLLISION, which callers exclude.
 */
enum hti_cache_state hti_cache_put(struct hti_cache *cache, const struct hti_row *row, void *cell);
/* Forget a key. Returns what was known before. */
enum hti_cache_state hti_cache_remove(struct hti_cache *cache, const void *key, size_t key_size);
/* Forget all; keeps room. */
void hti_cache_clear(struct hti_cache *cache);

#endif
