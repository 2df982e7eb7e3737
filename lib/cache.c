/* cache: hides how slots are found, taken, freed and given up. */
#include "cacheslots.h"

#include <assert.h>

#include "htstore.h"
#include "mem.h"

#define MIN_GROUPS 4u
#define FLOOD_GROUPS 128u /* a key that passes so many full groups did not get there by chance */

static int new_cache(const struct hti_cache *layout, uint64_t n_groups, struct hti_cache **out)
{
    struct hti_cache *cache = hti_mem_zalloc(sizeof *cache);

    *out = NULL;
    if (!cache)
        return HTSTORE_ENOMEM;
    *cache = *layout;
    hti_cacheslots_draw_hash(&cache->arrays, 0);
    if (hti_cacheslots_make(cache, n_groups, &cache->arrays) != 0) {
        hti_mem_free(cache);
        return HTSTORE_ENOMEM;
    }
    *out = cache;
    return 0;
}

int hti_cache_new(const struct hti_row_type *type, enum hti_cache_kind kind, struct hti_cache **out)
{
    struct hti_cache layout = { 0 };

    hti_cacheslots_init(&layout, type, kind);
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

    hti_cacheslots_init(&layout, type, HTI_CACHE_BOUNDED);
    if (layout.layout == HTI_LAYOUT_FIXED)
        row_bytes = 0;
    n_groups =
        bytes > sizeof layout ? (bytes - sizeof layout) / (group_bytes(&layout) + HTI_GROUP_SLOTS * row_bytes) : 0;
    if (n_groups < 1)
        n_groups = 1;
    if (n_groups > HTI_MAX_GROUPS)
        n_groups = HTI_MAX_GROUPS;
    layout.heap.limit = n_groups * HTI_GROUP_SLOTS * row_bytes;
    return new_cache(&layout, n_groups, out);
}

uint64_t hti_cache_estimate(const struct hti_row_type *type, uint64_t n_rows, uint64_t row_bytes)
{
    struct hti_cache layout = { 0 };
    uint64_t bytes, in_heap = 0;

    hti_cacheslots_init(&layout, type, HTI_CACHE_COMPLETE);
    if (__builtin_mul_overflow(n_rows / HTI_ROOM_PER_GROUP + 1, group_bytes(&layout), &bytes) ||
        (layout.layout != HTI_LAYOUT_FIXED && __builtin_mul_overflow(n_rows, row_bytes, &in_heap)) ||
        __builtin_add_overflow(bytes, in_heap, &bytes))
        return UINT64_MAX;
    return bytes;
}

void hti_cache_free(struct hti_cache *cache)
{
    if (!cache)
        return;
    hti_cacheslots_release(&cache->arrays);
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

enum hti_cache_state hti_cache_find(const struct hti_cache *cache, const void *key, size_t key_size, const void **value,
                                    size_t *value_size)
{
    bool collide = false;
    const uint64_t slot = hti_cache_search(cache, key, key_size, hti_cache_hash(cache, key, key_size), &collide);

    if (slot == UINT64_MAX)
        return HTI_CACHE_MISS;
    if (collide)
        return hti_cacheslots_is_absent(cache, slot) ? HTI_CACHE_ABSENT : HTI_CACHE_COLLISION;
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

bool hti_cache_uses_heap(const struct hti_cache *cache)
{
    return cache->layout != HTI_LAYOUT_FIXED;
}

size_t hti_cache_row_bytes(const struct hti_cache *cache, size_t key_size, size_t value_size)
{
    const size_t bytes = hti_cacheslots_value_bytes(cache, key_size, value_size);
    return bytes > 0 ? hti_heap_rounded(&cache->heap, bytes) : 0;
}

bool hti_cache_row_is_large(const struct hti_cache *cache, size_t key_size, size_t value_size)
{
    return hti_cacheslots_value_bytes(cache, key_size, value_size) > HTI_HEAP_ITEM_MAX;
}

int hti_cache_reserve_large(struct hti_cache *cache, size_t key_size, size_t value_size)
{
    return hti_heap_reserve_large(&cache->heap, hti_cacheslots_value_bytes(cache, key_size, value_size));
}

int hti_cache_reserve_row(struct hti_cache *cache, const struct hti_row *row)
{
    const size_t value_size = row->value ? row->value_size : 0;
    const int rc = hti_cache_reserve(cache, 1, hti_cache_row_bytes(cache, row->key_size, value_size));

    if (rc != 0 || !hti_cache_row_is_large(cache, row->key_size, value_size))
        return rc;
    return hti_cache_reserve_large(cache, row->key_size, value_size);
}

void hti_cache_drop_spares(struct hti_cache *cache)
{
    hti_heap_drop_spares(&cache->heap);
}

/* --- slots --- */

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
        const uint64_t moved = distance(a, hti_cache_home(a, hti_cacheslots_hash(cache, slot)), at);
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
    const uint64_t group = number / HTI_GROUP_SLOTS, home = hti_cache_home(a, hti_cacheslots_hash(cache, slot));

    if (!hti_cacheslots_is_absent(cache, number))
        cache->n_present--;
    cache->n_entries--;
    hti_cacheslots_empty(cache, slot);
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
    const uint64_t slot = hti_cacheslots_take(a, hash, &n_passed);
    if (n_passed > cache->most_passed)
        cache->most_passed = n_passed;
    if (n_passed > FLOOD_GROUPS && cache->n_floods < 2)
        cache->flooded = true;
    hti_cacheslots_fill(cache, hti_cache_slot(a, slot, cache->stride), row, hash);
    hti_cacheslots_set_state(cache, slot, !row->value, 0);
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
    const enum hti_cache_state before = hti_cacheslots_is_absent(cache, number) ? HTI_CACHE_ABSENT : HTI_CACHE_PRESENT;
    if (!replace)
        return before;
    assert(!collide || before == HTI_CACHE_ABSENT);
    uint8_t *slot = hti_cache_slot(&cache->arrays, number, cache->stride);
    if (collide || !hti_cacheslots_overwrite(cache, slot, row)) {
        hti_cacheslots_empty(cache, slot);
        hti_cacheslots_fill(cache, slot, row, hash);
    }
    if (cache->kind != HTI_CACHE_COMPLETE)
        hti_cacheslots_set_state(cache, number, !row->value, hti_cache_state_of(cache, number));
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

    if (slot == UINT64_MAX || (collide && !hti_cacheslots_is_absent(cache, slot)))
        return HTI_CACHE_MISS;
    const enum hti_cache_state before = hti_cacheslots_is_absent(cache, slot) ? HTI_CACHE_ABSENT : HTI_CACHE_PRESENT;
    drop_slot(cache, slot);
    return before;
}

/* --- bounded caches: puts for which no room was reserved --- */

/* Is there a place in the heap for what the row needs there? Gives up another row of its group for it. */
static bool make_place(struct hti_cache *cache, const struct hti_row *row)
{
    const size_t size = hti_cacheslots_value_bytes(cache, row->key_size, row->value ? row->value_size : 0);
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
    hti_cacheslots_empty(cache, hti_cache_slot(&cache->arrays, slot, cache->stride));
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
        if (hti_cache_group(a, number / HTI_GROUP_SLOTS)[number % HTI_GROUP_SLOTS] == 0 ||
            hti_cacheslots_is_absent(cache, number))
            continue;
        row->key = slot;
        row->key_size = cache->type.key_size;
        if (cache->layout == HTI_LAYOUT_CELL || cache->layout == HTI_LAYOUT_TEXT)
            row->key = hti_cacheslots_string_key(cache, slot, &row->key_size);
        hti_cache_read(cache, number, &row->value, &row->value_size);
        ++*position;
        return true;
    }
    return false;
}

static void visit_absent(struct hti_cache *cache, uint64_t slot, void *user)
{
    (void)user;
    if (hti_cacheslots_is_absent(cache, slot))
        drop_slot(cache, slot);
}

void hti_cache_complete(struct hti_cache *cache)
{
    for_each_slot(cache, visit_absent, NULL);
    cache->kind = HTI_CACHE_COMPLETE;
    hti_region_free(&cache->arrays.states);
}
