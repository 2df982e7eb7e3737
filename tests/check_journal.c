/* Tests of journal: numbers without gaps, what is durable when, segments that come and go, and failures that stay failures. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "faults.h"
#include "mem.h"
#include "samples.h"
#include "segment.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SEGMENT_SIZE ((uint64_t)64 << 10)
#define MAX_SEGMENTS 64
#define RECORD_FIXED (64u + 40u + 4u + 8u) /* of make_record(), without its key and what fills up to 8 bytes */

static const uint8_t store_id[16] = { 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3 };

static char *directory;
static int dir_fd = -1;
static int n_fds;
static struct hti_journal *journal;

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void open_directory(void)
{
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
}

static void set_up(void)
{
    sample_seed(1);
    fault_clear();
    journal = NULL;
    directory = check_tmpdir();
    n_fds = count_fds();
    open_directory();
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_journal_close(journal, false);
    fault_clear();
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    close(dir_fd);
    ck_assert_int_eq(count_fds(), n_fds);
    check_tmpdir_remove(directory);
}

static int open_journal(uint64_t first_segment, uint64_t next_lsn, uint64_t segment_bytes, struct htstore_error *error)
{
    struct hti_journal_options options = {
        .dir_fd = dir_fd,
        .path = directory,
        .first_segment = first_segment,
        .next_lsn = next_lsn,
        .segment_bytes = segment_bytes,
    };
    memcpy(options.store_id, store_id, sizeof store_id);
    return hti_journal_open(&options, &journal, error);
}

static void start(void)
{
    ck_assert_int_eq(open_journal(1, 1, SEGMENT_SIZE, NULL), 0);
}

static void stop(bool remove)
{
    hti_journal_close(journal, remove);
    journal = NULL;
}

/* A sealed record with one string key of that many bytes, all of them `fill`. */
static struct hti_record *make_record(size_t key_size, uint8_t fill)
{
    struct hti_record *record = hti_record_new();
    struct hti_row_type type;
    uint8_t *bytes = malloc(key_size ? key_size : 1);

    ck_assert_ptr_nonnull(record);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, fill, key_size);
    const struct htstore_bytes key = { bytes, key_size };
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT64, 1);
    const struct hti_op_source source = {
        .table_id = 1, .type = &type, .kind = HTI_OP_PUT, .n_rows = 1, .keys = &key, .values = &(const int64_t){ 7 }
    };
    ck_assert_int_eq(hti_record_add(record, &source, NULL), 0);
    hti_record_seal(record);
    free(bytes);
    return record;
}

static struct hti_record *make_list(unsigned n, size_t key_size)
{
    struct hti_record *list = NULL;

    while (n-- > 0) {
        struct hti_record *record = make_record(key_size, (uint8_t)n);
        record->next = list;
        list = record;
    }
    return list;
}

/* Append `n` records; returns the status, and sets *n_written. The records are gone afterwards. */
static int append_some(unsigned n, size_t key_size, uint64_t *n_written, struct htstore_error *error)
{
    struct hti_record *list = make_list(n, key_size);
    const int rc = hti_journal_append(journal, list, n_written, error);

    hti_record_free_list(list);
    return rc;
}

static void append(unsigned n, size_t key_size)
{
    uint64_t n_written = 0;
    ck_assert_int_eq(append_some(n, key_size, &n_written, NULL), 0);
    ck_assert_uint_eq(n_written, n);
}

/* --- what stands in the folder --- */

struct found {
    size_t n; /* segments */
    uint64_t numbers[MAX_SEGMENTS], first[MAX_SEGMENTS], last[MAX_SEGMENTS], sizes[MAX_SEGMENTS];
    uint64_t first_lsn, last_lsn; /* of all; 0: none */
};

/* The key of a record that make_list() made holds one byte over and over: what was torn or mixed would show. */
static void check_contents(const struct hti_record *record)
{
    struct hti_op_walk ops;
    struct hti_row_walk rows;
    struct hti_row row;
    struct hti_op op;

    hti_op_walk_init(&ops, record);
    ck_assert_int_eq(hti_op_walk_next(&ops, &op), 0);
    hti_row_walk_init(&rows, &op);
    ck_assert(hti_row_walk_next(&rows, &row));
    if (row.key_size > 1)
        ck_assert(memcmp(row.key, (const uint8_t *)row.key + 1, row.key_size - 1) == 0);
}

static void scan_segment(struct found *f, size_t i)
{
    struct hti_segment segment;
    struct hti_record_header header;
    struct hti_record *record;
    int rc;

    ck_assert_int_eq(hti_segment_open(dir_fd, directory, store_id, f->numbers[i], &segment, NULL), 0);
    f->sizes[i] = segment.file_size;
    while ((rc = hti_segment_read(&segment, &header, &record, NULL)) == 0) {
        ck_assert(f->last_lsn == 0 || header.lsn == f->last_lsn + 1); /* no gap, no repetition */
        ck_assert_uint_lt(header.durable_lsn, header.lsn);
        check_contents(record);
        hti_record_free(record);
        if (f->first_lsn == 0)
            f->first_lsn = header.lsn;
        if (f->first[i] == 0)
            f->first[i] = header.lsn;
        f->last[i] = f->last_lsn = header.lsn;
    }
    ck_assert_int_eq(rc, 1);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 1); /* nothing stands behind the end */
    hti_segment_close(&segment);
}

static void scan(struct found *f)
{
    uint64_t *numbers;

    memset(f, 0, sizeof *f);
    ck_assert_int_eq(hti_segment_list(dir_fd, directory, false, &numbers, &f->n, NULL), 0);
    ck_assert_uint_le(f->n, MAX_SEGMENTS);
    for (size_t i = 0; i < f->n; i++) {
        f->numbers[i] = numbers[i];
        scan_segment(f, i);
    }
    hti_mem_free(numbers);
}

static void expect_lsns(uint64_t first, uint64_t last)
{
    struct found f;

    scan(&f);
    ck_assert_uint_eq(f.first_lsn, first);
    ck_assert_uint_eq(f.last_lsn, last);
}

static bool segment_exists(uint64_t number)
{
    char name[HTI_SEGMENT_NAME_SIZE];
    hti_segment_name(number, name);
    return faccessat(dir_fd, name, F_OK, 0) == 0;
}

static uint64_t journal_bytes(void)
{
    struct hti_journal_stats stats;
    hti_journal_stats(journal, &stats);
    return stats.bytes;
}

/* Until the next segment has been prepared: the caller has filled more than half of the current one. All have one size. */
static void wait_for_spare(void)
{
    struct hti_journal_stats stats;

    do {
        sched_yield();
        hti_journal_stats(journal, &stats);
    } while (stats.bytes <= stats.last_segment * SEGMENT_SIZE);
}

/* --- opening --- */

START_TEST(a_new_journal_has_one_empty_segment)
{
    struct hti_journal_stats stats;
    struct found f;

    ck_assert_int_eq(open_journal(7, 100, SEGMENT_SIZE, NULL), 0);
    ck_assert_uint_eq(hti_journal_written_lsn(journal), 99);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), 99);
    ck_assert_int_eq(hti_journal_poisoned(journal, NULL), 0);
    hti_journal_stats(journal, &stats);
    ck_assert_uint_eq(stats.bytes, SEGMENT_SIZE);
    ck_assert_uint_eq(stats.syncs, 0);
    ck_assert_uint_eq(stats.last_segment, 7);
    scan(&f);
    ck_assert_uint_eq(f.n, 1);
    ck_assert_uint_eq(f.numbers[0], 7);
    ck_assert_uint_eq(f.last_lsn, 0);
}
END_TEST

START_TEST(opening_fails_cleanly)
{
    static const struct {
        enum fault_call call;
        int sys_errno, status;
    } faults[] = { { FAULT_WRITE, ENOSPC, HTSTORE_ENOSPC },
                   { FAULT_SYNC, EIO, HTSTORE_EIO },
                   { FAULT_RENAME, EACCES, HTSTORE_EREADONLY } };
    struct htstore_error error;
    bool failed = true;
    struct found f;

    for (size_t i = 0; i < COUNT(faults); i++) {
        fault_set(faults[i].call, 0, faults[i].sys_errno, 0);
        ck_assert_int_eq(open_journal(1, 1, SEGMENT_SIZE, &error), faults[i].status);
        ck_assert_int_eq(error.code, faults[i].status);
        ck_assert_ptr_null(journal);
    }
    for (uint64_t after = 0; failed; after++) {
        hti_mem_test_fail(after, false);
        const int rc = open_journal(1 + after, 1, SEGMENT_SIZE, &error);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert(failed == !journal);
    }
    stop(true);
    start();
    stop(false);
    ck_assert_int_eq(open_journal(1, 1, SEGMENT_SIZE, &error), HTSTORE_EEXIST);
    scan(&f);
    ck_assert_uint_eq(f.n, 1);
    hti_journal_close(NULL, true);
}
END_TEST

START_TEST(segments_double_up_to_their_limit)
{
    const uint64_t mib = (uint64_t)1 << 20;
    struct found f;

    ck_assert_int_eq(open_journal(1, 1, 3 * mib, NULL), 0);
    for (int i = 0; i < 80; i++)
        append(1, (size_t)100 << 10);
    stop(false);
    scan(&f);
    ck_assert_uint_ge(f.n, 4);
    ck_assert_uint_eq(f.sizes[0], mib);
    ck_assert_uint_eq(f.sizes[1], 2 * mib);
    ck_assert_uint_eq(f.sizes[2], 3 * mib);
    ck_assert_uint_eq(f.sizes[3], 3 * mib);
    ck_assert_uint_eq(f.last_lsn, 80);
}
END_TEST

/* --- appending --- */

START_TEST(records_get_numbers_in_order_without_gaps)
{
    static const unsigned counts[] = {
        1, 2, 7, 1, 30, 255, 256, 257, 600, 1
    }; /* some of them more than one system call takes */
    uint64_t lsn = 99;

    ck_assert_int_eq(open_journal(1, 100, SEGMENT_SIZE, NULL), 0);
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct hti_record *list = make_list(counts[i], 20 + i);
        uint64_t n_written = 0;
        ck_assert_int_eq(hti_journal_append(journal, list, &n_written, NULL), 0);
        ck_assert_uint_eq(n_written, counts[i]);
        for (const struct hti_record *r = list; r; r = r->next)
            ck_assert_uint_eq(r->lsn, ++lsn);
        hti_record_free_list(list);
        ck_assert_uint_eq(hti_journal_written_lsn(journal), lsn);
    }
    expect_lsns(100, lsn);
    uint64_t n_written = 5;
    ck_assert_int_eq(hti_journal_append(journal, NULL, &n_written, NULL), 0);
    ck_assert_uint_eq(n_written, 0);
}
END_TEST

START_TEST(a_list_may_fill_several_segments)
{
    struct found f;

    start();
    append(300, 1000);
    stop(false);
    scan(&f);
    ck_assert_uint_ge(f.n, 5);
    ck_assert_uint_eq(f.first_lsn, 1);
    ck_assert_uint_eq(f.last_lsn, 300);
    for (size_t i = 0; i < f.n; i++)
        ck_assert_uint_eq(f.numbers[i], i + 1);
}
END_TEST

START_TEST(a_record_may_fill_its_segment_to_the_last_byte)
{
    const size_t room = SEGMENT_SIZE - HTI_SEGMENT_DATA_OFFSET;
    struct found f;

    start();
    append(1, room - RECORD_FIXED - 4);
    append(1, room - RECORD_FIXED - 4);
    append(1, room - RECORD_FIXED - 4 - 8);
    stop(false);
    scan(&f);
    ck_assert_uint_eq(f.n, 3);
    ck_assert_uint_eq(f.last_lsn, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(f.sizes[i], SEGMENT_SIZE);
}
END_TEST

START_TEST(a_record_larger_than_a_segment_gets_one_of_its_size)
{
    struct found f;

    start();
    append(1, 100);
    append(1, (size_t)200 << 10);
    append(1, 100);
    append(1, (size_t)100 << 10);
    append(2, (size_t)90 << 10);
    stop(false);
    scan(&f);
    ck_assert_uint_eq(f.last_lsn, 6);
    ck_assert_uint_eq(f.n, 6);
    for (size_t i = 0; i < f.n; i++)
        ck_assert_uint_eq(f.numbers[i], i + 1);
    ck_assert_uint_ge(f.sizes[1], (uint64_t)200 << 10);
    ck_assert_uint_lt(f.sizes[1], ((uint64_t)200 << 10) + 8192);
    ck_assert_uint_eq(f.sizes[2], SEGMENT_SIZE);
}
END_TEST

START_TEST(a_prepared_segment_that_is_too_small_is_made_anew)
{
    struct found f;

    start();
    append(1, SEGMENT_SIZE / 4 * 3);
    wait_for_spare();
    ck_assert(segment_exists(2));
    append(1, (size_t)300 << 10);
    append(1, SEGMENT_SIZE / 4 * 3);
    stop(false);
    scan(&f);
    ck_assert_uint_eq(f.n, 3);
    ck_assert_uint_eq(f.last_lsn, 3);
    ck_assert_uint_ge(f.sizes[1], (uint64_t)300 << 10);
}
END_TEST

START_TEST(a_prepared_segment_is_used_next)
{
    struct hti_journal_stats stats;
    struct found f;

    start();
    append(1, SEGMENT_SIZE / 4 * 3);
    wait_for_spare();
    const unsigned n_made = fault_count(FAULT_RENAME);
    ck_assert_uint_eq(n_made, 2);
    append(1, SEGMENT_SIZE / 4);
    append(1, SEGMENT_SIZE / 4 - 10000); /* less than half is used: no other one is wanted */
    ck_assert_uint_eq(fault_count(FAULT_RENAME), n_made);
    hti_journal_stats(journal, &stats);
    ck_assert_uint_eq(stats.last_segment, 2);
    ck_assert_uint_eq(stats.bytes, 2 * SEGMENT_SIZE);
    scan(&f);
    ck_assert_uint_eq(f.n, 2);
    ck_assert_uint_eq(f.first[1], 2);
}
END_TEST

/* --- syncing --- */

START_TEST(a_sync_makes_all_that_is_written_durable)
{
    struct hti_journal_stats stats;

    start();
    append(5, 100);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), 0);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 0);
    ck_assert_int_eq(hti_journal_sync(journal, 0, NULL), 0);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 0);
    ck_assert_int_eq(hti_journal_sync(journal, 2, NULL), 0);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 1);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), 5);
    ck_assert_int_eq(hti_journal_sync(journal, 5, NULL), 0);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 1);
    append(1, 100);
    ck_assert_int_eq(hti_journal_sync(journal, 6, NULL), 0);
    hti_journal_stats(journal, &stats);
    ck_assert_uint_eq(stats.syncs, 2);
}
END_TEST

static void append_meanwhile(void *user, enum fault_call call, int fd, const void *data, size_t size)
{
    unsigned *n = user;

    (void)fd;
    (void)data;
    (void)size;
    if (call == FAULT_DATASYNC && (*n)++ == 0)
        append(1, 100);
}

/* Whether the sync still caught it is not known: only what was written before it began is durable. */
START_TEST(a_record_written_during_a_sync_is_not_called_durable)
{
    unsigned n_syncs = 0;

    start();
    append(2, 100);
    fault_watch(append_meanwhile, &n_syncs);
    ck_assert_int_eq(hti_journal_sync(journal, 2, NULL), 0);
    ck_assert_uint_eq(hti_journal_written_lsn(journal), 3);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), 2);
    ck_assert_int_eq(hti_journal_sync(journal, 3, NULL), 0);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), 3);
    ck_assert_uint_eq(n_syncs, 2);
}
END_TEST

START_TEST(records_tell_what_was_synced_before_them)
{
    struct hti_record_header header;
    struct hti_segment segment;
    static const uint64_t durable[] = { 0, 0, 0, 3, 3, 5 };

    start();
    append(2, 100);
    append(1, 100);
    ck_assert_int_eq(hti_journal_sync(journal, 3, NULL), 0);
    append(2, 100);
    ck_assert_int_eq(hti_journal_sync(journal, 5, NULL), 0);
    append(1, 100);
    ck_assert_int_eq(hti_segment_open(dir_fd, directory, store_id, 1, &segment, NULL), 0);
    for (size_t i = 0; i < COUNT(durable); i++) {
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
        ck_assert_uint_eq(header.durable_lsn, durable[i]);
    }
    hti_segment_close(&segment);
}
END_TEST

/* --- the switch of the segment --- */

struct switch_watch {
    ino_t inode; /* of the segment that was written last */
    uint64_t last_lsn;
    bool synced; /* since the last record was written */
    unsigned n_switches;
    unsigned n_wrong;
};

static void watch_switch(void *user, enum fault_call call, int fd, const void *data, size_t size)
{
    struct switch_watch *w = user;
    struct stat st;

    if (fstat(fd, &st) != 0)
        w->n_wrong++;
    if (call == FAULT_DATASYNC)
        w->synced = st.st_ino == w->inode;
    if (call != FAULT_WRITE || size < HTI_RECORD_HEADER_SIZE || hti_load_le32(data) != HTI_RECORD_MAGIC)
        return;
    if (st.st_ino != w->inode && w->inode != 0) {
        w->n_switches++;
        w->n_wrong += !w->synced || hti_load_le64((const uint8_t *)data + 16) < w->last_lsn;
    }
    w->inode = st.st_ino;
    w->last_lsn = hti_load_le64((const uint8_t *)data + 8); /* of the first one in the call: enough for lists of one */
    w->synced = false;
}

/* A gap between two segments could not be told from a torn tail otherwise. */
START_TEST(the_old_segment_is_synced_before_a_record_goes_to_the_new_one)
{
    struct switch_watch w = { 0 };

    start();
    fault_watch(watch_switch, &w);
    for (int i = 0; i < 40; i++)
        append(1, 9000);
    append(1, (size_t)500 << 10);
    append(1, 10);
    fault_watch(NULL, NULL);
    ck_assert_uint_ge(w.n_switches, 7);
    ck_assert_uint_eq(w.n_wrong, 0);
}
END_TEST

/* --- releasing --- */

START_TEST(a_release_deletes_exactly_what_is_not_needed)
{
    struct found f;

    start();
    for (int i = 0; i < 40; i++)
        append(1, 9000);
    scan(&f);
    ck_assert_uint_ge(f.n, 6);
    const size_t n_full = f.last[f.n - 1] ? f.n - 1 : f.n - 2; /* the last one may be prepared only */
    for (uint64_t lsn = 0; lsn <= 40; lsn++) {
        ck_assert_int_eq(hti_journal_release(journal, lsn, NULL), 0);
        for (size_t i = 0; i < f.n; i++)
            ck_assert_msg(segment_exists(f.numbers[i]) == (i >= n_full || f.last[i] > lsn), "segment %zu at LSN %llu",
                          i, (unsigned long long)lsn);
    }
    append(5, 9000);
    ck_assert_int_eq(hti_journal_sync(journal, 45, NULL), 0);
    expect_lsns(f.first[n_full], 45);
}
END_TEST

START_TEST(a_release_that_fails_is_tried_again_later)
{
    struct htstore_error error;
    uint64_t bytes;

    start();
    for (int i = 0; i < 40; i++)
        append(1, 9000);
    wait_for_spare();
    bytes = journal_bytes();
    fault_set(FAULT_UNLINK, 1, EIO, 1);
    ck_assert_int_eq(hti_journal_release(journal, 40, &error), HTSTORE_EIO);
    ck_assert(!segment_exists(1));
    ck_assert(segment_exists(2));
    ck_assert_uint_eq(journal_bytes(), bytes - SEGMENT_SIZE);
    ck_assert_int_eq(hti_journal_poisoned(journal, NULL), 0);
    fault_clear();
    char name[HTI_SEGMENT_NAME_SIZE];
    hti_segment_name(3, name);
    ck_assert_int_eq(unlinkat(dir_fd, name, 0), 0); /* somebody else was there: fine */
    ck_assert_int_eq(hti_journal_release(journal, 40, &error), 0);
    ck_assert(!segment_exists(2));
    ck_assert(!segment_exists(4));
    append(1, 10);
}
END_TEST

START_TEST(closing_keeps_or_removes_the_segments)
{
    struct found f;

    start();
    for (int i = 0; i < 20; i++)
        append(1, 9000);
    append(1, SEGMENT_SIZE / 4 * 3);
    wait_for_spare();
    stop(false);
    scan(&f);
    ck_assert_uint_eq(f.last_lsn, 21);
    for (size_t i = 0; i < f.n; i++)
        ck_assert_uint_ne(f.last[i], 0); /* no prepared one is left */

    ck_assert_int_eq(open_journal(f.n + 1, 22, SEGMENT_SIZE, NULL), 0);
    append(10, 9000);
    stop(true);
    scan(&f);
    ck_assert_uint_eq(f.last_lsn, 21);
}
END_TEST

/* A crash in the middle of it must not leave a gap. */
START_TEST(closing_removes_the_oldest_segments_first)
{
    start();
    for (int i = 0; i < 30; i++)
        append(1, 9000);
    wait_for_spare();
    fault_set(FAULT_UNLINK, 2, EIO, 1);
    stop(true);
    ck_assert(!segment_exists(1));
    ck_assert(!segment_exists(2));
    ck_assert(segment_exists(3));
    ck_assert(segment_exists(4));
}
END_TEST

/* --- no space --- */

/* What must hold while no further segment can be made, and after there is space again. */
static void check_full(void (*make_room)(void))
{
    struct htstore_error error;
    const uint64_t before = hti_journal_written_lsn(journal);
    uint64_t n_written = 0, lsn;
    int rc = 0, n_tries = 0;

    while (rc == 0 && n_tries++ < 10000) {
        rc = append_some(3, 9000, &n_written, &error);
        if (rc == 0)
            ck_assert_uint_eq(n_written, 3);
    }
    ck_assert_int_eq(rc, HTSTORE_ENOSPC);
    ck_assert_int_eq(error.code, HTSTORE_ENOSPC);
    lsn = hti_journal_written_lsn(journal);
    ck_assert_uint_eq(lsn, before + (uint64_t)(n_tries - 1) * 3 + n_written);
    ck_assert_int_eq(hti_journal_poisoned(journal, NULL), 0);
    ck_assert_int_eq(append_some(1, 9000, &n_written, &error), HTSTORE_ENOSPC);
    ck_assert_uint_eq(n_written, 0);
    ck_assert_int_eq(hti_journal_sync(journal, lsn, NULL), 0);
    expect_lsns(1, lsn);

    make_room();
    append(20, 9000);
    ck_assert_int_eq(hti_journal_sync(journal, lsn + 20, NULL), 0);
    expect_lsns(1, lsn + 20);
    stop(false);
    struct found f;
    scan(&f);
    for (size_t i = 0; i < f.n; i++)
        ck_assert_uint_eq(f.numbers[i], i + 1); /* numbers of attempts that failed are used again */
}

START_TEST(without_space_nothing_is_lost_and_a_later_append_works)
{
    start();
    append(10, 9000);
    fault_set(FAULT_RENAME, 0, ENOSPC, 1);
    check_full(fault_clear);
}
END_TEST

static void remove_filler(void)
{
    ck_assert_int_eq(unlinkat(dir_fd, "filler", 0), 0);
}

/* Take all space but a few hundred KiB. */
static void fill_up(void)
{
    static const uint8_t zeros[4096];
    const int fd = openat(dir_fd, "filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;

    ck_assert_int_ge(fd, 0);
    while (write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros)
        continue;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(ftruncate(fd, st.st_size - (200 << 10)), 0);
    close(fd);
}

/* Needs the right to mount; where that is missing, the test before and the next one are what there is. */
START_TEST(a_full_file_system_is_survived)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
        mount("tmpfs", directory, "tmpfs", 0, "size=2m") != 0) {
        fprintf(stderr, "SKIP: a_full_file_system_is_survived: cannot mount a tmpfs\n");
        return;
    }
    close(dir_fd);
    open_directory();
    start();
    append(10, 9000);
    fill_up();
    check_full(remove_filler);
    ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
}
END_TEST

START_TEST(a_file_size_limit_is_lack_of_space)
{
    struct rlimit old, limit;
    uint64_t n_written;

    start();
    append(1, 100);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 2 * SEGMENT_SIZE;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const int rc = append_some(1, (size_t)4 * SEGMENT_SIZE, &n_written, NULL);
    const int smaller = append_some(1, SEGMENT_SIZE, &n_written, NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    ck_assert_int_eq(rc, HTSTORE_ENOSPC);
    ck_assert_int_eq(smaller, 0);
    append(1, (size_t)4 * SEGMENT_SIZE);
    expect_lsns(1, 3);
}
END_TEST

START_TEST(without_memory_for_a_segment_a_later_append_works)
{
    struct hti_record *list = make_list(30, 9000);
    uint64_t n_written;

    start();
    hti_mem_test_fail(0, true);
    const int rc = hti_journal_append(journal, list, &n_written, NULL);
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_int_eq(rc, HTSTORE_ENOMEM);
    ck_assert_uint_eq(n_written, 6);
    hti_record_free_list(list);
    ck_assert_int_eq(hti_journal_poisoned(journal, NULL), 0);
    append(30, 9000);
    expect_lsns(1, 36);
}
END_TEST

/* --- failures that stay --- */

static void expect_poisoned(int sys_errno)
{
    struct htstore_error first, error;
    const unsigned n_writes = fault_count(FAULT_WRITE), n_syncs = fault_count(FAULT_DATASYNC);
    const uint64_t written = hti_journal_written_lsn(journal), durable = hti_journal_durable_lsn(journal);
    uint64_t n_written = 9;

    fault_set(FAULT_WRITE, UINT32_MAX, 0, 0); /* the disk is well again: it must not matter */
    fault_set(FAULT_SYNC, UINT32_MAX, 0, 0);
    fault_set(FAULT_DATASYNC, UINT32_MAX, 0, 0);
    ck_assert_int_eq(hti_journal_poisoned(journal, &first), HTSTORE_EIO);
    ck_assert_int_eq(first.code, HTSTORE_EIO);
    ck_assert_int_eq(first.sys_errno, sys_errno);
    ck_assert_int_eq(hti_journal_poisoned(journal, NULL), HTSTORE_EIO);

    const struct htstore_error later = { .code = HTSTORE_ECORRUPT, .message = "a later error" };
    hti_journal_poison(journal, &later);
    ck_assert_int_eq(append_some(2, 9000, &n_written, &error), HTSTORE_EIO);
    ck_assert_uint_eq(n_written, 0);
    ck_assert_str_eq(error.message, first.message);
    ck_assert_int_eq(append_some(1, 2 * SEGMENT_SIZE, &n_written, &error), HTSTORE_EIO);
    ck_assert_int_eq(hti_journal_sync(journal, written, &error), written > durable ? HTSTORE_EIO : 0);
    ck_assert_int_eq(hti_journal_sync(journal, durable, &error), 0); /* was durable, and is */
    ck_assert_str_eq(error.message, first.message);
    ck_assert_uint_eq(hti_journal_written_lsn(journal), written);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), durable);
    ck_assert_uint_eq(fault_count(FAULT_WRITE), n_writes);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), n_syncs);
}

START_TEST(a_failed_write_poisons)
{
    static const int errnos[] = { EIO, ENOSPC,
                                  EBADF }; /* ENOSPC too: in the middle of a record it is no clean refusal */
    struct htstore_error error;
    uint64_t n_written;

    start();
    append(2, 1000);
    ck_assert_int_eq(hti_journal_sync(journal, 2, NULL), 0);
    append(1, 1000);
    fault_set(FAULT_WRITE, 0, errnos[_i], 0);
    ck_assert_int_eq(append_some(3, 1000, &n_written, &error), HTSTORE_EIO);
    ck_assert_uint_eq(n_written, 0);
    expect_poisoned(errnos[_i]);
    expect_lsns(1, 3);
}
END_TEST

START_TEST(a_write_torn_in_the_middle_poisons)
{
    uint64_t n_written;
    struct hti_record_header header;
    struct hti_segment segment;

    start();
    append(2, 1000);
    fault_shorten(500);
    fault_set(FAULT_WRITE, 1, EIO, 0);
    ck_assert_int_eq(append_some(3, 1000, &n_written, NULL), HTSTORE_EIO);
    ck_assert_uint_eq(n_written, 0);
    fault_shorten(0);
    expect_poisoned(EIO);
    ck_assert_int_eq(hti_segment_open(dir_fd, directory, store_id, 1, &segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    hti_segment_close(&segment);
}
END_TEST

START_TEST(short_writes_are_continued)
{
    start();
    fault_shorten(700);
    append(3, 1000);
    append(30, 5000);
    fault_clear();
    expect_lsns(1, 33);
}
END_TEST

START_TEST(a_failed_sync_poisons)
{
    static const int errnos[] = { EIO, ENOSPC, EINTR }; /* not even EINTR is tried again */
    struct htstore_error error;

    start();
    append(2, 1000);
    ck_assert_int_eq(hti_journal_sync(journal, 2, NULL), 0);
    append(2, 1000);
    fault_set(FAULT_DATASYNC, 0, errnos[_i], 0);
    ck_assert_int_eq(hti_journal_sync(journal, 4, &error), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, errnos[_i]);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 2);
    ck_assert_uint_eq(hti_journal_durable_lsn(journal), 2);
    expect_poisoned(errnos[_i]);
}
END_TEST

START_TEST(a_failed_sync_at_the_switch_poisons)
{
    struct htstore_error error;
    uint64_t n_written;
    struct found f;

    start();
    append(6, 9000);
    wait_for_spare();
    fault_set(FAULT_DATASYNC, 0, EIO, 0);
    ck_assert_int_eq(append_some(2, 9000, &n_written, &error), HTSTORE_EIO);
    ck_assert_uint_eq(n_written, 0);
    expect_poisoned(EIO);
    stop(false);
    scan(&f);
    ck_assert_uint_eq(f.n, 1);
    ck_assert_uint_eq(f.last_lsn, 6);
}
END_TEST

/* A failed fsync is not tried again, neither by the thread that prepares segments nor by who appends. */
START_TEST(a_failed_sync_of_a_new_segment_poisons)
{
    uint64_t n_written;
    int rc = 0;

    start();
    append(1, 9000);
    fault_set(FAULT_SYNC, (unsigned)_i, EIO, 0); /* of the file, of the folder */
    for (int i = 0; i < 30 && rc == 0; i++)
        rc = append_some(1, 9000, &n_written, NULL);
    ck_assert_int_eq(rc, HTSTORE_EIO);
    ck_assert_uint_eq(n_written, 0);
    expect_poisoned(EIO);
}
END_TEST

START_TEST(a_failed_sync_of_a_large_new_segment_poisons)
{
    uint64_t n_written;

    start();
    append(1, 9000);
    fault_set(FAULT_SYNC, (unsigned)_i, EIO, 0);
    ck_assert_int_eq(append_some(1, 4 * SEGMENT_SIZE, &n_written, NULL), HTSTORE_EIO);
    expect_poisoned(EIO);
    ck_assert(!segment_exists(2));
}
END_TEST

START_TEST(others_may_poison_too)
{
    struct htstore_error error = { .code = HTSTORE_ECORRUPT, .message = "a page is damaged" };
    uint64_t n_written;

    start();
    append(1, 100);
    hti_journal_poison(journal, &error);
    memset(&error, 0, sizeof error);
    ck_assert_int_eq(append_some(1, 100, &n_written, &error), HTSTORE_ECORRUPT);
    ck_assert_str_eq(error.message, "a page is damaged");
    ck_assert_int_eq(hti_journal_sync(journal, 1, &error), HTSTORE_ECORRUPT);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 0);
}
END_TEST

/* --- threads --- */

struct crowd {
    _Atomic bool done;
    _Atomic uint64_t released;
    _Atomic unsigned n_wrong;
};

static void *run_syncer(void *argument)
{
    struct crowd *c = argument;

    while (!atomic_load(&c->done)) {
        const uint64_t lsn = hti_journal_written_lsn(journal);
        if (hti_journal_sync(journal, lsn, NULL) != 0 || hti_journal_durable_lsn(journal) < lsn)
            atomic_fetch_add(&c->n_wrong, 1);
    }
    return NULL;
}

static void *run_releaser(void *argument)
{
    struct crowd *c = argument;
    struct hti_journal_stats stats;

    while (!atomic_load(&c->done)) {
        const uint64_t durable = hti_journal_durable_lsn(journal), lsn = durable > 60 ? durable - 60 : 0;
        if (hti_journal_release(journal, lsn, NULL) != 0)
            atomic_fetch_add(&c->n_wrong, 1);
        atomic_store(&c->released, lsn);
        hti_journal_stats(journal, &stats);
        if (stats.bytes < SEGMENT_SIZE || hti_journal_poisoned(journal, NULL) != 0)
            atomic_fetch_add(&c->n_wrong, 1);
    }
    return NULL;
}

START_TEST(many_threads_sync_while_one_appends)
{
    struct crowd c = { 0 };
    pthread_t threads[4];
    uint64_t lsn = 0;
    struct found f;

    start();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < 3 ? run_syncer : run_releaser, &c), 0);
    for (int i = 0; i < 400; i++) {
        const unsigned n = 1 + (unsigned)sample_below(4);
        append(n, sample_below(50) == 0 ? 2 * SEGMENT_SIZE : sample_below(3000));
        lsn += n;
    }
    atomic_store(&c.done, true);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&c.n_wrong), 0);
    ck_assert_uint_eq(hti_journal_written_lsn(journal), lsn);
    scan(&f);
    ck_assert_uint_eq(f.last_lsn, lsn);
    ck_assert_uint_le(f.first_lsn, atomic_load(&c.released) + 1);
}
END_TEST

/* The first failure is what everybody gets, and nobody tries again. */
START_TEST(a_failure_among_many_threads_is_seen_by_all)
{
    struct crowd c = { 0 };
    pthread_t threads[3];
    struct htstore_error error;
    uint64_t n_written;
    int rc = 0;

    start();
    fault_set(FAULT_DATASYNC, 3, EIO, 1);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_syncer, &c), 0);
    for (int i = 0; i < 100000 && rc == 0; i++)
        rc = append_some(1, 100, &n_written, &error);
    atomic_store(&c.done, true);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(rc, HTSTORE_EIO);
    ck_assert_uint_eq(fault_count(FAULT_DATASYNC), 4);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, a_new_journal_has_one_empty_segment);
    tcase_add_test(tests, opening_fails_cleanly);
    tcase_add_test(tests, segments_double_up_to_their_limit);
    tcase_add_test(tests, records_get_numbers_in_order_without_gaps);
    tcase_add_test(tests, a_list_may_fill_several_segments);
    tcase_add_test(tests, a_record_may_fill_its_segment_to_the_last_byte);
    tcase_add_test(tests, a_record_larger_than_a_segment_gets_one_of_its_size);
    tcase_add_test(tests, a_prepared_segment_that_is_too_small_is_made_anew);
    tcase_add_test(tests, a_prepared_segment_is_used_next);
    tcase_add_test(tests, a_sync_makes_all_that_is_written_durable);
    tcase_add_test(tests, a_record_written_during_a_sync_is_not_called_durable);
    tcase_add_test(tests, records_tell_what_was_synced_before_them);
    tcase_add_test(tests, the_old_segment_is_synced_before_a_record_goes_to_the_new_one);
    tcase_add_test(tests, a_release_deletes_exactly_what_is_not_needed);
    tcase_add_test(tests, a_release_that_fails_is_tried_again_later);
    tcase_add_test(tests, closing_keeps_or_removes_the_segments);
    tcase_add_test(tests, closing_removes_the_oldest_segments_first);
}

static void add_failing_tests(TCase *tests)
{
    tcase_add_test(tests, without_space_nothing_is_lost_and_a_later_append_works);
    tcase_add_test(tests, a_full_file_system_is_survived);
    tcase_add_test(tests, a_file_size_limit_is_lack_of_space);
    tcase_add_test(tests, without_memory_for_a_segment_a_later_append_works);
    tcase_add_loop_test(tests, a_failed_write_poisons, 0, 3);
    tcase_add_test(tests, a_write_torn_in_the_middle_poisons);
    tcase_add_test(tests, short_writes_are_continued);
    tcase_add_loop_test(tests, a_failed_sync_poisons, 0, 3);
    tcase_add_test(tests, a_failed_sync_at_the_switch_poisons);
    tcase_add_loop_test(tests, a_failed_sync_of_a_new_segment_poisons, 0, 2);
    tcase_add_loop_test(tests, a_failed_sync_of_a_large_new_segment_poisons, 0, 2);
    tcase_add_test(tests, others_may_poison_too);
    tcase_add_test(tests, many_threads_sync_while_one_appends);
    tcase_add_test(tests, a_failure_among_many_threads_is_seen_by_all);
}

int main(void)
{
    Suite *suite = suite_create("journal");
    TCase *tests = tcase_create("journal");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    add_tests(tests);
    add_failing_tests(tests);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
