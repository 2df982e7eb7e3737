/* managerfolder: hides how a folder of checkpoints is found, locked, listed and cleaned. */
#include "managerfolder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"

#define DEFAULT_FOLDER "checkpoints"
#define DEFAULT_PREFIX "ckpt"
#define TMP_SUFFIX ".tmp"
#define STATE_SUFFIX ".state"
#define MAX_DIGITS 19
#define MAX_PREFIX_SIZE (NAME_MAX - 1 - 1 - MAX_DIGITS - (sizeof TMP_SUFFIX - 1)) /* of ".PREFIX-N.tmp" */

static const char *prefix_fault(const char *prefix)
{
    if (!prefix[0])
        return "the prefix is empty";
    if (prefix[0] == '.')
        return "the prefix starts with a dot";
    if (strchr(prefix, '/'))
        return "the prefix holds a slash";
    return strlen(prefix) > MAX_PREFIX_SIZE ? "the prefix is too long" : NULL;
}

static char *join(const char *parent, const char *name)
{
    const size_t size = strlen(parent) + 1 + strlen(name) + 1;
    char *path = hti_mem_alloc(size);

    if (path)
        (void)snprintf(path, size, "%s/%s", parent, name);
    return path;
}

static int set_names(const struct hti_managerfolder_where *where, struct hti_managerfolder *folder,
                     struct htstore_error *error)
{
    const char *prefix = where->prefix ? where->prefix : DEFAULT_PREFIX;
    const char *fault = prefix_fault(prefix);

    if (fault)
        return hti_fail(error, HTSTORE_EINVAL, "%s", fault);
    folder->prefix = hti_mem_strdup(prefix);
    folder->path = where->folder ? hti_mem_strdup(where->folder) : join(where->store_path, DEFAULT_FOLDER);
    if (!folder->prefix || !folder->path)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a path");
    return 0;
}

/* --- opening --- */

static int make_named(const char *path, struct htstore_error *error)
{
    char *parent, *name;
    int fd, rc = hti_path_split(path, &parent, &name, error);

    if (rc != 0)
        return rc;
    rc = hti_folder_open(AT_FDCWD, parent, parent, &fd, error);
    if (rc == 0) {
        rc = hti_folder_make(fd, name, path, error);
        close(fd);
    }
    hti_mem_free(parent);
    hti_mem_free(name);
    return rc;
}

static int open_once(const struct hti_managerfolder_where *where, struct hti_managerfolder *folder,
                     struct htstore_error *error)
{
    if (where->folder)
        return hti_folder_open(AT_FDCWD, where->folder, folder->path, &folder->fd, error);
    return hti_folder_open(where->store_fd, DEFAULT_FOLDER, folder->path, &folder->fd, error);
}

static int open_or_make(const struct hti_managerfolder_where *where, struct hti_managerfolder *folder,
                        struct htstore_error *error)
{
    int rc = open_once(where, folder, error);

    if (rc != HTSTORE_ENOTFOUND || !where->make)
        return rc;
    if (where->folder)
        rc = make_named(where->folder, error);
    else
        rc = hti_folder_make(where->store_fd, DEFAULT_FOLDER, folder->path, error);
    /* Somebody else may have made it just now. */
    return rc == 0 || rc == HTSTORE_EEXIST ? open_once(where, folder, error) : rc;
}

static int refuse(const char *path, int code, const char *why, struct htstore_error *error)
{
    hti_fail(error, code, "%s", why);
    hti_error_set_path(error, path, 0);
    return code;
}

static int check_folder(const struct hti_managerfolder_where *where, const struct hti_managerfolder *folder,
                        struct htstore_error *error)
{
    struct stat here, store;
    int rc = 0;

    if (fstat(folder->fd, &here) != 0 || fstat(where->store_fd, &store) != 0)
        return hti_file_fail(error, errno, folder->path, "cannot examine the folder");
    if (here.st_dev == store.st_dev && here.st_ino == store.st_ino)
        return refuse(folder->path, HTSTORE_EINVAL, "the store's own folder cannot hold its checkpoints", error);
    if (!where->any_filesystem)
        rc = hti_folder_check_filesystem(folder->fd, folder->path, error);
    if (rc == 0 && !where->shared_folder)
        rc = hti_folder_check_safe(folder->fd, folder->path, error);
    return rc;
}

/*
 * The lock is on the folder itself, not on a file in it: it cannot be unlinked while it holds anything, and everything
 * is done through this descriptor, so whoever works on the same files meets the same lock. Each open of the folder is
 * its own holder: a second manager of this process is refused as well.
 */
static int lock_folder(struct hti_managerfolder *folder, struct htstore_error *error)
{
    if (flock(folder->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return refuse(folder->path, HTSTORE_EBUSY, "another manager has this folder of checkpoints", error);
        return hti_file_fail(error, errno, folder->path, "cannot lock the folder");
    }
    folder->locked = true;
    return 0;
}

int hti_managerfolder_open(const struct hti_managerfolder_where *where, struct hti_managerfolder *folder,
                           struct htstore_error *error)
{
    *folder = (struct hti_managerfolder){ .fd = -1 };
    int rc = set_names(where, folder, error);
    if (rc == 0)
        rc = open_or_make(where, folder, error);
    if (rc == 0)
        rc = check_folder(where, folder, error);
    if (rc == 0)
        rc = lock_folder(folder, error);
    if (rc != 0)
        hti_managerfolder_close(folder);
    return rc;
}

void hti_managerfolder_close(struct hti_managerfolder *folder)
{
    /* Not by closing alone: a forked child shares the open folder, and would keep the lock. */
    if (folder->locked)
        flock(folder->fd, LOCK_UN);
    if (folder->fd >= 0)
        close(folder->fd);
    hti_mem_free(folder->path);
    hti_mem_free(folder->prefix);
    *folder = (struct hti_managerfolder){ .fd = -1 };
}

int hti_managerfolder_sync_parent(const struct hti_managerfolder *folder, struct htstore_error *error)
{
    int fd, rc = hti_folder_open(folder->fd, "..", folder->path, &fd, error);

    if (rc != 0)
        return rc;
    const int err = hti_file_sync(fd);
    close(fd);
    return err ? hti_file_fail(error, err, folder->path, "cannot sync the folder above") : 0;
}

int hti_managerfolder_sync(const struct hti_managerfolder *folder, struct htstore_error *error)
{
    const int err = hti_file_sync(folder->fd);

    return err ? hti_file_fail(error, err, folder->path, "cannot sync the folder") : 0;
}

/* --- names --- */

void hti_managerfolder_name(const struct hti_managerfolder *folder, int64_t number,
                            char name[HTI_MANAGERFOLDER_NAME_SIZE])
{
    (void)snprintf(name, HTI_MANAGERFOLDER_NAME_SIZE, "%s-%" PRId64, folder->prefix, number);
}

void hti_managerfolder_state_names(const struct hti_managerfolder *folder, char name[HTI_MANAGERFOLDER_NAME_SIZE],
                                   char temporary[HTI_MANAGERFOLDER_NAME_SIZE])
{
    (void)snprintf(name, HTI_MANAGERFOLDER_NAME_SIZE, "%s" STATE_SUFFIX, folder->prefix);
    (void)snprintf(temporary, HTI_MANAGERFOLDER_NAME_SIZE, ".%s" STATE_SUFFIX TMP_SUFFIX, folder->prefix);
}

size_t hti_managerfolder_path_size(const struct hti_managerfolder *folder)
{
    return strlen(folder->path) + 1 + strlen(folder->prefix) + 1 + MAX_DIGITS + 1;
}

void hti_managerfolder_path(const struct hti_managerfolder *folder, int64_t number, char *path)
{
    (void)snprintf(path, hti_managerfolder_path_size(folder), "%s/%s-%" PRId64, folder->path, folder->prefix, number);
}

/* "-N" and nothing else: digits without leading zeros, below 2^63. */
static bool parse_number(const char *text, size_t size, int64_t *number)
{
    uint64_t value = 0;

    if (size < 2 || size > 1 + MAX_DIGITS || text[0] != '-' || (text[1] == '0' && size > 2))
        return false;
    for (size_t i = 1; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *number = (int64_t)value;
    return value <= INT64_MAX;
}

static bool parse_name(const struct hti_managerfolder *folder, const char *name, int64_t *number)
{
    const size_t prefix_size = strlen(folder->prefix);

    return strncmp(name, folder->prefix, prefix_size) == 0 &&
           parse_number(name + prefix_size, strlen(name + prefix_size), number);
}

static bool is_temporary(const struct hti_managerfolder *folder, const char *name)
{
    const size_t prefix_size = strlen(folder->prefix), size = strlen(name), tmp_size = sizeof TMP_SUFFIX - 1;
    int64_t number;

    if (size < 1 + prefix_size + tmp_size || name[0] != '.' || strncmp(name + 1, folder->prefix, prefix_size) != 0 ||
        strcmp(name + size - tmp_size, TMP_SUFFIX) != 0)
        return false;
    const char *middle = name + 1 + prefix_size;
    const size_t middle_size = size - 1 - prefix_size - tmp_size;
    return parse_number(middle, middle_size, &number) ||
           (middle_size == sizeof STATE_SUFFIX - 1 && strncmp(middle, STATE_SUFFIX, middle_size) == 0);
}

/* --- what is there --- */

typedef int (*visit_fn)(void *user, const char *name);

/* Through a descriptor of its own: the place in a listing is shared by all users of an open folder. 0 or errno. */
static int visit_names(const struct hti_managerfolder *folder, visit_fn visit, void *user)
{
    const int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    int err = 0;

    if (!listing) {
        err = errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    while (err == 0 && (errno = 0, entry = readdir(listing)) != NULL)
        err = visit(user, entry->d_name);
    if (err == 0)
        err = errno;
    closedir(listing);
    return err;
}

struct scan {
    const struct hti_managerfolder *folder;
    struct hti_managerfile *files;
    size_t n, capacity;
};

static int add_file(void *user, const char *name)
{
    struct scan *scan = user;
    struct hti_managerfile file;
    struct stat status;

    if (!parse_name(scan->folder, name, &file.number))
        return 0;
    if (fstatat(scan->folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    file.regular = S_ISREG(status.st_mode);
    file.bytes = file.regular ? (uint64_t)status.st_size : 0;
    if (scan->n == scan->capacity) {
        const size_t capacity = scan->capacity ? 2 * scan->capacity : 16;
        struct hti_managerfile *files = hti_mem_realloc_array(scan->files, capacity, sizeof *files);
        if (!files)
            return ENOMEM;
        scan->files = files;
        scan->capacity = capacity;
    }
    scan->files[scan->n++] = file;
    return 0;
}

static int compare_files(const void *a, const void *b)
{
    const int64_t x = ((const struct hti_managerfile *)a)->number, y = ((const struct hti_managerfile *)b)->number;

    return (x > y) - (x < y);
}

int hti_managerfolder_scan(const struct hti_managerfolder *folder, struct hti_managerfile **files, size_t *n,
                           struct htstore_error *error)
{
    struct scan scan = { .folder = folder };
    const int err = visit_names(folder, add_file, &scan);

    *files = NULL;
    *n = 0;
    if (err) {
        hti_mem_free(scan.files);
        return hti_file_fail(error, err, folder->path, "cannot list the folder");
    }
    if (scan.n > 0)
        qsort(scan.files, scan.n, sizeof *scan.files, compare_files);
    *files = scan.files;
    *n = scan.n;
    return 0;
}

const struct hti_managerfile *hti_managerfile_find(const struct hti_managerfile *files, size_t n, int64_t number)
{
    const struct hti_managerfile key = { .number = number };

    return n > 0 ? bsearch(&key, files, n, sizeof *files, compare_files) : NULL;
}

/* --- deletions --- */

struct cleaning {
    const struct hti_managerfolder *folder;
    size_t n;
};

static int remove_temporary(void *user, const char *name)
{
    struct cleaning *cleaning = user;

    if (!is_temporary(cleaning->folder, name))
        return 0;
    /* A folder of that name is not ours. */
    if (unlinkat(cleaning->folder->fd, name, 0) != 0)
        return errno == ENOENT || errno == EISDIR ? 0 : errno;
    cleaning->n++;
    return 0;
}

int hti_managerfolder_clean(const struct hti_managerfolder *folder, size_t *n, struct htstore_error *error)
{
    struct cleaning cleaning = { .folder = folder };
    int err = visit_names(folder, remove_temporary, &cleaning);

    if (err == 0 && cleaning.n > 0)
        err = hti_file_sync(folder->fd);
    *n = cleaning.n;
    return err ? hti_file_fail(error, err, folder->path, "cannot remove what a crash left") : 0;
}

int hti_managerfolder_unlink(const struct hti_managerfolder *folder, int64_t number, struct htstore_error *error)
{
    char name[HTI_MANAGERFOLDER_NAME_SIZE];

    hti_managerfolder_name(folder, number, name);
    if (unlinkat(folder->fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return hti_file_fail(error, errno, folder->path, "cannot delete %s", name);
}

int hti_managerfolder_forget_pages(const struct hti_managerfolder *folder, int64_t number, struct htstore_error *error)
{
    char name[HTI_MANAGERFOLDER_NAME_SIZE];
    int fd, rc;

    hti_managerfolder_name(folder, number, name);
    rc = hti_file_open(folder->fd, name, O_RDONLY, folder->path, &fd, error);
    if (rc != 0)
        return rc;
    /* Advice: where the file system does not take it, the pages in memory are checked instead. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return 0;
}
