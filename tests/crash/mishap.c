/* mishap: hides the stand-ins for system calls. */
#include "mishap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define STAND_IN __attribute__((visibility("default")))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mishap current;
static _Atomic bool active, skips_syncs;
static unsigned n_seen, n_hits;

void mishap_set(const struct mishap *mishap)
{
    pthread_mutex_lock(&mutex);
    active = mishap != NULL;
    if (mishap)
        current = *mishap;
    n_seen = n_hits = 0;
    pthread_mutex_unlock(&mutex);
}

unsigned mishap_hits(void)
{
    pthread_mutex_lock(&mutex);
    const unsigned n = n_hits;
    pthread_mutex_unlock(&mutex);
    return n;
}

void mishap_skip_syncs(bool skip)
{
    skips_syncs = skip;
}

static bool strikes(enum mishap_call call, const char *path)
{
    if (!active || current.call != call || !strstr(path, current.file))
        return false;
    n_seen++;
    return n_seen > current.after && (n_seen == current.after + 1 || current.forever);
}

/* 0, or the errno with which the call fails. After a half write it is the next call that fails. */
static int check(enum mishap_call call, const char *path, bool *half)
{
    int error = 0;

    pthread_mutex_lock(&mutex);
    if (strikes(call, path)) {
        if (current.error == 0)
            _exit(0);
        *half = current.half;
        if (current.half)
            current.after = n_seen;
        else
            error = current.error;
        current.half = false;
        n_hits += error != 0;
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

static int check_descriptor(enum mishap_call call, int fd, bool *half)
{
    char link[64], path[PATH_MAX + 1];

    if (!active)
        return 0;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(link, path, PATH_MAX);
    path[size > 0 ? size : 0] = '\0';
    return check(call, path, half);
}

static long fail(int error)
{
    errno = error;
    return -1;
}

static ssize_t write_some(int fd, const void *data, size_t size, off_t offset)
{
    bool half = false;
    const int error = check_descriptor(MISHAP_WRITE, fd, &half);

    return error ? fail(error) : syscall(SYS_pwrite64, fd, data, half ? size / 2 : size, offset);
}

static ssize_t write_vectors(int fd, const struct iovec *iov, int n, off_t offset)
{
    bool half = false;
    const int error = check_descriptor(MISHAP_WRITE, fd, &half);

    if (half)
        return syscall(SYS_pwrite64, fd, iov[0].iov_base, iov[0].iov_len / 2, offset);
    return error ? fail(error) : syscall(SYS_pwritev, fd, iov, n, offset, 0L);
}

static int sync_file(enum mishap_call call, long number, int fd)
{
    bool half = false;
    const int error = check_descriptor(call, fd, &half);

    if (error)
        return (int)fail(error);
    return skips_syncs ? 0 : (int)syscall(number, fd);
}

STAND_IN ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return write_some(fd, data, size, offset);
}

STAND_IN ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return write_some(fd, data, size, offset);
}

STAND_IN ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    return write_vectors(fd, iov, n, offset);
}

STAND_IN ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    return write_vectors(fd, iov, n, offset);
}

STAND_IN ssize_t writev(int fd, const struct iovec *iov, int n)
{
    bool half = false;
    const int error = check_descriptor(MISHAP_WRITE, fd, &half);

    return error ? fail(error) : syscall(SYS_writev, fd, iov, n);
}

/* LMDB writes its meta pages through a descriptor that syncs by itself. */
STAND_IN int open(const char *path, int flags, ...)
{
    va_list list;

    va_start(list, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return (int)syscall(SYS_openat, AT_FDCWD, path, skips_syncs ? flags & ~O_DSYNC : flags, mode);
}

STAND_IN int fdatasync(int fd)
{
    return sync_file(MISHAP_DATASYNC, SYS_fdatasync, fd);
}

STAND_IN int fsync(int fd)
{
    return sync_file(MISHAP_SYNC, SYS_fsync, fd);
}

STAND_IN int unlinkat(int dir_fd, const char *name, int flags)
{
    bool half = false;
    const int error = check(MISHAP_UNLINK, name, &half);

    return error ? (int)fail(error) : (int)syscall(SYS_unlinkat, dir_fd, name, flags);
}

STAND_IN int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    bool half = false;
    const int error = check(MISHAP_RENAME, to, &half);

    return error ? (int)fail(error) : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

STAND_IN int openat(int dir_fd, const char *name, int flags, ...)
{
    const bool creates = (flags & O_CREAT) != 0;
    bool half = false;
    va_list list;

    va_start(list, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    const int error = creates ? check(MISHAP_MAKE, name, &half) : 0;
    return error ? (int)fail(error) : (int)syscall(SYS_openat, dir_fd, name, flags, mode);
}
