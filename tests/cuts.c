/* cuts: hides the recorder of changes, and how the states of the disk follow from them. */
#include "cuts.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crash/folder.h"
#include "hash.h"

#define MAX_EVENTS 400
#define MAX_NAMES 24
#define MAX_LATER 12 /* changes of names between two syncs of the folder */
#define MAX_STATES 4000
#define NAME_SIZE 64
#define TEXT_SIZE 2048

enum event_kind { CREATE, RENAME, UNLINK, SYNC_FILE, SYNC_FOLDER, PROMISE };

struct event {
    enum event_kind kind;
    char name[NAME_SIZE], to[NAME_SIZE];
    int file; /* CREATE, RENAME, SYNC_FILE */
    void *data; /* SYNC_FILE: what is durable from here on */
    size_t size;
    struct cut_promise promise; /* that holds after it */
};

struct disk {
    struct {
        char name[NAME_SIZE];
        int file;
    } entries[MAX_NAMES];
    unsigned n;
};

struct cut_fault cut_fault;
struct cut_hooks cut_hooks;

static bool recording;
static ino_t folder_inode;
static struct event events[MAX_EVENTS];
static unsigned n_events, n_before; /* those before: the bytes that were there when it began */
static struct disk first; /* names before the first event */
static ino_t inodes[MAX_EVENTS]; /* of files, by their numbers; the last one counts */
static int n_files;
static struct cut_promise promised;

/* ---- the recorder ---- */

static int file_of(ino_t inode)
{
    for (int i = n_files; i-- > 0;)
        if (inodes[i] == inode)
            return i;
    return -1;
}

static int new_file(ino_t inode)
{
    ck_assert_int_lt(n_files, MAX_EVENTS);
    inodes[n_files] = inode;
    return n_files++;
}

static ino_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

static bool is_folder(int fd)
{
    return recording && inode_of(fd) == folder_inode;
}

static bool is_file(int fd)
{
    return recording && file_of(inode_of(fd)) >= 0;
}

static struct event *add_event(enum event_kind kind, const char *name)
{
    ck_assert_uint_lt(n_events, MAX_EVENTS);
    struct event *event = &events[n_events++];
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->promise = promised;
    (void)snprintf(event->name, sizeof event->name, "%s", name);
    return event;
}

static void add_bytes(int file, int fd)
{
    char path[64];
    struct stat status;
    struct event *event = add_event(SYNC_FILE, "");

    /* the descriptor may be for writing only */
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int readable = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    ck_assert_int_eq(fstat(readable, &status), 0);
    event->file = file;
    event->size = (size_t)status.st_size;
    event->data = malloc(event->size + 1);
    ck_assert_ptr_nonnull(event->data);
    ck_assert_int_eq(pread(readable, event->data, event->size, 0), status.st_size);
    close(readable);
}

/* Is this call, one that changes the folder, to fail? errno is set then. */
static bool strikes(const char *unlinked)
{
    const char *only = cut_fault.only_unlinks;

    if (only && (!unlinked || strncmp(unlinked, only, strlen(only)) != 0))
        return false;
    cut_fault.n_calls++;
    if (cut_fault.at == 0 || cut_fault.n_calls < cut_fault.at)
        return false;
    if (!cut_fault.for_good && cut_fault.n_calls > cut_fault.at)
        return false;
    errno = cut_fault.sys_errno;
    return true;
}

int openat(int dir_fd, const char *name, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (cut_hooks.on_open)
        cut_hooks.on_open(name);
    const bool creates = (flags & O_CREAT) && is_folder(dir_fd);
    if (creates && strikes(NULL))
        return -1;
    const int fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);
    if (fd >= 0 && creates)
        add_event(CREATE, name)->file = new_file(inode_of(fd));
    return fd;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n_iov, off_t offset)
{
    if (is_file(fd) && strikes(NULL))
        return -1;
    /* the offset in two halves: on 64-bit systems the kernel takes the first one for the whole */
    return syscall(SYS_pwritev, fd, iov, n_iov, (long)offset, (long)((uint64_t)offset >> 32));
}

int fsync(int fd)
{
    const bool folder = is_folder(fd), file = is_file(fd);

    if (cut_hooks.counted && inode_of(fd) == cut_hooks.counted)
        cut_hooks.n_syncs++;
    if ((folder || file) && strikes(NULL))
        return -1;
    if (folder)
        (void)add_event(SYNC_FOLDER, "");
    else if (file)
        add_bytes(file_of(inode_of(fd)), fd);
    return 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    struct stat status;
    const bool ours = is_folder(from_fd);

    if (ours && strikes(NULL))
        return -1;
    const bool found = fstatat(from_fd, from, &status, AT_SYMLINK_NOFOLLOW) == 0;
    const int rc = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    if (rc == 0 && ours && found) {
        struct event *event = add_event(RENAME, from);
        event->file = file_of(status.st_ino);
        (void)snprintf(event->to, sizeof event->to, "%s", to);
    }
    if (rc == 0 && cut_hooks.on_renamed)
        cut_hooks.on_renamed(to);
    return rc;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return renameat2(from_fd, from, to_fd, to, 0);
}

int unlinkat(int fd, const char *name, int flags)
{
    const bool ours = is_folder(fd);

    if (ours && strikes(name))
        return -1;
    const int rc = (int)syscall(SYS_unlinkat, fd, name, flags);
    if (rc == 0 && ours)
        (void)add_event(UNLINK, name);
    return rc;
}

/* ---- names ---- */

static void drop_name(struct disk *disk, const char *name)
{
    for (unsigned i = 0; i < disk->n; i++)
        if (strcmp(disk->entries[i].name, name) == 0)
            disk->entries[i--] = disk->entries[--disk->n];
}

static void set_name(struct disk *disk, const char *name, int file)
{
    drop_name(disk, name);
    ck_assert_uint_lt(disk->n, MAX_NAMES);
    (void)snprintf(disk->entries[disk->n].name, NAME_SIZE, "%s", name);
    disk->entries[disk->n++].file = file;
}

static void apply(struct disk *disk, const struct event *event)
{
    if (event->kind == CREATE)
        set_name(disk, event->name, event->file);
    if (event->kind == UNLINK || event->kind == RENAME)
        drop_name(disk, event->name);
    if (event->kind == RENAME)
        set_name(disk, event->to, event->file);
}

void cuts_start(const char *folder)
{
    const struct dirent *found;
    DIR *listing = opendir(folder);

    ck_assert_ptr_nonnull(listing);
    cuts_stop();
    folder_inode = inode_of(dirfd(listing));
    while ((found = readdir(listing)) != NULL) {
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        const int fd = (int)syscall(SYS_openat, dirfd(listing), found->d_name, O_RDONLY | O_CLOEXEC, 0);
        const int file = new_file(inode_of(fd));
        set_name(&first, found->d_name, file);
        add_bytes(file, fd);
        close(fd);
    }
    closedir(listing);
    n_before = n_events;
    recording = true;
}

void cuts_stop(void)
{
    recording = false;
    for (unsigned i = 0; i < n_events; i++)
        free(events[i].data);
    n_events = n_before = first.n = 0;
    n_files = 0;
    promised = (struct cut_promise){ 0, 0 };
    cut_fault = (struct cut_fault){ 0 };
    cut_hooks = (struct cut_hooks){ 0 };
}

void cuts_pause(bool pause)
{
    recording = !pause;
}

void cuts_promise(uint64_t n_made, int64_t newest)
{
    promised = (struct cut_promise){ n_made, newest };
    (void)add_event(PROMISE, "");
}

/* ---- states of the disk ---- */

static unsigned last_sync(unsigned n)
{
    while (n > 0 && events[n - 1].kind != SYNC_FOLDER)
        n--;
    return n;
}

/* What is durable of a file after so many events; NULL: nothing. */
static const struct event *durable_bytes(int file, unsigned n)
{
    while (n-- > 0)
        if (events[n].kind == SYNC_FILE && events[n].file == file)
            return &events[n];
    return NULL;
}

static void build(const struct disk *disk, unsigned n, const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < disk->n; i++) {
        char name[FOLDER_PATH_SIZE];
        const struct event *bytes = durable_bytes(disk->entries[i].file, n);
        (void)snprintf(name, sizeof name, "%s/%s", path, disk->entries[i].name);
        const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        if (bytes)
            ck_assert_int_eq(write(fd, bytes->data, bytes->size), (ssize_t)bytes->size);
        close(fd);
    }
}

/* Names, and which bytes they have. */
static void describe(const struct disk *disk, unsigned n, char text[TEXT_SIZE])
{
    size_t size = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < disk->n; i++) {
        const struct event *bytes = durable_bytes(disk->entries[i].file, n);
        size += (size_t)snprintf(text + size, TEXT_SIZE - size, " %s#%d", disk->entries[i].name,
                                 bytes ? (int)(bytes - events) : -1);
        ck_assert_uint_lt(size, TEXT_SIZE);
    }
}

static uint64_t known[MAX_STATES];
static unsigned n_known;

/* Has this state been checked, with the same promise? */
static bool is_known(const char *text, const struct cut_promise *promise)
{
    const uint64_t hash = hti_hash64(text, strlen(text), hti_hash64(promise, sizeof *promise, 0));

    for (unsigned i = 0; i < n_known; i++)
        if (known[i] == hash)
            return true;
    ck_assert_uint_lt(n_known, MAX_STATES);
    known[n_known++] = hash;
    return false;
}

static void check_disk(const struct disk *disk, unsigned n, const char *directory, cut_check_fn check)
{
    char path[FOLDER_PATH_SIZE - NAME_SIZE - 1], text[TEXT_SIZE], what[TEXT_SIZE + 100];
    const struct cut_promise promise = n > 0 ? events[n - 1].promise : (struct cut_promise){ 0, 0 };

    describe(disk, n, text);
    if (is_known(text, &promise))
        return;
    (void)snprintf(path, sizeof path, "%s/cut", directory);
    (void)snprintf(what, sizeof what, "call %u fails, cut after %u events:%s", cut_fault.at, n, text);
    build(disk, n, path);
    check(path, &promise, what);
    ck_assert(folder_remove(path));
}

static void cut_after(unsigned n, const char *directory, cut_check_fn check)
{
    const unsigned synced = last_sync(n);
    unsigned later[MAX_LATER], n_later = 0;

    for (unsigned i = synced; i < n; i++) {
        if (events[i].kind == SYNC_FILE || events[i].kind == PROMISE)
            continue;
        ck_assert_uint_lt(n_later, MAX_LATER);
        later[n_later++] = i;
    }
    for (unsigned subset = 0; subset < 1u << n_later; subset++) {
        struct disk disk = first;
        for (unsigned i = 0; i < synced; i++)
            apply(&disk, &events[i]);
        for (unsigned i = 0; i < n_later; i++)
            if (subset >> i & 1)
                apply(&disk, &events[later[i]]);
        check_disk(&disk, n, directory, check);
    }
}

void cuts_check(const char *directory, cut_check_fn check)
{
    recording = false;
    n_known = 0;
    for (unsigned n = n_before; n <= n_events; n++)
        cut_after(n, directory, check);
}

void cuts_each_unlink(const char *prefix, const char *companion, cut_unlink_fn check)
{
    for (unsigned at = n_before; at < n_events; at++) {
        struct disk disk = first;
        const struct event *bytes = NULL;
        if (events[at].kind != UNLINK || strncmp(events[at].name, prefix, strlen(prefix)) != 0)
            continue;
        for (unsigned i = 0; i < last_sync(at); i++)
            apply(&disk, &events[i]);
        for (unsigned i = 0; i < disk.n; i++)
            if (strcmp(disk.entries[i].name, companion) == 0)
                bytes = durable_bytes(disk.entries[i].file, at);
        check(events[at].name, bytes ? bytes->data : NULL, bytes ? bytes->size : 0);
    }
}
