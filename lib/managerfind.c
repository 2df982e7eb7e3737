/* managerfind: hides in which order the checkpoints of a folder are tried, and what counts as damage of one of them. */
#include "managerfind.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arena.h"
#include "manager.h"
#include "mem.h"
#include "snapshot.h"

#define MAX_ATTEMPTS 16 /* listings, when files are deleted while they are tried */

struct found {
    struct htstore_checkpoint_file file; /* without the path */
    size_t position; /* on the list, from 1; 0: not on it */
};

struct catalog {
    struct found *found; /* from the worst to the best */
    size_t n;
};

/* Those off the list first, by LSN and number; then those on it. */
static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    if (x->file.lsn != y->file.lsn)
        return x->file.lsn < y->file.lsn ? -1 : 1;
    return (x->file.number > y->file.number) - (x->file.number < y->file.number);
}

static int describe(const struct htstore_manager *manager, const struct hti_managerstate *state,
                    const struct hti_managerfile *file, struct found *found, struct htstore_error *error)
{
    const struct hti_managed *entry = hti_managerstate_find(state, file->number);
    char name[HTI_MANAGERFOLDER_NAME_SIZE];

    *found = (struct found){ .file = { .number = file->number, .bytes = file->bytes } };
    if (entry) {
        found->file.time = entry->time;
        found->file.listed = entry->mark == HTI_MANAGED_LISTED;
        found->position = found->file.listed ? (size_t)(entry - state->entries) + 1 : 0;
    }
    hti_managerfolder_name(&manager->folder, file->number, name);
    if (hti_snapshot_lsn(manager->folder.fd, name, manager->folder.path, &found->file.lsn, error) == HTSTORE_ENOMEM)
        return HTSTORE_ENOMEM;
    return 0;
}

static int describe_all(const struct htstore_manager *manager, const struct hti_managerstate *state,
                        struct catalog *catalog, struct htstore_error *error)
{
    struct hti_managerfile *files;
    size_t n;
    int rc = hti_managerfolder_scan(&manager->folder, &files, &n, error);

    if (rc != 0)
        return rc;
    catalog->found = hti_mem_alloc_array(n, sizeof *catalog->found);
    if (!catalog->found)
        rc = hti_fail(error, HTSTORE_ENOMEM, "no memory for a list of %zu checkpoints", n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct hti_managed *entry = hti_managerstate_find(state, files[i].number);
        /* One that is being saved is not there yet. */
        if (!files[i].regular || (entry && entry->mark == HTI_MANAGED_SAVING))
            continue;
        rc = describe(manager, state, &files[i], &catalog->found[catalog->n], error);
        catalog->n += rc == 0;
    }
    hti_mem_free(files);
    if (rc == 0)
        qsort(catalog->found, catalog->n, sizeof *catalog->found, compare_found);
    return rc;
}

static int make_catalog(struct htstore_manager *manager, struct catalog *catalog, struct htstore_error *error)
{
    struct hti_managerstate state;
    int rc;

    *catalog = (struct catalog){ 0 };
    hti_managerstate_init(&state);
    pthread_mutex_lock(&manager->mutex);
    rc = hti_managerstate_copy(&manager->state, &state, error);
    pthread_mutex_unlock(&manager->mutex);
    if (rc == 0)
        rc = describe_all(manager, &state, catalog, error);
    hti_managerstate_release(&state);
    if (rc != 0) {
        hti_mem_free(catalog->found);
        *catalog = (struct catalog){ 0 };
    }
    return rc;
}

/* --- list --- */

static int copy_out(const struct htstore_manager *manager, const struct catalog *catalog, struct htstore_arena *arena,
                    const struct htstore_checkpoint_file **files, struct htstore_error *error)
{
    const size_t path_size = hti_managerfolder_path_size(&manager->folder);
    struct htstore_checkpoint_file *out = hti_arena_alloc(arena, catalog->n, sizeof *out);
    char *paths = hti_arena_alloc(arena, catalog->n, path_size);

    if (!out || !paths)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a list of %zu checkpoints", catalog->n);
    for (size_t i = 0; i < catalog->n; i++) {
        out[i] = catalog->found[i].file;
        out[i].path = paths + i * path_size;
        hti_managerfolder_path(&manager->folder, out[i].number, paths + i * path_size);
    }
    *files = out;
    return 0;
}

int htstore_manager_list(struct htstore_manager *manager, struct htstore_arena *arena,
                         const struct htstore_checkpoint_file **files, uint64_t *n, struct htstore_error *error)
{
    struct catalog catalog;
    int rc = hti_manager_check(manager, false, error);

    if (rc != 0)
        return rc;
    if (!files || !n || !hti_arena_is_valid(arena))
        return hti_fail(error, HTSTORE_EINVAL, "arena, files or n is NULL");
    rc = make_catalog(manager, &catalog, error);
    if (rc != 0)
        return rc;
    rc = copy_out(manager, &catalog, arena, files, error);
    if (rc == 0)
        *n = catalog.n;
    hti_mem_free(catalog.found);
    return rc;
}

/* --- the newest --- */

/* What is wrong with the file, as against the call. */
static bool is_fault_of_file(int code)
{
    return code == HTSTORE_ECORRUPT || code == HTSTORE_EFORMAT || code == HTSTORE_EVERSION ||
           code == HTSTORE_ENOTFOUND || code == HTSTORE_EIO;
}

/* Use a checkpoint. *of_file: a failure is that of the file, and the next one may do. */
typedef int (*try_fn)(struct htstore_manager *manager, int64_t number, void *user, bool *of_file,
                      struct htstore_error *error);

struct search {
    try_fn try;
    void *user;
    int64_t number; /* out */
    size_t n_bad; /* tried, and not intact */
    size_t n_vanished;
    int io_status; /* HTSTORE_EIO: one of the bad ones could not be read */
};

static void note_bad(const struct htstore_manager *manager, struct search *search, int64_t number, int code,
                     const struct htstore_error *reason)
{
    if (code == HTSTORE_ENOTFOUND) {
        search->n_vanished++;
        return;
    }
    search->n_bad++;
    if (code == HTSTORE_EIO)
        search->io_status = code;
    hti_log(manager->store, HTSTORE_LOG_WARNING, "manager", "%s/%s-%" PRId64 " is skipped: %s", manager->folder.path,
            manager->folder.prefix, number, reason->message);
}

/* 1: none will do. */
static int try_all(struct htstore_manager *manager, struct search *search, const struct catalog *catalog,
                   struct htstore_error *error)
{
    struct htstore_error reason;

    for (size_t i = catalog->n; i-- > 0;) {
        bool of_file = false;
        const int64_t number = catalog->found[i].file.number;
        const int rc = search->try(manager, number, search->user, &of_file, &reason);
        if (rc == 0) {
            search->number = number;
            return 0;
        }
        if (!of_file) {
            hti_error_copy(error, &reason);
            return rc;
        }
        note_bad(manager, search, number, rc, &reason);
    }
    return 1;
}

/* 0; 1: there is no checkpoint; HTSTORE_ECORRUPT, HTSTORE_EIO: some, but none intact; or why it had to stop. */
static int find_newest(struct htstore_manager *manager, struct search *search, struct htstore_error *error)
{
    int rc = 1;

    for (int i = 0; rc == 1 && i < MAX_ATTEMPTS; i++) {
        struct catalog catalog;
        search->n_bad = search->n_vanished = 0;
        search->io_status = 0;
        rc = make_catalog(manager, &catalog, error);
        if (rc == 0) {
            rc = try_all(manager, search, &catalog, error);
            hti_mem_free(catalog.found);
        }
        /* Another thread's save may have deleted one after the other; its new ones are in the next listing. */
        if (search->n_vanished == 0)
            break;
    }
    if (rc != 1 || search->n_bad == 0)
        return rc;
    rc = hti_fail(error, search->io_status ? search->io_status : HTSTORE_ECORRUPT,
                  "none of the %zu checkpoints is intact", search->n_bad);
    hti_error_set_path(error, manager->folder.path, 0);
    return rc;
}

static int try_verify(struct htstore_manager *manager, int64_t number, void *user, bool *of_file,
                      struct htstore_error *error)
{
    uint64_t lsn;
    const int rc = hti_manager_verify(manager, number, 0, &lsn, error);

    (void)user;
    *of_file = is_fault_of_file(rc);
    return rc;
}

int htstore_manager_latest(struct htstore_manager *manager, struct htstore_arena *arena, const char **path,
                           struct htstore_error *error)
{
    struct search search = { .try = try_verify };
    char *text;
    int rc = hti_manager_check(manager, false, error);

    if (rc != 0)
        return rc;
    if (!path || !hti_arena_is_valid(arena))
        return hti_fail(error, HTSTORE_EINVAL, "arena or path is NULL");
    text = hti_arena_alloc(arena, hti_managerfolder_path_size(&manager->folder), 1);
    if (!text)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a path");
    rc = find_newest(manager, &search, error);
    if (rc == 0)
        hti_managerfolder_path(&manager->folder, search.number, text);
    if (rc >= 0)
        *path = rc == 0 ? text : NULL;
    return rc;
}

/* --- restore --- */

struct restoring {
    struct htstore_restore **status;
    char *path;
};

/*
 * A restore checks every block before it changes anything, so there is no need to verify first. If it fails, a second look
 * at the file tells whether the file is to blame: the same codes may come from the store.
 */
static int try_restore(struct htstore_manager *manager, int64_t number, void *user, bool *of_file,
                       struct htstore_error *error)
{
    const struct restoring *restoring = user;
    struct htstore_error reason;
    uint64_t lsn;
    int rc;

    hti_managerfolder_path(&manager->folder, number, restoring->path);
    rc = htstore_checkpoint_restore(manager->checkpoint, restoring->path, NULL, restoring->status, error);
    if (!is_fault_of_file(rc))
        return rc;
    const int verdict = hti_manager_verify(manager, number, 0, &lsn, &reason);
    if (verdict == 0)
        return rc;
    *of_file = is_fault_of_file(verdict);
    hti_error_copy(error, &reason);
    return verdict;
}

static int restore_newest(struct htstore_manager *manager, struct restoring *restoring, struct htstore_error *error)
{
    struct search search = { .try = try_restore, .user = restoring };
    int rc;

    pthread_mutex_lock(&manager->turn);
    rc = find_newest(manager, &search, error);
    if (rc == 0)
        hti_manager_set_last_step(manager, hti_manager_step(manager));
    pthread_mutex_unlock(&manager->turn);
    return rc;
}

int htstore_manager_restore_or_initialize(struct htstore_manager *manager, htstore_initialize_fn initialize, void *user,
                                          struct htstore_restore **status, struct htstore_arena *arena,
                                          const char **path, struct htstore_error *error)
{
    struct restoring restoring = { .status = status };
    int rc = hti_manager_check(manager, true, error);

    if (rc == 0)
        rc = hti_check_store(manager->store, true, error);
    if (rc != 0)
        return rc;
    if (!status || (path && !hti_arena_is_valid(arena)))
        return hti_fail(error, HTSTORE_EINVAL, "status is NULL, or the path needs an arena");
    *status = NULL;
    const size_t path_size = hti_managerfolder_path_size(&manager->folder);
    restoring.path = path ? hti_arena_alloc(arena, path_size, 1) : hti_mem_alloc(path_size);
    if (!restoring.path)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a path");
    rc = restore_newest(manager, &restoring, error);
    if (rc >= 0 && path)
        *path = rc == 0 ? restoring.path : NULL;
    if (!path)
        hti_mem_free(restoring.path);
    if (rc != 1 || !initialize)
        return rc;
    rc = initialize(user);
    if (rc < 0)
        return hti_fail(error, rc, "the initializer failed");
    return 1;
}
