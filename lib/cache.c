/* cache: hides how rows are laid out in slots, how slots are found, freed and given up, and how the arrays grow. */
#include "cacheslots.h"

#include <assert.h>
#include <stdatomic.h>

#include "htstore.h"
#include "mem.h"

#define MIN_GROUPS 4u
#define MAX_GROUPS ((uint64_t)1 << 31)
#define FULL_EIGHTHS 7u /* of the slots may be used before the arrays grow */
#define ROOM_PER_GROUP 12u /* entries for a number of rows that is known: load 0.8 */
#define SMALL_GROUPS 4096u /* below, arrays double; above, they grow by a fifth */
#define FLOOD_GROUPS 128u /* a key that passes so many full groups did not get there by chance */
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

static void init_layout(struct hti_cache *cache, const struct hti_row_type *type, enum hti_cache_kind kind)
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

static void draw_hash(struct hti_cache_arrays *arrays, unsigned n_floods)
{
    hti_hash_random(&arrays->secret, sizeof arrays->secret);
    hti_hash_random(&arrays->seed, sizeof arrays->seed);
    hti_hash_random(&arrays->multiplier, sizeof arrays->multiplier);
    arrays->multiplier |= 1;
    if (atomic_load(&flooding))
        arrays->multiplier = 0;
    arrays->strong = n_floods >= 2;
}

static void release_arrays(struct hti_cache_arrays *arrays)
{
    hti_region_free(&arrays->groups);
    hti_region_free(&arrays->slots);
    hti_region_free(&arrays->states);
}

static int make_arrays(const struct hti_cache *cache, uint64_t n_groups, struct hti_cache_arrays *arrays)
{
    const uint64_t n_slots = n_groups * HTI_GROUP_SLOTS;

    arrays->n_groups = n_groups;
    arrays->groups = hti_region_new((size_t)(n_groups * HTI_GROUP_SIZE), HTI_REGION_DENSE);
    arrays->slots = hti_region_new((size_t)(n_slots * cache->stride), HTI_REGION_DENSE);
    if (cache->kind != HTI_CACHE_COMPLETE)
        arrays->states = hti_region_new((size_t)n_slots, HTI_REGION_DENSE);
    if (arrays->groups.data && arrays->slots.data && (cache->kind == HTI_CACHE_COMPLETE || arrays->states.data))
        return 0;
    release_arrays(arrays);
    return HTSTORE_ENOMEM;
}

static int new_cache(const struct hti_cache *layout, uint64_t n_groups, struct hti_cache **out)
{
    struct hti_cache *cache = hti_mem_zalloc(sizeof *cache);

    *out = NULL;
    if (!cache)
        return HTSTORE_ENOMEM;
    *cache = *layout;
    draw_hash(&cache->arrays, 0);
    if (make_arrays(cache, n_groups, &cache->arrays) != 0) {
        hti_mem_free(cache);
        return HTSTORE_ENOMEM;
    }
    *out = cache;
    return 0;
}

int hti_cache_new(const struct hti_row_type *type, enum hti_cache_kind kind, struct hti_cache **out)
{
    struct hti_cache layout = { 0 };

    init_layout(&layout, type, kind);
    return new_cache(&layout, MIN_GROUPS, out);
}

/* Bytes of the groups that hold n_rows rows, in a cache of the layout. */
static uint64_t group_bytes(const struct hti_cache *layout)
{
    const uint64_t state = layout->kind == HTI_CACHE_COMPLETE ? 0 : 1;
    return HTI_GROUP_SIZE + HTI_GROUP_SLOTS * (layout->stride + state);
}

int hti_cache_new_bounded(const struct hti_row_type *type, uint64_t bytes, uint64_t row_bytes, struct hti_cache **out)
{
    struct hti_cache layout = { 0 };
    uint64_t n_groups;

    init_layout(&layout, type, HTI_CACHE_BOUNDED);
    if (layout.layout == HTI_LAYOUT_FIXED)
        row_bytes = 0;
    n_groups =
        bytes > sizeof layout ? (bytes - sizeof layout) / (group_bytes(&layout) + HTI_GROUP_SLOTS * row_bytes) : 0;
    if (n_groups < 1)
        n_groups = 1;
    if (n_groups > MAX_GROUPS)
        n_groups = MAX_GROUPS;
    layout.heap.limit = n_groups * HTI_GROUP_SLOTS * row_bytes;
    return new_cache(&layout, n_groups, out);
}

uint64_t hti_cache_estimate(const struct hti_row_type *type, uint64_t n_rows, uint64_t row_bytes)
{
    struct hti_cache layout = { 0 };
    uint64_t bytes, in_heap = 0;

    init_layout(&layout, type, HTI_CACHE_COMPLETE);
    if (__builtin_mul_overflow(n_rows / ROOM_PER_GROUP + 1, group_bytes(&layout), &bytes) ||
        (layout.layout != HTI_LAYOUT_FIXED && __builtin_mul_overflow(n_rows, row_bytes, &in_heap)) ||
        __builtin_add_overflow(bytes, in_heap, &bytes))
        return UINT64_MAX;
    return bytes;
}

void hti_cache_free(struct hti_cache *cache)
{
    if (!cache)
        return;
    release_arrays(&cache->arrays);
    hti_heap_release(&cache->heap);
    hti_mem_free(cache);
}

enum hti_cache_kind hti_cache_kind(const struct hti_cache *cache)
{
    return cache->kind;
}

uint64_t hti_cache_passed(const struct hti_cache *cache)
{
    return cache->most_passed;
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
    const struct hti_cache_arrays *a = &cache->arrays;
    return sizeof *cache + a->groups.size + a->slots.size + a->states.size + hti_heap_bytes(&cache->heap);
}

uint64_t hti_cache_mean_bytes(const struct hti_cache *cache)
{
    const uint64_t bytes = cache->heap.live_bytes + atomic_load(&cache->heap.large_bytes);
    return cache->n_entries > 0 && bytes > 0 ? bytes / cache->n_entries + 1 : 0;
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
static const uint8_t *string_key(const struct hti_cache *cache, const uint8_t *slot, size_t *size)
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

static uint32_t slot_hash(const struct hti_cache *cache, const uint8_t *slot)
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
    if (slot_hash(cache, slot) != (uint32_t)(hash >> 32))
        return false;
    const uint8_t *own = string_key(cache, slot, &size);
    if (size == key_size && (size == 0 || memcmp(own, key, size) == 0))
        return true;
    *collide = have_one_form(&cache->type, own, size, key, key_size); /* one place in LMDB, so one entry here */
    return *collide;
}

/* The slots of a group and those behind it whose tag fits, until no key can lie farther on. */
struct search {
    const struct hti_cache_arrays *arrays;
    uint64_t at, n_left;
    uint32_t match; /* slots of group `at` not yet looked at */
    uint8_t tag;
};

static inline struct search search_from_home(const struct hti_cache_arrays *a, uint64_t hash)
{
    struct search s = { .arrays = a, .at = hti_cache_home(a, hash), .n_left = a->n_groups, .tag = hti_cache_tag(hash) };
    s.match = hti_group_match(hti_cache_group(a, s.at), s.tag);
    return s;
}

/* The number of the next slot; UINT64_MAX: no more. */
static inline uint64_t search_next(struct search *s)
{
    while (s->match == 0) {
        if (!(hti_cache_group(s->arrays, s->at)[HTI_GROUP_PASSED] & hti_group_bit(s->tag)) || --s->n_left == 0)
            return UINT64_MAX;
        s->at = s->at + 1 < s->arrays->n_groups ? s->at + 1 : 0;
        s->match = hti_group_match(hti_cache_group(s->arrays, s->at), s->tag);
    }
    const unsigned i = (unsigned)__builtin_ctz(s->match);
    s->match &= s->match - 1;
    return s->at * HTI_GROUP_SLOTS + i;
}

static uint64_t search_fixed(const struct hti_cache *cache, uint64_t key, uint64_t hash)
{
    struct search s = search_from_home(&cache->arrays, hash);
    uint64_t slot;

    while ((slot = search_next(&s)) != UINT64_MAX)
        if (hti_cache_load(hti_cache_slot(s.arrays, slot, cache->stride), cache->type.key_size) == key)
            break;
    return slot;
}

uint64_t hti_cache_search(const struct hti_cache *cache, const void *key, size_t key_size, uint64_t hash, bool *collide)
{
    struct search s;
    uint64_t slot;

    *collide = false;
    if (cache->type.key_size > 0 && cache->layout != HTI_LAYOUT_CELL)
        return search_fixed(cache, hti_cache_load(key, cache->type.key_size), hash);
    s = search_from_home(&cache->arrays, hash);
    while ((slot = search_next(&s)) != UINT64_MAX)
        if (hti_cache_matches(cache, hti_cache_slot(s.arrays, slot, cache->stride), key, key_size, hash, collide))
            break;
    return slot;
}

static bool is_absent(const struct hti_cache *cache, uint64_t slot)
{
    return cache->kind != HTI_CACHE_COMPLETE && (hti_cache_state_of(cache, slot) & HTI_STATE_ABSENT);
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

enum hti_cache_state hti_cache_find(const struct hti_cache *cache, const void *key, size_t key_size, const void **value,
                                    size_t *value_size)
{
    bool collide = false;
    const uint64_t slot = hti_cache_search(cache, key, key_size, hti_cache_hash(cache, key, key_size), &collide);

    if (slot == UINT64_MAX)
        return HTI_CACHE_MISS;
    if (collide)
        return is_absent(cache, slot) ? HTI_CACHE_ABSENT : HTI_CACHE_COLLISION;
    return hti_cache_read(cache, slot, value, value_size);
}

void hti_cache_fetch_group(const struct hti_cache *cache, const void *key, size_t key_size)
{
    const uint64_t home = hti_cache_home(&cache->arrays, hti_cache_hash(cache, key, key_size));

    __builtin_prefetch(hti_cache_group(&cache->arrays, home));
}

void hti_cache_fetch_slot(const struct hti_cache *cache, const void *key, size_t key_size)
{
    const uint64_t hash = hti_cache_hash(cache, key, key_size), home = hti_cache_home(&cache->arrays, hash);
    const uint8_t *group = hti_cache_group(&cache->arrays, home);
    uint32_t slots = hti_group_match(group, hti_cache_tag(hash));

    if (slots == 0)
        slots = hti_group_empty(group);
    if (slots != 0)
        __builtin_prefetch(
            hti_cache_slot(&cache->arrays, home * HTI_GROUP_SLOTS + (unsigned)__builtin_ctz(slots), cache->stride));
}

/* --- contents of a slot --- */

static size_t value_bytes(const struct hti_cache *cache, size_t key_size, size_t value_size)
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

bool hti_cache_uses_heap(const struct hti_cache *cache)
{
    return cache->layout != HTI_LAYOUT_FIXED;
}

size_t hti_cache_row_bytes(const struct hti_cache *cache, size_t key_size, size_t value_size)
{
    const size_t bytes = value_bytes(cache, key_size, value_size);
    return bytes > 0 ? hti_heap_rounded(&cache->heap, bytes) : 0;
}

bool hti_cache_row_is_large(const struct hti_cache *cache, size_t key_size, size_t value_size)
{
    return value_bytes(cache, key_size, value_size) > HTI_HEAP_ITEM_MAX;
}

int hti_cache_reserve_large(struct hti_cache *cache, size_t key_size, size_t value_size)
{
    return hti_heap_reserve_large(&cache->heap, value_bytes(cache, key_size, value_size));
}

void hti_cache_drop_spares(struct hti_cache *cache)
{
    hti_heap_drop_spares(&cache->heap);
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

static void fill_slot(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row, uint64_t hash)
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
static void empty_slot(struct hti_cache *cache, const uint8_t *slot)
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
static bool overwrite_slot(struct hti_cache *cache, uint8_t *slot, const struct hti_row *row)
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

/* --- slots --- */

static void set_state(struct hti_cache *cache, uint64_t slot, bool absent, unsigned used)
{
    if (cache->kind != HTI_CACHE_COMPLETE)
        ((uint8_t *)cache->arrays.states.data)[slot] =
            (uint8_t)((absent ? HTI_STATE_ABSENT : 0) | (used & HTI_STATE_USED));
}

/* The first empty slot from the home of a hash on; groups that are passed take note. */
static uint64_t take_slot(struct hti_cache_arrays *a, uint64_t hash, uint64_t *n_passed)
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

static uint64_t hash_of_slot(const struct hti_cache *cache, const uint8_t *slot)
{
    if (cache->layout == HTI_LAYOUT_FIXED || cache->layout == HTI_LAYOUT_WIDE)
        return hti_cache_hash(cache, slot, cache->type.key_size);
    return (uint64_t)slot_hash(cache, slot) << 32; /* enough for its home */
}

static uint64_t distance(const struct hti_cache_arrays *a, uint64_t from, uint64_t to)
{
    return to >= from ? to - from : to + a->n_groups - from;
}

/* Note the keys of group `at` in those groups of [first, first + n) that they have passed. */
static void note_passed(struct hti_cache *cache, uint64_t first, uint64_t n, uint64_t at)
{
    struct hti_cache_arrays *a = &cache->arrays;
    const uint8_t *tags = hti_cache_group(a, at);
    const uint64_t from_first = distance(a, first, at);

    for (uint32_t full = ~hti_group_empty(tags) & HTI_GROUP_MASK; full != 0; full &= full - 1) {
        const unsigned i = (unsigned)__builtin_ctz(full);
        const uint8_t *slot = hti_cache_slot(a, at * HTI_GROUP_SLOTS + i, cache->stride);
        const uint64_t moved = distance(a, hti_cache_home(a, hash_of_slot(cache, slot)), at);
        const uint64_t end = from_first < n ? from_first : n;
        for (uint64_t k = moved < from_first ? from_first - moved : 0; moved > 0 && k < end; k++)
            hti_cache_group(a, (first + k) % a->n_groups)[HTI_GROUP_PASSED] |= hti_group_bit(tags[i]);
        for (uint64_t k = from_first + a->n_groups - moved; k < n; k++) /* it went round, and passed the end of them */
            hti_cache_group(a, (first + k) % a->n_groups)[HTI_GROUP_PASSED] |= hti_group_bit(tags[i]);
    }
}

/* A key that is not at home any more leaves the groups that it passed: what they tell is gathered anew. Seldom needed. */
static void forget_passed(struct hti_cache *cache, uint64_t home, uint64_t group)
{
    struct hti_cache_arrays *a = &cache->arrays;
    const uint64_t n = distance(a, home, group);

    for (uint64_t k = 0; k < n; k++)
        hti_cache_group(a, (home + k) % a->n_groups)[HTI_GROUP_PASSED] = 0;
    for (uint64_t k = 1; k <= a->n_groups; k++) { /* the last one is `home`, for keys that went round */
        const uint64_t at = (home + k) % a->n_groups;
        if (k > n && hti_cache_group(a, (home + k - 1) % a->n_groups)[HTI_GROUP_PASSED] == 0)
            break; /* nobody went on from here */
        note_passed(cache, home, n, at);
    }
}

static void drop_slot(struct hti_cache *cache, uint64_t number)
{
    struct hti_cache_arrays *a = &cache->arrays;
    const uint8_t *slot = hti_cache_slot(a, number, cache->stride);
    const uint64_t group = number / HTI_GROUP_SLOTS, home = hti_cache_home(a, hash_of_slot(cache, slot));

    if (!is_absent(cache, number))
        cache->n_present--;
    cache->n_entries--;
    empty_slot(cache, slot);
    hti_cache_group(a, group)[number % HTI_GROUP_SLOTS] = 0;
    if (home != group)
        forget_passed(cache, home, group);
}

/* Make an empty slot in a group: an absent key goes first, then the first one found that was not used lately. */
static void evict(struct hti_cache *cache, uint64_t group)
{
    const uint32_t full = ~hti_group_empty(hti_cache_group(&cache->arrays, group)) & HTI_GROUP_MASK;
    uint8_t *states = (uint8_t *)cache->arrays.states.data + group * HTI_GROUP_SLOTS;

    for (uint32_t left = full; left != 0; left &= left - 1) {
        const unsigned i = (unsigned)__builtin_ctz(left);
        if (states[i] & HTI_STATE_ABSENT) {
            drop_slot(cache, group * HTI_GROUP_SLOTS + i);
            return;
        }
    }
    while (full != 0) {
        cache->hand = (cache->hand + 1) % HTI_GROUP_SLOTS;
        if (!(full >> cache->hand & 1))
            continue;
        if ((states[cache->hand] & HTI_STATE_USED) == 0) {
            drop_slot(cache, group * HTI_GROUP_SLOTS + cache->hand);
            return;
        }
        states[cache->hand] = (uint8_t)(states[cache->hand] - HTI_STATE_USED_ONE);
    }
}

static void insert(struct hti_cache *cache, const struct hti_row *row, uint64_t hash)
{
    struct hti_cache_arrays *a = &cache->arrays;
    uint64_t n_passed;

    if (cache->kind == HTI_CACHE_BOUNDED && hti_group_empty(hti_cache_group(a, hti_cache_home(a, hash))) == 0)
        evict(cache, hti_cache_home(a, hash));
    assert(cache->n_entries < a->n_groups * HTI_GROUP_SLOTS);
    const uint64_t slot = take_slot(a, hash, &n_passed);
    if (n_passed > cache->most_passed)
        cache->most_passed = n_passed;
    if (n_passed > FLOOD_GROUPS && cache->n_floods < 2)
        cache->flooded = true;
    fill_slot(cache, hti_cache_slot(a, slot, cache->stride), row, hash);
    set_state(cache, slot, !row->value, 0);
    cache->n_entries++;
    cache->n_present += row->value != NULL;
}

static enum hti_cache_state put(struct hti_cache *cache, const struct hti_row *row, bool replace)
{
    const uint64_t hash = hti_cache_hash(cache, row->key, row->key_size);
    bool collide = false;
    const uint64_t number = hti_cache_search(cache, row->key, row->key_size, hash, &collide);

    assert(row->value || cache->kind != HTI_CACHE_COMPLETE);
    if (number == UINT64_MAX) {
        insert(cache, row, hash);
        return HTI_CACHE_MISS;
    }
    const enum hti_cache_state before = is_absent(cache, number) ? HTI_CACHE_ABSENT : HTI_CACHE_PRESENT;
    if (!replace)
        return before;
    assert(!collide || before == HTI_CACHE_ABSENT);
    uint8_t *slot = hti_cache_slot(&cache->arrays, number, cache->stride);
    if (collide || !overwrite_slot(cache, slot, row)) {
        empty_slot(cache, slot);
        fill_slot(cache, slot, row, hash);
    }
    if (cache->kind != HTI_CACHE_COMPLETE)
        set_state(cache, number, !row->value, hti_cache_state_of(cache, number));
    cache->n_present += (uint64_t)(row->value != NULL) - (uint64_t)(before == HTI_CACHE_PRESENT);
    return before;
}

enum hti_cache_state hti_cache_put(struct hti_cache *cache, const struct hti_row *row)
{
    return put(cache, row, true);
}

enum hti_cache_state hti_cache_add(struct hti_cache *cache, const struct hti_row *row)
{
    return put(cache, row, false);
}

enum hti_cache_state hti_cache_remove(struct hti_cache *cache, const void *key, size_t key_size)
{
    bool collide = false;
    const uint64_t slot = hti_cache_search(cache, key, key_size, hti_cache_hash(cache, key, key_size), &collide);

    if (slot == UINT64_MAX || (collide && !is_absent(cache, slot)))
        return HTI_CACHE_MISS;
    const enum hti_cache_state before = is_absent(cache, slot) ? HTI_CACHE_ABSENT : HTI_CACHE_PRESENT;
    drop_slot(cache, slot);
    return before;
}

/* --- bounded caches: puts for which no room was reserved --- */

/* Is there a place in the heap for what the row needs there? Gives up another row of its group for it. */
static bool make_place(struct hti_cache *cache, const struct hti_row *row)
{
    const size_t size = value_bytes(cache, row->key_size, row->value ? row->value_size : 0);
    const uint64_t hash = hti_cache_hash(cache, row->key, row->key_size);

    if (size == 0 || hti_heap_make(&cache->heap, size))
        return true;
    if (size > HTI_HEAP_ITEM_MAX)
        return false;
    evict(cache, hti_cache_home(&cache->arrays, hash));
    return hti_heap_make(&cache->heap, size);
}

void hti_cache_fill(struct hti_cache *cache, const struct hti_row *row)
{
    assert(cache->kind == HTI_CACHE_BOUNDED);
    if (make_place(cache, row))
        put(cache, row, false);
}

void hti_cache_renew(struct hti_cache *cache, const struct hti_row *row)
{
    const uint64_t hash = hti_cache_hash(cache, row->key, row->key_size);
    bool collide = false;
    uint64_t number;

    assert(cache->kind == HTI_CACHE_BOUNDED);
    if (cache->layout == HTI_LAYOUT_FIXED) {
        put(cache, row, true);
        return;
    }
    number = hti_cache_search(cache, row->key, row->key_size, hash, &collide);
    if (number != UINT64_MAX)
        drop_slot(cache, number);
    if (row->value)
        hti_cache_fill(cache, row);
}

/* --- all slots --- */

typedef void visit_fn(struct hti_cache *cache, uint64_t slot, void *user);

static void for_each_slot(struct hti_cache *cache, visit_fn *visit, void *user)
{
    for (uint64_t group = 0; group < cache->arrays.n_groups; group++) {
        uint32_t full = ~hti_group_empty(hti_cache_group(&cache->arrays, group)) & HTI_GROUP_MASK;
        for (; full != 0; full &= full - 1)
            visit(cache, group * HTI_GROUP_SLOTS + (unsigned)__builtin_ctz(full), user);
    }
}

static void visit_large(struct hti_cache *cache, uint64_t slot, void *user)
{
    (void)user;
    empty_slot(cache, hti_cache_slot(&cache->arrays, slot, cache->stride));
}

void hti_cache_clear(struct hti_cache *cache)
{
    if (cache->heap.n_large > 0)
        for_each_slot(cache, visit_large, NULL);
    hti_heap_clear(&cache->heap);
    memset(cache->arrays.groups.data, 0, cache->arrays.groups.size);
    hti_region_forget(&cache->arrays.slots);
    cache->n_entries = 0;
    cache->n_present = 0;
}

bool hti_cache_next(const struct hti_cache *cache, uint64_t *position, struct hti_row *row)
{
    const struct hti_cache_arrays *a = &cache->arrays;

    for (; *position < a->n_groups * HTI_GROUP_SLOTS; ++*position) {
        const uint64_t number = *position;
        const uint8_t *slot = hti_cache_slot(a, number, cache->stride);
        if (hti_cache_group(a, number / HTI_GROUP_SLOTS)[number % HTI_GROUP_SLOTS] == 0 || is_absent(cache, number))
            continue;
        row->key = slot;
        row->key_size = cache->type.key_size;
        if (cache->layout == HTI_LAYOUT_CELL || cache->layout == HTI_LAYOUT_TEXT)
            row->key = string_key(cache, slot, &row->key_size);
        hti_cache_read(cache, number, &row->value, &row->value_size);
        ++*position;
        return true;
    }
    return false;
}

static void visit_absent(struct hti_cache *cache, uint64_t slot, void *user)
{
    (void)user;
    if (is_absent(cache, slot))
        drop_slot(cache, slot);
}

void hti_cache_complete(struct hti_cache *cache)
{
    for_each_slot(cache, visit_absent, NULL);
    cache->kind = HTI_CACHE_COMPLETE;
    hti_region_free(&cache->arrays.states);
}

/* --- growth --- */

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
    const uint64_t needed = (cache->n_entries + n) / ROOM_PER_GROUP + 1;

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
        key = string_key(cache, slot, &size);
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
    const uint64_t hash = rehash ? rehash_slot(cache, to, slot) : hash_of_slot(cache, slot) | (tag & 0x7fu);
    uint64_t n_passed;
    const uint64_t target = take_slot(to, hash, &n_passed);
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

    if (n > MAX_GROUPS * ROOM_PER_GROUP || (n_groups = groups_for(cache, n)) > MAX_GROUPS)
        return HTSTORE_ENOMEM;
    growth = hti_mem_zalloc(sizeof *growth);
    if (!growth)
        return HTSTORE_ENOMEM;
    growth->arrays.seed = cache->arrays.seed;
    growth->arrays.multiplier = cache->arrays.multiplier;
    growth->arrays.secret = cache->arrays.secret;
    growth->arrays.strong = cache->arrays.strong;
    if (cache->flooded)
        draw_hash(&growth->arrays, cache->n_floods + 1);
    growth->cures_flood = cache->flooded;
    if (make_arrays(cache, n_groups, &growth->arrays) != 0) {
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
    release_arrays(&growth->arrays);
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

int hti_cache_reserve_row(struct hti_cache *cache, const struct hti_row *row)
{
    const size_t value_size = row->value ? row->value_size : 0;
    const int rc = hti_cache_reserve(cache, 1, hti_cache_row_bytes(cache, row->key_size, value_size));

    if (rc != 0 || !hti_cache_row_is_large(cache, row->key_size, value_size))
        return rc;
    return hti_cache_reserve_large(cache, row->key_size, value_size);
}
