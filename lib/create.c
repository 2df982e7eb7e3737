/* create: hides the temporary folder in which a new store takes shape. */
#include "create.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog.h"
#include "file.h"
#include "hash.h"
#include "htstore.h"
#include "kv.h"
#include "mem.h"

#define NEW_MAP_SIZE ((uint64_t)1 << 20)

static const char *const FOLDERS[] = { "journal", "checkpoints" };
static const char *const FILES[] = { "LOCK", "data.mdb", "lock.mdb" };

/* Made before LMDB opens them: mode 0600 whatever the umask. */
static int make_entries(int dir_fd, const char *path, struct htstore_error *error)
{
    int rc = 0, fd;

    for (size_t i = 0; rc == 0 && i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        rc = hti_folder_make(dir_fd, FOLDERS[i], path, error);
    for (size_t i = 0; rc == 0 && i < sizeof FILES / sizeof *FILES; i++) {
        rc = hti_file_open(dir_fd, FILES[i], O_RDWR | O_CREAT | O_EXCL, path, &fd, error);
        if (rc == 0)
            close(fd);
    }
    return rc;
}

static int put_first_record(struct hti_kv *kv, struct htstore_error *error)
{
    struct hti_store_record record = { .next_id = 1, .first_segment = 1, .clean = true };
    struct hti_kv_write *write;
    int rc;

    hti_hash_random(record.store_id, sizeof record.store_id);
    rc = hti_kv_begin(kv, &write, error);
    if (rc != 0)
        return rc;
    rc = hti_catalog_put_store(write, &record, error);
    if (rc == 0) {
        rc = hti_kv_commit(write, error);
        write = NULL;
    }
    hti_kv_abort(write);
    return rc;
}

static int make_environment(int dir_fd, const char *path, struct htstore_error *error)
{
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = path, .map_size = NEW_MAP_SIZE, .max_pinned = 1, .max_readers = 1022
    };
    struct hti_kv *kv;
    int rc = hti_kv_open(&options, &kv, error);

    if (rc != 0)
        return rc;
    rc = hti_kv_acquire(kv, HTI_KV_CATALOG, true, error);
    if (rc == 0)
        rc = put_first_record(kv, error);
    hti_kv_close(kv);
    return rc;
}

/* LMDB syncs neither its first pages nor the folder: everything once more, files before the folders that name them. */
static int sync_entries(int dir_fd, const char *path, struct htstore_error *error)
{
    int rc = 0, fd, err = 0;

    for (size_t i = 0; rc == 0 && err == 0 && i < sizeof FILES / sizeof *FILES; i++) {
        rc = hti_file_open(dir_fd, FILES[i], O_RDONLY, path, &fd, error);
        if (rc == 0) {
            err = hti_file_sync(fd);
            close(fd);
        }
    }
    for (size_t i = 0; rc == 0 && err == 0 && i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        rc = hti_folder_open(dir_fd, FOLDERS[i], path, &fd, error);
        if (rc == 0) {
            err = hti_file_sync(fd);
            close(fd);
        }
    }
    if (rc == 0 && err == 0)
        err = hti_file_sync(dir_fd);
    return err ? hti_file_fail(error, err, path, "cannot sync the new store") : rc;
}

static int build(int dir_fd, const char *path, uint32_t flags, struct htstore_error *error)
{
    int rc = 0;

    if (!(flags & HTSTORE_ALLOW_ANY_FILESYSTEM))
        rc = hti_folder_check_filesystem(dir_fd, path, error);
    if (rc == 0)
        rc = make_entries(dir_fd, path, error);
    if (rc == 0)
        rc = make_environment(dir_fd, path, error);
    return rc ? rc : sync_entries(dir_fd, path, error);
}

/* The folder that is locked must still be the one of that name: its maker may have finished and renamed it meanwhile. */
static bool is_same_folder(int parent_fd, const char *name, int fd)
{
    struct stat by_fd, by_name;

    return fstat(fd, &by_fd) == 0 && fstatat(parent_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
           by_fd.st_dev == by_name.st_dev && by_fd.st_ino == by_name.st_ino;
}

static int busy(const char *path, struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_EBUSY, "%s: another process is making this store", path);
}

int hti_create_clear(int parent_fd, const char *temporary, const char *path, struct htstore_error *error)
{
    int fd, err, rc = hti_folder_open(parent_fd, temporary, path, &fd, error);

    if (rc != 0)
        return rc == HTSTORE_ENOTFOUND ? 0 : rc;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_same_folder(parent_fd, temporary, fd)) {
        close(fd);
        return busy(path, error);
    }
    err = hti_folder_remove(parent_fd, temporary);
    close(fd);
    return err ? hti_file_fail(error, err, path, "cannot remove the leftover %s", temporary) : 0;
}

static int make_temporary(int parent_fd, const char *temporary, const char *path, int *fd, struct htstore_error *error)
{
    int rc = hti_create_clear(parent_fd, temporary, path, error);

    if (rc == 0)
        rc = hti_folder_make(parent_fd, temporary, path, error);
    if (rc == HTSTORE_EEXIST)
        return busy(path, error);
    if (rc == 0)
        rc = hti_folder_open(parent_fd, temporary, path, fd, error);
    if (rc != 0)
        return rc;
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0 || !is_same_folder(parent_fd, temporary, *fd)) {
        close(*fd);
        return busy(path, error);
    }
    return 0;
}

int hti_create_publish(int parent_fd, const char *temporary, const char *name, int fd, const char *path,
                       struct htstore_error *error)
{
    int err;

    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_same_folder(parent_fd, temporary, fd))
        return busy(path, error);
    err = hti_file_sync(fd);
    if (err == 0)
        err = hti_file_rename_new(parent_fd, temporary, parent_fd, name);
    /* a name that may not be durable is taken back: a call that failed has made nothing */
    if (err == 0 && (err = hti_file_sync(parent_fd)) != 0)
        hti_file_rename_new(parent_fd, name, parent_fd, temporary);
    return err ? hti_file_fail(error, err, path, "cannot put the new store into place") : 0;
}

static int create_in(int parent_fd, const char *name, const char *path, uint32_t flags, struct htstore_error *error)
{
    char temporary[NAME_MAX + 1];
    int fd, rc;

    if (snprintf(temporary, sizeof temporary, ".%s" HTI_CREATE_TMP_SUFFIX, name) >= (int)sizeof temporary)
        return hti_fail(error, HTSTORE_EINVAL, "%s: the name is too long", path);
    if (faccessat(parent_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return hti_fail(error, HTSTORE_EEXIST, "%s: already exists", path);
    rc = make_temporary(parent_fd, temporary, path, &fd, error);
    if (rc != 0)
        return rc;
    rc = build(fd, path, flags, error);
    if (rc == 0)
        rc = hti_create_publish(parent_fd, temporary, name, fd, path, error);
    if (rc != 0)
        hti_folder_remove(parent_fd, temporary);
    close(fd);
    return rc;
}

int hti_create_store(const char *path, uint32_t flags, struct htstore_error *error)
{
    char *parent, *name;
    int fd, rc = hti_path_split(path, &parent, &name, error);

    if (rc != 0)
        return rc;
    rc = hti_folder_open(AT_FDCWD, parent, parent, &fd, error);
    if (rc == 0) {
        rc = create_in(fd, name, path, flags, error);
        close(fd);
    }
    hti_mem_free(parent);
    hti_mem_free(name);
    return rc;
}
