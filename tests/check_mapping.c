/* check_mapping: semantics.md 1.4, 2.1 to 2.3 and the M cases of 4: mappings, through the public header only. */
#include "api_objects.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define APPEND_ONLY "Mappings are an append-only data structure. Tried to overwrite the key "
#define NO_OBJECT "Only objects of this store (tables, variables, mappings) may be stored in a mapping. Got "
#define NO_TEXT "Mapping accepts only string keys, but got a key "

static int update(struct htstore_mapping *mapping, const char *key, const void *object, const char *other_key,
                  const void *other)
{
    const struct htstore_entry entries[] = { { bytes_of(key), object }, { bytes_of(other_key), other } };
    return htstore_mapping_update(mapping, entries, 2, &api.error);
}

static int put_bytes(struct htstore_mapping *mapping, const void *data, size_t size, const void *object)
{
    const struct htstore_bytes key = { data, size };
    return htstore_mapping_put(mapping, &key, object, &api.error);
}

/* ---- conformance ---- */

START_TEST(m01_a_key_never_changes_its_object)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *o1 = new_table("o1"), *p1 = new_table(NULL);
    struct htstore_variable *o2 = new_variable("o2", 0, 0, "1");
    char text[160];
    ck_assert_uint_eq(htstore_mapping_size(m), 0);
    PUT(m, "a", o1);
    REFUSED(objects_put(m, "a", o2), HTSTORE_EEXIST,
            APPEND_ONLY "'a' with value variable o2, but it already contains table o1");
    ck_assert_uint_eq(id_under(m, "a"), htstore_object_id(o1));
    const struct htstore_entry b = { bytes_of("b"), p1 }, other = { bytes_of("b"), o2 };
    OK(htstore_mapping_update(m, &b, 1, &api.error));
    (void)snprintf(text, sizeof text, "'b' with value variable o2, but it already contains anonymous table %ju",
                   (uintmax_t)htstore_object_id(p1));
    REFUSED(htstore_mapping_update(m, &other, 1, &api.error), HTSTORE_EEXIST, text);
    ck_assert_int_eq(api.error.index, 0);
    KEYS_ARE(m, "a b");
    objects_reopen();
    m = get_mapping("m");
    KEYS_ARE(m, "a b");
    REFUSED(objects_put(m, "a", get_variable("o2")), HTSTORE_EEXIST, APPEND_ONLY "'a'");
}
END_TEST

static const struct {
    const char *data;
    size_t size;
    const char *shown;
} no_text[] = {
    { "\xff", 1, NO_TEXT "\\xFF" }, { "a\0b", 3, NO_TEXT "a\\x00b" },
    { "\0", 1, NO_TEXT "\\x00" },   { "\xc0\x80", 2, NO_TEXT "\\xC0\\x80" },
    { "\xed\xa0\x80", 3, NO_TEXT }, { "ab\xe2\x82", 4, NO_TEXT "ab\\xE2\\x82" },
};

START_TEST(m02_a_key_that_is_no_text_is_refused_and_absent)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *o = new_table("o");
    const struct htstore_bytes key = { no_text[_i].data, no_text[_i].size };
    void *object = &api;
    uint32_t kind = 77;
    PUT(m, "a", o);
    REFUSED(put_bytes(m, key.data, key.size, o), HTSTORE_ETYPE, no_text[_i].shown);
    REFUSED(put_bytes(m, key.data, key.size, NULL), HTSTORE_ETYPE, no_text[_i].shown);
    REFUSED(htstore_mapping_track(m, &key, o, NULL, NULL, &api.error), HTSTORE_ETYPE, no_text[_i].shown);
    const struct htstore_entry entries[] = { { bytes_of("b"), o }, { key, o } };
    REFUSED(htstore_mapping_update(m, entries, 2, &api.error), HTSTORE_ETYPE, no_text[_i].shown);
    ck_assert_int_eq(api.error.index, 1);
    KEYS_ARE(m, "a");
    ck_assert_int_eq(htstore_mapping_get(m, &key, &kind, &object, &api.error), 1);
    ck_assert_int_eq(htstore_mapping_contains(m, &key, &api.error), 0);
    ck_assert(object == (void *)&api && kind == 77);
    REFUSED(htstore_mapping_at(m, &key, &kind, &object, &api.error), HTSTORE_ENOTFOUND, "");
    ck_assert_ptr_null(object);
}
END_TEST

START_TEST(m03_objects_are_equal_by_number_only)
{
    struct htstore_mapping *a = new_mapping("a", 0), *b = new_mapping("b", 0), *c = new_mapping(NULL, 0);
    const uint64_t set[] = { htstore_object_id(a), htstore_object_id(b) };
    ck_assert_uint_ne(set[0], set[1]);
    ck_assert_uint_ne(htstore_object_id(c), set[0]);
    ck_assert_uint_ne(htstore_object_id(c), set[1]);
    ck_assert_uint_eq(htstore_object_id(get_mapping("a")), set[0]);
    objects_reopen();
    ck_assert_uint_eq(htstore_object_id(get_mapping("a")), set[0]);
    ck_assert_uint_eq(htstore_object_id(get_mapping("b")), set[1]);
    for (int i = 0; i < 20; i++) /* numbers are never given twice */
        ck_assert_uint_gt(htstore_object_id(new_mapping(NULL, 0)), set[1]);
}
END_TEST

START_TEST(m05_what_is_no_object_of_the_store_is_refused)
{
    static const char text[64] = "plain data";
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *closed = new_table(NULL), *open = new_table("t");
    struct htstore_cursor *cursor;
    struct htstore_batch *batch;
    OK(htstore_cursor_open(open, &cursor, &api.error));
    OK(htstore_batch_new(api.store, &batch, &api.error));
    objects_forget(closed);
    OK(htstore_table_close(closed, &api.error));
    const void *const others[] = { NULL, text, closed, api.store, api.arena, cursor, batch };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct htstore_bytes key = bytes_of("a");
        REFUSED(objects_put(m, "a", others[i]), HTSTORE_EINVAL, NO_OBJECT);
        REFUSED(update(m, "b", open, "a", others[i]), HTSTORE_EINVAL, NO_OBJECT);
        REFUSED(htstore_mapping_track(m, &key, others[i], NULL, NULL, &api.error), HTSTORE_EINVAL, NO_OBJECT);
    }
    htstore_cursor_close(cursor);
    htstore_batch_free(batch);
    KEYS_ARE(m, "");
}
END_TEST

START_TEST(m05_an_object_of_another_store_is_refused)
{
    struct htstore_mapping *m = new_mapping("m", 0), *foreign;
    struct htstore *mine = api.store, *other;
    OK(htstore_open(api_path("other"), &api.options, &other, &api.error));
    OK(htstore_mapping_create(other, "m", NULL, NULL, 0, &foreign, &api.error));
    REFUSED(objects_put(m, "a", foreign), HTSTORE_EINVAL, NO_OBJECT);
    const struct htstore_entry entry = { bytes_of("a"), foreign };
    struct htstore_mapping *made = (struct htstore_mapping *)&api;
    REFUSED(htstore_mapping_create(mine, "n", NULL, &entry, 1, &made, &api.error), HTSTORE_EINVAL, NO_OBJECT);
    ck_assert_ptr_null(made);
    KEYS_ARE(m, "");
    OK(htstore_mapping_close(foreign, &api.error));
    OK(htstore_close(other, &api.error));
    ck_assert_uint_eq(object_count(), 1);
}
END_TEST

START_TEST(m06_the_trainable_flag_moves_weights_between_lists)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    PUT(m, "x", new_variable("v", HTSTORE_WEIGHT, 0, "1"));
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(htstore_mapping_is_trainable(m), 1);
        LISTS(m, HTSTORE_LAYERS, "");
        LISTS(m, HTSTORE_WEIGHTS, "v");
        LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "v");
        LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "");
        OK(htstore_mapping_set_trainable(m, 0, &api.error));
        ck_assert_int_eq(htstore_mapping_is_trainable(m), 0);
        if (round == 1) { /* it is kept */
            objects_reopen();
            m = get_mapping("m");
        }
        LISTS(m, HTSTORE_WEIGHTS, "v");
        LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "");
        LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "v");
        OK(htstore_mapping_set_trainable(m, 1, &api.error));
    }
    PUT(m, "y", new_variable("v2", HTSTORE_WEIGHT, HTSTORE_NOT_TRAINABLE, "2"));
    LISTS(m, HTSTORE_WEIGHTS, "v v2");
    LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "v");
    LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "v2");
    REFUSED(htstore_mapping_set_trainable(m, 2, &api.error), HTSTORE_EINVAL, "trainable");
    REFUSED(htstore_mapping_set_trainable(m, -1, &api.error), HTSTORE_EINVAL, "trainable");
}
END_TEST

START_TEST(m20_the_same_object_again_changes_nothing)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *o = new_table(NULL);
    PUT(m, "k", o);
    PUT(m, "k", get_by_id(htstore_object_id(o)));
    OK(update(m, "k", o, "k", o));
    KEYS_ARE(m, "k");
    OK(update(m, "k", o, "l", o)); /* the new ones of an update are added */
    OK(update(m, "n", o, "n", o));
    KEYS_ARE(m, "k l n");
}
END_TEST

START_TEST(m21_an_update_with_what_create_gave_changes_nothing)
{
    struct htstore_table *x = new_table("x");
    const struct htstore_entry entry = { bytes_of("a"), x };
    struct htstore_mapping *m;
    OK(htstore_mapping_create(api.store, "m", NULL, &entry, 1, &m, &api.error));
    objects_keep(m);
    OK(htstore_mapping_update(m, &entry, 1, &api.error));
    KEYS_ARE(m, "a");
}
END_TEST

START_TEST(m22_an_update_is_all_or_nothing)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *x = new_table("x"), *y = new_table("y"), *n = new_table("n");
    PUT(m, "b", x);
    REFUSED(update(m, "a", n, "b", y), HTSTORE_EEXIST, "'b' with value table y, but it already contains table x");
    ck_assert_int_eq(api.error.index, 1);
    REFUSED(update(m, "b", y, "a", n), HTSTORE_EEXIST, "'b'");
    ck_assert_int_eq(api.error.index, 0);
    REFUSED(update(m, "c", x, "c", y), HTSTORE_EEXIST, "'c' with value table y, but it already contains table x");
    ck_assert_int_eq(api.error.index, 1);
    ck_assert_uint_eq(id_under(m, "a"), 0);
    ck_assert_uint_eq(id_under(m, "b"), htstore_object_id(x));
    KEYS_ARE(m, "b");
    objects_reopen();
    KEYS_ARE(get_mapping("m"), "b");
}
END_TEST

START_TEST(m23_get_of_a_missing_key_leaves_the_default)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    const struct htstore_bytes key = bytes_of("missing");
    void *object = m;
    uint32_t kind = 99;
    ck_assert_int_eq(htstore_mapping_get(m, &key, &kind, &object, &api.error), 1);
    ck_assert_ptr_eq(object, m);
    ck_assert_uint_eq(kind, 99);
    REFUSED(htstore_mapping_at(m, &key, NULL, &object, &api.error), HTSTORE_ENOTFOUND,
            "mapping m has no key 'missing'");
    ck_assert_ptr_null(object);
    KEYS_ARE(m, "");
    PUT(m, "missing", m);
    OK(htstore_mapping_at(m, &key, &kind, &object, &api.error));
    ck_assert_uint_eq(kind, HTSTORE_KIND_MAPPING);
    ck_assert_uint_eq(htstore_object_id(object), htstore_object_id(m));
    OK(htstore_object_close(object, &api.error));
}
END_TEST

START_TEST(m24_iteration_is_in_the_order_of_the_puts)
{
    enum { N = 300 };
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *o = new_table(NULL);
    char expected[N * 8], *end = expected;
    for (unsigned i = 0; i < N; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", i * 7919u % 1009u);
        end += sprintf(end, "%s%s", i ? " " : "", key);
        PUT(m, key, o);
        if (i % 100 == 50) {
            KEYS_ARE(m, expected);
            objects_reopen();
            m = get_mapping("m");
            o = get_by_id(id_under(m, key));
        }
    }
    KEYS_ARE(m, expected);
    objects_reopen();
    KEYS_ARE(get_mapping("m"), expected);
}
END_TEST

/* ---- keys ---- */

static const size_t key_sizes[] = { 0, 1, 479, 480, 481, 482, 490, 511, 512, 4096, 65534, 65535 };
#define N_KEY_SIZES ((int)(sizeof key_sizes / sizeof key_sizes[0]))

START_TEST(keys_of_every_length_are_kept)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    uint64_t ids[2 * N_KEY_SIZES];
    const struct htstore_item *items;
    uint64_t n;
    for (int i = 0; i < 2 * N_KEY_SIZES; i++) { /* the second of a size differs in its last byte only */
        struct htstore_bytes key = long_key('k', key_sizes[i / 2]);
        if (key.size > 0)
            ((char *)(uintptr_t)key.data)[key.size - 1] = i % 2 ? 'x' : 'k';
        struct htstore_table *o = key.size || i % 2 == 0 ? new_table(NULL) : get_by_id(ids[0]);
        ids[i] = htstore_object_id(o);
        OK(htstore_mapping_put(m, &key, o, &api.error));
        REFUSED(htstore_mapping_put(m, &key, m, &api.error), HTSTORE_EEXIST, APPEND_ONLY);
    }
    objects_reopen();
    m = get_mapping("m");
    OK(htstore_mapping_items(m, api.arena, &items, &n, &api.error));
    ck_assert_uint_eq(n, 2 * N_KEY_SIZES - 1);
    for (int i = 1; i < 2 * N_KEY_SIZES; i++) {
        void *object;
        ck_assert_uint_eq(items[i - 1].key.size, key_sizes[i / 2]);
        ck_assert_uint_eq(items[i - 1].id, ids[i]);
        ck_assert_uint_eq(items[i - 1].kind, HTSTORE_KIND_TABLE);
        OK(htstore_mapping_at(m, &items[i - 1].key, NULL, &object, &api.error));
        ck_assert_uint_eq(htstore_object_id(object), ids[i]);
        REFUSED(htstore_mapping_put(m, &items[i - 1].key, m, &api.error), HTSTORE_EEXIST, APPEND_ONLY);
        OK(htstore_object_close(object, &api.error));
    }
}
END_TEST

START_TEST(a_key_that_is_too_long_is_refused)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    const struct htstore_bytes longest = long_key('k', 65535), longer = long_key('k', 65536);
    struct htstore_bytes key = { "", 0 };
    const void *data = key.data;
    void *object = m;
    REFUSED(htstore_mapping_put(m, &longer, m, &api.error), HTSTORE_EINVAL, "65535");
    REFUSED(htstore_mapping_track(m, &longer, m, NULL, NULL, &api.error), HTSTORE_EINVAL, "65535");
    ck_assert_int_eq(htstore_mapping_get(m, &longer, NULL, &object, &api.error), 1);
    OK(htstore_mapping_put(m, &longest, m, &api.error));
    /* the next free name would be too long */
    REFUSED(htstore_mapping_track(m, &longest, m, api.arena, &key, &api.error), HTSTORE_EINVAL, "65535");
    ck_assert(key.size == 0 && key.data == data);
    ck_assert_uint_eq(htstore_mapping_size(m), 1);
}
END_TEST

START_TEST(keys_may_be_empty_or_look_like_paths)
{
    static const char *const keys[] = { "", "/", ".", "a/b", "a.b", "..", " ", "\xc3\xa9", "\xf0\x9f\x98\x80" };
    struct htstore_mapping *m = new_mapping("m", 0);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        PUT(m, keys[i], m);
    const struct htstore_bytes empty = { NULL, 0 };
    ck_assert_int_eq(htstore_mapping_contains(m, &empty, &api.error), 1);
    objects_reopen();
    KEYS_ARE(get_mapping("m"), "- / . a/b a.b ..   \xc3\xa9 \xf0\x9f\x98\x80");
}
END_TEST

/* ---- track ---- */

static const char *track(struct htstore_mapping *m, const char *base, const void *object)
{
    const struct htstore_bytes bytes = bytes_of(base);
    struct htstore_bytes key;
    OK(htstore_mapping_track(m, &bytes, object, api.arena, &key, &api.error));
    ck_assert_uint_eq(strlen(key.data), key.size);
    return key.data;
}

START_TEST(track_takes_the_first_free_name)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *o = new_table(NULL), *p = new_table(NULL);
    const struct htstore_bytes base = bytes_of("d");
    ck_assert_str_eq(track(m, "d", o), "d");
    ck_assert_str_eq(track(m, "d", o), "d_1");
    PUT(m, "d_2", p);
    ck_assert_str_eq(track(m, "d", p), "d_3");
    ck_assert_str_eq(track(m, "d_1", p), "d_1_1");
    ck_assert_str_eq(track(m, "", p), "");
    ck_assert_str_eq(track(m, "", p), "_1");
    OK(htstore_mapping_track(m, &base, o, NULL, NULL, &api.error));
    KEYS_ARE(m, "d d_1 d_2 d_3 d_1_1 - _1 d_4");
    objects_reopen();
    KEYS_ARE(get_mapping("m"), "d d_1 d_2 d_3 d_1_1 - _1 d_4");
}
END_TEST

#define N_TRACKERS 4
#define N_TRACKED 25

static void *track_many(void *mapping)
{
    const struct htstore_bytes base = { "d", 1 };
    struct htstore_error error;
    for (int i = 0; i < N_TRACKED; i++)
        if (htstore_mapping_track(mapping, &base, mapping, NULL, NULL, &error) != 0)
            return "track failed";
    return NULL;
}

START_TEST(concurrent_tracks_get_different_names)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    pthread_t threads[N_TRACKERS];
    void *result;
    for (int i = 0; i < N_TRACKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, track_many, m), 0);
    for (int i = 0; i < N_TRACKERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_msg(!result, "%s", (const char *)result);
    }
    ck_assert_uint_eq(htstore_mapping_size(m), N_TRACKERS * N_TRACKED);
    ck_assert_uint_ne(id_under(m, "d_99"), 0);
    ck_assert_uint_eq(id_under(m, "d_100"), 0);
}
END_TEST

/* ---- create, open, get or create ---- */

START_TEST(create_with_entries_is_all_or_nothing)
{
    struct htstore_table *x = new_table("x"), *y = new_table("y");
    const struct htstore_entry conflict[] = { { bytes_of("a"), x }, { bytes_of("b"), y }, { bytes_of("a"), y } };
    const struct htstore_entry good[] = { { bytes_of("b"), y }, { bytes_of("a"), x }, { bytes_of("b"), y } };
    struct htstore_mapping *m = (struct htstore_mapping *)&api;
    const uint64_t before = object_count();
    REFUSED(htstore_mapping_create(api.store, "m", NULL, conflict, 3, &m, &api.error), HTSTORE_EEXIST,
            APPEND_ONLY "'a' with value table y, but it already contains table x");
    ck_assert_int_eq(api.error.index, 2);
    ck_assert_ptr_null(m);
    REFUSED(htstore_mapping_create(api.store, "m", NULL, NULL, 1, &m, &api.error), HTSTORE_EINVAL, "entries");
    ck_assert_uint_eq(object_count(), before);
    REFUSED(htstore_mapping_open(api.store, "m", NULL, &m, &api.error), HTSTORE_ENOTFOUND, "m");
    OK(htstore_mapping_create(api.store, "m", NULL, good, 3, &m, &api.error));
    objects_keep(m);
    KEYS_ARE(m, "b a");
    REFUSED(htstore_mapping_create(api.store, "m", NULL, good, 3, &m, &api.error), HTSTORE_EEXIST, "m");
    REFUSED(htstore_mapping_create(api.store, "x", NULL, NULL, 0, &m, &api.error), HTSTORE_EEXIST, "x");
    objects_reopen();
    KEYS_ARE(get_mapping("m"), "b a");
}
END_TEST

START_TEST(names_and_schemas_are_checked)
{
    struct htstore_mapping_schema layer = { .size = sizeof layer, .flags = HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE };
    struct htstore_mapping_schema plain = { .size = sizeof plain }, odd = { .size = sizeof odd, .flags = 0x10 };
    struct htstore_mapping_schema empty = { 0 }, anonymous = { .size = sizeof empty, .flags = HTSTORE_ANONYMOUS };
    struct htstore_mapping *m = new_mapping("m", HTSTORE_LAYER), *other = NULL;
    struct htstore_variable *v = NULL;
    new_table("t");
    ck_assert_int_eq(htstore_mapping_is_layer(m), 1);
    ck_assert_str_eq(htstore_mapping_name(m), "m");
    OK(htstore_mapping_get_or_create(api.store, "m", &layer, &other, &api.error)); /* the trainable flag is no schema */
    ck_assert_uint_eq(htstore_object_id(other), htstore_object_id(m));
    ck_assert_int_eq(htstore_mapping_is_trainable(other), 1);
    OK(htstore_mapping_close(other, &api.error));
    REFUSED(htstore_mapping_get_or_create(api.store, "m", &plain, &other, &api.error), HTSTORE_ECONFLICT,
            "Conflicting layer flags false with true for m");
    REFUSED(htstore_mapping_open(api.store, "m", &plain, &other, &api.error), HTSTORE_ECONFLICT, "Conflicting layer");
    REFUSED(htstore_mapping_open(api.store, "t", NULL, &other, &api.error), HTSTORE_ECONFLICT,
            "Conflicting kinds mapping with table for t");
    REFUSED(htstore_variable_open(api.store, "m", NULL, &v, &api.error), HTSTORE_ECONFLICT,
            "Conflicting kinds variable with mapping for m");
    REFUSED(htstore_mapping_create(api.store, "n", &odd, NULL, 0, &other, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_mapping_create(api.store, "n", &empty, NULL, 0, &other, &api.error), HTSTORE_EINVAL, "size");
    REFUSED(htstore_mapping_create(api.store, "n", &anonymous, NULL, 0, &other, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_mapping_create(api.store, NULL, &plain, NULL, 0, &other, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_mapping_create(api.store, "", NULL, NULL, 0, &other, &api.error), HTSTORE_EINVAL, "empty");
    REFUSED(htstore_mapping_create(api.store, "\xff", NULL, NULL, 0, &other, &api.error), HTSTORE_ETYPE, "UTF-8");
    REFUSED(htstore_mapping_create(api.store, "n", NULL, NULL, 0, NULL, &api.error), HTSTORE_EINVAL, "NULL");
    ck_assert_ptr_null(other);
    ck_assert_uint_eq(object_count(), 2);
}
END_TEST

START_TEST(a_copy_holds_the_same_objects)
{
    struct htstore_mapping *m = new_mapping("m", 0), *copy;
    const struct htstore_item *items;
    uint64_t n;
    PUT(m, "b", new_table("t"));
    PUT(m, "a", new_variable(NULL, 0, 0, "5"));
    PUT(m, "self", m);
    OK(htstore_mapping_items(m, api.arena, &items, &n, &api.error));
    struct htstore_entry entries[3];
    for (uint64_t i = 0; i < n; i++)
        entries[i] = (struct htstore_entry){ items[i].key, get_by_id(items[i].id) };
    OK(htstore_mapping_create(api.store, "copy", NULL, entries, n, &copy, &api.error));
    objects_keep(copy);
    KEYS_ARE(copy, "b a self");
    ck_assert_uint_eq(id_under(copy, "self"), htstore_object_id(m));
    PUT(copy, "more", m);
    KEYS_ARE(m, "b a self");
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    struct htstore_mapping *m = new_mapping("m", 0), *closed = new_mapping(NULL, 0);
    struct htstore_bytes key = bytes_of("k"), null_key = { NULL, 3 };
    const struct htstore_item *items;
    const uint64_t *ids;
    void *object;
    uint64_t n;
    objects_forget(closed);
    OK(htstore_mapping_close(closed, &api.error));
    OK(htstore_mapping_close(NULL, &api.error));
    struct htstore_mapping *const bad[] = { NULL, closed, (void *)api.store, (void *)new_table("t") };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        REFUSED(htstore_mapping_put(bad[i], &key, m, &api.error), HTSTORE_EINVAL, "mapping");
        REFUSED(htstore_mapping_update(bad[i], NULL, 0, &api.error), HTSTORE_EINVAL, "mapping");
        REFUSED(htstore_mapping_track(bad[i], &key, m, NULL, NULL, &api.error), HTSTORE_EINVAL, "mapping");
        REFUSED(htstore_mapping_get(bad[i], &key, NULL, &object, &api.error), HTSTORE_EINVAL, "mapping");
        REFUSED(htstore_mapping_contains(bad[i], &key, &api.error), HTSTORE_EINVAL, "mapping");
        REFUSED(htstore_mapping_items(bad[i], api.arena, &items, &n, &api.error), HTSTORE_EINVAL, "mapping");
        REFUSED(htstore_mapping_walk(bad[i], HTSTORE_LAYERS, api.arena, &ids, &n, &api.error), HTSTORE_EINVAL, "map");
        REFUSED(htstore_mapping_set_trainable(bad[i], 0, &api.error), HTSTORE_EINVAL, "mapping");
        ck_assert_uint_eq(htstore_mapping_size(bad[i]), 0);
        ck_assert_ptr_null(htstore_mapping_name(bad[i]));
        ck_assert_int_eq(htstore_mapping_is_layer(bad[i]) + htstore_mapping_is_trainable(bad[i]), 0);
    }
    REFUSED(htstore_mapping_put(m, NULL, m, &api.error), HTSTORE_EINVAL, "key");
    REFUSED(htstore_mapping_put(m, &null_key, m, &api.error), HTSTORE_EINVAL, "key");
    REFUSED(htstore_mapping_update(m, NULL, 1, &api.error), HTSTORE_EINVAL, "entries");
    REFUSED(htstore_mapping_track(m, NULL, m, NULL, NULL, &api.error), HTSTORE_EINVAL, "key");
    REFUSED(htstore_mapping_track(m, &key, m, NULL, &key, &api.error), HTSTORE_EINVAL, "arena");
    REFUSED(htstore_mapping_get(m, NULL, NULL, &object, &api.error), HTSTORE_EINVAL, "key");
    REFUSED(htstore_mapping_get(m, &null_key, NULL, &object, &api.error), HTSTORE_EINVAL, "key");
    REFUSED(htstore_mapping_get(m, &key, NULL, NULL, &api.error), HTSTORE_EINVAL, "object");
    REFUSED(htstore_mapping_at(m, &key, NULL, NULL, &api.error), HTSTORE_EINVAL, "object");
    REFUSED(htstore_mapping_contains(m, NULL, &api.error), HTSTORE_EINVAL, "key");
    REFUSED(htstore_mapping_items(m, NULL, &items, &n, &api.error), HTSTORE_EINVAL, "arena");
    REFUSED(htstore_mapping_items(m, api.arena, NULL, &n, &api.error), HTSTORE_EINVAL, "items");
    REFUSED(htstore_mapping_walk(m, 0, api.arena, &ids, &n, &api.error), HTSTORE_EINVAL, "aggregate");
    REFUSED(htstore_mapping_walk(m, 7, api.arena, &ids, &n, &api.error), HTSTORE_EINVAL, "aggregate");
    OK(htstore_mapping_update(m, NULL, 0, &api.error));
    KEYS_ARE(m, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mapping");
    TCase *cases = tcase_create("conformance"), *rules = tcase_create("rules");
    tcase_add_checked_fixture(cases, objects_setup, objects_teardown);
    tcase_add_test(cases, m01_a_key_never_changes_its_object);
    tcase_add_loop_test(cases, m02_a_key_that_is_no_text_is_refused_and_absent, 0,
                        (int)(sizeof no_text / sizeof no_text[0]));
    tcase_add_test(cases, m03_objects_are_equal_by_number_only);
    tcase_add_test(cases, m05_what_is_no_object_of_the_store_is_refused);
    tcase_add_test(cases, m05_an_object_of_another_store_is_refused);
    tcase_add_test(cases, m06_the_trainable_flag_moves_weights_between_lists);
    tcase_add_test(cases, m20_the_same_object_again_changes_nothing);
    tcase_add_test(cases, m21_an_update_with_what_create_gave_changes_nothing);
    tcase_add_test(cases, m22_an_update_is_all_or_nothing);
    tcase_add_test(cases, m23_get_of_a_missing_key_leaves_the_default);
    tcase_add_test(cases, m24_iteration_is_in_the_order_of_the_puts);
    suite_add_tcase(suite, cases);
    tcase_add_checked_fixture(rules, objects_setup, objects_teardown);
    tcase_add_test(rules, keys_of_every_length_are_kept);
    tcase_add_test(rules, a_key_that_is_too_long_is_refused);
    tcase_add_test(rules, keys_may_be_empty_or_look_like_paths);
    tcase_add_test(rules, track_takes_the_first_free_name);
    tcase_add_test(rules, concurrent_tracks_get_different_names);
    tcase_add_test(rules, create_with_entries_is_all_or_nothing);
    tcase_add_test(rules, names_and_schemas_are_checked);
    tcase_add_test(rules, a_copy_holds_the_same_objects);
    tcase_add_test(rules, bad_arguments_are_refused);
    suite_add_tcase(suite, rules);
    return check_run(suite);
}
