/* check_recovery: what an open makes of a journal that a crash has left: whole, torn, damaged, incomplete, not ours. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "crash/folder.h"
#include "crash/scene.h"
#include "hash.h"
#include "segment.h"

#define N_RECORDS 8
#define BIG_VALUE 9000 /* seven records in a segment */
#define N_BIG 25
#define SEGMENT_SIZE (64u << 10)
#define SMALL_DELTA (64u << 10)
#define MAX_RECORD_SIZE 4096

static struct scene_record records[SCENE_MAX_RECORDS];

/* ---- stores to look at ---- */

static void write_some(void)
{
    scene_open(scene.path);
    scene_put_range(1, N_RECORDS, scene.flags);
}

static void make_store(uint32_t flags)
{
    scene.flags = flags;
    ck_assert(scene_crash("write_some"));
    ck_assert_uint_eq(scene_records(scene.path, records), N_RECORDS);
}

static void write_big(void)
{
    scene_open(scene.path);
    scene_put_range(1, N_BIG, scene.flags);
}

/* Several segments. */
static void make_big_store(uint32_t flags)
{
    scene.value_size = BIG_VALUE;
    scene.flags = flags;
    ck_assert(scene_crash("write_big"));
    ck_assert_uint_eq(scene_records(scene.path, records), N_BIG);
    ck_assert_uint_ge(records[N_BIG - 1].segment, records[0].segment + 2);
}

static const struct scene_record *record_of(uint64_t lsn)
{
    ck_assert_uint_eq(records[lsn - 1].lsn, lsn);
    return &records[lsn - 1];
}

/* The same place in the copy. */
static const char *copied(const struct scene_record *record)
{
    char name[64];
    (void)snprintf(name, sizeof name, "journal/%.40s", strrchr(record->path, '/') + 1);
    return scene_file(name);
}

/* The copy opens with rows 1 to n; also after a close, and it takes the next row. */
static void expect_prefix(uint64_t n)
{
    scene_open(scene.copy);
    scene_expect(n);
    ck_assert_uint_eq(scene_stats().visible_lsn, n);
    scene_must(scene_put(n + 1, 0), "insert");
    scene_close();
    scene_open(scene.copy);
    scene_expect(n + 1);
    scene_close();
}

static void expect_refusal(int code, const char *file, uint64_t offset)
{
    const int rc = scene_try_open(scene.copy);
    const size_t size = strlen(scene.error.path), wanted = strlen(file);

    ck_assert_msg(rc == code, "open gave %d: %s", rc, scene.error.message);
    ck_assert_ptr_null(scene.store);
    ck_assert_msg(size >= wanted && strcmp(scene.error.path + size - wanted, file) == 0, "%s is not %s",
                  scene.error.path, file);
    ck_assert_msg(scene.error.offset == offset, "offset %ju is not %ju: %s", (uintmax_t)scene.error.offset,
                  (uintmax_t)offset, scene.error.message);
}

static void expect_damage(const struct scene_record *record)
{
    char text[64];

    expect_refusal(HTSTORE_ECORRUPT, strrchr(record->path, '/'), record->offset);
    (void)snprintf(text, sizeof text, "record %ju is missing or unreadable", (uintmax_t)record->lsn);
    ck_assert_msg(strstr(scene.error.message, text) != NULL, "%s", scene.error.message);
    ck_assert_msg(strstr(scene.error.message, "`htstore recover`") != NULL, "%s", scene.error.message);
}

static void zero(const struct scene_record *record)
{
    static const uint8_t zeros[MAX_RECORD_SIZE];
    ck_assert_uint_le(record->size, sizeof zeros);
    scene_write(copied(record), record->offset, zeros, (size_t)record->size);
}

/* ---- one record ---- */

static const uint32_t modes[] = { HTSTORE_SYNC, HTSTORE_INTERVAL, HTSTORE_LAZY };
#define N_MODES 3

START_TEST(a_journal_without_a_fault_gives_everything_back)
{
    make_store(modes[_i]);
    scene_make_copy();
    expect_prefix(N_RECORDS);
}
END_TEST

/* What is not yet on the disk is zeros, or what was there before. */
static void tear_segment(const struct scene_record *record, uint64_t from, bool with_garbage)
{
    uint8_t bytes[SEGMENT_SIZE];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(with_garbage ? i * 31 + from : 0);
    scene_write(copied(record), from, bytes, (size_t)(record->offset + record->size - from));
}

static bool is_unchanged(const struct scene_record *record)
{
    uint8_t before[MAX_RECORD_SIZE], after[MAX_RECORD_SIZE];

    ck_assert_uint_le(record->size, MAX_RECORD_SIZE);
    scene_read(record->path, record->offset, before, (size_t)record->size);
    scene_read(copied(record), record->offset, after, (size_t)record->size);
    return memcmp(before, after, (size_t)record->size) == 0;
}

START_TEST(a_tear_anywhere_in_the_last_three_records_leaves_the_whole_ones)
{
    make_store(modes[_i % N_MODES]);
    const struct scene_record *last = record_of(N_RECORDS);
    for (uint64_t cut = record_of(N_RECORDS - 2)->offset; cut <= last->offset + last->size; cut++) {
        uint64_t whole = N_RECORDS - 3;
        scene_make_copy();
        tear_segment(last, cut, _i >= N_MODES);
        while (whole < N_RECORDS && is_unchanged(record_of(whole + 1)))
            whole++;
        scene_open(scene.copy);
        scene_expect(whole);
        scene_close();
    }
}
END_TEST

/* No crash makes a segment shorter: it had its whole size before it had its name. */
START_TEST(a_segment_that_was_cut_short_is_damage_wherever_it_ends)
{
    make_store(modes[_i]);
    const struct scene_record *last = record_of(N_RECORDS);
    scene_make_copy();
    for (uint64_t cut = last->offset + last->size; cut >= record_of(N_RECORDS - 2)->offset; cut--) {
        ck_assert_int_eq(truncate(copied(last), (off_t)cut), 0);
        expect_refusal(HTSTORE_ECORRUPT, strrchr(last->path, '/'), cut);
    }
}
END_TEST

START_TEST(a_flip_in_a_record_that_was_synced_is_damage)
{
    make_store(HTSTORE_SYNC);
    const struct scene_record *record = record_of(N_RECORDS / 2);
    ck_assert_uint_eq(record_of(record->lsn + 1)->durable_lsn, record->lsn);
    scene_make_copy();
    for (uint64_t i = 0; i < record->size; i++) {
        const uint8_t mask = (uint8_t)(_i ? 1u << (i * 5 + i / 8) % 8 : 0xff);
        scene_flip(copied(record), record->offset + i, mask);
        expect_damage(record);
        scene_flip(copied(record), record->offset + i, mask);
        scene_expect_same_files();
    }
    expect_prefix(N_RECORDS);
}
END_TEST

START_TEST(a_flip_in_a_record_that_nothing_proves_synced_ends_the_journal_there)
{
    make_store(_i ? HTSTORE_LAZY : HTSTORE_INTERVAL);
    const struct scene_record *record = record_of(N_RECORDS / 2);
    for (uint64_t i = 0; i < record->size; i++) {
        scene_make_copy();
        scene_flip(copied(record), record->offset + i, (uint8_t)(i % 2 ? 0xff : 1u << i / 2 % 8));
        scene_open(scene.copy);
        scene_expect(record->lsn - 1);
        scene_close();
    }
    scene_make_copy();
    scene_flip(copied(record), record->offset, 1);
    expect_prefix(record->lsn - 1);
}
END_TEST

START_TEST(a_flip_in_the_last_record_is_a_torn_tail)
{
    make_store(modes[_i]);
    const struct scene_record *record = record_of(N_RECORDS);
    for (uint64_t i = 0; i < record->size; i++) {
        scene_make_copy();
        scene_flip(copied(record), record->offset + i, 0x10);
        scene_open(scene.copy);
        scene_expect(N_RECORDS - 1);
        scene_close();
    }
}
END_TEST

START_TEST(a_zeroed_record_is_damage_if_it_was_synced_and_a_torn_tail_otherwise)
{
    make_store(modes[_i]);
    for (uint64_t lsn = 1; lsn <= N_RECORDS; lsn++) {
        scene_make_copy();
        zero(record_of(lsn));
        if (modes[_i] == HTSTORE_SYNC && lsn < N_RECORDS)
            expect_damage(record_of(lsn));
        else
            expect_prefix(lsn - 1);
    }
}
END_TEST

static void write_mixed(void)
{
    scene_open(scene.path);
    scene_put_range(1, 4, HTSTORE_LAZY);
    scene_put_range(5, 5, HTSTORE_SYNC);
    scene_put_range(6, 8, HTSTORE_LAZY);
}

START_TEST(a_sync_proves_all_records_before_it)
{
    ck_assert(scene_crash("write_mixed"));
    ck_assert_uint_eq(scene_records(scene.path, records), 8);
    for (uint64_t lsn = 1; lsn <= 8; lsn++) {
        scene_make_copy();
        scene_flip(copied(record_of(lsn)), record_of(lsn)->offset + 70, 4);
        if (lsn <= 5)
            expect_damage(record_of(lsn));
        else
            expect_prefix(lsn - 1);
    }
}
END_TEST

START_TEST(a_proof_counts_though_its_own_record_is_torn)
{
    make_store(HTSTORE_SYNC);
    for (uint64_t lsn = 4; lsn <= N_RECORDS; lsn++) { /* headers stay, payloads go */
        scene_make_copy();
        for (uint64_t k = 3; k <= lsn; k++)
            scene_flip(copied(record_of(k)), record_of(k)->offset + HTI_RECORD_HEADER_SIZE, 1);
        expect_damage(record_of(3));
    }
}
END_TEST

/* ---- segments ---- */

START_TEST(a_missing_segment_is_damage)
{
    make_big_store(_i / 2 ? HTSTORE_LAZY : HTSTORE_SYNC);
    const uint64_t first = records[0].segment, missing = first + (uint64_t)(_i % 2);
    scene_make_copy();
    for (unsigned i = 0; i < N_BIG; i++) {
        if (records[i].segment == missing && unlink(copied(&records[i])) == 0) {
            const struct scene_record *before = i > 0 ? &records[i - 1] : NULL;
            const struct scene_record *after = &records[i];
            while (after->segment == missing)
                after++;
            expect_refusal(HTSTORE_ECORRUPT, strrchr(before ? before->path : after->path, '/'),
                           before ? before->offset + before->size : HTI_SEGMENT_DATA_OFFSET);
            ck_assert_ptr_nonnull(strstr(scene.error.message, "`htstore recover`"));
            return;
        }
    }
    ck_abort_msg("nothing was removed");
}
END_TEST

static void empty_journal(void)
{
    ck_assert(folder_remove(scene_file("journal")) && mkdir(scene_file("journal"), 0700) == 0);
}

START_TEST(a_missing_journal_is_damage_unless_the_store_was_closed)
{
    make_store(HTSTORE_SYNC);
    scene_make_copy();
    empty_journal();
    expect_refusal(HTSTORE_ECORRUPT, "/journal", 0);
    ck_assert_ptr_nonnull(strstr(scene.error.message, "`htstore recover`"));
    scene_open(scene.path);
    scene_close();
    ck_assert_uint_eq(scene_records(scene.path, records), 0);
    scene_make_copy();
    empty_journal();
    expect_prefix(N_RECORDS);
}
END_TEST

static void copy_segment(const char *from, const char *to)
{
    uint8_t bytes[SEGMENT_SIZE];

    scene_read(from, 0, bytes, sizeof bytes);
    const int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert(fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && close(fd) == 0);
}

/* The file becomes the segment of that number in the copy. */
static void plant_segment(const char *from, uint64_t number)
{
    char name[HTI_SEGMENT_NAME_SIZE], target[64];

    hti_segment_name(number, name);
    (void)snprintf(target, sizeof target, "journal/%s", name);
    copy_segment(from, scene_file(target));
}

/* Where a copy of the first segment is kept. */
static void keep_segment(char kept[300])
{
    (void)snprintf(kept, 300, "%s/kept", scene.directory);
    copy_segment(records[0].path, kept);
}

START_TEST(a_segment_under_another_number_is_refused)
{
    make_store(HTSTORE_SYNC);
    scene_make_copy();
    plant_segment(records[0].path, records[0].segment + 7);
    expect_refusal(HTSTORE_EFORMAT, ".htj", 16);
}
END_TEST

START_TEST(a_segment_of_another_store_is_refused)
{
    char other[320];

    make_store(HTSTORE_SYNC);
    (void)snprintf(other, sizeof other, "%s", records[0].path);
    const uint64_t number = records[0].segment;
    memcpy(strrchr(scene.path, '/'), "/other", 7);
    make_store(HTSTORE_SYNC);
    scene_make_copy();
    plant_segment(other, _i ? number : number + 1);
    expect_refusal(HTSTORE_EFORMAT, ".htj", 16);
}
END_TEST

START_TEST(a_segment_of_a_newer_version_is_refused)
{
    uint8_t header[64];

    make_store(HTSTORE_SYNC);
    scene_make_copy();
    scene_read(copied(&records[0]), 0, header, sizeof header);
    hti_store_le32(header + 8, HTI_SEGMENT_VERSION + 1);
    hti_store_le64(header + 56, hti_hash64(header, 56, 0));
    scene_write(copied(&records[0]), 0, header, sizeof header);
    expect_refusal(HTSTORE_EVERSION, ".htj", 8);
}
END_TEST

START_TEST(a_damaged_header_of_a_segment_is_damage)
{
    make_store(HTSTORE_SYNC);
    scene_make_copy();
    for (uint64_t i = 0; i < 64; i++) {
        scene_flip(copied(&records[0]), i, (uint8_t)(1u << i % 8));
        expect_refusal(HTSTORE_ECORRUPT, strrchr(records[0].path, '/'), 0);
        scene_flip(copied(&records[0]), i, (uint8_t)(1u << i % 8));
    }
    expect_prefix(N_RECORDS);
}
END_TEST

static int count_segments(const char *path)
{
    char folder[600];
    (void)snprintf(folder, sizeof folder, "%s/journal", path);
    return folder_count_others(folder, NULL, NULL);
}

static void write_half_a_segment(void)
{
    scene_open(scene.path);
    scene_put_range(1, 5, HTSTORE_SYNC);
    while (count_segments(scene.path) < 2) /* the journal's thread is at it */
        sched_yield();
}

START_TEST(leftovers_of_unfinished_segments_are_removed)
{
    scene.value_size = BIG_VALUE;
    ck_assert(scene_crash("write_half_a_segment")); /* leaves a prepared segment without records */
    scene_make_copy();
    for (unsigned i = 0; i < 3; i++) {
        static const char *const names[] = { "journal/0000000000000002.htj.tmp", "journal/0000000000000063.htj.tmp",
                                             "journal/x.tmp" };
        const int fd = open(scene_file(names[i]), O_WRONLY | O_CREAT | O_EXCL, 0600);
        ck_assert(fd >= 0 && write(fd, names[i], i) == (ssize_t)i && close(fd) == 0);
    }
    scene_open(scene.copy);
    scene_expect(5);
    ck_assert_int_eq(count_segments(scene.copy), 1);
    scene_close();
    ck_assert_int_eq(count_segments(scene.copy), 0);
}
END_TEST

/* ---- what LMDB has already ---- */

static void write_flush_write(void)
{
    scene_open(scene.path);
    scene_put_range(1, N_RECORDS - 2, HTSTORE_SYNC);
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
    if (scene.flags)
        scene_put_range(N_RECORDS - 1, N_RECORDS, HTSTORE_SYNC);
}

START_TEST(damage_in_records_that_lmdb_holds_costs_nothing)
{
    const uint64_t n = _i ? N_RECORDS : N_RECORDS - 2;
    scene.flags = (uint32_t)_i;
    ck_assert(scene_crash("write_flush_write"));
    ck_assert_uint_eq(scene_records(scene.path, records), n);
    for (uint64_t lsn = 1; lsn <= N_RECORDS - 2; lsn++) {
        scene_make_copy();
        zero(record_of(lsn));
        expect_prefix(n);
    }
    scene_make_copy();
    for (uint64_t lsn = 1; lsn <= N_RECORDS - 2; lsn++)
        zero(record_of(lsn));
    expect_prefix(n);
}
END_TEST

#define N_TABLES 12
#define ROWS_OF_A_TABLE 3
#define N_STEPS 7

static void put_in_tables(int64_t value)
{
    static const int64_t minus_one = -1;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    struct htstore_batch *batch;

    schema.default_value = htstore_scalar(HTSTORE_INT64, &minus_one);
    scene_must(htstore_batch_new(scene.store, &batch, &scene.error), "batch");
    for (int t = 0; t < N_TABLES; t++) {
        int64_t keys[ROWS_OF_A_TABLE] = { value, value + 1000, 0 }, values[ROWS_OF_A_TABLE] = { value, value, value };
        const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, ROWS_OF_A_TABLE);
        const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, ROWS_OF_A_TABLE);
        struct htstore_table *table;
        char name[16];
        (void)snprintf(name, sizeof name, "table%d", t);
        scene_must(htstore_table_get_or_create(scene.store, name, &schema, &table, &scene.error), "table");
        if (t % 5 == 4 && value % 3 == 2)
            scene_must(htstore_batch_clear(batch, table, &scene.error), "clear");
        scene_must(htstore_batch_insert(batch, table, &k, &v, &scene.error), "insert");
    }
    scene_must(htstore_batch_commit(batch, HTSTORE_LAZY, &scene.error), "commit");
}

/* Every table holds exactly what batches 1 to n put there. */
static void expect_tables(int64_t n)
{
    for (int t = 0; t < N_TABLES; t++) {
        const bool clears = t % 5 == 4;
        int64_t keys[64], values[64], wanted = 0, first = 1;
        struct htstore_table *table;
        uint64_t size;
        char name[16];
        for (int64_t i = 2; clears && i <= n; i += 3)
            first = i;
        for (int64_t i = first; i <= n; i++) {
            keys[wanted++] = i;
            keys[wanted++] = i + 1000;
        }
        keys[wanted++] = 0;
        const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, (size_t)wanted);
        struct htstore_array v = htstore_vector(HTSTORE_INT64, values, (size_t)wanted);
        (void)snprintf(name, sizeof name, "table%d", t);
        scene_must(htstore_table_open(scene.store, name, NULL, &table, &scene.error), "table");
        scene_must(htstore_table_size(table, &size, &scene.error), "size");
        ck_assert_msg((int64_t)size == wanted, "table %d has %ju rows instead of %jd", t, (uintmax_t)size,
                      (intmax_t)wanted);
        scene_must(htstore_table_lookup(table, &k, NULL, &v, NULL, &scene.error), "lookup");
        for (int64_t i = 0; i < wanted; i++)
            ck_assert_int_eq(values[i], keys[i] == 0 ? n : keys[i] % 1000);
        scene_must(htstore_table_close(table, &scene.error), "close");
    }
}

static void flush_until_killed(void)
{
    const struct mishap mishap = { .call = MISHAP_WRITE, .file = "data.mdb", .after = scene.number };

    scene_open(scene.path);
    for (int64_t i = 1; i <= N_STEPS; i++)
        put_in_tables(i);
    mishap_set(&mishap);
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
}

START_TEST(replay_completes_a_flush_that_was_killed_anywhere)
{
    scene.options.max_open_tables = 8; /* so that a flush takes several transactions */
    for (; !scene_crash("flush_until_killed"); scene.number++) {
        scene_open(scene.path);
        expect_tables(N_STEPS);
        scene_close();
        scene_open(scene.path);
        expect_tables(N_STEPS);
        scene_close();
        ck_assert(folder_remove(scene.path));
    }
    ck_assert_uint_ge(scene.number, 6); /* three transactions, each of data and meta page */
}
END_TEST

static void open_until_deletion(void)
{
    const struct mishap mishap = { .call = MISHAP_UNLINK, .file = ".htj", .after = scene.number };

    mishap_set(&mishap);
    scene_open(scene.path);
    _exit(1);
}

START_TEST(recovery_killed_before_it_deletes_is_repeated)
{
    make_big_store(HTSTORE_SYNC);
    for (; scene.number < 3; scene.number++) {
        ck_assert(!scene_crash("open_until_deletion"));
        ck_assert(!scene_crash("open_until_deletion"));
        scene_make_copy();
        scene_open(scene.copy);
        scene_expect(N_BIG);
        scene_close();
    }
}
END_TEST

/* scene.number: which call is the last one, of which kind; of which there are five. */
static void open_until_killed(void)
{
    static const enum mishap_call calls[] = { MISHAP_WRITE, MISHAP_DATASYNC, MISHAP_SYNC, MISHAP_UNLINK,
                                              MISHAP_RENAME };
    const struct mishap mishap = { .call = calls[scene.number % 5], .file = "copy", .after = scene.number / 5 };
    struct mishap by_name = mishap;

    by_name.file = ".htj";
    mishap_set(mishap.call == MISHAP_UNLINK || mishap.call == MISHAP_RENAME ? &by_name : &mishap);
    (void)scene_try_open(scene.copy);
    _exit(3); /* as an actor that no mishap has ended */
}

/* Copies lie beside what they were made of: both are there, and each record counts once, listed or read a second time. */
START_TEST(recovery_killed_at_any_step_is_repeated)
{
    unsigned n_killed = 0;

    make_big_store(_i ? HTSTORE_LAZY : HTSTORE_SYNC);
    for (unsigned kind = 0; kind < 5; kind++)
        for (scene.number = kind;; scene.number += 5) {
            scene.options.delta_bytes = 0;
            scene_make_copy();
            const bool killed = !scene_crash("open_until_killed");
            n_killed += killed;
            if (!killed && scene.number / 5 > 12)
                break;
            scene.options.delta_bytes = scene.number % 2 ? SMALL_DELTA : 0;
            scene_open(scene.copy);
            scene_expect(N_BIG);
            ck_assert_uint_eq(scene_stats().visible_lsn, N_BIG);
            if (killed) /* the others may have had the time to flush */
                ck_assert_uint_eq(scene_stats().replayed_records, N_BIG);
            scene_close();
        }
    ck_assert_uint_ge(n_killed, 8);
}
END_TEST

static const enum mishap_call recovery_calls[] = { MISHAP_WRITE, MISHAP_DATASYNC, MISHAP_SYNC, MISHAP_UNLINK,
                                                   MISHAP_RENAME };

/* Without room for a meta page LMDB ends for good; the errno tells that it was the room. */
static int told(bool full)
{
    return !full || (scene.error.code == HTSTORE_EIO && scene.error.sys_errno == ENOSPC) ? HTSTORE_EIO : HTSTORE_ENOSPC;
}

START_TEST(recovery_that_meets_an_error_gives_it_and_works_later)
{
    make_big_store(HTSTORE_SYNC);
    scene.options.delta_bytes = SMALL_DELTA; /* several flushes */
    for (unsigned after = 0;; after++) {
        const struct mishap mishap = {
            .call = recovery_calls[_i / 2], .file = "copy", .after = after, .error = _i % 2 ? ENOSPC : EIO
        };
        struct mishap by_name = mishap;
        by_name.file = ".htj";
        scene_make_copy();
        mishap_set(mishap.call == MISHAP_UNLINK || mishap.call == MISHAP_RENAME ? &by_name : &mishap);
        const int rc = scene_try_open(scene.copy);
        const unsigned hits = mishap_hits();
        mishap_set(NULL);
        if (hits == 0) {
            ck_assert_int_eq(rc, 0);
            scene_close();
            ck_assert_uint_gt(after, 0);
            return;
        }
        if (rc == 0) /* an error of the thread that prepares segments: nobody needs them yet */
            scene_close();
        else
            ck_assert_msg(rc == told(_i % 2), "%u: %d %s", after, rc, scene.error.message);
        scene_open(scene.copy);
        scene_expect(N_BIG);
        scene_close();
    }
}
END_TEST

/* ---- after a torn tail ---- */

#define KEPT 4 /* of eight LAZY records */

static void tear(void)
{
    make_store(HTSTORE_LAZY);
    scene_flip(record_of(KEPT + 1)->path, record_of(KEPT + 1)->offset + 3, 1);
}

static void just_open(void)
{
    scene_open(scene.path);
}

static void write_after_tear(void)
{
    scene_open(scene.path);
    scene_must(htstore_table_clear(scene.table, HTSTORE_LAZY, &scene.error), "clear");
    scene_put_range(1, 2, scene.flags);
}

START_TEST(dropped_records_stay_dropped)
{
    tear();
    if (_i & 1)
        ck_assert(scene_crash("just_open"));
    if (_i & 2) {
        scene_open(scene.path);
        scene_expect(KEPT);
        scene_close();
    }
    if (_i & 4) {
        scene.flags = _i & 8 ? HTSTORE_SYNC : HTSTORE_LAZY;
        ck_assert(scene_crash("write_after_tear"));
    }
    scene_open(scene.path);
    scene_expect(_i & 4 ? 2 : KEPT);
    scene_close();
    scene_open(scene.path);
    scene_expect(_i & 4 ? 2 : KEPT);
}
END_TEST

/* A power cut may bring back files whose deletion was not synced. */
START_TEST(old_segments_that_return_are_ignored)
{
    char kept[300];

    tear();
    const uint64_t number = records[0].segment;
    keep_segment(kept);
    scene.flags = _i ? HTSTORE_SYNC : HTSTORE_LAZY;
    ck_assert(scene_crash("write_after_tear"));
    scene_make_copy();
    plant_segment(kept, number);
    scene_open(scene.copy);
    scene_expect(2);
    scene_close();
    ck_assert_int_eq(count_segments(scene.copy), 0);
}
END_TEST

START_TEST(an_old_segment_does_not_stand_for_a_missing_journal)
{
    char kept[300];

    make_store(HTSTORE_SYNC);
    const uint64_t number = records[0].segment;
    keep_segment(kept);
    scene.flags = HTSTORE_SYNC;
    ck_assert(scene_crash("write_after_tear"));
    scene_make_copy();
    empty_journal();
    plant_segment(kept, number);
    expect_refusal(HTSTORE_ECORRUPT, "/journal", 0);
}
END_TEST

/* ---- numbers ---- */

START_TEST(lsns_go_on_without_a_gap)
{
    uint64_t n = 0, n_flushed = 0;

    for (unsigned round = 0; round < 4; round++) {
        scene.flags = modes[round % N_MODES];
        ck_assert(scene_crash("write_some"));
        n += N_RECORDS;
        ck_assert_uint_eq(scene_records(scene.path, records), n - n_flushed); /* copies of earlier ones, too */
        for (uint64_t i = 0; i < n - n_flushed; i++)
            ck_assert_uint_eq(records[i].lsn, n_flushed + i + 1);
        if (round % 2) {
            scene_open(scene.path);
            ck_assert_uint_eq(scene_stats().visible_lsn, n);
            scene_close();
            n_flushed = n;
        }
    }
}
END_TEST

START_TEST(open_says_how_much_it_replayed)
{
    make_store(HTSTORE_SYNC);
    scene_open(scene.path);
    struct htstore_stats stats = scene_stats();
    ck_assert_uint_eq(stats.replayed_records, N_RECORDS);
    ck_assert_uint_eq(stats.visible_lsn, N_RECORDS);
    ck_assert_uint_eq(stats.durable_lsn, N_RECORDS);
    ck_assert_uint_eq(stats.applied_lsn, 0); /* that is what the flusher does next */
    ck_assert_uint_eq(stats.delta_rows, N_RECORDS);
    scene_must(htstore_flush(scene.store, &scene.error), "flush");
    stats = scene_stats();
    ck_assert_uint_eq(stats.applied_lsn, N_RECORDS);
    ck_assert_uint_eq(stats.delta_rows, 0);
    scene_close();
    scene_open(scene.path);
    stats = scene_stats();
    ck_assert_uint_eq(stats.replayed_records, 0);
    ck_assert_uint_eq(stats.visible_lsn, N_RECORDS);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("recovery");
    TCase *records_case = tcase_create("records"), *segments = tcase_create("segments"), *again = tcase_create("again");

    tcase_add_checked_fixture(records_case, scene_setup, scene_teardown);
    tcase_add_loop_test(records_case, a_journal_without_a_fault_gives_everything_back, 0, N_MODES);
    tcase_add_loop_test(records_case, a_tear_anywhere_in_the_last_three_records_leaves_the_whole_ones, 0, 2 * N_MODES);
    tcase_add_loop_test(records_case, a_segment_that_was_cut_short_is_damage_wherever_it_ends, 0, N_MODES);
    tcase_add_loop_test(records_case, a_flip_in_a_record_that_was_synced_is_damage, 0, 2);
    tcase_add_loop_test(records_case, a_flip_in_a_record_that_nothing_proves_synced_ends_the_journal_there, 0, 2);
    tcase_add_loop_test(records_case, a_flip_in_the_last_record_is_a_torn_tail, 0, N_MODES);
    tcase_add_loop_test(records_case, a_zeroed_record_is_damage_if_it_was_synced_and_a_torn_tail_otherwise, 0, N_MODES);
    tcase_add_test(records_case, a_sync_proves_all_records_before_it);
    tcase_add_test(records_case, a_proof_counts_though_its_own_record_is_torn);
    suite_add_tcase(suite, records_case);

    tcase_add_checked_fixture(segments, scene_setup, scene_teardown);
    tcase_add_loop_test(segments, a_missing_segment_is_damage, 0, 4);
    tcase_add_test(segments, a_missing_journal_is_damage_unless_the_store_was_closed);
    tcase_add_test(segments, a_segment_under_another_number_is_refused);
    tcase_add_loop_test(segments, a_segment_of_another_store_is_refused, 0, 2);
    tcase_add_test(segments, a_segment_of_a_newer_version_is_refused);
    tcase_add_test(segments, a_damaged_header_of_a_segment_is_damage);
    tcase_add_test(segments, leftovers_of_unfinished_segments_are_removed);
    suite_add_tcase(suite, segments);

    tcase_add_checked_fixture(again, scene_setup, scene_teardown);
    tcase_add_loop_test(again, damage_in_records_that_lmdb_holds_costs_nothing, 0, 2);
    tcase_add_test(again, replay_completes_a_flush_that_was_killed_anywhere);
    tcase_add_test(again, recovery_killed_before_it_deletes_is_repeated);
    tcase_add_loop_test(again, recovery_killed_at_any_step_is_repeated, 0, 2);
    tcase_add_loop_test(again, recovery_that_meets_an_error_gives_it_and_works_later, 0, 10);
    tcase_add_loop_test(again, dropped_records_stay_dropped, 0, 16);
    tcase_add_loop_test(again, old_segments_that_return_are_ignored, 0, 2);
    tcase_add_test(again, an_old_segment_does_not_stand_for_a_missing_journal);
    tcase_add_test(again, lsns_go_on_without_a_gap);
    tcase_add_test(again, open_says_how_much_it_replayed);
    suite_add_tcase(suite, again);
    return suite;
}

int main(int argc, char **argv)
{
    static const struct scene_actor actors[] = {
        { "write_some", write_some },
        { "write_big", write_big },
        { "write_mixed", write_mixed },
        { "write_half_a_segment", write_half_a_segment },
        { "write_flush_write", write_flush_write },
        { "flush_until_killed", flush_until_killed },
        { "open_until_deletion", open_until_deletion },
        { "open_until_killed", open_until_killed },
        { "just_open", just_open },
        { "write_after_tear", write_after_tear },
        { 0 },
    };
    return scene_main(argc, argv, actors, make_suite);
}
