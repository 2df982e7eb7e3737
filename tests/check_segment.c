/* Tests of segment: files of the journal are made whole or not at all, and nothing but their own records is found in them. */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "faults.h"
#include "file.h"
#include "mem.h"
#include "samples.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define NUMBER 0x2Au
#define SIZE ((uint64_t)64 << 10)
#define HEADER_SIZE 64u
#define WINDOW ((uint64_t)1 << 20) /* in which the search for headers goes through a file */

static const uint8_t store_id[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const uint8_t other_id[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17 };

static char *directory;
static int dir_fd = -1;
static int n_fds; /* open before the test */

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void set_up(void)
{
    sample_seed(1);
    fault_clear();
    directory = check_tmpdir();
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
    n_fds = count_fds();
}

static void tear_down(void)
{
    fault_clear();
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    ck_assert_int_eq(count_fds(), n_fds);
    close(dir_fd);
    check_tmpdir_remove(directory);
}

static const char *name_of(uint64_t number)
{
    static char name[HTI_SEGMENT_NAME_SIZE];
    hti_segment_name(number, name);
    return name;
}

static int create(uint64_t number, uint64_t size)
{
    int fd;
    ck_assert_int_eq(hti_segment_create(dir_fd, directory, store_id, number, size, &fd, NULL), 0);
    return fd;
}

static int open_segment(struct hti_segment *segment, struct htstore_error *error)
{
    return hti_segment_open(dir_fd, directory, store_id, NUMBER, segment, error);
}

static void make_file(const char *name, const char *text)
{
    const int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static bool exists(const char *name)
{
    return faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void write_at(int fd, const void *data, size_t size, uint64_t offset)
{
    ck_assert_int_eq(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
}

static void read_at(int fd, void *data, size_t size, uint64_t offset)
{
    ck_assert_int_eq(pread(fd, data, size, (off_t)offset), (ssize_t)size);
}

/* A sealed and stamped record with one string key of that many bytes. */
static struct hti_record *make_record(uint64_t lsn, size_t key_size, uint64_t binding)
{
    struct hti_record *record = hti_record_new();
    struct hti_row_type type;
    uint8_t *bytes = malloc(key_size ? key_size : 1);

    ck_assert_ptr_nonnull(record);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, (int)(0x41 + lsn % 26), key_size);
    const struct htstore_bytes key = { bytes, key_size };
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT8, 1);
    const struct hti_op_source source = {
        .table_id = 1, .type = &type, .kind = HTI_OP_PUT, .n_rows = 1, .keys = &key, .values = "v"
    };
    ck_assert_int_eq(hti_record_add(record, &source, NULL), 0);
    hti_record_seal(record);
    hti_record_stamp(record, lsn, lsn - 1, binding);
    free(bytes);
    return record;
}

/* Write it and return where the next one goes. */
static uint64_t append(int fd, uint64_t offset, uint64_t lsn, size_t key_size)
{
    struct hti_record *record = make_record(lsn, key_size, hti_segment_binding(store_id, NUMBER));
    const uint64_t size = hti_record_size(record);

    write_at(fd, record->buf.data, record->buf.size, offset);
    hti_record_free(record);
    return offset + size;
}

/* A segment with `n` small records from LSN 1; the offset of each, and of the end, is noted. */
static int create_filled(unsigned n, uint64_t *offsets)
{
    const int fd = create(NUMBER, SIZE);

    offsets[0] = HTI_SEGMENT_DATA_OFFSET;
    for (unsigned i = 0; i < n; i++)
        offsets[i + 1] = append(fd, offsets[i], i + 1, 10 + i * 9);
    return fd;
}

/* --- names and bindings --- */

START_TEST(names_are_sixteen_hexadecimal_digits)
{
    ck_assert_str_eq(name_of(1), "0000000000000001.htj");
    ck_assert_str_eq(name_of(0xABCDEF), "0000000000abcdef.htj");
    ck_assert_str_eq(name_of(UINT64_MAX), "ffffffffffffffff.htj");
}
END_TEST

START_TEST(every_store_and_segment_has_its_own_binding)
{
    const uint64_t binding = hti_segment_binding(store_id, NUMBER);

    ck_assert(binding == hti_segment_binding(store_id, NUMBER));
    ck_assert(binding != hti_segment_binding(store_id, NUMBER + 1));
    ck_assert(binding != hti_segment_binding(other_id, NUMBER));
}
END_TEST

/* --- making --- */

START_TEST(a_new_segment_is_all_zeros_behind_its_header)
{
    const int fd = create(NUMBER, SIZE);
    uint8_t *bytes = malloc(SIZE);
    struct stat st;

    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, SIZE);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    read_at(fd, bytes, SIZE, 0);
    ck_assert(memcmp(bytes, "HTJSEG\r\n", 8) == 0);
    for (uint64_t i = HEADER_SIZE; i < SIZE; i++)
        ck_assert_uint_eq(bytes[i], 0);
    ck_assert(exists(name_of(NUMBER)));
    ck_assert(!exists("000000000000002a.htj.tmp"));
    free(bytes);
    close(fd);
}
END_TEST

START_TEST(file_and_folder_are_synced_before_the_segment_is_used)
{
    const int fd = create(NUMBER, SIZE);
    ck_assert_uint_eq(fault_count(FAULT_SYNC), 2);
    ck_assert_uint_eq(fault_count(FAULT_RENAME), 1);
    close(fd);
}
END_TEST

START_TEST(an_existing_segment_is_never_replaced)
{
    uint64_t offsets[3];
    struct htstore_error error;
    struct hti_segment segment;
    struct hti_record_header header;
    int fd = create_filled(2, offsets), again;

    close(fd);
    ck_assert_int_eq(hti_segment_create(dir_fd, directory, store_id, NUMBER, SIZE, &again, &error), HTSTORE_EEXIST);
    ck_assert_int_eq(again, -1);
    ck_assert(!exists("000000000000002a.htj.tmp"));
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
    hti_segment_close(&segment);
}
END_TEST

START_TEST(a_leftover_of_the_same_name_is_replaced)
{
    make_file("000000000000002a.htj.tmp", "left by a crash");
    close(create(NUMBER, SIZE));
    ck_assert(!exists("000000000000002a.htj.tmp"));
}
END_TEST

/* Every call that can fail, in turn: nothing may be left, and a second try must work. */
START_TEST(a_failed_creation_leaves_nothing_behind)
{
    static const struct {
        enum fault_call call;
        unsigned after;
        int sys_errno;
        int status;
    } faults[] = {
        { FAULT_WRITE, 0, ENOSPC, HTSTORE_ENOSPC },  { FAULT_WRITE, 1, ENOSPC, HTSTORE_ENOSPC },
        { FAULT_WRITE, 1, EIO, HTSTORE_EIO },        { FAULT_SYNC, 0, EIO, HTSTORE_EIO },
        { FAULT_SYNC, 0, ENOSPC, HTSTORE_ENOSPC },   { FAULT_SYNC, 1, EIO, HTSTORE_EIO },
        { FAULT_RENAME, 0, EDQUOT, HTSTORE_ENOSPC }, { FAULT_RENAME, 0, EIO, HTSTORE_EIO },
    };
    struct htstore_error error;
    uint64_t *numbers;
    size_t n;
    int fd = 99;

    fault_set(faults[_i].call, faults[_i].after, faults[_i].sys_errno, 0);
    ck_assert_int_eq(hti_segment_create(dir_fd, directory, store_id, NUMBER, SIZE, &fd, &error), faults[_i].status);
    ck_assert_int_eq(error.code, faults[_i].status);
    ck_assert_int_eq(error.sys_errno, faults[_i].sys_errno);
    ck_assert_int_eq(fd, -1);
    ck_assert(!exists(name_of(NUMBER)));
    ck_assert(!exists("000000000000002a.htj.tmp"));
    ck_assert_int_eq(hti_segment_list(dir_fd, directory, false, &numbers, &n, NULL), 0);
    ck_assert_uint_eq(n, 0);
    hti_mem_free(numbers);
    fault_clear();
    close(create(NUMBER, SIZE));
}
END_TEST

START_TEST(a_file_size_limit_is_lack_of_space)
{
    struct rlimit old, limit;
    struct htstore_error error;
    int fd;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = SIZE / 2;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const int rc = hti_segment_create(dir_fd, directory, store_id, NUMBER, SIZE, &fd, &error);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    ck_assert_int_eq(rc, HTSTORE_ENOSPC);
    ck_assert_int_eq(error.sys_errno, EFBIG);
    ck_assert(!exists("000000000000002a.htj.tmp"));
    close(create(NUMBER, SIZE));
}
END_TEST

START_TEST(short_writes_are_continued)
{
    struct hti_segment segment;

    fault_shorten(1000);
    close(create(NUMBER, SIZE));
    fault_clear();
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_uint_eq(segment.file_size, SIZE);
    hti_segment_close(&segment);
}
END_TEST

/* --- listing --- */

START_TEST(only_names_of_segments_are_listed_in_order)
{
    static const uint64_t made[] = { 0x10, 2, UINT64_MAX, 1, 0xA };
    static const char *const strange[] = { "000000000000001.htj",   "00000000000000001.htj",
                                           "000000000000000B.htj",  "0x0000000000000b.htj",
                                           " 000000000000000b.htj", "+00000000000000b.htj",
                                           "000000000000000b.HTJ",  "000000000000000bxhtj",
                                           "000000000000000b.htj~", "readme",
                                           "000000000000000g.htj",  ".htj" };
    static const uint64_t expected[] = { 1, 2, 0xA, 0x10, UINT64_MAX };
    uint64_t *numbers;
    size_t n;

    for (size_t i = 0; i < COUNT(made); i++)
        make_file(name_of(made[i]), "");
    for (size_t i = 0; i < COUNT(strange); i++)
        make_file(strange[i], "");
    ck_assert_int_eq(hti_segment_list(dir_fd, directory, true, &numbers, &n, NULL), 0);
    ck_assert_uint_eq(n, COUNT(expected));
    ck_assert_mem_eq(numbers, expected, sizeof expected);
    hti_mem_free(numbers);
    for (size_t i = 0; i < COUNT(strange); i++)
        ck_assert(exists(strange[i]));
}
END_TEST

START_TEST(leftovers_are_removed_only_if_asked_for)
{
    uint64_t *numbers;
    size_t n;

    make_file("000000000000002a.htj.tmp", "");
    make_file("0000000000000001.htj.tmp", "half a segment");
    make_file("0000000000000001.htj", "");
    make_file(".tmp", ""); /* a suffix of nothing */
    for (int clean = 0; clean < 2; clean++) {
        ck_assert_int_eq(hti_segment_list(dir_fd, directory, clean, &numbers, &n, NULL), 0);
        ck_assert_uint_eq(n, 1);
        hti_mem_free(numbers);
        ck_assert(exists("000000000000002a.htj.tmp") == !clean);
        ck_assert(exists("0000000000000001.htj.tmp") == !clean);
    }
    ck_assert(exists("0000000000000001.htj"));
    ck_assert(exists(".tmp"));
}
END_TEST

START_TEST(an_empty_folder_has_no_segments)
{
    uint64_t *numbers;
    size_t n = 7;

    ck_assert_int_eq(hti_segment_list(dir_fd, directory, true, &numbers, &n, NULL), 0);
    ck_assert_uint_eq(n, 0);
    hti_mem_free(numbers);
    /* the descriptor of the folder has not moved: listing again sees the same */
    make_file("0000000000000001.htj", "");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(hti_segment_list(dir_fd, directory, true, &numbers, &n, NULL), 0);
        ck_assert_uint_eq(n, 1);
        hti_mem_free(numbers);
    }
}
END_TEST

START_TEST(the_size_of_all_segments_is_counted)
{
    char path[4096];

    ck_assert_uint_eq(hti_segment_folder_size(dir_fd), 0); /* no folder */
    ck_assert_int_eq(mkdirat(dir_fd, "journal", 0700), 0);
    ck_assert_uint_eq(hti_segment_folder_size(dir_fd), 0);
    snprintf(path, sizeof path, "%s/journal", directory);
    const int journal_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(journal_fd, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        int fd;
        ck_assert_int_eq(hti_segment_create(journal_fd, path, store_id, i, i * 8192, &fd, NULL), 0);
        close(fd);
    }
    close(journal_fd);
    make_file("journal/other", "not counted");
    ck_assert_uint_eq(hti_segment_folder_size(dir_fd), 6 * 8192);
}
END_TEST

START_TEST(listing_fails_cleanly)
{
    struct htstore_error error;
    uint64_t *numbers;
    bool failed = true;
    size_t n;

    for (unsigned i = 1; i <= 5; i++)
        make_file(name_of(i), "");
    for (uint64_t after = 0; failed; after++) {
        hti_mem_test_fail(after, false);
        const int rc = hti_segment_list(dir_fd, directory, false, &numbers, &n, &error);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert_uint_eq(n, failed ? 0 : 5);
        ck_assert(failed == !numbers);
        hti_mem_free(numbers);
    }
    make_file("x.tmp", "");
    fault_set(FAULT_UNLINK, 0, EIO, 0);
    ck_assert_int_eq(hti_segment_list(dir_fd, directory, true, &numbers, &n, &error), HTSTORE_EIO);
    ck_assert_ptr_null(numbers);
    ck_assert_int_eq(hti_segment_list(-1, directory, true, &numbers, &n, &error), HTSTORE_EIO);
}
END_TEST

/* --- opening --- */

START_TEST(an_open_segment_starts_at_its_first_record)
{
    struct hti_segment segment;

    close(create(NUMBER, SIZE));
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_uint_eq(segment.number, NUMBER);
    ck_assert_uint_eq(segment.offset, HTI_SEGMENT_DATA_OFFSET);
    ck_assert_uint_eq(segment.file_size, SIZE);
    ck_assert(segment.binding == hti_segment_binding(store_id, NUMBER));
    hti_segment_close(&segment);
    ck_assert_int_eq(segment.fd, -1);
    hti_segment_close(&segment);
}
END_TEST

static void expect_refused(int status, int64_t offset)
{
    struct hti_segment segment;
    struct htstore_error error;

    ck_assert_int_eq(open_segment(&segment, &error), status);
    ck_assert_int_eq(error.code, status);
    ck_assert_int_eq(segment.fd, -1);
    if (offset >= 0) {
        ck_assert_int_eq((int64_t)error.offset, offset);
        ck_assert_ptr_nonnull(strstr(error.path, "000000000000002a.htj"));
    }
}

START_TEST(a_header_with_any_changed_bit_is_refused)
{
    const int fd = create(NUMBER, SIZE);
    struct hti_segment segment;
    uint8_t header[HEADER_SIZE];

    read_at(fd, header, sizeof header, 0);
    for (size_t bit = 0; bit < HEADER_SIZE * 8; bit++) {
        header[bit / 8] = (uint8_t)(header[bit / 8] ^ 1u << bit % 8);
        write_at(fd, header, sizeof header, 0);
        expect_refused(HTSTORE_ECORRUPT, 0);
        header[bit / 8] = (uint8_t)(header[bit / 8] ^ 1u << bit % 8);
    }
    write_at(fd, header, sizeof header, 0);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    hti_segment_close(&segment);
    close(fd);
}
END_TEST

/* Write a header with one field changed and a checksum that is right. */
static void change_header(int fd, size_t at, const void *data, size_t size)
{
    uint8_t header[HEADER_SIZE];

    read_at(fd, header, sizeof header, 0);
    memcpy(header + at, data, size);
    hti_store_le64(header + 56, hti_hash64(header, 56, 0));
    write_at(fd, header, sizeof header, 0);
}

START_TEST(a_newer_version_is_told_apart_from_damage)
{
    static const uint8_t versions[][8] = { { 2, 0, 0, 0, 0, 0, 0, 0 },
                                           { 0, 0, 0, 0, 0, 0, 0, 0 },
                                           { 1, 0, 0, 0, 1, 0, 0, 0 }, /* a feature that is not known */
                                           { 1, 0, 0, 0, 0, 0, 0, 0x80 } };
    const int fd = create(NUMBER, SIZE);

    for (size_t i = 0; i < COUNT(versions); i++) {
        change_header(fd, 8, versions[i], 8);
        expect_refused(HTSTORE_EVERSION, 8);
    }
    close(fd);
}
END_TEST

START_TEST(a_segment_of_another_store_or_place_is_refused)
{
    struct hti_segment segment;
    int fd = create(NUMBER, SIZE);

    change_header(fd, 16, other_id, sizeof other_id);
    expect_refused(HTSTORE_EFORMAT, 16);
    change_header(fd, 16, store_id, sizeof store_id);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    hti_segment_close(&segment);
    close(fd);
    ck_assert_int_eq(unlinkat(dir_fd, name_of(NUMBER), 0), 0);
    fd = create(NUMBER + 1, SIZE);
    close(fd);
    ck_assert_int_eq(renameat(dir_fd, "000000000000002b.htj", dir_fd, "000000000000002a.htj"), 0);
    expect_refused(HTSTORE_EFORMAT, 16);
}
END_TEST

/* A segment has its whole size before it has its name: a shorter one lost synced records, which no tear explains. */
START_TEST(a_segment_that_was_cut_short_is_damaged)
{
    static const off_t sizes[] = { 0, 8, 63, 64, 4095, 4096, 5000, (off_t)SIZE - 8, (off_t)SIZE - 1 };
    uint64_t offsets[4];
    int fd = create_filled(3, offsets);
    struct hti_segment segment;

    for (size_t i = COUNT(sizes); i-- > 0;) {
        ck_assert_int_eq(ftruncate(fd, sizes[i]), 0);
        expect_refused(HTSTORE_ECORRUPT, sizes[i] < 64 ? 0 : sizes[i]);
    }
    close(fd);
    unlinkat(dir_fd, name_of(NUMBER), 0);
    fd = create(NUMBER, SIZE); /* more than it says is no loss */
    ck_assert_int_eq(ftruncate(fd, (off_t)SIZE * 2), 0);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    hti_segment_close(&segment);
    close(fd);
}
END_TEST

START_TEST(what_is_no_plain_file_is_refused)
{
    expect_refused(HTSTORE_ENOTFOUND, -1);
    ck_assert_int_eq(symlinkat("elsewhere", dir_fd, name_of(NUMBER)), 0);
    expect_refused(HTSTORE_EFORMAT, -1);
    unlinkat(dir_fd, name_of(NUMBER), 0);
    ck_assert_int_eq(mkdirat(dir_fd, name_of(NUMBER), 0700), 0);
    expect_refused(HTSTORE_EFORMAT, -1);
    unlinkat(dir_fd, name_of(NUMBER), AT_REMOVEDIR);
    close(create(NUMBER, SIZE));
    ck_assert_int_eq(linkat(dir_fd, name_of(NUMBER), dir_fd, "second name", 0), 0);
    expect_refused(HTSTORE_EFORMAT, -1);
}
END_TEST

START_TEST(a_damaged_header_does_not_hide_the_records)
{
    uint64_t offsets[3];
    uint8_t id[16];
    struct hti_segment segment;
    struct hti_record_header header;
    int fd = create_filled(2, offsets);

    ck_assert_int_eq(hti_segment_identify(dir_fd, directory, NUMBER, id, NULL), 0);
    ck_assert_mem_eq(id, store_id, sizeof id);
    write_at(fd, "garbage", 7, 3);
    close(fd);
    expect_refused(HTSTORE_ECORRUPT, 0);
    ck_assert_int_eq(hti_segment_identify(dir_fd, directory, NUMBER, id, NULL), HTSTORE_ECORRUPT);
    ck_assert_int_eq(hti_segment_open_headless(dir_fd, directory, store_id, NUMBER, &segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
    ck_assert_uint_eq(header.lsn, 1);
    hti_segment_close(&segment);
}
END_TEST

/* --- reading --- */

START_TEST(records_are_read_in_order_up_to_the_zeros)
{
    enum { N = 20 };
    uint64_t offsets[N + 1];
    struct hti_segment segment;
    struct hti_record_header header;
    struct hti_record *record;

    close(create_filled(N, offsets));
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    for (unsigned i = 0; i < N; i++) {
        ck_assert_uint_eq(segment.offset, offsets[i]);
        ck_assert_int_eq(hti_segment_read(&segment, &header, i % 2 ? &record : NULL, NULL), 0);
        ck_assert_uint_eq(header.lsn, i + 1);
        if (i % 2 == 0)
            continue;
        struct hti_record *expected = make_record(i + 1, 10 + i * 9, segment.binding);
        ck_assert_uint_eq(record->lsn, i + 1);
        ck_assert_uint_eq(record->buf.size, expected->buf.size);
        ck_assert_mem_eq(record->buf.data + 64, expected->buf.data + 64, record->buf.size - 64);
        hti_record_free(expected);
        hti_record_free(record);
    }
    ck_assert_int_eq(hti_segment_read(&segment, &header, &record, NULL), 1);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    ck_assert_uint_eq(segment.offset, offsets[N]);
    hti_segment_close(&segment);
}
END_TEST

START_TEST(a_record_may_end_where_the_file_ends)
{
    struct hti_record *probe = make_record(1, 100, 0);
    const uint64_t size = HTI_SEGMENT_DATA_OFFSET + hti_record_size(probe);
    struct hti_record_header header;
    struct hti_segment segment;
    int fd = create(NUMBER, size);

    hti_record_free(probe);
    ck_assert_uint_eq(append(fd, HTI_SEGMENT_DATA_OFFSET, 1, 100), size);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
    ck_assert_uint_eq(segment.offset, size);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 1);
    hti_segment_close(&segment);
    close(fd);
}
END_TEST

/* The file's size bounds what is allocated, whatever an intact header claims. */
START_TEST(a_record_that_reaches_beyond_the_file_is_none)
{
    const int fd = create(NUMBER, SIZE);
    struct hti_record *record = make_record(1, 1000, hti_segment_binding(store_id, NUMBER));
    static const uint64_t sizes[] = { SIZE, HTI_RECORD_MAX_SIZE, SIZE - HTI_SEGMENT_DATA_OFFSET - 63, UINT64_MAX };
    struct hti_record_header header;
    struct hti_segment segment;
    uint8_t *h = record->buf.data;

    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1); /* it has its window now */
    for (size_t i = 0; i < COUNT(sizes); i++) {
        hti_store_le64(h + 24, sizes[i]);
        hti_store_le64(h + 56, hti_hash64(h, 56, segment.binding));
        write_at(fd, h, record->buf.size, HTI_SEGMENT_DATA_OFFSET);
        hti_mem_test_fail(0, true);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
        ck_assert(!hti_mem_test_failed());
        hti_mem_test_fail(UINT64_MAX, false);
    }
    hti_segment_close(&segment);
    hti_record_free(record);
    close(fd);
}
END_TEST

START_TEST(records_of_another_segment_store_or_type_are_none)
{
    const int fd = create(NUMBER, SIZE);
    const uint64_t own = hti_segment_binding(store_id, NUMBER);
    const uint64_t bindings[] = { hti_segment_binding(store_id, NUMBER + 1), hti_segment_binding(other_id, NUMBER), 0 };
    struct hti_record_header header;
    struct hti_segment segment;

    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    for (size_t i = 0; i < COUNT(bindings); i++) {
        struct hti_record *record = make_record(1, 10, bindings[i]);
        write_at(fd, record->buf.data, record->buf.size, HTI_SEGMENT_DATA_OFFSET);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
        segment.offset -= 8; /* the search starts behind it */
        ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 1);
        segment.offset = HTI_SEGMENT_DATA_OFFSET;
        hti_record_free(record);
    }
    struct hti_record *record = make_record(1, 10, own);
    hti_store_le32(record->buf.data + 4, 2);
    hti_store_le64(record->buf.data + 56, hti_hash64(record->buf.data, 56, own));
    write_at(fd, record->buf.data, record->buf.size, HTI_SEGMENT_DATA_OFFSET);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    hti_record_free(record);
    hti_segment_close(&segment);
    close(fd);
}
END_TEST

/* Any single change of a record's bytes loses this record, and none of the others. */
START_TEST(one_changed_byte_costs_one_record)
{
    uint64_t offsets[4];
    const int fd = create_filled(3, offsets);
    struct hti_record_header header;
    struct hti_segment segment;
    uint8_t byte;

    for (uint64_t at = offsets[1]; at < offsets[2]; at++) {
        read_at(fd, &byte, 1, at);
        byte ^= (uint8_t)(1 + sample_below(255));
        write_at(fd, &byte, 1, at);
        ck_assert_int_eq(open_segment(&segment, NULL), 0);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
        ck_assert_uint_eq(segment.offset, offsets[1]);
        ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 0);
        ck_assert_uint_eq(segment.offset, offsets[2]);
        ck_assert_uint_eq(header.lsn, 3);
        ck_assert_uint_eq(header.durable_lsn, 2);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
        ck_assert_uint_eq(header.lsn, 3);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
        ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 1);
        hti_segment_close(&segment);
        close(fd);
        unlinkat(dir_fd, name_of(NUMBER), 0);
        ck_assert_int_eq(create_filled(3, offsets), fd);
    }
    close(fd);
}
END_TEST

START_TEST(a_header_is_found_though_its_payload_is_damaged)
{
    uint64_t offsets[4];
    const int fd = create_filled(3, offsets);
    struct hti_record_header header;
    struct hti_segment segment;

    write_at(fd, "x", 1, offsets[0] + 70);
    write_at(fd, "x", 1, offsets[1] + 70);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 0);
    ck_assert_uint_eq(header.lsn, 2);
    ck_assert_uint_eq(segment.offset, offsets[1]);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 0);
    ck_assert_uint_eq(header.lsn, 3);
    hti_segment_close(&segment);
    close(fd);
}
END_TEST

static void expect_found_at(int fd, uint64_t at)
{
    struct hti_record *record = make_record(9, 3, hti_segment_binding(store_id, NUMBER));
    const uint8_t zeros[200] = { 0 };
    struct hti_record_header header;
    struct hti_segment segment;

    ck_assert_uint_le(record->buf.size, sizeof zeros);
    write_at(fd, record->buf.data, record->buf.size, at);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 0);
    ck_assert_uint_eq(segment.offset, at);
    ck_assert_uint_eq(header.lsn, 9);
    hti_segment_close(&segment);
    write_at(fd, zeros, record->buf.size, at);
    hti_record_free(record);
}

/* The search goes in windows: a header must be found wherever it stands in one, across the border of two as well. */
START_TEST(a_header_is_found_at_the_border_of_two_windows)
{
    const uint64_t start = HTI_SEGMENT_DATA_OFFSET + 8; /* where the first window begins */
    const int fd = create(NUMBER, start + 2 * WINDOW + 4096);

    expect_found_at(fd, start);
    for (uint64_t border = start + WINDOW; border <= start + 2 * WINDOW; border += WINDOW)
        for (uint64_t at = border - 256; at < border + 128; at += 8)
            expect_found_at(fd, at);
    close(fd);
}
END_TEST

START_TEST(a_header_at_the_very_end_is_found)
{
    struct hti_record *record = make_record(9, 3, hti_segment_binding(store_id, NUMBER));
    struct hti_record_header header;
    struct hti_segment segment;
    const int fd = create(NUMBER, SIZE);

    write_at(fd, record->buf.data, HTI_RECORD_HEADER_SIZE, SIZE - HTI_RECORD_HEADER_SIZE);
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 0);
    ck_assert_uint_eq(segment.offset, SIZE - HTI_RECORD_HEADER_SIZE);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), 1);
    segment.offset = UINT64_MAX - 7;
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    hti_segment_close(&segment);
    hti_record_free(record);
    close(fd);
}
END_TEST

START_TEST(reading_without_memory_fails_and_can_be_repeated)
{
    uint64_t offsets[3];
    struct hti_record_header header;
    struct hti_record *record;
    struct hti_segment segment;
    bool failed = true;

    close(create_filled(2, offsets));
    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    for (uint64_t after = 0; failed; after++) {
        hti_mem_test_fail(after, false);
        const int rc = hti_segment_read(&segment, &header, &record, NULL);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert_uint_eq(segment.offset, offsets[failed ? 0 : 1]);
    }
    hti_record_free(record);
    hti_mem_test_fail(0, false);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, NULL), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(segment.offset, offsets[1]);
    hti_segment_close(&segment);
}
END_TEST

/* Records around the border of the part of a file that is read at once, and larger ones than it. */
START_TEST(records_of_any_size_are_read_whatever_is_read_at_once)
{
    static const size_t sizes[] = { 1040000, 1, 400, 1100000, 3, 1048400, 500000, 1, 3000000, 2 };
    const uint64_t binding = hti_segment_binding(store_id, NUMBER);
    const int fd = create(NUMBER, (uint64_t)16 << 20);
    uint64_t offset = HTI_SEGMENT_DATA_OFFSET;
    struct hti_record_header header;
    struct hti_segment segment;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct hti_record *record = make_record(1 + i, sizes[i], binding);
        write_at(fd, record->buf.data, record->buf.size, offset);
        offset += record->buf.size;
        hti_record_free(record);
    }
    for (int keep = 0; keep < 2; keep++) {
        ck_assert_int_eq(open_segment(&segment, NULL), 0);
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct hti_record *record = NULL, *expected = make_record(1 + i, sizes[i], binding);
            ck_assert_int_eq(hti_segment_read(&segment, &header, keep ? &record : NULL, NULL), 0);
            ck_assert_uint_eq(header.lsn, 1 + i);
            if (keep) {
                ck_assert_uint_eq(record->n_rows, expected->n_rows);
                ck_assert_uint_eq(record->buf.size, expected->buf.size);
                ck_assert(memcmp(record->buf.data + HTI_RECORD_HEADER_SIZE, expected->buf.data + HTI_RECORD_HEADER_SIZE,
                                 record->buf.size - HTI_RECORD_HEADER_SIZE) == 0);
            }
            hti_record_free(record);
            hti_record_free(expected);
        }
        ck_assert_uint_eq(segment.offset, offset);
        ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
        hti_segment_close(&segment);
    }
    close(fd);
}
END_TEST

/* The end of what a live owner has written: it may have written more since. */
START_TEST(a_record_that_came_later_is_found)
{
    const int fd = create(NUMBER, SIZE);
    struct hti_record *record = make_record(1, 10, hti_segment_binding(store_id, NUMBER));
    struct hti_record_header header;
    struct hti_segment segment;

    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 1);
    write_at(fd, record->buf.data, record->buf.size, HTI_SEGMENT_DATA_OFFSET);
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, NULL), 0);
    hti_segment_close(&segment);
    hti_record_free(record);
    close(fd);
}
END_TEST

START_TEST(a_read_error_is_no_end)
{
    uint64_t offsets[3];
    struct hti_record_header header;
    struct htstore_error error;
    struct hti_segment segment;
    const int fd = create_filled(2, offsets), blind = openat(dir_fd, name_of(NUMBER), O_WRONLY | O_CLOEXEC);

    ck_assert_int_eq(open_segment(&segment, NULL), 0);
    ck_assert_int_eq(dup2(blind, segment.fd), segment.fd); /* pread() fails: EBADF */
    ck_assert_int_eq(hti_segment_read(&segment, &header, NULL, &error), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, EBADF);
    ck_assert_int_eq(hti_segment_resync(&segment, &header, &error), HTSTORE_EIO);
    ck_assert_uint_eq(segment.offset, offsets[0]);
    hti_segment_close(&segment);
    close(blind);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segment");
    TCase *tests = tcase_create("segment");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, names_are_sixteen_hexadecimal_digits);
    tcase_add_test(tests, every_store_and_segment_has_its_own_binding);
    tcase_add_test(tests, a_new_segment_is_all_zeros_behind_its_header);
    tcase_add_test(tests, file_and_folder_are_synced_before_the_segment_is_used);
    tcase_add_test(tests, an_existing_segment_is_never_replaced);
    tcase_add_test(tests, a_leftover_of_the_same_name_is_replaced);
    tcase_add_loop_test(tests, a_failed_creation_leaves_nothing_behind, 0, 8);
    tcase_add_test(tests, a_file_size_limit_is_lack_of_space);
    tcase_add_test(tests, short_writes_are_continued);
    tcase_add_test(tests, only_names_of_segments_are_listed_in_order);
    tcase_add_test(tests, leftovers_are_removed_only_if_asked_for);
    tcase_add_test(tests, an_empty_folder_has_no_segments);
    tcase_add_test(tests, the_size_of_all_segments_is_counted);
    tcase_add_test(tests, listing_fails_cleanly);
    tcase_add_test(tests, an_open_segment_starts_at_its_first_record);
    tcase_add_test(tests, a_header_with_any_changed_bit_is_refused);
    tcase_add_test(tests, a_newer_version_is_told_apart_from_damage);
    tcase_add_test(tests, a_segment_of_another_store_or_place_is_refused);
    tcase_add_test(tests, a_segment_that_was_cut_short_is_damaged);
    tcase_add_test(tests, what_is_no_plain_file_is_refused);
    tcase_add_test(tests, a_damaged_header_does_not_hide_the_records);
    tcase_add_test(tests, records_are_read_in_order_up_to_the_zeros);
    tcase_add_test(tests, a_record_may_end_where_the_file_ends);
    tcase_add_test(tests, a_record_that_reaches_beyond_the_file_is_none);
    tcase_add_test(tests, records_of_another_segment_store_or_type_are_none);
    tcase_add_test(tests, one_changed_byte_costs_one_record);
    tcase_add_test(tests, a_header_is_found_though_its_payload_is_damaged);
    tcase_add_test(tests, a_header_is_found_at_the_border_of_two_windows);
    tcase_add_test(tests, a_header_at_the_very_end_is_found);
    tcase_add_test(tests, reading_without_memory_fails_and_can_be_repeated);
    tcase_add_test(tests, records_of_any_size_are_read_whatever_is_read_at_once);
    tcase_add_test(tests, a_record_that_came_later_is_found);
    tcase_add_test(tests, a_read_error_is_no_end);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
