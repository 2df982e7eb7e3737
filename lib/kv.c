/* kv: hides LMDB: its types, codes, handles, reader slots and the remapping of its file. */
#include "kv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"

#define NO_DATABASE UINT64_MAX
#define POOL_SIZE 64
#define MIN_GROWTH ((uint64_t)1 << 30)
#define NAME_SIZE 24
#define PROBE_SIZE (1 << 20)
#define HINT_SIZE ((uint64_t)8 << 20)
#define MAX_TRIMMED_PAGES 100000u /* freed in one transaction: their numbers go into one record of the free list */

/* A database handle of this process. Handles are opened by the writer, and closed by it only while not pinned. */
struct database {
    uint64_t number; /* NO_DATABASE: the entry is free */
    uint64_t last_use;
    uint32_t n_pins;
    MDB_dbi dbi;
};

struct hti_kv_read {
    struct hti_kv *kv;
    MDB_txn *txn;
    struct hti_kv_read *next; /* in the pool, or among the slow ones */
    struct hti_kv_read *previous;
    uint64_t id; /* of the transaction that is seen; 0 while it is being started */
    uint64_t database; /* whose handle was used last */
    MDB_dbi dbi;
    bool slow;
    bool failed; /* LMDB refuses the handle after an error: do not put it back into the pool */
};

struct hti_kv_write {
    struct hti_kv *kv;
    MDB_txn *txn;
    uint64_t database;
    MDB_dbi dbi;
    MDB_cursor *cursor; /* where a row of `walked` was put or found last */
    uint64_t walked;
};

struct hti_kv_cursor {
    struct hti_kv_read *read;
    MDB_cursor *cursor; /* NULL: the database does not exist */
    bool started;
};

/* `mutex` guards everything below it; no LMDB call that may wait is made with it held. */
struct hti_kv {
    MDB_env *env;
    char path[256];
    bool readonly;
    uint32_t page_size;
    uint32_t n_databases; /* size of the array */
    uint32_t max_pinned;
    atomic_bool filled; /* a meta page found no room: LMDB writes nothing more */
    bool defers; /* commits do not sync; like the next one, the writer's */
    uint64_t synced_size; /* of the file that the disk has been told to write */

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct database *databases;
    uint64_t clock;
    uint32_t n_fast; /* read transactions that end soon */
    uint32_t n_slow;
    bool gate_closed; /* the map is being replaced: new read transactions wait */
    struct hti_kv_read *pool;
    uint32_t n_pooled;
    struct hti_kv_read *slow;
    uint64_t n_growths;
};

static int status_of(int rc)
{
    switch (rc) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_TXN:
        return HTSTORE_ECORRUPT;
    case MDB_DBS_FULL:
    case MDB_READERS_FULL:
    case MDB_MAP_RESIZED:
        return HTSTORE_EBUSY;
    case MDB_TXN_FULL:
    case MDB_MAP_FULL:
        return HTSTORE_ENOMEM;
    case MDB_NOTFOUND:
        return HTSTORE_ECORRUPT; /* callers take the expected ones out before */
    case MDB_PANIC:
        return HTSTORE_EIO;
    case EINVAL:
        return HTSTORE_EIO;
    default:
        return rc > 0 ? hti_file_status(rc) : HTSTORE_EIO;
    }
}

static int fail(const struct hti_kv *kv, int rc, const char *what, struct htstore_error *error)
{
    const bool filled = rc == MDB_PANIC && atomic_load(&kv->filled);
    const int code = hti_fail(error, status_of(rc), "%s/data.mdb: cannot %s: %s", kv->path, what,
                              filled ? "the disk was full when the root of the file was written; open the store again"
                                     : mdb_strerror(rc));

    hti_error_set_errno(error, rc > 0 ? rc : filled ? ENOSPC : 0);
    hti_error_set_path(error, kv->path, 0);
    return code;
}

/* --- open and close --- */

/* The catalogue, those that handles and cursors pin, as many that take their place in one step, and those of a flush. */
static uint32_t databases_for(const struct hti_kv_options *options)
{
    return options->max_pinned * 2 + options->max_pinned / 2 + 2;
}

static int open_environment(const struct hti_kv_options *options, uint64_t map_size, MDB_env **out)
{
    const unsigned flags = MDB_NOTLS | (options->readonly ? MDB_RDONLY : 0u);
    char path[64];
    MDB_env *env;
    int rc = mdb_env_create(&env);

    *out = NULL;
    if (rc != 0)
        return rc;
    rc = mdb_env_set_mapsize(env, (size_t)map_size);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(env, databases_for(options));
    if (rc == 0)
        rc = mdb_env_set_maxreaders(env, options->max_readers);
    if (rc == 0) {
        /* through the descriptor: the folder that was checked, whatever the path names by now */
        snprintf(path, sizeof path, "/proc/self/fd/%d", options->dir_fd);
        rc = mdb_env_open(env, access(path, F_OK) == 0 ? path : options->path, flags, 0600);
    }
    if (rc != 0) {
        mdb_env_close(env);
        return rc;
    }
    *out = env;
    return 0;
}

/* Address space may be short: take half until it fits, but never less than the file needs. */
static int open_with_largest_map(const struct hti_kv_options *options, uint64_t file_size, MDB_env **env)
{
    const uint64_t least = file_size + file_size / 4 + ((uint64_t)1 << 20);
    uint64_t size = options->map_size > least ? options->map_size : least;
    int rc;

    while ((rc = open_environment(options, size & ~(uint64_t)0xffff, env)) == ENOMEM && size / 2 >= least)
        size /= 2;
    return rc;
}

static int finish_open(struct hti_kv *kv, const struct hti_kv_options *options)
{
    MDB_stat stat;
    int fd, rc = mdb_env_get_fd(kv->env, &fd);

    if (rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        rc = errno;
    if (rc == 0)
        rc = mdb_env_stat(kv->env, &stat);
    if (rc != 0)
        return rc;
    kv->page_size = stat.ms_psize;
    kv->n_databases = databases_for(options);
    kv->max_pinned = options->max_pinned;
    kv->databases = hti_mem_zalloc_array(kv->n_databases, sizeof *kv->databases);
    if (!kv->databases)
        return ENOMEM;
    for (uint32_t i = 0; i < kv->n_databases; i++)
        kv->databases[i].number = NO_DATABASE;
    rc = pthread_mutex_init(&kv->mutex, NULL);
    if (rc == 0 && (rc = pthread_cond_init(&kv->changed, NULL)) != 0)
        pthread_mutex_destroy(&kv->mutex);
    return rc;
}

static int size_of_data(const struct hti_kv_options *options, uint64_t *size)
{
    struct stat st;

    *size = 0;
    if (fstatat(options->dir_fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0)
        *size = (uint64_t)st.st_size;
    else if (errno != ENOENT)
        return errno;
    return 0;
}

int hti_kv_open(const struct hti_kv_options *options, struct hti_kv **out, struct htstore_error *error)
{
    struct hti_kv *kv = hti_mem_zalloc(sizeof *kv);
    uint64_t file_size;
    int rc;

    *out = NULL;
    if (!kv)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to open %s", options->path);
    snprintf(kv->path, sizeof kv->path, "%s", options->path);
    kv->readonly = options->readonly;
    rc = size_of_data(options, &file_size);
    if (rc == 0)
        rc = open_with_largest_map(options, file_size, &kv->env);
    if (rc == 0 && (rc = finish_open(kv, options)) != 0)
        mdb_env_close(kv->env);
    if (rc != 0) {
        rc = fail(kv, rc, "open the LMDB environment", error);
        hti_mem_free(kv->databases);
        hti_mem_free(kv);
        return rc;
    }
    hti_kv_check_readers(kv);
    *out = kv;
    return 0;
}

void hti_kv_close(struct hti_kv *kv)
{
    if (!kv)
        return;
    assert(kv->n_fast == 0 && kv->n_slow == 0);
    while (kv->pool) {
        struct hti_kv_read *read = kv->pool;
        kv->pool = read->next;
        mdb_txn_abort(read->txn);
        hti_mem_free(read);
    }
    mdb_env_close(kv->env);
    pthread_cond_destroy(&kv->changed);
    pthread_mutex_destroy(&kv->mutex);
    hti_mem_free(kv->databases);
    hti_mem_free(kv);
}

/* --- database handles --- */

static void name_of(uint64_t database, char name[NAME_SIZE])
{
    if (database == HTI_KV_CATALOG)
        snprintf(name, NAME_SIZE, "!catalog");
    else
        snprintf(name, NAME_SIZE, "t%016llx", (unsigned long long)database);
}

bool hti_kv_parse_name(struct hti_kv_bytes name, uint64_t *database)
{
    char text[NAME_SIZE], again[NAME_SIZE];

    if (name.size >= sizeof text)
        return false;
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    *database = text[0] == 't' ? strtoull(text + 1, NULL, 16) : HTI_KV_CATALOG;
    name_of(*database, again);
    return strlen(again) == name.size && memcmp(again, text, name.size) == 0;
}

static struct database *find_database(struct hti_kv *kv, uint64_t number)
{
    for (uint32_t i = 0; i < kv->n_databases; i++)
        if (kv->databases[i].number == number)
            return &kv->databases[i];
    return NULL;
}

/* With the mutex: keep new read transactions out, and wait for those that end soon. Slow ones pin what they use. */
static void close_gate(struct hti_kv *kv)
{
    while (kv->gate_closed)
        pthread_cond_wait(&kv->changed, &kv->mutex);
    kv->gate_closed = true;
    while (kv->n_fast > 0)
        pthread_cond_wait(&kv->changed, &kv->mutex);
}

static void open_gate(struct hti_kv *kv)
{
    kv->gate_closed = false;
    pthread_cond_broadcast(&kv->changed);
}

/*
 * With the mutex. A free entry; if there is none, that of the handle that was used longest ago and is not pinned, which
 * is closed: behind the gate, since a reader that is about to end may still use it.
 */
static struct database *free_entry(struct hti_kv *kv)
{
    struct database *oldest = find_database(kv, NO_DATABASE);

    if (oldest)
        return oldest;
    for (uint32_t i = 0; i < kv->n_databases; i++) {
        struct database *d = &kv->databases[i];
        if (d->n_pins == 0 && d->number != HTI_KV_CATALOG && (!oldest || d->last_use < oldest->last_use))
            oldest = d;
    }
    if (oldest) {
        close_gate(kv);
        mdb_dbi_close(kv->env, oldest->dbi);
        oldest->number = NO_DATABASE;
        open_gate(kv);
    }
    return oldest;
}

static int begin(struct hti_kv *kv, unsigned flags, MDB_txn **txn)
{
    int rc = mdb_txn_begin(kv->env, NULL, flags, txn);

    if (rc == MDB_READERS_FULL) {
        hti_kv_check_readers(kv);
        rc = mdb_txn_begin(kv->env, NULL, flags, txn);
    }
    return rc;
}

static int check_flags(MDB_txn *txn, MDB_dbi dbi)
{
    unsigned flags;
    const int rc = mdb_dbi_flags(txn, dbi, &flags);

    return rc ? rc : flags ? MDB_INCOMPATIBLE : 0;
}

/*
 * LMDB calls a short write, which is what a device that becomes full answers, an I/O error. Whether there is room for
 * more tells them apart. Trying again is safe either way: a transaction that failed is written anew, all of it.
 */
static bool is_disk_full(struct hti_kv *kv)
{
    struct rlimit limit;
    struct stat st;
    int fd;

    if (mdb_env_get_fd(kv->env, &fd) != 0 || fstat(fd, &st) != 0)
        return false;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < (rlim_t)st.st_size + PROBE_SIZE)
        return true;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, PROBE_SIZE) == 0)
        return false;
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
}

/* A page of data that found no room may be written again. After a meta page LMDB writes nothing more. */
static int commit_transaction(struct hti_kv *kv, MDB_txn *txn)
{
    int rc = mdb_txn_commit(txn);

    if (rc == EIO && is_disk_full(kv))
        rc = ENOSPC;
    if (rc == ENOSPC && mdb_txn_begin(kv->env, NULL, 0, &txn) == 0)
        mdb_txn_abort(txn);
    else if (rc == ENOSPC) {
        atomic_store(&kv->filled, true);
        rc = MDB_PANIC;
    }
    return rc;
}

/* A handle is valid for others only once the transaction that opened it is committed. */
static int open_handle(struct hti_kv *kv, uint64_t number, bool create, MDB_dbi *dbi)
{
    char name[NAME_SIZE];
    MDB_txn *txn;
    int rc = begin(kv, create ? 0 : MDB_RDONLY, &txn);

    if (rc != 0)
        return rc;
    name_of(number, name);
    rc = mdb_dbi_open(txn, name, create ? MDB_CREATE : 0, dbi);
    if (rc == 0)
        rc = check_flags(txn, *dbi);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return commit_transaction(kv, txn);
}

static void enter_database(struct hti_kv *kv, struct database *entry, uint64_t number, MDB_dbi dbi, uint32_t n_pins)
{
    entry->number = number;
    entry->dbi = dbi;
    entry->n_pins = n_pins;
    entry->last_use = ++kv->clock;
}

static int fail_full(const struct hti_kv *kv, struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_EBUSY,
                    "%s: %u tables are in use at once; close some, or open the store with a larger max_open_tables",
                    kv->path, kv->max_pinned);
}

static int open_database(struct hti_kv *kv, uint64_t number, bool create, uint32_t n_pins, struct htstore_error *error)
{
    struct database *entry;
    MDB_dbi dbi;
    int rc;

    pthread_mutex_lock(&kv->mutex);
    entry = free_entry(kv);
    pthread_mutex_unlock(&kv->mutex);
    if (!entry)
        return fail_full(kv, error);
    rc = open_handle(kv, number, false, &dbi);
    if (rc == MDB_NOTFOUND && create) {
        while ((rc = open_handle(kv, number, true, &dbi)) == MDB_MAP_FULL) {
            rc = hti_kv_grow(kv, error);
            if (rc != 0)
                return rc;
        }
    }
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0)
        return fail(kv, rc, "open a table's database", error);
    pthread_mutex_lock(&kv->mutex);
    enter_database(kv, entry, number, dbi, n_pins);
    pthread_mutex_unlock(&kv->mutex);
    return 0;
}

static bool may_pin_more(const struct hti_kv *kv)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < kv->n_databases; i++)
        n += kv->databases[i].number != HTI_KV_CATALOG && kv->databases[i].n_pins > 0;
    return n < kv->max_pinned;
}

int hti_kv_acquire(struct hti_kv *kv, uint64_t database, bool create, struct htstore_error *error)
{
    bool allowed, open = false;

    pthread_mutex_lock(&kv->mutex);
    struct database *entry = find_database(kv, database);
    allowed = create || (entry && entry->n_pins > 0) || may_pin_more(kv);
    if (entry && allowed) {
        entry->n_pins++;
        entry->last_use = ++kv->clock;
        open = true;
    }
    pthread_mutex_unlock(&kv->mutex);
    if (open)
        return 0;
    return allowed ? open_database(kv, database, create, 1, error) : fail_full(kv, error);
}

bool hti_kv_is_pinned(struct hti_kv *kv, uint64_t database)
{
    pthread_mutex_lock(&kv->mutex);
    const struct database *entry = find_database(kv, database);
    const bool pinned = entry && entry->n_pins > 0;
    pthread_mutex_unlock(&kv->mutex);
    return pinned;
}

void hti_kv_release(struct hti_kv *kv, uint64_t database)
{
    pthread_mutex_lock(&kv->mutex);
    struct database *entry = find_database(kv, database);
    assert(entry && entry->n_pins > 0);
    entry->n_pins--;
    pthread_mutex_unlock(&kv->mutex);
}

int hti_kv_open_all(struct hti_kv *kv, const uint64_t *databases, size_t n, struct htstore_error *error)
{
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&kv->mutex);
        const bool open = find_database(kv, databases[i]) != NULL;
        const bool room = find_database(kv, NO_DATABASE) != NULL;
        pthread_mutex_unlock(&kv->mutex);
        if (open)
            continue;
        if (!room)
            return 0;
        const int rc = open_database(kv, databases[i], false, 0, error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int find_handle(struct hti_kv *kv, uint64_t number, MDB_dbi *dbi)
{
    pthread_mutex_lock(&kv->mutex);
    const struct database *entry = find_database(kv, number);
    if (entry)
        *dbi = entry->dbi;
    pthread_mutex_unlock(&kv->mutex);
    return entry ? 0 : 1;
}

/* --- writing --- */

int hti_kv_begin(struct hti_kv *kv, struct hti_kv_write **out, struct htstore_error *error)
{
    struct hti_kv_write *write = hti_mem_zalloc(sizeof *write);
    int rc;

    *out = NULL;
    if (!write)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a transaction");
    write->kv = kv;
    write->database = NO_DATABASE;
    rc = begin(kv, 0, &write->txn);
    if (rc != 0) {
        hti_mem_free(write);
        return fail(kv, rc, "begin a transaction", error);
    }
    *out = write;
    return 0;
}

static MDB_dbi write_handle(struct hti_kv_write *write, uint64_t database)
{
    if (write->database != database) {
        const int rc = find_handle(write->kv, database, &write->dbi);
        assert(rc == 0); /* the caller has acquired it */
        (void)rc;
        write->database = database;
    }
    return write->dbi;
}

static MDB_val to_val(struct hti_kv_bytes bytes)
{
    return (MDB_val){ .mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data };
}

static int write_result(struct hti_kv_write *write, int rc, const char *what, struct htstore_error *error)
{
    if (rc == MDB_MAP_FULL)
        return HTI_KV_MAP_FULL;
    return rc ? fail(write->kv, rc, what, error) : 0;
}

int hti_kv_put(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
               struct htstore_error *error)
{
    MDB_val k = to_val(key), v = to_val(value);
    return write_result(write, mdb_put(write->txn, write_handle(write, database), &k, &v, 0), "store a row", error);
}

int hti_kv_put_new(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
                   struct htstore_error *error)
{
    MDB_val k = to_val(key), v = to_val(value);
    const int rc = mdb_put(write->txn, write_handle(write, database), &k, &v, MDB_NOOVERWRITE);

    return rc == MDB_KEYEXIST ? 1 : write_result(write, rc, "store a record", error);
}

static void close_cursor(struct hti_kv_write *write)
{
    if (write->cursor)
        mdb_cursor_close(write->cursor);
    write->cursor = NULL;
}

/* A cursor stays where it is, where mdb_put() would come down from the root for each row. */
static int open_cursor(struct hti_kv_write *write, uint64_t database)
{
    if (write->cursor && write->walked == database)
        return 0;
    close_cursor(write);
    write->walked = database;
    return mdb_cursor_open(write->txn, write_handle(write, database), &write->cursor);
}

/* Where the row at the cursor lies now. Nothing is known of it if LMDB does not say. */
static void tell_place(MDB_cursor *cursor, struct hti_kv_bytes *stored)
{
    MDB_val k, v;

    *stored = (struct hti_kv_bytes){ NULL, 0 };
    if (mdb_cursor_get(cursor, &k, &v, MDB_GET_CURRENT) == 0)
        *stored = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
}

int hti_kv_append(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
                  struct hti_kv_bytes *stored, struct htstore_error *error)
{
    MDB_val k = to_val(key), v = to_val(value);
    int rc = open_cursor(write, database);

    if (rc == 0)
        rc = mdb_cursor_put(write->cursor, &k, &v, MDB_APPEND);
    if (rc == MDB_KEYEXIST)
        return hti_fail(error, HTSTORE_ECORRUPT, "rows do not come in ascending order of keys");
    if (rc == 0 && stored)
        tell_place(write->cursor, stored);
    return write_result(write, rc, "append a row", error);
}

int hti_kv_last_key(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes *key,
                    struct htstore_error *error)
{
    MDB_val k, v;
    int rc = open_cursor(write, database);

    if (rc == 0)
        rc = mdb_cursor_get(write->cursor, &k, &v, MDB_LAST);
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0)
        return fail(write->kv, rc, "read a row", error);
    *key = (struct hti_kv_bytes){ k.mv_data, k.mv_size };
    return 0;
}

int hti_kv_offer(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes value,
                 struct hti_kv_bytes *stored, struct htstore_error *error)
{
    MDB_val k = to_val(key), v = to_val(value);
    int rc = open_cursor(write, database);

    if (rc == 0)
        rc = mdb_cursor_put(write->cursor, &k, &v, MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST) {
        *stored = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
        return 1;
    }
    if (rc == 0)
        tell_place(write->cursor, stored);
    return write_result(write, rc, "store a row", error);
}

int hti_kv_find(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes *stored,
                struct htstore_error *error)
{
    MDB_val k = to_val(key), v;
    int rc = open_cursor(write, database);

    if (rc == 0)
        rc = mdb_cursor_get(write->cursor, &k, &v, MDB_SET);
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0)
        return fail(write->kv, rc, "read a row", error);
    *stored = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
    return 0;
}

int hti_kv_replace_found(struct hti_kv_write *write, struct hti_kv_bytes key, struct hti_kv_bytes value,
                         struct hti_kv_bytes *stored, struct htstore_error *error)
{
    MDB_val k = to_val(key), v = to_val(value);
    const int rc = mdb_cursor_put(write->cursor, &k, &v, MDB_CURRENT);

    if (rc == 0)
        tell_place(write->cursor, stored);
    return write_result(write, rc, "store a row", error);
}

int hti_kv_remove_found(struct hti_kv_write *write, struct htstore_error *error)
{
    const int rc = mdb_cursor_del(write->cursor, 0);

    close_cursor(write); /* pages may have been merged: begin anew */
    return write_result(write, rc, "remove a row", error);
}

int hti_kv_remove(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct htstore_error *error)
{
    MDB_val k = to_val(key);
    const int rc = mdb_del(write->txn, write_handle(write, database), &k, NULL);
    return rc == MDB_NOTFOUND ? 1 : write_result(write, rc, "remove a row", error);
}

int hti_kv_get(struct hti_kv_write *write, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes *value,
               struct htstore_error *error)
{
    MDB_val k = to_val(key), v;
    const int rc = mdb_get(write->txn, write_handle(write, database), &k, &v);

    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0)
        return fail(write->kv, rc, "read a row", error);
    *value = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
    return 0;
}

int hti_kv_trim(struct hti_kv_write *write, uint64_t database, uint64_t max, bool *left, struct htstore_error *error)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(write->txn, write_handle(write, database), &cursor);

    if (rc != 0)
        return fail(write->kv, rc, "remove rows", error);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (uint64_t n = 0, pages = 0; rc == 0 && n < max && pages < MAX_TRIMMED_PAGES; n++) {
        pages += hti_kv_overflow_pages(write->kv, key.mv_size, value.mv_size);
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    }
    mdb_cursor_close(cursor);
    *left = rc == 0;
    return rc == MDB_NOTFOUND ? 0 : write_result(write, rc, "remove rows", error);
}

int hti_kv_drop(struct hti_kv_write *write, uint64_t database, struct htstore_error *error)
{
    struct hti_kv *kv = write->kv;
    const MDB_dbi dbi = write_handle(write, database);
    int rc;

    close_cursor(write);
    pthread_mutex_lock(&kv->mutex);
    close_gate(kv);
    rc = mdb_drop(write->txn, dbi, 1);
    struct database *entry = find_database(kv, database);
    if (rc == 0 && entry) { /* LMDB has closed the handle, whatever becomes of the transaction */
        entry->number = NO_DATABASE;
        entry->n_pins = 0;
        write->database = NO_DATABASE;
    }
    open_gate(kv);
    pthread_mutex_unlock(&kv->mutex);
    return write_result(write, rc, "delete a database", error);
}

/* While syncs are deferred: have the disk take what has been appended meanwhile. Only a hint. */
static void start_writing(struct hti_kv *kv)
{
    struct stat st;
    int fd;

    if (mdb_env_get_fd(kv->env, &fd) != 0 || fstat(fd, &st) != 0 || (uint64_t)st.st_size < kv->synced_size + HINT_SIZE)
        return;
    (void)sync_file_range(fd, (off_t)kv->synced_size, st.st_size - (off_t)kv->synced_size, SYNC_FILE_RANGE_WRITE);
    kv->synced_size = (uint64_t)st.st_size;
}

int hti_kv_commit(struct hti_kv_write *write, struct htstore_error *error)
{
    int rc;

    close_cursor(write);
    rc = write_result(write, commit_transaction(write->kv, write->txn), "commit", error);
    if (rc == 0 && write->kv->defers)
        start_writing(write->kv);
    hti_mem_free(write);
    return rc;
}

void hti_kv_abort(struct hti_kv_write *write)
{
    if (!write)
        return;
    close_cursor(write);
    mdb_txn_abort(write->txn);
    hti_mem_free(write);
}

int hti_kv_defer_syncs(struct hti_kv *kv, bool defer, struct htstore_error *error)
{
    int rc = mdb_env_set_flags(kv->env, MDB_NOSYNC, defer);

    if (rc == 0 && !defer)
        rc = mdb_env_sync(kv->env, 1);
    kv->synced_size = 0;
    kv->defers = defer && rc == 0;
    if (rc == EIO && is_disk_full(kv))
        rc = ENOSPC;
    return rc ? fail(kv, rc, "sync", error) : 0;
}

bool hti_kv_defers_syncs(const struct hti_kv *kv)
{
    return kv->defers;
}

/* --- reading --- */

static void enter_slow(struct hti_kv *kv, struct hti_kv_read *read)
{
    read->previous = NULL;
    read->next = kv->slow;
    if (kv->slow)
        kv->slow->previous = read;
    kv->slow = read;
    kv->n_slow++;
}

static void leave_slow(struct hti_kv *kv, struct hti_kv_read *read)
{
    if (read->previous)
        read->previous->next = read->next;
    else
        kv->slow = read->next;
    if (read->next)
        read->next->previous = read->previous;
    kv->n_slow--;
}

/* Pass the gate and take a handle from the pool, or a new empty one. */
static struct hti_kv_read *enter_read(struct hti_kv *kv, bool slow)
{
    struct hti_kv_read *read;

    pthread_mutex_lock(&kv->mutex);
    while (kv->gate_closed)
        pthread_cond_wait(&kv->changed, &kv->mutex);
    read = kv->pool;
    if (read) {
        kv->pool = read->next;
        kv->n_pooled--;
    } else {
        read = hti_mem_zalloc(sizeof *read);
    }
    if (read) {
        read->kv = kv;
        read->slow = slow;
        read->failed = false;
        read->id = 0;
        read->database = NO_DATABASE;
        if (slow)
            enter_slow(kv, read);
        else
            kv->n_fast++;
    }
    pthread_mutex_unlock(&kv->mutex);
    return read;
}

static void leave_read(struct hti_kv_read *read)
{
    struct hti_kv *kv = read->kv;

    pthread_mutex_lock(&kv->mutex);
    if (read->slow)
        leave_slow(kv, read);
    else
        kv->n_fast--;
    if (read->txn && kv->n_pooled < POOL_SIZE) {
        read->next = kv->pool;
        kv->pool = read;
        kv->n_pooled++;
        read = NULL;
    }
    pthread_cond_broadcast(&kv->changed);
    pthread_mutex_unlock(&kv->mutex);
    if (read) {
        if (read->txn)
            mdb_txn_abort(read->txn);
        hti_mem_free(read);
    }
}

static int start_read(struct hti_kv_read *read)
{
    if (!read->txn)
        return begin(read->kv, MDB_RDONLY, &read->txn);
    const int rc = mdb_txn_renew(read->txn);
    if (rc != 0) {
        mdb_txn_abort(read->txn);
        read->txn = NULL;
    }
    return rc;
}

int hti_kv_read_begin(struct hti_kv *kv, bool slow, struct hti_kv_read **out, struct htstore_error *error)
{
    int rc = 0;

    *out = NULL;
    for (int attempt = 0; attempt < 3; attempt++) {
        struct hti_kv_read *read = enter_read(kv, slow);
        if (!read)
            return hti_fail(error, HTSTORE_ENOMEM, "no memory for a read transaction");
        rc = start_read(read);
        if (rc == 0) {
            pthread_mutex_lock(&kv->mutex);
            read->id = mdb_txn_id(read->txn);
            pthread_mutex_unlock(&kv->mutex);
            *out = read;
            return 0;
        }
        leave_read(read);
        if (rc != MDB_MAP_RESIZED)
            break;
        /* the owner's file has outgrown our map */
        const int grown = hti_kv_grow(kv, error);
        if (grown != 0)
            return grown;
    }
    return fail(kv, rc, "begin to read", error);
}

void hti_kv_read_end(struct hti_kv_read *read)
{
    if (!read)
        return;
    if (read->failed) {
        mdb_txn_abort(read->txn);
        read->txn = NULL;
    } else {
        mdb_txn_reset(read->txn);
    }
    leave_read(read);
}

uint64_t hti_kv_read_id(const struct hti_kv_read *read)
{
    return read->id;
}

/* What LMDB says of its file. It looks into the map, so the gate must stay open meanwhile. */
static void read_info(struct hti_kv *kv, MDB_envinfo *info)
{
    memset(info, 0, sizeof *info);
    pthread_mutex_lock(&kv->mutex);
    while (kv->gate_closed)
        pthread_cond_wait(&kv->changed, &kv->mutex);
    kv->n_fast++;
    pthread_mutex_unlock(&kv->mutex);
    mdb_env_info(kv->env, info);
    pthread_mutex_lock(&kv->mutex);
    kv->n_fast--;
    pthread_cond_broadcast(&kv->changed);
    pthread_mutex_unlock(&kv->mutex);
}

uint64_t hti_kv_last_id(struct hti_kv *kv)
{
    MDB_envinfo info;
    read_info(kv, &info);
    return info.me_last_txnid;
}

/* 0, 1 = there is no database, HTSTORE_EBUSY = it has no handle: whether it has rows is not known. */
static int read_handle(struct hti_kv_read *read, uint64_t database, struct htstore_error *error)
{
    if (database == 0)
        return 1;
    if (read->database == database)
        return 0;
    if (database == HTI_KV_NAMES) {
        const int rc = mdb_dbi_open(read->txn, NULL, 0, &read->dbi);
        if (rc != 0)
            return fail(read->kv, rc, "read the list of databases", error);
    } else if (find_handle(read->kv, database, &read->dbi) != 0) {
        return fail_full(read->kv, error);
    }
    read->database = database;
    return 0;
}

int hti_kv_read_get(struct hti_kv_read *read, uint64_t database, struct hti_kv_bytes key, struct hti_kv_bytes *value,
                    struct htstore_error *error)
{
    MDB_val k = to_val(key), v;
    int rc = read_handle(read, database, error);

    if (rc != 0)
        return rc;
    rc = mdb_get(read->txn, read->dbi, &k, &v);
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0) {
        read->failed = true;
        return fail(read->kv, rc, "read a row", error);
    }
    *value = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
    return 0;
}

int hti_kv_cursor_open(struct hti_kv_read *read, uint64_t database, struct hti_kv_cursor **out,
                       struct htstore_error *error)
{
    struct hti_kv_cursor *cursor = hti_mem_zalloc(sizeof *cursor);
    int rc;

    *out = NULL;
    if (!cursor)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a cursor");
    cursor->read = read;
    rc = read_handle(read, database, error);
    if (rc == 0) {
        rc = mdb_cursor_open(read->txn, read->dbi, &cursor->cursor);
        rc = rc ? fail(read->kv, rc, "open a cursor", error) : 0;
    }
    if (rc < 0) {
        hti_mem_free(cursor);
        return rc;
    }
    *out = cursor;
    return 0;
}

int hti_kv_cursor_next(struct hti_kv_cursor *cursor, struct hti_kv_bytes *key, struct hti_kv_bytes *value,
                       struct htstore_error *error)
{
    MDB_val k, v;
    int rc;

    if (!cursor->cursor)
        return 1;
    rc = mdb_cursor_get(cursor->cursor, &k, &v, cursor->started ? MDB_NEXT : MDB_FIRST);
    cursor->started = true;
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0) {
        cursor->read->failed = true;
        return fail(cursor->read->kv, rc, "walk a table", error);
    }
    *key = (struct hti_kv_bytes){ k.mv_data, k.mv_size };
    *value = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
    return 0;
}

int hti_kv_cursor_seek(struct hti_kv_cursor *cursor, struct hti_kv_bytes after, struct hti_kv_bytes *key,
                       struct hti_kv_bytes *value, struct htstore_error *error)
{
    MDB_val k = to_val(after), v;
    int rc;

    if (!cursor->cursor)
        return 1;
    rc = mdb_cursor_get(cursor->cursor, &k, &v, MDB_SET_RANGE);
    cursor->started = true;
    if (rc == 0 && k.mv_size == after.size && memcmp(k.mv_data, after.data, after.size) == 0)
        return hti_kv_cursor_next(cursor, key, value, error);
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0) {
        cursor->read->failed = true;
        return fail(cursor->read->kv, rc, "walk a table", error);
    }
    *key = (struct hti_kv_bytes){ k.mv_data, k.mv_size };
    *value = (struct hti_kv_bytes){ v.mv_data, v.mv_size };
    return 0;
}

void hti_kv_cursor_close(struct hti_kv_cursor *cursor)
{
    if (!cursor)
        return;
    if (cursor->cursor)
        mdb_cursor_close(cursor->cursor);
    hti_mem_free(cursor);
}

/* A database is an entry of the main one, which LMDB hands out like any other. */
static int read_tree(struct hti_kv_read *read, uint64_t database, struct hti_kvpage_tree *tree, const void **entry,
                     struct htstore_error *error)
{
    char name[NAME_SIZE];
    MDB_val key, value;
    MDB_dbi main_dbi;
    int rc = mdb_dbi_open(read->txn, NULL, 0, &main_dbi);

    name_of(database, name);
    key = (MDB_val){ strlen(name), name };
    if (rc == 0)
        rc = mdb_get(read->txn, main_dbi, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 1;
    if (rc != 0)
        return fail(read->kv, rc, "find a table", error);
    if (!hti_kvpage_decode_tree(value.mv_data, value.mv_size, tree))
        return hti_fail(error, HTSTORE_ECORRUPT, "%s: the record of a database is damaged", read->kv->path);
    *entry = value.mv_data;
    return 0;
}

int hti_kv_read_tree(struct hti_kv_read *read, uint64_t database, struct hti_kvpage_tree *tree,
                     struct htstore_error *error)
{
    const void *entry;
    return read_tree(read, database, tree, &entry, error);
}

/* No page behind the end of the file may be touched, whatever a page says. */
static uint64_t readable_pages(const struct hti_kv *kv)
{
    mdb_filehandle_t fd;
    MDB_envinfo info;
    struct stat st;

    if (mdb_env_get_fd(kv->env, &fd) != 0 || fstat(fd, &st) != 0 || mdb_env_info(kv->env, &info) != 0)
        return 0;
    const uint64_t in_file = (uint64_t)st.st_size / kv->page_size, in_map = info.me_mapsize / kv->page_size;
    const uint64_t used = (uint64_t)info.me_last_pgno + 1, most = in_file < in_map ? in_file : in_map;
    return used < most ? used : most;
}

int hti_kv_read_search(struct hti_kv_read *read, uint64_t database, struct hti_kvsearch *search,
                       struct htstore_error *error)
{
    struct hti_kvpage_tree tree;
    const void *entry;
    const int rc = read_tree(read, database, &tree, &entry, error);

    if (rc != 0)
        return rc;
    return hti_kvsearch_init(search, entry, read->kv->page_size, readable_pages(read->kv), &tree) ? 0 : 1;
}

/* --- sizes and growth --- */

static int shape_of(struct hti_kv *kv, MDB_txn *txn, MDB_dbi dbi, struct hti_kv_shape *shape,
                    struct htstore_error *error)
{
    MDB_stat stat;
    const int rc = mdb_stat(txn, dbi, &stat);

    if (rc != 0)
        return fail(kv, rc, "measure a table", error);
    shape->n_entries = stat.ms_entries;
    shape->leaf_pages = stat.ms_leaf_pages;
    shape->bytes = (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * (uint64_t)stat.ms_psize;
    return 0;
}

int hti_kv_shape(struct hti_kv_write *write, uint64_t database, struct hti_kv_shape *shape, struct htstore_error *error)
{
    return shape_of(write->kv, write->txn, write_handle(write, database), shape, error);
}

int hti_kv_read_shape(struct hti_kv_read *read, uint64_t database, struct hti_kv_shape *shape,
                      struct htstore_error *error)
{
    memset(shape, 0, sizeof *shape);
    if (read_handle(read, database, NULL) != 0)
        return 0;
    return shape_of(read->kv, read->txn, read->dbi, shape, error);
}

uint64_t hti_kv_overflow_pages(const struct hti_kv *kv, size_t key_size, size_t value_size)
{
    const size_t most_inline = (((kv->page_size - 16) / 2) & ~(size_t)1) - 2; /* lmdb.md: 2038 of a 4096-byte page */

    if (8 + key_size + value_size <= most_inline)
        return 0;
    return (15 + (uint64_t)value_size) / kv->page_size + 1;
}

uint32_t hti_kv_page_size(const struct hti_kv *kv)
{
    return kv->page_size;
}

void hti_kv_check_readers(struct hti_kv *kv)
{
    int n_dead;
    mdb_reader_check(kv->env, &n_dead);
}

bool hti_kv_is_tight(struct hti_kv *kv, uint64_t bytes)
{
    MDB_envinfo info;

    read_info(kv, &info);
    const uint64_t used = ((uint64_t)info.me_last_pgno + 1) * kv->page_size;
    const uint64_t left = info.me_mapsize > used ? info.me_mapsize - used : 0;
    return left < info.me_mapsize / 4 || left < bytes;
}

bool hti_kv_fits(struct hti_kv *kv)
{
    MDB_envinfo info;

    read_info(kv, &info);
    return ((uint64_t)info.me_last_pgno + 1) * kv->page_size <= info.me_mapsize;
}

/* Without this probe a failed remap would leave LMDB with no map at all, and the next call would crash. */
static bool can_map(uint64_t size)
{
    void *p = mmap(NULL, (size_t)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return false;
    munmap(p, (size_t)size);
    return true;
}

static int remap(struct hti_kv *kv, struct htstore_error *error)
{
    MDB_envinfo info;
    const uint64_t old = mdb_env_info(kv->env, &info) == 0 ? info.me_mapsize : 0;
    uint64_t step = old / 2 > MIN_GROWTH ? old / 2 : MIN_GROWTH;
    const uint64_t least = old / 16 > (1u << 20) ? old / 16 : 1u << 20;
    int rc;

    while (step >= least && !can_map(old + step))
        step /= 2;
    if (step < least)
        return hti_fail(error, HTSTORE_ENOMEM, "%s: no address space to grow the map beyond %llu bytes", kv->path,
                        (unsigned long long)old);
    rc = mdb_env_set_mapsize(kv->env, (size_t)((old + step) & ~(uint64_t)0xffff));
    return rc ? fail(kv, rc, "grow the map", error) : 0;
}

int hti_kv_grow(struct hti_kv *kv, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&kv->mutex);
    close_gate(kv);
    if (kv->n_slow > 0)
        rc =
            hti_fail(error, HTSTORE_EBUSY, "%s: the map must grow, which an open cursor or snapshot forbids", kv->path);
    else
        rc = remap(kv, error);
    if (rc == 0)
        kv->n_growths++;
    open_gate(kv);
    pthread_mutex_unlock(&kv->mutex);
    return rc;
}

void hti_kv_stats(struct hti_kv *kv, struct hti_kv_stats *stats)
{
    MDB_envinfo info;
    struct stat st;
    int fd;

    memset(stats, 0, sizeof *stats);
    read_info(kv, &info);
    stats->map_size = info.me_mapsize;
    if (mdb_env_get_fd(kv->env, &fd) == 0 && fstat(fd, &st) == 0)
        stats->data_bytes = (uint64_t)st.st_size;
    stats->oldest_read_id = UINT64_MAX;
    pthread_mutex_lock(&kv->mutex);
    stats->growths = kv->n_growths;
    stats->slow_readers = kv->n_slow;
    for (const struct hti_kv_read *read = kv->slow; read; read = read->next)
        if (read->id && read->id < stats->oldest_read_id)
            stats->oldest_read_id = read->id;
    pthread_mutex_unlock(&kv->mutex);
}

const char *hti_kv_version(void)
{
    return mdb_version(NULL, NULL, NULL); /* "LMDB 0.9.24: (July 24, 2019)" */
}
