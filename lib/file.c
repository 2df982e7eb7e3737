/* file: hides system calls on files and folders: retries, short counts, links, umask, and what errno means. */
#include "file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mem.h"

#define FILE_MODE 0600
#define FOLDER_MODE 0700
#define MAX_FOLDER_DEPTH 32
#define MAX_OPEN_ATTEMPTS 16
#define ZERO_SIZE 16384
#define ZERO_VECTORS 64

int hti_file_status(int sys_errno)
{
    switch (sys_errno) {
    case ENOENT:
        return HTSTORE_ENOTFOUND;
    case EEXIST:
        return HTSTORE_EEXIST;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return HTSTORE_ENOSPC;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOLCK:
        return HTSTORE_ENOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return HTSTORE_EREADONLY;
    case EAGAIN:
    case EBUSY:
        return HTSTORE_EBUSY;
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
        return HTSTORE_EFORMAT;
    case ENAMETOOLONG:
        return HTSTORE_EINVAL;
    default:
        return HTSTORE_EIO;
    }
}

int hti_file_fail(struct htstore_error *error, int sys_errno, const char *path, const char *format, ...)
{
    /* Longer than a message, so that hti_fail() alone decides where to cut. */
    char sentence[1024];
    const char *reason = strerrordesc_np(sys_errno);
    va_list args;

    va_start(args, format);
    if (vsnprintf(sentence, sizeof sentence, format, args) < 0)
        sentence[0] = '\0';
    va_end(args);
    int code = hti_fail(error, hti_file_status(sys_errno), "%s: %s", sentence, reason ? reason : "unknown error");
    hti_error_set_errno(error, sys_errno);
    hti_error_set_path(error, path, 0);
    return code;
}

int hti_file_read_at(int fd, void *data, size_t size, uint64_t offset, size_t *got)
{
    size_t done = 0;
    int result = 0;

    while (done < size && offset <= INT64_MAX - done) {
        ssize_t n = pread(fd, (uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            result = errno;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return result;
}

int hti_file_write_at(int fd, const void *data, size_t size, uint64_t offset)
{
    /* writev() takes no pointer to const, but does not write through it. */
    struct iovec vector = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };

    return hti_file_writev_at(fd, &vector, 1, offset, NULL);
}

/* Drop the first `size` bytes of the vectors, and empty vectors after them. */
static void skip_bytes(struct iovec **iov, int *n_iov, size_t size)
{
    while (*n_iov > 0 && size >= (*iov)->iov_len) {
        size -= (*iov)->iov_len;
        ++*iov;
        --*n_iov;
    }
    if (*n_iov > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + size;
        (*iov)->iov_len -= size;
    }
}

int hti_file_writev_at(int fd, struct iovec *iov, int n_iov, uint64_t offset, uint64_t *written)
{
    uint64_t done = 0;
    int result = 0;

    skip_bytes(&iov, &n_iov, 0);
    while (n_iov > 0) {
        if (offset > INT64_MAX - done) {
            result = EFBIG;
            break;
        }
        ssize_t n = pwritev(fd, iov, n_iov < IOV_MAX ? n_iov : IOV_MAX, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        /* A count of 0 makes no progress: trying for ever would hang. */
        if (n <= 0) {
            result = n < 0 ? errno : EIO;
            break;
        }
        done += (uint64_t)n;
        skip_bytes(&iov, &n_iov, (size_t)n);
    }
    if (written)
        *written = done;
    return result;
}

/* After a call that returned -1: 0 if it is to be repeated, else errno. */
static int wait_for_stream(int fd, short events)
{
    struct pollfd poller = { .fd = fd, .events = events };

    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return errno;
    return poll(&poller, 1, -1) < 0 && errno != EINTR ? errno : 0;
}

int hti_file_stream_writev(int fd, struct iovec *iov, int n_iov)
{
    skip_bytes(&iov, &n_iov, 0);
    while (n_iov > 0) {
        const ssize_t n = writev(fd, iov, n_iov < IOV_MAX ? n_iov : IOV_MAX);
        const int failed = n < 0 ? wait_for_stream(fd, POLLOUT) : 0;
        if (failed || n == 0)
            return failed ? failed : EIO;
        if (n > 0)
            skip_bytes(&iov, &n_iov, (size_t)n);
    }
    return 0;
}

int hti_file_stream_read(int fd, void *data, size_t size, size_t *got)
{
    size_t done = 0;
    int result = 0;

    while (done < size && result == 0) {
        const ssize_t n = read(fd, (uint8_t *)data + done, size - done);
        if (n == 0)
            break;
        if (n < 0)
            result = wait_for_stream(fd, POLLIN);
        else
            done += (size_t)n;
    }
    *got = done;
    return result;
}

int hti_file_fill_zero(int fd, uint64_t offset, uint64_t size)
{
    static const uint8_t zeros[ZERO_SIZE];

    while (size > 0) {
        struct iovec iov[ZERO_VECTORS];
        uint64_t batch_size = 0;
        int n_iov = 0;
        while (n_iov < ZERO_VECTORS && batch_size < size) {
            size_t piece = size - batch_size < ZERO_SIZE ? (size_t)(size - batch_size) : ZERO_SIZE;
            iov[n_iov].iov_base = (void *)(uintptr_t)zeros;
            iov[n_iov++].iov_len = piece;
            batch_size += piece;
        }
        int failed = hti_file_writev_at(fd, iov, n_iov, offset, NULL);
        if (failed)
            return failed;
        offset += batch_size;
        size -= batch_size;
    }
    return 0;
}

/* After an error the kernel may have marked the pages clean, so a second try would lie: not even EINTR is retried. */
int hti_file_datasync(int fd)
{
    return fdatasync(fd) == 0 ? 0 : errno;
}

int hti_file_sync(int fd)
{
    return fsync(fd) == 0 ? 0 : errno;
}

int hti_file_size(int fd, uint64_t *size)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return errno;
    *size = (uint64_t)status.st_size;
    return 0;
}

static int open_retrying(int dir_fd, const char *name, int flags)
{
    int fd;

    do
        fd = openat(dir_fd, name, flags, FILE_MODE);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Open or create. *created tells which: only a new file may get its mode set. -1 with errno on failure. */
static int open_or_create(int dir_fd, const char *name, int flags, bool *created)
{
    int old = flags & ~(O_CREAT | O_EXCL);
    int new = flags | O_CREAT | O_EXCL;

    *created = false;
    for (int i = 0; i < MAX_OPEN_ATTEMPTS; i++) {
        int fd = -1;
        if (!(flags & O_EXCL)) {
            fd = open_retrying(dir_fd, name, old);
            if (fd >= 0 || errno != ENOENT || !(flags & O_CREAT))
                return fd;
        }
        fd = open_retrying(dir_fd, name, new);
        if (fd >= 0)
            *created = true;
        /* Somebody else made it in between: open theirs. */
        if (fd >= 0 || errno != EEXIST || (flags & O_EXCL))
            return fd;
    }
    errno = EBUSY;
    return -1;
}

static int check_regular(int fd, const char *path, struct htstore_error *error)
{
    struct stat status;
    const char *fault = NULL;

    if (fstat(fd, &status) < 0)
        return hti_file_fail(error, errno, path, "cannot examine the file");
    if (!S_ISREG(status.st_mode))
        fault = "not a regular file";
    else if (status.st_nlink != 1)
        fault = status.st_nlink ? "the file has more than one name (hard links)" : "the file was deleted";
    else if (status.st_uid != geteuid() && status.st_uid != 0)
        fault = "the file belongs to another user";
    if (!fault)
        return 0;
    hti_fail(error, HTSTORE_EFORMAT, "%s", fault);
    hti_error_set_path(error, path, 0);
    return HTSTORE_EFORMAT;
}

/* What waits until a file is known to be ours: its mode, the cut, and blocking mode. */
static int finish_open(int fd, bool created, int flags, const char *path, struct htstore_error *error)
{
    if (created && fchmod(fd, FILE_MODE) < 0)
        return hti_file_fail(error, errno, path, "cannot set the mode of the file");
    if ((flags & O_TRUNC) && !created && ftruncate(fd, 0) < 0)
        return hti_file_fail(error, errno, path, "cannot empty the file");
    int status_flags = flags & O_NONBLOCK ? 0 : fcntl(fd, F_GETFL);
    if (status_flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, status_flags & ~O_NONBLOCK) < 0))
        return hti_file_fail(error, errno, path, "cannot set the mode of the descriptor");
    return 0;
}

static int fail_open(int sys_errno, const char *path, struct htstore_error *error)
{
    /* O_NOFOLLOW met a link; a FIFO, socket or device has nobody at its other end. */
    if (sys_errno == ELOOP || sys_errno == ENXIO || sys_errno == ENODEV) {
        hti_fail(error, HTSTORE_EFORMAT, "%s", sys_errno == ELOOP ? "is a symbolic link" : "not a regular file");
        hti_error_set_errno(error, sys_errno);
        hti_error_set_path(error, path, 0);
        return HTSTORE_EFORMAT;
    }
    return hti_file_fail(error, sys_errno, path, "cannot open the file");
}

int hti_file_open(int dir_fd, const char *name, int flags, const char *path, int *fd, struct htstore_error *error)
{
    bool created;

    /* O_NONBLOCK: a FIFO must not make us wait. O_TRUNC waits until the file has been checked. */
    int safe_flags = (flags & ~O_TRUNC) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    *fd = open_or_create(dir_fd, name, safe_flags, &created);
    if (*fd < 0)
        return fail_open(errno, path, error);
    int code = check_regular(*fd, path, error);
    if (!code)
        code = finish_open(*fd, created, flags, path, error);
    if (!code)
        return 0;
    close(*fd);
    *fd = -1;
    if (created)
        unlinkat(dir_fd, name, 0);
    return code;
}

int hti_folder_open(int dir_fd, const char *name, const char *path, int *fd, struct htstore_error *error)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

    /* Links in a path that the user gave are the user's business; inside our own folders there are none. */
    if (dir_fd != AT_FDCWD)
        flags |= O_NOFOLLOW;
    *fd = open_retrying(dir_fd, name, flags);
    return *fd < 0 ? hti_file_fail(error, errno, path, "cannot open the folder") : 0;
}

int hti_folder_make(int dir_fd, const char *name, const char *path, struct htstore_error *error)
{
    struct stat status;

    if (mkdirat(dir_fd, name, FOLDER_MODE) < 0)
        return hti_file_fail(error, errno, path, "cannot make the folder");
    if (fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        if ((status.st_mode & 0777) == FOLDER_MODE)
            return 0;
        if (fchmodat(dir_fd, name, FOLDER_MODE, AT_SYMLINK_NOFOLLOW) == 0)
            return 0;
    }
    int code = hti_file_fail(error, errno, path, "cannot set the mode of the folder");
    unlinkat(dir_fd, name, AT_REMOVEDIR);
    return code;
}

int hti_folder_check_safe(int fd, const char *path, struct htstore_error *error)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return hti_file_fail(error, errno, path, "cannot examine the folder");
    if (!S_ISDIR(status.st_mode))
        hti_fail(error, HTSTORE_EINVAL, "not a folder");
    else if (status.st_mode & (S_IWGRP | S_IWOTH))
        hti_fail(error, HTSTORE_EINVAL, "group or others may write the folder (mode %04o)",
                 (unsigned)(status.st_mode & 07777));
    else if (status.st_uid != geteuid() && status.st_uid != 0)
        hti_fail(error, HTSTORE_EINVAL, "the folder belongs to another user (uid %lu)", (unsigned long)status.st_uid);
    else
        return 0;
    hti_error_set_path(error, path, 0);
    return HTSTORE_EINVAL;
}

int hti_folder_check_filesystem(int fd, const char *path, struct htstore_error *error)
{
    struct statfs status;

    if (fstatfs(fd, &status) < 0)
        return hti_file_fail(error, errno, path, "cannot examine the file system");
    /* The type is a 32-bit number; on some machines the field is signed. */
    switch ((uint32_t)status.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
        return 0;
    default:
        break;
    }
    hti_fail(error, HTSTORE_EINVAL, "the file system (type 0x%08x) is not known to keep locks and synced data",
             (unsigned)status.f_type);
    hti_error_set_path(error, path, 0);
    return HTSTORE_EINVAL;
}

int hti_file_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    struct stat status;

    if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (fstatat(to_dir, to, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return EEXIST;
    if (errno != ENOENT)
        return errno;
    return renameat(from_dir, from, to_dir, to) == 0 ? 0 : errno;
}

static int remove_folder(int dir_fd, const char *name, int depth);

static int remove_entry(int dir_fd, const char *name, int depth)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    /* unlink() never follows a link and never removes a folder: no check beforehand that could be outrun. */
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return errno == EISDIR ? remove_folder(dir_fd, name, depth + 1) : errno;
}

static int remove_contents(DIR *folder, int depth)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry)
            return errno;
        int failed = remove_entry(dirfd(folder), entry->d_name, depth);
        if (failed)
            return failed;
    }
}

static int remove_folder(int dir_fd, const char *name, int depth)
{
    if (depth > MAX_FOLDER_DEPTH)
        return ELOOP;
    int fd = open_retrying(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    DIR *folder = fdopendir(fd);
    if (!folder) {
        int failed = errno;
        close(fd);
        return failed;
    }
    int failed = remove_contents(folder, depth);
    closedir(folder);
    if (failed)
        return failed;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

int hti_folder_remove(int dir_fd, const char *name)
{
    return remove_folder(dir_fd, name, 0);
}

static size_t trim_slashes(const char *path, size_t size)
{
    while (size > 0 && path[size - 1] == '/')
        size--;
    return size;
}

/* A copy of the first `size` bytes as text. */
static char *copy_text(const char *text, size_t size)
{
    char *copy = hti_mem_alloc(size + 1);

    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

int hti_path_split(const char *path, char **parent, char **name, struct htstore_error *error)
{
    assert(path);
    *parent = NULL;
    *name = NULL;
    size_t end = trim_slashes(path, strlen(path));
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    size_t name_size = end - start;
    if (name_size == 0 || (path[start] == '.' && (name_size == 1 || (name_size == 2 && path[start + 1] == '.')))) {
        hti_fail(error, HTSTORE_EINVAL, "the path does not end in a name");
        hti_error_set_path(error, path, 0);
        return HTSTORE_EINVAL;
    }
    size_t parent_size = trim_slashes(path, start);
    if (parent_size == 0)
        *parent = copy_text(start > 0 ? "/" : ".", 1);
    else
        *parent = copy_text(path, parent_size);
    *name = copy_text(path + start, name_size);
    if (*parent && *name)
        return 0;
    hti_mem_free(*parent);
    hti_mem_free(*name);
    *parent = NULL;
    *name = NULL;
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for a path");
}

/* One line of /proc/self/maps: "start-end perms offset major:minor inode path". */
static bool line_names(const char *line, uint64_t device, uint64_t inode)
{
    unsigned long long number;
    unsigned major_number, minor_number;

    return sscanf(line, "%*s %*s %*s %x:%x %llu", &major_number, &minor_number, &number) == 3 && number == inode &&
           makedev(major_number, minor_number) == device;
}

bool hti_file_is_mapped(uint64_t device, uint64_t inode)
{
    char buffer[8192 + 1];
    size_t kept = 0;
    bool found = false;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && !found) {
        const ssize_t got = read(fd, buffer + kept, sizeof buffer - 1 - kept);
        if (got <= 0)
            break;
        kept += (size_t)got;
        buffer[kept] = '\0';
        char *line = buffer, *end;
        for (; !found && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            found = line_names(line, device, inode);
        }
        kept -= (size_t)(line - buffer);
        memmove(buffer, line, kept);
        if (kept == sizeof buffer - 1)
            kept = 0; /* a line longer than any path: skip what was read of it */
    }
    if (fd >= 0)
        close(fd);
    return found;
}
