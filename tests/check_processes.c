/* check_processes: several processes and one store: owners, readers, locks (semantics.md 1.10). */
#include "api_peer.h"
#include "api_util.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define LONG_TIMEOUT_MS 60000

static struct peer first, second;

static void setup(void)
{
    api_setup();
    api.name = "t1";
}

static void teardown(void)
{
    peer_finish(&first, SIGKILL);
    peer_finish(&second, SIGKILL);
    api_teardown();
}

static void open_as_reader(void)
{
    api.options.flags = HTSTORE_READONLY | (api.options.flags & HTSTORE_NO_PRELOAD);
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
}

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

/* ---- owners ---- */

START_TEST(a_second_owner_is_refused_naming_the_first)
{
    char pid[16];
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    (void)snprintf(pid, sizeof pid, "%d", (int)first.pid);
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    refuse_open(HTSTORE_EBUSY, pid);
    api.options.lock_timeout_ms = 20;
    refuse_open(HTSTORE_EBUSY, pid);
    ck_assert_str_eq(peer_ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(peer_ask(&first, "close"), "0");
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    const char *answer = peer_start(&second, "c");
    ck_assert_int_eq(atoi(answer), HTSTORE_EBUSY);
    ck_assert_msg(strstr(answer, pid) != NULL, "%s is not named: %s", pid, answer);
}
END_TEST

START_TEST(an_open_may_wait_for_the_owner)
{
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    peer_tell(&first, "close");
    api.options.lock_timeout_ms = LONG_TIMEOUT_MS;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
}
END_TEST

START_TEST(a_killed_owner_loses_nothing)
{
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    if (_i)
        ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(peer_ask(&first, "anonymous"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 11"), "0");
    ck_assert(WIFSIGNALED(peer_finish(&first, SIGKILL)));
    api_open_store();
    struct htstore_stats stats = api_stats();
    ck_assert_uint_ge(stats.replayed_records, 1);
    ck_assert_uint_eq(stats.n_tables, 1);
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[11 20]");
    INSERT("[3]", "[30]");
    api_reopen();
    EXPORT_IS("[1 2 3]", "[11 20 30]");
}
END_TEST

START_TEST(a_stopped_owner_still_owns)
{
    int status;
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    kill(first.pid, SIGSTOP);
    ck_assert_int_eq(waitpid(first.pid, &status, WUNTRACED), first.pid);
    refuse_open(HTSTORE_EBUSY, "");
    kill(first.pid, SIGCONT);
    ck_assert_str_eq(peer_ask(&first, "get 1"), "10");
}
END_TEST

START_TEST(deleting_the_lock_lets_no_second_owner_in)
{
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    ck_assert_int_eq(unlink(api_path("store/LOCK")), 0);
    refuse_open(HTSTORE_EBUSY, "");
    ck_assert_str_eq(peer_ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    refuse_open(HTSTORE_EBUSY, "");
    ck_assert_str_eq(peer_ask(&first, "close"), "0");
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
}
END_TEST

START_TEST(a_store_without_its_lock_file_opens)
{
    make_store("[1]", "[10]");
    ck_assert_int_eq(unlink(api_path("store/LOCK")), 0);
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
    ck_assert_int_eq(atoi(peer_start(&first, "")), HTSTORE_EBUSY);
}
END_TEST

/* ---- one process, twice ---- */

START_TEST(a_directory_is_open_once_in_a_process)
{
    struct htstore *other = (struct htstore *)&api;
    struct htstore_options reader = { .size = sizeof reader, .flags = HTSTORE_READONLY };
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    refuse_open(HTSTORE_EBUSY, "");
    REFUSED(htstore_open(api_path("./store/"), &api.options, &other, &api.error), HTSTORE_EBUSY, "");
    REFUSED(htstore_open(api_path("store/../store"), &api.options, &other, &api.error), HTSTORE_EBUSY, "");
    REFUSED(htstore_open(api.path, &reader, &other, &api.error), HTSTORE_EBUSY, "");
    ck_assert_ptr_null(other);
    INSERT("1", "10");
    ck_assert_int_eq(atoi(peer_start(&first, "c")), HTSTORE_EBUSY);
    api_reopen();
    EXPORT_IS("[1]", "[10]");
    api_close_store();
    open_as_reader();
    REFUSED(htstore_open(api.path, &reader, &other, &api.error), HTSTORE_EBUSY, "");
    api.options.flags = 0;
    refuse_open(HTSTORE_EBUSY, "");
    EXPORT_IS("[1]", "[10]");
}
END_TEST

/* ---- readers ---- */

START_TEST(a_reader_sees_what_was_flushed_and_moves_on_when_it_refreshes)
{
    struct htstore_cursor *cursor;
    struct htstore_array keys, values;
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    open_as_reader();
    EXPORT_IS("[1]", "[10]");
    ck_assert_int_eq(htstore_refresh(api.store, &api.error), 1);
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    ck_assert_str_eq(peer_ask(&first, "put 1 11"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    GET_OR_IS("[1 2]", NULL, "[10 -1]", "[1 0]");
    EXPORT_IS("[1]", "[10]");
    OK(htstore_refresh(api.store, &api.error));
    GET_OR_IS("[1 2]", NULL, "[11 20]", "[1 1]");
    SIZE_IS(2);
    EXPORT_IS("[1 2]", "[11 20]");
    ck_assert_int_eq(htstore_refresh(api.store, &api.error), 1);
    ck_assert_uint_eq(htstore_cursor_count(cursor), 1);
    OK(htstore_cursor_next(cursor, 10, api.arena, &keys, &values, &api.error));
    ck_assert_str_eq(api_text(&keys), "[1]");
    ck_assert_str_eq(api_text(&values), "[10]");
    htstore_cursor_close(cursor);
    ck_assert_str_eq(
        peer_ask(&first, "lsn"),
        api_text(&(struct htstore_array){ .dtype = HTSTORE_UINT64, .data = &(uint64_t){ api_stats().visible_lsn } }));
    ck_assert_str_eq(peer_ask(&first, "close"), "0");
    EXPORT_IS("[1 2]", "[11 20]");
}
END_TEST

START_TEST(readers_run_beside_an_owner_and_each_other)
{
    make_store("[1 2]", "[10 20]");
    ck_assert_str_eq(peer_start(&first, "r"), "0");
    ck_assert_str_eq(peer_start(&second, "r"), "0");
    ck_assert_str_eq(peer_ask(&first, "get 1"), "10");
    ck_assert_str_eq(peer_ask(&second, "get 2"), "20");
    ck_assert_int_eq(atoi(peer_ask(&first, "put 3 30")), HTSTORE_EREADONLY);
    api.options.flags = 0;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    INSERT("[2 3]", "[22 33]");
    OK(htstore_flush(api.store, &api.error));
    ck_assert_str_eq(peer_ask(&first, "get 2"), "20");
    ck_assert_str_eq(peer_ask(&first, "refresh"), "0");
    ck_assert_str_eq(peer_ask(&first, "get 2"), "22");
    ck_assert_str_eq(peer_ask(&first, "size"), "3");
    ck_assert_str_eq(peer_ask(&second, "size"), "2");
    api_close_store();
    ck_assert_str_eq(peer_ask(&second, "refresh"), "0");
    ck_assert_str_eq(peer_ask(&second, "get 3"), "33");
    ck_assert_str_eq(peer_ask(&first, "close"), "0");
    ck_assert_str_eq(peer_ask(&second, "close"), "0");
}
END_TEST

START_TEST(a_reader_beside_a_busy_owner_sees_whole_batches_in_order)
{
    enum { N_KEYS = 100, N_BATCHES = 3000 };
    int64_t wanted[N_KEYS], seen[N_KEYS], last = -1;
    int n_newer = 0;
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    for (int64_t i = 0; i < N_KEYS; i++)
        wanted[i] = N_KEYS - 1 - i;
    struct htstore_array keys = htstore_vector(HTSTORE_INT64, wanted, N_KEYS), out = keys;
    out.data = seen;
    if (_i) {
        api.options.cache_bytes = 4096;
        api.options.flags |= HTSTORE_NO_PRELOAD;
    }
    open_as_reader();
    peer_tell(&first, "run 3000");
    while (last < N_BATCHES - 7) {
        int result = htstore_refresh(api.store, &api.error);
        ck_assert_msg(result == 0 || result == 1 || result == HTSTORE_EBUSY, "%d: %s", result, api.error.message);
        n_newer += result == 0;
        OK(htstore_table_lookup(api.table, &keys, NULL, &out, NULL, &api.error));
        for (size_t i = 1; i < N_KEYS; i++)
            ck_assert_int_eq(seen[i], seen[0]);
        ck_assert_int_ge(seen[0], last);
        last = seen[0];
        uint64_t size = api_size(api.table);
        ck_assert_uint_eq(size, last == -1 ? 0 : N_KEYS);
    }
    ck_assert_str_eq(peer_answer(&first), "0");
    ck_assert_int_ge(n_newer, 1);
}
END_TEST

START_TEST(a_reader_follows_a_file_that_outgrows_its_map)
{
    struct htstore_cursor *cursor;
    make_store("[1]", "[10]");
    api.options.map_size = 1u << 20;
    open_as_reader();
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    ck_assert_str_eq(peer_start(&first, ""), "0");
    ck_assert_str_eq(peer_ask(&first, "fill 200000"), "0");
    int result = htstore_refresh(api.store, &api.error);
    ck_assert_msg(result == 0 || result == HTSTORE_EBUSY, "%d: %s", result, api.error.message);
    ck_assert_uint_eq(htstore_cursor_count(cursor), 1);
    struct htstore_array keys, values;
    OK(htstore_cursor_next(cursor, 10, api.arena, &keys, &values, &api.error));
    ck_assert_str_eq(api_text(&values), "[10]");
    htstore_cursor_close(cursor);
    if (result != 0)
        OK(htstore_refresh(api.store, &api.error));
    SIZE_IS(200000);
    GET_IS("[0 1 199999 200000]", "[0 1 199999 -1]");
    api_close_store();
    open_as_reader();
    GET_IS("[0 1 199999 200000]", "[0 1 199999 -1]");
}
END_TEST

START_TEST(a_reader_is_told_that_its_table_was_dropped)
{
    make_store("[1]", "[10]");
    open_as_reader();
    ck_assert_str_eq(peer_start(&first, ""), "0");
    ck_assert_str_eq(peer_ask(&first, "drop"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    EXPORT_IS("[1]", "[10]");
    OK(htstore_refresh(api.store, &api.error));
    struct htstore_array key = api_keys("1"), out = api_outputs(&key);
    REFUSED(htstore_table_lookup(api.table, &key, NULL, &out, NULL, &api.error), HTSTORE_ENOTFOUND, "t1");
    OK(htstore_table_close(api.table, &api.error));
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[2]", "[20]");
}
END_TEST

START_TEST(a_reader_without_an_owner_creates_nothing)
{
    api.options.flags = HTSTORE_READONLY;
    refuse_open(HTSTORE_ENOTFOUND, "");
    api.options.flags = HTSTORE_READONLY | HTSTORE_CREATE;
    int result = htstore_open(api.path, &api.options, &api.store, &api.error);
    ck_assert_int_lt(result, 0);
    ck_assert_int_ne(access(api.path, F_OK), 0);
    api.options.flags = HTSTORE_CREATE;
    make_store("[1]", "[10]");
    open_as_reader();
    EXPORT_IS("[1]", "[10]");
    GET_OR_IS("[1 5]", NULL, "[10 -1]", "[1 0]");
}
END_TEST

START_TEST(a_reader_of_a_killed_owners_store_sees_a_prefix)
{
    ck_assert_str_eq(peer_start(&first, "c"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 1 10"), "0");
    ck_assert_str_eq(peer_ask(&first, "flush"), "0");
    ck_assert_str_eq(peer_ask(&first, "put 2 20"), "0");
    peer_finish(&first, SIGKILL);
    api.options.flags = HTSTORE_READONLY;
    int result = htstore_open(api.path, &api.options, &api.store, &api.error);
    if (result == HTSTORE_EBUSY)
        return;
    OK(result);
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    GET_IS("1", "10");
    ck_assert_uint_ge(api_size(api.table), 1);
    api_close_store();
    api.options.flags = 0;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
}
END_TEST

/* ---- fork and exec ---- */

static int open_again_in_child(void)
{
    struct htstore *store = (struct htstore *)&api;
    int result = htstore_open(api.path, &api.options, &store, &api.error);
    return (result == HTSTORE_EBUSY || result == HTSTORE_EINVAL) && !store ? 0 : __LINE__;
}

static int exit_in_child(void)
{
    return 0;
}

START_TEST(a_forked_child_cannot_open_the_store_and_its_end_harms_nothing)
{
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1]", "[10]");
    api_run_in_child(open_again_in_child);
    api_run_in_child(exit_in_child);
    ck_assert_int_eq(atoi(peer_start(&first, "c")), HTSTORE_EBUSY);
    INSERT("[2]", "[20]");
    OK(htstore_flush(api.store, &api.error));
    api_reopen();
    EXPORT_IS("[1 2]", "[10 20]");
}
END_TEST

START_TEST(programs_that_are_started_inherit_no_descriptor)
{
    char command[300];
    struct htstore_cursor *cursor;
    char *path = api.directory;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1]", "[10]");
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    (void)peer_start(&first, "r");
    ck_assert_str_eq(peer_ask(&first, "close"), "0");
    char real[PATH_MAX];
    ck_assert_ptr_nonnull(realpath(path, real));
    (void)snprintf(command, sizeof command, "descriptors %.250s", real);
    ck_assert_str_eq(peer_ask(&first, command), "0");
    htstore_cursor_close(cursor);
}
END_TEST

/* ---- another user ---- */

/* Let everybody read, and only root write, the store and the two temporary folders that hold it. */
static void open_up(void)
{
    static const char *const files[] = { "store/data.mdb", "store/lock.mdb", "store/LOCK" };
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof parent, "%s", api.directory);
    *strrchr(parent, '/') = '\0';
    ck_assert_int_eq(chmod(parent, 0755), 0);
    ck_assert_int_eq(chmod(api.directory, 0755), 0);
    ck_assert_int_eq(chmod(api.path, 0755), 0);
    ck_assert_int_eq(chmod(api_path("store/journal"), 0755), 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        ck_assert_int_eq(chmod(api_path(files[i]), 0644), 0);
}

/* open_store, where everybody may run it. */
static const char *copy_helper(void)
{
    const char *copy = api_path("open_store");
    char buffer[65536];
    int from = open(peer_program(), O_RDONLY | O_CLOEXEC), to = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ssize_t size;
    ck_assert_int_ge(from, 0);
    ck_assert_int_ge(to, 0);
    while ((size = read(from, buffer, sizeof buffer)) > 0)
        ck_assert_int_eq(write(to, buffer, (size_t)size), size);
    close(from);
    close(to);
    ck_assert_int_eq(chmod(copy, 0755), 0);
    return copy;
}

/* Result of opening as nobody; 1 if nobody cannot come here at all. */
static int open_as_nobody(const char *helper, const char *path, const char *mode)
{
    peer_finish(&first, SIGKILL);
    peer_start_as(&first, helper, path, mode, NOBODY);
    return peer_has_answered(&first) ? atoi(first.answer) : 1;
}

START_TEST(a_store_of_another_user_is_not_written)
{
    if (geteuid() != 0)
        return; /* only root can become another user */
    make_store("[1]", "[10]");
    open_up();
    const char *helper = copy_helper();
    int result = open_as_nobody(helper, api.path, "c");
    if (result == 1)
        return;
    ck_assert_msg(result == HTSTORE_EREADONLY, "opening gave %s", first.answer);
    result = open_as_nobody(helper, api_path("new"), "c");
    ck_assert_msg(result == HTSTORE_EREADONLY, "creating gave %s", first.answer);
    ck_assert_int_ne(access(api_path("new"), F_OK), 0);
    result = open_as_nobody(helper, api.path, "r");
    ck_assert_msg(result == 0 || result == HTSTORE_EREADONLY, "reading gave %s", first.answer);
    if (result == 0)
        ck_assert_str_eq(peer_ask(&first, "get 1"), "10");
    peer_finish(&first, SIGKILL);
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("processes");
    TCase *tests = tcase_create("processes");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_second_owner_is_refused_naming_the_first);
    tcase_add_test(tests, an_open_may_wait_for_the_owner);
    tcase_add_loop_test(tests, a_killed_owner_loses_nothing, 0, 2);
    tcase_add_test(tests, a_stopped_owner_still_owns);
    tcase_add_test(tests, deleting_the_lock_lets_no_second_owner_in);
    tcase_add_test(tests, a_store_without_its_lock_file_opens);
    tcase_add_test(tests, a_directory_is_open_once_in_a_process);
    tcase_add_test(tests, a_reader_sees_what_was_flushed_and_moves_on_when_it_refreshes);
    tcase_add_test(tests, readers_run_beside_an_owner_and_each_other);
    tcase_add_loop_test(tests, a_reader_beside_a_busy_owner_sees_whole_batches_in_order, 0, 2);
    tcase_add_test(tests, a_reader_follows_a_file_that_outgrows_its_map);
    tcase_add_test(tests, a_reader_is_told_that_its_table_was_dropped);
    tcase_add_test(tests, a_reader_without_an_owner_creates_nothing);
    tcase_add_test(tests, a_reader_of_a_killed_owners_store_sees_a_prefix);
    tcase_add_test(tests, a_forked_child_cannot_open_the_store_and_its_end_harms_nothing);
    tcase_add_test(tests, programs_that_are_started_inherit_no_descriptor);
    tcase_add_test(tests, a_store_of_another_user_is_not_written);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
