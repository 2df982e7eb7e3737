/* check_fork: forked children, whose every call is refused (semantics.md 1.11), and the modes of files and folders. */
#include "api_util.h"

#include <sys/stat.h>
#include <unistd.h>

/* A store with table t1 and these rows, closed. */
static void make_store(const char *keys, const char *values)
{
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT(keys, values);
    api_close_store();
}

static void refuse_open(int code, const char *text)
{
    struct htstore *store = (struct htstore *)&api;
    REFUSED(htstore_open(api.path, &api.options, &store, &api.error), code, text);
    ck_assert_ptr_null(store);
}

/* ---- forked children ---- */

static struct htstore_batch *open_batch;
static struct htstore_cursor *open_cursor;

static int refused(int result)
{
    return result == HTSTORE_EINVAL && api.error.code == HTSTORE_EINVAL && api.error.message[0];
}

#define REFUSED_IN_CHILD(call)                                                                                         \
    do {                                                                                                               \
        memset(&api.error, 0, sizeof api.error);                                                                       \
        if (!refused(call))                                                                                            \
            return __LINE__;                                                                                           \
    } while (0)

static int call_tables_in_child(void)
{
    struct htstore_error *e = &api.error;
    struct htstore_array keys = api_array(HTSTORE_INT64, "[1 2]"), out = api_room(HTSTORE_INT64, &keys, ""), k, v;
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64), got = { .size = sizeof got };
    struct htstore_table *table;
    struct htstore_cursor *cursor;
    uint64_t n;
    REFUSED_IN_CHILD(htstore_table_create(api.store, "t2", &schema, &table, e));
    REFUSED_IN_CHILD(htstore_table_open(api.store, "t1", NULL, &table, e));
    REFUSED_IN_CHILD(htstore_table_get_or_create(api.store, "t2", &schema, &table, e));
    REFUSED_IN_CHILD(htstore_table_drop(api.store, "t1", e));
    REFUSED_IN_CHILD(htstore_table_insert(api.table, &keys, &keys, 0, e));
    REFUSED_IN_CHILD(htstore_table_insert_new(api.table, &keys, &keys, NULL, 0, e));
    REFUSED_IN_CHILD(htstore_table_find_or_insert(api.table, &keys, NULL, &out, NULL, 0, e));
    REFUSED_IN_CHILD(htstore_table_lookup(api.table, &keys, NULL, &out, NULL, e));
    REFUSED_IN_CHILD(htstore_table_remove(api.table, &keys, NULL, 0, e));
    REFUSED_IN_CHILD(htstore_table_clear(api.table, 0, e));
    REFUSED_IN_CHILD(htstore_table_size(api.table, &n, e));
    REFUSED_IN_CHILD(htstore_table_import(api.table, &keys, &keys, 0, e));
    REFUSED_IN_CHILD(htstore_table_export(api.table, api.arena, &k, &v, e));
    REFUSED_IN_CHILD(htstore_table_schema(api.table, &got, e));
    REFUSED_IN_CHILD(htstore_cursor_open(api.table, &cursor, e));
    REFUSED_IN_CHILD(htstore_cursor_next(open_cursor, 1, api.arena, &k, &v, e));
    REFUSED_IN_CHILD(htstore_table_close(api.table, e));
    return 0;
}

static int call_store_in_child(void)
{
    struct htstore_error *e = &api.error;
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore_array keys = api_array(HTSTORE_INT64, "[1 2]");
    const struct htstore_object *objects;
    struct htstore_batch *batch;
    uint64_t n;
    REFUSED_IN_CHILD(htstore_sync(api.store, e));
    REFUSED_IN_CHILD(htstore_flush(api.store, e));
    REFUSED_IN_CHILD(htstore_refresh(api.store, e));
    REFUSED_IN_CHILD(htstore_stats(api.store, &stats, e));
    REFUSED_IN_CHILD(htstore_list(api.store, api.arena, &objects, &n, e));
    REFUSED_IN_CHILD(htstore_batch_new(api.store, &batch, e));
    REFUSED_IN_CHILD(htstore_batch_insert(open_batch, api.table, &keys, &keys, e));
    REFUSED_IN_CHILD(htstore_batch_insert_new(open_batch, api.table, &keys, &keys, e));
    REFUSED_IN_CHILD(htstore_batch_remove(open_batch, api.table, &keys, e));
    REFUSED_IN_CHILD(htstore_batch_clear(open_batch, api.table, e));
    REFUSED_IN_CHILD(htstore_batch_commit(open_batch, 0, e));
    REFUSED_IN_CHILD(htstore_close(api.store, e));
    htstore_batch_reset(open_batch);
    htstore_batch_free(open_batch);
    htstore_cursor_close(open_cursor);
    return 0;
}

START_TEST(every_call_is_refused_in_a_forked_child)
{
    struct htstore_array keys, values;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2]", "[10 20]");
    OK(htstore_cursor_open(api.table, &open_cursor, &api.error));
    OK(htstore_batch_new(api.store, &open_batch, &api.error));
    keys = api_keys("[3]");
    OK(htstore_batch_insert(open_batch, api.table, &keys, &keys, &api.error));
    struct api_state before = api_state();
    api_run_in_child(call_tables_in_child);
    UNCHANGED(before);
    api_run_in_child(call_store_in_child);
    UNCHANGED(before);
    OK(htstore_cursor_next(open_cursor, 9, api.arena, &keys, &values, &api.error));
    ck_assert_str_eq(api_text(&values), "[10 20]");
    htstore_cursor_close(open_cursor);
    OK(htstore_batch_commit(open_batch, 0, &api.error));
    htstore_batch_free(open_batch);
    INSERT("[4]", "[4]");
    OK(htstore_flush(api.store, &api.error));
    EXPORT_IS("[1 2 3 4]", "[10 20 3 4]");
    api_reopen();
    EXPORT_IS("[1 2 3 4]", "[10 20 3 4]");
}
END_TEST

/* ---- permissions ---- */

START_TEST(a_folder_that_others_may_write_is_refused)
{
    make_store("[1]", "[10]");
    ck_assert_int_eq(chmod(api.path, _i ? 0707 : 0770), 0);
    refuse_open(HTSTORE_EINVAL, "");
    api.options.flags |= HTSTORE_ALLOW_SHARED_FOLDER;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
}
END_TEST

START_TEST(files_are_private_whatever_the_umask)
{
    static const char *const names[] = { "store/data.mdb", "store/lock.mdb", "store/LOCK" };
    struct stat status;
    mode_t old = umask(_i ? 0777 : 0);
    make_store("[1]", "[10]");
    api_open_store();
    umask(old);
    ck_assert_int_eq(stat(api.path, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(api_path("store/journal"), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0700);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ck_assert_int_eq(stat(api_path(names[i]), &status), 0);
        ck_assert_msg((status.st_mode & 07777) == 0600, "%s has mode %o", names[i], status.st_mode & 07777);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fork");
    TCase *tests = tcase_create("fork");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_test(tests, every_call_is_refused_in_a_forked_child);
    tcase_add_loop_test(tests, a_folder_that_others_may_write_is_refused, 0, 2);
    tcase_add_loop_test(tests, files_are_private_whatever_the_umask, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
