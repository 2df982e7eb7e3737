/*
 * inspect: what a check of a store has open, what it knows of the catalogue, and how it tells what it finds. Trees are read by
 * pread alone: LMDB does nothing but keep the pages of the state that is checked.
 */
#ifndef HTI_INSPECT_H
#define HTI_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog.h"
#include "codec.h"
#include "kvwalk.h"
#include "lock.h"

enum hti_inspect_level {
    HTI_INSPECT_FULL = 0, /* and all pages, rows and journal records */
    HTI_INSPECT_QUICK = 1, /* sizes, metas, catalogue, headers of the journal's segments, counts of rows */
    HTI_INSPECT_DEEP = 2 /* and the checkpoints */
};

#define HTI_INSPECT_NONE UINT64_MAX

struct hti_inspect;

struct hti_inspect_finding {
    const char *path; /* of the file */
    const char *object; /* "table words", "the catalogue"; NULL: none */
    uint64_t page; /* of data.mdb; HTI_INSPECT_NONE: not of one page */
    uint64_t offset; /* in the file; HTI_INSPECT_NONE: not known */
    const char *sentence; /* what is wrong, without the above */
};

/* Strings are valid during the call. */
typedef void (*hti_inspect_finding_fn)(void *user, const struct hti_inspect_finding *finding);
/* `step` in words ("rows"). Non-zero cancels. */
typedef int (*hti_inspect_progress_fn)(void *user, const char *step, uint64_t n_done, uint64_t n_total);

struct hti_inspect_options { /* zeros are defaults */
    uint32_t level; /* enum hti_inspect_level */
    uint32_t flags; /* HTSTORE_ALLOW_ANY_FILESYSTEM, HTSTORE_ALLOW_SHARED_FOLDER */
    uint32_t lock_timeout_ms;
    hti_inspect_finding_fn finding;
    hti_inspect_progress_fn progress;
    void *user;
    /* The checkpoints, at the level deep. NULL: they are not looked at. 0 or what ends the check. */
    int (*checkpoints)(struct hti_inspect *check, struct htstore_error *error);
};

#define HTI_INSPECT_MAX_UNREAD 8

struct hti_inspect_report {
    uint64_t n_findings;
    uint64_t applied_lsn; /* of the state of data.mdb that was checked */
    uint64_t last_lsn; /* of the last journal record that counts */
    uint64_t n_objects;
    uint64_t n_rows; /* read, or, at the level quick, recorded */
    uint64_t n_damaged_rows;
    uint64_t n_pages; /* of data.mdb in that state */
    uint64_t n_pages_read;
    uint64_t n_free_pages;
    uint64_t n_leaked_pages;
    uint64_t n_segments; /* of the journal */
    uint64_t n_records; /* read */
    bool owner_alive;
    bool has_torn_tail; /* the journal ends with what a crash, or an owner at work, left there; this is no damage */
    uint32_t n_unread;
    const char *unread[HTI_INSPECT_MAX_UNREAD]; /* what was not looked at, in words */
};

/* A database of rows, as the main tree records it. */
struct hti_inspect_database {
    uint64_t number;
    bool is_claimed;
    struct hti_kvpage_tree tree;
};

struct hti_inspect_object {
    uint64_t id; /* of a table, variable or mapping */
    bool has_record;
    bool has_totals;
    struct hti_object_record record;
    struct hti_totals_record totals;
    struct hti_row_type type; /* of its rows; not of mappings */
    uint64_t n_entries; /* of a mapping, that were read */
    struct hti_hash128 entries_digest;
};

struct hti_inspect {
    const struct hti_inspect_options *options; /* borrowed */
    struct hti_inspect_report *report; /* borrowed */
    char path[256];
    char data_path[256];
    char journal_path[256];
    int dir_fd, data_fd;
    struct hti_kvwalk *walk; /* of the state that is checked; NULL: no meta is readable */

    bool is_whole; /* nothing of the lists below is missing */
    bool has_store;
    bool has_catalog;
    struct hti_store_record store;
    struct hti_kvpage_tree catalog;
    struct hti_inspect_object *objects; /* ascending ids */
    size_t n_objects, max_objects;
    struct hti_inspect_database *databases; /* ascending numbers */
    size_t n_databases, max_databases;
};

/* Tell a finding: of data.mdb, and of a place in any file. */
void hti_inspect_tell(struct hti_inspect *check, const char *object, uint64_t page, const char *format, ...)
    HTI_PRINTF(4, 5);
void hti_inspect_tell_at(struct hti_inspect *check, const char *path, uint64_t offset, const char *format, ...)
    HTI_PRINTF(4, 5);
void hti_inspect_leave_out(struct hti_inspect *check, const char *what); /* a constant */
/* 0 or HTSTORE_ECANCELED. */
int hti_inspect_progress(const struct hti_inspect *check, const char *step, uint64_t n_done, uint64_t n_total,
                         struct htstore_error *error);

struct hti_inspect_object *hti_inspect_find_object(const struct hti_inspect *check, uint64_t id); /* NULL: unknown */
struct hti_inspect_database *hti_inspect_find_database(const struct hti_inspect *check, uint64_t number);
/* The object whose rows are in that database; NULL: none. */
struct hti_inspect_object *hti_inspect_find_user(const struct hti_inspect *check, uint64_t database);
#define HTI_INSPECT_LABEL_SIZE 128
const char *hti_inspect_label(const struct hti_inspect_object *object,
                              char out[HTI_INSPECT_LABEL_SIZE]); /* "table words" */

#endif
