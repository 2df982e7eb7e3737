/*
 * cacheslots: the layout of a cache, how a key is hashed and compared, and what its slot holds. For cache, cachegrow and probe
 * alone.
 */
#ifndef HTI_CACHESLOTS_H
#define HTI_CACHESLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "cache.h"
#include "group.h"
#include "hash.h"
#include "heap.h"

enum hti_cache_layout {
    HTI_LAYOUT_FIXED, /* key, value */
    HTI_LAYOUT_WIDE, /* key, u32 item of the value */
    HTI_LAYOUT_TEXT, /* u32 size, u32 hash, 12 bytes of key or u32 item of it, value */
    HTI_LAYOUT_CELL /* u32 hash, u32 item: u32 sizes of key and value, both */
};

#define HTI_TEXT_INLINE 12u
#define HTI_TEXT_KEY_AT 8u
#define HTI_TEXT_VALUE_AT (HTI_TEXT_KEY_AT + HTI_TEXT_INLINE)
#define HTI_CELL_HEAD 8u
#define HTI_NO_ITEM UINT32_MAX

/* A byte of state for each slot, in caches that are not complete. */
#define HTI_STATE_ABSENT 1u
#define HTI_STATE_USED 6u /* two bits: how lately it was asked for */
#define HTI_STATE_USED_ONE 2u

/* What growing replaces. */
struct hti_cache_arrays {
    struct hti_region groups, slots, states;
    uint64_t n_groups; /* below 2^32 */
    uint64_t seed, multiplier; /* of fixed keys */
    struct hti_hash_secret secret; /* of strings, and of fixed keys once `strong` */
    bool strong;
};

struct hti_cache {
    struct hti_cache_arrays arrays;
    struct hti_row_type type;
    enum hti_cache_kind kind;
    enum hti_cache_layout layout;
    uint32_t stride; /* bytes of a slot */
    uint32_t value_at; /* in the slot: of the value, or of its item */
    uint64_t n_entries;
    uint64_t n_present;
    struct hti_heap heap;
    bool flooded; /* keys meet more often than chance allows: draw the hash anew when growing */
    unsigned n_floods;
    uint64_t most_passed; /* groups, by a key on its way to its slot */
    unsigned hand; /* where the next search for a slot to give up begins */
};

/*
 * The hash of a key of fixed width: a multiply of 64 by 64 bits, halves xored (the idea of wyhash). Which group a key
 * wants comes from the upper 32 bits, its tag from the lowest 7.
 */
static inline uint64_t hti_cache_mix(const struct hti_cache_arrays *arrays, uint64_t key)
{
    const unsigned __int128 product = (unsigned __int128)(key ^ arrays->seed) * arrays->multiplier;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The bytes of a key of fixed width as a number; the order of bytes does not matter, it never leaves memory. */
static inline uint64_t hti_cache_load(const void *key, size_t size)
{
    uint64_t number = 0;
    if (size == 8)
        memcpy(&number, key, 8);
    else if (size == 4)
        memcpy(&number, key, 4);
    else
        memcpy(&number, key, size);
    return number;
}

static inline uint64_t hti_cache_home(const struct hti_cache_arrays *arrays, uint64_t hash)
{
    return (hash >> 32) * arrays->n_groups >> 32;
}

static inline uint8_t hti_cache_tag(uint64_t hash)
{
    return (uint8_t)(0x80u | (hash & 0x7fu));
}

static inline uint8_t *hti_cache_group(const struct hti_cache_arrays *arrays, uint64_t group)
{
    return (uint8_t *)arrays->groups.data + group * HTI_GROUP_SIZE;
}

static inline uint8_t *hti_cache_slot(const struct hti_cache_arrays *arrays, uint64_t slot, size_t stride)
{
    return (uint8_t *)arrays->slots.data + slot * stride;
}

static inline uint32_t hti_load_native32(const void *in)
{
    uint32_t v;
    memcpy(&v, in, sizeof v);
    return v;
}

static inline void hti_store_native32(void *out, uint32_t v)
{
    memcpy(out, &v, sizeof v);
}

/* Strings, and all keys of a cache that was flooded. */
uint64_t hti_cache_hash_bytes(const struct hti_cache_arrays *arrays, const struct hti_row_type *type, const void *key,
                              size_t key_size);
/* Is the key of a slot this one? Long keys of one stored form count as the same; *collide tells. */
bool hti_cache_matches(const struct hti_cache *cache, const uint8_t *slot, const void *key, size_t key_size,
                       uint64_t hash, bool *collide);
/* The number of the slot that holds the key, from the home of its hash on; UINT64_MAX: none. */
uint64_t hti_cache_search(const struct hti_cache *cache, const void *key, size_t key_size, uint64_t hash,
                          bool *collide);
/* What a slot says, once the key is known to be in it. */
enum hti_cache_state hti_cache_read(const struct hti_cache *cache, uint64_t slot, const void **value,
                                    size_t *value_size);

static inline uint64_t hti_cache_hash(const struct hti_cache *cache, const void *key, size_t key_size)
{
    if (cache->type.key_size > 0 && !cache->arrays.strong)
        return hti_cache_mix(&cache->arrays, hti_cache_load(key, cache->type.key_size));
    return hti_cache_hash_bytes(&cache->arrays, &cache->type, key, key_size);
}

/* State bits are written by readers that are inside together: relaxed atomics, and only when they change. */
static inline uint8_t hti_cache_state_of(const struct hti_cache *cache, uint64_t slot)
{
    return __atomic_load_n((uint8_t *)cache->arrays.states.data + slot, __ATOMIC_RELAXED);
}

static inline void hti_cache_touch(const struct hti_cache *cache, uint64_t slot, uint8_t state)
{
    if ((state & HTI_STATE_USED) != HTI_STATE_USED)
        __atomic_store_n((uint8_t *)cache->arrays.states.data + slot, (uint8_t)(state | HTI_STATE_USED),
                         __ATOMIC_RELAXED);
}

static inline bool hti_cacheslots_is_absent(const struct hti_cache *cache, uint64_t slot)
{
    return cache->kind != HTI_CACHE_COMPLETE && (hti_cache_state_of(cache, slot) & HTI_STATE_ABSENT);
}

/* --- making --- */
void hti_cacheslots_init(struct hti_cache *cache, const struct hti_row_type *type, enum hti_cache_kind kind);
void hti_cacheslots_draw_hash(struct hti_cache_arrays *arrays, unsigned n_floods);
int hti_cacheslots_make(const struct hti_cache *cache, uint64_t n_groups, struct hti_cache_arrays *arrays);
void hti_cacheslots_release(struct hti_cache_arrays *arrays);

/* --- contents of a slot --- */
const uint8_t *hti_cacheslots_string_key(const struct hti_cache *cache, const uint8_t *slot, size_t *size);
uint32_t hti_cacheslots_hash_bits(const struct hti_cache *cache, const uint8_t *slot); /* text and cell: as stored */
uint64_t hti_cacheslots_hash(const struct hti_cache *cache, const uint8_t *slot); /* enough of it to find the home */
size_t hti_cacheslots_value_bytes(const struct hti_cache *cache, size_t key_size, size_t value_size); /* in the heap */
void hti_cacheslots_fill(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row, uint64_t hash);
void hti_cacheslots_empty(struct hti_cache *cache, const uint8_t *slot); /* gives back what it has in the heap */
/* Where the key is the same and the value has its place; false: empty it and fill it. */
bool hti_cacheslots_overwrite(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row);
void hti_cacheslots_set_state(struct hti_cache *cache, uint64_t slot, bool absent, unsigned used);

/* Take the first empty slot from the home of a hash on; groups that are passed take note. */
uint64_t hti_cacheslots_take(struct hti_cache_arrays *arrays, uint64_t hash, uint64_t *n_passed);

#define HTI_MAX_GROUPS ((uint64_t)1 << 31)
#define HTI_ROOM_PER_GROUP 12u /* entries for a number of rows that is known: load 0.8 */

#endif
