/* check_restore: matching, deferred restore and status: semantics.md 3.3 to 3.5, and the texts of 1.12. */
#include "checkpoint_util.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Save the state, as the file "name", with a checkpoint object that is closed again. */
static const char *save_list_m(struct htstore_mapping *m, const char *name)
{
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    const char *path = write_as(checkpoint, name);
    close_checkpoint(checkpoint);
    return path;
}

/* A file in which (root).m has a table of one row under "a"; made in a store of its own, so that nothing of it is live. */
static const char *file_with_a(const char *name, const char *row)
{
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = words_table(NULL, 0);
    set_rows(t, row, "[1]");
    PUT(m, "a", t);
    return save_list_m(m, name);
}

static struct htstore_table *table_with(const char *row)
{
    struct htstore_table *t = words_table(NULL, 0);
    set_rows(t, row, "[5]");
    return t;
}

static int put(struct htstore_mapping *m, const char *key, void *object)
{
    return objects_put(m, key, object);
}

/* ---- 3.2 and 3.3 ---- */

START_TEST(a_missing_file_is_an_error_and_no_path_is_none)
{
    struct htstore_table *t = words_table("t", 0);
    set_rows(t, "[a]", "[1]");
    struct htstore_checkpoint *checkpoint = root_names();
    struct htstore_restore *status = (struct htstore_restore *)&api;
    REFUSED(htstore_checkpoint_restore(checkpoint, api_path("none"), NULL, &status, &api.error), HTSTORE_ENOTFOUND,
            "No such file");
    ck_assert_str_eq(api.error.path, api_path("none"));
    ck_assert_ptr_null(status);
    REFUSED(htstore_checkpoint_restore(checkpoint, api.directory, NULL, &status, &api.error), HTSTORE_EFORMAT,
            "regular");
    REFUSED(htstore_checkpoint_restore(checkpoint, api_path("none"), NULL, NULL, &api.error), HTSTORE_EINVAL, "NULL");
    status = restore(checkpoint, NULL);
    ROWS_ARE(t, "[a]", "[1]");
    const char *text = "No checkpoint specified; nothing is being restored";
    NOT_MATCHED(status, HTSTORE_ENOTFOUND, text);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, text);
    REFUSED(htstore_restore_assert_nontrivial_match(status, &api.error), HTSTORE_ENOTFOUND, text);
    ck_assert_str_eq(unmatched(status), " | (root).t");
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), 0);
    ck_assert_int_eq(release(status), 0);
}
END_TEST

START_TEST(objects_that_the_file_lacks_keep_their_contents)
{
    struct htstore_table *t = words_table("t", 0);
    set_rows(t, "[a]", "[1]");
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    struct htstore_table *later = words_table("u", 0);
    set_rows(later, "[x]", "[7]");
    set_rows(t, "[a b]", "[9 9]");
    struct htstore_restore *status = restore(checkpoint, path);
    ROWS_ARE(t, "[a]", "[1]");
    ROWS_ARE(later, "[x]", "[7]");
    NOT_MATCHED(status, HTSTORE_ENOTFOUND, "Found 1 objects that were not bound to checkpointed values: (root).u");
    OK(htstore_restore_assert_nontrivial_match(status, &api.error));
}
END_TEST

START_TEST(entries_and_flags_are_not_restored)
{
    struct htstore_mapping *m = new_mapping("m", HTSTORE_LAYER);
    struct htstore_checkpoint *checkpoint = root_names();
    PUT(m, "b", new_variable(NULL, HTSTORE_WEIGHT, 0, "1"));
    PUT(m, "a", new_mapping(NULL, 0));
    const char *path = save(checkpoint);
    PUT(m, "0", new_mapping(NULL, 0));
    OK(htstore_mapping_set_trainable(m, 0, &api.error));
    CONSUMED(restore(checkpoint, path));
    KEYS_ARE(m, "b a 0");
    ck_assert_int_eq(htstore_mapping_is_trainable(m), 0);
    ck_assert_int_eq(htstore_mapping_is_layer(m), 1);
}
END_TEST

static struct htstore_table *table_of(uint32_t key, const char *default_value, uint32_t value)
{
    struct htstore_schema schema = api_schema(key, default_value, value);
    struct htstore_table *table;
    schema.flags = HTSTORE_ANONYMOUS;
    OK(htstore_table_create(api.store, NULL, &schema, &table, &api.error));
    return objects_keep(table);
}

static void *conflicting_object(int which)
{
    static const struct {
        uint32_t key, value;
        const char *text;
    } tables[] = { { HTSTORE_INT64, HTSTORE_INT64, "-1" },
                   { HTSTORE_STRING, HTSTORE_INT32, "-1" },
                   { HTSTORE_STRING, HTSTORE_INT64, "[-1]" } };
    if (which < 3)
        return table_of(tables[which].key, tables[which].text, tables[which].value);
    return which == 3 ? (void *)new_mapping(NULL, 0) : (void *)new_variable(NULL, HTSTORE_WEIGHT, 0, "1");
}

static const char *const conflicts[] = { "table int64->int64[]", "table string->int32[]", "table string->int64[1]",
                                         "mapping", "variable int64[]" };

START_TEST(a_conflict_names_both_and_restores_nothing)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping(NULL, 0), *before = new_mapping(NULL, 0);
    struct htstore_table *first = table_with("[f]");
    PUT(before, "a", first);
    PUT(m, "a", conflicting_object(_i));
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    struct htstore_restore *status = (struct htstore_restore *)&api;
    const struct htstore_stats stats = api_stats();
    REFUSED(htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error), HTSTORE_ECONFLICT, conflicts[_i]);
    ck_assert_ptr_nonnull(strstr(api.error.message, "(root).m.a"));
    ck_assert_ptr_nonnull(strstr(api.error.message, "table string->int64[]"));
    ck_assert_ptr_null(status);
    ck_assert_uint_eq(api_stats().visible_lsn, stats.visible_lsn);
    ck_assert_uint_eq(api_stats().open_handles, stats.open_handles);
    /* nothing waits either */
    struct htstore_table *late = table_with("[l]");
    PUT(m, "late", late);
    ROWS_ARE(late, "[l]", "[5]");
}
END_TEST

START_TEST(a_conflict_in_one_object_leaves_the_others)
{
    struct htstore_table *a = words_table("a", 0), *b = words_table("b", 0);
    set_rows(a, "[x]", "[1]");
    set_rows(b, "[x]", "[2]");
    const char *path = write_as(root_list("[a b]", a, b), "w");
    set_rows(a, "[y]", "[3]");
    struct htstore_restore *status;
    struct htstore_checkpoint *checkpoint = root_list("[a b]", a, conflicting_object(0));
    REFUSED(htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error), HTSTORE_ECONFLICT, "(root).b");
    ROWS_ARE(a, "[y]", "[3]");
}
END_TEST

START_TEST(variables_conflict_by_dtype_and_shape)
{
    static const char *const texts[] = { "[1 2]", "1" };
    struct htstore_variable *v = new_variable("v", HTSTORE_WEIGHT, 0, "[1 2 3]");
    const char *path = write_as(root_list("[v]", v), "w");
    struct htstore_checkpoint *checkpoint = root_list("[v]", new_variable(NULL, HTSTORE_LOSS, 0, texts[_i]));
    struct htstore_restore *status;
    REFUSED(htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error), HTSTORE_ECONFLICT,
            "variable int64[3]");
    ck_assert_ptr_nonnull(strstr(api.error.message, _i ? "variable int64[]" : "variable int64[2]"));
}
END_TEST

START_TEST(another_default_is_no_conflict)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_of(HTSTORE_STRING, "77", HTSTORE_INT64);
    PUT(m, "a", t);
    CONSUMED(restore(root_list("[m]", m), path));
    const struct htstore_array keys = api_array(HTSTORE_STRING, "[x none]");
    struct htstore_array out = api_room(HTSTORE_INT64, &keys, "");
    OK(htstore_table_lookup(t, &keys, NULL, &out, NULL, &api.error));
    ck_assert_str_eq(api_text(&out), "[1 77]");
}
END_TEST

START_TEST(the_first_of_two_saved_objects_supplies_one_live_object)
{
    struct htstore_table *a = table_with("[a]"), *b = table_with("[b]"), *live = table_with("[l]");
    const char *path = write_as(root_list("[x y]", a, b), "w");
    struct htstore_restore *status = restore(root_list("[x y]", live, live), path);
    ROWS_ARE(live, "[a]", "[5]");
    MATCHED(status);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Unused attributes in these objects: (root).y");
    ck_assert_str_eq(unmatched(status), "(root).y | ");
}
END_TEST

START_TEST(two_live_mappings_for_one_are_inconsistent)
{
    struct htstore_mapping *m = new_mapping(NULL, 0), *inner = new_mapping(NULL, 0);
    PUT(m, "a", inner);
    PUT(m, "b", inner);
    PUT(inner, "t", table_with("[s]"));
    const char *path = save_list_m(m, "w");
    struct htstore_mapping *live = new_mapping(NULL, 0), *one = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    PUT(live, "a", one);
    PUT(live, "b", new_mapping(NULL, 0));
    PUT(one, "t", t);
    struct htstore_restore *status = restore(root_list("[m]", live), path);
    ROWS_ARE(t, "[s]", "[5]");
    NOT_MATCHED(status, HTSTORE_ECONFLICT, "Inconsistent references when loading the checkpoint");
}
END_TEST

START_TEST(nothing_but_the_root_matches)
{
    struct htstore_table *t = table_with("[l]");
    const char *path = write_as(root_list("[a]", table_with("[a]")), "w");
    struct htstore_restore *status = restore(root_list("[b]", t), path);
    REFUSED(htstore_restore_assert_nontrivial_match(status, &api.error), HTSTORE_ENOTFOUND,
            "Nothing except the root object matches a checkpointed value");
    ck_assert_str_eq(unmatched(status), "(root).a | (root).b");
    htstore_restore_expect_partial(status);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "");
    ck_assert_int_eq(release(status), 0);
}
END_TEST

START_TEST(messages_show_ten_of_many_objects)
{
    struct htstore_mapping *m = new_mapping(NULL, 0);
    for (int i = 0; i < 12; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        PUT(m, key, words_table(NULL, 0));
    }
    const char *none = write_as(root_list("[other]", table_with("[a]")), "none"), *all = save_list_m(m, "all");
    NOT_MATCHED(restore(root_list("[m]", m), none), HTSTORE_ENOTFOUND,
                "Found 12 objects that were not bound to checkpointed values: (root).m.k0, ");
    ck_assert_ptr_nonnull(strstr(api.error.message, "(root).m.k9"));
    ck_assert_ptr_null(strstr(api.error.message, "(root).m.k10"));
    NOT_CONSUMED(restore(root_list("[other]", new_mapping(NULL, 0)), all), HTSTORE_ENOTFOUND,
                 "Unresolved object in checkpoint (root).m.k0");
    ck_assert_ptr_nonnull(strstr(api.error.message, "12"));
    ck_assert_ptr_null(strstr(api.error.message, "(root).m.k10"));
}
END_TEST

/* ---- 3.4: forms of adding a key ---- */

START_TEST(update_serves_what_waits)
{
    struct htstore_mapping *old = new_mapping(NULL, 0);
    PUT(old, "a", table_with("[a]"));
    PUT(old, "b", new_variable(NULL, HTSTORE_WEIGHT, 0, "42"));
    const char *path = save_list_m(old, "w");
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    struct htstore_table *t = table_with("[l]"), *other = table_with("[o]");
    struct htstore_variable *v = new_variable("v", HTSTORE_WEIGHT, 0, "0");
    const struct htstore_entry entries[] = { { bytes_of("x"), other }, { bytes_of("b"), v }, { bytes_of("a"), t } };
    OK(htstore_mapping_update(m, entries, 3, &api.error));
    ROWS_ARE(t, "[a]", "[5]");
    ROWS_ARE(other, "[o]", "[5]");
    ck_assert_int_eq(number_of(v), 42);
    ck_assert_str_eq(unmatched(status), " | (root).m.x");
    objects_forget(v);
    OK(htstore_variable_close(v, &api.error));
    checkpoint_close_all();
    objects_reopen();
    ck_assert_int_eq(number_of(get_variable("v")), 42);
}
END_TEST

START_TEST(track_serves_what_waits)
{
    struct htstore_mapping *old = new_mapping(NULL, 0);
    PUT(old, "t", table_with("[t]"));
    PUT(old, "t_1", table_with("[t1]"));
    const char *path = save_list_m(old, "w");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    struct htstore_table *one = table_with("[l]"), *two = table_with("[l]");
    const struct htstore_bytes base = bytes_of("t");
    OK(htstore_mapping_track(m, &base, one, NULL, NULL, &api.error));
    OK(htstore_mapping_track(m, &base, two, NULL, NULL, &api.error));
    ROWS_ARE(one, "[t]", "[5]");
    ROWS_ARE(two, "[t1]", "[5]");
    CONSUMED(status);
}
END_TEST

START_TEST(creating_a_name_serves_what_waits)
{
    if (_i)
        checkpoint_small_memory();
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *t = words_table("t", 0), *inner = words_table(NULL, 0);
    new_variable("v", HTSTORE_WEIGHT, 0, "[4 5]");
    set_rows(t, "[a b]", "[1 2]");
    set_rows(inner, "[i]", "[3]");
    PUT(m, "inner", inner);
    const char *path = save(root_names());
    checkpoint_fresh_store("other");
    struct htstore_restore *status = restore(root_names(), path);
    ck_assert_str_eq(unmatched(status), "(root).t (root).v (root).m.inner | ");

    t = words_table("t", 0);
    ROWS_ARE(t, "[a b]", "[1 2]");
    struct htstore_variable *v = new_variable("v", HTSTORE_WEIGHT, 0, "[0 0]");
    int64_t numbers[2];
    struct htstore_array out = htstore_vector(HTSTORE_INT64, numbers, 2);
    OK(htstore_variable_read(v, &out, &api.error));
    ck_assert(numbers[0] == 4 && numbers[1] == 5);

    inner = words_table(NULL, 0);
    set_rows(inner, "[x]", "[9]");
    const struct htstore_entry entry = { bytes_of("inner"), inner };
    OK(htstore_mapping_create(api.store, "m", NULL, &entry, 1, &m, &api.error));
    objects_keep(m);
    ROWS_ARE(inner, "[i]", "[3]");
    CONSUMED(status);
    ck_assert_int_eq(release(status), 0);
    checkpoint_close_all();
    objects_reopen();
    OK(htstore_table_open(api.store, "t", NULL, &api.table, &api.error));
    ROWS_ARE(api.table, "[a b]", "[1 2]");
    api_close_store();
    OK(htstore_check(api.path, NULL, NULL, &api.error));
    api_open_store();
}
END_TEST

START_TEST(a_name_of_another_schema_is_refused)
{
    set_rows(words_table("t", 0), "[a]", "[1]");
    const char *path = save(root_names());
    checkpoint_fresh_store("other");
    struct htstore_restore *status = restore(root_names(), path);
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    struct htstore_table *t = (struct htstore_table *)&api;
    const uint64_t n = object_count();
    REFUSED(htstore_table_create(api.store, "t", &schema, &t, &api.error), HTSTORE_ECONFLICT, "(root).t");
    ck_assert_ptr_null(t);
    ck_assert_uint_eq(object_count(), n);
    REFUSED(htstore_table_get_or_create(api.store, "t", &schema, &t, &api.error), HTSTORE_ECONFLICT, "(root).t");
    schema = api_schema(HTSTORE_STRING, "8", HTSTORE_INT64);
    OK(htstore_table_get_or_create(api.store, "t", &schema, &t, &api.error));
    objects_keep(t);
    ROWS_ARE(t, "[a]", "[1]");
    CONSUMED(status);
}
END_TEST

START_TEST(what_is_below_a_put_waits_too)
{
    struct htstore_mapping *old = new_mapping(NULL, 0), *inner = new_mapping(NULL, 0), *empty = new_mapping(NULL, 0);
    PUT(old, "inner", inner);
    PUT(old, "empty", empty);
    PUT(inner, "t", table_with("[a]"));
    PUT(inner, "back", old);
    const char *path = save_list_m(old, "w");
    struct htstore_mapping *m = new_mapping(NULL, 0), *n = new_mapping(NULL, 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Unresolved object in checkpoint (root).m.inner.t");
    PUT(m, "inner", n);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "(root).m.inner.t");
    struct htstore_table *t = table_with("[l]");
    PUT(n, "t", t);
    ROWS_ARE(t, "[a]", "[5]");
    CONSUMED(status);
    PUT(m, "empty", words_table(NULL, 0)); /* it had no contents: nothing waited, and nothing conflicts */
    PUT(n, "back", m);
    NOT_MATCHED(status, HTSTORE_ENOTFOUND, "(root).m.empty");
}
END_TEST

START_TEST(a_mapping_that_is_put_brings_what_it_holds)
{
    struct htstore_mapping *old = new_mapping(NULL, 0), *inner = new_mapping(NULL, 0);
    PUT(old, "inner", inner);
    PUT(inner, "t", table_with("[a]"));
    const char *path = save_list_m(old, "w");
    struct htstore_mapping *m = new_mapping(NULL, 0), *n = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    PUT(n, "t", t);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    PUT(m, "inner", n);
    ROWS_ARE(t, "[a]", "[5]");
    CONSUMED(status);
}
END_TEST

START_TEST(both_of_two_saved_mappings_wait_at_one_live_mapping)
{
    struct htstore_mapping *x = new_mapping(NULL, 0), *y = new_mapping(NULL, 0), *live = new_mapping(NULL, 0);
    PUT(x, "t", table_with("[x]"));
    PUT(y, "t", table_with("[y]"));
    const char *path = write_as(root_list("[x y]", x, y), "w");
    struct htstore_restore *status = restore(root_list("[x y]", live, live), path);
    struct htstore_table *t = table_with("[l]");
    PUT(live, "t", t);
    ROWS_ARE(t, "[x]", "[5]");
    MATCHED(status);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Unused attributes in these objects: (root).y.t");
}
END_TEST

START_TEST(a_mapping_may_be_put_into_itself_while_keys_wait)
{
    struct htstore_mapping *old = new_mapping(NULL, 0), *m = new_mapping(NULL, 0);
    PUT(old, "self", old);
    PUT(old, "t", table_with("[a]"));
    const char *path = save_list_m(old, "w");
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    PUT(m, "self", m);
    struct htstore_table *t = table_with("[l]");
    PUT(m, "t", t);
    ROWS_ARE(t, "[a]", "[5]");
    CONSUMED(status);
}
END_TEST

/* ---- 3.4: what fails, and what ends ---- */

START_TEST(a_put_of_another_schema_leaves_the_key_queued)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    void *wrong = conflicting_object(_i);
    const uint64_t lsn = api_stats().visible_lsn;
    REFUSED(put(m, "a", wrong), HTSTORE_ECONFLICT, conflicts[_i]);
    ck_assert_ptr_nonnull(strstr(api.error.message, "(root).m.a"));
    KEYS_ARE(m, "");
    ck_assert_uint_eq(api_stats().visible_lsn, lsn);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Unresolved object in checkpoint (root).m.a");
    struct htstore_table *t = table_with("[l]");
    PUT(m, "a", t);
    ROWS_ARE(t, "[x]", "[1]");
    CONSUMED(status);
}
END_TEST

START_TEST(an_update_that_is_refused_loads_nothing)
{
    struct htstore_mapping *old = new_mapping(NULL, 0);
    PUT(old, "a", table_with("[a]"));
    PUT(old, "b", table_with("[b]"));
    const char *path = save_list_m(old, "w");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    struct htstore_table *t = table_with("[l]");
    const struct htstore_entry entries[] = { { bytes_of("a"), t }, { bytes_of("b"), conflicting_object(_i) } };
    REFUSED(htstore_mapping_update(m, entries, 2, &api.error), HTSTORE_ECONFLICT, "(root).m.b");
    KEYS_ARE(m, "");
    ROWS_ARE(t, "[l]", "[5]");
    ck_assert_str_eq(unmatched(status), "(root).m.a (root).m.b | ");
    PUT(m, "a", t);
    ROWS_ARE(t, "[a]", "[5]");
}
END_TEST

START_TEST(the_same_object_again_consumes_nothing)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    PUT(m, "a", t);
    set_rows(t, "[n]", "[5]");
    PUT(m, "a", t);
    ROWS_ARE(t, "[n]", "[5]");
    REFUSED(put(m, "a", table_with("[q]")), HTSTORE_EEXIST, "append-only");
    CONSUMED(status);
}
END_TEST

START_TEST(a_release_cancels_what_waits)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    ck_assert_int_eq(release(restore(root_list("[m]", m), path)), 1);
    PUT(m, "a", t);
    ROWS_ARE(t, "[l]", "[5]");
}
END_TEST

START_TEST(reopening_forgets_what_waits)
{
    set_rows(words_table("t", 0), "[a]", "[1]");
    const char *path = save(root_names());
    checkpoint_fresh_store("other");
    restore(root_names(), path);
    checkpoint_close_all();
    objects_reopen();
    ck_assert_uint_eq(api_size(words_table("t", 0)), 0);
}
END_TEST

START_TEST(a_deleted_file_still_serves)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    ck_assert_int_eq(unlink(path), 0);
    PUT(m, "a", t);
    ROWS_ARE(t, "[x]", "[1]");
    CONSUMED(status);
}
END_TEST

START_TEST(an_unreadable_file_fails_the_put)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *t = table_with("[l]");
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    size_t size;
    uint8_t *data = read_whole(path, &size);
    ck_assert_int_eq(truncate(path, (off_t)(_i ? size / 2 : 0)), 0);
    ck_assert_int_lt(put(m, "a", t), 0);
    ck_assert(api.error.code == HTSTORE_ECORRUPT || api.error.code == HTSTORE_EFORMAT);
    KEYS_ARE(m, "");
    ROWS_ARE(t, "[l]", "[5]");
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "(root).m.a");
    write_whole(path, data, size);
    PUT(m, "a", t);
    ROWS_ARE(t, "[x]", "[1]");
    CONSUMED(status);
}
END_TEST

START_TEST(a_file_that_was_written_over_fails_the_put)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping("m", 0), *many = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    restore(root_list("[m]", m), path);
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        PUT(many, key, table_with("[z]"));
    }
    size_t size;
    const uint8_t *data = read_whole(save_list_m(many, "other"), &size);
    write_whole(path, data, size);
    REFUSED(put(m, "a", t), HTSTORE_ECORRUPT, "changed");
    KEYS_ARE(m, "");
    ROWS_ARE(t, "[l]", "[5]");
}
END_TEST

/* A put by another thread while a restore is about to read its file, which is then stopped. */
struct intruder {
    struct htstore_mapping *mapping;
    struct htstore_table *table;
    int result;
};

static void *put_late(void *arg)
{
    struct intruder *intruder = arg;
    const struct htstore_bytes key = bytes_of("a");
    intruder->result = htstore_mapping_put(intruder->mapping, &key, intruder->table, NULL);
    return NULL;
}

static int put_and_stop(void *user, const char *phase, uint64_t done, uint64_t total)
{
    pthread_t thread;
    (void)phase;
    (void)done;
    (void)total;
    ck_assert_int_eq(pthread_create(&thread, NULL, put_late, user), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return 1;
}

START_TEST(a_put_during_a_restore_loads_nothing_else)
{
    struct htstore_mapping *old = new_mapping(NULL, 0), *m = new_mapping(NULL, 0);
    PUT(old, "a", table_with("[a]"));
    PUT(old, "b", table_with("[b]"));
    const char *path = save_list_m(old, "w");
    struct htstore_table *b = table_with("[l]");
    PUT(m, "b", b);
    struct intruder intruder = { m, table_with("[l]"), -1 };
    const struct htstore_snapshot_options options = { .size = sizeof options,
                                                      .progress = put_and_stop,
                                                      .progress_user = &intruder };
    struct htstore_restore *status;
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    REFUSED(htstore_checkpoint_restore(checkpoint, path, &options, &status, &api.error), HTSTORE_ECANCELED, "stopped");
    ck_assert_int_eq(intruder.result, 0);
    ROWS_ARE(b, "[l]", "[5]");
}
END_TEST

/* ---- 3.4: the last restore wins ---- */

/* Two restores of the key "a", each before or after the put: what holds in the end is the second one's. */
START_TEST(the_last_of_two_restores_wins)
{
    const bool first_waits = _i & 1, second_waits = _i & 2;
    const char *one = file_with_a("one", "[first]"), *two = file_with_a("two", "[second]");
    struct htstore_mapping *m = new_mapping("m", 0), *bound = new_mapping("bound", 0);
    struct htstore_table *t = words_table("t", 0);
    PUT(bound, "a", t); /* restored there it is loaded at once, in m it waits */
    struct htstore_restore *a = restore(root_list("[m]", first_waits ? m : bound), one);
    if (!first_waits)
        ROWS_ARE(t, "[first]", "[1]");
    struct htstore_restore *b = restore(root_list("[m]", second_waits ? m : bound), two);
    if (!second_waits)
        ROWS_ARE(t, "[second]", "[1]");
    PUT(m, "a", t);
    ROWS_ARE(t, "[second]", "[1]");
    CONSUMED(a);
    CONSUMED(b);
    MATCHED(a);
    ck_assert_int_eq(release(a), 0);
    set_rows(t, "[]", "[]");
    ck_assert_int_eq(release(b), 0);
    checkpoint_close_all();
    objects_reopen();
    OK(htstore_table_open(api.store, "t", NULL, &api.table, &api.error));
    ROWS_ARE(api.table, "[]", "[]");
}
END_TEST

/* A restore by another thread, from begin to end, while the first is about to read its file. */
struct overtaker {
    struct htstore_checkpoint *checkpoint;
    const char *path;
    int result;
};

static void *overtake(void *arg)
{
    struct overtaker *o = arg;
    struct htstore_restore *status;
    o->result = htstore_checkpoint_read(o->checkpoint, o->path, NULL, &status, NULL);
    return o->result == 0 && htstore_restore_release(status) == 0 ? NULL : arg;
}

static int be_overtaken(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct overtaker *o = user;
    pthread_t thread;
    (void)phase;
    (void)done;
    (void)total;
    if (o->result != -1)
        return 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, overtake, o), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return 0;
}

START_TEST(a_later_restore_that_ends_first_wins)
{
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    PUT(m, "a", t);
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    struct overtaker overtaker = { checkpoint, file_with_a("two", "[second]"), -1 };
    const struct htstore_snapshot_options options = { .size = sizeof options,
                                                      .progress = be_overtaken,
                                                      .progress_user = &overtaker };
    struct htstore_restore *status;
    OK(htstore_checkpoint_read(checkpoint, file_with_a("one", "[first]"), &options, &status, &api.error));
    ck_assert_int_eq(overtaker.result, 0);
    ROWS_ARE(t, "[second]", "[1]");
    CONSUMED(status);
    ck_assert_int_eq(htstore_restore_release(status), 0);
}
END_TEST

START_TEST(a_third_restore_after_the_put_wins)
{
    const char *one = file_with_a("one", "[first]"), *two = file_with_a("two", "[second]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    struct htstore_restore *a = restore(checkpoint, one);
    struct htstore_restore *b = restore(checkpoint, two);
    PUT(m, "a", t);
    ROWS_ARE(t, "[second]", "[1]");
    struct htstore_restore *c = restore(checkpoint, one);
    ROWS_ARE(t, "[first]", "[1]");
    MATCHED(a);
    MATCHED(b);
    CONSUMED(c);
}
END_TEST

START_TEST(a_released_restore_lets_an_older_one_serve)
{
    const char *one = file_with_a("one", "[first]"), *two = file_with_a("two", "[second]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_table *t = table_with("[l]");
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    struct htstore_restore *a = restore(checkpoint, one);
    ck_assert_int_eq(release(restore(checkpoint, two)), 1);
    PUT(m, "a", t);
    ROWS_ARE(t, "[first]", "[1]");
    CONSUMED(a);
}
END_TEST

START_TEST(an_older_restore_supplies_what_the_newer_one_lacks)
{
    struct htstore_mapping *x = new_mapping(NULL, 0), *inner_x = new_mapping(NULL, 0);
    struct htstore_mapping *y = new_mapping(NULL, 0), *inner_y = new_mapping(NULL, 0);
    PUT(x, "inner", inner_x);
    PUT(inner_x, "p", table_with("[p1]"));
    PUT(inner_x, "q", table_with("[q1]"));
    PUT(y, "inner", inner_y);
    PUT(inner_y, "q", table_with("[q2]"));
    const char *one = save_list_m(x, "one"), *two = save_list_m(y, "two");
    struct htstore_mapping *m = new_mapping(NULL, 0), *inner = new_mapping(NULL, 0);
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    struct htstore_restore *a = restore(checkpoint, one), *b = restore(checkpoint, two);
    struct htstore_table *p = table_with("[l]"), *q = table_with("[l]");
    PUT(inner, "q", q);
    PUT(m, "inner", inner);
    ROWS_ARE(q, "[q2]", "[5]");
    PUT(inner, "p", p);
    ROWS_ARE(p, "[p1]", "[5]");
    CONSUMED(a);
    NOT_MATCHED(b, HTSTORE_ENOTFOUND, "(root).m.inner.p");
}
END_TEST

/* ---- release ---- */

START_TEST(a_release_tells_of_missing_parts_once)
{
    const char *path = file_with_a("w", "[x]");
    struct htstore_mapping *m = new_mapping(NULL, 0);
    struct htstore_checkpoint *checkpoint = root_list("[m]", m);
    ck_assert_int_eq(release(restore(checkpoint, path)), 1);
    struct htstore_restore *status = restore(checkpoint, path);
    MATCHED(status); /* an assertion passed */
    ck_assert_int_eq(release(status), 0);
    status = restore(checkpoint, path);
    htstore_restore_expect_partial(status);
    ck_assert_int_eq(release(status), 0);
    PUT(m, "a", table_with("[l]"));
    ck_assert_int_eq(release(restore(checkpoint, path)), 0);
    PUT(m, "b", table_with("[l]"));
    ck_assert_int_eq(release(restore(checkpoint, path)), 1);
}
END_TEST

static void add_matching(TCase *tests)
{
    tcase_add_test(tests, a_missing_file_is_an_error_and_no_path_is_none);
    tcase_add_test(tests, objects_that_the_file_lacks_keep_their_contents);
    tcase_add_test(tests, entries_and_flags_are_not_restored);
    tcase_add_loop_test(tests, a_conflict_names_both_and_restores_nothing, 0, 5);
    tcase_add_test(tests, a_conflict_in_one_object_leaves_the_others);
    tcase_add_loop_test(tests, variables_conflict_by_dtype_and_shape, 0, 2);
    tcase_add_test(tests, another_default_is_no_conflict);
    tcase_add_test(tests, the_first_of_two_saved_objects_supplies_one_live_object);
    tcase_add_test(tests, two_live_mappings_for_one_are_inconsistent);
    tcase_add_test(tests, nothing_but_the_root_matches);
    tcase_add_test(tests, messages_show_ten_of_many_objects);
    tcase_add_test(tests, a_release_tells_of_missing_parts_once);
}

static void add_deferred(TCase *tests)
{
    tcase_add_test(tests, update_serves_what_waits);
    tcase_add_test(tests, track_serves_what_waits);
    tcase_add_loop_test(tests, creating_a_name_serves_what_waits, 0, 2);
    tcase_add_test(tests, a_name_of_another_schema_is_refused);
    tcase_add_test(tests, what_is_below_a_put_waits_too);
    tcase_add_test(tests, a_mapping_that_is_put_brings_what_it_holds);
    tcase_add_test(tests, both_of_two_saved_mappings_wait_at_one_live_mapping);
    tcase_add_test(tests, a_mapping_may_be_put_into_itself_while_keys_wait);
    tcase_add_loop_test(tests, a_put_of_another_schema_leaves_the_key_queued, 0, 5);
    tcase_add_loop_test(tests, an_update_that_is_refused_loads_nothing, 0, 5);
    tcase_add_test(tests, the_same_object_again_consumes_nothing);
    tcase_add_test(tests, a_release_cancels_what_waits);
    tcase_add_test(tests, reopening_forgets_what_waits);
    tcase_add_test(tests, a_deleted_file_still_serves);
    tcase_add_loop_test(tests, an_unreadable_file_fails_the_put, 0, 2);
    tcase_add_test(tests, a_file_that_was_written_over_fails_the_put);
    tcase_add_test(tests, a_put_during_a_restore_loads_nothing_else);
    tcase_add_loop_test(tests, the_last_of_two_restores_wins, 0, 4);
    tcase_add_test(tests, a_later_restore_that_ends_first_wins);
    tcase_add_test(tests, a_third_restore_after_the_put_wins);
    tcase_add_test(tests, a_released_restore_lets_an_older_one_serve);
    tcase_add_test(tests, an_older_restore_supplies_what_the_newer_one_lacks);
}

int main(void)
{
    Suite *suite = suite_create("restore");
    TCase *matching = tcase_create("matching"), *deferred = tcase_create("deferred");
    tcase_add_checked_fixture(matching, checkpoint_setup, checkpoint_teardown);
    tcase_add_checked_fixture(deferred, checkpoint_setup, checkpoint_teardown);
    add_matching(matching);
    add_deferred(deferred);
    suite_add_tcase(suite, matching);
    suite_add_tcase(suite, deferred);
    return check_run(suite);
}
