/* check_store: what a store does by itself: flushing, syncing, growing, waiting, reporting, refusing newer formats. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api_util.h"
#include "catalog.h"
#include "kv.h"

#define PATIENCE_S 20

static void open_numbers(void)
{
    api_open_store();
    api_begin_table("numbers", HTSTORE_INT64, HTSTORE_INT64, "-1");
}

/* Rows first … first + n − 1, each with its own key as value. */
static void insert_range(int64_t first, size_t n, uint32_t flags)
{
    int64_t *keys = api_alloc(n * sizeof *keys);
    struct htstore_array array = htstore_vector(HTSTORE_INT64, keys, n);

    for (size_t i = 0; i < n; i++)
        keys[i] = first + (int64_t)i;
    OK(htstore_table_insert(api.table, &array, &array, flags, &api.error));
}

/* Wait for what a thread of the store does in its own time; the limit is for a failure only. */
static bool comes_true(bool (*condition)(void))
{
    const struct timespec pause = { .tv_nsec = 2000000 };
    const time_t limit = time(NULL) + PATIENCE_S;

    while (!condition()) {
        if (time(NULL) > limit)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static bool all_is_applied(void)
{
    const struct htstore_stats stats = api_stats();
    return stats.applied_lsn == stats.visible_lsn;
}

static bool all_is_durable(void)
{
    const struct htstore_stats stats = api_stats();
    return stats.durable_lsn == stats.visible_lsn;
}

START_TEST(an_old_batch_is_flushed_without_being_asked)
{
    api.options.flush_age_ms = 20;
    open_numbers();
    insert_range(0, 3, 0);
    ck_assert(comes_true(all_is_applied));
}
END_TEST

START_TEST(a_young_batch_is_not_flushed)
{
    api.options.flush_age_ms = 3600000;
    api.options.delta_bytes = 64 << 20;
    open_numbers();
    insert_range(0, 3, 0);
    ck_assert_uint_eq(api_stats().applied_lsn, 0);
    ck_assert_uint_eq(api_stats().delta_rows, 3);
    OK(htstore_flush(api.store, &api.error));
    ck_assert_uint_eq(api_stats().applied_lsn, 1);
    ck_assert_uint_eq(api_stats().delta_rows, 0);
    ck_assert_uint_eq(api_stats().delta_bytes, 0);
}
END_TEST

START_TEST(a_sync_batch_is_durable_when_it_returns)
{
    open_numbers();
    insert_range(0, 1, HTSTORE_SYNC);
    ck_assert_uint_eq(api_stats().durable_lsn, 1);
}
END_TEST

START_TEST(a_lazy_batch_becomes_durable_by_sync)
{
    api.options.durability = HTSTORE_LAZY;
    api.options.flush_age_ms = 3600000;
    open_numbers();
    insert_range(0, 1, 0);
    ck_assert_uint_eq(api_stats().visible_lsn, 1);
    ck_assert_uint_eq(api_stats().durable_lsn, 0);
    OK(htstore_sync(api.store, &api.error));
    ck_assert_uint_eq(api_stats().durable_lsn, 1);
}
END_TEST

START_TEST(a_sync_batch_makes_earlier_lazy_ones_durable)
{
    api.options.flush_age_ms = 3600000;
    open_numbers();
    insert_range(0, 1, HTSTORE_LAZY);
    ck_assert_uint_eq(api_stats().durable_lsn, 0);
    insert_range(1, 1, HTSTORE_SYNC);
    ck_assert_uint_eq(api_stats().durable_lsn, 2);
}
END_TEST

START_TEST(an_interval_batch_becomes_durable_by_itself)
{
    api.options.durability = HTSTORE_INTERVAL;
    api.options.interval_ms = 10;
    api.options.flush_age_ms = 3600000;
    open_numbers();
    insert_range(0, 1, 0);
    ck_assert(comes_true(all_is_durable));
    ck_assert_uint_eq(api_stats().applied_lsn, 0);
}
END_TEST

START_TEST(writers_wait_for_the_flush_and_do_not_fail)
{
    api.options.delta_bytes = 64 << 10;
    api.options.durability = HTSTORE_LAZY;
    open_numbers();
    for (int64_t i = 0; i < 100; i++) {
        insert_range(i * 1000, 1000, 0);
        ck_assert_uint_le(api_stats().delta_bytes, (64 << 10) + 20000);
    }
    ck_assert_uint_eq(api_size(api.table), 100000);
    ck_assert_uint_gt(api_stats().flushes, 10);
}
END_TEST

START_TEST(a_batch_larger_than_the_budget_is_taken)
{
    api.options.delta_bytes = 64 << 10;
    open_numbers();
    insert_range(0, 1, 0);
    insert_range(0, 20000, 0);
    insert_range(20000, 20000, 0);
    ck_assert_uint_eq(api_size(api.table), 40000);
}
END_TEST

START_TEST(the_map_grows_by_itself)
{
    api.options.map_size = 1 << 20;
    open_numbers();
    for (int64_t i = 0; i < 40; i++)
        insert_range(i * 5000, 5000, HTSTORE_LAZY);
    OK(htstore_flush(api.store, &api.error));
    ck_assert_uint_ge(api_stats().map_growths, 1);
    ck_assert_uint_eq(api_size(api.table), 200000);
    ck_assert_uint_gt(api_stats().data_bytes, 1 << 20);
}
END_TEST

/* An open cursor keeps the map as it is. Its owner may be the thread that writes: waiting for it would be for ever. */
START_TEST(writes_go_on_while_a_cursor_keeps_the_map_from_growing)
{
    struct htstore_cursor *cursor;
    struct htstore_array keys;

    api.options.map_size = 4 << 20;
    api.options.delta_bytes = 64 << 10;
    open_numbers();
    insert_range(0, 10, 0);
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    for (int64_t i = 0; i < 100; i++)
        insert_range(i * 5000, 5000, HTSTORE_LAZY);
    ck_assert_uint_eq(api_stats().map_growths, 0);
    ck_assert_uint_gt(api_stats().delta_bytes, 64 << 10);
    REFUSED(htstore_flush(api.store, &api.error), HTSTORE_EBUSY, "cursor");
    OK(htstore_cursor_next(cursor, 100, api.arena, &keys, NULL, &api.error));
    ck_assert_int_eq(keys.shape[0], 10);
    htstore_cursor_close(cursor);
    OK(htstore_flush(api.store, &api.error));
    ck_assert_uint_ge(api_stats().map_growths, 1);
    ck_assert_uint_eq(api_size(api.table), 500000);
    api_reopen();
    ck_assert_uint_eq(api_size(api.table), 500000);
}
END_TEST

static void limit_files(rlim_t size)
{
    const struct rlimit limit = { size, RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A limit on files looks to LMDB like a device that becomes full: first a short write, then an error. */
START_TEST(a_full_disk_stops_the_flush_and_loses_nothing)
{
    signal(SIGXFSZ, SIG_IGN);
    api.options.flush_age_ms = 3600000;
    api.options.delta_bytes = 64 << 20;
    open_numbers();
    insert_range(0, 1000, 0);
    OK(htstore_flush(api.store, &api.error));
    limit_files((rlim_t)api_stats().data_bytes + 100000);
    for (int64_t i = 1; i <= 50; i++)
        insert_range(i * 1000, 1000, 0);
    REFUSED(htstore_flush(api.store, &api.error), HTSTORE_ENOSPC, "");
    insert_range(51000, 1000, 0); /* not poisoned: the journal has room */
    REFUSED(htstore_flush(api.store, &api.error), HTSTORE_ENOSPC, "");
    ck_assert_uint_eq(api_size(api.table), 52000);
    limit_files(RLIM_INFINITY);
    OK(htstore_flush(api.store, &api.error));
    api_reopen();
    ck_assert_uint_eq(api_size(api.table), 52000);
    GET_IS("[0 50999 51999 52000]", "[0 50999 51999 -1]");
}
END_TEST

/* With the memory for unflushed rows used up, a writer is told instead of waiting for ever. */
START_TEST(a_full_disk_is_told_to_writers_that_would_wait)
{
    int code = 0;

    signal(SIGXFSZ, SIG_IGN);
    api.options.delta_bytes = 64 << 10;
    open_numbers();
    insert_range(0, 1000, 0);
    OK(htstore_flush(api.store, &api.error));
    limit_files((rlim_t)api_stats().data_bytes + 20000);
    int64_t n = 1;
    for (; n < 1000 && code == 0; n++) {
        const int64_t key = n * 1000;
        int64_t keys[100];
        for (int64_t i = 0; i < 100; i++)
            keys[i] = key + i;
        const struct htstore_array array = htstore_vector(HTSTORE_INT64, keys, 100);
        code = htstore_table_insert(api.table, &array, &array, 0, &api.error);
    }
    ck_assert_int_eq(code, HTSTORE_ENOSPC);
    const uint64_t size = api_size(api.table);
    ck_assert_uint_eq(size, 1000 + (uint64_t)(n - 2) * 100);
    limit_files(RLIM_INFINITY);
    OK(htstore_flush(api.store, &api.error));
    insert_range(5000000, 100, 0);
    api_reopen();
    ck_assert_uint_eq(api_size(api.table), size + 100);
}
END_TEST

static _Atomic uint64_t slow_age;

static void note_slow_reader(void *user, uint64_t age_ms, uint64_t lag)
{
    ck_assert_ptr_eq(user, &slow_age);
    (void)lag;
    atomic_store(&slow_age, age_ms);
}

static bool slow_reader_is_reported(void)
{
    return atomic_load(&slow_age) != 0;
}

START_TEST(a_cursor_that_stays_open_is_reported)
{
    struct htstore_cursor *cursor;

    atomic_store(&slow_age, 0);
    api.options.slow_reader_ms = 20;
    api.options.slow_reader = note_slow_reader;
    api.options.slow_reader_user = &slow_age;
    open_numbers();
    OK(htstore_cursor_open(api.table, &cursor, &api.error));
    insert_range(0, 1, 0);
    ck_assert(comes_true(slow_reader_is_reported));
    ck_assert_uint_ge(atomic_load(&slow_age), 20);
    htstore_cursor_close(cursor);
}
END_TEST

static uint64_t data_bytes_after_cycles(int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        insert_range(0, 20000, HTSTORE_LAZY);
        OK(htstore_flush(api.store, &api.error));
        OK(htstore_table_clear(api.table, 0, &api.error));
        OK(htstore_flush(api.store, &api.error));
        api_reopen(); /* collects garbage that the last session left */
        OK(htstore_flush(api.store, &api.error));
    }
    return api_stats().data_bytes;
}

/* Cleared rows stay in a database of their own until it is deleted in slices; their pages must come back. */
START_TEST(space_of_cleared_tables_is_used_again)
{
    open_numbers();
    const uint64_t first = data_bytes_after_cycles(4);
    const uint64_t later = data_bytes_after_cycles(24);
    ck_assert_uint_le(later, first * 3);
}
END_TEST

START_TEST(a_list_has_names_in_order_with_rows_and_bytes)
{
    const char *const NAMES[] = { "pear", "apple", "fig/1" };
    const struct htstore_object *objects;
    struct htstore_table *table;
    uint64_t n;
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "[0 0]", HTSTORE_INT64);

    api_open_store();
    for (size_t i = 0; i < 3; i++) {
        OK(htstore_table_create(api.store, NAMES[i], &schema, &table, &api.error));
        OK(htstore_table_close(table, &api.error));
    }
    api_begin_table("zebra", HTSTORE_INT64, HTSTORE_INT64, "-1");
    insert_range(0, 500, 0);
    OK(htstore_flush(api.store, &api.error));
    OK(htstore_list(api.store, api.arena, &objects, &n, &api.error));
    ck_assert_uint_eq(n, 4);
    ck_assert_str_eq(objects[0].name, "apple");
    ck_assert_str_eq(objects[1].name, "fig/1");
    ck_assert_str_eq(objects[2].name, "pear");
    ck_assert_str_eq(objects[3].name, "zebra");
    ck_assert_uint_eq(objects[0].value_rank, 1);
    ck_assert_int_eq(objects[0].value_shape[0], 2);
    ck_assert_uint_eq(objects[3].n_rows, 500);
    ck_assert_uint_ge(objects[3].stored_bytes, 500 * 20);
    ck_assert_uint_eq(objects[0].stored_bytes, 0);
}
END_TEST

START_TEST(a_table_without_preload_takes_no_memory)
{
    open_numbers();
    insert_range(0, 20000, 0);
    ck_assert_uint_gt(api_stats().cache_bytes, 20000 * 16);
    api.options.flags |= HTSTORE_NO_PRELOAD;
    api_reopen();
    ck_assert_uint_lt(api_stats().cache_bytes, 20000);
    ck_assert_uint_eq(api_size(api.table), 20000);
}
END_TEST

START_TEST(a_table_that_does_not_fit_the_budget_is_not_loaded)
{
    open_numbers();
    insert_range(0, 20000, 0);
    api.options.cache_bytes = 100000;
    api_reopen();
    ck_assert_uint_lt(api_stats().cache_bytes, 100000);
    GET_IS("[5 19999 20000]", "[5 19999 -1]");
}
END_TEST

START_TEST(closing_a_table_gives_its_memory_back)
{
    open_numbers();
    insert_range(0, 20000, 0);
    OK(htstore_flush(api.store, &api.error));
    OK(htstore_table_close(api.table, &api.error));
    api.table = NULL;
    ck_assert_uint_eq(api_stats().cache_bytes, 0);
}
END_TEST

/* --- newer formats --- */

static void read_file(const char *path, uint8_t *data, size_t capacity, size_t *size)
{
    const int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    const ssize_t n = read(fd, data, capacity);
    ck_assert_int_ge(n, 0);
    *size = (size_t)n;
    close(fd);
}

/* Write the store's record with another version or feature mask, as a later release would. */
static void rewrite_record(size_t offset, uint8_t byte)
{
    const int dir_fd = open(api.path, O_RDONLY | O_DIRECTORY);
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = api.path, .map_size = 1 << 20, .max_pinned = 8, .max_readers = 126
    };
    struct hti_store_record record = { .next_id = 1, .first_segment = 1, .clean = true };
    uint8_t space[HTI_CATALOG_KEY_SIZE], key[HTI_CATALOG_KEY_SIZE] = { 0 };
    struct hti_kv_write *write;
    struct hti_kv *kv;
    struct hti_buf buf;

    hti_buf_init(&buf);
    ck_assert_int_eq(hti_catalog_encode_store(&record, &buf), 0);
    buf.data[offset] = byte;
    const uint64_t sum = hti_hash64(buf.data, buf.size - 8, hti_hash64(key, sizeof key, 0));
    memcpy(buf.data + buf.size - 8, &sum, sizeof sum);
    OK(hti_kv_open(&options, &kv, &api.error));
    OK(hti_kv_acquire(kv, HTI_KV_CATALOG, false, &api.error));
    OK(hti_kv_begin(kv, &write, &api.error));
    OK(hti_kv_put(write, HTI_KV_CATALOG, hti_catalog_key(HTI_CATALOG_STORE, 0, space),
                  (struct hti_kv_bytes){ buf.data, buf.size }, &api.error));
    OK(hti_kv_commit(write, &api.error));
    hti_kv_close(kv);
    hti_buf_release(&buf);
    close(dir_fd);
}

static void refuse_newer(size_t offset, uint8_t byte)
{
    static uint8_t before[1 << 20], after[1 << 20];
    size_t before_size, after_size;
    const char *data;

    api_open_store();
    api_close_store();
    rewrite_record(offset, byte);
    data = api_path("store/data.mdb");
    read_file(data, before, sizeof before, &before_size);
    REFUSED(htstore_open(api.path, &api.options, &api.store, &api.error), HTSTORE_EVERSION, "");
    ck_assert_ptr_null(api.store);
    api.options.flags = HTSTORE_READONLY;
    REFUSED(htstore_open(api.path, &api.options, &api.store, &api.error), HTSTORE_EVERSION, "");
    read_file(data, after, sizeof after, &after_size);
    ck_assert_uint_eq(before_size, after_size);
    ck_assert_int_eq(memcmp(before, after, before_size), 0);
}

START_TEST(a_store_of_a_newer_format_is_refused_and_not_written)
{
    refuse_newer(4, 2);
}
END_TEST

START_TEST(an_unknown_incompatible_feature_is_refused_and_not_written)
{
    refuse_newer(8, 1);
}
END_TEST

START_TEST(build_info_names_the_libraries)
{
    ck_assert_ptr_nonnull(strstr(htstore_build_info(), "LMDB 0.9"));
    ck_assert_ptr_nonnull(strstr(htstore_build_info(), "libxxhash 0."));
    ck_assert_ptr_nonnull(strstr(htstore_build_info(), "store format 1, journal format 1"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tests = tcase_create("store");

    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, an_old_batch_is_flushed_without_being_asked);
    tcase_add_test(tests, a_young_batch_is_not_flushed);
    tcase_add_test(tests, a_sync_batch_is_durable_when_it_returns);
    tcase_add_test(tests, a_lazy_batch_becomes_durable_by_sync);
    tcase_add_test(tests, a_sync_batch_makes_earlier_lazy_ones_durable);
    tcase_add_test(tests, an_interval_batch_becomes_durable_by_itself);
    tcase_add_test(tests, writers_wait_for_the_flush_and_do_not_fail);
    tcase_add_test(tests, a_batch_larger_than_the_budget_is_taken);
    tcase_add_test(tests, the_map_grows_by_itself);
    tcase_add_test(tests, writes_go_on_while_a_cursor_keeps_the_map_from_growing);
    tcase_add_test(tests, a_full_disk_stops_the_flush_and_loses_nothing);
    tcase_add_test(tests, a_full_disk_is_told_to_writers_that_would_wait);
    tcase_add_test(tests, a_cursor_that_stays_open_is_reported);
    tcase_add_test(tests, space_of_cleared_tables_is_used_again);
    tcase_add_test(tests, a_list_has_names_in_order_with_rows_and_bytes);
    tcase_add_test(tests, a_table_without_preload_takes_no_memory);
    tcase_add_test(tests, a_table_that_does_not_fit_the_budget_is_not_loaded);
    tcase_add_test(tests, closing_a_table_gives_its_memory_back);
    tcase_add_test(tests, a_store_of_a_newer_format_is_refused_and_not_written);
    tcase_add_test(tests, an_unknown_incompatible_feature_is_refused_and_not_written);
    tcase_add_test(tests, build_info_names_the_libraries);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
