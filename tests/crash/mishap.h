/*
 * mishap: system calls of this process that fail, or that it does not survive. Linked into a test, it takes the place
 * of write, sync, unlink and rename calls, also those of LMDB.
 */
#ifndef MISHAP_H
#define MISHAP_H

#include <stdbool.h>

enum mishap_call {
    MISHAP_WRITE, /* pwrite, pwritev, writev */
    MISHAP_DATASYNC, /* fdatasync */
    MISHAP_SYNC, /* fsync */
    MISHAP_UNLINK, /* unlinkat */
    MISHAP_RENAME, /* renameat2; by its target */
    MISHAP_MAKE /* openat that creates */
};

struct mishap {
    enum mishap_call call;
    const char *file; /* part of the path of the file concerned */
    unsigned after; /* so many calls still succeed */
    int error; /* errno; 0: the process ends at once, as if it were killed */
    bool forever; /* not once, but from then on */
    bool half; /* writes: this one stops half-way, and the next one fails */
};

/* From now on, in all threads; NULL: all calls succeed. Set it while nothing runs. */
void mishap_set(const struct mishap *mishap);
unsigned mishap_hits(void); /* calls that failed since */

/* Syncs succeed without being made: for tests that are not about them. */
void mishap_skip_syncs(bool skip);

#endif
