/* Tests of kv: transactions, handles that are pinned and closed, and the map that grows under readers. */
#include "kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "mem.h"
#include "samples.h"

#define MIB ((uint64_t)1 << 20)
#define ROWS 1u /* a database */
#define BIG_SIZE 65536u

static char *directory;
static int dir_fd = -1;
static struct hti_kv *kv;
static struct htstore_error error;

static void open_with(uint64_t map_size, uint32_t max_pinned)
{
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = directory, .map_size = map_size, .max_pinned = max_pinned, .max_readers = 126
    };
    ck_assert_int_eq(hti_kv_open(&options, &kv, &error), 0);
}

static void set_up(void)
{
    sample_seed(1);
    directory = check_tmpdir();
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
    open_with(MIB, 4);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_kv_close(kv);
    kv = NULL;
    close(dir_fd);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    check_tmpdir_remove(directory);
}

static void reopen(uint64_t map_size, uint32_t max_pinned)
{
    hti_kv_close(kv);
    open_with(map_size, max_pinned);
}

static struct hti_kv_bytes text(const char *s)
{
    return (struct hti_kv_bytes){ s, strlen(s) };
}

static void acquire(uint64_t database)
{
    ck_assert_int_eq(hti_kv_acquire(kv, database, true, &error), 0);
}

static struct hti_kv_write *begin_write(void)
{
    struct hti_kv_write *write;
    ck_assert_int_eq(hti_kv_begin(kv, &write, &error), 0);
    return write;
}

static struct hti_kv_read *begin_read(bool slow)
{
    struct hti_kv_read *read;
    ck_assert_int_eq(hti_kv_read_begin(kv, slow, &read, &error), 0);
    return read;
}

static void put(uint64_t database, const char *key, const char *value)
{
    struct hti_kv_write *write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, database, text(key), text(value), &error), 0);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
}

static void expect_in(struct hti_kv_read *read, uint64_t database, const char *key, const char *expected)
{
    struct hti_kv_bytes value;
    const int rc = hti_kv_read_get(read, database, text(key), &value, &error);

    ck_assert_int_eq(rc, expected ? 0 : 1);
    if (expected) {
        ck_assert_uint_eq(value.size, strlen(expected));
        ck_assert(memcmp(value.data, expected, value.size) == 0);
    }
}

static void expect(uint64_t database, const char *key, const char *expected)
{
    struct hti_kv_read *read = begin_read(false);
    expect_in(read, database, key, expected);
    hti_kv_read_end(read);
}

static bool exists(uint64_t database)
{
    const int rc = hti_kv_acquire(kv, database, false, &error);
    ck_assert_int_ge(rc, 0);
    if (rc == 0)
        hti_kv_release(kv, database);
    return rc == 0;
}

/* --- rows --- */

START_TEST(what_is_committed_is_found)
{
    struct hti_kv_bytes value;
    struct hti_kv_write *write;

    acquire(ROWS);
    write = begin_write();
    ck_assert_int_eq(hti_kv_get(write, ROWS, text("a"), &value, &error), 1);
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("a"), text("one"), &error), 0);
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("b"), text(""), &error), 0);
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("a"), text("two"), &error), 0);
    ck_assert_int_eq(hti_kv_get(write, ROWS, text("a"), &value, &error), 0);
    ck_assert(value.size == 3 && memcmp(value.data, "two", 3) == 0);
    expect(ROWS, "a", NULL); /* not yet */
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    expect(ROWS, "a", "two");
    expect(ROWS, "b", "");
    expect(ROWS, "c", NULL);

    write = begin_write();
    ck_assert_int_eq(hti_kv_remove(write, ROWS, text("a"), &error), 0);
    ck_assert_int_eq(hti_kv_remove(write, ROWS, text("a"), &error), 1);
    ck_assert_int_eq(hti_kv_remove(write, ROWS, text("c"), &error), 1);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    expect(ROWS, "a", NULL);
    expect(ROWS, "b", "");
    reopen(MIB, 4);
    acquire(ROWS);
    expect(ROWS, "b", "");
}
END_TEST

START_TEST(an_aborted_transaction_changes_nothing)
{
    struct hti_kv_write *write;

    acquire(ROWS);
    put(ROWS, "a", "one");
    const uint64_t id = hti_kv_last_id(kv);
    write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("a"), text("two"), &error), 0);
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("b"), text("two"), &error), 0);
    hti_kv_abort(write);
    hti_kv_abort(NULL);
    expect(ROWS, "a", "one");
    expect(ROWS, "b", NULL);
    ck_assert_uint_eq(hti_kv_last_id(kv), id);
}
END_TEST

START_TEST(keys_of_1_to_511_bytes_are_taken)
{
    static char key[HTI_KV_MAX_KEY_SIZE + 2];
    struct hti_kv_write *write;

    memset(key, 'k', HTI_KV_MAX_KEY_SIZE);
    acquire(ROWS);
    put(ROWS, key, "longest");
    put(ROWS, "x", "shortest");
    expect(ROWS, key, "longest");
    expect(ROWS, "x", "shortest");
    key[HTI_KV_MAX_KEY_SIZE] = 'k';
    write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, ROWS, text(key), text("v"), &error), HTSTORE_EIO);
    hti_kv_abort(write);
    write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, ROWS, text(""), text("v"), &error), HTSTORE_EIO);
    hti_kv_abort(write);
}
END_TEST

START_TEST(a_read_keeps_its_instant)
{
    struct hti_kv_read *early, *late;

    acquire(ROWS);
    put(ROWS, "a", "one");
    early = begin_read(true);
    put(ROWS, "a", "two");
    late = begin_read(false);
    expect_in(early, ROWS, "a", "one");
    expect_in(late, ROWS, "a", "two");
    ck_assert_uint_eq(hti_kv_read_id(late), hti_kv_read_id(early) + 1);
    ck_assert_uint_eq(hti_kv_read_id(late), hti_kv_last_id(kv));
    hti_kv_read_end(late);
    hti_kv_read_end(early);
    hti_kv_read_end(NULL);
}
END_TEST

START_TEST(a_cursor_walks_in_key_order)
{
    static const char *const keys[] = { "b", "a", "ab", "c", "aa" }, *const sorted[] = { "a", "aa", "ab", "b", "c" };
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    struct hti_kv_read *read;

    acquire(ROWS);
    for (int i = 0; i < 5; i++)
        put(ROWS, keys[i], keys[i]);
    read = begin_read(true);
    ck_assert_int_eq(hti_kv_cursor_open(read, ROWS, &cursor, &error), 0);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, &error), 0);
        ck_assert(key.size == strlen(sorted[i]) && memcmp(key.data, sorted[i], key.size) == 0);
        ck_assert(value.size == key.size && memcmp(value.data, sorted[i], key.size) == 0);
    }
    ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, &error), 1);
    ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, &error), 1);
    hti_kv_cursor_close(cursor);
    hti_kv_cursor_close(NULL);
    hti_kv_read_end(read);
}
END_TEST

START_TEST(an_empty_database_and_none_have_no_rows)
{
    static const uint64_t databases[] = { ROWS, 0 };
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    struct hti_kv_shape shape;

    acquire(ROWS);
    for (int i = 0; i < 2; i++) {
        struct hti_kv_read *read = begin_read(false);
        expect_in(read, databases[i], "a", NULL);
        ck_assert_int_eq(hti_kv_cursor_open(read, databases[i], &cursor, &error), 0);
        ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, &error), 1);
        hti_kv_cursor_close(cursor);
        ck_assert_int_eq(hti_kv_read_shape(read, databases[i], &shape, &error), 0);
        ck_assert_uint_eq(shape.n_entries, 0);
        hti_kv_read_end(read);
    }
}
END_TEST

/* "Absent" would be a wrong answer: the rows are there, only this process has no handle for them. */
START_TEST(a_database_that_is_not_open_is_no_empty_one)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes value;
    struct hti_kv_read *read;

    acquire(ROWS);
    put(ROWS, "a", "one");
    reopen(MIB, 4);
    read = begin_read(false);
    ck_assert_int_eq(hti_kv_read_get(read, ROWS, text("a"), &value, &error), HTSTORE_EBUSY);
    ck_assert_int_eq(error.code, HTSTORE_EBUSY);
    ck_assert_int_eq(hti_kv_cursor_open(read, ROWS, &cursor, &error), HTSTORE_EBUSY);
    ck_assert_ptr_null(cursor);
    hti_kv_read_end(read);
    acquire(ROWS);
    expect(ROWS, "a", "one");
}
END_TEST

/* --- trimming and dropping --- */

static void put_many(uint64_t database, unsigned n, size_t value_size)
{
    struct hti_kv_write *write = begin_write();
    uint8_t key[8], *value = calloc(1, value_size);

    ck_assert_ptr_nonnull(value);
    for (unsigned i = 0; i < n; i++) {
        hti_store_be64(key, i);
        ck_assert_int_eq(hti_kv_put(write, database, (struct hti_kv_bytes){ key, 8 },
                                    (struct hti_kv_bytes){ value, value_size }, &error),
                         0);
    }
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    free(value);
}

static uint64_t count_rows(uint64_t database)
{
    struct hti_kv_read *read = begin_read(false);
    struct hti_kv_shape shape;

    ck_assert_int_eq(hti_kv_read_shape(read, database, &shape, &error), 0);
    hti_kv_read_end(read);
    return shape.n_entries;
}

START_TEST(a_database_is_trimmed_in_slices_from_the_front)
{
    struct hti_kv_write *write;
    struct hti_kv_bytes value;
    uint8_t key[8];
    bool left;

    acquire(ROWS);
    put_many(ROWS, 100, 10);
    write = begin_write();
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 30, &left, &error), 0);
    ck_assert(left);
    hti_store_be64(key, 29);
    ck_assert_int_eq(hti_kv_get(write, ROWS, (struct hti_kv_bytes){ key, 8 }, &value, &error), 1);
    hti_store_be64(key, 30);
    ck_assert_int_eq(hti_kv_get(write, ROWS, (struct hti_kv_bytes){ key, 8 }, &value, &error), 0);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    ck_assert_uint_eq(count_rows(ROWS), 70);

    write = begin_write();
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 0, &left, &error), 0);
    ck_assert(left);
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 69, &left, &error), 0);
    ck_assert(left);
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 1, &left, &error), 0);
    ck_assert(!left);
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 5, &left, &error), 0);
    ck_assert(!left);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    ck_assert_uint_eq(count_rows(ROWS), 0);
}
END_TEST

START_TEST(large_values_are_trimmed_too)
{
    struct hti_kv_write *write;
    bool left;

    acquire(ROWS);
    put_many(ROWS, 9, 50000);
    write = begin_write();
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 5, &left, &error), 0);
    ck_assert(left);
    ck_assert_int_eq(hti_kv_trim(write, ROWS, 100, &left, &error), 0);
    ck_assert(!left);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    ck_assert_uint_eq(count_rows(ROWS), 0);
}
END_TEST

START_TEST(rows_are_appended_to_several_databases_in_turn)
{
    char key[16];

    acquire(1);
    acquire(2);
    struct hti_kv_write *write = begin_write();
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%04d", i);
        ck_assert_int_eq(hti_kv_append(write, 1 + (uint64_t)(i / 10 % 2), text(key), text("v"), NULL, &error), 0);
        if (i % 100 == 50) /* other changes in between */
            ck_assert_int_eq(hti_kv_put(write, 2 - (uint64_t)(i / 10 % 2), text("a"), text("b"), &error), 0);
    }
    ck_assert_int_eq(hti_kv_append(write, 2, text("k0999"), text("v"), NULL, &error), HTSTORE_ECORRUPT);
    hti_kv_abort(write);
    expect(1, "k0000", NULL);
    write = begin_write();
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%04d", i);
        ck_assert_int_eq(hti_kv_append(write, 1 + (uint64_t)(i / 10 % 2), text(key), text("v"), NULL, &error), 0);
    }
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%04d", i);
        expect(1 + (uint64_t)(i / 10 % 2), key, "v");
        expect(2 - (uint64_t)(i / 10 % 2), key, NULL);
    }
    hti_kv_release(kv, 1);
    hti_kv_release(kv, 2);
}
END_TEST

/* Rows in ascending order, some there and some not, of which some are replaced by larger ones and some are removed. */
START_TEST(rows_are_offered_found_replaced_and_removed_in_order)
{
    struct hti_kv_bytes stored;
    char key[16], value[3000];

    acquire(1);
    struct hti_kv_write *write = begin_write();
    ck_assert_int_eq(hti_kv_last_key(write, 1, &stored, &error), 1);
    for (int i = 0; i < 2000; i += 2) {
        snprintf(key, sizeof key, "k%04d", i);
        ck_assert_int_eq(hti_kv_offer(write, 1, text(key), text("old"), &stored, &error), 0);
        ck_assert(stored.size == 3 && memcmp(stored.data, "old", 3) == 0);
    }
    ck_assert_int_eq(hti_kv_last_key(write, 1, &stored, &error), 0);
    ck_assert(stored.size == 5 && memcmp(stored.data, "k1998", 5) == 0);
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "k%04d", i);
        if (i % 5 == 0) {
            ck_assert_int_eq(hti_kv_find(write, 1, text(key), &stored, &error), i % 2);
            if (i % 2 == 0)
                ck_assert_int_eq(hti_kv_remove_found(write, &error), 0);
            continue;
        }
        ck_assert_int_eq(hti_kv_offer(write, 1, text(key), text("new"), &stored, &error), i % 2 == 0);
        ck_assert(stored.size == 3 && memcmp(stored.data, i % 2 ? "new" : "old", 3) == 0);
        if (i % 4 == 0)
            ck_assert_int_eq(hti_kv_replace_found(write, text(key),
                                                  (struct hti_kv_bytes){ value, i % 3 ? 3 : sizeof value }, &stored,
                                                  &error),
                             0);
    }
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    for (int i = 0; i < 2000; i++) {
        struct hti_kv_read *read = begin_read(false);
        snprintf(key, sizeof key, "k%04d", i);
        ck_assert_int_eq(hti_kv_read_get(read, 1, text(key), &stored, &error), i % 5 == 0);
        if (i % 5 != 0) {
            ck_assert_uint_eq(stored.size, i % 4 == 0 && i % 3 == 0 ? sizeof value : 3);
            ck_assert(memcmp(stored.data, i % 4 == 0 ? value : i % 2 ? "new" : "old", stored.size) == 0);
        }
        hti_kv_read_end(read);
    }
    hti_kv_release(kv, 1);
}
END_TEST

START_TEST(commits_that_do_not_sync_are_commits)
{
    acquire(ROWS);
    ck_assert(!hti_kv_defers_syncs(kv));
    ck_assert_int_eq(hti_kv_defer_syncs(kv, true, &error), 0);
    ck_assert(hti_kv_defers_syncs(kv));
    put(ROWS, "a", "1");
    put(ROWS, "b", "2");
    expect(ROWS, "a", "1");
    ck_assert_int_eq(hti_kv_defer_syncs(kv, false, &error), 0);
    ck_assert(!hti_kv_defers_syncs(kv));
    put(ROWS, "c", "3");
    hti_kv_release(kv, ROWS);
    reopen(MIB, 4);
    acquire(ROWS);
    expect(ROWS, "a", "1");
    expect(ROWS, "b", "2");
    expect(ROWS, "c", "3");
    hti_kv_release(kv, ROWS);
}
END_TEST

START_TEST(a_dropped_database_is_gone)
{
    struct hti_kv_write *write;

    acquire(ROWS);
    put(ROWS, "a", "one");
    write = begin_write();
    ck_assert_int_eq(hti_kv_drop(write, ROWS, &error), 0);
    ck_assert(!hti_kv_is_pinned(kv, ROWS));
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    ck_assert(!exists(ROWS));
    acquire(ROWS); /* made anew, empty */
    expect(ROWS, "a", NULL);
}
END_TEST

START_TEST(a_drop_that_is_aborted_keeps_the_rows)
{
    struct hti_kv_write *write;

    acquire(ROWS);
    put(ROWS, "a", "one");
    write = begin_write();
    ck_assert_int_eq(hti_kv_drop(write, ROWS, &error), 0);
    hti_kv_abort(write);
    ck_assert(!hti_kv_is_pinned(kv, ROWS)); /* its handle is gone all the same */
    ck_assert_int_eq(hti_kv_acquire(kv, ROWS, false, &error), 0);
    expect(ROWS, "a", "one");
}
END_TEST

START_TEST(other_databases_can_be_used_after_a_drop_in_one_transaction)
{
    struct hti_kv_write *write;

    acquire(ROWS);
    acquire(2);
    put(ROWS, "a", "one");
    write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, 2, text("a"), text("two"), &error), 0);
    ck_assert_int_eq(hti_kv_drop(write, ROWS, &error), 0);
    ck_assert_int_eq(hti_kv_put(write, 2, text("b"), text("two"), &error), 0);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    acquire(3); /* may get the handle that was ROWS' */
    put(3, "a", "three");
    expect(2, "a", "two");
    expect(2, "b", "two");
    expect(3, "a", "three");
}
END_TEST

/* --- handles --- */

START_TEST(a_database_that_does_not_exist_is_not_made_by_chance)
{
    ck_assert_int_eq(hti_kv_acquire(kv, 7, false, &error), 1);
    ck_assert(!hti_kv_is_pinned(kv, 7));
    ck_assert_int_eq(hti_kv_acquire(kv, HTI_KV_CATALOG, false, &error), 1);
    acquire(HTI_KV_CATALOG);
    ck_assert_int_eq(hti_kv_acquire(kv, 7, false, &error), 1);
}
END_TEST

START_TEST(pins_are_counted)
{
    acquire(ROWS);
    acquire(ROWS);
    ck_assert(hti_kv_is_pinned(kv, ROWS));
    hti_kv_release(kv, ROWS);
    ck_assert(hti_kv_is_pinned(kv, ROWS));
    hti_kv_release(kv, ROWS);
    ck_assert(!hti_kv_is_pinned(kv, ROWS));
    ck_assert_int_eq(hti_kv_acquire(kv, ROWS, false, &error), 0);
    hti_kv_release(kv, ROWS);
}
END_TEST

/* More databases than handles: those that nobody pins make room, and come back when they are asked for. */
START_TEST(any_number_of_databases_can_be_used_in_turn)
{
    char value[24];

    acquire(HTI_KV_CATALOG);
    put(HTI_KV_CATALOG, "catalogue", "stays open");
    hti_kv_release(kv, HTI_KV_CATALOG); /* pinned or not */
    for (int round = 0; round < 3; round++) {
        for (uint64_t database = 1; database <= 20; database++) {
            acquire(database);
            snprintf(value, sizeof value, "%d of %d", round, (int)database);
            put(database, "a", value);
            expect(database, "a", value);
            hti_kv_release(kv, database);
        }
        expect(HTI_KV_CATALOG, "catalogue", "stays open");
    }
    for (uint64_t database = 1; database <= 20; database++) {
        ck_assert_int_eq(hti_kv_acquire(kv, database, false, &error), 0);
        snprintf(value, sizeof value, "2 of %d", (int)database);
        expect(database, "a", value);
        hti_kv_release(kv, database);
    }
}
END_TEST

START_TEST(pinned_databases_keep_their_handles)
{
    struct hti_kv_read *read;
    char value[24];

    for (uint64_t database = 1; database <= 4; database++) {
        acquire(database);
        snprintf(value, sizeof value, "of %d", (int)database);
        put(database, "a", value);
    }
    read = begin_read(true);
    ck_assert_int_eq(hti_kv_acquire(kv, 4, false, &error), 0); /* pinned already: once more is no matter */
    ck_assert_int_eq(hti_kv_acquire(kv, 5, false, &error), HTSTORE_EBUSY);
    ck_assert_int_eq(error.code, HTSTORE_EBUSY);
    for (uint64_t database = 5; database <= 30; database++) { /* as a flush does it: one or two at a time */
        acquire(database);
        put(database, "a", "more");
        hti_kv_release(kv, database);
    }
    for (uint64_t database = 1; database <= 4; database++) {
        ck_assert(hti_kv_is_pinned(kv, database));
        snprintf(value, sizeof value, "of %d", (int)database);
        expect_in(read, database, "a", value);
        expect(database, "a", value);
    }
    hti_kv_read_end(read);
    hti_kv_release(kv, 1);
    ck_assert_int_eq(hti_kv_acquire(kv, 5, false, &error), 0);
    expect(5, "a", "more");
}
END_TEST

START_TEST(the_handle_that_was_used_longest_ago_is_closed)
{
    struct hti_kv_bytes value;
    struct hti_kv_read *read;
    uint64_t database = 1;
    int rc = 0;

    for (; rc == 0 && database < 100; database++) { /* until the first one has gone */
        acquire(database);
        put(database, "a", "x");
        hti_kv_release(kv, database);
        if (database == 1)
            continue;
        ck_assert_int_eq(hti_kv_acquire(kv, 2, false, &error), 0); /* in use again and again */
        hti_kv_release(kv, 2);
        read = begin_read(false);
        rc = hti_kv_read_get(read, 1, text("a"), &value, &error);
        hti_kv_read_end(read);
    }
    ck_assert_int_eq(rc, HTSTORE_EBUSY);
    for (uint64_t i = 2; i < database; i++)
        expect(i, "a", "x");
}
END_TEST

START_TEST(readers_open_what_fits)
{
    uint64_t databases[40];
    struct hti_kv_bytes value;
    struct hti_kv_read *read;
    int n_open = 0;

    for (uint64_t i = 0; i < 39; i++) {
        databases[i] = i + 1;
        acquire(i + 1);
        put(i + 1, "a", "x");
        hti_kv_release(kv, i + 1);
    }
    databases[39] = 1000; /* there is none */
    reopen(MIB, 4);
    ck_assert_int_eq(hti_kv_open_all(kv, databases, 40, &error), 0);
    ck_assert_int_eq(hti_kv_open_all(kv, databases, 40, &error), 0);
    read = begin_read(true);
    for (uint64_t i = 0; i < 39; i++) {
        const int rc = hti_kv_read_get(read, databases[i], text("a"), &value, &error);
        ck_assert(rc == 0 || rc == HTSTORE_EBUSY);
        n_open += rc == 0;
    }
    hti_kv_read_end(read);
    ck_assert_int_ge(n_open, 4);
    ck_assert_int_lt(n_open, 39);
}
END_TEST

START_TEST(names_in_the_file_are_understood)
{
    uint64_t database;

    ck_assert(hti_kv_parse_name(text("!catalog"), &database));
    ck_assert_uint_eq(database, HTI_KV_CATALOG);
    ck_assert(hti_kv_parse_name(text("t000000000000002a"), &database));
    ck_assert_uint_eq(database, 42);
    ck_assert(!hti_kv_parse_name(text("t000000000000002A"), &database));
    ck_assert(!hti_kv_parse_name(text("t2a"), &database));
    ck_assert(!hti_kv_parse_name(text("words"), &database));
    ck_assert(!hti_kv_parse_name(text(""), &database));
    ck_assert(!hti_kv_parse_name(text("t000000000000002a0"), &database));
    ck_assert(!hti_kv_parse_name((struct hti_kv_bytes){ "t000000000000002a", 18 }, &database)); /* with its NUL */
    ck_assert(!hti_kv_parse_name(text("tfffffffffffffffe"), &database));
}
END_TEST

/* --- growth --- */

START_TEST(a_full_map_is_grown_and_the_work_done_again)
{
    static uint8_t big[BIG_SIZE];
    struct hti_kv_stats stats;
    struct hti_kv_write *write;
    unsigned n = 0;
    int rc = 0;

    acquire(ROWS);
    for (write = begin_write(); rc == 0; n++) {
        uint8_t key[8];
        hti_store_be64(key, n);
        rc = hti_kv_put(write, ROWS, (struct hti_kv_bytes){ key, 8 }, (struct hti_kv_bytes){ big, BIG_SIZE }, &error);
    }
    ck_assert_int_eq(rc, HTI_KV_MAP_FULL);
    hti_kv_abort(write);
    ck_assert_uint_lt(n, 16);
    ck_assert_uint_eq(count_rows(ROWS), 0);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.growths, 0);
    ck_assert_uint_le(stats.map_size, MIB + 65536);
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.growths, 1);
    ck_assert_uint_ge(stats.map_size, 100 * MIB);
    put_many(ROWS, 100, BIG_SIZE);
    ck_assert_uint_eq(count_rows(ROWS), 100);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_ge(stats.data_bytes, 100 * (uint64_t)BIG_SIZE);
}
END_TEST

START_TEST(a_commit_may_be_what_fills_the_map)
{
    struct hti_kv_write *write;
    unsigned n_full = 0, n = 0;
    static uint8_t value[1900];

    /* page by page towards the limit: the free list of the last commits is what does not fit */
    acquire(ROWS);
    for (int rc = 0; n_full == 0; n++) {
        ck_assert_uint_lt(n, 5000);
        uint8_t key[8];
        hti_store_be64(key, n);
        write = begin_write();
        rc = hti_kv_put(write, ROWS, (struct hti_kv_bytes){ key, 8 }, (struct hti_kv_bytes){ value, sizeof value },
                        &error);
        if (rc == 0) {
            rc = hti_kv_commit(write, &error);
            write = NULL;
        }
        hti_kv_abort(write);
        ck_assert(rc == 0 || rc == HTI_KV_MAP_FULL);
        n_full += rc == HTI_KV_MAP_FULL;
    }
    ck_assert_uint_eq(count_rows(ROWS), n - 1);
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
    put(ROWS, "after", "growth");
    expect(ROWS, "after", "growth");
}
END_TEST

START_TEST(opening_a_database_grows_a_full_map)
{
    static uint8_t big[3000];
    struct hti_kv_write *write;
    struct hti_kv_stats stats;
    unsigned n = 0;
    int rc = 0;

    acquire(ROWS);
    while (rc == 0) { /* commits until nothing goes in any more */
        uint8_t key[8];
        hti_store_be64(key, n++);
        write = begin_write();
        rc = hti_kv_put(write, ROWS, (struct hti_kv_bytes){ key, 8 }, (struct hti_kv_bytes){ big, sizeof big }, &error);
        if (rc == 0) {
            rc = hti_kv_commit(write, &error);
            write = NULL;
        }
        hti_kv_abort(write);
    }
    ck_assert_int_eq(rc, HTI_KV_MAP_FULL);
    uint64_t database = 1;
    do {
        ck_assert_uint_lt(++database, 3000);
        acquire(database);
        hti_kv_release(kv, database);
        hti_kv_stats(kv, &stats);
    } while (stats.growths == 0);
    for (; database > 1; database--)
        ck_assert(exists(database));
}
END_TEST

START_TEST(a_slow_reader_forbids_growth)
{
    struct hti_kv_stats stats;
    struct hti_kv_read *slow, *second;

    acquire(ROWS);
    put(ROWS, "a", "one");
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.slow_readers, 0);
    ck_assert_uint_eq(stats.oldest_read_id, UINT64_MAX);
    slow = begin_read(true);
    put(ROWS, "a", "two");
    second = begin_read(true);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.slow_readers, 2);
    ck_assert_uint_eq(stats.oldest_read_id, hti_kv_read_id(slow));
    ck_assert_int_eq(hti_kv_grow(kv, &error), HTSTORE_EBUSY);
    ck_assert_int_eq(error.code, HTSTORE_EBUSY);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.growths, 0);
    expect_in(slow, ROWS, "a", "one");
    hti_kv_read_end(slow);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.oldest_read_id, hti_kv_read_id(second));
    ck_assert_int_eq(hti_kv_grow(kv, &error), HTSTORE_EBUSY);
    expect_in(second, ROWS, "a", "two");
    hti_kv_read_end(second);
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
    expect(ROWS, "a", "two");
}
END_TEST

START_TEST(a_map_is_tight_when_a_quarter_is_left)
{
    static uint8_t big[BIG_SIZE];

    acquire(ROWS);
    ck_assert(!hti_kv_is_tight(kv, 1000));
    ck_assert(hti_kv_is_tight(kv, 2 * MIB));
    for (unsigned i = 0; i < 10; i++) {
        struct hti_kv_write *write = begin_write();
        uint8_t key[8];
        hti_store_be64(key, i);
        ck_assert_int_eq(
            hti_kv_put(write, ROWS, (struct hti_kv_bytes){ key, 8 }, (struct hti_kv_bytes){ big, sizeof big }, &error),
            0);
        ck_assert_int_eq(hti_kv_commit(write, &error), 0);
        if (i == 5)
            ck_assert(!hti_kv_is_tight(kv, 1000));
    }
    put_many(ROWS, 3, 40000);
    ck_assert(hti_kv_is_tight(kv, 1000));
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
    ck_assert(!hti_kv_is_tight(kv, 1000));
}
END_TEST

/* An address space that is too small: LMDB would be left without any map if the new one were not tried before. */
START_TEST(growth_without_address_space_is_refused_and_harmless)
{
    struct rlimit old, limit;
    unsigned long n_pages;
    struct hti_kv_stats stats;

    acquire(ROWS);
    put(ROWS, "a", "one");
    FILE *statm = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(statm);
    ck_assert_int_eq(fscanf(statm, "%lu", &n_pages), 1);
    fclose(statm);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &old), 0);
    limit = old;
    limit.rlim_cur = n_pages * (unsigned long)sysconf(_SC_PAGESIZE) + (512u << 10);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    const int rc = hti_kv_grow(kv, &error);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &old), 0);
    ck_assert_int_eq(rc, HTSTORE_ENOMEM);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.growths, 0);
    expect(ROWS, "a", "one");
    put(ROWS, "a", "two");
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
    expect(ROWS, "a", "two");
}
END_TEST

START_TEST(with_little_address_space_the_map_is_smaller)
{
    struct hti_kv_stats stats;
    struct rlimit old, limit;
    unsigned long n_pages;

    acquire(ROWS);
    put(ROWS, "a", "one");
    hti_kv_close(kv);
    kv = NULL;
    FILE *statm = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(statm);
    ck_assert_int_eq(fscanf(statm, "%lu", &n_pages), 1);
    fclose(statm);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &old), 0);
    limit = old;
    limit.rlim_cur = n_pages * (unsigned long)sysconf(_SC_PAGESIZE) + (100u << 20);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    open_with((uint64_t)1 << 33, 4);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &old), 0);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_ge(stats.map_size, 8 * MIB);
    ck_assert_uint_le(stats.map_size, 128 * MIB);
    acquire(ROWS);
    expect(ROWS, "a", "one");
}
END_TEST

/* --- a full disk, damage, other processes --- */

START_TEST(a_full_disk_is_lack_of_space_and_passes)
{
    static uint8_t big[BIG_SIZE];
    struct hti_kv_write *write;
    struct rlimit old, limit;
    struct hti_kv_stats stats;

    acquire(ROWS);
    put(ROWS, "a", "one");
    hti_kv_stats(kv, &stats);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = stats.data_bytes + BIG_SIZE / 2;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 3; i++) {
        write = begin_write();
        ck_assert_int_eq(hti_kv_put(write, ROWS, text("b"), (struct hti_kv_bytes){ big, sizeof big }, &error), 0);
        ck_assert_int_eq(hti_kv_commit(write, &error), HTSTORE_ENOSPC);
        ck_assert_int_eq(error.code, HTSTORE_ENOSPC);
        expect(ROWS, "a", "one");
        expect(ROWS, "b", NULL);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("b"), (struct hti_kv_bytes){ big, sizeof big }, &error), 0);
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
    ck_assert_uint_eq(count_rows(ROWS), 2);
}
END_TEST

/* Set the flags of every page that holds the text to what no page of a tree has. */
static void damage_pages_with(const char *needle)
{
    const int fd = openat(dir_fd, "data.mdb", O_RDWR | O_CLOEXEC);
    const size_t page_size = hti_kv_page_size(kv);
    uint8_t *page = malloc(page_size);
    const uint8_t flags[2] = { 4, 0 };
    int n = 0;

    ck_assert_int_ge(fd, 0);
    ck_assert_ptr_nonnull(page);
    for (off_t at = 0; pread(fd, page, page_size, at) == (ssize_t)page_size; at += (off_t)page_size)
        if (memmem(page, page_size, needle, strlen(needle))) {
            ck_assert_int_eq(pwrite(fd, flags, sizeof flags, at + 10), (ssize_t)sizeof flags);
            n++;
        }
    ck_assert_int_ge(n, 1);
    free(page);
    close(fd);
}

/* The first error is what is told, also when the transaction is taken from the pool again. */
START_TEST(a_damaged_page_is_an_error_each_time)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    struct hti_kv_read *read;

    acquire(ROWS);
    acquire(2);
    put(ROWS, "a", "needle");
    put(2, "a", "intact");
    damage_pages_with("needle");
    for (int i = 0; i < 3; i++) {
        read = begin_read(false);
        ck_assert_int_eq(hti_kv_read_get(read, ROWS, text("a"), &value, &error), HTSTORE_ECORRUPT);
        ck_assert_int_eq(error.code, HTSTORE_ECORRUPT);
        hti_kv_read_end(read);
        expect(2, "a", "intact");
        read = begin_read(false);
        ck_assert_int_eq(hti_kv_cursor_open(read, ROWS, &cursor, &error), 0);
        ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, &error), HTSTORE_ECORRUPT);
        hti_kv_cursor_close(cursor);
        hti_kv_read_end(read);
    }
    struct hti_kv_write *write = begin_write();
    ck_assert_int_eq(hti_kv_get(write, ROWS, text("a"), &value, &error), HTSTORE_ECORRUPT);
    hti_kv_abort(write);
    write = begin_write();
    ck_assert_int_eq(hti_kv_put(write, ROWS, text("b"), text("x"), &error), HTSTORE_ECORRUPT);
    hti_kv_abort(write);
    put(2, "b", "works");
}
END_TEST

static void make_strange_database(const char *name)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 4), 0);
    ck_assert_int_eq(mdb_env_open(env, directory, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, name, MDB_CREATE | MDB_REVERSEKEY, &dbi), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

START_TEST(a_database_with_another_order_is_refused)
{
    hti_kv_close(kv);
    kv = NULL;
    make_strange_database("t0000000000000007");
    open_with(MIB, 4);
    ck_assert_int_eq(hti_kv_acquire(kv, 7, false, &error), HTSTORE_ECORRUPT);
    ck_assert_int_eq(hti_kv_acquire(kv, 7, true, &error), HTSTORE_ECORRUPT);
    acquire(ROWS);
    put(ROWS, "a", "one");
    expect(ROWS, "a", "one");
}
END_TEST

/* In a process of its own: LMDB must not cross a fork. */
static void grow_file_as_owner(int go)
{
    char c;

    kv = NULL; /* the parent's */
    if (read(go, &c, 1) != 1)
        _exit(1);
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = directory, .map_size = 64 * MIB, .max_pinned = 4, .max_readers = 126
    };
    static uint8_t big[BIG_SIZE];
    struct hti_kv_write *write;
    int rc = hti_kv_open(&options, &kv, NULL);
    if (rc == 0)
        rc = hti_kv_acquire(kv, ROWS, true, NULL);
    if (rc == 0)
        rc = hti_kv_begin(kv, &write, NULL);
    for (uint8_t i = 0; rc == 0 && i < 200; i++)
        rc = hti_kv_put(write, ROWS, (struct hti_kv_bytes){ &i, 1 }, (struct hti_kv_bytes){ big, sizeof big }, NULL);
    if (rc == 0)
        rc = hti_kv_commit(write, NULL);
    hti_kv_close(kv);
    _exit(rc != 0);
}

START_TEST(a_reader_follows_a_file_that_outgrew_its_map)
{
    struct hti_kv_stats stats;
    struct hti_kv_read *read;
    int go[2], status;
    uint8_t key = 199;
    struct hti_kv_bytes value;

    acquire(ROWS);
    put(ROWS, "a", "one");
    hti_kv_close(kv);
    kv = NULL;
    ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        grow_file_as_owner(go[0]);
    open_with(MIB, 4);
    acquire(ROWS);
    expect(ROWS, "a", "one");
    ck_assert_int_eq(write(go[1], "x", 1), 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    read = begin_read(false);
    ck_assert_int_eq(hti_kv_read_get(read, ROWS, (struct hti_kv_bytes){ &key, 1 }, &value, &error), 0);
    ck_assert_uint_eq(value.size, BIG_SIZE);
    hti_kv_read_end(read);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.growths, 1);
    ck_assert_uint_ge(stats.map_size, 200 * (uint64_t)BIG_SIZE);
    close(go[0]);
    close(go[1]);
}
END_TEST

/* --- growth under readers in other threads --- */

struct crowd {
    _Atomic bool done;
    _Atomic unsigned n_wrong;
    _Atomic unsigned n_reads;
};

/* All rows of a state carry its number: a mixture would show. */
static void check_state(struct crowd *c, struct hti_kv_read *read)
{
    struct hti_kv_bytes first, value;
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key;
    unsigned n = 0;

    if (hti_kv_read_get(read, ROWS, text("00"), &first, NULL) != 0 || first.size != 8 ||
        hti_kv_cursor_open(read, ROWS, &cursor, NULL) != 0) {
        atomic_fetch_add(&c->n_wrong, 1);
        return;
    }
    while (hti_kv_cursor_next(cursor, &key, &value, NULL) == 0 && ++n)
        if (value.size != 8 || memcmp(value.data, first.data, 8) != 0)
            atomic_fetch_add(&c->n_wrong, 1);
    hti_kv_cursor_close(cursor);
    if (n != 20)
        atomic_fetch_add(&c->n_wrong, 1);
}

static void *run_reader(void *argument)
{
    struct crowd *c = argument;
    struct hti_kv_stats stats;
    uint64_t last_id = 0;

    while (!atomic_load(&c->done)) {
        struct hti_kv_read *read;
        if (hti_kv_read_begin(kv, false, &read, NULL) != 0) {
            atomic_fetch_add(&c->n_wrong, 1);
            continue;
        }
        if (hti_kv_read_id(read) < last_id)
            atomic_fetch_add(&c->n_wrong, 1);
        last_id = hti_kv_read_id(read);
        check_state(c, read);
        hti_kv_read_end(read);
        hti_kv_stats(kv, &stats);
        if (hti_kv_last_id(kv) < last_id)
            atomic_fetch_add(&c->n_wrong, 1);
        atomic_fetch_add(&c->n_reads, 1);
    }
    return NULL;
}

static int write_state(uint64_t number)
{
    struct hti_kv_write *write = begin_write();
    uint8_t value[8];
    char key[16];
    int rc = 0;

    hti_store_le64(value, number);
    for (int i = 0; rc == 0 && i < 20; i++) {
        snprintf(key, sizeof key, "%02d", i);
        rc = hti_kv_put(write, ROWS, text(key), (struct hti_kv_bytes){ value, 8 }, &error);
    }
    if (rc == 0)
        return hti_kv_commit(write, &error);
    hti_kv_abort(write);
    return rc;
}

START_TEST(the_map_grows_while_others_read)
{
    enum { N_THREADS = 3 };
    struct crowd c = { 0 };
    struct hti_kv_stats stats;
    pthread_t threads[N_THREADS];
    uint64_t number = 0;

    acquire(ROWS);
    ck_assert_int_eq(write_state(number++), 0);
    for (int i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_reader, &c), 0);
    for (int growths = 0; growths < 8; growths++) { /* each makes a new map of at least 1 GiB more */
        for (int i = 0; i < 10; i++)
            ck_assert_int_eq(write_state(number++), 0);
        ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
        acquire(100 + (uint64_t)growths); /* handles come and go meanwhile */
        hti_kv_release(kv, 100 + (uint64_t)growths);
        const unsigned seen = atomic_load(&c.n_reads);
        while (atomic_load(&c.n_reads) < seen + 5)
            sched_yield();
    }
    atomic_store(&c.done, true);
    for (int i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&c.n_wrong), 0);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_eq(stats.growths, 8);
}
END_TEST

static void *run_slow_reader(void *argument)
{
    struct crowd *c = argument;

    for (int i = 0; !atomic_load(&c->done); i++) {
        struct hti_kv_read *read;
        if (hti_kv_read_begin(kv, i % 3 == 0, &read, NULL) != 0) {
            atomic_fetch_add(&c->n_wrong, 1);
            continue;
        }
        check_state(c, read);
        hti_kv_read_end(read);
        atomic_fetch_add(&c->n_reads, 1);
    }
    return NULL;
}

/* Growth is refused or done, and either way nobody sees a torn state. */
START_TEST(growth_and_slow_readers_meet_at_any_moment)
{
    struct crowd c = { 0 };
    pthread_t threads[3];
    uint64_t number = 0;
    int n_grown = 0;

    acquire(ROWS);
    ck_assert_int_eq(write_state(number++), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_slow_reader, &c), 0);
    for (int i = 0; i < 200; i++) {
        const int written = write_state(number); /* slow readers keep old pages, and so may fill the map */
        ck_assert(written == 0 || written == HTI_KV_MAP_FULL);
        number += written == 0;
        if (n_grown < 10) {
            const int rc = hti_kv_grow(kv, &error);
            ck_assert(rc == 0 || rc == HTSTORE_EBUSY);
            n_grown += rc == 0;
        }
    }
    while (atomic_load(&c.n_reads) < 20)
        sched_yield();
    atomic_store(&c.done, true);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&c.n_wrong), 0);
}
END_TEST

START_TEST(more_readers_than_the_pool_holds_are_served)
{
    struct hti_kv_read *reads[100];

    acquire(ROWS);
    put(ROWS, "a", "one");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++)
            reads[i] = begin_read(i % 2);
        for (int i = 0; i < 100; i++)
            expect_in(reads[i], ROWS, "a", "one");
        for (int i = 0; i < 100; i++)
            hti_kv_read_end(reads[i]);
    }
}
END_TEST

START_TEST(when_all_reader_slots_are_taken_the_next_is_refused)
{
    struct hti_kv_read *reads[200], *one_more = NULL;
    int n = 0;

    acquire(ROWS);
    while (n < 200 && hti_kv_read_begin(kv, false, &reads[n], &error) == 0)
        n++;
    ck_assert_int_ge(n, 100);
    ck_assert_int_lt(n, 200);
    ck_assert_int_eq(error.code, HTSTORE_EBUSY);
    ck_assert_int_eq(hti_kv_read_begin(kv, false, &one_more, &error), HTSTORE_EBUSY);
    ck_assert_ptr_null(one_more);
    hti_kv_read_end(reads[--n]);
    reads[n] = begin_read(false);
    for (int i = 0; i <= n; i++)
        hti_kv_read_end(reads[i]);
}
END_TEST

/* --- sizes --- */

START_TEST(shapes_count_rows_and_pages)
{
    struct hti_kv_shape shape;
    struct hti_kv_write *write;

    acquire(ROWS);
    put_many(ROWS, 1000, 8);
    write = begin_write();
    ck_assert_int_eq(hti_kv_shape(write, ROWS, &shape, &error), 0);
    hti_kv_abort(write);
    ck_assert_uint_eq(shape.n_entries, 1000);
    ck_assert_uint_ge(shape.leaf_pages, 6);
    ck_assert_uint_ge(shape.bytes, 1000 * 26);
    ck_assert_uint_lt(shape.bytes, 1000 * 60);
    ck_assert_uint_eq(shape.bytes % hti_kv_page_size(kv), 0);
}
END_TEST

/* Against LMDB itself: the pages that one value adds. */
START_TEST(overflow_pages_are_foretold)
{
    static const size_t sizes[] = { 0,    1,    1000, 2013, 2014, 2021, 2022, 2023,
                                    4000, 4071, 4072, 4080, 4081, 8176, 8177, 50000 };
    static uint8_t big[50000];
    uint8_t key[8] = { 0 };

    acquire(ROWS);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct hti_kv_write *write = begin_write();
        struct hti_kv_shape before, after;
        ck_assert_int_eq(hti_kv_put(write, ROWS, text("other"), text("row"), &error), 0);
        ck_assert_int_eq(hti_kv_shape(write, ROWS, &before, &error), 0);
        ck_assert_int_eq(
            hti_kv_put(write, ROWS, (struct hti_kv_bytes){ key, 8 }, (struct hti_kv_bytes){ big, sizes[i] }, &error),
            0);
        ck_assert_int_eq(hti_kv_shape(write, ROWS, &after, &error), 0);
        ck_assert_uint_eq((after.bytes - before.bytes) / hti_kv_page_size(kv), hti_kv_overflow_pages(kv, 8, sizes[i]));
        hti_kv_abort(write);
    }
}
END_TEST

/* --- opening --- */

START_TEST(descriptors_are_closed_on_exec)
{
    char path[64], target[4096];
    int n = 0;

    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t size = readlink(path, target, sizeof target - 1);
        if (size < 0)
            continue;
        target[size] = '\0';
        if (!strstr(target, ".mdb"))
            continue;
        ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        n++;
    }
    ck_assert_int_ge(n, 2);
}
END_TEST

START_TEST(a_reader_sees_what_the_owner_wrote_and_cannot_write)
{
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = directory, .readonly = true, .map_size = MIB, .max_pinned = 4, .max_readers = 126
    };
    struct hti_kv_write *write;

    acquire(ROWS);
    put(ROWS, "a", "one");
    hti_kv_close(kv);
    ck_assert_int_eq(hti_kv_open(&options, &kv, &error), 0);
    ck_assert_int_eq(hti_kv_acquire(kv, ROWS, false, &error), 0);
    expect(ROWS, "a", "one");
    ck_assert_int_eq(hti_kv_begin(kv, &write, &error), HTSTORE_EREADONLY);
    ck_assert_ptr_null(write);
}
END_TEST

static void expect_no_open(int status)
{
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = directory, .map_size = MIB, .max_pinned = 4, .max_readers = 126
    };
    struct hti_kv *other = NULL;

    ck_assert_int_eq(hti_kv_open(&options, &other, &error), status);
    ck_assert_int_eq(error.code, status);
    ck_assert_ptr_null(other);
}

START_TEST(files_that_are_none_of_lmdbs_are_refused)
{
    static const uint8_t garbage[8192] = { 1, 2, 3 };
    int fd;

    hti_kv_close(kv);
    kv = NULL;
    fd = openat(dir_fd, "data.mdb", O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, garbage, sizeof garbage), (ssize_t)sizeof garbage);
    close(fd);
    expect_no_open(HTSTORE_ECORRUPT);
    ck_assert_int_eq(unlinkat(dir_fd, "data.mdb", 0), 0);
    ck_assert_int_eq(mkdirat(dir_fd, "data.mdb", 0700), 0);
    expect_no_open(HTSTORE_EFORMAT);
    ck_assert_int_eq(unlinkat(dir_fd, "data.mdb", AT_REMOVEDIR), 0);
    open_with(MIB, 4);
}
END_TEST

START_TEST(opening_without_memory_fails_cleanly)
{
    hti_kv_close(kv);
    kv = NULL;
    for (uint64_t after = 0; after < 2; after++) {
        hti_mem_test_fail(after, true);
        expect_no_open(HTSTORE_ENOMEM);
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
    hti_kv_close(NULL);
    open_with(MIB, 4);
    struct hti_kv_write *write;
    struct hti_kv_read *read;
    struct hti_kv_cursor *cursor;
    acquire(ROWS);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_kv_begin(kv, &write, &error), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, &error), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    read = begin_read(false);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_kv_cursor_open(read, ROWS, &cursor, &error), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    hti_kv_read_end(read);
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0); /* nobody was counted as a reader who is none */
}
END_TEST

START_TEST(a_map_smaller_than_the_file_is_made_larger)
{
    struct hti_kv_stats stats;

    acquire(ROWS);
    ck_assert_int_eq(hti_kv_grow(kv, &error), 0);
    put_many(ROWS, 80, BIG_SIZE);
    reopen(MIB, 4);
    hti_kv_stats(kv, &stats);
    ck_assert_uint_ge(stats.map_size, stats.data_bytes);
    acquire(ROWS);
    ck_assert_uint_eq(count_rows(ROWS), 80);
    ck_assert_ptr_nonnull(strstr(hti_kv_version(), "LMDB"));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, what_is_committed_is_found);
    tcase_add_test(tests, an_aborted_transaction_changes_nothing);
    tcase_add_test(tests, keys_of_1_to_511_bytes_are_taken);
    tcase_add_test(tests, a_read_keeps_its_instant);
    tcase_add_test(tests, a_cursor_walks_in_key_order);
    tcase_add_test(tests, an_empty_database_and_none_have_no_rows);
    tcase_add_test(tests, a_database_that_is_not_open_is_no_empty_one);
    tcase_add_test(tests, a_database_is_trimmed_in_slices_from_the_front);
    tcase_add_test(tests, large_values_are_trimmed_too);
    tcase_add_test(tests, rows_are_offered_found_replaced_and_removed_in_order);
    tcase_add_test(tests, rows_are_appended_to_several_databases_in_turn);
    tcase_add_test(tests, commits_that_do_not_sync_are_commits);
    tcase_add_test(tests, a_dropped_database_is_gone);
    tcase_add_test(tests, a_drop_that_is_aborted_keeps_the_rows);
    tcase_add_test(tests, other_databases_can_be_used_after_a_drop_in_one_transaction);
    tcase_add_test(tests, a_database_that_does_not_exist_is_not_made_by_chance);
    tcase_add_test(tests, pins_are_counted);
    tcase_add_test(tests, any_number_of_databases_can_be_used_in_turn);
    tcase_add_test(tests, pinned_databases_keep_their_handles);
    tcase_add_test(tests, the_handle_that_was_used_longest_ago_is_closed);
    tcase_add_test(tests, readers_open_what_fits);
    tcase_add_test(tests, names_in_the_file_are_understood);
}

static void add_fault_tests(TCase *tests)
{
    tcase_add_test(tests, a_full_disk_is_lack_of_space_and_passes);
    tcase_add_test(tests, a_damaged_page_is_an_error_each_time);
    tcase_add_test(tests, a_database_with_another_order_is_refused);
    tcase_add_test(tests, a_reader_follows_a_file_that_outgrew_its_map);
}

static void add_growth_tests(TCase *tests)
{
    tcase_add_test(tests, a_full_map_is_grown_and_the_work_done_again);
    tcase_add_test(tests, a_commit_may_be_what_fills_the_map);
    tcase_add_test(tests, opening_a_database_grows_a_full_map);
    tcase_add_test(tests, a_slow_reader_forbids_growth);
    tcase_add_test(tests, a_map_is_tight_when_a_quarter_is_left);
    tcase_add_test(tests, growth_without_address_space_is_refused_and_harmless);
    tcase_add_test(tests, with_little_address_space_the_map_is_smaller);
    tcase_add_test(tests, the_map_grows_while_others_read);
    tcase_add_test(tests, growth_and_slow_readers_meet_at_any_moment);
    tcase_add_test(tests, more_readers_than_the_pool_holds_are_served);
    tcase_add_test(tests, when_all_reader_slots_are_taken_the_next_is_refused);
    tcase_add_test(tests, shapes_count_rows_and_pages);
    tcase_add_test(tests, overflow_pages_are_foretold);
    tcase_add_test(tests, descriptors_are_closed_on_exec);
    tcase_add_test(tests, a_reader_sees_what_the_owner_wrote_and_cannot_write);
    tcase_add_test(tests, files_that_are_none_of_lmdbs_are_refused);
    tcase_add_test(tests, opening_without_memory_fails_cleanly);
    tcase_add_test(tests, a_map_smaller_than_the_file_is_made_larger);
}

int main(void)
{
    Suite *suite = suite_create("kv");
    TCase *tests = tcase_create("kv");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    add_tests(tests);
    add_growth_tests(tests);
    add_fault_tests(tests);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
