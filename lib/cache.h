/*
 * cache: rows in memory, found by key: all rows of a table, or what is known of some of its keys.
 *
 * Not synchronised: the store lets readers in together and the writer alone. Growing is cut in two, so that readers stay in
 * while the larger arrays are filled. A put never fails once room was reserved.
 *
 * Layout (after F14 and boost::unordered_flat_map; measured in docs/performance.md): groups of 15 slots with a byte of hash
 * each (group.h), and the slots in an array of their own. By the schema a slot holds
 *   fixed  key and value,
 *   wide   key and the number of a value in the heap (heap.h),
 *   text   size and hash of a string key, up to 12 of its bytes or its number in the heap, and the value,
 *   cell   hash and number of key and value in the heap: values of variable size.
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

enum hti_cache_kind {
    HTI_CACHE_COMPLETE = 0, /* every row: a key that is not there is absent; grows */
    HTI_CACHE_PARTIAL = 1, /* some keys, which may be absent; grows */
    HTI_CACHE_BOUNDED = 2 /* some keys, which may be absent; of fixed size: a put may push out another key */
};

int hti_cache_new(const struct hti_row_type *type, enum hti_cache_kind kind,
                  struct hti_cache **cache); /* 0 or HTSTORE_ENOMEM; type is copied */
/* A bounded one of about so many bytes, for rows that take `row_bytes` beside their slots. */
int hti_cache_new_bounded(const struct hti_row_type *type, uint64_t bytes, uint64_t row_bytes,
                          struct hti_cache **cache);
/* About the memory that so many rows take, which have `row_bytes` each where they are stored. */
uint64_t hti_cache_estimate(const struct hti_row_type *type, uint64_t n_rows, uint64_t row_bytes);
void hti_cache_free(struct hti_cache *cache);
enum hti_cache_kind hti_cache_kind(const struct hti_cache *cache);
uint64_t hti_cache_present(const struct hti_cache *cache); /* rows that are present */
uint64_t hti_cache_entries(const struct hti_cache *cache); /* present and absent ones */
uint64_t hti_cache_bytes(const struct hti_cache *cache); /* memory held */
uint64_t hti_cache_mean_bytes(const struct hti_cache *cache); /* of an entry, beside its slot; 0 if there are none */

/* --- room: `n` entries whose rows take `bytes` of hti_cache_row_bytes() together --- */

bool hti_cache_uses_heap(const struct hti_cache *cache); /* may a row take more than its slot? */
/* What a row takes beside its slot; sum it up for hti_cache_reserve(). */
size_t hti_cache_row_bytes(const struct hti_cache *cache, size_t key_size, size_t value_size);
/* A row whose value alone needs memory of its own, to be reserved one by one; false for most. */
bool hti_cache_row_is_large(const struct hti_cache *cache, size_t key_size, size_t value_size);
int hti_cache_reserve_large(struct hti_cache *cache, size_t key_size, size_t value_size);
void hti_cache_drop_spares(struct hti_cache *cache); /* large rows that were reserved and not put */

bool hti_cache_has_room(const struct hti_cache *cache, uint64_t n, uint64_t bytes);
/* Readers may be inside meanwhile, writers not: make room in the heap, and larger arrays if they are needed. */
struct hti_cache_growth;
int hti_cache_grow(struct hti_cache *cache, uint64_t n, uint64_t bytes, struct hti_cache_growth **growth);
/* Alone in the section: take the larger arrays. NULL does nothing. */
void hti_cache_switch(struct hti_cache *cache, struct hti_cache_growth *growth);
void hti_cache_growth_free(struct hti_cache_growth *growth); /* afterwards: frees the old arrays, or unused new ones */
/* All of it, for a cache that nobody else uses. HTSTORE_ENOMEM leaves it as it was. */
int hti_cache_reserve(struct hti_cache *cache, uint64_t n, uint64_t bytes);
int hti_cache_reserve_row(struct hti_cache *cache, const struct hti_row *row); /* for one row, large or not */

/* --- one key. Keys are packed keys --- */

/* On HTI_CACHE_PRESENT *value and *value_size are set; valid until the next change. */
enum hti_cache_state hti_cache_find(const struct hti_cache *cache, const void *key, size_t key_size, const void **value,
                                    size_t *value_size);
/*
 * Set a key to a row, or to absent (row->value NULL; not in a complete cache). Returns what was known before; never
 * HTI_CACHE_COLLISION, which callers exclude.
 */
enum hti_cache_state hti_cache_put(struct hti_cache *cache, const struct hti_row *row);
/* The same, unless something is known of the key. */
enum hti_cache_state hti_cache_add(struct hti_cache *cache, const struct hti_row *row);
/* In a bounded cache: what was read elsewhere; a row for which there is no place is left out. */
void hti_cache_fill(struct hti_cache *cache, const struct hti_row *row);
/* In a bounded cache: the row has changed. Afterwards the cache knows the new one, or nothing. */
void hti_cache_renew(struct hti_cache *cache, const struct hti_row *row);
/* Walk all present rows: *position begins at 0. False at the end. Nothing may change meanwhile. */
bool hti_cache_next(const struct hti_cache *cache, uint64_t *position, struct hti_row *row);
/* Forget a key. Returns what was known before. */
enum hti_cache_state hti_cache_remove(struct hti_cache *cache, const void *key, size_t key_size);
/* Start to fetch what a put or removal of the key will touch: first its group, some keys later its slot. */
void hti_cache_fetch_group(const struct hti_cache *cache, const void *key, size_t key_size);
void hti_cache_fetch_slot(const struct hti_cache *cache, const void *key, size_t key_size);
/* Forget all; keeps room. */
void hti_cache_clear(struct hti_cache *cache);
/* A partial cache that knows every key of its table becomes a complete one; absent keys leave it. Alone in the section. */
void hti_cache_complete(struct hti_cache *cache);

/* Tests: full groups that the key farthest from its home has passed since the hash was drawn. */
uint64_t hti_cache_passed(const struct hti_cache *cache);
/* Tests: draw hashes so badly that all keys meet, until the cache notices. */
void hti_cache_test_flood(bool on);

#endif
