/* lock: who may open a store: OFD locks on LOCK, flock on the folder, and who the holder is. */
#ifndef HTI_LOCK_H
#define HTI_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/*
 * LOCK is a text file of at most 512 bytes, rewritten in place by the owner while it holds the lock:
 *     htstore-lock 1
 *     pid 4711
 *     boot 3f1c…            (boot id of the kernel)
 *     pidns 4026531836      (inode of /proc/self/ns/pid)
 *     since 2026-03-01T10:00:00Z
 *     state owned|closed
 * Byte 0 is locked (OFD; shared by readers, exclusive by the owner) while a store is opened, recovered or closed.
 * Byte 1 is locked exclusively for as long as the owner lives. The folder itself is flocked by the owner as well, so that
 * deleting LOCK does not let a second owner in.
 */
struct hti_lock {
    int dir_fd; /* borrowed */
    int fd; /* of LOCK; -1 if not open */
    bool owner;
    bool opening; /* byte 0 is held */
};

/*
 * Take the owner's locks, and byte 0, waiting at most timeout_ms (CLOCK_MONOTONIC, polls with growing pauses <= 50 ms).
 * LOCK is made if it is missing. HTSTORE_EBUSY: "locked by process 4711 since 2026-03-01T10:00:00Z"; if the holder runs in another
 * pid namespace the sentence says so. After locking, the inodes of LOCK by descriptor and by name are compared, and all is
 * retried if they differ.
 */
int hti_lock_owner(struct hti_lock *lock, int dir_fd, const char *path, uint32_t timeout_ms,
                   struct htstore_error *error);
/*
 * For a reader: take byte 0 shared (waiting at most timeout_ms, at least 1000 ms since owners hold it briefly). On a
 * read-only file system, or where LOCK is missing, it succeeds without a lock. *owner_alive tells whether byte 1 is held.
 * A live owner in another pid namespace is HTSTORE_EBUSY (LMDB's reader table would take one for dead).
 */
int hti_lock_reader(struct hti_lock *lock, int dir_fd, const char *path, uint32_t timeout_ms, bool *owner_alive,
                    struct htstore_error *error);
/* HTSTORE_EBUSY, with the sentence that names the owner. */
int hti_lock_refuse(const struct hti_lock *lock, const char *path, struct htstore_error *error);
/* Is an owner alive now? */
bool hti_lock_owner_alive(const struct hti_lock *lock);
/* The owner's process, as LOCK names it while it is alive; 0: none, or not known. */
uint64_t hti_lock_owner_pid(const struct hti_lock *lock);
void hti_lock_opened(struct hti_lock *lock); /* release byte 0: others may open now */
int hti_lock_closing(struct hti_lock *lock); /* take byte 0 again, waiting at most 10 s; 0 or errno */
void hti_lock_release(struct hti_lock *lock); /* everything; an owner writes "state closed" first */

#endif
