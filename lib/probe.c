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
#define AHEAD 16u /* keys from one stage to the next, where keys go one by one */
#define NEAR_SIZE ((size_t)1536 << 10) /* slots of so many bytes are in the processor's cache anyway */
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

/*
 * What the loop over keys needs, in variables of its own: whatever it writes to the caller's arrays could otherwise change
 * them, as far as the compiler knows.
 */
struct fixed {
    const uint8_t *groups, *slots, *keys;
    uint64_t n_groups, seed, multiplier;
    uint8_t *values, *found;
    const uint8_t *defaults;
    size_t default_stride;
    bool is_complete;
};

static inline __attribute__((always_inline)) uint64_t home_of(const struct fixed *f, uint64_t hash)
{
    return (hash >> 32) * f->n_groups >> 32;
}

static inline __attribute__((always_inline)) uint64_t hash_key(const struct fixed *f, uint64_t i, size_t key_size)
{
    const uint64_t key = hti_cache_load(f->keys + i * key_size, key_size);
    const unsigned __int128 product = (unsigned __int128)(key ^ f->seed) * f->multiplier;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline __attribute__((always_inline)) uint32_t match_key(const struct fixed *f, uint64_t hash)
{
    return hti_group_match(f->groups + home_of(f, hash) * HTI_GROUP_SIZE, hti_cache_tag(hash));
}

static inline __attribute__((always_inline)) const uint8_t *slot_at(const struct fixed *f, uint64_t hash,
                                                                    uint32_t match, size_t stride)
{
    return f->slots + (home_of(f, hash) * HTI_GROUP_SLOTS + (unsigned)__builtin_ctz(match)) * stride;
}

/* The key is not in its first slot: another one of its group, another group, or none. */
static __attribute__((noinline)) void finish_elsewhere(struct probe *p, uint64_t i, uint64_t hash, uint32_t match)
{
    const struct hti_cache *cache = p->cache;
    const uint8_t *group = hti_cache_group(&cache->arrays, hti_cache_home(&cache->arrays, hash));

    if ((match & (match - 1)) != 0 || (group[HTI_GROUP_PASSED] & hti_group_bit(hti_cache_tag(hash))))
        answer_slowly(p, i, hash);
    else if (cache->kind == HTI_CACHE_COMPLETE)
        answer(p->query, i, NULL, cache->type.value_size);
    else
        note_miss(p->query, i);
}

static __attribute__((noinline)) void finish_partial(struct probe *p, uint64_t i, uint64_t number)
{
    size_t value_size;
    const void *value = NULL;

    if (hti_cache_read(p->cache, number, &value, &value_size) != HTI_CACHE_PRESENT)
        value = NULL;
    answer(p->query, i, value, p->cache->type.value_size);
}

static inline __attribute__((always_inline)) void finish_fixed(struct probe *p, const struct fixed *f, uint64_t i,
                                                               uint64_t hash, uint32_t match, size_t key_size,
                                                               size_t value_size, size_t stride)
{
    const uint8_t *slot, *group;

    if (match == 0) {
        group = f->groups + home_of(f, hash) * HTI_GROUP_SIZE;
        if (!f->is_complete || (group[HTI_GROUP_PASSED] & hti_group_bit(hti_cache_tag(hash)))) {
            finish_elsewhere(p, i, hash, 0);
            return;
        }
        copy_value(f->values + i * value_size, f->defaults + i * f->default_stride, value_size);
        if (f->found)
            f->found[i] = 0;
        return;
    }
    slot = slot_at(f, hash, match, stride);
    if (hti_cache_load(slot, key_size) != hti_cache_load(f->keys + i * key_size, key_size)) {
        finish_elsewhere(p, i, hash, match);
    } else if (!f->is_complete) {
        finish_partial(p, i, (uint64_t)(slot - f->slots) / stride);
    } else {
        copy_value(f->values + i * value_size, slot + key_size, value_size);
        p->query->n_present++;
        if (f->found)
            f->found[i] = 1;
    }
}

/* A cache that lies in the processor's own: waiting is short, stages would only cost. */
static inline __attribute__((always_inline)) void find_near(struct probe *p, const struct fixed *f, size_t key_size,
                                                            size_t value_size, size_t stride)
{
    const uint64_t n = p->query->n;

    for (uint64_t i = 0; i < n; i++) {
        const uint64_t hash = hash_key(f, i, key_size);
        finish_fixed(p, f, i, hash, match_key(f, hash), key_size, value_size, stride);
    }
}

/* Keys under way. */
struct far {
    uint64_t hash[RING];
    uint32_t match[RING];
};

static inline __attribute__((always_inline)) void begin_far(struct far *far, const struct fixed *f, uint64_t i,
                                                            size_t key_size)
{
    const uint64_t hash = hash_key(f, i, key_size);

    far->hash[i % RING] = hash;
    __builtin_prefetch(f->groups + home_of(f, hash) * HTI_GROUP_SIZE);
}

/* Without a match there is nothing to fetch: the group, which is there, is asked for again, so that no branch is needed. */
static inline __attribute__((always_inline)) void match_far(struct far *far, const struct fixed *f, uint64_t i,
                                                            size_t stride)
{
    const uint64_t hash = far->hash[i % RING];
    const uint8_t *group = f->groups + home_of(f, hash) * HTI_GROUP_SIZE;
    const uint32_t match = hti_group_match(group, hti_cache_tag(hash));
    const uint8_t *slot = slot_at(f, hash, match | 0x8000u, stride);

    far->match[i % RING] = match;
    __builtin_prefetch(match != 0 ? slot : group);
}

/* Keys i, i + AHEAD and i + 2 * AHEAD are in three stages; no inner loops, whose ends would be mispredicted. */
static inline __attribute__((always_inline)) void find_far(struct probe *p, const struct fixed *f, size_t key_size,
                                                           size_t value_size, size_t stride)
{
    const uint64_t n = p->query->n, n_first = n < 2 * AHEAD ? n : 2 * AHEAD, n_second = n < AHEAD ? n : AHEAD;
    struct far far;
    uint64_t i = 0;

    for (uint64_t k = 0; k < n_first; k++)
        begin_far(&far, f, k, key_size);
    for (uint64_t k = 0; k < n_second; k++)
        match_far(&far, f, k, stride);
    for (; i + 2 * AHEAD < n; i++) {
        begin_far(&far, f, i + 2 * AHEAD, key_size);
        match_far(&far, f, i + AHEAD, stride);
        finish_fixed(p, f, i, far.hash[i % RING], far.match[i % RING], key_size, value_size, stride);
    }
    for (; i < n; i++) {
        if (i + AHEAD < n)
            match_far(&far, f, i + AHEAD, stride);
        finish_fixed(p, f, i, far.hash[i % RING], far.match[i % RING], key_size, value_size, stride);
    }
}

static inline __attribute__((always_inline)) void find_fixed(struct probe *p, size_t key_size, size_t value_size,
                                                             size_t stride)
{
    const struct hti_cache_arrays *a = &p->cache->arrays;
    const struct fixed f = {
        .groups = a->groups.data,
        .slots = a->slots.data,
        .keys = p->query->keys,
        .n_groups = a->n_groups,
        .seed = a->seed,
        .multiplier = a->multiplier,
        .values = p->query->values,
        .found = p->query->found,
        .defaults = p->query->defaults,
        .default_stride = p->query->default_stride,
        .is_complete = p->cache->kind == HTI_CACHE_COMPLETE,
    };

    if (a->slots.size <= NEAR_SIZE)
        find_near(p, &f, key_size, value_size, stride);
    else
        find_far(p, &f, key_size, value_size, stride);
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

/* Wide values to four lines: from there on the processor sees by itself where it goes. */
static void fetch_item(const struct hti_cache *cache, uint32_t item)
{
    const uint8_t *bytes = hti_heap_at(&cache->heap, item);
    const uint32_t size = cache->layout == HTI_LAYOUT_WIDE ? cache->type.value_size : 1;

    for (uint32_t at = 0; at < size && at < 4 * 64; at += 64)
        __builtin_prefetch(bytes + at);
}

/* May this slot hold the key, as far as the slot itself tells? Starts to fetch what lies elsewhere. */
static bool may_hold(const struct probe *p, const uint8_t *slot, uint64_t i)
{
    const struct hti_cache *cache = p->cache;
    const uint32_t upper = (uint32_t)(p->hash[i % RING] >> 32);
    size_t key_size;
    uint32_t item;

    if (cache->layout == HTI_LAYOUT_FIXED || cache->layout == HTI_LAYOUT_WIDE) {
        if (memcmp(slot, key_at(p, i, &key_size), cache->type.key_size) != 0)
            return false;
        if (cache->layout == HTI_LAYOUT_FIXED)
            return true; /* of a flooded cache */
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
        fetch_item(cache, item);
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

/* The bytes of a string may lie anywhere in the caller's memory. */
static void fetch_key(const struct probe *p, uint64_t i)
{
    if (p->cache->type.key_size == 0)
        __builtin_prefetch(((const struct htstore_bytes *)p->query->keys + i)->data);
}

static void begin_any(struct probe *p, uint64_t i)
{
    size_t size;
    const void *key = key_at(p, i, &size);

    fetch_group(p, i, hti_cache_hash(p->cache, key, size));
}

/* Each stage works on the block before the one of the stage above it. */
static void find_any(struct probe *p)
{
    const uint64_t n = p->query->n;

    for (uint64_t i = 0; i < 2 * BLOCK && i < n; i++)
        fetch_key(p, i);
    for (uint64_t base = 0; base < n + 3 * BLOCK; base += BLOCK) {
        for (uint64_t i = base + 2 * BLOCK; i < base + 3 * BLOCK && i < n; i++)
            fetch_key(p, i);
        for (uint64_t i = base; i < base + BLOCK && i < n; i++)
            begin_any(p, i);
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
