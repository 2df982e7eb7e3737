/* check_faults: a store whose disk fails or is full while it is written: what is refused, and what a reopen finds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crash/folder.h"
#include "crash/scene.h"

#define BIG_VALUE 6000 /* ten records in a segment */
#define SMALLEST (64u << 10)
#define N_BATCHES 36

static void begin(uint32_t n, uint32_t flags)
{
    scene_open(scene.path);
    scene_put_range(1, n, flags);
}

/* Until the store is closed, nothing is written any more, and all says so with the same sentence. */
static void expect_poisoned(uint64_t k)
{
    const struct htstore_error first = scene.error;

    ck_assert_int_eq(first.code, HTSTORE_EIO);
    mishap_set(NULL);
    for (int i = 0; i < 3; i++) {
        const uint32_t flags[] = { HTSTORE_SYNC, HTSTORE_INTERVAL, HTSTORE_LAZY };
        ck_assert_int_eq(scene_put(k, flags[i]), HTSTORE_EIO);
        ck_assert_str_eq(scene.error.message, first.message);
        ck_assert_int_eq(scene.error.sys_errno, first.sys_errno);
    }
    ck_assert_int_eq(htstore_sync(scene.store, &scene.error), HTSTORE_EIO);
    ck_assert_str_eq(scene.error.message, first.message);
    ck_assert_int_eq(htstore_flush(scene.store, &scene.error), HTSTORE_EIO);
    ck_assert_str_eq(scene.error.message, first.message);
    ck_assert_int_eq(htstore_table_clear(scene.table, 0, &scene.error), HTSTORE_EIO);
}

static int close_all(void)
{
    int rc;

    mishap_set(NULL);
    ck_assert_int_eq(htstore_table_close(scene.table, &scene.error), 0);
    scene.table = NULL;
    rc = htstore_close(scene.store, &scene.error);
    scene.store = NULL;
    return rc;
}

/* Rows 1 to n, or one more: a batch that failed with an I/O error may have made it. Then all works again. */
static void expect_after_reopening(uint64_t n, bool spare)
{
    uint64_t size;

    scene_open(scene.path);
    ck_assert_int_eq(htstore_table_size(scene.table, &size, &scene.error), 0);
    ck_assert_msg(size == n || (spare && size == n + 1), "%ju rows instead of %ju", (uintmax_t)size, (uintmax_t)n);
    scene_expect(size);
    scene_must(scene_put(size + 1, 0), "insert");
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
    scene_close();
    scene_open(scene.path);
    scene_expect(size + 1);
    scene_close();
}

/* ---- the journal ---- */

START_TEST(a_batch_whose_sync_fails_is_not_visible_and_ends_writing)
{
    const struct mishap mishap = { .call = MISHAP_DATASYNC, .file = ".htj", .error = EIO };
    begin(5, HTSTORE_SYNC);
    scene_must(scene_put(6, HTSTORE_LAZY), "insert");
    mishap_set(&mishap);
    ck_assert_int_eq(scene_put(7, HTSTORE_SYNC), HTSTORE_EIO);
    ck_assert_int_eq(scene.error.sys_errno, EIO);
    ck_assert_uint_eq(mishap_hits(), 1);
    scene_expect(6);
    ck_assert_uint_eq(scene_stats().visible_lsn, 6);
    ck_assert_uint_eq(scene_stats().durable_lsn, 5);
    expect_poisoned(7);
    scene_expect(6);
    ck_assert_int_eq(close_all(), HTSTORE_EIO);
    expect_after_reopening(6, true);
}
END_TEST

START_TEST(a_batch_whose_write_fails_is_not_visible_and_ends_writing)
{
    const struct mishap mishap = {
        .call = MISHAP_WRITE, .file = ".htj", .error = _i & 1 ? ENOSPC : EIO, .half = _i & 2, .forever = _i & 4
    };
    begin(5, HTSTORE_LAZY);
    mishap_set(&mishap);
    ck_assert_int_eq(scene_put(6, _i & 8 ? HTSTORE_SYNC : HTSTORE_LAZY), HTSTORE_EIO);
    ck_assert_uint_eq(mishap_hits(), 1);
    scene_expect(5);
    expect_poisoned(6);
    ck_assert_int_eq(close_all(), HTSTORE_EIO);
    expect_after_reopening(5, false);
}
END_TEST

START_TEST(a_sync_that_fails_takes_nothing_away_and_ends_writing)
{
    const struct mishap mishap = { .call = MISHAP_DATASYNC, .file = ".htj", .error = EIO };
    begin(5, HTSTORE_LAZY);
    mishap_set(&mishap);
    ck_assert_int_eq(htstore_sync(scene.store, &scene.error), HTSTORE_EIO);
    scene_expect(5);
    ck_assert_uint_eq(scene_stats().durable_lsn, 0);
    expect_poisoned(6);
    ck_assert_int_eq(close_all(), HTSTORE_EIO);
    expect_after_reopening(5, false);
}
END_TEST

/* Fill the first segment; returns what the batch that needs another one gives. */
static int fill_segment(const struct mishap *mishap, uint64_t *n)
{
    int rc;

    scene.value_size = BIG_VALUE;
    begin(1, HTSTORE_SYNC);
    mishap_set(mishap);
    for (*n = 1; (rc = scene_put(*n + 1, HTSTORE_SYNC)) == 0; ++*n)
        ck_assert_uint_lt(*n, N_BATCHES);
    return rc;
}

START_TEST(without_room_for_a_segment_a_batch_is_refused_and_works_later)
{
    static const struct mishap mishaps[] = {
        { .call = MISHAP_WRITE, .file = ".htj.tmp", .error = ENOSPC, .forever = true },
        { .call = MISHAP_WRITE, .file = ".htj.tmp", .error = EDQUOT, .forever = true, .half = true },
        { .call = MISHAP_SYNC, .file = ".htj.tmp", .error = ENOSPC, .forever = true },
        { .call = MISHAP_RENAME, .file = ".htj", .error = ENOSPC, .forever = true },
    };
    uint64_t n;
    ck_assert_int_eq(fill_segment(&mishaps[_i], &n), HTSTORE_ENOSPC);
    scene_expect(n);
    const uint64_t lsn = scene_stats().visible_lsn;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(scene_put(n + 1, HTSTORE_LAZY), HTSTORE_ENOSPC);
    ck_assert_int_eq(htstore_sync(scene.store, &scene.error), 0);
    scene_expect(n); /* its export flushes */
    ck_assert_uint_eq(scene_stats().visible_lsn, lsn);
    mishap_set(NULL);
    scene_must(scene_put(n + 1, HTSTORE_SYNC), "insert");
    ck_assert_uint_eq(scene_stats().visible_lsn, lsn + 1);
    scene_expect(n + 1);
    scene_close();
    expect_after_reopening(n + 1, false);
}
END_TEST

START_TEST(an_error_while_a_segment_is_made_ends_writing)
{
    static const struct mishap mishaps[] = {
        { .call = MISHAP_WRITE, .file = ".htj.tmp", .error = EIO },
        { .call = MISHAP_SYNC, .file = ".htj.tmp", .error = EIO },
        { .call = MISHAP_SYNC, .file = "/journal", .error = EIO },
        { .call = MISHAP_RENAME, .file = ".htj", .error = EIO },
    };
    uint64_t n;
    ck_assert_int_eq(fill_segment(&mishaps[_i], &n), HTSTORE_EIO);
    scene_expect(n);
    expect_poisoned(n + 1);
    ck_assert_int_eq(close_all(), HTSTORE_EIO);
    expect_after_reopening(n, true); /* the journal's thread may have met the error while a batch was under way */
}
END_TEST

/* ---- LMDB ---- */

START_TEST(a_flush_without_room_loses_nothing_and_works_later)
{
    const struct mishap mishap = {
        .call = MISHAP_WRITE, .file = "data.mdb", .error = _i ? EDQUOT : ENOSPC, .forever = true
    };
    begin(5, HTSTORE_SYNC);
    mishap_set(&mishap);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(htstore_flush(scene.store, &scene.error), HTSTORE_ENOSPC);
        scene_must(scene_put(6 + (uint64_t)i, HTSTORE_SYNC), "insert");
    }
    ck_assert_uint_eq(mishap_hits(), 3);
    ck_assert_uint_eq(scene_stats().applied_lsn, 0);
    mishap_set(NULL);
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
    ck_assert_uint_eq(scene_stats().applied_lsn, 8);
    scene_expect(8);
    scene_close();
    expect_after_reopening(8, false);
}
END_TEST

START_TEST(a_close_without_room_loses_nothing)
{
    const struct mishap mishap = { .call = MISHAP_WRITE, .file = "data.mdb", .error = ENOSPC, .forever = true };
    begin(5, HTSTORE_LAZY);
    mishap_set(&mishap);
    ck_assert_int_eq(htstore_table_close(scene.table, &scene.error), 0);
    scene.table = NULL;
    ck_assert_int_eq(htstore_close(scene.store, &scene.error), HTSTORE_ENOSPC);
    scene.store = NULL;
    mishap_set(NULL);
    expect_after_reopening(5, false);
}
END_TEST

/* Also a meta page that cannot be written: what LMDB then leaves in the older one is nonsense. */
START_TEST(an_error_of_lmdb_ends_writing_and_loses_nothing)
{
    for (unsigned after = 0;; after++) {
        const struct mishap mishap = {
            .call = _i ? MISHAP_DATASYNC : MISHAP_WRITE, .file = "data.mdb", .after = after, .error = EIO
        };
        begin(5, HTSTORE_SYNC);
        mishap_set(&mishap);
        const int rc = htstore_flush(scene.store, &scene.error);
        if (mishap_hits() == 0) {
            ck_assert_int_eq(rc, 0);
            ck_assert_uint_ge(after, _i ? 1 : 2);
            return;
        }
        ck_assert_int_eq(rc, HTSTORE_EIO);
        scene_expect(5);
        expect_poisoned(6);
        scene_expect(5);
        ck_assert_int_eq(close_all(), HTSTORE_EIO);
        expect_after_reopening(5, false);
        ck_assert(folder_remove(scene.path));
    }
}
END_TEST

START_TEST(a_table_that_lmdb_cannot_make_or_drop_is_as_before)
{
    for (unsigned after = 0;; after++) {
        const struct mishap mishap = {
            .call = MISHAP_WRITE, .file = "data.mdb", .after = after, .error = _i & 1 ? EIO : ENOSPC
        };
        struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT8 };
        const int8_t zero = 0;
        struct htstore_table *table;
        schema.default_value = htstore_scalar(HTSTORE_INT8, &zero);
        begin(3, HTSTORE_SYNC);
        if (_i & 2) {
            scene_must(htstore_table_create(scene.store, "other", &schema, &table, &scene.error), "create");
            scene_must(htstore_table_close(table, &scene.error), "close");
        }
        scene_must(htstore_flush(scene.store, &scene.error), "flush");
        mishap_set(&mishap);
        const int rc = _i & 2 ? htstore_table_drop(scene.store, "other", &scene.error)
                              : htstore_table_create(scene.store, "other", &schema, &table, &scene.error);
        const unsigned hits = mishap_hits();
        mishap_set(NULL);
        if (hits == 0) {
            ck_assert_int_eq(rc, 0);
            ck_assert_uint_gt(after, 0);
            if (!(_i & 2))
                scene_must(htstore_table_close(table, &scene.error), "close");
            return;
        }
        ck_assert_int_ne(rc, 0);
        ck_assert_uint_eq(scene_stats().n_tables, _i & 2 ? 2 : 1);
        close_all();
        scene_open(scene.path);
        ck_assert_uint_eq(scene_stats().n_tables, _i & 2 ? 2 : 1);
        scene_expect(3);
        scene_close();
        ck_assert(folder_remove(scene.path));
    }
}
END_TEST

START_TEST(a_segment_that_cannot_be_deleted_is_deleted_later)
{
    const struct mishap mishap = { .call = MISHAP_UNLINK, .file = ".htj", .error = EACCES, .forever = true };
    char folder[300];
    scene.value_size = BIG_VALUE;
    (void)snprintf(folder, sizeof folder, "%s/journal", scene.path);
    begin(N_BATCHES, HTSTORE_SYNC);
    const int before = folder_count_others(folder, NULL, NULL);
    mishap_set(&mishap);
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
    ck_assert_uint_ge(mishap_hits(), 1);
    ck_assert_int_ge(folder_count_others(folder, NULL, NULL), before);
    mishap_set(NULL);
    scene_must(scene_put(N_BATCHES + 1, HTSTORE_SYNC), "insert");
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
    ck_assert_int_le(folder_count_others(folder, NULL, NULL), 2); /* the current one, and one prepared */
    scene_expect(N_BATCHES + 1);
    scene_close();
    expect_after_reopening(N_BATCHES + 1, false);
}
END_TEST

/* ---- everything ---- */

/* Batches of all modes over several segments and flushes, until one fails. Returns how many were acknowledged. */
static uint64_t write_until_failure(int *rc)
{
    static const uint32_t flags[] = { HTSTORE_SYNC, HTSTORE_LAZY, HTSTORE_INTERVAL, HTSTORE_LAZY };
    uint64_t k;

    *rc = 0;
    for (k = 0; k < N_BATCHES; k++) {
        *rc = scene_put(k + 1, flags[k % 4]);
        if (*rc != 0)
            break;
        if (k % 12 == 11)
            (void)htstore_flush(scene.store, NULL);
    }
    return k;
}

static const enum mishap_call calls[] = { MISHAP_WRITE, MISHAP_DATASYNC, MISHAP_SYNC, MISHAP_UNLINK, MISHAP_RENAME };
#define N_CALLS 5

/* One case: true if the mishap happened. */
static bool survive(const struct mishap *mishap)
{
    int rc;

    scene_open(scene.path);
    mishap_set(mishap);
    uint64_t n = write_until_failure(&rc);
    const bool happened = mishap_hits() > 0;
    mishap_set(NULL);
    if (rc == HTSTORE_ENOSPC) {
        rc = htstore_flush(scene.store, &scene.error);
        if (rc == 0) /* else it was LMDB's meta page: that is for good */
            scene_must(scene_put(++n, HTSTORE_SYNC), "insert");
    }
    if (rc != 0) {
        ck_assert_msg(rc == HTSTORE_EIO, "%d: %s", rc, scene.error.message);
        expect_poisoned(n + 1);
    }
    scene_expect(n);
    close_all();
    expect_after_reopening(n, rc == HTSTORE_EIO);
    ck_assert(folder_remove(scene.path));
    return happened;
}

START_TEST(no_error_of_any_call_loses_what_was_acknowledged)
{
    scene.value_size = BIG_VALUE;
    scene.options.delta_bytes = SMALLEST;
    for (unsigned after = 0;; after++) {
        const struct mishap mishap = {
            .call = calls[_i / 4], .file = "", .after = after, .error = _i & 1 ? ENOSPC : EIO, .forever = _i & 2
        };
        if (!survive(&mishap)) {
            ck_assert_uint_ge(after, 2);
            return;
        }
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("faults");
    TCase *journal = tcase_create("journal"), *lmdb = tcase_create("lmdb"), *sweep = tcase_create("sweep");

    tcase_add_checked_fixture(journal, scene_setup, scene_teardown);
    tcase_add_test(journal, a_batch_whose_sync_fails_is_not_visible_and_ends_writing);
    tcase_add_loop_test(journal, a_batch_whose_write_fails_is_not_visible_and_ends_writing, 0, 16);
    tcase_add_test(journal, a_sync_that_fails_takes_nothing_away_and_ends_writing);
    tcase_add_loop_test(journal, without_room_for_a_segment_a_batch_is_refused_and_works_later, 0, 4);
    tcase_add_loop_test(journal, an_error_while_a_segment_is_made_ends_writing, 0, 4);
    suite_add_tcase(suite, journal);

    tcase_add_checked_fixture(lmdb, scene_setup, scene_teardown);
    tcase_add_loop_test(lmdb, a_flush_without_room_loses_nothing_and_works_later, 0, 2);
    tcase_add_test(lmdb, a_close_without_room_loses_nothing);
    tcase_add_loop_test(lmdb, an_error_of_lmdb_ends_writing_and_loses_nothing, 0, 2);
    tcase_add_loop_test(lmdb, a_table_that_lmdb_cannot_make_or_drop_is_as_before, 0, 4);
    tcase_add_test(lmdb, a_segment_that_cannot_be_deleted_is_deleted_later);
    suite_add_tcase(suite, lmdb);

    tcase_add_checked_fixture(sweep, scene_setup, scene_teardown);
    tcase_add_loop_test(sweep, no_error_of_any_call_loses_what_was_acknowledged, 0, 4 * N_CALLS);
    suite_add_tcase(suite, sweep);
    return suite;
}

int main(int argc, char **argv)
{
    static const struct scene_actor nobody[] = { { 0 } };
    return scene_main(argc, argv, nobody, make_suite);
}
