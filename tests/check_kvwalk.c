/*
 * Tests of kvwalk beyond what check_kvfile.c asks of it: the state of a given transaction, entry by entry, values that are read
 * in pieces, and pages that are read many at a time.
 */
#include "kvwalk.h"

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
#include "mem.h"

#define OK(call) ck_assert_int_eq((call), 0)

static char *directory;
static char path[300];
static struct htstore_error error;
static int memory_fd;
static struct hti_kvwalk *walk;
static struct hti_kvpage_tree rows;

/* What pread() does; it takes the place of that of the C library. */
static struct {
    uint64_t fault_offset; /* reads of this byte fail */
    int fault_errno;
    unsigned n_reads;
    unsigned from; /* before every read from this number on, act() */
    void (*act)(void);
} hooks;

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    if (++hooks.n_reads >= hooks.from && hooks.act)
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
    directory = check_tmpdir();
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    memory_fd = memfd_create("check_kvwalk", MFD_CLOEXEC);
    ck_assert_int_ge(memory_fd, 0);
    walk = NULL;
}

static void tear_down(void)
{
    memset(&hooks, 0, sizeof hooks);
    hti_mem_test_fail(UINT64_MAX, false);
    hti_kvwalk_close(walk);
    close(memory_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* Make these bytes the file, and walk its "rows". */
static void use_image(const struct kv_image *image)
{
    OK(ftruncate(memory_fd, (off_t)image->size));
    ck_assert_int_eq(pwrite(memory_fd, image->data, image->size, 0), (ssize_t)image->size);
    hti_kvwalk_close(walk);
    OK(hti_kvwalk_open(memory_fd, false, "file", &walk, &error));
    OK(hti_kvwalk_find_tree(walk, "rows", &rows, NULL, NULL, &error));
}

/* ---- files of liblmdb ---- */

static MDB_env *open_env(void)
{
    MDB_env *env;
    OK(mdb_env_create(&env));
    OK(mdb_env_set_maxdbs(env, 8));
    OK(mdb_env_set_mapsize(env, UINT64_C(1) << 30));
    OK(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS, 0600));
    return env;
}

/* Rows from `first` on, `count` of them, `step` apart, in a transaction of their own. */
static void put_rows(MDB_env *env, uint64_t first, uint64_t count, uint64_t step, size_t size)
{
    static uint8_t value[200000];
    MDB_txn *txn;
    MDB_dbi dbi;
    OK(mdb_txn_begin(env, NULL, 0, &txn));
    OK(mdb_dbi_open(txn, "rows", MDB_CREATE, &dbi));
    for (uint64_t i = 0; i < count; i++) {
        uint8_t raw[8];
        hti_store_be64(raw, first + i * step);
        memset(value, (int)(first + i * step), size);
        MDB_val key = { 8, raw }, stored = { size, value };
        OK(mdb_put(txn, dbi, &key, &stored, 0));
    }
    OK(mdb_txn_commit(txn));
}

static int open_data(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* ---- the state of a transaction ---- */

static MDB_env *writing_env;
static uint64_t n_written;

static void write_another(void)
{
    void (*act)(void) = hooks.act;
    hooks.act = NULL;
    put_rows(writing_env, 1000000 + n_written++, 1, 1, 8);
    hooks.act = act;
}

static int count_entry(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    (void)key;
    (void)key_size;
    (void)value;
    (void)value_size;
    ++*(uint64_t *)user;
    return 0;
}

START_TEST(a_pinned_state_is_walked_while_a_writer_goes_on)
{
    MDB_env *env = writing_env = open_env();
    MDB_txn *pin;
    uint64_t n_rows = 0;
    put_rows(env, 0, 3000, 1, 100);
    OK(mdb_txn_begin(env, NULL, MDB_RDONLY, &pin));
    int fd = open_data();
    OK(hti_kvwalk_open_at(fd, mdb_txn_id(pin), path, &walk, &error));
    ck_assert_uint_eq(hti_kvwalk_txn_id(walk), mdb_txn_id(pin));
    hooks.act = write_another;
    OK(hti_kvwalk_find_tree(walk, "rows", &rows, NULL, NULL, &error));
    OK(hti_kvwalk_walk(walk, &rows, count_entry, NULL, &n_rows, &error));
    hooks.act = NULL;
    ck_assert_uint_eq(n_rows, 3000);
    ck_assert_uint_gt(n_written, 3);
    mdb_txn_abort(pin);
    mdb_env_close(env);
    close(fd);
}
END_TEST

START_TEST(both_states_of_a_file_are_found_and_no_other)
{
    MDB_env *env = open_env();
    MDB_envinfo info;
    for (unsigned i = 0; i < 5; i++)
        put_rows(env, i, 1, 1, 8);
    OK(mdb_env_info(env, &info));
    uint64_t newest = info.me_last_txnid;
    mdb_env_close(env);
    int fd = open_data();
    static const int results[] = { 1, 0, 0, 1, 1 };
    for (uint64_t i = 0; i < 5; i++) {
        ck_assert_int_eq(hti_kvwalk_open_at(fd, newest - 2 + i, path, &walk, &error), results[i]);
        ck_assert(results[i] ? !walk : hti_kvwalk_txn_id(walk) == newest - 2 + i);
        hti_kvwalk_close(walk);
        walk = NULL;
    }
    close(fd);
}
END_TEST

/* Ever new bytes in the meta page, as a reader might see them that is always in the middle of a commit. */
static void touch_meta(void)
{
    uint8_t raw[8];
    hti_store_le64(raw, 6000 + hooks.n_reads);
    ck_assert_int_eq(pwrite(memory_fd, raw, sizeof raw, 120), 8);
}

START_TEST(a_meta_that_does_not_rest_is_not_believed)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    use_image(&image);
    hti_kvwalk_close(walk);
    walk = NULL;
    hooks.act = touch_meta;
    ck_assert_int_eq(hti_kvwalk_open_at(memory_fd, 6, "file", &walk, &error), 1);
    ck_assert_ptr_null(walk);
    ck_assert_uint_lt(hooks.n_reads, 200);
    /* It comes to rest while we look. */
    hooks.n_reads = 0;
    hooks.act = NULL;
    OK(hti_kvwalk_open_at(memory_fd, 6, "file", &walk, &error));
    free(image.data);
}
END_TEST

START_TEST(a_damaged_meta_is_told_and_the_other_is_not_taken_for_it)
{
    struct kv_image image;
    kv_init_sample(&image, 512);
    use_image(&image);
    hti_kvwalk_close(walk);
    walk = NULL;
    ck_assert_int_eq(pwrite(memory_fd, "\xff", 1, 512 + 10), 1);
    ck_assert_int_eq(hti_kvwalk_open_at(memory_fd, 7, "file", &walk, &error), HTSTORE_ECORRUPT);
    ck_assert_ptr_null(walk);
    OK(hti_kvwalk_open_at(memory_fd, 6, "file", &walk, &error));
    hti_kvwalk_close(walk);
    walk = NULL;
    ck_assert_int_eq(hti_kvwalk_open_at(-1, 6, "file", &walk, &error), HTSTORE_EIO);
    free(image.data);
}
END_TEST

/* ---- entry by entry ---- */

static struct hti_kvwalk_cursor *open_cursor(const struct hti_kvwalk_options *options)
{
    struct hti_kvwalk_cursor *cursor;
    OK(hti_kvwalk_cursor_open(walk, &rows, options, &cursor, &error));
    return cursor;
}

/* The keys of the rest, and how it ended. */
static int read_keys(struct hti_kvwalk_cursor *cursor, char out[200])
{
    struct hti_kvwalk_entry entry;
    int rc;
    out[0] = '\0';
    while ((rc = hti_kvwalk_cursor_next(cursor, &entry, &error)) == 0)
        snprintf(out + strlen(out), 200 - strlen(out), "%.*s ", (int)entry.key_size, (const char *)entry.key);
    return rc;
}

START_TEST(entries_come_one_by_one_in_order)
{
    struct kv_image image;
    struct hti_kvwalk_entry entry;
    char keys[200];
    kv_init_sample(&image, 512);
    use_image(&image);
    struct hti_kvwalk_cursor *cursor = open_cursor(NULL);
    OK(hti_kvwalk_cursor_next(cursor, &entry, &error));
    ck_assert_uint_eq(entry.page, 5);
    ck_assert_uint_eq(entry.value_page, 0);
    ck_assert_uint_eq(entry.value_size, 3);
    ck_assert_mem_eq(entry.value, "one", 3);
    ck_assert(!entry.is_tree);
    ck_assert_int_eq(read_keys(cursor, keys), 1);
    ck_assert_str_eq(keys, "a2 b1 b2 big ");
    ck_assert_int_eq(hti_kvwalk_cursor_next(cursor, &entry, &error), 1);
    hti_kvwalk_cursor_close(cursor);
    rows.root = HTI_KVPAGE_NONE;
    cursor = open_cursor(NULL);
    ck_assert_int_eq(hti_kvwalk_cursor_next(cursor, &entry, &error), 1);
    hti_kvwalk_cursor_close(cursor);
    hti_kvwalk_cursor_close(NULL);
    free(image.data);
}
END_TEST

START_TEST(leaves_are_taken_whole_or_entry_by_entry)
{
    struct kv_image image;
    struct hti_kvwalk_entry entry;
    struct hti_kvwalk_leaf leaf;
    char keys[200];
    kv_init_sample(&image, 512);
    use_image(&image);
    struct hti_kvwalk_cursor *cursor = open_cursor(NULL);
    for (int i = 0; i < 2; i++) { /* it stays at hand */
        OK(hti_kvwalk_cursor_leaf(cursor, &leaf, &error));
        ck_assert_uint_eq(leaf.first, 0);
        ck_assert_uint_eq(leaf.n_entries, 2);
        ck_assert_mem_eq(leaf.data, image.data + 5 * 512, 512);
    }
    OK(hti_kvwalk_cursor_next(cursor, &entry, &error));
    OK(hti_kvwalk_cursor_leaf(cursor, &leaf, &error));
    ck_assert_uint_eq(leaf.first, 1);
    hti_kvwalk_cursor_skip_leaf(cursor);
    OK(hti_kvwalk_cursor_leaf(cursor, &leaf, &error));
    ck_assert_uint_eq(leaf.first, 0);
    ck_assert_int_eq(read_keys(cursor, keys), 1);
    ck_assert_str_eq(keys, "b1 b2 big ");
    ck_assert_int_eq(hti_kvwalk_cursor_leaf(cursor, &leaf, &error), 1);
    hti_kvwalk_cursor_close(cursor);
    kv_start_page(&image, 5, KV_LEAF); /* without entries */
    use_image(&image);
    cursor = open_cursor(NULL);
    ck_assert_int_eq(hti_kvwalk_cursor_leaf(cursor, &leaf, &error), HTSTORE_ECORRUPT);
    ck_assert_int_eq(hti_kvwalk_cursor_leaf(cursor, &leaf, &error), 1);
    hti_kvwalk_cursor_close(cursor);
    free(image.data);
}
END_TEST

START_TEST(a_bad_page_is_an_error_that_names_it)
{
    struct kv_image image;
    struct hti_kvwalk_entry entry;
    char keys[200];
    kv_init_sample(&image, 512);
    use_image(&image);
    ck_assert_int_eq(pwrite(memory_fd, "\x09", 1, 6 * 512), 1);
    struct hti_kvwalk_cursor *cursor = open_cursor(NULL);
    ck_assert_int_eq(read_keys(cursor, keys), HTSTORE_ECORRUPT);
    ck_assert_str_eq(keys, "a1 a2 ");
    ck_assert_ptr_nonnull(strstr(error.message, "page 6 is damaged: it bears the number of another page"));
    ck_assert_str_eq(error.path, "file");
    ck_assert_uint_eq(error.offset, 6 * 512);
    ck_assert_int_eq(hti_kvwalk_cursor_next(cursor, &entry, &error), 1);
    hti_kvwalk_cursor_close(cursor);
    free(image.data);
}
END_TEST

START_TEST(what_is_only_odd_is_an_error_too)
{
    struct kv_image image;
    char keys[200];
    for (int i = 0; i < 6; i++) {
        kv_init_sample(&image, 512);
        uint8_t *leaf = kv_page(&image, 6);
        if (i == 0)
            hti_store_le16(leaf + 12, 16); /* an empty leaf */
        else if (i == 1)
            memcpy(leaf + 16, leaf + 20, 2), memcpy(leaf + 18, leaf + 20, 2); /* an entry three times */
        else if (i == 2)
            hti_store_le16(kv_page(&image, 4) + 12, 18); /* one child */
        else if (i == 3)
            hti_store_le64(kv_page(&image, 7), 8); /* the number of the value's page */
        else if (i == 4)
            hti_store_le16(leaf + hti_load_le16(leaf + 16) + 4, 2); /* the record of a database */
        use_image(&image);
        rows.depth = i == 5 ? 3 : 2;
        struct hti_kvwalk_cursor *cursor = open_cursor(NULL);
        ck_assert_int_eq(read_keys(cursor, keys), HTSTORE_ECORRUPT);
        hti_kvwalk_cursor_close(cursor);
        free(image.data);
    }
}
END_TEST

static uint64_t bad_page;

static void note_bad(void *user, uint64_t page, const char *reason)
{
    (void)reason;
    ck_assert_ptr_eq(user, &bad_page);
    bad_page = page;
}

START_TEST(who_asks_to_hear_of_bad_pages_gets_the_rest)
{
    const struct hti_kvwalk_options options = { .bad = note_bad, .user = &bad_page };
    struct kv_image image;
    char keys[200];
    kv_init_sample(&image, 512);
    use_image(&image);
    ck_assert_int_eq(pwrite(memory_fd, "\x09", 1, 5 * 512), 1);
    bad_page = 0;
    struct hti_kvwalk_cursor *cursor = open_cursor(&options);
    ck_assert_int_eq(read_keys(cursor, keys), 1);
    ck_assert_str_eq(keys, "b1 b2 big ");
    ck_assert_uint_eq(bad_page, 5);
    hti_kvwalk_cursor_close(cursor);
    free(image.data);
}
END_TEST

START_TEST(records_of_databases_are_entries_if_asked_for)
{
    const struct hti_kvwalk_options options = { .trees = true };
    struct kv_image image;
    struct hti_kvwalk_entry entry;
    kv_init_sample(&image, 512);
    use_image(&image);
    rows = walk->file.meta.main_tree;
    struct hti_kvwalk_cursor *cursor = open_cursor(&options);
    OK(hti_kvwalk_cursor_next(cursor, &entry, &error));
    ck_assert(entry.is_tree);
    ck_assert_mem_eq(entry.key, "more", 4);
    hti_kvwalk_cursor_close(cursor);
    cursor = open_cursor(NULL);
    ck_assert_int_eq(hti_kvwalk_cursor_next(cursor, &entry, &error), HTSTORE_ECORRUPT);
    hti_kvwalk_cursor_close(cursor);
    free(image.data);
}
END_TEST

START_TEST(unreadable_pages_and_lack_of_memory_are_errors_of_their_own)
{
    struct kv_image image;
    char keys[200];
    int rc = HTSTORE_ENOMEM;
    kv_init_sample(&image, 512);
    use_image(&image);
    for (uint64_t page = 4; page < 8; page++) {
        hooks.fault_errno = EIO;
        hooks.fault_offset = page * 512 + 5;
        struct hti_kvwalk_cursor *cursor = open_cursor(NULL);
        ck_assert_int_eq(read_keys(cursor, keys), HTSTORE_EIO);
        ck_assert_int_eq(error.sys_errno, EIO);
        hti_kvwalk_cursor_close(cursor);
    }
    hooks.fault_errno = 0;
    for (uint64_t i = 0; rc == HTSTORE_ENOMEM; i++) {
        struct hti_kvwalk_cursor *cursor;
        hti_mem_test_fail(i, false);
        rc = hti_kvwalk_cursor_open(walk, &rows, NULL, &cursor, &error);
        if (rc == 0)
            rc = read_keys(cursor, keys);
        ck_assert_int_eq(rc == HTSTORE_ENOMEM, hti_mem_test_failed());
        hti_kvwalk_cursor_close(cursor);
    }
    ck_assert_int_eq(rc, 1);
    ck_assert_str_eq(keys, "a1 a2 b1 b2 big ");
    free(image.data);
}
END_TEST

/* ---- values in pieces ---- */

START_TEST(large_values_are_left_out_and_read_in_pieces)
{
    const struct hti_kvwalk_options options = { .max_value = 50000 };
    static uint8_t part[70000];
    struct hti_kvwalk_entry entry;
    MDB_env *env = open_env();
    put_rows(env, 1, 1, 1, 100);
    put_rows(env, 2, 1, 1, 50000);
    put_rows(env, 3, 1, 1, 50001);
    put_rows(env, 4, 1, 1, 150000);
    mdb_env_close(env);
    int fd = open_data();
    OK(hti_kvwalk_open(fd, false, path, &walk, &error));
    OK(hti_kvwalk_find_tree(walk, "rows", &rows, NULL, NULL, &error));
    for (int is_limited = 0; is_limited < 2; is_limited++) {
        struct hti_kvwalk_cursor *cursor = open_cursor(is_limited ? &options : NULL);
        for (uint8_t i = 1; i <= 4; i++) {
            OK(hti_kvwalk_cursor_next(cursor, &entry, &error));
            ck_assert_int_eq(entry.value == NULL, is_limited && i > 2);
            ck_assert_int_eq(entry.value_page != 0, i > 1);
            for (size_t at = 0; entry.value && at < entry.value_size; at++)
                ck_assert_uint_eq(entry.value[at], i);
        }
        ck_assert_uint_eq(entry.value_size, 150000);
        hti_kvwalk_cursor_close(cursor);
    }
    OK(hti_kvwalk_read_value(walk, entry.value_page, 149999 - 70000, part, 70000, &error));
    ck_assert(part[0] == 4 && part[1] == 4 && part[69999] == 4);
    OK(hti_kvwalk_read_value(walk, entry.value_page, 0, part, 1, &error));
    ck_assert_uint_eq(part[0], 4);
    close(fd);
}
END_TEST

START_TEST(a_value_that_is_left_out_is_checked_all_the_same)
{
    const struct hti_kvwalk_options options = { .max_value = 10 };
    struct kv_image image;
    char keys[200];
    kv_init_sample(&image, 512);
    kv_page(&image, 7)[0] = 8;
    use_image(&image);
    struct hti_kvwalk_cursor *cursor = open_cursor(&options);
    ck_assert_int_eq(read_keys(cursor, keys), HTSTORE_ECORRUPT);
    ck_assert_str_eq(keys, "a1 a2 b1 b2 ");
    hti_kvwalk_cursor_close(cursor);
    free(image.data);
}
END_TEST

START_TEST(pieces_outside_the_file_are_refused)
{
    struct kv_image image;
    uint8_t part[16];
    kv_init_sample(&image, 512);
    use_image(&image);
    OK(hti_kvwalk_read_value(walk, 11, 512 - 16 - 16, part, 16, &error));
    static const struct {
        uint64_t page, offset;
    } wrong[] = { { 11, 512 - 16 - 15 }, { 12, 0 }, { 1, 0 }, { 0, 0 }, { UINT64_MAX, 0 }, { 7, UINT64_MAX - 8 } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(hti_kvwalk_read_value(walk, wrong[i].page, wrong[i].offset, part, 16, &error),
                         HTSTORE_ECORRUPT);
    OK(ftruncate(memory_fd, 8 * 512 + 3));
    ck_assert_int_eq(hti_kvwalk_read_value(walk, 7, 500, part, 16, &error), HTSTORE_ECORRUPT);
    hooks.fault_errno = EIO;
    hooks.fault_offset = 7 * 512 + 20;
    ck_assert_int_eq(hti_kvwalk_read_value(walk, 7, 0, part, 16, &error), HTSTORE_EIO);
    free(image.data);
}
END_TEST

/* ---- many pages at a time ---- */

START_TEST(leaves_side_by_side_are_read_together)
{
    MDB_env *env = open_env();
    MDB_stat stat;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint64_t n_rows = 0;
    put_rows(env, 0, 40000, 1, 12);
    OK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    OK(mdb_dbi_open(txn, "rows", 0, &dbi));
    OK(mdb_stat(txn, dbi, &stat));
    mdb_txn_abort(txn);
    mdb_env_close(env);
    int fd = open_data();
    OK(hti_kvwalk_open(fd, false, path, &walk, &error));
    OK(hti_kvwalk_find_tree(walk, "rows", &rows, NULL, NULL, &error));
    hooks.n_reads = 0;
    OK(hti_kvwalk_walk(walk, &rows, count_entry, NULL, &n_rows, &error));
    ck_assert_uint_eq(n_rows, 40000);
    ck_assert_uint_lt(hooks.n_reads, stat.ms_leaf_pages / 20 + stat.ms_branch_pages);
    close(fd);
}
END_TEST

START_TEST(a_bad_sector_among_pages_read_together_costs_its_page_only)
{
    struct kv_image image;
    const struct hti_kvwalk_options options = { .bad = note_bad, .user = &bad_page };
    char expected[200], keys[200];
    kv_init_sample(&image, 512);
    image.n_pages = 20;
    image.size = 20 * 512;
    image.data = realloc(image.data, image.size);
    memset(image.data + 12 * 512, 0, 8 * 512);
    for (unsigned i = 0; i < 2; i++)
        hti_store_le64(kv_page(&image, i) + 136, 19);
    kv_start_page(&image, 4, KV_BRANCH);
    for (unsigned i = 0; i < 8; i++) {
        char key[2] = { (char)('a' + i), '\0' };
        kv_start_page(&image, 12 + i, KV_LEAF);
        kv_add_entry(&image, 12 + i, 0, key, "", 0);
        kv_add_child(&image, 4, i == 0 ? "" : key, 12 + i);
    }
    use_image(&image);
    for (unsigned i = 0; i < 8; i++) {
        hooks.fault_errno = EIO;
        hooks.fault_offset = (12 + i) * 512 + 300;
        struct hti_kvwalk_cursor *cursor = open_cursor(&options);
        ck_assert_int_eq(read_keys(cursor, keys), 1);
        hti_kvwalk_cursor_close(cursor);
        memcpy(expected, "a b c d e f g h ", 17);
        memmove(expected + 2 * i, expected + 2 * i + 2, 17 - 2 * i - 2);
        ck_assert_str_eq(keys, expected);
        ck_assert_uint_eq(bad_page, 12 + i);
        ck_assert_int_eq(walk->read_errno, EIO);
    }
    free(image.data);
}
END_TEST

/* The depth says leaf, but it is a branch: its children are read over the pages that it was read with. */
START_TEST(a_branch_where_leaves_were_expected_keeps_its_children)
{
    struct kv_image image;
    const struct hti_kvwalk_options options = { .bad = note_bad, .user = &bad_page };
    char keys[200];
    kv_init_sample(&image, 512);
    image.n_pages = 20;
    image.size = 20 * 512;
    image.data = realloc(image.data, image.size);
    memset(image.data + 12 * 512, 0, 8 * 512);
    for (unsigned i = 0; i < 2; i++)
        hti_store_le64(kv_page(&image, i) + 136, 19);
    kv_start_page(&image, 4, KV_BRANCH);
    kv_add_child(&image, 4, "", 12);
    kv_add_child(&image, 4, "c", 13);
    for (unsigned i = 0; i < 2; i++) {
        char low[2] = { i ? 'c' : 'a', '\0' }, high[2] = { i ? 'd' : 'b', '\0' };
        kv_start_page(&image, 12 + i, KV_BRANCH);
        kv_add_child(&image, 12 + i, "", 14 + 2 * i);
        kv_add_child(&image, 12 + i, high, 15 + 2 * i);
        kv_start_page(&image, 14 + 2 * i, KV_LEAF);
        kv_add_entry(&image, 14 + 2 * i, 0, low, "", 0);
        kv_start_page(&image, 15 + 2 * i, KV_LEAF);
        kv_add_entry(&image, 15 + 2 * i, 0, high, "", 0);
    }
    use_image(&image);
    for (rows.depth = 1; rows.depth < 6; rows.depth++) {
        struct hti_kvwalk_cursor *cursor = open_cursor(&options);
        ck_assert_int_eq(read_keys(cursor, keys), 1);
        ck_assert_str_eq(keys, "a b c d ");
        hti_kvwalk_cursor_close(cursor);
    }
    free(image.data);
}
END_TEST

static TCase *make_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    suite_add_tcase(suite, tests);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("kvwalk");
    TCase *tests = make_case(suite, "states");
    tcase_add_test(tests, a_pinned_state_is_walked_while_a_writer_goes_on);
    tcase_add_test(tests, both_states_of_a_file_are_found_and_no_other);
    tcase_add_test(tests, a_meta_that_does_not_rest_is_not_believed);
    tcase_add_test(tests, a_damaged_meta_is_told_and_the_other_is_not_taken_for_it);
    tests = make_case(suite, "entries");
    tcase_add_test(tests, entries_come_one_by_one_in_order);
    tcase_add_test(tests, leaves_are_taken_whole_or_entry_by_entry);
    tcase_add_test(tests, a_bad_page_is_an_error_that_names_it);
    tcase_add_test(tests, what_is_only_odd_is_an_error_too);
    tcase_add_test(tests, who_asks_to_hear_of_bad_pages_gets_the_rest);
    tcase_add_test(tests, records_of_databases_are_entries_if_asked_for);
    tcase_add_test(tests, unreadable_pages_and_lack_of_memory_are_errors_of_their_own);
    tests = make_case(suite, "values");
    tcase_add_test(tests, large_values_are_left_out_and_read_in_pieces);
    tcase_add_test(tests, a_value_that_is_left_out_is_checked_all_the_same);
    tcase_add_test(tests, pieces_outside_the_file_are_refused);
    tests = make_case(suite, "runs");
    tcase_add_test(tests, leaves_side_by_side_are_read_together);
    tcase_add_test(tests, a_bad_sector_among_pages_read_together_costs_its_page_only);
    tcase_add_test(tests, a_branch_where_leaves_were_expected_keeps_its_children);
    return check_run(suite);
}
