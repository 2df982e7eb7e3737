/* inspect_run: hides how one state of the store is held while it is read, and the order of the steps. */
#include "inspect_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "inspect_catalog.h"
#include "inspect_journal.h"
#include "inspect_rows.h"
#include "kvaudit.h"
#include "kvfile.h"
#include "mem.h"
#include "state.h"

#define MAX_BEGINS 100
#define MAX_META_READS 16
#define MAP_SIZE (UINT64_C(1) << 40)
#define MAX_READERS 1022

/* What keeps the state: a read transaction of LMDB, or else the lock that keeps owners out. */
struct hold {
    struct hti_lock lock;
    struct htstore *claim; /* this process has the store open: no one else in it may */
    struct hti_kv *kv; /* NULL: no transaction is needed, or none is possible */
    struct hti_kv_read *read;
};

/* --- opening --- */

static bool is_plain_file(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_nlink == 1 && (st->st_uid == geteuid() || st->st_uid == 0);
}

static int open_folder(struct hti_inspect *check, const char *path, struct htstore_error *error)
{
    const uint32_t flags = check->options->flags;
    struct stat st;
    int rc;

    if (stat(path, &st) != 0)
        return hti_file_fail(error, errno, path, "%s: cannot open the store", check->path);
    if (!S_ISDIR(st.st_mode))
        return hti_fail(error, HTSTORE_EFORMAT, "%s: not a store: it is not a folder", check->path);
    rc = hti_folder_open(AT_FDCWD, path, path, &check->dir_fd, error);
    if (rc == 0 && faccessat(check->dir_fd, "data.mdb", F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        rc = hti_fail(error, HTSTORE_EFORMAT, "%s: not a store: it has no data.mdb", check->path);
    if (rc == 0 && !(flags & HTSTORE_ALLOW_ANY_FILESYSTEM))
        rc = hti_folder_check_filesystem(check->dir_fd, path, error);
    if (rc == 0 && !(flags & HTSTORE_ALLOW_SHARED_FOLDER))
        rc = hti_folder_check_safe(check->dir_fd, path, error);
    if (rc == 0)
        rc = hti_file_open(check->dir_fd, "data.mdb", O_RDONLY, check->data_path, &check->data_fd, error);
    return rc;
}

/* LMDB's locks are lost when any descriptor of its files is closed: one open in a process. */
static int claim_store(struct hti_inspect *check, struct hold *hold, struct htstore_error *error)
{
    struct stat st;
    int rc;

    if (fstat(check->data_fd, &st) != 0)
        return hti_file_fail(error, errno, check->data_path, "cannot look at the file");
    hold->claim = hti_mem_zalloc(sizeof *hold->claim);
    if (!hold->claim)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a check");
    hold->claim->path = check->path;
    hold->claim->device = (uint64_t)st.st_dev;
    hold->claim->inode = (uint64_t)st.st_ino;
    rc = hti_registry_add(hold->claim, error);
    if (rc != 0) {
        hti_mem_free(hold->claim);
        hold->claim = NULL;
    }
    return rc;
}

/* Does LMDB find its lock file? It would make a missing one, and follow links. */
static bool has_lock_file(const struct hti_inspect *check)
{
    struct stat st;

    if (fstatat(check->dir_fd, "lock.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return is_plain_file(&st);
    return errno == ENOENT && faccessat(check->dir_fd, ".", W_OK, 0) != 0 && errno == EROFS;
}

/* With an owner at work, nothing but a transaction keeps the pages. */
static int open_lmdb(struct hti_inspect *check, struct hold *hold, struct htstore_error *error)
{
    const struct hti_kv_options options = { .dir_fd = check->dir_fd,
                                            .path = check->path,
                                            .readonly = true,
                                            .map_size = MAP_SIZE,
                                            .max_pinned = 1,
                                            .max_readers = MAX_READERS };
    int rc = HTSTORE_EFORMAT;

    if (has_lock_file(check))
        rc = hti_kv_open(&options, &hold->kv, error);
    else
        hti_fail(error, HTSTORE_EFORMAT, "%s: lock.mdb is missing, or no plain file of its owner", check->path);
    return rc != 0 && rc != HTSTORE_ENOMEM && !check->report->owner_alive ? 0 : rc;
}

static int open_hold(struct hti_inspect *check, struct hold *hold, struct htstore_error *error)
{
    struct htstore_error reason;
    int rc = hti_lock_reader(&hold->lock, check->dir_fd, check->path, check->options->lock_timeout_ms,
                             &check->report->owner_alive, error);

    if (rc == 0)
        rc = claim_store(check, hold, error);
    if (rc != 0)
        return rc;
    rc = hti_kvfile_check(check->data_fd, check->data_path, &reason);
    if (rc == 0)
        return open_lmdb(check, hold, error);
    if (rc != HTSTORE_ECORRUPT && rc != HTSTORE_EFORMAT) {
        hti_error_copy(error, &reason);
        return rc;
    }
    hti_inspect_tell_at(check, check->data_path, reason.offset, "%s", reason.message);
    return 0;
}

static void close_hold(struct hold *hold)
{
    hti_kv_read_end(hold->read);
    if (hold->kv)
        hti_lock_closing(&hold->lock);
    hti_kv_close(hold->kv);
    if (hold->claim)
        hti_registry_remove(hold->claim);
    hti_mem_free(hold->claim);
    hti_lock_release(&hold->lock);
}

/* --- the state --- */

static void leave_state(struct hti_inspect *check, struct hold *hold)
{
    hti_kvwalk_close(check->walk);
    check->walk = NULL;
    hti_kv_read_end(hold->read);
    hold->read = NULL;
}

/* Without a transaction, the newest state whose meta is intact; if there is none, nothing of data.mdb can be read. */
static int begin_unpinned(struct hti_inspect *check, struct htstore_error *error)
{
    struct htstore_error reason;
    const int rc = hti_kvwalk_open(check->data_fd, false, check->data_path, &check->walk, &reason);

    if (rc == 0 || rc == HTSTORE_ECORRUPT || rc == HTSTORE_EFORMAT)
        return 0;
    hti_error_copy(error, &reason);
    return rc;
}

static int begin_state(struct hti_inspect *check, struct hold *hold, struct htstore_error *error)
{
    int rc = 1;

    leave_state(check, hold);
    if (!hold->kv)
        return begin_unpinned(check, error);
    /* An owner may commit twice between the two steps. */
    for (unsigned i = 0; rc == 1 && i < MAX_BEGINS; i++) {
        leave_state(check, hold);
        rc = hti_kv_read_begin(hold->kv, true, &hold->read, error);
        if (rc == 0)
            rc = hti_kvwalk_open_at(check->data_fd, hti_kv_read_id(hold->read), check->data_path, &check->walk, error);
    }
    return rc == 1
               ? hti_fail(error, HTSTORE_EBUSY, "%s: its owner commits faster than a state can be begun", check->path)
               : rc;
}

/* --- data.mdb --- */

/* LMDB numbers transactions one by one, and writes them to the two metas in turn. */
static void check_metas(struct hti_inspect *check)
{
    struct hti_kvpage_metas metas[2];
    uint64_t newest, other;

    hti_kvpage_read_metas(check->data_fd, &metas[0]);
    for (unsigned i = 1; i < MAX_META_READS; i++) {
        hti_kvpage_read_metas(check->data_fd, &metas[i % 2]);
        if (memcmp(metas[0].raw, metas[1].raw, sizeof metas[0].raw) == 0)
            break;
    }
    /* Other faults were told when LMDB was about to be asked. */
    if (metas[0].fault[0].code || metas[0].fault[1].code)
        return;
    newest = metas[0].meta[hti_kvpage_newest(&metas[0])].txn_id;
    other = metas[0].meta[!hti_kvpage_newest(&metas[0])].txn_id;
    if (newest != other + 1 && newest != 0)
        hti_inspect_tell(check, NULL, hti_kvpage_newest(&metas[0]),
                         "the two meta pages are of transactions %" PRIu64 " and %" PRIu64
                         ", which do not follow each other",
                         other, newest);
}

/* The name of the tree, or the object whose rows are in it. */
static const char *name_object(struct hti_inspect *check, const char *tree, char out[HTI_INSPECT_LABEL_SIZE])
{
    const struct hti_inspect_object *object = NULL;
    uint64_t number;

    if (!tree || !hti_kv_parse_name((struct hti_kv_bytes){ tree, strlen(tree) }, &number))
        return tree;
    if (number == HTI_KV_CATALOG)
        return "the catalogue";
    object = hti_inspect_find_user(check, number);
    return object ? hti_inspect_label(object, out) : tree;
}

static int note_structure(void *user, const struct hti_kvaudit_finding *finding)
{
    struct hti_inspect *check = user;
    char label[HTI_INSPECT_LABEL_SIZE];
    const char *object = name_object(check, finding->tree, label);

    if (finding->page == HTI_KVPAGE_NONE)
        hti_inspect_tell(check, object, HTI_INSPECT_NONE, "%s", finding->reason);
    else if (finding->n_pages == 1)
        hti_inspect_tell(check, object, finding->page, "page %" PRIu64 ": %s", finding->page, finding->reason);
    else
        hti_inspect_tell(check, object, finding->page, "pages %" PRIu64 " to %" PRIu64 ": %s", finding->page,
                         finding->page + finding->n_pages - 1, finding->reason);
    return 0;
}

static int note_progress(void *user, uint64_t n_done, uint64_t n_pages)
{
    struct hti_inspect *check = user;
    return hti_inspect_progress(check, "pages", n_done, n_pages, NULL);
}

static int check_pages(struct hti_inspect *check, struct htstore_error *error)
{
    const struct hti_kvaudit_options options = { .finding = note_structure, .progress = note_progress, .user = check };
    struct hti_inspect_report *report = check->report;
    struct hti_kvaudit_totals totals;
    const int rc = hti_kvaudit_run(&check->walk->file, &options, &totals, error);

    report->n_pages = totals.n_pages;
    report->n_pages_read = totals.n_read;
    report->n_free_pages = totals.n_free;
    report->n_leaked_pages = totals.n_leaked;
    return rc == HTSTORE_ECANCELED ? hti_fail(error, rc, "the check was canceled") : rc;
}

/* As recorded. Entries of mappings are none. */
static uint64_t rows_of(const struct hti_inspect_object *object)
{
    const bool has_rows = object->has_record && object->record.kind != HTSTORE_KIND_MAPPING;

    return has_rows && object->has_totals ? object->totals.n_rows : 0;
}

static int check_data(struct hti_inspect *check, struct htstore_error *error)
{
    const bool is_quick = check->options->level == HTI_INSPECT_QUICK;
    int rc;

    check_metas(check);
    if (!check->walk) {
        hti_inspect_leave_out(check, "data.mdb, of which no meta page is readable");
        return 0;
    }
    check->report->n_pages = check->walk->file.meta.last_page + 1;
    rc = hti_inspect_catalog_read(check, is_quick, error);
    if (rc == 0)
        rc = hti_inspect_catalog_compare(check, error);
    check->report->n_objects = check->n_objects;
    check->report->applied_lsn = check->has_store ? check->store.applied_lsn : 0;
    if (rc != 0 || !is_quick) {
        rc = rc ? rc : check_pages(check, error);
        return rc ? rc : hti_inspect_rows_run(check, error);
    }
    for (size_t i = 0; i < check->n_objects; i++)
        check->report->n_rows += rows_of(&check->objects[i]);
    return 0;
}

/* --- the steps --- */

static int check_checkpoints(struct hti_inspect *check, struct htstore_error *error)
{
    if (check->options->level == HTI_INSPECT_DEEP && check->options->checkpoints)
        return check->options->checkpoints(check, error);
    hti_inspect_leave_out(check, "checkpoints");
    return 0;
}

static int check_state(struct hti_inspect *check, struct hold *hold, struct hti_inspect_journal *journal,
                       bool has_journal, struct htstore_error *error)
{
    const bool is_quick = check->options->level == HTI_INSPECT_QUICK;
    int rc = begin_state(check, hold, error);

    if (rc != 0)
        return rc;
    /* From here on the transaction keeps the state. Without one, owners must stay away. */
    if (hold->kv)
        hti_lock_opened(&hold->lock);
    rc = check_data(check, error);
    if (rc == 0 && has_journal && check->has_store) {
        hti_inspect_journal_compare(check, journal);
        rc = is_quick ? 0 : hti_inspect_journal_run(check, journal, error);
    }
    if (is_quick)
        hti_inspect_leave_out(check, "row data, and the records of the journal: only structure was checked");
    return rc == 0 ? check_checkpoints(check, error) : rc;
}

/* The journal belongs to the store that the catalogue names: its record is read twice, before and after. */
static int check_all(struct hti_inspect *check, struct hold *hold, struct htstore_error *error)
{
    struct hti_inspect_journal journal = { .n_segments = 0 };
    bool has_journal = false;
    int rc = begin_state(check, hold, error);

    if (rc == 0 && check->walk)
        rc = hti_inspect_catalog_peek(check, error);
    if (rc == 0 && check->has_store) {
        rc = hti_inspect_journal_open(check, &journal, error);
        has_journal = rc == 0;
    } else if (rc == 0) {
        hti_inspect_leave_out(check, "the journal: nothing tells which store it belongs to");
    }
    if (rc == 0)
        rc = check_state(check, hold, &journal, has_journal, error);
    hti_inspect_journal_close(&journal);
    return rc;
}

int hti_inspect_run(const char *path, const struct hti_inspect_options *options, struct hti_inspect_report *report,
                    struct htstore_error *error)
{
    struct hti_inspect check = { .options = options, .report = report, .dir_fd = -1, .data_fd = -1 };
    struct hold hold = { .lock = { .dir_fd = -1, .fd = -1 } };
    int rc;

    memset(report, 0, sizeof *report);
    snprintf(check.path, sizeof check.path, "%s", path);
    snprintf(check.data_path, sizeof check.data_path, "%.240s/data.mdb", path);
    snprintf(check.journal_path, sizeof check.journal_path, "%.240s/journal", path);
    rc = open_folder(&check, path, error);
    if (rc == 0)
        rc = open_hold(&check, &hold, error);
    if (rc == 0)
        rc = check_all(&check, &hold, error);
    leave_state(&check, &hold);
    close_hold(&hold);
    hti_inspect_catalog_release(&check);
    if (check.data_fd >= 0)
        close(check.data_fd);
    if (check.dir_fd >= 0)
        close(check.dir_fd);
    return rc != 0 ? rc : report->n_findings > 0;
}
