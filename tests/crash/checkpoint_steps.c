/*
 * checkpoint_steps: saves and restores, to be killed in; steps of create_kill. A file is whole or not there, contents are
 * the old or the new ones, and what was begun is gone after the next open or call.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check_util.h"
#include "snapshot.h"
#include "state.h"
#include "steps.h"

#define N_BATCHES 30 /* in the file */
#define N_ROWS 50
#define FILE_NAME "ckpt-1"
#define COPY_NAME "copy"
#define LEFTOVER_FILE "." FILE_NAME ".tmp"
#define LEFTOVER_COPY "." COPY_NAME ".htstore-tmp"
#define LEFTOVER_EMPTY "." LEFTOVER_COPY ".htstore-tmp" /* of the empty store that is made first */

static struct htstore_checkpoint *checkpoint;

static struct htstore_error *error_of_store(void)
{
    return &opened_store()->error;
}

/* Beside the store, wherever that is now. */
static const char *path_of(const char *name)
{
    static char paths[4][FOLDER_PATH_SIZE + 32];
    static unsigned n;
    char *path = paths[n++ % 4];

    (void)snprintf(path, sizeof paths[0], "%.*s%s", (int)(strlen(strike_path) - strlen(STRIKE_STORE)), strike_path,
                   name);
    return path;
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void open_checkpoint(struct htstore_mapping *mapping)
{
    const struct htstore_checkpoint_options options = { .size = sizeof options, .root = mapping };

    must(htstore_checkpoint_new(opened_store()->store, &options, &checkpoint, error_of_store()), "checkpoint");
}

static void close_all(void)
{
    must(htstore_checkpoint_close(checkpoint, error_of_store()), "close of the checkpoint");
    must(oracle_close(opened_store()), "close");
}

static int save(void)
{
    return htstore_checkpoint_save(checkpoint, path_of("ckpt"), NULL, NULL, NULL, error_of_store());
}

static int replace(void)
{
    const struct htstore_snapshot_options options = { .size = sizeof options, .flags = HTSTORE_REPLACE };

    return htstore_checkpoint_write(checkpoint, path_of(FILE_NAME), &options, error_of_store());
}

static int restore(void)
{
    struct htstore_restore *status;

    return htstore_checkpoint_restore(checkpoint, path_of(FILE_NAME), NULL, &status, error_of_store());
}

static int restore_copy(void)
{
    return htstore_snapshot_restore(path_of(FILE_NAME), -1, path_of(COPY_NAME), NULL, NULL, error_of_store());
}

/* ---- steps ---- */

static void prepare_rows(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(oracle_close(opened_store()), "close");
}

static void prepare_file(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    open_checkpoint(NULL);
    must(save(), "save");
    close_all();
}

static void do_save(void)
{
    open_store(0);
    open_checkpoint(NULL);
    strike_begin();
    end(save(), "save");
}

static void do_replace(void)
{
    open_store(0);
    write_batches(1, HTSTORE_SYNC);
    open_checkpoint(NULL);
    strike_begin();
    end(replace(), "replace");
}

static void do_restore(void)
{
    open_store(0);
    open_checkpoint(NULL);
    strike_begin();
    write_batches(1, HTSTORE_SYNC);
    end(restore(), "restore");
}

static void do_restore_copy(void)
{
    strike_begin();
    end(restore_copy(), "restore");
}

/* ---- what is left ---- */

/* Nothing is left of contents that were being built, and every page is right. */
static void check_store(const char *path)
{
    const struct htstore_check_options options = { .size = sizeof options, .level = HTSTORE_CHECK_FULL };
    const struct htstore_options opening = { .size = sizeof opening };
    struct htstore *store;
    bool garbage;

    must(htstore_open(path, &opening, &store, error_of_store()), "open to collect");
    must(htstore_flush(store, error_of_store()), "flush");
    do {
        pthread_mutex_lock(&store->flush_mutex);
        garbage = store->n_garbage > 0;
        pthread_mutex_unlock(&store->flush_mutex);
        sched_yield();
    } while (garbage);
    must(htstore_close(store, error_of_store()), "close");
    must(htstore_check(path, &options, NULL, error_of_store()), "check");
}

static void expect_files(int n)
{
    if (folder_count_others(strike_folder, STRIKE_STORE, FILE_NAME) != n)
        strike_condemn(ORACLE_CORRUPT, "something else is left");
}

/* The file holds the rows of one of these batches; what is in it becomes a store for that. */
static void check_file(uint64_t first, uint64_t last)
{
    const struct htstore_options options = oracle_options(strike_seed, HTSTORE_SYNC);
    static struct oracle oracle;
    char why[512];
    enum oracle_verdict verdict;

    must(hti_snapshot_verify(AT_FDCWD, path_of(FILE_NAME), "", 1, NULL, error_of_store()), "verify");
    if (!zstd_accepts(path_of(FILE_NAME)))
        strike_condemn(ORACLE_CORRUPT, "zstd -t refuses the file");
    must(restore_copy(), "restore of the file");
    oracle_init(&oracle, strike_seed, first);
    verdict = oracle_verify(path_of(COPY_NAME), &options, &oracle, false, why);
    if (verdict != ORACLE_OK)
        strike_condemn(verdict, why);
    if (oracle.position > last)
        strike_condemn(ORACLE_CORRUPT, "the file holds what came later");
    check_store(path_of(COPY_NAME));
    if (!folder_remove(path_of(COPY_NAME)))
        strike_condemn(ORACLE_OPENFAIL, "the copy cannot be removed");
}

/* The next save removes what is left of the one before. */
static void save_again(void)
{
    open_store(0);
    open_checkpoint(NULL);
    must(replace(), "save after a kill");
    close_all();
    expect_files(0);
}

static void check_saved(void)
{
    if (is_there(FILE_NAME))
        check_file(N_BATCHES, N_BATCHES);
    else if (strike_report->done)
        strike_condemn(ORACLE_LOST, "the file is not there");
    if (strike_report->done)
        expect_files(0);
    expect_files(is_there(LEFTOVER_FILE));
    check_contents(false);
    save_again();
    check_file(N_BATCHES, N_BATCHES);
}

static void check_replaced(void)
{
    if (!is_there(FILE_NAME))
        strike_condemn(ORACLE_LOST, "the file that was to be replaced is gone");
    check_file(strike_report->done ? N_BATCHES + 1 : N_BATCHES, N_BATCHES + 1);
    if (strike_report->done)
        expect_files(0);
    expect_files(is_there(LEFTOVER_FILE));
    check_contents(false);
    save_again();
    check_file(N_BATCHES + 1, N_BATCHES + 1);
}

/* The batch after the file is there, or, after the restore, gone. It may be cut before it is written. */
static void check_restored(void)
{
    strike_report->position = N_BATCHES;
    check_contents(!strike_report->done);
    check_store(strike_path);
    expect_files(0);
}

static void check_copied(void)
{
    const bool there = is_there(COPY_NAME);

    if (!there && strike_report->done)
        strike_condemn(ORACLE_LOST, "the new store is not there");
    expect_files(there || is_there(LEFTOVER_COPY) || is_there(LEFTOVER_EMPTY));
    if (there && !folder_remove(path_of(COPY_NAME)))
        strike_condemn(ORACLE_OPENFAIL, "the copy cannot be removed");
    check_file(N_BATCHES, N_BATCHES);
    expect_files(0);
}

/* ---- a key that a restore waits for ---- */

static struct htstore *store;
static struct htstore_mapping *live;
static struct htstore_table *late;

static void fill(int64_t number)
{
    int64_t keys[N_ROWS], values[N_ROWS];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, N_ROWS);
    const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, N_ROWS);

    for (int64_t i = 0; i < N_ROWS; i++) {
        keys[i] = i + (number == 2 ? N_ROWS / 2 : 0);
        values[i] = number;
    }
    must(htstore_table_insert(late, &k, &v, 0, error_of_store()), "insert");
}

static void open_late(void)
{
    const struct htstore_options options = oracle_options(strike_seed, HTSTORE_SYNC);
    const struct htstore_mapping_schema mapping = { .size = sizeof mapping };
    struct htstore_options creating = options;
    const struct htstore_schema schema = oracle_schema(0);

    creating.flags |= HTSTORE_CREATE;
    must(htstore_open(strike_path, &creating, &store, error_of_store()), "open");
    must(htstore_mapping_get_or_create(store, "live", &mapping, &live, error_of_store()), "mapping");
    must(htstore_table_get_or_create(store, "late", &schema, &late, error_of_store()), "table");
    opened_store()->store = store;
}

static void close_late(void)
{
    must(htstore_checkpoint_close(checkpoint, error_of_store()), "close of the checkpoint");
    checkpoint = NULL;
    must(htstore_mapping_close(live, error_of_store()), "close of a mapping");
    must(htstore_table_close(late, error_of_store()), "close of a table");
    must(htstore_close(store, error_of_store()), "close");
}

/* The file has rows of 1 under the key; the live table rows of 2. */
static void prepare_late(void)
{
    const struct htstore_mapping_schema schema = { .size = sizeof schema };
    struct htstore_entry entry = { .key = { "key", 3 } };
    struct htstore_mapping *full;

    open_late();
    fill(1);
    entry.object = late;
    must(htstore_mapping_create(store, "full", &schema, &entry, 1, &full, error_of_store()), "mapping");
    open_checkpoint(full);
    must(save(), "save");
    must(htstore_checkpoint_close(checkpoint, error_of_store()), "close of the checkpoint");
    must(htstore_table_clear(late, 0, error_of_store()), "clear");
    fill(2);
    must(htstore_mapping_close(full, error_of_store()), "close of a mapping");
    checkpoint = NULL;
    close_late();
}

static void do_put_late(void)
{
    const struct htstore_bytes key = { "key", 3 };

    open_late();
    open_checkpoint(live);
    must(restore(), "restore");
    strike_begin();
    end(htstore_mapping_put(live, &key, late, error_of_store()), "put");
}

static void check_put_late(void)
{
    int64_t keys[2] = { 0, 2 * N_ROWS - 1 }, values[2];
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 2), v = htstore_vector(HTSTORE_INT64, values, 2);
    const struct htstore_bytes key = { "key", 3 };
    uint8_t found[2];
    void *object;
    int rc;

    open_late();
    rc = htstore_mapping_get(live, &key, NULL, &object, error_of_store());
    must(rc < 0 ? rc : 0, "get");
    must(htstore_object_close(object, error_of_store()), "close of an object");
    keys[1] = N_ROWS + N_ROWS / 2 - 1;
    must(htstore_table_lookup(late, &k, NULL, &v, found, error_of_store()), "lookup");
    if (rc != 0 && strike_report->done)
        strike_condemn(ORACLE_LOST, "the entry is not there");
    if (rc == 0 && (!found[0] || values[0] != 1 || found[1]))
        strike_condemn(ORACLE_PARTIAL, "the entry is there, but not the contents");
    if (rc != 0 && (found[0] || !found[1] || values[1] != 2))
        strike_condemn(ORACLE_PARTIAL, "the contents are there, but not the entry");
    close_late();
    check_store(strike_path);
}

const struct strike_step checkpoint_steps[] = {
    { "save-file", prepare_rows, do_save, check_saved, 0, false },
    { "replace-file", prepare_file, do_replace, check_replaced, 0, false },
    { "restore", prepare_file, do_restore, check_restored, 0, false },
    { "put-restored", prepare_late, do_put_late, check_put_late, 0, false },
    { "restore-copy", prepare_file, do_restore_copy, check_copied, 0, false },
};
const unsigned n_checkpoint_steps = sizeof checkpoint_steps / sizeof *checkpoint_steps;
