/* check_salvage_objects: what htstore_recover() makes of mappings, variables and anonymous objects. */
#include "api_objects.h"
#include "ruin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"

#define N_ELEMENTS 20000 /* three rows */
#define N_MANY 3000 /* entries of a mapping, in many pages of the catalogue */

static int64_t elements[N_ELEMENTS];

static struct htstore_variable *make_large(const char *name, int64_t first)
{
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct htstore_variable *variable;
    for (int64_t i = 0; i < N_ELEMENTS; i++)
        elements[i] = first * 1000000007 + i;
    schema.initial_value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);
    OK(htstore_variable_get_or_create(api.store, name, &schema, &variable, &api.error));
    OK(htstore_variable_assign(variable, &schema.initial_value, &api.error));
    return objects_keep(variable);
}

/* ---- the whole store as text: numbers of objects do not show ---- */

struct text {
    char *end, *limit;
    uint64_t seen[64];
    size_t n_seen;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(text->end, (size_t)(text->limit - text->end), format, arguments);
    va_end(arguments);
    ck_assert_int_lt(size, text->limit - text->end);
    text->end += size;
}

static void add_variable(struct text *text, struct htstore_variable *variable)
{
    struct htstore_variable_schema schema = { .size = sizeof schema };
    const struct htstore_array scalar = htstore_scalar(HTSTORE_INT64, NULL);
    OK(htstore_variable_schema(variable, &schema, &api.error));
    struct htstore_array out = api_room(schema.initial_value.dtype, &scalar, api_shape(&schema.initial_value));
    out.arena = api.arena;
    OK(htstore_variable_read(variable, &out, &api.error));
    const char *value = api_text(&out);
    uint64_t sum = 0;
    for (const char *p = value; *p; p++)
        sum = sum * 31 + (uint8_t)*p;
    add(text, "role %u %s %.60s… %ju\n", schema.role, htstore_dtype_name(out.dtype), value, (uintmax_t)sum);
}

static void add_object(struct text *text, uint64_t id);

static void add_mapping(struct text *text, struct htstore_mapping *mapping)
{
    const struct htstore_item *items;
    uint64_t n;
    OK(htstore_mapping_items(mapping, api.arena, &items, &n, &api.error));
    add(text, "{ ");
    for (uint64_t i = 0; i < n; i++) {
        add(text, "%zu:%.20s = ", items[i].key.size, (const char *)items[i].key.data);
        add_object(text, items[i].id);
    }
    add(text, "}\n");
}

static void add_object(struct text *text, uint64_t id)
{
    struct htstore_object object;
    for (size_t i = 0; i < text->n_seen; i++)
        if (text->seen[i] == id) {
            add(text, "number %zu above\n", i);
            return;
        }
    ck_assert_uint_lt(text->n_seen, 64);
    text->seen[text->n_seen++] = id;
    OK(htstore_describe(api.store, id, api.arena, &object, &api.error));
    add(text, "%s kind %u flags %u ", object.name ? object.name : "(anonymous)", object.kind, object.flags);
    void *handle = get_by_id(id);
    if (object.kind == HTSTORE_KIND_MAPPING)
        add_mapping(text, handle);
    else if (object.kind == HTSTORE_KIND_VARIABLE)
        add_variable(text, handle);
    else
        add(text, "%s\n", api_dump(handle));
}

static const char *store_text(void)
{
    const struct htstore_object *list;
    uint64_t n;
    struct text text = { .end = api_alloc(65536) };
    const char *begin = text.end;
    text.limit = text.end + 65536;
    OK(htstore_list(api.store, api.arena, &list, &n, &api.error));
    for (uint64_t i = 0; i < n; i++)
        add_object(&text, list[i].id);
    add(&text, "%ju objects\n", (uintmax_t)object_count());
    ck_assert_uint_eq(object_count(), text.n_seen); /* and no others */
    return begin;
}

static void close_sound(void)
{
    objects_close();
    api_close_store();
    ruin_copy("sound", "damaged");
}

static void open_saved(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/saved", api.directory);
    api_open_store();
}

/* ---- a graph of all kinds ---- */

static void make_graph(void)
{
    struct htstore_mapping *root = new_mapping("root", HTSTORE_LAYER),
                           *inner = new_mapping(NULL, HTSTORE_NOT_TRAINABLE);
    struct htstore_mapping *later;
    struct htstore_table *t = new_table(NULL);
    struct htstore_bytes long_name = long_key('n', 60000);
    set_number(t, 5);
    PUT(root, "z", inner);
    PUT(root, "a", root);
    PUT(root, "", t);
    PUT(inner, "up", root);
    PUT(inner, "loss", new_variable(NULL, HTSTORE_LOSS, HTSTORE_NOT_TRAINABLE, "[[1 2][3 4]]"));
    PUT(inner, "named", new_table("t"));
    OK(htstore_mapping_put(inner, &long_name, t, &api.error));
    later = new_mapping("later", 0);
    PUT(later, "empty", new_variable("empty", HTSTORE_UPDATE, 0, "[]"));
    OK(htstore_mapping_set_trainable(later, 0, &api.error));
    make_large("large", 1);
}

START_TEST(a_sound_store_of_objects_is_copied)
{
    make_graph();
    const char *before = store_text();
    if (_i) { /* what only the journal has: rows of tables and variables */
        OK(htstore_flush(api.store, &api.error));
        make_large("large", 2);
        set_number(get_by_id(id_under(get_mapping("root"), "")), 6);
        before = store_text();
        ruin_copy("sound", "damaged");
        objects_close();
        api_close_store();
    } else {
        close_sound();
    }
    RECOVERED(0);
    ck_assert_uint_eq(ruin_report.n_tables, 2);
    ck_assert_uint_eq(ruin_report.n_variables, 3);
    ck_assert_uint_eq(ruin_report.n_mappings, 3);
    ck_assert_uint_eq(ruin_report.n_entries, 8);
    ck_assert_uint_eq(ruin_report.n_lost_entries, 0);
    ck_assert_uint_eq(ruin_report.n_rows, 1);
    open_saved();
    ck_assert_str_eq(store_text(), before);
    REFUSED(objects_put(get_mapping("root"), "z", get_mapping("root")), HTSTORE_EEXIST, "append-only");
    PUT(get_mapping("root"), "new", new_table(NULL));
    objects_reopen();
    KEYS_ARE(get_mapping("root"), "z a - new");
}
END_TEST

START_TEST(what_no_name_reaches_is_not_recovered)
{
    struct htstore_mapping *island = new_mapping(NULL, 0);
    PUT(island, "self", island);
    PUT(island, "v", new_variable(NULL, 0, 0, "[1 2 3]"));
    PUT(new_mapping("m", 0), "t", new_table(NULL));
    OK(htstore_flush(api.store, &api.error));
    ruin_copy("sound", "damaged");
    objects_close();
    api_close_store();
    RECOVERED(0);
    ck_assert_uint_eq(ruin_report.n_mappings, 1);
    ck_assert_uint_eq(ruin_report.n_variables, 0);
    ck_assert_uint_eq(ruin_report.n_tables, 1);
    ck_assert_uint_eq(ruin_report.n_entries, 1);
    ck_assert(ruin_log_has(HTSTORE_LOG_INFO, "anonymous mapping"));
    open_saved();
    ck_assert_uint_eq(object_count(), 2);
}
END_TEST

/* ---- entries that are lost ---- */

static void make_many_entries(void)
{
    struct htstore_entry *entries = api_alloc(N_MANY * sizeof *entries);
    struct htstore_mapping *m = new_mapping("m", 0);
    void *const objects[] = { new_table("t0"), new_variable("v1", 0, 0, "1"), new_mapping("m2", 0) };
    for (unsigned i = 0; i < N_MANY; i++) {
        char *key = api_alloc(16);
        (void)snprintf(key, 16, "key %06u", i * 7919 % N_MANY);
        entries[i] = (struct htstore_entry){ bytes_of(key), objects[i % 3] };
    }
    OK(htstore_mapping_update(m, entries, N_MANY, &api.error));
    PUT(new_mapping("other", 0), "m", m);
}

/* The place of a key among those of make_many_entries(). */
static unsigned place_of(const struct htstore_item *item)
{
    static unsigned places[N_MANY];
    for (unsigned i = 0; i < N_MANY; i++)
        places[i * 7919 % N_MANY] = i;
    ck_assert_uint_eq(item->key.size, 10);
    const unsigned long number = strtoul((const char *)item->key.data + 4, NULL, 10);
    ck_assert_uint_lt(number, N_MANY);
    return places[number];
}

/* Entries that are left are right, and in their order. */
static void expect_part(void)
{
    static const char *const names[] = { "t0", "v1", "m2" };
    const struct htstore_item *items;
    struct htstore_object object;
    uint64_t n;
    unsigned last = 0;
    OK(htstore_mapping_items(get_mapping("m"), api.arena, &items, &n, &api.error));
    ck_assert_uint_eq(n + 1, ruin_report.n_entries);
    for (uint64_t i = 0; i < n; i++) {
        const unsigned place = place_of(&items[i]);
        ck_assert(i == 0 || place > last);
        last = place;
        OK(htstore_describe(api.store, items[i].id, api.arena, &object, &api.error));
        ck_assert_str_eq(object.name, names[place % 3]);
    }
}

static void entry_key(const char *name, uint64_t mapping, uint8_t key[64], size_t *size)
{
    key[0] = 4;
    hti_store_be64(key + 1, mapping);
    *size = 9 + (size_t)sprintf((char *)key + 9, "%s", name) + 1;
}

START_TEST(lost_entries_are_counted_and_the_others_keep_their_order)
{
    uint8_t key[64];
    size_t size;
    make_many_entries();
    const uint64_t id = htstore_object_id(get_mapping("m"));
    close_sound();
    for (unsigned i = 100; i < N_MANY; i += 1000) {
        char name[16];
        (void)snprintf(name, sizeof name, "key %06u", i);
        entry_key(name, id, key, &size);
        ruin_spoil_leaves(key, size);
    }
    RECOVERED(1);
    ck_assert_uint_eq(ruin_report.n_entries + ruin_report.n_lost_entries, N_MANY + 1);
    ck_assert_uint_gt(ruin_report.n_lost_entries, 10);
    ck_assert_uint_gt(ruin_report.n_entries, N_MANY / 2);
    WARNED("mapping m: ");
    WARNED("entries readable: the keys of the others are free now");
    open_saved();
    expect_part();
    KEYS_ARE(get_mapping("other"), "m");
}
END_TEST

START_TEST(a_damaged_entry_is_lost_alone)
{
    uint8_t key[64];
    size_t size;
    unsigned n = 0;
    make_many_entries();
    entry_key("key 000777", htstore_object_id(get_mapping("m")), key, &size);
    close_sound();
    struct ruin_content c = ruin_load(ruin_data_path());
    for (size_t page = 2; page < c.size / RUIN_PAGE_SIZE; page++) {
        uint8_t *entry = ruin_find_entry(c.data + page * RUIN_PAGE_SIZE, key, size);
        if (entry)
            ruin_spoil_at(ruin_data_path(), (uint64_t)(entry - c.data) + 8, 1); /* the object's number */
        n += entry != NULL;
    }
    ck_assert_uint_gt(n, 0);
    RECOVERED(1);
    ck_assert_uint_eq(ruin_report.n_lost_entries, 1);
    ck_assert_uint_eq(ruin_report.n_entries, N_MANY);
    open_saved();
    expect_part();
    const struct htstore_bytes lost = bytes_of("key 000777");
    ck_assert_int_eq(htstore_mapping_contains(get_mapping("m"), &lost, &api.error), 0);
}
END_TEST

/* _i: the record of the object that entries name, or of the mapping that has them. */
START_TEST(entries_of_lost_objects_are_told)
{
    uint8_t key[9] = { 1 };
    unsigned n = 0;
    make_many_entries();
    void *lost = _i ? (void *)get_mapping("m") : get_variable("v1");
    hti_store_be64(key + 1, htstore_object_id(lost));
    close_sound();
    struct ruin_content c = ruin_load(ruin_data_path());
    for (size_t page = 2; page < c.size / RUIN_PAGE_SIZE; page++) {
        uint8_t *record = ruin_find_entry(c.data + page * RUIN_PAGE_SIZE, key, sizeof key);
        if (record)
            ruin_spoil_at(ruin_data_path(), (uint64_t)(record - c.data), 4);
        n += record != NULL;
    }
    ck_assert_uint_gt(n, 0);
    RECOVERED(1);
    ck_assert_uint_eq(ruin_report.n_lost_tables, 1);
    ck_assert_uint_eq(ruin_report.n_lost_entries, _i ? N_MANY + 1 : N_MANY / 3);
    ck_assert_uint_eq(ruin_report.n_entries, _i ? 0 : N_MANY + 1 - N_MANY / 3);
    WARNED("is lost: object number");
    WARNED("entries lost in all");
    open_saved();
    if (!_i)
        expect_part();
    ck_assert_uint_eq(object_count(), 4);
}
END_TEST

/* ---- elements that are lost ---- */

START_TEST(elements_of_damaged_rows_become_zeros)
{
    static int64_t out[N_ELEMENTS];
    struct htstore_array value = htstore_vector(HTSTORE_INT64, out, N_ELEMENTS);
    const size_t per_row = 65500 / 8;
    PUT(new_mapping("m", 0), "v", make_large("v", 3));
    close_sound();
    ruin_spoil_at(ruin_data_path(),
                  ruin_find_bytes(ruin_data_path(), &elements[(size_t)_i * per_row + 100], 2 * sizeof *elements), 1);
    RECOVERED(1);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    ck_assert_uint_eq(ruin_report.n_damaged_rows, 1);
    ck_assert_uint_eq(ruin_report.n_lost_entries, 0);
    WARNED("variable v: elements of 1 of its 3 rows are lost");
    open_saved();
    OK(htstore_variable_read(get_variable("v"), &value, &api.error));
    for (size_t i = 0; i < N_ELEMENTS; i++)
        ck_assert_int_eq(out[i], i / per_row == (size_t)_i ? 0 : elements[i]);
    make_large("v", 4);
}
END_TEST

START_TEST(a_variable_without_rows_becomes_zeros)
{
    struct htstore_bytes words[] = { long_key('a', 3000), long_key('b', 5000) };
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct htstore_array out = htstore_vector(HTSTORE_STRING, words, 2);
    struct htstore_variable *v;
    schema.initial_value = htstore_vector(HTSTORE_STRING, words, 2);
    OK(htstore_variable_create(api.store, "words", &schema, &v, &api.error));
    objects_keep(v);
    close_sound();
    for (int i = 0; i < 2; i++) { /* also what was left in free parts of pages */
        struct ruin_content c = ruin_load(ruin_data_path());
        for (size_t at = 0; at + 2000 < c.size; at++)
            if (memcmp(c.data + at, words[i].data, 2000) == 0)
                ruin_spoil_at(ruin_data_path(), at++, 1);
    }
    RECOVERED(1);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    ck_assert_uint_eq(ruin_report.n_damaged_rows, 2);
    open_saved();
    out.arena = api.arena;
    OK(htstore_variable_read(get_variable("words"), &out, &api.error));
    ck_assert_uint_eq(words[0].size + words[1].size, 0);
}
END_TEST

/* ---- memory ---- */

START_TEST(recovery_survives_failing_allocations)
{
    int result = 0;
    uint64_t n;
    make_graph();
    const char *before = store_text();
    close_sound();
    for (n = 0; n < 5000; n++) {
        const uint64_t live = hti_mem_test_live();
        hti_mem_test_fail(n, _i == 1);
        result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error);
        const bool failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(hti_mem_test_live() == live, "allocation %ju: something is not freed", (uintmax_t)n);
        if (!failed)
            break;
        ck_assert_msg(result == HTSTORE_ENOMEM, "allocation %ju: %d %s", (uintmax_t)n, result, api.error.message);
        ck_assert(!ruin_exists("saved"));
    }
    ck_assert_int_eq(result, 0);
    ck_assert_uint_gt(n, 100);
    open_saved();
    ck_assert_str_eq(store_text(), before);
}
END_TEST

static void setup(void)
{
    api_setup();
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api.options.flush_age_ms = 3600000;
    api_open_store();
}

int main(void)
{
    Suite *suite = suite_create("salvage_objects");
    TCase *tests = tcase_create("salvage_objects");
    tcase_add_checked_fixture(tests, setup, objects_teardown);
    tcase_add_loop_test(tests, a_sound_store_of_objects_is_copied, 0, 2);
    tcase_add_test(tests, what_no_name_reaches_is_not_recovered);
    tcase_add_test(tests, lost_entries_are_counted_and_the_others_keep_their_order);
    tcase_add_test(tests, a_damaged_entry_is_lost_alone);
    tcase_add_loop_test(tests, entries_of_lost_objects_are_told, 0, 2);
    tcase_add_loop_test(tests, elements_of_damaged_rows_become_zeros, 0, 3);
    tcase_add_test(tests, a_variable_without_rows_becomes_zeros);
    tcase_add_loop_test(tests, recovery_survives_failing_allocations, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
