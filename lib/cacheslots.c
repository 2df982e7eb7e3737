/* cacheslots: hides the bytes of a slot, and where hashes come from. */
#include "cacheslots.h"

#include <stdatomic.h>

#include "htstore.h"

#define MAX_FIXED 48u /* key and value up to so many bytes lie in the slot */
#define MAX_TEXT_VALUE 16u

static _Atomic bool flooding; /* tests */

void hti_cache_test_flood(bool on)
{
    atomic_store(&flooding, on);
}

/* --- layout --- */

static uint32_t round_up(uint32_t size, uint32_t unit)
{
    return (size + unit - 1) / unit * unit;
}

void hti_cacheslots_init(struct hti_cache *cache, const struct hti_row_type *type, enum hti_cache_kind kind)
{
    cache->type = *type;
    cache->kind = kind;
    const uint32_t key_size = type->key_size;

    if (key_size > 0 && type->value_is_fixed && type->value_size <= MAX_FIXED - key_size) {
        const uint32_t size = key_size + type->value_size;
        cache->layout = HTI_LAYOUT_FIXED;
        cache->value_at = key_size;
        cache->stride = round_up(size, size >= 8 ? 8 : key_size);
    } else if (key_size > 0 && type->value_is_fixed) {
        cache->layout = HTI_LAYOUT_WIDE;
        cache->value_at = key_size;
        cache->stride = round_up(key_size + 4, 4);
    } else if (key_size == 0 && type->value_is_fixed && type->value_size <= MAX_TEXT_VALUE) {
        cache->layout = HTI_LAYOUT_TEXT;
        cache->value_at = HTI_TEXT_VALUE_AT;
        cache->stride = round_up(HTI_TEXT_VALUE_AT + type->value_size, 4);
    } else {
        cache->layout = HTI_LAYOUT_CELL;
        cache->stride = 8;
    }
    hti_heap_init(&cache->heap, cache->layout == HTI_LAYOUT_WIDE && type->value_size % 64 == 0 ? 64 : 8);
}

void hti_cacheslots_draw_hash(struct hti_cache_arrays *arrays, unsigned n_floods)
{
    hti_hash_random(&arrays->secret, sizeof arrays->secret);
    hti_hash_random(&arrays->seed, sizeof arrays->seed);
    hti_hash_random(&arrays->multiplier, sizeof arrays->multiplier);
    arrays->multiplier |= 1;
    if (atomic_load(&flooding))
        arrays->multiplier = 0;
    arrays->strong = n_floods >= 2;
}

void hti_cacheslots_release(struct hti_cache_arrays *arrays)
{
    hti_region_free(&arrays->groups);
    hti_region_free(&arrays->slots);
    hti_region_free(&arrays->states);
}

int hti_cacheslots_make(const struct hti_cache *cache, uint64_t n_groups, struct hti_cache_arrays *arrays)
{
    const uint64_t n_slots = n_groups * HTI_GROUP_SLOTS;

    arrays->n_groups = n_groups;
    arrays->groups = hti_region_new((size_t)(n_groups * HTI_GROUP_SIZE), HTI_REGION_DENSE);
    arrays->slots = hti_region_new((size_t)(n_slots * cache->stride), HTI_REGION_DENSE);
    if (cache->kind != HTI_CACHE_COMPLETE)
        arrays->states = hti_region_new((size_t)n_slots, HTI_REGION_DENSE);
    if (arrays->groups.data && arrays->slots.data && (cache->kind == HTI_CACHE_COMPLETE || arrays->states.data))
        return 0;
    hti_cacheslots_release(arrays);
    return HTSTORE_ENOMEM;
}

/* --- keys --- */

uint64_t hti_cache_hash_bytes(const struct hti_cache_arrays *arrays, const struct hti_row_type *type, const void *key,
                              size_t key_size)
{
    uint8_t space[HTI_STORED_KEY_MAX];
    size_t size;
    const void *lookup = hti_codec_lookup_key(type, key, key_size, space, &size);

    return hti_hash_keyed(&arrays->secret, lookup, size);
}

static bool have_one_form(const struct hti_row_type *type, const void *x, size_t x_size, const void *y, size_t y_size)
{
    uint8_t a[HTI_STORED_KEY_MAX], b[HTI_STORED_KEY_MAX];

    if (!hti_codec_key_is_long(type, x_size) || !hti_codec_key_is_long(type, y_size))
        return false;
    const size_t n = hti_codec_store_key(type, x, x_size, a);
    return n == hti_codec_store_key(type, y, y_size, b) && memcmp(a, b, n) == 0;
}

/* The key of a slot; for strings. */
const uint8_t *hti_cacheslots_string_key(const struct hti_cache *cache, const uint8_t *slot, size_t *size)
{
    if (cache->layout == HTI_LAYOUT_CELL) {
        const uint8_t *cell = hti_heap_at(&cache->heap, hti_load_native32(slot + 4));
        *size = hti_load_native32(cell);
        return cell + HTI_CELL_HEAD;
    }
    *size = hti_load_native32(slot);
    if (*size <= HTI_TEXT_INLINE)
        return slot + HTI_TEXT_KEY_AT;
    return hti_heap_at(&cache->heap, hti_load_native32(slot + HTI_TEXT_KEY_AT));
}

uint32_t hti_cacheslots_hash_bits(const struct hti_cache *cache, const uint8_t *slot)
{
    return hti_load_native32(cache->layout == HTI_LAYOUT_CELL ? slot : slot + 4);
}

bool hti_cache_matches(const struct hti_cache *cache, const uint8_t *slot, const void *key, size_t key_size,
                       uint64_t hash, bool *collide)
{
    size_t size;

    *collide = false;
    if (cache->layout == HTI_LAYOUT_FIXED || cache->layout == HTI_LAYOUT_WIDE)
        return hti_cache_load(slot, cache->type.key_size) == hti_cache_load(key, cache->type.key_size);
    if (hti_cacheslots_hash_bits(cache, slot) != (uint32_t)(hash >> 32))
        return false;
    const uint8_t *own = hti_cacheslots_string_key(cache, slot, &size);
    if (size == key_size && (size == 0 || memcmp(own, key, size) == 0))
        return true;
    *collide = have_one_form(&cache->type, own, size, key, key_size); /* one place in LMDB, so one entry here */
    return *collide;
}

enum hti_cache_state hti_cache_read(const struct hti_cache *cache, uint64_t number, const void **value,
                                    size_t *value_size)
{
    const uint8_t *slot = hti_cache_slot(&cache->arrays, number, cache->stride);

    if (cache->kind != HTI_CACHE_COMPLETE) {
        const uint8_t state = hti_cache_state_of(cache, number);
        if (cache->kind == HTI_CACHE_BOUNDED)
            hti_cache_touch(cache, number, state);
        if (state & HTI_STATE_ABSENT)
            return HTI_CACHE_ABSENT;
    }
    *value_size = cache->type.value_size;
    if (cache->layout == HTI_LAYOUT_FIXED || cache->layout == HTI_LAYOUT_TEXT) {
        *value = slot + cache->value_at;
    } else if (cache->layout == HTI_LAYOUT_WIDE) {
        *value = hti_heap_at(&cache->heap, hti_load_native32(slot + cache->value_at));
    } else {
        const uint8_t *cell = hti_heap_at(&cache->heap, hti_load_native32(slot + 4));
        *value_size = hti_load_native32(cell + 4);
        *value = cell + HTI_CELL_HEAD + hti_load_native32(cell);
    }
    return HTI_CACHE_PRESENT;
}

/* --- contents of a slot --- */

size_t hti_cacheslots_value_bytes(const struct hti_cache *cache, size_t key_size, size_t value_size)
{
    switch (cache->layout) {
    case HTI_LAYOUT_FIXED:
        return 0;
    case HTI_LAYOUT_WIDE:
        return value_size;
    case HTI_LAYOUT_TEXT:
        return key_size > HTI_TEXT_INLINE ? key_size : 0;
    case HTI_LAYOUT_CELL:
        break;
    }
    return HTI_CELL_HEAD + key_size + value_size;
}

static void copy_bytes(void *out, const void *in, size_t size)
{
    if (size > 0)
        memcpy(out, in, size);
}

static void fill_wide(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row)
{
    uint32_t item = HTI_NO_ITEM;

    memcpy(slot, row->key, cache->type.key_size);
    if (row->value) {
        item = hti_heap_alloc(&cache->heap, cache->type.value_size);
        memcpy(hti_heap_at(&cache->heap, item), row->value, cache->type.value_size);
    }
    hti_store_native32(slot + cache->value_at, item);
}

static void fill_text(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row, uint64_t hash)
{
    hti_store_native32(slot, (uint32_t)row->key_size);
    hti_store_native32(slot + 4, (uint32_t)(hash >> 32));
    if (row->key_size <= HTI_TEXT_INLINE) {
        copy_bytes(slot + HTI_TEXT_KEY_AT, row->key, row->key_size);
    } else {
        const uint32_t item = hti_heap_alloc(&cache->heap, row->key_size);
        memcpy(hti_heap_at(&cache->heap, item), row->key, row->key_size);
        hti_store_native32(slot + HTI_TEXT_KEY_AT, item);
    }
    if (row->value)
        copy_bytes(slot + cache->value_at, row->value, cache->type.value_size);
}

static void fill_cell(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row, uint64_t hash)
{
    const size_t value_size = row->value ? row->value_size : 0;
    const uint32_t item = hti_heap_alloc(&cache->heap, HTI_CELL_HEAD + row->key_size + value_size);
    uint8_t *cell = hti_heap_at(&cache->heap, item);

    hti_store_native32(cell, (uint32_t)row->key_size);
    hti_store_native32(cell + 4, (uint32_t)value_size);
    copy_bytes(cell + HTI_CELL_HEAD, row->key, row->key_size);
    copy_bytes(cell + HTI_CELL_HEAD + row->key_size, row->value, value_size);
    hti_store_native32(slot, (uint32_t)(hash >> 32));
    hti_store_native32(slot + 4, item);
}

void hti_cacheslots_fill(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row, uint64_t hash)
{
    switch (cache->layout) {
    case HTI_LAYOUT_FIXED:
        memcpy(slot, row->key, cache->type.key_size);
        if (row->value)
            copy_bytes(slot + cache->value_at, row->value, cache->type.value_size);
        break;
    case HTI_LAYOUT_WIDE:
        fill_wide(cache, slot, row);
        break;
    case HTI_LAYOUT_TEXT:
        fill_text(cache, slot, row, hash);
        break;
    case HTI_LAYOUT_CELL:
        fill_cell(cache, slot, row, hash);
        break;
    }
}

/* Give back what the slot has in the heap. */
void hti_cacheslots_empty(struct hti_cache *cache, const uint8_t *slot)
{
    if (cache->layout == HTI_LAYOUT_WIDE) {
        const uint32_t item = hti_load_native32(slot + cache->value_at);
        if (item != HTI_NO_ITEM)
            hti_heap_free(&cache->heap, item, cache->type.value_size);
    } else if (cache->layout == HTI_LAYOUT_TEXT && hti_load_native32(slot) > HTI_TEXT_INLINE) {
        hti_heap_free(&cache->heap, hti_load_native32(slot + HTI_TEXT_KEY_AT), hti_load_native32(slot));
    } else if (cache->layout == HTI_LAYOUT_CELL) {
        const uint32_t item = hti_load_native32(slot + 4);
        const uint8_t *cell = hti_heap_at(&cache->heap, item);
        hti_heap_free(&cache->heap, item,
                      HTI_CELL_HEAD + (size_t)hti_load_native32(cell) + hti_load_native32(cell + 4));
    }
}

/* A slot whose key has not changed, and whose value has its place: no need to empty it. */
bool hti_cacheslots_overwrite(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row)
{
    if (cache->layout == HTI_LAYOUT_CELL)
        return false;
    if (cache->layout != HTI_LAYOUT_WIDE) {
        if (row->value)
            copy_bytes(slot + cache->value_at, row->value, cache->type.value_size);
        return true;
    }
    const uint32_t item = hti_load_native32(slot + cache->value_at);
    if (!row->value || item == HTI_NO_ITEM)
        return false;
    memcpy(hti_heap_at(&cache->heap, item), row->value, cache->type.value_size);
    return true;
}

/* --- places --- */

void hti_cacheslots_set_state(struct hti_cache *cache, uint64_t slot, bool absent, unsigned used)
{
    if (cache->kind != HTI_CACHE_COMPLETE)
        ((uint8_t *)cache->arrays.states.data)[slot] =
            (uint8_t)((absent ? HTI_STATE_ABSENT : 0) | (used & HTI_STATE_USED));
}

/* The first empty slot from the home of a hash on; groups that are passed take note. */
uint64_t hti_cacheslots_take(struct hti_cache_arrays *a, uint64_t hash, uint64_t *n_passed)
{
    uint64_t at = hti_cache_home(a, hash);
    uint32_t empty;

    for (*n_passed = 0; (empty = hti_group_empty(hti_cache_group(a, at))) == 0; ++*n_passed) {
        hti_cache_group(a, at)[HTI_GROUP_PASSED] |= hti_group_bit(hti_cache_tag(hash));
        at = at + 1 < a->n_groups ? at + 1 : 0;
    }
    const unsigned i = (unsigned)__builtin_ctz(empty);
    hti_cache_group(a, at)[i] = hti_cache_tag(hash);
    return at * HTI_GROUP_SLOTS + i;
}

uint64_t hti_cacheslots_hash(const struct hti_cache *cache, const uint8_t *slot)
{
    if (cache->layout == HTI_LAYOUT_FIXED || cache->layout == HTI_LAYOUT_WIDE)
        return hti_cache_hash(cache, slot, cache->type.key_size);
    return (uint64_t)hti_cacheslots_hash_bits(cache, slot) << 32; /* enough for its home */
}
