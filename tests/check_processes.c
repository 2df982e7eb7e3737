/* check_processes: several processes and one store: owners, readers, forks, locks, permissions (semantics.md 1.10, 1.11). */
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

/* ---- another process that runs open_store ---- */

struct peer {
    pid_t pid; /* 0 = none */
    FILE *to, *from;
    char answer[8192];
};

static struct peer first, second;

/* open_store lies beside this program; libtool may have put both into .libs. */
static const char *find_helper(void)
{
    char *path = api_alloc(PATH_MAX + 32);
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX);
    ck_assert_int_gt(size, 0);
    char *slash = strrchr(path, '/');
    strcpy(slash, "/open_store");
    if (access(path, X_OK) != 0 && slash - path > 6 && strncmp(slash - 6, "/.libs", 6) == 0)
        strcpy(slash - 6, "/open_store");
    ck_assert_msg(access(path, X_OK) == 0, "%s is not built", path);
    return path;
}

static const char *read_answer(struct peer *peer)
{
    if (!fgets(peer->answer, sizeof peer->answer, peer->from))
        ck_abort_msg("the other process has ended");
    peer->answer[strcspn(peer->answer, "\n")] = '\0';
    return peer->answer;
}

/* Returns what opening gave. */
static const char *start(struct peer *peer, const char *mode)
{
    int in[2], out[2];
    const char *helper = find_helper();
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    peer->pid = fork();
    if (peer->pid == 0) {
        if (dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0)
            execl(helper, helper, api.path, mode, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(peer->pid, 0);
    close(in[0]);
    close(out[1]);
    peer->to = fdopen(in[1], "w");
    peer->from = fdopen(out[0], "r");
    return read_answer(peer);
}

static void tell(struct peer *peer, const char *command)
{
    fprintf(peer->to, "%s\n", command);
    ck_assert_int_eq(fflush(peer->to), 0);
}

static const char *ask(struct peer *peer, const char *command)
{
    tell(peer, command);
    return read_answer(peer);
}

/* Returns the wait status. */
static int finish(struct peer *peer, int signal_number)
{
    int status = 0;
    if (!peer->pid)
        return 0;
    if (signal_number)
        kill(peer->pid, signal_number);
    fclose(peer->to);
    ck_assert_int_eq(waitpid(peer->pid, &status, 0), peer->pid);
    fclose(peer->from);
    peer->pid = 0;
    return status;
}

static void setup(void)
{
    api_setup();
    api.name = "t1";
}

static void teardown(void)
{
    finish(&first, SIGKILL);
    finish(&second, SIGKILL);
    api_teardown();
}

static void open_as_reader(void)
{
    api.options.flags = HTSTORE_READONLY;
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
    ck_assert_str_eq(start(&first, "c"), "0");
    (void)snprintf(pid, sizeof pid, "%d", (int)first.pid);
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    refuse_open(HTSTORE_EBUSY, pid);
    api.options.lock_timeout_ms = 20;
    refuse_open(HTSTORE_EBUSY, pid);
    ck_assert_str_eq(ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(ask(&first, "close"), "0");
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    const char *answer = start(&second, "c");
    ck_assert_int_eq(atoi(answer), HTSTORE_EBUSY);
    ck_assert_msg(strstr(answer, pid) != NULL, "%s is not named: %s", pid, answer);
}
END_TEST

START_TEST(an_open_may_wait_for_the_owner)
{
    ck_assert_str_eq(start(&first, "c"), "0");
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    tell(&first, "close");
    api.options.lock_timeout_ms = LONG_TIMEOUT_MS;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
}
END_TEST

START_TEST(a_killed_owner_loses_nothing)
{
    ck_assert_str_eq(start(&first, "c"), "0");
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    if (_i)
        ck_assert_str_eq(ask(&first, "flush"), "0");
    ck_assert_str_eq(ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(ask(&first, "anonymous"), "0");
    ck_assert_str_eq(ask(&first, "put 1 11"), "0");
    ck_assert(WIFSIGNALED(finish(&first, SIGKILL)));
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
    ck_assert_str_eq(start(&first, "c"), "0");
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    kill(first.pid, SIGSTOP);
    ck_assert_int_eq(waitpid(first.pid, &status, WUNTRACED), first.pid);
    refuse_open(HTSTORE_EBUSY, "");
    kill(first.pid, SIGCONT);
    ck_assert_str_eq(ask(&first, "get 1"), "10");
}
END_TEST

START_TEST(deleting_the_lock_lets_no_second_owner_in)
{
    ck_assert_str_eq(start(&first, "c"), "0");
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    ck_assert_int_eq(unlink(api_path("store/LOCK")), 0);
    refuse_open(HTSTORE_EBUSY, "");
    ck_assert_str_eq(ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(ask(&first, "flush"), "0");
    refuse_open(HTSTORE_EBUSY, "");
    ck_assert_str_eq(ask(&first, "close"), "0");
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
    ck_assert_int_eq(atoi(start(&first, "")), HTSTORE_EBUSY);
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
    ck_assert_int_eq(atoi(start(&first, "c")), HTSTORE_EBUSY);
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
    ck_assert_str_eq(start(&first, "c"), "0");
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    ck_assert_str_eq(ask(&first, "flush"), "0");
    open_as_reader();
    EXPORT_IS("[1]", "[10]");
    ck_assert_int_eq(htstore_refresh(api.store, &api.error), 1);
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    ck_assert_str_eq(ask(&first, "put 1 11"), "0");
    ck_assert_str_eq(ask(&first, "put 2 20"), "0");
    ck_assert_str_eq(ask(&first, "flush"), "0");
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
        ask(&first, "lsn"),
        api_text(&(struct htstore_array){ .dtype = HTSTORE_UINT64, .data = &(uint64_t){ api_stats().visible_lsn } }));
    ck_assert_str_eq(ask(&first, "close"), "0");
    EXPORT_IS("[1 2]", "[11 20]");
}
END_TEST

START_TEST(readers_run_beside_an_owner_and_each_other)
{
    make_store("[1 2]", "[10 20]");
    ck_assert_str_eq(start(&first, "r"), "0");
    ck_assert_str_eq(start(&second, "r"), "0");
    ck_assert_str_eq(ask(&first, "get 1"), "10");
    ck_assert_str_eq(ask(&second, "get 2"), "20");
    ck_assert_int_eq(atoi(ask(&first, "put 3 30")), HTSTORE_EREADONLY);
    api.options.flags = 0;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    INSERT("[2 3]", "[22 33]");
    OK(htstore_flush(api.store, &api.error));
    ck_assert_str_eq(ask(&first, "get 2"), "20");
    ck_assert_str_eq(ask(&first, "refresh"), "0");
    ck_assert_str_eq(ask(&first, "get 2"), "22");
    ck_assert_str_eq(ask(&first, "size"), "3");
    ck_assert_str_eq(ask(&second, "size"), "2");
    api_close_store();
    ck_assert_str_eq(ask(&second, "refresh"), "0");
    ck_assert_str_eq(ask(&second, "get 3"), "33");
    ck_assert_str_eq(ask(&first, "close"), "0");
    ck_assert_str_eq(ask(&second, "close"), "0");
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
    ck_assert_str_eq(start(&first, "c"), "0");
    ck_assert_str_eq(ask(&first, "put 1 10"), "0");
    ck_assert_str_eq(ask(&first, "flush"), "0");
    ck_assert_str_eq(ask(&first, "put 2 20"), "0");
    finish(&first, SIGKILL);
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

/* Run this in a forked child; it gives 0 or the number of the line at fault. */
static void run_in_child(int (*function)(void))
{
    int lines[2], line = -1, status;
    ck_assert_int_eq(pipe2(lines, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        line = function();
        ssize_t size = write(lines[1], &line, sizeof line);
        _exit(size != sizeof line);
    }
    ck_assert_int_gt(pid, 0);
    close(lines[1]);
    ssize_t size = read(lines[0], &line, sizeof line);
    close(lines[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(size == sizeof line && status == 0, "the child ended with status %#x", (unsigned)status);
    ck_assert_msg(line == 0, "in the child, line %d", line);
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
    run_in_child(call_tables_in_child);
    UNCHANGED(before);
    run_in_child(call_store_in_child);
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

static int open_again_in_child(void)
{
    struct htstore *store = NULL;
    int result = htstore_open(api.path, &api.options, &store, &api.error);
    return result == HTSTORE_EBUSY && !store ? 0 : __LINE__;
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
    run_in_child(open_again_in_child);
    run_in_child(exit_in_child);
    ck_assert_int_eq(atoi(start(&first, "c")), HTSTORE_EBUSY);
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
    (void)start(&first, "r");
    ck_assert_str_eq(ask(&first, "close"), "0");
    char real[PATH_MAX];
    ck_assert_ptr_nonnull(realpath(path, real));
    (void)snprintf(command, sizeof command, "descriptors %.250s", real);
    ck_assert_str_eq(ask(&first, command), "0");
    htstore_cursor_close(cursor);
}
END_TEST

/* ---- permissions ---- */

/* False also if the way to the temporary folders is closed to others. */
static bool become_nobody(void)
{
    return setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0 && access(api.path, R_OK | X_OK) == 0;
}

static int open_as_nobody(void)
{
    struct htstore *store = NULL;
    if (!become_nobody())
        return 0;
    api.options.flags = HTSTORE_CREATE;
    int result = htstore_open(api.path, &api.options, &store, &api.error);
    if (result != HTSTORE_EREADONLY || store || !api.error.message[0])
        return __LINE__;
    if (htstore_open(api_path("new"), &api.options, &store, &api.error) != HTSTORE_EREADONLY || store)
        return __LINE__;
    return 0;
}

static int read_as_nobody(void)
{
    struct htstore *store = NULL;
    uint64_t size = 0;
    if (!become_nobody())
        return 0;
    api.options.flags = HTSTORE_READONLY;
    int result = htstore_open(api.path, &api.options, &store, &api.error);
    if (result != 0)
        return api.error.message[0] && result != HTSTORE_EIO && result != HTSTORE_ECORRUPT ? 0 : __LINE__;
    if (htstore_table_open(store, "t1", NULL, &api.table, &api.error) != 0)
        return __LINE__;
    if (htstore_table_size(api.table, &size, &api.error) != 0 || size != 1)
        return __LINE__;
    if (htstore_table_close(api.table, NULL) != 0 || htstore_close(store, NULL) != 0)
        return __LINE__;
    return 0;
}

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

START_TEST(a_store_of_another_user_is_not_written)
{
    if (geteuid() != 0)
        return; /* only root can become another user */
    make_store("[1]", "[10]");
    open_up();
    run_in_child(open_as_nobody);
    run_in_child(read_as_nobody);
    ck_assert_int_ne(access(api_path("new"), F_OK), 0);
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
}
END_TEST

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
    tcase_add_test(tests, a_reader_without_an_owner_creates_nothing);
    tcase_add_test(tests, a_reader_of_a_killed_owners_store_sees_a_prefix);
    tcase_add_test(tests, every_call_is_refused_in_a_forked_child);
    tcase_add_test(tests, a_forked_child_cannot_open_the_store_and_its_end_harms_nothing);
    tcase_add_test(tests, programs_that_are_started_inherit_no_descriptor);
    tcase_add_test(tests, a_store_of_another_user_is_not_written);
    tcase_add_loop_test(tests, a_folder_that_others_may_write_is_refused, 0, 2);
    tcase_add_loop_test(tests, files_are_private_whatever_the_umask, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
