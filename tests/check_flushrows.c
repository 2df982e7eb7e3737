/*
 * Tests of flushrows: after any history LMDB holds the rows that a plain model says, count and digest are exactly those of
 * the rows, and the pages that a transaction changes are foretold.
 */
#include "flushrows.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check_util.h"
#include "kvwalk.h"
#include "mem.h"
#include "samples.h"

#define TABLE 7u
#define DATABASE 9u
#define N_KEYS 300u
#define ALL UINT64_MAX

static char *directory;
static int dir_fd = -1;
static struct hti_kv *kv;
static struct htstore store;
static struct htstore_error error;
static struct hti_totals_record totals;
static struct sample_rows pool;
static bool appended; /* by the last transaction, at its end */
static const struct hti_row
    *model[N_KEYS]; /* for the first row of the pool with this key: what is there; NULL: nothing */

static void set_up(void)
{
    struct hti_kv_options options = { .map_size = (uint64_t)1 << 30, .max_pinned = 4, .max_readers = 126 };

    sample_seed(11);
    memset(&store, 0, sizeof store);
    memset(model, 0, sizeof model);
    totals = (struct hti_totals_record){ .id = TABLE, .database = DATABASE };
    ck_assert_int_eq(pthread_mutex_init(&store.objects_mutex, NULL), 0);
    directory = check_tmpdir();
    options.path = directory;
    options.dir_fd = dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
    ck_assert_int_eq(hti_kv_open(&options, &kv, &error), 0);
    ck_assert_int_eq(hti_kv_acquire(kv, DATABASE, true, &error), 0);
}

static void tear_down(void)
{
    hti_kv_close(kv);
    close(dir_fd);
    sample_rows_free(&pool);
    hti_core_free(store.cores);
    pthread_mutex_destroy(&store.objects_mutex);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    check_tmpdir_remove(directory);
}

static void add_table(const struct hti_row_type *type)
{
    struct hti_object_record record = { .kind = HTSTORE_KIND_TABLE,
                                        .id = TABLE,
                                        .flags = HTSTORE_ANONYMOUS,
                                        .key_dtype = type->key_dtype,
                                        .value_dtype = type->value_dtype };

    record.value_shape.rank = 1;
    record.value_shape.dim[0] = (int64_t)type->n_elements;
    record.default_size = type->value_is_fixed ? type->value_size : (size_t)type->n_elements * 4;
    record.default_value = hti_mem_zalloc(record.default_size);
    store.cores = hti_core_new(&record);
    ck_assert_ptr_nonnull(store.cores);
}

/* --- the model --- */

static size_t first_with_key(const struct hti_row *row)
{
    size_t i = 0;

    while (pool.rows[i].key_size != row->key_size || memcmp(pool.rows[i].key, row->key, row->key_size) != 0)
        i++;
    return i;
}

static void make_record(struct hti_record *record, uint32_t kind, size_t first, size_t n, bool random)
{
    struct hti_op_builder builder;

    hti_op_builder_init(&builder, TABLE, &pool.type, kind);
    for (size_t i = 0; i < n; i++) {
        const struct hti_row *row = &pool.rows[random ? first + sample_below(n) : first + i];
        ck_assert_int_eq(hti_op_builder_row(&builder, row), 0);
        model[first_with_key(row)] = kind == HTI_OP_PUT ? row : NULL;
    }
    ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), 0);
    hti_op_builder_release(&builder);
}

/* --- what LMDB holds --- */

static void expect_row(const struct hti_row *row)
{
    const struct hti_row *said = model[first_with_key(row)];

    ck_assert_ptr_nonnull(said);
    ck_assert_uint_eq(said->value_size, row->value_size);
    ck_assert(memcmp(said->value, row->value, row->value_size) == 0);
}

static void expect_model(void)
{
    struct hti_hash128 digest = { 0 }, hash;
    struct hti_kv_bytes key, value;
    struct hti_kv_cursor *cursor;
    struct hti_kv_read *read;
    uint8_t space[8];
    struct hti_row row;
    uint64_t n = 0, expected = 0;

    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, &error), 0);
    ck_assert_int_eq(hti_kv_cursor_open(read, DATABASE, &cursor, &error), 0);
    while (hti_kv_cursor_next(cursor, &key, &value, &error) == 0) {
        ck_assert_int_eq(
            hti_codec_load_row(&pool.type, TABLE, key.data, key.size, value.data, value.size, space, &row, &hash), 0);
        expect_row(&row);
        hti_digest_add(&digest, hash);
        n++;
    }
    hti_kv_cursor_close(cursor);
    hti_kv_read_end(read);
    for (size_t i = 0; i < pool.n; i++)
        expected += model[i] != NULL;
    ck_assert_uint_eq(n, expected);
    ck_assert_uint_eq(totals.n_rows, n);
    ck_assert(totals.digest.low == digest.low && totals.digest.high == digest.high);
}

/* Bring a list of records into LMDB; returns how many transactions that took. The last one may be left out: a flush that was killed. */
static unsigned flush(const struct hti_record *list, uint64_t max_pages, bool all)
{
    struct hti_run run;
    struct hti_buf space;
    unsigned n = 0;

    hti_buf_init(&space);
    ck_assert_int_eq(hti_run_build(&store, list, &run, &error), 0);
    for (size_t at = run.tables[0].begin; at < run.tables[0].end; n++) {
        struct hti_flushrows rows = { .kv = kv, .run = &run, .table = run.tables, .totals = totals, .space = &space };
        struct hti_kv_write *write;
        ck_assert_int_eq(hti_kv_begin(kv, &write, &error), 0);
        ck_assert_int_eq(hti_flushrows_begin(&rows, write, &error), 0);
        ck_assert_int_eq(hti_flushrows_apply(&rows, write, &at, max_pages, &error), 0);
        if (!all && at == run.tables[0].end) {
            hti_kv_abort(write);
            break;
        }
        ck_assert_int_eq(hti_kv_commit(write, &error), 0);
        totals = rows.totals;
        appended = rows.appending;
    }
    hti_run_release(&run);
    hti_buf_release(&space);
    return n;
}

static void flush_one(uint32_t kind, size_t first, size_t n, bool random)
{
    struct hti_record *record = hti_record_new();

    ck_assert_ptr_nonnull(record);
    make_record(record, kind, first, n, random);
    flush(record, ALL, true);
    hti_record_free(record);
}

/* --- tests --- */

START_TEST(rows_count_and_digest_follow_any_history)
{
    struct hti_row_type type;

    sample_type((unsigned)_i, &type);
    sample_rows_make(&pool, &type, N_KEYS, true);
    add_table(&type);
    for (int round = 0; round < 12; round++) {
        struct hti_record *record = hti_record_new();
        ck_assert_ptr_nonnull(record);
        for (size_t ops = 1 + sample_below(4); ops > 0; ops--) {
            const size_t first = sample_below(N_KEYS - 1), n = 1 + sample_below(N_KEYS - first);
            make_record(record, sample_below(3) ? HTI_OP_PUT : HTI_OP_REMOVE, first, n, true);
        }
        if (round % 3 == 1) /* a flush that was killed in the middle, and begins anew */
            flush(record, 18, false);
        flush(record, round % 2 ? ALL : 18, true);
        expect_model();
        hti_record_free(record);
    }
}
END_TEST

static void number_table(uint32_t key_dtype, size_t n, size_t step)
{
    struct hti_row_type type;

    hti_row_type_init(&type, key_dtype, HTSTORE_INT64, 1);
    sample_rows_make(&pool, &type, n, false);
    for (size_t i = 0; i < n; i++) {
        const uint64_t key = htole64(i * step);
        memcpy((void *)(uintptr_t)pool.rows[i].key, &key, type.key_size);
    }
    add_table(&type);
}

START_TEST(rows_behind_the_last_one_are_appended)
{
    struct hti_kv_shape shape;
    struct hti_kv_read *read;
    struct hti_record *record = hti_record_new();

    ck_assert_ptr_nonnull(record);
    number_table(HTSTORE_UINT64, 20000, 1);
    for (size_t first = 0; first < 20000; first += 1000) {
        struct hti_op_builder builder;
        hti_op_builder_init(&builder, TABLE, &pool.type, HTI_OP_PUT);
        for (size_t i = first > 0 ? first - 1 : 0; i < first + 1000; i++) /* the first of each is the last one there */
            ck_assert_int_eq(hti_op_builder_row(&builder, &pool.rows[i]), 0);
        record->n_ops = 0;
        record->n_rows = 0;
        record->buf.size = HTI_RECORD_HEADER_SIZE;
        ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), 0);
        hti_op_builder_release(&builder);
        flush(record, ALL, true);
        ck_assert(appended);
    }
    hti_record_free(record);
    ck_assert_uint_eq(totals.n_rows, 20000);
    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, &error), 0);
    ck_assert_int_eq(hti_kv_read_shape(read, DATABASE, &shape, &error), 0);
    hti_kv_read_end(read);
    ck_assert_uint_eq(shape.n_entries, 20000);
    ck_assert_uint_le(shape.leaf_pages,
                      20000 / (4080 / 30) + 21); /* full ones; a split leaves two that are half full */
}
END_TEST

START_TEST(the_same_rows_again_change_nothing)
{
    number_table(HTSTORE_INT64, N_KEYS, 3);
    flush_one(HTI_OP_PUT, 0, N_KEYS, false);
    const struct hti_totals_record before = totals;
    flush_one(HTI_OP_PUT, 0, N_KEYS, false);
    ck_assert(!appended);
    ck_assert(memcmp(&before.digest, &totals.digest, sizeof totals.digest) == 0);
    ck_assert_uint_eq(totals.n_rows, N_KEYS);
    expect_model();
    flush_one(HTI_OP_REMOVE, 0, N_KEYS, false);
    ck_assert_uint_eq(totals.n_rows, 0);
    ck_assert(totals.digest.low == 0 && totals.digest.high == 0);
    flush_one(HTI_OP_REMOVE, 0, N_KEYS, false);
    expect_model();
}
END_TEST

/* --- pages --- */

static size_t list_leaves(uint64_t *pages, size_t capacity)
{
    struct hti_kvwalk_cursor *cursor;
    struct hti_kvwalk_entry entry;
    struct hti_kvpage_tree tree;
    struct hti_kvwalk *walk;
    const int fd = openat(dir_fd, "data.mdb", O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(hti_kvwalk_open(fd, false, "data.mdb", &walk, &error), 0);
    ck_assert_int_eq(hti_kvwalk_find_tree(walk, "t0000000000000009", &tree, NULL, NULL, &error), 0);
    ck_assert_int_eq(hti_kvwalk_cursor_open(walk, &tree, NULL, &cursor, &error), 0);
    while (hti_kvwalk_cursor_next(cursor, &entry, &error) == 0)
        if (n == 0 || pages[n - 1] != entry.page) {
            ck_assert_uint_lt(n, capacity);
            pages[n++] = entry.page;
        }
    hti_kvwalk_cursor_close(cursor);
    hti_kvwalk_close(walk);
    close(fd);
    return n;
}

static size_t count_changed(const uint64_t *before, size_t n_before, const uint64_t *after, size_t n_after)
{
    size_t n = 0;

    for (size_t i = 0; i < n_after; i++) {
        size_t k = 0;
        while (k < n_before && before[k] != after[i])
            k++;
        n += k == n_before;
    }
    return n;
}

/* Changed leaves are never more than twice what is foretold, and mostly not more at all. */
START_TEST(changed_pages_are_foretold)
{
    static uint64_t pages[2][4000];
    static const size_t batches[] = { 1, 30, 300, 3000, 30000 };
    struct hti_buf space;
    size_t n = 0, changed, all_changed = 0, all_foretold = 0;

    hti_buf_init(&space);
    number_table(HTSTORE_UINT64, 60000, 2);
    for (size_t round = 0; round < 2 * sizeof batches / sizeof batches[0]; round++) {
        struct hti_record *record = hti_record_new();
        struct hti_op_builder builder;
        struct hti_run run;
        struct hti_kv_write *write;
        ck_assert_ptr_nonnull(record);
        hti_op_builder_init(&builder, TABLE, &pool.type, round % 4 == 3 ? HTI_OP_REMOVE : HTI_OP_PUT);
        for (size_t i = batches[round / 2]; i > 0; i--)
            ck_assert_int_eq(hti_op_builder_row(&builder, &pool.rows[sample_below(pool.n)]), 0);
        ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), 0);
        hti_op_builder_release(&builder);
        ck_assert_int_eq(hti_run_build(&store, record, &run, &error), 0);
        struct hti_flushrows rows = { .kv = kv, .run = &run, .table = run.tables, .totals = totals, .space = &space };
        size_t at = 0;
        ck_assert_int_eq(hti_kv_begin(kv, &write, &error), 0);
        ck_assert_int_eq(hti_flushrows_begin(&rows, write, &error), 0);
        ck_assert_int_eq(hti_flushrows_apply(&rows, write, &at, ALL, &error), 0);
        ck_assert_int_eq(hti_kv_commit(write, &error), 0);
        totals = rows.totals;
        const size_t now = list_leaves(pages[round % 2], 4000);
        changed = count_changed(pages[(round + 1) % 2], n, pages[round % 2], now);
        ck_assert_uint_le(changed, 2 * hti_flushrows_pages(&rows));
        all_changed += changed;
        all_foretold += hti_flushrows_pages(&rows);
        n = now;
        hti_run_release(&run);
        hti_record_free(record);
    }
    ck_assert_uint_le(all_changed, all_foretold);
    ck_assert_uint_le(all_foretold, 4 * all_changed); /* not far above, or transactions would be small */
    hti_buf_release(&space);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flushrows");
    TCase *tests = tcase_create("flushrows");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, rows_count_and_digest_follow_any_history, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, rows_behind_the_last_one_are_appended);
    tcase_add_test(tests, the_same_rows_again_change_nothing);
    tcase_add_test(tests, changed_pages_are_foretold);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
