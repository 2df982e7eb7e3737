/* check_diff: snapshots and stores compared with each other: what differs, and how many rows. */
#include "checkpoint_util.h"

#include <stdio.h>
#include <string.h>

static void close_store(void)
{
    checkpoint_close_all();
    objects_close();
    api_close_store();
}

/* "path change +added -removed ~changed" a line, of what is not the same; "" when all is. */
static const char *differences(const char *first, const char *second)
{
    static const char *const names[] = { "same", "added", "removed", "changed", "schema" };
    const struct htstore_difference *list = NULL;
    uint64_t n = 0;
    const int rc = htstore_diff(first, second, NULL, api.arena, &list, &n, &api.error);
    ck_assert_msg(rc == 0 || rc == 1, "%d: %s", rc, api.error.message);
    char *text = api_alloc(n * 256 + 1), *end = text;
    for (uint64_t i = 0; i < n; i++) {
        const struct htstore_difference *d = &list[i];
        if (i > 0)
            ck_assert_int_lt(strcmp(list[i - 1].path, d->path), 0);
        ck_assert_uint_le(d->change, HTSTORE_SCHEMA_CHANGED);
        if (d->change == HTSTORE_SAME)
            ck_assert(d->n_added == 0 && d->n_removed == 0 && d->n_changed == 0);
        else
            end += sprintf(end, "%.150s %s +%d -%d ~%d\n", d->path, names[d->change], (int)d->n_added,
                           (int)d->n_removed, (int)d->n_changed);
    }
    ck_assert_int_eq(rc, end > text);
    return text;
}

/* The state as a snapshot, and what changes next makes another; both ways of naming a side are compared. */
static const char *first;

static void begin(void)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *u = words_table(NULL, 0);
    set_rows(words_table("t", 0), "[a b c]", "[1 2 3]");
    set_rows(u, "[x]", "[9]");
    PUT(m, "u", u);
    PUT(m, "self", m);
    new_variable("v", HTSTORE_WEIGHT, 0, "[1 2 3]");
    first = write_as(root_names(), "first");
}

static struct htstore_table *table_t(void)
{
    struct htstore_table *t;
    OK(htstore_table_open(api.store, "t", NULL, &t, &api.error));
    return objects_keep(t);
}

/* Snapshot and snapshot, snapshot and store, and the other way round. */
static void expect(const char *text, const char *reverse)
{
    const char *second = write_as(root_names(), "second");
    close_store();
    ck_assert_str_eq(differences(first, second), text);
    ck_assert_str_eq(differences(second, first), reverse);
    ck_assert_str_eq(differences(first, api.path), text);
    ck_assert_str_eq(differences(api.path, first), reverse);
    ck_assert_str_eq(differences(second, api.path), "");
    ck_assert_str_eq(differences(second, second), "");
}

START_TEST(equal_sides_are_equal)
{
    begin();
    set_rows(table_t(), "[c b a]", "[3 2 1]");
    expect("", "");
}
END_TEST

START_TEST(rows_are_counted)
{
    begin();
    set_rows(table_t(), "[a b d e]", "[1 20 4 5]");
    expect("(root).t changed +2 -1 ~1\n", "(root).t changed +1 -2 ~1\n");
}
END_TEST

START_TEST(an_emptied_table_lost_all_its_rows)
{
    begin();
    set_rows(table_t(), "[]", "[]");
    expect("(root).t changed +0 -3 ~0\n", "(root).t changed +3 -0 ~0\n");
}
END_TEST

START_TEST(variables_change)
{
    begin();
    const struct htstore_array value = api_array(HTSTORE_INT64, "[1 2 4]");
    OK(htstore_variable_assign(get_variable("v"), &value, &api.error));
    expect("(root).v changed +0 -0 ~1\n", "(root).v changed +0 -0 ~1\n");
}
END_TEST

START_TEST(objects_and_entries_are_added)
{
    begin();
    struct htstore_table *n = words_table(NULL, 0);
    set_rows(n, "[p q]", "[1 2]");
    PUT(get_mapping("m"), "n", n);
    PUT(get_mapping("m"), "t", table_t());
    words_table("z", 0);
    expect(
        "(root) changed +1 -0 ~0\n(root).m changed +2 -0 ~0\n(root).m.n added +2 -0 ~0\n(root).z added +0 -0 ~0\n",
        "(root) changed +0 -1 ~0\n(root).m changed +0 -2 ~0\n(root).m.n removed +0 -2 ~0\n(root).z removed +0 -0 ~0\n");
}
END_TEST

START_TEST(another_schema_is_told_without_rows)
{
    begin();
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "7", HTSTORE_INT64);
    struct htstore_table *t;
    objects_close();
    OK(htstore_table_drop(api.store, "t", &api.error));
    OK(htstore_table_create(api.store, "t", &schema, &t, &api.error));
    objects_keep(t);
    OK(htstore_mapping_set_trainable(get_mapping("m"), 0, &api.error));
    expect("(root).m schema +0 -0 ~0\n(root).t schema +0 -0 ~0\n",
           "(root).m schema +0 -0 ~0\n(root).t schema +0 -0 ~0\n");
}
END_TEST

START_TEST(an_entry_may_lead_elsewhere)
{
    struct htstore_mapping *m = new_mapping(NULL, 0), *n = new_mapping(NULL, 0);
    struct htstore_table *a = words_table(NULL, 0), *b = words_table(NULL, 0);
    PUT(m, "a", a);
    PUT(m, "b", b);
    PUT(m, "c", a);
    PUT(n, "a", a);
    PUT(n, "b", b);
    PUT(n, "c", b);
    ck_assert_str_eq(differences(write_as(root_mapping(m), "m"), write_as(root_mapping(n), "n")),
                     "(root) changed +0 -0 ~1\n");
}
END_TEST

START_TEST(the_save_counter_does_not_count)
{
    begin();
    struct htstore_checkpoint *checkpoint = root_names();
    const char *one = save(checkpoint), *two = save(checkpoint);
    ck_assert_str_eq(differences(one, two), "");
    ck_assert_str_eq(differences(first, two), "");
}
END_TEST

START_TEST(contents_that_one_side_did_not_save_do_not_differ)
{
    set_rows(words_table("t", HTSTORE_NO_CHECKPOINT), "[a]", "[1]");
    const char *path = write_as(root_names(), "w");
    close_store();
    ck_assert_str_eq(differences(path, api.path), "");
}
END_TEST

START_TEST(large_rows_and_long_keys_are_compared)
{
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "-", HTSTORE_STRING);
    struct htstore_table *t;
    OK(htstore_table_create(api.store, "t", &schema, &t, &api.error));
    objects_keep(t);
    const struct htstore_bytes keys[] = { long_key('k', 3000), bytes_of("large"), bytes_of("small"), bytes_of("z") };
    struct htstore_bytes values[] = { long_key('v', 2500000), long_key('w', 1500000), bytes_of("s"), bytes_of("z") };
    const struct htstore_array k = htstore_vector(HTSTORE_STRING, keys, 4),
                               v = htstore_vector(HTSTORE_STRING, values, 4);
    OK(htstore_table_insert(t, &k, &v, 0, &api.error));
    first = write_as(root_names(), "first");
    ((char *)(uintptr_t)values[1].data)[1400000] = '!';
    values[2] = long_key('s', 1100000);
    OK(htstore_table_insert(t, &k, &v, 0, &api.error));
    expect("(root).t changed +0 -0 ~2\n", "(root).t changed +0 -0 ~2\n");
}
END_TEST

static int stop(void *user, const char *phase, uint64_t done, uint64_t total)
{
    (void)total;
    ck_assert_str_eq(phase, "diff");
    *(uint64_t *)user = done;
    return 1;
}

START_TEST(many_rows_can_be_stopped)
{
    uint64_t done = 0, n = 77;
    const struct htstore_difference *list = NULL;
    struct htstore_table *t = new_table("t");
    const struct htstore_array keys = api_numbered(HTSTORE_INT64, "70000", 8);
    OK(htstore_table_insert(t, &keys, &keys, 0, &api.error));
    first = write_as(root_names(), "first");
    set_number(t, 5);
    const char *second = write_as(root_names(), "second");
    ck_assert_str_eq(differences(first, second), "(root).t changed +1 -0 ~0\n");
    const struct htstore_snapshot_options options = { .size = sizeof options,
                                                      .progress = stop,
                                                      .progress_user = &done };
    REFUSED(htstore_diff(first, second, &options, api.arena, &list, &n, &api.error), HTSTORE_ECANCELED, "stopped");
    ck_assert(done > 0 && done < 70000 && n == 77 && !list);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    const struct htstore_difference *list;
    uint64_t n;
    begin();
    write_whole(api_path("text"), "text", 4);
    REFUSED(htstore_diff(first, api_path("none"), NULL, api.arena, &list, &n, &api.error), HTSTORE_ENOTFOUND, "");
    REFUSED(htstore_diff(api_path("none"), first, NULL, api.arena, &list, &n, &api.error), HTSTORE_ENOTFOUND, "");
    REFUSED(htstore_diff(first, api_path("text"), NULL, api.arena, &list, &n, &api.error), HTSTORE_EFORMAT, "");
    REFUSED(htstore_diff(first, api.directory, NULL, api.arena, &list, &n, &api.error), HTSTORE_EFORMAT, "");
    REFUSED(htstore_diff(first, api.path, NULL, api.arena, &list, &n, &api.error), HTSTORE_EBUSY, "");
    REFUSED(htstore_diff(NULL, first, NULL, api.arena, &list, &n, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_diff(first, first, NULL, NULL, &list, &n, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_diff(first, first, NULL, api.arena, NULL, &n, &api.error), HTSTORE_EINVAL, "");
}
END_TEST

START_TEST(damage_in_what_must_be_read_is_told)
{
    begin();
    set_rows(table_t(), "[a b]", "[1 2]");
    const char *second = write_as(root_names(), "second");
    const struct htstore_difference *list;
    uint64_t n;
    size_t size;
    uint8_t *data = read_whole(second, &size);
    for (size_t at = 0; at < size; at += 7) {
        data[at] ^= 4;
        write_whole(second, data, size);
        const int rc = htstore_diff(first, second, NULL, api.arena, &list, &n, &api.error);
        ck_assert_msg(rc == 1 || rc == HTSTORE_ECORRUPT || rc == HTSTORE_EFORMAT || rc == HTSTORE_EVERSION,
                      "byte %zu: %d", at, rc);
        data[at] ^= 4;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("diff");
    TCase *tests = tcase_create("diff");
    tcase_add_checked_fixture(tests, checkpoint_setup, checkpoint_teardown);
    tcase_add_test(tests, equal_sides_are_equal);
    tcase_add_test(tests, rows_are_counted);
    tcase_add_test(tests, an_emptied_table_lost_all_its_rows);
    tcase_add_test(tests, variables_change);
    tcase_add_test(tests, objects_and_entries_are_added);
    tcase_add_test(tests, another_schema_is_told_without_rows);
    tcase_add_test(tests, an_entry_may_lead_elsewhere);
    tcase_add_test(tests, the_save_counter_does_not_count);
    tcase_add_test(tests, contents_that_one_side_did_not_save_do_not_differ);
    tcase_add_test(tests, large_rows_and_long_keys_are_compared);
    tcase_add_test(tests, many_rows_can_be_stopped);
    tcase_add_test(tests, wrong_arguments_are_refused);
    tcase_add_test(tests, damage_in_what_must_be_read_is_told);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
