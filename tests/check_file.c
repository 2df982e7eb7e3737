/* Tests of file: complete reads and writes, what is opened and what is refused, folders, paths. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "check_util.h"
#include "mem.h"

#define N_ELEMENTS(array) ((int)(sizeof(array) / sizeof *(array)))

static char *directory;
static int dir_fd;
static struct htstore_error error;

/* What the system calls below do instead of working. They take the place of those of the C library. */
static struct {
    size_t max_count; /* bytes of one call; 0 = any number */
    int n_interrupts; /* so many calls fail with EINTR */
    int fault_errno; /* every sync, or one call of the others after the interrupts, fails with this */
    bool no_noreplace; /* the file system does not know RENAME_NOREPLACE */
    int n_calls;
    int mode_errno; /* every change of a mode fails with this */
    void (*on_open)(void); /* called after the next attempt to open */
} faults;

static bool is_faulty(void)
{
    faults.n_calls++;
    if (faults.n_interrupts > 0) {
        faults.n_interrupts--;
        errno = EINTR;
        return true;
    }
    if (faults.fault_errno) {
        errno = faults.fault_errno;
        return true;
    }
    return false;
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    if (is_faulty())
        return -1;
    if (faults.max_count && size > faults.max_count)
        size = faults.max_count;
    return syscall(SYS_pread64, fd, data, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n_iov, off_t offset)
{
    if (is_faulty())
        return -1;
    if (!faults.max_count)
        return syscall(SYS_pwritev, fd, iov, n_iov, offset, 0);
    size_t size = iov[0].iov_len < faults.max_count ? iov[0].iov_len : faults.max_count;
    return syscall(SYS_pwrite64, fd, iov[0].iov_base, size, offset);
}

int fchmod(int fd, mode_t mode)
{
    if (faults.mode_errno) {
        errno = faults.mode_errno;
        return -1;
    }
    return (int)syscall(SYS_fchmod, fd, mode);
}

int fchmodat(int at_fd, const char *name, mode_t mode, int flags)
{
    (void)flags;
    if (faults.mode_errno) {
        errno = faults.mode_errno;
        return -1;
    }
    return (int)syscall(SYS_fchmodat, at_fd, name, mode);
}

int openat(int at_fd, const char *name, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    void (*on_open)(void) = faults.on_open;
    int fd = (int)syscall(SYS_openat, at_fd, name, flags, mode);
    int failed = errno;
    faults.on_open = NULL;
    if (on_open)
        on_open();
    errno = failed;
    return fd;
}

int fdatasync(int fd)
{
    return is_faulty() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return is_faulty() ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (faults.no_noreplace) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static void set_up(void)
{
    memset(&faults, 0, sizeof faults);
    directory = check_tmpdir();
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
    memset(&error, 0, sizeof error);
}

static void tear_down(void)
{
    memset(&faults, 0, sizeof faults);
    hti_mem_test_fail(UINT64_MAX, false);
    close(dir_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* A new file with this text. */
static int make_file(const char *name, const char *text)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static bool has_text(const char *name, const char *text)
{
    char found[64];
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, found, sizeof found);
    close(fd);
    return size == (ssize_t)strlen(text) && memcmp(found, text, strlen(text)) == 0;
}

static bool exists(const char *name)
{
    struct stat status;
    return fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

static mode_t mode_of(const char *name)
{
    struct stat status;
    ck_assert_int_eq(fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW), 0);
    return status.st_mode & 07777;
}

static int open_file(const char *name, int flags, int *fd)
{
    return hti_file_open(dir_fd, name, flags, name, fd, &error);
}

static void expect_refused(const char *name, int flags)
{
    int fd = 99;
    ck_assert_int_eq(open_file(name, flags, &fd), HTSTORE_EFORMAT);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(error.code, HTSTORE_EFORMAT);
    ck_assert_str_eq(error.path, name);
    ck_assert_str_ne(error.message, "");
}

START_TEST(every_errno_has_its_status)
{
    static const int table[][2] = {
        { ENOENT, HTSTORE_ENOTFOUND }, { EEXIST, HTSTORE_EEXIST },   { ENOSPC, HTSTORE_ENOSPC },
        { EDQUOT, HTSTORE_ENOSPC },    { EFBIG, HTSTORE_ENOSPC },    { ENOMEM, HTSTORE_ENOMEM },
        { EMFILE, HTSTORE_ENOMEM },    { ENFILE, HTSTORE_ENOMEM },   { ENOLCK, HTSTORE_ENOMEM },
        { EACCES, HTSTORE_EREADONLY }, { EPERM, HTSTORE_EREADONLY }, { EROFS, HTSTORE_EREADONLY },
        { EAGAIN, HTSTORE_EBUSY },     { EBUSY, HTSTORE_EBUSY },     { ELOOP, HTSTORE_EFORMAT },
        { ENOTDIR, HTSTORE_EFORMAT },  { EISDIR, HTSTORE_EFORMAT },  { ENAMETOOLONG, HTSTORE_EINVAL },
        { EIO, HTSTORE_EIO },          { EINVAL, HTSTORE_EIO },      { ESTALE, HTSTORE_EIO },
        { 12345, HTSTORE_EIO },
    };
    for (int i = 0; i < N_ELEMENTS(table); i++)
        ck_assert_int_eq(hti_file_status(table[i][0]), table[i][1]);
}
END_TEST

START_TEST(a_failure_tells_what_where_and_why)
{
    ck_assert_int_eq(hti_file_fail(&error, ENOSPC, "some/file", "cannot write block %d", 7), HTSTORE_ENOSPC);
    ck_assert_int_eq(error.code, HTSTORE_ENOSPC);
    ck_assert_int_eq(error.sys_errno, ENOSPC);
    ck_assert_str_eq(error.path, "some/file");
    ck_assert_str_eq(error.message, "cannot write block 7: No space left on device");
    ck_assert_int_eq(hti_file_fail(&error, 12345, "f", "odd"), HTSTORE_EIO);
    ck_assert_str_eq(error.message, "odd: unknown error");
    ck_assert_int_eq(hti_file_fail(NULL, EIO, "f", "nobody listens"), HTSTORE_EIO);
}
END_TEST

START_TEST(reads_are_complete_in_spite_of_short_counts_and_interrupts)
{
    char text[64] = "";
    size_t got = 0;
    int fd = make_file("f", "0123456789abcdef");
    faults.max_count = 3;
    faults.n_interrupts = 2;
    ck_assert_int_eq(hti_file_read_at(fd, text, 12, 2, &got), 0);
    ck_assert_uint_eq(got, 12);
    ck_assert_str_eq(text, "23456789abcd");
    close(fd);
}
END_TEST

START_TEST(a_read_tells_where_the_file_ends)
{
    char text[64] = "";
    size_t got = 99;
    int fd = make_file("f", "0123456789");
    ck_assert_int_eq(hti_file_read_at(fd, text, sizeof text, 6, &got), 0);
    ck_assert_uint_eq(got, 4);
    ck_assert_int_eq(hti_file_read_at(fd, text, sizeof text, 10, &got), 0);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(hti_file_read_at(fd, text, sizeof text, UINT64_MAX - 5, &got), 0);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(hti_file_read_at(-1, text, sizeof text, 0, &got), EBADF);
    close(fd);
}
END_TEST

START_TEST(a_failing_read_is_reported)
{
    char text[8];
    size_t got = 99;
    int fd = make_file("f", "0123456789");
    faults.fault_errno = EIO;
    ck_assert_int_eq(hti_file_read_at(fd, text, sizeof text, 0, &got), EIO);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(faults.n_calls, 1);
    close(fd);
}
END_TEST

START_TEST(writes_are_complete_in_spite_of_short_counts_and_interrupts)
{
    char a[] = "abcdefg", b[] = "", c[] = "hijk", d[] = "", e[] = "lmnopqrstu";
    struct iovec iov[] = { { a, 7 }, { b, 0 }, { c, 4 }, { d, 0 }, { e, 10 }, { b, 0 } };
    uint64_t written = 0;
    int fd = make_file("f", "__");
    faults.max_count = 4;
    faults.n_interrupts = 3;
    ck_assert_int_eq(hti_file_writev_at(fd, iov, N_ELEMENTS(iov), 2, &written), 0);
    ck_assert_uint_eq(written, 21);
    ck_assert_int_eq(hti_file_write_at(fd, "ABCDEFGHIJ", 10, 23), 0);
    ck_assert_int_eq(hti_file_write_at(fd, NULL, 0, 1000), 0);
    ck_assert(has_text("f", "__abcdefghijklmnopqrstuABCDEFGHIJ"));
    close(fd);
}
END_TEST

START_TEST(more_vectors_than_one_call_takes_are_written)
{
    static struct iovec iov[2 * IOV_MAX + 100];
    static char bytes[2 * IOV_MAX + 100], found[2 * IOV_MAX + 101];
    uint64_t written;
    size_t got;
    int fd = make_file("f", "");
    for (int i = 0; i < N_ELEMENTS(iov); i++) {
        bytes[i] = (char)(i % 251);
        iov[i] = (struct iovec){ &bytes[i], 1 };
    }
    ck_assert_int_eq(hti_file_writev_at(fd, iov, N_ELEMENTS(iov), 0, &written), 0);
    ck_assert_uint_eq(written, sizeof bytes);
    ck_assert_int_eq(hti_file_read_at(fd, found, sizeof found, 0, &got), 0);
    ck_assert_uint_eq(got, sizeof bytes);
    ck_assert_mem_eq(found, bytes, sizeof bytes);
    close(fd);
}
END_TEST

START_TEST(a_write_that_fails_tells_how_far_it_got)
{
    static char bytes[5000];
    struct iovec iov[] = { { bytes, 5000 }, { bytes, 5000 }, { bytes, 5000 } };
    struct rlimit limit = { 10000, RLIM_INFINITY };
    uint64_t written = 0, size = 0;
    int fd = make_file("f", "");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int result = hti_file_writev_at(fd, iov, 3, 0, &written);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    ck_assert_int_eq(result, EFBIG);
    ck_assert_uint_eq(written, 10000);
    ck_assert_int_eq(hti_file_size(fd, &size), 0);
    ck_assert_uint_eq(size, 10000);
    close(fd);
}
END_TEST

START_TEST(a_write_beyond_every_offset_is_refused)
{
    int fd = make_file("f", "");
    ck_assert_int_eq(hti_file_write_at(fd, "x", 1, UINT64_MAX), EFBIG);
    ck_assert_int_eq(hti_file_write_at(-1, "x", 1, 0), EBADF);
    ck_assert(has_text("f", ""));
    close(fd);
}
END_TEST

START_TEST(filling_writes_zeros_and_allocates_blocks)
{
    enum { SIZE = 3000123 };
    struct stat status;
    size_t got;
    uint8_t *found = malloc(SIZE + 8);
    int fd = make_file("f", "0123456789");
    ck_assert_int_eq(pwrite(fd, "tail", 4, SIZE + 4), 4);
    ck_assert_int_eq(hti_file_fill_zero(fd, 4, SIZE), 0);
    ck_assert_int_eq(hti_file_read_at(fd, found, SIZE + 8, 0, &got), 0);
    ck_assert_uint_eq(got, SIZE + 8);
    ck_assert_mem_eq(found, "0123", 4);
    for (size_t i = 4; i < SIZE + 4; i++)
        if (found[i] != 0)
            ck_abort_msg("byte %zu is not zero", i);
    ck_assert_mem_eq(found + SIZE + 4, "tail", 4);
    ck_assert_int_eq(fsync(fd), 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_ge(status.st_blocks * 512, SIZE);
    faults.fault_errno = ENOSPC;
    ck_assert_int_eq(hti_file_fill_zero(fd, 0, SIZE), ENOSPC);
    free(found);
    close(fd);
}
END_TEST

START_TEST(a_failed_sync_is_reported_and_never_retried)
{
    int (*const syncs[])(int) = { hti_file_datasync, hti_file_sync };
    int fd = make_file("f", "x");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(syncs[i](fd), 0);
        faults.n_calls = 0;
        faults.fault_errno = EIO;
        ck_assert_int_eq(syncs[i](fd), EIO);
        ck_assert_int_eq(faults.n_calls, 1);
        faults.fault_errno = 0;
        faults.n_interrupts = 1;
        ck_assert_int_eq(syncs[i](fd), EINTR);
        ck_assert_int_eq(faults.n_calls, 2);
    }
    close(fd);
}
END_TEST

START_TEST(a_new_file_has_mode_0600_whatever_the_umask)
{
    static const mode_t umasks[] = { 0, 022, 077, 0777 };
    for (int i = 0; i < N_ELEMENTS(umasks); i++) {
        int fd;
        mode_t old = umask(umasks[i]);
        int code = open_file("f", O_RDWR | O_CREAT, &fd);
        umask(old);
        ck_assert_int_eq(code, 0);
        ck_assert_uint_eq(mode_of("f"), 0600);
        close(fd);
        unlinkat(dir_fd, "f", 0);
    }
}
END_TEST

START_TEST(an_old_file_keeps_its_mode_and_contents)
{
    int fd = make_file("f", "text");
    ck_assert_int_eq(fchmod(fd, 0640), 0);
    close(fd);
    ck_assert_int_eq(open_file("f", O_RDWR | O_CREAT, &fd), 0);
    close(fd);
    ck_assert_uint_eq(mode_of("f"), 0640);
    ck_assert(has_text("f", "text"));
    ck_assert_int_eq(open_file("f", O_RDWR | O_TRUNC, &fd), 0);
    close(fd);
    ck_assert(has_text("f", ""));
}
END_TEST

START_TEST(a_descriptor_is_blocking_and_closed_on_exec)
{
    int fd;
    ck_assert_int_eq(open_file("f", O_RDWR | O_CREAT, &fd), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
    ck_assert_int_eq(hti_folder_open(AT_FDCWD, directory, directory, &fd, &error), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
}
END_TEST

START_TEST(missing_and_existing_files_have_their_codes)
{
    int fd = 99;
    ck_assert_int_eq(open_file("f", O_RDWR, &fd), HTSTORE_ENOTFOUND);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(error.sys_errno, ENOENT);
    ck_assert_str_eq(error.path, "f");
    close(make_file("f", "text"));
    ck_assert_int_eq(open_file("f", O_RDWR | O_CREAT | O_EXCL, &fd), HTSTORE_EEXIST);
    ck_assert_int_eq(fd, -1);
    ck_assert(has_text("f", "text"));
    ck_assert_int_eq(open_file("n", O_RDWR | O_CREAT | O_EXCL, &fd), 0);
    close(fd);
}
END_TEST

static void make_theirs(void)
{
    close(make_file("f", "theirs"));
}

START_TEST(a_file_that_somebody_else_makes_meanwhile_is_theirs)
{
    int fd;
    faults.on_open = make_theirs;
    faults.mode_errno = EPERM;
    ck_assert_int_eq(open_file("f", O_RDWR | O_CREAT, &fd), 0);
    ck_assert(has_text("f", "theirs"));
    close(fd);
}
END_TEST

START_TEST(what_cannot_get_its_mode_is_not_left_behind)
{
    int fd = 99;
    faults.mode_errno = EPERM;
    ck_assert_int_eq(open_file("f", O_RDWR | O_CREAT, &fd), HTSTORE_EREADONLY);
    ck_assert_int_eq(fd, -1);
    ck_assert(!exists("f"));
    mode_t old = umask(0777);
    int code = hti_folder_make(dir_fd, "folder", "folder", &error);
    umask(old);
    ck_assert_int_eq(code, HTSTORE_EREADONLY);
    ck_assert(!exists("folder"));
}
END_TEST

START_TEST(closed_descriptors_are_io_errors)
{
    uint64_t size;
    ck_assert_int_eq(hti_file_size(-1, &size), EBADF);
    ck_assert_int_eq(hti_folder_check_safe(-1, "p", &error), HTSTORE_EIO);
    ck_assert_int_eq(hti_folder_check_filesystem(-1, "p", &error), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, EBADF);
}
END_TEST

START_TEST(links_are_refused_and_nothing_is_made_behind_them)
{
    close(make_file("target", "text"));
    ck_assert_int_eq(symlinkat("target", dir_fd, "link"), 0);
    ck_assert_int_eq(symlinkat("nowhere", dir_fd, "dangling"), 0);
    expect_refused("link", O_RDONLY);
    expect_refused("link", O_RDWR | O_CREAT | O_TRUNC);
    expect_refused("dangling", O_RDWR | O_CREAT);
    ck_assert(!exists("nowhere"));
    ck_assert(has_text("target", "text"));
}
END_TEST

START_TEST(a_file_with_two_names_is_refused_and_kept)
{
    close(make_file("f", "text"));
    ck_assert_int_eq(linkat(dir_fd, "f", dir_fd, "g", 0), 0);
    expect_refused("g", O_RDWR | O_CREAT | O_TRUNC);
    ck_assert(has_text("f", "text"));
}
END_TEST

START_TEST(fifos_folders_and_sockets_are_refused_without_waiting)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(fchdir(dir_fd), 0);
    strcpy(address.sun_path, "socket");
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(mkfifoat(dir_fd, "fifo", 0600), 0);
    ck_assert_int_eq(mkdirat(dir_fd, "folder", 0700), 0);
    static const char *const names[] = { "fifo", "folder", "socket" };
    for (int i = 0; i < 3; i++) {
        expect_refused(names[i], O_RDONLY);
        expect_refused(names[i], O_WRONLY);
        expect_refused(names[i], O_RDWR | O_CREAT);
    }
    ck_assert_int_eq(chdir("/"), 0);
    close(fd);
}
END_TEST

START_TEST(files_and_folders_of_other_users_are_refused)
{
    int fd;
    close(make_file("f", "text"));
    ck_assert_int_eq(fchownat(dir_fd, "f", 12345, 12345, 0), 0);
    expect_refused("f", O_RDONLY);
    ck_assert_int_eq(mkdirat(dir_fd, "folder", 0700), 0);
    ck_assert_int_eq(hti_folder_open(dir_fd, "folder", "folder", &fd, &error), 0);
    ck_assert_int_eq(hti_folder_check_safe(fd, "folder", &error), 0);
    ck_assert_int_eq(fchown(fd, 12345, 12345), 0);
    ck_assert_int_eq(hti_folder_check_safe(fd, "folder", &error), HTSTORE_EINVAL);
    ck_assert_str_eq(error.path, "folder");
    close(fd);
}
END_TEST

START_TEST(a_file_of_root_is_accepted_from_others)
{
    int fd;
    close(make_file("f", "text"));
    ck_assert_int_eq(fchmodat(dir_fd, "f", 0644, 0), 0);
    ck_assert_int_eq(fchmod(dir_fd, 0755), 0);
    ck_assert_int_eq(seteuid(12345), 0);
    int code = open_file("f", O_RDONLY, &fd);
    int write_code = open_file("g", O_RDWR | O_CREAT, &(int){ -1 });
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(code, 0);
    ck_assert_int_eq(write_code, HTSTORE_EREADONLY);
    close(fd);
}
END_TEST

START_TEST(a_folder_is_opened_and_anything_else_refused)
{
    int fd = 99;
    ck_assert_int_eq(mkdirat(dir_fd, "folder", 0700), 0);
    ck_assert_int_eq(symlinkat("folder", dir_fd, "link"), 0);
    close(make_file("f", ""));
    ck_assert_int_eq(hti_folder_open(dir_fd, "folder", "folder", &fd, &error), 0);
    close(fd);
    ck_assert_int_eq(hti_folder_open(dir_fd, "nothing", "p", &fd, &error), HTSTORE_ENOTFOUND);
    ck_assert_int_eq(fd, -1);
    ck_assert_str_eq(error.path, "p");
    ck_assert_int_eq(hti_folder_open(dir_fd, "f", "p", &fd, &error), HTSTORE_EFORMAT);
    ck_assert_int_eq(hti_folder_open(dir_fd, "link", "p", &fd, &error), HTSTORE_EFORMAT);
}
END_TEST

START_TEST(a_path_of_the_user_may_lead_through_a_link)
{
    char path[300];
    int fd;
    ck_assert_int_eq(mkdirat(dir_fd, "folder", 0700), 0);
    ck_assert_int_eq(symlinkat("folder", dir_fd, "link"), 0);
    snprintf(path, sizeof path, "%s/link", directory);
    ck_assert_int_eq(hti_folder_open(AT_FDCWD, path, path, &fd, &error), 0);
    close(fd);
}
END_TEST

START_TEST(a_new_folder_has_mode_0700_whatever_the_umask)
{
    static const mode_t umasks[] = { 0, 022, 077, 0777 };
    for (int i = 0; i < N_ELEMENTS(umasks); i++) {
        mode_t old = umask(umasks[i]);
        int code = hti_folder_make(dir_fd, "folder", "folder", &error);
        umask(old);
        ck_assert_int_eq(code, 0);
        ck_assert_uint_eq(mode_of("folder"), 0700);
        ck_assert_int_eq(hti_folder_make(dir_fd, "folder", "folder", &error), HTSTORE_EEXIST);
        ck_assert_int_eq(unlinkat(dir_fd, "folder", AT_REMOVEDIR), 0);
    }
    ck_assert_int_eq(hti_folder_make(dir_fd, "no/folder", "folder", &error), HTSTORE_ENOTFOUND);
}
END_TEST

START_TEST(a_folder_that_others_may_write_is_unsafe)
{
    static const mode_t modes[] = { 0700, 0755, 0500, 0720, 0702, 0777, 01777 };
    for (int i = 0; i < N_ELEMENTS(modes); i++) {
        int expected = i < 3 ? 0 : HTSTORE_EINVAL;
        ck_assert_int_eq(fchmod(dir_fd, modes[i]), 0);
        ck_assert_int_eq(hti_folder_check_safe(dir_fd, "p", &error), expected);
    }
    ck_assert_str_eq(error.path, "p");
    ck_assert_ptr_nonnull(strstr(error.message, "1777"));
    int fd = make_file("f", "");
    ck_assert_int_eq(hti_folder_check_safe(fd, "p", &error), HTSTORE_EINVAL);
    close(fd);
}
END_TEST

START_TEST(unknown_file_systems_are_refused)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(hti_folder_check_filesystem(fd, "/proc", &error), HTSTORE_EINVAL);
    ck_assert_str_eq(error.path, "/proc");
    close(fd);
    ck_assert_int_eq(hti_folder_check_filesystem(dir_fd, directory, &error), 0);
}
END_TEST

START_TEST(renaming_never_replaces)
{
    faults.no_noreplace = _i == 1;
    close(make_file("a", "one"));
    close(make_file("b", "two"));
    ck_assert_int_eq(symlinkat("nowhere", dir_fd, "dangling"), 0);
    ck_assert_int_eq(hti_file_rename_new(dir_fd, "a", dir_fd, "b"), EEXIST);
    ck_assert_int_eq(hti_file_rename_new(dir_fd, "a", dir_fd, "dangling"), EEXIST);
    ck_assert(has_text("a", "one"));
    ck_assert(has_text("b", "two"));
    ck_assert_int_eq(hti_file_rename_new(dir_fd, "nothing", dir_fd, "c"), ENOENT);
    ck_assert_int_eq(hti_file_rename_new(dir_fd, "a", dir_fd, "c"), 0);
    ck_assert(!exists("a"));
    ck_assert(has_text("c", "one"));
    ck_assert_int_eq(hti_file_rename_new(dir_fd, "c", -1, "d"), EBADF);
}
END_TEST

START_TEST(a_folder_is_removed_with_all_in_it_but_nothing_outside)
{
    close(make_file("outside", "text"));
    ck_assert_int_eq(mkdirat(dir_fd, "kept", 0700), 0);
    close(make_file("kept/file", "text"));
    ck_assert_int_eq(mkdirat(dir_fd, "a", 0700), 0);
    ck_assert_int_eq(mkdirat(dir_fd, "a/b", 0700), 0);
    ck_assert_int_eq(mkdirat(dir_fd, "a/b/c", 0700), 0);
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "a/b/file%d", i);
        close(make_file(name, "x"));
    }
    ck_assert_int_eq(symlinkat("../kept", dir_fd, "a/link"), 0);
    ck_assert_int_eq(symlinkat("../outside", dir_fd, "a/link2"), 0);
    ck_assert_int_eq(mkfifoat(dir_fd, "a/fifo", 0600), 0);
    ck_assert_int_eq(hti_folder_remove(dir_fd, "a"), 0);
    ck_assert(!exists("a"));
    ck_assert(has_text("kept/file", "text"));
    ck_assert(has_text("outside", "text"));
    ck_assert_int_eq(hti_folder_remove(dir_fd, "a"), 0);
}
END_TEST

START_TEST(what_is_no_folder_is_not_removed_as_one)
{
    close(make_file("f", "text"));
    ck_assert_int_eq(mkdirat(dir_fd, "folder", 0700), 0);
    close(make_file("folder/file", "text"));
    ck_assert_int_eq(symlinkat("folder", dir_fd, "link"), 0);
    ck_assert_int_eq(hti_folder_remove(dir_fd, "f"), ENOTDIR);
    ck_assert_int_eq(hti_folder_remove(dir_fd, "link"), ENOTDIR);
    ck_assert(has_text("f", "text"));
    ck_assert(has_text("folder/file", "text"));
    ck_assert_int_eq(hti_folder_remove(-1, "f"), EBADF);
}
END_TEST

START_TEST(removal_stops_in_endless_depth)
{
    char path[200] = "d";
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(mkdirat(dir_fd, path, 0700), 0);
        strcat(path, "/d");
    }
    ck_assert_int_eq(hti_folder_remove(dir_fd, "d"), ELOOP);
    ck_assert(exists("d"));
    /* From further down it can be done. */
    ck_assert_int_eq(hti_folder_remove(dir_fd, "d/d/d/d/d/d/d/d/d/d"), 0);
    ck_assert_int_eq(hti_folder_remove(dir_fd, "d"), 0);
}
END_TEST

START_TEST(a_mapped_file_is_found_among_many)
{
    enum { N_FILES = 300 };
    static void *maps[N_FILES];
    struct stat status[N_FILES];
    for (int i = 0; i < N_FILES; i++) {
        char name[64];
        snprintf(name, sizeof name, "a file with 200%% of a name\n%d", i);
        int fd = make_file(name, "text");
        ck_assert_int_eq(fstat(fd, &status[i]), 0);
        ck_assert(!hti_file_is_mapped(status[i].st_dev, status[i].st_ino));
        maps[i] = mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(maps[i], MAP_FAILED);
        close(fd);
    }
    for (int i = 0; i < N_FILES; i++)
        ck_assert(hti_file_is_mapped(status[i].st_dev, status[i].st_ino));
    ck_assert(!hti_file_is_mapped(status[0].st_dev + 1, status[0].st_ino));
    for (int i = 0; i < N_FILES; i++) {
        ck_assert_int_eq(munmap(maps[i], 4), 0);
        ck_assert(!hti_file_is_mapped(status[i].st_dev, status[i].st_ino));
    }
}
END_TEST

START_TEST(paths_are_split_at_the_last_name)
{
    static const char *const table[][3] = {
        { "b", ".", "b" },      { "a/b", "a", "b" },         { "a/b/", "a", "b" },  { "a//b//", "a", "b" },
        { "/b", "/", "b" },     { "//b", "/", "b" },         { "/a/b", "/a", "b" }, { "../b", "..", "b" },
        { "./b", ".", "b" },    { "a/./b", "a/.", "b" },     { "...", ".", "..." }, { ".b", ".", ".b" },
        { "..b/", ".", "..b" }, { "a b/c d", "a b", "c d" },
    };
    for (int i = 0; i < N_ELEMENTS(table); i++) {
        char *parent, *name;
        ck_assert_int_eq(hti_path_split(table[i][0], &parent, &name, &error), 0);
        ck_assert_str_eq(parent, table[i][1]);
        ck_assert_str_eq(name, table[i][2]);
        hti_mem_free(parent);
        hti_mem_free(name);
    }
}
END_TEST

START_TEST(paths_without_a_name_are_refused)
{
    static const char *const paths[] = { "", "/", "//", ".", "..", "./", "a/.", "a/..", "a/../", "/.." };
    for (int i = 0; i < N_ELEMENTS(paths); i++) {
        char *parent = directory, *name = directory;
        ck_assert_int_eq(hti_path_split(paths[i], &parent, &name, &error), HTSTORE_EINVAL);
        ck_assert_ptr_null(parent);
        ck_assert_ptr_null(name);
    }
}
END_TEST

START_TEST(splitting_without_memory_leaves_nothing)
{
    for (uint64_t i = 0; i < 4; i++) {
        char *parent, *name;
        hti_mem_test_fail(i / 2, i % 2);
        ck_assert_int_eq(hti_path_split("a/b", &parent, &name, &error), HTSTORE_ENOMEM);
        ck_assert_ptr_null(parent);
        ck_assert_ptr_null(name);
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
}
END_TEST

static TCase *make_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    suite_add_tcase(suite, tests);
    return tests;
}

static void add_contents(TCase *tests)
{
    tcase_add_test(tests, every_errno_has_its_status);
    tcase_add_test(tests, a_failure_tells_what_where_and_why);
    tcase_add_test(tests, reads_are_complete_in_spite_of_short_counts_and_interrupts);
    tcase_add_test(tests, a_read_tells_where_the_file_ends);
    tcase_add_test(tests, a_failing_read_is_reported);
    tcase_add_test(tests, writes_are_complete_in_spite_of_short_counts_and_interrupts);
    tcase_add_test(tests, more_vectors_than_one_call_takes_are_written);
    tcase_add_test(tests, a_write_that_fails_tells_how_far_it_got);
    tcase_add_test(tests, a_write_beyond_every_offset_is_refused);
    tcase_add_test(tests, filling_writes_zeros_and_allocates_blocks);
    tcase_add_test(tests, a_failed_sync_is_reported_and_never_retried);
}

static void add_files(TCase *tests)
{
    tcase_add_test(tests, a_new_file_has_mode_0600_whatever_the_umask);
    tcase_add_test(tests, an_old_file_keeps_its_mode_and_contents);
    tcase_add_test(tests, a_descriptor_is_blocking_and_closed_on_exec);
    tcase_add_test(tests, missing_and_existing_files_have_their_codes);
    tcase_add_test(tests, a_file_that_somebody_else_makes_meanwhile_is_theirs);
    tcase_add_test(tests, what_cannot_get_its_mode_is_not_left_behind);
    tcase_add_test(tests, closed_descriptors_are_io_errors);
    tcase_add_test(tests, links_are_refused_and_nothing_is_made_behind_them);
    tcase_add_test(tests, a_file_with_two_names_is_refused_and_kept);
    tcase_add_test(tests, fifos_folders_and_sockets_are_refused_without_waiting);
    tcase_add_loop_test(tests, renaming_never_replaces, 0, 2);
    /* Only root can give files away. */
    if (geteuid() == 0) {
        tcase_add_test(tests, files_and_folders_of_other_users_are_refused);
        tcase_add_test(tests, a_file_of_root_is_accepted_from_others);
    }
}

static void add_folders(TCase *tests)
{
    tcase_add_test(tests, a_folder_is_opened_and_anything_else_refused);
    tcase_add_test(tests, a_path_of_the_user_may_lead_through_a_link);
    tcase_add_test(tests, a_new_folder_has_mode_0700_whatever_the_umask);
    tcase_add_test(tests, a_folder_that_others_may_write_is_unsafe);
    tcase_add_test(tests, unknown_file_systems_are_refused);
    tcase_add_test(tests, a_folder_is_removed_with_all_in_it_but_nothing_outside);
    tcase_add_test(tests, what_is_no_folder_is_not_removed_as_one);
    tcase_add_test(tests, removal_stops_in_endless_depth);
    tcase_add_test(tests, a_mapped_file_is_found_among_many);
    tcase_add_test(tests, paths_are_split_at_the_last_name);
    tcase_add_test(tests, paths_without_a_name_are_refused);
    tcase_add_test(tests, splitting_without_memory_leaves_nothing);
}

int main(void)
{
    Suite *suite = suite_create("file");
    add_contents(make_case(suite, "contents"));
    add_files(make_case(suite, "files"));
    add_folders(make_case(suite, "folders"));
    return check_run(suite);
}
