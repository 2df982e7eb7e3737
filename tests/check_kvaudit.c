/* Tests of kvaudit: what liblmdb wrote is sound, whatever was done; every kind of damage in the structure is found. */
#include "kvaudit.h"

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

#define OK(call) ck_assert_int_eq((call), 0)
#define N_ELEMENTS(array) ((int)(sizeof(array) / sizeof *(array)))
#define PAGE_SIZE 4096u

static char *directory;
static char path[300];
static struct htstore_error error;
static int memory_fd;
static uint64_t random_state;
static uint64_t fault_page; /* reads of it fail */
static int fault_errno;

/* In place of that of the C library. */
ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    if (fault_errno && (uint64_t)offset <= fault_page * 512 && fault_page * 512 - (uint64_t)offset < size) {
        errno = fault_errno;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, size, offset);
}

static void set_up(void)
{
    fault_errno = 0;
    memset(&error, 0, sizeof error);
    random_state = 42;
    directory = check_tmpdir();
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    memory_fd = memfd_create("check_kvaudit", MFD_CLOEXEC);
    ck_assert_int_ge(memory_fd, 0);
}

static void tear_down(void)
{
    fault_errno = 0;
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

/* ---- audits ---- */

static struct hti_kvaudit_totals totals;
static char findings[4000]; /* "tree: page+count: reason\n" */
static uint64_t n_progress;
static int stop_with;

static int note_finding(void *user, const struct hti_kvaudit_finding *finding)
{
    size_t used = strlen(findings);
    ck_assert_ptr_eq(user, &totals);
    snprintf(findings + used, sizeof findings - used, "%s: ", finding->tree ? finding->tree : "-");
    used = strlen(findings);
    if (finding->page != HTI_KVPAGE_NONE)
        snprintf(findings + used, sizeof findings - used, "%" PRIu64 "+%" PRIu64 ": ", finding->page, finding->n_pages);
    used = strlen(findings);
    snprintf(findings + used, sizeof findings - used, "%s\n", finding->reason);
    return stop_with;
}

static int note_progress(void *user, uint64_t n_done, uint64_t n_pages)
{
    ck_assert_ptr_eq(user, &totals);
    ck_assert_uint_le(n_done, n_pages);
    n_progress++;
    return stop_with;
}

static int audit(int fd)
{
    const struct hti_kvaudit_options options = { .finding = note_finding, .progress = note_progress, .user = &totals };
    struct hti_kvwalk *walk;
    int rc = hti_kvwalk_open(fd, false, "file", &walk, &error);
    findings[0] = '\0';
    memset(&totals, 0, sizeof totals);
    if (rc == 0)
        rc = hti_kvaudit_run(&walk->file, &options, &totals, &error);
    hti_kvwalk_close(walk);
    return rc;
}

static void store(const void *data, size_t size)
{
    OK(ftruncate(memory_fd, (off_t)size));
    ck_assert_int_eq(pwrite(memory_fd, data, size, 0), (ssize_t)size);
}

static void check_sound(int fd)
{
    OK(audit(fd));
    ck_assert_msg(totals.n_findings == 0, "%s", findings);
    ck_assert_uint_eq(totals.n_in_use + totals.n_free, totals.n_pages);
    ck_assert_uint_eq(totals.n_leaked + totals.n_doubly_used, 0);
}

/* ---- files of liblmdb ---- */

static MDB_env *open_env(void)
{
    MDB_env *env;
    OK(mdb_env_create(&env));
    OK(mdb_env_set_maxdbs(env, 400));
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

static size_t random_size(void)
{
    switch (random_below(12)) {
    case 0:
        return random_below(40000);
    case 1:
        return 1000 + random_below(3000);
    default:
        return random_below(200);
    }
}

static void change_row(MDB_txn *txn, MDB_dbi dbi)
{
    static uint8_t value[40000];
    uint8_t raw[511];
    size_t key_size = 1 + random_below(random_below(8) ? 12 : 400);
    memset(raw, 'k', sizeof raw);
    raw[0] = (uint8_t)random_below(64);
    raw[key_size - 1] = (uint8_t)random_below(256);
    MDB_val key = { key_size, raw }, stored = { random_size(), value };
    int rc = random_below(3) ? mdb_put(txn, dbi, &key, &stored, 0) : mdb_del(txn, dbi, &key, NULL);
    ck_assert(rc == 0 || rc == MDB_NOTFOUND);
}

/* A transaction: many changes in one database, now and then all of it emptied or dropped. */
static void commit_random(MDB_env *env)
{
    char name[20];
    MDB_txn *txn = begin(env);
    MDB_dbi dbi;
    snprintf(name, sizeof name, "db%d", (int)random_below(6));
    OK(mdb_dbi_open(txn, name, MDB_CREATE, &dbi));
    for (uint64_t left = random_below(400); left > 0; left--)
        change_row(txn, dbi);
    if (random_below(12) == 0)
        OK(mdb_drop(txn, dbi, (int)random_below(2)));
    if (random_below(10) == 0)
        mdb_txn_abort(txn);
    else
        OK(mdb_txn_commit(txn));
}

static int open_data(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(every_state_that_lmdb_commits_is_sound)
{
    random_state = (uint64_t)_i;
    MDB_env *env = open_env();
    MDB_txn *reader = NULL;
    int fd = open_data();
    for (int i = 0; i < 300; i++) {
        commit_random(env);
        /* What a reader holds back makes long lists of free pages. */
        if (i % 40 == 10)
            OK(mdb_txn_begin(env, NULL, MDB_RDONLY, &reader));
        if (i % 40 == 39)
            mdb_txn_abort(reader), reader = NULL;
        check_sound(fd);
    }
    ck_assert_uint_gt(totals.n_free, 10);
    ck_assert_uint_gt(totals.n_trees, 2);
    if (reader)
        mdb_txn_abort(reader);
    mdb_env_close(env);
    close(fd);
}
END_TEST

START_TEST(a_new_file_is_sound)
{
    MDB_env *env = open_env();
    int fd = open_data();
    check_sound(fd);
    ck_assert_uint_eq(totals.n_pages, 2);
    mdb_env_close(env);
    close(fd);
}
END_TEST

START_TEST(hundreds_of_databases_and_thousands_of_rows_are_counted)
{
    static uint8_t raw_value[64];
    MDB_env *env = open_env();
    MDB_txn *txn = begin(env);
    for (uint64_t i = 0; i < 300; i++) {
        char name[20];
        MDB_dbi dbi;
        snprintf(name, sizeof name, "t%" PRIu64, i);
        OK(mdb_dbi_open(txn, name, MDB_CREATE, &dbi));
        for (uint64_t j = 0; j < (i == 7 ? 100000 : i % 3); j++) {
            uint8_t raw[8];
            hti_store_be64(raw, j);
            MDB_val key = { 8, raw }, value = { 64, raw_value };
            OK(mdb_put(txn, dbi, &key, &value, 0));
        }
    }
    OK(mdb_txn_commit(txn));
    mdb_env_close(env);
    int fd = open_data();
    n_progress = 0;
    check_sound(fd);
    ck_assert_uint_ge(n_progress, 1);
    ck_assert_uint_eq(totals.n_trees, 300);
    ck_assert_uint_eq(totals.n_entries, 100000 - 1 + 300);
    ck_assert_uint_eq(n_progress, totals.n_read / 1024);
    stop_with = HTSTORE_ECANCELED;
    ck_assert_int_eq(audit(fd), HTSTORE_ECANCELED);
    stop_with = 0;
    close(fd);
}
END_TEST

/* A small file with all kinds of pages: two levels, long values, free pages, in a list of more than a page. */
static uint8_t *make_small_file(size_t *size)
{
    struct stat status;
    MDB_env *env = open_env();
    for (int i = 0; i < 3; i++) {
        MDB_txn *txn = begin(env);
        MDB_dbi dbi;
        OK(mdb_dbi_open(txn, i == 1 ? "second" : "first", MDB_CREATE, &dbi));
        for (int j = 0; j < 200; j++)
            change_row(txn, dbi);
        OK(mdb_txn_commit(txn));
    }
    mdb_env_close(env);
    int fd = open_data();
    OK(fstat(fd, &status));
    *size = (size_t)status.st_size;
    uint8_t *data = malloc(*size);
    ck_assert_int_eq(read(fd, data, *size), (ssize_t)*size);
    close(fd);
    return data;
}

/* A page whose header may be zeroed without a finding is not read. Of all others, every bit of the header is missed. */
START_TEST(every_bit_of_the_headers_in_use_matters)
{
    static const uint8_t zeros[16];
    size_t size;
    uint64_t n_in_use = 0;
    uint8_t *data = make_small_file(&size);
    store(data, size);
    check_sound(memory_fd);
    for (uint64_t page = 2; page < size / PAGE_SIZE; page++) {
        off_t at = (off_t)(page * PAGE_SIZE);
        ck_assert_int_eq(pwrite(memory_fd, zeros, 16, at), 16);
        OK(audit(memory_fd));
        uint64_t is_in_use = totals.n_findings > 0;
        n_in_use += is_in_use;
        for (unsigned bit = 0; is_in_use && bit < 128; bit++) {
            uint8_t header[16];
            if (bit / 16 == 4)
                continue; /* padding */
            memcpy(header, data + at, 16);
            header[bit / 8] ^= (uint8_t)(1u << bit % 8);
            ck_assert_int_eq(pwrite(memory_fd, header, 16, at), 16);
            OK(audit(memory_fd));
            ck_assert_msg(totals.n_findings > 0, "bit %u of page %" PRIu64, bit, page);
        }
        ck_assert_int_eq(pwrite(memory_fd, data + at, 16, at), 16);
    }
    ck_assert_uint_gt(n_in_use, 10);
    ck_assert_uint_lt(n_in_use, size / PAGE_SIZE - 10);
    check_sound(memory_fd);
    free(data);
}
END_TEST

START_TEST(changed_bytes_anywhere_never_crash)
{
    size_t size;
    uint64_t n_found = 0;
    uint8_t *data = make_small_file(&size), *copy = malloc(size);
    random_state = (uint64_t)_i;
    for (int i = 0; i < 1500; i++) {
        memcpy(copy, data, size);
        for (uint64_t left = random_below(6) + 1; left > 0; left--) {
            size_t at = random_below(2) ? (size_t)random_below(size)
                                        : (size_t)(random_below(size / PAGE_SIZE) * PAGE_SIZE + random_below(160));
            copy[at] = (uint8_t)(random_below(2) ? next_random() : copy[at] ^ (1u << random_below(8)));
        }
        store(copy, size);
        (void)audit(memory_fd);
        n_found += totals.n_findings > 0;
    }
    ck_assert_uint_gt(n_found, 100);
    free(copy);
    free(data);
}
END_TEST

/* ---- one fault each ---- */

static void set16(const struct kv_image *image, uint64_t page, unsigned at, uint16_t value)
{
    hti_store_le16(kv_page(image, page) + at, value);
}

static uint8_t *node_of(const struct kv_image *image, uint64_t page, unsigned i)
{
    uint8_t *data = kv_page(image, page);
    return data + hti_load_le16(data + 16 + 2 * i);
}

static uint8_t *key_of(const struct kv_image *image, uint64_t page, unsigned i)
{
    return node_of(image, page, i) + 8;
}

static void set_counters(uint8_t *raw, uint64_t n_branches, uint64_t n_leaves, uint64_t n_overflow, uint64_t n_entries)
{
    hti_store_le64(raw + 8, n_branches);
    hti_store_le64(raw + 16, n_leaves);
    hti_store_le64(raw + 24, n_overflow);
    hti_store_le64(raw + 32, n_entries);
}

/* The sample, with its counters. */
static void make_sample(struct kv_image *image)
{
    kv_init_sample(image, 512);
    for (unsigned i = 0; i < 2; i++) {
        set_counters(kv_page(image, i) + 40, 0, 1, 0, 1);
        set_counters(kv_page(image, i) + 88, 0, 1, 0, 2);
    }
    set_counters(key_of(image, 2, 0) + 4, 0, 1, 0, 1);
    set_counters(key_of(image, 2, 1) + 4, 1, 2, 3, 5);
    hti_store_le64(key_of(image, 3, 0), 4);
}

static void wrong_number(struct kv_image *i)
{
    kv_page(i, 5)[0] = 6;
}

static void wrong_kind(struct kv_image *i)
{
    set16(i, 5, 10, KV_OVERFLOW);
}

static void wrong_bounds(struct kv_image *i)
{
    set16(i, 5, 12, 15);
}

static void outside(struct kv_image *i)
{
    hti_store_le32(node_of(i, 4, 1), 12);
}

static void reached_twice(struct kv_image *i)
{
    hti_store_le32(node_of(i, 4, 1), 5);
}

static void reached_by_two_trees(struct kv_image *i)
{
    hti_store_le64(key_of(i, 2, 0) + 4 + 40, 5);
}

static void value_reached_twice(struct kv_image *i)
{
    hti_store_le32(kv_page(i, 7) + 12, 4); /* with page 10, which is that of another tree */
    key_of(i, 2, 1)[4 + 24] = 4;
}

static void value_outside(struct kv_image *i)
{
    hti_store_le64(key_of(i, 6, 2) + 3, 10);
}

static void value_elsewhere(struct kv_image *i)
{
    hti_store_le64(key_of(i, 6, 2) + 3, 8);
}

static void value_too_long(struct kv_image *i)
{
    hti_store_le32(kv_page(i, 7) + 12, 2);
}

static void gap(struct kv_image *i)
{
    set16(i, 5, 14, (uint16_t)(hti_load_le16(kv_page(i, 5) + 14) - 2));
}

static void entry_twice(struct kv_image *i)
{
    set16(i, 5, 16, hti_load_le16(kv_page(i, 5) + 18));
}

static void shorter_entry(struct kv_image *i)
{
    hti_store_le32(node_of(i, 6, 0), 1);
}

static void unknown_kind(struct kv_image *i)
{
    node_of(i, 6, 0)[4] = 8;
}

static void wrong_order(struct kv_image *i)
{
    key_of(i, 6, 0)[1] = '3';
}

static void equal_keys(struct kv_image *i)
{
    key_of(i, 6, 0)[1] = '2';
}

static void below_bounds(struct kv_image *i)
{
    key_of(i, 6, 0)[0] = 'a';
}

static void above_bounds(struct kv_image *i)
{
    key_of(i, 5, 1)[0] = 'c';
}

static void first_key(struct kv_image *i)
{
    kv_start_page(i, 4, KV_BRANCH);
    kv_add_child(i, 4, "a1", 5);
    kv_add_child(i, 4, "b1", 6);
}

static void one_child(struct kv_image *i)
{
    kv_start_page(i, 4, KV_BRANCH);
    kv_add_child(i, 4, "", 5);
}

static void empty_leaf(struct kv_image *i)
{
    kv_start_page(i, 10, KV_LEAF);
}

static void wrong_depth(struct kv_image *i)
{
    key_of(i, 2, 1)[4 + 6] = 3;
}

static void unequal_depth(struct kv_image *i)
{
    kv_start_page(i, 6, KV_LEAF);
    kv_add_entry(i, 6, 0, "b1", "", 0);
    kv_start_page(i, 5, KV_BRANCH);
    kv_add_child(i, 5, "", 7);
    kv_add_child(i, 5, "a2", 8);
    kv_start_page(i, 7, KV_LEAF);
    kv_add_entry(i, 7, 0, "a1", "", 0);
    kv_start_page(i, 8, KV_LEAF);
    kv_add_entry(i, 8, 0, "a2", "", 0);
}

static void counted_branches(struct kv_image *i)
{
    key_of(i, 2, 1)[4 + 8] = 2;
}

static void counted_leaves(struct kv_image *i)
{
    kv_page(i, 1)[88 + 16] = 2;
}

static void counted_overflow(struct kv_image *i)
{
    key_of(i, 2, 1)[4 + 24] = 2;
}

static void counted_entries(struct kv_image *i)
{
    key_of(i, 2, 0)[4 + 32] = 2;
}

static void counted_free(struct kv_image *i)
{
    kv_page(i, 1)[40 + 32] = 2;
}

static void tree_flags(struct kv_image *i)
{
    key_of(i, 2, 1)[4 + 4] = 4;
}

static void free_flags(struct kv_image *i)
{
    kv_page(i, 1)[40 + 4] |= 4;
}

static void plain_in_main(struct kv_image *i)
{
    node_of(i, 2, 0)[4] = 0;
}

static void tree_in_rows(struct kv_image *i)
{
    node_of(i, 5, 0)[4] = 2;
}

static void tree_in_free(struct kv_image *i)
{
    node_of(i, 3, 0)[4] = 2;
}

static void free_in_use(struct kv_image *i)
{
    hti_store_le64(key_of(i, 3, 0) + 16, 9);
}

static void put_free(struct kv_image *i, uint64_t first, uint64_t second, uint64_t count)
{
    uint8_t raw[24];
    hti_store_le64(raw, count);
    hti_store_le64(raw + 8, first);
    hti_store_le64(raw + 16, second);
    kv_start_page(i, 3, KV_LEAF);
    kv_add_entry(i, 3, 0, "\4\1\1\1\1\1\1\1", raw, sizeof raw);
    hti_store_le64(key_of(i, 3, 0), 4);
}

static void free_ascending(struct kv_image *i)
{
    put_free(i, 10, 11, 2);
}

static void free_outside(struct kv_image *i)
{
    put_free(i, 12, 11, 2);
}

static void free_meta(struct kv_image *i)
{
    put_free(i, 11, 1, 2);
}

static void free_count(struct kv_image *i)
{
    put_free(i, 11, 10, 3);
}

static void free_size(struct kv_image *i)
{
    kv_start_page(i, 3, KV_LEAF);
    kv_add_entry(i, 3, 0, "\4\1\1\1\1\1\1\1", "1234567", 7);
    hti_store_le64(key_of(i, 3, 0), 4);
}

static void free_key(struct kv_image *i)
{
    kv_start_page(i, 3, KV_LEAF);
    kv_add_entry(i, 3, 0, "four", "\1\0\0\0\0\0\0\0\013\0\0\0\0\0\0\0", 16);
}

static void free_later(struct kv_image *i)
{
    hti_store_le64(key_of(i, 3, 0), 8);
}

static void free_twice(struct kv_image *i)
{
    static const uint8_t record[16] = { 1, 0, 0, 0, 0, 0, 0, 0, 11 };
    kv_add_entry(i, 3, 0, "\5\1\1\1\1\1\1\1", record, sizeof record);
    hti_store_le64(key_of(i, 3, 1), 5);
    kv_page(i, 1)[40 + 32] = 2;
}

/* Little-endian numbers: 256 is more than 5, though its first byte is less. */
static void free_order(struct kv_image *i)
{
    static const uint8_t record[8] = { 0 };
    kv_add_entry(i, 3, 0, "\3\1\1\1\1\1\1\1", record, sizeof record);
    hti_store_le64(key_of(i, 3, 1), 3);
    kv_page(i, 1)[40 + 32] = 2;
}

static void leaked(struct kv_image *i)
{
    hti_store_le64(key_of(i, 3, 0) + 8, 0);
}

static void leaked_run(struct kv_image *i)
{
    leaked(i);
    kv_start_page(i, 6, KV_LEAF);
    kv_add_entry(i, 6, 0, "b1", "", 0);
    set_counters(key_of(i, 2, 1) + 4, 1, 2, 0, 3);
    kv_start_page(i, 2, KV_LEAF);
    kv_add_tree(i, 2, "rows", 2, 3, 4);
    set_counters(key_of(i, 2, 0) + 4, 1, 2, 0, 3);
    kv_page(i, 1)[88 + 32] = 1;
}

static void cut_free(struct kv_image *i)
{
    leaked(i);
    i->size = 11 * 512;
}

static void many_missing(struct kv_image *i)
{
    hti_store_le64(kv_page(i, 1) + 32, UINT64_C(1) << 40);
    hti_store_le64(kv_page(i, 1) + 136, UINT64_C(1) << 29);
}

static const struct {
    void (*damage)(struct kv_image *image);
    const char *expected;
} faults[] = {
    { wrong_number, "rows: 5+1: it bears the number of another page\n" },
    { wrong_kind, "rows: 5+1: it is neither a branch nor a leaf\n" },
    { wrong_bounds, "rows: 5+1: its bounds are impossible\n" },
    { outside, "rows: 12+1: it is not a page of the file\n-: 6+4: not reached" },
    { reached_twice, "rows: 5+1: it is reached twice\n" },
    { reached_by_two_trees, "rows: 5+1: it is reached twice\n" },
    { value_reached_twice, "rows: 7+1: the value on it has pages that are reached twice\n" },
    { value_outside, "rows: 6+1: a value lies outside the file\n" },
    { value_elsewhere, "rows: 8+1: it is not the start of a value\n" },
    { value_too_long, "rows: 7+1: the value on it has a wrong number of pages\n" },
    { gap, "rows: 5+1: its entries overlap, or leave gaps\n" },
    { entry_twice, "rows: 5+1: its entries overlap, or leave gaps\n" },
    { shorter_entry, "rows: 6+1: its entries overlap, or leave gaps\n" },
    { unknown_kind, "rows: 6+1: an entry is of unknown kind\n" },
    { wrong_order, "rows: 6+1: its keys do not ascend\n" },
    { equal_keys, "rows: 6+1: its keys do not ascend\n" },
    { below_bounds, "rows: 6+1: a key is below the bounds that its parent sets\n" },
    { above_bounds, "rows: 5+1: a key is above the bounds that its parent sets\n" },
    { first_key, "rows: 4+1: its first key is not empty\n" },
    { one_child, "rows: 4+1: it is a branch with fewer than two children\n" },
    { empty_leaf, "more: 10+1: it is an empty leaf\n" },
    { wrong_depth, "rows: 5+1: its depth is not the recorded one\n" },
    { unequal_depth, "rows: 7+1: its depth is not the recorded one\nrows: 8+1: its depth" },
    { counted_branches, "rows: 2 branch pages are recorded, 1 are there\n" },
    { counted_leaves, "the main tree: 2 leaf pages are recorded, 1 are there\n" },
    { counted_overflow, "rows: 2 pages of values are recorded, 3 are there\n" },
    { counted_entries, "more: 2 entries are recorded, 1 are there\n" },
    { counted_free, "the free list: 2 entries are recorded, 1 are there\n" },
    { tree_flags, "the main tree: 2+1: the record of a database has unknown flags\n" },
    { free_flags, "-: 1+1: the free list has unknown flags\n" },
    { plain_in_main, "the main tree: 2+1: an entry of the main tree is no database\n" },
    { tree_in_rows, "rows: 5+1: an entry is the record of a database\n" },
    { tree_in_free, "the free list: 3+1: an entry is the record of a database\n" },
    { free_in_use, "-: 9+1: in use and free\n-: 11+1: leaked" },
    { free_ascending, "the free list: 3+1: the free pages in it do not descend\n" },
    { free_outside, "the free list: 3+1: a free page in it is not one of the file\n" },
    { free_meta, "the free list: 3+1: a free page in it is not one of the file\n" },
    { free_count, "the free list: 3+1: a record of the free list has a wrong count\n" },
    { free_size, "the free list: 3+1: a record of the free list has a wrong size\n" },
    { free_key, "the free list: 3+1: a key has an impossible size\n" },
    { free_later, "the free list: 3+1: it is of a transaction that is still to come\n" },
    { free_twice, "the free list: 3+1: a free page in it is free twice\n" },
    { free_order, "the free list: 3+1: its keys do not ascend\n" },
    { leaked, "-: 11+1: leaked: neither in a tree nor free\n" },
    { leaked_run, "-: 7+5: leaked: neither in a tree nor free\n" },
    { cut_free, "-: 11+1: the file ends before it, and it is not free\n" },
    { many_missing, "-: 12+536870901: the file ends before it, and it is not free\n" },
};

START_TEST(every_kind_of_damage_is_found)
{
    struct kv_image image;
    make_sample(&image);
    store(image.data, image.size);
    check_sound(memory_fd);
    faults[_i].damage(&image);
    store(image.data, image.size);
    OK(audit(memory_fd));
    ck_assert_msg(strstr(findings, faults[_i].expected), "'%s' not in:\n%s", faults[_i].expected, findings);
    ck_assert_uint_gt(totals.n_findings, 0);
    free(image.data);
}
END_TEST

START_TEST(free_pages_at_the_end_may_be_missing)
{
    struct kv_image image;
    make_sample(&image);
    store(image.data, image.size - 512);
    check_sound(memory_fd);
    ck_assert_uint_eq(totals.n_free, 1);
    free(image.data);
}
END_TEST

START_TEST(pages_are_counted_by_what_they_are)
{
    struct kv_image image;
    make_sample(&image);
    free_in_use(&image);
    store(image.data, image.size);
    OK(audit(memory_fd));
    ck_assert_uint_eq(totals.n_pages, 12);
    ck_assert_uint_eq(totals.n_read, 9);
    ck_assert_uint_eq(totals.n_in_use, 11);
    ck_assert_uint_eq(totals.n_free, 1);
    ck_assert_uint_eq(totals.n_doubly_used, 1);
    ck_assert_uint_eq(totals.n_leaked, 1);
    ck_assert_uint_eq(totals.n_trees, 2);
    ck_assert_uint_eq(totals.n_entries, 6);
    ck_assert_uint_eq(totals.n_findings, 2);
    free(image.data);
}
END_TEST

/* A list of free pages that takes pages of its own, read in more than one piece. */
START_TEST(long_records_of_the_free_list_are_read)
{
    struct kv_image image;
    uint8_t raw[8];
    kv_init_sample(&image, 512);
    uint64_t n_free = 1000, n_pages = 8 * (n_free + 1) / 512 + 1;
    free(image.data);
    kv_init(&image, 512, 3 + n_pages + n_free);
    kv_put_meta(&image, 0, 6);
    kv_put_meta(&image, 1, 7);
    kv_set_free_root(&image, 1, 1, 2);
    set_counters(kv_page(&image, 1) + 40, 0, 1, n_pages, 1);
    kv_start_page(&image, 2, KV_LEAF);
    hti_store_le64(raw, 3);
    kv_add_big_entry(&image, 2, "\4\1\1\1\1\1\1\1", (uint32_t)(8 * (n_free + 1)), 3);
    hti_store_le64(key_of(&image, 2, 0), 4);
    kv_put_value(&image, 3, (uint32_t)n_pages, "");
    uint8_t *record = kv_page(&image, 3) + 16;
    hti_store_le64(record, n_free);
    for (uint64_t i = 0; i < n_free; i++)
        hti_store_le64(record + 8 + 8 * i, image.n_pages - 1 - i);
    store(image.data, image.size);
    check_sound(memory_fd);
    ck_assert_uint_eq(totals.n_free, n_free);
    hti_store_le64(record + 8 * n_free, 0);
    store(image.data, image.size);
    OK(audit(memory_fd));
    ck_assert_ptr_nonnull(strstr(findings, "the free list: 2+1: a free page in it is not one of the file\n"));
    free(image.data);
}
END_TEST

START_TEST(trees_end_at_32_levels)
{
    struct kv_image image;
    kv_init(&image, 512, 3 + 2 * 40 + 1);
    kv_put_meta(&image, 0, 6);
    kv_put_meta(&image, 1, 7);
    kv_set_main_root(&image, 1, 1, 2);
    kv_start_page(&image, 2, KV_LEAF);
    kv_add_tree(&image, 2, "deep", 32, 1, 3);
    for (unsigned i = 0; i < 40; i++) {
        kv_start_page(&image, 3 + 2 * i, KV_BRANCH);
        kv_add_child(&image, 3 + 2 * i, "", 5 + 2 * i);
        kv_add_child(&image, 3 + 2 * i, "k", 4 + 2 * i);
        kv_start_page(&image, 4 + 2 * i, KV_LEAF);
        kv_add_entry(&image, 4 + 2 * i, 0, "key", "value", 5);
    }
    store(image.data, image.size);
    OK(audit(memory_fd));
    ck_assert_ptr_nonnull(strstr(findings, "deep: 67+1: it is deeper than 32 levels\n"));
    free(image.data);
}
END_TEST

START_TEST(names_of_databases_are_shown_without_controls)
{
    struct kv_image image;
    make_sample(&image);
    memcpy(key_of(&image, 2, 0), "m\n\xff\\", 4);
    counted_entries(&image);
    store(image.data, image.size);
    OK(audit(memory_fd));
    ck_assert_str_eq(findings, "m\\x0A\\xFF\\\\: 2 entries are recorded, 1 are there\n");
    free(image.data);
}
END_TEST

START_TEST(an_audit_stops_when_asked)
{
    struct kv_image image;
    for (int i = 0; i < N_ELEMENTS(faults); i++) {
        make_sample(&image);
        faults[i].damage(&image);
        store(image.data, image.size);
        stop_with = 77;
        ck_assert_int_eq(audit(memory_fd), 77);
        ck_assert_uint_eq(totals.n_findings, 1);
        stop_with = 0;
        free(image.data);
    }
}
END_TEST

START_TEST(a_bad_sector_is_a_finding_and_another_error_ends_the_audit)
{
    static const uint64_t pages[] = { 2, 3, 4, 5, 6, 7, 10 };
    struct kv_image image;
    make_sample(&image);
    store(image.data, image.size);
    for (int i = 0; i < N_ELEMENTS(pages); i++) {
        char expected[60];
        fault_errno = EIO;
        fault_page = pages[i];
        OK(audit(memory_fd));
        snprintf(expected, sizeof expected, ": %" PRIu64 "+1: it cannot be read\n", pages[i]);
        ck_assert_msg(strstr(findings, expected), "%s", findings);
        fault_errno = EBADF;
        ck_assert_int_eq(audit(memory_fd), HTSTORE_EIO);
        ck_assert_int_eq(error.sys_errno, EBADF);
    }
    free(image.data);
}
END_TEST

START_TEST(every_lack_of_memory_is_a_clean_error)
{
    struct kv_image image;
    uint64_t i;
    int rc = HTSTORE_ENOMEM;
    make_sample(&image);
    store(image.data, image.size);
    for (i = 0; rc == HTSTORE_ENOMEM; i++) {
        hti_mem_test_fail(i, false);
        rc = audit(memory_fd);
        ck_assert_int_eq(rc == HTSTORE_ENOMEM, hti_mem_test_failed());
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_ge(i, 8);
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
    Suite *suite = suite_create("kvaudit");
    TCase *tests = make_case(suite, "sound_files");
    tcase_add_test(tests, a_new_file_is_sound);
    tcase_add_loop_test(tests, every_state_that_lmdb_commits_is_sound, 0, 4);
    tcase_add_test(tests, hundreds_of_databases_and_thousands_of_rows_are_counted);
    tcase_add_test(tests, free_pages_at_the_end_may_be_missing);
    tcase_add_test(tests, pages_are_counted_by_what_they_are);
    tcase_add_test(tests, long_records_of_the_free_list_are_read);
    tests = make_case(suite, "damage");
    tcase_add_loop_test(tests, every_kind_of_damage_is_found, 0, N_ELEMENTS(faults));
    tcase_add_test(tests, trees_end_at_32_levels);
    tcase_add_test(tests, names_of_databases_are_shown_without_controls);
    tcase_add_test(tests, every_bit_of_the_headers_in_use_matters);
    tcase_add_loop_test(tests, changed_bytes_anywhere_never_crash, 0, 3);
    tests = make_case(suite, "failing_calls");
    tcase_add_test(tests, an_audit_stops_when_asked);
    tcase_add_test(tests, a_bad_sector_is_a_finding_and_another_error_ends_the_audit);
    tcase_add_test(tests, every_lack_of_memory_is_a_clean_error);
    return check_run(suite);
}
