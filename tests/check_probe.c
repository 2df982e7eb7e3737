/*
 * Tests of probe: many keys at once are answered as hti_cache_find() answers one, in every layout and after any history; and
 * of what a history leaves in the groups: which keys passed a group is known exactly.
 */
#include "probe.h"

#include <stdlib.h>
#include <string.h>

#include "cacheslots.h"
#include "check_util.h"
#include "mem.h"
#include "samples.h"

#define MAX_BATCH 200u
#define SOME_KEYS 600u
#define LONG_SIZE 600u
#define GUARD 0xa5
#define FAR_ENTRIES 250000u /* slots of any size are more than the processor's caches hold then */

/* ---- a table of keys, of which each is present, absent or unknown ---- */

struct table {
    struct hti_row_type type;
    struct hti_cache *cache;
    size_t n_keys;
    struct htstore_bytes *strings; /* all keys, packed; of one size unless they are strings */
    uint8_t *states; /* enum hti_cache_state as the cache should know it */
    bool colliding; /* long keys, three of one stored form each */
};

static struct table t;

static void set_up(void)
{
    sample_seed(7);
    memset(&t, 0, sizeof t);
}

static void tear_down(void)
{
    for (size_t i = 0; i < t.n_keys; i++)
        free((void *)(uintptr_t)t.strings[i].data);
    free(t.strings);
    free(t.states);
    hti_cache_free(t.cache);
    hti_mem_test_fail(UINT64_MAX, false);
    hti_cache_test_flood(false);
    hti_codec_test_hash_mask(UINT64_MAX);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static struct htstore_bytes make_key(uint64_t i)
{
    size_t size = t.type.key_size;
    uint8_t *bytes;

    if (size == 0)
        size = t.colliding ? LONG_SIZE : i % 50 == 49 ? HTI_SHORT_KEY_MAX + i % 40 : 4 + i % 20;
    bytes = calloc(1, size);
    if (!bytes)
        abort();
    if (t.colliding) {
        const uint64_t group = i / 3;
        memcpy(bytes, &group, 4);
    }
    memcpy(bytes + (t.colliding ? size - 4 : 0), &i, size < 4 ? size : 4);
    return (struct htstore_bytes){ .data = bytes, .size = size };
}

static void make_keys(size_t n)
{
    const size_t most = t.type.key_dtype == HTSTORE_BOOL ? 2
                        : t.type.key_size == 1           ? 256
                        : t.type.key_size == 2           ? 65536
                                                         : n;

    t.n_keys = n < most ? n : most;
    t.strings = calloc(t.n_keys, sizeof *t.strings);
    t.states = calloc(t.n_keys, 1);
    ck_assert(t.strings && t.states);
    for (size_t i = 0; i < t.n_keys; i++)
        t.strings[i] = make_key(i);
}

static void make_table(const struct hti_row_type *type, enum hti_cache_kind kind, size_t n_keys)
{
    t.type = *type;
    ck_assert_int_eq(hti_cache_new(type, kind, &t.cache), 0);
    make_keys(n_keys);
}

static void put_key(size_t i, bool present)
{
    uint8_t value[512];
    const struct hti_row row = { .key = t.strings[i].data,
                                 .key_size = t.strings[i].size,
                                 .value = present ? value : NULL,
                                 .value_size = present ? t.type.value_size : 0 };

    if (t.type.value_size > sizeof value)
        ck_abort_msg("values of %u bytes", t.type.value_size);
    for (size_t k = 0; k < t.type.value_size; k++)
        value[k] = (uint8_t)(i * 31 + k * 7 + (i >> 8) * (k + 1));
    if (hti_cache_reserve_row(t.cache, &row) != 0)
        ck_abort_msg("no memory");
    if (hti_cache_put(t.cache, &row) != (enum hti_cache_state)t.states[i])
        ck_abort_msg("key %zu was not known as it should be", i);
    t.states[i] = present ? HTI_CACHE_PRESENT : HTI_CACHE_ABSENT;
}

static void drop_key(size_t i)
{
    if (hti_cache_remove(t.cache, t.strings[i].data, t.strings[i].size) != (enum hti_cache_state)t.states[i])
        ck_abort_msg("key %zu was not known as it should be", i);
    t.states[i] = HTI_CACHE_MISS;
}

static bool is_partial(void)
{
    return hti_cache_kind(t.cache) != HTI_CACHE_COMPLETE;
}

/* Every second key on the average; some are known to be absent. */
static void put_some(void)
{
    for (size_t i = 0; i < t.n_keys; i++)
        if (sample_below(2))
            put_key(i, !is_partial() || sample_below(4));
}

/* ---- one batch against one key at a time ---- */

struct batch {
    struct hti_probe probe;
    size_t n, *keys; /* numbers */
    uint8_t *packed, *values, *defaults, *found;
    uint64_t *misses;
};

static void *allocate(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1); /* exactly, so that sanitizers see a wrong step */
    if (!memory)
        abort();
    return memory;
}

static void fill_random(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)sample_random();
}

static void pack_keys(struct batch *b)
{
    const size_t size = t.type.key_size > 0 ? t.type.key_size : sizeof(struct htstore_bytes);

    b->packed = allocate(b->n * size);
    for (size_t i = 0; i < b->n; i++) {
        if (t.type.key_size > 0)
            memcpy(b->packed + i * size, t.strings[b->keys[i]].data, size);
        else
            memcpy(b->packed + i * size, &t.strings[b->keys[i]], size);
    }
}

/* form: bit 0 = defaults by row, bit 1 = without found */
static void make_batch(struct batch *b, size_t n, unsigned form)
{
    const size_t size = t.type.value_size, n_defaults = form & 1 ? n : 1;
    const size_t n_candidates = sample_below(3) ? t.n_keys : 1 + sample_below(t.n_keys); /* few: many duplicates */

    b->n = n;
    b->keys = allocate(n * sizeof *b->keys);
    for (size_t i = 0; i < n; i++)
        b->keys[i] = sample_below(n_candidates);
    pack_keys(b);
    b->values = allocate(n * size);
    memset(b->values, GUARD, n * size);
    b->defaults = allocate(n_defaults * size);
    fill_random(b->defaults, n_defaults * size);
    b->found = form & 2 ? NULL : allocate(n);
    if (b->found)
        memset(b->found, GUARD, n);
    b->misses = is_partial() ? allocate(n * sizeof *b->misses) : NULL;
    b->probe = (struct hti_probe){ .keys = b->packed,
                                   .n = n,
                                   .values = b->values,
                                   .defaults = b->defaults,
                                   .default_stride = form & 1 ? size : 0,
                                   .found = b->found,
                                   .misses = b->misses,
                                   .n_misses = 77,
                                   .n_present = 77 };
}

static void free_batch(struct batch *b)
{
    free(b->keys);
    free(b->packed);
    free(b->values);
    free(b->defaults);
    free(b->found);
    free(b->misses);
}

static bool is_untouched(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != GUARD)
            return false;
    return true;
}

static void expect_row(const struct batch *b, size_t i, uint64_t *n_present, uint64_t *n_misses)
{
    const size_t size = t.type.value_size;
    const void *value = NULL;
    size_t value_size = size;
    const struct htstore_bytes *key = &t.strings[b->keys[i]];
    const enum hti_cache_state state = hti_cache_find(t.cache, key->data, key->size, &value, &value_size);
    const uint8_t *got = b->values + i * size, *expected = b->defaults + i * b->probe.default_stride;

    if (state != (enum hti_cache_state)t.states[b->keys[i]] && state != HTI_CACHE_COLLISION)
        ck_abort_msg("key %zu: state %d, not %d", b->keys[i], state, t.states[b->keys[i]]);
    if (state == HTI_CACHE_MISS && is_partial()) {
        if (*n_misses >= b->probe.n_misses || b->misses[*n_misses] != i || !is_untouched(got, size) ||
            (b->found && b->found[i] != GUARD))
            ck_abort_msg("row %zu of %zu is no miss", i, b->n);
        ++*n_misses;
        return;
    }
    if (state == HTI_CACHE_PRESENT)
        expected = value;
    *n_present += state == HTI_CACHE_PRESENT;
    if (size > 0 && memcmp(got, expected, size) != 0)
        ck_abort_msg("row %zu of %zu, key %zu, state %d: another value", i, b->n, b->keys[i], state);
    if (b->found && b->found[i] != (state == HTI_CACHE_PRESENT))
        ck_abort_msg("found[%zu] of %zu is %d, the state is %d", i, b->n, b->found[i], state);
}

static void check_batch(size_t n, unsigned form)
{
    struct batch b;
    uint64_t n_present = 0, n_misses = 0;

    make_batch(&b, n, form);
    hti_probe_rows(t.cache, &b.probe);
    for (size_t i = 0; i < n; i++)
        expect_row(&b, i, &n_present, &n_misses);
    if (b.probe.n_present != n_present || b.probe.n_misses != n_misses)
        ck_abort_msg("%d are present, %d missed", (int)b.probe.n_present, (int)b.probe.n_misses);
    free_batch(&b);
}

static void check_batches(void)
{
    for (size_t n = 0; n <= MAX_BATCH; n++) {
        check_batch(n, (unsigned)n % 4);
        check_batch(n, (unsigned)sample_below(4));
    }
}

/* ---- which keys passed a group ---- */

/* The byte of every group has the bits of the keys that passed it, and no others. */
static void check_passed(void)
{
    const struct hti_cache_arrays *a = &t.cache->arrays;
    uint8_t *passed = calloc(a->n_groups, 1);

    ck_assert_ptr_nonnull(passed);
    for (size_t i = 0; i < t.n_keys; i++) {
        bool collide;
        if (t.states[i] == HTI_CACHE_MISS)
            continue;
        const uint64_t hash = hti_cache_hash(t.cache, t.strings[i].data, t.strings[i].size);
        const uint64_t slot = hti_cache_search(t.cache, t.strings[i].data, t.strings[i].size, hash, &collide);
        if (slot == UINT64_MAX)
            ck_abort_msg("key %zu is hidden", i);
        for (uint64_t g = hti_cache_home(a, hash); g != slot / HTI_GROUP_SLOTS; g = (g + 1) % a->n_groups)
            passed[g] |= hti_group_bit(hti_cache_tag(hash));
    }
    for (uint64_t g = 0; g < a->n_groups; g++)
        if (hti_cache_group(a, g)[HTI_GROUP_PASSED] != passed[g])
            ck_abort_msg("group %d is said to be passed by %02x, not by %02x", (int)g,
                         hti_cache_group(a, g)[HTI_GROUP_PASSED], passed[g]);
    free(passed);
}

static void drop_all(void)
{
    for (size_t i = 0; i < t.n_keys; i++)
        if (t.states[i] != HTI_CACHE_MISS)
            drop_key(i);
    ck_assert_uint_eq(hti_cache_entries(t.cache), 0);
    const uint8_t *groups = t.cache->arrays.groups.data;
    for (uint64_t i = 0; i < t.cache->arrays.n_groups * HTI_GROUP_SIZE; i++)
        if (groups[i] != 0)
            ck_abort_msg("byte %d of the groups is %02x", (int)i, groups[i]);
}

/* Fill the cache to the last slot that it takes without growing; keys stay to be put in for others. */
static void fill_up(void)
{
    for (size_t i = 0; i < t.n_keys && hti_cache_has_room(t.cache, 1, 0); i++)
        if (t.states[i] == HTI_CACHE_MISS && sample_below(3))
            put_key(i, true);
    for (size_t i = 0; i < t.n_keys && hti_cache_has_room(t.cache, 1, 0); i++)
        if (t.states[i] == HTI_CACHE_MISS)
            put_key(i, true);
}

/* One key goes, another one comes: the load stays. */
static void churn(size_t n_steps)
{
    size_t n_free = 0;

    for (size_t step = 0; step < n_steps; step++) {
        const size_t i = sample_below(t.n_keys);
        if (t.states[i] != HTI_CACHE_MISS) {
            drop_key(i);
            n_free++;
        } else if (n_free > 0) {
            put_key(i, !is_partial() || sample_below(4));
            n_free--;
        }
        if (step % (n_steps / 20) == 0)
            check_passed();
    }
    while (n_free > 0) {
        const size_t i = sample_below(t.n_keys);
        if (t.states[i] == HTI_CACHE_MISS) {
            put_key(i, true);
            n_free--;
        }
    }
}

/* ---- tests ---- */

#define N_KINDS 2
static const enum hti_cache_kind kinds[N_KINDS] = { HTI_CACHE_COMPLETE, HTI_CACHE_PARTIAL };

static bool begin(unsigned which, enum hti_cache_kind kind, size_t n_keys)
{
    struct hti_row_type type;

    sample_type(which, &type);
    if (!type.value_is_fixed)
        return false; /* probe knows no such values */
    make_table(&type, kind, n_keys);
    return true;
}

START_TEST(a_batch_is_answered_like_its_keys_one_by_one)
{
    if (!begin((unsigned)_i / N_KINDS, kinds[_i % N_KINDS], SOME_KEYS))
        return;
    check_batches(); /* nothing is known yet */
    put_some();
    check_batches();
    drop_all();
    check_batches();
}
END_TEST

START_TEST(a_batch_in_a_cache_larger_than_the_processors_is_answered_too)
{
    if (!begin((unsigned)_i / N_KINDS, kinds[_i % N_KINDS], SOME_KEYS))
        return;
    ck_assert_int_eq(hti_cache_reserve(t.cache, FAR_ENTRIES, 0), 0);
    ck_assert_uint_gt(t.cache->arrays.slots.size, 200000);
    check_batches();
    put_some();
    check_batches();
}
END_TEST

/* Types whose rows lie in the slot, in the heap, and half here, half there. */
static const unsigned full_types[] = { 0, 1, 4, 6, 11, 13 };
#define N_FULL 6

START_TEST(a_full_cache_is_answered_after_keys_came_and_went)
{
    static const size_t sizes[] = { 1, 400, 3000 };

    begin(full_types[_i / N_KINDS], kinds[_i % N_KINDS], 8000);
    for (int round = 0; round < 3; round++) {
        if (!hti_cache_has_room(t.cache, sizes[round], 0))
            ck_assert_int_eq(hti_cache_reserve(t.cache, sizes[round], 0), 0);
        fill_up();
        check_batches();
        churn(6000);
        check_passed();
        check_batches();
    }
    drop_all();
}
END_TEST

START_TEST(a_large_full_cache_is_answered_after_keys_came_and_went)
{
    begin((unsigned)_i / N_KINDS, kinds[_i % N_KINDS], 160000);
    ck_assert_int_eq(hti_cache_reserve(t.cache, 85000, 0), 0);
    fill_up();
    check_batches();
    churn(60000);
    check_passed();
    check_batches();
    drop_all();
}
END_TEST

/* Small arrays of all sizes, full: runs of groups that go round the end. */
START_TEST(no_deletion_hides_a_key_that_passed_the_same_groups)
{
    begin(0, kinds[_i % N_KINDS], 200);
    for (int round = 0; round < 30; round++) {
        fill_up();
        churn(3000);
        check_passed();
        drop_all();
    }
}
END_TEST

/* A number whose hash wants this group, and that was not used before. */
static size_t key_of_home(uint64_t home)
{
    for (size_t i = 0; i < t.n_keys; i++)
        if (t.states[i] == HTI_CACHE_MISS &&
            hti_cache_home(&t.cache->arrays, hti_cache_hash(t.cache, t.strings[i].data, t.strings[i].size)) == home) {
            put_key(i, true);
            return i;
        }
    ck_abort_msg("too few keys");
    return 0;
}

/* A key of group 1 has gone round all others to group 0; then one that went from group 0 to group 2 is removed. */
START_TEST(no_deletion_hides_a_key_that_went_round_all_groups)
{
    size_t first[HTI_GROUP_SLOTS];

    begin(0, HTI_CACHE_COMPLETE, 2000);
    ck_assert_uint_eq(t.cache->arrays.n_groups, 4);
    for (unsigned i = 0; i < HTI_GROUP_SLOTS; i++)
        first[i] = key_of_home(0);
    for (unsigned i = 0; i < HTI_GROUP_SLOTS; i++)
        key_of_home(1);
    const size_t moved = key_of_home(0);
    for (unsigned i = 0; i + 1 < HTI_GROUP_SLOTS; i++)
        drop_key(first[i]);
    for (unsigned i = 0; i + 1 < HTI_GROUP_SLOTS; i++)
        key_of_home(2);
    for (unsigned i = 0; i < HTI_GROUP_SLOTS; i++)
        key_of_home(3);
    const size_t round = key_of_home(1);
    ck_assert_uint_eq(t.cache->arrays.n_groups, 4);
    check_passed();
    drop_key(moved);
    check_passed();
    drop_key(round);
    check_passed();
    drop_all();
}
END_TEST

START_TEST(growing_keeps_every_key_and_its_way)
{
    begin(full_types[_i / N_KINDS], kinds[_i % N_KINDS], 20000);
    uint64_t n_groups = 0;
    for (size_t i = 0; i < t.n_keys; i++) {
        put_key(i, !is_partial() || i % 5);
        if (t.cache->arrays.n_groups != n_groups) {
            n_groups = t.cache->arrays.n_groups;
            check_passed();
            check_batch(MAX_BATCH, (unsigned)i % 4);
        }
    }
    check_batches();
}
END_TEST

START_TEST(a_partial_cache_that_became_complete_misses_nothing)
{
    begin(full_types[_i], HTI_CACHE_PARTIAL, SOME_KEYS);
    put_some();
    hti_cache_complete(t.cache);
    for (size_t i = 0; i < t.n_keys; i++)
        if (t.states[i] == HTI_CACHE_ABSENT)
            t.states[i] = HTI_CACHE_MISS;
    check_passed();
    check_batches();
}
END_TEST

/* Twice a new hash is drawn, and meets as badly; then the strong one comes. */
START_TEST(a_flooded_cache_is_answered_before_and_after_it_draws_its_hash)
{
    hti_cache_test_flood(true);
    begin(full_types[_i / N_KINDS], kinds[_i % N_KINDS], 9000);
    unsigned n_floods = 0;
    for (size_t i = 0; i < t.n_keys; i++) {
        put_key(i, true);
        if (t.cache->n_floods != n_floods || i == 1000) {
            n_floods = t.cache->n_floods;
            check_batch(1, 0);
            check_batch(MAX_BATCH, 0);
            check_passed();
        }
    }
    ck_assert(t.cache->arrays.strong || t.type.key_size == 0);
    check_batches();
    churn(3000);
    check_passed();
    check_batches();
}
END_TEST

/* For strings, which the hook above does not reach: say that they met too often. */
START_TEST(a_hash_that_is_drawn_anew_finds_every_key)
{
    begin(full_types[_i / N_KINDS], kinds[_i % N_KINDS], SOME_KEYS);
    put_some();
    for (int round = 0; round < 3; round++) {
        t.cache->flooded = true;
        ck_assert_int_eq(hti_cache_reserve(t.cache, 1, 0), 0);
        ck_assert(!t.cache->flooded);
        check_passed();
        check_batches();
    }
    churn(1000);
    check_batches();
}
END_TEST

START_TEST(long_keys_that_collide_are_answered_like_one_by_one)
{
    static const unsigned types[] = { 4, 4 };
    struct hti_row_type type;

    hti_codec_test_hash_mask(0);
    sample_type(types[_i], &type);
    t.colliding = true;
    make_table(&type, kinds[_i], 90);
    for (size_t i = 0; i < t.n_keys; i += 3)
        if (sample_below(3))
            put_key(i + sample_below(3), true); /* the two others of its form are neither present nor unknown */
    check_batches();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("probe");
    TCase *tests = tcase_create("probe");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, a_batch_is_answered_like_its_keys_one_by_one, 0, N_SAMPLE_TYPES * N_KINDS);
    tcase_add_loop_test(tests, a_batch_in_a_cache_larger_than_the_processors_is_answered_too, 0,
                        N_SAMPLE_TYPES * N_KINDS);
    tcase_add_loop_test(tests, a_full_cache_is_answered_after_keys_came_and_went, 0, N_FULL * N_KINDS);
    tcase_add_loop_test(tests, a_large_full_cache_is_answered_after_keys_came_and_went, 0, 2 * N_KINDS);
    tcase_add_loop_test(tests, no_deletion_hides_a_key_that_passed_the_same_groups, 0, N_KINDS);
    tcase_add_test(tests, no_deletion_hides_a_key_that_went_round_all_groups);
    tcase_add_loop_test(tests, growing_keeps_every_key_and_its_way, 0, N_FULL * N_KINDS);
    tcase_add_loop_test(tests, a_partial_cache_that_became_complete_misses_nothing, 0, N_FULL);
    tcase_add_loop_test(tests, a_flooded_cache_is_answered_before_and_after_it_draws_its_hash, 0, N_FULL * N_KINDS);
    tcase_add_loop_test(tests, a_hash_that_is_drawn_anew_finds_every_key, 0, N_FULL * N_KINDS);
    tcase_add_loop_test(tests, long_keys_that_collide_are_answered_like_one_by_one, 0, N_KINDS);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
