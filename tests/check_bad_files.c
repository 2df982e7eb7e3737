/* check_bad_files: paths that are no store, and stores whose data.mdb is damaged: an error and a sentence, never a crash. */
#include "api_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <lmdb.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_ROWS 3000
#define PAGE_SIZE 4096

extern char **environ;

/* ---- files ---- */

struct content {
    uint8_t *data;
    size_t size;
};

static struct content load_file(const char *path)
{
    struct content c;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    c.size = (size_t)status.st_size;
    c.data = api_alloc(c.size + 1);
    ck_assert_int_eq(read(fd, c.data, c.size), (ssize_t)c.size);
    close(fd);
    return c;
}

static void save_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

/* Run a script with two names in the directory of the test as $1 and $2. */
static void run_script(char *script, const char *first, const char *second)
{
    char *one = (char *)(uintptr_t)api_path(first), *two = (char *)(uintptr_t)api_path(second);
    char *arguments[] = { "sh", "-c", script, "sh", one, two, NULL };
    pid_t pid;
    int status;
    ck_assert_int_eq(posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* Replace the folder `to` by a copy of `from`. */
static void copy_folder(const char *from, const char *to)
{
    char script[] = "rm -rf -- \"$2\" && cp -a -- \"$1\" \"$2\"";
    run_script(script, from, to);
}

static void remove_folder(const char *name)
{
    char script[] = "rm -rf -- \"$1\"";
    run_script(script, name, name);
}

static size_t count_entries(const char *path)
{
    size_t n = 0;
    DIR *folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n - 2;
}

static void refuse_open(uint32_t flags, int code)
{
    struct htstore *store = (struct htstore *)&api;
    struct htstore_options options = api.options;
    options.flags = flags;
    REFUSED(htstore_open(api.path, &options, &store, &api.error), code, "");
    ck_assert_ptr_null(store);
}

/* ---- paths ---- */

START_TEST(a_missing_folder_is_not_found_and_not_made)
{
    refuse_open(0, HTSTORE_ENOTFOUND);
    refuse_open(HTSTORE_READONLY, HTSTORE_ENOTFOUND);
    (void)snprintf(api.path, sizeof api.path, "%s/none/store", api.directory);
    refuse_open(0, HTSTORE_ENOTFOUND);
    refuse_open(HTSTORE_CREATE, HTSTORE_ENOTFOUND);
    ck_assert_uint_eq(count_entries(api.directory), 0);
}
END_TEST

START_TEST(paths_that_name_nothing_are_refused)
{
    api.path[0] = '\0';
    struct htstore *store;
    ck_assert_int_lt(htstore_open("", &api.options, &store, &api.error), 0);
    ck_assert_ptr_null(store);
    char *path = api_alloc(70000);
    memset(path, 'x', 69999);
    REFUSED(htstore_open(path, &api.options, &store, &api.error), HTSTORE_EINVAL, "");
}
END_TEST

START_TEST(a_file_is_no_store)
{
    save_file(api.path, "hello", 5);
    refuse_open(0, HTSTORE_EFORMAT);
    refuse_open(HTSTORE_CREATE, HTSTORE_EFORMAT);
    refuse_open(HTSTORE_READONLY, HTSTORE_EFORMAT);
    ck_assert_uint_eq(load_file(api.path).size, 5);
    ck_assert_uint_eq(count_entries(api.directory), 1);
}
END_TEST

START_TEST(a_folder_of_other_things_is_no_store)
{
    ck_assert_int_eq(mkdir(api.path, 0700), 0);
    refuse_open(0, HTSTORE_EFORMAT);
    refuse_open(HTSTORE_CREATE, HTSTORE_EFORMAT);
    refuse_open(HTSTORE_READONLY, HTSTORE_EFORMAT);
    ck_assert_uint_eq(count_entries(api.path), 0);
    save_file(api_path("store/notes.txt"), "hello", 5);
    refuse_open(HTSTORE_CREATE, HTSTORE_EFORMAT);
    ck_assert_uint_eq(count_entries(api.path), 1);
    ck_assert_uint_eq(count_entries(api.directory), 1);
}
END_TEST

START_TEST(exclusive_creation_refuses_what_exists)
{
    api.options.flags = HTSTORE_CREATE | HTSTORE_EXCLUSIVE;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("1", "10");
    api_close_store();
    refuse_open(HTSTORE_CREATE | HTSTORE_EXCLUSIVE, HTSTORE_EEXIST);
    api.options.flags = HTSTORE_CREATE;
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1]", "[10]");
    ck_assert_uint_eq(count_entries(api.directory), 1);
}
END_TEST

/* ---- a store to damage ---- */

static struct htstore_array make_keys(void)
{
    char shape[16];
    (void)snprintf(shape, sizeof shape, "%d", N_ROWS);
    return api_numbered(HTSTORE_INT64, shape, 0);
}

/* "sound" holds N_ROWS rows, each key with a text that tells the row, some of them long. */
static void make_sound_store(void)
{
    struct htstore_array keys = make_keys();
    struct htstore_bytes *texts = api_alloc(N_ROWS * sizeof *texts);
    for (size_t i = 0; i < N_ROWS; i++) {
        size_t size = i % 100 ? 40 : 9000;
        char *text = api_alloc(size + 1);
        memset(text, '.', size);
        text[snprintf(text, size, "row-%06zu", i)] = '.';
        texts[i] = (struct htstore_bytes){ .data = text, .size = size };
    }
    struct htstore_array values = htstore_vector(HTSTORE_STRING, texts, N_ROWS);
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_STRING, "none");
    OK(htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_close_store();
    (void)snprintf(api.path, sizeof api.path, "%s/store", api.directory);
    api.options.flags = 0;
}

/* Is this row right? */
static bool is_right(const struct htstore_bytes *text, size_t i)
{
    char expected[16];
    (void)snprintf(expected, sizeof expected, "row-%06zu.", i);
    const char *data = text->data;
    if (text->size != (i % 100 ? 40 : 9000) || memcmp(data, expected, 11) != 0)
        return false;
    for (size_t at = 11; at < text->size; at++)
        if (data[at] != '.')
            return false;
    return true;
}

static bool is_refusal(int code)
{
    return (code == HTSTORE_EFORMAT || code == HTSTORE_EVERSION || code == HTSTORE_ECORRUPT) &&
           api.error.code == code && api.error.message[0];
}

/* Every row is right or refused; returns whether all were there. */
static bool read_rows(struct htstore_table *table)
{
    struct htstore_array keys = make_keys();
    bool all = true;
    for (size_t i = 0; i < N_ROWS; i += 7) {
        struct htstore_array key = api_row(&keys, i);
        struct htstore_bytes text;
        uint8_t found = 7;
        struct htstore_array out = htstore_scalar(HTSTORE_STRING, &text);
        out.arena = api.arena;
        int result = htstore_table_lookup(table, &key, NULL, &out, &found, &api.error);
        if (result != 0) {
            ck_assert_msg(is_refusal(result), "lookup gave %d: %s", result, api.error.message);
            all = false;
        } else if (found) {
            ck_assert_msg(is_right(&text, i), "row %zu is wrong", i);
        } else {
            all = false;
        }
    }
    htstore_arena_reset(api.arena);
    return all;
}

/* Open what was damaged. It is refused, or every row is right or refused; true: all rows are there. */
static bool open_damaged(uint32_t flags)
{
    struct htstore *store;
    struct htstore_table *table;
    bool all = false;
    api.options.flags = flags;
    int result = htstore_open(api.path, &api.options, &store, &api.error);
    if (result != 0) {
        ck_assert_msg(is_refusal(result), "open gave %d: %s", result, api.error.message);
        ck_assert_ptr_null(store);
        return false;
    }
    result = htstore_table_open(store, "t1", NULL, &table, &api.error);
    if (result == 0) {
        all = read_rows(table);
        OK(htstore_table_close(table, &api.error));
    } else {
        ck_assert_msg(is_refusal(result) || result == HTSTORE_ENOTFOUND, "table: %d: %s", result, api.error.message);
    }
    (void)htstore_close(store, &api.error);
    return all;
}

START_TEST(the_sound_store_reads)
{
    make_sound_store();
    copy_folder("sound", "store");
    ck_assert(open_damaged(HTSTORE_READONLY));
    ck_assert(open_damaged(0));
    ck_assert(open_damaged(HTSTORE_NO_PRELOAD));
}
END_TEST

static void try_size(size_t size, size_t whole)
{
    copy_folder("sound", "store");
    ck_assert_int_eq(truncate(api_path("store/data.mdb"), (off_t)size), 0);
    bool reader = open_damaged(HTSTORE_READONLY), owner = open_damaged(0);
    ck_assert_msg(reader == owner, "reader and owner differ at %zu bytes", size);
    ck_assert_msg(owner || load_file(api_path("store/data.mdb")).size == size, "a refused open changed data.mdb");
    ck_assert_msg(!owner || size * 2 > whole, "all rows are there in %zu of %zu bytes", size, whole);
}

START_TEST(a_truncated_data_file_is_refused_at_every_size)
{
    static const size_t sizes[] = { 0, 1, 16, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 16384 };
    make_sound_store();
    size_t whole = load_file(api_path("sound/data.mdb")).size, n = sizeof sizes / sizeof sizes[0];
    ck_assert_uint_gt(whole, 40 * PAGE_SIZE);
    for (size_t i = 0; i < n; i++)
        try_size(sizes[i], whole);
    for (size_t i = 1; i < 20; i++)
        try_size(whole * i / 20, whole);
    for (size_t i = 1; i < 6; i++)
        try_size(whole - i * PAGE_SIZE, whole);
    try_size(whole - 1, whole);
}
END_TEST

static void try_content(const void *data, size_t size)
{
    copy_folder("sound", "store");
    save_file(api_path("store/data.mdb"), data, size);
    ck_assert(!open_damaged(HTSTORE_READONLY));
    ck_assert(!open_damaged(0));
    struct content now = load_file(api_path("store/data.mdb"));
    ck_assert(now.size == size && memcmp(now.data, data, size) == 0);
}

START_TEST(a_data_file_of_garbage_is_refused)
{
    size_t size = 64 * PAGE_SIZE;
    uint8_t *data = api_alloc(size);
    uint64_t state = 12345;
    make_sound_store();
    try_content("This is a text.\n", 16);
    try_content(data, size);
    memset(data, 0xFF, size);
    try_content(data, size);
    for (size_t i = 0; i < size; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        data[i] = (uint8_t)(state >> 56);
    }
    try_content(data, size);
    struct content sound = load_file(api_path("sound/data.mdb"));
    memcpy(data, sound.data, 2 * (size_t)PAGE_SIZE);
    try_content(data, size);
    memset(sound.data, 0, 2 * (size_t)PAGE_SIZE);
    try_content(sound.data, sound.size);
}
END_TEST

START_TEST(a_missing_data_file_is_refused)
{
    make_sound_store();
    copy_folder("sound", "store");
    ck_assert_int_eq(unlink(api_path("store/data.mdb")), 0);
    ck_assert(!open_damaged(HTSTORE_READONLY));
    ck_assert(!open_damaged(0));
    ck_assert(!open_damaged(HTSTORE_CREATE));
    ck_assert_int_ne(access(api_path("store/data.mdb"), F_OK), 0);
}
END_TEST

/* An LMDB file of somebody else: as main database, or with named ones. */
static void make_foreign(const char *path, const char *database)
{
    MDB_env *environment;
    MDB_txn *transaction;
    MDB_dbi handle;
    ck_assert_int_eq(mdb_env_create(&environment), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(environment, 4), 0);
    ck_assert_int_eq(mdb_env_open(environment, path, MDB_NOSUBDIR, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(environment, NULL, 0, &transaction), 0);
    ck_assert_int_eq(mdb_dbi_open(transaction, database, MDB_CREATE, &handle), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        MDB_val key = { sizeof i, &i }, value = { 5, "hello" };
        ck_assert_int_eq(mdb_put(transaction, handle, &key, &value, 0), 0);
    }
    ck_assert_int_eq(mdb_txn_commit(transaction), 0);
    mdb_env_close(environment);
}

START_TEST(a_foreign_lmdb_file_is_refused)
{
    make_sound_store();
    make_foreign(api_path("foreign.mdb"), _i ? "people" : NULL);
    struct content foreign = load_file(api_path("foreign.mdb"));
    try_content(foreign.data, foreign.size);
}
END_TEST

START_TEST(data_files_that_are_no_plain_files_are_refused)
{
    const char *data = api_path("store/data.mdb"), *aside = api_path("aside.mdb");
    make_sound_store();
    for (int kind = 0; kind < 5; kind++) {
        copy_folder("sound", "store");
        ck_assert_int_eq(rename(data, aside), 0);
        if (kind == 0)
            ck_assert_int_eq(symlink(aside, data), 0);
        else if (kind == 1)
            ck_assert_int_eq(link(aside, data), 0);
        else if (kind == 2)
            ck_assert_int_eq(mkfifo(data, 0600), 0);
        else if (kind == 3)
            ck_assert_int_eq(mkdir(data, 0700), 0);
        else
            ck_assert_int_eq(symlink("/nonexistent", data), 0);
        refuse_open(0, HTSTORE_EFORMAT);
        refuse_open(HTSTORE_READONLY, HTSTORE_EFORMAT);
    }
}
END_TEST

START_TEST(a_changed_row_is_never_shown)
{
    static const uint32_t flags[] = { 0, HTSTORE_NO_PRELOAD, HTSTORE_READONLY };
    make_sound_store();
    struct content sound = load_file(api_path("sound/data.mdb"));
    uint8_t *row = memmem(sound.data, sound.size, "row-000007", 10);
    ck_assert_ptr_nonnull(row);
    row[9] = '8';
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        copy_folder("sound", "store");
        save_file(api_path("store/data.mdb"), sound.data, sound.size);
        ck_assert(!open_damaged(flags[i]));
    }
}
END_TEST

/* ---- recovery ---- */

static int recover(struct htstore_recovery *report)
{
    memset(report, 0, sizeof *report);
    report->size = sizeof *report;
    return htstore_recover(api.path, api_path("saved"), &api.options, report, &api.error);
}

/* The rows of "saved"; each of them must be right. */
static uint64_t count_saved_rows(void)
{
    struct htstore *store;
    struct htstore_table *table;
    struct htstore_array keys, values, all = make_keys();
    OK(htstore_open(api_path("saved"), &api.options, &store, &api.error));
    if (htstore_table_open(store, "t1", NULL, &table, &api.error) != 0) {
        OK(htstore_close(store, &api.error));
        return 0;
    }
    OK(htstore_table_export(table, api.arena, &keys, &values, &api.error));
    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t j = 0; i % 50 == 0 && j < api_count(&keys); j++)
            if (api_element_equal(&all, i, &keys, j))
                ck_assert_msg(is_right((const struct htstore_bytes *)values.data + j, i), "saved row %zu is wrong", i);
    OK(htstore_table_close(table, &api.error));
    OK(htstore_close(store, &api.error));
    htstore_arena_reset(api.arena);
    return api_count(&keys);
}

START_TEST(recovery_of_a_sound_store_copies_it)
{
    struct htstore_recovery report;
    make_sound_store();
    copy_folder("sound", "store");
    ck_assert_int_eq(recover(&report), 0);
    ck_assert_uint_eq(report.n_tables, 1);
    ck_assert_uint_eq(report.n_rows, N_ROWS);
    ck_assert_uint_eq(report.n_damaged_pages + report.n_damaged_rows + report.n_lost_tables + report.n_lost_records, 0);
    ck_assert_uint_eq(count_saved_rows(), N_ROWS);
    REFUSED(recover(&report), HTSTORE_EEXIST, "");
    ck_assert_uint_eq(count_saved_rows(), N_ROWS);
}
END_TEST

START_TEST(recovery_saves_what_a_truncated_file_holds)
{
    struct htstore_recovery report;
    make_sound_store();
    size_t whole = load_file(api_path("sound/data.mdb")).size;
    for (size_t i = 0; i < 12; i++) {
        size_t size = i < 2 ? i * 5000 : whole * i / 12;
        copy_folder("sound", "store");
        ck_assert_int_eq(truncate(api_path("store/data.mdb"), (off_t)size), 0);
        int result = recover(&report);
        ck_assert_msg(result == 1 || is_refusal(result), "%zu bytes: %d: %s", size, result, api.error.message);
        if (result == 1) {
            ck_assert_uint_eq(count_saved_rows(), report.n_rows);
            remove_folder("saved");
        }
        ck_assert_int_ne(access(api_path("saved"), F_OK), 0);
        ck_assert_uint_eq(load_file(api_path("store/data.mdb")).size, size);
    }
}
END_TEST

START_TEST(recovery_refuses_wrong_paths)
{
    struct htstore_recovery report;
    REFUSED(recover(&report), HTSTORE_ENOTFOUND, "");
    REFUSED(htstore_recover(NULL, "x", NULL, NULL, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_recover(api.path, NULL, NULL, NULL, &api.error), HTSTORE_EINVAL, "");
    save_file(api.path, "hello", 5);
    REFUSED(recover(&report), HTSTORE_EFORMAT, "");
    report.size = 0;
    REFUSED(htstore_recover(api.path, api_path("saved"), NULL, &report, &api.error), HTSTORE_EINVAL, "");
    ck_assert_uint_eq(count_entries(api.directory), 1);
    ck_assert_int_eq(unlink(api.path), 0);
    api_open_store();
    REFUSED(recover(&report), HTSTORE_EBUSY, "");
    ck_assert_uint_eq(count_entries(api.directory), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad_files");
    TCase *tests = tcase_create("bad_files");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_test(tests, a_missing_folder_is_not_found_and_not_made);
    tcase_add_test(tests, paths_that_name_nothing_are_refused);
    tcase_add_test(tests, a_file_is_no_store);
    tcase_add_test(tests, a_folder_of_other_things_is_no_store);
    tcase_add_test(tests, exclusive_creation_refuses_what_exists);
    tcase_add_test(tests, the_sound_store_reads);
    tcase_add_test(tests, a_truncated_data_file_is_refused_at_every_size);
    tcase_add_test(tests, a_data_file_of_garbage_is_refused);
    tcase_add_test(tests, a_missing_data_file_is_refused);
    tcase_add_loop_test(tests, a_foreign_lmdb_file_is_refused, 0, 2);
    tcase_add_test(tests, data_files_that_are_no_plain_files_are_refused);
    tcase_add_test(tests, a_changed_row_is_never_shown);
    tcase_add_test(tests, recovery_of_a_sound_store_copies_it);
    tcase_add_test(tests, recovery_saves_what_a_truncated_file_holds);
    tcase_add_test(tests, recovery_refuses_wrong_paths);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
