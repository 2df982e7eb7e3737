/*
 * check_savefaults: saves and restores whose system calls fail, whose disk is full, or whose rows are damaged: what is
 * refused, and what stays as it was.
 */
#include "api_objects.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash/folder.h"
#include "crash/mishap.h"
#include "crash/oracle.h"
#include "ruin.h"
#include "snapshot.h"

#define N_ROWS 2000
#define N_CALLS 400 /* more than any call makes */

static struct htstore_checkpoint *checkpoint;
static struct htstore_table *left, *right;

static void setup(void)
{
    alarm(240);
    api_setup();
    checkpoint = NULL;
    ck_assert_int_eq(mkdir(api_path("ckpts"), 0700), 0);
    mishap_skip_syncs(true);
}

static void teardown(void)
{
    mishap_set(NULL);
    htstore_checkpoint_close(checkpoint, NULL);
    objects_teardown();
    alarm(0);
}

static int fill(struct htstore_table *table, int64_t number)
{
    static int64_t keys[N_ROWS], values[N_ROWS];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, N_ROWS);
    const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, N_ROWS);

    for (int64_t i = 0; i < N_ROWS; i++) {
        keys[i] = i;
        values[i] = number;
    }
    return htstore_table_insert(table, &k, &v, 0, &api.error);
}

/* The one number in all rows of the table. */
static int64_t number_in(struct htstore_table *table)
{
    static int64_t keys[N_ROWS], values[N_ROWS];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, N_ROWS);
    struct htstore_array v = htstore_vector(HTSTORE_INT64, values, N_ROWS);

    for (int64_t i = 0; i < N_ROWS; i++)
        keys[i] = i;
    OK(htstore_table_lookup(table, &k, NULL, &v, NULL, &api.error));
    for (int i = 1; i < N_ROWS; i++)
        ck_assert_int_eq(values[i], values[0]);
    return values[0];
}

static void open_objects(bool make)
{
    api_open_store();
    if (make) {
        left = new_table("left");
        right = new_table("right");
    } else {
        OK(htstore_table_open(api.store, "left", NULL, &left, &api.error));
        OK(htstore_table_open(api.store, "right", NULL, &right, &api.error));
        objects_keep(left);
        objects_keep(right);
    }
    OK(htstore_checkpoint_new(api.store, NULL, &checkpoint, &api.error));
}

static void close_objects(void)
{
    OK(htstore_checkpoint_close(checkpoint, &api.error));
    checkpoint = NULL;
    objects_close();
    htstore_close(api.store, &api.error); /* a poisoned one says so */
    api.store = NULL;
}

static int save(void)
{
    return htstore_checkpoint_save(checkpoint, api_path("ckpts/ckpt"), NULL, NULL, NULL, &api.error);
}

static int replace(void)
{
    const struct htstore_snapshot_options options = { .size = sizeof options, .flags = HTSTORE_REPLACE };
    return htstore_checkpoint_write(checkpoint, api_path("ckpts/ckpt-1"), &options, &api.error);
}

static int restore(const char *path)
{
    struct htstore_restore *status;
    const int rc = htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error);

    if (rc == 0)
        htstore_restore_release(status);
    return rc;
}

/* The folder has this one file, as it was, and nothing else. */
static void expect_file(const struct ruin_content *before)
{
    const struct ruin_content now = ruin_load(api_path("ckpts/ckpt-1"));

    ck_assert_uint_eq(now.size, before->size);
    ck_assert_int_eq(memcmp(now.data, before->data, now.size), 0);
    ck_assert_int_eq(folder_count_others(api_path("ckpts"), "ckpt-1", NULL), 0);
}

/* ---- saves ---- */

static const struct {
    struct mishap mishap;
    int code;
} save_faults[] = {
    { { .call = MISHAP_WRITE, .file = "/ckpts/", .error = EIO }, HTSTORE_EIO },
    { { .call = MISHAP_WRITE, .file = "/ckpts/", .error = ENOSPC }, HTSTORE_ENOSPC },
    { { .call = MISHAP_SYNC, .file = "/ckpts", .error = EIO }, HTSTORE_EIO }, /* the file, and the folder */
    { { .call = MISHAP_SYNC, .file = "/ckpts", .error = ENOSPC }, HTSTORE_ENOSPC },
    { { .call = MISHAP_MAKE, .file = "ckpt-", .error = EMFILE }, HTSTORE_ENOMEM },
    { { .call = MISHAP_RENAME, .file = "ckpt-2", .error = EIO }, HTSTORE_EIO },
};
#define N_SAVE_FAULTS (int)(sizeof save_faults / sizeof *save_faults)

/* Each call of that kind fails once. What is written while nothing fails is the end of it. */
static unsigned try_all_calls(int fault, int (*call)(void), int64_t counter)
{
    struct mishap mishap = save_faults[fault].mishap;
    const struct ruin_content before = ruin_load(api_path("ckpts/ckpt-1"));

    for (mishap.after = 0; mishap.after < N_CALLS; mishap.after++) {
        mishap_set(&mishap);
        const int rc = call();
        const unsigned hits = mishap_hits();
        mishap_set(NULL);
        if (hits == 0) {
            OK(rc);
            return mishap.after;
        }
        ck_assert_int_eq(rc, save_faults[fault].code);
        ck_assert_int_eq(api.error.sys_errno, mishap.error);
        expect_file(&before);
        ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), counter);
        OK(fill(left, (int64_t)mishap.after)); /* the store goes on */
    }
    return 0;
}

START_TEST(a_save_that_fails_makes_nothing)
{
    open_objects(true);
    OK(fill(left, 1));
    OK(save());
    ck_assert_uint_gt(try_all_calls(_i, save, 1), 0);
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), 2);
    OK(hti_snapshot_verify(AT_FDCWD, api_path("ckpts/ckpt-2"), "", 1, NULL, &api.error));
    ZSTD_ACCEPTS(api_path("ckpts/ckpt-2"));
}
END_TEST

START_TEST(a_save_that_fails_replaces_nothing)
{
    open_objects(true);
    OK(fill(left, 1));
    OK(save());
    OK(fill(right, 2));
    const unsigned n = try_all_calls(_i, replace, 1);
    ck_assert(n > 0 || save_faults[_i].mishap.call == MISHAP_RENAME);
    OK(hti_snapshot_verify(AT_FDCWD, api_path("ckpts/ckpt-1"), "", 1, NULL, &api.error));
    ZSTD_ACCEPTS(api_path("ckpts/ckpt-1"));
    ck_assert_int_eq(folder_count_others(api_path("ckpts"), "ckpt-1", NULL), 0);
}
END_TEST

START_TEST(a_stream_that_takes_nothing_more_is_lack_of_space)
{
    const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        fprintf(stderr, "SKIP: a_stream_that_takes_nothing_more_is_lack_of_space: no /dev/full\n");
        return;
    }
    open_objects(true);
    OK(fill(left, 1));
    REFUSED(htstore_checkpoint_write_fd(checkpoint, fd, NULL, &api.error), HTSTORE_ENOSPC, "");
    close(fd);
    OK(fill(left, 2));
}
END_TEST

/* ---- live restores ---- */

static const struct mishap restore_faults[] = {
    { .call = MISHAP_WRITE, .file = "data.mdb", .error = EIO },
    { .call = MISHAP_WRITE, .file = "data.mdb", .error = ENOSPC },
    { .call = MISHAP_WRITE, .file = "data.mdb", .error = ENOSPC, .forever = true },
    { .call = MISHAP_DATASYNC, .file = "data.mdb", .error = EIO },
    { .call = MISHAP_DATASYNC, .file = ".htj", .error = EIO },
};
#define N_RESTORE_FAULTS (int)(sizeof restore_faults / sizeof *restore_faults)

static void reopen_after_poison(void)
{
    close_objects();
    open_objects(false);
    const int64_t number = number_in(left);
    ck_assert(number == 1 || number == 7);
    ck_assert_int_eq(number_in(right), number);
}

/* A thread of the store may have met the fault too, where the root of the file was to be written: LMDB then refuses even to read. */
static bool can_read(void)
{
    const int64_t key = 0;
    int64_t value;
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, &key, 1);
    struct htstore_array v = htstore_vector(HTSTORE_INT64, &value, 1);
    const int rc = htstore_table_lookup(left, &k, NULL, &v, NULL, &api.error);

    ck_assert(rc == 0 || (rc == HTSTORE_EIO && (api.options.flags & HTSTORE_NO_PRELOAD)));
    return rc == 0;
}

/* Old contents in all tables; the store goes on, or says that it has failed. */
static void check_failed_restore(void)
{
    const int code = api.error.code;

    ck_assert_msg(code == HTSTORE_EIO || code == HTSTORE_ENOSPC, "%d: %s", code, api.error.message);
    const bool reads = can_read();
    if (reads) {
        ck_assert_int_eq(number_in(left), 7);
        ck_assert_int_eq(number_in(right), 7);
    }
    if (code == HTSTORE_ENOSPC && reads) {
        OK(fill(left, 7));
        return;
    }
    if (code == HTSTORE_ENOSPC) {
        reopen_after_poison();
        return;
    }
    REFUSED(fill(left, 7), HTSTORE_EIO, "");
    REFUSED(restore(api_path("ckpts/ckpt-1")), HTSTORE_EIO, "");
    reopen_after_poison();
}

START_TEST(a_restore_that_fails_leaves_all_old_contents)
{
    struct mishap mishap = restore_faults[_i % N_RESTORE_FAULTS];

    if (_i >= N_RESTORE_FAULTS) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
    }
    api.options.durability = HTSTORE_LAZY;
    open_objects(true);
    OK(fill(left, 1));
    OK(fill(right, 1));
    OK(save());
    close_objects();
    open_objects(false);
    for (mishap.after = 0; mishap.after < N_CALLS; mishap.after++) {
        OK(fill(left, 7));
        OK(fill(right, 7));
        mishap_set(&mishap);
        const int rc = restore(api_path("ckpts/ckpt-1"));
        const unsigned hits = mishap_hits();
        mishap_set(NULL);
        if (rc == 0) { /* a thread of the store may have met it, or nobody */
            ck_assert(hits > 0 || can_read());
            if (can_read()) {
                ck_assert_int_eq(number_in(left), 1);
                ck_assert_int_eq(number_in(right), 1);
            }
            if (hits == 0)
                break;
            reopen_after_poison();
        } else {
            ck_assert_msg(hits > 0, "after %u: %s", mishap.after, api.error.message);
            check_failed_restore();
        }
    }
    ck_assert_uint_gt(mishap.after, 0);
    OK(restore(api_path("ckpts/ckpt-1")));
    ck_assert_int_eq(number_in(right), 1);
    close_objects();
    OK(htstore_check(api.path, NULL, NULL, &api.error));
}
END_TEST

/* The map cannot grow under a cursor; afterwards it can. */
START_TEST(a_restore_that_needs_a_larger_map_waits_for_no_cursor)
{
    struct htstore_cursor *cursor;
    int64_t keys[1000], values[1000];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 1000);
    const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, 1000);

    open_objects(true);
    for (int64_t i = 0; i < 200; i++) {
        for (int64_t n = 0; n < 1000; n++)
            keys[n] = values[n] = i * 1000 + n;
        OK(htstore_table_insert(right, &k, &v, HTSTORE_LAZY, &api.error));
    }
    OK(fill(left, 1));
    OK(save());
    close_objects();
    (void)snprintf(api.path, sizeof api.path, "%s/small", api.directory);
    api.options.map_size = 4u << 20;
    api.options.delta_bytes = 64u << 10;
    open_objects(true);
    OK(fill(left, 7));
    OK(fill(right, 7));
    OK(htstore_flush(api.store, &api.error));
    OK(htstore_cursor_open(left, &cursor, &api.error));
    REFUSED(restore(api_path("ckpts/ckpt-1")), HTSTORE_EBUSY, "cursor");
    ck_assert_int_eq(number_in(left), 7);
    ck_assert_uint_eq(api_size(right), N_ROWS);
    OK(fill(left, 8));
    htstore_cursor_close(cursor);
    OK(restore(api_path("ckpts/ckpt-1")));
    ck_assert_int_eq(number_in(left), 1);
    ck_assert_uint_eq(api_size(right), 200000);
}
END_TEST

/* ---- many tables ---- */

#define MAX_TABLES 8

START_TEST(a_restore_needs_no_more_open_tables_than_there_are)
{
    char name[32];
    struct htstore_table *tables[3 * MAX_TABLES];

    api.options.flags |= HTSTORE_NO_PRELOAD;
    api.options.cache_bytes = 4096;
    api.options.max_open_tables = MAX_TABLES;
    api_open_store();
    for (int i = 0; i < 3 * MAX_TABLES; i++) {
        (void)snprintf(name, sizeof name, "t%d", i);
        tables[i] = new_table(name);
        OK(fill(tables[i], 1));
    }
    OK(htstore_checkpoint_new(api.store, NULL, &checkpoint, &api.error));
    OK(save());
    for (int i = 0; i < 3 * MAX_TABLES; i++)
        OK(fill(tables[i], 7));
    close_objects();
    api_open_store();
    OK(htstore_checkpoint_new(api.store, NULL, &checkpoint, &api.error));
    for (int i = 0; i < MAX_TABLES; i++) { /* as many as are allowed */
        (void)snprintf(name, sizeof name, "t%d", i);
        OK(htstore_table_open(api.store, name, NULL, &tables[i], &api.error));
        objects_keep(tables[i]);
    }
    OK(restore(api_path("ckpts/ckpt-1")));
    for (int i = 0; i < MAX_TABLES; i++)
        ck_assert_int_eq(number_in(tables[i]), 1);
    objects_close();
    OK(htstore_table_open(api.store, "t20", NULL, &tables[0], &api.error));
    objects_keep(tables[0]);
    ck_assert_int_eq(number_in(tables[0]), 1);
}
END_TEST

/* ---- restores into a new store ---- */

static const struct mishap copy_faults[] = {
    { .call = MISHAP_SYNC, .file = "copy", .error = EIO },
    { .call = MISHAP_DATASYNC, .file = "copy", .error = EIO },
    { .call = MISHAP_RENAME, .file = "copy", .error = EIO },
    { .call = MISHAP_WRITE, .file = "copy", .error = ENOSPC },
    { .call = MISHAP_WRITE, .file = "copy", .error = ENOSPC, .forever = true },
};
#define N_COPY_FAULTS (int)(sizeof copy_faults / sizeof *copy_faults)

START_TEST(a_new_store_that_fails_is_not_there)
{
    const struct htstore_snapshot_restore_options options = { .size = sizeof options, .flags = HTSTORE_VERIFY_NONE };
    struct mishap mishap = copy_faults[_i];

    open_objects(true);
    OK(fill(left, 1));
    OK(save());
    for (mishap.after = 0; mishap.after < N_CALLS; mishap.after++) {
        mishap_set(&mishap);
        const int rc =
            htstore_snapshot_restore(api_path("ckpts/ckpt-1"), -1, api_path("ckpts/copy"), &options, NULL, &api.error);
        const unsigned hits = mishap_hits();
        mishap_set(NULL);
        if (rc == 0 && hits == 0)
            break;
        if (rc != 0) {
            ck_assert_msg(rc == HTSTORE_EIO || rc == HTSTORE_ENOSPC, "%d: %s", rc, api.error.message);
            ck_assert_int_eq(folder_count_others(api_path("ckpts"), "ckpt-1", NULL), 0);
        } else {
            ck_assert(folder_remove(api_path("ckpts/copy"))); /* a thread met it, and tried again */
        }
    }
    ck_assert_uint_gt(mishap.after, 0);
    OK(htstore_check(api_path("ckpts/copy"), NULL, NULL, &api.error));
}
END_TEST

/* ---- damage ---- */

START_TEST(a_damaged_store_is_not_saved)
{
    struct ruin_content before;

    ruin_make_sound();
    OK(htstore_checkpoint_new(api.store, NULL, &checkpoint, &api.error));
    OK(save());
    before = ruin_load(api_path("ckpts/ckpt-1"));
    const char *data = api_path("sound/data.mdb");
    ruin_spoil_at(data, ruin_find_bytes(data, "one-000123", 10), 1);
    REFUSED(save(), HTSTORE_ECORRUPT, "words");
    expect_file(&before);
    REFUSED(replace(), HTSTORE_ECORRUPT, "words");
    expect_file(&before);
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), 1);
    OK(restore(api_path("ckpts/ckpt-1"))); /* which mends it */
    OK(save());
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), 2);
    OK(hti_snapshot_verify(AT_FDCWD, api_path("ckpts/ckpt-2"), "", 1, NULL, &api.error));
    ZSTD_ACCEPTS(api_path("ckpts/ckpt-2"));
}
END_TEST

/* ---- a full disk ---- */

static bool mount_small(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0 &&
           mount("tmpfs", api_path("ckpts"), "tmpfs", 0, "size=8m") == 0;
}

static void fill_disk(const char *path)
{
    static const char block[4096];
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    while (write(fd, block, sizeof block) > 0)
        continue;
    close(fd);
}

/* A table whose rows no compression makes smaller than what a flush gives back. */
static void make_noise(void)
{
    static int64_t keys[20000], values[20000];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 20000);
    const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, 20000);
    uint64_t state = 1;

    for (int64_t i = 0; i < 20000; i++) {
        keys[i] = i;
        values[i] = (int64_t)oracle_random(&state);
    }
    OK(htstore_table_insert(new_table("noise"), &k, &v, 0, &api.error));
}

/* Needs the right to mount. */
START_TEST(a_full_disk_is_survived)
{
    if (!mount_small()) {
        fprintf(stderr, "SKIP: a_full_disk_is_survived: cannot mount a tmpfs\n");
        return;
    }
    (void)snprintf(api.path, sizeof api.path, "%s/ckpts/store", api.directory);
    open_objects(true);
    make_noise();
    OK(fill(left, 1));
    OK(fill(right, 1));
    OK(save());
    OK(fill(left, 7));
    OK(fill(right, 7));
    OK(htstore_flush(api.store, &api.error));
    fill_disk(api_path("ckpts/filler"));
    REFUSED(save(), HTSTORE_ENOSPC, "");
    REFUSED(restore(api_path("ckpts/ckpt-1")), HTSTORE_ENOSPC, "");
    ck_assert_int_eq(number_in(left), 7);
    ck_assert_int_eq(number_in(right), 7);
    ck_assert_int_eq(access(api_path("ckpts/.ckpt-2.tmp"), F_OK), -1);
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), 1);
    ck_assert_int_eq(unlink(api_path("ckpts/filler")), 0);
    OK(save());
    OK(restore(api_path("ckpts/ckpt-1")));
    ck_assert_int_eq(number_in(left), 1);
    ck_assert_int_eq(number_in(right), 1);
    close_objects();
    ck_assert_int_eq(umount2(api_path("ckpts"), MNT_DETACH), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("savefaults");
    TCase *tests = tcase_create("savefaults");
    tcase_set_timeout(tests, 0); /* the alarm */
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_save_that_fails_makes_nothing, 0, N_SAVE_FAULTS);
    tcase_add_loop_test(tests, a_save_that_fails_replaces_nothing, 0, N_SAVE_FAULTS);
    tcase_add_test(tests, a_stream_that_takes_nothing_more_is_lack_of_space);
    tcase_add_loop_test(tests, a_restore_that_fails_leaves_all_old_contents, 0, 2 * N_RESTORE_FAULTS);
    tcase_add_test(tests, a_restore_that_needs_a_larger_map_waits_for_no_cursor);
    tcase_add_test(tests, a_restore_needs_no_more_open_tables_than_there_are);
    tcase_add_loop_test(tests, a_new_store_that_fails_is_not_there, 0, N_COPY_FAULTS);
    tcase_add_test(tests, a_damaged_store_is_not_saved);
    tcase_add_test(tests, a_full_disk_is_survived);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
