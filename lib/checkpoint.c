/* checkpoint: hides how a root is kept, and how a snapshot becomes a file that is whole or not there. */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "arena.h"
#include "file.h"
#include "mapping.h"
#include "mem.h"
#include "object.h"
#include "save.h"

#define SAVE_FLAGS (HTSTORE_ALL_CONTENTS | HTSTORE_REPLACE)
#define NUMBER_SIZE 24

int hti_checkpoint_check(const struct htstore_checkpoint *checkpoint, struct htstore_error *error)
{
    if (!checkpoint)
        return hti_fail(error, HTSTORE_EINVAL, "the checkpoint object is NULL");
    if (checkpoint->magic != HTI_MAGIC_CHECKPOINT)
        return hti_fail(error, HTSTORE_EINVAL, "this is not an open checkpoint object");
    return hti_check_store(checkpoint->store, false, error);
}

struct htstore *hti_checkpoint_store(const struct htstore_checkpoint *checkpoint)
{
    return checkpoint->store;
}

int hti_checkpoint_use(struct htstore_checkpoint *checkpoint, int change)
{
    pthread_mutex_lock(&checkpoint->store->objects_mutex);
    checkpoint->n_users += (uint32_t)change;
    pthread_mutex_unlock(&checkpoint->store->objects_mutex);
    return 0;
}

int64_t hti_checkpoint_counter(const struct htstore_checkpoint *checkpoint)
{
    int64_t counter;

    pthread_mutex_lock(&checkpoint->store->objects_mutex);
    counter = checkpoint->counter;
    pthread_mutex_unlock(&checkpoint->store->objects_mutex);
    return counter;
}

void hti_checkpoint_set_counter(struct htstore_checkpoint *checkpoint, int64_t counter)
{
    pthread_mutex_lock(&checkpoint->store->objects_mutex);
    checkpoint->counter = counter;
    pthread_mutex_unlock(&checkpoint->store->objects_mutex);
}

void hti_checkpoint_retract(struct htstore_checkpoint *checkpoint, int64_t from, int64_t to)
{
    pthread_mutex_lock(&checkpoint->store->objects_mutex);
    if (checkpoint->counter == from)
        checkpoint->counter = to;
    pthread_mutex_unlock(&checkpoint->store->objects_mutex);
}

/* --- the root --- */

static int compare_entries(const void *a, const void *b)
{
    const struct hti_checkpoint_entry *x = a, *y = b;
    const size_t n = x->name_size < y->name_size ? x->name_size : y->name_size;
    const int order = memcmp(x->name, y->name, n);

    return order ? order : (x->name_size > y->name_size) - (x->name_size < y->name_size);
}

static struct hti_core *core_of(const struct hti_checkpoint_entry *entry)
{
    return ((const struct hti_handle *)entry->handle)->core;
}

struct hti_root_entry *hti_checkpoint_room(const struct htstore_checkpoint *checkpoint)
{
    return hti_mem_alloc_array(checkpoint->n_entries + 1, sizeof(struct hti_root_entry));
}

int hti_checkpoint_root(const struct htstore_checkpoint *checkpoint, struct hti_root_entry *entries,
                        struct hti_root *root, struct htstore_error *error)
{
    memset(root, 0, sizeof *root);
    root->mapping = checkpoint->root ? checkpoint->root->handle.core : NULL;
    root->names = !checkpoint->root && checkpoint->n_entries == 0;
    root->entries = entries;
    for (size_t i = 0; i < checkpoint->n_entries; i++) {
        const struct hti_checkpoint_entry *e = &checkpoint->entries[i];
        const struct hti_member *member =
            root->mapping ? hti_members_find(&root->mapping->members, e->name, e->name_size) : NULL;
        const struct htstore_bytes key = { e->name, e->name_size };
        if (member && member->core != core_of(e))
            return hti_mapping_refuse_overwrite(&key, core_of(e), member->core, error);
        if (!member)
            entries[root->n_entries++] = (struct hti_root_entry){ e->name, e->name_size, core_of(e) };
    }
    return 0;
}

/* --- its life --- */

static void free_checkpoint(struct htstore_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_entries; i++) {
        htstore_object_close(checkpoint->entries[i].handle, NULL);
        hti_mem_free(checkpoint->entries[i].name);
    }
    htstore_mapping_close(checkpoint->root, NULL);
    hti_mem_free(checkpoint->entries);
    hti_mem_free(checkpoint);
}

/* Of two equal names with one object the first stays. HTSTORE_EEXIST with two objects. */
static int remove_twins(struct htstore_checkpoint *checkpoint, struct htstore_error *error)
{
    struct hti_checkpoint_entry *list = checkpoint->entries;
    size_t n = 0;

    if (checkpoint->n_entries > 1)
        qsort(list, checkpoint->n_entries, sizeof *list, compare_entries);
    for (size_t i = 0; i < checkpoint->n_entries; i++) {
        const bool twin = n > 0 && compare_entries(&list[n - 1], &list[i]) == 0;
        if (twin && core_of(&list[n - 1]) != core_of(&list[i])) {
            memmove(&list[n], &list[i], (checkpoint->n_entries - i) * sizeof *list);
            checkpoint->n_entries -= i - n;
            const struct htstore_bytes key = { list[n].name, list[n].name_size };
            return hti_mapping_refuse_overwrite(&key, core_of(&list[n]), core_of(&list[n - 1]), error);
        }
        if (twin) {
            htstore_object_close(list[i].handle, NULL);
            hti_mem_free(list[i].name);
        } else {
            list[n++] = list[i];
        }
    }
    checkpoint->n_entries = n;
    return 0;
}

static int copy_entry(struct htstore_checkpoint *checkpoint, const struct htstore_entry *entry,
                      struct htstore_error *error)
{
    struct hti_checkpoint_entry *copy = &checkpoint->entries[checkpoint->n_entries];
    int rc = htstore_object_open(checkpoint->store, htstore_object_id(entry->object), NULL, &copy->handle, error);

    if (rc != 0)
        return rc;
    copy->name = hti_mem_alloc(entry->key.size + 1);
    if (!copy->name) {
        htstore_object_close(copy->handle, NULL);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a checkpoint object");
    }
    if (entry->key.size > 0)
        memcpy(copy->name, entry->key.data, entry->key.size);
    copy->name[entry->key.size] = 0;
    copy->name_size = entry->key.size;
    checkpoint->n_entries++;
    return 0;
}

static int copy_options(struct htstore_checkpoint *checkpoint, const struct htstore_checkpoint_options *options,
                        struct htstore_error *error)
{
    void *root = NULL;
    int rc = 0;

    checkpoint->entries = hti_mem_zalloc_array((size_t)options->n_entries + 1, sizeof *checkpoint->entries);
    if (!checkpoint->entries)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a checkpoint object");
    if (options->root)
        rc = htstore_object_open(checkpoint->store, htstore_object_id(options->root), NULL, &root, error);
    checkpoint->root = root;
    for (uint64_t i = 0; rc == 0 && i < options->n_entries; i++)
        rc = copy_entry(checkpoint, &options->entries[i], error);
    return rc ? rc : remove_twins(checkpoint, error);
}

static int check_options(const struct htstore *store, const struct htstore_checkpoint_options *options,
                         struct htstore_error *error)
{
    int rc = 0;

    if (options->size < sizeof *options)
        return hti_fail(error, HTSTORE_EINVAL, "options.size is smaller than the structure");
    if (options->flags != 0)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x", options->flags);
    if (!options->entries && options->n_entries > 0)
        return hti_fail(error, HTSTORE_EINVAL, "entries is NULL");
    if (options->root)
        rc = hti_check_mapping(options->root, false, error);
    if (rc == 0 && options->root && options->root->handle.store != store)
        rc = hti_fail(error, HTSTORE_EINVAL, "the root is a mapping of another store");
    for (uint64_t i = 0; rc == 0 && i < options->n_entries; i++)
        rc = hti_mapping_check_entry(store, &options->entries[i], error);
    return rc;
}

/* A key that the root mapping has with another object is refused now, not at the first save. */
static int check_root(struct htstore_checkpoint *checkpoint, struct htstore_error *error)
{
    struct hti_root_entry *room = hti_checkpoint_room(checkpoint);
    struct hti_root root;
    int rc;

    if (!room)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a checkpoint object");
    pthread_mutex_lock(hti_graph_mutex(checkpoint->store));
    rc = hti_checkpoint_root(checkpoint, room, &root, error);
    pthread_mutex_unlock(hti_graph_mutex(checkpoint->store));
    hti_mem_free(room);
    return rc;
}

int htstore_checkpoint_new(struct htstore *store, const struct htstore_checkpoint_options *options,
                           struct htstore_checkpoint **out, struct htstore_error *error)
{
    const struct htstore_checkpoint_options none = { .size = sizeof none };
    struct htstore_checkpoint *checkpoint;
    int rc;

    if (out)
        *out = NULL;
    rc = hti_check_store(store, false, error);
    if (rc == 0 && !out)
        rc = hti_fail(error, HTSTORE_EINVAL, "the place for the checkpoint object is NULL");
    if (rc == 0)
        rc = check_options(store, options ? options : &none, error);
    if (rc != 0)
        return rc;
    checkpoint = hti_mem_zalloc(sizeof *checkpoint);
    if (!checkpoint)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a checkpoint object");
    checkpoint->magic = HTI_MAGIC_CHECKPOINT;
    checkpoint->store = store;
    rc = copy_options(checkpoint, options ? options : &none, error);
    if (rc == 0)
        rc = check_root(checkpoint, error);
    if (rc != 0) {
        free_checkpoint(checkpoint);
        return rc;
    }
    hti_handle_count(store, 1);
    *out = checkpoint;
    return 0;
}

int htstore_checkpoint_close(struct htstore_checkpoint *checkpoint, struct htstore_error *error)
{
    struct htstore *store;
    bool busy;
    int rc;

    if (!checkpoint)
        return 0;
    rc = hti_checkpoint_check(checkpoint, error);
    if (rc != 0)
        return rc;
    store = checkpoint->store;
    pthread_mutex_lock(&store->objects_mutex);
    busy = checkpoint->n_users > 0;
    if (!busy)
        checkpoint->magic = HTI_MAGIC_CLOSED;
    pthread_mutex_unlock(&store->objects_mutex);
    if (busy)
        return hti_fail(error, HTSTORE_EBUSY, "a restore or a manager still uses this checkpoint object");
    free_checkpoint(checkpoint);
    hti_handle_count(store, -1);
    return 0;
}

int64_t htstore_checkpoint_save_counter(const struct htstore_checkpoint *checkpoint)
{
    return hti_checkpoint_check(checkpoint, NULL) == 0 ? hti_checkpoint_counter(checkpoint) : -1;
}

/* --- saving --- */

static int open_instant(struct htstore_checkpoint *checkpoint, const struct htstore_snapshot_options *options,
                        const int64_t *counter, struct hti_instant *instant, struct htstore_error *error)
{
    struct hti_root_entry *room = hti_checkpoint_room(checkpoint);
    struct hti_root root;
    int rc;

    if (!room)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to save");
    /* entries of the root cannot change while it is read: mappings only grow, and under the same mutex */
    pthread_mutex_lock(hti_graph_mutex(checkpoint->store));
    rc = hti_checkpoint_root(checkpoint, room, &root, error);
    pthread_mutex_unlock(hti_graph_mutex(checkpoint->store));
    if (rc == 0)
        rc = hti_instant_open(checkpoint->store, &root, options->flags & HTSTORE_ALL_CONTENTS, counter, instant, error);
    hti_mem_free(room);
    return rc;
}

/* Here and below: with save_mutex. */
static int write_snapshot(struct htstore_checkpoint *checkpoint, int fd, const char *path,
                          const struct htstore_snapshot_options *options, const int64_t *counter, uint64_t *lsn,
                          struct htstore_error *error)
{
    struct hti_instant instant;
    int rc = open_instant(checkpoint, options, counter, &instant, error);

    if (rc != 0)
        return rc;
    rc = hti_save_write(&instant, fd, path, options, error);
    *lsn = instant.lsn;
    hti_instant_close(&instant);
    return rc;
}

/* A file that is being written: under its temporary name, locked, so that no other store or process takes it for a leftover. */
struct draft {
    const struct hti_save_target *target;
    const char *path; /* of the target, for messages */
    char name[NAME_MAX + 1];
    int fd;
    int lock_fd; /* the same open file: keeps the lock until the name is right */
};

static int refuse_busy(const struct draft *draft, struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_EBUSY, "%s: somebody else is writing it", draft->path);
}

static int remove_leftover(const struct draft *draft, struct htstore_error *error)
{
    const int folder_fd = draft->target->folder_fd;
    const int fd = openat(folder_fd, draft->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    const bool busy = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    if (!busy)
        unlinkat(folder_fd, draft->name, 0);
    if (fd >= 0)
        close(fd);
    return busy ? refuse_busy(draft, error) : 0;
}

static int open_draft(struct draft *draft, struct htstore_error *error)
{
    int rc = remove_leftover(draft, error);

    if (rc == 0)
        rc = hti_file_open(draft->target->folder_fd, draft->name, O_RDWR | O_CREAT | O_EXCL, draft->path, &draft->fd,
                           error);
    if (rc != 0)
        return rc;
    draft->lock_fd = fcntl(draft->fd, F_DUPFD_CLOEXEC, 0);
    if (draft->lock_fd < 0)
        rc = hti_file_fail(error, errno, draft->path, "cannot lock the snapshot");
    else if (flock(draft->lock_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0;
    else
        rc = refuse_busy(draft, error);
    if (draft->lock_fd >= 0)
        close(draft->lock_fd); /* it is theirs who have the lock */
    else
        unlinkat(draft->target->folder_fd, draft->name, 0);
    close(draft->fd);
    return rc;
}

/* Data before its name; a close may tell of an error, too. */
static int finish_draft(const struct draft *draft, int rc, struct htstore_error *error)
{
    int err = rc == 0 ? hti_file_sync(draft->fd) : 0;

    if (close(draft->fd) != 0 && err == 0)
        err = errno;
    return rc == 0 && err != 0 ? hti_file_fail(error, err, draft->path, "cannot sync the snapshot") : rc;
}

static int exchange(const struct draft *draft)
{
    const int folder_fd = draft->target->folder_fd;

    return renameat2(folder_fd, draft->name, folder_fd, draft->target->name, RENAME_EXCHANGE) == 0 ? 0 : errno;
}

/* What was under the name, until the folder is synced. */
enum before { NOTHING, KEPT, LOST };

/* A file that is replaced goes to the temporary name, to be brought back or removed; where that cannot be, it is lost. */
static int put_into_place(const struct draft *draft, enum before *before)
{
    const struct hti_save_target *target = draft->target;
    int err = target->replace ? exchange(draft) : ENOENT;

    *before = err == 0 ? KEPT : err == ENOENT ? NOTHING : LOST;
    if (err == ENOENT)
        err = hti_file_rename_new(target->folder_fd, draft->name, target->folder_fd, target->name);
    if (err == 0 || !target->replace)
        return err;
    *before = LOST;
    return renameat(target->folder_fd, draft->name, target->folder_fd, target->name) == 0 ? 0 : errno;
}

/* The name before the call says so. A call that failed has made and replaced nothing. */
static int publish(const struct draft *draft, struct htstore_error *error)
{
    const struct hti_save_target *target = draft->target;
    enum before before;
    int err = put_into_place(draft, &before);

    if (err != 0)
        return hti_file_fail(error, err, draft->path, "cannot put the snapshot into place");
    err = hti_file_sync(target->folder_fd);
    if (err != 0 && before == KEPT)
        exchange(draft);
    else if (err != 0 && before == NOTHING)
        unlinkat(target->folder_fd, target->name, 0);
    if (err == 0 && before == KEPT)
        unlinkat(target->folder_fd, draft->name, 0);
    return err ? hti_file_fail(error, err, draft->path, "cannot put the snapshot into place") : 0;
}

static int make_file(struct htstore_checkpoint *checkpoint, struct hti_save_target *target,
                     const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    const int64_t *counter = target->counter < 0 ? NULL : &target->counter;
    struct draft draft = { .target = target };
    char path[PATH_MAX];
    int rc;

    if (snprintf(draft.name, sizeof draft.name, ".%s.tmp", target->name) >= (int)sizeof draft.name)
        return hti_fail(error, HTSTORE_EINVAL, "%s: the name is too long", target->name);
    snprintf(path, sizeof path, "%s/%s", target->folder, target->name);
    draft.path = path;
    if (!target->replace && faccessat(target->folder_fd, target->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return hti_fail(error, HTSTORE_EEXIST, "%s: already exists", path);
    rc = open_draft(&draft, error);
    if (rc != 0)
        return rc;
    rc = write_snapshot(checkpoint, draft.fd, path, options, counter, &target->lsn, error);
    rc = finish_draft(&draft, rc, error);
    if (rc == 0)
        rc = publish(&draft, error);
    if (rc != 0)
        unlinkat(target->folder_fd, draft.name, 0);
    close(draft.lock_fd);
    return rc;
}

static int save_in_turn(struct htstore_checkpoint *checkpoint, struct hti_save_target *target,
                        const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    struct htstore_snapshot_options complete;
    int rc = hti_save_options(options, SAVE_FLAGS, &complete, error);

    if (rc == 0)
        rc = make_file(checkpoint, target, &complete, error);
    if (rc == 0 && target->counter >= 0)
        hti_checkpoint_set_counter(checkpoint, target->counter);
    return rc;
}

int hti_checkpoint_save_in(struct htstore_checkpoint *checkpoint, struct hti_save_target *target,
                           const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&checkpoint->store->save_mutex);
    rc = save_in_turn(checkpoint, target, options, error);
    pthread_mutex_unlock(&checkpoint->store->save_mutex);
    return rc;
}

static int save_at(struct htstore_checkpoint *checkpoint, const char *path, int64_t counter,
                   const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    struct hti_save_target target = { .counter = counter, .replace = options && (options->flags & HTSTORE_REPLACE) };
    char *folder, *name;
    int rc = hti_path_split(path, &folder, &name, error);

    if (rc != 0)
        return rc;
    target.folder = folder;
    target.name = name;
    rc = hti_folder_open(AT_FDCWD, folder, folder, &target.folder_fd, error);
    if (rc == 0) {
        rc = save_in_turn(checkpoint, &target, options, error);
        close(target.folder_fd);
    }
    hti_mem_free(folder);
    hti_mem_free(name);
    return rc;
}

static int save_numbered(struct htstore_checkpoint *checkpoint, const char *prefix,
                         const struct htstore_snapshot_options *options, struct htstore_arena *arena, const char **path,
                         struct htstore_error *error)
{
    const size_t size = strlen(prefix) + NUMBER_SIZE;
    const int64_t counter = hti_checkpoint_counter(checkpoint) + 1;
    char *text = path ? hti_arena_alloc(arena, size, 1) : hti_mem_alloc(size);
    int rc;

    if (!text)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the path");
    snprintf(text, size, "%s-%" PRId64, prefix, counter);
    rc = save_at(checkpoint, text, counter, options, error);
    if (rc == 0 && path)
        *path = text;
    if (!path)
        hti_mem_free(text);
    return rc;
}

int htstore_checkpoint_save(struct htstore_checkpoint *checkpoint, const char *prefix,
                            const struct htstore_snapshot_options *options, struct htstore_arena *arena,
                            const char **path, struct htstore_error *error)
{
    int rc = hti_checkpoint_check(checkpoint, error);

    if (rc == 0)
        rc = hti_check_store(checkpoint->store, true, error);
    if (rc != 0)
        return rc;
    if (!prefix || !*prefix || (path && !hti_arena_is_valid(arena)))
        return hti_fail(error, HTSTORE_EINVAL, "the prefix is NULL or empty, or the arena is NULL");
    pthread_mutex_lock(&checkpoint->store->save_mutex);
    rc = save_numbered(checkpoint, prefix, options, arena, path, error);
    pthread_mutex_unlock(&checkpoint->store->save_mutex);
    return rc;
}

int htstore_checkpoint_write(struct htstore_checkpoint *checkpoint, const char *path,
                             const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    int rc = hti_checkpoint_check(checkpoint, error);

    if (rc != 0)
        return rc;
    if (!path || !*path)
        return hti_fail(error, HTSTORE_EINVAL, "the path is NULL or empty");
    pthread_mutex_lock(&checkpoint->store->save_mutex);
    rc = save_at(checkpoint, path, -1, options, error);
    pthread_mutex_unlock(&checkpoint->store->save_mutex);
    return rc;
}

int htstore_checkpoint_write_fd(struct htstore_checkpoint *checkpoint, int fd,
                                const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    struct htstore_snapshot_options complete;
    uint64_t lsn;
    int rc = hti_checkpoint_check(checkpoint, error);

    if (rc == 0)
        rc = hti_save_options(options, SAVE_FLAGS, &complete, error);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&checkpoint->store->save_mutex);
    rc = write_snapshot(checkpoint, fd, "(stream)", &complete, NULL, &lsn, error);
    pthread_mutex_unlock(&checkpoint->store->save_mutex);
    return rc;
}
