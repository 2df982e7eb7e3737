/* store: hides the order of steps in which a store comes to life and ends. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commit.h"
#include "create.h"
#include "file.h"
#include "flush.h"
#include "frame.h"
#include "kvfile.h"
#include "mem.h"
#include "objects.h"
#include "recover.h"
#include "structure.h"
#include "thread.h"
#include "view.h"
#include "warm.h"

#define MIN_DELTA ((uint64_t)64 << 10)
#define MIN_SEGMENT ((uint64_t)64 << 10)
#define MAX_SEGMENT ((uint64_t)1 << 30)
#define KNOWN_FLAGS                                                                                                    \
    (HTSTORE_CREATE | HTSTORE_EXCLUSIVE | HTSTORE_READONLY | HTSTORE_ALLOW_ANY_FILESYSTEM |                            \
     HTSTORE_ALLOW_SHARED_FOLDER | HTSTORE_NO_PRELOAD)

/* --- options --- */

static uint64_t quarter_of_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages / 4 * (uint64_t)size : (uint64_t)1 << 30;
}

static void default_u32(uint32_t *field, uint32_t value)
{
    if (*field == 0)
        *field = value;
}

static void default_u64(uint64_t *field, uint64_t value)
{
    if (*field == 0)
        *field = value;
}

static void fill_defaults(struct htstore_options *o)
{
    default_u32(&o->durability, HTSTORE_SYNC);
    default_u32(&o->interval_ms, 100);
    default_u32(&o->max_open_tables, 128);
    default_u32(&o->flush_age_ms, 5000);
    default_u32(&o->slow_reader_ms, 60000);
    default_u64(&o->map_size, (uint64_t)1 << 40);
    default_u64(&o->cache_bytes, quarter_of_memory());
    default_u64(&o->delta_bytes, (uint64_t)128 << 20);
    default_u64(&o->segment_bytes, (uint64_t)64 << 20);
}

int hti_store_options(const struct htstore_options *given, struct htstore_options *o, struct htstore_error *error)
{
    memset(o, 0, sizeof *o);
    if (given) {
        if (given->size == 0)
            return hti_fail(error, HTSTORE_EINVAL, "options.size is 0");
        memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    }
    fill_defaults(o);
    if (o->flags & ~KNOWN_FLAGS)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x in options", o->flags & ~KNOWN_FLAGS);
    if ((o->flags & HTSTORE_READONLY) && (o->flags & HTSTORE_CREATE))
        return hti_fail(error, HTSTORE_EINVAL, "HTSTORE_READONLY does not go with HTSTORE_CREATE");
    if ((o->flags & HTSTORE_EXCLUSIVE) && !(o->flags & HTSTORE_CREATE))
        return hti_fail(error, HTSTORE_EINVAL, "HTSTORE_EXCLUSIVE needs HTSTORE_CREATE");
    if (o->durability > HTSTORE_LAZY)
        return hti_fail(error, HTSTORE_EINVAL, "unknown durability %u", o->durability);
    if (o->interval_ms < 2 || o->interval_ms > 3600000)
        return hti_fail(error, HTSTORE_EINVAL, "interval_ms is not in 2 to 3600000");
    if (o->max_open_tables < 8 || o->max_open_tables > 4096)
        return hti_fail(error, HTSTORE_EINVAL, "max_open_tables is not in 8 to 4096");
    if (o->delta_bytes < MIN_DELTA || o->segment_bytes < MIN_SEGMENT || o->segment_bytes > MAX_SEGMENT)
        return hti_fail(error, HTSTORE_EINVAL, "delta_bytes or segment_bytes is out of range");
    if (o->map_size < ((uint64_t)1 << 20) || o->map_size > ((uint64_t)1 << 46))
        return hti_fail(error, HTSTORE_EINVAL, "map_size is not in 1 MiB to 64 TiB");
    return 0;
}

/* --- opening the files --- */

static bool on_readonly_filesystem(const struct htstore *store)
{
    return faccessat(store->dir_fd, ".", W_OK, 0) != 0 && errno == EROFS;
}

static bool is_plain_file(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_nlink == 1 && (st->st_uid == geteuid() || st->st_uid == 0);
}

/*
 * LMDB would make a missing lock.mdb, and follow links: look first. It is never opened here: closing it again would drop
 * the locks that LMDB holds on it in this process. A reader must not make anything.
 */
static int check_lock_file(struct htstore *store, struct htstore_error *error)
{
    struct stat st;
    int fd, rc;

    if (fstatat(store->dir_fd, "lock.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return is_plain_file(&st)
                   ? 0
                   : hti_fail(error, HTSTORE_EFORMAT, "%s: lock.mdb is not a plain file of its owner", store->path);
    if (errno != ENOENT)
        return hti_file_fail(error, errno, store->path, "cannot look at lock.mdb");
    if (store->readonly)
        return on_readonly_filesystem(store)
                   ? 0
                   : hti_fail(error, HTSTORE_EFORMAT, "%s: lock.mdb is missing; open the store for writing once",
                              store->path);
    rc = hti_file_open(store->dir_fd, "lock.mdb", O_RDWR | O_CREAT | O_EXCL, store->path, &fd, error);
    if (rc == 0)
        close(fd);
    return rc;
}

/* LMDB maps what it is given, and dies of what is missing or mad: the file is read and checked before. */
static int check_data_file(struct htstore *store, struct htstore_error *error)
{
    char path[256];
    int fd, rc = hti_file_open(store->dir_fd, "data.mdb", O_RDONLY, store->path, &fd, error);

    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "%.240s/data.mdb", store->path);
    rc = hti_kvfile_check(fd, path, error);
    close(fd);
    return rc;
}

/* One process, one open: LMDB's locks are lost when any descriptor of its files is closed. */
static int claim(struct htstore *store, struct htstore_error *error)
{
    struct stat st;
    int rc;

    if (fstatat(store->dir_fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? hti_fail(error, HTSTORE_EFORMAT, "%s: not a store: it has no data.mdb", store->path)
                               : hti_file_fail(error, errno, store->path, "cannot look at data.mdb");
    store->device = (uint64_t)st.st_dev;
    store->inode = (uint64_t)st.st_ino;
    rc = hti_registry_add(store, error);
    if (rc == 0 && hti_file_is_mapped(store->device, store->inode))
        rc = hti_fail(error, HTSTORE_EBUSY, "%s: another library of this process (%d) has data.mdb open", store->path,
                      (int)getpid());
    return rc;
}

static int open_folders(struct htstore *store, struct htstore_error *error)
{
    const char *path = store->path;
    struct stat st;
    int rc;

    if (stat(path, &st) != 0)
        return hti_file_fail(error, errno, path, "%s: cannot open the store", path);
    if (!S_ISDIR(st.st_mode))
        return hti_fail(error, HTSTORE_EFORMAT, "%s: not a store: it is not a folder", path);
    rc = hti_folder_open(AT_FDCWD, path, path, &store->dir_fd, error);
    if (rc == 0)
        rc = claim(store, error);
    if (rc == 0 && !(store->options.flags & HTSTORE_ALLOW_ANY_FILESYSTEM))
        rc = hti_folder_check_filesystem(store->dir_fd, store->path, error);
    if (rc == 0 && !(store->options.flags & HTSTORE_ALLOW_SHARED_FOLDER))
        rc = hti_folder_check_safe(store->dir_fd, store->path, error);
    if (rc == 0 && !store->readonly)
        rc = hti_folder_open(store->dir_fd, "journal", store->path, &store->journal_fd, error);
    return rc;
}

static int open_kv(struct htstore *store, struct htstore_error *error)
{
    const struct hti_kv_options options = {
        .dir_fd = store->dir_fd,
        .path = store->path,
        .readonly = store->readonly,
        .map_size = store->options.map_size,
        .max_pinned = store->options.max_open_tables,
        .max_readers = 1022,
    };
    int rc = hti_kv_open(&options, &store->kv, error);

    if (rc != 0)
        return rc;
    rc = hti_kv_acquire(store->kv, HTI_KV_CATALOG, false, error);
    return rc == 1 ? hti_fail(error, HTSTORE_EFORMAT, "%s: data.mdb is no libhtstore file: it has no catalogue",
                              store->path)
                   : rc;
}

/* --- an owner's open --- */

static int read_catalog(struct htstore *store, struct htstore_error *error)
{
    struct hti_objects objects;
    struct hti_kv_read *read;
    int rc = hti_kv_read_begin(store->kv, false, &read, error);

    if (rc != 0)
        return rc;
    rc = hti_objects_read(read, &objects, error);
    if (rc == 0)
        rc = hti_objects_add_strays(read, &objects, error);
    hti_kv_read_end(read);
    if (rc != 0) {
        hti_objects_release(&objects);
        return rc;
    }
    store->record = objects.store;
    memcpy(store->store_id, objects.store.store_id, sizeof store->store_id);
    rc = hti_objects_install(store, &objects, error);
    for (size_t i = 0; rc == 0 && i < objects.n_garbage; i++)
        if (hti_garbage_add(store, objects.garbage[i]) != 0)
            rc = hti_fail(error, HTSTORE_ENOMEM, "no memory for the catalogue");
    hti_objects_release(&objects);
    return rc;
}

static int open_journal(struct htstore *store, const struct hti_recovery *recovery, struct htstore_error *error)
{
    char path[256];
    struct hti_journal_options options = {
        .dir_fd = store->journal_fd,
        .path = path,
        .records = store->delta,
        .next_lsn = recovery->last_lsn + 1,
        .segment_bytes = store->options.segment_bytes,
        .first_segment = store->record.first_segment + 1,
    };

    snprintf(path, sizeof path, "%.240s/journal", store->path);
    memcpy(options.store_id, store->record.store_id, sizeof options.store_id);
    if (recovery->n_segments > 0 && recovery->segments[recovery->n_segments - 1] >= options.first_segment)
        options.first_segment = recovery->segments[recovery->n_segments - 1] + 1;
    store->record.first_segment = options.first_segment;
    return hti_journal_open(&options, &store->journal, error);
}

/*
 * Replay, then a new segment that begins with what was replayed and LMDB lacks, then a commit of our own that names it and says
 * that the store is in use; only then may the old segments go. Until that commit they are what counts: what they and LMDB show
 * might be known to the page cache only, but the new segment is synced, and the commit makes what LMDB shows durable.
 */
static int recover(struct htstore *store, struct htstore_error *error)
{
    struct hti_recovery recovery;
    int rc = hti_recover_scan(store, &recovery, error);

    if (rc != 0)
        return rc;
    rc = hti_recover_replay(store, &recovery, error);
    if (rc == 0)
        rc = open_journal(store, &recovery, error);
    if (rc == 0) {
        store->record.session++;
        store->record.clean = false;
        rc = hti_flush_commit_record(store, error);
        store->in_use = rc != HTSTORE_ENOMEM && rc != HTSTORE_EBUSY; /* of other failures the outcome is not known */
    }
    if (rc == 0)
        rc = hti_recover_delete(store, &recovery, error);
    atomic_store(&store->applied_lsn, store->record.applied_lsn);
    atomic_store(&store->visible_lsn, recovery.last_lsn);
    hti_recover_release(&recovery);
    return rc;
}

/* Anonymous objects that nobody can reach any more: a crash left them. */
static int purge_anonymous(struct htstore *store, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&store->flush_mutex);
    rc = hti_structure_collect(store, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

static void stop_threads(struct htstore *store)
{
    pthread_t *const threads[] = { &store->flusher, &store->syncer, &store->warmer };

    pthread_mutex_lock(&store->write_mutex);
    store->stopping = true;
    pthread_cond_broadcast(&store->work);
    pthread_mutex_unlock(&store->write_mutex);
    for (uint32_t i = 0; i < store->n_threads; i++)
        pthread_join(*threads[i], NULL);
    store->n_threads = 0;
}

static int start_threads(struct htstore *store, struct htstore_error *error)
{
    const struct {
        pthread_t *thread;
        const char *name;
        void *(*run)(void *);
    } threads[] = {
        { &store->flusher, "htstore-flush", hti_flush_run },
        { &store->syncer, "htstore-sync", hti_commit_run_syncer },
        { &store->warmer, "htstore-warm", hti_warm_run },
    };

    for (unsigned i = 0; i < 3; i++) {
        const int err = hti_thread_start(threads[i].thread, threads[i].name, threads[i].run, store);
        if (err != 0) {
            stop_threads(store);
            return hti_file_fail(error, err, store->path, "cannot start the store's threads");
        }
        store->n_threads++;
    }
    return 0;
}

static int open_owner(struct htstore *store, struct htstore_error *error)
{
    int rc = hti_lock_owner(&store->lock, store->dir_fd, store->path, store->options.lock_timeout_ms, error);

    if (rc == 0)
        rc = check_lock_file(store, error);
    if (rc == 0)
        rc = check_data_file(store, error);
    if (rc == 0)
        rc = open_kv(store, error);
    if (rc == 0)
        rc = read_catalog(store, error);
    if (rc == 0)
        rc = recover(store, error);
    if (rc == 0)
        rc = purge_anonymous(store, error);
    if (rc == 0)
        rc = start_threads(store, error);
    if (rc == 0)
        hti_lock_opened(&store->lock);
    return rc;
}

static int open_reader(struct htstore *store, struct htstore_error *error)
{
    bool owner_alive;
    int rc =
        hti_lock_reader(&store->lock, store->dir_fd, store->path, store->options.lock_timeout_ms, &owner_alive, error);

    if (rc == 0)
        rc = check_lock_file(store, error);
    if (rc == 0)
        rc = check_data_file(store, error);
    if (rc == 0)
        rc = open_kv(store, error);
    if (rc == 0)
        rc = hti_view_refresh(store, error);
    if (rc == 0)
        memcpy(store->store_id, store->view->record.store_id, sizeof store->store_id);
    hti_lock_opened(&store->lock);
    return rc;
}

/* Everything that is open, in the opposite order. */
static void release_store(struct htstore *store, bool remove_journal)
{
    if (store->view)
        hti_view_leave(store->view);
    hti_journal_close(store->journal, remove_journal);
    if (store->kv)
        hti_lock_closing(&store->lock);
    hti_kv_close(store->kv);
    hti_registry_remove(store);
    hti_lock_release(&store->lock);
    hti_state_release(store);
    if (store->journal_fd >= 0)
        close(store->journal_fd);
    if (store->dir_fd >= 0)
        close(store->dir_fd);
    hti_mem_free(store->path);
    hti_mem_free(store);
}

static int new_store(const char *path, const struct htstore_options *options, struct htstore **out,
                     struct htstore_error *error)
{
    struct htstore *store = hti_mem_zalloc(sizeof *store);

    if (!store) {
        hti_fail(error, HTSTORE_ENOMEM, "no memory for a store");
        return HTSTORE_ENOMEM;
    }
    store->options = *options;
    store->readonly = options->flags & HTSTORE_READONLY;
    store->dir_fd = store->journal_fd = store->lock.fd = -1;
    store->path = hti_mem_strdup(path);
    if (!store->path || hti_state_init(store, error) != 0) {
        hti_mem_free(store->path);
        hti_mem_free(store);
        hti_fail(error, HTSTORE_ENOMEM, "no memory for a store");
        return HTSTORE_ENOMEM;
    }
    *out = store;
    return 0;
}

/*
 * An open that fails leaves no journal segment behind: what it has are copies of records in older ones. But once LMDB says that the
 * store is in use, they may be the only ones, and stay; and without records a missing journal would be taken for damage: then LMDB
 * must say first that it was closed.
 */
static bool may_remove_journal(struct htstore *store)
{
    if (!store->journal)
        return false;
    if (!store->in_use)
        return true;
    if (store->delta || store->frozen)
        return false;
    store->record.clean = true;
    return hti_flush_commit_record(store, NULL) == 0;
}

static int open_store(const char *path, const struct htstore_options *options, struct htstore **out,
                      struct htstore_error *error)
{
    struct htstore *store = NULL;
    int rc = new_store(path, options, &store, error);

    if (rc != 0)
        return rc;
    rc = open_folders(store, error);
    if (rc == 0)
        rc = store->readonly ? open_reader(store, error) : open_owner(store, error);
    if (rc != 0) {
        release_store(store, may_remove_journal(store));
        return rc;
    }
    *out = store;
    return 0;
}

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 || errno != ENOENT;
}

int htstore_open(const char *path, const struct htstore_options *options, struct htstore **store,
                 struct htstore_error *error)
{
    struct htstore_options o;
    int rc;

    if (!store)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the store is NULL");
    *store = NULL;
    if (!path || !*path)
        return hti_fail(error, HTSTORE_EINVAL, "the path is NULL or empty");
    rc = hti_store_options(options, &o, error);
    if (rc != 0)
        return rc;
    if ((o.flags & HTSTORE_CREATE) && (!exists(path) || (o.flags & HTSTORE_EXCLUSIVE))) {
        rc = hti_create_store(path, o.flags, error);
        if (rc == HTSTORE_EEXIST && !(o.flags & HTSTORE_EXCLUSIVE))
            rc = 0;
        if (rc != 0)
            return rc;
    }
    return open_store(path, &o, store, error);
}

/* --- closing --- */

static int flush_last(struct htstore *store, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&store->flush_mutex);
    rc = hti_flush_locked(store, error);
    if (rc == 0) {
        store->record.clean = true;
        rc = hti_flush_commit_record(store, error);
    }
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

int htstore_close(struct htstore *store, struct htstore_error *error)
{
    bool busy;
    int rc;

    if (!store)
        return 0;
    rc = hti_check_store(store, false, error);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&store->objects_mutex);
    busy = store->n_handles > 0;
    pthread_mutex_unlock(&store->objects_mutex);
    if (busy)
        return hti_fail(error, HTSTORE_EBUSY, "%s: tables, batches or cursors are still open", store->path);
    stop_threads(store);
    rc = store->readonly ? 0 : flush_last(store, error);
    release_store(store, rc == 0);
    return rc;
}

/* --- the rest of the public functions --- */

int htstore_sync(struct htstore *store, struct htstore_error *error)
{
    int rc = hti_check_store(store, false, error);

    if (rc != 0 || store->readonly)
        return rc;
    rc = hti_journal_poisoned(store->journal, error);
    return rc ? rc : hti_journal_sync(store->journal, hti_journal_written_lsn(store->journal), error);
}

int htstore_flush(struct htstore *store, struct htstore_error *error)
{
    int rc = hti_check_store(store, true, error);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&store->flush_mutex);
    rc = hti_flush_locked(store, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

int htstore_refresh(struct htstore *store, struct htstore_error *error)
{
    const int rc = hti_check_store(store, false, error);

    if (rc != 0)
        return rc;
    return store->readonly ? hti_view_refresh(store, error) : 1;
}

static void add_object_stats(struct htstore *store, struct htstore_stats *s)
{
    struct hti_section_line *line = hti_section_enter(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (const struct hti_core *core = store->cores; core; core = core->next) {
        if (core->dropped || core->record.kind != HTSTORE_KIND_TABLE)
            continue;
        s->n_tables++;
        s->resident_tables += core->resident;
        s->warming_tables += core->warming != NULL;
        s->bounded_tables += core->recent != NULL;
        s->n_rows += core->n_rows;
    }
    s->open_handles = store->n_handles;
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_leave(line);
    s->cache_bytes = hti_core_memory(store, true);
}

/* A reader has no journal of its own: what it can tell is what lies in the folder, and whose it is. */
static void add_owner_stats(struct htstore *store, struct htstore_stats *s)
{
    s->owner_pid = hti_lock_owner_pid(&store->lock);
    if (!store->readonly)
        return;
    s->journal_bytes = hti_segment_folder_size(store->dir_fd);
    pthread_mutex_lock(&store->view_mutex);
    s->unreplayed = !store->view->record.clean && !hti_lock_owner_alive(&store->lock);
    pthread_mutex_unlock(&store->view_mutex);
}

static void add_journal_stats(struct htstore *store, struct htstore_stats *s)
{
    struct hti_journal_stats journal;

    s->applied_lsn = atomic_load(&store->applied_lsn);
    if (store->journal) {
        hti_journal_stats(store->journal, &journal);
        s->syncs = journal.syncs;
        s->journal_bytes = journal.bytes;
        s->durable_lsn = hti_journal_durable_lsn(store->journal);
    }
    s->visible_lsn = atomic_load(&store->visible_lsn);
    if (!store->journal)
        s->durable_lsn = s->visible_lsn;
    else if (s->durable_lsn > s->visible_lsn) /* synced, about to become visible */
        s->durable_lsn = s->visible_lsn;
    pthread_mutex_lock(&store->write_mutex);
    s->delta_bytes = store->delta_bytes;
    s->delta_rows = store->delta_rows;
    pthread_mutex_unlock(&store->write_mutex);
}

int htstore_stats(struct htstore *store, struct htstore_stats *stats, struct htstore_error *error)
{
    struct hti_section_counts counts;
    struct htstore_stats s;
    struct hti_kv_stats kv;
    int rc = hti_check_store(store, false, error);

    if (rc != 0)
        return rc;
    if (!stats || stats->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "stats is NULL or its size is 0");
    rc = hti_flush_count(store, NULL, error);
    if (rc != 0)
        return rc;
    memset(&s, 0, sizeof s);
    s.size = stats->size;
    s.readonly = store->readonly;
    hti_kv_stats(store->kv, &kv);
    s.data_bytes = kv.data_bytes;
    s.map_size = kv.map_size;
    s.map_growths = kv.growths;
    add_journal_stats(store, &s);
    add_owner_stats(store, &s);
    add_object_stats(store, &s);
    memcpy(s.store_id, store->store_id, sizeof s.store_id);
    counts = hti_section_count(&store->section);
    s.lookup_hits = counts.n_hits;
    s.lookup_misses = counts.n_misses;
    s.lookup_reads = counts.n_reads;
    s.batches = atomic_load(&store->n_batches);
    s.flushes = atomic_load(&store->n_flushes);
    s.flush_transactions = atomic_load(&store->n_flush_transactions);
    s.replayed_records = atomic_load(&store->n_replayed);
    memcpy(stats, &s, stats->size < sizeof s ? stats->size : sizeof s);
    return 0;
}

static char build_info[192];

static void make_build_info(void)
{
    const unsigned xxhash = hti_hash_version();

    snprintf(build_info, sizeof build_info, "%s, libzstd %s, libxxhash %u.%u.%u; store format %u, journal format %u",
             hti_kv_version(), hti_frame_version(), xxhash / 10000, xxhash / 100 % 100, xxhash % 100, HTI_STORE_VERSION,
             HTI_SEGMENT_VERSION);
}

const char *htstore_build_info(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_build_info);
    return build_info;
}
