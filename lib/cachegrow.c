/* cachegrow: hides how room is made: when the arrays grow, how rows move to larger ones, and how a flood is cured. */
#include "cacheslots.h"

#include "htstore.h"
#include "mem.h"

#define FULL_EIGHTHS 7u /* of the slots may be used before the arrays grow */
#define SMALL_GROUPS 4096u /* below, arrays double; above, they grow by a fifth */

struct hti_cache_growth {
    struct hti_cache_arrays arrays; /* before the switch the new ones, then the old ones */
    bool cures_flood;
};

static uint64_t room_of(uint64_t n_groups)
{
    return n_groups * HTI_GROUP_SLOTS / 8 * FULL_EIGHTHS;
}

static bool slots_suffice(const struct hti_cache *cache, uint64_t n)
{
    const uint64_t room = room_of(cache->arrays.n_groups);

    if (cache->kind == HTI_CACHE_BOUNDED)
        return true;
    return !cache->flooded && n <= room && cache->n_entries <= room - n;
}

bool hti_cache_has_room(const struct hti_cache *cache, uint64_t n, uint64_t bytes)
{
    return slots_suffice(cache, n) && hti_heap_has_room(&cache->heap, bytes);
}

static uint64_t groups_for(const struct hti_cache *cache, uint64_t n)
{
    const uint64_t now = cache->arrays.n_groups;
    const uint64_t step = now < SMALL_GROUPS ? now * 2 : now + now / 5;
    const uint64_t needed = (cache->n_entries + n) / HTI_ROOM_PER_GROUP + 1;

    if (cache->flooded && room_of(now) >= cache->n_entries + n)
        return now;
    return needed > step ? needed : step;
}

/* The hash that the key of a slot has by the secrets of `arrays`, which are not those of the cache. */
static uint64_t rehash_slot(const struct hti_cache *cache, const struct hti_cache_arrays *arrays, const uint8_t *slot)
{
    const void *key = slot;
    size_t size = cache->type.key_size;

    if (cache->layout == HTI_LAYOUT_CELL || cache->layout == HTI_LAYOUT_TEXT)
        key = hti_cacheslots_string_key(cache, slot, &size);
    if (cache->type.key_size > 0 && !arrays->strong)
        return hti_cache_mix(arrays, hti_cache_load(key, size));
    return hti_cache_hash_bytes(arrays, &cache->type, key, size);
}

static void set_slot_hash(const struct hti_cache *cache, uint8_t *slot, uint64_t hash)
{
    if (cache->layout == HTI_LAYOUT_TEXT)
        hti_store_native32(slot + 4, (uint32_t)(hash >> 32));
    else if (cache->layout == HTI_LAYOUT_CELL)
        hti_store_native32(slot, (uint32_t)(hash >> 32));
}

static void move_slot(const struct hti_cache *cache, uint64_t number, uint8_t tag, struct hti_cache_arrays *to,
                      bool rehash)
{
    const uint8_t *slot = hti_cache_slot(&cache->arrays, number, cache->stride);
    const uint64_t hash = rehash ? rehash_slot(cache, to, slot) : hti_cacheslots_hash(cache, slot) | (tag & 0x7fu);
    uint64_t n_passed;
    const uint64_t target = hti_cacheslots_take(to, hash, &n_passed);
    uint8_t *place = hti_cache_slot(to, target, cache->stride);

    memcpy(place, slot, cache->stride);
    if (rehash)
        set_slot_hash(cache, place, hash);
    if (cache->kind != HTI_CACHE_COMPLETE)
        ((uint8_t *)to->states.data)[target] = hti_cache_state_of(cache, number);
}

/*
 * Groups are visited in order, and the order of homes is that of hashes: both arrays are walked from front to back, so
 * that moving a row costs a few ns whatever the size.
 */
static void move_rows(const struct hti_cache *cache, struct hti_cache_arrays *to, bool rehash)
{
    const struct hti_cache_arrays *from = &cache->arrays;

    for (uint64_t group = 0; group < from->n_groups; group++) {
        const uint8_t *tags = hti_cache_group(from, group);
        for (uint32_t full = ~hti_group_empty(tags) & HTI_GROUP_MASK; full != 0; full &= full - 1) {
            const unsigned i = (unsigned)__builtin_ctz(full);
            move_slot(cache, group * HTI_GROUP_SLOTS + i, tags[i], to, rehash);
        }
    }
}

static int grow_slots(const struct hti_cache *cache, uint64_t n, struct hti_cache_growth **out)
{
    struct hti_cache_growth *growth;
    uint64_t n_groups;

    if (n > HTI_MAX_GROUPS * HTI_ROOM_PER_GROUP || (n_groups = groups_for(cache, n)) > HTI_MAX_GROUPS)
        return HTSTORE_ENOMEM;
    growth = hti_mem_zalloc(sizeof *growth);
    if (!growth)
        return HTSTORE_ENOMEM;
    growth->arrays.seed = cache->arrays.seed;
    growth->arrays.multiplier = cache->arrays.multiplier;
    growth->arrays.secret = cache->arrays.secret;
    growth->arrays.strong = cache->arrays.strong;
    if (cache->flooded)
        hti_cacheslots_draw_hash(&growth->arrays, cache->n_floods + 1);
    growth->cures_flood = cache->flooded;
    if (hti_cacheslots_make(cache, n_groups, &growth->arrays) != 0) {
        hti_mem_free(growth);
        return HTSTORE_ENOMEM;
    }
    move_rows(cache, &growth->arrays, cache->flooded);
    *out = growth;
    return 0;
}

int hti_cache_grow(struct hti_cache *cache, uint64_t n, uint64_t bytes, struct hti_cache_growth **growth)
{
    const int rc = hti_heap_reserve(&cache->heap, bytes);

    *growth = NULL;
    if (rc != 0 || slots_suffice(cache, n))
        return rc;
    return grow_slots(cache, n, growth);
}

void hti_cache_switch(struct hti_cache *cache, struct hti_cache_growth *growth)
{
    if (!growth)
        return;
    const struct hti_cache_arrays old = cache->arrays;
    cache->arrays = growth->arrays;
    growth->arrays = old;
    if (growth->cures_flood) {
        cache->flooded = false;
        cache->most_passed = 0;
        cache->n_floods++;
    }
}

void hti_cache_growth_free(struct hti_cache_growth *growth)
{
    if (!growth)
        return;
    hti_cacheslots_release(&growth->arrays);
    hti_mem_free(growth);
}

int hti_cache_reserve(struct hti_cache *cache, uint64_t n, uint64_t bytes)
{
    struct hti_cache_growth *growth;
    int rc;

    if (hti_cache_has_room(cache, n, bytes))
        return 0;
    rc = hti_cache_grow(cache, n, bytes, &growth);
    hti_cache_switch(cache, growth);
    hti_cache_growth_free(growth);
    return rc;
}
