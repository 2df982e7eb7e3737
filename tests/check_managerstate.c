/* Tests of managerstate: what is written is read, what is damaged is refused, and replacing is all or nothing. */
#include "managerstate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "faults.h"
#include "hash.h"
#include "mem.h"

#define NAME "ckpt.state"
#define TEMPORARY ".ckpt.state.tmp"
#define HEAD 24u
#define ENTRY 24u

static char *directory;
static int folder_fd;
static struct hti_managerstate state, found;
static struct hti_buf buf;
static struct htstore_error error;

static void set_up(void)
{
    directory = check_tmpdir();
    folder_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(folder_fd, 0);
    hti_managerstate_init(&state);
    hti_managerstate_init(&found);
    hti_buf_init(&buf);
    memset(&error, 0, sizeof error);
    fault_clear();
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    fault_clear();
    hti_managerstate_release(&state);
    hti_managerstate_release(&found);
    hti_buf_release(&buf);
    close(folder_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void add(int64_t number, double time, uint32_t mark)
{
    const struct hti_managed entry = { number, time, mark };
    ck_assert_int_eq(hti_managerstate_append(&state, &entry, &error), 0);
}

static void fill(void)
{
    state.last_preserved = 2.5;
    add(7, 10.25, HTI_MANAGED_DELETING);
    add(INT64_MAX, 11, HTI_MANAGED_LISTED);
    add(0, -3, HTI_MANAGED_LISTED);
    add(12, 1e300, HTI_MANAGED_SAVING);
}

static void encode(void)
{
    hti_buf_release(&buf);
    ck_assert_int_eq(hti_managerstate_encode(&state, &buf, &error), 0);
}

static int decode(void)
{
    const int rc = hti_managerstate_decode(buf.data, buf.size, "there", &found, &error);
    if (rc != 0) {
        ck_assert_int_eq(error.code, rc);
        ck_assert_uint_eq(found.n_entries, 0);
        ck_assert_ptr_null(found.entries);
    }
    return rc;
}

static void expect_same(void)
{
    ck_assert(found.last_preserved == state.last_preserved);
    ck_assert_uint_eq(found.n_entries, state.n_entries);
    for (size_t i = 0; i < state.n_entries; i++) {
        ck_assert_int_eq(found.entries[i].number, state.entries[i].number);
        ck_assert(found.entries[i].time == state.entries[i].time);
        ck_assert_uint_eq(found.entries[i].mark, state.entries[i].mark);
    }
}

static void seal(void)
{
    hti_store_le64(buf.data + buf.size - 8, hti_hash64(buf.data, buf.size - 8, 0));
}

static int load(void)
{
    hti_managerstate_release(&found);
    return hti_managerstate_load(folder_fd, NAME, "there", &found, &error);
}

static int store(void)
{
    return hti_managerstate_store(folder_fd, NAME, TEMPORARY, "there", &state, &error);
}

static bool is_there(const char *name)
{
    return faccessat(folder_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(what_is_encoded_is_decoded)
{
    encode();
    ck_assert_int_eq(decode(), 0);
    expect_same();
    fill();
    encode();
    ck_assert_uint_eq(buf.size, HEAD + 4 * ENTRY + 8);
    ck_assert_int_eq(decode(), 0);
    expect_same();
}
END_TEST

START_TEST(entries_are_found_counted_and_removed)
{
    fill();
    ck_assert_ptr_eq(hti_managerstate_find(&state, 0), &state.entries[2]);
    ck_assert_ptr_null(hti_managerstate_find(&state, 1));
    ck_assert_uint_eq(hti_managerstate_count(&state, HTI_MANAGED_LISTED), 2);
    hti_managerstate_remove(&state, 1);
    ck_assert_uint_eq(state.n_entries, 4);
    hti_managerstate_remove(&state, INT64_MAX);
    hti_managerstate_remove(&state, 12);
    ck_assert_uint_eq(state.n_entries, 2);
    ck_assert_int_eq(state.entries[0].number, 7);
    ck_assert_int_eq(state.entries[1].number, 0);
}
END_TEST

START_TEST(many_entries_are_kept_in_order)
{
    for (int i = 0; i < 1000; i++)
        add(1000 - i, i, HTI_MANAGED_LISTED);
    encode();
    ck_assert_int_eq(decode(), 0);
    expect_same();
    ck_assert_int_eq(hti_managerstate_copy(&found, &state, &error), 0);
    expect_same();
}
END_TEST

START_TEST(every_changed_byte_is_refused)
{
    fill();
    encode();
    for (size_t i = 0; i < buf.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf.data[i] ^= (uint8_t)(1u << bit);
            const int rc = decode();
            ck_assert_msg(rc == HTSTORE_ECORRUPT || rc == (i < 4 ? HTSTORE_EFORMAT : HTSTORE_EVERSION),
                          "byte %zu, bit %u: %d", i, bit, rc);
            if (rc == HTSTORE_EVERSION)
                ck_assert_uint_lt(i, 8);
            buf.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    ck_assert_int_eq(decode(), 0);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    fill();
    encode();
    const size_t size = buf.size;
    for (buf.size = 0; buf.size < size; buf.size++)
        ck_assert_int_eq(decode(), buf.size < 8 ? HTSTORE_EFORMAT : HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(), 0);
    ck_assert_int_eq(hti_buf_append_u8(&buf, 0), 0);
    hti_managerstate_release(&found);
    ck_assert_int_eq(decode(), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(a_newer_version_is_told_from_damage)
{
    encode();
    hti_store_le32(buf.data + 4, 2);
    ck_assert_int_eq(decode(), HTSTORE_EVERSION);
    ck_assert_ptr_nonnull(strstr(error.message, "version 2"));
    hti_store_le32(buf.data + 4, 0);
    seal();
    ck_assert_int_eq(decode(), HTSTORE_ECORRUPT);
}
END_TEST

/* One lie each, under a checksum that is right. */
static void expect_refusal(size_t offset, uint64_t value, size_t size)
{
    hti_managerstate_release(&state);
    fill();
    encode();
    if (size == 4)
        hti_store_le32(buf.data + offset, (uint32_t)value);
    else
        hti_store_le64(buf.data + offset, value);
    seal();
    ck_assert_msg(decode() == HTSTORE_ECORRUPT, "offset %zu", offset);
    ck_assert_str_eq(error.path, "there");
}

START_TEST(lies_under_a_right_checksum_are_refused)
{
    const uint64_t nan_bits = 0x7ff8000000000000, infinity_bits = 0x7ff0000000000000;

    expect_refusal(8, nan_bits, 8);
    expect_refusal(8, infinity_bits, 8);
    expect_refusal(16, UINT32_MAX, 4);
    expect_refusal(16, 3, 4);
    expect_refusal(20, 1, 4);
    expect_refusal(HEAD, UINT64_MAX, 8); /* a negative number */
    expect_refusal(HEAD, 0, 8); /* one that is there already */
    expect_refusal(HEAD + 8, nan_bits, 8);
    expect_refusal(HEAD + 16, 0, 4);
    expect_refusal(HEAD + 16, 4, 4);
    expect_refusal(HEAD + 20, 1, 4);
}
END_TEST

START_TEST(more_entries_than_a_state_holds_are_refused)
{
    state.n_entries = HTI_MANAGERSTATE_MAX + 1;
    ck_assert_int_eq(hti_managerstate_encode(&state, &buf, &error), HTSTORE_EINVAL);
    state.n_entries = 0;
}
END_TEST

START_TEST(no_memory_is_reported_at_every_allocation)
{
    bool failed = true;

    fill();
    for (uint64_t n = 0; failed; n++) {
        hti_mem_test_fail(n, false);
        int rc = store();
        if (rc == 0)
            rc = load();
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
    }
    expect_same();
    hti_mem_test_fail(0, true);
    struct hti_managerstate copy;
    hti_managerstate_init(&copy);
    ck_assert_int_eq(hti_managerstate_copy(&state, &copy, &error), HTSTORE_ENOMEM);
    ck_assert_ptr_null(copy.entries);
}
END_TEST

START_TEST(the_file_comes_back)
{
    ck_assert_int_eq(load(), HTSTORE_ENOTFOUND);
    fill();
    ck_assert_int_eq(store(), 0);
    ck_assert_int_eq(load(), 0);
    expect_same();
    hti_managerstate_remove(&state, 7);
    ck_assert_int_eq(store(), 0);
    ck_assert_int_eq(load(), 0);
    expect_same();
    ck_assert(!is_there(TEMPORARY));
    struct stat status;
    ck_assert_int_eq(fstatat(folder_fd, NAME, &status, 0), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
}
END_TEST

START_TEST(a_leftover_does_not_get_in_the_way)
{
    ck_assert_int_eq(symlinkat("elsewhere", folder_fd, TEMPORARY), 0);
    fill();
    ck_assert_int_eq(store(), 0);
    ck_assert_int_eq(load(), 0);
    ck_assert(!is_there("elsewhere"));
    ck_assert(!is_there(TEMPORARY));
}
END_TEST

START_TEST(a_link_is_refused_and_replaced)
{
    fill();
    ck_assert_int_eq(store(), 0);
    ck_assert_int_eq(renameat(folder_fd, NAME, folder_fd, "elsewhere"), 0);
    ck_assert_int_eq(symlinkat("elsewhere", folder_fd, NAME), 0);
    ck_assert_int_eq(load(), HTSTORE_EFORMAT);
    ck_assert_int_eq(store(), 0);
    ck_assert_int_eq(load(), 0);
    expect_same();
}
END_TEST

START_TEST(a_huge_file_is_refused_before_it_is_read)
{
    const int fd = openat(folder_fd, NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(fd, (off_t)1 << 40), 0);
    close(fd);
    ck_assert_int_eq(load(), HTSTORE_ECORRUPT);
}
END_TEST

/* The calls of one replacement, in order, as letters. */
static char calls[32];

static void note_call(void *user, enum fault_call call, int fd, const void *data, size_t size)
{
    static const char letters[] = {
        [FAULT_WRITE] = 'w', [FAULT_SYNC] = 's', [FAULT_RENAME] = 'r', [FAULT_UNLINK] = 'u'
    };
    const size_t n = strlen(calls);
    struct stat status;

    (void)user;
    (void)data;
    (void)size;
    ck_assert_uint_lt(n, sizeof calls - 1);
    calls[n] = letters[call];
    if (call == FAULT_SYNC && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        calls[n] = 'S';
}

START_TEST(the_file_is_synced_before_the_name_and_the_folder_after_it)
{
    fill();
    fault_watch(note_call, NULL);
    ck_assert_int_eq(store(), 0);
    ck_assert_str_eq(calls, "uwsrS");
}
END_TEST

START_TEST(a_failed_replacement_leaves_the_old_file)
{
    static const struct {
        enum fault_call call;
        int sys_errno, code;
    } faults[] = { { FAULT_WRITE, ENOSPC, HTSTORE_ENOSPC }, { FAULT_WRITE, EIO, HTSTORE_EIO },
                   { FAULT_SYNC, EIO, HTSTORE_EIO },        { FAULT_SYNC, ENOSPC, HTSTORE_ENOSPC },
                   { FAULT_RENAME, EIO, HTSTORE_EIO },      { FAULT_UNLINK, EIO, HTSTORE_EIO } };

    fill();
    ck_assert_int_eq(store(), 0);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        state.last_preserved = 9;
        fault_set(faults[i].call, 0, faults[i].sys_errno, 0);
        ck_assert_int_eq(store(), faults[i].code);
        fault_clear();
        ck_assert(!is_there(TEMPORARY));
        ck_assert_int_eq(load(), 0);
        state.last_preserved = 2.5;
        expect_same();
    }
    fault_set(FAULT_SYNC, 1, EIO, 0); /* of the folder */
    ck_assert_int_eq(store(), HTSTORE_EIO);
    ck_assert(!is_there(TEMPORARY));
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("managerstate");
    TCase *tcase = tcase_create("managerstate");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_is_encoded_is_decoded);
    tcase_add_test(tcase, entries_are_found_counted_and_removed);
    tcase_add_test(tcase, many_entries_are_kept_in_order);
    tcase_add_test(tcase, every_changed_byte_is_refused);
    tcase_add_test(tcase, every_truncation_is_refused);
    tcase_add_test(tcase, a_newer_version_is_told_from_damage);
    tcase_add_test(tcase, lies_under_a_right_checksum_are_refused);
    tcase_add_test(tcase, more_entries_than_a_state_holds_are_refused);
    tcase_add_test(tcase, no_memory_is_reported_at_every_allocation);
    tcase_add_test(tcase, the_file_comes_back);
    tcase_add_test(tcase, a_leftover_does_not_get_in_the_way);
    tcase_add_test(tcase, a_link_is_refused_and_replaced);
    tcase_add_test(tcase, a_huge_file_is_refused_before_it_is_read);
    tcase_add_test(tcase, the_file_is_synced_before_the_name_and_the_folder_after_it);
    tcase_add_test(tcase, a_failed_replacement_leaves_the_old_file);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
