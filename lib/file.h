/* file: system calls on files and folders, checked and complete; the border where errno becomes a status code. */
#ifndef HTI_FILE_H
#define HTI_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"

/*
 * errno -> status: ENOENT NOTFOUND; EEXIST EEXIST; ENOSPC EDQUOT ENOSPC; EFBIG ENOSPC; ENOMEM EMFILE ENFILE ENOLCK ENOMEM;
 * EACCES EPERM EROFS EREADONLY; EAGAIN EBUSY EBUSY; ELOOP ENOTDIR EISDIR EFORMAT; ENAMETOOLONG EINVAL; others EIO.
 */
int hti_file_status(int sys_errno);

/* hti_fail() with the status of sys_errno, errno and path set, and ": <strerror>" appended to the sentence. */
int hti_file_fail(struct htstore_error *error, int sys_errno, const char *path, const char *format, ...)
    HTI_PRINTF(4, 5);

/* These return 0 or an errno value (positive). They loop on EINTR and on short counts; *got < size at the end of file. */
int hti_file_read_at(int fd, void *data, size_t size, uint64_t offset, size_t *got);
int hti_file_write_at(int fd, const void *data, size_t size, uint64_t offset);
/* Write all vectors at offset. `written` (may be NULL) tells how many bytes went out, also after an error. Changes iov. */
int hti_file_writev_at(int fd, struct iovec *iov, int n_iov, uint64_t offset, uint64_t *written);
/* Write all vectors, or read, where the descriptor stands: pipes too. They wait if it does not block. writev changes iov. */
int hti_file_stream_writev(int fd, struct iovec *iov, int n_iov);
int hti_file_stream_read(int fd, void *data, size_t size, size_t *got);
int hti_file_fill_zero(int fd, uint64_t offset, uint64_t size); /* writes zeros: blocks really allocated */
int hti_file_datasync(int fd); /* never retried after an error, not even EINTR */
int hti_file_sync(int fd);
int hti_file_size(int fd, uint64_t *size);

/*
 * Open `name` in the folder `dir_fd` with O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK-safe checks: must be a regular file with one
 * link, owned by the effective user or root; else HTSTORE_EFORMAT. `flags` as open(2); created with mode 0600 whatever the
 * umask. `path` is for messages. *fd is -1 on failure.
 */
int hti_file_open(int dir_fd, const char *name, int flags, const char *path, int *fd, struct htstore_error *error);
/* Open a folder (O_DIRECTORY | O_CLOEXEC). A link as last component is followed only if dir_fd is AT_FDCWD. */
int hti_folder_open(int dir_fd, const char *name, const char *path, int *fd, struct htstore_error *error);
/* mkdirat with mode 0700 whatever the umask. */
int hti_folder_make(int dir_fd, const char *name, const char *path, struct htstore_error *error);
/* HTSTORE_EINVAL if group or others may write the folder, or neither the effective user nor root owns it. */
int hti_folder_check_safe(int fd, const char *path, struct htstore_error *error);
/* HTSTORE_EINVAL unless on a file system whose locks and syncs are known: ext*, xfs, btrfs, tmpfs, overlayfs, f2fs. */
int hti_folder_check_filesystem(int fd, const char *path, struct htstore_error *error);
/* renameat2(RENAME_NOREPLACE); where the file system lacks it, a check followed by renameat. */
int hti_file_rename_new(int from_dir, const char *from, int to_dir, const char *to); /* 0 or errno */
/* Remove a folder and what is in it, without following links; a missing one is no error. 0 or errno. */
int hti_folder_remove(int dir_fd, const char *name);
/* Is a file mapped into this process? Read from /proc/self/maps; false where that is missing. */
bool hti_file_is_mapped(uint64_t device, uint64_t inode);
/* Split a path into parent folder and last component (no trailing slashes). HTSTORE_EINVAL for "", "/", ".", "..". */
int hti_path_split(const char *path, char **parent, char **name, struct htstore_error *error);

#endif
