/*
 * Tests of kvfile, kvwalk and kvpage below them: what liblmdb wrote is accepted and read as liblmdb reads it; what is damaged
 * is refused or told, page by page, and never crashes.
 */
#include "kvfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check_util.h"
#include "kv_image.h"
#include "kvwalk.h"
#include "mem.h"

#define N_ELEMENTS(array) ((int)(sizeof(array) / sizeof *(array)))
#define PAGE_SIZE 4096u
#define MAX_BAD 4096

static char *directory;
static char path[300];
static struct htstore_error error;
static int memory_fd; /* the file under test, unless it is the one at `path` */
static uint64_t random_state;

/* What pread() does; it takes the place of that of the C library. */
static struct {
    uint64_t fault_offset; /* reads of this byte fail */
    int fault_errno;
    unsigned n_reads;
    unsigned act_at; /* before the read with this number, act() */
    void (*act)(void);
} hooks;

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    if (++hooks.n_reads == hooks.act_at && hooks.act)
        hooks.act();
    if (hooks.fault_errno && (uint64_t)offset <= hooks.fault_offset && hooks.fault_offset - (uint64_t)offset < size) {
        errno = hooks.fault_errno;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, size, offset);
}

static void set_up(void)
{
    memset(&hooks, 0, sizeof hooks);
    memset(&error, 0, sizeof error);
    random_state = 42;
    directory = check_tmpdir();
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    memory_fd = memfd_create("check_kvfile", MFD_CLOEXEC);
    ck_assert_int_ge(memory_fd, 0);
}

static void tear_down(void)
{
    memset(&hooks, 0, sizeof hooks);
    hti_mem_test_fail(UINT64_MAX, false);
    close(memory_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* splitmix64, by Sebastiano Vigna, public domain: prng.di.unimi.it/splitmix64.c */
static uint64_t next_random(void)
{
    random_state += 0x9E3779B97F4A7C15u;
    uint64_t x = random_state;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static uint64_t random_below(uint64_t limit)
{
    return next_random() % limit;
}

/* ---- files of liblmdb ---- */

#define OK(call) ck_assert_msg((call) == 0, "%s failed", #call)

static MDB_env *open_env(void)
{
    MDB_env *env;
    OK(mdb_env_create(&env));
    OK(mdb_env_set_maxdbs(env, 1000));
    OK(mdb_env_set_mapsize(env, UINT64_C(1) << 30));
    OK(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS, 0600));
    return env;
}

static MDB_txn *begin(MDB_env *env)
{
    MDB_txn *txn;
    OK(mdb_txn_begin(env, NULL, 0, &txn));
    return txn;
}

static MDB_dbi open_db(MDB_txn *txn, const char *name)
{
    MDB_dbi dbi;
    OK(mdb_dbi_open(txn, name, MDB_CREATE, &dbi));
    return dbi;
}

static uint8_t filler[1 << 20];

/* A row whose key is the number, and whose value is as long as asked. */
static void put_row(MDB_txn *txn, MDB_dbi dbi, uint64_t number, size_t size)
{
    uint8_t raw[8];
    hti_store_be64(raw, number);
    for (size_t i = 0; i < size && i < 64; i++)
        filler[i] = (uint8_t)(number * 7 + i);
    MDB_val key = { 8, raw }, value = { size, filler };
    OK(mdb_put(txn, dbi, &key, &value, 0));
}

static void put_text(MDB_txn *txn, const char *db, const char *key_text, const char *value_text)
{
    MDB_val key = { strlen(key_text), (void *)(uintptr_t)key_text };
    MDB_val value = { strlen(value_text), (void *)(uintptr_t)value_text };
    OK(mdb_put(txn, open_db(txn, db), &key, &value, 0));
}

static void delete_row(MDB_txn *txn, MDB_dbi dbi, uint64_t number)
{
    uint8_t raw[8];
    hti_store_be64(raw, number);
    MDB_val key = { 8, raw };
    int result = mdb_del(txn, dbi, &key, NULL);
    ck_assert(result == 0 || result == MDB_NOTFOUND);
}

static int open_data(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

struct image {
    uint8_t *data; /* free() it */
    size_t size;
};

static struct image load_data(void)
{
    struct stat status;
    int fd = open_data();
    OK(fstat(fd, &status));
    struct image image = { malloc((size_t)status.st_size), (size_t)status.st_size };
    ck_assert_int_eq(read(fd, image.data, image.size), (ssize_t)image.size);
    close(fd);
    return image;
}

/* Make this the file under test. */
static void store(const void *data, size_t size)
{
    OK(ftruncate(memory_fd, (off_t)size));
    ck_assert_int_eq(pwrite(memory_fd, data, size, 0), (ssize_t)size);
}

/* ---- reading ---- */

static int check(void)
{
    return hti_kvfile_check(memory_fd, "file", &error);
}

/* What walks told. */
static struct {
    uint64_t n_entries;
    uint64_t digest; /* of all entries, whatever their order */
    uint64_t n_bad;
    uint64_t bad_pages[MAX_BAD];
    const char *reasons[MAX_BAD];
} seen;

/* FNV-1a (Fowler, Noll, Vo), 64 bits. Reads every byte, so that sanitizers see a wrong size. */
static uint64_t hash_bytes(uint64_t hash, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 0x100000001B3u;
    return hash;
}

static uint64_t hash_entry(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    uint64_t hash = hash_bytes(0xCBF29CE484222325u + key_size, key, key_size);
    return hash_bytes(hash, value, value_size);
}

static int note_entry(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    ck_assert_ptr_eq(user, &seen);
    if (key_size == 0 || key_size > 511)
        ck_abort_msg("key of %zu bytes", key_size);
    seen.digest += hash_entry(key, key_size, value, value_size);
    seen.n_entries++;
    return 0;
}

static void note_bad(void *user, uint64_t page, const char *reason)
{
    ck_assert_ptr_eq(user, &seen);
    ck_assert_ptr_nonnull(reason);
    if (seen.n_bad < MAX_BAD) {
        seen.bad_pages[seen.n_bad] = page;
        seen.reasons[seen.n_bad] = reason;
    }
    seen.n_bad++;
}

/* Walk the databases with these names, as many as there are. */
static int walk_names(int fd, bool skip_newest, const char *const *names, int n_names)
{
    struct hti_kvwalk *file;
    memset(&seen, 0, sizeof seen);
    int code = hti_kvwalk_open(fd, skip_newest, "file", &file, &error);
    for (int i = 0; !code && i < n_names; i++) {
        struct hti_kvpage_tree tree;
        code = hti_kvwalk_find_tree(file, names[i], &tree, note_bad, &seen, &error);
        if (code == 0)
            code = hti_kvwalk_walk(file, &tree, note_entry, note_bad, &seen, &error);
        if (code > 0)
            code = 0;
    }
    if (file)
        hti_kvwalk_close(file);
    return code;
}

static const char *const sample_names[] = { "rows", "more" };
static const char *const names[] = { "alpha", "beta", "gamma", "none" };

static int walk_sample(void)
{
    return walk_names(memory_fd, false, sample_names, 2);
}

static bool was_told(uint64_t page, const char *reason)
{
    for (uint64_t i = 0; i < seen.n_bad && i < MAX_BAD; i++)
        if (seen.bad_pages[i] == page && strstr(seen.reasons[i], reason))
            return true;
    return false;
}

/* ---- what liblmdb wrote ---- */

struct cursor {
    MDB_cursor *cursor;
    uint64_t n_entries;
};

static int compare_entry(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    struct cursor *cursor = user;
    MDB_val k, v;
    OK(mdb_cursor_get(cursor->cursor, &k, &v, MDB_NEXT));
    if (k.mv_size != key_size || memcmp(k.mv_data, key, key_size) != 0)
        ck_abort_msg("another key");
    if (v.mv_size != value_size || memcmp(v.mv_data, value, value_size) != 0)
        ck_abort_msg("another value");
    cursor->n_entries++;
    return 0;
}

static void fail_bad(void *user, uint64_t page, const char *reason)
{
    (void)user;
    ck_abort_msg("page %" PRIu64 ": %s", page, reason);
}

static void compare_db(MDB_txn *txn, struct hti_kvwalk *file, const char *name)
{
    struct cursor cursor = { NULL, 0 };
    struct hti_kvpage_tree tree;
    MDB_dbi dbi;
    MDB_stat stat;
    MDB_val k, v;
    int found = mdb_dbi_open(txn, name, 0, &dbi);
    int code = hti_kvwalk_find_tree(file, name, &tree, fail_bad, NULL, &error);
    ck_assert_int_eq(code, found == 0 ? 0 : 1);
    if (code)
        return;
    OK(mdb_stat(txn, dbi, &stat));
    ck_assert_uint_eq(tree.n_entries, stat.ms_entries);
    ck_assert_uint_eq(tree.depth, stat.ms_depth);
    ck_assert_uint_eq(tree.flags, 0);
    OK(mdb_cursor_open(txn, dbi, &cursor.cursor));
    ck_assert_int_eq(hti_kvwalk_walk(file, &tree, compare_entry, fail_bad, &cursor, &error), 0);
    ck_assert_uint_eq(cursor.n_entries, stat.ms_entries);
    ck_assert_int_eq(mdb_cursor_get(cursor.cursor, &k, &v, MDB_NEXT), MDB_NOTFOUND);
    mdb_cursor_close(cursor.cursor);
}

/* Check and walk the file at `path`; compare with what liblmdb finds there. */
static void compare_file(MDB_env *env, const char *const *db_names, int n_names)
{
    struct hti_kvwalk *file;
    MDB_txn *txn;
    MDB_envinfo info;
    int fd = open_data();
    ck_assert_msg(hti_kvfile_check(fd, path, &error) == 0, "%s", error.message);
    ck_assert_int_eq(hti_kvwalk_open(fd, false, path, &file, &error), 0);
    OK(mdb_env_info(env, &info));
    ck_assert_uint_eq(hti_kvwalk_txn_id(file), info.me_last_txnid);
    OK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    for (int i = 0; i < n_names; i++)
        compare_db(txn, file, db_names[i]);
    mdb_txn_abort(txn);
    hti_kvwalk_close(file);
    close(fd);
}

/* One transaction of random puts and deletions; sizes on both sides of every limit. */
static void change_at_random(MDB_env *env)
{
    static const size_t sizes[] = { 0, 1, 8, 100, 2021, 2022, 2023, 4079, 4080, 4081, 8176, 8177, 30000 };
    MDB_txn *txn = begin(env);
    for (uint64_t left = random_below(40); left > 0; left--) {
        MDB_dbi dbi = open_db(txn, names[random_below(3)]);
        uint64_t number = random_below(400);
        uint64_t kind = random_below(10);
        if (kind < 6)
            put_row(txn, dbi, number, sizes[random_below(N_ELEMENTS(sizes))]);
        else if (kind == 6)
            /* Twice in one transaction, shorter the second time: keeps more pages than it needs. */
            put_row(txn, dbi, number, 20000), put_row(txn, dbi, number, 5000);
        else
            delete_row(txn, dbi, number);
    }
    if (random_below(50) == 0)
        OK(mdb_drop(txn, open_db(txn, names[random_below(3)]), 0));
    OK(mdb_txn_commit(txn));
}

START_TEST(a_new_file_is_accepted_and_empty)
{
    MDB_env *env = open_env();
    compare_file(env, names, N_ELEMENTS(names));
    mdb_env_close(env);
}
END_TEST

START_TEST(every_state_that_lmdb_commits_is_accepted_and_read_alike)
{
    MDB_env *env = open_env();
    for (int i = 0; i < 200; i++) {
        change_at_random(env);
        compare_file(env, names, N_ELEMENTS(names));
    }
    mdb_env_close(env);
}
END_TEST

START_TEST(thousands_of_rows_are_read_alike)
{
    MDB_env *env = open_env();
    MDB_txn *txn = begin(env);
    MDB_dbi dbi = open_db(txn, "alpha");
    for (uint64_t i = 0; i < 60000; i++)
        put_row(txn, dbi, i * 2654435761u % 1000003, 20 + i % 50);
    OK(mdb_txn_commit(txn));
    txn = begin(env);
    for (uint64_t i = 0; i < 60000; i += 3)
        delete_row(txn, dbi, i * 2654435761u % 1000003);
    OK(mdb_txn_commit(txn));
    MDB_stat stat;
    txn = begin(env);
    OK(mdb_stat(txn, dbi, &stat));
    ck_assert_uint_ge(stat.ms_depth, 3);
    mdb_txn_abort(txn);
    compare_file(env, names, N_ELEMENTS(names));
    mdb_env_close(env);
}
END_TEST

START_TEST(many_databases_are_found_by_their_whole_name)
{
    char name[520];
    const char *const odd_names[] = { "db", "db1", "db10", "db499", "db500", "d", "", name };
    MDB_env *env = open_env();
    MDB_txn *txn = begin(env);
    memset(name, 'n', 511);
    name[511] = '\0';
    for (int i = 0; i < 500; i++) {
        char text[16];
        snprintf(text, sizeof text, "db%d", i);
        put_text(txn, text, "key", text);
    }
    put_text(txn, name, "key", "long");
    /* Rows of the main tree are none of our business. */
    MDB_dbi main_db;
    OK(mdb_dbi_open(txn, NULL, 0, &main_db));
    put_row(txn, main_db, 5, 10);
    put_row(txn, main_db, 6, 10000);
    OK(mdb_txn_commit(txn));
    compare_file(env, odd_names, 6);
    compare_file(env, odd_names + 7, 1);
    mdb_env_close(env);
}
END_TEST

START_TEST(a_compact_copy_is_accepted_and_read_alike)
{
    MDB_env *env = open_env();
    char copy[320];
    for (int i = 0; i < 30; i++)
        change_at_random(env);
    snprintf(copy, sizeof copy, "%s.copy", path);
    OK(mdb_env_copy2(env, copy, MDB_CP_COMPACT));
    mdb_env_close(env);
    OK(rename(copy, path));
    env = open_env();
    compare_file(env, names, N_ELEMENTS(names));
    mdb_env_close(env);
}
END_TEST

/*
 * A file that ends before its last page: the last ones were freed in the transaction that took them, and it had enough
 * other free pages for its own needs.
 */
static void make_short_file(void)
{
    MDB_env *env = open_env();
    for (uint64_t i = 0; i < 10; i++) {
        MDB_txn *txn = begin(env);
        for (uint64_t row = 0; row < 300; row++)
            put_row(txn, open_db(txn, "alpha"), row, 100 + i);
        OK(mdb_txn_commit(txn));
    }
    MDB_txn *txn = begin(env);
    put_row(txn, open_db(txn, "alpha"), 1000, 1000000);
    delete_row(txn, open_db(txn, "alpha"), 1000);
    OK(mdb_txn_commit(txn));
    mdb_env_close(env);
}

static const uint8_t *newest_meta(const struct image *image)
{
    const uint8_t *second = image->data + PAGE_SIZE;
    return hti_load_le64(image->data + 144) < hti_load_le64(second + 144) ? second : image->data;
}

/* The page after the last one that the newest state needs. */
static uint64_t end_of_used_pages(uint64_t n_pages)
{
    MDB_env *env = open_env();
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint8_t *is_free = calloc(1, (size_t)n_pages);
    OK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    OK(mdb_cursor_open(txn, 0, &cursor));
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        const uint8_t *record = value.mv_data;
        for (uint64_t i = hti_load_le64(record); i > 0; i--)
            is_free[hti_load_le64(record + 8 * i)] = 1;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    while (is_free[n_pages - 1])
        n_pages--;
    free(is_free);
    return n_pages;
}

/* The first record of the free list that names this page first, or that does not. Points to its count. */
static uint8_t *find_free_record(const struct image *image, uint64_t page, bool names_it)
{
    uint8_t *root = image->data + hti_load_le64(newest_meta(image) + 80) * PAGE_SIZE;
    for (unsigned i = 0; i < (hti_load_le16(root + 12) - 16u) / 2; i++) {
        uint8_t *node = root + hti_load_le16(root + 16 + 2 * i), *count = node + 16;
        if (hti_load_le16(node + 4) & KV_BIGDATA)
            count = image->data + hti_load_le64(count) * PAGE_SIZE + 16;
        if ((hti_load_le64(count + 8) == page) == names_it)
            return count;
    }
    ck_abort_msg("no such record");
    return NULL;
}

/* Refused with this number in the place of another one, and accepted with that. */
static void expect_number_matters(const struct image *image, uint8_t *number, uint64_t value)
{
    uint64_t old = hti_load_le64(number);
    hti_store_le64(number, value);
    store(image->data, image->size);
    ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    hti_store_le64(number, old);
    store(image->data, image->size);
    ck_assert_int_eq(check(), 0);
}

START_TEST(a_short_file_is_accepted_if_its_free_list_names_all_missing_pages)
{
    make_short_file();
    struct image image = load_data();
    uint64_t last_page = hti_load_le64(newest_meta(&image) + 136);
    ck_assert_uint_lt(image.size, (last_page + 1) * PAGE_SIZE);
    MDB_env *env = open_env();
    compare_file(env, names, N_ELEMENTS(names));
    mdb_env_close(env);

    store(image.data, image.size);
    ck_assert_int_eq(check(), 0);
    /* What is in use may not be cut off. */
    store(image.data, end_of_used_pages(last_page + 1) * PAGE_SIZE - 1);
    ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(error.message, "cut short"));
    uint8_t *count = find_free_record(&image, last_page, true);
    /* Twice the same page counts once. */
    expect_number_matters(&image, count + 8, last_page - 1);
    expect_number_matters(&image, count + 8, last_page + 1);
    expect_number_matters(&image, count + 8, UINT64_C(1) << 40);
    expect_number_matters(&image, count + 8, UINT64_MAX);
    expect_number_matters(&image, count, hti_load_le64(count) + 100000);
    expect_number_matters(&image, count, UINT64_MAX);
    /* A list with any damage proves nothing. */
    expect_number_matters(&image, find_free_record(&image, last_page, false), UINT64_MAX);
    free(image.data);
}
END_TEST

/* ---- files that are cut, or none ---- */

/* A small file with every kind of page whose last page is in use. */
static struct image make_small_file(void)
{
    MDB_env *env = open_env();
    MDB_txn *txn = begin(env);
    MDB_dbi alpha = open_db(txn, "alpha"), beta = open_db(txn, "beta");
    open_db(txn, "none");
    for (uint64_t i = 0; i < 150; i++)
        put_row(txn, alpha, i, 60);
    for (uint64_t i = 0; i < 3; i++)
        put_row(txn, beta, i, 5000 * (i + 1));
    OK(mdb_txn_commit(txn));
    txn = begin(env);
    delete_row(txn, beta, 1);
    for (uint64_t i = 0; i < 150; i += 7)
        delete_row(txn, alpha, i);
    OK(mdb_txn_commit(txn));
    /* The same once more, so that both metas have the same rows. */
    txn = begin(env);
    put_row(txn, alpha, 1, 60);
    OK(mdb_txn_commit(txn));
    txn = begin(env);
    put_row(txn, alpha, 1, 60);
    OK(mdb_txn_commit(txn));
    mdb_env_close(env);
    return load_data();
}

START_TEST(a_file_cut_anywhere_is_refused_and_walked_without_harm)
{
    struct image image = make_small_file();
    uint64_t expected = (hti_load_le64(newest_meta(&image) + 136) + 1) * PAGE_SIZE;
    char sentence[100];
    ck_assert_uint_eq(image.size, expected);
    uint64_t used_end = end_of_used_pages(image.size / PAGE_SIZE);
    ck_assert_uint_ge(used_end, 20);
    store(image.data, image.size);
    ck_assert_int_eq(check(), 0);
    ck_assert_int_eq(walk_names(memory_fd, false, names, 4), 0);
    uint64_t n_entries = seen.n_entries;
    ck_assert_uint_eq(n_entries, 150 - 22 + 2);
    for (size_t size = image.size - 512; size > 0; size -= 512) {
        store(image.data, size);
        int code = check();
        ck_assert_int_eq(walk_names(memory_fd, false, names, 4), 0);
        ck_assert_uint_le(seen.n_entries, n_entries);
        if (size >= used_end * PAGE_SIZE) {
            ck_assert_uint_eq(seen.n_entries, n_entries);
            continue;
        }
        ck_assert_int_eq(code, HTSTORE_ECORRUPT);
        ck_assert_uint_eq(error.offset, size);
        ck_assert_str_eq(error.path, "file");
        snprintf(sentence, sizeof sentence, "%" PRIu64 " bytes expected, %zu found", expected, size);
        ck_assert_msg(strstr(error.message, sentence) != NULL, "\"%s\" is not in \"%s\"", sentence, error.message);
        ck_assert(seen.n_bad > 0 && seen.n_entries < n_entries);
    }
    for (size_t size = 1; size < 152; size++) {
        store(image.data, size);
        ck_assert_int_eq(check(), size < 20 ? HTSTORE_EFORMAT : HTSTORE_ECORRUPT);
        ck_assert(size < 20 || strstr(error.message, "bytes expected"));
        ck_assert_int_eq(walk_names(memory_fd, false, names, 4), size < 20 ? HTSTORE_EFORMAT : HTSTORE_ECORRUPT);
    }
    store(image.data, PAGE_SIZE);
    ck_assert_int_eq(walk_names(memory_fd, true, names, 4), HTSTORE_ECORRUPT);
    ck_assert_str_eq(error.message, "meta page 1: cut short");
    free(image.data);
}
END_TEST

static void expect_no_data_file(const void *data, size_t size, int code, const char *reason)
{
    store(data, size);
    ck_assert_int_eq(check(), code);
    ck_assert_msg(strstr(error.message, reason) != NULL, "\"%s\" is not in \"%s\"", reason, error.message);
    ck_assert_str_eq(error.path, "file");
    ck_assert_int_eq(walk_sample(), code);
    ck_assert_int_eq(walk_names(memory_fd, true, sample_names, 2), code);
}

START_TEST(what_is_no_lmdb_file_is_told_from_a_damaged_one)
{
    struct kv_image image;
    uint8_t garbage[20000];
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (uint8_t)next_random();
    expect_no_data_file("", 0, HTSTORE_EFORMAT, "empty");
    expect_no_data_file("x", 1, HTSTORE_EFORMAT, "not an LMDB file");
    expect_no_data_file("#!/bin/sh\necho this is no data file\n", 35, HTSTORE_EFORMAT, "not an LMDB file");
    expect_no_data_file(garbage, sizeof garbage, HTSTORE_EFORMAT, "not an LMDB file");
    memset(garbage, 0, sizeof garbage);
    expect_no_data_file(garbage, sizeof garbage, HTSTORE_EFORMAT, "not an LMDB file");
    memset(garbage, 0xFF, sizeof garbage);
    expect_no_data_file(garbage, sizeof garbage, HTSTORE_EFORMAT, "not an LMDB file");

    memset(garbage, 0, sizeof garbage);
    hti_store_le32(garbage + 24, 0xBEEFC0DEu);
    hti_store_le32(garbage + 28, 3);
    expect_no_data_file(garbage, sizeof garbage, HTSTORE_EVERSION, "LMDB 1.0");

    kv_init_sample(&image, 512);
    hti_store_le32(image.data + 20, 999);
    hti_store_le32(image.data + 512 + 20, 999);
    expect_no_data_file(image.data, image.size, HTSTORE_EVERSION, "version");
    free(image.data);

    memset(garbage, 0, sizeof garbage);
    hti_store_le32(garbage + 16, 0xDEC0EFBEu);
    expect_no_data_file(garbage, sizeof garbage, HTSTORE_EFORMAT, "byte order");
    memset(garbage, 0, sizeof garbage);
    hti_store_le32(garbage + 12, 0xBEEFC0DEu);
    expect_no_data_file(garbage, sizeof garbage, HTSTORE_EFORMAT, "32-bit");
}
END_TEST

/* Where entry `i` of a page of the sample is. */
static uint8_t *node_of(const struct kv_image *image, uint64_t page, unsigned i)
{
    return kv_page(image, page) + hti_load_le16(kv_page(image, page) + 16 + 2 * i);
}

/* ---- metas ---- */

START_TEST(every_page_size_is_read)
{
    for (uint32_t page_size = 512; page_size <= 32768; page_size *= 2) {
        struct kv_image image;
        kv_init_sample(&image, page_size);
        store(image.data, image.size);
        ck_assert_msg(check() == 0, "%s", error.message);
        ck_assert_int_eq(walk_sample(), 0);
        ck_assert_uint_eq(seen.n_entries, 6);
        ck_assert_uint_eq(seen.n_bad, 0);
        /* The second meta alone tells where it is. */
        memset(image.data, 0x55, 512);
        store(image.data, image.size);
        ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
        ck_assert_int_eq(walk_sample(), 0);
        ck_assert_uint_eq(seen.n_entries, 6);
        free(image.data);
    }
}
END_TEST

struct meta_fault {
    unsigned offset;
    unsigned size;
    uint64_t value;
    const char *reason;
};

static const struct meta_fault meta_faults[] = {
    { 0, 8, 2, "page number" },
    { 10, 2, 2, "meta page" },
    { 10, 2, 0x18, "meta page" },
    { 16, 4, 0xBEEFC0DF, "not an LMDB file" },
    { 20, 4, 2, "version" },
    { 24, 8, 0x1000, "address" },
    { 32, 8, 11 * 512, "outside the map" },
    { 32, 8, UINT64_C(1) << 47, "map size" },
    { 32, 8, UINT64_MAX, "map size" },
    { 40, 4, 0, "page size" },
    { 40, 4, 256, "page size" },
    { 40, 4, 513, "page size" },
    { 40, 4, 65536, "page size" },
    { 40, 4, 1024, "page size" },
    { 44, 2, 0, "free list" },
    { 46, 2, 33, "deeper" },
    { 46, 2, 0, "root and the depth" },
    { 80, 8, UINT64_MAX, "root and the depth" },
    { 80, 8, 1, "root of a tree" },
    { 80, 8, 12, "root of a tree" },
    { 92, 2, 4, "main tree" },
    { 94, 2, 33, "deeper" },
    { 94, 2, 0, "root and the depth" },
    { 128, 8, UINT64_MAX, "root and the depth" },
    { 128, 8, 0, "root of a tree" },
    { 128, 8, UINT64_MAX - 1, "root of a tree" },
    { 136, 8, 0, "outside the map" },
    { 136, 8, 768, "outside the map" },
    { 136, 8, UINT64_MAX, "outside the map" },
};

static void overwrite(uint8_t *data, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        data[i] = (uint8_t)(value >> (8 * i));
}

static bool is_about_a_root(const struct meta_fault *fault)
{
    return fault->offset == 46 || fault->offset == 80 || fault->offset == 94 || fault->offset == 128;
}

START_TEST(every_field_of_both_metas_is_checked)
{
    const struct meta_fault *fault = &meta_faults[_i];
    for (unsigned number = 0; number < 2; number++) {
        struct kv_image image;
        kv_init_sample(&image, 512);
        overwrite(kv_page(&image, number) + fault->offset, fault->size, fault->value);
        store(image.data, image.size);
        /* Roots of the older one: see the test of a meta page that LMDB could not write. */
        if (number == 0 && is_about_a_root(fault)) {
            ck_assert_int_eq(check(), 0);
        } else {
            ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
            ck_assert_ptr_nonnull(strstr(error.message, fault->reason));
            ck_assert_ptr_nonnull(strstr(error.message, number == 0 ? "meta page 0" : "meta page 1"));
            ck_assert_uint_ge(error.offset, number * 512);
            ck_assert_uint_lt(error.offset, number * 512 + 152);
        }
        /* The other one still serves. */
        ck_assert_int_eq(walk_sample(), 0);
        ck_assert_uint_eq(seen.n_entries, 6);
        ck_assert_int_eq(walk_names(memory_fd, true, sample_names, 2), HTSTORE_ECORRUPT);
        free(image.data);
    }
}
END_TEST

START_TEST(a_meta_of_a_transaction_that_belongs_on_the_other_page_is_refused)
{
    for (unsigned number = 0; number < 2; number++) {
        struct kv_image image;
        kv_init_sample(&image, 512);
        hti_store_le64(kv_page(&image, number) + 144, 9 - number);
        store(image.data, image.size);
        ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
        hti_store_le64(kv_page(&image, number) + 144, 0);
        store(image.data, image.size);
        ck_assert_int_eq(check(), 0);
        free(image.data);
    }
}
END_TEST

START_TEST(two_damaged_metas_leave_nothing)
{
    struct kv_image image;
    struct hti_kvwalk *file = (struct hti_kvwalk *)&image;
    kv_init_sample(&image, 512);
    image.data[10] = 0;
    image.data[512 + 10] = 0;
    store(image.data, image.size);
    ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    ck_assert_int_eq(hti_kvwalk_open(memory_fd, false, "file", &file, &error), HTSTORE_ECORRUPT);
    ck_assert_ptr_null(file);
    ck_assert_str_eq(error.path, "file");
    ck_assert_int_eq(hti_kvwalk_open(memory_fd, true, "file", &file, &error), HTSTORE_ECORRUPT);
    free(image.data);
}
END_TEST

/* Fields that may say something else, and still something possible: another root, an older state, fewer pages. */
static bool may_change_the_meaning(unsigned offset)
{
    return (offset >= 80 && offset < 88) || (offset >= 128 && offset < 152);
}

START_TEST(a_changed_byte_of_a_meta_is_refused_or_means_the_same)
{
    static const uint8_t changes[] = { 0x01, 0x02, 0x80, 0xFF };
    unsigned n_refused = 0, n_accepted = 0;
    struct image image = make_small_file();
    store(image.data, image.size);
    ck_assert_int_eq(walk_names(memory_fd, false, names, 4), 0);
    uint64_t n_entries = seen.n_entries, digest = seen.digest;
    for (unsigned i = 0; i < 2 * 152 * N_ELEMENTS(changes); i++) {
        unsigned offset = i / N_ELEMENTS(changes) % 152;
        size_t at = i / N_ELEMENTS(changes) / 152 * PAGE_SIZE + offset;
        image.data[at] ^= changes[i % N_ELEMENTS(changes)];
        store(image.data, image.size);
        bool accepted = check() == 0;
        int code = walk_names(memory_fd, false, names, 4);
        ck_assert(code == 0 || code == HTSTORE_ECORRUPT);
        if (accepted && !may_change_the_meaning(offset))
            ck_assert_msg(seen.digest == digest && seen.n_entries == n_entries && seen.n_bad == 0, "byte %zu", at);
        n_refused += !accepted;
        n_accepted += accepted;
        walk_names(memory_fd, true, names, 4);
        image.data[at] ^= changes[i % N_ELEMENTS(changes)];
    }
    ck_assert_uint_gt(n_refused, 400);
    ck_assert_uint_gt(n_accepted, 100);
    free(image.data);
}
END_TEST

START_TEST(the_state_before_can_be_walked)
{
    static const char *const rows[] = { "rows" };
    struct hti_kvwalk *file;
    MDB_env *env = open_env();
    MDB_txn *txn = begin(env);
    put_text(txn, "rows", "a", "old");
    OK(mdb_txn_commit(txn));
    txn = begin(env);
    put_text(txn, "rows", "a", "new");
    put_text(txn, "rows", "b", "newer");
    OK(mdb_txn_commit(txn));
    mdb_env_close(env);
    int fd = open_data();
    ck_assert_int_eq(walk_names(fd, false, rows, 1), 0);
    ck_assert_uint_eq(seen.n_entries, 2);
    ck_assert_int_eq(walk_names(fd, true, rows, 1), 0);
    ck_assert_uint_eq(seen.n_entries, 1);
    ck_assert_uint_eq(seen.digest, hash_entry((const uint8_t *)"a", 1, (const uint8_t *)"old", 3));
    ck_assert_int_eq(hti_kvwalk_open(fd, true, "file", &file, &error), 0);
    ck_assert_uint_eq(hti_kvwalk_txn_id(file), 1);
    hti_kvwalk_close(file);
    hti_kvwalk_close(NULL);
    close(fd);
}
END_TEST

START_TEST(a_damaged_root_is_refused)
{
    static const unsigned changes[][3] = {
        /* page, offset, value */
        { 2, 0, 7 },  { 2, 10, 1 }, { 2, 10, 4 }, { 2, 12, 14 },   { 2, 12, 17 },   { 2, 13, 2 },
        { 3, 0, 99 }, { 3, 10, 1 }, { 3, 10, 8 }, { 3, 15, 0xFF }, { 3, 13, 0x7F },
    };
    for (int i = 0; i < N_ELEMENTS(changes); i++) {
        struct kv_image image;
        kv_init_sample(&image, 512);
        kv_page(&image, changes[i][0])[changes[i][1]] = (uint8_t)changes[i][2];
        store(image.data, image.size);
        ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
        ck_assert_uint_eq(error.offset, changes[i][0] * 512);
        ck_assert_ptr_nonnull(strstr(error.message, changes[i][0] == 2 ? "main tree" : "free list"));
        free(image.data);
    }
}
END_TEST

/* LMDB puts back the transaction and the last page, not the trees: they are of a commit that failed. */
START_TEST(an_older_meta_with_the_trees_of_a_failed_commit_is_accepted)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    kv_set_main_root(&image, 0, 1, 7);
    store(image.data, image.size);
    ck_assert_int_eq(check(), 0);
    kv_set_main_root(&image, 0, 2, 99);
    kv_set_free_root(&image, 0, 1, 98);
    store(image.data, image.size);
    ck_assert_int_eq(check(), 0);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_entries, 6);
    kv_set_main_root(&image, 1, 2, 99);
    store(image.data, image.size);
    ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    free(image.data);
}
END_TEST

START_TEST(a_root_that_the_file_does_not_have_is_refused)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    kv_set_main_root(&image, 1, 1, 11);
    store(image.data, 11 * 512);
    ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    ck_assert_uint_eq(error.offset, 11 * 512);
    ck_assert_ptr_nonnull(strstr(error.message, "ends before it"));
    kv_set_main_root(&image, 1, 1, 2);
    store(image.data, 11 * 512);
    ck_assert_int_eq(check(), 0);
    free(image.data);
}
END_TEST

START_TEST(a_last_page_in_use_may_not_lack_a_byte)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    for (unsigned i = 0; i < 2; i++)
        kv_set_free_root(&image, i, 0, KV_NO_PAGE);
    store(image.data, image.size);
    ck_assert_int_eq(check(), 0);
    for (size_t lacking = 1; lacking <= 512; lacking++) {
        store(image.data, image.size - lacking);
        ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    }
    free(image.data);
}
END_TEST

/* A record of the free list begins with a count of 8 bytes: a shorter one names nothing, and nothing behind it is read. */
START_TEST(a_free_list_record_without_a_count_is_damage)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    for (size_t size = 0; size < 8; size++) {
        kv_start_page(&image, 3, KV_LEAF);
        kv_add_entry(&image, 3, 0, "\1\1\1\1\1\1\1\1", "\377\377\377\377\377\377\377", size);
        store(image.data, image.size - 512);
        ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    }
    free(image.data);
}
END_TEST

START_TEST(a_row_of_the_main_tree_is_no_database)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    hti_store_le16(node_of(&image, 2, 1) + 4, 0);
    store(image.data, image.size);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_entries, 1);
    ck_assert_uint_eq(seen.n_bad, 0);
    free(image.data);
}
END_TEST

START_TEST(huge_page_numbers_take_no_memory)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    for (unsigned i = 0; i < 2; i++) {
        hti_store_le64(kv_page(&image, i) + 32, (UINT64_C(1) << 47) - 1);
        hti_store_le64(kv_page(&image, i) + 136, (UINT64_C(1) << 38) - 2);
    }
    store(image.data, image.size);
    ck_assert_int_eq(check(), HTSTORE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(error.message, "140737488354816 bytes expected, 6144 found"));
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_entries, 6);
    free(image.data);
}
END_TEST

/* ---- damage in trees ---- */

static void set16(const struct kv_image *image, uint64_t page, unsigned offset, unsigned value)
{
    hti_store_le16(kv_page(image, page) + offset, (uint16_t)value);
}

static void point_root_to_itself(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 4, 0), 4);
}

static void point_leaf_to_root(const struct kv_image *image)
{
    kv_start_page(image, 5, KV_BRANCH);
    kv_add_child(image, 5, "", 4);
    kv_add_child(image, 5, "a", 5);
}

static void point_twice(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 4, 0), 6);
}

static void point_outside(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 4, 0), 12);
}

static void point_far_outside(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 4, 0) + 4, 0xFFFF);
}

static void point_to_meta(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 4, 0), 1);
}

static void point_to_value(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 4, 0), 7);
}

static void child_outside(const struct kv_image *image)
{
    set16(image, 4, 16, 511);
}

static void change_number(const struct kv_image *image)
{
    hti_store_le64(kv_page(image, 5), 6);
}

static void change_flags(const struct kv_image *image)
{
    set16(image, 5, 10, KV_LEAF | 0x20);
}

static void lower_below_header(const struct kv_image *image)
{
    set16(image, 5, 12, 14);
}

static void lower_odd(const struct kv_image *image)
{
    set16(image, 5, 12, 19);
}

static void lower_above_upper(const struct kv_image *image)
{
    set16(image, 5, 12, 510);
}

static void upper_above_page(const struct kv_image *image)
{
    set16(image, 5, 14, 514);
}

static void no_entries(const struct kv_image *image)
{
    set16(image, 5, 12, 16);
}

static void one_child(const struct kv_image *image)
{
    set16(image, 4, 12, 18);
}

static void entry_in_free_space(const struct kv_image *image)
{
    set16(image, 5, 16, 200);
}

static void entry_past_the_end(const struct kv_image *image)
{
    set16(image, 5, 16, 506);
}

static void entry_at_odd_offset(const struct kv_image *image)
{
    set16(image, 5, 16, hti_load_le16(kv_page(image, 5) + 16) + 1u);
}

static void entry_twice(const struct kv_image *image)
{
    /* The bigger one: both do not fit. */
    memcpy(kv_page(image, 5) + 18, kv_page(image, 5) + 16, 2);
}

static void key_past_the_end(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 5, 0) + 6, 400);
}

static void key_size_huge(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 5, 0) + 6, 0xFFFF);
}

static void key_empty(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 5, 0) + 6, 0);
}

static void value_past_the_end(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 5, 0), 10);
}

static void value_size_huge(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 5, 0), UINT32_MAX);
}

static void unknown_kind(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 5, 0) + 4, 0x04);
}

static void tree_among_rows(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 5, 0) + 4, KV_TREE);
}

static void value_of_too_few_pages(const struct kv_image *image)
{
    hti_store_le32(kv_page(image, 7) + 12, 2);
}

static void value_of_too_many_pages(const struct kv_image *image)
{
    hti_store_le32(kv_page(image, 7) + 12, 6);
}

static void value_of_extreme_pages(const struct kv_image *image)
{
    hti_store_le32(kv_page(image, 7) + 12, UINT32_MAX);
}

static void value_number(const struct kv_image *image)
{
    kv_page(image, 7)[0] = 8;
}

static void value_flags(const struct kv_image *image)
{
    set16(image, 7, 10, KV_LEAF);
}

static void value_outside(const struct kv_image *image)
{
    hti_store_le64(node_of(image, 6, 2) + 8 + 3, 10);
}

static void value_far_outside(const struct kv_image *image)
{
    hti_store_le64(node_of(image, 6, 2) + 8 + 3, UINT64_MAX);
}

static void value_too_big(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 6, 2), UINT32_MAX);
}

static void value_longer_than_its_pages(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 6, 2), 4 * 512);
    kv_start_page(image, 10, KV_LEAF);
}

static void value_starts_in_a_tree(const struct kv_image *image)
{
    hti_store_le64(node_of(image, 6, 2) + 8 + 3, 6);
    kv_start_page(image, 5, KV_LEAF);
    kv_add_entry(image, 5, 0, "a1", "one", 3);
    kv_add_entry(image, 5, 0, "a2", "", 0);
}

static void fewer_pages(const struct kv_image *image)
{
    hti_store_le64(kv_page(image, 0) + 136, 5);
    hti_store_le64(kv_page(image, 1) + 136, 5);
}

static void value_shared(const struct kv_image *image)
{
    kv_start_page(image, 5, KV_LEAF);
    kv_add_big_entry(image, 5, "a1", 1025, 7);
    kv_add_big_entry(image, 5, "a2", 1, 7);
}

static void depth_too_small(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 2, 1) + 8 + 4 + 6, 1);
}

static void depth_too_big(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 2, 1) + 8 + 4 + 6, 32);
}

static void record_too_deep(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 2, 1) + 8 + 4 + 6, 33);
}

static void record_without_depth(const struct kv_image *image)
{
    hti_store_le16(node_of(image, 2, 1) + 8 + 4 + 6, 0);
}

static void record_root_outside(const struct kv_image *image)
{
    hti_store_le64(node_of(image, 2, 1) + 8 + 4 + 40, 1000);
}

static void record_too_short(const struct kv_image *image)
{
    hti_store_le32(node_of(image, 2, 1), 47);
}

static void main_tree_lost(const struct kv_image *image)
{
    kv_page(image, 2)[0] = 99;
}

struct tree_fault {
    void (*damage)(const struct kv_image *image);
    uint64_t page; /* that is told */
    const char *reason;
    uint64_t n_entries; /* that are left of 6 */
};

static const struct tree_fault tree_faults[] = {
    { point_root_to_itself, 4, "reached twice", 4 },
    { point_leaf_to_root, 4, "reached twice", 4 },
    { point_leaf_to_root, 5, "reached twice", 4 },
    { point_twice, 6, "reached twice", 4 },
    { point_outside, 12, "not a page of the file", 4 },
    { point_far_outside, UINT64_C(0xFFFF00000005), "not a page of the file", 4 },
    { point_to_meta, 1, "not a page of the file", 4 },
    { point_to_value, 7, "neither a branch nor a leaf", 3 },
    { child_outside, 4, "outside", 4 },
    { change_number, 5, "number of another page", 4 },
    { change_flags, 5, "neither a branch nor a leaf", 4 },
    { lower_below_header, 5, "bounds", 4 },
    { lower_odd, 5, "bounds", 4 },
    { lower_above_upper, 5, "bounds", 4 },
    { upper_above_page, 5, "bounds", 4 },
    { no_entries, 5, "empty leaf", 4 },
    { one_child, 4, "fewer than two children", 3 },
    { entry_in_free_space, 5, "an entry lies outside", 5 },
    { entry_past_the_end, 5, "an entry lies outside", 5 },
    { entry_at_odd_offset, 5, "an entry lies outside", 5 },
    { entry_twice, 5, "overlap", 5 },
    { key_past_the_end, 5, "a key lies outside", 5 },
    { key_size_huge, 5, "a key lies outside", 5 },
    { key_empty, 5, "impossible size", 5 },
    { value_past_the_end, 5, "a value lies outside", 5 },
    { value_size_huge, 5, "a value lies outside", 5 },
    { unknown_kind, 5, "unknown kind", 5 },
    { tree_among_rows, 5, "record of a database", 5 },
    { value_of_too_few_pages, 7, "wrong number of pages", 5 },
    { value_of_too_many_pages, 7, "wrong number of pages", 5 },
    { value_of_extreme_pages, 7, "wrong number of pages", 5 },
    { value_number, 7, "not the start of a value", 5 },
    { value_flags, 7, "not the start of a value", 5 },
    { value_outside, 6, "outside the file", 5 },
    { value_far_outside, 6, "outside the file", 5 },
    { value_too_big, 6, "outside the file", 5 },
    { value_longer_than_its_pages, 7, "wrong number of pages", 4 },
    { value_starts_in_a_tree, 6, "not the start of a value", 5 },
    { fewer_pages, 6, "not a page of the file", 2 },
    { value_shared, 7, "reached twice", 4 },
    { depth_too_small, 5, "depth", 6 },
    { depth_too_big, 5, "depth", 6 },
    { record_too_deep, 2, "deeper", 1 },
    { record_without_depth, 2, "root and the depth", 1 },
    { record_root_outside, 2, "root of a tree", 1 },
    { record_too_short, 2, "wrong size", 1 },
    { main_tree_lost, 2, "number of another page", 0 },
};

START_TEST(damage_in_a_tree_is_told_and_costs_no_other_entry)
{
    const struct tree_fault *fault = &tree_faults[_i];
    struct kv_image image;
    kv_init_sample(&image, 512);
    fault->damage(&image);
    store(image.data, image.size);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_msg(was_told(fault->page, fault->reason), "%" PRIu64 " told, the first: page %" PRIu64 " %s", seen.n_bad,
                  seen.bad_pages[0], seen.n_bad ? seen.reasons[0] : "");
    ck_assert_uint_eq(seen.n_entries, fault->n_entries);
    ck_assert_uint_le(seen.n_bad, 4);
    free(image.data);
}
END_TEST

START_TEST(a_wrong_depth_is_told_once)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    depth_too_big(&image);
    store(image.data, image.size);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_bad, 1);
    free(image.data);
}
END_TEST

START_TEST(one_bad_page_is_told_once)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    set16(&image, 6, 16, 0);
    set16(&image, 6, 18, 0);
    set16(&image, 6, 20, 0);
    store(image.data, image.size);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_bad, 1);
    ck_assert_uint_eq(seen.n_entries, 3);
    free(image.data);
}
END_TEST

/* A chain of branches: each has the next one and a leaf as its children. */
static void make_chain(struct kv_image *image, unsigned n_branches)
{
    kv_init(image, 512, 3 + 2 * n_branches + 2);
    kv_put_meta(image, 0, 0);
    kv_put_meta(image, 1, 1);
    kv_set_main_root(image, 1, 1, 2);
    kv_start_page(image, 2, KV_LEAF);
    kv_add_tree(image, 2, "rows", (uint16_t)(n_branches < 32 ? n_branches + 1 : 32), 1, 3);
    for (unsigned i = 0; i <= n_branches; i++) {
        uint64_t page = 3 + 2 * i;
        if (i < n_branches) {
            kv_start_page(image, page, KV_BRANCH);
            kv_add_child(image, page, "", page + 1);
            kv_add_child(image, page, "k", page + 2);
        }
        kv_start_page(image, i < n_branches ? page + 1 : page, KV_LEAF);
        kv_add_entry(image, i < n_branches ? page + 1 : page, 0, "key", "value", 5);
    }
}

static char listed[200];
static const char *stop_at;

static int list_tree(void *user, const uint8_t *name, size_t name_size, const struct hti_kvpage_tree *tree)
{
    char text[64];
    ck_assert_ptr_eq(user, &seen);
    snprintf(text, sizeof text, "%.*s at %" PRIu64 "; ", (int)name_size, (const char *)name, tree->root);
    strcat(listed, text);
    return stop_at && strstr(listed, stop_at) ? 77 : 0;
}

static int list_sample(const struct kv_image *image)
{
    struct hti_kvwalk *file;
    store(image->data, image->size);
    ck_assert_int_eq(hti_kvwalk_open(memory_fd, false, "file", &file, &error), 0);
    memset(&seen, 0, sizeof seen);
    listed[0] = '\0';
    int code = hti_kvwalk_list_trees(file, list_tree, note_bad, &seen, &error);
    hti_kvwalk_close(file);
    return code;
}

START_TEST(databases_are_listed_and_damaged_records_told)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    kv_add_entry(&image, 2, 0, "row", "a row", 5);
    stop_at = NULL;
    ck_assert_int_eq(list_sample(&image), 0);
    ck_assert_str_eq(listed, "more at 10; rows at 4; ");
    ck_assert_uint_eq(seen.n_bad, 0);
    stop_at = "more";
    ck_assert_int_eq(list_sample(&image), 77);
    ck_assert_str_eq(listed, "more at 10; ");
    stop_at = NULL;
    record_too_deep(&image);
    ck_assert_int_eq(list_sample(&image), 0);
    ck_assert_str_eq(listed, "more at 10; ");
    ck_assert(was_told(2, "deeper"));
    free(image.data);
}
END_TEST

START_TEST(trees_end_at_32_levels)
{
    struct kv_image image;
    make_chain(&image, 31);
    store(image.data, image.size);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_entries, 32);
    ck_assert(!was_told(3 + 2 * 31, "deeper"));
    free(image.data);

    make_chain(&image, 40);
    store(image.data, image.size);
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_entries, 31);
    ck_assert(was_told(3 + 2 * 32, "deeper"));
    free(image.data);
}
END_TEST

/* ---- values ---- */

static size_t value_size_seen;

static int note_size(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    (void)user;
    (void)key;
    (void)key_size;
    if (value_size > value_size_seen) {
        value_size_seen = value_size;
        ck_assert_mem_eq(value, KV_SAMPLE_BIG, strlen(KV_SAMPLE_BIG));
        ck_assert_int_eq(value[value_size - 1], 'z');
    }
    return 0;
}

/* The sample with a bigger value at its end; most of the file is a hole. */
static int walk_big_value(uint32_t size)
{
    struct kv_image image;
    struct hti_kvwalk *file;
    struct hti_kvpage_tree tree;
    uint32_t n_pages = (15 + size) / PAGE_SIZE + 1;
    kv_init_sample(&image, PAGE_SIZE);
    kv_put_value(&image, 11, n_pages, KV_SAMPLE_BIG);
    hti_store_le32(node_of(&image, 6, 2), size);
    hti_store_le64(node_of(&image, 6, 2) + 8 + 3, 11);
    for (unsigned i = 0; i < 2; i++) {
        hti_store_le64(kv_page(&image, i) + 32, UINT64_C(1) << 40);
        hti_store_le64(kv_page(&image, i) + 136, 10 + n_pages);
    }
    store(image.data, image.size);
    OK(ftruncate(memory_fd, (11 + (off_t)n_pages) * PAGE_SIZE));
    ck_assert_int_eq(pwrite(memory_fd, "z", 1, 11 * (off_t)PAGE_SIZE + 16 + size - 1), 1);
    ck_assert_int_eq(check(), 0);
    memset(&seen, 0, sizeof seen);
    value_size_seen = 100;
    ck_assert_int_eq(hti_kvwalk_open(memory_fd, false, "file", &file, &error), 0);
    ck_assert_int_eq(hti_kvwalk_find_tree(file, "rows", &tree, note_bad, &seen, &error), 0);
    int code = hti_kvwalk_walk(file, &tree, note_size, note_bad, &seen, &error);
    hti_kvwalk_close(file);
    free(image.data);
    return code;
}

START_TEST(values_of_256_mib_are_read)
{
    ck_assert_int_eq(walk_big_value(256u << 20), 0);
    ck_assert_uint_eq(value_size_seen, 256u << 20);
    ck_assert_uint_eq(seen.n_bad, 0);
}
END_TEST

START_TEST(values_above_300_mib_are_refused)
{
    ck_assert_int_eq(walk_big_value((300u << 20) + 1), 0);
    ck_assert_uint_eq(value_size_seen, 100);
    ck_assert_uint_eq(seen.n_bad, 1);
    ck_assert_uint_eq(seen.bad_pages[0], 6);
}
END_TEST

static int stop_at_third(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    unsigned *n_entries = user;
    (void)key;
    (void)key_size;
    (void)value;
    (void)value_size;
    return ++*n_entries == 3 ? 77 : 0;
}

START_TEST(a_walk_stops_when_asked_and_needs_nobody_to_hear_of_damage)
{
    struct kv_image image;
    struct hti_kvwalk *file;
    struct hti_kvpage_tree tree;
    unsigned n_entries = 0;
    kv_init_sample(&image, 512);
    store(image.data, image.size);
    ck_assert_int_eq(hti_kvwalk_open(memory_fd, false, "file", &file, &error), 0);
    ck_assert_int_eq(hti_kvwalk_find_tree(file, "rows", &tree, NULL, NULL, &error), 0);
    ck_assert_int_eq(hti_kvwalk_walk(file, &tree, stop_at_third, NULL, &n_entries, &error), 77);
    ck_assert_uint_eq(n_entries, 3);
    image.data[6 * 512] = 0;
    store(image.data, image.size);
    n_entries = 5;
    ck_assert_int_eq(hti_kvwalk_walk(file, &tree, stop_at_third, NULL, &n_entries, &error), 0);
    ck_assert_uint_eq(n_entries, 7);
    hti_kvwalk_close(file);
    free(image.data);
}
END_TEST

START_TEST(any_tree_may_be_asked_for)
{
    static const struct hti_kvpage_tree trees[] = {
        { .root = 0, .depth = 1 },
        { .root = 1, .depth = 1 },
        { .root = 12, .depth = 1 },
        { .root = UINT64_MAX - 1, .depth = 40000 },
    };
    struct kv_image image;
    struct hti_kvwalk *file;
    kv_init_sample(&image, 512);
    store(image.data, image.size);
    ck_assert_int_eq(hti_kvwalk_open(memory_fd, false, "file", &file, &error), 0);
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < N_ELEMENTS(trees); i++) {
        ck_assert_int_eq(hti_kvwalk_walk(file, &trees[i], note_entry, note_bad, &seen, &error), 0);
        ck_assert_uint_eq(seen.n_bad, (uint64_t)i + 1);
    }
    struct hti_kvpage_tree empty = { .root = UINT64_MAX };
    ck_assert_int_eq(hti_kvwalk_walk(file, &empty, note_entry, note_bad, &seen, &error), 0);
    ck_assert_uint_eq(seen.n_bad, 4);
    ck_assert_uint_eq(seen.n_entries, 0);
    hti_kvwalk_close(file);
    free(image.data);
}
END_TEST

/* ---- chance ---- */

static void walk_all(void)
{
    (void)check();
    for (int i = 0; i < 2; i++) {
        (void)walk_names(memory_fd, i == 1, names, 4);
        ck_assert_uint_le(seen.n_entries, 100000);
    }
}

START_TEST(changed_bytes_anywhere_never_crash)
{
    struct image image = make_small_file();
    uint8_t *copy = malloc(image.size);
    uint64_t n_pages = image.size / PAGE_SIZE, n_told = 0;
    random_state = (uint64_t)_i;
    for (int i = 0; i < 1500; i++) {
        memcpy(copy, image.data, image.size);
        for (uint64_t left = random_below(6) + 1; left > 0; left--) {
            /* Half of them where the structure is: metas, headers, offsets. */
            size_t at = random_below(2) ? (size_t)random_below(image.size)
                                        : (size_t)(random_below(n_pages) * PAGE_SIZE + random_below(160));
            if (random_below(2))
                copy[at] = (uint8_t)next_random();
            else
                copy[at] = (uint8_t)(copy[at] ^ (1u << random_below(8)));
        }
        store(copy, image.size);
        walk_all();
        n_told += seen.n_bad > 0;
    }
    ck_assert_uint_gt(n_told, 100);
    free(copy);
    free(image.data);
}
END_TEST

START_TEST(swapped_and_repeated_pages_never_crash)
{
    struct image image = make_small_file();
    uint8_t *copy = malloc(image.size);
    uint64_t n_pages = image.size / PAGE_SIZE;
    for (int i = 0; i < 500; i++) {
        memcpy(copy, image.data, image.size);
        for (uint64_t left = random_below(4) + 1; left > 0; left--) {
            uint64_t to = random_below(n_pages), from = random_below(n_pages);
            memcpy(copy + to * PAGE_SIZE, image.data + from * PAGE_SIZE, PAGE_SIZE);
            /* With the right number it looks like a page of the tree. */
            if (to > 1 && random_below(2))
                hti_store_le64(copy + to * PAGE_SIZE, to);
        }
        store(copy, image.size);
        walk_all();
    }
    free(copy);
    free(image.data);
}
END_TEST

/* ---- failing calls ---- */

START_TEST(a_bad_sector_costs_its_page_only)
{
    static const uint64_t pages[] = { 2, 4, 5, 6, 7, 9, 10 };
    static const uint64_t n_left[] = { 0, 1, 4, 3, 5, 5, 5 };
    struct kv_image image;
    kv_init_sample(&image, 512);
    store(image.data, image.size);
    hooks.fault_errno = EIO;
    for (int i = 0; i < N_ELEMENTS(pages); i++) {
        hooks.fault_offset = pages[i] * 512 + 5;
        ck_assert_int_eq(walk_sample(), 0);
        ck_assert_uint_eq(seen.n_entries, n_left[i]);
        ck_assert(was_told(pages[i] == 9 ? 7 : pages[i], "cannot be read"));
    }
    free(image.data);
}
END_TEST

static void cut_file(void)
{
    OK(ftruncate(memory_fd, 5 * 512 + 100));
}

START_TEST(a_file_cut_while_it_is_walked_costs_what_is_cut_off)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    store(image.data, image.size);
    hooks.act_at = 4;
    hooks.act = cut_file;
    ck_assert_int_eq(walk_sample(), 0);
    ck_assert_uint_eq(seen.n_entries, 0);
    ck_assert(was_told(5, "ends before it") && was_told(6, "ends before it"));
    free(image.data);
}
END_TEST

START_TEST(unreadable_files_are_io_errors)
{
    struct kv_image image;
    struct hti_kvwalk *file;
    kv_init_sample(&image, 512);
    store(image.data, image.size);
    ck_assert_int_eq(hti_kvfile_check(-1, "file", &error), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, EBADF);
    ck_assert_int_eq(hti_kvwalk_open(-1, false, "file", &file, &error), HTSTORE_EIO);
    ck_assert_ptr_null(file);
    hooks.fault_errno = EIO;
    static const uint64_t offsets[] = { 0, 512, 2 * 512, 3 * 512 };
    for (int i = 0; i < N_ELEMENTS(offsets); i++) {
        hooks.fault_offset = offsets[i];
        ck_assert_int_eq(check(), HTSTORE_EIO);
        ck_assert_int_eq(error.sys_errno, EIO);
        ck_assert_str_eq(error.path, "file");
    }
    hooks.fault_errno = EBADF;
    hooks.fault_offset = 6 * 512;
    ck_assert_int_eq(walk_sample(), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, EBADF);
    free(image.data);
}
END_TEST

START_TEST(an_unreadable_meta_leaves_the_other)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    store(image.data, image.size);
    hooks.fault_errno = EIO;
    for (int i = 0; i < 2; i++) {
        hooks.fault_offset = (uint64_t)i * 512;
        ck_assert_int_eq(walk_sample(), 0);
        ck_assert_uint_eq(seen.n_entries, 6);
        ck_assert_int_eq(walk_names(memory_fd, true, sample_names, 2), HTSTORE_EIO);
    }
    free(image.data);
}
END_TEST

START_TEST(an_unreadable_free_list_of_a_short_file_is_an_io_error)
{
    make_short_file();
    struct image image = load_data();
    store(image.data, image.size);
    hooks.fault_errno = EIO;
    hooks.fault_offset = hti_load_le64(newest_meta(&image) + 80) * PAGE_SIZE + 100;
    ck_assert_int_eq(check(), HTSTORE_EIO);
    free(image.data);
}
END_TEST

START_TEST(every_lack_of_memory_is_a_clean_error)
{
    struct image image;
    int code = HTSTORE_ENOMEM;
    uint64_t i;
    make_short_file();
    image = load_data();
    store(image.data, image.size);
    for (i = 0; code == HTSTORE_ENOMEM; i++) {
        hti_mem_test_fail(i, false);
        code = check();
        ck_assert(code == HTSTORE_ENOMEM || code == 0);
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
    ck_assert_uint_ge(i, 4);
    free(image.data);

    struct kv_image sample;
    kv_init_sample(&sample, 512);
    store(sample.data, sample.size);
    code = HTSTORE_ENOMEM;
    for (i = 0; code == HTSTORE_ENOMEM; i++) {
        hti_mem_test_fail(i, false);
        code = walk_sample();
        ck_assert(code == HTSTORE_ENOMEM || code == 0);
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
    ck_assert_uint_ge(i, 8);
    ck_assert_uint_eq(seen.n_entries, 6);
    free(sample.data);
}
END_TEST

/* ---- a writer at work ---- */

#define N_STATES 3

static struct kv_image states[N_STATES];
static unsigned next_state, reads_between;

static void write_next_state(void)
{
    store(states[next_state].data, states[next_state].size);
    if (++next_state < N_STATES)
        hooks.act_at += reads_between;
}

/* States two commits apart: the main tree is elsewhere each time, and its old root is part of a value. */
static void make_states(void)
{
    static const uint64_t roots[N_STATES] = { 2, 10, 11 };
    for (unsigned state = 0; state < N_STATES; state++) {
        struct kv_image *image = &states[state];
        kv_init_sample(image, 512);
        for (unsigned i = 0; i < 2; i++) {
            kv_put_meta(image, i, 6 + 2 * state + i);
            kv_set_main_root(image, i, 1, roots[state]);
            kv_set_free_root(image, i, 1, 3);
        }
        for (unsigned i = 0; i < N_STATES; i++)
            kv_put_value(image, roots[i], 1, "value");
        kv_start_page(image, roots[state], KV_LEAF);
        kv_add_tree(image, roots[state], "rows", 2, 5, 4);
    }
}

START_TEST(a_writer_at_work_is_not_taken_for_damage)
{
    unsigned n_repeated = 0;
    make_states();
    for (unsigned at = 1; at <= 12; at++)
        for (reads_between = 1; reads_between <= 12; reads_between++) {
            hooks.act = NULL;
            store(states[0].data, states[0].size);
            next_state = 1;
            hooks.n_reads = 0;
            hooks.act_at = at;
            hooks.act = write_next_state;
            ck_assert_msg(check() == 0, "changed before read %u and %u later: %s", at, reads_between, error.message);
            n_repeated += hooks.n_reads > 10;
        }
    ck_assert_uint_ge(n_repeated, 2);
    for (unsigned i = 0; i < N_STATES; i++)
        free(states[i].data);
}
END_TEST

static TCase *make_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    suite_add_tcase(suite, tests);
    return tests;
}

static void add_sound_files(TCase *tests)
{
    tcase_add_test(tests, a_new_file_is_accepted_and_empty);
    tcase_add_test(tests, every_state_that_lmdb_commits_is_accepted_and_read_alike);
    tcase_add_test(tests, thousands_of_rows_are_read_alike);
    tcase_add_test(tests, many_databases_are_found_by_their_whole_name);
    tcase_add_test(tests, a_compact_copy_is_accepted_and_read_alike);
    tcase_add_test(tests, a_short_file_is_accepted_if_its_free_list_names_all_missing_pages);
    tcase_add_test(tests, every_page_size_is_read);
    tcase_add_test(tests, the_state_before_can_be_walked);
    tcase_add_test(tests, values_of_256_mib_are_read);
    tcase_add_test(tests, a_writer_at_work_is_not_taken_for_damage);
}

static void add_metas(TCase *tests)
{
    tcase_add_test(tests, a_file_cut_anywhere_is_refused_and_walked_without_harm);
    tcase_add_test(tests, what_is_no_lmdb_file_is_told_from_a_damaged_one);
    tcase_add_loop_test(tests, every_field_of_both_metas_is_checked, 0, N_ELEMENTS(meta_faults));
    tcase_add_test(tests, a_meta_of_a_transaction_that_belongs_on_the_other_page_is_refused);
    tcase_add_test(tests, two_damaged_metas_leave_nothing);
    tcase_add_test(tests, a_changed_byte_of_a_meta_is_refused_or_means_the_same);
    tcase_add_test(tests, a_damaged_root_is_refused);
    tcase_add_test(tests, an_older_meta_with_the_trees_of_a_failed_commit_is_accepted);
    tcase_add_test(tests, a_root_that_the_file_does_not_have_is_refused);
    tcase_add_test(tests, a_last_page_in_use_may_not_lack_a_byte);
    tcase_add_test(tests, a_free_list_record_without_a_count_is_damage);
    tcase_add_test(tests, a_row_of_the_main_tree_is_no_database);
    tcase_add_test(tests, huge_page_numbers_take_no_memory);
}

static void add_trees(TCase *tests)
{
    tcase_add_loop_test(tests, damage_in_a_tree_is_told_and_costs_no_other_entry, 0, N_ELEMENTS(tree_faults));
    tcase_add_test(tests, a_wrong_depth_is_told_once);
    tcase_add_test(tests, one_bad_page_is_told_once);
    tcase_add_test(tests, databases_are_listed_and_damaged_records_told);
    tcase_add_test(tests, trees_end_at_32_levels);
    tcase_add_test(tests, values_above_300_mib_are_refused);
    tcase_add_test(tests, a_walk_stops_when_asked_and_needs_nobody_to_hear_of_damage);
    tcase_add_test(tests, any_tree_may_be_asked_for);
    tcase_add_loop_test(tests, changed_bytes_anywhere_never_crash, 0, 4);
    tcase_add_test(tests, swapped_and_repeated_pages_never_crash);
}

static void add_failing_calls(TCase *tests)
{
    tcase_add_test(tests, a_bad_sector_costs_its_page_only);
    tcase_add_test(tests, a_file_cut_while_it_is_walked_costs_what_is_cut_off);
    tcase_add_test(tests, unreadable_files_are_io_errors);
    tcase_add_test(tests, an_unreadable_meta_leaves_the_other);
    tcase_add_test(tests, an_unreadable_free_list_of_a_short_file_is_an_io_error);
    tcase_add_test(tests, every_lack_of_memory_is_a_clean_error);
}

int main(void)
{
    Suite *suite = suite_create("kvfile");
    add_sound_files(make_case(suite, "sound_files"));
    add_metas(make_case(suite, "metas"));
    add_trees(make_case(suite, "trees"));
    add_failing_calls(make_case(suite, "failing_calls"));
    return check_run(suite);
}
