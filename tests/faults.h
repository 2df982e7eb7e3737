/*
 * faults: system calls of the library that fail when a test wants it. A program that uses this replaces pwritev(), fsync(),
 * fdatasync(), renameat2() and unlinkat() for all that is linked into it.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stddef.h>

enum fault_call { FAULT_WRITE, FAULT_SYNC, FAULT_DATASYNC, FAULT_RENAME, FAULT_UNLINK, N_FAULT_CALLS };

/* Let `after` more calls succeed, then fail one, or with `for_good` all, with this errno. */
void fault_set(enum fault_call call, unsigned after, int sys_errno, int for_good);
/* From now on one call of pwritev() writes at most so many bytes; 0: as many as it likes. */
void fault_shorten(size_t size);
/* No more faults; counts start at 0, nobody watches. */
void fault_clear(void);
/* Calls since fault_clear(), failed ones included. */
unsigned fault_count(enum fault_call call);

/* Told of every call before it is made; `data` is the first vector of a write, else NULL. In the thread that calls. */
typedef void (*fault_watch_fn)(void *user, enum fault_call call, int fd, const void *data, size_t size);
void fault_watch(fault_watch_fn watch, void *user);

#endif
