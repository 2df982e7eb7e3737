/*
 * htstore.h - libhtstore: a persistent, typed, batched hash table.
 *
 * SPDX-License-Identifier: MIT
 *
 * A tour
 * ------
 *
 * Open a store (a directory), create a table in it, write and read batches:
 *
 *     struct htstore *store;
 *     struct htstore_table *table;
 *     struct htstore_error error;
 *     struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE };
 *     int64_t unknown = -1, ids[2], more[] = { 1, 2 };
 *     struct htstore_bytes words[] = { htstore_string("apple"), htstore_string("pear") };
 *     struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_STRING,
 *         .default_value = htstore_scalar(HTSTORE_INT64, &unknown) };
 *     struct htstore_array keys = htstore_vector(HTSTORE_STRING, words, 2);
 *     struct htstore_array in = htstore_vector(HTSTORE_INT64, more, 2);
 *     struct htstore_array out = htstore_vector(HTSTORE_INT64, ids, 2);
 *
 *     htstore_open("fruit", &options, &store, &error);
 *     htstore_table_get_or_create(store, "words", &schema, &table, &error);
 *     htstore_table_insert(table, &keys, &in, 0, &error);           // durable on return
 *     htstore_table_lookup(table, &keys, NULL, &out, NULL, &error); // ids = { 1, 2 }
 *     htstore_table_close(table, NULL);
 *     htstore_close(store, &error);
 *
 * Several operations on several tables as one atomic step: htstore_batch_new(), add to it, htstore_batch_commit().
 * Walk a table of any size at one instant: htstore_cursor_open(), htstore_cursor_next() until it returns 1.
 * Read a store that another process owns: htstore_open() with HTSTORE_READONLY, and htstore_refresh() for newer states.
 * Name objects for good: htstore_mapping_create(), htstore_mapping_put(); arrays: htstore_variable_create().
 * Save everything as of one instant: htstore_checkpoint_new(), htstore_checkpoint_save(), or a manager that numbers and
 * retains: htstore_manager_open(), htstore_manager_save(), htstore_manager_restore_or_initialize().
 * Make a store of a snapshot: htstore_snapshot_restore(). Is all of it whole? htstore_check().
 *
 * Conventions
 * -----------
 *
 * - A function that returns int gives 0 when done, 1 for a documented "no more / nothing to do", or a negative
 *   `enum htstore_status`. When it fails, handles are set to NULL, outputs are untouched and the store is as before;
 *   exceptions are stated.
 * - The last argument `error` may be NULL. Otherwise it belongs to the caller, and a failing call fills it (code, errno,
 *   position, path, a sentence). Each function below lists the codes that are its own. Not repeated there: HTSTORE_EINVAL
 *   for a NULL or closed handle, for an options struct whose `size` is 0, and for any call on the parent's store in a
 *   forked child (no file is touched).
 * - Arrays are row-major. `S` is the shape of the `keys` argument, `++` joins shapes. Dtype and shape are always
 *   checked, nothing is converted, nothing is broadcast unless stated.
 * - All checks of a call come before its first effect.
 * - Any thread may use any handle at any time, and any number of calls may run at once, unless a function says otherwise.
 *   A handle must not be closed while another thread uses it. Handles do not survive fork().
 * - Callbacks run with no lock of the library held; they must not call into the same store.
 */
#ifndef HTSTORE_H
#define HTSTORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version of this header; configure.ac reads it from here. Semantic versioning. */
#define HTSTORE_VERSION_MAJOR 0
#define HTSTORE_VERSION_MINOR 1
#define HTSTORE_VERSION_PATCH 0
#define HTSTORE_VERSION "0.1.0"

#if defined(__GNUC__) || defined(__clang__)
#define HTSTORE_API __attribute__((visibility("default")))
#else
#define HTSTORE_API
#endif

/* ---------------------------------------------------------------------------------------------------------------- */
/* Limits                                                                                                            */
/* ---------------------------------------------------------------------------------------------------------------- */

#define HTSTORE_MAX_RANK 8 /**< dimensions of a value shape or of `keys` */
#define HTSTORE_MAX_NAME_SIZE 65535 /**< bytes of a name */
#define HTSTORE_MAX_ROW_SIZE (256u << 20) /**< bytes of a row: key plus whole value, encoded */
#define HTSTORE_MAX_BATCH_SIZE (512u << 20) /**< bytes of one batch, encoded; a batch is never split */
#define HTSTORE_MAX_BATCH_ROWS (1u << 28) /**< rows of one writing call or batch */

/* ---------------------------------------------------------------------------------------------------------------- */
/* Status codes and errors                                                                                           */
/* ---------------------------------------------------------------------------------------------------------------- */

/** What functions return. Values are stable; new ones may be added, so treat an unknown negative one as a failure. */
enum htstore_status {
    HTSTORE_OK = 0,
    HTSTORE_EINVAL = -1, /**< an argument that is wrong in itself */
    HTSTORE_ETYPE = -2, /**< wrong dtype; text that is not text */
    HTSTORE_ESHAPE = -3, /**< wrong shape or rank */
    HTSTORE_EEXIST = -4, /**< name or key already used; refused overwrite */
    HTSTORE_ENOTFOUND = -5, /**< no such name, key or file */
    HTSTORE_ECONFLICT = -6, /**< same name, other kind or schema; keys whose stored forms collide */
    HTSTORE_EBUSY = -7, /**< locked by another owner, open handles, a state that will pass */
    HTSTORE_EREFERENCED = -8, /**< drop of an object that a mapping holds */
    HTSTORE_EREADONLY = -9, /**< write to a read-only store */
    HTSTORE_EFORMAT = -10, /**< not our file */
    HTSTORE_EVERSION = -11, /**< a format newer than this library */
    HTSTORE_ECORRUPT = -12, /**< damaged data */
    HTSTORE_EIO = -13, /**< the system reported an I/O error */
    HTSTORE_ENOSPC = -14, /**< no space; nothing was applied, retry later */
    HTSTORE_ENOMEM = -15, /**< no memory, or another limit of the process; retry later */
    HTSTORE_ECANCELED = -16 /**< the caller's callback stopped a long operation */
};

/** Text of one refusal or failure. Owned by the caller, needs no initialisation and no release. */
struct htstore_error {
    int32_t code; /**< the value that was returned */
    int32_t sys_errno; /**< errno of the system call that failed, or 0 */
    int64_t index; /**< flat index of the row at fault, or -1 */
    uint64_t offset; /**< byte offset in `path` where a file is damaged, else 0 */
    char path[256]; /**< file concerned, possibly shortened at the front; empty if none */
    char message[512]; /**< one sentence, UTF-8; bytes of names and keys that are not printable are escaped */
    uint64_t reserved[4]; /**< set to 0 */
};

/**
 * The meaning of a status code, in a few words.
 *
 * @param code  [in] any value
 * @return a static string, never NULL; owned by the library
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API const char *htstore_strerror(int code);

/**
 * The version of the library that runs, as text such as "0.1.0".
 *
 * @return a static string; owned by the library
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API const char *htstore_version(void);

/**
 * The version of the library that runs, as a number: major * 10000 + minor * 100 + patch.
 *
 * @return the number
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API uint32_t htstore_version_number(void);

/**
 * The versions of what the library was built on and of the formats that it writes, for bug reports.
 *
 * @return a static string such as "liblmdb 0.9.24, libzstd 1.5.4, libxxhash 0.8.1; store format 1, journal format 1";
 *         owned by the library
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API const char *htstore_build_info(void);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Dtypes and arrays                                                                                                 */
/* ---------------------------------------------------------------------------------------------------------------- */

/** Element types. Values are stored in files and never change. */
enum htstore_dtype {
    HTSTORE_INT8 = 1,
    HTSTORE_INT16 = 2,
    HTSTORE_INT32 = 3,
    HTSTORE_INT64 = 4,
    HTSTORE_UINT8 = 5,
    HTSTORE_UINT16 = 6,
    HTSTORE_UINT32 = 7,
    HTSTORE_UINT64 = 8,
    HTSTORE_BOOL = 9, /**< one byte, 0 or 1 */
    HTSTORE_FLOAT16 = 10, /**< values only; opaque */
    HTSTORE_BFLOAT16 = 11, /**< values only; opaque */
    HTSTORE_FLOAT32 = 12,
    HTSTORE_FLOAT64 = 13,
    HTSTORE_STRING = 14 /**< elements are struct htstore_bytes */
};

/** One element of dtype string: bytes, not text. `data` may be NULL when `size` is 0. */
struct htstore_bytes {
    const void *data;
    size_t size; /**< bytes */
};

struct htstore_arena;

/**
 * A view of an array: the caller's memory, described. Row-major.
 *
 * As an output its dtype and shape say what the caller's memory holds, and must be what the call yields. For outputs of
 * dtype string `data` is the caller's array of struct htstore_bytes, and the bytes themselves go to `arena`.
 */
struct htstore_array {
    uint32_t dtype; /**< enum htstore_dtype */
    uint32_t rank; /**< 0 (a scalar) to HTSTORE_MAX_RANK */
    int64_t shape[HTSTORE_MAX_RANK]; /**< the first `rank` count, each >= 0 */
    void *data; /**< elements; may be NULL if there are none; inputs are not written */
    struct htstore_arena *arena; /**< outputs of dtype string only; otherwise ignored */
};

/** A view of one scalar. */
static inline struct htstore_array htstore_scalar(uint32_t dtype, const void *data)
{
    struct htstore_array a;
    memset(&a, 0, sizeof a);
    a.dtype = dtype;
    a.data = (void *)(uintptr_t)data;
    return a;
}

/** A view of `n` elements, shape [n]. */
static inline struct htstore_array htstore_vector(uint32_t dtype, const void *data, size_t n)
{
    struct htstore_array a = htstore_scalar(dtype, data);
    a.rank = 1;
    a.shape[0] = (int64_t)n;
    return a;
}

/** A view of `rows` by `columns` elements, shape [rows, columns]. */
static inline struct htstore_array htstore_matrix(uint32_t dtype, const void *data, size_t rows, size_t columns)
{
    struct htstore_array a = htstore_vector(dtype, data, rows);
    a.rank = 2;
    a.shape[1] = (int64_t)columns;
    return a;
}

/** The bytes of a C string, without its NUL. */
static inline struct htstore_bytes htstore_string(const char *text)
{
    struct htstore_bytes b;
    b.data = text;
    b.size = strlen(text);
    return b;
}

/**
 * The name of a dtype, as used in messages: "int64".
 *
 * @param dtype  [in] enum htstore_dtype
 * @return a static string, NULL if there is no such dtype; owned by the library
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API const char *htstore_dtype_name(uint32_t dtype);

/**
 * The dtype of that name.
 *
 * @param name  [in] such as "int64"; NULL is no name
 * @return enum htstore_dtype, or 0 if there is none
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API uint32_t htstore_dtype_from_name(const char *name);

/**
 * The size of one element in the caller's arrays.
 *
 * @param dtype  [in] enum htstore_dtype
 * @return bytes; sizeof (struct htstore_bytes) for string; 0 if there is no such dtype
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API size_t htstore_dtype_size(uint32_t dtype);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Arenas: memory for outputs of unknown size                                                                        */
/* ---------------------------------------------------------------------------------------------------------------- */

/**
 * Make an empty arena. What calls put into it stays valid until it is reset or freed.
 *
 * @param arena  [out] the arena; the caller frees it with htstore_arena_free()
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any. One arena serves one call at a time.
 * @since 0.1
 */
HTSTORE_API int htstore_arena_new(struct htstore_arena **arena, struct htstore_error *error);

/**
 * Forget everything in the arena; its memory is kept for reuse, up to 1 MiB.
 *
 * @param arena  [in] NULL does nothing
 * @par Errors
 * None.
 * @par Threads
 * Not while another call uses it.
 * @since 0.1
 */
HTSTORE_API void htstore_arena_reset(struct htstore_arena *arena);

/**
 * Release the arena and all that is in it.
 *
 * @param arena  [in] NULL does nothing
 * @par Errors
 * None.
 * @par Threads
 * Not while another call uses it.
 * @since 0.1
 */
HTSTORE_API void htstore_arena_free(struct htstore_arena *arena);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Stores                                                                                                            */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore;

/** When an acknowledged batch survives a power cut. A killed process loses nothing in any mode. */
enum htstore_durability {
    HTSTORE_DEFAULT_DURABILITY = 0, /**< what the store was opened with */
    HTSTORE_SYNC = 1, /**< when the call returns; concurrent callers share one sync. The default of a store */
    HTSTORE_INTERVAL = 2, /**< at most `interval_ms` after it returns */
    HTSTORE_LAZY = 3 /**< at the next flush, htstore_sync() or SYNC call: for bulk loads */
};

/** Bits of htstore_options.flags. An unknown bit is HTSTORE_EINVAL. */
#define HTSTORE_CREATE 0x01u /**< create the store if the path does not exist */
#define HTSTORE_EXCLUSIVE 0x02u /**< with CREATE: fail with HTSTORE_EEXIST if it exists */
#define HTSTORE_READONLY 0x04u /**< read beside an owner, or without one; never creates anything */
#define HTSTORE_ALLOW_ANY_FILESYSTEM                                                                                   \
    0x08u /**< also on network and other file systems whose locks or syncs are doubtful */
#define HTSTORE_ALLOW_SHARED_FOLDER 0x10u /**< also a store folder that group or others may write */
#define HTSTORE_NO_PRELOAD                                                                                             \
    0x20u /**< do not load tables into memory when they are opened, keep only rows that are asked for: short visits */

/** Levels of log lines. */
enum htstore_log_level { HTSTORE_LOG_ERROR = 1, HTSTORE_LOG_WARNING = 2, HTSTORE_LOG_INFO = 3 };

/**
 * Receives one log line.
 *
 * @param user     [in] htstore_options.log_user
 * @param level    [in] enum htstore_log_level
 * @param module   [in] part of the library, such as "journal"; valid during the call
 * @param message  [in] one sentence; valid during the call
 */
typedef void (*htstore_log_fn)(void *user, int32_t level, const char *module, const char *message);

/**
 * Told, from the flusher's thread, that an open cursor or reader keeps the file from shrinking or growing.
 *
 * @param user    [in] htstore_options.slow_reader_user
 * @param age_ms  [in] how long the oldest open cursor of this process has been open, ms
 * @param lag     [in] how many committed LMDB transactions its view is behind
 */
typedef void (*htstore_slow_reader_fn)(void *user, uint64_t age_ms, uint64_t lag);

/** How to open a store. Zero in a field means its default. Fields are only ever appended. */
struct htstore_options {
    uint32_t size; /**< sizeof (struct htstore_options) */
    uint32_t flags; /**< HTSTORE_CREATE … */
    uint32_t durability; /**< enum htstore_durability; default HTSTORE_SYNC */
    uint32_t interval_ms; /**< for HTSTORE_INTERVAL, ms, 2 to 3600000; default 100 */
    uint32_t lock_timeout_ms; /**< how long to wait for another owner, ms; default 0: not at all */
    uint32_t max_open_tables; /**< LMDB databases open at once, 8 to 4096; default 128 */
    uint32_t flush_age_ms; /**< flush rows not later than this after they were written, ms; default 5000 */
    uint32_t slow_reader_ms; /**< a cursor open for longer is reported, ms; default 60000 */
    uint64_t map_size; /**< address space reserved for data.mdb, bytes; default 1 TiB. It grows by itself */
    uint64_t cache_bytes; /**< memory for tables held in memory, bytes; default a quarter of physical memory. Tables
                                     that fit are resident; of others the rows asked for lately are kept. Each table
                                     in use gets its share, and what growing tables exceed it by is given back soon
                                     after. Rows not yet flushed (delta_bytes) come on top */
    uint64_t delta_bytes; /**< memory for rows not yet flushed, bytes, >= 64 KiB; default 128 MiB. At half
                                     of it a flush starts, at the whole of it writers wait */
    uint64_t segment_bytes; /**< size of a journal segment, bytes, 64 KiB to 1 GiB; default 64 MiB */
    htstore_log_fn log; /**< NULL: silent */
    void *log_user;
    htstore_slow_reader_fn slow_reader; /**< NULL: none */
    void *slow_reader_user;
};

/**
 * Open a store: recover what a crash left, then be its owner; or, with HTSTORE_READONLY, a reader.
 *
 * One process owns a store at a time. A reader sees a flushed state of the owner, a prefix of its history, and keeps
 * seeing that same state until htstore_refresh(). A directory is opened at most once in a process.
 *
 * With HTSTORE_CREATE the new store is built beside `path` and renamed into place: it exists whole or not at all.
 *
 * @param path     [in]  directory of the store; borrowed for the call
 * @param options  [in]  NULL = all defaults
 * @param store    [out] the store; close it with htstore_close()
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND (no such directory), HTSTORE_EEXIST (exists, with HTSTORE_EXCLUSIVE), HTSTORE_EFORMAT (not
 *         a store, e.g. a file), HTSTORE_EVERSION, HTSTORE_ECORRUPT (path and offset say where), HTSTORE_EBUSY (owned by
 *         another process, which the message names; already open in this one; a reader found a state that only an owner
 *         can finish), HTSTORE_EREADONLY (no permission to write), HTSTORE_EINVAL (option out of range, unsafe folder or
 *         file system), HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_open(const char *path, const struct htstore_options *options, struct htstore **store,
                             struct htstore_error *error);

/**
 * Flush everything to LMDB, release the lock and free the store. NULL does nothing.
 *
 * If the flush fails, the store is closed all the same and nothing acknowledged is lost: the journal keeps it, and the
 * next open replays it. The code then says why.
 *
 * @param store  [in]  the store; not usable afterwards, unless HTSTORE_EBUSY was returned
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EBUSY (handles, batches or cursors are open: nothing was closed), HTSTORE_EIO, HTSTORE_ENOSPC,
 *         HTSTORE_ENOMEM, HTSTORE_ECORRUPT (closed; the last flush failed)
 * @par Threads
 * Not while another thread uses the store.
 * @since 0.1
 */
HTSTORE_API int htstore_close(struct htstore *store, struct htstore_error *error);

/**
 * Make every acknowledged write durable. Does nothing on a read-only store.
 *
 * @param store  [in]  open store
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EIO (the store takes no more writes until it is reopened)
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_sync(struct htstore *store, struct htstore_error *error);

/**
 * Bring every acknowledged write into LMDB, where readers see it; makes it durable too.
 *
 * @param store  [in]  open store
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_ECORRUPT, HTSTORE_EBUSY (the map must grow and
 *         an open cursor forbids it). After HTSTORE_ENOSPC, HTSTORE_ENOMEM and HTSTORE_EBUSY nothing is lost and a later
 *         call may succeed.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_flush(struct htstore *store, struct htstore_error *error);

/**
 * On a read-only store: move to the newest flushed state of the owner. On an owned store: nothing to do.
 *
 * Open cursors keep the state that they were opened with.
 *
 * @param store  [in]  open store
 * @param error  [out] may be NULL
 * @return 0 if a newer state is seen now; 1 if there is none; HTSTORE_EBUSY (the owner is in the middle of a flush and
 *         stayed there for a second, or died there: the old state is kept), HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM
 * @par Threads
 * Any; calls that run meanwhile see the old or the new state.
 * @since 0.1
 */
HTSTORE_API int htstore_refresh(struct htstore *store, struct htstore_error *error);

/** Counters of a store. Fields are only ever appended. */
struct htstore_stats {
    uint32_t size; /**< [in] sizeof (struct htstore_stats) */
    uint32_t readonly; /**< 1 for a reader */
    uint8_t store_id[16]; /**< random, given at creation */
    uint64_t visible_lsn; /**< last batch that lookups see; LSNs count batches from 1 */
    uint64_t durable_lsn; /**< last batch known to be on disk */
    uint64_t applied_lsn; /**< last batch that LMDB holds */
    uint64_t n_tables; /**< tables in the catalogue, anonymous ones included */
    uint64_t n_rows; /**< rows of all tables */
    uint64_t lookup_hits; /**< keys looked up and found, since open */
    uint64_t lookup_misses; /**< keys looked up and absent, since open */
    uint64_t batches; /**< batches written since open */
    uint64_t syncs; /**< journal syncs since open */
    uint64_t flushes; /**< completed flushes since open */
    uint64_t flush_transactions; /**< LMDB transactions that they took */
    uint64_t map_growths; /**< times the map grew since open */
    uint64_t replayed_records; /**< journal records replayed by the open */
    uint64_t delta_bytes; /**< memory of rows not yet flushed */
    uint64_t delta_rows; /**< rows not yet flushed, overwritten ones included */
    uint64_t cache_bytes; /**< memory of tables held in memory */
    uint64_t journal_bytes; /**< size of the journal's files */
    uint64_t data_bytes; /**< size of data.mdb */
    uint64_t map_size; /**< address space reserved for it */
    uint64_t open_handles; /**< open tables, batches and cursors */
    uint64_t owner_pid; /**< process that owns the store now; 0: none */
    uint64_t unreplayed; /**< readers: 1 if the owner died and the journal may hold more; the next owner replays it */
    uint64_t lookup_reads; /**< keys looked up that memory did not know: LMDB was asked */
    uint64_t resident_tables; /**< tables whose rows are all in memory */
    uint64_t warming_tables; /**< tables that are being loaded in the background */
    uint64_t bounded_tables; /**< tables of which some rows are in memory */
};

/**
 * Read the counters of a store.
 *
 * @param store  [in]  open store
 * @param stats  [in,out] caller's; `size` set by the caller, at most that many bytes are written
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EIO, HTSTORE_EINVAL
 * @par Threads
 * Any number at once. The values are read one after the other, except that visible >= durable, visible >= applied holds.
 * @since 0.1
 */
HTSTORE_API int htstore_stats(struct htstore *store, struct htstore_stats *stats, struct htstore_error *error);

/** Kinds of objects. Values are stored in files. */
enum htstore_kind { HTSTORE_KIND_TABLE = 1, HTSTORE_KIND_VARIABLE = 2, HTSTORE_KIND_MAPPING = 3 };

/** Bits of the flags of schemas and listed objects. Each schema says which it takes; another is HTSTORE_EINVAL. */
#define HTSTORE_NO_CHECKPOINT 0x01u /**< tables: checkpoints hold only the schema of this table */
#define HTSTORE_ANONYMOUS 0x02u /**< no name; lives as long as an open handle or a named object reaches it */
#define HTSTORE_LAYER 0x04u /**< mappings: a layer */
#define HTSTORE_NOT_TRAINABLE 0x08u /**< variables, mappings: not trainable */

/** What is told of one object. Memory of names belongs to the arena. Fields are only ever appended. */
struct htstore_object {
    uint64_t id; /**< never reused in its store */
    const char *name; /**< NULL for an anonymous object */
    uint32_t kind; /**< enum htstore_kind */
    uint32_t flags; /**< HTSTORE_NO_CHECKPOINT, HTSTORE_ANONYMOUS, HTSTORE_LAYER, HTSTORE_NOT_TRAINABLE */
    uint32_t key_dtype; /**< tables */
    uint32_t value_dtype; /**< tables, variables */
    uint32_t value_rank; /**< tables, variables */
    uint32_t role; /**< variables: enum htstore_role */
    int64_t value_shape[HTSTORE_MAX_RANK]; /**< tables, variables */
    uint64_t n_rows; /**< exact at the instant of the call; tables: rows; variables: elements; mappings: entries */
    uint64_t stored_bytes; /**< tables, variables: bytes of its pages in data.mdb, as of the last flush */
};

/**
 * List the named objects of the store, in ascending order of the bytes of their names.
 *
 * @param store    [in]  open store
 * @param arena    [in]  holds the result until it is reset or freed
 * @param objects  [out] array of n objects; memory of the arena
 * @param n        [out] their number
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ENOMEM, HTSTORE_EIO, HTSTORE_ECORRUPT
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_list(struct htstore *store, struct htstore_arena *arena, const struct htstore_object **objects,
                             uint64_t *n, struct htstore_error *error);

/**
 * Tell about one object, named or not.
 *
 * @param store   [in]  open store
 * @param id      [in]  its number
 * @param arena   [in]  holds the name until it is reset or freed
 * @param object  [out] caller's
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND (there is no object of that number), otherwise as htstore_list()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_describe(struct htstore *store, uint64_t id, struct htstore_arena *arena,
                                 struct htstore_object *object, struct htstore_error *error);

/**
 * Open an object by its number, whatever its kind.
 *
 * @param store   [in]  open store
 * @param id      [in]  its number, as htstore_list(), htstore_mapping_items() and htstore_mapping_walk() tell it
 * @param kind    [out] enum htstore_kind: what the handle is; may be NULL
 * @param object  [out] a struct htstore_table, htstore_variable or htstore_mapping; close it with htstore_object_close()
 *                      or with the function of its kind
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, otherwise as htstore_table_open()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_object_open(struct htstore *store, uint64_t id, uint32_t *kind, void **object,
                                    struct htstore_error *error);

/**
 * The number of the object behind a handle of any kind, never reused in its store: equal for two handles exactly if they
 * are handles of one object. Serves as a hash.
 *
 * @param object  [in] open table, variable or mapping
 * @return the number, >= 1; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint64_t htstore_object_id(const void *object);

/**
 * The kind of the object behind a handle.
 *
 * @param object  [in] open table, variable or mapping
 * @return enum htstore_kind; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint32_t htstore_object_kind(const void *object);

/**
 * Close a handle of any kind. NULL does nothing.
 *
 * @param object  [in] open table, variable or mapping; not usable afterwards, unless HTSTORE_EBUSY was returned
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_EBUSY, as htstore_table_close()
 * @par Threads
 * Not while another thread uses the handle.
 * @since 0.1
 */
HTSTORE_API int htstore_object_close(void *object, struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Tables                                                                                                            */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore_table;

/** What a table is. Given at creation, kept in the store, never changed. */
struct htstore_schema {
    uint32_t size; /**< sizeof (struct htstore_schema) */
    uint32_t flags; /**< HTSTORE_NO_CHECKPOINT, HTSTORE_ANONYMOUS */
    uint32_t key_dtype; /**< any dtype but float16 and bfloat16 */
    uint32_t reserved; /**< 0 */
    uint32_t value_dtype; /**< must equal default_value.dtype; 0 = that one */
    uint32_t reserved2; /**< 0 */
    struct htstore_array default_value; /**< its shape is the value shape; required: `dtype` 0 is HTSTORE_EINVAL */
};

/**
 * Create a table. Durable on return, in every mode.
 *
 * @param store   [in]  owned store
 * @param name    [in]  UTF-8 text, 1 to HTSTORE_MAX_NAME_SIZE bytes; NULL exactly with HTSTORE_ANONYMOUS
 * @param schema  [in]  borrowed for the call
 * @param table   [out] handle; close it with htstore_table_close()
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_EEXIST (the name is used, whatever the schema), HTSTORE_EINVAL (name or flags, no default value, unknown
 *         dtype, a row too large), HTSTORE_ETYPE (name is not UTF-8; impossible key dtype; default of another dtype), HTSTORE_ESHAPE
 *         (shape of the default value), HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_create(struct htstore *store, const char *name, const struct htstore_schema *schema,
                                     struct htstore_table **table, struct htstore_error *error);

/**
 * Open an existing table. All handles of one table show the same contents.
 *
 * @param store     [in]  open store
 * @param name      [in]  UTF-8 text
 * @param expected  [in]  NULL, or the schema that the table must have
 * @param table     [out] handle; close it with htstore_table_close()
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_ECONFLICT (another kind or schema; the message names both), HTSTORE_EINVAL,
 *         HTSTORE_ETYPE, HTSTORE_ESHAPE (name or expected schema), HTSTORE_ECORRUPT (its rows are damaged), HTSTORE_EIO,
 *         HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_open(struct htstore *store, const char *name, const struct htstore_schema *expected,
                                   struct htstore_table **table, struct htstore_error *error);

/**
 * Open the table of that name and schema, or create it. Concurrent calls create one table.
 *
 * @param store   [in]  owned store; on a read-only one only opening succeeds
 * @param name    [in]  as in htstore_table_create()
 * @param schema  [in]  borrowed for the call
 * @param table   [out] handle; close it with htstore_table_close()
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_ECONFLICT (exists with another kind or schema; the message names both), otherwise as
 *         htstore_table_create() and htstore_table_open()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_get_or_create(struct htstore *store, const char *name,
                                            const struct htstore_schema *schema, struct htstore_table **table,
                                            struct htstore_error *error);

/**
 * Remove a named table with its contents. Durable on return.
 *
 * @param store  [in]  owned store
 * @param name   [in]  its name
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_EBUSY (a handle or cursor of it is open), HTSTORE_EREFERENCED (a mapping holds it),
 *         HTSTORE_EREADONLY, HTSTORE_EINVAL, HTSTORE_ETYPE (name), HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_drop(struct htstore *store, const char *name, struct htstore_error *error);

/**
 * Close a handle. NULL does nothing. The last handle of an anonymous table deletes it.
 *
 * @param table  [in]  the handle; not usable afterwards, unless HTSTORE_EBUSY was returned
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EBUSY (a cursor of this handle is open, or a batch holds operations on it)
 * @par Threads
 * Not while another thread uses the handle.
 * @since 0.1
 */
HTSTORE_API int htstore_table_close(struct htstore_table *table, struct htstore_error *error);

/**
 * The name of a table.
 *
 * @param table  [in] open table
 * @return NUL-terminated, valid while the handle is open; NULL for an anonymous table, or a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API const char *htstore_table_name(const struct htstore_table *table);

/**
 * The number of a table, never reused in its store; equal for all handles of one table.
 *
 * @param table  [in] open table
 * @return the number, >= 1; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint64_t htstore_table_id(const struct htstore_table *table);

/**
 * The dtype of its keys.
 *
 * @param table  [in] open table
 * @return enum htstore_dtype; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint32_t htstore_table_key_dtype(const struct htstore_table *table);

/**
 * The dtype of its values.
 *
 * @param table  [in] open table
 * @return enum htstore_dtype; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint32_t htstore_table_value_dtype(const struct htstore_table *table);

/**
 * The whole schema of a table.
 *
 * @param table   [in]  open table
 * @param schema  [in,out] caller's; `size` set by the caller. default_value.data belongs to the table and is valid while
 *                      the handle is open
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_EINVAL
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_schema(const struct htstore_table *table, struct htstore_schema *schema,
                                     struct htstore_error *error);

/** Bits of `flags` of writing calls, beside one enum htstore_durability. */
#define HTSTORE_ALL_OR_NOTHING 0x10u /**< insert_new: refuse the whole batch if one key is present or occurs twice */

/**
 * Insert or replace rows. Of equal keys in one batch the last wins.
 *
 * @param table   [in]  open table of an owned store
 * @param keys    [in]  any shape S, dtype htstore_table_key_dtype()
 * @param values  [in]  shape S ++ value shape
 * @param flags   [in]  0 or an enum htstore_durability for this call
 * @param error   [out] may be NULL; `index` is the row at fault
 * @return 0, or HTSTORE_EREADONLY, HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_EINVAL (NaN key, bool that is neither 0 nor 1, row or
 *         batch too large, unknown flag), HTSTORE_ECONFLICT (a key above 490 bytes collides with another in its stored
 *         form), HTSTORE_ENOSPC, HTSTORE_ENOMEM (nothing applied, retry later), HTSTORE_EIO (this and every later write,
 *         until reopened), HTSTORE_ECORRUPT
 * @par Threads
 * Any number at once; writers take turns and may wait for a flush.
 * @since 0.1
 */
HTSTORE_API int htstore_table_insert(struct htstore_table *table, const struct htstore_array *keys,
                                     const struct htstore_array *values, uint32_t flags, struct htstore_error *error);

/**
 * Insert the rows whose keys are absent; never overwrite. Of equal keys in one batch the first wins.
 *
 * @param table     [in]  open table of an owned store
 * @param keys      [in]  any shape S, dtype htstore_table_key_dtype()
 * @param values    [in]  shape S ++ value shape
 * @param inserted  [out] S flattened, 1 where the row was inserted, else 0; may be NULL
 * @param flags     [in]  0 or an enum htstore_durability, and HTSTORE_ALL_OR_NOTHING
 * @param error     [out] may be NULL; with HTSTORE_EEXIST `index` is the first row refused
 * @return 0, even if no row was new; or HTSTORE_EEXIST (HTSTORE_ALL_OR_NOTHING only: nothing was inserted), otherwise as
 *         htstore_table_insert()
 * @par Threads
 * As htstore_table_insert(). Of two threads with the same absent key one inserts.
 * @since 0.1
 */
HTSTORE_API int htstore_table_insert_new(struct htstore_table *table, const struct htstore_array *keys,
                                         const struct htstore_array *values, uint8_t *inserted, uint32_t flags,
                                         struct htstore_error *error);

/**
 * Look up rows, and insert those that are absent with their candidate values, in one atomic step.
 *
 * Of equal absent keys in one batch the first inserts, the later ones find it.
 *
 * @param table       [in]  open table of an owned store
 * @param keys        [in]  any shape S, dtype htstore_table_key_dtype()
 * @param candidates  [in]  NULL (the default value), or shape value shape (one for all), or S ++ value shape
 * @param values      [out] shape S ++ value shape; caller's memory. String bytes go to values->arena
 * @param found       [out] S flattened, 1 where the key was present; may be NULL
 * @param flags       [in]  0 or an enum htstore_durability for this call
 * @param error       [out] may be NULL
 * @return 0, or as htstore_table_insert(). Outputs are written only on success
 * @par Threads
 * As htstore_table_insert().
 * @since 0.1
 */
HTSTORE_API int htstore_table_find_or_insert(struct htstore_table *table, const struct htstore_array *keys,
                                             const struct htstore_array *candidates, struct htstore_array *values,
                                             uint8_t *found, uint32_t flags, struct htstore_error *error);

/**
 * Look up a batch of keys. Never inserts.
 *
 * Rows of `values` whose key is absent get the default row. All rows come from one committed state.
 *
 * @param table     [in]  open table
 * @param keys      [in]  any shape S, dtype htstore_table_key_dtype()
 * @param defaults  [in]  NULL (the table's), or shape value shape (one for all), or S ++ value shape (row i for key i)
 * @param values    [out] shape S ++ value shape; caller's memory. String bytes go to values->arena
 * @param found     [out] S flattened, 1 where present, else 0; may be NULL
 * @param error     [out] may be NULL; `index` is the row at fault
 * @return 0, or HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_EINVAL (NaN key, bool that is neither 0 nor 1), HTSTORE_ECORRUPT (a row in
 *         data.mdb is damaged), HTSTORE_EIO, HTSTORE_ENOMEM. Outputs are written only on success, but with
 *         HTSTORE_ECORRUPT, HTSTORE_EIO and HTSTORE_ENOMEM their contents are undefined
 * @par Threads
 * Any number at once. Never waits for the disk work of a writer.
 * @since 0.1
 */
HTSTORE_API int htstore_table_lookup(struct htstore_table *table, const struct htstore_array *keys,
                                     const struct htstore_array *defaults, struct htstore_array *values, uint8_t *found,
                                     struct htstore_error *error);

/**
 * Remove keys; absent ones are ignored.
 *
 * @param table    [in]  open table of an owned store
 * @param keys     [in]  any shape S, dtype htstore_table_key_dtype()
 * @param removed  [out] S flattened, 1 at the first occurrence of a key that was present, else 0; may be NULL
 * @param flags    [in]  0 or an enum htstore_durability for this call
 * @param error    [out] may be NULL
 * @return 0, or as htstore_table_insert()
 * @par Threads
 * As htstore_table_insert().
 * @since 0.1
 */
HTSTORE_API int htstore_table_remove(struct htstore_table *table, const struct htstore_array *keys, uint8_t *removed,
                                     uint32_t flags, struct htstore_error *error);

/**
 * Remove all rows, in one step.
 *
 * @param table  [in]  open table of an owned store
 * @param flags  [in]  0 or an enum htstore_durability for this call
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EREADONLY, HTSTORE_EINVAL, HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_EIO
 * @par Threads
 * As htstore_table_insert().
 * @since 0.1
 */
HTSTORE_API int htstore_table_clear(struct htstore_table *table, uint32_t flags, struct htstore_error *error);

/**
 * Wait until a table has been loaded into memory. A large table is loaded in the background from its first handle on, and
 * can be used meanwhile: what memory does not know yet is read from the file.
 *
 * @param table  [in]  open table
 * @param error  [out] may be NULL
 * @return 0: all rows are in memory; 1: they are not, and will not be (more than the budget allows, HTSTORE_NO_PRELOAD, or the store is
 *         read-only); HTSTORE_ECORRUPT: loading has shown that rows were lost or altered; lookups say so too, and the store
 *         takes no more writes
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_warm(struct htstore_table *table, struct htstore_error *error);

/**
 * The exact number of distinct keys at one instant. After an open that has replayed a journal, the first call may flush.
 *
 * @param table  [in]  open table
 * @param size   [out] rows
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_ECORRUPT, HTSTORE_EIO (read-only stores); as htstore_flush() if it had to
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_size(struct htstore_table *table, uint64_t *size, struct htstore_error *error);

/**
 * Replace the whole contents by the given rows, in one step. Of equal keys the last wins. No rows: as clear.
 *
 * @param table   [in]  open table of an owned store
 * @param keys    [in]  any shape S, dtype htstore_table_key_dtype()
 * @param values  [in]  shape S ++ value shape
 * @param flags   [in]  0 or an enum htstore_durability for this call
 * @param error   [out] may be NULL
 * @return 0, or as htstore_table_insert(); after any error the old contents stay
 * @par Threads
 * As htstore_table_insert().
 * @since 0.1
 */
HTSTORE_API int htstore_table_import(struct htstore_table *table, const struct htstore_array *keys,
                                     const struct htstore_array *values, uint32_t flags, struct htstore_error *error);

/**
 * Copy the whole table, as of one instant, into an arena.
 *
 * @param table   [in]  open table
 * @param arena   [in]  holds the result until it is reset or freed
 * @param keys    [out] set by the call: dtype, shape [n], data in the arena. Ascending order of keys
 * @param values  [out] set by the call: dtype, shape [n] ++ value shape, data in the arena; NULL: keys only
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_ENOMEM (more than memory can hold), HTSTORE_ESHAPE (values of rank 8: only their keys can be
 *         exported), otherwise as htstore_cursor_open() and htstore_cursor_next()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_table_export(struct htstore_table *table, struct htstore_arena *arena,
                                     struct htstore_array *keys, struct htstore_array *values,
                                     struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Cursors: walk a table of any size at one instant                                                                  */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore_cursor;

/**
 * Fix an instant of a table, to walk it. Flushes the store first.
 *
 * An open cursor sees nothing of later writes, and keeps the pages of its instant from being reused: close it soon.
 *
 * @param table   [in]  open table; must stay open while the cursor is
 * @param cursor  [out] the cursor; close it with htstore_cursor_close()
 * @param error   [out] may be NULL
 * @return 0, or as htstore_flush() and HTSTORE_EBUSY (too many cursors)
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_cursor_open(struct htstore_table *table, struct htstore_cursor **cursor,
                                    struct htstore_error *error);

/**
 * The number of rows that the cursor walks in all.
 *
 * @param cursor  [in] open cursor
 * @return rows; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint64_t htstore_cursor_count(const struct htstore_cursor *cursor);

/**
 * The next rows, in ascending order of keys.
 *
 * @param cursor    [in]  open cursor
 * @param max_rows  [in]  at most so many rows, >= 1; a block may be smaller
 * @param arena     [in]  holds the block until it is reset or freed
 * @param keys      [out] set by the call: dtype, shape [n], data in the arena
 * @param values    [out] set by the call: dtype, shape [n] ++ value shape, data in the arena; NULL: keys only
 * @param error     [out] may be NULL
 * @return 0 and n >= 1 rows; 1 when there are no more (keys and values then have 0 rows); HTSTORE_ESHAPE (values of rank 8:
 *         only their keys can be walked); HTSTORE_ECORRUPT (a damaged row, or fewer or more rows than the table had),
 *         HTSTORE_EIO, HTSTORE_ENOMEM: the walk has failed, and later calls say the same
 * @par Threads
 * One call at a time.
 * @since 0.1
 */
HTSTORE_API int htstore_cursor_next(struct htstore_cursor *cursor, uint64_t max_rows, struct htstore_arena *arena,
                                    struct htstore_array *keys, struct htstore_array *values,
                                    struct htstore_error *error);

/**
 * Close a cursor. NULL does nothing.
 *
 * @param cursor  [in] the cursor; not usable afterwards
 * @par Errors
 * None; in a forked child it does nothing.
 * @par Threads
 * Not while another thread uses it.
 * @since 0.1
 */
HTSTORE_API void htstore_cursor_close(struct htstore_cursor *cursor);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Batches: several operations on several tables as one atomic, durable step                                        */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore_batch;

/**
 * Make an empty batch. Operations added to it are checked and copied at once, and applied in order by
 * htstore_batch_commit().
 *
 * @param store  [in]  owned store
 * @param batch  [out] the batch; free it with htstore_batch_free()
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_EREADONLY, HTSTORE_ENOMEM
 * @par Threads
 * Any. One batch serves one thread at a time.
 * @since 0.1
 */
HTSTORE_API int htstore_batch_new(struct htstore *store, struct htstore_batch **batch, struct htstore_error *error);

/**
 * Add an insert (upsert) to the batch.
 *
 * @param batch   [in]  open batch
 * @param table   [in]  open table of the same store; must stay open until the batch is committed, reset or freed
 * @param keys    [in]  as in htstore_table_insert(); copied
 * @param values  [in]  as in htstore_table_insert(); copied
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_EINVAL (also: table of another store, batch too large), HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_EREADONLY,
 *         HTSTORE_EIO, HTSTORE_ENOMEM; the batch is then as before
 * @par Threads
 * One call at a time for a batch.
 * @since 0.1
 */
HTSTORE_API int htstore_batch_insert(struct htstore_batch *batch, struct htstore_table *table,
                                     const struct htstore_array *keys, const struct htstore_array *values,
                                     struct htstore_error *error);

/**
 * Add a put-no-overwrite to the batch: if one of these keys is present when its turn comes, or occurs twice in this
 * call, htstore_batch_commit() refuses the whole batch.
 *
 * @param batch   [in]  open batch
 * @param table   [in]  as in htstore_batch_insert()
 * @param keys    [in]  as in htstore_table_insert(); copied
 * @param values  [in]  as in htstore_table_insert(); copied
 * @param error   [out] may be NULL
 * @return 0, or as htstore_batch_insert()
 * @par Threads
 * One call at a time for a batch.
 * @since 0.1
 */
HTSTORE_API int htstore_batch_insert_new(struct htstore_batch *batch, struct htstore_table *table,
                                         const struct htstore_array *keys, const struct htstore_array *values,
                                         struct htstore_error *error);

/**
 * Add a removal to the batch.
 *
 * @param batch  [in]  open batch
 * @param table  [in]  as in htstore_batch_insert()
 * @param keys   [in]  as in htstore_table_remove(); copied
 * @param error  [out] may be NULL
 * @return 0, or as htstore_batch_insert()
 * @par Threads
 * One call at a time for a batch.
 * @since 0.1
 */
HTSTORE_API int htstore_batch_remove(struct htstore_batch *batch, struct htstore_table *table,
                                     const struct htstore_array *keys, struct htstore_error *error);

/**
 * Add the removal of all rows of a table to the batch.
 *
 * @param batch  [in]  open batch
 * @param table  [in]  as in htstore_batch_insert()
 * @param error  [out] may be NULL
 * @return 0, or as htstore_batch_insert()
 * @par Threads
 * One call at a time for a batch.
 * @since 0.1
 */
HTSTORE_API int htstore_batch_clear(struct htstore_batch *batch, struct htstore_table *table,
                                    struct htstore_error *error);

/**
 * Apply all operations of the batch, in the order they were added, as one atomic step: visible, durable and recovered
 * entirely or not at all. The batch is empty afterwards if this succeeds, and unchanged if it fails.
 *
 * @param batch  [in]  open batch; committing an empty one does nothing
 * @param flags  [in]  0 or an enum htstore_durability for this call
 * @param error  [out] may be NULL; with HTSTORE_EEXIST `index` counts the rows of the refused operation
 * @return 0, or HTSTORE_EEXIST (htstore_batch_insert_new() met a present key), otherwise as htstore_table_insert()
 * @par Threads
 * One call at a time for a batch.
 * @since 0.1
 */
HTSTORE_API int htstore_batch_commit(struct htstore_batch *batch, uint32_t flags, struct htstore_error *error);

/**
 * Forget all operations of the batch.
 *
 * @param batch  [in] NULL does nothing
 * @par Errors
 * None.
 * @par Threads
 * One call at a time for a batch.
 * @since 0.1
 */
HTSTORE_API void htstore_batch_reset(struct htstore_batch *batch);

/**
 * Free a batch with what is in it.
 *
 * @param batch  [in] NULL does nothing; not usable afterwards
 * @par Errors
 * None; in a forked child it does nothing.
 * @par Threads
 * Not while another thread uses it.
 * @since 0.1
 */
HTSTORE_API void htstore_batch_free(struct htstore_batch *batch);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Variables: named arrays                                                                                           */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore_variable;

/** What a variable is to the mapping that holds it. Values are stored in files. */
enum htstore_role { HTSTORE_WEIGHT = 1, HTSTORE_LOSS = 2, HTSTORE_UPDATE = 3 };

/** What a variable is. Given at creation, kept in the store; all but the value never changes. */
struct htstore_variable_schema {
    uint32_t size; /**< sizeof (struct htstore_variable_schema) */
    uint32_t flags; /**< HTSTORE_ANONYMOUS, HTSTORE_NOT_TRAINABLE */
    uint32_t role; /**< enum htstore_role; 0 = HTSTORE_WEIGHT */
    uint32_t reserved; /**< 0 */
    struct htstore_array initial_value; /**< its dtype and shape are the variable's; required */
};

/**
 * Create a variable. Durable on return, in every mode.
 *
 * @param store     [in]  owned store
 * @param name      [in]  UTF-8 text, 1 to HTSTORE_MAX_NAME_SIZE bytes; NULL exactly with HTSTORE_ANONYMOUS
 * @param schema    [in]  borrowed for the call
 * @param variable  [out] handle; close it with htstore_variable_close()
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_EEXIST (the name is used, whatever for), HTSTORE_EINVAL (name, flags or role, no initial value, a
 *         string element above HTSTORE_MAX_ROW_SIZE), HTSTORE_ETYPE (name is not UTF-8), HTSTORE_ESHAPE, HTSTORE_EREADONLY,
 *         HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_create(struct htstore *store, const char *name,
                                        const struct htstore_variable_schema *schema,
                                        struct htstore_variable **variable, struct htstore_error *error);

/**
 * Open an existing variable.
 *
 * @param store     [in]  open store
 * @param name      [in]  UTF-8 text
 * @param expected  [in]  NULL, or the schema that the variable must have; elements of its initial value do not count
 * @param variable  [out] handle; close it with htstore_variable_close()
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_ECONFLICT (another kind, dtype, shape, role or trainable flag), HTSTORE_EINVAL,
 *         HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_open(struct htstore *store, const char *name,
                                      const struct htstore_variable_schema *expected,
                                      struct htstore_variable **variable, struct htstore_error *error);

/**
 * Open the variable of that name and schema, with the value that it has, or create it. Concurrent calls create one.
 *
 * @param store     [in]  owned store; on a read-only one only opening succeeds
 * @param name      [in]  as in htstore_variable_create()
 * @param schema    [in]  borrowed for the call
 * @param variable  [out] handle; close it with htstore_variable_close()
 * @param error     [out] may be NULL
 * @return 0, or as htstore_variable_create() and htstore_variable_open()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_get_or_create(struct htstore *store, const char *name,
                                               const struct htstore_variable_schema *schema,
                                               struct htstore_variable **variable, struct htstore_error *error);

/**
 * Remove a named variable. Durable on return.
 *
 * @param store  [in]  owned store
 * @param name   [in]  its name
 * @param error  [out] may be NULL
 * @return 0, or as htstore_table_drop()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_drop(struct htstore *store, const char *name, struct htstore_error *error);

/**
 * Close a handle. NULL does nothing.
 *
 * @param variable  [in] the handle; not usable afterwards, unless HTSTORE_EBUSY was returned
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_EBUSY (a checkpoint object still uses the handle)
 * @par Threads
 * Not while another thread uses the handle.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_close(struct htstore_variable *variable, struct htstore_error *error);

/**
 * The name of a variable.
 *
 * @param variable  [in] open variable
 * @return NUL-terminated, valid while the handle is open; NULL for an anonymous variable, or a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API const char *htstore_variable_name(const struct htstore_variable *variable);

/**
 * The whole schema of a variable.
 *
 * @param variable  [in]  open variable
 * @param schema    [in,out] caller's; `size` set by the caller. initial_value has dtype and shape, its data is NULL
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_EINVAL
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_schema(const struct htstore_variable *variable, struct htstore_variable_schema *schema,
                                        struct htstore_error *error);

/**
 * Replace the whole value. Atomic, and durable on return, in every mode.
 *
 * @param variable  [in]  open variable of an owned store
 * @param value     [in]  dtype and shape of the variable
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_EINVAL (a bool that is neither 0 nor 1, a string too large),
 *         HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_EBUSY (the map must grow and an open
 *         cursor forbids it): the old value stays
 * @par Threads
 * Any number at once; structural changes take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_assign(struct htstore_variable *variable, const struct htstore_array *value,
                                        struct htstore_error *error);

/**
 * Replace some of the value: the sub-arrays `begin` to `begin` + n - 1 along the first dimension. Otherwise as
 * htstore_variable_assign().
 *
 * @param variable  [in]  open variable of an owned store, of rank >= 1
 * @param begin     [in]  index along the first dimension
 * @param value     [in]  dtype of the variable, shape [n] ++ the variable's other dimensions
 * @param error     [out] may be NULL
 * @return 0, or as htstore_variable_assign(); HTSTORE_ESHAPE also if begin + n exceeds the first dimension
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_assign_slice(struct htstore_variable *variable, int64_t begin,
                                              const struct htstore_array *value, struct htstore_error *error);

/**
 * Copy the value, as of one instant.
 *
 * @param variable  [in]  open variable
 * @param value     [out] dtype and shape of the variable; caller's memory. String bytes go to value->arena
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_ECORRUPT (its rows are damaged), HTSTORE_EIO, HTSTORE_ENOMEM. After the
 *         last three the contents of `value` are undefined
 * @par Threads
 * Any number at once. Never waits for the disk work of a writer.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_read(struct htstore_variable *variable, struct htstore_array *value,
                                      struct htstore_error *error);

/**
 * Copy some of the value: sub-arrays along the first dimension, as in htstore_variable_assign_slice(). Reads only the rows
 * that hold them.
 *
 * @param variable  [in]  open variable, of rank >= 1
 * @param begin     [in]  index along the first dimension
 * @param value     [out] dtype of the variable, shape [n] ++ the variable's other dimensions; caller's memory
 * @param error     [out] may be NULL
 * @return 0, or as htstore_variable_read()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_variable_read_slice(struct htstore_variable *variable, int64_t begin,
                                            struct htstore_array *value, struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Mappings: append-only, text -> table, variable or mapping                                                         */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore_mapping;

/** What a mapping is. */
struct htstore_mapping_schema {
    uint32_t size; /**< sizeof (struct htstore_mapping_schema) */
    uint32_t flags; /**< HTSTORE_ANONYMOUS, HTSTORE_LAYER; HTSTORE_NOT_TRAINABLE: as it begins, not compared */
};

/** A key and an object, to be added to a mapping. */
struct htstore_entry {
    struct htstore_bytes key; /**< UTF-8 text without NUL, at most HTSTORE_MAX_NAME_SIZE bytes, may be empty */
    const void *object; /**< open table, variable or mapping of the same store; borrowed */
};

/** An entry of a mapping, as it is listed. */
struct htstore_item {
    struct htstore_bytes key; /**< memory of the arena, followed by a NUL */
    uint64_t id; /**< number of the object */
    uint32_t kind; /**< enum htstore_kind */
    uint32_t reserved; /**< 0 */
};

/**
 * Create a mapping with its first entries, in one durable transaction: all of it, or nothing.
 *
 * @param store    [in]  owned store
 * @param name     [in]  UTF-8 text, 1 to HTSTORE_MAX_NAME_SIZE bytes; NULL exactly with HTSTORE_ANONYMOUS
 * @param schema   [in]  NULL = no flags
 * @param entries  [in]  n entries, in this order; rules as in htstore_mapping_update()
 * @param n        [in]  may be 0
 * @param mapping  [out] handle; close it with htstore_mapping_close()
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_EEXIST (the name is used; a key twice with two objects), HTSTORE_EINVAL, HTSTORE_ETYPE, HTSTORE_EREADONLY,
 *         HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_create(struct htstore *store, const char *name,
                                       const struct htstore_mapping_schema *schema, const struct htstore_entry *entries,
                                       uint64_t n, struct htstore_mapping **mapping, struct htstore_error *error);

/**
 * Open an existing mapping.
 *
 * @param store     [in]  open store
 * @param name      [in]  UTF-8 text
 * @param expected  [in]  NULL, or the schema that it must have
 * @param mapping   [out] handle; close it with htstore_mapping_close()
 * @param error     [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_ECONFLICT (another kind; the layer flags differ), HTSTORE_EINVAL, HTSTORE_ETYPE,
 *         HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_open(struct htstore *store, const char *name,
                                     const struct htstore_mapping_schema *expected, struct htstore_mapping **mapping,
                                     struct htstore_error *error);

/**
 * Open the mapping of that name, or create an empty one. Concurrent calls create one.
 *
 * @param store    [in]  owned store; on a read-only one only opening succeeds
 * @param name     [in]  as in htstore_mapping_create()
 * @param schema   [in]  NULL = no flags
 * @param mapping  [out] handle; close it with htstore_mapping_close()
 * @param error    [out] may be NULL
 * @return 0, or as htstore_mapping_create() and htstore_mapping_open()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_get_or_create(struct htstore *store, const char *name,
                                              const struct htstore_mapping_schema *schema,
                                              struct htstore_mapping **mapping, struct htstore_error *error);

/**
 * Close a handle. NULL does nothing. Mappings cannot be dropped; an anonymous one that nothing reaches any more is deleted.
 *
 * @param mapping  [in] the handle; not usable afterwards, unless HTSTORE_EBUSY was returned
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_EBUSY (a checkpoint object still uses the handle)
 * @par Threads
 * Not while another thread uses the handle.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_close(struct htstore_mapping *mapping, struct htstore_error *error);

/**
 * The name of a mapping.
 *
 * @param mapping  [in] open mapping
 * @return NUL-terminated, valid while the handle is open; NULL for an anonymous mapping, or a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API const char *htstore_mapping_name(const struct htstore_mapping *mapping);

/**
 * Is the mapping a layer?
 *
 * @param mapping  [in] open mapping
 * @return 1 or 0; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_is_layer(const struct htstore_mapping *mapping);

/**
 * The trainable flag of a mapping itself.
 *
 * @param mapping  [in] open mapping
 * @return 1 or 0; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_is_trainable(const struct htstore_mapping *mapping);

/**
 * Set the trainable flag. Durable on return. Changes what htstore_mapping_walk() lists, never what the mapping holds.
 *
 * @param mapping    [in]  open mapping of an owned store
 * @param trainable  [in]  0 or 1
 * @param error      [out] may be NULL
 * @return 0, or HTSTORE_EINVAL, HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_set_trainable(struct htstore_mapping *mapping, int trainable,
                                              struct htstore_error *error);

/**
 * Add an entry. A key never changes its object: the entry is permanent. Durable on return.
 *
 * @param mapping  [in]  open mapping of an owned store
 * @param key      [in]  as in struct htstore_entry
 * @param object   [in]  open table, variable or mapping of the same store; the mapping itself is allowed; borrowed
 * @param error    [out] may be NULL
 * @return 0 (also if the key names that very object already: nothing changes), or HTSTORE_EEXIST (the key names another
 *         object: nothing changes), HTSTORE_ETYPE (the key is not text), HTSTORE_EINVAL (key too long; no object of this store),
 *         HTSTORE_ECONFLICT (a restore waits for this key and the object does not fit; two keys above 480 bytes collide in
 *         their stored form), HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once. Of two threads with one key and two objects exactly one succeeds.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_put(struct htstore_mapping *mapping, const struct htstore_bytes *key,
                                    const void *object, struct htstore_error *error);

/**
 * Add several entries in this order, in one durable transaction: all or none.
 *
 * @param mapping  [in]  open mapping of an owned store
 * @param entries  [in]  n entries; a key may occur twice only with one object
 * @param n        [in]  may be 0
 * @param error    [out] may be NULL; `index` is the entry refused
 * @return 0, or as htstore_mapping_put()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_update(struct htstore_mapping *mapping, const struct htstore_entry *entries, uint64_t n,
                                       struct htstore_error *error);

/**
 * Add an object under the first free key of base, base_1, base_2, …, in one atomic step.
 *
 * @param mapping  [in]  open mapping of an owned store
 * @param base     [in]  as a key
 * @param object   [in]  as in htstore_mapping_put()
 * @param arena    [in]  holds the key until it is reset or freed; may be NULL with key
 * @param key      [out] the key that was taken; memory of the arena, followed by a NUL; may be NULL
 * @param error    [out] may be NULL
 * @return 0, or as htstore_mapping_put()
 * @par Threads
 * Any number at once; concurrent calls get different keys.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_track(struct htstore_mapping *mapping, const struct htstore_bytes *base,
                                      const void *object, struct htstore_arena *arena, struct htstore_bytes *key,
                                      struct htstore_error *error);

/**
 * Open the object under a key.
 *
 * @param mapping  [in]  open mapping
 * @param key      [in]  any bytes; what is no text is absent
 * @param kind     [out] enum htstore_kind of the handle; may be NULL
 * @param object   [out] a new handle; close it with htstore_object_close() or the function of its kind
 * @param error    [out] may be NULL
 * @return 0; 1 if the key is absent (`object` is then left as it was: it may hold a default); otherwise as
 *         htstore_table_open(), but never HTSTORE_ENOTFOUND
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_get(struct htstore_mapping *mapping, const struct htstore_bytes *key, uint32_t *kind,
                                    void **object, struct htstore_error *error);

/**
 * As htstore_mapping_get(), but an absent key is HTSTORE_ENOTFOUND and sets `object` to NULL.
 *
 * @param mapping  [in]  open mapping
 * @param key      [in]  any bytes
 * @param kind     [out] enum htstore_kind of the handle; may be NULL
 * @param object   [out] a new handle
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, otherwise as htstore_mapping_get()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_at(struct htstore_mapping *mapping, const struct htstore_bytes *key, uint32_t *kind,
                                   void **object, struct htstore_error *error);

/**
 * Does the mapping have this key?
 *
 * @param mapping  [in]  open mapping
 * @param key      [in]  any bytes
 * @param error    [out] may be NULL
 * @return 1 or 0, or HTSTORE_EINVAL, HTSTORE_ENOTFOUND (a reader's mapping that the owner has deleted)
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_contains(struct htstore_mapping *mapping, const struct htstore_bytes *key,
                                         struct htstore_error *error);

/**
 * The number of entries.
 *
 * @param mapping  [in] open mapping
 * @return entries; 0 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API uint64_t htstore_mapping_size(const struct htstore_mapping *mapping);

/**
 * The entries, in the order in which they were added, as of one instant.
 *
 * @param mapping  [in]  open mapping
 * @param arena    [in]  holds the result until it is reset or freed
 * @param items    [out] array of n items; memory of the arena
 * @param n        [out] their number
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ENOMEM, HTSTORE_EINVAL, HTSTORE_ENOTFOUND (a reader's mapping that the owner has deleted)
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_items(struct htstore_mapping *mapping, struct htstore_arena *arena,
                                      const struct htstore_item **items, uint64_t *n, struct htstore_error *error);

/** What htstore_mapping_walk() gathers below a mapping. The rules are those of Keras' tracked containers. */
enum htstore_aggregate {
    HTSTORE_LAYERS = 1, /**< mappings flagged as layer; they are not entered */
    HTSTORE_TRAINABLE_WEIGHTS = 2,
    HTSTORE_NON_TRAINABLE_WEIGHTS = 3,
    HTSTORE_WEIGHTS = 4, /**< the trainable ones, then the others */
    HTSTORE_LOSSES = 5, /**< variables of role loss, of mappings flagged as layer */
    HTSTORE_UPDATES = 6 /**< variables of role update, of mappings flagged as layer */
};

/**
 * Gather what is below a mapping, as of one instant; each object at most once. Cycles are legal.
 *
 * @param mapping    [in]  open mapping
 * @param aggregate  [in]  enum htstore_aggregate
 * @param arena      [in]  holds the result until it is reset or freed
 * @param ids        [out] numbers of n objects; memory of the arena
 * @param n          [out] their number
 * @param error      [out] may be NULL
 * @return 0, or HTSTORE_EINVAL, HTSTORE_ENOMEM, HTSTORE_ENOTFOUND (a reader's mapping that the owner has deleted)
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_mapping_walk(struct htstore_mapping *mapping, uint32_t aggregate, struct htstore_arena *arena,
                                     const uint64_t **ids, uint64_t *n, struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Checkpoints: everything reachable from a root, as of one instant, in one file                                      */
/* ---------------------------------------------------------------------------------------------------------------- */

/**
 * Told now and then how far a long operation has come.
 *
 * @param user   [in] as given with the function
 * @param phase  [in] what is being done, such as "save"; valid during the call
 * @param done   [in] rows so far
 * @param total  [in] rows in all; 0 = not known
 * @return 0 to go on; anything else stops the operation with HTSTORE_ECANCELED and leaves everything as before
 */
typedef int (*htstore_progress_fn)(void *user, const char *phase, uint64_t done, uint64_t total);

/** Bits of htstore_snapshot_options.flags. */
#define HTSTORE_ALL_CONTENTS 0x01u /**< writing: also the rows of tables with HTSTORE_NO_CHECKPOINT */
#define HTSTORE_REPLACE 0x02u /**< writing: an existing file is replaced, atomically; else it is HTSTORE_EEXIST */

/** How snapshots are written and read. Zero in a field means its default. Fields are only ever appended. */
struct htstore_snapshot_options {
    uint32_t size; /**< sizeof (struct htstore_snapshot_options) */
    uint32_t flags; /**< HTSTORE_ALL_CONTENTS … */
    uint32_t threads; /**< beside the caller's; default: one for each processor; at most 4 */
    int32_t level; /**< of Zstandard, 1 to 19; default 1 */
    htstore_progress_fn progress; /**< NULL: none. Called in the caller's thread */
    void *progress_user;
};

struct htstore_checkpoint;

/** What a checkpoint object saves. The objects must stay open while it is. */
struct htstore_checkpoint_options {
    uint32_t size; /**< sizeof (struct htstore_checkpoint_options) */
    uint32_t flags; /**< 0 */
    struct htstore_mapping *root; /**< NULL: the root is the list of `entries` or, without any, the root namespace */
    const struct htstore_entry *entries; /**< the root, taken in ascending order of keys; or added to `root` */
    uint64_t n_entries;
};

/**
 * Make a checkpoint object: a root, and a counter of its saves, from 0.
 *
 * @param store       [in]  open store
 * @param options     [in]  NULL: the root is the store's root namespace
 * @param checkpoint  [out] close it with htstore_checkpoint_close()
 * @param error       [out] may be NULL
 * @return 0, or HTSTORE_EEXIST (a key twice with two objects; a key that `root` has with another object), HTSTORE_ETYPE (a key
 *         is not text), HTSTORE_EINVAL, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_new(struct htstore *store, const struct htstore_checkpoint_options *options,
                                       struct htstore_checkpoint **checkpoint, struct htstore_error *error);

/**
 * Close a checkpoint object. NULL does nothing.
 *
 * @param checkpoint  [in] the object; not usable afterwards, unless HTSTORE_EBUSY was returned
 * @param error       [out] may be NULL
 * @return 0, or HTSTORE_EBUSY (a status of htstore_checkpoint_restore() or a manager still uses it)
 * @par Threads
 * Not while another thread uses it.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_close(struct htstore_checkpoint *checkpoint, struct htstore_error *error);

/**
 * How often it was saved: the number of the last save, or what the last restore found in its file.
 *
 * @param checkpoint  [in] open checkpoint object
 * @return the counter; -1 for a bad handle
 * @par Errors
 * None.
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int64_t htstore_checkpoint_save_counter(const struct htstore_checkpoint *checkpoint);

/**
 * Save to PREFIX-N, N being the save counter after it was incremented. Flushes first.
 *
 * The contents are those of one instant, for all objects; writers go on meanwhile. The file is written under another name,
 * synced and renamed: it exists whole, or not at all. If anything fails the counter is as before.
 *
 * @param checkpoint  [in]  open checkpoint object of an owned store
 * @param prefix      [in]  path, without the number
 * @param options     [in]  may be NULL
 * @param arena       [in]  holds the path until it is reset or freed; may be NULL with path
 * @param path        [out] of the file; memory of the arena; may be NULL
 * @param error       [out] may be NULL
 * @return 0, or HTSTORE_EEXIST, HTSTORE_ENOTFOUND (no such folder), HTSTORE_EREADONLY, HTSTORE_ECORRUPT (the store is damaged: nothing
 *         is left of the file), HTSTORE_EBUSY (another store or process is writing this very file), HTSTORE_ECANCELED, HTSTORE_EIO,
 *         HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_EINVAL, otherwise as htstore_flush()
 * @par Threads
 * Any number at once; saves of one store take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_save(struct htstore_checkpoint *checkpoint, const char *prefix,
                                        const struct htstore_snapshot_options *options, struct htstore_arena *arena,
                                        const char **path, struct htstore_error *error);

/**
 * Write a snapshot to this path. Neither numbers nor counts. On a read-only store: of the state that it sees.
 *
 * @param checkpoint  [in]  open checkpoint object
 * @param path        [in]  of the file
 * @param options     [in]  may be NULL
 * @param error       [out] may be NULL
 * @return 0, or as htstore_checkpoint_save()
 * @par Threads
 * Any number at once; saves of one store take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_write(struct htstore_checkpoint *checkpoint, const char *path,
                                         const struct htstore_snapshot_options *options, struct htstore_error *error);

/**
 * Write a snapshot to a file descriptor, such as a pipe. Nothing is synced; a reader knows by the footer that it is whole.
 *
 * @param checkpoint  [in]  open checkpoint object
 * @param fd          [in]  open for writing; borrowed
 * @param options     [in]  may be NULL
 * @param error       [out] may be NULL
 * @return 0, or as htstore_checkpoint_save(); HTSTORE_EIO with sys_errno EPIPE if the reader is gone (SIGPIPE is the caller's
 *         affair)
 * @par Threads
 * Any number at once; saves of one store take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_write_fd(struct htstore_checkpoint *checkpoint, int fd,
                                            const struct htstore_snapshot_options *options,
                                            struct htstore_error *error);

struct htstore_restore;

/**
 * Restore from a file: match its objects by the names of edges from the root, check everything, then replace the contents
 * of all that match in one durable step; and take over the save counter.
 *
 * Nothing is merged: rows that only a live table had are gone. Objects that the file lacks keep their contents. A key that
 * the live graph lacks is remembered, and served when an object is put there, as long as the status is not released.
 *
 * @param checkpoint  [in]  open checkpoint object of an owned store
 * @param path        [in]  of the file; NULL: nothing is restored, and the assertions on the status fail
 * @param options     [in]  may be NULL
 * @param status      [out] what was matched; release it with htstore_restore_release()
 * @param error       [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND (no such file), HTSTORE_ECONFLICT (an object of another kind, dtype or shape; the message names
 *         both), HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT (the message names object and block), HTSTORE_ECANCELED,
 *         HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_EINVAL, HTSTORE_EBUSY: all contents are as before
 * @par Threads
 * Any number at once. Lookups see the old or the new contents, of all tables alike.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_restore(struct htstore_checkpoint *checkpoint, const char *path,
                                           const struct htstore_snapshot_options *options,
                                           struct htstore_restore **status, struct htstore_error *error);

/**
 * As htstore_checkpoint_restore(), but the save counter stays.
 *
 * @param checkpoint  [in]  open checkpoint object of an owned store
 * @param path        [in]  of the file; NULL as there
 * @param options     [in]  may be NULL
 * @param status      [out] what was matched; release it with htstore_restore_release()
 * @param error       [out] may be NULL
 * @return 0, or as htstore_checkpoint_restore()
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_checkpoint_read(struct htstore_checkpoint *checkpoint, const char *path,
                                        const struct htstore_snapshot_options *options, struct htstore_restore **status,
                                        struct htstore_error *error);

/**
 * Assert that every live object with contents was loaded, by this restore or a later one.
 *
 * @param status  [in]  of a restore
 * @param error   [out] may be NULL; names up to ten objects
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_ECONFLICT (a saved object was reached by two paths that lead to two live objects)
 * @par Threads
 * Any number at once. Changes nothing; what failed may pass after a put.
 * @since 0.1
 */
HTSTORE_API int htstore_restore_assert_existing_objects_matched(struct htstore_restore *status,
                                                                struct htstore_error *error);

/**
 * Assert, beside that, that everything saved was used.
 *
 * @param status  [in]  of a restore
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_ECONFLICT
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_restore_assert_consumed(struct htstore_restore *status, struct htstore_error *error);

/**
 * Assert that something beside the root was matched, unless the live graph has nothing else.
 *
 * @param status  [in]  of a restore
 * @param error   [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_restore_assert_nontrivial_match(struct htstore_restore *status, struct htstore_error *error);

/**
 * Say that missing parts are intended: htstore_restore_release() then does not report them.
 *
 * @param status  [in] of a restore; NULL does nothing
 * @par Errors
 * None.
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API void htstore_restore_expect_partial(struct htstore_restore *status);

/**
 * The paths that were not matched, on both sides.
 *
 * @param status   [in]  of a restore
 * @param arena    [in]  holds the result until it is reset or freed
 * @param saved    [out] n_saved paths such as "(root).m.b" of saved objects with contents that no live object took
 * @param n_saved  [out] their number
 * @param live     [out] n_live paths of live objects with contents that were not loaded
 * @param n_live   [out] their number
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_restore_unmatched(struct htstore_restore *status, struct htstore_arena *arena,
                                          const char *const **saved, uint64_t *n_saved, const char *const **live,
                                          uint64_t *n_live, struct htstore_error *error);

/**
 * Release a status: keys that wait for objects are forgotten. NULL does nothing.
 *
 * @param status  [in] of a restore; not usable afterwards
 * @return 0; 1 if parts were missing and no assertion passed and htstore_restore_expect_partial() was not called
 * @par Errors
 * None.
 * @par Threads
 * Not while another thread uses it.
 * @since 0.1
 */
HTSTORE_API int htstore_restore_release(struct htstore_restore *status);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Checkpoint manager: the numbered checkpoints of one folder                                                        */
/* ---------------------------------------------------------------------------------------------------------------- */

struct htstore_manager;

/** Seconds since 1970. `user` is htstore_manager_options.clock_user. */
typedef double (*htstore_clock_fn)(void *user);

/** How to manage a folder. Zero in a field means its default. Fields are only ever appended. */
struct htstore_manager_options {
    uint32_t size; /**< sizeof (struct htstore_manager_options) */
    uint32_t flags; /**< 0 */
    const char *folder; /**< NULL: `checkpoints` in the store's folder */
    const char *prefix; /**< of file names, without '/'; NULL: "ckpt" */
    int64_t max_to_keep; /**< 0 = all */
    double keep_every_n_hours; /**< 0 = off */
    int64_t interval; /**< steps between saves; 0 = off; needs `step` */
    const int64_t *step; /**< the caller's step counter, read by each save; NULL: none */
    int64_t last_step; /**< of the last save, if has_last_step */
    uint32_t has_last_step;
    uint32_t reserved; /**< 0 */
    htstore_clock_fn clock; /**< NULL: the system's */
    void *clock_user;
};

/**
 * Manage the checkpoints in a folder, which is made if it is missing. One manager at a time.
 *
 * Its list, oldest first, and the time of the last checkpoint that was kept for good survive in a state file.
 *
 * @param checkpoint  [in]  open checkpoint object; must stay open while the manager is
 * @param options     [in]  NULL = all defaults
 * @param manager     [out] close it with htstore_manager_close()
 * @param error       [out] may be NULL
 * @return 0; 1: the clock went back since the last save, and times were cut to now (the manager is open); or HTSTORE_EBUSY
 *         (another manager has the folder), HTSTORE_EINVAL (negative or NaN numbers; interval without step; a prefix that is no
 *         file name), HTSTORE_EVERSION (state of a newer version), HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_open(struct htstore_checkpoint *checkpoint,
                                     const struct htstore_manager_options *options, struct htstore_manager **manager,
                                     struct htstore_error *error);

/**
 * Close a manager. NULL does nothing.
 *
 * @param manager  [in] the manager; not usable afterwards
 * @par Errors
 * None.
 * @par Threads
 * Not while another thread uses it.
 * @since 0.1
 */
HTSTORE_API void htstore_manager_close(struct htstore_manager *manager);

/** How to make one checkpoint. Fields are only ever appended. */
struct htstore_manager_save_options {
    uint32_t size; /**< sizeof (struct htstore_manager_save_options) */
    uint32_t flags; /**< HTSTORE_IGNORE_INTERVAL, HTSTORE_EXPLICIT_NUMBER */
    int64_t number; /**< with HTSTORE_EXPLICIT_NUMBER, >= 0 */
    const struct htstore_snapshot_options *snapshot; /**< may be NULL */
};
#define HTSTORE_IGNORE_INTERVAL 0x01u /**< save though the interval has not passed; never twice for one step */
#define HTSTORE_EXPLICIT_NUMBER 0x02u /**< `number` is the number; a checkpoint of that number is replaced */

/**
 * Make a checkpoint, then delete the oldest ones beyond max_to_keep. An older one is deleted only when the new one and the
 * state that names it are durable.
 *
 * @param manager  [in]  open manager of an owned store
 * @param options  [in]  may be NULL
 * @param arena    [in]  holds the path until it is reset or freed; may be NULL with path
 * @param path     [out] of the new file; memory of the arena; may be NULL
 * @param error    [out] may be NULL
 * @return 0; 1: nothing was saved, the interval has not passed; or as htstore_checkpoint_save(): counter, list and older files
 *         are then as before
 * @par Threads
 * Any number at once; they take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_save(struct htstore_manager *manager,
                                     const struct htstore_manager_save_options *options, struct htstore_arena *arena,
                                     const char **path, struct htstore_error *error);

/** A checkpoint in a managed folder. Memory of the arena. Fields are only ever appended. */
struct htstore_checkpoint_file {
    const char *path;
    int64_t number;
    double time; /**< when it was saved, seconds since 1970; 0: not known */
    uint64_t lsn; /**< of the state in it; 0: not known */
    uint64_t bytes;
    uint32_t listed; /**< 1: the manager may delete it; 0: kept for good, or not the manager's */
    uint32_t reserved; /**< 0 */
};

/**
 * The checkpoints in the folder: those that are listed, oldest first, after those that are not.
 *
 * @param manager  [in]  open manager
 * @param arena    [in]  holds the result until it is reset or freed
 * @param files    [out] array of n files; memory of the arena
 * @param n        [out] their number
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_EIO, HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_list(struct htstore_manager *manager, struct htstore_arena *arena,
                                     const struct htstore_checkpoint_file **files, uint64_t *n,
                                     struct htstore_error *error);

/**
 * Delete a checkpoint that the manager lists.
 *
 * @param manager  [in]  open manager
 * @param number   [in]  its number
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND (none of that number is listed), HTSTORE_EREADONLY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM. If the file
 *         cannot be deleted now it has left the list all the same, and is deleted later
 * @par Threads
 * Any number at once; they take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_remove(struct htstore_manager *manager, int64_t number, struct htstore_error *error);

/**
 * Delete what max_to_keep and keep_every_n_hours do not keep, without a save.
 *
 * @param manager  [in]  open manager
 * @param error    [out] may be NULL
 * @return 0, or HTSTORE_ECORRUPT (the newest that would stay is damaged: nothing is deleted), HTSTORE_EREADONLY, HTSTORE_EIO,
 *         HTSTORE_ENOSPC, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once; they take turns.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_prune(struct htstore_manager *manager, struct htstore_error *error);

/**
 * The newest checkpoint that proves intact: listed ones from the newest, then others in the folder. Each that does not is
 * told to the store's log.
 *
 * @param manager  [in]  open manager
 * @param arena    [in]  holds the path until it is reset or freed
 * @param path     [out] memory of the arena
 * @param error    [out] may be NULL
 * @return 0; 1: there is no checkpoint (path is NULL); HTSTORE_ECORRUPT (some, but none intact), HTSTORE_EIO, HTSTORE_ENOMEM
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_latest(struct htstore_manager *manager, struct htstore_arena *arena, const char **path,
                                       struct htstore_error *error);

/** Makes the first contents. Returns 0, or a negative code that htstore_manager_restore_or_initialize() returns. */
typedef int (*htstore_initialize_fn)(void *user);

/**
 * Restore the newest checkpoint that proves intact or, if there is none at all, call the initializer.
 *
 * @param manager     [in]  open manager of an owned store
 * @param initialize  [in]  may be NULL
 * @param user        [in]  for it
 * @param status      [out] of the restore; NULL if nothing was restored
 * @param arena       [in]  holds the path until it is reset or freed; may be NULL with path
 * @param path        [out] what was restored, or NULL; memory of the arena; may be NULL
 * @param error       [out] may be NULL
 * @return 0 restored; 1 there was none, and the initializer was called; HTSTORE_ECORRUPT (some, but none intact: nothing was
 *         initialized); otherwise as htstore_checkpoint_restore(), or what the initializer returned
 * @par Threads
 * Any number at once.
 * @since 0.1
 */
HTSTORE_API int htstore_manager_restore_or_initialize(struct htstore_manager *manager, htstore_initialize_fn initialize,
                                                      void *user, struct htstore_restore **status,
                                                      struct htstore_arena *arena, const char **path,
                                                      struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Snapshot files without a store                                                                                    */
/* ---------------------------------------------------------------------------------------------------------------- */

/** An object in a snapshot. Memory of the arena. Fields are only ever appended. */
struct htstore_snapshot_object {
    struct htstore_object
        object; /**< id is its number in the file, from 0; name is that in a root namespace, or NULL */
    const char *path; /**< such as "(root).m.b"; when those of a file exceed 64 MiB, the rest is shortened with "…" */
    uint64_t n_blocks; /**< 0 if it has no contents */
    uint64_t bytes; /**< in the file */
    uint64_t
        digest[2]; /**< of its rows: low and high half; equal contents have equal digests, in all stores and files */
    uint32_t has_contents; /**< 0: only its description was saved */
    uint32_t reserved; /**< 0 */
    const char *entries[2]; /**< names of its contents, as TensorFlow gives them: "m/v/.ATTRIBUTES/VARIABLE_VALUE"; of a
                               table "m/t/.ATTRIBUTES/table-keys", then "…/table-values"; NULL: none, or too
                               long as above */
};

/** What a snapshot says of itself. Fields are only ever appended. */
struct htstore_snapshot_info {
    uint32_t size; /**< [in] sizeof (struct htstore_snapshot_info) */
    uint32_t version; /**< of the format */
    uint8_t snapshot_id[16]; /**< follows from the contents */
    uint64_t lsn; /**< of the state that was saved */
    uint64_t n_objects;
    uint64_t n_rows;
    uint64_t n_blocks;
    uint64_t bytes; /**< of the file */
    const struct htstore_snapshot_object *objects; /**< n_objects, by their numbers; memory of the arena */
    int64_t save_counter; /**< -1: not saved with one */
};

/**
 * Read what a snapshot says of itself, without decoding rows.
 *
 * @param path   [in]  of the file, which must be seekable
 * @param arena  [in]  holds the list until it is reset or freed
 * @param info   [in,out] caller's; `size` set by the caller
 * @param error  [out] may be NULL
 * @return 0, or HTSTORE_ENOTFOUND, HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_snapshot_info(const char *path, struct htstore_arena *arena, struct htstore_snapshot_info *info,
                                      struct htstore_error *error);

/** Bits of htstore_snapshot_restore_options.flags. */
#define HTSTORE_SALVAGE                                                                                                \
    0x01u /**< go on after damage: every intact block, and a list of what is missing; lost elements of variables become
             zeros and empty strings */
#define HTSTORE_VERIFY_NONE 0x02u /**< do not read the new store again */
#define HTSTORE_VERIFY_QUICK 0x04u /**< read its structure; default: every row */

/** How to make a store of a snapshot. Fields are only ever appended. */
struct htstore_snapshot_restore_options {
    uint32_t size; /**< sizeof (struct htstore_snapshot_restore_options) */
    uint32_t flags; /**< HTSTORE_SALVAGE, HTSTORE_VERIFY_… */
    const struct htstore_options *store; /**< flags, log and sizes for the new store; NULL = all defaults */
    uint32_t threads; /**< as in struct htstore_snapshot_options */
    uint32_t reserved; /**< 0 */
    htstore_progress_fn progress; /**< NULL: none */
    void *progress_user;
};

/** What htstore_snapshot_restore() did. Fields are only ever appended. */
struct htstore_snapshot_report {
    uint32_t size; /**< [in] sizeof (struct htstore_snapshot_report) */
    uint32_t reserved; /**< 0 */
    uint64_t n_objects; /**< restored */
    uint64_t n_rows; /**< restored */
    uint64_t n_lost_blocks; /**< known to be missing or damaged */
    uint64_t n_lost_rows; /**< known to be missing */
    uint64_t n_damaged_objects; /**< objects of which something is missing */
};

/**
 * Make a new store of a snapshot. The store is built beside `target` and renamed into place when everything has been
 * verified: it exists whole, or not at all.
 *
 * @param path     [in]  of the snapshot; "-" or NULL: read it from `fd`
 * @param fd       [in]  with path NULL: open for reading, may be a pipe; borrowed
 * @param target   [in]  path of the new store; must not exist
 * @param options  [in]  may be NULL
 * @param report   [in,out] caller's; `size` set by the caller; may be NULL
 * @param error    [out] may be NULL
 * @return 0; 1: salvaged, with losses, each told to options->store->log; the new store says that it is incomplete;
 *         HTSTORE_EEXIST (target exists), HTSTORE_ENOTFOUND, HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT (names object and block),
 *         HTSTORE_ECANCELED, HTSTORE_EBUSY, HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_snapshot_restore(const char *path, int fd, const char *target,
                                         const struct htstore_snapshot_restore_options *options,
                                         struct htstore_snapshot_report *report, struct htstore_error *error);

/** One object of a comparison. Memory of the arena. Fields are only ever appended. */
struct htstore_difference {
    const char *path; /**< "(root).m.b" */
    uint32_t kind; /**< enum htstore_kind */
    uint32_t change; /**< enum htstore_change */
    uint64_t n_added; /**< rows that only the second has; variables: elements do not count, rows of chunks do */
    uint64_t n_removed; /**< rows that only the first has */
    uint64_t n_changed; /**< keys with another value */
};

/** What became of an object. */
enum htstore_change {
    HTSTORE_SAME = 0,
    HTSTORE_ADDED = 1,
    HTSTORE_REMOVED = 2,
    HTSTORE_CHANGED = 3, /**< rows or entries differ */
    HTSTORE_SCHEMA_CHANGED = 4 /**< kind, dtypes, shape, default or flags differ */
};

/**
 * Compare two snapshots or stores, object by object, row by row where digests differ.
 *
 * @param first     [in]  path of a snapshot or of a store's folder; stores are read as readers do
 * @param second    [in]  likewise
 * @param options   [in]  threads, progress; may be NULL
 * @param arena     [in]  holds the result until it is reset or freed
 * @param objects   [out] array of n; every object of both, by path; memory of the arena
 * @param n         [out] their number
 * @param error     [out] may be NULL
 * @return 0: they are equal; 1: they differ; or HTSTORE_ENOTFOUND, HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT, HTSTORE_EBUSY,
 *         HTSTORE_ECANCELED, HTSTORE_EIO, HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_diff(const char *first, const char *second, const struct htstore_snapshot_options *options,
                             struct htstore_arena *arena, const struct htstore_difference **objects, uint64_t *n,
                             struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Checking stores and snapshots                                                                                     */
/* ---------------------------------------------------------------------------------------------------------------- */

/** How much htstore_check() reads. */
enum htstore_check_level {
    HTSTORE_CHECK_QUICK = 1, /**< sizes, heads, catalogue, counts; no rows */
    HTSTORE_CHECK_FULL = 2, /**< also every page, row, digest, journal record, block */
    HTSTORE_CHECK_DEEP = 3 /**< also free pages, and every checkpoint in the store's folder */
};

/** One thing that is wrong, or was not read. Valid during the call of the callback. Fields are only ever appended. */
struct htstore_finding {
    uint32_t size; /**< sizeof (struct htstore_finding) */
    uint32_t is_damage; /**< 1: damage; 0: something that was not read, and why */
    const char *path; /**< of the file */
    const char *object; /**< such as "table words"; NULL: none in particular */
    uint64_t offset; /**< in the file, bytes */
    const char *message; /**< one sentence */
};
typedef void (*htstore_finding_fn)(void *user, const struct htstore_finding *finding);

/** How to check. Zero in a field means its default. Fields are only ever appended. */
struct htstore_check_options {
    uint32_t size; /**< sizeof (struct htstore_check_options) */
    uint32_t level; /**< enum htstore_check_level; default HTSTORE_CHECK_FULL */
    uint32_t threads; /**< for snapshots; as in struct htstore_snapshot_options */
    uint32_t flags; /**< HTSTORE_ALLOW_ANY_FILESYSTEM, HTSTORE_ALLOW_SHARED_FOLDER */
    uint32_t lock_timeout_ms; /**< how long to wait while an owner opens or closes the store */
    uint32_t reserved; /**< 0 */
    htstore_finding_fn finding; /**< told of everything found; may be NULL */
    void *finding_user;
    htstore_progress_fn progress; /**< may be NULL */
    void *progress_user;
};

/** What was read. Fields are only ever appended. */
struct htstore_check_report {
    uint32_t size; /**< [in] sizeof (struct htstore_check_report) */
    uint32_t level; /**< as asked for */
    uint64_t lsn; /**< of the state that was read */
    uint64_t n_findings; /**< damage */
    uint64_t n_unread; /**< parts that were not read */
    uint64_t n_objects;
    uint64_t n_rows; /**< read and verified */
    uint64_t n_pages; /**< of data.mdb, read */
    uint64_t n_free_pages;
    uint64_t n_records; /**< of the journal, read */
    uint64_t n_blocks; /**< of snapshots, read */
    uint64_t n_snapshots; /**< read */
    uint64_t bytes; /**< read */
};

/**
 * Check a store or a snapshot. Changes nothing, works beside an owner, and never asks LMDB about a page.
 *
 * @param path     [in]  folder of a store, or a snapshot file
 * @param options  [in]  may be NULL
 * @param report   [in,out] caller's; `size` set by the caller; may be NULL
 * @param error    [out] may be NULL; the first finding
 * @return 0: nothing is wrong; HTSTORE_ECORRUPT: damage was found; HTSTORE_ENOTFOUND, HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_EBUSY,
 *         HTSTORE_ECANCELED, HTSTORE_EIO, HTSTORE_ENOMEM, HTSTORE_EINVAL: it could not be checked
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_check(const char *path, const struct htstore_check_options *options,
                              struct htstore_check_report *report, struct htstore_error *error);

/**
 * Compare what an owned store holds in memory with what LMDB holds, row by row. Flushes first.
 *
 * @param store     [in]  open store
 * @param n_tables  [out] tables in memory that were compared; may be NULL
 * @param error     [out] may be NULL; names the table
 * @return 0, or HTSTORE_ECORRUPT (they differ), otherwise as htstore_flush()
 * @par Threads
 * Any number at once; writers wait.
 * @since 0.1
 */
HTSTORE_API int htstore_compare_cache(struct htstore *store, uint64_t *n_tables, struct htstore_error *error);

/* ---------------------------------------------------------------------------------------------------------------- */
/* Recovery of damaged stores                                                                                        */
/* ---------------------------------------------------------------------------------------------------------------- */

/** What htstore_recover() found. Fields are only ever appended. */
struct htstore_recovery {
    uint32_t size; /**< [in] sizeof (struct htstore_recovery) */
    uint32_t reserved; /**< 0 */
    uint64_t n_tables; /**< tables written to the new store */
    uint64_t n_rows; /**< rows written to the new store, of tables */
    uint64_t n_records; /**< journal records applied */
    uint64_t n_lost_tables; /**< tables, variables and mappings whose description was not readable */
    uint64_t n_damaged_tables; /**< tables and variables of which rows, or pages of rows, were not readable */
    uint64_t n_damaged_pages; /**< pages of data.mdb that were not readable */
    uint64_t n_damaged_rows; /**< rows whose checksum differed */
    uint64_t n_lost_records; /**< journal records known to be missing or damaged */
    uint64_t n_variables; /**< variables written to the new store */
    uint64_t n_mappings; /**< mappings written to the new store */
    uint64_t n_entries; /**< entries of mappings written to the new store */
    uint64_t n_lost_entries; /**< entries that were not readable, or whose object is lost */
};

/**
 * Write all that is readable of a damaged store into a new one. Never touches the old one.
 *
 * Recovered are the named objects, and the anonymous ones that these reach. Objects get new numbers. Elements of a variable
 * that are not readable become zeros, or empty strings. The entries of a mapping keep their order; a key whose entry is lost
 * is free in the new store.
 *
 * Every loss is told to options->log as a line of level HTSTORE_LOG_WARNING. Journal records behind a damaged one are
 * applied too, so the result need not be a state that the store ever had: the report says whether it is.
 *
 * @param path     [in]  directory of the damaged store; nobody may own it meanwhile
 * @param target   [in]  path of the new store; must not exist
 * @param options  [in]  log, flags and sizes as for htstore_open(); NULL = all defaults
 * @param report   [in,out] caller's; `size` set by the caller; may be NULL
 * @param error    [out] may be NULL
 * @return 0 if everything was readable, 1 if the new store was written with losses; HTSTORE_ENOTFOUND, HTSTORE_EEXIST (target
 *         exists), HTSTORE_EBUSY (owned), HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT (nothing could be read: no
 *         target is left), HTSTORE_EIO, HTSTORE_ENOSPC, HTSTORE_ENOMEM, HTSTORE_EINVAL
 * @par Threads
 * Any.
 * @since 0.1
 */
HTSTORE_API int htstore_recover(const char *path, const char *target, const struct htstore_options *options,
                                struct htstore_recovery *report, struct htstore_error *error);

#ifdef __cplusplus
}
#endif

#endif
