/* Tests of the ways in which tables are kept in memory: loaded in the background, within a budget, and from one to the other. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_util.h"
#include "bytes.h"
#include "load.h"

/* Sanitizers have memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CHECK_SANITIZED true
#endif
#endif
#ifndef CHECK_SANITIZED
#define CHECK_SANITIZED false
#endif

#define N 4000
#define SOME 500

static int64_t keys[N], values[N], outputs[N];
static uint8_t found[N];

static void set_up(void)
{
    api_setup();
    api.options.durability = HTSTORE_LAZY;
    hti_load_test_quick_rows(100);
}

static void tear_down(void)
{
    hti_load_test_quick_rows(UINT64_MAX);
    api_teardown();
}

/* --- a table of rows i -> value(i, version) --- */

static int64_t value_of(int64_t key, int version)
{
    return key * 10 + version;
}

static struct htstore_array ints(int64_t *elements, int64_t n)
{
    return htstore_vector(HTSTORE_INT64, elements, (size_t)n);
}

static void write_rows(int64_t first, int64_t end, int version)
{
    for (int64_t at = first; at < end; at += SOME) {
        const int64_t n = end - at < SOME ? end - at : SOME;
        for (int64_t i = 0; i < n; i++) {
            keys[i] = at + i;
            values[i] = value_of(at + i, version);
        }
        const struct htstore_array k = ints(keys, n), v = ints(values, n);
        OK(htstore_table_insert(api.table, &k, &v, 0, &api.error));
    }
}

static void remove_rows(int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++)
        keys[i - first] = i;
    const struct htstore_array k = ints(keys, end - first);
    OK(htstore_table_remove(api.table, &k, NULL, 0, &api.error));
}

/* Rows [first, end) are there in that version; version -1: they are absent. */
static void expect_rows(int64_t first, int64_t end, int version)
{
    for (int64_t i = first; i < end; i++)
        keys[i - first] = i;
    const struct htstore_array k = ints(keys, end - first);
    struct htstore_array out = ints(outputs, end - first);
    OK(htstore_table_lookup(api.table, &k, NULL, &out, found, &api.error));
    for (int64_t i = first; i < end; i++) {
        ck_assert_msg(found[i - first] == (version >= 0), "row %d", (int)i);
        ck_assert_int_eq(outputs[i - first], version >= 0 ? value_of(i, version) : -7);
    }
}

static void begin(void)
{
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-7");
}

static void reopen(void)
{
    api_close_store();
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
}

/* --- loading in the background --- */

START_TEST(a_large_table_is_loaded_in_the_background_and_read_meanwhile)
{
    begin();
    write_rows(0, N, 1);
    reopen();
    expect_rows(0, N, 1); /* whether it is loaded or not */
    expect_rows(N, N + 50, -1);
    OK(htstore_table_warm(api.table, &api.error));
    ck_assert_uint_eq(api_stats().resident_tables, 1);
    ck_assert_uint_eq(api_stats().warming_tables, 0);
    const uint64_t reads = api_stats().lookup_reads;
    expect_rows(0, N, 1);
    expect_rows(N, N + 50, -1);
    ck_assert_uint_eq(api_stats().lookup_reads, reads); /* LMDB is not asked any more */
    SIZE_IS(N);
}
END_TEST

START_TEST(changes_while_it_is_loaded_are_kept)
{
    for (int round = 0; round < 20; round++) {
        if (round == 0)
            begin();
        else
            OK(htstore_table_clear(api.table, 0, &api.error));
        write_rows(0, N, 1);
        reopen();
        write_rows(100, 200, 2);
        remove_rows(N - 300, N - 200);
        if (round % 2)
            OK(htstore_flush(api.store, &api.error));
        write_rows(N - 250, N - 240, 3);
        write_rows(N, N + 100, 4);
        OK(htstore_table_warm(api.table, &api.error));
        expect_rows(0, 100, 1);
        expect_rows(100, 200, 2);
        expect_rows(200, N - 300, 1);
        expect_rows(N - 300, N - 250, -1);
        expect_rows(N - 250, N - 240, 3);
        expect_rows(N - 240, N - 200, -1);
        expect_rows(N - 200, N, 1);
        expect_rows(N, N + 100, 4);
        SIZE_IS(N + 10);
        OK(htstore_flush(api.store, &api.error));
        OK(htstore_compare_cache(api.store, NULL, &api.error));
    }
}
END_TEST

START_TEST(a_table_cleared_while_it_is_loaded_is_empty)
{
    for (int round = 0; round < 10; round++) {
        if (round == 0)
            begin();
        write_rows(0, N, 1);
        reopen();
        OK(htstore_table_clear(api.table, 0, &api.error));
        expect_rows(0, N, -1);
        write_rows(5, 10, 2);
        OK(htstore_table_warm(api.table, &api.error));
        expect_rows(0, 5, -1);
        expect_rows(5, 10, 2);
        expect_rows(10, N, -1);
        SIZE_IS(5);
        OK(htstore_flush(api.store, &api.error));
        OK(htstore_compare_cache(api.store, NULL, &api.error));
    }
}
END_TEST

START_TEST(a_table_may_be_closed_and_dropped_while_it_is_loaded)
{
    begin();
    write_rows(0, N, 1);
    for (int round = 0; round < 10; round++) {
        reopen();
        OK(htstore_table_close(api.table, &api.error));
        api.table = NULL;
        OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
        expect_rows(0, N, 1);
    }
    reopen();
    OK(htstore_table_close(api.table, &api.error));
    api.table = NULL;
    OK(htstore_table_drop(api.store, "t1", &api.error));
    OK(htstore_flush(api.store, &api.error));
}
END_TEST

/* --- within a budget --- */

static void use_budget(uint64_t bytes)
{
    api.options.cache_bytes = bytes;
    reopen();
}

START_TEST(a_bounded_table_remembers_what_was_asked_for)
{
    begin();
    write_rows(0, N, 1);
    use_budget(20000);
    ck_assert_int_eq(htstore_table_warm(api.table, &api.error), 1);
    ck_assert_uint_eq(api_stats().bounded_tables, 1);
    uint64_t reads = 0, before = UINT64_MAX;
    for (int i = 0; i < 20 && reads != before;
         i++) { /* while another thread closes the section nothing is remembered */
        before = reads;
        expect_rows(0, 100, 1);
        expect_rows(N, N + 50, -1); /* absent keys are remembered too */
        reads = api_stats().lookup_reads;
    }
    ck_assert_uint_ge(reads, 150);
    ck_assert_uint_eq(reads, before);
    for (int i = 0; i < 3; i++)
        expect_rows(0, N, 1);
    ck_assert_uint_lt(api_stats().cache_bytes, 25000);
}
END_TEST

START_TEST(what_is_remembered_follows_every_change)
{
    begin();
    write_rows(0, N, 1);
    use_budget(20000);
    for (int version = 2; version < 12; version++) {
        expect_rows(0, 300, version - 1);
        expect_rows(N, N + 20, -1);
        write_rows(0, 300, version);
        expect_rows(0, 300, version);
        if (version % 3 == 0)
            OK(htstore_flush(api.store, &api.error));
        expect_rows(0, 300, version);
        remove_rows(10, 20);
        expect_rows(10, 20, -1);
        expect_rows(20, 300, version);
        if (version % 3 == 1)
            OK(htstore_flush(api.store, &api.error));
        expect_rows(10, 20, -1);
        write_rows(10, 20, version);
        expect_rows(0, 300, version);
        SIZE_IS(N);
    }
    OK(htstore_table_clear(api.table, 0, &api.error));
    expect_rows(0, 300, -1);
    OK(htstore_flush(api.store, &api.error));
    expect_rows(0, 300, -1);
    SIZE_IS(0);
}
END_TEST

static void wait_until_bounded(void)
{
    for (int i = 0; i < 5000 && api_stats().bounded_tables == 0; i++)
        usleep(1000);
    ck_assert_uint_eq(api_stats().bounded_tables, 1);
}

START_TEST(a_table_that_outgrows_the_budget_becomes_bounded)
{
    api.options.cache_bytes = 60000;
    begin();
    write_rows(0, 1000, 1);
    ck_assert_uint_eq(api_stats().resident_tables, 1);
    write_rows(1000, N, 1);
    wait_until_bounded();
    OK(htstore_flush(api.store, &api.error));
    ck_assert_uint_le(api_stats().cache_bytes, 70000);
    expect_rows(0, N, 1);
    expect_rows(N, N + 50, -1);
    write_rows(N, N + 100, 2);
    remove_rows(0, 100);
    expect_rows(0, 100, -1);
    expect_rows(100, N, 1);
    expect_rows(N, N + 100, 2);
    SIZE_IS(N);
    api_reopen();
    expect_rows(0, 100, -1);
    expect_rows(100, N, 1);
    expect_rows(N, N + 100, 2);
}
END_TEST

START_TEST(tables_share_one_budget)
{
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-7", HTSTORE_INT64);
    struct htstore_table *first, *second;

    api.options.cache_bytes = 150000;
    begin();
    write_rows(0, N, 1);
    first = api.table;
    ck_assert_uint_eq(api_stats().resident_tables, 1);
    OK(htstore_table_create(api.store, "t2", &schema, &second, &api.error));
    api.table = second;
    write_rows(0, N, 2);
    wait_until_bounded();
    OK(htstore_flush(api.store, &api.error)); /* what waits for the flush is not part of the budget */
    for (int i = 0; i < 1000 && api_stats().cache_bytes > 160000; i++)
        usleep(1000);
    ck_assert_uint_le(api_stats().cache_bytes, 160000);
    expect_rows(0, N, 2);
    api.table = first;
    expect_rows(0, N, 1);
    OK(htstore_table_close(second, &api.error));
}
END_TEST

/* --- damage --- */

/* One bit of the value of a row, in its page. */
static void damage_row(int64_t key)
{
    const int64_t value = value_of(key, 1);
    uint8_t row[16], *bytes;
    char path[300];
    struct stat st;

    hti_store_be64(row, (uint64_t)key ^ (UINT64_C(1) << 63));
    hti_store_le64(row + 8, (uint64_t)value);
    (void)snprintf(path, sizeof path, "%s/data.mdb", api.path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    bytes = malloc((size_t)st.st_size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(pread(fd, bytes, (size_t)st.st_size, 0), (ssize_t)st.st_size);
    unsigned n = 0;
    for (uint8_t *at = bytes; (at = memmem(at, (size_t)(bytes + st.st_size - at), row, sizeof row)) != NULL; at++, n++)
        at[8] ^= 1; /* in pages that are not used any more too */
    ck_assert_uint_gt(n, 0);
    ck_assert_int_eq(pwrite(fd, bytes, (size_t)st.st_size, 0), (ssize_t)st.st_size);
    free(bytes);
    close(fd);
}

START_TEST(damage_that_loading_meets_is_told_by_whoever_asks)
{
    int64_t key = 5, value = 0;
    const struct htstore_array k = ints(&key, 1);
    struct htstore_array v = ints(&value, 1);

    begin();
    write_rows(0, N, 1);
    api_close_store();
    damage_row(N / 2);
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    REFUSED(htstore_table_warm(api.table, &api.error), HTSTORE_ECORRUPT, "t1");
    REFUSED(htstore_table_lookup(api.table, &k, NULL, &v, NULL, &api.error), HTSTORE_ECORRUPT, "t1");
    REFUSED(htstore_table_insert(api.table, &k, &v, 0, &api.error), HTSTORE_ECORRUPT, "checksum");
    ck_assert_uint_eq(api_stats().resident_tables, 0);
}
END_TEST

/* --- what is told is what is there --- */

#define N_MANY 600000

static uint64_t anonymous_bytes(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %lu", &kib) == 1)
            break;
    (void)fclose(file);
    return (uint64_t)kib << 10;
}

/* The rows of a table that is loaded take what the store tells, and not much else. */
START_TEST(the_memory_that_is_told_is_that_of_the_process)
{
    begin();
    write_rows(0, N_MANY, 1);
    api_close_store();
    const uint64_t before = anonymous_bytes();
    api_open_store();
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    OK(htstore_table_warm(api.table, &api.error));
    const uint64_t told = api_stats().cache_bytes, grown = anonymous_bytes() - before;
    ck_assert_uint_le(told, N_MANY * UINT64_C(24));
    ck_assert_uint_ge(told, N_MANY * UINT64_C(16));
    if (!CHECK_SANITIZED) {
        ck_assert_msg(grown < told + (UINT64_C(8) << 20), "told %llu, grown by %llu", (unsigned long long)told,
                      (unsigned long long)grown);
        ck_assert_msg(grown > told / 10 * 8 || before > (UINT64_C(64) << 20), "told %llu, grown by %llu",
                      (unsigned long long)told, (unsigned long long)grown);
    }
    SIZE_IS(N_MANY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("modes");
    TCase *tests = tcase_create("modes");

    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_large_table_is_loaded_in_the_background_and_read_meanwhile);
    tcase_add_test(tests, changes_while_it_is_loaded_are_kept);
    tcase_add_test(tests, a_table_cleared_while_it_is_loaded_is_empty);
    tcase_add_test(tests, a_table_may_be_closed_and_dropped_while_it_is_loaded);
    tcase_add_test(tests, a_bounded_table_remembers_what_was_asked_for);
    tcase_add_test(tests, what_is_remembered_follows_every_change);
    tcase_add_test(tests, a_table_that_outgrows_the_budget_becomes_bounded);
    tcase_add_test(tests, tables_share_one_budget);
    tcase_add_test(tests, damage_that_loading_meets_is_told_by_whoever_asks);
    tcase_add_test(tests, the_memory_that_is_told_is_that_of_the_process);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
