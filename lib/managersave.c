/*
 * managersave: hides the order in which a folder of checkpoints changes. The steps are those of docs/checkpoint-folder.md,
 * where it says of each what a cut leaves.
 */
#include "managersave.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "arena.h"
#include "manager.h"
#include "mem.h"

struct saving {
    struct htstore_manager *manager;
    const struct htstore_manager_save_options *options;
    double time;
    struct hti_manager_numbering numbering;
    uint64_t lsn; /* of the new file */
};

/* --- before the file --- */

static int choose_number(struct saving *saving, const struct hti_managerfile *files, size_t n,
                         struct htstore_error *error)
{
    struct hti_manager_numbering *numbering = &saving->numbering;
    int64_t *taken = hti_mem_alloc_array(n, sizeof *taken);
    int rc;

    if (!taken)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the numbers of %zu checkpoints", n);
    for (size_t i = 0; i < n; i++)
        taken[i] = files[i].number;
    *numbering = (struct hti_manager_numbering){
        .is_explicit = (saving->options->flags & HTSTORE_EXPLICIT_NUMBER) != 0,
        .wanted = saving->options->number,
        .counter = hti_checkpoint_counter(saving->manager->checkpoint),
        .taken = taken,
        .n_taken = n,
    };
    rc = hti_managerrules_number(numbering, error);
    numbering->taken = NULL;
    hti_mem_free(taken);
    if (rc == 0 && numbering->replace && !hti_managerfile_find(files, n, numbering->number)->regular)
        rc = hti_fail(error, HTSTORE_EEXIST, "%s/%s-%" PRId64 " is no regular file", saving->manager->folder.path,
                      saving->manager->folder.prefix, numbering->number);
    return rc;
}

/* Look at the folder, finish what is left over from earlier calls, and choose the number. */
static int prepare(struct saving *saving, struct htstore_error *error)
{
    struct htstore_manager *manager = saving->manager;
    struct hti_managerfile *files;
    size_t n;
    int rc;

    if (manager->untidy)
        hti_manager_clean(manager);
    if (manager->dirty) {
        rc = hti_manager_write(manager, &manager->state, error);
        if (rc != 0)
            return rc;
    }
    hti_manager_settle_quietly(manager);
    rc = hti_manager_scan(manager, &files, &n, error);
    if (rc != 0)
        return rc;
    rc = choose_number(saving, files, n, error);
    hti_mem_free(files);
    return rc;
}

/*
 * Step 1. From here to step 4 the state names the new file, so that a crash does not leave one that nobody knows. A file
 * that is replaced was there before, and is named already if it is ours.
 */
static int announce(struct saving *saving, struct htstore_error *error)
{
    struct htstore_manager *manager = saving->manager;
    const struct hti_managed entry = { saving->numbering.number, saving->time, HTI_MANAGED_SAVING };
    struct hti_managerstate next;
    int rc;

    if (saving->numbering.replace)
        return 0;
    hti_managerstate_init(&next);
    rc = hti_managerstate_copy(&manager->state, &next, error);
    if (rc == 0) {
        /* Its file is gone already, if it was to be deleted. */
        hti_managerstate_remove(&next, entry.number);
        rc = hti_managerstate_append(&next, &entry, error);
    }
    if (rc == 0)
        rc = hti_manager_write(manager, &next, error);
    if (rc == 0)
        hti_manager_install(manager, &next);
    hti_managerstate_release(&next);
    return rc;
}

/* --- the file --- */

/* Step 2. */
static int write_file(struct saving *saving, struct htstore_error *error)
{
    const struct htstore_manager *manager = saving->manager;
    char name[HTI_MANAGERFOLDER_NAME_SIZE];
    struct hti_save_target target = { .folder_fd = manager->folder.fd,
                                      .folder = manager->folder.path,
                                      .name = name,
                                      .counter = saving->numbering.new_counter,
                                      .replace = saving->numbering.replace };

    hti_managerfolder_name(&manager->folder, saving->numbering.number, name);
    const int rc = hti_checkpoint_save_in(manager->checkpoint, &target, saving->options->snapshot, error);
    saving->lsn = target.lsn;
    return rc;
}

/* Step 3: what the disk holds, not what the page cache does. */
static int prove_file(const struct saving *saving, struct htstore_error *error)
{
    const struct htstore_manager *manager = saving->manager;
    const struct htstore_snapshot_options *options = saving->options->snapshot;
    const int64_t number = saving->numbering.number;
    uint64_t lsn;
    int rc = hti_managerfolder_forget_pages(&manager->folder, number, error);

    if (rc == 0)
        rc = hti_manager_verify(manager, number, options ? options->threads : 0, &lsn, error);
    if (rc == 0 && lsn != saving->lsn)
        rc = hti_fail(error, HTSTORE_ECORRUPT, "%s/%s-%" PRId64 " is not what was written", manager->folder.path,
                      manager->folder.prefix, number);
    return rc;
}

/* Step 4. Only now do others depend on the new file: it and this state are durable before any file is deleted. */
static int enlist(const struct saving *saving, struct htstore_error *error)
{
    struct htstore_manager *manager = saving->manager;
    const struct hti_managed entry = { saving->numbering.number, saving->time, HTI_MANAGED_LISTED };
    struct hti_managerstate next;
    int rc;

    hti_managerstate_init(&next);
    rc = hti_managerstate_copy(&manager->state, &next, error);
    if (rc == 0) {
        hti_managerstate_remove(&next, entry.number);
        rc = hti_managerstate_append(&next, &entry, error);
    }
    if (rc == 0) {
        hti_managerrules_sweep(&next, &manager->limits);
        rc = hti_manager_write(manager, &next, error);
    }
    if (rc == 0)
        hti_manager_install(manager, &next);
    hti_managerstate_release(&next);
    return rc;
}

/* What the state says from now on of a new file whose save has failed; 0: nothing. */
static uint32_t mark_of_failed(const struct saving *saving, bool file_exists, int code)
{
    /* Somebody else's file is in the way. */
    if (code == HTSTORE_EEXIST)
        return 0;
    /* A rename that was taken back may come back with a power cut, unless that is durable before the state forgets it. */
    if (!file_exists && hti_managerfolder_sync(&saving->manager->folder, NULL) == 0)
        return 0;
    return HTI_MANAGED_DELETING;
}

/*
 * The save has failed: the old list, without the new file. A failed step 4 may have made the new state durable all the
 * same, and that one deletes older files on the strength of the new one; so the old state comes first, and as long as it
 * cannot be written the new file stays. Needs no memory to note that. A file that was replaced stays as it is.
 */
static void withdraw(const struct saving *saving, bool file_exists, int code)
{
    struct htstore_manager *manager = saving->manager;
    struct hti_managed *entry = hti_managerstate_find(&manager->state, saving->numbering.number);

    if (!saving->numbering.replace) {
        const uint32_t mark = mark_of_failed(saving, file_exists, code);
        assert(entry && entry->mark == HTI_MANAGED_SAVING);
        pthread_mutex_lock(&manager->mutex);
        if (mark)
            entry->mark = mark;
        else
            hti_managerstate_remove(&manager->state, saving->numbering.number);
        pthread_mutex_unlock(&manager->mutex);
        manager->dirty = true;
    }
    manager->untidy = true;
    if (file_exists)
        hti_checkpoint_retract(manager->checkpoint, saving->numbering.new_counter, saving->numbering.counter);
    hti_manager_settle_quietly(manager);
}

static int make_checkpoint(struct saving *saving, struct htstore_error *error)
{
    int rc = announce(saving, error);

    if (rc != 0)
        return rc;
    rc = write_file(saving, error);
    if (rc != 0) {
        withdraw(saving, false, rc);
        return rc;
    }
    rc = prove_file(saving, error);
    if (rc == 0)
        rc = enlist(saving, error);
    if (rc != 0)
        withdraw(saving, true, rc);
    return rc;
}

static int save_in_turn(struct saving *saving, struct htstore_error *error)
{
    struct htstore_manager *manager = saving->manager;
    const struct hti_manager_schedule schedule = { manager->interval, manager->has_last_step, manager->last_step };
    const int64_t step = hti_manager_step(manager);
    int rc;

    if (!hti_managerrules_is_due(&schedule, step, (saving->options->flags & HTSTORE_IGNORE_INTERVAL) != 0))
        return 1;
    rc = hti_manager_now(manager, &saving->time, error);
    if (rc == 0)
        rc = prepare(saving, error);
    if (rc == 0)
        rc = make_checkpoint(saving, error);
    if (rc != 0)
        return rc;
    hti_manager_set_last_step(manager, step);
    /* Steps 5 and 6. The checkpoint is made: what fails now is for the log. */
    hti_manager_settle_quietly(manager);
    return 0;
}

static int read_options(const struct htstore_manager_save_options *given, struct htstore_manager_save_options *options,
                        struct htstore_error *error)
{
    *options = (struct htstore_manager_save_options){ 0 };
    if (given && given->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "options.size is 0");
    if (given)
        memcpy(options, given, given->size < sizeof *options ? given->size : sizeof *options);
    if (options->flags & ~(HTSTORE_IGNORE_INTERVAL | HTSTORE_EXPLICIT_NUMBER))
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x in options", options->flags);
    if ((options->flags & HTSTORE_EXPLICIT_NUMBER) && options->number < 0)
        return hti_fail(error, HTSTORE_EINVAL, "the number of a checkpoint is negative");
    return 0;
}

int htstore_manager_save(struct htstore_manager *manager, const struct htstore_manager_save_options *options,
                         struct htstore_arena *arena, const char **path, struct htstore_error *error)
{
    struct htstore_manager_save_options o;
    struct saving saving = { .manager = manager, .options = &o };
    char *text = NULL;
    int rc = hti_manager_check(manager, true, error);

    if (rc == 0)
        rc = hti_check_store(manager->store, true, error);
    if (rc == 0)
        rc = read_options(options, &o, error);
    if (rc != 0)
        return rc;
    if (path && !hti_arena_is_valid(arena))
        return hti_fail(error, HTSTORE_EINVAL, "the path needs an arena");
    if (path) {
        text = hti_arena_alloc(arena, hti_managerfolder_path_size(&manager->folder), 1);
        if (!text)
            return hti_fail(error, HTSTORE_ENOMEM, "no memory for a path");
    }
    pthread_mutex_lock(&manager->turn);
    rc = save_in_turn(&saving, error);
    pthread_mutex_unlock(&manager->turn);
    if (rc == 0 && path) {
        hti_managerfolder_path(&manager->folder, saving.numbering.number, text);
        *path = text;
    }
    return rc;
}

/* --- deletions without a save --- */

static int remove_in_turn(struct htstore_manager *manager, int64_t number, struct htstore_error *error)
{
    const struct hti_managed *entry = hti_managerstate_find(&manager->state, number);
    struct hti_managerstate next;
    int rc = 0;

    if (!entry)
        return hti_fail(error, HTSTORE_ENOTFOUND, "no checkpoint %" PRId64 " is listed", number);
    hti_managerstate_init(&next);
    if (entry->mark == HTI_MANAGED_LISTED) {
        rc = hti_managerstate_copy(&manager->state, &next, error);
        if (rc == 0) {
            hti_managerstate_find(&next, number)->mark = HTI_MANAGED_DELETING;
            rc = hti_manager_write(manager, &next, error);
        }
        if (rc == 0)
            hti_manager_install(manager, &next);
        hti_managerstate_release(&next);
    }
    /* Otherwise an earlier deletion has failed: again. */
    return rc ? rc : hti_manager_settle(manager, error);
}

int htstore_manager_remove(struct htstore_manager *manager, int64_t number, struct htstore_error *error)
{
    int rc = hti_manager_check(manager, true, error);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&manager->turn);
    rc = remove_in_turn(manager, number, error);
    pthread_mutex_unlock(&manager->turn);
    return rc;
}

/* Of what stays listed, the newest must be good: otherwise the last good one might be among those that go. */
static int check_newest(const struct htstore_manager *manager, const struct hti_managerstate *state,
                        struct htstore_error *error)
{
    uint64_t lsn;

    for (size_t i = state->n_entries; i-- > 0;)
        if (state->entries[i].mark == HTI_MANAGED_LISTED)
            return hti_manager_verify(manager, state->entries[i].number, 0, &lsn, error);
    return 0;
}

static int prune_in_turn(struct htstore_manager *manager, struct htstore_error *error)
{
    struct hti_managerfile *files;
    struct hti_managerstate next;
    size_t n;
    int rc = hti_manager_scan(manager, &files, &n, error);

    if (rc != 0)
        return rc;
    hti_mem_free(files);
    hti_managerstate_init(&next);
    rc = hti_managerstate_copy(&manager->state, &next, error);
    if (rc == 0 && hti_managerrules_sweep(&next, &manager->limits) > 0) {
        rc = check_newest(manager, &next, error);
        if (rc == 0)
            rc = hti_manager_write(manager, &next, error);
        if (rc == 0)
            hti_manager_install(manager, &next);
    }
    hti_managerstate_release(&next);
    return rc ? rc : hti_manager_settle(manager, error);
}

int htstore_manager_prune(struct htstore_manager *manager, struct htstore_error *error)
{
    int rc = hti_manager_check(manager, true, error);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&manager->turn);
    rc = prune_in_turn(manager, error);
    pthread_mutex_unlock(&manager->turn);
    return rc;
}
