/* faults: hides the system calls that stand in for those of the C library. */
#include "faults.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEVER UINT32_MAX

/* Several threads may be at work: the preparer of the journal writes and syncs too. */
static struct {
    _Atomic uint32_t left; /* calls that still succeed; NEVER: all do */
    _Atomic int sys_errno;
    _Atomic int for_good;
    _Atomic uint32_t n;
} plans[N_FAULT_CALLS] = {
    { .left = NEVER }, { .left = NEVER }, { .left = NEVER }, { .left = NEVER }, { .left = NEVER }
};
static _Atomic size_t longest_write;
static _Atomic(fault_watch_fn) watcher;
static void *_Atomic watcher_user;

void fault_set(enum fault_call call, unsigned after, int sys_errno, int for_good)
{
    atomic_store(&plans[call].left, NEVER);
    atomic_store(&plans[call].sys_errno, sys_errno);
    atomic_store(&plans[call].for_good, for_good);
    atomic_store(&plans[call].left, after);
}

void fault_shorten(size_t size)
{
    atomic_store(&longest_write, size);
}

void fault_clear(void)
{
    for (int i = 0; i < N_FAULT_CALLS; i++) {
        atomic_store(&plans[i].left, NEVER);
        atomic_store(&plans[i].n, 0);
    }
    atomic_store(&longest_write, 0);
    atomic_store(&watcher, NULL);
}

unsigned fault_count(enum fault_call call)
{
    return atomic_load(&plans[call].n);
}

void fault_watch(fault_watch_fn watch, void *user)
{
    atomic_store(&watcher_user, user);
    atomic_store(&watcher, watch);
}

/* Must this call fail? errno is set then. */
static int strikes(enum fault_call call, int fd, const void *data, size_t size)
{
    const fault_watch_fn watch = atomic_load(&watcher);
    uint32_t left = atomic_load(&plans[call].left);

    atomic_fetch_add(&plans[call].n, 1);
    if (watch)
        watch(atomic_load(&watcher_user), call, fd, data, size);
    while (left != NEVER) {
        const uint32_t next = left > 0 ? left - 1 : atomic_load(&plans[call].for_good) ? 0 : NEVER;
        if (!atomic_compare_exchange_weak(&plans[call].left, &left, next))
            continue;
        if (left == 0)
            errno = atomic_load(&plans[call].sys_errno);
        return left == 0;
    }
    return 0;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n_iov, off_t offset)
{
    const size_t longest = atomic_load(&longest_write);
    struct iovec first = { NULL, 0 };

    if (n_iov > 0)
        first = iov[0];
    if (strikes(FAULT_WRITE, fd, first.iov_base, first.iov_len))
        return -1;
    if (longest > 0 && n_iov > 0) {
        if (first.iov_len > longest)
            first.iov_len = longest;
        iov = &first;
        n_iov = 1;
    }
    /* the offset in two halves: on 64-bit systems the kernel takes the first one for the whole */
    return syscall(SYS_pwritev, fd, iov, n_iov, (long)offset, (long)((uint64_t)offset >> 32));
}

int fsync(int fd)
{
    return strikes(FAULT_SYNC, fd, NULL, 0) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return strikes(FAULT_DATASYNC, fd, NULL, 0) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return strikes(FAULT_RENAME, from_fd, NULL, 0) ? -1 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int unlinkat(int fd, const char *name, int flags)
{
    return strikes(FAULT_UNLINK, fd, NULL, 0) ? -1 : (int)syscall(SYS_unlinkat, fd, name, flags);
}
