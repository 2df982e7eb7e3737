/* check_objects: semantics.md 1.4: how long objects live, what may be dropped, what readers see of mappings and variables. */
#include "api_objects.h"
#include "api_peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static struct peer first, second;

static void close_one(void *object)
{
    objects_forget(object);
    OK(htstore_object_close(object, &api.error));
}

static bool exists(uint64_t id)
{
    struct htstore_object object;
    const int result = htstore_describe(api.store, id, api.arena, &object, &api.error);
    ck_assert(result == 0 || result == HTSTORE_ENOTFOUND);
    return result == 0;
}

/* ---- anonymous objects ---- */

START_TEST(an_anonymous_object_lives_as_long_as_a_handle)
{
    void *const objects[] = { new_table(NULL), new_variable(NULL, 0, 0, "[1 2]"), new_mapping(NULL, 0) };
    for (size_t i = 0; i < 3; i++) {
        const uint64_t id = htstore_object_id(objects[i]);
        void *other = get_by_id(id);
        close_one(objects[i]);
        ck_assert(exists(id));
        ck_assert_uint_eq(htstore_object_id(other), id);
        close_one(other);
        ck_assert(!exists(id));
        void *gone = &api;
        REFUSED(htstore_object_open(api.store, id, NULL, &gone, &api.error), HTSTORE_ENOTFOUND, "there is no object");
        ck_assert_ptr_null(gone);
    }
    ck_assert_uint_eq(object_count(), 0);
}
END_TEST

START_TEST(what_a_named_mapping_reaches_lives)
{
    struct htstore_mapping *m = new_mapping("m", 0), *inner = new_mapping(NULL, 0);
    struct htstore_table *t = new_table(NULL);
    struct htstore_variable *v = new_variable(NULL, HTSTORE_LOSS, 0, "5");
    const uint64_t id = htstore_object_id(t);
    set_number(t, 7);
    PUT(inner, "t", t);
    PUT(inner, "v", v);
    PUT(m, "i", inner);
    close_one(t);
    close_one(v);
    close_one(inner);
    set_number(get_by_id(id), 8);
    objects_reopen();
    ck_assert_uint_eq(object_count(), 4);
    inner = get_by_id(id_under(get_mapping("m"), "i"));
    ck_assert_uint_eq(id_under(inner, "t"), id);
    ck_assert_int_eq(number_of(get_by_id(id)), 8);
    ck_assert_int_eq(number_of(get_by_id(id_under(inner, "v"))), 5);
    ck_assert_ptr_null(htstore_mapping_name(inner));
}
END_TEST

START_TEST(what_only_a_handle_reaches_goes_with_it)
{
    struct htstore_mapping *a = new_mapping(NULL, 0), *b = new_mapping(NULL, 0);
    struct htstore_table *t = new_table(NULL);
    PUT(a, "b", b);
    PUT(b, "t", t);
    PUT(b, "named", new_table("named"));
    close_one(t);
    close_one(b);
    ck_assert_uint_eq(object_count(), 4);
    close_one(a);
    ck_assert_uint_eq(object_count(), 1);
    objects_close();
    OK(htstore_table_drop(api.store, "named", &api.error)); /* nothing holds it any more */
}
END_TEST

/* _i: which handle is closed last. */
START_TEST(cycles_that_nobody_reaches_are_deleted)
{
    struct htstore_mapping *m[3];
    for (int i = 0; i < 3; i++)
        m[i] = new_mapping(NULL, 0);
    for (int i = 0; i < 3; i++) {
        PUT(m[i], "next", m[(i + 1) % 3]);
        PUT(m[i], "self", m[i]);
        PUT(m[i], "v", new_variable(NULL, 0, 0, "[1 2 3]"));
    }
    struct htstore_mapping *last = m[_i];
    for (int i = 0; i < 3; i++)
        if (i != _i)
            close_one(m[i]);
    ck_assert_uint_eq(object_count(), 6);
    ck_assert_uint_ne(id_under(last, "next"), 0);
    objects_close();
    ck_assert_uint_eq(object_count(), 0);
    objects_reopen();
    ck_assert_uint_eq(object_count(), 0);
}
END_TEST

/* _i & 1: something named holds them; _i & 2: they were flushed. */
START_TEST(a_crash_leaves_no_object_that_nothing_reaches)
{
    api_close_store();
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    ck_assert_str_eq(peer_ask(&first, "islands"), "0");
    ck_assert_str_eq(peer_ask(&first, "mapping m"), "0");
    if (_i & 1)
        ck_assert_str_eq(peer_ask(&first, "mput a -"), "0");
    ck_assert_str_eq(peer_ask(&first, "anonymous"), "0");
    if (_i & 2)
        ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    ck_assert(WIFSIGNALED(peer_finish(&first, SIGKILL)));
    api_open_store();
    ck_assert_uint_eq(object_count(), _i & 1 ? 3 : 2);
    KEYS_ARE(get_mapping("m"), _i & 1 ? "a" : "");
    OK(htstore_table_drop(api.store, "t1", &api.error)); /* the islands do not hold it any more */
}
END_TEST

/* ---- dropping ---- */

START_TEST(what_a_mapping_holds_cannot_be_dropped)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *t = new_table("t");
    struct htstore_variable *v = new_variable("v", 0, 0, "1");
    set_number(t, 5);
    PUT(m, "a", t);
    PUT(m, "b", t);
    PUT(m, "v", v);
    for (int round = 0; round < 3; round++) { /* with handles, without, and after reopening */
        REFUSED(htstore_table_drop(api.store, "t", &api.error), HTSTORE_EREFERENCED, "table t is held by a mapping");
        REFUSED(htstore_variable_drop(api.store, "v", &api.error), HTSTORE_EREFERENCED, "variable v is held");
        if (round == 0)
            objects_close();
        else
            objects_reopen();
    }
    ck_assert_int_eq(number_of(get_by_id(id_under(get_mapping("m"), "a"))), 5);
}
END_TEST

START_TEST(what_is_open_cannot_be_dropped)
{
    struct htstore_table *t = new_table("t");
    struct htstore_variable *v = new_variable("v", 0, 0, "[1 2]");
    new_mapping("m", 0);
    REFUSED(htstore_table_drop(api.store, "t", &api.error), HTSTORE_EBUSY, "table t");
    REFUSED(htstore_variable_drop(api.store, "v", &api.error), HTSTORE_EBUSY, "variable v");
    REFUSED(htstore_table_drop(api.store, "v", &api.error), HTSTORE_ECONFLICT, "Conflicting kinds");
    REFUSED(htstore_variable_drop(api.store, "t", &api.error), HTSTORE_ECONFLICT, "Conflicting kinds");
    REFUSED(htstore_variable_drop(api.store, "m", &api.error), HTSTORE_ECONFLICT, "Conflicting kinds");
    REFUSED(htstore_variable_drop(api.store, "w", &api.error), HTSTORE_ENOTFOUND, "there is no variable w");
    close_one(t);
    close_one(v);
    OK(htstore_table_drop(api.store, "t", &api.error));
    OK(htstore_variable_drop(api.store, "v", &api.error));
    objects_reopen();
    ck_assert_uint_eq(object_count(), 1);
    ck_assert_int_eq(number_of(new_variable("v", 0, 0, "9")), 9);
}
END_TEST

START_TEST(a_store_with_open_objects_cannot_be_closed)
{
    new_mapping("m", 0);
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "open");
    objects_close();
    new_variable("v", 0, 0, "1");
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "open");
}
END_TEST

START_TEST(objects_of_all_kinds_are_listed)
{
    const struct htstore_object *list;
    uint64_t n;
    struct htstore_mapping *m = new_mapping("b", HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE);
    new_variable("a", HTSTORE_UPDATE, HTSTORE_NOT_TRAINABLE, "[[1 2 3]]");
    new_table("c");
    new_table(NULL);
    PUT(m, "x", m);
    PUT(m, "y", m);
    for (int round = 0; round < 2; round++) {
        OK(htstore_list(api.store, api.arena, &list, &n, &api.error));
        ck_assert_uint_eq(n, 3);
        ck_assert_str_eq(list[0].name, "a");
        ck_assert(list[0].kind == HTSTORE_KIND_VARIABLE && list[0].role == HTSTORE_UPDATE && list[0].n_rows == 3);
        ck_assert(list[0].flags == HTSTORE_NOT_TRAINABLE && list[0].value_rank == 2 && list[0].value_shape[1] == 3);
        ck_assert(list[0].value_dtype == HTSTORE_INT64 && list[0].stored_bytes > 0);
        ck_assert(list[1].kind == HTSTORE_KIND_MAPPING && list[1].n_rows == 2 && list[1].stored_bytes == 0);
        ck_assert_uint_eq(list[1].flags, HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE);
        ck_assert(list[2].kind == HTSTORE_KIND_TABLE && list[2].n_rows == 0);
        objects_reopen();
    }
}
END_TEST

/* ---- readers ---- */

static void open_as_reader(void)
{
    api.options.flags = HTSTORE_READONLY;
    api_open_store();
}

START_TEST(a_reader_sees_mappings_and_changes_none)
{
    struct htstore_mapping *m = new_mapping("m", 0), *made = (struct htstore_mapping *)&api;
    struct htstore_variable *v = new_variable("v", 0, 0, "3");
    struct htstore_bytes key = bytes_of("k");
    const struct htstore_entry entry = { key, v };
    struct htstore_variable_schema schema = { .size = sizeof schema };
    PUT(m, "v", v);
    PUT(m, "m", m);
    objects_close();
    api_close_store();
    open_as_reader();
    m = get_mapping("m");
    v = get_by_id(id_under(m, "v"));
    KEYS_ARE(m, "v m");
    LISTS(m, HTSTORE_WEIGHTS, "v");
    ck_assert_int_eq(number_of(v), 3);
    schema.initial_value = api_array(HTSTORE_INT64, "1");
    REFUSED(objects_put(m, "k", v), HTSTORE_EREADONLY, "");
    REFUSED(htstore_mapping_update(m, &entry, 1, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_mapping_update(m, NULL, 0, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_mapping_track(m, &key, v, NULL, NULL, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_mapping_set_trainable(m, 0, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_mapping_create(api.store, "n", NULL, NULL, 0, &made, &api.error), HTSTORE_EREADONLY, "");
    ck_assert_ptr_null(made);
    REFUSED(htstore_mapping_get_or_create(api.store, "n", NULL, &made, &api.error), HTSTORE_EREADONLY, "");
    OK(htstore_mapping_get_or_create(api.store, "m", NULL, &made, &api.error));
    OK(htstore_mapping_close(made, &api.error));
    REFUSED(htstore_variable_create(api.store, "w", &schema, &v, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_variable_assign(get_variable("v"), &schema.initial_value, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_variable_drop(api.store, "v", &api.error), HTSTORE_EREADONLY, "");
    KEYS_ARE(m, "v m");
}
END_TEST

START_TEST(a_reader_follows_mappings_and_variables)
{
    struct htstore_mapping *m;
    char expected[40];
    api_close_store();
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "mapping m"), "0");
    ck_assert_str_eq(peer_ask(&first, "mput a m"), "0");
    ck_assert_str_eq(peer_ask(&first, "assign 4"), "0");
    open_as_reader();
    m = get_mapping("m");
    KEYS_ARE(m, "a");
    ck_assert_str_eq(peer_ask(&first, "mput b -"), "0");
    ck_assert_int_eq(atoi(peer_ask(&first, "mput a -")), HTSTORE_EEXIST);
    ck_assert_str_eq(peer_ask(&first, "mtrainable 0"), "0");
    ck_assert_str_eq(peer_ask(&first, "assign 5"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    KEYS_ARE(m, "a");
    ck_assert_int_eq(htstore_mapping_is_trainable(m), 1);
    OK(htstore_refresh(api.store, &api.error));
    KEYS_ARE(m, "a b");
    ck_assert_int_eq(htstore_mapping_is_trainable(m), 0);
    (void)snprintf(expected, sizeof expected, "a=%ju b=%ju", (uintmax_t)id_under(m, "a"), (uintmax_t)id_under(m, "b"));
    ck_assert_str_eq(peer_ask(&first, "mkeys"), expected);
    ck_assert_str_eq(peer_start(&second, "r"), "0");
    ck_assert_str_eq(peer_ask(&second, "read"), "5");
    ck_assert_str_eq(peer_ask(&first, "assign 6"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    ck_assert_str_eq(peer_ask(&second, "read"), "5");
    ck_assert_str_eq(peer_ask(&second, "refresh"), "0");
    ck_assert_str_eq(peer_ask(&second, "read"), "6");
}
END_TEST

/* What a handle of a reader shows when the owner has deleted the object. */
START_TEST(a_reader_is_told_that_its_mapping_is_gone)
{
    struct htstore_mapping *m = new_mapping(NULL, 0), *n = new_mapping("n", 0);
    const uint64_t id = htstore_object_id(m);
    const struct htstore_item *items;
    const uint64_t *ids;
    void *object;
    uint64_t count;
    const struct htstore_bytes key = bytes_of("t");
    PUT(n, "keep", n);
    objects_close();
    api_close_store();
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "islands"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    open_as_reader();
    uint64_t island = id;
    for (; !exists(island) || htstore_object_kind(m = get_by_id(island)) != HTSTORE_KIND_MAPPING ||
           htstore_mapping_name(m);
         island++)
        ck_assert_uint_lt(island, id + 50);
    ck_assert_uint_ne(id_under(m, "t"), 0);
    ck_assert(WIFSIGNALED(peer_finish(&first, SIGKILL)));
    ck_assert_str_eq(peer_start(&first, "c"), "0"); /* purges them */
    ck_assert_uint_ne(id_under(m, "t"), 0); /* until the reader moves on */
    OK(htstore_refresh(api.store, &api.error));
    REFUSED(htstore_mapping_get(m, &key, NULL, &object, &api.error), HTSTORE_ENOTFOUND, "dropped");
    REFUSED(htstore_mapping_contains(m, &key, &api.error), HTSTORE_ENOTFOUND, "dropped");
    REFUSED(htstore_mapping_items(m, api.arena, &items, &count, &api.error), HTSTORE_ENOTFOUND, "dropped");
    REFUSED(htstore_mapping_walk(m, HTSTORE_LAYERS, api.arena, &ids, &count, &api.error), HTSTORE_ENOTFOUND, "dropped");
    ck_assert_uint_eq(htstore_mapping_size(m), 0);
    KEYS_ARE(get_mapping("n"), "keep");
}
END_TEST

static void teardown(void)
{
    peer_finish(&first, SIGKILL);
    peer_finish(&second, SIGKILL);
    objects_teardown();
}

int main(void)
{
    Suite *suite = suite_create("objects");
    TCase *lives = tcase_create("lives"), *readers = tcase_create("readers");
    tcase_add_checked_fixture(lives, objects_setup, teardown);
    tcase_add_test(lives, an_anonymous_object_lives_as_long_as_a_handle);
    tcase_add_test(lives, what_a_named_mapping_reaches_lives);
    tcase_add_test(lives, what_only_a_handle_reaches_goes_with_it);
    tcase_add_loop_test(lives, cycles_that_nobody_reaches_are_deleted, 0, 3);
    tcase_add_loop_test(lives, a_crash_leaves_no_object_that_nothing_reaches, 0, 4);
    tcase_add_test(lives, what_a_mapping_holds_cannot_be_dropped);
    tcase_add_test(lives, what_is_open_cannot_be_dropped);
    tcase_add_test(lives, a_store_with_open_objects_cannot_be_closed);
    tcase_add_test(lives, objects_of_all_kinds_are_listed);
    suite_add_tcase(suite, lives);
    tcase_add_checked_fixture(readers, objects_setup, teardown);
    tcase_add_test(readers, a_reader_sees_mappings_and_changes_none);
    tcase_add_test(readers, a_reader_follows_mappings_and_variables);
    tcase_add_test(readers, a_reader_is_told_that_its_mapping_is_gone);
    suite_add_tcase(suite, readers);
    return check_run(suite);
}
