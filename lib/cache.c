/* cache: hides an open-addressed hash table with linear probing and backward-shift deletion. */
#include "cache.h"

#include <assert.h>
#include <string.h>

#include "htstore.h"
#include "mem.h"

#define MAX_INLINE 64u /* rows up to so many bytes lie in their slot */
#define MIN_SLOTS 16u
#define MAX_SLOTS ((uint64_t)1 << 30) /* a tag holds 30 bits of the hash */
#define STATE_MASK 3u

struct cell {
    uint32_t key_size;
    uint32_t value_size;
    uint8_t bytes[]; /* key, value */
};

/* tags[i]: 0 = empty, else 30 bits of the hash above two bits of state. slots: rows, or pointers to cells. */
struct hti_cache {
    struct hti_row_type type;
    struct hti_hash_secret secret;
    bool cells;
    size_t stride;
    uint64_t n_slots;
    uint64_t n_entries;
    uint64_t n_present;
    uint64_t cell_bytes;
    uint32_t *tags;
    uint8_t *slots;
};

bool hti_cache_uses_cells(const struct hti_row_type *type)
{
    return type->key_size == 0 || !type->value_is_fixed || (uint64_t)type->key_size + type->value_size > MAX_INLINE;
}

void *hti_cache_cell_new(const struct hti_row *row)
{
    struct cell *cell = hti_mem_alloc(sizeof *cell + row->key_size + row->value_size);

    if (!cell)
        return NULL;
    cell->key_size = (uint32_t)row->key_size;
    cell->value_size = (uint32_t)row->value_size;
    if (row->key_size)
        memcpy(cell->bytes, row->key, row->key_size);
    if (row->value_size)
        memcpy(cell->bytes + row->key_size, row->value, row->value_size);
    return cell;
}

void hti_cache_cell_free(void *cell)
{
    hti_mem_free(cell);
}

static int alloc_slots(struct hti_cache *cache, uint64_t n_slots, uint32_t **tags, uint8_t **slots)
{
    *tags = hti_mem_zalloc_array((size_t)n_slots, sizeof **tags);
    *slots = hti_mem_alloc_array((size_t)n_slots, cache->stride);
    if (*tags && *slots)
        return 0;
    hti_mem_free(*tags);
    hti_mem_free(*slots);
    return HTSTORE_ENOMEM;
}

int hti_cache_new(const struct hti_row_type *type, struct hti_cache **out)
{
    struct hti_cache *cache = hti_mem_zalloc(sizeof *cache);

    *out = NULL;
    if (!cache)
        return HTSTORE_ENOMEM;
    cache->type = *type;
    cache->cells = hti_cache_uses_cells(type);
    cache->stride = cache->cells ? sizeof(struct cell *) : type->key_size + type->value_size;
    cache->n_slots = MIN_SLOTS;
    hti_hash_random(&cache->secret, sizeof cache->secret);
    if (alloc_slots(cache, cache->n_slots, &cache->tags, &cache->slots) != 0) {
        hti_mem_free(cache);
        return HTSTORE_ENOMEM;
    }
    *out = cache;
    return 0;
}

static struct cell *cell_at(const struct hti_cache *cache, uint64_t slot)
{
    struct cell *cell;
    memcpy(&cell, cache->slots + slot * cache->stride, sizeof cell);
    return cell;
}

static void free_cells(struct hti_cache *cache)
{
    for (uint64_t i = 0; cache->cells && i < cache->n_slots; i++)
        if (cache->tags[i])
            hti_cache_cell_free(cell_at(cache, i));
}

void hti_cache_free(struct hti_cache *cache)
{
    if (!cache)
        return;
    free_cells(cache);
    hti_mem_free(cache->tags);
    hti_mem_free(cache->slots);
    hti_mem_free(cache);
}

uint64_t hti_cache_present(const struct hti_cache *cache)
{
    return cache->n_present;
}

uint64_t hti_cache_entries(const struct hti_cache *cache)
{
    return cache->n_entries;
}

uint64_t hti_cache_bytes(const struct hti_cache *cache)
{
    return sizeof *cache + cache->n_slots * (sizeof *cache->tags + cache->stride) + cache->cell_bytes;
}

static uint64_t home_of(uint32_t tag, uint64_t n_slots)
{
    return (tag >> 2) & (n_slots - 1);
}

/* Hash bits of a key, placed as in a tag. Long keys hash their stored form, so that colliding ones meet. */
static uint32_t tag_of(const struct hti_cache *cache, const void *key, size_t key_size)
{
    uint8_t space[HTI_STORED_KEY_MAX];
    size_t size;
    const void *lookup = hti_codec_lookup_key(&cache->type, key, key_size, space, &size);

    return (uint32_t)hti_hash_keyed(&cache->secret, lookup, size) & ~STATE_MASK;
}

/* Most entries that n_slots slots may hold: load 0.75. */
static uint64_t room_of(uint64_t n_slots)
{
    return n_slots - n_slots / 4;
}

bool hti_cache_has_room(const struct hti_cache *cache, uint64_t n)
{
    return n <= room_of(cache->n_slots) && cache->n_entries <= room_of(cache->n_slots) - n;
}

static void move_entries(struct hti_cache *cache, uint32_t *tags, uint8_t *slots, uint64_t n_slots)
{
    for (uint64_t i = 0; i < cache->n_slots; i++) {
        if (!cache->tags[i])
            continue;
        uint64_t at = home_of(cache->tags[i], n_slots);
        while (tags[at])
            at = (at + 1) & (n_slots - 1);
        tags[at] = cache->tags[i];
        memcpy(slots + at * cache->stride, cache->slots + i * cache->stride, cache->stride);
    }
}

int hti_cache_reserve(struct hti_cache *cache, uint64_t n)
{
    uint64_t n_slots = cache->n_slots;
    uint32_t *tags;
    uint8_t *slots;

    if (hti_cache_has_room(cache, n))
        return 0;
    if (n > MAX_SLOTS)
        return HTSTORE_ENOMEM;
    while (room_of(n_slots) < cache->n_entries + n)
        n_slots *= 2;
    if (n_slots > MAX_SLOTS || alloc_slots(cache, n_slots, &tags, &slots) != 0)
        return HTSTORE_ENOMEM;
    move_entries(cache, tags, slots, n_slots);
    hti_mem_free(cache->tags);
    hti_mem_free(cache->slots);
    cache->tags = tags;
    cache->slots = slots;
    cache->n_slots = n_slots;
    return 0;
}

static bool long_keys_collide(const struct hti_cache *cache, const struct cell *cell, const void *key, size_t key_size)
{
    uint8_t a[HTI_STORED_KEY_MAX], b[HTI_STORED_KEY_MAX];

    if (!hti_codec_key_is_long(&cache->type, key_size) || !hti_codec_key_is_long(&cache->type, cell->key_size))
        return false;
    const size_t n = hti_codec_store_key(&cache->type, key, key_size, a);
    return n == hti_codec_store_key(&cache->type, cell->bytes, cell->key_size, b) && memcmp(a, b, n) == 0;
}

/* Find the slot of a key. MISS: *slot is the empty slot where the probe ended. */
static enum hti_cache_state probe(const struct hti_cache *cache, const void *key, size_t key_size, uint32_t tag,
                                  uint64_t *slot)
{
    uint64_t at = home_of(tag, cache->n_slots);

    for (; cache->tags[at]; at = (at + 1) & (cache->n_slots - 1)) {
        if ((cache->tags[at] & ~STATE_MASK) != tag)
            continue;
        *slot = at;
        if (!cache->cells) {
            if (memcmp(cache->slots + at * cache->stride, key, key_size) == 0)
                return cache->tags[at] & STATE_MASK;
            continue;
        }
        const struct cell *cell = cell_at(cache, at);
        if (cell->key_size == key_size && memcmp(cell->bytes, key, key_size) == 0)
            return cache->tags[at] & STATE_MASK;
        if (long_keys_collide(cache, cell, key, key_size)) /* one place in LMDB, so one entry here */
            return (cache->tags[at] & STATE_MASK) == HTI_CACHE_PRESENT ? HTI_CACHE_COLLISION : HTI_CACHE_ABSENT;
    }
    *slot = at;
    return HTI_CACHE_MISS;
}

enum hti_cache_state hti_cache_find(const struct hti_cache *cache, const void *key, size_t key_size, const void **value,
                                    size_t *value_size)
{
    uint64_t slot;
    const enum hti_cache_state state = probe(cache, key, key_size, tag_of(cache, key, key_size), &slot);

    if (state == HTI_CACHE_PRESENT && cache->cells) {
        const struct cell *cell = cell_at(cache, slot);
        *value = cell->bytes + cell->key_size;
        *value_size = cell->value_size;
    } else if (state == HTI_CACHE_PRESENT) {
        *value = cache->slots + slot * cache->stride + cache->type.key_size;
        *value_size = cache->type.value_size;
    }
    return state;
}

static uint64_t cell_size(const struct cell *cell)
{
    return sizeof *cell + cell->key_size + cell->value_size;
}

static void store_slot(struct hti_cache *cache, uint64_t slot, const struct hti_row *row, struct cell *cell,
                       bool occupied)
{
    uint8_t *place = cache->slots + slot * cache->stride;

    if (cache->cells) {
        assert(cell);
        if (occupied) {
            struct cell *old = cell_at(cache, slot);
            cache->cell_bytes -= cell_size(old);
            hti_cache_cell_free(old);
        }
        cache->cell_bytes += cell_size(cell);
        memcpy(place, &cell, sizeof cell);
        return;
    }
    memcpy(place, row->key, cache->type.key_size);
    if (row->value && cache->type.value_size)
        memcpy(place + cache->type.key_size, row->value, cache->type.value_size);
}

enum hti_cache_state hti_cache_put(struct hti_cache *cache, const struct hti_row *row, void *cell)
{
    const uint32_t tag = tag_of(cache, row->key, row->key_size);
    const uint32_t state = row->value ? HTI_CACHE_PRESENT : HTI_CACHE_ABSENT;
    uint64_t slot;
    const enum hti_cache_state before = probe(cache, row->key, row->key_size, tag, &slot);

    assert(before != HTI_CACHE_COLLISION);
    if (before == HTI_CACHE_MISS) {
        assert(cache->n_entries < room_of(cache->n_slots));
        cache->n_entries++;
    }
    store_slot(cache, slot, row, cell, before != HTI_CACHE_MISS);
    cache->tags[slot] = tag | state;
    cache->n_present += (uint64_t)(state == HTI_CACHE_PRESENT) - (uint64_t)(before == HTI_CACHE_PRESENT);
    return before;
}

/* Move later entries of the run into the hole, so that no probe is cut short and no tombstone is left. */
static void close_hole(struct hti_cache *cache, uint64_t hole)
{
    const uint64_t mask = cache->n_slots - 1;

    for (uint64_t at = (hole + 1) & mask; cache->tags[at]; at = (at + 1) & mask) {
        const uint64_t home = home_of(cache->tags[at], cache->n_slots);
        if (((at - home) & mask) < ((at - hole) & mask))
            continue; /* its home lies behind the hole: moving it would hide it */
        cache->tags[hole] = cache->tags[at];
        memcpy(cache->slots + hole * cache->stride, cache->slots + at * cache->stride, cache->stride);
        hole = at;
    }
    cache->tags[hole] = 0;
}

enum hti_cache_state hti_cache_remove(struct hti_cache *cache, const void *key, size_t key_size)
{
    uint64_t slot;
    const enum hti_cache_state before = probe(cache, key, key_size, tag_of(cache, key, key_size), &slot);

    if (before != HTI_CACHE_PRESENT && before != HTI_CACHE_ABSENT)
        return HTI_CACHE_MISS;
    if (cache->cells) {
        struct cell *cell = cell_at(cache, slot);
        cache->cell_bytes -= cell_size(cell);
        hti_cache_cell_free(cell);
    }
    close_hole(cache, slot);
    cache->n_entries--;
    cache->n_present -= (uint64_t)(before == HTI_CACHE_PRESENT);
    return before;
}

void hti_cache_clear(struct hti_cache *cache)
{
    free_cells(cache);
    memset(cache->tags, 0, (size_t)cache->n_slots * sizeof *cache->tags);
    cache->n_entries = 0;
    cache->n_present = 0;
    cache->cell_bytes = 0;
}
