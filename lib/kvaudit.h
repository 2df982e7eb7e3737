/*
 * kvaudit: is one state of an LMDB 0.9 data file sound in its structure: every tree, the free list, and what becomes of
 * every page. Reads by pread alone, without liblmdb. Never crashes on any bytes. Format and invariants: mdb.c 0.9.24.
 *
 * What is checked: each page is reached once, bears its number, and is filled exactly by its entries; keys ascend strictly and lie
 * within the bounds of the parents; all leaves of a tree are equally deep; the recorded counters of each tree are right; the free
 * list names descending pages of the file; and every page is either a meta, in a tree, or free.
 */
#ifndef HTI_KVAUDIT_H
#define HTI_KVAUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "kvpage.h"

struct hti_kvaudit_finding {
    const char *tree; /* "the main tree", "the free list", the escaped name of a database; NULL: none */
    uint64_t page; /* the first one; HTI_KVPAGE_NONE: of a whole tree, or of the file */
    uint64_t n_pages; /* so many, side by side, have this fault */
    const char *reason; /* in words ("it is reached twice"); valid during the call */
};

struct hti_kvaudit_options { /* zeros are defaults */
    /* Non-zero stops the audit, which returns that value. */
    int (*finding)(void *user, const struct hti_kvaudit_finding *finding);
    /* Called now and then. Non-zero stops the audit, which returns that value. */
    int (*progress)(void *user, uint64_t n_done, uint64_t n_pages);
    void *user;
};

struct hti_kvaudit_totals {
    uint64_t n_pages; /* of the state: n_read + the rest of long values + n_free + n_leaked, if nothing is wrong */
    uint64_t n_read; /* metas, branches, leaves, first pages of values */
    uint64_t n_in_use; /* all that are reached, with the metas */
    uint64_t n_free;
    uint64_t n_leaked; /* neither */
    uint64_t n_doubly_used; /* in use and free */
    uint64_t n_trees; /* named databases */
    uint64_t n_entries; /* of the named databases */
    uint64_t n_findings;
};

/*
 * Audit the state of `file`. Takes two bits of memory a page. 0 when done, whatever was found; what a callback stopped it with;
 * HTSTORE_EIO (the file cannot be read at all; a bad sector is a finding), HTSTORE_ENOMEM. *totals is filled in any case.
 */
int hti_kvaudit_run(const struct hti_kvpage_file *file, const struct hti_kvaudit_options *options,
                    struct hti_kvaudit_totals *totals, struct htstore_error *error);

#endif
