/* Tests of cache: against a plain model, in every layout, with collisions of long keys, and the promise that puts cannot fail. */
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check_util.h"
#include "mem.h"
#include "samples.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define N_KEYS 120u
#define N_COLLIDING 3u /* keys that share a stored form, in the suite with collisions */
#define LONG_SIZE 600u

static void set_up(void)
{
    sample_seed(1);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_cache_test_flood(false);
    hti_codec_test_hash_mask(UINT64_MAX);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* --- the model: a fixed set of keys; what was last said of each --- */

struct entry {
    enum hti_cache_state state;
    struct hti_row row; /* packed; `value` as it was put last */
    unsigned slot; /* keys of one slot have the same stored form */
};

struct model {
    struct hti_row_type type;
    struct hti_cache *cache;
    struct entry *entries;
    unsigned n;
    uint64_t n_present, n_absent;
};

static void random_value(const struct model *m, struct hti_row *row)
{
    const size_t size = m->type.value_is_fixed ? m->type.value_size : 8 + sample_below(40);
    uint8_t *bytes = malloc(size > 0 ? size : 1);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)sample_random();
    row->value = bytes;
    row->value_size = size;
}

/* Key number i: as many different ones as the type allows, strings of many sizes. Returns how many there are at most. */
static unsigned make_key(const struct hti_row_type *type, unsigned i, bool colliding, struct hti_row *row)
{
    size_t size = type->key_size;
    uint8_t *bytes;

    if (size == 0)
        size = colliding ? LONG_SIZE : i % 5 == 0 ? HTI_SHORT_KEY_MAX + i : i / 2;
    bytes = calloc(1, size > 0 ? size : 1);
    ck_assert_ptr_nonnull(bytes);
    if (colliding) {
        const unsigned group = i / N_COLLIDING;
        memcpy(bytes, &group, sizeof group); /* the same first 490 bytes */
        memcpy(bytes + HTI_SHORT_KEY_MAX + 1, &i, sizeof i);
    } else if (size > 0) {
        bytes[0] = (uint8_t)i;
        bytes[size - 1] = (uint8_t)(size == 1 ? i : i * 7);
    }
    row->key = bytes;
    row->key_size = size;
    return type->key_dtype == HTSTORE_BOOL ? 2 : N_KEYS;
}

static void model_init(struct model *m, const struct hti_row_type *type, bool colliding)
{
    memset(m, 0, sizeof *m);
    m->type = *type;
    ck_assert_int_eq(hti_cache_new(type, HTI_CACHE_PARTIAL, &m->cache), 0);
    m->entries = calloc(N_KEYS, sizeof *m->entries);
    ck_assert_ptr_nonnull(m->entries);
    m->n = 1;
    for (unsigned i = 0; i < m->n; i++) {
        m->n = make_key(type, i, colliding, &m->entries[i].row);
        m->entries[i].slot = colliding ? i / N_COLLIDING : i;
    }
}

static void model_free(struct model *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        free((void *)(uintptr_t)m->entries[i].row.key);
        free((void *)(uintptr_t)m->entries[i].row.value);
    }
    free(m->entries);
    hti_cache_free(m->cache);
}

/* What the cache must say of a key: its own state, or that of another key in its slot. */
static enum hti_cache_state expected_state(const struct model *m, unsigned i)
{
    if (m->entries[i].state != HTI_CACHE_MISS)
        return m->entries[i].state;
    for (unsigned k = 0; k < m->n; k++)
        if (m->entries[k].slot == m->entries[i].slot && m->entries[k].state != HTI_CACHE_MISS)
            return m->entries[k].state == HTI_CACHE_PRESENT ? HTI_CACHE_COLLISION : HTI_CACHE_ABSENT;
    return HTI_CACHE_MISS;
}

static void check_key(const struct model *m, unsigned i)
{
    const struct entry *e = &m->entries[i];
    const enum hti_cache_state expected = expected_state(m, i);
    uint8_t *key = sample_copy(e->row.key, e->row.key_size); /* not at the address that was put */
    const void *value = NULL;
    size_t value_size = 77;
    const enum hti_cache_state state = hti_cache_find(m->cache, key, e->row.key_size, &value, &value_size);

    ck_assert_int_eq(state, expected);
    if (state == HTI_CACHE_PRESENT) {
        ck_assert_ptr_nonnull(value);
        ck_assert_uint_eq(value_size, e->row.value_size);
        ck_assert(memcmp(value, e->row.value, value_size) == 0);
    }
    free(key);
}

static void check_all(const struct model *m)
{
    uint64_t n_present = 0, n_known = 0;

    for (unsigned i = 0; i < m->n; i++) {
        check_key(m, i);
        n_present += m->entries[i].state == HTI_CACHE_PRESENT;
        n_known += m->entries[i].state != HTI_CACHE_MISS;
    }
    ck_assert_uint_eq(hti_cache_present(m->cache), n_present);
    ck_assert_uint_eq(hti_cache_entries(m->cache), n_known);
}

/* All that is known of the keys of a slot is replaced by what is said of one of them. */
static void forget_slot(struct model *m, unsigned slot)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->entries[i].slot == slot)
            m->entries[i].state = HTI_CACHE_MISS;
}

static void put(struct model *m, unsigned i, bool present)
{
    struct entry *e = &m->entries[i];
    const enum hti_cache_state before = expected_state(m, i);
    struct hti_row row = { .key = e->row.key, .key_size = e->row.key_size };

    if (before == HTI_CACHE_COLLISION)
        return; /* callers exclude that */
    if (present) {
        free((void *)(uintptr_t)e->row.value);
        random_value(m, &e->row);
        row = e->row;
    }
    ck_assert_int_eq(hti_cache_reserve_row(m->cache, &row), 0);
    ck_assert_int_eq(hti_cache_put(m->cache, &row), before);
    forget_slot(m, e->slot);
    e->state = present ? HTI_CACHE_PRESENT : HTI_CACHE_ABSENT;
}

static void forget(struct model *m, unsigned i)
{
    const enum hti_cache_state before = expected_state(m, i);

    if (before == HTI_CACHE_COLLISION)
        return;
    ck_assert_int_eq(hti_cache_remove(m->cache, m->entries[i].row.key, m->entries[i].row.key_size), before);
    forget_slot(m, m->entries[i].slot);
}

static void clear(struct model *m)
{
    hti_cache_clear(m->cache);
    for (unsigned i = 0; i < m->n; i++)
        m->entries[i].state = HTI_CACHE_MISS;
    ck_assert_uint_eq(hti_cache_entries(m->cache), 0);
    ck_assert_uint_eq(hti_cache_present(m->cache), 0);
}

/* `n` keys are in use, so that small tables stay nearly full and long runs of neighbours form and are closed. */
static void step(struct model *m, unsigned n)
{
    const unsigned i = (unsigned)sample_below(n < m->n ? n : m->n);

    switch (sample_below(10)) {
    case 0:
    case 1:
    case 2:
        put(m, i, true);
        break;
    case 3:
        put(m, i, false);
        break;
    case 4:
    case 5:
    case 6:
        forget(m, i);
        break;
    case 7:
        if (sample_below(100) == 0)
            clear(m);
        else if (sample_below(100) == 0)
            ck_assert_int_eq(hti_cache_reserve(m->cache, sample_below(300), sample_below(300)), 0);
        break;
    default:
        check_key(m, i);
        break;
    }
}

START_TEST(random_operations_agree_with_a_plain_model)
{
    struct hti_row_type type;
    struct model m;

    sample_type((unsigned)_i, &type);
    for (int round = 0; round < 8; round++) {
        model_init(&m, &type, false);
        for (int i = 0; i < 2000; i++) {
            step(&m, round % 2 ? 22 : N_KEYS);
            if (i % 100 == 0)
                check_all(&m);
        }
        check_all(&m);
        model_free(&m);
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
}
END_TEST

START_TEST(colliding_long_keys_agree_with_the_model)
{
    static const unsigned with_string_keys[] = { 4, 5, 8 };
    struct hti_row_type type;
    struct model m;

    hti_codec_test_hash_mask(0);
    sample_type(with_string_keys[_i], &type);
    for (int round = 0; round < 6; round++) {
        model_init(&m, &type, true);
        for (int i = 0; i < 2000; i++) {
            step(&m, round % 2 ? 9 : N_KEYS);
            if (i % 100 == 0)
                check_all(&m);
        }
        check_all(&m);
        model_free(&m);
    }
}
END_TEST

/* --- long keys one by one --- */

struct pair {
    struct hti_row_type type;
    struct hti_cache *cache;
    uint8_t a[LONG_SIZE], b[LONG_SIZE];
};

static void pair_init(struct pair *p)
{
    hti_codec_test_hash_mask(0);
    hti_row_type_init(&p->type, HTSTORE_STRING, HTSTORE_UINT8, 1);
    ck_assert_int_eq(hti_cache_new(&p->type, HTI_CACHE_PARTIAL, &p->cache), 0);
    memset(p->a, 'k', LONG_SIZE);
    memset(p->b, 'k', LONG_SIZE);
    p->b[LONG_SIZE - 1] = 'x';
}

static enum hti_cache_state find_long(struct pair *p, const uint8_t *key)
{
    const void *value;
    size_t size;
    return hti_cache_find(p->cache, key, LONG_SIZE, &value, &size);
}

static enum hti_cache_state put_long(struct pair *p, const uint8_t *key, bool present)
{
    const struct hti_row row = { key, LONG_SIZE, present ? "v" : NULL, present ? 1 : 0 };

    ck_assert_int_eq(hti_cache_reserve_row(p->cache, &row), 0);
    return hti_cache_put(p->cache, &row);
}

START_TEST(a_colliding_key_is_told_apart_from_a_present_one)
{
    struct pair p;

    pair_init(&p);
    put_long(&p, p.a, true);
    ck_assert_int_eq(find_long(&p, p.a), HTI_CACHE_PRESENT);
    ck_assert_int_eq(find_long(&p, p.b), HTI_CACHE_COLLISION);
    ck_assert_int_eq(hti_cache_remove(p.cache, p.b, LONG_SIZE), HTI_CACHE_MISS);
    ck_assert_int_eq(find_long(&p, p.a), HTI_CACHE_PRESENT);
    hti_cache_free(p.cache);
}
END_TEST

/* Both keys would be stored in one place: where the one was removed from, the other cannot be. */
START_TEST(where_one_key_is_absent_a_colliding_one_is_absent_too)
{
    struct pair p;

    pair_init(&p);
    put_long(&p, p.a, false);
    ck_assert_int_eq(find_long(&p, p.a), HTI_CACHE_ABSENT);
    ck_assert_int_eq(find_long(&p, p.b), HTI_CACHE_ABSENT);
    hti_cache_free(p.cache);
}
END_TEST

START_TEST(a_key_removed_before_a_colliding_one_came_collides_with_it)
{
    struct pair p;

    pair_init(&p);
    put_long(&p, p.a, true);
    put_long(&p, p.a, false);
    put_long(&p, p.b, true);
    ck_assert_int_eq(find_long(&p, p.b), HTI_CACHE_PRESENT);
    ck_assert_int_eq(find_long(&p, p.a), HTI_CACHE_COLLISION);
    ck_assert_uint_eq(hti_cache_entries(p.cache), 1);
    ck_assert_uint_eq(hti_cache_present(p.cache), 1);
    hti_cache_free(p.cache);
}
END_TEST

START_TEST(long_keys_with_one_prefix_but_other_hashes_do_not_collide)
{
    struct pair p;

    pair_init(&p);
    hti_codec_test_hash_mask(UINT64_MAX);
    put_long(&p, p.a, true);
    ck_assert_int_eq(find_long(&p, p.b), HTI_CACHE_MISS);
    put_long(&p, p.b, false);
    ck_assert_int_eq(find_long(&p, p.a), HTI_CACHE_PRESENT);
    ck_assert_int_eq(find_long(&p, p.b), HTI_CACHE_ABSENT);
    hti_cache_free(p.cache);
}
END_TEST

/* --- memory --- */

/* Rows with keys 0 … n - 1 of any type that has so many. */
static struct hti_row *many_rows(const struct hti_row_type *type, size_t n)
{
    struct hti_row *rows = calloc(n, sizeof *rows);

    ck_assert_ptr_nonnull(rows);
    for (size_t i = 0; i < n; i++) {
        const size_t key_size = type->key_size ? type->key_size : 4 + i % 600;
        uint8_t *key = calloc(1, key_size);
        ck_assert_ptr_nonnull(key);
        memcpy(key, &i, key_size < 4 ? key_size : 4);
        rows[i] = (struct hti_row){ key, key_size, calloc(1, type->value_size + 1), type->value_size };
        ck_assert_ptr_nonnull(rows[i].value);
    }
    return rows;
}

static void free_rows(struct hti_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)rows[i].key);
        free((void *)(uintptr_t)rows[i].value);
    }
    free(rows);
}

START_TEST(a_put_after_a_reservation_needs_no_memory)
{
    static const unsigned kinds[] = { 0, 4, 6, 9, 10, 12 };
    static const size_t counts[] = { 1, 11, 12, 13, 100, 767, 768, 769, 3000 };
    struct hti_row_type type;
    struct hti_cache *cache;
    const void *value;
    size_t size;

    sample_type(kinds[_i], &type);
    for (size_t c = 0; c < COUNT(counts); c++) {
        const size_t n = counts[c];
        struct hti_row *rows = many_rows(&type, n);
        uint64_t room = 0;
        ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_COMPLETE, &cache), 0);
        for (size_t i = 0; i < n; i++)
            room += hti_cache_row_bytes(cache, rows[i].key_size, rows[i].value_size);
        ck_assert_int_eq(hti_cache_reserve(cache, n, room), 0);
        ck_assert(hti_cache_has_room(cache, n, room));
        const uint64_t bytes = hti_cache_bytes(cache);

        hti_mem_test_fail(0, true);
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(hti_cache_put(cache, &rows[i]), HTI_CACHE_MISS);
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(hti_cache_find(cache, rows[i].key, rows[i].key_size, &value, &size), HTI_CACHE_PRESENT);
        for (size_t i = 0; i < n; i += 2)
            ck_assert_int_eq(hti_cache_remove(cache, rows[i].key, rows[i].key_size), HTI_CACHE_PRESENT);
        hti_cache_clear(cache);
        ck_assert(!hti_mem_test_failed());
        hti_mem_test_fail(UINT64_MAX, false);

        ck_assert(hti_cache_has_room(cache, n, room));
        ck_assert_uint_eq(hti_cache_bytes(cache), bytes);
        hti_cache_free(cache);
        free_rows(rows, n);
    }
}
END_TEST

START_TEST(a_failed_reservation_leaves_the_cache_as_it_was)
{
    struct hti_row_type type;
    struct model m;
    bool failed = true;

    sample_type(0, &type);
    model_init(&m, &type, false);
    for (unsigned i = 0; hti_cache_has_room(m.cache, 1, 0); i++)
        put(&m, i, i % 3 != 0);
    ck_assert(!hti_cache_has_room(m.cache, 1, 0));
    for (uint64_t after = 0; failed; after++) {
        const uint64_t bytes = hti_cache_bytes(m.cache);
        hti_mem_test_fail(after, true);
        const int rc = hti_cache_reserve(m.cache, 1000, 0);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert(hti_cache_has_room(m.cache, 1, 0) == !failed);
        if (failed)
            ck_assert_uint_eq(hti_cache_bytes(m.cache), bytes);
        check_all(&m);
    }
    model_free(&m);
}
END_TEST

START_TEST(reservations_beyond_every_limit_are_refused)
{
    static const uint64_t counts[] = { (uint64_t)1 << 36,  (uint64_t)1 << 40, UINT64_MAX / 4,
                                       UINT64_MAX / 4 * 3, UINT64_MAX - 1,    UINT64_MAX };
    struct hti_row_type type;
    struct hti_cache *cache;

    sample_type(0, &type);
    ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_COMPLETE, &cache), 0);
    for (size_t i = 0; i < COUNT(counts); i++) {
        ck_assert(!hti_cache_has_room(cache, counts[i], 0));
        ck_assert_int_eq(hti_cache_reserve(cache, counts[i], 0), HTSTORE_ENOMEM);
    }
    ck_assert(hti_cache_has_room(cache, 0, 0));
    ck_assert_int_eq(hti_cache_reserve(cache, 0, 0), 0);
    hti_cache_free(cache);
}
END_TEST

START_TEST(making_a_cache_without_memory_fails_cleanly)
{
    struct hti_row_type type;
    struct hti_cache *cache;

    sample_type(4, &type);
    for (uint64_t after = 0; after < 4; after++) {
        hti_mem_test_fail(after, true);
        ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_PARTIAL, &cache), HTSTORE_ENOMEM);
        ck_assert_ptr_null(cache);
    }
    hti_mem_test_fail(UINT64_MAX, false);
    hti_cache_free(NULL);
}
END_TEST

static void put_row(struct hti_cache *cache, const struct hti_row *row)
{
    ck_assert_int_eq(hti_cache_reserve_row(cache, row), 0);
    hti_cache_put(cache, row);
}

/* Rows above 64 KiB have memory of their own, which is given back when they go. */
START_TEST(bytes_count_what_rows_hold)
{
    struct hti_row_type type;
    struct hti_cache *cache;
    static const uint8_t big[100000];
    const struct hti_row row = { "key", 3, big, sizeof big }, shorter = { "key", 3, big, 10 },
                         gone = { "key", 3, NULL, 0 };

    sample_type(5, &type);
    ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_PARTIAL, &cache), 0);
    const uint64_t empty = hti_cache_bytes(cache);
    ck_assert_uint_gt(empty, 16 * 4);
    put_row(cache, &row);
    ck_assert_uint_ge(hti_cache_bytes(cache), empty + sizeof big);
    put_row(cache, &shorter);
    ck_assert_uint_gt(hti_cache_bytes(cache), empty);
    ck_assert_uint_lt(hti_cache_bytes(cache), empty + 100);
    put_row(cache, &gone);
    hti_cache_remove(cache, "key", 3);
    ck_assert_uint_lt(hti_cache_bytes(cache), empty + 100);
    put_row(cache, &row);
    hti_cache_clear(cache);
    ck_assert_uint_eq(hti_cache_bytes(cache), empty);
    ck_assert_int_eq(hti_cache_reserve_large(cache, 3, sizeof big), 0);
    ck_assert_uint_ge(hti_cache_bytes(cache), empty + sizeof big);
    hti_cache_drop_spares(cache);
    ck_assert_uint_eq(hti_cache_bytes(cache), empty);
    hti_cache_free(cache);
}
END_TEST

static bool uses_heap(uint32_t key_dtype, uint32_t value_dtype, uint64_t n_elements)
{
    struct hti_row_type type;
    struct hti_cache *cache;

    hti_row_type_init(&type, key_dtype, value_dtype, n_elements);
    ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_COMPLETE, &cache), 0);
    const bool uses = hti_cache_uses_heap(cache);
    hti_cache_free(cache);
    return uses;
}

START_TEST(rows_lie_in_their_slot_up_to_48_bytes)
{
    ck_assert(!uses_heap(HTSTORE_INT64, HTSTORE_UINT8, 40));
    ck_assert(uses_heap(HTSTORE_INT64, HTSTORE_UINT8, 41));
    ck_assert(!uses_heap(HTSTORE_BOOL, HTSTORE_INT8, 0));
    ck_assert(uses_heap(HTSTORE_BOOL, HTSTORE_STRING, 0));
    ck_assert(uses_heap(HTSTORE_STRING, HTSTORE_INT8, 0));
    /* a value size that 32 bits cannot hold must not wrap round to a small row */
    ck_assert(uses_heap(HTSTORE_INT64, HTSTORE_INT64, UINT64_C(1) << 32));
}
END_TEST

/* A hash under which all keys meet is noticed and replaced, and nothing is lost on the way. */
START_TEST(a_flooded_cache_draws_its_hash_anew)
{
    struct hti_row_type type;
    struct hti_cache *cache;
    const void *value;
    size_t size;

    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_INT64, 1);
    hti_cache_test_flood(true);
    ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_COMPLETE, &cache), 0);
    for (uint64_t i = 0; i < 20000; i++) {
        const struct hti_row row = { &i, 8, &i, 8 };
        put_row(cache, &row);
    }
    for (uint64_t i = 0; i < 20000; i++) {
        ck_assert_int_eq(hti_cache_find(cache, &i, 8, &value, &size), HTI_CACHE_PRESENT);
        ck_assert(memcmp(value, &i, 8) == 0);
    }
    ck_assert_uint_lt(hti_cache_passed(cache), 128);
    hti_cache_free(cache);
}
END_TEST

struct reading {
    const struct hti_cache *cache;
    const struct hti_row *rows;
    size_t n;
    unsigned n_wrong;
};

static void *read_all(void *argument)
{
    struct reading *r = argument;
    const void *value;
    size_t size;

    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < r->n; i++)
            if (hti_cache_find(r->cache, r->rows[i].key, r->rows[i].key_size, &value, &size) != HTI_CACHE_PRESENT ||
                size != r->rows[i].value_size || memcmp(value, r->rows[i].value, size) != 0)
                r->n_wrong++;
    return NULL;
}

START_TEST(readers_do_not_disturb_each_other)
{
    static const unsigned kinds[] = { 0, 4 };
    struct hti_row_type type;
    struct hti_cache *cache;
    struct reading readings[3];
    pthread_t threads[3];

    sample_type(kinds[_i], &type);
    struct hti_row *rows = many_rows(&type, 500);
    ck_assert_int_eq(hti_cache_new(&type, HTI_CACHE_COMPLETE, &cache), 0);
    for (size_t i = 0; i < 500; i++)
        put_row(cache, &rows[i]);
    for (int t = 0; t < 3; t++) {
        readings[t] = (struct reading){ cache, rows, 500, 0 };
        ck_assert_int_eq(pthread_create(&threads[t], NULL, read_all, &readings[t]), 0);
    }
    for (int t = 0; t < 3; t++) {
        pthread_join(threads[t], NULL);
        ck_assert_uint_eq(readings[t].n_wrong, 0);
    }
    hti_cache_free(cache);
    free_rows(rows, 500);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *tests = tcase_create("cache");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, random_operations_agree_with_a_plain_model, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, colliding_long_keys_agree_with_the_model, 0, 3);
    tcase_add_test(tests, a_colliding_key_is_told_apart_from_a_present_one);
    tcase_add_test(tests, where_one_key_is_absent_a_colliding_one_is_absent_too);
    tcase_add_test(tests, a_key_removed_before_a_colliding_one_came_collides_with_it);
    tcase_add_test(tests, long_keys_with_one_prefix_but_other_hashes_do_not_collide);
    tcase_add_loop_test(tests, a_put_after_a_reservation_needs_no_memory, 0, 6);
    tcase_add_test(tests, a_failed_reservation_leaves_the_cache_as_it_was);
    tcase_add_test(tests, reservations_beyond_every_limit_are_refused);
    tcase_add_test(tests, making_a_cache_without_memory_fails_cleanly);
    tcase_add_test(tests, bytes_count_what_rows_hold);
    tcase_add_test(tests, rows_lie_in_their_slot_up_to_48_bytes);
    tcase_add_test(tests, a_flooded_cache_draws_its_hash_anew);
    tcase_add_loop_test(tests, readers_do_not_disturb_each_other, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
