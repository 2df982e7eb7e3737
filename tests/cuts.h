/*
 * cuts: power cuts and failing system calls in tests. What becomes durable in one folder is recorded; afterwards every state
 * that a cut may leave is built: names as of the last sync of the folder, with any subset of the later changes of names; the
 * bytes of a file as of its last sync, or none.
 *
 * A program that uses this replaces openat(), pwritev(), fsync(), fdatasync(), renameat(), renameat2() and unlinkat() for all that is linked
 * into it. Nothing is really synced. Only the folder's files are recorded, and only the thread of the test may change them.
 */
#ifndef CUTS_H
#define CUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What is there now is durable. */
void cuts_start(const char *folder);
void cuts_stop(void); /* and forget all */
void cuts_pause(bool pause);

/* What must hold from here on, until another promise is made. */
struct cut_promise {
    uint64_t n_made;
    int64_t newest;
};
void cuts_promise(uint64_t n_made, int64_t newest);

/* Of the calls that change the folder or its files, this one fails, and those after it. */
struct cut_fault {
    unsigned n_calls; /* so far */
    unsigned at; /* from 1; 0: none */
    bool for_good;
    const char *only_unlinks; /* of names that begin so; NULL: any call */
    int sys_errno;
};
extern struct cut_fault cut_fault;

struct cut_hooks {
    void (*on_open)(const char *name); /* before any file is opened by openat() */
    void (*on_renamed)(const char *to);
    ino_t counted; /* syncs of this one are counted */
    unsigned n_syncs;
};
extern struct cut_hooks cut_hooks;

/* `path`: a folder as a cut has left it, which the check may change; `what` tells it in a message. */
typedef void (*cut_check_fn)(const char *path, const struct cut_promise *promise, const char *what);
/* Cut the power after each change, and check each state once. The folders are made in `directory`. */
void cuts_check(const char *directory, cut_check_fn check);

/* For each file that was unlinked: the bytes of `companion` that were durable by then; NULL if there were none. */
typedef void (*cut_unlink_fn)(const char *name, const void *data, size_t size);
void cuts_each_unlink(const char *prefix, const char *companion, cut_unlink_fn check);

#endif
