/*
 * probe: hides how many keys are looked up at once: in stages, so that the memory that a key needs is on its way while
 * others are worked on.
 *
 * A key costs up to three reads that wait for memory one after the other: its group, its slot, and for long strings and wide
 * values what lies in the heap. Each stage starts the read that the next one needs, and runs one block of keys ahead of it.
 */
#include "probe.h"

#include "cacheslots.h"

#define BLOCK 16u /* keys a stage works on before the next stage has its turn */
#define RING 64u /* keys under way: up to four stages of a block */
#define NONE UINT64_MAX

struct probe {
    const struct hti_cache *cache;
    struct hti_probe *query;
    uint64_t hash[RING];
    uint64_t slot[RING]; /* the first that may hold the key; NONE */
};

/* --- answers --- */

static inline __attribute__((always_inline)) void copy_value(void *out, const void *in, size_t size)
{
    if (size == 8)
        memcpy(out, in, 8);
    else if (size == 4)
        memcpy(out, in, 4);
    else if (size > 0)
        memcpy(out, in, size);
}

static inline __attribute__((always_inline)) void answer(struct hti_probe *q, uint64_t i, const void *value,
                                                         size_t size)
{
    copy_value(q->values + i * size, value ? value : q->defaults + i * q->default_stride, size);
    q->n_present += value != NULL;
    if (q->found)
        q->found[i] = value != NULL;
}

static void note_miss(struct hti_probe *q, uint64_t i)
{
    q->misses[q->n_misses++] = i;
}

static const void *key_at(const struct probe *p, uint64_t i, size_t *size)
{
    if (p->cache->type.key_size == 0) {
        const struct htstore_bytes *string = (const struct htstore_bytes *)p->query->keys + i;
        *size = string->size;
        return string->size > 0 ? string->data : "";
    }
    *size = p->cache->type.key_size;
    return (const uint8_t *)p->query->keys + i * *size;
}

/* The long way, for keys that are not where they want to be: through all groups, key by key. */
static __attribute__((noinline)) void answer_slowly(struct probe *p, uint64_t i, uint64_t hash)
{
    bool collide = false;
    size_t key_size, value_size;
    const void *value = NULL;
    const void *key = key_at(p, i, &key_size);
    const uint64_t slot = hti_cache_search(p->cache, key, key_size, hash, &collide);

    if (slot == NONE && p->cache->kind != HTI_CACHE_COMPLETE) {
        note_miss(p->query, i);
        return;
    }
    if (slot == NONE || collide || hti_cache_read(p->cache, slot, &value, &value_size) != HTI_CACHE_PRESENT)
        value = NULL; /* a key that shares its stored form with another one is absent */
    answer(p->query, i, value, p->cache->type.value_size);
}

/* --- stages that all layouts share --- */

static inline __attribute__((always_inline)) void fetch_group(struct probe *p, uint64_t i, uint64_t hash)
{
    p->hash[i % RING] = hash;
    __builtin_prefetch(hti_cache_group(&p->cache->arrays, hti_cache_home(&p->cache->arrays, hash)));
}

/* Without a match there is nothing to fetch: the group, which is there, is asked for again, so that no branch is needed. */
static inline __attribute__((always_inline)) void fetch_slot(struct probe *p, uint64_t i, size_t stride)
{
    const struct hti_cache_arrays *a = &p->cache->arrays;
    const uint64_t hash = p->hash[i % RING], home = hti_cache_home(a, hash);
    const uint8_t *group = hti_cache_group(a, home);
    const uint32_t match = hti_group_match(group, hti_cache_tag(hash));
    const uint8_t *slot = hti_cache_slot(a, home * HTI_GROUP_SLOTS + (unsigned)__builtin_ctz(match | 0x8000u), stride);

    __builtin_prefetch(match != 0 ? slot : group);
}

/* --- keys of fixed width, value in the slot --- */

static inline __attribute__((always_inline)) void finish_fixed(struct probe *p, uint64_t i, size_t key_size,
                                                               size_t value_size, size_t stride)
{
    const struct hti_cache_arrays *a = &p->cache->arrays;
    const uint64_t hash = p->hash[i % RING], home = hti_cache_home(a, hash);
    const uint8_t *group = hti_cache_group(a, home);
    const uint64_t key = hti_cache_load((const uint8_t *)p->query->keys + i * key_size, key_size);

    for (uint32_t match = hti_group_match(group, hti_cache_tag(hash)); match != 0; match &= match - 1) {
        const uint64_t number = home * HTI_GROUP_SLOTS + (unsigned)__builtin_ctz(match);
        const uint8_t *slot = hti_cache_slot(a, number, stride);
        if (hti_cache_load(slot, key_size) != key)
            continue;
        if (p->cache->kind != HTI_CACHE_COMPLETE) {
            const uint8_t state = hti_cache_state_of(p->cache, number);
            if (p->cache->kind == HTI_CACHE_BOUNDED)
                hti_cache_touch(p->cache, number, state);
            answer(p->query, i, state & HTI_STATE_ABSENT ? NULL : slot + key_size, value_size);
            return;
        }
        answer(p->query, i, slot + key_size, value_size);
        return;
    }
    if (group[HTI_GROUP_PASSED] & hti_group_bit(hti_cache_tag(hash)))
        answer_slowly(p, i, hash);
    else if (p->cache->kind == HTI_CACHE_COMPLETE)
        answer(p->query, i, NULL, value_size);
    else
        note_miss(p->query, i);
}

static inline __attribute__((always_inline)) void find_fixed(struct probe *p, size_t key_size, size_t value_size,
                                                             size_t stride)
{
    const uint8_t *keys = p->query->keys;
    const uint64_t n = p->query->n;

    for (uint64_t base = 0; base < n + 2 * BLOCK; base += BLOCK) {
        for (uint64_t i = base; i < base + BLOCK && i < n; i++)
            fetch_group(p, i, hti_cache_mix(&p->cache->arrays, hti_cache_load(keys + i * key_size, key_size)));
        if (base < BLOCK)
            continue;
        for (uint64_t i = base - BLOCK; i < base && i < n; i++)
            fetch_slot(p, i, stride);
        if (base < 2 * BLOCK)
            continue;
        for (uint64_t i = base - 2 * BLOCK; i < base - BLOCK && i < n; i++)
            finish_fixed(p, i, key_size, value_size, stride);
    }
}

static void find_fixed_rows(struct probe *p)
{
    const uint32_t key_size = p->cache->type.key_size, value_size = p->cache->type.value_size;

    if (key_size == 8 && value_size == 8)
        find_fixed(p, 8, 8, 16);
    else if (key_size == 8 && value_size == 4)
        find_fixed(p, 8, 4, 16);
    else if (key_size == 4 && value_size == 4)
        find_fixed(p, 4, 4, 8);
    else if (key_size == 4 && value_size == 8)
        find_fixed(p, 4, 8, 16);
    else if (key_size == 8)
        find_fixed(p, 8, value_size, p->cache->stride);
    else
        find_fixed(p, key_size, value_size, p->cache->stride);
}

/* --- all other layouts: key or value may lie in the heap --- */

/* May this slot hold the key, as far as the slot itself tells? Starts to fetch what lies elsewhere. */
static bool may_hold(const struct probe *p, const uint8_t *slot, uint64_t i)
{
    const struct hti_cache *cache = p->cache;
    const uint32_t upper = (uint32_t)(p->hash[i % RING] >> 32);
    size_t key_size;
    uint32_t item;

    if (cache->layout == HTI_LAYOUT_WIDE) {
        if (memcmp(slot, key_at(p, i, &key_size), cache->type.key_size) != 0)
            return false;
        item = hti_load_native32(slot + cache->value_at);
    } else if (cache->layout == HTI_LAYOUT_TEXT) {
        if (hti_load_native32(slot + 4) != upper)
            return false;
        if (hti_load_native32(slot) <= HTI_TEXT_INLINE)
            return true;
        item = hti_load_native32(slot + HTI_TEXT_KEY_AT);
    } else {
        if (hti_load_native32(slot) != upper)
            return false;
        item = hti_load_native32(slot + 4);
    }
    if (item != HTI_NO_ITEM)
        __builtin_prefetch(hti_heap_at(&cache->heap, item));
    return true;
}

static void choose_slot(struct probe *p, uint64_t i)
{
    const struct hti_cache_arrays *a = &p->cache->arrays;
    const uint64_t hash = p->hash[i % RING], home = hti_cache_home(a, hash);
    uint32_t match = hti_group_match(hti_cache_group(a, home), hti_cache_tag(hash));

    p->slot[i % RING] = NONE;
    for (; match != 0; match &= match - 1) {
        const uint64_t number = home * HTI_GROUP_SLOTS + (unsigned)__builtin_ctz(match);
        if (may_hold(p, hti_cache_slot(a, number, p->cache->stride), i)) {
            p->slot[i % RING] = number;
            return;
        }
    }
}

static void finish_any(struct probe *p, uint64_t i)
{
    const struct hti_cache *cache = p->cache;
    const uint64_t hash = p->hash[i % RING], number = p->slot[i % RING];
    const uint8_t *group = hti_cache_group(&cache->arrays, hti_cache_home(&cache->arrays, hash));
    const void *value = NULL;
    size_t key_size, value_size;
    bool collide;

    if (number == NONE) {
        if (group[HTI_GROUP_PASSED] & hti_group_bit(hti_cache_tag(hash)))
            answer_slowly(p, i, hash);
        else if (cache->kind == HTI_CACHE_COMPLETE)
            answer(p->query, i, NULL, cache->type.value_size);
        else
            note_miss(p->query, i);
        return;
    }
    const void *key = key_at(p, i, &key_size);
    const uint8_t *slot = hti_cache_slot(&cache->arrays, number, cache->stride);
    if (!hti_cache_matches(cache, slot, key, key_size, hash, &collide) || collide) {
        answer_slowly(p, i, hash);
        return;
    }
    if (hti_cache_read(cache, number, &value, &value_size) != HTI_CACHE_PRESENT)
        value = NULL;
    answer(p->query, i, value, cache->type.value_size);
}

static void find_any(struct probe *p)
{
    const uint64_t n = p->query->n;
    size_t size;

    for (uint64_t base = 0; base < n + 3 * BLOCK; base += BLOCK) {
        for (uint64_t i = base; i < base + BLOCK && i < n; i++) {
            const void *key = key_at(p, i, &size);
            fetch_group(p, i, hti_cache_hash(p->cache, key, size));
        }
        if (base < BLOCK)
            continue;
        for (uint64_t i = base - BLOCK; i < base && i < n; i++)
            fetch_slot(p, i, p->cache->stride);
        if (base < 2 * BLOCK)
            continue;
        for (uint64_t i = base - 2 * BLOCK; i < base - BLOCK && i < n; i++)
            choose_slot(p, i);
        if (base < 3 * BLOCK)
            continue;
        for (uint64_t i = base - 3 * BLOCK; i < base - 2 * BLOCK && i < n; i++)
            finish_any(p, i);
    }
}

/* One key: no stages. */
static void find_one(struct probe *p)
{
    size_t key_size;
    const void *key = key_at(p, 0, &key_size);

    answer_slowly(p, 0, hti_cache_hash(p->cache, key, key_size));
}

void hti_probe_rows(const struct hti_cache *cache, struct hti_probe *query)
{
    struct probe p;

    p.cache = cache;
    p.query = query;
    query->n_misses = query->n_present = 0;
    if (query->n == 1)
        find_one(&p);
    else if (cache->layout == HTI_LAYOUT_FIXED && !cache->arrays.strong)
        find_fixed_rows(&p);
    else
        find_any(&p);
}
