/* Tests of managerfolder: who may have a folder, what in it is a checkpoint, what a crash leaves. */
#include "managerfolder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check_util.h"
#include "faults.h"
#include "mem.h"

static char *directory;
static int store_fd;
static struct hti_managerfolder_where where;
static struct hti_managerfolder folder, other;
static struct hti_managerfile *files;
static size_t n_files;
static struct htstore_error error;
static char path[512];

static void set_up(void)
{
    directory = check_tmpdir();
    store_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(store_fd, 0);
    where = (struct hti_managerfolder_where){ .store_fd = store_fd, .store_path = directory, .make = true };
    folder.fd = other.fd = -1;
    fault_clear();
}

static void tear_down(void)
{
    fault_clear();
    hti_managerfolder_close(&folder);
    hti_managerfolder_close(&other);
    hti_mem_free(files);
    files = NULL;
    close(store_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static int open_folder(void)
{
    const int rc = hti_managerfolder_open(&where, &folder, &error);
    if (rc != 0) {
        ck_assert_int_eq(folder.fd, -1);
        ck_assert_int_eq(error.code, rc);
    }
    return rc;
}

static const char *in_directory(const char *name)
{
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void make_file(const char *name)
{
    const int fd = openat(folder.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0, "%s", name);
    ck_assert_int_eq(write(fd, "12345", 5), 5);
    close(fd);
}

static bool is_there(const char *name)
{
    return faccessat(folder.fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void scan(void)
{
    hti_mem_free(files);
    ck_assert_int_eq(hti_managerfolder_scan(&folder, &files, &n_files, &error), 0);
}

START_TEST(the_folder_is_made_for_its_owner_alone)
{
    struct stat status;

    umask(0);
    ck_assert_int_eq(open_folder(), 0);
    ck_assert_int_eq(stat(in_directory("checkpoints"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0700);
    hti_managerfolder_close(&folder);
    ck_assert_int_eq(open_folder(), 0);
    ck_assert_str_eq(folder.path, in_directory("checkpoints"));
}
END_TEST

START_TEST(another_folder_is_made_too)
{
    where.folder = in_directory("elsewhere/");
    ck_assert_int_eq(open_folder(), 0);
    ck_assert_int_eq(faccessat(store_fd, "elsewhere", F_OK, 0), 0);
    hti_managerfolder_close(&folder);
    where.folder = in_directory("no/such");
    ck_assert_int_eq(open_folder(), HTSTORE_ENOTFOUND);
}
END_TEST

START_TEST(nothing_is_made_where_it_must_not)
{
    where.make = false;
    ck_assert_int_eq(open_folder(), HTSTORE_ENOTFOUND);
    ck_assert_int_ne(faccessat(store_fd, "checkpoints", F_OK, 0), 0);
}
END_TEST

START_TEST(a_prefix_must_be_a_file_name)
{
    static const char *const bad[] = { "", ".", "..", ".hidden", "a/b", "/" };
    char longest[300];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        where.prefix = bad[i];
        ck_assert_int_eq(open_folder(), HTSTORE_EINVAL);
    }
    memset(longest, 'x', sizeof longest);
    longest[230] = '\0';
    where.prefix = longest;
    ck_assert_int_eq(open_folder(), 0);
    char name[HTI_MANAGERFOLDER_NAME_SIZE];
    hti_managerfolder_name(&folder, INT64_MAX, name);
    ck_assert_uint_eq(strlen(name) + 5, NAME_MAX);
    make_file(name);
    scan();
    ck_assert_uint_eq(n_files, 1);
    hti_managerfolder_close(&folder);
    memset(longest, 'x', sizeof longest);
    longest[231] = '\0';
    ck_assert_int_eq(open_folder(), HTSTORE_EINVAL);
    where.prefix = "-";
    ck_assert_int_eq(open_folder(), 0);
}
END_TEST

START_TEST(a_second_opener_of_this_process_is_refused)
{
    ck_assert_int_eq(open_folder(), 0);
    where.prefix = "another";
    ck_assert_int_eq(hti_managerfolder_open(&where, &other, &error), HTSTORE_EBUSY);
    ck_assert_str_eq(error.path, folder.path);
    hti_managerfolder_close(&folder);
    ck_assert_int_eq(hti_managerfolder_open(&where, &other, &error), 0);
}
END_TEST

START_TEST(the_lock_outlives_every_file_in_the_folder)
{
    ck_assert_int_eq(open_folder(), 0);
    make_file("ckpt-1");
    ck_assert_int_eq(unlinkat(folder.fd, "ckpt-1", 0), 0);
    ck_assert_int_eq(hti_managerfolder_open(&where, &other, &error), HTSTORE_EBUSY);
    ck_assert_int_eq(renameat(store_fd, "checkpoints", store_fd, "moved"), 0);
    where.folder = in_directory("moved");
    ck_assert_int_eq(hti_managerfolder_open(&where, &other, &error), HTSTORE_EBUSY);
}
END_TEST

START_TEST(another_process_is_refused_until_the_holder_dies)
{
    int status, ready[2];
    char byte = 0;

    ck_assert_int_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        byte = hti_managerfolder_open(&where, &other, NULL) == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        pause();
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(open_folder(), HTSTORE_EBUSY);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(open_folder(), 0);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

START_TEST(a_lock_is_released_though_a_child_lives)
{
    int status;

    ck_assert_int_eq(open_folder(), 0);
    const pid_t child = fork();
    if (child == 0)
        pause();
    hti_managerfolder_close(&folder);
    ck_assert_int_eq(open_folder(), 0);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
}
END_TEST

START_TEST(folders_that_are_not_safe_are_refused)
{
    ck_assert_int_eq(mkdirat(store_fd, "checkpoints", 0700), 0);
    ck_assert_int_eq(fchmodat(store_fd, "checkpoints", 0770, 0), 0);
    ck_assert_int_eq(open_folder(), HTSTORE_EINVAL);
    where.shared_folder = true;
    ck_assert_int_eq(open_folder(), 0);
    hti_managerfolder_close(&folder);
    where.folder = directory;
    ck_assert_int_eq(open_folder(), HTSTORE_EINVAL);
    ck_assert_ptr_nonnull(strstr(error.message, "the store's own folder"));
}
END_TEST

START_TEST(a_link_or_a_file_is_no_folder)
{
    ck_assert_int_eq(mkdirat(store_fd, "real", 0700), 0);
    ck_assert_int_eq(symlinkat("real", store_fd, "checkpoints"), 0);
    ck_assert_int_eq(open_folder(), HTSTORE_EFORMAT);
    ck_assert_int_eq(unlinkat(store_fd, "checkpoints", 0), 0);
    const int fd = openat(store_fd, "checkpoints", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    ck_assert_int_eq(open_folder(), HTSTORE_EFORMAT);
}
END_TEST

START_TEST(only_strict_names_are_checkpoints)
{
    static const char *const others[] = { "ckpt-",
                                          "ckpt-01",
                                          "ckpt-00",
                                          "ckpt--1",
                                          "ckpt-+1",
                                          "ckpt- 1",
                                          "ckpt-1x",
                                          "ckpt-1.tmp",
                                          "ckpt1",
                                          "ckpt",
                                          "Ckpt-1",
                                          "xckpt-1",
                                          ".ckpt-1",
                                          "ckpt-1-2",
                                          "ckpt.state",
                                          "kpt-1",
                                          "ckpt-١",
                                          "ckpt-0x1",
                                          "ckpt-1 ",
                                          "ckpt-9223372036854775808",
                                          "ckpt-9999999999999999999",
                                          "ckpt-10000000000000000000" };

    ck_assert_int_eq(open_folder(), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        make_file(others[i]);
    scan();
    ck_assert_uint_eq(n_files, 0);
    make_file("ckpt-9223372036854775807");
    make_file("ckpt-10");
    make_file("ckpt-0");
    make_file("ckpt-9");
    ck_assert_int_eq(symlinkat("ckpt-9", folder.fd, "ckpt-3"), 0);
    ck_assert_int_eq(mkdirat(folder.fd, "ckpt-4", 0700), 0);
    scan();
    ck_assert_uint_eq(n_files, 6);
    static const int64_t numbers[] = { 0, 3, 4, 9, 10, INT64_MAX };
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(files[i].number, numbers[i]);
        ck_assert_int_eq(files[i].regular, i != 1 && i != 2);
        ck_assert_uint_eq(files[i].bytes, files[i].regular ? 5 : 0);
        ck_assert_ptr_eq(hti_managerfile_find(files, n_files, numbers[i]), &files[i]);
    }
    ck_assert_ptr_null(hti_managerfile_find(files, n_files, 5));
}
END_TEST

START_TEST(leftovers_of_a_crash_are_removed_and_nothing_else)
{
    static const char *const leftovers[] = { ".ckpt-1.tmp", ".ckpt-20.tmp", ".ckpt.state.tmp" };
    static const char *const others[] = { ".ckpt-01.tmp",  ".ckpt-.tmp",      ".other-1.tmp", "ckpt-1.tmp",
                                          ".ckpt.tmp",     ".ckpt-1",         ".ckpt-1.tmpx", ".ckptt-1.tmp",
                                          ".ckpt-2-1.tmp", "ckpt-1",          ".ckpt.state",  ".tmp",
                                          ".ckpt1.tmp",    ".ckpt.state.tmpx" };
    size_t n;

    ck_assert_int_eq(open_folder(), 0);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++)
        make_file(leftovers[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        make_file(others[i]);
    ck_assert_int_eq(mkdirat(folder.fd, ".ckpt-5.tmp", 0700), 0);
    ck_assert_int_eq(hti_managerfolder_clean(&folder, &n, &error), 0);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(fault_count(FAULT_SYNC), 1);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++)
        ck_assert(!is_there(leftovers[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(is_there(others[i]), "%s", others[i]);
    ck_assert_int_eq(hti_managerfolder_clean(&folder, &n, &error), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(fault_count(FAULT_SYNC), 1);
}
END_TEST

START_TEST(a_deletion_may_be_repeated)
{
    ck_assert_int_eq(open_folder(), 0);
    make_file("ckpt-7");
    ck_assert_int_eq(hti_managerfolder_forget_pages(&folder, 7, &error), 0);
    fault_set(FAULT_UNLINK, 0, EIO, 0);
    ck_assert_int_eq(hti_managerfolder_unlink(&folder, 7, &error), HTSTORE_EIO);
    ck_assert(is_there("ckpt-7"));
    ck_assert_int_eq(hti_managerfolder_unlink(&folder, 7, &error), 0);
    ck_assert(!is_there("ckpt-7"));
    ck_assert_int_eq(hti_managerfolder_unlink(&folder, 7, &error), 0);
    ck_assert_int_eq(hti_managerfolder_forget_pages(&folder, 7, &error), HTSTORE_ENOTFOUND);
}
END_TEST

START_TEST(failed_syncs_are_reported)
{
    ck_assert_int_eq(open_folder(), 0);
    fault_set(FAULT_SYNC, 0, EIO, 0);
    ck_assert_int_eq(hti_managerfolder_sync(&folder, &error), HTSTORE_EIO);
    fault_set(FAULT_SYNC, 0, EIO, 0);
    ck_assert_int_eq(hti_managerfolder_sync_parent(&folder, &error), HTSTORE_EIO);
    ck_assert_int_eq(hti_managerfolder_sync_parent(&folder, &error), 0);
}
END_TEST

START_TEST(no_memory_is_reported_at_every_allocation)
{
    bool failed = true;

    ck_assert_int_eq(open_folder(), 0);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(path, sizeof path, "ckpt-%d", i);
        make_file(path);
    }
    hti_managerfolder_close(&folder);
    where.folder = in_directory("checkpoints");
    for (uint64_t n = 0; failed; n++) {
        hti_mem_test_fail(n, false);
        int rc = open_folder();
        if (rc == 0) {
            hti_mem_free(files);
            rc = hti_managerfolder_scan(&folder, &files, &n_files, &error);
        }
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        if (rc != 0)
            hti_managerfolder_close(&folder);
    }
    ck_assert_uint_eq(n_files, 40);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("managerfolder");
    TCase *tcase = tcase_create("managerfolder");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_folder_is_made_for_its_owner_alone);
    tcase_add_test(tcase, another_folder_is_made_too);
    tcase_add_test(tcase, nothing_is_made_where_it_must_not);
    tcase_add_test(tcase, a_prefix_must_be_a_file_name);
    tcase_add_test(tcase, a_second_opener_of_this_process_is_refused);
    tcase_add_test(tcase, the_lock_outlives_every_file_in_the_folder);
    tcase_add_test(tcase, another_process_is_refused_until_the_holder_dies);
    tcase_add_test(tcase, a_lock_is_released_though_a_child_lives);
    tcase_add_test(tcase, folders_that_are_not_safe_are_refused);
    tcase_add_test(tcase, a_link_or_a_file_is_no_folder);
    tcase_add_test(tcase, only_strict_names_are_checkpoints);
    tcase_add_test(tcase, leftovers_of_a_crash_are_removed_and_nothing_else);
    tcase_add_test(tcase, a_deletion_may_be_repeated);
    tcase_add_test(tcase, failed_syncs_are_reported);
    tcase_add_test(tcase, no_memory_is_reported_at_every_allocation);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
