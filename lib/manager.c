/* manager: hides how a manager's memory and its state file are kept together, and what opening makes of a crash. */
#include "manager.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "mem.h"
#include "snapshot.h"

static double system_clock(void *user)
{
    struct timespec now;

    (void)user;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int hti_manager_check(const struct htstore_manager *manager, bool change, struct htstore_error *error)
{
    if (!manager)
        return hti_fail(error, HTSTORE_EINVAL, "the manager is NULL");
    if (manager->magic != HTI_MAGIC_MANAGER)
        return hti_fail(error, HTSTORE_EINVAL, "this is not an open manager");
    int rc = hti_check_store(manager->store, false, error);
    if (rc == 0 && change && manager->store->readonly)
        rc = hti_fail(error, HTSTORE_EREADONLY, "the store is open for reading only");
    return rc;
}

int hti_manager_now(const struct htstore_manager *manager, double *now, struct htstore_error *error)
{
    *now = manager->clock(manager->clock_user);
    return isfinite(*now) ? 0 : hti_fail(error, HTSTORE_EINVAL, "the clock of the manager gives no time");
}

int64_t hti_manager_step(const struct htstore_manager *manager)
{
    return manager->step ? __atomic_load_n(manager->step, __ATOMIC_RELAXED) : 0;
}

void hti_manager_set_last_step(struct htstore_manager *manager, int64_t step)
{
    pthread_mutex_lock(&manager->mutex);
    manager->has_last_step = true;
    manager->last_step = step;
    pthread_mutex_unlock(&manager->mutex);
}

int hti_manager_verify(const struct htstore_manager *manager, int64_t number, uint32_t threads, uint64_t *lsn,
                       struct htstore_error *error)
{
    char name[HTI_MANAGERFOLDER_NAME_SIZE];

    hti_managerfolder_name(&manager->folder, number, name);
    return hti_snapshot_verify(manager->folder.fd, name, manager->folder.path, threads, lsn, error);
}

/* --- the state --- */

int hti_manager_write(struct htstore_manager *manager, const struct hti_managerstate *state,
                      struct htstore_error *error)
{
    char name[HTI_MANAGERFOLDER_NAME_SIZE], temporary[HTI_MANAGERFOLDER_NAME_SIZE];

    hti_managerfolder_state_names(&manager->folder, name, temporary);
    manager->dirty = true;
    const int rc = hti_managerstate_store(manager->folder.fd, name, temporary, manager->folder.path, state, error);
    if (rc == 0)
        manager->dirty = false;
    return rc;
}

void hti_manager_install(struct htstore_manager *manager, struct hti_managerstate *next)
{
    struct hti_managerstate old;

    pthread_mutex_lock(&manager->mutex);
    old = manager->state;
    manager->state = *next;
    pthread_mutex_unlock(&manager->mutex);
    hti_managerstate_release(&old);
    hti_managerstate_init(next);
}

/* Delete what is marked so; `next` keeps what cannot be deleted. The first failure. */
static int delete_marked(const struct htstore_manager *manager, struct hti_managerstate *next,
                         struct htstore_error *error)
{
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; i < next->n_entries; i++) {
        const struct hti_managed entry = next->entries[i];
        if (entry.mark == HTI_MANAGED_DELETING) {
            const int failed = hti_managerfolder_unlink(&manager->folder, entry.number, rc ? NULL : error);
            if (failed == 0)
                continue;
            rc = rc ? rc : failed;
        }
        next->entries[n++] = entry;
    }
    next->n_entries = n;
    return rc;
}

/*
 * Only when the deletions are durable may the state stop naming these files: one that a power cut brings back would else
 * stay for ever.
 */
static int forget_deleted(struct htstore_manager *manager, struct hti_managerstate *next, struct htstore_error *error)
{
    int rc;

    if (next->n_entries == manager->state.n_entries)
        return 0;
    rc = hti_managerfolder_sync(&manager->folder, error);
    if (rc == 0)
        rc = hti_manager_write(manager, next, error);
    if (rc == 0)
        hti_manager_install(manager, next);
    return rc;
}

int hti_manager_settle(struct htstore_manager *manager, struct htstore_error *error)
{
    struct hti_managerstate next;
    int rc = 0, failed = 0;

    if (manager->store->readonly)
        return 0;
    /* The file may name what must stay, and not name what must go: nothing is deleted before it is right. */
    if (manager->dirty)
        rc = hti_manager_write(manager, &manager->state, error);
    if (rc != 0 || hti_managerstate_count(&manager->state, HTI_MANAGED_DELETING) == 0)
        return rc;
    hti_managerstate_init(&next);
    rc = hti_managerstate_copy(&manager->state, &next, error);
    if (rc == 0) {
        failed = delete_marked(manager, &next, error);
        rc = forget_deleted(manager, &next, failed ? NULL : error);
    }
    hti_managerstate_release(&next);
    return failed ? failed : rc;
}

void hti_manager_settle_quietly(struct htstore_manager *manager)
{
    struct htstore_error error;

    if (hti_manager_settle(manager, &error) != 0)
        hti_log(manager->store, HTSTORE_LOG_WARNING, "manager", "old checkpoints are not all deleted yet: %s: %s",
                manager->folder.path, error.message);
}

static bool is_gone(const struct hti_managed *entry, const struct hti_managerfile *files, size_t n_files)
{
    const struct hti_managerfile *file = hti_managerfile_find(files, n_files, entry->number);

    return entry->mark == HTI_MANAGED_LISTED && (!file || !file->regular);
}

/* Listed checkpoints whose files are gone leave the list. */
static void drop_missing(struct htstore_manager *manager, const struct hti_managerfile *files, size_t n_files)
{
    struct hti_managerstate *state = &manager->state;
    size_t n = 0;

    for (size_t i = 0; i < state->n_entries; i++)
        if (is_gone(&state->entries[i], files, n_files))
            hti_log(manager->store, HTSTORE_LOG_WARNING, "manager", "%s/%s-%" PRId64 " was listed, and is gone",
                    manager->folder.path, manager->folder.prefix, state->entries[i].number);
    pthread_mutex_lock(&manager->mutex);
    for (size_t i = 0; i < state->n_entries; i++)
        if (!is_gone(&state->entries[i], files, n_files))
            state->entries[n++] = state->entries[i];
    state->n_entries = n;
    pthread_mutex_unlock(&manager->mutex);
}

int hti_manager_scan(struct htstore_manager *manager, struct hti_managerfile **files, size_t *n,
                     struct htstore_error *error)
{
    const int rc = hti_managerfolder_scan(&manager->folder, files, n, error);

    if (rc == 0)
        drop_missing(manager, *files, *n);
    return rc;
}

void hti_manager_clean(struct htstore_manager *manager)
{
    struct htstore_error error;
    size_t n = 0;

    if (manager->store->readonly)
        return;
    if (hti_managerfolder_clean(&manager->folder, &n, &error) != 0)
        hti_log(manager->store, HTSTORE_LOG_WARNING, "manager", "%s: %s", manager->folder.path, error.message);
    else
        manager->untidy = false;
    if (n > 0)
        hti_log(manager->store, HTSTORE_LOG_INFO, "manager", "%s: %zu temporary files were left over, and are gone now",
                manager->folder.path, n);
}

/* --- opening --- */

/*
 * A crash came while this one was saved. The state names it, so the file, if any, is ours: whole, or of no use. A mark to
 * give it; 0: forget it; or HTSTORE_ENOMEM.
 */
static int judge_saving(const struct htstore_manager *manager, int64_t number, struct htstore_error *error)
{
    struct htstore_error reason;
    uint64_t lsn;
    const int rc = hti_manager_verify(manager, number, 0, &lsn, &reason);

    switch (rc) {
    case 0:
        return HTI_MANAGED_LISTED;
    case HTSTORE_ENOTFOUND:
        return 0;
    case HTSTORE_ENOMEM:
        hti_error_copy(error, &reason);
        return rc;
    case HTSTORE_ECORRUPT:
    case HTSTORE_EFORMAT:
        return HTI_MANAGED_DELETING;
    default:
        hti_log(manager->store, HTSTORE_LOG_WARNING, "manager", "%s/%s-%" PRId64 " is kept, and not listed: %s",
                manager->folder.path, manager->folder.prefix, number, reason.message);
        return 0;
    }
}

/* What a crash left half done, in memory. */
static int take_over(struct htstore_manager *manager, const struct hti_managerfile *files, size_t n_files,
                     struct htstore_error *error)
{
    struct hti_managerstate *state = &manager->state;
    size_t n = 0;

    for (size_t i = 0; i < state->n_entries; i++) {
        struct hti_managed entry = state->entries[i];
        if (entry.mark == HTI_MANAGED_SAVING) {
            const struct hti_managerfile *file = hti_managerfile_find(files, n_files, entry.number);
            const int mark =
                file && file->regular && !manager->store->readonly ? judge_saving(manager, entry.number, error) : 0;
            if (mark < 0)
                return mark;
            manager->dirty = true;
            entry.mark = (uint32_t)mark;
        }
        if (entry.mark != 0)
            state->entries[n++] = entry;
    }
    state->n_entries = n;
    return 0;
}

/* 1: there is none that can be used. */
static int load_state(struct htstore_manager *manager, struct htstore_error *error)
{
    char name[HTI_MANAGERFOLDER_NAME_SIZE], temporary[HTI_MANAGERFOLDER_NAME_SIZE];
    struct htstore_error reason;
    int rc;

    hti_managerfolder_state_names(&manager->folder, name, temporary);
    rc = hti_managerstate_load(manager->folder.fd, name, manager->folder.path, &manager->state, &reason);
    if (rc == HTSTORE_ECORRUPT || rc == HTSTORE_EFORMAT)
        hti_log(manager->store, HTSTORE_LOG_WARNING, "manager",
                "%s/%s cannot be used, so no checkpoint that is there will be deleted: %s", manager->folder.path, name,
                reason.message);
    else if (rc != 0 && rc != HTSTORE_ENOTFOUND)
        hti_error_copy(error, &reason);
    return rc == HTSTORE_ECORRUPT || rc == HTSTORE_EFORMAT || rc == HTSTORE_ENOTFOUND ? 1 : rc;
}

static int recover_state(struct htstore_manager *manager, struct htstore_error *error)
{
    struct hti_managerfile *files;
    size_t n;
    int rc = hti_managerfolder_scan(&manager->folder, &files, &n, error);

    if (rc != 0)
        return rc;
    rc = take_over(manager, files, n, error);
    if (rc == 0) {
        drop_missing(manager, files, n);
        hti_manager_settle_quietly(manager);
    }
    hti_mem_free(files);
    return rc;
}

/* 1: the clock went back. */
static int open_state(struct htstore_manager *manager, struct htstore_error *error)
{
    double now;
    int rc = hti_manager_now(manager, &now, error);

    if (rc != 0)
        return rc;
    hti_manager_clean(manager);
    rc = load_state(manager, error);
    if (rc < 0)
        return rc;
    if (rc == 1) {
        hti_managerrules_begin(&manager->state, now);
        /* Or a power cut could take the folder away with all that will have been made durable in it. */
        return manager->store->readonly ? 0 : hti_managerfolder_sync_parent(&manager->folder, error);
    }
    rc = recover_state(manager, error);
    if (rc != 0 || !hti_managerrules_reopen(&manager->state, now))
        return rc;
    hti_log(manager->store, HTSTORE_LOG_WARNING, "manager",
            "%s: the clock went back; the checkpoints that are there will not be deleted", manager->folder.path);
    return 1;
}

static int open_folder(struct htstore_manager *manager, const struct htstore_manager_options *options,
                       struct htstore_error *error)
{
    const struct htstore *store = manager->store;
    const struct hti_managerfolder_where where = {
        .store_fd = store->dir_fd,
        .store_path = store->path,
        .folder = options->folder,
        .prefix = options->prefix,
        .make = !store->readonly,
        .any_filesystem = (store->options.flags & HTSTORE_ALLOW_ANY_FILESYSTEM) != 0,
        .shared_folder = (store->options.flags & HTSTORE_ALLOW_SHARED_FOLDER) != 0,
    };

    return hti_managerfolder_open(&where, &manager->folder, error);
}

static int read_options(const struct htstore_manager_options *given, struct htstore_manager_options *options,
                        struct htstore_error *error)
{
    *options = (struct htstore_manager_options){ 0 };
    if (given && given->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "options.size is 0");
    if (given)
        memcpy(options, given, given->size < sizeof *options ? given->size : sizeof *options);
    if (options->flags != 0 || options->reserved != 0)
        return hti_fail(error, HTSTORE_EINVAL, "flags or reserved of options is not 0");
    if (options->interval < 0)
        return hti_fail(error, HTSTORE_EINVAL, "interval is negative");
    if (options->interval > 0 && !options->step)
        return hti_fail(error, HTSTORE_EINVAL, "an interval needs a step counter");
    const struct hti_manager_limits limits = { options->max_to_keep, options->keep_every_n_hours };
    return hti_managerrules_check_limits(&limits, error);
}

static struct htstore_manager *new_manager(struct htstore_checkpoint *checkpoint,
                                           const struct htstore_manager_options *options)
{
    struct htstore_manager *manager = hti_mem_zalloc(sizeof *manager);

    if (!manager)
        return NULL;
    manager->magic = HTI_MAGIC_MANAGER;
    manager->checkpoint = checkpoint;
    manager->store = hti_checkpoint_store(checkpoint);
    manager->folder.fd = -1;
    manager->limits = (struct hti_manager_limits){ options->max_to_keep, options->keep_every_n_hours };
    manager->interval = options->interval;
    manager->step = options->step;
    manager->clock = options->clock ? options->clock : system_clock;
    manager->clock_user = options->clock_user;
    manager->has_last_step = options->has_last_step != 0;
    manager->last_step = options->last_step;
    /* Default mutexes: making them cannot fail here. */
    pthread_mutex_init(&manager->turn, NULL);
    pthread_mutex_init(&manager->mutex, NULL);
    return manager;
}

static void free_manager(struct htstore_manager *manager)
{
    hti_managerfolder_close(&manager->folder);
    hti_managerstate_release(&manager->state);
    pthread_mutex_destroy(&manager->mutex);
    pthread_mutex_destroy(&manager->turn);
    manager->magic = HTI_MAGIC_CLOSED;
    hti_mem_free(manager);
}

int htstore_manager_open(struct htstore_checkpoint *checkpoint, const struct htstore_manager_options *options,
                         struct htstore_manager **manager, struct htstore_error *error)
{
    struct htstore_manager_options o;
    struct htstore_manager *opened;

    if (!manager)
        return hti_fail(error, HTSTORE_EINVAL, "manager is NULL");
    *manager = NULL;
    int rc = hti_checkpoint_check(checkpoint, error);
    if (rc == 0)
        rc = read_options(options, &o, error);
    if (rc != 0)
        return rc;
    opened = new_manager(checkpoint, &o);
    if (!opened)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a manager");
    rc = open_folder(opened, &o, error);
    if (rc == 0)
        rc = open_state(opened, error);
    if (rc < 0) {
        free_manager(opened);
        return rc;
    }
    hti_checkpoint_use(checkpoint, 1);
    *manager = opened;
    return rc;
}

void htstore_manager_close(struct htstore_manager *manager)
{
    /* A forked child shares the lock with its parent, who keeps it. */
    if (!manager || manager->magic != HTI_MAGIC_MANAGER || hti_check_store(manager->store, false, NULL) != 0)
        return;
    hti_checkpoint_use(manager->checkpoint, -1);
    free_manager(manager);
}
